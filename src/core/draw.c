
#include "core/draw.h"

#include <sys/random.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>


/* the seed's bytes, before they are hex */
#define NGX_HTTP_CONCERT_DRAW_SECRET  (NGX_HTTP_CONCERT_SEED_LEN / 2)


/* columns of seed.lua's own */

enum {
    NGX_HTTP_CONCERT_DRAW_OPENS = NGX_HTTP_CONCERT_QUEUE_OWN,
    NGX_HTTP_CONCERT_DRAW_SIZE,
    NGX_HTTP_CONCERT_DRAW_SEED
};


static void ngx_http_concert_draw_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);
static void ngx_http_concert_draw_prepared(ngx_http_concert_call_t *call);


static const ngx_http_concert_op_t  ngx_http_concert_draw_seed = {
    "seed", NGX_HTTP_CONCERT_REDIS, NULL, 1
};


ngx_int_t
ngx_http_concert_draw_key(const ngx_http_concert_queue_t *queue,
    int64_t user_id, uint64_t *key)
{
    u_char    *p;
    u_char     text[64 + sizeof(":") + NGX_INT64_LEN];
    u_char     digest[EVP_MAX_MD_SIZE];
    unsigned   i, len;

    p = ngx_snprintf(text, sizeof(text), "%V:%L", &queue->name, user_id);

    if (HMAC(EVP_sha256(), queue->seed, NGX_HTTP_CONCERT_SEED_LEN, text,
             p - text, digest, &len)
        == NULL)
    {
        return NGX_ERROR;
    }

    *key = 0;

    for (i = 0; i < sizeof(*key); i++) {
        *key = *key << 8 | digest[i];
    }

    *key >>= 64 - 4 * NGX_HTTP_CONCERT_DRAW_DIGITS;

    return NGX_OK;
}


void
ngx_http_concert_draw_hash(const ngx_http_concert_queue_t *queue, u_char *hash)
{
    u_char  digest[SHA256_DIGEST_LENGTH];

    (void) SHA256(queue->seed, NGX_HTTP_CONCERT_SEED_LEN, digest);

    (void) ngx_hex_dump(hash, digest, sizeof(digest));
}


ngx_uint_t
ngx_http_concert_draw_known(const ngx_http_concert_queue_t *queue)
{
    return queue->seed_epoch
           && (ngx_atomic_uint_t) queue->seed_epoch == queue->state->epoch;
}


ngx_int_t
ngx_http_concert_draw_user(ngx_http_concert_call_t *call, int64_t user_id)
{
    uint64_t   key;
    ngx_str_t  text;

    text.data = ngx_pnalloc(call->pool, 2 * NGX_INT64_LEN + 1);

    if (text.data == NULL
        || ngx_http_concert_draw_key(call->sale->queue, user_id, &key)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    text.len = ngx_sprintf(text.data, "%L:%uL", user_id, key) - text.data;

    return ngx_http_concert_call_string(call, &text);
}


ngx_int_t
ngx_http_concert_draw_enter(ngx_http_concert_call_t *call)
{
    ngx_http_concert_queue_t  *queue;

    queue = call->sale->queue;

    if (queue->state->opens == 0 || !ngx_http_concert_draw_known(queue)) {
        return (ngx_http_concert_call_integer(call, 0) == NGX_OK)
               ? ngx_http_concert_call_integer(call, call->user_id)
               : NGX_ERROR;
    }

    return (ngx_http_concert_call_integer(call, queue->seed_epoch) == NGX_OK)
           ? ngx_http_concert_draw_user(call, call->user_id) : NGX_ERROR;
}


ngx_int_t
ngx_http_concert_draw_ask(ngx_http_concert_call_t *call,
    void (*done)(ngx_http_concert_call_t *call))
{
    u_char     secret[NGX_HTTP_CONCERT_DRAW_SECRET];
    ngx_str_t  seed;

    seed.len = NGX_HTTP_CONCERT_SEED_LEN;
    seed.data = ngx_pnalloc(call->pool, seed.len);

    if (seed.data == NULL
        || getrandom(secret, sizeof(secret), 0) != (ssize_t) sizeof(secret))
    {
        return NGX_ERROR;
    }

    (void) ngx_hex_dump(seed.data, secret, sizeof(secret));
    ngx_explicit_memzero(secret, sizeof(secret));

    ngx_http_concert_call_step(call, &ngx_http_concert_draw_seed,
                               ngx_http_concert_draw_read);

    if (ngx_http_concert_queue_params(call) != NGX_OK
        || ngx_http_concert_call_string(call, &seed) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_concert_sale_run(call, done);
}


/* the seed that there is comes to where the new one was */

static void
ngx_http_concert_draw_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    int64_t     size;
    ngx_str_t   seed, *param;

    ngx_http_concert_queue_read(call, res);

    size = res->integer(res, 0, NGX_HTTP_CONCERT_DRAW_SIZE);
    seed = res->string(res, 0, NGX_HTTP_CONCERT_DRAW_SEED);
    param = &call->params[call->nparams - 1];

    call->queue_answer.status = size;
    call->queue_answer.number = res->integer(res, 0,
                                             NGX_HTTP_CONCERT_DRAW_OPENS);

    if (size == NGX_HTTP_CONCERT_NO_DRAW
        || seed.len != NGX_HTTP_CONCERT_SEED_LEN)
    {
        param->len = 0;
        return;
    }

    ngx_memcpy(param->data, seed.data, seed.len);
}


void
ngx_http_concert_draw_learn(ngx_http_concert_call_t *call)
{
    u_char                            hash[NGX_HTTP_CONCERT_DRAW_HASH];
    ngx_str_t                        *seed;
    ngx_http_concert_queue_t         *queue;
    ngx_http_concert_queue_answer_t  *answer;

    queue = call->sale->queue;
    answer = &call->queue_answer;
    seed = &call->params[call->nparams - 1];

    ngx_http_concert_queue_learn(call);

    if (answer->status == NGX_HTTP_CONCERT_DRAW_AHEAD) {
        ngx_http_concert_queue_learn_opens(call, answer->number);
    }

    if (seed->len == 0
        || (ngx_atomic_uint_t) answer->epoch != queue->state->epoch
        || answer->epoch == queue->seed_epoch)
    {
        return;
    }

    ngx_memcpy(queue->seed, seed->data, seed->len);
    queue->seed_epoch = answer->epoch;

    ngx_http_concert_draw_hash(queue, hash);
    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "concert: the draw of queue \"%V\" is by the seed whose "
                  "SHA-256 is %*s", &queue->name, sizeof(hash), hash);
}


void
ngx_http_concert_draw_prepare(ngx_http_concert_sale_t *sale)
{
    ngx_http_concert_call_t  *call;

    if (ngx_http_concert_draw_known(sale->queue)) {
        return;
    }

    call = ngx_http_concert_call_create(sale);
    if (call == NULL) {
        return;
    }

    call->job = 1;

    if (ngx_http_concert_draw_ask(call, ngx_http_concert_draw_prepared)
        == NGX_ERROR)
    {
        ngx_http_concert_call_destroy(call);
    }
}


static void
ngx_http_concert_draw_prepared(ngx_http_concert_call_t *call)
{
    if (call->outcome == NGX_HTTP_CONCERT_OK) {
        ngx_http_concert_draw_learn(call);
    }

    ngx_http_concert_call_destroy(call);
}
