# Many at once: of those who want the same one wins, and none meets an error.

use strict;
use warnings;

use List::Util qw( shuffle uniq );
use Test::More;
use Time::HiRes qw( time );

use Concert;

sub count_codes {
    my %count;

    $count{ $_->status == 200 ? 'ok' : $_->code || $_->status }++ for @_;
    return \%count;
}

sub active {
    my ($nginx, $n, $balance) = @_;

    my @users = map { $nginx->client($_) } users($n, $balance);
    $nginx->together(map { $_->enter_request } @users);

    return @users;
}

my $nginx = nginx(workers => 2);

{
    my $schedule = schedule();
    my @users = active($nginx, 64);

    is_deeply count_codes($nginx->together(
                  map { $_->reserve_request($schedule, 1) } @users)),
              { ok => 1, seat_taken => 63 },
              'of 64 who want one seat at once one gets it';
}

{
    my $schedule = schedule(seats => 20);
    my @users = active($nginx, 20);

    my @answers = $nginx->together(
        map { $users[$_]->reserve_request($schedule, shuffle($_, $_ + 1)) }
            1 .. 19);

    my %count = %{ count_codes(@answers) };
    my @seats = map { @{ $_->json->{seatIdList} } }
                grep { $_->status == 200 } @answers;

    is $count{ok} + ($count{seat_taken} // 0), 19,
       'who wants seats that overlap gets them or is told that they are taken';
    is scalar(uniq @seats), scalar @seats,
       'no seat is in two of the reservations that were made at once';
    is sql("select count(*) from concert.seats
            where schedule_id = $schedule and reservation_id is not null"),
       scalar @seats, 'nothing is held but what was answered';
    cmp_ok $count{ok}, '>=', 1, 'among those who overlap at least one wins';
}

{
    my $schedule = schedule(seats => 4);
    my @users = active($nginx, 12);

    my @answers = $nginx->together(
        map { $_->reserve_request($schedule, shuffle(1 .. 4)) } @users);

    is_deeply count_codes(@answers), { ok => 1, seat_taken => 11 },
              'who asks for the same seats in another order does not collide';
}

{
    my $schedule = schedule(price => 1000);
    my ($ann) = active($nginx, 1, 5000);
    my $held = hold($ann->id, $schedule, 1);

    my @answers = $nginx->together(
        map { $ann->pay_request($held, 1000) } 1 .. 32);

    is_deeply count_codes(@answers), { ok => 1, reservation_paid => 31 },
              'of 32 payments at once one is made';
    is $ann->balance, 4000, 'of 32 payments at once one is taken';
    is sql("select count(*) from concert.all_payments
            where reservation_id = $held"), 1, 'what is paid has one payment';
}

{
    my $schedule = schedule(seats => 10, price => 1000);
    my ($ann) = active($nginx, 1, 3500);
    my @held = map { hold($ann->id, $schedule, $_) } 1 .. 10;

    my @answers = $nginx->together(map { $ann->pay_request($_, 1000) } @held);

    is_deeply count_codes(@answers), { ok => 3, insufficient_balance => 7 },
              'payments at once are made as far as the balance goes';
    is $ann->balance, 500, 'a balance never goes below 0';
}

{
    my $schedule = schedule(seats => 10, price => 1000);
    my @users = map { $nginx->client($_) } users(10, 1000);
    my $bad = 0;

    for my $seat (1 .. 10) {
        my $ann = $users[$seat - 1];
        my $held = hold($ann->id, $schedule, $seat);

        my @requests = (
            $ann->pay_request($held, 1000),
            $ann->bytes_of(DELETE => "/api/reservations/$held"));

        my @answers = $seat % 2 ? $nginx->together(@requests)
                                : reverse $nginx->together(reverse @requests);

        my $state = join ' ', (map { $_->status } @answers), $ann->balance,
            sql("select status from concert.reservations
                 where reservation_id = $held");

        $bad++ if $state !~ /^(?:200 409 0 PAID|409 204 1000 CANCELLED)$/;
    }

    is $bad, 0, 'of paying and cancelling at once exactly one is done';
}

# Paying, cancelling and running out, all at once: ROUNDS x 100 times while the
# holds end, a time that is drawn from how long the round before took; once after
# it, and once long before.
{
    my $rounds = $ENV{ROUNDS} // 20;
    my $n = 100;
    my $took = 0;
    my %may = map { $_ => 1 } '200 409 PAID 0', '409 204 CANCELLED 10',
                              '409 409 EXPIRED 10';
    my (%won, %wrong);

    for my $hold (1, 60_000, (0) x $rounds) {
        my $schedule = schedule(seats => $n, price => 10);
        my @users = users($n, 10);
        my $began = time;
        my @ids = split ' ', sql(
            "select string_agg(reservation_id::text, ' ' order by request)
             from concert.reserve(
                 array(select gen_random_uuid() from generate_series(1, $n)),
                 array[@{[ join ',', @users ]}]::bigint[],
                 array_fill(@{[ concert_of($schedule) ]}::bigint, array[$n]),
                 array_fill(${schedule}::bigint, array[$n]),
                 array(select format('{%s}', g) from generate_series(1, $n) g),
                 @{[ $hold || 1 + int rand(1500 * $took) ]}, null)");

        my @clients = map { $nginx->client($_) } @users;
        my @order = shuffle(0 .. 2 * $n - 1);
        my @answers;
        @answers[@order] = $nginx->together(map {
            my $i = $_ % $n;
            $_ < $n ? $clients[$i]->pay_request($ids[$i], 10)
                    : $clients[$i]->bytes_of(
                          DELETE => "/api/reservations/$ids[$i]")
        } @order);
        $took = time - $began;

        my @after = split /\n/, sql(
            "select concert.reservation_status(r.status, r.hold_until) || ' '
                    || a.balance
             from unnest(array[@{[ join ',', @ids ]}]) with ordinality
                  as i (id, place)
             join concert.reservations r on r.reservation_id = i.id
             join concert.accounts a on a.account_id = r.user_id
             order by i.place");

        for my $i (0 .. $n - 1) {
            my $what = join ' ', $answers[$i]->status, $answers[$i + $n]->status,
                                 $after[$i];
            $won{ (split ' ', $after[$i])[0] }++;
            $wrong{$what}++ if !$may{$what};
        }
    }

    is_deeply \%wrong, {},
              'of paying, cancelling and running out exactly one happens';
    is_deeply [ sort keys %won ], [qw( CANCELLED EXPIRED PAID )],
              'and each of them wins some';
}

{
    my $ann = $nginx->client(user());
    my @answers = $nginx->together(map { $ann->charge_request(10) } 1 .. 50);

    is_deeply count_codes(@answers), { ok => 50 },
              '50 charges of one user at once are all made';
    is $ann->balance, 500, 'no charge is lost among 50 at once';
    is_deeply [ sort { $a <=> $b } map { $_->json->{amount} } @answers ],
              [ map { 10 * $_ } 1 .. 50 ],
              'each of 50 charges answers with a balance of its own';
}

{
    my @users = map { $nginx->client($_) } users(8, 100);

    my @answers = $nginx->together(
        shuffle(map { my $user = $_; map { $user->charge_request(1) } 1 .. 5 }
                    @users));

    is_deeply count_codes(@answers), { ok => 40 },
              'charges of many users at once are all made';
    is_deeply [ map { $_->balance } @users ], [ (105) x 8 ],
              'charges of many users at once go to whom they are for';
}

$nginx->stop;

{
    my $nginx = nginx(http => 'concert_user_limit 3;', workers => 2);
    my $schedule = schedule(seats => 16);
    my ($ann) = active($nginx, 1);

    my @answers = $nginx->together(
        map { $ann->reserve_request($schedule, $_) } 1 .. 16);

    is_deeply count_codes(@answers), { ok => 3, seat_limit => 13 },
              'a user who asks 16 times at once gets no more than'
              . ' concert_user_limit';

    my @pairs = $nginx->together(
        map { $ann->reserve_request(schedule(seats => 12), $_, $_ + 1) }
            1 .. 4);

    is_deeply count_codes(@pairs), { ok => 4 },
              'concert_user_limit does not count what is in other schedules';

    $nginx->stop;
}

is sql("select sum(broken) from concert.violations()"), 0,
   'whatever is done at once leaves no rule broken';

done_testing;
