
/*
 * A lane's connection to the payment gateway.  A question that was asked and
 * not answered may have been heard: its outcome is unknown.  Whoever asks again
 * does so with the same key; so does libcurl, once, by itself, when the
 * connection that it kept has died.
 */

#include "store/gateway.h"
#include "core/card.h"
#include "core/report.h"

#include <curl/curl.h>


/* an answer that is longer is none */
#define NGX_HTTP_CONCERT_GATEWAY_ANSWER   65536

#define NGX_HTTP_CONCERT_GATEWAY_URL      1024
#define NGX_HTTP_CONCERT_GATEWAY_HEADER   128


typedef struct {
    CURL    *easy;
    char    *answer;
    size_t   len;
    char     error[CURL_ERROR_SIZE];
} ngx_http_concert_curl_t;


static void ngx_http_concert_gateway_run(ngx_http_concert_lane_t *lane);
static ngx_http_concert_curl_t *ngx_http_concert_gateway_connection(
    ngx_http_concert_lane_t *lane);
static CURLcode ngx_http_concert_gateway_setup(ngx_http_concert_curl_t *c,
    ngx_http_concert_group_t *group);
static size_t ngx_http_concert_gateway_write(char *p, size_t size, size_t n,
    void *data);
static void ngx_http_concert_gateway_ask(ngx_http_concert_lane_t *lane,
    ngx_http_concert_curl_t *c, ngx_http_concert_call_t *call);
static void ngx_http_concert_gateway_question(ngx_http_concert_call_t *call,
    ngx_http_concert_question_t *question);
static CURLcode ngx_http_concert_gateway_exchange(
    ngx_http_concert_curl_t *c, ngx_http_concert_call_t *call,
    const char *body);
static struct curl_slist *ngx_http_concert_gateway_headers(
    ngx_http_concert_call_t *call, const char *body);
static void ngx_http_concert_gateway_lost(ngx_http_concert_lane_t *lane,
    ngx_http_concert_call_t *call, CURLcode rc);
static void ngx_http_concert_gateway_close(ngx_http_concert_lane_t *lane);
static int64_t ngx_http_concert_gateway_integer(
    const ngx_http_concert_result_t *res, ngx_uint_t row, ngx_uint_t column);
static ngx_str_t ngx_http_concert_gateway_string(
    const ngx_http_concert_result_t *res, ngx_uint_t row, ngx_uint_t column);
static unsigned ngx_http_concert_gateway_null(
    const ngx_http_concert_result_t *res, ngx_uint_t row, ngx_uint_t column);


const ngx_http_concert_store_t  ngx_http_concert_gateway = {
    ngx_http_concert_gateway_run,
    ngx_http_concert_gateway_close,
    0
};


ngx_int_t
ngx_http_concert_gateway_init_worker(void)
{
    return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? NGX_OK
                                                             : NGX_ERROR;
}


static void
ngx_http_concert_gateway_run(ngx_http_concert_lane_t *lane)
{
    ngx_uint_t                i;
    ngx_http_concert_curl_t  *c;

    c = ngx_http_concert_gateway_connection(lane);

    for (i = 0; i < lane->ncalls; i++) {
        lane->calls[i]->outcome = NGX_HTTP_CONCERT_AWAY;

        if (c) {
            ngx_http_concert_gateway_ask(lane, c, lane->calls[i]);
        }
    }
}


static ngx_http_concert_curl_t *
ngx_http_concert_gateway_connection(ngx_http_concert_lane_t *lane)
{
    ngx_http_concert_curl_t  *c;

    if (lane->connection) {
        return lane->connection;
    }

    c = calloc(1, sizeof(ngx_http_concert_curl_t));
    if (c == NULL) {
        return NULL;
    }

    lane->connection = c;

    c->answer = malloc(NGX_HTTP_CONCERT_GATEWAY_ANSWER);
    c->easy = curl_easy_init();

    if (c->answer == NULL || c->easy == NULL
        || ngx_http_concert_gateway_setup(c, lane->group) != CURLE_OK)
    {
        ngx_http_concert_report(NGX_LOG_ERR, lane->group,
                                NGX_HTTP_CONCERT_FAULT_CONNECT, "", 0,
                                "cannot set up libcurl for the payment "
                                "gateway");
        ngx_http_concert_gateway_close(lane);
        return NULL;
    }

    ngx_http_concert_fault_ended(lane->group, NGX_HTTP_CONCERT_FAULT_CONNECT);

    return c;
}


/*
 * What is the same for all questions.  Each has the whole time, however long it
 * waited for its lane: that we are slow is no failure of the gateway's.
 */

