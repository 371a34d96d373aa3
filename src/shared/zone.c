
#include "shared/zone.h"
#include "shared/mix.h"


/* of the memory that is left, pages get so much of it */
#define NGX_HTTP_CONCERT_CATALOG_PART  8

/*
 * So much of a zone, and no more than that, stays for parts that a reload adds;
 * tickets get the rest.
 */
#define NGX_HTTP_CONCERT_LATER_PART    16
#define NGX_HTTP_CONCERT_LATER_MAX     (4 * 1024 * 1024)


static ngx_http_concert_part_t *ngx_http_concert_zone_find(
    ngx_http_concert_zone_t *zone, ngx_http_concert_part_e kind, uint64_t key);
static ngx_http_concert_part_t *ngx_http_concert_zone_reuse(
    ngx_http_concert_zone_t *zone, ngx_http_concert_part_e kind);
static ngx_http_concert_part_t *ngx_http_concert_zone_new(
    ngx_slab_pool_t *shpool, ngx_http_concert_zone_t *zone,
    ngx_http_concert_part_e kind);
static ngx_int_t ngx_http_concert_zone_slots(ngx_slab_pool_t *shpool,
    ngx_http_concert_part_t *part, ngx_uint_t workers);
static void ngx_http_concert_zone_small(ngx_shm_zone_t *shm_zone);
static ngx_int_t ngx_http_concert_zone_catalog(ngx_slab_pool_t *shpool,
    ngx_http_concert_zone_t *zone);
static ngx_int_t ngx_http_concert_zone_tickets(ngx_slab_pool_t *shpool,
    ngx_http_concert_zone_t *zone);
static ngx_uint_t ngx_http_concert_zone_found_dead(
    ngx_http_concert_worker_t *worker);
static void ngx_http_concert_zone_still(ngx_http_concert_zone_t *zone,
    ngx_uint_t worker);
static void ngx_http_concert_zone_add(void *sum, const void *part,
    size_t size);


const ngx_uint_t
    ngx_http_concert_latency_bounds[NGX_HTTP_CONCERT_LATENCY_BUCKETS - 1] = {
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000
};


/* bytes of a part, and of its slot of each worker */

static const struct {
    size_t    data;
    size_t    slot;
} ngx_http_concert_part_sizes[NGX_HTTP_CONCERT_PARTS] = {

    [NGX_HTTP_CONCERT_PART_SALE] =
        { 0, sizeof(ngx_http_concert_slot_t) },

    [NGX_HTTP_CONCERT_PART_QUEUE] =
        { sizeof(ngx_http_concert_queue_state_t), 0 },

    [NGX_HTTP_CONCERT_PART_LANES] =
        { 0, sizeof(ngx_http_concert_lane_stats_t) },

    [NGX_HTTP_CONCERT_PART_DATABASE] =
        { sizeof(ngx_http_concert_database_state_t), 0 },

    [NGX_HTTP_CONCERT_PART_BREAKER] =
        { sizeof(ngx_http_concert_breaker_t), 0 }
};


ngx_int_t
ngx_http_concert_zone_open(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_slab_pool_t          *shpool;
    ngx_http_concert_zone_t  *zone;

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (data || shm_zone->shm.exists) {
        zone = data ? data : shpool->data;
        shm_zone->data = zone;

        if (zone->layout != NGX_HTTP_CONCERT_ZONE_LAYOUT) {
            ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                          "concert: zone \"%V\" is of another version of the "
                          "module: give it another name", &shm_zone->shm.name);
            return NGX_ERROR;
        }

        zone->generation++;
        return NGX_OK;
    }

    /* what it says of memory that is short is said better here */

    shpool->log_nomem = 0;

    zone = ngx_slab_calloc(shpool, sizeof(ngx_http_concert_zone_t));

    if (zone == NULL) {
        ngx_http_concert_zone_small(shm_zone);
        return NGX_ERROR;
    }

    zone->layout = NGX_HTTP_CONCERT_ZONE_LAYOUT;
    zone->generation = 1;

    shpool->data = zone;
    shm_zone->data = zone;

    return NGX_OK;
}


