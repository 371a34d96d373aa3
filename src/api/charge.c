
/*
 * PUT /api/balance/charge: adds to a user's balance, at once or what a card has
 * paid (card.c)
 */

#include "api/api.h"


static ngx_int_t ngx_http_concert_charge_parse(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, json_t *body);
static ngx_int_t ngx_http_concert_charge_start(ngx_http_concert_call_t *call);
static void ngx_http_concert_charge_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);


static const ngx_http_concert_op_t  ngx_http_concert_charge = {
    "charge", NGX_HTTP_CONCERT_WRITE, "aaa", 1
};


static const ngx_http_concert_op_t  ngx_http_concert_charge_once = {
    "charge_once", NGX_HTTP_CONCERT_WRITE, "aaaaa", 1
};


ngx_http_concert_route_t  ngx_http_concert_charge_route = {
    ngx_string("charge"),
    {
        { NGX_HTTP_PUT,
          NGX_HTTP_CONCERT_NEEDS_POSTGRES|NGX_HTTP_CONCERT_BODY
          |NGX_HTTP_CONCERT_BODY_USER|NGX_HTTP_CONCERT_ONCE,
          ngx_http_concert_charge_parse,
          ngx_http_concert_charge_start,
          NULL }
    }
};


static ngx_int_t
ngx_http_concert_charge_parse(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, json_t *body)
{
    ngx_int_t                 rc;
    ngx_uint_t                by_card;
    ngx_http_concert_card_t  *card;

    by_card = (call->sale->charge == NGX_HTTP_CONCERT_CHARGE_CARD);

    rc = ngx_http_concert_body_integer(call, body, "amount", 1, &call->id);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_concert_card_parse(call, body, by_card ? NULL : "free",
                                     by_card, &card);
    call->data = card;

    return rc;
}


static ngx_int_t
ngx_http_concert_charge_start(ngx_http_concert_call_t *call)
{
    ngx_http_concert_card_t  *card;

    card = call->data;

    if (card) {
        card->amount = call->id;
        return ngx_http_concert_card_start(call, card);
    }

    ngx_http_concert_call_step(call,
                               call->key.len ? &ngx_http_concert_charge_once
                                             : &ngx_http_concert_charge,
                               ngx_http_concert_charge_read);

    if (ngx_http_concert_call_operation(call) != NGX_OK
        || ngx_http_concert_call_integer(call, call->user_id) != NGX_OK
        || ngx_http_concert_call_integer(call, call->id) != NGX_OK
        || ngx_http_concert_call_key(call) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_concert_run(call, NULL);
}


static void
ngx_http_concert_charge_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    if (ngx_http_concert_call_ok(call, res, 1, 3)) {
        ngx_http_concert_balance_body(call, res->integer(res, 0, 2));
    }
}
