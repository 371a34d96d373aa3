# Holds that run out: the seat row judges, not the job that cleans up.

use strict;
use warnings;

use Test::More;

use Concert;

# The job takes this lock, and does nothing while another has it.
my $Job = "select pg_advisory_xact_lock(hashtext('concert.expire'))";

sub listed {
    my ($user, $schedule) = @_;

    return [ map { $_->{seatId} }
             @{ $user->get("/api/concerts/seats/$schedule?after=0")->json } ];
}

sub status_of {
    my ($user, $reservation) = @_;

    return $user->get("/api/reservations/$reservation")->json->{status};
}

# How many holds the job has ended; some may be of tests five minutes ago.
sub ended {
    return sql("select count(*) from concert.reservations
                where status = 'EXPIRED'");
}

{
    my $nginx = nginx(http => 'concert_hold 90s;');
    my $ann = $nginx->client(user());
    $ann->enter;

    my $until = $ann->reserve(schedule(), 1)->json->{reservationExpiry};
    my $left = sql("select extract(epoch from '$until'::timestamptz
                                              - clock_timestamp())");

    cmp_ok $left, '<=', 90, 'a hold does not last longer than concert_hold';
    cmp_ok $left, '>', 30, 'a hold lasts as long as concert_hold';

    $nginx->stop;
}

{
    my $nginx = nginx();
    my $ann = $nginx->client(user());
    $ann->enter;

    my $until = $ann->reserve(schedule(), 1)->json->{reservationExpiry};
    my $left = sql("select extract(epoch from '$until'::timestamptz
                                              - clock_timestamp())");

    cmp_ok $left, '<=', 300, 'a hold does not last longer than 5 minutes';
    cmp_ok $left, '>', 240, 'a hold lasts 5 minutes';

    $nginx->stop;
}

{
    my $job = lock_rows($Job);
    my $nginx = nginx(http => 'concert_hold 1s;');
    my $ann = $nginx->client(user(5000));
    my $bob = $nginx->client(user(5000));
    my $schedule = schedule(price => 1000);

    $_->enter for $ann, $bob;

    my $held = $ann->reserve($schedule, 1, 2)->json->{reservationId};

    eventually { status_of($ann, $held) eq 'EXPIRED' }
               'a hold runs out';
    is sql("select status from concert.reservations
            where reservation_id = $held"), 'HELD',
       'a hold reads EXPIRED though no job has been by';
    is $ann->get('/api/reservations')->json->[0]{status}, 'EXPIRED',
       'a hold is listed as EXPIRED though no job has been by';

    is_problem $ann->pay($held, 2000), 'reservation_expired',
               'a hold that ran out cannot be paid though no job has been by';
    is $ann->balance, 5000, 'what cannot be paid costs nothing';
    is_problem $ann->delete("/api/reservations/$held"), 'reservation_expired',
               'a hold that ran out cannot be cancelled though no job has been'
               . ' by';

    my $taken = $bob->reserve($schedule, 1);
    is $taken->status, 200,
       'another may take the seat without waiting for the job';
    is status_of($ann, $held), 'EXPIRED',
       'the reservation that lost a seat reads EXPIRED';
    is sql("select reservation_id from concert.seats
            where schedule_id = $schedule and seat_id = 1"),
       $taken->json->{reservationId}, 'the seat names who has it now';

    my $again = $ann->reserve($schedule, 2);
    is $again->status, 200, 'who lost a seat may take it again';
    isnt $again->json->{reservationId}, $held,
         'a seat taken again is held anew';
    is sql("select reservation_id from concert.seats
            where schedule_id = $schedule and seat_id = 2"),
       $again->json->{reservationId}, 'by the reservation that it names';

    undef $job;

    eventually { sql("select status from concert.reservations
                      where reservation_id = $held") eq 'EXPIRED' }
               'the job ends what ran out';
    eventually { @{ listed($ann, $schedule) } == 5 }
               'the job lists seats of holds that ran out again';
    is status_of($ann, $held), 'EXPIRED',
       'what the job has ended reads EXPIRED';
    is sql("select sum(broken) from concert.violations()"), 0,
       'holds that ran out leave no rule broken';

    $nginx->stop;
}

{
    my $before = ended();
    my $nginx = nginx();
    my $user = user(5000);
    my $ann = $nginx->client($user);
    my $schedule = schedule(price => 1000);
    my $paid = pay_hold($user, hold_for(1000, $user, $schedule, 1));

    # the time of its hold is over, too
    eventually { sql("select hold_until < now() from concert.reservations
                      where reservation_id = $paid") eq 't' }
               'the time comes that a hold was to end that is paid';

    expired($user, $schedule, $_) for 2 .. 4;
    $ann->enter;

    eventually { sql("select count(*) from concert.reservations
                      where schedule_id = $schedule
                        and status = 'EXPIRED'") == 3 }
               'the job ends holds that ran out';
    is status_of($ann, $paid), 'PAID', 'what is paid does not run out';
    is_deeply listed($ann, $schedule), [ 2 .. 5 ],
              'the seats of what is paid are not listed again';

    eventually { ended() - $before >= 3
                 && $nginx->metric('concert_holds_expired_total')
                    == ended() - $before }
               'metrics count the holds that ran out';
    is $nginx->metric('concert_lane_failed_calls_total{group="write"}'), 0,
       'and the job as a call that did not fail';

    $nginx->stop;
}

{
    my $job = lock_rows($Job);
    my $nginx = nginx(http => 'concert_user_limit 1;');
    my $user = user();
    my $ann = $nginx->client($user);
    my $schedule = schedule();

    expired($user, $schedule, 1);
    $ann->enter;

    is $ann->reserve($schedule, 2)->status, 200,
       'what ran out does not count for concert_user_limit though no job has'
       . ' been by';

    undef $job;
    $nginx->stop;
}

{
    my $nginx = nginx();
    my $user = user();
    my $schedule = schedule();
    my @expired = map { expired($user, $schedule, $_) } 1 .. 5;

    eventually { sql("select count(*) from concert.seats
                      where schedule_id = $schedule
                        and reservation_id is not null") == 0 }
               'the job frees all that ran out while nobody was there';

    $nginx->stop;
}

done_testing;
