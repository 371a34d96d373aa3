
/*
 * A call is what crosses from the event loop to a pool thread: an operation,
 * its parameters, its own memory, and room for the reply.  It never gives the
 * thread a request, and it outlives the request: a client that goes away
 * clears call->request, the work finishes all the same, and the completion
 * finds nobody to answer.
 *
 * While a call is in a lane (NGX_HTTP_CONCERT_CALL_SENT) the thread owns
 * everything but the fields marked "loop".
 */


#ifndef NGX_HTTP_CONCERT_CALL_H_INCLUDED
#define NGX_HTTP_CONCERT_CALL_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>

#include "core/json.h"


#define NGX_HTTP_CONCERT_MAX_PARAMS  11


typedef struct ngx_http_concert_call_s    ngx_http_concert_call_t;
typedef struct ngx_http_concert_sale_s    ngx_http_concert_sale_t;
typedef struct ngx_http_concert_result_s  ngx_http_concert_result_t;


enum {
    NGX_HTTP_CONCERT_READ = 0,
    NGX_HTTP_CONCERT_WRITE,
    NGX_HTTP_CONCERT_REDIS,
    NGX_HTTP_CONCERT_GATEWAY,
    NGX_HTTP_CONCERT_GROUPS
};


/*
 * What a store can do: an SQL function or a Lua script by its name.  Where one
 * run of it can answer many calls, "params" has a letter for each parameter:
 *
 *   a  one value a call: an array of an SQL function; of a script only the
 *      last parameter, of which there are then as many as calls
 *   s  one value for all calls that go together
 *
 * Others (NULL) take the parameters of one call as they are.
 *
 * "weight" is about how many times the store's work of a plain one it takes:
 * batches are measured by it.
 */

typedef struct {
    const char                *name;
    ngx_uint_t                 group;
    const char                *params;
    ngx_uint_t                 weight;
} ngx_http_concert_op_t;


/*
 * What a store answered to one call: rows and columns, valid during read().
 * integer() of a null is 0, string() of a null has no data.
 */

struct ngx_http_concert_result_s {
    ngx_uint_t                 rows;
    ngx_uint_t                 first;
    void                      *data;

    int64_t                  (*integer)(const ngx_http_concert_result_t *res,
                                        ngx_uint_t row, ngx_uint_t column);
    ngx_str_t                (*string)(const ngx_http_concert_result_t *res,
                                       ngx_uint_t row, ngx_uint_t column);
    unsigned                 (*null)(const ngx_http_concert_result_t *res,
                                     ngx_uint_t row, ngx_uint_t column);
};


/*
 * What the client is told.  With a code it is a problem (RFC 9457), whose
 * status, title and, unless given, detail come from the table in problem.c.
 */

typedef struct {
    ngx_uint_t                 status;
    ngx_str_t                  body;
    const char                *code;
    ngx_str_t                  detail;
    ngx_str_t                  extra;        /* members: ,"field":"size" */
    ngx_str_t                  link;         /* Link header's value */
    ngx_str_t                  location;     /* and Location's */
    ngx_str_t                  type;         /* none: JSON */
    ngx_str_t                  etag;         /* none: not to be kept */
    ngx_uint_t                 retry_after;  /* s; 0: none */
    unsigned                   replayed:1;   /* by an Idempotency-Key */
    unsigned                   unbuffered:1; /* a proxy passes it on */
} ngx_http_concert_reply_t;


typedef enum {
    NGX_HTTP_CONCERT_CALL_IDLE = 0,
    NGX_HTTP_CONCERT_CALL_WAITING,
    NGX_HTTP_CONCERT_CALL_SENT
} ngx_http_concert_call_state_e;


/* how a call ended */

typedef enum {
    NGX_HTTP_CONCERT_OK = 0,       /* read() has run */
    NGX_HTTP_CONCERT_REFUSED,      /* no room, or too late: never sent */
    NGX_HTTP_CONCERT_AWAY,         /* the store is away: not done */
    NGX_HTTP_CONCERT_ERROR,        /* the store said ERROR: not done */
    NGX_HTTP_CONCERT_UNKNOWN       /* sent, and no answer came */
} ngx_http_concert_outcome_e;


/* what a queue script answered (core/queue.h) */

typedef struct {
    int64_t                    epoch;
    int64_t                    serving;
    int64_t                    ended;
    int64_t                    now;        /* ms, of Redis's clock */
    int64_t                    pace;       /* let in in 10^9 s */
    int64_t                    status;
    int64_t                    number;
    int64_t                    ends;       /* ms, of Redis's clock */
} ngx_http_concert_queue_answer_t;


struct ngx_http_concert_call_s {
    ngx_queue_t                     queue;      /* loop: of waiting calls */
    struct ngx_http_request_s      *request;    /* loop: NULL: nobody waits */
    ngx_http_concert_call_state_e   state;      /* loop */
    ngx_msec_t                      submitted;  /* loop */
    ngx_msec_t                      sent;       /* loop: to its lane */
    ngx_msec_t                      store_time; /* loop: ms, over all steps */
    unsigned                        job:1;      /* loop */

