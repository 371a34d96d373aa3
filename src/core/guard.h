
/*
 * The circuit breaker in front of the payment gateway, as the steps of a
 * payment meet it: shared/breaker.c under the zone's lock, which the master
 * breaks when its holder dies.  Event loop.
 */


#ifndef NGX_HTTP_CONCERT_GUARD_H_INCLUDED
#define NGX_HTTP_CONCERT_GUARD_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>

#include "shared/zone.h"


/* sales that have a gateway and its breaker together have one of these */

typedef struct {
    ngx_http_concert_breaker_conf_t   conf;
    ngx_str_t                         line;      /* as configured */
    ngx_uint_t                        number;    /* of those of a gateway */
    ngx_str_t                         of;        /* for the log */

    /* in shared memory */
    ngx_shm_zone_t                   *shm_zone;
    ngx_http_concert_breaker_t       *breaker;
} ngx_http_concert_guard_t;


/* start: concert_breaker; one with the defaults, or NULL: no memory */
char *ngx_http_concert_guard_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
ngx_http_concert_guard_t *ngx_http_concert_guard_create(ngx_conf_t *cf);

/* in a worker: what is configured */
void ngx_http_concert_guard_init_worker(ngx_http_concert_guard_t *guard);

/*
 * NGX_OK: the gateway may be asked, and ngx_http_concert_guard_leave() follows.
 * NGX_DECLINED: not for so many seconds; 0: nobody knows.
 */
ngx_int_t ngx_http_concert_guard_enter(ngx_http_concert_guard_t *guard,
    ngx_http_concert_breaker_permit_t *permit, ngx_uint_t *retry);
void ngx_http_concert_guard_leave(ngx_http_concert_guard_t *guard,
    const ngx_http_concert_breaker_permit_t *permit, ngx_msec_t duration,
    ngx_http_concert_breaker_outcome_e outcome);

/* whether a question would be refused now; changes nothing */
ngx_uint_t ngx_http_concert_guard_shut(ngx_http_concert_guard_t *guard);

/* what is due without a call; permits of dead workers are given back */
void ngx_http_concert_guard_tick(ngx_http_concert_guard_t *guard);

/* the operator's word: NGX_OK, or NGX_DECLINED where there is no such way */
ngx_int_t ngx_http_concert_guard_set(ngx_http_concert_guard_t *guard,
    ngx_http_concert_breaker_state_e state);

void ngx_http_concert_guard_snapshot(ngx_http_concert_guard_t *guard,
    ngx_http_concert_breaker_snapshot_t *snapshot);


#endif /* NGX_HTTP_CONCERT_GUARD_H_INCLUDED */
