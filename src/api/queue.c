
/*
 * For operators: GET /queue says what the queue is set to, PATCH /queue (RFC
 * 7396) sets it: {"paused": true, "rate": 50, "capacity": 500}.  It is kept in
 * Redis, so that all instances follow and a reload changes nothing; null goes
 * back to nginx.conf.
 */

#include "api/api.h"


/* the script's parameters: a number, "-" to go back, "" to leave it */

typedef struct {
    ngx_str_t    paused;
    ngx_str_t    rate;       /* in 1000 s */
    ngx_str_t    capacity;
    ngx_str_t    who;        /* for the log */

    int64_t      is_paused;  /* as it is now */
    int64_t      set_rate;   /* -1: as in nginx.conf */
    int64_t      set_capacity;
} ngx_http_concert_operate_t;


static ngx_int_t ngx_http_concert_queue_parse(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, json_t *body);
static ngx_int_t ngx_http_concert_queue_member(ngx_http_concert_call_t *call,
    json_t *body, const char *name, int64_t max, int64_t unit,
    ngx_str_t *param);
static ngx_int_t ngx_http_concert_queue_who(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, ngx_http_concert_operate_t *operate);
static ngx_int_t ngx_http_concert_queue_start(ngx_http_concert_call_t *call);
static void ngx_http_concert_queue_set_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);
static void ngx_http_concert_queue_set_done(ngx_http_concert_call_t *call);


static const ngx_http_concert_op_t  ngx_http_concert_operate = {
    "operate", NGX_HTTP_CONCERT_REDIS, NULL, 1
};


ngx_http_concert_route_t  ngx_http_concert_queue_route = {
    ngx_string("queue"),
    {
        { NGX_HTTP_GET,
          NGX_HTTP_CONCERT_NEEDS_REDIS|NGX_HTTP_CONCERT_OPERATORS,
          ngx_http_concert_queue_parse,
          ngx_http_concert_queue_start,
          NULL },

        { NGX_HTTP_PATCH,
          NGX_HTTP_CONCERT_NEEDS_REDIS|NGX_HTTP_CONCERT_BODY
          |NGX_HTTP_CONCERT_TYPED|NGX_HTTP_CONCERT_OPERATORS,
          ngx_http_concert_queue_parse,
          ngx_http_concert_queue_start,
          NULL }
    }
};


