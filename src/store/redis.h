
/*
 * Redis, by hiredis: Lua scripts, many in one exchange.  Blocking; on a pool
 * thread only, but for the functions marked "start".
 */


#ifndef NGX_HTTP_CONCERT_REDIS_H_INCLUDED
#define NGX_HTTP_CONCERT_REDIS_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>

#include "core/lane.h"


/* the first columns of every answer, which are for all calls of a run */
#define NGX_HTTP_CONCERT_REDIS_HEAD  5


typedef struct {
    char        *host;      /* or NULL: path is a Unix socket */
    char        *path;
    int          port;
    ngx_msec_t   timeout;
    char        *user;      /* of the ACL, or NULL: the default one */
    ngx_str_t    password;  /* empty: no AUTH */
} ngx_http_concert_redis_conf_t;


/* a script of conf/queue/, built in: its name, its text, its SHA-1 in hex */

typedef struct {
    const char  *name;
    const char  *text;
    char         sha1[41];
} ngx_http_concert_script_t;


/* made by config from conf/queue/; ends with a NULL name */
extern ngx_http_concert_script_t  ngx_http_concert_scripts[];


extern const ngx_http_concert_store_t  ngx_http_concert_redis;


/* start: works out the names that Redis gives to the scripts */
void ngx_http_concert_redis_init(void);

/* start: concert_redis */
char *ngx_http_concert_redis_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


#endif /* NGX_HTTP_CONCERT_REDIS_H_INCLUDED */
