
/*
 * For operators: GET /status, in JSON: what the page at /ops/ shows, of the
 * location's sale, and in short of all.  Read from shared memory alone, so it
 * answers when every store is away.
 */

#include "api/api.h"


#define NGX_HTTP_CONCERT_VERSION  "0.1.0"


static ngx_int_t ngx_http_concert_status_start(ngx_http_concert_call_t *call);
static void ngx_http_concert_status_sales(ngx_http_concert_json_t *json,
    const ngx_http_concert_main_conf_t *conf);
static void ngx_http_concert_status_sale(ngx_http_concert_json_t *json,
    const ngx_http_concert_sale_t *sale);
static void ngx_http_concert_status_queue(ngx_http_concert_json_t *json,
    const ngx_http_concert_queue_t *queue);
static void ngx_http_concert_status_seen(ngx_http_concert_json_t *json,
    ngx_atomic_uint_t seen);
static void ngx_http_concert_status_lanes(ngx_http_concert_json_t *json,
    const ngx_http_concert_sale_t *sale);
static void ngx_http_concert_status_routes(ngx_http_concert_json_t *json,
    const ngx_http_concert_sale_t *sale);
static void ngx_http_concert_status_requests(ngx_http_concert_json_t *json,
    const ngx_http_concert_sale_t *sale, ngx_uint_t route);
static void ngx_http_concert_status_list(ngx_http_concert_json_t *json,
    const char *name, const ngx_uint_t *numbers, ngx_uint_t n);
static ngx_int_t ngx_http_concert_status_halls(ngx_http_concert_call_t *call,
    ngx_http_concert_json_t *json);
static void ngx_http_concert_status_hall(ngx_http_concert_json_t *json,
    const ngx_http_concert_hall_t *hall);
static void ngx_http_concert_status_payments(ngx_http_concert_json_t *json,
    const ngx_http_concert_cards_state_t *cards);
static void ngx_http_concert_status_breaker(ngx_http_concert_json_t *json,
    ngx_http_concert_guard_t *guard, int64_t now);
static void ngx_http_concert_status_rate(ngx_http_concert_json_t *json,
    const char *name, float rate);
static int64_t ngx_http_concert_status_clock(void);


ngx_http_concert_route_t  ngx_http_concert_status_route = {
    ngx_string("status"),
    {
        { NGX_HTTP_GET,
          NGX_HTTP_CONCERT_OPERATORS,
          NULL,
          ngx_http_concert_status_start,
          NULL }
    }
};


static ngx_int_t
ngx_http_concert_status_start(ngx_http_concert_call_t *call)
{
    int64_t                   now;
    ngx_http_concert_json_t   json;
    ngx_http_concert_sale_t  *sale;

    sale = call->sale;
    now = ngx_http_concert_status_clock();

    ngx_http_concert_zone_bury(sale->shm_zone->data);
    ngx_http_concert_call_json(call, &json, 16384);

    ngx_http_concert_json_text(&json,
                "{\"version\":\"" NGX_HTTP_CONCERT_VERSION "\",\"nginx\":\""
                NGINX_VERSION "\",\"worker\":");
    ngx_http_concert_json_integer(&json, ngx_worker);
    ngx_http_concert_json_text(&json, ",\"time\":");
    ngx_http_concert_json_time(&json, now);

    ngx_http_concert_print(&json, ",\"sale\":\"%V\"", &sale->name);
    ngx_http_concert_status_sale(&json, sale);
    ngx_http_concert_status_routes(&json, sale);
    ngx_http_concert_status_sales(&json, sale->conf);

    if (ngx_http_concert_status_halls(call, &json) != NGX_OK) {
        return NGX_ERROR;
    }

    if (sale->groups[NGX_HTTP_CONCERT_GATEWAY]->conf) {
        ngx_http_concert_status_payments(&json, &sale->database->cards);
        ngx_http_concert_status_breaker(&json, sale->guard, now);
    }

    ngx_http_concert_json_text(&json, "}");

    ngx_http_concert_call_body(call, &json);

    return NGX_DECLINED;
}