    ngx_pool_t                     *pool;
    ngx_http_concert_sale_t        *sale;       /* read only */
    const ngx_http_concert_op_t    *op;
    ngx_str_t                       params[NGX_HTTP_CONCERT_MAX_PARAMS];
    ngx_uint_t                      nparams;
    ngx_msec_t                      deadline;   /* monotonic ms */
    ngx_http_concert_outcome_e      outcome;

    /* in the thread: turns what the store answered into reply or data */
    void                          (*read)(ngx_http_concert_call_t *call,
                                          const ngx_http_concert_result_t *res);

    /* in the event loop, when the step has ended, whoever waits for it */
    void                          (*done)(ngx_http_concert_call_t *call);

    /*
     * In the event loop, when the deadline passes and the thread still works:
     * what to answer instead of "timeout".  May be NULL.
     */
    void                          (*late)(ngx_http_concert_call_t *call,
                                          ngx_http_concert_reply_t *reply);

    ngx_http_concert_reply_t        reply;

    /* what the request asks */
    void                           *data;
    int64_t                         user_id;
    int64_t                         id;
    int64_t                         position;   /* in the queue; -1: unknown */
    ngx_http_concert_queue_answer_t queue_answer;
    unsigned                        admitted:1; /* the token is active */
    ngx_str_t                       key;        /* Idempotency-Key, or empty */
    ngx_str_t                       digest;     /* of the body, with a key */
};


/* a call of a sale with memory of its own, or NULL; event loop */
ngx_http_concert_call_t *ngx_http_concert_call_create(
    ngx_http_concert_sale_t *sale);

/* frees a call that is in no queue and no lane; event loop */
void ngx_http_concert_call_destroy(ngx_http_concert_call_t *call);

/* begins a step: clears the parameters of the last one */
void ngx_http_concert_call_step(ngx_http_concert_call_t *call,
    const ngx_http_concert_op_t *op,
    void (*read)(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res));

/* whether one run of a function or a script can answer both; any thread */
ngx_uint_t ngx_http_concert_call_alike(const ngx_http_concert_call_t *one,
    const ngx_http_concert_call_t *other);

/*
 * Append a parameter: an integer, NULL, bytes that lie in the call's memory, a
 * list of integers (an array, quoted as an element of an array of text), a new
 * operation id.  NGX_ERROR when there is no memory.
 */
ngx_int_t ngx_http_concert_call_integer(ngx_http_concert_call_t *call,
    int64_t value);
ngx_int_t ngx_http_concert_call_null(ngx_http_concert_call_t *call);
ngx_int_t ngx_http_concert_call_string(ngx_http_concert_call_t *call,
    const ngx_str_t *value);
ngx_int_t ngx_http_concert_call_list(ngx_http_concert_call_t *call,
    const int64_t *values, size_t n);
ngx_int_t ngx_http_concert_call_operation(ngx_http_concert_call_t *call);

/* the same of an id that nobody can guess */
ngx_int_t ngx_http_concert_call_secret_operation(
    ngx_http_concert_call_t *call);

/* appends bytes, or NULL where there is no data, for an array of text */
ngx_int_t ngx_http_concert_call_quoted(ngx_http_concert_call_t *call,
    const ngx_str_t *value);

/* appends the key and the digest, if there is a key */
ngx_int_t ngx_http_concert_call_key(ngx_http_concert_call_t *call);

/* a writer into the call's memory */
void ngx_http_concert_call_json(ngx_http_concert_call_t *call,
    ngx_http_concert_json_t *json, size_t size);

/* a 200 with what was written, or a 503 when memory ran out */
void ngx_http_concert_call_body(ngx_http_concert_call_t *call,
    ngx_http_concert_json_t *json);

/* the same bytes, for reply.extra and the like */
ngx_str_t ngx_http_concert_call_text(ngx_http_concert_json_t *json);

/* answers with a problem; code and detail (or NULL) must outlive the call */
void ngx_http_concert_call_fail(ngx_http_concert_call_t *call,
    const char *code, const char *detail);

/*
 * Reads the outcome column of an operation: 1 when it is 'ok', else answers
 * with the problem of that code and returns 0.  With a key, "replayed" is the
 * column that says whether this is the answer of an earlier request.
 */
ngx_uint_t ngx_http_concert_call_ok(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res, ngx_uint_t column,
    ngx_uint_t replayed);

/* once in a worker: what makes its operation ids unique */
void ngx_http_concert_call_init_worker(void);

/* monotonic ms, in any thread */
ngx_msec_t ngx_http_concert_now(void);


#endif /* NGX_HTTP_CONCERT_CALL_H_INCLUDED */
