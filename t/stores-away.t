# What is served while PostgreSQL or Redis is away. How they come back is told
# in stores-back.t.

use Test::Nginx::Socket;
use Concert;

plan tests => 130;

run_tests();

__DATA__

=== TEST 1: without PostgreSQL there is no balance
--- http_config
concert_postgres "host=/nowhere dbname=concert";
--- request
GET /api/balance/5
--- problem: store_unavailable
--- no_error_log
[alert]



=== TEST 2: without PostgreSQL nothing is charged
--- http_config
concert_postgres "host=/nowhere dbname=concert";
--- request
PUT /api/balance/charge
{"userId": 5, "amount": 5}
--- problem: store_unavailable
--- no_error_log
[alert]



=== TEST 3: without PostgreSQL there are no concerts
--- http_config
concert_postgres "host=/nowhere dbname=concert";
--- active: 5
--- request
GET /api/concerts
--- problem: store_unavailable
--- no_error_log
[alert]



=== TEST 4: without PostgreSQL there are no seats
--- http_config
concert_postgres "host=/nowhere dbname=concert";
--- active: 5
--- request
GET /api/concerts/seats/1
--- problem: store_unavailable
--- no_error_log
[alert]



=== TEST 5: without PostgreSQL nothing is reserved
--- http_config
concert_postgres "host=/nowhere dbname=concert";
--- active: 5
--- request
POST /api/reservations/seats
{"userId": 5, "concertId": 1, "scheduleId": 1, "seatIdList": [1]}
--- problem: store_unavailable
--- no_error_log
[alert]



=== TEST 6: without PostgreSQL nothing is paid
--- http_config
concert_postgres "host=/nowhere dbname=concert";
--- caller: 5
--- request
POST /api/reservations/payments
{"userId": 5, "reservationId": 1, "amount": 5}
--- problem: store_unavailable
--- no_error_log
[alert]



=== TEST 7: without PostgreSQL nothing is cancelled
--- http_config
concert_postgres "host=/nowhere dbname=concert";
--- caller: 5
--- request
DELETE /api/reservations/1
--- problem: store_unavailable
--- no_error_log
[alert]



=== TEST 8: without PostgreSQL there are no reservations
--- http_config
concert_postgres "host=/nowhere dbname=concert";
--- caller: 5
--- request
GET /api/reservations
--- problem: store_unavailable
--- no_error_log
[alert]



=== TEST 9: without PostgreSQL there are no payments
--- http_config
concert_postgres "host=/nowhere dbname=concert";
--- caller: 5
--- request
GET /api/reservations/payments/1
--- problem: store_unavailable
--- no_error_log
[alert]



=== TEST 10: without PostgreSQL users enter the queue
--- data
$user = stranger()
--- http_config
concert_postgres "host=/nowhere dbname=concert";
--- request
POST /api/token
{"userId": $user}
--- response_body_like: "status":"ACTIVE"
--- no_error_log
[alert]



=== TEST 11: without PostgreSQL users see their place
--- data
$first = stranger()
$user = stranger()
--- http_config
concert_postgres "host=/nowhere dbname=concert";
--- queue: capacity=1
--- before
$first POST /api/token {"userId": $first}
$user POST /api/token {"userId": $user}
--- request
GET /api/token/$user
--- response_body_like: "position":1,
--- no_error_log
[alert]



=== TEST 12: without PostgreSQL users leave the queue and the next go in
--- data
$first = stranger()
$user = stranger()
--- http_config
concert_postgres "host=/nowhere dbname=concert";
--- queue: capacity=1
--- before
$first POST /api/token {"userId": $first}
$user POST /api/token {"userId": $user}
$first DELETE /api/token/$first
--- request
GET /api/token/status/$user
--- response_body chomp
true
--- no_error_log
[alert]



=== TEST 13: without PostgreSQL a wrong request is still told what is wrong
--- http_config
concert_postgres "host=/nowhere dbname=concert";
--- request
PUT /api/balance/charge
{"userId": 5, "amount": 0}
--- problem: invalid_request {"field": "amount"}
--- no_error_log
[alert]



=== TEST 14: a server that listens no more is away
--- http_config
concert_postgres "host=127.0.0.1 port=1 dbname=concert";
--- request
GET /api/balance/5
--- problem: store_unavailable
--- no_error_log
[alert]



=== TEST 15: a database that does not exist is away
--- http_config
concert_postgres "$TEST_NGINX_CONCERT_PG dbname=concert_no_such_database";
--- request
GET /api/balance/5
--- problem: store_unavailable
--- no_error_log
[alert]



