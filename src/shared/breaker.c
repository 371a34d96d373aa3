
#include "shared/breaker.h"

#include <string.h>


/*
 * All that others can see is written with this, in the order that it has here:
 * whoever is killed leaves the first of these stores and none of the rest.  A
 * test counts them.
 */
#ifndef ngx_http_concert_breaker_put
#define ngx_http_concert_breaker_put(p, v)                                   \
    __atomic_store_n(p, v, __ATOMIC_RELEASE)
#endif

#define NGX_HTTP_CONCERT_BREAKER_BITS  16
#define NGX_HTTP_CONCERT_BREAKER_MASK  ((uint64_t) 0xffff)


static int ngx_http_concert_breaker_same(
    const ngx_http_concert_breaker_conf_t *one,
    const ngx_http_concert_breaker_conf_t *two);
static ngx_http_concert_breaker_period_t *ngx_http_concert_breaker_now(
    ngx_http_concert_breaker_t *breaker);
static ngx_http_concert_breaker_conf_t *ngx_http_concert_breaker_conf(
    ngx_http_concert_breaker_t *breaker);
static ngx_http_concert_breaker_period_t *ngx_http_concert_breaker_next(
    ngx_http_concert_breaker_t *breaker,
    ngx_http_concert_breaker_reason_e reason, int64_t at);
static void ngx_http_concert_breaker_window(
    ngx_http_concert_breaker_t *breaker,
    ngx_http_concert_breaker_period_t *period);
static void ngx_http_concert_breaker_begin(ngx_http_concert_breaker_t *breaker,
    ngx_http_concert_breaker_state_e state,
    ngx_http_concert_breaker_reason_e reason, int64_t at);
static void ngx_http_concert_breaker_due(ngx_http_concert_breaker_t *breaker,
    int64_t now);
static int64_t ngx_http_concert_breaker_left(
    ngx_http_concert_breaker_t *breaker, int64_t now);
static int ngx_http_concert_breaker_permit(ngx_http_concert_breaker_t *breaker,
    int64_t now, uint64_t worker, ngx_http_concert_breaker_permit_t *permit);
static int ngx_http_concert_breaker_lost(ngx_http_concert_breaker_t *breaker,
    const ngx_http_concert_breaker_permit_t *permit, int64_t now);
static ngx_http_concert_breaker_permit_t *ngx_http_concert_breaker_own(
    ngx_http_concert_breaker_t *breaker,
    const ngx_http_concert_breaker_permit_t *permit, int64_t now);
static void ngx_http_concert_breaker_record(
    ngx_http_concert_breaker_t *breaker, int64_t now, unsigned kind);
static int ngx_http_concert_breaker_counts(
    const ngx_http_concert_breaker_period_t *period,
    const ngx_http_concert_breaker_slot_t *slot, int64_t now);
static void ngx_http_concert_breaker_sum(ngx_http_concert_breaker_t *breaker,
    int64_t now, ngx_http_concert_breaker_snapshot_t *sum);
static void ngx_http_concert_breaker_judge(ngx_http_concert_breaker_t *breaker,
    int64_t now);
static void ngx_http_concert_breaker_tell(ngx_http_concert_breaker_t *breaker,
    uint64_t number, ngx_http_concert_breaker_event_t *event);


const char *const
    ngx_http_concert_breaker_states[NGX_HTTP_CONCERT_BREAKER_STATES] = {
    "closed", "open", "half_open", "disabled", "forced_open", "metrics_only"
};

const char *const
    ngx_http_concert_breaker_reasons[NGX_HTTP_CONCERT_BREAKER_REASONS] = {
    "none", "configured", "operator", "failure_rate", "slow_call_rate",
    "both_rates", "waited", "automatic", "recovered", "half_open_ended"
};


void
ngx_http_concert_breaker_defaults(ngx_http_concert_breaker_conf_t *conf)
{
    conf->failure_rate_threshold = 50;
    conf->slow_call_rate_threshold = 100;
    conf->sliding_window_type = NGX_HTTP_CONCERT_BREAKER_COUNT;
    conf->automatic_transition = 0;
    conf->slow_call_duration_threshold = 60000;
    conf->sliding_window_size = 100;
    conf->minimum_number_of_calls = 100;
    conf->wait_duration_in_open_state = 60000;
    conf->permitted_number_of_calls = 10;
    conf->max_wait_duration_in_half_open_state = 0;
    conf->permit_timeout = 120000;
}


