# The queue's Lua scripts alone, on a Redis of the test's own: arrival order,
# capacity, the end of tokens, lost data, openings and draws; then ten thousand
# random operations against a model of the queue in Perl. ROUNDS=1000 looks
# whether a thousand draws favor anybody.

use strict;
use warnings;

use Cwd            qw( abs_path );
use Digest::SHA    qw( hmac_sha256_hex sha256_hex );
use File::Basename qw( dirname );
use File::Temp     ();
use IO::Socket::UNIX ();
use List::Util     qw( max min sum );
use POSIX          qw( ceil );
use Test::More;
use Time::HiRes    qw( sleep time );

# what is made of the answer of enter and look: epoch, serving, status,
# position, wait, end
use constant { EPOCH => 0, SERVING => 1, STATUS => 2, POSITION => 3,
               WAIT => 4, ENDS => 5 };

use constant { NONE => 0, WAITING => 1, ACTIVE => 2, PRE => 3, STALE => 4 };

# the most that one run of a script lets in
use constant MOST_ADMITTED => 500;

# which server it is (REDIS_SERVER= of make)
my $Program = $ENV{REDIS_SERVER} // 'redis-server';

my $Scripts = abs_path(dirname(__FILE__) . '/../conf/queue');
my @Keys = map { "{concert:test}:$_" }
               qw( queue waiting called active ended seen0 seen1 drawn absent );

my $Dir = File::Temp->newdir('concert-XXXXXX', TMPDIR => 1);
my ($Server, $Redis, %Sha, $Buffer);

our $Capacity = 3;
our $Rate = 0;
our $Ttl = 600_000;
our $Claim;     # undef: as long as the ttl
our $Opens = 0;
our $Draw = 0;
our $Known = 0; # the epoch of the seed that rank keys are of

start_redis();
load_scripts();

tokens();
order_of_arrival();
leaving();
end_of_tokens();
bounds();
estimates();
coming();
rates();
operators();
ended_tokens();
silence();
lost_data();
openings();
seeds();
random_draws();
silent_draw();
fairness();
many_at_once();
other_layout();
repeats();
random_operations();

done_testing();


# --- what the queue does ----------------------------------------------------

sub tokens {
    fresh(2);

    is(look(1)->[STATUS], NONE, 'a user who never came has no token');

    my $token = enter(1);
    is($token->[STATUS], ACTIVE, 'who finds a free place is active at once');
    is($token->[POSITION], 0, 'the position of an active user is 0');
    is($token->[WAIT], 0, 'an active user waits no longer');
    ok(abs($token->[ENDS] - now() - $Ttl) < 60_000,
       'a token ends ttl after it became active');
    is_deeply(look(1), $token, 'look tells what enter told');

    enter(2);
    $token = enter(3);
    is($token->[STATUS], WAITING, 'who finds no free place waits');
    is($token->[POSITION], 1, 'the first to wait has position 1');
    cmp_ok($token->[WAIT], '>', 0, 'a wait is estimated');
    is($token->[ENDS], 0, 'a token that waits has no end yet');
    is_deeply([@{ look(3) }[SERVING, STATUS, POSITION]],
              [@$token[SERVING, STATUS, POSITION]],
              'a user who waits finds the same place again');
    is(enter(4)->[POSITION], 2, 'the next to wait has position 2');

    is_deeply([@{ enter(3) }[STATUS, POSITION]], [WAITING, 1],
              'entering again while waiting keeps the place');
    is_deeply([@{ enter(1) }[STATUS, ENDS]], [ACTIVE, look(1)->[ENDS]],
              'entering again while active does not prolong the token');
    is_deeply([counts()], [2, 2], 'entering again makes no second token');
}

sub order_of_arrival {
    my @users = map { 1000 + $_ * 7919 % 997 } 1 .. 300;
    my @admitted;

    fresh(1);
    enter($_) for @users;

    for (@users) {
        my ($active) = active();
        push @admitted, $active;
        leave($active);
    }

    is_deeply(\@admitted, \@users, 'users are let in in the order they came');
    is_deeply([counts()], [0, 0], 'and nobody is left behind');

    fresh(1);
    enter($_) for 1 .. 5;

    my @positions = position(5);
    for my $user (1 .. 4) {
        leave($user);
        push @positions, position(5);
    }

    is_deeply(\@positions, [4, 3, 2, 1, 0],
              'a position falls by one as the users before are let in');
}

sub leaving {
    fresh(1);
    enter($_) for 1 .. 4;

    is(leave(1)->[2], 1, 'leaving ends a token');
    is(look(1)->[STATUS], NONE, 'who left has no token');
    is(look(2)->[STATUS], ACTIVE, 'the next in line gets the place at once');
    is(leave(1)->[2], 0, 'leaving twice ends nothing more');
    is_deeply([counts()], [2, 1], 'and lets nobody else in');

    is(leave(99)->[2], 0, 'leaving without a token ends nothing');

    my $before = position(4);
    is(leave(3)->[2], 1, 'who waits can leave');
    is(look(3)->[STATUS], NONE, 'and has no token then');
    is(position(4), $before, 'a position does not grow when another leaves');

    leave(2);
    is(look(4)->[STATUS], ACTIVE, 'who left in the line is passed over');

    enter(3);
    enter(5);
    leave(3);
    is(enter(3)->[POSITION], 3,
       'who left and comes again is behind those who stayed');
    leave(4);
    is(look(5)->[STATUS], ACTIVE, 'who stayed goes first');
}

