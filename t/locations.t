# Routes in every kind of location that nginx has, and in those that it makes
# out of others.

use Test::Nginx::Socket;
use Concert;

plan tests => 122;

run_tests();

__DATA__

=== TEST 1: a route is served where an if holds
--- data
$user = stranger()
--- config
location = /api/token    { concert token_enter; }
location = /api/concerts { if ($http_x_bot) { set $bot 1; } concert concerts; }
--- active: $user
--- request
GET /api/concerts?size=1
--- more_headers
X-Bot: 1
--- response_body_like: ^\[\{"concertId":



=== TEST 2: a body reaches a route where an if holds
--- data
$user = user(5)
--- config
location = /charge {
    if ($request_method = PUT) { add_header X-If put; }
    concert charge;
}
--- request
PUT /charge
{"userId": $user, "amount": 3}
--- response_headers
X-If: put
--- json
{"userId": $user, "amount": 8}



=== TEST 3: the last if that holds says what goes with an answer
--- data
$user = user(5)
--- config
location /balance/ {
    concert balance;
    if ($arg_a) { add_header X-If a; }
    if ($arg_b) { add_header X-If b; limit_rate 100k; }
}
--- request
GET /balance/$user?a=1&b=1
--- response_headers
X-If: b
--- json
{"userId": $user, "amount": 5}



=== TEST 4: an if of the server may hold as well
--- data
$user = user(5)
--- config
if ($arg_a) { set $a 1; }
location /balance/ {
    if ($a) { add_header X-If $a; }
    concert balance;
}
--- request
GET /balance/$user?a=1
--- response_headers
X-If: 1
--- json
{"userId": $user, "amount": 5}



=== TEST 5: the id is where it was when an if holds in a regular expression's
--- data
$user = user(5)
--- config
location ~ ^/money/(of|by)/\d+$ {
    if ($arg_a) { set $a 1; }
    concert balance;
}
--- request
GET /money/of/$user?a=1
--- json
{"userId": $user, "amount": 5}



=== TEST 6: what an if returns is returned
--- config
location = /token { if ($arg_a) { return 418; } concert token_enter; }
--- request
GET /token?a=1
--- error_code: 418



=== TEST 7: what an if passes on is not a route's
--- http_config
log_format route "route=[$concert_route] via=[$http_via]";
--- config
access_log logs/access.log route;
location = /token {
    proxy_set_header Via passed;
    if ($http_via = "") { proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT; }
    concert token_enter;
}
--- request
POST /token
{"userId": 1}
--- response_body_like: "userId":1,
--- access_log
route=[token_enter] via=[passed]
route=[-] via=[-]



=== TEST 8: who is allowed by limit_except is served
--- config
location = /queue {
    limit_except GET { allow 127.0.0.1; deny all; }
    concert queue;
}
--- request
PATCH /queue
{"paused": false}
--- more_headers
Content-Type: application/json
--- response_body_like: "paused":false



=== TEST 9: who is not allowed by limit_except is refused
--- config
location = /queue {
    limit_except GET { deny all; }
    concert queue;
}
--- request
PATCH /queue
{"paused": true}
--- more_headers
Content-Type: application/json
--- error_code: 403
--- no_error_log
[alert]



=== TEST 10: who is refused by limit_except may use the methods that it excepts
--- config
location = /queue {
    limit_except GET { deny all; }
    concert queue;
}
--- request
GET /queue
--- response_body_like: "paused":false



=== TEST 11: an id is where it was behind limit_except
--- data
$user = stranger()
--- config
location /token/ {
    limit_except GET { allow all; }
    concert token;
}
--- request
DELETE /token/$user
--- error_code: 204



=== TEST 12: a method that nobody serves is refused with those that are
--- config
location /token/ {
    limit_except GET { allow all; }
    concert token;
}
--- request
PUT /token/1
--- problem: method_not_allowed
--- response_headers
Allow: GET, HEAD, DELETE



=== TEST 13: the page of operators is served behind limit_except
--- config
location /ops/ { limit_except POST { allow all; } concert ops; }
--- request
GET /ops/ops.css
--- response_headers
Content-Type: text/css; charset=utf-8



=== TEST 14: in a named location an id is the last segment
--- data
$user = user(5)
--- config
location /named/ { try_files /nofile @balance; }
location @balance { concert balance; }
--- request
GET /named/$user
--- json
{"userId": $user, "amount": 5}



=== TEST 15: however long the name is
--- data
$user = user(5)
--- config
location /x/ { try_files /nofile @a_name_that_is_longer_than_any_path_that_comes; }
location @a_name_that_is_longer_than_any_path_that_comes { concert balance; }
--- request
GET /x/$user
--- json
{"userId": $user, "amount": 5}



=== TEST 16: an if may hold in a named location
--- data
$user = user(5)
--- config
location /named/ { try_files /nofile @balance; }
location @balance { if ($arg_a) { set $a 1; } concert balance; }
--- request
GET /named/$user?a=1
--- json
{"userId": $user, "amount": 5}



=== TEST 17: limit_except may stand in a named location
--- data
$user = stranger()
--- config
location /named/ { error_page 418 = @token; return 418; }
location @token { limit_except POST { allow all; } concert token; }
--- request
DELETE /named/$user
--- error_code: 204



=== TEST 18: in a location of a regular expression an id is the last segment
--- data
$user = user(5)
--- config
location ~* "^/[a-z]{5}/.*" { concert balance; }
--- request
GET /MONEY/of/$user
--- json
{"userId": $user, "amount": 5}



=== TEST 19: in a location of one path an id is the last segment
--- config
location = /tokens/7 { concert token; }
--- request
GET /tokens/7
--- problem: token_not_found



=== TEST 20: in a location that no regular expression takes an id is behind it
--- config
location ^~ /tokens/ { concert token; }
location ~ \d { return 418; }
--- request
GET /tokens/7/8
--- problem: route_not_found



=== TEST 21: a location may be in another
--- data
$user = user(5)
--- config
location /a/ {
    concert token;
    location /a/balance/ { concert balance; }
    location ~ ^/a/other/ { return 418; }
}
--- request
GET /a/balance/$user
--- json
{"userId": $user, "amount": 5}



=== TEST 22: what is in a location serves nothing that it does not name
--- config
location /a/ {
    concert token;
    location /a/b/ { root html; }
}
--- request
GET /a/b/7
--- error_code: 404
--- no_error_log
[alert]



=== TEST 23: the id of a path that was rewritten in its location is the last segment
--- data
$user = user(5)
--- config
location /v1/ { rewrite ^/v1/(.*) /accounts/$1 break; concert balance; }
--- request
GET /v1/$user
--- json
{"userId": $user, "amount": 5}



=== TEST 24: the id of a path is the last segment when rewriting has made it shorter
--- data
$user = user(5)
--- config
location /a/long/prefix/of/paths/ { rewrite /(\d+)$ /$1 break; concert balance; }
--- request
GET /a/long/prefix/of/paths/$user
--- json
{"userId": $user, "amount": 5}



=== TEST 25: alias and root do not change where an id is
--- data
$user = user(5)
--- config
location /files/ { alias /nowhere/else/; if ($arg_a) { set $a 1; } concert balance; }
--- request
GET /files/$user?a=1
--- json
{"userId": $user, "amount": 5}



=== TEST 26: the page of operators is served in a named location
--- config
location /x/ { try_files /nofile @ops; }
location @ops { concert ops; }
--- request
GET /x/icon.svg
--- response_headers
Content-Type: image/svg+xml



=== TEST 27: the page of operators is served in one of a regular expression
--- config
location ~ ^/operators { concert ops; }
--- request
GET /operators/
--- response_headers
Content-Type: text/html; charset=utf-8



=== TEST 28: the page of operators is served in a location of one path
--- config
location = /ops/ops.js { concert ops; }
--- request
GET /ops/ops.js
--- response_headers
Content-Type: text/javascript; charset=utf-8



=== TEST 29: a part of a page may be a route's
--- data
$user = user(5)
--- config
location = /page {
    ssi on;
    default_type text/html;
    return 200 'He has <!--#include virtual="/balance/$user" -->!';
}
location /balance/ { concert balance; }
--- request
GET /page
--- response_body eval
qr/^He has \{"userId":\d+,"amount":5\}!$/



=== TEST 30: a part of a page is of another route than the page
--- data
$user = user(5)
--- http_config
log_format route "$uri route=[$concert_route]";
--- config
log_subrequest on;
access_log logs/access.log route;
location = /page {
    ssi on;
    default_type text/html;
    return 200 '<!--#include virtual="/balance/$user" --><!--#include virtual="/token" -->';
}
location /balance/ { concert balance; }
location = /token  { concert token_enter; }
--- request
GET /page
--- response_body_like: "amount":5\}\{"type":.*"code":"method_not_allowed"
--- access_log
/balance/$user route=[balance]
/token route=[token_enter]
/page route=[-]



=== TEST 31: a part of a page may be so where an if holds
--- data
$user = user(5)
--- config
location = /page {
    ssi on;
    default_type text/html;
    return 200 '<!--#include virtual="/balance/$user?a=1" -->';
}
location /balance/ { if ($arg_a) { set $a 1; } concert balance; }
--- request
GET /page
--- response_body_like: ^\{"userId":\d+,"amount":5\}$



=== TEST 32: a stream of events is no part of a page
--- data
$user = stranger()
--- config
location = /page {
    ssi on;
    default_type text/html;
    return 200 '<!--#include virtual="/events/$user" -->';
}
location = /api/token { concert token_enter; }
location /events/     { concert token_events; }
--- active: $user
--- request
GET /page
--- response_body_like: "code":"invalid_request"



=== TEST 33: a mirror of a request has its body
--- data
$user = user(5)
--- config
location = /page   { mirror /charge; proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/text; }
location = /text   { return 200 "a page"; }
location = /charge { internal; if ($request_method) { set $a 1; } concert charge; }
--- request
PUT /page
{"userId": $user, "amount": 3}
--- response_body: a page
--- sql: select balance from concert.accounts where account_id = $user
--- sql_out
8



=== TEST 34: who has no active token is refused by auth_request
--- data
$user = stranger()
--- config
location = /page { auth_request /who; empty_gif; }
location = /who  { internal; concert concerts; }
--- caller: $user
--- request
GET /page
--- error_code: 403
--- no_error_log
[alert]



=== TEST 35: who has one is let in by auth_request
--- data
$user = stranger()
--- config
location = /page { auth_request /who; empty_gif; }
location = /who  { internal; if ($uri) { set $a 1; } concert concerts; }
location = /api/token { concert token_enter; }
--- active: $user
--- request
GET /page
--- response_headers
Content-Type: image/gif



=== TEST 36: a body may be read before a route is asked
--- data
$user = user(5)
--- config
location = /charge { auth_request /yes; mirror /yes; concert charge; }
location = /yes    { internal; return 200; }
--- request
PUT /charge
{"userId": $user, "amount": 3}
--- json
{"userId": $user, "amount": 8}



=== TEST 37: another request may follow with the body of the first
--- data
$user = user(5)
--- config
location = /charge { post_action @again; concert charge; }
location @again    { limit_except GET { allow all; } concert charge; }
--- request
PUT /charge
{"userId": $user, "amount": 3}
--- json
{"userId": $user, "amount": 8}
--- sql: select balance from concert.accounts where account_id = $user
--- sql_out
11



=== TEST 38: a page for an error may be a route's
--- data
$user = stranger()
--- config
error_page 418 =200 /api/concerts?size=1;
location = /page { return 418; }
location = /api/concerts { if ($request_uri) { set $a 1; } concert concerts; }
location = /api/token    { concert token_enter; }
--- active: $user
--- request
GET /page
--- response_body_like: ^\[\{"concertId":
