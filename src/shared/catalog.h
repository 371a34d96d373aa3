
/*
 * Pages of the catalog in shared memory, as they were sent, so that a crowd
 * that looks at the same page asks PostgreSQL once.  Knows nothing of nginx:
 * memory and time are passed in, so that it is tested alone.
 *
 * Whoever stores a page must be alone (the zone's mutex, which the master takes
 * away from a worker that was killed); whoever finds one needs no lock: a slot
 * has a sequence, odd while it is written.  A page is written beside the one
 * that is known until then, and takes its place when it is whole; what a worker
 * that was killed has left behind is not found, and is written to next.
 *
 * A slot is as large as a page may be; when all are full the page goes that
 * nobody looked at for the longest (CLOCK), so that pages that are asked for
 * once push out each other and not those that are asked for all the time.
 */


#ifndef NGX_HTTP_CONCERT_CATALOG_H_INCLUDED
#define NGX_HTTP_CONCERT_CATALOG_H_INCLUDED


#include <stddef.h>
#include <stdint.h>


/* bytes of a slot with all that is in it; 500 schedules fit */
#define NGX_HTTP_CONCERT_CATALOG_SLOT  65536

/* more would take longer to look through than to ask for */
#define NGX_HTTP_CONCERT_CATALOG_MAX   256

/* bytes of memory that are of use */
#define NGX_HTTP_CONCERT_CATALOG_SIZE                                        \
    (NGX_HTTP_CONCERT_CATALOG_MAX                                            \
     * (NGX_HTTP_CONCERT_CATALOG_SLOT + sizeof(uint64_t)))

/* bytes of an ETag: 64 bits in hex, quoted */
#define NGX_HTTP_CONCERT_ETAG          18


/* what a page is of; never all 0 */

typedef struct {
    uint64_t   list;
    uint64_t   id;
    uint64_t   size;
    uint64_t   after;
} ngx_http_concert_catalog_key_t;


typedef struct {
    ngx_http_concert_catalog_key_t   key;
    uint64_t                         made;      /* ms, when it was asked for */
    uint64_t                         next;      /* after which more follows */
    uint64_t                         len;       /* of the body */
} ngx_http_concert_catalog_page_t;


typedef struct {
    uint64_t                         sequence;
    uint64_t                         claimed;   /* ms; see below */
    uint64_t                         seen;
    ngx_http_concert_catalog_page_t  page;
    char                             text[];    /* the ETag, the body */
} ngx_http_concert_catalog_slot_t;


typedef struct {
    char                            *slots;
    uint64_t                        *tags;      /* hashes of their keys */
    uint64_t                         nslots;
    uint64_t                         hand;      /* of the clock */
} ngx_http_concert_catalog_t;


/* a page as it was found; it may be overwritten at any time */

typedef struct {
    ngx_http_concert_catalog_slot_t  *slot;
    uint64_t                          sequence;
    ngx_http_concert_catalog_page_t   page;
} ngx_http_concert_catalog_found_t;


/* size: bytes of memory, all zero */
void ngx_http_concert_catalog_init(ngx_http_concert_catalog_t *catalog,
    void *memory, size_t size);

/* 1 when there is a whole page of the key */
int ngx_http_concert_catalog_find(ngx_http_concert_catalog_t *catalog,
    const ngx_http_concert_catalog_key_t *key,
    ngx_http_concert_catalog_found_t *found);

/*
 * Copies NGX_HTTP_CONCERT_ETAG + page.len bytes, the ETag and the body: 1 when
 * it is the page that was found, 0 when that was overwritten meanwhile.
 */
int ngx_http_concert_catalog_copy(
    const ngx_http_concert_catalog_found_t *found, char *text);

/*
 * 1 for one caller, who is to store the page anew; again for another one when
 * that has not happened by now + limit.
 */
int ngx_http_concert_catalog_claim(
    const ngx_http_concert_catalog_found_t *found, uint64_t now,
    uint64_t limit);

/*
 * Remembers a page, unless it is too large or a later one of its key is known.
 * Not at the same time as another caller.
 */
void ngx_http_concert_catalog_store(ngx_http_concert_catalog_t *catalog,
    const ngx_http_concert_catalog_page_t *page, const char *etag,
    const void *body);

/* an ETag of a body, and of what follows the page */
void ngx_http_concert_catalog_etag(const void *body, size_t len,
    uint64_t next, char *etag);


#endif /* NGX_HTTP_CONCERT_CATALOG_H_INCLUDED */
