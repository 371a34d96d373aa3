
/*
 * The circuit breaker: what Resilience4j's documentation and tests say of
 * theirs, random histories beside a model that is plainly right, and writers
 * that are killed between any two stores.
 */

#include <stdint.h>

static void stop_here(void);

#define ngx_http_concert_breaker_put(p, v)                                   \
    (stop_here(), __atomic_store_n(p, v, __ATOMIC_RELEASE))

#include "shared/breaker.c"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "between.h"


#define CLOSED        NGX_HTTP_CONCERT_BREAKER_CLOSED
#define OPEN          NGX_HTTP_CONCERT_BREAKER_OPEN
#define HALF_OPEN     NGX_HTTP_CONCERT_BREAKER_HALF_OPEN
#define DISABLED      NGX_HTTP_CONCERT_BREAKER_DISABLED
#define FORCED_OPEN   NGX_HTTP_CONCERT_BREAKER_FORCED_OPEN
#define METRICS_ONLY  NGX_HTTP_CONCERT_BREAKER_METRICS_ONLY
#define STATES        NGX_HTTP_CONCERT_BREAKER_STATES

#define SUCCESS       NGX_HTTP_CONCERT_BREAKER_SUCCESS
#define FAILURE       NGX_HTTP_CONCERT_BREAKER_FAILURE
#define IGNORED       NGX_HTTP_CONCERT_BREAKER_IGNORED

#define TIME          NGX_HTTP_CONCERT_BREAKER_TIME
#define EVENTS        NGX_HTTP_CONCERT_BREAKER_EVENTS
#define PERIODS       NGX_HTTP_CONCERT_BREAKER_PERIODS

#define START         1700000000123LL
#define WORKER        7

#define HISTORIES     200000
#define STEPS         40
#define TORN          4000     /* histories with a writer that stops */
#define KILLS         200


typedef ngx_http_concert_breaker_t           breaker_t;
typedef ngx_http_concert_breaker_conf_t      conf_t;
typedef ngx_http_concert_breaker_permit_t    permit_t;
typedef ngx_http_concert_breaker_snapshot_t  snapshot_t;
typedef ngx_http_concert_breaker_event_t     event_t;
typedef ngx_http_concert_breaker_outcome_e   outcome_t;


static breaker_t  *breaker;
static int64_t     now;


/* a writer stops before its store that makes this zero */

static unsigned  stores_left;
static jmp_buf   stopped;


static void
stop_here(void)
{
    if (stores_left && --stores_left == 0) {
        longjmp(stopped, 1);
    }
}


/* the table */

typedef enum {
    END = 0,
    PASS,          /* a call is let in and not returned */
    REFUSE,        /* a call is refused; n: how long to wait, -1: any */
    OK,            /* n calls that were let in long ago succeed */
    FAIL,
    SLOW_OK,
    SLOW_FAIL,
    IGNORE,        /* a call is let in, and its outcome ignored */
    PROBE_OK,      /* n calls are let in and succeed */
    PROBE_FAIL,
    WAIT,          /* n ms pass */
    TICK,
    SET,           /* the operator sets state n */
    SET_WRONG,     /* and cannot */
    STATE,         /* it is n */
    RATE,          /* of failures; -1: not known */
    SLOW_RATE,
    BUFFERED,
    FAILED,
    SUCCESSFUL,
    SLOW,
    REFUSED,       /* of this window */
    DIE            /* the worker of all calls dies */
} step_e;


typedef struct {
    step_e  step;
    int     n;
} step_t;


typedef struct {
    const char  *what;
    conf_t       conf;
    step_t       steps[40];
} case_t;


/* what Resilience4j's CircuitBreakerStateMachineTest has */

#define TIMED                                                                \
    { .failure_rate_threshold = 50, .slow_call_rate_threshold = 50,          \
      .sliding_window_type = TIME, .sliding_window_size = 20,                \
      .minimum_number_of_calls = 5, .slow_call_duration_threshold = 4000,    \
      .wait_duration_in_open_state = 5000, .permitted_number_of_calls = 4,   \
      .max_wait_duration_in_half_open_state = 60000 }

#define COUNTED(size, minimum, permitted)                                    \
    { .failure_rate_threshold = 50, .slow_call_rate_threshold = 100,         \
      .sliding_window_size = size, .minimum_number_of_calls = minimum,       \
      .slow_call_duration_threshold = 4000,                                  \
      .wait_duration_in_open_state = 5000,                                   \
      .permitted_number_of_calls = permitted }

#define AUTOMATIC                                                            \
    { .failure_rate_threshold = 50, .slow_call_rate_threshold = 100,         \
      .sliding_window_size = 5, .minimum_number_of_calls = 5,                \
      .slow_call_duration_threshold = 4000, .automatic_transition = 1,       \
      .wait_duration_in_open_state = 2000, .permitted_number_of_calls = 3 }

#define BOUNDED                                                              \
    { .failure_rate_threshold = 50, .slow_call_rate_threshold = 100,         \
      .sliding_window_size = 5, .minimum_number_of_calls = 5,                \
      .slow_call_duration_threshold = 4000,                                  \
      .wait_duration_in_open_state = 5000, .permitted_number_of_calls = 3,   \
      .max_wait_duration_in_half_open_state = 1000, .permit_timeout = 700 }


