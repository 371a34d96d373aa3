package Stack;

# The PostgreSQL of the tests' stack, to be killed and started again.

use strict;
use warnings;

use Concert ();

my $Program = "$ENV{TEST_NGINX_CONCERT_CONF}/stack/stack";

# Whether the tests have a stack, as "make test" gives them.
sub is_there { return -d "$ENV{VAR}/postgres/data" }

sub pg_pid {
    open my $in, '<', "$ENV{VAR}/postgres/data/postmaster.pid" or die $!;
    chomp(my $pid = <$in>);
    return $pid;
}

# SIGKILL, at once for all: of PostgreSQL's first process and its sessions.
sub kill_postgres {
    my $pid = pg_pid();

    open my $in, '<', "/proc/$pid/task/$pid/children" or die "$pid: $!";
    my @pids = ($pid, split ' ', <$in> // '');

    kill KILL => @pids;
    Concert::is_gone($_) || die "process $_ does not end" for @pids;
    Concert::forget_session();
}

sub start_postgres {
    system("'$Program' services-start >/dev/null") == 0 or die 'services-start';
}

1;