const char *
ngx_http_concert_breaker_wrong(const ngx_http_concert_breaker_conf_t *conf)
{
    if (!(conf->failure_rate_threshold > 0
          && conf->failure_rate_threshold <= 100))
    {
        return "failure_rate_threshold";
    }

    if (!(conf->slow_call_rate_threshold > 0
          && conf->slow_call_rate_threshold <= 100))
    {
        return "slow_call_rate_threshold";
    }

    if (conf->slow_call_duration_threshold < 1) {
        return "slow_call_duration_threshold";
    }

    if (conf->sliding_window_size < 1
        || conf->sliding_window_size > NGX_HTTP_CONCERT_BREAKER_WINDOW)
    {
        return "sliding_window_size";
    }

    if (conf->minimum_number_of_calls < 1) {
        return "minimum_number_of_calls";
    }

    if (conf->wait_duration_in_open_state < 1) {
        return "wait_duration_in_open_state";
    }

    if (conf->permitted_number_of_calls < 1
        || conf->permitted_number_of_calls
           > NGX_HTTP_CONCERT_BREAKER_PERMITTED)
    {
        return "permitted_number_of_calls_in_half_open_state";
    }

    if (conf->max_wait_duration_in_half_open_state < 0) {
        return "max_wait_duration_in_half_open_state";
    }

    return conf->permit_timeout < 0 ? "permit_timeout" : NULL;
}


static int
ngx_http_concert_breaker_same(const ngx_http_concert_breaker_conf_t *one,
    const ngx_http_concert_breaker_conf_t *two)
{
    return one->failure_rate_threshold == two->failure_rate_threshold
           && one->slow_call_rate_threshold == two->slow_call_rate_threshold
           && one->sliding_window_type == two->sliding_window_type
           && one->automatic_transition == two->automatic_transition
           && one->slow_call_duration_threshold
              == two->slow_call_duration_threshold
           && one->sliding_window_size == two->sliding_window_size
           && one->minimum_number_of_calls == two->minimum_number_of_calls
           && one->wait_duration_in_open_state
              == two->wait_duration_in_open_state
           && one->permitted_number_of_calls == two->permitted_number_of_calls
           && one->max_wait_duration_in_half_open_state
              == two->max_wait_duration_in_half_open_state
           && one->permit_timeout == two->permit_timeout;
}


void
ngx_http_concert_breaker_configure(ngx_http_concert_breaker_t *breaker,
    const ngx_http_concert_breaker_conf_t *conf, int64_t now)
{
    int64_t                             since;
    ngx_http_concert_breaker_period_t  *next;

    if (breaker->number) {

        if (ngx_http_concert_breaker_same(conf,
                                      ngx_http_concert_breaker_conf(breaker)))
        {
            return;
        }

        since = ngx_http_concert_breaker_now(breaker)->since;

    } else {
        since = now;
    }

    next = ngx_http_concert_breaker_next(breaker,
                                         NGX_HTTP_CONCERT_BREAKER_CONFIGURED,
                                         now);
    next->since = since;
    next->conf = !next->conf;
    breaker->confs[next->conf] = *conf;
    ngx_http_concert_breaker_window(breaker, next);

    ngx_http_concert_breaker_put(&breaker->number, breaker->number + 1);
}


static ngx_http_concert_breaker_period_t *
ngx_http_concert_breaker_now(ngx_http_concert_breaker_t *breaker)
{
    return &breaker->periods[breaker->number
                             % NGX_HTTP_CONCERT_BREAKER_PERIODS];
}


static ngx_http_concert_breaker_conf_t *
ngx_http_concert_breaker_conf(ngx_http_concert_breaker_t *breaker)
{
    return &breaker->confs[ngx_http_concert_breaker_now(breaker)->conf];
}


/* a copy of this period, which nobody sees until the number is its own */

