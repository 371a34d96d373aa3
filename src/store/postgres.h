
/*
 * PostgreSQL, by libpq in pipeline mode.  Blocking; on a pool thread only, but
 * for the functions marked "start".
 */


#ifndef NGX_HTTP_CONCERT_POSTGRES_H_INCLUDED
#define NGX_HTTP_CONCERT_POSTGRES_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>

#include "core/lane.h"


/* the schema that this module was written for: the last of conf/schema/upgrade */
#define NGX_HTTP_CONCERT_SCHEMA_VERSION  10


typedef struct {
    char          *conninfo;
    ngx_uint_t     writes;         /* the lanes of this group write */
    ngx_uint_t     cards;          /* payments by card, too */
    ngx_msec_t     timeout;        /* of a statement */
} ngx_http_concert_postgres_conf_t;


extern const ngx_http_concert_store_t  ngx_http_concert_postgres;


/*
 * start: what is wrong with a conninfo string, in the pool's memory, or NULL,
 * and then whether it has a password
 */
char *ngx_http_concert_postgres_check(const char *conninfo, ngx_pool_t *pool,
    ngx_uint_t *secret);

/* start: concert_postgres */
char *ngx_http_concert_postgres_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


#endif /* NGX_HTTP_CONCERT_POSTGRES_H_INCLUDED */
