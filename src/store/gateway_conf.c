
/* concert_gateway: who takes cards, and the lanes that lead there. */

#include "core/conf.h"
#include "core/sale.h"
#include "store/gateway.h"


/* defaults */
#define NGX_HTTP_CONCERT_GATEWAY_LANES    16
#define NGX_HTTP_CONCERT_GATEWAY_QUEUE    256
#define NGX_HTTP_CONCERT_GATEWAY_TIMEOUT  (10 * 1000)
#define NGX_HTTP_CONCERT_GATEWAY_CONNECT  2000
#define NGX_HTTP_CONCERT_GATEWAY_PENDING  1000

/* the path of a question is added */
#define NGX_HTTP_CONCERT_MAX_URL     512


#if (NGX_HTTP_CONCERT_CURL)
static ngx_http_concert_gateway_conf_t *ngx_http_concert_gateway_defaults(
    ngx_conf_t *cf, ngx_http_concert_group_t *group);
static ngx_int_t ngx_http_concert_gateway_url(ngx_conf_t *cf,
    ngx_str_t *value, ngx_http_concert_gateway_conf_t *gcf);
static ngx_int_t ngx_http_concert_gateway_parameter(ngx_conf_t *cf,
    ngx_str_t *value, ngx_http_concert_group_t *group,
    ngx_http_concert_gateway_conf_t *gcf);
#endif


/*
 * concert_gateway url secret_key_file=path [lanes=n] [max_queue=n]
 *     [max_pending=n] [timeout=time] [connect_timeout=time];
 */

#if (NGX_HTTP_CONCERT_CURL)

char *
ngx_http_concert_gateway_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_concert_sale_t *sale = conf;

    ngx_int_t                         rc;
    ngx_str_t                        *value;
    ngx_uint_t                        i;
    ngx_http_concert_group_t         *group;
    ngx_http_concert_gateway_conf_t  *gcf;

    if (sale->groups[NGX_HTTP_CONCERT_GATEWAY]) {
        return "is duplicate";
    }

    group = ngx_http_concert_sale_group(cf, sale, NGX_HTTP_CONCERT_GATEWAY);
    if (group == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_http_concert_conf_number_t  numbers[] = {
        { "lanes=", 1, NGX_HTTP_CONCERT_MAX_LANES, &group->nlanes },
        { "max_queue=", 1, 1000000, &group->max_queue },
        { "max_pending=", 1, 1000000, &sale->max_pending },
        { NULL, 0, 0, NULL }
    };

    gcf = ngx_http_concert_gateway_defaults(cf, group);
    if (gcf == NULL) {
        return NGX_CONF_ERROR;
    }

    sale->max_pending = NGX_HTTP_CONCERT_GATEWAY_PENDING;
    value = cf->args->elts;

    if (ngx_http_concert_gateway_url(cf, &value[1], gcf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {
        rc = ngx_http_concert_gateway_parameter(cf, &value[i], group, gcf);

        if (rc == NGX_DECLINED) {
            rc = ngx_http_concert_conf_number(cf, &value[i], numbers);
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
    ngx_http_concert_group_t *group)
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
        return ngx_http_concert_conf_time(cf, value, 8, "timeout=10s",
                                           &group->timeout);
    }

    if (ngx_strncmp(value->data, "connect_timeout=", 16) == 0) {
        return ngx_http_concert_conf_time(cf, value, 16,
                                           "connect_timeout=2s",
                                           &gcf->connect_timeout);
    }

    if (ngx_strncmp(value->data, "secret_key_file=", 16) != 0) {
        return NGX_DECLINED;
    }

    name.data = value->data + 16;
    name.len = value->len - 16;

    if (ngx_http_concert_conf_secret(cf, &name, "secret key", &secret)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    gcf->secret = (char *) secret.data;

    return NGX_OK;
}

#else

char *
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
