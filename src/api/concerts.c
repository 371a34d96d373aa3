
/* GET /api/concerts: the concerts, by id */

#include "api/api.h"


static ngx_int_t ngx_http_concert_concerts_start(
    ngx_http_concert_call_t *call);
static void ngx_http_concert_concerts_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);


static const ngx_http_concert_op_t  ngx_http_concert_concerts_page = {
    "concerts_page", NGX_HTTP_CONCERT_READ, NULL
};


ngx_http_concert_route_t  ngx_http_concert_concerts_route = {
    ngx_string("concerts"),
    {
        { NGX_HTTP_GET,
          NGX_HTTP_CONCERT_NEEDS_POSTGRES|NGX_HTTP_CONCERT_NEEDS_REDIS
          |NGX_HTTP_CONCERT_CALLER|NGX_HTTP_CONCERT_ACTIVE,
          ngx_http_concert_page_parse,
          ngx_http_concert_concerts_start,
          NULL }
    }
};


static ngx_int_t
ngx_http_concert_concerts_start(ngx_http_concert_call_t *call)
{
    ngx_http_concert_page_t  *page;

    page = call->data;

    ngx_http_concert_call_step(call, &ngx_http_concert_concerts_page,
                               ngx_http_concert_concerts_read);

    if (ngx_http_concert_call_integer(call, page->after) != NGX_OK
        || ngx_http_concert_call_integer(call, page->size + 1) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_concert_run(call, NULL);
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
