# Paying a reservation from the balance.

use Test::Nginx::Socket;
use Concert;

plan tests => 117;

run_tests();

__DATA__

=== TEST 1: a payment answers that it is paid
--- data
$user = user(5000)
$held = hold($user, schedule(price => 1500), 1, 2)
--- caller: $user
--- request
POST /api/reservations/payments
{"userId": $user, "reservationId": $held, "amount": 3000}
--- response_headers
Content-Type: application/json
--- json
{"paymentId": "<id>", "reservationId": $held, "userId": $user,
 "amount": 3000, "status": "PAID", "paymentTime": "<time>"}



=== TEST 2: a payment takes the amount from the balance
--- data
$user = user(5000)
$held = hold($user, schedule(price => 1500), 1, 2)
--- before
$user POST /api/reservations/payments {"userId": $user, "reservationId": $held, "amount": 3000}
--- request
GET /api/balance/$user
--- json
{"userId": $user, "amount": 2000}



=== TEST 3: a payment goes from the user's account to sales
--- data
$user = user(5000)
$held = hold($user, schedule(price => 1500), 1, 2)
--- before
$user POST /api/reservations/payments {"userId": $user, "reservationId": $held, "amount": 3000}
--- request
GET /api/balance/$user
--- response_body_like: 2000
--- sql
select credit_account, amount from concert.moves where debit_account = $user
--- sql_out: 0|3000



=== TEST 4: a payment may take the whole balance
--- data
$user = user(1500)
$held = hold($user, schedule(price => 1500), 1)
--- before
$user POST /api/reservations/payments {"userId": $user, "reservationId": $held, "amount": 1500}
--- request
GET /api/balance/$user
--- json
{"userId": $user, "amount": 0}



=== TEST 5: a reservation that was paid reads PAID
--- data
$user = user(5000)
$schedule = schedule(price => 1500)
$concert = concert_of($schedule)
$held = hold($user, $schedule, 1, 2)
--- before
$user POST /api/reservations/payments {"userId": $user, "reservationId": $held, "amount": 3000}
--- caller: $user
--- request
GET /api/reservations/$held
--- json
{"reservationId": $held, "userId": $user, "concertId": $concert,
 "concertTitle": "A concert", "scheduleId": $schedule, "seatIdList": [1, 2],
 "totalPrice": 3000, "status": "PAID", "reservationExpiry": "<time>"}



=== TEST 6: paid seats are the user's for good
--- data
$user = user(5000)
$schedule = schedule(price => 1500)
$held = hold($user, $schedule, 1, 2)
--- caller: $user
--- request
POST /api/reservations/payments
{"userId": $user, "reservationId": $held, "amount": 3000}
--- response_body_like: "status":"PAID"
--- sql
select seat_id, reservation_id = $held, hold_until from concert.seats
where schedule_id = $schedule and reservation_id is not null order by seat_id
--- sql_out
1|t|infinity
2|t|infinity



=== TEST 7: a payment ends the user's token
--- data
$user = user(5000)
$held = hold($user, schedule(price => 1500), 1)
--- before
$user POST /api/token {"userId": $user}
$user POST /api/reservations/payments {"userId": $user, "reservationId": $held, "amount": 1500}
--- request
GET /api/token/$user
--- problem: token_not_found



=== TEST 8: a payment lets the next in line in at once
--- data
$user = user(5000)
$next = stranger()
$held = hold($user, schedule(price => 1500), 1)
--- queue: capacity=1
--- before
$user POST /api/token {"userId": $user}
$next POST /api/token {"userId": $next}
$user POST /api/reservations/payments {"userId": $user, "reservationId": $held, "amount": 1500}
--- request
GET /api/token/status/$next
--- response_body chomp
true



=== TEST 9: a payment that is refused leaves the token active
--- data
$user = user(5000)
$held = hold($user, schedule(price => 1500), 1)
--- before
$user POST /api/token {"userId": $user}
--- caller: $user
--- request eval
[ 'POST /api/reservations/payments
{"userId": $user, "reservationId": $held, "amount": 1}',
  'GET /api/token/status/$user' ]
--- error_code eval
[ 422, 200 ]
--- response_body_like eval
[ qr/amount_mismatch/, qr/\Atrue\z/ ]



=== TEST 10: holding seats is the right to pay them, token or not
--- data
$first = stranger()
$user = user(5000)
$held = hold($user, schedule(price => 1500), 1)
--- queue: capacity=1
--- before
$first POST /api/token {"userId": $first}
--- caller: $user
--- request
POST /api/reservations/payments
{"userId": $user, "reservationId": $held, "amount": 1500}
--- response_body_like: "status":"PAID"



=== TEST 11: a reservation of a free seat is paid with 0
--- data
$user = user()
$held = hold($user, schedule(price => 0), 1)
--- caller: $user
--- request
POST /api/reservations/payments
{"userId": $user, "reservationId": $held, "amount": 0}
--- json
{"paymentId": "<id>", "reservationId": $held, "userId": $user,
 "amount": 0, "status": "PAID", "paymentTime": "<time>"}



=== TEST 12: less than the price is refused
--- data
$user = user(5000)
$held = hold($user, schedule(price => 1500), 1)
--- caller: $user
--- request
POST /api/reservations/payments
{"userId": $user, "reservationId": $held, "amount": 1499}
--- problem: amount_mismatch
--- sql
select a.balance, r.status
from concert.accounts a join concert.reservations r on r.user_id = a.account_id
where a.account_id = $user
--- sql_out: 5000|HELD



