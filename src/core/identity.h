
/*
 * Who is asking: the userId header, or the token of an Authorization: Bearer
 * header, of which those that were verified are remembered, as they come again
 * with every request.  Event loop.
 */


#ifndef NGX_HTTP_CONCERT_IDENTITY_H_INCLUDED
#define NGX_HTTP_CONCERT_IDENTITY_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>

#include "core/jwt.h"


struct ngx_http_request_s;


typedef enum {
    NGX_HTTP_CONCERT_IDENTITY_UNSET = 0,
    NGX_HTTP_CONCERT_IDENTITY_HEADER,
    NGX_HTTP_CONCERT_IDENTITY_JWT
} ngx_http_concert_identity_e;


typedef struct {
    ngx_http_concert_identity_e   kind;
    ngx_http_concert_jwt_conf_t   jwt;
} ngx_http_concert_identity_t;


/*
 * Reads the caller.  NGX_DECLINED: the request names none.  NGX_ERROR: it does
 * not do so well; *wrong is a constant sentence that says why, or NULL.
 */
ngx_int_t ngx_http_concert_caller(struct ngx_http_request_s *r,
    const ngx_http_concert_identity_t *identity, int64_t *user_id,
    const char **wrong);

/* how often the request has a header, by its lowercase name; the first value */
ngx_uint_t ngx_http_concert_header(struct ngx_http_request_s *r,
    const char *name, ngx_str_t *value);

/* once in a worker: makes room for the tokens that it will remember */
ngx_int_t ngx_http_concert_identity_init_worker(ngx_cycle_t *cycle);

/* start: concert_identity; the default, or NULL: no memory */
char *ngx_http_concert_identity_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
ngx_http_concert_identity_t *ngx_http_concert_identity_create(ngx_conf_t *cf);


#endif /* NGX_HTTP_CONCERT_IDENTITY_H_INCLUDED */
