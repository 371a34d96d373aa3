
/*
 * The JSON writer, the strict reader and the parser of integers, alone.  The
 * source is included, so that static functions and sanitizers see all of it.
 */

#include "core/json.c"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>

#include "between.h"


#define MAX        NGX_HTTP_CONCERT_MAX_INTEGER
#define MAX_BODY   65536
#define MAX_BLOCKS 64


/* an allocator that remembers what it gave, and fails after a while */

typedef struct {
    void   *blocks[MAX_BLOCKS];
    size_t  nblocks;
    size_t  allowed;
} pool_t;


static void *
pool_alloc(void *data, size_t size)
{
    pool_t *pool = data;

    if (pool->nblocks == pool->allowed) {
        return NULL;
    }

    return pool->blocks[pool->nblocks++] = test_malloc(size);
}


static void
pool_free(pool_t *pool)
{
    while (pool->nblocks) {
        test_free(pool->blocks[--pool->nblocks]);
    }
}


static void
assert_written(const ngx_http_concert_json_t *json, const char *text)
{
    assert_false(json->failed);
    assert_int_equal(json->pos - json->start, strlen(text));
    assert_memory_equal(json->start, text, strlen(text));
}


/* the writer */

static void
writer_joins_what_it_is_given(void **state)
{
    pool_t                   pool = { .allowed = 1 };
    ngx_http_concert_json_t  json;

    ngx_http_concert_json_init(&json, pool_alloc, &pool, 64);
    ngx_http_concert_json_text(&json, "{\"a\":");
    ngx_http_concert_json_integer(&json, 17);
    ngx_http_concert_json_text(&json, ",\"b\":");
    ngx_http_concert_json_string(&json, "x", 1);
    ngx_http_concert_json_raw(&json, NULL, 0);
    ngx_http_concert_json_text(&json, "}");

    assert_written(&json, "{\"a\":17,\"b\":\"x\"}");
    pool_free(&pool);
}


static void
writer_grows_and_keeps_what_was_written(void **state)
{
    char                     text[3 * 2000 + 1];
    size_t                   i;
    pool_t                   pool = { .allowed = MAX_BLOCKS };
    ngx_http_concert_json_t  json;

    ngx_http_concert_json_init(&json, pool_alloc, &pool, 1);

    for (i = 0; i < 2000; i++) {
        ngx_http_concert_json_text(&json, "ab,");
        memcpy(text + 3 * i, "ab,", 3);
    }

    text[3 * i] = '\0';
    assert_written(&json, text);

    /* it doubles: not a block a write */
    assert_between(pool.nblocks, 2, 16);
    pool_free(&pool);
}


static void
writer_fills_its_buffer_to_the_last_byte(void **state)
{
    pool_t                   pool = { .allowed = 1 };
    ngx_http_concert_json_t  json;

    ngx_http_concert_json_init(&json, pool_alloc, &pool, 4);
    ngx_http_concert_json_text(&json, "true");

    assert_written(&json, "true");
    assert_ptr_equal(json.pos, json.end);
    pool_free(&pool);
}


static void
writer_without_memory_has_failed_from_the_start(void **state)
{
    pool_t                   pool = { .allowed = 0 };
    ngx_http_concert_json_t  json;

    ngx_http_concert_json_init(&json, pool_alloc, &pool, 64);
    assert_true(json.failed);

    ngx_http_concert_json_text(&json, "[");
    ngx_http_concert_json_integer(&json, 1);
    ngx_http_concert_json_string(&json, "x", 1);
    ngx_http_concert_json_time(&json, 0);

    assert_true(json.failed);
    assert_int_equal(pool.nblocks, 0);
}


static void
writer_that_cannot_grow_drops_everything_after(void **state)
{
    pool_t                   pool = { .allowed = 1 };
    ngx_http_concert_json_t  json;

    ngx_http_concert_json_init(&json, pool_alloc, &pool, 4);
    ngx_http_concert_json_text(&json, "[1");
    ngx_http_concert_json_string(&json, "too long", 8);
    assert_true(json.failed);

    /* this would fit, and would leave a hole */
    ngx_http_concert_json_text(&json, "]");
    assert_true(json.failed);
    assert_int_equal(json.pos - json.start, 2);
    pool_free(&pool);
}


