
/* GET /api/reservations/payments/{paymentId}: a payment of the caller's */

#include "api/api.h"


static ngx_int_t ngx_http_concert_payment_start(
    ngx_http_concert_call_t *call);
static void ngx_http_concert_payment_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);


static const ngx_http_concert_op_t  ngx_http_concert_payment = {
    "payment", NGX_HTTP_CONCERT_READ, NULL, 1
};


ngx_http_concert_route_t  ngx_http_concert_payment_route = {
    ngx_string("payment"),
    {
        { NGX_HTTP_GET,
          NGX_HTTP_CONCERT_NEEDS_POSTGRES|NGX_HTTP_CONCERT_ID
          |NGX_HTTP_CONCERT_CALLER,
          NULL,
          ngx_http_concert_payment_start,
          NULL }
    }
};


static ngx_int_t
ngx_http_concert_payment_start(ngx_http_concert_call_t *call)
{
    ngx_http_concert_call_step(call, &ngx_http_concert_payment,
                               ngx_http_concert_payment_read);

    if (ngx_http_concert_call_integer(call, call->user_id) != NGX_OK
        || ngx_http_concert_call_integer(call, call->id) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_concert_run(call, NULL);
}


static void
ngx_http_concert_payment_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    ngx_str_t  status;

    if (res->rows == 0) {
        ngx_http_concert_call_fail(call, "payment_not_found", NULL);
        return;
    }

    status = res->string(res, 0, 3);

    ngx_http_concert_payment_body(call, call->id, res->integer(res, 0, 1),
                                  res->integer(res, 0, 2), &status,
                                  res->integer(res, 0, 4));
}


void
ngx_http_concert_payment_body(ngx_http_concert_call_t *call,
    int64_t payment_id, int64_t reservation_id, int64_t amount,
    const ngx_str_t *status, int64_t paid)
{
    ngx_http_concert_json_t  json;

    ngx_http_concert_call_json(call, &json, 256);
    ngx_http_concert_json_text(&json, "{\"paymentId\":");
    ngx_http_concert_json_integer(&json, payment_id);
    ngx_http_concert_json_text(&json, ",\"reservationId\":");
    ngx_http_concert_json_integer(&json, reservation_id);
    ngx_http_concert_json_text(&json, ",\"userId\":");
    ngx_http_concert_json_integer(&json, call->user_id);
    ngx_http_concert_json_text(&json, ",\"amount\":");
    ngx_http_concert_json_integer(&json, amount);
    ngx_http_concert_json_text(&json, ",\"status\":");
    ngx_http_concert_json_string(&json, status->data, status->len);
    ngx_http_concert_json_text(&json, ",\"paymentTime\":");
    ngx_http_concert_json_time(&json, paid);
    ngx_http_concert_json_text(&json, "}");
    ngx_http_concert_call_body(call, &json);
}
