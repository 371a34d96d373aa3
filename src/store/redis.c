
/*
 * A lane's connection to Redis.  A batch is appended and then read in one
 * exchange; calls of one script that takes many users are one run of it.
 * Every script may run twice without harm (entering or leaving again changes
 * nothing), so after a lost connection the batch is run once more; hiredis's
 * context is dead after any error and is made anew.
 */

#include "store/redis.h"
#include "core/report.h"
#include "core/sale.h"

#include <hiredis/hiredis.h>
#include <ngx_sha1.h>


#define NGX_HTTP_CONCERT_REDIS_MAX_ARGS                                      \
    (3 + NGX_HTTP_CONCERT_QUEUE_KEYS + NGX_HTTP_CONCERT_MAX_PARAMS           \
     + NGX_HTTP_CONCERT_MAX_BATCH)

#define NGX_HTTP_CONCERT_REDIS_MIN_TIMEOUT  100


/* calls that one run of a script answers */

typedef struct {
    ngx_http_concert_call_t  **calls;
    ngx_uint_t                 ncalls;
    unsigned                   done:1;
} ngx_http_concert_run_t;


typedef struct {
    ngx_http_concert_run_t     runs[NGX_HTTP_CONCERT_MAX_BATCH];
    ngx_uint_t                 nruns;
} ngx_http_concert_runs_t;


/* what a script answered to the calls of a run */

typedef struct {
    redisReply                *reply;
    ngx_uint_t                 own;     /* columns of each call */
} ngx_http_concert_answer_t;


static void ngx_http_concert_redis_run(ngx_http_concert_lane_t *lane);
static void ngx_http_concert_redis_runs(ngx_http_concert_runs_t *runs,
    ngx_http_concert_lane_t *lane);
static void ngx_http_concert_redis_gather(ngx_http_concert_run_t *run,
    ngx_http_concert_call_t **end);
static ngx_uint_t ngx_http_concert_redis_joins(
    const ngx_http_concert_run_t *run, ngx_http_concert_call_t **call);
static ngx_int_t ngx_http_concert_redis_connect(
    ngx_http_concert_lane_t *lane);
static ngx_int_t ngx_http_concert_redis_auth(ngx_http_concert_lane_t *lane,
    redisContext *c, struct timeval left);
static struct timeval ngx_http_concert_redis_left(
    ngx_http_concert_lane_t *lane);
static ngx_int_t ngx_http_concert_redis_exchange(
    ngx_http_concert_lane_t *lane, ngx_http_concert_runs_t *runs);
static ngx_int_t ngx_http_concert_redis_ping(ngx_http_concert_lane_t *lane);
static ngx_int_t ngx_http_concert_redis_append(redisContext *c,
    const ngx_http_concert_run_t *run);
static ngx_http_concert_script_t *ngx_http_concert_redis_script(
    const char *name);
static ngx_int_t ngx_http_concert_redis_load(ngx_http_concert_lane_t *lane);
static ngx_int_t ngx_http_concert_redis_answer(
    const ngx_http_concert_run_t *run, redisReply *reply);
static void ngx_http_concert_redis_read(const ngx_http_concert_run_t *run,
    redisReply *reply);
static ngx_int_t ngx_http_concert_redis_lost(ngx_http_concert_lane_t *lane);
static void ngx_http_concert_redis_close(ngx_http_concert_lane_t *lane);
static redisReply *ngx_http_concert_redis_column(
    const ngx_http_concert_result_t *res, ngx_uint_t row, ngx_uint_t column);
static int64_t ngx_http_concert_redis_integer(
    const ngx_http_concert_result_t *res, ngx_uint_t row, ngx_uint_t column);
static ngx_str_t ngx_http_concert_redis_string(
    const ngx_http_concert_result_t *res, ngx_uint_t row, ngx_uint_t column);
static unsigned ngx_http_concert_redis_null(
    const ngx_http_concert_result_t *res, ngx_uint_t row, ngx_uint_t column);


const ngx_http_concert_store_t  ngx_http_concert_redis = {
    ngx_http_concert_redis_run,
    ngx_http_concert_redis_close,
    1
};


