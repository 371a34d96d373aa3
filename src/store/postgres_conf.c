
/* concert_postgres: the database, and the lanes that lead to it. */

#include "core/conf.h"
#include "core/sale.h"
#include "store/postgres.h"


static ngx_int_t ngx_http_concert_postgres_conninfo(ngx_conf_t *cf,
    ngx_str_t *conninfo);
static char *ngx_http_concert_postgres_confs(ngx_conf_t *cf,
    ngx_str_t *conninfo, ngx_http_concert_group_t *read,
    ngx_http_concert_group_t *write);


/* concert_postgres conninfo [read=n] [write=n] [batch=n] [max_queue=n]; */

char *
ngx_http_concert_postgres_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_concert_sale_t *sale = conf;

    ngx_str_t                 *value;
    ngx_uint_t                 i;
    ngx_http_concert_group_t  *read, *write;

    if (sale->groups[NGX_HTTP_CONCERT_READ]) {
        return "is duplicate";
    }

    read = ngx_http_concert_sale_group(cf, sale, NGX_HTTP_CONCERT_READ);
    write = ngx_http_concert_sale_group(cf, sale, NGX_HTTP_CONCERT_WRITE);

    if (read == NULL || write == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_http_concert_conf_number_t  numbers[] = {
        { "read=", 1, NGX_HTTP_CONCERT_MAX_LANES, &read->nlanes },
        { "write=", 1, NGX_HTTP_CONCERT_MAX_LANES, &write->nlanes },
        { "batch=", 1, NGX_HTTP_CONCERT_MAX_BATCH, &write->batch },
        { "max_queue=", 1, 1000000, &read->max_queue },
        { NULL, 0, 0, NULL }
    };

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

        if (ngx_http_concert_conf_number(cf, &value[i], numbers) != NGX_OK) {
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
