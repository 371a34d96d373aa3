
/*
 * concert_sale and concert_use: what a sale does not say it takes from the
 * http block, which is the sale `main`; and what sales have together is found.
 */

#include "core/conf.h"
#include "core/request.h"
#include "store/gateway.h"
#include "store/postgres.h"
#include "store/redis.h"


#define NGX_HTTP_CONCERT_MAX_SALES   64     /* beside main */
#define NGX_HTTP_CONCERT_MAX_QUEUE   8192

/* defaults; times in ms */
#define NGX_HTTP_CONCERT_HOLD        (5 * 60 * 1000)
#define NGX_HTTP_CONCERT_TIMEOUT     3000
#define NGX_HTTP_CONCERT_CACHE       1000
#define NGX_HTTP_CONCERT_MAX_SEATS   4


static char *ngx_http_concert_sale_parse(ngx_conf_t *cf,
    ngx_http_concert_sale_t *sale);
static ngx_http_concert_group_t *ngx_http_concert_group_create(
    ngx_conf_t *cf, ngx_uint_t kind);
static ngx_int_t ngx_http_concert_sale_inherit(ngx_conf_t *cf,
    ngx_http_concert_sale_t *sale, const ngx_http_concert_sale_t *main);
static ngx_int_t ngx_http_concert_sale_copy(ngx_conf_t *cf,
    ngx_http_concert_sale_t *sale, const ngx_http_concert_sale_t *main);
static ngx_int_t ngx_http_concert_sale_defaults(ngx_conf_t *cf,
    ngx_http_concert_sale_t *sale);
static ngx_int_t ngx_http_concert_sale_groups(ngx_conf_t *cf,
    ngx_http_concert_sale_t *sale);
static ngx_http_concert_group_t *ngx_http_concert_group_join(
    ngx_conf_t *cf, ngx_http_concert_sale_t *sale,
    ngx_http_concert_group_t *group);
static ngx_int_t ngx_http_concert_group_called(ngx_conf_t *cf,
    const ngx_http_concert_sale_t *sale, ngx_http_concert_group_t *group);
static void ngx_http_concert_group_defaults(
    const ngx_http_concert_main_conf_t *conf, ngx_http_concert_group_t *group);
static void ngx_http_concert_sale_join_guard(ngx_http_concert_sale_t *sale,
    ngx_http_concert_sale_t **others, ngx_uint_t n);
static ngx_int_t ngx_http_concert_sale_join(ngx_conf_t *cf,
    ngx_http_concert_sale_t *sale, const ngx_http_concert_sale_t *other);
static ngx_uint_t ngx_http_concert_sale_same_store(
    const ngx_http_concert_sale_t *sale, const ngx_http_concert_sale_t *other,
    ngx_uint_t kind);
static void ngx_http_concert_sale_cards(ngx_http_concert_sale_t *sale);
static ngx_int_t ngx_http_concert_sale_check(ngx_conf_t *cf,
    ngx_http_concert_sale_t *sale);


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


char *
ngx_http_concert_sale_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_concert_main_conf_t *cmcf = conf;

    ngx_str_t                *value;
    ngx_http_concert_sale_t  *sale;

    value = cf->args->elts;

    if (ngx_http_concert_conf_name(cf, "sale", &value[1],
                                   "concert_sale festival { ... }")
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_concert_sale_find(cmcf, &value[1])) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "there is a sale \"%V\" already (the http block is "
                           "\"main\"): write another name", &value[1]);
        return NGX_CONF_ERROR;
    }

    if (cmcf->sales.nelts > NGX_HTTP_CONCERT_MAX_SALES) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "too many sales: write at most %d concert_sale "
                           "blocks, and the others in another nginx",
                           NGX_HTTP_CONCERT_MAX_SALES);
        return NGX_CONF_ERROR;
    }

    sale = ngx_http_concert_sale_create(cf, cmcf, &value[1]);
    if (sale == NULL) {
        return NGX_CONF_ERROR;
    }

    sale->of.data = ngx_pnalloc(cf->pool, sizeof(" of \"\"") + value[1].len);
    if (sale->of.data == NULL) {
        return NGX_CONF_ERROR;
    }

    sale->of.len = ngx_sprintf(sale->of.data, " of \"%V\"", &value[1])
                   - sale->of.data;

    return ngx_http_concert_sale_parse(cf, sale);
}


/* directives of a sale have it where those of a server have that */

static char *
ngx_http_concert_sale_parse(ngx_conf_t *cf, ngx_http_concert_sale_t *sale)
{
    char                 *rv;
    ngx_conf_t            save;
    ngx_http_conf_ctx_t   ctx;

    ctx = *(ngx_http_conf_ctx_t *) cf->ctx;

    ctx.srv_conf = ngx_pcalloc(cf->pool, sizeof(void *) * ngx_http_max_module);
    if (ctx.srv_conf == NULL) {
        return NGX_CONF_ERROR;
    }

    ctx.srv_conf[ngx_http_concert_module.ctx_index] = sale;

    /* NGX_MAIN_CONF is of no directive of http's: it lets "include" in */

    save = *cf;
    cf->ctx = &ctx;
    cf->cmd_type = NGX_HTTP_CONCERT_SALE_CONF|NGX_MAIN_CONF;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    return rv;
}


