
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
static void ngx_http_concert_readyz_late(ngx_http_concert_call_t *call,
    ngx_http_concert_reply_t *reply);
static void ngx_http_concert_readyz_reply(ngx_http_concert_reply_t *reply,
    ngx_uint_t postgres, ngx_uint_t redis);


static const ngx_http_concert_op_t  ngx_http_concert_ready_postgres = {
    "ready", NGX_HTTP_CONCERT_READ, NULL, 1
};


ngx_http_concert_route_t  ngx_http_concert_healthz_route = {
    ngx_string("healthz"),
    {
        { NGX_HTTP_GET,
          NGX_HTTP_CONCERT_OPERATORS,
          NULL,
          ngx_http_concert_healthz_start,
          NULL }
    }
};


ngx_http_concert_route_t  ngx_http_concert_readyz_route = {
    ngx_string("readyz"),
    {
        { NGX_HTTP_GET,
          NGX_HTTP_CONCERT_NEEDS_POSTGRES|NGX_HTTP_CONCERT_NEEDS_REDIS
          |NGX_HTTP_CONCERT_OPERATORS,
          NULL,
          ngx_http_concert_readyz_start,
          NULL }
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
    call->late = ngx_http_concert_readyz_late;

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
                && !call->sale->groups[NGX_HTTP_CONCERT_WRITE]->down);

    ngx_http_concert_call_step(call, &ngx_http_concert_look,
                               ngx_http_concert_readyz_read);

    if (ngx_http_concert_queue_user_params(call) != NGX_OK) {
        ngx_http_concert_call_fail(call, "overloaded", NULL);
        ngx_http_concert_answer(call);
        return;
    }

    (void) ngx_http_concert_run(call, ngx_http_concert_readyz_redis);
}


static void
ngx_http_concert_readyz_redis(ngx_http_concert_call_t *call)
{
    ngx_http_concert_readyz_reply(&call->reply, call->id != 0,
                                  call->outcome == NGX_HTTP_CONCERT_OK);
    ngx_http_concert_answer(call);
}


/* the one that was asked is frozen; the other is as it was last seen */

static void
ngx_http_concert_readyz_late(ngx_http_concert_call_t *call,
    ngx_http_concert_reply_t *reply)
{
    ngx_uint_t                 postgres;
    ngx_http_concert_group_t  *redis;

    redis = call->sale->groups[NGX_HTTP_CONCERT_REDIS];
    postgres = (call->op == &ngx_http_concert_ready_postgres);

    ngx_http_concert_readyz_reply(reply,
                     postgres ? 0 : call->id != 0,
                     postgres ? !redis->down : 0);
}


static void
ngx_http_concert_readyz_reply(ngx_http_concert_reply_t *reply,
    ngx_uint_t postgres, ngx_uint_t redis)
{
    static const ngx_str_t  bodies[2][2] = {
        { ngx_string("{\"postgres\":\"down\",\"redis\":\"down\"}"),
          ngx_string("{\"postgres\":\"down\",\"redis\":\"up\"}") },
        { ngx_string("{\"postgres\":\"up\",\"redis\":\"down\"}"),
          ngx_string("{\"postgres\":\"up\",\"redis\":\"up\"}") }
    };

    reply->body = bodies[postgres][redis];
    reply->status = (postgres && redis) ? NGX_HTTP_OK
                                        : NGX_HTTP_SERVICE_UNAVAILABLE;
}
