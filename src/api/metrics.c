
/*
 * For operators: GET /metrics in the text format of Prometheus, of all sales.
 * Where there is more than one, each line says of which it is.  Read from
 * shared memory alone, so it answers when every store is away.
 */

#include "api/api.h"


/* of a sale: its queue, its database, or the sum over its slots */

typedef enum {
    NGX_HTTP_CONCERT_STAT_QUEUE = 0,
    NGX_HTTP_CONCERT_STAT_DATABASE,
    NGX_HTTP_CONCERT_STAT_CARDS,        /* the database's, of cards */
    NGX_HTTP_CONCERT_STAT_SLOTS
} ngx_http_concert_stat_e;


typedef struct {
    const char               *name;
    const char               *type;
    const char               *help;
    ngx_http_concert_stat_e   of;
    size_t                    offset;
    unsigned                  ms;        /* to be told in seconds */
} ngx_http_concert_stat_t;


/* the label of a sale: among others, and alone; "" where there is one sale */

typedef struct {
    ngx_str_t                 more;      /* ,sale="main" */
    ngx_str_t                 alone;     /* {sale="main"} */
    u_char                    text[2 * sizeof("{,sale=\"\"}") + 2 * 64];
} ngx_http_concert_label_t;


static ngx_int_t ngx_http_concert_metrics_start(
    ngx_http_concert_call_t *call);
static void ngx_http_concert_metrics_label(ngx_http_concert_label_t *label,
    const ngx_http_concert_main_conf_t *conf, const ngx_str_t *name);
static void ngx_http_concert_metrics_help(ngx_http_concert_json_t *out,
    const char *name, const char *type, const char *help);
static void ngx_http_concert_metrics_requests(ngx_http_concert_json_t *out,
    const ngx_http_concert_main_conf_t *conf);
static void ngx_http_concert_metrics_latency(ngx_http_concert_json_t *out,
    const ngx_str_t *route, ngx_uint_t class, const ngx_str_t *label,
    const ngx_http_concert_latency_t *latency);
static void ngx_http_concert_metrics_lanes(ngx_http_concert_json_t *out,
    const ngx_http_concert_main_conf_t *conf);
static void ngx_http_concert_metrics_lanes_stat(ngx_http_concert_json_t *out,
    const ngx_http_concert_main_conf_t *conf,
    const ngx_http_concert_stat_t *stat);
static void ngx_http_concert_metrics_value(ngx_http_concert_json_t *out,
    uint64_t n, unsigned ms);
static void ngx_http_concert_metrics_batches(ngx_http_concert_json_t *out,
    const ngx_http_concert_group_t *group, const ngx_str_t *label);
static void ngx_http_concert_metrics_stats(ngx_http_concert_json_t *out,
    const ngx_http_concert_main_conf_t *conf,
    const ngx_http_concert_stat_t *stat);
static uint64_t ngx_http_concert_metrics_read(
    const ngx_http_concert_sale_t *sale, const ngx_http_concert_stat_t *stat);
static void ngx_http_concert_metrics_workers(ngx_http_concert_json_t *out,
    ngx_http_concert_sale_t *main);
static ngx_uint_t ngx_http_concert_metrics_cards(
    const ngx_http_concert_sale_t *sale);
static void ngx_http_concert_metrics_breakers(ngx_http_concert_call_t *call,
    ngx_http_concert_json_t *out);
static void ngx_http_concert_metrics_breaker_stat(
    ngx_http_concert_json_t *out, const ngx_http_concert_main_conf_t *conf,
    const ngx_http_concert_breaker_snapshot_t *snapshots, ngx_uint_t stat);
static void ngx_http_concert_metrics_breaker(ngx_http_concert_json_t *out,
    const ngx_http_concert_breaker_snapshot_t *s, ngx_uint_t stat,
    const ngx_http_concert_label_t *label);


