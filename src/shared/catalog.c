
#include "shared/catalog.h"
#include "shared/mix.h"

#include <string.h>


#define NGX_HTTP_CONCERT_CATALOG_TEXT                                        \
    (NGX_HTTP_CONCERT_CATALOG_SLOT                                           \
     - offsetof(ngx_http_concert_catalog_slot_t, text))


#define ngx_http_concert_get(p)      __atomic_load_n(p, __ATOMIC_RELAXED)
#define ngx_http_concert_set(p, v)   __atomic_store_n(p, v, __ATOMIC_RELAXED)


static uint64_t ngx_http_concert_catalog_tag(
    const ngx_http_concert_catalog_key_t *key);
static ngx_http_concert_catalog_slot_t *ngx_http_concert_catalog_slot(
    const ngx_http_concert_catalog_t *catalog, uint64_t i);
static int ngx_http_concert_catalog_read(
    ngx_http_concert_catalog_slot_t *slot,
    const ngx_http_concert_catalog_key_t *key,
    ngx_http_concert_catalog_found_t *found);
static int ngx_http_concert_catalog_whole(
    const ngx_http_concert_catalog_found_t *found);
static uint64_t ngx_http_concert_catalog_choose(
    ngx_http_concert_catalog_t *catalog, uint64_t tag);
static uint64_t ngx_http_concert_catalog_victim(
    ngx_http_concert_catalog_t *catalog);
static void ngx_http_concert_catalog_write(
    ngx_http_concert_catalog_slot_t *slot,
    const ngx_http_concert_catalog_page_t *page, const char *etag,
    const void *body, uint64_t seen);


void
ngx_http_concert_catalog_init(ngx_http_concert_catalog_t *catalog,
    void *memory, size_t size)
{
    uint64_t  n;

    n = size / (NGX_HTTP_CONCERT_CATALOG_SLOT + sizeof(uint64_t));

    catalog->nslots = n;
    catalog->slots = memory;
    catalog->tags = (uint64_t *) (catalog->slots
                                  + n * NGX_HTTP_CONCERT_CATALOG_SLOT);
    catalog->hand = 0;
}


/* a hash of the key; 0 is of no page */

static uint64_t
ngx_http_concert_catalog_tag(const ngx_http_concert_catalog_key_t *key)
{
    uint64_t  hash;

    hash = ngx_http_concert_mix(key->list);
    hash = ngx_http_concert_mix(hash ^ key->id);
    hash = ngx_http_concert_mix(hash ^ key->size);
    hash = ngx_http_concert_mix(hash ^ key->after);

    return hash ? hash : 1;
}


static ngx_http_concert_catalog_slot_t *
ngx_http_concert_catalog_slot(const ngx_http_concert_catalog_t *catalog,
    uint64_t i)
{
    return (ngx_http_concert_catalog_slot_t *)
           (catalog->slots + i * NGX_HTTP_CONCERT_CATALOG_SLOT);
}


int
ngx_http_concert_catalog_find(ngx_http_concert_catalog_t *catalog,
    const ngx_http_concert_catalog_key_t *key,
    ngx_http_concert_catalog_found_t *found)
{
    uint64_t                          i, tag;
    ngx_http_concert_catalog_slot_t  *slot;

    tag = ngx_http_concert_catalog_tag(key);

    for (i = 0; i < catalog->nslots; i++) {

        if (ngx_http_concert_get(&catalog->tags[i]) != tag) {
            continue;
        }

        slot = ngx_http_concert_catalog_slot(catalog, i);

        if (!ngx_http_concert_catalog_read(slot, key, found)) {
            continue;
        }

        /* not written to when it is so already: all workers look at it */

        if (!ngx_http_concert_get(&slot->seen)) {
            ngx_http_concert_set(&slot->seen, 1);
        }

        return 1;
    }

    return 0;
}


/* 1 when the slot has a whole page of the key */

static int
ngx_http_concert_catalog_read(ngx_http_concert_catalog_slot_t *slot,
    const ngx_http_concert_catalog_key_t *key,
    ngx_http_concert_catalog_found_t *found)
{
    found->slot = slot;
    found->sequence = __atomic_load_n(&slot->sequence, __ATOMIC_ACQUIRE);

    if (found->sequence % 2) {
        return 0;
    }

    found->page = slot->page;

    return memcmp(&found->page.key, key, sizeof(*key)) == 0
           && ngx_http_concert_catalog_whole(found);
}


/* whether what was read of a slot was not written to meanwhile */

static int
ngx_http_concert_catalog_whole(const ngx_http_concert_catalog_found_t *found)
{
    __sync_synchronize();

    return ngx_http_concert_get(&found->slot->sequence) == found->sequence;
}


int
ngx_http_concert_catalog_copy(const ngx_http_concert_catalog_found_t *found,
    char *text)
{
    memcpy(text, found->slot->text,
           NGX_HTTP_CONCERT_ETAG + found->page.len);

    return ngx_http_concert_catalog_whole(found);
}


