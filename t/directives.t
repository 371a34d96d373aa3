# What nginx refuses to start with, and what it says to write instead.

use Test::Nginx::Socket;
use Concert;

plan tests => 285;

run_tests();

__DATA__

=== TEST 1: with PostgreSQL and Redis named, everything else has a default
--- data
$user = user(7)
--- without: concert_queue concert_timeout
--- request
GET /api/balance/$user
--- json
{"userId": $user, "amount": 7}



=== TEST 2: every directive can be written
--- data
$user = user(7)
--- main_config
thread_pool concert_io threads=6;
--- without: concert_postgres concert_redis concert_queue
--- http_config
concert_zone concert 4m;
concert_postgres "$TEST_NGINX_CONCERT_PG" read=1 write=4 batch=2 max_queue=100;
concert_redis $TEST_NGINX_CONCERT_REDIS lanes=1 batch=32 max_queue=100;
concert_queue capacity=10 rate=100/s ttl=1h claim=1m poll=2s
              name=every-directive_1;
concert_hold 90s;
concert_timeout 30500ms;
concert_catalog_cache 500ms;
concert_max_seats 8;
concert_user_limit 8;
concert_charge free;
concert_identity header;
--- request
GET /api/balance/$user
--- json
{"userId": $user, "amount": 7}



=== TEST 3: a queue alone needs no PostgreSQL
--- data
$user = stranger()
--- without: concert_postgres
--- config
location = /api/token { concert token_enter; }
--- request
POST /api/token
{"userId": $user}
--- response_body_like: "status":"ACTIVE"



=== TEST 4: a balance alone needs no Redis
--- data
$user = user(7)
--- without: concert_redis
--- config
location /api/balance/ { concert balance; }
--- request
GET /api/balance/$user
--- json
{"userId": $user, "amount": 7}



=== TEST 5: a route in a location of its own path takes the id at the end
--- data
$user = user(7)
--- config
location /money/of/ { concert balance; }
--- request
GET /money/of/$user
--- json
{"userId": $user, "amount": 7}



=== TEST 6: nginx without any route needs nothing
--- main_config
--- without: concert_postgres concert_redis concert_queue
--- config
location = /plain { return 204; }
--- request
GET /plain
--- error_code: 204



=== TEST 7: a route that needs PostgreSQL says so
--- without: concert_postgres
--- config
location /api/balance/ { concert balance; }
--- must_die
--- error_log eval
qr/\[emerg\].*"concert balance" needs PostgreSQL: write concert_postgres /



=== TEST 8: a route that needs Redis says so
--- without: concert_redis
--- config
location = /api/token { concert token_enter; }
--- must_die
--- error_log eval
qr/\[emerg\].*"concert token_enter" needs Redis: write concert_redis /



=== TEST 9: all routes without PostgreSQL are refused
--- without: concert_postgres
--- must_die
--- error_log eval
qr/\[emerg\].*needs PostgreSQL: write concert_postgres /



=== TEST 10: all routes without Redis are refused
--- without: concert_redis
--- must_die
--- error_log eval
qr/\[emerg\].*needs Redis: write concert_redis /



=== TEST 11: a missing thread pool is told with the size that it needs
--- main_config
--- http_config
concert_postgres "$TEST_NGINX_CONCERT_PG";
--- must_die
--- error_log eval
qr/\[emerg\].*write "thread_pool concert_io threads=7;"/



=== TEST 12: a missing thread pool is told with the size of the lanes that are set
--- main_config
--- http_config
concert_postgres "$TEST_NGINX_CONCERT_PG" read=1 write=2;
--- must_die
--- error_log eval
qr/\[emerg\].*write "thread_pool concert_io threads=4;"/



=== TEST 13: an unknown route is refused
--- config
location = /api/x { concert tickets; }
--- must_die
--- error_log eval
qr/\[emerg\].*there is no route "tickets": write /



=== TEST 14: a route has a name
--- config
location = /api/x { concert; }
--- must_die
--- error_log eval
qr/\[emerg\].*invalid number of arguments in "concert" directive/



=== TEST 15: a location has one route
--- config
location = /api/x { concert seats; concert seats; }
--- must_die
--- error_log eval
qr/\[emerg\].*"concert" directive is duplicate/



