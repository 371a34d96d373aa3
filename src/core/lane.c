
/*
 * The event loop's side of the lanes.  Rules:
 *
 * - a lane's batch belongs to its thread from the post to the completion; the
 *   loop touches nothing of it but call->request;
 * - a completion dispatches the next batch first and answers then, so that the
 *   store works while the loop writes;
 * - a request is answered at its deadline whatever its thread does;
 * - while a store is away one lane probes it, and everybody else is refused at
 *   once.
 */

#include "core/lane.h"
#include "core/report.h"


#define NGX_HTTP_CONCERT_PROBE_INTERVAL  200
#define NGX_HTTP_CONCERT_PROBE_TIMEOUT   1000

/* a lane that was idle for so long is checked, ms */
#define NGX_HTTP_CONCERT_CHECK_INTERVAL  1000


static ngx_int_t ngx_http_concert_lane_init(ngx_http_concert_group_t *group,
    ngx_http_concert_lane_t *lane, ngx_cycle_t *cycle);
static void ngx_http_concert_group_check(ngx_event_t *ev);
static void ngx_http_concert_group_refuse(ngx_http_concert_group_t *group,
    ngx_http_concert_call_t *call, ngx_http_concert_outcome_e outcome);
static void ngx_http_concert_group_turn(ngx_event_t *ev);
static ngx_uint_t ngx_http_concert_group_ready(
    ngx_http_concert_group_t *group);
static void ngx_http_concert_group_gathered(ngx_event_t *ev);
static ngx_http_concert_lane_t *ngx_http_concert_group_idle(
    ngx_http_concert_group_t *group);
static void ngx_http_concert_group_watch(ngx_event_t *ev);
static void ngx_http_concert_group_down(ngx_http_concert_group_t *group,
    ngx_flag_t down);
static void ngx_http_concert_group_probe(ngx_event_t *ev);
static void ngx_http_concert_lane_connect(ngx_http_concert_lane_t *lane,
    ngx_msec_t timeout);
static void ngx_http_concert_lane_dispatch(ngx_http_concert_lane_t *lane);
static void ngx_http_concert_lane_post(ngx_http_concert_lane_t *lane);
static void ngx_http_concert_lane_run(void *data, ngx_log_t *log);
static void ngx_http_concert_lane_watch(ngx_event_t *ev);
static void ngx_http_concert_lane_done(ngx_event_t *ev);
static void ngx_http_concert_lane_count(ngx_http_concert_lane_t *lane);


void  (*ngx_http_concert_on_timeout)(ngx_http_concert_call_t *call);


