package Test::Nginx::Socket;

# A small driver for test files in the format of openresty's Test::Nginx, for
# where that is not installed: the same files, the same results.  Beside Perl's
# own modules it needs Test::Base only.
#
# This is the half that is nginx's client: it makes the requests of a block,
# sends them over a socket, and checks the responses and the logs.  What a
# section means is told in the original's manual,
# https://metacpan.org/pod/Test::Nginx::Socket; comments here say what is not
# obvious from it.  A section that is not implemented ends the tests (see
# Test::Nginx::Util), it is never just ignored.

use Test::Base -base;

use Errno       qw( EAGAIN );
use IO::Select  ();
use IO::Socket::INET ();
use JSON::PP    ();
use Time::HiRes qw( sleep time );

use Test::Nginx::Util;

our @EXPORT = qw(
    add_block_preprocessor add_cleanup_handler add_response_body_check
    add_test_cleanup_handler bail_out check_accum_error_log config_preamble
    env_to_nginx html_dir is_str log_level master_off master_on
    master_process_enabled no_long_string no_root_location no_shuffle plan
    repeat_each run_tests server_addr server_name server_port
    server_port_for_client server_root timeout worker_connections workers
);

# How long to try to connect, seconds.
use constant CONNECT_TIMEOUT => 5;

my @ResponseBodyChecks;

sub run_tests () {
    run_blocks(\&run_requests, { request  => \&check_error_log,
                                 shutdown => \&check_shutdown_error_log });
}

sub add_response_body_check ($) {
    push @ResponseBodyChecks, shift;
}

sub is_str {
    my ($got, $expected, $name) = @_;

    ref $expected ? like($got, $expected, $name)
                  : is($got, $expected, $name);
}

# A failure that no section asked for: no test file has it in its plan, so do
# not let the number of tests be reported as another error.
sub fail_extra {
    Test::More->builder->no_ending(1);
    fail(shift);
}

# One pass over the requests of a block: each is sent on a connection of its
# own, and all that the block says is checked after each of them.  Pipelined
# requests are sent as one, and have as many responses.
sub run_requests {
    my ($block, $repeat) = @_;

    my $name = $block->name;
    my @requests = requests_of($block);
    my $pipelined = $block->pipelined_requests;
    my $responses = $pipelined ? @$pipelined : 1;
    my $index = 0;

    for my $request (@requests) {
        my $bytes = send_request($block, $request);

        for (1 .. $responses) {
            my $at = {
                block   => $block,
                name    => $name,
                repeat  => $repeat,
                index   => $index++,
                indexed => @requests * $responses > 1,
            };

            if (!defined $block->ignore_response) {
                (my $response, $bytes) =
                    parse_response($block, $bytes, $request);

                warn "WARNING: $name - unexpected after the response: ",
                     "\"$bytes\"\n" if length $bytes && !$pipelined;

                check_response($at, $response);
            }

            sleep $block->wait if $block->wait;

            check_error_log($block, $repeat);
            check_access_log($block, $repeat)
                if !defined $block->ignore_response;
        }
    }
}

