package H3;

# A client that speaks HTTP/3 (RFC 9114): build/bin/h3 (loadtest/h3), a process
# and a connection for each, so that it can take one request back, or all, or
# vanish.  Requests are the bytes that the clients of Concert.pm make for
# HTTP/1.1.
#
#   H3::is_there()                      whether this nginx has HTTP/3
#   my $port = H3::port();              for "listen", a new one each time
#   my $h3 = H3->new($port);            # or window => bytes that it takes
#   my $stream = $h3->ask($bytes);      # or parts => DATA frames of its body
#   $h3->answer($stream);               # a Concert::Answer
#
# or open(), body() and end(), then reset() or stop(), frame by frame.

use strict;
use warnings;

use File::Temp  ();
use IO::Select  ();
use IPC::Open2  qw( open2 );
use JSON::PP    ();
use Time::HiRes qw( time );

use Concert ();
use Events  ();

use constant PATIENCE => 30;

my $Program = "$ENV{TEST_NGINX_CONCERT_CONF}/../build/bin/h3";
my $Json = JSON::PP->new->canonical;    # lines are text, which Perl encodes
my $Keys = File::Temp->newdir;
my $Ports = 0;

sub is_there {
    my $about = `'$ENV{TEST_NGINX_BINARY}' -V 2>&1`;
    return $about =~ /--with-http_v3_module/ && -x $Program;
}

# Above the ports for TCP that the test files have.
sub port { return $ENV{TEST_NGINX_SERVER_PORT} + 70 + $Ports++ }

# The directives of a server that listens for HTTP/3, too.
sub server {
    my ($port) = @_;

    if (!-e "$Keys/pem") {
        system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256"
               . " -nodes -days 1 -subj /CN=localhost -keyout $Keys/key"
               . " -out $Keys/pem 2>$Keys/log") == 0 or die 'openssl';
    }

    return "listen 127.0.0.1:$port quic reuseport;\n"
           . "ssl_certificate $Keys/pem; ssl_certificate_key $Keys/key;\n";
}

