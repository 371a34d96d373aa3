
/*
 * The API of Toss Payments, version 1, and the only file that knows it:
 * https://docs.tosspayments.com/reference and .../reference/error-codes.
 *
 * Answers are judged by their code.  What is not listed here, and what a server
 * says that has failed (5xx), leaves open whether the card was charged; so does
 * "in progress", and that a payment is not found.
 */

#include "store/gateway_api.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>


typedef struct {
    const char                  *name;
    ngx_http_concert_verdict_e   verdict;
    int                          failed;
} ngx_http_concert_toss_word_t;


static void ngx_http_concert_toss_request(
    const ngx_http_concert_question_t *q, char *path, char *body);
static void ngx_http_concert_toss_read(const ngx_http_concert_question_t *q,
    long status, const char *body, size_t len,
    ngx_http_concert_verdict_t *verdict);
static void ngx_http_concert_toss_payment(
    const ngx_http_concert_question_t *q, json_t *payment,
    ngx_http_concert_verdict_t *verdict);
static void ngx_http_concert_toss_error(const ngx_http_concert_question_t *q,
    const char *code, json_t *error, ngx_http_concert_verdict_t *verdict);
static const ngx_http_concert_toss_word_t *ngx_http_concert_toss_word(
    const ngx_http_concert_toss_word_t *words, const char *name);
static int ngx_http_concert_toss_is(json_t *object, const char *name,
    const char *value);
static void ngx_http_concert_toss_text(char *text, size_t size,
    const char *from);


/* states of a payment */

