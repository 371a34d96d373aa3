package Proxy;

# Stands between nginx and the Unix socket of a server, PostgreSQL or Redis, in
# a process of its own: passes on what it gets, until it is closed, frozen, or
# has to cut a connection at a given byte.
#
#   my $proxy = Proxy->new($socket);    # listens in a directory of its own
#   $proxy->close;                      # the server is away
#   $proxy->open;
#   $proxy->freeze;                     # it takes requests and does not answer
#   $proxy->thaw;
#   $proxy->arm(down => 17, 'charge', 1);
#
#   $proxy->hold('settle');             # keeps the answer to that word back
#   $proxy->kept;                       # so many bytes of such answers
#   $proxy->release;
#
# After hold() what comes down to the next connection that sends the word stays
# with the proxy until release(), or until one of the two sides has ended.
#
# After arm() the next connection that sends the word "charge" is cut when 17
# bytes of what follows have come "down" from the server (or gone "up" to it,
# counted from the chunk with the word); then so many more after the first, if
# it says more than 1.  What is over on that side is not passed on.

use strict;
use warnings;

use File::Basename   qw( basename );
use File::Temp       ();
use IO::Handle;
use IO::Select;
use IO::Socket::UNIX ();
use POSIX            ();
use Socket;

my %Running;
my $Owner = $$;

sub new {
    my ($class, $server) = @_;

    my $directory = File::Temp->newdir('concert-XXXXXX', TMPDIR => 1);
    chmod 0755, $directory;

    my $self = bless { server => $server, directory => $directory,
                       path => "$directory/" . basename($server) }, $class;

    return $self->open;
}

sub directory { return "$_[0]{directory}" }
sub path { return $_[0]{path} }

sub open {
    my ($self) = @_;

    my $listener = IO::Socket::UNIX->new(Local => $self->{path}, Listen => 128)
                   // die "$self->{path}: $!";
    chmod 0777, $self->{path};

    socketpair my $ours, my $its, AF_UNIX, SOCK_STREAM, PF_UNSPEC
        or die "socketpair: $!";
    $_->autoflush for $ours, $its;

    my $pid = fork // die "fork: $!";

    if ($pid == 0) {
        CORE::close($ours);
        $SIG{PIPE} = 'IGNORE';
        eval { serve($listener, $its, $self->{server}); 1 } or warn $@;
        POSIX::_exit(0);
    }

    @$self{qw( pid control )} = ($pid, $ours);
    $Running{$pid} = 1;

    return $self;
}

sub close {
    my ($self) = @_;
    my $pid = delete $self->{pid} // return;

    unlink $self->{path};
    finish($pid);
}

sub freeze {
    my ($self) = @_;
    kill STOP => $self->{pid};
    waitpid $self->{pid}, POSIX::WUNTRACED();
}

sub thaw { kill CONT => $_[0]{pid} }

# Both return "<bytes up> <bytes down> <cuts>" since the last arm().
sub arm { my $self = shift; return $self->command("arm @_") }
sub counts { return $_[0]->command('counts') }

sub hold { $_[0]->command("hold $_[1]") }
sub kept { return ($_[0]->command('kept'))[0] }
sub release { $_[0]->command('release') }

sub command {
    my ($self, $line) = @_;

    my $control = $self->{control};

    print $control "$line\n";
    chomp(my $answer = <$control> // die "the proxy is gone");

    return split / /, $answer;
}

sub finish {
    my ($pid) = @_;

    local ($?, $!);
    kill KILL => $pid;
    waitpid $pid, 0;
    delete $Running{$pid};
}

END {
    if ($$ == $Owner) {
        finish($_) for keys %Running;
    }
}


# --- in the process of its own ----------------------------------------------

sub serve {
    my ($listener, $control, $target) = @_;

    my $select = IO::Select->new($listener, $control);
    my %side;       # by socket: its connection, and which way its bytes go
    my $state = { up => 0, down => 0, cuts => 0, left => 0, armed => 0,
                  words => [], held => [] };

    for (;;) {
        for my $socket ($select->can_read) {
            if ($socket == $control) {
                obey($control, $state) or return;

            } elsif ($socket == $listener) {
                my $client = $listener->accept or next;
                my $server = IO::Socket::UNIX->new(Peer => $target);

                if (!$server) {
                    CORE::close($client);
                    next;
                }

                my $connection = { client => $client, server => $server,
                                   armed => -1 };
                $side{$client} = [$connection, 'up', $server];
                $side{$server} = [$connection, 'down', $client];
                $select->add($client, $server);

            } elsif ($side{$socket}
                     && !pass($socket, @{ $side{$socket} }, $state))
            {
                for my $end (@{ $side{$socket}[0] }{qw( client server )}) {
                    delete $side{$end};
                    $select->remove($end);
                    CORE::close($end);
                }
            }
        }
    }
}

# Returns false when the test has ended.
sub obey {
    my ($control, $state) = @_;

    my $line = <$control> // return 0;

    if ($line =~ /^arm (up|down) (\d+) (\S+) (\d+)/) {
        %$state = (way => $1, at => $2, word => $3, left => $4,
                   up => 0, down => 0, cuts => 0,
                   armed => $state->{armed} + 1);
    }

    if ($line =~ /^kept/) {
        my $kept = 0;
        $kept += length $_->{kept} for @{ $state->{held} };
        print $control "$kept\n";
        return 1;
    }

    push @{ $state->{words} }, $1 if $line =~ /^hold (\S+)/;
    release_all($state) if $line =~ /^release/;

    print $control "@$state{qw( up down cuts )}\n";
    return 1;
}

# What was kept is passed on, but to those who have gone.
sub release_all {
    my ($state) = @_;

    for my $connection (@{ $state->{held} }) {
        my $kept = delete $connection->{kept};
        put($connection->{client}, $kept) if $connection->{client}->opened;
    }

    @$state{qw( words held )} = ([], []);
}

# Whether all was written.
sub put {
    my ($to, $bytes) = @_;

    while (length $bytes) {
        my $n = syswrite $to, $bytes;
        return 0 if !defined $n;
        substr $bytes, 0, $n, '';
    }

    return 1;
}

# Begins to keep what a connection is answered, if it sends a word of hold().
sub keep {
    my ($connection, $bytes, $state) = @_;

    my ($word) = grep { $bytes =~ /\b\Q$_\E\b/ } @{ $state->{words} };
    return if !defined $word || defined $connection->{kept};

    @{ $state->{words} } = grep { $_ ne $word } @{ $state->{words} };
    $connection->{kept} = '';
    push @{ $state->{held} }, $connection;
}

# Passes on what has come; returns false when the connection has ended.
sub pass {
    my ($from, $connection, $way, $to, $state) = @_;

    sysread $from, my $bytes, 65536 or return 0;

    if ($connection->{armed} != $state->{armed} && $state->{left}
        && $way eq 'up' && index($bytes, $state->{word}) >= 0)
    {
        $connection->{armed} = $state->{armed};
        $state->{left}--;
        $state->{up} = $state->{down} = 0;
    }

    keep($connection, $bytes, $state) if $way eq 'up';

    if ($way eq 'down' && defined $connection->{kept}) {
        $connection->{kept} .= $bytes;
        return 1;
    }

    my $cut = 0;

    if ($connection->{armed} == $state->{armed}) {
        my $room = $state->{at} - $state->{$way};

        if ($way eq $state->{way} && length $bytes > $room) {
            $bytes = substr $bytes, 0, $room;
            $cut = 1;
            $state->{cuts}++;
        }

        $state->{$way} += length $bytes;
    }

    return put($to, $bytes) && !$cut;
}

1;
