
/*
 * What is told of faults that go on, however often and from however many
 * threads they are reported.
 */

#include "core/fault.c"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>


#define CONNECT  NGX_HTTP_CONCERT_FAULT_CONNECT
#define RUN      NGX_HTTP_CONCERT_FAULT_RUN
#define AWAY     NGX_HTTP_CONCERT_FAULT_AWAY
#define AGAIN    NGX_HTTP_CONCERT_FAULT_AGAIN
#define QUIET    NGX_HTTP_CONCERT_FAULT_QUIET
#define THREADS  4
#define ROUNDS   10000


static int  store, other;


static int
forget(void **state)
{
    memset(ngx_http_concert_faults, 0, sizeof(ngx_http_concert_faults));
    ngx_http_concert_nfaults = 0;

    return 0;
}


static uint64_t
fails(const void *what, ngx_http_concert_fault_kind_e kind, const char *cause,
    int64_t now)
{
    return ngx_http_concert_fault(what, kind, cause, strlen(cause), cause,
                                  now);
}


static void
assert_over(int64_t now, uint64_t times, const char *text)
{
    char  found[128];

    assert_int_equal(ngx_http_concert_fault_over(now, found, sizeof(found)),
                     times);

    if (times) {
        assert_string_equal(found, text);
    }
}


static void
a_fault_is_told_when_it_begins_and_once_a_minute(void **state)
{
    int64_t   now;
    uint64_t  told, times;

    assert_int_equal(fails(&store, CONNECT, "refused", 0), 1);
    told = 1;

    for (now = 200; now <= 10 * AGAIN; now += 200) {
        times = fails(&store, CONNECT, "refused", now);

        if (times) {
            assert_int_equal(times, AGAIN / 200);
            told++;
        }
    }

    assert_int_equal(told, 11);
}


static void
another_cause_is_told_at_once(void **state)
{
    assert_int_equal(fails(&store, CONNECT, "refused", 0), 1);
    assert_int_equal(fails(&store, CONNECT, "no memory", 1), 1);
    assert_int_equal(fails(&store, CONNECT, "refused", 2), 0);
    assert_int_equal(fails(&store, CONNECT, "no memory", 3), 0);

    /* so is another fault of the same cause */
    assert_int_equal(fails(&store, RUN, "refused", 4), 1);
    assert_int_equal(fails(&other, CONNECT, "refused", 5), 1);
}


static void
numbers_make_no_other_cause(void **state)
{
    assert_int_equal(fails(&store, RUN, "Key (id)=(17) exists", 0), 1);
    assert_int_equal(fails(&store, RUN, "Key (id)=(2040) exists", 1), 0);
    assert_int_equal(fails(&store, RUN, "Key (no)=(17) exists", 2), 1);
}


static void
a_fault_is_over_when_it_has_worked_for_a_while(void **state)
{
    (void) fails(&store, CONNECT, "refused", 0);
    (void) fails(&store, CONNECT, "refused", 10);

    assert_over(100 * AGAIN, 0, NULL);

    ngx_http_concert_fault_ended(&store, RUN);
    ngx_http_concert_fault_ended(&other, CONNECT);
    assert_over(100 * AGAIN, 0, NULL);

    ngx_http_concert_fault_ended(&store, CONNECT);
    assert_over(10 + QUIET - 1, 0, NULL);
    assert_over(10 + QUIET, 2, "refused");
    assert_over(10 + QUIET, 0, NULL);

    assert_int_equal(fails(&store, CONNECT, "refused", 10 + QUIET), 1);
}


static void
what_comes_and_goes_is_one_fault(void **state)
{
    int64_t   now;
    uint64_t  told;

    told = 0;

    for (now = 0; now < 2 * AGAIN; now += 100) {
        told += (fails(&store, CONNECT, "refused", now) != 0);
        ngx_http_concert_fault_ended(&store, CONNECT);
        assert_over(now, 0, NULL);
    }

    assert_int_equal(told, 2);
    assert_over(now + QUIET, 2 * AGAIN / 100, "refused");
}


static void
that_a_group_was_away_once_is_not_told_twice(void **state)
{
    (void) fails(&store, AWAY, "", 0);
    ngx_http_concert_fault_ended(&store, AWAY);
    assert_over(QUIET, 0, NULL);

    (void) fails(&store, AWAY, "", 2 * QUIET);
    (void) fails(&store, AWAY, "", 2 * QUIET);
    ngx_http_concert_fault_ended(&store, AWAY);
    assert_over(3 * QUIET, 2, "");
}


static void
there_is_always_room_for_a_fault(void **state)
{
    int   i;
    char  cause[3];

    for (i = 0; i < 2 * NGX_HTTP_CONCERT_FAULTS; i++) {
        cause[0] = (char) ('a' + i / 16);
        cause[1] = (char) ('a' + i % 16);
        cause[2] = '\0';

        assert_int_equal(fails(&store, RUN, cause, i), 1);
        assert_int_equal(fails(&store, RUN, cause, i), 0);
    }

    assert_int_equal(ngx_http_concert_nfaults, NGX_HTTP_CONCERT_FAULTS);

    /* the one that gave way was the oldest */
    assert_int_equal(fails(&store, RUN, "ha", i), 0);
    assert_int_equal(fails(&store, RUN, "aa", i), 1);
}


static void *
report(void *data)
{
    int       i;
    uint64_t *told = data;

    for (i = 0; i < ROUNDS; i++) {
        *told += (fails(&store, RUN, "refused", i % 1000) != 0);
        ngx_http_concert_fault_ended(&other, RUN);
    }

    return NULL;
}


static void
threads_that_fail_at_once_tell_it_once(void **state)
{
    int        i;
    uint64_t   told[THREADS];
    pthread_t  threads[THREADS];

    memset(told, 0, sizeof(told));

    for (i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, report, &told[i]),
                         0);
    }

    for (i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }

    assert_int_equal(told[0] + told[1] + told[2] + told[3], 1);

    ngx_http_concert_fault_ended(&store, RUN);
    assert_over(1000 + QUIET, THREADS * ROUNDS, "refused");
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test_setup(
            a_fault_is_told_when_it_begins_and_once_a_minute, forget),
        cmocka_unit_test_setup(another_cause_is_told_at_once, forget),
        cmocka_unit_test_setup(numbers_make_no_other_cause, forget),
        cmocka_unit_test_setup(a_fault_is_over_when_it_has_worked_for_a_while,
                               forget),
        cmocka_unit_test_setup(what_comes_and_goes_is_one_fault, forget),
        cmocka_unit_test_setup(that_a_group_was_away_once_is_not_told_twice,
                               forget),
        cmocka_unit_test_setup(there_is_always_room_for_a_fault, forget),
        cmocka_unit_test_setup(threads_that_fail_at_once_tell_it_once,
                               forget)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
