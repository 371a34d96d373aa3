
/*
 * What a payment gateway is asked and what it can answer, whichever it is.  A
 * ngx_http_concert_gateway_api_t is one gateway's language; it knows nothing
 * of nginx nor of libcurl, so that it is tested alone.
 */


#ifndef NGX_HTTP_CONCERT_GATEWAY_API_H_INCLUDED
#define NGX_HTTP_CONCERT_GATEWAY_API_H_INCLUDED


#include <stddef.h>
#include <stdint.h>


#define NGX_HTTP_CONCERT_GATEWAY_PATH     320
#define NGX_HTTP_CONCERT_GATEWAY_BODY     512
#define NGX_HTTP_CONCERT_GATEWAY_CODE     65
#define NGX_HTTP_CONCERT_GATEWAY_MESSAGE  513

/* what orders and payment keys may have, and so need no quoting */
#define NGX_HTTP_CONCERT_MAX_ORDER        64
#define NGX_HTTP_CONCERT_MAX_PAYMENT_KEY  200


typedef enum {
    NGX_HTTP_CONCERT_ASK_CONFIRM = 0,    /* take the money */
    NGX_HTTP_CONCERT_ASK_LOOK_UP,        /* what became of an order */
    NGX_HTTP_CONCERT_ASK_CANCEL          /* give all of it back */
} ngx_http_concert_ask_e;


typedef struct {
    ngx_http_concert_ask_e      ask;
    const char                 *order_id;
    const char                 *payment_key;
    int64_t                     amount;
} ngx_http_concert_question_t;


/*
 * What an answer means.  Only the first three leave anything open: after RETRY
 * to confirm again, with the same key, can do no harm and may settle it; after
 * DEPOSIT it is the buyer's turn.
 */

typedef enum {
    NGX_HTTP_CONCERT_VERDICT_UNKNOWN = 0,
    NGX_HTTP_CONCERT_VERDICT_RETRY,
    NGX_HTTP_CONCERT_VERDICT_DEPOSIT,    /* it has an account, still empty */
    NGX_HTTP_CONCERT_VERDICT_APPROVED,   /* it has "amount" */
    NGX_HTTP_CONCERT_VERDICT_DECLINED,   /* it has nothing, nor will have */
    NGX_HTTP_CONCERT_VERDICT_REFUNDED    /* it has nothing any more */
} ngx_http_concert_verdict_e;


typedef struct {
    ngx_http_concert_verdict_e  verdict;
    int64_t                     amount;
    int                         failed;  /* the gateway did: not a card */
    char                        code[NGX_HTTP_CONCERT_GATEWAY_CODE];
    char                        message[NGX_HTTP_CONCERT_GATEWAY_MESSAGE];
} ngx_http_concert_verdict_t;


typedef struct {
    /* the path and, of a POST, the body; else the body is empty */
    void                      (*request)(const ngx_http_concert_question_t *q,
                                         char *path, char *body);

    /* what an answer means, whatever it is */
    void                      (*read)(const ngx_http_concert_question_t *q,
                                      long status, const char *body,
                                      size_t len,
                                      ngx_http_concert_verdict_t *verdict);
} ngx_http_concert_gateway_api_t;


/* the payment gateway of Toss Payments: toss.c */
extern const ngx_http_concert_gateway_api_t  ngx_http_concert_toss;


#endif /* NGX_HTTP_CONCERT_GATEWAY_API_H_INCLUDED */
