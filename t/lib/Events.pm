package Events;

# A stream of Server-Sent Events, read as it comes:
#
#   my $stream = Events->open($nginx, "/api/token/events/7");
#   $stream->next      the next event: { event => ..., id => ..., data => {} }
#   $stream->ended     whether the server has ended the answer
#
# next() waits until PATIENCE is over and then returns {}.

use strict;
use warnings;

use IO::Select ();
use JSON::PP   ();
use Time::HiRes qw( time );

use constant PATIENCE => 30;

sub open {
    my ($class, $nginx, $path, %headers) = @_;

    my $socket = $nginx->begin(join "\r\n", "GET $path HTTP/1.1", 'Host: x',
                               (map { "$_: $headers{$_}" } keys %headers),
                               '', '');
    my $self = bless { socket => $socket, bytes => '', text => '' }, $class;

    $self->more while $self->{bytes} !~ /\r\n\r\n/ && !$self->{closed};
    ($self->{head}, $self->{bytes}) = split /\r\n\r\n/, $self->{bytes}, 2;
    $self->unchunk;

    return $self;
}

sub status { return $_[0]{head} =~ m{^HTTP/1.1 (\d+)} ? $1 : 0 }

sub header {
    my ($self, $name) = @_;
    return $self->{head} =~ /^\Q$name\E:\s*(.*?)\r?$/mi ? $1 : undef;
}

# Reads what there is; whether something came.
sub more {
    my ($self, $patience) = @_;

    my $ready = IO::Select->new($self->{socket})
                          ->can_read($patience // PATIENCE);
    my $n = $ready ? sysread($self->{socket}, $self->{bytes}, 65536,
                             length $self->{bytes}) : 0;

    $self->{closed} = 1 if $ready && !$n;
    return $n;
}

sub unchunk {
    my ($self) = @_;

    while ($self->{bytes} =~ /^([0-9a-f]+)\r\n/i) {
        my ($from, $length) = ($+[0], hex $1);

        last if length $self->{bytes} < $from + $length + 2;
        $self->{text} .= substr $self->{bytes}, $from, $length;
        $self->{bytes} = substr $self->{bytes}, $from + $length + 2;
        $self->{ended} = 1 if $length == 0;
    }
}

sub next {
    my ($self, $patience) = @_;
    my $end = time + ($patience // PATIENCE);

    while (1) {
        while ($self->{text} =~ s/^(.*?)\n\n//s) {
            my %event = map { /^(\w+): ?(.*)/ ? ($1 => $2) : () }
                            split /\n/, $1;

            $self->{comments}++ if !%event;
            next if !%event;
            $event{data} = JSON::PP::decode_json($event{data}) if $event{data};
            return \%event;
        }

        return {} if $self->{ended} || $self->{closed} || time > $end;
        $self->more($end - time);
        $self->unchunk;
    }
}

sub ended {
    my ($self) = @_;

    my $end = time + PATIENCE;

    until ($self->{ended} || $self->{closed} || time > $end) {
        $self->more($end - time);
        $self->unchunk;
    }

    return $self->{ended} || 0;
}

sub close { my ($self) = @_; close $self->{socket} }

1;
