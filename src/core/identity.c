
#include "core/identity.h"
#include "core/json.h"
#include "core/parse.h"

#include <ngx_http.h>
#include <openssl/sha.h>


/* of 56 bytes each; a power of 2 */
#define NGX_HTTP_CONCERT_TOKENS  65536


/* by one sale's keys; to those of another it is a token like any other */

typedef struct {
    const ngx_http_concert_identity_t  *identity;
    u_char                              digest[SHA256_DIGEST_LENGTH];
    int64_t                             user_id;
    time_t                              ends;       /* 0: free */
} ngx_http_concert_verified_t;


static ngx_int_t ngx_http_concert_header_caller(ngx_http_request_t *r,
    int64_t *user_id);
static ngx_int_t ngx_http_concert_bearer(ngx_http_request_t *r,
    ngx_str_t *token);
static ngx_int_t ngx_http_concert_jwt_caller(
    const ngx_http_concert_identity_t *identity, ngx_str_t *token,
    int64_t *user_id, const char **wrong);


/* of this worker; NULL unless callers come with tokens */
static ngx_http_concert_verified_t  *ngx_http_concert_verified;


ngx_int_t
ngx_http_concert_caller(ngx_http_request_t *r,
    const ngx_http_concert_identity_t *identity, int64_t *user_id,
    const char **wrong)
{
    ngx_str_t  token;

    *wrong = NULL;

    if (identity->kind == NGX_HTTP_CONCERT_IDENTITY_HEADER) {
        return ngx_http_concert_header_caller(r, user_id);
    }

    if (ngx_http_concert_bearer(r, &token) != NGX_OK) {
        return NGX_DECLINED;
    }

    return ngx_http_concert_jwt_caller(identity, &token, user_id, wrong);
}


static ngx_int_t
ngx_http_concert_header_caller(ngx_http_request_t *r, int64_t *user_id)
{
    ngx_str_t   value;
    ngx_uint_t  n;

    n = ngx_http_concert_header(r, "userid", &value);

    if (n == 0) {
        return NGX_DECLINED;
    }

    if (n > 1
        || ngx_http_concert_parse_integer(value.data, value.len, 1,
                                          NGX_HTTP_CONCERT_MAX_INTEGER,
                                          user_id)
           != 0)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_uint_t
ngx_http_concert_header(ngx_http_request_t *r, const char *name,
    ngx_str_t *value)
{
    size_t            len;
    ngx_uint_t        i, n;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    n = 0;
    len = ngx_strlen(name);

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].key.len == len
                && ngx_memcmp(h[i].lowcase_key, name, len) == 0
                && n++ == 0)
            {
                *value = h[i].value;
            }
        }
    }

    return n;
}


/* the token of the Authorization header (RFC 6750, 2.1), if there is one */

static ngx_int_t
ngx_http_concert_bearer(ngx_http_request_t *r, ngx_str_t *token)
{
    ngx_table_elt_t  *authorization;

    authorization = r->headers_in.authorization;

    if (authorization == NULL
        || authorization->value.len < sizeof("Bearer ") - 1
        || ngx_strncasecmp(authorization->value.data, (u_char *) "Bearer ",
                           sizeof("Bearer ") - 1)
           != 0)
    {
        return NGX_DECLINED;
    }

    token->data = authorization->value.data + sizeof("Bearer ") - 1;
    token->len = authorization->value.len - (sizeof("Bearer ") - 1);

    while (*token->data == ' ') {
        token->data++;
        token->len--;
    }

    return NGX_OK;
}


/* nginx has ended the value of a header with a NUL byte */

static ngx_int_t
ngx_http_concert_jwt_caller(const ngx_http_concert_identity_t *identity,
    ngx_str_t *token, int64_t *user_id, const char **wrong)
{
    time_t                        now, ends;
    u_char                        digest[SHA256_DIGEST_LENGTH];
    uint32_t                      n;
    ngx_http_concert_verified_t  *verified;

    now = ngx_time();

    (void) SHA256(token->data, token->len, digest);

    ngx_memcpy(&n, digest, sizeof(uint32_t));
    verified = &ngx_http_concert_verified[n % NGX_HTTP_CONCERT_TOKENS];

    if (now >= verified->ends || verified->identity != identity
        || ngx_memcmp(verified->digest, digest, SHA256_DIGEST_LENGTH) != 0)
    {
        *wrong = ngx_http_concert_jwt_verify(&identity->jwt,
                                             (char *) token->data, now,
                                             user_id, &ends);
        if (*wrong) {
            return NGX_ERROR;
        }

        ngx_memcpy(verified->digest, digest, SHA256_DIGEST_LENGTH);
        verified->identity = identity;
        verified->user_id = *user_id;
        verified->ends = ends;
    }

    *user_id = verified->user_id;

    return NGX_OK;
}


ngx_int_t
ngx_http_concert_identity_init_worker(ngx_cycle_t *cycle)
{
    if (ngx_http_concert_verified) {
        return NGX_OK;
    }

    ngx_http_concert_verified = ngx_pcalloc(cycle->pool,
                                            NGX_HTTP_CONCERT_TOKENS
                                         * sizeof(ngx_http_concert_verified_t));

    return ngx_http_concert_verified ? NGX_OK : NGX_ERROR;
}
