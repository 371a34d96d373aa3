
/*
 * For load balancers: GET /healthz is 200 while the worker serves, GET /readyz
 * when PostgreSQL and Redis answer it.
 */

#include "api/api.h"


static ngx_int_t ngx_http_concert_healthz_start(
    ngx_http_concert_call_t *call);
static ngx_int_t ngx_http_concert_readyz_start(
    ngx_http_concert_call_t *call);
static void ngx_http_concert_readyz_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);
static void ngx_http_concert_readyz_postgres(ngx_http_concert_call_t *call);
static void ngx_http_concert_readyz_redis(ngx_http_concert_call_t *call);


static const ngx_http_concert_op_t  ngx_http_concert_ready_postgres = {
    "ready", NGX_HTTP_CONCERT_READ, NULL
};


static const ngx_http_concert_op_t  ngx_http_concert_ready_redis = {
    "look", NGX_HTTP_CONCERT_REDIS, NULL
};


ngx_http_concert_route_t  ngx_http_concert_healthz_route = {
    ngx_string("healthz"),
    {
        { NGX_HTTP_GET, 0, NULL, ngx_http_concert_healthz_start }
    }
};


ngx_http_concert_route_t  ngx_http_concert_readyz_route = {
    ngx_string("readyz"),
    {
        { NGX_HTTP_GET,
          NGX_HTTP_CONCERT_NEEDS_POSTGRES|NGX_HTTP_CONCERT_NEEDS_REDIS,
          NULL,
          ngx_http_concert_readyz_start }
    }
};


static ngx_int_t
ngx_http_concert_healthz_start(ngx_http_concert_call_t *call)
{
    ngx_str_set(&call->reply.body, "{\"status\":\"ok\"}");
    call->reply.status = NGX_HTTP_OK;

    return NGX_DECLINED;
}


/* asks one after the other; call->id remembers what PostgreSQL said */

static ngx_int_t
ngx_http_concert_readyz_start(ngx_http_concert_call_t *call)
{
    ngx_http_concert_call_step(call, &ngx_http_concert_ready_postgres,
                               ngx_http_concert_readyz_read);

    return ngx_http_concert_run(call, ngx_http_concert_readyz_postgres);
}


/* that there is an answer is all */

static void
ngx_http_concert_readyz_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
}


static void
ngx_http_concert_readyz_postgres(ngx_http_concert_call_t *call)
{
    call->id = (call->outcome == NGX_HTTP_CONCERT_OK
                && !ngx_http_concert_conf->groups[NGX_HTTP_CONCERT_WRITE].down);

    ngx_http_concert_call_step(call, &ngx_http_concert_ready_redis,
                               ngx_http_concert_readyz_read);

    if (ngx_http_concert_queue_params(call) != NGX_OK) {
        ngx_http_concert_call_fail(call, "overloaded", NULL);
        ngx_http_concert_answer(call);
        return;
    }

    (void) ngx_http_concert_run(call, ngx_http_concert_readyz_redis);
}


static void
ngx_http_concert_readyz_redis(ngx_http_concert_call_t *call)
{
    ngx_uint_t                redis;
    ngx_http_concert_json_t   json;

    redis = (call->outcome == NGX_HTTP_CONCERT_OK);

    ngx_http_concert_call_json(call, &json, 64);
    ngx_http_concert_json_text(&json, "{\"postgres\":");

    if (call->id) {
        ngx_http_concert_json_text(&json, "\"up\",\"redis\":");
    } else {
        ngx_http_concert_json_text(&json, "\"down\",\"redis\":");
    }

    if (redis) {
        ngx_http_concert_json_text(&json, "\"up\"}");
    } else {
        ngx_http_concert_json_text(&json, "\"down\"}");
    }

    ngx_http_concert_call_body(call, &json);

    if (call->reply.code == NULL && !(call->id && redis)) {
        call->reply.status = NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    ngx_http_concert_answer(call);
}
