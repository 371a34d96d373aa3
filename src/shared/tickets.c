
#include "shared/tickets.h"
#include "shared/mix.h"


/* of a check word: 48 bits of hash, the window, whether it was looked at */
#define NGX_HTTP_CONCERT_SEEN           1
#define NGX_HTTP_CONCERT_WINDOW_SHIFT   1
#define NGX_HTTP_CONCERT_WINDOW_MASK    0x7fff
#define NGX_HTTP_CONCERT_HASH_MASK      (~(uint64_t) 0xffff)


#define ngx_http_concert_get(p)      __atomic_load_n(p, __ATOMIC_RELAXED)
#define ngx_http_concert_set(p, v)   __atomic_store_n(p, v, __ATOMIC_RELAXED)


static ngx_http_concert_bucket_t *ngx_http_concert_bucket(
    ngx_http_concert_tickets_t *tickets, uint64_t user);
static uint64_t ngx_http_concert_ticket_check(uint64_t salt,
    const ngx_http_concert_ticket_t *ticket);
static int ngx_http_concert_slot_read(ngx_http_concert_bucket_t *bucket,
    unsigned i, uint64_t salt, ngx_http_concert_ticket_t *ticket);
static unsigned ngx_http_concert_slot_choose(
    ngx_http_concert_bucket_t *bucket, uint64_t salt, uint64_t user,
    uint64_t now);
static int ngx_http_concert_slot_free(ngx_http_concert_bucket_t *bucket,
    unsigned i, uint64_t salt, uint64_t now);
static unsigned ngx_http_concert_slot_victim(
    ngx_http_concert_bucket_t *bucket, uint64_t start);


void
ngx_http_concert_tickets_init(ngx_http_concert_tickets_t *tickets,
    void *memory, size_t size)
{
    tickets->buckets = memory;
    tickets->nbuckets = size / sizeof(ngx_http_concert_bucket_t);
}


static ngx_http_concert_bucket_t *
ngx_http_concert_bucket(ngx_http_concert_tickets_t *tickets, uint64_t user)
{
    uint64_t  hash;

    hash = ngx_http_concert_mix(user) >> 32;

    return &tickets->buckets[(hash * tickets->nbuckets) >> 32];
}


static uint64_t
ngx_http_concert_ticket_check(uint64_t salt,
    const ngx_http_concert_ticket_t *ticket)
{
    uint64_t  hash;

    hash = ngx_http_concert_mix(salt ^ ticket->user);
    hash = ngx_http_concert_mix(hash ^ ticket->number);
    hash = ngx_http_concert_mix(hash ^ ticket->ends);

    return hash & NGX_HTTP_CONCERT_HASH_MASK;
}


/* 1 when the slot has a whole ticket of this salt */

static int
ngx_http_concert_slot_read(ngx_http_concert_bucket_t *bucket, unsigned i,
    uint64_t salt, ngx_http_concert_ticket_t *ticket)
{
    uint64_t                         check;
    ngx_http_concert_ticket_slot_t  *slot;

    slot = &bucket->slot[i];

    ticket->number = ngx_http_concert_get(&slot->number);
    ticket->ends = ngx_http_concert_get(&slot->ends);
    check = ngx_http_concert_get(&slot->check);

    ticket->window = (check >> NGX_HTTP_CONCERT_WINDOW_SHIFT)
                     & NGX_HTTP_CONCERT_WINDOW_MASK;

    return (check & NGX_HTTP_CONCERT_HASH_MASK)
           == ngx_http_concert_ticket_check(salt, ticket);
}


int
ngx_http_concert_tickets_find(ngx_http_concert_tickets_t *tickets,
    uint64_t salt, ngx_http_concert_ticket_t *ticket)
{
    uint64_t                    check;
    unsigned                    i;
    ngx_http_concert_bucket_t  *bucket;

    bucket = ngx_http_concert_bucket(tickets, ticket->user);

    for (i = 0; i < NGX_HTTP_CONCERT_BUCKET; i++) {

        if (ngx_http_concert_get(&bucket->user[i]) != ticket->user
            || !ngx_http_concert_slot_read(bucket, i, salt, ticket))
        {
            continue;
        }

        check = ngx_http_concert_get(&bucket->slot[i].check);

        if (!(check & NGX_HTTP_CONCERT_SEEN)) {
            ngx_http_concert_set(&bucket->slot[i].check,
                                 check | NGX_HTTP_CONCERT_SEEN);
        }

        return 1;
    }

    return 0;
}