char *
ngx_http_concert_use_directive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_concert_loc_conf_t *lcf = conf;

    ngx_str_t  *value;

    if (lcf->use.len) {
        return "is duplicate";
    }

    value = cf->args->elts;
    lcf->use = value[1];

    return NGX_CONF_OK;
}


ngx_http_concert_sale_t *
ngx_http_concert_sale_find(const ngx_http_concert_main_conf_t *conf,
    const ngx_str_t *name)
{
    ngx_uint_t                 i;
    ngx_http_concert_sale_t  **sales;

    sales = conf->sales.elts;

    for (i = 0; i < conf->sales.nelts; i++) {
        if (sales[i]->name.len == name->len
            && ngx_memcmp(sales[i]->name.data, name->data, name->len) == 0)
        {
            return sales[i];
        }
    }

    return NULL;
}


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
    ngx_uint_t                 i, k, n;
    ngx_http_concert_sale_t   *sale, **sales;

    ngx_conf_init_msec_value(conf->timeout, NGX_HTTP_CONCERT_TIMEOUT);

    sales = conf->sales.elts;
    n = 0;

    for (i = 0; i < conf->sales.nelts; i++) {
        sale = sales[i];

        if (i && sale->needs == 0) {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "sale \"%V\" is left out, as nothing is sold in it: "
                          "write \"concert_use %V;\" where its routes are",
                          &sale->name, &sale->name);
            continue;
        }

        if (ngx_http_concert_sale_inherit(cf, sale, i ? sales[0] : NULL)
            != NGX_OK
            || ngx_http_concert_sale_groups(cf, sale) != NGX_OK)
        {
            return NGX_ERROR;
        }

        ngx_http_concert_sale_join_guard(sale, sales, n);

        for (k = 0; k < n; k++) {
            if (ngx_http_concert_sale_join(cf, sale, sales[k]) != NGX_OK) {
                return NGX_ERROR;
            }
        }

        ngx_http_concert_sale_cards(sale);
        sales[n++] = sale;
    }

    conf->sales.nelts = n;

    return NGX_OK;
}


/* main: from nothing */

