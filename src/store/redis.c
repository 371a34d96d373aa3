
/*
 * A lane's connection to Redis.  A batch is appended and then read in one
 * exchange.  Every script may run twice without harm (entering or leaving
 * again changes nothing), so after a lost connection the batch is run once
 * more; hiredis's context is dead after any error and is made anew.
 */

#include "store/redis.h"

#include <hiredis/hiredis.h>
#include <ngx_sha1.h>


#define NGX_HTTP_CONCERT_REDIS_MAX_ARGS                                      \
    (3 + NGX_HTTP_CONCERT_REDIS_KEYS + NGX_HTTP_CONCERT_MAX_PARAMS)

#define NGX_HTTP_CONCERT_REDIS_MIN_TIMEOUT  100


static void ngx_http_concert_redis_run(ngx_http_concert_lane_t *lane);
static ngx_int_t ngx_http_concert_redis_connect(
    ngx_http_concert_lane_t *lane);
static ngx_int_t ngx_http_concert_redis_auth(redisContext *c,
    ngx_http_concert_redis_conf_t *rcf, struct timeval left);
static struct timeval ngx_http_concert_redis_left(
    ngx_http_concert_lane_t *lane);
static ngx_int_t ngx_http_concert_redis_exchange(
    ngx_http_concert_lane_t *lane, u_char *done);
static ngx_int_t ngx_http_concert_redis_append(redisContext *c,
    ngx_http_concert_redis_conf_t *rcf, ngx_http_concert_call_t *call);
static ngx_http_concert_script_t *ngx_http_concert_redis_script(
    const char *name);
static ngx_int_t ngx_http_concert_redis_load(ngx_http_concert_lane_t *lane);
static ngx_int_t ngx_http_concert_redis_answer(ngx_http_concert_call_t *call,
    redisReply *reply);
static ngx_int_t ngx_http_concert_redis_lost(ngx_http_concert_lane_t *lane);
static void ngx_http_concert_redis_close(ngx_http_concert_lane_t *lane);
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
    u_char      done[NGX_HTTP_CONCERT_MAX_BATCH];
    ngx_int_t   rc;
    ngx_uint_t  i, attempt, sent;

    ngx_memzero(done, sizeof(done));

    rc = NGX_ERROR;
    sent = 0;

    for (attempt = 0; attempt < 2 && rc == NGX_ERROR; attempt++) {

        if (lane->connection == NULL
            && ngx_http_concert_redis_connect(lane) != NGX_OK)
        {
            break;
        }

        rc = ngx_http_concert_redis_exchange(lane, done);
        sent = 1;

        /* NGX_AGAIN: a script was not known and has been loaded */

        if (rc == NGX_AGAIN) {
            rc = ngx_http_concert_redis_exchange(lane, done);
        }
    }

    if (rc == NGX_OK) {
        return;
    }

    lane->away = 1;

    for (i = 0; i < lane->ncalls; i++) {
        if (!done[i]) {
            lane->calls[i]->outcome = sent ? NGX_HTTP_CONCERT_UNKNOWN
                                           : NGX_HTTP_CONCERT_AWAY;
        }
    }
}


static ngx_int_t
ngx_http_concert_redis_connect(ngx_http_concert_lane_t *lane)
{
    redisContext                   *c;
    struct timeval                  left;
    ngx_http_concert_redis_conf_t  *rcf;

    rcf = lane->group->conf;
    left = ngx_http_concert_redis_left(lane);

    c = rcf->host ? redisConnectWithTimeout(rcf->host, rcf->port, left)
                  : redisConnectUnixWithTimeout(rcf->path, left);

    if (c == NULL || c->err) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "concert: cannot connect to Redis at %s: %s",
                      rcf->host ? rcf->host : rcf->path,
                      c ? c->errstr : "no memory");

        if (c) {
            redisFree(c);
        }

        return NGX_ERROR;
    }

    if (rcf->password.len
        && ngx_http_concert_redis_auth(c, rcf, left) != NGX_OK)
    {
        redisFree(c);
        return NGX_ERROR;
    }

    lane->connection = c;

    return ngx_http_concert_redis_load(lane);
}