static ngx_http_concert_breaker_period_t *
ngx_http_concert_breaker_next(ngx_http_concert_breaker_t *breaker,
    ngx_http_concert_breaker_reason_e reason, int64_t at)
{
    ngx_http_concert_breaker_period_t  *next;

    next = &breaker->periods[(breaker->number + 1)
                             % NGX_HTTP_CONCERT_BREAKER_PERIODS];

    *next = *ngx_http_concert_breaker_now(breaker);
    next->from = next->state;
    next->reason = reason;
    next->at = at;
    next->since = at;

    return next;
}


/* slots and permits of other windows are as good as empty */

static void
ngx_http_concert_breaker_window(ngx_http_concert_breaker_t *breaker,
    ngx_http_concert_breaker_period_t *period)
{
    ngx_http_concert_breaker_conf_t  *conf;

    conf = &breaker->confs[period->conf];

    period->window = breaker->number + 1;
    period->not_permitted = breaker->not_permitted;
    period->minimum = conf->minimum_number_of_calls;

    if (period->state == NGX_HTTP_CONCERT_BREAKER_HALF_OPEN) {
        period->type = NGX_HTTP_CONCERT_BREAKER_COUNT;
        period->size = conf->permitted_number_of_calls;

    } else {
        period->type = conf->sliding_window_type;
        period->size = conf->sliding_window_size;
    }

    if (period->type == NGX_HTTP_CONCERT_BREAKER_COUNT
        && period->minimum > period->size)
    {
        period->minimum = period->size;
    }
}


static void
ngx_http_concert_breaker_begin(ngx_http_concert_breaker_t *breaker,
    ngx_http_concert_breaker_state_e state,
    ngx_http_concert_breaker_reason_e reason, int64_t at)
{
    ngx_http_concert_breaker_period_t  *next;

    next = ngx_http_concert_breaker_next(breaker, reason, at);
    next->state = state;

    if (state == NGX_HTTP_CONCERT_BREAKER_OPEN) {
        next->opened = at;

    } else {
        ngx_http_concert_breaker_window(breaker, next);
    }

    ngx_http_concert_breaker_put(&breaker->number, breaker->number + 1);
}


/*
 * The end of a half-open state: by its time, or by the calls of a worker that
 * was killed between the last of them and the judgment.
 */

static void
ngx_http_concert_breaker_due(ngx_http_concert_breaker_t *breaker, int64_t now)
{
    int64_t                             wait;
    ngx_http_concert_breaker_period_t  *period;

    period = ngx_http_concert_breaker_now(breaker);

    if (period->state != NGX_HTTP_CONCERT_BREAKER_HALF_OPEN) {
        return;
    }

    wait = ngx_http_concert_breaker_conf(breaker)
               ->max_wait_duration_in_half_open_state;

    if (wait && now - period->since >= wait) {
        ngx_http_concert_breaker_begin(breaker, NGX_HTTP_CONCERT_BREAKER_OPEN,
                                   NGX_HTTP_CONCERT_BREAKER_HALF_OPEN_ENDED,
                                   period->since + wait);
        return;
    }

    ngx_http_concert_breaker_judge(breaker, now);
}


/* of the wait of an open breaker, ms; 0 when it is over, or of no other */

static int64_t
ngx_http_concert_breaker_left(ngx_http_concert_breaker_t *breaker,
    int64_t now)
{
    int64_t                             left;
    ngx_http_concert_breaker_period_t  *period;

    period = ngx_http_concert_breaker_now(breaker);

    if (period->state != NGX_HTTP_CONCERT_BREAKER_OPEN) {
        return 0;
    }

    left = ngx_http_concert_breaker_conf(breaker)->wait_duration_in_open_state
           - (now - period->since);

    return left > 0 ? left : 0;
}


