
/*
 * What requests say outside of their bodies, and what stores answer: parsers of
 * bytes that others wrote.  Like json.h they know nothing of nginx, so that
 * they are tested and fuzzed alone.  Any thread; nothing is allocated.
 */


#ifndef NGX_HTTP_CONCERT_PARSE_H_INCLUDED
#define NGX_HTTP_CONCERT_PARSE_H_INCLUDED


#include <stddef.h>
#include <stdint.h>


#define NGX_HTTP_CONCERT_MAX_KEY  255


typedef enum {
    NGX_HTTP_CONCERT_PARSE_OK = 0,
    NGX_HTTP_CONCERT_PARSE_NONE,        /* it is not there */
    NGX_HTTP_CONCERT_PARSE_TWICE,
    NGX_HTTP_CONCERT_PARSE_WRONG
} ngx_http_concert_parse_e;


/*
 * The integer of min..max that a query has as name=value, once or not at all.
 * An argument of that name without "=" is none.
 */
ngx_http_concert_parse_e ngx_http_concert_parse_query(const void *query,
    size_t len, const char *name, int64_t min, int64_t max, int64_t *value);

/* the same for one of some words, whose list ends with NULL: which it is */
ngx_http_concert_parse_e ngx_http_concert_parse_word(const void *query,
    size_t len, const char *name, const char *const *words, size_t *word);

/*
 * The id of 1..NGX_HTTP_CONCERT_MAX_INTEGER that is all of a path after its
 * first "prefix" bytes; with 0, after its last slash.  NONE: more than one
 * segment follows the prefix.
 */
ngx_http_concert_parse_e ngx_http_concert_parse_path_id(const void *path,
    size_t len, size_t prefix, int64_t *id);

/*
 * An Idempotency-Key, bare or in double quotes: 1..NGX_HTTP_CONCERT_MAX_KEY
 * visible ASCII characters.  Returns how many, and where in value they begin;
 * 0 if it is wrong.
 */
size_t ngx_http_concert_parse_key(const void *value, size_t len,
    size_t *start);

/* whether a Content-Type is of JSON: RFC 8259, and RFC 6838, 4.2.8 */
int ngx_http_concert_parse_json_type(const void *type, size_t len);

/*
 * A time of RFC 3339, as 2027-03-01T20:00:00+09:00 or with "Z", of the years
 * 1970 to 9999 and without a leap second: ms since 1970.
 */
ngx_http_concert_parse_e ngx_http_concert_parse_time(const void *text,
    size_t len, int64_t *ms);

/* a signed integer of at most 8 bytes in network order; of none, 0 */
int64_t ngx_http_concert_parse_binary(const void *p, size_t len);


/* an array of integers, of which n are left */

typedef struct {
    const unsigned char  *pos;
    const unsigned char  *last;
    size_t                n;
} ngx_http_concert_array_t;

/*
 * Begins to read an array of one dimension as PostgreSQL sends it in binary
 * (array_send); of bytes that are none, one without elements.
 */
void ngx_http_concert_parse_array(const void *p, size_t len,
    ngx_http_concert_array_t *array);

/* the next element; 0 for a null, and when nothing is left */
int64_t ngx_http_concert_parse_next(ngx_http_concert_array_t *array);


#endif /* NGX_HTTP_CONCERT_PARSE_H_INCLUDED */
