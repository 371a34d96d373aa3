# Bodies of requests: JSON, strictly.

use Test::Nginx::Socket;
use Concert;

plan tests => 273;

run_tests();

__DATA__

=== TEST 1: white space around JSON makes no difference
--- request eval
"POST /api/token\n \t\r\n{ \"userId\"\n:\t5 }\r\n"
--- more_headers
Content-Length: 22
--- response_body_like: "status":"ACTIVE"



=== TEST 2: members that nobody knows are ignored
--- request
POST /api/token
{"name": "Kim", "userId": 5, "more": {"userId": [1, 2.5, null, true]}}
--- response_body_like: "userId":5,



=== TEST 3: a member that nobody knows may hold any text
--- request eval
"POST /api/token\n{\"userId\": 5, \"note\": \"\xed\x95\x9c\\ud83c\\udfb5\\n\"}"
--- response_body_like: "userId":5,



=== TEST 4: a member that nobody knows may hold a zero
--- request
POST /api/token
{"userId": 5, "note": "\u0000"}
--- response_body_like: "userId":5,



=== TEST 5: a body is needed
--- request
POST /api/token
--- problem: invalid_request



=== TEST 6: an empty body is no JSON
--- request
POST /api/token
--- more_headers
Content-Length: 0
--- problem: invalid_request



=== TEST 7: an empty object lacks its members
--- request
POST /api/token
{}
--- problem: invalid_request {"field": "userId"}



