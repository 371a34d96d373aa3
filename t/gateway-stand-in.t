# The stand-in for a payment gateway: that it does what Toss Payments does, and
# fails in every way that it is told to, and in no other.

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET ();
use MIME::Base64     qw( encode_base64 );
use Test::More;
use Time::HiRes      qw( time );

use Concert;
use Gateway;

my $Gateway = Gateway->start;
my $Key = 0;

sub key { return ('Idempotency-Key' => 'key-' . ++$Key) }

# "STATUS CODE" of an error, "STATUS STATUS-OF-THE-PAYMENT" of a payment.
sub said {
    my ($answer) = @_;

    my $json = eval { $answer->json } // {};
    return join ' ', $answer->status, $json->{code} // $json->{status} // ();
}

# The ledger's line of a payment: "STATUS APPROVED CANCELLED"
sub line {
    my ($payment) = @_;

    my ($line) = grep { $_->{paymentKey} eq $payment->{paymentKey} }
                     @{ $Gateway->ledger->{payments} };
    return "@$line{qw( status approved cancelled )}";
}

# Whether the gateway has said anything on a connection, or ended it.
sub is_silent { return !IO::Select->new($_[0])->can_read(0.2) }


# --- the API -----------------------------------------------------------------

{
    my $payment = $Gateway->window;
    my $answer = $Gateway->confirm($payment);
    my $json = $answer->json;

    is said($answer), '200 DONE', 'a payment is confirmed';
    is_deeply [ @$json{qw( paymentKey orderId totalAmount balanceAmount )} ],
              [ @$payment{qw( paymentKey orderId amount amount )} ],
              'it is the one that was asked for';
    like $json->{$_}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+09:00$/, $_
        for qw( requestedAt approvedAt );
    ok exists $json->{$_}, "it has $_"
        for qw( version mId type orderName lastTransactionKey method currency
                suppliedAmount vat card cancels failure receipt checkout );
    is_deeply $Gateway->lookup($payment)->json, $json,
              'it is found by its order';
    is_deeply $Gateway->ask(GET => "/v1/payments/$payment->{paymentKey}")->json,
              $json, 'and by its key';
    is said($Gateway->confirm($payment)), '400 ALREADY_PROCESSED_PAYMENT',
       'once only';
    is line($payment), 'DONE 15000 0', 'and the ledger has it';
}

for my $authorization ('', 'Basic ' . encode_base64('another:', ''),
                       'Basic ' . encode_base64($Gateway->{secret}, ''))
{
    my $payment = $Gateway->window;
    my @with = (Authorization => $authorization);

    is said($Gateway->confirm($payment, @with)), '401 UNAUTHORIZED_KEY',
       "no confirmation with '$authorization'";
    is said($Gateway->cancel($payment, undef, @with)), '401 UNAUTHORIZED_KEY',
       'no cancellation';
    is said($Gateway->ask(GET => "/v1/payments/orders/$payment->{orderId}",
                          undef, @with)), '401 UNAUTHORIZED_KEY', 'no look';
    is $Gateway->status_of($payment), 'IN_PROGRESS', 'nothing has happened';
}

for my $case (
    [ { amount => 14999 }, '400 INVALID_REQUEST', 'another amount' ],
    [ { amount => 'much' }, '400 INVALID_REQUEST', 'no amount' ],
    [ { amount => undef }, '400 INVALID_REQUEST', 'amount: null' ],
    [ { amount => 0 }, '400 INVALID_REQUEST', 'amount: 0' ],
    [ { orderId => 'another' }, '404 NOT_FOUND_PAYMENT_SESSION',
      'another order' ],
    [ { paymentKey => 'another' }, '404 NOT_FOUND_PAYMENT', 'another key' ],
    [ { paymentKey => [] }, '400 INVALID_REQUEST', 'a key that is a list' ],
) {
    my ($change, $said, $what) = @$case;
    my $payment = $Gateway->window;

    is said($Gateway->confirm({ %$payment, %$change })), $said, $what;
    is $Gateway->status_of($payment), 'IN_PROGRESS', "$what: nothing happens";
    is said($Gateway->confirm($payment)), '200 DONE', "$what: it can be paid";
}

