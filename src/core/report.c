
#include "core/report.h"
#include "core/call.h"


ngx_uint_t
ngx_http_concert_report(ngx_uint_t level, const void *what,
    ngx_http_concert_fault_kind_e kind, const char *cause, size_t len,
    const char *fmt, ...)
{
    u_char      *p, text[NGX_MAX_ERROR_STR];
    va_list      args;
    ngx_uint_t   times;

    va_start(args, fmt);
    p = ngx_vslprintf(text, text + sizeof(text) - 1, fmt, args);
    va_end(args);

    *p = '\0';

    times = ngx_http_concert_fault(what, kind, cause, len, (char *) text,
                                   ngx_http_concert_now());

    if (times == 1) {
        ngx_log_error(level, ngx_cycle->log, 0, "concert: %s", text);

    } else if (times) {
        ngx_log_error(level, ngx_cycle->log, 0,
                      "concert: %s (%ui times since this was told)", text,
                      times);
    }

    return times;
}


void
ngx_http_concert_report_over(void)
{
    char        text[NGX_MAX_ERROR_STR];
    ngx_uint_t  times;

    for ( ;; ) {
        times = ngx_http_concert_fault_over(ngx_http_concert_now(), text,
                                            sizeof(text));
        if (times == 0) {
            return;
        }

        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "concert: over, after %ui time%s: %s", times,
                      times == 1 ? "" : "s", text);
    }
}
