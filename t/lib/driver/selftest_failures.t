# A check that cannot fail proves nothing: in each block below one check must
# fail, the one that --- fails names, and no other.  The blocks are run by a
# child, which is given the path of Perl modules that this file was started
# with; so this holds for openresty's Test::Nginx::Socket too.

use strict;
use warnings;

use File::Temp qw( tempfile );
use Test::Base;

# These end the tests before anything is checked.
my %BailsOut = (
    'a block without a request'    => "--- config\n",
    'a request line of four words' => "--- config\n--- request\nGET / a b\n",
    'a variable that is not set'   => "--- config\n    # \$TEST_NGINX_NONE\n"
                                      . "--- request\nGET /\n",
    'one expectation for two requests'
        => "--- config\n--- request eval\n['GET /', 'GET /']\n"
           . "--- error_code: 200\n",
);

# So do these with our driver; the original waits, or knows the section.
my %OursBailsOut = (
    'a configuration that is wrong' => "--- config\n    nonsense;\n"
                                       . "--- suppress_stderr\n"
                                       . "--- request\nGET /\n",
    'a section that is not supported' => "--- config\n--- http2\n"
                                         . "--- request\nGET /\n",
);

my $spec = do { local $/; <DATA> };
spec_string($spec);

my @blocks = blocks();
my ($driver) = grep { -e "$_/Test/Nginx/Socket.pm" } @INC;

%BailsOut = (%BailsOut, %OursBailsOut) if -e "$driver/selftest.t";

plan tests => @blocks + keys %BailsOut;

my @results = run_child($spec);

for my $block (@blocks) {
    my $name = $block->name;
    my @failed = grep { /^not ok .*\Q$name\E/ } @results;
    my $fails = $block->fails;

    ok(@failed == 1 && $failed[0] =~ /$fails/, $name)
        or diag("failed: ", @failed ? @failed : 'nothing');
}

for my $title (sort keys %BailsOut) {
    my ($first) = grep { /^(?:not )?ok|^Bail out/ }
                  run_child("=== TEST 1: $title\n$BailsOut{$title}");

    like($first, qr/^Bail out!.* TEST 1: /, "$title ends the tests");
}

# The output of a test file that has these blocks.
sub run_child {
    my ($blocks) = @_;

    my ($out, $path) = tempfile(UNLINK => 1, SUFFIX => '.t');

    print $out "BEGIN { open STDERR, '>', '/dev/null' }\n",
               "use Test::Nginx::Socket 'no_plan';\n",
               "no_shuffle();\nrun_tests();\n__DATA__\n\n$blocks";
    close $out;

    open my $in, '-|', $^X, (map { "-I$_" } @INC), $path
        or die "cannot run $^X: $!";

    return <$in>;
}

__DATA__

=== TEST 1: another body
--- config
    location = /t {
        return 200 "hello\n";
    }
--- request
GET /t
--- response_body
hallo
--- fails: response_body - response is expected



=== TEST 2: a body with one more byte
--- config
    location = /t {
        return 200 "hello\n";
    }
--- request
GET /t
--- response_body chomp
hello
--- fails: response_body - response is expected



=== TEST 3: a body that does not match
--- config
    location = /t {
        return 200 "hello\n";
    }
--- request
GET /t
--- response_body_like: ^hallo
--- fails: response_body_like



=== TEST 4: a body that matches
--- config
    location = /t {
        return 200 "hello\n";
    }
--- request
GET /t
--- response_body_unlike: hello
--- fails: response_body_unlike



=== TEST 5: other JSON
--- config
    location = /t {
        return 200 '{"b": 1, "a": 2}';
    }
--- request
GET /t
--- response_body_json_sort
--- response_body
{"a":2,"b":2}
--- fails: response_body



=== TEST 6: a status that is not 200
--- config
    location = /t {
        return 201;
    }
--- request
GET /t
--- fails: status code ok



=== TEST 7: another status
--- config
    location = /t {
        return 201;
    }
--- request
GET /t
--- error_code: 200
--- fails: status code ok



=== TEST 8: a status that does not match
--- config
    location = /t {
        return 201;
    }
--- request
GET /t
--- error_code_like: ^4..$
--- fails: status code ok



=== TEST 9: another value of a header
--- config
    location = /t {
        return 200;
    }
--- request
GET /t
--- response_headers
Server: nginx/0
Connection: close
--- fails: header Server ok