int
ngx_http_concert_catalog_claim(const ngx_http_concert_catalog_found_t *found,
    uint64_t now, uint64_t limit)
{
    uint64_t  claimed;

    claimed = ngx_http_concert_get(&found->slot->claimed);

    /* clocks of workers differ by a few ms */

    if (claimed && (int64_t) (now - claimed) < (int64_t) limit) {
        return 0;
    }

    return __atomic_compare_exchange_n(&found->slot->claimed, &claimed, now,
                                       0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}


void
ngx_http_concert_catalog_store(ngx_http_concert_catalog_t *catalog,
    const ngx_http_concert_catalog_page_t *page, const char *etag,
    const void *body)
{
    uint64_t                          i, n, tag, seen;
    ngx_http_concert_catalog_found_t  known;

    if (catalog->nslots == 0
        || page->len > NGX_HTTP_CONCERT_CATALOG_TEXT - NGX_HTTP_CONCERT_ETAG)
    {
        return;
    }

    seen = ngx_http_concert_catalog_find(catalog, &page->key, &known);

    /* an answer that comes late must not undo a later one */

    if (seen && (int64_t) (known.page.made - page->made) > 0) {
        return;
    }

    tag = ngx_http_concert_catalog_tag(&page->key);
    i = ngx_http_concert_catalog_choose(catalog, tag);

    ngx_http_concert_set(&catalog->tags[i], 0);
    ngx_http_concert_catalog_write(ngx_http_concert_catalog_slot(catalog, i),
                                   page, etag, body, seen);
    __atomic_store_n(&catalog->tags[i], tag, __ATOMIC_RELEASE);

    /* what was known until now, and what a killed writer has left */

    for (n = 0; n < catalog->nslots; n++) {
        if (n != i && ngx_http_concert_get(&catalog->tags[n]) == tag) {
            ngx_http_concert_set(&catalog->tags[n], 0);
        }
    }
}


/*
 * A free slot, where the page is written beside the one that is known until
 * then; or the one of that, or a victim.
 */

static uint64_t
ngx_http_concert_catalog_choose(ngx_http_concert_catalog_t *catalog,
    uint64_t tag)
{
    uint64_t  i, own;

    own = catalog->nslots;

    for (i = 0; i < catalog->nslots; i++) {

        if (ngx_http_concert_get(&catalog->tags[i]) == 0) {
            return i;
        }

        if (ngx_http_concert_get(&catalog->tags[i]) == tag) {
            own = i;
        }
    }

    return own < catalog->nslots ? own
                                 : ngx_http_concert_catalog_victim(catalog);
}


/* CLOCK: who was looked at gets one more turn */

static uint64_t
ngx_http_concert_catalog_victim(ngx_http_concert_catalog_t *catalog)
{
    uint64_t                          i, n;
    ngx_http_concert_catalog_slot_t  *slot;

    i = 0;

    for (n = 0; n <= catalog->nslots; n++) {
        i = catalog->hand++ % catalog->nslots;
        slot = ngx_http_concert_catalog_slot(catalog, i);

        if (!ngx_http_concert_get(&slot->seen)) {
            break;
        }

        ngx_http_concert_set(&slot->seen, 0);
    }

    return i;
}


static void
ngx_http_concert_catalog_write(ngx_http_concert_catalog_slot_t *slot,
    const ngx_http_concert_catalog_page_t *page, const char *etag,
    const void *body, uint64_t seen)
{
    uint64_t  sequence;

    /* odd, and another one than a killed writer has left */

    sequence = (ngx_http_concert_get(&slot->sequence) + 1) | 1;

    ngx_http_concert_set(&slot->sequence, sequence);
    __sync_synchronize();

    ngx_http_concert_set(&slot->claimed, 0);
    ngx_http_concert_set(&slot->seen, seen);

    slot->page = *page;
    memcpy(slot->text, etag, NGX_HTTP_CONCERT_ETAG);
    memcpy(slot->text + NGX_HTTP_CONCERT_ETAG, body, page->len);

    __atomic_store_n(&slot->sequence, sequence + 1, __ATOMIC_RELEASE);
}


void
ngx_http_concert_catalog_etag(const void *body, size_t len, uint64_t next,
    char *etag)
{
    size_t       n;
    uint64_t     hash, word;
    unsigned     i;
    const char  *p;

    hash = ngx_http_concert_mix(next ^ ngx_http_concert_mix(len));

    for (p = body; len; p += n, len -= n) {
        n = len < sizeof(word) ? len : sizeof(word);
        word = 0;
        memcpy(&word, p, n);
        hash = ngx_http_concert_mix(hash ^ word);
    }

    *etag++ = '"';

    for (i = 0; i < 16; i++) {
        *etag++ = "0123456789abcdef"[hash >> 60];
        hash <<= 4;
    }

    *etag = '"';
}
