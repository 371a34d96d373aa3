# Many sales in one nginx: each has its queue, its stores and its rules, and
# none waits for another.

use strict;
use warnings;

use Cluster;
use File::Temp  ();
use IO::Select  ();
use POSIX       ();
use Test::More;
use Time::HiRes qw( sleep time );

use Concert;
use Proxy;
use Token;

use constant { MANY => 64, TOGETHER => 200, RELOADS => 6 };

my $postgres = $ENV{TEST_NGINX_CONCERT_PG};
my $routes = "$ENV{TEST_NGINX_CONCERT_CONF}/concert_routes.conf";
my $redis = $ENV{TEST_NGINX_CONCERT_REDIS} =~ s/^unix://r;


# A server of a sale, on a port of its own.
sub serves {
    my ($port, $sale, $more) = @_;
    $more //= '';

    return "server { listen 127.0.0.1:$port; concert_use $sale; $more "
           . "include $routes; }\n";
}

# The same nginx, asked on another port; who asks is the same, too.
sub on {
    my ($nginx, $port) = @_;
    return bless { %$nginx, port => $port }, 'Concert::Nginx';
}

sub also { my ($who, $there) = @_; return $there->client($who->id) }

# A block, all in a line: what a test says at the http level takes the place of
# the defaults.
sub sale {
    my ($name, @directives) = @_;
    return "concert_sale $name { " . join(' ', map { "$_;" } @directives)
           . " }\n";
}

my $Queues = 0;
sub queue_name { return sprintf 'own-%d-%d-%d', time, $$, ++$Queues }

sub status_of { return $_[0]->enter->json->{status} }


# a queue of its own

{
    my $port = Concert::free_port($ENV{TEST_NGINX_PORT} + 40);
    my $festival = queue_name();
    my $nginx = nginx(queue => 'capacity=1',
        http => "log_format sales '\$concert_sale \$concert_route \$status';\n"
                . sale('festival', "concert_queue name=$festival capacity=1",
                       'concert_max_seats 1', 'concert_hold 7m',
                       'concert_user_limit 3')
                . serves($port, 'festival'),
        server => 'access_log logs/sales.log sales;'
                  . ' location = /tokens/ { concert_use festival;'
                  . ' concert token_enter; }');
    my $there = on($nginx, $port);
    my ($ann, $ben) = map { $nginx->client(user()) } 1, 2;
    my $schedule = schedule();

    is status_of($ann), 'ACTIVE', 'who comes first is in';
    is status_of($ben), 'WAITING', 'who comes next waits';
    is status_of(also($ben, $there)), 'ACTIVE',
       'who waits in one line is first in the other';
    is status_of(also($ann, $there)), 'WAITING',
       'who is in here waits there';
    is_deeply [ map { ($_->is_active ? 1 : 0) } $ann, $ben,
                      map { also($_, $there) } $ann, $ben ],
              [ 1, 0, 0, 1 ], 'both places of a user are remembered';
    is $ben->post('/tokens/', { userId => 0 + $ben->id })->json->{status},
       'ACTIVE', 'a location may serve another sale than its server';

    also($ben, $there)->leave;
    eventually { also($ann, $there)->is_active }
               'who leaves one line gives that place away';
    ok !$ben->is_active, 'and no other';
    ok $ann->is_active, 'the other line has not moved';

    is_problem also($ann, $there)->reserve($schedule, 1, 2), 'invalid_request',
               'a sale has rules of its own', { field => 'seatIdList' };
    is also($ann, $there)->reserve($schedule, 1)->status, 200,
       'and what it does not say is as in the http block';
    is sql("select round(extract(epoch from
                                 max(s.hold_until) - now()) / 60)
            from concert.seats s where s.schedule_id = $schedule
            and s.hold_until > now()"), 7, 'seats are held as long as it says';

    my $status = $nginx->nobody->get('/status')->json;
    is $status->{sale}, 'main', 'status is of the sale of its location';
    is_deeply [ map { $_->{name} } @{ $status->{sales} } ],
              [ 'main', 'festival' ], 'and lists all';
    is_deeply [ map { $_->{queue}{name} eq $festival ? 1 : 0 }
                    @{ $status->{sales} } ], [ 0, 1 ],
              'each with its queue';
    is $there->nobody->get('/status')->json->{queue}{name}, $festival,
       'another location tells of another';

    eventually { $nginx->metric('concert_queue_active{sale="main"}') == 1 }
               'metrics say of which sale they are';
    eventually { $nginx->metric('concert_queue_waiting{sale="main"}') == 1
                 && $nginx->metric('concert_queue_waiting{sale="festival"}')
                    == 0 }
               'each has its own';
    is $nginx->metric('concert_lanes{group="read",sale="festival"}'), -1,
       'sales of one database have its lanes together';

    $nginx->stop;

    open my $log, '<', "$nginx->{root}/logs/sales.log" or die $!;
    my @lines = <$log>;
    is scalar(grep { /^main token_enter 200$/ } @lines), 2,
       'the log says of which sale a request is';
    is scalar(grep { /^festival token_enter 200$/ } @lines), 1,
       'of each location';
}


