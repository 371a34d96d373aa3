
/*
 * The concert reservation service as an nginx module: its directives, its
 * zone, its start and its end.  What a directive says is read where it counts.
 * A request's way begins in src/core/request.c.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "core/conf.h"
#include "core/refusal.h"
#include "core/request.h"
#include "jobs/jobs.h"
#include "store/gateway.h"
#include "store/postgres.h"
#include "store/redis.h"


#define NGX_HTTP_CONCERT_POOL_NAME   "concert_io"
#define NGX_HTTP_CONCERT_GATEWAY_POOL_NAME  "concert_gateway"
#define NGX_HTTP_CONCERT_MIN_ZONE    (2 * 1024 * 1024)
#define NGX_HTTP_CONCERT_ZONE_SIZE   (16 * 1024 * 1024)


static ngx_int_t ngx_http_concert_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_concert_postconfiguration(ngx_conf_t *cf);
static void *ngx_http_concert_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_concert_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_concert_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static void ngx_http_concert_merge_route(ngx_http_core_loc_conf_t *clcf,
    ngx_http_concert_loc_conf_t *prev, ngx_http_concert_loc_conf_t *conf);
static ngx_int_t ngx_http_concert_merge_sale(ngx_conf_t *cf,
    ngx_http_concert_loc_conf_t *prev, ngx_http_concert_loc_conf_t *conf);
static ngx_int_t ngx_http_concert_merge_use(ngx_conf_t *cf,
    ngx_http_concert_loc_conf_t *conf, ngx_http_concert_sale_t *outer);
static char *ngx_http_concert_route_directive(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static ngx_uint_t ngx_http_concert_find_route(ngx_str_t *name);
static ngx_uint_t ngx_http_concert_route_needs(
    const ngx_http_concert_route_t *route);
static char *ngx_http_concert_check_problems(ngx_conf_t *cf, void *post,
    void *data);
static char *ngx_http_concert_zone_directive(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_concert_add_zone(ngx_conf_t *cf,
    ngx_http_concert_sale_t *sale, ngx_str_t *name, size_t size);
static char *ngx_http_concert_default_zone(ngx_conf_t *cf,
    ngx_http_concert_main_conf_t *cmcf);
static ngx_int_t ngx_http_concert_init_zone(ngx_shm_zone_t *shm_zone,
    void *data);
static ngx_int_t ngx_http_concert_check_workers(ngx_cycle_t *cycle,
    ngx_http_concert_main_conf_t *cmcf);
static ngx_int_t ngx_http_concert_check_pools(ngx_cycle_t *cycle,
    ngx_http_concert_main_conf_t *cmcf);
static ngx_uint_t ngx_http_concert_lanes(ngx_http_concert_main_conf_t *cmcf,
    ngx_uint_t gateway);
static ngx_int_t ngx_http_concert_init_process(ngx_cycle_t *cycle);
static void ngx_http_concert_check_threads(ngx_cycle_t *cycle,
    ngx_http_concert_main_conf_t *cmcf);
static ngx_int_t ngx_http_concert_init_sales(ngx_cycle_t *cycle,
    ngx_http_concert_main_conf_t *cmcf);
static ngx_int_t ngx_http_concert_init_groups(ngx_cycle_t *cycle,
    ngx_http_concert_main_conf_t *cmcf);
static void ngx_http_concert_exit_process(ngx_cycle_t *cycle);


static ngx_str_t  ngx_http_concert_pool =
    ngx_string(NGX_HTTP_CONCERT_POOL_NAME);

static ngx_str_t  ngx_http_concert_gateway_pool =
    ngx_string(NGX_HTTP_CONCERT_GATEWAY_POOL_NAME);


static ngx_conf_post_t  ngx_http_concert_problems_post = {
    ngx_http_concert_check_problems
};


static const ngx_http_concert_conf_word_t  ngx_http_concert_charge_words[] = {
    { "free", NGX_HTTP_CONCERT_CHARGE_FREE, "credits a charge at once" },
    { "card", NGX_HTTP_CONCERT_CHARGE_CARD, "credits what a card has paid" },
    { NULL, 0, NULL }
};


static const ngx_http_concert_conf_word_t  ngx_http_concert_method_words[] = {
    { "balance", NGX_HTTP_CONCERT_METHOD_BALANCE,
      "takes it from the balance" },
    { "card", NGX_HTTP_CONCERT_METHOD_CARD, "asks the payment gateway" },
    { NULL, 0, NULL }
};


static ngx_command_t  ngx_http_concert_commands[] = {

    { ngx_string("concert"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_concert_route_directive,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("concert_problems"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_concert_loc_conf_t, problems),
      &ngx_http_concert_problems_post },

    { ngx_string("concert_sale"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_concert_sale_block,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("concert_use"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_concert_use_directive,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("concert_zone"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_CONCERT_SALE_CONF|NGX_CONF_TAKE2,
      ngx_http_concert_zone_directive,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("concert_postgres"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_CONCERT_SALE_CONF|NGX_CONF_1MORE,
      ngx_http_concert_postgres_directive,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("concert_redis"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_CONCERT_SALE_CONF|NGX_CONF_1MORE,
      ngx_http_concert_redis_directive,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("concert_gateway"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_CONCERT_SALE_CONF|NGX_CONF_1MORE,
      ngx_http_concert_gateway_directive,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("concert_breaker"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_CONCERT_SALE_CONF|NGX_CONF_1MORE,
      ngx_http_concert_guard_directive,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("concert_queue"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_CONCERT_SALE_CONF|NGX_CONF_1MORE,
      ngx_http_concert_queue_directive,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("concert_hold"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_CONCERT_SALE_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ngx_http_concert_sale_t, hold),
      &ngx_http_concert_conf_msec_post },

    { ngx_string("concert_hold_extend_on_outage"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_CONCERT_SALE_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ngx_http_concert_sale_t, hold_extend),
      &ngx_http_concert_conf_msec_post },

    { ngx_string("concert_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_concert_main_conf_t, timeout),
      &ngx_http_concert_conf_msec_post },

    { ngx_string("concert_catalog_cache"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_CONCERT_SALE_CONF|NGX_CONF_TAKE1,
      ngx_http_concert_conf_set_time_or_off,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ngx_http_concert_sale_t, catalog_cache),
      NULL },

    { ngx_string("concert_max_seats"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_CONCERT_SALE_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ngx_http_concert_sale_t, max_seats),
      &ngx_http_concert_conf_count_post },

    { ngx_string("concert_user_limit"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_CONCERT_SALE_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ngx_http_concert_sale_t, user_limit),
      &ngx_http_concert_conf_count_post },

    { ngx_string("concert_charge"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_CONCERT_SALE_CONF|NGX_CONF_TAKE1,
      ngx_http_concert_conf_set_word,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ngx_http_concert_sale_t, charge),
      (void *) ngx_http_concert_charge_words },

    { ngx_string("concert_payment_method"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_CONCERT_SALE_CONF|NGX_CONF_TAKE1,
      ngx_http_concert_conf_set_word,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ngx_http_concert_sale_t, payment_method),
      (void *) ngx_http_concert_method_words },

    { ngx_string("concert_identity"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_CONCERT_SALE_CONF|NGX_CONF_1MORE,
      ngx_http_concert_identity_directive,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_concert_module_ctx = {
    ngx_http_concert_preconfiguration,     /* preconfiguration */
    ngx_http_concert_postconfiguration,    /* postconfiguration */

    ngx_http_concert_create_main_conf,     /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_concert_create_loc_conf,      /* create location configuration */
    ngx_http_concert_merge_loc_conf        /* merge location configuration */
};