static CURLcode
ngx_http_concert_gateway_setup(ngx_http_concert_curl_t *c,
    ngx_http_concert_group_t *group)
{
    CURL                             *easy;
    CURLcode                          rc;
    ngx_http_concert_gateway_conf_t  *gcf;

    easy = c->easy;
    gcf = group->conf;

    /* threads and alarms do not go together; a name may be asked for long */

    rc = curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
#if (LIBCURL_VERSION_NUM >= 0x075700)
    rc |= curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif

    /* whom we talk to is configured: no environment, no redirect */

    rc |= curl_easy_setopt(easy, CURLOPT_PROXY, "");
    rc |= curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
#if (LIBCURL_VERSION_NUM >= 0x075500)
    rc |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    rc |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS,
                           (long) (CURLPROTO_HTTP|CURLPROTO_HTTPS));
#endif
    rc |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    rc |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);

    rc |= curl_easy_setopt(easy, CURLOPT_HTTPAUTH, (long) CURLAUTH_BASIC);
    rc |= curl_easy_setopt(easy, CURLOPT_USERNAME, gcf->secret);
    rc |= curl_easy_setopt(easy, CURLOPT_PASSWORD, "");
    rc |= curl_easy_setopt(easy, CURLOPT_USERAGENT, "concert");
    rc |= curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                           (long) CURL_HTTP_VERSION_1_1);

    rc |= curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long) group->timeout);
    rc |= curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                           (long) gcf->connect_timeout);
    rc |= curl_easy_setopt(easy, CURLOPT_MAXCONNECTS, 1L);
    rc |= curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);

    rc |= curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, c->error);
    rc |= curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION,
                           ngx_http_concert_gateway_write);
    rc |= curl_easy_setopt(easy, CURLOPT_WRITEDATA, c);

    return rc;
}


static size_t
ngx_http_concert_gateway_write(char *p, size_t size, size_t n, void *data)
{
    ngx_http_concert_curl_t *c = data;

    n *= size;

    if (n > NGX_HTTP_CONCERT_GATEWAY_ANSWER - c->len) {
        return 0;
    }

    ngx_memcpy(c->answer + c->len, p, n);
    c->len += n;

    return n;
}


static void
ngx_http_concert_gateway_ask(ngx_http_concert_lane_t *lane,
    ngx_http_concert_curl_t *c, ngx_http_concert_call_t *call)
{
    char                              url[NGX_HTTP_CONCERT_GATEWAY_URL];
    char                              path[NGX_HTTP_CONCERT_GATEWAY_PATH];
    char                              body[NGX_HTTP_CONCERT_GATEWAY_BODY];
    long                              status;
    CURLcode                          rc;
    ngx_http_concert_result_t         result;
    ngx_http_concert_verdict_t        verdict;
    ngx_http_concert_question_t       question;
    ngx_http_concert_gateway_conf_t  *gcf;

    gcf = lane->group->conf;

    ngx_http_concert_gateway_question(call, &question);
    gcf->api->request(&question, path, body);
    ngx_snprintf((u_char *) url, sizeof(url), "%s%s%Z", gcf->url, path);

    if (curl_easy_setopt(c->easy, CURLOPT_URL, url) != CURLE_OK) {
        return;
    }

    c->len = 0;
    c->error[0] = '\0';

    rc = ngx_http_concert_gateway_exchange(c, call, body);

    if (rc == CURLE_OK) {
        rc = curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    }

    if (rc != CURLE_OK) {
        ngx_http_concert_gateway_lost(lane, call, rc);
        return;
    }

    gcf->api->read(&question, status, c->answer, c->len, &verdict);

    result.rows = 1;
    result.first = 0;
    result.data = &verdict;
    result.integer = ngx_http_concert_gateway_integer;
    result.string = ngx_http_concert_gateway_string;
    result.null = ngx_http_concert_gateway_null;

    ngx_http_concert_fault_ended(lane->group, NGX_HTTP_CONCERT_FAULT_LOST);

    call->outcome = NGX_HTTP_CONCERT_OK;
    call->read(call, &result);
}


/* parameters end with a NUL byte */

static void
ngx_http_concert_gateway_question(ngx_http_concert_call_t *call,
    ngx_http_concert_question_t *question)
{
    ngx_str_t  *params;

    params = call->params;

    question->ask = ngx_http_concert_card_ask_of(call->op);
    question->order_id =
                    (char *) params[NGX_HTTP_CONCERT_QUESTION_ORDER].data;
    question->payment_key =
                 (char *) params[NGX_HTTP_CONCERT_QUESTION_PAYMENT_KEY].data;
    question->amount =
        ngx_atoi(params[NGX_HTTP_CONCERT_QUESTION_AMOUNT].data,
                  params[NGX_HTTP_CONCERT_QUESTION_AMOUNT].len);
}


