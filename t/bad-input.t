# COUNT (1000) generated requests for each route, each wrong in one way: always
# a 4xx that says what to change, never a 5xx, a hang, or an alert.  SEED=n
# repeats a run.

use strict;
use warnings;

use JSON::PP ();
use Test::More;

use Concert;

my $Count = $ENV{COUNT} // 1000;
my $Seed = $ENV{SEED} // time;
my $Json = JSON::PP->new->canonical->allow_nonref;

srand $Seed;
diag "SEED=$Seed";

my $Nginx = nginx(workers => 2);
my $Schedule = schedule();
my $Concert = concert_of($Schedule);
my $User = user(100_000);
my $Held = hold($User, $Schedule, 5);

# so that nothing is refused for want of a token
$Nginx->client($User)->enter;

my %Route = (
    'POST /api/token' => { body => { userId => 0 + $User } },
    'GET /api/token/' => { id => $User, own => 1 },
    'DELETE /api/token/' => { id => $User, own => 1 },
    'GET /api/token/status/' => { id => $User, own => 1 },
    'GET /api/token/events/' => { id => $User, own => 1 },
    'PUT /api/balance/charge' => {
        body => { userId => 0 + $User, amount => 10 } },
    'GET /api/balance/' => { id => $User, own => 1 },
    'GET /api/concerts' => { query => 1 },
    'GET /api/concerts/schedules/' => { id => $Concert, query => 1 },
    'GET /api/concerts/seats/' => { id => $Schedule, query => 1, caller => 1 },
    'GET /api/reservations' => { query => 1, caller => 1 },
    'POST /api/reservations/seats' => { caller => 1, body => {
        userId => 0 + $User, concertId => 0 + $Concert,
        scheduleId => 0 + $Schedule, seatIdList => [1] } },
    'GET /api/reservations/' => { id => $Held, caller => 1 },
    'DELETE /api/reservations/' => { id => $Held, caller => 1 },
    'POST /api/reservations/payments' => { caller => 1, body => {
        userId => 0 + $User, reservationId => 0 + $Held, amount => 1000 } },
    'GET /api/reservations/payments/' => { id => 1, caller => 1 },
);


# --- what is wrong ----------------------------------------------------------

sub any { return $_[rand @_] }

sub noise {
    my ($length, @characters) = @_;
    return join '', map { any(@characters) } 1 .. 1 + int rand $length;
}

my @Letters = ('a' .. 'z', 'A' .. 'Z', '_', '~', '.', '-');

# Text that is no integer of 1..2^53-1 without leading zeros.
sub no_id {
    return any(
        '0', '-1', '+1', '01', '00', '1.0', '1e3', '0x10', '1_000', '-0',
        '9007199254740992', '9223372036854775807', '9223372036854775808',
        '18446744073709551616', '9' x 100, 'null', 'true', 'NaN', 'Infinity',
        (1 + int rand 999) . any(@Letters), '-' . int rand 1e9,
        '0' . int rand 1e9, noise(40, @Letters));
}

# JSON that is no such integer either.
sub no_integer {
    return any(
        'null', 'true', 'false', '""', '"1"', '[]', '[1]', '{}', '{"a":1}', '0',
        '-1', '1.5', '1e2', '1E+2', '9007199254740992', '-9007199254740993',
        '9223372036854775807', '9223372036854775808', '-9223372036854775809',
        '1' . '0' x 400, '1e999', '-1e999', '0.1e1', '01', '+1', '.5', '1.',
        'NaN', '0x1', "'1'", '1 2', '-', (rand() - 2) * 1e6,
        $Json->encode(noise(60, @Letters)));
}

sub no_seats {
    return any(
        (grep { $_ ne '[1]' } no_integer()), '[[1]]', '[1,1]', '[1,"2"]', '[1,2,', '[0]', '[null]',
        '[1.5]', '[1,]', '[,1]', '[' . join(',', 1 .. 100) . ']',
        '{"0":1}', '[9007199254740992]', '[' . no_integer() . ']',
        '[2,' . no_integer() . ',3]');
}

sub texts_of {
    my ($body) = @_;
    return map { $_ => $Json->encode($body->{$_}) } keys %$body;
}

sub object {
    my (%texts) = @_;
    return '{' . join(',', map { "\"$_\":$texts{$_}" } keys %texts) . '}';
}

