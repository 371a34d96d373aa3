
#include "core/conf.h"


#define NGX_HTTP_CONCERT_MAX_SECRET  512
#define NGX_HTTP_CONCERT_MAX_FILE    8192    /* of a key or a password */
#define NGX_HTTP_CONCERT_MAX_DAY     (24 * 60 * 60 * 1000)

/* ms, a year: what ends is told as a time, of which JSON has no end */
#define NGX_HTTP_CONCERT_MAX_TIME    ((ngx_msec_t) 365 * 24 * 60 * 60 * 1000)


static char *ngx_http_concert_conf_check_msec(ngx_conf_t *cf, void *post,
    void *data);
static char *ngx_http_concert_conf_check_count(ngx_conf_t *cf, void *post,
    void *data);


ngx_conf_post_t  ngx_http_concert_conf_msec_post = {
    ngx_http_concert_conf_check_msec
};


ngx_conf_post_t  ngx_http_concert_conf_count_post = {
    ngx_http_concert_conf_check_count
};


ngx_int_t
ngx_http_concert_conf_number(ngx_conf_t *cf, ngx_str_t *value,
    const ngx_http_concert_conf_number_t *numbers)
{
    size_t                            len;
    ngx_int_t                         n;
    const ngx_http_concert_conf_number_t  *number;

    for (number = numbers; number->name; number++) {
        len = ngx_strlen(number->name);

        if (value->len < len || ngx_strncmp(value->data, number->name, len))
        {
            continue;
        }

        n = ngx_atoi(value->data + len, value->len - len);

        if (n == NGX_ERROR || (ngx_uint_t) n < number->min
            || (ngx_uint_t) n > number->max)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid \"%V\": write %s and a number from "
                               "%ui to %ui", value, number->name, number->min,
                               number->max);
            return NGX_ERROR;
        }

        *number->value = (ngx_uint_t) n;

        return NGX_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "unknown parameter \"%V\": the first known one is "
                       "\"%s\"", value, numbers->name);

    return NGX_ERROR;
}


ngx_int_t
ngx_http_concert_conf_time(ngx_conf_t *cf, ngx_str_t *value, size_t prefix,
    const char *example, ngx_msec_t *time)
{
    ngx_int_t  ms;
    ngx_str_t  s;

    s.data = value->data + prefix;
    s.len = value->len - prefix;

    ms = ngx_parse_time(&s, 0);

    if (ms == NGX_ERROR || ms == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": write a time, as %s", value,
                           example);
        return NGX_ERROR;
    }

    if ((ngx_msec_t) ms > NGX_HTTP_CONCERT_MAX_TIME) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": write a time of at most a year, "
                           "as %s", value, example);
        return NGX_ERROR;
    }

    *time = (ngx_msec_t) ms;

    return NGX_OK;
}


ngx_int_t
ngx_http_concert_conf_name(ngx_conf_t *cf, const char *what, ngx_str_t *name,
    const char *example)
{
    size_t  i;
    u_char  c;

    for (i = 0; i < name->len; i++) {
        c = name->data[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
              || (c >= '0' && c <= '9') || c == '_' || c == '-'))
        {
            break;
        }
    }

    if (name->len == 0 || name->len > 64 || i < name->len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid %s name \"%V\": write 1 to 64 letters, "
                           "digits, \"_\" or \"-\", as %s", what, name,
                           example);
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_concert_conf_secret(ngx_conf_t *cf, ngx_str_t *name, const char *what,
    ngx_str_t *secret)
{
    size_t  len;

    if (ngx_http_concert_conf_file(cf, name, secret) != NGX_OK) {
        return NGX_ERROR;
    }

    len = 0;

    while (len < secret->len && secret->data[len] != CR
           && secret->data[len] != LF)
    {
        len++;
    }

    if (len == 0 || len > NGX_HTTP_CONCERT_MAX_SECRET) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the %s file \"%V\" has no %s: write one of 1 to "
                           "%d bytes in its first line", what, name, what,
                           NGX_HTTP_CONCERT_MAX_SECRET);
        return NGX_ERROR;
    }

    secret->len = len;
    secret->data[len] = '\0';

    return NGX_OK;
}


