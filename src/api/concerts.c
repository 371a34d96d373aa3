
/* GET /api/concerts: the concerts, by id */

#include "api/api.h"


static ngx_int_t ngx_http_concert_concerts_known(ngx_http_request_t *r,
    const ngx_http_concert_known_t *known);
static ngx_int_t ngx_http_concert_concerts_start(
    ngx_http_concert_call_t *call);
static void ngx_http_concert_concerts_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);


static const ngx_http_concert_list_t  ngx_http_concert_concerts_list = {
    NGX_HTTP_CONCERT_LIST_CONCERTS,
    { "concerts_page", NGX_HTTP_CONCERT_READ, NULL, 8 },
    ngx_http_concert_concerts_read
};


ngx_http_concert_route_t  ngx_http_concert_concerts_route = {
    ngx_string("concerts"),
    {
        { NGX_HTTP_GET,
          NGX_HTTP_CONCERT_NEEDS_POSTGRES|NGX_HTTP_CONCERT_NEEDS_REDIS
          |NGX_HTTP_CONCERT_CALLER|NGX_HTTP_CONCERT_ACTIVE,
          ngx_http_concert_page_parse,
          ngx_http_concert_concerts_start,
          ngx_http_concert_concerts_known }
    }
};


static ngx_int_t
ngx_http_concert_concerts_known(ngx_http_request_t *r,
    const ngx_http_concert_known_t *known)
{
    return ngx_http_concert_catalog_known(r, known,
                                          &ngx_http_concert_concerts_list);
}


static ngx_int_t
ngx_http_concert_concerts_start(ngx_http_concert_call_t *call)
{
    return ngx_http_concert_catalog_start(call,
                                          &ngx_http_concert_concerts_list);
}


static void
ngx_http_concert_concerts_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    ngx_str_t                title;
    ngx_uint_t               i, n;
    ngx_http_concert_json_t  json;

    n = ngx_http_concert_page_rows(call, res);

    ngx_http_concert_call_json(call, &json, 64 + n * 64);
    ngx_http_concert_json_text(&json, "[");

    for (i = 0; i < n; i++) {
        if (i) {
            ngx_http_concert_json_text(&json, ",");
        }

        title = res->string(res, i, 1);

        ngx_http_concert_json_text(&json, "{\"concertId\":");
        ngx_http_concert_json_integer(&json, res->integer(res, i, 0));
        ngx_http_concert_json_text(&json, ",\"title\":");
        ngx_http_concert_json_string(&json, title.data, title.len);
        ngx_http_concert_json_text(&json, "}");
    }

    ngx_http_concert_json_text(&json, "]");
    ngx_http_concert_call_body(call, &json);

    if (res->rows > n) {
        ngx_http_concert_page_link(call, res->integer(res, n - 1, 0));
    }
}
