
/*
 * Counts the seats of the next schedules for /status, while somebody asks for
 * it: a few halls in each run, so that a reader waits for milliseconds at most,
 * one run after the other until all are counted; then it rests.
 */

#include "jobs/jobs.h"


/* ms: from run to run, from round to round, until somebody looks */
#define NGX_HTTP_CONCERT_SALES_PAUSE     100
#define NGX_HTTP_CONCERT_SALES_REST      4000
#define NGX_HTTP_CONCERT_SALES_INTERVAL  1000

/* s after a request that it is still asked for */
#define NGX_HTTP_CONCERT_SALES_INTEREST  30

/* seats that a run looks at, but for a hall that has more */
#define NGX_HTTP_CONCERT_SALES_SEATS     50000


/* columns of concert.sales() */

enum {
    NGX_HTTP_CONCERT_SALES_SCHEDULE = 0,
    NGX_HTTP_CONCERT_SALES_CONCERT,
    NGX_HTTP_CONCERT_SALES_NAME,
    NGX_HTTP_CONCERT_SALES_STARTS,
    NGX_HTTP_CONCERT_SALES_TOTAL,
    NGX_HTTP_CONCERT_SALES_SOLD,
    NGX_HTTP_CONCERT_SALES_HELD
};


static ngx_int_t ngx_http_concert_sales_params(ngx_http_concert_call_t *call);
static void ngx_http_concert_sales_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);
static void ngx_http_concert_sales_done(ngx_http_concert_call_t *call);


/* as much work as a whole batch: in a batch nothing comes after it */

static const ngx_http_concert_op_t  ngx_http_concert_sales = {
    "sales", NGX_HTTP_CONCERT_READ, NULL, 64
};


/* a round, as far as it is; of one call at a time, so it may be static */
static ngx_http_concert_sale_t  ngx_http_concert_sales_round[
                                                        NGX_HTTP_CONCERT_SALES];
static ngx_uint_t  ngx_http_concert_sales_n;
static ngx_uint_t  ngx_http_concert_sales_rows;


ngx_http_concert_job_t  ngx_http_concert_sales_job = {
    .op = &ngx_http_concert_sales,
    .interval = NGX_HTTP_CONCERT_SALES_INTERVAL,
    .params = ngx_http_concert_sales_params,
    .read = ngx_http_concert_sales_read,
    .done = ngx_http_concert_sales_done
};


/* after which schedule, how many, how many seats */

static ngx_int_t
ngx_http_concert_sales_params(ngx_http_concert_call_t *call)
{
    ngx_uint_t                n;
    ngx_http_concert_zone_t  *zone;

    zone = ngx_http_concert_conf->shm_zone->data;
    n = ngx_http_concert_sales_n;

    if (ngx_time() - (time_t) zone->sales.asked
        > NGX_HTTP_CONCERT_SALES_INTEREST)
    {
        ngx_http_concert_sales_n = 0;
        ngx_http_concert_sales_job.interval = NGX_HTTP_CONCERT_SALES_INTERVAL;
        return NGX_ERROR;
    }

    if (ngx_http_concert_call_integer(call,
            n ? ngx_http_concert_sales_round[n - 1].schedule_id : 0)
        != NGX_OK
        || ngx_http_concert_call_integer(call, NGX_HTTP_CONCERT_SALES - n)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_concert_call_integer(call, NGX_HTTP_CONCERT_SALES_SEATS);
}


static void
ngx_http_concert_sales_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    ngx_str_t                 title;
    ngx_uint_t                row;
    ngx_http_concert_sale_t  *sale;

    ngx_http_concert_sales_rows = ngx_min(res->rows,
                           NGX_HTTP_CONCERT_SALES - ngx_http_concert_sales_n);

    for (row = 0; row < ngx_http_concert_sales_rows; row++) {
        sale = &ngx_http_concert_sales_round[ngx_http_concert_sales_n + row];

        sale->schedule_id = res->integer(res, row,
                                         NGX_HTTP_CONCERT_SALES_SCHEDULE);
        sale->concert_id = res->integer(res, row,
                                        NGX_HTTP_CONCERT_SALES_CONCERT);
        sale->starts = res->integer(res, row, NGX_HTTP_CONCERT_SALES_STARTS);
        sale->seats = res->integer(res, row, NGX_HTTP_CONCERT_SALES_TOTAL);
        sale->sold = res->integer(res, row, NGX_HTTP_CONCERT_SALES_SOLD);
        sale->held = res->integer(res, row, NGX_HTTP_CONCERT_SALES_HELD);

        title = res->string(res, row, NGX_HTTP_CONCERT_SALES_NAME);
        sale->len = ngx_min(title.len, NGX_HTTP_CONCERT_SALES_TITLE);
        ngx_memcpy(sale->title, title.data, sale->len);
    }
}


/* a run that finds no more ends the round, and so does a full table */

static void
ngx_http_concert_sales_done(ngx_http_concert_call_t *call)
{
    ngx_time_t  *tp;

    ngx_http_concert_sales_n += ngx_http_concert_sales_rows;

    if (ngx_http_concert_sales_rows
        && ngx_http_concert_sales_n < NGX_HTTP_CONCERT_SALES)
    {
        ngx_http_concert_sales_job.interval = NGX_HTTP_CONCERT_SALES_PAUSE;
        return;
    }

    tp = ngx_timeofday();

    ngx_http_concert_zone_sales_keep(ngx_http_concert_conf->shm_zone,
                                     ngx_http_concert_sales_round,
                                     ngx_http_concert_sales_n,
                                     (int64_t) tp->sec * 1000 + tp->msec);

    ngx_http_concert_sales_n = 0;
    ngx_http_concert_sales_job.interval = NGX_HTTP_CONCERT_SALES_REST;
}
