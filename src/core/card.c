
#include "core/card.h"
#include "core/sale.h"


#define NGX_HTTP_CONCERT_UUID  16


/* columns of concert.settle() */

enum {
    NGX_HTTP_CONCERT_SETTLE_OUTCOME = 1,
    NGX_HTTP_CONCERT_SETTLE_STATUS = 6,
    NGX_HTTP_CONCERT_SETTLE_TIME,
    NGX_HTTP_CONCERT_SETTLE_CODE,
    NGX_HTTP_CONCERT_SETTLE_REASON,
    NGX_HTTP_CONCERT_SETTLE_CHANGED
};


static void ngx_http_concert_card_answer_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);
static void ngx_http_concert_card_told(ngx_http_concert_call_t *call);
static void ngx_http_concert_card_settle_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);


static const ngx_http_concert_op_t  ngx_http_concert_questions[] = {

    [NGX_HTTP_CONCERT_ASK_CONFIRM] =
        { "confirm", NGX_HTTP_CONCERT_GATEWAY, NULL, 1 },

    [NGX_HTTP_CONCERT_ASK_LOOK_UP] =
        { "look_up", NGX_HTTP_CONCERT_GATEWAY, NULL, 1 },

    [NGX_HTTP_CONCERT_ASK_CANCEL] =
        { "cancel", NGX_HTTP_CONCERT_GATEWAY, NULL, 1 }
};


static const ngx_http_concert_op_t  ngx_http_concert_settle = {
    "settle", NGX_HTTP_CONCERT_WRITE, "aaaaa", 1
};


