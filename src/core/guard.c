
#include "core/guard.h"
#include "core/call.h"


static ngx_http_concert_breaker_t *ngx_http_concert_guard_lock(
    ngx_http_concert_guard_t *guard);
static void ngx_http_concert_guard_unlock(ngx_http_concert_guard_t *guard);
static void ngx_http_concert_guard_tell(
    const ngx_http_concert_guard_t *guard,
    const ngx_http_concert_breaker_event_t *event);


static ngx_http_concert_breaker_t *
ngx_http_concert_guard_lock(ngx_http_concert_guard_t *guard)
{
    ngx_slab_pool_t  *shpool;

    shpool = (ngx_slab_pool_t *) guard->shm_zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    return guard->breaker;
}


/* what has changed is logged once, by whoever has seen it first */

static void
ngx_http_concert_guard_unlock(ngx_http_concert_guard_t *guard)
{
    ngx_uint_t                         told;
    ngx_slab_pool_t                   *shpool;
    ngx_http_concert_breaker_event_t   event;

    shpool = (ngx_slab_pool_t *) guard->shm_zone->shm.addr;

    told = ngx_http_concert_breaker_event(guard->breaker, &event);

    ngx_shmtx_unlock(&shpool->mutex);

    while (told) {
        ngx_http_concert_guard_tell(guard, &event);

        ngx_shmtx_lock(&shpool->mutex);
        told = ngx_http_concert_breaker_event(guard->breaker, &event);
        ngx_shmtx_unlock(&shpool->mutex);
    }
}


static void
ngx_http_concert_guard_tell(const ngx_http_concert_guard_t *guard,
    const ngx_http_concert_breaker_event_t *event)
{
    ngx_uint_t  level;

    level = (event->reason == NGX_HTTP_CONCERT_BREAKER_CONFIGURED)
            ? NGX_LOG_NOTICE : NGX_LOG_WARN;

    ngx_log_error(level, ngx_cycle->log, 0,
                  "concert: the breaker of the payment gateway%V is %s, was "
                  "%s: %s", &guard->of,
                  ngx_http_concert_breaker_states[event->to],
                  ngx_http_concert_breaker_states[event->from],
                  ngx_http_concert_breaker_reasons[event->reason]);
}


void
ngx_http_concert_guard_init_worker(ngx_http_concert_guard_t *guard)
{
    ngx_http_concert_breaker_configure(ngx_http_concert_guard_lock(guard),
                                       &guard->conf,
                                       ngx_http_concert_now());
    ngx_http_concert_guard_unlock(guard);
}


ngx_int_t
ngx_http_concert_guard_enter(ngx_http_concert_guard_t *guard,
    ngx_http_concert_breaker_permit_t *permit, ngx_uint_t *retry)
{
    int      permitted;
    int64_t  ms;

    ms = 0;
    permitted = ngx_http_concert_breaker_acquire(
                                           ngx_http_concert_guard_lock(guard),
                                           ngx_http_concert_now(), ngx_pid,
                                           permit, &ms);
    ngx_http_concert_guard_unlock(guard);

    *retry = (ms + 999) / 1000;

    return permitted ? NGX_OK : NGX_DECLINED;
}


void
ngx_http_concert_guard_leave(ngx_http_concert_guard_t *guard,
    const ngx_http_concert_breaker_permit_t *permit, ngx_msec_t duration,
    ngx_http_concert_breaker_outcome_e outcome)
{
    ngx_http_concert_breaker_result(ngx_http_concert_guard_lock(guard), permit,
                                    ngx_http_concert_now(), duration, outcome);
    ngx_http_concert_guard_unlock(guard);
}


ngx_uint_t
ngx_http_concert_guard_shut(ngx_http_concert_guard_t *guard)
{
    ngx_http_concert_breaker_snapshot_t  snapshot;

    ngx_http_concert_guard_snapshot(guard, &snapshot);

    return snapshot.state == NGX_HTTP_CONCERT_BREAKER_FORCED_OPEN
           || (snapshot.state == NGX_HTTP_CONCERT_BREAKER_OPEN
               && snapshot.retry > 0);
}


void
ngx_http_concert_guard_tick(ngx_http_concert_guard_t *guard)
{
    size_t                       i, n;
    uint64_t                     workers[NGX_HTTP_CONCERT_BREAKER_PERMITTED];
    ngx_http_concert_breaker_t  *breaker;

    breaker = ngx_http_concert_guard_lock(guard);

    ngx_http_concert_breaker_tick(breaker, ngx_http_concert_now());
    n = ngx_http_concert_breaker_workers(breaker, ngx_http_concert_now(),
                                         workers);

    for (i = 0; i < n; i++) {
        if (kill((ngx_pid_t) workers[i], 0) == -1 && ngx_errno == NGX_ESRCH) {
            ngx_http_concert_breaker_release(breaker, workers[i]);
        }
    }

    ngx_http_concert_guard_unlock(guard);
}


ngx_int_t
ngx_http_concert_guard_set(ngx_http_concert_guard_t *guard,
    ngx_http_concert_breaker_state_e state)
{
    int  rc;

    rc = ngx_http_concert_breaker_set(ngx_http_concert_guard_lock(guard), state,
                                      ngx_http_concert_now());
    ngx_http_concert_guard_unlock(guard);

    return rc == 0 ? NGX_OK : NGX_DECLINED;
}


void
ngx_http_concert_guard_snapshot(ngx_http_concert_guard_t *guard,
    ngx_http_concert_breaker_snapshot_t *snapshot)
{
    ngx_http_concert_breaker_snapshot(ngx_http_concert_guard_lock(guard),
                                      ngx_http_concert_now(), snapshot);
    ngx_http_concert_guard_unlock(guard);
}
