# A connection to PostgreSQL that is cut at any byte of a request's exchange:
# nothing is done twice, nothing is lost, and the client is told the truth.

use strict;
use warnings;

use Test::More;

use Concert;
use Proxy;

my ($pg) = $ENV{TEST_NGINX_CONCERT_PG} =~ m{\bhost=(/\S+)};

plan skip_all => 'PostgreSQL is not reached by a socket' if !$pg;

my $Never = 1_000_000;
my $Proxy = Proxy->new("$pg/.s.PGSQL.5432");
my $Directory = $Proxy->directory;
my $Nginx = nginx(http => "concert_postgres \"$ENV{TEST_NGINX_CONCERT_PG} "
                          . "host=$Directory\" read=1 write=1;");

my $Schedule = schedule(seats => 5000, price => 10);
my $Seat = 0;
my $User = user(1_000_000);
my $Client = $Nginx->client($User);

# One new request: its bytes, and a query that says how often it was done.
my %Fresh = (
    charge => sub {
        my $user = user(0);
        return ($Nginx->client($user)->charge_request(7),
                "select balance / 7 from concert.accounts
                 where account_id = $user");
    },
    reserve => sub {
        my $seat = ++$Seat;
        return ($Client->reserve_request($Schedule, $seat),
                "select count(*) from concert.reservations
                 where schedule_id = $Schedule and seat_ids = '{$seat}'");
    },
    pay => sub {
        my $held = hold($User, $Schedule, ++$Seat);
        return ($Client->pay_request($held, 10),
                "select count(*) from concert.all_payments
                 where reservation_id = $held");
    },
    charge_once => sub {
        my $user = user(0);
        my $bytes = $Nginx->client($user)->charge_request(7);
        $bytes =~ s/\r\n/\r\nIdempotency-Key: k$user\r\n/;
        return ($bytes, "select balance / 7 from concert.accounts
                         where account_id = $user");
    },
);

# Returns what the client was told and how often it was done.
sub attempt {
    my ($name, $way, $at, $times) = @_;

    # a payment ends the token
    $Client->enter if $name eq 'reserve';

    my ($bytes, $query) = $Fresh{$name}->();

    $Proxy->arm($way, $at, $name, $times);
    my ($answer) = $Nginx->together($bytes);

    # what still runs at the server ends before it is asked
    my $done = sql($query);
    my ($up, $down, $cuts) = $Proxy->counts;

    return ($answer->status, $done, $up, $down, $cuts);
}

# 200: done; 503: not done; 504: either, but never twice.
sub is_true {
    my ($status, $done) = @_;

    return $status == 200 ? $done == 1
         : $status == 503 ? $done == 0
         : $status == 504 ? $done <= 1 : 0;
}

for my $name (qw( charge reserve pay charge_once )) {
    my $step = $name eq 'charge' ? 1 : 5;

    # the first one on a connection prepares its statement, too
    attempt($name, down => 0, 1);
    my ($status, $done, $up, $down) = attempt($name, down => $Never, 1);
    is "$status $done", '200 1', "$name: nothing is cut";
    cmp_ok $up, '>', 40, "$name: the exchange is seen";

    for my $case (['up', $up, $step], ['down', $down, 1]) {
        my ($way, $length, $by) = @$case;
        my (@wrong, %told);
        my $cuts = 0;

        for (my $at = 0; $at < $length; $at += $by) {
            my ($status, $done, undef, undef, $cut)
                = attempt($name, $way, $at, 1);
            $told{$status}++;
            $cuts += $cut;
            push @wrong, "$at: $status, done $done" if !is_true($status, $done);
        }

        is_deeply \@wrong, [],
                  "$name, cut $way at each of $length bytes: told the truth";
        cmp_ok $cuts, '>', 0, "$name, cut $way: connections were cut";
        is_deeply [ keys %told ], [200],
                  "$name, cut $way once: the second attempt succeeds";
    }

    # the second attempt is cut as well: nobody knows
    my @wrong;

    for my $way (qw( up down )) {
        my $length = $way eq 'up' ? $up : $down;

        for (my $at = 0; $at < $length; $at += 40) {
            my ($status, $done) = attempt($name, $way, $at, 2);
            push @wrong, "$way $at: $status, done $done"
                if !is_true($status, $done);
        }
    }

    is_deeply \@wrong, [], "$name, cut twice: told the truth";
}

is sql('select sum(broken) from concert.violations()'), 0,
   'no rule is broken';

$Nginx->stop;

done_testing();
