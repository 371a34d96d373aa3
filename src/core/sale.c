
#include "core/conf.h"
#include "core/sale.h"
#include "store/postgres.h"
#include "store/redis.h"


#define NGX_HTTP_CONCERT_MAX_QUEUE   8192

/* defaults; times in ms */
#define NGX_HTTP_CONCERT_HOLD        (5 * 60 * 1000)
#define NGX_HTTP_CONCERT_TIMEOUT     3000
#define NGX_HTTP_CONCERT_CACHE       1000
#define NGX_HTTP_CONCERT_MAX_SEATS   4


static ngx_http_concert_group_t *ngx_http_concert_group_create(
    ngx_conf_t *cf, ngx_uint_t kind);
static ngx_int_t ngx_http_concert_sale_defaults(ngx_conf_t *cf,
    ngx_http_concert_sale_t *sale);
static ngx_int_t ngx_http_concert_sale_groups(ngx_conf_t *cf,
    ngx_http_concert_sale_t *sale);
static void ngx_http_concert_group_defaults(
    const ngx_http_concert_main_conf_t *conf, ngx_http_concert_group_t *group);
static void ngx_http_concert_sale_cards(ngx_http_concert_sale_t *sale);
static ngx_int_t ngx_http_concert_sale_check(ngx_conf_t *cf,
    ngx_http_concert_sale_t *sale);
static ngx_int_t ngx_http_concert_sale_share(ngx_shm_zone_t *shm_zone,
    ngx_http_concert_sale_t *sale);
static ngx_int_t ngx_http_concert_sale_database(ngx_shm_zone_t *shm_zone,
    ngx_http_concert_sale_t *sale);
static ngx_http_concert_part_t *ngx_http_concert_group_part(
    ngx_shm_zone_t *shm_zone, ngx_http_concert_main_conf_t *conf,
    ngx_http_concert_group_t *group);
static ngx_http_concert_part_t *ngx_http_concert_sale_part(
    ngx_shm_zone_t *shm_zone, ngx_http_concert_main_conf_t *conf,
    ngx_http_concert_part_e kind, uint64_t key);


static const ngx_http_concert_group_t
    ngx_http_concert_default_groups[NGX_HTTP_CONCERT_GROUPS] = {

    [NGX_HTTP_CONCERT_READ] = {
        .name = ngx_string("read"),
        .store = &ngx_http_concert_postgres,
        .away_code = "store_unavailable",
        .nlanes = 4,
        .batch = 64,
        .gather = 64,
        .patience = 2
    },

    [NGX_HTTP_CONCERT_WRITE] = {
        .name = ngx_string("write"),
        .store = &ngx_http_concert_postgres,
        .away_code = "store_unavailable",
        .nlanes = 2,
        .batch = 32,
        .gather = 32,
        .patience = 5
    },

    [NGX_HTTP_CONCERT_REDIS] = {
        .name = ngx_string("redis"),
        .store = &ngx_http_concert_redis,
        .away_code = "queue_unavailable",
        .nlanes = 1,
        .batch = 64,
        .gather = 64,
        .patience = 1
    },

    [NGX_HTTP_CONCERT_GATEWAY] = {
        .name = ngx_string("gateway"),
        .away_code = "gateway_unavailable",
        .batch = 1,
        .gather = 1
    }
};


ngx_http_concert_sale_t *
ngx_http_concert_sale_create(ngx_conf_t *cf,
    ngx_http_concert_main_conf_t *conf, const ngx_str_t *name)
{
    ngx_http_concert_sale_t  *sale, **p;

    sale = ngx_pcalloc(cf->pool, sizeof(ngx_http_concert_sale_t));
    if (sale == NULL) {
        return NULL;
    }

    sale->name = *name;
    sale->conf = conf;
    sale->hold = NGX_CONF_UNSET_MSEC;
    sale->hold_extend = NGX_CONF_UNSET_MSEC;
    sale->catalog_cache = NGX_CONF_UNSET_MSEC;
    sale->max_seats = NGX_CONF_UNSET;
    sale->user_limit = NGX_CONF_UNSET;
    sale->charge = NGX_CONF_UNSET_UINT;
    sale->payment_method = NGX_CONF_UNSET_UINT;

    p = ngx_array_push(&conf->sales);
    if (p == NULL) {
        return NULL;
    }

    *p = sale;

    return sale;
}


ngx_http_concert_group_t *
ngx_http_concert_sale_group(ngx_conf_t *cf, ngx_http_concert_sale_t *sale,
    ngx_uint_t kind)
{
    ngx_str_t                 *value;
    ngx_http_concert_group_t  *group;

    group = ngx_http_concert_group_create(cf, kind);

    if (group == NULL
        || ngx_http_concert_conf_line(cf, &group->line) != NGX_OK)
    {
        return NULL;
    }

    value = cf->args->elts;
    group->address = value[1];

    sale->groups[kind] = group;

    return group;
}


