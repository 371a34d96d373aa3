# Payments by card in the database alone: what each operation answers to the
# role of the service, every change of state that there is and every one that
# must not be, sessions that meet, and histories at random.  In a database of
# the test's own.

use strict;
use warnings;

use JSON::PP    qw( decode_json );
use List::Util  qw( shuffle );
use Test::More;

use Concert;

use constant MAX  => 9007199254740991;
use constant HOLD => 600_000;
use constant UUID => qr/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

my $Conninfo = $ENV{TEST_NGINX_CONCERT_PG};
my $Owner    = $ENV{TEST_NGINX_CONCERT_PG_OWNER};
my $Database = "concert_cards_$$";
my $Seed     = $ENV{TEST_SEED} // 20261122;

my ($Role) = $Conninfo =~ /\buser=(\S+)/;
my $LastUser = 0;
my $Operations = 0;

srand($Seed);
note("TEST_SEED=$Seed");

sql("create database $Database template template0");
qx($ENV{TEST_NGINX_CONCERT_CONF}/stack/migrate '$Owner dbname=$Database' $Role);
is $?, 0, 'a database is made';

# The service, as the module sets up its connections, and the owner.
my @Sessions = map { service_session() } 1 .. 4;
my $Admin = Concert::open_session("$Owner dbname=$Database");

my @Statuses = qw( PENDING PAID DECLINED REFUNDING REFUNDED );
my @Verdicts = qw( approved declined unknown deposit refunded abandoned );

# What a verdict makes of a payment.
my %Becomes = (
    PENDING   => { approved => 'PAID', declined => 'DECLINED',
                   refunded => 'REFUNDED', abandoned => 'REFUNDING' },
    DECLINED  => { approved => 'REFUNDING' },
    PAID      => { refunded => 'REFUNDED' },
    REFUNDING => { refunded => 'REFUNDED' },
    REFUNDED  => {},
);


# --- orders -----------------------------------------------------------------