# what sales have together

{
    my $port = Concert::free_port($ENV{TEST_NGINX_PORT} + 40);
    my $nginx = nginx(queue => 'capacity=1',
        http => sale('other', 'concert_max_seats 2') . serves($port, 'other'));
    my ($ann, $ben) = map { $nginx->client(stranger()) } 1, 2;

    is status_of($ann), 'ACTIVE', 'a sale that names no queue';
    is status_of(also($ben, on($nginx, $port))), 'WAITING',
       'has that of the http block';
    is status_of(also($ann, on($nginx, $port))), 'ACTIVE',
       'with the same who are in';
    $nginx->stop;
}


# who may buy

{
    my $port = Concert::free_port($ENV{TEST_NGINX_PORT} + 40);
    my ($ours, $theirs) = map { Token::Key->new('HS256') } 1, 2;
    my $nginx = nginx(http => 'concert_identity jwt ' . $ours->file . ";\n"
        . sale('theirs', 'concert_identity jwt ' . $theirs->file)
        . serves($port, 'theirs'));
    my $user = user(5);
    my $token = $ours->sign({ sub => "$user", exp => time + 600 });
    my %says = (Authorization => "Bearer $token");

    is $nginx->client(undef, %says)->get("/api/balance/$user")->status, 200,
       'a token is good where its key is known';
    is_problem on($nginx, $port)->client(undef, %says)
               ->get("/api/balance/$user"), 'identity_invalid',
               'and nowhere else, although it was good a moment ago';
    $nginx->stop;
}


# a database of its own, which freezes

my $cluster = Cluster->new(password => 'secret');
my $conninfo = 'host=' . $cluster->dir . ' port=' . $cluster->port
               . ' dbname=concert user=concert_service';

# All processes of the cluster.
sub processes {
    open my $in, '<', $cluster->dir . '/data/postmaster.pid' or die $!;
    chomp(my $master = <$in>);

    open my $list, '<', "/proc/$master/task/$master/children" or die $!;
    return $master, split ' ', <$list> // '';
}

{
    my $port = Concert::free_port($ENV{TEST_NGINX_PORT} + 40);
    my $festival = queue_name();
    my $nginx = nginx(
        http => 'concert_timeout 10s;'
                . sale('festival', "concert_postgres \"$conninfo\" read=2 write=1",
                       "concert_queue name=$festival")
                . serves($port, 'festival'));
    my $there = on($nginx, $port);
    my $ann = $nginx->client(user(7));
    my $user = $ann->id;

    $cluster->psql("select concert.add_user($user, 11)", 'concert');
    is $ann->balance, 7, 'a user has money in one database';
    is also($ann, $there)->balance, 11, 'and other money in the other';

    $ann->charge(1);
    is also($ann, $there)->balance, 11, 'what is done in one';
    is $ann->balance, 8, 'is done there alone';
    is $nginx->metric('concert_lanes{group="write",sale="festival"}'), 1,
       'a database has its own lanes';

    $_->enter for $ann, also($ann, $there);
    concert('in one database');

    my ($here) = grep { $_ ne '[]' }
                      map { $ann->get('/api/concerts')->body } 1, 2;
    ok $here, 'concerts of one database';
    is also($ann, $there)->get('/api/concerts')->body, '[]',
       'are not those of the other, although their pages lie side by side';

    my @frozen = processes();
    kill STOP => @frozen;

    # more than it has lanes
    my @waiting = map { $there->begin(also($ann, $there)
                            ->bytes_of(GET => "/api/balance/$user")) } 1 .. 8;
    my $schedule = schedule(seats => TOGETHER);
    my @statuses = map { $ann->get("/api/balance/$user")->status,
                         $ann->charge(1)->status,
                         $ann->token->status } 1 .. TOGETHER;

    is_deeply [ grep { $_ != 200 } @statuses ], [],
              'with the database of one sale frozen the other sells on';
    is_deeply [ IO::Select->new(@waiting)->can_read(0) ], [],
       'before anybody of the frozen one has an answer';
    is also($ann, $there)->token->status, 200,
       'whose queue moves, too, as it is in another store';

    my @answers = map { Concert::Answer->new($_) } @waiting;
    is_deeply [ grep { $_->status !~ /^50[34]$/ } @answers ], [],
              'a sale with a frozen database refuses in the end';
    eventually { also($ann, $there)->get("/api/balance/$user")->code
                 eq 'store_unavailable' } 'then at once';
    is $ann->get("/api/balance/$user")->status, 200,
       'while the other has not noticed';
    is $nginx->metric('concert_lane_down{group="read",sale="main"}'), 0,
       'a store is away for those that have it';
    is $nginx->metric('concert_lane_down{group="read",sale="festival"}'), 1,
       'and for no others';
    is $nginx->nobody->get('/readyz')->status, 200, 'one sale is ready';
    is $there->nobody->get('/readyz')->status, 503, 'the other is not';

    kill CONT => @frozen;
    eventually { also($ann, $there)->get("/api/balance/$user")->status == 200 }
               'a database that goes on is asked again';
    $nginx->stop;

    ok scalar(grep { /\[error\].*read of "festival" is away/ } $nginx->log),
       'the log says whose store is away';
}


