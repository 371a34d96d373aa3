
/*
 * The way of a request: route, identity, body, admission, call, reply.  The
 * routes are in api/, one file each; nothing here knows one of them.
 */


#ifndef NGX_HTTP_CONCERT_REQUEST_H_INCLUDED
#define NGX_HTTP_CONCERT_REQUEST_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "core/json.h"
#include "core/sale.h"


/* what a route needs, beside NGX_HTTP_CONCERT_NEEDS_* */

#define NGX_HTTP_CONCERT_ID              0x0004  /* an id ends the path */
#define NGX_HTTP_CONCERT_ID_IS_USER      0x0008  /* and is the caller's */
#define NGX_HTTP_CONCERT_CALLER          0x0010  /* must say who asks */
#define NGX_HTTP_CONCERT_BODY            0x0020  /* has a JSON body */
#define NGX_HTTP_CONCERT_BODY_USER       0x0040  /* with the caller's userId */
#define NGX_HTTP_CONCERT_ACTIVE          0x0080  /* needs an active token */
#define NGX_HTTP_CONCERT_ONCE            0x0200  /* takes an Idempotency-Key */
#define NGX_HTTP_CONCERT_TYPED           0x0400  /* its body has a type */
#define NGX_HTTP_CONCERT_OPERATORS       0x0800  /* not for the public */


/* of which any makes the caller matter */
#define NGX_HTTP_CONCERT_KNOWS_USER                                          \
    (NGX_HTTP_CONCERT_ID_IS_USER|NGX_HTTP_CONCERT_CALLER                     \
     |NGX_HTTP_CONCERT_BODY_USER)


typedef struct ngx_http_concert_endpoint_s  ngx_http_concert_endpoint_t;


/* a request whose caller's place in the queue is known from memory */

typedef struct {
    ngx_http_concert_sale_t    *sale;
    int64_t                     id;            /* of the path, if it has one */
    int64_t                     user_id;
    ngx_http_concert_place_t    place;
} ngx_http_concert_known_t;


/*
 * One method of a route.  known(), where there is one, answers from memory
 * whom the flags let through, with what ngx_http_concert_send() returns, or
 * NGX_DECLINED: then the request goes the long way.  parse(), where there is
 * one, reads the query and the body (NULL without one) into the call; start()
 * begins the work by running a step.  Both return NGX_OK, NGX_DECLINED when
 * call->reply is the answer, or NGX_ERROR (no memory).
 */

struct ngx_http_concert_endpoint_s {
    ngx_uint_t                  method;
    ngx_uint_t                  flags;

    ngx_int_t                 (*parse)(ngx_http_request_t *r,
                                       ngx_http_concert_call_t *call,
                                       json_t *body);
    ngx_int_t                 (*start)(ngx_http_concert_call_t *call);
    ngx_int_t                 (*known)(ngx_http_request_t *r,
                                 const ngx_http_concert_known_t *known);
};


#define NGX_HTTP_CONCERT_MAX_ENDPOINTS  2

/* as the method of an endpoint */
#define NGX_HTTP_CONCERT_ANY_METHOD     ((ngx_uint_t) -1)


typedef struct {
    ngx_str_t                    name;
    ngx_http_concert_endpoint_t  endpoints[NGX_HTTP_CONCERT_MAX_ENDPOINTS];
} ngx_http_concert_route_t;


/* the table of api/routes.c; ends with NULL */
extern ngx_http_concert_route_t  *ngx_http_concert_routes[];


typedef struct {
    ngx_http_concert_route_t       *route;
    ngx_uint_t                      index;         /* of the route */
    ngx_str_t                       prefix;        /* of the paths; may be "" */
    ngx_flag_t                      problems;      /* nginx's refusals are */
    ngx_str_t                       use;           /* the sale's name, or "" */
    ngx_http_concert_sale_t        *sale;          /* that it serves */
} ngx_http_concert_loc_conf_t;