static const ngx_http_concert_stat_t  ngx_http_concert_lane_stats[] = {

    { "concert_lane_waiting_calls", "gauge", "Calls that wait for a lane.",
      0, offsetof(ngx_http_concert_lane_stats_t, waiting), 0 },

    { "concert_lanes_busy", "gauge", "Lanes that work.",
      0, offsetof(ngx_http_concert_lane_stats_t, busy), 0 },

    { "concert_lane_down", "gauge", "Workers to whom the store is away.",
      0, offsetof(ngx_http_concert_lane_stats_t, down), 0 },

    { "concert_lane_calls_total", "counter", "Calls that were sent.",
      0, offsetof(ngx_http_concert_lane_stats_t, calls), 0 },

    { "concert_lane_failed_calls_total", "counter",
      "Calls that were sent and got no result.",
      0, offsetof(ngx_http_concert_lane_stats_t, failed), 0 },

    { "concert_lane_refused_calls_total", "counter",
      "Calls that were never sent.",
      0, offsetof(ngx_http_concert_lane_stats_t, refused), 0 },

    { "concert_lane_busy_seconds_total", "counter", "Time that lanes worked.",
      0, offsetof(ngx_http_concert_lane_stats_t, busy_ms), 1 },

    { NULL, NULL, NULL, 0, 0, 0 }
};


static const ngx_http_concert_stat_t  ngx_http_concert_sale_stats[] = {

    { "concert_queue_waiting", "gauge", "Tickets that wait.",
      NGX_HTTP_CONCERT_STAT_QUEUE,
      offsetof(ngx_http_concert_queue_state_t, waiting), 0 },

    { "concert_queue_active", "gauge", "Users who are in.",
      NGX_HTTP_CONCERT_STAT_QUEUE,
      offsetof(ngx_http_concert_queue_state_t, active), 0 },

    { "concert_queue_called", "gauge",
      "Users who were let in and have not come yet.",
      NGX_HTTP_CONCERT_STAT_QUEUE,
      offsetof(ngx_http_concert_queue_state_t, called), 0 },

    { "concert_event_streams", "gauge",
      "Users who are told their position.",
      NGX_HTTP_CONCERT_STAT_SLOTS,
      offsetof(ngx_http_concert_slot_t, streams), 0 },

    { "concert_queue_capacity", "gauge", "How many may be in at once.",
      NGX_HTTP_CONCERT_STAT_QUEUE,
      offsetof(ngx_http_concert_queue_state_t, capacity), 0 },

    { "concert_queue_paused", "gauge", "Whether nobody is let in.",
      NGX_HTTP_CONCERT_STAT_QUEUE,
      offsetof(ngx_http_concert_queue_state_t, paused), 0 },

    { "concert_queue_serving", "gauge", "The last number let in.",
      NGX_HTTP_CONCERT_STAT_QUEUE,
      offsetof(ngx_http_concert_queue_state_t, serving), 0 },

    { "concert_queue_admitted_total", "counter", "Tickets let in by the job.",
      NGX_HTTP_CONCERT_STAT_QUEUE,
      offsetof(ngx_http_concert_queue_state_t, admitted), 0 },

    { "concert_queue_missed_total", "counter",
      "Tickets let in whose users did not come in time.",
      NGX_HTTP_CONCERT_STAT_QUEUE,
      offsetof(ngx_http_concert_queue_state_t, missed), 0 },

    { "concert_queue_forgotten_total", "counter",
      "Tickets that waited and whose users asked no more.",
      NGX_HTTP_CONCERT_STAT_QUEUE,
      offsetof(ngx_http_concert_queue_state_t, forgotten), 0 },

    { "concert_holds_expired_total", "counter", "Holds that ran out.",
      NGX_HTTP_CONCERT_STAT_DATABASE,
      offsetof(ngx_http_concert_database_state_t, expired), 0 },

    { "concert_catalog_hits_total", "counter",
      "Pages of the catalog that were sent from memory.",
      NGX_HTTP_CONCERT_STAT_SLOTS,
      offsetof(ngx_http_concert_slot_t, known_pages), 0 },

    { "concert_catalog_misses_total", "counter",
      "Pages of the catalog that a request asked PostgreSQL for.",
      NGX_HTTP_CONCERT_STAT_SLOTS,
      offsetof(ngx_http_concert_slot_t, asked_pages), 0 },

    { "concert_payments_pending", "gauge",
      "Payments by card that the gateway has not settled.",
      NGX_HTTP_CONCERT_STAT_CARDS,
      offsetof(ngx_http_concert_database_state_t, cards.pending), 0 },

    { "concert_payments_pending_age_seconds", "gauge",
      "Age of the oldest of them.",
      NGX_HTTP_CONCERT_STAT_CARDS,
      offsetof(ngx_http_concert_database_state_t, cards.pending_age), 1 },

    { "concert_payments_refunding", "gauge",
      "Payments by card that the gateway has not given back.",
      NGX_HTTP_CONCERT_STAT_CARDS,
      offsetof(ngx_http_concert_database_state_t, cards.refunding), 0 },

    { "concert_payments_refunding_age_seconds", "gauge",
      "Age of the oldest of them.",
      NGX_HTTP_CONCERT_STAT_CARDS,
      offsetof(ngx_http_concert_database_state_t, cards.refunding_age), 1 },

    { "concert_payments_deposits", "gauge",
      "Payments that wait for a deposit into a virtual account.",
      NGX_HTTP_CONCERT_STAT_CARDS,
      offsetof(ngx_http_concert_database_state_t, cards.deposits), 0 },

    { NULL, NULL, NULL, 0, 0, 0 }
};


