# The circuit breaker in front of the payment gateway.  That it is Resilience4j's
# is for its unit test; this is what clients and operators see of it.

use strict;
use warnings;

use Test::More;

use Concert;
use Gateway;

my $Gateway = Gateway->start;
my $Nginx = nginx(gateway => $Gateway, workers => 2, cards => 'timeout=20s',
                  http => <<'END');
    concert_hold 1m;
    concert_hold_extend_on_outage 1h;
    concert_breaker sliding_window_size=4 minimum_number_of_calls=4
                    wait_duration_in_open_state=10s
                    permitted_number_of_calls_in_half_open_state=2;
END
my $Ann = $Nginx->client(user(10_000));
my $Schedule = schedule(seats => 1000, price => 1500);
my $Seat = 0;

sub pay {
    my (%window) = @_;

    my $held = delete $window{held} // hold($Ann->id, $Schedule, ++$Seat);
    my $order = $Ann->post('/api/payments/orders',
                           { userId => 0 + $Ann->id,
                             reservationId => 0 + $held })->json;
    my $card = $Gateway->window(%$order, %window);

    return $Ann->post('/api/reservations/payments', {
        userId => 0 + $Ann->id, reservationId => 0 + $held, amount => 1500,
        method => 'card', orderId => $card->{orderId},
        paymentKey => $card->{paymentKey} });
}

# a time of the API, and seconds
sub later {
    my ($time, $seconds) = @_;

    return sql("select to_char('$time'::timestamptz at time zone 'UTC'
                               + $seconds * interval '1 s',
                               'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"+00:00\"')");
}

sub set {
    return $Nginx->nobody->post('/gateway/breaker', { state => $_[0] });
}

# declined cards are successes of the gateway
is pay(card => 'declined')->status, 402, 'a card is declined' for 1 .. 8;
is pay()->status, 200, 'and the gateway is asked on';

# a gateway that fails
$Gateway->switch(confirm => { error_rate => 1 }, lookup => { error_rate => 1 });
my @statuses = map { pay()->status } 1 .. 8;
is scalar(grep { $_ != 202 && $_ != 503 } @statuses), 0,
   'a gateway that fails leaves payments PENDING';
is $statuses[-1], 503, 'until nobody asks it any more';

my $answer = pay();
is_problem $answer, 'gateway_unavailable', 'a card is refused then',
           { reservationExpiry => '<time>' };
like $answer->header('Retry-After'), qr/^(?:[1-9]|10)\z/, 'for what is left to wait';

my $held = hold($Ann->id, $Schedule, ++$Seat);
my $reservation = "/api/reservations/$held";
my $until = $Ann->get($reservation)->json->{reservationExpiry};
$answer = pay(held => $held);
is_problem $answer, 'gateway_unavailable', 'who holds seats has more time',
           { reservationExpiry => later($until, 3600) };
is pay(held => $held)->json->{reservationExpiry}, later($until, 3600), 'once';
is $Ann->get($reservation)->json->{reservationExpiry}, later($until, 3600),
   'which the reservation tells as well';
is $Ann->pay($held, 1500)->status, 200, 'a balance pays as before';

$Gateway->switches_off;
eventually { pay()->status == 200 } 'a gateway that is back is asked again';
eventually { sql('select count(*) from concert.all_payments
                  where user_id = ' . $Ann->id . " and status = 'PENDING'")
             == 0 } 'and says what became of the others';
ok scalar(grep { /\[warn\].*breaker of the payment gateway is open/ }
          $Nginx->log), 'the log tells of it';

# operators
is set('forced_open')->json->{state}, 'forced_open', 'operators may shut it';
is pay()->status, 503, 'for every card';
is set('disabled')->json->{state}, 'disabled', 'or leave it open';
is pay()->status, 200, 'for every card';
is_problem set('ajar'), 'invalid_request', 'in no other way',
           { field => 'state' };
is set('closed')->json->{state}, 'closed', 'and close it again';

$Nginx->stop;
done_testing();
