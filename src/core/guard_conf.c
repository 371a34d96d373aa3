
/* concert_breaker: Resilience4j's properties. */

#include "core/conf.h"
#include "core/sale.h"


/* of the breaker: named as Resilience4j does */

typedef enum {
    NGX_HTTP_CONCERT_PROPERTY_PERCENT,   /* float */
    NGX_HTTP_CONCERT_PROPERTY_COUNT,     /* int64_t */
    NGX_HTTP_CONCERT_PROPERTY_TIME,      /* int64_t, ms */
    NGX_HTTP_CONCERT_PROPERTY_TYPE,      /* uint32_t: count, time */
    NGX_HTTP_CONCERT_PROPERTY_FLAG       /* uint32_t: off, on */
} ngx_http_concert_property_e;


typedef struct {
    ngx_str_t                    name;
    ngx_http_concert_property_e  kind;
    size_t                       offset;
    const char                  *example;
} ngx_http_concert_property_t;


static ngx_int_t ngx_http_concert_breaker_parameter(ngx_conf_t *cf,
    ngx_str_t *value, ngx_http_concert_breaker_conf_t *breaker);
static ngx_int_t ngx_http_concert_breaker_value(ngx_str_t *text,
    const ngx_http_concert_property_t *property, void *value);


static const ngx_http_concert_property_t  ngx_http_concert_properties[] = {
    { ngx_string("failure_rate_threshold"),
      NGX_HTTP_CONCERT_PROPERTY_PERCENT,
      offsetof(ngx_http_concert_breaker_conf_t,
               failure_rate_threshold), "50" },
    { ngx_string("slow_call_rate_threshold"),
      NGX_HTTP_CONCERT_PROPERTY_PERCENT,
      offsetof(ngx_http_concert_breaker_conf_t,
               slow_call_rate_threshold), "100" },
    { ngx_string("slow_call_duration_threshold"),
      NGX_HTTP_CONCERT_PROPERTY_TIME,
      offsetof(ngx_http_concert_breaker_conf_t,
               slow_call_duration_threshold), "3s" },
    { ngx_string("sliding_window_type"),
      NGX_HTTP_CONCERT_PROPERTY_TYPE,
      offsetof(ngx_http_concert_breaker_conf_t,
               sliding_window_type), "time" },
    { ngx_string("sliding_window_size"),
      NGX_HTTP_CONCERT_PROPERTY_COUNT,
      offsetof(ngx_http_concert_breaker_conf_t,
               sliding_window_size), "100" },
    { ngx_string("minimum_number_of_calls"),
      NGX_HTTP_CONCERT_PROPERTY_COUNT,
      offsetof(ngx_http_concert_breaker_conf_t,
               minimum_number_of_calls), "100" },
    { ngx_string("wait_duration_in_open_state"),
      NGX_HTTP_CONCERT_PROPERTY_TIME,
      offsetof(ngx_http_concert_breaker_conf_t,
               wait_duration_in_open_state), "60s" },
    { ngx_string("permitted_number_of_calls_in_half_open_state"),
      NGX_HTTP_CONCERT_PROPERTY_COUNT,
      offsetof(ngx_http_concert_breaker_conf_t,
               permitted_number_of_calls), "10" },
    { ngx_string("max_wait_duration_in_half_open_state"),
      NGX_HTTP_CONCERT_PROPERTY_TIME,
      offsetof(ngx_http_concert_breaker_conf_t,
               max_wait_duration_in_half_open_state), "30s" },
    { ngx_string("automatic_transition_from_open_to_half_open_enabled"),
      NGX_HTTP_CONCERT_PROPERTY_FLAG,
      offsetof(ngx_http_concert_breaker_conf_t,
               automatic_transition), "on" },
    { ngx_null_string, 0, 0, NULL }
};


ngx_http_concert_guard_t *
ngx_http_concert_guard_create(ngx_conf_t *cf)
{
    ngx_http_concert_guard_t  *guard;

    guard = ngx_pcalloc(cf->pool, sizeof(ngx_http_concert_guard_t));

    if (guard) {
        ngx_http_concert_breaker_defaults(&guard->conf);
    }

    return guard;
}


/* concert_breaker [property=value]...; */

char *
ngx_http_concert_guard_directive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_concert_sale_t *sale = conf;

    ngx_str_t                 *value;
    ngx_uint_t                 i;
    const char                *wrong;
    ngx_http_concert_guard_t  *guard;

    if (sale->guard) {
        return "is duplicate";
    }

    guard = ngx_http_concert_guard_create(cf);

    if (guard == NULL
        || ngx_http_concert_conf_line(cf, &guard->line) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    sale->guard = guard;
    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        if (ngx_http_concert_breaker_parameter(cf, &value[i], &guard->conf)
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    wrong = ngx_http_concert_breaker_wrong(&guard->conf);

    if (wrong) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s is out of its limits, which README.md tells",
                           wrong);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_concert_breaker_parameter(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_concert_breaker_conf_t *breaker)
{
    ngx_str_t                           text;
    const ngx_http_concert_property_t  *property;

    for (property = ngx_http_concert_properties; property->name.len;
         property++)
    {
        if (value->len <= property->name.len
            || value->data[property->name.len] != '='
            || ngx_strncmp(value->data, property->name.data,
                           property->name.len)
               != 0)
        {
            continue;
        }

        text.data = value->data + property->name.len + 1;
        text.len = value->len - property->name.len - 1;

        if (ngx_http_concert_breaker_value(&text, property,
                                      (char *) breaker + property->offset)
            == NGX_OK)
        {
            return NGX_OK;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": write it as %V=%s", value,
                           &property->name, property->example);
        return NGX_ERROR;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "unknown parameter \"%V\": the first known one is "
                       "\"%V\"", value, &ngx_http_concert_properties[0].name);

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_concert_breaker_value(ngx_str_t *text,
    const ngx_http_concert_property_t *property, void *value)
{
    ngx_int_t  n;

    switch (property->kind) {

    case NGX_HTTP_CONCERT_PROPERTY_PERCENT:
        n = ngx_atofp(text->data, text->len, 2);
        *(float *) value = n / 100.0f;
        break;

    case NGX_HTTP_CONCERT_PROPERTY_COUNT:
        n = ngx_atoi(text->data, text->len);
        *(int64_t *) value = n;
        break;

    case NGX_HTTP_CONCERT_PROPERTY_TIME:
        n = ngx_parse_time(text, 0);
        *(int64_t *) value = n;
        break;

    case NGX_HTTP_CONCERT_PROPERTY_TYPE:
        n = ngx_strcmp(text->data, "count") == 0
            ? NGX_HTTP_CONCERT_BREAKER_COUNT
            : ngx_strcmp(text->data, "time") == 0
              ? NGX_HTTP_CONCERT_BREAKER_TIME : NGX_ERROR;
        *(uint32_t *) value = n;
        break;

    default: /* NGX_HTTP_CONCERT_PROPERTY_FLAG */
        n = ngx_strcmp(text->data, "on") == 0
            ? 1 : ngx_strcmp(text->data, "off") == 0 ? 0 : NGX_ERROR;
        *(uint32_t *) value = n;
    }

    return n == NGX_ERROR ? NGX_ERROR : NGX_OK;
}
