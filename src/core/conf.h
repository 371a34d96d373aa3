
/*
 * What directives have in common: numbers, times, words, files.  Start; each
 * that is wrong is told with what to write.
 */


#ifndef NGX_HTTP_CONCERT_CONF_H_INCLUDED
#define NGX_HTTP_CONCERT_CONF_H_INCLUDED


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct {
    const char  *name;
    ngx_uint_t   min;
    ngx_uint_t   max;
    ngx_uint_t  *value;
} ngx_http_concert_conf_number_t;


typedef struct {
    const char  *name;
    ngx_uint_t   value;
    const char  *meaning;
} ngx_http_concert_conf_word_t;


/* a parameter of the form name=number, one of a list that ends with no name */
ngx_int_t ngx_http_concert_conf_number(ngx_conf_t *cf, ngx_str_t *value,
    const ngx_http_concert_conf_number_t *numbers);

/* a time of at most a year after so many bytes */
ngx_int_t ngx_http_concert_conf_time(ngx_conf_t *cf, ngx_str_t *value,
    size_t prefix, const char *example, ngx_msec_t *time);

/* a name of letters, digits, "_" and "-", of what */
ngx_int_t ngx_http_concert_conf_name(ngx_conf_t *cf, const char *what,
    ngx_str_t *name, const char *example);

/* the first line of a file, ended by a NUL byte */
ngx_int_t ngx_http_concert_conf_secret(ngx_conf_t *cf, ngx_str_t *name,
    const char *what, ngx_str_t *secret);

/*
 * What a file holds, ended by a NUL byte.  It may be readable to root only, as
 * the master reads it.
 */
ngx_int_t ngx_http_concert_conf_file(ngx_conf_t *cf, ngx_str_t *name,
    ngx_str_t *text);

/* the arguments of the directive that is being read, to be compared */
ngx_int_t ngx_http_concert_conf_line(ngx_conf_t *cf, ngx_str_t *line);

/* directives of one of two words, cmd->post, and of a time or "off" */
char *ngx_http_concert_conf_set_word(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_concert_conf_set_time_or_off(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);

/* of times and of numbers of seats */
extern ngx_conf_post_t  ngx_http_concert_conf_msec_post;
extern ngx_conf_post_t  ngx_http_concert_conf_count_post;


#endif /* NGX_HTTP_CONCERT_CONF_H_INCLUDED */