=== TEST 16: a route is of a location, not of a server
--- config
concert seats;
--- must_die
--- error_log eval
qr/\[emerg\].*"concert" directive is not allowed here/



=== TEST 17: concert_postgres takes a connection string that libpq can read
--- http_config
concert_postgres "host=/nowhere dbnam=concert";
--- must_die
--- error_log eval
qr/\[emerg\].*invalid connection string: .*"dbnam": write it as "host=/



=== TEST 18: concert_postgres takes a connection string
--- http_config
concert_postgres ;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid number of arguments in "concert_postgres" directive/



=== TEST 19: concert_postgres is given once
--- http_config
concert_postgres "$TEST_NGINX_CONCERT_PG";
concert_postgres "$TEST_NGINX_CONCERT_PG";
--- must_die
--- error_log eval
qr/\[emerg\].*"concert_postgres" directive is duplicate/



=== TEST 20: concert_postgres is of http, not of a server
--- config
concert_postgres "$TEST_NGINX_CONCERT_PG";
--- must_die
--- error_log eval
qr/\[emerg\].*"concert_postgres" directive is not allowed here/



=== TEST 21: PostgreSQL has at least one lane that reads
--- http_config
concert_postgres "$TEST_NGINX_CONCERT_PG" read=0;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "read=0": write read= and a number from 1 /



=== TEST 22: PostgreSQL has at least one lane that writes
--- http_config
concert_postgres "$TEST_NGINX_CONCERT_PG" write=0;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "write=0": write write= and a number from 1 /



=== TEST 23: a batch of PostgreSQL has at least one call
--- http_config
concert_postgres "$TEST_NGINX_CONCERT_PG" batch=0;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "batch=0": write batch= and a number from 1 /



=== TEST 24: the number of lanes is a number
--- http_config
concert_postgres "$TEST_NGINX_CONCERT_PG" read=two;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "read=two": write read= and a number /



=== TEST 25: the number of lanes has a limit
--- http_config
concert_postgres "$TEST_NGINX_CONCERT_PG" write=100000;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "write=100000": write write= and a number /



=== TEST 26: a queue of calls has at least one place
--- http_config
concert_postgres "$TEST_NGINX_CONCERT_PG" max_queue=0;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "max_queue=0": write max_queue= and a number from 1 /



=== TEST 27: concert_postgres knows its parameters
--- http_config
concert_postgres "$TEST_NGINX_CONCERT_PG" reed=2;
--- must_die
--- error_log eval
qr/\[emerg\].*unknown parameter "reed=2"/



=== TEST 28: concert_redis takes an address
--- http_config
concert_redis ;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid number of arguments in "concert_redis" directive/



=== TEST 29: concert_redis takes an address that can be one
--- http_config
concert_redis localhost:port;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid address of Redis "localhost:port".*write unix:\S* or host:port/



=== TEST 30: the address of Redis is no URL
--- http_config
concert_redis localhost:6379/0;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid address of Redis "localhost:6379\/0".*write unix:/



=== TEST 31: the path of a socket is not empty
--- http_config
concert_redis unix:;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid address of Redis "unix:".*write unix:/



=== TEST 32: the path of a socket fits its address
--- http_config eval
'concert_redis unix:/' . 'x' x 107 . ';'
--- must_die
--- error_log eval
qr/\[emerg\].*too long: write one of at most 107 bytes/



=== TEST 33: concert_redis is given once
--- http_config
concert_redis $TEST_NGINX_CONCERT_REDIS;
concert_redis $TEST_NGINX_CONCERT_REDIS;
--- must_die
--- error_log eval
qr/\[emerg\].*"concert_redis" directive is duplicate/



=== TEST 34: Redis has at least one lane
--- http_config
concert_redis $TEST_NGINX_CONCERT_REDIS lanes=0;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "lanes=0": write lanes= and a number from 1 /



=== TEST 35: concert_redis knows its parameters
--- http_config
concert_redis $TEST_NGINX_CONCERT_REDIS lane=1;
--- must_die
--- error_log eval
qr/\[emerg\].*unknown parameter "lane=1"/



=== TEST 36: concert_queue has room for at least one
--- queue: capacity=0
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "capacity=0": write capacity= and a number from 1 /



=== TEST 37: the capacity of a queue is a number
--- queue: capacity=many
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "capacity=many": write capacity= and a number /



