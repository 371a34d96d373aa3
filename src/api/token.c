
/*
 * The waiting queue: POST /api/token takes a place, GET and DELETE
 * /api/token/{userId} look at it and give it back, GET
 * /api/token/status/{userId} says whether the user may go on now.
 */

#include "api/api.h"


#define NGX_HTTP_CONCERT_MIN_POLL  1     /* s */
#define NGX_HTTP_CONCERT_MAX_POLL  10


static ngx_int_t ngx_http_concert_enter_start(ngx_http_concert_call_t *call);
static ngx_int_t ngx_http_concert_token_start(ngx_http_concert_call_t *call);
static ngx_int_t ngx_http_concert_leave_start(ngx_http_concert_call_t *call);
static ngx_int_t ngx_http_concert_token_status_start(
    ngx_http_concert_call_t *call);
static ngx_int_t ngx_http_concert_queue_run(ngx_http_concert_call_t *call,
    void (*done)(ngx_http_concert_call_t *call));
static void ngx_http_concert_token_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);
static void ngx_http_concert_token_status_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);
static void ngx_http_concert_leave_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);
static void ngx_http_concert_left(ngx_http_concert_call_t *call);


static const ngx_http_concert_op_t  ngx_http_concert_enter = {
    "enter", NGX_HTTP_CONCERT_REDIS, NULL
};


static const ngx_http_concert_op_t  ngx_http_concert_leave = {
    "leave", NGX_HTTP_CONCERT_REDIS, NULL
};


ngx_http_concert_route_t  ngx_http_concert_token_enter_route = {
    ngx_string("token_enter"),
    {
        { NGX_HTTP_POST,
          NGX_HTTP_CONCERT_NEEDS_REDIS|NGX_HTTP_CONCERT_BODY
          |NGX_HTTP_CONCERT_BODY_USER,
          NULL,
          ngx_http_concert_enter_start }
    }
};


ngx_http_concert_route_t  ngx_http_concert_token_route = {
    ngx_string("token"),
    {
        { NGX_HTTP_GET,
          NGX_HTTP_CONCERT_NEEDS_REDIS|NGX_HTTP_CONCERT_ID
          |NGX_HTTP_CONCERT_ID_IS_USER,
          NULL,
          ngx_http_concert_token_start },

        { NGX_HTTP_DELETE,
          NGX_HTTP_CONCERT_NEEDS_REDIS|NGX_HTTP_CONCERT_ID
          |NGX_HTTP_CONCERT_ID_IS_USER,
          NULL,
          ngx_http_concert_leave_start }
    }
};


ngx_http_concert_route_t  ngx_http_concert_token_status_route = {
    ngx_string("token_status"),
    {
        { NGX_HTTP_GET,
          NGX_HTTP_CONCERT_NEEDS_REDIS|NGX_HTTP_CONCERT_ID
          |NGX_HTTP_CONCERT_ID_IS_USER,
          NULL,
          ngx_http_concert_token_status_start }
    }
};


static ngx_int_t
ngx_http_concert_enter_start(ngx_http_concert_call_t *call)
{
    ngx_http_concert_call_step(call, &ngx_http_concert_enter,
                               ngx_http_concert_token_read);

    return ngx_http_concert_queue_run(call, NULL);
}


static ngx_int_t
ngx_http_concert_token_start(ngx_http_concert_call_t *call)
{
    ngx_http_concert_call_step(call, &ngx_http_concert_look,
                               ngx_http_concert_token_read);

    return ngx_http_concert_queue_run(call, NULL);
}


static ngx_int_t
ngx_http_concert_leave_start(ngx_http_concert_call_t *call)
{
    return ngx_http_concert_leave_run(call, ngx_http_concert_left);
}


static ngx_int_t
ngx_http_concert_token_status_start(ngx_http_concert_call_t *call)
{
    ngx_http_concert_call_step(call, &ngx_http_concert_look,
                               ngx_http_concert_token_status_read);

    return ngx_http_concert_queue_run(call, NULL);
}


static ngx_int_t
ngx_http_concert_queue_run(ngx_http_concert_call_t *call,
    void (*done)(ngx_http_concert_call_t *call))
{
    if (ngx_http_concert_queue_params(call) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_concert_run(call, done);
}


static void
ngx_http_concert_token_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    int64_t                  status, wait, poll;
    ngx_http_concert_json_t  json;

    status = res->integer(res, 0, NGX_HTTP_CONCERT_TICKET_STATUS);

    if (status == NGX_HTTP_CONCERT_TICKET_NONE) {
        ngx_http_concert_call_fail(call, "token_not_found", NULL);
        return;
    }

    wait = res->integer(res, 0, NGX_HTTP_CONCERT_TICKET_WAIT);
    call->position = res->integer(res, 0, NGX_HTTP_CONCERT_TICKET_POSITION);

    ngx_http_concert_call_json(call, &json, 192);
    ngx_http_concert_json_text(&json, "{\"userId\":");
    ngx_http_concert_json_integer(&json, call->user_id);

    if (status == NGX_HTTP_CONCERT_TICKET_ACTIVE) {
        poll = 0;
        ngx_http_concert_json_text(&json, ",\"status\":\"ACTIVE\"");

    } else {
        poll = ngx_min(ngx_max(wait / 4, NGX_HTTP_CONCERT_MIN_POLL),
                       NGX_HTTP_CONCERT_MAX_POLL);
        ngx_http_concert_json_text(&json, ",\"status\":\"WAITING\"");
    }

    ngx_http_concert_json_text(&json, ",\"position\":");
    ngx_http_concert_json_integer(&json, call->position);
    ngx_http_concert_json_text(&json, ",\"waitingTime\":");
    ngx_http_concert_json_integer(&json, wait);
    ngx_http_concert_json_text(&json, ",\"expiresAt\":");

    if (status == NGX_HTTP_CONCERT_TICKET_ACTIVE) {
        ngx_http_concert_json_time(&json,
                       res->integer(res, 0, NGX_HTTP_CONCERT_TICKET_ENDS));
    } else {
        ngx_http_concert_json_text(&json, "null");
    }

    ngx_http_concert_json_text(&json, ",\"nextPoll\":");
    ngx_http_concert_json_integer(&json, poll);
    ngx_http_concert_json_text(&json, "}");
    ngx_http_concert_call_body(call, &json);

    call->reply.retry_after = (ngx_uint_t) poll;
}


static void
ngx_http_concert_token_status_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    static ngx_str_t  may = ngx_string("true");
    static ngx_str_t  may_not = ngx_string("false");

    call->position = res->integer(res, 0, NGX_HTTP_CONCERT_TICKET_POSITION);

    call->reply.status = NGX_HTTP_OK;
    call->reply.body = res->integer(res, 0, NGX_HTTP_CONCERT_TICKET_STATUS)
                       == NGX_HTTP_CONCERT_TICKET_ACTIVE ? may : may_not;
}


ngx_int_t
ngx_http_concert_leave_run(ngx_http_concert_call_t *call,
    void (*done)(ngx_http_concert_call_t *call))
{
    ngx_http_concert_call_step(call, &ngx_http_concert_leave,
                               ngx_http_concert_leave_read);

    return ngx_http_concert_queue_run(call, done);
}


/* whether there was a token to end makes no difference */

static void
ngx_http_concert_leave_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
}


static void
ngx_http_concert_left(ngx_http_concert_call_t *call)
{
    if (ngx_http_concert_succeeded(call)) {
        call->reply.status = NGX_HTTP_NO_CONTENT;
    }

    ngx_http_concert_answer(call);
}
