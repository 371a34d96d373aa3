
/*
 * The waiting queue of a sale as a request meets it: what the scripts in Redis
 * answer, and what of it the workers remember in shared memory, so that whoever
 * waits or is in is told so without a question to Redis.
 */


#ifndef NGX_HTTP_CONCERT_QUEUE_H_INCLUDED
#define NGX_HTTP_CONCERT_QUEUE_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>

#include "core/call.h"
#include "core/json.h"
#include "shared/zone.h"


/* columns of every script's answer; what follows is the script's own */

#define NGX_HTTP_CONCERT_QUEUE_EPOCH    0
#define NGX_HTTP_CONCERT_QUEUE_SERVING  1
#define NGX_HTTP_CONCERT_QUEUE_ENDED    2
#define NGX_HTTP_CONCERT_QUEUE_NOW      3
#define NGX_HTTP_CONCERT_QUEUE_PACE     4
#define NGX_HTTP_CONCERT_QUEUE_OWN      5


/* what nginx.conf and an operator may set at most; the rate in a second */

#define NGX_HTTP_CONCERT_MAX_CAPACITY   10000000
#define NGX_HTTP_CONCERT_MAX_RATE       1000000


/* what a script works on; in the order of conf/queue/common.lua */
#define NGX_HTTP_CONCERT_QUEUE_KEYS     9


/* in place of the pre-queue's size: arrival counts; its opening lies ahead */

#define NGX_HTTP_CONCERT_NO_DRAW        -2
#define NGX_HTTP_CONCERT_DRAW_AHEAD     -1


/*
 * ms after the opening in which all of the drawn have asked for their numbers;
 * conf/queue/common.lua waits for them
 */
#define NGX_HTTP_CONCERT_MAX_SPREAD     28000


/* of a seed, in hex */
#define NGX_HTTP_CONCERT_SEED_LEN       64


/* sales may have one together */

typedef struct {
    ngx_str_t                        name;
    ngx_uint_t                       capacity;
    ngx_uint_t                       rate;      /* in 1000 s; 0: any */
    ngx_msec_t                       ttl;
    ngx_msec_t                       claim;
    ngx_msec_t                       poll;
    int64_t                          opens;     /* ms since the epoch; 0 */
    ngx_uint_t                       draw;
    ngx_str_t                        keys[NGX_HTTP_CONCERT_QUEUE_KEYS];

    /* in shared memory; the key is in all that it has there */
    uint64_t                         key;
    ngx_http_concert_queue_state_t  *state;
    ngx_http_concert_tickets_t      *tickets;

    /* of this worker: who asked and is to be noted in Redis */
    int64_t                         *seen;
    ngx_uint_t                       nseen;

    /* the draw's secret, as this worker knows it; core/draw.h */
    u_char                           seed[NGX_HTTP_CONCERT_SEED_LEN];
    int64_t                          seed_epoch;    /* 0: not known */
    int64_t                          unlike;        /* opening, that was told */

    /* what the admit job was told last */
    int64_t                          epoch;
    int64_t                          serving;
    int64_t                          given;

    void                            *streams;   /* of events */
} ngx_http_concert_queue_t;


typedef enum {
    NGX_HTTP_CONCERT_TICKET_NONE = 0,
    NGX_HTTP_CONCERT_TICKET_WAITING,
    NGX_HTTP_CONCERT_TICKET_ACTIVE,

    /* what scripts answer beside: before a draw; a key of no present seed */
    NGX_HTTP_CONCERT_TICKET_PRE,
    NGX_HTTP_CONCERT_TICKET_STALE
} ngx_http_concert_ticket_status_e;


/* the number of who stands in the pre-queue: above all that are let in */
#define NGX_HTTP_CONCERT_PRE_NUMBER  INT64_MAX


/* where a user stands */

typedef struct {
    ngx_http_concert_ticket_status_e  status;
    int64_t                           number;
    int64_t                           position;  /* 0: in, -1: not drawn */
    int64_t                           wait;      /* s, an estimate */
    int64_t                           ends;      /* ms since the epoch */
    int64_t                           opens;     /* the same; 0: is open */
} ngx_http_concert_place_t;


/* asks where a user stands, who has thereby come; answers with a ticket */
extern const ngx_http_concert_op_t  ngx_http_concert_look;