int
ngx_http_concert_breaker_acquire(ngx_http_concert_breaker_t *breaker,
    int64_t now, uint64_t worker, ngx_http_concert_breaker_permit_t *permit,
    int64_t *retry)
{
    memset(permit, 0, sizeof(ngx_http_concert_breaker_permit_t));

    ngx_http_concert_breaker_due(breaker, now);

    *retry = ngx_http_concert_breaker_left(breaker, now);

    if (ngx_http_concert_breaker_now(breaker)->state
        == NGX_HTTP_CONCERT_BREAKER_OPEN && *retry == 0)
    {
        ngx_http_concert_breaker_begin(breaker,
                                       NGX_HTTP_CONCERT_BREAKER_HALF_OPEN,
                                       NGX_HTTP_CONCERT_BREAKER_WAITED, now);
    }

    switch (ngx_http_concert_breaker_now(breaker)->state) {

    case NGX_HTTP_CONCERT_BREAKER_OPEN:
    case NGX_HTTP_CONCERT_BREAKER_FORCED_OPEN:
        break;

    case NGX_HTTP_CONCERT_BREAKER_HALF_OPEN:
        if (ngx_http_concert_breaker_permit(breaker, now, worker, permit)) {
            return 1;
        }

        break;

    default:
        return 1;
    }

    ngx_http_concert_breaker_put(&breaker->not_permitted,
                                 breaker->not_permitted + 1);

    return 0;
}


static int
ngx_http_concert_breaker_permit(ngx_http_concert_breaker_t *breaker,
    int64_t now, uint64_t worker, ngx_http_concert_breaker_permit_t *permit)
{
    unsigned                            i;
    ngx_http_concert_breaker_period_t  *period;
    ngx_http_concert_breaker_permit_t  *own;

    period = ngx_http_concert_breaker_now(breaker);

    for (i = 0; i < period->size; i++) {
        own = &breaker->permits[i];

        if (own->window == period->window
            && !ngx_http_concert_breaker_lost(breaker, own, now))
        {
            continue;
        }

        permit->window = period->window;
        permit->worker = worker;
        permit->at = now;
        permit->index = i;

        ngx_http_concert_breaker_put(&own->window, 0);
        ngx_http_concert_breaker_put(&own->worker, worker);
        ngx_http_concert_breaker_put(&own->at, now);
        ngx_http_concert_breaker_put(&own->window, period->window);

        return 1;
    }

    return 0;
}


static int
ngx_http_concert_breaker_lost(ngx_http_concert_breaker_t *breaker,
    const ngx_http_concert_breaker_permit_t *permit, int64_t now)
{
    int64_t  timeout;

    timeout = ngx_http_concert_breaker_conf(breaker)->permit_timeout;

    return permit->worker && timeout && now - permit->at >= timeout;
}


/* the permit as the breaker knows it, if it is still this call's */

static ngx_http_concert_breaker_permit_t *
ngx_http_concert_breaker_own(ngx_http_concert_breaker_t *breaker,
    const ngx_http_concert_breaker_permit_t *permit, int64_t now)
{
    ngx_http_concert_breaker_permit_t  *own;

    own = &breaker->permits[permit->index];

    return permit->window == ngx_http_concert_breaker_now(breaker)->window
           && own->window == permit->window
           && own->worker == permit->worker
           && own->at == permit->at
           && !ngx_http_concert_breaker_lost(breaker, own, now)
           ? own : NULL;
}


/*
 * A permit is used up after its call has been counted: were it before, a worker
 * that is killed between could leave too few calls to end the half-open state.
 */

void
ngx_http_concert_breaker_result(ngx_http_concert_breaker_t *breaker,
    const ngx_http_concert_breaker_permit_t *permit, int64_t now,
    int64_t duration, ngx_http_concert_breaker_outcome_e outcome)
{
    unsigned                            kind;
    uint32_t                            state;
    ngx_http_concert_breaker_permit_t  *own;

    ngx_http_concert_breaker_due(breaker, now);

    state = ngx_http_concert_breaker_now(breaker)->state;

    if (state == NGX_HTTP_CONCERT_BREAKER_DISABLED
        || state == NGX_HTTP_CONCERT_BREAKER_FORCED_OPEN)
    {
        return;
    }

    own = ngx_http_concert_breaker_own(breaker, permit, now);

    if (outcome == NGX_HTTP_CONCERT_BREAKER_IGNORED) {
        ngx_http_concert_breaker_put(&breaker->ignored, breaker->ignored + 1);

        if (own) {
            ngx_http_concert_breaker_put(&own->window, 0);
        }

        return;
    }

    kind = outcome == NGX_HTTP_CONCERT_BREAKER_FAILURE
           ? NGX_HTTP_CONCERT_BREAKER_FAILED : 0;

    if (duration > ngx_http_concert_breaker_conf(breaker)
                       ->slow_call_duration_threshold)
    {
        kind |= NGX_HTTP_CONCERT_BREAKER_SLOW;
    }

    ngx_http_concert_breaker_put(&breaker->calls[kind],
                                 breaker->calls[kind] + 1);
    ngx_http_concert_breaker_record(breaker, now, kind);

    if (own) {
        ngx_http_concert_breaker_put(&own->worker, 0);
    }

    ngx_http_concert_breaker_judge(breaker, now);
}


