
/*
 * Problems (RFC 9457): what the codes mean that clients are refused with.  Any
 * thread.
 */


#ifndef NGX_HTTP_CONCERT_PROBLEM_H_INCLUDED
#define NGX_HTTP_CONCERT_PROBLEM_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct {
    const char  *code;
    ngx_uint_t   status;
    const char  *title;
    const char  *detail;
} ngx_http_concert_problem_t;


/* the problem of this name, or NULL */
const ngx_http_concert_problem_t *ngx_http_concert_problem(
    const u_char *name, size_t len);

/*
 * The code of the problem with this name, a constant that outlives everything;
 * of one that is not in the table, "store_unavailable".
 */
const char *ngx_http_concert_problem_code(const ngx_str_t *name);


#endif /* NGX_HTTP_CONCERT_PROBLEM_H_INCLUDED */