/* named after Resilience4j's */

enum {
    NGX_HTTP_CONCERT_METRIC_STATE = 0,
    NGX_HTTP_CONCERT_METRIC_FAILURE_RATE,
    NGX_HTTP_CONCERT_METRIC_SLOW_RATE,
    NGX_HTTP_CONCERT_METRIC_BUFFERED,
    NGX_HTTP_CONCERT_METRIC_CALLS,
    NGX_HTTP_CONCERT_METRIC_NOT_PERMITTED,
    NGX_HTTP_CONCERT_METRICS
};


static const struct {
    const char  *name;
    const char  *type;
    const char  *help;
} ngx_http_concert_breaker_stats[NGX_HTTP_CONCERT_METRICS] = {

    [NGX_HTTP_CONCERT_METRIC_STATE] =
        { "concert_circuitbreaker_state", "gauge",
          "Whether the breaker of the payment gateway is in this state." },

    [NGX_HTTP_CONCERT_METRIC_FAILURE_RATE] =
        { "concert_circuitbreaker_failure_rate", "gauge",
          "In percent; -1 is not known." },

    [NGX_HTTP_CONCERT_METRIC_SLOW_RATE] =
        { "concert_circuitbreaker_slow_call_rate", "gauge",
          "In percent; -1 is not known." },

    [NGX_HTTP_CONCERT_METRIC_BUFFERED] =
        { "concert_circuitbreaker_buffered_calls", "gauge",
          "Calls in the window." },

    [NGX_HTTP_CONCERT_METRIC_CALLS] =
        { "concert_circuitbreaker_calls_total", "counter",
          "Calls by their end." },

    [NGX_HTTP_CONCERT_METRIC_NOT_PERMITTED] =
        { "concert_circuitbreaker_not_permitted_calls_total", "counter",
          "Calls that were refused." }
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
    ngx_uint_t                      i;
    ngx_http_concert_json_t         out;
    ngx_http_concert_sale_t       **sales;
    ngx_http_concert_main_conf_t   *conf;
    const ngx_http_concert_stat_t  *stat;

    conf = call->sale->conf;
    sales = conf->sales.elts;

    for (i = 0; i < conf->sales.nelts; i++) {
        ngx_http_concert_zone_bury(sales[i]->shm_zone->data);
    }

    ngx_http_concert_call_json(call, &out, 16384);

    ngx_http_concert_metrics_requests(&out, conf);
    ngx_http_concert_metrics_lanes(&out, conf);

    for (stat = ngx_http_concert_sale_stats; stat->name; stat++) {
        ngx_http_concert_metrics_stats(&out, conf, stat);
    }

    ngx_http_concert_metrics_workers(&out, sales[0]);
    ngx_http_concert_metrics_breakers(call, &out);

    ngx_http_concert_call_body(call, &out);
    ngx_str_set(&call->reply.type, "text/plain; version=0.0.4");

    return NGX_DECLINED;
}


static void
ngx_http_concert_metrics_label(ngx_http_concert_label_t *label,
    const ngx_http_concert_main_conf_t *conf, const ngx_str_t *name)
{
    u_char  *p;

    ngx_str_null(&label->more);
    ngx_str_null(&label->alone);

    if (conf->sales.nelts == 1) {
        return;
    }

    label->more.data = label->text;
    p = ngx_sprintf(label->text, ",sale=\"%V\"", name);
    label->more.len = p - label->more.data;

    label->alone.data = p;
    label->alone.len = ngx_sprintf(p, "{sale=\"%V\"}", name) - p;
}


static void
ngx_http_concert_metrics_help(ngx_http_concert_json_t *out, const char *name,
    const char *type, const char *help)
{
    ngx_http_concert_print(out, "# HELP %s %s\n# TYPE %s %s\n", name, help,
                           name, type);
}


/* the lines of a metric stand together, as the format wants it */

