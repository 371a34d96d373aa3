
/*
 * A circuit breaker with the semantics of Resilience4j 2's CircuitBreaker, in
 * shared memory: one for all workers.  Knows nothing of nginx: memory and time
 * are passed in, so that it is tested alone.
 *
 * The caller holds a lock that the master breaks when its holder dies (the slab
 * mutex of the zone) around every function here but those of configurations
 * and names.  What a killed holder left half-written is never seen, or is made
 * good by the next call: a state begins with a single store, sums are always
 * made anew from the slots of the window, and a permit that was taken and not
 * returned is given back by breaker_release(), or by its age.
 *
 * Times are ms, not negative, of any clock that all workers share; of one that
 * goes back a state lasts as much longer, and a call is counted all the same.
 */


#ifndef NGX_HTTP_CONCERT_BREAKER_H_INCLUDED
#define NGX_HTTP_CONCERT_BREAKER_H_INCLUDED


#include <stddef.h>
#include <stdint.h>


#define NGX_HTTP_CONCERT_BREAKER_WINDOW     1000   /* calls or seconds */
#define NGX_HTTP_CONCERT_BREAKER_PERMITTED  100
#define NGX_HTTP_CONCERT_BREAKER_EVENTS     64


typedef enum {
    NGX_HTTP_CONCERT_BREAKER_CLOSED = 0,
    NGX_HTTP_CONCERT_BREAKER_OPEN,
    NGX_HTTP_CONCERT_BREAKER_HALF_OPEN,
    NGX_HTTP_CONCERT_BREAKER_DISABLED,
    NGX_HTTP_CONCERT_BREAKER_FORCED_OPEN,
    NGX_HTTP_CONCERT_BREAKER_METRICS_ONLY,
    NGX_HTTP_CONCERT_BREAKER_STATES
} ngx_http_concert_breaker_state_e;


/* why a state began */

typedef enum {
    NGX_HTTP_CONCERT_BREAKER_NONE = 0,
    NGX_HTTP_CONCERT_BREAKER_CONFIGURED,
    NGX_HTTP_CONCERT_BREAKER_OPERATOR,
    NGX_HTTP_CONCERT_BREAKER_FAILURE_RATE,
    NGX_HTTP_CONCERT_BREAKER_SLOW_CALL_RATE,
    NGX_HTTP_CONCERT_BREAKER_BOTH_RATES,
    NGX_HTTP_CONCERT_BREAKER_WAITED,           /* and a call came */
    NGX_HTTP_CONCERT_BREAKER_AUTOMATIC,        /* waited, and no call came */
    NGX_HTTP_CONCERT_BREAKER_RECOVERED,
    NGX_HTTP_CONCERT_BREAKER_HALF_OPEN_ENDED,  /* max_wait */
    NGX_HTTP_CONCERT_BREAKER_REASONS
} ngx_http_concert_breaker_reason_e;


typedef enum {
    NGX_HTTP_CONCERT_BREAKER_COUNT = 0,
    NGX_HTTP_CONCERT_BREAKER_TIME
} ngx_http_concert_breaker_type_e;


typedef enum {
    NGX_HTTP_CONCERT_BREAKER_SUCCESS = 0,
    NGX_HTTP_CONCERT_BREAKER_FAILURE,
    NGX_HTTP_CONCERT_BREAKER_IGNORED
} ngx_http_concert_breaker_outcome_e;


/*
 * Named after Resilience4j's properties; rates in percent, times in ms.  The
 * last one is ours: how old a permit of the half-open state can be.  Its call
 * counts then as lost and another is let in, so it is longer than a call takes
 * at most.  0: as old as it likes.
 */