=== TEST 8: a body that is cut off is no JSON
--- request
POST /api/token
{"userId": 5
--- problem: invalid_request



=== TEST 9: text behind JSON is an error
--- request
POST /api/token
{"userId": 5} and more
--- problem: invalid_request



=== TEST 10: a second object behind the first is an error
--- request
POST /api/token
{"userId": 5}{"userId": 6}
--- problem: invalid_request



=== TEST 11: a comma behind the last member is an error
--- request
POST /api/token
{"userId": 5,}
--- problem: invalid_request



=== TEST 12: a comment is an error
--- request
POST /api/token
{"userId": 5 /* Kim */}
--- problem: invalid_request



=== TEST 13: a name without quotes is an error
--- request
POST /api/token
{userId: 5}
--- problem: invalid_request



=== TEST 14: a member is not given twice
--- request
POST /api/token
{"userId": 5, "userId": 5}
--- problem: invalid_request {"field": "userId"}



=== TEST 15: a member is not given twice in different spelling
--- request
POST /api/token
{"userId": 5, "user\u0049d": 5}
--- problem: invalid_request {"field": "userId"}



=== TEST 16: the name of a member is told apart by case
--- request
POST /api/token
{"userid": 5}
--- problem: invalid_request {"field": "userId"}



=== TEST 17: an array is no request
--- request
POST /api/token
[{"userId": 5}]
--- problem: invalid_request



=== TEST 18: a number is no request
--- request
POST /api/token
5
--- problem: invalid_request



=== TEST 19: null is no request
--- request
POST /api/token
null
--- problem: invalid_request



=== TEST 20: 5.0 is no integer
--- request
POST /api/token
{"userId": 5.0}
--- problem: invalid_request {"field": "userId"}



=== TEST 21: 5e0 is no integer
--- request
POST /api/token
{"userId": 5e0}
--- problem: invalid_request {"field": "userId"}



=== TEST 22: an integer has no leading zero
--- request
POST /api/token
{"userId": 05}
--- problem: invalid_request



=== TEST 23: an integer in quotes is a string
--- request
POST /api/token
{"userId": "5"}
--- problem: invalid_request {"field": "userId"}



=== TEST 24: true is no integer
--- request
POST /api/token
{"userId": true}
--- problem: invalid_request {"field": "userId"}



=== TEST 25: null is no integer
--- request
POST /api/token
{"userId": null}
--- problem: invalid_request {"field": "userId"}



=== TEST 26: an id in a body is not 0
--- request
POST /api/token
{"userId": 0}
--- problem: invalid_request {"field": "userId"}



=== TEST 27: an id in a body is not negative
--- request
POST /api/token
{"userId": -5}
--- problem: invalid_request {"field": "userId"}



=== TEST 28: an id in a body may be 2^53-1
--- request
POST /api/token
{"userId": 9007199254740991}
--- response_body_like: "userId":9007199254740991,



=== TEST 29: an id in a body is below 2^53
--- request
POST /api/token
{"userId": 9007199254740992}
--- problem: invalid_request {"field": "userId"}



=== TEST 30: an integer that nothing can hold is an error
--- request
POST /api/token
{"userId": 99999999999999999999999999}
--- error_code: 400
--- response_body_like: "code":"invalid_request"



=== TEST 31: a byte order mark is an error
--- request eval
"POST /api/token\n\xef\xbb\xbf{\"userId\": 5}"
--- problem: invalid_request



=== TEST 32: bytes that are not UTF-8 are an error
--- request eval
"POST /api/token\n{\"userId\": 5, \"note\": \"\xff\"}"
--- problem: invalid_request



=== TEST 33: UTF-8 that is longer than it must be is an error
--- request eval
"POST /api/token\n{\"userId\": 5, \"note\": \"\xc0\xaf\"}"
--- problem: invalid_request



=== TEST 34: a surrogate in UTF-8 is an error
--- request eval
"POST /api/token\n{\"userId\": 5, \"note\": \"\xed\xa0\x80\"}"
--- problem: invalid_request



=== TEST 35: a lone high surrogate is an error
--- request
POST /api/token
{"userId": 5, "note": "\ud83c"}
--- problem: invalid_request



=== TEST 36: a lone low surrogate is an error
--- request
POST /api/token
{"userId": 5, "note": "\udfb5"}
--- problem: invalid_request



=== TEST 37: surrogates in the wrong order are an error
--- request
POST /api/token
{"userId": 5, "note": "\udfb5\ud83c"}
--- problem: invalid_request



=== TEST 38: a control character in a string is an error
--- request eval
"POST /api/token\n{\"userId\": 5, \"note\": \"\x01\"}"
--- problem: invalid_request



=== TEST 39: a body of zeros is an error
--- request eval
"POST /api/token\n" . "\0" x 16
--- problem: invalid_request



=== TEST 40: a zero behind JSON is an error
--- request eval
"POST /api/token\n{\"userId\": 5}\0"
--- problem: invalid_request



=== TEST 41: a body may nest a hundred deep
--- request eval
"POST /api/token\n{\"userId\": 5, \"deep\": " . '[' x 100 . ']' x 100 . '}'
--- response_body_like: "userId":5,



=== TEST 42: a body that nests too deep is an error and no more
--- request eval
"POST /api/token\n{\"userId\": 5, \"deep\": " . '[' x 30000 . ']' x 30000 . '}'
--- problem: invalid_request



=== TEST 43: a body that only opens is an error and no more
--- request eval
"POST /api/token\n" . '{"a":' x 13000
--- problem: invalid_request



=== TEST 44: a body may have 65536 bytes
--- request eval
"POST /api/token\n{\"userId\": 5, \"note\": \"" . 'x' x 65511 . '"}'
--- response_body_like: "userId":5,



=== TEST 45: a body has not more than 65536 bytes
--- request eval
"POST /api/token\n{\"userId\": 5, \"note\": \"" . 'x' x 65512 . '"}'
--- problem: body_too_large
--- no_error_log
[alert]



=== TEST 46: a length that is too large is refused before the body is sent
--- http_config
lingering_close off;
--- request
POST /api/token
--- more_headers
Content-Length: 9007199254740993
--- timeout: 15
--- problem: body_too_large
--- no_error_log
[alert]



=== TEST 47: a body may come in chunks
--- request eval
"POST /api/token\n6\r\n{\"user\r\n1\r\nI\r\n6\r\nd\": 5}\r\n0\r\n\r\n"
--- more_headers
Transfer-Encoding: chunked
--- response_body_like: "userId":5,



=== TEST 48: chunks have not more than 65536 bytes together
--- request eval
"POST /api/token\n" . "4000\r\n" . ' ' x 16384 . "\r\n"
                    . ("4000\r\n" . ' ' x 16384 . "\r\n") x 3
                    . "d\r\n{\"userId\": 5}\r\n0\r\n\r\n"
--- more_headers
Transfer-Encoding: chunked
--- problem: body_too_large
--- no_error_log
[alert]



=== TEST 49: chunks that are none are an error
--- request eval
"POST /api/token\nxyz\r\n"
--- more_headers
Transfer-Encoding: chunked
--- problem: invalid_request
--- no_error_log
[alert]



=== TEST 50: a body may come in pieces
--- raw_request eval
[ "POST /api/token HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n",
  "Content-Length: 13\r\n\r\n{\"use", "rId\": ", "5}" ]
--- raw_request_middle_delay: 0.05
--- response_body_like: "userId":5,



=== TEST 51: a Content-Type is not needed
--- request
POST /api/token
{"userId": 5}
--- response_body_like: "userId":5,



=== TEST 52: the Content-Type may be application/json
--- request
POST /api/token
{"userId": 5}
--- more_headers
Content-Type: application/json
--- response_body_like: "userId":5,



=== TEST 53: the Content-Type may have parameters and any case
--- request
POST /api/token
{"userId": 5}
--- more_headers
Content-Type: Application/JSON ; charset=UTF-8
--- response_body_like: "userId":5,



=== TEST 54: a Content-Type that is built on JSON is JSON
--- request
POST /api/token
{"userId": 5}
--- more_headers
Content-Type: application/merge-patch+json
--- response_body_like: "userId":5,



=== TEST 55: plain text is not supported
--- request
POST /api/token
{"userId": 5}
--- more_headers
Content-Type: text/plain
--- problem: media_type_unsupported



=== TEST 56: a form is not supported
--- request
PUT /api/balance/charge
userId=5&amount=5
--- more_headers
Content-Type: application/x-www-form-urlencoded
--- problem: media_type_unsupported



=== TEST 57: a Content-Type that only begins like JSON is not supported
--- request
POST /api/token
{"userId": 5}
--- more_headers
Content-Type: application/jsonlines
--- problem: media_type_unsupported



=== TEST 58: a Content-Type on a request without a body makes no difference
--- data
$user = user(7)
--- request
GET /api/balance/$user
--- more_headers
Content-Type: text/plain
--- json
{"userId": $user, "amount": 7}



=== TEST 59: a body that a route does not read does no harm to the next request
--- data
$user = user(7)
--- pipelined_requests eval
[ 'GET /api/balance/$user
GET /api/nothing HTTP/1.1', 'GET /api/balance/$user' ]
--- error_code eval
[ 200, 200 ]
--- json eval
[ '{"userId": $user, "amount": 7}', '{"userId": $user, "amount": 7}' ]



=== TEST 60: a body that is refused unread does no harm to the next request
--- data
$user = user(7)
--- pipelined_requests eval
[ 'DELETE /api/token
{"userId": 5}', 'GET /api/balance/$user' ]
--- error_code eval
[ 405, 200 ]
--- response_body_like eval
[ qr/"code":"method_not_allowed"/, qr/"amount":7/ ]



=== TEST 61: a body that is wrong does no harm to the next request
--- data
$user = user(7)
--- pipelined_requests eval
[ 'POST /api/token
{"userId": 5', 'GET /api/balance/$user' ]
--- error_code eval
[ 400, 200 ]
--- response_body_like eval
[ qr/"code":"invalid_request"/, qr/"amount":7/ ]



=== TEST 62: chunks may have 65536 bytes together, which do not fit into memory
--- request eval
"POST /api/token\n" . ("4000\r\n" . ' ' x 16384 . "\r\n") x 3
                    . "3ff3\r\n" . ' ' x 16371 . "\r\n"
                    . "d\r\n{\"userId\": 5}\r\n0\r\n\r\n"
--- more_headers
Transfer-Encoding: chunked
--- response_body_like: "userId":5,



=== TEST 63: a body that a small buffer does not hold is read from its file
--- config
location = /api/token { client_body_buffer_size 8; concert token_enter; }
--- request eval
"POST /api/token\n{\"userId\": " . ' ' x 5000 . "5}"
--- response_body_like: "userId":5,
--- error_log
a client request body is buffered to a temporary file



=== TEST 64: a body that nginx keeps in a file is read there
--- config
location = /api/token { client_body_in_file_only clean; concert token_enter; }
--- request
POST /api/token
{"userId": 5}
--- response_body_like: "userId":5,



=== TEST 65: a body in a file has not more than 65536 bytes either
--- config
location = /api/token {
    client_body_in_file_only clean; client_max_body_size 1m;
    concert token_enter;
}
--- request eval
"POST /api/token\n" . ("4000\r\n" . ' ' x 16384 . "\r\n") x 4
                    . "d\r\n{\"userId\": 5}\r\n0\r\n\r\n"
--- more_headers
Transfer-Encoding: chunked
--- problem: body_too_large
--- no_error_log
[alert]



=== TEST 66: a member that nobody knows is not given twice, either
--- request
POST /api/token
{"note": 1, "userId": 5, "note": 2}
--- problem: invalid_request {"field": "note"}



=== TEST 67: a member inside of a member is not given twice
--- request
POST /api/token
{"userId": 5, "more": [{"a": 1}, {"b": {"c": 1, "d": 2, "c": 3}}]}
--- problem: invalid_request {"field": "c"}



=== TEST 68: a name may have any characters
--- request eval
"POST /api/token\n{\"\xed\x95\x9c\\n\\\"\\\\\": 1, \"\xed\x95\x9c\\n\\\"\\\\\": 2}"
--- problem eval
"invalid_request {\"field\": \"\xed\x95\x9c\\n\\\"\\\\\"}"



=== TEST 69: a name may have none
--- request
POST /api/token
{"": 1, "": 2}
--- problem: invalid_request {"field": ""}



=== TEST 70: a name that is long is not sent back
--- request eval
'POST /api/token
{"' . 'x' x 1000 . '": 1, "' . 'x' x 1000 . '": 2}'
--- problem: invalid_request



=== TEST 71: a member that an operator gives twice is named
--- request
PATCH /queue
{"paused": false, "paused": true}
--- more_headers
Content-Type: application/json
Host: localhost
--- problem: invalid_request {"field": "paused"}
