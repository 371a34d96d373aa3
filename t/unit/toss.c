
/*
 * What the answers of Toss Payments mean.  The source is included, so that
 * static functions and sanitizers see all of it.
 */

#include "store/toss.c"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include "between.h"


#define APPROVED  NGX_HTTP_CONCERT_VERDICT_APPROVED
#define DECLINED  NGX_HTTP_CONCERT_VERDICT_DECLINED
#define REFUNDED  NGX_HTTP_CONCERT_VERDICT_REFUNDED
#define DEPOSIT   NGX_HTTP_CONCERT_VERDICT_DEPOSIT
#define RETRY     NGX_HTTP_CONCERT_VERDICT_RETRY
#define UNKNOWN   NGX_HTTP_CONCERT_VERDICT_UNKNOWN

#define CONFIRM   NGX_HTTP_CONCERT_ASK_CONFIRM
#define LOOK_UP   NGX_HTTP_CONCERT_ASK_LOOK_UP
#define CANCEL    NGX_HTTP_CONCERT_ASK_CANCEL

#define OURS      "\"orderId\":\"order-1\",\"paymentKey\":\"key-1\","


typedef struct {
    ngx_http_concert_ask_e       ask;
    long                         status;
    const char                  *body;
    ngx_http_concert_verdict_e   verdict;
    int64_t                      amount;
    int                          failed;
    const char                  *code;
} case_t;


static ngx_http_concert_question_t
question(ngx_http_concert_ask_e ask)
{
    ngx_http_concert_question_t  q = { ask, "order-1", "key-1", 15000 };

    return q;
}


/* requests */

static void
test_requests(void **state)
{
    char                         path[NGX_HTTP_CONCERT_GATEWAY_PATH];
    char                         body[NGX_HTTP_CONCERT_GATEWAY_BODY];
    ngx_http_concert_question_t  q;

    q = question(CONFIRM);
    ngx_http_concert_toss.request(&q, path, body);
    assert_string_equal(path, "/v1/payments/confirm");
    assert_string_equal(body, "{\"paymentKey\":\"key-1\","
                              "\"orderId\":\"order-1\",\"amount\":15000}");

    q = question(LOOK_UP);
    ngx_http_concert_toss.request(&q, path, body);
    assert_string_equal(path, "/v1/payments/orders/order-1");
    assert_string_equal(body, "");

    q = question(CANCEL);
    ngx_http_concert_toss.request(&q, path, body);
    assert_string_equal(path, "/v1/payments/key-1/cancel");
    assert_string_equal(body, "{\"cancelReason\":\"refund of order order-1\"}");
}


/* the longest that there can be */

static void
test_long_requests(void **state)
{
    char                         order[NGX_HTTP_CONCERT_MAX_ORDER + 1];
    char                         key[NGX_HTTP_CONCERT_MAX_PAYMENT_KEY + 1];
    char                         path[NGX_HTTP_CONCERT_GATEWAY_PATH];
    char                         body[NGX_HTTP_CONCERT_GATEWAY_BODY];
    ngx_http_concert_question_t  q = { CONFIRM, order, key, INT64_MAX };

    memset(order, 'o', sizeof(order) - 1);
    order[sizeof(order) - 1] = '\0';
    memset(key, 'k', sizeof(key) - 1);
    key[sizeof(key) - 1] = '\0';

    ngx_http_concert_toss.request(&q, path, body);
    assert_int_equal(body[strlen(body) - 1], '}');

    q.ask = CANCEL;
    ngx_http_concert_toss.request(&q, path, body);
    assert_non_null(strstr(path, "k/cancel"));
    assert_int_equal(body[strlen(body) - 1], '}');

    q.ask = LOOK_UP;
    ngx_http_concert_toss.request(&q, path, body);
    assert_int_equal(path[strlen(path) - 1], 'o');
}


