# The schedules of a concert.

use Test::Nginx::Socket;
use Concert;

plan tests => 54;

run_tests();

__DATA__

=== TEST 1: the schedules of a concert are listed by id
--- data
$user = stranger()
$concert = concert()
$one = schedule(concert => $concert, seats => 3)
$two = schedule(concert => $concert, seats => 7)
--- active: $user
--- request
GET /api/concerts/schedules/$concert
--- response_headers
Content-Type: application/json
! Link
--- json
[{"scheduleId": $one, "concertId": $concert, "scheduleDate": "<time>",
  "totalSeat": 3},
 {"scheduleId": $two, "concertId": $concert, "scheduleDate": "<time>",
  "totalSeat": 7}]



=== TEST 2: schedules of other concerts are not listed
--- data
$user = stranger()
$concert = concert()
$one = schedule(concert => $concert, seats => 3)
$other = schedule()
--- active: $user
--- request
GET /api/concerts/schedules/$concert
--- json
[{"scheduleId": $one, "concertId": $concert, "scheduleDate": "<time>",
  "totalSeat": 3}]



=== TEST 3: a schedule that has begun is not listed
--- data
$user = stranger()
$concert = concert()
$begun = schedule(concert => $concert, starts => seconds_from_now(-60))
$one = schedule(concert => $concert, seats => 3)
--- active: $user
--- request
GET /api/concerts/schedules/$concert
--- json
[{"scheduleId": $one, "concertId": $concert, "scheduleDate": "<time>",
  "totalSeat": 3}]



=== TEST 4: a concert all of which has begun has an empty list
--- data
$user = stranger()
$concert = concert()
$begun = schedule(concert => $concert, starts => seconds_from_now(-60))
--- active: $user
--- request
GET /api/concerts/schedules/$concert
--- json
[]



=== TEST 5: a concert without schedules has an empty list
--- data
$user = stranger()
$concert = concert()
--- active: $user
--- request
GET /api/concerts/schedules/$concert
--- json
[]



=== TEST 6: a schedule whose sale has not opened is listed
--- data
$user = stranger()
$concert = concert()
$one = schedule(concert => $concert, opens => seconds_from_now(3600))
--- active: $user
--- request
GET /api/concerts/schedules/$concert
--- json
[{"scheduleId": $one, "concertId": $concert, "scheduleDate": "<time>",
  "totalSeat": 5}]



=== TEST 7: a concert that does not exist is not found
--- data
$user = stranger()
$concert = concert() + 1000000
--- active: $user
--- request
GET /api/concerts/schedules/$concert
--- problem: concert_not_found



=== TEST 8: a page of schedules has at most size and links to the next
--- data
$user = stranger()
$concert = concert()
$one = schedule(concert => $concert)
$two = schedule(concert => $concert)
--- active: $user
--- request
GET /api/concerts/schedules/$concert?size=1
--- response_headers_like
Link: <\?size=.*>; rel="next"
--- json
[{"scheduleId": $one, "concertId": $concert, "scheduleDate": "<time>",
  "totalSeat": 5}]



=== TEST 9: schedules go on after the last one seen
--- data
$user = stranger()
$concert = concert()
$one = schedule(concert => $concert)
$two = schedule(concert => $concert)
--- active: $user
--- request
GET /api/concerts/schedules/$concert?after=$one
--- response_headers
! Link
--- json
[{"scheduleId": $two, "concertId": $concert, "scheduleDate": "<time>",
  "totalSeat": 5}]



=== TEST 10: a page behind which all has begun links to no other
--- data
$user = stranger()
$concert = concert()
$one = schedule(concert => $concert)
$begun = schedule(concert => $concert, starts => seconds_from_now(-60))
--- active: $user
--- request
GET /api/concerts/schedules/$concert?size=1
--- response_headers
! Link
--- json
[{"scheduleId": $one, "concertId": $concert, "scheduleDate": "<time>",
  "totalSeat": 5}]



=== TEST 11: the time of a schedule is that at which it begins
--- data
$user = stranger()
$concert = concert()
$one = schedule(concert => $concert, starts => '2091-11-22T19:00:00+09:00')
--- active: $user
--- request
GET /api/concerts/schedules/$concert
--- response_body_like eval
qr/"scheduleDate":"2091-11-22T(?:10:00:00(?:\.0+)?(?:Z|\+00:00)|19:00:00(?:\.0+)?\+09:00)"/



=== TEST 12: schedules are listed for active tokens only
--- data
$user = user()
$concert = concert()
--- caller: $user
--- request
GET /api/concerts/schedules/$concert
--- problem: token_not_active



=== TEST 13: the size of a page of schedules is at most 500
--- data
$user = stranger()
$concert = concert()
--- active: $user
--- request
GET /api/concerts/schedules/$concert?size=501
--- problem: invalid_request {"field": "size"}



=== TEST 14: a page of schedules begins after an id
--- data
$user = stranger()
$concert = concert()
--- active: $user
--- request
GET /api/concerts/schedules/$concert?after=x
--- problem: invalid_request {"field": "after"}



=== TEST 15: a schedule at the end of the last year that there is has its date
--- data
$user = stranger()
$concert = concert()
$last = schedule(concert => $concert, starts => '9999-12-31T23:59:59.999Z')
--- active: $user
--- request
GET /api/concerts/schedules/$concert
--- json
[{"scheduleId": $last, "concertId": $concert, "totalSeat": 5,
  "scheduleDate": "9999-12-31T23:59:59.999+00:00"}]