static const case_t  cases[] = {

    { "an open one refuses", TIMED,
      { { SET, OPEN }, { REFUSE, 5000 }, { REFUSED, 1 } } },

    { "a forced open one refuses for ever", TIMED,
      { { SET, FORCED_OPEN }, { REFUSE, 0 }, { WAIT, 6000 }, { TICK, 0 },
        { REFUSE, 0 }, { STATE, FORCED_OPEN }, { REFUSED, 2 }, { OK, 3 },
        { BUFFERED, 0 }, { RATE, -1 } } },

    { "an ignored outcome gives its permit back", TIMED,
      { { SET, OPEN }, { SET, HALF_OPEN }, { PASS, 3 }, { IGNORE, 1 },
        { IGNORE, 1 }, { PASS, 1 }, { REFUSE, 0 }, { REFUSE, 0 },
        { REFUSED, 2 }, { BUFFERED, 0 } } },

    { "half-open again has permits again", TIMED,
      { { SET, OPEN }, { SET, HALF_OPEN }, { PASS, 4 }, { REFUSE, 0 },
        { SET, OPEN }, { SET, HALF_OPEN }, { PASS, 4 }, { REFUSE, 0 } } },

    { "seconds apart, it opens at the threshold itself", TIMED,
      { { OK, 1 }, { WAIT, 1000 }, { OK, 1 }, { WAIT, 1000 }, { OK, 1 },
        { WAIT, 1000 }, { FAIL, 1 }, { WAIT, 1000 }, { FAIL, 1 },
        { STATE, CLOSED }, { WAIT, 1000 }, { FAIL, 1 }, { STATE, OPEN },
        { RATE, 50 } } },

    { "of three failures and two successes", TIMED,
      { { FAIL, 3 }, { RATE, -1 }, { OK, 1 }, { STATE, CLOSED },
        { BUFFERED, 4 }, { FAILED, 3 }, { RATE, -1 }, { OK, 1 },
        { STATE, OPEN }, { RATE, 60 }, { SUCCESSFUL, 2 }, { BUFFERED, 5 },
        { FAILED, 3 }, { REFUSED, 0 }, { REFUSE, 5000 }, { REFUSED, 1 },
        { RATE, 60 } } },

    { "successes and errors can both be slow", TIMED,
      { { SLOW_FAIL, 1 }, { SLOW_OK, 1 }, { FAIL, 1 }, { OK, 1 },
        { STATE, CLOSED }, { SLOW_OK, 1 }, { STATE, OPEN }, { SLOW, 3 },
        { SLOW_RATE, 60 }, { RATE, 40 } } },

    { "it waits, and then the next call probes", TIMED,
      { { SET, OPEN }, { REFUSE, 5000 }, { WAIT, 3000 }, { REFUSE, 2000 },
        { REFUSED, 2 }, { WAIT, 3000 }, { TICK, 0 }, { STATE, OPEN },
        { PASS, 1 }, { STATE, HALF_OPEN }, { REFUSED, 0 },
        { BUFFERED, 0 } } },

    { "the wait is over when it has lasted as long as it should", TIMED,
      { { SET, OPEN }, { WAIT, 4999 }, { REFUSE, 1 }, { WAIT, 1 },
        { PASS, 1 }, { STATE, HALF_OPEN } } },

    { "failed probes open it again, and stay to be seen", TIMED,
      { { SET, OPEN }, { SET, HALF_OPEN }, { PROBE_FAIL, 2 },
        { PROBE_OK, 1 }, { STATE, HALF_OPEN }, { RATE, -1 },
        { PROBE_FAIL, 1 }, { STATE, OPEN }, { RATE, 75 }, { SUCCESSFUL, 1 },
        { BUFFERED, 4 }, { FAILED, 3 }, { REFUSE, 5000 } } },

    { "slow probes open it again", TIMED,
      { { SET, OPEN }, { SET, HALF_OPEN }, { PASS, 4 }, { SLOW_OK, 3 },
        { STATE, HALF_OPEN }, { OK, 1 }, { STATE, OPEN }, { SLOW, 3 },
        { SLOW_RATE, 75 }, { RATE, 0 } } },

    { "good probes close it, and nothing is remembered", TIMED,
      { { SET, OPEN }, { SET, HALF_OPEN }, { PROBE_FAIL, 1 },
        { PROBE_OK, 3 }, { STATE, CLOSED }, { BUFFERED, 0 }, { RATE, -1 },
        { PROBE_OK, 1 }, { SUCCESSFUL, 1 }, { BUFFERED, 1 } } },

    { "ignored probes decide nothing", TIMED,
      { { SET, OPEN }, { SET, HALF_OPEN }, { PROBE_OK, 3 }, { IGNORE, 1 },
        { BUFFERED, 3 }, { STATE, HALF_OPEN }, { PROBE_FAIL, 1 },
        { STATE, CLOSED }, { BUFFERED, 0 } } },

    { "four ignored and four good", TIMED,
      { { SET, OPEN }, { SET, HALF_OPEN }, { IGNORE, 4 }, { BUFFERED, 0 },
        { PROBE_OK, 3 }, { BUFFERED, 3 }, { RATE, -1 }, { PROBE_OK, 1 },
        { STATE, CLOSED } } },

    { "closed again forgets", TIMED,
      { { OK, 1 }, { FAIL, 1 }, { BUFFERED, 2 }, { SET, CLOSED },
        { BUFFERED, 0 }, { FAILED, 0 } } },

    { "disabled lets in, and records nothing", TIMED,
      { { SET, DISABLED }, { PROBE_OK, 1 }, { PROBE_FAIL, 30 },
        { STATE, DISABLED }, { BUFFERED, 0 }, { RATE, -1 }, { PASS, 30 } } },

    { "metrics only lets in, and records", TIMED,
      { { OK, 2 }, { SET, METRICS_ONLY }, { SUCCESSFUL, 0 },
        { PROBE_FAIL, 3 }, { RATE, -1 }, { PROBE_OK, 2 }, { RATE, 60 },
        { PROBE_FAIL, 9 }, { STATE, METRICS_ONLY } } },

    { "closed cannot become half-open", TIMED,
      { { SET_WRONG, HALF_OPEN }, { STATE, CLOSED }, { SET, METRICS_ONLY },
        { SET_WRONG, HALF_OPEN }, { SET_WRONG, OPEN },
        { STATE, METRICS_ONLY }, { SET, FORCED_OPEN }, { SET, HALF_OPEN },
        { STATE, HALF_OPEN } } },

    { "seconds leave the window", TIMED,
      { { FAIL, 3 }, { WAIT, 19000 }, { OK, 1 }, { BUFFERED, 4 },
        { WAIT, 1000 }, { BUFFERED, 1 }, { FAILED, 0 }, { WAIT, 19000 },
        { BUFFERED, 0 }, { FAIL, 4 }, { WAIT, 20000 }, { FAIL, 4 },
        { STATE, CLOSED }, { FAIL, 1 }, { STATE, OPEN } } },

    { "a rate that grows by itself opens nothing", TIMED,
      { { OK, 9 }, { WAIT, 10000 }, { FAIL, 6 }, { RATE, 40 },
        { WAIT, 10000 }, { RATE, 100 }, { TICK, 0 }, { PASS, 1 },
        { STATE, CLOSED }, { OK, 1 }, { STATE, OPEN } } },

    { "twelve of a window of ten", COUNTED(10, 10, 4),
      { { SET, METRICS_ONLY }, { OK, 2 }, { FAIL, 2 }, { BUFFERED, 4 },
        { RATE, -1 }, { FAIL, 4 }, { OK, 4 }, { BUFFERED, 10 },
        { FAILED, 6 }, { SUCCESSFUL, 4 }, { RATE, 60 }, { OK, 3 },
        { RATE, 30 } } },

    { "a count window is the minimum at most", COUNTED(3, 100, 2),
      { { FAIL, 2 }, { STATE, CLOSED }, { RATE, -1 }, { FAIL, 1 },
        { STATE, OPEN } } },

    { "the minimum can be less than the probes", COUNTED(10, 2, 4),
      { { SET, OPEN }, { SET, HALF_OPEN }, { PASS, 4 }, { OK, 1 },
        { STATE, HALF_OPEN }, { OK, 1 }, { STATE, CLOSED }, { FAIL, 1 },
        { STATE, CLOSED }, { FAIL, 1 }, { STATE, OPEN } } },

    { "one below the threshold is below it", COUNTED(100, 100, 10),
      { { FAIL, 49 }, { OK, 51 }, { RATE, 49 }, { STATE, CLOSED },
        { FAIL, 1 }, { RATE, 49 }, { STATE, CLOSED } } },

    { "all of a window can be slow, and no less", COUNTED(4, 4, 2),
      { { SLOW_OK, 3 }, { OK, 1 }, { STATE, CLOSED }, { SLOW_OK, 3 },
        { STATE, CLOSED }, { SLOW_OK, 1 }, { STATE, OPEN },
        { SLOW_RATE, 100 }, { RATE, 0 } } },

    { "late results of an open one are recorded and change nothing",
      COUNTED(4, 4, 2),
      { { FAIL, 4 }, { STATE, OPEN }, { OK, 3 }, { STATE, OPEN },
        { RATE, 25 }, { OK, 1 }, { RATE, 0 }, { STATE, OPEN },
        { REFUSE, 5000 } } },

    { "late results count among the probes", COUNTED(4, 4, 2),
      { { FAIL, 4 }, { WAIT, 5000 }, { PASS, 1 }, { FAIL, 1 },
        { STATE, HALF_OPEN }, { FAIL, 1 }, { STATE, OPEN },
        { REFUSE, 5000 } } },

    { "opened again, its wait begins again", COUNTED(4, 4, 2),
      { { FAIL, 4 }, { WAIT, 4000 }, { SET, OPEN }, { RATE, 100 },
        { REFUSE, 5000 } } },

    { "automatic: half-open without a call", AUTOMATIC,
      { { SET, OPEN }, { WAIT, 1999 }, { TICK, 0 }, { STATE, OPEN },
        { WAIT, 1 }, { TICK, 0 }, { STATE, HALF_OPEN }, { PASS, 3 },
        { REFUSE, 0 } } },

    { "automatic: the operator's word stands", AUTOMATIC,
      { { SET, OPEN }, { SET, FORCED_OPEN }, { WAIT, 9000 }, { TICK, 0 },
        { STATE, FORCED_OPEN } } },

    { "half-open ends, and waits from then on", BOUNDED,
      { { SET, OPEN }, { SET, HALF_OPEN }, { WAIT, 999 }, { TICK, 0 },
        { STATE, HALF_OPEN }, { WAIT, 1 }, { TICK, 0 }, { STATE, OPEN },
        { WAIT, 3000 }, { REFUSE, 2000 } } },

    { "half-open ended before the call, and the wait with it", BOUNDED,
      { { SET, OPEN }, { SET, HALF_OPEN }, { WAIT, 6000 }, { PASS, 3 },
        { STATE, HALF_OPEN }, { REFUSE, 0 } } },

    { "a result after the end of half-open finds it open", BOUNDED,
      { { SET, OPEN }, { SET, HALF_OPEN }, { PASS, 3 }, { OK, 2 },
        { WAIT, 1000 }, { OK, 1 }, { STATE, OPEN }, { BUFFERED, 3 } } },

    { "a permit that is too old is another's", BOUNDED,
      { { SET, OPEN }, { SET, HALF_OPEN }, { PASS, 3 }, { WAIT, 699 },
        { REFUSE, 0 }, { WAIT, 1 }, { PASS, 3 }, { REFUSE, 0 } } },

    { "a worker that dies gives its permits back, and no others",
      COUNTED(10, 10, 3),
      { { SET, OPEN }, { SET, HALF_OPEN }, { PROBE_OK, 1 }, { PASS, 2 },
        { REFUSE, 0 }, { DIE, 0 }, { PASS, 2 }, { REFUSE, 0 } } }
};


