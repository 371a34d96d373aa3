
/*
 * $concert_user_id, $concert_route, $concert_sale, $concert_code,
 * $concert_store_time and $concert_queue_position, for log_format, map and
 * limit_req_zone.
 */

#include "core/request.h"


static ngx_int_t ngx_http_concert_user_id_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_concert_route_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_concert_sale_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_concert_code_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_concert_store_time_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_concert_queue_position_variable(
    ngx_http_request_t *r, ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_concert_set_number(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, int64_t n);
static ngx_int_t ngx_http_concert_set_bytes(ngx_http_variable_value_t *v,
    u_char *data, size_t len);


static ngx_http_variable_t  ngx_http_concert_variables[] = {

    { ngx_string("concert_user_id"), NULL,
      ngx_http_concert_user_id_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("concert_route"), NULL,
      ngx_http_concert_route_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("concert_sale"), NULL,
      ngx_http_concert_sale_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("concert_code"), NULL,
      ngx_http_concert_code_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("concert_store_time"), NULL,
      ngx_http_concert_store_time_variable, 0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("concert_queue_position"), NULL,
      ngx_http_concert_queue_position_variable, 0, NGX_HTTP_VAR_NOCACHEABLE,
      0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_http_concert_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_concert_variables; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


/* the caller: of a request that was handled, or as it says before that */

static ngx_int_t
ngx_http_concert_user_id_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    int64_t                   user_id;
    const char               *wrong;
    ngx_http_concert_ctx_t   *ctx;
    ngx_http_concert_sale_t  *sale;

    sale = ngx_http_concert_sale(r);
    ctx = ngx_http_get_module_ctx(r, ngx_http_concert_module);

    if (ctx && ctx->user_id) {
        return ngx_http_concert_set_number(r, v, ctx->user_id);
    }

    if (sale->conf->needs == 0
        || ngx_http_concert_caller(r, sale->identity, &user_id, &wrong)
           != NGX_OK)
    {
        v->not_found = 1;
        return NGX_OK;
    }

    return ngx_http_concert_set_number(r, v, user_id);
}


static ngx_int_t
ngx_http_concert_route_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_concert_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_concert_module);

    if (lcf->route == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    return ngx_http_concert_set_bytes(v, lcf->route->name.data,
                                      lcf->route->name.len);
}


/* that the location serves, or would */

static ngx_int_t
ngx_http_concert_sale_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_concert_sale_t  *sale;

    sale = ngx_http_concert_sale(r);

    return ngx_http_concert_set_bytes(v, sale->name.data, sale->name.len);
}


static ngx_int_t
ngx_http_concert_code_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_concert_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_concert_module);

    if (ctx == NULL || ctx->code == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    return ngx_http_concert_set_bytes(v, (u_char *) ctx->code,
                                      ngx_strlen(ctx->code));
}


/* seconds with milliseconds, as $request_time */

static ngx_int_t
ngx_http_concert_store_time_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                  *p;
    ngx_http_concert_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_concert_module);

    if (ctx == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, NGX_TIME_T_LEN + 4);
    if (p == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_concert_set_bytes(v, p,
                        ngx_sprintf(p, "%M.%03M", ctx->store_time / 1000,
                                    ctx->store_time % 1000)
                        - p);
}


static ngx_int_t
ngx_http_concert_queue_position_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_http_concert_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_concert_module);

    if (ctx == NULL || ctx->position < 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    return ngx_http_concert_set_number(r, v, ctx->position);
}


static ngx_int_t
ngx_http_concert_set_number(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, int64_t n)
{
    u_char  *p;

    p = ngx_pnalloc(r->pool, NGX_INT64_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_concert_set_bytes(v, p, ngx_sprintf(p, "%L", n) - p);
}


static ngx_int_t
ngx_http_concert_set_bytes(ngx_http_variable_value_t *v, u_char *data,
    size_t len)
{
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
    v->len = len;
    v->data = data;

    return NGX_OK;
}
