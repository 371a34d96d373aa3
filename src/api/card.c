
/*
 * Paying and topping up by card: the payment is claimed, which is committed
 * before anybody else hears of it; the gateway is asked to confirm it; and what
 * the gateway says is settled.  From the claim on the payment is PENDING until
 * that is known, and the client is told so when the time is over.  Who leaves,
 * or loses the connection, changes nothing: all three steps go on.
 */

#include "api/api.h"


/* where payments are looked up, seen from where these are made */
#define NGX_HTTP_CONCERT_PAY_LOCATION     "payments/"
#define NGX_HTTP_CONCERT_CHARGE_LOCATION  "../reservations/payments/"


/* columns of concert.claim() */

enum {
    NGX_HTTP_CONCERT_CLAIM_OUTCOME = 1,
    NGX_HTTP_CONCERT_CLAIM_ID,
    NGX_HTTP_CONCERT_CLAIM_OPERATION,
    NGX_HTTP_CONCERT_CLAIM_AMOUNT,
    NGX_HTTP_CONCERT_CLAIM_STATUS,
    NGX_HTTP_CONCERT_CLAIM_TIME,
    NGX_HTTP_CONCERT_CLAIM_CODE,
    NGX_HTTP_CONCERT_CLAIM_REASON,
    NGX_HTTP_CONCERT_CLAIM_REPLAYED
};


/* columns of concert.extend_holds() */

enum {
    NGX_HTTP_CONCERT_EXTEND_OUTCOME = 1,
    NGX_HTTP_CONCERT_EXTEND_EXPIRES
};


static ngx_int_t ngx_http_concert_card_params(ngx_http_concert_call_t *call,
    const ngx_http_concert_card_t *card);
static void ngx_http_concert_card_claim_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);
static ngx_int_t ngx_http_concert_card_refused(ngx_http_concert_call_t *call,
    ngx_uint_t retry);
static void ngx_http_concert_card_late_refused(
    ngx_http_concert_call_t *call, ngx_http_concert_reply_t *reply);
static void ngx_http_concert_card_extend_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);
static void ngx_http_concert_card_extended(ngx_http_concert_call_t *call);
static void ngx_http_concert_card_claimed(ngx_http_concert_call_t *call);
static void ngx_http_concert_card_late(ngx_http_concert_call_t *call,
    ngx_http_concert_reply_t *reply);
static void ngx_http_concert_card_late_paid(ngx_http_concert_call_t *call,
    ngx_http_concert_reply_t *reply);
static void ngx_http_concert_card_confirmed(ngx_http_concert_call_t *call);
static void ngx_http_concert_card_settled(ngx_http_concert_call_t *call);
static void ngx_http_concert_card_left(ngx_http_concert_call_t *call);
static void ngx_http_concert_card_balance(ngx_http_concert_call_t *call);
static void ngx_http_concert_card_answer(ngx_http_concert_call_t *call);
static void ngx_http_concert_card_pending(ngx_http_concert_call_t *call,
    ngx_pool_t *pool, ngx_http_concert_reply_t *reply);
static ngx_int_t ngx_http_concert_card_object(ngx_http_concert_call_t *call,
    ngx_pool_t *pool, const ngx_http_concert_payment_t *payment,
    ngx_http_concert_reply_t *reply);
static void *ngx_http_concert_card_alloc(void *data, size_t size);
static void ngx_http_concert_card_declined(ngx_http_concert_call_t *call);
static void ngx_http_concert_card_payment(
    const ngx_http_concert_card_t *card, ngx_http_concert_payment_t *payment);


static const ngx_http_concert_op_t  ngx_http_concert_claim = {
    "claim", NGX_HTTP_CONCERT_WRITE, "aaaaaass", 1
};


static const ngx_http_concert_op_t  ngx_http_concert_claim_once = {
    "claim_once", NGX_HTTP_CONCERT_WRITE, "saaaaaassaa", 1
};


static const ngx_http_concert_op_t  ngx_http_concert_extend_holds = {
    "extend_holds", NGX_HTTP_CONCERT_WRITE, "aas", 1
};


