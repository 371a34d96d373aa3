# Money and seats after a whole day of it: every rule holds, and the schema
# itself refuses what would break one.

use strict;
use warnings;

use Test::More;

use Concert;

sub broken {
    return join "\n", grep { !/\|0$/ } split /\n/,
                      sql('select * from concert.violations()');
}

is broken(), '', 'every rule holds before';

{
    my $nginx = nginx();
    my $schedule = schedule(seats => 8, price => 1000);
    my ($ann, $bob, $eve) = map { $nginx->client($_) } users(3, 2500);

    $_->enter for $ann, $bob, $eve;

    my $paid = $ann->reserve($schedule, 1, 2)->json->{reservationId};
    is $ann->pay($paid, 2000)->status, 200, 'what is held is paid';

    my $held = $bob->reserve($schedule, 3)->json->{reservationId};
    is $bob->delete("/api/reservations/$held")->status, 204,
       'what is held is given back';

    my $over = expired($eve->id, $schedule, 4, 5);
    eventually { sql("select status from concert.reservations
                      where reservation_id = $over") eq 'EXPIRED' }
               'what is held runs out';

    my $dear = $bob->reserve($schedule, 3, 4, 5)->json->{reservationId};
    is $bob->pay($dear, 3000)->code, 'insufficient_balance',
       'what is too dear is not paid';
    is $bob->charge(500)->status, 200, 'what is missing is charged';
    is $bob->pay($dear, 3000)->status, 200, 'what was too dear is paid then';

    is broken(), '', 'every rule holds after';
    is sql('select sum(amount) from concert.ledger'), 0,
       'the ledger sums to zero';
    is $ann->balance, 500, 'what was paid is gone from the balance';

    $nginx->stop;
}

my $schedule = schedule(price => 1000);
my ($ann, $bob) = users(2, 5000);
my $paid = paid($ann, $schedule, 1);
my $held = hold($ann, $schedule, 2);
my $transfer = sql("select transfer_id from concert.transfers
                    where credit_account = $ann");
my $payment = payment_of($paid);

# What must not be possible: title => statement.
my @refused = (
    'a balance is not set' =>
        "update concert.accounts set balance = balance + 1
         where account_id = $ann",
    'a balance is not given with a new account' =>
        "insert into concert.accounts (account_id, balance)
         values (${\ stranger()}, 1)",
    'an account does not change its user' =>
        "update concert.accounts set account_id = ${\ stranger()}
         where account_id = $ann",
    'an account is not deleted' =>
        "delete from concert.accounts where account_id = $bob",
    'a transfer is not deleted' =>
        "delete from concert.transfers where transfer_id = $transfer",
    'a transfer is not changed' =>
        "update concert.transfers set amount = 1
         where transfer_id = $transfer",
    'transfers are not emptied' =>
        'truncate concert.transfers cascade',
    'a transfer does not take what is not there' =>
        "insert into concert.transfers
             (operation, debit_account, credit_account, amount)
         values (gen_random_uuid(), $bob, 0, 5001)",
    'a transfer is not of nothing' =>
        "insert into concert.transfers
             (operation, debit_account, credit_account, amount)
         values (gen_random_uuid(), $bob, 0, 0)",
    'a transfer is not backwards' =>
        "insert into concert.transfers
             (operation, debit_account, credit_account, amount)
         values (gen_random_uuid(), $bob, 0, -1)",
    'a transfer goes from one account to another' =>
        "insert into concert.transfers
             (operation, debit_account, credit_account, amount)
         values (gen_random_uuid(), $bob, $bob, 1)",
    'a transfer goes to an account that exists' =>
        "insert into concert.transfers
             (operation, debit_account, credit_account, amount)
         values (gen_random_uuid(), $bob, ${\ stranger()}, 1)",
    'an operation is not done twice' =>
        "insert into concert.transfers
             (operation, debit_account, credit_account, amount)
         select operation, $bob, 0, 1 from concert.transfers
         where transfer_id = $transfer",
    'a live hold does not lose its seat' =>
        "update concert.seats
         set reservation_id = null, hold_until = '-infinity'
         where schedule_id = $schedule and seat_id = 2",
    'a sold seat is not taken' =>
        "update concert.seats set reservation_id = $held,
             hold_until = now() + interval '1 hour'
         where schedule_id = $schedule and seat_id = 1",
    'a seat that is reserved is not deleted' =>
        "delete from concert.seats
         where schedule_id = $schedule and seat_id = 2",
    'a seat has no reservation without a time, and no time without one' =>
        "update concert.seats set hold_until = 'infinity'
         where schedule_id = $schedule and seat_id = 3",
    'a seat has one row' =>
        "insert into concert.seats (schedule_id, seat_id, price)
         values ($schedule, 1, 1)",
    'a reservation is not paid without a payment' =>
        "update concert.seats set hold_until = 'infinity'
         where reservation_id = $held;
         update concert.reservations set status = 'PAID'
         where reservation_id = $held",
    'a reservation does not hold seats that it does not have' =>
        "insert into concert.reservations
             (operation, user_id, schedule_id, seat_ids, total_price, status,
              hold_until)
         values (gen_random_uuid(), $bob, $schedule, '{3}', 1000, 'HELD',
                 now() + interval '1 hour')",
    'a reservation does not hold seats that another has' =>
        "insert into concert.reservations
             (operation, user_id, schedule_id, seat_ids, total_price, status,
              hold_until)
         values (gen_random_uuid(), $bob, $schedule, '{2}', 1000, 'HELD',
                 now() + interval '1 hour')",
    'a reservation is of a user with an account' =>
        "insert into concert.reservations
             (operation, user_id, schedule_id, seat_ids, total_price, status,
              hold_until)
         values (gen_random_uuid(), ${\ stranger()}, $schedule, '{3}', 1000,
                 'CANCELLED', now())",
    'a reservation has a status that is one' =>
        "update concert.reservations set status = 'SOLD'
         where reservation_id = $held",
    'a payment is not made without its money' =>
        "insert into concert.payments
             (operation, reservation_id, user_id, amount, method, status)
         values (gen_random_uuid(), $held, $ann, 1000, 'balance', 'PAID')",
    'a reservation is not paid twice' =>
        "insert into concert.payments
             (operation, reservation_id, user_id, amount, method, status)
         values (gen_random_uuid(), $paid, $ann, 1000, 'balance', 'PAID')",
    'a payment from a balance is not changed' =>
        "update concert.reservations set paid_operation = gen_random_uuid()
         where reservation_id = $payment",
    'a payment from a balance is not taken back' =>
        "update concert.reservations
         set paid_operation = null, paid_at = null, status = 'HELD'
         where reservation_id = $payment",
    'payments are not emptied' =>
        'truncate concert.payments cascade',
    'a reservation is not deleted' =>
        "delete from concert.reservations where reservation_id = $paid",
    'a reservation does not change its user' =>
        "update concert.reservations set user_id = $bob
         where reservation_id = $held",
);

while (my ($title, $statement) = splice @refused, 0, 2) {
    like sql_error($statement), qr/^ERROR: /m, $title;
}

is broken(), '', 'what was refused has broken no rule';
is sql("select status from concert.reservations where reservation_id = $held"),
   'HELD', 'what was refused has changed nothing';

# The other side: that a check of the ledger sees what it must.
{
    my $session = lock_rows('alter table concert.accounts
                             disable trigger user');

    $session->run("update concert.accounts set balance = balance + 1
                   where account_id = $bob");
    is $session->run("select broken from concert.violations()
                      where rule like 'a balance%'"), 1,
       'a balance that does not follow from the ledger is found';
}

done_testing;
