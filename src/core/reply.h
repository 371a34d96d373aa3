
/* Answers: JSON bodies and problems (RFC 9457).  Event loop. */


#ifndef NGX_HTTP_CONCERT_REPLY_H_INCLUDED
#define NGX_HTTP_CONCERT_REPLY_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>

#include "core/call.h"


struct ngx_http_request_s;


/*
 * Sends the reply; what it points to must live as long as the request.
 * Returns what the request is to be finalized with.
 */
ngx_int_t ngx_http_concert_send(struct ngx_http_request_s *r,
    const ngx_http_concert_reply_t *reply);


/* sends the header alone; what follows has no length yet */
ngx_int_t ngx_http_concert_send_header(struct ngx_http_request_s *r,
    const ngx_http_concert_reply_t *reply);


#endif /* NGX_HTTP_CONCERT_REPLY_H_INCLUDED */