ngx_int_t
ngx_http_concert_card_parse(ngx_http_concert_call_t *call, json_t *body,
    const char *other, ngx_uint_t by_card, ngx_http_concert_card_t **card)
{
    json_t      *member;
    ngx_int_t    rc;
    ngx_str_t    order, key;
    const char  *method;

    *card = NULL;
    member = json_object_get(body, "method");
    method = json_string_value(member);

    if (method) {
        by_card = (ngx_strcmp(method, "card") == 0);
    }

    if (member
        && (method == NULL
            || (!by_card
                && (other == NULL || ngx_strcmp(method, other) != 0))))
    {
        return ngx_http_concert_bad_request(call, "method",
                                            "must be one that is offered "
                                            "here");
    }

    rc = ngx_http_concert_card_word(call, body, "orderId", 6,
                                    NGX_HTTP_CONCERT_MAX_ORDER, &order);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_concert_card_word(call, body, "paymentKey", 1,
                                    NGX_HTTP_CONCERT_MAX_PAYMENT_KEY, &key);
    if (rc != NGX_OK || !by_card) {
        return rc;
    }

    if (call->sale->groups[NGX_HTTP_CONCERT_GATEWAY]->conf == NULL) {
        return ngx_http_concert_bad_request(call, "method",
               "must not be card: there is no payment gateway here");
    }

    if (order.data == NULL || key.data == NULL) {
        return ngx_http_concert_bad_request(call,
               order.data ? "paymentKey" : "orderId",
               "is missing, which a payment by card needs");
    }

    *card = ngx_pcalloc(call->pool, sizeof(ngx_http_concert_card_t));
    if (*card == NULL) {
        return NGX_ERROR;
    }

    (*card)->order_id = order;
    (*card)->payment_key = key;

    return NGX_OK;
}


ngx_int_t
ngx_http_concert_card_word(ngx_http_concert_call_t *call, json_t *body,
    const char *name, size_t min, size_t max, ngx_str_t *word)
{
    u_char       c;
    size_t       i, len;
    json_t      *member;
    ngx_str_t    value;
    const char  *text;

    ngx_str_null(word);

    member = json_object_get(body, name);
    if (member == NULL) {
        return NGX_OK;
    }

    text = json_string_value(member);
    len = json_string_length(member);

    for (i = 0; i < len; i++) {
        c = text[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '='))
        {
            break;
        }
    }

    if (text == NULL || len < min || len > max || i < len) {
        return ngx_http_concert_bad_request(call, name,
               min > 1 ? "must be a string as an order has it"
                       : "must be a string as the gateway's window gives it");
    }

    value.data = (u_char *) text;
    value.len = len;

    return ngx_http_concert_card_keep(call, word, value);
}


ngx_int_t
ngx_http_concert_card_start(ngx_http_concert_call_t *call,
    ngx_http_concert_card_t *card)
{
    ngx_uint_t                 retry;
    ngx_http_concert_group_t  *group;

    group = call->sale->groups[NGX_HTTP_CONCERT_GATEWAY];

    /* who would wait in vain is told before anything is claimed */

    if (group->nwaiting >= group->max_queue) {
        ngx_http_concert_call_fail(call, "gateway_unavailable",
            "Too many payments wait for the payment gateway; nothing was "
            "done; try again as Retry-After says.");
        return NGX_DECLINED;
    }

    call->data = card;

    /* a repeat, which asks nothing, is refused as well: it may come again */

    if (ngx_http_concert_card_permit(call, &retry) != NGX_OK) {
        return ngx_http_concert_card_refused(call, retry);
    }

    ngx_http_concert_call_step(call,
                               call->key.len ? &ngx_http_concert_claim_once
                                             : &ngx_http_concert_claim,
                               ngx_http_concert_card_claim_read);

    if (ngx_http_concert_card_params(call, card) != NGX_OK) {
        ngx_http_concert_card_give_back(call);
        return NGX_ERROR;
    }

    return ngx_http_concert_run(call, ngx_http_concert_card_claimed);
}


