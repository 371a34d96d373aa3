# What the driver must do, said in its own format: this file passes with
# Test::Nginx::Socket of openresty and with the driver beside it.  It needs no
# module but those that nginx is always built with.  That the driver also fails
# when it must is the subject of selftest_failures.t.

use Test::Nginx::Socket;

repeat_each(2);
no_shuffle();
no_long_string();
master_on();
workers(2);
worker_connections(128);
env_to_nginx('SELFTEST', 'SELFTEST_B=2');

# the last term is shutdown_error_log, which is checked once
plan tests => repeat_each() * 138 + 1;

$ENV{TEST_NGINX_SELFTEST} = 'from the environment';

add_block_preprocessor(sub {
    my $block = shift;

    $block->set_value('config', $block->shared_config)
        if defined $block->shared_config;
});

add_response_body_check(sub {
    my ($block, $body, $index, $repeat) = @_;

    is_str(length $body, $block->body_length,
           $block->name . " - body_length (req $index, repeat $repeat)")
        if defined $block->body_length;
});

run_tests();

__DATA__

=== TEST 1: a body is compared with response_body, and the status with 200
--- config
    location = /t {
        return 200 "hello\n";
    }
--- request
GET /t
--- response_body
hello



=== TEST 2: a block without config goes on with the nginx before it
--- request
GET /t
--- response_body eval
"hello\n"



=== TEST 3: the root location serves the html directory
--- config
--- request
GET /
--- response_body chomp
<html><head><title>It works!</title></head><body>It works!</body></html>



=== TEST 4: a request may be indented, commented, and of another version
--- config
    location = /a {
        return 200 "$request|$http_host|$http_connection\n";
    }
--- request
    # a comment
    GET /a?b=c HTTP/1.0
--- response_body
GET /a?b=c HTTP/1.0|localhost|close



=== TEST 5: a request line may lack version and url
--- config
    location = / {
        return 200 "$request\n";
    }
--- request
OPTIONS
--- response_body
OPTIONS / HTTP/1.1



=== TEST 6: a request body is trimmed, measured and sent
--- config
    location = /t {
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/sink;
        add_header X-Body "[$request_body]";
    }

    location = /sink {
        return 200 "$http_content_length|$http_content_type\n";
    }
--- request eval
qq{POST /t\n  {"seats": [1, 2], "user": 7} \n}
--- more_headers
Content-Type: application/json
--- response_headers
X-Body: [{"seats": [1, 2], "user": 7}]
--- response_body
28|application/json



=== TEST 7: a body whose Content-Length is given is sent as it is
--- config
    location = /t {
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/sink;
        add_header X-Body "[$request_body]";
    }

    location = /sink {
        return 200 "$http_content_length\n";
    }
--- request eval
"POST /t\n ab "
--- more_headers
Content-Length: 4
--- response_headers
X-Body: [ ab ]
--- response_body
4



=== TEST 8: a body of chunks is sent as it is
--- config
    location = /t {
        proxy_pass http://127.0.0.1:$TEST_NGINX_SERVER_PORT/sink;
        add_header X-Body "[$request_body]";
    }

    location = /sink {
        return 200 "$http_content_length\n";
    }
--- request eval
"POST /t
3\r
abc\r
2\r
de\r
0\r
\r
"
--- more_headers
Transfer-Encoding: chunked
--- response_headers
X-Body: [abcde]
--- response_body
5



=== TEST 9: more_headers may be commented, and replace Host and Connection
--- config
    location = /t {
        return 200 "$http_x_one|$http_x_two|$http_host|$http_connection\n";
    }
--- request
GET /t
--- more_headers
X-One: 1
# X-Two: 2
Host: example.com
Connection: Close
--- response_body
1||example.com|Close



=== TEST 10: many requests have connections and expectations of their own
--- config
    location = /a {
        add_header X-N $connection_requests;
        return 200 "a $http_x\n";
    }

    location = /b {
        add_header X-N $connection_requests;
        return 201 "b $http_x\n";
    }
--- request eval
["GET /a", "  POST /b\nbody", "GET /c"]
--- more_headers eval
["X: 1", "X: 2\nY: 3", ""]
--- error_code eval
[200, 201, 404]
--- response_headers eval
["X-N: 1", "X-N: 1\nContent-Type: text/plain", "! X-N"]
--- response_body_like eval
["^a 1\n\$", "^b 2\n\$", "404 Not Found"]
--- error_log
http request line
--- no_error_log
[emerg]



=== TEST 11: request_eval is a request in Perl
--- config
    location = /t {
        return 200 "$arg_a\n";
    }
--- request_eval
"GET /t?a=" . "x" x 3
--- response_body
xxx



=== TEST 12: pipelined requests share a connection
--- config
    location = /t {
        add_header X-N "$connection_requests $http_connection";
        return 200 "$arg_a $http_x";
    }
