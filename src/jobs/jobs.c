
#include "jobs/jobs.h"


static ngx_uint_t ngx_http_concert_job_runs(
    const ngx_http_concert_job_t *job, ngx_http_concert_sale_t **sales,
    ngx_uint_t n);
static ngx_int_t ngx_http_concert_job_start(ngx_cycle_t *cycle,
    const ngx_http_concert_job_t *job, ngx_http_concert_sale_t *sale);
static void ngx_http_concert_job_timer(ngx_event_t *ev);
static void ngx_http_concert_job_done(ngx_http_concert_call_t *call);


static const ngx_http_concert_job_t  *ngx_http_concert_jobs[] = {
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


ngx_int_t
ngx_http_concert_jobs_init(ngx_cycle_t *cycle,
    ngx_http_concert_main_conf_t *conf)
{
    ngx_uint_t                     i, k;
    ngx_http_concert_sale_t      **sales;
    const ngx_http_concert_job_t  *job;

    sales = conf->sales.elts;

    for (i = 0; i < conf->sales.nelts; i++) {
        for (k = 0; ngx_http_concert_jobs[k]; k++) {
            job = ngx_http_concert_jobs[k];

            if (sales[i]->groups[job->op->group]->conf == NULL
                || (ngx_worker != 0 && !job->every_worker)
                || ngx_http_concert_job_runs(job, sales, i))
            {
                continue;
            }

            if (ngx_http_concert_job_start(cycle, job, sales[i]) != NGX_OK) {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


/* whether it does for an earlier sale that has the same queue or database */

static ngx_uint_t
ngx_http_concert_job_runs(const ngx_http_concert_job_t *job,
    ngx_http_concert_sale_t **sales, ngx_uint_t n)
{
    ngx_uint_t  i, group;

    group = job->op->group;

    for (i = 0; i < n; i++) {
        if (group == NGX_HTTP_CONCERT_REDIS
            ? sales[i]->queue == sales[n]->queue
            : sales[i]->database == sales[n]->database)
        {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_http_concert_job_start(ngx_cycle_t *cycle,
    const ngx_http_concert_job_t *job, ngx_http_concert_sale_t *sale)
{
    ngx_http_concert_work_t  *work;

    work = ngx_pcalloc(cycle->pool, sizeof(ngx_http_concert_work_t));
    if (work == NULL) {
        return NGX_ERROR;
    }

    work->job = job;
    work->sale = sale;
    work->interval = job->interval;

    work->timer.handler = ngx_http_concert_job_timer;
    work->timer.data = work;
    work->timer.log = cycle->log;
    work->timer.cancelable = 1;

    ngx_add_timer(&work->timer, work->interval);

    return NGX_OK;
}


static void
ngx_http_concert_job_timer(ngx_event_t *ev)
{
    ngx_http_concert_call_t  *call;
    ngx_http_concert_work_t  *work;

    if (ngx_exiting) {
        return;
    }

    work = ev->data;

    call = ngx_http_concert_call_create(work->sale);

    if (call) {
        call->job = 1;
        call->data = work;
        ngx_http_concert_call_step(call, work->job->op, work->job->read);

        if (work->job->params(call) == NGX_OK) {
            (void) ngx_http_concert_sale_run(call, ngx_http_concert_job_done);
            return;
        }

        ngx_http_concert_call_destroy(call);
    }

    ngx_add_timer(&work->timer, work->interval);
}


/* the next run is timed from the end of this one */

static void
ngx_http_concert_job_done(ngx_http_concert_call_t *call)
{
    ngx_http_concert_work_t  *work;

    work = call->data;

    if (call->outcome == NGX_HTTP_CONCERT_OK) {
        work->job->done(call);
    }

    ngx_http_concert_call_destroy(call);

    if (!ngx_exiting) {
        ngx_add_timer(&work->timer, work->interval);
    }
}
