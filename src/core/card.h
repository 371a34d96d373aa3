
/*
 * Steps of a payment or a top-up by card.  A payment that has been claimed is
 * PENDING in the database; then the gateway is asked, on a lane of its own, and
 * what it says is settled.  Requests and the settle job take the same steps;
 * each is safe to repeat, and none needs the one before to have been answered.
 */


#ifndef NGX_HTTP_CONCERT_CARD_H_INCLUDED
#define NGX_HTTP_CONCERT_CARD_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>

#include "core/call.h"
#include "core/guard.h"
#include "store/gateway_api.h"


/* columns of a gateway's answer */

enum {
    NGX_HTTP_CONCERT_ANSWER_VERDICT = 0,
    NGX_HTTP_CONCERT_ANSWER_AMOUNT,
    NGX_HTTP_CONCERT_ANSWER_FAILED,
    NGX_HTTP_CONCERT_ANSWER_CODE,
    NGX_HTTP_CONCERT_ANSWER_MESSAGE
};


/* parameters of a question, whose name is that of its operation */

enum {
    NGX_HTTP_CONCERT_QUESTION_KEY = 0,      /* Idempotency-Key */
    NGX_HTTP_CONCERT_QUESTION_ORDER,
    NGX_HTTP_CONCERT_QUESTION_PAYMENT_KEY,
    NGX_HTTP_CONCERT_QUESTION_AMOUNT
};


/* call->data of these steps */

typedef struct {
    int64_t                      payment_id;
    int64_t                      user_id;          /* of the job's */
    int64_t                      reservation_id;   /* 0: a top-up */
    int64_t                      amount;
    ngx_str_t                    order_id;
    ngx_str_t                    payment_key;
    ngx_str_t                    operation;   /* the gateway's key for it */

    ngx_http_concert_breaker_permit_t  permit;
    ngx_uint_t                         permitted;

    /* what the gateway says */
    ngx_http_concert_verdict_e   verdict;
    int64_t                      approved;    /* won */
    ngx_uint_t                   failed;
    ngx_str_t                    code;
    ngx_str_t                    reason;

    /* what the payment is */
    ngx_str_t                    status;
    int64_t                      time;        /* ms since the epoch */
    ngx_uint_t                   changed;     /* by what was settled */
    int64_t                      claimed;     /* ms since the epoch */
    ngx_uint_t                   mine;        /* this call has claimed it */
} ngx_http_concert_card_t;


/*
 * Whether the breaker lets a question through: NGX_OK, or NGX_DECLINED and for
 * how many s it will not.  A permit that no question uses is given back.
 */
ngx_int_t ngx_http_concert_card_permit(ngx_http_concert_call_t *call,
    ngx_uint_t *retry);
void ngx_http_concert_card_give_back(ngx_http_concert_call_t *call);

/*
 * Begin a step of a call: NGX_OK, NGX_ERROR (no memory), or, of a question,
 * NGX_DECLINED (by the breaker).  When a question
 * has ended, done() begins with ngx_http_concert_card_answered(), which makes a
 * verdict of no answer, too.
 */
ngx_int_t ngx_http_concert_card_ask(ngx_http_concert_call_t *call,
    ngx_http_concert_ask_e ask, void (*done)(ngx_http_concert_call_t *call));
void ngx_http_concert_card_answered(ngx_http_concert_call_t *call);

/* "verdict" is one of concert.settle() */
ngx_int_t ngx_http_concert_card_settle(ngx_http_concert_call_t *call,
    const char *verdict, void (*done)(ngx_http_concert_call_t *call));

/* the same of what the gateway said of a payment that is PENDING */
ngx_int_t ngx_http_concert_card_settle_pending(ngx_http_concert_call_t *call,
    void (*done)(ngx_http_concert_call_t *call));

/* whether the status is this one */
ngx_uint_t ngx_http_concert_card_is(const ngx_http_concert_card_t *card,
    const char *status);

/* for the gateway's lanes: which question it is */
ngx_http_concert_ask_e ngx_http_concert_card_ask_of(
    const ngx_http_concert_op_t *op);

/*
 * A copy in the call's memory, ended by a NUL byte, of what a store answered;
 * and of an operation id, as calls write it.  Any thread.
 */
ngx_int_t ngx_http_concert_card_keep(ngx_http_concert_call_t *call,
    ngx_str_t *to, ngx_str_t from);
ngx_int_t ngx_http_concert_card_keep_operation(ngx_http_concert_call_t *call,
    ngx_str_t *to, ngx_str_t uuid);


#endif /* NGX_HTTP_CONCERT_CARD_H_INCLUDED */
