
/*
 * Lets the next ones of the queue in, forgets whose tokens were ended by other
 * instances, and keeps what the queue looks like for /status and /metrics.
 * Places that come free by leaving or paying are given at once by those
 * scripts; this is for tokens that ran out.
 */

#include "jobs/jobs.h"
#include "core/draw.h"


#define NGX_HTTP_CONCERT_ADMIT_INTERVAL  200


/* ended tokens that the script tells of at most (conf/queue/common.lua) */
#define NGX_HTTP_CONCERT_MAX_ENDED       4000


/* columns of the script's own */

enum {
    NGX_HTTP_CONCERT_ADMIT_ADMITTED = 0,
    NGX_HTTP_CONCERT_ADMIT_MISSED,
    NGX_HTTP_CONCERT_ADMIT_FORGOTTEN,
    NGX_HTTP_CONCERT_ADMIT_WAITING,
    NGX_HTTP_CONCERT_ADMIT_ACTIVE,
    NGX_HTTP_CONCERT_ADMIT_CALLED,
    NGX_HTTP_CONCERT_ADMIT_CAPACITY,
    NGX_HTTP_CONCERT_ADMIT_RATE,
    NGX_HTTP_CONCERT_ADMIT_PAUSED,
    NGX_HTTP_CONCERT_ADMIT_WINDOW,
    NGX_HTTP_CONCERT_ADMIT_LAST,
    NGX_HTTP_CONCERT_ADMIT_OPENS,
    NGX_HTTP_CONCERT_ADMIT_SIZE,
    NGX_HTTP_CONCERT_ADMIT_ENDED,
    NGX_HTTP_CONCERT_ADMIT_COLUMNS
};


static ngx_int_t ngx_http_concert_admit_params(ngx_http_concert_call_t *call);
static void ngx_http_concert_admit_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);
static void ngx_http_concert_admit_done(ngx_http_concert_call_t *call);
static void ngx_http_concert_admit_opening(ngx_http_concert_call_t *call,
    int64_t opens, int64_t size);


static const ngx_http_concert_op_t  ngx_http_concert_admit = {
    "admit", NGX_HTTP_CONCERT_REDIS, NULL, 1
};


const ngx_http_concert_job_t  ngx_http_concert_admit_job = {
    .op = &ngx_http_concert_admit,
    .interval = NGX_HTTP_CONCERT_ADMIT_INTERVAL,
    .params = ngx_http_concert_admit_params,
    .read = ngx_http_concert_admit_read,
    .done = ngx_http_concert_admit_done
};


static ngx_int_t
ngx_http_concert_admit_params(ngx_http_concert_call_t *call)
{
    if (ngx_http_concert_queue_params(call) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_concert_call_integer(call, call->sale->queue->state->ended);
}


static void
ngx_http_concert_admit_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    int64_t                  *answer;
    ngx_uint_t                i, n;
    ngx_http_concert_work_t  *work;

    ngx_http_concert_queue_read(call, res);

    n = res->integer(res, 0, NGX_HTTP_CONCERT_QUEUE_OWN
                             + NGX_HTTP_CONCERT_ADMIT_ENDED);
    n = NGX_HTTP_CONCERT_ADMIT_COLUMNS
        + ngx_min(n, NGX_HTTP_CONCERT_MAX_ENDED);

    work = call->data;
    answer = ngx_palloc(call->pool, n * sizeof(int64_t));
    work->data = answer;

    for (i = 0; answer && i < n; i++) {
        answer[i] = res->integer(res, 0, NGX_HTTP_CONCERT_QUEUE_OWN + i);
    }
}


static void
ngx_http_concert_admit_done(ngx_http_concert_call_t *call)
{
    int64_t                         *answer;
    ngx_http_concert_work_t         *work;
    ngx_http_concert_queue_state_t  *queue;

    work = call->data;
    answer = work->data;
    queue = call->sale->queue->state;

    if (answer == NULL) {
        return;
    }

    ngx_http_concert_queue_follow(call, answer[NGX_HTTP_CONCERT_ADMIT_LAST]);
    ngx_http_concert_queue_forget_ended(call,
                                     &answer[NGX_HTTP_CONCERT_ADMIT_COLUMNS],
                                     answer[NGX_HTTP_CONCERT_ADMIT_ENDED]);

    (void) ngx_atomic_fetch_add(&queue->admitted,
                                answer[NGX_HTTP_CONCERT_ADMIT_ADMITTED]);
    (void) ngx_atomic_fetch_add(&queue->missed,
                                answer[NGX_HTTP_CONCERT_ADMIT_MISSED]);
    (void) ngx_atomic_fetch_add(&queue->forgotten,
                                answer[NGX_HTTP_CONCERT_ADMIT_FORGOTTEN]);

    queue->waiting = answer[NGX_HTTP_CONCERT_ADMIT_WAITING];
    queue->active = answer[NGX_HTTP_CONCERT_ADMIT_ACTIVE];
    queue->called = answer[NGX_HTTP_CONCERT_ADMIT_CALLED];
    queue->capacity = answer[NGX_HTTP_CONCERT_ADMIT_CAPACITY];
    queue->rate = answer[NGX_HTTP_CONCERT_ADMIT_RATE];
    queue->paused = answer[NGX_HTTP_CONCERT_ADMIT_PAUSED];
    queue->window = answer[NGX_HTTP_CONCERT_ADMIT_WINDOW];
    queue->seen = ngx_time();

    ngx_http_concert_admit_opening(call, answer[NGX_HTTP_CONCERT_ADMIT_OPENS],
                                   answer[NGX_HTTP_CONCERT_ADMIT_SIZE]);
}


/* once somebody has come an opening can only be put off: the log says so */

static void
ngx_http_concert_admit_opening(ngx_http_concert_call_t *call, int64_t opens,
    int64_t size)
{
    u_char                     draw;
    ngx_http_concert_queue_t  *queue;

    queue = call->sale->queue;
    draw = (size == NGX_HTTP_CONCERT_DRAW_AHEAD);

    ngx_http_concert_queue_learn_opens(call, opens);

    if (draw) {
        ngx_http_concert_draw_prepare(call->sale);
    }

    if (opens == 0 || (opens == queue->opens && draw == queue->draw)) {
        queue->unlike = 0;
        return;
    }

    if (queue->unlike != opens) {
        queue->unlike = opens;
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "concert: queue \"%V\" opens at %L s since 1970 %s a "
                      "draw, as it did when the first user came, and not as "
                      "nginx.conf says now: write another name= to begin anew",
                      &queue->name, opens / 1000, draw ? "with" : "without");
    }
}
