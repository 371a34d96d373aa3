
/*
 * The pages in shared memory: what is stored is found, what is half written is
 * not, whoever dies at whatever instruction.
 */

#include "shared/catalog.c"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>


#define LIST     1
#define NOW      1000000
#define LIMIT    500
#define SLOTS    8
#define LARGEST  (NGX_HTTP_CONCERT_CATALOG_TEXT - NGX_HTTP_CONCERT_ETAG)
#define KILLS    200
#define WRITERS  4
#define IDS      12


/* as in a zone: what workers share, and the lock of those who write */

typedef struct {
    ngx_http_concert_catalog_t  catalog;
    pid_t                       lock;
} shared_t;


static shared_t  *shared;
static char       text[NGX_HTTP_CONCERT_CATALOG_SLOT];


static void *
memory_of(size_t size)
{
    void  *memory;

    memory = mmap(NULL, size, PROT_READ|PROT_WRITE, MAP_ANON|MAP_SHARED, -1,
                  0);
    assert_true(memory != MAP_FAILED);

    return memory;
}


static void
make(size_t slots)
{
    size_t  size;

    size = slots * (NGX_HTTP_CONCERT_CATALOG_SLOT + sizeof(uint64_t));

    shared = memory_of(sizeof(shared_t));
    ngx_http_concert_catalog_init(&shared->catalog, memory_of(size), size);
}


static void
store_body(uint64_t id, uint64_t made, const char *body, size_t len)
{
    char                             etag[NGX_HTTP_CONCERT_ETAG];
    ngx_http_concert_catalog_page_t  page = { { LIST, id, 100, 0 }, made, id,
                                              len };

    ngx_http_concert_catalog_etag(body, len, id, etag);
    ngx_http_concert_catalog_store(&shared->catalog, &page, etag, body);
}


static void
store(uint64_t id, uint64_t made, const char *body)
{
    store_body(id, made, body, strlen(body));
}


static int
find(uint64_t id, ngx_http_concert_catalog_found_t *found)
{
    ngx_http_concert_catalog_key_t  key = { LIST, id, 100, 0 };

    return ngx_http_concert_catalog_find(&shared->catalog, &key, found);
}


static void
assert_is(uint64_t id, const char *body)
{
    ngx_http_concert_catalog_found_t  found;

    assert_true(find(id, &found));
    assert_int_equal(found.page.len, strlen(body));
    assert_int_equal(found.page.next, id);
    assert_true(ngx_http_concert_catalog_copy(&found, text));
    assert_memory_equal(text + NGX_HTTP_CONCERT_ETAG, body, strlen(body));
}


static void
what_is_stored_is_found(void **state)
{
    ngx_http_concert_catalog_found_t  found;

    make(SLOTS);
    assert_false(find(1, &found));

    store(1, NOW, "[1]");
    assert_is(1, "[1]");
    assert_false(find(2, &found));

    store(1, NOW + 1, "[1,2]");
    store(2, NOW + 1, "");
    assert_is(1, "[1,2]");
    assert_is(2, "");
}


static void
each_part_of_a_key_tells_pages_apart(void **state)
{
    unsigned                          i, n;
    ngx_http_concert_catalog_found_t  found;

    static const ngx_http_concert_catalog_key_t  keys[] = {
        { 1, 1, 100, 0 }, { 2, 1, 100, 0 }, { 1, 2, 100, 0 }, { 1, 1, 2, 0 },
        { 1, 1, 100, 1 }, { 1, 0, 100, 1 }
    };

    make(SLOTS);

    for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        ngx_http_concert_catalog_page_t  page = { keys[i], NOW, i, 1 };

        for (n = i; n < sizeof(keys) / sizeof(keys[0]); n++) {
            assert_false(ngx_http_concert_catalog_find(&shared->catalog,
                                                       &keys[n], &found));
        }

        ngx_http_concert_catalog_store(&shared->catalog, &page,
                                       "\"0123456789abcdef\"", "x");

        for (n = 0; n <= i; n++) {
            assert_true(ngx_http_concert_catalog_find(&shared->catalog,
                                                      &keys[n], &found));
            assert_int_equal(found.page.next, n);
        }
    }
}


static void
a_late_answer_does_not_undo_a_later_one(void **state)
{
    make(SLOTS);
    store(1, NOW, "new");
    store(1, NOW - 1, "old");
    assert_is(1, "new");

    store(1, NOW, "as new");
    assert_is(1, "as new");
}


