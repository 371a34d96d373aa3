# Hall plans: GET /api/concerts/seats/{scheduleId}?status=all.

use strict;
use warnings;

use Test::More;

use Concert;

# The job takes this lock, and does nothing while another has it.
my $Job = "select pg_advisory_xact_lock(hashtext('concert.expire'))";

my $nginx = nginx();

sub visitor {
    my $visitor = $nginx->client(stranger());
    $visitor->enter;

    return $visitor;
}

my $ann = visitor();

sub path_of {
    my ($schedule, $more) = @_;

    return "/api/concerts/seats/$schedule?status=all" . ($more // '');
}

sub plan_of { return $ann->get(path_of(@_)) }

# The pages, each a list of seats, that lie behind a path.
sub pages {
    my ($path) = @_;

    my @pages;

    while (defined $path) {
        my $answer = $ann->get($path);

        if ($answer->status != 200 || @pages > 1000) {
            diag("$path: ", $answer->status, ' ', $answer->body);
            return [];
        }

        push @pages, $answer->json;
        $path = $answer->next;
    }

    return \@pages;
}

# what a seat is

{
    my $schedule = schedule(seats => 5, price => 60000);

    sql("select concert.set_price($schedule, 4, 5, 90000)");
    hold(user(), $schedule, 2);
    paid(user(200_000), $schedule, 3, 4);

    my $answer = plan_of($schedule);

    is $answer->status, 200, 'a hall plan is answered';
    is $answer->body, '[[1,"AVAILABLE",60000],[2,"HELD",60000],'
                      . '[3,"SOLD",60000],[4,"SOLD",90000],'
                      . '[5,"AVAILABLE",90000]]',
       'it has every seat, free, held or sold, with its price';
    is $answer->header('Cache-Control'), 'no-store', 'it is never cached';
    is $answer->header('Content-Type'), 'application/json', 'it is JSON';
    is $answer->next, undef, 'when it is whole there is no Link';
}

{
    my $job = lock_rows($Job);
    my $schedule = schedule(seats => 3, price => 1);
    my $held = hold_for(-1000, user(), $schedule, 1, 2);

    is sql("select count(*) from concert.seats
            where reservation_id = $held"), 2,
       'the job has not been by';
    is_json plan_of($schedule)->body,
            [ [1, 'AVAILABLE', 1], [2, 'AVAILABLE', 1], [3, 'AVAILABLE', 1] ],
            'a seat whose hold has run out is free, whatever its row says';

    hold(user(), $schedule, 2);

    is_json plan_of($schedule)->body,
            [ [1, 'AVAILABLE', 1], [2, 'HELD', 1], [3, 'AVAILABLE', 1] ],
            'and held again once somebody else has taken it';
}

{
    my $schedule = schedule(seats => 2, price => 1);
    my $reservation = expired(user(), $schedule, 1, 2);

    eventually { sql("select status from concert.reservations
                      where reservation_id = $reservation") eq 'EXPIRED' }
               'the job has freed what ran out';
    is_json plan_of($schedule)->body,
            [ [1, 'AVAILABLE', 1], [2, 'AVAILABLE', 1] ],
            'what the job has freed is free';
}

{
    my $schedule = schedule(seats => 2, price => 1);

    cancelled(user(), $schedule, 1);
    paying(user(1), $schedule, 2);

    is_json plan_of($schedule)->body, [ [1, 'AVAILABLE', 1], [2, 'SOLD', 1] ],
            'what was given back is free, what is being paid is sold';
}

{
    my $schedule = schedule(seats => 3, price => 0);
    my $user = user();

    hold($user, $schedule, 1);
    paid($user, $schedule, 2, 3);

    is_json $ann->get("/api/concerts/seats/$schedule")->body, [],
            'of a schedule that is sold out no seat is free';
    is_json plan_of($schedule)->body,
            [ [1, 'HELD', 0], [2, 'SOLD', 0], [3, 'SOLD', 0] ],
            'and its hall plan has them all';
}

# pages

{
    my $schedule = schedule(seats => 23, price => 5);
    my $pages = pages(path_of($schedule, '&size=5'));

    is_deeply [ map { [ map { $_->[0] } @$_ ] } @$pages ],
              [ [1 .. 5], [6 .. 10], [11 .. 15], [16 .. 20], [21 .. 23] ],
              'the Links of a hall plan lead from seat 1 to the last';
    is plan_of($schedule, '&size=5')->header('Link'),
       '<?status=all&size=5&after=5>; rel="next"',
       'a Link stays in the hall plan';
    is_deeply [ map { $_->[0] } @{ plan_of($schedule, '&after=20')->json } ],
              [ 21 .. 23 ], 'a page begins behind the last seat seen';
    is scalar @{ pages(path_of($schedule, '&size=23')) }, 1,
       'a page as large as the schedule is the only one';
    is scalar @{ pages(path_of($schedule, '&size=22')) }, 2,
       'a page that lacks one seat is followed by another';
    is_json plan_of($schedule, '&after=23')->body, [],
            'behind the last seat there is nothing';
    is_json plan_of($schedule, '&after=9007199254740991')->body, [],
            'nor behind the greatest number';

    is_deeply [ map { visitor()->get(path_of($schedule, '&size=1'))
                          ->json->[0][0] } 1 .. 4 ],
              [ 1, 1, 1, 1 ], 'a hall plan begins at seat 1 for everybody';
}

{
    my $schedule = schedule(seats => 501);

    is scalar @{ plan_of($schedule)->json }, 100,
       'a page of a hall plan has 100 seats unless it is told otherwise';
    is scalar @{ plan_of($schedule, '&size=500')->json }, 500,
       'and at most 500';
    is_problem plan_of($schedule, '&size=501'), 'invalid_request',
               'more are refused', { field => 'size' };
}

{
    my $schedule = schedule(seats => 3, price => 5);
    my $get = plan_of($schedule, '&size=2');
    my $head = $ann->ask(HEAD => path_of($schedule, '&size=2'));

    is join('|', $head->status, $head->body,
            map { $head->header($_) // '' } qw( Content-Length Link )),
       join('|', 200, '',
            map { $get->header($_) // '' } qw( Content-Length Link )),
       'HEAD of a hall plan is its GET without the body';
}

# which

{
    my $schedule = schedule(seats => 2, price => 5);
    my $path = "/api/concerts/seats/$schedule?after=0";

    hold(user(), $schedule, 1);

    is $ann->get("$path&status=available")->body, $ann->get($path)->body,
       'status=available is what there is without it';
    is_json $ann->get("$path&status=available")->body,
            [ { seatId => 2, seatNumber => 2, seatStatus => 'AVAILABLE',
                scheduleId => 0 + $schedule, price => 5 } ],
            'and has the free seats only';

    for my $wrong ('', 'ALL', 'held', 'all,available', 'al', 'alll', '1',
                   '%61ll', ' all')
    {
        is_problem $ann->get("$path&status=" . $wrong =~ s/ /+/r),
                   'invalid_request', "status=$wrong is refused",
                   { field => 'status' };
    }

    like $ann->get("$path&status=HELD")->json->{detail},
         qr/status must be "available" or "all"/, 'and is told what to write';

    for my $twice ('all&status=all', 'all&status=available', 'x&status=all') {
        is_problem $ann->get("$path&status=$twice"), 'invalid_request',
                   "status=$twice is refused", { field => 'status' };
    }

    is_problem plan_of($schedule, '&after=1&end=2'), 'invalid_request',
               'a hall plan does not go around: it has no end',
               { field => 'end' };
}

# for whom, and of what

{
    my $schedule = schedule();
    my $bob = $nginx->client(stranger());

    is_problem $bob->get(path_of($schedule)), 'token_not_active',
               'a hall plan is for active tokens only';
    is_problem $nginx->nobody->get(path_of($schedule)), 'identity_missing',
               'and not for nobody';
    is_problem plan_of($schedule + 1_000_000), 'schedule_not_found',
               'a schedule that does not exist has no hall plan';
    is_json plan_of(schedule(starts => seconds_from_now(-60)))->body, [],
            'one that has begun has an empty one';
    is_json plan_of(schedule(seats => 0))->body, [],
            'and so has one without seats';
    is scalar @{ plan_of(schedule(opens => seconds_from_now(3600)))->json }, 5,
       'before the sale opens the hall can be looked at';
}

$nginx->stop;

done_testing;
