
/* Keyset pages: "after" is the last id seen, never an offset. */

#include "api/api.h"
#include "core/parse.h"


#define NGX_HTTP_CONCERT_PAGE_SIZE      100
#define NGX_HTTP_CONCERT_PAGE_MAX_SIZE  500


ngx_int_t
ngx_http_concert_page_parse(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, json_t *body)
{
    ngx_int_t                 rc;
    ngx_uint_t                no_size;
    ngx_http_concert_page_t  *page;

    page = ngx_pcalloc(call->pool, sizeof(ngx_http_concert_page_t));
    if (page == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_http_concert_query_integer(r, call, "size", 1,
                                        NGX_HTTP_CONCERT_PAGE_MAX_SIZE,
                                        &page->size, &no_size);
    if (rc != NGX_OK) {
        return rc;
    }

    if (no_size) {
        page->size = NGX_HTTP_CONCERT_PAGE_SIZE;
    }

    rc = ngx_http_concert_query_integer(r, call, "after", 0,
                                        NGX_HTTP_CONCERT_MAX_INTEGER,
                                        &page->after, &page->no_after);
    if (rc != NGX_OK) {
        return rc;
    }

    page->no_end = 1;
    call->data = page;

    return NGX_OK;
}


ngx_int_t
ngx_http_concert_page_query(ngx_http_request_t *r,
    ngx_http_concert_page_t *page)
{
    ngx_http_concert_parse_e  size, after;

    ngx_memzero(page, sizeof(ngx_http_concert_page_t));

    page->size = NGX_HTTP_CONCERT_PAGE_SIZE;
    page->no_end = 1;

    if (r->args.len == 0) {
        return NGX_OK;
    }

    size = ngx_http_concert_parse_query(r->args.data, r->args.len, "size", 1,
                                        NGX_HTTP_CONCERT_PAGE_MAX_SIZE,
                                        &page->size);
    after = ngx_http_concert_parse_query(r->args.data, r->args.len, "after", 0,
                                         NGX_HTTP_CONCERT_MAX_INTEGER,
                                         &page->after);

    return (size <= NGX_HTTP_CONCERT_PARSE_NONE
            && after <= NGX_HTTP_CONCERT_PARSE_NONE) ? NGX_OK : NGX_DECLINED;
}


ngx_uint_t
ngx_http_concert_page_rows(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    ngx_http_concert_page_t  *page;

    page = call->data;

    return ngx_min(res->rows, (ngx_uint_t) page->size);
}


void
ngx_http_concert_page_link(ngx_http_concert_call_t *call, int64_t after)
{
    ngx_http_concert_page_t  *page;

    page = call->data;
    page->next = after;

    (void) ngx_http_concert_page_next(call->pool, page, &call->reply.link);
}


/*
 * A query alone is relative to the path that was asked for, whatever a proxy or
 * a rewrite has made of that before it came here (RFC 3986, 5.2.2).
 */

ngx_int_t
ngx_http_concert_page_next(ngx_pool_t *pool,
    const ngx_http_concert_page_t *page, ngx_str_t *link)
{
    u_char  *p;

    p = ngx_pnalloc(pool, 3 * NGX_INT64_LEN
                          + sizeof("<?status=all&size=&after=&end=>; "
                                   "rel=\"next\""));
    if (p == NULL) {
        return NGX_ERROR;
    }

    link->data = p;

    p = ngx_sprintf(p, "<?%ssize=%L&after=%L",
                    page->all ? "status=all&" : "", page->size, page->next);

    if (!page->no_end) {
        p = ngx_sprintf(p, "&end=%L", page->end);
    }

    p = ngx_sprintf(p, ">; rel=\"next\"");

    link->len = p - link->data;

    return NGX_OK;
}
