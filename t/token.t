# A user's own place in the queue. How places move is told in queue.t.

use Test::Nginx::Socket;
use Concert;

plan tests => 63;

run_tests();

__DATA__

=== TEST 1: a user who enters while there is room is active at once
--- data
$user = stranger()
--- request
POST /api/token
{"userId": $user}
--- json
{"userId": $user, "status": "ACTIVE", "position": 0, "waitingTime": 0,
 "expiresAt": "<time>", "nextPoll": "<number>"}



=== TEST 2: a user who enters while there is no room waits
--- data
$first = stranger()
$user = stranger()
--- queue: capacity=1
--- before
$first POST /api/token {"userId": $first}
--- request
POST /api/token
{"userId": $user}
--- json
{"userId": $user, "status": "WAITING", "position": 1,
 "waitingTime": "<id>", "expiresAt": null, "nextPoll": "<id>"}



=== TEST 3: who waits is told when to ask again
--- data
$first = stranger()
$user = stranger()
--- queue: capacity=1
--- before
$first POST /api/token {"userId": $first}
$user POST /api/token {"userId": $user}
--- request
GET /api/token/$user
--- raw_response_headers_like: (?m)^Retry-After: [1-9]\d*\r$



=== TEST 4: the position of who waits counts those before
--- data
$first = stranger()
$second = stranger()
$third = stranger()
$user = stranger()
--- queue: capacity=1
--- before
$first POST /api/token {"userId": $first}
$second POST /api/token {"userId": $second}
$third POST /api/token {"userId": $third}
--- request
POST /api/token
{"userId": $user}
--- json
{"userId": $user, "status": "WAITING", "position": 3,
 "waitingTime": "<id>", "expiresAt": null, "nextPoll": "<id>"}



=== TEST 5: who waits and enters again keeps the place
--- data
$first = stranger()
$user = stranger()
$later = stranger()
--- queue: capacity=1
--- before
$first POST /api/token {"userId": $first}
$user POST /api/token {"userId": $user}
$later POST /api/token {"userId": $later}
--- request
POST /api/token
{"userId": $user}
--- json
{"userId": $user, "status": "WAITING", "position": 1,
 "waitingTime": "<id>", "expiresAt": null, "nextPoll": "<id>"}



=== TEST 6: who is active and enters again stays active
--- data
$user = stranger()
$later = stranger()
--- queue: capacity=1
--- before
$user POST /api/token {"userId": $user}
$later POST /api/token {"userId": $later}
--- request
POST /api/token
{"userId": $user}
--- json
{"userId": $user, "status": "ACTIVE", "position": 0, "waitingTime": 0,
 "expiresAt": "<time>", "nextPoll": "<number>"}



=== TEST 7: looking at a waiting token tells its place
--- data
$first = stranger()
$user = stranger()
--- queue: capacity=1
--- before
$first POST /api/token {"userId": $first}
$user POST /api/token {"userId": $user}
--- request
GET /api/token/$user
--- json
{"userId": $user, "status": "WAITING", "position": 1,
 "waitingTime": "<id>", "expiresAt": null, "nextPoll": "<id>"}



=== TEST 8: looking at an active token tells until when
--- data
$user = stranger()
--- before
$user POST /api/token {"userId": $user}
--- request
GET /api/token/$user
--- json
{"userId": $user, "status": "ACTIVE", "position": 0, "waitingTime": 0,
 "expiresAt": "<time>", "nextPoll": "<number>"}



=== TEST 9: a user who has not entered has no token
--- data
$user = stranger()
--- request
GET /api/token/$user
--- problem: token_not_found



=== TEST 10: the status of an active token is a bare true
--- data
$user = stranger()
--- before
$user POST /api/token {"userId": $user}
--- request
GET /api/token/status/$user
--- response_headers
Content-Type: application/json
--- response_body chomp
true



=== TEST 11: the status of a waiting token is a bare false
--- data
$first = stranger()
$user = stranger()
--- queue: capacity=1
--- before
$first POST /api/token {"userId": $first}
$user POST /api/token {"userId": $user}
--- request
GET /api/token/status/$user
--- response_body chomp
false



=== TEST 12: the status of a user without a token is a bare false
--- data
$user = stranger()
--- request
GET /api/token/status/$user
--- response_body chomp
false



=== TEST 13: an active user may leave
--- data
$user = stranger()
--- before
$user POST /api/token {"userId": $user}
--- caller: $user
--- request
DELETE /api/token/$user
--- error_code: 204
--- response_body



=== TEST 14: a waiting user may leave
--- data
$first = stranger()
$user = stranger()
--- queue: capacity=1
--- before
$first POST /api/token {"userId": $first}
$user POST /api/token {"userId": $user}
--- caller: $user
--- request
DELETE /api/token/$user
--- error_code: 204
--- response_body



=== TEST 15: leaving twice is no error
--- data
$user = stranger()
--- before
$user POST /api/token {"userId": $user}
$user DELETE /api/token/$user
--- caller: $user
--- request
DELETE /api/token/$user
--- error_code: 204
--- response_body



=== TEST 16: leaving without ever having entered is no error
--- data
$user = stranger()
--- caller: $user
--- request
DELETE /api/token/$user
--- error_code: 204



=== TEST 17: who has left has no token
--- data
$user = stranger()
--- before
$user POST /api/token {"userId": $user}
$user DELETE /api/token/$user
--- request
GET /api/token/$user
--- problem: token_not_found



=== TEST 18: who has left may not go on
--- data
$user = stranger()
--- before
$user POST /api/token {"userId": $user}
$user DELETE /api/token/$user
--- request
GET /api/token/status/$user
--- response_body chomp
false



=== TEST 19: entering needs a userId
--- request
POST /api/token
{"user": 5}
--- problem: invalid_request {"field": "userId"}



=== TEST 20: queues of different names know nothing of each other
--- data
$user = stranger()
--- http_config
concert_queue name=another-queue-$user;
--- before
$user POST /api/token {"userId": $user}
--- request
GET /api/token/status/$user
--- response_body chomp
true