static void
fresh(const conf_t *conf)
{
    memset(breaker, 0, sizeof(breaker_t));
    assert_null(ngx_http_concert_breaker_wrong(conf));
    ngx_http_concert_breaker_configure(breaker, conf, now);
}


static int
acquire(permit_t *permit, int64_t *retry)
{
    return ngx_http_concert_breaker_acquire(breaker, now, WORKER, permit,
                                            retry);
}


static void
result(const permit_t *permit, outcome_t outcome, int slow)
{
    int64_t  threshold;

    threshold = ngx_http_concert_breaker_conf(breaker)
                    ->slow_call_duration_threshold;
    ngx_http_concert_breaker_result(breaker, permit, now, threshold + slow,
                                    outcome);
}


static int64_t
seen(step_e step)
{
    snapshot_t  s;

    ngx_http_concert_breaker_snapshot(breaker, now, &s);

    switch (step) {
    case STATE:       return s.state;
    case RATE:        return s.failure_rate;
    case SLOW_RATE:   return s.slow_call_rate;
    case BUFFERED:    return s.buffered;
    case FAILED:      return s.failed;
    case SUCCESSFUL:  return s.successful;
    case SLOW:        return s.slow_successful + s.slow_failed;
    default:          return s.not_permitted;
    }
}


/* one call; returns 0 if what should happen did not */

static int
call(step_e step, int n)
{
    int64_t   retry;
    permit_t  permit;

    memset(&permit, 0, sizeof(permit_t));

    switch (step) {

    case REFUSE:
        return !acquire(&permit, &retry) && retry == n;

    case PASS:
        return acquire(&permit, &retry);

    case IGNORE:
    case PROBE_OK:
    case PROBE_FAIL:
        if (!acquire(&permit, &retry)) {
            return 0;
        }

        break;

    default:
        break;
    }

    result(&permit, step == IGNORE ? IGNORED
                    : step == FAIL || step == SLOW_FAIL || step == PROBE_FAIL
                    ? FAILURE : SUCCESS,
           step == SLOW_OK || step == SLOW_FAIL);

    return 1;
}


