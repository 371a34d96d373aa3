
/* concert_identity: who a caller is. */

#include "core/conf.h"
#include "core/sale.h"


/* s; RFC 7519, 4.1.4: no more than a few minutes */
#define NGX_HTTP_CONCERT_MAX_LEEWAY  300


static ngx_int_t ngx_http_concert_identity_parameter(ngx_conf_t *cf,
    ngx_str_t *value, ngx_http_concert_jwt_conf_t *jwt);
static ngx_int_t ngx_http_concert_identity_key(ngx_conf_t *cf,
    ngx_str_t *name, ngx_http_concert_jwt_conf_t *jwt);


ngx_http_concert_identity_t *
ngx_http_concert_identity_create(ngx_conf_t *cf)
{
    ngx_http_concert_identity_t  *identity;

    identity = ngx_pcalloc(cf->pool, sizeof(ngx_http_concert_identity_t));

    if (identity) {
        identity->kind = NGX_HTTP_CONCERT_IDENTITY_HEADER;
    }

    return identity;
}


/*
 * concert_identity header;
 * concert_identity jwt key_file... [aud=text] [iss=text] [leeway=time];
 */

char *
ngx_http_concert_identity_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_concert_sale_t *sale = conf;

    ngx_str_t                    *value;
    ngx_uint_t                    i;
    ngx_http_concert_identity_t  *identity;

    if (sale->identity) {
        return "is duplicate";
    }

    identity = ngx_http_concert_identity_create(cf);
    if (identity == NULL) {
        return NGX_CONF_ERROR;
    }

    sale->identity = identity;
    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "header") == 0) {
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

    identity->kind = NGX_HTTP_CONCERT_IDENTITY_JWT;

    for (i = 2; i < cf->args->nelts; i++) {
        if (ngx_http_concert_identity_parameter(cf, &value[i], &identity->jwt)
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    if (identity->jwt.nkeys == 0) {
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

    if (ngx_http_concert_conf_file(cf, name, &text) != NGX_OK) {
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