# holds run out in each database

{
    my $port = Concert::free_port($ENV{TEST_NGINX_PORT} + 40);
    my $nginx = nginx(
        http => sale('festival', "concert_postgres \"$conninfo\" read=1 write=1",
                     'concert_queue name=' . queue_name())
                . serves($port, 'festival'));
    my $user = user(5);
    my $seats = 'from concert.seats where reservation_id is not null';

    $cluster->psql("select concert.add_user($user, 5)", 'concert');
    my $schedule = $cluster->psql(
        "select concert.add_schedule(concert.add_concert('A festival'),
                                     now() + interval '9 days', 5, 1000, null)",
        'concert');
    my $concert = $cluster->psql("select concert_id from concert.schedules
                                  where schedule_id = $schedule", 'concert');
    $cluster->psql("select * from concert.reserve(array[gen_random_uuid()],
                        array[$user]::bigint[], array[$concert]::bigint[],
                        array[$schedule]::bigint[], array['{1,2}'], 1, null)",
                   'concert');

    eventually { $cluster->psql("select count(*) from concert.reservations
                                 where status = 'EXPIRED'", 'concert') > 0 }
               'jobs are done for the database of each sale';
    eventually { $nginx->metric('concert_holds_expired_total{sale="festival"}')
                 > 0 } 'and counted with it';
    $nginx->stop;
}


# as many as there may be

sub many {
    my ($n, $first) = @_;
    my $name = queue_name();
    my $http = join '', map { sale("s$_", "concert_queue name=$name-$_"
                                          . ' capacity=1') } 1 .. $n;

    my $places = join ' ', map { "location = /token/$_ { concert_use s$_; "
                                 . 'concert token_enter; }' } 1 .. $n;

    return (http => $http, server => $places);
}

{
    my $nginx = nginx(many(MANY), workers => 2);
    my $few = nginx(many(1), workers => 2);
    my ($ann, $ben) = map { $nginx->client(stranger()) } 1, 2;
    my %status;

    for my $n (1 .. MANY) {
        my $first = $n % 2 ? $ann : $ben;
        my $next = $n % 2 ? $ben : $ann;

        $status{ join ' ', map {
            $_->post("/token/$n", { userId => 0 + $_->id })->json->{status}
        } $first, $next }++;
    }

    is_deeply \%status, { 'ACTIVE WAITING' => MANY },
              'each of 64 sales has a line of its own';
    is scalar @{ $nginx->nobody->get('/status')->json->{sales} }, MANY + 1,
       'all are told of';
    is $nginx->descriptors_at_rest, $few->descriptors_at_rest,
       'and have no more connections than one';
    $_->stop for $nginx, $few;
}


# reloads under traffic

# Asks on and on in a process of its own, until there is a file; says how often,
# and what was not answered well.
sub traffic {
    my ($ask) = @_;
    my $directory = File::Temp->newdir;
    pipe my $out, my $in or die $!;

    my $pid = fork // die "fork: $!";

    if ($pid == 0) {
        my ($n, %bad);

        until (-e "$directory/end") {
            my $says = $ask->();
            $n++;
            $bad{$says}++ if $says !~ /^2/;
        }

        print $in join(' ', $n, map { "$_: $bad{$_}" } sort keys %bad), "\n";
        close $in;
        POSIX::_exit(0);
    }

    close $in;
    return sub {
        open my $end, '>', "$directory/end" or die $!;
        my $line = <$out> // 'died';
        waitpid $pid, 0;
        chomp $line;
        return $line;
    };
}

# Reloads with these directives; the workers that were have ended then.
sub reload_to {
    my ($nginx, $http, $server) = @_;
    my %old = map { $_ => 1 } $nginx->workers;

    $nginx->{configuration} =~ s/#sales\n.*?#end\n/#sales\n$http#end\n/s;
    $nginx->{configuration} =~ s/concert_use \w+;/concert_use $server;/;
    $nginx->reload('^', '');

    my $deadline = time + 30;
    sleep 0.02 until time > $deadline
                     || $nginx->workers && !grep { $old{$_} } $nginx->workers;
}

{
    my $port = Concert::free_port($ENV{TEST_NGINX_PORT} + 40);
    my ($one, $two) = (queue_name(), queue_name());
    my $nginx = nginx(http => "#sales\n#end\n" . serves($port, 'main'),
                      workers => 2);
    my $there = on($nginx, $port);
    my ($ann, $ben) = map { $nginx->client(user(1_000_000)) } 1, 2;

    my $here = traffic(sub {
        my $answer = $ann->charge(1);
        return $answer->status;
    });
    my $around = traffic(sub {
        my $answer = also($ben, $there)->enter;
        return $answer->status;
    });

    for (1 .. RELOADS) {
        reload_to($nginx, sale('a', "concert_queue name=$one"), 'a');
        reload_to($nginx, sale('a', "concert_queue name=$two capacity=3",
                               "concert_postgres \"$conninfo\" read=1 write=1")
                          . sale('b', 'concert_hold 2m'), 'a');
        reload_to($nginx, sale('b', 'concert_hold 3m'), 'b');
        reload_to($nginx, '', 'main');
    }

    like $_->(), qr/^[1-9]\d*$/,
         'sales come, change and go, and no request fails' for $here, $around;
    is $ann->balance % 1_000_000, $ann->balance - 1_000_000, 'nor is lost';
    $nginx->stop;
}


# what a zone remembers after a reload

# Who waits and is told so without Redis.
sub remembered {
    my ($proxy, @clients) = @_;

    $proxy->close;
    my @codes;
    eventually { @codes = map { $_->token->status } @clients;
                 !grep { $_ != 200 && $_ != 503 } @codes }
               'Redis is away';
    $proxy->open;

    return [ @codes ];
}

{
    my $proxy = Proxy->new($redis);
    my $port = Concert::free_port($ENV{TEST_NGINX_PORT} + 40);
    my ($one, $two) = (queue_name(), queue_name());
    my $main = queue_name();
    my $nginx = nginx(
        without => 'concert_queue',
        http => 'concert_redis unix:' . $proxy->path . ";\n"
                . "#sales\nconcert_queue name=$main capacity=1;\n"
                . sale('festival', "concert_queue name=$one capacity=1")
                . "#end\n" . serves($port, 'festival'));
    my $there = on($nginx, $port);
    my ($ann, $ben, $cy) = map { $nginx->client(stranger()) } 1 .. 3;

    $_->enter for $ann, $ben, also($ann, $there), also($cy, $there);
    eventually { $ben->token->json->{position} == 1
                 && also($cy, $there)->token->json->{position} == 1 }
               'two wait, each in a line';

    my $same = "concert_queue name=$main capacity=1;\n";
    reload_to($nginx, $same . sale('festival', "concert_queue name=$two"
                                               . ' capacity=1'), 'festival');
    is_problem also($cy, $there)->token, 'token_not_found',
               'nobody waits in a queue of another name';
    is also($cy, $there)->enter->json->{status}, 'ACTIVE',
       'and may be in at once';

    reload_to($nginx, $same
              . sale('festival', "concert_queue name=$one capacity=1")
              . sale('other', 'concert_hold 1m'), 'festival');
    is_deeply remembered($proxy, $ben, also($cy, $there)), [ 200, 200 ],
              'those of a queue that is the same are remembered';
    $nginx->quit;
}

undef $cluster;
done_testing;