ngx_http_concert_part_t *
ngx_http_concert_zone_part(ngx_shm_zone_t *shm_zone,
    ngx_http_concert_part_e kind, uint64_t key, ngx_uint_t workers)
{
    ngx_slab_pool_t          *shpool;
    ngx_http_concert_part_t  *part;
    ngx_http_concert_zone_t  *zone;

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;
    zone = shm_zone->data;

    part = ngx_http_concert_zone_find(zone, kind, key);

    if (part == NULL) {
        part = ngx_http_concert_zone_reuse(zone, kind);
    }

    if (part == NULL) {
        part = ngx_http_concert_zone_new(shpool, zone, kind);
    }

    if (part == NULL
        || ngx_http_concert_zone_slots(shpool, part, workers) != NGX_OK)
    {
        ngx_http_concert_zone_small(shm_zone);
        return NULL;
    }

    part->key = key;
    part->generation = zone->generation;

    return part;
}


static ngx_http_concert_part_t *
ngx_http_concert_zone_find(ngx_http_concert_zone_t *zone,
    ngx_http_concert_part_e kind, uint64_t key)
{
    ngx_http_concert_part_t  *part;

    for (part = zone->parts; part; part = part->next) {
        if (part->kind == kind && part->key == key) {
            break;
        }
    }

    return part;
}


/*
 * One that the last two configurations have not had either: workers of the
 * last one may not have said yet that they use it.
 */

static ngx_http_concert_part_t *
ngx_http_concert_zone_reuse(ngx_http_concert_zone_t *zone,
    ngx_http_concert_part_e kind)
{
    ngx_uint_t                i;
    ngx_http_concert_part_t  *part;

    for (part = zone->parts; part; part = part->next) {
        if (part->kind == kind && part->users == 0
            && part->generation + 2 < zone->generation)
        {
            break;
        }
    }

    if (part == NULL) {
        return NULL;
    }

    ngx_memzero(part->data, ngx_http_concert_part_sizes[kind].data);

    for (i = 0; i < NGX_HTTP_CONCERT_SLOTS; i++) {
        if (part->slots[i]) {
            ngx_memzero(part->slots[i],
                        ngx_http_concert_part_sizes[kind].slot);
        }
    }

    return part;
}


static ngx_http_concert_part_t *
ngx_http_concert_zone_new(ngx_slab_pool_t *shpool,
    ngx_http_concert_zone_t *zone, ngx_http_concert_part_e kind)
{
    ngx_http_concert_part_t  *part;

    part = ngx_slab_calloc(shpool, sizeof(ngx_http_concert_part_t)
                                   + ngx_http_concert_part_sizes[kind].data);
    if (part == NULL) {
        return NULL;
    }

    part->kind = kind;
    part->data = part + 1;
    part->next = zone->parts;

    /* whole before workers that look for the dead find it */

    ngx_memory_barrier();
    zone->parts = part;

    return part;
}


static ngx_int_t
ngx_http_concert_zone_slots(ngx_slab_pool_t *shpool,
    ngx_http_concert_part_t *part, ngx_uint_t workers)
{
    void        *slot;
    size_t       size;
    ngx_uint_t   i;

    size = ngx_http_concert_part_sizes[part->kind].slot;

    for (i = 0; size && i < workers; i++) {

        if (part->slots[i]) {
            continue;
        }

        slot = ngx_slab_calloc(shpool, size);
        if (slot == NULL) {
            return NGX_ERROR;
        }

        part->slots[i] = slot;
    }

    return NGX_OK;
}


static void
ngx_http_concert_zone_small(ngx_shm_zone_t *shm_zone)
{
    size_t  mb;

    mb = 2 * shm_zone->shm.size / (1024 * 1024);

    ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                  "concert: zone \"%V\" is too small: write "
                  "\"concert_zone %V %uzm;\"", &shm_zone->shm.name,
                  &shm_zone->shm.name, ngx_max(mb, 16));
}


ngx_int_t
ngx_http_concert_zone_share(ngx_shm_zone_t *shm_zone)
{
    ngx_slab_pool_t          *shpool;
    ngx_http_concert_zone_t  *zone;

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;
    zone = shm_zone->data;

    if (zone->tickets.buckets) {
        return NGX_OK;
    }

    if (ngx_http_concert_zone_catalog(shpool, zone) != NGX_OK
        || ngx_http_concert_zone_tickets(shpool, zone) != NGX_OK)
    {
        ngx_http_concert_zone_small(shm_zone);
        return NGX_ERROR;
    }

    return NGX_OK;
}


uint64_t
ngx_http_concert_zone_key(const ngx_str_t *text, ...)
{
    size_t     i;
    va_list    args;
    uint64_t   key;

    key = 0;

    va_start(args, text);

    while (text) {
        key = ngx_http_concert_mix(key ^ text->len);

        for (i = 0; i < text->len; i++) {
            key = ngx_http_concert_mix(key ^ text->data[i]);
        }

        text = va_arg(args, const ngx_str_t *);
    }

    va_end(args);

    return key;
}