void
ngx_http_concert_redis_init(void)
{
    u_char                      digest[20];
    ngx_sha1_t                  sha1;
    ngx_http_concert_script_t  *script;

    for (script = ngx_http_concert_scripts; script->name; script++) {
        ngx_sha1_init(&sha1);
        ngx_sha1_update(&sha1, script->text, ngx_strlen(script->text));
        ngx_sha1_final(digest, &sha1);

        *ngx_hex_dump((u_char *) script->sha1, digest, sizeof(digest)) = '\0';
    }
}


static void
ngx_http_concert_redis_run(ngx_http_concert_lane_t *lane)
{
    ngx_int_t                 rc;
    ngx_uint_t                i, k, attempt, sent;
    ngx_http_concert_run_t   *run;
    ngx_http_concert_runs_t   runs;

    ngx_http_concert_redis_runs(&runs, lane);

    rc = NGX_ERROR;
    sent = 0;

    for (attempt = 0; attempt < 2 && rc == NGX_ERROR; attempt++) {

        if (lane->connection == NULL
            && ngx_http_concert_redis_connect(lane) != NGX_OK)
        {
            break;
        }

        rc = ngx_http_concert_redis_exchange(lane, &runs);
        sent = 1;

        /* NGX_AGAIN: a script was not known and has been loaded */

        if (rc == NGX_AGAIN) {
            rc = ngx_http_concert_redis_exchange(lane, &runs);
        }
    }

    if (rc == NGX_OK) {
        ngx_http_concert_fault_ended(lane->group, NGX_HTTP_CONCERT_FAULT_LOST);
        return;
    }

    lane->away = 1;

    for (i = 0; i < runs.nruns; i++) {
        run = &runs.runs[i];

        for (k = 0; k < run->ncalls && !run->done; k++) {
            run->calls[k]->outcome = sent ? NGX_HTTP_CONCERT_UNKNOWN
                                          : NGX_HTTP_CONCERT_AWAY;
        }
    }
}


/* the calls of a batch are one after the other in memory; so are a run's */

static void
ngx_http_concert_redis_runs(ngx_http_concert_runs_t *runs,
    ngx_http_concert_lane_t *lane)
{
    ngx_http_concert_run_t   *run;
    ngx_http_concert_call_t **call, **end;

    runs->nruns = 0;
    end = lane->calls + lane->ncalls;

    for (call = lane->calls; call < end; call += run->ncalls) {
        run = &runs->runs[runs->nruns++];
        run->calls = call;
        run->ncalls = 1;
        run->done = 0;

        ngx_http_concert_redis_gather(run, end);
    }
}


/*
 * Takes the later calls that can be one with the first, in their order, and
 * leaves the others in theirs: who came first enters first.
 */

static void
ngx_http_concert_redis_gather(ngx_http_concert_run_t *run,
    ngx_http_concert_call_t **end)
{
    ngx_http_concert_call_t  *call, **p, **last;

    for (p = run->calls + 1; p < end; p++) {

        if (!ngx_http_concert_redis_joins(run, p)) {
            continue;
        }

        call = *p;
        last = run->calls + run->ncalls++;

        ngx_memmove(last + 1, last, (u_char *) p - (u_char *) last);
        *last = call;
    }
}


/* no call may pass another one of its user's */

static ngx_uint_t
ngx_http_concert_redis_joins(const ngx_http_concert_run_t *run,
    ngx_http_concert_call_t **call)
{
    ngx_http_concert_call_t  **p;

    if (run->calls[0]->sale->queue != (*call)->sale->queue
        || !ngx_http_concert_call_alike(run->calls[0], *call))
    {
        return 0;
    }

    for (p = run->calls + run->ncalls; p < call; p++) {
        if ((*p)->user_id == (*call)->user_id) {
            return 0;
        }
    }

    return 1;
}


