
/*
 * POST /gateway/breaker {"state": "forced_open"}, for operators: sets the
 * breaker in front of the payment gateway, and answers with what it is now.
 */

#include "api/api.h"


static ngx_int_t ngx_http_concert_breaker_parse(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, json_t *body);
static ngx_int_t ngx_http_concert_breaker_start(
    ngx_http_concert_call_t *call);


ngx_http_concert_route_t  ngx_http_concert_gateway_breaker_route = {
    ngx_string("gateway_breaker"),
    {
        { NGX_HTTP_POST,
          NGX_HTTP_CONCERT_BODY|NGX_HTTP_CONCERT_TYPED
          |NGX_HTTP_CONCERT_OPERATORS,
          ngx_http_concert_breaker_parse,
          ngx_http_concert_breaker_start,
          NULL }
    }
};


static ngx_int_t
ngx_http_concert_breaker_parse(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, json_t *body)
{
    ngx_uint_t   i;
    const char  *state;

    state = json_string_value(json_object_get(body, "state"));

    for (i = 0; state && i < NGX_HTTP_CONCERT_BREAKER_STATES; i++) {
        if (ngx_strcmp(state, ngx_http_concert_breaker_states[i]) == 0) {
            call->id = i;
            return NGX_OK;
        }
    }

    return ngx_http_concert_bad_request(call, "state",
           "must be closed, open, half_open, disabled, forced_open or "
           "metrics_only");
}


static ngx_int_t
ngx_http_concert_breaker_start(ngx_http_concert_call_t *call)
{
    const char                           *state;
    ngx_http_concert_json_t               json;
    ngx_http_concert_breaker_snapshot_t   snapshot;

    if (ngx_http_concert_guard_set(call->sale->guard, call->id) != NGX_OK) {
        (void) ngx_http_concert_bad_request(call, "state",
               "cannot follow the one that is now");
        return NGX_DECLINED;
    }

    ngx_http_concert_guard_snapshot(call->sale->guard, &snapshot);
    state = ngx_http_concert_breaker_states[snapshot.state];

    ngx_http_concert_call_json(call, &json, 64);
    ngx_http_concert_json_text(&json, "{\"state\":");
    ngx_http_concert_json_string(&json, state, ngx_strlen(state));
    ngx_http_concert_json_text(&json, "}");
    ngx_http_concert_call_body(call, &json);

    return NGX_DECLINED;
}
