# COUNT (1,500) random combinations of up to five directives around a route, in
# the server, its location, an if, a limit_except, a nested or a named location,
# and random requests of each: no worker dies, and none says that something is
# wrong with itself.  nginx leaves out what it refuses.
#
# The combination n of a SEED is always the same for an nginx with the same
# modules: what fails says how to see it again.  `make fuzz-conf` runs 10,000 under AddressSanitizer.

use strict;
use warnings;

use IO::Select ();
use POSIX      ();
use Socket     qw( SHUT_WR );
use Test::More;
use Time::HiRes qw( sleep time );

use Concert;

use constant TOGETHER => 100;       # combinations in one nginx
use constant LISTEN_TO => 1;      # the answers, s

my $Seed = $ENV{SEED} || time % 1_000_000 | 0;
my $Count = $ENV{COUNT} || 1500;
my $First = $ENV{FIRST} || 1;

my @Routes = qw( token_enter token token_status token_events queue_draw charge balance
                 concerts schedules seats reservations reserve reservation pay
                 payment order gateway_webhook gateway_breaker refund problem
                 queue healthz readyz metrics status ops );

# directives: where each may stand (s: server, l: location, i: if, x:
# limit_except), and how it is written; "|" parts what stands for it
my @Directives = map { [ split ' ', $_, 2 ] } split /\n/, <<'END';
sl  absolute_redirect off
sli add_header X-A a|add_header X-B $uri always|add_header ETag x|add_header Cache-Control x always
sl  add_trailer X-T t
l   alias html/|root html
slx allow 127.0.0.1|allow all
slx deny all|deny 10.0.0.0/8
sl  auth_request /yes|auth_request /no|auth_request /t/7|auth_request off
slx auth_basic a
slx auth_basic_user_file nothing
l   autoindex on
sl  chunked_transfer_encoding off
sl  charset utf-8|charset koi8-r
sl  charset_types *|override_charset on
sl  client_body_buffer_size 1|client_body_buffer_size 20
sl  client_body_in_file_only on|client_body_in_file_only clean
sl  client_body_in_single_buffer on
sl  client_body_timeout 100ms
sl  client_max_body_size 10|client_max_body_size 0
sl  concert_problems off|concert_problems on
l   concert balance
sl  default_type text/html|default_type ""
l   empty_gif|stub_status|return 200 x|proxy_pass http://127.0.0.1:1|fastcgi_pass 127.0.0.1:1
sli error_page 400 401 403 404 405 412 413 429 500 503 /yes|error_page 404 =200 /t/7|error_page 403 404 405 @x|error_page 404 405 /concert_problem
sl  etag off
sli expires 1h|expires epoch|expires max|expires off
l   flv|mp4|gzip_static always|random_index on
sli gzip on|gzip_min_length 1|gzip_types *|gzip_vary on
sl  gunzip on
sl  if_modified_since before|if_modified_since off
sl  ignore_invalid_headers off
l   index a b|index /t/7
l   internal
sl  keepalive_requests 1|keepalive_timeout 0|keepalive_timeout 1
sl  keepalive_disable msie6|large_client_header_buffers 2 1k
sli limit_rate 1|limit_rate 1k|limit_rate_after 1
sl  limit_req zone=r|limit_req zone=r burst=3 nodelay|limit_req zone=r burst=2
sl  limit_conn c 1
sl  lingering_close always|lingering_close off|lingering_time 100ms
sl  log_not_found off|log_subrequest on
sl  max_ranges 1|max_ranges 0
sl  merge_slashes off|msie_padding on|msie_refresh on
sl  mirror /mirror|mirror /t/7|mirror_request_body off
sl  open_file_cache max=10|output_buffers 1 1
sl  postpone_output 0
l   post_action /yes|post_action /t/7|post_action @x
sl  proxy_intercept_errors on|port_in_redirect off
sl  recursive_error_pages on|reset_timedout_connection on
sli return 204|return 404|return 403|return 302 /t/1
sli rewrite ^ /t/8 last|rewrite ^ /t/9 break|rewrite ^/t/(.*) /n/$1|rewrite ^ /yes permanent
sl  satisfy any
sl  send_timeout 100ms|sendfile on|tcp_nopush on
sl  server_tokens off
sli set $a 1|set $args "size=1"|set $a $concert_user_id
sl  set_real_ip_from 127.0.0.1
sl  real_ip_header X-Real-IP
sl  ssi on|ssi_types *|ssi_silent_errors on
sl  sub_filter a b|sub_filter_types *|sub_filter_once off
sl  addition_types *|add_after_body /yes|add_before_body /t/7
sl  slice 1k
sl  subrequest_output_buffer_size 1
l   dav_methods PUT DELETE|dav_access user:rw
l   try_files $uri @x|try_files /nofile =404|try_files /nofile /yes
sl  types { }|types_hash_max_size 1024
sl  underscores_in_headers on
sl  userid on|userid_name u
END

