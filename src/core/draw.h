
/*
 * The draw of an opening.  Who comes before it gets a rank key, made of a
 * secret seed, the queue's name and the user; whose key is less stands before.
 * The seed is made once in an epoch of the queue, by whoever first needs it.
 * Its hash is public at once, and the seed when the opening is reached
 * (docs/queue-draw.md).  Redis and the workers know it, and nobody else.
 */


#ifndef NGX_HTTP_CONCERT_DRAW_H_INCLUDED
#define NGX_HTTP_CONCERT_DRAW_H_INCLUDED


#include "core/sale.h"


/* how many hex digits of the HMAC are the key: a double holds them exactly */
#define NGX_HTTP_CONCERT_DRAW_DIGITS   13

/* of the hash of the seed, in hex */
#define NGX_HTTP_CONCERT_DRAW_HASH     64

/* how often a call asks for the seed: it may change meanwhile, if Redis dies */
#define NGX_HTTP_CONCERT_DRAW_TRIES    3


/* the key of a user, of the seed that is known; NGX_ERROR: no memory */
ngx_int_t ngx_http_concert_draw_key(const ngx_http_concert_queue_t *queue,
    int64_t user_id, uint64_t *key);

/* the hash that was shown before, in hex; not ended by a NUL byte */
void ngx_http_concert_draw_hash(const ngx_http_concert_queue_t *queue,
    u_char *hash);

/* whether the seed is known of the data that Redis has now */
ngx_uint_t ngx_http_concert_draw_known(const ngx_http_concert_queue_t *queue);

/* appends a user with the key, as scripts take it */
ngx_int_t ngx_http_concert_draw_user(ngx_http_concert_call_t *call,
    int64_t user_id);

/* appends what enter takes: the seed's epoch, the user, and the key if any */
ngx_int_t ngx_http_concert_draw_enter(ngx_http_concert_call_t *call);

/*
 * Begins the step that asks for the seed, and makes it if there is none;
 * done() begins with ngx_http_concert_draw_learn(), after a step that
 * succeeded.
 */
ngx_int_t ngx_http_concert_draw_ask(ngx_http_concert_call_t *call,
    void (*done)(ngx_http_concert_call_t *call));
void ngx_http_concert_draw_learn(ngx_http_concert_call_t *call);

/* for the admit job: makes the seed, before anybody needs a key */
void ngx_http_concert_draw_prepare(ngx_http_concert_sale_t *sale);


#endif /* NGX_HTTP_CONCERT_DRAW_H_INCLUDED */