sub end_of_tokens {
    fresh(1);
    enter($_) for 1 .. 3;

    end_token(1);
    is(look(1)->[STATUS], NONE, 'a token whose time is over is none');

    my $admitted = admit();
    is_deeply([@$admitted[2 .. 4]], [1, 1, 1],
              'the job gives the place to the next, and counts');
    is(look(2)->[STATUS], ACTIVE, 'who is active now');

    is(enter(1)->[POSITION], 2,
       'whose token ended gets a new place, at the end of the line');

    end_token(2);
    enter(4);
    is(look(3)->[STATUS], ACTIVE, 'an arrival gives the place on as well');

    end_token(3);
    leave(77);
    is(look(1)->[STATUS], ACTIVE, 'so does anybody who leaves');

    # alone in the queue: the place that ended is one's own
    fresh(1);
    enter(1);
    end_token(1);
    is(enter(1)->[STATUS], ACTIVE,
       'whose token ended may enter again when nobody waits');

    {
        local $Ttl = 2000;
        fresh(1);
        enter(1);
        enter(2);
        is(look(1)->[STATUS], ACTIVE, 'a token is good until its ttl is over');
        ok(wait_for(sub { look(1)->[STATUS] == NONE }),
           'and ends by itself after it');
        ok(wait_for(sub { admit(); look(2)->[STATUS] != WAITING }),
           'its place is given on');
    }
}

sub bounds {
    my $crowd = 2 * MOST_ADMITTED + 200;

    fresh(1);
    enter($_) for 1 .. $crowd;
    is_deeply([counts()], [$crowd - 1, 1], 'a crowd waits for one place');

    $Capacity = 2 * $crowd;
    is(admit()->[2], MOST_ADMITTED, 'a run lets in a bounded number');
    is((counts())[1], 1 + MOST_ADMITTED, 'and these are active');
    admit() for 1 .. 2;
    is_deeply([counts()], [0, $crowd], 'the runs after it let in the others');
    is(admit()->[2], 0, 'a run that finds nobody lets in nobody');

    $Capacity = 5;
    enter($crowd + 1);
    is(look($crowd + 1)->[STATUS], WAITING,
       'with a capacity that was lowered nobody new gets in');
    is((counts())[1], $crowd, 'and nobody loses a token');

    for my $capacity (1, 2, 17, 100) {
        fresh($capacity);
        enter($_) for 1 .. $capacity + 10;
        is_deeply([counts()], [10, $capacity],
                  "with a capacity of $capacity as many are active");
    }
}

# The estimate uses the rate of the last minute, on Redis's clock; what meets
# the turn of the minute is done again.
sub estimates {
    my $position = 50;

    fresh(10);
    enter($_) for 1 .. 10 + $position;

    my %state = state();
    is($state{this} + $state{before}, 10, 'the minute counts who was let in');
    is(position(10 + $position), $position, 'a long line');

    # as if the places came free evenly
    my $longest = $position * $Ttl / 10 / 1000;

    # The wait, and what it must be between if $this and $before were let in
    # in the minutes that began $age and $age + 1 minutes ago.
    my $estimate = sub {
        my ($age, $this, $before) = @_;
        my ($start, $end, $wait);

        do {
            $start = now();
            state(minute => int($start / 60_000) - $age, this => $this,
                  before => $before);
            $wait = look(10 + $position)->[WAIT];
            $end = now();
        } while (int($start / 60_000) != int($end / 60_000));

        ($this, $before) = (0, $this) if $age == 1;

        my @bounds = map {
            my $part = 1 - $_ % 60_000 / 60_000;
            min($longest, $position * 60 / ($this + $before * $part));
        } $start, $end;

        # token() rounds up, but for a hundredth
        return ($wait, ceil($bounds[0] - 0.02), ceil($bounds[1]));
    };

    my ($wait) = $estimate->(0, 600, 0);
    is($wait, 5, '600 let in this minute: position 50 waits 5 s');

    ($wait) = $estimate->(0, 50, 0);
    is($wait, 60, '50 let in this minute: position 50 waits a minute');

    my ($got, $least, $most) = $estimate->(0, 3, 600);
    ok($least <= $got && $got <= $most,
       'the minute before counts by the part of it that the last 60 s have')
        or diag("$got is not in $least .. $most");

    ($got, $least, $most) = $estimate->(1, 600, 5);
    ok($least <= $got && $got <= $most,
       'a minute later what was this minute is the one before')
        or diag("$got is not in $least .. $most");

    state(minute => int(now() / 60_000) - 9, this => 600, before => 600);
    is(look(10 + $position)->[WAIT], $longest,
       'nobody let in of late: as if the places came free evenly');

    fresh(1000);
    enter($_) for 1 .. 1001;
    is(look(1001)->[WAIT], 1, 'who waits waits at least a second');
}