is said($Gateway->ask(POST => '/v1/payments/confirm', '{')),
   '400 INVALID_REQUEST', 'a body that is no JSON';
is said($Gateway->lookup({ orderId => 'nobodys' })), '404 NOT_FOUND_PAYMENT',
   'an order that nobody made';
is said($Gateway->ask(GET => '/v1/nothing')), '404 NOT_FOUND', 'no such route';

for my $case ([ declined => 'REJECT_CARD_PAYMENT' ],
              [ company => 'REJECT_CARD_COMPANY' ])
{
    my ($card, $code) = @$case;
    my $payment = $Gateway->window(card => $card);
    my $order = $payment->{orderId};

    is said($Gateway->confirm($payment)), "403 $code", "a card: $card";
    is $Gateway->status_of($payment), 'ABORTED', 'the payment is over';
    is $Gateway->lookup($payment)->json->{failure}{code}, $code, 'that is why';
    is said($Gateway->confirm($payment)), '400 ALREADY_PROCESSED_PAYMENT',
       'and it remains so';

    my $second = $Gateway->window(orderId => $order);
    is $Gateway->status_of($second), 'IN_PROGRESS', 'another card may be tried';
    is said($Gateway->confirm($second)), '200 DONE', 'and it pays';
    is $Gateway->status_of($payment), 'DONE', 'the order';
    is $Gateway->ask(POST => '/window', { orderId => $order, amount => 100 })
       ->status, 400, 'which needs no third';
}

{
    my $order = 'twice-' . $$;
    my @two = map { $Gateway->window(orderId => $order) } 1, 2;

    is said($Gateway->confirm($two[0])), '200 DONE', 'one of two windows pays';
    is said($Gateway->confirm($two[1])), '400 DUPLICATED_ORDER_ID',
       'the other does not';
    is $Gateway->lookup($two[1])->json->{paymentKey}, $two[0]{paymentKey},
       'an order is the payment that was approved';

    my $left = $Gateway->window(card => 'left');
    is $Gateway->status_of($left), 'READY', 'a buyer who left the window';
    is said($Gateway->confirm($left)), '404 NOT_FOUND_PAYMENT_SESSION',
       'has agreed to nothing';

    my $deposit = $Gateway->window(card => 'deposit');
    is said($Gateway->confirm($deposit)), '200 WAITING_FOR_DEPOSIT',
       'an account waits for its money';
    is line($deposit), 'WAITING_FOR_DEPOSIT 0 0', 'which is not there yet';
    is said($Gateway->cancel($deposit, 100)),
       '403 NOT_ALLOWED_PARTIAL_REFUND_WAITING_DEPOSIT', 'nor a part of it';
    $Gateway->ask(POST => '/window/deposit',
                  { paymentKey => $deposit->{paymentKey} });
    is line($deposit), 'DONE 15000 0', 'the buyer pays';

    my $never = $Gateway->window(card => 'deposit');
    $Gateway->confirm($never);
    is said($Gateway->cancel($never)), '200 CANCELED', 'it may be given up';
    is line($never), 'CANCELED 0 0', 'which gives nothing back';
}