static void
assert_integer(int64_t n, const char *text)
{
    pool_t                   pool = { .allowed = 1 };
    ngx_http_concert_json_t  json;

    ngx_http_concert_json_init(&json, pool_alloc, &pool, 32);
    ngx_http_concert_json_integer(&json, n);
    assert_written(&json, text);
    pool_free(&pool);
}


static void
integers_are_written_up_to_their_limits(void **state)
{
    assert_integer(0, "0");
    assert_integer(1, "1");
    assert_integer(-1, "-1");
    assert_integer(9, "9");
    assert_integer(10, "10");
    assert_integer(-10, "-10");
    assert_integer(99, "99");
    assert_integer(100, "100");
    assert_integer(999, "999");
    assert_integer(1000, "1000");
    assert_integer(9999, "9999");
    assert_integer(10000, "10000");
    assert_integer(99999999, "99999999");
    assert_integer(100000000, "100000000");
    assert_integer(MAX, "9007199254740991");
    assert_integer(INT64_MAX, "9223372036854775807");
    assert_integer(INT64_MIN, "-9223372036854775808");
}


static void
assert_string(const char *s, size_t len, const char *text)
{
    pool_t                   pool = { .allowed = 2 };
    ngx_http_concert_json_t  json;

    ngx_http_concert_json_init(&json, pool_alloc, &pool, 1);
    ngx_http_concert_json_string(&json, s, len);
    assert_written(&json, text);
    pool_free(&pool);
}


static void
strings_are_quoted_and_escaped(void **state)
{
    assert_string("", 0, "\"\"");
    assert_string("Mahler 2", 8, "\"Mahler 2\"");
    assert_string("\"", 1, "\"\\\"\"");
    assert_string("\\", 1, "\"\\\\\"");
    assert_string("a\nb", 3, "\"a\\u000ab\"");
    assert_string("\0", 1, "\"\\u0000\"");
    assert_string("\x1f", 1, "\"\\u001f\"");
    assert_string(" ", 1, "\" \"");
    assert_string("/", 1, "\"/\"");
    assert_string("\x7f", 1, "\"\x7f\"");
    assert_string("한강 🎻", strlen("한강 🎻"), "\"한강 🎻\"");
}


static void
every_byte_that_a_string_can_have_is_read_back(void **state)
{
    char                     s[128], error[64];
    size_t                   i;
    json_t                  *object, *twice;
    pool_t                   pool = { .allowed = 8 };
    ngx_http_concert_json_t  json;

    for (i = 1; i < sizeof(s); i++) {
        s[i - 1] = (char) i;
    }

    ngx_http_concert_json_init(&json, pool_alloc, &pool, 8);
    ngx_http_concert_json_text(&json, "{\"s\":");
    ngx_http_concert_json_string(&json, s, sizeof(s) - 1);
    ngx_http_concert_json_text(&json, "}");

    object = ngx_http_concert_json_parse(json.start, json.pos - json.start,
                                         error, sizeof(error), &twice);
    assert_non_null(object);
    assert_null(twice);
    assert_int_equal(json_string_length(json_object_get(object, "s")),
                     sizeof(s) - 1);
    assert_memory_equal(json_string_value(json_object_get(object, "s")), s,
                        sizeof(s) - 1);
    json_decref(object);
    pool_free(&pool);
}


static void
assert_time(int64_t ms, const char *text)
{
    pool_t                   pool = { .allowed = 2 };
    ngx_http_concert_json_t  json;

    ngx_http_concert_json_init(&json, pool_alloc, &pool, 8);
    ngx_http_concert_json_time(&json, ms);
    assert_written(&json, text);
    pool_free(&pool);
}


static void
times_are_iso_8601_in_utc_with_milliseconds(void **state)
{
    assert_time(0, "\"1970-01-01T00:00:00.000+00:00\"");
    assert_time(1, "\"1970-01-01T00:00:00.001+00:00\"");
    assert_time(999, "\"1970-01-01T00:00:00.999+00:00\"");
    assert_time(1795341600123, "\"2026-11-22T10:00:00.123+00:00\"");
    assert_time(951782399999, "\"2000-02-28T23:59:59.999+00:00\"");
    assert_time(951782400000, "\"2000-02-29T00:00:00.000+00:00\"");
    assert_time(4102444800000, "\"2100-01-01T00:00:00.000+00:00\"");
    assert_time(253402300799999, "\"9999-12-31T23:59:59.999+00:00\"");
}


