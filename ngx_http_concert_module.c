
/*
 * The concert reservation service as an nginx module: its directives, its
 * zone, its start and its end.  A request's way begins in src/core/request.c.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "core/guard.h"
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
#define NGX_HTTP_CONCERT_MAX_LANES   64
#define NGX_HTTP_CONCERT_MAX_QUEUE   8192
#define NGX_HTTP_CONCERT_MAX_PATH    107     /* sun_path */
#define NGX_HTTP_CONCERT_MAX_SECRET  512
#define NGX_HTTP_CONCERT_MAX_FILE    8192    /* of a key or a password */

/* defaults; times in ms */
#define NGX_HTTP_CONCERT_HOLD        (5 * 60 * 1000)
#define NGX_HTTP_CONCERT_TIMEOUT     3000
#define NGX_HTTP_CONCERT_CACHE       1000
#define NGX_HTTP_CONCERT_MAX_SEATS   4
#define NGX_HTTP_CONCERT_CAPACITY    1000
#define NGX_HTTP_CONCERT_TTL         (10 * 60 * 1000)
#define NGX_HTTP_CONCERT_CLAIM       (30 * 1000)
#define NGX_HTTP_CONCERT_POLL        1000

/* defaults of the payment gateway */
#define NGX_HTTP_CONCERT_GATEWAY_LANES    16
#define NGX_HTTP_CONCERT_GATEWAY_QUEUE    256
#define NGX_HTTP_CONCERT_GATEWAY_TIMEOUT  (10 * 1000)
#define NGX_HTTP_CONCERT_GATEWAY_CONNECT  2000
#define NGX_HTTP_CONCERT_GATEWAY_PENDING  1000

/* the path of a question is added */
#define NGX_HTTP_CONCERT_MAX_URL     512

#define NGX_HTTP_CONCERT_MAX_CACHE   (24 * 60 * 60 * 1000)

/* ms, a year: what ends is told as a time, of which JSON has no end */
#define NGX_HTTP_CONCERT_MAX_TIME    ((ngx_msec_t) 365 * 24 * 60 * 60 * 1000)

/* s; RFC 7519, 4.1.4: no more than a few minutes */
#define NGX_HTTP_CONCERT_MAX_LEEWAY  300


typedef struct {
    const char  *name;
    ngx_uint_t   min;
    ngx_uint_t   max;
    ngx_uint_t  *value;
} ngx_http_concert_number_t;


typedef struct {
    const char  *name;
    ngx_uint_t   value;
    const char  *meaning;
} ngx_http_concert_word_t;


/* of the breaker: named as Resilience4j does */

typedef enum {
    NGX_HTTP_CONCERT_PROPERTY_PERCENT,   /* float */
    NGX_HTTP_CONCERT_PROPERTY_COUNT,     /* int64_t */
    NGX_HTTP_CONCERT_PROPERTY_TIME,      /* int64_t, ms */
    NGX_HTTP_CONCERT_PROPERTY_TYPE,      /* uint32_t: count, time */
    NGX_HTTP_CONCERT_PROPERTY_FLAG       /* uint32_t: off, on */
} ngx_http_concert_property_e;


typedef struct {
    ngx_str_t                    name;
    ngx_http_concert_property_e  kind;
    size_t                       offset;
    const char                  *example;
} ngx_http_concert_property_t;


static ngx_int_t ngx_http_concert_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_concert_postconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_concert_check_needs(ngx_conf_t *cf,
    ngx_http_concert_main_conf_t *cmcf);
static void *ngx_http_concert_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_concert_init_main_conf(ngx_conf_t *cf, void *conf);
static void ngx_http_concert_init_queue_conf(
    ngx_http_concert_queue_conf_t *queue);
static char *ngx_http_concert_init_group_confs(ngx_conf_t *cf,
    ngx_http_concert_main_conf_t *cmcf);
static void *ngx_http_concert_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_concert_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static void ngx_http_concert_merge_route(ngx_http_core_loc_conf_t *clcf,
    ngx_http_concert_loc_conf_t *prev, ngx_http_concert_loc_conf_t *conf);
