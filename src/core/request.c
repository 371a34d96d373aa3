
/*
 * Rules of this file: a request is finalized exactly once for the reference
 * that the handler or the body reader took; a call belongs to its request only
 * until it is submitted, afterwards it frees itself when it is done.
 */

#include "core/request.h"
#include "core/parse.h"
#include "core/reply.h"

#include <ngx_sha1.h>


#define NGX_HTTP_CONCERT_MAX_BODY    65536
#define NGX_HTTP_CONCERT_ERROR_SIZE  256


static const ngx_http_concert_endpoint_t *ngx_http_concert_endpoint(
    ngx_http_request_t *r, ngx_http_concert_route_t *route);
static ngx_int_t ngx_http_concert_known(ngx_http_request_t *r,
    const ngx_http_concert_endpoint_t *endpoint);
static ngx_int_t ngx_http_concert_known_caller(ngx_http_request_t *r,
    ngx_uint_t flags, ngx_http_concert_known_t *known);
static ngx_http_concert_ctx_t *ngx_http_concert_context(
    ngx_http_request_t *r, const ngx_http_concert_endpoint_t *endpoint);
static ngx_http_concert_call_t *ngx_http_concert_attach(
    ngx_http_request_t *r, const ngx_http_concert_endpoint_t *endpoint);
static void ngx_http_concert_detach(void *data);
static ngx_int_t ngx_http_concert_identify(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, ngx_uint_t flags);
static ngx_int_t ngx_http_concert_identify_caller(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, ngx_uint_t flags);
static ngx_int_t ngx_http_concert_key(ngx_http_request_t *r,
    ngx_http_concert_call_t *call);
static ngx_int_t ngx_http_concert_digest(ngx_http_concert_call_t *call,
    json_t *body);
static ngx_int_t ngx_http_concert_path_id(ngx_http_request_t *r, int64_t *id);
static size_t ngx_http_concert_path_prefix(ngx_http_request_t *r);
static ngx_int_t ngx_http_concert_same_user(ngx_http_concert_call_t *call,
    int64_t user_id);
static ngx_int_t ngx_http_concert_check_body(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, ngx_uint_t flags);
static void ngx_http_concert_body_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_concert_wrong_body(ngx_http_concert_call_t *call,
    const char *error, const json_t *twice);
static ngx_int_t ngx_http_concert_read_body(ngx_http_request_t *r,
    ngx_str_t *body);
static u_char *ngx_http_concert_copy_body(u_char *p, ngx_buf_t *buf);
static ngx_int_t ngx_http_concert_parse_body(ngx_http_request_t *r,
    ngx_http_concert_call_t *call);
static void ngx_http_concert_begin(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, ngx_int_t rc);
static void ngx_http_concert_test_writing(ngx_http_request_t *r);
static ngx_int_t ngx_http_concert_admission(ngx_http_concert_call_t *call);
static void ngx_http_concert_admission_done(ngx_http_concert_call_t *call);
static void ngx_http_concert_admitted(ngx_http_concert_call_t *call,
    const ngx_http_concert_place_t *place);
static void ngx_http_concert_start(ngx_http_concert_call_t *call);
static void ngx_http_concert_call_done(ngx_http_concert_call_t *call);
static void ngx_http_concert_timeout(ngx_http_concert_call_t *call);
static void ngx_http_concert_keep(ngx_http_concert_ctx_t *ctx,
    ngx_http_concert_call_t *call, const char *code);
static void ngx_http_concert_destroy(void *data);


/* inside of a handler that nginx called, which finalizes requests by itself */
static ngx_uint_t  ngx_http_concert_nested;