static void
ngx_http_concert_metrics_requests(ngx_http_concert_json_t *out,
    const ngx_http_concert_main_conf_t *conf)
{
    ngx_uint_t                    i, k, class;
    ngx_http_concert_sale_t     **sales;
    ngx_http_concert_label_t      label;
    ngx_http_concert_latency_t    latency;

    ngx_http_concert_metrics_help(out, "concert_request_duration_seconds",
                                  "histogram",
                                  "Time from the first byte of a request to "
                                  "its answer.");
    sales = conf->sales.elts;

    for (k = 0; k < conf->sales.nelts; k++) {
        ngx_http_concert_metrics_label(&label, conf, &sales[k]->name);

        for (i = 0; ngx_http_concert_routes[i]; i++) {
            for (class = 0; class < NGX_HTTP_CONCERT_CLASSES; class++) {
                ngx_http_concert_zone_latency(sales[k]->part, i, class,
                                              &latency);
                ngx_http_concert_metrics_latency(out,
                                             &ngx_http_concert_routes[i]->name,
                                             class + 1, &label.more, &latency);
            }
        }
    }
}


static void
ngx_http_concert_metrics_latency(ngx_http_concert_json_t *out,
    const ngx_str_t *route, ngx_uint_t class, const ngx_str_t *label,
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
            "status=\"%uixx\"%V,le=\"%ui.%03ui\"} %uL\n",
            route, class, label, bound / 1000, bound % 1000, n);
    }

    n += latency->bucket[i];

    ngx_http_concert_print(out,
        "concert_request_duration_seconds_bucket{route=\"%V\","
        "status=\"%uixx\"%V,le=\"+Inf\"} %uL\n"
        "concert_request_duration_seconds_sum{route=\"%V\","
        "status=\"%uixx\"%V} %uA.%03uA\n"
        "concert_request_duration_seconds_count{route=\"%V\","
        "status=\"%uixx\"%V} %uL\n",
        route, class, label, n,
        route, class, label, latency->sum_ms / 1000, latency->sum_ms % 1000,
        route, class, label, n);
}


/* of the first of the sales that have them */

static void
ngx_http_concert_metrics_lanes(ngx_http_concert_json_t *out,
    const ngx_http_concert_main_conf_t *conf)
{
    ngx_uint_t                       i;
    ngx_http_concert_group_t       **groups;
    ngx_http_concert_label_t         label;
    const ngx_http_concert_stat_t   *stat;

    groups = conf->groups.elts;

    ngx_http_concert_metrics_help(out, "concert_lanes", "gauge",
                                  "Lanes of all workers.");

    for (i = 0; i < conf->groups.nelts; i++) {
        if (groups[i]->nlanes) {
            ngx_http_concert_metrics_label(&label, conf, &groups[i]->sale);
            ngx_http_concert_print(out, "concert_lanes{group=\"%V\"%V} %ui\n",
                              &ngx_http_concert_group_names[groups[i]->kind],
                              &label.more, groups[i]->nlanes * conf->workers);
        }
    }

    for (stat = ngx_http_concert_lane_stats; stat->name; stat++) {
        ngx_http_concert_metrics_lanes_stat(out, conf, stat);
    }

    ngx_http_concert_metrics_help(out, "concert_lane_batch_size", "histogram",
                                  "Calls that went to a store together.");

    for (i = 0; i < conf->groups.nelts; i++) {
        if (groups[i]->nlanes) {
            ngx_http_concert_metrics_label(&label, conf, &groups[i]->sale);
            ngx_http_concert_metrics_batches(out, groups[i], &label.more);
        }
    }
}


static void
ngx_http_concert_metrics_lanes_stat(ngx_http_concert_json_t *out,
    const ngx_http_concert_main_conf_t *conf,
    const ngx_http_concert_stat_t *stat)
{
    ngx_uint_t                       i;
    ngx_http_concert_group_t       **groups;
    ngx_http_concert_label_t         label;
    ngx_http_concert_lane_stats_t    stats;

    groups = conf->groups.elts;

    ngx_http_concert_metrics_help(out, stat->name, stat->type, stat->help);

    for (i = 0; i < conf->groups.nelts; i++) {

        if (groups[i]->nlanes == 0) {
            continue;
        }

        ngx_http_concert_zone_lanes(groups[i]->part, &stats);
        ngx_http_concert_metrics_label(&label, conf, &groups[i]->sale);

        ngx_http_concert_print(out, "%s{group=\"%V\"%V}", stat->name,
                               &ngx_http_concert_group_names[groups[i]->kind],
                               &label.more);
        ngx_http_concert_metrics_value(out,
                  *(ngx_atomic_t *) ((u_char *) &stats + stat->offset),
                  stat->ms);
    }
}


