
/* What is logged of faults that may go on: see core/fault.h.  Any thread. */


#ifndef NGX_HTTP_CONCERT_REPORT_H_INCLUDED
#define NGX_HTTP_CONCERT_REPORT_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>

#include "core/fault.h"


/*
 * Logs a fault, or counts it and returns 0; the format is nginx's.  Two faults
 * are one if what fails, how, and the cause are the same.
 */
ngx_uint_t ngx_http_concert_report(ngx_uint_t level, const void *what,
    ngx_http_concert_fault_kind_e kind, const char *cause, size_t len,
    const char *fmt, ...);

/* logs what is over; from time to time */
void ngx_http_concert_report_over(void);


#endif /* NGX_HTTP_CONCERT_REPORT_H_INCLUDED */
