
#include "core/sale.h"


static ngx_int_t ngx_http_concert_sale_share(ngx_shm_zone_t *shm_zone,
    ngx_http_concert_sale_t *sale);
static ngx_int_t ngx_http_concert_queue_share(ngx_shm_zone_t *shm_zone,
    ngx_http_concert_sale_t *sale);
static ngx_int_t ngx_http_concert_guard_share(ngx_shm_zone_t *shm_zone,
    ngx_http_concert_sale_t *sale);
static ngx_int_t ngx_http_concert_database_share(ngx_shm_zone_t *shm_zone,
    ngx_http_concert_sale_t *sale);
static ngx_int_t ngx_http_concert_group_share(ngx_shm_zone_t *shm_zone,
    ngx_http_concert_main_conf_t *conf, ngx_http_concert_group_t *group);
static ngx_http_concert_part_t *ngx_http_concert_sale_part(
    ngx_shm_zone_t *shm_zone, ngx_http_concert_main_conf_t *conf,
    ngx_http_concert_part_e kind, uint64_t key);
static uint64_t ngx_http_concert_part_key(const ngx_str_t *kind,
    const ngx_str_t *address, ngx_uint_t number);


const ngx_str_t  ngx_http_concert_group_names[NGX_HTTP_CONCERT_GROUPS] = {
    ngx_string("read"),
    ngx_string("write"),
    ngx_string("redis"),
    ngx_string("gateway")
};


/*
 * A sale's counters, its queue and pages are in its zone.  What sales may have
 * together beside a queue is in the one of the http block.
 */

ngx_int_t
ngx_http_concert_sales_share(ngx_shm_zone_t *shm_zone,
    ngx_http_concert_main_conf_t *conf)
{
    ngx_uint_t                  i;
    ngx_http_concert_sale_t   **sales;
    ngx_http_concert_group_t  **groups;

    sales = conf->sales.elts;
    groups = conf->groups.elts;

    for (i = 0; i < conf->sales.nelts; i++) {
        if (sales[i]->shm_zone == shm_zone
            && ngx_http_concert_sale_share(shm_zone, sales[i]) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (shm_zone != sales[0]->shm_zone) {
        return NGX_OK;
    }

    for (i = 0; i < conf->sales.nelts; i++) {
        if (ngx_http_concert_guard_share(shm_zone, sales[i]) != NGX_OK
            || ngx_http_concert_database_share(shm_zone, sales[i]) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    for (i = 0; i < conf->groups.nelts; i++) {
        if (ngx_http_concert_group_share(shm_zone, conf, groups[i]) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_concert_sale_share(ngx_shm_zone_t *shm_zone,
    ngx_http_concert_sale_t *sale)
{
    sale->part = ngx_http_concert_sale_part(shm_zone, sale->conf,
                              NGX_HTTP_CONCERT_PART_SALE,
                              ngx_http_concert_zone_key(&sale->name, NULL));

    return sale->part ? ngx_http_concert_queue_share(shm_zone, sale)
                      : NGX_ERROR;
}


/* a queue of this name in another Redis is another queue */

static ngx_int_t
ngx_http_concert_queue_share(ngx_shm_zone_t *shm_zone,
    ngx_http_concert_sale_t *sale)
{
    ngx_str_t                 *redis;
    ngx_http_concert_part_t   *part;
    ngx_http_concert_zone_t   *zone;
    ngx_http_concert_queue_t  *queue;

    queue = sale->queue;
    redis = &sale->groups[NGX_HTTP_CONCERT_REDIS]->address;

    if (queue->state) {
        return NGX_OK;
    }

    queue->key = ngx_http_concert_zone_key(redis, &queue->name, NULL);
    part = ngx_http_concert_sale_part(shm_zone, sale->conf,
                                      NGX_HTTP_CONCERT_PART_QUEUE, queue->key);
    if (part == NULL) {
        return NGX_ERROR;
    }

    zone = shm_zone->data;
    queue->tickets = &zone->tickets;
    queue->state = part->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_concert_guard_share(ngx_shm_zone_t *shm_zone,
    ngx_http_concert_sale_t *sale)
{
    ngx_str_t                 *gateway;
    ngx_http_concert_part_t   *part;
    ngx_http_concert_guard_t  *guard;

    static const ngx_str_t  name = ngx_string("breaker");

    guard = sale->guard;
    gateway = &sale->groups[NGX_HTTP_CONCERT_GATEWAY]->address;

    if (guard->breaker) {
        return NGX_OK;
    }

    part = ngx_http_concert_sale_part(shm_zone, sale->conf,
                                      NGX_HTTP_CONCERT_PART_BREAKER,
                                      ngx_http_concert_part_key(&name, gateway,
                                                           guard->number));
    if (part == NULL) {
        return NGX_ERROR;
    }

    guard->shm_zone = shm_zone;
    guard->breaker = part->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_concert_database_share(ngx_shm_zone_t *shm_zone,
    ngx_http_concert_sale_t *sale)
{
    ngx_str_t                *address;
    ngx_http_concert_part_t  *part;

    address = &sale->groups[NGX_HTTP_CONCERT_READ]->address;

    sale->database_key = ngx_http_concert_zone_key(address, NULL);
    part = ngx_http_concert_sale_part(shm_zone, sale->conf,
                                      NGX_HTTP_CONCERT_PART_DATABASE,
                                      sale->database_key);
    if (part == NULL) {
        return NGX_ERROR;
    }

    sale->database_zone = shm_zone;
    sale->database = part->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_concert_group_share(ngx_shm_zone_t *shm_zone,
    ngx_http_concert_main_conf_t *conf, ngx_http_concert_group_t *group)
{
    uint64_t  key;

    key = ngx_http_concert_part_key(&ngx_http_concert_group_names[group->kind],
                                    &group->address, group->number);

    group->part = ngx_http_concert_sale_part(shm_zone, conf,
                                             NGX_HTTP_CONCERT_PART_LANES, key);

    return group->part ? NGX_OK : NGX_ERROR;
}


/* number: of those of a kind with one address */

static uint64_t
ngx_http_concert_part_key(const ngx_str_t *kind, const ngx_str_t *address,
    ngx_uint_t number)
{
    u_char     text[NGX_INT_T_LEN];
    ngx_str_t  s;

    s.data = text;
    s.len = ngx_sprintf(text, "%ui", number) - text;

    return ngx_http_concert_zone_key(kind, address, &s, NULL);
}


/* a part that the workers will use */

static ngx_http_concert_part_t *
ngx_http_concert_sale_part(ngx_shm_zone_t *shm_zone,
    ngx_http_concert_main_conf_t *conf, ngx_http_concert_part_e kind,
    uint64_t key)
{
    ngx_http_concert_part_t  *part, **p;

    part = ngx_http_concert_zone_part(shm_zone, kind, key, conf->workers);
    p = ngx_array_push(&conf->parts);

    if (part == NULL || p == NULL) {
        return NULL;
    }

    *p = part;

    return part;
}


ngx_int_t
ngx_http_concert_sale_run(ngx_http_concert_call_t *call,
    void (*done)(ngx_http_concert_call_t *call))
{
    call->done = done;

    ngx_http_concert_submit(call->sale->groups[call->op->group], call);

    return NGX_OK;
}
