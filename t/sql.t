# The database alone, by psql: what each function answers for one request and
# for several in a batch, what the constraints refuse, what violations() finds,
# and what happens when sessions meet.  In a database of the test's own.

use strict;
use warnings;

use Cwd            qw( abs_path );
use File::Basename qw( dirname );
use JSON::PP       qw( decode_json );
use List::Util     qw( max min shuffle sum0 );
use Test::More;
use Time::HiRes    qw( sleep time );

use constant MAX => 9007199254740991;

# a hold longer than the test
use constant HOLD => 600_000;

# a session that waits this long waits for ever, s
use constant PATIENCE => 60;

my $Conf = abs_path(dirname(__FILE__) . '/../conf');
my $Database = "concert_sql_$$";
my $Made;                       # by this process

# the sessions; in $Psql everything runs that needs only one
my ($Psql, @Others);

my $Seed = $ENV{TEST_SEED} // 20261122;
my $Operations = 0;
my $LastUser = 50_000_000;

srand($Seed);
note("TEST_SEED=$Seed");

make_database();

demo_data();
loading();
reads();
charges();
reservations();
user_limit();
payments();
cancellations();
expiry();
lost_answers();
keyset_pages();
walks_over_seats();
plan_of_seats();
sales();
forbidden_states();
planted_damage();
waiting_for_locks();
opposite_orders();
pay_cancel_expire();
storm();

is_deeply(violations(), {}, 'after all of this every rule holds');

done_testing();


# --- data ---------------------------------------------------------------

