# Clients that leave at any byte, close one half, read or write slowly, or send
# everything at once: what they asked for is done once or not at all, others
# are served meanwhile, and nothing is left behind.

use strict;
use warnings;

use IO::Select;
use List::Util qw( shuffle );
use Socket qw( SOL_SOCKET SO_LINGER SO_RCVBUF );
use Test::More;
use Time::HiRes qw( sleep );

use Concert;

my $Nginx = nginx(workers => 2, http => 'keepalive_timeout 5s;');
my $Schedule = schedule(seats => 5000, price => 10);
my $Seat = 0;

# Ends a connection without goodbye: RST.
sub slam {
    my ($socket) = @_;

    setsockopt $socket, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0);
    close $socket;
}

# Sends the bytes and reads no answer.
sub sent {
    my ($bytes) = @_;
    return $Nginx->begin($bytes);
}

# The requests of the flow for a user with money and a token, and how often each
# was done.
sub cases {
    my ($user) = users(1, 1000);
    my $client = $Nginx->client($user);
    my $held = hold($user, $Schedule, ++$Seat);
    my $seat = ++$Seat;

    $client->enter;

    return (
        [charge => $client->charge_request(7),
         "select count(*) from concert.transfers
          where credit_account = $user and amount = 7"],
        [reserve => $client->reserve_request($Schedule, $seat),
         "select count(*) from concert.reservations
          where schedule_id = $Schedule and seat_ids = '{$seat}'"],
        [pay => $client->pay_request($held, 10),
         "select count(*) from concert.all_payments where reservation_id = $held"],
    );
}

# all lanes have connected
$Nginx->settled;
my $Descriptors = $Nginx->descriptors_at_rest;
cmp_ok $Descriptors, '>', 10, 'the descriptors of the workers are seen';

# Leaving while the request is sent: it is done only if it was all there.
for my $number (0 .. 2) {
    my ($name, $bytes) = @{ (cases())[$number] };
    my (@open, @queries, @title);

    for (my $at = 0; $at < length $bytes; $at += 17) {
        my (undef, $bytes, $query) = @{ (cases())[$number] };
        push @open, sent(substr $bytes, 0, $at);
        push @queries, "($query)";
    }

    $_ % 2 ? slam($open[$_]) : close $open[$_] for 0 .. $#open;
    $Nginx->settled;

    is_deeply [ grep { $_ > 0 } split /\|/, sql('select ' . join ', ',
                                                @queries) ], [],
              "$name: half a request is not done";
}

# Leaving after it was sent: done once or not at all, never halfway.
for my $way ([closes => sub { close $_[0] }], [resets => \&slam]) {
    my ($what, $leave) = @$way;
    my %done;

    for my $round (1 .. 30) {
        for my $case (shuffle(cases())) {
            my ($name, $bytes, $query) = @$case;
            my $socket = sent($bytes);
            sleep rand 0.004 if $round % 3;
            $leave->($socket);
            push @{ $done{$name} }, "($query)";
        }
    }

    $Nginx->settled;

    for my $name (sort keys %done) {
        my @times = split /\|/, sql('select ' . join ', ', @{ $done{$name} });
        is_deeply [ grep { $_ > 1 } @times ], [],
                  "$name: a client who $what has it done at most once";
        cmp_ok scalar(grep { $_ == 1 } @times), '>', 0,
               "$name: work that began is finished without the client";
    }
}

# A client may say that it will send nothing more, and still gets its answer or
# is treated as gone; nginx decides which, and the work is done once.
for my $case (cases()) {
    my ($name, $bytes, $query) = @$case;
    my $socket = sent($bytes);
    shutdown $socket, 1;

    my $answer = Concert::Answer->new($socket);
    like $answer->status, qr/^(?:200|0)$/, "$name: a half-closed client";
    eventually { sql($query) <= 1 } "$name: is served at most once";
}

# Slow senders: a byte now and then.
{
    my ($name, $bytes, $query) = @{ (cases())[0] };
    my $socket = $Nginx->connect;

    for my $byte (split //, $bytes) {
        syswrite $socket, $byte;
        sleep 0.001;
    }

    is(Concert::Answer->new($socket)->status, 200,
       'who sends a byte at a time is served');
    is sql($query), 1, 'once';
}

# Slow readers: a page that does not fit, and nobody who takes it.
{
    my $user = user();
    my $client = $Nginx->client($user);
    my $last = $client->bytes_of(
        GET => "/api/concerts/seats/$Schedule?size=500");
    my $bytes = $last =~ s/Connection: close/X-A: b/r;
    my @open;

    $client->enter;

    for (1 .. 20) {
        my $socket = $Nginx->connect;
        setsockopt $socket, SOL_SOCKET, SO_RCVBUF, 1024;
        syswrite $socket, $bytes x 7 . $last;
        push @open, $socket;
    }

    is $client->get("/api/balance/$user")->status, 200,
       'others are served while nobody reads 20 large pages';

    my $socket = shift @open;
    my $text = '';
    while (sysread $socket, my $part, 512) { $text .= $part }
    is scalar(() = $text =~ /HTTP.1\.1 200 /g), 8, 'who reads slowly';
    is scalar(() = $text =~ /"seatId"/g), 8 * 500, 'gets it all';

    slam($_) for @open;
    $Nginx->settled;
}

# Many requests in one go, on one connection.
{
    my $user = user(0);
    my $client = $Nginx->client($user);
    my $bytes = $client->charge_request(1) =~ s/Connection: close/X-A: b/r;
    my $last = $client->charge_request(1);

    my $socket = sent($bytes x 49 . $last);
    my $text = do { local $/; <$socket> };
    my @amounts = $text =~ /"amount":(\d+)/g;

    is_deeply \@amounts, [1 .. 50],
              '50 charges in one go are done one after the other';
    is $client->balance, 50, 'and each once';

    # and one who does so and leaves
    slam(sent($bytes x 50));
    $Nginx->settled;
    my $balance = $client->balance;
    cmp_ok $balance, '>=', 50, 'who sends 50 and leaves';
    cmp_ok $balance, '<=', 100, 'has none done twice';
}

# Nothing sent at all, many times.
{
    my @open = map { $Nginx->connect } 1 .. 100;
    is $Nginx->nobody->get('/healthz')->status, 200,
       'a hundred who say nothing do not matter';
    slam($_) for @open;
}

$Nginx->settled;

is sql('select sum(broken) from concert.violations()'), 0,
   'no rule is broken';

eventually { $Nginx->descriptors <= $Descriptors } 'no connection is left';

$Nginx->stop;

done_testing();
