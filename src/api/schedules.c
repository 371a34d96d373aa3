
/* GET /api/concerts/schedules/{concertId}: its schedules to come, by id */

#include "api/api.h"


static ngx_int_t ngx_http_concert_schedules_known(ngx_http_request_t *r,
    const ngx_http_concert_known_t *known);
static ngx_int_t ngx_http_concert_schedules_start(
    ngx_http_concert_call_t *call);
static void ngx_http_concert_schedules_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);


static const ngx_http_concert_list_t  ngx_http_concert_schedules_list = {
    NGX_HTTP_CONCERT_LIST_SCHEDULES,
    { "schedules_page", NGX_HTTP_CONCERT_READ, NULL, 8 },
    ngx_http_concert_schedules_read
};


ngx_http_concert_route_t  ngx_http_concert_schedules_route = {
    ngx_string("schedules"),
    {
        { NGX_HTTP_GET,
          NGX_HTTP_CONCERT_NEEDS_POSTGRES|NGX_HTTP_CONCERT_NEEDS_REDIS
          |NGX_HTTP_CONCERT_ID|NGX_HTTP_CONCERT_CALLER
          |NGX_HTTP_CONCERT_ACTIVE,
          ngx_http_concert_page_parse,
          ngx_http_concert_schedules_start,
          ngx_http_concert_schedules_known }
    }
};


static ngx_int_t
ngx_http_concert_schedules_known(ngx_http_request_t *r,
    const ngx_http_concert_known_t *known)
{
    return ngx_http_concert_catalog_known(r, known,
                                          &ngx_http_concert_schedules_list);
}


static ngx_int_t
ngx_http_concert_schedules_start(ngx_http_concert_call_t *call)
{
    return ngx_http_concert_catalog_start(call,
                                          &ngx_http_concert_schedules_list);
}


/* no row: no such concert; one row of nulls: it has no schedule to show */

static void
ngx_http_concert_schedules_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    ngx_uint_t               i, n;
    ngx_http_concert_json_t  json;

    if (res->rows == 0) {
        ngx_http_concert_call_fail(call, "concert_not_found", NULL);
        return;
    }

    n = res->null(res, 0, 0) ? 0 : ngx_http_concert_page_rows(call, res);

    ngx_http_concert_call_json(call, &json, 64 + n * 128);
    ngx_http_concert_json_text(&json, "[");

    for (i = 0; i < n; i++) {
        if (i) {
            ngx_http_concert_json_text(&json, ",");
        }

        ngx_http_concert_json_text(&json, "{\"scheduleId\":");
        ngx_http_concert_json_integer(&json, res->integer(res, i, 0));
        ngx_http_concert_json_text(&json, ",\"concertId\":");
        ngx_http_concert_json_integer(&json, call->id);
        ngx_http_concert_json_text(&json, ",\"scheduleDate\":");
        ngx_http_concert_json_time(&json, res->integer(res, i, 1));
        ngx_http_concert_json_text(&json, ",\"totalSeat\":");
        ngx_http_concert_json_integer(&json, res->integer(res, i, 2));
        ngx_http_concert_json_text(&json, "}");
    }

    ngx_http_concert_json_text(&json, "]");
    ngx_http_concert_call_body(call, &json);

    if (n && res->rows > n) {
        ngx_http_concert_page_link(call, res->integer(res, n - 1, 0));
    }
}
