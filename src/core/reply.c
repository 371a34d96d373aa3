
#include "core/reply.h"
#include "core/compat.h"
#include "core/request.h"


#define NGX_HTTP_CONCERT_PROBLEM_SIZE  256

/* s; a store that is away is probed more often than this */
#define NGX_HTTP_CONCERT_RETRY_AFTER   1


typedef struct {
    const char  *code;
    ngx_uint_t   status;
    const char  *title;
    const char  *detail;
} ngx_http_concert_problem_t;


static const ngx_http_concert_problem_t *ngx_http_concert_problem(
    const u_char *name, size_t len);
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


static const ngx_http_concert_problem_t  ngx_http_concert_problems[] = {

    { "invalid_request", 400, "Invalid request",
      "The request cannot be read; correct it before sending it again." },

    { "identity_missing", 401, "Identity missing",
      "Say who is asking: send the header \"userId: <id>\"." },
    { "identity_invalid", 401, "Identity invalid",
      "The userId header must be given once and be an integer from 1 to "
      "9007199254740991." },

    { "payment_declined", 402, "Payment declined",
      "The payment was declined; pay in another way." },

    { "unauthorized", 401, "Unauthorized",
      "The server asks for a login before this." },

    { "token_not_active", 403, "Token not active",
      "Get a token with POST /api/token and wait until it is ACTIVE." },
    { "identity_mismatch", 403, "Identity mismatch",
      "The userId of the path or body is not the caller's; act only for the "
      "user who is asking." },

    { "forbidden", 403, "Forbidden",
      "The server does not let you in here." },

    { "token_not_found", 404, "Token not found",
      "This user has no token; get one with POST /api/token." },
    { "user_not_found", 404, "User not found",
      "There is no account of this user; check userId." },
    { "order_not_found", 404, "Order not found",
      "There is no such order of this user; check orderId." },
    { "concert_not_found", 404, "Concert not found",
      "There is no such concert; GET /api/concerts lists them." },
    { "schedule_not_found", 404, "Schedule not found",
      "This concert has no such schedule; GET "
      "/api/concerts/schedules/{concertId} lists them." },
    { "seat_not_found", 404, "Seat not found",
      "The schedule does not have all of these seats; name seats of 1 to its "
      "totalSeat." },
    { "reservation_not_found", 404, "Reservation not found",
      "There is no such reservation of this user; GET /api/reservations lists "
      "them." },
    { "payment_not_found", 404, "Payment not found",
      "There is no such payment of this user; check paymentId." },
    { "route_not_found", 404, "Route not found",
      "Nothing is served at this path; check it against the API." },

    { "method_not_allowed", 405, "Method not allowed",
      "Use one of the methods that the Allow header lists." },

    { "request_timeout", 408, "Request timeout",
      "The request did not come in time; send it again." },

    { "seat_taken", 409, "Seat taken",
      "Somebody else has the seats of seatIdList; choose others." },
    { "reservation_expired", 409, "Reservation expired",
      "The hold ran out; reserve seats again." },
    { "reservation_cancelled", 409, "Reservation cancelled",
      "This reservation was cancelled; reserve seats again." },
    { "reservation_paid", 409, "Reservation paid",
      "This reservation is paid; nothing is left to do." },
    { "payment_in_progress", 409, "Payment in progress",
      "A payment of this reservation is under way; look at the reservation "
      "until it has ended." },
    { "not_refundable", 409, "Not refundable",
      "A top-up may be spent; only payments of reservations are given back." },
    { "request_in_progress", 409, "Request in progress",
      "The first request with this Idempotency-Key still runs; send it again "
      "later." },
    { "sale_not_open", 409, "Sale not open",
      "The sale of this schedule has not opened; try again when it has." },
    { "sale_closed", 409, "Sale closed",
      "This schedule has begun; choose another." },
    { "seat_limit", 409, "Seat limit",
      "The user would have more seats of this schedule than one may have; "
      "reserve fewer." },

    { "precondition_failed", 412, "Precondition failed",
      "This is not, or no longer, what If-Match names; get it anew." },

    { "body_too_large", 413, "Body too large",
      "Send a body of at most 65536 bytes." },

    { "media_type_unsupported", 415, "Media type unsupported",
      "Send JSON, with Content-Type: application/json or without one." },

    { "range_not_satisfiable", 416, "Range not satisfiable",
      "There is no such part of this; ask for all of it." },

    { "misdirected_request", 421, "Misdirected request",
      "This connection is not for that host; make another for it." },

    { "amount_mismatch", 422, "Amount mismatch",
      "The amount must equal the totalPrice of the reservation." },
    { "insufficient_balance", 422, "Insufficient balance",
      "The balance is less than the amount; charge it with PUT "
      "/api/balance/charge." },
    { "balance_limit", 422, "Balance limit",
      "A balance cannot be more than 9007199254740991; charge less." },
    { "idempotency_key_reused", 422, "Idempotency key reused",
      "This Idempotency-Key was used with another body; use a new one." },

    { "rate_limited", 429, "Rate limited",
      "Too many requests; wait as Retry-After says." },

    { "refused", 400, "Refused",
      "The server refuses this request; its status says why." },

    { "internal_error", 500, "Internal error",
      "The server failed, and what it did is not known; look it up before "
      "trying again." },

    { "overloaded", 503, "Overloaded",
      "Nothing was done; try again as Retry-After says." },
    { "store_unavailable", 503, "Store unavailable",
      "The database is away or could not do this; nothing was done; try again "
      "as Retry-After says." },
    { "queue_unavailable", 503, "Queue unavailable",
      "The waiting queue is away; nothing was done; try again as Retry-After "
      "says." },
    { "gateway_unavailable", 503, "Gateway unavailable",
      "The payment gateway is away; this request did nothing, though one "
      "before it, with the same key or order, may have; try again as "
      "Retry-After says." },

    { "timeout", 504, "Timeout",
      "No answer came in time and the outcome is not known; look it up before "
      "trying again." },

    { "http_version_not_supported", 505, "HTTP version not supported",
      "Ask with HTTP/1.1 or HTTP/2." },

    { NULL, 0, NULL, NULL }
};


static ngx_str_t  ngx_http_concert_json_type =
    ngx_string("application/json");
static ngx_str_t  ngx_http_concert_problem_type =
    ngx_string("application/problem+json");
static ngx_str_t  ngx_http_concert_no_store = ngx_string("no-store");
static ngx_str_t  ngx_http_concert_revalidate =
    ngx_string("private, no-cache");
static ngx_str_t  ngx_http_concert_true = ngx_string("true");
static ngx_str_t  ngx_http_concert_no = ngx_string("no");


static const ngx_http_concert_problem_t *
ngx_http_concert_problem(const u_char *name, size_t len)
{
    const ngx_http_concert_problem_t  *p;

    for (p = ngx_http_concert_problems; p->code; p++) {
        if (ngx_strncmp(p->code, name, len) == 0 && p->code[len] == '\0') {
            return p;
        }
    }

    return NULL;
}


const char *
ngx_http_concert_problem_code(const ngx_str_t *name)
{
    const ngx_http_concert_problem_t  *problem;

    problem = ngx_http_concert_problem(name->data, name->len);

    return problem ? problem->code : "store_unavailable";
}


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
        || ngx_http_concert_conf->identity.kind
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
