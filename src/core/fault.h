
/*
 * Faults that go on: one is told when it begins, when its cause changes, once
 * a minute with how often, and when it is over; in between it is counted.  Each
 * worker has its own.  Any thread; without nginx, so that it is tested alone.
 */


#ifndef NGX_HTTP_CONCERT_FAULT_H_INCLUDED
#define NGX_HTTP_CONCERT_FAULT_H_INCLUDED


#include <stddef.h>
#include <stdint.h>


#define NGX_HTTP_CONCERT_FAULTS        64     /* told apart at a time */
#define NGX_HTTP_CONCERT_FAULT_AGAIN   60000  /* ms */

/* ms without a failure: what comes and goes is one fault */
#define NGX_HTTP_CONCERT_FAULT_QUIET   5000


/* of what "what" is; a fault is known by both, and by its cause */

typedef enum {
    NGX_HTTP_CONCERT_FAULT_CONNECT,     /* a group: no connection */
    NGX_HTTP_CONCERT_FAULT_LOST,        /* a group: a connection broke */
    NGX_HTTP_CONCERT_FAULT_AWAY,        /* a group: it is down */
    NGX_HTTP_CONCERT_FAULT_RUN          /* an operation fails */
} ngx_http_concert_fault_kind_e;


/*
 * Something has failed.  Returns how often since it was told last, with this
 * time, if it is to be told now, else 0.  "cause" is told apart but for its
 * digits; "text" is kept, cut, for the end.
 */
uint64_t ngx_http_concert_fault(const void *what,
    ngx_http_concert_fault_kind_e kind, const char *cause, size_t len,
    const char *text, int64_t now);

/* it has worked */
void ngx_http_concert_fault_ended(const void *what,
    ngx_http_concert_fault_kind_e kind);

/*
 * Takes a fault that is over, if there is one: returns how often it was, with
 * its text, or 0.
 */
uint64_t ngx_http_concert_fault_over(int64_t now, char *text, size_t size);


#endif /* NGX_HTTP_CONCERT_FAULT_H_INCLUDED */
