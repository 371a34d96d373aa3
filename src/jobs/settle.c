
/*
 * Finds out what became of payments by card that are not settled, and gives
 * back what is to be given back.  The database says which, how often, and lets
 * nobody else have them meanwhile; so any number of instances may do this, and
 * what is left undone comes again.
 *
 * "In progress" and "not found" are not "not charged": the payment is confirmed
 * again with the key that it was first confirmed with, to which there is one
 * answer.
 */

#include "jobs/jobs.h"
#include "core/card.h"


#define NGX_HTTP_CONCERT_SETTLE_INTERVAL  500
#define NGX_HTTP_CONCERT_SETTLE_MAX       64


/* columns of concert.due() */

enum {
    NGX_HTTP_CONCERT_DUE_ID = 0,
    NGX_HTTP_CONCERT_DUE_OPERATION = 2,
    NGX_HTTP_CONCERT_DUE_ORDER,
    NGX_HTTP_CONCERT_DUE_PAYMENT_KEY,
    NGX_HTTP_CONCERT_DUE_AMOUNT,
    NGX_HTTP_CONCERT_DUE_USER,
    NGX_HTTP_CONCERT_DUE_RESERVATION,
    NGX_HTTP_CONCERT_DUE_STATUS
};


/* the cards are in the memory of the call that asks which are due */

typedef struct {
    ngx_http_concert_card_t   *cards;
    ngx_uint_t                 ndue;
    ngx_uint_t                 nsettling;   /* calls under way */
} ngx_http_concert_due_t;


/* what is settled, of which work */

typedef struct {
    ngx_http_concert_card_t    card;        /* first: call->data is it, too */
    ngx_http_concert_due_t    *due;
} ngx_http_concert_settling_t;


static ngx_int_t ngx_http_concert_settle_params(
    ngx_http_concert_call_t *call);
static ngx_http_concert_due_t *ngx_http_concert_settle_due(
    ngx_http_concert_work_t *work);
static void ngx_http_concert_settle_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);
static ngx_int_t ngx_http_concert_settle_row(ngx_http_concert_call_t *call,
    ngx_http_concert_card_t *card, const ngx_http_concert_result_t *res,
    ngx_uint_t row);
static void ngx_http_concert_settle_done(ngx_http_concert_call_t *call);
static void ngx_http_concert_settle_begin(ngx_http_concert_sale_t *sale,
    ngx_http_concert_due_t *due, const ngx_http_concert_card_t *card);
static ngx_int_t ngx_http_concert_settle_copy(ngx_http_concert_call_t *call,
    const ngx_http_concert_card_t *from);
static ngx_int_t ngx_http_concert_settle_ask(ngx_http_concert_call_t *call,
    ngx_http_concert_ask_e ask, void (*done)(ngx_http_concert_call_t *call));
static void ngx_http_concert_settle_looked_up(ngx_http_concert_call_t *call);
static ngx_int_t ngx_http_concert_settle_refund(
    ngx_http_concert_call_t *call);
static void ngx_http_concert_settle_answered(ngx_http_concert_call_t *call);
static void ngx_http_concert_settle_settled(ngx_http_concert_call_t *call);
static ngx_uint_t ngx_http_concert_settle_queue(
    const ngx_http_concert_sale_t *sale);
static void ngx_http_concert_settle_left(ngx_http_concert_call_t *call);
static void ngx_http_concert_settle_end(ngx_http_concert_call_t *call);


static const ngx_http_concert_op_t  ngx_http_concert_due = {
    "due", NGX_HTTP_CONCERT_WRITE, NULL, 1
};


const ngx_http_concert_job_t  ngx_http_concert_settle_job = {
    .op = &ngx_http_concert_due,
    .interval = NGX_HTTP_CONCERT_SETTLE_INTERVAL,
    .params = ngx_http_concert_settle_params,
    .read = ngx_http_concert_settle_read,
    .done = ngx_http_concert_settle_done
};


/* half of the lanes stay for those who pay now */