/*
 * What a slot counts is one store.  A slot that is renewed counts nothing for
 * a while; what it counted before was over.
 */

static void
ngx_http_concert_breaker_record(ngx_http_concert_breaker_t *breaker,
    int64_t now, unsigned kind)
{
    uint64_t                            of, one;
    ngx_http_concert_breaker_slot_t    *slot;
    ngx_http_concert_breaker_period_t  *period;

    period = ngx_http_concert_breaker_now(breaker);
    of = period->window << 32;
    one = (uint64_t) 1 << (kind * NGX_HTTP_CONCERT_BREAKER_BITS);

    if (period->type == NGX_HTTP_CONCERT_BREAKER_TIME) {
        of |= (uint32_t) (now / 1000);
        slot = &breaker->slots[now / 1000 % period->size];

    } else {
        slot = &breaker->slots[breaker->head % period->size];
    }

    if (slot->of != of) {
        ngx_http_concert_breaker_put(&slot->counts, 0);
        ngx_http_concert_breaker_put(&slot->of, of);
    }

    if (period->type == NGX_HTTP_CONCERT_BREAKER_COUNT) {
        ngx_http_concert_breaker_put(&slot->counts, one);
        ngx_http_concert_breaker_put(&breaker->head, breaker->head + 1);
        return;
    }

    /* more calls of a kind than 16 bits count say nothing new of a second */

    if (slot->counts / one % (NGX_HTTP_CONCERT_BREAKER_MASK + 1)
        < NGX_HTTP_CONCERT_BREAKER_MASK)
    {
        ngx_http_concert_breaker_put(&slot->counts, slot->counts + one);
    }
}


/* whether a slot is of this window, and of its last seconds */

static int
ngx_http_concert_breaker_counts(
    const ngx_http_concert_breaker_period_t *period,
    const ngx_http_concert_breaker_slot_t *slot, int64_t now)
{
    int32_t  age;

    if (slot->of >> 32 != (uint32_t) period->window) {
        return 0;
    }

    if (period->type == NGX_HTTP_CONCERT_BREAKER_COUNT) {
        return 1;
    }

    /* the clock of another worker may be ahead */

    age = (int32_t) ((uint32_t) (now / 1000) - (uint32_t) slot->of);

    return age < (int32_t) period->size && age > - (int32_t) period->size;
}


static void
ngx_http_concert_breaker_sum(ngx_http_concert_breaker_t *breaker,
    int64_t now, ngx_http_concert_breaker_snapshot_t *sum)
{
    unsigned                            i, kind;
    uint64_t                            n[NGX_HTTP_CONCERT_BREAKER_KINDS];
    ngx_http_concert_breaker_slot_t    *slot;
    ngx_http_concert_breaker_period_t  *period;

    period = ngx_http_concert_breaker_now(breaker);
    memset(n, 0, sizeof(n));

    for (i = 0; i < period->size; i++) {
        slot = &breaker->slots[i];

        if (ngx_http_concert_breaker_counts(period, slot, now)) {
            for (kind = 0; kind < NGX_HTTP_CONCERT_BREAKER_KINDS; kind++) {
                n[kind] += slot->counts
                           >> (kind * NGX_HTTP_CONCERT_BREAKER_BITS)
                           & NGX_HTTP_CONCERT_BREAKER_MASK;
            }
        }
    }

    sum->slow_successful = n[NGX_HTTP_CONCERT_BREAKER_SLOW];
    sum->slow_failed = n[NGX_HTTP_CONCERT_BREAKER_SLOW
                         | NGX_HTTP_CONCERT_BREAKER_FAILED];
    sum->successful = n[0] + sum->slow_successful;
    sum->failed = n[NGX_HTTP_CONCERT_BREAKER_FAILED] + sum->slow_failed;
    sum->buffered = sum->successful + sum->failed;
    sum->failure_rate = -1;
    sum->slow_call_rate = -1;

    if (sum->buffered && (int64_t) sum->buffered >= period->minimum) {
        sum->failure_rate = sum->failed * 100.0f / sum->buffered;
        sum->slow_call_rate = (sum->slow_successful + sum->slow_failed)
                              * 100.0f / sum->buffered;
    }
}


