# Headers of answers, as nginx's own filters and variables see them.

use Test::Nginx::Socket;
use Concert;

plan tests => 43;

run_tests();

__DATA__

=== TEST 1: expires takes the place of Cache-Control
--- data
$user = stranger()
--- config
expires 1h;
include $TEST_NGINX_CONCERT_CONF/concert_routes.conf;
--- active: $user
--- request
GET /api/concerts?size=1
--- response_headers_like
Cache-Control: max-age=3600
Expires: \w{3}, .* GMT



=== TEST 2: expires takes the place of a Cache-Control that forbids to keep an answer
--- data
$user = stranger()
--- config
expires epoch;
include $TEST_NGINX_CONCERT_CONF/concert_routes.conf;
--- request
POST /api/token
{"userId": $user}
--- response_headers
Cache-Control: no-cache
Expires: Thu, 01 Jan 1970 00:00:01 GMT



=== TEST 3: a refusal is not kept, whatever expires says
--- config
expires 1h;
include $TEST_NGINX_CONCERT_CONF/concert_routes.conf;
--- request
GET /api/token/0
--- error_code: 400
--- response_headers
Cache-Control: no-store
! Expires



=== TEST 4: a page that is kept with expires is asked for again with its ETag
--- data
$user = stranger()
--- config
expires 1h;
location = /api/concerts { concert concerts; }
location = /api/token { concert token_enter; }
--- active: $user
--- request
GET /api/concerts?size=1
--- more_headers
If-None-Match: *
--- error_code: 304
--- response_headers_like
Cache-Control: max-age=3600
ETag: "[0-9a-f]{16}"



=== TEST 5: variables tell what was sent
--- data
$user = stranger()
$one = concert()
$two = concert()
$after = $one - 1
--- config
location = /api/token    { concert token_enter; }
location = /api/concerts {
    add_header X-Control $sent_http_cache_control;
    add_header X-Link    $sent_http_link;
    add_header X-ETag    $sent_http_etag;
    concert concerts;
}
--- active: $user
--- request
GET /api/concerts?size=1&after=$after
--- response_headers_like
X-Control: private, no-cache
X-Link: <.*>; rel="next"
X-ETag: "[0-9a-f]{16}"



=== TEST 6: a map of what was sent can make another header of it
--- data
$user = stranger()
--- http_config
map $sent_http_cache_control $kept {
    no-store  never;
    default   perhaps;
}
--- config
location = /api/token { add_header X-Kept $kept; concert token_enter; }
--- request
POST /api/token
{"userId": $user}
--- response_headers
X-Kept: never



=== TEST 7: who is asked by auth_request challenges the client
--- http_config
concert_identity jwt $TEST_NGINX_CONCERT_CONF/concert_tls.conf;
--- config
location = /page { auth_request /who; empty_gif; }
location = /who  { internal; concert reservations; }
--- request
GET /page
--- error_code: 401
--- response_headers
WWW-Authenticate: Bearer realm="concert"



=== TEST 8: where another way in is open, nothing challenges
--- http_config
concert_identity jwt $TEST_NGINX_CONCERT_CONF/concert_tls.conf;
--- config
location = /page { satisfy any; auth_request /who; allow 127.0.0.1; empty_gif; }
location = /who  { internal; concert reservations; }
--- request
GET /page
--- response_headers
! WWW-Authenticate



=== TEST 9: a file of the operators' page is compressed by its type
--- config
gzip on;
gzip_vary on;
gzip_types text/css;
include $TEST_NGINX_CONCERT_CONF/concert_routes.conf;
--- request
GET /ops/ops.css
--- more_headers
Host: localhost
Accept-Encoding: gzip
--- response_headers_like
Content-Type: text/css; charset=utf-8
Content-Encoding: gzip
Vary: Accept-Encoding
ETag: W/"[0-9a-f]{8}"



=== TEST 10: a file of the operators' page is written anew in another charset by its type
--- http_config
charset_map koi8-r utf-8 { A9 C2A9; }
--- config
charset koi8-r;
charset_types text/css;
override_charset on;
include $TEST_NGINX_CONCERT_CONF/concert_routes.conf;
--- request
GET /ops/ops.css
--- more_headers
Host: localhost
--- response_headers
Content-Type: text/css; charset=koi8-r



=== TEST 11: JSON that nginx says a charset of is still JSON
--- config
charset utf-8;
charset_types application/json application/problem+json;
location = /api/token { concert token_enter; }
--- request
POST /api/token
{"userId": 1}
--- response_headers
Content-Type: application/json; charset=utf-8
--- response_body_like: ^\{"userId":1,