static ngx_http_concert_group_t *
ngx_http_concert_group_create(ngx_conf_t *cf, ngx_uint_t kind)
{
    ngx_http_concert_group_t  *group;

    group = ngx_palloc(cf->pool, sizeof(ngx_http_concert_group_t));

    if (group) {
        *group = ngx_http_concert_default_groups[kind];
        group->kind = kind;
    }

    return group;
}


ngx_int_t
ngx_http_concert_sales_init(ngx_conf_t *cf,
    ngx_http_concert_main_conf_t *conf)
{
    ngx_uint_t                 i;
    ngx_http_concert_sale_t  **sales;

    ngx_conf_init_msec_value(conf->timeout, NGX_HTTP_CONCERT_TIMEOUT);

    sales = conf->sales.elts;

    for (i = 0; i < conf->sales.nelts; i++) {
        if (ngx_http_concert_sale_defaults(cf, sales[i]) != NGX_OK
            || ngx_http_concert_sale_groups(cf, sales[i]) != NGX_OK)
        {
            return NGX_ERROR;
        }

        ngx_http_concert_sale_cards(sales[i]);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_concert_sale_defaults(ngx_conf_t *cf, ngx_http_concert_sale_t *sale)
{
    ngx_conf_init_msec_value(sale->hold, NGX_HTTP_CONCERT_HOLD);
    ngx_conf_init_msec_value(sale->hold_extend, 0);
    ngx_conf_init_msec_value(sale->catalog_cache, NGX_HTTP_CONCERT_CACHE);
    ngx_conf_init_value(sale->max_seats, NGX_HTTP_CONCERT_MAX_SEATS);
    ngx_conf_init_value(sale->user_limit, 0);
    ngx_conf_init_uint_value(sale->charge, NGX_HTTP_CONCERT_CHARGE_FREE);
    ngx_conf_init_uint_value(sale->payment_method,
                             NGX_HTTP_CONCERT_METHOD_BALANCE);

    if (sale->queue == NULL) {
        sale->queue = ngx_http_concert_queue_create(cf);
    }

    if (sale->guard == NULL) {
        sale->guard = ngx_http_concert_guard_create(cf);
    }

    if (sale->identity == NULL) {
        sale->identity = ngx_http_concert_identity_create(cf);
    }

    if (sale->queue == NULL || sale->guard == NULL || sale->identity == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_concert_queue_init(cf, sale->queue, &sale->name);
}


static ngx_int_t
ngx_http_concert_sale_groups(ngx_conf_t *cf, ngx_http_concert_sale_t *sale)
{
    ngx_uint_t                  i;
    ngx_http_concert_group_t  **group;

    for (i = 0; i < NGX_HTTP_CONCERT_GROUPS; i++) {

        if (sale->groups[i] == NULL) {
            sale->groups[i] = ngx_http_concert_group_create(cf, i);
            if (sale->groups[i] == NULL) {
                return NGX_ERROR;
            }
        }

        ngx_http_concert_group_defaults(sale->conf, sale->groups[i]);

        group = ngx_array_push(&sale->conf->groups);
        if (group == NULL) {
            return NGX_ERROR;
        }

        *group = sale->groups[i];
    }

    return NGX_OK;
}


static void
ngx_http_concert_group_defaults(const ngx_http_concert_main_conf_t *conf,
    ngx_http_concert_group_t *group)
{
    ngx_http_concert_postgres_conf_t  *pcf;

    if (group->kind == NGX_HTTP_CONCERT_GATEWAY) {
        return;
    }

    group->timeout = conf->timeout;

    if (group->max_queue == 0) {
        group->max_queue = NGX_HTTP_CONCERT_MAX_QUEUE;
    }

    if (group->conf && group->store == &ngx_http_concert_postgres) {
        pcf = group->conf;
        pcf->timeout = conf->timeout;
    }
}


static void
ngx_http_concert_sale_cards(ngx_http_concert_sale_t *sale)
{
    ngx_http_concert_group_t          *gateway;
    ngx_http_concert_postgres_conf_t  *pcf;

    gateway = sale->groups[NGX_HTTP_CONCERT_GATEWAY];

    /*
     * a permit is as old as its claim, its wait for a lane and its question at
     * most
     */

    sale->guard->conf.permit_timeout = 2 * (gateway->timeout
                                            + sale->conf->timeout);

    if (gateway->conf && sale->groups[NGX_HTTP_CONCERT_READ]->conf) {
        pcf = sale->groups[NGX_HTTP_CONCERT_READ]->conf;
        pcf->cards = 1;

        pcf = sale->groups[NGX_HTTP_CONCERT_WRITE]->conf;
        pcf->cards = 1;
    }
}


ngx_int_t
ngx_http_concert_sales_check(ngx_conf_t *cf,
    ngx_http_concert_main_conf_t *conf)
{
    ngx_uint_t                 i;
    ngx_http_concert_sale_t  **sales;

    sales = conf->sales.elts;

    for (i = 0; i < conf->sales.nelts; i++) {
        if (ngx_http_concert_sale_check(cf, sales[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_concert_sale_check(ngx_conf_t *cf, ngx_http_concert_sale_t *sale)
{
    if ((sale->needs & NGX_HTTP_CONCERT_NEEDS_POSTGRES)
        && sale->groups[NGX_HTTP_CONCERT_READ]->conf == NULL)
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"concert %V\" needs PostgreSQL: write "
                      "concert_postgres \"host=/run/postgresql "
                      "dbname=concert\"; in the http block",
                      &sale->needed_by[0]);
        return NGX_ERROR;
    }

    if ((sale->needs & NGX_HTTP_CONCERT_NEEDS_REDIS)
        && sale->groups[NGX_HTTP_CONCERT_REDIS]->conf == NULL)
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"concert %V\" needs Redis: write concert_redis "
                      "unix:/run/redis/redis-server.sock; in the http block",
                      &sale->needed_by[1]);
        return NGX_ERROR;
    }

    if ((sale->charge == NGX_HTTP_CONCERT_CHARGE_CARD
         || sale->payment_method == NGX_HTTP_CONCERT_METHOD_CARD
         || sale->hold_extend || sale->guard->line.len)
        && sale->groups[NGX_HTTP_CONCERT_GATEWAY]->conf == NULL)
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "cards need a payment gateway: write concert_gateway "
                      "https://api.tosspayments.com secret_key_file=/path; "
                      "in the http block");
        return NGX_ERROR;
    }

    return NGX_OK;
}


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
        if (ngx_http_concert_sale_share(shm_zone, sales[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    for (i = 0; i < conf->groups.nelts; i++) {
        groups[i]->part = ngx_http_concert_group_part(shm_zone, conf,
                                                      groups[i]);
        if (groups[i]->part == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_concert_sale_share(ngx_shm_zone_t *shm_zone,
    ngx_http_concert_sale_t *sale)
{
    uint64_t                   key;
    ngx_str_t                 *redis, *gateway;
    ngx_http_concert_part_t   *part;
    ngx_http_concert_zone_t   *zone;
    ngx_http_concert_guard_t  *guard;
    ngx_http_concert_queue_t  *queue;

    zone = shm_zone->data;
    queue = sale->queue;
    guard = sale->guard;
    redis = &sale->groups[NGX_HTTP_CONCERT_REDIS]->address;
    gateway = &sale->groups[NGX_HTTP_CONCERT_GATEWAY]->address;

    key = ngx_http_concert_zone_key(&sale->name, NULL);
    sale->part = ngx_http_concert_sale_part(shm_zone, sale->conf,
                                            NGX_HTTP_CONCERT_PART_SALE, key);
    if (sale->part == NULL) {
        return NGX_ERROR;
    }

    /* a queue of this name in another Redis is another queue */

    queue->key = ngx_http_concert_zone_key(redis, &queue->name, NULL);
    part = ngx_http_concert_sale_part(shm_zone, sale->conf,
                                      NGX_HTTP_CONCERT_PART_QUEUE, queue->key);
    if (part == NULL) {
        return NGX_ERROR;
    }

    queue->state = part->data;
    queue->tickets = &zone->tickets;

    key = ngx_http_concert_zone_key(gateway, NULL);
    part = ngx_http_concert_sale_part(shm_zone, sale->conf,
                                      NGX_HTTP_CONCERT_PART_BREAKER, key);
    if (part == NULL) {
        return NGX_ERROR;
    }

    guard->shm_zone = shm_zone;
    guard->breaker = part->data;

    return ngx_http_concert_sale_database(shm_zone, sale);
}


static ngx_int_t
ngx_http_concert_sale_database(ngx_shm_zone_t *shm_zone,
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

    sale->database = part->data;

    return NGX_OK;
}


static ngx_http_concert_part_t *
ngx_http_concert_group_part(ngx_shm_zone_t *shm_zone,
    ngx_http_concert_main_conf_t *conf, ngx_http_concert_group_t *group)
{
    return ngx_http_concert_sale_part(shm_zone, conf,
                             NGX_HTTP_CONCERT_PART_LANES,
                             ngx_http_concert_zone_key(&group->name,
                                                       &group->address,
                                                       NULL));
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