static void
times_before_the_epoch_count_backwards(void **state)
{
    assert_time(-1, "\"1969-12-31T23:59:59.999+00:00\"");
    assert_time(-999, "\"1969-12-31T23:59:59.001+00:00\"");
    assert_time(-1000, "\"1969-12-31T23:59:59.000+00:00\"");
    assert_time(-1001, "\"1969-12-31T23:59:58.999+00:00\"");
    assert_time(-86400000, "\"1969-12-31T00:00:00.000+00:00\"");
}


/* the reader of bodies */

static json_t *
parse(const char *p, size_t len)
{
    char    *copy, error[128];
    json_t  *object, *twice;

    /* on the heap and without a zero, so that reading past it is seen */
    copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, p, len);

    memset(error, 0, sizeof(error));
    object = ngx_http_concert_json_parse(copy, len, error, sizeof(error),
                                         &twice);
    free(copy);
    json_decref(twice);

    /* there is a reason, in printable ASCII, exactly when it is refused */
    assert_int_equal(object == NULL, error[0] != '\0');

    for (copy = error; *copy; copy++) {
        assert_between(*copy, 0x20, 0x7e);
    }

    return object;
}


static void
assert_refused(const char *body)
{
    json_t  *object;

    object = parse(body, strlen(body));

    if (object) {
        print_error("accepted: %s\n", body);
        json_decref(object);
        fail();
    }
}


static void
assert_accepted(const char *body)
{
    json_t  *object;

    object = parse(body, strlen(body));

    if (object == NULL) {
        print_error("refused: %s\n", body);
        fail();
    }

    json_decref(object);
}


static void
an_object_is_a_body(void **state)
{
    assert_accepted("{}");
    assert_accepted(" \t\r\n{ \"userId\" : 1 } \n");
    assert_accepted("{\"userId\":1,\"more\":[1,{\"x\":null}],\"s\":\"한\"}");
    assert_accepted("{\"\\u0061\":1,\"b\":\"\\ud83c\\udfbb\"}");
}


static void
anything_but_an_object_is_not_a_body(void **state)
{
    assert_refused("");
    assert_refused(" ");
    assert_refused("null");
    assert_refused("1");
    assert_refused("\"userId\"");
    assert_refused("[]");
    assert_refused("[{\"userId\":1}]");
}


static void
what_is_not_json_is_refused(void **state)
{
    assert_refused("{");
    assert_refused("}");
    assert_refused("{\"userId\":1");
    assert_refused("{\"userId\":}");
    assert_refused("{\"userId\" 1}");
    assert_refused("{userId:1}");
    assert_refused("{'userId':1}");
    assert_refused("{\"userId\":1,}");
    assert_refused("{\"userId\":01}");
    assert_refused("{\"userId\":+1}");
    assert_refused("{\"userId\":0x1}");
    assert_refused("{\"userId\":NaN}");
    assert_refused("{\"userId\":Infinity}");
    assert_refused("{\"userId\":1.}");
    assert_refused("{\"userId\":.5}");
    assert_refused("{\"userId\":True}");
    assert_refused("{\"a\":\"\t\"}");
    assert_refused("{\"a\":\"\\x41\"}");
    assert_refused("{\"a\":\"\\u12\"}");
    assert_refused("{/* comment */}");
    assert_refused("userId=1");
}


static void
a_member_given_twice_is_refused(void **state)
{
    assert_refused("{\"userId\":1,\"userId\":1}");
    assert_refused("{\"userId\":1,\"userId\":2}");
    assert_refused("{\"userId\":1,\"\\u0075serId\":2}");
    assert_refused("{\"userId\":1,\"more\":{\"x\":1,\"x\":1}}");

    /* only the same name is the same member */
    assert_accepted("{\"userId\":1,\"userid\":1}");
    assert_accepted("{\"a\":{\"x\":1},\"b\":{\"x\":1}}");
}


