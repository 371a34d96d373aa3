# Writes that go to PostgreSQL together: twins are told apart, what fails fails
# alone, and what happens to the connection happens to nobody's money.

use strict;
use warnings;

use List::Util qw( min uniq );
use Test::More;

use Concert;
use Gateway;
use Proxy;

my ($Socket) = $ENV{TEST_NGINX_CONCERT_PG} =~ m{\bhost=(/\S+)};

plan skip_all => 'PostgreSQL is not reached by a socket' if !$Socket;

# As many go together, in one batch of 17 to 32 calls: a job's, and the one that
# keeps the lane busy, may be among them.
my $N = 24;
my $Never = 1_000_000;

my $Proxy = Proxy->new("$Socket/.s.PGSQL.5432");

sub start {
    my (%is) = @_;

    my $directory = $Proxy->directory;

    $is{http} = "concert_postgres \"$ENV{TEST_NGINX_CONCERT_PG} "
                . "host=$directory\" read=1 write=1 batch=32;"
                . ($is{http} // '');

    return nginx(%is, queue => 'capacity=100000');
}

my $Nginx = start();
my $Gateway = Gateway->start;

# How many batches there were of 17 to 32 calls.
sub large_batches {
    return $Nginx->metric('concert_lane_batch_size_bucket'
                          . '{group="write",le="32"}')
           - $Nginx->metric('concert_lane_batch_size_bucket'
                            . '{group="write",le="16"}');
}

sub wait_for {
    my ($condition) = @_;

    for (1 .. 3000) {
        return if $condition->();
        select undef, undef, undef, 0.01;
    }

    die 'waited in vain, line ' . (caller)[2];
}

# The answers to requests that went to PostgreSQL in one batch: while it stands
# still one of no matter keeps the lane busy, and the others gather. What is to
# be done when they are on their way may come first.
sub batch {
    my $meanwhile = ref $_[0] eq 'CODE' ? shift : sub { };
    my (@requests) = @_;

    wait_for(sub { $Nginx->metric('concert_lane_down{group="write"}') == 0 });

    my $before = large_batches();

    $Proxy->freeze;

    my $first = $Nginx->begin($Nginx->client(stranger())->bytes_of(
        DELETE => '/api/reservations/9007199254740991'));

    wait_for(sub { $Nginx->metric('concert_lanes_busy{group="write"}') == 1 });

    my @sockets = map { $Nginx->begin($_) } @requests;

    wait_for(sub { $Nginx->metric('concert_lane_waiting_calls{group="write"}')
                   >= @requests });

    $Proxy->thaw;
    $meanwhile->();

    my @answers = map { Concert::Answer->new($_) } @sockets;
    Concert::Answer->new($first);

    wait_for(sub { large_batches() > $before });

    return @answers;
}

sub codes {
    my %count;

    $count{ $_->header('Idempotency-Replayed') ? 'replayed'
            : $_->status == 200 ? 'ok' : $_->code || $_->status }++ for @_;
    return \%count;
}

# Users with money who may reserve.
sub buyers {
    my ($n, $balance) = @_;

    my @buyers = map { $Nginx->client($_) } users($n, $balance // 100_000);
    $Nginx->together(map { $_->enter_request } @buyers);

    return @buyers;
}

sub with_key {
    my ($bytes, $key) = @_;

    return $bytes =~ s/\r\n/\r\nIdempotency-Key: $key\r\n/r;
}

sub balance_of {
    my ($user) = @_;

    return sql('select balance from concert.accounts
                where account_id = ' . $user->id);
}

sub reservations_of {
    my ($schedule) = @_;

    return sql("select count(*) from concert.reservations
                where schedule_id = $schedule");
}

sub payments_of {
    my ($user) = @_;

    return sql('select count(*) from concert.all_payments
                where user_id = ' . $user->id);
}


# --- twins ------------------------------------------------------------------

sub same_seat {
    my $schedule = schedule();
    my @answers = batch(map { $_->reserve_request($schedule, 1) } buyers($N));

    is_deeply codes(@answers), { ok => 1, seat_taken => $N - 1 },
              'of a batch that wants one seat one gets it';
    is_deeply [ uniq map { "@{ $_->json->{seatIdList} }" }
                     grep { $_->status == 409 } @answers ],
              [ 1 ], 'the others are told which is taken';
    is reservations_of($schedule), 1, 'and there is one reservation';

    $schedule = schedule();
    my ($ann) = buyers(1);
    @answers = batch(map { $ann->reserve_request($schedule, 1, 2) } 1 .. $N);

    is_deeply codes(@answers), { ok => 1, seat_taken => $N - 1 },
              'one user who wants the same seats often gets them once';
}

sub overlapping_seats {
    my $schedule = schedule(seats => $N + 1);
    my @buyers = buyers($N);
    my @answers = batch(map { $buyers[$_ - 1]->reserve_request($schedule, $_,
                                                               $_ + 1) }
                            1 .. $N);
    my @seats = map { @{ $_->json->{seatIdList} } }
                grep { $_->status == 200 } @answers;

    is_deeply [ sort keys %{ codes(@answers) } ], [qw( ok seat_taken )],
              'of a batch that wants seats that overlap some get them';
    is scalar @seats, scalar uniq(@seats), 'no seat is given twice';
    is sql("select count(*) from concert.seats
            where schedule_id = $schedule and reservation_id is not null"),
       scalar @seats, 'and nothing else is held';
}

sub different_seats {
    my $schedule = schedule(seats => $N);
    my @buyers = buyers($N);
    my @answers = batch(map { $buyers[$_ - 1]->reserve_request($schedule, $_) }
                            1 .. $N);

    is_deeply [ map { $_->status == 200
                      ? join(' ', $_->json->{userId},
                             @{ $_->json->{seatIdList} }) : $_->body }
                    @answers ],
              [ map { $buyers[$_ - 1]->id . " $_" } 1 .. $N ],
              'each of a batch is answered with what is its own';
}

sub same_reservation {
    my $schedule = schedule(price => 1000);
    my ($ann) = buyers(1, 5000);
    my $held = hold($ann->id, $schedule, 1);

    is_deeply codes(batch(map { $ann->pay_request($held, 1000) } 1 .. $N)),
              { ok => 1, reservation_paid => $N - 1 },
              'of a batch that pays one reservation one does';
    is balance_of($ann) . ' ' . payments_of($ann), '4000 1', 'once';
}

sub same_payer {
    my $schedule = schedule(seats => $N, price => 1000);
    my ($ann) = buyers(1, 7500);
    my @held = map { hold($ann->id, $schedule, $_) } 1 .. $N;

    is_deeply codes(batch(map { $ann->pay_request($_, 1000) } @held)),
              { ok => 7, insufficient_balance => $N - 7 },
              'a batch of one user pays as far as the balance goes';
    is balance_of($ann) . ' ' . payments_of($ann), '500 7', 'and no further';
}

sub same_account {
    my ($ann) = buyers(1, 0);
    my @answers = batch(map { $ann->charge_request(10) } 1 .. $N);

    is_deeply [ sort { $a <=> $b } map { $_->json->{amount} } @answers ],
              [ map { 10 * $_ } 1 .. $N ],
              'a batch of one user is charged one after the other';
    is balance_of($ann), 10 * $N, 'and nothing is lost';
}

# For each route that may have a key: its name, a user, the bytes of a request,
# and how often it was done.
sub each_route {
    my ($check) = @_;

    my ($ann, $bob, $eve) = buyers(3);
    my $schedule = schedule();
    my $held = hold($eve->id, $schedule, 5);

    $check->('charge', $ann, $ann->charge_request(10),
             sub { (balance_of($ann) - 100_000) / 10 });
    $check->('reserve', $bob, $bob->reserve_request($schedule, 1),
             sub { reservations_of($schedule) - 1 });
    $check->('pay', $eve, $eve->pay_request($held, 1000),
             sub { payments_of($eve) });
}

sub same_key {
    each_route(sub {
        my ($route, $user, $bytes, $done) = @_;
        my @twins = (with_key($bytes, 'twin')) x $N;

        is_deeply codes(batch(@twins)),
                  { ok => 1, request_in_progress => $N - 1 },
                  "$route: of a batch with one key one is done,"
                  . ' the others are told to wait';
        is $done->(), 1, "$route: once";

        is_deeply codes(batch(@twins)), { replayed => $N },
                  "$route: a batch of its repeats is answered as it was";
        is $done->(), 1, "$route: and nothing is done again";

        my $other = $twins[0] =~ s/"userId"/"note":10,"userId"/r;
        $other =~ s/(?<=Content-Length: )(\d+)/$1 + 10/e;

        is_deeply codes(batch(@twins[1 .. 12], ($other) x 12)),
                  { replayed => 12, idempotency_key_reused => 12 },
                  "$route: among them who has another body is refused";
    });
}

sub same_key_of_many {
    my @users = buyers($N, 0);

    is_deeply codes(batch(map { with_key($_->charge_request(10), 'k') }
                              @users)),
              { ok => $N }, 'a key is one user\'s, in a batch, too';
    is_deeply [ uniq map { balance_of($_) } @users ], [10], 'all are charged';
}

# Whatever there is, at once, with and without keys.
sub of_all_kinds {
    my $schedule = schedule(seats => 30, price => 1000);
    my @users = buyers(6, 10_000);
    my @held = map { hold($users[$_]->id, $schedule, 10 + $_) } 0 .. 5;
    my @given = map { hold($users[$_]->id, $schedule, 20 + $_) } 0 .. 5;

    my @answers = batch(map {
        my $user = $users[$_];
        ($_ % 2 ? $user->charge_request(5)
                : with_key($user->charge_request(5), 'charge'),
         $_ % 2 ? $user->pay_request($held[$_], 1000)
                : with_key($user->pay_request($held[$_], 1000), 'pay'),
         $_ % 2 ? $user->reserve_request($schedule, 1 + $_)
                : with_key($user->reserve_request($schedule, 1 + $_), 'seat'),
         $user->bytes_of(DELETE => "/api/reservations/$given[$_]"))
    } 0 .. 5);

    is_deeply codes(@answers), { ok => 18, 204 => 6 },
              'a batch may have calls of every kind';
    is_deeply [ map { balance_of($_) } @users ], [ (9005) x 6 ],
              'all charged, and paid';
    is sql("select string_agg(status || ' ' || n, ', ' order by status)
            from (select status, count(*) as n from concert.reservations
                  where schedule_id = $schedule group by status) s"),
       'CANCELLED 6, HELD 6, PAID 6', 'held, and given back';
}

sub user_limit {
    $Nginx->stop;
    $Nginx = start(http => 'concert_user_limit 3;');

    my $schedule = schedule(seats => $N);
    my ($ann) = buyers(1);

    is_deeply codes(batch(map { $ann->reserve_request($schedule, $_) }
                              1 .. $N)),
              { ok => 3, seat_limit => $N - 3 },
              'in a batch nobody gets more than concert_user_limit';

    $Nginx->stop;
    $Nginx = start();
}


# --- what PostgreSQL refuses ------------------------------------------------

# Runs $check while rows of a table with such a value are refused: at once, or
# at commit.
sub poisoned {
    my ($event, $table, $column, $value, $state, $check) = @_;

    for my $when ('at once', 'at commit') {
        my $poisoned = $value->();
        my $kind = $when eq 'at once'
            ? "trigger poison before $event on concert.$table"
            : "constraint trigger poison after $event on concert.$table
               deferrable initially deferred";

        sql("create function concert.poison() returns trigger language plpgsql
             as \$\$ begin raise 'poison' using errcode = '$state'; end \$\$;
             create $kind for each row when (new.$column = $poisoned)
             execute function concert.poison()");

        eval { $check->($when, $poisoned); 1 } or fail $@;

        sql("drop trigger poison on concert.$table;
             drop function concert.poison()");
    }
}

# The one at place 7 is refused; with and without keys.
sub poison {
    my ($route, $event, $table, $column, $request, $done) = @_;

    for my $state ('23514', '40001', '23505') {
        my @users;

        poisoned($event, $table, $column, sub { (@users = buyers($N))[7]->id }, $state,
                 sub {
            my ($when) = @_;

            for my $key ('', 'poison') {
                my $name = "$route, $state $when" . ($key && ', with a key');
                my @requests = map { $request->($_) } @users;

                @requests = map { with_key($_, $key) } @requests if $key;

                my @answers = batch(@requests);

                is $answers[7]->code, 'store_unavailable',
                   "$name: what PostgreSQL refuses is told so";
                is_deeply codes(@answers),
                          { ok => $N - 1, store_unavailable => 1 },
                          "$name: and nobody else suffers";
                is_deeply [ map { $done->($_) } @users ],
                          [ map { $_ == 7 ? 0 : $key ? 2 : 1 } 0 .. $N - 1 ],
                          "$name: all others are done, once";

                is_deeply codes(batch(@requests)),
                          { replayed => $N - 1, store_unavailable => 1 },
                          "$name: their answers are kept, and not its own"
                    if $key;
            }
        });
    }
}

sub poisoned_charge {
    poison('charge', insert => transfers => 'credit_account',
           sub { $_[0]->charge_request(10) },
           sub { (balance_of($_[0]) - 100_000) / 10 });
}

sub poisoned_reserve {
    my $schedule = schedule(seats => 1000);
    my $seat = 0;

    poison('reserve', insert => reservations => 'user_id',
           sub { $_[0]->reserve_request($schedule, ++$seat) },
           sub { sql("select count(*) from concert.reservations
                      where user_id = " . $_[0]->id) });
}

sub poisoned_pay {
    my $schedule = schedule(seats => 1000);
    my $seat = 0;

    poison('pay', update => reservations => 'user_id',
           sub { $_[0]->pay_request(hold($_[0]->id, $schedule, ++$seat),
                                    1000) },
           sub { payments_of($_[0]) });
}


# --- what happens to the connection -----------------------------------------

# A batch of one route: its requests, and how often each was done.
my %Batch = (
    charge => sub {
        my @users = buyers($N, 0);
        return (sub { map { balance_of($_) / 10 } @users },
                map { $_->charge_request(10) } @users);
    },
    charge_once => sub {
        my @users = buyers($N, 0);
        return (sub { map { balance_of($_) / 10 } @users },
                map { with_key($_->charge_request(10), 'cut') } @users);
    },
    reserve => sub {
        my $schedule = schedule(seats => $N);
        my @users = buyers($N);
        return (sub { split /\n/, sql(
                          "select count(r.reservation_id)
                           from concert.seats s
                           left join concert.reservations r
                                  on r.schedule_id = s.schedule_id
                                 and r.seat_ids = array[s.seat_id]
                           where s.schedule_id = $schedule
                           group by s.seat_id order by s.seat_id") },
                map { $users[$_ - 1]->reserve_request($schedule, $_) }
                    1 .. $N);
    },
    pay => sub {
        my $schedule = schedule(seats => $N);
        my @users = buyers($N);
        my @held = map { hold($users[$_ - 1]->id, $schedule, $_) } 1 .. $N;
        return (sub { map { payments_of($_) } @users },
                map { $users[$_]->pay_request($held[$_], 1000) }
                    0 .. $N - 1);
    },
);

# 200: done; 503: not done; 504: either, but never twice.
sub untrue {
    my ($status, $done) = @_;

    my $true = $status == 200 ? $done == 1
             : $status == 503 ? $done == 0
             : $status == 504 ? $done <= 1 : 0;

    return $true ? () : "$status, done $done";
}

# Returns how many were answered 200, what was not true, and the counts.
sub cut_batch {
    my ($name, $way, $at, $times) = @_;

    my ($done, @requests) = $Batch{$name}->();

    $Proxy->arm($way, $at, $name, $times);

    my @answers = batch(@requests);
    my @counts = $Proxy->counts;
    my @done = $done->();

    return (scalar(grep { $_->status == 200 } @answers),
            [ map { untrue($answers[$_]->status, $done[$_]) } 0 .. $N - 1 ],
            @counts);
}

# How many bytes go up and come down if nothing is cut: the least of some runs, as
# a job may add to each.
sub batch_bytes {
    my ($name) = @_;
    my ($up, $down) = ($Never, $Never);

    cut_batch($name, down => $Never, 1);

    for (1 .. 6) {
        my ($ok, $wrong, @bytes) = cut_batch($name, down => $Never, 1);

        is "$ok @$wrong", "$N ", "$name: nothing is cut";
        ($up, $down) = (min($up, $bytes[0]), min($down, $bytes[1]));
    }

    return ($up, $down);
}

sub cut_connections {
    for my $name (sort keys %Batch) {
        my ($up, $down) = batch_bytes($name);
        my (@wrong, %ok);

        for my $case ((map { [down => int($down * $_ / 12)] } 0 .. 11),
                      [down => $down - 1], [up => 0], [up => int($up / 2)],
                      [up => $up - 1])
        {
            my ($ok, $wrong, undef, undef, $cuts)
                = cut_batch($name, @$case, 1);
            push @wrong, map { "@$case: $_" } @$wrong;
            push @wrong, "@$case: no cut" if !$cuts;
            $ok{$ok}++;
        }

        is_deeply \@wrong, [],
                  "$name: cut once, each of a batch is told the truth";
        is_deeply [ keys %ok ], [$N], "$name: which is that it is done";

        @wrong = ();

        for my $case ([down => 0], [down => int($down / 2)],
                      [down => $down - 1], [up => int($up / 2)])
        {
            my (undef, $wrong) = cut_batch($name, @$case, 2);
            push @wrong, map { "@$case: $_" } @$wrong;
        }

        is_deeply \@wrong, [],
                  "$name: cut twice, each of a batch is told the truth";
    }
}

# The session ends while its batch waits for a row.
sub ended_session {
    my @users = buyers($N, 0);
    my $lock = lock_rows('select from concert.accounts where account_id = '
                         . $users[5]->id . ' for update');

    my @answers = batch(sub {
        wait_for(sub { sql('select count(pg_terminate_backend(pid))
                            from pg_locks where not granted') });
        undef $lock;
    }, map { $_->charge_request(10) } @users);

    is_deeply codes(@answers), { ok => $N },
              'a batch whose session is ended is run again in another';
    is_deeply [ uniq map { balance_of($_) } @users ], [10], 'and done once';
}

# Payments and top-ups by card are claimed by one function, but a key is of its
# route.
sub key_of_two_routes {
    my @users = buyers($N / 2);
    my $schedule = schedule(seats => scalar @users, price => 1000);
    my $seat = 0;

    my $by_card = sub {
        my ($user, $method, $path, $body, $for) = @_;
        my $order = $user->post('/api/payments/orders',
                                { userId => 0 + $user->id, %$for })->json;
        my $card = $Gateway->window(%$order);

        return with_key($user->bytes_of($method, $path, {
            userId => 0 + $user->id, amount => 1000, method => 'card',
            orderId => $card->{orderId}, paymentKey => $card->{paymentKey},
            %$body }), '"one"');
    };

    my @requests = map {
        my $held = { reservationId => 0 + hold($_->id, $schedule, ++$seat) };

        ($by_card->($_, POST => '/api/reservations/payments', $held, $held),
         $by_card->($_, PUT => '/api/balance/charge', {},
                    { chargeAmount => 1000 }));
    } @users;

    is_deeply codes(batch(@requests)), { ok => $N },
              'a batch may have a key of a user for both ways to use a card';
    is_deeply codes($Nginx->together(@requests)), { replayed => $N },
              'and each is answered again from its own';
    is sql("select string_agg(route || ' ' || n, ', ' order by route)
            from (select route, count(*) as n
                  from concert.idempotency_keys
                  where user_id in (@{[ join ',', map { $_->id } @users ]})
                  group by route) of_users"),
       'charge ' . @users . ', pay ' . @users, 'whose route is kept with it';
}

same_seat();
overlapping_seats();
different_seats();
same_reservation();
same_payer();
same_account();
same_key();
same_key_of_many();
of_all_kinds();
user_limit();

poisoned_charge();
poisoned_reserve();
poisoned_pay();

cut_connections();
ended_session();

$Nginx->stop;

$Nginx = start(gateway => $Gateway);

key_of_two_routes();

$Nginx->stop;
$Gateway->stop;

is sql('select sum(broken) from concert.violations()'), 0,
   'no rule is broken';

done_testing;