static ngx_int_t
ngx_http_concert_sale_inherit(ngx_conf_t *cf, ngx_http_concert_sale_t *sale,
    const ngx_http_concert_sale_t *main)
{
    ngx_uint_t  i;

    if (main == NULL) {
        return ngx_http_concert_sale_defaults(cf, sale);
    }

    ngx_conf_merge_msec_value(sale->hold, main->hold, 0);
    ngx_conf_merge_msec_value(sale->hold_extend, main->hold_extend, 0);
    ngx_conf_merge_msec_value(sale->catalog_cache, main->catalog_cache, 0);
    ngx_conf_merge_value(sale->max_seats, main->max_seats, 0);
    ngx_conf_merge_value(sale->user_limit, main->user_limit, 0);
    ngx_conf_merge_uint_value(sale->charge, main->charge, 0);
    ngx_conf_merge_uint_value(sale->payment_method, main->payment_method, 0);

    if (sale->groups[NGX_HTTP_CONCERT_GATEWAY] == NULL) {
        sale->max_pending = main->max_pending;
    }

    for (i = 0; i < NGX_HTTP_CONCERT_GROUPS; i++) {
        if (sale->groups[i] == NULL) {
            sale->groups[i] = main->groups[i];
        }
    }

    if (sale->shm_zone == NULL) {
        sale->shm_zone = main->shm_zone;
    }

    if (sale->identity == NULL) {
        sale->identity = main->identity;
    }

    if (sale->queue
        && ngx_http_concert_queue_init(cf, sale->queue, &sale->name) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_concert_sale_copy(cf, sale, main);
}


/* of main, as in another Redis, or for another gateway, it is another one */

static ngx_int_t
ngx_http_concert_sale_copy(ngx_conf_t *cf, ngx_http_concert_sale_t *sale,
    const ngx_http_concert_sale_t *main)
{
    if (sale->queue == NULL) {
        sale->queue = ngx_palloc(cf->pool, sizeof(ngx_http_concert_queue_t));
        if (sale->queue == NULL) {
            return NGX_ERROR;
        }

        *sale->queue = *main->queue;
    }

    if (sale->guard == NULL) {
        sale->guard = ngx_palloc(cf->pool, sizeof(ngx_http_concert_guard_t));
        if (sale->guard == NULL) {
            return NGX_ERROR;
        }

        *sale->guard = *main->guard;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_concert_sale_defaults(ngx_conf_t *cf, ngx_http_concert_sale_t *sale)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_CONCERT_GROUPS; i++) {

        if (sale->groups[i] == NULL) {
            sale->groups[i] = ngx_http_concert_group_create(cf, i);
            if (sale->groups[i] == NULL) {
                return NGX_ERROR;
            }
        }
    }

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
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_CONCERT_GROUPS; i++) {
        sale->groups[i] = ngx_http_concert_group_join(cf, sale,
                                                      sale->groups[i]);
        if (sale->groups[i] == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* one of another sale with the same line, or this */

static ngx_http_concert_group_t *
ngx_http_concert_group_join(ngx_conf_t *cf, ngx_http_concert_sale_t *sale,
    ngx_http_concert_group_t *group)
{
    ngx_uint_t                  i;
    ngx_http_concert_group_t  **groups, **p;

    groups = sale->conf->groups.elts;

    for (i = 0; i < sale->conf->groups.nelts; i++) {

        if (groups[i]->kind != group->kind) {
            continue;
        }

        if (groups[i]->line.len == group->line.len
            && ngx_memcmp(groups[i]->line.data, group->line.data,
                          group->line.len)
               == 0)
        {
            return groups[i];
        }

        group->number += (groups[i]->address.len == group->address.len
                          && ngx_memcmp(groups[i]->address.data,
                                        group->address.data,
                                        group->address.len)
                             == 0);
    }

    p = ngx_array_push(&sale->conf->groups);

    if (p == NULL
        || ngx_http_concert_group_called(cf, sale, group) != NGX_OK)
    {
        return NULL;
    }

    *p = group;

    ngx_http_concert_group_defaults(sale->conf, group);

    return group;
}


/* in the log: read, or read of "festival", after the first sale that has it */

static ngx_int_t
ngx_http_concert_group_called(ngx_conf_t *cf,
    const ngx_http_concert_sale_t *sale, ngx_http_concert_group_t *group)
{
    u_char  *p;

    p = ngx_pnalloc(cf->pool, group->name.len + sale->of.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    group->sale = sale->name;
    group->name.len = ngx_sprintf(p, "%V%V", &group->name, &sale->of) - p;
    group->name.data = p;

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


/* the breaker of one gateway with the same properties is one */

static void
ngx_http_concert_sale_join_guard(ngx_http_concert_sale_t *sale,
    ngx_http_concert_sale_t **others, ngx_uint_t n)
{
    ngx_uint_t                 i;
    ngx_http_concert_guard_t  *guard, *other;

    guard = sale->guard;
    guard->number = 0;

    for (i = 0; i < n; i++) {
        other = others[i]->guard;

        if (!ngx_http_concert_sale_same_store(sale, others[i],
                                              NGX_HTTP_CONCERT_GATEWAY))
        {
            continue;
        }

        if (guard->line.len == other->line.len
            && ngx_memcmp(guard->line.data, other->line.data, guard->line.len)
               == 0)
        {
            sale->guard = other;
            return;
        }

        guard->number = ngx_max(guard->number, other->number + 1);
    }

    guard->of = sale->of;
}


/* what one sale has together with another before it */

static ngx_int_t
ngx_http_concert_sale_join(ngx_conf_t *cf, ngx_http_concert_sale_t *sale,
    const ngx_http_concert_sale_t *other)
{
    ngx_http_concert_queue_t  *queue, *same;

    if (ngx_http_concert_sale_same_store(sale, other, NGX_HTTP_CONCERT_READ)
        && !ngx_http_concert_sale_same_store(sale, other,
                                             NGX_HTTP_CONCERT_GATEWAY))
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "sales \"%V\" and \"%V\" have one database and two "
                      "payment gateways, so nobody knows which to ask of a "
                      "payment: write the same concert_gateway, or another "
                      "concert_postgres", &other->name, &sale->name);
        return NGX_ERROR;
    }

    queue = sale->queue;
    same = other->queue;

    if (!ngx_http_concert_sale_same_store(sale, other, NGX_HTTP_CONCERT_REDIS)
        || queue->name.len != same->name.len
        || ngx_memcmp(queue->name.data, same->name.data, same->name.len) != 0)
    {
        return NGX_OK;
    }

    if (!ngx_http_concert_queue_agrees(queue, same)) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "sales \"%V\" and \"%V\" have one queue, \"%V\", and do "
                      "not say the same of it: write another name=, or the "
                      "same parameters", &other->name, &sale->name,
                      &queue->name);
        return NGX_ERROR;
    }

    sale->queue = other->queue;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_concert_sale_same_store(const ngx_http_concert_sale_t *sale,
    const ngx_http_concert_sale_t *other, ngx_uint_t kind)
{
    const ngx_str_t  *a, *b;

    a = &sale->groups[kind]->address;
    b = &other->groups[kind]->address;

    return a->len == b->len && ngx_memcmp(a->data, b->data, a->len) == 0;
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
                      "dbname=concert\"; in the http block, or in that of its "
                      "sale, \"%V\"", &sale->needed_by[0], &sale->name);
        return NGX_ERROR;
    }

    if ((sale->needs & NGX_HTTP_CONCERT_NEEDS_REDIS)
        && sale->groups[NGX_HTTP_CONCERT_REDIS]->conf == NULL)
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"concert %V\" needs Redis: write concert_redis "
                      "unix:/run/redis/redis-server.sock; in the http block, "
                      "or in that of its sale, \"%V\"", &sale->needed_by[1],
                      &sale->name);
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
                      "in the http block, or in that of the sale \"%V\"",
                      &sale->name);
        return NGX_ERROR;
    }

    return NGX_OK;
}
