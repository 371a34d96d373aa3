
/*
 * Keeps how many payments by card are not settled, and for how long the oldest
 * has waited, for /status and /metrics.
 */

#include "jobs/jobs.h"


#define NGX_HTTP_CONCERT_UNSETTLED_INTERVAL  2000


/* columns of concert.unsettled() */

enum {
    NGX_HTTP_CONCERT_UNSETTLED_PENDING = 0,
    NGX_HTTP_CONCERT_UNSETTLED_PENDING_AGE,
    NGX_HTTP_CONCERT_UNSETTLED_REFUNDING,
    NGX_HTTP_CONCERT_UNSETTLED_REFUNDING_AGE,
    NGX_HTTP_CONCERT_UNSETTLED_DEPOSITS,
    NGX_HTTP_CONCERT_UNSETTLED_COLUMNS
};


static ngx_int_t ngx_http_concert_unsettled_params(
    ngx_http_concert_call_t *call);
static void ngx_http_concert_unsettled_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);
static void ngx_http_concert_unsettled_done(ngx_http_concert_call_t *call);


static const ngx_http_concert_op_t  ngx_http_concert_unsettled = {
    "unsettled", NGX_HTTP_CONCERT_READ, NULL, 1
};


const ngx_http_concert_job_t  ngx_http_concert_unsettled_job = {
    .op = &ngx_http_concert_unsettled,
    .interval = NGX_HTTP_CONCERT_UNSETTLED_INTERVAL,
    .params = ngx_http_concert_unsettled_params,
    .read = ngx_http_concert_unsettled_read,
    .done = ngx_http_concert_unsettled_done
};


static ngx_int_t
ngx_http_concert_unsettled_params(ngx_http_concert_call_t *call)
{
    return call->sale->groups[NGX_HTTP_CONCERT_GATEWAY]->conf
           ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_concert_unsettled_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    int64_t                  *answer;
    ngx_uint_t                i;
    ngx_http_concert_work_t  *work;

    work = call->data;
    answer = ngx_palloc(call->pool, NGX_HTTP_CONCERT_UNSETTLED_COLUMNS
                                    * sizeof(int64_t));
    work->data = answer;

    for (i = 0; answer && i < NGX_HTTP_CONCERT_UNSETTLED_COLUMNS; i++) {
        answer[i] = res->integer(res, 0, i);
    }
}


static void
ngx_http_concert_unsettled_done(ngx_http_concert_call_t *call)
{
    int64_t                         *answer;
    ngx_http_concert_work_t         *work;
    ngx_http_concert_cards_state_t  *cards;

    work = call->data;
    answer = work->data;
    cards = &call->sale->database->cards;

    if (answer == NULL) {
        return;
    }

    cards->pending = answer[NGX_HTTP_CONCERT_UNSETTLED_PENDING];
    cards->pending_age = answer[NGX_HTTP_CONCERT_UNSETTLED_PENDING_AGE];
    cards->refunding = answer[NGX_HTTP_CONCERT_UNSETTLED_REFUNDING];
    cards->refunding_age = answer[NGX_HTTP_CONCERT_UNSETTLED_REFUNDING_AGE];
    cards->deposits = answer[NGX_HTTP_CONCERT_UNSETTLED_DEPOSITS];
    cards->seen = ngx_time();
}