=== TEST 13: more than the price is refused
--- data
$user = user(5000)
$held = hold($user, schedule(price => 1500), 1)
--- caller: $user
--- request
POST /api/reservations/payments
{"userId": $user, "reservationId": $held, "amount": 1501}
--- problem: amount_mismatch



=== TEST 14: an amount of 0 is not the price
--- data
$user = user(5000)
$held = hold($user, schedule(price => 1500), 1)
--- caller: $user
--- request
POST /api/reservations/payments
{"userId": $user, "reservationId": $held, "amount": 0}
--- problem: amount_mismatch



=== TEST 15: a balance below the price does not pay it and stays as it was
--- data
$user = user(1499)
$held = hold($user, schedule(price => 1500), 1)
--- caller: $user
--- request
POST /api/reservations/payments
{"userId": $user, "reservationId": $held, "amount": 1500}
--- problem: insufficient_balance
--- sql
select a.balance, r.status
from concert.accounts a join concert.reservations r on r.user_id = a.account_id
where a.account_id = $user
--- sql_out: 1499|HELD



=== TEST 16: a reservation can be paid after the balance was charged
--- data
$user = user(1000)
$held = hold($user, schedule(price => 1500), 1)
--- before
$user PUT /api/balance/charge {"userId": $user, "amount": 500}
--- caller: $user
--- request
POST /api/reservations/payments
{"userId": $user, "reservationId": $held, "amount": 1500}
--- response_body_like: "status":"PAID"



=== TEST 17: what is paid is not paid again
--- data
$user = user(5000)
$paid = paid($user, schedule(price => 1500), 1)
--- caller: $user
--- request
POST /api/reservations/payments
{"userId": $user, "reservationId": $paid, "amount": 1500}
--- problem: reservation_paid
--- sql
select balance from concert.accounts where account_id = $user
--- sql_out: 3500



=== TEST 18: what is being paid is not paid a second time
--- data
$user = user(5000)
$paying = paying($user, schedule(price => 1500), 1)
--- caller: $user
--- request
POST /api/reservations/payments
{"userId": $user, "reservationId": $paying, "amount": 1500}
--- problem: payment_in_progress
--- sql
select balance from concert.accounts where account_id = $user
--- sql_out: 5000



=== TEST 19: what ran out cannot be paid
--- data
$user = user(5000)
$expired = expired($user, schedule(price => 1500), 1)
--- caller: $user
--- request
POST /api/reservations/payments
{"userId": $user, "reservationId": $expired, "amount": 1500}
--- problem: reservation_expired
--- sql
select balance from concert.accounts where account_id = $user
--- sql_out: 5000



=== TEST 20: what was cancelled cannot be paid
--- data
$user = user(5000)
$cancelled = cancelled($user, schedule(price => 1500), 1)
--- caller: $user
--- request
POST /api/reservations/payments
{"userId": $user, "reservationId": $cancelled, "amount": 1500}
--- problem: reservation_cancelled
--- sql
select balance from concert.accounts where account_id = $user
--- sql_out: 5000



=== TEST 21: somebody else's reservation cannot be paid and is not found
--- data
$user = user(5000)
$held = hold(user(), schedule(price => 1500), 1)
--- caller: $user
--- request
POST /api/reservations/payments
{"userId": $user, "reservationId": $held, "amount": 1500}
--- problem: reservation_not_found
--- sql
select balance from concert.accounts where account_id = $user
--- sql_out: 5000



=== TEST 22: a reservation that does not exist cannot be paid
--- data
$user = user(5000)
$held = hold($user, schedule(), 1) + 1000000
--- caller: $user
--- request
POST /api/reservations/payments
{"userId": $user, "reservationId": $held, "amount": 1500}
--- problem: reservation_not_found



=== TEST 23: a payment names its reservation
--- data
$user = user(5000)
--- caller: $user
--- request
POST /api/reservations/payments
{"userId": $user, "amount": 1500}
--- problem: invalid_request {"field": "reservationId"}



=== TEST 24: a payment names its amount
--- data
$user = user(5000)
$held = hold($user, schedule(price => 1500), 1)
--- caller: $user
--- request
POST /api/reservations/payments
{"userId": $user, "reservationId": $held}
--- problem: invalid_request {"field": "amount"}



=== TEST 25: a payment is not below 0
--- data
$user = user(5000)
$held = hold($user, schedule(price => 1500), 1)
--- caller: $user
--- request
POST /api/reservations/payments
{"userId": $user, "reservationId": $held, "amount": -1500}
--- problem: invalid_request {"field": "amount"}



=== TEST 26: a payment has an integer as its amount
--- data
$user = user(5000)
$held = hold($user, schedule(price => 1500), 1)
--- caller: $user
--- request
POST /api/reservations/payments
{"userId": $user, "reservationId": $held, "amount": 1500.5}
--- problem: invalid_request {"field": "amount"}



=== TEST 27: a payment is seen again by its id
--- data
$user = user(5000)
$paid = paid($user, schedule(price => 1500), 1)
$payment = payment_of($paid)
--- caller: $user
--- request
GET /api/reservations/payments/$payment
--- json
{"paymentId": $payment, "reservationId": $paid, "userId": $user,
 "amount": 1500, "status": "PAID", "paymentTime": "<time>"}



=== TEST 28: somebody else's payment is not found
--- data
$user = user()
$paid = paid(user(5000), schedule(price => 1500), 1)
$payment = payment_of($paid)
--- caller: $user
--- request
GET /api/reservations/payments/$payment
--- problem: payment_not_found



=== TEST 29: a payment that does not exist is not found
--- data
$user = user()
--- caller: $user
--- request
GET /api/reservations/payments/9007199254740991
--- problem: payment_not_found
