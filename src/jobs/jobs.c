
#include "jobs/jobs.h"


static void ngx_http_concert_job_timer(ngx_event_t *ev);
static void ngx_http_concert_job_done(ngx_http_concert_call_t *call);


static ngx_http_concert_job_t  *ngx_http_concert_jobs[] = {
    &ngx_http_concert_admit_job,
    &ngx_http_concert_expire_job,
    &ngx_http_concert_purge_keys_job,
    &ngx_http_concert_purge_orders_job,
    &ngx_http_concert_sales_job,
    &ngx_http_concert_seen_job,
    &ngx_http_concert_settle_job,
    &ngx_http_concert_unsettled_job,
    NULL
};


void
ngx_http_concert_jobs_init(ngx_cycle_t *cycle)
{
    ngx_uint_t               i;
    ngx_http_concert_job_t  *job;

    for (i = 0; ngx_http_concert_jobs[i]; i++) {
        job = ngx_http_concert_jobs[i];

        if (ngx_http_concert_conf->groups[job->op->group].conf == NULL
            || (ngx_worker != 0 && !job->every_worker))
        {
            continue;
        }

        job->timer.handler = ngx_http_concert_job_timer;
        job->timer.data = job;
        job->timer.log = cycle->log;
        job->timer.cancelable = 1;

        ngx_add_timer(&job->timer, job->interval);
    }
}


static void
ngx_http_concert_job_timer(ngx_event_t *ev)
{
    ngx_http_concert_job_t   *job;
    ngx_http_concert_call_t  *call;

    if (ngx_exiting) {
        return;
    }

    job = ev->data;

    call = ngx_http_concert_call_create();

    if (call) {
        call->job = 1;
        call->data = job;
        ngx_http_concert_call_step(call, job->op, job->read);

        if (job->params(call) == NGX_OK) {
            (void) ngx_http_concert_run(call, ngx_http_concert_job_done);
            return;
        }

        ngx_http_concert_call_destroy(call);
    }

    ngx_add_timer(&job->timer, job->interval);
}


/* the next run is timed from the end of this one */

static void
ngx_http_concert_job_done(ngx_http_concert_call_t *call)
{
    ngx_http_concert_job_t  *job;

    job = call->data;

    if (call->outcome == NGX_HTTP_CONCERT_OK) {
        job->done(call);
    }

    ngx_http_concert_call_destroy(call);

    if (!ngx_exiting) {
        ngx_add_timer(&job->timer, job->interval);
    }
}