typedef struct {
    float     failure_rate_threshold;
    float     slow_call_rate_threshold;
    uint32_t  sliding_window_type;
    uint32_t  automatic_transition;
    int64_t   slow_call_duration_threshold;
    int64_t   sliding_window_size;
    int64_t   minimum_number_of_calls;
    int64_t   wait_duration_in_open_state;
    int64_t   permitted_number_of_calls;
    int64_t   max_wait_duration_in_half_open_state;
    int64_t   permit_timeout;
} ngx_http_concert_breaker_conf_t;


/*
 * The time since the breaker changed its mind, or was told to.  Its window is
 * that of the state before when it opens, and a new one in all other states.
 */

typedef struct {
    uint32_t  state;
    uint32_t  from;
    uint32_t  reason;
    uint32_t  conf;             /* which of the two */
    int64_t   at;
    int64_t   since;            /* before "at" when it was configured again */
    int64_t   opened;
    uint64_t  window;
    uint64_t  not_permitted;    /* of all, before this window */
    int64_t   minimum;
    uint32_t  type;
    uint32_t  size;
} ngx_http_concert_breaker_period_t;


/* a call, or the calls of a second */

typedef struct {
    uint64_t  of;               /* the window, 32 bits; the second */
    uint64_t  counts;           /* 16 bits of each kind */
} ngx_http_concert_breaker_slot_t;


/* what lets one call through; of no window but in the half-open state */

typedef struct {
    uint64_t  window;
    uint64_t  worker;           /* in the breaker, 0: its call has ended */
    int64_t   at;
    uint64_t  index;
} ngx_http_concert_breaker_permit_t;


/* a call is of one of four kinds: failed or not, slow or not */
#define NGX_HTTP_CONCERT_BREAKER_FAILED  1
#define NGX_HTTP_CONCERT_BREAKER_SLOW    2
#define NGX_HTTP_CONCERT_BREAKER_KINDS   4


/* one more period than is shown: the next one is written over the oldest */
#define NGX_HTTP_CONCERT_BREAKER_PERIODS  (NGX_HTTP_CONCERT_BREAKER_EVENTS + 1)

typedef struct {
    uint64_t                           number;     /* of the last period */
    uint64_t                           told;       /* of the last event */
    uint64_t                           calls[NGX_HTTP_CONCERT_BREAKER_KINDS];
    uint64_t                           ignored;
    uint64_t                           not_permitted;
    uint64_t                           head;
    ngx_http_concert_breaker_conf_t    confs[2];
    ngx_http_concert_breaker_period_t
                             periods[NGX_HTTP_CONCERT_BREAKER_PERIODS];
    ngx_http_concert_breaker_permit_t
                             permits[NGX_HTTP_CONCERT_BREAKER_PERMITTED];
    ngx_http_concert_breaker_slot_t
                             slots[NGX_HTTP_CONCERT_BREAKER_WINDOW];
} ngx_http_concert_breaker_t;


typedef struct {
    uint64_t  number;           /* from 1 on */
    int64_t   at;
    uint32_t  from;             /* the same state: its metrics began anew */
    uint32_t  to;
    uint32_t  reason;
} ngx_http_concert_breaker_event_t;


/*
 * As in Resilience4j slow calls are among the successful and the failed ones.
 * The first part is of the window, which disabled and forced_open do not have;
 * what those two saw is not among the totals either, but refused calls are.
 */

typedef struct {
    uint32_t                          state;
    int64_t                           since;
    int64_t                           opened;      /* 0: never */
    int64_t                           retry;       /* of an open one, ms */
    float                             failure_rate;      /* -1: not known */
    float                             slow_call_rate;
    uint64_t                          buffered;
    uint64_t                          successful;
    uint64_t                          failed;
    uint64_t                          slow_successful;
    uint64_t                          slow_failed;
    uint64_t                          not_permitted;
    uint64_t                          permits;     /* calls that now probe */

    uint64_t                          all_successful;
    uint64_t                          all_failed;
    uint64_t                          all_slow_successful;
    uint64_t                          all_slow_failed;
    uint64_t                          all_ignored;
    uint64_t                          all_not_permitted;

    size_t                            nevents;     /* the oldest first */
    ngx_http_concert_breaker_event_t  events[NGX_HTTP_CONCERT_BREAKER_EVENTS];
} ngx_http_concert_breaker_snapshot_t;


