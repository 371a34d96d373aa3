
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
    ngx_str_t                   method;
    ngx_http_concert_payment_t  payment;

    if (res->rows == 0) {
        ngx_http_concert_call_fail(call, "payment_not_found", NULL);
        return;
    }

    method = res->string(res, 0, 5);

    payment.id = call->id;
    payment.reservation_id = res->integer(res, 0, 1);
    payment.amount = res->integer(res, 0, 2);
    payment.status = res->string(res, 0, 3);
    payment.time = res->integer(res, 0, 4);
    payment.card = (method.len == 4
                    && ngx_strncmp(method.data, "card", 4) == 0);
    payment.code = res->string(res, 0, 6);
    payment.reason = res->string(res, 0, 7);

    ngx_http_concert_payment_body(call, &payment);
}


void
ngx_http_concert_payment_body(ngx_http_concert_call_t *call,
    const ngx_http_concert_payment_t *payment)
{
    ngx_http_concert_json_t  json;

    ngx_http_concert_call_json(call, &json, 256);
    ngx_http_concert_payment_json(&json, call->user_id, payment);
    ngx_http_concert_call_body(call, &json);
}


void
ngx_http_concert_payment_json(ngx_http_concert_json_t *json,
    int64_t user_id, const ngx_http_concert_payment_t *payment)
{
    ngx_http_concert_json_text(json, "{\"paymentId\":");
    ngx_http_concert_json_integer(json, payment->id);
    ngx_http_concert_json_text(json, ",\"reservationId\":");

    if (payment->reservation_id) {
        ngx_http_concert_json_integer(json, payment->reservation_id);
    } else {
        ngx_http_concert_json_text(json, "null");
    }

    ngx_http_concert_json_text(json, ",\"userId\":");
    ngx_http_concert_json_integer(json, user_id);
    ngx_http_concert_json_text(json, ",\"amount\":");
    ngx_http_concert_json_integer(json, payment->amount);
    ngx_http_concert_json_text(json, ",\"status\":");
    ngx_http_concert_json_string(json, payment->status.data,
                                 payment->status.len);
    ngx_http_concert_json_text(json, ",\"paymentTime\":");
    ngx_http_concert_json_time(json, payment->time);

    if (payment->card) {
        ngx_http_concert_json_text(json, ",\"method\":\"card\"");
        ngx_http_concert_payment_reason(json, payment);
    }

    ngx_http_concert_json_text(json, "}");
}


/* what the gateway said before it was clear is of no use to anybody */

void
ngx_http_concert_payment_reason(ngx_http_concert_json_t *json,
    const ngx_http_concert_payment_t *payment)
{
    if (payment->status.len != 8
        || ngx_strncmp(payment->status.data, "DECLINED", 8) != 0)
    {
        return;
    }

    if (payment->code.len) {
        ngx_http_concert_json_text(json, ",\"gatewayCode\":");
        ngx_http_concert_json_string(json, payment->code.data,
                                     payment->code.len);
    }

    if (payment->reason.len) {
        ngx_http_concert_json_text(json, ",\"reason\":");
        ngx_http_concert_json_string(json, payment->reason.data,
                                     payment->reason.len);
    }
}