{
    my $payment = $Gateway->paid;
    my @cancels = map { $Gateway->cancel($payment, $_) } 1000, 4000;

    is_deeply [ map { said($_) } @cancels ], [ ('200 PARTIAL_CANCELED') x 2 ],
              'parts are given back';
    is $cancels[1]->json->{balanceAmount}, 10000, 'the rest is left';
    is_deeply [ map { $_->{cancelAmount} }
                    @{ $Gateway->lookup($payment)->json->{cancels} } ],
              [ 1000, 4000 ], 'each part is told';
    is said($Gateway->cancel($payment, 10001)), '403 NOT_CANCELABLE_AMOUNT',
       'no more than the rest is';
    is said($Gateway->cancel($payment, 0)), '400 INVALID_REQUEST', 'not 0';
    is line($payment), 'PARTIAL_CANCELED 15000 5000', 'the ledger has it';
    is said($Gateway->cancel($payment)), '200 CANCELED', 'then the rest';
    is line($payment), 'CANCELED 15000 15000', 'the ledger has that';
    is said($Gateway->cancel($payment)), '400 ALREADY_CANCELED_PAYMENT',
       'nothing is left';
    is said($Gateway->cancel($Gateway->window)), '403 NOT_CANCELABLE_PAYMENT',
       'what was not paid is not given back';
    is said($Gateway->cancel({ paymentKey => 'another' })),
       '404 NOT_FOUND_PAYMENT', 'nor what is not there';
    is said($Gateway->ask(
           POST => "/v1/payments/$payment->{paymentKey}/cancel", '{}')),
       '400 INVALID_REQUEST', 'a reason must be given';
}


# --- idempotency -------------------------------------------------------------

{
    my ($one, $other) = ($Gateway->window, $Gateway->window);
    my %key = key();
    my $first = $Gateway->confirm($one, %key);

    is $Gateway->confirm($one, %key)->body, $first->body,
       'the same key: the same answer';
    is $Gateway->confirm($other, %key)->body, $first->body,
       'whatever the body is';
    is $Gateway->status_of($other), 'IN_PROGRESS', 'and nothing is done';

    my $part = $Gateway->cancel($one, 1000, %key);
    is said($part), '200 PARTIAL_CANCELED', 'another address, another key';
    is $Gateway->cancel($one, 1000, %key)->body, $part->body,
       'a cancellation is done once';
    $Gateway->cancel($one, 2000);
    is $Gateway->confirm($one, %key)->body, $first->body,
       'an answer is as it was';
    is $Gateway->cancel($one, 1000, %key)->body, $part->body, 'every one';
    is line($one), 'PARTIAL_CANCELED 15000 3000', 'no won is given twice';

    %key = key();
    is said($Gateway->confirm({ %$other, amount => 1 }, %key)),
       '400 INVALID_REQUEST', 'an error';
    is said($Gateway->confirm($other, %key)), '400 INVALID_REQUEST',
       'is an answer, too';
    is said($Gateway->confirm($other, key())), '200 DONE', 'of that key alone';

    is said($Gateway->confirm($other, 'Idempotency-Key' => 'k' x 301)),
       '400 INVALID_IDEMPOTENCY_KEY', 'a key of 301 characters';
    is said($Gateway->confirm($Gateway->window,
                              'Idempotency-Key' => 'k' x 300)),
       '200 DONE', 'a key of 300 characters';
}

{
    my $payment = $Gateway->window(then => ['hang']);
    my %key = key();
    my $before = $Gateway->ledger->{requests}{confirm};
    my $first = $Gateway->begin_confirm($payment, %key);

    eventually { $Gateway->ledger->{requests}{confirm} > $before }
        'while the first is at work';
    is said($Gateway->confirm($payment, %key)),
       '409 IDEMPOTENT_REQUEST_PROCESSING', 'another is told so';
    ok is_silent($first), 'the first has no answer';
    close $first;
    eventually { said($Gateway->confirm($payment, %key)) eq '200 DONE' }
        'who gave up may ask again';

    $Gateway->switch(latency_ms => 300);
    $payment = $Gateway->window;
    %key = key();
    my @answers = map { Concert::Answer->new($_) }
                  map { $Gateway->begin_confirm($payment, %key) } 1 .. 20;
    my %said;
    $said{ said($_) }++ for @answers;
    my $done = delete $said{'200 DONE'};

    ok $done, 'of many at once one is answered';
    is_deeply [ keys %said ], [ '409 IDEMPOTENT_REQUEST_PROCESSING' ],
              'and the others are told to wait';
    is line($payment), 'DONE 15000 0', 'and it is paid once';
    $Gateway->switches_off;
}


# --- faults ------------------------------------------------------------------