# The requests of a block, each a list of the packets in which it is sent.
sub requests_of {
    my ($block) = @_;

    my $name = $block->name;

    if (defined(my $raw = $block->raw_request)) {
        return ref $raw ? $raw : [$raw];
    }

    if (my $requests = $block->pipelined_requests) {
        bail_out("$name - pipelined_requests must be an array")
            if ref $requests ne 'ARRAY';

        my $last = $#$requests;
        my @bytes = map {
            my $request = expand_env_in_text($requests->[$_], $name);
            my $connection = $_ < $last ? 'keep-alive' : 'close';

            complete_request($block, $_, $request, $connection);
        } 0 .. $last;

        return [join '', @bytes];
    }

    my $requests = $block->request;

    if (defined $block->request_eval) {
        $requests = eval $block->request_eval;
        bail_out("$name - request_eval failed: $@") if $@;
    }

    if (!ref $requests) {
        # indentation and comment lines may precede the request line
        $requests =~ s/\A(?:\s*#[^\n]+\s+|\s+)+// if defined $requests;
        $requests = [$requests];
    }

    return map { [complete_request($block, $_, $requests->[$_], 'close')] }
               0 .. $#$requests;
}

# Makes bytes of "METHOD [url [version]]" and a body in the lines below it.
sub complete_request {
    my ($block, $index, $request, $connection) = @_;

    my $name = $block->name;

    bail_out("$name - a request in packets: use --- raw_request")
        if ref $request;

    my ($line, $body) = split /\n/, $request // '', 2;

    my ($method, $url, $version) = ($line // '') =~
        /^\s*(\S+)(?: +(\S+)(?: +(\S+))?)?\s*$/
        or bail_out("$name - not a request line: \"", $line // '', '"');

    $url     //= '/';
    $version //= 'HTTP/1.1';
    $body    //= '';

    my ($headers, $is_chunked) = more_headers($block, $index);

    # Only a body of which nothing else is said is measured, and trimmed.

    if (length $body && !$is_chunked && $headers !~ /^Content-Length:/m) {
        $body =~ s/^\s+|\s+$//g;
        $headers .= 'Content-Length: ' . length($body) . "\r\n";
    }

    $headers = "Connection: $connection\r\n$headers"
        if $headers !~ /^Connection/mi;
    $headers = "Host: $ServerName\r\n$headers"
        if $headers !~ /^Host:/mi;

    return "$method $url $version\r\n$headers\r\n$body";
}

# --- more_headers for the request of that index, and whether they announce a
# chunked body.
sub more_headers {
    my ($block, $index) = @_;

    my $text = $block->more_headers // '';

    if (ref $text) {
        $text = $text->[$index]
            // bail_out($block->name . " - no more_headers for request $index");
    }

    my $headers = '';

    for my $line (grep { !/^\s*#/ } split /[\r\n]+/, $text) {
        my ($key, $value) = split /:\s*/, $line, 2;

        $headers .= "$key: " . ($value // '') . "\r\n";
    }

    return ($headers, $headers =~ /^transfer-encoding: (?-i:chunked)\r$/mi);
}

# Sends the packets of a request and returns all that came back until the
# server closed the connection, or was silent for too long.
sub send_request {
    my ($block, $packets) = @_;

    my $name = $block->name;
    my $timeout = seconds(scalar $block->timeout) // timeout();
    my $socket = connect_to_nginx($block, $timeout) // return '';
    my $readable = IO::Select->new($socket);
    my $writable = IO::Select->new($socket);
    my ($out, @packets) = @$packets;
    my $response = '';

    verbose("$name - request: [", join('', @$packets), ']');
    local $SIG{PIPE} = 'IGNORE';

    while (1) {
        my ($can_read, $can_write) =
            IO::Select->select($readable, $writable, undef, $timeout);

        if (!defined $can_read) {
            fail_extra("ERROR: client socket timed out - $name")
                if !defined $block->abort;
            last;
        }

        if (@$can_read) {
            my $size = sysread $socket, $response, 65536, length $response;

            if (!defined $size && $! != EAGAIN) {
                warn "WARNING: $name - cannot read the response: $!\n";
                last;
            }

            last if defined $size && $size == 0;
        }

        next if !@$can_write;

        if (length $out) {
            my $size = syswrite $socket, $out;

            if (!defined $size && $! != EAGAIN) {
                warn "WARNING: $name - cannot send the request: $!\n";
                last;
            }

            substr($out, 0, $size // 0) = '';

        } elsif (@packets) {
            $out = shift @packets;
            sleep($block->raw_request_middle_delay // 0);

        } else {
            $writable->remove($socket);

            shutdown $socket, $block->shutdown =~ /(\d)/ ? $1 : 1
                if defined $block->shutdown;
        }
    }

    close $socket;
    verbose("$name - response: [$response]");

    return $response;
}

sub connect_to_nginx {
    my ($block, $timeout) = @_;

    my $address = $block->server_addr_for_client // $ServerAddr;
    my $deadline = time + CONNECT_TIMEOUT;

    while (time < $deadline) {
        my $socket = IO::Socket::INET->new(
            PeerAddr => $address,
            PeerPort => $ServerPortForClient,
            Blocking => 0,
            Timeout  => $timeout,
        );

        return $socket if $socket;
        sleep $TestNginxSleep;
    }

    fail_extra($block->name
               . " - cannot connect to $address:$ServerPortForClient: $!");
    return;
}

# A response is { code, raw_headers, headers => { lc name => [values] }, body };
# returned with the bytes that follow it, or undef if its body makes no sense.
sub parse_response {
    my ($block, $bytes, $request) = @_;

    my $name = $block->name;
    my %response = (code => '', raw_headers => '', headers => {});

    if (defined $block->http09) {
        return ({ %response, code => 200, body => $bytes }, '');
    }

    $response{raw_headers} = $1 if $bytes =~ /\A(.*?\r\n)\r\n/s;
    $response{code} = $1 if $bytes =~ /\A\S+ +(\d+)(?!\S)/;

    # what is no header begins the body, even if no empty line does

    my $body = $bytes =~ s/\A.*\n?//r;

    while ($body =~ s/\A([^\s:]+)[ \t]*: ?(.*)\n?//) {
        push @{ $response{headers}{lc $1} }, $2 =~ s/\r\z//r;
    }

    $body =~ s/\A\r?\n//;

    my $encoding = header(\%response, 'Transfer-Encoding') // '';
    my $length = header(\%response, 'Content-Length') // '';
    my $left = '';

    if ($response{code} eq '304' || $response{code} eq '101') {
        # neither has a body

    } elsif ($encoding eq 'chunked') {
        ($body, $left, my $error) =
            decode_chunks($body, $response{headers}{trailer} // []);

        if (defined $error) {
            fail_extra("$name - invalid chunked body: $error");
            return (undef, '');
        }

    } elsif ($length =~ /^\d+$/) {
        my $size = length $body;

        $left = substr $body, $length, $size, '' if $size > $length;

        warn "WARNING: $name - response body truncated: $length expected, ",
             "but got $size\n"
            if $size < $length && join('', @$request) !~ /^\s*HEAD\s/;
    }

    return ({ %response, body => $body }, $left);
}

# The values of a repeated header are joined.
sub header {
    my ($response, $name) = @_;

    my $values = $response->{headers}{lc $name} // return;
    return join ', ', @$values;
}

# Returns the data, what follows the last chunk, and the error if there is one.
# Trailers must be those that the Trailer header announced.
sub decode_chunks {
    my ($bytes, $trailers) = @_;

    my $trailer = join '', map { "\Q$_\E: [^\\n]*\\r\\n" } @$trailers;
    my $data = '';

    while ($bytes !~ /\G0[ \t]*\r\n$trailer\r\n/gc) {
        $bytes =~ /\G[ \t]*([0-9A-Fa-f]+)[ \t]*\r\n/gc
            or return ($data, '', 'no chunk size where one should be');

        my $start = pos $bytes;
        my $end = $start + hex $1;

        substr($bytes, $end, 2) eq "\r\n"
            or return ($data, '', 'no end where its size says');

        $data .= substr $bytes, $start, $end - $start;
        pos($bytes) = $end + 2;
    }

    return ($data, substr($bytes, pos $bytes), undef);
}

# What a section says of this very response: with many requests it must be an
# array, which has a value for each.
sub expected {
    my ($at, $section) = @_;

    my $value = $at->{block}->$section;

    return $value->[$at->{index}] if ref $value eq 'ARRAY';

    bail_out("$at->{name} - with many requests --- $section must be an array")
        if $at->{indexed};

    return $value;
}

# $ServerPort stands for the port in what is expected of a response.
sub expand_port {
    my ($text) = @_;

    if (defined $text) {
        $text =~ s/\$ServerPort\b/$ServerPort/g;
        $text =~ s/\$ServerPortForClient\b/$ServerPortForClient/g;
    }

    return $text;
}

sub check_response {
    my ($at, $response) = @_;

    $response //= { code => '', headers => {} };

    check_error_code($at, $response);
    check_raw_headers($at, $response);
    check_headers($at, $response);
    check_body($at, $response);

    $_->($at->{block}, $response->{body}, $at->{index}, $at->{repeat})
        for @ResponseBodyChecks;
}

sub check_error_code {
    my ($at, $response) = @_;

    my $block = $at->{block};
    my $name = "$at->{name} - status code ok";

    if (defined $block->error_code_like) {
        my $pattern = expected($at, 'error_code_like');
        like($response->{code}, qr/$pattern/sm, $name);
        return;
    }

    is($response->{code},
       defined $block->error_code ? expected($at, 'error_code') : 200, $name);
}

sub check_raw_headers {
    my ($at, $response) = @_;

    my ($block, $raw) = ($at->{block}, $response->{raw_headers});

    if (defined $block->raw_response_headers_like) {
        my $pattern = expected($at, 'raw_response_headers_like');
        like($raw, qr/$pattern/s, "$at->{name} - raw resp headers like");
    }

    if (defined $block->raw_response_headers_unlike) {
        my $pattern = expected($at, 'raw_response_headers_unlike');
        unlike($raw, qr/$pattern/s, "$at->{name} - raw resp headers unlike");
    }
}

# "Name: value" must be there, "! Name" must not.  As in the original, a block
# has response_headers or response_headers_like, not both.
sub check_headers {
    my ($at, $response) = @_;

    my ($section) = grep { defined $at->{block}->$_ }
                         qw( response_headers response_headers_like )
        or return;

    my %expected;

    for my $line (split /\n/, expected($at, $section) // '') {
        my ($absent, $key, $value) =
            $line =~ /^\s*(!?)\s*([^:]*?)\s*(?::\s*(.*?)\s*)?$/;

        $expected{$key} = $absent ? undef : $value;
    }

    for my $key (sort keys %expected) {
        my $value = $expected{$key};
        my $got = header($response, $key) // '';
        my $name = "$at->{name} - header $key";

        if ($section eq 'response_headers_like') {
            $value //= '';
            like($got, qr/^$value$/, "$name like ok");

        } elsif (defined $value) {
            is($got, expand_port($value), "$name ok");

        } else {
            unlike($response->{raw_headers}, qr/^\s*\Q$key\E\s*:/m,
                   "$name not present in the raw headers");
        }
    }
}

sub check_body {
    my ($at, $response) = @_;

    my ($block, $body) = ($at->{block}, $response->{body});

    if (defined $block->response_body) {
        my $expected = expand_env_in_text(
            expand_port(expected($at, 'response_body')), $at->{name});

        $body = sort_json($body) if defined $block->response_body_json_sort;

        is_str($body, $expected, "$at->{name} - response_body - "
               . (ref $expected ? 'like' : 'response is expected')
               . " (repeated req $at->{repeat}, req $at->{index})");
        return;
    }

    my $summary = join ' ', split ' ', $body // '';

    if (defined $block->response_body_like) {
        my $pattern = expand_port(expected($at, 'response_body_like'));
        like($body, qr/$pattern/s, "$at->{name} - response_body_like - "
                                   . "response is expected ($summary)");

    } elsif (defined $block->response_body_unlike) {
        my $pattern = expand_port(expected($at, 'response_body_unlike'));
        unlike($body, qr/$pattern/s, "$at->{name} - response_body_unlike - "
                                     . "response is expected ($summary)");
    }
}

# JSON with its keys in order; anything else as it is.
sub sort_json {
    my ($body) = @_;

    my $json = JSON::PP->new->canonical->loose;
    my $sorted = eval { $json->encode($json->decode($body)) . "\n" };

    return $sorted // $body;
}

sub check_error_log {
    my ($block, $repeat) = @_;

    my $name = $block->name;
    my $lines = error_log_data();

    check_grep_error_log($block, $repeat, $lines);
    check_log($block, 'error_log', 'error.log', $lines, " (req $repeat)");

    for my $level (qw( alert crit emerg )) {
        next if grep { index($_, "[$level") >= 0 }
                     patterns($block, 'error_log'),
                     patterns($block, 'no_error_log');

        warn "WARNING: $name - $_" for grep { /\[$level\]/ } @$lines;
    }

    fail_extra("$name - $_") for grep { /\bAssertion .*?failed\b/ } @$lines;
}

# What --- grep_error_log finds in the lines of error.log, each match a line.
sub check_grep_error_log {
    my ($block, $repeat, $lines) = @_;

    my $name = $block->name;
    my ($pattern, $expected) =
        map { ref $_ eq 'ARRAY' ? $_->[$repeat] : $_ }
            scalar $block->grep_error_log, scalar $block->grep_error_log_out;

    return if !defined $pattern && !defined $expected;

    bail_out("$name - grep_error_log and grep_error_log_out need each other")
        if !defined $pattern || !defined $expected;

    $pattern = quotemeta $pattern if !ref $pattern;

    my @found = grep { !/\n/ } map { /$pattern/ ? $& : () } @$lines;

    is_str(join('', map { "$_\n" } @found),
           expand_env_in_text($expected, $name),
           "$name - grep_error_log_out (req $repeat)");
}

sub check_access_log {
    my ($block, $repeat) = @_;

    check_log($block, 'access_log', 'access.log', access_log_data(),
              " (req $repeat)")
        if defined $block->access_log || defined $block->no_access_log;
}

sub check_shutdown_error_log {
    my ($block) = @_;

    check_log($block, 'shutdown_error_log', 'error.log', error_log_data(), '')
        if defined $block->shutdown_error_log
           || defined $block->no_shutdown_error_log;
}

# Checks the lines of a log against --- $section and --- no_$section.
sub check_log {
    my ($block, $section, $log, $lines, $suffix) = @_;

    my $name = $block->name;

    for my $pattern (patterns($block, $section)) {
        my $found = matching($pattern, $lines);
        my $matches = $found ? 'matches' : 'should match';

        ok($found, "$name - pattern \"$pattern\" $matches a line in "
                   . "$log$suffix");
    }

    for my $pattern (patterns($block, "no_$section")) {
        my @found = matching($pattern, $lines);
        my $matches = @found ? 'should not match' : 'does not match';

        ok(!@found, "$name - pattern \"$pattern\" $matches a line in "
                    . "$log$suffix")
            or diag("it matches: $found[0]");
    }
}

# A pattern is a string that a line must contain, or a regex.
sub patterns {
    my ($block, $section) = @_;

    my $patterns = $block->$section // return;

    return grep { defined } @$patterns if ref $patterns eq 'ARRAY';
    return $patterns                   if ref $patterns;
    return split /\n+/, $patterns;
}

sub matching {
    my ($pattern, $lines) = @_;

    return grep { ref $pattern ? /$pattern/ : index($_, $pattern) >= 0 }
                @$lines;
}

1;
