# Many clients do at random what can be done with few seats and few accounts.
# What each asked, was told, and when, is written down; afterwards every seat
# and every account must have had a history that one client alone could have
# made: linearizability.

use strict;
use warnings;

use JSON::PP ();
use POSIX ();
use Test::More;
use Time::HiRes qw( clock_gettime CLOCK_MONOTONIC );

use Concert;
use Linear qw( linearizable );

my $Clients = 8;
my $Each = $ENV{ROUNDS} // 60;
my $Money = 3000;
my $Price = 1000;
my $Json = JSON::PP->new->canonical;

my $Nginx = nginx(workers => 2);
my $Schedule = schedule(seats => 4, price => $Price);
my $Concert = concert_of($Schedule);
my @Users = users(3, $Money);


# --- the models -------------------------------------------------------------

# A seat is "free", "held <reservation>" or "sold <reservation>".
sub seat {
    my ($state, $did) = @_;
    my ($what, $told) = @$did{qw( what told )};

    if ($what eq 'reserve') {
        return $told =~ /^held/ ? $state eq 'free' ? $told : undef
             : $state ne 'free' ? $state : undef;
    }

    my $id = $did->{reservation};

    return $state eq "held $id" ? "sold $id" : undef if $told eq 'paid';
    return $state eq "held $id" ? 'free' : undef if $told eq 'cancelled';
    return $state eq "sold $id" ? $state : undef if $told eq 'reservation_paid';
    return $state eq "held $id" ? $state : undef
        if $told eq 'insufficient_balance';
    return $state ne "held $id" ? $state : undef
        if $told eq 'reservation_cancelled';

    return undef;
}

# An account is its balance.
sub account {
    my ($state, $did) = @_;
    my ($what, $told) = @$did{qw( what told )};

    if ($what eq 'charge') {
        return $state + $did->{amount} == $told ? $told : undef;
    }

    return $state == $told ? $state : undef if $what eq 'balance';
    return $state >= $Price ? $state - $Price : undef if $told eq 'paid';

    return $state < $Price ? $state : undef;
}


# --- the clients ------------------------------------------------------------

my $Turn = 0;

# Does one thing at random; returns what is to be written down.
sub one {
    my ($held) = @_;

    my $user = $Users[rand @Users];
    my $client = $Nginx->client($user);
    my $dice = rand;

    if ($dice < 0.15) {
        my $amount = 1 + int rand 900;
        my $did = { what => 'charge', user => $user, amount => $amount };
        my $answer = timed($did, sub { $client->charge($amount) });
        return { %$did, told => told($answer, sub { $_[0]{amount} }) };
    }

    if ($dice < 0.3) {
        my $did = { what => 'balance', user => $user };
        my $answer = timed($did, sub { $client->get("/api/balance/$user") });
        return { %$did, told => told($answer, sub { $_[0]{amount} }) };
    }

    if (@$held && $dice < 0.75) {
        my ($owner, $seat, $id) = @{ $held->[rand @$held] };
        my $pays = $Turn++ % 3 == 2;        # both happen in every run
        my $did = { what => $pays ? 'pay' : 'cancel', user => $owner,
                    seat => $seat, reservation => $id };
        my $answer = timed($did, sub {
            my $its = $Nginx->client($owner);
            return $pays ? $its->pay($id, $Price)
                         : $its->delete("/api/reservations/$id");
        });

        # cancelling again is no error and changes nothing
        @$held = grep { $_->[2] != $id } @$held if !$pays;
        return { %$did, told => $answer->status == 204 ? 'cancelled'
                              : told($answer, sub { 'paid' }) };
    }

    my $seat = 1 + int rand 4;
    $client->enter;

    my $did = { what => 'reserve', user => $user, seat => $seat };
    my $answer = timed($did, sub {
        $client->post('/api/reservations/seats', {
            userId => 0 + $user, concertId => 0 + $Concert,
            scheduleId => 0 + $Schedule, seatIdList => [$seat] });
    });
    my $told = told($answer, sub { "held $_[0]{reservationId}" });

    push @$held, [$user, $seat, $1] if $told =~ /^held (\d+)/;

    return { %$did, told => $told };
}