/* ms, of Redis's clock */
int64_t ngx_http_concert_queue_now(const ngx_http_concert_queue_t *queue);

/*
 * When it opens, in ms, as far as is known; 0: it is open.  "opens" below is
 * what a script said: 0 once it is reached.
 */
int64_t ngx_http_concert_queue_opens(const ngx_http_concert_queue_t *queue);
void ngx_http_concert_queue_learn_opens(ngx_http_concert_call_t *call,
    int64_t opens);

/* parameters that every queue script takes */
ngx_int_t ngx_http_concert_queue_params(ngx_http_concert_call_t *call);

/* the same, and the user */
ngx_int_t ngx_http_concert_queue_user_params(ngx_http_concert_call_t *call);

/* read() of scripts that answer with a ticket, and of others; in the thread */
void ngx_http_concert_queue_read_ticket(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);
void ngx_http_concert_queue_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);

/*
 * Begins the step that ends the token of call->user_id; done() begins with
 * ngx_http_concert_queue_left(), which says whether it has ended.
 */
ngx_int_t ngx_http_concert_queue_leave(ngx_http_concert_call_t *call,
    void (*done)(ngx_http_concert_call_t *call));
ngx_uint_t ngx_http_concert_queue_left(ngx_http_concert_call_t *call);

/* remembers what a script answered; event loop */
void ngx_http_concert_queue_learn(ngx_http_concert_call_t *call);

/* the same, of a ticket; and where its user stands */
void ngx_http_concert_queue_learn_ticket(ngx_http_concert_call_t *call,
    ngx_http_concert_place_t *place);

/*
 * Where a user stands, if that is known without asking Redis: NGX_OK, or
 * NGX_DECLINED.  Counts as having asked.
 */
ngx_int_t ngx_http_concert_queue_known(ngx_http_concert_queue_t *queue,
    int64_t user_id, ngx_http_concert_place_t *place);

/* forgets a user whose token was ended */
void ngx_http_concert_queue_forget(ngx_http_concert_queue_t *queue,
    int64_t user_id);

/*
 * For the job that fetches whose tokens were ended: takes the answer as what
 * Redis's data are, be they of a new epoch or older than they were.  last: the
 * last number given.
 */
void ngx_http_concert_queue_follow(ngx_http_concert_call_t *call,
    int64_t last);

/* then, for the same job: "users" are the last n of "ended" in all */
void ngx_http_concert_queue_forget_ended(ngx_http_concert_call_t *call,
    const int64_t *users, ngx_uint_t n);

/* parameters of the script that notes who asked; NGX_ERROR when nobody did */
ngx_int_t ngx_http_concert_queue_seen_params(ngx_http_concert_call_t *call);

/*
 * In how many s to ask again: later the longer the wait is, and not for all in
 * the same step.
 */
ngx_uint_t ngx_http_concert_queue_poll(const ngx_http_concert_queue_t *queue,
    const ngx_http_concert_place_t *place);

/* the same before the opening, in ms: until then, and a part of the first s */
ngx_msec_t ngx_http_concert_queue_opening(
    const ngx_http_concert_queue_t *queue,
    const ngx_http_concert_place_t *place);

/* how many are let in in a second, from in 1000 s; null for any */
void ngx_http_concert_queue_rate_json(ngx_http_concert_json_t *json,
    int64_t rate);

/* the bytes of a token object, and their most */
#define NGX_HTTP_CONCERT_TOKEN_SIZE  224
void ngx_http_concert_queue_json(ngx_http_concert_json_t *json,
    int64_t user_id, const ngx_http_concert_place_t *place, ngx_uint_t poll);

/*
 * start: concert_queue; one whose parameters are not given; the defaults of
 * those, and the names in Redis.  NULL, NGX_ERROR: no memory
 */
char *ngx_http_concert_queue_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
ngx_http_concert_queue_t *ngx_http_concert_queue_create(ngx_conf_t *cf);
ngx_int_t ngx_http_concert_queue_init(ngx_conf_t *cf,
    ngx_http_concert_queue_t *queue, const ngx_str_t *name);

/* start: whether the parameters are the same */
ngx_uint_t ngx_http_concert_queue_agrees(
    const ngx_http_concert_queue_t *queue,
    const ngx_http_concert_queue_t *other);


#endif /* NGX_HTTP_CONCERT_QUEUE_H_INCLUDED */
