
#include "core/json.h"

#include <stdio.h>
#include <string.h>
#include <time.h>


#define NGX_HTTP_CONCERT_INTEGER_LEN  (sizeof("-9223372036854775808") - 1)

/* ISO 8601 has years of four digits; ms since the epoch */
#define NGX_HTTP_CONCERT_YEAR_0000    INT64_C(-62167219200000)
#define NGX_HTTP_CONCERT_YEAR_10000   INT64_C(253402300800000)


static size_t ngx_http_concert_json_digits(uint64_t n);
static size_t ngx_http_concert_json_escape(unsigned char *p, unsigned char c);
static json_t *ngx_http_concert_json_twice(const char *p,
    const json_error_t *e);
static void ngx_http_concert_json_ascii(char *text);


void
ngx_http_concert_json_init(ngx_http_concert_json_t *json,
    void *(*alloc)(void *data, size_t size), void *data, size_t size)
{
    json->alloc = alloc;
    json->data = data;
    json->start = alloc(data, size);
    json->pos = json->start;
    json->failed = (json->start == NULL);
    json->end = json->failed ? NULL : json->start + size;
}


int
ngx_http_concert_json_reserve(ngx_http_concert_json_t *json, size_t size)
{
    size_t          used, grown;
    unsigned char  *p;

    if (json->failed) {
        return 0;
    }

    if ((size_t) (json->end - json->pos) >= size) {
        return 1;
    }

    used = json->pos - json->start;
    grown = 2 * (used + size);

    p = json->alloc(json->data, grown);
    if (p == NULL) {
        json->failed = 1;
        json->end = json->pos;
        return 0;
    }

    memcpy(p, json->start, used);

    json->start = p;
    json->pos = p + used;
    json->end = p + grown;

    return 1;
}


/* two digits at a time, from the last */

void
ngx_http_concert_json_integer(ngx_http_concert_json_t *json, int64_t n)
{
    uint64_t        u;
    unsigned char  *p;

    static const char  pairs[] =
        "00010203040506070809101112131415161718192021222324"
        "25262728293031323334353637383940414243444546474849"
        "50515253545556575859606162636465666768697071727374"
        "75767778798081828384858687888990919293949596979899";

    if (!ngx_http_concert_json_reserve(json, NGX_HTTP_CONCERT_INTEGER_LEN)) {
        return;
    }

    u = (uint64_t) n;

    if (n < 0) {
        *json->pos++ = '-';
        u = - u;
    }

    p = json->pos + ngx_http_concert_json_digits(u);
    json->pos = p;

    for ( /* void */ ; u >= 100; u /= 100) {
        p -= 2;
        memcpy(p, &pairs[u % 100 * 2], 2);
    }

    if (u >= 10) {
        memcpy(p - 2, &pairs[u * 2], 2);

    } else {
        p[-1] = (unsigned char) ('0' + u);
    }
}


static size_t
ngx_http_concert_json_digits(uint64_t n)
{
    size_t  digits;

    for (digits = 1; n >= 10000; digits += 4) {
        n /= 10000;
    }

    return digits + (n >= 10) + (n >= 100) + (n >= 1000);
}


void
ngx_http_concert_json_string(ngx_http_concert_json_t *json, const void *p,
    size_t len)
{
    size_t                i;
    const unsigned char  *s;

    /* the longest escape is \u00XX */
    if (!ngx_http_concert_json_reserve(json, 6 * len + 2)) {
        return;
    }

    s = p;
    *json->pos++ = '"';

    for (i = 0; i < len; i++) {
        if (s[i] >= 0x20 && s[i] != '"' && s[i] != '\\') {
            *json->pos++ = s[i];

        } else {
            json->pos += ngx_http_concert_json_escape(json->pos, s[i]);
        }
    }

    *json->pos++ = '"';
}


static size_t
ngx_http_concert_json_escape(unsigned char *p, unsigned char c)
{
    static const char  hex[] = "0123456789abcdef";

    if (c == '"' || c == '\\') {
        p[0] = '\\';
        p[1] = c;
        return 2;
    }

    memcpy(p, "\\u00", 4);
    p[4] = hex[c >> 4];
    p[5] = hex[c & 0xf];

    return 6;
}