sub timed {
    my ($did, $ask) = @_;

    $did->{from} = clock_gettime(CLOCK_MONOTONIC);
    my $answer = $ask->();
    $did->{to} = clock_gettime(CLOCK_MONOTONIC);

    return $answer;
}

sub told {
    my ($answer, $good) = @_;

    return $answer->status == 200 ? $good->($answer->json)
                                  : $answer->code || $answer->status;
}

# Runs them all at once; returns what they did.  They do not ask the database:
# they would share one connection.
sub run {
    my @pipes;

    for my $client (1 .. $Clients) {
        pipe my $out, my $in or die "pipe: $!";
        my $pid = fork // die "fork: $!";

        if ($pid == 0) {
            srand $client + time;
            my @held;
            print $in $Json->encode(one(\@held)), "\n" for 1 .. $Each;
            close $in;
            POSIX::_exit(0);
        }

        push @pipes, [$out, $pid];
    }

    my @history;

    for (@pipes) {
        my ($out, $pid) = @$_;
        push @history, map { $Json->decode($_) } <$out>;
        waitpid $pid, 0;
    }

    return @history;
}


# --- the checker itself -----------------------------------------------------

sub did { my ($what, $told, $from, $to, %more) = @_;
          return { what => $what, told => $told, from => $from, to => $to,
                   %more } }

ok linearizable(\&seat, 'free', did(reserve => 'held 1', 1, 4),
                                did(reserve => 'seat_taken', 2, 3)),
   'who is refused while another is served: that may be';
ok !linearizable(\&seat, 'free', did(reserve => 'held 1', 3, 4),
                                 did(reserve => 'seat_taken', 1, 2)),
   'who is refused before anybody asked: that may not be';
ok !linearizable(\&seat, 'free', did(reserve => 'held 1', 1, 4),
                                 did(reserve => 'held 2', 2, 3)),
   'two who hold one seat: that may not be';
ok linearizable(\&account, 5, did(charge => 9, 1, 4, amount => 1),
                              did(charge => 8, 2, 3, amount => 3)),
   'charges at once have an order';
ok !linearizable(\&account, 5, did(charge => 9, 1, 2, amount => 1),
                               did(charge => 8, 3, 4, amount => 3)),
   'and not one against the time';
ok !linearizable(\&account, 5, did(charge => 8, 1, 2, amount => 3),
                               did(balance => 5, 3, 4)),
   'a balance is not of the past';


# --- the history ------------------------------------------------------------

my @history = run();

is scalar @history, $Clients * $Each, 'every request was answered';
is_deeply [ grep { $_->{told} =~ /^5\d\d$|away|unavail|overl|timeout/ }
                 @history ], [], 'and none by an error';

my %count;
$count{ "$_->{what} " . ($_->{told} =~ s/\d+/n/r) }++ for @history;
note join "\n", map { "$_: $count{$_}" } sort keys %count;

# a token that a payment of the same user's ended
my @real = grep { $_->{told} ne 'token_not_active' } @history;

for my $seat (1 .. 4) {
    ok linearizable(\&seat, 'free',
                    grep { ($_->{seat} // 0) == $seat } @real),
       "seat $seat has a history that one client could have made";
}

for my $user (@Users) {
    ok linearizable(\&account, $Money,
           grep { $_->{user} == $user
                  && ($_->{what} =~ /^(?:charge|balance)$/
                      || $_->{told} =~ /^(?:paid|insufficient_balance)$/) }
                @real),
       "account $user has a history that one client could have made";
}

cmp_ok $count{'pay paid'} // 0, '>', 0, 'something was paid';
cmp_ok $count{'cancel cancelled'} // 0, '>', 0, 'something was cancelled';
is sql('select sum(broken) from concert.violations()'), 0,
   'no rule is broken';

$Nginx->stop;

done_testing();
