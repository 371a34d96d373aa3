# PostgreSQL and Redis go away and come back. Each is reached through a link to
# its socket, so that a test may cut it off from the nginx that is under test,
# and from nobody else.

use strict;
use warnings;

use File::Temp ();
use IO::Socket::UNIX ();
use Test::More;

use Concert;

my ($pg) = $ENV{TEST_NGINX_CONCERT_PG} =~ m{\bhost=(/\S+)};
my ($redis) = $ENV{TEST_NGINX_CONCERT_REDIS} =~ m{^unix:(/\S+)};

plan skip_all => 'PostgreSQL and Redis are not reached by sockets'
    if !$pg || !$redis;

my $links = File::Temp->newdir;
my $application = 'stores-back-' . $$;

# A later keyword of a connection string wins.
my $conninfo = "$ENV{TEST_NGINX_CONCERT_PG} host=$links"
               . " application_name=$application";

sub link_postgres {
    symlink "$pg/.s.PGSQL.5432", "$links/.s.PGSQL.5432" or die $!;
}

sub link_redis {
    symlink $redis, "$links/redis.sock" or die $!;
}

sub cut_postgres {
    unlink "$links/.s.PGSQL.5432" or die $!;
    break_postgres();
}

# Ends the connections that there are; new ones can be made.
sub break_postgres {
    sql("select count(pg_terminate_backend(pid)) from pg_stat_activity
         where application_name = '$application'");
}

# Those that can be ended by now.
sub connections {
    return sql("select count(*) from pg_stat_activity
                where application_name = '$application'");
}

sub cut_redis {
    unlink "$links/redis.sock" or die $!;
    redis(qw( CLIENT KILL TYPE normal ));
}

{
    link_postgres();

    my $nginx = nginx(http => qq{concert_postgres "$conninfo";});
    my $ann = $nginx->client(user(100));

    is $ann->balance, 100, 'PostgreSQL answers';

    cut_postgres();

    eventually { $ann->get('/api/balance/' . $ann->id)->code
                 eq 'store_unavailable' }
               'when PostgreSQL goes away balances are refused';
    eventually { $ann->charge(1)->code eq 'store_unavailable' }
               'when PostgreSQL goes away charges are refused';
    is $ann->enter->json->{status}, 'ACTIVE',
       'when PostgreSQL goes away the queue moves on';
    is $nginx->metric('concert_lane_down{group="write"}'), 1,
       'metrics tell that PostgreSQL is away';
    is $nginx->nobody->get('/readyz')->status, 503,
       'readyz is 503 when PostgreSQL has gone away';

    link_postgres();

    eventually { $nginx->nobody->get('/readyz')->status == 200 }
               'readyz is 200 when PostgreSQL has come back';
    eventually { $ann->get('/api/balance/' . $ann->id)->status == 200 }
               'when PostgreSQL comes back there are balances';
    eventually { $ann->charge(1)->status == 200 }
               'when PostgreSQL comes back charges are made';
    eventually { $nginx->metric('concert_lane_down{group="write"}') == 0 }
               'metrics tell that PostgreSQL is back';

    $nginx->stop;
}

{
    my $nginx = nginx(http => qq{concert_postgres "$conninfo";});
    my $ann = $nginx->client(user());
    my %count = (200 => 0, 503 => 0, 504 => 0);

    for (1 .. 20) {
        $count{ $ann->charge(1)->status }++;
        break_postgres();
    }

    my $balance = sql('select balance from concert.accounts where account_id = '
                      . $ann->id);

    is $count{200} + $count{503} + $count{504}, 20,
       'a charge over a connection that breaks is done, not done or not known';
    cmp_ok $balance, '>=', $count{200}, 'no charge that was answered is lost';
    cmp_ok $balance, '<=', $count{200} + $count{504},
           'no charge that was refused is made, and none is made twice';

    eventually { $ann->charge(1)->status == 200 }
               'connections that broke are made anew';

    $nginx->stop;
}

# What a worker told of now goes with it, though nobody takes its place.
{
    my $one = [ qr/worker_processes 2/, 'worker_processes 1' ];
    my $down = 'concert_lane_down{group="write"}';
    my $start = sub {
        my $nginx = nginx(workers => 2, http =>
                          qq{concert_postgres "$conninfo" read=1 write=1;});

        eventually { connections() == 4 } 'two workers are connected';
        return $nginx;
    };
    my $nginx = $start->();

    cut_postgres();
    eventually { $nginx->metric($down) == 2 } 'PostgreSQL is away for both';
    $nginx->reload(@$one);
    eventually { $nginx->workers == 1 } 'and then there is one';
    eventually { $nginx->metric($down) == 1 } 'for which it is away';

    link_postgres();
    eventually { $nginx->metric($down) == 0 } 'until it is back for all';
    $nginx->stop;

    $nginx = $start->();
    cut_postgres();
    eventually { $nginx->metric($down) == 2 } 'it is away again';

    my @old = $nginx->workers;
    kill STOP => @old;
    $nginx->reload(@$one);
    eventually { $nginx->workers == 3 && $nginx->metric($down) == 2 }
               'of two workers that cannot end one has a successor';
    kill KILL => @old;
    eventually { $nginx->workers == 1 } 'both are killed';
    eventually { $nginx->metric($down) == 1 } 'and one is left';

    link_postgres();
    eventually { $nginx->metric($down) == 0 } 'for which PostgreSQL is back';
    is $nginx->metric('concert_workers_died_total'), 1,
       'who died in a place that nobody takes is counted once';

    $nginx->quit;
}

{
    link_redis();

    my $nginx = nginx(http => "concert_redis unix:$links/redis.sock;",
                      queue => 'capacity=1');
    my $ann = $nginx->client(user(100));
    my $bob = $nginx->client(user());
    my $eve = $nginx->client(user());

    $_->enter for $ann, $bob, $eve;

    cut_redis();

    eventually { $nginx->client(stranger())->token->code
                 eq 'queue_unavailable' }
               'when Redis goes away places that are not known are not told';
    is_problem $eve->enter, 'queue_unavailable',
               'when Redis goes away nobody enters';
    is $ann->balance, 100, 'when Redis goes away there are balances';
    is $nginx->metric('concert_lane_down{group="redis"}'), 1,
       'metrics tell that Redis is away';
    is $nginx->nobody->get('/readyz')->status, 503,
       'readyz is 503 when Redis has gone away';

    link_redis();

    eventually { $nginx->nobody->get('/readyz')->status == 200 }
               'readyz is 200 when Redis has come back';
    eventually { $ann->is_active } 'when Redis comes back who was in is in';
    is $eve->token->json->{position}, 2,
       'when Redis comes back who waits has kept the place';

    redis(qw( SCRIPT FLUSH ));

    is $eve->token->json->{position}, 2,
       'a Redis that has forgotten the scripts is told them again';
    is $ann->leave->status, 204,
       'a Redis that was told the scripts again lets one leave';
    ok $bob->is_active,
       'a Redis that was told the scripts again lets the next one in';

    $nginx->stop;
}

# Redis has lost what it knew of this queue.
{
    my $name = 'lost-' . stranger();
    my $nginx = nginx(http => "concert_queue capacity=1 name=$name;");
    my ($ann, $bob, $eve) = map { $nginx->client(stranger()) } 1 .. 3;

    $_->enter for $ann, $bob, $eve;

    my @keys = redis('KEYS', "*$name*") =~ /^(\{?\w.*\Q$name\E.*?)\r?$/mg;
    redis('DEL', @keys);

    cmp_ok scalar @keys, '>=', 1, 'the keys of a queue carry its name';
    eventually { !$ann->is_active }
               'who was in before Redis lost its data may not go on';
    is_problem $bob->token, 'token_not_found',
               'who waited before Redis lost its data has no token';
    is $eve->enter->json->{status}, 'ACTIVE',
       'who enters first after Redis lost its data is the first';
    is $ann->enter->json->{position}, 1,
       'who enters second after Redis lost its data waits';

    $nginx->stop;
}

# A database that is not the one this module was made for.
{
    my $database = "concert_test_$$";
    my $other = "$ENV{TEST_NGINX_CONCERT_PG} dbname=$database";

    sql("create database $database");

    my $nginx = nginx(http => qq{concert_postgres "$other";});
    my $ann = $nginx->client(user());

    eventually { $ann->get('/api/balance/' . $ann->id)->code
                 eq 'store_unavailable' }
               'a database without the schema does not serve';
    is $nginx->nobody->get('/readyz')->status, 503,
       'a database without the schema is not ready';
    ok scalar(grep { /\[error\].*concert:.*schema version none/ } $nginx->log),
       'the log says that the schema is missing';

    $nginx->quit;
    drop_database($database);
}

{
    my $database = "concert_test_$$";
    my $other = "$ENV{TEST_NGINX_CONCERT_PG} dbname=$database";
    my $owner = "$ENV{TEST_NGINX_CONCERT_PG_OWNER} dbname=$database";
    my ($role) = $other =~ /\buser=(\S+)/;

    sql("create database $database");

    my @schema = sort glob "$ENV{TEST_NGINX_CONCERT_CONF}/schema/*.sql";

    system('psql', '-Xq', '-o', '/dev/null', '-d', $owner,
           (map { ('-f', $_) } @schema),
           '-c', 'insert into concert.schema_version values (999)',
           '-c', "select concert.grant_service('$role')") == 0
        or die 'psql';

    my $nginx = nginx(http => qq{concert_postgres "$other";});
    my $ann = $nginx->client(user());

    eventually { $ann->get('/api/balance/' . $ann->id)->code
                 eq 'store_unavailable' }
               'a database of another version does not serve';
    ok scalar(grep { /\[error\].*concert:.*schema version 999/ } $nginx->log),
       'the log says which version the schema has';

    $nginx->quit;
    drop_database($database);
}

done_testing;