ngx_int_t
ngx_http_concert_handler(ngx_http_request_t *r)
{
    ngx_int_t                           rc;
    ngx_http_concert_call_t            *call;
    ngx_http_concert_loc_conf_t        *lcf;
    const ngx_http_concert_endpoint_t  *endpoint;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_concert_module);

    if (lcf->route == NULL) {

        /* what other modules make out of a location is not known to us */

        return NGX_HTTP_NOT_FOUND;
    }

    endpoint = ngx_http_concert_endpoint(r, lcf->route);

    if (endpoint && endpoint->known) {
        rc = ngx_http_concert_known(r, endpoint);

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    call = ngx_http_concert_attach(r, endpoint);
    if (call == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (endpoint == NULL) {
        ngx_http_concert_call_fail(call, "method_not_allowed", NULL);
        rc = NGX_DECLINED;

    } else {
        rc = ngx_http_concert_identify(r, call, endpoint->flags);
    }

    if (rc == NGX_OK && (endpoint->flags & NGX_HTTP_CONCERT_BODY)) {
        rc = ngx_http_concert_check_body(r, call, endpoint->flags);

        if (rc == NGX_OK) {
            ngx_http_concert_nested++;
            rc = ngx_http_read_client_request_body(r,
                                               ngx_http_concert_body_handler);
            ngx_http_concert_nested--;

            return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
        }
    }

    if (ngx_http_discard_request_body(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_OK && endpoint->parse) {
        rc = endpoint->parse(r, call, NULL);
    }

    r->main->count++;

    ngx_http_concert_nested++;
    ngx_http_concert_begin(r, call, rc);
    ngx_http_concert_nested--;

    return NGX_DONE;
}


ngx_http_concert_sale_t *
ngx_http_concert_sale(ngx_http_request_t *r)
{
    ngx_http_concert_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_concert_module);

    return lcf->sale;
}


static const ngx_http_concert_endpoint_t *
ngx_http_concert_endpoint(ngx_http_request_t *r,
    ngx_http_concert_route_t *route)
{
    ngx_uint_t                          i, method;
    const ngx_http_concert_endpoint_t  *endpoint;

    method = (r->method == NGX_HTTP_HEAD) ? NGX_HTTP_GET : r->method;

    for (i = 0; i < NGX_HTTP_CONCERT_MAX_ENDPOINTS; i++) {
        endpoint = &route->endpoints[i];

        if (endpoint->method & method) {
            return endpoint;
        }
    }

    return NULL;
}


/*
 * Who asks well for what is in memory is answered from there; all others go
 * the long way, which also says what is wrong.
 */

static ngx_int_t
ngx_http_concert_known(ngx_http_request_t *r,
    const ngx_http_concert_endpoint_t *endpoint)
{
    ngx_http_concert_known_t  known;

    known.sale = ngx_http_concert_sale(r);
    known.id = 0;

    if (((endpoint->flags & NGX_HTTP_CONCERT_ID)
         && ngx_http_concert_path_id(r, &known.id) != NGX_OK)
        || ngx_http_concert_known_caller(r, endpoint->flags, &known) != NGX_OK
        || ngx_http_concert_queue_known(known.sale->queue, known.user_id,
                                        &known.place)
           != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if ((endpoint->flags & NGX_HTTP_CONCERT_ACTIVE)
        && known.place.status != NGX_HTTP_CONCERT_TICKET_ACTIVE)
    {
        return NGX_DECLINED;
    }

    if (ngx_http_discard_request_body(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return endpoint->known(r, &known);
}


static ngx_int_t
ngx_http_concert_known_caller(ngx_http_request_t *r, ngx_uint_t flags,
    ngx_http_concert_known_t *known)
{
    ngx_int_t                           rc;
    const char                         *wrong;
    const ngx_http_concert_identity_t  *identity;

    identity = known->sale->identity;
    rc = ngx_http_concert_caller(r, identity, &known->user_id, &wrong);

    if (!(flags & NGX_HTTP_CONCERT_ID_IS_USER)) {
        return rc;
    }

    if (rc == NGX_DECLINED
        && identity->kind == NGX_HTTP_CONCERT_IDENTITY_HEADER)
    {
        known->user_id = known->id;
        return NGX_OK;
    }

    return (rc == NGX_OK && known->user_id == known->id) ? NGX_OK
                                                         : NGX_DECLINED;
}


ngx_int_t
ngx_http_concert_tell(ngx_http_request_t *r,
    const ngx_http_concert_known_t *known)
{
    ngx_http_concert_ctx_t  *ctx;

    ctx = ngx_http_concert_context(r, NULL);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    ctx->user_id = known->user_id;
    ctx->position = known->place.position;

    return NGX_OK;
}


ngx_int_t
ngx_http_concert_tell_code(ngx_http_request_t *r, const char *code)
{
    ngx_http_concert_ctx_t  *ctx;

    ctx = ngx_http_concert_context(r, NULL);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    ctx->code = code;

    return NGX_OK;
}


ngx_int_t
ngx_http_concert_tell_reply(ngx_http_request_t *r,
    const ngx_http_concert_known_t *known, ngx_http_concert_reply_t *reply)
{
    if (ngx_http_concert_tell(r, known) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    reply->status = NGX_HTTP_OK;

    return ngx_http_concert_send(r, reply);
}


static ngx_http_concert_ctx_t *
ngx_http_concert_context(ngx_http_request_t *r,
    const ngx_http_concert_endpoint_t *endpoint)
{
    ngx_http_concert_ctx_t  *ctx;

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_concert_ctx_t));

    if (ctx) {
        ctx->endpoint = endpoint;
        ctx->position = -1;
        ngx_http_set_ctx(r, ctx, ngx_http_concert_module);
    }

    return ctx;
}


/* gives a request its context and its call */

static ngx_http_concert_call_t *
ngx_http_concert_attach(ngx_http_request_t *r,
    const ngx_http_concert_endpoint_t *endpoint)
{
    ngx_http_cleanup_t       *cln;
    ngx_http_concert_ctx_t   *ctx;
    ngx_http_concert_call_t  *call;

    ctx = ngx_http_concert_context(r, endpoint);
    if (ctx == NULL) {
        return NULL;
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NULL;
    }

    call = ngx_http_concert_call_create(ngx_http_concert_sale(r));
    if (call == NULL) {
        return NULL;
    }

    cln->handler = ngx_http_concert_detach;
    cln->data = ctx;

    ctx->call = call;

    call->request = r;
    call->done = ngx_http_concert_call_done;
    call->position = -1;

    return call;
}


/* the request goes away; its call, once submitted, goes on alone */

static void
ngx_http_concert_detach(void *data)
{
    ngx_http_concert_ctx_t *ctx = data;

    if (ctx->call == NULL) {
        return;
    }

    ctx->call->request = NULL;

    if (ctx->call->state == NGX_HTTP_CONCERT_CALL_IDLE) {
        ngx_http_concert_call_destroy(ctx->call);
    }

    ctx->call = NULL;
}


/* who is asking, and for whom */

static ngx_int_t
ngx_http_concert_identify(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, ngx_uint_t flags)
{
    ngx_int_t  rc;

    if (flags & NGX_HTTP_CONCERT_ID) {
        rc = ngx_http_concert_path_id(r, &call->id);

        if (rc == NGX_DECLINED) {
            ngx_http_concert_call_fail(call, "route_not_found", NULL);
            return NGX_DECLINED;
        }

        if (rc == NGX_ERROR) {
            ngx_http_concert_call_fail(call, "invalid_request",
                "The id at the end of the path must be an integer from 1 to "
                "9007199254740991, without leading zeros.");
            return NGX_DECLINED;
        }
    }

    if (!(flags & NGX_HTTP_CONCERT_KNOWS_USER)) {
        return NGX_OK;
    }

    if (ngx_http_concert_identify_caller(r, call, flags) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (flags & NGX_HTTP_CONCERT_ID_IS_USER) {
        return ngx_http_concert_same_user(call, call->id);
    }

    return (flags & NGX_HTTP_CONCERT_ONCE) ? ngx_http_concert_key(r, call)
                                           : NGX_OK;
}


/* only where the userId header is the identity may a caller stay unnamed */

static ngx_int_t
ngx_http_concert_identify_caller(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, ngx_uint_t flags)
{
    ngx_int_t                           rc;
    ngx_uint_t                          signed_in;
    const char                         *wrong;
    const ngx_http_concert_identity_t  *identity;

    identity = call->sale->identity;
    signed_in = (identity->kind == NGX_HTTP_CONCERT_IDENTITY_JWT);

    rc = ngx_http_concert_caller(r, identity, &call->user_id, &wrong);

    if (rc == NGX_ERROR) {
        ngx_http_concert_call_fail(call, "identity_invalid", wrong);
        return NGX_DECLINED;
    }

    if (rc == NGX_DECLINED
        && (signed_in || (flags & NGX_HTTP_CONCERT_CALLER)))
    {
        ngx_http_concert_call_fail(call, "identity_missing",
            signed_in ? "Say who is asking: send the header \"Authorization: "
                        "Bearer <token>\" with the token of the login."
                      : NULL);
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/*
 * The Idempotency-Key, bare or in double quotes, into the call's memory: the
 * request may be gone before it is used.
 */

static ngx_int_t
ngx_http_concert_key(ngx_http_request_t *r, ngx_http_concert_call_t *call)
{
    size_t       start;
    ngx_str_t    value;
    ngx_uint_t   n;

    n = ngx_http_concert_header(r, "idempotency-key", &value);

    if (n == 0) {
        return NGX_OK;
    }

    if (n == 1) {
        call->key.len = ngx_http_concert_parse_key(value.data, value.len,
                                                   &start);
    }

    if (call->key.len == 0) {
        return ngx_http_concert_bad_request(call, "Idempotency-Key",
               "must be given once and have 1 to 255 visible ASCII characters");
    }

    call->key.data = ngx_pnalloc(call->pool, call->key.len);
    if (call->key.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(call->key.data, value.data + start, call->key.len);

    return NGX_OK;
}


/* SHA-1 of the body's values, whatever their order and spacing */

static ngx_int_t
ngx_http_concert_digest(ngx_http_concert_call_t *call, json_t *body)
{
    char        *text;
    u_char       hash[20];
    ngx_sha1_t   sha1;

    text = json_dumps(body, JSON_COMPACT|JSON_SORT_KEYS);
    if (text == NULL) {
        return NGX_ERROR;
    }

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, text, ngx_strlen(text));
    ngx_sha1_final(hash, &sha1);

    free(text);

    call->digest.data = ngx_pnalloc(call->pool, 2 * sizeof(hash) + 1);
    if (call->digest.data == NULL) {
        return NGX_ERROR;
    }

    *ngx_hex_dump(call->digest.data, hash, sizeof(hash)) = '\0';
    call->digest.len = 2 * sizeof(hash);

    return NGX_OK;
}


/*
 * The id after the location's prefix, alone.  NGX_DECLINED: there is more, or
 * less; NGX_ERROR: it is no id.
 */

static ngx_int_t
ngx_http_concert_path_id(ngx_http_request_t *r, int64_t *id)
{
    switch (ngx_http_concert_parse_path_id(r->uri.data, r->uri.len,
                                           ngx_http_concert_path_prefix(r),
                                           id))
    {
    case NGX_HTTP_CONCERT_PARSE_OK:
        return NGX_OK;

    case NGX_HTTP_CONCERT_PARSE_NONE:
        return NGX_DECLINED;

    default:
        return NGX_ERROR;
    }
}


/* 0: the location is not for a prefix, or the path was rewritten since */

static size_t
ngx_http_concert_path_prefix(ngx_http_request_t *r)
{
    ngx_str_t                    *prefix;
    ngx_http_concert_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_concert_module);
    prefix = &lcf->prefix;

    if (prefix->len == 0 || prefix->len > r->uri.len
        || ngx_memcmp(r->uri.data, prefix->data, prefix->len) != 0)
    {
        return 0;
    }

    return prefix->len;
}


void
ngx_http_concert_path_rest(ngx_http_request_t *r, ngx_str_t *rest)
{
    size_t  start;

    start = ngx_http_concert_path_prefix(r);

    if (start == 0) {
        for (start = r->uri.len; start && r->uri.data[start - 1] != '/';
             start--)
        {
            /* void */
        }
    }

    rest->data = r->uri.data + start;
    rest->len = r->uri.len - start;
}


/* the user of a path or body must be the caller, where one is named */

static ngx_int_t
ngx_http_concert_same_user(ngx_http_concert_call_t *call, int64_t user_id)
{
    if (call->user_id == 0) {
        call->user_id = user_id;
        return NGX_OK;
    }

    if (call->user_id != user_id) {
        ngx_http_concert_call_fail(call, "identity_mismatch", NULL);
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/* what is wrong with a body before it is read */

static ngx_int_t
ngx_http_concert_check_body(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, ngx_uint_t flags)
{
    ngx_table_elt_t  *type;

    if (r->headers_in.content_length_n > NGX_HTTP_CONCERT_MAX_BODY) {
        ngx_http_concert_call_fail(call, "body_too_large", NULL);
        return NGX_DECLINED;
    }

    type = r->headers_in.content_type;

    if (type
        ? ngx_http_concert_parse_json_type(type->value.data, type->value.len)
        : !(flags & NGX_HTTP_CONCERT_TYPED))
    {
        return NGX_OK;
    }

    /* a page of another site can send a body without a type, but not JSON */

    ngx_http_concert_call_fail(call, "media_type_unsupported",
                               (flags & NGX_HTTP_CONCERT_TYPED)
                               ? "Send JSON, with Content-Type: "
                                 "application/json."
                               : NULL);

    return NGX_DECLINED;
}


static void
ngx_http_concert_body_handler(ngx_http_request_t *r)
{
    ngx_int_t                rc;
    ngx_http_concert_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_concert_module);

    ngx_http_concert_nested++;

    rc = ngx_http_concert_parse_body(r, ctx->call);
    ngx_http_concert_begin(r, ctx->call, rc);

    ngx_http_concert_nested--;
}


static ngx_int_t
ngx_http_concert_parse_body(ngx_http_request_t *r,
    ngx_http_concert_call_t *call)
{
    char                                error[NGX_HTTP_CONCERT_ERROR_SIZE];
    json_t                             *json, *twice;
    int64_t                             user_id;
    ngx_int_t                           rc;
    ngx_str_t                           body;
    ngx_http_concert_ctx_t             *ctx;
    const ngx_http_concert_endpoint_t  *endpoint;

    rc = ngx_http_concert_read_body(r, &body);

    if (rc != NGX_OK) {
        if (rc == NGX_DECLINED) {
            ngx_http_concert_call_fail(call, "body_too_large", NULL);
        }

        return rc;
    }

    json = ngx_http_concert_json_parse(body.data, body.len, error,
                                       sizeof(error), &twice);
    if (json == NULL) {
        rc = ngx_http_concert_wrong_body(call, error, twice);
        json_decref(twice);

        return rc;
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_concert_module);
    endpoint = ctx->endpoint;
    rc = NGX_OK;

    if (endpoint->flags & NGX_HTTP_CONCERT_BODY_USER) {
        rc = ngx_http_concert_body_integer(call, json, "userId", 1, &user_id);

        if (rc == NGX_OK) {
            rc = ngx_http_concert_same_user(call, user_id);
        }
    }

    if (rc == NGX_OK && endpoint->parse) {
        rc = endpoint->parse(r, call, json);
    }

    if (rc == NGX_OK && call->key.len) {
        rc = ngx_http_concert_digest(call, json);
    }

    json_decref(json);

    return rc;
}


static ngx_int_t
ngx_http_concert_wrong_body(ngx_http_concert_call_t *call, const char *error,
    const json_t *twice)
{
    u_char  *detail;

    if (twice) {
        return ngx_http_concert_bad_request(call, json_string_value(twice),
                                            "must be given only once");
    }

    detail = ngx_pnalloc(call->pool, sizeof("The body is not JSON: .")
                                     + NGX_HTTP_CONCERT_ERROR_SIZE);
    if (detail == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(detail, "The body is not JSON: %s.%Z", error);
    ngx_http_concert_call_fail(call, "invalid_request", (char *) detail);

    return NGX_DECLINED;
}


/*
 * The body in one piece, wherever nginx has put it: what comes in frames or in
 * chunks may lie in a temporary file although it would fit into the buffer.
 * NGX_DECLINED: it is too large.
 */

static ngx_int_t
ngx_http_concert_read_body(ngx_http_request_t *r, ngx_str_t *body)
{
    u_char       *p;
    ngx_chain_t  *cl;

    ngx_str_null(body);

    if (r->request_body == NULL || r->request_body->bufs == NULL) {
        return NGX_OK;
    }

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        body->len += ngx_buf_size(cl->buf);
    }

    if (body->len > NGX_HTTP_CONCERT_MAX_BODY) {
        return NGX_DECLINED;
    }

    cl = r->request_body->bufs;

    if (cl->next == NULL && ngx_buf_in_memory(cl->buf)) {
        body->data = cl->buf->pos;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, body->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    body->data = p;

    for ( /* void */ ; cl; cl = cl->next) {
        p = ngx_http_concert_copy_body(p, cl->buf);

        if (p == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* returns the end of the copy, or NULL if the file cannot be read */

static u_char *
ngx_http_concert_copy_body(u_char *p, ngx_buf_t *buf)
{
    off_t    pos;
    ssize_t  n;

    if (ngx_buf_in_memory(buf)) {
        return ngx_cpymem(p, buf->pos, buf->last - buf->pos);
    }

    for (pos = buf->file_pos; pos < buf->file_last; pos += n) {
        n = ngx_read_file(buf->file, p, (size_t) (buf->file_last - pos), pos);

        if (n <= 0) {
            return NULL;
        }

        p += n;
    }

    return p;
}


ngx_int_t
ngx_http_concert_bad_request(ngx_http_concert_call_t *call,
    const char *field, const char *wrong)
{
    size_t                    len;
    ngx_str_t                *detail;
    ngx_http_concert_json_t   json;

    len = ngx_strlen(field);
    detail = &call->reply.detail;

    ngx_http_concert_call_fail(call, "invalid_request", NULL);

    detail->data = ngx_pnalloc(call->pool, len + ngx_strlen(wrong)
                                           + sizeof(" ."));
    if (detail->data == NULL) {
        return NGX_ERROR;
    }

    detail->len = ngx_sprintf(detail->data, "%s %s.", field, wrong)
                  - detail->data;

    /* the name of a member that was made up may hold anything */

    ngx_http_concert_call_json(call, &json,
                               sizeof(",\"field\":\"\"") + 6 * len);
    ngx_http_concert_json_text(&json, ",\"field\":");
    ngx_http_concert_json_string(&json, field, len);

    call->reply.extra = ngx_http_concert_call_text(&json);

    return json.failed ? NGX_ERROR : NGX_DECLINED;
}


ngx_int_t
ngx_http_concert_body_integer(ngx_http_concert_call_t *call, json_t *body,
    const char *name, int64_t min, int64_t *value)
{
    const char  *wrong;

    wrong = ngx_http_concert_json_member(body, name, min,
                                         NGX_HTTP_CONCERT_MAX_INTEGER, value);

    return wrong ? ngx_http_concert_bad_request(call, name, wrong) : NGX_OK;
}


ngx_int_t
ngx_http_concert_query_integer(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, const char *name, int64_t min, int64_t max,
    int64_t *value, ngx_uint_t *missing)
{
    ngx_http_concert_parse_e  found;

    found = ngx_http_concert_parse_query(r->args.data, r->args.len, name, min,
                                         max, value);

    if (found == NGX_HTTP_CONCERT_PARSE_TWICE) {
        return ngx_http_concert_bad_request(call, name,
                                            "must be given only once");
    }

    if (found == NGX_HTTP_CONCERT_PARSE_WRONG) {
        return ngx_http_concert_bad_request(call, name,
            max == 500 ? "must be an integer from 1 to 500"
                       : "must be an integer up to 9007199254740991, "
                         "without leading zeros");
    }

    *missing = (found == NGX_HTTP_CONCERT_PARSE_NONE);

    return NGX_OK;
}


ngx_int_t
ngx_http_concert_query_word(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, const char *name,
    const char *const *words, const char *wrong, size_t *word)
{
    switch (ngx_http_concert_parse_word(r->args.data, r->args.len, name,
                                        words, word))
    {
    case NGX_HTTP_CONCERT_PARSE_TWICE:
        return ngx_http_concert_bad_request(call, name,
                                            "must be given only once");

    case NGX_HTTP_CONCERT_PARSE_WRONG:
        return ngx_http_concert_bad_request(call, name, wrong);

    default:
        return NGX_OK;
    }
}


/* everything is read; rc says whether it is right */

static void
ngx_http_concert_begin(ngx_http_request_t *r, ngx_http_concert_call_t *call,
    ngx_int_t rc)
{
    ngx_http_concert_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_concert_module);

    if (rc == NGX_OK && !r->discard_body) {
        rc = ngx_http_concert_watch(r);
    }

    if (rc != NGX_OK) {
        if (rc == NGX_ERROR) {
            ngx_http_concert_call_fail(call, "overloaded", NULL);
        }

        ngx_http_concert_answer(call);
        return;
    }

    if (!(ctx->endpoint->flags & NGX_HTTP_CONCERT_ACTIVE)) {
        ngx_http_concert_start(call);
        return;
    }

    if (ngx_http_concert_admission(call) != NGX_OK) {
        ngx_http_concert_call_fail(call, "overloaded", NULL);
        ngx_http_concert_answer(call);
    }
}


ngx_int_t
ngx_http_concert_watch(ngx_http_request_t *r)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (r->post_action || clcf->post_action.data) {

        /* post_action goes on with the request of a client that has left */

        r->read_event_handler = ngx_http_block_reading;
        r->write_event_handler = ngx_http_request_empty_handler;

    } else {
        r->read_event_handler = ngx_http_test_reading;
        r->write_event_handler = ngx_http_concert_test_writing;
    }

    return ngx_handle_read_event(r->connection->read, 0);
}


/*
 * Over HTTP/3 a client whose request is all sent leaves by STOP_SENDING, which
 * is an error of writing alone.
 */

static void
ngx_http_concert_test_writing(ngx_http_request_t *r)
{
    if (r->connection->write->error) {
        ngx_http_finalize_request(r, NGX_HTTP_CLIENT_CLOSED_REQUEST);
    }
}


/* only those with an active token go on */

static ngx_int_t
ngx_http_concert_admission(ngx_http_concert_call_t *call)
{
    ngx_http_concert_place_t  place;

    if (ngx_http_concert_queue_known(call->sale->queue, call->user_id, &place)
        == NGX_OK)
    {
        call->position = place.position;
        ngx_http_concert_admitted(call, &place);
        return NGX_OK;
    }

    ngx_http_concert_call_step(call, &ngx_http_concert_look,
                               ngx_http_concert_queue_read_ticket);

    if (ngx_http_concert_queue_user_params(call) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_concert_run(call, ngx_http_concert_admission_done);
}


static void
ngx_http_concert_admission_done(ngx_http_concert_call_t *call)
{
    ngx_http_concert_place_t  place;

    if (!ngx_http_concert_succeeded(call)) {
        ngx_http_concert_answer(call);
        return;
    }

    ngx_http_concert_queue_learn_ticket(call, &place);
    ngx_http_concert_admitted(call, &place);
}


/* a repeat is answered even if the token has ended since */

static void
ngx_http_concert_admitted(ngx_http_concert_call_t *call,
    const ngx_http_concert_place_t *place)
{
    call->admitted = (place->status == NGX_HTTP_CONCERT_TICKET_ACTIVE);

    if (call->request && (call->admitted || call->key.len)) {
        ngx_http_concert_start(call);
        return;
    }

    ngx_http_concert_call_fail(call, "token_not_active", NULL);
    ngx_http_concert_answer(call);
}


static void
ngx_http_concert_start(ngx_http_concert_call_t *call)
{
    ngx_int_t                rc;
    ngx_http_concert_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(call->request, ngx_http_concert_module);

    rc = ctx->endpoint->start(call);

    if (rc == NGX_OK) {
        return;
    }

    if (rc == NGX_ERROR) {
        ngx_http_concert_call_fail(call, "overloaded", NULL);
    }

    ngx_http_concert_answer(call);
}


ngx_int_t
ngx_http_concert_run(ngx_http_concert_call_t *call,
    void (*done)(ngx_http_concert_call_t *call))
{
    return ngx_http_concert_sale_run(call,
                                     done ? done : ngx_http_concert_call_done);
}


static void
ngx_http_concert_call_done(ngx_http_concert_call_t *call)
{
    (void) ngx_http_concert_succeeded(call);
    ngx_http_concert_answer(call);
}


ngx_uint_t
ngx_http_concert_succeeded(ngx_http_concert_call_t *call)
{
    const char  *away;

    away = call->sale->groups[call->op->group]->away_code;

    switch (call->outcome) {

    case NGX_HTTP_CONCERT_OK:
        return 1;

    case NGX_HTTP_CONCERT_REFUSED:
        ngx_http_concert_call_fail(call, "overloaded", NULL);
        return 0;

    case NGX_HTTP_CONCERT_UNKNOWN:
        ngx_http_concert_call_fail(call, "timeout", NULL);
        return 0;

    default: /* NGX_HTTP_CONCERT_AWAY, NGX_HTTP_CONCERT_ERROR */
        ngx_http_concert_call_fail(call, away, NULL);
        return 0;
    }
}


void
ngx_http_concert_answer(ngx_http_concert_call_t *call)
{
    ngx_int_t                rc;
    ngx_pool_cleanup_t      *cln;
    ngx_http_request_t      *r;
    ngx_http_concert_ctx_t  *ctx;

    r = call->request;

    if (r == NULL) {
        ngx_http_concert_call_destroy(call);
        return;
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_concert_module);

    ngx_http_concert_keep(ctx, call, call->reply.code);

    /* the reply is sent from the call's memory */

    cln = ngx_pool_cleanup_add(r->pool, 0);

    if (cln == NULL) {
        ngx_http_concert_call_destroy(call);
        ngx_http_concert_finalize(r, NGX_ERROR);
        return;
    }

    cln->handler = ngx_http_concert_destroy;
    cln->data = call;

    rc = ngx_http_concert_send(r, &call->reply);

    ngx_http_concert_finalize(r, rc);
}


ngx_http_request_t *
ngx_http_concert_part(ngx_http_concert_call_t *call)
{
    ngx_http_request_t  *r;

    r = call->request;

    if (r) {
        ngx_http_concert_keep(ngx_http_get_module_ctx(r,
                                                     ngx_http_concert_module),
                              call, NULL);
    }

    ngx_http_concert_call_destroy(call);

    return r;
}


/* the deadline has passed and the thread still has the call */

static void
ngx_http_concert_timeout(ngx_http_concert_call_t *call)
{
    ngx_int_t                  rc;
    ngx_http_request_t        *r;
    ngx_http_concert_ctx_t    *ctx;
    ngx_http_concert_reply_t   reply;

    r = call->request;
    ctx = ngx_http_get_module_ctx(r, ngx_http_concert_module);

    ngx_memzero(&reply, sizeof(ngx_http_concert_reply_t));

    if (call->late) {
        call->late(call, &reply);

    } else {
        reply.code = "timeout";
    }

    ngx_http_concert_keep(ctx, call, reply.code);

    rc = ngx_http_concert_send(r, &reply);

    ngx_http_concert_finalize(r, rc);
}


/* parts the request from its call; keeps what variables tell */

static void
ngx_http_concert_keep(ngx_http_concert_ctx_t *ctx,
    ngx_http_concert_call_t *call, const char *code)
{
    ctx->user_id = call->user_id;
    ctx->store_time = call->store_time;
    ctx->code = code;
    ctx->call = NULL;

    if (call->state == NGX_HTTP_CONCERT_CALL_IDLE) {
        ctx->position = call->position;

    } else {
        ctx->store_time += ngx_current_msec - call->submitted;
    }

    call->request = NULL;
}


static void
ngx_http_concert_destroy(void *data)
{
    ngx_http_concert_call_destroy(data);
}


void
ngx_http_concert_finalize(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_connection_t  *c;

    c = r->connection;

    ngx_http_finalize_request(r, rc);

    if (ngx_http_concert_nested == 0) {
        ngx_http_run_posted_requests(c);
    }
}


ngx_int_t
ngx_http_concert_log_handler(ngx_http_request_t *r)
{
    ngx_time_t                   *tp;
    ngx_msec_int_t                ms;
    ngx_http_concert_ctx_t       *ctx;
    ngx_http_concert_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_concert_module);
    ctx = ngx_http_get_module_ctx(r, ngx_http_concert_module);

    if ((lcf->route == NULL && ctx == NULL) || lcf->sale->slot == NULL) {
        return NGX_OK;
    }

    tp = ngx_timeofday();

    ms = (ngx_msec_int_t) ((tp->sec - r->start_sec) * 1000
                           + (tp->msec - r->start_msec));

    ngx_http_concert_zone_request(lcf->sale->slot, lcf->index,
                                  r->headers_out.status,
                                  (ngx_msec_t) ngx_max(ms, 0));

    return NGX_OK;
}


void
ngx_http_concert_request_init_worker(void)
{
    ngx_http_concert_on_timeout = ngx_http_concert_timeout;
}