static int
take(step_e step, int n)
{
    int  i;

    switch (step) {

    case REFUSE:
        return call(step, n);

    case WAIT:
        now += n;
        return 1;

    case TICK:
        ngx_http_concert_breaker_tick(breaker, now);
        return 1;

    case SET:
    case SET_WRONG:
        return ngx_http_concert_breaker_set(breaker, n, now)
               == (step == SET ? 0 : -1);

    case DIE:
        ngx_http_concert_breaker_release(breaker, WORKER);
        return 1;

    default:
        if (step >= STATE) {
            return seen(step) == n;
        }
    }

    for (i = 0; i < n; i++) {
        if (!call(step, n)) {
            return 0;
        }
    }

    return 1;
}


static void
it_does_as_resilience4j(void **state)
{
    size_t         i, j;
    const case_t  *c;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        c = &cases[i];
        now = START;
        fresh(&c->conf);

        for (j = 0; c->steps[j].step != END; j++) {
            if (!take(c->steps[j].step, c->steps[j].n)) {
                fail_msg("%s: step %zu", c->what, j);
            }
        }
    }
}


/*
 * The model: every call of the window in a list, every permit ever given in
 * another, and all sums anew each time.
 */

typedef struct {
    int64_t   second;
    int       failed;
    int       slow;
} model_call_t;


typedef enum { HELD, USED, BACK } hold_e;


typedef struct {
    hold_e    hold;
    uint64_t  worker;
    int64_t   at;
    int       window;
} model_permit_t;


typedef struct {
    int       buffered, failed, slow, slow_failed;
} model_sum_t;


static struct {
    conf_t          conf;
    int             state;
    int64_t         since, opened;
    int             window, probing, refused;
    model_call_t    calls[STEPS];
    int             ncalls;
    model_permit_t  permits[STEPS];
    int             npermits;
    model_sum_t     all;
    int             all_ignored, all_refused;
    event_t         events[4 * STEPS];
    int             nevents;
} model;


static void
model_begin(int state, int reason, int64_t at)
{
    event_t  *e;

    e = &model.events[model.nevents++];
    e->number = model.nevents;
    e->at = at;
    e->from = model.state;
    e->to = state;
    e->reason = reason;

    model.state = state;
    model.since = at;

    if (state == OPEN) {
        model.opened = at;

    } else {
        model.window++;
        model.ncalls = 0;
        model.refused = 0;
        model.probing = state == HALF_OPEN;
    }
}


static void
model_configure(const conf_t *conf)
{
    int64_t  since;

    if (model.nevents && memcmp(&model.conf, conf, sizeof(conf_t)) == 0) {
        return;
    }

    since = model.nevents ? model.since : now;

    if (model.state == OPEN) {
        model.window++;
        model.ncalls = 0;
        model.refused = 0;
        model.probing = 0;
        model.nevents++;
        model.events[model.nevents - 1] = (event_t) {
            model.nevents, now, OPEN, OPEN, 0
        };

    } else {
        model_begin(model.state, 0, now);
    }

    model.events[model.nevents - 1].reason
        = NGX_HTTP_CONCERT_BREAKER_CONFIGURED;
    model.since = since;
    model.conf = *conf;
}


static model_sum_t
model_sum(void)
{
    int          i, size, first;
    model_sum_t  sum;

    memset(&sum, 0, sizeof(model_sum_t));
    size = model.probing ? model.conf.permitted_number_of_calls
                         : model.conf.sliding_window_size;
    first = 0;

    if (model.probing || model.conf.sliding_window_type != TIME) {
        first = model.ncalls > size ? model.ncalls - size : 0;

    } else {
        while (first < model.ncalls
               && model.calls[first].second <= now / 1000 - size)
        {
            first++;
        }
    }

    for (i = first; i < model.ncalls; i++) {
        sum.buffered++;
        sum.failed += model.calls[i].failed;
        sum.slow += model.calls[i].slow;
        sum.slow_failed += model.calls[i].failed && model.calls[i].slow;
    }

    return sum;
}


static int
model_known(const model_sum_t *sum)
{
    int  minimum;

    minimum = model.conf.minimum_number_of_calls;

    if (model.probing && minimum > model.conf.permitted_number_of_calls) {
        minimum = model.conf.permitted_number_of_calls;
    }

    if (!model.probing && model.conf.sliding_window_type != TIME
        && minimum > model.conf.sliding_window_size)
    {
        minimum = model.conf.sliding_window_size;
    }

    return sum->buffered >= minimum;
}


static void
model_due(void)
{
    int64_t  wait;

    wait = model.conf.max_wait_duration_in_half_open_state;

    if (model.state == HALF_OPEN && wait && now >= model.since + wait) {
        model_begin(OPEN, NGX_HTTP_CONCERT_BREAKER_HALF_OPEN_ENDED,
                    model.since + wait);
    }
}


static int
model_holds(const model_permit_t *permit)
{
    return permit->window == model.window && permit->hold == HELD
           && (model.conf.permit_timeout == 0
               || now < permit->at + model.conf.permit_timeout);
}


/* returns -1, or the permit's place */

static int
model_acquire(uint64_t worker, int64_t *retry)
{
    int  i, taken;

    *retry = 0;
    model_due();

    if (model.state == OPEN) {
        *retry = model.since + model.conf.wait_duration_in_open_state - now;

        if (*retry <= 0) {
            *retry = 0;
            model_begin(HALF_OPEN, NGX_HTTP_CONCERT_BREAKER_WAITED, now);
        }
    }

    taken = 0;

    for (i = 0; i < model.npermits; i++) {
        taken += model_holds(&model.permits[i])
                 || (model.permits[i].window == model.window
                     && model.permits[i].hold == USED);
    }

    if (model.state == OPEN || model.state == FORCED_OPEN
        || (model.state == HALF_OPEN
            && taken >= model.conf.permitted_number_of_calls))
    {
        model.refused++;
        model.all_refused++;
        return -1;
    }

    model.permits[model.npermits] = (model_permit_t) {
        HELD, worker, now, model.state == HALF_OPEN ? model.window : 0
    };

    return model.npermits++;
}


