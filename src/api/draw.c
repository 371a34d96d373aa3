
/*
 * GET /api/queue/draw: what anybody needs to check the draw of an opening: the
 * hash of the seed before, the seed after, and with ?user= what was drawn for
 * that user.  Tells nothing before the opening that its seed would tell.
 */

#include "api/api.h"
#include "core/draw.h"


/* columns of the script's own */

enum {
    NGX_HTTP_CONCERT_DRAWN_OPENS = NGX_HTTP_CONCERT_QUEUE_OWN,
    NGX_HTTP_CONCERT_DRAWN_SIZE,
    NGX_HTTP_CONCERT_DRAWN_PLACE,
    NGX_HTTP_CONCERT_DRAWN_BELOW
};


typedef struct {
    int64_t      user_id;    /* that is asked for; 0: none */
    uint64_t     key;
    int64_t      opens;
    int64_t      size;       /* of the pre-queue; -1: its opening lies ahead */
    int64_t      place;      /* 0: was not in it */
    int64_t      below;
    ngx_uint_t   tries;
} ngx_http_concert_drawn_t;


static ngx_int_t ngx_http_concert_drawn_parse(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, json_t *body);
static ngx_int_t ngx_http_concert_drawn_start(ngx_http_concert_call_t *call);
static void ngx_http_concert_drawn_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);
static void ngx_http_concert_drawn_done(ngx_http_concert_call_t *call);
static void ngx_http_concert_drawn_seed_done(ngx_http_concert_call_t *call);
static void ngx_http_concert_drawn_answer(ngx_http_concert_call_t *call);
static void ngx_http_concert_drawn_seed(ngx_http_concert_json_t *json,
    const ngx_http_concert_queue_t *queue,
    const ngx_http_concert_drawn_t *drawn);
static void ngx_http_concert_drawn_user(ngx_http_concert_json_t *json,
    const ngx_http_concert_drawn_t *drawn);


static const ngx_http_concert_op_t  ngx_http_concert_drawn = {
    "draw", NGX_HTTP_CONCERT_REDIS, "ssssssa", 1
};


ngx_http_concert_route_t  ngx_http_concert_queue_draw_route = {
    ngx_string("queue_draw"),
    {
        { NGX_HTTP_GET,
          NGX_HTTP_CONCERT_NEEDS_REDIS,
          ngx_http_concert_drawn_parse,
          ngx_http_concert_drawn_start,
          NULL }
    }
};


static ngx_int_t
ngx_http_concert_drawn_parse(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, json_t *body)
{
    ngx_uint_t                 none;
    ngx_http_concert_drawn_t  *drawn;

    drawn = ngx_pcalloc(call->pool, sizeof(ngx_http_concert_drawn_t));
    if (drawn == NULL) {
        return NGX_ERROR;
    }

    call->data = drawn;

    return ngx_http_concert_query_integer(r, call, "user", 1,
                                          NGX_HTTP_CONCERT_MAX_INTEGER,
                                          &drawn->user_id, &none);
}


static ngx_int_t
ngx_http_concert_drawn_start(ngx_http_concert_call_t *call)
{
    ngx_http_concert_drawn_t  *drawn;

    drawn = call->data;

    ngx_http_concert_call_step(call, &ngx_http_concert_drawn,
                               ngx_http_concert_drawn_read);

    if (ngx_http_concert_queue_params(call) != NGX_OK
        || ngx_http_concert_draw_user(call, drawn->user_id) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_concert_run(call, ngx_http_concert_drawn_done);
}


static void
ngx_http_concert_drawn_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    ngx_http_concert_drawn_t  *drawn;

    drawn = call->data;

    ngx_http_concert_queue_read(call, res);

    drawn->opens = res->integer(res, 0, NGX_HTTP_CONCERT_DRAWN_OPENS);
    drawn->size = res->integer(res, 0, NGX_HTTP_CONCERT_DRAWN_SIZE);
    drawn->place = res->integer(res, 0, NGX_HTTP_CONCERT_DRAWN_PLACE);
    drawn->below = res->integer(res, 0, NGX_HTTP_CONCERT_DRAWN_BELOW);
}


/* with another seed the key was wrong, too: then it is asked again */