static ngx_int_t
ngx_http_concert_card_params(ngx_http_concert_call_t *call,
    const ngx_http_concert_card_t *card)
{
    int64_t                   look;
    ngx_str_t                 route;
    ngx_http_concert_sale_t  *sale;

    sale = call->sale;

    if (call->key.len) {
        ngx_str_set(&route, "pay");

        if (card->reservation_id == 0) {
            ngx_str_set(&route, "charge");
        }

        if (ngx_http_concert_call_string(call, &route) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    /*
     * until then it is ours to settle: what the steps can take, of which the
     * question first waits for a lane
     */

    look = 2 * sale->groups[NGX_HTTP_CONCERT_GATEWAY]->timeout
           + 2 * sale->conf->timeout;

    if (ngx_http_concert_call_operation(call) != NGX_OK
        || ngx_http_concert_call_integer(call, call->user_id) != NGX_OK
        || (card->reservation_id
            ? ngx_http_concert_call_integer(call, card->reservation_id)
            : ngx_http_concert_call_null(call))
           != NGX_OK
        || ngx_http_concert_call_integer(call, card->amount) != NGX_OK
        || ngx_http_concert_call_quoted(call, &card->order_id) != NGX_OK
        || ngx_http_concert_call_quoted(call, &card->payment_key) != NGX_OK
        || ngx_http_concert_call_integer(call, look) != NGX_OK
        || ngx_http_concert_call_integer(call, sale->max_pending) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_concert_call_key(call);
}


/* the breaker is open: no card is taken, but seats may be kept for longer */

static ngx_int_t
ngx_http_concert_card_refused(ngx_http_concert_call_t *call, ngx_uint_t retry)
{
    ngx_http_concert_card_t  *card;

    card = call->data;

    ngx_http_concert_call_fail(call, "gateway_unavailable", NULL);
    call->reply.retry_after = retry;

    if (call->sale->hold_extend == 0 || card->reservation_id == 0) {
        return NGX_DECLINED;
    }

    ngx_http_concert_call_step(call, &ngx_http_concert_extend_holds,
                               ngx_http_concert_card_extend_read);

    if (ngx_http_concert_call_integer(call, call->user_id) != NGX_OK
        || ngx_http_concert_call_integer(call, card->reservation_id) != NGX_OK
        || ngx_http_concert_call_integer(call, call->sale->hold_extend)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    call->late = ngx_http_concert_card_late_refused;

    return ngx_http_concert_run(call, ngx_http_concert_card_extended);
}


/* the hold may or may not be longer: no card was asked */

static void
ngx_http_concert_card_late_refused(ngx_http_concert_call_t *call,
    ngx_http_concert_reply_t *reply)
{
    reply->code = call->reply.code;
    reply->retry_after = call->reply.retry_after;
}


static void
ngx_http_concert_card_extend_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    ngx_str_t                 outcome;
    ngx_http_concert_card_t  *card;

    card = call->data;
    outcome = res->string(res, 0, NGX_HTTP_CONCERT_EXTEND_OUTCOME);

    if (outcome.len == 2) {
        card->time = res->integer(res, 0, NGX_HTTP_CONCERT_EXTEND_EXPIRES);
    }
}


/* whatever became of the hold, the gateway is away */

static void
ngx_http_concert_card_extended(ngx_http_concert_call_t *call)
{
    ngx_http_concert_json_t   json;
    ngx_http_concert_card_t  *card;

    card = call->data;

    if (call->outcome == NGX_HTTP_CONCERT_OK && card->time) {
        ngx_http_concert_call_json(call, &json, 64);
        ngx_http_concert_json_text(&json, ",\"reservationExpiry\":");
        ngx_http_concert_json_time(&json, card->time);

        call->reply.extra = ngx_http_concert_call_text(&json);
    }

    ngx_http_concert_answer(call);
}


static void
ngx_http_concert_card_claim_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    ngx_str_t                *own;
    ngx_http_concert_card_t  *card;

    if (!ngx_http_concert_call_ok(call, res, NGX_HTTP_CONCERT_CLAIM_OUTCOME,
                                  NGX_HTTP_CONCERT_CLAIM_REPLAYED))
    {
        return;
    }

    card = call->data;
    own = &call->params[call->key.len ? 1 : 0];

    card->payment_id = res->integer(res, 0, NGX_HTTP_CONCERT_CLAIM_ID);
    card->time = res->integer(res, 0, NGX_HTTP_CONCERT_CLAIM_TIME);
    card->claimed = card->time;

    if (ngx_http_concert_card_keep_operation(call, &card->operation,
                      res->string(res, 0, NGX_HTTP_CONCERT_CLAIM_OPERATION))
        != NGX_OK
        || ngx_http_concert_card_keep(call, &card->status,
                      res->string(res, 0, NGX_HTTP_CONCERT_CLAIM_STATUS))
           != NGX_OK
        || ngx_http_concert_card_keep(call, &card->code,
                      res->string(res, 0, NGX_HTTP_CONCERT_CLAIM_CODE))
           != NGX_OK
        || ngx_http_concert_card_keep(call, &card->reason,
                      res->string(res, 0, NGX_HTTP_CONCERT_CLAIM_REASON))
           != NGX_OK)
    {
        ngx_http_concert_call_fail(call, "timeout", NULL);
        return;
    }

    /* another's is a repeat, which is told what has become of the first */

    card->mine = (own->len == card->operation.len
                  && ngx_strncmp(own->data, card->operation.data, own->len)
                     == 0);
}


static void
ngx_http_concert_card_claimed(ngx_http_concert_call_t *call)
{
    ngx_http_concert_card_t  *card;

    card = call->data;

    if (!ngx_http_concert_succeeded(call) || call->reply.code) {
        ngx_http_concert_card_give_back(call);
        ngx_http_concert_answer(call);
        return;
    }

    if (!card->mine || !ngx_http_concert_card_is(card, "PENDING")) {
        ngx_http_concert_card_give_back(call);
        ngx_http_concert_card_answer(call);
        return;
    }

    call->late = ngx_http_concert_card_late;

    if (ngx_http_concert_card_ask(call, NGX_HTTP_CONCERT_ASK_CONFIRM,
                                  ngx_http_concert_card_confirmed)
        != NGX_OK)
    {
        ngx_http_concert_card_answer(call);
    }
}


/*
 * The thread may write what the payment is, and the call may end before the
 * answer is sent.
 */

static void
ngx_http_concert_card_late(ngx_http_concert_call_t *call,
    ngx_http_concert_reply_t *reply)
{
    ngx_http_concert_card_pending(call, call->request->pool, reply);
}


/* while the token ends no thread writes what the payment is */

static void
ngx_http_concert_card_late_paid(ngx_http_concert_call_t *call,
    ngx_http_concert_reply_t *reply)
{
    ngx_http_concert_payment_t  payment;

    ngx_http_concert_card_payment(call->data, &payment);

    if (ngx_http_concert_card_object(call, call->request->pool, &payment,
                                     reply)
        == NGX_OK)
    {
        reply->status = NGX_HTTP_OK;
    }
}


static void
ngx_http_concert_card_confirmed(ngx_http_concert_call_t *call)
{
    ngx_http_concert_card_answered(call);

    if (ngx_http_concert_card_settle_pending(call,
                                             ngx_http_concert_card_settled)
        != NGX_OK)
    {
        ngx_http_concert_card_answer(call);
    }
}


/* the token ends with the payment, whoever has settled it */

static void
ngx_http_concert_card_settled(ngx_http_concert_call_t *call)
{
    ngx_http_concert_card_t  *card;

    card = call->data;

    if (call->outcome != NGX_HTTP_CONCERT_OK || !card->changed
        || card->reservation_id == 0
        || !ngx_http_concert_card_is(card, "PAID"))
    {
        ngx_http_concert_card_answer(call);
        return;
    }

    call->late = ngx_http_concert_card_late_paid;

    if (ngx_http_concert_queue_leave(call, ngx_http_concert_card_left)
        != NGX_OK)
    {
        ngx_http_concert_card_answer(call);
    }
}


static void
ngx_http_concert_card_left(ngx_http_concert_call_t *call)
{
    (void) ngx_http_concert_queue_left(call);
    ngx_http_concert_card_answer(call);
}


/* from what the payment is, as far as is known */

static void
ngx_http_concert_card_answer(ngx_http_concert_call_t *call)
{
    ngx_uint_t                   paid;
    ngx_http_concert_card_t     *card;
    ngx_http_concert_payment_t   payment;

    card = call->data;
    paid = ngx_http_concert_card_is(card, "PAID");

    if (call->request == NULL) {
        ngx_http_concert_answer(call);
        return;
    }

    if (paid && card->reservation_id == 0) {
        if (ngx_http_concert_balance_run(call, ngx_http_concert_card_balance)
            != NGX_OK)
        {
            ngx_http_concert_card_pending(call, call->pool, &call->reply);
            ngx_http_concert_answer(call);
        }

        return;
    }

    if (paid) {
        ngx_http_concert_card_payment(card, &payment);
        ngx_http_concert_payment_body(call, &payment);

    } else if (ngx_http_concert_card_is(card, "PENDING")) {
        ngx_http_concert_card_pending(call, call->pool, &call->reply);

    } else {
        ngx_http_concert_card_declined(call);
    }

    ngx_http_concert_answer(call);
}


/* what was credited is credited: where to look is the answer, too */

static void
ngx_http_concert_card_balance(ngx_http_concert_call_t *call)
{
    if (call->outcome != NGX_HTTP_CONCERT_OK || call->reply.code) {
        call->reply.code = NULL;
        ngx_str_null(&call->reply.detail);
        ngx_http_concert_card_pending(call, call->pool, &call->reply);
    }

    ngx_http_concert_answer(call);
}


/* a 202, made in a pool that outlives the answer; of what no thread writes */

static void
ngx_http_concert_card_pending(ngx_http_concert_call_t *call, ngx_pool_t *pool,
    ngx_http_concert_reply_t *reply)
{
    u_char                      *p;
    ngx_http_concert_card_t     *card;
    ngx_http_concert_payment_t   payment;

    card = call->data;

    ngx_memzero(&payment, sizeof(ngx_http_concert_payment_t));

    payment.id = card->payment_id;
    payment.reservation_id = card->reservation_id;
    payment.amount = card->amount;
    ngx_str_set(&payment.status, "PENDING");
    payment.time = card->claimed;
    payment.card = 1;

    p = ngx_pnalloc(pool, sizeof(NGX_HTTP_CONCERT_CHARGE_LOCATION)
                          + NGX_INT64_LEN);

    if (p == NULL
        || ngx_http_concert_card_object(call, pool, &payment, reply) != NGX_OK)
    {
        reply->code = "timeout";
        return;
    }

    reply->status = NGX_HTTP_ACCEPTED;
    reply->location.data = p;
    reply->location.len = ngx_sprintf(p, "%s%L", card->reservation_id
                                      ? NGX_HTTP_CONCERT_PAY_LOCATION
                                      : NGX_HTTP_CONCERT_CHARGE_LOCATION,
                                      card->payment_id)
                          - p;
}


static ngx_int_t
ngx_http_concert_card_object(ngx_http_concert_call_t *call, ngx_pool_t *pool,
    const ngx_http_concert_payment_t *payment,
    ngx_http_concert_reply_t *reply)
{
    ngx_http_concert_json_t  json;

    ngx_http_concert_json_init(&json, ngx_http_concert_card_alloc, pool, 256);
    ngx_http_concert_payment_json(&json, call->user_id, payment);

    if (json.failed) {
        reply->code = "timeout";
        return NGX_ERROR;
    }

    reply->body = ngx_http_concert_call_text(&json);

    return NGX_OK;
}


static void *
ngx_http_concert_card_alloc(void *data, size_t size)
{
    return ngx_pnalloc(data, size);
}


static void
ngx_http_concert_card_declined(ngx_http_concert_call_t *call)
{
    ngx_http_concert_json_t      json;
    ngx_http_concert_card_t     *card;
    ngx_http_concert_payment_t   payment;

    card = call->data;

    ngx_http_concert_card_payment(card, &payment);

    ngx_http_concert_call_fail(call, "payment_declined",
        ngx_http_concert_card_is(card, "DECLINED") ? NULL
        : "What the card was charged is given back; pay in another way.");

    ngx_http_concert_call_json(call, &json, 256);
    ngx_http_concert_json_text(&json, ",\"paymentId\":");
    ngx_http_concert_json_integer(&json, card->payment_id);
    ngx_http_concert_payment_reason(&json, &payment);

    call->reply.extra = ngx_http_concert_call_text(&json);
}


static void
ngx_http_concert_card_payment(const ngx_http_concert_card_t *card,
    ngx_http_concert_payment_t *payment)
{
    payment->id = card->payment_id;
    payment->reservation_id = card->reservation_id;
    payment->amount = card->amount;
    payment->status = card->status;
    payment->time = card->time;
    payment->card = 1;
    payment->code = card->code;
    payment->reason = card->reason;
}