# A fault of a confirmation: what is said, and what has happened.
my %Fault = (
    ok                     => ['200 DONE', 'DONE'],
    decline                => ['403 REJECT_CARD_PAYMENT', 'ABORTED'],
    REJECT_CARD_COMPANY    => ['403 REJECT_CARD_COMPANY', 'ABORTED'],
    drop                   => ['0', 'DONE'],
    drop_before            => ['0', 'IN_PROGRESS'],
    html                   => ['502', 'IN_PROGRESS'],
    html_after             => ['502', 'DONE'],
    truncated              => ['200', 'DONE'],
    empty                  => ['200', 'DONE'],
    500         => ['500 FAILED_INTERNAL_SYSTEM_PROCESSING', 'IN_PROGRESS'],
    '503_after' => ['503 FAILED_INTERNAL_SYSTEM_PROCESSING', 'DONE'],
    PROVIDER_ERROR         => ['400 PROVIDER_ERROR', 'IN_PROGRESS'],
    PROVIDER_ERROR_after   => ['400 PROVIDER_ERROR', 'DONE'],
    ALREADY_PROCESSED_PAYMENT => ['400 ALREADY_PROCESSED_PAYMENT',
                                  'IN_PROGRESS'],
    processing             => ['409 IDEMPOTENT_REQUEST_PROCESSING',
                               'IN_PROGRESS'],
    processing_after       => ['409 IDEMPOTENT_REQUEST_PROCESSING', 'DONE'],
);

my %Switch = map { ($_ => { "${_}_rate" => 1 }) }
                 qw( decline drop drop_before html html_after truncated empty
                     processing );
$Switch{$_} = { error => $_, error_rate => 1 }
    for qw( 500 503_after PROVIDER_ERROR PROVIDER_ERROR_after );

for my $fault (sort keys %Fault) {
    my ($said, $then) = @{ $Fault{$fault} };
    my $payment = $Gateway->window(then => [$fault]);

    is said($Gateway->confirm($payment)), $said, "a step: $fault";
    is $Gateway->status_of($payment), $then, "and then $then";

    my $switches = $Switch{$fault} // next;
    my ($bystander, $paid) = ($Gateway->window, $Gateway->paid);
    $payment = $Gateway->window;

    is $Gateway->switch(confirm => $switches)->status, 200, "for all: $fault";
    is said($Gateway->confirm($payment)), $said, 'it is so';
    is $Gateway->status_of($payment), $then, "and then $then";
    is said($Gateway->cancel($paid, 100)), '200 PARTIAL_CANCELED',
       'but not for other calls';
    $Gateway->switches_off;
    is said($Gateway->confirm($bystander)), '200 DONE', 'until it is over';
}

{
    my $payment = $Gateway->window(then => ['stall']);
    my $socket = $Gateway->begin_confirm($payment);
    my $bytes = '';

    eventually { $Gateway->status_of($payment) eq 'DONE' }
        'an answer that stalls: it is paid';
    sysread $socket, $bytes, 65536, length $bytes
        while $bytes !~ /\r\n\r\n./s;
    my ($length, $half) = $bytes =~ /Length: (\d+)\r.*?\r\n\r\n(.*)/s;

    ok is_silent($socket), 'there is no end';
    is length $half, int($length / 2), 'of which there is half';
}

for my $case ([ hang => 'IN_PROGRESS' ], [ hang_after => 'DONE' ]) {
    my ($fault, $then) = @$case;
    my $payment = $Gateway->window;

    $Gateway->switch(confirm => { "${fault}_rate" => 1 });
    my $socket = $Gateway->begin_confirm($payment);
    eventually { $Gateway->status_of($payment) eq $then } "$fault: $then";
    ok is_silent($socket), "$fault: no answer";
    $Gateway->switches_off;
    ok is_silent($socket), "$fault: nor when it is over";
}