ngx_int_t
ngx_http_concert_conf_file(ngx_conf_t *cf, ngx_str_t *name, ngx_str_t *text)
{
    u_char    buffer[NGX_HTTP_CONCERT_MAX_FILE + 1];
    ssize_t   n;
    ngx_fd_t  fd;

    if (ngx_conf_full_name(cf->cycle, name, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    fd = ngx_open_file(name->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "cannot open \"%V\": write a file that nginx's "
                           "master may read", name);
        return NGX_ERROR;
    }

    n = ngx_read_fd(fd, buffer, sizeof(buffer));

    (void) ngx_close_file(fd);

    if (n < 0 || n == (ssize_t) sizeof(buffer)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "cannot read \"%V\": write a file of at most %d "
                           "bytes", name, NGX_HTTP_CONCERT_MAX_FILE);
        return NGX_ERROR;
    }

    text->data = ngx_pnalloc(cf->pool, n + 1);
    if (text->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(text->data, buffer, n);
    text->data[n] = '\0';
    text->len = n;

    ngx_explicit_memzero(buffer, sizeof(buffer));

    return NGX_OK;
}


ngx_int_t
ngx_http_concert_conf_line(ngx_conf_t *cf, ngx_str_t *line)
{
    u_char      *p;
    ngx_str_t   *value;
    ngx_uint_t   i;

    value = cf->args->elts;
    line->len = 0;

    for (i = 1; i < cf->args->nelts; i++) {
        line->len += value[i].len + 1;
    }

    p = ngx_pnalloc(cf->pool, line->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    line->data = p;

    for (i = 1; i < cf->args->nelts; i++) {
        p = ngx_cpymem(p, value[i].data, value[i].len);
        *p++ = '\0';
    }

    return NGX_OK;
}


char *
ngx_http_concert_conf_set_word(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_str_t                      *value;
    ngx_uint_t                     *field;
    const ngx_http_concert_conf_word_t  *words, *word;

    field = (ngx_uint_t *) ((char *) conf + cmd->offset);
    words = cmd->post;

    if (*field != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (word = words; word->name; word++) {
        if (ngx_strcmp(value[1].data, word->name) == 0) {
            *field = word->value;
            return NGX_CONF_OK;
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid value \"%V\": write \"%V %s\", which %s, or "
                       "\"%V %s\", which %s", &value[1],
                       &cmd->name, words[0].name, words[0].meaning,
                       &cmd->name, words[1].name, words[1].meaning);

    return NGX_CONF_ERROR;
}


char *
ngx_http_concert_conf_set_time_or_off(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_int_t    ms;
    ngx_str_t   *value;
    ngx_msec_t  *field;

    field = (ngx_msec_t *) ((char *) conf + cmd->offset);
    value = cf->args->elts;

    if (*field != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    if (ngx_strcmp(value[1].data, "off") == 0) {
        *field = 0;
        return NGX_CONF_OK;
    }

    ms = ngx_parse_time(&value[1], 0);

    if (ms == NGX_ERROR || ms == 0 || ms > NGX_HTTP_CONCERT_MAX_DAY) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\": write a time of at most a "
                           "day, as \"%V 1s\", or \"%V off\"", &value[1],
                           &cmd->name, &cmd->name);
        return NGX_CONF_ERROR;
    }

    *field = (ngx_msec_t) ms;

    return NGX_CONF_OK;
}


static char *
ngx_http_concert_conf_check_msec(ngx_conf_t *cf, void *post, void *data)
{
    ngx_msec_t *ms = data;

    if (*ms == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "must be longer than 0: write a time, as 3s");
        return NGX_CONF_ERROR;
    }

    if (*ms > NGX_HTTP_CONCERT_MAX_TIME) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "must be at most a year: write a time, as 3s");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_concert_conf_check_count(ngx_conf_t *cf, void *post, void *data)
{
    ngx_int_t *n = data;

    if (*n < 1 || *n > 1000) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid number of seats %i: write 1 to 1000", *n);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
