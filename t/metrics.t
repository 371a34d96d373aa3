# The numbers of /metrics and /status.

use strict;
use warnings;

use Test::More;

use Concert;

# https://prometheus.io/docs/instrumenting/exposition_formats/
my $Name = qr/[a-zA-Z_:][a-zA-Z0-9_:]*/;
my $Label = qr/[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"/;
my $Value = qr/[+-]?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|Inf|NaN)/i;
my $Sample = qr/^($Name)(?:\{($Label(?:,$Label)*,?)\})? ($Value)$/;

{
    my $nginx = nginx();
    my $ann = $nginx->client(user(7));

    $ann->balance for 1 .. 3;
    $nginx->client(stranger())->get('/api/token/5');
    $ann->enter;
    $ann->charge(1);

    my $text = $nginx->nobody->get('/metrics')->body;
    my @lines = split /\n/, $text;
    my @samples = grep { !/^#/ && length } @lines;

    like $text, qr/\n\z/, 'metrics end with a line feed';
    is_deeply [ grep { !/$Sample/ } @samples ], [],
              'each line of metrics is a comment or a sample';

    my %series;
    $series{ s/ \S+$//r }++ for @samples;
    is_deeply [ grep { $series{$_} > 1 } sort keys %series ], [],
              'no series is told twice';

    # a histogram's series belong to one metric
    my (@order, %seen);
    for (map { /^($Name)/ } @samples) {
        my $metric = s/_(?:bucket|sum|count)$//r;
        push @order, $metric if !@order || $order[-1] ne $metric;
    }
    is_deeply [ grep { $seen{$_}++ } @order ], [],
              'the lines of a metric stand together';

    my (%buckets, %count, @wrong);
    for (@samples) {
        my ($name, $labels, $value) = /$Sample/;

        if ($name =~ s/_bucket$//) {
            $labels =~ s/,?le="([^"]*)"//;
            push @{ $buckets{"$name $labels"} }, [ $1, $value ];
        } elsif ($name =~ s/_count$//) {
            $count{"$name $labels"} = $value;
        }
    }
    for my $series (keys %buckets) {
        my @bucket = @{ $buckets{$series} };

        push @wrong, "$series shrinks"
            if grep { $bucket[$_][1] < $bucket[$_ - 1][1] } 1 .. $#bucket;
        push @wrong, "$series ends without +Inf" if $bucket[-1][0] ne '+Inf';
        push @wrong, "$series has another count"
            if $bucket[-1][1] != ($count{$series} // -1);
    }
    is_deeply \@wrong, [], 'the buckets of histograms add up to their counts';
    cmp_ok scalar keys %buckets, '>', 3, 'there are histograms';

    $nginx->stop;
}

sub requests {
    my ($nginx, $route, $class) = @_;

    return $nginx->metric('concert_request_duration_seconds_count'
                          . qq({route="$route",status="$class"}));
}

{
    my $nginx = nginx(workers => 2);
    my $ann = $nginx->client(user(7));

    $ann->balance for 1 .. 20;
    $nginx->client($_)->get("/api/balance/$_") for map { stranger() } 1 .. 3;
    $ann->put('/api/balance/charge', '{}');
    $ann->charge(1);

    # a request is counted after its answer was sent
    eventually { requests($nginx, 'balance', '2xx') == 20 }
               'requests are counted by route and class, of all workers';
    eventually { requests($nginx, 'balance', '4xx') == 3 }
               'refusals are counted apart';
    eventually { requests($nginx, 'charge', '4xx') == 1 }
               'requests that cannot be read are counted';
    eventually { requests($nginx, 'charge', '2xx') == 1 }
               'each route has its own counts';
    like $nginx->metric('concert_request_duration_seconds_bucket{'
                        . 'route="balance",status="2xx",le="+Inf"}'),
         qr/^20$/, 'the latency of requests is a histogram';

    my $routes = $nginx->nobody->get('/status')->json->{routes};
    is $routes->{balance}{'2xx'}, 20, 'status counts requests, too';

    cmp_ok $nginx->metric('concert_lane_calls_total{group="write"}'), '>=', 1,
           'calls of the lanes are counted';
    cmp_ok $nginx->metric('concert_lane_calls_total{group="read"}'), '>=', 23,
           'calls are counted by group';
    cmp_ok $nginx->metric('concert_lane_batch_size_count{group="read"}'),
           '>=', 1, 'the size of batches is a histogram';

    my %lanes = (read => 4, write => 2, redis => 1);
    is_deeply { map { $_ => $nginx->metric(qq(concert_lanes{group="$_"})) }
                    keys %lanes },
              { map { $_ => 2 * $lanes{$_} } keys %lanes },
              'lanes are those of all workers, as are those that work';
    is_deeply { map { $_->{group} => $_->{lanes} }
                    @{ $nginx->nobody->get('/status')->json->{lanes} } },
              { map { $_ => 2 * $lanes{$_} } keys %lanes },
              'in status, too';

    for my $group (qw( read write redis )) {
        eventually {        # but for a job that is about to be served
            $nginx->metric(qq(concert_lane_waiting_calls{group="$group"})) == 0
        } "the depth of the lanes of $group is told";
        is $nginx->metric(qq(concert_lane_failed_calls_total{group="$group"})),
           0, "the errors of $group are counted";
    }

    kill HUP => $nginx->{pid};
    eventually { grep { /gracefully shutting down/ } $nginx->log }
               'the configuration is read anew';
    $ann->balance;
    eventually { requests($nginx, 'balance', '2xx') == 21 }
               'what was counted survives a new configuration';
    eventually { $nginx->workers == 2 } 'the old workers end';
    is $nginx->metric('concert_workers_died_total'), 0,
       'and are not taken for dead';

    kill TERM => ($nginx->workers)[0];
    eventually { (grep { /exited with code 0/ } $nginx->log) == 3 }
               'a worker that is told to end does';
    eventually { $nginx->workers == 2 } 'and another takes its place';
    is $nginx->metric('concert_workers_died_total'), 0,
       'which is no death, either';

    for my $n (1, 2) {
        eventually { $nginx->metric('concert_lanes{group="read"}')
                     == 2 * $lanes{read} } 'two workers are known';
        kill KILL => ($nginx->workers)[0];
        eventually { $nginx->metric('concert_workers_died_total') == $n }
                   "a worker that was killed is counted ($n)";
    }

    $nginx->quit;
}

# each worker needs a slot for its numbers
{
    my $refused = qr/\[emerg\].*there is no room for 33 worker processes: write "worker_processes 32;"/;
    my $nginx = nginx(workers => 2);
    my $ann = $nginx->client(user(7));
    my @workers;

    eventually { (@workers = $nginx->workers) == 2 } 'two workers start';
    ok !eval { nginx(workers => 33) }, 'more than 32 workers do not start';
    like $@, $refused, 'and nginx says what to write';

    $nginx->reload(qr/worker_processes 2/, 'worker_processes 33');
    eventually { grep { /$refused/ } $nginx->log } 'nor do they by a reload';
    $nginx->reload(qr/thread_pool concert_io .*/, '');
    eventually { grep { /write "thread_pool concert_io threads=7;"/ }
                      $nginx->log } 'nor does one without threads';
    is $ann->balance, 7, 'and what was there goes on';
    is_deeply [ $nginx->workers ], \@workers, 'as it was';

    $nginx->quit;
}

{
    my $nginx = nginx(queue => 'capacity=2 ttl=5m');
    my @users = map { $nginx->client(stranger()) } 1 .. 5;

    $_->enter for @users;

    eventually { $nginx->metric('concert_queue_waiting') == 3 }
               'metrics tell how many wait';
    eventually { $nginx->metric('concert_queue_active') == 2 }
               'metrics tell how many are in';
    is $nginx->metric('concert_queue_capacity'), 2,
       'metrics tell how many may be in';

    my $status = $nginx->nobody->get('/status')->json;

    is $status->{queue}{waiting}, 3, 'status tells how many wait';
    is $status->{queue}{active}, 2, 'status tells how many are in';
    is $status->{queue}{capacity}, 2, 'status tells how many may be in';
    is $status->{queue}{ttl}, 300, 'status tells how long tokens live';
    is_deeply [ sort map { $_->{group} } @{ $status->{lanes} } ],
              [ qw( read redis write ) ],
              'status tells of all groups of lanes';
    ok $status->{version}, 'status tells the version';
    is ref $status->{routes}, 'HASH', 'status tells of the routes';

    $_->leave for @users;

    eventually { $nginx->metric('concert_queue_waiting') == 0 }
               'metrics tell when nobody waits any more';
    eventually { $nginx->metric('concert_queue_active') == 0 }
               'metrics tell when nobody is in any more';

    $nginx->stop;
}

{
    my $nginx = nginx(http => 'concert_postgres "host=/nowhere dbname=x";');
    my $ann = $nginx->client(stranger());

    $ann->get('/api/balance/' . $ann->id) for 1 .. 5;

    cmp_ok $nginx->metric('concert_lane_failed_calls_total{group="read"}')
           + $nginx->metric('concert_lane_refused_calls_total{group="read"}'),
           '>=', 5, 'calls that fail are counted';
    is $nginx->metric('concert_lane_down{group="read"}'), 1,
       'a group whose server is away is told as down';

    my ($read) = grep { $_->{group} eq 'read' }
                      @{ $nginx->nobody->get('/status')->json->{lanes} };
    is ref $read->{down} ? "$read->{down}" : $read->{down}, 1,
       'status tells, too, that a group is down';

    $nginx->stop;
}

done_testing;
