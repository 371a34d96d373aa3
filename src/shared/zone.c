
#include "shared/zone.h"


/* of the memory that is left, pages get so much of it and tickets the rest */
#define NGX_HTTP_CONCERT_CATALOG_PART  8


static ngx_int_t ngx_http_concert_zone_catalog(ngx_slab_pool_t *shpool,
    ngx_http_concert_zone_t *zone);
static ngx_int_t ngx_http_concert_zone_tickets(ngx_slab_pool_t *shpool,
    ngx_http_concert_zone_t *zone);
static ngx_uint_t ngx_http_concert_zone_died(ngx_http_concert_slot_t *slot);
static void ngx_http_concert_zone_still(ngx_http_concert_slot_t *slot);
static void ngx_http_concert_zone_add(void *sum, const void *part,
    size_t size);


const ngx_uint_t
    ngx_http_concert_latency_bounds[NGX_HTTP_CONCERT_LATENCY_BUCKETS - 1] = {
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000
};


ngx_int_t
ngx_http_concert_zone_init(ngx_shm_zone_t *shm_zone, void *data)
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

        return NGX_OK;
    }

    zone = ngx_slab_calloc(shpool, sizeof(ngx_http_concert_zone_t));

    if (zone == NULL
        || ngx_http_concert_zone_catalog(shpool, zone) != NGX_OK
        || ngx_http_concert_zone_tickets(shpool, zone) != NGX_OK)
    {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "concert: zone \"%V\" is too small: write "
                      "\"concert_zone %V 16m;\"", &shm_zone->shm.name,
                      &shm_zone->shm.name);
        return NGX_ERROR;
    }

    zone->layout = NGX_HTTP_CONCERT_ZONE_LAYOUT;
    shpool->data = zone;
    shm_zone->data = zone;

    return NGX_OK;
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


/* tickets get all the memory that is left, in one piece */

static ngx_int_t
ngx_http_concert_zone_tickets(ngx_slab_pool_t *shpool,
    ngx_http_concert_zone_t *zone)
{
    void    *memory;
    size_t   size;

    size = shpool->pfree * ngx_pagesize;

    memory = size ? ngx_slab_alloc(shpool, size) : NULL;
    if (memory == NULL) {
        return NGX_ERROR;
    }

    ngx_http_concert_tickets_init(&zone->tickets, memory, size);

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
ngx_http_concert_zone_enter(ngx_http_concert_slot_t *slot)
{
    (void) ngx_http_concert_zone_died(slot);
    ngx_http_concert_zone_still(slot);

    slot->pid = (ngx_atomic_uint_t) ngx_pid;
}


void
ngx_http_concert_zone_leave(ngx_http_concert_slot_t *slot)
{
    if (ngx_atomic_cmp_set(&slot->pid, (ngx_atomic_uint_t) ngx_pid, 0)) {
        ngx_http_concert_zone_still(slot);
    }
}


void
ngx_http_concert_zone_bury(ngx_http_concert_zone_t *zone)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_CONCERT_SLOTS; i++) {
        if (ngx_http_concert_zone_died(&zone->slots[i])) {
            ngx_http_concert_zone_still(&zone->slots[i]);
        }
    }
}


/*
 * Whether the slot's worker is dead, which is found out once.  After a reload
 * the old worker, who still works, is no dead one.
 */

static ngx_uint_t
ngx_http_concert_zone_died(ngx_http_concert_slot_t *slot)
{
    ngx_atomic_uint_t  last;

    last = slot->pid;

    if (last == 0
        || kill((ngx_pid_t) last, 0) == 0 || ngx_errno != NGX_ESRCH
        || !ngx_atomic_cmp_set(&slot->pid, last, 0))
    {
        return 0;
    }

    (void) ngx_atomic_fetch_add(&slot->died, 1);

    return 1;
}


/* nothing is going on; a worker that has just entered sets all of it anew */

static void
ngx_http_concert_zone_still(ngx_http_concert_slot_t *slot)
{
    ngx_uint_t  i;

    slot->streams = 0;

    for (i = 0; i < NGX_HTTP_CONCERT_ZONE_GROUPS; i++) {
        slot->lanes[i].waiting = 0;
        slot->lanes[i].busy = 0;
        slot->lanes[i].down = 0;
    }
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
ngx_http_concert_zone_latency(ngx_http_concert_zone_t *zone,
    ngx_uint_t route, ngx_uint_t class, ngx_http_concert_latency_t *sum)
{
    ngx_uint_t  i;

    ngx_memzero(sum, sizeof(ngx_http_concert_latency_t));

    for (i = 0; i < NGX_HTTP_CONCERT_SLOTS; i++) {
        ngx_http_concert_zone_add(sum, &zone->slots[i].latency[route][class],
                                  sizeof(ngx_http_concert_latency_t));
    }
}


void
ngx_http_concert_zone_lanes(ngx_http_concert_zone_t *zone, ngx_uint_t group,
    ngx_http_concert_lane_stats_t *sum)
{
    ngx_uint_t  i;

    ngx_memzero(sum, sizeof(ngx_http_concert_lane_stats_t));

    for (i = 0; i < NGX_HTTP_CONCERT_SLOTS; i++) {
        ngx_http_concert_zone_add(sum, &zone->slots[i].lanes[group],
                                  sizeof(ngx_http_concert_lane_stats_t));
    }
}


uint64_t
ngx_http_concert_zone_sum(ngx_http_concert_zone_t *zone, size_t offset)
{
    uint64_t    n;
    ngx_uint_t  i;

    n = 0;

    for (i = 0; i < NGX_HTTP_CONCERT_SLOTS; i++) {
        n += *(ngx_atomic_t *) ((u_char *) &zone->slots[i] + offset);
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
ngx_http_concert_zone_sales_keep(ngx_shm_zone_t *shm_zone,
    const ngx_http_concert_sale_t *sales, ngx_uint_t n, int64_t counted)
{
    ngx_slab_pool_t           *shpool;
    ngx_http_concert_sales_t  *kept;

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;
    kept = &((ngx_http_concert_zone_t *) shm_zone->data)->sales;

    ngx_shmtx_lock(&shpool->mutex);

    kept->n = 0;
    ngx_memory_barrier();

    ngx_memcpy(kept->sales, sales, n * sizeof(ngx_http_concert_sale_t));
    kept->counted = counted;

    ngx_memory_barrier();
    kept->n = n;

    ngx_shmtx_unlock(&shpool->mutex);
}


void
ngx_http_concert_zone_sales(ngx_shm_zone_t *shm_zone,
    ngx_http_concert_sales_t *sales)
{
    ngx_slab_pool_t  *shpool;

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    ngx_shmtx_lock(&shpool->mutex);

    *sales = ((ngx_http_concert_zone_t *) shm_zone->data)->sales;

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
