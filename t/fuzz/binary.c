
/* Integers as PostgreSQL sends them: int2, int4 and int8, and a null. */

#include "core/json.c"
#include "core/parse.c"
#include "fuzz.h"

#include <endian.h>


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

    return 0;
}
