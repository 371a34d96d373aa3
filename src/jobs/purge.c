
/* Forgets Idempotency-Keys, and orders that nobody used, after 24 hours. */

#include "jobs/jobs.h"


#define NGX_HTTP_CONCERT_PURGE_INTERVAL  10000

/* rows a run: a run is one transaction and must stay short */
#define NGX_HTTP_CONCERT_PURGE_LIMIT     10000


static ngx_int_t ngx_http_concert_purge_params(ngx_http_concert_call_t *call);
static void ngx_http_concert_purge_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);
static void ngx_http_concert_purge_done(ngx_http_concert_call_t *call);


static const ngx_http_concert_op_t  ngx_http_concert_purge_keys = {
    "purge_keys", NGX_HTTP_CONCERT_WRITE, NULL, 1
};


static const ngx_http_concert_op_t  ngx_http_concert_purge_orders = {
    "purge_orders", NGX_HTTP_CONCERT_WRITE, NULL, 1
};


const ngx_http_concert_job_t  ngx_http_concert_purge_keys_job = {
    .op = &ngx_http_concert_purge_keys,
    .interval = NGX_HTTP_CONCERT_PURGE_INTERVAL,
    .params = ngx_http_concert_purge_params,
    .read = ngx_http_concert_purge_read,
    .done = ngx_http_concert_purge_done
};


const ngx_http_concert_job_t  ngx_http_concert_purge_orders_job = {
    .op = &ngx_http_concert_purge_orders,
    .interval = NGX_HTTP_CONCERT_PURGE_INTERVAL,
    .params = ngx_http_concert_purge_params,
    .read = ngx_http_concert_purge_read,
    .done = ngx_http_concert_purge_done
};


static ngx_int_t
ngx_http_concert_purge_params(ngx_http_concert_call_t *call)
{
    return ngx_http_concert_call_integer(call, NGX_HTTP_CONCERT_PURGE_LIMIT);
}


static void
ngx_http_concert_purge_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
}


static void
ngx_http_concert_purge_done(ngx_http_concert_call_t *call)
{
}
