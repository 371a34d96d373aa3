
/*
 * The JSON writer, in a buffer that grows or cannot grow: any string, integer
 * and time that it writes is read back as the same by jansson.
 */

#include "core/json.c"
#include "fuzz.h"


#define MAX_BLOCKS  32


typedef struct {
    void    *blocks[MAX_BLOCKS];
    size_t   n;
    size_t   allowed;
} pool_t;


/* what is left of the input */

typedef struct {
    const uint8_t  *p;
    size_t          size;
} input_t;


static void *
pool_alloc(void *data, size_t size)
{
    pool_t  *pool = data;

    if (pool->n == pool->allowed) {
        return NULL;
    }

    pool->blocks[pool->n] = malloc(size ? size : 1);
    promise(pool->blocks[pool->n] != NULL);

    return pool->blocks[pool->n++];
}


static void
take(input_t *input, void *p, size_t size)
{
    size_t  n;

    memset(p, 0, size);
    n = size < input->size ? size : input->size;
    memcpy(p, input->p, n);

    input->p += n;
    input->size -= n;
}


/* a string of valid UTF-8 */

static json_t *
write_string(ngx_http_concert_json_t *json, input_t *input)
{
    size_t    i, n, len;
    uint8_t   bytes[256], most;
    json_t   *value;

    take(input, &most, 1);
    len = most < input->size ? most : input->size;
    take(input, bytes, len);

    for (i = 0; i < len; i += n) {
        n = utf8_length(bytes + i, len - i);

        if (n == 0) {
            bytes[i] = '?';
            n = 1;
        }
    }

    ngx_http_concert_json_string(json, bytes, len);

    value = json_stringn((char *) bytes, len);
    promise(value != NULL);

    return value;
}


static json_t *
write_integer(ngx_http_concert_json_t *json, input_t *input)
{
    int64_t  n;

    take(input, &n, sizeof(n));
    ngx_http_concert_json_integer(json, n);

    return json_integer(n);
}


/* days since the epoch, by counting years (proleptic Gregorian) */

static int64_t
days_of(int year, int month, int day)
{
    int      m, before;
    int64_t  days;

    static const int  lengths[] = { 31, 28, 31, 30, 31, 30,
                                    31, 31, 30, 31, 30, 31 };

    before = year - 1;
    days = 365 * (int64_t) year;

    if (year > 0) {
        days += before / 4 - before / 100 + before / 400 + 1;
    }

    for (m = 1; m < month; m++) {
        days += lengths[m - 1];
    }

    if (month > 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)) {
        days++;
    }

    return days + day - 1 - 719528;         /* of 1970-01-01 */
}


static json_t *
write_time(ngx_http_concert_json_t *json, input_t *input)
{
    int             year, month, day, hour, minute, second, ms;
    char            text[64];
    size_t          start;
    int64_t         n;
    const uint64_t  all = 316000000000000;  /* ms, more than 10,000 years */

    take(input, &n, sizeof(n));

    if (n & 1) {
        n = (int64_t) ((uint64_t) n % all) - 62200000000000;
    }

    start = json->pos - json->start;
    ngx_http_concert_json_time(json, n);

    if (json->failed) {
        return json_null();
    }

    if (n < -62167219200000 || n >= 253402300800000) {
        return json_null();
    }

    promise(json->pos - json->start - start < sizeof(text));
    memset(text, 0, sizeof(text));
    memcpy(text, json->start + start, json->pos - json->start - start);

    promise(sscanf(text, "\"%4d-%2d-%2dT%2d:%2d:%2d.%3d+00:00\"", &year,
                   &month, &day, &hour, &minute, &second, &ms)
            == 7);
    promise(strlen(text) == strlen("\"2026-11-22T10:00:00.000+00:00\""));
    promise(n == (((days_of(year, month, day) * 24 + hour) * 60 + minute) * 60
                  + second) * 1000 + ms);

    return json_stringn(text + 1, strlen(text) - 2);
}


static json_t *
write_all(ngx_http_concert_json_t *json, input_t *input)
{
    json_t   *array, *value;
    uint8_t   kind;

    array = json_array();
    ngx_http_concert_json_text(json, "[");

    while (input->size) {
        if (json_array_size(array)) {
            ngx_http_concert_json_text(json, ",");
        }

        take(input, &kind, 1);

        value = (kind % 3 == 0) ? write_string(json, input)
                : (kind % 3 == 1) ? write_integer(json, input)
                : write_time(json, input);

        promise(json_array_append_new(array, value) == 0);
    }

    ngx_http_concert_json_text(json, "]");

    return array;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t                   *array, *read;
    pool_t                    pool;
    input_t                   input;
    uint8_t                   first[2];
    ngx_http_concert_json_t   json;

    input.p = data;
    input.size = size;
    take(&input, first, sizeof(first));

    pool.n = 0;
    pool.allowed = (first[0] & 1) ? MAX_BLOCKS : (first[0] >> 1) % 8;

    ngx_http_concert_json_init(&json, pool_alloc, &pool, first[1]);

    array = write_all(&json, &input);

    if (json.failed) {
        promise(pool.n == pool.allowed);

    } else {
        promise(json.start <= json.pos && json.pos <= json.end);

        read = json_loadb((char *) json.start, json.pos - json.start,
                          JSON_REJECT_DUPLICATES|JSON_ALLOW_NUL, NULL);

        promise(read != NULL && json_equal(read, array));
        json_decref(read);
    }

    json_decref(array);

    while (pool.n) {
        free(pool.blocks[--pool.n]);
    }

    return 0;
}
