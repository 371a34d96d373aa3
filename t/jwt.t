# Who is asking, by the token of a login: concert_identity jwt.

use strict;
use warnings;

use File::Temp ();
use MIME::Base64 qw( encode_base64url );
use Test::More;

use Concert;
use Token;

my %Key = map { $_ => Token::Key->new($_) } qw( HS256 RS256 ES256 );
my $Hour = 3600;

sub with {
    my ($parameters, %is) = @_;
    return nginx(http => "concert_identity jwt $parameters;\n"
                         . ($is{http} // ''), server => $is{server});
}

sub claims { return { sub => "$_[0]", exp => time + $Hour, @_[1 .. $#_] } }

# Somebody who shows a token, and says to be another in the userId header.
sub bearer {
    my ($nginx, $token) = @_;
    return $nginx->client(4711, Authorization => "Bearer $token");
}

# The answer to a token, and what it says.
sub refused {
    my ($nginx, $token, $detail, $what) = @_;

    my $answer = bearer($nginx, $token)->get('/api/balance/1');

    is_problem($answer, 'identity_invalid', $what);
    like $answer->json->{detail}, $detail, "$what: the answer says why";
    is $answer->header('WWW-Authenticate'),
       'Bearer realm="concert", error="invalid_token", error_description="'
       . $answer->json->{detail} . '"', "$what: so does its challenge";
}


for my $alg (sort keys %Key) {
    my $key = $Key{$alg};
    my $nginx = with($key->file);
    my $user = user(10);
    my $token = $key->sign(claims($user));
    my $client = bearer($nginx, $token);

    is $client->get("/api/balance/$user")->json->{amount}, 10,
       "$alg: the sub of a token is the user, whatever the userId header says";
    is $client->get("/api/balance/$user")->json->{amount}, 10,
       "$alg: and again";
    is_problem($client->get('/api/balance/' . user(3)), 'identity_mismatch',
               "$alg: and nobody else");

    my ($head, $body, $signature) = split /\./, $token;
    my $other = encode_base64url('{"sub":"1","exp":99999999999}');

    refused($nginx, "$head.$other.$signature", qr/signed with the right key/,
            "$alg: claims that another signature is of");
    refused($nginx, "$head.$body.", qr/signed with the right key/,
            "$alg: no signature");
    refused($nginx, "$head.$body", qr/signed with the right key/,
            "$alg: no third part");
    refused($nginx, Token::Key->new($alg)->sign(claims($user)),
            qr/signed with the right key/, "$alg: a key of the same kind");

    for my $wrong (grep { $_ ne $alg } sort keys %Key) {
        refused($nginx, $Key{$wrong}->sign(claims($user)),
                qr/right key and algorithm/, "$alg: a token of $wrong");
    }

    # who knows the public key must not sign with it as a secret
    my $forged = Token::Key->new('HS256', $key->text);

    refused($nginx, $forged->sign(claims($user)), qr/right key and algorithm/,
            "$alg: the public key as a secret") if $alg ne 'HS256';

    refused($nginx, $key->sign(claims($user), { alg => 'none' }),
            qr/right key and algorithm/, "$alg: the algorithm none");
    refused($nginx, encode_base64url('{"alg":"none"}') . ".$body.",
            qr/right key and algorithm/, "$alg: none, and no signature");
    refused($nginx, $key->sign(claims($user), { crit => ['b64'] }),
            qr/right key and algorithm/,
            "$alg: a header that must be understood and is not");

    is_deeply [ grep { /\[(?:alert|crit|error)\]/ } $nginx->log ], [],
              "$alg: no fault is logged";
    $nginx->stop;
}


my $key = $Key{HS256};

{
    my $nginx = with($key->file);
    my $user = user(5);
    my $now = time;

    refused($nginx, $key->sign(claims($user, exp => $now)), qr/has expired/,
            'a token that has ended');
    refused($nginx, $key->sign({ sub => "$user" }), qr/no time at which/,
            'one without end');
    refused($nginx, $key->sign(claims($user, exp => "$now")),
            qr/must be numbers/, 'an end that is no number');
    refused($nginx, $key->sign(claims($user, nbf => $now + $Hour)),
            qr/not valid yet/, 'one of the future');
    refused($nginx, $key->sign(claims($user, nbf => 'now')),
            qr/must be numbers/, 'a beginning that is no number');
    refused($nginx, $key->sign(claims($user, aud => 'concert')),
            qr/another audience/, 'an audience where none is known');

    for my $sub (0, -1, '', 'ann', '01', '9007199254740992', ' 7', '7.0') {
        refused($nginx, $key->sign(claims($user, sub => "$sub")),
                qr/names no user/, "the user \"$sub\"");
    }

    refused($nginx, $key->sign(claims($user, sub => { id => 7 })),
            qr/names no user/, 'a user that is an object');
    refused($nginx, $key->sign('[]'), qr/no time at which/, 'claims that are a list');
    refused($nginx, $key->sign('{"sub":'), qr/right key/, 'broken claims');
    is_problem(bearer($nginx, '')->get('/api/balance/1'), 'identity_missing',
               'an empty token is none');
    refused($nginx, '.' x 3000, qr/right key/, 'nothing but dots');
    refused($nginx, 'a' x 6000, qr/right key/, 'no dots');

    is bearer($nginx, $key->sign(claims($user, sub => 0 + $user,
                                        nbf => $now - 1, iss => 'any')))
       ->get("/api/balance/$user")->json->{amount}, 5,
       'a number is a user too, and any issuer will do unless one is named';
    is $nginx->client(undef, Authorization => 'bearer '
                             . $key->sign(claims($user)))
       ->get("/api/balance/$user")->json->{amount}, 5,
       '"bearer" is a word of any case';

    my $soon = $key->sign(claims($user, exp => time + 6));

    is bearer($nginx, $soon)->get("/api/balance/$user")->status, 200,
       'a token is good until it ends';
    eventually {
        bearer($nginx, $soon)->get("/api/balance/$user")->status == 401
    } 'and not for longer, though it was seen before';

    my $twice = $nginx->client(undef)->bytes_of(GET => "/api/balance/$user");
    my $header = 'Authorization: Bearer ' . $key->sign(claims($user));
    $twice =~ s/\r\n\r\n/\r\n$header\r\n$header\r\n\r\n/;

    is_problem($nginx->client(undef)->send($twice), 'invalid_request',
               'two tokens are refused');
    $nginx->stop;
}


# every route needs the token

{
    my $nginx = with($key->file);
    my $user = user(5000);
    my $schedule = schedule();
    my $held = hold($user, $schedule, 1);

    my @requests = (
        [ POST => '/api/token', { userId => 0 + $user } ],
        [ GET => "/api/token/$user" ],
        [ DELETE => "/api/token/$user" ],
        [ GET => "/api/token/status/$user" ],
        [ PUT => '/api/balance/charge', { userId => 0 + $user, amount => 1 } ],
        [ GET => "/api/balance/$user" ],
        [ GET => '/api/concerts' ],
        [ GET => '/api/concerts/schedules/1' ],
        [ GET => "/api/concerts/seats/$schedule" ],
        [ POST => '/api/reservations/seats',
          { userId => 0 + $user, concertId => 1, scheduleId => 0 + $schedule,
            seatIdList => [2] } ],
        [ GET => '/api/reservations' ],
        [ GET => "/api/reservations/$held" ],
        [ DELETE => "/api/reservations/$held" ],
        [ POST => '/api/reservations/payments',
          { userId => 0 + $user, reservationId => 0 + $held, amount => 1 } ],
        [ GET => '/api/reservations/payments/1' ],
    );

    for my $request (@requests) {
        my $what = "$request->[0] $request->[1]" =~ s/\d{3,}/{id}/r;
        my $answer = $nginx->client($user)->ask(@$request);

        is_problem($answer, 'identity_missing',
                   "$what: the userId header is not enough");
        is $answer->header('WWW-Authenticate'), 'Bearer realm="concert"',
           "$what: and the answer says what is";
    }

    my $other = bearer($nginx, $key->sign(claims(user())));

    for my $request (grep { "@$_" !~ m{concerts|GET /api/reservations} }
                     @requests)
    {
        my $what = "$request->[0] $request->[1]" =~ s/\d{3,}/{id}/r;
        my $code = $request->[1] =~ m{reservations/\d+$}
                   ? 'reservation_not_found' : 'identity_mismatch';

        is_problem($other->ask(@$request), $code,
                   "$what: not with the token of another");
    }

    is sql("select balance from concert.accounts where account_id = $user"),
       5000, 'so no money moves';
    is sql("select count(*) from concert.seats
            where schedule_id = $schedule and reservation_id is not null"), 1,
       'and no seat';

    my $client = bearer($nginx, $key->sign(claims($user)));
    $client->{id} = $user;

    is $client->enter->json->{status}, 'ACTIVE', 'with one it enters';
    is $client->get('/api/concerts?size=1')->status, 200, 'looks';
    my $mine = $client->reserve($schedule, 2)->json;
    is $mine->{status}, 'HELD', 'reserves';
    is $client->pay($mine->{reservationId}, $mine->{totalPrice})->status, 200,
       'and pays';
    is $nginx->nobody->get('/healthz')->status, 200,
       'operators have routes of their own';
    $nginx->stop;
}


# audience, issuer, leeway, several keys

{
    my $nginx = with($key->file
                     . ' aud=concert iss=https://login.example leeway=1m');
    my $user = user(5);
    my @right = (aud => 'concert', iss => 'https://login.example');

    for my $case ([ [], 'an audience that is the one' ],
                  [ [ aud => [ 'shop', 'concert' ] ], 'one of several' ],
                  [ [ exp => time - 5 ], 'a clock that is behind' ],
                  [ [ nbf => time + 5 ], 'a clock that is ahead' ])
    {
        my ($claims, $what) = @$case;
        is bearer($nginx, $key->sign(claims($user, @right, @$claims)))
           ->get("/api/balance/$user")->status, 200, "$what is right";
    }

    for my $case ([ [ aud => 'shop' ], qr/audience/, 'another audience' ],
                  [ [ aud => [] ], qr/audience/, 'no audience of several' ],
                  [ [ aud => undef ], qr/audience/, 'the audience null' ],
                  [ [ aud => [ undef, 1 ] ], qr/audience/, 'odd audiences' ],
                  [ [ iss => 'https://login.example.evil' ], qr/issuer/,
                    'another issuer' ],
                  [ [ iss => undef ], qr/issuer/, 'no issuer' ],
                  [ [ exp => time - 61 ], qr/expired/, 'an end too long ago' ])
    {
        my ($claims, $detail, $what) = @$case;
        refused($nginx, $key->sign(claims($user, @right, @$claims)), $detail,
                $what);
    }

    $nginx->stop;
}

{
    my $old = Token::Key->new('RS256');
    my $nginx = with(join ' ', map { $_->file } $old, $Key{RS256}, $Key{ES256});
    my $user = user(5);

    for my $one ($old, $Key{RS256}, $Key{ES256}) {
        is bearer($nginx, $one->sign(claims($user)))
           ->get("/api/balance/$user")->status, 200,
           'while keys are replaced, each is good';
    }

    refused($nginx, $Key{HS256}->sign(claims($user)), qr/right key/,
            'a key that is none of them');
    $nginx->stop;
}


# $concert_user_id is the user of the token

{
    my $nginx = with($key->file,
        http => 'limit_req_zone $concert_user_id zone=each:1m rate=1r/m;',
        server => 'add_header X-User $concert_user_id always;
                   limit_req zone=each nodelay;');
    my $user = user(5);
    my $client = bearer($nginx, $key->sign(claims($user)));

    is $client->get("/api/balance/$user")->header('X-User'), $user,
       '$concert_user_id is the user of the token';
    is_problem($client->get("/api/balance/$user"), 'rate_limited',
               'so a limit is on that user');
    is bearer($nginx, 'none')->get("/api/balance/$user")->header('X-User'),
       undef, 'and is nobody without a right one';
    my $second = user(6);

    is bearer($nginx, $key->sign(claims($second)))
       ->get("/api/balance/$second")->status, 200,
       'another user has a limit of his own';
    $nginx->stop;
}


# what is refused at the start

sub refusal {
    my ($parameters) = @_;

    my $nginx = eval { with($parameters) } or return "$@";
    $nginx->stop;
    return 'it starts';
}

for my $case (
    [ '', qr/tokens need a key: write "concert_identity jwt/, 'no key' ],
    [ '/nowhere/key', qr{cannot open "/nowhere/key"}, 'a file that is not' ],
    [ Token::file_of("short\n"), qr/less than 32 bytes/, 'a short secret' ],
    [ Token::file_of('x' x 9000), qr/at most 8192 bytes/, 'a huge file' ],
    [ $Key{RS256}{private}, qr/no public key.*-pubout/, 'a private key' ],
    [ Token::Key->new('short')->file, qr/at least 2048 bits/, 'a short RSA' ],
    [ Token::Key->new('other')->file, qr/curve P-256/, 'another curve' ],
    [ $key->file . ' leeway=1h', qr/at most 5 minutes/, 'too long a leeway' ],
    [ join(' ', ($key->file) x 5), qr/at most 4/, 'five keys' ],
) {
    my ($parameters, $says, $what) = @$case;
    like refusal($parameters), $says, "$what is refused at the start";
}

{
    my $nginx = with($key->file);
    my $secret = $key->{secret};

    bearer($nginx, $key->sign(claims(1)))->get('/api/balance/1');
    is_deeply [ grep { /\Q$secret\E|Bearer/ } $nginx->log,
                map { $nginx->nobody->get($_)->body } '/status', '/metrics' ],
              [], 'neither key nor token is told to anybody';
    $nginx->stop;
}

done_testing();
