
/*
 * Rules of this file: nothing here lets anybody in; a ticket is taken for
 * active only as long as Redis has said so, and waits only while its number is
 * above the last one let in.  All else is asked of Redis.
 */

#include "core/queue.h"
#include "core/sale.h"


/* s; nobody who waits is told to stay away for longer */
#define NGX_HTTP_CONCERT_MAX_POLL     60

/* how many times a waiter asks, about, before it is in */
#define NGX_HTTP_CONCERT_POLLS        10

/* of the drawn, who ask for their numbers in a ms after the opening */
#define NGX_HTTP_CONCERT_DRAWN_A_MS   36

/* ms in a run of the job; no answer is so late */
#define NGX_HTTP_CONCERT_DRIFT        1
#define NGX_HTTP_CONCERT_LATE         60000

/* s, in which as many are let in as the pace says */
#define NGX_HTTP_CONCERT_PACE         1000000000

/* who asked, until it is noted in Redis */
#define NGX_HTTP_CONCERT_MAX_SEEN     2048


static uint64_t ngx_http_concert_queue_user(
    const ngx_http_concert_queue_t *queue, int64_t user_id);
static void ngx_http_concert_queue_epoch(ngx_http_concert_queue_t *queue,
    const ngx_http_concert_queue_answer_t *answer);
static void ngx_http_concert_queue_skew(
    ngx_http_concert_queue_t *queue, int64_t now);
static void ngx_http_concert_queue_renew(ngx_http_concert_queue_t *queue);
static void ngx_http_concert_queue_place(
    const ngx_http_concert_queue_t *queue, ngx_http_concert_place_t *place);
static void ngx_http_concert_queue_saw(ngx_http_concert_queue_t *queue,
    uint64_t salt, const ngx_http_concert_ticket_t *ticket);


const ngx_http_concert_op_t  ngx_http_concert_look = {
    "look", NGX_HTTP_CONCERT_REDIS, "ssssssa", 1
};


