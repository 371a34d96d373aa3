# Routes beside nginx's directives: each keeps the meaning that nginx's
# documentation gives it.  A row is a test, and a line of docs/beside-nginx.md:
#
#   directives | where: s the server, l the location | what happens
#   > request, with the headers that follow; $u is a user who has 5 won
#   < what the answer must have, one regular expression a line; "!" must not
#
# The location is `location /t/ { concert balance; }`, asked as GET /t/$u.  The
# other paths are below.  `perl t/beside.t table` writes the table.

use strict;
use warnings;

use File::Basename qw( dirname );
use Test::More;

use Concert;

my $Docs = dirname(__FILE__) . '/../docs/beside-nginx.md';
my @Rows;

for (split /\n\n/, do { local $/; <DATA> }) {
    my ($head, @lines) = split /\n/;
    my ($directives, $where, $title) = split / \| /, $head;

    push @Rows, {
        directives => $directives, where => $where, title => $title,
        request => [ map { /^> (.*)/ ? $1 : () } @lines ],
        answer => [ map { /^< (.*)/ ? $1 : () } @lines ],
        message => scalar((map { /^x (.*)/ ? $1 : () } @lines)[0]),
    };
}

sub line_of {
    my ($row) = @_;

    return '| `' . $row->{directives} . '` | '
           . ($row->{where} =~ /s/ ? 'server' : 'location')
           . " | $row->{title}" . ($row->{message} ? ': refused at start' : '')
           . ' |';
}

if (@ARGV && $ARGV[0] eq 'table') {
    print line_of($_), "\n" for @Rows;
    exit;
}