--- pipelined_requests eval
["GET /t?a=1", "GET /t?a=2", "GET /t?a=" . '$TEST_NGINX_SERVER_PORT']
--- more_headers eval
["X: a", "X: b", "X: c"]
--- response_headers eval
["X-N: 1 keep-alive", "X-N: 2 keep-alive", "X-N: 3 close"]
--- response_body eval
["1 a", "2 b", '$ServerPort c']



=== TEST 13: environment variables are not expanded in a request
--- config
    location ~ TEST {
        return 200 "$request_uri $TEST_NGINX_SELFTEST\n";
    }
--- request
GET /$TEST_NGINX_SELFTEST
--- response_body_like
^/\$TEST_NGINX_SELFTEST from the environment$



=== TEST 14: environment variables are expanded in files and expected bodies
--- config
--- user_files
>>> t.txt
t $TEST_NGINX_SELFTEST
--- request
GET /t.txt
--- response_body
t $TEST_NGINX_SELFTEST



=== TEST 15: a raw request is sent as it is
--- config
    location = /t {
        return 200 "$request|$http_x\n";
    }
--- raw_request eval
"GET /t HTTP/1.1\r
Host: x\r
Connection: close\r
X: y \r
\r
"
--- response_body
GET /t HTTP/1.1|y



=== TEST 16: a raw request may be sent in packets, with a delay between them
--- config
    location = /t {
        return 200 "$http_x $request_time\n";
    }
--- raw_request eval
["GET /t HT", "TP/1.1\r\nHost: x\r\nX: a", "b\r\nConnection: close\r\n\r\n"]
--- raw_request_middle_delay: 0.05
--- response_body_like: ^ab 0\.(?:0[5-9]|[1-9])\d*$



=== TEST 17: response_body may be a regex
--- config
    location = /t {
        return 200 "hello 17\n";
    }
--- request
GET /t
--- response_body eval
qr/^hello \d+$/



=== TEST 18: response_body_unlike is a regex that must not match
--- config
    location = /t {
        return 200 "hello\n";
    }
--- request
GET /t
--- response_body_unlike: good\s*bye



=== TEST 19: keys of JSON may be sorted before it is compared
--- config
    location = /t {
        return 200 '{"b": [2, 1], "a": {"d": null, "c": true}}';
    }
--- request
GET /t
--- response_body_json_sort
--- response_body
{"a":{"c":true,"d":null},"b":[2,1]}



=== TEST 20: response_headers are there, or not, and know the port
--- config
    location = /t {
        add_header X-Twice 1;
        add_header X-Twice 2;
        add_header X-Empty "";
        return 301 /u;
    }
--- request
GET /t
--- error_code: 301
--- response_headers
X-Twice: 1, 2
Location: http://localhost:$ServerPort/u
! X-Empty
! X-None
--- response_body_like: 301 Moved Permanently



=== TEST 21: response_headers_like are regexes that match all of a value
--- config
    location = /t {
        add_header X-Time $msec;
        return 204;
    }
--- request
GET /t
--- error_code: 204
--- response_headers_like
X-Time: \d+\.\d\d\d
Server: nginx.*
--- raw_response_headers_like: ^HTTP/1\.1 204 No Content\r\nServer: .*\r\nX-Time
--- raw_response_headers_unlike: Content-Length



=== TEST 22: error_code_like is a regex
--- config
    error_page 404 = @missing;

    location @missing {
        return 410 "gone\n";
    }
--- request
GET /missing
--- error_code_like: ^4(?:04|10)$
--- response_body
gone



=== TEST 23: a chunked response is put together
--- config
    location = /t.txt {
        root $TEST_NGINX_SERVER_ROOT/html;
        sub_filter_types *;
        sub_filter_once off;
        sub_filter seat chair;
    }
--- user_files eval
[["t.txt" => "a seat, " . "another seat, " x 4000 . "\n"]]
--- request
GET /t.txt
--- response_headers
Transfer-Encoding: chunked
! Content-Length
--- response_body eval
"a chair, " . "another chair, " x 4000 . "\n"
--- body_length: 60010



=== TEST 24: a response to HEAD has no body
--- config
    location = /t {
        return 200 "hello\n";
    }
--- request
HEAD /t
--- response_headers
Content-Length: 6
--- response_body



=== TEST 25: files may lie in directories and have a time
--- config
--- user_files
>>> a/b.txt 202001022003.04
in a/b.txt
twice
>>> c.txt
>>> d.txt
in d.txt
--- request eval
["GET /a/b.txt", "GET /c.txt", "GET /d.txt"]
--- response_headers eval
["Last-Modified: Thu, 02 Jan 2020 20:03:04 GMT", "Content-Length: 0", ""]
--- response_body eval
["in a/b.txt\ntwice\n", "", "in d.txt\n"]



=== TEST 26: a 304 has no body
--- config
--- user_files
>>> t.txt 202001022003.04
hello
--- request
GET /t.txt
--- more_headers
If-Modified-Since: Thu, 02 Jan 2020 20:03:04 GMT
--- error_code: 304
--- response_body



=== TEST 27: main_config and http_config go where they belong
--- main_config
worker_shutdown_timeout 1s;
--- http_config
    map $uri $answer {
        default "mapped";
    }

    upstream self {
        server 127.0.0.1:$TEST_NGINX_SERVER_PORT;
    }
