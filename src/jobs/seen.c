
/*
 * Tells Redis which of those who wait still ask, as it does not see their
 * polls: who is silent for long loses the place.  In every worker.
 */

#include "jobs/jobs.h"


#define NGX_HTTP_CONCERT_SEEN_INTERVAL  500


static void ngx_http_concert_seen_done(ngx_http_concert_call_t *call);


static const ngx_http_concert_op_t  ngx_http_concert_seen_op = {
    "seen", NGX_HTTP_CONCERT_REDIS, NULL, 1
};


const ngx_http_concert_job_t  ngx_http_concert_seen_job = {
    .op = &ngx_http_concert_seen_op,
    .interval = NGX_HTTP_CONCERT_SEEN_INTERVAL,
    .params = ngx_http_concert_queue_seen_params,
    .read = ngx_http_concert_queue_read,
    .done = ngx_http_concert_seen_done,
    .every_worker = 1
};


static void
ngx_http_concert_seen_done(ngx_http_concert_call_t *call)
{
    ngx_http_concert_queue_learn(call);
}
