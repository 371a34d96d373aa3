# Orders: what a payment or a top-up by card is called at the gateway; and
# payments by card, as their owner sees them.

use strict;
use warnings;

use List::Util qw( uniq );
use Test::More;

use Concert;

use constant MAX => 9007199254740991;

my $Orders = '/api/payments/orders';
my $Id = qr/^[A-Za-z0-9_-]{6,64}\z/;

my $Nginx = nginx();
my $User = user(1000);
my $Ann = $Nginx->client($User);
my $Schedule = schedule(seats => 200, price => 1500);
my $Seat = 2;

sub order { return $Ann->post($Orders, { userId => 0 + $User, @_ }) }
sub row { return sql("select $_[1] from concert.orders
                      where order_id = '$_[0]'") }


# of a reservation
{
    my $held = hold($User, $Schedule, 1, 2);
    my $answer = order(reservationId => 0 + $held);

    is $answer->status, 200, 'a hold can be ordered';
    is_deeply [ sort keys %{ $answer->json } ], [ qw( amount orderId ) ],
              'the answer is the order';
    is $answer->json->{amount}, 3000, 'of what it costs';

    my $order = $answer->json->{orderId};
    like $order, $Id, 'by an id that the gateway takes';
    is row($order, 'user_id, reservation_id, amount, payment_id'),
       "$User|$held|3000|", 'it is kept, and not used yet';

    my $again = order(reservationId => 0 + $held)->json->{orderId};
    like $again, $Id, 'a hold can be ordered again';
    isnt $again, $order, 'each attempt has an order of its own';

    my @parts = map { substr $_, 0, 18 } $order, $again;
    isnt $parts[0], $parts[1], 'whose id does not follow from another';

    is $Ann->get("/api/reservations/$held")->json->{status}, 'HELD',
       'an order changes nothing of the hold';
}


# of a top-up
{
    my $answer = order(chargeAmount => 6000);

    is $answer->status, 200, 'a top-up can be ordered';
    is $answer->json->{amount}, 6000, 'of any amount';
    is row($answer->json->{orderId}, 'user_id, reservation_id, amount'),
       "$User||6000", 'for the user, and for no reservation';
    is $Ann->balance, 1000, 'the balance stays what it was';
    is order(chargeAmount => MAX - 1000)->status, 200,
       'as much as a balance may be';
    is_problem order(chargeAmount => MAX - 999), 'balance_limit',
               'and no more';
}


# what is no order
{
    my $other = hold(user(), $Schedule, ++$Seat);
    my %refused = (
        reservation_not_found => $other,
        reservation_expired => expired($User, $Schedule, ++$Seat),
        reservation_cancelled => cancelled($User, $Schedule, ++$Seat),
        payment_in_progress => Concert::paying($User, $Schedule, ++$Seat),
        reservation_paid => paid(my $payer = user(1500), $Schedule, ++$Seat),
        amount_mismatch => hold($User, schedule(price => 0), 1),
    );

    for my $code (sort keys %refused) {
        my $client = $Nginx->client($code eq 'reservation_paid' ? $payer
                                                                : $User);
        is_problem $client->post($Orders, {
                       userId => 0 + $client->id,
                       reservationId => 0 + $refused{$code} }), $code,
                   "what cannot be paid cannot be ordered: $code";
    }

    my $stranger = stranger();
    is_problem $Nginx->client($stranger)->post($Orders, {
                   userId => 0 + $stranger, chargeAmount => 1 }),
               'user_not_found', 'who has no account tops up none';

    my $held = hold($User, $Schedule, ++$Seat);
    is_problem order(), 'invalid_request', 'an order is for something',
               { field => 'reservationId' };
    is_problem order(reservationId => 0 + $held, chargeAmount => 1),
               'invalid_request', 'and for one thing',
               { field => 'chargeAmount' };
    is_problem order(chargeAmount => $_), 'invalid_request',
               'not of ' . ($_ // 'null'), { field => 'chargeAmount' }
        for 0, -1, '1', undef;
    is_problem order(reservationId => $_), 'invalid_request',
               'nor for ' . ($_ // 'null'), { field => 'reservationId' }
        for 0, '1', undef;
    is_problem $Nginx->nobody->post($Orders, { userId => 0 + $User,
                                               chargeAmount => 1 }),
               'identity_missing', 'somebody must ask';
    is_problem $Nginx->client(user())->post($Orders, { userId => 0 + $User,
                                                       chargeAmount => 1 }),
               'identity_mismatch', 'for none but themselves';
}


# many at once: a batch has orders of both kinds, and what it refuses
{
    my @held = map { hold($User, $Schedule, ++$Seat) } 1 .. 10;
    my @bodies = map { ({ reservationId => 0 + $_ }, { chargeAmount => 0 + $_ },
                        { reservationId => MAX }) } @held;
    my @answers = $Nginx->together(map {
        $Ann->bytes_of(POST => $Orders, { userId => 0 + $User, %$_ }) }
        @bodies);

    is_deeply [ map { $_->json->{amount} // $_->code } @answers ],
              [ map { (1500, 0 + $_, 'reservation_not_found') } @held ],
              'orders at the same time do not meet';
    is scalar(uniq map { $_->json->{orderId} // () } @answers), 20,
       'and have different ids';
}


# payments by card
{
    my $claim = sub {
        my ($reservation, $charge) = @_;
        my $order = order($reservation ? (reservationId => 0 + $reservation)
                                       : (chargeAmount => $charge))->json;
        return sql("select c.payment_id
                    from concert.claim(array[gen_random_uuid()],
                        array[$User]::bigint[],
                        array[${\($reservation // 'null')}]::bigint[],
                        array[$order->{amount}]::bigint[],
                        array['$order->{orderId}'], array['key'], 3600000,
                        null) c");
    };
    my $settle = sub {
        my ($payment, $verdict, $code, $reason) = @_;
        sql("select c.status
             from concert.all_payments p,
                  concert.settle(array[p.payment_id], array['$verdict'],
                                 array[p.amount], array['$code'],
                                 array['$reason']) c
             where p.payment_id = $payment");
    };
    my $look = sub { $Ann->get("/api/reservations/payments/$_[0]")->body };

    my $held = hold($User, $Schedule, ++$Seat);
    my $payment = $claim->($held);
    my %is = (paymentId => 0 + $payment, reservationId => 0 + $held,
              userId => 0 + $User, amount => 1500, paymentTime => '<time>',
              method => 'card');

    is_json $look->($payment), { %is, status => 'PENDING' },
            'a payment by card is PENDING';
    $settle->($payment, 'unknown', 'PROVIDER_ERROR', 'Try again.');
    is_json $look->($payment), { %is, status => 'PENDING' },
            'of which what the gateway said is not told before it is clear';

    $settle->($payment, 'declined', 'REJECT_CARD_PAYMENT', 'No "won" left.');
    is_json $look->($payment), { %is, status => 'DECLINED',
                                 gatewayCode => 'REJECT_CARD_PAYMENT',
                                 reason => 'No "won" left.' },
            'a card that is declined says why';
    is $Ann->get("/api/reservations/$held")->json->{status}, 'HELD',
       'the hold goes on';

    $payment = $claim->($held);
    $settle->($payment, 'approved', '', '');
    is_json $look->($payment), { %is, paymentId => 0 + $payment,
                                 status => 'PAID' },
            'and another card may pay it';

    $payment = $claim->(undef, 700);
    is_json $look->($payment), { %is, paymentId => 0 + $payment,
                                 reservationId => undef, amount => 700,
                                 status => 'PENDING' },
            'a top-up is of no reservation';
}


# what nobody used
{
    my $order = order(chargeAmount => 1)->json->{orderId};
    sql("insert into concert.orders (order_id, user_id, amount, created_at)
         values ('old-$$', $User, 1, now() - interval '25 hours')");

    eventually { row("old-$$", 'count(*)') == 0 }
        'orders that nobody used for a day are forgotten';
    is row($order, 'count(*)'), 1, 'and others are not';
}

$Nginx->stop;
done_testing();