--- post_main_config
timer_resolution 100ms;
--- server_name: tickets.example
--- config
    location = /t {
        proxy_pass http://self/u;
    }

    location = /u {
        return 200 "$answer by $server_name\n";
    }
--- request
GET /t
--- response_body
mapped by tickets.example



=== TEST 28: what the test file sets is in nginx.conf
--- config
    location = /nginx.conf {
        root $TEST_NGINX_SERVER_ROOT/conf;
    }
--- request
GET /nginx.conf
--- response_body_like eval
my $port = main::server_port();
qr/^worker_processes \s+ 2;
   .* ^master_process \s on;
   .* ^env \s SELFTEST;
   .* ^env \s SELFTEST_B=2;
   .* listen \s+ $port;
   .* worker_connections \s+ 128;/msx



=== TEST 29: patterns must be in the lines that a request adds to error.log
--- config
    location = /t {
        return 200;
    }
--- request
GET /t?a=1
--- error_log
http request line: "GET /t?a=1 HTTP/1.1"
http finalize request: 0, "/t?a=1"
--- no_error_log
[error]
"GET /other



=== TEST 30: patterns may be regexes
--- config
    location = /t {
        return 200;
    }
--- request
GET /t?a=1
--- error_log eval
[qr/http request line: "GET \S+ HTTP\/1\.1"/, "http request line"]
--- no_error_log eval
qr/http request line: "POST/



=== TEST 31: grep_error_log gathers what it matches
--- config
    location = /t {
        rewrite ^ /u;
    }

    location = /u {
        return 204;
    }
--- request
GET /t?a=1
--- error_code: 204
--- grep_error_log eval
qr/rewritten data: "[^"]*", args: "[^"]*"/
--- grep_error_log_out eval
["rewritten data: \"/u\", args: \"a=1\"\n",
 "rewritten data: \"/u\", args: \"a=1\"\n"]



=== TEST 32: log_level is that of the block
--- config
    location = /missing.txt {
        root $TEST_NGINX_SERVER_ROOT/html;
    }
--- log_level: error
--- request
GET /missing.txt
--- error_code: 404
--- error_log
missing.txt" failed (2: No such file or directory)
--- no_error_log
[debug]
[notice]



=== TEST 33: patterns are looked for in access.log
--- config
    location = /t {
        return 200;
    }
--- request
GET /t?a=1
--- access_log
"GET /t?a=1 HTTP/1.1" 200
--- no_access_log
POST



=== TEST 34: a wrong configuration must be refused
--- config
    no_such_directive on;
--- must_die
--- error_log eval
qr/\[emerg\] .*unknown directive "no_such_directive"/
--- no_error_log
start worker process



=== TEST 35: a wrong configuration must be refused with that exit code
--- http_config
    server {
        listen 0;
    }
--- config
    return;
--- must_die: 1
--- suppress_stderr
--- error_log
[emerg]



=== TEST 36: a response that does not come is no failure where abort says so
--- config
--- raw_request eval
"GET / HTTP/1.1\r\n"
--- timeout: 150ms
--- abort
--- error_code:
--- response_body



=== TEST 37: a response that is ignored is not checked
--- config
    location = /t {
        return 500;
    }
--- request
GET /t
--- ignore_response
--- wait: 0.05
--- error_log
http finalize request: 500



=== TEST 38: the client may stop sending
--- config
--- raw_request eval
"GET / HTTP/1.1\r\n"
--- shutdown
--- ignore_response
--- error_log
client prematurely closed connection



=== TEST 39: init is Perl that is run before the requests
--- config
--- init
open my $out, '>', "$Test::Nginx::Util::HtmlDir/init.txt" or die $!;
print $out "init\n";
close $out;
--- request
GET /init.txt
--- response_body
init



=== TEST 40: HTTP/0.9 knows no headers
--- config
    location = /t {
        return 200 "hello\n";
    }
--- raw_request eval
"GET /t\r\n"
--- http09
--- response_body
hello



=== TEST 41: a block may be skipped for a version of nginx
--- config
    nothing that nginx knows;
--- request
GET /t
--- skip_nginx
2: > 0.1.0



=== TEST 42: a block may be skipped for a reason
--- config
    nothing that nginx knows;
--- request
GET /t
--- skip_eval: 3: $^O eq 'linux'



=== TEST 43: a block may be left out
--- config
    nothing that nginx knows;
--- request
GET /t
--- SKIP



=== TEST 44: a test file may have sections of its own
--- shared_config
    location = /t {
        return 200 "hello\n";
    }
--- request
GET /t
--- response_body
hello
--- body_length: 6



=== TEST 45: error.log is also checked when nginx is down
--- config
    location = /t {
        return 200 "hello\n";
    }
--- request
GET /t
--- response_body
hello
--- shutdown_error_log eval
qr/\[notice\] .* exit$/
--- LAST



=== TEST 46: blocks after the last are left out
--- config
    nothing that nginx knows;
--- request
GET /t
