# Holding seats. What happens when a hold runs out is told in hold.t, many at
# once in races.t.

use Test::Nginx::Socket;
use Concert;

plan tests => 164;

run_tests();

__DATA__

=== TEST 1: a reservation holds seats
--- data
$user = user()
$concert = concert('The concert')
$schedule = schedule(concert => $concert, price => 60000)
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [2, 4]}
--- response_headers
Content-Type: application/json
--- json
{"reservationId": "<id>", "userId": $user, "concertId": $concert,
 "concertTitle": "The concert", "scheduleId": $schedule,
 "seatIdList": [2, 4], "totalPrice": 120000, "status": "HELD",
 "reservationExpiry": "<time>"}
--- sql
select array_agg(seat_id order by seat_id) from concert.seats
where schedule_id = $schedule and reservation_id is not null
--- sql_out: {2,4}



=== TEST 2: the price of a reservation is the sum of its seats' prices
--- data
$user = user()
$schedule = schedule(price => 100)
$concert = concert_of($schedule)
$changed = sql("select concert.set_price($schedule, 2, 2, 30)")
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [1, 2]}
--- response_body_like: "totalPrice":130,



=== TEST 3: a reservation keeps the price that it was made at
--- data
$user = user()
$schedule = schedule(price => 100)
$held = hold($user, $schedule, 1)
$changed = sql("select concert.set_price($schedule, 1, 5, 30)")
--- caller: $user
--- request
GET /api/reservations/$held
--- response_body_like: "totalPrice":100,



=== TEST 4: a seat that is held is taken
--- data
$user = user()
$schedule = schedule()
$concert = concert_of($schedule)
$held = hold(user(), $schedule, 1)
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [1]}
--- problem: seat_taken {"seatIdList": [1]}



=== TEST 5: a seat that is sold is taken
--- data
$user = user()
$schedule = schedule(price => 10)
$concert = concert_of($schedule)
$sold = paid(user(10), $schedule, 1)
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [1]}
--- problem: seat_taken {"seatIdList": [1]}



=== TEST 6: a seat that one holds oneself is taken
--- data
$user = user()
$schedule = schedule()
$concert = concert_of($schedule)
$held = hold($user, $schedule, 1)
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [1]}
--- problem: seat_taken {"seatIdList": [1]}



=== TEST 7: all seats are held or none, and those that are taken are named
--- data
$user = user()
$schedule = schedule()
$concert = concert_of($schedule)
$held = hold(user(), $schedule, 2, 3)
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [1, 2, 3, 4]}
--- problem: seat_taken {"seatIdList": [2, 3]}
--- sql
select array_agg(seat_id order by seat_id) from concert.seats
where schedule_id = $schedule and reservation_id is not null
--- sql_out: {2,3}



=== TEST 8: a reservation that fails is not among the user's
--- data
$user = user()
$schedule = schedule()
$concert = concert_of($schedule)
$held = hold(user(), $schedule, 2)
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [1, 2]}
--- problem: seat_taken {"seatIdList": [2]}
--- sql
select count(*) from concert.reservations where user_id = $user
--- sql_out: 0



=== TEST 9: a seat of the same number in another schedule is another seat
--- data
$user = user()
$schedule = schedule()
$concert = concert_of($schedule)
$other = schedule(concert => $concert)
$held = hold(user(), $other, 1)
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [1]}
--- response_body_like: "status":"HELD"
--- sql
select count(*) from concert.seats
where schedule_id = $schedule and reservation_id is not null
--- sql_out: 1



=== TEST 10: a seat that was given back can be taken
--- data
$user = user()
$schedule = schedule()
$concert = concert_of($schedule)
$held = cancelled(user(), $schedule, 1)
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [1]}
--- response_body_like: "status":"HELD"



=== TEST 11: a schedule of another concert is not found
--- data
$user = user()
$schedule = schedule()
$concert = concert()
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [1]}
--- problem: schedule_not_found



=== TEST 12: a schedule that does not exist is not found
--- data
$user = user()
$concert = concert()
$schedule = schedule() + 1000000
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [1]}
--- problem: schedule_not_found