{
    my $paid = $Gateway->paid(then => { cancel => ['drop', 'PROVIDER_ERROR'],
                                        lookup => ['500', 'empty', 'ok'] });
    my %key = key();

    is said($Gateway->cancel($paid, 1000, %key)), '0', 'steps of cancel: one';
    is said($Gateway->cancel($paid, 1000, %key)), '400 PROVIDER_ERROR', 'two';
    is said($Gateway->cancel($paid, 1000, %key)), '200 PARTIAL_CANCELED',
       'and what had been done';
    is_deeply [ map { said($Gateway->lookup($paid)) } 1 .. 4 ],
              [ '500 FAILED_INTERNAL_SYSTEM_PROCESSING', '200',
                ('200 PARTIAL_CANCELED') x 2 ], 'steps of look-up';
    is line($paid), 'PARTIAL_CANCELED 15000 1000', 'once';

    my $payment = $Gateway->window(then => ['drop', '500', 'ok']);
    %key = key();
    is_deeply [ map { said($Gateway->confirm($payment, %key)) } 1 .. 3 ],
              [ '0', '500 FAILED_INTERNAL_SYSTEM_PROCESSING', '200 DONE' ],
              'steps of confirm, with one key';

    $payment = $Gateway->window(then => ['PROVIDER_ERROR', '503']);
    %key = key();
    is_deeply [ map { said($Gateway->confirm($payment, %key)) } 1 .. 3 ],
              [ '400 PROVIDER_ERROR',
                '503 FAILED_INTERNAL_SYSTEM_PROCESSING', '400 PROVIDER_ERROR' ],
              'a code is an answer of that key, a mere status is not';
    is said($Gateway->confirm($payment, key())), '200 DONE', 'a new key pays';

    $Gateway->switch(error_stored => JSON::PP::false());
    $payment = $Gateway->window(then => ['PROVIDER_ERROR']);
    is_deeply [ map { said($Gateway->confirm($payment, %key = (
                          'Idempotency-Key' => 'not stored'))) } 1, 2 ],
              [ '400 PROVIDER_ERROR', '200 DONE' ],
              'unless no error is to be kept';
    $Gateway->switches_off;
}

# what the client does not wait for happens all the same
{
    $Gateway->switch(confirm => { latency_ms => 300, jitter_ms => 100 });
    my $payment = $Gateway->window;
    my $started = time;
    is said($Gateway->confirm($payment)), '200 DONE', 'with latency';
    cmp_ok time - $started, '>=', 0.29, 'it takes longer';

    $payment = $Gateway->window(then => ['ok@4000']);
    close $Gateway->begin_confirm($payment);
    is $Gateway->status_of($payment), 'IN_PROGRESS', 'a client goes away';
    eventually { $Gateway->status_of($payment) eq 'DONE' }
               'its payment is done';

    my @payments = map { $Gateway->window } 1 .. 300;
    my @answers = map { said(Concert::Answer->new($_)) }
                  map { $Gateway->begin_confirm($_) } @payments;
    is_deeply \@answers, [ ('200 DONE') x @payments ], 'many may wait at once';
    $Gateway->switches_off;
}

# a seed repeats what was drawn
{
    my @runs = map {
        $Gateway->switch(seed => 7, error_rate => 0.2, decline_rate => 0.1,
                         drop_rate => 0.3);
        my @said = map { said($Gateway->confirm($Gateway->window)) } 1 .. 60;
        $Gateway->switches_off;
        \@said;
    } 1, 2;
    my %seen = map { $_ => 1 } @{ $runs[0] };

    is_deeply $runs[1], $runs[0], 'the same seed, the same faults';
    is scalar keys %seen, 4, 'of every kind';
}

for my $bad ({ latency => 1 }, { drop_rate => 2 }, { drop_rate => 'x' },
             { drop_rate => 0.6, hang_rate => 0.6 }, { error => 'no_such' },
             { confirm => { seed => 1 } }, { webhook => 'ftp://localhost' },
             { webhook => 'http://example.org/' })
{
    my $before = $Gateway->ask(GET => '/switches')->body;

    is $Gateway->switch(%$bad)->status, 400, 'no such switch';
    is $Gateway->ask(GET => '/switches')->body, $before, 'nothing is changed';
}