void
ngx_http_concert_tickets_store(ngx_http_concert_tickets_t *tickets,
    uint64_t salt, const ngx_http_concert_ticket_t *ticket, uint64_t now)
{
    unsigned                         i, chosen;
    ngx_http_concert_ticket_t        known;
    ngx_http_concert_bucket_t       *bucket;
    ngx_http_concert_ticket_slot_t  *slot;

    /* an answer that comes late must not undo a later one */

    known.user = ticket->user;

    if (ngx_http_concert_tickets_find(tickets, salt, &known)
        && ticket->number && known.number > ticket->number)
    {
        return;
    }

    bucket = ngx_http_concert_bucket(tickets, ticket->user);
    chosen = ngx_http_concert_slot_choose(bucket, salt, ticket->user, now);
    slot = &bucket->slot[chosen];

    ngx_http_concert_set(&bucket->user[chosen], ticket->user);
    ngx_http_concert_set(&slot->number, ticket->number);
    ngx_http_concert_set(&slot->ends, ticket->ends);
    ngx_http_concert_set(&slot->check,
        ngx_http_concert_ticket_check(salt, ticket)
        | (uint64_t) (ticket->window & NGX_HTTP_CONCERT_WINDOW_MASK)
          << NGX_HTTP_CONCERT_WINDOW_SHIFT
        | NGX_HTTP_CONCERT_SEEN);

    /* two workers may have remembered the same user at once */

    for (i = chosen + 1; i < NGX_HTTP_CONCERT_BUCKET; i++) {
        if (ngx_http_concert_get(&bucket->user[i]) == ticket->user) {
            ngx_http_concert_set(&bucket->user[i], 0);
        }
    }
}


/*
 * The user's own slot, or one that is free or of no more use, or a victim.
 * What does not fit the salt may be another queue's: it is of no use only when
 * nobody has looked at it either.
 */

static unsigned
ngx_http_concert_slot_choose(ngx_http_concert_bucket_t *bucket, uint64_t salt,
    uint64_t user, uint64_t now)
{
    unsigned  i, free;

    free = NGX_HTTP_CONCERT_BUCKET;

    for (i = 0; i < NGX_HTTP_CONCERT_BUCKET; i++) {

        if (ngx_http_concert_get(&bucket->user[i]) == user) {
            return i;
        }

        if (free == NGX_HTTP_CONCERT_BUCKET
            && ngx_http_concert_slot_free(bucket, i, salt, now))
        {
            free = i;
        }
    }

    return free < NGX_HTTP_CONCERT_BUCKET
           ? free : ngx_http_concert_slot_victim(bucket, user ^ now);
}


static int
ngx_http_concert_slot_free(ngx_http_concert_bucket_t *bucket, unsigned i,
    uint64_t salt, uint64_t now)
{
    ngx_http_concert_ticket_t  ticket;

    ticket.user = ngx_http_concert_get(&bucket->user[i]);

    if (ticket.user == 0) {
        return 1;
    }

    if (ngx_http_concert_slot_read(bucket, i, salt, &ticket)) {
        return ticket.ends && ticket.ends <= now;
    }

    return !(ngx_http_concert_get(&bucket->slot[i].check)
             & NGX_HTTP_CONCERT_SEEN);
}


/* CLOCK, whose hand begins anywhere: who was looked at gets one more turn */

static unsigned
ngx_http_concert_slot_victim(ngx_http_concert_bucket_t *bucket,
    uint64_t start)
{
    uint64_t  check;
    unsigned  i, n;

    i = 0;

    for (n = 0; n <= NGX_HTTP_CONCERT_BUCKET; n++) {
        i = (start + n) % NGX_HTTP_CONCERT_BUCKET;
        check = ngx_http_concert_get(&bucket->slot[i].check);

        if (!(check & NGX_HTTP_CONCERT_SEEN)) {
            break;
        }

        ngx_http_concert_set(&bucket->slot[i].check,
                             check & ~(uint64_t) NGX_HTTP_CONCERT_SEEN);
    }

    return i;
}


void
ngx_http_concert_tickets_note(ngx_http_concert_tickets_t *tickets,
    uint64_t salt, const ngx_http_concert_ticket_t *ticket, unsigned window)
{
    uint64_t                    check, noted;
    unsigned                    i;
    ngx_http_concert_bucket_t  *bucket;

    bucket = ngx_http_concert_bucket(tickets, ticket->user);

    for (i = 0; i < NGX_HTTP_CONCERT_BUCKET; i++) {
        check = ngx_http_concert_get(&bucket->slot[i].check);

        if (ngx_http_concert_get(&bucket->user[i]) != ticket->user
            || (check & NGX_HTTP_CONCERT_HASH_MASK)
               != ngx_http_concert_ticket_check(salt, ticket))
        {
            continue;
        }

        noted = (check & NGX_HTTP_CONCERT_HASH_MASK)
                | (uint64_t) (window & NGX_HTTP_CONCERT_WINDOW_MASK)
                  << NGX_HTTP_CONCERT_WINDOW_SHIFT
                | NGX_HTTP_CONCERT_SEEN;

        (void) __atomic_compare_exchange_n(&bucket->slot[i].check, &check,
                                           noted, 0, __ATOMIC_RELAXED,
                                           __ATOMIC_RELAXED);
    }
}


void
ngx_http_concert_tickets_drop(ngx_http_concert_tickets_t *tickets,
    uint64_t user)
{
    unsigned                    i;
    ngx_http_concert_bucket_t  *bucket;

    bucket = ngx_http_concert_bucket(tickets, user);

    for (i = 0; i < NGX_HTTP_CONCERT_BUCKET; i++) {
        if (ngx_http_concert_get(&bucket->user[i]) == user) {
            ngx_http_concert_set(&bucket->user[i], 0);
        }
    }
}