# Who is let in and does not come loses the place.
sub coming {
    local $Claim = 60_000;
    fresh(1);
    enter($_) for 1 .. 4;

    my $ends = look(1)->[ENDS];
    ok(abs($ends - now() - $Ttl) < 30_000, 'who enters has come');

    leave(1);
    is_deeply([active()], [2], 'the next is let in');
    redis('ZADD', $Keys[2], 'XX', now() - 1, 2);
    admit();
    is_deeply([active()], [3], 'who does not come loses the place to the next');
    is(look(2)->[STATUS], NONE, 'and has none');

    my $called = redis('ZSCORE', $Keys[2], 3);
    ok(abs($called - now() - $Claim) < 30_000, 'it is kept for a while');

    my $token = look(3);
    is($token->[STATUS], ACTIVE, 'who asks has come');
    is($token->[ENDS], $called - $Claim + $Ttl,
       'and is in from when the place came free');
    is_deeply([map { redis('ZCARD', $_) } @Keys[2, 3]], [0, 1],
              'as one who is in');
    is_deeply(look(3), $token, 'and comes only once');

    leave(3);
    is(leave(4)->[2], 1, 'who was let in can leave without having come');
    is_deeply([counts()], [0, 0], 'and nobody is left');
}

sub rates {
    local $Rate = 10_000;      # 10 a second
    fresh(1000);
    enter($_) for 1 .. 100;

    my $in = (counts())[1];
    my $from = now();
    cmp_ok($in, '<=', 2 + 10 * (now() - $from + 2000) / 1000,
           'no more are let in than the rate allows');

    ok(wait_for(sub { admit(); (counts())[1] >= $in + 12 }),
       'and more as time goes by');
    my $seconds = (now() - $from) / 1000;
    cmp_ok((counts())[1] - $in, '<=', 10 * $seconds + 3,
           'at the rate, and what a fifth of a second gathers');

    local $Rate = 0;
    admit();
    is_deeply([counts()], [0, 100], 'without a rate all are let in');

    $Rate = 10_000;
    fresh(1000);
    enter($_) for 1 .. 50;
    state(credit => 0, credited => now() + 3_600_000);
    $in = (counts())[1];
    ok(wait_for(sub { admit(); (counts())[1] > $in }),
       'a clock that was set back does not stop admission');

    $Rate = 500;               # one in 2 s
    fresh(1000);
    enter($_) for 1 .. 3;
    is_deeply([counts()], [2, 1], 'a rate below 1 lets in the first');
    is(look(2)->[WAIT], 2, 'and the estimate knows it');
}

sub operators {
    local $Rate = 0;
    fresh(2);
    enter($_) for 1 .. 4;

    my $set = sub { return [@{ script('operate', @_) }[5 .. 7]] };

    is_deeply($set->('', '', ''), [0, -1, -1], 'nothing is set');
    is_deeply($set->(1, '', ''), [1, -1, -1], 'a queue can be paused');
    leave(1);
    admit();
    is_deeply([counts()], [2, 1], 'and lets nobody in');
    is(enter(5)->[STATUS], WAITING, 'nobody who comes, either');
    is(script('admit', 0)->[13], 1, 'the job tells so');

    is_deeply($set->(0, 2000, 3), [0, 2000, 3], 'all can be set at once');
    is_deeply([@{ script('admit', 0) }[11, 12, 13]], [3, 2000, 0],
              'and goes before the configuration');
    ok(wait_for(sub { admit(); (counts())[1] == 3 }), 'so that more are in');

    is_deeply($set->('', '-', '-'), [0, -1, -1], 'null goes back to it');
    is_deeply([@{ script('admit', 0) }[11, 12]], [2, 0], 'which counts again');
}

# Each nginx learns whose tokens were ended.
sub ended_tokens {
    fresh(3);
    enter($_) for 1 .. 5;

    my $told = sub {
        my $answer = script('admit', $_[0]);
        my $n = $answer->[18];
        return [$answer->[2], @$answer[19 .. 18 + $n]];
    };

    is_deeply($told->(0), [0], 'no token was ended');
    leave(1);
    leave(5);
    leave(9);
    is_deeply($told->(0), [2, 1, 5], 'whose token was ended is told');
    is_deeply($told->(1), [2, 5], 'to who does not know it');
    is_deeply($told->(2), [2], 'and not to who does');

    fresh(1);
    enter($_) for 1 .. 4100;
    leave($_) for reverse 1 .. 4100;
    is_deeply($told->(0), [4100], 'of too many nobody is told');
    is(scalar @{ $told->(150) }, 1 + 3950, 'but of as many as there is room');
}

# Of 40 only those who ask go on, until the others have lost their places. Returns
# the greatest time between two questions, ms.
sub goes_silent {
    my ($span, $asking) = @_;

    fresh(1);
    redis('HSET', $Keys[0], span => $span);
    enter($_) for 1 .. 40;

    my %number = map { $_ => redis('ZSCORE', $Keys[1], $_) } 2 .. 40;
    my $end = time + 30;
    my $asked = now();
    my $longest = 0;

    # by look, by entering again, or as an nginx that knows their tickets
    until ((counts())[0] <= @$asking || time > $end) {
        $_ % 5 ? look($_) : enter($_) for grep { $_ % 2 } @$asking;
        script('seen', join ',', map { $number{$_} }
                                 grep { $_ % 2 == 0 } @$asking);
        admit();
        $longest = max($longest, now() - $asked);
        $asked = now();
        sleep 0.02;
    }

    return $longest;
}

