# What operators and load balancers ask. The numbers of metrics and status are
# told in metrics.t, servers that are away in stores-away.t.

use Test::Nginx::Socket;
use Concert;

plan tests => 62;

run_tests();

__DATA__

=== TEST 1: healthz is 200 while the worker serves
--- request
GET /healthz
--- response_headers
Content-Type: application/json



=== TEST 2: readyz is 200 when PostgreSQL and Redis answer
--- request
GET /readyz
--- response_headers
Content-Type: application/json
--- response_body_like: (?i)postgres.*up.*redis.*up



=== TEST 3: metrics are in the text format of Prometheus
--- request
GET /metrics
--- response_headers_like
Content-Type: text/plain; version=0\.0\.4.*
--- response_body_like: (?m)^concert_\S+ \d



=== TEST 4: status is JSON
--- request
GET /status
--- response_headers
Content-Type: application/json
--- response_body_like: \A\{.*"version".*\}\z



=== TEST 5: healthz is only for GET
--- request
POST /healthz
--- response_headers
Allow: GET, HEAD
--- problem: method_not_allowed



=== TEST 6: readyz is only for GET
--- request
POST /readyz
--- response_headers
Allow: GET, HEAD
--- problem: method_not_allowed



=== TEST 7: metrics are only for GET
--- request
DELETE /metrics
--- response_headers
Allow: GET, HEAD
--- problem: method_not_allowed



=== TEST 8: status is only for GET
--- request
PUT /status
--- response_headers
Allow: GET, HEAD
--- problem: method_not_allowed



=== TEST 9: healthz is not public
--- http_config
set_real_ip_from 127.0.0.1;
--- request
GET /healthz
--- more_headers
X-Real-IP: 203.0.113.7
--- error_code: 403
--- no_error_log
[alert]



=== TEST 10: readyz is not public
--- http_config
set_real_ip_from 127.0.0.1;
--- request
GET /readyz
--- more_headers
X-Real-IP: 203.0.113.7
--- error_code: 403
--- no_error_log
[alert]



=== TEST 11: metrics are not public
--- http_config
set_real_ip_from 127.0.0.1;
--- request
GET /metrics
--- more_headers
X-Real-IP: 203.0.113.7
--- error_code: 403
--- no_error_log
[alert]



=== TEST 12: status is not public
--- http_config
set_real_ip_from 127.0.0.1;
--- request
GET /status
--- more_headers
X-Real-IP: 203.0.113.7
--- error_code: 403
--- no_error_log
[alert]



=== TEST 13: readyz says that PostgreSQL is away
--- http_config
concert_postgres "host=/nowhere dbname=concert";
--- request
GET /readyz
--- error_code: 503
--- response_headers_like
Retry-After: [1-9]\d*
--- response_body_like: (?i)postgres.*down.*redis.*up
--- no_error_log
[alert]



=== TEST 14: readyz says that Redis is away
--- http_config
concert_redis unix:/nowhere/redis.sock;
--- request
GET /readyz
--- error_code: 503
--- response_headers_like
Retry-After: [1-9]\d*
--- response_body_like: (?i)postgres.*up.*redis.*down
--- no_error_log
[alert]



=== TEST 15: readyz says that both are away
--- http_config
concert_postgres "host=/nowhere dbname=concert";
concert_redis unix:/nowhere/redis.sock;
--- request
GET /readyz
--- error_code: 503
--- response_body_like: (?i)postgres.*down.*redis.*down
--- no_error_log
[alert]



=== TEST 16: healthz is 200 when PostgreSQL and Redis are away
--- http_config
concert_postgres "host=/nowhere dbname=concert";
concert_redis unix:/nowhere/redis.sock;
--- request
GET /healthz
--- no_error_log
[alert]



=== TEST 17: metrics are told when PostgreSQL and Redis are away
--- http_config
concert_postgres "host=/nowhere dbname=concert";
concert_redis unix:/nowhere/redis.sock;
--- request
GET /metrics
--- response_body_like: (?m)^concert_\S+ \d
--- no_error_log
[alert]



=== TEST 18: status is told when PostgreSQL and Redis are away
--- http_config
concert_postgres "host=/nowhere dbname=concert";
concert_redis unix:/nowhere/redis.sock;
--- request
GET /status
--- response_body_like: \A\{.*"version".*\}\z
--- no_error_log
[alert]
