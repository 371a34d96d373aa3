
/*
 * concert_queue: what may be in at once, how fast others come in, for how long.
 */

#include "core/conf.h"
#include "core/parse.h"
#include "core/sale.h"


/* defaults; times in ms */
#define NGX_HTTP_CONCERT_CAPACITY    1000
#define NGX_HTTP_CONCERT_TTL         (10 * 60 * 1000)
#define NGX_HTTP_CONCERT_CLAIM       (30 * 1000)
#define NGX_HTTP_CONCERT_POLL        1000

/* an example */
#define NGX_HTTP_CONCERT_OPENS       "opens=2027-03-01T20:00:00+09:00"


static ngx_int_t ngx_http_concert_queue_parameter(ngx_conf_t *cf,
    ngx_str_t *value, ngx_http_concert_queue_t *queue);
static ngx_int_t ngx_http_concert_queue_opening_time(ngx_conf_t *cf,
    ngx_str_t *value, int64_t *opens);
static ngx_int_t ngx_http_concert_queue_draw(ngx_conf_t *cf, ngx_str_t *value,
    ngx_uint_t *draw);
static ngx_int_t ngx_http_concert_queue_rate(ngx_conf_t *cf, ngx_str_t *value,
    ngx_uint_t *rate);
static ngx_int_t ngx_http_concert_queue_keys(ngx_conf_t *cf,
    ngx_http_concert_queue_t *queue);


/*
 * concert_queue [capacity=n] [rate=n/s] [ttl=time] [claim=time] [poll=time]
 *     [name=word] [opens=time] [draw=on|off];
 */