sub demo_data {
    run_demo();
    my $first = demo_counts();

    is_deeply($first, { accounts => 10_000, transfers => 10_000,
                        concerts => 3, schedules => 9, seats => 180 },
              'demo.sql fills an empty database');
    is(one('select min(balance) = max(balance) and min(balance) = 100000000 '
           . 'from concert.accounts'), 't', 'everybody has 100,000,000 won');
    is(one('select string_agg(schedule_id::text, $$,$$ order by schedule_id) '
           . 'from concert.schedules where concert_id = 1'), '1,2,3',
       'concert 1 has the schedules 1, 2 and 3');
    is(one('select min(price) = max(price) and min(price) = 60000 '
           . 'from concert.seats join concert.schedules using (schedule_id) '
           . 'where concert_id = 1'), 't', 'its seats cost 60,000');

    one('select concert.charge(array[gen_random_uuid()], array[1], array[5])');
    run_demo();
    $first->{transfers}++;
    is_deeply(demo_counts(), $first, 'run again it adds nothing');
    is(balance(1), 100_000_005, 'and changes no balance');

    ok($Psql->does("update concert.schedules
                    set starts_at = now() - interval '1 hour'
                    where schedule_id in (1, 5)"), 'time goes by');
    run_demo();
    is(one('select count(*) from concert.schedules where starts_at < now()'),
       0, 'run again it moves what has begun into the future');

    is(one('select nextval(pg_get_serial_sequence($$concert.concerts$$, '
           . '$$concert_id$$)) > 3'), 't', 'a concert that is added later '
       . 'gets a number of its own');
}

sub run_demo {
    my $output = qx(psql -X -q -v ON_ERROR_STOP=1 -v seats=20 -d $Database \\
                    -f '$Conf/demo.sql' 2>&1);
    is($?, 0, 'demo.sql runs') or diag($output);
}

sub demo_counts {
    return { map { $_ => one("select count(*) from concert.$_") }
             qw( accounts transfers concerts schedules seats ) };
}

sub loading {
    my $concert = one(q{select concert.add_concert('Stabat Mater')});
    my $schedule = one("select concert.add_schedule($concert,
                            now() + interval '1 day', 5, 700)");

    is_deeply([map { $_->{seat_id} . ':' . $_->{price} } page($schedule)],
              [map { "$_:700" } 1 .. 5],
              'add_schedule makes seats from 1, of one price');
    is(one("select concert.set_price($schedule, 2, 3, 900)"), 2,
       'set_price says how many seats it changed');
    is_deeply([map { $_->{price} } page($schedule)], [700, 900, 900, 700, 700],
              'and changes these');

    my $user = new_user(0);
    my ($held) = reserve([$user, $concert, $schedule, [2]]);
    one("select concert.set_price($schedule, 1, 5, 1)");
    is(reservation($user, $held->{reservation_id})->{total_price}, 900,
       'a hold keeps the price that it was made at');

    $user = new_user(12_345);
    is(balance($user), 12_345, 'add_user opens an account with a balance');
    is(one("select sum(amount) from concert.ledger where account_id = $user"),
       12_345, 'which has its ledger row');
    like($Psql->fails("select concert.add_user($user, 1)"), qr/^23505/,
         'an account is opened once');

    is(one("select concert.add_schedule($concert, now() + interval '1 day',
                0, 1) is not null"), 't', 'a schedule may have no seats');

    schedule_times($concert);
}

# What cannot be told in JSON is not a time of a schedule.
sub schedule_times {
    my ($concert) = @_;
    my $last = '9999-12-31 23:59:59.999999+00';

    my $schedule = one("select concert.add_schedule($concert, '$last', 0, 1,
                            '0001-01-01 00:00+00')");
    ok($schedule, 'a schedule may begin at the end of the year 9999');

    for my $time ('10000-01-01 00:00+00', '9999-12-31 23:00-02', 'infinity',
                  '-infinity', '0001-12-31 00:00+00 BC')
    {
        like($Psql->fails("select concert.add_schedule($concert, '$time', 0, 1)"),
             qr/^22008.*of the years 1 to 9999/s, "but not at $time");
        like($Psql->fails("select concert.add_schedule($concert, '$last', 0, 1,
                               '$time')"),
             qr/^22008.*of the years 1 to 9999/s, "nor may its sale open then");

        for my $column (qw( starts_at sale_opens_at )) {
            like($Psql->fails("update concert.schedules set $column = '$time'
                               where schedule_id = $schedule"),
                 qr/^23514/, "nor does the table take $column = $time");
        }
    }
}


# --- functions that read ----------------------------------------------------

sub reads {
    is(one('select version from concert.ready()'), schema_version(),
       'ready tells the version of the schema');

    is_deeply([map { [@$_{qw(request balance)}] }
               rows("select * from concert.balance('{2, 999999999, 1, 2}')")],
              [[1, balance(2)], [2, undef], [3, balance(1)], [4, balance(2)]],
              'balances come in the order of the requests, null without account');

    is(one(q{select concert.epoch_ms('2026-11-22T19:00:00.1239+09:00')}),
       1795341600123, 'epoch_ms is in whole milliseconds');
    is(one(q{select concert.epoch_ms('1969-12-31T23:59:59.9995+00:00')}), -1,
       'rounded down before the epoch too');

    my $user = new_user(100_000);
    my $other = new_user();
    my ($concert, $schedule) = new_sale(3, 500);
    my ($held) = reserve([$user, $concert, $schedule, [3, 1]]);
    my $id = $held->{reservation_id};

    is_deeply(reservation($user, $id),
              { reservation_id => $id, concert_id => $concert,
                title => 'A concert', schedule_id => $schedule,
                seats => '1,3', total_price => 1000, status => 'HELD',
                expires_ms => $held->{expires_ms} },
              'reservation tells what reserve held');
    is(reservation($other, $id), undef, 'to nobody but its owner');
    is(reservation($user, $id + 1_000_000), undef, 'if there is one');

    my ($paid) = pay([$user, $id, 1000]);
    is_deeply(payment($user, $paid->{payment_id}),
              { payment_id => $paid->{payment_id}, reservation_id => $id,
                amount => 1000, status => 'PAID',
                paid_ms => $paid->{paid_ms}, method => 'balance',
                code => undef, reason => undef },
              'payment tells what pay did');
    is(payment($other, $paid->{payment_id}), undef,
       'to nobody but its owner');
    is(reservation($user, $id)->{status}, 'PAID',
       'the reservation is paid');
}


# --- functions that write ---------------------------------------------------

sub charges {
    my ($a, $b) = (new_user(), new_user(50));

    is_deeply([charge([$a, 10])], [{ request => 1, outcome => 'ok',
                                     balance => 10 }],
              'charge adds to a balance');
    is(balance($a), 10, 'which stays');

    is_deeply([charge([$a, 1], [$b, 5], [$a, 2], [999_999_999, 1], [$b, 1])],
              [{ request => 1, outcome => 'ok', balance => 11 },
               { request => 2, outcome => 'ok', balance => 55 },
               { request => 3, outcome => 'ok', balance => 13 },
               { request => 4, outcome => 'user_not_found', balance => undef },
               { request => 5, outcome => 'ok', balance => 56 }],
              'a batch may charge a user more than once');
    is(balance($a) . ' ' . balance($b), '13 56', 'and each charge counts');

    my $operation = operation();
    charge([$a, 100, $operation]);
    is_deeply([charge([$a, 100, $operation])],
              [{ request => 1, outcome => 'ok', balance => 113 }],
              'an operation that was done is answered and not done again');
    is(one("select count(*) from concert.transfers
            where operation = '$operation'"), 1, 'it has one ledger row');

    $operation = operation();
    is_deeply([map { $_->{balance} } charge([$b, 4, $operation],
                                            [$a, 7],
                                            [$b, 4, $operation])],
              [60, 120, 60], 'nor when its twin is in the same batch');
    is(balance($b), 60, 'it was charged once');

    my $rich = new_user(MAX - 10);
    is_deeply([map { $_->{outcome} } charge([$rich, 11], [$rich, 10],
                                            [$rich, 1], [$rich, MAX])],
              [qw( balance_limit ok balance_limit balance_limit )],
              'a balance goes up to its limit and not beyond');
    is(balance($rich), MAX, 'to the won');

    is(one("select sum(amount) from concert.ledger where account_id = $a"),
       balance($a), 'every won has its ledger row');
}

sub reservations {
    my ($a, $b, $c) = map { new_user() } 1 .. 3;
    my ($concert, $schedule) = new_sale(30, 500);
    my ($other_concert, $other) = new_sale(3, 1);

    my ($held) = reserve([$a, $concert, $schedule, [7, 5]]);
    my $id = delete $held->{reservation_id};
    my $expires = delete $held->{expires_ms};

    cmp_ok($id, '>', 0, 'reserve makes a reservation');
    is_deeply($held, { request => 1, outcome => 'ok', title => 'A concert',
                       seats => '5,7', total_price => 1000,
                       status => 'HELD' }, 'and tells what it holds');
    cmp_ok(abs($expires - now_ms() - HOLD), '<', 60_000, 'and until when');
    is(one("select string_agg(seat_id::text, ',' order by seat_id)
            from concert.seats where reservation_id = $id"), '5,7',
       'the seats name it');

    my @results = reserve([$b, $concert, $schedule, [8, 7, 5, 9]]);
    is($results[0]{outcome}, 'seat_taken', 'a seat is held once');
    is($results[0]{seats}, '5,7', 'the answer names those that are taken');
    is($results[0]{reservation_id}, undef, 'there is no reservation');
    is(one("select count(*) from concert.seats where schedule_id = $schedule
            and seat_id in (8, 9) and reservation_id is null"), 2,
       'and no seat of it is held');
    is((reserve([$a, $concert, $schedule, [5]]))[0]{outcome}, 'seat_taken',
       'one\'s own seat is taken too');

    is_deeply([map { [@$_{qw( request outcome seats )}] }
               reserve([$a, $concert, $schedule, [10]],
                       [$b, $concert, $schedule, [11, 10]],
                       [$c, $concert, $schedule, [11]],
                       [$b, $concert, $schedule, [11]],
                       [$a, $concert, $schedule, [12]],
                       [$a, $other_concert, $other, [1]])],
              [[1, 'ok', 10], [2, 'seat_taken', 10], [3, 'ok', 11],
               [4, 'seat_taken', 11], [5, 'ok', 12], [6, 'ok', 1]],
              'of twins in a batch the first gets the seat');

    my $outcomes = sub { [map { $_->{outcome} } reserve(@_)] };

    is_deeply($outcomes->([999_999_999, $concert, $schedule, [20]]),
              ['user_not_found'], 'user_not_found');
    is_deeply($outcomes->([$a, $other_concert, $schedule, [20]]),
              ['schedule_not_found'],
              'schedule_not_found: it belongs to another concert');
    is_deeply($outcomes->([$a, $concert, 999_999_999, [20]]),
              ['schedule_not_found'], 'schedule_not_found: there is none');
    is_deeply($outcomes->([$a, 999_999_999, $schedule, [20]]),
              ['schedule_not_found'], 'schedule_not_found: nor the concert');
    is_deeply($outcomes->([$a, $concert, $schedule, [20, 31]]),
              ['seat_not_found'], 'seat_not_found: past the last');
    is_deeply($outcomes->([$a, $concert, $schedule, [MAX]]),
              ['seat_not_found'], 'seat_not_found: no seat has such a number');
    is_deeply($outcomes->([$a, $concert, $schedule, [0]]),
              ['seat_not_found'], 'seat_not_found: they start at 1');

    my (undef, $begun) = new_sale(2, 1, "now() - interval '1 s'", undef,
                                  $concert);
    my (undef, $early) = new_sale(2, 1, "now() + interval '1 day'",
                                  "now() + interval '1 hour'", $concert);
    my (undef, $open) = new_sale(2, 1, "now() + interval '1 day'",
                                 "now() - interval '1 s'", $concert);

    is_deeply($outcomes->([$a, $concert, $begun, [1]]), ['sale_closed'],
              'sale_closed: it has begun');
    is_deeply($outcomes->([$a, $concert, $early, [1]]), ['sale_not_open'],
              'sale_not_open: an hour before');
    is_deeply($outcomes->([$a, $concert, $open, [1]]), ['ok'],
              'ok: a second after it opened');

    is_deeply($outcomes->([$a, $concert, $begun, [1]],
                          [$a, $concert, $early, [1]],
                          [$a, $concert, $schedule, [99]],
                          [999_999_999, $concert, $schedule, [21]],
                          [$a, $concert, 999_999_999, [1]],
                          [$b, $concert, $schedule, [21]],
                          [$c, $concert, $schedule, [22, 21]]),
              [qw( sale_closed sale_not_open seat_not_found user_not_found
                   schedule_not_found ok seat_taken )],
              'a batch has any mixture of outcomes');
    is_deeply([map { $_->{request} } reserve(map {
                   [$a, $concert, 999_999_999, [1]] } 1 .. 5)], [1 .. 5],
              'and a row a request, in their order');

    # what has run out is taken without waiting for the job
    my ($short) = reserve({ hold => 1 }, [$a, $concert, $schedule, [25, 26]]);
    wait_until_past($short->{expires_ms});
    is(reservation($a, $short->{reservation_id})->{status}, 'EXPIRED',
       'a hold that ran out reads EXPIRED before any job has been by');

    my ($next) = reserve([$b, $concert, $schedule, [26]]);
    is($next->{outcome}, 'ok', 'and anybody may take its seats');
    is(one("select reservation_id from concert.seats
            where schedule_id = $schedule and seat_id = 25"),
       $short->{reservation_id}, 'one by one');

    my (undef, $free) = new_sale(2, 0, undef, undef, $concert);
    is((reserve([$a, $concert, $free, [1, 2]]))[0]{total_price}, 0,
       'seats may cost nothing');
}

sub user_limit {
    my ($a, $b) = map { new_user(10_000) } 1 .. 2;
    my ($concert, $schedule) = new_sale(30, 10);
    my (undef, $second) = new_sale(30, 10, undef, undef, $concert);

    my $outcomes = sub {
        return [map { $_->{outcome} } reserve({ limit => 3 }, @_)];
    };

    is_deeply($outcomes->([$a, $concert, $schedule, [1, 2, 3, 4]]),
              ['seat_limit'], 'no request is beyond the limit');
    is_deeply($outcomes->([$a, $concert, $schedule, [1, 2]],
                          [$a, $concert, $schedule, [8, 9]],
                          [$b, $concert, $schedule, [3, 4, 5]],
                          [$a, $concert, $schedule, [6]],
                          [$a, $concert, $schedule, [7]]),
              [qw( ok seat_limit ok ok seat_limit )],
              'nor are those of a batch together');
    is_deeply($outcomes->([$a, $concert, $second, [1, 2, 3]]), ['ok'],
              'the limit is for one schedule');

    my ($held) = grep { $_->{status} eq 'HELD' && $_->{seats} eq '6' }
                 rows("select * from concert.reservations_page($a, "
                      . MAX . ', 9)');
    pay([$a, $held->{reservation_id}, 10]);
    is_deeply($outcomes->([$a, $concert, $schedule, [7]]), ['seat_limit'],
              'what is paid counts');

    my ($first) = grep { $_->{seats} eq '1,2' }
                  rows("select * from concert.reservations_page($a, "
                       . MAX . ', 9)');
    cancel([$a, $first->{reservation_id}]);
    is_deeply($outcomes->([$a, $concert, $schedule, [7, 8]]), ['ok'],
              'what was cancelled does not');

    my $user = new_user();
    my ($short) = reserve({ hold => 1, limit => 3 },
                          [$user, $concert, $schedule, [20, 21, 22]]);
    wait_until_past($short->{expires_ms});
    is_deeply($outcomes->([$user, $concert, $schedule, [20, 21, 22]]), ['ok'],
              'nor what ran out');

    is((reserve([$user, $concert, $schedule, [23, 24]]))[0]{outcome}, 'ok',
       'without a limit there is none');
}

sub payments {
    my ($a, $b) = (new_user(1000), new_user(1000));
    my ($concert, $schedule) = new_sale(40, 300);
    my $seat = 0;

    my $hold = sub {
        my ($user, $seats, %options) = @_;
        my ($held) = reserve({ %options }, [$user, $concert, $schedule,
                             [map { ++$seat } 1 .. ($seats // 1)]]);
        return $held->{reservation_id};
    };
    my $outcomes = sub { [map { $_->{outcome} } pay(@_)] };

    my $id = $hold->($a, 2);
    my ($paid) = pay([$a, $id, 600]);

    is($paid->{outcome}, 'ok', 'pay pays');
    is($paid->{amount}, 600, 'what was asked');
    cmp_ok(abs($paid->{paid_ms} - now_ms()), '<', 60_000, 'now');
    is(balance($a), 400, 'from the balance');
    is(one("select bool_and(hold_until = 'infinity') from concert.seats
            where reservation_id = $id"), 't', 'for good');
    is(one("select string_agg(l.account_id || ':' || l.amount, ' '
                              order by l.account_id)
            from concert.ledger l
            join concert.all_payments p using (operation)
            where p.payment_id = $paid->{payment_id}"), "0:600 $a:-600",
       'in two ledger rows');

    is_deeply($outcomes->([$a, $id, 600]), ['reservation_paid'],
              'reservation_paid: once is enough');
    is_deeply($outcomes->([$a, 999_999_999, 600]), ['reservation_not_found'],
              'reservation_not_found: there is none');
    is_deeply($outcomes->([$b, $id, 600]), ['reservation_not_found'],
              'reservation_not_found: it is somebody else\'s');
    is_deeply($outcomes->([999_999_999, $id, 600]),
              ['reservation_not_found'],
              'reservation_not_found: there is no such user');

    $id = $hold->($a);
    is_deeply($outcomes->([$a, $id, 299]), ['amount_mismatch'],
              'amount_mismatch: too little');
    is_deeply($outcomes->([$a, $id, 301]), ['amount_mismatch'],
              'amount_mismatch: too much');
    is_deeply($outcomes->([$a, $id, 0]), ['amount_mismatch'],
              'amount_mismatch: nothing');
    cancel([$a, $id]);
    is_deeply($outcomes->([$a, $id, 300]), ['reservation_cancelled'],
              'reservation_cancelled');

    $id = $hold->($a, 2);
    is_deeply($outcomes->([$a, $id, 600]), ['insufficient_balance'],
              'insufficient_balance: 400 is less than 600');
    is(balance($a), 400, 'a refusal costs nothing');
    charge([$a, 200]);
    is_deeply($outcomes->([$a, $id, 600]), ['ok'],
              'a balance may be spent to the last won');
    is(balance($a), 0, 'and is 0 then');

    $id = $hold->($b, 1, hold => 1);
    wait_until_past(reservation($b, $id)->{expires_ms});
    is_deeply($outcomes->([$b, $id, 300]), ['reservation_expired'],
              'reservation_expired: before any job has been by');
    one('select concert.expire(100)');
    is_deeply($outcomes->([$b, $id, 300]), ['reservation_expired'],
              'reservation_expired: and after it');

    $id = $hold->($b);
    is(claim($b, $id), 'ok', 'a card payment is under way');
    is_deeply($outcomes->([$b, $id, 300]), ['payment_in_progress'],
              'payment_in_progress');

    my @ids = map { $hold->($b) } 1 .. 4;
    is_deeply($outcomes->([$b, $ids[0], 300], [$b, $ids[1], 300],
                          [$a, $ids[2], 300], [$b, $ids[2], 300],
                          [$b, $ids[3], 300], [$b, $ids[0], 300]),
              [qw( ok ok reservation_not_found ok insufficient_balance
                   reservation_paid )],
              'each payment of a batch sees those before it');
    is(balance($b), 100, 'and three were taken from the balance');

    my (undef, $free) = new_sale(2, 0, undef, undef, $concert);
    my ($held) = reserve([$a, $concert, $free, [1, 2]]);
    is_deeply($outcomes->([$a, $held->{reservation_id}, 0]), ['ok'],
              'what costs nothing is paid with nothing');
    is(one("select transfer_id is null from concert.all_payments
            where reservation_id = $held->{reservation_id}"), 't',
       'and without a ledger row');
}

sub cancellations {
    my ($a, $b) = (new_user(1000), new_user());
    my ($concert, $schedule) = new_sale(20, 100);

    my $hold = sub {
        my ($user, @seats) = @_;
        return (reserve([$user, $concert, $schedule,
                         \@seats]))[0]{reservation_id};
    };
    my $outcomes = sub { [map { $_->{outcome} } cancel(@_)] };

    my $id = $hold->($a, 1, 2);
    is_deeply($outcomes->([$a, $id]), ['ok'], 'cancel gives a hold back');
    is(reservation($a, $id)->{status}, 'CANCELLED', 'which is over');
    is(one("select count(*) from concert.seats where schedule_id = $schedule
            and reservation_id is not null"), 0, 'its seats are free');
    is_deeply($outcomes->([$a, $id]), ['ok'], 'cancelling twice is ok');
    is_deeply($outcomes->([$b, $id]), ['reservation_not_found'],
              'reservation_not_found: it is somebody else\'s');
    is_deeply($outcomes->([$a, 999_999_999]), ['reservation_not_found'],
              'reservation_not_found: there is none');

    my $next = $hold->($b, 1, 2);
    is_deeply($outcomes->([$a, $id]), ['ok'],
              'cancelling twice is ok when the seats are another\'s by then');
    is(reservation($b, $next)->{status}, 'HELD', 'who keeps them');

    my $paid = $hold->($a, 3);
    pay([$a, $paid, 100]);
    is_deeply($outcomes->([$a, $paid]), ['reservation_paid'],
              'reservation_paid');
    is(one("select hold_until from concert.seats
            where reservation_id = $paid"), 'infinity',
       'what is sold stays sold');

    my ($short) = reserve({ hold => 1 }, [$a, $concert, $schedule, [4]]);
    wait_until_past($short->{expires_ms});
    is_deeply($outcomes->([$a, $short->{reservation_id}]),
              ['reservation_expired'], 'reservation_expired');

    my @ids = map { $hold->($a, $_) } 10 .. 12;
    is_deeply($outcomes->([$a, $ids[1]], [$b, $ids[0]], [$a, $ids[0]],
                          [$a, $ids[1]], [$a, $paid]),
              [qw( ok reservation_not_found ok ok reservation_paid )],
              'a batch has any mixture of outcomes');
    is_deeply([map { reservation($a, $_)->{status} } @ids],
              [qw( CANCELLED CANCELLED HELD )],
              'and ends those it names');

    my $claimed = $ids[2];
    is(claim($a, $claimed), 'ok', 'a card payment is under way');
    is_deeply($outcomes->([$a, $claimed]), ['payment_in_progress'],
              'payment_in_progress');
}

sub expiry {
    my $user = new_user(1000);
    my ($concert, $schedule) = new_sale(20, 100);

    expire_all();
    is(one('select concert.expire(10)'), 0, 'nothing has run out');

    my @held = reserve({ hold => 1 },
                       map { [$user, $concert, $schedule, [$_]] } 1 .. 7);
    my ($running) = reserve([$user, $concert, $schedule, [8]]);
    wait_until_past($held[0]{expires_ms});
    is((reserve([$user, $concert, $schedule, [7]]))[0]{outcome}, 'ok',
       'one of seven seats that ran out is taken by another');

    is(one('select concert.expire(5)'), 5, 'expire ends at most what it may');
    is(one('select concert.expire(5)'), 2, 'and then the rest');
    is(one('select concert.expire(5)'), 0, 'once each');

    is(one("select string_agg(seat_id::text, ',' order by seat_id)
            from concert.seats
            where schedule_id = $schedule and reservation_id is null
              and seat_id <= 8"), '1,2,3,4,5,6', 'their seats are free');
    is_deeply([map { one("select status from concert.reservations
                          where reservation_id = $_->{reservation_id}") }
               @held], [('EXPIRED') x 7], 'all seven are over');
    is(reservation($user, $running->{reservation_id})->{status}, 'HELD',
       'a hold that runs is left alone');

    # one instance works, the others do not wait for it
    my ($due) = reserve({ hold => 1 }, [$user, $concert, $schedule, [1]]);
    wait_until_past($due->{expires_ms});
    my $other = others(1)->[0];
    $Psql->does('begin', 'select concert.expire(5)');
    is($other->one('select concert.expire(5)'), 0,
       'while one instance works another returns at once');
    $Psql->does('commit');
    is(reservation($user, $due->{reservation_id})->{status}, 'EXPIRED',
       'the first has done it');
}

# An operation whose answer was lost is asked again.
sub lost_answers {
    my $user = new_user(1000);
    my ($concert, $schedule) = new_sale(10, 100);

    my $operation = operation();
    my ($held) = reserve([$user, $concert, $schedule, [2, 1], $operation]);
    my ($again) = reserve([$user, $concert, $schedule, [2, 1], $operation]);
    is_deeply($again, $held, 'reserve again answers what the first held');

    my $twin = operation();
    my @twins = reserve([$user, $concert, $schedule, [3], $twin],
                        [$user, $concert, $schedule, [4]],
                        [$user, $concert, $schedule, [3], $twin]);
    is_deeply([map { $_->{outcome} } @twins], [qw( ok ok ok )],
              'twins in a batch are both ok');
    is($twins[2]{reservation_id}, $twins[0]{reservation_id},
       'with one reservation');

    my $paying = operation();
    my ($paid) = pay([$user, $held->{reservation_id}, 200, $paying]);
    is_deeply([pay([$user, $held->{reservation_id}, 200, $paying])], [$paid],
              'pay again answers the payment');
    is(balance($user), 800, 'and takes nothing');
    is((reserve([$user, $concert, $schedule, [2, 1],
                 $operation]))[0]{status}, 'PAID',
       'reserve again after that tells that it is paid');

    $paying = operation();
    my @paid = pay([$user, $twins[0]{reservation_id}, 100, $paying],
                   [$user, $twins[1]{reservation_id}, 100],
                   [$user, $twins[0]{reservation_id}, 100, $paying]);
    is_deeply([map { $_->{outcome} } @paid], [qw( ok ok ok )],
              'twins that pay in a batch are both ok');
    is($paid[2]{payment_id}, $paid[0]{payment_id}, 'with one payment');
    is(balance($user), 600, 'two were taken from the balance');

    $operation = operation();
    ($held) = reserve([$user, $concert, $schedule, [5], $operation]);
    cancel([$user, $held->{reservation_id}]);
    ($again) = reserve([$user, $concert, $schedule, [5], $operation]);
    is($again->{status}, 'CANCELLED', 'reserve again after cancelling tells '
       . 'what became of it');
    is(one("select count(*) from concert.seats where schedule_id = $schedule
            and seat_id = 5 and reservation_id is null"), 1,
       'and holds nothing');

    # the first run still works when the second begins
    my $other = others(1)->[0];
    $operation = operation();
    $Psql->does('begin');
    ($held) = reserve([$user, $concert, $schedule, [6], $operation]);
    $other->send(reserve_sql({}, [$user, $concert, $schedule, [6],
                                  $operation]));
    ok(blocked($other, $Psql), 'the same operation in another session waits');
    $Psql->does('commit');
    is(parse($other->receive)->{reservation_id}, $held->{reservation_id},
       'and answers what the first one held');
}


# --- pages ------------------------------------------------------------------

sub keyset_pages {
    my @concerts = map { one(q{select concert.add_concert('Page')}) } 1 .. 5;
    my $after = $concerts[0] - 1;
    my @seen;

    for (1 .. 3) {
        my @page = rows("select * from concert.concerts_page($after, 2)");
        push @seen, map { $_->{concert_id} } @page;
        $after = $seen[-1];
    }

    is_deeply(\@seen, \@concerts, 'concerts_page walks by id');
    is_deeply([rows("select * from concert.concerts_page(" . MAX . ', 10)')],
              [], 'and ends');

    my $concert = $concerts[0];
    my @schedules = map { (new_sale(1, 1, $_, undef, $concert))[1] }
        "now() + interval '3 days'", "now() - interval '1 s'",
        "now() + interval '1 day'", "now() + interval '2 days'";

    my $ids = sub {
        return [map { $_->{schedule_id} }
                rows("select * from concert.schedules_page($concert, $_[0],
                                                           $_[1])")];
    };

    is_deeply($ids->(0, 10), [@schedules[0, 2, 3]],
              'schedules_page has those to come, by id');
    is_deeply($ids->(0, 2), [@schedules[0, 2]], 'a page at a time');
    is_deeply($ids->($schedules[2], 2), [$schedules[3]], 'from the last seen');
    is_deeply($ids->($schedules[3], 2), [undef],
              'a row of nulls: there is nothing more');
    is_deeply([rows('select * from concert.schedules_page(999999999, 0, 9)')],
              [], 'no row: there is no such concert');

    my $user = new_user();
    my (undef, $schedule) = new_sale(9, 1, undef, undef, $concert);
    my @held = map { $_->{reservation_id} }
               reserve(map { [$user, $concert, $schedule, [$_]] } 1 .. 5);
    reserve([new_user(), $concert, $schedule, [6]]);

    my $mine = sub {
        return [map { $_->{reservation_id} }
                rows("select * from concert.reservations_page($user, $_[0],
                                                              $_[1])")];
    };

    is_deeply($mine->(MAX + 1, 9), [reverse @held],
              'reservations_page has one\'s own, newest first');
    is_deeply($mine->(MAX + 1, 2), [@held[4, 3]], 'a page at a time');
    is_deeply($mine->($held[3], 2), [@held[2, 1]], 'from the last seen');
    is_deeply($mine->($held[0], 2), [], 'to the end');

    # a new one does not shift the pages of who is walking
    push @held, (reserve([$user, $concert, $schedule, [7]]))[0]{reservation_id};
    is_deeply($mine->($held[3], 2), [@held[2, 1]],
              'what is new does not shift them');
}

# Walks as the API does: one row more than the page says that there is a next
# page, after the last seat and to where the walk began.
sub walk {
    my ($schedule, $spread, $size, $between) = @_;
    my ($after, $end) = ('null', 'null');
    my @seats;

    while (1) {
        my @rows = free_seats($schedule, $after, $end, $spread, $size + 1);
        return undef if !@rows;
        last if !defined $rows[0]{seat_id};

        my $more = @rows > $size;
        $end = $rows[0]{seat_id} - 1 if $after eq 'null';
        push @seats, map { $_->{seat_id} }
                     @rows[0 .. min($size, scalar @rows) - 1];
        $after = $seats[-1];

        last if !$more || @seats > 10_000;
        $between->() if $between;
    }

    return \@seats;
}

sub walks_over_seats {
    my $user = new_user();
    my ($rounds, $wrong, $wrapped, $longest) = (60, 0, 0, 0);

    for my $round (1 .. $rounds) {
        my $total = 1 + int rand 30;
        my ($concert, $schedule) = new_sale($total, 1);
        my @held = grep { rand() < [0, 0.3, 0.9, 1]->[$round % 4] } 1 .. $total;
        my %held = map { $_ => 1 } @held;
        my @free = grep { !$held{$_} } 1 .. $total;
        reserve([$user, $concert, $schedule, \@held]) if @held;

        my $spread = int rand 1_000_000_000;
        my $start = $spread % $total;
        my @expected = ((grep { $_ > $start } @free),
                        (grep { $_ <= $start } @free));
        my $seen = walk($schedule, $spread, 1 + int rand 7);

        $wrapped++ if @expected && $expected[0] > $expected[-1];
        $longest = max($longest, scalar @expected);

        if ("@$seen" ne "@expected") {
            $wrong++;
            diag("$total seats from $start: got (@$seen), "
                 . "expected (@expected)") if $wrong <= 3;
        }
    }

    is($wrong, 0, "$rounds walks over seats: each free one once, all around");
    cmp_ok($wrapped, '>', 10, 'many of them past the last seat');
    cmp_ok($longest, '>', 20, 'and some of them long');

    # others come and go meanwhile; a third of the seats stays available
    $wrong = 0;

    for my $round (1 .. 15) {
        my ($concert, $schedule) = new_sale(30, 1);
        my %mine;
        my $others = sub {
            for (1 .. 4) {
                my $seat = 1 + int rand 30;
                next if $seat % 3 == 0;

                if (my $id = delete $mine{$seat}) {
                    cancel([$user, $id]);
                } else {
                    ($mine{$seat}) = map { $_->{reservation_id} }
                        reserve([$user, $concert, $schedule, [$seat]]);
                }
            }
        };

        $others->() for 1 .. 3;
        my $seen = walk($schedule, int rand 1000, 2, $others);
        my %times;
        $times{$_}++ for @$seen;
        $wrong++ if grep { ($times{$_} // 0) != 1 } map { 3 * $_ } 1 .. 10;
        $wrong++ if grep { $_ > 1 } values %times;
    }

    is($wrong, 0, 'nothing that stays available is skipped or repeated');

    my ($concert, $schedule) = new_sale(10, 1);
    my $seats = sub {
        my ($after, $end, $size) = @_;
        return join ' ', map { $_->{seat_id} // 'none' }
            free_seats($schedule, $after, $end, 7, $size);
    };

    is($seats->('null', 'null', 100), '8 9 10 1 2 3 4 5 6 7',
       'without after a page begins where the user\'s number says');
    is($seats->(0, 'null', 4), '1 2 3 4', 'after 0 it begins at seat 1');
    is($seats->(8, 'null', 4), '9 10', 'a plain after never wraps');
    is($seats->(10, 'null', 4), 'none', 'and ends with the last');
    is($seats->(9, 2, 9), '10 1 2', 'with an end it goes on around');
    is($seats->(3, 6, 9), '4 5 6', 'and stops there');
    is($seats->(MAX, 'null', 9), 'none', 'past the last there is nothing');

    reserve([$user, $concert, $schedule, [1 .. 10]]);
    is($seats->('null', 'null', 9), 'none', 'sold out: a row without a seat');
    is_deeply([free_seats(999_999_999, 'null', 'null', 1, 10)], [],
              'there is no such schedule');
    is_deeply([rows("select request, seats
                     from concert.seats_page(array[$schedule, 999999999, $schedule],
                                             array[null, null, 3]::bigint[],
                                             array[null, null, 9]::bigint[],
                                             array[7, 1, 7], array[9, 9, 9])")],
              [map { { request => $_, seats => undef } } 1 .. 3],
              'one row for each page that is asked for');

    my (undef, $begun) = new_sale(3, 1, "now() - interval '1 s'");
    is_deeply([page($begun)], [], 'nothing is free of what has begun');

    my (undef, $empty) = new_sale(0, 1);
    is_deeply([page($empty)], [], 'nor of what has no seats');
}

sub plan_of_seats {
    my $user = new_user();
    my ($concert, $schedule) = new_sale(20_000, 1);

    $Psql->does('analyze concert.seats');

    for my $hundred (0 .. 199) {
        reserve([$user, $concert, $schedule,
                 [map { 100 * $hundred + $_ } 1 .. 99]]);
    }

    $Psql->does('vacuum analyze concert.seats',
                'set plan_cache_mode = force_generic_plan',
                'prepare page as select * from
                     concert.seats_page($1, $2, $3, $4, $5)');

    for my $page (['the first page', 'null, null, 123456, 101'],
                  ['the next page', '5000, 4000, 1, 101'],
                  ['a page at the end', '19000, null, 1, 101']) {
        my ($name, $parameters) = @$page;
        my $plan = join "\n", $Psql->lines(
            'explain (analyze, buffers, costs off, timing off, summary off)
             execute page(' . join(', ', map { "array[$_]::bigint[]" }
                                         $schedule, split /, /, $parameters)
            . ')');

        like($plan, qr/Index Only Scan using seats_free/,
             "at 99 % sold $name reads the index of free seats")
            or diag($plan);
        unlike($plan, qr/Seq Scan on seats|using seats_pkey/,
               'and nothing else of the seats');

        my ($hit) = $plan =~ /Buffers: shared hit=(\d+)/;
        cmp_ok($hit // 0, '<', 300, 'it touches few pages') or diag($plan);
    }

    for my $after (0, 15_000) {
        $Psql->does('begin', 'select pg_stat_force_next_flush()', 'end', 'begin',
                    "select * from concert.hall_page($schedule, $after, 101)");
        is_deeply([rows("select seq_tup_read, idx_tup_fetch
                         from pg_stat_xact_user_tables
                         where relid = 'concert.seats'::regclass")],
                  [{ seq_tup_read => 0, idx_tup_fetch => 101 }],
                  "a hall plan after seat $after reads its own seats alone");
        $Psql->does('end');
    }

    $Psql->does('deallocate page', 'reset plan_cache_mode');
}


# What operators see: the row judges, those that begin first come first, and
# each call reads but a few halls.
sub sales {
    my $user = new_user(100_000);
    my @soon = map { (new_sale(30, 100, "now() + interval '$_ minutes'"))[1] }
                   3, 1, 2;
    my ($third, $first, $second) = @soon;
    my (undef, $begun) = new_sale(3, 100, "now() - interval '1 minute'");
    my $concert = one("select concert_id from concert.schedules
                       where schedule_id = $first");

    my ($paid, $claimed, $held, $gone, $left) =
        map { (reserve({ hold => $_->[0] },
                       [$user, $concert, $first, $_->[1]]))[0]{reservation_id} }
            [HOLD, [1 .. 4]], [HOLD, [5, 6]], [HOLD, [7, 8, 9]],
            [-1000, [10, 11]], [HOLD, [12]];

    pay([$user, $paid, 400]);
    is(claim($user, $claimed), 'ok', 'a card begins to pay');
    cancel([$user, $left]);

    my ($row) = rows("select seats, sold, held from concert.sales(0, 1, 1)");
    is_deeply($row, { seats => 30, sold => 6, held => 3 },
              'seats that are paid or claimed for payment are sold, those whose '
              . 'hold runs are held, all others are free');

    my $ids = sub { return [map { $_->{schedule_id} } rows(
        "select schedule_id from concert.sales($_[0])")] };

    is_deeply($ids->('0, 3, 1000000'), [$first, $second, $third],
              'schedules that begin first come first');
    ok(!(grep { $_ == $begun } @{ $ids->('0, 1000, 1000000000') }),
       'one that has begun is not counted');
    is_deeply($ids->("$first, 1, 1000000"), [$second], 'the next ones follow');
    is_deeply($ids->('0, 3, 31'), [$first, $second],
              'there are no more than have so many seats');
    is_deeply($ids->('0, 3, 1'), [$first], 'but one in any case');
    is_deeply($ids->('0, 0, 100'), [], 'or none, when none is asked for');

    my $rounds = 0;
    my @walk = (0);
    while (my @some = @{ $ids->("$walk[-1], 64, 50000") }) {
        push @walk, @some;
        last if ++$rounds > 100;
    }
    shift @walk;
    is_deeply(\@walk, $ids->('0, 100000, 1000000000'),
              'a walk leaves nothing out and meets nothing twice');

    $Psql->does('begin', 'select pg_stat_force_next_flush()', 'end', 'begin',
                'select * from concert.sales(0, 2, 1000)');
    is_deeply([rows("select seq_tup_read, idx_tup_fetch
                     from pg_stat_xact_user_tables
                     where relid = 'concert.seats'::regclass")],
              [{ seq_tup_read => 0, idx_tup_fetch => 60 }],
              'it reads the seats of those schedules alone');
    $Psql->does('end');
}


# --- what must never be -----------------------------------------------------

# What the constraints refuse, at the latest when the transaction ends.
sub forbidden_states {
    my ($a, $b) = (new_user(10_000), new_user(10_000));
    my ($concert, $schedule) = new_sale(20, 100);

    my @ids = map { $_->{reservation_id} }
              reserve([$a, $concert, $schedule, [1, 2]],
                      [$b, $concert, $schedule, [3]],
                      [$a, $concert, $schedule, [4]],
                      [$b, $concert, $schedule, [5]]);
    my ($held, $others, $paid, $others_paid) = @ids;
    my @payments = map { $_->{payment_id} }
                   pay([$a, $paid, 100], [$b, $others_paid, 100]);
    my $transfer = one("select transfer_id from concert.transfers
                        where credit_account = $a");

    my $new_reservation = sub {
        my ($status, $seats, $payment) = @_;
        return "insert into concert.reservations
                    (operation, user_id, schedule_id, seat_ids, total_price,
                     status, hold_until, payment_id)
                values (gen_random_uuid(), $b, $schedule, '{$seats}', 100,
                        '$status', now() + interval '1 day', $payment)";
    };

    my $refused = sub {
        my ($title, @statements) = @_;
        like($Psql->fails('begin', @statements,
                          'set constraints all immediate') // 'accepted',
             qr/^23/, "refused: $title");
    };

    $refused->('a second hold of a seat',
               $new_reservation->('HELD', 1, 'null'));
    $refused->('a payment under way without its seats',
               $new_reservation->('PAYING', 1, 'null'));
    $refused->('a sale without its seats',
               $new_reservation->('PAID', 10, $payments[0]));
    $refused->('a hold that gives its seat to another hold',
               "update concert.seats set reservation_id = $others
                where schedule_id = $schedule and seat_id = 1");
    $refused->('a held seat set free',
               "update concert.seats
                set reservation_id = null, hold_until = '-infinity'
                where schedule_id = $schedule and seat_id = 1");
    $refused->('a sold seat set free',
               "update concert.seats
                set reservation_id = null, hold_until = '-infinity'
                where schedule_id = $schedule and seat_id = 4");
    $refused->('a sold seat taken',
               "update concert.seats set reservation_id = $others
                where schedule_id = $schedule and seat_id = 4");
    $refused->('a sold seat whose sale runs out',
               "update concert.seats set hold_until = now() - interval '1 s'
                where schedule_id = $schedule and seat_id = 4");
    $refused->('a sold seat that is deleted',
               "delete from concert.seats
                where schedule_id = $schedule and seat_id = 4");
    $refused->('a seat with a reservation and no time',
               "update concert.seats set hold_until = '-infinity'
                where schedule_id = $schedule and seat_id = 1");
    $refused->('a free seat with a time',
               "update concert.seats set hold_until = now()
                where schedule_id = $schedule and seat_id = 10");
    $refused->('a reservation that gets more seats than it has',
               "update concert.reservations set seat_ids = '{1,2,10}'
                where reservation_id = $held");
    $refused->('a reservation without seats',
               "update concert.reservations set seat_ids = '{}'
                where reservation_id = $held");
    $refused->('a hold that lives again',
               "update concert.seats
                set reservation_id = null, hold_until = '-infinity'
                where reservation_id = $others",
               "update concert.reservations set status = 'CANCELLED'
                where reservation_id = $others",
               "update concert.reservations set status = 'HELD'
                where reservation_id = $others");

    $refused->('a paid reservation without a payment',
               "update concert.seats set hold_until = 'infinity'
                where reservation_id = $held",
               "update concert.reservations set status = 'PAID'
                where reservation_id = $held");
    $refused->('a paid reservation with the payment of another',
               "update concert.seats set hold_until = 'infinity'
                where reservation_id = $others",
               "update concert.reservations
                set status = 'PAID', payment_id = $payments[1]
                where reservation_id = $others");
    $refused->('a payment from a balance that is none of a reservation',
               "insert into concert.payments
                    (operation, reservation_id, user_id, amount, method,
                     status)
                values (gen_random_uuid(), $held, $a, 200, 'balance',
                        'PAID')");

    my $pay = sub {
        my ($reservation, $what) = @_;

        return ("update concert.seats set hold_until = 'infinity'
                 where reservation_id = $reservation",
                "update concert.reservations set $what
                 where reservation_id = $reservation");
    };
    my $by_balance = 'paid_operation = gen_random_uuid()';

    $refused->('a paid reservation that loses its payment',
               $pay->($paid, 'paid_operation = null, paid_at = null'));
    $refused->('a paid reservation that another operation has paid',
               $pay->($paid, $by_balance));
    $refused->('a reservation that is paid twice',
               $pay->($paid, "$by_balance, paid_at = now(), status = 'PAID'"));
    $refused->('a paid reservation that is held again',
               "update concert.seats set hold_until = r.hold_until
                from concert.reservations r
                where seats.reservation_id = r.reservation_id
                  and r.reservation_id = $paid",
               "update concert.reservations
                set status = 'HELD', paid_operation = null, paid_at = null
                where reservation_id = $paid");
    $refused->('a paid reservation that is cancelled and keeps the money',
               "update concert.seats
                set reservation_id = null, hold_until = '-infinity'
                where reservation_id = $paid",
               "update concert.reservations set status = 'CANCELLED'
                where reservation_id = $paid");
    $refused->('a payment without its time',
               $pay->($held, "status = 'PAID', $by_balance"));
    $refused->('a payment by a balance and a card',
               $pay->($held, "status = 'PAID', $by_balance, paid_at = now(),
                              payment_id = $payments[0]"));
    $refused->('a payment of a hold that stays one',
               "update concert.reservations set $by_balance, paid_at = now()
                where reservation_id = $held");
    $refused->('a payment of a hold that is cancelled',
               "update concert.seats
                set reservation_id = null, hold_until = '-infinity'
                where reservation_id = $held",
               "update concert.reservations
                set status = 'CANCELLED', $by_balance, paid_at = now()
                where reservation_id = $held");
    $refused->('a payment without the seats',
               "update concert.reservations
                set status = 'PAID', $by_balance, paid_at = now()
                where reservation_id = $held");
    $refused->('a payment of more than the balance has',
               'update concert.seats set hold_until = \'infinity\'
                where reservation_id = ' . $held,
               transfer_sql($a, 0, balance($a)),
               "update concert.reservations
                set status = 'PAID', $by_balance, paid_at = now()
                where reservation_id = $held");
    $refused->('payments without their time, several at once',
               "update concert.seats set hold_until = 'infinity'
                where reservation_id in ($held, $others)",
               "update concert.reservations set status = 'PAID', $by_balance
                where reservation_id in ($held, $others)");
    $refused->('payments that are truncated',
               'truncate concert.payments cascade');
    $refused->('a reservation that is deleted',
               "delete from concert.reservations
                where reservation_id = $held");
    $refused->('a reservation of another user',
               "update concert.reservations set user_id = $b
                where reservation_id = $held");
    $refused->('a reservation of nobody',
               "insert into concert.reservations
                    (operation, user_id, schedule_id, seat_ids, total_price,
                     status, hold_until)
                values (gen_random_uuid(), 999999999, $schedule, '{10}', 100,
                        'CANCELLED', now())");
    $refused->('a reservation that names a payment which is not its own',
               "update concert.reservations set payment_id = $payments[0]
                where reservation_id = $held");

    $refused->('a negative balance',
               transfer_sql($a, 0, balance($a) + 1));
    $refused->('a balance beyond its limit', transfer_sql(-1, $a, MAX));
    $refused->('a balance without a ledger row',
               "update concert.accounts set balance = balance + 1
                where account_id = $a");
    $refused->('an account that begins with money',
               "insert into concert.accounts (account_id, balance)
                values (88000000, 1)");
    $refused->('an account that gets another number',
               "update concert.accounts set account_id = 88000001
                where account_id = $a");
    $refused->('an account that is deleted',
               'delete from concert.accounts where account_id = '
               . new_user());
    $refused->('a transfer that is changed',
               "update concert.transfers set amount = amount + 1
                where transfer_id = $transfer");
    $refused->('a transfer that is deleted',
               "delete from concert.transfers
                where transfer_id = $transfer");
    $refused->('transfers that are truncated',
               'truncate concert.transfers cascade');
    $refused->('a transfer to an account that does not exist',
               transfer_sql(-1, 999_999_999, 1));
    $refused->('a transfer to itself', transfer_sql($a, $a, 1));
    $refused->('a transfer of nothing', transfer_sql($a, 0, 0));
    $refused->('a transfer of less than nothing', transfer_sql($a, 0, -1));
    $refused->('an operation that moves money twice',
               ("insert into concert.transfers
                     (operation, debit_account, credit_account, amount)
                 values ('00000000-0000-0000-0000-00000000abcd', $a, 0, 1)")
               x 2);

}

sub transfer_sql {
    my ($debit, $credit, $amount) = @_;
    return "insert into concert.transfers
                (operation, debit_account, credit_account, amount)
            values (gen_random_uuid(), $debit, $credit, $amount)";
}

# Damage as no constraint would let it be: planted with the triggers off, seen,
# and undone.
sub planted_damage {
    my ($a, $b) = (new_user(10_000), new_user(10_000));
    my ($concert, $schedule) = new_sale(20, 100);

    my ($held, $paid, $other) = map { $_->{reservation_id} }
        reserve([$a, $concert, $schedule, [1, 2]],
                [$a, $concert, $schedule, [3]],
                [$b, $concert, $schedule, [4]]);
    my ($payment) = map { $_->{payment_id} }
                    pay([$a, $paid, 100], [$b, $other, 100]);
    my $card = paid_by_card($b, $concert, $schedule, 5);

    my $found = sub {
        my ($title, $rules, @statements) = @_;

        $Psql->does('begin',
                    (map { "alter table concert.$_ disable trigger user" }
                     qw( accounts transfers seats reservations payments )),
                    @statements);
        my $violations = violations();
        $Psql->does('rollback');

        is_deeply([sort keys %$violations], [sort @$rules],
                  "found: $title");
    };

    my $balance = 'a balance equals the sum of its ledger rows';
    my $sales = 'sales equal the payments';
    my $transfer = 'a payment has its transfer, and no other payment has it';
    my $one = 'a seat is in at most one paid reservation';
    my $for_good = 'a paid reservation has its seats for good';
    my $sold = 'a sold seat has its reservation';
    my $exactly = 'a paid reservation has exactly one payment, of its price';
    my $back = 'a refund gives back what was paid, once';
    my $whole = 'a payment by card has what belongs to its state';
    my $gateway = 'what the gateway paid equals the payments by card';
    my $in_order = 'an order or a refund that names a payment has it';
    my $waits = 'a hold that runs out is waited for';

    is_deeply(violations(), {}, 'without damage nothing is found');

    $found->('a balance that was changed by hand', [$balance],
             "update concert.accounts set balance = balance + 1
              where account_id = $a");
    $found->('a transfer that no balance knows', [$balance],
             transfer_sql(-1, $a, 5));
    $found->('a transfer that was changed', [$gateway, $sales, $transfer],
             "update concert.transfers set amount = amount + 1
              where operation = (select operation from concert.all_payments
                                 where payment_id = $card)");
    $found->('a charge that was changed', [$balance],
             "update concert.transfers set amount = amount + 1
              where credit_account = $a");
    $found->('sales without a payment', [$balance, $sales],
             transfer_sql($a, 0, 7));
    $found->('a payment of another amount', [$balance],
             "update concert.reservations set total_price = 99
              where reservation_id = $paid");
    $found->('a payment by card of another amount',
             [$exactly, $gateway, $sales, $transfer, $whole],
             "update concert.payments set amount = 99
              where payment_id = $card");
    $found->('a payment from another balance', [$balance],
             "update concert.reservations set user_id = $b
              where reservation_id = $paid");
    $found->('a hold that nobody ends', [$waits],
             "delete from concert.holds
              where $held = any (reservation_ids)");
    $found->('a sold seat set free', [$for_good],
             "update concert.seats
              set reservation_id = null, hold_until = '-infinity'
              where reservation_id = $paid");
    $found->('a sold seat whose sale runs out', [$for_good],
             "update concert.seats set hold_until = now()
              where reservation_id = $paid");
    $found->('a sold seat given to another', [$for_good],
             "update concert.seats set reservation_id = $other
              where reservation_id = $paid");
    $found->('a seat sold twice', [$one, $for_good],
             "update concert.reservations set seat_ids = '{3}'
              where reservation_id = $other");
    $found->('a seat sold to nobody', [$sold],
             "update concert.seats set hold_until = 'infinity'
              where reservation_id = $held");
    $found->('a paid reservation that is not', [$sold, $back, $sales, $whole],
             "update concert.reservations set status = 'CANCELLED'
              where reservation_id = $paid");
    $found->('a number that two payments have',
             ['a number is that of one payment', $whole, $in_order],
             "update concert.reservations set payment_id = null,
                  paid_operation = gen_random_uuid(), paid_at = now()
              where reservation_id = $paid",
             "update concert.payments set payment_id = $paid
              where payment_id = $card",
             "update concert.reservations set payment_id = $paid
              where payment_id = $card");
    $found->('an operation that holds twice', ['an operation holds seats once'],
             "update concert.reservations
              set operation = (select operation from concert.reservations
                               where reservation_id = $held)
              where reservation_id = $paid");
}


# --- sessions that meet -----------------------------------------------------

sub waiting_for_locks {
    my ($a, $b) = map { new_user(1000) } 1 .. 2;
    my ($concert, $schedule) = new_sale(20, 100);
    my $other = others(1)->[0];

    $Psql->does('begin');
    reserve([$a, $concert, $schedule, [2, 1]]);
    $other->send(reserve_sql({}, [$b, $concert, $schedule, [3, 2]]));
    ok(blocked($other, $Psql), 'who wants a seat that is being taken waits');
    $Psql->does('commit');
    my $answer = parse($other->receive);
    is("$answer->{outcome} $answer->{seats}", 'seat_taken 2',
       'and learns that it is taken');

    $Psql->does('begin');
    reserve([$a, $concert, $schedule, [5]]);
    $other->send(reserve_sql({}, [$b, $concert, $schedule, [5]]));
    ok(blocked($other, $Psql), 'it waits again');
    $Psql->does('rollback');
    is(parse($other->receive)->{outcome}, 'ok',
       'and gets the seat when the first gave up');

    my ($held) = reserve([$a, $concert, $schedule, [6]]);
    $Psql->does('begin');
    pay([$a, $held->{reservation_id}, 100]);
    $other->send(cancel_sql([$a, $held->{reservation_id}]));
    ok(blocked($other, $Psql), 'cancelling waits for a payment');
    $Psql->does('commit');
    is(parse($other->receive)->{outcome}, 'reservation_paid',
       'and learns that it is paid');

    ($held) = reserve([$a, $concert, $schedule, [7]]);
    $Psql->does('begin');
    cancel([$a, $held->{reservation_id}]);
    $other->send(pay_sql([$a, $held->{reservation_id}, 100]));
    ok(blocked($other, $Psql), 'paying waits for a cancellation');
    $Psql->does('commit');
    is(parse($other->receive)->{outcome}, 'reservation_cancelled',
       'and learns that it is cancelled');

    # two payments that together are more than the balance
    my $poor = new_user(150);
    my @held = reserve(map { [$poor, $concert, $schedule, [$_]] } 8, 9);
    $Psql->does('begin');
    pay([$poor, $held[0]{reservation_id}, 100]);
    $other->send(pay_sql([$poor, $held[1]{reservation_id}, 100]));
    ok(blocked($other, $Psql), 'a payment waits for another of the user');
    $Psql->does('commit');
    is(parse($other->receive)->{outcome}, 'insufficient_balance',
       'and sees what it left');

    # the limit of a user who asks many times at once
    my $user = new_user();
    $Psql->does('begin');
    reserve({ limit => 2 }, [$user, $concert, $schedule, [12, 13]]);
    $other->send(reserve_sql({ limit => 2 },
                             [$user, $concert, $schedule, [14]]));
    ok(blocked($other, $Psql), 'with a limit a user\'s requests wait');
    $Psql->does('commit');
    is(parse($other->receive)->{outcome}, 'seat_limit',
       'and have it together');

    # what expire looks at is locked in one order, however many looks it takes
    expire_all();
    my ($over) = reserve({ hold => 1000 }, [$a, $concert, $schedule, [18]]);
    cancel([$a, $over->{reservation_id}]);
    reserve({ hold => 1001 }, [$a, $concert, $schedule, [11]]);
    my ($last) = reserve({ hold => 1002 }, [$a, $concert, $schedule, [10]]);
    wait_until_past($last->{expires_ms});
    $Psql->does('begin');
    reserve([$b, $concert, $schedule, [10]]);
    $other->send("select json_build_object('expired', expired)
                  from concert.expire(2)");
    ok(blocked($other, $Psql), 'expire waits for who takes one of its seats');
    is((reserve([$b, $concert, $schedule, [11]]))[0]{outcome}, 'ok',
       'who can have another meanwhile');
    $Psql->does('commit');
    is(parse($other->receive)->{expired}, 2, 'and ends what has lost its seats');

    # different seats and users have nothing to wait for
    $Psql->does('begin');
    reserve([$a, $concert, $schedule, [16]]);
    is(parse($other->ask(reserve_sql({}, [$b, $concert, $schedule, [17]])))
           ->{outcome}, 'ok', 'who wants other seats does not wait');
    $Psql->does('commit');
}

# Two batches of the same seats, and of others, in any order: unsorted, this
# deadlocked at once.
sub opposite_orders {
    my $rounds = 50;
    my @sessions = @{ others(2) };
    my @users = map { new_user() } @sessions;
    my ($concert, $schedule) = new_sale(80, 1);
    my ($failed, $wrong) = (0, 0);

    # runs a statement in each session at the same time
    my $both = sub {
        my @statements = @_;
        $sessions[$_]->send($statements[$_]) for 0, 1;

        return map {
            my @lines = $_->receive;
            $failed++, diag("@lines") if "@lines" =~ /ERROR/;
            [map { decode_json($_) } grep { /^\{/ } @lines];
        } @sessions;
    };

    for my $round (1 .. $rounds) {
        my @asked = map { [(shuffle(1 .. 80))[0 .. 9 + int rand 30]] }
                    @sessions;
        my @results = $both->(map {
            my $user = $users[$_];
            reserve_sql({}, map { [$user, $concert, $schedule, [$_]] }
                            @{ $asked[$_] });
        } 0, 1);

        my @held = map { [grep { $_->{outcome} eq 'ok' } @$_] } @results;
        my %asked = map { $_ => 1 } map { @$_ } @asked;
        $wrong++ if @{ $held[0] } + @{ $held[1] } != keys %asked;

        # both give back what either has, as a payment and a job could
        my @ids = map { my $n = $_;
                        map { [$users[$n], $_->{reservation_id}] }
                        @{ $held[$n] } } 0, 1;
        $both->(cancel_sql(shuffle @ids), cancel_sql(reverse @ids));
    }

    is($failed, 0, "$rounds times batches of other orders met: no deadlock");
    is($wrong, 0, 'and every seat was held by exactly one');
}

sub pay_cancel_expire {
    my $rounds = 200;
    my ($x, $y, $z) = @{ others(3) };
    my $user = new_user(10_000_000);
    my (%won, $failed, $wrong);

    $failed = $wrong = 0;
    expire_all();

    # how long the hold is decides whether time can win, too; once it has
    for my $round (1 .. 3 * $rounds) {
        last if $round > $rounds && $won{PAID} && $won{CANCELLED}
                && $won{EXPIRED};

        my ($concert, $schedule) = new_sale(2, 10);
        my ($held) = reserve({ hold => [2, 10, 40, HOLD]->[$round % 4] },
                             [$user, $concert, $schedule, [1, 2]]);
        my $id = $held->{reservation_id};

        wait_until_past($held->{expires_ms}) if $round == 4;

        my @racers = shuffle([$x, pay_sql([$user, $id, 20])],
                             [$y, cancel_sql([$user, $id])],
                             [$z, 'select * from concert.expire(100)']);
        $_->[0]->send($_->[1]) for @racers;

        my ($paid, $cancelled, $expired) =
            map { join ' ', $_->receive } $x, $y, $z;
        $failed++, diag("$paid $cancelled $expired")
            if "$paid $cancelled $expired" =~ /ERROR/;

        ($paid, $cancelled) =
            map { /"outcome":"(\w+)"/ ? $1 : 'none' } $paid, $cancelled;

        my ($status) = reservation($user, $id)->{status};

        # nobody: the hold still runs, or ran out after the job looked
        wait_until_past($held->{expires_ms}) if $status eq 'HELD';
        $status = reservation($user, $id)->{status};
        $won{$status}++;

        # who pays as the time ends may hear of that before of the other
        my $expected = {
            PAID      => 'ok reservation_paid',
            CANCELLED => 'reservation_(?:cancelled|expired) ok',
            EXPIRED   => 'reservation_expired reservation_expired',
        }->{$status} // 'none';

        if ("$paid $cancelled" !~ /^$expected\z/) {
            $wrong++;
            diag("$status, but pay said $paid, cancel said $cancelled");
        }

        my $seats = one("select count(*) from concert.seats
                         where reservation_id = $id
                           and hold_until = 'infinity'");
        $wrong++ if $seats != ($status eq 'PAID' ? 2 : 0);
    }

    note(join ', ', map { "$_ $won{$_}" } sort keys %won);
    is($failed, 0, 'pay, cancel and expire met: no error');
    is($wrong, 0, 'and exactly one won');
    is(join(' ', sort keys %won), 'CANCELLED EXPIRED PAID',
       'each of them sometimes');
    is(balance($user), 10_000_000 - 20 * $won{PAID}, 'each payment was paid');
}

# Everything at once, on few users and few seats.
sub storm {
    my $rounds = 150;
    my @sessions = @{ others(4) };
    my @users = map { new_user(2000) } 1 .. 6;
    my @sales = map { [new_sale(8, 50)] } 1 .. 2;
    my (@known, %outcomes, $failed);
    my $spent = 0;

    my $some = sub {
        my ($most, $code) = @_;
        return map { $code->() } 1 .. 1 + int rand $most;
    };
    my $user = sub { $users[rand @users] };
    my $known = sub { @known ? $known[rand @known] : [$user->(), 1, 1] };

    my @statements = (
        sub {
            my %options = (hold => [1, 5, HOLD]->[rand 3],
                           limit => rand() < 0.5 ? 4 : undef);
            return reserve_sql(\%options, $some->(6, sub {
                my $sale = $sales[rand @sales];
                my @seats = (shuffle(1 .. 8))[0 .. rand 3];
                return [$user->(), @$sale, \@seats];
            }));
        },
        sub { pay_sql($some->(4, sub { [@{ $known->() }[0, 1, 2]] })) },
        sub { cancel_sql($some->(4, sub { [@{ $known->() }[0, 1]] })) },
        sub { charge_sql($some->(4, sub { [$user->(), 1 + int rand 100] })) },
        sub { 'select concert.expire(3)' },
    );

    $failed = 0;

    for my $round (1 .. $rounds) {
        my @batches = map { [$_, $statements[rand @statements]->()] } @sessions;
        $_->[0]->send($_->[1]) for @batches;

        for my $batch (@batches) {
            my ($session, $sql) = @$batch;

            for my $line ($session->receive) {
                next if $line =~ /^\d+$/;         # expire()
                $failed++, diag($line), next if $line !~ /^\{/;

                my $row = decode_json($line);
                $outcomes{$row->{outcome}}++ if $row->{outcome};

                # whose it is, is told by nothing but the database
                next if !$row->{reservation_id};
                push @known, [split /\|/, one("select user_id || '|'
                        || reservation_id || '|' || total_price
                    from concert.reservations
                    where reservation_id = $row->{reservation_id}")];
            }
        }

        # a sale that is sold out is followed by another
        if ($round % 12 == 0) {
            $sales[rand @sales] = [new_sale(8, 50)];
        }
    }

    note(join ', ', map { "$_ $outcomes{$_}" } sort keys %outcomes);
    is($failed, 0, 'a storm of batches meets no error');
    cmp_ok(min(map { $outcomes{$_} // 0 } qw( ok seat_taken )), '>=', 20,
           'and has many outcomes');
    is_deeply(violations(), {}, 'every rule holds after it');
}


# --- the functions, called --------------------------------------------------

# Requests are arrays.  Where one more element is given than the request needs
# it is the id of the operation.

sub charge  { return rows_of(charge_sql(@_)) }
sub reserve { return rows_of(reserve_sql(ref $_[0] eq 'HASH' ? @_ : ({}, @_))) }
sub pay     { return rows_of(pay_sql(@_)) }
sub cancel  { return rows_of(cancel_sql(@_)) }

# [user, amount]
sub charge_sql {
    return call('charge', uuids(map { $_->[2] } @_),
                bigints(map { $_->[0] } @_), bigints(map { $_->[1] } @_));
}

# { hold => ms, limit => seats }, [user, concert, schedule, seats]
sub reserve_sql {
    my ($options, @requests) = @_;
    my $seats = join ',', map { '"{' . join(',', @{ $_->[3] }) . '}"' } @requests;

    return call('reserve', uuids(map { $_->[4] } @requests),
                (map { my $n = $_; bigints(map { $_->[$n] } @requests) }
                 0 .. 2),
                "'{$seats}'::text[]",
                $options->{hold} // HOLD, $options->{limit} // 'null');
}

# [user, reservation, amount]
sub pay_sql {
    return call('pay', uuids(map { $_->[3] } @_),
                (map { my $n = $_; bigints(map { $_->[$n] } @_) } 0 .. 2));
}

# [user, reservation]
sub cancel_sql {
    return call('cancel', bigints(map { $_->[0] } @_),
                bigints(map { $_->[1] } @_));
}

# Begins a payment by card of a reservation; the outcome.
sub claim {
    my ($user, $reservation) = @_;
    return one("select c.outcome
                from concert.place_order(array[gen_random_uuid()],
                                         array[$user], array[$reservation],
                                         array[0]) o,
                     concert.claim(array[gen_random_uuid()], array[$user],
                                   array[$reservation], array[o.amount],
                                   array[o.order_id], array['key'], 0, null) c");
}

# A seat that a card has paid; the payment.
sub paid_by_card {
    my ($user, $concert, $schedule, $seat) = @_;

    my ($held) = reserve([$user, $concert, $schedule, [$seat]]);
    claim($user, $held->{reservation_id});
    my $payment = one("select coalesce(payment_id, reservation_id) from concert.reservations
                       where reservation_id = $held->{reservation_id}");
    one("select status from concert.settle(array[$payment], array['approved'],
                                           array[$held->{total_price}],
                                           array[null], array[null])");
    return $payment;
}

sub call {
    my ($function, @parameters) = @_;
    return "select row_to_json(r) from concert.$function("
           . join(', ', @parameters) . ') r order by r.request';
}

sub uuids {
    return "'{" . join(',', map { $_ // operation() } @_) . "}'::uuid[]";
}

sub bigints { return "'{" . join(',', @_) . "}'::bigint[]" }

sub operation {
    return sprintf '%08x-0000-4000-8000-%012x', $$, ++$Operations;
}

sub reservation {
    my ($user, $id) = @_;
    return (rows("select * from concert.reservation($user, $id)"))[0];
}

sub payment {
    my ($user, $id) = @_;
    return (rows("select * from concert.payment($user, $id)"))[0];
}

sub balance { return one("select balance from concert.balance(array[$_[0]])") }

# All free seats, from seat 1.
sub page {
    my ($schedule) = @_;
    return grep { defined $_->{seat_id} }
           free_seats($schedule, 0, 'null', 0, 1000);
}

# A page of free seats as rows: one without a seat_id when nothing is free, none
# when there is no such schedule.
sub free_seats {
    my ($page) = rows('select p.schedule_id, array_to_string(p.seats, \' \') as seats,
                              array_to_string(p.prices, \' \') as prices
                       from concert.seats_page(' . join(', ',
                           map { "array[$_]::bigint[]" } @_) . ') p');
    return if !defined $page->{schedule_id};

    my @prices = split ' ', $page->{prices} // '';
    my @rows = map { { seat_id => $_, price => shift @prices } }
               split ' ', $page->{seats} // '';
    return @rows ? @rows : { seat_id => undef };
}

# The rules that are broken, and how many rows break them.
sub violations {
    return { map { $_->{rule} => $_->{broken} } grep { $_->{broken} }
             rows('select * from concert.violations()') };
}


# --- data of one's own ------------------------------------------------------

sub new_user {
    my ($balance) = @_;
    one('select concert.add_user(' . ++$LastUser . ', '
        . int($balance // 0) . ')');
    return $LastUser;
}

# A schedule and its concert: seats, their price, when it begins, when its sale
# opens, and of which concert it is, if not of a new one.
sub new_sale {
    my ($seats, $price, $starts, $opens, $concert) = @_;

    $concert //= one(q{select concert.add_concert('A concert')});
    $starts //= "now() + interval '1 day'";
    $opens //= 'null';

    return ($concert, one("select concert.add_schedule($concert, $starts,
                               $seats, $price, $opens)"));
}

sub now_ms { return one('select concert.epoch_ms(clock_timestamp())') }

sub wait_until_past {
    my ($ms) = @_;
    sleep 0.002 while now_ms() <= $ms;
}

sub expire_all { 1 while one('select concert.expire(1000)') }


# --- psql -------------------------------------------------------------------

# The only column of the only row.
sub one {
    my ($sql) = @_;
    return ($Psql->ask($sql))[0];
}

# Rows as hashes, integers as integers.
sub rows {
    my ($sql) = @_;
    return rows_of("select row_to_json(r) from ($sql) r");
}

sub rows_of {
    my ($sql) = @_;
    return map { decode_json($_) } $Psql->ask($sql);
}

sub parse { return decode_json($_[0]) }

sub others {
    my ($count) = @_;
    push @Others, Session->new($Database) while @Others < $count;
    return [@Others[0 .. $count - 1]];
}

# Whether a session comes to wait for a lock of another.
sub blocked {
    my ($waits, $holder) = @_;
    my $watch = others(4)->[3];
    my $end = time + PATIENCE;

    while (time < $end) {
        return 1 if $watch->one("select $holder->{pid} =
                                 any (pg_blocking_pids($waits->{pid}))") eq 't';
        sleep 0.01;
    }

    return 0;
}

sub schema_version {
    return max(map { m{(\d+)\.sql$} ? 0 + $1 : 0 }
               glob "$Conf/schema/upgrade/*.sql");
}

sub make_database {
    my $output = qx(psql -X -q -v ON_ERROR_STOP=1 -d postgres \\
                    -c 'create database $Database template template0' 2>&1);
    BAIL_OUT("cannot make a database: $output") if $?;
    $Made = $$;

    for my $file (sort glob "$Conf/schema/[0-9]*.sql") {
        $output = qx(psql -X -q -v ON_ERROR_STOP=1 -1 -d $Database \\
                     -f '$file' 2>&1);
        BAIL_OUT("$file: $output") if $?;
    }

    $Psql = Session->new($Database);
    $Psql->does('insert into concert.schema_version (version) values ('
                . schema_version() . ')');
}

END {
    if ($Made && $Made == $$) {
        local $?;
        $_->end for grep { $_ } $Psql, @Others;
        system 'psql', '-X', '-q', '-d', 'postgres', '-c',
               "drop database if exists $Database with (force)";
    }
}


# A psql that goes on, so that a session keeps its transaction and another can
# run meanwhile.
package Session;

use IPC::Open2 qw( open2 );

use constant MARK => '-- that was all --';

sub new {
    my ($class, $database) = @_;
    my $self = bless {}, $class;

    local $ENV{PGOPTIONS} = '-c client_min_messages=error '
        . '-c statement_timeout=' . 1000 * main::PATIENCE;

    $self->{process} = open2($self->{out}, $self->{in},
        "exec psql -X -q -A -t -v VERBOSITY=verbose -d $database 2>&1");
    $self->{pid} = $self->one('select pg_backend_pid()');

    return $self;
}

sub send {
    my ($self, $sql) = @_;
    print { $self->{in} } "$sql;\n\\echo ", MARK, "\n";
    $self->{in}->flush;
}

# The lines of the answer to what was sent.
sub receive {
    my ($self) = @_;
    my @lines;

    while (defined(my $line = readline $self->{out})) {
        chomp $line;
        return @lines if $line eq MARK;
        push @lines, $line;
    }

    die "psql ended: @lines\n";
}

# The lines, whatever they say.
sub lines {
    my ($self, $sql) = @_;
    $self->send($sql);
    return $self->receive;
}

# The rows of one statement that must not fail.
sub ask {
    my ($self, $sql) = @_;
    my @lines = $self->lines($sql);
    die "$sql: @lines\n" if grep { /^(?:ERROR|FATAL): / } @lines;
    return @lines;
}

sub one {
    my ($self, $sql) = @_;
    return ($self->ask($sql))[0];
}

sub does {
    my ($self, @statements) = @_;
    $self->ask($_) for @statements;
    return 1;
}

# "SQLSTATE: message" of the first statement that fails; the transaction, if
# there is one, is undone.
sub fails {
    my ($self, @statements) = @_;
    my $failure;

    for my $statement (@statements) {
        ($failure) = map { /^ERROR:\s+(.*)/ } $self->lines($statement);
        last if $failure;
    }

    $self->lines('rollback');
    return $failure;
}

sub end {
    my ($self) = @_;
    close $self->{in};
    close $self->{out};
    waitpid $self->{process}, 0;
}