/* memory is new, so zero */

static ngx_int_t
ngx_http_concert_zone_catalog(ngx_slab_pool_t *shpool,
    ngx_http_concert_zone_t *zone)
{
    void    *memory;
    size_t   size;

    size = shpool->pfree * ngx_pagesize / NGX_HTTP_CONCERT_CATALOG_PART;
    size = ngx_min(size, NGX_HTTP_CONCERT_CATALOG_SIZE);

    memory = ngx_slab_alloc(shpool, size);
    if (memory == NULL) {
        return NGX_ERROR;
    }

    ngx_http_concert_catalog_init(&zone->catalog, memory, size);

    return NGX_OK;
}


/* in one piece */

static ngx_int_t
ngx_http_concert_zone_tickets(ngx_slab_pool_t *shpool,
    ngx_http_concert_zone_t *zone)
{
    void    *memory;
    size_t   size, later;

    size = shpool->end - (u_char *) shpool;
    later = ngx_min(size / NGX_HTTP_CONCERT_LATER_PART,
                    NGX_HTTP_CONCERT_LATER_MAX);

    size = shpool->pfree * ngx_pagesize;

    memory = size > later ? ngx_slab_alloc(shpool, size - later) : NULL;
    if (memory == NULL) {
        return NGX_ERROR;
    }

    ngx_http_concert_tickets_init(&zone->tickets, memory, size - later);

    return NGX_OK;
}


void
ngx_http_concert_zone_page(ngx_shm_zone_t *shm_zone,
    const ngx_http_concert_catalog_page_t *page, const char *etag,
    const void *body)
{
    ngx_slab_pool_t          *shpool;
    ngx_http_concert_zone_t  *zone;

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;
    zone = shm_zone->data;

    /* nobody waits for a worker that stands still: the page comes again */

    if (!ngx_shmtx_trylock(&shpool->mutex)) {
        return;
    }

    ngx_http_concert_catalog_store(&zone->catalog, page, etag, body);

    ngx_shmtx_unlock(&shpool->mutex);
}


void
ngx_http_concert_zone_enter(ngx_http_concert_zone_t *zone, ngx_uint_t worker)
{
    (void) ngx_http_concert_zone_found_dead(&zone->workers[worker]);
    ngx_http_concert_zone_still(zone, worker);

    zone->workers[worker].pid = (ngx_atomic_uint_t) ngx_pid;
}


void
ngx_http_concert_zone_leave(ngx_http_concert_zone_t *zone, ngx_uint_t worker)
{
    if (ngx_atomic_cmp_set(&zone->workers[worker].pid,
                           (ngx_atomic_uint_t) ngx_pid, 0))
    {
        ngx_http_concert_zone_still(zone, worker);
    }
}


void
ngx_http_concert_zone_bury(ngx_http_concert_zone_t *zone)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_CONCERT_SLOTS; i++) {
        if (ngx_http_concert_zone_found_dead(&zone->workers[i])) {
            ngx_http_concert_zone_still(zone, i);
        }
    }
}


/*
 * Whether the worker of a place is dead, which is found out once.  After a
 * reload the old worker, who still works, is no dead one.
 */

static ngx_uint_t
ngx_http_concert_zone_found_dead(ngx_http_concert_worker_t *worker)
{
    ngx_atomic_uint_t  last;

    last = worker->pid;

    if (last == 0
        || kill((ngx_pid_t) last, 0) == 0 || ngx_errno != NGX_ESRCH
        || !ngx_atomic_cmp_set(&worker->pid, last, 0))
    {
        return 0;
    }

    (void) ngx_atomic_fetch_add(&worker->died, 1);

    return 1;
}


/* nothing is going on; a worker that has just entered sets all of it anew */

static void
ngx_http_concert_zone_still(ngx_http_concert_zone_t *zone, ngx_uint_t worker)
{
    ngx_http_concert_part_t        *part;
    ngx_http_concert_slot_t        *slot;
    ngx_http_concert_lane_stats_t  *lanes;

    for (part = zone->parts; part; part = part->next) {

        if (part->slots[worker] == NULL) {
            continue;
        }

        if (part->kind == NGX_HTTP_CONCERT_PART_SALE) {
            slot = part->slots[worker];
            slot->streams = 0;

        } else {
            lanes = part->slots[worker];
            lanes->waiting = 0;
            lanes->busy = 0;
            lanes->down = 0;
        }
    }
}


