
/*
 * Frees the seats of holds that ran out, so that they are listed again.  A
 * reservation attempt does not wait for it: the seat row judges.
 */

#include "jobs/jobs.h"


#define NGX_HTTP_CONCERT_EXPIRE_INTERVAL  500

/* reservations a run: a run is one transaction and must stay short */
#define NGX_HTTP_CONCERT_EXPIRE_LIMIT     1000


static ngx_int_t ngx_http_concert_expire_params(
    ngx_http_concert_call_t *call);
static void ngx_http_concert_expire_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);
static void ngx_http_concert_expire_done(ngx_http_concert_call_t *call);


static const ngx_http_concert_op_t  ngx_http_concert_expire = {
    "expire", NGX_HTTP_CONCERT_WRITE, NULL, 1
};


const ngx_http_concert_job_t  ngx_http_concert_expire_job = {
    .op = &ngx_http_concert_expire,
    .interval = NGX_HTTP_CONCERT_EXPIRE_INTERVAL,
    .params = ngx_http_concert_expire_params,
    .read = ngx_http_concert_expire_read,
    .done = ngx_http_concert_expire_done
};


static ngx_int_t
ngx_http_concert_expire_params(ngx_http_concert_call_t *call)
{
    return ngx_http_concert_call_integer(call, NGX_HTTP_CONCERT_EXPIRE_LIMIT);
}


static void
ngx_http_concert_expire_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    call->id = res->integer(res, 0, 0);
}


static void
ngx_http_concert_expire_done(ngx_http_concert_call_t *call)
{
    (void) ngx_atomic_fetch_add(&call->sale->database->expired,
                                (ngx_atomic_int_t) call->id);
}