static void
assert_twice(const char *body, const char *name)
{
    char    *copy, error[128];
    size_t   len;
    json_t  *twice;

    len = strlen(body);
    copy = malloc(len);
    assert_non_null(copy);
    memcpy(copy, body, len);

    assert_null(ngx_http_concert_json_parse(copy, len, error, sizeof(error),
                                            &twice));
    free(copy);

    if (name == NULL) {
        assert_null(twice);
        return;
    }

    assert_non_null(twice);
    assert_string_equal(json_string_value(twice), name);
    json_decref(twice);
}


static void
the_member_that_is_given_twice_is_told(void **state)
{
    char  body[1024], name[256];

    assert_twice("{\"userId\":1,\"userId\":2}", "userId");
    assert_twice("{\"a\":1,\"userId\":1,\"user\\u0049d\" :2}", "userId");
    assert_twice("{\"x\":{\"a\":1,\"b\":2,\"a\":3},\"x\":1}", "a");
    assert_twice("[{\"a\":1},{\"b\":1,\"b\":1}]", "b");
    assert_twice("{\"\":1,\"\":2}", "");
    assert_twice("{\"\\\"\":1,\"\\\"\":2}", "\"");
    assert_twice("{\"a\\\\\":\"\\\"\",\"a\\\\\":2}", "a\\");
    assert_twice("{\"\\\\\\\"\":1,\"\\\\\\\"\":2}", "\\\"");
    assert_twice("{\"한\":1,\"\\ud55c\":2}", "한");
    assert_twice("{\"\\n\":1,\"\\u000a\":2}", "\n");

    snprintf(name, sizeof(name), "%0255d", 0);
    snprintf(body, sizeof(body), "{\"%s\":1,\"%s\":2}", name, name);
    assert_twice(body, name);

    snprintf(body, sizeof(body), "{\"%0256d\":1,\"%0256d\":2}", 0, 0);
    assert_twice(body, NULL);

    /* what is wrong first is told */
    assert_twice("{\"a\":01,\"a\":2}", NULL);
    assert_twice("{\"a\":1,\"b\":2", NULL);
}


static void
a_byte_order_mark_is_refused(void **state)
{
    assert_refused("\xef\xbb\xbf{\"userId\":1}");
    assert_refused("\xef\xbb\xbf");
}


static void
invalid_utf8_is_refused(void **state)
{
    assert_refused("{\"a\":\"\xff\"}");
    assert_refused("{\"a\":\"\x80\"}");
    assert_refused("{\"a\":\"\xc3\"}");
    assert_refused("{\"a\":\"\xc0\xaf\"}");             /* overlong */
    assert_refused("{\"a\":\"\xe0\x80\xaf\"}");
    assert_refused("{\"a\":\"\xed\xa0\x80\"}");         /* a surrogate */
    assert_refused("{\"a\":\"\xf4\x90\x80\x80\"}");     /* past U+10FFFF */
    assert_refused("{\"a\":\"\xf0\x9f\x8e\"}");         /* cut */
    assert_refused("{\"\xff\":1}");
    assert_refused("{\"a\":1}\xff");
    assert_accepted("{\"a\":\"\xf4\x8f\xbf\xbf\"}");
}


static void
a_lone_surrogate_is_refused(void **state)
{
    assert_refused("{\"a\":\"\\ud83c\"}");
    assert_refused("{\"a\":\"\\udfbb\"}");
    assert_refused("{\"a\":\"\\udfbb\\ud83c\"}");
    assert_refused("{\"a\":\"\\ud83cx\"}");
    assert_refused("{\"a\":\"\\ud83c\\u0041\"}");
    assert_refused("{\"\\ud83c\":1}");
}


static void
a_zero_byte_is_refused_and_an_escaped_one_is_not(void **state)
{
    static const char  body[] = "{\"a\":1}\0";

    assert_null(parse(body, sizeof(body) - 1));
    assert_null(parse("{\"a\0b\":1}", 9));
    assert_null(parse("{\"a\":\"\0\"}", 9));
    assert_null(parse("{\"a\":1\0}", 8));

    assert_accepted("{\"a\":\"x\\u0000y\"}");
}


