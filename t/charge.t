# Adding to a balance.

use Test::Nginx::Socket;
use Concert;

plan tests => 68;

run_tests();

__DATA__

=== TEST 1: a charge answers with the new balance
--- data
$user = user(1000)
--- caller: $user
--- request
PUT /api/balance/charge
{"userId": $user, "amount": 6000}
--- json
{"userId": $user, "amount": 7000}



=== TEST 2: a charge comes through the gateway's account
--- data
$user = user()
--- caller: $user
--- request
PUT /api/balance/charge
{"userId": $user, "amount": 6000}
--- json
{"userId": $user, "amount": 6000}
--- sql
select debit_account, amount from concert.transfers where credit_account = $user
--- sql_out
-1|6000



=== TEST 3: a charge needs no userId header
--- data
$user = user()
--- request
PUT /api/balance/charge
{"userId": $user, "amount": 6000}
--- json
{"userId": $user, "amount": 6000}



=== TEST 4: each charge adds
--- data
$user = user()
--- before
$user PUT /api/balance/charge {"userId": $user, "amount": 6000}
--- request
PUT /api/balance/charge
{"userId": $user, "amount": 6000}
--- json
{"userId": $user, "amount": 12000}



=== TEST 5: the least charge is 1
--- data
$user = user()
--- request
PUT /api/balance/charge
{"userId": $user, "amount": 1}
--- json
{"userId": $user, "amount": 1}



=== TEST 6: a charge of 0 is refused
--- data
$user = user()
--- request
PUT /api/balance/charge
{"userId": $user, "amount": 0}
--- problem: invalid_request {"field": "amount"}



=== TEST 7: a charge below 0 is refused and takes nothing
--- data
$user = user(1000)
--- request
PUT /api/balance/charge
{"userId": $user, "amount": -1}
--- problem: invalid_request {"field": "amount"}
--- sql
select balance from concert.accounts where account_id = $user
--- sql_out: 1000



=== TEST 8: a charge needs an amount
--- data
$user = user()
--- request
PUT /api/balance/charge
{"userId": $user}
--- problem: invalid_request {"field": "amount"}



=== TEST 9: an amount is no string
--- data
$user = user()
--- request
PUT /api/balance/charge
{"userId": $user, "amount": "6000"}
--- problem: invalid_request {"field": "amount"}



=== TEST 10: an amount has no fraction
--- data
$user = user()
--- request
PUT /api/balance/charge
{"userId": $user, "amount": 6000.0}
--- problem: invalid_request {"field": "amount"}



=== TEST 11: an amount is not null
--- data
$user = user()
--- request
PUT /api/balance/charge
{"userId": $user, "amount": null}
--- problem: invalid_request {"field": "amount"}



=== TEST 12: an amount of 2^53 is refused
--- data
$user = user()
--- request
PUT /api/balance/charge
{"userId": $user, "amount": 9007199254740992}
--- problem: invalid_request {"field": "amount"}



=== TEST 13: a charge needs a userId
--- request
PUT /api/balance/charge
{"amount": 6000}
--- problem: invalid_request {"field": "userId"}



=== TEST 14: a user without an account cannot be charged
--- data
$user = stranger()
--- request
PUT /api/balance/charge
{"userId": $user, "amount": 6000}
--- problem: user_not_found



=== TEST 15: a balance may reach 2^53-1
--- data
$user = user(1000)
--- request
PUT /api/balance/charge
{"userId": $user, "amount": 9007199254739991}
--- json
{"userId": $user, "amount": 9007199254740991}



=== TEST 16: a balance never goes above 2^53-1
--- data
$user = user(1000)
--- request
PUT /api/balance/charge
{"userId": $user, "amount": 9007199254739992}
--- problem: balance_limit
--- sql
select balance from concert.accounts where account_id = $user
--- sql_out: 1000



=== TEST 17: an amount of 2^53-1 on top of 2^53-1 is refused
--- data
$user = user(9007199254740991)
--- request
PUT /api/balance/charge
{"userId": $user, "amount": 9007199254740991}
--- problem: balance_limit



=== TEST 18: concert_charge free credits at once
--- data
$user = user()
--- http_config
concert_charge free;
--- request
PUT /api/balance/charge
{"userId": $user, "amount": 500}
--- json
{"userId": $user, "amount": 500}