static const case_t  cases[] = {

    /* payments */
    { CONFIRM, 200, "{" OURS "\"status\":\"DONE\",\"totalAmount\":15000}",
      APPROVED, 15000, 0, "" },
    { CONFIRM, 200, "{" OURS "\"status\":\"DONE\",\"totalAmount\":1}",
      APPROVED, 1, 0, "" },
    { LOOK_UP, 200, "{" OURS "\"status\":\"DONE\",\"totalAmount\":15000}",
      APPROVED, 15000, 0, "" },
    { CONFIRM, 200, "{" OURS "\"status\":\"DONE\",\"totalAmount\":15000,"
      "\"currency\":\"KRW\"}", APPROVED, 15000, 0, "" },
    { CONFIRM, 200, "{" OURS "\"status\":\"DONE\",\"totalAmount\":15000,"
      "\"currency\":\"JPY\"}", APPROVED, 0, 0, "" },
    { LOOK_UP, 200, "{" OURS "\"status\":\"PARTIAL_CANCELED\","
      "\"totalAmount\":15000,\"balanceAmount\":7}", APPROVED, 7, 0, "" },
    { CONFIRM, 200, "{" OURS "\"status\":\"DONE\",\"totalAmount\":12.5,"
      "\"currency\":\"USD\"}", APPROVED, 0, 0, "" },
    { CONFIRM, 200, "{" OURS "\"status\":\"DONE\"}", UNKNOWN, 0, 1, "" },
    { CONFIRM, 200, "{" OURS "\"status\":\"DONE\",\"totalAmount\":15000.0}",
      UNKNOWN, 0, 1, "" },
    { LOOK_UP, 200, "{" OURS "\"status\":\"DONE\","
      "\"totalAmount\":\"15000\"}", UNKNOWN, 0, 1, "" },
    { LOOK_UP, 200, "{" OURS "\"status\":\"PARTIAL_CANCELED\","
      "\"totalAmount\":15000}", UNKNOWN, 0, 1, "" },
    { LOOK_UP, 200, "{" OURS "\"status\":\"READY\"}",
      RETRY, 0, 0, "READY" },
    { LOOK_UP, 200, "{" OURS "\"status\":\"IN_PROGRESS\"}",
      RETRY, 0, 0, "IN_PROGRESS" },
    { CONFIRM, 200, "{" OURS "\"status\":\"WAITING_FOR_DEPOSIT\"}",
      DEPOSIT, 0, 0, "WAITING_FOR_DEPOSIT" },
    { LOOK_UP, 200, "{" OURS "\"status\":\"WAITING_FOR_DEPOSIT\"}",
      DEPOSIT, 0, 0, "WAITING_FOR_DEPOSIT" },
    { LOOK_UP, 200, "{" OURS "\"status\":\"EXPIRED\"}",
      DECLINED, 0, 0, "EXPIRED" },
    { LOOK_UP, 200, "{" OURS "\"status\":\"ABORTED\",\"failure\":"
      "{\"code\":\"REJECT_CARD_PAYMENT\",\"message\":\"no\"}}",
      DECLINED, 0, 0, "REJECT_CARD_PAYMENT" },
    { LOOK_UP, 200, "{" OURS "\"status\":\"CANCELED\",\"failure\":null}",
      REFUNDED, 0, 0, "CANCELED" },
    { CANCEL, 200, "{" OURS "\"status\":\"CANCELED\"}",
      REFUNDED, 0, 0, "CANCELED" },
    { CONFIRM, 200, "{" OURS "\"status\":\"SOMETHING_NEW\"}",
      UNKNOWN, 0, 0, "SOMETHING_NEW" },

    /* of somebody else, or of nobody */
    { CONFIRM, 200, "{\"orderId\":\"order-2\",\"paymentKey\":\"key-1\","
      "\"status\":\"DONE\",\"totalAmount\":15000}", UNKNOWN, 0, 1, "" },
    { LOOK_UP, 200, "{\"orderId\":\"order-1\",\"paymentKey\":\"key-2\","
      "\"status\":\"DONE\",\"totalAmount\":15000}", RETRY, 0, 0, "" },
    { CONFIRM, 200, "{\"orderId\":\"order-1\",\"paymentKey\":\"key-2\","
      "\"status\":\"DONE\",\"totalAmount\":15000}", UNKNOWN, 0, 1, "" },
    { CONFIRM, 200, "{\"status\":\"DONE\",\"totalAmount\":15000}",
      UNKNOWN, 0, 1, "" },
    { CONFIRM, 200, "", UNKNOWN, 0, 1, "" },
    { CONFIRM, 200, "{" OURS "\"status\":\"DO", UNKNOWN, 0, 1, "" },
    { CONFIRM, 200, "[]", UNKNOWN, 0, 1, "" },
    { CONFIRM, 200, "\"DONE\"", UNKNOWN, 0, 1, "" },
    { CONFIRM, 502, "<html>", UNKNOWN, 0, 1, "" },
    { CONFIRM, 302, "", UNKNOWN, 0, 1, "" },

    /* errors of a confirmation */
    { CONFIRM, 403, "{\"code\":\"REJECT_CARD_PAYMENT\",\"message\":\"no\"}",
      DECLINED, 0, 0, "REJECT_CARD_PAYMENT" },
    { CONFIRM, 400, "{\"code\":\"REJECT_CARD_PAYMENT\"}",
      DECLINED, 0, 0, "REJECT_CARD_PAYMENT" },
    { CONFIRM, 403, "{\"code\":\"REJECT_CARD_COMPANY\"}",
      DECLINED, 0, 0, "REJECT_CARD_COMPANY" },
    { CONFIRM, 404, "{\"code\":\"NOT_FOUND_PAYMENT_SESSION\"}",
      DECLINED, 0, 0, "NOT_FOUND_PAYMENT_SESSION" },
    { CONFIRM, 400, "{\"code\":\"INVALID_REQUEST\"}",
      DECLINED, 0, 0, "INVALID_REQUEST" },
    { CONFIRM, 400, "{\"code\":\"PROVIDER_ERROR\",\"message\":\"later\"}",
      UNKNOWN, 0, 1, "PROVIDER_ERROR" },
    { CONFIRM, 400, "{\"code\":\"ALREADY_PROCESSED_PAYMENT\"}",
      UNKNOWN, 0, 0, "ALREADY_PROCESSED_PAYMENT" },
    { CONFIRM, 409, "{\"code\":\"IDEMPOTENT_REQUEST_PROCESSING\"}",
      UNKNOWN, 0, 0, "IDEMPOTENT_REQUEST_PROCESSING" },
    { CONFIRM, 401, "{\"code\":\"UNAUTHORIZED_KEY\"}",
      RETRY, 0, 1, "UNAUTHORIZED_KEY" },
    { CONFIRM, 400, "{\"code\":\"NOBODY_KNOWS_THIS\"}",
      UNKNOWN, 0, 1, "NOBODY_KNOWS_THIS" },
    { CONFIRM, 500, "{\"code\":\"REJECT_CARD_PAYMENT\"}",
      UNKNOWN, 0, 1, "REJECT_CARD_PAYMENT" },
    { CONFIRM, 400, "{\"code\":7}", UNKNOWN, 0, 1, "" },
    { CONFIRM, 200, "{\"code\":\"REJECT_CARD_PAYMENT\"}",
      DECLINED, 0, 0, "REJECT_CARD_PAYMENT" },

    /* the same words mean something else elsewhere */
    { LOOK_UP, 404, "{\"code\":\"NOT_FOUND_PAYMENT\"}",
      RETRY, 0, 0, "NOT_FOUND_PAYMENT" },
    { LOOK_UP, 403, "{\"code\":\"REJECT_CARD_PAYMENT\"}",
      UNKNOWN, 0, 1, "REJECT_CARD_PAYMENT" },
    { CANCEL, 400, "{\"code\":\"ALREADY_CANCELED_PAYMENT\"}",
      REFUNDED, 0, 0, "ALREADY_CANCELED_PAYMENT" },
    { CANCEL, 404, "{\"code\":\"NOT_FOUND_PAYMENT\"}",
      UNKNOWN, 0, 0, "NOT_FOUND_PAYMENT" },
    { CANCEL, 403, "{\"code\":\"NOT_CANCELABLE_PAYMENT\"}",
      UNKNOWN, 0, 0, "NOT_CANCELABLE_PAYMENT" }
};


