# Pages of other origins: conf/concert_origins.conf and conf/concert_cors.conf.

use strict;
use warnings;

use Test::More;

use Browser;
use Concert;

my $Conf = $ENV{TEST_NGINX_CONCERT_CONF};
my $Shop = 'https://shop.example.com';

# The shipped origins, with another page's and another credential.
sub origins {
    my ($origin, $credentials) = @_;

    open my $in, '<', "$Conf/concert_origins.conf" or die "$Conf: $!";
    my $text = do { local $/; <$in> };

    $text =~ s/\Q$Shop\E /$origin /g;
    $text =~ s/#(?=\Q$origin\E +true;)// or die 'no credentials' if $credentials;

    return $text;
}

my $nginx = nginx(
    http => origins($Shop) . <<'END',
limit_req_zone $arg_slow zone=slow:1m rate=1r/m;
END
    server => "include $Conf/concert_cors.conf;" . <<'END');
location = /api/limited { limit_req zone=slow; concert token_enter; }
location = /api/closed  { deny all; concert concerts; }
location = /api/busy    { return 503; }
END

my $ann = $nginx->client(user(5));
my %from = (Origin => $Shop);

sub cors {
    my ($answer) = @_;

    return { map { $_ => $answer->header("Access-Control-$_") // '' }
             qw( Allow-Origin Allow-Credentials Expose-Headers Allow-Methods
                 Allow-Headers Max-Age ) };
}

my $none = { map { $_ => '' } qw( Allow-Origin Allow-Credentials Expose-Headers
                                  Allow-Methods Allow-Headers Max-Age ) };
my $shared = { %$none, 'Allow-Origin' => $Shop, 'Expose-Headers' =>
               'Link, ETag, Retry-After, Location, Idempotency-Replayed' };

$ann->enter;
$nginx->nobody->get('/api/limited?slow=1');

for (
    [ 200, GET => '/api/balance/' . $ann->id ],
    [ 200, HEAD => '/api/balance/' . $ann->id ],
    [ 400, GET => '/api/token/0' ],
    [ 403, GET => '/api/closed' ],
    [ 404, GET => '/api/nothing' ],
    [ 404, GET => '/api/concerts/schedules/9007199254740991' ],
    [ 405, PUT => '/api/concerts' ],
    [ 429, GET => '/api/limited?slow=1' ],
    [ 503, GET => '/api/busy' ],
) {
    my ($status, $method, $path) = @$_;
    my $answer = $ann->ask($method, $path, undef, %from);

    is $answer->status, $status, "$method $path is answered $status";
    is_deeply cors($answer), $shared, 'which a page of the shop may read';
    is $answer->header('Vary'), 'Origin', 'and which differs from origin to origin';
    is $answer->header('X-Content-Type-Options'), 'nosniff',
       'with the headers that all have';

    $answer = $ann->ask($method, $path, undef, Origin => 'https://evil.example');
    is_deeply cors($answer), $none, 'another page may not';
    is $answer->header('Vary'), 'Origin', 'which differs, too';
}

is_deeply cors($ann->get('/api/balance/' . $ann->id)), $none,
          'who names no origin is told none';

for my $origin ("$Shop.evil.example", 'https://shop.example.co', "${Shop}:444",
                'http://shop.example.com', 'null', "$Shop, $Shop")
{
    is_deeply cors($ann->get('/api/token/0', undef, Origin => $origin)), $none,
              "$origin is another";
}


# the question of whether it may

my %question = (%from, 'Access-Control-Request-Method' => 'POST',
                'Access-Control-Request-Headers' =>
                    'content-type,idempotency-key,userid');

for my $path ('/api/reservations/seats', '/api/token', '/api/nothing') {
    my $answer = $nginx->nobody->ask(OPTIONS => $path, undef, %question);

    is $answer->status . $answer->body, 204, "OPTIONS $path is answered at once";
    is_deeply cors($answer), { %$shared,
        'Allow-Methods' => 'GET, HEAD, POST, PUT, DELETE',
        'Allow-Headers' =>
            'Authorization, Content-Type, Idempotency-Key, If-None-Match, userId',
        'Max-Age' => 7200 }, 'with what a page of the shop may send';
}

is $nginx->nobody->ask(OPTIONS => '/api/token', undef, %question,
                       Origin => 'https://evil.example')->status, 405,
   'another page is told nothing';
is $nginx->nobody->ask(OPTIONS => '/api/token', undef, %from)->status, 405,
   'what is no such question is not answered so';

for my $path (qw( /status /queue /metrics /ops/ /api/../queue /api/..%2fqueue
                  //queue ))
{
    my $answer = $nginx->nobody->ask(OPTIONS => $path, undef, %question);

    like $answer->status, qr/^4\d\d$/,
         "operators' $path is not for other origins";
    is_deeply cors($answer), $none, 'and says so';
    is_deeply cors($nginx->nobody->get($path, undef, %from)), $none,
              'nor may its answer be read';
}

$nginx->stop;


# credentials

$nginx = nginx(http => origins($Shop, 1),
               server => "include $Conf/concert_cors.conf;");

is $nginx->nobody->get('/api/token/0', undef, %from)
         ->header('Access-Control-Allow-Credentials'), 'true',
   'where it is said that a page may send cookies, it may';
is $nginx->nobody->get('/api/token/0', undef, Origin => 'https://evil.example')
         ->header('Access-Control-Allow-Credentials'), undef,
   'but no other';
$nginx->stop;


# in a browser

my $shop_port = Concert::free_port($nginx->{port} + 1);
my $other_port = Concert::free_port($shop_port + 1);

$nginx = nginx(http => origins("http://127.0.0.1:$shop_port") . <<"END",
server {
    listen 127.0.0.1:$shop_port;
    listen 127.0.0.1:$other_port;
    location / { default_type text/html; return 200 "<title>A shop</title>"; }
}
END
    server => "include $Conf/concert_cors.conf;");

concert() for 1 .. 2;
my $user = stranger();
my $Browser = Browser->start;
my $Service = "http://127.0.0.1:$nginx->{port}/api";

# What a script of a page finds out: statuses and headers, or that it may not.
sub tried {
    my ($port) = @_;

    $Browser->go("http://127.0.0.1:$port/");
    $Browser->script(<<'END', $Service, $user);
        const [service, user] = arguments;
        const who = {'Content-Type': 'application/json', userId: user};
        window.told = null;
        (async () => {
            const entered = await fetch(service + '/token', {method: 'POST',
                headers: who, body: JSON.stringify({userId: Number(user)})});
            const page = await fetch(service + '/concerts?size=1',
                                     {headers: {userId: user}});
            const missing = await fetch(service + '/nothing');
            return [entered.status, page.status, page.headers.get('Link'),
                    page.headers.get('ETag'), missing.status].join(' ');
        })().then(t => { window.told = t; },
                  e => { window.told = e.name; });
END
    my $told;
    eventually { $told = $Browser->script('return window.told') }
        "a page of port $port has tried";
    return $told;
}

like tried($shop_port), qr/^200 200 <\S+>; rel="next" "[0-9a-f]{16}" 404$/,
     'a browser lets a page of the shop enter, ask, and read the headers';
is tried($other_port), 'TypeError', 'and no page of another origin';

$Browser->stop;          # which keeps connections

$nginx->stop;
done_testing();
