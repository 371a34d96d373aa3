
/*
 * GET /api/reservations: the caller's own, newest first, which is how a lost
 * answer is found again.
 */

#include "api/api.h"


static ngx_int_t ngx_http_concert_reservations_start(
    ngx_http_concert_call_t *call);
static void ngx_http_concert_reservations_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);


static const ngx_http_concert_op_t  ngx_http_concert_reservations_page = {
    "reservations_page", NGX_HTTP_CONCERT_READ, NULL, 8
};


ngx_http_concert_route_t  ngx_http_concert_reservations_route = {
    ngx_string("reservations"),
    {
        { NGX_HTTP_GET,
          NGX_HTTP_CONCERT_NEEDS_POSTGRES|NGX_HTTP_CONCERT_CALLER,
          ngx_http_concert_page_parse,
          ngx_http_concert_reservations_start,
          NULL }
    }
};


static ngx_int_t
ngx_http_concert_reservations_start(ngx_http_concert_call_t *call)
{
    int64_t                   before;
    ngx_http_concert_page_t  *page;

    page = call->data;
    before = page->no_after ? NGX_HTTP_CONCERT_MAX_INTEGER + 1 : page->after;

    ngx_http_concert_call_step(call, &ngx_http_concert_reservations_page,
                               ngx_http_concert_reservations_read);

    if (ngx_http_concert_call_integer(call, call->user_id) != NGX_OK
        || ngx_http_concert_call_integer(call, before) != NGX_OK
        || ngx_http_concert_call_integer(call, page->size + 1) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_concert_run(call, NULL);
}


static void
ngx_http_concert_reservations_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    ngx_uint_t               i, n;
    ngx_http_concert_json_t  json;

    n = ngx_http_concert_page_rows(call, res);

    ngx_http_concert_call_json(call, &json, 64 + n * 320);
    ngx_http_concert_json_text(&json, "[");

    for (i = 0; i < n; i++) {
        if (i) {
            ngx_http_concert_json_text(&json, ",");
        }

        ngx_http_concert_reservation_row(&json, call->user_id, res, i);
    }

    ngx_http_concert_json_text(&json, "]");
    ngx_http_concert_call_body(call, &json);

    if (res->rows > n) {
        ngx_http_concert_page_link(call, res->integer(res, n - 1, 0));
    }
}