/* what is kept of a request after its call is gone, for variables and logs */

typedef struct {
    ngx_http_concert_call_t            *call;
    const ngx_http_concert_endpoint_t  *endpoint;
    int64_t                             user_id;    /* 0: unknown */
    const char                         *code;
    ngx_msec_t                          store_time;
    int64_t                             position;   /* -1: unknown */
    void                               *stream;     /* of events */
} ngx_http_concert_ctx_t;


extern ngx_module_t  ngx_http_concert_module;


ngx_int_t ngx_http_concert_handler(ngx_http_request_t *r);

/* the sale that the request's location serves */
ngx_http_concert_sale_t *ngx_http_concert_sale(ngx_http_request_t *r);

/*
 * What of the path follows the prefix that its location is for; without one,
 * or where the path was rewritten since, what follows its last slash.
 */
void ngx_http_concert_path_rest(ngx_http_request_t *r, ngx_str_t *rest);

/* for parse(): a 400 that names the field and says what is wrong with it */
ngx_int_t ngx_http_concert_bad_request(ngx_http_concert_call_t *call,
    const char *field, const char *wrong);

/* for parse(): reads a member of the body that is an integer of at least min */
ngx_int_t ngx_http_concert_body_integer(ngx_http_concert_call_t *call,
    json_t *body, const char *name, int64_t min, int64_t *value);

/*
 * For parse(): reads an integer of the query, which is given once or not at
 * all; *missing says which.
 */
ngx_int_t ngx_http_concert_query_integer(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, const char *name, int64_t min, int64_t max,
    int64_t *value, ngx_uint_t *missing);

/*
 * The same for one of some words, whose list ends with NULL: *word is which it
 * is, and stays as it was if none is given.  "wrong" is what to say of another.
 */
ngx_int_t ngx_http_concert_query_word(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, const char *name,
    const char *const *words, const char *wrong, size_t *word);

/*
 * Submits a step.  Without "done" the request is answered from call->reply
 * when it ends.
 */
ngx_int_t ngx_http_concert_run(ngx_http_concert_call_t *call,
    void (*done)(ngx_http_concert_call_t *call));

/* for known(): what the request's variables tell.  NGX_ERROR: no memory */
ngx_int_t ngx_http_concert_tell(ngx_http_request_t *r,
    const ngx_http_concert_known_t *known);

/* the same, and answers with a 200 */
ngx_int_t ngx_http_concert_tell_reply(ngx_http_request_t *r,
    const ngx_http_concert_known_t *known, ngx_http_concert_reply_t *reply);

/* of what nginx refuses: what $concert_code tells.  NGX_ERROR: no memory */
ngx_int_t ngx_http_concert_tell_code(ngx_http_request_t *r, const char *code);

/* finalizes a request that waits when its client leaves; or NGX_ERROR */
ngx_int_t ngx_http_concert_watch(ngx_http_request_t *r);

/* answers from call->reply, or gives the call up when nobody waits */
void ngx_http_concert_answer(ngx_http_concert_call_t *call);

/*
 * Parts a request from its call, which is freed; the caller goes on with the
 * request alone and finalizes it.  NULL: nobody waits.
 */
ngx_http_request_t *ngx_http_concert_part(ngx_http_concert_call_t *call);
void ngx_http_concert_finalize(ngx_http_request_t *r, ngx_int_t rc);

/* whether the step ended well; if not, call->reply tells the client so */
ngx_uint_t ngx_http_concert_succeeded(ngx_http_concert_call_t *call);

/* fills nginx's phases with what counts requests */
ngx_int_t ngx_http_concert_log_handler(ngx_http_request_t *r);

/* in a worker: lets lanes answer requests at their deadline */
void ngx_http_concert_request_init_worker(void);

/* registers $concert_...; variables.c */
ngx_int_t ngx_http_concert_add_variables(ngx_conf_t *cf);


#endif /* NGX_HTTP_CONCERT_REQUEST_H_INCLUDED */
