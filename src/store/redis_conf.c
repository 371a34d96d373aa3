
/* concert_redis: where the queue is kept, and the lanes that lead to it. */

#include "core/conf.h"
#include "core/sale.h"
#include "store/redis.h"


#define NGX_HTTP_CONCERT_MAX_PATH    107     /* sun_path */


static ngx_int_t ngx_http_concert_redis_login(ngx_conf_t *cf,
    ngx_str_t *value, ngx_http_concert_redis_conf_t *rcf);
static char *ngx_http_concert_redis_address(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_concert_redis_conf_t *rcf);


/*
 * concert_redis unix:path | host[:port] [user=name] [password_file=path]
 *     [lanes=n] [batch=n] [max_queue=n];
 */

char *
ngx_http_concert_redis_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_concert_sale_t *sale = conf;

    ngx_int_t                       rc;
    ngx_str_t                      *value;
    ngx_uint_t                      i;
    ngx_http_concert_group_t       *group;
    ngx_http_concert_redis_conf_t  *rcf;

    if (sale->groups[NGX_HTTP_CONCERT_REDIS]) {
        return "is duplicate";
    }

    group = ngx_http_concert_sale_group(cf, sale, NGX_HTTP_CONCERT_REDIS);
    if (group == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_http_concert_conf_number_t  numbers[] = {
        { "lanes=", 1, NGX_HTTP_CONCERT_MAX_LANES, &group->nlanes },
        { "batch=", 1, NGX_HTTP_CONCERT_MAX_BATCH, &group->batch },
        { "max_queue=", 1, 1000000, &group->max_queue },
        { NULL, 0, 0, NULL }
    };

    value = cf->args->elts;

    rcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_concert_redis_conf_t));
    if (rcf == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {
        rc = ngx_http_concert_redis_login(cf, &value[i], rcf);

        if (rc == NGX_DECLINED) {
            rc = ngx_http_concert_conf_number(cf, &value[i], numbers);
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

        return ngx_http_concert_conf_secret(cf, &name, "password",
                                            &rcf->password);
    }

    return NGX_DECLINED;
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
