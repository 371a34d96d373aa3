# What the settle job makes of payments by card that nobody waits for: those
# whose nginx died at any step, those of which a webhook tells, and refunds.

use strict;
use warnings;

use Test::More;

use Concert;
use Gateway;

my $Gateway = Gateway->start;
my $Nginx = nginx(gateway => $Gateway);
my $Ann = $Nginx->client(user());
my $User = $Ann->id;
my $Schedule = schedule(seats => 100, price => 1500);
my $Seat = 0;

use constant HOUR => 3_600_000;

# A payment that was claimed, and when it is to be looked at, in ms.
sub claimed {
    my ($look, %window) = @_;

    my $key = delete $window{paymentKey};
    my $held = hold($User, $Schedule, ++$Seat);
    my $order = $Ann->post('/api/payments/orders',
                           { userId => 0 + $User,
                             reservationId => 0 + $held })->json;
    my $card = $Gateway->window(%$order, %window);
    $card->{paymentKey} = $key if defined $key;

    my ($payment, $operation) = split /\|/, sql(
        "select c.payment_id, replace(c.operation::text, '-', '')
         from concert.claim(array[gen_random_uuid()], array[$User]::bigint[],
                            array[$held]::bigint[], array[1500]::bigint[],
                            array['$order->{orderId}'],
                            array['$card->{paymentKey}'], $look, null) c");

    return { %$card, held => $held, payment => $payment,
             operation => $operation };
}

sub confirm {
    my ($card) = @_;
    my %body = map { $_ => $card->{$_} } qw( paymentKey orderId amount );

    return $Gateway->confirm(\%body, 'Idempotency-Key' => $card->{operation});
}

sub payment {
    my ($card) = @_;
    return $Ann->get("/api/reservations/payments/$card->{payment}")->json
               ->{status};
}

sub reservation {
    return $Ann->get("/api/reservations/$_[0]{held}")->json->{status};
}

sub webhook {
    my ($order, $event) = @_;
    return $Nginx->nobody->post('/api/gateway/webhook',
                                { eventType => $event
                                               // 'PAYMENT_STATUS_CHANGED',
                                  data => { orderId => $order } });
}

sub refund {
    return $Nginx->nobody->post("/refunds/$_[0]", { reason => 'A test' });
}


# metrics
{
    my $metric = sub { $Nginx->metric("concert_payments_$_[0]") };
    my $unsettled = sub { sql("select $_[0] from concert.unsettled()") };

    claimed(HOUR);

    for my $what (qw( pending refunding )) {
        eventually { $metric->($what) == $unsettled->($what) }
            "metrics tell how many are $what";
    }

    cmp_ok $metric->('pending'), '>=', 1, 'not only none';
    cmp_ok $metric->('pending_age_seconds'), '>', 0, 'and for how long';
}


# nginx died after the claim
{
    my $before = claimed(0);
    my $after = claimed(HOUR);
    my $declined = claimed(0, card => 'declined');

    is confirm($after)->status, 200, 'or after the gateway has paid';
    sql("select * from concert.look_now(array['$after->{orderId}'])");

    eventually { payment($before) eq 'PAID' }
        'what the gateway was not asked is confirmed';
    eventually { payment($after) eq 'PAID' } 'what it has paid is settled';
    eventually { payment($declined) eq 'DECLINED' } 'what it declines, too';
    is_deeply [ map { reservation($_) } $before, $after, $declined ],
              [ qw( PAID PAID HELD ) ], 'seats go where the money is';
    is_deeply [ map { $Gateway->status_of($_) } $before, $after, $declined ],
              [ qw( DONE DONE ABORTED ) ], 'and the gateway agrees';
}


# a gateway that was away
{
    my $held = hold($User, $Schedule, ++$Seat);
    my $order = $Ann->post('/api/payments/orders',
                           { userId => 0 + $User,
                             reservationId => 0 + $held })->json;

    $Gateway->window(%$order, paymentKey => 'window-that-was-open');
    $Gateway->kill;
    my $answer = $Ann->post('/api/reservations/payments', {
        userId => 0 + $User, reservationId => 0 + $held, amount => 1500,
        method => 'card', orderId => $order->{orderId},
        paymentKey => 'window-that-was-open' });

    is $answer->status, 202, 'while the gateway is away a payment is PENDING';

    $Gateway->start;
    eventually { $Ann->get($answer->location)->json->{status}
                 eq 'PAID' } 'when it is back it is paid';
}


# webhooks
{
    my $card = claimed(HOUR);
    is confirm($card)->status, 200, 'the gateway has paid';

    is webhook($card->{orderId}, 'DEPOSIT_CALLBACK')->status, 200,
       'other events are welcome';
    is webhook('order-of-nobody')->status, 200, 'so are orders of nobody';
    is payment($card), 'PENDING', 'which changes nothing';

    my $answer = webhook($card->{orderId});
    is $answer->status . $answer->body, '200{}', 'that a payment has changed';
    eventually { payment($card) eq 'PAID' } 'is found out at once';

    my $open = claimed(HOUR, then => { lookup => [ ('500') x 2 ] });
    webhook($open->{orderId});
    eventually { payment($open) eq 'PAID' }
        'and is not believed: the gateway is asked until it says so';
}


# an order that had another window than the one it is paid with
{
    my $failed = 'concert_circuitbreaker_calls_total{kind="failed"}';
    my $before = $Nginx->metric($failed);
    my $card = claimed(0, paymentKey => 'of-no-window');
    my $order = "from concert.orders where order_id = '$card->{orderId}'";

    eventually { payment($card) eq 'DECLINED' } 'is confirmed with its own key';
    webhook($card->{orderId});
    eventually { sql("select next_look_at is null $order") eq 't' }
        'and nobody looks for it any more';
    is $Nginx->metric($failed), $before, 'and the gateway has not failed';
}


# deposits into virtual accounts
{
    my $unsettled = sub { sql("select $_[0] from concert.unsettled()") };
    my $deposits = sub { $Nginx->metric('concert_payments_deposits') };
    my $before = $unsettled->('deposits');

    my $held = hold($User, $Schedule, ++$Seat);
    my $order = $Ann->post('/api/payments/orders',
                           { userId => 0 + $User,
                             reservationId => 0 + $held })->json;
    my $window = $Gateway->window(%$order, card => 'deposit');
    my $answer = $Ann->post('/api/reservations/payments', {
        userId => 0 + $User, reservationId => 0 + $held, amount => 1500,
        method => 'card', map { $_ => $window->{$_} } qw( orderId paymentKey )
    });
    my $paid = { %$window, held => $held,
                 payment => $answer->json->{paymentId} };
    my $left = claimed(0, card => 'deposit');

    is $answer->status, 202, 'who is to pay into an account is told to wait';
    eventually { $deposits->() == $before + 2 }
        'and so is whom the settle job finds';
    is_deeply [ map { payment($_) . ' ' . reservation($_) } $paid, $left ],
              [ ('PENDING PAYING') x 2 ], 'the seats are kept';
    is $unsettled->('pending'),
       sql('select count(*) from concert.orders
            where pending_since is not null') - $before - 2,
       'but it is not counted with what is not known';

    my $told = $Nginx->nobody->get('/status')->json->{payments};
    is $told->{deposits}, $before + 2, 'status tells how many';
    like $told->{seenAt}, qr/^\d{4}-\d\d-\d\dT/, 'and when it was so';

    is $Gateway->ask(POST => '/window/deposit',
                     { paymentKey => $paid->{paymentKey} })->status, 200,
       'when the deposit comes';
    webhook($paid->{orderId});
    eventually { payment($paid) eq 'PAID' } 'it is paid';

    is $Gateway->cancel($left)->status, 200, 'when the account is closed';
    webhook($left->{orderId});
    eventually { payment($left) eq 'REFUNDED' } 'it is given up';
    is_deeply [ map { reservation($_) } $paid, $left ], [ qw( PAID HELD ) ],
              'and so are the seats';
    eventually { $deposits->() == $before } 'then no deposit is awaited';
}


# the gateway's own window gives it back
{
    my $card = claimed(0);
    eventually { payment($card) eq 'PAID' } 'what was paid';
    is $Gateway->cancel($card)->status, 200, 'is given back at the gateway';
    webhook($card->{orderId});
    eventually { payment($card) eq 'REFUNDED' } 'which is found out';
    is reservation($card), 'CANCELLED', 'and the seats are free';
}


# refunds
{
    my $card = claimed(0, then => { cancel => [ 'drop', 'drop', '500' ] });
    eventually { payment($card) eq 'PAID' } 'what was paid by card';

    my $answer = refund($card->{payment});
    is_json $answer->body, {
        paymentId => 0 + $card->{payment}, reservationId => 0 + $card->{held},
        userId => 0 + $User, amount => 1500, method => 'card',
        status => 'REFUNDING' }, 'is on its way back';
    is reservation($card), 'CANCELLED', 'its seats are free at once';
    eventually { payment($card) eq 'REFUNDED' }
        'the gateway is told until it has given it back';

    my ($line) = grep { $_->{orderId} eq $card->{orderId} }
                      @{ $Gateway->ledger->{payments} };
    is "@$line{qw( approved cancelled )}", '1500 1500', 'once';
    is refund($card->{payment})->json->{status}, 'REFUNDED',
       'again changes nothing';

    my $bob = user(1500);
    my $paid = payment_of(paid($bob, $Schedule, ++$Seat));
    is refund($paid)->json->{status}, 'REFUNDED',
       'what a balance has paid is back at once';
    is $Nginx->client($bob)->balance, 1500, 'in the balance';

    is_problem refund(payment_of(Concert::paying($User, $Schedule, ++$Seat))),
               'payment_in_progress', 'what is not known is not given back';
    is_problem refund(9007199254740991), 'payment_not_found',
               'nor what there is not';
    is_problem $Nginx->nobody->post("/refunds/$paid", {}), 'invalid_request',
               'a refund has a reason', { field => 'reason' };
}

is sql('select rule, broken from concert.violations() where broken > 0'), '',
   'all rules hold';
$Nginx->stop;
done_testing();