=== TEST 38: the capacity of a queue is not negative
--- queue: capacity=-1
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "capacity=-1": write capacity= and a number /



=== TEST 39: a token lives for more than no time
--- queue: ttl=0
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "ttl=0": write a time, as ttl=10m/



=== TEST 40: the life of a token is a time
--- queue: ttl=soon
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "ttl=soon": write a time, as ttl=10m/



=== TEST 41: the rate of a queue is more than nothing
--- queue: rate=0/s
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "rate=0\/s": write how many may be let in in a second or a minute, up to 1000000, as rate=100\/s/



=== TEST 42: a rate says of what time it is
--- queue: rate=10
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "rate=10": write how many may be let in in a second or a minute, up to 1000000, as rate=100\/s/



=== TEST 43: a rate is that of a second or a minute
--- queue: rate=10/h
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "rate=10\/h": write how many may be let in in a second or a minute, up to 1000000, as rate=100\/s/



=== TEST 44: the rate of a queue is at most a million
--- queue: rate=1000001/s
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "rate=1000001\/s": write how many may be let in in a second or a minute, up to 1000000, as rate=100\/s/



=== TEST 45: the rate of a queue is not negative
--- queue: rate=-1/s
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "rate=-1\/s": write how many may be let in in a second or a minute, up to 1000000, as rate=100\/s/



=== TEST 46: the rate of a queue is a whole number
--- queue: rate=1.5/s
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "rate=1\.5\/s": write how many may be let in in a second or a minute, up to 1000000, as rate=100\/s/



=== TEST 47: a rate has a number
--- queue: rate=/s
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "rate=\/s": write how many may be let in in a second or a minute, up to 1000000, as rate=100\/s/



=== TEST 48: who is let in has more than no time to come
--- queue: claim=0
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "claim=0": write a time, as claim=30s/



=== TEST 49: the time to come is a time
--- queue: claim=x
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "claim=x": write a time, as claim=30s/



=== TEST 50: polls are more than no time apart
--- queue: poll=0
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "poll=0": write a time, as poll=1s/



=== TEST 51: the time between polls is a time
--- queue: poll=often
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "poll=often": write a time, as poll=1s/



=== TEST 52: the most that may be let in in a second
--- data
$user = stranger()
--- queue: rate=1000000/s
--- request
POST /api/token
{"userId": $user}
--- response_body_like: "status":"ACTIVE"



=== TEST 53: one who is let in in a minute is a rate
--- data
$user = stranger()
--- queue: rate=1/m
--- request
POST /api/token
{"userId": $user}
--- response_body_like: "status":"ACTIVE"



=== TEST 54: every parameter of a queue can be written
--- data
$user = stranger()
--- queue: capacity=10000000 rate=90/m ttl=90s claim=1500ms poll=500ms
--- request
POST /api/token
{"userId": $user}
--- response_body_like: "status":"ACTIVE"



=== TEST 55: a time to come may be longer than a token lives
--- data
$user = stranger()
--- queue: ttl=1m claim=1h
--- request
POST /api/token
{"userId": $user}
--- response_body_like: "status":"ACTIVE"



=== TEST 56: a queue's name is not empty
--- without: concert_queue
--- http_config
concert_queue name=;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid queue name "": write /



=== TEST 57: a queue's name has no colon
--- without: concert_queue
--- http_config
concert_queue name=main:1;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid queue name "main:1": write .*name=main/



=== TEST 58: a queue's name has at most 64 characters
--- without: concert_queue
--- http_config eval
'concert_queue name=' . 'q' x 65 . ';'
--- must_die
--- error_log eval
qr/\[emerg\].*invalid queue name "q{65}": write 1 to 64 /



=== TEST 59: concert_queue knows its parameters
--- queue: size=5
--- must_die
--- error_log eval
qr/\[emerg\].*unknown parameter "size=5"/



=== TEST 60: concert_queue is given once
--- http_config
concert_queue name=one;
concert_queue name=two;
--- must_die
--- error_log eval
qr/\[emerg\].*"concert_queue" directive is duplicate/



=== TEST 61: concert_hold is a time
--- http_config
concert_hold five;
--- must_die
--- error_log eval
qr/\[emerg\].*"concert_hold" directive invalid value/



=== TEST 62: concert_hold is more than no time
--- http_config
concert_hold 0;
--- must_die
--- error_log eval
qr/\[emerg\].*must be longer than 0: write a time/



