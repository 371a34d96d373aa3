
/*
 * What routes share: pages of lists, and objects that more than one answers
 * with.  Each route is a file of its own and a line in routes.c.
 */


#ifndef NGX_HTTP_CONCERT_API_H_INCLUDED
#define NGX_HTTP_CONCERT_API_H_INCLUDED


#include "core/card.h"
#include "core/request.h"


/* a list that all users see the same, so that its pages are kept in memory */

enum {
    NGX_HTTP_CONCERT_LIST_CONCERTS = 1,
    NGX_HTTP_CONCERT_LIST_SCHEDULES
};


typedef struct {
    ngx_uint_t                   number;
    ngx_http_concert_op_t        op;        /* [id,] after, rows */
    void                       (*read)(ngx_http_concert_call_t *call,
                                       const ngx_http_concert_result_t *res);
} ngx_http_concert_list_t;


/* a page of a list, as the query asks for it; call->data of list routes */

typedef struct {
    const ngx_http_concert_list_t  *list;   /* NULL: of no such one */
    int64_t      next;                      /* after which more follows, or 0 */
    int64_t      size;
    int64_t      after;
    int64_t      end;
    ngx_uint_t   no_after;
    ngx_uint_t   no_end;
    ngx_uint_t   all;           /* seats of any status */
} ngx_http_concert_page_t;


/* parse(): size and after */
ngx_int_t ngx_http_concert_page_parse(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, json_t *body);

/* the same without a call; NGX_DECLINED: something is wrong */
ngx_int_t ngx_http_concert_page_query(ngx_http_request_t *r,
    ngx_http_concert_page_t *page);

/* in the thread: sets the Link to the page after "after" (RFC 8288) */
void ngx_http_concert_page_link(ngx_http_concert_call_t *call, int64_t after);

/* the same of a page that was found in memory; NGX_ERROR: no memory */
ngx_int_t ngx_http_concert_page_next(ngx_pool_t *pool,
    const ngx_http_concert_page_t *page, ngx_str_t *link);

/* known() and start() of a list whose pages are kept */
ngx_int_t ngx_http_concert_catalog_known(ngx_http_request_t *r,
    const ngx_http_concert_known_t *known,
    const ngx_http_concert_list_t *list);
ngx_int_t ngx_http_concert_catalog_start(ngx_http_concert_call_t *call,
    const ngx_http_concert_list_t *list);

/* how many of the rows are on the page: one more was asked for */
ngx_uint_t ngx_http_concert_page_rows(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);

/* in the thread: answers with {userId, amount} */
void ngx_http_concert_balance_body(ngx_http_concert_call_t *call,
    int64_t amount);

/* a reservation, as the wire has it */

typedef struct {
    int64_t      id;
    int64_t      concert_id;
    ngx_str_t    title;
    int64_t      schedule_id;
    ngx_str_t    seats;          /* 1,2,3 */
    int64_t      total_price;
    ngx_str_t    status;
    int64_t      expires;        /* ms since the epoch */
} ngx_http_concert_reservation_t;

void ngx_http_concert_reservation_json(ngx_http_concert_json_t *json,
    int64_t user_id, const ngx_http_concert_reservation_t *reservation);

/* the same from a row of concert.reservation() or reservations_page() */
void ngx_http_concert_reservation_row(ngx_http_concert_json_t *json,
    int64_t user_id, const ngx_http_concert_result_t *res, ngx_uint_t row);

/* a payment, as the wire has it */

typedef struct {
    int64_t      id;
    int64_t      reservation_id; /* 0: a top-up */
    int64_t      amount;
    ngx_str_t    status;
    int64_t      time;           /* ms since the epoch */
    ngx_uint_t   card;           /* a balance pays with less to tell */
    ngx_str_t    code;           /* the gateway's, as is the reason */
    ngx_str_t    reason;
} ngx_http_concert_payment_t;

void ngx_http_concert_payment_json(ngx_http_concert_json_t *json,
    int64_t user_id, const ngx_http_concert_payment_t *payment);

/* in the thread: answers with a payment */
void ngx_http_concert_payment_body(ngx_http_concert_call_t *call,
    const ngx_http_concert_payment_t *payment);

/* why a card was declined, as members of an object, a comma before each */
void ngx_http_concert_payment_reason(ngx_http_concert_json_t *json,
    const ngx_http_concert_payment_t *payment);

/*
 * Payments and top-ups by card.  For parse(): *card is NULL where none pays.
 * "other" is the method beside "card", or NULL; by_card: what is meant where
 * none is named.  start() goes on with ngx_http_concert_card_start(), when
 * reservation_id and amount are set.
 */
ngx_int_t ngx_http_concert_card_parse(ngx_http_concert_call_t *call,
    json_t *body, const char *other, ngx_uint_t by_card,
    ngx_http_concert_card_t **card);
ngx_int_t ngx_http_concert_card_start(ngx_http_concert_call_t *call,
    ngx_http_concert_card_t *card);

/*
 * For parse(): a member of letters, digits, "_", "-" and "=", copied into the
 * call's memory; no data: it is not there.
 */
ngx_int_t ngx_http_concert_card_word(ngx_http_concert_call_t *call,
    json_t *body, const char *name, size_t min, size_t max, ngx_str_t *word);

/* appends what nginx's own formats say */
void ngx_http_concert_print(ngx_http_concert_json_t *json, const char *fmt,
    ...);

/* a file of src/ops/, made by `config`; the last one has no name */

typedef struct {
    ngx_str_t    name;
    ngx_str_t    type;
    ngx_str_t    body;
} ngx_http_concert_file_t;

extern ngx_http_concert_file_t  ngx_http_concert_files[];

/* begins the step that answers with the balance of call->user_id */
ngx_int_t ngx_http_concert_balance_run(ngx_http_concert_call_t *call,
    void (*done)(ngx_http_concert_call_t *call));


#endif /* NGX_HTTP_CONCERT_API_H_INCLUDED */
