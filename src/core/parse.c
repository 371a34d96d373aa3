
#include "core/parse.h"
#include "core/json.h"

#include <endian.h>
#include <string.h>
#include <strings.h>


#define NGX_HTTP_CONCERT_TYPE    "application/json"
#define NGX_HTTP_CONCERT_TREE    "application/"
#define NGX_HTTP_CONCERT_SUFFIX  "+json"


static ngx_http_concert_parse_e ngx_http_concert_parse_argument(
    const char *query, size_t len, const char *name, const char **value,
    size_t *value_len);
static int ngx_http_concert_parse_digits(const char *p, size_t n);
static ngx_http_concert_parse_e ngx_http_concert_parse_zone(const char *p,
    size_t len, int *minutes);
static int64_t ngx_http_concert_parse_date(int year, int month, int day);
static size_t ngx_http_concert_parse_fraction(const char *p, size_t len,
    int *ms);


ngx_http_concert_parse_e
ngx_http_concert_parse_query(const void *query, size_t len, const char *name,
    int64_t min, int64_t max, int64_t *value)
{
    size_t                     text_len;
    const char                *text;
    ngx_http_concert_parse_e   found;

    found = ngx_http_concert_parse_argument(query, len, name, &text,
                                            &text_len);

    if (found == NGX_HTTP_CONCERT_PARSE_OK
        && ngx_http_concert_parse_integer(text, text_len, min, max, value)
           != 0)
    {
        return NGX_HTTP_CONCERT_PARSE_WRONG;
    }

    return found;
}


ngx_http_concert_parse_e
ngx_http_concert_parse_word(const void *query, size_t len, const char *name,
    const char *const *words, size_t *word)
{
    size_t                     i, text_len;
    const char                *text;
    ngx_http_concert_parse_e   found;

    found = ngx_http_concert_parse_argument(query, len, name, &text,
                                            &text_len);

    if (found != NGX_HTTP_CONCERT_PARSE_OK) {
        return found;
    }

    for (i = 0; words[i]; i++) {
        if (strlen(words[i]) == text_len
            && memcmp(words[i], text, text_len) == 0)
        {
            *word = i;
            return NGX_HTTP_CONCERT_PARSE_OK;
        }
    }

    return NGX_HTTP_CONCERT_PARSE_WRONG;
}


/* what follows name= */

static ngx_http_concert_parse_e
ngx_http_concert_parse_argument(const char *query, size_t len,
    const char *name, const char **value, size_t *value_len)
{
    size_t                     name_len;
    const char                *p, *end, *last;
    ngx_http_concert_parse_e   found;

    found = NGX_HTTP_CONCERT_PARSE_NONE;
    name_len = strlen(name);
    last = query + len;

    for (p = query; p < last; p = end + 1) {
        end = memchr(p, '&', last - p);
        if (end == NULL) {
            end = last;
        }

        if ((size_t) (end - p) <= name_len || p[name_len] != '='
            || memcmp(p, name, name_len) != 0)
        {
            continue;
        }

        if (found == NGX_HTTP_CONCERT_PARSE_OK) {
            return NGX_HTTP_CONCERT_PARSE_TWICE;
        }

        *value = p + name_len + 1;
        *value_len = end - *value;

        found = NGX_HTTP_CONCERT_PARSE_OK;
    }

    return found;
}


ngx_http_concert_parse_e
ngx_http_concert_parse_path_id(const void *path, size_t len, size_t prefix,
    int64_t *id)
{
    const char  *p, *start, *last;

    start = (const char *) path + prefix;
    last = (const char *) path + len;

    for (p = last; p > start && p[-1] != '/'; p--) { /* void */ }

    if (prefix && p != start) {
        return NGX_HTTP_CONCERT_PARSE_NONE;
    }

    return ngx_http_concert_parse_integer(p, last - p, 1,
                                          NGX_HTTP_CONCERT_MAX_INTEGER, id)
           == 0 ? NGX_HTTP_CONCERT_PARSE_OK : NGX_HTTP_CONCERT_PARSE_WRONG;
}