=== TEST 13: a seat behind the last one is not found
--- data
$user = user()
$schedule = schedule(seats => 5)
$concert = concert_of($schedule)
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [6]}
--- problem: seat_not_found



=== TEST 14: no seat is held if one does not exist
--- data
$user = user()
$schedule = schedule(seats => 5)
$concert = concert_of($schedule)
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [5, 6]}
--- problem: seat_not_found
--- sql
select count(*) from concert.seats
where schedule_id = $schedule and reservation_id is not null
--- sql_out: 0



=== TEST 15: a seat with the greatest id is not found
--- data
$user = user()
$schedule = schedule()
$concert = concert_of($schedule)
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [9007199254740991]}
--- problem: seat_not_found



=== TEST 16: a request may take 4 seats
--- data
$user = user()
$schedule = schedule()
$concert = concert_of($schedule)
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [1, 2, 3, 4]}
--- response_body_like: "seatIdList":\[1,2,3,4\]



=== TEST 17: a request may not take more than 4 seats
--- data
$user = user()
$schedule = schedule()
$concert = concert_of($schedule)
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [1, 2, 3, 4, 5]}
--- problem: invalid_request {"field": "seatIdList"}



=== TEST 18: concert_max_seats lets a request take more
--- data
$user = user()
$schedule = schedule()
$concert = concert_of($schedule)
--- http_config
concert_max_seats 5;
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [1, 2, 3, 4, 5]}
--- response_body_like: "seatIdList":\[1,2,3,4,5\]



=== TEST 19: concert_max_seats lets a request take only fewer
--- data
$user = user()
$schedule = schedule()
$concert = concert_of($schedule)
--- http_config
concert_max_seats 1;
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [1, 2]}
--- problem: invalid_request {"field": "seatIdList"}



=== TEST 20: a seat is not named twice
--- data
$user = user()
$schedule = schedule()
$concert = concert_of($schedule)
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [1, 2, 1]}
--- problem: invalid_request {"field": "seatIdList"}



=== TEST 21: a list of seats is not empty
--- data
$user = user()
$schedule = schedule()
$concert = concert_of($schedule)
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": []}
--- problem: invalid_request {"field": "seatIdList"}



=== TEST 22: a list of seats is not left out
--- data
$user = user()
$schedule = schedule()
$concert = concert_of($schedule)
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule}
--- problem: invalid_request {"field": "seatIdList"}



=== TEST 23: a list of seats is a list
--- data
$user = user()
$schedule = schedule()
$concert = concert_of($schedule)
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": 1}
--- problem: invalid_request {"field": "seatIdList"}



=== TEST 24: a list of seats has only integers
--- data
$user = user()
$schedule = schedule()
$concert = concert_of($schedule)
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [1, "2"]}
--- problem: invalid_request {"field": "seatIdList"}



=== TEST 25: there is no seat 0
--- data
$user = user()
$schedule = schedule()
$concert = concert_of($schedule)
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [0]}
--- problem: invalid_request {"field": "seatIdList"}



=== TEST 26: a reservation names its concert
--- data
$user = user()
$schedule = schedule()
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "scheduleId": $schedule, "seatIdList": [1]}
--- problem: invalid_request {"field": "concertId"}



=== TEST 27: a reservation names its schedule
--- data
$user = user()
$concert = concert()
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "seatIdList": [1]}
--- problem: invalid_request {"field": "scheduleId"}



=== TEST 28: a reservation names its user
--- data
$user = user()
$schedule = schedule()
$concert = concert_of($schedule)
--- active: $user
--- request
POST /api/reservations/seats
{"concertId": $concert, "scheduleId": $schedule, "seatIdList": [1]}
--- problem: invalid_request {"field": "userId"}



=== TEST 29: without concert_user_limit a user may have any number of seats
--- data
$user = user()
$schedule = schedule(seats => 12)
$concert = concert_of($schedule)
$one = hold($user, $schedule, 1, 2, 3, 4)
$two = hold($user, $schedule, 5, 6, 7, 8)
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [9, 10, 11, 12]}
--- response_body_like: "status":"HELD"



