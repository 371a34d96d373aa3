
/*
 * Lists that all users see the same: their pages are kept in shared memory for
 * concert_catalog_cache.  After that time a page is sent for as long again,
 * while one call, that no request waits for, asks PostgreSQL for it anew; a
 * page that is older, as when PostgreSQL is away, is sent to nobody.
 */

#include "api/api.h"
#include "core/reply.h"


/* ms; when a page that somebody asks for has not come, another one asks */
#define NGX_HTTP_CONCERT_CATALOG_CLAIM  500


static ngx_int_t ngx_http_concert_catalog_page(
    ngx_http_concert_sale_t *sale, ngx_pool_t *pool,
    ngx_http_concert_page_t *page, int64_t id,
    ngx_http_concert_reply_t *reply);
static ngx_http_concert_catalog_key_t ngx_http_concert_catalog_key(
    const ngx_http_concert_sale_t *sale, const ngx_http_concert_page_t *page,
    int64_t id);
static ngx_int_t ngx_http_concert_catalog_copied(ngx_pool_t *pool,
    const ngx_http_concert_catalog_found_t *found,
    ngx_http_concert_page_t *page, ngx_http_concert_reply_t *reply);
static void ngx_http_concert_catalog_renew(ngx_http_concert_sale_t *sale,
    const ngx_http_concert_page_t *page, int64_t id);
static ngx_int_t ngx_http_concert_catalog_ask(ngx_http_concert_call_t *call);
static void ngx_http_concert_catalog_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res);
static void ngx_http_concert_catalog_done(ngx_http_concert_call_t *call);


ngx_int_t
ngx_http_concert_catalog_known(ngx_http_request_t *r,
    const ngx_http_concert_known_t *known,
    const ngx_http_concert_list_t *list)
{
    ngx_int_t                 rc;
    ngx_http_concert_page_t   page;
    ngx_http_concert_reply_t  reply;

    if (ngx_http_concert_page_query(r, &page) != NGX_OK) {
        return NGX_DECLINED;
    }

    page.list = list;
    ngx_memzero(&reply, sizeof(ngx_http_concert_reply_t));

    rc = ngx_http_concert_catalog_page(known->sale, r->pool, &page, known->id,
                                       &reply);

    if (rc != NGX_OK) {
        return rc == NGX_ERROR ? NGX_HTTP_INTERNAL_SERVER_ERROR : rc;
    }

    return ngx_http_concert_tell_reply(r, known, &reply);
}


ngx_int_t
ngx_http_concert_catalog_start(ngx_http_concert_call_t *call,
    const ngx_http_concert_list_t *list)
{
    ngx_int_t                 rc;
    ngx_http_concert_page_t  *page;

    page = call->data;
    page->list = list;

    rc = ngx_http_concert_catalog_page(call->sale, call->pool, page, call->id,
                                       &call->reply);

    if (rc == NGX_OK) {
        call->reply.status = NGX_HTTP_OK;
        return NGX_DECLINED;
    }

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    (void) ngx_atomic_fetch_add(&call->sale->slot->asked_pages, 1);

    return ngx_http_concert_catalog_ask(call);
}


/* the page as it is in memory, if it is young enough, or NGX_DECLINED */

static ngx_int_t
ngx_http_concert_catalog_page(ngx_http_concert_sale_t *sale, ngx_pool_t *pool,
    ngx_http_concert_page_t *page, int64_t id,
    ngx_http_concert_reply_t *reply)
{
    ngx_int_t                          rc;
    ngx_msec_int_t                     age, time;
    ngx_http_concert_zone_t           *zone;
    ngx_http_concert_catalog_key_t     key;
    ngx_http_concert_catalog_found_t   found;

    time = sale->catalog_cache;

    if (time == 0) {
        return NGX_DECLINED;
    }

    zone = sale->shm_zone->data;
    key = ngx_http_concert_catalog_key(sale, page, id);

    if (!ngx_http_concert_catalog_find(&zone->catalog, &key, &found)) {
        return NGX_DECLINED;
    }

    age = (ngx_msec_int_t) (ngx_current_msec - found.page.made);

    if (age >= 2 * time) {
        return NGX_DECLINED;
    }

    rc = ngx_http_concert_catalog_copied(pool, &found, page, reply);

    if (rc != NGX_OK) {
        return rc;
    }

    (void) ngx_atomic_fetch_add(&sale->slot->known_pages, 1);

    if (age >= time
        && ngx_http_concert_catalog_claim(&found, ngx_current_msec,
                                          NGX_HTTP_CONCERT_CATALOG_CLAIM))
    {
        ngx_http_concert_catalog_renew(sale, page, id);
    }

    return NGX_OK;
}


