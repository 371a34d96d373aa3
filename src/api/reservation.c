
/*
 * GET and DELETE /api/reservations/{reservationId}: looks at a reservation of
 * the caller's, or gives its hold back.
 */

#include "api/api.h"


static ngx_int_t ngx_http_concert_reservation_start(
    ngx_http_concert_call_t *call);
static void ngx_http_concert_reservation_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);
static ngx_int_t ngx_http_concert_cancel_start(ngx_http_concert_call_t *call);
static void ngx_http_concert_cancel_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);
static ngx_int_t ngx_http_concert_reservation_params(
    ngx_http_concert_call_t *call);


static const ngx_http_concert_op_t  ngx_http_concert_reservation = {
    "reservation", NGX_HTTP_CONCERT_READ, NULL, 1
};


static const ngx_http_concert_op_t  ngx_http_concert_cancel = {
    "cancel", NGX_HTTP_CONCERT_WRITE, "aa", 1
};


ngx_http_concert_route_t  ngx_http_concert_reservation_route = {
    ngx_string("reservation"),
    {
        { NGX_HTTP_GET,
          NGX_HTTP_CONCERT_NEEDS_POSTGRES|NGX_HTTP_CONCERT_ID
          |NGX_HTTP_CONCERT_CALLER,
          NULL,
          ngx_http_concert_reservation_start,
          NULL },

        { NGX_HTTP_DELETE,
          NGX_HTTP_CONCERT_NEEDS_POSTGRES|NGX_HTTP_CONCERT_ID
          |NGX_HTTP_CONCERT_CALLER,
          NULL,
          ngx_http_concert_cancel_start,
          NULL }
    }
};


static ngx_int_t
ngx_http_concert_reservation_start(ngx_http_concert_call_t *call)
{
    ngx_http_concert_call_step(call, &ngx_http_concert_reservation,
                               ngx_http_concert_reservation_read);

    return ngx_http_concert_reservation_params(call);
}


static void
ngx_http_concert_reservation_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    ngx_http_concert_json_t  json;

    if (res->rows == 0) {
        ngx_http_concert_call_fail(call, "reservation_not_found", NULL);
        return;
    }

    ngx_http_concert_call_json(call, &json, 384);
    ngx_http_concert_reservation_row(&json, call->user_id, res, 0);
    ngx_http_concert_call_body(call, &json);
}


static ngx_int_t
ngx_http_concert_cancel_start(ngx_http_concert_call_t *call)
{
    ngx_http_concert_call_step(call, &ngx_http_concert_cancel,
                               ngx_http_concert_cancel_read);

    return ngx_http_concert_reservation_params(call);
}


static void
ngx_http_concert_cancel_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    if (ngx_http_concert_call_ok(call, res, 1, 0)) {
        call->reply.status = NGX_HTTP_NO_CONTENT;
    }
}


static ngx_int_t
ngx_http_concert_reservation_params(ngx_http_concert_call_t *call)
{
    if (ngx_http_concert_call_integer(call, call->user_id) != NGX_OK
        || ngx_http_concert_call_integer(call, call->id) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_concert_run(call, NULL);
}


void
ngx_http_concert_reservation_row(ngx_http_concert_json_t *json,
    int64_t user_id, const ngx_http_concert_result_t *res, ngx_uint_t row)
{
    ngx_http_concert_reservation_t  reservation;

    reservation.id = res->integer(res, row, 0);
    reservation.concert_id = res->integer(res, row, 1);
    reservation.title = res->string(res, row, 2);
    reservation.schedule_id = res->integer(res, row, 3);
    reservation.seats = res->string(res, row, 4);
    reservation.total_price = res->integer(res, row, 5);
    reservation.status = res->string(res, row, 6);
    reservation.expires = res->integer(res, row, 7);

    ngx_http_concert_reservation_json(json, user_id, &reservation);
}


void
ngx_http_concert_reservation_json(ngx_http_concert_json_t *json,
    int64_t user_id, const ngx_http_concert_reservation_t *reservation)
{
    ngx_http_concert_json_text(json, "{\"reservationId\":");
    ngx_http_concert_json_integer(json, reservation->id);
    ngx_http_concert_json_text(json, ",\"userId\":");
    ngx_http_concert_json_integer(json, user_id);
    ngx_http_concert_json_text(json, ",\"concertId\":");
    ngx_http_concert_json_integer(json, reservation->concert_id);
    ngx_http_concert_json_text(json, ",\"concertTitle\":");
    ngx_http_concert_json_string(json, reservation->title.data,
                                 reservation->title.len);
    ngx_http_concert_json_text(json, ",\"scheduleId\":");
    ngx_http_concert_json_integer(json, reservation->schedule_id);
    ngx_http_concert_json_text(json, ",\"seatIdList\":[");
    ngx_http_concert_json_raw(json, reservation->seats.data,
                              reservation->seats.len);
    ngx_http_concert_json_text(json, "],\"totalPrice\":");
    ngx_http_concert_json_integer(json, reservation->total_price);
    ngx_http_concert_json_text(json, ",\"status\":");
    ngx_http_concert_json_string(json, reservation->status.data,
                                 reservation->status.len);
    ngx_http_concert_json_text(json, ",\"reservationExpiry\":");
    ngx_http_concert_json_time(json, reservation->expires);
    ngx_http_concert_json_text(json, "}");
}