=== TEST 63: concert_hold is given once
--- http_config
concert_hold 5m;
concert_hold 5m;
--- must_die
--- error_log eval
qr/\[emerg\].*"concert_hold" directive is duplicate/



=== TEST 64: concert_timeout is a time
--- http_config
concert_timeout soon;
--- must_die
--- error_log eval
qr/\[emerg\].*"concert_timeout" directive invalid value/



=== TEST 65: concert_timeout is more than no time
--- http_config
concert_timeout 0s;
--- must_die
--- error_log eval
qr/\[emerg\].*must be longer than 0: write a time/



=== TEST 66: concert_timeout is given once
--- http_config
concert_timeout 3s;
concert_timeout 3s;
--- must_die
--- error_log eval
qr/\[emerg\].*"concert_timeout" directive is duplicate/



=== TEST 67: concert_max_seats is at least 1
--- http_config
concert_max_seats 0;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid number of seats 0: write 1 to /



=== TEST 68: concert_max_seats is a number
--- http_config
concert_max_seats all;
--- must_die
--- error_log eval
qr/\[emerg\].*"concert_max_seats" directive invalid number/



=== TEST 69: concert_max_seats has a limit
--- http_config
concert_max_seats 100000;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid number of seats 100000: write 1 to /



=== TEST 70: concert_max_seats is given once
--- http_config
concert_max_seats 4;
concert_max_seats 4;
--- must_die
--- error_log eval
qr/\[emerg\].*"concert_max_seats" directive is duplicate/



=== TEST 71: concert_user_limit is at least 1
--- http_config
concert_user_limit 0;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid number of seats 0: write 1 to /



=== TEST 72: concert_user_limit is a number
--- http_config
concert_user_limit -1;
--- must_die
--- error_log eval
qr/\[emerg\].*"concert_user_limit" directive invalid number/



=== TEST 73: concert_user_limit is given once
--- http_config
concert_user_limit 4;
concert_user_limit 4;
--- must_die
--- error_log eval
qr/\[emerg\].*"concert_user_limit" directive is duplicate/



=== TEST 74: concert_charge has only the values that it knows
--- http_config
concert_charge gold;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid value "gold": write "concert_charge free"/



=== TEST 75: concert_charge is given once
--- http_config
concert_charge free;
concert_charge free;
--- must_die
--- error_log eval
qr/\[emerg\].*"concert_charge" directive is duplicate/



=== TEST 76: concert_identity has only the values that it knows
--- http_config
concert_identity cookie;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid value "cookie": write "concert_identity header"/



=== TEST 77: concert_identity header takes nothing more
--- http_config
concert_identity header userId;
--- must_die
--- error_log eval
qr/\[emerg\].*write "concert_identity header"/



=== TEST 78: concert_identity is given once
--- http_config
concert_identity header;
concert_identity header;
--- must_die
--- error_log eval
qr/\[emerg\].*"concert_identity" directive is duplicate/



=== TEST 79: concert_zone has a size that is one
--- http_config
concert_zone concert big;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid zone size "big": write at least 2m/



=== TEST 80: concert_zone has room for what it keeps
--- http_config
concert_zone concert 1m;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid zone size "1m": write at least 2m/



=== TEST 81: concert_zone has a name and a size
--- http_config
concert_zone 16m;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid number of arguments in "concert_zone" directive/



=== TEST 82: concert_zone is given once
--- http_config
concert_zone concert 16m;
concert_zone concert 16m;
--- must_die
--- error_log eval
qr/\[emerg\].*"concert_zone" directive is duplicate/



=== TEST 83: the least zone that is accepted is enough to serve
--- data
$user = user(7)
--- http_config
concert_zone small 2m;
--- request
GET /api/balance/$user
--- json
{"userId": $user, "amount": 7}



=== TEST 84: a user of Redis needs a password
--- http_config
concert_redis $TEST_NGINX_CONCERT_REDIS user=ann;
--- must_die
--- error_log eval
qr/\[emerg\].*user=ann has no password: write password_file=/



=== TEST 85: the password file of Redis is there
--- http_config
concert_redis $TEST_NGINX_CONCERT_REDIS password_file=nowhere;
--- must_die
--- error_log eval
qr/\[emerg\].*cannot open ".*nowhere": write a file/