static char *ngx_http_concert_route_directive(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static ngx_uint_t ngx_http_concert_find_route(ngx_str_t *name);
static char *ngx_http_concert_zone_directive(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_concert_add_zone(ngx_conf_t *cf,
    ngx_http_concert_main_conf_t *cmcf, ngx_str_t *name, size_t size);
static char *ngx_http_concert_postgres_directive(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static ngx_int_t ngx_http_concert_postgres_conninfo(ngx_conf_t *cf,
    ngx_str_t *conninfo);
static char *ngx_http_concert_postgres_confs(ngx_conf_t *cf,
    ngx_str_t *conninfo, ngx_http_concert_group_t *read,
    ngx_http_concert_group_t *write);
static char *ngx_http_concert_redis_directive(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static ngx_int_t ngx_http_concert_redis_login(ngx_conf_t *cf,
    ngx_str_t *value, ngx_http_concert_redis_conf_t *rcf);
static ngx_int_t ngx_http_concert_secret(ngx_conf_t *cf, ngx_str_t *name,
    const char *what, ngx_str_t *secret);
static ngx_int_t ngx_http_concert_read_file(ngx_conf_t *cf, ngx_str_t *name,
    ngx_str_t *text);
static char *ngx_http_concert_redis_address(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_concert_redis_conf_t *rcf);
static char *ngx_http_concert_gateway_directive(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
#if (NGX_HTTP_CONCERT_CURL)
static ngx_http_concert_gateway_conf_t *ngx_http_concert_gateway_defaults(
    ngx_conf_t *cf, ngx_http_concert_main_conf_t *cmcf,
    ngx_http_concert_group_t *group);
static ngx_int_t ngx_http_concert_gateway_url(ngx_conf_t *cf,
    ngx_str_t *value, ngx_http_concert_gateway_conf_t *gcf);
static ngx_int_t ngx_http_concert_gateway_parameter(ngx_conf_t *cf,
    ngx_str_t *value, ngx_http_concert_group_t *group,
    ngx_http_concert_gateway_conf_t *gcf);
#endif
static char *ngx_http_concert_breaker_directive(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static ngx_int_t ngx_http_concert_breaker_parameter(ngx_conf_t *cf,
    ngx_str_t *value, ngx_http_concert_breaker_conf_t *breaker);
static ngx_int_t ngx_http_concert_breaker_value(ngx_str_t *text,
    const ngx_http_concert_property_t *property, void *value);
static char *ngx_http_concert_queue_directive(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static ngx_int_t ngx_http_concert_queue_parameter(ngx_conf_t *cf,
    ngx_str_t *value, ngx_http_concert_queue_conf_t *queue);
static ngx_int_t ngx_http_concert_queue_time(ngx_conf_t *cf, ngx_str_t *value,
    size_t prefix, const char *example, ngx_msec_t *time);
static ngx_int_t ngx_http_concert_queue_rate(ngx_conf_t *cf, ngx_str_t *value,
    ngx_uint_t *rate);
static ngx_int_t ngx_http_concert_queue_name(ngx_conf_t *cf, ngx_str_t *name);
static ngx_int_t ngx_http_concert_redis_keys(ngx_conf_t *cf,
    ngx_http_concert_redis_conf_t *rcf, ngx_str_t *name);
static char *ngx_http_concert_word_directive(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_concert_cache_directive(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_concert_identity_directive(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static ngx_int_t ngx_http_concert_identity_parameter(ngx_conf_t *cf,
    ngx_str_t *value, ngx_http_concert_jwt_conf_t *jwt);
static ngx_int_t ngx_http_concert_identity_key(ngx_conf_t *cf,
    ngx_str_t *name, ngx_http_concert_jwt_conf_t *jwt);
static ngx_int_t ngx_http_concert_number(ngx_conf_t *cf, ngx_str_t *value,
    const ngx_http_concert_number_t *numbers);
static char *ngx_http_concert_check_msec(ngx_conf_t *cf, void *post,
    void *data);
static char *ngx_http_concert_check_count(ngx_conf_t *cf, void *post,
    void *data);
static char *ngx_http_concert_check_problems(ngx_conf_t *cf, void *post,
    void *data);
static ngx_int_t ngx_http_concert_init_zone(ngx_shm_zone_t *shm_zone,
    void *data);
static ngx_int_t ngx_http_concert_check_workers(ngx_cycle_t *cycle,
    ngx_http_concert_main_conf_t *cmcf);
static ngx_int_t ngx_http_concert_check_pools(ngx_cycle_t *cycle,
    ngx_http_concert_main_conf_t *cmcf);
static ngx_int_t ngx_http_concert_init_process(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_concert_init_groups(ngx_cycle_t *cycle);
static void ngx_http_concert_exit_process(ngx_cycle_t *cycle);


static ngx_str_t  ngx_http_concert_pool =
    ngx_string(NGX_HTTP_CONCERT_POOL_NAME);

static ngx_str_t  ngx_http_concert_gateway_pool =
    ngx_string(NGX_HTTP_CONCERT_GATEWAY_POOL_NAME);


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


static ngx_conf_post_t  ngx_http_concert_msec_post = {
    ngx_http_concert_check_msec
};


static ngx_conf_post_t  ngx_http_concert_count_post = {
    ngx_http_concert_check_count
};


static ngx_conf_post_t  ngx_http_concert_problems_post = {
    ngx_http_concert_check_problems
};


static const ngx_http_concert_word_t  ngx_http_concert_charge_words[] = {
    { "free", NGX_HTTP_CONCERT_CHARGE_FREE, "credits a charge at once" },
    { "card", NGX_HTTP_CONCERT_CHARGE_CARD, "credits what a card has paid" },
    { NULL, 0, NULL }
};


static const ngx_http_concert_word_t  ngx_http_concert_method_words[] = {
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

    { ngx_string("concert_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE2,
      ngx_http_concert_zone_directive,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("concert_postgres"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_concert_postgres_directive,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("concert_redis"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_concert_redis_directive,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("concert_gateway"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_concert_gateway_directive,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("concert_breaker"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_concert_breaker_directive,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("concert_queue"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_concert_queue_directive,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("concert_hold"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_concert_main_conf_t, hold),
      &ngx_http_concert_msec_post },

    { ngx_string("concert_hold_extend_on_outage"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_concert_main_conf_t, hold_extend),
      &ngx_http_concert_msec_post },

    { ngx_string("concert_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_concert_main_conf_t, timeout),
      &ngx_http_concert_msec_post },

    { ngx_string("concert_catalog_cache"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_concert_cache_directive,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("concert_max_seats"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_concert_main_conf_t, max_seats),
      &ngx_http_concert_count_post },

    { ngx_string("concert_user_limit"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_concert_main_conf_t, user_limit),
      &ngx_http_concert_count_post },

    { ngx_string("concert_charge"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_concert_word_directive,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_concert_main_conf_t, charge),
      (void *) ngx_http_concert_charge_words },

    { ngx_string("concert_payment_method"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_concert_word_directive,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_concert_main_conf_t, payment_method),
      (void *) ngx_http_concert_method_words },

    { ngx_string("concert_identity"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_concert_identity_directive,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_concert_module_ctx = {
    ngx_http_concert_preconfiguration,     /* preconfiguration */
    ngx_http_concert_postconfiguration,    /* postconfiguration */

    ngx_http_concert_create_main_conf,     /* create main configuration */
    ngx_http_concert_init_main_conf,       /* init main configuration */

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


static ngx_int_t
ngx_http_concert_preconfiguration(ngx_conf_t *cf)
{
    return ngx_http_concert_add_variables(cf);
}


static void *
ngx_http_concert_create_main_conf(ngx_conf_t *cf)
{
    ngx_uint_t                     i;
    ngx_http_concert_main_conf_t  *cmcf;

    cmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_concert_main_conf_t));
    if (cmcf == NULL) {
        return NULL;
    }

    cmcf->hold = NGX_CONF_UNSET_MSEC;
    cmcf->hold_extend = NGX_CONF_UNSET_MSEC;
    cmcf->timeout = NGX_CONF_UNSET_MSEC;
    cmcf->catalog_cache = NGX_CONF_UNSET_MSEC;
    cmcf->max_seats = NGX_CONF_UNSET;
    cmcf->user_limit = NGX_CONF_UNSET;
    ngx_http_concert_breaker_defaults(&cmcf->breaker);

    cmcf->charge = NGX_CONF_UNSET_UINT;
    cmcf->payment_method = NGX_CONF_UNSET_UINT;
    cmcf->queue.capacity = NGX_CONF_UNSET_UINT;
    cmcf->queue.rate = NGX_CONF_UNSET_UINT;
    cmcf->queue.ttl = NGX_CONF_UNSET_MSEC;
    cmcf->queue.claim = NGX_CONF_UNSET_MSEC;
    cmcf->queue.poll = NGX_CONF_UNSET_MSEC;

    for (i = 0; i < NGX_HTTP_CONCERT_GROUPS; i++) {
        cmcf->groups[i] = ngx_http_concert_default_groups[i];
    }

    return cmcf;
}


static char *
ngx_http_concert_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_concert_main_conf_t *cmcf = conf;

    static ngx_str_t  zone = ngx_string("concert");

    ngx_conf_init_msec_value(cmcf->hold, NGX_HTTP_CONCERT_HOLD);
    ngx_conf_init_msec_value(cmcf->hold_extend, 0);
    ngx_conf_init_msec_value(cmcf->timeout, NGX_HTTP_CONCERT_TIMEOUT);
    ngx_conf_init_msec_value(cmcf->catalog_cache, NGX_HTTP_CONCERT_CACHE);
    ngx_conf_init_value(cmcf->max_seats, NGX_HTTP_CONCERT_MAX_SEATS);
    ngx_conf_init_value(cmcf->user_limit, 0);
    ngx_conf_init_uint_value(cmcf->charge, NGX_HTTP_CONCERT_CHARGE_FREE);
    ngx_conf_init_uint_value(cmcf->payment_method,
                             NGX_HTTP_CONCERT_METHOD_BALANCE);
    ngx_http_concert_init_queue_conf(&cmcf->queue);

    if (cmcf->identity.kind == NGX_HTTP_CONCERT_IDENTITY_UNSET) {
        cmcf->identity.kind = NGX_HTTP_CONCERT_IDENTITY_HEADER;
    }

    if (cmcf->needs && cmcf->shm_zone == NULL
        && ngx_http_concert_add_zone(cf, cmcf, &zone,
                                     NGX_HTTP_CONCERT_ZONE_SIZE)
           != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    return ngx_http_concert_init_group_confs(cf, cmcf);
}


static void
ngx_http_concert_init_queue_conf(ngx_http_concert_queue_conf_t *queue)
{
    ngx_conf_init_uint_value(queue->capacity, NGX_HTTP_CONCERT_CAPACITY);
    ngx_conf_init_uint_value(queue->rate, 0);
    ngx_conf_init_msec_value(queue->ttl, NGX_HTTP_CONCERT_TTL);
    ngx_conf_init_msec_value(queue->claim, NGX_HTTP_CONCERT_CLAIM);
    ngx_conf_init_msec_value(queue->poll, NGX_HTTP_CONCERT_POLL);

    /* a place that is kept for who has not come is not kept for longer */

    queue->claim = ngx_min(queue->claim, queue->ttl);

    if (queue->name.len == 0) {
        ngx_str_set(&queue->name, "main");
    }
}


static char *
ngx_http_concert_init_group_confs(ngx_conf_t *cf,
    ngx_http_concert_main_conf_t *cmcf)
{
    ngx_uint_t                         i;
    ngx_http_concert_group_t          *group;
    ngx_http_concert_postgres_conf_t  *pcf;

    for (i = 0; i < NGX_HTTP_CONCERT_GROUPS; i++) {
        group = &cmcf->groups[i];

        if (i == NGX_HTTP_CONCERT_GATEWAY) {

            /*
             * a permit is as old as its claim, its wait for a lane and its
             * question at most
             */

            cmcf->breaker.permit_timeout = 2 * (group->timeout
                                                + cmcf->timeout);
            continue;
        }

        group->timeout = cmcf->timeout;

        if (group->max_queue == 0) {
            group->max_queue = NGX_HTTP_CONCERT_MAX_QUEUE;
        }

        if (group->conf == NULL) {
            continue;
        }

        if (group->store == &ngx_http_concert_postgres) {
            pcf = group->conf;
            pcf->timeout = cmcf->timeout;
            pcf->cards = (cmcf->groups[NGX_HTTP_CONCERT_GATEWAY].conf != NULL);

        } else if (ngx_http_concert_redis_keys(cf, group->conf,
                                               &cmcf->queue.name)
                   != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
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

    return ngx_http_concert_check_needs(cf, cmcf);
}


static ngx_int_t
ngx_http_concert_check_needs(ngx_conf_t *cf,
    ngx_http_concert_main_conf_t *cmcf)
{
    if ((cmcf->needs & NGX_HTTP_CONCERT_NEEDS_POSTGRES)
        && cmcf->groups[NGX_HTTP_CONCERT_READ].conf == NULL)
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"concert %V\" needs PostgreSQL: write "
                      "concert_postgres \"host=/run/postgresql "
                      "dbname=concert\"; in the http block",
                      &cmcf->needed_by[0]);
        return NGX_ERROR;
    }

    if ((cmcf->needs & NGX_HTTP_CONCERT_NEEDS_REDIS)
        && cmcf->groups[NGX_HTTP_CONCERT_REDIS].conf == NULL)
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"concert %V\" needs Redis: write concert_redis "
                      "unix:/run/redis/redis-server.sock; in the http block",
                      &cmcf->needed_by[1]);
        return NGX_ERROR;
    }

    if ((cmcf->charge == NGX_HTTP_CONCERT_CHARGE_CARD
         || cmcf->payment_method == NGX_HTTP_CONCERT_METHOD_CARD
         || cmcf->hold_extend || cmcf->has_breaker)
        && cmcf->groups[NGX_HTTP_CONCERT_GATEWAY].conf == NULL)
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "cards need a payment gateway: write concert_gateway "
                      "https://api.tosspayments.com secret_key_file=/path; "
                      "in the http block");
        return NGX_ERROR;
    }

    return NGX_OK;
}


static char *
ngx_http_concert_route_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_concert_loc_conf_t *lcf = conf;

    ngx_str_t                     *value;
    ngx_uint_t                     i, flags;
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
                           "conf/concert_routes.conf, as \"concert seats\"",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_concert_module);
    flags = NGX_HTTP_CONCERT_NEEDS_ZONE;

    for (i = 0; i < NGX_HTTP_CONCERT_MAX_ENDPOINTS; i++) {
        flags |= lcf->route->endpoints[i].flags;
    }

    if (flags & NGX_HTTP_CONCERT_NEEDS_POSTGRES) {
        cmcf->needed_by[0] = value[1];
    }

    if (flags & NGX_HTTP_CONCERT_NEEDS_REDIS) {
        cmcf->needed_by[1] = value[1];
    }

    cmcf->needs |= flags & (NGX_HTTP_CONCERT_NEEDS_ZONE
                            |NGX_HTTP_CONCERT_NEEDS_POSTGRES
                            |NGX_HTTP_CONCERT_NEEDS_REDIS);

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


/* concert_zone name size; */

static char *
ngx_http_concert_zone_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_concert_main_conf_t *cmcf = conf;

    ssize_t     size;
    ngx_str_t  *value;

    if (cmcf->shm_zone) {
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

    return ngx_http_concert_add_zone(cf, cmcf, &value[1], (size_t) size);
}


static char *
ngx_http_concert_add_zone(ngx_conf_t *cf, ngx_http_concert_main_conf_t *cmcf,
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
    cmcf->shm_zone = shm_zone;

    return NGX_CONF_OK;
}


/* concert_postgres conninfo [read=n] [write=n] [batch=n] [max_queue=n]; */

static char *
ngx_http_concert_postgres_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_concert_main_conf_t *cmcf = conf;

    ngx_str_t                 *value;
    ngx_uint_t                 i;
    ngx_http_concert_group_t  *read, *write;

    read = &cmcf->groups[NGX_HTTP_CONCERT_READ];
    write = &cmcf->groups[NGX_HTTP_CONCERT_WRITE];

    ngx_http_concert_number_t  numbers[] = {
        { "read=", 1, NGX_HTTP_CONCERT_MAX_LANES, &read->nlanes },
        { "write=", 1, NGX_HTTP_CONCERT_MAX_LANES, &write->nlanes },
        { "batch=", 1, NGX_HTTP_CONCERT_MAX_BATCH, &write->batch },
        { "max_queue=", 1, 1000000, &read->max_queue },
        { NULL, 0, 0, NULL }
    };

    if (read->conf) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_http_concert_postgres_conninfo(cf, &value[1]) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {
        if (ngx_strstr(value[i].data, "pass")) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "the connection string ends at the first "
                               "space: put all of it into quotes");
            return NGX_CONF_ERROR;
        }

        if (ngx_http_concert_number(cf, &value[i], numbers) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    write->max_queue = read->max_queue;

    return ngx_http_concert_postgres_confs(cf, &value[1], read, write);
}


/* a password is never told: not the string, nor what libpq says of its parts */

static ngx_int_t
ngx_http_concert_postgres_conninfo(ngx_conf_t *cf, ngx_str_t *conninfo)
{
    char        *wrong;
    ngx_uint_t   secret;

    wrong = ngx_http_concert_postgres_check((char *) conninfo->data, cf->pool,
                                            &secret);

    if (wrong) {
        if (ngx_strstr(conninfo->data, "pass")
            || ngx_strstr(conninfo->data, "://"))
        {
            wrong = "it may have a password, so it is not told where";
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid connection string: %s: write it as "
                           "\"host=/run/postgresql dbname=concert\"", wrong);
        return NGX_ERROR;
    }

    if (secret) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "the connection string has a password, which "
                           "whoever can read the configuration sees: write "
                           "passfile=/path/of/a/file in its place");
    }

    return NGX_OK;
}


/* both groups have the same connection string */

static char *
ngx_http_concert_postgres_confs(ngx_conf_t *cf, ngx_str_t *conninfo,
    ngx_http_concert_group_t *read, ngx_http_concert_group_t *write)
{
    ngx_http_concert_postgres_conf_t  *pcf;

    pcf = ngx_pcalloc(cf->pool, 2 * sizeof(ngx_http_concert_postgres_conf_t));
    if (pcf == NULL) {
        return NGX_CONF_ERROR;
    }

    pcf[0].conninfo = (char *) conninfo->data;
    pcf[1].conninfo = (char *) conninfo->data;
    pcf[1].writes = 1;

    read->conf = &pcf[0];
    write->conf = &pcf[1];

    return NGX_CONF_OK;
}


/*
 * concert_redis unix:path | host[:port] [user=name] [password_file=path]
 *     [lanes=n] [batch=n] [max_queue=n];
 */

static char *
ngx_http_concert_redis_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_concert_main_conf_t *cmcf = conf;

    ngx_int_t                       rc;
    ngx_str_t                      *value;
    ngx_uint_t                      i;
    ngx_http_concert_group_t       *group;
    ngx_http_concert_redis_conf_t  *rcf;

    group = &cmcf->groups[NGX_HTTP_CONCERT_REDIS];

    ngx_http_concert_number_t  numbers[] = {
        { "lanes=", 1, NGX_HTTP_CONCERT_MAX_LANES, &group->nlanes },
        { "batch=", 1, NGX_HTTP_CONCERT_MAX_BATCH, &group->batch },
        { "max_queue=", 1, 1000000, &group->max_queue },
        { NULL, 0, 0, NULL }
    };

    if (group->conf) {
        return "is duplicate";
    }

    value = cf->args->elts;

    rcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_concert_redis_conf_t));
    if (rcf == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {
        rc = ngx_http_concert_redis_login(cf, &value[i], rcf);

        if (rc == NGX_DECLINED) {
            rc = ngx_http_concert_number(cf, &value[i], numbers);
        }

        if (rc != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    if (rcf->user && rcf->password.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "user=%s has no password: write "
                           "password_file=/path/of/a/file", rcf->user);
        return NGX_CONF_ERROR;
    }

    group->conf = rcf;

    return ngx_http_concert_redis_address(cf, &value[1], rcf);
}


/* user=name, password_file=path; NGX_DECLINED: neither */

static ngx_int_t
ngx_http_concert_redis_login(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_concert_redis_conf_t *rcf)
{
    ngx_str_t  name;

    if (value->len > 5 && ngx_strncmp(value->data, "user=", 5) == 0) {
        rcf->user = (char *) value->data + 5;
        return NGX_OK;
    }

    if (ngx_strncmp(value->data, "password_file=", 14) == 0) {
        name.data = value->data + 14;
        name.len = value->len - 14;

        return ngx_http_concert_secret(cf, &name, "password", &rcf->password);
    }

    return NGX_DECLINED;
}


/* the first line of a file */

static ngx_int_t
ngx_http_concert_secret(ngx_conf_t *cf, ngx_str_t *name, const char *what,
    ngx_str_t *secret)
{
    size_t  len;

    if (ngx_http_concert_read_file(cf, name, secret) != NGX_OK) {
        return NGX_ERROR;
    }

    len = 0;

    while (len < secret->len && secret->data[len] != CR
           && secret->data[len] != LF)
    {
        len++;
    }

    if (len == 0 || len > NGX_HTTP_CONCERT_MAX_SECRET) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the %s file \"%V\" has no %s: write one of 1 to "
                           "%d bytes in its first line", what, name, what,
                           NGX_HTTP_CONCERT_MAX_SECRET);
        return NGX_ERROR;
    }

    secret->len = len;
    secret->data[len] = '\0';

    return NGX_OK;
}


/*
 * What a file holds, ended by a NUL byte.  It may be readable to root only, as
 * the master reads it.
 */

static ngx_int_t
ngx_http_concert_read_file(ngx_conf_t *cf, ngx_str_t *name, ngx_str_t *text)
{
    u_char    buffer[NGX_HTTP_CONCERT_MAX_FILE + 1];
    ssize_t   n;
    ngx_fd_t  fd;

    if (ngx_conf_full_name(cf->cycle, name, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    fd = ngx_open_file(name->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "cannot open \"%V\": write a file that nginx's "
                           "master may read", name);
        return NGX_ERROR;
    }

    n = ngx_read_fd(fd, buffer, sizeof(buffer));

    (void) ngx_close_file(fd);

    if (n < 0 || n == (ssize_t) sizeof(buffer)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "cannot read \"%V\": write a file of at most %d "
                           "bytes", name, NGX_HTTP_CONCERT_MAX_FILE);
        return NGX_ERROR;
    }

    text->data = ngx_pnalloc(cf->pool, n + 1);
    if (text->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(text->data, buffer, n);
    text->data[n] = '\0';
    text->len = n;

    ngx_explicit_memzero(buffer, sizeof(buffer));

    return NGX_OK;
}


/* a name is resolved here, once: nothing may block on it later */

static char *
ngx_http_concert_redis_address(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_concert_redis_conf_t *rcf)
{
    u_char     *p;
    size_t      len;
    ngx_url_t   u;

    if (value->len > 5 && ngx_strncmp(value->data, "unix:", 5) == 0) {

        if (value->len - 5 > NGX_HTTP_CONCERT_MAX_PATH) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "the path of the socket \"%V\" is too long: "
                               "write one of at most %d bytes", value,
                               NGX_HTTP_CONCERT_MAX_PATH);
            return NGX_CONF_ERROR;
        }

        rcf->path = (char *) value->data + 5;
        return NGX_CONF_OK;
    }

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = *value;
    u.default_port = 6379;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK || u.naddrs == 0
        || u.uri.len || u.no_port > 1)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid address of Redis \"%V\"%s%s: write "
                           "unix:/path or host:port", value,
                           u.err ? ": " : "", u.err ? u.err : "");
        return NGX_CONF_ERROR;
    }

    p = ngx_pnalloc(cf->pool, NGX_SOCKADDR_STRLEN + 1);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    len = ngx_sock_ntop(u.addrs[0].sockaddr, u.addrs[0].socklen, p,
                        NGX_SOCKADDR_STRLEN, 0);
    p[len] = '\0';

    rcf->host = (char *) p;
    rcf->port = ngx_inet_get_port(u.addrs[0].sockaddr);

    return NGX_CONF_OK;
}


/*
 * concert_gateway url secret_key_file=path [lanes=n] [max_queue=n]
 *     [max_pending=n] [timeout=time] [connect_timeout=time];
 */

#if (NGX_HTTP_CONCERT_CURL)

static char *
ngx_http_concert_gateway_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_concert_main_conf_t *cmcf = conf;

    ngx_int_t                         rc;
    ngx_str_t                        *value;
    ngx_uint_t                        i;
    ngx_http_concert_group_t         *group;
    ngx_http_concert_gateway_conf_t  *gcf;

    group = &cmcf->groups[NGX_HTTP_CONCERT_GATEWAY];

    ngx_http_concert_number_t  numbers[] = {
        { "lanes=", 1, NGX_HTTP_CONCERT_MAX_LANES, &group->nlanes },
        { "max_queue=", 1, 1000000, &group->max_queue },
        { "max_pending=", 1, 1000000, &cmcf->max_pending },
        { NULL, 0, 0, NULL }
    };

    if (group->conf) {
        return "is duplicate";
    }

    gcf = ngx_http_concert_gateway_defaults(cf, cmcf, group);
    if (gcf == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    if (ngx_http_concert_gateway_url(cf, &value[1], gcf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {
        rc = ngx_http_concert_gateway_parameter(cf, &value[i], group, gcf);

        if (rc == NGX_DECLINED) {
            rc = ngx_http_concert_number(cf, &value[i], numbers);
        }

        if (rc != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    if (gcf->secret == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the payment gateway needs its secret key: write "
                           "secret_key_file=/path/of/a/file");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_http_concert_gateway_conf_t *
ngx_http_concert_gateway_defaults(ngx_conf_t *cf,
    ngx_http_concert_main_conf_t *cmcf, ngx_http_concert_group_t *group)
{
    ngx_http_concert_gateway_conf_t  *gcf;

    gcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_concert_gateway_conf_t));
    if (gcf == NULL) {
        return NULL;
    }

    gcf->api = &ngx_http_concert_toss;
    gcf->connect_timeout = NGX_HTTP_CONCERT_GATEWAY_CONNECT;

    group->conf = gcf;
    group->store = &ngx_http_concert_gateway;
    group->nlanes = NGX_HTTP_CONCERT_GATEWAY_LANES;
    group->max_queue = NGX_HTTP_CONCERT_GATEWAY_QUEUE;
    group->timeout = NGX_HTTP_CONCERT_GATEWAY_TIMEOUT;

    cmcf->max_pending = NGX_HTTP_CONCERT_GATEWAY_PENDING;

    return gcf;
}


/* a secret key goes to nobody but over TLS, or to this machine */

static ngx_int_t
ngx_http_concert_gateway_url(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_concert_gateway_conf_t *gcf)
{
    size_t       len;
    ngx_uint_t   i;

    static const ngx_str_t  prefixes[] = {
        ngx_string("https://"),
        ngx_string("http://127.0.0.1"),
        ngx_string("http://localhost"),
        ngx_string("http://[::1]")
    };

    for (i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        len = prefixes[i].len;

        if (value->len < len || value->len > NGX_HTTP_CONCERT_MAX_URL
            || ngx_strncmp(value->data, prefixes[i].data, len) != 0)
        {
            continue;
        }

        /* a host follows, or this one's name is over */

        if (i == 0
            ? (value->len > len && value->data[len] != '/')
            : (value->data[len] == '\0' || value->data[len] == ':'
               || value->data[len] == '/'))
        {
            if (value->data[value->len - 1] == '/') {
                value->data[value->len - 1] = '\0';
            }

            gcf->url = (char *) value->data;
            return NGX_OK;
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid address of the payment gateway \"%V\": write "
                       "https://api.tosspayments.com; http:// may only be "
                       "this machine", value);

    return NGX_ERROR;
}


/* all that is no plain number; NGX_DECLINED: none of it */

static ngx_int_t
ngx_http_concert_gateway_parameter(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_concert_group_t *group, ngx_http_concert_gateway_conf_t *gcf)
{
    ngx_str_t  name, secret;

    if (ngx_strncmp(value->data, "timeout=", 8) == 0) {
        return ngx_http_concert_queue_time(cf, value, 8, "timeout=10s",
                                           &group->timeout);
    }

    if (ngx_strncmp(value->data, "connect_timeout=", 16) == 0) {
        return ngx_http_concert_queue_time(cf, value, 16,
                                           "connect_timeout=2s",
                                           &gcf->connect_timeout);
    }

    if (ngx_strncmp(value->data, "secret_key_file=", 16) != 0) {
        return NGX_DECLINED;
    }

    name.data = value->data + 16;
    name.len = value->len - 16;

    if (ngx_http_concert_secret(cf, &name, "secret key", &secret) != NGX_OK) {
        return NGX_ERROR;
    }

    gcf->secret = (char *) secret.data;

    return NGX_OK;
}

#else

static char *
ngx_http_concert_gateway_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "this module was built without libcurl, which "
                       "\"%V\" needs: install libcurl4-openssl-dev and build "
                       "it again", &cmd->name);

    return NGX_CONF_ERROR;
}

#endif


/* concert_breaker [property=value]...; */

static const ngx_http_concert_property_t  ngx_http_concert_properties[] = {
    { ngx_string("failure_rate_threshold"),
      NGX_HTTP_CONCERT_PROPERTY_PERCENT,
      offsetof(ngx_http_concert_breaker_conf_t,
               failure_rate_threshold), "50" },
    { ngx_string("slow_call_rate_threshold"),
      NGX_HTTP_CONCERT_PROPERTY_PERCENT,
      offsetof(ngx_http_concert_breaker_conf_t,
               slow_call_rate_threshold), "100" },
    { ngx_string("slow_call_duration_threshold"),
      NGX_HTTP_CONCERT_PROPERTY_TIME,
      offsetof(ngx_http_concert_breaker_conf_t,
               slow_call_duration_threshold), "3s" },
    { ngx_string("sliding_window_type"),
      NGX_HTTP_CONCERT_PROPERTY_TYPE,
      offsetof(ngx_http_concert_breaker_conf_t,
               sliding_window_type), "time" },
    { ngx_string("sliding_window_size"),
      NGX_HTTP_CONCERT_PROPERTY_COUNT,
      offsetof(ngx_http_concert_breaker_conf_t,
               sliding_window_size), "100" },
    { ngx_string("minimum_number_of_calls"),
      NGX_HTTP_CONCERT_PROPERTY_COUNT,
      offsetof(ngx_http_concert_breaker_conf_t,
               minimum_number_of_calls), "100" },
    { ngx_string("wait_duration_in_open_state"),
      NGX_HTTP_CONCERT_PROPERTY_TIME,
      offsetof(ngx_http_concert_breaker_conf_t,
               wait_duration_in_open_state), "60s" },
    { ngx_string("permitted_number_of_calls_in_half_open_state"),
      NGX_HTTP_CONCERT_PROPERTY_COUNT,
      offsetof(ngx_http_concert_breaker_conf_t,
               permitted_number_of_calls), "10" },
    { ngx_string("max_wait_duration_in_half_open_state"),
      NGX_HTTP_CONCERT_PROPERTY_TIME,
      offsetof(ngx_http_concert_breaker_conf_t,
               max_wait_duration_in_half_open_state), "30s" },
    { ngx_string("automatic_transition_from_open_to_half_open_enabled"),
      NGX_HTTP_CONCERT_PROPERTY_FLAG,
      offsetof(ngx_http_concert_breaker_conf_t,
               automatic_transition), "on" },
    { ngx_null_string, 0, 0, NULL }
};


static char *
ngx_http_concert_breaker_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_concert_main_conf_t *cmcf = conf;

    ngx_str_t   *value;
    ngx_uint_t   i;
    const char  *wrong;

    if (cmcf->has_breaker) {
        return "is duplicate";
    }

    cmcf->has_breaker = 1;
    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        if (ngx_http_concert_breaker_parameter(cf, &value[i], &cmcf->breaker)
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    wrong = ngx_http_concert_breaker_wrong(&cmcf->breaker);

    if (wrong) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s is out of its limits, which README.md tells",
                           wrong);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_concert_breaker_parameter(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_concert_breaker_conf_t *breaker)
{
    ngx_str_t                           text;
    const ngx_http_concert_property_t  *property;

    for (property = ngx_http_concert_properties; property->name.len;
         property++)
    {
        if (value->len <= property->name.len
            || value->data[property->name.len] != '='
            || ngx_strncmp(value->data, property->name.data,
                           property->name.len)
               != 0)
        {
            continue;
        }

        text.data = value->data + property->name.len + 1;
        text.len = value->len - property->name.len - 1;

        if (ngx_http_concert_breaker_value(&text, property,
                                      (char *) breaker + property->offset)
            == NGX_OK)
        {
            return NGX_OK;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": write it as %V=%s", value,
                           &property->name, property->example);
        return NGX_ERROR;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "unknown parameter \"%V\": the first known one is "
                       "\"%V\"", value, &ngx_http_concert_properties[0].name);

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_concert_breaker_value(ngx_str_t *text,
    const ngx_http_concert_property_t *property, void *value)
{
    ngx_int_t  n;

    switch (property->kind) {

    case NGX_HTTP_CONCERT_PROPERTY_PERCENT:
        n = ngx_atofp(text->data, text->len, 2);
        *(float *) value = n / 100.0f;
        break;

    case NGX_HTTP_CONCERT_PROPERTY_COUNT:
        n = ngx_atoi(text->data, text->len);
        *(int64_t *) value = n;
        break;

    case NGX_HTTP_CONCERT_PROPERTY_TIME:
        n = ngx_parse_time(text, 0);
        *(int64_t *) value = n;
        break;

    case NGX_HTTP_CONCERT_PROPERTY_TYPE:
        n = ngx_strcmp(text->data, "count") == 0
            ? NGX_HTTP_CONCERT_BREAKER_COUNT
            : ngx_strcmp(text->data, "time") == 0
              ? NGX_HTTP_CONCERT_BREAKER_TIME : NGX_ERROR;
        *(uint32_t *) value = n;
        break;

    default: /* NGX_HTTP_CONCERT_PROPERTY_FLAG */
        n = ngx_strcmp(text->data, "on") == 0
            ? 1 : ngx_strcmp(text->data, "off") == 0 ? 0 : NGX_ERROR;
        *(uint32_t *) value = n;
    }

    return n == NGX_ERROR ? NGX_ERROR : NGX_OK;
}


/*
 * concert_queue [capacity=n] [rate=n/s] [ttl=time] [claim=time] [poll=time]
 *     [name=word];
 */

static char *
ngx_http_concert_queue_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_concert_main_conf_t *cmcf = conf;

    ngx_int_t                       rc;
    ngx_str_t                      *value;
    ngx_uint_t                      i;
    ngx_http_concert_queue_conf_t  *queue;

    queue = &cmcf->queue;

    ngx_http_concert_number_t  numbers[] = {
        { "capacity=", 1, NGX_HTTP_CONCERT_MAX_CAPACITY, &queue->capacity },
        { NULL, 0, 0, NULL }
    };

    if (cmcf->has_queue) {
        return "is duplicate";
    }

    cmcf->has_queue = 1;
    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        rc = ngx_http_concert_queue_parameter(cf, &value[i], queue);

        if (rc == NGX_DECLINED) {
            rc = ngx_http_concert_number(cf, &value[i], numbers);
        }

        if (rc != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/* all that is no plain number; NGX_DECLINED: none of it */

static ngx_int_t
ngx_http_concert_queue_parameter(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_concert_queue_conf_t *queue)
{
    ngx_str_t  s;

    if (ngx_strncmp(value->data, "ttl=", 4) == 0) {
        return ngx_http_concert_queue_time(cf, value, 4, "ttl=10m",
                                           &queue->ttl);
    }

    if (ngx_strncmp(value->data, "claim=", 6) == 0) {
        return ngx_http_concert_queue_time(cf, value, 6, "claim=30s",
                                           &queue->claim);
    }

    if (ngx_strncmp(value->data, "poll=", 5) == 0) {
        return ngx_http_concert_queue_time(cf, value, 5, "poll=1s",
                                           &queue->poll);
    }

    if (ngx_strncmp(value->data, "rate=", 5) == 0) {
        return ngx_http_concert_queue_rate(cf, value, &queue->rate);
    }

    if (ngx_strncmp(value->data, "name=", 5) == 0) {
        s.data = value->data + 5;
        s.len = value->len - 5;

        if (ngx_http_concert_queue_name(cf, &s) != NGX_OK) {
            return NGX_ERROR;
        }

        queue->name = s;
        return NGX_OK;
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_concert_queue_time(ngx_conf_t *cf, ngx_str_t *value, size_t prefix,
    const char *example, ngx_msec_t *time)
{
    ngx_int_t  ms;
    ngx_str_t  s;

    s.data = value->data + prefix;
    s.len = value->len - prefix;

    ms = ngx_parse_time(&s, 0);

    if (ms == NGX_ERROR || ms == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": write a time, as %s", value,
                           example);
        return NGX_ERROR;
    }

    if ((ngx_msec_t) ms > NGX_HTTP_CONCERT_MAX_TIME) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": write a time of at most a year, "
                           "as %s", value, example);
        return NGX_ERROR;
    }

    *time = (ngx_msec_t) ms;

    return NGX_OK;
}


/* rate=n/s or rate=n/m, kept as how many in 1000 s */

static ngx_int_t
ngx_http_concert_queue_rate(ngx_conf_t *cf, ngx_str_t *value,
    ngx_uint_t *rate)
{
    size_t     len;
    u_char    *p;
    ngx_int_t  n;

    p = value->data + sizeof("rate=") - 1;
    len = value->len - (sizeof("rate=") - 1);

    if (len > 2 && (ngx_strncmp(p + len - 2, "/s", 2) == 0
                    || ngx_strncmp(p + len - 2, "/m", 2) == 0))
    {
        n = ngx_atoi(p, len - 2);

        if (n > 0 && n <= NGX_HTTP_CONCERT_MAX_RATE) {
            *rate = p[len - 1] == 's' ? n * 1000 : n * 1000 / 60;
            return NGX_OK;
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid \"%V\": write how many may be let in in a "
                       "second or a minute, up to %d, as rate=100/s", value,
                       NGX_HTTP_CONCERT_MAX_RATE);

    return NGX_ERROR;
}


/* it becomes part of Redis's keys */

static ngx_int_t
ngx_http_concert_queue_name(ngx_conf_t *cf, ngx_str_t *name)
{
    size_t  i;
    u_char  c;

    for (i = 0; i < name->len; i++) {
        c = name->data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9') || c == '_' || c == '-'))
        {
            break;
        }
    }

    if (name->len == 0 || name->len > 64 || i < name->len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid queue name \"%V\": write 1 to 64 letters, "
                           "digits, \"_\" or \"-\", as name=main", name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* all with one hash tag, so that a script finds them on one node */

static ngx_int_t
ngx_http_concert_redis_keys(ngx_conf_t *cf,
    ngx_http_concert_redis_conf_t *rcf, ngx_str_t *name)
{
    u_char      *p;
    ngx_uint_t   i;

    static const char  *suffixes[NGX_HTTP_CONCERT_REDIS_KEYS] = {
        "queue", "waiting", "called", "active", "ended", "seen0", "seen1"
    };

    for (i = 0; i < NGX_HTTP_CONCERT_REDIS_KEYS; i++) {
        p = ngx_pnalloc(cf->pool, sizeof("{concert:}:waiting") + name->len);
        if (p == NULL) {
            return NGX_ERROR;
        }

        rcf->keys[i].data = p;
        rcf->keys[i].len = ngx_sprintf(p, "{concert:%V}:%s", name, suffixes[i])
                           - p;
    }

    return NGX_OK;
}


/* concert_charge free|card;  concert_payment_method balance|card; */

static char *
ngx_http_concert_word_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_str_t                      *value;
    ngx_uint_t                     *field;
    const ngx_http_concert_word_t  *words, *word;

    field = (ngx_uint_t *) ((char *) conf + cmd->offset);
    words = cmd->post;

    if (*field != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (word = words; word->name; word++) {
        if (ngx_strcmp(value[1].data, word->name) == 0) {
            *field = word->value;
            return NGX_CONF_OK;
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid value \"%V\": write \"%V %s\", which %s, or "
                       "\"%V %s\", which %s", &value[1],
                       &cmd->name, words[0].name, words[0].meaning,
                       &cmd->name, words[1].name, words[1].meaning);

    return NGX_CONF_ERROR;
}


/* concert_catalog_cache time|off; */

static char *
ngx_http_concert_cache_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_concert_main_conf_t *cmcf = conf;

    ngx_int_t   ms;
    ngx_str_t  *value;

    value = cf->args->elts;

    if (cmcf->catalog_cache != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    if (ngx_strcmp(value[1].data, "off") == 0) {
        cmcf->catalog_cache = 0;
        return NGX_CONF_OK;
    }

    ms = ngx_parse_time(&value[1], 0);

    if (ms == NGX_ERROR || ms == 0 || ms > NGX_HTTP_CONCERT_MAX_CACHE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\": write a time of at most a "
                           "day, as \"%V 1s\", or \"%V off\"", &value[1],
                           &cmd->name, &cmd->name);
        return NGX_CONF_ERROR;
    }

    cmcf->catalog_cache = (ngx_msec_t) ms;

    return NGX_CONF_OK;
}


/*
 * concert_identity header;
 * concert_identity jwt key_file... [aud=text] [iss=text] [leeway=time];
 */

static char *
ngx_http_concert_identity_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_concert_main_conf_t *cmcf = conf;

    ngx_str_t                         *value;
    ngx_uint_t                         i;
    ngx_http_concert_identity_conf_t  *icf;

    icf = &cmcf->identity;
    value = cf->args->elts;

    if (icf->kind != NGX_HTTP_CONCERT_IDENTITY_UNSET) {
        return "is duplicate";
    }

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "header") == 0) {
        icf->kind = NGX_HTTP_CONCERT_IDENTITY_HEADER;
        return NGX_CONF_OK;
    }

    if (ngx_strcmp(value[1].data, "jwt") != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\": write \"%V header\", "
                           "which takes the caller from the userId header, or "
                           "\"%V jwt /path/of/a/key\", which takes it from a "
                           "signed token",
                           &value[cf->args->nelts - 1], &cmd->name,
                           &cmd->name);
        return NGX_CONF_ERROR;
    }

    icf->kind = NGX_HTTP_CONCERT_IDENTITY_JWT;

    for (i = 2; i < cf->args->nelts; i++) {
        if (ngx_http_concert_identity_parameter(cf, &value[i], &icf->jwt)
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    if (icf->jwt.nkeys == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "tokens need a key: write \"%V jwt "
                           "/path/of/a/key\"", &cmd->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_concert_identity_parameter(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_concert_jwt_conf_t *jwt)
{
    ngx_int_t  s;
    ngx_str_t  time;

    if (value->len > 4 && ngx_strncmp(value->data, "aud=", 4) == 0) {
        jwt->audience = (char *) value->data + 4;
        return NGX_OK;
    }

    if (value->len > 4 && ngx_strncmp(value->data, "iss=", 4) == 0) {
        jwt->issuer = (char *) value->data + 4;
        return NGX_OK;
    }

    if (ngx_strncmp(value->data, "leeway=", 7) == 0) {
        time.data = value->data + 7;
        time.len = value->len - 7;
        s = ngx_parse_time(&time, 1);

        if (s == NGX_ERROR || s > NGX_HTTP_CONCERT_MAX_LEEWAY) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": write a time of at most 5 "
                               "minutes, as leeway=10s", value);
            return NGX_ERROR;
        }

        jwt->leeway = s;
        return NGX_OK;
    }

    return ngx_http_concert_identity_key(cf, value, jwt);
}


static ngx_int_t
ngx_http_concert_identity_key(ngx_conf_t *cf, ngx_str_t *name,
    ngx_http_concert_jwt_conf_t *jwt)
{
    ngx_str_t    text;
    const char  *wrong;

    if (jwt->nkeys == NGX_HTTP_CONCERT_JWT_KEYS) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "too many keys: write at most %d",
                           NGX_HTTP_CONCERT_JWT_KEYS);
        return NGX_ERROR;
    }

    if (ngx_http_concert_read_file(cf, name, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    /* an editor ends a secret's line; PEM does not mind */

    while (text.len && (text.data[text.len - 1] == LF
                        || text.data[text.len - 1] == CR))
    {
        text.data[--text.len] = '\0';
    }

    wrong = ngx_http_concert_jwt_key(&jwt->keys[jwt->nkeys], text.data,
                                     text.len);
    if (wrong) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\" %s", name, wrong);
        return NGX_ERROR;
    }

    jwt->nkeys++;

    return NGX_OK;
}


/* a parameter of the form name=number, one of a list */

static ngx_int_t
ngx_http_concert_number(ngx_conf_t *cf, ngx_str_t *value,
    const ngx_http_concert_number_t *numbers)
{
    size_t                            len;
    ngx_int_t                         n;
    const ngx_http_concert_number_t  *number;

    for (number = numbers; number->name; number++) {
        len = ngx_strlen(number->name);

        if (value->len < len || ngx_strncmp(value->data, number->name, len))
        {
            continue;
        }

        n = ngx_atoi(value->data + len, value->len - len);

        if (n == NGX_ERROR || (ngx_uint_t) n < number->min
            || (ngx_uint_t) n > number->max)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": write %s and a number from "
                               "%ui to %ui", value, number->name, number->min,
                               number->max);
            return NGX_ERROR;
        }

        *number->value = (ngx_uint_t) n;

        return NGX_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "unknown parameter \"%V\": the first known one is "
                       "\"%s\"", value, numbers->name);

    return NGX_ERROR;
}


static char *
ngx_http_concert_check_msec(ngx_conf_t *cf, void *post, void *data)
{
    ngx_msec_t *ms = data;

    if (*ms == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "must be longer than 0: write a time, as 3s");
        return NGX_CONF_ERROR;
    }

    if (*ms > NGX_HTTP_CONCERT_MAX_TIME) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "must be at most a year: write a time, as 3s");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_concert_check_count(ngx_conf_t *cf, void *post, void *data)
{
    ngx_int_t *n = data;

    if (*n < 1 || *n > 1000) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid number of seats %i: write 1 to 1000", *n);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/*
 * The zone is made when the configuration has been read to its end, so that
 * what stands outside of the http block is known; a reload that fails here
 * leaves the old configuration at work.
 */

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

    return ngx_http_concert_zone_init(shm_zone, data);
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
    ngx_http_concert_group_t  *gateway;

    if (ngx_thread_pool_get(cycle, &ngx_http_concert_pool) == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "there is no thread pool for the lanes: write "
                      "\"thread_pool " NGX_HTTP_CONCERT_POOL_NAME
                      " threads=%ui;\" outside of the http block",
                      cmcf->groups[NGX_HTTP_CONCERT_READ].nlanes
                      + cmcf->groups[NGX_HTTP_CONCERT_WRITE].nlanes
                      + cmcf->groups[NGX_HTTP_CONCERT_REDIS].nlanes);
        return NGX_ERROR;
    }

    gateway = &cmcf->groups[NGX_HTTP_CONCERT_GATEWAY];

    if (gateway->conf
        && ngx_thread_pool_get(cycle, &ngx_http_concert_gateway_pool) == NULL)
    {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "there is no thread pool for the payment gateway: write "
                      "\"thread_pool " NGX_HTTP_CONCERT_GATEWAY_POOL_NAME
                      " threads=%ui;\" outside of the http block",
                      gateway->nlanes);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_concert_init_process(ngx_cycle_t *cycle)
{
    ngx_http_concert_zone_t       *zone;
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

    ngx_http_concert_conf = cmcf;

    zone = cmcf->shm_zone->data;
    cmcf->slot = &zone->slots[ngx_worker];
    ngx_http_concert_zone_enter(cmcf->slot);

    json_object_seed(0);
    ngx_http_concert_call_init_worker();
    ngx_http_concert_request_init_worker();

#if (NGX_HTTP_CONCERT_CURL)
    if (cmcf->groups[NGX_HTTP_CONCERT_GATEWAY].conf
        && ngx_http_concert_gateway_init_worker() != NGX_OK)
    {
        return NGX_ERROR;
    }
#endif

    ngx_http_concert_guard_init_worker();

    if (ngx_http_concert_identity_init_worker(cycle, &cmcf->identity)
        != NGX_OK
        || ngx_http_concert_init_groups(cycle) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_concert_jobs_init(cycle);

    return NGX_OK;
}


static ngx_int_t
ngx_http_concert_init_groups(ngx_cycle_t *cycle)
{
    ngx_uint_t                 i;
    ngx_http_concert_group_t  *group;

    /* the lanes connect at once, and the time is still that of the master */

    ngx_time_update();

    for (i = 0; i < NGX_HTTP_CONCERT_GROUPS; i++) {
        group = &ngx_http_concert_conf->groups[i];

        if (group->conf == NULL) {
            continue;
        }

        group->stats = &ngx_http_concert_conf->slot->lanes[i];
        group->pool = ngx_thread_pool_get(cycle,
                                          i == NGX_HTTP_CONCERT_GATEWAY
                                          ? &ngx_http_concert_gateway_pool
                                          : &ngx_http_concert_pool);

        if (ngx_http_concert_group_init(group, cycle) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
ngx_http_concert_exit_process(ngx_cycle_t *cycle)
{
    ngx_uint_t  i;

    if (ngx_http_concert_conf == NULL) {
        return;
    }

    for (i = 0; i < NGX_HTTP_CONCERT_GROUPS; i++) {
        ngx_http_concert_group_exit(&ngx_http_concert_conf->groups[i]);
    }

    ngx_http_concert_zone_leave(ngx_http_concert_conf->slot);
}
