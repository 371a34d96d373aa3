
/*
 * For operators: GET /metrics in the text format of Prometheus.  Read from
 * shared memory alone, so it answers when every store is away.
 */

#include "api/api.h"


typedef struct {
    const char  *name;
    const char  *type;
    const char  *help;
    size_t       offset;     /* in ngx_http_concert_lane_stats_t */
    unsigned     ms;         /* to be told in seconds */
} ngx_http_concert_lane_stat_t;


static ngx_int_t ngx_http_concert_metrics_start(
    ngx_http_concert_call_t *call);
static void ngx_http_concert_metrics_requests(ngx_http_concert_json_t *out,
    const ngx_http_concert_sale_t *sale);
static void ngx_http_concert_metrics_latency(ngx_http_concert_json_t *out,
    const ngx_str_t *route, ngx_uint_t class,
    const ngx_http_concert_latency_t *latency);
static void ngx_http_concert_metrics_lanes(ngx_http_concert_json_t *out,
    const ngx_http_concert_sale_t *sale);
static void ngx_http_concert_metrics_stat(ngx_http_concert_json_t *out,
    const ngx_http_concert_lane_stat_t *stat, const ngx_str_t *group,
    const ngx_http_concert_lane_stats_t *stats);
static void ngx_http_concert_metrics_batches(ngx_http_concert_json_t *out,
    const ngx_str_t *group, const ngx_http_concert_lane_stats_t *stats);
static void ngx_http_concert_metrics_queue(ngx_http_concert_json_t *out,
    const ngx_http_concert_sale_t *sale);
static void ngx_http_concert_metrics_catalog(ngx_http_concert_json_t *out,
    const ngx_http_concert_sale_t *sale);
static void ngx_http_concert_metrics_workers(ngx_http_concert_json_t *out,
    ngx_http_concert_zone_t *zone);
static void ngx_http_concert_metrics_cards(ngx_http_concert_json_t *out,
    const ngx_http_concert_cards_state_t *cards);
static void ngx_http_concert_metrics_breaker(ngx_http_concert_json_t *out,
    ngx_http_concert_guard_t *guard);
static void ngx_http_concert_metrics_rate(ngx_http_concert_json_t *out,
    const char *name, float rate);


static const ngx_http_concert_lane_stat_t  ngx_http_concert_lane_stats[] = {

    { "concert_lane_waiting_calls", "gauge", "Calls that wait for a lane.",
      offsetof(ngx_http_concert_lane_stats_t, waiting), 0 },

    { "concert_lanes_busy", "gauge", "Lanes that work.",
      offsetof(ngx_http_concert_lane_stats_t, busy), 0 },

    { "concert_lane_down", "gauge", "Workers to whom the store is away.",
      offsetof(ngx_http_concert_lane_stats_t, down), 0 },

    { "concert_lane_calls_total", "counter", "Calls that were sent.",
      offsetof(ngx_http_concert_lane_stats_t, calls), 0 },

    { "concert_lane_failed_calls_total", "counter",
      "Calls that were sent and got no result.",
      offsetof(ngx_http_concert_lane_stats_t, failed), 0 },

    { "concert_lane_refused_calls_total", "counter",
      "Calls that were never sent.",
      offsetof(ngx_http_concert_lane_stats_t, refused), 0 },

    { "concert_lane_busy_seconds_total", "counter", "Time that lanes worked.",
      offsetof(ngx_http_concert_lane_stats_t, busy_ms), 1 },

    { NULL, NULL, NULL, 0, 0 }
};


ngx_http_concert_route_t  ngx_http_concert_metrics_route = {
    ngx_string("metrics"),
    {
        { NGX_HTTP_GET,
          NGX_HTTP_CONCERT_OPERATORS,
          NULL,
          ngx_http_concert_metrics_start,
          NULL }
    }
};


static ngx_int_t
ngx_http_concert_metrics_start(ngx_http_concert_call_t *call)
{
    ngx_http_concert_json_t   out;
    ngx_http_concert_sale_t  *sale;
    ngx_http_concert_zone_t  *zone;

    sale = call->sale;
    zone = sale->shm_zone->data;

    ngx_http_concert_zone_bury(zone);
    ngx_http_concert_call_json(call, &out, 16384);

    ngx_http_concert_metrics_requests(&out, sale);
    ngx_http_concert_metrics_lanes(&out, sale);
    ngx_http_concert_metrics_queue(&out, sale);
    ngx_http_concert_metrics_catalog(&out, sale);
    ngx_http_concert_metrics_workers(&out, zone);

    if (sale->groups[NGX_HTTP_CONCERT_GATEWAY]->conf) {
        ngx_http_concert_metrics_cards(&out, &sale->database->cards);
        ngx_http_concert_metrics_breaker(&out, sale->guard);
    }

    ngx_http_concert_call_body(call, &out);
    ngx_str_set(&call->reply.type, "text/plain; version=0.0.4");

    return NGX_DECLINED;
}