static ngx_int_t
ngx_http_concert_queue_parse(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, json_t *body)
{
    json_t                      *paused;
    ngx_int_t                    rc;
    ngx_http_concert_operate_t  *operate;

    operate = ngx_pcalloc(call->pool, sizeof(ngx_http_concert_operate_t));
    if (operate == NULL) {
        return NGX_ERROR;
    }

    call->data = operate;

    if (body == NULL) {
        return NGX_OK;
    }

    paused = json_object_get(body, "paused");

    if (paused && !json_is_boolean(paused)) {
        return ngx_http_concert_bad_request(call, "paused",
                                            "must be true or false");
    }

    if (paused) {
        ngx_str_set(&operate->paused, "1");

        if (json_is_false(paused)) {
            ngx_str_set(&operate->paused, "0");
        }
    }

    rc = ngx_http_concert_queue_member(call, body, "rate",
                                       NGX_HTTP_CONCERT_MAX_RATE, 1000,
                                       &operate->rate);
    if (rc == NGX_OK) {
        rc = ngx_http_concert_queue_member(call, body, "capacity",
                                           NGX_HTTP_CONCERT_MAX_CAPACITY, 1,
                                           &operate->capacity);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    if (operate->paused.len + operate->rate.len + operate->capacity.len == 0) {
        ngx_http_concert_call_fail(call, "invalid_request",
            "Nothing to set: write paused, rate or capacity.");
        return NGX_DECLINED;
    }

    return ngx_http_concert_queue_who(r, call, operate);
}


/* of 1 to max, null, or not there */

static ngx_int_t
ngx_http_concert_queue_member(ngx_http_concert_call_t *call, json_t *body,
    const char *name, int64_t max, int64_t unit, ngx_str_t *param)
{
    json_t      *member;
    int64_t      value;
    const char  *wrong;

    member = json_object_get(body, name);

    if (member == NULL) {
        return NGX_OK;
    }

    if (json_is_null(member)) {
        ngx_str_set(param, "-");
        return NGX_OK;
    }

    wrong = ngx_http_concert_json_member(body, name, 1, max, &value);
    if (wrong) {
        return ngx_http_concert_bad_request(call, name, wrong);
    }

    param->data = ngx_pnalloc(call->pool, NGX_INT64_LEN);
    if (param->data == NULL) {
        return NGX_ERROR;
    }

    param->len = ngx_sprintf(param->data, "%L", value * unit) - param->data;

    return NGX_OK;
}


/* from where, and by whom if nginx has asked (auth_basic) */

static ngx_int_t
ngx_http_concert_queue_who(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, ngx_http_concert_operate_t *operate)
{
    u_char     *p;
    ngx_str_t  *address, *user, *who;

    address = &r->connection->addr_text;
    user = &r->headers_in.user;
    who = &operate->who;

    p = ngx_pnalloc(call->pool, address->len + user->len + sizeof(" ()"));
    if (p == NULL) {
        return NGX_ERROR;
    }

    who->data = p;
    who->len = (user->len ? ngx_sprintf(p, "%V (%V)", address, user)
                          : ngx_sprintf(p, "%V", address))
               - p;

    return NGX_OK;
}


static ngx_int_t
ngx_http_concert_queue_start(ngx_http_concert_call_t *call)
{
    ngx_http_concert_operate_t  *operate;

    operate = call->data;

    ngx_http_concert_call_step(call, &ngx_http_concert_operate,
                               ngx_http_concert_queue_set_read);

    if (ngx_http_concert_queue_params(call) != NGX_OK
        || ngx_http_concert_call_string(call, &operate->paused) != NGX_OK
        || ngx_http_concert_call_string(call, &operate->rate) != NGX_OK
        || ngx_http_concert_call_string(call, &operate->capacity) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_concert_run(call, ngx_http_concert_queue_set_done);
}


static void
ngx_http_concert_queue_set_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    ngx_http_concert_operate_t  *operate;

    operate = call->data;

    ngx_http_concert_queue_read(call, res);

    operate->is_paused = res->integer(res, 0, NGX_HTTP_CONCERT_QUEUE_OWN);
    operate->set_rate = res->integer(res, 0, NGX_HTTP_CONCERT_QUEUE_OWN + 1);
    operate->set_capacity = res->integer(res, 0,
                                         NGX_HTTP_CONCERT_QUEUE_OWN + 2);
}


static void
ngx_http_concert_queue_set_done(ngx_http_concert_call_t *call)
{
    int64_t                         rate, capacity;
    ngx_http_concert_json_t         json;
    ngx_http_concert_operate_t     *operate;
    ngx_http_concert_queue_t       *queue;

    if (!ngx_http_concert_succeeded(call)) {
        ngx_http_concert_answer(call);
        return;
    }

    ngx_http_concert_queue_learn(call);

    operate = call->data;
    queue = call->sale->queue;

    rate = operate->set_rate < 0 ? (int64_t) queue->rate : operate->set_rate;
    capacity = operate->set_capacity < 0 ? (int64_t) queue->capacity
                                         : operate->set_capacity;

    ngx_http_concert_call_json(call, &json, 128);
    ngx_http_concert_json_text(&json, "{\"paused\":");

    if (operate->is_paused) {
        ngx_http_concert_json_text(&json, "true,\"rate\":");
    } else {
        ngx_http_concert_json_text(&json, "false,\"rate\":");
    }

    ngx_http_concert_queue_rate_json(&json, rate);
    ngx_http_concert_json_text(&json, ",\"capacity\":");
    ngx_http_concert_json_integer(&json, capacity);
    ngx_http_concert_json_text(&json, "}");
    ngx_http_concert_call_body(call, &json);

    if (operate->who.len) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "concert: queue \"%V\" set by %V: %V", &queue->name,
                      &operate->who, &call->reply.body);
    }

    ngx_http_concert_answer(call);
}