sub new {
    my ($class, $port, %is) = @_;

    my $pid = open2(my $out, my $in, $Program, 'talk', "127.0.0.1:$port",
                    '-window', $is{window} // 0);

    return bless { pid => $pid, in => $in, out => $out, bytes => '',
                   streams => {}, last => 0 }, $class;
}

# Whether the connection can still be used.
sub command {
    my ($self, %is) = @_;

    local $SIG{PIPE} = 'IGNORE';
    my $line = $Json->encode(\%is) . "\n";
    my $done = print { $self->{in} } $line;
    return $self->{in}->flush && $done;
}

# A request's headers; its body is still to come. Returns the stream, and the
# body. Other fields replace those of HTTP/1.1's or are added; one that is undef
# is left out.
sub open {
    my ($self, $bytes, %is) = @_;

    my ($head, $body) = split /\r\n\r\n/, $bytes, 2;
    my ($line, @lines) = split /\r\n/, $head;
    my ($method, $path) = split / /, $line;
    my %fields = ((map { my ($name, $value) = split /:\s*/, $_, 2;
                         (lc $name => $value) }
                       grep { !/^(?:Host|Connection):/ } @lines),
                  %{ $is{fields} // {} });
    my $stream = ++$self->{last};

    $self->{streams}{$stream} = { body => '', path => $path };
    $self->command(Do => 'open', ID => $stream, Fields => [
                       [ ':method', $method ], [ ':scheme', 'https' ],
                       [ ':authority', 'localhost' ], [ ':path', $path ],
                       map { [ $_, "$fields{$_}" ] }
                           grep { defined $fields{$_} } sort keys %fields ],
                   Later => $is{later} ? JSON::PP::true : JSON::PP::false);

    return wantarray ? ($stream, $body) : $stream;
}

sub frame {
    my ($self, $stream, $type, $data) = @_;
    $self->command(Do => 'frame', ID => $stream, Type => $type, Data => $data);
}

sub body {
    my ($self, $stream, $data) = @_;
    $self->frame($stream, 0, $data);
}

for my $do (qw( end read reset stop )) {
    no strict 'refs';
    *$do = sub { $_[0]->command(Do => $do, ID => $_[1]) };
}

sub ask {
    my ($self, $bytes, %is) = @_;

    my ($stream, $body) = $self->open($bytes, %is);
    my $length = length $body;
    my $parts = $is{parts} // 1;

    for my $n (0 .. $parts - 1) {
        my $from = int $length * $n / $parts;
        my $part = substr $body, $from, int($length * ($n + 1) / $parts) - $from;

        $self->body($stream, $part) if length $part;
    }

    $self->end($stream);
    return $stream;
}

# The whole answer; its status is 0 if the stream was ended by an error.
sub answer {
    my ($self, $stream) = @_;

    my $is = $self->{streams}{$stream};
    $self->wait_for(sub { $is->{ended} || defined $is->{error} });

    return bless { status  => defined $is->{error} ? 0 : $is->{status},
                   headers => $is->{headers} // {}, body => $is->{body},
                   path    => $is->{path},
                   error   => $is->{error} }, 'Concert::Answer';
}

# The status as soon as the answer begins.
sub begins {
    my ($self, $stream) = @_;

    my $is = $self->{streams}{$stream};
    $self->wait_for(sub { $is->{status} || defined $is->{error} });

    return $is->{status} // 0;
}

# Both in one.
sub send { my $self = shift; return $self->answer($self->ask(@_)) }

# A request with its answer.
sub events {
    my ($self, $bytes) = @_;

    return bless { h3 => $self, stream => $self->ask($bytes), text => '' },
                 'H3::Events';
}

sub wait_for {
    my ($self, $holds) = @_;
    my $end = time + PATIENCE;

    until ($holds->() || $self->{closed}) {
        die 'the server says nothing' if time > $end;
        $self->take($end - time);
    }
}

# Takes what has come.
sub take {
    my ($self, $patience) = @_;

    IO::Select->new($self->{out})->can_read($patience) or return;

    if (!sysread $self->{out}, $self->{bytes}, 65536, length $self->{bytes}) {
        $self->{closed} = 1;
        $_->{error} //= 'the connection has ended'
            for grep { !$_->{ended} } values %{ $self->{streams} };
        return;
    }

    while ($self->{bytes} =~ s/^(.*)\n//) {
        $self->note($Json->decode($1));
    }
}

sub note {
    my ($self, $is) = @_;
    my $stream = $self->{streams}{$is->{id}};

    if ($is->{status}) {
        $stream->{status} = $is->{status};
        $stream->{headers} = { map { (lc, [ $is->{headers}{$_} ]) }
                                   keys %{ $is->{headers} } };
    }

    $stream->{body} .= $is->{data} if defined $is->{data};
    $stream->{ended} = 1 if $is->{end};
    $stream->{error} = $is->{error} if defined $is->{error};
}

# Ends the connection and says so.
sub close {
    my ($self) = @_;

    $self->command(Do => 'close');
    $self->gone;
}

# The client is not there any more, and said nothing.
sub vanish {
    my ($self) = @_;

    kill KILL => $self->{pid};
    $self->gone;
}

sub gone {
    my ($self) = @_;

    my $pid = delete $self->{pid} // return;
    CORE::close $self->{in};
    waitpid $pid, 0;
}

sub DESTROY {
    my ($self) = @_;

    local ($?, $!, $@);
    $self->vanish if $self->{pid};
}


# A stream of events, as Events has it.

package H3::Events;

our @ISA = qw( Events );

sub status { return $_[0]{h3}->begins($_[0]{stream}) }

sub header {
    my ($self, $name) = @_;

    $self->status;
    return $self->{h3}{streams}{$self->{stream}}{headers}{lc $name}[0];
}

sub more {
    my ($self, $patience) = @_;
    my $h3 = $self->{h3};
    my $is = $h3->{streams}{$self->{stream}};

    $h3->take($patience // Events::PATIENCE) if !length $is->{body};
    $self->{text} .= $is->{body};
    $is->{body} = '';
    $self->{ended} = 1 if $is->{ended};
    $self->{closed} = 1 if defined $is->{error};
}

sub unchunk { }

1;