static void
model_judge(void)
{
    int          failures, slow;
    model_sum_t  sum;

    sum = model_sum();

    if ((model.state != CLOSED && model.state != HALF_OPEN)
        || !model_known(&sum))
    {
        return;
    }

    failures = sum.failed * 100
               >= (int) model.conf.failure_rate_threshold * sum.buffered;
    slow = sum.slow * 100
           >= (int) model.conf.slow_call_rate_threshold * sum.buffered;

    if (failures && slow) {
        model_begin(OPEN, NGX_HTTP_CONCERT_BREAKER_BOTH_RATES, now);

    } else if (failures) {
        model_begin(OPEN, NGX_HTTP_CONCERT_BREAKER_FAILURE_RATE, now);

    } else if (slow) {
        model_begin(OPEN, NGX_HTTP_CONCERT_BREAKER_SLOW_CALL_RATE, now);

    } else if (model.state == HALF_OPEN) {
        model_begin(CLOSED, NGX_HTTP_CONCERT_BREAKER_RECOVERED, now);
    }
}


/* place: of the permit; -1: the call is of an earlier time */

static void
model_result(int place, int64_t duration, outcome_t outcome)
{
    int  failed, slow;

    model_due();

    if (model.state == DISABLED || model.state == FORCED_OPEN) {
        return;
    }

    if (place >= 0 && model_holds(&model.permits[place])) {
        model.permits[place].hold = outcome == IGNORED ? BACK : USED;
    }

    if (outcome == IGNORED) {
        model.all_ignored++;
        return;
    }

    failed = outcome == FAILURE;
    slow = duration > model.conf.slow_call_duration_threshold;

    model.calls[model.ncalls++] = (model_call_t) { now / 1000, failed, slow };
    model.all.buffered++;
    model.all.failed += failed;
    model.all.slow += slow;
    model.all.slow_failed += failed && slow;

    model_judge();
}


static void
model_tick(void)
{
    model_due();

    if (model.state == OPEN && model.conf.automatic_transition
        && now >= model.since + model.conf.wait_duration_in_open_state)
    {
        model_begin(HALF_OPEN, NGX_HTTP_CONCERT_BREAKER_AUTOMATIC, now);
    }
}


static int
model_set(int state)
{
    static const char  *allowed[] = {       /* closed, open, half-open .. */
        "110111", "111111", "111111", "111111", "111111", "100111"
    };

    model_due();

    if (allowed[model.state][state] == '0') {
        return -1;
    }

    model_begin(state, NGX_HTTP_CONCERT_BREAKER_OPERATOR, now);

    return 0;
}


static void
model_release(uint64_t worker)
{
    int  i;

    for (i = 0; i < model.npermits; i++) {
        if (model.permits[i].worker == worker
            && model.permits[i].hold == HELD)
        {
            model.permits[i].hold = BACK;
        }
    }
}


/* histories of both */

typedef struct {
    permit_t  permit;
    int       place;
    uint64_t  worker;
} flight_t;


static flight_t  flights[STEPS];
static int       nflights;
static uint64_t  seed;


static unsigned
dice(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;

    return (seed >> 20) % n;
}


static conf_t
any_conf(void)
{
    conf_t            conf;
    static const int  rates[] = { 1, 20, 33, 50, 50, 67, 100, 100 };

    conf.failure_rate_threshold = rates[dice(8)];
    conf.slow_call_rate_threshold = rates[dice(8)];
    conf.sliding_window_type = dice(2);
    conf.automatic_transition = dice(2);
    conf.slow_call_duration_threshold = 1 + dice(100);
    conf.sliding_window_size = 1 + dice(dice(20) ? 8 : 40);
    conf.minimum_number_of_calls = 1 + dice(12);
    conf.wait_duration_in_open_state = 1 + dice(5000);
    conf.permitted_number_of_calls = 1 + dice(6);
    conf.max_wait_duration_in_half_open_state = dice(2) ? 1 + dice(9000) : 0;
    conf.permit_timeout = dice(2) ? 1 + dice(3000) : 0;

    return conf;
}


static void
any_time(void)
{
    switch (dice(8)) {
    case 0:
    case 1:
        now += dice(50);
        break;

    case 2:
        now += dice(1000);
        break;

    case 3:
        now += dice(5000);
        break;

    case 4:
        now += dice(8) ? 0 : dice(30000);
    }
}


static void
any_acquire(void)
{
    int        permitted;
    int64_t    retry, expected;
    flight_t  *f;

    f = &flights[nflights];
    f->worker = 1 + dice(3);
    f->place = model_acquire(f->worker, &expected);

    permitted = ngx_http_concert_breaker_acquire(breaker, now, f->worker,
                                                 &f->permit, &retry);

    assert_int_equal(permitted, f->place >= 0);
    nflights += permitted;

    if (!permitted) {
        assert_int_equal(retry, expected);
    }
}


static void
any_result(void)
{
    int        i;
    int64_t    duration;
    outcome_t  outcome;
    flight_t   f;

    if (nflights && dice(10)) {
        i = dice(nflights);
        f = flights[i];
        flights[i] = flights[--nflights];

    } else {
        memset(&f, 0, sizeof(flight_t));
        f.place = -1;
    }

    duration = dice(150);
    outcome = dice(8) ? dice(2) : IGNORED;

    model_result(f.place, duration, outcome);
    ngx_http_concert_breaker_result(breaker, &f.permit, now, duration,
                                    outcome);
}


/* a worker dies, or is only lost with its calls */

static void
any_death(void)
{
    int       i;
    uint64_t  worker;

    worker = 1 + dice(3);

    for (i = nflights; i-- > 0; ) {
        if (flights[i].worker == worker) {
            flights[i] = flights[--nflights];
        }
    }

    if (dice(4)) {
        model_release(worker);
        ngx_http_concert_breaker_release(breaker, worker);
    }
}


static void
any_step(void)
{
    int     state;
    conf_t  conf;

    any_time();

    switch (dice(40)) {
    case 0:
    case 1:
    case 2:
        model_tick();
        ngx_http_concert_breaker_tick(breaker, now);
        return;

    case 3:
        state = dice(STATES);
        assert_int_equal(ngx_http_concert_breaker_set(breaker, state, now),
                         model_set(state));
        return;

    case 4:
        any_death();
        return;

    case 5:
        conf = dice(3) ? any_conf() : model.conf;
        model_configure(&conf);
        ngx_http_concert_breaker_configure(breaker, &conf, now);
        return;
    }

    if (dice(2)) {
        any_acquire();

    } else {
        any_result();
    }
}


static void
assert_rate(float rate, const model_sum_t *sum, int n)
{
    float  expected;

    expected = model_known(sum) ? n * 100.0 / sum->buffered : -1;
    assert_true(rate > expected - 0.001 && rate < expected + 0.001);
}


