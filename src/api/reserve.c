
/* POST /api/reservations/seats: holds seats, all or none */

#include "api/api.h"


/* columns of concert.reserve() */

#define NGX_HTTP_CONCERT_RESERVE_OUTCOME  1
#define NGX_HTTP_CONCERT_RESERVE_ID       2
#define NGX_HTTP_CONCERT_RESERVE_TITLE    3
#define NGX_HTTP_CONCERT_RESERVE_SEATS    4
#define NGX_HTTP_CONCERT_RESERVE_PRICE    5
#define NGX_HTTP_CONCERT_RESERVE_STATUS   6
#define NGX_HTTP_CONCERT_RESERVE_EXPIRES  7
#define NGX_HTTP_CONCERT_RESERVE_REPLAYED 8


typedef struct {
    int64_t    concert_id;
    int64_t    schedule_id;
    int64_t   *seats;
    size_t     nseats;
} ngx_http_concert_reserve_t;


static ngx_int_t ngx_http_concert_reserve_parse(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, json_t *body);
static ngx_int_t ngx_http_concert_reserve_start(
    ngx_http_concert_call_t *call);
static void ngx_http_concert_reserve_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);
static void ngx_http_concert_reserve_taken(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);


static const ngx_http_concert_op_t  ngx_http_concert_reserve = {
    "reserve", NGX_HTTP_CONCERT_WRITE, "aaaaass", 1
};


static const ngx_http_concert_op_t  ngx_http_concert_reserve_once = {
    "reserve_once", NGX_HTTP_CONCERT_WRITE, "aaaaassaaa", 1
};


ngx_http_concert_route_t  ngx_http_concert_reserve_route = {
    ngx_string("reserve"),
    {
        { NGX_HTTP_POST,
          NGX_HTTP_CONCERT_NEEDS_POSTGRES|NGX_HTTP_CONCERT_NEEDS_REDIS
          |NGX_HTTP_CONCERT_CALLER|NGX_HTTP_CONCERT_BODY
          |NGX_HTTP_CONCERT_BODY_USER|NGX_HTTP_CONCERT_ACTIVE
          |NGX_HTTP_CONCERT_ONCE,
          ngx_http_concert_reserve_parse,
          ngx_http_concert_reserve_start,
          NULL }
    }
};


static ngx_int_t
ngx_http_concert_reserve_parse(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, json_t *body)
{
    size_t                       max;
    ngx_int_t                    rc;
    const char                  *wrong;
    ngx_http_concert_reserve_t  *reserve;

    max = (size_t) call->sale->max_seats;

    reserve = ngx_pcalloc(call->pool, sizeof(ngx_http_concert_reserve_t));
    if (reserve == NULL) {
        return NGX_ERROR;
    }

    reserve->seats = ngx_palloc(call->pool, max * sizeof(int64_t));
    if (reserve->seats == NULL) {
        return NGX_ERROR;
    }

    call->data = reserve;

    rc = ngx_http_concert_body_integer(call, body, "concertId", 1,
                                       &reserve->concert_id);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_concert_body_integer(call, body, "scheduleId", 1,
                                       &reserve->schedule_id);
    if (rc != NGX_OK) {
        return rc;
    }

    wrong = ngx_http_concert_json_ids(body, "seatIdList", reserve->seats, max,
                                      &reserve->nseats);

    return wrong ? ngx_http_concert_bad_request(call, "seatIdList", wrong)
                 : NGX_OK;
}


static ngx_int_t
ngx_http_concert_reserve_start(ngx_http_concert_call_t *call)
{
    ngx_http_concert_sale_t     *sale;
    ngx_http_concert_reserve_t  *reserve;

    reserve = call->data;
    sale = call->sale;

    ngx_http_concert_call_step(call,
                               call->key.len ? &ngx_http_concert_reserve_once
                                             : &ngx_http_concert_reserve,
                               ngx_http_concert_reserve_read);

    if (ngx_http_concert_call_operation(call) != NGX_OK
        || ngx_http_concert_call_integer(call, call->user_id) != NGX_OK
        || ngx_http_concert_call_integer(call, reserve->concert_id) != NGX_OK
        || ngx_http_concert_call_integer(call, reserve->schedule_id) != NGX_OK
        || ngx_http_concert_call_list(call, reserve->seats, reserve->nseats)
           != NGX_OK
        || ngx_http_concert_call_integer(call, sale->hold) != NGX_OK
        || (sale->user_limit
            ? ngx_http_concert_call_integer(call, sale->user_limit)
            : ngx_http_concert_call_null(call))
           != NGX_OK
        || (call->key.len
            && ngx_http_concert_call_integer(call, call->admitted) != NGX_OK)
        || ngx_http_concert_call_key(call) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_concert_run(call, NULL);
}


static void
ngx_http_concert_reserve_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    ngx_http_concert_json_t          json;
    ngx_http_concert_reserve_t      *reserve;
    ngx_http_concert_reservation_t   reservation;

    if (!ngx_http_concert_call_ok(call, res, NGX_HTTP_CONCERT_RESERVE_OUTCOME,
                                  NGX_HTTP_CONCERT_RESERVE_REPLAYED))
    {
        ngx_http_concert_reserve_taken(call, res);
        return;
    }

    reserve = call->data;

    reservation.id = res->integer(res, 0, NGX_HTTP_CONCERT_RESERVE_ID);
    reservation.concert_id = reserve->concert_id;
    reservation.title = res->string(res, 0, NGX_HTTP_CONCERT_RESERVE_TITLE);
    reservation.schedule_id = reserve->schedule_id;
    reservation.seats = res->string(res, 0, NGX_HTTP_CONCERT_RESERVE_SEATS);
    reservation.total_price = res->integer(res, 0,
                                           NGX_HTTP_CONCERT_RESERVE_PRICE);
    reservation.status = res->string(res, 0, NGX_HTTP_CONCERT_RESERVE_STATUS);
    reservation.expires = res->integer(res, 0,
                                       NGX_HTTP_CONCERT_RESERVE_EXPIRES);

    ngx_http_concert_call_json(call, &json, 384);
    ngx_http_concert_reservation_json(&json, call->user_id, &reservation);
    ngx_http_concert_call_body(call, &json);
}


/* a conflict over seats tells which */

static void
ngx_http_concert_reserve_taken(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    ngx_str_t                seats;
    ngx_http_concert_json_t  json;

    if (res->rows == 0) {
        return;
    }

    seats = res->string(res, 0, NGX_HTTP_CONCERT_RESERVE_SEATS);
    if (seats.len == 0) {
        return;
    }

    ngx_http_concert_call_json(call, &json, 32 + seats.len);
    ngx_http_concert_json_text(&json, ",\"seatIdList\":[");
    ngx_http_concert_json_raw(&json, seats.data, seats.len);
    ngx_http_concert_json_text(&json, "]");

    call->reply.extra = ngx_http_concert_call_text(&json);
}
