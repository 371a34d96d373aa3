# What a user can pay with.

use Test::Nginx::Socket;
use Concert;

plan tests => 29;

run_tests();

__DATA__

=== TEST 1: a balance is what the user has
--- data
$user = user(123456)
--- caller: $user
--- request
GET /api/balance/$user
--- response_headers
Content-Type: application/json
--- json
{"userId": $user, "amount": 123456}



=== TEST 2: a balance may be asked for without the userId header
--- data
$user = user(123456)
--- request
GET /api/balance/$user
--- json
{"userId": $user, "amount": 123456}



=== TEST 3: a new account has nothing
--- data
$user = user()
--- request
GET /api/balance/$user
--- json
{"userId": $user, "amount": 0}



=== TEST 4: the greatest balance is told to the last won
--- data
$user = user(9007199254740991)
--- request
GET /api/balance/$user
--- json
{"userId": $user, "amount": 9007199254740991}



=== TEST 5: a user without an account has no balance
--- data
$user = stranger()
--- request
GET /api/balance/$user
--- problem: user_not_found



=== TEST 6: a balance is asked for without a token
--- data
$first = stranger()
$user = user(7)
--- queue: capacity=1
--- before
$first POST /api/token {"userId": $first}
$user POST /api/token {"userId": $user}
--- request
GET /api/balance/$user
--- json
{"userId": $user, "amount": 7}



=== TEST 7: a balance follows what was charged
--- data
$user = user(1000)
--- before
$user PUT /api/balance/charge {"userId": $user, "amount": 234}
--- request
GET /api/balance/$user
--- json
{"userId": $user, "amount": 1234}



=== TEST 8: a balance follows what was paid
--- data
$user = user(5000)
$paid = paid($user, schedule(price => 1500), 1, 2)
--- request
GET /api/balance/$user
--- json
{"userId": $user, "amount": 2000}



=== TEST 9: a hold does not touch the balance
--- data
$user = user(5000)
$held = hold($user, schedule(price => 1500), 1, 2)
--- request
GET /api/balance/$user
--- json
{"userId": $user, "amount": 5000}