static ngx_int_t
ngx_http_concert_redis_auth(redisContext *c,
    ngx_http_concert_redis_conf_t *rcf, struct timeval left)
{
    ngx_int_t    rc;
    redisReply  *reply;

    (void) redisSetTimeout(c, left);

    reply = rcf->user ? redisCommand(c, "AUTH %s %b", rcf->user,
                                     rcf->password.data, rcf->password.len)
                      : redisCommand(c, "AUTH %b", rcf->password.data,
                                     rcf->password.len);

    rc = (reply && reply->type == REDIS_REPLY_STATUS) ? NGX_OK : NGX_ERROR;

    if (rc != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "concert: Redis refuses user \"%s\": %s",
                      rcf->user ? rcf->user : "default",
                      reply && reply->type == REDIS_REPLY_ERROR ? reply->str
                                                                : c->errstr);
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
ngx_http_concert_redis_exchange(ngx_http_concert_lane_t *lane, u_char *done)
{
    void          *reply;
    ngx_int_t      rc;
    ngx_uint_t     i;
    redisContext  *c;

    c = lane->connection;
    rc = NGX_OK;

    (void) redisSetTimeout(c, ngx_http_concert_redis_left(lane));

    if (lane->ncalls == 0) {
        reply = redisCommand(c, "PING");

        if (reply == NULL) {
            return ngx_http_concert_redis_lost(lane);
        }

        rc = ((redisReply *) reply)->type == REDIS_REPLY_ERROR ? NGX_DECLINED
                                                               : NGX_OK;
        freeReplyObject(reply);
        return rc;
    }

    for (i = 0; i < lane->ncalls; i++) {
        if (!done[i]
            && ngx_http_concert_redis_append(c, lane->group->conf,
                                             lane->calls[i])
               != NGX_OK)
        {
            return ngx_http_concert_redis_lost(lane);
        }
    }

    for (i = 0; i < lane->ncalls; i++) {
        if (done[i]) {
            continue;
        }

        if (redisGetReply(c, &reply) != REDIS_OK) {
            return ngx_http_concert_redis_lost(lane);
        }

        if (ngx_http_concert_redis_answer(lane->calls[i], reply) == NGX_OK) {
            done[i] = 1;

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


/* EVALSHA sha1 numkeys key ... arg ... */

static ngx_int_t
ngx_http_concert_redis_append(redisContext *c,
    ngx_http_concert_redis_conf_t *rcf, ngx_http_concert_call_t *call)
{
    int                         argc;
    size_t                      lens[NGX_HTTP_CONCERT_REDIS_MAX_ARGS];
    ngx_uint_t                  i;
    const char                 *argv[NGX_HTTP_CONCERT_REDIS_MAX_ARGS];
    ngx_http_concert_script_t  *script;
    char                        keys[NGX_INT_T_LEN];

    script = ngx_http_concert_redis_script(call->op->name);

    argv[0] = "EVALSHA";
    lens[0] = sizeof("EVALSHA") - 1;

    argv[1] = script->sha1;
    lens[1] = sizeof(script->sha1) - 1;

    argv[2] = keys;
    lens[2] = ngx_sprintf((u_char *) keys, "%d", NGX_HTTP_CONCERT_REDIS_KEYS)
              - (u_char *) keys;

    argc = 3;

    for (i = 0; i < NGX_HTTP_CONCERT_REDIS_KEYS; i++) {
        argv[argc] = (char *) rcf->keys[i].data;
        lens[argc++] = rcf->keys[i].len;
    }

    for (i = 0; i < call->nparams; i++) {
        argv[argc] = (char *) call->params[i].data;
        lens[argc++] = call->params[i].len;
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
            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                          "concert: cannot load the script \"%s\" into "
                          "Redis: %s", script->name, reply->str);
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
ngx_http_concert_redis_answer(ngx_http_concert_call_t *call,
    redisReply *reply)
{
    ngx_http_concert_result_t  result;

    if (reply->type == REDIS_REPLY_ARRAY) {
        result.rows = 1;
        result.first = 0;
        result.data = reply;
        result.integer = ngx_http_concert_redis_integer;
        result.string = ngx_http_concert_redis_string;
        result.null = ngx_http_concert_redis_null;

        call->outcome = NGX_HTTP_CONCERT_OK;
        call->read(call, &result);

        return NGX_OK;
    }

    if (reply->type == REDIS_REPLY_ERROR
        && ngx_strncmp(reply->str, "NOSCRIPT", sizeof("NOSCRIPT") - 1) == 0)
    {
        call->outcome = NGX_HTTP_CONCERT_AWAY;
        return NGX_AGAIN;
    }

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "concert: Redis cannot run \"%s\": %s", call->op->name,
                  reply->type == REDIS_REPLY_ERROR ? reply->str
                                                   : "unexpected answer");

    call->outcome = NGX_HTTP_CONCERT_ERROR;

    return NGX_OK;
}


static ngx_int_t
ngx_http_concert_redis_lost(ngx_http_concert_lane_t *lane)
{
    redisContext  *c;

    c = lane->connection;

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "concert: lost the connection to Redis: %s", c->errstr);

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


/* a script's answer is a row of integers */

static int64_t
ngx_http_concert_redis_integer(const ngx_http_concert_result_t *res,
    ngx_uint_t row, ngx_uint_t column)
{
    redisReply  *reply;

    reply = res->data;

    if (row || column >= reply->elements) {
        return 0;
    }

    return reply->element[column]->integer;
}


static ngx_str_t
ngx_http_concert_redis_string(const ngx_http_concert_result_t *res,
    ngx_uint_t row, ngx_uint_t column)
{
    ngx_str_t    value;
    redisReply  *reply;

    reply = res->data;
    ngx_str_null(&value);

    if (row == 0 && column < reply->elements) {
        value.data = (u_char *) reply->element[column]->str;
        value.len = value.data ? (size_t) reply->element[column]->len : 0;
    }

    return value;
}


static unsigned
ngx_http_concert_redis_null(const ngx_http_concert_result_t *res,
    ngx_uint_t row, ngx_uint_t column)
{
    redisReply  *reply;

    reply = res->data;

    return row || column >= reply->elements
           || reply->element[column]->type == REDIS_REPLY_NIL;
}
