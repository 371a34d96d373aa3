
#include "core/reply.h"
#include "core/compat.h"
#include "core/problem.h"
#include "core/request.h"


#define NGX_HTTP_CONCERT_PROBLEM_SIZE  256

/* s; a store that is away is probed more often than this */
#define NGX_HTTP_CONCERT_RETRY_AFTER   1


static ngx_uint_t ngx_http_concert_matches(ngx_http_request_t *r,
    const ngx_http_concert_reply_t *reply);
static ngx_int_t ngx_http_concert_output(ngx_http_request_t *r,
    const ngx_http_concert_reply_t *reply, ngx_str_t *body);
static ngx_int_t ngx_http_concert_problem_body(ngx_http_request_t *r,
    const ngx_http_concert_reply_t *reply,
    const ngx_http_concert_problem_t *problem, ngx_str_t *body);
static void *ngx_http_concert_reply_alloc(void *data, size_t size);
static void ngx_http_concert_reply_type(ngx_http_request_t *r,
    const ngx_str_t *type);
static ngx_int_t ngx_http_concert_reply_headers(ngx_http_request_t *r,
    const ngx_http_concert_reply_t *reply, ngx_uint_t status);
static ngx_int_t ngx_http_concert_reply_validity(ngx_http_request_t *r,
    const ngx_http_concert_reply_t *reply);
static ngx_int_t ngx_http_concert_reply_advice(ngx_http_request_t *r,
    const ngx_http_concert_reply_t *reply, ngx_uint_t status);
static ngx_table_elt_t *ngx_http_concert_reply_header(ngx_http_request_t *r,
    const char *name, const ngx_str_t *value);
static ngx_int_t ngx_http_concert_reply_listed(ngx_http_request_t *r,
    ngx_http_concert_headers_t *headers, const char *name,
    const ngx_str_t *value);
static ngx_int_t ngx_http_concert_reply_challenge(ngx_http_request_t *r,
    const ngx_http_concert_reply_t *reply);
static ngx_table_elt_t *ngx_http_concert_reply_challenge_header(
    ngx_http_request_t *r, const ngx_str_t *description);
static ngx_int_t ngx_http_concert_reply_allow(ngx_http_request_t *r);


static ngx_str_t  ngx_http_concert_json_type =
    ngx_string("application/json");
static ngx_str_t  ngx_http_concert_problem_type =
    ngx_string("application/problem+json");
static ngx_str_t  ngx_http_concert_no_store = ngx_string("no-store");
static ngx_str_t  ngx_http_concert_revalidate =
    ngx_string("private, no-cache");
static ngx_str_t  ngx_http_concert_true = ngx_string("true");
static ngx_str_t  ngx_http_concert_no = ngx_string("no");


