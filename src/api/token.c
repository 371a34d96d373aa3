
/*
 * The waiting queue: POST /api/token takes a place, GET and DELETE
 * /api/token/{userId} look at it and give it back, GET
 * /api/token/status/{userId} says whether the user may go on now.
 */

#include "api/api.h"
#include "core/draw.h"
#include "core/reply.h"


static ngx_int_t ngx_http_concert_enter_start(ngx_http_concert_call_t *call);
static void ngx_http_concert_enter_done(ngx_http_concert_call_t *call);
static void ngx_http_concert_enter_seed_done(ngx_http_concert_call_t *call);
static ngx_int_t ngx_http_concert_token_start(ngx_http_concert_call_t *call);
static ngx_int_t ngx_http_concert_token_known(ngx_http_request_t *r,
    const ngx_http_concert_known_t *known);
static ngx_int_t ngx_http_concert_leave_start(ngx_http_concert_call_t *call);
static ngx_int_t ngx_http_concert_token_status_start(
    ngx_http_concert_call_t *call);
static ngx_int_t ngx_http_concert_token_status_known(ngx_http_request_t *r,
    const ngx_http_concert_known_t *known);
static ngx_int_t ngx_http_concert_queue_run(ngx_http_concert_call_t *call,
    void (*done)(ngx_http_concert_call_t *call));
static void *ngx_http_concert_token_alloc(void *data, size_t size);
static void ngx_http_concert_token_done(ngx_http_concert_call_t *call);
static void ngx_http_concert_token_status_done(ngx_http_concert_call_t *call);
static void ngx_http_concert_token_status_reply(
    const ngx_http_concert_place_t *place, ngx_http_concert_reply_t *reply);
static void ngx_http_concert_leave_done(ngx_http_concert_call_t *call);


static const ngx_http_concert_op_t  ngx_http_concert_enter = {
    "enter", NGX_HTTP_CONCERT_REDIS, "sssssssa", 1
};


ngx_http_concert_route_t  ngx_http_concert_token_enter_route = {
    ngx_string("token_enter"),
    {
        { NGX_HTTP_POST,
          NGX_HTTP_CONCERT_NEEDS_REDIS|NGX_HTTP_CONCERT_BODY
          |NGX_HTTP_CONCERT_BODY_USER,
          NULL,
          ngx_http_concert_enter_start,
          NULL }
    }
};


ngx_http_concert_route_t  ngx_http_concert_token_route = {
    ngx_string("token"),
    {
        { NGX_HTTP_GET,
          NGX_HTTP_CONCERT_NEEDS_REDIS|NGX_HTTP_CONCERT_ID
          |NGX_HTTP_CONCERT_ID_IS_USER,
          NULL,
          ngx_http_concert_token_start,
          ngx_http_concert_token_known },

        { NGX_HTTP_DELETE,
          NGX_HTTP_CONCERT_NEEDS_REDIS|NGX_HTTP_CONCERT_ID
          |NGX_HTTP_CONCERT_ID_IS_USER,
          NULL,
          ngx_http_concert_leave_start,
          NULL }
    }
};


ngx_http_concert_route_t  ngx_http_concert_token_status_route = {
    ngx_string("token_status"),
    {
        { NGX_HTTP_GET,
          NGX_HTTP_CONCERT_NEEDS_REDIS|NGX_HTTP_CONCERT_ID
          |NGX_HTTP_CONCERT_ID_IS_USER,
          NULL,
          ngx_http_concert_token_status_start,
          ngx_http_concert_token_status_known }
    }
};


