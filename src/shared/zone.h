
/*
 * What workers share: counters in a slot a worker, summed when they are read,
 * and the last known state of the queue.  Atomic operations only, no lock and
 * no I/O; everything may be stale or lost without harm.
 */


#ifndef NGX_HTTP_CONCERT_ZONE_H_INCLUDED
#define NGX_HTTP_CONCERT_ZONE_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_CONCERT_SLOTS            32
#define NGX_HTTP_CONCERT_MAX_ROUTES       32
#define NGX_HTTP_CONCERT_CLASSES          5     /* 1xx .. 5xx */
#define NGX_HTTP_CONCERT_LATENCY_BUCKETS  13
#define NGX_HTTP_CONCERT_BATCH_BUCKETS    8     /* 1, 2, 4 .. 64, more */
#define NGX_HTTP_CONCERT_ZONE_GROUPS      4


typedef struct {
    ngx_atomic_t  bucket[NGX_HTTP_CONCERT_LATENCY_BUCKETS];
    ngx_atomic_t  sum_ms;
} ngx_http_concert_latency_t;


/*
 * What is now is set, not added to: after a reload the old worker and the new
 * one write to the same slot.
 */

typedef struct {
    ngx_atomic_t  waiting;      /* calls now */
    ngx_atomic_t  busy;         /* lanes now */
    ngx_atomic_t  down;
    ngx_atomic_t  batches;
    ngx_atomic_t  calls;
    ngx_atomic_t  failed;
    ngx_atomic_t  refused;
    ngx_atomic_t  busy_ms;
    ngx_atomic_t  batch_size[NGX_HTTP_CONCERT_BATCH_BUCKETS];
} ngx_http_concert_lane_stats_t;


typedef struct {
    ngx_http_concert_latency_t     latency[NGX_HTTP_CONCERT_MAX_ROUTES]
                                          [NGX_HTTP_CONCERT_CLASSES];
    ngx_http_concert_lane_stats_t  lanes[NGX_HTTP_CONCERT_ZONE_GROUPS];
    ngx_atomic_t                   expired;     /* holds */
    ngx_atomic_t                   admitted;    /* tickets */
} ngx_http_concert_slot_t;


/* the queue, as the admit job last saw it */

typedef struct {
    ngx_atomic_t  epoch;
    ngx_atomic_t  serving;
    ngx_atomic_t  waiting;
    ngx_atomic_t  active;
    ngx_atomic_t  seen;         /* s since the epoch; 0: never */
} ngx_http_concert_queue_state_t;


typedef struct {
    ngx_http_concert_slot_t         slots[NGX_HTTP_CONCERT_SLOTS];
    ngx_http_concert_queue_state_t  queue;
} ngx_http_concert_zone_t;


/* upper bounds of the latency buckets but the last, ms */
extern const ngx_uint_t
    ngx_http_concert_latency_bounds[NGX_HTTP_CONCERT_LATENCY_BUCKETS - 1];


/*
 * The zone's init callback: shm_zone->data becomes the ngx_http_concert_zone_t.
 * On a reload the old one is taken as it is, since old workers still use it.
 */
ngx_int_t ngx_http_concert_zone_init(ngx_shm_zone_t *shm_zone, void *data);

void ngx_http_concert_zone_request(ngx_http_concert_slot_t *slot,
    ngx_uint_t route, ngx_uint_t status, ngx_msec_t ms);

/* adds up the slots, for a reader */
void ngx_http_concert_zone_latency(ngx_http_concert_zone_t *zone,
    ngx_uint_t route, ngx_uint_t class, ngx_http_concert_latency_t *sum);
void ngx_http_concert_zone_lanes(ngx_http_concert_zone_t *zone,
    ngx_uint_t group, ngx_http_concert_lane_stats_t *sum);


#endif /* NGX_HTTP_CONCERT_ZONE_H_INCLUDED */
