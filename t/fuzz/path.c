
/* The id that ends a path, after any prefix and after none. */

#include "core/json.c"
#include "core/parse.c"
#include "fuzz.h"


static ngx_http_concert_parse_e
reference(const char *path, size_t len, size_t prefix, int64_t *id)
{
    size_t  i, start;

    start = prefix;

    for (i = prefix; i < len; i++) {
        if (path[i] == '/') {
            start = i + 1;
        }
    }

    if (prefix && start != prefix) {
        return NGX_HTTP_CONCERT_PARSE_NONE;
    }

    return reference_integer(path + start, len - start, 1,
                             NGX_HTTP_CONCERT_MAX_INTEGER, id)
           == 0 ? NGX_HTTP_CONCERT_PARSE_OK : NGX_HTTP_CONCERT_PARSE_WRONG;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char                     *path;
    size_t                    prefix;
    int64_t                   id, expected;
    ngx_http_concert_parse_e  found;

    path = block_of(data, size);

    for (prefix = 0; prefix <= size && prefix < 32; prefix++) {
        id = -7;
        expected = -7;

        found = ngx_http_concert_parse_path_id(path, size, prefix, &id);

        promise(found == reference(path, size, prefix, &expected));
        promise(id == expected);
    }

    free(path);

    return 0;
}
