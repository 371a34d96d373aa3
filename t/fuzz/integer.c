
/* Integers of paths, queries and headers, against another way to read them. */

#include "core/json.c"
#include "fuzz.h"


static void
check(const char *text, size_t len, int64_t min, int64_t max)
{
    int      rc;
    int64_t  value, expected;

    value = -7;
    expected = -7;

    rc = ngx_http_concert_parse_integer(text, len, min, max, &value);

    promise(rc == reference_integer(text, len, min, max, &expected));
    promise(value == expected);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char  *text;

    text = block_of(data, size);

    check(text, size, 0, NGX_HTTP_CONCERT_MAX_INTEGER);
    check(text, size, 1, NGX_HTTP_CONCERT_MAX_INTEGER);
    check(text, size, 1, 500);

    free(text);

    return 0;
}