static ngx_int_t
ngx_http_concert_settle_params(ngx_http_concert_call_t *call)
{
    int64_t                    lease;
    ngx_uint_t                 most;
    ngx_http_concert_due_t    *due;
    ngx_http_concert_sale_t   *sale;
    ngx_http_concert_group_t  *group;

    sale = call->sale;
    group = sale->groups[NGX_HTTP_CONCERT_GATEWAY];
    due = ngx_http_concert_settle_due(call->data);
    most = (group->nlanes + 1) / 2;

    if (group->conf == NULL || due == NULL) {
        return NGX_ERROR;
    }

    ngx_http_concert_guard_tick(sale->guard);

    if (due->nsettling >= most || ngx_http_concert_guard_shut(sale->guard)) {
        return NGX_ERROR;
    }

    most = ngx_min(most - due->nsettling, NGX_HTTP_CONCERT_SETTLE_MAX);

    /* two questions, each of which first waits for a lane, and settling */

    lease = 4 * group->timeout + 2 * sale->conf->timeout;

    if (ngx_http_concert_call_integer(call, most) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_concert_call_integer(call, lease);
}


static ngx_http_concert_due_t *
ngx_http_concert_settle_due(ngx_http_concert_work_t *work)
{
    if (work->data == NULL) {
        work->data = ngx_pcalloc(ngx_cycle->pool,
                                 sizeof(ngx_http_concert_due_t));
    }

    return work->data;
}


static void
ngx_http_concert_settle_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    ngx_uint_t                i, n, rows;
    ngx_http_concert_due_t   *due;
    ngx_http_concert_work_t  *work;

    work = call->data;
    due = work->data;
    rows = ngx_min(res->rows, NGX_HTTP_CONCERT_SETTLE_MAX);
    n = 0;

    due->cards = rows ? ngx_palloc(call->pool,
                                   rows * sizeof(ngx_http_concert_card_t))
                      : NULL;

    for (i = 0; due->cards && i < rows; i++) {
        n += (ngx_http_concert_settle_row(call, &due->cards[n], res, i)
              == NGX_OK);
    }

    due->ndue = n;
}