=== TEST 30: concert_user_limit counts seats held and seats paid
--- data
$user = user(10)
$schedule = schedule(price => 10)
$concert = concert_of($schedule)
$held = hold($user, $schedule, 1)
$paid = paid($user, $schedule, 2)
--- http_config
concert_user_limit 2;
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [3]}
--- problem: seat_limit
--- sql
select count(*) from concert.seats
where schedule_id = $schedule and reservation_id is not null
--- sql_out: 2



=== TEST 31: concert_user_limit may be reached
--- data
$user = user()
$schedule = schedule()
$concert = concert_of($schedule)
$held = hold($user, $schedule, 1)
--- http_config
concert_user_limit 3;
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [2, 3]}
--- response_body_like: "status":"HELD"



=== TEST 32: concert_user_limit holds for a single request
--- data
$user = user()
$schedule = schedule()
$concert = concert_of($schedule)
--- http_config
concert_user_limit 2;
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [1, 2, 3]}
--- problem: seat_limit



=== TEST 33: concert_user_limit does not count what ran out or was given back
--- data
$user = user()
$schedule = schedule()
$concert = concert_of($schedule)
$expired = expired($user, $schedule, 1)
$cancelled = cancelled($user, $schedule, 2)
--- http_config
concert_user_limit 1;
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [3]}
--- response_body_like: "status":"HELD"



=== TEST 34: concert_user_limit is for each schedule
--- data
$user = user()
$schedule = schedule()
$concert = concert_of($schedule)
$other = schedule(concert => $concert)
$held = hold($user, $other, 1)
--- http_config
concert_user_limit 1;
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [1]}
--- response_body_like: "status":"HELD"



=== TEST 35: concert_user_limit is for each user
--- data
$user = user()
$schedule = schedule()
$concert = concert_of($schedule)
$held = hold(user(), $schedule, 1)
--- http_config
concert_user_limit 1;
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [2]}
--- response_body_like: "status":"HELD"



=== TEST 36: nothing is sold before the sale opens
--- data
$user = user()
$schedule = schedule(opens => seconds_from_now(3600))
$concert = concert_of($schedule)
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [1]}
--- problem: sale_not_open
--- sql
select count(*) from concert.seats
where schedule_id = $schedule and reservation_id is not null
--- sql_out: 0



=== TEST 37: seats are sold once the sale has opened
--- data
$user = user()
$schedule = schedule(opens => seconds_from_now(-1))
$concert = concert_of($schedule)
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [1]}
--- response_body_like: "status":"HELD"



=== TEST 38: nothing is sold once the schedule has begun
--- data
$user = user()
$schedule = schedule(starts => seconds_from_now(-1))
$concert = concert_of($schedule)
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [1]}
--- problem: sale_closed
--- sql
select count(*) from concert.seats
where schedule_id = $schedule and reservation_id is not null
--- sql_out: 0



=== TEST 39: a user without an account cannot reserve
--- data
$user = stranger()
$schedule = schedule()
$concert = concert_of($schedule)
--- active: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [1]}
--- problem: user_not_found



=== TEST 40: a user without a token cannot reserve
--- data
$user = user()
$schedule = schedule()
$concert = concert_of($schedule)
--- caller: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [1]}
--- problem: token_not_active
--- sql
select count(*) from concert.seats
where schedule_id = $schedule and reservation_id is not null
--- sql_out: 0



=== TEST 41: a user who waits cannot reserve
--- data
$first = stranger()
$user = user()
$schedule = schedule()
$concert = concert_of($schedule)
--- queue: capacity=1
--- before
$first POST /api/token {"userId": $first}
$user POST /api/token {"userId": $user}
--- caller: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [1]}
--- problem: token_not_active



=== TEST 42: a reservation leaves the token active
--- data
$user = user()
$schedule = schedule()
$concert = concert_of($schedule)
--- before
$user POST /api/token {"userId": $user}
$user POST /api/reservations/seats {"userId": $user, "concertId": $concert, "scheduleId": $schedule, "seatIdList": [1]}
--- request
GET /api/token/status/$user
--- response_body chomp
true