/* of all, or of a window */

static void
assert_counts(const model_sum_t *sum, uint64_t successful, uint64_t failed,
    uint64_t slow_successful, uint64_t slow_failed)
{
    assert_int_equal(successful, sum->buffered - sum->failed);
    assert_int_equal(failed, sum->failed);
    assert_int_equal(slow_successful, sum->slow - sum->slow_failed);
    assert_int_equal(slow_failed, sum->slow_failed);
}


static void
assert_as_the_model(snapshot_t *s)
{
    int          i, permits;
    int64_t      retry;
    model_sum_t  sum;

    ngx_http_concert_breaker_snapshot(breaker, now, s);
    sum = model_sum();
    permits = 0;

    for (i = 0; i < model.npermits; i++) {
        permits += model_holds(&model.permits[i]);
    }

    retry = model.since + model.conf.wait_duration_in_open_state - now;
    retry = model.state == OPEN && retry > 0 ? retry : 0;

    assert_int_equal(s->state, model.state);
    assert_int_equal(s->since, model.since);
    assert_int_equal(s->opened, model.opened);
    assert_int_equal(s->retry, retry);
    assert_int_equal(s->buffered, sum.buffered);
    assert_counts(&sum, s->successful, s->failed, s->slow_successful,
                  s->slow_failed);
    assert_rate(s->failure_rate, &sum, sum.failed);
    assert_rate(s->slow_call_rate, &sum, sum.slow);
    assert_int_equal(s->not_permitted, model.refused);
    assert_int_equal(s->permits, permits);

    assert_counts(&model.all, s->all_successful, s->all_failed,
                  s->all_slow_successful, s->all_slow_failed);
    assert_int_equal(s->all_ignored, model.all_ignored);
    assert_int_equal(s->all_not_permitted, model.all_refused);
    assert_int_equal(s->nevents,
                     model.nevents < EVENTS ? model.nevents : EVENTS);
}


static void
assert_event(const event_t *event, const event_t *expected)
{
    assert_int_equal(event->number, expected->number);
    assert_int_equal(event->at, expected->at);
    assert_int_equal(event->from, expected->from);
    assert_int_equal(event->to, expected->to);
    assert_int_equal(event->reason, expected->reason);
}


static void
assert_the_events(const snapshot_t *s)
{
    size_t   i;
    event_t  event;

    for (i = 0; i < s->nevents; i++) {
        assert_event(&s->events[i],
                     &model.events[model.nevents - s->nevents + i]);
        assert_true(ngx_http_concert_breaker_event(breaker, &event));
        assert_event(&event, &s->events[i]);
    }

    assert_false(ngx_http_concert_breaker_event(breaker, &event));
}


static void
begin_history(uint64_t number)
{
    conf_t  conf;

    seed = (number + 1) * 0x9e3779b97f4a7c15ULL;
    now = START + dice(2000);
    nflights = 0;
    memset(&model, 0, sizeof(model));

    conf = any_conf();
    model_configure(&conf);
    fresh(&conf);
}


/* under valgrind as many as HISTORIES says */

static uint64_t
histories(uint64_t n)
{
    const char  *said;

    said = getenv("HISTORIES");

    return said ? strtoull(said, NULL, 10) * n / HISTORIES : n;
}


static void
random_histories_are_as_the_model_has_them(void **state)
{
    int         step;
    uint64_t    i, n, visits[STATES];
    snapshot_t  s;

    n = histories(HISTORIES);
    memset(visits, 0, sizeof(visits));

    for (i = 0; i < n; i++) {
        begin_history(i);

        for (step = 0; step < STEPS; step++) {
            any_step();
            assert_as_the_model(&s);
            visits[s.state]++;
        }

        assert_the_events(&s);
    }

    for (i = 0; i < STATES; i++) {
        assert_true(visits[i] > n / 10);
    }
}


/* by itself */

static void
nonsense_is_told(void **state)
{
    conf_t  conf;

    ngx_http_concert_breaker_defaults(&conf);
    assert_null(ngx_http_concert_breaker_wrong(&conf));

#define assert_wrong(field, value, name)                                     \
    ngx_http_concert_breaker_defaults(&conf);                                \
    conf.field = value;                                                      \
    assert_string_equal(ngx_http_concert_breaker_wrong(&conf), name)

    assert_wrong(failure_rate_threshold, 0, "failure_rate_threshold");
    assert_wrong(failure_rate_threshold, 100.5, "failure_rate_threshold");
    assert_wrong(slow_call_rate_threshold, -1, "slow_call_rate_threshold");
    assert_wrong(slow_call_duration_threshold, 0,
                 "slow_call_duration_threshold");
    assert_wrong(sliding_window_size, 0, "sliding_window_size");
    assert_wrong(sliding_window_size, 1001, "sliding_window_size");
    assert_wrong(minimum_number_of_calls, 0, "minimum_number_of_calls");
    assert_wrong(wait_duration_in_open_state, 0,
                 "wait_duration_in_open_state");
    assert_wrong(permitted_number_of_calls, 0,
                 "permitted_number_of_calls_in_half_open_state");
    assert_wrong(permitted_number_of_calls, 101,
                 "permitted_number_of_calls_in_half_open_state");
    assert_wrong(max_wait_duration_in_half_open_state, -1,
                 "max_wait_duration_in_half_open_state");
    assert_wrong(permit_timeout, -1, "permit_timeout");
}


static void
the_greatest_window_and_all_permits_are_used(void **state)
{
    int           i;
    const conf_t  count = COUNTED(1000, 1000, 100);

    now = START;
    fresh(&count);

    assert_true(take(FAIL, 499) && take(OK, 501));
    assert_true(take(STATE, CLOSED) && take(BUFFERED, 1000));

    for (i = 0; i < 3; i++) {
        assert_true(take(OK, 499) && take(FAIL, 499));
        assert_true(take(BUFFERED, 1000) && take(STATE, CLOSED));
        assert_true(take(OK, 2));
    }

    assert_true(take(FAIL, 500) && take(STATE, OPEN));
    assert_true(take(WAIT, 5000) && take(PASS, 100) && take(REFUSE, 0));
    assert_true(take(FAIL, 49) && take(OK, 51) && take(STATE, CLOSED));
}