static void
ngx_http_concert_status_sales(ngx_http_concert_json_t *json,
    const ngx_http_concert_main_conf_t *conf)
{
    ngx_uint_t                 i;
    ngx_http_concert_sale_t  **sales;

    sales = conf->sales.elts;

    ngx_http_concert_json_text(json, ",\"sales\":[");

    for (i = 0; i < conf->sales.nelts; i++) {
        ngx_http_concert_print(json, "%s{\"name\":\"%V\"", i ? "," : "",
                               &sales[i]->name);
        ngx_http_concert_status_sale(json, sales[i]);
        ngx_http_concert_json_text(json, "}");
    }

    ngx_http_concert_json_text(json, "]");
}


static void
ngx_http_concert_status_sale(ngx_http_concert_json_t *json,
    const ngx_http_concert_sale_t *sale)
{
    ngx_http_concert_status_queue(json, sale->queue);

    ngx_http_concert_json_text(json, ",\"holdsExpired\":");
    ngx_http_concert_json_integer(json, sale->database->expired);

    ngx_http_concert_status_lanes(json, sale);
}


/* capacity and rate are those that count: an operator's or nginx.conf's */

static void
ngx_http_concert_status_queue(ngx_http_concert_json_t *json,
    const ngx_http_concert_queue_t *queue)
{
    const ngx_http_concert_queue_state_t  *state;

    state = queue->state;

    ngx_http_concert_print(json,
        ",\"queue\":{\"name\":\"%V\",\"capacity\":%uA,\"ttl\":%M,"
        "\"paused\":%s,\"waiting\":%uA,\"called\":%uA,\"active\":%uA,"
        "\"serving\":%uA,\"rate\":",
        &queue->name, state->capacity, queue->ttl / 1000,
        state->paused ? "true" : "false", state->waiting, state->called,
        state->active, state->serving);

    ngx_http_concert_queue_rate_json(json, state->rate);
    ngx_http_concert_json_text(json, ",\"opensAt\":");

    if (state->opens) {
        ngx_http_concert_json_time(json, state->opens);
    } else {
        ngx_http_concert_json_text(json, "null");
    }

    ngx_http_concert_status_seen(json, state->seen);
    ngx_http_concert_json_text(json, "}");
}


/* when a store last told of it; s since the epoch, 0: never */

static void
ngx_http_concert_status_seen(ngx_http_concert_json_t *json,
    ngx_atomic_uint_t seen)
{
    ngx_http_concert_json_text(json, ",\"seenAt\":");

    if (seen) {
        ngx_http_concert_json_time(json, (int64_t) seen * 1000);
    } else {
        ngx_http_concert_json_text(json, "null");
    }
}


static void
ngx_http_concert_status_lanes(ngx_http_concert_json_t *json,
    const ngx_http_concert_sale_t *sale)
{
    ngx_uint_t                      i;
    ngx_http_concert_group_t       *group;
    ngx_http_concert_lane_stats_t   stats;

    ngx_http_concert_json_text(json, ",\"lanes\":[");

    for (i = 0; i < NGX_HTTP_CONCERT_GROUPS; i++) {
        group = sale->groups[i];

        if (group->nlanes == 0) {
            continue;
        }

        ngx_http_concert_zone_lanes(group->part, &stats);

        if (i) {
            ngx_http_concert_json_text(json, ",");
        }

        ngx_http_concert_print(json,
            "{\"group\":\"%V\",\"lanes\":%ui,\"batch\":%ui,\"busy\":%uA,"
            "\"waiting\":%uA,\"down\":%s,\"batches\":%uA,\"calls\":%uA,"
            "\"failed\":%uA,\"refused\":%uA}",
            &ngx_http_concert_group_names[i],
            group->nlanes * sale->conf->workers,
            group->batch, stats.busy, stats.waiting,
            stats.down ? "true" : "false", stats.batches, stats.calls,
            stats.failed, stats.refused);
    }

    ngx_http_concert_json_text(json, "]");
}


