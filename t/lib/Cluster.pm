package Cluster;

# A PostgreSQL of a test's own, which listens on a port of 127.0.0.1 as well as
# on a socket, with the schema and with a password for the service's role. Who
# comes by the socket is trusted.

use strict;
use warnings;

use File::Temp ();

# password => text, settings => { name => value }
sub new {
    my ($class, %is) = @_;

    my $dir = File::Temp->newdir('concert-XXXXXX', TMPDIR => 1);
    my $self = bless { dir => $dir, port => Concert::free_port(),
                       process => $$ }, $class;

    chmod 0755, $dir;
    chown uid(), -1, "$dir" if $> == 0;
    $self->create;
    $self->start(%{ $is{settings} // {} });
    $self->fill($is{password});

    return $self;
}

sub dir { return "$_[0]{dir}" }
sub port { return $_[0]{port} }

sub uid { return scalar getpwnam 'postgres' }

# PostgreSQL refuses to run as root.
sub run {
    my ($self, $program, @arguments) = @_;

    my $bin = $ENV{PG_BIN};
    my @as = $> ? () : ('setpriv', '--reuid=postgres', '--regid=postgres',
                        '--init-groups', '--');
    my $log = $self->dir . '/log';

    my $pid = fork // die "cannot fork: $!";

    if ($pid == 0) {
        chdir '/';
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', $log;
        open STDERR, '>&', \*STDOUT;
        exec @as, "$bin/$program", @arguments or POSIX::_exit(127);
    }

    waitpid $pid, 0;
    die "$program: see $log\n" . qx(tail -n 20 $log) if $?;
}

sub create {
    my ($self) = @_;

    my $data = $self->dir . '/data';

    $self->run('initdb', '-D', $data, '-U', 'postgres', '-A', 'trust',
               '-E', 'UTF8', '--locale=C.UTF-8', '--no-sync');

    open my $hba, '>', "$data/pg_hba.conf" or die $!;
    print $hba "local all all trust\n",
               "host all all 127.0.0.1/32 scram-sha-256\n";
    close $hba or die $!;
}

# Starts it, or starts it again with other settings.
sub start {
    my ($self, %settings) = @_;

    my $dir = $self->dir;

    %settings = (listen_addresses => '127.0.0.1', port => $self->port,
                 unix_socket_directories => $dir, fsync => 'off', %settings);

    $self->stop if $self->{started};

    open my $conf, '>', "$dir/data/postgresql.auto.conf" or die $!;
    print $conf map { "$_ = '$settings{$_}'\n" } sort keys %settings;
    close $conf or die $!;

    $self->run('pg_ctl', 'start', '-s', '-w', '-t', 60, '-D', "$dir/data",
               '-l', "$dir/server.log");
    $self->{started} = 1;
}

sub stop {
    my ($self) = @_;

    $self->run('pg_ctl', 'stop', '-s', '-w', '-m', 'fast',
               '-D', $self->dir . '/data');
    $self->{started} = 0;
}

# As the superuser, or somebody else.
sub psql {
    my ($self, $statement, $user, $database) = @_;

    my $pid = open my $out, '-|', 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1',
        '-h', $self->dir, '-p', $self->port, '-U', $user // 'postgres',
        '-d', $database // 'concert', '-c', $statement
        or die "psql: $!";
    my $text = do { local $/; <$out> // '' };

    close $out or die "psql: $statement\n";
    chomp $text;
    return $text;
}

sub fill {
    my ($self, $password) = @_;

    my $owner = 'host=' . $self->dir . ' port=' . $self->port
                . ' dbname=concert user=concert';

    $self->psql($_, 'postgres', 'postgres')
        for 'create role concert login',
            "create role concert_service login password '$password'",
            'create database concert owner concert';

    system("'$ENV{TEST_NGINX_CONCERT_CONF}/stack/migrate' '$owner' "
           . 'concert_service >/dev/null') == 0 or die 'migrate';
}

sub DESTROY {
    my ($self) = @_;

    local ($?, $!);
    $self->stop if $self->{started} && $self->{process} == $$;
}

1;
