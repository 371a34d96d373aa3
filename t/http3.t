# Over HTTP/3, by a real client: the whole flow, bodies in any number of frames,
# events, clients that leave, limits, problems, reloads and workers that die.

use strict;
use warnings;

use List::Util qw( shuffle sum );
use Test::More;
use Time::HiRes qw( sleep );

use Concert;
use H3;

plan skip_all => 'this nginx has no HTTP/3, or there is no client (Go 1.24)'
    if !H3::is_there();

# An nginx that speaks HTTP/3, too, and its port.
sub http3 {
    my (%is) = @_;

    my $port = H3::port();
    my $nginx = nginx(workers => 2, %is,
                      server => H3::server($port) . ($is{server} // ''));

    return ($nginx, $port);
}

my ($Nginx, $Port) = http3(queue => 'poll=100ms', http =>
    "log_format way '\$request_method \$request_uri \$status"
    . " \$server_protocol';", server =>
    'access_log logs/way.log way;');
my $Schedule = schedule(seats => 5000, price => 10);
my $Seat = 0;

sub connected { return H3->new($Port, @_) }

# How many requests have ended that the log has as this.
sub ended {
    my ($pattern) = @_;

    open my $in, '<', "$Nginx->{root}/logs/way.log" or die $!;
    return scalar grep { /$pattern/ } <$in>;
}

sub serves {
    my ($h3, $title) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $answer = $h3->send($Nginx->nobody->bytes_of(GET => '/healthz'));
    is $answer->status, 200, $title or diag($answer->{error});
}

$Nginx->settled;
my $Descriptors = $Nginx->descriptors_at_rest;


# --- the flow ---------------------------------------------------------------

{
    my $user = user(100);
    my $client = $Nginx->client($user);
    my $h3 = connected();
    my $concert = concert_of($Schedule);
    my $get = sub { $h3->send($client->bytes_of(GET => $_[0])) };

    my $answer = $h3->send($client->enter_request);
    is $answer->json->{status}, 'ACTIVE', 'a user enters';
    is $get->("/api/token/$user")->json->{status}, 'ACTIVE', 'polls';
    is $get->("/api/token/status/$user")->body, 'true', 'asks whether it is in';
    ok ref $get->('/api/concerts?size=1')->json, 'sees concerts';
    is_json $get->("/api/concerts/schedules/$concert")->body,
            qq([{"concertId": $concert, "scheduleId": $Schedule,
                 "scheduleDate": "<time>", "totalSeat": 5000}]),
            'its schedules';

    $answer = $get->("/api/concerts/seats/$Schedule?size=2&after=0");
    is_deeply [ map { $_->{seatId} } @{ $answer->json } ], [1, 2], 'its seats';
    like $answer->next, qr/after=2\b/, 'and the way to more of them';

    $answer = $h3->send($client->reserve_request($Schedule, 1, 2));
    is $answer->json->{status}, 'HELD', 'takes two';
    my $reservation = $answer->json->{reservationId};

    $answer = $h3->send($client->pay_request($reservation, 20));
    is $answer->json->{status}, 'PAID', 'pays them';
    my $payment = $answer->json->{paymentId};

    is $get->("/api/balance/$user")->json->{amount}, 80, 'has paid';
    is $get->("/api/reservations/payments/$payment")->json->{status}, 'PAID',
       'can look at the payment';
    is $h3->send($client->charge_request(5))->json->{amount}, 85, 'charges';
    is $get->('/api/reservations')->json->[0]{reservationId}, $reservation,
       'can look at what it has';
    is sql("select count(*) from concert.seats
            where schedule_id = $Schedule and reservation_id = $reservation
              and hold_until = 'infinity'"), 2, 'and the seats are sold';

    my $held = hold($user, $Schedule, 3);
    is $h3->send($client->bytes_of(DELETE => "/api/reservations/$held"))
       ->status, 204, 'what is held can be given back';
    is $h3->send($client->bytes_of(DELETE => "/api/token/$user"))->status, 204,
       'and the queue left';
    is ended('^\S+ /api/\S+ \d+ HTTP/[12]'), 0, 'all of it over HTTP/3';
    $Seat = 10;
}

# HEAD
{
    my $client = $Nginx->client(user());
    my $h3 = connected();

    $client->enter;

    for my $path ('/api/token/' . $client->id, '/api/concerts?size=1',
                  "/api/concerts/seats/$Schedule?size=2", '/nowhere',
                  '/api/token/x', '/api/token/events/' . $client->id)
    {
        my $get = $h3->send($client->bytes_of(GET => $path));
        my $head = $h3->send($client->bytes_of(HEAD => $path));

        is $head->status . ' ' . $head->header('Content-Type'),
           $get->status . ' ' . $get->header('Content-Type'),
           "HEAD $path is as GET";
        is $head->body, '', 'without the body';
    }
}


# --- bodies -----------------------------------------------------------------

# The bytes of a charge whose body has a length.
sub charge_of_length {
    my ($client, $amount, $length) = @_;

    my $body = sprintf '{"userId": %d, "amount": %d', $client->id, $amount;
    return $client->bytes_of(PUT => '/api/balance/charge',
        $body . ' ' x ($length - 1 - length $body) . '}');
}

{
    my $client = $Nginx->client(user(0));
    my $h3 = connected();

    for my $case ([40, 1], [40, 2], [40, 40], [3000, 3000], [20000, 100],
                  [65536, 1], [65536, 7], [65536, 64])
    {
        my ($length, $parts) = @$case;

        for my $unsaid ({}, { 'content-length' => undef }) {
            my $before = $client->balance;
            my $bytes = charge_of_length($client, 3, $length);
            my $answer = $h3->send($bytes, parts => $parts,
                                   fields => $unsaid);

            is $answer->status . ' ' . ($client->balance - $before), '200 3',
               "a body of $length bytes in $parts frames"
               . (%$unsaid ? ', its length not told,' : '') . ' is read';
        }
    }

    my $balance = $client->balance;

    for my $length (65537, 70000, 200000) {
        for my $unsaid ({}, { 'content-length' => undef }) {
            is_problem $h3->send(charge_of_length($client, 1, $length),
                                 parts => 9, fields => $unsaid),
                       'body_too_large', "one of $length bytes is too large"
                       . (%$unsaid ? ', its length not told' : '');
        }
    }

    # the client's streams go on until the server refuses what they send
    is_problem $h3->send(charge_of_length($client, 1, 100),
                         fields => { 'content-length' => 200 }),
               'invalid_request', 'so is one that is shorter than it says';
    # 413 from nginx 1.26, 400 from later ones
    like $h3->send(charge_of_length($client, 1, 100),
                   fields => { 'content-length' => 50 })->code,
         qr/^(?:invalid_request|body_too_large)$/, 'or longer';
    is $client->balance, $balance, 'and nothing of these is done';
    serves($h3, 'the connection serves on');

    my ($stream, $body) = $h3->open($client->charge_request(1));
    $h3->body($stream, substr $body, 0, 10);
    serves($h3, 'who sends half a body keeps nobody waiting');
    $h3->body($stream, substr $body, 10);
    $h3->end($stream);
    is $h3->answer($stream)->status, 200, 'and may send the other half later';

    my $key = { 'Idempotency-Key' => 'over-http3-' . $client->id };
    my $with_key = $Nginx->client($client->id, %$key);
    my @answers = map { $h3->send($with_key->charge_request(1), parts => $_) }
                      1, 30;
    is $answers[1]->header('Idempotency-Replayed'), 'true',
       'a repeat is known, however its body comes';
    is $answers[1]->body, $answers[0]->body, 'and answered as the first was';
}


# --- problems ---------------------------------------------------------------

{
    my $user = user();
    my $client = $Nginx->client($user);
    my $h3 = connected();

    is_problem $h3->send($client->bytes_of(GET => '/api/nowhere')),
               'route_not_found', 'a path that is not there';
    is_problem $h3->send($client->bytes_of(GET => '/api/token/007')),
               'invalid_request', 'an id that is none';
    is_problem $h3->send($Nginx->nobody->bytes_of(GET => '/api/reservations')),
               'identity_missing', 'a caller who does not say who it is';
    is_problem $h3->send($client->bytes_of(GET => '/api/concerts')),
               'token_not_active', 'one who is not in';
    is_problem $h3->send($client->bytes_of(POST => '/api/token', '{"userId":')),
               'invalid_request', 'a body that is no JSON';
    is_problem $h3->send($client->bytes_of(POST => '/api/token', '<a/>',
                                           'Content-Type' => 'text/xml')),
               'media_type_unsupported', 'a body of another type';

    my $answer = $h3->send($client->bytes_of(PATCH => '/api/token'));
    is_problem $answer, 'method_not_allowed', 'a method that the route has not';
    is $answer->header('Allow'), 'POST', 'and those that it has';

    is_problem $h3->send($client->bytes_of(TRACE => '/api/token')),
               'method_not_allowed', 'a method that nginx itself refuses';
    is_problem $h3->send($client->bytes_of(POST => '/api/nowhere', 'x' x 70000)),
               'body_too_large', 'a body that nginx itself refuses';
    is_problem $h3->send($client->bytes_of(GET => '/api/concerts', undef,
                                           'If-Match' => 'x"',
                                           Range => 'bytes=0-1')),
               'token_not_active', 'headers that are for others';

    # nginx takes such a stream back before there is a request
    $answer = $h3->send($client->bytes_of(GET => '/healthz', undef,
                                          'X-Large' => 'x' x 40000));
    is $answer->status, 0, 'a header that is too large gets no answer';
    like $answer->{error}, qr/H3_EXCESSIVE_LOAD/, 'but a reason';
    serves($h3, 'and the connection serves on');
}


# --- limits -----------------------------------------------------------------

# limit_req: of the streams of one connection, too.
{
    my ($nginx, $port) = http3(http =>
        'limit_req_zone $concert_user_id zone=user:1m rate=1r/m;',
        server => 'limit_req zone=user burst=2 nodelay;');
    my $user = user();
    my $h3 = H3->new($port);
    my $bytes = $nginx->client($user)->bytes_of(GET => "/api/balance/$user");
    my @streams = map { $h3->ask($bytes) } 1 .. 5;
    my @answers = map { $h3->answer($_) } @streams;

    is join(' ', sort map { $_->status } @answers), '200 200 200 429 429',
       'limit_req limits the streams of a connection';
    is_problem((grep { $_->status == 429 } @answers)[0], 'rate_limited',
               'which are told so');
    $h3->close;
    $nginx->stop;
}

# limit_conn: to it each stream is a connection.
{
    my ($nginx, $port) = http3(http =>
        'limit_conn_zone $concert_user_id zone=user:1m;',
        server => 'limit_conn user 2; limit_conn_status 429;');
    my $user = user(0);
    my $client = $nginx->client($user);
    my $lock = lock_rows("select from concert.accounts
                          where account_id = $user for update");
    my $h3 = H3->new($port);
    my @streams = map { $h3->ask($client->charge_request(1)) } 1, 2;

    is_problem $h3->send($client->charge_request(1)), 'rate_limited',
               'limit_conn limits them, too';
    undef $lock;
    is join(' ', map { $h3->answer($_)->status } @streams), '200 200',
       'those within it are served';
    is $h3->send($client->charge_request(1))->status, 200,
       'and others when they have ended';
    is $client->balance, 3, 'and what was refused is not done';
    $h3->close;
    $nginx->stop;
}


# --- clients that leave -----------------------------------------------------

# The requests of the flow for a user with money and a token: their bytes, how
# often each was done, and what to lock so that it takes as long as one likes.
sub cases {
    my ($user) = users(1, 1000);
    my $client = $Nginx->client($user);
    my $held = hold($user, $Schedule, ++$Seat);
    my $given = hold($user, $Schedule, ++$Seat);
    my $seat = ++$Seat;

    $client->enter;

    return (
        { name => 'reserve', bytes => $client->reserve_request($Schedule, $seat),
          done => "select count(*) from concert.reservations
                   where schedule_id = $Schedule and seat_ids = '{$seat}'",
          lock => "select from concert.seats
                   where schedule_id = $Schedule and seat_id = $seat",
          way => 'POST /api/reservations/seats' },
        { name => 'pay', bytes => $client->pay_request($held, 10),
          done => "select count(*) from concert.all_payments
                   where reservation_id = $held",
          lock => "select from concert.reservations
                   where reservation_id = $held",
          way => 'POST /api/reservations/payments' },
        { name => 'charge', bytes => $client->charge_request(7),
          done => "select count(*) from concert.transfers
                   where credit_account = $user and amount = 7",
          lock => "select from concert.accounts where account_id = $user",
          way => 'PUT /api/balance/charge' },
        { name => 'cancel',
          bytes => $client->bytes_of(DELETE => "/api/reservations/$given"),
          done => "select count(*) from concert.reservations
                   where reservation_id = $given and status = 'CANCELLED'",
          lock => "select from concert.reservations
                   where reservation_id = $given",
          way => "DELETE /api/reservations/$given" },
    );
}

sub times_done {
    return split /\|/, sql('select ' . join ', ', map { "($_->{done})" } @_);
}

sub waits_for_lock {
    my ($function) = @_;

    return sql("select count(*) from pg_stat_activity
                where wait_event_type = 'Lock' and query like '%$function%'
                  and pid <> pg_backend_pid()") > 0;
}

my %Leave = (
    'RESET_STREAM and STOP_SENDING' => sub { $_[0]->reset($_[1]) },
    'STOP_SENDING alone' => sub { $_[0]->stop($_[1]) },
    'the end of the connection' => sub { $_[0]->close },
);

# What nginx's log has as the status of a request that ended so.
my $Left = '(?:499|000)';

# Taken back while it is worked on: the request ends at once, what it asked for
# is done, once.
for my $way (sort keys %Leave) {
    for my $number (0 .. 3) {
        my $case = (cases())[$number];
        my $lock = lock_rows("$case->{lock} for update");
        my $before = ended("^$case->{way} $Left ");
        my $h3 = connected();
        my $stream = $h3->ask($case->{bytes});

        eventually { waits_for_lock($case->{name}) }
                   "$case->{name}: the call runs"
            or diag(explain($h3->{streams}{$stream}));
        $Leave{$way}->($h3, $stream);
        eventually { ended("^$case->{way} $Left ") == $before + 1 }
                   "$case->{name}: the request ends by $way";

        undef $lock;
        $Nginx->settled;
        is_deeply [times_done($case)], [1],
                  "$case->{name}: and is done without the client";
        serves($h3, "$case->{name}: the connection serves on") if $h3->{pid};
    }
}

# A client that vanishes is missed only when the connection has been idle for
# long; what it asked for is done by then.
for my $number (0, 1) {
    my $case = (cases())[$number];
    my $lock = lock_rows("$case->{lock} for update");
    my $h3 = connected();

    $h3->ask($case->{bytes});
    eventually { waits_for_lock($case->{name}) } "$case->{name}: the call runs";
    $h3->vanish;
    undef $lock;
    $Nginx->settled;
    is_deeply [times_done($case)], [1],
              "$case->{name}: is done for a client that has vanished";
}

# Taken back before or amid the body: not done.
for my $number (0 .. 2) {
    my (@cases, $name);
    my $h3 = connected();

    for my $part (0 .. 10) {
        my $case = (cases())[$number];
        my ($stream, $body) = $h3->open($case->{bytes});

        $h3->body($stream, substr $body, 0, length($body) * $part / 11)
            if $part;
        serves($h3, 'half a request is there') if $part == 5;
        $h3->reset($stream);
        $name = $case->{name};
        push @cases, $case;
    }

    serves($h3, "$name: after 11 that were taken back half-sent others are"
                . ' served');
    $Nginx->settled;
    is_deeply [grep { $_ } times_done(@cases)], [],
              "$name: what was taken back half-sent is not done";
}

# Taken back amid an answer that the client does not let in.
for my $way ('RESET_STREAM and STOP_SENDING', 'STOP_SENDING alone') {
    my $client = $Nginx->client(user());
    my $h3 = connected(window => 2000);

    $client->enter;

    my $bytes = $client->bytes_of(
        GET => "/api/concerts/seats/$Schedule?size=500");
    my @streams = map { scalar $h3->open($bytes, later => 1) } 1 .. 20;
    $h3->end($_) for @streams;
    is $client->get('/healthz')->status, 200,
       'others are served while nobody takes 20 large pages';

    my $last = pop @streams;
    $Leave{$way}->($h3, $_) for shuffle @streams;
    $h3->read($last);
    is scalar(() = $h3->answer($last)->body =~ /"seatId"/g), 500,
       "who takes one of 20, and leaves the others by $way, gets it all";
}

# Many on one connection.
for my $way (sort keys %Leave) {
    my @users;

    for my $round (1 .. 4) {
        my $user = user(0);
        my $h3 = connected();
        my $bytes = $Nginx->client($user)->charge_request(1);
        my @streams = map { $h3->ask($bytes) } 1 .. 50;

        push @users, $user;
        serves($h3, '50 charges are there') if $round % 2;

        for my $stream (shuffle @streams) {
            $Leave{$way}->($h3, $stream) if $h3->{pid};
        }

        serves($h3, 'and the connection serves on') if $h3->{pid};
    }

    $Nginx->settled;

    my $users = join ',', @users;
    my ($most, $sum, $transfers) = split /\|/,
        sql("select max(balance), sum(balance),
                    (select count(*) from concert.transfers
                     where credit_account in ($users))
             from concert.accounts where account_id in ($users)");
    cmp_ok $most, '<=', 50, "50 charges that end by $way: none is done twice";
    cmp_ok $most, '>', 0, 'some were done';
    is $transfers, $sum, 'and are in the ledger';
}


# --- events -----------------------------------------------------------------

{
    my ($nginx, $port) = http3(queue => 'capacity=1 poll=100ms ttl=30s');
    my ($ann, $ben, $cy, $dan) = map { $nginx->client(stranger()) } 1 .. 4;
    my $h3 = H3->new($port);
    my $watch = sub {
        my ($client) = @_;
        return $h3->events($client->bytes_of(
            GET => '/api/token/events/' . $client->id));
    };

    $_->enter for $ann, $ben, $cy, $dan;

    my $stream = $watch->($cy);
    is $stream->header('Content-Type'), 'text/event-stream',
       'a stream of events over HTTP/3';
    is $stream->next->{data}{position}, 2, 'begins with the position';

    my @others = map { $watch->($dan) } 1 .. 3;
    is $_->next->{data}{position}, 3, 'others wait behind' for @others;
    is $nginx->metric('concert_event_streams'), 4, 'streams are counted';

    $h3->reset($others[0]{stream});
    eventually { $nginx->metric('concert_event_streams') == 3 }
               'who takes one back is gone at once';
    $h3->stop($others[1]{stream});
    eventually { $nginx->metric('concert_event_streams') == 2 }
               'so is who sends STOP_SENDING alone';

    $ann->leave;
    $ben->token;
    is $stream->next->{data}{position}, 1, 'a position that changes is told';
    $ben->leave;
    my $event = $stream->next;
    is $event->{event}, 'active', 'who is let in is told';
    is $event->{data}{status}, 'ACTIVE', 'with the token';
    ok $stream->ended, 'and that is the end';
    $h3->close;
    eventually { $nginx->metric('concert_event_streams') == 0 }
               'with the connection the last one ends';
    $nginx->stop;
}


# --- reload -----------------------------------------------------------------

{
    my ($nginx, $port) = http3(queue => 'capacity=1 poll=100ms ttl=30s');
    my @clients = map { $nginx->client(stranger()) } 1 .. 8;

    $_->enter for @clients;

    my @watched = map {
        my $client = $_;
        my $h3 = H3->new($port);
        my $stream = $h3->events($client->bytes_of(
            GET => '/api/token/events/' . $client->id));
        $stream->next;
        $stream;
    } @clients[1 .. 7];
    my @old = $nginx->workers;

    $nginx->reload('worker_processes 2', 'worker_processes 2');
    $_->ended for @watched;

    my @retries = map { $_->{text} =~ /^retry: (\d+)$/m ? $1 : () } @watched;
    is @retries, 7, 'a reload ends streams of events, with a time to come again';
    is_deeply [grep { $_ < 500 || $_ >= 5000 } @retries], [],
              'of 0.5 to 5 s';
    my %different = map { ($_ => 1) } @retries;
    cmp_ok keys %different, '>', 1, 'which differs';

    my $h3 = H3->new($port);
    my ($ann, $ben) = @clients;
    is $h3->send($ben->bytes_of(GET => '/api/token/' . $ben->id))
       ->json->{position}, 1, 'who comes again has its place';
    $ann->leave;
    is $h3->events($ben->bytes_of(GET => '/api/token/events/' . $ben->id))
       ->next->{event}, 'active', 'and is let in';

    my $user = user(100);
    my $schedule = schedule(price => 10);
    my $buyer = $nginx->client($user);
    my $held = hold($user, $schedule, 1);
    is $h3->send($buyer->pay_request($held, 10))->json->{status}, 'PAID',
       'flows go on';
    $_->{h3}->close for @watched;

    my %new = map { ($_ => 1) } $nginx->workers;
    ok Concert::is_gone($_), 'an old worker exits' for @old;
    $nginx->stop;
}

# A reload while calls run: they are finished, whoever hears of it.
{
    my ($nginx, $port) = http3();
    my $user = user(0);
    my $client = $nginx->client($user);
    my $lock = lock_rows("select from concert.accounts
                          where account_id = $user for update");
    my @h3 = map { H3->new($port) } 1 .. 4;
    my @streams = map { $_->ask($client->charge_request(1)) } @h3;

    eventually { waits_for_lock('charge') } 'charges run';
    my @old = $nginx->workers;
    $nginx->reload('worker_processes 2', 'worker_processes 2');
    eventually { (grep { my $pid = $_; !grep { $_ == $pid } @old }
                       $nginx->workers) >= 2 } 'new workers are there';
    undef $lock;
    eventually { $client->balance == 4 } 'and are done, once each';
    $_->close for @h3;
    ok Concert::is_gone($_), 'an old worker exits' for @old;
    is $client->balance, 4, 'and nothing is done again';
    $nginx->stop;
}


# --- a worker is killed -----------------------------------------------------

{
    my ($nginx, $port) = http3();
    my $user = user(0);
    my $client = $nginx->client($user);
    my $before = H3->new($port);

    is $before->send($client->charge_request(1))->status, 200,
       'a charge before workers die';
    $nginx->kill_workers;
    eventually { $nginx->workers == 2 } 'there are others';

    my $h3 = H3->new($port);
    is $h3->send($client->charge_request(1))->status, 200,
       'a new connection is served by the next worker';
    is $client->balance, 2, 'and nothing is lost';
    $before->vanish;
    $nginx->quit;
}


is sql('select sum(broken) from concert.violations()'), 0,
   'no rule is broken';

eventually { $Nginx->descriptors <= $Descriptors } 'no descriptor is left';

$Nginx->stop;

done_testing();