uint64_t
ngx_http_concert_zone_died(ngx_http_concert_zone_t *zone)
{
    uint64_t    n;
    ngx_uint_t  i;

    n = 0;

    for (i = 0; i < NGX_HTTP_CONCERT_SLOTS; i++) {
        n += zone->workers[i].died;
    }

    return n;
}


void
ngx_http_concert_zone_request(ngx_http_concert_slot_t *slot,
    ngx_uint_t route, ngx_uint_t status, ngx_msec_t ms)
{
    ngx_uint_t                   i, class;
    ngx_http_concert_latency_t  *latency;

    class = status / 100 - 1;

    if (route >= NGX_HTTP_CONCERT_MAX_ROUTES
        || class >= NGX_HTTP_CONCERT_CLASSES)
    {
        return;
    }

    latency = &slot->latency[route][class];

    for (i = 0; i < NGX_HTTP_CONCERT_LATENCY_BUCKETS - 1; i++) {
        if (ms <= ngx_http_concert_latency_bounds[i]) {
            break;
        }
    }

    (void) ngx_atomic_fetch_add(&latency->bucket[i], 1);
    (void) ngx_atomic_fetch_add(&latency->sum_ms, ms);
}


void
ngx_http_concert_zone_latency(const ngx_http_concert_part_t *sale,
    ngx_uint_t route, ngx_uint_t class, ngx_http_concert_latency_t *sum)
{
    ngx_uint_t                      i;
    const ngx_http_concert_slot_t  *slot;

    ngx_memzero(sum, sizeof(ngx_http_concert_latency_t));

    for (i = 0; i < NGX_HTTP_CONCERT_SLOTS; i++) {
        slot = sale->slots[i];

        if (slot) {
            ngx_http_concert_zone_add(sum, &slot->latency[route][class],
                                      sizeof(ngx_http_concert_latency_t));
        }
    }
}


void
ngx_http_concert_zone_lanes(const ngx_http_concert_part_t *lanes,
    ngx_http_concert_lane_stats_t *sum)
{
    ngx_uint_t  i;

    ngx_memzero(sum, sizeof(ngx_http_concert_lane_stats_t));

    for (i = 0; i < NGX_HTTP_CONCERT_SLOTS; i++) {
        if (lanes->slots[i]) {
            ngx_http_concert_zone_add(sum, lanes->slots[i],
                                      sizeof(ngx_http_concert_lane_stats_t));
        }
    }
}


uint64_t
ngx_http_concert_zone_sum(const ngx_http_concert_part_t *sale, size_t offset)
{
    uint64_t    n;
    ngx_uint_t  i;

    n = 0;

    for (i = 0; i < NGX_HTTP_CONCERT_SLOTS; i++) {
        if (sale->slots[i]) {
            n += *(ngx_atomic_t *) ((u_char *) sale->slots[i] + offset);
        }
    }

    return n;
}


uint64_t
ngx_http_concert_zone_count(const ngx_http_concert_latency_t *latency)
{
    uint64_t    n;
    ngx_uint_t  i;

    n = 0;

    for (i = 0; i < NGX_HTTP_CONCERT_LATENCY_BUCKETS; i++) {
        n += latency->bucket[i];
    }

    return n;
}


/* who is killed in the midst of it leaves none, rather than half a title */

void
ngx_http_concert_zone_halls_keep(ngx_shm_zone_t *shm_zone,
    ngx_http_concert_halls_t *kept, const ngx_http_concert_hall_t *halls,
    ngx_uint_t n, int64_t counted)
{
    ngx_slab_pool_t  *shpool;

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    kept->n = 0;
    ngx_memory_barrier();

    ngx_memcpy(kept->halls, halls, n * sizeof(ngx_http_concert_hall_t));
    kept->counted = counted;

    ngx_memory_barrier();
    kept->n = n;

    ngx_shmtx_unlock(&shpool->mutex);
}


void
ngx_http_concert_zone_halls(ngx_shm_zone_t *shm_zone,
    const ngx_http_concert_halls_t *kept, ngx_http_concert_halls_t *halls)
{
    ngx_slab_pool_t  *shpool;

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    *halls = *kept;

    ngx_shmtx_unlock(&shpool->mutex);
}


/* both are structures of nothing but ngx_atomic_t */

static void
ngx_http_concert_zone_add(void *sum, const void *part, size_t size)
{
    size_t               i;
    ngx_atomic_t        *s;
    const ngx_atomic_t  *p;

    s = sum;
    p = part;

    for (i = 0; i < size / sizeof(ngx_atomic_t); i++) {
        s[i] += p[i];
    }
}
