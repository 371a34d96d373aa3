
/*
 * A copy of the queue's tickets in shared memory, so that a poll is answered
 * by a look at it.  Knows nothing of nginx: memory and time are passed in, so
 * that it is tested alone.
 *
 * There is no lock.  A ticket carries a check word, made of its fields and of a
 * salt; what is half written, by a worker that was killed or by two at once,
 * does not fit its check word, and is not found.  A new salt makes all tickets
 * unknown at once.  Whatever is not found is asked of Redis, and known again.
 *
 * A bucket holds the tickets of the users whose hash is the same.  When it is
 * full the ticket goes that nobody looked at for the longest (CLOCK).
 *
 * Queues share a table, each with a salt, and with user words, of its own.
 */


#ifndef NGX_HTTP_CONCERT_TICKETS_H_INCLUDED
#define NGX_HTTP_CONCERT_TICKETS_H_INCLUDED


#include <stddef.h>
#include <stdint.h>


#define NGX_HTTP_CONCERT_BUCKET  8     /* tickets; 64 bytes of users */


typedef struct {
    uint64_t   number;     /* 0: not waiting when it was last asked */
    uint64_t   ends;       /* ms, of Redis's clock; 0: not known to be in */
    uint64_t   check;
} ngx_http_concert_ticket_slot_t;


typedef struct {
    uint64_t                        user[NGX_HTTP_CONCERT_BUCKET];
    ngx_http_concert_ticket_slot_t  slot[NGX_HTTP_CONCERT_BUCKET];
} ngx_http_concert_bucket_t;


typedef struct {
    ngx_http_concert_bucket_t      *buckets;
    uint64_t                        nbuckets;
} ngx_http_concert_tickets_t;


typedef struct {
    uint64_t   user;
    uint64_t   number;
    uint64_t   ends;
    unsigned   window;     /* that it was last noted in; 15 bits */
} ngx_http_concert_ticket_t;


/* size: bytes of memory, all zero; what does not fill a bucket is not used */
void ngx_http_concert_tickets_init(ngx_http_concert_tickets_t *tickets,
    void *memory, size_t size);

/* 1 when the user's ticket is known; fills in *ticket, of ticket->user */
int ngx_http_concert_tickets_find(ngx_http_concert_tickets_t *tickets,
    uint64_t salt, ngx_http_concert_ticket_t *ticket);

/* remembers a ticket in place of what was known of its user; now in ms */
void ngx_http_concert_tickets_store(ngx_http_concert_tickets_t *tickets,
    uint64_t salt, const ngx_http_concert_ticket_t *ticket, uint64_t now);

/* sets the window of a ticket, if it is still as it was found */
void ngx_http_concert_tickets_note(ngx_http_concert_tickets_t *tickets,
    uint64_t salt, const ngx_http_concert_ticket_t *ticket, unsigned window);

/* forgets what is known of a user */
void ngx_http_concert_tickets_drop(ngx_http_concert_tickets_t *tickets,
    uint64_t user);


#endif /* NGX_HTTP_CONCERT_TICKETS_H_INCLUDED */