static void
ngx_http_concert_metrics_value(ngx_http_concert_json_t *out, uint64_t n,
    unsigned ms)
{
    if (ms) {
        ngx_http_concert_print(out, " %uL.%03uL\n", n / 1000, n % 1000);

    } else {
        ngx_http_concert_print(out, " %uL\n", n);
    }
}


static void
ngx_http_concert_metrics_batches(ngx_http_concert_json_t *out,
    const ngx_http_concert_group_t *group, const ngx_str_t *label)
{
    uint64_t                        n;
    ngx_uint_t                      i;
    const ngx_str_t                *name;
    ngx_http_concert_lane_stats_t   stats;

    n = 0;
    name = &ngx_http_concert_group_names[group->kind];

    ngx_http_concert_zone_lanes(group->part, &stats);

    for (i = 0; i < NGX_HTTP_CONCERT_BATCH_BUCKETS - 1; i++) {
        n += stats.batch_size[i];

        ngx_http_concert_print(out,
            "concert_lane_batch_size_bucket{group=\"%V\"%V,le=\"%ui\"} %uL\n",
            name, label, (ngx_uint_t) 1 << i, n);
    }

    ngx_http_concert_print(out,
        "concert_lane_batch_size_bucket{group=\"%V\"%V,le=\"+Inf\"} %uA\n"
        "concert_lane_batch_size_sum{group=\"%V\"%V} %uA\n"
        "concert_lane_batch_size_count{group=\"%V\"%V} %uA\n",
        name, label, stats.batches, name, label, stats.calls,
        name, label, stats.batches);
}


/* sales that have a queue or a database together tell the same of it */

static void
ngx_http_concert_metrics_stats(ngx_http_concert_json_t *out,
    const ngx_http_concert_main_conf_t *conf,
    const ngx_http_concert_stat_t *stat)
{
    ngx_uint_t                  i, told;
    ngx_http_concert_sale_t   **sales;
    ngx_http_concert_label_t    label;

    told = 0;
    sales = conf->sales.elts;

    for (i = 0; i < conf->sales.nelts; i++) {

        if (stat->of == NGX_HTTP_CONCERT_STAT_CARDS
            && !ngx_http_concert_metrics_cards(sales[i]))
        {
            continue;
        }

        if (told++ == 0) {
            ngx_http_concert_metrics_help(out, stat->name, stat->type,
                                          stat->help);
        }

        ngx_http_concert_metrics_label(&label, conf, &sales[i]->name);

        ngx_http_concert_print(out, "%s%V", stat->name, &label.alone);
        ngx_http_concert_metrics_value(out,
                               ngx_http_concert_metrics_read(sales[i], stat),
                               stat->ms);
    }
}


static uint64_t
ngx_http_concert_metrics_read(const ngx_http_concert_sale_t *sale,
    const ngx_http_concert_stat_t *stat)
{
    u_char  *data;

    switch (stat->of) {

    case NGX_HTTP_CONCERT_STAT_SLOTS:
        return ngx_http_concert_zone_sum(sale->part, stat->offset);

    case NGX_HTTP_CONCERT_STAT_QUEUE:
        data = (u_char *) sale->queue->state;
        break;

    default: /* NGX_HTTP_CONCERT_STAT_DATABASE, NGX_HTTP_CONCERT_STAT_CARDS */
        data = (u_char *) sale->database;
    }

    return *(ngx_atomic_t *) (data + stat->offset);
}


static void
ngx_http_concert_metrics_workers(ngx_http_concert_json_t *out,
    ngx_http_concert_sale_t *main)
{
    ngx_http_concert_metrics_help(out, "concert_workers_died_total", "counter",
                                  "Workers that crashed or were killed.");
    ngx_http_concert_print(out, "concert_workers_died_total %uL\n",
                           ngx_http_concert_zone_died(main->shm_zone->data));
}


static ngx_uint_t
ngx_http_concert_metrics_cards(const ngx_http_concert_sale_t *sale)
{
    return sale->groups[NGX_HTTP_CONCERT_GATEWAY]->conf != NULL;
}


/* each breaker is looked at once */

