
/* Integers of a query, against arguments that are taken apart one by one. */

#include "core/json.c"
#include "core/parse.c"
#include "fuzz.h"


static ngx_http_concert_parse_e
reference(const uint8_t *data, size_t size, const char *name, int64_t min,
    int64_t max, int64_t *value)
{
    char    *copy, *rest, *argument;
    size_t   len, n;

    n = 0;
    len = strlen(name);

    /* arguments as strings; a NUL byte is nothing that an integer has */

    copy = malloc(size + 1);
    promise(copy != NULL);
    memcpy(copy, size ? (const char *) data : "", size);
    copy[size] = '\0';

    for (argument = copy; argument < copy + size; argument = rest) {
        rest = argument;

        while (rest < copy + size && *rest != '&') {
            rest++;
        }

        *rest = '\0';

        if (strncmp(argument, name, len) == 0 && argument[len] == '=') {

            if (n++) {
                free(copy);
                return NGX_HTTP_CONCERT_PARSE_TWICE;
            }

            argument += len + 1;

            if (reference_integer(argument, rest - argument, min, max, value)
                != 0)
            {
                free(copy);
                return NGX_HTTP_CONCERT_PARSE_WRONG;
            }
        }

        rest++;
    }

    free(copy);

    return n ? NGX_HTTP_CONCERT_PARSE_OK : NGX_HTTP_CONCERT_PARSE_NONE;
}


static void
check(const uint8_t *data, const char *query, size_t size, const char *name,
    int64_t min, int64_t max)
{
    int64_t                   value, expected;
    ngx_http_concert_parse_e  found;

    value = -7;
    expected = -7;

    found = ngx_http_concert_parse_query(query, size, name, min, max, &value);

    promise(found == reference(data, size, name, min, max, &expected));
    promise(value == expected);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char  *query;

    query = block_of(data, size);

    check(data, query, size, "size", 1, 500);
    check(data, query, size, "after", 0, NGX_HTTP_CONCERT_MAX_INTEGER);
    check(data, query, size, "end", 0, NGX_HTTP_CONCERT_MAX_INTEGER);

    free(query);

    return 0;
}
