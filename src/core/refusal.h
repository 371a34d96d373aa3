
/*
 * What nginx refuses by itself: a rate, a guard, a body that is too large, a
 * request that cannot be read.  Event loop.
 */


#ifndef NGX_HTTP_CONCERT_REFUSAL_H_INCLUDED
#define NGX_HTTP_CONCERT_REFUSAL_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "core/call.h"


/*
 * At start: has the refusals of the location that is being merged answered by
 * problems, but those that an error_page of its own, or of what is around it,
 * names.  NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_concert_refusal_pages(ngx_conf_t *cf);

/* of the server rewrite phase: answers what these pages lead to */
ngx_int_t ngx_http_concert_refusal_handler(ngx_http_request_t *r);

/* what to say of r->err_status, which becomes the one to be told */
void ngx_http_concert_refusal_reply(ngx_http_request_t *r,
    ngx_http_concert_reply_t *reply);


#endif /* NGX_HTTP_CONCERT_REFUSAL_H_INCLUDED */