static const ngx_http_concert_toss_word_t  ngx_http_concert_toss_states[] = {
    { "READY", NGX_HTTP_CONCERT_VERDICT_RETRY, 0 },
    { "IN_PROGRESS", NGX_HTTP_CONCERT_VERDICT_RETRY, 0 },
    { "WAITING_FOR_DEPOSIT", NGX_HTTP_CONCERT_VERDICT_DEPOSIT, 0 },
    { "DONE", NGX_HTTP_CONCERT_VERDICT_APPROVED, 0 },
    { "PARTIAL_CANCELED", NGX_HTTP_CONCERT_VERDICT_APPROVED, 0 },
    { "CANCELED", NGX_HTTP_CONCERT_VERDICT_REFUNDED, 0 },
    { "ABORTED", NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "EXPIRED", NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { NULL, NGX_HTTP_CONCERT_VERDICT_UNKNOWN, 0 }
};


/*
 * Why a payment was not confirmed.  The key of the request makes this its only
 * answer, so that of a payment which the first one has confirmed none of these
 * is said.
 */

static const ngx_http_concert_toss_word_t  ngx_http_concert_toss_refusals[] = {

    /* the card, or the account */
    { "REJECT_CARD_PAYMENT", NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "REJECT_CARD_COMPANY", NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "REJECT_ACCOUNT_PAYMENT", NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "REJECT_TOSSPAY_INVALID_ACCOUNT", NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "INVALID_REJECT_CARD", NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "INVALID_CARD_EXPIRATION", NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "INVALID_CARD_NUMBER", NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "INVALID_CARD_LOST_OR_STOLEN", NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "INVALID_CARD_INSTALLMENT_PLAN", NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "INVALID_STOPPED_CARD", NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "INVALID_ACCOUNT_INFO_RE_REGISTER",
      NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "INVALID_AUTHORIZE_AUTH", NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "INVALID_PASSWORD", NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "NOT_SUPPORTED_INSTALLMENT_PLAN_CARD_OR_MERCHANT",
      NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "NOT_SUPPORTED_MONTHLY_INSTALLMENT_PLAN",
      NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "NOT_AVAILABLE_BANK", NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "NOT_ALLOWED_POINT_USE", NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "RESTRICTED_TRANSFER_ACCOUNT", NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "BELOW_MINIMUM_AMOUNT", NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "EXCEED_MAX_AMOUNT", NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "EXCEED_MAX_AUTH_COUNT", NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "EXCEED_MAX_CARD_INSTALLMENT_PLAN",
      NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "EXCEED_MAX_DAILY_PAYMENT_COUNT", NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "EXCEED_MAX_MONTHLY_PAYMENT_AMOUNT",
      NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "EXCEED_MAX_ONE_DAY_AMOUNT", NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "EXCEED_MAX_ONE_DAY_WITHDRAW_AMOUNT",
      NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "EXCEED_MAX_ONE_TIME_WITHDRAW_AMOUNT",
      NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "EXCEED_MAX_PAYMENT_AMOUNT", NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "NOT_AVAILABLE_PAYMENT", NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "FDS_ERROR", NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },

    /* the payment: another amount, another order, or its window has closed */
    { "INVALID_REQUEST", NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "NOT_FOUND_PAYMENT", NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },
    { "NOT_FOUND_PAYMENT_SESSION", NGX_HTTP_CONCERT_VERDICT_DECLINED, 0 },

    /* no answer yet */
    { "IDEMPOTENT_REQUEST_PROCESSING", NGX_HTTP_CONCERT_VERDICT_UNKNOWN, 0 },
    { "ALREADY_PROCESSED_PAYMENT", NGX_HTTP_CONCERT_VERDICT_UNKNOWN, 0 },

    /* nothing was looked at: the secret key, or too much */
    { "UNAUTHORIZED_KEY", NGX_HTTP_CONCERT_VERDICT_RETRY, 1 },
    { "INVALID_API_KEY", NGX_HTTP_CONCERT_VERDICT_RETRY, 1 },
    { "INCORRECT_BASIC_AUTH_FORMAT", NGX_HTTP_CONCERT_VERDICT_RETRY, 1 },
    { "FORBIDDEN_REQUEST", NGX_HTTP_CONCERT_VERDICT_RETRY, 1 },
    { "TOO_MANY_REQUESTS", NGX_HTTP_CONCERT_VERDICT_RETRY, 1 },

    { NULL, NGX_HTTP_CONCERT_VERDICT_UNKNOWN, 1 }
};


static const ngx_http_concert_toss_word_t  ngx_http_concert_toss_lookups[] = {
    { "NOT_FOUND_PAYMENT", NGX_HTTP_CONCERT_VERDICT_RETRY, 0 },
    { "NOT_FOUND", NGX_HTTP_CONCERT_VERDICT_RETRY, 0 },
    { NULL, NGX_HTTP_CONCERT_VERDICT_UNKNOWN, 1 }
};


static const ngx_http_concert_toss_word_t  ngx_http_concert_toss_cancels[] = {
    { "ALREADY_CANCELED_PAYMENT", NGX_HTTP_CONCERT_VERDICT_REFUNDED, 0 },
    { "IDEMPOTENT_REQUEST_PROCESSING", NGX_HTTP_CONCERT_VERDICT_UNKNOWN, 0 },
    { "NOT_CANCELABLE_PAYMENT", NGX_HTTP_CONCERT_VERDICT_UNKNOWN, 0 },
    { "NOT_FOUND_PAYMENT", NGX_HTTP_CONCERT_VERDICT_UNKNOWN, 0 },
    { NULL, NGX_HTTP_CONCERT_VERDICT_UNKNOWN, 1 }
};


static const ngx_http_concert_toss_word_t  *ngx_http_concert_toss_codes[] = {
    [NGX_HTTP_CONCERT_ASK_CONFIRM] = ngx_http_concert_toss_refusals,
    [NGX_HTTP_CONCERT_ASK_LOOK_UP] = ngx_http_concert_toss_lookups,
    [NGX_HTTP_CONCERT_ASK_CANCEL] = ngx_http_concert_toss_cancels
};


const ngx_http_concert_gateway_api_t  ngx_http_concert_toss = {
    ngx_http_concert_toss_request,
    ngx_http_concert_toss_read
};


static void
ngx_http_concert_toss_request(const ngx_http_concert_question_t *q,
    char *path, char *body)
{
    body[0] = '\0';

    switch (q->ask) {

    case NGX_HTTP_CONCERT_ASK_CONFIRM:
        (void) snprintf(path, NGX_HTTP_CONCERT_GATEWAY_PATH,
                        "/v1/payments/confirm");
        (void) snprintf(body, NGX_HTTP_CONCERT_GATEWAY_BODY,
                        "{\"paymentKey\":\"%s\",\"orderId\":\"%s\","
                        "\"amount\":%lld}",
                        q->payment_key, q->order_id, (long long) q->amount);
        return;

    case NGX_HTTP_CONCERT_ASK_LOOK_UP:
        (void) snprintf(path, NGX_HTTP_CONCERT_GATEWAY_PATH,
                        "/v1/payments/orders/%s", q->order_id);
        return;

    case NGX_HTTP_CONCERT_ASK_CANCEL:
        (void) snprintf(path, NGX_HTTP_CONCERT_GATEWAY_PATH,
                        "/v1/payments/%s/cancel", q->payment_key);

        /* without an amount it is all that was paid */

        (void) snprintf(body, NGX_HTTP_CONCERT_GATEWAY_BODY,
                        "{\"cancelReason\":\"refund of order %s\"}",
                        q->order_id);
        return;
    }
}


static void
ngx_http_concert_toss_read(const ngx_http_concert_question_t *q, long status,
    const char *body, size_t len, ngx_http_concert_verdict_t *verdict)
{
    json_t      *json;
    const char  *code;

    memset(verdict, 0, sizeof(ngx_http_concert_verdict_t));

    verdict->verdict = NGX_HTTP_CONCERT_VERDICT_UNKNOWN;
    verdict->failed = 1;

    json = json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL);
    code = json_string_value(json_object_get(json, "code"));

    if (code) {
        ngx_http_concert_toss_error(q, code, json, verdict);

    } else if (status == 200 && json_is_object(json)) {
        ngx_http_concert_toss_payment(q, json, verdict);
    }

    if (status >= 500) {
        verdict->verdict = NGX_HTTP_CONCERT_VERDICT_UNKNOWN;
        verdict->failed = 1;
    }

    json_decref(json);
}


