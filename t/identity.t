# Who is asking: the userId header, and that it agrees with paths and bodies.

use Test::Nginx::Socket;
use Concert;

plan tests => 134;

run_tests();

__DATA__

=== TEST 1: concerts need a caller
--- request
GET /api/concerts
--- problem: identity_missing



=== TEST 2: schedules need a caller
--- request
GET /api/concerts/schedules/1
--- problem: identity_missing



=== TEST 3: seats need a caller
--- request
GET /api/concerts/seats/1
--- problem: identity_missing



=== TEST 4: a reservation needs a caller beside the userId of its body
--- data
$user = user()
--- before
$user POST /api/token {"userId": $user}
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": 1, "scheduleId": 1, "seatIdList": [1]}
--- problem: identity_missing



=== TEST 5: the list of reservations needs a caller
--- request
GET /api/reservations
--- problem: identity_missing



=== TEST 6: looking at a reservation needs a caller
--- data
$held = hold(user(), schedule(), 1)
--- request
GET /api/reservations/$held
--- problem: identity_missing



=== TEST 7: cancelling needs a caller
--- data
$schedule = schedule()
$held = hold(user(), $schedule, 1)
--- request
DELETE /api/reservations/$held
--- problem: identity_missing
--- sql
select count(*) from concert.seats
where schedule_id = $schedule and reservation_id is not null
--- sql_out: 1



=== TEST 8: a payment needs a caller beside the userId of its body
--- data
$user = user(5000)
$held = hold($user, schedule(price => 1500), 1)
--- request
POST /api/reservations/payments
{"userId": $user, "reservationId": $held, "amount": 1500}
--- problem: identity_missing
--- sql
select balance from concert.accounts where account_id = $user
--- sql_out: 5000



=== TEST 9: looking at a payment needs a caller
--- request
GET /api/reservations/payments/1
--- problem: identity_missing



=== TEST 10: entering needs no header
--- data
$user = stranger()
--- request
POST /api/token
{"userId": $user}
--- response_body_like: "status":"ACTIVE"



=== TEST 11: leaving needs no header
--- data
$user = stranger()
--- request
DELETE /api/token/$user
--- error_code: 204



=== TEST 12: the header is known in any case
--- data
$user = user(7)
$schedule = schedule()
$held = hold($user, $schedule, 1)
--- more_headers
USERID: $user
--- request
GET /api/reservations/$held
--- response_body_like: "status":"HELD"



=== TEST 13: the header is not given twice
--- data
$user = user()
--- more_headers
userId: $user
userId: $user
--- request
GET /api/reservations
--- problem: identity_invalid



=== TEST 14: the header is not given twice in different case
--- data
$user = user()
$other = user()
--- more_headers
userId: $user
UserID: $other
--- request
GET /api/reservations
--- problem: identity_invalid



=== TEST 15: the header is not a list
--- data
$user = user()
--- more_headers
userId: $user, $user
--- request
GET /api/reservations
--- problem: identity_invalid



=== TEST 16: the header is a number
--- more_headers
userId: abc
--- request
GET /api/reservations
--- problem: identity_invalid



=== TEST 17: the header is not empty
--- more_headers
userId:
--- request
GET /api/reservations
--- problem: identity_invalid



=== TEST 18: there is no user 0
--- more_headers
userId: 0
--- request
GET /api/reservations
--- problem: identity_invalid



=== TEST 19: the header is not negative
--- more_headers
userId: -1
--- request
GET /api/reservations
--- problem: identity_invalid



=== TEST 20: the header has no leading zero
--- more_headers
userId: 01
--- request
GET /api/reservations
--- problem: identity_invalid



=== TEST 21: the header has no fraction
--- more_headers
userId: 1.0
--- request
GET /api/reservations
--- problem: identity_invalid



=== TEST 22: the header may be 2^53-1
--- more_headers
userId: 9007199254740991
--- request
GET /api/reservations
--- json
[]



=== TEST 23: the header is below 2^53
--- more_headers
userId: 9007199254740992
--- request
GET /api/reservations
--- problem: identity_invalid



=== TEST 24: a header that does not fit any integer is invalid
--- more_headers
userId: 99999999999999999999999999
--- request
GET /api/reservations
--- problem: identity_invalid



=== TEST 25: a header that is not needed must be right all the same
--- data
$user = user()
--- more_headers
userId: abc
--- request
GET /api/balance/$user
--- problem: identity_invalid



=== TEST 26: nobody sees another's balance
--- data
$user = user()
$other = user(1000)
--- caller: $user
--- request
GET /api/balance/$other
--- problem: identity_mismatch



=== TEST 27: nobody charges another's balance
--- data
$user = user()
$other = user(1000)
--- caller: $user
--- request
PUT /api/balance/charge
{"userId": $other, "amount": 1}
--- problem: identity_mismatch
--- sql
select balance from concert.accounts where account_id = $other
--- sql_out: 1000



=== TEST 28: nobody leaves for another
--- data
$user = stranger()
$other = stranger()
--- before
$other POST /api/token {"userId": $other}
--- caller: $user
--- request eval
[ 'DELETE /api/token/$other', 'DELETE /api/token/$other' ]
--- error_code eval
[ 403, 403 ]
--- response_body_like eval
[ qr/"code":"identity_mismatch"/, qr/"code":"identity_mismatch"/ ]



=== TEST 29: nobody enters for another
--- data
$user = stranger()
$other = stranger()
--- caller: $user
--- request
POST /api/token
{"userId": $other}
--- problem: identity_mismatch



=== TEST 30: nobody reserves for another
--- data
$user = user()
$other = user()
$schedule = schedule()
$concert = concert_of($schedule)
--- before
$other POST /api/token {"userId": $other}
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $other, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [1]}
--- problem: identity_mismatch
--- sql
select count(*) from concert.reservations where user_id in ($user, $other)
--- sql_out: 0



=== TEST 31: nobody pays for another
--- data
$user = user(5000)
$other = user(5000)
$held = hold($other, schedule(price => 1500), 1)
--- caller: $user
--- request
POST /api/reservations/payments
{"userId": $other, "reservationId": $held, "amount": 1500}
--- problem: identity_mismatch
--- sql
select sum(balance) from concert.accounts where account_id in ($user, $other)
--- sql_out: 10000



=== TEST 32: another's active token does not help
--- data
$user = user()
$other = user()
$schedule = schedule()
--- before
$other POST /api/token {"userId": $other}
--- caller: $user
--- request
GET /api/concerts/seats/$schedule
--- problem: token_not_active



=== TEST 33: concert_identity header is the default and may be written
--- data
$user = user()
$other = user()
--- http_config
concert_identity header;
--- caller: $user
--- request
GET /api/balance/$other
--- problem: identity_mismatch