static void
more_calls_in_a_second_than_it_counts_keep_their_rate(void **state)
{
    const conf_t  timed = TIMED;

    now = START;
    fresh(&timed);

    assert_true(take(OK, 70000) && take(FAIL, 30000));
    assert_true(take(BUFFERED, 95535) && take(STATE, CLOSED));
    assert_true(take(FAIL, 40000) && take(STATE, OPEN));
}


/* as when the clock of one worker is behind, or is put back */

static void
a_clock_that_goes_back_does_no_harm(void **state)
{
    const conf_t  timed = TIMED;

    now = START;
    fresh(&timed);

    assert_true(take(FAIL, 2));
    now -= 1000;
    assert_true(take(FAIL, 1) && take(BUFFERED, 3));
    now += 1000;
    assert_true(take(BUFFERED, 3) && take(FAIL, 2) && take(STATE, OPEN));

    now -= 40000;
    assert_true(take(REFUSE, 45000) && take(STATE, OPEN));
    assert_true(take(BUFFERED, 0) && take(OK, 1) && take(BUFFERED, 1));
    now += 45000;
    assert_true(take(PASS, 4) && take(STATE, HALF_OPEN));

    now -= 100000;
    assert_true(take(REFUSE, 0) && take(OK, 4) && take(STATE, CLOSED));
}


static void
events_are_given_once_and_the_oldest_are_lost(void **state)
{
    int           i;
    event_t       event;
    snapshot_t    s;
    const conf_t  timed = TIMED;

    now = START;
    fresh(&timed);
    assert_true(ngx_http_concert_breaker_event(breaker, &event));
    assert_int_equal(event.number, 1);
    assert_int_equal(event.reason, NGX_HTTP_CONCERT_BREAKER_CONFIGURED);
    assert_false(ngx_http_concert_breaker_event(breaker, &event));

    for (i = 0; i < 100; i++) {
        now++;
        assert_true(take(SET, i % 2 ? CLOSED : OPEN));
    }

    ngx_http_concert_breaker_snapshot(breaker, now, &s);
    assert_int_equal(s.nevents, EVENTS);

    for (i = 0; i < EVENTS; i++) {
        assert_true(ngx_http_concert_breaker_event(breaker, &event));
        assert_event(&event, &s.events[i]);
        assert_int_equal(event.number, 101 - EVENTS + 1 + i);
        assert_int_equal(event.at, START + event.number - 1);
        assert_int_equal(event.to, event.number % 2 ? CLOSED : OPEN);
        assert_int_equal(event.from, event.number % 2 ? OPEN : CLOSED);
    }

    assert_false(ngx_http_concert_breaker_event(breaker, &event));
}


static void
another_configuration_is_of_use_at_once(void **state)
{
    conf_t  conf = COUNTED(10, 4, 2);

    now = START;
    fresh(&conf);
    assert_true(take(FAIL, 3));

    ngx_http_concert_breaker_configure(breaker, &conf, now);
    assert_true(take(BUFFERED, 3) && take(FAIL, 1) && take(STATE, OPEN));
    assert_true(take(WAIT, 1000) && take(REFUSE, 4000));

    conf.wait_duration_in_open_state = 2000;
    ngx_http_concert_breaker_configure(breaker, &conf, now);
    assert_true(take(REFUSE, 1000) && take(WAIT, 1000) && take(PASS, 2));

    conf.permitted_number_of_calls = 5;
    ngx_http_concert_breaker_configure(breaker, &conf, now);
    assert_true(take(STATE, HALF_OPEN) && take(PASS, 5) && take(REFUSE, 0));
}


/*
 * Writers that stop.  What is not in force is garbage then: a killed writer
 * may have been about to write there.
 */

static void
scribble(void)
{
    ngx_http_concert_breaker_period_t  *next;

    next = &breaker->periods[(breaker->number + 1) % PERIODS];
    memset(next, 0xa5, sizeof(*next));
    memset(&breaker->confs[!ngx_http_concert_breaker_now(breaker)->conf],
           0x5a, sizeof(conf_t));
}


/* how many probes it would let in, on a copy */

static int
free_permits(void)
{
    int               n;
    int64_t           retry;
    permit_t          permit;
    static breaker_t  copy;

    copy = *breaker;

    for (n = 0; ngx_http_concert_breaker_acquire(&copy, now, WORKER, &permit,
                                                 &retry); n++)
    {
        assert_true(n <= NGX_HTTP_CONCERT_BREAKER_PERMITTED);
    }

    return n;
}


static int
near(uint64_t n, uint64_t before)
{
    return n == before || n == before + 1;
}


/* a call is counted or not, and nothing else is another than before */

static void
assert_one_step(const snapshot_t *before, const snapshot_t *after)
{
    snapshot_t  s;

    ngx_http_concert_breaker_snapshot(breaker, now, &s);

    assert_true(s.state == before->state || s.state == after->state
                || (s.state == OPEN && before->state == HALF_OPEN));
    assert_true(near(s.all_successful, before->all_successful));
    assert_true(near(s.all_failed, before->all_failed));
    assert_true(near(s.all_ignored, before->all_ignored));
    assert_true(near(s.all_not_permitted, before->all_not_permitted));
    assert_true(s.nevents >= before->nevents
                && s.nevents <= after->nevents);

    if (s.events[s.nevents - 1].number
        == before->events[before->nevents - 1].number)
    {
        assert_true(near(s.buffered, before->buffered));
        assert_between(s.failed + 1, before->failed, before->failed + 2);
        assert_between(s.slow_failed + 1, before->slow_failed,
                       before->slow_failed + 2);
    }
}


/* once the gateway is well, and all have told or are dead, it closes */

static void
assert_it_recovers(void)
{
    int       i;
    int64_t   retry;
    permit_t  permit;

    if (seen(STATE) >= DISABLED) {
        assert_int_equal(ngx_http_concert_breaker_set(breaker, CLOSED, now),
                         0);
    }

    for (i = 0; i < nflights; i++) {
        result(&flights[i].permit, SUCCESS, 0);
    }

    for (i = 1; i <= 3; i++) {
        ngx_http_concert_breaker_release(breaker, i);
    }

    for (i = 0; i < 200; i++) {
        if (acquire(&permit, &retry)) {
            result(&permit, SUCCESS, 0);

        } else {
            assert_int_equal(seen(STATE), OPEN);
            now += retry;
        }
    }

    assert_int_equal(seen(STATE), CLOSED);
}


/* a step that is the same whenever it is taken; all its workers die after it */