static void
what_follows_the_object_is_refused(void **state)
{
    assert_refused("{\"userId\":1}x");
    assert_refused("{\"userId\":1}{}");
    assert_refused("{\"userId\":1},");
    assert_refused("{\"userId\":1}}");
    assert_refused("{\"userId\":1} 1");
    assert_accepted("{\"userId\":1}\r\n\t ");
}


static void
deep_nesting_is_refused_not_followed(void **state)
{
    char    *body;
    size_t   i;

    body = malloc(MAX_BODY);
    assert_non_null(body);

    memset(body, '[', MAX_BODY);
    assert_null(parse(body, MAX_BODY));

    memcpy(body, "{\"a\":", 5);
    assert_null(parse(body, MAX_BODY));

    for (i = 0; i + 5 <= MAX_BODY; i += 5) {
        memcpy(body + i, "{\"a\":", 5);
    }

    assert_null(parse(body, i));
    free(body);

    /* what people nest is no problem */
    assert_accepted("{\"a\":[[[[[[[[[[[[[[[[[[[[{}]]]]]]]]]]]]]]]]]]]]}");
}


static void
a_body_of_the_full_size_is_read(void **state)
{
    char    *body;
    size_t   i, n;
    json_t  *object;

    body = malloc(MAX_BODY);
    assert_non_null(body);

    /* one long string */
    memset(body, 'x', MAX_BODY);
    memcpy(body, "{\"a\":\"", 6);
    memcpy(body + MAX_BODY - 2, "\"}", 2);

    object = parse(body, MAX_BODY);
    assert_non_null(object);
    assert_int_equal(json_string_length(json_object_get(object, "a")),
                     MAX_BODY - 8);
    json_decref(object);

    /* as many members as there is room for */
    body[0] = '{';
    n = 1;

    for (i = 0; n + 16 < MAX_BODY; i++) {
        n += (size_t) sprintf(body + n, "%s\"%zx\":1", i ? "," : "", i);
    }

    body[n++] = '}';
    object = parse(body, n);
    assert_non_null(object);
    assert_int_equal(json_object_size(object), i);
    json_decref(object);
    free(body);
}


static void
a_reason_that_does_not_fit_is_cut(void **state)
{
    char     error[8];
    json_t  *twice;

    memset(error, 'x', sizeof(error));
    assert_null(ngx_http_concert_json_parse("{\"한\"", 6, error,
                                            sizeof(error), &twice));
    assert_non_null(memchr(error, '\0', sizeof(error)));
}


static void
no_damage_to_a_body_breaks_the_reader(void **state)
{
    static const char  valid[] =
        "{\"userId\":1,\"concertId\":2,\"scheduleId\":3,\"seatIdList\":[4,5],"
        "\"s\":\"\\ud83c\\udfbb \xed\x95\x9c\",\"x\":[true,null,1.5e3]}";

    char      body[sizeof(valid)], error[64];
    size_t    i, len;
    json_t   *object, *twice;
    uint32_t  seed;

    seed = 20261122;

    for (i = 0; i < 20000; i++) {
        memcpy(body, valid, sizeof(valid));
        len = sizeof(valid) - 1;

        seed = seed * 1664525 + 1013904223;
        body[(seed >> 8) % len] = (char) (seed >> 24);

        if (i % 2) {
            seed = seed * 1664525 + 1013904223;
            body[(seed >> 8) % len] = (char) (seed >> 24);
        }

        if (i % 3 == 0) {
            seed = seed * 1664525 + 1013904223;
            len = (seed >> 8) % len;
        }

        object = ngx_http_concert_json_parse(body, len, error, sizeof(error),
                                             &twice);
        assert_true(object == NULL || json_is_object(object));
        assert_true(twice == NULL || json_is_string(twice));
        json_decref(object);
        json_decref(twice);
    }
}


/* members */

static json_t *
object_of(const char *body)
{
    json_t  *object;

    object = parse(body, strlen(body));
    assert_non_null(object);

    return object;
}


/* the reason, which names a constant, or NULL with the value */

