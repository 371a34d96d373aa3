
#include "core/call.h"
#include "core/problem.h"

#include <sys/random.h>


/* a reservation with a key fits */
#define NGX_HTTP_CONCERT_CALL_POOL_SIZE  2048

/* pools kept for the next calls: making one anew costs more than the rest */
#define NGX_HTTP_CONCERT_IDLE_POOLS      256


static ngx_pool_t *ngx_http_concert_call_pool(void);
static ngx_int_t ngx_http_concert_call_uuid(ngx_http_concert_call_t *call,
    uint64_t a, uint64_t b);
static ngx_str_t *ngx_http_concert_call_param(ngx_http_concert_call_t *call);
static void *ngx_http_concert_call_alloc(void *data, size_t size);


/* a UUID is this random half and a count */
static uint64_t  ngx_http_concert_operation_prefix;
static uint64_t  ngx_http_concert_operation_count;


static ngx_pool_t  *ngx_http_concert_idle_pools[NGX_HTTP_CONCERT_IDLE_POOLS];
static ngx_uint_t   ngx_http_concert_nidle_pools;


ngx_http_concert_call_t *
ngx_http_concert_call_create(ngx_http_concert_sale_t *sale)
{
    ngx_pool_t               *pool;
    ngx_http_concert_call_t  *call;

    pool = ngx_http_concert_call_pool();
    if (pool == NULL) {
        return NULL;
    }

    call = ngx_pcalloc(pool, sizeof(ngx_http_concert_call_t));
    if (call == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    call->pool = pool;
    call->sale = sale;

    return call;
}


static ngx_pool_t *
ngx_http_concert_call_pool(void)
{
    if (ngx_http_concert_nidle_pools) {
        return ngx_http_concert_idle_pools[--ngx_http_concert_nidle_pools];
    }

    /* the cycle's log: a connection's would be gone before the call is */

    return ngx_create_pool(NGX_HTTP_CONCERT_CALL_POOL_SIZE, ngx_cycle->log);
}


void
ngx_http_concert_call_destroy(ngx_http_concert_call_t *call)
{
    ngx_pool_t  *pool;

    pool = call->pool;

    /* one that grew is given back to the system */

    if (ngx_http_concert_nidle_pools == NGX_HTTP_CONCERT_IDLE_POOLS
        || pool->d.next)
    {
        ngx_destroy_pool(pool);
        return;
    }

    ngx_reset_pool(pool);
    ngx_http_concert_idle_pools[ngx_http_concert_nidle_pools++] = pool;
}


void
ngx_http_concert_call_step(ngx_http_concert_call_t *call,
    const ngx_http_concert_op_t *op,
    void (*read)(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res))
{
    call->op = op;
    call->read = read;
    call->nparams = 0;
}


static ngx_str_t *
ngx_http_concert_call_param(ngx_http_concert_call_t *call)
{
    ngx_str_t  *param;

    if (call->nparams == NGX_HTTP_CONCERT_MAX_PARAMS) {
        return NULL;
    }

    param = &call->params[call->nparams++];
    ngx_str_null(param);

    return param;
}


ngx_uint_t
ngx_http_concert_call_alike(const ngx_http_concert_call_t *one,
    const ngx_http_concert_call_t *other)
{
    ngx_uint_t        i;
    const ngx_str_t  *a, *b;

    if (one->op != other->op || one->op->params == NULL) {
        return 0;
    }

    for (i = 0; i < one->nparams; i++) {
        a = &one->params[i];
        b = &other->params[i];

        if (one->op->params[i] == 's'
            && (a->len != b->len || ngx_memcmp(a->data, b->data, a->len) != 0))
        {
            return 0;
        }
    }

    return 1;
}


ngx_int_t
ngx_http_concert_call_integer(ngx_http_concert_call_t *call, int64_t value)
{
    u_char     *p;
    ngx_str_t  *param;

    param = ngx_http_concert_call_param(call);
    if (param == NULL) {
        return NGX_ERROR;
    }

    p = ngx_pnalloc(call->pool, NGX_INT64_LEN + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    param->data = p;
    param->len = ngx_sprintf(p, "%L%Z", value) - p - 1;

    return NGX_OK;
}


ngx_int_t
ngx_http_concert_call_null(ngx_http_concert_call_t *call)
{
    return ngx_http_concert_call_param(call) ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_http_concert_call_list(ngx_http_concert_call_t *call,
    const int64_t *values, size_t n)
{
    size_t      i;
    u_char     *p;
    ngx_str_t  *param;

    param = ngx_http_concert_call_param(call);
    if (param == NULL) {
        return NGX_ERROR;
    }

    p = ngx_pnalloc(call->pool, n * (NGX_INT64_LEN + 1) + sizeof("\"{}\""));
    if (p == NULL) {
        return NGX_ERROR;
    }

    param->data = p;
    *p++ = '"';

    for (i = 0; i < n; i++) {
        p = ngx_sprintf(p, i ? ",%L" : "{%L", values[i]);
    }

    p = ngx_sprintf(p, "}\"%Z");
    param->len = p - param->data - 1;

    return NGX_OK;
}


ngx_int_t
ngx_http_concert_call_operation(ngx_http_concert_call_t *call)
{
    return ngx_http_concert_call_uuid(call, ngx_http_concert_operation_prefix,
                                      ngx_http_concert_operation_count++);
}


ngx_int_t
ngx_http_concert_call_secret_operation(ngx_http_concert_call_t *call)
{
    uint64_t  id[2];

    if (getrandom(id, sizeof(id), 0) != (ssize_t) sizeof(id)) {
        return NGX_ERROR;
    }

    return ngx_http_concert_call_uuid(call, id[0], id[1]);
}


static ngx_int_t
ngx_http_concert_call_uuid(ngx_http_concert_call_t *call, uint64_t a,
    uint64_t b)
{
    u_char     *p;
    ngx_str_t  *param;

    param = ngx_http_concert_call_param(call);
    if (param == NULL) {
        return NGX_ERROR;
    }

    p = ngx_pnalloc(call->pool, 2 * 16 + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    param->data = p;

    p = ngx_sprintf(p, "%08xD%08xD%08xD%08xD%Z",
                    (uint32_t) (a >> 32), (uint32_t) a,
                    (uint32_t) (b >> 32), (uint32_t) b);

    param->len = p - param->data - 1;

    return NGX_OK;
}


ngx_int_t
ngx_http_concert_call_string(ngx_http_concert_call_t *call,
    const ngx_str_t *value)
{
    ngx_str_t  *param;

    param = ngx_http_concert_call_param(call);
    if (param == NULL) {
        return NGX_ERROR;
    }

    *param = *value;

    return NGX_OK;
}


ngx_int_t
ngx_http_concert_call_quoted(ngx_http_concert_call_t *call,
    const ngx_str_t *value)
{
    u_char     *p;
    size_t      i;
    ngx_str_t  *param;

    param = ngx_http_concert_call_param(call);
    if (param == NULL) {
        return NGX_ERROR;
    }

    if (value->data == NULL) {
        return NGX_OK;
    }

    p = ngx_pnalloc(call->pool, 2 * value->len + sizeof("\"\""));
    if (p == NULL) {
        return NGX_ERROR;
    }

    param->data = p;
    *p++ = '"';

    for (i = 0; i < value->len; i++) {
        if (value->data[i] == '"' || value->data[i] == '\\') {
            *p++ = '\\';
        }

        *p++ = value->data[i];
    }

    *p++ = '"';
    *p = '\0';
    param->len = p - param->data;

    return NGX_OK;
}


ngx_int_t
ngx_http_concert_call_key(ngx_http_concert_call_t *call)
{
    if (call->key.len == 0) {
        return NGX_OK;
    }

    if (ngx_http_concert_call_quoted(call, &call->key) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_concert_call_string(call, &call->digest);
}


void
ngx_http_concert_call_init_worker(void)
{
    ngx_fd_t  fd;
    uint64_t  seed[2];

    fd = ngx_open_file("/dev/urandom", NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE
        || ngx_read_fd(fd, seed, sizeof(seed)) != (ssize_t) sizeof(seed))
    {
        seed[0] = ((uint64_t) ngx_random() << 32) ^ (uint64_t) ngx_pid;
        seed[1] = ((uint64_t) ngx_random() << 32) ^ (uint64_t) ngx_time();
    }

    if (fd != NGX_INVALID_FILE) {
        (void) ngx_close_file(fd);
    }

    ngx_http_concert_operation_prefix = seed[0];
    ngx_http_concert_operation_count = seed[1];
}


static void *
ngx_http_concert_call_alloc(void *data, size_t size)
{
    return ngx_pnalloc(data, size);
}


void
ngx_http_concert_call_json(ngx_http_concert_call_t *call,
    ngx_http_concert_json_t *json, size_t size)
{
    ngx_http_concert_json_init(json, ngx_http_concert_call_alloc, call->pool,
                               size);
}


ngx_str_t
ngx_http_concert_call_text(ngx_http_concert_json_t *json)
{
    ngx_str_t  text;

    ngx_str_null(&text);

    if (!json->failed) {
        text.data = json->start;
        text.len = json->pos - json->start;
    }

    return text;
}


void
ngx_http_concert_call_body(ngx_http_concert_call_t *call,
    ngx_http_concert_json_t *json)
{
    if (json->failed) {
        ngx_http_concert_call_fail(call, "overloaded", NULL);
        return;
    }

    call->reply.status = 200;
    call->reply.body = ngx_http_concert_call_text(json);
}


void
ngx_http_concert_call_fail(ngx_http_concert_call_t *call, const char *code,
    const char *detail)
{
    call->reply.code = code;

    if (detail) {
        call->reply.detail.data = (u_char *) detail;
        call->reply.detail.len = ngx_strlen(detail);
    }
}


ngx_uint_t
ngx_http_concert_call_ok(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res, ngx_uint_t column,
    ngx_uint_t replayed)
{
    ngx_str_t  outcome;

    if (res->rows == 0) {
        ngx_http_concert_call_fail(call, "store_unavailable", NULL);
        return 0;
    }

    outcome = res->string(res, 0, column);

    if (call->key.len) {
        call->reply.replayed = (res->integer(res, 0, replayed) == 1);
    }

    if (outcome.len == 2 && ngx_strncmp(outcome.data, "ok", 2) == 0) {
        return 1;
    }

    ngx_http_concert_call_fail(call, ngx_http_concert_problem_code(&outcome),
                               NULL);

    return 0;
}


ngx_msec_t
ngx_http_concert_now(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (ngx_msec_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}