=== TEST 16: a refusal says nothing of where PostgreSQL is
--- http_config
concert_postgres "host=/nowhere dbname=concert_secret";
--- request
GET /api/balance/5
--- error_code: 503
--- response_body_unlike: nowhere|secret|socket|connect|libpq|PGSQL
--- no_error_log
[alert]



=== TEST 17: the log says where PostgreSQL was looked for
--- http_config
concert_postgres "host=/nowhere dbname=concert";
--- request
GET /api/balance/5
--- error_code: 503
--- error_log eval
qr/concert:.*\/nowhere/
--- no_error_log
[alert]



=== TEST 18: without Redis nobody enters
--- http_config
concert_redis unix:/nowhere/redis.sock;
--- request
POST /api/token
{"userId": 5}
--- problem: queue_unavailable
--- no_error_log
[alert]



=== TEST 19: without Redis nobody sees a place
--- http_config
concert_redis unix:/nowhere/redis.sock;
--- request
GET /api/token/5
--- problem: queue_unavailable
--- no_error_log
[alert]



=== TEST 20: without Redis nobody is told to go on or not to
--- http_config
concert_redis unix:/nowhere/redis.sock;
--- request
GET /api/token/status/5
--- problem: queue_unavailable
--- no_error_log
[alert]



=== TEST 21: without Redis nobody leaves
--- http_config
concert_redis unix:/nowhere/redis.sock;
--- request
DELETE /api/token/5
--- problem: queue_unavailable
--- no_error_log
[alert]



=== TEST 22: without Redis nobody is let through to the concerts
--- http_config
concert_redis unix:/nowhere/redis.sock;
--- caller: 5
--- request
GET /api/concerts
--- problem: queue_unavailable
--- no_error_log
[alert]



=== TEST 23: without Redis nobody reserves
--- data
$user = user()
$schedule = schedule()
$concert = concert_of($schedule)
--- http_config
concert_redis unix:/nowhere/redis.sock;
--- caller: $user
--- request
POST /api/reservations/seats
{"userId": $user, "concertId": $concert, "scheduleId": $schedule,
 "seatIdList": [1]}
--- problem: queue_unavailable
--- no_error_log
[alert]
--- sql
select count(*) from concert.seats
where schedule_id = $schedule and reservation_id is not null
--- sql_out: 0



=== TEST 24: without Redis there are balances
--- data
$user = user(7)
--- http_config
concert_redis unix:/nowhere/redis.sock;
--- request
GET /api/balance/$user
--- json
{"userId": $user, "amount": 7}
--- no_error_log
[alert]



=== TEST 25: without Redis balances are charged
--- data
$user = user(7)
--- http_config
concert_redis unix:/nowhere/redis.sock;
--- request
PUT /api/balance/charge
{"userId": $user, "amount": 3}
--- json
{"userId": $user, "amount": 10}
--- no_error_log
[alert]



=== TEST 26: without Redis what is held can be paid
--- data
$user = user(5000)
$held = hold($user, schedule(price => 1500), 1)
--- http_config
concert_redis unix:/nowhere/redis.sock;
--- caller: $user
--- request
POST /api/reservations/payments
{"userId": $user, "reservationId": $held, "amount": 1500}
--- json
{"paymentId": "<id>", "reservationId": $held, "userId": $user,
 "amount": 1500, "status": "PAID", "paymentTime": "<time>"}
--- no_error_log
[alert]



=== TEST 27: without Redis what is held can be given back
--- data
$user = user()
$held = hold($user, schedule(), 1)
--- http_config
concert_redis unix:/nowhere/redis.sock;
--- caller: $user
--- request
DELETE /api/reservations/$held
--- error_code: 204
--- no_error_log
[alert]



=== TEST 28: without Redis reservations are seen
--- data
$user = user()
$held = hold($user, schedule(), 1)
--- http_config
concert_redis unix:/nowhere/redis.sock;
--- caller: $user
--- request
GET /api/reservations
--- response_body_like: "status":"HELD"
--- no_error_log
[alert]



=== TEST 29: a Redis that listens no more is away
--- http_config
concert_redis 127.0.0.1:1;
--- request
POST /api/token
{"userId": 5}
--- problem: queue_unavailable
--- no_error_log
[alert]



=== TEST 30: a refusal says nothing of where Redis is
--- http_config
concert_redis unix:/nowhere/redis.sock;
--- request
POST /api/token
{"userId": 5}
--- error_code: 503
--- response_body_unlike: nowhere|sock|connect|hiredis
--- no_error_log
[alert]



=== TEST 31: the log says where Redis was looked for
--- http_config
concert_redis unix:/nowhere/redis.sock;
--- request
POST /api/token
{"userId": 5}
--- error_code: 503
--- error_log eval
qr/concert:.*\/nowhere\/redis\.sock/
--- no_error_log
[alert]