static const char *
member(const char *body, int64_t min, int64_t max, int64_t *value)
{
    json_t      *object;
    const char  *wrong;

    object = object_of(body);
    wrong = ngx_http_concert_json_member(object, "amount", min, max, value);
    json_decref(object);

    return wrong;
}


static void
a_member_is_read_between_its_limits(void **state)
{
    int64_t  value;

    assert_null(member("{\"amount\":1}", 1, MAX, &value));
    assert_int_equal(value, 1);

    assert_null(member("{\"amount\":9007199254740991}", 1, MAX, &value));
    assert_int_equal(value, MAX);

    assert_null(member("{\"amount\":0}", 0, MAX, &value));
    assert_int_equal(value, 0);

    assert_null(member("{\"x\":2,\"amount\":17,\"y\":[3]}", 1, MAX, &value));
    assert_int_equal(value, 17);
}


static void
a_member_outside_of_its_limits_is_told_apart(void **state)
{
    int64_t  value;

    assert_string_equal(member("{\"amount\":0}", 1, MAX, &value),
                        "must be at least 1");
    assert_string_equal(member("{\"amount\":-1}", 1, MAX, &value),
                        "must be at least 1");
    assert_string_equal(member("{\"amount\":-1}", 0, MAX, &value),
                        "is too small");
    assert_string_equal(member("{\"amount\":-9223372036854775808}", 1, MAX,
                               &value),
                        "must be at least 1");
    assert_string_equal(member("{\"amount\":9007199254740992}", 1, MAX,
                               &value),
                        "is too large");
    assert_string_equal(member("{\"amount\":9223372036854775807}", 1, MAX,
                               &value),
                        "is too large");
}


static void
an_integer_that_is_too_long_is_refused(void **state)
{
    assert_refused("{\"amount\":9223372036854775808}");
    assert_refused("{\"amount\":-9223372036854775809}");
    assert_refused("{\"amount\":100000000000000000000000000000000}");
}


static void
a_member_of_another_type_is_not_an_integer(void **state)
{
    size_t   i;
    int64_t  value;

    static const char  *bodies[] = {
        "{\"amount\":1.0}", "{\"amount\":1.5}", "{\"amount\":1e3}",
        "{\"amount\":\"1\"}", "{\"amount\":true}", "{\"amount\":null}",
        "{\"amount\":[1]}", "{\"amount\":{}}"
    };

    for (i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        assert_string_equal(member(bodies[i], 1, MAX, &value),
                            "must be an integer");
    }
}


static void
a_member_that_is_not_there_is_missing(void **state)
{
    int64_t  value;

    assert_string_equal(member("{}", 1, MAX, &value), "is missing");
    assert_string_equal(member("{\"Amount\":1}", 1, MAX, &value),
                        "is missing");
    assert_string_equal(member("{\"x\":{\"amount\":1}}", 1, MAX, &value),
                        "is missing");
}


/* ids */

static const char *
ids(const char *body, int64_t *list, size_t max, size_t *n)
{
    json_t      *object;
    const char  *wrong;

    object = object_of(body);
    wrong = ngx_http_concert_json_ids(object, "seatIdList", list, max, n);
    json_decref(object);

    return wrong;
}


static void
ids_are_read_in_their_order(void **state)
{
    size_t   n;
    int64_t  list[4];

    assert_null(ids("{\"seatIdList\":[3]}", list, 4, &n));
    assert_int_equal(n, 1);
    assert_int_equal(list[0], 3);

    assert_null(ids("{\"seatIdList\":[9007199254740991,1,3,2]}", list, 4, &n));
    assert_int_equal(n, 4);
    assert_int_equal(list[0], MAX);
    assert_int_equal(list[1], 1);
    assert_int_equal(list[2], 3);
    assert_int_equal(list[3], 2);
}


static void
ids_beyond_the_most_are_refused_unread(void **state)
{
    size_t   n;
    int64_t  list[3] = { 0, 0, -7 };

    assert_string_equal(ids("{\"seatIdList\":[1,2,3]}", list, 2, &n),
                        "has too many elements");
    assert_int_equal(list[2], -7);
}


