
/*
 * Integers as PostgreSQL sends them: int2, int4 and int8, and a null; and
 * arrays of them.
 */

#include "core/json.c"
#include "core/parse.c"
#include "fuzz.h"

#include <endian.h>


/* whatever the bytes say, as many elements as were promised, and then none */

static void
read_array(const uint8_t *data, size_t size)
{
    char                      *p;
    size_t                     n;
    ngx_http_concert_array_t   array;

    p = block_of(data, size);

    ngx_http_concert_parse_array(p, size, &array);
    promise(array.n <= size / 4);

    for (n = array.n; n && array.n; n--) {
        (void) ngx_http_concert_parse_next(&array);
        promise(array.n < n);
    }

    promise(ngx_http_concert_parse_next(&array) == 0 && array.n == 0);

    free(p);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char     *p;
    size_t    len;
    uint16_t  n2;
    uint32_t  n4;
    uint64_t  n8;

    promise(ngx_http_concert_parse_binary(data, 0) == 0);

    for (len = 2; len <= 8 && len <= size; len *= 2) {
        p = block_of(data, len);

        memcpy(&n2, p, 2);
        memcpy(&n4, p, len < 4 ? len : 4);
        memcpy(&n8, p, len);

        promise(ngx_http_concert_parse_binary(p, len)
                == (len == 2 ? (int16_t) be16toh(n2)
                    : len == 4 ? (int32_t) be32toh(n4)
                    : (int64_t) be64toh(n8)));

        free(p);
    }

    read_array(data, size);

    return 0;
}