static void
a_page_that_does_not_fit_is_not_stored(void **state)
{
    char                              *body;
    ngx_http_concert_catalog_found_t   found;

    make(SLOTS);
    body = calloc(1, LARGEST + 1);

    store_body(1, NOW, body, LARGEST + 1);
    assert_false(find(1, &found));

    store_body(1, NOW, body, LARGEST);
    assert_true(find(1, &found));
    assert_true(ngx_http_concert_catalog_copy(&found, text));

    free(body);
}


static void
without_memory_nothing_is_found(void **state)
{
    ngx_http_concert_catalog_found_t  found;

    shared = memory_of(sizeof(shared_t));
    ngx_http_concert_catalog_init(&shared->catalog, NULL, 1000);

    store(1, NOW, "x");
    assert_false(find(1, &found));
}


static void
what_is_overwritten_meanwhile_is_not_copied(void **state)
{
    uint64_t                          id;
    ngx_http_concert_catalog_found_t  found, again;

    make(SLOTS);
    store(1, NOW, "first");
    assert_true(find(1, &found));

    /* beside it, and there again */

    store(1, NOW, "second");
    assert_true(ngx_http_concert_catalog_copy(&found, text));

    for (id = 2; id < 2 + 2 * SLOTS; id++) {
        store(id, NOW, "others");
    }

    assert_false(ngx_http_concert_catalog_copy(&found, text));
    assert_false(find(1, &again) && again.slot == found.slot);
}


static void
one_has_the_claim_for_a_while(void **state)
{
    ngx_http_concert_catalog_found_t  one, two;

    make(SLOTS);
    store(1, NOW, "x");
    assert_true(find(1, &one) && find(1, &two));

    assert_true(ngx_http_concert_catalog_claim(&one, NOW, LIMIT));
    assert_false(ngx_http_concert_catalog_claim(&two, NOW, LIMIT));
    assert_false(ngx_http_concert_catalog_claim(&two, NOW - 3, LIMIT));
    assert_false(ngx_http_concert_catalog_claim(&two, NOW + LIMIT - 1, LIMIT));
    assert_true(ngx_http_concert_catalog_claim(&two, NOW + LIMIT, LIMIT));
    assert_false(ngx_http_concert_catalog_claim(&one, NOW + LIMIT, LIMIT));

    store(1, NOW + LIMIT, "y");
    assert_true(find(1, &one));
    assert_true(ngx_http_concert_catalog_claim(&one, NOW + LIMIT, LIMIT));
}


static void
a_page_that_is_looked_at_stays(void **state)
{
    uint64_t                          id;
    ngx_http_concert_catalog_found_t  found;

    make(SLOTS);

    for (id = 1; id <= 3; id++) {
        store(id, NOW, "hot");
    }

    for (id = 100; id < 10000; id++) {
        store(id, NOW, "asked for once");

        assert_is(1, "hot");
        assert_is(2, "hot");
        assert_is(3, "hot");
    }

    assert_false(find(100, &found));
}


static void
a_page_that_comes_anew_pushes_out_no_other(void **state)
{
    uint64_t  id, i;

    make(SLOTS);

    for (id = 1; id <= SLOTS; id++) {
        store(id, NOW, "x");
    }

    for (i = 0; i < 100; i++) {
        store(1 + i % SLOTS, NOW + i, "x");

        for (id = 1; id <= SLOTS; id++) {
            assert_is(id, "x");
        }
    }
}


static void
etags_tell_bodies_apart(void **state)
{
    char      etags[5][NGX_HTTP_CONCERT_ETAG];
    unsigned  i, n;

    ngx_http_concert_catalog_etag("[1234567,8]", 11, 0, etags[0]);
    ngx_http_concert_catalog_etag("[1234567,9]", 11, 0, etags[1]);
    ngx_http_concert_catalog_etag("[1234567,8]", 11, 8, etags[2]);
    ngx_http_concert_catalog_etag("[2234567,8]", 11, 0, etags[3]);
    ngx_http_concert_catalog_etag("[1234567,8]\0", 12, 0, etags[4]);

    for (i = 0; i < 5; i++) {
        assert_int_equal(etags[i][0], '"');
        assert_int_equal(etags[i][NGX_HTTP_CONCERT_ETAG - 1], '"');

        for (n = 0; n < i; n++) {
            assert_memory_not_equal(etags[i], etags[n],
                                    NGX_HTTP_CONCERT_ETAG);
        }
    }

    ngx_http_concert_catalog_etag("[1234567,8]", 11, 0, etags[1]);
    assert_memory_equal(etags[0], etags[1], NGX_HTTP_CONCERT_ETAG);
}


