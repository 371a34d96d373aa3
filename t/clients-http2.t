# Clients that leave over HTTP/2, where a request can be taken back while others
# on the same connection go on: at every stage of a request, many at once, and
# with the whole connection. What they asked for is done once or not at all,
# others are served, and nothing is left behind.

use strict;
use warnings;

use File::Temp ();
use List::Util qw( shuffle );
use Test::More;
use Time::HiRes qw( sleep );

use Concert;
use H2;

my $Directory = File::Temp->newdir;
my $Path = "$Directory/h2.sock";
my $Nginx = nginx(workers => 2, server => "listen unix:$Path http2;");
my $Schedule = schedule(seats => 5000, price => 10);
my $Seat = 0;

sub connected { return H2->new($Path, @_) }

# The requests of the flow for a user with money and a token: their bytes, how
# often each was done, and what to lock so that it takes as long as one likes.
sub cases {
    my ($user) = users(1, 1000);
    my $client = $Nginx->client($user);
    my $held = hold($user, $Schedule, ++$Seat);
    my $seat = ++$Seat;

    $client->enter;

    return (
        { name => 'charge', bytes => $client->charge_request(7),
          done => "select count(*) from concert.transfers
                   where credit_account = $user and amount = 7",
          lock => "select from concert.accounts where account_id = $user" },
        { name => 'reserve', bytes => $client->reserve_request($Schedule, $seat),
          done => "select count(*) from concert.reservations
                   where schedule_id = $Schedule and seat_ids = '{$seat}'",
          lock => "select from concert.seats
                   where schedule_id = $Schedule and seat_id = $seat" },
        { name => 'pay', bytes => $client->pay_request($held, 10),
          done => "select count(*) from concert.all_payments
                   where reservation_id = $held",
          lock => "select from concert.reservations
                   where reservation_id = $held" },
    );
}

# How often each of some cases was done.
sub times_done {
    return split /\|/, sql('select ' . join ', ', map { "($_->{done})" } @_);
}

sub waits_for_lock {
    my ($function) = @_;

    return sql("select count(*) from pg_stat_activity
                where wait_event_type = 'Lock' and query like '%$function%'
                  and pid <> pg_backend_pid()") > 0;
}

# Anybody is served on this connection, or on a new one.
sub serves {
    my ($h2, $title) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $stream = $h2->ask($Nginx->nobody->bytes_of(GET => '/healthz'));
    is $h2->answer($stream)->{status}, 200, $title;
}

$Nginx->settled;
my $Descriptors = $Nginx->descriptors_at_rest;
cmp_ok $Descriptors, '>', 10, 'the descriptors of the workers are seen';

# Nobody leaves.
for my $case (cases()) {
    my $h2 = connected();
    is $h2->answer($h2->ask($case->{bytes}))->{status}, 200,
       "$case->{name} over HTTP/2";
    is_deeply [times_done($case)], [1], 'is done once';
}

# Taken back before or amid the body: not done.
for my $number (0 .. 2) {
    my (@cases, $name);
    my $h2 = connected();

    for my $part (0 .. 20) {
        my $case = (cases())[$number];
        my (undef, $body) = H2::fields($case->{bytes});
        my $stream = $h2->open($case->{bytes});

        $h2->body($stream, substr $body, 0, length($body) * $part / 21)
            if $part;
        $h2->is_there if $part % 2;
        $h2->reset($stream);
        $name = $case->{name};
        push @cases, $case;
    }

    serves($h2, "$name: after 21 that were taken back half-sent others are"
                . ' served');
    $Nginx->settled;
    is_deeply [grep { $_ } times_done(@cases)], [],
              "$name: what was taken back half-sent is not done";
}

# Taken back while it is worked on: done, once.
for my $number (0 .. 2) {
    my $case = (cases())[$number];
    my $lock = lock_rows("$case->{lock} for update");
    my $h2 = connected();
    my $stream = $h2->ask($case->{bytes});

    eventually { waits_for_lock($case->{name}) }
               "$case->{name}: the call runs";
    $h2->reset($stream);
    serves($h2, "$case->{name}: who takes it back is served otherwise");

    undef $lock;
    $Nginx->settled;
    is_deeply [times_done($case)], [1],
              "$case->{name}: what was worked on is finished without the client";
    serves($h2, "$case->{name}: and then, too");
}

# Taken back during the answer, which the client does not let in.
for my $number (0 .. 2) {
    my $case = (cases())[$number];
    my $h2 = connected(window => 0);
    my $stream = $h2->ask($case->{bytes});

    is $h2->begins($stream), 200, "$case->{name}: the answer begins";
    $h2->reset($stream);
    ok $h2->is_there, "$case->{name}: taken back amid the answer";
    is_deeply [times_done($case)], [1], "$case->{name}: is done once";
}

# The same with a page that is larger than any buffer, bit by bit.
{
    my $client = $Nginx->client(user());
    my $bytes = $client->bytes_of(
        GET => "/api/concerts/seats/$Schedule?size=500");
    my $h2 = connected(window => 0);
    my @streams;

    $client->enter;

    for my $n (1 .. 20) {
        my $stream = $h2->ask($bytes);
        is $h2->begins($stream), 200, 'a large page begins' if $n == 1;
        $h2->widen($stream, 100 * $n);
        push @streams, $stream;
    }

    is $client->get('/healthz')->status, 200,
       'others are served while nobody takes 20 large pages';

    my $last = pop @streams;
    $h2->is_there;
    $h2->reset($_) for shuffle @streams;
    $h2->widen($last, 1 << 20);
    is scalar(() = $h2->answer($last)->{body} =~ /"seatId"/g), 500,
       'who takes one of 20 and leaves the others gets it all';
}

# Many on one connection, taken back in a burst or with the connection, some in
# the same write as the requests.
my %Leave = (
    'reset' => sub { my ($h2, @streams) = @_;
                     $h2->reset($_) for shuffle @streams },
    'reset, and reset again' => sub {
                     my ($h2, @streams) = @_;
                     $h2->reset($_) for shuffle @streams, @streams },
    'reset after GOAWAY' => sub { my ($h2, @streams) = @_;
                     $h2->goaway;
                     $h2->reset($_) for @streams },
    'given up by GOAWAY' => sub { $_[0]->goaway },
    'cut off' => sub { },
);

for my $way (sort keys %Leave) {
    my (@users, @open);

    for my $round (1 .. 12) {
        my $user = user(0);
        my $h2 = connected();
        my $bytes = $Nginx->client($user)->charge_request(1);

        $h2->cork if $round % 2;
        my @streams = map { $h2->ask($bytes) } 1 .. 100;
        sleep rand 0.01 if $round % 3 == 0;
        $Leave{$way}->($h2, @streams);
        $h2->flush if $round % 2;
        push @users, $user;

        if ($round % 4 < 2 || $way eq 'cut off') {
            $h2->slam;
        } else {
            push @open, $h2;
        }
    }

    # all that was sent is read
    $_->is_there for @open;
    $Nginx->settled;

    my $users = join ',', @users;
    my ($least, $most, $sum, $transfers) = split /\|/,
        sql("select min(balance), max(balance), sum(balance),
                    (select count(*) from concert.transfers
                     where credit_account in ($users))
             from concert.accounts where account_id in ($users)");
    note("between $least and $most of 100 were done");
    cmp_ok $most, '<=', 100, "100 charges that are $way: none is done twice";
    cmp_ok $most, '>', 0, "100 charges that are $way: some were under way";
    is $transfers, $sum,
       "100 charges that are $way: what was done is in the ledger";
    is $Nginx->nobody->get('/healthz')->status, 200, 'others are served';
}

# A connection that goes on after 100 were taken back serves.
{
    my $user = user(0);
    my $h2 = connected();
    my $bytes = $Nginx->client($user)->charge_request(1);
    my @streams = map { $h2->ask($bytes) } 1 .. 100;

    my @kept = splice @streams, 0, 10;
    $h2->reset($_) for shuffle @streams;
    my @answers = map { $h2->answer($_)->{status} } @kept;

    is_deeply \@answers, [(200) x 10],
              'of 100 charges those are answered that were not taken back';
    serves($h2, 'and the connection serves on');

    $Nginx->settled;
    my $balance = $Nginx->client($user)->balance;
    cmp_ok $balance, '>=', 10, 'what was answered is done';
    cmp_ok $balance, '<=', 100, 'and none twice';
}

# Cut at any byte of preface, headers and body.
for my $number (0 .. 2) {
    my (@cases, @open, $name);
    my $length = length(H2::preface(0)) + length H2::request(1,
                                              (cases())[$number]{bytes});

    for (my $at = 0; $at < $length; $at += 7) {
        my $case = (cases())[$number];
        my $socket = IO::Socket::UNIX->new(Peer => $Path) // die $!;
        my $all = H2::preface(0) . H2::request(1, $case->{bytes});

        syswrite $socket, substr $all, 0, $at if $at;
        push @open, $socket;
        push @cases, $case if $at < length $all;
        $name = $case->{name};
    }

    close $_ for shuffle @open;
    $Nginx->settled;
    is_deeply [grep { $_ } times_done(@cases)], [],
              "$name: half a request over HTTP/2 is not done";
}

# Frames for streams that have ended, or never were.
{
    my $client = $Nginx->client(user(0));
    my $bytes = $client->charge_request(1);
    my (undef, $body) = H2::fields($bytes);

    for my $wrong (
        sub { my ($h2, $stream) = @_; $h2->body($stream, $body, 1) },
        sub { my ($h2, $stream) = @_; $h2->widen($stream, 1) },
        sub { my ($h2, $stream) = @_; $h2->reset($stream + 2) },
        sub { my ($h2, $stream) = @_; $h2->widen($stream, 0) },
        sub { my ($h2, $stream) = @_; $h2->write(H2::request($stream, $bytes)) },
    ) {
        my $h2 = connected();
        my $stream = $h2->ask($bytes);
        $h2->reset($stream);
        $wrong->($h2, $stream);
        $h2->is_there;
        $h2->slam;
    }

    $Nginx->settled;
    cmp_ok $client->balance, '<=', 5,
           'frames for a stream that was taken back do nothing again';
}

is sql('select sum(broken) from concert.violations()'), 0,
   'no rule is broken';

eventually { $Nginx->descriptors <= $Descriptors } 'no connection is left';

$Nginx->stop;

done_testing();