static CURLcode
ngx_http_concert_gateway_exchange(ngx_http_concert_curl_t *c,
    ngx_http_concert_call_t *call, const char *body)
{
    CURLcode            rc;
    struct curl_slist  *headers;

    headers = ngx_http_concert_gateway_headers(call, body);
    if (headers == NULL) {
        return CURLE_OUT_OF_MEMORY;
    }

    rc = curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, headers);

    if (body[0]) {
        rc |= curl_easy_setopt(c->easy, CURLOPT_POST, 1L);
        rc |= curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE, -1L);
        rc |= curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, body);

    } else {
        rc |= curl_easy_setopt(c->easy, CURLOPT_HTTPGET, 1L);
    }

    if (rc == CURLE_OK) {
        rc = curl_easy_perform(c->easy);
    }

    (void) curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, NULL);
    curl_slist_free_all(headers);

    return rc;
}


static struct curl_slist *
ngx_http_concert_gateway_headers(ngx_http_concert_call_t *call,
    const char *body)
{
    char                header[NGX_HTTP_CONCERT_GATEWAY_HEADER];
    struct curl_slist  *headers, *all;

    headers = curl_slist_append(NULL, "Accept: application/json");

    if (headers == NULL || body[0] == '\0') {
        return headers;
    }

    ngx_snprintf((u_char *) header, sizeof(header), "Idempotency-Key: %V%Z",
                 &call->params[NGX_HTTP_CONCERT_QUESTION_KEY]);

    all = curl_slist_append(headers, header);

    if (all) {
        all = curl_slist_append(headers, "Content-Type: application/json");
    }

    if (all == NULL) {
        curl_slist_free_all(headers);
    }

    return all;
}


/* who was never reached has heard nothing */

static void
ngx_http_concert_gateway_lost(ngx_http_concert_lane_t *lane,
    ngx_http_concert_call_t *call, CURLcode rc)
{
    const char               *wrong;
    ngx_http_concert_curl_t  *c;

    c = lane->connection;

    switch (rc) {

    case CURLE_OUT_OF_MEMORY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        call->outcome = NGX_HTTP_CONCERT_AWAY;
        break;

    default:
        call->outcome = NGX_HTTP_CONCERT_UNKNOWN;
    }

    wrong = c->error[0] ? c->error : curl_easy_strerror(rc);

    ngx_http_concert_report(NGX_LOG_WARN, lane->group,
        NGX_HTTP_CONCERT_FAULT_LOST, wrong, ngx_strlen(wrong),
        "no answer of the payment gateway about order %V: %s",
        &call->params[NGX_HTTP_CONCERT_QUESTION_ORDER], wrong);
}


static void
ngx_http_concert_gateway_close(ngx_http_concert_lane_t *lane)
{
    ngx_http_concert_curl_t  *c;

    c = lane->connection;

    if (c) {
        curl_easy_cleanup(c->easy);
        free(c->answer);
        free(c);
        lane->connection = NULL;
    }
}


static int64_t
ngx_http_concert_gateway_integer(const ngx_http_concert_result_t *res,
    ngx_uint_t row, ngx_uint_t column)
{
    ngx_http_concert_verdict_t  *verdict;

    verdict = res->data;

    switch (column) {

    case NGX_HTTP_CONCERT_ANSWER_VERDICT:
        return verdict->verdict;

    case NGX_HTTP_CONCERT_ANSWER_AMOUNT:
        return verdict->amount;

    default: /* NGX_HTTP_CONCERT_ANSWER_FAILED */
        return verdict->failed;
    }
}


static ngx_str_t
ngx_http_concert_gateway_string(const ngx_http_concert_result_t *res,
    ngx_uint_t row, ngx_uint_t column)
{
    ngx_str_t                    value;
    ngx_http_concert_verdict_t  *verdict;

    verdict = res->data;

    value.data = (u_char *) (column == NGX_HTTP_CONCERT_ANSWER_CODE
                             ? verdict->code : verdict->message);
    value.len = ngx_strlen(value.data);

    if (value.len == 0) {
        ngx_str_null(&value);
    }

    return value;
}


static unsigned
ngx_http_concert_gateway_null(const ngx_http_concert_result_t *res,
    ngx_uint_t row, ngx_uint_t column)
{
    return ngx_http_concert_gateway_string(res, row, column).len == 0;
}
