
/*
 * GET /api/concerts/seats/{scheduleId}: free seats, never cached, never all at
 * once.  Without "after" the walk begins at a place derived from the user's id
 * and its Links lead around to where it began, so that a crowd does not fight
 * over the same first page.
 *
 * With status=all it is a hall plan: every seat, in order, from seat 1, as
 * [seatId,"status",price].
 */

#include "api/api.h"
#include "core/parse.h"


/* columns of concert.seats_page() */

#define NGX_HTTP_CONCERT_SEATS_SCHEDULE  1
#define NGX_HTTP_CONCERT_SEATS_SEATS     2
#define NGX_HTTP_CONCERT_SEATS_PRICES    3


static ngx_int_t ngx_http_concert_seats_parse(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, json_t *body);
static ngx_int_t ngx_http_concert_seats_start(ngx_http_concert_call_t *call);
static int64_t ngx_http_concert_seats_spread(int64_t user_id);
static void ngx_http_concert_seats_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);
static void ngx_http_concert_seats_body(ngx_http_concert_call_t *call,
    ngx_http_concert_array_t *seats, ngx_http_concert_array_t *prices);
static void ngx_http_concert_seats_middle(ngx_http_concert_call_t *call,
    ngx_http_concert_json_t *json);
static ngx_int_t ngx_http_concert_seats_plan(ngx_http_concert_call_t *call);
static void ngx_http_concert_seats_plan_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);


static const ngx_http_concert_op_t  ngx_http_concert_seats_page = {
    "seats_page", NGX_HTTP_CONCERT_READ, "aaaaa", 8
};


static const ngx_http_concert_op_t  ngx_http_concert_hall_page = {
    "hall_page", NGX_HTTP_CONCERT_READ, NULL, 8
};


/* values of "status" */

static const char *const  ngx_http_concert_seats_status[] = {
    "available", "all", NULL
};


ngx_http_concert_route_t  ngx_http_concert_seats_route = {
    ngx_string("seats"),
    {
        { NGX_HTTP_GET,
          NGX_HTTP_CONCERT_NEEDS_POSTGRES|NGX_HTTP_CONCERT_NEEDS_REDIS
          |NGX_HTTP_CONCERT_ID|NGX_HTTP_CONCERT_CALLER
          |NGX_HTTP_CONCERT_ACTIVE,
          ngx_http_concert_seats_parse,
          ngx_http_concert_seats_start,
          NULL }
    }
};


