# HEAD is GET without the body.

use Test::Nginx::Socket;
use Concert;

plan tests => 41;

run_tests();

__DATA__

=== TEST 1: HEAD of a balance is its GET without the body
--- data
$user = user(1000)
--- request eval
[ 'GET /api/balance/$user', 'HEAD /api/balance/$user' ]
--- error_code eval
[ 200, 200 ]
--- response_headers eval
[ "Content-Type: application/json", "Content-Type: application/json" ]
--- response_body_like eval
[ qr/"amount":1000/, qr/\A\z/ ]



=== TEST 2: HEAD tells the length that GET has
--- data
$user = stranger()
--- request eval
[ 'GET /api/token/status/$user', 'HEAD /api/token/status/$user' ]
--- error_code eval
[ 200, 200 ]
--- response_headers eval
[ "Content-Length: 5", "Content-Length: 5" ]
--- response_body eval
[ "false", "" ]



=== TEST 3: HEAD of a page of seats has its Link
--- data
$user = stranger()
$schedule = schedule()
--- active: $user
--- request
HEAD /api/concerts/seats/$schedule?size=2&after=0
--- response_headers_like
Content-Type: application/json
Link: <\?size=.*>; rel="next"
--- response_body



=== TEST 4: HEAD of a token has no body
--- data
$user = stranger()
--- before
$user POST /api/token {"userId": $user}
--- request
HEAD /api/token/$user
--- response_headers
Content-Type: application/json
--- response_body



=== TEST 5: HEAD of what is not there is a problem without a body
--- data
$user = stranger()
--- request
HEAD /api/balance/$user
--- error_code: 404
--- response_headers
Content-Type: application/problem+json
--- response_body



=== TEST 6: HEAD of an unknown path is a problem without a body
--- request
HEAD /api/nothing
--- error_code: 404
--- response_headers
Content-Type: application/problem+json
--- response_body



=== TEST 7: HEAD of what has no GET is not allowed
--- request
HEAD /api/token
--- error_code: 405
--- response_headers
Content-Type: application/problem+json
Allow: POST
--- response_body



=== TEST 8: HEAD of healthz has no body
--- request
HEAD /healthz
--- response_body
