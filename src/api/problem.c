
/*
 * A location where nginx's own refusals become problems, for those whom an
 * error_page leads here; for others nothing is here.
 */

#include "api/api.h"
#include "core/refusal.h"


static ngx_int_t ngx_http_concert_problem_parse(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, json_t *body);
static ngx_int_t ngx_http_concert_problem_start(
    ngx_http_concert_call_t *call);


ngx_http_concert_route_t  ngx_http_concert_problem_route = {
    ngx_string("problem"),
    {
        { NGX_HTTP_CONCERT_ANY_METHOD,
          0,
          ngx_http_concert_problem_parse,
          ngx_http_concert_problem_start,
          NULL }
    }
};


static ngx_int_t
ngx_http_concert_problem_parse(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, json_t *body)
{
    ngx_http_concert_refusal_reply(r, &call->reply);

    return NGX_OK;
}


static ngx_int_t
ngx_http_concert_problem_start(ngx_http_concert_call_t *call)
{
    return NGX_DECLINED;
}