typedef struct {
    int        what;
    int        state;
    int64_t    duration;
    outcome_t  outcome;
    permit_t   permit;
    conf_t     conf;
} act_t;


static act_t
any_act(void)
{
    act_t  act;

    memset(&act, 0, sizeof(act_t));
    act.what = dice(10);
    act.state = dice(STATES);
    act.duration = dice(150);
    act.outcome = dice(8) ? dice(2) : IGNORED;
    act.conf = any_conf();

    if (nflights) {
        act.permit = flights[--nflights].permit;
    }

    return act;
}


static void
perform(const act_t *act)
{
    int64_t   retry;
    permit_t  permit;

    switch (act->what) {
    case 0:
        ngx_http_concert_breaker_tick(breaker, now);
        return;

    case 1:
        (void) ngx_http_concert_breaker_set(breaker, act->state, now);
        return;

    case 2:
        ngx_http_concert_breaker_configure(breaker, &act->conf, now);
        return;

    case 3:
    case 4:
    case 5:
        (void) acquire(&permit, &retry);
        return;

    default:
        ngx_http_concert_breaker_result(breaker, &act->permit, now,
                                        act->duration, act->outcome);
    }
}


/* takes the step up to its nth store; returns 0 if it has less */

static int
perform_until(const act_t *act, unsigned n)
{
    if (setjmp(stopped)) {
        return 1;
    }

    stores_left = n;
    perform(act);
    stores_left = 0;

    return 0;
}


static void
forget_the_dead(const act_t *act)
{
    scribble();
    ngx_http_concert_breaker_release(breaker, WORKER);

    if (act->permit.worker) {
        ngx_http_concert_breaker_release(breaker, act->permit.worker);
    }
}


/* returns how many stores the step has */

static unsigned
stop_at_each_store(const act_t *act)
{
    int               permits;
    int64_t           then;
    unsigned          n;
    uint64_t          window;
    snapshot_t        first, last;
    static breaker_t  before;

    before = *breaker;
    then = now;
    ngx_http_concert_breaker_snapshot(breaker, now, &first);
    perform(act);
    ngx_http_concert_breaker_snapshot(breaker, now, &last);

    *breaker = before;
    forget_the_dead(act);
    window = ngx_http_concert_breaker_now(breaker)->window;
    permits = first.state == HALF_OPEN ? free_permits() : 0;

    for (n = 1; ; n++) {
        *breaker = before;
        now = then;

        if (!perform_until(act, n)) {
            return n - 1;
        }

        forget_the_dead(act);
        assert_one_step(&first, &last);

        /* where the rate is known, the next call ends the half-open state */

        if (seen(STATE) == HALF_OPEN && seen(RATE) < 0
            && ngx_http_concert_breaker_now(breaker)->window == window)
        {
            assert_between(free_permits() + 1, permits, permits + 1);
        }

        assert_it_recovers();
    }
}


static void
a_writer_may_stop_before_any_store(void **state)
{
    int       i, j, steps;
    act_t     act;
    uint64_t  n, stores;

    n = histories(TORN);
    stores = 0;

    for (n += HISTORIES, i = HISTORIES; (uint64_t) i < n; i++) {
        begin_history(i);
        steps = dice(STEPS);

        for (j = 0; j < steps; j++) {
            any_step();
        }

        any_time();

        /* the calls of the worker that will die are lost with it */

        act = any_act();

        for (j = nflights; j-- > 0; ) {
            if (flights[j].worker == act.permit.worker) {
                flights[j] = flights[--nflights];
            }
        }

        stores += stop_at_each_store(&act);
    }

    assert_true(stores > n - HISTORIES);
}


/* and where no store is: by SIGKILL */

static void
write_for_ever(void)
{
    act_t     act;
    int64_t   retry;
    uint64_t  worker;

    worker = getpid();

    for ( ;; ) {
        now += dice(300);

        if (nflights < STEPS && dice(2)) {
            nflights += ngx_http_concert_breaker_acquire(breaker, now, worker,
                                                 &flights[nflights].permit,
                                                 &retry);
            continue;
        }

        act = any_act();
        act.what = (act.permit.worker || dice(9)) ? 9 : 0;
        perform(&act);
    }
}


static void
let_it_write(unsigned i)
{
    struct timespec  pause;

    pause.tv_sec = 0;
    pause.tv_nsec = 1000000 + (long) i * 10007 % 1000000;

    do {
        (void) nanosleep(&pause, NULL);
    } while (__atomic_load_n(&breaker->calls[0], __ATOMIC_RELAXED)
             + __atomic_load_n(&breaker->not_permitted, __ATOMIC_RELAXED)
             < 20);
}


static void
a_killed_worker_leaves_a_breaker_that_works(void **state)
{
    int       i;
    pid_t     pid;
    uint64_t  visits;

    visits = 0;

    for (i = 0; i < KILLS; i++) {
        begin_history(2 * HISTORIES + i);

        pid = fork();

        if (pid == 0) {
            write_for_ever();
        }

        let_it_write(i);
        (void) kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);

        visits += breaker->number;
        now = ngx_http_concert_breaker_now(breaker)->at + 1000;
        ngx_http_concert_breaker_release(breaker, pid);
        assert_int_equal(ngx_http_concert_breaker_workers(breaker, now,
                 (uint64_t[NGX_HTTP_CONCERT_BREAKER_PERMITTED]) { 0 }), 0);
        assert_it_recovers();
    }

    assert_true(visits > KILLS + KILLS / 2);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(it_does_as_resilience4j),
        cmocka_unit_test(nonsense_is_told),
        cmocka_unit_test(the_greatest_window_and_all_permits_are_used),
        cmocka_unit_test(more_calls_in_a_second_than_it_counts_keep_their_rate),
        cmocka_unit_test(a_clock_that_goes_back_does_no_harm),
        cmocka_unit_test(events_are_given_once_and_the_oldest_are_lost),
        cmocka_unit_test(another_configuration_is_of_use_at_once),
        cmocka_unit_test(random_histories_are_as_the_model_has_them),
        cmocka_unit_test(a_writer_may_stop_before_any_store),
        cmocka_unit_test(a_killed_worker_leaves_a_breaker_that_works)
    };

    breaker = mmap(NULL, sizeof(breaker_t), PROT_READ|PROT_WRITE,
                   MAP_ANON|MAP_SHARED, -1, 0);

    if (breaker == MAP_FAILED) {
        return 1;
    }

    return cmocka_run_group_tests(tests, NULL, NULL);
}