/* "closed", "failure_rate": as in metrics and in events */
extern const char *const
    ngx_http_concert_breaker_states[NGX_HTTP_CONCERT_BREAKER_STATES];
extern const char *const
    ngx_http_concert_breaker_reasons[NGX_HTTP_CONCERT_BREAKER_REASONS];


/* Resilience4j's defaults, and permits of two minutes */
void ngx_http_concert_breaker_defaults(ngx_http_concert_breaker_conf_t *conf);

/* NULL, or the property that is out of its limits */
const char *ngx_http_concert_breaker_wrong(
    const ngx_http_concert_breaker_conf_t *conf);

/*
 * First of all, of memory that is all zero, and by every worker that starts:
 * when conf is another the state stays, and what is left of its time is of the
 * new one; its metrics and permits begin anew.
 */
void ngx_http_concert_breaker_configure(ngx_http_concert_breaker_t *breaker,
    const ngx_http_concert_breaker_conf_t *conf, int64_t now);

/*
 * Whether a call may be made now; each that may is followed by a
 * breaker_result() of its permit.  An open breaker becomes half-open here when
 * it has waited.  worker: its process id, for breaker_release(); never 0.  If
 * it is not permitted, retry is how many ms are left to wait; 0: nobody knows.
 */
int ngx_http_concert_breaker_acquire(ngx_http_concert_breaker_t *breaker,
    int64_t now, uint64_t worker, ngx_http_concert_breaker_permit_t *permit,
    int64_t *retry);

/*
 * How a call went, in ms.  It counts in the state that is now, whatever the
 * state it began in, and one that came too late for its permit counts, too.
 * What was ignored counts for nothing: its permit is another call's.
 */
void ngx_http_concert_breaker_result(ngx_http_concert_breaker_t *breaker,
    const ngx_http_concert_breaker_permit_t *permit, int64_t now,
    int64_t duration, ngx_http_concert_breaker_outcome_e outcome);

/*
 * Does what is due without a call: now and then, by any worker.  It is also
 * done, but for automatic_transition, by the next call.
 */
void ngx_http_concert_breaker_tick(ngx_http_concert_breaker_t *breaker,
    int64_t now);

/*
 * The operator's word; 0, or -1: Resilience4j has no such transition (from
 * closed to half-open, from metrics_only to open or half-open).  To the same
 * state: its metrics begin anew, but for those of the open one, whose wait
 * does.
 */
int ngx_http_concert_breaker_set(ngx_http_concert_breaker_t *breaker,
    ngx_http_concert_breaker_state_e state, int64_t now);

/* whose the permits are that are held, to see whether they live */
size_t ngx_http_concert_breaker_workers(ngx_http_concert_breaker_t *breaker,
    int64_t now, uint64_t workers[NGX_HTTP_CONCERT_BREAKER_PERMITTED]);

/* gives back the permits of a worker that died */
void ngx_http_concert_breaker_release(ngx_http_concert_breaker_t *breaker,
    uint64_t worker);

/*
 * 1 with the oldest event that was not given yet: to whoever asks, once, for
 * the log.  Of what nobody asked for, the last NGX_HTTP_CONCERT_BREAKER_EVENTS.
 */
int ngx_http_concert_breaker_event(ngx_http_concert_breaker_t *breaker,
    ngx_http_concert_breaker_event_t *event);

/* changes nothing */
void ngx_http_concert_breaker_snapshot(ngx_http_concert_breaker_t *breaker,
    int64_t now, ngx_http_concert_breaker_snapshot_t *snapshot);


#endif /* NGX_HTTP_CONCERT_BREAKER_H_INCLUDED */
