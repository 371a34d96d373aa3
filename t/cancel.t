# Giving a hold back.

use Test::Nginx::Socket;
use Concert;

plan tests => 45;

run_tests();

__DATA__

=== TEST 1: cancelling frees the seats at once
--- data
$user = user()
$schedule = schedule()
$held = hold($user, $schedule, 1, 2)
--- caller: $user
--- request
DELETE /api/reservations/$held
--- error_code: 204
--- response_body
--- sql
select count(*) from concert.seats
where schedule_id = $schedule and reservation_id is not null
--- sql_out: 0



=== TEST 2: a reservation that was cancelled reads CANCELLED
--- data
$user = user()
$schedule = schedule(price => 10)
$concert = concert_of($schedule)
$held = hold($user, $schedule, 1)
--- before
$user DELETE /api/reservations/$held
--- caller: $user
--- request
GET /api/reservations/$held
--- json
{"reservationId": $held, "userId": $user, "concertId": $concert,
 "concertTitle": "A concert", "scheduleId": $schedule, "seatIdList": [1],
 "totalPrice": 10, "status": "CANCELLED", "reservationExpiry": "<time>"}



=== TEST 3: cancelling twice is no error
--- data
$user = user()
$held = hold($user, schedule(), 1)
--- before
$user DELETE /api/reservations/$held
--- caller: $user
--- request
DELETE /api/reservations/$held
--- error_code: 204



=== TEST 4: cancelling again leaves the seats to who has taken them since
--- data
$user = user()
$schedule = schedule()
$cancelled = cancelled($user, $schedule, 1)
$held = hold(user(), $schedule, 1)
--- caller: $user
--- request
DELETE /api/reservations/$cancelled
--- error_code: 204
--- sql
select reservation_id = $held from concert.seats
where schedule_id = $schedule and seat_id = 1
--- sql_out: t



=== TEST 5: cancelling needs no token
--- data
$first = stranger()
$user = user()
$held = hold($user, schedule(), 1)
--- queue: capacity=1
--- before
$first POST /api/token {"userId": $first}
--- caller: $user
--- request
DELETE /api/reservations/$held
--- error_code: 204



=== TEST 6: cancelling leaves the token active
--- data
$user = user()
$held = hold($user, schedule(), 1)
--- before
$user POST /api/token {"userId": $user}
$user DELETE /api/reservations/$held
--- request
GET /api/token/status/$user
--- response_body chomp
true



=== TEST 7: what is paid cannot be cancelled
--- data
$user = user(10)
$schedule = schedule(price => 10)
$paid = paid($user, $schedule, 1)
--- caller: $user
--- request
DELETE /api/reservations/$paid
--- problem: reservation_paid
--- sql
select count(*) from concert.seats
where schedule_id = $schedule and hold_until = 'infinity'
--- sql_out: 1



=== TEST 8: what is being paid cannot be cancelled
--- data
$user = user()
$schedule = schedule()
$paying = paying($user, $schedule, 1)
--- caller: $user
--- request
DELETE /api/reservations/$paying
--- problem: payment_in_progress
--- sql
select count(*) from concert.seats
where schedule_id = $schedule and reservation_id = $paying
--- sql_out: 1



=== TEST 9: what ran out cannot be cancelled
--- data
$user = user()
$expired = expired($user, schedule(), 1)
--- caller: $user
--- request
DELETE /api/reservations/$expired
--- problem: reservation_expired



=== TEST 10: what ran out and was taken by another stays with the other
--- data
$user = user()
$schedule = schedule()
$expired = expired($user, $schedule, 1)
$held = hold(user(), $schedule, 1)
--- caller: $user
--- request
DELETE /api/reservations/$expired
--- problem: reservation_expired
--- sql
select reservation_id = $held from concert.seats
where schedule_id = $schedule and seat_id = 1
--- sql_out: t



=== TEST 11: somebody else's reservation is not found
--- data
$user = user()
$schedule = schedule()
$held = hold(user(), $schedule, 1)
--- caller: $user
--- request
DELETE /api/reservations/$held
--- problem: reservation_not_found
--- sql
select count(*) from concert.seats
where schedule_id = $schedule and reservation_id = $held
--- sql_out: 1



=== TEST 12: a reservation that does not exist is not found
--- data
$user = user()
$held = hold($user, schedule(), 1) + 1000000
--- caller: $user
--- request
DELETE /api/reservations/$held
--- problem: reservation_not_found