sub server_of {
    my ($n, $port, $row) = @_;

    my %at = (s => '', l => '', $row->{where} => $row->{directives});

    return <<"END";
server {
    listen 127.0.0.1:$port; server_name r$n;
    $at{s}
    location /t/       { $at{l} concert balance; }
    location = /charge { $at{l} concert charge; }
    location /p/       { concert problem; }
    location \@other   { concert balance; }
    location = /yes    { default_type text/html; return 200 'yes'; }
    location = /no     { auth_request off; return 403; }
    location = /page   { default_type text/html; return 200 '<!--#include virtual="/t/\$arg_u" -->!'; }
    location /front/   { proxy_pass http://127.0.0.1:$port/t/; proxy_set_header Host r$n; }
}
END
}

# A name that is a word of other texts is known by a text of its module's.
my %Told_by = (slice => 'slice_range');

# Those whose directives the program has; the others are named and left out.
sub is_known {
    my ($row) = @_;

    for my $name ($row->{directives} =~ /(?:^|[;{}]\s*)([a-z_]+)/g) {
        next if $name =~ /^concert/
                || Concert::nginx_says($Told_by{$name} // $name);
        diag "this nginx has no $name";
        return 0;
    }

    return 1;
}

my $User = user(5);
my $Port = Concert::free_port();
my @Known = grep { is_known($_) } @Rows;
my @Taken = grep { !$_->{message} } @Known;

my $nginx = bless { port => $Port, root => Concert::new_root() }, 'Concert::Nginx';
my $n = 0;
my $head = Concert::configuration($nginx, without => '', http => <<'END');
limit_req_zone $server_name zone=r:1m rate=1r/m;
limit_conn_zone $server_name zone=c:1m;
server_names_hash_max_size 4096;
END
$head =~ s/\bserver \{.*//s;

mkdir "$nginx->{root}/html";
$nginx->start($head . join('', map { server_of(++$n, $Port, $_) } @Taken) . "}\n");
eventually { $nginx->client($User)->get("/t/$User", undef, Host => 'r1')->status }
    'it is up';

$n = 0;

for my $row (@Taken) {
    my $host = 'r' . ++$n;
    my @requests = map { s/\$u/$User/gr } @{ $row->{request} };
    my $bytes = '';

    for my $request (@requests ? @requests : "GET /t/$User") {
        my ($line, @headers) = split / \+ /, $request;
        my $body = '';

        $body = pop @headers if @headers && $headers[-1] =~ /^[{\[]/;
        push @headers, 'Content-Length: ' . length $body if length $body;
        push @headers, 'Connection: close' if !grep { /^Connection/ } @headers;

        my $socket = $nginx->begin(join "\r\n", "$line HTTP/1.1", "Host: $host",
                                   @headers, '', $body);
        $bytes = do { local $/; <$socket> } // '';
    }

    for my $what (@{ $row->{answer} }) {
        my ($not, $pattern) = $what =~ /^(! )?(.*)/;
        $pattern =~ s/\$u/$User/g;

        $not ? unlike $bytes, qr/$pattern/m, "$row->{title} (not $pattern)"
             : like $bytes, qr/$pattern/m, "$row->{title} ($pattern)";
    }
}

$nginx->stop;

for my $row (grep { $_->{message} } @Known) {
    my $root = Concert::new_root();

    open my $out, '>', "$root/nginx.conf" or die "$root: $!";
    print $out $head, server_of(1, $Port, $row), "}\n";
    close $out;

    my $binary = $ENV{TEST_NGINX_BINARY} // 'nginx';
    my $said = qx($binary -t -p $root -e $root/logs/error.log -c $root/nginx.conf 2>&1);

    like $said, qr/\[emerg\].*$row->{message}/, "refused: $row->{title}";
}

open my $in, '<', $Docs or die "$Docs: $!";
my $text = do { local $/; <$in> };

is_deeply [ grep { index($text, $_) < 0 } map { line_of($_) } @Rows ], [],
          'the documents have every row';

done_testing();

__DATA__
absolute_redirect off; | s | says nothing to an answer that is no redirect
< ^HTTP/1.1 200
< "amount":5

add_header X-Mine $concert_route always; | l | is added, and knows the route
< ^X-Mine: balance

add_header X-Mine yes; | l | without `always` is left out of a refusal
> GET /t/0
< ^HTTP/1.1 400
< ! ^X-Mine

add_header X-Mine yes always; | s | is added to a refusal of ours
> GET /t/0
< ^X-Mine: yes

add_trailer X-T t; | l | follows an answer, which is chunked for it
< "amount":5\}\r?$
< ^X-T: t

alias html/; | l | changes no path of a route
< "amount":5

root html; | s | is for files alone
< "amount":5

allow 127.0.0.1; deny all; | l | lets in whom it names
< "amount":5

deny all; | l | refuses by a problem
< ^HTTP/1.1 403
< "code":"forbidden"

deny all; | s | refuses by a problem, before any path is looked at
> GET /nothing-to-see
< ^HTTP/1.1 403

satisfy any; allow 127.0.0.1; auth_basic a; auth_basic_user_file nothing; | l | one way in is enough
< "amount":5

auth_basic a; auth_basic_user_file nothing; | l | asks for a login by a problem with its challenge
< ^HTTP/1.1 401
< ^WWW-Authenticate: Basic realm="a"
< "code":"unauthorized"

auth_request /yes; | l | lets in whom its location lets in
< "amount":5

auth_request /no; | l | refuses by a problem
< ^HTTP/1.1 403
< "code":"forbidden"

auth_request /t/$arg_u; auth_request_set $was $upstream_status; | l | whose path is not a route's is an error of the server's
> GET /t/$u
< ^HTTP/1.1 500
< "code":"internal_error"

autoindex on; | l | lists no files of a route
< "amount":5

index /yes; | l | is for directories of files
< "amount":5

random_index on; | l | is for directories of files
> GET /t/
< "code":"invalid_request"

chunked_transfer_encoding off; | l | an answer has a length anyway
< ^Content-Length: \d+
< "amount":5

charset utf-8; charset_types *; | l | names the charset of JSON, which has no other
< ^Content-Type: application/json; charset=utf-8

client_body_buffer_size 1; | l | a body lies in a file, and is read there
> PUT /charge + userId: $u + {"userId": $u, "amount": 0}
< ^HTTP/1.1 400
< "field":"amount"

client_body_in_file_only clean; | l | a body lies in a file, and is read there
> PUT /charge + userId: $u + {"userId": $u, "amount": 0}
< "field":"amount"

client_body_in_single_buffer on; | l | says nothing to a body that is in one piece
> PUT /charge + userId: $u + {"userId": $u, "amount": 0}
< "field":"amount"

client_body_timeout 100ms; | l | a body that does not come ends the connection without an answer
> PUT /charge + userId: $u + Content-Length: 9
< ! HTTP

client_max_body_size 10; | l | a greater body is refused by a problem
> PUT /charge + userId: $u + {"userId": $u, "amount": 0}
< ^HTTP/1.1 413
< "code":"body_too_large"

client_max_body_size 0; | l | the routes' own bound of 64 KiB stays
> PUT /charge + userId: $u + Content-Length: 70000
< ^HTTP/1.1 413
< "code":"body_too_large"

concert_problems off; | l | nginx's own refusals are its own pages
> GET /t/$u + If-Match: "x"
< "amount":5

concert_problems off; deny all; | s | nginx's own refusals are its own pages
< ^HTTP/1.1 403
< ^<html>

default_type text/html; types { } | l | an answer's type is the route's
< ^Content-Type: application/json

error_page 403 /yes; deny all; | l | leads to the page that it names
< ^HTTP/1.1 403
< ^yes

error_page 403 =200 @other; deny all; | l | may lead to another route
< ^HTTP/1.1 200
< "amount":5

error_page 400 404 /yes; | s | is for what nginx refuses, not for what a route answers
> GET /t/0
< ^HTTP/1.1 400
< "code":"invalid_request"

recursive_error_pages on; error_page 403 /no; deny all; | s | of pages that are refused for ever ends by nginx's own 500
< ^HTTP/1.1 500

etag off; | l | is for files: a page of the catalog keeps its ETag
< "amount":5

if_modified_since before; | l | is for what has a date, and nothing of ours has
> GET /t/$u + If-Modified-Since: Tue, 01 Dec 2020 01:21:19 GMT
< ^HTTP/1.1 200

expires 1h; | l | takes the place of our Cache-Control
< ^Cache-Control: max-age=3600
< ! no-store

expires off; | s | leaves our Cache-Control
< ^Cache-Control: no-store

gzip on; gzip_types *; gzip_min_length 1; gzip_vary on; | l | compresses an answer
> GET /t/$u + Accept-Encoding: gzip
< ^Content-Encoding: gzip
< ^Vary: Accept-Encoding

gunzip on; | l | says nothing to an answer that is not compressed
< "amount":5

gzip_static always; | l | is for files
< "amount":5

if ($arg_x) { set $x 1; } | l | where it holds, the location serves what it serves
> GET /t/$u?x=1
< "amount":5

if ($arg_x) { add_header X-If $concert_route; } | l | where it holds, its header is added
> GET /t/$u?x=1
< ^X-If: balance
< "amount":5

if ($arg_x) { return 403; } | l | may refuse, by a problem
> GET /t/$u?x=1
< ^HTTP/1.1 403
< "code":"forbidden"

internal; | l | closes the location to clients, by a problem
< ^HTTP/1.1 404
< "code":"route_not_found"

keepalive_timeout 0; | l | the connection ends with the answer
> GET /t/$u + Connection: keep-alive
< ^Connection: close
< "amount":5

keepalive_requests 1; | l | the connection ends with the answer
> GET /t/$u + Connection: keep-alive
< ^Connection: close

lingering_close off; | l | says nothing to an answer
< "amount":5

limit_conn c 1; | l | lets one connection in
< "amount":5

limit_req zone=r; | s | refuses the second by a problem
> GET /t/$u
> GET /t/$u
< ^HTTP/1.1 503
< ^Retry-After: \d
< "code":"overloaded"

limit_req zone=r; limit_req_status 429; | s | with 429 as rate_limited
> GET /t/$u
> GET /t/$u
< ^HTTP/1.1 429
< ^Retry-After: \d
< "code":"rate_limited"

limit_rate 100k; | l | an answer comes as slowly
< "amount":5

limit_except GET { allow all; } | l | what it allows, the route answers
> PUT /t/$u
< ^HTTP/1.1 405
< ^Allow: GET, HEAD

limit_except GET { deny all; } | l | what it denies is refused by a problem
> PUT /t/$u
< ^HTTP/1.1 403
< "code":"forbidden"

log_not_found off; | l | is for files
> GET /t/
< "code":"invalid_request"

max_ranges 1; | l | an answer has no parts
> GET /t/$u + Range: bytes=0-1
< ^HTTP/1.1 200
< "amount":5

mirror /yes; | l | the request goes there, too, with its body
> PUT /charge + userId: $u + {"userId": $u, "amount": 0}
< "field":"amount"

msie_padding on; | l | is for nginx's own pages
> GET /t/0 + User-Agent: Mozilla/4.0 (compatible; MSIE 5.0)
< ! MSIE

open_file_cache max=10; | l | is for files
< "amount":5

output_buffers 1 1; postpone_output 0; | l | changes no answer
< "amount":5

post_action /yes; | l | follows an answer
< "amount":5

proxy_intercept_errors on; error_page 400 /yes; | s | of a proxy in front, takes a refusal's place
> GET /front/0
< ^HTTP/1.1 400
< ^yes

proxy_buffering off; | s | of a proxy in front, passes an answer on
> GET /front/$u
< "amount":5

set_real_ip_from 127.0.0.1; deny 10.1.1.1; | s | whose address is another's is refused as the other
> GET /t/$u + X-Real-IP: 10.1.1.1
< ^HTTP/1.1 403

reset_timedout_connection on; send_timeout 1s; | l | says nothing to an answer that is taken
< "amount":5

return 200 "mine"; | l | goes first
< ^mine

return 404; | l | goes first, and refuses by a problem
< ^HTTP/1.1 404
< "code":"route_not_found"

rewrite ^/t/(.*)$ /moved/$1 break; | l | the id is the last segment of the new path
< "amount":5

rewrite ^/t/(.*)$ /p/$1 last; | l | another location answers
< ^HTTP/1.1 404

set $args x=1; | l | the route reads the new query
< "amount":5

secure_link $arg_x; secure_link_md5 $uri; | l | is a variable, which only an `if` of yours asks
< "amount":5

server_tokens off; | s | no version is told
< ^Server: nginx\r?$

slice 1k; | l | is for a proxy or for files
< "amount":5

ssi on; ssi_types *; | s | a part of a page may be a route's
> GET /page?u=$u
< "amount":5\}\s+1\s+!

sub_filter amount sum; sub_filter_types *; | l | rewrites the text of an answer
< "sum":5

addition_types *; add_after_body /yes; | l | is put behind an answer
< "amount":5\}
< yes

try_files /nofile @other; | l | goes first
< "amount":5

try_files /nofile =404; | l | goes first, and refuses by a problem
< ^HTTP/1.1 404
< "code":"route_not_found"

types_hash_max_size 1024; underscores_in_headers on; | s | changes no answer
< "amount":5

userid on; userid_name who; | l | gives a client a cookie
< ^Set-Cookie: who=

merge_slashes off; | s | may be the default server's alone, as nginx's documentation says
> GET /t//$u
< "amount":5

empty_gif; | l | gives way to what is written last
< "amount":5

proxy_pass http://127.0.0.1:1; | l | gives way to what is written last
< "amount":5

concert token; | l | a second route in a location
x "concert" directive is duplicate

concert nothing; | s | a route outside of a location
x "concert" directive is not allowed here

if ($uri) { concert token; } | l | a route inside of an `if`
x "concert" directive is not allowed here

limit_except GET { concert token; } | l | a route inside of a `limit_except`
x "concert" directive is not allowed here