static ngx_http_concert_catalog_key_t
ngx_http_concert_catalog_key(const ngx_http_concert_sale_t *sale,
    const ngx_http_concert_page_t *page, int64_t id)
{
    ngx_http_concert_catalog_key_t  key;

    key.list = sale->database_key ^ page->list->number;
    key.id = id;
    key.size = page->size;
    key.after = page->after;

    return key;
}


static ngx_int_t
ngx_http_concert_catalog_copied(ngx_pool_t *pool,
    const ngx_http_concert_catalog_found_t *found,
    ngx_http_concert_page_t *page, ngx_http_concert_reply_t *reply)
{
    u_char  *text;

    text = ngx_pnalloc(pool, NGX_HTTP_CONCERT_ETAG + found->page.len);
    if (text == NULL) {
        return NGX_ERROR;
    }

    if (!ngx_http_concert_catalog_copy(found, (char *) text)) {
        return NGX_DECLINED;
    }

    page->next = found->page.next;

    if (page->next
        && ngx_http_concert_page_next(pool, page, &reply->link) != NGX_OK)
    {
        return NGX_ERROR;
    }

    reply->etag.data = text;
    reply->etag.len = NGX_HTTP_CONCERT_ETAG;
    reply->body.data = text + NGX_HTTP_CONCERT_ETAG;
    reply->body.len = found->page.len;

    return NGX_OK;
}


/* asks for a page for the sake of those who come next */

static void
ngx_http_concert_catalog_renew(ngx_http_concert_sale_t *sale,
    const ngx_http_concert_page_t *page, int64_t id)
{
    ngx_http_concert_call_t  *call;
    ngx_http_concert_page_t  *copy;

    call = ngx_http_concert_call_create(sale);
    if (call == NULL) {
        return;
    }

    copy = ngx_palloc(call->pool, sizeof(ngx_http_concert_page_t));

    if (copy) {
        *copy = *page;
        call->id = id;
        call->data = copy;

        if (ngx_http_concert_catalog_ask(call) == NGX_OK) {
            return;
        }
    }

    ngx_http_concert_call_destroy(call);
}


static ngx_int_t
ngx_http_concert_catalog_ask(ngx_http_concert_call_t *call)
{
    ngx_http_concert_page_t  *page;

    page = call->data;

    ngx_http_concert_call_step(call, &page->list->op,
                               ngx_http_concert_catalog_read);

    if ((call->id && ngx_http_concert_call_integer(call, call->id) != NGX_OK)
        || ngx_http_concert_call_integer(call, page->after) != NGX_OK
        || ngx_http_concert_call_integer(call, page->size + 1) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_concert_run(call, ngx_http_concert_catalog_done);
}


static void
ngx_http_concert_catalog_read(ngx_http_concert_call_t *call,
    const ngx_http_concert_result_t *res)
{
    u_char                   *etag;
    ngx_http_concert_page_t  *page;

    page = call->data;
    page->next = 0;
    page->list->read(call, res);

    if (call->reply.code) {
        return;
    }

    etag = ngx_pnalloc(call->pool, NGX_HTTP_CONCERT_ETAG);
    if (etag == NULL) {
        return;
    }

    ngx_http_concert_catalog_etag(call->reply.body.data, call->reply.body.len,
                                  page->next, (char *) etag);

    call->reply.etag.data = etag;
    call->reply.etag.len = NGX_HTTP_CONCERT_ETAG;
}


/* only what there is is remembered: ids of what there is not have no end */

static void
ngx_http_concert_catalog_done(ngx_http_concert_call_t *call)
{
    ngx_http_concert_page_t          *page;
    ngx_http_concert_catalog_page_t   made;

    if (ngx_http_concert_succeeded(call) && call->reply.etag.len
        && call->sale->catalog_cache)
    {
        page = call->data;

        made.key = ngx_http_concert_catalog_key(call->sale, page, call->id);
        made.made = call->submitted;
        made.next = page->next;
        made.len = call->reply.body.len;

        ngx_http_concert_zone_page(call->sale->shm_zone, &made,
                                   (char *) call->reply.etag.data,
                                   call->reply.body.data);
    }

    ngx_http_concert_answer(call);
}