/* a payment that is not ours says nothing of ours */

static void
ngx_http_concert_toss_payment(const ngx_http_concert_question_t *q,
    json_t *payment, ngx_http_concert_verdict_t *verdict)
{
    int                                  foreign;
    json_t                              *amount, *failure;
    const char                          *status, *code, *message;
    const ngx_http_concert_toss_word_t  *state;

    status = json_string_value(json_object_get(payment, "status"));

    if (status == NULL
        || !ngx_http_concert_toss_is(payment, "orderId", q->order_id))
    {
        return;
    }

    if (!ngx_http_concert_toss_is(payment, "paymentKey", q->payment_key)) {

        /* an order may have had two windows; ours is known by confirming it */

        if (q->ask == NGX_HTTP_CONCERT_ASK_LOOK_UP) {
            verdict->verdict = NGX_HTTP_CONCERT_VERDICT_RETRY;
            verdict->failed = 0;
        }

        return;
    }

    state = ngx_http_concert_toss_word(ngx_http_concert_toss_states, status);

    amount = json_object_get(payment, strcmp(status, "PARTIAL_CANCELED") == 0
                                      ? "balanceAmount" : "totalAmount");
    foreign = json_object_get(payment, "currency")
              && !ngx_http_concert_toss_is(payment, "currency", "KRW");

    /* a sum that cannot be read is no reason to give anything back */

    if (state->verdict == NGX_HTTP_CONCERT_VERDICT_APPROVED
        && !foreign && !json_is_integer(amount))
    {
        return;
    }

    verdict->verdict = state->verdict;
    verdict->failed = state->failed;

    /* no sum of another money is ours */

    verdict->amount = foreign ? 0 : json_integer_value(amount);

    if (state->verdict == NGX_HTTP_CONCERT_VERDICT_APPROVED) {
        return;
    }

    failure = json_object_get(payment, "failure");
    code = json_string_value(json_object_get(failure, "code"));
    message = json_string_value(json_object_get(failure, "message"));

    ngx_http_concert_toss_text(verdict->code, sizeof(verdict->code),
                               code ? code : status);
    ngx_http_concert_toss_text(verdict->message, sizeof(verdict->message),
                               message ? message : "");
}


static void
ngx_http_concert_toss_error(const ngx_http_concert_question_t *q,
    const char *code, json_t *error, ngx_http_concert_verdict_t *verdict)
{
    const char                          *message;
    const ngx_http_concert_toss_word_t  *word;

    word = ngx_http_concert_toss_word(ngx_http_concert_toss_codes[q->ask],
                                      code);
    message = json_string_value(json_object_get(error, "message"));

    verdict->verdict = word->verdict;
    verdict->failed = word->failed;

    ngx_http_concert_toss_text(verdict->code, sizeof(verdict->code), code);
    ngx_http_concert_toss_text(verdict->message, sizeof(verdict->message),
                               message ? message : "");
}


/* the word of that name, or the nameless one that ends the list */

static const ngx_http_concert_toss_word_t *
ngx_http_concert_toss_word(const ngx_http_concert_toss_word_t *words,
    const char *name)
{
    while (words->name && strcmp(words->name, name) != 0) {
        words++;
    }

    return words;
}


static int
ngx_http_concert_toss_is(json_t *object, const char *name, const char *value)
{
    const char  *is;

    is = json_string_value(json_object_get(object, name));

    return is && strcmp(is, value) == 0;
}


/* as much as there is room for, of whole characters */

static void
ngx_http_concert_toss_text(char *text, size_t size, const char *from)
{
    size_t  len;

    len = strlen(from);

    if (len >= size) {
        len = size - 1;

        while (len && ((unsigned char) from[len] & 0xc0) == 0x80) {
            len--;
        }
    }

    memcpy(text, from, len);
    text[len] = '\0';
}