static void
ids_that_are_not_ids_are_refused(void **state)
{
    size_t   i, n;
    int64_t  list[4];

    static const char  *bodies[] = {
        "{\"seatIdList\":[0]}", "{\"seatIdList\":[-1]}",
        "{\"seatIdList\":[9007199254740992]}", "{\"seatIdList\":[1.0]}",
        "{\"seatIdList\":[\"1\"]}", "{\"seatIdList\":[1,null]}",
        "{\"seatIdList\":[[1]]}", "{\"seatIdList\":[true]}"
    };

    for (i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        assert_string_equal(ids(bodies[i], list, 4, &n),
                        "must have only integers from 1 to 9007199254740991");
    }
}


static void
ids_that_repeat_are_refused(void **state)
{
    size_t   n;
    int64_t  list[4];

    assert_string_equal(ids("{\"seatIdList\":[1,1]}", list, 4, &n),
                        "must not name an element twice");
    assert_string_equal(ids("{\"seatIdList\":[1,2,3,1]}", list, 4, &n),
                        "must not name an element twice");
}


static void
ids_are_an_array_with_something_in_it(void **state)
{
    size_t   n;
    int64_t  list[4];

    assert_string_equal(ids("{}", list, 4, &n), "is missing");
    assert_string_equal(ids("{\"seatIdList\":[]}", list, 4, &n),
                        "must not be empty");
    assert_string_equal(ids("{\"seatIdList\":1}", list, 4, &n),
                        "must be an array of integers");
    assert_string_equal(ids("{\"seatIdList\":null}", list, 4, &n),
                        "must be an array of integers");
    assert_string_equal(ids("{\"seatIdList\":\"1,2\"}", list, 4, &n),
                        "must be an array of integers");
    assert_string_equal(ids("{\"seatIdList\":{\"0\":1}}", list, 4, &n),
                        "must be an array of integers");
}


/* integers of paths, queries and headers */

static int
parse_integer(const char *text, int64_t min, int64_t max, int64_t *value)
{
    int     rc;
    char   *copy;
    size_t  len;

    len = strlen(text);
    copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, text, len);

    rc = ngx_http_concert_parse_integer(copy, len, min, max, value);
    free(copy);

    return rc;
}


static void
assert_number(const char *text, int64_t min, int64_t max, int64_t expected)
{
    int64_t  value;

    value = -7;
    assert_int_equal(parse_integer(text, min, max, &value), 0);
    assert_int_equal(value, expected);
}


static void
assert_no_number(const char *text, int64_t min, int64_t max)
{
    int64_t  value;

    value = -7;

    if (parse_integer(text, min, max, &value) != -1) {
        print_error("accepted: \"%s\"\n", text);
        fail();
    }

    assert_int_equal(value, -7);
}


static void
plain_decimals_are_numbers(void **state)
{
    assert_number("1", 1, MAX, 1);
    assert_number("0", 0, MAX, 0);
    assert_number("10", 1, MAX, 10);
    assert_number("500", 1, 500, 500);
    assert_number("1", 1, 500, 1);
    assert_number("9007199254740990", 1, MAX, MAX - 1);
    assert_number("9007199254740991", 1, MAX, MAX);
    assert_number("9999999999999999", 1, INT64_MAX, 9999999999999999);
    assert_number("1000000000000000", 1, MAX, 1000000000000000);
}


static void
numbers_outside_of_their_limits_are_refused(void **state)
{
    assert_no_number("0", 1, MAX);
    assert_no_number("0", 1, 500);
    assert_no_number("501", 1, 500);
    assert_no_number("9007199254740992", 1, MAX);
    assert_no_number("9999999999999999", 1, MAX);
    assert_no_number("10000000000000000", 1, INT64_MAX);
    assert_no_number("9223372036854775807", 1, INT64_MAX);
    assert_no_number("18446744073709551617", 1, MAX);
    assert_no_number("99999999999999999999999999999999", 1, MAX);
}