char *
ngx_http_concert_queue_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_concert_sale_t *sale = conf;

    ngx_int_t                  rc;
    ngx_str_t                 *value;
    ngx_uint_t                 i;
    ngx_http_concert_queue_t  *queue;

    if (sale->queue) {
        return "is duplicate";
    }

    queue = ngx_http_concert_queue_create(cf);
    if (queue == NULL) {
        return NGX_CONF_ERROR;
    }

    sale->queue = queue;

    ngx_http_concert_conf_number_t  numbers[] = {
        { "capacity=", 1, NGX_HTTP_CONCERT_MAX_CAPACITY, &queue->capacity },
        { NULL, 0, 0, NULL }
    };

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        rc = ngx_http_concert_queue_parameter(cf, &value[i], queue);

        if (rc == NGX_DECLINED) {
            rc = ngx_http_concert_conf_number(cf, &value[i], numbers);
        }

        if (rc != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    if (queue->draw && queue->opens == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"draw=on\" needs an opening at which it is "
                           "drawn: write also " NGX_HTTP_CONCERT_OPENS);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* all that is no plain number; NGX_DECLINED: none of it */

static ngx_int_t
ngx_http_concert_queue_parameter(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_concert_queue_t *queue)
{
    ngx_str_t  s;

    if (ngx_strncmp(value->data, "ttl=", 4) == 0) {
        return ngx_http_concert_conf_time(cf, value, 4, "ttl=10m",
                                           &queue->ttl);
    }

    if (ngx_strncmp(value->data, "claim=", 6) == 0) {
        return ngx_http_concert_conf_time(cf, value, 6, "claim=30s",
                                           &queue->claim);
    }

    if (ngx_strncmp(value->data, "poll=", 5) == 0) {
        return ngx_http_concert_conf_time(cf, value, 5, "poll=1s",
                                           &queue->poll);
    }

    if (ngx_strncmp(value->data, "rate=", 5) == 0) {
        return ngx_http_concert_queue_rate(cf, value, &queue->rate);
    }

    if (ngx_strncmp(value->data, "opens=", 6) == 0) {
        return ngx_http_concert_queue_opening_time(cf, value, &queue->opens);
    }

    if (ngx_strncmp(value->data, "draw=", 5) == 0) {
        return ngx_http_concert_queue_draw(cf, value, &queue->draw);
    }

    if (ngx_strncmp(value->data, "name=", 5) == 0) {
        s.data = value->data + 5;
        s.len = value->len - 5;

        /* it becomes part of Redis's keys */

        if (ngx_http_concert_conf_name(cf, "queue", &s, "name=main")
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        queue->name = s;
        return NGX_OK;
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_concert_queue_opening_time(ngx_conf_t *cf, ngx_str_t *value,
    int64_t *opens)
{
    if (ngx_http_concert_parse_time(value->data + 6, value->len - 6, opens)
        == NGX_HTTP_CONCERT_PARSE_OK)
    {
        return NGX_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid \"%V\": write a date, a time and how far it is "
                       "from UTC (RFC 3339), as " NGX_HTTP_CONCERT_OPENS,
                       value);

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_concert_queue_draw(ngx_conf_t *cf, ngx_str_t *value, ngx_uint_t *draw)
{
    if (ngx_strcmp(value->data, "draw=on") == 0) {
        *draw = 1;
        return NGX_OK;
    }

    if (ngx_strcmp(value->data, "draw=off") == 0) {
        *draw = 0;
        return NGX_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid \"%V\": write draw=on, and the order of who "
                       "comes before the opening is drawn, or draw=off, and it "
                       "is that of arrival", value);

    return NGX_ERROR;
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


ngx_http_concert_queue_t *
ngx_http_concert_queue_create(ngx_conf_t *cf)
{
    ngx_http_concert_queue_t  *queue;

    queue = ngx_pcalloc(cf->pool, sizeof(ngx_http_concert_queue_t));
    if (queue == NULL) {
        return NULL;
    }

    queue->capacity = NGX_CONF_UNSET_UINT;
    queue->rate = NGX_CONF_UNSET_UINT;
    queue->ttl = NGX_CONF_UNSET_MSEC;
    queue->claim = NGX_CONF_UNSET_MSEC;
    queue->poll = NGX_CONF_UNSET_MSEC;

    return queue;
}


ngx_int_t
ngx_http_concert_queue_init(ngx_conf_t *cf, ngx_http_concert_queue_t *queue,
    const ngx_str_t *name)
{
    ngx_conf_init_uint_value(queue->capacity, NGX_HTTP_CONCERT_CAPACITY);
    ngx_conf_init_uint_value(queue->rate, 0);
    ngx_conf_init_msec_value(queue->ttl, NGX_HTTP_CONCERT_TTL);
    ngx_conf_init_msec_value(queue->claim, NGX_HTTP_CONCERT_CLAIM);
    ngx_conf_init_msec_value(queue->poll, NGX_HTTP_CONCERT_POLL);

    /* a place that is kept for who has not come is not kept for longer */

    queue->claim = ngx_min(queue->claim, queue->ttl);

    if (queue->name.len == 0) {
        queue->name = *name;
    }

    return ngx_http_concert_queue_keys(cf, queue);
}


ngx_uint_t
ngx_http_concert_queue_agrees(const ngx_http_concert_queue_t *queue,
    const ngx_http_concert_queue_t *other)
{
    return queue->capacity == other->capacity && queue->rate == other->rate
           && queue->ttl == other->ttl && queue->claim == other->claim
           && queue->poll == other->poll && queue->opens == other->opens
           && queue->draw == other->draw;
}


/* all with one hash tag, so that a script finds them on one node */

static ngx_int_t
ngx_http_concert_queue_keys(ngx_conf_t *cf, ngx_http_concert_queue_t *queue)
{
    u_char      *p;
    ngx_uint_t   i;

    static const char  *suffixes[NGX_HTTP_CONCERT_QUEUE_KEYS] = {
        "queue", "waiting", "called", "active", "ended", "seen0", "seen1",
        "drawn", "absent"
    };

    for (i = 0; i < NGX_HTTP_CONCERT_QUEUE_KEYS; i++) {
        p = ngx_pnalloc(cf->pool, sizeof("{concert:}:waiting")
                                  + queue->name.len);
        if (p == NULL) {
            return NGX_ERROR;
        }

        queue->keys[i].data = p;
        queue->keys[i].len = ngx_sprintf(p, "{concert:%V}:%s", &queue->name,
                                         suffixes[i])
                             - p;
    }

    return NGX_OK;
}
