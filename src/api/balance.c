
/* GET /api/balance/{userId}: what a user can pay with */

#include "api/api.h"


static ngx_int_t ngx_http_concert_balance_start(
    ngx_http_concert_call_t *call);
static void ngx_http_concert_balance_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);


static const ngx_http_concert_op_t  ngx_http_concert_balance = {
    "balance", NGX_HTTP_CONCERT_READ, "a", 1
};


ngx_http_concert_route_t  ngx_http_concert_balance_route = {
    ngx_string("balance"),
    {
        { NGX_HTTP_GET,
          NGX_HTTP_CONCERT_NEEDS_POSTGRES|NGX_HTTP_CONCERT_ID
          |NGX_HTTP_CONCERT_ID_IS_USER,
          NULL,
          ngx_http_concert_balance_start,
          NULL }
    }
};


static ngx_int_t
ngx_http_concert_balance_start(ngx_http_concert_call_t *call)
{
    return ngx_http_concert_balance_run(call, NULL);
}


ngx_int_t
ngx_http_concert_balance_run(ngx_http_concert_call_t *call,
    void (*done)(ngx_http_concert_call_t *call))
{
    ngx_http_concert_call_step(call, &ngx_http_concert_balance,
                               ngx_http_concert_balance_read);

    if (ngx_http_concert_call_integer(call, call->user_id) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_concert_run(call, done);
}


static void
ngx_http_concert_balance_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    if (res->rows == 0 || res->null(res, 0, 1)) {
        ngx_http_concert_call_fail(call, "user_not_found", NULL);
        return;
    }

    ngx_http_concert_balance_body(call, res->integer(res, 0, 1));
}


void
ngx_http_concert_balance_body(ngx_http_concert_call_t *call, int64_t amount)
{
    ngx_http_concert_json_t  json;

    ngx_http_concert_call_json(call, &json, 64);
    ngx_http_concert_json_text(&json, "{\"userId\":");
    ngx_http_concert_json_integer(&json, call->user_id);
    ngx_http_concert_json_text(&json, ",\"amount\":");
    ngx_http_concert_json_integer(&json, amount);
    ngx_http_concert_json_text(&json, "}");
    ngx_http_concert_call_body(call, &json);
}
