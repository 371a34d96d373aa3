
/*
 * GET /api/token/events/{userId}: tells a user where it stands as that changes
 * (Server-Sent Events), so that nobody has to ask: `position`, `active`, the
 * end.
 *
 * Streams of waiters are kept in the order of their tickets: who is let in is
 * told first.  Positions come at most as often as a poll would, each stream by
 * a timer of its own, a bounded number in a turn of the loop.  Redis is asked
 * once, when a stream's turn has come: that is how the user comes in.
 *
 * A stream is its request's: it lives in its pool and ends with it.
 */

#include "api/api.h"
#include "core/reply.h"


#define NGX_HTTP_CONCERT_EVENTS_TICK       50     /* ms */
#define NGX_HTTP_CONCERT_EVENTS_HEARTBEAT  15000
#define NGX_HTTP_CONCERT_EVENTS_AGAIN      1000

/* how many positions a waiter is told, about, before it is in */
#define NGX_HTTP_CONCERT_EVENTS_POSITIONS  50

/* streams that are told of in one turn of the loop */
#define NGX_HTTP_CONCERT_EVENTS_SLICE      200

/* ms until a client comes again when its worker goes, at least and more */
#define NGX_HTTP_CONCERT_EVENTS_RETRY      500
#define NGX_HTTP_CONCERT_EVENTS_JITTER     4500

/* an event's bytes at most */
#define NGX_HTTP_CONCERT_EVENT_SIZE        (NGX_HTTP_CONCERT_TOKEN_SIZE + 96)


/* the streams of a queue, of this worker */

typedef struct {
    ngx_rbtree_t              waiting;
    ngx_rbtree_node_t         end;       /* of that */
    ngx_event_t               tick;
    ngx_uint_t                n;
    ngx_http_concert_queue_t *queue;
} ngx_http_concert_streams_t;


typedef struct {
    ngx_rbtree_node_t         node;      /* key: the ticket's number */
    ngx_event_t               timer;     /* for the next position */
    ngx_http_request_t       *request;
    ngx_http_concert_sale_t  *sale;
    ngx_http_concert_call_t  *call;      /* Redis is asked */
    int64_t                   user_id;
    int64_t                   position;  /* that was told last */
    ngx_msec_t                sent;
    unsigned                  waits:1;   /* the node is in the tree */

    ngx_buf_t                 buf;
    u_char                    text[NGX_HTTP_CONCERT_EVENT_SIZE];
} ngx_http_concert_stream_t;


static ngx_int_t ngx_http_concert_events_known(ngx_http_request_t *r,
    const ngx_http_concert_known_t *known);
static ngx_int_t ngx_http_concert_events_start(ngx_http_concert_call_t *call);
static ngx_uint_t ngx_http_concert_events_is_part(ngx_http_request_t *r);
static void ngx_http_concert_events_looked(ngx_http_concert_call_t *call);
static ngx_int_t ngx_http_concert_events_open(ngx_http_request_t *r,
    int64_t user_id, const ngx_http_concert_place_t *place);
static ngx_int_t ngx_http_concert_events_header(ngx_http_request_t *r,
    const ngx_http_concert_place_t *place);
static ngx_http_concert_stream_t *ngx_http_concert_events_create(
    ngx_http_request_t *r, int64_t user_id);
static ngx_http_concert_streams_t *ngx_http_concert_events_streams(
    ngx_http_concert_queue_t *queue);
static void ngx_http_concert_events_close(void *data);
static void ngx_http_concert_events_stop(ngx_http_concert_stream_t *stream);
static void ngx_http_concert_events_wait(ngx_http_concert_stream_t *stream,
    const ngx_http_concert_place_t *place);
static void ngx_http_concert_events_unwait(ngx_http_concert_stream_t *stream);
static void ngx_http_concert_events_tick(ngx_event_t *ev);
static void ngx_http_concert_events_drain(
    ngx_http_concert_streams_t *streams);
static void ngx_http_concert_events_retire(ngx_http_concert_stream_t *stream);
static ngx_http_concert_stream_t *ngx_http_concert_events_first(
    ngx_http_concert_streams_t *streams);
