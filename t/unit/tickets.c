
/*
 * The tickets in shared memory: what is stored is found, what is half written
 * is not, whoever dies at whatever instruction.
 */

#include "shared/tickets.c"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "between.h"


#define SALT    0x5eed5eed5eedULL
#define NOW     1000000
#define KILLS   200
#define WRITERS 4
#define USERS   512


static ngx_http_concert_tickets_t  tickets;


static void
make(size_t buckets)
{
    size_t   size;
    void    *memory;

    size = buckets * sizeof(ngx_http_concert_bucket_t);
    memory = mmap(NULL, size, PROT_READ|PROT_WRITE, MAP_ANON|MAP_SHARED, -1,
                  0);
    assert_true(memory != MAP_FAILED);

    ngx_http_concert_tickets_init(&tickets, memory, size);
}


static void
store(uint64_t salt, uint64_t user, uint64_t number, uint64_t ends)
{
    ngx_http_concert_ticket_t  ticket = { user, number, ends, 7 };

    ngx_http_concert_tickets_store(&tickets, salt, &ticket, NOW);
}


static int
find(uint64_t salt, uint64_t user, ngx_http_concert_ticket_t *ticket)
{
    ticket->user = user;

    return ngx_http_concert_tickets_find(&tickets, salt, ticket);
}


static void
what_is_stored_is_found(void **state)
{
    ngx_http_concert_ticket_t  ticket;

    make(16);
    assert_false(find(SALT, 1, &ticket));

    store(SALT, 1, 17, 0);
    assert_true(find(SALT, 1, &ticket));
    assert_int_equal(ticket.number, 17);
    assert_int_equal(ticket.ends, 0);
    assert_int_equal(ticket.window, 7);
    assert_false(find(SALT, 2, &ticket));

    store(SALT, 1, 0, NOW + 5);
    assert_true(find(SALT, 1, &ticket));
    assert_int_equal(ticket.number, 0);
    assert_int_equal(ticket.ends, NOW + 5);
}


static void
another_salt_makes_all_unknown(void **state)
{
    ngx_http_concert_ticket_t  ticket;

    make(16);
    store(SALT, 1, 17, 0);
    assert_false(find(SALT + 1, 1, &ticket));

    store(SALT + 1, 1, 3, 0);
    assert_true(find(SALT + 1, 1, &ticket));
    assert_int_equal(ticket.number, 3);
    assert_false(find(SALT, 1, &ticket));
}


static void
a_late_answer_does_not_undo_a_later_one(void **state)
{
    ngx_http_concert_ticket_t  ticket;

    make(16);
    store(SALT, 1, 17, 0);
    store(SALT, 1, 16, 0);
    assert_true(find(SALT, 1, &ticket));
    assert_int_equal(ticket.number, 17);

    store(SALT, 1, 18, 0);
    assert_true(find(SALT, 1, &ticket));
    assert_int_equal(ticket.number, 18);
}


static void
what_is_dropped_is_unknown(void **state)
{
    ngx_http_concert_ticket_t  ticket;

    make(16);
    store(SALT, 1, 17, 0);
    ngx_http_concert_tickets_drop(&tickets, 2);
    assert_true(find(SALT, 1, &ticket));
    ngx_http_concert_tickets_drop(&tickets, 1);
    assert_false(find(SALT, 1, &ticket));
}


/* one bucket, where two queues meet, and the same users in both */

static void
queues_have_a_table_together(void **state)
{
    uint64_t                   user;
    ngx_http_concert_ticket_t  ticket;

    make(1);

    for (user = 1; user <= NGX_HTTP_CONCERT_BUCKET / 2; user++) {
        store(SALT, user, user, 0);
        store(SALT + 1, 0xabc0 ^ user, 100 + user, 0);
    }

    for (user = 1; user <= NGX_HTTP_CONCERT_BUCKET / 2; user++) {
        assert_true(find(SALT, user, &ticket));
        assert_int_equal(ticket.number, user);
        assert_true(find(SALT + 1, 0xabc0 ^ user, &ticket));
        assert_int_equal(ticket.number, 100 + user);
    }
}


/* one bucket, so that all users meet */

static void
a_full_bucket_loses_who_is_not_looked_at(void **state)
{
    uint64_t                   user, lost;
    unsigned                   i;
    ngx_http_concert_ticket_t  ticket;

    make(1);

    for (user = 1; user <= NGX_HTTP_CONCERT_BUCKET; user++) {
        store(SALT, user, user, 0);
    }

    /* the first newcomer takes the turn of all of them, and a place */
    store(SALT, 100, 100, 0);

    for (i = 0; i < 50; i++) {
        lost = 0;

        for (user = 1; user <= NGX_HTTP_CONCERT_BUCKET; user++) {
            if (user != 3) {
                lost += !find(SALT, user, &ticket);
            }
        }

        assert_between(lost, 0, 2);
    }

    store(SALT, 101, 101, 0);
    assert_false(find(SALT, 3, &ticket));
    assert_true(find(SALT, 101, &ticket));
}