static void
ngx_http_concert_breaker_judge(ngx_http_concert_breaker_t *breaker,
    int64_t now)
{
    int                                  failures, slow;
    uint32_t                             state;
    ngx_http_concert_breaker_conf_t     *conf;
    ngx_http_concert_breaker_snapshot_t  sum;

    state = ngx_http_concert_breaker_now(breaker)->state;

    if (state != NGX_HTTP_CONCERT_BREAKER_CLOSED
        && state != NGX_HTTP_CONCERT_BREAKER_HALF_OPEN)
    {
        return;
    }

    ngx_http_concert_breaker_sum(breaker, now, &sum);

    if (sum.failure_rate < 0) {
        return;
    }

    conf = ngx_http_concert_breaker_conf(breaker);
    failures = sum.failure_rate >= conf->failure_rate_threshold;
    slow = sum.slow_call_rate >= conf->slow_call_rate_threshold;

    if (failures || slow) {
        ngx_http_concert_breaker_begin(breaker, NGX_HTTP_CONCERT_BREAKER_OPEN,
            failures && slow ? NGX_HTTP_CONCERT_BREAKER_BOTH_RATES
            : failures ? NGX_HTTP_CONCERT_BREAKER_FAILURE_RATE
                       : NGX_HTTP_CONCERT_BREAKER_SLOW_CALL_RATE, now);

    } else if (state == NGX_HTTP_CONCERT_BREAKER_HALF_OPEN) {
        ngx_http_concert_breaker_begin(breaker,
                                       NGX_HTTP_CONCERT_BREAKER_CLOSED,
                                       NGX_HTTP_CONCERT_BREAKER_RECOVERED,
                                       now);
    }
}


void
ngx_http_concert_breaker_tick(ngx_http_concert_breaker_t *breaker, int64_t now)
{
    ngx_http_concert_breaker_due(breaker, now);

    if (ngx_http_concert_breaker_now(breaker)->state
        == NGX_HTTP_CONCERT_BREAKER_OPEN
        && ngx_http_concert_breaker_conf(breaker)->automatic_transition
        && ngx_http_concert_breaker_left(breaker, now) == 0)
    {
        ngx_http_concert_breaker_begin(breaker,
                                       NGX_HTTP_CONCERT_BREAKER_HALF_OPEN,
                                       NGX_HTTP_CONCERT_BREAKER_AUTOMATIC,
                                       now);
    }
}


int
ngx_http_concert_breaker_set(ngx_http_concert_breaker_t *breaker,
    ngx_http_concert_breaker_state_e state, int64_t now)
{
    uint32_t  from;

    ngx_http_concert_breaker_due(breaker, now);

    from = ngx_http_concert_breaker_now(breaker)->state;

    if ((state == NGX_HTTP_CONCERT_BREAKER_HALF_OPEN
         && (from == NGX_HTTP_CONCERT_BREAKER_CLOSED
             || from == NGX_HTTP_CONCERT_BREAKER_METRICS_ONLY))
        || (state == NGX_HTTP_CONCERT_BREAKER_OPEN
            && from == NGX_HTTP_CONCERT_BREAKER_METRICS_ONLY))
    {
        return -1;
    }

    ngx_http_concert_breaker_begin(breaker, state,
                                   NGX_HTTP_CONCERT_BREAKER_OPERATOR, now);

    return 0;
}


