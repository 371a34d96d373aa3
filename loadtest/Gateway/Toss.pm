package Gateway::Toss;

# The API of Toss Payments: confirm, look up, cancel.

use strict;
use warnings;
use utf8;

use Cpanel::JSON::XS ();
use EV;
use MIME::Base64     qw( encode_base64 );
use POSIX            ();
use Time::HiRes      ();

use constant {
    KEY_MAX    => 300,      # of an Idempotency-Key
    REASON_MAX => 200,
    TAX        => 11,       # one part in so many of a price
};

my $Json = Cpanel::JSON::XS->new->utf8->canonical;

my %Error = (
    ALREADY_CANCELED_PAYMENT => [400, '이미 취소된 결제 입니다.'],
    ALREADY_PROCESSED_PAYMENT => [400, '이미 처리된 결제 입니다.'],
    DUPLICATED_ORDER_ID => [400, '이미 승인 및 취소가 진행된 중복된 주문번호'
                                 . ' 입니다. 다른 주문번호로 진행해주세요.'],
    EXPIRED_PAYMENT => [400, '결제가 만료되었습니다. 다시 시도해주세요.'],
    FAILED_INTERNAL_SYSTEM_PROCESSING
        => [500, '내부 시스템 처리 작업이 실패했습니다.'
                 . ' 잠시 후 다시 시도해주세요.'],
    FAILED_PAYMENT_INTERNAL_SYSTEM_PROCESSING
        => [500, '결제가 완료되지 않았어요. 다시 시도해주세요.'],
    FORBIDDEN_REQUEST => [403, '허용되지 않은 요청입니다.'],
    IDEMPOTENT_REQUEST_PROCESSING => [409, '이전 멱등 요청이 처리중입니다.'],
    INVALID_IDEMPOTENCY_KEY => [400, '멱등키는 300자 이하여야 합니다.'],
    INVALID_REQUEST => [400, '잘못된 요청입니다.'],
    NOT_ALLOWED_PARTIAL_REFUND_WAITING_DEPOSIT
        => [403, '입금 대기중인 결제는 부분 환불이 불가합니다.'],
    NOT_CANCELABLE_AMOUNT => [403, '취소 할 수 없는 금액 입니다.'],
    NOT_CANCELABLE_PAYMENT => [403, '취소 할 수 없는 결제 입니다.'],
    NOT_FOUND => [404, '존재하지 않는 정보 입니다.'],
    NOT_FOUND_PAYMENT => [404, '존재하지 않는 결제 정보 입니다.'],
    NOT_FOUND_PAYMENT_SESSION
        => [404, '결제 시간이 만료되어 결제 진행 데이터가 존재하지 않습니다.'],
    PROVIDER_ERROR => [400, '일시적인 오류가 발생했습니다.'
                            . ' 잠시 후 다시 시도해주세요.'],
    REJECT_CARD_COMPANY => [403, '결제 승인이 거절되었습니다.'],
    REJECT_CARD_PAYMENT => [403, '한도초과 혹은 잔액부족으로 결제에'
                                 . ' 실패했습니다.'],
    UNAUTHORIZED_KEY
        => [401, '인증되지 않은 시크릿 키 혹은 클라이언트 키 입니다.'],
    UNKNOWN_PAYMENT_ERROR => [500, '결제에 실패했어요. 같은 문제가 반복된다면'
                                   . ' 은행이나 카드사로 문의해주세요.'],
);

my %Decline = map { $_ => 1 } qw( REJECT_CARD_COMPANY REJECT_CARD_PAYMENT );

sub is_error { return exists $Error{$_[0]} }
sub is_decline { return $Decline{$_[0]} }

sub new {
    my ($class, %self) = @_;

    return bless {
        %self, running => {}, requests => {},
        duplicates => { answered => 0, processing => 0 },
        basic => 'Basic ' . encode_base64("$self{secret}:", ''),
    }, $class;
}

