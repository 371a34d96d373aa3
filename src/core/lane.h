
/*
 * Lanes carry calls from the event loop to the stores.  A lane is one
 * connection, one thread task and a batch; a group of lanes has one queue,
 * which only the event loop touches.  At the end of a turn of the loop an idle
 * lane takes the calls that wait, so load makes the batches.
 */


#ifndef NGX_HTTP_CONCERT_LANE_H_INCLUDED
#define NGX_HTTP_CONCERT_LANE_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_thread_pool.h>

#include "core/call.h"
#include "shared/zone.h"


#define NGX_HTTP_CONCERT_MAX_BATCH  128
#define NGX_HTTP_CONCERT_MAX_LANES  64     /* of a group */


typedef struct ngx_http_concert_group_s  ngx_http_concert_group_t;
typedef struct ngx_http_concert_lane_s   ngx_http_concert_lane_t;


/* a store, as a lane sees it; every function runs on the lane's thread */

typedef struct {
    /*
     * Runs lane->calls and sets the outcome of each, by lane->deadline (the
     * gateway: in the group's timeout).  Sets lane->away when the store cannot
     * be reached.  With no calls: only sees to it that there is a connection
     * that answers.
     */
    void                           (*run)(ngx_http_concert_lane_t *lane);

    /* closes the connection; also called when the worker exits */
    void                           (*close)(ngx_http_concert_lane_t *lane);

    /* whether lanes have a connection before a call needs it */
    unsigned                         connects;
} ngx_http_concert_store_t;


struct ngx_http_concert_lane_s {
    ngx_http_concert_group_t        *group;
    ngx_thread_task_t               *task;
    ngx_event_t                      watch;      /* loop: at deadlines */
    ngx_msec_t                       started;    /* loop */
    unsigned                         busy:1;     /* loop */

    ngx_http_concert_call_t         *calls[NGX_HTTP_CONCERT_MAX_BATCH];
    ngx_uint_t                       ncalls;
    ngx_msec_t                       deadline;   /* of the batch */
    void                            *connection; /* the store's own */
    unsigned                         away;
};


struct ngx_http_concert_group_s {
    ngx_str_t                        name;       /* for the log */
    ngx_str_t                        sale;       /* the first that has it */
    ngx_uint_t                       kind;       /* NGX_HTTP_CONCERT_READ.. */
    ngx_str_t                        address;    /* of the store */
    ngx_uint_t                       number;     /* of those of an address */
    ngx_str_t                        line;       /* as configured */
    const ngx_http_concert_store_t  *store;
    void                            *conf;       /* the store's, read only */
    ngx_uint_t                       nlanes;
    ngx_uint_t                       batch;      /* weight */
    ngx_uint_t                       max_queue;
    ngx_msec_t                       timeout;

    /*
     * While a lane is busy, another one takes calls only when so much weight
     * has gathered, or after so many ms: small batches in many lanes cost more
     * than they gain.
     */
    ngx_uint_t                       gather;
    ngx_msec_t                       patience;
    const char                      *away_code;

    ngx_http_concert_lane_t         *lanes;
    ngx_thread_pool_t               *pool;
    ngx_http_concert_part_t         *part;       /* of the zone */
    ngx_http_concert_lane_stats_t   *stats;      /* of this worker */
    ngx_queue_t                      waiting;
    ngx_uint_t                       nwaiting;
    ngx_uint_t                       weight;     /* of those */
    ngx_uint_t                       nbusy;      /* lanes */
    ngx_event_t                      turn;       /* posted */
    ngx_event_t                      gathered;   /* calls waited long enough */
    ngx_event_t                      watch;      /* of waiting calls */
    ngx_event_t                      check;      /* of idle lanes */
    ngx_event_t                      probe;      /* while the store is away */
    unsigned                         down:1;
    unsigned                         told:1;     /* that it is */
};


/* makes the lanes of a group and lets them connect; once in a worker */
ngx_int_t ngx_http_concert_group_init(ngx_http_concert_group_t *group,
    ngx_cycle_t *cycle);

/* closes the connections and forgets the calls; threads no longer run */
void ngx_http_concert_group_exit(ngx_http_concert_group_t *group);

/*
 * Queues a step of a call; call->done() runs when it has ended, at once when
 * the store is away or the queue is full.  Event loop.
 */
void ngx_http_concert_submit(ngx_http_concert_group_t *group,
    ngx_http_concert_call_t *call);

/*
 * Answers the request of a call that is still in its lane at its deadline; the
 * call goes on.  Set by request.c.
 */
extern void (*ngx_http_concert_on_timeout)(ngx_http_concert_call_t *call);


#endif /* NGX_HTTP_CONCERT_LANE_H_INCLUDED */