static void ngx_http_concert_events_timer(ngx_event_t *ev);
static void ngx_http_concert_events_ask(ngx_http_concert_stream_t *stream);
static void ngx_http_concert_events_asked(ngx_http_concert_call_t *call);
static void ngx_http_concert_events_go_on(ngx_http_concert_stream_t *stream,
    const ngx_http_concert_place_t *place);
static ngx_int_t ngx_http_concert_events_tell(
    ngx_http_concert_stream_t *stream, const ngx_http_concert_place_t *place);
static void ngx_http_concert_events_event(ngx_http_concert_json_t *json,
    ngx_http_concert_stream_t *stream, const ngx_http_concert_place_t *place);
static void *ngx_http_concert_events_alloc(void *data, size_t size);
static void ngx_http_concert_events_end(ngx_http_concert_stream_t *stream,
    ngx_int_t rc);
static ngx_int_t ngx_http_concert_events_write(
    ngx_http_concert_stream_t *stream, u_char *text, size_t len,
    ngx_uint_t last);
static void ngx_http_concert_events_writable(ngx_http_request_t *r);


ngx_http_concert_route_t  ngx_http_concert_token_events_route = {
    ngx_string("token_events"),
    {
        { NGX_HTTP_GET,
          NGX_HTTP_CONCERT_NEEDS_REDIS|NGX_HTTP_CONCERT_ID
          |NGX_HTTP_CONCERT_ID_IS_USER,
          NULL,
          ngx_http_concert_events_start,
          ngx_http_concert_events_known }
    }
};