my @If = ('$uri', '$request_method = POST', '$args', '$http_x', '!-f $uri',
          '$uri ~ (\d)$', '$concert_user_id');
my @Bodies = ('', '{}', '{"userId": 7}', '{"userId": 7, "amount": 3}', '[', "\0",
              '{"userId": 7, "concertId": 1, "scheduleId": 1, "seatIdList": [1]}',
              '{"paused": false}', 'x' x 3000, '{"a": "' . 'y' x 70000 . '"}');

sub one_of { return $_[rand @_] }

# What one combination is: the text of its server, and the bytes of requests.
sub combination {
    my ($n, $port) = @_;

    srand $Seed * 100_003 + $n;

    my %at = map { $_ => '' } qw( s l i x n m );

    for (0 .. rand 5) {
        my ($where, $text) = @{ one_of(@Directives) };
        my $place = one_of(split //, $where);

        $place = one_of(qw( l n m )) if $place eq 'l';
        $text = one_of(split /\|/, $text);
        $at{$place} .= $text . ($text =~ /\}$/ ? ' ' : '; ');
    }

    my $if = one_of(@If);
    my $extra = one_of('', '', "if ($if) { $at{i} }",
                       "limit_except GET { $at{x}allow all; }",
                       "if ($if) { $at{i} } limit_except POST { $at{x}deny all; }");
    my ($route, $inner, $named) = map { one_of(@Routes) } 1 .. 3;
    my $location = one_of('/t/', '/t/', '^~ /t/', '~ ^/t/', '= /t/7', '/');

    return (<<"END", requests($n));
server {
  listen 127.0.0.1:$port; server_name c$n;
  $at{s}
  location $location {
    $at{l} $extra concert $route;
    @{[ $location =~ /^\/t\/$/ ? "location /t/in/ { $at{n} concert $inner; }" : '' ]}
  }
  location /n/ { try_files /nofile \@x; }
  location \@x { $at{m} concert $named; }
  location = /yes { return 200 '<!--#include virtual="/t/7" --> yes'; }
  location = /no { return 403; }
  location = /mirror { internal; concert $inner; }
  location = /concert_problem { internal; concert problem; }
}
END
}

# Some connections of a combination, each with some requests.
sub requests {
    my ($n) = @_;

    return map { join '', map { request($n) } 0 .. rand 3 } 1 .. 3;
}

sub request {
    my ($n) = @_;

    my $method = one_of(qw( GET GET GET HEAD POST POST PUT DELETE PATCH OPTIONS
                            TRACE BREW ));
    my $path = one_of('/t/7', '/t/7', '/t/', '/t/in/7', '/n/7', '/n/', '/yes', '/',
                      '/t/7?size=1', '/t/../t/8', '/t/ops.css', '/t/x?y=%00');
    my $body = one_of(@Bodies);
    my @headers = "Host: c$n";

    push @headers, 'userId: 7' if rand > 0.3;
    push @headers, one_of('If-Match: "x"', 'If-None-Match: *', 'Range: bytes=0-1',
                          'If-Modified-Since: Tue, 01 Dec 2020 01:21:19 GMT',
                          'If-Unmodified-Since: Tue, 01 Dec 2020 01:21:19 GMT',
                          'If-Range: "x"', 'Expect: 100-continue', 'X: 1',
                          'Accept-Encoding: gzip', 'X-Real-IP: 10.1.1.1',
                          'Idempotency-Key: k', 'User-Agent: MSIE 6.0',
                          'Authorization: Basic eDp5', 'Connection: close')
        if rand > 0.4;

    if (rand > 0.8) {
        push @headers, 'Transfer-Encoding: chunked';
        $body = one_of(sprintf("%x\r\n%s\r\n0\r\n\r\n", length $body, $body),
                       "zz\r\n", "5\r\nab")
            if length $body || rand > 0.5;
        $body ||= "0\r\n\r\n";

    } elsif (length $body || rand > 0.7) {
        push @headers, 'Content-Type: application/json' if rand > 0.3;
        push @headers, 'Content-Length: ' . (length($body) + (rand > 0.95));
    }

    my $version = one_of(qw( 1.1 1.1 1.1 1.1 1.0 ));

    return join "\r\n", "$method $path HTTP/$version", @headers, '', $body;
}

