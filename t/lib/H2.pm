package H2;

# A client that speaks HTTP/2 (RFC 9113) over a Unix socket, frame by frame, so
# that it can leave at any of them.  Requests are the bytes that the clients of
# Concert.pm make for HTTP/1.1; headers are literals of HPACK (RFC 7541),
# neither indexed nor Huffman-coded.
#
#   my $h2 = H2->new($path);            # or window => bytes that it takes
#   my $stream = $h2->ask($bytes);      # or open() and then body()
#   $h2->reset($stream);
#   $h2->answer($stream);               # { status, body }
#
# After cork() everything is kept, until flush() sends it in one write.

use strict;
use warnings;

use IO::Select       ();
use IO::Socket::UNIX ();
use Socket           qw( SOL_SOCKET SO_LINGER );

use constant {
    DATA => 0, HEADERS => 1, RST_STREAM => 3, SETTINGS => 4, PING => 6,
    GOAWAY => 7, WINDOW_UPDATE => 8,
    END_STREAM => 1, ACK => 1, END_HEADERS => 4,
    INITIAL_WINDOW_SIZE => 4,
    CANCEL => 8,
    PREFACE => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    LARGE => 1 << 20, PATIENCE => 30,
};

# Of HPACK's static table: the statuses.
my %Status = (0x88 => 200, 0x89 => 204, 0x8a => 206, 0x8b => 304, 0x8c => 400,
              0x8d => 404, 0x8e => 500);

