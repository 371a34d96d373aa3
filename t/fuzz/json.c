
/*
 * Bodies: what is accepted is an object of valid UTF-8 that is written and read
 * again as an equal one; what is refused is told in printable ASCII; members
 * are what another reading of them says.
 */

#include "core/json.c"
#include "fuzz.h"


#define MAX_IDS  4


static void
check_error(const char *error, size_t size)
{
    size_t  i, len;

    len = strnlen(error, size);
    promise(len > 0 && len < size);

    for (i = 0; i < len; i++) {
        promise(error[i] >= ' ' && error[i] <= '~');
    }
}


/* only what jansson calls a duplicate has a name, and that is in the body */

static void
check_twice(json_t *twice, const char *body, size_t size)
{
    json_t        *object;
    json_error_t   e;

    object = json_loadb(body, size, JSON_REJECT_DUPLICATES|JSON_ALLOW_NUL, &e);

    if (memchr(body, '\0', size) || object
        || json_error_code(&e) != json_error_duplicate_key)
    {
        promise(twice == NULL);

    } else if (twice) {
        promise(json_is_string(twice));
        promise(json_string_length(twice) <= NGX_HTTP_CONCERT_MAX_NAME);

    } else {
        promise(size > NGX_HTTP_CONCERT_MAX_NAME);
    }

    json_decref(object);
}


static int
is_id(const json_t *value)
{
    return value && json_typeof(value) == JSON_INTEGER
           && json_integer_value(value) >= 1
           && json_integer_value(value) <= 9007199254740991;
}


static void
check_member(const json_t *object, const char *name)
{
    int64_t      value;
    const char  *wrong;

    value = -7;
    wrong = ngx_http_concert_json_member(object, name, 1,
                                         NGX_HTTP_CONCERT_MAX_INTEGER, &value);

    promise((wrong == NULL) == is_id(json_object_get(object, name)));

    if (wrong == NULL) {
        promise(value == json_integer_value(json_object_get(object, name)));
    }
}


static int
are_ids(const json_t *array)
{
    size_t  i, k;

    if (!json_is_array(array) || json_array_size(array) < 1
        || json_array_size(array) > MAX_IDS)
    {
        return 0;
    }

    for (i = 0; i < json_array_size(array); i++) {
        if (!is_id(json_array_get(array, i))) {
            return 0;
        }

        for (k = 0; k < i; k++) {
            if (json_equal(json_array_get(array, i),
                           json_array_get(array, k)))
            {
                return 0;
            }
        }
    }

    return 1;
}


static void
check_ids(const json_t *object, const char *name)
{
    size_t       i, n;
    int64_t      ids[MAX_IDS];
    json_t      *array;
    const char  *wrong;

    array = json_object_get(object, name);
    wrong = ngx_http_concert_json_ids(object, name, ids, MAX_IDS, &n);

    promise((wrong == NULL) == are_ids(array));

    if (wrong) {
        return;
    }

    promise(n == json_array_size(array));

    for (i = 0; i < n; i++) {
        promise(ids[i] == json_integer_value(json_array_get(array, i)));
    }
}


/* a repeat of a request is known by this text */

static void
check_again(json_t *object)
{
    char    *text, *again, error[256];
    json_t  *copy, *twice;

    text = json_dumps(object, JSON_COMPACT|JSON_SORT_KEYS);
    promise(text != NULL);

    copy = ngx_http_concert_json_parse(text, strlen(text), error,
                                       sizeof(error), &twice);
    promise(copy != NULL && json_equal(object, copy));

    again = json_dumps(copy, JSON_COMPACT|JSON_SORT_KEYS);
    promise(again != NULL && strcmp(text, again) == 0);

    json_decref(copy);
    free(again);
    free(text);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char     *body, error[256];
    json_t   *object, *twice;
    uint8_t   small[8];

    body = block_of(data, size);
    memset(error, 0xff, sizeof(error));

    object = ngx_http_concert_json_parse(body, size, error, sizeof(error),
                                         &twice);

    if (object == NULL) {
        check_error(error, sizeof(error));
        check_twice(twice, body, size);
        json_decref(twice);

        /* an error that does not fit is cut */

        (void) ngx_http_concert_json_parse(body, size, (char *) small,
                                           sizeof(small), &twice);
        check_error((char *) small, sizeof(small));
        json_decref(twice);

        free(body);

        return 0;
    }

    promise(twice == NULL);
    promise(json_is_object(object));
    promise(is_utf8(data, size));
    promise(memchr(body, '\0', size) == NULL);

    check_member(object, "userId");
    check_member(object, "amount");
    check_ids(object, "seatIdList");
    check_again(object);

    json_decref(object);
    free(body);

    return 0;
}