static ngx_int_t
ngx_http_concert_seats_parse(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, json_t *body)
{
    size_t                    status;
    ngx_int_t                 rc;
    ngx_http_concert_page_t  *page;

    rc = ngx_http_concert_page_parse(r, call, body);
    if (rc != NGX_OK) {
        return rc;
    }

    page = call->data;
    status = 0;

    rc = ngx_http_concert_query_word(r, call, "status",
                                     ngx_http_concert_seats_status,
                                     "must be \"available\" or \"all\"",
                                     &status);
    if (rc != NGX_OK) {
        return rc;
    }

    page->all = (status == 1);

    rc = ngx_http_concert_query_integer(r, call, "end", 0,
                                        NGX_HTTP_CONCERT_MAX_INTEGER,
                                        &page->end, &page->no_end);
    if (rc != NGX_OK) {
        return rc;
    }

    if (page->no_after && !page->no_end) {
        return ngx_http_concert_bad_request(call, "end",
                                            "needs \"after\" beside it");
    }

    if (page->all && !page->no_end) {
        return ngx_http_concert_bad_request(call, "end",
                                            "is not for \"status=all\"");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_concert_seats_start(ngx_http_concert_call_t *call)
{
    ngx_http_concert_page_t  *page;

    page = call->data;

    if (page->all) {
        return ngx_http_concert_seats_plan(call);
    }

    ngx_http_concert_call_step(call, &ngx_http_concert_seats_page,
                               ngx_http_concert_seats_read);

    if (ngx_http_concert_call_integer(call, call->id) != NGX_OK
        || (page->no_after
            ? ngx_http_concert_call_null(call)
            : ngx_http_concert_call_integer(call, page->after))
           != NGX_OK
        || (page->no_end
            ? ngx_http_concert_call_null(call)
            : ngx_http_concert_call_integer(call, page->end))
           != NGX_OK
        || ngx_http_concert_call_integer(call,
                                ngx_http_concert_seats_spread(call->user_id))
           != NGX_OK
        || ngx_http_concert_call_integer(call, page->size + 1) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_concert_run(call, NULL);
}


/* the finalizer of splitmix64 (Steele et al., 2014): neighbors part */

static int64_t
ngx_http_concert_seats_spread(int64_t user_id)
{
    uint64_t  h;

    h = (uint64_t) user_id + 0x9e3779b97f4a7c15;
    h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9;
    h = (h ^ (h >> 27)) * 0x94d049bb133111eb;
    h ^= h >> 31;

    return (int64_t) (h >> 1);
}


static void
ngx_http_concert_seats_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    ngx_str_t                  value;
    ngx_http_concert_array_t   seats, prices;

    if (res->rows == 0 || res->null(res, 0, NGX_HTTP_CONCERT_SEATS_SCHEDULE)) {
        ngx_http_concert_call_fail(call, "schedule_not_found", NULL);
        return;
    }

    value = res->string(res, 0, NGX_HTTP_CONCERT_SEATS_SEATS);
    ngx_http_concert_parse_array(value.data, value.len, &seats);
    value = res->string(res, 0, NGX_HTTP_CONCERT_SEATS_PRICES);
    ngx_http_concert_parse_array(value.data, value.len, &prices);

    ngx_http_concert_seats_body(call, &seats, &prices);
}


static void
ngx_http_concert_seats_body(ngx_http_concert_call_t *call,
    ngx_http_concert_array_t *seats, ngx_http_concert_array_t *prices)
{
    int64_t                   seat, first;
    ngx_uint_t                i, n;
    ngx_http_concert_page_t  *page;
    ngx_http_concert_json_t   json, middle;

    page = call->data;
    n = ngx_min(seats->n, (size_t) page->size);
    first = 0;
    seat = 0;

    ngx_http_concert_seats_middle(call, &middle);

    ngx_http_concert_call_json(call, &json, 64 + n * 112);
    ngx_http_concert_json_text(&json, "[");

    for (i = 0; i < n; i++) {
        seat = ngx_http_concert_parse_next(seats);

        if (i == 0) {
            first = seat;
            ngx_http_concert_json_text(&json, "{\"seatId\":");

        } else {
            ngx_http_concert_json_text(&json, ",{\"seatId\":");
        }

        ngx_http_concert_json_integer(&json, seat);
        ngx_http_concert_json_text(&json, ",\"seatNumber\":");
        ngx_http_concert_json_integer(&json, seat);
        ngx_http_concert_json_raw(&json, middle.start,
                                  middle.pos - middle.start);
        ngx_http_concert_json_integer(&json,
                                      ngx_http_concert_parse_next(prices));
        ngx_http_concert_json_text(&json, "}");
    }

    ngx_http_concert_json_text(&json, "]");
    json.failed |= middle.failed;
    ngx_http_concert_call_body(call, &json);

    if (seats->n) {

        /* all around: the walk ends before the seat that it began with */

        if (page->no_after) {
            page->end = first - 1;
            page->no_end = 0;
        }

        ngx_http_concert_page_link(call, seat);
    }
}


/* what all seats of a page have between their number and their price */

static void
ngx_http_concert_seats_middle(ngx_http_concert_call_t *call,
    ngx_http_concert_json_t *json)
{
    ngx_http_concert_call_json(call, json, 96);
    ngx_http_concert_json_text(json,
                              ",\"seatStatus\":\"AVAILABLE\",\"scheduleId\":");
    ngx_http_concert_json_integer(json, call->id);
    ngx_http_concert_json_text(json, ",\"price\":");
}


static ngx_int_t
ngx_http_concert_seats_plan(ngx_http_concert_call_t *call)
{
    ngx_http_concert_page_t  *page;

    page = call->data;

    ngx_http_concert_call_step(call, &ngx_http_concert_hall_page,
                               ngx_http_concert_seats_plan_read);

    if (ngx_http_concert_call_integer(call, call->id) != NGX_OK
        || ngx_http_concert_call_integer(call,
                                         page->no_after ? 0 : page->after)
           != NGX_OK
        || ngx_http_concert_call_integer(call, page->size + 1) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_concert_run(call, NULL);
}


/* no row: no such schedule; one row without a seat: it has begun */

static void
ngx_http_concert_seats_plan_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    ngx_str_t                 status;
    ngx_uint_t                i, n;
    ngx_http_concert_json_t   json;

    if (res->rows == 0) {
        ngx_http_concert_call_fail(call, "schedule_not_found", NULL);
        return;
    }

    n = res->null(res, 0, 0) ? 0 : ngx_http_concert_page_rows(call, res);

    ngx_http_concert_call_json(call, &json, 64 + n * 32);
    ngx_http_concert_json_text(&json, "[");

    for (i = 0; i < n; i++) {
        if (i) {
            ngx_http_concert_json_text(&json, ",");
        }

        status = res->string(res, i, 1);

        ngx_http_concert_json_text(&json, "[");
        ngx_http_concert_json_integer(&json, res->integer(res, i, 0));
        ngx_http_concert_json_text(&json, ",");
        ngx_http_concert_json_string(&json, status.data, status.len);
        ngx_http_concert_json_text(&json, ",");
        ngx_http_concert_json_integer(&json, res->integer(res, i, 2));
        ngx_http_concert_json_text(&json, "]");
    }

    ngx_http_concert_json_text(&json, "]");
    ngx_http_concert_call_body(call, &json);

    if (n && res->rows > n) {
        ngx_http_concert_page_link(call, res->integer(res, n - 1, 0));
    }
}