sub new {
    my ($class, $path, %is) = @_;

    my $socket = IO::Socket::UNIX->new(Peer => $path) // die "$path: $!";
    my $self = bless { socket => $socket, streams => {}, next => 1,
                       in => '' }, $class;

    $self->write(preface($is{window} // LARGE));

    return $self;
}

# What a connection begins with.
sub preface {
    my ($window) = @_;

    return PREFACE . frame(SETTINGS, 0, 0, pack('n N', INITIAL_WINDOW_SIZE,
                                                $window))
           . frame(WINDOW_UPDATE, 0, 0, pack 'N', LARGE);
}

sub frame {
    my ($type, $flags, $stream, $payload) = @_;

    return pack('C n C C N', length($payload) >> 16, length($payload) & 0xffff,
                $type, $flags, $stream) . $payload;
}

# The frames of a whole request.
sub request {
    my ($stream, $bytes) = @_;

    my ($block, $body) = fields($bytes);
    return frame(HEADERS, END_HEADERS | (length $body ? 0 : END_STREAM),
                 $stream, $block)
           . (length $body ? frame(DATA, END_STREAM, $stream, $body) : '');
}

# The header block and the body of a request for HTTP/1.1.
sub fields {
    my ($bytes) = @_;

    my ($head, $body) = split /\r\n\r\n/, $bytes, 2;
    my ($line, @lines) = split /\r\n/, $head;
    my ($method, $path) = split / /, $line;
    my @fields = ([':method', $method], [':scheme', 'http'], [':path', $path],
                  [':authority', 'localhost'],
                  grep { $_->[0] !~ /^(?:host|connection)$/ }
                  map { my ($name, $value) = split /:\s*/, $_, 2;
                        [lc $name, $value] } @lines);

    return (join('', map { literal($_->[0]) =~ s/^/\0/r . literal($_->[1]) }
                         @fields), $body);
}

# A string of less than 127 bytes.
sub literal {
    my ($text) = @_;

    die "too long: $text" if length $text > 126;
    return chr(length $text) . $text;
}


# --- sending ----------------------------------------------------------------

sub cork { $_[0]{held} = '' }

sub flush {
    my ($self) = @_;
    $self->write(delete $self->{held});
}

# Returns whether the server took it all.
sub write {
    my ($self, $bytes) = @_;

    if (defined $self->{held}) {
        $self->{held} .= $bytes;
        return 1;
    }

    local $SIG{PIPE} = 'IGNORE';

    while (length $bytes) {
        my $n = syswrite($self->{socket}, $bytes) // return 0;
        substr $bytes, 0, $n, '';
    }

    return 1;
}

# A request's headers; its body is still to come. Returns the stream.
sub open {
    my ($self, $bytes) = @_;

    my ($block) = fields($bytes);
    $self->write(frame(HEADERS, END_HEADERS, $self->{next}, $block));
    return $self->new_stream;
}

sub body {
    my ($self, $stream, $bytes, $is_last) = @_;
    $self->write(frame(DATA, $is_last ? END_STREAM : 0, $stream, $bytes));
}

sub ask {
    my ($self, $bytes) = @_;

    $self->write(request($self->{next}, $bytes));
    return $self->new_stream;
}

sub new_stream {
    my ($self) = @_;

    my $stream = $self->{next};
    $self->{next} += 2;
    $self->{streams}{$stream} = { body => '' };

    return $stream;
}

sub reset {
    my ($self, $stream) = @_;
    $self->write(frame(RST_STREAM, 0, $stream, pack 'N', CANCEL));
}

sub goaway {
    my ($self) = @_;
    $self->write(frame(GOAWAY, 0, 0, pack 'N N', 0, 0));
}

sub widen {
    my ($self, $stream, $bytes) = @_;
    $self->write(frame(WINDOW_UPDATE, 0, $stream, pack 'N', $bytes));
}

# Ends the connection; what it was sent is thrown away.
sub slam {
    my ($self) = @_;

    setsockopt $self->{socket}, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0);
    close $self->{socket};
}


# --- receiving --------------------------------------------------------------

# The whole answer; its status is 0 if the server has reset the stream, or left.
sub answer {
    my ($self, $stream) = @_;

    my $answer = $self->{streams}{$stream};
    until ($answer->{ended}) { $self->receive or last }

    return { status => 0, body => '', ended => $answer->{ended},
             %{ $answer->{reset} || !$answer->{ended} ? {} : $answer } };
}

# Whether the headers of an answer come.
sub begins {
    my ($self, $stream) = @_;

    my $answer = $self->{streams}{$stream};
    until ($answer->{status} || $answer->{ended}) { $self->receive or last }

    return $answer->{status} // 0;
}

# Whether the server has answered everything so far, and is still there.
sub is_there {
    my ($self) = @_;

    $self->{pong} = 0;
    $self->write(frame(PING, 0, 0, 'concert.'));
    until ($self->{pong}) { $self->receive or return 0 }

    return 1;
}

# Takes a frame; false if there are no more.
sub receive {
    my ($self) = @_;

    my ($high, $low, $type, $flags, $stream)
        = unpack 'C n C C N', $self->take(9) // return 0;
    my $payload = $self->take($high << 16 | $low) // return 0;
    my $answer = $self->{streams}{$stream & 0x7fffffff} // {};

    $answer->{status} = status($payload) if $type == HEADERS;
    $answer->{body} .= $payload if $type == DATA;
    $answer->{reset} = 1 if $type == RST_STREAM;
    $answer->{ended} = 1 if $type == RST_STREAM
        || ($type == DATA || $type == HEADERS) && $flags & END_STREAM;
    $self->{pong} = 1 if $type == PING && $flags & ACK;
    $self->write(frame(SETTINGS, ACK, 0, ''))
        if $type == SETTINGS && !($flags & ACK);

    return 1;
}

# The status is the first field; what is before it changes the table's size.
sub status {
    my ($block) = @_;

    my ($first, $rest) = $block =~ /^[\x20-\x3f]*(.)(.*)/s;
    return $Status{ord $first} // substr $rest, 1, 3;
}

sub take {
    my ($self, $length) = @_;

    while (length $self->{in} < $length) {
        IO::Select->new($self->{socket})->can_read(PATIENCE)
            or die 'the server says nothing';
        sysread $self->{socket}, $self->{in}, 65536, length $self->{in}
            or return;
    }

    return substr $self->{in}, 0, $length, '';
}

1;
