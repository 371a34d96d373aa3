# Idempotency-Key: the same request again is answered as the first time, and
# done once.

use strict;
use warnings;

use JSON::PP qw( encode_json );
use Test::More;

use Concert;

my $Proof = 'select sum(broken) from concert.violations()';

my $nginx = nginx(workers => 2);

# One request of each route: its bytes, and how often it was done.
sub charging {
    my ($user, $amount) = @_;

    return { body => { userId => 0 + $user, amount => $amount // 500 },
             to => [PUT => '/api/balance/charge'],
             done => sub { sql("select count(*) from concert.transfers
                                where credit_account = $user") } };
}

sub reserving {
    my ($user, $schedule, @seats) = @_;

    return { body => { userId => 0 + $user,
                       concertId => 0 + concert_of($schedule),
                       scheduleId => 0 + $schedule, seatIdList => [@seats] },
             to => [POST => '/api/reservations/seats'],
             done => sub { sql("select count(*) from concert.reservations
                                where user_id = $user") } };
}

sub paying_for {
    my ($user, $reservation, $amount) = @_;

    return { body => { userId => 0 + $user, amount => $amount // 1000,
                       reservationId => 0 + $reservation },
             to => [POST => '/api/reservations/payments'],
             done => sub { sql("select count(*) from concert.all_payments
                                where user_id = $user") } };
}

sub bytes_of {
    my ($user, $request, $key, $body) = @_;

    return $nginx->client($user)->bytes_of(
        @{ $request->{to} }, $body // $request->{body},
        defined $key ? ('Idempotency-Key' => $key) : ());
}

sub ask { return ($nginx->together(bytes_of(@_)))[0] }

sub is_repeat {
    my ($answer, $first, $title) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    is_deeply [ $answer->status, $answer->body,
                $answer->header('Idempotency-Replayed') ],
              [ $first->status, $first->body, 'true' ], $title;
}

# A user with money who may reserve.
sub buyer {
    my $user = user($_[0] // 100_000);

    $nginx->client($user)->enter;
    return $user;
}

sub each_route {
    my ($check) = @_;

    my $user = user(0);
    $check->('charge', $user, charging($user));

    $user = buyer();
    $check->('reserve', $user, reserving($user, schedule(), 1, 2));

    $user = user(100_000);
    $check->('pay', $user, paying_for($user, hold($user, schedule(), 1)));
}

each_route(sub {
    my ($route, $user, $request) = @_;
    my $before = $request->{done}->();

    my $first = ask($user, $request, 'a-key');
    is $first->status, 200, "$route: a request with a key is done";
    is $first->header('Idempotency-Replayed'), undef,
       "$route: and is no repeat";

    is_repeat(ask($user, $request, 'a-key'), $first,
              "$route: its repeat is answered alike");
    is_repeat(ask($user, $request, '"a-key"'), $first,
              "$route: and in quotes it is the same key");

    my $text = join ', ', map { "\"$_\" : " . encode_json(
                                                  $request->{body}{$_}) }
                          reverse sort keys %{ $request->{body} };
    is_repeat(ask($user, $request, 'a-key', "{ $text }"), $first,
              "$route: and in another order, with other spaces, the same body");

    is $request->{done}->(), $before + 1, "$route: it was done once";

    my $other = { %{ $request->{body} }, note => 1 };
    my $answer = ask($user, $request, 'a-key', $other);
    is_problem($answer, 'idempotency_key_reused',
               "$route: another body with this key is refused");
    is $answer->header('Idempotency-Replayed'), undef,
       "$route: which is no repeat";
    is $request->{done}->(), $before + 1, "$route: and not done";
});

{
    my ($ann, $bob) = users(2, 0);

    ask($ann, charging($ann), 'same');
    is ask($bob, charging($bob), 'same')->header('Idempotency-Replayed'), undef,
       'a key is one user\'s';
    is $nginx->client($bob)->balance, 500, 'and another user\'s is done';

    my $schedule = schedule();
    my $user = buyer();
    ask($user, charging($user), 'same');
    is ask($user, reserving($user, $schedule, 1), 'same')->status, 200,
       'a key is for one route';
}

{
    my $user = buyer(0);
    my $held = hold($user, schedule(price => 1000), 1);
    my $paying = paying_for($user, $held);

    my $first = ask($user, $paying, 'poor');
    is_problem($first, 'insufficient_balance', 'a refusal is an answer');
    ask($user, charging($user, 5000));
    is_repeat(ask($user, $paying, 'poor'), $first,
              'which is given again when it would succeed by now');
    is ask($user, $paying, 'richer')->status, 200, 'a new key is a new attempt';
}

{
    my $schedule = schedule();
    my ($ann, $bob) = map { buyer() } 1 .. 2;

    ask($ann, reserving($ann, $schedule, 1, 3));
    my $wanted = reserving($bob, $schedule, 1, 2, 3);
    my $first = ask($bob, $wanted, 'taken');

    is_problem($first, 'seat_taken', 'who comes late is told so',
               { seatIdList => [1, 3] });
    is_repeat(ask($bob, $wanted, 'taken'), $first,
              'and again, with the seats that were taken');
}

# The token may have ended when a request is repeated.
{
    my $user = buyer();
    my $schedule = schedule();
    my $wanted = reserving($user, $schedule, 1);
    my $client = $nginx->client($user);

    my $first = ask($user, $wanted, 'then');
    $client->leave;

    is_repeat(ask($user, $wanted, 'then'), $first,
              'a repeat is answered without a token');
    is_problem(ask($user, reserving($user, $schedule, 2), 'now'),
               'token_not_active', 'anything new is not');

    $client->enter;
    is ask($user, reserving($user, $schedule, 2), 'now')->status, 200,
       'and may be asked again with a token: no decision was taken';
}

# What says "later" is not remembered.
{
    my $user = user(100_000);
    my $busy = paying($user, schedule(), 1);

    for my $time (qw( once again )) {
        my $answer = ask($user, paying_for($user, $busy), 'soon');
        is_problem($answer, 'payment_in_progress', "a payment under way: $time");
        is $answer->header('Idempotency-Replayed'), undef, 'is looked at anew';
    }
}

# A repeated payment does not end the token of a later visit.
{
    my $user = buyer();
    my $paying = paying_for($user, hold($user, schedule(), 1));
    my $client = $nginx->client($user);

    ask($user, $paying, 'paid');
    ok !$client->is_active, 'a payment ends the token';

    $client->enter;
    is ask($user, $paying, 'paid')->header('Idempotency-Replayed'), 'true',
       'a payment is repeated';
    ok $client->is_active, 'a repeat does not end the next token';
}

{
    my $user = user(0);
    my $charging = charging($user);

    ask($user, $charging, 'old');
    sql("update concert.idempotency_keys
         set created_at = created_at - interval '25 hours'
         where user_id = $user");

    is ask($user, $charging, 'old')->header('Idempotency-Replayed'), undef,
       'a key is forgotten after 24 hours';
    is $nginx->client($user)->balance, 1000, 'and its request is done again';
    is ask($user, $charging, 'old')->header('Idempotency-Replayed'), 'true',
       'once';

    sql("update concert.idempotency_keys
         set created_at = created_at - interval '25 hours'
         where user_id = $user");
    eventually {            # nginx may be about to, and has them locked
        sql('select purged from concert.purge_keys(1000000)');
        sql("select count(*) from concert.idempotency_keys
             where user_id = $user") == 0;
    } 'old keys are purged';
}

for my $case (['nothing', ''], ['nothing in quotes', '""'],
              ['a space', 'a b'], ['what is not ASCII', "k\xc3\xa4"],
              ['a control character', "a\tb"],
              ['more than 255 characters', 'k' x 256])
{
    my ($what, $key) = @$case;
    my $user = user(0);
    my $answer = ask($user, charging($user), $key);

    is_problem($answer, 'invalid_request', "$what is no key",
               { field => 'Idempotency-Key' });
}

for my $key ('k' x 255, '"' . 'k' x 255 . '"', '!', '"', '\\', '{a,b}',
             q(it's"a\\key"), 'null', '1')
{
    my $user = user(0);
    my $first = ask($user, charging($user), $key);

    is $first->status, 200, "a key: $key";
    is_repeat(ask($user, charging($user), $key), $first, 'which is found again');
}

{
    my $user = user(0);
    my $bytes = bytes_of($user, charging($user), 'once');
    $bytes =~ s/\r\n/\r\nIdempotency-Key: twice\r\n/;

    is_problem(($nginx->together($bytes))[0], 'invalid_request',
               'two keys are refused', { field => 'Idempotency-Key' });
}

# Many at once.
each_route(sub {
    my ($route, $user, $request) = @_;
    my $before = $request->{done}->();
    my $bytes = bytes_of($user, $request, 'storm');
    my %count;

    for my $answer ($nginx->together(($bytes) x 32)) {
        my $kind = $answer->status == 200
                   ? $answer->header('Idempotency-Replayed') ? 'repeat' : 'done'
                   : $answer->code;
        $count{$kind}++;
    }

    is $count{done}, 1, "$route: of 32 with one key at once one is done";
    is $count{done} + ($count{repeat} // 0) + ($count{request_in_progress} // 0),
       32, "$route: and the others are repeats, or told to wait";
    is $request->{done}->(), $before + 1, "$route: the database says so, too";
    is ask($user, $request, 'storm')->header('Idempotency-Replayed'), 'true',
       "$route: and afterwards it is a repeat";
});

each_route(sub {
    my ($route, $user, $request) = @_;
    my $before = $request->{done}->();
    my %count;

    my @answers = $nginx->together(
        map { bytes_of($user, $request, 'mixed', { %{ $request->{body} },
                                                    note => $_ % 2 }) } 1 .. 32);

    for my $answer (@answers) {
        $count{ $answer->status == 200 ? 'ok' : $answer->code }++;
    }

    delete $count{request_in_progress};
    is $request->{done}->(), $before + 1,
       "$route: of 32 with two bodies and one key one is done";
    is_deeply [ grep { !/^(?:ok|idempotency_key_reused)$/ } keys %count ], [],
              "$route: and nobody meets anything else";
});

is sql($Proof), 0, 'no rule is broken';

$nginx->stop;

# What was not decided is not remembered.
{
    my $user = user(0);
    my $broken = nginx(http => 'concert_postgres '
                               . '"host=/nowhere dbname=concert" write=1;');
    my $request = charging($user);
    my $answer = $broken->client($user)->ask(
        @{ $request->{to} }, $request->{body}, 'Idempotency-Key' => 'later');

    is $answer->status, 503, 'while the database is away nothing is done';
    $broken->quit;

    my $mended = nginx();
    $answer = $mended->client($user)->ask(
        @{ $request->{to} }, $request->{body}, 'Idempotency-Key' => 'later');
    is $answer->status, 200, 'the same request is done when it is back';
    is $answer->header('Idempotency-Replayed'), undef, 'and is no repeat';
    $mended->stop;
}

done_testing();