/* a body whose parts belong together says so */

static size_t
body_of(uint64_t id, uint64_t made, char *body)
{
    size_t  len;

    len = (id * 4001 + made * 7919) % LARGEST;
    memset(body, (int) (id * 31 + made), len);

    return len;
}


static void
write_for_ever(unsigned seed)
{
    char      body[NGX_HTTP_CONCERT_CATALOG_SLOT];
    pid_t     none;
    uint64_t  id, made;

    for (made = NOW + (uint64_t) seed * 1000000; ; made++) {
        seed = seed * 1103515245 + 12345;
        id = 1 + (seed >> 16) % IDS;
        none = 0;

        if (!__atomic_compare_exchange_n(&shared->lock, &none, getpid(), 0,
                                         __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        {
            continue;
        }

        store_body(id, made, body, body_of(id, made, body));
        __atomic_store_n(&shared->lock, 0, __ATOMIC_RELEASE);
    }
}


/* how many pages there are; each is as it was written */

static unsigned
read_all(void)
{
    char                              body[NGX_HTTP_CONCERT_CATALOG_SLOT];
    uint64_t                          id;
    unsigned                          whole;
    ngx_http_concert_catalog_found_t  found;

    whole = 0;

    for (id = 1; id <= IDS; id++) {
        if (!find(id, &found)
            || !ngx_http_concert_catalog_copy(&found, text))
        {
            continue;
        }

        assert_int_equal(found.page.next, id);
        assert_int_equal(found.page.len,
                         body_of(id, found.page.made, body));
        assert_memory_equal(text + NGX_HTTP_CONCERT_ETAG, body,
                            found.page.len);
        whole++;
    }

    return whole;
}


static void
nobody_sees_what_a_killed_writer_left_behind(void **state)
{
    pid_t            pids[WRITERS], holder;
    unsigned         i, round, whole, held;
    uint64_t         id;
    struct timespec  pause;

    make(SLOTS);
    whole = 0;
    held = 0;

    for (round = 0; round < KILLS; round++) {

        for (i = 0; i < WRITERS; i++) {
            pids[i] = fork();

            if (pids[i] == 0) {
                write_for_ever(round * WRITERS + i);
            }
        }

        pause.tv_sec = 0;
        pause.tv_nsec = 1000000 + (long) round * 10007 % 1000000;
        (void) nanosleep(&pause, NULL);

        whole += read_all();

        for (i = 0; i < WRITERS; i++) {
            (void) kill(pids[i], SIGKILL);
            assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);

            /* as nginx's master does */

            holder = pids[i];
            held += __atomic_compare_exchange_n(&shared->lock, &holder, 0, 0,
                                                __ATOMIC_SEQ_CST,
                                                __ATOMIC_RELAXED);
        }

        whole += read_all();
    }

    assert_true(whole > KILLS);
    assert_true(held > KILLS / 10);

    /*
     * and the memory is as good as new, once the clock has been round, which
     * spares what was looked at
     */

    for (id = 1; id <= 3 * SLOTS; id++) {
        store(1000 + id, NOW, "x");
    }

    for (id = 2 * SLOTS + 1; id <= 3 * SLOTS; id++) {
        assert_is(1000 + id, "x");
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(what_is_stored_is_found),
        cmocka_unit_test(each_part_of_a_key_tells_pages_apart),
        cmocka_unit_test(a_late_answer_does_not_undo_a_later_one),
        cmocka_unit_test(a_page_that_does_not_fit_is_not_stored),
        cmocka_unit_test(without_memory_nothing_is_found),
        cmocka_unit_test(what_is_overwritten_meanwhile_is_not_copied),
        cmocka_unit_test(one_has_the_claim_for_a_while),
        cmocka_unit_test(a_page_that_is_looked_at_stays),
        cmocka_unit_test(a_page_that_comes_anew_pushes_out_no_other),
        cmocka_unit_test(etags_tell_bodies_apart),
        cmocka_unit_test(nobody_sees_what_a_killed_writer_left_behind)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
