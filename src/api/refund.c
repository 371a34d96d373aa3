
/*
 * POST /refunds/{paymentId}, for operators: gives a payment of a reservation
 * back.  The seats are free at once; so is the money, if a balance has paid,
 * else it is back when the payment gateway has given it back.
 */

#include "api/api.h"


#define NGX_HTTP_CONCERT_MAX_REASON  200   /* characters: Toss's */


/* columns of concert.refund() */

enum {
    NGX_HTTP_CONCERT_REFUND_OUTCOME = 1,
    NGX_HTTP_CONCERT_REFUND_ID,
    NGX_HTTP_CONCERT_REFUND_USER,
    NGX_HTTP_CONCERT_REFUND_RESERVATION,
    NGX_HTTP_CONCERT_REFUND_AMOUNT,
    NGX_HTTP_CONCERT_REFUND_METHOD,
    NGX_HTTP_CONCERT_REFUND_STATUS
};


static ngx_int_t ngx_http_concert_refund_parse(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, json_t *body);
static ngx_int_t ngx_http_concert_refund_start(ngx_http_concert_call_t *call);
static void ngx_http_concert_refund_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);


static const ngx_http_concert_op_t  ngx_http_concert_refund = {
    "refund", NGX_HTTP_CONCERT_WRITE, "aaa", 1
};


ngx_http_concert_route_t  ngx_http_concert_refund_route = {
    ngx_string("refund"),
    {
        { NGX_HTTP_POST,
          NGX_HTTP_CONCERT_NEEDS_POSTGRES|NGX_HTTP_CONCERT_ID
          |NGX_HTTP_CONCERT_BODY|NGX_HTTP_CONCERT_TYPED
          |NGX_HTTP_CONCERT_OPERATORS,
          ngx_http_concert_refund_parse,
          ngx_http_concert_refund_start,
          NULL }
    }
};


static ngx_int_t
ngx_http_concert_refund_parse(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, json_t *body)
{
    json_t     *member;
    ngx_str_t  *reason, value;

    member = json_object_get(body, "reason");

    value.data = (u_char *) json_string_value(member);
    value.len = json_string_length(member);

    if (value.len == 0
        || ngx_utf8_length(value.data, value.len)
           > NGX_HTTP_CONCERT_MAX_REASON)
    {
        return ngx_http_concert_bad_request(call, "reason",
                                "must be a string of 1 to 200 characters");
    }

    reason = ngx_palloc(call->pool, sizeof(ngx_str_t));
    if (reason == NULL) {
        return NGX_ERROR;
    }

    call->data = reason;

    return ngx_http_concert_card_keep(call, reason, value);
}


static ngx_int_t
ngx_http_concert_refund_start(ngx_http_concert_call_t *call)
{
    ngx_http_concert_call_step(call, &ngx_http_concert_refund,
                               ngx_http_concert_refund_read);

    if (ngx_http_concert_call_operation(call) != NGX_OK
        || ngx_http_concert_call_integer(call, call->id) != NGX_OK
        || ngx_http_concert_call_quoted(call, call->data) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_concert_run(call, NULL);
}


static void
ngx_http_concert_refund_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    ngx_str_t                method, status;
    ngx_http_concert_json_t  json;

    if (!ngx_http_concert_call_ok(call, res, NGX_HTTP_CONCERT_REFUND_OUTCOME,
                                  0))
    {
        return;
    }

    method = res->string(res, 0, NGX_HTTP_CONCERT_REFUND_METHOD);
    status = res->string(res, 0, NGX_HTTP_CONCERT_REFUND_STATUS);

    ngx_http_concert_call_json(call, &json, 192);
    ngx_http_concert_json_text(&json, "{\"paymentId\":");
    ngx_http_concert_json_integer(&json,
                       res->integer(res, 0, NGX_HTTP_CONCERT_REFUND_ID));
    ngx_http_concert_json_text(&json, ",\"reservationId\":");
    ngx_http_concert_json_integer(&json,
                  res->integer(res, 0, NGX_HTTP_CONCERT_REFUND_RESERVATION));
    ngx_http_concert_json_text(&json, ",\"userId\":");
    ngx_http_concert_json_integer(&json,
                       res->integer(res, 0, NGX_HTTP_CONCERT_REFUND_USER));
    ngx_http_concert_json_text(&json, ",\"amount\":");
    ngx_http_concert_json_integer(&json,
                       res->integer(res, 0, NGX_HTTP_CONCERT_REFUND_AMOUNT));
    ngx_http_concert_json_text(&json, ",\"method\":");
    ngx_http_concert_json_string(&json, method.data, method.len);
    ngx_http_concert_json_text(&json, ",\"status\":");
    ngx_http_concert_json_string(&json, status.data, status.len);
    ngx_http_concert_json_text(&json, "}");
    ngx_http_concert_call_body(call, &json);
}
