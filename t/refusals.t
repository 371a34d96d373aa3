# What nginx refuses by itself, whatever guards a server: a problem that says
# something true, unless an error_page of the user's names its status.

use strict;
use warnings;

use File::Temp ();
use Test::More;

use Concert;

my $Passwords = File::Temp->new;

print $Passwords "ann:{PLAIN}secret\n";
close $Passwords;

# A server of one location that is refused, or of all routes.
sub server_with { return nginx(server => join "\n", @_) }

# A 4xx or 5xx that is a problem of that status and code; returns its detail.
sub problem_of {
    my ($answer, $status, $code, $title) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my $json = eval { $answer->json } // {};

    is join(' ', $answer->status, $answer->header('Content-Type') // '-',
                 $json->{status} // '-', $json->{code} // '-'),
       "$status application/problem+json $status $code", $title;

    return $json->{detail} // '';
}

sub raw {
    my ($nginx, $bytes) = @_;
    return ($nginx->together($bytes))[0];
}


# each status that nginx's core, its modules and a return may answer with

my %Code = (
    400 => 'invalid_request', 401 => 'unauthorized', 403 => 'forbidden',
    404 => 'route_not_found', 405 => 'method_not_allowed',
    412 => 'precondition_failed',
    413 => 'body_too_large', 414 => 'invalid_request',
    415 => 'media_type_unsupported', 416 => 'range_not_satisfiable',
    421 => 'misdirected_request', 429 => 'rate_limited', 503 => 'overloaded',
    504 => 'timeout', 505 => 'http_version_not_supported',
);

my $nginx = server_with('location ~ ^/return/4 { return 418; }',
    map { "location = /return/$_ { return $_; }" }
        400 .. 407, 409 .. 417, 419 .. 431, 451, 495 .. 497, 500 .. 511);

# to a 408 and a 444 nginx closes the connection without an answer
for my $status (400 .. 407, 409 .. 431, 451, 500 .. 511) {
    my $code = $Code{$status} // ($status < 500 ? 'refused' : 'internal_error');

    problem_of $nginx->nobody->get("/return/$status"), $status, $code,
               "$status is a problem";
}

problem_of $nginx->nobody->get("/return/$_"), 400, 'invalid_request',
           "nginx's own $_ is a 400" for 495 .. 497;

# before a location is chosen

problem_of raw($nginx, "GET / HTTP/3.0\r\nHost: x\r\n\r\n"), 505,
           'http_version_not_supported', 'a version that HTTP/1 has not is a problem';
problem_of raw($nginx, "GET /api/token/1 HTTP/1.1\r\nHost: a b\r\n\r\n"), 400,
           'invalid_request', 'so is a Host that is none';
problem_of raw($nginx, "TRACE /api/concerts HTTP/1.1\r\nHost: x\r\n\r\n"), 405,
           'method_not_allowed', 'so is TRACE';
problem_of raw($nginx, "GET /x HTTP/1.1\r\nHost: x\r\nX: " . 'x' x 40000
                       . "\r\n\r\n"), 400, 'invalid_request',
           'so are headers that are too large';
$nginx->stop;

# what guards a whole server guards no answer

for my $guard (
    [ 'deny all;', 403, 'forbidden' ],
    [ "auth_basic concert; auth_basic_user_file $Passwords;", 401,
      'unauthorized' ],
    [ 'auth_request /no; location = /no { internal; auth_request off; return 403; }',
      403, 'forbidden' ],
    [ 'auth_request /no; location = /no { internal; auth_request off; return 401; }',
      401, 'unauthorized' ],
    [ 'auth_request /no; location = /no { internal; auth_request off; return 404; }',
      500, 'internal_error' ],
    [ 'return 403;', 403, 'forbidden' ],
    [ 'if ($uri) { return 410; }', 410, 'refused' ],
    [ 'rewrite ^ $uri; rewrite ^ /there/is/none;', 404, 'route_not_found' ],
    [ 'satisfy any; deny all; auth_request /no; '
      . 'location = /no { internal; allow all; auth_request off; return 403; }',
      403, 'forbidden' ],
) {
    my ($directives, $status, $code) = @$guard;

    my $guarded = server_with($directives);
    my $answer = $guarded->nobody->get('/api/balance/1');

    my $detail = problem_of $answer, $status, $code,
                            "\"$directives\" is answered by a problem";
    unlike $detail, qr/operators/i, 'which says nothing of operators';
    is $answer->header('X-Content-Type-Options'), 'nosniff',
       'with the headers of the server';
    is $answer->header('WWW-Authenticate'), 'Basic realm="concert"',
       'and with the challenge' if $directives =~ /auth_basic/;
    $guarded->stop;
}

$nginx = nginx(
    http => 'limit_req_zone $uri zone=r:1m rate=1r/m;',
    server => <<'END',
limit_req zone=r;
END
);

$nginx->nobody->get('/api/balance/0');
my $limited = $nginx->nobody->get('/api/balance/0');
problem_of $limited, 429, 'rate_limited', 'a limit of a whole server is a problem';
ok $limited->header('Retry-After'), 'with Retry-After';
$nginx->stop;

# a 403 of an operators' route tells who may

$nginx = server_with();
like problem_of(raw($nginx, "GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), 403,
                'forbidden', 'an operators\' route is not for everybody'),
     qr/Operators' routes/, 'and says for whom';
$nginx->stop;


# a location keeps its headers, and its name in the log and in the metrics

$nginx = nginx(
    http => 'log_format r "$uri $status $concert_route $concert_code"; '
            . 'access_log logs/r.log r;',
    server => <<'END',
location = /mine { add_header X-Mine yes always; deny all; concert concerts; }
END
);

my $mine = $nginx->nobody->get('/mine');
problem_of $mine, 403, 'forbidden', 'a location of concert refuses with a problem';
is $mine->header('X-Mine'), 'yes', 'which has the headers of the location';
cmp_ok $nginx->metric('concert_request_duration_seconds_count'
                      . '{route="concerts",status="4xx"}'),
       '==', 1, 'and is counted as the location\'s';
open my $in, '<', "$nginx->{root}/logs/r.log" or die "r.log: $!";
like join('', <$in>), qr/^\S+ 403 concerts forbidden$/m, 'and logged as its';
$nginx->stop;


# an error_page of the user's

$nginx = server_with(<<'END');
error_page 404 /missing;
error_page 403 =200 @refused;
location = /missing    { internal; default_type text/plain; return 404 "a page of mine"; }
location @refused      { default_type text/plain; return 200 "come in"; }
location = /api/closed { deny all; concert concerts; }
location /page         { concert_problems off; return 410; }
END

is $nginx->nobody->get('/nothing')->body, 'a page of mine',
   'an error_page of the server is as it was';
is $nginx->nobody->get('/api/nothing')->body, 'a page of mine',
   'for the routes, too';
is $nginx->nobody->get('/api/closed')->body, 'come in',
   'whatever it does with the status';
problem_of $nginx->nobody->get('/api/token/0'), 400, 'invalid_request',
           'the routes\' own refusals stay theirs';
problem_of raw($nginx, "GET /api/token/1 HTTP/1.1\r\n\r\n"), 400,
           'invalid_request', 'and what it does not name is a problem';
like $nginx->nobody->get('/page')->body, qr/^<html>/,
     'concert_problems off: nginx\'s own page';
$nginx->stop;

$nginx = nginx(http => 'error_page 404 /missing;', server => <<'END');
location = /missing { return 404 "a page of all"; }
END
is $nginx->nobody->get('/nothing')->body, 'a page of all',
   'an error_page of the http block is as it was';
$nginx->stop;

$nginx = server_with(<<'END');
error_page 429 /concert_problem;
location = /old { return 429; }
END
problem_of $nginx->nobody->get('/old'), 429, 'rate_limited',
           'an error_page may lead to "concert problem"';
$nginx->stop;


# conditions (RFC 9110, 13)

$nginx = server_with();
my $ann = $nginx->client(stranger());
my $past = 'Tue, 01 Dec 2020 01:21:19 GMT';
my $path = '/api/concerts?size=1';
my $page;

$ann->enter;
concert();
eventually { ($page = $ann->get($path))->status == 200 } 'a page of concerts';

my $etag = $page->header('ETag');

for (
    [ 412, 'of another page', 'If-Match' => '"x"' ],
    [ 412, 'of several others', 'If-Match' => '"x", "y"' ],
    [ 412, 'of no tag', 'If-Match' => 'x' ],
    [ 412, 'of the page, but weakly', 'If-Match' => "W/$etag" ],
    [ 200, 'of the page', 'If-Match' => $etag ],
    [ 200, 'of the page among others', 'If-Match' => qq{"x", $etag} ],
    [ 200, 'of any', 'If-Match' => '*' ],
    [ 200, 'without a date of the page', 'If-Unmodified-Since' => $past ],
    [ 200, 'without a date of the page', 'If-Modified-Since' => $past ],
    [ 200, 'of another page', 'If-None-Match' => '"x"' ],
    [ 304, 'of the page', 'If-None-Match' => $etag ],
    [ 304, 'of the page', 'If-None-Match' => $etag, 'If-Modified-Since' => $past ],
    [ 304, 'of the page', 'If-None-Match' => $etag, 'If-Unmodified-Since' => $past ],
    [ 412, 'of another page', 'If-Match' => '"x"', 'If-None-Match' => $etag ],
    [ 200, 'of a part', Range => 'bytes=0-1' ],
    [ 200, 'of a part', Range => 'bytes=900-901' ],
    [ 200, 'of a part', Range => 'bytes=0-1', 'If-Range' => $etag ],
    [ 200, 'of a part', Range => 'bytes=0-1', 'If-Range' => $past ],
) {
    my ($status, $what, %headers) = @$_;
    my $title = join(' and ', sort keys %headers) . " $what";
    my $answer = $ann->get($path, undef, %headers);

    if ($status == 412) {
        problem_of $answer, 412, 'precondition_failed', "$title: 412";
        is $answer->header('ETag'), undef, 'without a tag';

    } else {
        is $answer->status, $status, "$title: $status";
    }
}

is $ann->ask(HEAD => $path, undef, 'If-Match' => '"x"')->status, 412,
   'HEAD is refused as GET is';
is $nginx->client(1)->get('/ops/ops.css', undef, 'If-Match' => '"x"')->status, 412,
   'so is a file of the operators\' page';
is $ann->get('/api/token/' . $ann->id, undef, 'If-Unmodified-Since' => $past)->status,
   200, 'what has no tag has no date either';

my @both = split /(?=HTTP\/1\.1 \d)/, do {
    my $request = $ann->bytes_of(GET => $path, undef, 'If-Match' => '"x"');
    my $next = $ann->bytes_of(GET => $path);
    my $socket = $nginx->begin($request =~ s/Connection: close\r\n//r . $next);
    local $/;
    <$socket>;
};
is join(' ', map { /^HTTP\S+ (\d+)/ } @both), '412 200',
   'after a 412 the connection goes on';
$nginx->stop;

done_testing();