=== TEST 86: the password file of Redis has a password
--- http_config
concert_redis $TEST_NGINX_CONCERT_REDIS password_file=/dev/null;
--- must_die
--- error_log eval
qr/\[emerg\].*the password file "\/dev\/null" has no password: write one of 1/



=== TEST 87: what is wrong with a connection string is not told with a password
--- http_config
concert_postgres "host=/nowhere password=hidden words";
--- must_die
--- error_log eval
qr/\[emerg\] \S+ invalid connection string: it may have a password, so it is not told where: write it as "host=\/run\/postgresql dbname=concert" in \S+\s/



=== TEST 88: what is wrong with a URI is not told with a password
--- http_config
concert_postgres "postgresql://concert:hidden@localhost:port/%zz";
--- must_die
--- error_log eval
qr/\[emerg\] \S+ invalid connection string: it may have a password, so it is not told where: write it as "host=\/run\/postgresql dbname=concert" in \S+\s/



=== TEST 89: a password that quotes are missing around is not told
--- http_config
concert_postgres host=/nowhere password=hidden;
--- must_die
--- error_log eval
qr/\[emerg\] \S+ the connection string ends at the first space: put all of it into quotes in \S+\s/



=== TEST 90: concert_catalog_cache is a time
--- http_config
concert_catalog_cache soon;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid value "soon": write a time of at most a day, as "concert_catalog_cache 1s", or "concert_catalog_cache off"/



=== TEST 91: concert_catalog_cache is more than no time
--- http_config
concert_catalog_cache 0;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid value "0": write a time of at most a day/



=== TEST 92: concert_catalog_cache is at most a day
--- http_config
concert_catalog_cache 25h;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid value "25h": write a time of at most a day/



=== TEST 93: concert_catalog_cache is given once
--- http_config
concert_catalog_cache off;
concert_catalog_cache 1s;
--- must_die
--- error_log eval
qr/\[emerg\].*"concert_catalog_cache" directive is duplicate/



=== TEST 94: concert_catalog_cache may be off
--- data
$user = stranger()
--- http_config
concert_catalog_cache off;
--- active: $user
--- request
GET /api/concerts?size=1
--- response_headers
Cache-Control: private, no-cache



=== TEST 95: a payment gateway can be named
--- data
$user = user(7)
--- main_config
thread_pool concert_io threads=11;
thread_pool concert_gateway threads=2;
--- http_config
concert_gateway https://api.tosspayments.com/
                secret_key_file=$TEST_NGINX_CONCERT_CONF/concert_tls.conf
                lanes=2 max_queue=10 max_pending=20 timeout=5s
                connect_timeout=500ms;
concert_payment_method card;
concert_charge card;
--- request
GET /api/balance/$user
--- json
{"userId": $user, "amount": 7}



=== TEST 96: a payment gateway needs its thread pool
--- main_config
thread_pool concert_io threads=11;
--- http_config
concert_gateway https://api.tosspayments.com
                secret_key_file=$TEST_NGINX_CONCERT_CONF/concert_tls.conf;
--- must_die
--- error_log eval
qr/\[emerg\].*no thread pool for the payment gateway: write "thread_pool concert_gateway threads=16;" outside of the http block/



=== TEST 97: a payment gateway needs its secret key
--- http_config
concert_gateway https://api.tosspayments.com;
--- must_die
--- error_log eval
qr/\[emerg\].*the payment gateway needs its secret key: write secret_key_file=/



=== TEST 98: the secret key must be there
--- http_config
concert_gateway https://api.tosspayments.com secret_key_file=/nowhere/key;
--- must_die
--- error_log eval
qr/\[emerg\].*cannot open "\/nowhere\/key"/



=== TEST 99: the secret key of a payment gateway is not empty
--- http_config
concert_gateway https://api.tosspayments.com secret_key_file=/dev/null;
--- must_die
--- error_log eval
qr/\[emerg\].*the secret key file ".*" has no secret key: write one/



=== TEST 100: a secret key goes over TLS
--- http_config
concert_gateway http://api.tosspayments.com secret_key_file=/nowhere/key;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid address of the payment gateway "http:.*": write https:/



=== TEST 101: a name that begins like this machine's is another's
--- http_config
concert_gateway http://localhost.example.com secret_key_file=/nowhere/key;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid address of the payment gateway "http:.*": write https:/