# A body that is wrong.
my @Bodies = (
    sub {
        my %texts = texts_of($_[0]);
        my $name = any(sort keys %texts);
        $texts{$name} = $name eq 'seatIdList' ? no_seats() : no_integer();
        return object(%texts);
    },
    sub {
        my %texts = texts_of($_[0]);
        delete $texts{ any(sort keys %texts) };
        return object(%texts);
    },
    sub {
        my $text = object(texts_of($_[0]));
        return substr $text, 0, int rand length $text;
    },
    sub {       # a byte that JSON cannot have anywhere
        my $text = object(texts_of($_[0]));
        substr $text, int rand(1 + length $text), 0,
               chr any(0 .. 8, 14 .. 31, 0x80 .. 0xbf, 0xc0, 0xc1, 0xf5 .. 0xff);
        return $text;
    },
    sub { return object(texts_of($_[0])) . any('}', ']', ',', 'x', '{}', '0') },
    sub {       # a member twice
        my $text = object(texts_of($_[0]));
        my $name = any(sort keys %{ $_[0] });
        return substr($text, 0, -1) . ",\"$name\":1}";
    },
    sub { return any('', ' ', '[]', '[{}]', 'null', '1', '"x"', '{', '}', '{}',
                     '{"userId"}', '{userId:1}', "{'userId':1}", '//', '<a/>',
                     'userId=1&amount=5', "\xef\xbb\xbf{}") },
    sub { my $n = 1 + int rand 3000; return '[' x $n . ']' x int rand 2 * $n },
    sub { my $n = 1 + int rand 3000; return '{"a":' x $n . '1' . '}' x $n },
    sub {       # half of a surrogate pair, or none
        my $text = object(texts_of($_[0]));
        return substr($text, 0, -1) . ',"x":"\\u'
               . any('d800', 'dfff', 'dc00\\ud800', '12', 'zzzz') . '"}';
    },
    sub { return noise(200, map { chr } 0 .. 255) . '}' },
);

# A request that is wrong: method, target, headers, body.
sub wrong {
    my ($name) = @_;

    my ($method, $path) = split ' ', $name;
    my $route = $Route{$name};
    my %headers = (userId => $User);
    my $target = $path . ($route->{id} // '');
    my $body = $route->{body} ? object(texts_of($route->{body})) : undef;

    my @ways = ('escape');
    push @ways, ('id') x 4 if $route->{id};
    push @ways, ('query') x 8 if $route->{query};
    push @ways, ('body') x 12, 'type', 'size', 'chunks' if $route->{body};
    push @ways, ('caller') x 2 if $route->{caller} || $route->{own};
    my $way = any(@ways);

    if ($way eq 'id') {
        $target = $path . no_id();
    } elsif ($way eq 'query') {
        my $field = any($path =~ /seats/ ? qw( size after end status )
                                         : qw( size after ));
        $target .= "?$field=" . ($field eq 'size'
            ? any(no_id(), 501, 1e6) : any(grep { $_ ne '0' } no_id(), 'x'));
    } elsif ($way eq 'body') {
        $body = any(@Bodies)->($route->{body});
    } elsif ($way eq 'type') {
        $headers{'Content-Type'} = any('text/plain', 'application/xml', 'json',
            'application/x-www-form-urlencoded', 'application/jsonx',
            'application', '/', noise(30, @Letters));
    } elsif ($way eq 'size') {
        $body = ' ' x any(65537, 70000, 200000) . $body;
    } elsif ($way eq 'chunks') {
        $headers{'Transfer-Encoding'} = any('chunked', 'gzip', 'x');
        $body = any("zz\r\nab\r\n0\r\n\r\n", "-1\r\n", "5\r\nab\r\n0\r\n\r\n",
                    "ffffffffffffffffff\r\nx\r\n");
    } elsif ($way eq 'caller') {
        my $header = no_id();
        $headers{userId} = $header;
        $headers{userid} = $User if rand() < 0.3;
    } else {
        $target =~ s{/(?=[^/]*$)}{any('/%zz', '/%', '/%0', '/%00', '/../../../')}e;
    }

    return ($way, $method, $target, \%headers, $body);
}

sub bytes_of {
    my ($method, $target, $headers, $body) = @_;

    $headers->{'Content-Length'} = length $body
        if defined $body && !$headers->{'Transfer-Encoding'};

    return join "\r\n", "$method $target HTTP/1.1", 'Host: localhost',
                        'Connection: close',
                        (map { "$_: $headers->{$_}" } sort keys %$headers),
                        '', $body // '';
}


# --- the requests -----------------------------------------------------------

for my $name (sort keys %Route) {
    my (@bad, %ways);
    my $left = $Count;

    while ($left > 0) {
        my @wrong = map { [wrong($name)] } 1 .. ($left < 50 ? $left : 50);
        $left -= @wrong;

        my @answers = $Nginx->together(
            map { my (undef, @request) = @$_; bytes_of(@request) } @wrong);

        for my $i (0 .. $#wrong) {
            my ($way, $method, $target, $headers, $body) = @{ $wrong[$i] };
            my $answer = $answers[$i];
            my $problem = eval { $answer->json };

            $ways{$way}++;
            next if $answer->status =~ /^4\d\d$/ && ref $problem eq 'HASH'
                    && $problem->{status} == $answer->status
                    && length $problem->{detail};

            push @bad, "$way: $method $target "
                       . $Json->encode([%$headers, substr $body // '', 0, 200])
                       . ' -> ' . $answer->status . ' '
                       . substr $answer->body, 0, 200;
        }
    }

    is scalar @bad, 0, "$name: $Count wrong requests are told what is wrong";
    diag $_ for splice @bad, 0, 3;
    note join ', ', map { "$_ $ways{$_}" } sort keys %ways;
}

is $Nginx->client($User)->balance, 100_000, 'nothing was charged or paid';
is sql("select count(*) from concert.reservations where user_id = $User"), 1,
   'and nothing reserved';
is sql("select status from concert.reservations
        where reservation_id = $Held"), 'HELD', 'and nothing given back';

is_deeply [ grep { /exited on signal/ } $Nginx->log ], [], 'no worker died';

$Nginx->stop;

done_testing();
