# A user's own reservations, which is how a lost answer is found again.

use Test::Nginx::Socket;
use Concert;

plan tests => 50;

run_tests();

__DATA__

=== TEST 1: a reservation is seen again by its id
--- data
$user = user()
$concert = concert('The concert')
$schedule = schedule(concert => $concert, price => 10)
$held = hold($user, $schedule, 3, 5)
--- caller: $user
--- request
GET /api/reservations/$held
--- json
{"reservationId": $held, "userId": $user, "concertId": $concert,
 "concertTitle": "The concert", "scheduleId": $schedule,
 "seatIdList": [3, 5], "totalPrice": 20, "status": "HELD",
 "reservationExpiry": "<time>"}



=== TEST 2: a reservation whose payment has not ended reads PAYING
--- data
$user = user()
$paying = paying($user, schedule(), 1)
--- caller: $user
--- request
GET /api/reservations/$paying
--- response_body_like: "status":"PAYING"



=== TEST 3: a reservation that ran out reads EXPIRED
--- data
$user = user()
$expired = expired($user, schedule(), 1)
--- caller: $user
--- request
GET /api/reservations/$expired
--- response_body_like: "status":"EXPIRED"



=== TEST 4: somebody else's reservation is not found
--- data
$user = user()
$held = hold(user(), schedule(), 1)
--- caller: $user
--- request
GET /api/reservations/$held
--- problem: reservation_not_found



=== TEST 5: a reservation that does not exist is not found
--- data
$user = user()
--- caller: $user
--- request
GET /api/reservations/9007199254740991
--- problem: reservation_not_found



=== TEST 6: reservations are listed newest first, whatever their status
--- data
$user = user(10)
$concert = concert('The concert')
$schedule = schedule(concert => $concert, price => 10)
$one = paid($user, $schedule, 1)
$two = expired($user, $schedule, 2)
$three = cancelled($user, $schedule, 3)
$four = hold($user, $schedule, 4)
--- caller: $user
--- request
GET /api/reservations
--- response_headers
Content-Type: application/json
! Link
--- json
[{"reservationId": $four, "userId": $user, "concertId": $concert,
  "concertTitle": "The concert", "scheduleId": $schedule, "seatIdList": [4],
  "totalPrice": 10, "status": "HELD", "reservationExpiry": "<time>"},
 {"reservationId": $three, "userId": $user, "concertId": $concert,
  "concertTitle": "The concert", "scheduleId": $schedule, "seatIdList": [3],
  "totalPrice": 10, "status": "CANCELLED", "reservationExpiry": "<time>"},
 {"reservationId": $two, "userId": $user, "concertId": $concert,
  "concertTitle": "The concert", "scheduleId": $schedule, "seatIdList": [2],
  "totalPrice": 10, "status": "EXPIRED", "reservationExpiry": "<time>"},
 {"reservationId": $one, "userId": $user, "concertId": $concert,
  "concertTitle": "The concert", "scheduleId": $schedule, "seatIdList": [1],
  "totalPrice": 10, "status": "PAID", "reservationExpiry": "<time>"}]



=== TEST 7: reservations of others are not listed
--- data
$user = user()
$schedule = schedule()
$other = hold(user(), $schedule, 1)
$own = hold($user, $schedule, 2)
--- caller: $user
--- request
GET /api/reservations
--- response_body_like eval
qr/\A\[\{[^{}]*"seatIdList":\[2\][^{}]*\}\]\z/



=== TEST 8: who has no reservation has an empty list
--- data
$user = user()
--- caller: $user
--- request
GET /api/reservations
--- json
[]



=== TEST 9: a user without an account has an empty list
--- data
$user = stranger()
--- caller: $user
--- request
GET /api/reservations
--- json
[]



=== TEST 10: reservations are listed without a token
--- data
$first = stranger()
$user = user()
$held = hold($user, schedule(), 1)
--- queue: capacity=1
--- before
$first POST /api/token {"userId": $first}
--- caller: $user
--- request
GET /api/reservations
--- response_body_like: "reservationId":



=== TEST 11: a page of reservations has the newest and links to the older
--- data
$user = user()
$schedule = schedule()
$one = hold($user, $schedule, 1)
$two = hold($user, $schedule, 2)
--- caller: $user
--- request
GET /api/reservations?size=1
--- response_headers_like
Link: <\?size=.*>; rel="next"
--- response_body_like eval
qr/\A\[\{[^{}]*"seatIdList":\[2\][^{}]*\}\]\z/



=== TEST 12: a page of reservations goes on after the last one seen
--- data
$user = user()
$schedule = schedule()
$one = hold($user, $schedule, 1)
$two = hold($user, $schedule, 2)
--- caller: $user
--- request
GET /api/reservations?size=1&after=$two
--- response_headers
! Link
--- response_body_like eval
qr/\A\[\{[^{}]*"seatIdList":\[1\][^{}]*\}\]\z/



=== TEST 13: a page of reservations has at most 500
--- data
$user = user()
--- caller: $user
--- request
GET /api/reservations?size=501
--- problem: invalid_request {"field": "size"}



=== TEST 14: a page of reservations begins after an id
--- data
$user = user()
--- caller: $user
--- request
GET /api/reservations?after=1.5
--- problem: invalid_request {"field": "after"}
