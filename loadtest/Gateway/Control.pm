package Gateway::Control;

# What Toss does not have: the buyer's side, the switches, and the ledger.

use strict;
use warnings;
use utf8;

use Cpanel::JSON::XS ();
use Time::HiRes      ();

my $Json = Cpanel::JSON::XS->new->utf8->canonical;

# What a card does: the payment's method, its first status, what it is refused
# with.
my %Card = (
    ok       => ['카드', 'IN_PROGRESS'],
    declined => ['카드', 'IN_PROGRESS', 'REJECT_CARD_PAYMENT'],
    company  => ['카드', 'IN_PROGRESS', 'REJECT_CARD_COMPANY'],
    left     => ['카드', 'READY'],          # the buyer left the window
    deposit  => ['가상계좌', 'IN_PROGRESS'],
);

my %Route = (
    'POST /window'         => \&window,
    'POST /window/deposit' => \&deposit,
    'GET /switches'        => sub { $_[0]->switches },
    'PATCH /switches'      => \&patch_switches,
    'DELETE /switches'     => sub {
        my ($self) = @_;
        $self->{book}->record('switches', undef, Gateway::Faults::defaults());
        return $self->switches;
    },
    'GET /ledger'          => \&ledger,
    'DELETE /ledger'       => \&clear,
    'GET /healthz'         => sub { return (200, { status => 'UP' }) },
);

sub new {
    my ($class, %self) = @_;
    return bless { %self }, $class;
}

sub handle {
    my ($self, $request) = @_;

    my $route = $Route{"$request->{method} $request->{path}"};
    my ($status, $answer, $type)
        = $route ? eval { $self->$route($request) }
                 : (404, { message => 'there is no such route' });

    ($status, $answer) = (400, { message => $@ =~ s/\n\z//r }) if $@;
    $request->{connection}->answer(
        $status, ref $answer ? $Json->encode($answer) : $answer, $type);
}

sub body_of {
    my ($request) = @_;

    my $body = eval { $Json->decode($request->{body}) };
    return ref $body eq 'HASH' ? $body : die "the body is no JSON object\n";
}

# The payment window, whose buyer has agreed to pay.
sub window {
    my ($self, $request) = @_;

    my $book = $self->{book};
    my $body = body_of($request);
    my ($order, $amount) = @$body{qw( orderId amount )};
    my $key = $body->{paymentKey} // 'standin' . $book->new_key;
    my $card = $Card{ $body->{card} // 'ok' } // die "there is no such card\n";

    die "orderId is 6 to 64 of A-Z a-z 0-9 - _ =\n"
        if ($order // '') !~ /^[A-Za-z0-9_=-]{6,64}$/;
    die "amount is no whole number above 0\n"
        if ($amount // '') !~ /^[1-9]\d{0,11}$/;
    die "there is a payment $key\n" if $book->payment($key);

    my $other = $book->payment_of($order);
    die "order $order has its payment\n"
        if $other && Gateway::Book::is_taken($other);

    $book->record('window', $key, {
        key => $key, order => $order, amount => $amount + 0,
        name => $body->{orderName} // $order, method => $card->[0],
        status => $card->[1], refusal => $card->[2],
        requested => Time::HiRes::time(), then => steps($body->{then}),
    });

    return (200, { paymentKey => $key, orderId => $order,
                   amount => $amount + 0 });
}

# A list is of confirms.
sub steps {
    my ($then) = @_;

    $then = { confirm => $then } if ref $then eq 'ARRAY';
    return {} if !defined $then;
    die "then is no list and no object\n" if ref $then ne 'HASH';

    for my $call (keys %$then) {
        die "there is no call $call\n"
            if !grep { $_ eq $call } Gateway::Faults::CALLS();
        die "the steps of $call are no list\n" if ref $then->{$call} ne 'ARRAY';
        Gateway::Faults::step($_) for @{ $then->{$call} };
    }

    return $then;
}

# The buyer pays into the account that a payment with "deposit" has.
sub deposit {
    my ($self, $request) = @_;

    my $key = body_of($request)->{paymentKey} // '';
    my $payment = $self->{book}->payment($key);

    die "no payment $key waits for a deposit\n"
        if !$payment || $payment->{status} ne 'WAITING_FOR_DEPOSIT';

    $self->{book}->record('pay', $key, { status => 'DONE',
                                         approved => Time::HiRes::time() });
    return (200, $self->{toss}->payment($payment));
}

sub switches { return (200, $_[0]{faults}->all) }

sub patch_switches {
    my ($self, $request) = @_;

    $self->{faults}->change($self->{book}, body_of($request));
    return $self->switches;
}

sub clear {
    my ($self) = @_;

    $self->{book}->clear;
    return (200, { payments => 0 });
}

# ?csv: as lines; ?totals: no payments.
sub ledger {
    my ($self, $request) = @_;

    my (%status, @lines);
    my ($approved, $cancelled) = (0, 0);

    for my $payment ($self->{book}->payments) {
        my $line = line_of($payment);

        $status{ $payment->{status} }++;
        $approved += $line->{approved};
        $cancelled += $line->{cancelled};
        push @lines, $line if $request->{query} ne 'totals';
    }

    @lines = sort { $a->{orderId} cmp $b->{orderId}
                    || $a->{paymentKey} cmp $b->{paymentKey} } @lines;
    return (200, csv(@lines), 'text/csv') if $request->{query} eq 'csv';

    my $toss = $self->{toss};

    return (200, {
        $request->{query} eq 'totals' ? () : (payments => \@lines),
        totals => { approved => $approved, cancelled => $cancelled,
                    net => $approved - $cancelled, statuses => \%status },
        requests => $toss->{requests}, duplicates => $toss->{duplicates},
        webhooks => $self->{webhook}->counts,
        connections => Gateway::Connection::count(),
    });
}

# A deposit that never came was never money, whatever was cancelled of it.
sub line_of {
    my ($payment) = @_;

    my $approved = $payment->{approved} ? $payment->{amount} : 0;

    return {
        paymentKey => $payment->{key}, orderId => $payment->{order},
        status => $payment->{status}, amount => $payment->{amount},
        approved => $approved,
        cancelled => $approved ? $payment->{cancelled} // 0 : 0,
    };
}

sub csv {
    my (@lines) = @_;

    my @columns = qw( orderId paymentKey status amount approved cancelled );

    return join '', map { "$_\n" } join(',', @columns),
                map { my $line = $_; join ',', @$line{@columns} } @lines;
}

1;