# Who waits and does not ask for long loses the place; who asks does not.
sub silence {
    my $span = 1000;
    my @asking = grep { $_ % 3 == 0 } 2 .. 40;

    # again if they were held up for so long that they were silent themselves
    for (1 .. 20) { last if goes_silent($span, \@asking) < $span / 4 }

    is_deeply([sort { $a <=> $b } @{ redis('ZRANGE', $Keys[1], 0, -1) }],
              \@asking, 'who is silent for long loses the place, nobody else');
    is_deeply([active()], [1], 'and who is in is no waiter');

    my $serving = look(3)->[SERVING];
    leave(1);
    is_deeply([active()], [3], 'the next of those who ask is let in');
    cmp_ok(look(6)->[POSITION], '<', 6, 'positions go on');

    # no nginx asked for them meanwhile
    redis('HSET', $Keys[0], window => int(now() / $span) - 5);
    sleep 1.2 * $span / 1000;
    my $before = (counts())[0];
    admit();
    is((counts())[0], $before, 'after a pause of the nginx nobody is forgotten');
}

sub lost_data {
    fresh(1);
    enter($_) for 1 .. 3;

    my $epoch = look(1)->[EPOCH];
    cmp_ok($epoch, '>', 0, 'data have an epoch');
    is($_->[EPOCH], $epoch, 'every script tells it')
        for admit(), leave(99), enter(4), look(3);

    redis('FLUSHALL');
    %Sha = ();
    load_scripts();

    my $after = look(1);
    is($after->[STATUS], NONE, 'no token outlives lost data');
    cmp_ok($after->[EPOCH], '>', $epoch, 'and the epoch is a later one');
    is($after->[SERVING], 0, 'nobody has been let in in it');
    is(enter(3)->[STATUS], ACTIVE, 'the queue begins anew');
    is(enter(2)->[POSITION], 1, 'with positions of its own');
    is(look(2)->[EPOCH], $after->[EPOCH], 'the epoch stays');
}

# Nobody is let in before an opening; then arrival counts.
sub openings {
    fresh(2);
    local $Opens = now() + 3_600_000;

    is(enter($_)->[POSITION], $_, 'before an opening one waits') for 1 .. 3;
    is(admit()->[2], 0, 'and nobody is let in');
    is_deeply([@{ script('admit', 0) }[16, 17]], [$Opens, -2],
              'the job tells when it opens, and that there is no draw');
    is(leave(1)->[2], 1, 'one can leave');
    is_deeply([counts()], [2, 0], 'and nobody goes in for that');

    open_now();
    is(admit()->[2], 2, 'at the opening those who wait are let in');
    is(look(2)->[STATUS], ACTIVE, 'in the order of their numbers');
    is(script('admit', 0)->[16], 0, 'and there is none ahead');

    # what is written may change, as long as nobody has come
    fresh(2);
    $Opens = now() + 3_600_000;
    my $epoch = look(1)->[EPOCH];
    my $opens = sub { script('admit', 0)->[16] };

    $Opens -= 1000;
    is($opens->(), $Opens, 'before anybody has come an opening can be changed');
    enter(1);
    $Opens -= 1000;
    is($opens->(), $Opens + 1000, 'then it cannot be brought forward');
    $Opens += 2000;
    is($opens->(), $Opens, 'but put off');
    {
        local $Opens = 0;
        is(enter(2)->[STATUS], WAITING, 'it counts where it is not known, too');
    }
    is(look(1)->[EPOCH], $epoch, 'all in one epoch');

    open_now();
    is(enter(3)->[POSITION], 1, 'it opens');
    $Opens = now() + 3_600_000;
    is(look(1)->[STATUS], NONE, 'another opening begins the queue anew');
    cmp_ok(look(1)->[EPOCH], '>', $epoch, 'in another epoch');

    # a clock that was set back
    fresh(2);
    local $Draw = 1;
    $Opens = now() + 3_600_000;
    look(1);
    state(opens => $Opens, size => 0);
    is(enter(1)->[STATUS], ACTIVE,
       'what has opened stays open, though the clock is before it again');
}

# The seed, and the keys that belong to it.
sub seeds {
    fresh(2);
    local $Opens = now() + 3_600_000;
    local $Draw = 1;

    my $seed = sub { return [@{ script('seed', $_[0]) }[5 .. 7]] };

    is(enter(1)->[STATUS], STALE, 'nobody is drawn without a key');
    is_deeply($seed->('one'), [$Opens, -1, 'one'], 'a seed is made');
    is_deeply($seed->('two'), [$Opens, -1, 'one'], 'once');

    {
        local $Known = look(1)->[EPOCH] - 1;
        is(enter('1:5')->[STATUS], STALE, 'a key of another epoch is none');
    }

    local $Known = look(1)->[EPOCH];
    is(enter('1:5')->[STATUS], PRE, 'one of this seed is');
    is(enter('1:4')->[STATUS], PRE, 'who has one keeps it');
    is(redis('ZSCORE', $Keys[7], 1), 5, 'whatever comes then');
    is(look(1)->[STATUS], PRE, 'and is found');
    is(script('admit', 0)->[8], 1, 'and counted');

    redis('DEL', $Keys[0]);
    is(look(1)->[STATUS], NONE, 'who was drawn in lost data is not');
    is(enter('1:5')->[STATUS], STALE, 'the key is of no more use');
    is_deeply($seed->('three'), [$Opens, -1, 'three'], 'there is another seed');

    open_now();
    redis('HDEL', $Keys[0], 'seed');
    is_deeply($seed->('late'), [$Opens, 0, ''],
              'none is made after the opening');
}