static void
test_answers(void **state)
{
    size_t                       i;
    const case_t                *c;
    ngx_http_concert_verdict_t   verdict;
    ngx_http_concert_question_t  q;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        c = &cases[i];
        q = question(c->ask);

        ngx_http_concert_toss.read(&q, c->status, c->body, strlen(c->body),
                                   &verdict);

        if (verdict.verdict != c->verdict || verdict.failed != c->failed
            || strcmp(verdict.code, c->code) != 0
            || (c->verdict == APPROVED && verdict.amount != c->amount))
        {
            fail_msg("%ld %s: verdict %d, failed %d, code \"%s\"", c->status,
                     c->body, verdict.verdict, verdict.failed, verdict.code);
        }
    }
}


/* a message is cut between characters */

static void
test_long_message(void **state)
{
    char                         body[4096], *p;
    size_t                       len;
    ngx_http_concert_verdict_t   verdict;
    ngx_http_concert_question_t  q;

    p = body + sprintf(body, "{\"code\":\"REJECT_CARD_PAYMENT\","
                             "\"message\":\"");

    while (p < body + 2000) {
        memcpy(p, "\xed\x95\x9c", 3);
        p += 3;
    }

    strcpy(p, "\"}");

    q = question(CONFIRM);
    ngx_http_concert_toss.read(&q, 403, body, strlen(body), &verdict);

    len = strlen(verdict.message);
    assert_between(len, sizeof(verdict.message) - 4,
                   sizeof(verdict.message) - 1);
    assert_int_equal(len % 3, 0);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_long_requests),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_long_message)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
