
/* The routes.  To add one: a file beside this one, and a line below. */

#include "api/api.h"


#define NGX_HTTP_CONCERT_ROUTES(route)                                       \
    route(token_enter)                                                       \
    route(token)                                                             \
    route(token_events)                                                      \
    route(token_status)                                                      \
    route(queue_draw)                                                        \
    route(charge)                                                            \
    route(balance)                                                           \
    route(concerts)                                                          \
    route(schedules)                                                         \
    route(seats)                                                             \
    route(reserve)                                                           \
    route(reservations)                                                      \
    route(reservation)                                                       \
    route(pay)                                                               \
    route(payment)                                                           \
    route(order)                                                             \
    route(gateway_webhook)                                                   \
    route(refund)                                                            \
    route(gateway_breaker)                                                   \
    route(problem)                                                           \
    route(queue)                                                             \
    route(healthz)                                                           \
    route(readyz)                                                            \
    route(metrics)                                                           \
    route(status)                                                            \
    route(ops)


#define NGX_HTTP_CONCERT_DECLARE(name)                                       \
    extern ngx_http_concert_route_t  ngx_http_concert_##name##_route;

#define NGX_HTTP_CONCERT_LIST(name)                                          \
    &ngx_http_concert_##name##_route,


NGX_HTTP_CONCERT_ROUTES(NGX_HTTP_CONCERT_DECLARE)


ngx_http_concert_route_t  *ngx_http_concert_routes[] = {
    NGX_HTTP_CONCERT_ROUTES(NGX_HTTP_CONCERT_LIST)
    NULL
};
