# The module's variables.

use Test::Nginx::Socket;
use Concert;

# What a test that asks for it has in front of the routes.
add_block_preprocessor(sub {
    my ($block) = @_;

    my $variable = $block->variable // return;

    $block->set_value(config => join "\n",
        "add_header X-Value '[\$$variable]' always;",
        'include $TEST_NGINX_CONCERT_CONF/concert_routes.conf;',
        'location = /plain { return 200; }');
});

plan tests => 78;

run_tests();

__DATA__

=== TEST 1: $concert_user_id is the caller of the header
--- data
$user = user()
--- variable: concert_user_id
--- caller: $user
--- request
GET /api/reservations
--- response_headers
X-Value: [$user]



=== TEST 2: $concert_user_id is the user of the path
--- data
$user = user()
--- variable: concert_user_id
--- request
GET /api/balance/$user
--- response_headers
X-Value: [$user]



=== TEST 3: $concert_user_id is the user of the body
--- data
$user = user()
--- variable: concert_user_id
--- request
POST /api/token
{"userId": $user}
--- response_headers
X-Value: [$user]



=== TEST 4: $concert_user_id is empty without a caller
--- variable: concert_user_id
--- request
GET /api/concerts
--- error_code: 401
--- response_headers
X-Value: []



=== TEST 5: $concert_user_id is empty for a header that is no id
--- variable: concert_user_id
--- caller: x-1
--- request
GET /plain
--- response_headers
X-Value: []



=== TEST 6: $concert_user_id is known where no route is
--- variable: concert_user_id
--- caller: 77
--- request
GET /plain
--- response_headers
X-Value: [77]



=== TEST 7: $concert_route names the route
--- data
$user = user()
--- variable: concert_route
--- request
GET /api/balance/$user
--- response_headers
X-Value: [balance]



=== TEST 8: $concert_route names the route of a refusal
--- variable: concert_route
--- request
GET /api/concerts/seats/1
--- error_code: 401
--- response_headers
X-Value: [seats]



=== TEST 9: $concert_route is empty where no route is
--- variable: concert_route
--- request
GET /plain
--- response_headers
X-Value: []



=== TEST 10: $concert_code is empty when all is well
--- data
$user = user()
--- variable: concert_code
--- request
GET /api/balance/$user
--- response_headers
X-Value: []



=== TEST 11: $concert_code is the code of a refusal
--- data
$user = stranger()
--- variable: concert_code
--- request
GET /api/balance/$user
--- error_code: 404
--- response_headers
X-Value: [user_not_found]



=== TEST 12: $concert_code is the code of what is wrong with a body
--- variable: concert_code
--- request
POST /api/token
{}
--- error_code: 400
--- response_headers
X-Value: [invalid_request]



=== TEST 13: $concert_code is the code of what nginx refuses
--- variable: concert_code
--- request
GET /api/nothing
--- error_code: 404
--- response_headers
X-Value: [route_not_found]



=== TEST 14: $concert_store_time is in seconds with milliseconds
--- data
$user = user()
--- variable: concert_store_time
--- request
GET /api/balance/$user
--- response_headers_like
X-Value: \[\d+\.\d{3}\]



=== TEST 15: $concert_store_time is empty where no route is
--- variable: concert_store_time
--- request
GET /plain
--- response_headers
X-Value: []



=== TEST 16: $concert_queue_position is 0 for who is active
--- data
$user = stranger()
--- variable: concert_queue_position
--- request
POST /api/token
{"userId": $user}
--- response_headers
X-Value: [0]



=== TEST 17: $concert_queue_position is the place of who waits
--- data
$one = stranger()
$two = stranger()
$user = stranger()
--- queue: capacity=1
--- before
$one POST /api/token {"userId": $one}
$two POST /api/token {"userId": $two}
$user POST /api/token {"userId": $user}
--- variable: concert_queue_position
--- request
GET /api/token/$user
--- response_headers
X-Value: [2]



=== TEST 18: $concert_queue_position is known for a status, too
--- data
$one = stranger()
$user = stranger()
--- queue: capacity=1
--- before
$one POST /api/token {"userId": $one}
$user POST /api/token {"userId": $user}
--- variable: concert_queue_position
--- request
GET /api/token/status/$user
--- response_headers
X-Value: [1]



=== TEST 19: $concert_queue_position is empty where the queue was not asked
--- data
$user = user()
--- variable: concert_queue_position
--- request
GET /api/balance/$user
--- response_headers
X-Value: []



=== TEST 20: the variables can be logged
--- data
$user = user(7)
--- http_config
log_format concert '<$concert_user_id $concert_route $concert_code '
                   '$concert_store_time $concert_queue_position>';
--- config
access_log logs/access.log concert;
include $TEST_NGINX_CONCERT_CONF/concert_routes.conf;
--- request
GET /api/balance/$user
--- access_log eval
qr/^<\d+ balance - \d+\.\d{3} ->$/
--- json
{"userId": $user, "amount": 7}



=== TEST 21: a refusal is logged with its code
--- http_config
log_format concert '<$concert_route $concert_code>';
--- config
access_log logs/access.log concert;
include $TEST_NGINX_CONCERT_CONF/concert_routes.conf;
--- request
GET /api/concerts
--- problem: identity_missing
--- access_log eval
qr/^<concerts identity_missing>$/



=== TEST 22: the variables can be mapped
--- http_config
map $concert_code $outcome {
    ""          done;
    ~_missing$  nobody;
    default     refused;
}
--- config
add_header X-Outcome $outcome always;
include $TEST_NGINX_CONCERT_CONF/concert_routes.conf;
--- request eval
[ 'GET /api/concerts', 'GET /api/token/5', 'GET /api/token/status/5' ]
--- error_code eval
[ 401, 404, 200 ]
--- response_headers eval
[ 'X-Outcome: nobody', 'X-Outcome: refused', 'X-Outcome: done' ]



=== TEST 23: the variables do no harm to requests of others
--- http_config
log_format concert '<$concert_user_id $concert_route $concert_code '
                   '$concert_store_time $concert_queue_position>';
--- config
access_log logs/access.log concert;
location = /plain { return 200; }
--- request
GET /plain
--- access_log eval
qr/^<- - - - ->$/
