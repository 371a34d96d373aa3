
/*
 * Jobs: what happens without a request.  Timers in worker 0 of each instance,
 * or in every worker, that hand calls to lanes; each job is safe to run in many
 * instances at once, so there is no leader to lose.
 */


#ifndef NGX_HTTP_CONCERT_JOBS_H_INCLUDED
#define NGX_HTTP_CONCERT_JOBS_H_INCLUDED


#include "core/sale.h"


typedef struct ngx_http_concert_job_s  ngx_http_concert_job_t;


/* a job at work for a sale, and for all that have with it what the job is of */

typedef struct {
    const ngx_http_concert_job_t  *job;
    ngx_http_concert_sale_t       *sale;
    ngx_msec_t                     interval;
    void                          *data;      /* the job's own */
    ngx_event_t                    timer;
} ngx_http_concert_work_t;


struct ngx_http_concert_job_s {
    const ngx_http_concert_op_t   *op;
    ngx_msec_t                     interval;

    /*
     * The call's parameters; NGX_ERROR: this run is left out.  call->data is
     * the ngx_http_concert_work_t, here and below.
     */
    ngx_int_t                    (*params)(ngx_http_concert_call_t *call);

    /* in the thread */
    void                         (*read)(ngx_http_concert_call_t *call,
                                         const ngx_http_concert_result_t *res);

    /* in the event loop, after a run that succeeded */
    void                         (*done)(ngx_http_concert_call_t *call);

    unsigned                       every_worker:1;
};


extern const ngx_http_concert_job_t  ngx_http_concert_admit_job;
extern const ngx_http_concert_job_t  ngx_http_concert_expire_job;
extern const ngx_http_concert_job_t  ngx_http_concert_purge_keys_job;
extern const ngx_http_concert_job_t  ngx_http_concert_purge_orders_job;
extern const ngx_http_concert_job_t  ngx_http_concert_sales_job;
extern const ngx_http_concert_job_t  ngx_http_concert_seen_job;
extern const ngx_http_concert_job_t  ngx_http_concert_settle_job;
extern const ngx_http_concert_job_t  ngx_http_concert_unsettled_job;


/*
 * Starts the jobs of this worker whose stores are configured; NGX_ERROR: no
 * memory
 */
ngx_int_t ngx_http_concert_jobs_init(ngx_cycle_t *cycle,
    ngx_http_concert_main_conf_t *conf);


#endif /* NGX_HTTP_CONCERT_JOBS_H_INCLUDED */