{
    my ($ann, $bob) = (new_user(), new_user());
    my ($held, $price) = new_hold($ann, 2, 300);

    my ($order) = place([$ann, $held]);
    is $order->{outcome}, 'ok', 'a hold can be ordered';
    is $order->{amount}, 600, 'for what it costs';
    like $order->{order_id}, UUID, 'by an id that the gateway takes';

    my ($again) = place([$ann, $held]);
    like $again->{order_id}, UUID, 'a hold can be ordered again';
    isnt $again->{order_id}, $order->{order_id},
         'every attempt has an order of its own';

    my $operation = operation();
    my @twice = map { place([$ann, $held, undef, $operation]) } 1, 2;
    is_deeply $twice[1], $twice[0], 'asked again an operation makes no other';
    is admin("select count(*) from concert.orders
              where order_id = '$operation'"), 1, 'there is one';

    my ($top_up) = place([$bob, undef, 5000]);
    is "$top_up->{outcome} $top_up->{amount}", 'ok 5000',
       'a top-up can be ordered';

    my ($cancelled) = new_hold($ann);
    cancel($ann, $cancelled);
    my ($expired) = new_hold($ann, 1, 100, -1000);
    my ($free) = new_hold($ann, 1, 0);
    my $paid = paid_by_card($ann);
    my $claimed = claimed($ann);
    my $rich = new_user(MAX - 10);

    is_deeply [map { $_->{outcome} }
               place([$bob, $held], [$ann, 999_999_999], [$ann, $cancelled],
                     [$ann, $expired], [$ann, $paid->{reservation_id}],
                     [$ann, $claimed->{reservation_id}], [$ann, $free],
                     [999_999_999, undef, 1], [$rich, undef, 11],
                     [$rich, undef, 10], [$ann, $held])],
              [qw( reservation_not_found reservation_not_found
                   reservation_cancelled reservation_expired reservation_paid
                   payment_in_progress amount_mismatch user_not_found
                   balance_limit ok ok )],
              'a batch has any mixture of outcomes';

    my ($old, $new) = map { place([$ann, undef, 1]) } 1, 2;
    admin("alter table concert.orders disable trigger user;
           update concert.orders set created_at = now() - interval '25 hours'
           where order_id in ('$old->{order_id}', '$claimed->{order_id}');
           alter table concert.orders enable trigger user");
    is service('select purged from concert.purge_orders(100)'), 1,
       'an order that nobody used for a day is forgotten';
    is admin("select count(*) from concert.orders where order_id in
              ('$new->{order_id}', '$claimed->{order_id}')"), 2,
       'a new one and one that was used are not';
    is outcome(claim([$ann, undef, 1, $old->{order_id}])), 'order_not_found',
       'and then it cannot be claimed';
}


# --- claiming ---------------------------------------------------------------

{
    my ($ann, $bob) = (new_user(), new_user());
    my ($held) = new_hold($ann, 2, 300);
    my ($other) = new_hold($ann, 2, 300);
    my ($order, $second) = place([$ann, $held], [$ann, $held]);
    my $id = $order->{order_id};
    my $operation = operation();

    is_deeply [map { $_->{outcome} }
               claim([$bob, $held, 600, $id], [$ann, $other, 600, $id],
                     [$ann, 999_999_999, 600, $id], [$ann, undef, 600, $id],
                     [$ann, $held, 600, 'nobody'], [$ann, $held, 599, $id])],
              [qw( reservation_not_found order_not_found
                   reservation_not_found order_not_found order_not_found
                   amount_mismatch )],
              'an order is one user\'s, for one reservation, of one amount';
    is reservation($held), 'HELD', 'what was refused has changed nothing';

    my ($claim) = claim([$ann, $held, 600, $id, 'visa', $operation]);
    is_deeply({ %$claim, payment_id => 0, paid_ms => 0 },
              { request => 1, outcome => 'ok', payment_id => 0,
                operation => $operation, amount => 600, status => 'PENDING',
                paid_ms => 0, code => undef, reason => undef },
              'claiming begins a payment');
    is reservation($held), 'PAYING', 'its reservation is being paid';
    is admin("select bool_and(hold_until = 'infinity') from concert.seats
              where reservation_id = $held"), 't',
       'its seats wait for as long as that takes';

    is_deeply +(claim([$ann, $held, 600, $id, 'visa', $operation]))[0], $claim,
       'asked again after a lost answer it is the same payment';
    is_deeply +(claim([$ann, $held, 600, $id, 'visa']))[0], $claim,
       'the same card for the same order is the same payment';
    is outcome(claim([$ann, $held, 600, $id, 'master'])),
       'payment_in_progress', 'another card has to wait';
    is outcome(claim([$ann, $held, 600, $second->{order_id}])),
       'payment_in_progress', 'and so has another order';

    is pay($ann, $held, 600), 'payment_in_progress',
       'no balance pays what is being paid';
    is cancel($ann, $held), 'payment_in_progress', 'nor can it be cancelled';
    admin("update concert.reservations set hold_until = now() - interval '1 h'
           where reservation_id = $held");
    service('select concert.expire(1000)');
    is reservation($held), 'PAYING', 'nor does it run out';
    is_broken('', 'after a claim and nothing else every rule holds');

    settle([$claim->{payment_id}, 'approved', 600]);
    my ($repeat) = claim([$ann, $held, 600, $id, 'visa']);
    is "$repeat->{outcome} $repeat->{status}", 'ok PAID',
       'later the same is answered with what became of it';
    is outcome(claim([$ann, $held, 600, $id, 'master'])), 'reservation_paid',
       'another card with what stands against it';

    my $declined = settled_as('DECLINED', $ann);
    is outcome(claim([$ann, $declined->{reservation_id}, 100,
                      $declined->{order_id}, 'master'])), 'order_not_found',
       'an order is used once';
    my ($again) = place([$ann, $declined->{reservation_id}]);
    is outcome(claim([$ann, $declined->{reservation_id}, 100,
                      $again->{order_id}])), 'ok',
       'after a decline one may try another';

    # an order that outlives its hold
    for my $end (qw( cancelled expired paid )) {
        my ($gone) = new_hold($ann, 1, 100);
        my ($late) = place([$ann, $gone]);
        cancel($ann, $gone) if $end eq 'cancelled';
        run_out($gone) if $end eq 'expired';
        admin("select concert.charge(array[gen_random_uuid()], array[$ann],
                                     array[100])"),
            pay($ann, $gone, 100) if $end eq 'paid';
        is outcome(claim([$ann, $gone, 100, $late->{order_id}])),
           "reservation_$end", "a reservation that is $end is not claimed";
    }

    # in one batch
    my @held = map { (new_hold($ann, 1, 100))[0] } 1 .. 3;
    my @orders = place(map { [$ann, $_] } @held, $held[0]);
    is_deeply [map { $_->{outcome} }
               claim((map { [$ann, $held[$_], 100, $orders[$_]{order_id}] }
                      0 .. 2),
                     [$ann, $held[0], 100, $orders[3]{order_id}],
                     [$ann, $held[0], 100, $orders[0]{order_id}])],
              [qw( ok ok ok payment_in_progress ok )],
              'of twins in a batch the first is claimed';
}

# top-ups
{
    my $ann = new_user(100);
    my ($order) = place([$ann, undef, 50]);
    my $id = $order->{order_id};

    is outcome(claim([$ann, undef, 51, $id])), 'amount_mismatch',
       'a top-up is of what was ordered';
    is outcome(claim([new_user(), undef, 50, $id])), 'order_not_found',
       'and of who ordered it';

    my ($claim) = claim([$ann, undef, 50, $id]);
    is "$claim->{outcome} $claim->{status}", 'ok PENDING', 'a top-up begins';
    is balance($ann), 100, 'and credits nothing';
    is outcome(claim([$ann, undef, 50, $id, 'other'])),
       'payment_in_progress', 'another card has to wait';

    my ($done) = settle([$claim->{payment_id}, 'approved', 50]);
    is "$done->{status} $done->{changed}", 'PAID 1', 'it is settled';
    is balance($ann), 150, 'and then credited';
    settle([$claim->{payment_id}, 'approved', 50]);
    is balance($ann), 150, 'once';
    is outcome(claim([$ann, undef, 50, $id, 'other'])), 'order_not_found',
       'its order is used';

    my $rich = new_user(MAX - 10);
    my @orders = place([$rich, undef, 10], [$rich, undef, 9]);
    my @claims = claim([$rich, undef, 10, $orders[0]{order_id}],
                       [$rich, undef, 9, $orders[1]{order_id}]);
    is_deeply [map { $_->{status} }
               settle([$claims[0]{payment_id}, 'approved', 10],
                      [$claims[1]{payment_id}, 'approved', 9])],
              [qw( PAID REFUNDING )],
              'what a balance cannot have any more is given back';
    is balance($rich), MAX, 'it is full';
    is outcome(place([$rich, undef, 1])), 'balance_limit',
       'and then not ordered';
    is_broken('', 'after top-ups every rule holds');
}

# how many may be pending
{
    my $ann = new_user();
    my $pending = one_service('select pending from concert.unsettled()');
    my @orders = place(map { [$ann, undef, 1] } 1 .. 3);

    is_deeply [map { $_->{outcome} }
               claim({ max => $pending + 2 },
                     map { [$ann, undef, 1, $_->{order_id}] } @orders)],
              [qw( ok ok overloaded )], 'a limit on what is pending';
    is outcome(claim({ max => 0 },
                     [$ann, undef, 1, $orders[0]{order_id}])), 'ok',
       'a repeat is no more';
    is one_service('select pending from concert.unsettled()'), $pending + 2,
       'what is pending is counted';
}


# deposits, which take days
{
    my $ann = new_user();
    my $counted = sub { (rows('select pending, deposits
                               from concert.unsettled()'))[0] };
    my $before = $counted->();
    my @payments = map { claimed($ann) } 1 .. 3;
    my @ids = map { $_->{payment_id} } @payments;

    settle(map { [$_, 'deposit', 0, 'WAITING_FOR_DEPOSIT'] } @ids);
    is_deeply $counted->(), { pending => $before->{pending},
                              deposits => $before->{deposits} + 3 },
              'deposits that are awaited are counted apart';
    is reservation($payments[0]{reservation_id}), 'PAYING',
       'and their seats are kept';

    settle([$ids[0], 'unknown'], [$ids[1], 'deposit']);
    is $counted->()->{deposits}, $before->{deposits} + 3,
       'also while the gateway does not answer';

    my ($order) = place([$ann, undef, 1]);
    is outcome(claim({ max => $before->{pending} + 1 },
                     [$ann, undef, 1, $order->{order_id}])), 'ok',
       'and nobody is refused for them';

    is_deeply [map { $_->{status} }
               settle([$ids[0], 'approved', 100], [$ids[1], 'declined'],
                      [$ids[2], 'refunded'])],
              [qw( PAID DECLINED REFUNDED )], 'until they come, or do not';
    is $counted->()->{deposits}, $before->{deposits}, 'then none is awaited';
    is_broken('', 'after deposits every rule holds');
}


# --- settling: every state, every verdict ------------------------------------

for my $kind (qw( payment charge )) {
    for my $from (@Statuses) {
        for my $verdict (@Verdicts) {
            my $user = new_user();
            my $payment = settled_as($from, $user, $kind);
            my $id = $payment->{payment_id};
            my $to = $Becomes{$from}{$verdict} // $from;
            my ($was, $money) = (reservation_of($payment), money($payment));

            my ($told) = settle([$id, $verdict, 100, 'CODE', 'A reason']);
            my $title = "a $kind that is $from and is $verdict";

            is "$told->{outcome} $told->{status} "
               . ($told->{changed} ? 'new' : 'old'),
               "ok $to " . ($from eq $to ? 'old' : 'new'), "$title is $to";
            is status($id), $to, "$title, as its owner sees";

            # nothing but PAID has the money, and REFUNDING what was paid
            is money($payment),
               $to eq 'PAID' ? 100 : $to eq 'REFUNDED' ? 0 : $money,
               "$title: money";

            is reservation_of($payment),
               $kind eq 'charge' || $from eq $to ? $was
               : $to eq 'PAID' ? 'PAID'
               : $from eq 'PAID' ? 'CANCELLED' : 'HELD',
               "$title: reservation" if $kind eq 'payment';
            is looked_after($id), $to =~ /^(?:PENDING|REFUNDING)$/ ? 1 : 0,
               "$title: " . ($to =~ /ING$/ ? 'is' : 'is not') . ' looked at';

            my ($again) = settle([$id, $verdict, 100, 'CODE', 'A reason']);
            is $again->{status}, $Becomes{$to}{$verdict} // $to,
               "$title: told twice" if $from ne $to;
        }
    }
}

is_broken('', 'after every verdict in every state every rule holds');

# amounts, reasons, holds that are over
{
    my $ann = new_user();

    my $payment = claimed($ann);
    my ($told) = settle([$payment->{payment_id}, 'approved', 99]);
    is $told->{status}, 'REFUNDING', 'another amount is given back';
    is reservation($payment->{reservation_id}), 'HELD', 'and the hold goes on';

    $payment = claimed($ann);
    settle([$payment->{payment_id}, 'declined', undef, 'REJECT_CARD_COMPANY',
            'The card is locked']);
    my $seen = seen($ann, $payment->{payment_id});
    is "$seen->{status} $seen->{method} $seen->{code}: $seen->{reason}",
       'DECLINED card REJECT_CARD_COMPANY: The card is locked',
       'the owner is told why';
    is seen(new_user(), $payment->{payment_id}), undef, 'and nobody else';
    settle([$payment->{payment_id}, 'declined', undef, 'X', 'Y']);
    is seen($ann, $payment->{payment_id})->{reason}, 'The card is locked',
       'what is said later changes no reason';

    my ($hold_until) = admin("select hold_until from concert.reservations
                              where reservation_id =
                                    $payment->{reservation_id}");
    is admin("select min(hold_until) = '$hold_until' and count(*) = 1
              from concert.seats
              where reservation_id = $payment->{reservation_id}"), 't',
       'a declined payment leaves the seats held until when they were';

    for my $verdict (qw( declined abandoned refunded )) {
        $payment = claimed($ann);
        run_out($payment->{reservation_id});
        settle([$payment->{payment_id}, $verdict]);
        is reservation($payment->{reservation_id}), 'EXPIRED',
           "$verdict after the hold has run out ends the reservation";
        is admin("select count(*) from concert.seats
                  where reservation_id = $payment->{reservation_id}"), 0,
           'and frees its seats';
    }

    $payment = claimed($ann);
    run_out($payment->{reservation_id});
    settle([$payment->{payment_id}, 'approved', 100]);
    is reservation($payment->{reservation_id}), 'PAID',
       'approved after the hold has run out is paid: the seats have waited';

    # the second attempt is not touched by the first one's late approval
    my $first = settled_as('DECLINED', $ann);
    my ($order) = place([$ann, $first->{reservation_id}]);
    my ($second) = claim([$ann, $first->{reservation_id}, 100,
                          $order->{order_id}]);
    settle([$first->{payment_id}, 'approved', 100]);
    is status($second->{payment_id}), 'PENDING', 'a late approval of a '
       . 'declined payment leaves the next one alone';
    settle([$second->{payment_id}, 'approved', 100]);
    settle([$first->{payment_id}, 'refunded']);
    is reservation($first->{reservation_id}), 'PAID', 'which is paid';

    # a top-up that the gateway takes back, spent or not
    my $poor = new_user();
    my $top_up = settled_as('PAID', $poor, 'charge');
    my ($held) = new_hold($poor, 1, 60);
    pay($poor, $held, 60);
    ($told) = settle([$top_up->{payment_id}, 'refunded']);
    is "$told->{outcome} $told->{status}", 'insufficient_balance PAID',
       'a top-up that is spent cannot be taken back';
    is balance($poor), 40, 'no balance goes below zero';

    is outcome(settle([999_999_999, 'approved', 1])), 'payment_not_found',
       'what is no payment is not settled';
    my $balance = new_user(100);
    ($held) = new_hold($balance, 1, 100);
    pay($balance, $held, 100);
    is outcome(settle([payment_of_reservation($held), 'refunded'])),
       'payment_not_found', 'nor what no card has paid';
    like service(settle_sql([$payment->{payment_id}, 'perhaps'])),
         qr/"perhaps" is no verdict/, 'a verdict is one that there is';

    # a batch
    my @some = map { claimed($ann) } 1 .. 3;
    is_deeply [map { "$_->{outcome} " . ($_->{status} // '') }
               settle([$some[0]{payment_id}, 'approved', 100],
                      [999_999_999, 'approved', 100],
                      [$some[1]{payment_id}, 'declined'],
                      [$some[0]{payment_id}, 'refunded'],
                      [$some[1]{payment_id}, 'approved', 100],
                      [$some[2]{payment_id}, 'unknown'])],
              ['ok PAID', 'payment_not_found ', 'ok DECLINED', 'ok REFUNDED',
               'ok REFUNDING', 'ok PENDING'],
              'a batch is settled one after the other';
    is_broken('', 'after all of that every rule holds');
}


# --- looking again ------------------------------------------------------------

{
    my $ann = new_user();
    my $payment = claimed($ann);
    my $id = $payment->{payment_id};
    my $clock = 'extract(epoch from clock_timestamp())';
    my (@early, @late);     # with the time that settling took, and without

    for (1 .. 11) {
        my $before = admin("select $clock");
        settle([$id, 'unknown']);
        my ($next, $after) = split /\|/, admin(
            "select extract(epoch from next_look_at), $clock
             from concert.orders where payment_id = $id");
        push @late, $next - $before;
        push @early, $next - $after;
    }

    my @longest = (map({ 2 ** $_ } 0 .. 8), 300, 300);
    is_deeply [grep { $early[$_] > $longest[$_]
                      || $late[$_] < 0.8 * $longest[$_] } 0 .. $#longest],
              [], "an unknown payment is looked at less and less often: "
                  . join ' ', map { sprintf '%.1f', $_ } @late;

    is_deeply [grep { $_->{payment_id} == $id } due(1000)], [],
              'not before its time';
    is_deeply [map { $_->{outcome} }
               looks($payment->{order_id}, 'nobody', $payment->{order_id})],
              [qw( ok order_not_found ok )],
              'one may ask to look now, again and again';
    my ($due) = grep { $_->{payment_id} == $id } due(1000);
    is_deeply({ %$due, age_ms => 0 },
              { payment_id => $id, kind => 'payment',
                operation => $payment->{operation},
                order_id => $payment->{order_id}, payment_key => 'key',
                amount => 100, user_id => $ann,
                reservation_id => $payment->{reservation_id},
                status => 'PENDING', tries => 0, age_ms => 0 },
              'and then it is due, with all that the gateway must be told');
    is_deeply [grep { $_->{payment_id} == $id } due(1000)], [],
              'but leased';
    due_now();
    ok scalar(grep { $_->{payment_id} == $id } due(1000)),
       'until the lease is over';

    settle([$id, 'approved', 100]);
    looks($payment->{order_id});
    ($due) = grep { $_->{payment_id} == $id } due(1000);
    is $due->{status}, 'PAID', 'one may ask to look at what is settled';
    settle([$id, 'unknown']);
    is looked_after($id), 1, 'until that is known';
    settle([$id, 'approved', 100]);
    is looked_after($id), 0, 'and no longer';

    refund($id);
    ($due) = grep { $_->{payment_id} == $id } due(1000);
    is $due->{status}, 'REFUNDING', 'a refund is due at once';
    isnt $due->{operation}, $payment->{operation},
         'by a key that is not the payment\'s';
    is $due->{operation}, admin("select operation from concert.refunds
                                 where payment_id = $id"), 'but its own';

    settle([$id, 'declined', undef, 'X', 'Y']);
    is status($id), 'REFUNDING', 'a refund that is declined is tried again';
    settle([$id, 'refund_unknown']);
    is admin("select tries from concert.orders where payment_id = $id"), 2,
       'less and less often';
    my ($open) = rows('select * from concert.unsettled()');
    cmp_ok $open->{refunding}, '>=', 1, 'refunds are counted';
    cmp_ok $open->{refunding_age_ms}, '>=', 0, 'with the age of the oldest';

    settle([$id, 'refunded']);
    is_deeply [map { $_->{outcome} } looks($payment->{order_id})],
              ['order_not_found'], 'whose money is back is not looked at';

    my ($unused) = place([$ann, undef, 1]);
    is_deeply [map { $_->{outcome} } looks($unused->{order_id})],
              ['order_not_found'], 'nor what is not used';

    my $top_up = claimed($ann, 'charge');
    due_now();
    ($due) = grep { $_->{payment_id} == $top_up->{payment_id} } due(1000);
    is $due->{kind}, 'charge', 'a top-up is looked at, too';

    my @some = map { claimed($ann) } 1 .. 3;
    due_now();
    is scalar(due(2)), 2, 'no more are taken than asked for';
}


# --- refunds by an operator ---------------------------------------------------

{
    my $ann = new_user(500);
    my $card = paid_by_card($ann);
    my $operation = operation();

    my ($told) = refund($card->{payment_id}, $operation);
    is_deeply $told, { request => 1, outcome => 'ok',
                       payment_id => $card->{payment_id}, user_id => $ann,
                       reservation_id => $card->{reservation_id},
                       amount => 100, method => 'card',
                       status => 'REFUNDING' },
              'what a card paid is given back by the gateway';
    is reservation($card->{reservation_id}), 'CANCELLED',
       'its reservation is over';
    is admin("select count(*) from concert.seats
              where reservation_id = $card->{reservation_id}"), 0,
       'its seats are free';
    is money($card), 100, 'its money is still ours';
    is_deeply +(refund($card->{payment_id}, $operation))[0], $told,
              'once more is the same';
    settle([$card->{payment_id}, 'refunded']);
    is money($card), 0, 'until the gateway has given it back';
    is outcome(refund($card->{payment_id})), 'ok',
       'once more is still the same';
    is admin("select reason from concert.refunds
              where payment_id = $card->{payment_id}"), 'It rains',
       'why is kept';

    my ($held) = new_hold($ann, 2, 150);
    pay($ann, $held, 300);
    my $payment = payment_of_reservation($held);
    ($told) = refund($payment);
    is "$told->{outcome} $told->{status} $told->{method}",
       'ok REFUNDED balance', 'what a balance paid is given back at once';
    is balance($ann), 500, 'to the balance';
    is reservation($held), 'CANCELLED', 'and its reservation is over';
    refund($payment);
    is balance($ann), 500, 'once';
    is status($payment), 'REFUNDED', 'as the owner sees';

    ($held) = new_hold($ann, 1, 0);
    pay($ann, $held, 0);
    is +(refund(payment_of_reservation($held)))[0]{status}, 'REFUNDED',
       'what cost nothing can be refunded';

    my $rich = new_user(100);
    ($held) = new_hold($rich, 1, 100);
    pay($rich, $held, 100);
    admin("select concert.charge(array[gen_random_uuid()], array[$rich],
                                 array[${\ MAX}])");
    is_deeply [map { outcome(refund($_)) }
               payment_of_reservation($held), 999_999_999,
               claimed($ann)->{payment_id},
               settled_as('DECLINED', $ann)->{payment_id},
               settled_as('PAID', $ann, 'charge')->{payment_id}],
              [qw( balance_limit payment_not_found payment_in_progress
                   payment_declined not_refundable )],
              'what cannot be refunded';
    is_broken('', 'after refunds every rule holds');
}


# --- holds that last longer ---------------------------------------------------

{
    my ($ann, $bob) = (new_user(), new_user());
    my ($held) = new_hold($ann, 2, 100);
    my $expires = sub {
        return admin("select concert.epoch_ms(hold_until)
                      from concert.reservations where reservation_id = $held");
    };
    my $before = $expires->();

    my ($told) = extend([$ann, $held]);
    is_deeply $told, { request => 1, outcome => 'ok',
                       expires_ms => $before + 60_000 },
              'a hold can be lengthened';
    is $expires->(), $before + 60_000, 'the reservation\'s';
    is admin("select concert.epoch_ms(min(hold_until)) from concert.seats
              where reservation_id = $held"), $before + 60_000,
       'and its seats\'';
    is_deeply +(extend([$ann, $held]))[0], $told, 'once';

    my ($gone) = new_hold($ann, 1, 100, -1000);
    my ($twin) = new_hold($ann);
    my $claimed = claimed($ann);
    my $paid = paid_by_card($ann);
    is_deeply [map { $_->{outcome} }
               extend([$bob, $held], [$ann, $gone],
                      [$ann, $claimed->{reservation_id}], [$ann, $twin],
                      [$ann, $twin], [$ann, $paid->{reservation_id}])],
              [qw( reservation_not_found reservation_expired
                   payment_in_progress ok ok reservation_paid )],
              'of a batch those that still run';
    is_broken('', 'after that every rule holds');
}


# --- keys ---------------------------------------------------------------------

{
    my $ann = new_user();
    my ($held) = new_hold($ann, 1, 100);
    my ($order, $other) = place([$ann, $held], [$ann, $held]);
    my @request = ($ann, $held, 100, $order->{order_id}, 'key');

    my ($first) = claim_once('pay', 'k1', 'd1', @request);
    is "$first->{outcome} $first->{status} " . ($first->{replayed} ? 1 : 0),
       'ok PENDING 0', 'a claim with a key';
    my ($again) = claim_once('pay', 'k1', 'd1', @request);
    is_deeply $again, { %$first, replayed => JSON::PP::true },
              'and again';
    ($again) = claim_once('pay', 'k1', 'd1', @request, $first->{operation});
    is_deeply $again, $first, 'after a lost answer it is no repeat';
    is outcome(claim_once('pay', 'k1', 'd2', @request)),
       'idempotency_key_reused', 'a key is for one request';

    my @later = ($ann, $held, 100, $other->{order_id}, 'other');
    is outcome(claim_once('pay', 'k2', 'd3', @later)), 'payment_in_progress',
       'what says later';

    settle([$first->{payment_id}, 'declined', undef, 'NO', 'No']);
    ($again) = claim_once('pay', 'k1', 'd1', @request);
    is "$again->{outcome} $again->{status} $again->{reason}",
       'ok DECLINED No', 'a repeat is answered with what became of it';
    ($again) = claim_once('pay', 'k2', 'd3', @later);
    is "$again->{outcome} " . ($again->{status} // ''), 'ok PENDING',
       'is not remembered';

    my ($top_up) = place([$ann, undef, 7]);
    is outcome(claim_once('charge', 'k1', 'd4', $ann, undef, 7,
                          $top_up->{order_id}, 'key')), 'ok',
       'the keys of top-ups are others';

    my ($poor) = new_hold($ann, 1, 100);
    my ($wrong) = place([$ann, $poor]);
    for (1, 2) {
        ($again) = claim_once('pay', 'k3', 'd5', $ann, $poor, 99,
                              $wrong->{order_id}, 'key');
        is $again->{outcome}, 'amount_mismatch', 'a refusal is remembered';
    }
    ok $again->{replayed}, 'as such';
}


# --- what is not possible -----------------------------------------------------

{
    my %may = map { my $from = $_;
                    map { ("$from-$_" => 1) } values %{ $Becomes{$from} } }
                  keys %Becomes;
    $may{'PAID-REFUNDING'} = 1;     # an operator

    my $ann = new_user();

    for my $from (@Statuses) {
        my $payment = settled_as($from, $ann);

        for my $to (@Statuses) {
            next if $from eq $to || $may{"$from-$to"};
            like refused("update concert.payments set status = '$to'
                          where payment_id = $payment->{payment_id}"),
                 qr/payment \d+ does not go from $from to $to/,
                 "$from does not become $to";
        }

        # one that may be is not done by halves
        for my $to (grep { $may{"$from-$_"} } @Statuses) {
            like refused("update concert.payments set status = '$to'
                          where payment_id = $payment->{payment_id}"),
                 qr/is not as its state says|payment_moved_its_money/,
                 "$from does not become $to by itself";
        }
    }

    my $pending = claimed($ann);
    my $paid = paid_by_card($ann);
    my $refunded = settled_as('REFUNDED', $ann);
    my ($held) = new_hold($ann);
    my ($unused) = place([$ann, $held]);

    my @refused = (
        'a payment of another amount' =>
            "update concert.payments set amount = 1
             where payment_id = $pending->{payment_id}",
        'a payment by another method' =>
            "update concert.payments set method = 'balance'
             where payment_id = $paid->{payment_id}",
        'a payment that loses its transfer' =>
            "update concert.payments set transfer_id = null
             where payment_id = $refunded->{payment_id};
             update concert.payments set paid_at = now()
             where payment_id = $refunded->{payment_id}",
        'a payment that is deleted' =>
            "delete from concert.payments
             where payment_id = $pending->{payment_id}",
        'a payment by card that begins paid' =>
            "insert into concert.payments
                 (operation, reservation_id, user_id, amount, method, status,
                  transfer_id)
             select gen_random_uuid(), $held, $ann, 100, 'card', 'PAID',
                    min(transfer_id) from concert.transfers",
        'a payment without an order' =>
            "insert into concert.payments
                 (operation, user_id, amount, method, status)
             values (gen_random_uuid(), $ann, 100, 'card', 'PENDING')",
        'a balance that pays a balance' =>
            "insert into concert.payments
                 (operation, user_id, amount, method, status, transfer_id)
             select gen_random_uuid(), $ann, 100, 'balance', 'PAID',
                    min(transfer_id) from concert.transfers",
        'a second payment of what is being paid' =>
            "insert into concert.payments
                 (operation, reservation_id, user_id, amount, method, status)
             values (gen_random_uuid(), $pending->{reservation_id}, $ann, 100,
                     'card', 'PENDING')",
        'a pending payment without its reservation' =>
            "update concert.reservations
             set status = 'CANCELLED', payment_id = null
             where reservation_id = $pending->{reservation_id}",
        'a pending payment whose reservation is paid' =>
            "update concert.reservations set status = 'PAID'
             where reservation_id = $pending->{reservation_id}",
        'a paying reservation without a payment' =>
            "update concert.seats set hold_until = 'infinity'
             where reservation_id = $held;
             update concert.reservations set status = 'PAYING'
             where reservation_id = $held",
        'a paying reservation whose seats can be taken' =>
            "update concert.seats set hold_until = now() + interval '1 hour'
             where reservation_id = $pending->{reservation_id}",
        'a payment that nobody looks after' =>
            "update concert.orders set next_look_at = null
             where payment_id = $pending->{payment_id}",
        'an order that is pending for ever' =>
            "update concert.orders set pending_since = now()
             where payment_id = $paid->{payment_id}",
        'an order of another amount' =>
            "update concert.orders set amount = 1
             where order_id = '$unused->{order_id}'",
        'an order that is used twice' =>
            "update concert.orders set payment_key = 'another'
             where payment_id = $pending->{payment_id}",
        'an order that pays for another' =>
            "update concert.orders
             set payment_id = $paid->{payment_id}, payment_key = 'key'
             where order_id = '$unused->{order_id}'",
        'an order with a name that the gateway does not take' =>
            "insert into concert.orders (order_id, user_id, amount)
             values ('a b c d', $ann, 1)",
        'a used order that is deleted' =>
            "delete from concert.orders
             where payment_id = $pending->{payment_id}",
        'a refund of what is not refunded' =>
            "insert into concert.refunds (payment_id, operation)
             values ($paid->{payment_id}, gen_random_uuid())",
        'a refund that is not' =>
            "update concert.refunds set finished_at = null
             where payment_id = $refunded->{payment_id}",
        'a refund that is deleted' =>
            "delete from concert.refunds
             where payment_id = $refunded->{payment_id}",
    );

    while (my ($title, $statements) = splice @refused, 0, 2) {
        like refused($statements), qr/^ERROR: /m, "refused: $title";
    }

    is_broken('', 'what was refused has broken no rule');
}

# The other side: that the proof sees what no trigger kept away.
{
    my $ann = new_user(1000);
    my ($pending, $paid, $refunded) =
        (claimed($ann), paid_by_card($ann), refunded_payment($ann));
    my ($whole, $transfer, $back, $gateway) = (
        'a payment by card has what belongs to its state',
        'a payment has its transfer, and no other payment has it',
        'a refund gives back what was paid, once',
        'what the gateway paid equals the payments by card');

    my $found = sub {
        my ($title, $statements, @rules) = @_;

        my $triggers = join ';', map {
            "alter table concert.$_ disable trigger user" }
            qw( payments orders refunds reservations seats transfers accounts );
        my $out = admin("begin; $triggers; $statements;
                         select rule from concert.violations()
                         where broken > 0; rollback");
        is_deeply [sort split /\n/, $out], [sort @rules], "found: $title";
    };

    $found->('a payment that is pending for nobody',
             "update concert.reservations set status = 'HELD',
                  payment_id = null
              where reservation_id = $pending->{reservation_id}",
             $whole, 'a pending payment has its paying reservation',
             'a sold seat has its reservation');
    $found->('a reservation that nobody pays',
             "update concert.payments set status = 'DECLINED'
              where payment_id = $pending->{payment_id}",
             $whole, 'a paying reservation has its pending payment');
    $found->('a payment that nobody looks after',
             "update concert.orders set next_look_at = null
              where payment_id = $pending->{payment_id}", $whole);
    $found->('money of the gateway that no payment knows',
             "insert into concert.transfers
                  (operation, debit_account, credit_account, amount)
              values (gen_random_uuid(), -1, 0, 5)",
             $gateway, 'sales equal the payments');
    $found->('a payment with the transfer of another',
             "update concert.payments
              set transfer_id = (select transfer_id from concert.all_payments
                                 where payment_id = $refunded->{payment_id})
              where payment_id = $paid->{payment_id}", $whole, $transfer);
    $found->('a refund without money',
             "update concert.refunds set transfer_id = null
              where payment_id = $refunded->{payment_id}", $whole, $back);
    $found->('an order of a payment that is not there',
             "update concert.orders set payment_id = 999999999
              where payment_id = $paid->{payment_id}",
             $whole, 'an order or a refund that names a payment has it');
}


# --- sessions that meet -------------------------------------------------------

# Statements at the same time, one a session; the answers.
sub together {
    my (@statements) = @_;

    $Sessions[$_]->send($statements[$_]) for 0 .. $#statements;
    return map { $Sessions[$_]->receive } 0 .. $#statements;
}

# What waits: a settler for another, and for whoever has the seats.
{
    my $ann = new_user();
    my $payment = claimed($ann);

    $Sessions[0]->run('begin');
    $Sessions[0]->run(settle_sql([$payment->{payment_id}, 'approved', 100]));
    $Sessions[1]->send(settle_sql([$payment->{payment_id}, 'declined']));
    ok waits(1, 0), 'a settler waits for another';
    $Sessions[0]->run('commit');
    my $late = decode_json($Sessions[1]->receive);
    is "$late->{status} " . ($late->{changed} ? 1 : 0), 'PAID 0',
       'and changes nothing any more';

    my ($held) = new_hold($ann, 1, 100);
    my ($order) = place([$ann, $held]);
    $Sessions[0]->run('begin');
    $Sessions[0]->run(cancel_sql($ann, $held));
    $Sessions[1]->send(claim_sql([$ann, $held, 100, $order->{order_id}]));
    ok waits(1, 0), 'a claim waits for a cancellation';
    $Sessions[0]->run('commit');
    is decode_json($Sessions[1]->receive)->{outcome}, 'reservation_cancelled',
       'and learns of it';

    ($held) = new_hold($ann, 1, 100);
    ($order) = place([$ann, $held]);
    $Sessions[0]->run('begin');
    $Sessions[0]->run(claim_sql([$ann, $held, 100, $order->{order_id}]));
    $Sessions[1]->send(pay_sql($ann, $held, 100));
    ok waits(1, 0), 'a balance waits for a claim';
    $Sessions[0]->run('rollback');
    is decode_json($Sessions[1]->receive)->{outcome}, 'insufficient_balance',
       'that was undone, and may pay';

    # two that look for work
    my @some = map { claimed($ann) } 1 .. 4;
    due_now();
    $Sessions[0]->run('begin');
    my @first = due(2, $Sessions[0]);
    my @second = due(1000, $Sessions[1]);
    my %first = map { $_->{payment_id} => 1 } @first;
    is scalar @first, 2, 'one takes what it can';
    cmp_ok scalar @second, '>=', 2, 'another takes the rest at the same time';
    is scalar(grep { $first{ $_->{payment_id} } } @second), 0,
       'and nothing that the first has';
    $Sessions[0]->run('rollback');
    is scalar(due(1000)), 2, 'what the first gave up is due';

    $Sessions[0]->run('begin');
    $Sessions[0]->run(settle_sql([$some[0]{payment_id}, 'approved', 100]));
    due_now_for(@some[1 .. 3]);
    is scalar(due(1000, $Sessions[1])), 3,
       'who looks for work does not wait for who settles';
    $Sessions[0]->run('commit');
}

# Each round has one winner, whoever it is.
{
    my $rounds = 60;
    my $ann = new_user(1_000_000);
    my (%won, $errors, $wrong);

    $errors = $wrong = 0;

    for my $round (1 .. $rounds) {
        my $payment = claimed($ann);
        my ($id, $held) = @$payment{qw( payment_id reservation_id )};

        run_out($held) if $round % 2;

        my @answers = together(shuffle(
            settle_sql([$id, 'approved', 100]),
            settle_sql([$id, 'declined']),
            $round % 3 ? cancel_sql($ann, $held) : pay_sql($ann, $held, 100),
            'select concert.expire(100)'));

        my $state = status($id) . ' ' . reservation($held);
        $won{$state}++;
        $errors++, diag("@answers") if "@answers" =~ /ERROR|FATAL/;
        $wrong++, diag("$round: $state: @answers")
            if $state !~ /^(?:PAID\ PAID
                             |REFUNDING\ (?:HELD|EXPIRED|CANCELLED|PAID))$/x;
    }

    note(join ', ', map { "$_ $won{$_}" } sort keys %won);
    is $errors, 0, 'settlers, owners and expiry meet without an error';
    is $wrong, 0, 'a declined payment that was approved is given back';
    is_broken('', 'and every rule holds');
}

# Batches in opposite orders, while others take work and refund.
{
    my $ann = new_user();
    my ($errors, %seen) = (0);

    for my $round (1 .. 25) {
        my @some = map { claimed($ann, $_ % 4 ? 'payment' : 'charge') } 1 .. 8;
        my @ids = map { $_->{payment_id} } @some;

        my @answers = together(
            settle_sql(map { [$_, 'approved', 100] } @ids),
            settle_sql(map { [$_, 'unknown'] } reverse @ids),
            due_sql(100),
            refund_sql(shuffle @ids));

        $errors++, diag("@answers") if "@answers" =~ /ERROR|FATAL/;
        $seen{ status($_) }++ for @ids;
    }

    note(join ', ', map { "$_ $seen{$_}" } sort keys %seen);
    is $errors, 0, 'batches in opposite orders meet without a deadlock';
    is_deeply [grep { !/^(?:PAID|REFUNDING)$/ } keys %seen], [],
              'and what is approved is paid, or on its way back';
}

# Work is taken once, by whoever asks.
{
    my $ann = new_user();
    my $twice = 0;

    for (1 .. 20) {
        my @some = map { claimed($ann) } 1 .. 6;
        due_now_for(@some);

        my %taken;
        $taken{ decode_json($_)->{payment_id} }++
            for map { split /\n/ } together((due_sql(4)) x 4);
        $twice += grep { $_ > 1 } values %taken;
        settle(map { [$_->{payment_id}, 'approved', 100] } @some);
    }

    is $twice, 0, 'many that look for work never take the same';
}

# One order, claimed by many at the same time.
{
    my $wrong = 0;

    for my $round (1 .. 30) {
        my $ann = new_user();
        my ($held) = $round % 2 ? new_hold($ann, 1, 100) : ();
        my ($order) = place([$ann, $held, 100]);

        my @told = map { decode_json($_) } together(map {
            claim_sql([$ann, $held, 100, $order->{order_id}, $_])
        } qw( visa visa master master ));
        my %ids = map { $_->{payment_id} => 1 }
                  grep { $_->{outcome} eq 'ok' } @told;

        $wrong++ if keys %ids != 1
                    || 2 != grep { $_->{outcome} eq 'ok' } @told;
    }

    is $wrong, 0, 'an order is used once, however many ask';
}


# --- histories at random ----------------------------------------------------

{
    my @users = map { new_user(500) } 1 .. 4;
    my $sale = new_sale(8, 100);
    my (@holds, @orders, @payments, %outcomes);
    my $errors = 0;

    my $some = sub { my ($of) = @_; return @$of ? $of->[rand @$of] : undef };
    my @steps = (
        sub { ['hold', reserve_sql($users[rand @users], $sale, 1 + int rand 8,
                                   rand() < 0.2 ? 5 : HOLD)] },
        sub { my $h = $some->(\@holds) // return;
              ['order', place_sql([@$h])] },
        sub { ['order', place_sql([$users[rand @users], undef, 100])] },
        (sub { my $o = $some->(\@orders) // return;
               ['claim', claim_sql([@$o[0, 1], 100, $o->[2],
                                    rand() < 0.8 ? 'a' : 'b'])] }) x 3,
        (sub { my $p = $some->(\@payments) // return;
               my $verdict = $Verdicts[rand @Verdicts];
               ['settle', settle_sql([$p, $verdict,
                                      rand() < 0.9 ? 100 : 99])] }) x 4,
        sub { my $p = $some->(\@payments) // return;
              ['refund', refund_sql($p)] },
        sub { my $h = $some->(\@holds) // return;
              ['pay', pay_sql(@$h, 100)] },
        sub { my $h = $some->(\@holds) // return;
              ['cancel', cancel_sql(@$h)] },
        sub { my $h = $some->(\@holds) // return;
              ['extend', extend_sql([@$h])] },
        sub { my $o = $some->(\@orders) // return;
              ['look', looks_sql($o->[2])] },
        sub { ['due', due_sql(3)] },
        sub { ['expire', 'select expired from concert.expire(10)'] },
    );

    for my $round (1 .. 400) {
        my @now = grep { $_ } map { $_->() } map { $steps[rand @steps] } 1 .. 4;
        my @answers = together(map { $_->[1] } @now);

        for my $n (0 .. $#now) {
            my ($what, $answer) = ($now[$n][0], $answers[$n]);
            $errors++, diag("$what: $answer") if $answer =~ /ERROR|FATAL/;

            for my $row (map { decode_json($_) } grep { /^\{/ }
                         split /\n/, $answer)
            {
                $outcomes{ "$what " . ($row->{status} // $row->{outcome}
                                       // '') }++;
                next if ($row->{outcome} // '') ne 'ok';
                push @payments, $row->{payment_id} if $what eq 'claim';
                push @holds, [split /\|/, admin(
                    "select user_id, reservation_id from concert.reservations
                     where reservation_id = $row->{reservation_id}")]
                    if $what eq 'hold';
                push @orders, [map { $_ eq '' ? undef : $_ } split /\|/, admin(
                    "select user_id, reservation_id, order_id
                     from concert.orders
                     where order_id = '$row->{order_id}'")]
                    if $what eq 'order';
            }
        }

        # nothing is retried for ever: what is old leaves room for what is new
        splice @$_, 0, @$_ - 12 for grep { @$_ > 12 } \@holds, \@orders,
                                                      \@payments;

        last if $errors || $round % 20 == 0 && broken() ne '';
        $sale = new_sale(8, 100) if $round % 20 == 0;
    }

    note(join ', ', map { "$_ $outcomes{$_}" } sort keys %outcomes);
    is $errors, 0, 'histories at random meet no error';
    is_broken('', 'and break no rule');
    is_deeply [grep { !$outcomes{"settle $_"} } @Statuses], [],
              'and go through every state';

    # the end of all: the gateway answers
    for (1 .. 3) {
        due_now();
        for my $due (due(100_000)) {
            settle([$due->{payment_id},
                    $due->{status} eq 'REFUNDING' ? 'refunded' : 'approved',
                    $due->{amount}]);
        }
    }

    is_deeply [rows('select pending, refunding from concert.unsettled()')],
              [{ pending => 0, refunding => 0 }],
              'once the gateway answers nothing is left';
    is_broken('', 'and every rule holds');
}

done_testing;


# --- the operations, called -------------------------------------------------

# Requests are arrays, and an id of the operation may follow.

# [user, reservation or undef, amount]
sub place_sql {
    return call('place_order', uuids(map { $_->[3] } @_),
                (map { my $n = $_; bigints(map { $_->[$n] } @_) } 0 .. 2));
}

# { max => pending }, [user, reservation, amount, order, payment key]
sub claim_sql {
    my $options = ref $_[0] eq 'HASH' ? shift : {};
    return call('claim', uuids(map { $_->[5] } @_),
                (map { my $n = $_; bigints(map { $_->[$n] } @_) } 0 .. 2),
                texts(map { $_->[3] } @_), texts(map { $_->[4] // 'key' } @_),
                3_600_000, $options->{max} // 'null');
}

# [payment, verdict, amount, code, reason]
sub settle_sql {
    return call('settle', bigints(map { $_->[0] } @_),
                texts(map { $_->[1] } @_), bigints(map { $_->[2] } @_),
                texts(map { $_->[3] } @_), texts(map { $_->[4] } @_));
}

# payments
sub refund_sql {
    return call('refund', uuids((undef) x @_), bigints(@_),
                texts(('It rains') x @_));
}

# [user, reservation]
sub extend_sql {
    return call('extend_holds', bigints(map { $_->[0] } @_),
                bigints(map { $_->[1] } @_), 60_000);
}

sub looks_sql { return call('look_now', texts(@_)) }
sub due_sql { return call('due', $_[0], 60_000) }
sub pay_sql { return call('pay', uuids(undef), map { bigints($_) } @_) }
sub cancel_sql { return call('cancel', map { bigints($_) } @_) }

sub reserve_sql {
    my ($user, $sale, $seats, $hold) = @_;
    return call('reserve', uuids(undef), bigints($user), bigints($sale->[0]),
                bigints($sale->[1]), "array['{$seats}']", $hold, 'null');
}

sub place { return answers(place_sql(@_)) }
sub claim { return answers(claim_sql(@_)) }
sub settle { return answers(settle_sql(@_)) }
sub extend { return answers(extend_sql(@_)) }
sub looks { return answers(looks_sql(@_)) }
sub due { return answers(due_sql($_[0]), $_[1]) }
sub pay { return outcome(answers(pay_sql(@_))) }
sub cancel { return outcome(answers(cancel_sql(@_))) }

sub refund {
    my ($payment, $operation) = @_;
    return answers(call('refund', uuids($operation), bigints($payment),
                        texts('It rains')));
}

sub claim_once {
    my ($route, $key, $digest, $user, $held, $amount, $order, $payment_key,
        $operation) = @_;
    return answers(call('claim_once', "'$route'", uuids($operation),
                        bigints($user), bigints($held), bigints($amount),
                        texts($order), texts($payment_key), 3_600_000, 'null',
                        texts($key), texts($digest)));
}

sub call {
    my ($function, @parameters) = @_;
    return "select row_to_json(r) from concert.$function("
           . join(', ', @parameters) . ') r';
}

sub uuids {
    return 'array[' . join(',', map { "'" . ($_ // operation()) . "'" } @_)
           . ']::uuid[]';
}

sub bigints {
    return 'array[' . join(',', map { $_ // 'null' } @_) . ']::bigint[]';
}

sub texts {
    return 'array[' . join(',', map { defined $_ ? Concert::quote($_) : 'null' }
                                @_) . ']::text[]';
}

sub operation {
    return sprintf '%08x-0000-4000-8000-%012x', $$, ++$Operations;
}

sub outcome { return $_[0]{outcome} }

sub answers {
    my ($statement, $session) = @_;

    my $out = ($session // $Sessions[0])->run($statement);
    die "psql: $out\n$statement" if $out =~ /^(?:ERROR|FATAL): /m;

    return map { decode_json($_) } split /\n/, $out;
}

sub rows { return answers("select row_to_json(r) from ($_[0]) r") }

sub service { return $Sessions[0]->run($_[0]) }
sub one_service { return (split /\n/, service($_[0]))[0] }

sub admin {
    my ($statement) = @_;

    my $out = $Admin->run($statement);
    die "psql: $out\n$statement" if $out =~ /^(?:ERROR|FATAL): /m;

    return $out;
}

# What is said to statements that would break what must hold at commit.
sub refused {
    my ($statements) = @_;

    return $Admin->run("begin; $statements;
                        set constraints all immediate;
                        select 'accepted'; rollback");
}

sub service_session {
    my $session = Concert::open_session("$Conninfo dbname=$Database");

    $session->run("set plan_cache_mode = force_generic_plan;
                   set enable_seqscan = off;
                   set enable_hashjoin = off;
                   set enable_mergejoin = off;
                   set statement_timeout = '60s'");
    $session->{backend} = $session->run('select pg_backend_pid()');

    return $session;
}

# Whether a session comes to wait for another.
sub waits {
    my ($waiter, $holder) = map { $Sessions[$_]{backend} } @_;

    for (1 .. 3000) {
        return 1 if admin("select $holder = any (pg_blocking_pids($waiter))")
                    eq 't';
        select undef, undef, undef, 0.01;
    }

    return 0;
}


# --- data of one's own ------------------------------------------------------

sub new_user {
    my ($balance) = @_;

    $LastUser++;
    admin("select concert.add_user($LastUser, ${\ ($balance // 0)})");
    return $LastUser;
}

sub new_sale {
    my ($seats, $price) = @_;

    my $concert = admin("select concert.add_concert('A concert')");
    return [$concert, admin("select concert.add_schedule($concert,
        now() + interval '1 day', $seats, $price)")];
}

# A hold of seats of a sale of its own; for how long, ms.
sub new_hold {
    my ($user, $seats, $price, $hold) = @_;

    $seats //= 1;
    my $sale = new_sale($seats, $price // 100);
    my ($held) = answers(reserve_sql($user, $sale, join(',', 1 .. $seats),
                                     $hold // HOLD));

    return ($held->{reservation_id}, $held->{total_price});
}

# A payment, or a top-up, of 100 that is PENDING.
sub claimed {
    my ($user, $kind) = @_;

    my ($held) = ($kind // '') eq 'charge' ? () : new_hold($user, 1, 100);
    my ($order) = place([$user, $held, 100]);
    my ($claim) = claim([$user, $held, 100, $order->{order_id}]);

    return { %$claim, reservation_id => $held, user_id => $user,
             order_id => $order->{order_id} };
}

# The same in any state.
sub settled_as {
    my ($status, $user, $kind) = @_;

    my $payment = claimed($user, $kind);
    my %by = (PAID => 'approved', DECLINED => 'declined',
              REFUNDING => 'abandoned', REFUNDED => 'refunded');

    settle([$payment->{payment_id}, $by{$status}, 100]) if $by{$status};
    return $payment;
}

sub paid_by_card { return settled_as('PAID', @_) }

# One that was paid.
sub refunded_payment {
    my $payment = paid_by_card(@_);

    settle([$payment->{payment_id}, 'refunded']);
    return $payment;
}

# The time of a reservation is over.
sub run_out {
    my ($reservation) = @_;

    admin("begin;
           update concert.seats s set hold_until = now() - interval '1 s'
           from concert.reservations r
           where r.reservation_id = $reservation and r.status = 'HELD'
             and s.reservation_id = r.reservation_id;
           update concert.reservations
           set hold_until = now() - interval '1 s'
           where reservation_id = $reservation;
           set constraints all immediate;
           commit");
}

# The next look at all that is looked after is now, without asking for it.
sub due_now {
    admin('update concert.orders set next_look_at = now()
           where next_look_at is not null');
}

sub due_now_for {
    my $ids = join ',', map { $_->{payment_id} } @_;

    admin("update concert.orders set next_look_at = case
               when payment_id in ($ids) then now()
               else now() + interval '1 day' end
           where next_look_at is not null
             and payment_id in (select payment_id from concert.all_payments
                                where payment_id in ($ids)
                                   or next_look_at <= now())");
}


# --- what there is ----------------------------------------------------------

sub status {
    return admin("select status from concert.all_payments
                  where payment_id = $_[0]");
}

sub reservation {
    return admin("select status from concert.reservations
                  where reservation_id = $_[0]");
}

sub reservation_of {
    my ($payment) = @_;

    return $payment->{reservation_id} ? reservation($payment->{reservation_id})
                                      : '';
}

sub payment_of_reservation {
    return admin("select coalesce(payment_id, reservation_id)
                  from concert.reservations
                  where reservation_id = $_[0]");
}

sub seen {
    my ($user, $payment) = @_;

    my ($row) = rows("select * from concert.payment($user, $payment)");
    return $row;
}

sub balance {
    return service("select balance
                    from concert.balance(array[$_[0]]::bigint[])");
}

# What a payment by card has brought: to sales, or to its user.
sub money {
    my ($payment) = @_;

    return admin("select coalesce(sum(case t.debit_account when -1 then t.amount
                                                    else -t.amount end), 0)
                  from concert.all_payments p
                  left join concert.refunds f using (payment_id)
                  join concert.transfers t
                    on t.transfer_id in (p.transfer_id, f.transfer_id)
                  where p.payment_id = $payment->{payment_id}");
}

sub looked_after {
    return admin("select count(next_look_at) from concert.orders
                  where payment_id = $_[0]");
}

sub broken {
    return admin('select rule, broken from concert.violations()
                  where broken > 0');
}

sub is_broken {
    my ($expected, $title) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is broken(), $expected, $title;
}

END {
    if (@Sessions) {
        local $?;
        @Sessions = ();
        undef $Admin;
        drop_database($Database);
    }
}
