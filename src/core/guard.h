
/*
 * The circuit breaker in front of the payment gateway, as the steps of a
 * payment meet it: shared/breaker.c under the zone's lock, which the master
 * breaks when its holder dies.  Event loop.
 */


#ifndef NGX_HTTP_CONCERT_GUARD_H_INCLUDED
#define NGX_HTTP_CONCERT_GUARD_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>

#include "shared/breaker.h"


/* in a worker: what is configured */
void ngx_http_concert_guard_init_worker(void);

/*
 * NGX_OK: the gateway may be asked, and ngx_http_concert_guard_leave() follows.
 * NGX_DECLINED: not for so many seconds; 0: nobody knows.
 */
ngx_int_t ngx_http_concert_guard_enter(
    ngx_http_concert_breaker_permit_t *permit, ngx_uint_t *retry);
void ngx_http_concert_guard_leave(
    const ngx_http_concert_breaker_permit_t *permit, ngx_msec_t duration,
    ngx_http_concert_breaker_outcome_e outcome);

/* whether a question would be refused now; changes nothing */
ngx_uint_t ngx_http_concert_guard_shut(void);

/* what is due without a call; permits of dead workers are given back */
void ngx_http_concert_guard_tick(void);

/* the operator's word: NGX_OK, or NGX_DECLINED where there is no such way */
ngx_int_t ngx_http_concert_guard_set(ngx_http_concert_breaker_state_e state);

void ngx_http_concert_guard_snapshot(
    ngx_http_concert_breaker_snapshot_t *snapshot);


#endif /* NGX_HTTP_CONCERT_GUARD_H_INCLUDED */
