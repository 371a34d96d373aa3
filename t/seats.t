# Pages of free seats. Walks through them are told in seats-walk.t.

use Test::Nginx::Socket;
use Concert;

plan tests => 81;

run_tests();

__DATA__

=== TEST 1: a seat has a number, a status and a price
--- data
$user = stranger()
$schedule = schedule(seats => 1, price => 60000)
--- active: $user
--- request
GET /api/concerts/seats/$schedule
--- response_headers
Content-Type: application/json
--- json
[{"seatId": 1, "seatNumber": 1, "seatStatus": "AVAILABLE",
  "scheduleId": $schedule, "price": 60000}]



=== TEST 2: each seat has its own price
--- data
$user = stranger()
$schedule = schedule(seats => 2, price => 60000)
$changed = sql("select concert.set_price($schedule, 2, 2, 90000)")
--- active: $user
--- request
GET /api/concerts/seats/$schedule?after=0
--- json
[{"seatId": 1, "seatNumber": 1, "seatStatus": "AVAILABLE",
  "scheduleId": $schedule, "price": 60000},
 {"seatId": 2, "seatNumber": 2, "seatStatus": "AVAILABLE",
  "scheduleId": $schedule, "price": 90000}]



=== TEST 3: after=0 begins at seat 1
--- data
$user = stranger()
$schedule = schedule(seats => 100, price => 5)
--- active: $user
--- request
GET /api/concerts/seats/$schedule?size=1&after=0
--- json
[{"seatId": 1, "seatNumber": 1, "seatStatus": "AVAILABLE",
  "scheduleId": $schedule, "price": 5}]



=== TEST 4: a plain after goes on behind the last seat seen
--- data
$user = stranger()
$schedule = schedule(seats => 100, price => 5)
--- active: $user
--- request
GET /api/concerts/seats/$schedule?size=2&after=41
--- response_headers_like
Link: <\?size=.*>; rel="next"
--- json
[{"seatId": 42, "seatNumber": 42, "seatStatus": "AVAILABLE",
  "scheduleId": $schedule, "price": 5},
 {"seatId": 43, "seatNumber": 43, "seatStatus": "AVAILABLE",
  "scheduleId": $schedule, "price": 5}]



=== TEST 5: a plain after never wraps
--- data
$user = stranger()
$schedule = schedule(seats => 5, price => 5)
--- active: $user
--- request
GET /api/concerts/seats/$schedule?after=4
--- response_headers
! Link
--- json
[{"seatId": 5, "seatNumber": 5, "seatStatus": "AVAILABLE",
  "scheduleId": $schedule, "price": 5}]



=== TEST 6: after the last seat there is an empty list
--- data
$user = stranger()
$schedule = schedule(seats => 5)
--- active: $user
--- request
GET /api/concerts/seats/$schedule?after=5
--- response_headers
! Link
--- json
[]



=== TEST 7: after may be 2^53-1
--- data
$user = stranger()
$schedule = schedule(seats => 5)
--- active: $user
--- request
GET /api/concerts/seats/$schedule?after=9007199254740991
--- json
[]



=== TEST 8: a page that ends with the last seat links to no other
--- data
$user = stranger()
$schedule = schedule(seats => 4, price => 5)
--- active: $user
--- request
GET /api/concerts/seats/$schedule?size=2&after=2
--- response_headers
! Link
--- json
[{"seatId": 3, "seatNumber": 3, "seatStatus": "AVAILABLE",
  "scheduleId": $schedule, "price": 5},
 {"seatId": 4, "seatNumber": 4, "seatStatus": "AVAILABLE",
  "scheduleId": $schedule, "price": 5}]



=== TEST 9: seats that are held are not listed
--- data
$user = stranger()
$schedule = schedule(seats => 3, price => 5)
$held = hold(user(), $schedule, 1, 2)
--- active: $user
--- request
GET /api/concerts/seats/$schedule?after=0
--- json
[{"seatId": 3, "seatNumber": 3, "seatStatus": "AVAILABLE",
  "scheduleId": $schedule, "price": 5}]



=== TEST 10: seats that are sold are not listed
--- data
$user = stranger()
$schedule = schedule(seats => 3, price => 5)
$sold = paid(user(10), $schedule, 1, 2)
--- active: $user
--- request
GET /api/concerts/seats/$schedule?after=0
--- json
[{"seatId": 3, "seatNumber": 3, "seatStatus": "AVAILABLE",
  "scheduleId": $schedule, "price": 5}]



=== TEST 11: seats whose hold was cancelled are listed
--- data
$user = stranger()
$schedule = schedule(seats => 1, price => 5)
$held = cancelled(user(), $schedule, 1)
--- active: $user
--- request
GET /api/concerts/seats/$schedule?after=0
--- json
[{"seatId": 1, "seatNumber": 1, "seatStatus": "AVAILABLE",
  "scheduleId": $schedule, "price": 5}]



=== TEST 12: a sold-out schedule has an empty list
--- data
$user = stranger()
$schedule = schedule(seats => 2, price => 5)
$sold = paid(user(10), $schedule, 1, 2)
--- active: $user
--- request
GET /api/concerts/seats/$schedule
--- response_headers
! Link
--- json
[]



=== TEST 13: a schedule that does not exist is not found
--- data
$user = stranger()
$schedule = schedule() + 1000000
--- active: $user
--- request
GET /api/concerts/seats/$schedule
--- problem: schedule_not_found



=== TEST 14: seats are never cached
--- data
$user = stranger()
$schedule = schedule()
--- active: $user
--- request
GET /api/concerts/seats/$schedule
--- response_headers
Cache-Control: no-store



=== TEST 15: seats are listed for active tokens only
--- data
$user = user()
$schedule = schedule()
--- caller: $user
--- request
GET /api/concerts/seats/$schedule
--- problem: token_not_active



=== TEST 16: a page of seats has 100 unless it is told otherwise
--- data
$user = stranger()
$schedule = schedule(seats => 101)
--- active: $user
--- request
GET /api/concerts/seats/$schedule?after=0
--- response_headers_like
Link: <.*>; rel="?next"?
--- response_body_like eval
qr/\A\[(?:\{[^{}]*\},){99}\{"seatId":100,[^{}]*\}\]\z/



=== TEST 17: a page of seats has at most 500
--- data
$user = stranger()
$schedule = schedule()
--- active: $user
--- request
GET /api/concerts/seats/$schedule?size=501
--- problem: invalid_request {"field": "size"}



=== TEST 18: a page of seats has at least 1
--- data
$user = stranger()
$schedule = schedule()
--- active: $user
--- request
GET /api/concerts/seats/$schedule?size=0
--- problem: invalid_request {"field": "size"}



=== TEST 19: the size of a page of seats has no leading zero
--- data
$user = stranger()
$schedule = schedule()
--- active: $user
--- request
GET /api/concerts/seats/$schedule?size=05
--- problem: invalid_request {"field": "size"}



=== TEST 20: a page of seats does not begin below 0
--- data
$user = stranger()
$schedule = schedule()
--- active: $user
--- request
GET /api/concerts/seats/$schedule?after=-1
--- problem: invalid_request {"field": "after"}



=== TEST 21: a page of seats begins after a number
--- data
$user = stranger()
$schedule = schedule()
--- active: $user
--- request
GET /api/concerts/seats/$schedule?after=A1
--- problem: invalid_request {"field": "after"}



=== TEST 22: a walk of seats ends at a number
--- data
$user = stranger()
$schedule = schedule()
--- active: $user
--- request
GET /api/concerts/seats/$schedule?after=1&end=x
--- problem: invalid_request {"field": "end"}