sub error_body {
    my ($code, $message) = @_;
    return $Json->encode({ code => $code,
                           message => $message // $Error{$code}[1] });
}

sub refuse {
    my ($connection, $code) = @_;
    $connection->answer($Error{$code}[0], error_body($code));
}


# --- a call, from its arrival to its end -------------------------------------

sub handle {
    my ($self, $request) = @_;

    my $connection = $request->{connection};
    my $call = $self->call_of($request)
        // return refuse($connection, 'NOT_FOUND');

    $self->{requests}{ $call->{name} }++;

    return refuse($connection, 'UNAUTHORIZED_KEY')
        if ($request->{headers}{authorization} // '') ne $self->{basic};

    if ($call->{name} ne 'lookup') {
        my $key = $request->{headers}{'idempotency-key'} // '';

        return refuse($connection, 'INVALID_IDEMPOTENCY_KEY')
            if length $key > KEY_MAX;
        $call->{idem} = "$request->{path} $key" if length $key;
    }

    if (defined $call->{idem} && $self->{running}{ $call->{idem} }++) {
        $self->{duplicates}{processing}++;
        return refuse($connection, 'IDEMPOTENT_REQUEST_PROCESSING');
    }

    $call->{fault} = $self->{faults}->choose($self->{book}, $call->{name},
                                             $call->{payment});

    my $ms = $call->{fault}{ms};
    return $self->finish($call) if !$ms;
    EV::once(undef, 0, $ms / 1000, sub { $self->finish($call) });
}

# Which call a request is, of which payment; nothing if there is no such call.
sub call_of {
    my ($self, $request) = @_;

    my ($method, $path) = @$request{qw( method path )};
    my $book = $self->{book};
    my %call = (connection => $request->{connection});

    if ($method eq 'POST') {
        my $body = eval { $Json->decode($request->{body}) };
        $call{body} = ref $body eq 'HASH' ? $body : {};
    }

    if ("$method $path" eq 'POST /v1/payments/confirm') {
        my $key = $call{body}{paymentKey};
        @call{qw( name payment )}
            = ('confirm', defined $key && !ref $key ? $book->payment($key)
                                                    : undef);
    } elsif ("$method $path" =~ m{^POST /v1/payments/([^/]+)/cancel$}) {
        @call{qw( name payment )} = ('cancel', $book->payment(unescape($1)));
    } elsif ("$method $path" =~ m{^GET /v1/payments/orders/([^/]+)$}) {
        @call{qw( name payment )} = ('lookup', $book->payment_of(unescape($1)));
    } elsif ("$method $path" =~ m{^GET /v1/payments/([^/]+)$}) {
        @call{qw( name payment )} = ('lookup', $book->payment(unescape($1)));
    } else {
        return;
    }

    return \%call;
}

sub unescape { return $_[0] =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ger }

# A call that is processed is so whether its client is still there or not.
sub finish {
    my ($self, $call) = @_;

    my ($fault, $connection) = @$call{qw( fault connection )};

    if ($fault->{when} eq 'before') {
        kill KILL => $$ if $fault->{what} eq 'kill';
        return $self->hang($call) if $fault->{what} eq 'hang';
        $self->store_error($call) if $fault->{what} eq 'error';
        $self->release($call);
        return $self->fail($call);
    }

    my $answer = $self->result($call);

    kill KILL => $$ if $fault->{what} eq 'kill';
    $self->release($call);
    $self->fail($call, $self->in_full($answer));
}

# Who hangs is being processed for as long as the client believes it.
sub hang {
    my ($self, $call) = @_;
    $call->{connection}->when_gone(sub { $self->release($call) });
}

sub release {
    my ($self, $call) = @_;
    delete $self->{running}{ $call->{idem} } if defined $call->{idem};
}

# Like an error of Toss's own, one that was asked for is what the key stands
# for, from now on.
sub store_error {
    my ($self, $call) = @_;

    my $code = $call->{fault}{code};

    return if !defined $call->{idem} || !$self->{faults}->get('error_stored')
              || $code eq 'IDEMPOTENT_REQUEST_PROCESSING'
              || $self->{book}->answer($call->{idem});

    $self->{book}->record('answer', undef, undef,
                          [ $call->{idem}, [ $Error{$code}[0], $code ] ]);
}

# Answers in the way of the fault; STATUS and BODY are the right answer.
sub fail {
    my ($self, $call, $status, $body) = @_;

    my ($fault, $connection) = @$call{qw( fault connection )};
    my $what = $fault->{what};

    return $connection->answer($status, $body)
        if $what eq 'ok' || $what eq 'decline';
    return $connection->cut if $what eq 'drop';
    return if $what eq 'hang';
    return $connection->answer($status, $body, undef, 'cut')
        if $what eq 'truncated';
    return $connection->answer($status, $body, undef, 'stall')
        if $what eq 'stall';
    return $connection->answer(200, '') if $what eq 'empty';
    return $connection->answer(502, "<html>\r\n<head><title>502 Bad Gateway"
                                    . "</title></head>\r\n</html>\r\n",
                               'text/html') if $what eq 'html';
    return refuse($connection, $fault->{code}) if $what eq 'error';
    return refuse($connection, 'IDEMPOTENT_REQUEST_PROCESSING')
        if $what eq 'processing';

    # what stands before Toss's own servers says no more than a status
    return $connection->answer(
        $fault->{status}, error_body('FAILED_INTERNAL_SYSTEM_PROCESSING'));
}


# --- what calls do -----------------------------------------------------------

# An answer, as the book has it, is [STATUS, ERROR CODE], or
# [200, PAYMENT KEY, how many cancels there were, the payment's status].
sub result {
    my ($self, $call) = @_;

    # all may have been forgotten while it waited
    my $payment = $call->{payment}
                  && $self->{book}->payment($call->{payment}{key});
    my $stored = defined $call->{idem} ? $self->{book}->answer($call->{idem})
                                       : undef;

    if ($stored) {
        $self->{duplicates}{answered}++;
        return $stored;
    }

    return $payment ? now($payment) : wrong('NOT_FOUND_PAYMENT')
        if $call->{name} eq 'lookup';

    my ($event, $data, $answer) = $call->{name} eq 'confirm'
                                  ? $self->confirm($call, $payment)
                                  : $self->cancel($call, $payment);

    $self->{book}->record($event, $event eq 'answer' ? undef : $payment->{key},
                          $data, defined $call->{idem}
                                 ? [ $call->{idem}, $answer ] : ())
        if $event ne 'answer' || defined $call->{idem};

    return $answer;
}

sub wrong { return [ $Error{$_[0]}[0], $_[0] ] }
sub refused { return ('answer', undef, wrong($_[0])) }

sub now {
    my ($payment) = @_;
    return [ 200, $payment->{key}, scalar @{ $payment->{cancels} },
             $payment->{status} ];
}

# Both return an event, its data and the answer.

sub confirm {
    my ($self, $call, $payment) = @_;

    my ($key, $order, $amount) = @{ $call->{body} }{qw( paymentKey orderId
                                                        amount )};
    return refused('INVALID_REQUEST')
        if grep({ !defined || ref } $key, $order, $amount)
           || $amount !~ /^[1-9]\d{0,11}$/;
    return refused('NOT_FOUND_PAYMENT') if !$payment;
    return refused('NOT_FOUND_PAYMENT_SESSION') if $order ne $payment->{order};

    my $status = $payment->{status};

    return refused('NOT_FOUND_PAYMENT_SESSION')
        if $status eq 'EXPIRED' || $status eq 'READY';
    return refused('ALREADY_PROCESSED_PAYMENT') if $status ne 'IN_PROGRESS';
    return refused('INVALID_REQUEST') if $amount != $payment->{amount};
    return refused('DUPLICATED_ORDER_ID')
        if Gateway::Book::is_taken($self->{book}->payment_of($order));

    my $refusal = $call->{fault}{what} eq 'decline'
                  ? $call->{fault}{code} // 'REJECT_CARD_PAYMENT'
                  : $payment->{refusal};

    return ('abort', { code => $refusal }, wrong($refusal)) if $refusal;

    my %data = (status => 'DONE', transaction => $self->{book}->new_key,
                approved => Time::HiRes::time());
    %data = (%data, status => 'WAITING_FOR_DEPOSIT', approved => undef)
        if $payment->{method} eq '가상계좌';

    return ('pay', \%data, [ 200, $key, 0, $data{status} ]);
}

sub cancel {
    my ($self, $call, $payment) = @_;

    my ($reason, $amount) = @{ $call->{body} }{qw( cancelReason cancelAmount )};

    return refused('INVALID_REQUEST')
        if !defined $reason || ref $reason || !length $reason
           || length $reason > REASON_MAX
           || defined $amount && (ref $amount || $amount !~ /^[1-9]\d{0,11}$/);
    return refused('NOT_FOUND_PAYMENT') if !$payment;

    my $status = $payment->{status};
    my $left = $payment->{amount} - ($payment->{cancelled} // 0);

    return refused('ALREADY_CANCELED_PAYMENT') if $status eq 'CANCELED';
    return refused('NOT_CANCELABLE_PAYMENT')
        if $status !~ /^(?:DONE|PARTIAL_CANCELED|WAITING_FOR_DEPOSIT)$/;

    $amount //= $left;
    return refused('NOT_CANCELABLE_AMOUNT') if $amount > $left;
    return refused('NOT_ALLOWED_PARTIAL_REFUND_WAITING_DEPOSIT')
        if $status eq 'WAITING_FOR_DEPOSIT' && $amount < $left;

    return ('cancel',
            { amount => $amount + 0, reason => $reason,
              transaction => $self->{book}->new_key,
              at => Time::HiRes::time() },
            [ 200, $payment->{key}, @{ $payment->{cancels} } + 1,
              $amount == $left ? 'CANCELED' : 'PARTIAL_CANCELED' ]);
}


# --- what clients see --------------------------------------------------------

sub in_full {
    my ($self, $answer) = @_;

    my ($status, $what, $cancels, $then) = @$answer;

    return ($status, error_body($what)) if $status != 200;
    return (200, $Json->encode($self->payment($self->{book}->payment($what),
                                              $cancels, $then)));
}

sub in_korea {
    my ($time) = @_;
    return if !$time;
    return POSIX::strftime('%Y-%m-%dT%H:%M:%S+09:00', gmtime $time + 9 * 3600);
}

# payment PAYMENT[, CANCELS, STATUS]: the Payment object; as it was when it had
# so many cancels, and that status.
sub payment {
    my ($self, $payment, $cancels, $status) = @_;

    my $amount = $payment->{amount};
    my @cancels = @{ $payment->{cancels} };
    my $left = $amount;

    $status //= $payment->{status};
    $#cancels = $cancels - 1 if defined $cancels;
    my @seen = map { cancel_of($_, $left -= $_->{amount}) } @cancels;

    my $card = $payment->{method} eq '카드';
    my $paid = $status !~ /^(?:READY|IN_PROGRESS|EXPIRED|ABORTED)$/;
    my $last = @cancels ? $cancels[-1] : $payment;
    my $failure = $status eq 'ABORTED' ? $payment->{failure}{code}
                : $status eq 'EXPIRED' ? 'EXPIRED_PAYMENT' : undef;
    my $vat = int($left / TAX + 0.5);
    my $url = "http://127.0.0.1/v1/payments/$payment->{key}";

    return {
        version => '2022-11-16', mId => 'standin', type => 'NORMAL',
        paymentKey => $payment->{key}, orderId => $payment->{order},
        orderName => $payment->{name}, status => $status,
        lastTransactionKey => $paid ? $last->{transaction} : undef,
        requestedAt => in_korea($payment->{requested}),
        approvedAt => $status eq 'WAITING_FOR_DEPOSIT'
                      ? undef : scalar in_korea($payment->{approved}),
        currency => 'KRW', country => 'KR', method => $payment->{method},
        totalAmount => $amount, balanceAmount => $left,
        suppliedAmount => $left - $vat, vat => $vat,
        taxFreeAmount => 0, taxExemptionAmount => 0,
        useEscrow => $Json->false, cultureExpense => $Json->false,
        isPartialCancelable => $Json->true,
        card => $card ? card($amount) : undef,
        virtualAccount => $card ? undef : { bankCode => '20',
                                            accountNumber => 'X6505636518308' },
        cancels => @seen ? \@seen : undef,
        failure => $failure ? { code => $failure,
                                message => $Error{$failure}[1] } : undef,
        receipt => $paid ? { url => "$url/receipt" } : undef,
        checkout => { url => "$url/checkout" },
        map { $_ => undef } qw( transfer mobilePhone giftCertificate cashReceipt
                                cashReceipts discount secret easyPay metadata ),
    };
}

sub card {
    my ($amount) = @_;

    return {
        amount => $amount, issuerCode => '71', acquirerCode => '71',
        number => '12345678****000*', installmentPlanMonths => 0,
        isInterestFree => $Json->false, interestPayer => undef,
        approveNo => '00000000', useCardPoint => $Json->false,
        cardType => '신용', ownerType => '개인', acquireStatus => 'READY',
    };
}

sub cancel_of {
    my ($cancel, $left) = @_;

    return {
        transactionKey => $cancel->{transaction},
        cancelAmount => $cancel->{amount}, cancelReason => $cancel->{reason},
        canceledAt => in_korea($cancel->{at}), cancelStatus => 'DONE',
        taxFreeAmount => 0, taxExemptionAmount => 0, refundableAmount => $left,
        easyPayDiscountAmount => 0, cancelRequestId => undef,
    };
}

1;