static void
ngx_http_concert_metrics_requests(ngx_http_concert_json_t *out,
    const ngx_http_concert_sale_t *sale)
{
    ngx_uint_t                  i, class;
    ngx_http_concert_latency_t  latency;

    ngx_http_concert_print(out,
        "# HELP concert_request_duration_seconds Time from the first byte of "
        "a request to its answer.\n"
        "# TYPE concert_request_duration_seconds histogram\n");

    for (i = 0; ngx_http_concert_routes[i]; i++) {
        for (class = 0; class < NGX_HTTP_CONCERT_CLASSES; class++) {
            ngx_http_concert_zone_latency(sale->part, i, class, &latency);

            ngx_http_concert_metrics_latency(out,
                                             &ngx_http_concert_routes[i]->name,
                                             class + 1, &latency);
        }
    }
}


static void
ngx_http_concert_metrics_latency(ngx_http_concert_json_t *out,
    const ngx_str_t *route, ngx_uint_t class,
    const ngx_http_concert_latency_t *latency)
{
    uint64_t    n;
    ngx_uint_t  i, bound;

    if (ngx_http_concert_zone_count(latency) == 0) {
        return;
    }

    n = 0;

    for (i = 0; i < NGX_HTTP_CONCERT_LATENCY_BUCKETS - 1; i++) {
        n += latency->bucket[i];
        bound = ngx_http_concert_latency_bounds[i];

        ngx_http_concert_print(out,
            "concert_request_duration_seconds_bucket{route=\"%V\","
            "status=\"%uixx\",le=\"%ui.%03ui\"} %uL\n",
            route, class, bound / 1000, bound % 1000, n);
    }

    n += latency->bucket[i];

    ngx_http_concert_print(out,
        "concert_request_duration_seconds_bucket{route=\"%V\","
        "status=\"%uixx\",le=\"+Inf\"} %uL\n"
        "concert_request_duration_seconds_sum{route=\"%V\","
        "status=\"%uixx\"} %uA.%03uA\n"
        "concert_request_duration_seconds_count{route=\"%V\","
        "status=\"%uixx\"} %uL\n",
        route, class, n,
        route, class, latency->sum_ms / 1000, latency->sum_ms % 1000,
        route, class, n);
}


/* the lines of a metric stand together, as the format wants it */

static void
ngx_http_concert_metrics_lanes(ngx_http_concert_json_t *out,
    const ngx_http_concert_sale_t *sale)
{
    ngx_uint_t                           i;
    ngx_http_concert_group_t            *group;
    const ngx_http_concert_lane_stat_t  *stat;
    ngx_http_concert_lane_stats_t        stats[NGX_HTTP_CONCERT_GROUPS];

    ngx_http_concert_print(out,
        "# HELP concert_lanes Lanes of all workers.\n"
        "# TYPE concert_lanes gauge\n");

    for (i = 0; i < NGX_HTTP_CONCERT_GROUPS; i++) {
        group = sale->groups[i];
        ngx_http_concert_zone_lanes(group->part, &stats[i]);

        if (group->nlanes == 0) {
            continue;
        }

        ngx_http_concert_print(out, "concert_lanes{group=\"%V\"} %ui\n",
                               &group->name,
                               group->nlanes * sale->conf->workers);
    }

    for (stat = ngx_http_concert_lane_stats; stat->name; stat++) {
        ngx_http_concert_print(out, "# HELP %s %s\n# TYPE %s %s\n",
                               stat->name, stat->help, stat->name,
                               stat->type);

        for (i = 0; i < NGX_HTTP_CONCERT_GROUPS; i++) {
            group = sale->groups[i];

            if (group->nlanes) {
                ngx_http_concert_metrics_stat(out, stat, &group->name,
                                              &stats[i]);
            }
        }
    }

    ngx_http_concert_print(out,
        "# HELP concert_lane_batch_size Calls that went to a store "
        "together.\n"
        "# TYPE concert_lane_batch_size histogram\n");

    for (i = 0; i < NGX_HTTP_CONCERT_GROUPS; i++) {
        group = sale->groups[i];

        if (group->nlanes) {
            ngx_http_concert_metrics_batches(out, &group->name, &stats[i]);
        }
    }
}


static void
ngx_http_concert_metrics_stat(ngx_http_concert_json_t *out,
    const ngx_http_concert_lane_stat_t *stat, const ngx_str_t *group,
    const ngx_http_concert_lane_stats_t *stats)
{
    ngx_atomic_uint_t  n;

    n = *(ngx_atomic_t *) ((u_char *) stats + stat->offset);

    if (stat->ms) {
        ngx_http_concert_print(out,
                               "%s{group=\"%V\"} %uA.%03uA\n",
                               stat->name, group, n / 1000, n % 1000);
        return;
    }

    ngx_http_concert_print(out, "%s{group=\"%V\"} %uA\n", stat->name,
                           group, n);
}