static void
who_is_in_no_more_goes_first(void **state)
{
    uint64_t                   user;
    ngx_http_concert_ticket_t  ticket;

    make(1);

    for (user = 1; user < NGX_HTTP_CONCERT_BUCKET; user++) {
        store(SALT, user, user, 0);
    }

    store(SALT, 50, 0, NOW - 1);
    store(SALT, 51, 51, 0);

    for (user = 1; user < NGX_HTTP_CONCERT_BUCKET; user++) {
        assert_true(find(SALT, user, &ticket));
    }

    assert_false(find(SALT, 50, &ticket));
    assert_true(find(SALT, 51, &ticket));
}


/* three slots a ticket, 96 bytes, lose next to nothing */

static void
tickets_have_room_in_96_bytes(void **state)
{
    uint64_t                   user, lost;
    ngx_http_concert_ticket_t  ticket;

    make(100000 * 96 / sizeof(ngx_http_concert_bucket_t));

    for (user = 1; user <= 100000; user++) {
        store(SALT, user * 7919, user, 0);
    }

    lost = 0;

    for (user = 1; user <= 100000; user++) {
        lost += !find(SALT, user * 7919, &ticket);
    }

    assert_between(lost, 0, 200);
}


/* any half of one ticket and half of another are none */

static void
halves_are_not_found(void **state)
{
    unsigned                        mask;
    ngx_http_concert_ticket_t       ticket;
    ngx_http_concert_bucket_t      *bucket;
    ngx_http_concert_ticket_slot_t  one, two;

    make(1);
    bucket = tickets.buckets;

    store(SALT, 1, 17, 0);
    one = bucket->slot[0];
    store(SALT, 1, 18, NOW + 5);
    two = bucket->slot[0];

    for (mask = 1; mask < 7; mask++) {
        bucket->slot[0].number = mask & 1 ? one.number : two.number;
        bucket->slot[0].ends = mask & 2 ? one.ends : two.ends;
        bucket->slot[0].check = mask & 4 ? one.check : two.check;

        assert_false(find(SALT, 1, &ticket));
    }

    bucket->slot[0] = one;
    assert_true(find(SALT, 1, &ticket));
    bucket->user[0] = 2;
    assert_false(find(SALT, 2, &ticket));
}


/* a ticket whose parts belong together says so */

static uint64_t
ends_of(uint64_t user, uint64_t number)
{
    return NOW + (user * 1000003 + number * 97) % 1000000;
}


static void
write_for_ever(unsigned seed)
{
    uint64_t                   user, number;
    ngx_http_concert_ticket_t  ticket;

    for (number = 1; ; number++) {
        seed = seed * 1103515245 + 12345;
        user = 1 + (seed >> 16) % USERS;

        store(SALT, user, number, ends_of(user, number));

        if (seed % 7 == 0) {
            ngx_http_concert_tickets_drop(&tickets, 1 + (seed >> 8) % USERS);
        }

        (void) find(SALT, 1 + (seed >> 4) % USERS, &ticket);
    }
}


static void
nobody_sees_what_a_killed_writer_left_behind(void **state)
{
    pid_t                      pids[WRITERS];
    unsigned                   i, round, found;
    uint64_t                   user;
    struct timespec            pause;
    ngx_http_concert_ticket_t  ticket;

    make(USERS / NGX_HTTP_CONCERT_BUCKET);
    found = 0;

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

        for (i = 0; i < WRITERS; i++) {
            (void) kill(pids[i], SIGKILL);
        }

        for (user = 1; user <= USERS; user++) {
            if (find(SALT, user, &ticket)) {
                assert_int_equal(ticket.ends, ends_of(user, ticket.number));
                found++;
            }
        }

        for (i = 0; i < WRITERS; i++) {
            assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
        }
    }

    assert_true(found > KILLS);

    /* and the memory is as good as new */

    for (user = 1; user <= USERS; user++) {
        store(SALT + 1, user, user, 0);
        assert_true(find(SALT + 1, user, &ticket));
        assert_int_equal(ticket.number, user);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(what_is_stored_is_found),
        cmocka_unit_test(another_salt_makes_all_unknown),
        cmocka_unit_test(queues_have_a_table_together),
        cmocka_unit_test(a_late_answer_does_not_undo_a_later_one),
        cmocka_unit_test(what_is_dropped_is_unknown),
        cmocka_unit_test(a_full_bucket_loses_who_is_not_looked_at),
        cmocka_unit_test(who_is_in_no_more_goes_first),
        cmocka_unit_test(tickets_have_room_in_96_bytes),
        cmocka_unit_test(halves_are_not_found),
        cmocka_unit_test(nobody_sees_what_a_killed_writer_left_behind)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
