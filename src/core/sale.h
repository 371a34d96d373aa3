
/*
 * A sale: its queue, its stores, its gateway, its rules and who may buy.  What
 * has to do with one is handed it: a request by its location, a call by its
 * request, a job by its start.  The http block is itself a sale, `main`.
 *
 * What sales have together (lanes to the same server, a queue, a breaker) is
 * one and the same thing that each of them points to.
 */


#ifndef NGX_HTTP_CONCERT_SALE_H_INCLUDED
#define NGX_HTTP_CONCERT_SALE_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>

#include "core/call.h"
#include "core/guard.h"
#include "core/identity.h"
#include "core/lane.h"
#include "core/queue.h"
#include "shared/zone.h"


/* what a route needs of its sale; checked at start */

#define NGX_HTTP_CONCERT_NEEDS_POSTGRES  0x0001
#define NGX_HTTP_CONCERT_NEEDS_REDIS     0x0002
#define NGX_HTTP_CONCERT_NEEDS_ZONE      0x0100  /* every route */


#define NGX_HTTP_CONCERT_CHARGE_FREE     0
#define NGX_HTTP_CONCERT_CHARGE_CARD     1

#define NGX_HTTP_CONCERT_METHOD_BALANCE  0
#define NGX_HTTP_CONCERT_METHOD_CARD     1


typedef struct ngx_http_concert_main_conf_s  ngx_http_concert_main_conf_t;


struct ngx_http_concert_sale_s {
    ngx_str_t                           name;
    ngx_str_t                           of;            /* for the log */
    ngx_http_concert_main_conf_t       *conf;
    ngx_uint_t                          needs;
    ngx_str_t                           needed_by[2];  /* postgres, redis */

    /* of none without "conf" is there a store */
    ngx_http_concert_group_t           *groups[NGX_HTTP_CONCERT_GROUPS];
    ngx_http_concert_queue_t           *queue;
    ngx_http_concert_guard_t           *guard;
    ngx_http_concert_identity_t        *identity;

    ngx_msec_t                          hold;
    ngx_msec_t                          hold_extend;   /* 0: never */
    ngx_msec_t                          catalog_cache; /* 0: off */
    ngx_int_t                           max_seats;
    ngx_int_t                           user_limit;    /* 0: none */
    ngx_uint_t                          charge;
    ngx_uint_t                          payment_method;
    ngx_uint_t                          max_pending;   /* by card */

    /* in shared memory */
    ngx_shm_zone_t                     *shm_zone;
    ngx_http_concert_part_t            *part;
    ngx_http_concert_slot_t            *slot;          /* of this worker */
    ngx_uint_t                          nstreams;      /* of this worker */
    ngx_shm_zone_t                     *database_zone;
    uint64_t                            database_key;
    ngx_http_concert_database_state_t  *database;
};


/* all sales of a configuration */

struct ngx_http_concert_main_conf_s {
    ngx_array_t                     sales;    /* of pointers; first: main */
    ngx_array_t                     groups;   /* of pointers, each once */
    ngx_array_t                     parts;    /* of shared memory */
    ngx_uint_t                      needs;    /* of any sale */
    ngx_msec_t                      timeout;
    ngx_uint_t                      workers;
};


/* the names of the kinds of groups */
extern const ngx_str_t  ngx_http_concert_group_names[NGX_HTTP_CONCERT_GROUPS];


/* the place of directives in a concert_sale block */
#define NGX_HTTP_CONCERT_SALE_CONF  0x00800000


/* start: concert_sale, concert_use; the sale of a name, or NULL */
char *ngx_http_concert_sale_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_concert_use_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
ngx_http_concert_sale_t *ngx_http_concert_sale_find(
    const ngx_http_concert_main_conf_t *conf, const ngx_str_t *name);

/* start: a sale of this name that says nothing yet, or NULL: no memory */
ngx_http_concert_sale_t *ngx_http_concert_sale_create(ngx_conf_t *cf,
    ngx_http_concert_main_conf_t *conf, const ngx_str_t *name);

/*
 * start: lanes of a kind for the directive that is being read, whose address is
 * its first argument; or NULL: no memory
 */
ngx_http_concert_group_t *ngx_http_concert_sale_group(ngx_conf_t *cf,
    ngx_http_concert_sale_t *sale, ngx_uint_t kind);

/* start: everything is read; the log says what is wrong */
ngx_int_t ngx_http_concert_sales_init(ngx_conf_t *cf,
    ngx_http_concert_main_conf_t *conf);
ngx_int_t ngx_http_concert_sales_check(ngx_conf_t *cf,
    ngx_http_concert_main_conf_t *conf);

/* start: finds, or takes, what the sales of a zone have in it */
ngx_int_t ngx_http_concert_sales_share(ngx_shm_zone_t *shm_zone,
    ngx_http_concert_main_conf_t *conf);

/* submits a step to the lanes of the call's sale */
ngx_int_t ngx_http_concert_sale_run(ngx_http_concert_call_t *call,
    void (*done)(ngx_http_concert_call_t *call));


#endif /* NGX_HTTP_CONCERT_SALE_H_INCLUDED */
