
/*
 * What workers share: counters in a slot a worker, summed when they are read,
 * the last known state of queues, a copy of their tickets, pages of catalogs,
 * and breakers.  No I/O; everything may be stale or lost without harm.
 *
 * A zone has a part for each sale, queue, group of lanes, database and breaker,
 * known by what it is of: a reload finds the part again only for the same one.
 * The tickets of all its queues are in one table, and the pages of all its
 * databases: each has as much of it as it needs.
 *
 * What requests of the queue and the catalog need is read and written by atomic
 * operations alone.  The breaker and the counted seats are under the zone's
 * slab mutex, as long as it takes to copy them: who asks waits for who is
 * there, so that a worker that is stopped in it (by a debugger) stops them all.
 * From one that died the master takes it away.
 */


#ifndef NGX_HTTP_CONCERT_ZONE_H_INCLUDED
#define NGX_HTTP_CONCERT_ZONE_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>

#include "shared/breaker.h"
#include "shared/catalog.h"
#include "shared/tickets.h"


#define NGX_HTTP_CONCERT_SLOTS            32
#define NGX_HTTP_CONCERT_MAX_ROUTES       32
#define NGX_HTTP_CONCERT_CLASSES          5     /* 1xx .. 5xx */
#define NGX_HTTP_CONCERT_LATENCY_BUCKETS  13
#define NGX_HTTP_CONCERT_BATCH_BUCKETS    8     /* 1, 2, 4 .. 64, more */
#define NGX_HTTP_CONCERT_HALLS            64    /* schedules that are counted */
#define NGX_HTTP_CONCERT_HALL_TITLE       240   /* bytes */


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


/* the counters of a sale */

typedef struct {
    ngx_http_concert_latency_t     latency[NGX_HTTP_CONCERT_MAX_ROUTES]
                                          [NGX_HTTP_CONCERT_CLASSES];
    ngx_atomic_t                   streams;     /* of events, now */
    ngx_atomic_t                   known_pages; /* of the catalog, sent */
    ngx_atomic_t                   asked_pages; /* and asked for */
} ngx_http_concert_slot_t;


typedef struct {
    ngx_atomic_t                   pid;         /* 0: none */
    ngx_atomic_t                   died;        /* workers, before they ended */
} ngx_http_concert_worker_t;


/*
 * The queue, as scripts' answers and the admit job tell it.  The salt of the
 * tickets changes with the epoch (Redis lost its data), and when it cannot be
 * known whose tokens were ended; 0: nothing is known yet.
 */

typedef struct {
    ngx_atomic_t  salt;
    ngx_atomic_t  epoch;
    ngx_atomic_t  generation;
    ngx_atomic_t  serving;
    ngx_atomic_t  ending;       /* ended tokens that are being forgotten */
    ngx_atomic_t  ended;        /* and that were */
    ngx_atomic_t  pace;         /* let in in 10^9 s */
    ngx_atomic_t  skew;         /* ms that Redis's clock is ahead */
    ngx_atomic_t  window;
    ngx_atomic_t  opens;        /* ms, as Redis has it; 0: it is open */
    ngx_atomic_t  waiting;
    ngx_atomic_t  called;
    ngx_atomic_t  active;
    ngx_atomic_t  capacity;
    ngx_atomic_t  rate;         /* in 1000 s; 0: any */
    ngx_atomic_t  paused;
    ngx_atomic_t  seen;         /* s since the epoch; 0: never */

    /* counted by the admit job */
    ngx_atomic_t  admitted;     /* tickets */
    ngx_atomic_t  missed;       /* let in, and did not come */
    ngx_atomic_t  forgotten;    /* waited, and did not ask */
} ngx_http_concert_queue_state_t;


/*
 * Payments by card that are not settled, in all instances; ages in ms.  Those
 * that wait for a deposit into a virtual account are not among the pending.
 */

typedef struct {
    ngx_atomic_t  pending;
    ngx_atomic_t  pending_age;
    ngx_atomic_t  refunding;
    ngx_atomic_t  refunding_age;
    ngx_atomic_t  deposits;
    ngx_atomic_t  seen;         /* s since the epoch; 0: never */
} ngx_http_concert_cards_state_t;


/* the seats of a schedule, when they were counted */

typedef struct {
    int64_t  schedule_id;
    int64_t  concert_id;
    int64_t  starts;            /* ms since the epoch */
    int64_t  seats;
    int64_t  sold;
    int64_t  held;
    size_t   len;
    u_char   title[NGX_HTTP_CONCERT_HALL_TITLE];
} ngx_http_concert_hall_t;


/*
 * The next schedules, counted while somebody asks for them; all but "asked"
 * under the slab mutex.
 */

typedef struct {
    ngx_atomic_t             asked;    /* s since the epoch; 0: never */
    int64_t                  counted;  /* ms since the epoch; 0: never */
    ngx_uint_t               n;
    ngx_http_concert_hall_t  halls[NGX_HTTP_CONCERT_HALLS];
} ngx_http_concert_halls_t;


/* what the jobs of a database find */

typedef struct {
    ngx_atomic_t                    expired;    /* holds */
    ngx_http_concert_cards_state_t  cards;
    ngx_http_concert_halls_t        halls;
} ngx_http_concert_database_state_t;