static ngx_int_t
ngx_http_concert_events_known(ngx_http_request_t *r,
    const ngx_http_concert_known_t *known)
{
    ngx_int_t  rc;

    if (ngx_http_concert_events_is_part(r)) {
        return NGX_DECLINED;
    }

    if (ngx_http_concert_tell(r, known) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_concert_events_open(r, known->user_id, &known->place);

    if (rc == NGX_DONE) {
        r->main->count++;
    }

    return rc;
}


static ngx_int_t
ngx_http_concert_events_start(ngx_http_concert_call_t *call)
{
    if (ngx_http_concert_events_is_part(call->request)) {
        ngx_http_concert_call_fail(call, "invalid_request",
            "A stream of events cannot be a part of another answer.");
        return NGX_DECLINED;
    }

    ngx_http_concert_call_step(call, &ngx_http_concert_look,
                               ngx_http_concert_queue_read_ticket);

    if (ngx_http_concert_queue_user_params(call) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_concert_run(call, ngx_http_concert_events_looked);
}


/* of a page of SSI's, say, which would not end */

static ngx_uint_t
ngx_http_concert_events_is_part(ngx_http_request_t *r)
{
    return r != r->main && !r->header_only;
}


static void
ngx_http_concert_events_looked(ngx_http_concert_call_t *call)
{
    int64_t                    user_id;
    ngx_int_t                  rc;
    ngx_http_request_t        *r;
    ngx_http_concert_place_t   place;

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

    user_id = call->user_id;

    r = ngx_http_concert_part(call);
    if (r == NULL) {
        return;
    }

    rc = ngx_http_concert_events_open(r, user_id, &place);

    if (rc != NGX_DONE) {
        ngx_http_concert_finalize(r, rc);
    }
}


/* NGX_DONE: the stream goes on; else what to finalize the request with */

static ngx_int_t
ngx_http_concert_events_open(ngx_http_request_t *r, int64_t user_id,
    const ngx_http_concert_place_t *place)
{
    ngx_int_t                   rc;
    ngx_http_concert_stream_t  *stream;

    rc = ngx_http_concert_events_header(r, place);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    stream = ngx_http_concert_events_create(r, user_id);
    if (stream == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_concert_events_tell(stream, place);

    if (rc == NGX_ERROR || place->status == NGX_HTTP_CONCERT_TICKET_ACTIVE) {
        return rc;
    }

    if (ngx_http_concert_watch(r) != NGX_OK) {
        return NGX_ERROR;
    }

    r->write_event_handler = ngx_http_concert_events_writable;

    ngx_http_concert_events_wait(stream, place);

    return NGX_DONE;
}


/*
 * Who was told to be in and comes again is told that there is no more: a 204
 * ends an EventSource (HTML, 9.2.3).
 */

static ngx_int_t
ngx_http_concert_events_header(ngx_http_request_t *r,
    const ngx_http_concert_place_t *place)
{
    ngx_str_t                 last;
    ngx_http_concert_reply_t  reply;

    ngx_memzero(&reply, sizeof(ngx_http_concert_reply_t));

    reply.status = NGX_HTTP_OK;
    reply.unbuffered = 1;
    ngx_str_set(&reply.type, "text/event-stream");

    if (place->status == NGX_HTTP_CONCERT_TICKET_ACTIVE
        && ngx_http_concert_header(r, "last-event-id", &last) == 1
        && last.len == 1 && last.data[0] == '0')
    {
        reply.status = NGX_HTTP_NO_CONTENT;
    }

    return ngx_http_concert_send_header(r, &reply);
}


static ngx_http_concert_stream_t *
ngx_http_concert_events_create(ngx_http_request_t *r, int64_t user_id)
{
    ngx_http_cleanup_t          *cln;
    ngx_http_concert_ctx_t      *ctx;
    ngx_http_concert_sale_t     *sale;
    ngx_http_concert_stream_t   *stream;
    ngx_http_concert_streams_t  *streams;

    sale = ngx_http_concert_sale(r);

    streams = ngx_http_concert_events_streams(sale->queue);
    if (streams == NULL) {
        return NULL;
    }

    stream = ngx_pcalloc(r->pool, sizeof(ngx_http_concert_stream_t));
    if (stream == NULL) {
        return NULL;
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_http_concert_events_close;
    cln->data = stream;

    ctx = ngx_http_get_module_ctx(r, ngx_http_concert_module);
    ctx->stream = stream;

    stream->request = r;
    stream->sale = sale;
    stream->user_id = user_id;
    stream->position = -2;      /* not even that it is not known */

    stream->timer.handler = ngx_http_concert_events_timer;
    stream->timer.data = stream;
    stream->timer.log = r->connection->log;

    streams->n++;
    sale->slot->streams = ++sale->nstreams;

    /* not cancelable: a worker that drains ends its streams first */

    if (!streams->tick.timer_set) {
        ngx_add_timer(&streams->tick, NGX_HTTP_CONCERT_EVENTS_TICK);
    }

    return stream;
}


static ngx_http_concert_streams_t *
ngx_http_concert_events_streams(ngx_http_concert_queue_t *queue)
{
    ngx_http_concert_streams_t  *streams;

    if (queue->streams) {
        return queue->streams;
    }

    streams = ngx_pcalloc(ngx_cycle->pool, sizeof(ngx_http_concert_streams_t));
    if (streams == NULL) {
        return NULL;
    }

    ngx_rbtree_init(&streams->waiting, &streams->end, ngx_rbtree_insert_value);

    streams->queue = queue;
    streams->tick.handler = ngx_http_concert_events_tick;
    streams->tick.data = streams;
    streams->tick.log = ngx_cycle->log;

    queue->streams = streams;

    return streams;
}


static void
ngx_http_concert_events_close(void *data)
{
    ngx_http_concert_stream_t *stream = data;

    ngx_http_concert_sale_t     *sale;
    ngx_http_concert_streams_t  *streams;

    ngx_http_concert_events_stop(stream);

    sale = stream->sale;
    sale->slot->streams = --sale->nstreams;

    streams = sale->queue->streams;
    streams->n--;
}


/* nothing comes to the stream any more; it may still have bytes to send */

static void
ngx_http_concert_events_stop(ngx_http_concert_stream_t *stream)
{
    ngx_http_concert_events_unwait(stream);

    if (stream->timer.timer_set) {
        ngx_del_timer(&stream->timer);
    }

    if (stream->call) {
        stream->call->data = NULL;
        stream->call = NULL;
    }
}


/* until its number is called, or it is time for another position */

static void
ngx_http_concert_events_wait(ngx_http_concert_stream_t *stream,
    const ngx_http_concert_place_t *place)
{
    ngx_msec_t                   pause;
    ngx_http_concert_queue_t    *queue;
    ngx_http_concert_streams_t  *streams;

    queue = stream->sale->queue;
    streams = queue->streams;

    /* a number that was called and waits again is asked by the timer */

    if (!stream->waits
        && (ngx_atomic_uint_t) place->number > queue->state->serving)
    {
        stream->node.key = (ngx_rbtree_key_t) place->number;
        ngx_rbtree_insert(&streams->waiting, &stream->node);
        stream->waits = 1;
    }

    if (place->opens) {
        pause = ngx_http_concert_queue_opening(queue, place);

        if (pause > NGX_HTTP_CONCERT_MAX_SPREAD) {
            pause = NGX_HTTP_CONCERT_EVENTS_HEARTBEAT;
        }

        ngx_add_timer(&stream->timer, pause + 1);
        return;
    }

    pause = place->wait * 1000 / NGX_HTTP_CONCERT_EVENTS_POSITIONS;
    pause = ngx_min(pause, NGX_HTTP_CONCERT_EVENTS_HEARTBEAT);
    pause = ngx_max(pause, queue->poll);

    ngx_add_timer(&stream->timer, pause + ngx_random() % (pause / 4 + 1));
}


static void
ngx_http_concert_events_unwait(ngx_http_concert_stream_t *stream)
{
    ngx_http_concert_streams_t  *streams;

    if (stream->waits) {
        streams = stream->sale->queue->streams;
        ngx_rbtree_delete(&streams->waiting, &stream->node);
        stream->waits = 0;
    }
}


/* all whose number was called, in their order */

static void
ngx_http_concert_events_tick(ngx_event_t *ev)
{
    ngx_uint_t                   n;
    ngx_http_concert_stream_t   *stream;
    ngx_http_concert_streams_t  *streams;

    streams = ev->data;

    if (ngx_exiting) {
        ngx_http_concert_events_drain(streams);
    }

    for (n = 0; n < NGX_HTTP_CONCERT_EVENTS_SLICE; n++) {
        stream = ngx_http_concert_events_first(streams);

        if (stream == NULL
            || stream->node.key > streams->queue->state->serving)
        {
            break;
        }

        ngx_http_concert_events_ask(stream);
    }

    if (streams->n) {
        ngx_add_timer(ev, NGX_HTTP_CONCERT_EVENTS_TICK);
    }
}


static ngx_http_concert_stream_t *
ngx_http_concert_events_first(ngx_http_concert_streams_t *streams)
{
    ngx_rbtree_node_t  *node;

    node = streams->waiting.root;

    if (node == streams->waiting.sentinel) {
        return NULL;
    }

    node = ngx_rbtree_min(node, streams->waiting.sentinel);

    return (ngx_http_concert_stream_t *)
           ((u_char *) node - offsetof(ngx_http_concert_stream_t, node));
}


static void
ngx_http_concert_events_drain(ngx_http_concert_streams_t *streams)
{
    ngx_uint_t                  n;
    ngx_http_concert_stream_t  *stream;

    for (n = 0; n < NGX_HTTP_CONCERT_EVENTS_SLICE; n++) {
        stream = ngx_http_concert_events_first(streams);

        if (stream == NULL) {
            return;
        }

        ngx_http_concert_events_retire(stream);
    }
}


/* the clients come again, not all at once, to a worker that stays */

static void
ngx_http_concert_events_retire(ngx_http_concert_stream_t *stream)
{
    u_char      text[sizeof("retry: \n\n") + NGX_INT_T_LEN];
    size_t      len;
    ngx_uint_t  ms;

    ms = NGX_HTTP_CONCERT_EVENTS_RETRY
         + ngx_random() % NGX_HTTP_CONCERT_EVENTS_JITTER;

    len = ngx_sprintf(text, "retry: %ui\n\n", ms) - text;

    ngx_http_concert_events_end(stream,
                         ngx_http_concert_events_write(stream, text, len, 1));
}


/* another position, if it is one */

static void
ngx_http_concert_events_timer(ngx_event_t *ev)
{
    ngx_http_concert_place_t    place;
    ngx_http_concert_stream_t  *stream;

    static ngx_msec_t           turn;
    static ngx_uint_t           n;

    stream = ev->data;

    /* after a pause of the worker many come at once */

    if (turn != ngx_current_msec) {
        turn = ngx_current_msec;
        n = 0;
    }

    if (n++ >= NGX_HTTP_CONCERT_EVENTS_SLICE) {
        ngx_add_timer(ev, 1 + ngx_random() % NGX_HTTP_CONCERT_EVENTS_TICK);
        return;
    }

    if (ngx_exiting) {
        ngx_http_concert_events_retire(stream);

    } else if (ngx_http_concert_queue_known(stream->sale->queue,
                                            stream->user_id, &place)
               == NGX_OK)
    {
        ngx_http_concert_events_go_on(stream, &place);

    } else {
        ngx_http_concert_events_ask(stream);
    }
}


/* by a call of the stream's own: no deadline answers its request */

static void
ngx_http_concert_events_ask(ngx_http_concert_stream_t *stream)
{
    ngx_http_concert_call_t  *call;

    ngx_http_concert_events_unwait(stream);

    if (stream->call) {
        return;
    }

    call = ngx_http_concert_call_create(stream->sale);

    if (call) {
        call->user_id = stream->user_id;
        call->data = stream;
        stream->call = call;

        ngx_http_concert_call_step(call, &ngx_http_concert_look,
                                   ngx_http_concert_queue_read_ticket);

        if (ngx_http_concert_queue_user_params(call) == NGX_OK) {
            (void) ngx_http_concert_run(call, ngx_http_concert_events_asked);
            return;
        }

        stream->call = NULL;
        ngx_http_concert_call_destroy(call);
    }

    ngx_add_timer(&stream->timer, NGX_HTTP_CONCERT_EVENTS_AGAIN);
}


static void
ngx_http_concert_events_asked(ngx_http_concert_call_t *call)
{
    ngx_uint_t                  known;
    ngx_http_concert_place_t    place;
    ngx_http_concert_stream_t  *stream;

    stream = call->data;
    known = (call->outcome == NGX_HTTP_CONCERT_OK);

    if (known) {
        ngx_http_concert_queue_learn_ticket(call, &place);
    }

    ngx_http_concert_call_destroy(call);

    if (stream == NULL) {
        return;
    }

    stream->call = NULL;

    if (known) {
        ngx_http_concert_events_go_on(stream, &place);

    } else if (ngx_exiting) {
        ngx_http_concert_events_retire(stream);

    } else {
        /* the queue is away */
        ngx_add_timer(&stream->timer, NGX_HTTP_CONCERT_EVENTS_AGAIN);
    }
}


static void
ngx_http_concert_events_go_on(ngx_http_concert_stream_t *stream,
    const ngx_http_concert_place_t *place)
{
    ngx_int_t  rc;

    rc = ngx_http_concert_events_tell(stream, place);

    if (rc == NGX_ERROR || place->status != NGX_HTTP_CONCERT_TICKET_WAITING) {
        ngx_http_concert_events_end(stream, rc);
        return;
    }

    /* a place of another number is another ticket */

    if (stream->node.key != (ngx_rbtree_key_t) place->number) {
        ngx_http_concert_events_unwait(stream);
    }

    ngx_http_concert_events_wait(stream, place);
}


/* what is new, or a comment now and then, so that the connection is kept */

static ngx_int_t
ngx_http_concert_events_tell(ngx_http_concert_stream_t *stream,
    const ngx_http_concert_place_t *place)
{
    ngx_http_concert_json_t  json;

    static u_char  end[] = "event: end\ndata: {}\n\n";
    static u_char  comment[] = ":\n\n";

    if (place->status == NGX_HTTP_CONCERT_TICKET_NONE) {
        return ngx_http_concert_events_write(stream, end, sizeof(end) - 1, 1);
    }

    if (place->status == NGX_HTTP_CONCERT_TICKET_ACTIVE) {
        ngx_http_concert_events_event(&json, stream, place);
        return ngx_http_concert_events_write(stream, json.start,
                                             json.pos - json.start, 1);
    }

    if (stream->buf.pos != stream->buf.last) {

        /* a slow reader still has the last one to read */

        return NGX_OK;
    }

    if (place->position != stream->position) {
        stream->position = place->position;
        ngx_http_concert_events_event(&json, stream, place);
        return ngx_http_concert_events_write(stream, json.start,
                                             json.pos - json.start, 0);
    }

    return ngx_current_msec - stream->sent
           < NGX_HTTP_CONCERT_EVENTS_HEARTBEAT / 2
           ? NGX_OK
           : ngx_http_concert_events_write(stream, comment,
                                           sizeof(comment) - 1, 0);
}


/* in the stream's own memory; when it may still be read, in other */

static void
ngx_http_concert_events_event(ngx_http_concert_json_t *json,
    ngx_http_concert_stream_t *stream, const ngx_http_concert_place_t *place)
{
    static u_char  last[NGX_HTTP_CONCERT_EVENT_SIZE];

    ngx_http_concert_json_init(json, ngx_http_concert_events_alloc,
                               place->position ? stream->text : last,
                               NGX_HTTP_CONCERT_EVENT_SIZE);

    ngx_http_concert_json_text(json, "id: ");
    ngx_http_concert_json_integer(json, place->position);

    if (place->position) {
        ngx_http_concert_json_text(json, "\nevent: position\ndata: ");
    } else {
        ngx_http_concert_json_text(json, "\nevent: active\ndata: ");
    }

    ngx_http_concert_queue_json(json, stream->user_id, place,
                                ngx_http_concert_queue_poll(stream->sale->queue,
                                                            place));
    ngx_http_concert_json_text(json, "\n\n");
}


/* the memory that there is, once: no event is longer */

static void *
ngx_http_concert_events_alloc(void *data, size_t size)
{
    return size == NGX_HTTP_CONCERT_EVENT_SIZE ? data : NULL;
}


static void
ngx_http_concert_events_end(ngx_http_concert_stream_t *stream, ngx_int_t rc)
{
    ngx_http_concert_events_stop(stream);
    ngx_http_concert_finalize(stream->request, rc);
}


/* text must stay as it is until it was sent, or lie in the request's pool */

static ngx_int_t
ngx_http_concert_events_write(ngx_http_concert_stream_t *stream, u_char *text,
    size_t len, ngx_uint_t last)
{
    ngx_int_t                  rc;
    ngx_buf_t                 *b;
    ngx_chain_t                out;
    ngx_event_t               *wev;
    ngx_http_request_t        *r;
    ngx_http_core_loc_conf_t  *clcf;

    r = stream->request;
    b = &stream->buf;

    if (last) {
        b = ngx_create_temp_buf(r->pool, len);
        if (b == NULL) {
            return NGX_ERROR;
        }

        b->last = ngx_cpymem(b->pos, text, len);
        b->last_buf = 1;

    } else {
        ngx_memzero(b, sizeof(ngx_buf_t));
        b->pos = text;
        b->last = text + len;
        b->memory = 1;
        b->flush = 1;
    }

    out.buf = b;
    out.next = NULL;

    stream->sent = ngx_current_msec;

    rc = ngx_http_output_filter(r, &out);

    wev = r->connection->write;

    if (rc == NGX_AGAIN && !last && !wev->timer_set) {
        clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
        ngx_add_timer(wev, clcf->send_timeout);
    }

    return rc == NGX_AGAIN ? NGX_OK : rc;
}


/* a slow reader reads on, or no more */

static void
ngx_http_concert_events_writable(ngx_http_request_t *r)
{
    ngx_int_t                rc;
    ngx_event_t             *wev;
    ngx_http_concert_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_concert_module);
    wev = r->connection->write;

    if (wev->timedout) {
        r->connection->timedout = 1;
        ngx_http_concert_events_end(ctx->stream, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    /* over HTTP/3 a client leaves by STOP_SENDING */

    if (wev->error) {
        ngx_http_concert_finalize(r, NGX_HTTP_CLIENT_CLOSED_REQUEST);
        return;
    }

    rc = ngx_http_output_filter(r, NULL);

    if (rc == NGX_ERROR) {
        ngx_http_concert_events_end(ctx->stream, NGX_ERROR);
        return;
    }

    if (rc == NGX_OK && wev->timer_set) {
        ngx_del_timer(wev);
    }

    if (ngx_handle_write_event(wev, 0) != NGX_OK) {
        ngx_http_concert_events_end(ctx->stream, NGX_ERROR);
    }
}
