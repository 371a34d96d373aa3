# The list of concerts.

use Test::Nginx::Socket;
use Concert;

plan tests => 64;

run_tests();

__DATA__

=== TEST 1: concerts are listed by id
--- data
$user = stranger()
$one = concert('First')
$two = concert('Second')
$after = $one - 1
--- active: $user
--- request
GET /api/concerts?after=$after
--- response_headers
Content-Type: application/json
! Link
--- json
[{"concertId": $one, "title": "First"}, {"concertId": $two, "title": "Second"}]



=== TEST 2: a page has at most size concerts and links to the next
--- data
$user = stranger()
$one = concert('First')
$two = concert('Second')
$after = $one - 1
--- active: $user
--- request
GET /api/concerts?size=1&after=$after
--- response_headers_like
Link: <\?size=.*>; rel="next"
--- json
[{"concertId": $one, "title": "First"}]



=== TEST 3: the last page links to no other
--- data
$user = stranger()
$one = concert('First')
$two = concert('Second')
--- active: $user
--- request
GET /api/concerts?size=1&after=$one
--- response_headers
! Link
--- json
[{"concertId": $two, "title": "Second"}]



=== TEST 4: after the last concert there is an empty list
--- data
$user = stranger()
$one = concert()
--- active: $user
--- request
GET /api/concerts?after=$one
--- json
[]



=== TEST 5: after may be 2^53-1
--- data
$user = stranger()
--- active: $user
--- request
GET /api/concerts?after=9007199254740991
--- json
[]



=== TEST 6: a title is sent as it is written
--- data
$user = stranger()
$one = concert(qq{"Quote" \\ 한강 \t<&>})
$after = $one - 1
--- active: $user
--- request
GET /api/concerts?after=$after
--- json
[{"concertId": $one, "title": "\"Quote\" \\ 한강 \t<&>"}]



=== TEST 7: concerts are listed for active tokens only
--- data
$user = user()
--- caller: $user
--- request
GET /api/concerts
--- problem: token_not_active



=== TEST 8: concerts are not listed for who waits
--- data
$first = stranger()
$user = user()
--- queue: capacity=1
--- before
$first POST /api/token {"userId": $first}
$user POST /api/token {"userId": $user}
--- caller: $user
--- request
GET /api/concerts
--- problem: token_not_active



=== TEST 9: concerts are not listed for who has left
--- data
$user = user()
--- before
$user POST /api/token {"userId": $user}
$user DELETE /api/token/$user
--- caller: $user
--- request
GET /api/concerts
--- problem: token_not_active



=== TEST 10: size is at least 1
--- data
$user = stranger()
--- active: $user
--- request
GET /api/concerts?size=0
--- problem: invalid_request {"field": "size"}



=== TEST 11: size is at most 500
--- data
$user = stranger()
--- active: $user
--- request
GET /api/concerts?size=501
--- problem: invalid_request {"field": "size"}



=== TEST 12: size may be 500
--- data
$user = stranger()
$one = concert('First')
$after = $one - 1
--- active: $user
--- request
GET /api/concerts?size=500&after=$after
--- json
[{"concertId": $one, "title": "First"}]



=== TEST 13: size is an integer
--- data
$user = stranger()
--- active: $user
--- request
GET /api/concerts?size=ten
--- problem: invalid_request {"field": "size"}



=== TEST 14: size is not empty
--- data
$user = stranger()
--- active: $user
--- request
GET /api/concerts?size=
--- problem: invalid_request {"field": "size"}



=== TEST 15: after is not negative
--- data
$user = stranger()
--- active: $user
--- request
GET /api/concerts?after=-1
--- problem: invalid_request {"field": "after"}



=== TEST 16: after is below 2^53
--- data
$user = stranger()
--- active: $user
--- request
GET /api/concerts?after=9007199254740992
--- problem: invalid_request {"field": "after"}



=== TEST 17: a parameter that nobody knows is ignored
--- data
$user = stranger()
$one = concert('First')
$after = $one - 1
--- active: $user
--- request
GET /api/concerts?afterwards=x&after=$after&resize=y
--- json
[{"concertId": $one, "title": "First"}]
