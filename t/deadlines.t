# What happens when PostgreSQL does not answer in time. It is held up by locks.

use strict;
use warnings;

use Test::More;

use Concert;

use constant TRIES => 5;

sub lock_account {
    my ($user) = @_;

    return lock_rows('select from concert.accounts where account_id = '
                     . $user->id . ' for update');
}

# That a call is in PostgreSQL, and waits there for a lock.
sub waits_for_lock {
    my ($function) = @_;

    return sql("select count(*) from pg_stat_activity
                where wait_event_type = 'Lock' and query like '%$function%'
                  and pid <> pg_backend_pid()") > 0;
}

sub postgres {
    my ($parameters) = @_;

    return qq{concert_postgres "$ENV{TEST_NGINX_CONCERT_PG}" $parameters;\n};
}

# The database gives up: it is certain that nothing was done.
{
    my $nginx = nginx(http => 'concert_timeout 5s;');
    my $ann = $nginx->client(user());
    my $bob = $nginx->client(user(7));
    my $lock = lock_account($ann);

    # one that is slow is told 504, not 503
    my $answer = first_with(503, sub { $ann->charge(100) });

    is $answer->status, 503, 'a call that the database gives up is refused';
    ok $answer->header('Retry-After'),
       'a call that the database gives up may be tried again';
    is first_with(200, sub { $ann->get('/api/balance/' . $ann->id) })
           ->json->{amount}, 0, 'what takes long does not hold up what reads';
    is first_with(200, sub { $bob->charge(1) })->status, 200,
       'what takes long does not hold up the charges of others';

    undef $lock;

    eventually { $ann->charge(1)->status == 200 }
               'once it is not held up any more a charge is made';
    cmp_ok $ann->balance, '<', 100,
           'what was answered 503 is certainly not done';

    $nginx->stop;
}

{
    my $nginx = nginx(http => 'concert_timeout 5s;');
    my $ann = $nginx->client(user());
    my $schedule = schedule(seats => 100);
    my $seat = 1;

    $ann->enter;

    my $lock = lock_rows("select from concert.seats
                          where schedule_id = $schedule for update");

    is first_with(503, sub { $ann->reserve($schedule, 1) })->status, 503,
       'a reservation that the database gives up is refused';
    is first_with(200, sub { $ann->get("/api/concerts/seats/$schedule") })
           ->status, 200,
       'seats are listed while a reservation takes long';

    undef $lock;

    eventually { $ann->reserve($schedule, ++$seat)->status == 200 }
               'once it is not held up any more a reservation is made';
    is_deeply [ grep { $_ == 1 } map { @{ $_->{seatIdList} } }
                @{ $ann->get('/api/reservations')->json } ], [],
              'what was answered 503 is not in the list of reservations';

    $nginx->stop;
}

# The database stands still: nothing is certain.
SKIP: {
    my $application = "deadlines-$$";
    my $nginx = nginx(http => "concert_timeout 5s;\n" . 'concert_postgres '
        . qq{"$ENV{TEST_NGINX_CONCERT_PG} application_name=$application" }
        . 'write=1;');
    my $ann = $nginx->client(user());
    my $bob = $nginx->client(user());

    is $ann->charge(1)->status, 200, 'a charge opens a connection';
    $bob->enter;

    # the lane that all wait for may be in the middle of a job's call, which
    # leaves the charge unsent
    my (@backends, $answer);

    for (1 .. TRIES) {
        kill CONT => @backends;
        eventually { $nginx->nobody->get('/readyz')->status == 200 }
                   'PostgreSQL answers';
        @backends = split /\n/, sql("select pid from pg_stat_activity
                                     where application_name = '$application'");

        if (kill(STOP => @backends) != @backends) {
            kill CONT => @backends;
            $nginx->quit;
            skip 'the processes of PostgreSQL are not ours to stop', 6;
        }

        $answer = $ann->charge(10);
        last if $answer->code eq 'timeout';
    }

    is_problem $answer, 'timeout',
               'a call that the database does not answer is answered 504';
    is $bob->token->json->{status}, 'ACTIVE',
       'the queue moves on while the database stands still';
    is $nginx->nobody->get('/healthz')->status, 200,
       'the worker serves while the database stands still';

    kill CONT => @backends;

    eventually { $bob->charge(1)->status == 200 }
               'once the database goes on charges are made';
    like first_with(200, sub { $ann->get('/api/balance/' . $ann->id) })
             ->json->{amount}, qr/^[1-5]?1$/,
         'what was answered 504 is done once or not at all';

    $nginx->stop;
}

{
    my $nginx = nginx(http => postgres('write=1 max_queue=3')
                              . 'concert_timeout 30s;');
    my $ann = $nginx->client(user());
    my $lock = lock_account($ann);

    my @sockets = $nginx->begin($ann->charge_request(1));

    eventually { waits_for_lock('charge') } 'the only lane is busy';

    push @sockets, map { $nginx->begin($ann->charge_request(1)) } 1 .. 10;

    eventually { $nginx->metric('concert_lane_refused_calls_total'
                                . '{group="write"}') >= 7 }
               'calls that find no room are refused at once';
    is $ann->balance, 0, 'a full queue of writes does not hold up reads';

    undef $lock;

    my @answers = map { Concert::Answer->new($_) } @sockets;
    my @done = grep { $_->status == 200 } @answers;
    my @refused = grep { $_->code eq 'overloaded' } @answers;

    is @done + @refused, 11, 'what is not refused is done';
    cmp_ok scalar @done, '>=', 1, 'calls wait for as long as there is room';
    is_problem $refused[0], 'overloaded',
               'a refusal for want of room is a 503';
    ok $refused[0]->header('Retry-After'),
       'a refusal for want of room says when to try again';
    is $ann->balance, scalar @done, 'what was refused was not done';
    is $ann->charge(1)->status, 200, 'once there is room calls are taken again';

    $nginx->stop;
}

{
    my $nginx = nginx(http => 'concert_timeout 30s;');
    my $ann = $nginx->client(user());
    my $lock = lock_account($ann);

    my $socket = $nginx->begin($ann->charge_request(100));
    eventually { waits_for_lock('charge') } 'a charge has been sent';
    close $socket;

    undef $lock;

    eventually { $ann->balance == 100 }
               'a charge whose client has left is made';

    $nginx->stop;
}

{
    my $nginx = nginx(http => 'concert_timeout 30s;');
    my $ann = $nginx->client(user());
    my $lock = lock_account($ann);

    my $socket = $nginx->begin($ann->charge_request(100));
    eventually { waits_for_lock('charge') } 'a charge has been sent';

    kill QUIT => $nginx->{pid};
    eventually { !$nginx->connect } 'nginx is ending';

    undef $lock;

    is +(Concert::Answer->new($socket))->status, 200,
       'what was sent is answered though nginx is told to end';

    $nginx->stop;
}

{
    my $nginx = nginx(http => 'concert_timeout 30s;');
    my $ann = $nginx->client(user());
    my $lock = lock_account($ann);

    my $socket = $nginx->begin($ann->charge_request(100));
    eventually { waits_for_lock('charge') } 'a charge has been sent';

    kill HUP => $nginx->{pid};
    eventually { grep { /gracefully shutting down/ } $nginx->log }
               'the configuration is read anew';
    is $ann->balance, 0, 'new workers serve while old ones end';

    undef $lock;

    is +(Concert::Answer->new($socket))->status, 200,
       'what was sent is answered though the configuration was read anew';
    is $ann->balance, 100, 'what was sent before is done once';
    is_deeply [ grep { $_ < 0 || $_ > 2 }
                map { $nginx->metric('concert_lanes_busy{group="write"}') }
                    1 .. 20 ], [],
              'what old and new workers say of their lanes fits';

    $nginx->stop;
}

done_testing;
