
#include "api/api.h"


/* most of what is printed at once is no longer, bytes */
#define NGX_HTTP_CONCERT_PRINT  256


/* nginx's formats do not say how long the text is: until it fits */

void
ngx_http_concert_print(ngx_http_concert_json_t *json, const char *fmt, ...)
{
    size_t    size;
    u_char   *last;
    va_list   args;

    for (size = NGX_HTTP_CONCERT_PRINT;
         ngx_http_concert_json_reserve(json, size);
         size *= 2)
    {
        va_start(args, fmt);
        last = ngx_vslprintf(json->pos, json->pos + size, fmt, args);
        va_end(args);

        if (last < json->pos + size) {
            json->pos = last;
            return;
        }
    }
}
