
/*
 * JSON: a writer for answers and a strict reader, by jansson, for request
 * bodies.  Knows nothing of nginx: memory is passed in, so that it is tested
 * and fuzzed alone.  Any thread.
 */


#ifndef NGX_HTTP_CONCERT_JSON_H_INCLUDED
#define NGX_HTTP_CONCERT_JSON_H_INCLUDED


#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>


/* the greatest id and amount: what a JavaScript number holds exactly */
#define NGX_HTTP_CONCERT_MAX_INTEGER  9007199254740991

/* of a member's name that an error tells */
#define NGX_HTTP_CONCERT_MAX_NAME     255


/*
 * A writer appends to a buffer that grows.  alloc gives memory that its owner
 * frees later (a pool); when it returns NULL the writer is marked failed and
 * drops what follows.
 */

typedef struct {
    void           *(*alloc)(void *data, size_t size);
    void           *data;
    unsigned char  *start;
    unsigned char  *pos;
    unsigned char  *end;
    int             failed;
} ngx_http_concert_json_t;


/* size: how many bytes to begin with */
void ngx_http_concert_json_init(ngx_http_concert_json_t *json,
    void *(*alloc)(void *data, size_t size), void *data, size_t size);

/* makes room for so many bytes; returns 0 if the writer has failed */
int ngx_http_concert_json_reserve(ngx_http_concert_json_t *json, size_t size);

/*
 * Bytes that are JSON already.  Inline, as a page has hundreds of short ones
 * whose lengths the compiler knows.
 */

static inline void
ngx_http_concert_json_raw(ngx_http_concert_json_t *json, const void *p,
    size_t len)
{
    if (len == 0) {
        return;
    }

    if ((size_t) (json->end - json->pos) < len
        && !ngx_http_concert_json_reserve(json, len))
    {
        return;
    }

    memcpy(json->pos, p, len);
    json->pos += len;
}


#define ngx_http_concert_json_text(json, literal)                            \
    ngx_http_concert_json_raw(json, literal, sizeof(literal) - 1)

void ngx_http_concert_json_integer(ngx_http_concert_json_t *json, int64_t n);

/* a quoted string of valid UTF-8 */
void ngx_http_concert_json_string(ngx_http_concert_json_t *json,
    const void *p, size_t len);

/*
 * A quoted ISO 8601 time in UTC with milliseconds, from ms since the epoch;
 * null outside of the years 0 to 9999.
 */
void ngx_http_concert_json_time(ngx_http_concert_json_t *json, int64_t ms);


/*
 * A body that is one JSON object without duplicate members, or NULL with the
 * reason in error and, if that is a member given twice whose name has at most
 * NGX_HTTP_CONCERT_MAX_NAME bytes, that name in *twice, a JSON string, else
 * NULL.  The caller calls json_decref() for both.
 */
json_t *ngx_http_concert_json_parse(const void *p, size_t len, char *error,
    size_t size, json_t **twice);

/*
 * Reads the member that must be an integer of min..max.  Returns NULL, or what
 * is wrong with it: a phrase to follow the member's name.
 */
const char *ngx_http_concert_json_member(const json_t *object,
    const char *name, int64_t min, int64_t max, int64_t *value);

/*
 * Reads the member that must be an array of 1..max different integers, each of
 * 1..NGX_HTTP_CONCERT_MAX_INTEGER.  Returns as above.
 */
const char *ngx_http_concert_json_ids(const json_t *object, const char *name,
    int64_t *ids, size_t max, size_t *n);


/*
 * An integer of min..max in plain decimal: no sign, no leading zero, nothing
 * else.  Returns 0, or -1.
 */
int ngx_http_concert_parse_integer(const void *p, size_t len, int64_t min,
    int64_t max, int64_t *value);


#endif /* NGX_HTTP_CONCERT_JSON_H_INCLUDED */