size_t
ngx_http_concert_breaker_workers(ngx_http_concert_breaker_t *breaker,
    int64_t now, uint64_t workers[NGX_HTTP_CONCERT_BREAKER_PERMITTED])
{
    size_t                              n;
    unsigned                            i;
    ngx_http_concert_breaker_period_t  *period;
    ngx_http_concert_breaker_permit_t  *own;

    period = ngx_http_concert_breaker_now(breaker);
    n = 0;

    for (i = 0; i < NGX_HTTP_CONCERT_BREAKER_PERMITTED; i++) {
        own = &breaker->permits[i];

        if (own->window == period->window && own->worker
            && !ngx_http_concert_breaker_lost(breaker, own, now))
        {
            workers[n++] = own->worker;
        }
    }

    return n;
}


void
ngx_http_concert_breaker_release(ngx_http_concert_breaker_t *breaker,
    uint64_t worker)
{
    unsigned  i;

    for (i = 0; i < NGX_HTTP_CONCERT_BREAKER_PERMITTED; i++) {
        if (breaker->permits[i].worker == worker) {
            ngx_http_concert_breaker_put(&breaker->permits[i].window, 0);
        }
    }
}


static void
ngx_http_concert_breaker_tell(ngx_http_concert_breaker_t *breaker,
    uint64_t number, ngx_http_concert_breaker_event_t *event)
{
    ngx_http_concert_breaker_period_t  *period;

    period = &breaker->periods[number % NGX_HTTP_CONCERT_BREAKER_PERIODS];

    event->number = number;
    event->at = period->at;
    event->from = period->from;
    event->to = period->state;
    event->reason = period->reason;
}


int
ngx_http_concert_breaker_event(ngx_http_concert_breaker_t *breaker,
    ngx_http_concert_breaker_event_t *event)
{
    uint64_t  number;

    if (breaker->told == breaker->number) {
        return 0;
    }

    number = breaker->told + 1;

    if (breaker->number - number >= NGX_HTTP_CONCERT_BREAKER_EVENTS) {
        number = breaker->number - NGX_HTTP_CONCERT_BREAKER_EVENTS + 1;
    }

    ngx_http_concert_breaker_tell(breaker, number, event);
    ngx_http_concert_breaker_put(&breaker->told, number);

    return 1;
}


void
ngx_http_concert_breaker_snapshot(ngx_http_concert_breaker_t *breaker,
    int64_t now, ngx_http_concert_breaker_snapshot_t *snapshot)
{
    size_t                              i;
    uint64_t                            workers
                                   [NGX_HTTP_CONCERT_BREAKER_PERMITTED];
    uint64_t                           *calls;
    ngx_http_concert_breaker_period_t  *period;

    period = ngx_http_concert_breaker_now(breaker);
    calls = breaker->calls;

    snapshot->state = period->state;
    snapshot->since = period->since;
    snapshot->opened = period->opened;
    snapshot->retry = ngx_http_concert_breaker_left(breaker, now);
    ngx_http_concert_breaker_sum(breaker, now, snapshot);
    snapshot->not_permitted = breaker->not_permitted - period->not_permitted;
    snapshot->permits = ngx_http_concert_breaker_workers(breaker, now,
                                                         workers);

    snapshot->all_slow_successful = calls[NGX_HTTP_CONCERT_BREAKER_SLOW];
    snapshot->all_slow_failed = calls[NGX_HTTP_CONCERT_BREAKER_SLOW
                                      | NGX_HTTP_CONCERT_BREAKER_FAILED];
    snapshot->all_successful = calls[0] + snapshot->all_slow_successful;
    snapshot->all_failed = calls[NGX_HTTP_CONCERT_BREAKER_FAILED]
                           + snapshot->all_slow_failed;
    snapshot->all_ignored = breaker->ignored;
    snapshot->all_not_permitted = breaker->not_permitted;

    snapshot->nevents = breaker->number < NGX_HTTP_CONCERT_BREAKER_EVENTS
                        ? breaker->number : NGX_HTTP_CONCERT_BREAKER_EVENTS;

    for (i = 0; i < snapshot->nevents; i++) {
        ngx_http_concert_breaker_tell(breaker,
                                 breaker->number - snapshot->nevents + 1 + i,
                                 &snapshot->events[i]);
    }
}
