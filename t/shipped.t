# conf/nginx.conf, the example for production, with nothing changed but paths,
# addresses and ports: HTTPS, signed tokens, limits, and who may operate.

use strict;
use warnings;

use File::Copy qw( copy );
use Test::More;

use Concert;
use OpenAPI;
use Token;

my $Conf = $ENV{TEST_NGINX_CONCERT_CONF};
my $Host = 'tickets.example.com';
my $Login = Token::Key->new('ES256');
my $Nginx = bless { port => Concert::free_port(),
                    root => Concert::new_root() }, 'Concert::Nginx';
my $Plain = bless { port => Concert::free_port($Nginx->{port} + 1) },
                  'Concert::Nginx';
my $Local = bless { port => Concert::free_port($Plain->{port} + 1) },
                  'Concert::Nginx';
my $Root = $Nginx->{root};

sub certificate {
    my $subject = "-subj /CN=$Host -addext subjectAltName=DNS:$Host";
    my $files = "-keyout $Root/server.key -out $Root/server.pem";

    system('openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 '
           . "-nodes -days 2 $subject $files 2>/dev/null") == 0
        or die 'no certificate';
}

# The shipped file with what another machine has: each change must be possible.
sub shipped {
    open my $in, '<', "$Conf/nginx.conf" or die "$Conf/nginx.conf: $!";
    my $text = do { local $/; <$in> };

    my $load = join "\n", map { "load_module $_;" }
                              split ' ', $ENV{TEST_NGINX_LOAD_MODULES} // '';
    my $user = $> == 0 ? 'user root;' : '';
    my $temp = join "\n", map { "${_}_temp_path $Root/${_}_temp;" }
                              qw( client_body proxy fastcgi scgi uwsgi );

    for my $change (
        [ qr/^user .*/m => "$user daemon off;" ],
        [ qr/^worker_processes .*/m => 'worker_processes 1;' ],
        [ qr/^worker_rlimit_nofile .*/m => '' ],
        [ qr/worker_connections .*/ => 'worker_connections 512;' ],
        [ qr{/var/log/nginx/} => "$Root/logs/" ],
        [ qr{/run/nginx.pid} => "$Root/logs/nginx.pid" ],
        [ qr/^load_module .*/m => $load ],
        [ qr/^http \{/m => "http {\n$temp\nconcert_timeout 30s;" ],
        [ qr/"host=[^"]*"/ => qq{"$ENV{TEST_NGINX_CONCERT_PG}"} ],
        [ qr{unix:/run/redis/redis.sock} => $ENV{TEST_NGINX_CONCERT_REDIS} ],
        [ qr/(?=capacity=)/ => 'name=' . Concert::queue_name() . ' ' ],
        [ qr{/etc/nginx/concert-login.pem} => $Login->file ],
        [ qr/listen\s+443/ => "listen 127.0.0.1:$Nginx->{port}" ],
        [ qr/listen\s+80/ => "listen 127.0.0.1:$Plain->{port}" ],
        [ qr/listen\s+127\.0\.0\.1:8080/ =>
          "listen 127.0.0.1:$Local->{port}" ],
        [ qr{/etc/ssl/\Q$Host\E.pem} => "$Root/server.pem" ],
        [ qr{/etc/ssl/private/\Q$Host\E.key} => "$Root/server.key" ],
    ) {
        my ($from, $to) = @$change;
        $text =~ s/$from/$to/g or die "conf/nginx.conf has no $from";
    }

    # as its comment says for a newer nginx
    if (nginx_says('use the "http2" directive instead')) {
        $text =~ s/ ssl http2 / ssl / or die 'conf/nginx.conf: no http2';
        $text =~ s/#(?=http2 +on;)// or die 'conf/nginx.conf: no "http2 on"';
    }

    return $text;
}

# curl PATH [OPTION]...; the answer's head and body
sub curl {
    my ($path, @options) = @_;

    open my $out, '-|', qw( curl -s -m 60 --noproxy * --cacert ),
        "$Root/server.pem", '--resolve', "$Host:$Nginx->{port}:127.0.0.1",
        @options, "https://$Host:$Nginx->{port}$path" or die "curl: $!";
    local $/;
    return scalar <$out> // '';
}

# Without TLS, under a name of one's choice: plain(NGINX, 'GET /path', HOST)
sub plain {
    my ($nginx, $request, $host) = @_;

    my ($answer) = $nginx->together("$request HTTP/1.1\r\nHost: $host\r\n"
                                    . "Connection: close\r\n\r\n");
    return $answer;
}

sub bearer {
    my ($user) = @_;

    return '-H', 'Authorization: Bearer ' . $Login->sign({
        sub => "$user", exp => time + 600,
        aud => 'concert', iss => 'https://login.example.com',
    });
}

certificate();
copy("$Conf/$_", $Root) or die "$_: $!"
    for qw( concert_routes.conf concert_tls.conf );
$Nginx->start(shipped());

my $user = user(100_000);
my $schedule = schedule();

is_deeply [ grep { /\[(?:warn|error|crit|alert|emerg)\]/ } $Nginx->log ], [],
          'nginx has nothing to say against it';


# TLS

my $answer = curl("/api/balance/$user", '-i', bearer($user));

like $answer, qr{^HTTP/2 200}, 'HTTPS is answered, by HTTP/2';
like $answer, qr/"amount":100000/, 'whoever has a token of the login';
like curl("/api/balance/$user", '-i', '--http1.1', bearer($user)),
     qr{^HTTP/1.1 200}, 'HTTP/1.1 will do';

for my $version (qw( 1.2 1.3 )) {
    is curl('/api/concerts', qw( -o /dev/null -w %{http_code} ),
            "--tlsv$version", '--tls-max', $version), 401,
       "TLS $version is spoken";
}

for my $version (qw( 1.0 1.1 )) {
    is curl('/api/concerts', qw( -o /dev/null -w %{http_code}
            --ciphers DEFAULT:@SECLEVEL=0 ), "--tlsv$version", '--tls-max',
            $version), '000', "TLS $version is not";
}

my $redirect = plain($Plain, 'GET /api/concerts?size=2', $Host);

is $redirect->status . ' ' . $redirect->header('Location'),
   "308 https://$Host/api/concerts?size=2", 'plain HTTP is sent to HTTPS';


# headers

for my $path ("/api/balance/$user", '/api/nothing', '/metrics') {
    my $head = curl($path, '-i', bearer($user));

    like $head, qr/^strict-transport-security: max-age=31536000\r$/m,
         "$path: browsers stay with HTTPS";
    like $head, qr/^x-content-type-options: nosniff\r$/m,
         "$path: and guess no types";
    like $head, qr/^content-security-policy: default-src 'none'; [^\r]*'none'/m,
         "$path: an answer is no page";
    unlike $head, qr/nginx\/\d/, "$path: no version is told";
}


# the flow, by HTTP/2

sub post {
    my ($path, $body) = @_;
    return $1 if curl($path, bearer($user), '--json', $body) =~ /(\{.*\})/s;
    return '{}';
}

like post('/api/token', qq({"userId": $user})), qr/ACTIVE/, 'a user enters,';
my $concert = Concert::concert_of($schedule);
my $held = post('/api/reservations/seats',
    qq({"userId": $user, "concertId": $concert, "scheduleId": $schedule,)
    . qq("seatIdList": [1]}));
like $held, qr/"status":"HELD"/, 'reserves,';
my ($id, $price) = $held =~ /"reservationId":(\d+).*"totalPrice":(\d+)/;
like post('/api/reservations/payments',
          qq({"userId": $user, "reservationId": $id, "amount": $price})),
     qr/"status":"PAID"/, 'and pays';


# limits

sub statuses {
    my ($path, $many, @options) = @_;

    my %seen;
    $seen{$_}++ for split ' ', curl("$path?[1-$many]", '-o', '/dev/null',
                                    '-w', '%{http_code} ', '--parallel',
                                    '--parallel-max', 20,
                                    '--stderr', '/dev/null', @options);
    return \%seen;
}

my $busy = user(1);
my $seen = statuses("/api/balance/$busy", 400, bearer($busy));

ok $seen->{200} && $seen->{429}, 'a user who asks too often is told so'
    or diag explain $seen;
is_deeply [ grep { $_ !~ /200|429/ } keys %$seen ], [], 'and nothing else';
like curl("/api/balance/$user", '-i', bearer($user)), qr{^HTTP/2 200},
     'while others go on';

$seen = statuses("/api/balance/$busy", 4000);
ok $seen->{401} && $seen->{429}, 'so is an address that asks too often'
    or diag explain $seen;


# operators

eventually { curl('/healthz', '-o', '/dev/null', '-w', '%{http_code}') == 403 }
    'operators\' routes are not served under the public name';

my $Api = OpenAPI->new("$Conf/openapi.yaml");
my $Local_name = "localhost:$Local->{port}";

for my $name ('GET /ops/', 'GET /ops/ops.js',
              grep { $Api->operation($_)->{tags}[0] eq 'Operators' }
                   $Api->operations)
{
    my $request = $name =~ s/\{\w+\}/1/r;
    my $rebound = plain($Local, $request, "evil.example:$Local->{port}");

    unlike plain($Local, $request, $Local_name)->status, qr/^(?:0|403|5..)$/,
           "$name is open to this machine";
    is_problem $rebound, 'forbidden', 'but not under a name of elsewhere';
    is_deeply [ $Api->complaints('x-other-people', $rebound) ], [],
              'as the document says';
}

for my $own ('localhost', 'LocalHost:80', '127.0.0.1:9090', '[::1]:8080') {
    is plain($Local, 'GET /status', $own)->status, 200, "$own is this machine";
}

for my $other ($Host, 'localhost.evil.example', '127.0.0.1.evil.example',
               '127x0.0.1', '1127.0.0.1', '[::11]')
{
    is plain($Local, 'GET /status', $other)->status, 403, "$other is not";
}

# from 1.29.4 on nginx itself refuses a port that is none
like plain($Local, 'GET /status', 'evil.example:localhost')->status,
     qr/^40[03]$/, 'evil.example:localhost is not';

is_problem plain($Local, 'GET /api/concerts', 'evil.example'),
           'identity_missing', 'the service itself asks for no name';

my $page = plain($Local, 'GET /ops', 'localhost:9000');
is $page->status . ' ' . $page->header('Location'), '308 ops/',
   'the page is found without its last slash';

$Nginx->stop;
done_testing();
