# What the log says of a store that is away for long: that it is, and that it is
# back, but not each time that it is looked for.

use strict;
use warnings;

use File::Temp ();
use IO::Socket::UNIX ();
use Test::More;

use Concert;

my ($Pg) = $ENV{TEST_NGINX_CONCERT_PG} =~ m{\bhost=(/\S+)};
my ($Redis) = $ENV{TEST_NGINX_CONCERT_REDIS} =~ m{^unix:(/\S+)};

plan skip_all => 'PostgreSQL and Redis are not reached by sockets'
    if !$Pg || !$Redis;

my $Links = File::Temp->newdir;
chmod 0755, $Links;

# A server at the path that ends each connection at once: with so many.
sub ends_connections {
    my ($path, $n) = @_;

    unlink $path;
    my $listener = IO::Socket::UNIX->new(Local => $path, Listen => 128)
                   // die "$path: $!";
    chmod 0777, $path;

    for (1 .. $n) {
        local $SIG{ALRM} = sub { die "nobody connects to $path" };
        alarm 30;
        close($listener->accept // die "$path: $!");
        alarm 0;
    }

    unlink $path;
}

for my $store (
    [ 'PostgreSQL', "$Pg/.s.PGSQL.5432", "$Links/.s.PGSQL.5432",
      qq{concert_postgres "$ENV{TEST_NGINX_CONCERT_PG} host=$Links";},
      sub { $_[0]->get('/api/balance/' . $_[0]->id) } ],
    [ 'Redis', $Redis, "$Links/redis.sock",
      "concert_redis unix:$Links/redis.sock;", sub { $_[0]->enter } ])
{
    my ($name, $real, $path, $directive, $ask) = @$store;

    symlink $real, $path or die "$path: $!";

    my $nginx = nginx(http => $directive);
    my $user = $nginx->client(user(1));
    my $told = sub { grep { /concert: (?!over)/ && /\Q$name\E|is away/i }
                          $nginx->log };

    is $ask->($user)->status, 200, "$name: it is there";
    is scalar(() = $told->()), 0, "$name: and nothing is said of it";

    unlink $path;
    my $end = $name eq 'Redis'
        ? redis(qw( CLIENT KILL TYPE normal ))
        : sql("select count(pg_terminate_backend(pid)) from pg_stat_activity
               where application_name = 'concert'");

    ends_connections($path, 30);

    eventually { $ask->($user)->status == 503 } "$name: it is away";
    is $ask->($user)->status, 503, "$name: again and again" for 1 .. 20;

    my @lines = $told->();
    cmp_ok scalar(@lines), '>', 0, "$name: which is told";
    cmp_ok scalar(@lines), '<', 12,
           "$name: but not each time that it is looked for"
        or diag @lines;

    symlink $real, $path or die "$path: $!";

    eventually { $ask->($user)->status == 200 } "$name: it is back";
    eventually { grep { /concert: \S+ is back/ } $nginx->log }
        "$name: which is told";
    eventually { grep { /concert: over, after \d+ times?:.*\Q$name\E/ }
                      $nginx->log }
        "$name: so is that the fault is over, and how often it was there";

    $nginx->settled;
    $nginx->stop;
}

done_testing();