static void
ngx_http_concert_metrics_batches(ngx_http_concert_json_t *out,
    const ngx_str_t *group, const ngx_http_concert_lane_stats_t *stats)
{
    uint64_t    n;
    ngx_uint_t  i;

    n = 0;

    for (i = 0; i < NGX_HTTP_CONCERT_BATCH_BUCKETS - 1; i++) {
        n += stats->batch_size[i];

        ngx_http_concert_print(out,
            "concert_lane_batch_size_bucket{group=\"%V\",le=\"%ui\"} %uL\n",
            group, (ngx_uint_t) 1 << i, n);
    }

    ngx_http_concert_print(out,
        "concert_lane_batch_size_bucket{group=\"%V\",le=\"+Inf\"} %uA\n"
        "concert_lane_batch_size_sum{group=\"%V\"} %uA\n"
        "concert_lane_batch_size_count{group=\"%V\"} %uA\n",
        group, stats->batches, group, stats->calls, group, stats->batches);
}


static void
ngx_http_concert_metrics_queue(ngx_http_concert_json_t *out,
    const ngx_http_concert_sale_t *sale)
{
    const ngx_http_concert_queue_state_t  *queue;

    queue = sale->queue->state;

    ngx_http_concert_print(out,
        "# HELP concert_queue_waiting Tickets that wait.\n"
        "# TYPE concert_queue_waiting gauge\n"
        "concert_queue_waiting %uA\n"
        "# HELP concert_queue_active Users who are in.\n"
        "# TYPE concert_queue_active gauge\n"
        "concert_queue_active %uA\n"
        "# HELP concert_queue_called Users who were let in and have not come "
        "yet.\n"
        "# TYPE concert_queue_called gauge\n"
        "concert_queue_called %uA\n"
        "# HELP concert_event_streams Users who are told their position.\n"
        "# TYPE concert_event_streams gauge\n"
        "concert_event_streams %uL\n"
        "# HELP concert_queue_capacity How many may be in at once.\n"
        "# TYPE concert_queue_capacity gauge\n"
        "concert_queue_capacity %uA\n"
        "# HELP concert_queue_paused Whether nobody is let in.\n"
        "# TYPE concert_queue_paused gauge\n"
        "concert_queue_paused %uA\n"
        "# HELP concert_queue_serving The last number let in.\n"
        "# TYPE concert_queue_serving gauge\n"
        "concert_queue_serving %uA\n"
        "# HELP concert_queue_admitted_total Tickets let in by the job.\n"
        "# TYPE concert_queue_admitted_total counter\n"
        "concert_queue_admitted_total %uA\n"
        "# HELP concert_queue_missed_total Tickets let in whose users did not "
        "come in time.\n"
        "# TYPE concert_queue_missed_total counter\n"
        "concert_queue_missed_total %uA\n"
        "# HELP concert_queue_forgotten_total Tickets that waited and whose "
        "users asked no more.\n"
        "# TYPE concert_queue_forgotten_total counter\n"
        "concert_queue_forgotten_total %uA\n"
        "# HELP concert_holds_expired_total Holds that ran out.\n"
        "# TYPE concert_holds_expired_total counter\n"
        "concert_holds_expired_total %uA\n",
        queue->waiting, queue->active, queue->called,
        ngx_http_concert_zone_sum(sale->part,
                               offsetof(ngx_http_concert_slot_t, streams)),
        queue->capacity, queue->paused, queue->serving, queue->admitted,
        queue->missed, queue->forgotten, sale->database->expired);
}


static void
ngx_http_concert_metrics_catalog(ngx_http_concert_json_t *out,
    const ngx_http_concert_sale_t *sale)
{
    ngx_http_concert_print(out,
        "# HELP concert_catalog_hits_total Pages of the catalog that were "
        "sent from memory.\n"
        "# TYPE concert_catalog_hits_total counter\n"
        "concert_catalog_hits_total %uL\n"
        "# HELP concert_catalog_misses_total Pages of the catalog that a "
        "request asked PostgreSQL for.\n"
        "# TYPE concert_catalog_misses_total counter\n"
        "concert_catalog_misses_total %uL\n",
        ngx_http_concert_zone_sum(sale->part,
                               offsetof(ngx_http_concert_slot_t, known_pages)),
        ngx_http_concert_zone_sum(sale->part,
                               offsetof(ngx_http_concert_slot_t, asked_pages)));
}