size_t
ngx_http_concert_parse_key(const void *value, size_t len, size_t *start)
{
    size_t                i, last;
    const unsigned char  *p;

    p = value;
    i = 0;
    last = len;

    if (len > 1 && p[0] == '"' && p[len - 1] == '"') {
        i++;
        last--;
    }

    if (last - i > NGX_HTTP_CONCERT_MAX_KEY) {
        return 0;
    }

    for (*start = i; i < last; i++) {
        if (p[i] <= ' ' || p[i] >= 0x7f) {
            return 0;
        }
    }

    return last - *start;
}


int
ngx_http_concert_parse_json_type(const void *type, size_t len)
{
    size_t       suffix, tree;
    const char  *p, *end;

    p = type;
    suffix = sizeof(NGX_HTTP_CONCERT_SUFFIX) - 1;
    tree = sizeof(NGX_HTTP_CONCERT_TREE) - 1;

    end = len ? memchr(p, ';', len) : NULL;

    if (end) {
        len = end - p;
    }

    while (len && p[len - 1] == ' ') {
        len--;
    }

    if (len == sizeof(NGX_HTTP_CONCERT_TYPE) - 1
        && strncasecmp(p, NGX_HTTP_CONCERT_TYPE, len) == 0)
    {
        return 1;
    }

    return len > tree + suffix
           && strncasecmp(p, NGX_HTTP_CONCERT_TREE, tree) == 0
           && strncasecmp(p + len - suffix, NGX_HTTP_CONCERT_SUFFIX, suffix)
              == 0;
}


int64_t
ngx_http_concert_parse_binary(const void *p, size_t len)
{
    size_t                i;
    uint32_t              half;
    uint64_t              n;
    const unsigned char  *s;

    /* nearly all are of these lengths */

    if (len == sizeof(half)) {
        memcpy(&half, p, sizeof(half));
        return (int32_t) be32toh(half);
    }

    if (len == sizeof(n)) {
        memcpy(&n, p, sizeof(n));
        return (int64_t) be64toh(n);
    }

    s = p;
    n = (len && (s[0] & 0x80)) ? UINT64_MAX : 0;

    for (i = 0; i < len; i++) {
        n = n << 8 | s[i];
    }

    return (int64_t) n;
}


/* dimensions, flags, type; for each dimension its size and its lower bound */
#define NGX_HTTP_CONCERT_ARRAY_HEADER  (5 * sizeof(uint32_t))


void
ngx_http_concert_parse_array(const void *p, size_t len,
    ngx_http_concert_array_t *array)
{
    int64_t  n;

    array->pos = p;
    array->last = p;
    array->n = 0;

    if (len < NGX_HTTP_CONCERT_ARRAY_HEADER
        || ngx_http_concert_parse_binary(p, sizeof(uint32_t)) != 1)
    {
        return;
    }

    n = ngx_http_concert_parse_binary((const char *) p
                                      + 3 * sizeof(uint32_t),
                                      sizeof(uint32_t));

    array->pos += NGX_HTTP_CONCERT_ARRAY_HEADER;
    array->last += len;

    if (n > 0 && (size_t) n <= (len - NGX_HTTP_CONCERT_ARRAY_HEADER)
                               / sizeof(uint32_t))
    {
        array->n = (size_t) n;
    }
}


int64_t
ngx_http_concert_parse_next(ngx_http_concert_array_t *array)
{
    int64_t               len;
    const unsigned char  *p;

    if (array->n == 0
        || (size_t) (array->last - array->pos) < sizeof(uint32_t))
    {
        array->n = 0;
        return 0;
    }

    array->n--;

    len = ngx_http_concert_parse_binary(array->pos, sizeof(uint32_t));
    p = array->pos + sizeof(uint32_t);
    array->pos = p;

    if (len <= 0) {
        return 0;
    }

    if (len > (int64_t) sizeof(int64_t) || len > array->last - p) {
        array->n = 0;
        return 0;
    }

    array->pos += len;

    return ngx_http_concert_parse_binary(p, (size_t) len);
}


/* digits of a number that is written with so many; -1: there are others */