for my $then ('drop', ['dropp'], ['ok_before'], ['200'], { pay => ['ok'] }) {
    is $Gateway->ask(POST => '/window', { orderId => 'order-x', amount => 1,
                                          then => $then })->status, 400,
       'no such step';
}


# --- time, webhook, ledger ---------------------------------------------------

{
    my $payment = $Gateway->window;

    $Gateway->switch(expires_s => 0);
    eventually { $Gateway->status_of($payment) eq 'EXPIRED' }
               'a payment that nobody confirms is over';
    is said($Gateway->confirm($payment)), '404 NOT_FOUND_PAYMENT_SESSION',
       'for good';
    $Gateway->switches_off;
}

{
    my $listener = IO::Socket::INET->new(Listen => 8,
                                         LocalAddr => '127.0.0.1') or die $!;
    my $hear = sub {
        my ($status) = @_;

        my $socket = $listener->accept;
        my ($line, $length) = scalar <$socket>;
        while (my $header = <$socket>) {
            $length = $1 if $header =~ /^Content-Length: (\d+)/;
            last if $header eq "\r\n";
        }
        read $socket, my ($body), $length;
        print $socket "HTTP/1.1 $status x\r\nContent-Length: 0\r\n\r\n";
        return [ $line =~ /^(\S+ \S+)/, JSON::PP::decode_json($body) ];
    };

    $Gateway->switch(webhook => 'http://127.0.0.1:' . $listener->sockport
                                . '/hook', webhook_wait_ms => 1);
    my $payment = $Gateway->paid;
    my ($first, $second) = ($hear->(500), $hear->(200));

    is $first->[0], 'POST /hook', 'a webhook is called';
    is $first->[1]{eventType}, 'PAYMENT_STATUS_CHANGED', 'a status changed';
    is $first->[1]{data}{orderId}, $payment->{orderId}, 'of that order';
    is $first->[1]{data}{status}, 'DONE', 'which is done';
    is_deeply $second, $first, 'it is called again until it is heard';

    $Gateway->cancel($payment, 100);
    is $hear->(200)->[1]{data}{status}, 'PARTIAL_CANCELED', 'a cancellation';
    eventually { $Gateway->ledger->{webhooks}{delivered} == 2 }
               'both are heard';
    is $Gateway->ledger->{webhooks}{failed}, 1, 'one was not';
    $Gateway->switches_off;
}

{
    my $ledger = $Gateway->ledger;
    my ($approved, $cancelled, %statuses) = (0, 0);

    for my $line (@{ $ledger->{payments} }) {
        $approved += $line->{approved};
        $cancelled += $line->{cancelled};
        $statuses{ $line->{status} }++;
        fail "$line->{orderId} gave back more than it took"
            if $line->{cancelled} > $line->{approved};
    }

    is_deeply $ledger->{totals},
              { approved => $approved, cancelled => $cancelled,
                net => $approved - $cancelled, statuses => \%statuses },
              'the ledger sums up';

    my @csv = split /\n/, $Gateway->ask(GET => '/ledger?csv')->body;
    is scalar @csv, 1 + @{ $ledger->{payments} }, 'as lines, too';
    is shift @csv, 'orderId,paymentKey,status,amount,approved,cancelled',
       'with names';

    my $totals = $Gateway->ask(GET => '/ledger?totals')->json;
    is_deeply [ @$totals{qw( totals payments )} ],
              [ $ledger->{totals}, undef ], 'or the totals alone';
    cmp_ok $ledger->{duplicates}{answered}, '>', 0, 'duplicates are counted';
    cmp_ok $ledger->{duplicates}{processing}, '>', 0, 'of both kinds';
    is $Gateway->ask(GET => '/healthz')->status, 200, 'it is well';
}


# --- crashes -----------------------------------------------------------------