static void
anything_but_plain_decimals_is_refused(void **state)
{
    assert_no_number("", 0, MAX);
    assert_no_number("01", 0, MAX);
    assert_no_number("00", 0, MAX);
    assert_no_number("+1", 0, MAX);
    assert_no_number("-1", 0, MAX);
    assert_no_number("-0", 0, MAX);
    assert_no_number(" 1", 0, MAX);
    assert_no_number("1 ", 0, MAX);
    assert_no_number("1\n", 0, MAX);
    assert_no_number("1.0", 0, MAX);
    assert_no_number("1e3", 0, MAX);
    assert_no_number("0x1", 0, MAX);
    assert_no_number("1_000", 0, MAX);
    assert_no_number("1,000", 0, MAX);
    assert_no_number("1/", 0, MAX);             /* '0' - 1 */
    assert_no_number("1:", 0, MAX);             /* '9' + 1 */
    assert_no_number("\xef\xbc\x91", 0, MAX);   /* a full-width 1 */
    assert_no_number("abc", 0, MAX);
}


static void
a_zero_byte_ends_no_number(void **state)
{
    int64_t  value;

    assert_int_equal(ngx_http_concert_parse_integer("1\0", 2, 0, MAX, &value),
                     -1);
    assert_int_equal(ngx_http_concert_parse_integer("\0", 1, 0, MAX, &value),
                     -1);
}


/* year 9999 is the last that ISO 8601 has without agreement */

static void
a_time_that_iso_8601_cannot_write_is_null(void **state)
{
    assert_time(253402300800000, "null");
    assert_time(INT64_MAX, "null");
    assert_time(INT64_MIN, "null");
}


int
main(void)
{
    static const struct CMUnitTest  tests[] = {
        cmocka_unit_test(writer_joins_what_it_is_given),
        cmocka_unit_test(writer_grows_and_keeps_what_was_written),
        cmocka_unit_test(writer_fills_its_buffer_to_the_last_byte),
        cmocka_unit_test(writer_without_memory_has_failed_from_the_start),
        cmocka_unit_test(writer_that_cannot_grow_drops_everything_after),
        cmocka_unit_test(integers_are_written_up_to_their_limits),
        cmocka_unit_test(strings_are_quoted_and_escaped),
        cmocka_unit_test(every_byte_that_a_string_can_have_is_read_back),
        cmocka_unit_test(times_are_iso_8601_in_utc_with_milliseconds),
        cmocka_unit_test(times_before_the_epoch_count_backwards),
        cmocka_unit_test(an_object_is_a_body),
        cmocka_unit_test(anything_but_an_object_is_not_a_body),
        cmocka_unit_test(what_is_not_json_is_refused),
        cmocka_unit_test(a_member_given_twice_is_refused),
        cmocka_unit_test(the_member_that_is_given_twice_is_told),
        cmocka_unit_test(a_byte_order_mark_is_refused),
        cmocka_unit_test(invalid_utf8_is_refused),
        cmocka_unit_test(a_lone_surrogate_is_refused),
        cmocka_unit_test(a_zero_byte_is_refused_and_an_escaped_one_is_not),
        cmocka_unit_test(what_follows_the_object_is_refused),
        cmocka_unit_test(deep_nesting_is_refused_not_followed),
        cmocka_unit_test(a_body_of_the_full_size_is_read),
        cmocka_unit_test(a_reason_that_does_not_fit_is_cut),
        cmocka_unit_test(no_damage_to_a_body_breaks_the_reader),
        cmocka_unit_test(a_member_is_read_between_its_limits),
        cmocka_unit_test(a_member_outside_of_its_limits_is_told_apart),
        cmocka_unit_test(an_integer_that_is_too_long_is_refused),
        cmocka_unit_test(a_member_of_another_type_is_not_an_integer),
        cmocka_unit_test(a_member_that_is_not_there_is_missing),
        cmocka_unit_test(ids_are_read_in_their_order),
        cmocka_unit_test(ids_beyond_the_most_are_refused_unread),
        cmocka_unit_test(ids_that_are_not_ids_are_refused),
        cmocka_unit_test(ids_that_repeat_are_refused),
        cmocka_unit_test(ids_are_an_array_with_something_in_it),
        cmocka_unit_test(plain_decimals_are_numbers),
        cmocka_unit_test(numbers_outside_of_their_limits_are_refused),
        cmocka_unit_test(anything_but_plain_decimals_is_refused),
        cmocka_unit_test(a_zero_byte_ends_no_number),
        cmocka_unit_test(a_time_that_iso_8601_cannot_write_is_null)
    };

    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
