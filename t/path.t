# Ids at the end of paths.

use Test::Nginx::Socket;
use Concert;

plan tests => 90;

run_tests();

__DATA__

=== TEST 1: an id in a path may be 2^53-1
--- request
GET /api/token/9007199254740991
--- problem: token_not_found



=== TEST 2: an id in a path is below 2^53
--- request
GET /api/token/9007199254740992
--- problem: invalid_request



=== TEST 3: an id in a path fits an integer
--- request
GET /api/token/18446744073709551617
--- problem: invalid_request



=== TEST 4: an id in a path has no leading zero
--- request
GET /api/token/01
--- problem: invalid_request



=== TEST 5: an id in a path is not 0
--- request
GET /api/token/0
--- problem: invalid_request



=== TEST 6: an id in a path is not negative
--- request
GET /api/token/-1
--- problem: invalid_request



=== TEST 7: an id in a path has no plus
--- request
GET /api/token/+1
--- problem: invalid_request



=== TEST 8: an id in a path is a number
--- request
GET /api/token/abc
--- problem: invalid_request



=== TEST 9: an id in a path is nothing but a number
--- request
GET /api/token/1a
--- problem: invalid_request



=== TEST 10: an id in a path has no space behind it
--- request
GET /api/token/1%20
--- problem: invalid_request



=== TEST 11: an id in a path has no fraction
--- request
GET /api/token/1.0
--- problem: invalid_request



=== TEST 12: an id in a path has no exponent
--- request
GET /api/token/1e1
--- problem: invalid_request



=== TEST 13: a balance is of an id without a leading zero
--- data
$user = user()
--- request
GET /api/balance/0$user
--- problem: invalid_request



=== TEST 14: a status is of an id without a leading zero
--- request
GET /api/token/status/05
--- problem: invalid_request



=== TEST 15: schedules are of an id without a leading zero
--- data
$user = user()
--- active: $user
--- request
GET /api/concerts/schedules/01
--- problem: invalid_request



=== TEST 16: seats are of an id without a leading zero
--- data
$user = user()
--- active: $user
--- request
GET /api/concerts/seats/01
--- problem: invalid_request



=== TEST 17: a reservation has an id without a leading zero
--- data
$user = user()
--- caller: $user
--- request
GET /api/reservations/01
--- problem: invalid_request



=== TEST 18: a payment has an id without a leading zero
--- data
$user = user()
--- caller: $user
--- request
GET /api/reservations/payments/01
--- problem: invalid_request



=== TEST 19: nothing is served below an id
--- data
$user = user()
--- request
GET /api/balance/$user/history
--- problem: route_not_found



=== TEST 20: nothing is served at an id with a slash behind it
--- data
$user = user()
--- request
GET /api/balance/$user/
--- problem: route_not_found



=== TEST 21: nothing is served below the id of a status
--- request
GET /api/token/status/5/6
--- problem: route_not_found



=== TEST 22: a query behind an id makes no difference
--- data
$user = user(7)
--- request
GET /api/balance/$user?id=8
--- json
{"userId": $user, "amount": 7}



=== TEST 23: an id may be percent-encoded
--- data
$user = stranger()
--- request
GET /api/token/status/%31%32
--- response_body chomp
false