static void
ngx_http_concert_drawn_done(ngx_http_concert_call_t *call)
{
    ngx_http_concert_drawn_t  *drawn;
    ngx_http_concert_queue_t  *queue;

    if (!ngx_http_concert_succeeded(call)) {
        ngx_http_concert_answer(call);
        return;
    }

    drawn = call->data;
    queue = call->sale->queue;

    ngx_http_concert_queue_learn(call);

    if (drawn->size == NGX_HTTP_CONCERT_NO_DRAW) {
        ngx_http_concert_call_fail(call, "draw_not_found", NULL);
        ngx_http_concert_answer(call);
        return;
    }

    if (queue->seed_epoch == call->queue_answer.epoch) {

        if (ngx_http_concert_draw_key(queue, drawn->user_id, &drawn->key)
            == NGX_OK)
        {
            ngx_http_concert_drawn_answer(call);
            return;
        }

        drawn->tries = NGX_HTTP_CONCERT_DRAW_TRIES;
    }

    if (drawn->tries++ == NGX_HTTP_CONCERT_DRAW_TRIES) {
        ngx_http_concert_call_fail(call, "queue_unavailable", NULL);
        ngx_http_concert_answer(call);
        return;
    }

    if (ngx_http_concert_draw_ask(call, ngx_http_concert_drawn_seed_done)
        == NGX_ERROR)
    {
        ngx_http_concert_call_fail(call, "overloaded", NULL);
        ngx_http_concert_answer(call);
    }
}


static void
ngx_http_concert_drawn_seed_done(ngx_http_concert_call_t *call)
{
    if (!ngx_http_concert_succeeded(call)) {
        ngx_http_concert_answer(call);
        return;
    }

    ngx_http_concert_draw_learn(call);

    /* nobody had a seed made before the opening: there is nothing to check */

    if (!ngx_http_concert_draw_known(call->sale->queue)) {
        ngx_http_concert_call_fail(call, "draw_not_found", NULL);
        ngx_http_concert_answer(call);
        return;
    }

    if (ngx_http_concert_drawn_start(call) == NGX_ERROR) {
        ngx_http_concert_call_fail(call, "overloaded", NULL);
        ngx_http_concert_answer(call);
    }
}


static void
ngx_http_concert_drawn_answer(ngx_http_concert_call_t *call)
{
    ngx_http_concert_json_t    json;
    ngx_http_concert_drawn_t  *drawn;
    ngx_http_concert_queue_t  *queue;

    drawn = call->data;
    queue = call->sale->queue;

    ngx_http_concert_call_json(call, &json, 512);

    ngx_http_concert_print(&json, "{\"queue\":\"%V\",\"opensAt\":",
                           &queue->name);
    ngx_http_concert_json_time(&json, drawn->opens);
    ngx_http_concert_drawn_seed(&json, queue, drawn);

    if (drawn->user_id) {
        ngx_http_concert_drawn_user(&json, drawn);
    }

    ngx_http_concert_json_text(&json, "}");
    ngx_http_concert_call_body(call, &json);
    ngx_http_concert_answer(call);
}


static void
ngx_http_concert_drawn_seed(ngx_http_concert_json_t *json,
    const ngx_http_concert_queue_t *queue,
    const ngx_http_concert_drawn_t *drawn)
{
    u_char  hash[NGX_HTTP_CONCERT_DRAW_HASH];

    ngx_http_concert_draw_hash(queue, hash);

    ngx_http_concert_print(json, ",\"commitment\":\"%*s\"", sizeof(hash),
                           hash);

    if (drawn->size == NGX_HTTP_CONCERT_DRAW_AHEAD) {
        ngx_http_concert_json_text(json, ",\"seed\":null,\"drawn\":null");
        return;
    }

    ngx_http_concert_print(json, ",\"seed\":\"%*s\",\"drawn\":%L",
                           (size_t) NGX_HTTP_CONCERT_SEED_LEN, queue->seed,
                           drawn->size);
}


static void
ngx_http_concert_drawn_user(ngx_http_concert_json_t *json,
    const ngx_http_concert_drawn_t *drawn)
{
    ngx_http_concert_print(json, ",\"userId\":%L", drawn->user_id);

    if (drawn->size == NGX_HTTP_CONCERT_DRAW_AHEAD) {
        ngx_http_concert_json_text(json,
                                   ",\"key\":null,\"below\":null,"
                                   "\"place\":null");
        return;
    }

    ngx_http_concert_print(json, ",\"key\":\"%013xL\",\"below\":%L,\"place\":",
                           drawn->key, drawn->below);

    if (drawn->place) {
        ngx_http_concert_json_integer(json, drawn->place);
    } else {
        ngx_http_concert_json_text(json, "null");
    }
}
