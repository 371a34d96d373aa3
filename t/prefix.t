# Links and Locations are right below any prefix that a proxy or a rewrite takes
# off before a request comes here.

use strict;
use warnings;

use Test::More;

use Concert;
use Gateway;

my $Gateway = Gateway->start;
my $Port = Concert::free_port($ENV{TEST_NGINX_PORT} + 40);

my $Nginx = nginx(gateway => $Gateway, cards => 'timeout=20s',
                  http => <<"HTTP", server => <<"SERVER");
    server {
        listen 127.0.0.1:$Port;
        include $ENV{TEST_NGINX_CONCERT_CONF}/concert_routes.conf;
    }
HTTP
    location /tickets/ {
        proxy_pass http://127.0.0.1:$Port/;
        proxy_set_header Host localhost;
    }
    location /v1/      { rewrite ^/v1(.*)\$ /api\$1 last; }
    location /a/b/c/   { rewrite ^/a/b/c(.*)\$ \$1 last; }
SERVER

# What lies behind a path, from Link to Link; and whether all are below it.
sub walk {
    my ($client, $path) = @_;

    my ($first) = $path =~ /^([^?]*)/;
    my (@items, $left);

    for (1 .. 20) {
        my $answer = $client->get($path);

        return "$path: " . $answer->status if $answer->status != 200;
        push @items, @{ $answer->json };

        $path = $answer->next // return \@items;
        return "$path is not $first" if $path !~ /^\Q$first\E\?/;
    }

    return 'no end';
}

sub ids { return [ map { 0 + $_ } @_ ] }

# A top-up or a payment of which the gateway does not say whether it was made.
sub unknown {
    my ($client, $for) = @_;

    my $order = $client->post('/api/payments/orders',
                              { userId => 0 + $client->id, %$for })->json;
    my $payment = $Gateway->window(%$order, then => [ 'drop', 'drop' ]);

    return { userId => 0 + $client->id, amount => $order->{amount},
             method => 'card', orderId => $payment->{orderId},
             paymentKey => $payment->{paymentKey},
             $for->{reservationId} ? (reservationId => $for->{reservationId})
                                   : () };
}


my $Ann = $Nginx->client(user(0));
$Ann->enter;

my @Prefixes = ('/tickets/api', '/v1', '/a/b/c/api', '/api');

my $Concert = concert();
my @Concerts = ($Concert, concert(), concert());
my @Schedules = map {
    schedule(concert => $Concert, seats => 7,
             starts => seconds_from_now($_ * 86400))
} 10 .. 12;
my @Held = map { hold($Ann->id, $Schedules[1], $_) } 1 .. 3;
my $After = $Concert - 1;

for my $prefix (@Prefixes) {
    my $seats = walk($Ann, "$prefix/concerts/seats/$Schedules[0]?size=2");

    is_deeply [ map { $_->{concertId} }
                    @{ walk($Ann, "$prefix/concerts?size=1&after=$After") } ],
              ids(@Concerts), "$prefix: Links lead through the concerts";
    is_deeply [ map { $_->{scheduleId} }
                    @{ walk($Ann, "$prefix/concerts/schedules/$Concert"
                                  . '?size=1') } ],
              ids(@Schedules), "$prefix: and through the schedules";
    is_deeply [ sort map { $_->{seatId} } @$seats ], [ 1 .. 7 ],
              "$prefix: and around the seats, to where they began";
    is_deeply [ map { $_->[0] }
                    @{ walk($Ann, "$prefix/concerts/seats/$Schedules[0]"
                                  . '?status=all&size=3') } ],
              [ 1 .. 7 ], "$prefix: and through the hall plan";
    is_deeply [ map { $_->{reservationId} }
                    @{ walk($Ann, "$prefix/reservations?size=1") } ],
              ids(reverse @Held), "$prefix: and through the reservations";
}

for my $prefix (@Prefixes) {
    my $ann = $Nginx->client(user(0));
    my $schedule = schedule(price => 1500);
    my $held = hold($ann->id, $schedule, 1);
    my $answer = $ann->post("$prefix/reservations/payments",
                            unknown($ann, { reservationId => 0 + $held }));

    is $answer->status, 202, "$prefix: of a payment nothing is known";
    is $answer->header('Location'), 'payments/' . payment_of($held),
       "$prefix: its Location";
    eventually { $ann->get($answer->location)->json->{status} eq 'PAID' }
        "$prefix: is where it is looked up";

    $answer = $ann->put("$prefix/balance/charge",
                        unknown($ann, { chargeAmount => 700 }));

    is $answer->status, 202, "$prefix: of a top-up nothing is known";
    eventually { $ann->get($answer->location)->json->{status} eq 'PAID' }
        "$prefix: it is looked up where its Location says";
}

for my $path ('/tickets/ops', '/a/b/c/ops', '/ops') {
    my $answer = $Nginx->nobody->get($path);

    is $answer->status . ' ' . $answer->location, "308 $path/",
       "$path leads to the page of operators";
}

$Nginx->settled;
$Nginx->stop;

done_testing();
