
/*
 * What differs from one nginx to another, and nowhere else: other files use
 * the names that are here.
 */


#ifndef NGX_HTTP_CONCERT_COMPAT_H_INCLUDED
#define NGX_HTTP_CONCERT_COMPAT_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * Headers of one name are a linked list from nginx 1.23.0 on, and those that
 * an answer may have several of were an array before.
 */

#if (nginx_version >= 1023000)

typedef ngx_table_elt_t  *ngx_http_concert_headers_t;

#define ngx_http_concert_header_ends(h)  (h)->next = NULL

#else

typedef ngx_array_t  ngx_http_concert_headers_t;

#define ngx_http_concert_header_ends(h)

#endif


/* adds to r->headers_out.cache_control or .link; NGX_ERROR: no memory */

static ngx_inline ngx_int_t
ngx_http_concert_header_joins(ngx_pool_t *pool,
    ngx_http_concert_headers_t *headers, ngx_table_elt_t *h)
{
    ngx_table_elt_t  **ph;

#if (nginx_version >= 1023000)

    for (ph = headers; *ph; ph = &(*ph)->next) { /* void */ }

#else

    if (headers->elts == NULL
        && ngx_array_init(headers, pool, 1, sizeof(ngx_table_elt_t *))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ph = ngx_array_push(headers);
    if (ph == NULL) {
        return NGX_ERROR;
    }

#endif

    *ph = h;

    return NGX_OK;
}


#endif /* NGX_HTTP_CONCERT_COMPAT_H_INCLUDED */
