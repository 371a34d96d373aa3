# Openings of the queue as they are written in nginx.conf.

use Test::Nginx::Socket;
use Concert;

plan tests => 49;

run_tests();

__DATA__

=== TEST 1: an opening is a time: tomorrow is no time
--- queue: opens=tomorrow
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "opens=.*": write a date, a time and how far it is from UTC \(RFC 3339\), as opens=2027-03-01T20:00:00\+09:00/



=== TEST 2: an opening is a time: a time is written
--- queue: opens=
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "opens=.*": write a date, a time and how far it is from UTC \(RFC 3339\), as opens=2027-03-01T20:00:00\+09:00/



=== TEST 3: an opening is a time: a date alone is none
--- queue: opens=2027-03-01
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "opens=.*": write a date, a time and how far it is from UTC \(RFC 3339\), as opens=2027-03-01T20:00:00\+09:00/



=== TEST 4: an opening is a time: it says how far it is from UTC
--- queue: opens=2027-03-01T20:00:00
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "opens=.*": write a date, a time and how far it is from UTC \(RFC 3339\), as opens=2027-03-01T20:00:00\+09:00/



=== TEST 5: an opening is a time: it is of a day that there is
--- queue: opens=2027-02-29T20:00:00Z
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "opens=.*": write a date, a time and how far it is from UTC \(RFC 3339\), as opens=2027-03-01T20:00:00\+09:00/



=== TEST 6: an opening is a time: and of such a month
--- queue: opens=2027-13-01T20:00:00Z
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "opens=.*": write a date, a time and how far it is from UTC \(RFC 3339\), as opens=2027-03-01T20:00:00\+09:00/



=== TEST 7: an opening is a time: and hour
--- queue: opens=2027-03-01T24:00:00Z
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "opens=.*": write a date, a time and how far it is from UTC \(RFC 3339\), as opens=2027-03-01T20:00:00\+09:00/



=== TEST 8: an opening is a time: and minute
--- queue: opens=2027-03-01T20:60:00Z
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "opens=.*": write a date, a time and how far it is from UTC \(RFC 3339\), as opens=2027-03-01T20:00:00\+09:00/



=== TEST 9: an opening is a time: and second
--- queue: opens=2027-03-01T20:00:60Z
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "opens=.*": write a date, a time and how far it is from UTC \(RFC 3339\), as opens=2027-03-01T20:00:00\+09:00/



=== TEST 10: an opening is a time: and of a zone that there is
--- queue: opens=2027-03-01T20:00:00+24:00
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "opens=.*": write a date, a time and how far it is from UTC \(RFC 3339\), as opens=2027-03-01T20:00:00\+09:00/



=== TEST 11: an opening is a time: which is written as RFC 3339 has it
--- queue: opens=2027-03-01T20:00:00+0900
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "opens=.*": write a date, a time and how far it is from UTC \(RFC 3339\), as opens=2027-03-01T20:00:00\+09:00/



=== TEST 12: an opening is a time: so is a part of a second
--- queue: opens=2027-03-01T20:00:00.Z
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "opens=.*": write a date, a time and how far it is from UTC \(RFC 3339\), as opens=2027-03-01T20:00:00\+09:00/



=== TEST 13: an opening is a time: and nothing follows
--- queue: opens=2027-03-01T20:00:00Zx
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "opens=.*": write a date, a time and how far it is from UTC \(RFC 3339\), as opens=2027-03-01T20:00:00\+09:00/



=== TEST 14: an opening is a time: it is not before 1970
--- queue: opens=1969-12-31T23:59:59Z
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "opens=.*": write a date, a time and how far it is from UTC \(RFC 3339\), as opens=2027-03-01T20:00:00\+09:00/



=== TEST 15: an opening is a time: there is a T between
--- queue: "opens=2027-03-01 20:00:00Z"
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "opens=.*": write a date, a time and how far it is from UTC \(RFC 3339\), as opens=2027-03-01T20:00:00\+09:00/



=== TEST 16: a draw is on or off
--- queue: draw=yes
--- must_die
--- error_log eval
qr/\[emerg\].*invalid "draw=yes": write draw=on, and the order/



=== TEST 17: a draw is drawn at an opening
--- queue: draw=on
--- must_die
--- error_log eval
qr/\[emerg\].*"draw=on" needs an opening at which it is drawn: write also opens=2027-03-01T20:00:00\+09:00/



=== TEST 18: an opening is told as it is written, in UTC: 2027-03-01T20:00:00+09:00
--- queue: opens=2027-03-01T20:00:00+09:00 draw=on
--- data
$user = stranger()
--- request
POST /api/token
{"userId": $user}
--- json
{"userId": $user, "status": "WAITING", "position": null,
 "waitingTime": "<number>", "expiresAt": null, "opensAt": "2027-03-01T11:00:00.000+00:00",
 "nextPoll": "<number>"}



=== TEST 19: an opening is told as it is written, in UTC: 2028-02-29T23:59:59.25Z
--- queue: opens=2028-02-29T23:59:59.25Z draw=on
--- data
$user = stranger()
--- request
POST /api/token
{"userId": $user}
--- json
{"userId": $user, "status": "WAITING", "position": null,
 "waitingTime": "<number>", "expiresAt": null, "opensAt": "2028-02-29T23:59:59.250+00:00",
 "nextPoll": "<number>"}



=== TEST 20: an opening is told as it is written, in UTC: 2100-01-01T00:00:00-05:30
--- queue: opens=2100-01-01T00:00:00-05:30 draw=on
--- data
$user = stranger()
--- request
POST /api/token
{"userId": $user}
--- json
{"userId": $user, "status": "WAITING", "position": null,
 "waitingTime": "<number>", "expiresAt": null, "opensAt": "2100-01-01T05:30:00.000+00:00",
 "nextPoll": "<number>"}



=== TEST 21: an opening is told as it is written, in UTC: 9999-12-31t23:59:59z
--- queue: opens=9999-12-31t23:59:59z draw=on
--- data
$user = stranger()
--- request
POST /api/token
{"userId": $user}
--- json
{"userId": $user, "status": "WAITING", "position": null,
 "waitingTime": "<number>", "expiresAt": null, "opensAt": "9999-12-31T23:59:59.000+00:00",
 "nextPoll": "<number>"}



=== TEST 22: an opening may be over
--- queue: opens=2020-01-01T00:00:00Z draw=on
--- data
$user = stranger()
--- request
POST /api/token
{"userId": $user}
--- json
{"userId": $user, "status": "ACTIVE", "position": 0, "waitingTime": 0,
 "expiresAt": "<time>", "nextPoll": 0}
