
/*
 * POST /api/reservations/payments: pays a reservation from the balance, or by
 * card (card.c), which makes its seats the user's for good and ends the user's
 * token, so that the next in line goes in.
 */

#include "api/api.h"


/* columns of concert.pay() */

#define NGX_HTTP_CONCERT_PAY_OUTCOME  1
#define NGX_HTTP_CONCERT_PAY_ID       2
#define NGX_HTTP_CONCERT_PAY_AMOUNT   3
#define NGX_HTTP_CONCERT_PAY_TIME     4
#define NGX_HTTP_CONCERT_PAY_REPLAYED 5


typedef struct {
    int64_t                   reservation_id;
    int64_t                   amount;
    ngx_http_concert_card_t  *card;           /* NULL: from the balance */
} ngx_http_concert_pay_t;


static ngx_int_t ngx_http_concert_pay_parse(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, json_t *body);
static ngx_int_t ngx_http_concert_pay_start(ngx_http_concert_call_t *call);
static void ngx_http_concert_pay_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);
static void ngx_http_concert_pay_done(ngx_http_concert_call_t *call);
static void ngx_http_concert_pay_left(ngx_http_concert_call_t *call);


static const ngx_http_concert_op_t  ngx_http_concert_pay = {
    "pay", NGX_HTTP_CONCERT_WRITE, "aaaa", 1
};


static const ngx_http_concert_op_t  ngx_http_concert_pay_once = {
    "pay_once", NGX_HTTP_CONCERT_WRITE, "aaaaaa", 1
};


ngx_http_concert_route_t  ngx_http_concert_pay_route = {
    ngx_string("pay"),
    {
        { NGX_HTTP_POST,
          NGX_HTTP_CONCERT_NEEDS_POSTGRES|NGX_HTTP_CONCERT_NEEDS_REDIS
          |NGX_HTTP_CONCERT_CALLER|NGX_HTTP_CONCERT_BODY
          |NGX_HTTP_CONCERT_BODY_USER|NGX_HTTP_CONCERT_ONCE,
          ngx_http_concert_pay_parse,
          ngx_http_concert_pay_start,
          NULL }
    }
};


static ngx_int_t
ngx_http_concert_pay_parse(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, json_t *body)
{
    ngx_int_t                rc;
    ngx_http_concert_pay_t  *pay;

    pay = ngx_palloc(call->pool, sizeof(ngx_http_concert_pay_t));
    if (pay == NULL) {
        return NGX_ERROR;
    }

    call->data = pay;

    rc = ngx_http_concert_body_integer(call, body, "reservationId", 1,
                                       &pay->reservation_id);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_concert_body_integer(call, body, "amount", 0, &pay->amount);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_concert_card_parse(call, body, "balance",
                                       call->sale->payment_method
                                       == NGX_HTTP_CONCERT_METHOD_CARD,
                                       &pay->card);
}


static ngx_int_t
ngx_http_concert_pay_start(ngx_http_concert_call_t *call)
{
    ngx_http_concert_pay_t  *pay;

    pay = call->data;

    if (pay->card) {
        pay->card->reservation_id = pay->reservation_id;
        pay->card->amount = pay->amount;

        return ngx_http_concert_card_start(call, pay->card);
    }

    ngx_http_concert_call_step(call, call->key.len ? &ngx_http_concert_pay_once
                                                   : &ngx_http_concert_pay,
                               ngx_http_concert_pay_read);

    if (ngx_http_concert_call_operation(call) != NGX_OK
        || ngx_http_concert_call_integer(call, call->user_id) != NGX_OK
        || ngx_http_concert_call_integer(call, pay->reservation_id) != NGX_OK
        || ngx_http_concert_call_integer(call, pay->amount) != NGX_OK
        || ngx_http_concert_call_key(call) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_concert_run(call, ngx_http_concert_pay_done);
}


static void
ngx_http_concert_pay_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    ngx_http_concert_pay_t      *pay;
    ngx_http_concert_payment_t   payment;

    if (!ngx_http_concert_call_ok(call, res, NGX_HTTP_CONCERT_PAY_OUTCOME,
                                  NGX_HTTP_CONCERT_PAY_REPLAYED))
    {
        return;
    }

    pay = call->data;

    ngx_memzero(&payment, sizeof(ngx_http_concert_payment_t));

    payment.id = res->integer(res, 0, NGX_HTTP_CONCERT_PAY_ID);
    payment.reservation_id = pay->reservation_id;
    payment.amount = res->integer(res, 0, NGX_HTTP_CONCERT_PAY_AMOUNT);
    ngx_str_set(&payment.status, "PAID");
    payment.time = res->integer(res, 0, NGX_HTTP_CONCERT_PAY_TIME);

    ngx_http_concert_payment_body(call, &payment);
}


/*
 * What is paid is paid: the answer is the same if the queue is away.  A
 * repeat ends nothing: the token may be that of a later visit.
 */

static void
ngx_http_concert_pay_done(ngx_http_concert_call_t *call)
{
    if (!ngx_http_concert_succeeded(call) || call->reply.code
        || call->reply.replayed
        || ngx_http_concert_queue_leave(call, ngx_http_concert_pay_left)
           != NGX_OK)
    {
        ngx_http_concert_answer(call);
    }
}


static void
ngx_http_concert_pay_left(ngx_http_concert_call_t *call)
{
    (void) ngx_http_concert_queue_left(call);
    ngx_http_concert_answer(call);
}