void
ngx_http_concert_json_time(ngx_http_concert_json_t *json, int64_t ms)
{
    int        n;
    char       text[64];
    time_t     sec;
    int64_t    rest;
    struct tm  tm;

    if (ms < NGX_HTTP_CONCERT_YEAR_0000 || ms >= NGX_HTTP_CONCERT_YEAR_10000) {
        ngx_http_concert_json_text(json, "null");
        return;
    }

    rest = (ms % 1000 + 1000) % 1000;
    sec = (time_t) ((ms - rest) / 1000);

    (void) gmtime_r(&sec, &tm);

    n = snprintf(text, sizeof(text),
                 "\"%04d-%02d-%02dT%02d:%02d:%02d.%03d+00:00\"",
                 tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
                 tm.tm_min, tm.tm_sec, (int) rest);

    ngx_http_concert_json_raw(json, text, n);
}


json_t *
ngx_http_concert_json_parse(const void *p, size_t len, char *error,
    size_t size, json_t **twice)
{
    json_t        *object;
    json_error_t   e;

    *twice = NULL;

    /* jansson passes over one that follows a number */

    if (len && memchr(p, '\0', len)) {
        snprintf(error, size, "it has a NUL byte");
        return NULL;
    }

    object = json_loadb(p, len, JSON_REJECT_DUPLICATES|JSON_ALLOW_NUL, &e);

    if (object == NULL) {
        snprintf(error, size, "line %d column %d: %s", e.line, e.column,
                 e.text);
        ngx_http_concert_json_ascii(error);
        *twice = ngx_http_concert_json_twice(p, &e);
        return NULL;
    }

    if (!json_is_object(object)) {
        snprintf(error, size, "it must be an object");
        json_decref(object);
        return NULL;
    }

    return object;
}


/* jansson has stopped behind the name, in which each quote is escaped */

static json_t *
ngx_http_concert_json_twice(const char *p, const json_error_t *e)
{
    json_t      *name;
    const char  *s, *end, *escape;

    if (json_error_code(e) != json_error_duplicate_key) {
        return NULL;
    }

    end = p + e->position;
    s = end - 1;

    do {
        for (s--; s > p && *s != '"'; s--) { /* void */ }

        for (escape = s; escape > p && escape[-1] == '\\'; escape--) {
            /* void */
        }

    } while (s > p && (s - escape) % 2);

    name = json_loadb(s, end - s, JSON_DECODE_ANY, NULL);

    if (name && json_string_length(name) > NGX_HTTP_CONCERT_MAX_NAME) {
        json_decref(name);
        return NULL;
    }

    return name;
}


/* jansson may quote the body and cut it inside of a character */

static void
ngx_http_concert_json_ascii(char *text)
{
    for ( /* void */ ; *text; text++) {
        if (*text < 0x20 || *text > 0x7e) {
            *text = '?';
        }
    }
}


const char *
ngx_http_concert_json_member(const json_t *object, const char *name,
    int64_t min, int64_t max, int64_t *value)
{
    json_t  *member;

    member = json_object_get(object, name);

    if (member == NULL) {
        return "is missing";
    }

    if (!json_is_integer(member)) {
        return "must be an integer";
    }

    *value = json_integer_value(member);

    if (*value < min) {
        return min == 1 ? "must be at least 1" : "is too small";
    }

    if (*value > max) {
        return "is too large";
    }

    return NULL;
}


const char *
ngx_http_concert_json_ids(const json_t *object, const char *name,
    int64_t *ids, size_t max, size_t *n)
{
    size_t   i, k;
    json_t  *array, *id;

    array = json_object_get(object, name);

    if (array == NULL) {
        return "is missing";
    }

    if (!json_is_array(array)) {
        return "must be an array of integers";
    }

    *n = json_array_size(array);

    if (*n == 0) {
        return "must not be empty";
    }

    if (*n > max) {
        return "has too many elements";
    }

    for (i = 0; i < *n; i++) {
        id = json_array_get(array, i);

        if (!json_is_integer(id)
            || json_integer_value(id) < 1
            || json_integer_value(id) > NGX_HTTP_CONCERT_MAX_INTEGER)
        {
            return "must have only integers from 1 to 9007199254740991";
        }

        ids[i] = json_integer_value(id);

        for (k = 0; k < i; k++) {
            if (ids[k] == ids[i]) {
                return "must not name an element twice";
            }
        }
    }

    return NULL;
}


int
ngx_http_concert_parse_integer(const void *p, size_t len, int64_t min,
    int64_t max, int64_t *value)
{
    size_t                i;
    int64_t               n;
    const unsigned char  *s;

    s = p;

    /* 16 digits hold NGX_HTTP_CONCERT_MAX_INTEGER and do not overflow */
    if (len == 0 || len > 16 || (len > 1 && s[0] == '0')) {
        return -1;
    }

    n = 0;

    for (i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9') {
            return -1;
        }

        n = n * 10 + (s[i] - '0');
    }

    if (n < min || n > max) {
        return -1;
    }

    *value = n;

    return 0;
}
