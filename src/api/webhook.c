
/*
 * POST /api/gateway/webhook: the payment gateway says that a payment has
 * changed.  Anybody could say so: it only makes the settle job look that order
 * up now.
 */

#include "api/api.h"


static ngx_int_t ngx_http_concert_webhook_parse(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, json_t *body);
static ngx_int_t ngx_http_concert_webhook_start(
    ngx_http_concert_call_t *call);
static void ngx_http_concert_webhook_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);
static void ngx_http_concert_webhook_thank(ngx_http_concert_call_t *call);


static const ngx_http_concert_op_t  ngx_http_concert_look_now = {
    "look_now", NGX_HTTP_CONCERT_WRITE, "a", 1
};


ngx_http_concert_route_t  ngx_http_concert_gateway_webhook_route = {
    ngx_string("gateway_webhook"),
    {
        { NGX_HTTP_POST,
          NGX_HTTP_CONCERT_NEEDS_POSTGRES|NGX_HTTP_CONCERT_BODY,
          ngx_http_concert_webhook_parse,
          ngx_http_concert_webhook_start,
          NULL }
    }
};


static ngx_int_t
ngx_http_concert_webhook_parse(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, json_t *body)
{
    json_t      *data;
    ngx_int_t    rc;
    ngx_str_t   *order;
    const char  *event;

    event = json_string_value(json_object_get(body, "eventType"));
    data = json_object_get(body, "data");

    if (event == NULL) {
        return ngx_http_concert_bad_request(call, "eventType",
                                            "must be a string");
    }

    if (!json_is_object(data)) {
        return ngx_http_concert_bad_request(call, "data",
                                            "must be an object");
    }

    /* of other events we need nothing */

    if (ngx_strcmp(event, "PAYMENT_STATUS_CHANGED") != 0) {
        ngx_http_concert_webhook_thank(call);
        return NGX_DECLINED;
    }

    order = ngx_palloc(call->pool, sizeof(ngx_str_t));
    if (order == NULL) {
        return NGX_ERROR;
    }

    call->data = order;

    rc = ngx_http_concert_card_word(call, data, "orderId", 1,
                                    NGX_HTTP_CONCERT_MAX_ORDER, order);

    if (rc == NGX_OK && order->data == NULL) {
        rc = ngx_http_concert_bad_request(call, "data",
                                          "must have an orderId");
    }

    return rc;
}


static ngx_int_t
ngx_http_concert_webhook_start(ngx_http_concert_call_t *call)
{
    ngx_http_concert_call_step(call, &ngx_http_concert_look_now,
                               ngx_http_concert_webhook_read);

    if (ngx_http_concert_call_quoted(call, call->data) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_concert_run(call, NULL);
}


/* whether there is such an order is nobody's business */

static void
ngx_http_concert_webhook_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    ngx_http_concert_webhook_thank(call);
}


static void
ngx_http_concert_webhook_thank(ngx_http_concert_call_t *call)
{
    call->reply.status = NGX_HTTP_OK;
    ngx_str_set(&call->reply.body, "{}");
}