/* times of all requests, whatever their class, in buckets of these bounds */

static void
ngx_http_concert_status_routes(ngx_http_concert_json_t *json,
    const ngx_http_concert_sale_t *sale)
{
    ngx_uint_t  i;

    ngx_http_concert_status_list(json, ",\"latencyBounds\":",
                                 ngx_http_concert_latency_bounds,
                                 NGX_HTTP_CONCERT_LATENCY_BUCKETS - 1);

    ngx_http_concert_json_text(json, ",\"routes\":{");

    for (i = 0; ngx_http_concert_routes[i]; i++) {
        ngx_http_concert_print(json, "%s\"%V\":{", i ? "," : "",
                               &ngx_http_concert_routes[i]->name);
        ngx_http_concert_status_requests(json, sale, i);
        ngx_http_concert_json_text(json, "}");
    }

    ngx_http_concert_json_text(json, "}");
}


static void
ngx_http_concert_status_requests(ngx_http_concert_json_t *json,
    const ngx_http_concert_sale_t *sale, ngx_uint_t route)
{
    ngx_uint_t                  i, class;
    ngx_uint_t                  buckets[NGX_HTTP_CONCERT_LATENCY_BUCKETS];
    ngx_http_concert_latency_t  latency;

    ngx_memzero(buckets, sizeof(buckets));

    for (class = 0; class < NGX_HTTP_CONCERT_CLASSES; class++) {
        ngx_http_concert_zone_latency(sale->part, route, class, &latency);

        ngx_http_concert_print(json, "\"%uixx\":%uL,", class + 1,
                               ngx_http_concert_zone_count(&latency));

        for (i = 0; i < NGX_HTTP_CONCERT_LATENCY_BUCKETS; i++) {
            buckets[i] += latency.bucket[i];
        }
    }

    ngx_http_concert_status_list(json, "\"buckets\":", buckets,
                                 NGX_HTTP_CONCERT_LATENCY_BUCKETS);
}


static void
ngx_http_concert_status_list(ngx_http_concert_json_t *json, const char *name,
    const ngx_uint_t *numbers, ngx_uint_t n)
{
    ngx_uint_t  i;

    ngx_http_concert_print(json, "%s[", name);

    for (i = 0; i < n; i++) {
        ngx_http_concert_print(json, "%s%ui", i ? "," : "", numbers[i]);
    }

    ngx_http_concert_json_text(json, "]");
}


/* that somebody asks is what makes the job count */

static ngx_int_t
ngx_http_concert_status_halls(ngx_http_concert_call_t *call,
    ngx_http_concert_json_t *json)
{
    ngx_uint_t                 i;
    ngx_http_concert_sale_t   *sale;
    ngx_http_concert_halls_t  *halls;

    sale = call->sale;
    sale->database->halls.asked = ngx_time();

    halls = ngx_palloc(call->pool, sizeof(ngx_http_concert_halls_t));
    if (halls == NULL) {
        return NGX_ERROR;
    }

    ngx_http_concert_zone_halls(sale->database_zone, &sale->database->halls,
                                halls);

    ngx_http_concert_json_text(json, ",\"countedAt\":");

    if (halls->counted) {
        ngx_http_concert_json_time(json, halls->counted);
    } else {
        ngx_http_concert_json_text(json, "null");
    }

    ngx_http_concert_json_text(json, ",\"schedules\":[");

    for (i = 0; i < halls->n; i++) {
        if (i) {
            ngx_http_concert_json_text(json, ",");
        }

        ngx_http_concert_status_hall(json, &halls->halls[i]);
    }

    ngx_http_concert_json_text(json, "]");

    return NGX_OK;
}