static ngx_int_t
ngx_http_concert_redis_connect(ngx_http_concert_lane_t *lane)
{
    const char                     *wrong;
    redisContext                   *c;
    struct timeval                  left;
    ngx_http_concert_redis_conf_t  *rcf;

    rcf = lane->group->conf;
    left = ngx_http_concert_redis_left(lane);

    c = rcf->host ? redisConnectWithTimeout(rcf->host, rcf->port, left)
                  : redisConnectUnixWithTimeout(rcf->path, left);

    if (c == NULL || c->err) {
        wrong = c ? c->errstr : "no memory";
        ngx_http_concert_report(NGX_LOG_ERR, lane->group,
                                NGX_HTTP_CONCERT_FAULT_CONNECT, wrong,
                                ngx_strlen(wrong),
                                "cannot connect to Redis at %s: %s",
                                rcf->host ? rcf->host : rcf->path, wrong);

        if (c) {
            redisFree(c);
        }

        return NGX_ERROR;
    }

    if (rcf->password.len
        && ngx_http_concert_redis_auth(lane, c, left) != NGX_OK)
    {
        redisFree(c);
        return NGX_ERROR;
    }

    lane->connection = c;

    if (ngx_http_concert_redis_load(lane) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_concert_fault_ended(lane->group, NGX_HTTP_CONCERT_FAULT_CONNECT);

    return NGX_OK;
}


static ngx_int_t
ngx_http_concert_redis_auth(ngx_http_concert_lane_t *lane, redisContext *c,
    struct timeval left)
{
    ngx_int_t                       rc;
    redisReply                     *reply;
    const char                     *wrong;
    ngx_http_concert_redis_conf_t  *rcf;

    rcf = lane->group->conf;

    (void) redisSetTimeout(c, left);

    reply = rcf->user ? redisCommand(c, "AUTH %s %b", rcf->user,
                                     rcf->password.data, rcf->password.len)
                      : redisCommand(c, "AUTH %b", rcf->password.data,
                                     rcf->password.len);

    rc = (reply && reply->type == REDIS_REPLY_STATUS) ? NGX_OK : NGX_ERROR;

    if (rc != NGX_OK) {
        wrong = (reply && reply->type == REDIS_REPLY_ERROR) ? reply->str
                                                            : c->errstr;
        ngx_http_concert_report(NGX_LOG_ERR, lane->group,
                                NGX_HTTP_CONCERT_FAULT_CONNECT, wrong,
                                ngx_strlen(wrong),
                                "Redis refuses user \"%s\": %s",
                                rcf->user ? rcf->user : "default", wrong);
    }

    if (reply) {
        freeReplyObject(reply);
    }

    return rc;
}


static struct timeval
ngx_http_concert_redis_left(ngx_http_concert_lane_t *lane)
{
    struct timeval  tv;
    ngx_msec_int_t  left;

    left = (ngx_msec_int_t) (lane->deadline - ngx_http_concert_now());
    left = ngx_max(left, NGX_HTTP_CONCERT_REDIS_MIN_TIMEOUT);

    tv.tv_sec = left / 1000;
    tv.tv_usec = (left % 1000) * 1000;

    return tv;
}


static ngx_int_t
ngx_http_concert_redis_exchange(ngx_http_concert_lane_t *lane,
    ngx_http_concert_runs_t *runs)
{
    void                    *reply;
    ngx_int_t                rc;
    redisContext            *c;
    ngx_http_concert_run_t  *run, *end;

    c = lane->connection;
    rc = NGX_OK;

    (void) redisSetTimeout(c, ngx_http_concert_redis_left(lane));

    if (lane->ncalls == 0) {
        return ngx_http_concert_redis_ping(lane);
    }

    end = runs->runs + runs->nruns;

    for (run = runs->runs; run < end; run++) {
        if (!run->done
            && ngx_http_concert_redis_append(c, run)
               != NGX_OK)
        {
            return ngx_http_concert_redis_lost(lane);
        }
    }

    for (run = runs->runs; run < end; run++) {
        if (run->done) {
            continue;
        }

        if (redisGetReply(c, &reply) != REDIS_OK) {
            return ngx_http_concert_redis_lost(lane);
        }

        if (ngx_http_concert_redis_answer(run, reply) == NGX_OK) {
            run->done = 1;

        } else {
            rc = NGX_AGAIN;
        }

        freeReplyObject(reply);
    }

    if (rc == NGX_AGAIN) {
        return ngx_http_concert_redis_load(lane) == NGX_OK ? NGX_AGAIN
                                                           : NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_concert_redis_ping(ngx_http_concert_lane_t *lane)
{
    ngx_int_t    rc;
    redisReply  *reply;

    reply = redisCommand(lane->connection, "PING");

    if (reply == NULL) {
        return ngx_http_concert_redis_lost(lane);
    }

    rc = reply->type == REDIS_REPLY_ERROR ? NGX_DECLINED : NGX_OK;
    freeReplyObject(reply);

    return rc;
}


/*
 * EVALSHA sha1 numkeys key ... arg ...: what the calls share, and the last
 * parameter of each
 */

static ngx_int_t
ngx_http_concert_redis_append(redisContext *c,
    const ngx_http_concert_run_t *run)
{
    int                         argc;
    size_t                      lens[NGX_HTTP_CONCERT_REDIS_MAX_ARGS];
    ngx_str_t                  *param;
    ngx_uint_t                  i;
    const char                 *argv[NGX_HTTP_CONCERT_REDIS_MAX_ARGS];
    ngx_http_concert_call_t    *call;
    ngx_http_concert_queue_t   *queue;
    ngx_http_concert_script_t  *script;
    char                        keys[NGX_INT_T_LEN];

    call = run->calls[0];
    queue = call->sale->queue;
    script = ngx_http_concert_redis_script(call->op->name);

    argv[0] = "EVALSHA";
    lens[0] = sizeof("EVALSHA") - 1;

    argv[1] = script->sha1;
    lens[1] = sizeof(script->sha1) - 1;

    argv[2] = keys;
    lens[2] = ngx_sprintf((u_char *) keys, "%d", NGX_HTTP_CONCERT_QUEUE_KEYS)
              - (u_char *) keys;

    argc = 3;

    for (i = 0; i < NGX_HTTP_CONCERT_QUEUE_KEYS; i++) {
        argv[argc] = (char *) queue->keys[i].data;
        lens[argc++] = queue->keys[i].len;
    }

    for (i = 0; i < call->nparams; i++) {
        argv[argc] = (char *) call->params[i].data;
        lens[argc++] = call->params[i].len;
    }

    for (i = 1; i < run->ncalls; i++) {
        param = &run->calls[i]->params[call->nparams - 1];
        argv[argc] = (char *) param->data;
        lens[argc++] = param->len;
    }

    return redisAppendCommandArgv(c, argc, argv, lens) == REDIS_OK ? NGX_OK
                                                                  : NGX_ERROR;
}


static ngx_http_concert_script_t *
ngx_http_concert_redis_script(const char *name)
{
    ngx_http_concert_script_t  *script;

    for (script = ngx_http_concert_scripts; script->name; script++) {
        if (ngx_strcmp(script->name, name) == 0) {
            break;
        }
    }

    return script;
}


static ngx_int_t
ngx_http_concert_redis_load(ngx_http_concert_lane_t *lane)
{
    redisReply                 *reply;
    redisContext               *c;
    ngx_http_concert_script_t  *script;

    c = lane->connection;

    (void) redisSetTimeout(c, ngx_http_concert_redis_left(lane));

    for (script = ngx_http_concert_scripts; script->name; script++) {
        reply = redisCommand(c, "SCRIPT LOAD %s", script->text);

        if (reply == NULL) {
            return ngx_http_concert_redis_lost(lane);
        }

        if (reply->type == REDIS_REPLY_ERROR) {
            ngx_http_concert_report(NGX_LOG_ERR, lane->group,
                NGX_HTTP_CONCERT_FAULT_CONNECT, reply->str, reply->len,
                "cannot load the script \"%s\" into Redis: %s", script->name,
                reply->str);
            freeReplyObject(reply);
            ngx_http_concert_redis_close(lane);
            return NGX_ERROR;
        }

        freeReplyObject(reply);
    }

    return NGX_OK;
}


/* NGX_AGAIN: Redis does not know the script (it was restarted or flushed) */

static ngx_int_t
ngx_http_concert_redis_answer(const ngx_http_concert_run_t *run,
    redisReply *reply)
{
    ngx_uint_t                   i;
    const char                  *wrong;
    ngx_http_concert_outcome_e   outcome;

    if (reply->type == REDIS_REPLY_ARRAY
        && reply->elements >= NGX_HTTP_CONCERT_REDIS_HEAD)
    {
        ngx_http_concert_fault_ended(run->calls[0]->op,
                                     NGX_HTTP_CONCERT_FAULT_RUN);
        ngx_http_concert_redis_read(run, reply);
        return NGX_OK;
    }

    if (reply->type == REDIS_REPLY_ERROR
        && ngx_strncmp(reply->str, "NOSCRIPT", sizeof("NOSCRIPT") - 1) == 0)
    {
        outcome = NGX_HTTP_CONCERT_AWAY;

    } else {
        outcome = NGX_HTTP_CONCERT_ERROR;

        wrong = (reply->type == REDIS_REPLY_ERROR) ? reply->str
                                                   : "unexpected answer";
        ngx_http_concert_report(NGX_LOG_ERR, run->calls[0]->op,
                                NGX_HTTP_CONCERT_FAULT_RUN, wrong,
                                ngx_strlen(wrong),
                                "Redis cannot run \"%s\": %s",
                                run->calls[0]->op->name, wrong);
    }

    for (i = 0; i < run->ncalls; i++) {
        run->calls[i]->outcome = outcome;
    }

    return outcome == NGX_HTTP_CONCERT_AWAY ? NGX_AGAIN : NGX_OK;
}


static void
ngx_http_concert_redis_read(const ngx_http_concert_run_t *run,
    redisReply *reply)
{
    ngx_uint_t                 i;
    ngx_http_concert_call_t   *call;
    ngx_http_concert_answer_t  answer;
    ngx_http_concert_result_t  result;

    answer.reply = reply;
    answer.own = (reply->elements - NGX_HTTP_CONCERT_REDIS_HEAD)
                 / run->ncalls;

    result.rows = 1;
    result.data = &answer;
    result.integer = ngx_http_concert_redis_integer;
    result.string = ngx_http_concert_redis_string;
    result.null = ngx_http_concert_redis_null;

    for (i = 0; i < run->ncalls; i++) {
        call = run->calls[i];
        result.first = i;

        call->outcome = NGX_HTTP_CONCERT_OK;
        call->read(call, &result);
    }
}


static ngx_int_t
ngx_http_concert_redis_lost(ngx_http_concert_lane_t *lane)
{
    redisContext  *c;

    c = lane->connection;

    ngx_http_concert_report(NGX_LOG_ERR, lane->group,
                            NGX_HTTP_CONCERT_FAULT_LOST, c->errstr,
                            ngx_strlen(c->errstr),
                            "lost the connection to Redis: %s", c->errstr);

    ngx_http_concert_redis_close(lane);

    /* when time is up there is none for another attempt */

    return (ngx_msec_int_t) (lane->deadline - ngx_http_concert_now()) > 0
           ? NGX_ERROR : NGX_DECLINED;
}


static void
ngx_http_concert_redis_close(ngx_http_concert_lane_t *lane)
{
    if (lane->connection) {
        redisFree(lane->connection);
        lane->connection = NULL;
    }
}


/*
 * A script's answer is a row of integers: what it says to all calls, then what
 * it says to each.
 */

static redisReply *
ngx_http_concert_redis_column(const ngx_http_concert_result_t *res,
    ngx_uint_t row, ngx_uint_t column)
{
    ngx_http_concert_answer_t  *answer;

    answer = res->data;

    if (column >= NGX_HTTP_CONCERT_REDIS_HEAD) {
        if (column - NGX_HTTP_CONCERT_REDIS_HEAD >= answer->own) {
            return NULL;
        }

        column += res->first * answer->own;
    }

    return row ? NULL : answer->reply->element[column];
}


static int64_t
ngx_http_concert_redis_integer(const ngx_http_concert_result_t *res,
    ngx_uint_t row, ngx_uint_t column)
{
    redisReply  *value;

    value = ngx_http_concert_redis_column(res, row, column);

    return value ? value->integer : 0;
}


static ngx_str_t
ngx_http_concert_redis_string(const ngx_http_concert_result_t *res,
    ngx_uint_t row, ngx_uint_t column)
{
    ngx_str_t    str;
    redisReply  *value;

    value = ngx_http_concert_redis_column(res, row, column);
    ngx_str_null(&str);

    if (value && value->str) {
        str.data = (u_char *) value->str;
        str.len = value->len;
    }

    return str;
}


static unsigned
ngx_http_concert_redis_null(const ngx_http_concert_result_t *res,
    ngx_uint_t row, ngx_uint_t column)
{
    redisReply  *value;

    value = ngx_http_concert_redis_column(res, row, column);

    return value == NULL || value->type == REDIS_REPLY_NIL;
}
