package Gateway;

# The stand-in for a payment gateway, loadtest/gateway, in a process of its own.
#
#   my $gateway = Gateway->start;
#   my $payment = $gateway->window(amount => 15000, then => ['drop', 'ok']);
#   $gateway->confirm($payment, 'Idempotency-Key' => 'a')->status
#   $gateway->kill; $gateway->start;        # on the same port and journal
#
# Answers are Concert::Answer; that of a connection that was cut has status 0.

use strict;
use warnings;

use Cwd              qw( abs_path );
use File::Basename   qw( dirname );
use File::Temp       ();
use IO::Socket::INET ();
use JSON::PP         ();
use MIME::Base64     qw( encode_base64 );
use POSIX            ();

use Concert          ();

my $Program = abs_path(dirname(__FILE__) . '/../../loadtest/gateway');
my $Json = JSON::PP->new->utf8->canonical;
my $Serial = 0;
my %Running;
my $Owner = $$;

# start [JOURNAL]: a new one, or one that was killed; JOURNAL: the text of what
# has happened.
sub start {
    my ($self, $journal) = @_;

    $self = bless { directory => File::Temp->newdir, secret => "sk $$",
                    port => 0 }, $self if !ref $self;
    my $directory = $self->{directory};

    $self->write('key', "$self->{secret}\n");
    $self->write('journal', $journal) if defined $journal;

    my $pid = open my $out, '-|', $Program, '--port', $self->{port},
                   '--key-file', "$directory/key",
                   '--journal', "$directory/journal"
              or die "$Program: $!";

    my $line = <$out> // die 'the gateway does not start';
    ($self->{port}) = $line =~ /ready on .*:(\d+)/ or die $line;
    @$self{qw( pid out )} = ($pid, $out);
    $Running{$pid} = 1;

    return $self;
}

sub url { return "http://127.0.0.1:$_[0]{port}" }
sub key_file { return "$_[0]{directory}/key" }

sub write {
    my ($self, $name, $text) = @_;

    open my $file, '>', "$self->{directory}/$name" or die "$name: $!";
    print $file $text;
    close $file or die "$name: $!";
}

sub journal {
    my ($self) = @_;

    open my $in, '<', "$self->{directory}/journal" or die $!;
    local $/;
    return scalar <$in> // '';
}

sub kill { return $_[0]->end('KILL') }
sub stop { return $_[0]->end('TERM') }

sub end {
    my ($self, $signal) = @_;

    CORE::kill $signal => $self->{pid};
    return $self->wait;
}

# Its exit status, when it has ended.
sub wait {
    my ($self) = @_;

    my $pid = delete $self->{pid};

    waitpid $pid, 0;
    my $status = $?;
    delete $Running{$pid};
    close $self->{out};

    return $status;
}

END {
    if ($$ == $Owner) {
        local $?;

        for my $pid (keys %Running) {
            CORE::kill KILL => $pid;
            waitpid $pid, 0;
        }
    }
}


# Sends a request and does not wait.
sub begin {
    my ($self, $method, $path, $body, %headers) = @_;

    my $socket = IO::Socket::INET->new("127.0.0.1:$self->{port}")
                 // die "the gateway cannot be reached: $@";

    $body = ref $body ? $Json->encode($body) : $body // '';
    $headers{Authorization} //= 'Basic '
                                . encode_base64("$self->{secret}:", '');

    local $SIG{PIPE} = 'IGNORE';
    print $socket join "\r\n", "$method $path HTTP/1.1", 'Host: localhost',
                               'Connection: close',
                               (map { "$_: $headers{$_}" } sort keys %headers),
                               'Content-Length: ' . length $body, '', $body;
    $socket->flush;

    return $socket;
}

sub ask { my $self = shift; return Concert::Answer->new($self->begin(@_)) }

# The payment that a buyer has agreed to; its orderId, paymentKey and amount.
sub window {
    my ($self, %with) = @_;

    my $order = "order-$$-" . ++$Serial;
    my $answer = $self->ask(POST => '/window',
                            { orderId => $order, amount => 15000, %with });

    die $answer->body if $answer->status != 200;
    return $answer->json;
}

sub begin_confirm {
    my ($self, $payment, %headers) = @_;
    return $self->begin(POST => '/v1/payments/confirm', $payment, %headers);
}

sub confirm {
    my $self = shift;
    return Concert::Answer->new($self->begin_confirm(@_));
}

# A payment that is done.
sub paid {
    my ($self, %with) = @_;

    my $payment = $self->window(%with);
    my $answer = $self->confirm($payment);

    die $answer->body if $answer->status != 200;
    return $payment;
}

sub cancel {
    my ($self, $payment, $amount, %headers) = @_;

    return $self->ask(POST => "/v1/payments/$payment->{paymentKey}/cancel",
                      { cancelReason => 'a test',
                        defined $amount ? (cancelAmount => $amount) : () },
                      %headers);
}

sub lookup {
    my ($self, $payment) = @_;
    return $self->ask(GET => "/v1/payments/orders/$payment->{orderId}");
}

sub status_of { return $_[0]->lookup($_[1])->json->{status} }

# Changes switches; an answer.
sub switch {
    my ($self, %switches) = @_;
    return $self->ask(PATCH => '/switches', \%switches);
}

sub switches_off { return $_[0]->ask(DELETE => '/switches') }
sub ledger { return $_[0]->ask(GET => '/ledger')->json }

1;