=== TEST 102: a payment gateway has only the parameters that it knows
--- http_config
concert_gateway https://api.tosspayments.com retries=3;
--- must_die
--- error_log eval
qr/\[emerg\].*unknown parameter "retries=3"/



=== TEST 103: the timeout of a payment gateway is a time
--- http_config
concert_gateway https://api.tosspayments.com timeout=soon;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "timeout=soon": write a time, as timeout=10s/



=== TEST 104: cards need a payment gateway
--- http_config
concert_payment_method card;
--- must_die
--- error_log eval
qr/\[emerg\].*cards need a payment gateway: write concert_gateway/



=== TEST 105: charges by card need a payment gateway
--- http_config
concert_charge card;
--- must_die
--- error_log eval
qr/\[emerg\].*cards need a payment gateway: write concert_gateway/



=== TEST 106: concert_payment_method has only the values that it knows
--- http_config
concert_payment_method coins;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid value "coins": write "concert_payment_method balance"/



=== TEST 107: a breaker needs a payment gateway
--- http_config
concert_breaker sliding_window_size=10;
--- must_die
--- error_log eval
qr/\[emerg\].*cards need a payment gateway: write concert_gateway/



=== TEST 108: longer holds while the gateway is away need a payment gateway
--- http_config
concert_hold_extend_on_outage 5m;
--- must_die
--- error_log eval
qr/\[emerg\].*cards need a payment gateway: write concert_gateway/



=== TEST 109: a breaker has the properties of Resilience4j
--- http_config
concert_breaker ring_buffer_size=10;
--- must_die
--- error_log eval
qr/\[emerg\].*unknown parameter "ring_buffer_size=10"/



=== TEST 110: the failure rate of a breaker is in percent
--- http_config
concert_breaker failure_rate_threshold=half;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "failure_rate_threshold=half": write it as failure_rate_threshold=50/



=== TEST 111: the failure rate of a breaker is more than nothing
--- http_config
concert_breaker failure_rate_threshold=0;
--- must_die
--- error_log eval
qr/\[emerg\].*failure_rate_threshold is out of its limits/



=== TEST 112: the window of a breaker is of a type that it knows
--- http_config
concert_breaker sliding_window_type=calls;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "sliding_window_type=calls": write it as sliding_window_type=time/



=== TEST 113: a switch of a breaker is on or off
--- http_config
concert_breaker automatic_transition_from_open_to_half_open_enabled=yes;
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "automatic_transition_from_open_to_half_open_enabled=yes": write it as automatic_transition_from_open_to_half_open_enabled=on/



=== TEST 114: concert_breaker is given once
--- http_config
concert_breaker sliding_window_type=count;
concert_breaker sliding_window_size=10;
--- must_die
--- error_log eval
qr/\[emerg\].*"concert_breaker" directive is duplicate/



=== TEST 115: seats are held for a year at most, so that every end can be told
--- http_config
concert_hold 4000000d;
--- must_die
--- error_log eval
qr/\[emerg\].*must be at most a year: write a time, as 3s/



=== TEST 116: an outage makes a hold longer by a year at most
--- http_config
concert_hold_extend_on_outage 4000000d;
--- must_die
--- error_log eval
qr/\[emerg\].*must be at most a year: write a time, as 3s/



=== TEST 117: a token lives for a year at most
--- queue: ttl=4000000d
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "ttl=4000000d": write a time of at most a year, as ttl=10m/


=== TEST 118: a sale has what it needs in its block
--- data
$user = user(7)
--- without: concert_postgres concert_redis concert_queue
--- http_config
concert_sale festival { concert_postgres "$TEST_NGINX_CONCERT_PG" read=1 write=1; concert_redis $TEST_NGINX_CONCERT_REDIS; concert_queue name=every-sale-directive capacity=10 rate=100/s ttl=1h claim=1m poll=2s; concert_zone festival 2m; concert_hold 90s; concert_max_seats 8; concert_user_limit 8; concert_charge free; concert_payment_method balance; concert_identity header; concert_catalog_cache 500ms; }
concert_use festival;
--- request
GET /api/balance/$user
--- json
{"userId": $user, "amount": 7}