for my $case ([ kill_before => 'IN_PROGRESS' ], [ kill_after => 'DONE' ]) {
    my ($step, $then) = @$case;
    my $payment = $Gateway->window(then => [$step]);
    my %key = key();

    is said($Gateway->confirm($payment, %key)), '0', "$step: no answer";
    is $Gateway->wait & 127, 9, "$step: the gateway is dead";
    $Gateway->start;
    is $Gateway->status_of($payment), $then, "$step: $then";
    is said($Gateway->confirm($payment, %key)), '200 DONE',
       "$step: the same key pays";
    is line($payment), 'DONE 15000 0', "$step: once";

    $payment = $Gateway->paid(then => { cancel => [$step] });
    %key = key();
    is said($Gateway->cancel($payment, 1000, %key)), '0', "$step: no answer";
    $Gateway->wait;
    $Gateway->start;
    is said($Gateway->cancel($payment, 1000, %key)), '200 PARTIAL_CANCELED',
       "$step: the same key gives back";
    is line($payment), 'PARTIAL_CANCELED 15000 1000', "$step: once";
}

# what a gateway knows, as far as it survives
sub known {
    my ($gateway) = @_;

    my $ledger = $gateway->ledger;
    return { switches => $gateway->ask(GET => '/switches')->json,
             map { $_ => $ledger->{$_} } qw( payments totals ) };
}

{
    my $gateway = Gateway->start;
    my %key = key();
    my ($one, $two, $three);

    my @story = (
        sub { $one = $gateway->window(then => ['500']) },
        sub { $gateway->confirm($one, %key) },
        sub { $gateway->confirm($one, %key) },
        sub { $gateway->switch(latency_ms => 1, cancel => { drop_rate => 1 }) },
        sub { $gateway->cancel($one, 1000, %key) },
        sub { $gateway->cancel($one, 2000) },
        sub { $two = $gateway->window(card => 'declined') },
        sub { $gateway->confirm($two, %key) },
        sub { $gateway->confirm($two) },
        sub { $three = $gateway->window },
        sub { $gateway->confirm({ %$three, amount => 1 }, key()) },
        sub { $gateway->switches_off },
        sub { $gateway->cancel($one) },
        sub { $gateway->switch(expires_s => 0);
              sleep 1 while $gateway->status_of($three) ne 'EXPIRED' },
    );
    my @steps = ([ '', known($gateway) ]);

    for my $step (@story) {
        $step->();
        push @steps, [ $gateway->journal, known($gateway) ];
    }

    $gateway->kill;
    $gateway->start;
    is_deeply known($gateway), $steps[-1][1], 'killed: all is as it was';
    $gateway->kill;

    for my $i (0 .. $#steps) {
        my ($journal, $known) = @{ $steps[$i] };
        my $next = $steps[ $i + 1 ] // $steps[-1];
        my ($line) = substr($next->[0], length $journal) =~ /^([^\n]*)/;

        $gateway->start($journal . substr $line, 0, length($line) / 2);
        is_deeply known($gateway), $known, "killed at step $i: so it is";
        is $gateway->journal, $journal, 'and half a line is none';
        $gateway->kill;
    }

    $gateway->start($steps[-1][0]);
    is said($gateway->confirm($one, %key)), '200 DONE',
       'keys stand for the same answers';
    is $gateway->cancel($one, 1000, %key)->json->{balanceAmount}, 14000,
       'all of them';
    my $begun = $gateway->ledger->{requests}{confirm};
    my $late = $gateway->begin_confirm($gateway->window(then => ['ok@6000']));
    eventually { $gateway->ledger->{requests}{confirm} > $begun }
               'while a call is at work';
    is $gateway->ask(DELETE => '/ledger')->status, 200, 'all is forgotten';
    is said(Concert::Answer->new($late)), '404 NOT_FOUND_PAYMENT',
       'for that call, too';
    $gateway->kill;
    $gateway->start;
    is_deeply known($gateway)->{payments}, [], 'for good';
    is known($gateway)->{switches}{expires_s}, 0, 'but not the switches';
    is $gateway->stop, 0, 'SIGTERM ends it';
}

is $Gateway->stop, 0, 'SIGTERM ends it';

done_testing();
