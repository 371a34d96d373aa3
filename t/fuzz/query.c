
/*
 * Integers and words of a query, against arguments that are taken apart one by
 * one.
 */

#include "core/json.c"
#include "core/parse.c"
#include "fuzz.h"


/* the argument's value as a string, which the caller frees */

static ngx_http_concert_parse_e
reference(const uint8_t *data, size_t size, const char *name, char **value,
    size_t *value_len)
{
    char    *copy, *rest, *argument;
    size_t   len, n;

    n = 0;
    len = strlen(name);

    copy = malloc(size + 1);
    *value = malloc(size + 1);
    promise(copy != NULL && *value != NULL);
    memcpy(copy, size ? (const char *) data : "", size);
    copy[size] = '\0';

    for (argument = copy; argument < copy + size; argument = rest + 1) {
        rest = argument;

        while (rest < copy + size && *rest != '&') {
            rest++;
        }

        *rest = '\0';

        if (strncmp(argument, name, len) == 0 && argument[len] == '='
            && n++ == 0)
        {
            *value_len = rest - argument - len - 1;
            memcpy(*value, argument + len + 1, *value_len + 1);
        }
    }

    free(copy);

    return n > 1 ? NGX_HTTP_CONCERT_PARSE_TWICE
           : n ? NGX_HTTP_CONCERT_PARSE_OK : NGX_HTTP_CONCERT_PARSE_NONE;
}


static void
check(const uint8_t *data, const char *query, size_t size, const char *name,
    int64_t min, int64_t max)
{
    char                      *text;
    size_t                     len;
    int64_t                    value, expected;
    ngx_http_concert_parse_e   found, right;

    value = -7;
    expected = -7;

    found = ngx_http_concert_parse_query(query, size, name, min, max, &value);
    right = reference(data, size, name, &text, &len);

    if (right == NGX_HTTP_CONCERT_PARSE_OK
        && reference_integer(text, len, min, max, &expected) != 0)
    {
        right = NGX_HTTP_CONCERT_PARSE_WRONG;
    }

    promise(found == right);
    promise(value == expected);

    free(text);
}


static void
check_word(const uint8_t *data, const char *query, size_t size,
    const char *name)
{
    char                      *text;
    size_t                     len, word, expected;
    ngx_http_concert_parse_e   found, right;

    static const char *const  words[] = { "available", "all", NULL };

    word = 7;
    expected = 7;

    found = ngx_http_concert_parse_word(query, size, name, words, &word);
    right = reference(data, size, name, &text, &len);

    if (right == NGX_HTTP_CONCERT_PARSE_OK) {

        if (len == strlen(text) && strcmp(text, "available") == 0) {
            expected = 0;

        } else if (len == strlen(text) && strcmp(text, "all") == 0) {
            expected = 1;

        } else {
            right = NGX_HTTP_CONCERT_PARSE_WRONG;
        }
    }

    promise(found == right);
    promise(word == expected);

    free(text);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char  *query;

    query = block_of(data, size);

    check(data, query, size, "size", 1, 500);
    check(data, query, size, "after", 0, NGX_HTTP_CONCERT_MAX_INTEGER);
    check(data, query, size, "end", 0, NGX_HTTP_CONCERT_MAX_INTEGER);
    check_word(data, query, size, "status");

    free(query);

    return 0;
}
