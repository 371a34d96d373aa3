
/*
 * nginx looks for the status of a refusal in the location's error_page list;
 * what is not there is a page of HTML.  So each location whose refusals are to
 * be problems gets a list with the user's own pages first and ours behind them.
 *
 * Ours lead to a path that no location is asked for: what guards a server
 * (deny, auth_basic, limit_req, a rewrite) would guard the answer, too, and
 * refuse it anew.  The first handler of the first phase knows the path by its
 * address, goes back to the location that refused, for its headers, logs and
 * filters, and answers.
 */

#include "core/refusal.h"
#include "core/reply.h"
#include "core/request.h"


typedef struct {
    ngx_int_t    first;
    ngx_int_t    last;
} ngx_http_concert_statuses_t;


typedef struct {
    ngx_uint_t   status;
    const char  *code;
    const char  *detail;      /* NULL: the code's */
} ngx_http_concert_refusal_t;


static ngx_int_t ngx_http_concert_refusal_page(ngx_array_t *pages,
    ngx_int_t status, void **loc_conf);
static const ngx_http_concert_refusal_t *ngx_http_concert_refusal(
    ngx_http_request_t *r);


/* what nginx's core, its modules and a return answer with */

static const ngx_http_concert_statuses_t  ngx_http_concert_refused[] = {
    { 400, 431 },
    { 451, 451 },
    { NGX_HTTP_REQUEST_HEADER_TOO_LARGE, NGX_HTTP_TO_HTTPS },
    { 500, 511 },
    { 0, 0 }
};


static const ngx_http_concert_refusal_t  ngx_http_concert_refusals[] = {
    { 400, "invalid_request", NULL },
    { 401, "unauthorized", NULL },
    { 403, "forbidden", NULL },
    { 404, "route_not_found", NULL },
    { 405, "method_not_allowed", NULL },
    { 408, "request_timeout", NULL },
    { 412, "precondition_failed", NULL },
    { 413, "body_too_large",
      "The body is larger than this server takes; send a smaller one." },
    { 414, "invalid_request",
      "The path and the query are too long; send shorter ones." },
    { 415, "media_type_unsupported", NULL },
    { 416, "range_not_satisfiable", NULL },
    { 421, "misdirected_request", NULL },
    { 429, "rate_limited", NULL },
    { 494, "invalid_request", "The headers are too large; send less." },
    { 495, "invalid_request",
      "The client's certificate is not one that this server takes." },
    { 496, "invalid_request",
      "This server asks for a certificate of the client's; send one." },
    { 497, "invalid_request", "This port is for HTTPS; ask with https://." },
    { 503, "overloaded", NULL },
    { 504, "timeout", NULL },
    { 505, "http_version_not_supported", NULL },
    { 0, NULL, NULL }
};


static const ngx_http_concert_refusal_t  ngx_http_concert_refused_request = {
    0, "refused", NULL
};

static const ngx_http_concert_refusal_t  ngx_http_concert_refused_coding = {
    0, "invalid_request",
    "This Transfer-Encoding is not known; send the body as it is, or chunked."
};

static const ngx_http_concert_refusal_t  ngx_http_concert_refused_method = {
    0, "method_not_allowed",
    "This server does not take the method; use another."
};

static const ngx_http_concert_refusal_t  ngx_http_concert_refused_public = {
    0, "forbidden",
    "Operators' routes are open only to whom the server lets in: as shipped, "
    "to the machine itself, as localhost."
};

static const ngx_http_concert_refusal_t  ngx_http_concert_failed = {
    0, "internal_error", NULL
};


static ngx_str_t  ngx_http_concert_refusal_uri =
    ngx_string("/concert_problem");