static void
ngx_http_concert_metrics_breakers(ngx_http_concert_call_t *call,
    ngx_http_concert_json_t *out)
{
    ngx_uint_t                             i, n, stat;
    ngx_http_concert_sale_t              **sales;
    ngx_http_concert_main_conf_t          *conf;
    ngx_http_concert_breaker_snapshot_t   *snapshots;

    n = 0;
    conf = call->sale->conf;
    sales = conf->sales.elts;

    snapshots = ngx_palloc(call->pool,
                           conf->sales.nelts
                           * sizeof(ngx_http_concert_breaker_snapshot_t));
    if (snapshots == NULL) {
        out->failed = 1;
        return;
    }

    for (i = 0; i < conf->sales.nelts; i++) {
        if (ngx_http_concert_metrics_cards(sales[i])) {
            ngx_http_concert_guard_snapshot(sales[i]->guard, &snapshots[i]);
            n++;
        }
    }

    for (stat = 0; n && stat < NGX_HTTP_CONCERT_METRICS; stat++) {
        ngx_http_concert_metrics_breaker_stat(out, conf, snapshots, stat);
    }
}


static void
ngx_http_concert_metrics_breaker_stat(ngx_http_concert_json_t *out,
    const ngx_http_concert_main_conf_t *conf,
    const ngx_http_concert_breaker_snapshot_t *snapshots, ngx_uint_t stat)
{
    ngx_uint_t                  i;
    ngx_http_concert_sale_t   **sales;
    ngx_http_concert_label_t    label;

    sales = conf->sales.elts;

    ngx_http_concert_metrics_help(out,
                                  ngx_http_concert_breaker_stats[stat].name,
                                  ngx_http_concert_breaker_stats[stat].type,
                                  ngx_http_concert_breaker_stats[stat].help);

    for (i = 0; i < conf->sales.nelts; i++) {
        if (ngx_http_concert_metrics_cards(sales[i])) {
            ngx_http_concert_metrics_label(&label, conf, &sales[i]->name);
            ngx_http_concert_metrics_breaker(out, &snapshots[i], stat, &label);
        }
    }
}


/* rates in percent; -1: not known before the minimum of calls */

static void
ngx_http_concert_metrics_breaker(ngx_http_concert_json_t *out,
    const ngx_http_concert_breaker_snapshot_t *s, ngx_uint_t stat,
    const ngx_http_concert_label_t *label)
{
    ngx_uint_t        i;
    const char       *name;
    const ngx_str_t  *more;

    name = ngx_http_concert_breaker_stats[stat].name;
    more = &label->more;

    switch (stat) {

    case NGX_HTTP_CONCERT_METRIC_STATE:
        for (i = 0; i < NGX_HTTP_CONCERT_BREAKER_STATES; i++) {
            ngx_http_concert_print(out, "%s{state=\"%s\"%V} %d\n", name,
                                   ngx_http_concert_breaker_states[i], more,
                                   s->state == i);
        }

        break;

    case NGX_HTTP_CONCERT_METRIC_FAILURE_RATE:
        ngx_http_concert_print(out, "%s%V %.2f\n", name, &label->alone,
                               (double) s->failure_rate);
        break;

    case NGX_HTTP_CONCERT_METRIC_SLOW_RATE:
        ngx_http_concert_print(out, "%s%V %.2f\n", name, &label->alone,
                               (double) s->slow_call_rate);
        break;

    case NGX_HTTP_CONCERT_METRIC_BUFFERED:
        ngx_http_concert_print(out,
            "%s{kind=\"successful\"%V} %uL\n%s{kind=\"failed\"%V} %uL\n",
            name, more, s->successful, name, more, s->failed);
        break;

    case NGX_HTTP_CONCERT_METRIC_CALLS:
        ngx_http_concert_print(out,
            "%s{kind=\"successful\"%V} %uL\n%s{kind=\"failed\"%V} %uL\n"
            "%s{kind=\"slow_successful\"%V} %uL\n"
            "%s{kind=\"slow_failed\"%V} %uL\n%s{kind=\"ignored\"%V} %uL\n",
            name, more, s->all_successful, name, more, s->all_failed,
            name, more, s->all_slow_successful,
            name, more, s->all_slow_failed, name, more, s->all_ignored);
        break;

    default: /* NGX_HTTP_CONCERT_METRIC_NOT_PERMITTED */
        ngx_http_concert_print(out, "%s%V %uL\n", name, &label->alone,
                               s->all_not_permitted);
    }
}
