
/*
 * Lets the next ones of the queue in, and keeps what the queue looks like for
 * /status and /metrics.  Places that come free by leaving or paying are given
 * at once by those scripts; this is for tokens that ran out.
 */

#include "jobs/jobs.h"


#define NGX_HTTP_CONCERT_ADMIT_INTERVAL  200


/* columns of the script's answer */

#define NGX_HTTP_CONCERT_ADMIT_EPOCH     0
#define NGX_HTTP_CONCERT_ADMIT_SERVING   1
#define NGX_HTTP_CONCERT_ADMIT_ADMITTED  2
#define NGX_HTTP_CONCERT_ADMIT_WAITING   3
#define NGX_HTTP_CONCERT_ADMIT_ACTIVE    4
#define NGX_HTTP_CONCERT_ADMIT_COLUMNS   5


static void ngx_http_concert_admit_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);
static void ngx_http_concert_admit_done(ngx_http_concert_call_t *call);


static const ngx_http_concert_op_t  ngx_http_concert_admit = {
    "admit", NGX_HTTP_CONCERT_REDIS, NULL
};


static int64_t  ngx_http_concert_admit_answer[NGX_HTTP_CONCERT_ADMIT_COLUMNS];


ngx_http_concert_job_t  ngx_http_concert_admit_job = {
    .op = &ngx_http_concert_admit,
    .interval = NGX_HTTP_CONCERT_ADMIT_INTERVAL,
    .params = ngx_http_concert_queue_params,
    .read = ngx_http_concert_admit_read,
    .done = ngx_http_concert_admit_done
};


/* there is one such call at a time, so its answer may be static */

static void
ngx_http_concert_admit_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_CONCERT_ADMIT_COLUMNS; i++) {
        ngx_http_concert_admit_answer[i] = res->integer(res, 0, i);
    }
}


static void
ngx_http_concert_admit_done(ngx_http_concert_call_t *call)
{
    int64_t                        *answer;
    ngx_http_concert_zone_t        *zone;
    ngx_http_concert_queue_state_t *queue;

    zone = ngx_http_concert_conf->shm_zone->data;
    queue = &zone->queue;
    answer = ngx_http_concert_admit_answer;

    (void) ngx_atomic_fetch_add(&ngx_http_concert_conf->slot->admitted,
                         answer[NGX_HTTP_CONCERT_ADMIT_ADMITTED]);

    queue->epoch = answer[NGX_HTTP_CONCERT_ADMIT_EPOCH];
    queue->serving = answer[NGX_HTTP_CONCERT_ADMIT_SERVING];
    queue->waiting = answer[NGX_HTTP_CONCERT_ADMIT_WAITING];
    queue->active = answer[NGX_HTTP_CONCERT_ADMIT_ACTIVE];
    queue->seen = ngx_time();
}
