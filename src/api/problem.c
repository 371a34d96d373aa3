
/*
 * Where nginx's own refusals (400, 403, 404, 405, 413, 429, 50x) get the same
 * dress as ours: an internal location that error_page leads to.
 */

#include "api/api.h"


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
    /* nginx's own 494..499, and 501: a transfer encoding that it has not */

    if ((r->err_status > NGX_HTTP_CLOSE && r->err_status < 500)
        || r->err_status == NGX_HTTP_NOT_IMPLEMENTED)
    {
        r->err_status = NGX_HTTP_BAD_REQUEST;
    }

    call->id = r->err_status ? r->err_status : NGX_HTTP_NOT_FOUND;

    return NGX_OK;
}


static ngx_int_t
ngx_http_concert_problem_start(ngx_http_concert_call_t *call)
{
    const char  *code;

    switch (call->id) {

    case NGX_HTTP_FORBIDDEN:
        code = "forbidden";
        break;

    case NGX_HTTP_NOT_FOUND:
        code = "route_not_found";
        break;

    case NGX_HTTP_NOT_ALLOWED:
        code = "method_not_allowed";
        break;

    case NGX_HTTP_REQUEST_ENTITY_TOO_LARGE:
        code = "body_too_large";
        break;

    case NGX_HTTP_UNSUPPORTED_MEDIA_TYPE:
        code = "media_type_unsupported";
        break;

    case NGX_HTTP_TOO_MANY_REQUESTS:
        code = "rate_limited";
        break;

    case NGX_HTTP_GATEWAY_TIME_OUT:
        code = "timeout";
        break;

    case NGX_HTTP_INTERNAL_SERVER_ERROR:
    case NGX_HTTP_BAD_GATEWAY:
    case NGX_HTTP_SERVICE_UNAVAILABLE:
        code = "overloaded";
        break;

    default: /* 400, 414 */
        code = "invalid_request";
    }

    ngx_http_concert_call_fail(call, code, NULL);
    call->reply.status = (ngx_uint_t) call->id;

    return NGX_DECLINED;
}