static void
ngx_http_concert_status_hall(ngx_http_concert_json_t *json,
    const ngx_http_concert_hall_t *hall)
{
    ngx_http_concert_print(json,
        "{\"scheduleId\":%L,\"concertId\":%L,\"totalSeat\":%L,"
        "\"sold\":%L,\"held\":%L,\"free\":%L,\"concertTitle\":",
        hall->schedule_id, hall->concert_id, hall->seats, hall->sold,
        hall->held, hall->seats - hall->sold - hall->held);

    ngx_http_concert_json_string(json, hall->title, hall->len);
    ngx_http_concert_json_text(json, ",\"scheduleDate\":");
    ngx_http_concert_json_time(json, hall->starts);
    ngx_http_concert_json_text(json, "}");
}


/* ages in whole seconds, of the oldest */

static void
ngx_http_concert_status_payments(ngx_http_concert_json_t *json,
    const ngx_http_concert_cards_state_t *cards)
{
    ngx_http_concert_print(json,
        ",\"payments\":{\"pending\":%uA,\"pendingAge\":%uA,"
        "\"refunding\":%uA,\"refundingAge\":%uA,\"deposits\":%uA",
        cards->pending, cards->pending_age / 1000,
        cards->refunding, cards->refunding_age / 1000, cards->deposits);
    ngx_http_concert_status_seen(json, cards->seen);
    ngx_http_concert_json_text(json, "}");
}


/* the breaker's times are of a clock that starts with the machine */

static void
ngx_http_concert_status_breaker(ngx_http_concert_json_t *json,
    ngx_http_concert_guard_t *guard, int64_t now)
{
    size_t                                   i;
    int64_t                                  ahead;
    const ngx_http_concert_breaker_event_t  *event;
    ngx_http_concert_breaker_snapshot_t      s;

    ahead = now - ngx_http_concert_now();

    ngx_http_concert_guard_snapshot(guard, &s);

    ngx_http_concert_print(json, ",\"breaker\":{\"state\":\"%s\",\"since\":",
                           ngx_http_concert_breaker_states[s.state]);
    ngx_http_concert_json_time(json, s.since + ahead);

    ngx_http_concert_status_rate(json, ",\"failureRate\":", s.failure_rate);
    ngx_http_concert_status_rate(json, ",\"slowCallRate\":",
                                 s.slow_call_rate);

    ngx_http_concert_print(json,
        ",\"buffered\":%uL,\"notPermitted\":%uL,\"retry\":%L,\"events\":[",
        s.buffered, s.not_permitted, (s.retry + 999) / 1000);

    for (i = 0; i < s.nevents; i++) {
        event = &s.events[i];

        ngx_http_concert_print(json,
            "%s{\"number\":%uL,\"from\":\"%s\",\"to\":\"%s\","
            "\"reason\":\"%s\",\"at\":",
            i ? "," : "", event->number,
            ngx_http_concert_breaker_states[event->from],
            ngx_http_concert_breaker_states[event->to],
            ngx_http_concert_breaker_reasons[event->reason]);

        ngx_http_concert_json_time(json, event->at + ahead);
        ngx_http_concert_json_text(json, "}");
    }

    ngx_http_concert_json_text(json, "]}");
}


/* in percent; not known before the minimum of calls */

static void
ngx_http_concert_status_rate(ngx_http_concert_json_t *json, const char *name,
    float rate)
{
    if (rate < 0) {
        ngx_http_concert_print(json, "%snull", name);
        return;
    }

    ngx_http_concert_print(json, "%s%.2f", name, (double) rate);
}


/* ms since the epoch, now: nginx's cached time is behind the other clock */

static int64_t
ngx_http_concert_status_clock(void)
{
    struct timeval  tv;

    ngx_gettimeofday(&tv);

    return (int64_t) tv.tv_sec * 1000 + tv.tv_usec / 1000;
}