=== TEST 119: a sale has a name that can be part of Redis's keys
--- http_config
concert_sale "a sale" { concert_hold 1m; }
--- must_die
--- error_log eval
qr/\[emerg\].*invalid sale name "a sale": write 1 to 64 letters, digits, "_" or "-", as concert_sale festival/



=== TEST 120: no two sales have one name
--- http_config
concert_sale a { concert_hold 1m; }
concert_sale a { concert_hold 1m; }
--- must_die
--- error_log eval
qr/\[emerg\].*there is a sale "a" already .*: write another name/



=== TEST 121: the http block is a sale itself
--- http_config
concert_sale main { concert_hold 1m; }
--- must_die
--- error_log eval
qr/\[emerg\].*there is a sale "main" already .*: write another name/



=== TEST 122: there are 64 sales at most
--- http_config eval
CORE::join "\n", map { "concert_sale s$_ { concert_hold 1m; }" } 1 .. 65
--- must_die
--- error_log eval
qr/\[emerg\].*too many sales: write at most 64 concert_sale blocks/



=== TEST 123: a sale that is used is there
--- http_config
concert_use festival;
--- must_die
--- error_log eval
qr/\[emerg\].*there is no sale "festival": write "concert_sale festival \{ ... \}"/



=== TEST 124: what is no sale's does not stand in its block
--- http_config
concert_sale a { concert_timeout 3s; }
--- must_die
--- error_log eval
qr/\[emerg\].*"concert_timeout" directive is not allowed here/



=== TEST 125: nor does what is not ours
--- http_config
concert_sale a { keepalive_timeout 3s; }
--- must_die
--- error_log eval
qr/\[emerg\].*"keepalive_timeout" directive is not allowed here/



=== TEST 126: a sale that lacks PostgreSQL is told by its name
--- without: concert_postgres
--- http_config
concert_sale a { concert_hold 1m; }
concert_use a;
--- must_die
--- error_log eval
qr/\[emerg\].*needs PostgreSQL: write concert_postgres .* or in that of its sale, "a"/



=== TEST 127: a queue that two sales have is the same for both
--- http_config
concert_sale a { concert_queue name=one capacity=1; }
concert_sale b { concert_queue name=one capacity=2; }
--- config
location = /a { concert_use a; concert token_enter; }
location = /b { concert_use b; concert token_enter; }
--- must_die
--- error_log eval
qr/\[emerg\].*sales "a" and "b" have one queue, "one", .*: write another name=, or the same parameters/



=== TEST 128: a database has one payment gateway
--- http_config
concert_sale a { concert_gateway http://127.0.0.1:9/a secret_key_file=$TEST_NGINX_CONCERT_CONF/nginx.conf; }
concert_sale b { concert_gateway http://127.0.0.1:9/b secret_key_file=$TEST_NGINX_CONCERT_CONF/nginx.conf; }
--- config
location = /a { concert_use a; concert pay; }
location = /b { concert_use b; concert pay; }
--- must_die
--- error_log eval
qr/\[emerg\].*sales "main" and "a" have one database and two payment gateways, .*: write the same concert_gateway, or another concert_postgres/



=== TEST 129: a sale that nobody uses is left out, and told
--- data
$user = user(7)
--- http_config
concert_sale a { concert_hold 1m; }
--- request
GET /api/balance/$user
--- json
{"userId": $user, "amount": 7}
--- error_log eval
qr/\[warn\].*sale "a" is left out, as nothing is sold in it: write "concert_use a;"/



=== TEST 130: lanes that have too few threads are told
--- data
$user = user(7)
--- main_config
thread_pool concert_io threads=2;
--- http_config
concert_sale a { concert_postgres "$TEST_NGINX_CONCERT_PG" read=2 write=2; }
--- config
location /api/balance/ { concert_use a; concert balance; }
--- request
GET /api/balance/$user
--- json
{"userId": $user, "amount": 7}
--- error_log eval
qr/\[warn\].*there are 7 lanes and only 2 threads, .*: write "thread_pool concert_io threads=7;"/



=== TEST 131: what needs no store needs no thread pool
--- main_config
--- without: concert_postgres concert_redis
--- config
concert_problems on;
location = /healthz { concert healthz; }
location = /status { concert status; }
location = /metrics { concert metrics; }
location = /no { return 404; }
--- pipelined_requests eval
["GET /healthz", "GET /status", "GET /metrics", "GET /no"]
--- error_code eval
[200, 200, 200, 404]