# Every answer must be the model's: users with a few keys come and go before the
# opening, and after it.
sub random_draws {
    my ($wrong, $let_in, $passed) = (0, 0, 0);

    local $Draw = 1;
    srand($ENV{TEST_SEED} // 20261122);

    for my $round (1 .. 60) {
        fresh(1 + int rand 4);
        local $Opens = now() + 3_600_000;
        local $Known = look(1)->[EPOCH];

        my %key = map { $_ => int rand 12 } 1 .. 30;
        my (%pre, %number, %in, %absent, @order, @late);
        my ($open, $size, $serving, $last) = (0, 0, 0, 0);

        my $admit = sub {
            my $free = $Capacity - keys %in;
            return if !$open;

            while ($free > 0 && $serving < $size) {
                my $user = $order[$serving++];
                $passed++, next if delete $absent{$user};
                $in{$user} = 1;
                $free--;
                $let_in++;
            }

            while ($free > 0 && @late) {
                my $user = shift @late;
                $serving = delete $number{$user};
                $in{$user} = 1;
                $free--;
                $let_in++;
            }
        };

        my $place = sub {
            my ($user) = @_;

            return [PRE, 0] if $pre{$user} && !$open;
            return [ACTIVE, 0] if $in{$user};
            return [WAITING, $number{$user} - $serving] if $number{$user};

            my ($rank) = grep { $order[$_] == $user } 0 .. $#order;
            return [WAITING, $rank + 1 - $serving]
                if $open && defined $rank && $rank >= $serving
                   && !$absent{$user};
            return [NONE, 0];
        };

        my $compare = sub {
            my ($what, $got, $expected) = @_;

            return if "@$got" eq "@$expected";
            diag("round $round, $what: got (@$got), expected (@$expected)")
                if $wrong++ < 5;
        };

        for my $n (1 .. 150) {
            my $user = 1 + int rand 30;
            my $what = (qw( enter enter enter look leave leave admit ))[rand 7];

            if ($n == 60) {
                open_now();
                $open = 1;
                @order = sort { $key{$a} <=> $key{$b} || $a cmp $b } keys %pre;
                $size = $last = @order;
            }

            if ($what eq 'enter') {
                if ($place->($user)[0] == NONE) {
                    if ($open) {
                        $number{$user} = ++$last;
                        push @late, $user;
                        $admit->();
                    } else {
                        $pre{$user} = 1;
                    }
                }

                $compare->("enter $user",
                           [@{ enter("$user:$key{$user}") }[SERVING, STATUS,
                                                             POSITION]],
                           [$serving, @{ $place->($user) }]);

            } elsif ($what eq 'look') {
                $compare->("look $user",
                           [@{ look($user) }[SERVING, STATUS, POSITION]],
                           [$serving, @{ $place->($user) }]);

            } elsif ($what eq 'leave') {
                my $left = $place->($user)[0] == NONE ? 0 : 1;

                if (!$open) {
                    delete $pre{$user};
                } elsif (delete $in{$user} || !$left) {
                } elsif (delete $number{$user}) {
                    @late = grep { $_ != $user } @late;
                } else {
                    $absent{$user} = 1;
                }

                $admit->();
                $compare->("leave $user", [@{ leave($user) }[1, 2]],
                           [$serving, $left]);

            } else {
                $admit->();
                my $waiting = $open ? $size - min($serving, $size)
                                      - keys(%absent) + @late
                                    : keys %pre;
                $compare->('admit', [@{ admit() }[1, 3, 4]],
                           [$serving, $waiting, scalar keys %in]);
            }
        }
    }

    is($wrong, 0, 'each answer is as the model of a draw gives it');
    cmp_ok($let_in, '>', 200, 'of many who were let in');
    cmp_ok($passed, '>', 20, 'and past those who had left');
}

# Who was drawn and does not ask after the opening loses the place.
sub silent_draw {
    my $span = 1000;
    my @asking = grep { $_ % 3 == 0 } 1 .. 40;

    fresh(1);
    redis('HSET', $Keys[0], span => $span);
    local $Opens = now() + 3_600_000;
    local $Draw = 1;
    local $Known = look(1)->[EPOCH];

    enter("$_:$_") for 1 .. 40;
    admit() for 1 .. 3;
    open_now();
    leave(1);
    enter('1:1');       # with a number behind them all, and asks

    my $end = time + 30;
    my $waiting = 40;

    until ($waiting <= @asking + 1 || time > $end) {
        look($_) for 1, @asking;
        $waiting = admit()->[3];
        sleep 0.02;
    }

    is_deeply([grep { look($_)->[STATUS] == WAITING } 1 .. 40],
              [1, @asking], 'who was drawn and is silent loses the place');
    is(script('draw', '3:3')->[7], 3, 'places stay what they were');
}

# Nobody gains by coming early or late: ROUNDS draws of a thousand users, with
# new seeds if ROUNDS is given.
sub fairness {
    my $rounds = $ENV{ROUNDS} || 20;
    my $users = 1000;
    my $parts = 20;
    my (@table, @first, $rho);

    local $Draw = 1;

    for my $round (1 .. $rounds) {
        my $seed = sha256_hex($ENV{ROUNDS} ? random_bytes() : $round);

        fresh(1);
        local $Opens = now() + 3_600_000;
        local $Known = look(1)->[EPOCH];
        script('seed', $seed);

        my @came = map { 1000 + $_ } 1 .. $users;

        no warnings 'portable';
        my %key = map { $_ => hex substr hmac_sha256_hex("test:$_", $seed), 0, 13 }
                      @came;

        for (my @left = @came; my @some = splice @left, 0, 125;) {
            script('enter', map { "$_:$key{$_}" } @some);
        }

        open_now();
        local $Capacity = 1_000_000;
        my @place;

        for (my @left = @came; my @some = splice @left, 0, 125;) {
            my $answer = script('draw', map { "$_:0" } @some);
            push @place, map { $answer->[7 + 4 * $_] } 0 .. $#some;
        }

        my $sum = 0;

        for my $i (0 .. $#place) {
            $table[$i * $parts / $users][($place[$i] - 1) * $parts / $users]++;
            $first[$i * $parts / $users]++ if $place[$i] == 1;
            $sum += ($i + 1 - $place[$i]) ** 2;
        }

        $rho += 1 - 6 * $sum / ($users * ($users ** 2 - 1));
    }

    my $each = $rounds * $users / $parts ** 2;
    my $chi = sum(map { my $row = $_;
                        map { (($row->[$_] // 0) - $each) ** 2 / $each }
                            0 .. $parts - 1 } @table);
    my $ones = sum(map { (($first[$_] // 0) - $rounds / $parts) ** 2
                         / ($rounds / $parts) } 0 .. $parts - 1);
    my $z = $rho * sqrt($users - 1) / sqrt($rounds);
    my @p = (p_value($chi, ($parts - 1) ** 2), p_value($ones, $parts - 1),
             POSIX::erfc(abs($z) / sqrt 2));

    note(sprintf '%d draws of %d: chi-squared %.1f of %d (p = %.3f), of the '
                 . 'first places %.1f of %d (p = %.3f), mean rank correlation '
                 . '%.5f (p = %.3f)', $rounds, $users, $chi, ($parts - 1) ** 2,
                 $p[0], $ones, $parts - 1, $p[1], $rho / $rounds, $p[2]);

    cmp_ok($p[0], '>', 0.001, 'all places are as likely, whenever one came');
    cmp_ok($p[1], '>', 0.001, 'so is the first of them');
    cmp_ok($p[2], '>', 0.001, 'early is no better than late');
}

# How likely a chi-squared this great is (Wilson and Hilferty).
sub p_value {
    my ($chi, $degrees) = @_;
    my $v = 2 / (9 * $degrees);

    return POSIX::erfc((($chi / $degrees) ** (1 / 3) - 1 + $v)
                       / sqrt(2 * $v)) / 2;
}

sub random_bytes {
    open my $in, '<:raw', '/dev/urandom' or die "/dev/urandom: $!\n";
    sysread $in, my $bytes, 32;
    return $bytes;
}

# One run takes many users, in the order in which they are named.
sub many_at_once {
    fresh(3);
    enter($_) for 1 .. 2;

    my $answers = sub {
        my ($name, @users) = @_;
        my ($epoch, $serving, $ended, $now, $pace, @own) = @{ script($name, @users) };
        return map { [@own[3 * $_, 3 * $_ + 1]] } 0 .. $#users;
    };

    is_deeply([$answers->('enter', 3, 4, 1, 4, 5)],
              [[ACTIVE, 0], [WAITING, 4], [ACTIVE, 0], [WAITING, 4], [WAITING, 5]],
              'those who enter together are let in and stand in their order, '
              . 'and nobody gets two places');
    is_deeply([$answers->('look', 5, 9, 3)], [[WAITING, 5], [NONE, 0], [ACTIVE, 0]],
              'each is told where he stands');
    is_deeply({state()}->{serving}, 3, 'the last one let in is known');

    enter($_) for 6 .. 8;
    is_deeply([@{ script('leave', 1, 9, 6, 1) }[5 .. 8]], [1, 0, 1, 0],
              'those who leave together end their own tokens');
    is_deeply([sort(active())], [2, 3, 4], 'and their places are given on');
    is_deeply([$answers->('enter', 10, 5)], [[WAITING, 9], [WAITING, 5]],
              'who waits already goes before who comes');

    end_token($_) for 2, 3;
    is_deeply([$answers->('enter', 11, 12)], [[WAITING, 10], [WAITING, 11]],
              'places that came free are those of who waits');
    is_deeply([sort(active())], [4, 5, 7], 'who gets them');

    fresh(600);
    my @crowd = $answers->('enter', 1 .. 128);
    is(scalar(grep { $_->[0] == ACTIVE } @crowd), 128,
       'as many as a batch has are let in at once');

    $Capacity = 100;
    {
        local $Rate = 5_000;
        fresh(100);
        my @some = $answers->('enter', 1 .. 20);
        is_deeply([map { $_->[0] } @some], [ACTIVE, (WAITING) x 19],
                  'the rate counts for those who come together, too');
    }
}

# Data of another layout are no data.
sub other_layout {
    fresh(1);
    redis('HSET', $Keys[0], epoch => 5, last => 70, serving => 60, base0 => 50,
          base1 => 60, window => 3, mark => 70);
    redis('ZADD', $Keys[1], 61, 1);

    is_deeply([@{ enter(2) }[SERVING, STATUS]], [1, ACTIVE],
              'data of another layout begin a new epoch');
    is((counts())[0], 0, 'in which nobody waits');
    is(redis('HGET', $Keys[0], 'base0'), undef, 'and no number has asked');
}

# After a lost connection a batch is run once more.
sub repeats {
    fresh(2);
    enter($_) for 1 .. 6;

    my $once = enter(7);
    is_deeply([@{ enter(7) }[0 .. POSITION]], [@$once[0 .. POSITION]],
              'enter run twice is enter run once');

    leave(1) for 1 .. 2;
    is_deeply([counts()], [4, 2], 'leave run twice is leave run once');

    admit() for 1 .. 2;
    is_deeply([counts()], [4, 2], 'admit run twice is admit run once');
}

# Every answer must be the model's.  In the model a queue is a list.
sub random_operations {
    my $operations = 10_000;
    my ($last, $serving) = (0, 0);
    my (@line, %number, %active, %over);
    my ($wrong, $most, $admissions, $done) = (0, 0, 0, 0);
    my %seen;

    my $seed = $ENV{TEST_SEED} // 20261122;
    srand($seed);
    note("TEST_SEED=$seed");

    fresh(4);

    my $admit_model = sub {
        my $count = 0;

        delete @active{keys %over};
        %over = ();

        while (@line && keys %active < $Capacity && $count < MOST_ADMITTED) {
            my $user = shift @line;
            $wrong++ if $number{$user} <= $serving;
            $serving = delete $number{$user};
            $active{$user} = 1;
            $count++;
        }

        $admissions += $count;
        return $count;
    };

    my $ticket_model = sub {
        my ($user) = @_;
        return [ACTIVE, 0] if $active{$user} && !$over{$user};
        return [WAITING, $number{$user} - $serving] if $number{$user};
        return [NONE, 0];
    };

    my %operation = (
        enter => sub {
            my ($user) = @_;

            if ($ticket_model->($user)[0] == NONE) {
                delete $active{$user};
                delete $over{$user};
                push @line, $user;
                $number{$user} = ++$last;
                $admit_model->();
            }

            my $token = enter($user);
            return [@$token[SERVING, STATUS, POSITION]],
                   [$serving, @{ $ticket_model->($user) }];
        },

        crowd => sub {
            my @users = map { 1 + int rand 40 } 1 .. 2 + rand 5;

            for my $user (@users) {
                next if $ticket_model->($user)[0] != NONE;
                delete $active{$user};
                delete $over{$user};
                push @line, $user;
                $number{$user} = ++$last;
                $admit_model->();
            }

            my ($epoch, $now_serving, $ended, $now, $pace, @own)
                = @{ script('enter', @users) };
            my @told = map { @own[3 * $_, 3 * $_ + 1] } 0 .. $#users;
            my @model = map { my ($status, $at) = @{ $ticket_model->($_) };
                              ($status, $at && $at + $serving) } @users;

            return [$now_serving, @told], [$serving, @model];
        },

        look => sub {
            my ($user) = @_;
            my $token = look($user);
            return [@$token[SERVING, STATUS, POSITION]],
                   [$serving, @{ $ticket_model->($user) }];
        },

        leave => sub {
            my ($user) = @_;
            my $left = ($number{$user} || $active{$user}) ? 1 : 0;

            @line = grep { $_ != $user } @line;
            delete $number{$user};
            delete $active{$user};
            delete $over{$user};
            $admit_model->();

            return [@{ leave($user) }[1, 2]], [$serving, $left];
        },

        admit => sub {
            my $count = $admit_model->();
            return [@{ admit() }[1 .. 4]],
                   [$serving, $count, scalar @line, scalar keys %active];
        },

        # not an operation of the queue: time that goes by
        end => sub {
            my ($user) = sort keys %active;
            return [], [] if !$user;
            end_token($user);
            $over{$user} = 1;
            return [], [];
        },

        resize => sub {
            $Capacity = 1 + int rand 8;
            return [], [];
        },
    );

    my @mix = (('enter') x 30, ('crowd') x 10, ('look') x 20, ('leave') x 28, ('admit') x 6,
               ('end') x 5, 'resize');

    for my $n (1 .. $operations) {
        my $name = $mix[rand @mix];
        my $user = 1 + int rand 40;
        my ($got, $expected) = $operation{$name}->($user);

        if ("@$got" ne "@$expected") {
            diag("operation $n, $name $user: got (@$got), "
                 . "expected (@$expected)") if $wrong++ < 5;
        }

        $seen{$name}++;
        $done++;
        $most = max($most, scalar keys %active);

        next if $n % 100;

        my @members = (join(' ', @{ redis('ZRANGE', $Keys[1], 0, -1) }),
                       join(' ', sort(active())));
        my @model = (join(' ', @line), join(' ', sort keys %active));

        if ("@members" ne "@model") {
            diag("operation $n: waiting and active differ") if $wrong++ < 5;
        }
    }

    is($done, $operations, "$operations random operations were run");
    is(scalar keys %seen, scalar keys %operation, 'of every kind');
    cmp_ok($admissions, '>', 500, 'they let in many');
    is($wrong, 0, 'and each answered as the model does');
    cmp_ok($most, '<=', 8, 'never more than the capacity were active');

    # nobody is lost: all that still wait are let in, in their order
    my (@order, @rest);
    @rest = @line;
    $Capacity = 1;
    leave($_) for keys %active;

    while (@order < @rest) {
        my ($user) = active();
        last if !defined $user;
        push @order, $user;
        leave($user);
    }

    is_deeply(\@order, \@rest, 'those who still waited are let in in order');
    is_deeply([counts()], [0, 0], 'and the queue is empty');
}


# --- the scripts ------------------------------------------------------------

sub enter { return token(script('enter', $_[0])) }
sub look  { return token(script('look', $_[0])) }

# epoch, serving, how many tokens ended
sub leave {
    my $answer = script('leave', $_[0]);
    return [@$answer[0, 1, 5]];
}

# epoch, serving, admitted, waiting, active
sub admit {
    my $answer = script('admit', $_[0] // 0);
    return [@$answer[0, 1, 5, 8], $answer->[9] + $answer->[10]];
}

sub position { return look($_[0])->[POSITION] }

sub script {
    my ($name, @own) = @_;

    unshift @own, $Known if $name eq 'enter';
    return redis('EVALSHA', $Sha{$name}, scalar @Keys, @Keys, $Capacity,
                 $Rate, $Ttl, $Claim // $Ttl, $Opens, $Draw, @own);
}

# As src/core/queue.c reads the answer.
sub token {
    my ($epoch, $serving, undef, undef, $pace, $status, $number, $ends)
        = @{ $_[0] };
    my $position = $status == WAITING ? $number - $serving : 0;

    return [$epoch, $serving, $status, $position,
            ceil($position * 1e9 / $pace - 0.01), $ends];
}

# Who was let in, whether they have come or not.
sub active { return map { @{ redis('ZRANGE', $_, 0, -1) } } @Keys[2, 3] }

# The state, which is numbers in one field; some of them are set first.
sub state {
    my %set = @_;
    my @names = qw( epoch last serving ended minute this before credit credited
                    paused rate capacity opens size );
    my %state;

    @state{@names} = split / /, redis('HGET', $Keys[0], 'state') // '';
    @state{keys %set} = values %set;
    redis('HSET', $Keys[0], 'state', join ' ', grep { defined } @state{@names})
        if %set;

    return %state;
}

# As if the opening were now, or a moment ago.
sub open_now {
    $Opens = now() - 1;
    state(opens => $Opens, size => $Draw ? -1 : -2);
}

# An empty queue.
sub fresh {
    my ($capacity) = @_;
    $Capacity = $capacity;
    redis('DEL', @Keys);
}

# As if the time of a token were over.
sub end_token {
    my ($user) = @_;
    redis('ZADD', $_, 'XX', now() - 1, $user) for @Keys[2, 3];
}

# How many wait and how many are active.
sub counts {
    my ($waiting, $called, $active) = map { redis('ZCARD', $_) } @Keys[1 .. 3];
    return ($waiting, $called + $active);
}

# Redis's clock, ms.
sub now {
    my $time = redis('TIME');
    return $time->[0] * 1000 + int($time->[1] / 1000);
}

sub wait_for {
    my ($condition) = @_;
    my $end = time + 20;

    until ($condition->()) {
        return 0 if time > $end;
        sleep 0.01;
    }

    return 1;
}

# Each script is what the build makes of it: the common part and its own.
sub load_scripts {
    my $common = slurp("$Scripts/common.lua");

    for my $path (glob "$Scripts/*.lua") {
        my ($name) = $path =~ m{([^/]+)\.lua$};
        next if $name eq 'common';
        $Sha{$name} = redis('SCRIPT', 'LOAD', $common . slurp($path));
    }
}

sub slurp {
    my ($path) = @_;

    open my $in, '<', $path or die "$path: $!\n";
    local $/;
    return <$in> =~ s/\n?\z/\n/r;
}


# --- Redis ------------------------------------------------------------------

sub start_redis {
    my $socket = "$Dir/redis.sock";

    $Server = fork // die "fork: $!\n";

    if ($Server == 0) {
        open STDOUT, '>', '/dev/null';
        exec $Program, '--port', 0, '--unixsocket', $socket,
             '--dir', $Dir, '--save', '', '--appendonly', 'no'
            or POSIX::_exit(127);
    }

    wait_for(sub {
        $Redis = IO::Socket::UNIX->new(Peer => $socket);
    }) or BAIL_OUT("$Program does not start");

    $Buffer = '';
}

# Sends one command; returns its answer, an array as a reference.  An error
# ends the test.
sub redis {
    my @words = @_;

    syswrite $Redis, join '', '*', scalar @words, "\r\n",
                     map { ('$', length, "\r\n", $_, "\r\n") } @words;
    return answer();
}

sub answer {
    my $line = take_line();
    my $kind = substr $line, 0, 1, '';

    return $line if $kind eq '+' || $kind eq ':';
    die "Redis: $line\n" if $kind eq '-';
    return $line < 0 ? undef : take_bytes($line) if $kind eq '$';
    return [map { answer() } 1 .. $line];
}

sub take_line {
    more() while index($Buffer, "\r\n") < 0;
    $Buffer =~ s/\A(.*?)\r\n//s;
    return $1;
}

sub take_bytes {
    my ($length) = @_;

    more() while length $Buffer < $length + 2;
    return substr(substr($Buffer, 0, $length + 2, ''), 0, $length);
}

sub more {
    sysread $Redis, $Buffer, 65536, length $Buffer
        or die "Redis closed the connection\n";
}

END {
    if ($Server) {
        local $?;
        kill TERM => $Server;
        waitpid $Server, 0;
    }
}