ngx_int_t
ngx_http_concert_card_permit(ngx_http_concert_call_t *call,
    ngx_uint_t *retry)
{
    ngx_http_concert_card_t  *card;

    card = call->data;

    if (ngx_http_concert_guard_enter(call->sale->guard, &card->permit, retry)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    card->permitted = 1;

    return NGX_OK;
}


void
ngx_http_concert_card_give_back(ngx_http_concert_call_t *call)
{
    ngx_http_concert_card_t  *card;

    card = call->data;

    if (card->permitted) {
        card->permitted = 0;
        ngx_http_concert_guard_leave(call->sale->guard, &card->permit, 0,
                                     NGX_HTTP_CONCERT_BREAKER_IGNORED);
    }
}


ngx_int_t
ngx_http_concert_card_ask(ngx_http_concert_call_t *call,
    ngx_http_concert_ask_e ask, void (*done)(ngx_http_concert_call_t *call))
{
    ngx_uint_t                retry;
    ngx_http_concert_card_t  *card;

    card = call->data;

    if (!card->permitted
        && ngx_http_concert_card_permit(call, &retry) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    ngx_http_concert_call_step(call, &ngx_http_concert_questions[ask],
                               ngx_http_concert_card_answer_read);

    if (ngx_http_concert_call_string(call, &card->operation) != NGX_OK
        || ngx_http_concert_call_string(call, &card->order_id) != NGX_OK
        || ngx_http_concert_call_string(call, &card->payment_key) != NGX_OK
        || ngx_http_concert_call_integer(call, card->amount) != NGX_OK)
    {
        ngx_http_concert_card_give_back(call);
        return NGX_ERROR;
    }

    return ngx_http_concert_sale_run(call, done);
}


ngx_http_concert_ask_e
ngx_http_concert_card_ask_of(const ngx_http_concert_op_t *op)
{
    return op - ngx_http_concert_questions;
}


static void
ngx_http_concert_card_answer_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    ngx_http_concert_card_t  *card;

    card = call->data;

    card->verdict = res->integer(res, 0, NGX_HTTP_CONCERT_ANSWER_VERDICT);
    card->approved = res->integer(res, 0, NGX_HTTP_CONCERT_ANSWER_AMOUNT);
    card->failed = res->integer(res, 0, NGX_HTTP_CONCERT_ANSWER_FAILED);

    if (ngx_http_concert_card_keep(call, &card->code,
                      res->string(res, 0, NGX_HTTP_CONCERT_ANSWER_CODE))
        != NGX_OK
        || ngx_http_concert_card_keep(call, &card->reason,
                      res->string(res, 0, NGX_HTTP_CONCERT_ANSWER_MESSAGE))
           != NGX_OK)
    {
        ngx_str_null(&card->reason);
    }
}


void
ngx_http_concert_card_answered(ngx_http_concert_call_t *call)
{
    ngx_http_concert_card_t  *card;

    card = call->data;

    if (call->outcome == NGX_HTTP_CONCERT_OK) {
        ngx_http_concert_card_told(call);
        return;
    }

    card->verdict = (call->outcome == NGX_HTTP_CONCERT_UNKNOWN)
                    ? NGX_HTTP_CONCERT_VERDICT_UNKNOWN
                    : NGX_HTTP_CONCERT_VERDICT_RETRY;
    card->approved = 0;
    card->failed = (call->outcome != NGX_HTTP_CONCERT_REFUSED);
    ngx_str_null(&card->code);
    ngx_str_null(&card->reason);

    ngx_http_concert_card_told(call);
}


/* a card that is declined is the gateway's success; who waited asked nothing */

static void
ngx_http_concert_card_told(ngx_http_concert_call_t *call)
{
    ngx_http_concert_card_t  *card;

    card = call->data;

    if (call->outcome == NGX_HTTP_CONCERT_REFUSED) {
        ngx_http_concert_card_give_back(call);
        return;
    }

    card->permitted = 0;
    ngx_http_concert_guard_leave(call->sale->guard, &card->permit,
                                 ngx_current_msec - call->sent,
                                 card->failed
                                 ? NGX_HTTP_CONCERT_BREAKER_FAILURE
                                 : NGX_HTTP_CONCERT_BREAKER_SUCCESS);
}


ngx_int_t
ngx_http_concert_card_settle(ngx_http_concert_call_t *call,
    const char *verdict, void (*done)(ngx_http_concert_call_t *call))
{
    ngx_str_t                 word;
    ngx_http_concert_card_t  *card;

    card = call->data;
    word.data = (u_char *) verdict;
    word.len = ngx_strlen(verdict);

    ngx_http_concert_call_step(call, &ngx_http_concert_settle,
                               ngx_http_concert_card_settle_read);

    if (ngx_http_concert_call_integer(call, card->payment_id) != NGX_OK
        || ngx_http_concert_call_string(call, &word) != NGX_OK
        || ngx_http_concert_call_integer(call, card->approved) != NGX_OK
        || ngx_http_concert_call_quoted(call, &card->code) != NGX_OK
        || ngx_http_concert_call_quoted(call, &card->reason) != NGX_OK)
    {
        return NGX_ERROR;
    }

    card->changed = 0;

    return ngx_http_concert_sale_run(call, done);
}


ngx_int_t
ngx_http_concert_card_settle_pending(ngx_http_concert_call_t *call,
    void (*done)(ngx_http_concert_call_t *call))
{
    ngx_http_concert_card_t  *card;

    static const char  *words[] = {
        [NGX_HTTP_CONCERT_VERDICT_UNKNOWN] = "unknown",
        [NGX_HTTP_CONCERT_VERDICT_RETRY] = "unknown",
        [NGX_HTTP_CONCERT_VERDICT_DEPOSIT] = "deposit",
        [NGX_HTTP_CONCERT_VERDICT_APPROVED] = "approved",
        [NGX_HTTP_CONCERT_VERDICT_DECLINED] = "declined",
        [NGX_HTTP_CONCERT_VERDICT_REFUNDED] = "refunded"
    };

    card = call->data;

    return ngx_http_concert_card_settle(call, words[card->verdict], done);
}


static void
ngx_http_concert_card_settle_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    ngx_str_t                 outcome;
    ngx_http_concert_card_t  *card;

    card = call->data;
    outcome = res->string(res, 0, NGX_HTTP_CONCERT_SETTLE_OUTCOME);

    if (outcome.len != 2) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "concert: payment %L stays as it is, but the gateway "
                      "does not have it so: order %V: %V", card->payment_id,
                      &card->order_id, &outcome);
        return;
    }

    if (ngx_http_concert_card_keep(call, &card->status,
                       res->string(res, 0, NGX_HTTP_CONCERT_SETTLE_STATUS))
        != NGX_OK
        || ngx_http_concert_card_keep(call, &card->code,
                       res->string(res, 0, NGX_HTTP_CONCERT_SETTLE_CODE))
           != NGX_OK
        || ngx_http_concert_card_keep(call, &card->reason,
                       res->string(res, 0, NGX_HTTP_CONCERT_SETTLE_REASON))
           != NGX_OK)
    {
        return;
    }

    card->time = res->integer(res, 0, NGX_HTTP_CONCERT_SETTLE_TIME);
    card->changed = res->integer(res, 0, NGX_HTTP_CONCERT_SETTLE_CHANGED);
}


ngx_uint_t
ngx_http_concert_card_is(const ngx_http_concert_card_t *card,
    const char *status)
{
    return card->status.len == ngx_strlen(status)
           && ngx_strncmp(card->status.data, status, card->status.len) == 0;
}


ngx_int_t
ngx_http_concert_card_keep(ngx_http_concert_call_t *call, ngx_str_t *to,
    ngx_str_t from)
{
    u_char  *p;

    ngx_str_null(to);

    if (from.data == NULL) {
        return NGX_OK;
    }

    p = ngx_pnalloc(call->pool, from.len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    to->data = p;
    to->len = from.len;
    *ngx_cpymem(p, from.data, from.len) = '\0';

    return NGX_OK;
}


ngx_int_t
ngx_http_concert_card_keep_operation(ngx_http_concert_call_t *call,
    ngx_str_t *to, ngx_str_t uuid)
{
    u_char  *p;

    ngx_str_null(to);

    if (uuid.len != NGX_HTTP_CONCERT_UUID) {
        return NGX_ERROR;
    }

    p = ngx_pnalloc(call->pool, 2 * NGX_HTTP_CONCERT_UUID + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    to->data = p;
    to->len = 2 * NGX_HTTP_CONCERT_UUID;
    *ngx_hex_dump(p, uuid.data, uuid.len) = '\0';

    return NGX_OK;
}