ngx_int_t
ngx_http_concert_queue_params(ngx_http_concert_call_t *call)
{
    ngx_http_concert_queue_t  *queue;

    queue = call->sale->queue;

    if (ngx_http_concert_call_integer(call, queue->capacity) != NGX_OK
        || ngx_http_concert_call_integer(call, queue->rate) != NGX_OK
        || ngx_http_concert_call_integer(call, queue->ttl) != NGX_OK
        || ngx_http_concert_call_integer(call, queue->claim) != NGX_OK
        || ngx_http_concert_call_integer(call, queue->opens) != NGX_OK
        || ngx_http_concert_call_integer(call, queue->draw) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_concert_queue_user_params(ngx_http_concert_call_t *call)
{
    if (ngx_http_concert_queue_params(call) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_concert_call_integer(call, call->user_id);
}


void
ngx_http_concert_queue_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    ngx_http_concert_queue_answer_t  *answer;

    answer = &call->queue_answer;

    answer->epoch = res->integer(res, 0, NGX_HTTP_CONCERT_QUEUE_EPOCH);
    answer->serving = res->integer(res, 0, NGX_HTTP_CONCERT_QUEUE_SERVING);
    answer->ended = res->integer(res, 0, NGX_HTTP_CONCERT_QUEUE_ENDED);
    answer->now = res->integer(res, 0, NGX_HTTP_CONCERT_QUEUE_NOW);
    answer->pace = res->integer(res, 0, NGX_HTTP_CONCERT_QUEUE_PACE);
}


void
ngx_http_concert_queue_read_ticket(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    ngx_http_concert_queue_read(call, res);

    call->queue_answer.status = res->integer(res, 0,
                                             NGX_HTTP_CONCERT_QUEUE_OWN);
    call->queue_answer.number = res->integer(res, 0,
                                             NGX_HTTP_CONCERT_QUEUE_OWN + 1);
    call->queue_answer.ends = res->integer(res, 0,
                                           NGX_HTTP_CONCERT_QUEUE_OWN + 2);
}


/* the tickets of all queues are in one table */

static uint64_t
ngx_http_concert_queue_user(const ngx_http_concert_queue_t *queue,
    int64_t user_id)
{
    return (uint64_t) user_id ^ queue->key;
}


int64_t
ngx_http_concert_queue_now(const ngx_http_concert_queue_t *queue)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    return (int64_t) tp->sec * 1000 + tp->msec
           + (ngx_atomic_int_t) queue->state->skew;
}


/* what another nginx has put off counts; what it has not yet, too */

int64_t
ngx_http_concert_queue_opens(const ngx_http_concert_queue_t *queue)
{
    int64_t  opens;

    opens = ngx_max((int64_t) queue->state->opens, queue->opens);

    return opens > ngx_http_concert_queue_now(queue) ? opens : 0;
}


void
ngx_http_concert_queue_learn_opens(ngx_http_concert_call_t *call,
    int64_t opens)
{
    ngx_http_concert_queue_state_t  *state;

    state = call->sale->queue->state;

    if ((ngx_atomic_uint_t) call->queue_answer.epoch == state->epoch) {
        state->opens = opens;
    }
}


ngx_int_t
ngx_http_concert_queue_leave(ngx_http_concert_call_t *call,
    void (*done)(ngx_http_concert_call_t *call))
{
    static const ngx_http_concert_op_t  leave = {
        "leave", NGX_HTTP_CONCERT_REDIS, "ssssssa", 1
    };

    ngx_http_concert_call_step(call, &leave, ngx_http_concert_queue_read);

    if (ngx_http_concert_queue_user_params(call) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_concert_sale_run(call, done);
}


ngx_uint_t
ngx_http_concert_queue_left(ngx_http_concert_call_t *call)
{
    if (call->outcome != NGX_HTTP_CONCERT_OK) {
        return 0;
    }

    ngx_http_concert_queue_learn(call);
    ngx_http_concert_queue_forget(call->sale->queue, call->user_id);

    return 1;
}


void
ngx_http_concert_queue_learn(ngx_http_concert_call_t *call)
{
    ngx_atomic_uint_t                 serving;
    ngx_http_concert_queue_state_t   *state;
    ngx_http_concert_queue_answer_t  *answer;

    answer = &call->queue_answer;
    state = call->sale->queue->state;

    if ((ngx_atomic_uint_t) answer->epoch > state->epoch) {
        ngx_http_concert_queue_epoch(call->sale->queue, answer);
    }

    if ((ngx_atomic_uint_t) answer->epoch != state->epoch) {
        return;
    }

    /* answers may come in another order than they were given */

    do {
        serving = state->serving;
    } while (serving < (ngx_atomic_uint_t) answer->serving
             && !ngx_atomic_cmp_set(&state->serving, serving,
                                    answer->serving));

    state->pace = answer->pace;
}


/* Redis's data are new: nothing that is known is true any more */

static void
ngx_http_concert_queue_epoch(ngx_http_concert_queue_t *queue,
    const ngx_http_concert_queue_answer_t *answer)
{
    ngx_http_concert_queue_state_t  *state;

    state = queue->state;

    state->salt = 0;
    state->epoch = answer->epoch;
    state->opens = 0;
    state->serving = answer->serving;
    state->ending = answer->ended;
    state->ended = answer->ended;
    state->pace = answer->pace;
    state->skew = answer->now - (ngx_http_concert_queue_now(queue)
                                 - (ngx_atomic_int_t) state->skew);

    ngx_http_concert_queue_renew(queue);
}


/*
 * How far Redis's clock is ahead.  An answer is late by as long as it took: the
 * quickest are right, and what they say is given up slowly, as clocks drift.
 */

static void
ngx_http_concert_queue_skew(ngx_http_concert_queue_t *queue, int64_t now)
{
    int64_t  off;

    off = now - ngx_http_concert_queue_now(queue);

    if (off > -NGX_HTTP_CONCERT_LATE) {
        off = ngx_max(off, -NGX_HTTP_CONCERT_DRIFT);
    }

    queue->state->skew += off;
}


/* makes all tickets unknown */

static void
ngx_http_concert_queue_renew(ngx_http_concert_queue_t *queue)
{
    ngx_atomic_uint_t                generation;
    ngx_http_concert_queue_state_t  *state;

    state = queue->state;
    generation = ngx_atomic_fetch_add(&state->generation, 1) + 1;

    /* the golden ratio spreads the generations; no salt is 0 */

    state->salt = (queue->key ^ (state->epoch
                                 + generation * 0x9e3779b97f4a7c15)) | 1;
}


void
ngx_http_concert_queue_learn_ticket(ngx_http_concert_call_t *call,
    ngx_http_concert_place_t *place)
{
    int64_t                           now;
    ngx_atomic_uint_t                 salt;
    ngx_http_concert_queue_t         *queue;
    ngx_http_concert_ticket_t         ticket;
    ngx_http_concert_queue_state_t   *state;
    ngx_http_concert_queue_answer_t  *answer;

    ngx_http_concert_queue_learn(call);

    answer = &call->queue_answer;
    queue = call->sale->queue;
    state = queue->state;
    now = ngx_http_concert_queue_now(queue);

    /* read before the epoch is looked at, which changes after it */

    salt = state->salt;

    ticket.user = ngx_http_concert_queue_user(queue, call->user_id);
    ticket.number = answer->number;
    ticket.ends = answer->ends;
    ticket.window = state->window;

    place->status = answer->status;
    place->number = answer->number;
    place->ends = answer->ends;

    if (answer->status == NGX_HTTP_CONCERT_TICKET_PRE) {
        ngx_http_concert_queue_learn_opens(call, answer->number);

        /* remembered by no number and no end, which nobody else has */

        ticket.number = 0;
        place->status = NGX_HTTP_CONCERT_TICKET_WAITING;
        place->number = NGX_HTTP_CONCERT_PRE_NUMBER;
    }

    ngx_http_concert_queue_place(queue, place);

    call->position = answer->status == NGX_HTTP_CONCERT_TICKET_NONE
                     ? -1 : place->position;

    /*
     * Whose token was ended after this answer must not be remembered: the job
     * says what it is about to forget before it does so.
     */

    if (answer->status == NGX_HTTP_CONCERT_TICKET_NONE || salt == 0
        || (ngx_atomic_uint_t) answer->epoch != state->epoch
        || (ngx_atomic_uint_t) answer->ended < state->ending)
    {
        return;
    }

    ngx_http_concert_tickets_store(queue->tickets, salt, &ticket, now);
    __sync_synchronize();

    if ((ngx_atomic_uint_t) answer->ended < state->ending) {
        ngx_http_concert_tickets_drop(queue->tickets, ticket.user);
    }
}


/* what follows from a status */

static void
ngx_http_concert_queue_place(const ngx_http_concert_queue_t *queue,
    ngx_http_concert_place_t *place)
{
    int64_t                                pace;
    const ngx_http_concert_queue_state_t  *state;

    place->position = 0;
    place->wait = 0;
    place->opens = 0;

    if (place->status != NGX_HTTP_CONCERT_TICKET_WAITING) {
        return;
    }

    state = queue->state;
    place->opens = ngx_http_concert_queue_opens(queue);

    if (place->opens) {
        place->wait = (place->opens - ngx_http_concert_queue_now(queue) + 999)
                      / 1000;
    }

    if (place->number == NGX_HTTP_CONCERT_PRE_NUMBER) {
        place->position = -1;
        return;
    }

    /* it may have been let in since, and nobody has told it */

    pace = ngx_max((int64_t) state->pace, 1);

    place->position = ngx_max(place->number - (int64_t) state->serving, 1);

    /* rounded up, but for what the pace was rounded by */

    place->wait += (place->position * NGX_HTTP_CONCERT_PACE + pace - pace / 100)
                   / pace;
}


ngx_int_t
ngx_http_concert_queue_known(ngx_http_concert_queue_t *queue,
    int64_t user_id, ngx_http_concert_place_t *place)
{
    int64_t                          now;
    ngx_atomic_uint_t                salt;
    ngx_http_concert_ticket_t        ticket;
    ngx_http_concert_queue_state_t  *state;

    state = queue->state;
    salt = state->salt;
    ticket.user = ngx_http_concert_queue_user(queue, user_id);

    if (salt == 0
        || !ngx_http_concert_tickets_find(queue->tickets, salt, &ticket))
    {
        return NGX_DECLINED;
    }

    now = ngx_http_concert_queue_now(queue);

    place->number = ticket.number;
    place->ends = ticket.ends;

    if ((int64_t) ticket.ends > now) {
        place->status = NGX_HTTP_CONCERT_TICKET_ACTIVE;

    } else if (ticket.number == 0 && ticket.ends == 0
               && ngx_http_concert_queue_opens(queue))
    {
        place->status = NGX_HTTP_CONCERT_TICKET_WAITING;
        place->number = NGX_HTTP_CONCERT_PRE_NUMBER;

    } else if (ticket.number > state->serving) {
        place->status = NGX_HTTP_CONCERT_TICKET_WAITING;
        ngx_http_concert_queue_saw(queue, salt, &ticket);

    } else {
        return NGX_DECLINED;
    }

    ngx_http_concert_queue_place(queue, place);

    return NGX_OK;
}


/* once in a window Redis is told that a ticket's user still asks */

static void
ngx_http_concert_queue_saw(ngx_http_concert_queue_t *queue, uint64_t salt,
    const ngx_http_concert_ticket_t *ticket)
{
    unsigned  window;

    window = queue->state->window & 0x7fff;

    if (ticket->window == window
        || queue->nseen == NGX_HTTP_CONCERT_MAX_SEEN)
    {
        return;
    }

    if (queue->seen == NULL) {
        queue->seen = ngx_palloc(ngx_cycle->pool, NGX_HTTP_CONCERT_MAX_SEEN
                                                  * sizeof(int64_t));
        if (queue->seen == NULL) {
            return;
        }
    }

    queue->seen[queue->nseen++] = ticket->number;

    ngx_http_concert_tickets_note(queue->tickets, salt, ticket, window);
}


ngx_int_t
ngx_http_concert_queue_seen_params(ngx_http_concert_call_t *call)
{
    u_char                    *p;
    ngx_str_t                  numbers;
    ngx_uint_t                 i;
    ngx_http_concert_queue_t  *queue;

    queue = call->sale->queue;

    if (queue->nseen == 0 || ngx_http_concert_queue_params(call) != NGX_OK) {
        return NGX_ERROR;
    }

    p = ngx_pnalloc(call->pool, queue->nseen * NGX_INT64_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    numbers.data = p;

    for (i = 0; i < queue->nseen; i++) {
        p = ngx_sprintf(p, "%s%L", i ? "," : "", queue->seen[i]);
    }

    numbers.len = p - numbers.data;
    queue->nseen = 0;

    return ngx_http_concert_call_string(call, &numbers);
}


void
ngx_http_concert_queue_forget(ngx_http_concert_queue_t *queue,
    int64_t user_id)
{
    ngx_http_concert_tickets_drop(queue->tickets,
                                  ngx_http_concert_queue_user(queue, user_id));
}


/*
 * The answers of the job follow each other.  If one is behind the one before,
 * Redis has lost its last writes, and nothing that is known may be trusted.
 */

void
ngx_http_concert_queue_follow(ngx_http_concert_call_t *call, int64_t last)
{
    ngx_http_concert_queue_t         *queue;
    ngx_http_concert_queue_state_t   *state;
    ngx_http_concert_queue_answer_t  *answer;

    answer = &call->queue_answer;
    queue = call->sale->queue;
    state = queue->state;

    if ((ngx_atomic_uint_t) answer->epoch != state->epoch
        || state->salt == 0
        || (ngx_atomic_uint_t) answer->ended < state->ended
        || (answer->epoch == queue->epoch
            && (answer->serving < queue->serving || last < queue->given)))
    {
        ngx_http_concert_queue_epoch(queue, answer);
    }

    queue->epoch = answer->epoch;
    queue->serving = answer->serving;
    queue->given = last;

    ngx_http_concert_queue_learn(call);
    ngx_http_concert_queue_skew(queue, answer->now);
}


void
ngx_http_concert_queue_forget_ended(ngx_http_concert_call_t *call,
    const int64_t *users, ngx_uint_t n)
{
    ngx_uint_t                        i;
    ngx_http_concert_queue_t         *queue;
    ngx_http_concert_queue_state_t   *state;
    ngx_http_concert_queue_answer_t  *answer;

    answer = &call->queue_answer;
    queue = call->sale->queue;
    state = queue->state;

    if ((ngx_atomic_uint_t) answer->ended == state->ended) {
        return;
    }

    /* before the tickets are looked at: learn_ticket() does it the other way */

    state->ending = answer->ended;
    __sync_synchronize();

    if (state->ended + n != (ngx_atomic_uint_t) answer->ended) {
        ngx_http_concert_queue_renew(queue);

    } else {
        for (i = 0; i < n; i++) {
            ngx_http_concert_queue_forget(queue, users[i]);
        }
    }

    state->ended = answer->ended;
}


ngx_uint_t
ngx_http_concert_queue_poll(const ngx_http_concert_queue_t *queue,
    const ngx_http_concert_place_t *place)
{
    int64_t  ms, least, most;

    if (place->status != NGX_HTTP_CONCERT_TICKET_WAITING) {
        return 0;
    }

    if (place->opens) {
        return 1 + ngx_http_concert_queue_opening(queue, place) / 1000;
    }

    /* who is let in meanwhile must come before the place is lost */

    least = queue->poll;
    most = queue->claim / 2;
    most = ngx_min(most, NGX_HTTP_CONCERT_MAX_POLL * 1000);

    ms = place->wait * 1000 / NGX_HTTP_CONCERT_POLLS;
    ms = ngx_max(ngx_min(ms, most), least);

    /* 0.8 to 1.2 of it; what is left of a second is up to chance, too */

    ms = ms * (800 + ngx_random() % 401) / 1000 + ngx_random() % 1000;

    return (ngx_uint_t) ngx_max(ms / 1000, 1);
}


/*
 * Rarely before the opening, and then not all at once: each of the drawn asks
 * Redis for his number.
 */

ngx_msec_t
ngx_http_concert_queue_opening(const ngx_http_concert_queue_t *queue,
    const ngx_http_concert_place_t *place)
{
    ngx_msec_t  left, most, spread;

    left = place->opens - ngx_http_concert_queue_now(queue);
    left = ngx_max((ngx_msec_int_t) left, 0);
    most = NGX_HTTP_CONCERT_MAX_POLL * 1000;
    spread = queue->poll;

    if (place->number == NGX_HTTP_CONCERT_PRE_NUMBER) {
        spread = queue->state->waiting / NGX_HTTP_CONCERT_DRAWN_A_MS;
        spread = ngx_min(spread, NGX_HTTP_CONCERT_MAX_SPREAD);
    }

    if (left + spread > most) {
        most = ngx_min(most, left);
        return most / 2 + ngx_random() % (most / 2 + 1);
    }

    return left + ngx_random() % (spread + 1);
}


void
ngx_http_concert_queue_rate_json(ngx_http_concert_json_t *json, int64_t rate)
{
    u_char  fraction[sizeof(".000")];

    if (rate == 0) {
        ngx_http_concert_json_text(json, "null");
        return;
    }

    ngx_http_concert_json_integer(json, rate / 1000);

    if (rate % 1000) {
        ngx_sprintf(fraction, ".%03L", rate % 1000);
        ngx_http_concert_json_raw(json, fraction, sizeof(".000") - 1);
    }
}


void
ngx_http_concert_queue_json(ngx_http_concert_json_t *json, int64_t user_id,
    const ngx_http_concert_place_t *place, ngx_uint_t poll)
{
    ngx_http_concert_json_text(json, "{\"userId\":");
    ngx_http_concert_json_integer(json, user_id);

    if (place->status == NGX_HTTP_CONCERT_TICKET_ACTIVE) {
        ngx_http_concert_json_text(json,
                                   ",\"status\":\"ACTIVE\",\"position\":0,"
                                   "\"waitingTime\":0,\"expiresAt\":");
        ngx_http_concert_json_time(json, place->ends);

    } else {
        ngx_http_concert_json_text(json,
                                   ",\"status\":\"WAITING\",\"position\":");

        if (place->position < 0) {
            ngx_http_concert_json_text(json, "null");
        } else {
            ngx_http_concert_json_integer(json, place->position);
        }

        ngx_http_concert_json_text(json, ",\"waitingTime\":");
        ngx_http_concert_json_integer(json, place->wait);
        ngx_http_concert_json_text(json, ",\"expiresAt\":null");
    }

    if (place->opens) {
        ngx_http_concert_json_text(json, ",\"opensAt\":");
        ngx_http_concert_json_time(json, place->opens);
    }

    ngx_http_concert_json_text(json, ",\"nextPoll\":");
    ngx_http_concert_json_integer(json, poll);
    ngx_http_concert_json_text(json, "}");
}