static void
ngx_http_concert_metrics_workers(ngx_http_concert_json_t *out,
    ngx_http_concert_zone_t *zone)
{
    ngx_http_concert_print(out,
        "# HELP concert_workers_died_total Workers that crashed or were "
        "killed.\n"
        "# TYPE concert_workers_died_total counter\n"
        "concert_workers_died_total %uL\n",
        ngx_http_concert_zone_died(zone));
}


static void
ngx_http_concert_metrics_cards(ngx_http_concert_json_t *out,
    const ngx_http_concert_cards_state_t *cards)
{
    ngx_http_concert_print(out,
        "# HELP concert_payments_pending Payments by card that the gateway "
        "has not settled.\n"
        "# TYPE concert_payments_pending gauge\n"
        "concert_payments_pending %uA\n"
        "# HELP concert_payments_pending_age_seconds Age of the oldest of "
        "them.\n"
        "# TYPE concert_payments_pending_age_seconds gauge\n"
        "concert_payments_pending_age_seconds %uA.%03uA\n"
        "# HELP concert_payments_refunding Payments by card that the gateway "
        "has not given back.\n"
        "# TYPE concert_payments_refunding gauge\n"
        "concert_payments_refunding %uA\n"
        "# HELP concert_payments_refunding_age_seconds Age of the oldest of "
        "them.\n"
        "# TYPE concert_payments_refunding_age_seconds gauge\n"
        "concert_payments_refunding_age_seconds %uA.%03uA\n"
        "# HELP concert_payments_deposits Payments that wait for a deposit "
        "into a virtual account.\n"
        "# TYPE concert_payments_deposits gauge\n"
        "concert_payments_deposits %uA\n",
        cards->pending, cards->pending_age / 1000, cards->pending_age % 1000,
        cards->refunding, cards->refunding_age / 1000,
        cards->refunding_age % 1000, cards->deposits);
}


/* named after Resilience4j's */

static void
ngx_http_concert_metrics_breaker(ngx_http_concert_json_t *out,
    ngx_http_concert_guard_t *guard)
{
    ngx_uint_t                           i;
    ngx_http_concert_breaker_snapshot_t  s;

    ngx_http_concert_guard_snapshot(guard, &s);

    ngx_http_concert_print(out,
        "# HELP concert_circuitbreaker_state Whether the breaker of the "
        "payment gateway is in this state.\n"
        "# TYPE concert_circuitbreaker_state gauge\n");

    for (i = 0; i < NGX_HTTP_CONCERT_BREAKER_STATES; i++) {
        ngx_http_concert_print(out,
            "concert_circuitbreaker_state{state=\"%s\"} %d\n",
            ngx_http_concert_breaker_states[i], s.state == i);
    }

    ngx_http_concert_metrics_rate(out, "failure_rate", s.failure_rate);
    ngx_http_concert_metrics_rate(out, "slow_call_rate", s.slow_call_rate);

    ngx_http_concert_print(out,
        "# HELP concert_circuitbreaker_buffered_calls Calls in the window.\n"
        "# TYPE concert_circuitbreaker_buffered_calls gauge\n"
        "concert_circuitbreaker_buffered_calls{kind=\"successful\"} %uL\n"
        "concert_circuitbreaker_buffered_calls{kind=\"failed\"} %uL\n"
        "# HELP concert_circuitbreaker_calls_total Calls by their end.\n"
        "# TYPE concert_circuitbreaker_calls_total counter\n"
        "concert_circuitbreaker_calls_total{kind=\"successful\"} %uL\n"
        "concert_circuitbreaker_calls_total{kind=\"failed\"} %uL\n"
        "concert_circuitbreaker_calls_total{kind=\"slow_successful\"} %uL\n"
        "concert_circuitbreaker_calls_total{kind=\"slow_failed\"} %uL\n"
        "concert_circuitbreaker_calls_total{kind=\"ignored\"} %uL\n"
        "# HELP concert_circuitbreaker_not_permitted_calls_total Calls that "
        "were refused.\n"
        "# TYPE concert_circuitbreaker_not_permitted_calls_total counter\n"
        "concert_circuitbreaker_not_permitted_calls_total %uL\n",
        s.successful, s.failed, s.all_successful, s.all_failed,
        s.all_slow_successful, s.all_slow_failed, s.all_ignored,
        s.all_not_permitted);
}


/* in percent; -1: not known before the minimum of calls */

static void
ngx_http_concert_metrics_rate(ngx_http_concert_json_t *out, const char *name,
    float rate)
{
    ngx_http_concert_print(out,
        "# HELP concert_circuitbreaker_%s In percent; -1 is not known.\n"
        "# TYPE concert_circuitbreaker_%s gauge\n"
        "concert_circuitbreaker_%s %.2f\n", name, name, name, (double) rate);
}
