
/*
 * POST /api/payments/orders: an order, which is what a payment or a top-up by
 * card is called at the gateway.  Its id and amount are fixed before the user
 * sees the gateway's window; each attempt has one of its own.
 */

#include "api/api.h"


typedef struct {
    int64_t    reservation_id;   /* 0: a top-up */
    int64_t    charge;
} ngx_http_concert_order_t;


static ngx_int_t ngx_http_concert_order_parse(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, json_t *body);
static ngx_int_t ngx_http_concert_order_member(ngx_http_concert_call_t *call,
    json_t *body, const char *name, int64_t *value);
static ngx_int_t ngx_http_concert_order_start(ngx_http_concert_call_t *call);
static ngx_int_t ngx_http_concert_order_params(ngx_http_concert_call_t *call);
static void ngx_http_concert_order_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);


static const ngx_http_concert_op_t  ngx_http_concert_place_order = {
    "place_order", NGX_HTTP_CONCERT_WRITE, "aaaa", 1
};


ngx_http_concert_route_t  ngx_http_concert_order_route = {
    ngx_string("order"),
    {
        { NGX_HTTP_POST,
          NGX_HTTP_CONCERT_NEEDS_POSTGRES|NGX_HTTP_CONCERT_CALLER
          |NGX_HTTP_CONCERT_BODY|NGX_HTTP_CONCERT_BODY_USER,
          ngx_http_concert_order_parse,
          ngx_http_concert_order_start,
          NULL }
    }
};


static ngx_int_t
ngx_http_concert_order_parse(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, json_t *body)
{
    ngx_int_t                  rc;
    ngx_http_concert_order_t  *order;

    order = ngx_pcalloc(call->pool, sizeof(ngx_http_concert_order_t));
    if (order == NULL) {
        return NGX_ERROR;
    }

    call->data = order;

    rc = ngx_http_concert_order_member(call, body, "reservationId",
                                       &order->reservation_id);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_concert_order_member(call, body, "chargeAmount",
                                       &order->charge);
    if (rc != NGX_OK) {
        return rc;
    }

    if (order->reservation_id && order->charge) {
        return ngx_http_concert_bad_request(call, "chargeAmount",
               "must not be given beside reservationId: an order is for one "
               "of them");
    }

    if (order->reservation_id == 0 && order->charge == 0) {
        return ngx_http_concert_bad_request(call, "reservationId",
               "must be given, or chargeAmount to add to the balance");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_concert_order_member(ngx_http_concert_call_t *call, json_t *body,
    const char *name, int64_t *value)
{
    return json_object_get(body, name)
           ? ngx_http_concert_body_integer(call, body, name, 1, value)
           : NGX_OK;
}


static ngx_int_t
ngx_http_concert_order_start(ngx_http_concert_call_t *call)
{
    ngx_http_concert_call_step(call, &ngx_http_concert_place_order,
                               ngx_http_concert_order_read);

    if (ngx_http_concert_order_params(call) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_concert_run(call, NULL);
}


static ngx_int_t
ngx_http_concert_order_params(ngx_http_concert_call_t *call)
{
    ngx_int_t                  rc;
    ngx_http_concert_order_t  *order;

    order = call->data;

    if (ngx_http_concert_call_secret_operation(call) != NGX_OK
        || ngx_http_concert_call_integer(call, call->user_id) != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = order->reservation_id
         ? ngx_http_concert_call_integer(call, order->reservation_id)
         : ngx_http_concert_call_null(call);

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    return order->charge ? ngx_http_concert_call_integer(call, order->charge)
                         : ngx_http_concert_call_null(call);
}


static void
ngx_http_concert_order_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    ngx_str_t                id;
    ngx_http_concert_json_t  json;

    if (!ngx_http_concert_call_ok(call, res, 1, 0)) {

        if (ngx_strcmp(call->reply.code, "amount_mismatch") == 0) {
            ngx_http_concert_call_fail(call, "amount_mismatch",
                "The reservation costs nothing, which no card can pay; pay it "
                "from the balance.");
        }

        return;
    }

    id = res->string(res, 0, 2);

    ngx_http_concert_call_json(call, &json, 128);
    ngx_http_concert_json_text(&json, "{\"orderId\":");
    ngx_http_concert_json_string(&json, id.data, id.len);
    ngx_http_concert_json_text(&json, ",\"amount\":");
    ngx_http_concert_json_integer(&json, res->integer(res, 0, 3));
    ngx_http_concert_json_text(&json, "}");
    ngx_http_concert_call_body(call, &json);
}