static ngx_int_t
ngx_http_concert_settle_row(ngx_http_concert_call_t *call,
    ngx_http_concert_card_t *card, const ngx_http_concert_result_t *res,
    ngx_uint_t row)
{
    ngx_memzero(card, sizeof(ngx_http_concert_card_t));

    card->payment_id = res->integer(res, row, NGX_HTTP_CONCERT_DUE_ID);
    card->amount = res->integer(res, row, NGX_HTTP_CONCERT_DUE_AMOUNT);
    card->user_id = res->integer(res, row, NGX_HTTP_CONCERT_DUE_USER);
    card->reservation_id = res->integer(res, row,
                                        NGX_HTTP_CONCERT_DUE_RESERVATION);

    if (ngx_http_concert_card_keep_operation(call, &card->operation,
                     res->string(res, row, NGX_HTTP_CONCERT_DUE_OPERATION))
        != NGX_OK
        || ngx_http_concert_card_keep(call, &card->order_id,
                     res->string(res, row, NGX_HTTP_CONCERT_DUE_ORDER))
           != NGX_OK
        || ngx_http_concert_card_keep(call, &card->payment_key,
                     res->string(res, row, NGX_HTTP_CONCERT_DUE_PAYMENT_KEY))
           != NGX_OK
        || ngx_http_concert_card_keep(call, &card->status,
                     res->string(res, row, NGX_HTTP_CONCERT_DUE_STATUS))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_http_concert_settle_done(ngx_http_concert_call_t *call)
{
    ngx_uint_t                i;
    ngx_http_concert_due_t   *due;
    ngx_http_concert_work_t  *work;

    work = call->data;
    due = work->data;

    for (i = 0; i < due->ndue; i++) {
        ngx_http_concert_settle_begin(call->sale, due, &due->cards[i]);
    }

    due->ndue = 0;
}


/* a call for each, which is also the request's step by step */

static void
ngx_http_concert_settle_begin(ngx_http_concert_sale_t *sale,
    ngx_http_concert_due_t *due, const ngx_http_concert_card_t *card)
{
    ngx_http_concert_call_t      *call;
    ngx_http_concert_settling_t  *settling;

    call = ngx_http_concert_call_create(sale);
    if (call == NULL) {
        return;
    }

    settling = ngx_palloc(call->pool, sizeof(ngx_http_concert_settling_t));
    if (settling == NULL) {
        ngx_http_concert_call_destroy(call);
        return;
    }

    settling->due = due;
    due->nsettling++;

    call->data = settling;
    call->job = 1;
    call->user_id = card->user_id;

    if (ngx_http_concert_settle_copy(call, card) != NGX_OK
        || ngx_http_concert_settle_ask(call, NGX_HTTP_CONCERT_ASK_LOOK_UP,
                                       ngx_http_concert_settle_looked_up)
           != NGX_OK)
    {
        ngx_http_concert_settle_end(call);
    }
}


static ngx_int_t
ngx_http_concert_settle_copy(ngx_http_concert_call_t *call,
    const ngx_http_concert_card_t *from)
{
    ngx_http_concert_card_t  *card;

    card = call->data;
    *card = *from;

    if (ngx_http_concert_card_keep(call, &card->operation, from->operation)
        != NGX_OK
        || ngx_http_concert_card_keep(call, &card->order_id, from->order_id)
           != NGX_OK
        || ngx_http_concert_card_keep(call, &card->payment_key,
                                      from->payment_key)
           != NGX_OK
        || ngx_http_concert_card_keep(call, &card->status, from->status)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* what the breaker does not let through comes again before its lease ends */

static ngx_int_t
ngx_http_concert_settle_ask(ngx_http_concert_call_t *call,
    ngx_http_concert_ask_e ask, void (*done)(ngx_http_concert_call_t *call))
{
    ngx_int_t                 rc;
    ngx_http_concert_card_t  *card;

    card = call->data;

    rc = ngx_http_concert_card_ask(call, ask, done);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    card->approved = 0;
    ngx_str_null(&card->code);
    ngx_str_null(&card->reason);

    return ngx_http_concert_card_settle(call,
                                  ngx_http_concert_card_is(card, "REFUNDING")
                                  ? "refund_unknown" : "unknown",
                                  ngx_http_concert_settle_settled);
}


static void
ngx_http_concert_settle_looked_up(ngx_http_concert_call_t *call)
{
    ngx_int_t                 rc;
    ngx_uint_t                open;
    ngx_http_concert_card_t  *card;

    card = call->data;

    ngx_http_concert_card_answered(call);

    open = (call->outcome == NGX_HTTP_CONCERT_OK
            && card->verdict == NGX_HTTP_CONCERT_VERDICT_RETRY);

    if (ngx_http_concert_card_is(card, "REFUNDING")) {
        rc = ngx_http_concert_settle_refund(call);

    } else if (open && ngx_http_concert_card_is(card, "PENDING")) {
        rc = ngx_http_concert_settle_ask(call, NGX_HTTP_CONCERT_ASK_CONFIRM,
                                         ngx_http_concert_settle_answered);

    } else {
        if (open) {

            /* somebody asked for a look at what was settled long ago */

            card->verdict = NGX_HTTP_CONCERT_VERDICT_DECLINED;
        }

        rc = ngx_http_concert_card_settle_pending(call,
                                              ngx_http_concert_settle_settled);
    }

    if (rc != NGX_OK) {
        ngx_http_concert_settle_end(call);
    }
}


/* what never came to pass needs no refund; of what is not clear, no news */

static ngx_int_t
ngx_http_concert_settle_refund(ngx_http_concert_call_t *call)
{
    ngx_http_concert_card_t  *card;

    card = call->data;

    switch (card->verdict) {

    case NGX_HTTP_CONCERT_VERDICT_APPROVED:
        return ngx_http_concert_settle_ask(call, NGX_HTTP_CONCERT_ASK_CANCEL,
                                           ngx_http_concert_settle_answered);

    case NGX_HTTP_CONCERT_VERDICT_DECLINED:
    case NGX_HTTP_CONCERT_VERDICT_REFUNDED:
        return ngx_http_concert_card_settle(call, "refunded",
                                            ngx_http_concert_settle_settled);

    default:
        return ngx_http_concert_card_settle(call, "refund_unknown",
                                            ngx_http_concert_settle_settled);
    }
}


static void
ngx_http_concert_settle_answered(ngx_http_concert_call_t *call)
{
    ngx_http_concert_card_answered(call);

    if (ngx_http_concert_card_settle_pending(call,
                                             ngx_http_concert_settle_settled)
        != NGX_OK)
    {
        ngx_http_concert_settle_end(call);
    }
}


static void
ngx_http_concert_settle_settled(ngx_http_concert_call_t *call)
{
    ngx_http_concert_card_t  *card;

    card = call->data;

    if (call->outcome == NGX_HTTP_CONCERT_OK && card->changed) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "concert: payment %L is %V now", card->payment_id,
                      &card->status);
    }

    if (call->outcome != NGX_HTTP_CONCERT_OK || !card->changed
        || card->reservation_id == 0
        || !ngx_http_concert_card_is(card, "PAID")
        || !ngx_http_concert_settle_queue(call->sale)
        || ngx_http_concert_queue_leave(call, ngx_http_concert_settle_left)
           != NGX_OK)
    {
        ngx_http_concert_settle_end(call);
    }
}


/*
 * Whether it is known whose queue the buyer came by: where sales with several
 * have one database, a token that was not given back ends by itself.
 */

static ngx_uint_t
ngx_http_concert_settle_queue(const ngx_http_concert_sale_t *sale)
{
    ngx_uint_t                 i;
    ngx_http_concert_sale_t  **sales;

    sales = sale->conf->sales.elts;

    for (i = 0; i < sale->conf->sales.nelts; i++) {
        if (sales[i]->database == sale->database
            && sales[i]->queue != sale->queue)
        {
            return 0;
        }
    }

    return 1;
}


static void
ngx_http_concert_settle_left(ngx_http_concert_call_t *call)
{
    (void) ngx_http_concert_queue_left(call);
    ngx_http_concert_settle_end(call);
}


static void
ngx_http_concert_settle_end(ngx_http_concert_call_t *call)
{
    ngx_http_concert_settling_t  *settling;

    settling = call->data;
    settling->due->nsettling--;

    ngx_http_concert_call_destroy(call);
}
