
/*
 * Jobs: what happens without a request.  Timers in worker 0 of each instance,
 * or in every worker, that hand calls to lanes; each job is safe to run in many
 * instances at once, so there is no leader to lose.
 */


#ifndef NGX_HTTP_CONCERT_JOBS_H_INCLUDED
#define NGX_HTTP_CONCERT_JOBS_H_INCLUDED


#include "core/call.h"
#include "core/request.h"


typedef struct {
    const ngx_http_concert_op_t   *op;
    ngx_msec_t                     interval;

    /* the call's parameters; NGX_ERROR: this run is left out */
    ngx_int_t                    (*params)(ngx_http_concert_call_t *call);

    /* in the thread */
    void                         (*read)(ngx_http_concert_call_t *call,
                                         const ngx_http_concert_result_t *res);

    /* in the event loop, after a run that succeeded */
    void                         (*done)(ngx_http_concert_call_t *call);

    unsigned                       every_worker:1;
    ngx_event_t                    timer;
} ngx_http_concert_job_t;


extern ngx_http_concert_job_t  ngx_http_concert_admit_job;
extern ngx_http_concert_job_t  ngx_http_concert_expire_job;
extern ngx_http_concert_job_t  ngx_http_concert_purge_keys_job;
extern ngx_http_concert_job_t  ngx_http_concert_purge_orders_job;
extern ngx_http_concert_job_t  ngx_http_concert_sales_job;
extern ngx_http_concert_job_t  ngx_http_concert_seen_job;
extern ngx_http_concert_job_t  ngx_http_concert_settle_job;
extern ngx_http_concert_job_t  ngx_http_concert_unsettled_job;


/* starts the jobs of this worker whose stores are configured */
void ngx_http_concert_jobs_init(ngx_cycle_t *cycle);


#endif /* NGX_HTTP_CONCERT_JOBS_H_INCLUDED */
