package Gateway::Webhook;

# Tells the shop of changes, as often as it takes up to a limit, at most so many
# at once.  What is not delivered when the gateway ends is lost, as a webhook
# may be.

use strict;
use warnings;

use Cpanel::JSON::XS ();
use EV;
use Errno            qw( EAGAIN EINTR );
use IO::Socket::INET ();
use POSIX            ();

use constant {
    AT_ONCE => 64,
    PATIENCE => 10,     # seconds
};

my $Json = Cpanel::JSON::XS->new->utf8->canonical;

sub new {
    my ($class, $faults) = @_;

    return bless { faults => $faults, queue => [], running => 0,
                   delivered => 0, failed => 0, given_up => 0 }, $class;
}

sub counts {
    my ($self) = @_;
    return { map { $_ => $self->{$_} } qw( delivered failed given_up ) };
}

sub send {
    my ($self, $payment) = @_;

    return if !$self->{faults}->get('webhook');

    my $now = POSIX::strftime('%Y-%m-%dT%H:%M:%S.000000',
                              gmtime time + 9 * 3600);

    push @{ $self->{queue} }, {
        tries => 0,
        body => $Json->encode({ eventType => 'PAYMENT_STATUS_CHANGED',
                                createdAt => $now, data => $payment }),
    };
    $self->work;
}

sub work {
    my ($self) = @_;

    while ($self->{running} < AT_ONCE && @{ $self->{queue} }) {
        $self->{running}++;
        $self->try(shift @{ $self->{queue} });
    }
}

sub try {
    my ($self, $event) = @_;

    my ($host, $port, $path)
        = ($self->{faults}->get('webhook') // '')
          =~ m{^http://([^/:]+)(?::(\d+))?(/.*)?$}
        or return $self->done($event, 0);
    my $socket = IO::Socket::INET->new(
        PeerAddr => $host, PeerPort => $port || 80, Proto => 'tcp',
        Blocking => 0) or return $self->done($event, 0);
    my $out = join "\r\n", 'POST ' . ($path // '/') . ' HTTP/1.1',
                           "Host: $host", 'Connection: close',
                           'Content-Type: application/json',
                           'Content-Length: ' . length $event->{body}, '',
                           $event->{body};
    my ($in, $watcher, $timer) = ('');

    my $end = sub {
        undef $_ for $watcher, $timer;
        close $socket;
        $self->done($event, $in =~ m{^HTTP/1\.[01] 2\d\d });
    };

    $timer = EV::timer(PATIENCE, 0, $end);
    $watcher = EV::io($socket, EV::WRITE, sub {
        if (length $out) {
            my $n = syswrite $socket, $out;
            return $end->() if !defined $n && $! != EAGAIN && $! != EINTR;
            substr $out, 0, $n // 0, '';
            $watcher->events(EV::READ) if !length $out;
            return;
        }

        my $n = sysread $socket, $in, 4096, length $in;
        $end->() if defined $n ? !$n || $in =~ /\n/
                               : $! != EAGAIN && $! != EINTR;
    });
}

sub done {
    my ($self, $event, $ok) = @_;

    $self->{running}--;
    $self->{ $ok ? 'delivered' : 'failed' }++;

    if (!$ok && ++$event->{tries} >= $self->{faults}->get('webhook_tries')) {
        $self->{given_up}++;
    } elsif (!$ok) {
        my $wait = $self->{faults}->get('webhook_wait_ms') / 1000;

        EV::once(undef, 0, $wait * 2 ** ($event->{tries} - 1), sub {
            push @{ $self->{queue} }, $event;
            $self->work;
        });
    }

    EV::once(undef, 0, 0, sub { $self->work });
}

1;