static int
ngx_http_concert_parse_digits(const char *p, size_t n)
{
    int  value;

    for (value = 0; n; n--, p++) {
        if (*p < '0' || *p > '9') {
            return -1;
        }

        value = value * 10 + *p - '0';
    }

    return value;
}


/* a "Z", or hours and minutes ahead of UTC: in minutes */

static ngx_http_concert_parse_e
ngx_http_concert_parse_zone(const char *p, size_t len, int *minutes)
{
    int  hour, minute;

    *minutes = 0;

    if (len == 1 && (*p == 'Z' || *p == 'z')) {
        return NGX_HTTP_CONCERT_PARSE_OK;
    }

    if (len != sizeof("+09:00") - 1 || (*p != '+' && *p != '-')
        || p[3] != ':')
    {
        return NGX_HTTP_CONCERT_PARSE_WRONG;
    }

    hour = ngx_http_concert_parse_digits(p + 1, 2);
    minute = ngx_http_concert_parse_digits(p + 4, 2);

    if (hour < 0 || hour > 23 || minute < 0 || minute > 59) {
        return NGX_HTTP_CONCERT_PARSE_WRONG;
    }

    *minutes = (hour * 60 + minute) * (*p == '-' ? -1 : 1);

    return NGX_HTTP_CONCERT_PARSE_OK;
}


/* days since 1970 of a date that there is, or -1; years begin with March */

static int64_t
ngx_http_concert_parse_date(int year, int month, int day)
{
    int  leap, y, m;

    static const int  days[] = {
        31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31
    };

    if (year < 1970 || month < 1 || month > 12 || day < 1) {
        return -1;
    }

    leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    if (day > days[month - 1] + (month == 2 && leap)) {
        return -1;
    }

    y = month < 3 ? year - 1 : year;
    m = month < 3 ? month + 9 : month - 3;

    return (int64_t) y * 365 + y / 4 - y / 100 + y / 400
           + (m * 153 + 2) / 5 + day - 1 - 719468;
}


/* .123 in ms; returns how many bytes it has, 0: it is none */

static size_t
ngx_http_concert_parse_fraction(const char *p, size_t len, int *ms)
{
    int     unit;
    size_t  n;

    *ms = 0;

    if (len == 0 || *p != '.') {
        return 0;
    }

    unit = 100;

    for (n = 1; n < len && p[n] >= '0' && p[n] <= '9'; n++) {
        *ms += (p[n] - '0') * unit;
        unit /= 10;
    }

    return n > 1 ? n : 0;
}


ngx_http_concert_parse_e
ngx_http_concert_parse_time(const void *text, size_t len, int64_t *ms)
{
    int          hour, minute, second, fraction, zone;
    size_t       n;
    int64_t      date;
    const char  *p;

    p = text;
    n = sizeof("2027-03-01T20:00:00") - 1;

    if (len <= n || p[4] != '-' || p[7] != '-' || (p[10] | 0x20) != 't'
        || p[13] != ':' || p[16] != ':')
    {
        return NGX_HTTP_CONCERT_PARSE_WRONG;
    }

    date = ngx_http_concert_parse_date(ngx_http_concert_parse_digits(p, 4),
                                    ngx_http_concert_parse_digits(p + 5, 2),
                                    ngx_http_concert_parse_digits(p + 8, 2));
    hour = ngx_http_concert_parse_digits(p + 11, 2);
    minute = ngx_http_concert_parse_digits(p + 14, 2);
    second = ngx_http_concert_parse_digits(p + 17, 2);

    n += ngx_http_concert_parse_fraction(p + n, len - n, &fraction);

    if (date < 0 || hour < 0 || hour > 23 || minute < 0 || minute > 59
        || second < 0 || second > 59
        || ngx_http_concert_parse_zone(p + n, len - n, &zone)
           != NGX_HTTP_CONCERT_PARSE_OK)
    {
        return NGX_HTTP_CONCERT_PARSE_WRONG;
    }

    *ms = ((date * 24 * 60 + hour * 60 + minute - zone) * 60 + second) * 1000
          + fraction;

    return *ms > 0 ? NGX_HTTP_CONCERT_PARSE_OK : NGX_HTTP_CONCERT_PARSE_WRONG;
}