ngx_int_t
ngx_http_concert_refusal_pages(ngx_conf_t *cf)
{
    ngx_int_t                           status;
    ngx_array_t                        *pages;
    ngx_http_err_page_t                *page;
    ngx_http_conf_ctx_t                *ctx;
    ngx_http_core_loc_conf_t           *clcf;
    const ngx_http_concert_statuses_t  *refused;

    ctx = cf->ctx;
    clcf = ctx->loc_conf[ngx_http_core_module.ctx_index];

    pages = ngx_array_create(cf->pool, 64, sizeof(ngx_http_err_page_t));
    if (pages == NULL) {
        return NGX_ERROR;
    }

    if (clcf->error_pages) {
        page = ngx_array_push_n(pages, clcf->error_pages->nelts);
        if (page == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(page, clcf->error_pages->elts,
                   clcf->error_pages->nelts * sizeof(ngx_http_err_page_t));
    }

    for (refused = ngx_http_concert_refused; refused->first; refused++) {
        for (status = refused->first; status <= refused->last; status++) {
            if (ngx_http_concert_refusal_page(pages, status, ctx->loc_conf)
                != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    clcf->error_pages = pages;

    return NGX_OK;
}


static ngx_int_t
ngx_http_concert_refusal_page(ngx_array_t *pages, ngx_int_t status,
    void **loc_conf)
{
    ngx_http_err_page_t  *page;

    page = ngx_array_push(pages);
    if (page == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(page, sizeof(ngx_http_err_page_t));

    page->status = status;
    page->overwrite = -1;
    page->value.value = ngx_http_concert_refusal_uri;

    /* no text, but where to go back to */

    page->args.data = (u_char *) loc_conf;

    return NGX_OK;
}


ngx_int_t
ngx_http_concert_refusal_handler(ngx_http_request_t *r)
{
    ngx_http_concert_reply_t  reply;

    if (r->uri.data != ngx_http_concert_refusal_uri.data) {
        return NGX_DECLINED;
    }

    r->loc_conf = (void **) r->args.data;
    ngx_str_null(&r->args);
    ngx_http_update_location_config(r);

    r->expect_tested = 1;

    if (ngx_http_discard_request_body(r) != NGX_OK) {
        r->keepalive = 0;
    }

    ngx_memzero(&reply, sizeof(ngx_http_concert_reply_t));
    ngx_http_concert_refusal_reply(r, &reply);

    if (ngx_http_concert_tell_code(r, reply.code) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_concert_send(r, &reply);
}


void
ngx_http_concert_refusal_reply(ngx_http_request_t *r,
    ngx_http_concert_reply_t *reply)
{
    const ngx_http_concert_refusal_t  *refusal;

    if (r->err_status == 0) {
        r->err_status = NGX_HTTP_NOT_FOUND;
    }

    refusal = ngx_http_concert_refusal(r);

    /* nginx's own 494..497, and 501: a transfer coding that it has not */

    if ((r->err_status >= NGX_HTTP_REQUEST_HEADER_TOO_LARGE
         && r->err_status <= NGX_HTTP_TO_HTTPS)
        || refusal == &ngx_http_concert_refused_coding)
    {
        r->err_status = NGX_HTTP_BAD_REQUEST;
    }

    reply->status = r->err_status;
    reply->code = refusal->code;

    if (refusal->detail) {
        reply->detail.data = (u_char *) refusal->detail;
        reply->detail.len = ngx_strlen(refusal->detail);
    }
}


static const ngx_http_concert_refusal_t *
ngx_http_concert_refusal(ngx_http_request_t *r)
{
    ngx_uint_t                         i;
    ngx_http_concert_loc_conf_t       *lcf;
    const ngx_http_concert_refusal_t  *refusals;

    refusals = ngx_http_concert_refusals;
    lcf = ngx_http_get_module_loc_conf(r, ngx_http_concert_module);

    if (r->err_status == NGX_HTTP_NOT_IMPLEMENTED
        && r->headers_in.transfer_encoding)
    {
        return &ngx_http_concert_refused_coding;
    }

    if (r->err_status == NGX_HTTP_NOT_ALLOWED && lcf->route == NULL) {
        return &ngx_http_concert_refused_method;
    }

    if (r->err_status == NGX_HTTP_FORBIDDEN && lcf->route
        && (lcf->route->endpoints[0].flags & NGX_HTTP_CONCERT_OPERATORS))
    {
        return &ngx_http_concert_refused_public;
    }

    for (i = 0; refusals[i].status; i++) {
        if (refusals[i].status == r->err_status) {
            return &refusals[i];
        }
    }

    return r->err_status < NGX_HTTP_INTERNAL_SERVER_ERROR
           ? &ngx_http_concert_refused_request : &ngx_http_concert_failed;
}