static ngx_int_t
ngx_http_concert_enter_start(ngx_http_concert_call_t *call)
{
    ngx_http_concert_call_step(call, &ngx_http_concert_enter,
                               ngx_http_concert_queue_read_ticket);

    if (ngx_http_concert_queue_params(call) != NGX_OK
        || ngx_http_concert_draw_enter(call) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_concert_run(call, ngx_http_concert_enter_done);
}


/* before a draw nobody enters without a key of the seed that Redis has */

static void
ngx_http_concert_enter_done(ngx_http_concert_call_t *call)
{
    ngx_uint_t  *tries;

    if (call->outcome != NGX_HTTP_CONCERT_OK
        || call->queue_answer.status != NGX_HTTP_CONCERT_TICKET_STALE)
    {
        ngx_http_concert_token_done(call);
        return;
    }

    ngx_http_concert_queue_learn(call);

    if (call->data == NULL) {
        call->data = ngx_pcalloc(call->pool, sizeof(ngx_uint_t));
    }

    tries = call->data;

    if (tries && (*tries)++ < NGX_HTTP_CONCERT_DRAW_TRIES
        && ngx_http_concert_draw_ask(call, ngx_http_concert_enter_seed_done)
           == NGX_OK)
    {
        return;
    }

    ngx_http_concert_call_fail(call, "queue_unavailable", NULL);
    ngx_http_concert_answer(call);
}


static void
ngx_http_concert_enter_seed_done(ngx_http_concert_call_t *call)
{
    if (!ngx_http_concert_succeeded(call)) {
        ngx_http_concert_answer(call);
        return;
    }

    ngx_http_concert_draw_learn(call);

    if (ngx_http_concert_enter_start(call) == NGX_ERROR) {
        ngx_http_concert_call_fail(call, "overloaded", NULL);
        ngx_http_concert_answer(call);
    }
}


static ngx_int_t
ngx_http_concert_token_start(ngx_http_concert_call_t *call)
{
    ngx_http_concert_call_step(call, &ngx_http_concert_look,
                               ngx_http_concert_queue_read_ticket);

    return ngx_http_concert_queue_run(call, ngx_http_concert_token_done);
}


static ngx_int_t
ngx_http_concert_token_status_start(ngx_http_concert_call_t *call)
{
    ngx_http_concert_call_step(call, &ngx_http_concert_look,
                               ngx_http_concert_queue_read_ticket);

    return ngx_http_concert_queue_run(call,
                                      ngx_http_concert_token_status_done);
}


static ngx_int_t
ngx_http_concert_queue_run(ngx_http_concert_call_t *call,
    void (*done)(ngx_http_concert_call_t *call))
{
    if (ngx_http_concert_queue_user_params(call) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_concert_run(call, done);
}


static ngx_int_t
ngx_http_concert_token_known(ngx_http_request_t *r,
    const ngx_http_concert_known_t *known)
{
    ngx_http_concert_json_t   json;
    ngx_http_concert_reply_t  reply;

    ngx_memzero(&reply, sizeof(ngx_http_concert_reply_t));

    ngx_http_concert_json_init(&json, ngx_http_concert_token_alloc, r->pool,
                               NGX_HTTP_CONCERT_TOKEN_SIZE);

    reply.retry_after = ngx_http_concert_queue_poll(known->sale->queue,
                                                    &known->place);
    ngx_http_concert_queue_json(&json, known->user_id, &known->place,
                                reply.retry_after);

    if (json.failed) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    reply.body = ngx_http_concert_call_text(&json);

    return ngx_http_concert_tell_reply(r, known, &reply);
}


static void *
ngx_http_concert_token_alloc(void *data, size_t size)
{
    return ngx_pnalloc(data, size);
}


static ngx_int_t
ngx_http_concert_token_status_known(ngx_http_request_t *r,
    const ngx_http_concert_known_t *known)
{
    ngx_http_concert_reply_t  reply;

    ngx_memzero(&reply, sizeof(ngx_http_concert_reply_t));
    ngx_http_concert_token_status_reply(&known->place, &reply);

    return ngx_http_concert_tell_reply(r, known, &reply);
}


static void
ngx_http_concert_token_done(ngx_http_concert_call_t *call)
{
    ngx_http_concert_json_t   json;
    ngx_http_concert_place_t  place;

    if (!ngx_http_concert_succeeded(call)) {
        ngx_http_concert_answer(call);
        return;
    }

    ngx_http_concert_queue_learn_ticket(call, &place);

    if (place.status == NGX_HTTP_CONCERT_TICKET_NONE) {
        ngx_http_concert_call_fail(call, "token_not_found", NULL);
        ngx_http_concert_answer(call);
        return;
    }

    call->reply.retry_after = ngx_http_concert_queue_poll(call->sale->queue,
                                                          &place);

    ngx_http_concert_call_json(call, &json, NGX_HTTP_CONCERT_TOKEN_SIZE);
    ngx_http_concert_queue_json(&json, call->user_id, &place,
                                call->reply.retry_after);
    ngx_http_concert_call_body(call, &json);
    ngx_http_concert_answer(call);
}


static void
ngx_http_concert_token_status_done(ngx_http_concert_call_t *call)
{
    ngx_http_concert_place_t  place;

    if (ngx_http_concert_succeeded(call)) {
        ngx_http_concert_queue_learn_ticket(call, &place);
        ngx_http_concert_token_status_reply(&place, &call->reply);
        call->reply.status = NGX_HTTP_OK;
    }

    ngx_http_concert_answer(call);
}


static void
ngx_http_concert_token_status_reply(const ngx_http_concert_place_t *place,
    ngx_http_concert_reply_t *reply)
{
    static const ngx_str_t  may = ngx_string("true");
    static const ngx_str_t  may_not = ngx_string("false");

    reply->body = place->status == NGX_HTTP_CONCERT_TICKET_ACTIVE ? may
                                                                  : may_not;
}


static ngx_int_t
ngx_http_concert_leave_start(ngx_http_concert_call_t *call)
{
    return ngx_http_concert_queue_leave(call, ngx_http_concert_leave_done);
}


static void
ngx_http_concert_leave_done(ngx_http_concert_call_t *call)
{
    if (ngx_http_concert_succeeded(call)) {
        (void) ngx_http_concert_queue_left(call);
        call->reply.status = NGX_HTTP_NO_CONTENT;
    }

    ngx_http_concert_answer(call);
}
