# What nginx remembers of the queue: who waits or is in is told so without a
# question to Redis, and never told what Redis would not say. Redis is away
# or frozen for the nginx that is under test, by a proxy, and for nobody else.

use strict;
use warnings;

use List::Util qw( max min );
use Test::More;
use Time::HiRes qw( sleep time );
use Time::Local qw( timegm );

use Concert;
use Proxy;

my ($redis) = $ENV{TEST_NGINX_CONCERT_REDIS} =~ m{^unix:(/\S+)};

plan skip_all => 'Redis is not reached by a socket' if !$redis;

sub strangers {
    my ($nginx, $n) = @_;
    return map { $nginx->client(stranger()) } 1 .. $n;
}

sub queue_name { return 'memory-' . stranger() }

# An nginx whose Redis is behind a proxy, of a queue that others may have too.
sub behind {
    my ($proxy, $name, $parameters, %is) = @_;

    my $path = $proxy->path;
    my $http = delete $is{http} // '';

    return nginx(http => "concert_redis unix:$path;
                          concert_queue name=$name $parameters;\n$http", %is);
}

sub beside {
    my ($name, $parameters) = @_;
    return nginx(http => "concert_queue name=$name $parameters;");
}

# The same user at another instance.
sub at { my ($nginx, $user) = @_; return $nginx->client($user->id) }

# The position, or what is said instead of it.
sub position {
    my ($user) = @_;
    my $answer = $user->token;

    return $answer->status == 200 ? $answer->json->{position}
                                  : $answer->status . ' ' . $answer->code;
}

sub positions { return [ map { position($_) } @_ ] }

sub status_of {
    my ($user) = @_;
    my $answer = $user->get('/api/token/status/' . $user->id);

    return $answer->status == 200 ? $answer->body
                                  : $answer->status . ' ' . $answer->code;
}

# When a token ends, s since the epoch.
sub ends {
    my ($user) = @_;

    my ($date, $fraction) = $user->token->json->{expiresAt}
                            =~ /^(.+?)(\.\d+)\+00:00$/;
    my ($year, $month, @rest) = split /\D/, $date;

    return timegm(reverse(@rest), $month - 1, $year) + $fraction;
}

sub keys_of {
    my ($name) = @_;
    return redis('KEYS', "*$name*") =~ /^(\{?\w.*\Q$name\E.*?)\r?$/mg;
}

sub redis_calls {
    my ($nginx) = @_;
    return $nginx->metric('concert_lane_calls_total{group="redis"}');
}


# Redis is away, and is frozen
for my $case ([ close => 'open', 'away' ], [ freeze => 'thaw', 'frozen' ]) {
    my ($break, $mend, $what) = @$case;

    my $proxy = Proxy->new($redis);
    my $name = queue_name();
    my $nginx = behind($proxy, $name, 'capacity=1',
                       http => 'concert_timeout 5s;');
    my $other = beside($name, 'capacity=1');
    my $schedule = schedule();
    my $ann = $nginx->client(user());
    my ($ben, $cy) = strangers($nginx, 2);
    my $dee = $other->client(stranger());
    my $eve = $nginx->client(stranger());

    $_->enter for $ann, $ben, $cy, $dee;
    $proxy->$break;

    eventually { $eve->enter->code eq 'queue_unavailable' }
               "with Redis $what nobody enters";
    is_deeply [ map { positions($ben, $cy) } 1 .. 3 ], [ ([ 1, 2 ]) x 3 ],
              "with Redis $what who waits is told the same place";
    is_deeply [ map { status_of($_) } $ann, $ben, $cy ],
              [ 'true', 'false', 'false' ],
              "with Redis $what who is in and who waits is told so";
    is $ann->reserve($schedule, 1)->status, 200,
       "with Redis $what who is in reserves seats";
    is_problem $ben->get('/api/concerts'), 'token_not_active',
               "with Redis $what who waits sees no concerts";
    is position(at($nginx, $dee)), '503 queue_unavailable',
       "with Redis $what nobody knows of who entered elsewhere";
    is status_of(at($nginx, $dee)), '503 queue_unavailable',
       "with Redis $what nor whether it may go on";
    is_problem $ann->leave, 'queue_unavailable',
               "with Redis $what nobody leaves";
    ok $ann->is_active, "with Redis $what who could not leave is in";

    at($other, $ann)->leave;
    $proxy->$mend;

    eventually { position(at($nginx, $dee)) eq 2 }
               "Redis is no more $what: who entered elsewhere is known";
    eventually { !$ann->is_active } 'who has left meanwhile is not in';
    eventually { $ben->is_active } 'the next one is';
    is $eve->enter->json->{status}, 'WAITING', 'and others enter';

    $_->stop for $nginx, $other;
    $proxy->close;
}

# who is in is in as long as Redis has said
{
    my $proxy = Proxy->new($redis);
    my $nginx = behind($proxy, queue_name(), 'capacity=1 ttl=6s');
    my $ann = $nginx->client(stranger());

    $ann->enter;
    my $ends = ends($ann);
    $proxy->close;

    my ($last, $refused, $asked, $answer) = (0, 0);

    eventually {
        $asked = time;
        $answer = $ann->get('/api/concerts');
        $last = $asked if $answer->status == 200;
        $answer->status != 200;
    } 'without Redis who is in is let through until the token ends';

    cmp_ok time, '>=', $ends, 'and not less long';
    cmp_ok $last, '<', $ends + 1, 'nor longer';
    is $answer->code, 'queue_unavailable', 'but is told to ask again';
    is status_of($ann), '503 queue_unavailable', 'and not that it is in';

    $proxy->open;
    eventually { status_of($ann) eq 'false' }
               'with Redis back the token is known to have ended';
    $nginx->stop;
    $proxy->close;
}

# Redis comes back without its data
{
    my $proxy = Proxy->new($redis);
    my $name = queue_name();
    my $nginx = behind($proxy, $name, 'capacity=1', workers => 2);
    my ($ann, @users) = strangers($nginx, 8);

    $_->enter for $ann, @users;
    $ann->leave;
    my $first = shift @users;
    eventually { $first->is_active } 'the next one is in';

    $proxy->close;
    is_deeply positions(@users), [ 1 .. 6 ], 'the others are known to wait';
    redis('DEL', keys_of($name));

    # its numbers get higher than those that were waiting
    my $other = beside($name, 'capacity=1');
    for my $user (strangers($other, 20)) {
        $user->enter;
        $user->leave;
    }
    $proxy->open;

    my @let_in;
    eventually {
        push @let_in, grep { $_->is_active } @users;
        !grep { position($_) !~ /^404/ } $first, @users;
    } 'a Redis that comes back empty knows none of them, nor does nginx';
    is scalar @let_in, 0, 'and none of them was let in on an old number';

    is $users[5]->enter->json->{status}, 'ACTIVE',
       'who enters then is the first';
    is_deeply [ map { $_->enter->json->{position} } @users[0 .. 4] ],
              [ 1 .. 5 ], 'and the others wait, as they come';
    is_deeply positions(@users), [ 1 .. 5, 0 ], 'which stays so';
    is position($first), '404 token_not_found',
       'who was in has to enter again';
    $_->stop for $nginx, $other;
    $proxy->close;
}

# two instances
{
    my $name = queue_name();
    my ($one, $two) = map { beside($name, 'capacity=2') } 1 .. 2;
    my $ann = $one->client(user(5000));
    my $ben = $one->client(user());
    my @others = strangers($one, 4);
    my ($cy) = @others;

    $_->enter for $ann, $ben, @others;
    is_deeply positions(map { at($two, $_) } $ann, $ben, @others),
              [ 0, 0, 1 .. 4 ], 'what one instance has let in all know';

    my $held = hold($ann->id, schedule(price => 1000), 1);
    is $ann->pay($held, 1000)->status, 200, 'who pays at one instance';
    eventually { status_of(at($two, $ann)) eq 'false' }
               'is no more in at another';
    is position(at($two, $ann)), '404 token_not_found', 'nor waits there';

    $ben->leave;
    eventually { status_of(at($two, $ben)) eq 'false' }
               'nor is who leaves';
    is_problem at($two, $ben)->get('/api/concerts'), 'token_not_active',
               'who is not let through';
    is_deeply [ map { status_of(at($two, $_)) } @others[0, 1] ],
              [ 'true', 'true' ], 'the next two are in';

    my $dee = $others[2];
    is position(at($two, $dee)), 1, 'who waits and is known at two instances';
    $dee->leave;
    is $dee->enter->json->{position}, 3, 'and leaves and enters again';
    eventually { position(at($two, $dee)) eq 3 }
               'has the later place at both';

    # back and forth, at the one and at the other
    for my $i (1 .. 10) {
        my ($here, $there) = $i % 2 ? ($two, $one) : ($one, $two);

        at($here, $dee)->leave;
        at($there, $dee)->enter;
    }
    my $place = $dee->enter->json->{position};
    eventually { position(at($two, $dee)) eq $place
                 && position($dee) eq $place }
               'however often';

    $_->stop for $one, $two;
}

# a worker is killed while it answers
sub worker {
    my ($nginx) = @_;
    my $pid = $nginx->{pid};

    open my $children, '<', "/proc/$pid/task/$pid/children" or die $!;
    return (split ' ', <$children>)[0];
}

{
    my $nginx = nginx(queue => 'capacity=1', workers => 2);
    my @users = strangers($nginx, 40);
    my $killed = 0;
    my @wrong;

    $_->enter for @users;
    my @polls = map { $_->bytes_of(GET => '/api/token/' . $_->id) } @users;

    for my $round (1 .. 8) {
        my @begun = map { $nginx->begin($_) } (@polls) x 3;

        $killed += kill KILL => worker($nginx);

        for my $i (0 .. $#begun) {
            my $answer = Concert::Answer->new($begun[$i]);
            next if !$answer->status;       # it was the worker's

            push @wrong, $answer->body
                if $answer->status != 200
                   || $answer->json->{position} != $i % @users;
        }
    }

    is $killed, 8, 'workers are killed while they answer';
    is_deeply \@wrong, [], 'no other answer is wrong';
    eventually { my @answers = $nginx->together(@polls);
                 join(' ', map { $_->status == 200 ? $_->json->{position}
                                                   : 'x' } @answers)
                 eq join(' ', 0 .. $#users) }
               'then all are told their places as before';
    $users[0]->leave;
    eventually { $users[1]->is_active } 'and the queue moves on';
    $nginx->quit;
}

# more tickets than there is memory for
{
    use constant { TICKETS => 50_000, TOGETHER => 100, CONNECTIONS => 10 };

    my $nginx = nginx(queue => 'capacity=1', http => 'concert_zone concert 2m;
                      keepalive_requests 1000000;');
    my $first = stranger();
    my @sockets = $nginx->connect;      # one: they enter in order

    # the positions that are told, in the order of the requests
    my $all = sub {
        my ($make) = @_;
        my (@positions, $i);

        for ($i = 0; $i < TICKETS; ) {
            my @busy;

            for my $socket (@sockets) {
                my $to = min($i + TOGETHER, TICKETS) - 1;
                last if $i > $to;
                print $socket map { $make->($first + $_) } $i .. $to;
                $socket->flush;
                push @busy, [ $socket, $to - $i + 1 ];
                $i = $to + 1;
            }

            push @positions, map { answers(@$_) } @busy;
        }

        return \@positions;
    };

    my $enter = sub {
        my $body = qq({"userId":$_[0]});
        return "POST /api/token HTTP/1.1\r\nHost: x\r\nContent-Length: "
               . length($body) . "\r\n\r\n$body";
    };
    my $right = [ 0 .. TICKETS - 1 ];
    is difference($all->($enter), $right), '', 'more enter than are remembered';

    @sockets = map { $nginx->connect } 1 .. CONNECTIONS;
    my $get = sub { "GET /api/token/$_[0] HTTP/1.1\r\nHost: x\r\n\r\n" };

    for my $round (1 .. 2) {
        my $before = redis_calls($nginx);
        is difference($all->($get), $right), '', 'each is told its place';
        my $asked = redis_calls($nginx) - $before;

        cmp_ok $asked, '>', TICKETS / 100, 'though some were forgotten';
        cmp_ok $asked, '<', TICKETS, 'and some were not';
    }

    $nginx->stop;
}

sub answers {
    my ($socket, $n) = @_;
    my $bytes = '';
    my @positions;

    while (@positions < $n) {
        sysread $socket, $bytes, 65536, length $bytes or last;

        while ($bytes =~ /\A.*?\r\n\r\n/s) {
            my $head = $+[0];
            my ($length) = substr($bytes, 0, $head)
                           =~ /^Content-Length: (\d+)/mi or return @positions;
            last if length $bytes < $head + $length;

            my $body = substr $bytes, $head, $length;
            push @positions, $body =~ /"position":(\d+)/ ? $1 : $body;
            $bytes = substr $bytes, $head + $length;
        }
    }

    return @positions;
}

# The first difference of two lists.
sub difference {
    my ($got, $right) = @_;

    return @$got . ' of ' . @$right if @$got != @$right;

    for my $i (0 .. $#$right) {
        return "$i: $got->[$i], not $right->[$i]" if $got->[$i] ne $right->[$i];
    }

    return '';
}

# who does not come loses the place
{
    my $nginx = nginx(queue => 'capacity=1 claim=4s ttl=1h');
    my ($ann, $ben, $cy, $dee) = strangers($nginx, 4);

    $_->enter for $ann, $ben, $cy, $dee;
    $ann->leave;
    eventually { $cy->is_active }
               'who is let in and does not come loses the place to the next';
    is position($ben), '404 token_not_found', 'and has no token';
    is $nginx->metric('concert_queue_missed_total'), 1, 'which is counted';

    cmp_ok ends($cy), '>', time + 3000, 'who has come once has the whole time';
    sleep 5;
    is position($dee), 1, 'while the next one waits';
    ok $cy->is_active, 'however long nothing is asked';
    is $ben->enter->json->{position}, 2, 'who did not come waits anew';
    $nginx->stop;
}

# Redis comes back without its last writes: no new epoch, but older numbers
{
    my $name = 'older-' . stranger();
    my $nginx = nginx(http => "concert_queue capacity=1 name=$name;");
    my ($ann, $ben, $cy) = strangers($nginx, 3);

    $_->enter for $ann, $ben, $cy;
    is position($cy), 2, 'a place';
    eventually { $nginx->metric('concert_queue_waiting') == 2 }
               'the job has seen both';
    redis('ZREM', "{concert:$name}:waiting", $cy->id);
    my ($state) = redis('HGET', "{concert:$name}:queue", 'state') =~ /^(\d+ .*?)\r?$/m;
    redis('HSET', "{concert:$name}:queue", 'state', $state =~ s/^(\d+) \d+/$1 2/r);

    eventually { position($cy) =~ /token_not_found/ }
               'that Redis has lost is none here either';
    is position($ben), 1, 'others keep theirs';
    is $cy->enter->json->{position}, 2, 'and who comes again is next';
    is position($cy), 2, 'as every answer says';
    $nginx->stop;
}

# when to ask again
{
    my $nginx = nginx(queue => 'capacity=1 poll=2s ttl=20s');
    my ($ann, @users) = strangers($nginx, 101);

    $_->enter for $ann, @users;

    my @answers = map { $_->token } @users;
    my @next = map { $_->json->{nextPoll} } @answers;
    my @late = @next[20 .. 99];

    is_deeply [ map { $_->header('Retry-After') } @answers ], \@next,
              'Retry-After is nextPoll';
    cmp_ok max(@next[0 .. 1]), '<', min(@late),
           'who waits long is told to ask later than who is next';
    cmp_ok scalar(keys %{ { map { $_ => 1 } @late } }), '>', 3,
           'and not all at the same time';
    cmp_ok max(@next), '<', 20,
           'nobody is told to stay away for longer than a place is kept';
    is $ann->token->json->{nextPoll}, 0, 'who is in need not ask again';
    $nginx->stop;
}

{
    my $nginx = nginx(queue => 'capacity=1 poll=30s rate=1000000/s');
    my ($ann, @users) = strangers($nginx, 20);

    $_->enter for $ann, @users;
    cmp_ok min(map { $_->token->json->{nextPoll} } @users), '>=', 24,
           'nobody who waits is told to ask sooner than poll says, about';
    $nginx->stop;
}

done_testing;
