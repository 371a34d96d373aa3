
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


/* a round, as far as it is */

typedef struct {
    ngx_http_concert_hall_t   halls[NGX_HTTP_CONCERT_HALLS];
    ngx_uint_t                n;
    ngx_uint_t                rows;    /* of the run */
} ngx_http_concert_round_t;


const ngx_http_concert_job_t  ngx_http_concert_sales_job = {
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
    ngx_uint_t                 n;
    ngx_http_concert_work_t   *work;
    ngx_http_concert_round_t  *round;

    work = call->data;
    round = work->data;

    if (ngx_time() - (time_t) call->sale->database->halls.asked
        > NGX_HTTP_CONCERT_SALES_INTEREST)
    {
        if (round) {
            round->n = 0;
        }

        work->interval = NGX_HTTP_CONCERT_SALES_INTERVAL;
        return NGX_ERROR;
    }

    if (round == NULL) {
        round = ngx_pcalloc(ngx_cycle->pool, sizeof(ngx_http_concert_round_t));
        if (round == NULL) {
            return NGX_ERROR;
        }

        work->data = round;
    }

    n = round->n;

    if (ngx_http_concert_call_integer(call,
                                  n ? round->halls[n - 1].schedule_id : 0)
        != NGX_OK
        || ngx_http_concert_call_integer(call, NGX_HTTP_CONCERT_HALLS - n)
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
    ngx_str_t                  title;
    ngx_uint_t                 row;
    ngx_http_concert_hall_t   *hall;
    ngx_http_concert_work_t   *work;
    ngx_http_concert_round_t  *round;

    work = call->data;
    round = work->data;
    round->rows = ngx_min(res->rows, NGX_HTTP_CONCERT_HALLS - round->n);

    for (row = 0; row < round->rows; row++) {
        hall = &round->halls[round->n + row];

        hall->schedule_id = res->integer(res, row,
                                         NGX_HTTP_CONCERT_SALES_SCHEDULE);
        hall->concert_id = res->integer(res, row,
                                        NGX_HTTP_CONCERT_SALES_CONCERT);
        hall->starts = res->integer(res, row, NGX_HTTP_CONCERT_SALES_STARTS);
        hall->seats = res->integer(res, row, NGX_HTTP_CONCERT_SALES_TOTAL);
        hall->sold = res->integer(res, row, NGX_HTTP_CONCERT_SALES_SOLD);
        hall->held = res->integer(res, row, NGX_HTTP_CONCERT_SALES_HELD);

        title = res->string(res, row, NGX_HTTP_CONCERT_SALES_NAME);
        hall->len = ngx_min(title.len, NGX_HTTP_CONCERT_HALL_TITLE);
        ngx_memcpy(hall->title, title.data, hall->len);
    }
}


/* a run that finds no more ends the round, and so does a full table */

static void
ngx_http_concert_sales_done(ngx_http_concert_call_t *call)
{
    ngx_time_t                *tp;
    ngx_http_concert_sale_t   *sale;
    ngx_http_concert_work_t   *work;
    ngx_http_concert_round_t  *round;

    work = call->data;
    round = work->data;
    round->n += round->rows;

    if (round->rows && round->n < NGX_HTTP_CONCERT_HALLS) {
        work->interval = NGX_HTTP_CONCERT_SALES_PAUSE;
        return;
    }

    tp = ngx_timeofday();
    sale = call->sale;

    ngx_http_concert_zone_halls_keep(sale->database_zone,
                                     &sale->database->halls, round->halls,
                                     round->n,
                                     (int64_t) tp->sec * 1000 + tp->msec);

    round->n = 0;
    work->interval = NGX_HTTP_CONCERT_SALES_REST;
}
