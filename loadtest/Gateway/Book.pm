package Gateway::Book;

# What has happened: payments, the answers that idempotency keys stand for, and
# the switches.  Every change is an event, and an event is a line of the journal
# before it is applied; a book that is opened applies the journal's.
#
# An event and the answer to whoever caused it are one line, written at once: a
# gateway that is killed has done both or neither.

use strict;
use warnings;

use Cpanel::JSON::XS ();
use Digest::MD5      ();
use Fcntl            qw( O_APPEND O_CREAT O_RDWR );
use Time::HiRes      ();

my $Json = Cpanel::JSON::XS->new->utf8->canonical;

# What may still become money, or nothing.
my %Open = map { $_ => 1 } qw( READY IN_PROGRESS );

my %Apply = (
    window   => \&apply_window,
    pay      => sub { my ($self, $payment, $data) = @_;
                      @$payment{ keys %$data } = values %$data },
    cancel   => \&apply_cancel,
    abort    => sub { my ($self, $payment, $data) = @_;
                      @$payment{qw( status failure )} = ('ABORTED', $data) },
    expire   => sub { $_[1]{status} = 'EXPIRED' },
    answer   => sub { },
    step     => sub { my ($self, $payment, $call) = @_;
                      shift @{ $payment->{then}{$call} } },
    switches => sub { $_[0]{faults}->set($_[2]) },
);

sub new {
    my ($class, $file, $faults) = @_;

    sysopen my $journal, $file, O_RDWR | O_APPEND | O_CREAT, 0600
        or die "gateway: $file: $!\n";
    my $self = bless { journal => $journal, faults => $faults,
                       serial => 0, tell => sub { } }, $class;

    $self->forget;
    $self->replay($file);

    return $self;
}

sub forget {
    my ($self) = @_;

    @$self{qw( payments orders answers )} = ({}, {}, {});
    $self->{waiting} = [];
}

# A last line without its end is an event that nobody has been told of.
sub replay {
    my ($self, $file) = @_;

    my $good = 0;

    open my $in, '<', $file or die "gateway: $file: $!\n";

    while (my $line = <$in>) {
        last if $line !~ /\n\z/;
        $self->apply(@{ $Json->decode($line) });
        $good += length $line;
    }

    truncate $self->{journal}, $good or die "gateway: journal: $!\n";
}

# Everything but the switches.
sub clear {
    my ($self) = @_;

    truncate $self->{journal}, 0 or die "gateway: journal: $!\n";
    $self->forget;
    $self->record('switches', undef, $self->{faults}->all);
}

# What is called with each payment whose status has changed.
sub tell {
    my ($self, $callback) = @_;
    $self->{tell} = $callback;
}

# record EVENT, PAYMENT KEY, DATA[, [IDEMPOTENCY KEY, ANSWER]]
sub record {
    my ($self, @event) = @_;

    my $line = $Json->encode(\@event) . "\n";
    my $written = syswrite $self->{journal}, $line;

    if (($written // 0) != length $line) {
        warn "gateway: journal: $!\n";
        kill KILL => $$;        # whoever waits must not be told a lie
    }

    $self->apply(@event);
    $self->{tell}->($self->{payments}{ $event[1] })
        if $event[0] =~ /^(?:pay|cancel|abort|expire)$/;
}

sub apply {
    my ($self, $event, $key, $data, $answer) = @_;

    my $payment = defined $key ? $self->{payments}{$key} : undef;

    $Apply{$event}->($self, $payment, $data);
    $self->{answers}{ $answer->[0] } = $answer->[1] if $answer;
}

sub apply_window {
    my ($self, $none, $data) = @_;

    my $payment = { %$data, cancels => [] };
    my $key = $payment->{key};

    $self->{payments}{$key} = $payment;
    push @{ $self->{orders}{ $payment->{order} } }, $key;
    push @{ $self->{waiting} }, $key;
}

sub apply_cancel {
    my ($self, $payment, $cancel) = @_;

    push @{ $payment->{cancels} }, $cancel;
    $payment->{cancelled} += $cancel->{amount};
    $payment->{status} = $payment->{cancelled} == $payment->{amount}
                         ? 'CANCELED' : 'PARTIAL_CANCELED';
}


sub payment { return $_[0]{payments}{ $_[1] } }
sub payments { return values %{ $_[0]{payments} } }
sub answer { return $_[0]{answers}{ $_[1] } }

# An order's payment: the one that was approved, or else the newest.
sub payment_of {
    my ($self, $order) = @_;

    my @payments = map { $self->{payments}{$_} }
                       @{ $self->{orders}{$order} // [] };
    my ($approved) = grep { is_taken($_) } @payments;

    return $approved // $payments[-1];
}

# Whether an order has its payment, be it cancelled since.
sub is_taken { return $_[0]{status} =~ /^(?:DONE|WAITING|PARTIAL|CANCELED)/ }

sub expire {
    my ($self, $seconds) = @_;

    my $waiting = $self->{waiting};

    while (@$waiting) {
        my $payment = $self->{payments}{ $waiting->[0] };

        if ($Open{ $payment->{status} }) {
            last if $payment->{requested} + $seconds > Time::HiRes::time();
            $self->record('expire', $payment->{key});
        }

        shift @$waiting;
    }
}

# A new transaction's or payment's key; not from rand(), whose numbers are the
# faults'.
sub new_key {
    my ($self) = @_;

    return uc Digest::MD5::md5_hex(join ' ', $$, Time::HiRes::time(),
                                   ++$self->{serial});
}

1;
