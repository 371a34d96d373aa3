# Refusals of nginx itself wear the same dress as ours.

use Test::Nginx::Socket;
use Concert;

plan tests => 162;

run_tests();

__DATA__

=== TEST 1: an unknown path below /api is a problem
--- request
GET /api/nothing
--- problem: route_not_found



=== TEST 2: an unknown path is a problem whatever the method
--- request
POST /api/concerts/1
{"title": "x"}
--- problem: route_not_found



=== TEST 3: /api itself is a problem
--- request
GET /api
--- problem: route_not_found
--- no_error_log
[alert]



=== TEST 4: /api/ itself is a problem
--- request
GET /api/
--- problem: route_not_found



=== TEST 5: a path that leaves the root is a bad request
--- request
GET /api/../../x
--- problem: invalid_request
--- no_error_log
[alert]



=== TEST 6: a path that is cut off inside of a character is a bad request
--- request
GET /api/token/%3
--- problem: invalid_request



=== TEST 7: a request without a Host is a bad request
--- raw_request eval
"GET /api/token/5 HTTP/1.1\r\nConnection: close\r\n\r\n"
--- problem: invalid_request



=== TEST 8: headers that are too large are a bad request
--- request
GET /api/token/5
--- more_headers eval
'X-Large: ' . 'x' x 40000
--- problem: invalid_request



=== TEST 9: a path that is too long is a problem
--- request eval
'GET /api/token/' . '1' x 40000
--- error_code: 414
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "status":414,



=== TEST 10: a body that nginx refuses is a problem
--- config
client_max_body_size 10;
error_page 413 /concert_problem;
location = /concert_problem { internal; concert problem; }
location = /api/token { concert token_enter; }
--- request
POST /api/token
{"userId": 5}
--- problem: body_too_large
--- no_error_log
[alert]



=== TEST 11: the queue's door is only for POST
--- request
GET /api/token
--- response_headers
Allow: POST
--- problem: method_not_allowed



=== TEST 12: a token is for GET and DELETE
--- request
PUT /api/token/5
{"userId": 5}
--- response_headers
Allow: GET, HEAD, DELETE
--- problem: method_not_allowed



=== TEST 13: a status is for GET
--- request
DELETE /api/token/status/5
--- response_headers
Allow: GET, HEAD
--- problem: method_not_allowed



=== TEST 14: a charge is for PUT
--- request
POST /api/balance/charge
{"userId": 5, "amount": 5}
--- response_headers
Allow: PUT
--- problem: method_not_allowed



=== TEST 15: a balance is for GET
--- request
PUT /api/balance/5
{"userId": 5, "amount": 5}
--- response_headers
Allow: GET, HEAD
--- problem: method_not_allowed



=== TEST 16: concerts are for GET
--- request
POST /api/concerts
{"title": "x"}
--- response_headers
Allow: GET, HEAD
--- problem: method_not_allowed



=== TEST 17: schedules are for GET
--- request
POST /api/concerts/schedules/1
{}
--- response_headers
Allow: GET, HEAD
--- problem: method_not_allowed



=== TEST 18: seats are for GET
--- request
POST /api/concerts/seats/1
{}
--- response_headers
Allow: GET, HEAD
--- problem: method_not_allowed



=== TEST 19: reserving is for POST
--- request
PUT /api/reservations/seats
{}
--- response_headers
Allow: POST
--- problem: method_not_allowed



=== TEST 20: the list of reservations is for GET
--- request
POST /api/reservations
{}
--- response_headers
Allow: GET, HEAD
--- problem: method_not_allowed



=== TEST 21: a reservation is for GET and DELETE
--- request
PUT /api/reservations/1
{}
--- response_headers
Allow: GET, HEAD, DELETE
--- problem: method_not_allowed



=== TEST 22: paying is for POST
--- request
GET /api/reservations/payments
--- response_headers
Allow: POST
--- problem: method_not_allowed



=== TEST 23: a payment is for GET
--- request
DELETE /api/reservations/payments/1
--- response_headers
Allow: GET, HEAD
--- problem: method_not_allowed



=== TEST 24: a method that nobody knows is not allowed
--- request
BREW /api/balance/5
--- response_headers
Allow: GET, HEAD
--- problem: method_not_allowed



=== TEST 25: PATCH is not allowed
--- request
PATCH /api/token/5
{}
--- response_headers
Allow: GET, HEAD, DELETE
--- problem: method_not_allowed



=== TEST 26: OPTIONS is not allowed
--- request
OPTIONS /api/concerts
--- response_headers
Allow: GET, HEAD
--- problem: method_not_allowed



=== TEST 27: TRACE, which nginx refuses by itself, is not allowed either
--- request
TRACE /api/balance/5
--- problem: method_not_allowed



=== TEST 28: a refusal of TRACE does not offer methods that the path does not have
--- request
TRACE /api/balance/5
--- error_code: 405
--- raw_response_headers_unlike: (?mi)^Allow:.*(?:PUT|POST|DELETE)



=== TEST 29: a user who asks too often is told to wait
--- data
$user = user()
--- http_config
limit_req_zone $concert_user_id zone=user:1m rate=1r/m;
--- config
limit_req zone=user;
include $TEST_NGINX_CONCERT_CONF/concert_routes.conf;
--- before
$user GET /api/balance/$user
--- caller: $user
--- request
GET /api/balance/$user
--- problem: rate_limited
--- no_error_log
[alert]



=== TEST 30: a user who asks too often does not keep out another
--- data
$user = user()
$other = user(7)
--- http_config
limit_req_zone $concert_user_id zone=user:1m rate=1r/m;
--- config
limit_req zone=user;
include $TEST_NGINX_CONCERT_CONF/concert_routes.conf;
--- before
$user GET /api/balance/$user
--- caller: $other
--- request
GET /api/balance/$other
--- json
{"userId": $other, "amount": 7}



=== TEST 31: what is refused for its rate is not done
--- data
$user = user()
--- http_config
limit_req_zone $concert_user_id zone=user:1m rate=1r/m;
--- config
limit_req zone=user;
include $TEST_NGINX_CONCERT_CONF/concert_routes.conf;
--- before
$user GET /api/balance/$user
--- caller: $user
--- request
PUT /api/balance/charge
{"userId": $user, "amount": 7}
--- problem: rate_limited
--- no_error_log
[alert]
--- sql
select balance from concert.accounts where account_id = $user
--- sql_out: 0



=== TEST 32: a 503 of nginx is an overload
--- config
include $TEST_NGINX_CONCERT_CONF/concert_routes.conf;
location = /api/closed { return 503; }
--- request
GET /api/closed
--- problem: overloaded



=== TEST 33: a 504 of nginx is a timeout
--- config
include $TEST_NGINX_CONCERT_CONF/concert_routes.conf;
location = /api/slow { return 504; }
--- request
GET /api/slow
--- problem: timeout



=== TEST 34: a 500 of nginx is a problem
--- config
include $TEST_NGINX_CONCERT_CONF/concert_routes.conf;
location = /api/broken { return 500; }
--- request
GET /api/broken
--- error_code: 500
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "status":500,



=== TEST 35: the place where problems are dressed is not for clients
--- request
GET /concert_problem
--- problem: route_not_found



=== TEST 36: a transfer coding that nginx does not know is a problem
--- request
POST /api/token
{"userId": 5}
--- more_headers
Transfer-Encoding: gzip
--- error_code: 400
--- response_headers
Content-Type: application/problem+json
--- response_body_like: "status":400,
--- no_error_log
[alert]