ngx_module_t  ngx_http_concert_module = {
    NGX_MODULE_V1,
    &ngx_http_concert_module_ctx,          /* module context */
    ngx_http_concert_commands,             /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_concert_init_process,         /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_concert_exit_process,         /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static void *
ngx_http_concert_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_concert_main_conf_t  *cmcf;

    static ngx_str_t  name = ngx_string("main");

    cmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_concert_main_conf_t));
    if (cmcf == NULL) {
        return NULL;
    }

    cmcf->timeout = NGX_CONF_UNSET_MSEC;

    if (ngx_array_init(&cmcf->sales, cf->pool, 1,
                       sizeof(ngx_http_concert_sale_t *))
        != NGX_OK
        || ngx_array_init(&cmcf->groups, cf->pool, NGX_HTTP_CONCERT_GROUPS,
                          sizeof(ngx_http_concert_group_t *))
           != NGX_OK
        || ngx_array_init(&cmcf->parts, cf->pool, 8,
                          sizeof(ngx_http_concert_part_t *))
           != NGX_OK
        || ngx_http_concert_sale_create(cf, cmcf, &name) == NULL)
    {
        return NULL;
    }

    return cmcf;
}


/* directives of sales are given a sale: at the http level, main */

static ngx_int_t
ngx_http_concert_preconfiguration(ngx_conf_t *cf)
{
    ngx_http_conf_ctx_t           *ctx;
    ngx_http_concert_sale_t      **sales;
    ngx_http_concert_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_concert_module);
    sales = cmcf->sales.elts;

    ctx = cf->ctx;
    ctx->srv_conf[ngx_http_concert_module.ctx_index] = sales[0];

    return ngx_http_concert_add_variables(cf);
}


