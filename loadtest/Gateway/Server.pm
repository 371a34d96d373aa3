package Gateway::Server;

# HTTP/1.1 with keep-alive, as much as the clients of a payment gateway use.
#
# The handler gets a request: method, path, query, headers, body, connection.
# Whoever handles it tells the connection, now or later, to answer(), cut() or
# neither; a connection whose client has gone takes all that and does nothing.

use strict;
use warnings;

use EV;
use IO::Socket::INET ();
use Scalar::Util     ();
use Socket           qw( IPPROTO_TCP TCP_NODELAY );

use constant BACKLOG => 4096;

sub new {
    my ($class, $port, $handler) = @_;

    my $socket = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1', LocalPort => $port, Listen => BACKLOG,
        ReuseAddr => 1, Blocking => 0)
        // die "gateway: port $port: $@\n";
    my $self = bless { socket => $socket, handler => $handler }, $class;

    $self->{watcher} = EV::io($socket, EV::READ, sub {
        while (my $client = $socket->accept) {
            Gateway::Connection->new($client, $handler);
        }
    });

    return $self;
}

sub port { return $_[0]{socket}->sockport }


package Gateway::Connection;

use Errno qw( EAGAIN EINTR );

use constant {
    HEAD_MAX => 16384,
    BODY_MAX => 65536,
};

my %Reason = (
    200 => 'OK', 201 => 'Created', 204 => 'No Content', 400 => 'Bad Request',
    401 => 'Unauthorized', 403 => 'Forbidden', 404 => 'Not Found',
    405 => 'Method Not Allowed', 409 => 'Conflict', 411 => 'Length Required',
    413 => 'Payload Too Large', 429 => 'Too Many Requests',
    500 => 'Internal Server Error', 502 => 'Bad Gateway',
    503 => 'Service Unavailable', 504 => 'Gateway Timeout',
);

my %Open;       # what keeps a connection alive

sub new {
    my ($class, $socket, $handler) = @_;

    $socket->blocking(0);
    setsockopt $socket, Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1;

    my $self = bless { socket => $socket, handler => $handler, in => '',
                       out => '', busy => 0 }, $class;
    my $id = $self->{id} = fileno $socket;

    $Open{$id} = $self;
    Scalar::Util::weaken(my $weak = $self);
    $self->{reader} = EV::io($socket, EV::READ, sub { $weak->read });

    return $self;
}

sub count { return scalar keys %Open }

# Calls back when the client has gone before it was answered.
sub when_gone {
    my ($self, $callback) = @_;

    return $callback->() if !$self->{socket};
    $self->{gone} = $callback;
}

sub read {
    my ($self) = @_;

    my $n = sysread $self->{socket}, $self->{in}, 65536, length $self->{in};

    if (!defined $n) {
        $self->cut if $! != EAGAIN && $! != EINTR;
        return;
    }

    return $self->cut if $n == 0;
    $self->next if !$self->{busy};
}

# Handles the next request, if the whole of it is there.
sub next {
    my ($self) = @_;

    my $end = index $self->{in}, "\r\n\r\n";

    if ($end < 0) {
        $self->refuse(413) if length $self->{in} > HEAD_MAX;
        return;
    }

    my ($line, @lines) = split /\r\n/, substr $self->{in}, 0, $end;
    my ($method, $target, $minor)
        = $line =~ m{^([A-Z]+) (/\S*) HTTP/1\.([01])$}
        or return $self->refuse(400);
    my %headers = map { /^([^:\s]+):\s*(.*?)\s*$/ ? (lc $1, $2) : () } @lines;
    my $length = $headers{'content-length'} // 0;

    return $self->refuse(411) if $headers{'transfer-encoding'};
    return $self->refuse(400) if $length !~ /^\d{1,9}$/;
    return $self->refuse(413) if $length > BODY_MAX;

    if (length($self->{in}) < $end + 4 + $length) {
        $self->write("HTTP/1.1 100 Continue\r\n\r\n")
            if $headers{expect} && !$self->{continued}++;
        return;
    }

    my $body = substr $self->{in}, $end + 4, $length;
    substr $self->{in}, 0, $end + 4 + $length, '';

    my ($path, $query) = split /\?/, $target, 2;
    my $connection = lc($headers{connection} // '');

    @$self{qw( busy continued )} = (1, 0);
    $self->{last} = $minor ? $connection eq 'close'
                           : $connection ne 'keep-alive';
    $self->{handler}->({
        method => $method, path => $path, query => $query // '',
        headers => \%headers, body => $body, connection => $self,
    });
}

sub refuse {
    my ($self, $status) = @_;

    $self->{last} = 1;
    $self->answer($status, "$Reason{$status}\n", 'text/plain');
}

# answer STATUS, BODY[, TYPE[, HALF]]: HALF: only the first half of the body,
# and then the end of the connection ("cut") or nothing more ("stall").
sub answer {
    my ($self, $status, $body, $type, $half) = @_;

    return if !$self->{socket};

    my $length = length $body;
    my $reason = $Reason{$status} // 'Unknown';
    my $close = $self->{last} || $half ? "Connection: close\r\n" : '';

    $type //= 'application/json;charset=UTF-8';
    $body = substr $body, 0, $length / 2 if $half;
    $self->{last} = 1 if $half;
    delete $self->{gone};

    $self->write("HTTP/1.1 $status $reason\r\nContent-Type: $type\r\n"
                 . "Content-Length: $length\r\n$close\r\n$body");
    return if ($half // '') eq 'stall';

    $self->{busy} = 0;
    $self->after_answer if !length $self->{out};
}

sub after_answer {
    my ($self) = @_;

    return if $self->{busy} || !$self->{socket};
    return $self->cut if $self->{last};
    $self->next if length $self->{in};
}

sub write {
    my ($self, $bytes) = @_;

    $self->{out} .= $bytes;
    $self->flush if !$self->{writer};
}

sub flush {
    my ($self) = @_;

    my $n = syswrite $self->{socket}, $self->{out};

    if (defined $n) {
        substr $self->{out}, 0, $n, '';
    } elsif ($! != EAGAIN && $! != EINTR) {
        return $self->cut;
    }

    if (!length $self->{out}) {
        $self->after_answer if delete $self->{writer};
    } elsif (!$self->{writer}) {
        Scalar::Util::weaken(my $weak = $self);
        $self->{writer} = EV::io($self->{socket}, EV::WRITE,
                                 sub { $weak->flush });
    }
}

# Ends the connection, whatever has been answered.
sub cut {
    my ($self) = @_;

    my $socket = delete $self->{socket} or return;

    delete @$self{qw( reader writer )};
    delete $Open{ $self->{id} };
    close $socket;

    my $gone = delete $self->{gone};
    $gone->() if $gone;
}

1;