ngx_int_t
ngx_http_concert_send(ngx_http_request_t *r,
    const ngx_http_concert_reply_t *reply)
{
    ngx_str_t                          body;
    ngx_http_concert_reply_t           failed;
    const ngx_http_concert_problem_t  *problem;

    if (!ngx_http_concert_matches(r, reply)) {
        ngx_memzero(&failed, sizeof(ngx_http_concert_reply_t));
        failed.code = "precondition_failed";
        reply = &failed;
    }

    body = reply->body;

    if (reply->code) {
        problem = ngx_http_concert_problem((u_char *) reply->code,
                                           ngx_strlen(reply->code));

        if (ngx_http_concert_problem_body(r, reply, problem, &body) != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        r->headers_out.status = reply->status ? reply->status
                                              : problem->status;
    }

    r->headers_out.content_length_n = body.len;

    return ngx_http_concert_output(r, reply, &body);
}


/*
 * RFC 9110, 13.1.1: If-Match is a list of tags, compared strongly, or "*".
 * nginx's filter would look only when the answer has begun, and close the
 * connection.
 */

static ngx_uint_t
ngx_http_concert_matches(ngx_http_request_t *r,
    const ngx_http_concert_reply_t *reply)
{
    u_char     *p, *last;
    ngx_str_t  *list;

    if (reply->code || reply->etag.len == 0
        || r->headers_in.if_match == NULL)
    {
        return 1;
    }

    list = &r->headers_in.if_match->value;

    if (list->len == 1 && list->data[0] == '*') {
        return 1;
    }

    last = list->data + list->len;

    for (p = list->data; p + reply->etag.len <= last; p++) {
        if (ngx_memcmp(p, reply->etag.data, reply->etag.len) == 0
            && (p == list->data || p[-1] != '/'))
        {
            return 1;
        }
    }

    return 0;
}


ngx_int_t
ngx_http_concert_send_header(ngx_http_request_t *r,
    const ngx_http_concert_reply_t *reply)
{
    const ngx_str_t  *type;

    if (reply->code) {
        type = &ngx_http_concert_problem_type;

    } else {
        r->headers_out.status = reply->status;
        type = reply->type.len ? &reply->type : &ngx_http_concert_json_type;
    }

    ngx_http_concert_reply_type(r, type);

    if (ngx_http_concert_reply_headers(r, reply, r->headers_out.status)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_send_header(r);
}


static ngx_int_t
ngx_http_concert_output(ngx_http_request_t *r,
    const ngx_http_concert_reply_t *reply, ngx_str_t *body)
{
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t   out;

    rc = ngx_http_concert_send_header(r, reply);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    if (body->len == 0) {
        return ngx_http_send_special(r, NGX_HTTP_LAST);
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->pos = body->data;
    b->last = body->data + body->len;
    b->memory = 1;
    b->last_buf = (r == r->main);
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


static ngx_int_t
ngx_http_concert_problem_body(ngx_http_request_t *r,
    const ngx_http_concert_reply_t *reply,
    const ngx_http_concert_problem_t *problem, ngx_str_t *body)
{
    ngx_http_concert_json_t  json;

    ngx_http_concert_json_init(&json, ngx_http_concert_reply_alloc, r->pool,
                               NGX_HTTP_CONCERT_PROBLEM_SIZE);

    ngx_http_concert_json_text(&json,
                               "{\"type\":\"urn:concert:problem:");
    ngx_http_concert_json_raw(&json, problem->code,
                              ngx_strlen(problem->code));
    ngx_http_concert_json_text(&json, "\",\"title\":");
    ngx_http_concert_json_string(&json, problem->title,
                                 ngx_strlen(problem->title));
    ngx_http_concert_json_text(&json, ",\"status\":");
    ngx_http_concert_json_integer(&json, reply->status ? reply->status
                                                       : problem->status);
    ngx_http_concert_json_text(&json, ",\"code\":\"");
    ngx_http_concert_json_raw(&json, problem->code,
                              ngx_strlen(problem->code));
    ngx_http_concert_json_text(&json, "\",\"detail\":");

    if (reply->detail.len) {
        ngx_http_concert_json_string(&json, reply->detail.data,
                                     reply->detail.len);
    } else {
        ngx_http_concert_json_string(&json, problem->detail,
                                     ngx_strlen(problem->detail));
    }

    ngx_http_concert_json_raw(&json, reply->extra.data, reply->extra.len);
    ngx_http_concert_json_text(&json, "}");

    *body = ngx_http_concert_call_text(&json);

    return json.failed ? NGX_ERROR : NGX_OK;
}


static void *
ngx_http_concert_reply_alloc(void *data, size_t size)
{
    return ngx_pnalloc(data, size);
}


/* as nginx keeps it: filters look at the type without its charset */

static void
ngx_http_concert_reply_type(ngx_http_request_t *r, const ngx_str_t *type)
{
    u_char  *p;

    r->headers_out.content_type = *type;
    r->headers_out.content_type_len = type->len;
    r->headers_out.content_type_lowcase = NULL;

    p = ngx_strnstr(type->data, "; charset=", type->len);

    if (p) {
        r->headers_out.content_type_len = p - type->data;
        r->headers_out.charset.data = p + sizeof("; charset=") - 1;
        r->headers_out.charset.len = type->data + type->len
                                     - r->headers_out.charset.data;
    }
}


/* a header that nginx has a field for is in it, where its filters look */

static ngx_int_t
ngx_http_concert_reply_headers(ngx_http_request_t *r,
    const ngx_http_concert_reply_t *reply, ngx_uint_t status)
{
    ngx_table_elt_t  *location;

    if (ngx_http_concert_reply_validity(r, reply) != NGX_OK) {
        return NGX_ERROR;
    }

    if (reply->unbuffered
        && ngx_http_concert_reply_header(r, "X-Accel-Buffering",
                                         &ngx_http_concert_no)
           == NULL)
    {
        return NGX_ERROR;
    }

    if (reply->link.len
        && ngx_http_concert_reply_listed(r, &r->headers_out.link, "Link",
                                         &reply->link)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (reply->location.len) {
        location = ngx_http_concert_reply_header(r, "Location",
                                                 &reply->location);
        if (location == NULL) {
            return NGX_ERROR;
        }

        r->headers_out.location = location;
    }

    if (reply->replayed
        && ngx_http_concert_reply_header(r, "Idempotency-Replayed",
                                         &ngx_http_concert_true)
           == NULL)
    {
        return NGX_ERROR;
    }

    return ngx_http_concert_reply_advice(r, reply, status);
}


/* what has an ETag may be kept, and is asked for again with it */

static ngx_int_t
ngx_http_concert_reply_validity(ngx_http_request_t *r,
    const ngx_http_concert_reply_t *reply)
{
    ngx_str_t        *control;
    ngx_table_elt_t  *etag;

    if (reply->code || reply->etag.len == 0) {

        /* no condition of the request is about what was done by now */

        r->disable_not_modified = 1;
        control = &ngx_http_concert_no_store;

    } else {
        etag = ngx_http_concert_reply_header(r, "ETag", &reply->etag);
        if (etag == NULL) {
            return NGX_ERROR;
        }

        r->headers_out.etag = etag;
        control = &ngx_http_concert_revalidate;

        /* RFC 9110, 13.1.3 and 13.1.4: not of what has no date */

        r->headers_in.if_modified_since = NULL;
        r->headers_in.if_unmodified_since = NULL;
    }

    return ngx_http_concert_reply_listed(r, &r->headers_out.cache_control,
                                         "Cache-Control", control);
}


/* what to do instead, or when to come again */

static ngx_int_t
ngx_http_concert_reply_advice(ngx_http_request_t *r,
    const ngx_http_concert_reply_t *reply, ngx_uint_t status)
{
    u_char      *p;
    ngx_str_t    value;
    ngx_uint_t   retry_after;

    retry_after = reply->retry_after;

    switch (status) {

    case NGX_HTTP_NOT_ALLOWED:
        return ngx_http_concert_reply_allow(r);

    case NGX_HTTP_UNAUTHORIZED:
        return ngx_http_concert_reply_challenge(r, reply);

    case NGX_HTTP_SERVICE_UNAVAILABLE:
    case NGX_HTTP_TOO_MANY_REQUESTS:
        retry_after = ngx_max(retry_after, NGX_HTTP_CONCERT_RETRY_AFTER);
        break;
    }

    if (retry_after == 0) {
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value.data = p;
    value.len = ngx_sprintf(p, "%ui", retry_after) - p;

    return ngx_http_concert_reply_header(r, "Retry-After", &value)
           ? NGX_OK : NGX_ERROR;
}


static ngx_table_elt_t *
ngx_http_concert_reply_header(ngx_http_request_t *r, const char *name,
    const ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NULL;
    }

    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value = *value;
    ngx_http_concert_header_ends(h);

    return h;
}


static ngx_int_t
ngx_http_concert_reply_listed(ngx_http_request_t *r,
    ngx_http_concert_headers_t *headers, const char *name,
    const ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_http_concert_reply_header(r, name, value);

    return h ? ngx_http_concert_header_joins(r->pool, headers, h) : NGX_ERROR;
}


/* RFC 6750, 3: what a bearer of tokens is told; no error where none came */

static ngx_int_t
ngx_http_concert_reply_challenge(ngx_http_request_t *r,
    const ngx_http_concert_reply_t *reply)
{
    ngx_table_elt_t  *challenge;

    /* another login challenges by itself */

    if (ngx_strcmp(reply->code, "unauthorized") == 0
        || ngx_http_concert_sale(r)->identity->kind
           != NGX_HTTP_CONCERT_IDENTITY_JWT)
    {
        return NGX_OK;
    }

    challenge = ngx_http_concert_reply_challenge_header(r,
                    ngx_strcmp(reply->code, "identity_invalid") == 0
                    ? &reply->detail : NULL);

    if (challenge == NULL) {
        return NGX_ERROR;
    }

    r->headers_out.www_authenticate = challenge;

    return NGX_OK;
}


static ngx_table_elt_t *
ngx_http_concert_reply_challenge_header(ngx_http_request_t *r,
    const ngx_str_t *description)
{
    u_char     *p;
    ngx_str_t   value;

    static ngx_str_t  realm = ngx_string("Bearer realm=\"concert\"");

    if (description == NULL) {
        return ngx_http_concert_reply_header(r, "WWW-Authenticate", &realm);
    }

    p = ngx_pnalloc(r->pool, realm.len + description->len
                             + sizeof(", error=\"invalid_token\", "
                                      "error_description=\"\""));
    if (p == NULL) {
        return NULL;
    }

    value.data = p;
    value.len = ngx_sprintf(p, "%V, error=\"invalid_token\", "
                               "error_description=\"%V\"",
                            &realm, description)
                - p;

    return ngx_http_concert_reply_header(r, "WWW-Authenticate", &value);
}


/* RFC 9110, 15.5.6: a 405 lists the methods */

static ngx_int_t
ngx_http_concert_reply_allow(ngx_http_request_t *r)
{
    u_char                       *p;
    ngx_str_t                     value;
    ngx_uint_t                    i, method;
    ngx_http_concert_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_concert_module);

    p = ngx_pnalloc(r->pool, sizeof("GET, HEAD, DELETE, POST, PUT"));
    if (p == NULL) {
        return NGX_ERROR;
    }

    value.data = p;

    for (i = 0; lcf->route && i < NGX_HTTP_CONCERT_MAX_ENDPOINTS; i++) {
        method = lcf->route->endpoints[i].method;

        /* a route for any method is nginx's refusal, which allows none */

        if (method == 0 || method == NGX_HTTP_CONCERT_ANY_METHOD) {
            break;
        }

        p = ngx_sprintf(p, "%s%s", i ? ", " : "",
                        method == NGX_HTTP_GET ? "GET, HEAD"
                        : method == NGX_HTTP_POST ? "POST"
                        : method == NGX_HTTP_PUT ? "PUT"
                        : method == NGX_HTTP_PATCH ? "PATCH" : "DELETE");
    }

    value.len = p - value.data;

    return ngx_http_concert_reply_header(r, "Allow", &value)
           ? NGX_OK : NGX_ERROR;
}
