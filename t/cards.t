# Paying and topping up by card, against the stand-in for a gateway.

use strict;
use warnings;

use JSON::PP ();
use MIME::Base64 qw( encode_base64 );
use Test::More;

use Concert;
use Gateway;

my $Pay = '/api/reservations/payments';
my $Charge = '/api/balance/charge';

my $Gateway = Gateway->start;
our $Nginx = nginx(gateway => $Gateway, cards => 'timeout=20s');
my $Schedule = schedule(seats => 200, price => 1500);
my $Seat = 0;

sub client { return $Nginx->client(user($_[0] // 0)) }

# What the buyer brings back from the gateway's window: the order of a
# reservation, or of a top-up.
sub ordered {
    my ($client, $for, %window) = @_;

    my $order = $client->post('/api/payments/orders',
                              { userId => 0 + $client->id, %$for })->json;
    my $payment = $Gateway->window(%$order, %window);

    return (method => 'card', orderId => $payment->{orderId},
            paymentKey => $payment->{paymentKey});
}

# The bytes of a payment by card; "with" replaces what it says.
sub pay_bytes {
    my ($client, $held, $card, %with) = @_;

    my $headers = delete $with{headers} // {};
    return $client->bytes_of(POST => $Pay, {
        userId => 0 + $client->id, reservationId => 0 + $held, amount => 1500,
        %$card, %with }, %$headers);
}

sub pay_by_card { return ($Nginx->together(pay_bytes(@_)))[0] }

sub charge_by_card {
    my ($client, $amount, $card, %with) = @_;

    return $client->put($Charge, { userId => 0 + $client->id,
                                   amount => $amount, %$card, %with });
}

sub held { return hold($_[0]->id, $Schedule, ++$Seat) }
sub reserved { return { reservationId => 0 + $_[0] } }
sub status { return $_[0]->get("/api/reservations/$_[1]")->json->{status} }
sub at_gateway { return $Gateway->status_of({ orderId => $_[0]{orderId} }) }
sub confirms { return $Gateway->ledger->{requests}{confirm} // 0 }
sub violations {
    return sql('select rule, broken from concert.violations()
                where broken > 0');
}

# The body of a payment by card.
sub object {
    my ($client, $held, %is) = @_;

    return { paymentId => '<id>',
             reservationId => defined $held ? 0 + $held : undef,
             userId => 0 + $client->id, amount => 1500, method => 'card',
             paymentTime => '<time>', %is };
}


# a card that pays
{
    my $ann = client();
    my $held = held($ann);
    $ann->enter;
    ok $ann->is_active, 'who is in';

    my %card = ordered($ann, reserved($held));
    my $answer = pay_by_card($ann, $held, \%card);

    is $answer->status, 200, 'pays by card:';
    is_json $answer->body, object($ann, $held, status => 'PAID'),
            'the payment is PAID';
    is status($ann, $held), 'PAID', 'and so is the reservation';
    is at_gateway(\%card), 'DONE', 'as the gateway says';
    ok !$ann->is_active, 'which ends the token';

    my $id = $answer->json->{paymentId};
    is_json $ann->get("$Pay/$id")->body, $answer->json, 'it can be looked up';
    is sql("select t.debit_account, t.credit_account, t.amount
            from concert.all_payments p
            join concert.transfers t on t.transfer_id = p.transfer_id
            where p.payment_id = $id"), '-1|0|1500',
       'the money goes from the gateway to sales';

    my $before = confirms();
    my $again = pay_by_card($ann, $held, \%card);
    is_json $again->body, $answer->json, 'a repeat is told the same';
    is confirms(), $before, 'and asks the gateway nothing';
}


# a card that does not
{
    my $ann = client();
    my $held = held($ann);
    my %card = ordered($ann, reserved($held), card => 'declined');
    my $answer = pay_by_card($ann, $held, \%card);

    is_problem $answer, 'payment_declined', 'a card may be declined', {
        paymentId => '<id>', gatewayCode => 'REJECT_CARD_PAYMENT',
        reason => '<text>' };
    is status($ann, $held), 'HELD', 'the hold goes on';
    is $ann->get("$Pay/" . $answer->json->{paymentId})->json->{status},
       'DECLINED', 'the payment reads DECLINED';

    is_problem pay_by_card($ann, $held, \%card), 'payment_declined',
               'a repeat is told the same', $answer->json
        ? { map { $_ => $answer->json->{$_} }
            qw( paymentId gatewayCode reason ) } : {};

    my %other = ordered($ann, reserved($held));
    is pay_by_card($ann, $held, \%other)->status, 200, 'another card pays it';
}


# what is asked wrongly
{
    my ($ann, $bob) = (client(), client());
    my $held = held($ann);
    my %card = ordered($ann, reserved($held));
    my $before = confirms();

    is_problem pay_by_card($ann, $held, \%card, orderId => 'order-of-nobody'),
               'order_not_found', 'an order must be there';
    is_problem pay_by_card($ann, $held, \%card, amount => 1499),
               'amount_mismatch', 'of the amount';
    is_problem pay_by_card($bob, $held, \%card), 'reservation_not_found',
               'and one\'s own';

    for my $name (qw( orderId paymentKey )) {
        my %less = %card;
        delete $less{$name};
        is_problem pay_by_card($ann, $held, \%less), 'invalid_request',
                   "without $name there is no payment by card",
                   { field => $name };
        is_problem pay_by_card($ann, $held, \%card, $name => $_),
                   'invalid_request', "no $name is " . ($_ // 'null'),
                   { field => $name }
            for '', 'a b c d e', 'x' x 201, "../cancel", 17, undef;
    }

    is_problem pay_by_card($ann, $held, \%card, method => $_),
               'invalid_request', 'no method is ' . ($_ // 'null'),
               { field => 'method' }
        for 'free', 'CARD', 1, undef;

    is confirms(), $before, 'the gateway is asked none of this';
    is status($ann, $held), 'HELD', 'and the hold goes on';
}


# a gateway that does not say, twice, as a kept connection that has died is
# replaced: PENDING, until the settle job knows
{
    my %last = (drop => 'PAID', 500 => 'PAID', '503_after' => 'PAID',
                html => 'PAID', truncated => 'PAID', empty => 'PAID',
                drop_before => 'PAID', processing => 'PAID');

    for my $fault (sort keys %last) {
        my $ann = client();
        my $held = held($ann);
        my %card = ordered($ann, reserved($held), then => [ $fault, $fault ]);
        $ann->enter;
        my $answer = pay_by_card($ann, $held, \%card);

        is $answer->status, 202, "$fault: what is not known is a 202";
        is_json $answer->body, object($ann, $held, status => 'PENDING'),
                "$fault: with the payment, PENDING";

        my $location = $answer->location // '';
        is $location, "$Pay/" . $answer->json->{paymentId},
           "$fault: and where to look";

        eventually { $ann->get($location)->json->{status} eq $last{$fault} }
            "$fault: then it is $last{$fault}";
        is status($ann, $held), 'PAID', "$fault: and has its seats";
        is at_gateway(\%card), 'DONE', "$fault: for the card's money";
        eventually { !$ann->is_active } "$fault: and the token ends";
    }
}


# repeats with an Idempotency-Key
{
    my $ann = client();
    my $held = held($ann);
    my %card = ordered($ann, reserved($held));
    my %key = (headers => { 'Idempotency-Key' => 'mine' });
    my @answers = map { pay_by_card($ann, $held, \%card, %key) } 1, 2;

    is_deeply [ map { $_->status } @answers ], [ 200, 200 ],
              'with a key both are answered';
    is_json $answers[1]->body, $answers[0]->json, 'the same';
    is $answers[1]->header('Idempotency-Replayed'), 'true',
       'the second is a replay';
    is_problem pay_by_card($ann, $held, \%card, %key, amount => 1),
               'idempotency_key_reused', 'a key is for one body';
}


# the same payment many times at once
{
    my $ann = client();
    my $held = held($ann);
    my %card = ordered($ann, reserved($held));
    my $before = confirms();
    my @answers = $Nginx->together((pay_bytes($ann, $held, \%card)) x 10);

    is scalar(grep { $_->status !~ /^(?:200|202)$/ } @answers), 0,
       'ten at once are paid or are told to look';
    is status($ann, $held), 'PAID', 'it is paid,';
    is confirms() - $before, 1, 'once';
}


# a client that leaves
{
    my $ann = client();
    my $held = held($ann);
    my %card = ordered($ann, reserved($held), then => [ 'ok@2000' ]);
    my $socket = $Nginx->begin(pay_bytes($ann, $held, \%card));

    eventually { status($ann, $held) =~ /^(?:PAYING|PAID)\z/ }
               'who has begun to pay';
    close $socket;
    eventually { status($ann, $held) eq 'PAID' } 'and leaves has paid';
}


# top-ups
{
    my $ann = client(1000);
    my %card = ordered($ann, { chargeAmount => 6000 });
    my $answer = charge_by_card($ann, 6000, \%card);

    is_json $answer->body, { userId => 0 + $ann->id, amount => 7000 },
            'a card adds to the balance';
    is at_gateway(\%card), 'DONE', 'as the gateway says';
    is charge_by_card($ann, 6000, \%card)->status, 200, 'a repeat';
    is $ann->balance, 7000, 'adds nothing';

    %card = ordered($ann, { chargeAmount => 6000 }, card => 'declined');
    is_problem charge_by_card($ann, 6000, \%card), 'payment_declined',
               'a card that is declined adds nothing', {
        paymentId => '<id>', gatewayCode => 'REJECT_CARD_PAYMENT',
        reason => '<text>' };
    is $ann->balance, 7000, 'indeed';

    %card = ordered($ann, { chargeAmount => 6000 },
                    then => [ 'drop', 'drop' ]);
    $answer = charge_by_card($ann, 6000, \%card);
    is $answer->status, 202, 'what is not known is a 202';
    is_json $answer->body, object($ann, undef, amount => 6000,
                                  status => 'PENDING'), 'with a payment';
    eventually { $ann->balance == 13000 } 'which is credited when it is known';
    is $ann->get($answer->location)->json->{status}, 'PAID',
       'and reads PAID';

    is $ann->charge(1)->status, 200, 'without a card it is as before';
}

is violations(), '', 'all rules hold';

my $Secret = join '|', map { quotemeta }
                       $Gateway->{secret},
                       encode_base64("$Gateway->{secret}:", '');
ok !(grep { /$Secret/ } $Nginx->log), 'the secret key is in no log';
$Nginx->stop;


# a gateway that hangs; a queue that is full; too many that are not known
{
    my $nginx = nginx(gateway => $Gateway,
                      cards => 'lanes=1 max_queue=1 timeout=1s');
    local $Nginx = $nginx;
    my $ann = client();
    my @held = map { held($ann) } 1 .. 8;
    my @cards = map { { ordered($ann, reserved($held[$_]),
                                then => [ 'hang' ]) } } 0 .. 7;
    my @answers = $nginx->together(map { pay_bytes($ann, $held[$_],
                                                   $cards[$_]) } 0 .. 7);
    my %seen;
    $seen{ $_->status . ' ' . ($_->code || $_->json->{status}) }++
        for @answers;

    ok delete $seen{'202 PENDING'}, 'who waits too long is PENDING';
    delete $seen{'503 gateway_unavailable'};
    is_deeply \%seen, {}, 'who would wait in vain is refused';

    for my $n (0 .. 7) {
        my $last = $answers[$n]->status == 202 ? 'PAID' : 'HELD';
        eventually { status($ann, $held[$n]) eq $last }
            $last eq 'PAID' ? 'who is PENDING is paid in the end'
                            : 'of whom was refused nothing is claimed';
    }

    $nginx->stop;

    # one that nobody looks at for an hour
    Concert::paying($ann->id, $Schedule, ++$Seat);
    my $pending = sql('select pending from concert.unsettled()');

    for my $most ($pending, $pending + 1) {
        $Nginx = nginx(gateway => $Gateway, cards => "max_pending=$most");
        my $held = held($ann);
        my %card = ordered($ann, reserved($held));
        my $answer = pay_by_card($ann, $held, \%card);

        is $answer->status . ' ' . $answer->code,
           $most > $pending ? '200 ' : '503 overloaded',
           'so many may not be known, and no more';
        $Nginx->stop;
    }
}


# what is meant where no method is named
{
    my $nginx = nginx(gateway => $Gateway, http => <<'END');
        concert_payment_method card;
        concert_charge card;
END
    local $Nginx = $nginx;
    my $ann = client(5000);
    my $held = held($ann);
    my %card = ordered($ann, reserved($held));

    is_problem $ann->pay($held, 1500), 'invalid_request',
               'with concert_payment_method card one is needed',
               { field => 'orderId' };
    delete $card{method};
    is pay_by_card($ann, $held, \%card)->status, 200,
       'and need not be named';
    is pay_by_card($ann, held($ann), {}, method => 'balance')->status, 200,
       'a balance is';

    is_problem $ann->charge(1), 'invalid_request',
               'with concert_charge card nothing is free',
               { field => 'orderId' };
    is_problem charge_by_card($ann, 1, {}, method => 'free'),
               'invalid_request', 'whoever asks', { field => 'method' };

    $nginx->stop;
}


# waiting for a lane is no time of the gateway's
{
    my $nginx = nginx(gateway => $Gateway, cards => 'lanes=1 timeout=10s');
    local $Nginx = $nginx;
    my $asked = confirms();
    my @held;
    my @requests = map {
        my $ann = client();

        push @held, held($ann);
        pay_bytes($ann, $held[-1], { ordered($ann, reserved($held[-1]),
                                             then => ['ok@4000']) });
    } 1 .. 3;
    my @answers = $nginx->together(@requests);

    is join(' ', sort map { $_->status } @answers), '200 200 202',
       'who has waited for others for too long is told to look';
    eventually { sql("select string_agg(distinct status, ' ')
                      from concert.reservations
                      where reservation_id in (@{[ join ',', @held ]})")
                 eq 'PAID' } 'the gateway has all its time nevertheless';
    is confirms() - $asked, 3, 'to answer the first question';
    is $nginx->metric('concert_circuitbreaker_calls_total{kind="failed"}'), 0,
       'and has failed in nothing';
    $nginx->stop;
}


# without a gateway
{
    my $nginx = nginx();
    local $Nginx = $nginx;
    my $ann = client(5000);
    my $held = held($ann);

    is_problem pay_by_card($ann, $held, { method => 'card',
                                          orderId => 'order-1',
                                          paymentKey => 'key' }),
               'invalid_request', 'without a gateway no card is taken',
               { field => 'method' };
    is pay_by_card($ann, $held, {}, method => 'balance')->status, 200,
       'a balance is';
    $nginx->stop;
}

is violations(), '', 'all rules hold';
done_testing();
