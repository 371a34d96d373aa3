
/*
 * For operators: GET /ops/, a page that shows what /status tells, and what it
 * is made of.  The files of src/ops/ are built in.
 */

#include "api/api.h"


static ngx_int_t ngx_http_concert_ops_parse(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, json_t *body);
static ngx_int_t ngx_http_concert_ops_start(ngx_http_concert_call_t *call);


ngx_http_concert_route_t  ngx_http_concert_ops_route = {
    ngx_string("ops"),
    {
        { NGX_HTTP_GET,
          NGX_HTTP_CONCERT_OPERATORS,
          ngx_http_concert_ops_parse,
          ngx_http_concert_ops_start,
          NULL }
    }
};


/* the last part of the path is the file's name; none is the page's */

static ngx_int_t
ngx_http_concert_ops_parse(ngx_http_request_t *r,
    ngx_http_concert_call_t *call, json_t *body)
{
    ngx_str_t                 name;
    ngx_http_concert_file_t  *file;

    ngx_http_concert_path_rest(r, &name);

    if (name.len == 0) {
        ngx_str_set(&name, "index.html");
    }

    for (file = ngx_http_concert_files; file->name.len; file++) {
        if (file->name.len == name.len
            && ngx_strncmp(file->name.data, name.data, name.len) == 0)
        {
            call->data = file;
            return NGX_OK;
        }
    }

    ngx_http_concert_call_fail(call, "route_not_found", NULL);

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_concert_ops_start(ngx_http_concert_call_t *call)
{
    ngx_http_concert_file_t   *file;
    ngx_http_concert_reply_t  *reply;

    file = call->data;
    reply = &call->reply;

    reply->etag.data = ngx_pnalloc(call->pool, sizeof("\"00000000\""));
    if (reply->etag.data == NULL) {
        return NGX_ERROR;
    }

    reply->etag.len = ngx_sprintf(reply->etag.data, "\"%08xD\"",
                                  ngx_crc32_long(file->body.data,
                                                 file->body.len))
                      - reply->etag.data;

    reply->status = NGX_HTTP_OK;
    reply->type = file->type;
    reply->body = file->body;

    return NGX_DECLINED;
}