=== TEST 10: a header that is missing
--- config
    location = /t {
        return 200;
    }
--- request
GET /t
--- response_headers
X-None: a
--- fails: header X-None ok



=== TEST 11: a header that must not be there
--- config
    location = /t {
        return 200;
    }
--- request
GET /t
--- response_headers
! Server
! X-None
--- fails: header Server not present



=== TEST 12: a header that does not match from end to end
--- config
    location = /t {
        add_header X-N "12";
        return 200;
    }
--- request
GET /t
--- response_headers_like
X-N: \d
Server: nginx.*
--- fails: header X-N like ok



=== TEST 13: raw headers that do not match
--- config
    location = /t {
        return 200;
    }
--- request
GET /t
--- raw_response_headers_like: X-None
--- fails: raw resp headers like



=== TEST 14: raw headers that match
--- config
    location = /t {
        return 200;
    }
--- request
GET /t
--- raw_response_headers_unlike: Server: nginx
--- fails: raw resp headers unlike



=== TEST 15: the second of two requests
--- config
    location = /a {
        return 200 "a";
    }

    location = /b {
        return 200 "b";
    }
--- request eval
["GET /a", "GET /b"]
--- response_body eval
["a", "a"]
--- fails: req 1



=== TEST 16: the second of two pipelined requests
--- config
    location = /a {
        return 200 "a";
    }

    location = /b {
        return 200 "b";
    }
--- pipelined_requests eval
["GET /a", "GET /b"]
--- response_body eval
["a", "a"]
--- fails: req 1



=== TEST 17: a pattern that is not in error.log
--- config
    location = /t {
        return 200;
    }
--- request
GET /t
--- error_log
http request line
no such line
--- fails: "no such line" (should )?match



=== TEST 18: a regex that matches nothing in error.log
--- config
    location = /t {
        return 200;
    }
--- request
GET /t
--- error_log eval
qr/http request li[^n]/
--- fails: should match|matches



=== TEST 19: a pattern that must not be in error.log
--- config
    location = /missing.txt {
        root $TEST_NGINX_SERVER_ROOT/html;
    }
--- log_level: error
--- request
GET /missing.txt
--- error_code: 404
--- no_error_log
[error]
[alert]
--- fails: pattern "\[error\]"



=== TEST 20: error.log has less than is grepped
--- config
    location = /t {
        return 200;
    }
--- request
GET /t
--- grep_error_log eval
qr/http request line: "GET/
--- grep_error_log_out
http request line: "GET
http request line: "GET
--- fails: grep_error_log_out



=== TEST 21: a pattern that is not in access.log
--- config
    location = /t {
        return 200;
    }
--- request
GET /t
--- access_log
GET /t
GET /other
--- fails: GET /other



=== TEST 22: a pattern that must not be in access.log
--- config
    location = /t {
        return 200;
    }
--- request
GET /t
--- no_access_log
GET /t
--- fails: GET /t



=== TEST 23: a configuration that should be refused and is not
--- config
--- must_die
--- fails: die as expected



=== TEST 24: a configuration that is refused with another exit code
--- config
    nonsense;
--- must_die: 2
--- fails: exit code



=== TEST 25: a response that does not come in time
--- config
--- raw_request eval
"GET / HTTP/1.1\r\n"
--- ignore_response
--- timeout: 100ms
--- fails: client socket timed out



=== TEST 26: a connection that is closed without a response
--- config
    location = /t {
        return 444;
    }
--- request
GET /t
--- fails: status code ok



=== TEST 27: chunks that lack their end
--- config
    location = /t {
        add_header Transfer-Encoding chunked;
        return 200 "5\r\nhello\r\n0\r\n";
    }
--- request
GET /t
--- error_code:
--- fails: chunk



=== TEST 28: a chunk that is shorter than it says
--- config
    location = /t {
        add_header Transfer-Encoding chunked;
        return 200 "6\r\nhello\r\n0\r\n\r\n";
    }
--- request
GET /t
--- error_code:
--- fails: chunk



=== TEST 29: a pattern that is not in error.log when nginx is down
--- config
    location = /t {
        return 200;
    }
--- request
GET /t
--- shutdown_error_log
no such line
--- fails: no such line



=== TEST 30: a pattern that must not be in error.log when nginx is down
--- config
    location = /t {
        return 200;
    }
--- request
GET /t
--- no_shutdown_error_log
: exit
--- fails: : exit
