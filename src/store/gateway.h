
/*
 * The payment gateway, by libcurl: each lane asks one question at a time, on a
 * connection of its own that is kept.  Blocking; on a pool thread only, but for
 * the function marked "worker".
 *
 * A gateway that does not answer is not "away" as a database is: whether it is
 * asked again is for the breaker, so every question is asked.
 */


#ifndef NGX_HTTP_CONCERT_GATEWAY_H_INCLUDED
#define NGX_HTTP_CONCERT_GATEWAY_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>

#include "core/lane.h"
#include "store/gateway_api.h"


typedef struct {
    const ngx_http_concert_gateway_api_t  *api;
    char                                  *url;     /* without a last slash */
    char                                  *secret;
    ngx_msec_t                             connect_timeout;
} ngx_http_concert_gateway_conf_t;


extern const ngx_http_concert_store_t  ngx_http_concert_gateway;


/* worker: before the first question; NGX_ERROR: libcurl does not start */
ngx_int_t ngx_http_concert_gateway_init_worker(void);

/* start: concert_gateway */
char *ngx_http_concert_gateway_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


#endif /* NGX_HTTP_CONCERT_GATEWAY_H_INCLUDED */