ngx_int_t
ngx_http_concert_group_init(ngx_http_concert_group_t *group,
    ngx_cycle_t *cycle)
{
    ngx_uint_t  i;

    ngx_queue_init(&group->waiting);

    group->turn.handler = ngx_http_concert_group_turn;
    group->turn.data = group;
    group->turn.log = cycle->log;

    group->gathered.handler = ngx_http_concert_group_gathered;
    group->gathered.data = group;
    group->gathered.log = cycle->log;
    group->gathered.cancelable = 1;
    group->gather = ngx_min(group->gather, group->batch);

    group->watch.handler = ngx_http_concert_group_watch;
    group->watch.data = group;
    group->watch.log = cycle->log;
    group->watch.cancelable = 1;

    group->check.handler = ngx_http_concert_group_check;
    group->check.data = group;
    group->check.log = cycle->log;
    group->check.cancelable = 1;

    group->probe.handler = ngx_http_concert_group_probe;
    group->probe.data = group;
    group->probe.log = cycle->log;
    group->probe.cancelable = 1;

    group->lanes = ngx_pcalloc(cycle->pool,
                            group->nlanes * sizeof(ngx_http_concert_lane_t));
    if (group->lanes == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < group->nlanes; i++) {
        if (ngx_http_concert_lane_init(group, &group->lanes[i], cycle)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (group->store->connects) {
        ngx_http_concert_group_check(&group->check);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_concert_lane_init(ngx_http_concert_group_t *group,
    ngx_http_concert_lane_t *lane, ngx_cycle_t *cycle)
{
    lane->group = group;

    lane->task = ngx_thread_task_alloc(cycle->pool, 0);
    if (lane->task == NULL) {
        return NGX_ERROR;
    }

    lane->task->ctx = lane;
    lane->task->handler = ngx_http_concert_lane_run;
    lane->task->event.handler = ngx_http_concert_lane_done;
    lane->task->event.data = lane;

    lane->watch.handler = ngx_http_concert_lane_watch;
    lane->watch.data = lane;
    lane->watch.log = cycle->log;
    lane->started = ngx_current_msec - NGX_HTTP_CONCERT_CHECK_INTERVAL;

    return NGX_OK;
}


void
ngx_http_concert_group_exit(ngx_http_concert_group_t *group)
{
    ngx_uint_t                i, k;
    ngx_queue_t              *q;
    ngx_http_concert_call_t  *call;
    ngx_http_concert_lane_t  *lane;

    if (group->lanes == NULL) {
        return;
    }

    /* what a thread has done is not delivered any more: nobody has the calls */

    for (i = 0; i < group->nlanes; i++) {
        lane = &group->lanes[i];

        group->store->close(lane);

        for (k = 0; k < lane->ncalls; k++) {
            ngx_http_concert_call_destroy(lane->calls[k]);
        }
    }

    while (!ngx_queue_empty(&group->waiting)) {
        q = ngx_queue_head(&group->waiting);
        call = ngx_queue_data(q, ngx_http_concert_call_t, queue);

        ngx_queue_remove(q);
        ngx_http_concert_call_destroy(call);
    }
}


/*
 * Lanes that were idle for a while: sees to it that they have a connection
 * before a call needs it.
 */

static void
ngx_http_concert_group_check(ngx_event_t *ev)
{
    ngx_uint_t                 i;
    ngx_http_concert_lane_t   *lane;
    ngx_http_concert_group_t  *group;

    group = ev->data;

    ngx_http_concert_report_over();

    for (i = 0; i < group->nlanes && !group->down; i++) {
        lane = &group->lanes[i];

        if (!lane->busy
            && ngx_current_msec - lane->started
               >= NGX_HTTP_CONCERT_CHECK_INTERVAL)
        {
            ngx_http_concert_lane_connect(lane, group->timeout);
        }
    }

    if (!ngx_exiting) {
        ngx_add_timer(ev, NGX_HTTP_CONCERT_CHECK_INTERVAL);
    }
}


void
ngx_http_concert_submit(ngx_http_concert_group_t *group,
    ngx_http_concert_call_t *call)
{
    call->submitted = ngx_current_msec;
    call->deadline = ngx_current_msec + group->timeout;

    if (group->down) {
        ngx_http_concert_group_refuse(group, call, NGX_HTTP_CONCERT_AWAY);
        return;
    }

    /* jobs have room of their own: admission must not stop at peak */

    if (group->nwaiting >= group->max_queue && !call->job) {
        ngx_http_concert_group_refuse(group, call, NGX_HTTP_CONCERT_REFUSED);
        return;
    }

    call->state = NGX_HTTP_CONCERT_CALL_WAITING;
    ngx_queue_insert_tail(&group->waiting, &call->queue);
    group->nwaiting++;
    group->weight += call->op->weight;
    group->stats->waiting = group->nwaiting;

    ngx_post_event(&group->turn, &ngx_posted_events);
}


/* ends a call that was never sent */

static void
ngx_http_concert_group_refuse(ngx_http_concert_group_t *group,
    ngx_http_concert_call_t *call, ngx_http_concert_outcome_e outcome)
{
    if (call->state == NGX_HTTP_CONCERT_CALL_WAITING) {
        ngx_queue_remove(&call->queue);
        group->nwaiting--;
        group->weight -= call->op->weight;
        group->stats->waiting = group->nwaiting;
        call->state = NGX_HTTP_CONCERT_CALL_IDLE;
    }

    (void) ngx_atomic_fetch_add(&group->stats->refused, 1);

    call->store_time += ngx_current_msec - call->submitted;
    call->outcome = outcome;
    call->done(call);
}


/* the end of a turn of the event loop: idle lanes take what has gathered */

static void
ngx_http_concert_group_turn(ngx_event_t *ev)
{
    ngx_http_concert_group_t  *group;

    group = ev->data;

    if (ngx_http_concert_group_ready(group)) {
        ngx_http_concert_group_gathered(&group->gathered);
    }
}


/* whether a lane may take calls now; if not, it may when they have waited */

static ngx_uint_t
ngx_http_concert_group_ready(ngx_http_concert_group_t *group)
{
    if (group->nbusy == 0 || group->weight >= group->gather) {
        return 1;
    }

    if (group->nwaiting && !group->gathered.timer_set) {
        ngx_add_timer(&group->gathered, group->patience);
    }

    return 0;
}


static void
ngx_http_concert_group_gathered(ngx_event_t *ev)
{
    ngx_http_concert_lane_t   *lane;
    ngx_http_concert_group_t  *group;

    group = ev->data;

    while (!group->down && group->nwaiting) {
        lane = ngx_http_concert_group_idle(group);

        if (lane == NULL) {
            ngx_http_concert_group_watch(&group->watch);
            return;
        }

        ngx_http_concert_lane_dispatch(lane);
    }
}


static ngx_http_concert_lane_t *
ngx_http_concert_group_idle(ngx_http_concert_group_t *group)
{
    ngx_uint_t  i;

    for (i = 0; i < group->nlanes; i++) {
        if (!group->lanes[i].busy) {
            return &group->lanes[i];
        }
    }

    return NULL;
}


/* calls wait in the order of their deadlines: refuses those too late */

static void
ngx_http_concert_group_watch(ngx_event_t *ev)
{
    ngx_msec_int_t             left;
    ngx_http_concert_call_t   *call;
    ngx_http_concert_group_t  *group;

    group = ev->data;

    while (group->nwaiting) {
        call = ngx_queue_data(ngx_queue_head(&group->waiting),
                              ngx_http_concert_call_t, queue);

        left = (ngx_msec_int_t) (call->deadline - ngx_current_msec);

        if (left > 0) {
            if (!group->watch.timer_set) {
                ngx_add_timer(&group->watch, (ngx_msec_t) left);
            }

            return;
        }

        ngx_http_concert_group_refuse(group, call, NGX_HTTP_CONCERT_REFUSED);
    }
}


/* the store went away, or came back */

static void
ngx_http_concert_group_down(ngx_http_concert_group_t *group, ngx_flag_t down)
{
    ngx_queue_t               refused;
    ngx_http_concert_call_t  *call;

    group->stats->down = down;

    if (group->down == (unsigned) down) {
        return;
    }

    group->down = down;

    if (!down) {
        if (group->told) {
            ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                          "concert: %V is back", &group->name);
        }

        ngx_http_concert_fault_ended(group, NGX_HTTP_CONCERT_FAULT_AWAY);
        return;
    }

    group->told = ngx_http_concert_report(NGX_LOG_ERR, group,
                      NGX_HTTP_CONCERT_FAULT_AWAY, "", 0,
                      "%V is away: its requests are refused until it answers",
                      &group->name) != 0;

    if (!ngx_exiting) {
        ngx_add_timer(&group->probe, NGX_HTTP_CONCERT_PROBE_INTERVAL);
    }

    /* a call that is done may submit again: not to the list it is read from */

    ngx_queue_init(&refused);

    if (group->nwaiting) {
        ngx_queue_add(&refused, &group->waiting);
        ngx_queue_init(&group->waiting);
    }

    while (!ngx_queue_empty(&refused)) {
        call = ngx_queue_data(ngx_queue_head(&refused),
                              ngx_http_concert_call_t, queue);

        ngx_http_concert_group_refuse(group, call, NGX_HTTP_CONCERT_AWAY);
    }
}


static void
ngx_http_concert_group_probe(ngx_event_t *ev)
{
    ngx_http_concert_lane_t   *lane;
    ngx_http_concert_group_t  *group;

    group = ev->data;

    if (!group->down) {
        return;
    }

    lane = ngx_http_concert_group_idle(group);

    if (lane) {
        ngx_http_concert_lane_connect(lane, NGX_HTTP_CONCERT_PROBE_TIMEOUT);
        return;
    }

    ngx_add_timer(&group->probe, NGX_HTTP_CONCERT_PROBE_INTERVAL);
}


/* an empty batch: only sees to it that there is a connection */

static void
ngx_http_concert_lane_connect(ngx_http_concert_lane_t *lane,
    ngx_msec_t timeout)
{
    lane->ncalls = 0;
    lane->deadline = ngx_current_msec + timeout;

    ngx_http_concert_lane_post(lane);
}


static void
ngx_http_concert_lane_dispatch(ngx_http_concert_lane_t *lane)
{
    ngx_uint_t                 weight;
    ngx_queue_t               *q;
    ngx_http_concert_call_t   *call;
    ngx_http_concert_group_t  *group;

    group = lane->group;
    weight = 0;
    lane->ncalls = 0;

    ngx_http_concert_group_watch(&group->watch);

    while (group->nwaiting && weight < group->batch) {
        q = ngx_queue_head(&group->waiting);
        ngx_queue_remove(q);

        call = ngx_queue_data(q, ngx_http_concert_call_t, queue);

        group->nwaiting--;
        group->weight -= call->op->weight;
        weight += call->op->weight;

        call->state = NGX_HTTP_CONCERT_CALL_SENT;
        call->sent = ngx_current_msec;

        lane->calls[lane->ncalls++] = call;
        lane->deadline = call->deadline;
    }

    group->stats->waiting = group->nwaiting;

    /* those that come later have waited for nothing yet */

    if (group->nwaiting == 0 && group->gathered.timer_set) {
        ngx_del_timer(&group->gathered);
    }

    if (lane->ncalls) {
        ngx_http_concert_lane_post(lane);
    }
}


static void
ngx_http_concert_lane_post(ngx_http_concert_lane_t *lane)
{
    ngx_uint_t  i;

    lane->busy = 1;
    lane->group->nbusy++;
    lane->away = 0;
    lane->started = ngx_current_msec;

    lane->group->stats->busy = lane->group->nbusy;

    if (ngx_thread_task_post(lane->group->pool, lane->task) == NGX_OK) {

        /* not cancelable: a worker that drains waits for its lanes */

        ngx_add_timer(&lane->watch,
                      (lane->ncalls ? lane->calls[0]->deadline
                                    : lane->deadline)
                      - ngx_current_msec);
        return;
    }

    for (i = 0; i < lane->ncalls; i++) {
        lane->calls[i]->outcome = NGX_HTTP_CONCERT_REFUSED;
    }

    ngx_http_concert_lane_done(&lane->task->event);
}


/* the pool thread */

static void
ngx_http_concert_lane_run(void *data, ngx_log_t *log)
{
    ngx_http_concert_lane_t  *lane = data;

    lane->group->store->run(lane);
}


/* deadlines have passed while the thread still works */

static void
ngx_http_concert_lane_watch(ngx_event_t *ev)
{
    ngx_uint_t                i;
    ngx_msec_int_t            left;
    ngx_http_concert_call_t  *call;
    ngx_http_concert_lane_t  *lane;

    lane = ev->data;

    for (i = 0; i < lane->ncalls; i++) {
        call = lane->calls[i];
        left = (ngx_msec_int_t) (call->deadline - ngx_current_msec);

        if (left > 0) {
            ngx_add_timer(&lane->watch, (ngx_msec_t) left);
            return;
        }

        if (call->request) {
            ngx_http_concert_on_timeout(call);
        }
    }

    /* the thread gives up by itself; until then this keeps the worker */

    ngx_add_timer(&lane->watch, NGX_HTTP_CONCERT_PROBE_TIMEOUT);
}


static void
ngx_http_concert_lane_done(ngx_event_t *ev)
{
    ngx_uint_t                 i, n;
    ngx_http_concert_lane_t   *lane;
    ngx_http_concert_group_t  *group;
    ngx_http_concert_call_t   *calls[NGX_HTTP_CONCERT_MAX_BATCH];

    lane = ev->data;
    group = lane->group;

    if (lane->watch.timer_set) {
        ngx_del_timer(&lane->watch);
    }

    n = lane->ncalls;
    ngx_memcpy(calls, lane->calls, n * sizeof(calls[0]));

    ngx_http_concert_lane_count(lane);

    lane->busy = 0;
    lane->ncalls = 0;
    group->nbusy--;
    group->stats->busy = group->nbusy;

    ngx_http_concert_group_down(group, lane->away);

    if (group->down && !ngx_exiting && !group->probe.timer_set) {
        ngx_add_timer(&group->probe, NGX_HTTP_CONCERT_PROBE_INTERVAL);
    }

    if (!group->down && ngx_http_concert_group_ready(group)) {
        ngx_http_concert_lane_dispatch(lane);
    }

    for (i = 0; i < n; i++) {
        calls[i]->state = NGX_HTTP_CONCERT_CALL_IDLE;
        calls[i]->store_time += ngx_current_msec - calls[i]->submitted;
        calls[i]->done(calls[i]);
    }
}


static void
ngx_http_concert_lane_count(ngx_http_concert_lane_t *lane)
{
    ngx_uint_t                      i, failed;
    ngx_http_concert_lane_stats_t  *stats;

    stats = lane->group->stats;

    if (lane->ncalls == 0) {
        return;
    }

    failed = 0;

    for (i = 0; i < lane->ncalls; i++) {
        failed += (lane->calls[i]->outcome != NGX_HTTP_CONCERT_OK);
    }

    (void) ngx_atomic_fetch_add(&stats->batches, 1);
    (void) ngx_atomic_fetch_add(&stats->calls, lane->ncalls);
    (void) ngx_atomic_fetch_add(&stats->failed, failed);
    (void) ngx_atomic_fetch_add(&stats->busy_ms,
                                ngx_current_msec - lane->started);

    for (i = 0; i < NGX_HTTP_CONCERT_BATCH_BUCKETS - 1; i++) {
        if (lane->ncalls <= ((ngx_uint_t) 1 << i)) {
            break;
        }
    }

    (void) ngx_atomic_fetch_add(&stats->batch_size[i], 1);
}