sub nginx_of {
    my ($port, $root, @servers) = @_;

    my $self = bless { port => $port, root => $root }, 'Concert::Nginx';

    $self->{configuration} = Concert::configuration($self, without => '', http => '')
        =~ s/\bserver \{.*//sr =~ s/worker_connections \d+/worker_connections 2048/r;
    $self->{head} = $self->{configuration} . <<'END';
limit_req_zone $uri zone=r:1m rate=5r/s;
limit_conn_zone $server_name zone=c:1m;
server_names_hash_max_size 4096;
END
    return $self;
}

# Starts an nginx of as many of the combinations as it takes.
sub started {
    my ($port, $root, $chosen) = @_;

    my $self = nginx_of($port, $root);

    while (%$chosen) {
        my (@lines, @owner) = split /^/, $self->{head};

        @owner = (0) x @lines;

        for my $n (sort { $a <=> $b } keys %$chosen) {
            my @server = split /^/, $chosen->{$n}[0];
            push @lines, @server;
            push @owner, ($n) x @server;
        }

        unlink "$root/logs/error.log";
        return $self if eval { $self->start(join '', @lines, "}\n"); 1 };

        my ($line) = join('', $self->log) =~ /nginx\.conf:(\d+)$/m or die $@;
        my $n = $owner[$line - 1] or die $@;

        delete $chosen->{$n};
    }

    return;
}

# Sends all that the combinations send; returns how many were answered.
sub talk {
    my ($self, $chosen) = @_;

    my $select = IO::Select->new;
    my $deadline = time + LISTEN_TO;
    my %answers;

    local $SIG{PIPE} = 'IGNORE';

    for my $n (sort { $a <=> $b } keys %$chosen) {
        my (undef, @connections) = @{ $chosen->{$n} };

        for my $bytes (@connections) {
            my $socket = $self->connect // next;

            $socket->blocking(0);
            syswrite $socket, $bytes;
            $select->add($socket);
        }
    }

    while ($select->count && time < $deadline) {
        for my $socket ($select->can_read(0.1)) {
            if (sysread $socket, my $some, 65536) {
                $answers{$socket} = 1 if $some =~ m{^HTTP/1};

            } else {
                $select->remove($socket);
                close $socket;
            }
        }
    }

    return scalar keys %answers;
}

# Runs combinations; returns what went wrong, how many ran, how many answered.
sub run {
    my ($port, $root, @numbers) = @_;

    my %chosen = map { $_ => [ combination($_, $port) ] } @numbers;
    my $self = started($port, $root, \%chosen) or return ('', 0, 0);
    my $answered = talk($self, \%chosen);

    kill TERM => $self->{pid};
    waitpid $self->{pid}, 0;

    my $status = $?;
    my @wrong = grep { /\[(?:alert|emerg)\]|exited on signal|exited with code [^0]/ }
                     $self->log;

    push @wrong, "nginx ended with $status\n" if $status;

    return (join('', @wrong[0 .. ($#wrong > 4 ? 4 : $#wrong)]),
            scalar keys %chosen, $answered);
}

# The least of the combinations that fail together: one, if one does.
sub least {
    my ($port, $root, @numbers) = @_;

    while (@numbers > 1) {
        my @half = splice @numbers, 0, @numbers / 2;

        @numbers = @half if (run($port, $root, @half))[0];
        last if !(run($port, $root, @numbers))[0];
    }

    return @numbers;
}

# a worker that is ended in the middle of its work leaves that behind
$ENV{ASAN_OPTIONS} = join ':', $ENV{ASAN_OPTIONS} // (), 'detect_leaks=0';

my $Port = Concert::free_port();
my $Root = Concert::new_root();
my ($Ran, $Answered) = (0, 0);

my (@Known, @Unknown);

push @{ Concert::nginx_says($_->[1] =~ /^(\w+)/) ? \@Known : \@Unknown }, $_
    for @Directives;
@Directives = @Known;

diag "SEED=$Seed";
diag 'this nginx has no ', join ', ', map { $_->[1] =~ /^(\w+)/ } @Unknown
    if @Unknown;

for (my $n = $First; $n < $First + $Count; $n += TOGETHER) {
    my $last = $n + TOGETHER - 1;
    $last = $First + $Count - 1 if $last >= $First + $Count;

    my ($wrong, $ran, $answered) = run($Port, $Root, $n .. $last);

    $Ran += $ran;
    $Answered += $answered;

    ok !$wrong, "combinations $n to $last: no worker dies" or do {
        my @least = least($Port, $Root, $n .. $last);

        diag $wrong, "to see it again: make fuzz-conf SEED=$Seed FIRST=$least[0] "
                     . 'COUNT=' . ($least[-1] - $least[0] + 1) . "\n",
             map { (combination($_, $Port))[0] } $least[0];
    };
}

diag "$Ran combinations that nginx takes, $Answered connections answered";
cmp_ok $Answered, '>=', $Ran, 'each is answered';

done_testing();