/*
 * A part and its slots are as large as those of its kind: one that no
 * configuration has and no worker uses is made another's.
 */

typedef enum {
    NGX_HTTP_CONCERT_PART_SALE = 0,     /* ngx_http_concert_slot_t */
    NGX_HTTP_CONCERT_PART_QUEUE,        /* ngx_http_concert_queue_state_t */
    NGX_HTTP_CONCERT_PART_LANES,        /* ngx_http_concert_lane_stats_t */
    NGX_HTTP_CONCERT_PART_DATABASE,     /* ..._database_state_t */
    NGX_HTTP_CONCERT_PART_BREAKER,      /* ngx_http_concert_breaker_t */
    NGX_HTTP_CONCERT_PARTS
} ngx_http_concert_part_e;


typedef struct ngx_http_concert_part_s  ngx_http_concert_part_t;

struct ngx_http_concert_part_s {
    ngx_http_concert_part_t        *next;
    ngx_http_concert_part_e         kind;
    uint64_t                        key;
    ngx_uint_t                      generation; /* the last that had it */
    ngx_atomic_t                    users;      /* workers */
    void                           *data;
    void                           *slots[NGX_HTTP_CONCERT_SLOTS];
};


/* a reload must find what it expects, or use a zone of another name */
#define NGX_HTTP_CONCERT_ZONE_LAYOUT  8

typedef struct {
    ngx_uint_t                      layout;
    ngx_uint_t                      generation; /* configurations so far */
    ngx_http_concert_worker_t       workers[NGX_HTTP_CONCERT_SLOTS];
    ngx_http_concert_part_t        *parts;
    ngx_http_concert_tickets_t      tickets;
    ngx_http_concert_catalog_t      catalog;
} ngx_http_concert_zone_t;


/* upper bounds of the latency buckets but the last, ms */
extern const ngx_uint_t
    ngx_http_concert_latency_bounds[NGX_HTTP_CONCERT_LATENCY_BUCKETS - 1];


/*
 * For the zone's init callback, in this order: opens the zone, which becomes
 * shm_zone->data; takes parts; shares out what is left.  On a reload the old
 * zone is taken as it is, since old workers still use it.  Start; NGX_ERROR and
 * NULL: the log says what to write.
 */
ngx_int_t ngx_http_concert_zone_open(ngx_shm_zone_t *shm_zone, void *data);
ngx_http_concert_part_t *ngx_http_concert_zone_part(ngx_shm_zone_t *shm_zone,
    ngx_http_concert_part_e kind, uint64_t key, ngx_uint_t workers);
ngx_int_t ngx_http_concert_zone_share(ngx_shm_zone_t *shm_zone);

/* what a part is known by, of texts; the list ends with NULL */
uint64_t ngx_http_concert_zone_key(const ngx_str_t *text, ...);

/* remembers a page, unless another worker remembers one at this moment */
void ngx_http_concert_zone_page(ngx_shm_zone_t *shm_zone,
    const ngx_http_concert_catalog_page_t *page, const char *etag,
    const void *body);

/*
 * A worker writes its pid into its place and takes it out when it ends, so that
 * the next one sees whether it did.  Who enters and who leaves also takes out
 * what its slots say of now, unless they are another worker's by then.
 */
void ngx_http_concert_zone_enter(ngx_http_concert_zone_t *zone,
    ngx_uint_t worker);
void ngx_http_concert_zone_leave(ngx_http_concert_zone_t *zone,
    ngx_uint_t worker);

/*
 * The same for workers that died: after a reload to fewer workers nobody enters
 * their slots.  Before slots are added up.
 */
void ngx_http_concert_zone_bury(ngx_http_concert_zone_t *zone);

/* how many workers died */
uint64_t ngx_http_concert_zone_died(ngx_http_concert_zone_t *zone);

void ngx_http_concert_zone_request(ngx_http_concert_slot_t *slot,
    ngx_uint_t route, ngx_uint_t status, ngx_msec_t ms);

/* adds up the slots of a part, for a reader */
void ngx_http_concert_zone_latency(const ngx_http_concert_part_t *sale,
    ngx_uint_t route, ngx_uint_t class, ngx_http_concert_latency_t *sum);
void ngx_http_concert_zone_lanes(const ngx_http_concert_part_t *lanes,
    ngx_http_concert_lane_stats_t *sum);

/* the same of one counter of a sale, by its offset in a slot */
uint64_t ngx_http_concert_zone_sum(const ngx_http_concert_part_t *sale,
    size_t offset);

/* how many requests are in all buckets */
uint64_t ngx_http_concert_zone_count(
    const ngx_http_concert_latency_t *latency);

/* keeps the schedules that were counted at that time, and copies them */
void ngx_http_concert_zone_halls_keep(ngx_shm_zone_t *shm_zone,
    ngx_http_concert_halls_t *kept, const ngx_http_concert_hall_t *halls,
    ngx_uint_t n, int64_t counted);
void ngx_http_concert_zone_halls(ngx_shm_zone_t *shm_zone,
    const ngx_http_concert_halls_t *kept, ngx_http_concert_halls_t *halls);


#endif /* NGX_HTTP_CONCERT_ZONE_H_INCLUDED */