static void *
ngx_http_concert_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_concert_loc_conf_t  *lcf;

    lcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_concert_loc_conf_t));
    if (lcf == NULL) {
        return NULL;
    }

    lcf->problems = NGX_CONF_UNSET;

    return lcf;
}


static char *
ngx_http_concert_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_concert_loc_conf_t *prev = parent;
    ngx_http_concert_loc_conf_t *conf = child;

    ngx_http_concert_merge_route(
        ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module),
        prev, conf);

    if (ngx_http_concert_merge_sale(cf, prev, conf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (conf->problems == NGX_CONF_UNSET) {
        conf->problems = prev->problems;
    }

    /* where nobody says, those of routes are */

    if (conf->problems == 0
        || (conf->problems == NGX_CONF_UNSET && conf->route == NULL))
    {
        return NGX_CONF_OK;
    }

    return ngx_http_concert_refusal_pages(cf) == NGX_OK ? NGX_CONF_OK
                                                        : NGX_CONF_ERROR;
}


/*
 * What nginx makes out of a location, for an "if" or a limit_except, serves
 * what that serves, unless it has another handler.  What serves none counts as
 * refusals.
 */

static void
ngx_http_concert_merge_route(ngx_http_core_loc_conf_t *clcf,
    ngx_http_concert_loc_conf_t *prev, ngx_http_concert_loc_conf_t *conf)
{
    static ngx_str_t  refused = ngx_string("problem");

    if (clcf->noname && clcf->handler == NULL && prev->route) {
        *conf = *prev;

        if (clcf->lmt_excpt) {
            clcf->handler = ngx_http_concert_handler;
        }
    }

    if (conf->route == NULL) {
        conf->index = ngx_http_concert_find_route(&refused);
    }
}


/* what a route needs, its sale needs */

static ngx_int_t
ngx_http_concert_merge_sale(ngx_conf_t *cf, ngx_http_concert_loc_conf_t *prev,
    ngx_http_concert_loc_conf_t *conf)
{
    ngx_uint_t                      flags;
    ngx_http_concert_sale_t       **sales;
    ngx_http_concert_main_conf_t   *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_concert_module);
    sales = cmcf->sales.elts;

    if ((prev->sale == NULL
         && ngx_http_concert_merge_use(cf, prev, sales[0]) != NGX_OK)
        || ngx_http_concert_merge_use(cf, conf, prev->sale) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (conf->route == NULL) {
        return NGX_OK;
    }

    flags = ngx_http_concert_route_needs(conf->route);
    conf->sale->needs |= flags;

    if (flags & NGX_HTTP_CONCERT_NEEDS_POSTGRES) {
        conf->sale->needed_by[0] = conf->route->name;
    }

    if (flags & NGX_HTTP_CONCERT_NEEDS_REDIS) {
        conf->sale->needed_by[1] = conf->route->name;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_concert_merge_use(ngx_conf_t *cf, ngx_http_concert_loc_conf_t *conf,
    ngx_http_concert_sale_t *outer)
{
    ngx_http_concert_main_conf_t  *cmcf;

    conf->sale = outer;

    if (conf->use.len == 0) {
        return NGX_OK;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_concert_module);
    conf->sale = ngx_http_concert_sale_find(cmcf, &conf->use);

    if (conf->sale == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "there is no sale \"%V\": write \"concert_sale %V { ... "
                      "}\" in the http block", &conf->use, &conf->use);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_concert_postconfiguration(ngx_conf_t *cf)
{
    ngx_http_handler_pt           *h;
    ngx_http_core_main_conf_t     *core;
    ngx_http_concert_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_concert_module);

    if (cmcf->needs == 0) {
        return NGX_OK;
    }

    if (ngx_http_concert_default_zone(cf, cmcf) != NGX_CONF_OK
        || ngx_http_concert_sales_init(cf, cmcf) != NGX_OK
        || ngx_http_concert_sales_check(cf, cmcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    core = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&core->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_concert_log_handler;

    h = ngx_array_push(&core->phases[NGX_HTTP_SERVER_REWRITE_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_concert_refusal_handler;

    ngx_http_concert_redis_init();

    return NGX_OK;
}


static char *
ngx_http_concert_route_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_concert_loc_conf_t *lcf = conf;

    ngx_str_t                     *value;
    ngx_http_core_loc_conf_t      *clcf;
    ngx_http_concert_main_conf_t  *cmcf;

    if (lcf->route) {
        return "is duplicate";
    }

    value = cf->args->elts;
    lcf->index = ngx_http_concert_find_route(&value[1]);
    lcf->route = ngx_http_concert_routes[lcf->index];

    if (lcf->route == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "there is no route \"%V\": write one of "
                           "concert_routes.conf, as \"concert seats\"",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_concert_module);
    cmcf->needs |= ngx_http_concert_route_needs(lcf->route);

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_concert_handler;

    if (!clcf->exact_match && !clcf->named
#if (NGX_PCRE)
        && !clcf->regex
#endif
       )
    {
        lcf->prefix = clcf->name;
    }

    return NGX_CONF_OK;
}


/* the index of the route, or of the NULL that ends the table */

static ngx_uint_t
ngx_http_concert_find_route(ngx_str_t *name)
{
    ngx_str_t   *known;
    ngx_uint_t   i;

    for (i = 0; ngx_http_concert_routes[i]; i++) {
        known = &ngx_http_concert_routes[i]->name;

        if (known->len == name->len
            && ngx_strncmp(known->data, name->data, name->len) == 0)
        {
            break;
        }
    }

    return i;
}


static ngx_uint_t
ngx_http_concert_route_needs(const ngx_http_concert_route_t *route)
{
    ngx_uint_t  i, flags;

    flags = NGX_HTTP_CONCERT_NEEDS_ZONE;

    for (i = 0; i < NGX_HTTP_CONCERT_MAX_ENDPOINTS; i++) {
        flags |= route->endpoints[i].flags;
    }

    return flags & (NGX_HTTP_CONCERT_NEEDS_ZONE
                    |NGX_HTTP_CONCERT_NEEDS_POSTGRES
                    |NGX_HTTP_CONCERT_NEEDS_REDIS);
}


/* whoever answers them needs what routes need */

static char *
ngx_http_concert_check_problems(ngx_conf_t *cf, void *post, void *data)
{
    ngx_flag_t *on = data;

    ngx_http_concert_main_conf_t  *cmcf;

    if (*on) {
        cmcf = ngx_http_conf_get_module_main_conf(cf,
                                                  ngx_http_concert_module);
        cmcf->needs |= NGX_HTTP_CONCERT_NEEDS_ZONE;
    }

    return NGX_CONF_OK;
}


/* concert_zone name size; */

static char *
ngx_http_concert_zone_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_concert_sale_t *sale = conf;

    ssize_t     size;
    ngx_str_t  *value;

    if (sale->shm_zone) {
        return "is duplicate";
    }

    value = cf->args->elts;
    size = ngx_parse_size(&value[2]);

    if (size < (ssize_t) NGX_HTTP_CONCERT_MIN_ZONE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone size \"%V\": write at least 2m, as "
                           "\"concert_zone %V 16m\"", &value[2], &value[1]);
        return NGX_CONF_ERROR;
    }

    return ngx_http_concert_add_zone(cf, sale, &value[1], (size_t) size);
}


static char *
ngx_http_concert_add_zone(ngx_conf_t *cf, ngx_http_concert_sale_t *sale,
    ngx_str_t *name, size_t size)
{
    ngx_shm_zone_t  *shm_zone;

    shm_zone = ngx_shared_memory_add(cf, name, size,
                                     &ngx_http_concert_module);
    if (shm_zone == NULL) {
        return NGX_CONF_ERROR;
    }

    shm_zone->init = ngx_http_concert_init_zone;
    shm_zone->data = cf->cycle;
    sale->shm_zone = shm_zone;

    return NGX_CONF_OK;
}


/* of the http block, and of sales that have no zone of their own */

static char *
ngx_http_concert_default_zone(ngx_conf_t *cf,
    ngx_http_concert_main_conf_t *cmcf)
{
    ngx_http_concert_sale_t  **sales;

    static ngx_str_t  name = ngx_string("concert");

    sales = cmcf->sales.elts;

    if (sales[0]->shm_zone) {
        return NGX_CONF_OK;
    }

    return ngx_http_concert_add_zone(cf, sales[0], &name,
                                     NGX_HTTP_CONCERT_ZONE_SIZE);
}


/*
 * The zone is made when the configuration has been read to its end, so that
 * what stands outside of the http block is known; a reload that fails here
 * leaves the old configuration at work.
 */

static ngx_int_t
ngx_http_concert_init_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_cycle_t                   *cycle;
    ngx_http_concert_main_conf_t  *cmcf;

    cycle = shm_zone->data;
    cmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_concert_module);

    if (cmcf->needs
        && (ngx_http_concert_check_workers(cycle, cmcf) != NGX_OK
            || ngx_http_concert_check_pools(cycle, cmcf) != NGX_OK))
    {
        return NGX_ERROR;
    }

    if (ngx_http_concert_zone_open(shm_zone, data) != NGX_OK) {
        return NGX_ERROR;
    }

    if (cmcf->needs == 0) {
        return NGX_OK;
    }

    if (ngx_http_concert_sales_share(shm_zone, cmcf) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_concert_zone_share(shm_zone);
}


/* each worker has a slot of its own in the zone */

static ngx_int_t
ngx_http_concert_check_workers(ngx_cycle_t *cycle,
    ngx_http_concert_main_conf_t *cmcf)
{
    ngx_core_conf_t  *ccf;

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    cmcf->workers = ccf->master ? ccf->worker_processes : 1;

    if (cmcf->workers > NGX_HTTP_CONCERT_SLOTS) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "concert: there is no room for %ui worker processes: "
                      "write \"worker_processes %d;\" or fewer",
                      cmcf->workers, NGX_HTTP_CONCERT_SLOTS);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_concert_check_pools(ngx_cycle_t *cycle,
    ngx_http_concert_main_conf_t *cmcf)
{
    ngx_uint_t  n;

    n = ngx_http_concert_lanes(cmcf, 0);

    if (n && ngx_thread_pool_get(cycle, &ngx_http_concert_pool) == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "there is no thread pool for the lanes: write "
                      "\"thread_pool " NGX_HTTP_CONCERT_POOL_NAME
                      " threads=%ui;\" outside of the http block", n);
        return NGX_ERROR;
    }

    n = ngx_http_concert_lanes(cmcf, 1);

    if (n && ngx_thread_pool_get(cycle, &ngx_http_concert_gateway_pool) == NULL)
    {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "there is no thread pool for the payment gateway: write "
                      "\"thread_pool " NGX_HTTP_CONCERT_GATEWAY_POOL_NAME
                      " threads=%ui;\" outside of the http block", n);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* how many there are to payment gateways, or to all else */

static ngx_uint_t
ngx_http_concert_lanes(ngx_http_concert_main_conf_t *cmcf, ngx_uint_t gateway)
{
    ngx_uint_t                  i, n;
    ngx_http_concert_group_t  **groups;

    n = 0;
    groups = cmcf->groups.elts;

    for (i = 0; i < cmcf->groups.nelts; i++) {
        if (groups[i]->conf
            && (groups[i]->kind == NGX_HTTP_CONCERT_GATEWAY) == gateway)
        {
            n += groups[i]->nlanes;
        }
    }

    return n;
}


static ngx_int_t
ngx_http_concert_init_process(ngx_cycle_t *cycle)
{
    ngx_http_concert_main_conf_t  *cmcf;

    /* not in the cache manager and loader */

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    cmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_concert_module);

    if (cmcf == NULL || cmcf->needs == 0) {
        return NGX_OK;
    }

    json_object_seed(0);
    ngx_http_concert_call_init_worker();
    ngx_http_concert_request_init_worker();

#if (NGX_HTTP_CONCERT_CURL)
    if (ngx_http_concert_lanes(cmcf, 1)
        && ngx_http_concert_gateway_init_worker() != NGX_OK)
    {
        return NGX_ERROR;
    }
#endif

    if (ngx_worker == 0) {
        ngx_http_concert_check_threads(cycle, cmcf);
    }

    if (ngx_http_concert_init_sales(cycle, cmcf) != NGX_OK
        || ngx_http_concert_init_groups(cycle, cmcf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_concert_jobs_init(cycle, cmcf);
}


/*
 * Threads that wait for one sale's store must not be missed by another's.  How
 * many a pool has nobody tells, but all of them run by now.
 */

static void
ngx_http_concert_check_threads(ngx_cycle_t *cycle,
    ngx_http_concert_main_conf_t *cmcf)
{
    ngx_dir_t   dir;
    ngx_str_t   name;
    ngx_uint_t  threads, lanes;

    ngx_str_set(&name, "/proc/self/task");

    if (ngx_open_dir(&name, &dir) != NGX_OK) {
        return;
    }

    /* ".", ".." and the event loop */

    for (threads = 0; ngx_read_dir(&dir) == NGX_OK; threads++) { /* void */ }

    (void) ngx_close_dir(&dir);

    threads -= ngx_min(threads, 3);
    lanes = ngx_http_concert_lanes(cmcf, 0) + ngx_http_concert_lanes(cmcf, 1);

    if (threads < lanes) {
        ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                      "concert: there are %ui lanes and only %ui threads, so "
                      "a store that is slow delays the others: write "
                      "\"thread_pool " NGX_HTTP_CONCERT_POOL_NAME
                      " threads=%ui;\"", lanes, threads,
                      ngx_http_concert_lanes(cmcf, 0));
    }
}


static ngx_int_t
ngx_http_concert_init_sales(ngx_cycle_t *cycle,
    ngx_http_concert_main_conf_t *cmcf)
{
    ngx_uint_t                 i;
    ngx_http_concert_sale_t   *sale, **sales;
    ngx_http_concert_part_t  **parts;

    parts = cmcf->parts.elts;

    for (i = 0; i < cmcf->parts.nelts; i++) {
        (void) ngx_atomic_fetch_add(&parts[i]->users, 1);
    }

    sales = cmcf->sales.elts;

    for (i = 0; i < cmcf->sales.nelts; i++) {
        sale = sales[i];
        sale->slot = sale->part->slots[ngx_worker];

        ngx_http_concert_zone_enter(sale->shm_zone->data, ngx_worker);
        ngx_http_concert_guard_init_worker(sale->guard);

        if (sale->identity->kind == NGX_HTTP_CONCERT_IDENTITY_JWT
            && ngx_http_concert_identity_init_worker(cycle) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_concert_init_groups(ngx_cycle_t *cycle,
    ngx_http_concert_main_conf_t *cmcf)
{
    ngx_str_t                  *pool;
    ngx_uint_t                  i;
    ngx_http_concert_group_t   *group, **groups;

    /* the lanes connect at once, and the time is still that of the master */

    ngx_time_update();

    groups = cmcf->groups.elts;

    for (i = 0; i < cmcf->groups.nelts; i++) {
        group = groups[i];

        if (group->conf == NULL) {
            continue;
        }

        pool = group->kind == NGX_HTTP_CONCERT_GATEWAY
               ? &ngx_http_concert_gateway_pool : &ngx_http_concert_pool;

        group->stats = group->part->slots[ngx_worker];
        group->pool = ngx_thread_pool_get(cycle, pool);

        if (ngx_http_concert_group_init(group, cycle) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
ngx_http_concert_exit_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                      i;
    ngx_http_concert_part_t       **parts;
    ngx_http_concert_sale_t       **sales;
    ngx_http_concert_group_t      **groups;
    ngx_http_concert_main_conf_t   *cmcf;

    cmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_concert_module);

    if (cmcf == NULL || cmcf->needs == 0) {
        return;
    }

    sales = cmcf->sales.elts;
    groups = cmcf->groups.elts;
    parts = cmcf->parts.elts;

    if (sales[0]->slot == NULL) {
        return;
    }

    for (i = 0; i < cmcf->groups.nelts; i++) {
        ngx_http_concert_group_exit(groups[i]);
    }

    for (i = 0; i < cmcf->sales.nelts; i++) {
        ngx_http_concert_zone_leave(sales[i]->shm_zone->data, ngx_worker);
    }

    for (i = 0; i < cmcf->parts.nelts; i++) {
        (void) ngx_atomic_fetch_add(&parts[i]->users, -1);
    }
}
