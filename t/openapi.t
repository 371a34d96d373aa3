# The running server and conf/openapi.yaml say the same: every outcome that the
# document has for an operation (a status and, of a problem, its code) is
# provoked and must look as the document says, and whatever else the server
# answers must be in it.
#
# What is away, slow or too busy is played by a proxy in front of PostgreSQL
# and Redis, which can be closed and frozen.

use strict;
use warnings;

use JSON::PP    ();
use List::Util  qw( first );
use Test::More;
use Time::HiRes qw( sleep );

use Concert;
use Events;
use Gateway;
use OpenAPI;
use Proxy;

use constant MAX => 9007199254740991;

# how often something that needs luck is tried
use constant TRIES => 20;

# more than a body may be
use constant TOO_LARGE => 65537;

# of a queue where nobody has to wait: a stream of who waits does not end
use constant CAPACITY => 100_000;

my $Conf = $ENV{TEST_NGINX_CONCERT_CONF} // 'conf';
my $Api = OpenAPI->new("$Conf/openapi.yaml");
my $Json = JSON::PP->new->canonical->allow_nonref;

my (%Seen, %HeaderSeen);        # operation => outcome => count

# whose code is which
my %Store = (store_unavailable => 'postgres', queue_unavailable => 'redis');

my $Seed = $ENV{TEST_SEED} // 20261122;
srand($Seed);
note("TEST_SEED=$Seed");

my @Users;                      # that nobody has used

my $Concert = concert('A concert of the document');
my $Schedule = schedule(concert => $Concert, seats => 20_000, price => 1000);
my $Begun = schedule(concert => $Concert, starts => seconds_from_now(-60));
my $NotOpen = schedule(concert => $Concert, opens => seconds_from_now(3600));
my $Sold = schedule(concert => $Concert, seats => 1, price => 0);
my $Seat = 0;

hold(someone(), $Sold, 1);

# For each operation a request that is right: the parameters of its path, and
# its body.
my %Sample = (
    'POST /api/token' => sub { ({}, { userId => $_[0] }) },
    'GET /api/token/{userId}' => sub { { userId => $_[0] } },
    'DELETE /api/token/{userId}' => sub { { userId => $_[0] } },
    'GET /api/token/status/{userId}' => sub { { userId => $_[0] } },
    'GET /api/token/events/{userId}' => sub { { userId => $_[0] } },
    'GET /api/queue/draw' => sub { {} },
    'PUT /api/balance/charge' => sub { ({}, { userId => $_[0],
                                              amount => 6000 }) },
    'GET /api/balance/{userId}' => sub { { userId => $_[0] } },
    'GET /api/concerts' => sub { {} },
    'GET /api/concerts/schedules/{concertId}' =>
        sub { { concertId => $Concert } },
    'GET /api/concerts/seats/{scheduleId}' =>
        sub { { scheduleId => $Schedule } },
    'GET /api/reservations' => sub { {} },
    'POST /api/reservations/seats' => sub {
        ({}, { userId => $_[0], concertId => 0 + $Concert,
               scheduleId => 0 + $Schedule, seatIdList => [++$Seat] }) },
    'GET /api/reservations/{reservationId}' => sub {
        { reservationId => hold($_[0], $Schedule, ++$Seat) } },
    'DELETE /api/reservations/{reservationId}' => sub {
        { reservationId => hold($_[0], $Schedule, ++$Seat) } },
    'POST /api/reservations/payments' => sub {
        ({}, { userId => $_[0], amount => 1000,
               reservationId => 0 + hold($_[0], $Schedule, ++$Seat) }) },
    'POST /api/payments/orders' => sub {
        ({}, { userId => $_[0], chargeAmount => 6000 }) },
    'POST /api/gateway/webhook' => sub {
        ({}, { eventType => 'PAYMENT_STATUS_CHANGED',
               data => { orderId => 'order-of-nobody' } }) },
    'POST /gateway/breaker' => sub { ({}, { state => 'closed' }) },
    'POST /refunds/{paymentId}' => sub {
        ({ paymentId => payment_of(paid($_[0], $Schedule, ++$Seat)) },
         { reason => 'A test' }) },
    'GET /api/reservations/payments/{paymentId}' => sub {
        { paymentId => payment_of(paid($_[0], $Schedule, ++$Seat)) } },
    'PATCH /queue' => sub { ({}, { paused => JSON::PP::false,
                                   rate => 1_000_000,
                                   capacity => CAPACITY }) },
    map { $_ => sub { {} } } 'GET /healthz', 'GET /readyz', 'GET /metrics',
                             'GET /status', 'GET /queue',
);

# Operations that make no sense without a token.
my %Enters = map { $_ => 1 }
             'GET /api/token/{userId}', 'GET /api/token/events/{userId}',
             grep { my $name = $_; grep { /token_not_active/ }
                                   $Api->outcomes($name) } $Api->operations;

the_document();
the_checker();

my %Limited = (server => 'limit_req zone=limited;', http => <<'END');
    concert_user_limit 3;
    limit_req_zone $http_x_limited zone=limited:1m rate=1r/m;
END
my $Nginx = nginx(queue => 'capacity=' . CAPACITY, %Limited);
my $Operated = nginx();         # where nobody enters

# which nginx an operation can succeed in, if it is another one
my %Elsewhere = ('GET /api/queue/draw' => nginx(
    queue => 'draw=on opens=' . seconds_from_now(86400), %Limited));

what_works();
wrong_requests();
identities();
admission();
the_flow();
by_card();
bodies();
refusals_of_nginx();
refusals_of_others();
other_methods();
other_paths();
too_many_requests();
anything();

$_->stop for $Nginx, $Operated, values %Elsewhere;

stores_away();
stores_frozen();
stores_busy();

nothing_left_out();

done_testing();


# --- cases ------------------------------------------------------------------

sub the_document {
    is_deeply([$Api->document_complaints], [],
              'the document is in itself right');

    is_deeply([sort keys %Sample], [$Api->operations],
              'there is a request for every operation');

    # location [=] path { ... concert route; }
    open my $in, '<', "$Conf/concert_routes.conf" or die "$Conf: $!";
    my @locations = map { m[^location\s+(=?)\s*(\S+)\s+\{(?!.*\binternal\b)
                            .*\bconcert\s+\w+;]x ? "$1$2" : () } <$in>;
    my @paths = map { m[^(.*/)\{\w+\}$] ? $1 : "=$_" } $Api->paths;

    is_deeply([sort @paths], [sort @locations],
              'the document has the paths of concert_routes.conf');

    # { "code", status, "title",
    open $in, '<', "$Conf/../src/core/problem.c" or die "problem.c: $!";
    my @codes = sort map { /^    \{ "(\w+)", [1-5]\d\d, "/ } <$in>;

    cmp_ok scalar @codes, '>', 40, 'the module knows codes';
    is_deeply([$Api->all_codes], \@codes, 'and the document has these');
}

# That it would find what is wrong with an answer.
sub the_checker {
    my $name = 'GET /api/token/{userId}';
    my %token = (userId => 17, status => 'WAITING', position => 421,
                 waitingTime => 26, expiresAt => undef, nextPoll => 6);
    my %active = (%token, status => 'ACTIVE', position => 0, waitingTime => 0,
                  expiresAt => '2026-11-22T10:00:00.000+00:00');

    my $complains = sub {
        my ($body, %is) = @_;

        return scalar(() = $Api->complaints($name, bless({
            status => $is{status} // 200,
            headers => { 'content-type' => [$is{type} // 'application/json'],
                         %{ $is{headers} // {} } },
            body => ref $body ? $Json->encode($body) : $body,
        }, 'Concert::Answer')));
    };

    is_deeply([map { $complains->($_) } \%token, \%active], [0, 0],
              'the checker accepts what the document says');

    my %wrong = (
        'another type' => { %token, position => '421' },
        'a fraction' => '{"userId":17,"status":"WAITING","position":1.0,'
                        . '"waitingTime":26,"expiresAt":null,"nextPoll":6}',
        'a member too many' => { %token, more => 1 },
        'a value below the least' => { %token, userId => 0 },
        'a value above the most' => '{"userId":9007199254740992,'
            . '"status":"WAITING","position":1,"waitingTime":26,'
            . '"expiresAt":null,"nextPoll":6}',
        'another word' => { %token, status => 'ASLEEP' },
        'a time without an offset' => { %active, expiresAt =>
                                        '2026-11-22T10:00:00' },
        'what contradicts itself' => { %active, position => 1 },
        'what is not an object' => '[]',
        'what is not JSON' => '{"userId":17',
        'nothing' => '',
        map { my %less = %token; delete $less{$_}; ("no $_" => \%less) }
            keys %token,
    );

    my %outside = (
        'another status' => [\%token, status => 418],
        'another type of content' => [\%token, type => 'text/html'],
        'a header too many' => [\%token, headers => { link => ['<x>'] }],
        'a header with another value' =>
            [\%token, headers => { 'retry-after' => ['soon'] }],
        map { ($_ => [$wrong{$_}]) } keys %wrong,
    );

    my @passed = grep { !$complains->(@{ $outside{$_} }) } sort keys %outside;
    is_deeply(\@passed, [], 'and complains about anything else');
}

sub what_works {
    for my $name ($Api->operations) {
        my ($status) = grep { /^2/ } $Api->outcomes($name);
        expect($name, $status, ask($Nginx, $name));
    }

    # HEAD is GET without a body
    for my $name (grep { /^GET/ } $Api->operations) {
        my $answer = ask($Nginx, $name, method => 'HEAD');
        my ($media) = keys %{ $Api->response($name, 200)->{content} };

        is(join(' ', $answer->status, $answer->header('Content-Type') // '',
                     $answer->body), "200 $media ", "HEAD for $name");
    }
}

# What the document says of parameters and bodies, turned around.
sub wrong_requests {
    for my $name ($Api->operations) {
        my @wrong;
        my $operation = $Api->operation($name);
        my $try = sub {
            my ($why, $field, %change) = @_;
            my $answer = ask($Nginx, $name, %change);
            my $problem = eval { $answer->json } // {};

            seen($name, $answer);
            push @wrong, "$why: " . $answer->status . ' ' . $answer->body
                if $Api->outcome($answer) ne '400 invalid_request'
                   || ($problem->{field} // '') ne $field;
            push @wrong, map { "$why: $_" } $Api->complaints($name, $answer);
        };

        for my $parameter (@{ $operation->{parameters} }) {
            my ($in, $parameter_name) = @$parameter{qw( in name )};
            next if $in eq 'header';

            my $schema = $Api->resolve($parameter->{schema});

            for my $value (exists $schema->{minimum} ? $schema->{minimum} - 1
                                                     : (),
                           '9007199254740992', 'x', '01', '1.0', '+1', '-1',
                           '%201') {
                $try->("$parameter_name=$value", '',
                       path => { $parameter_name => $value }) if $in eq 'path';
                $try->("$parameter_name=$value", $parameter_name,
                       query => "$parameter_name=$value") if $in eq 'query';
            }

            next if $in ne 'query';
            $try->("no $parameter_name", $parameter_name,
                   query => "$parameter_name=");
            $try->("two $parameter_name", $parameter_name,
                   query => "$parameter_name=1&$parameter_name=2");
            $try->("too large a $parameter_name", $parameter_name,
                   query => "$parameter_name=" . ($schema->{maximum} + 1))
                if exists $schema->{maximum};
        }

        if (my $body = $operation->{requestBody}) {
            my $schema = $Api->resolve($body->{content}{'application/json'}
                                            {schema});

            $try->("no $_", $_, without => $_) for @{ $schema->{required} };

            for my $member (sort keys %{ $schema->{properties} }) {
                $try->("$member $_", $member, text => { $member => $_ })
                    for wrong_texts($schema->{properties}{$member});
            }

            $try->("a body of $_", '', body => $_)
                for '', ' ', 'x', 'null', '[]', '"userId"', '{"userId":1',
                    "\xef\xbb\xbf{}", "{\"userId\":\"\xff\"}",
                    '{"userId":"\ud800"}', '{}{}',
                    $schema->{minProperties} ? ('{}', '{"x":1}') : ();

            $try->('two userId', 'userId', body => '{"userId":1,"userId":1}');
        }

        next if !$operation->{responses}{400};
        ok(!@wrong, "$name refuses what the document does not allow")
            or diag(join "\n", @wrong);
    }
}

# JSON that a schema does not allow.
sub wrong_texts {
    my ($schema) = @_;
    my $resolved = $Api->resolve($schema);
    my $type = $resolved->{type};
    my %is = map { $_ => 1 } ref $type ? @$type : $type // ();

    my @texts = ('{}', '"1"', '1.0', '1e0', '""',
                 $is{null} ? () : 'null', $is{boolean} ? () : 'true');

    # a string, one of some words, an object
    return grep { $Api->validate($schema, $Json->decode($_), '') }
           @texts, '1', '[]', '["x"]'
        if $is{string} || $is{object} || $resolved->{enum};

    return (@texts, '0', '1', '[]', '"true"') if $is{boolean};

    if ($is{array}) {
        return (@texts, '1', '[]', '[1,1]', '[[1]]',
                map { "[$_]" } @texts, wrong_texts($resolved->{items}));
    }

    return (@texts, '[]', '[1]', $resolved->{minimum} - 1,
            ($resolved->{maximum} // MAX) + 1, '-9007199254740992');
}

sub identities {
    for my $name ($Api->operations) {
        my %outcomes = map { $_ => 1 } $Api->outcomes($name);

        expect($name, '401 identity_missing',
               ask($Nginx, $name, caller => undef))
            if $outcomes{'401 identity_missing'};

        next if !$outcomes{'401 identity_invalid'};

        my @wrong = grep {
            my $answer = ask($Nginx, $name, caller => $_);
            seen($name, $answer);
            $Api->outcome($answer) ne '401 identity_invalid'
                || $Api->complaints($name, $answer);
        } '0', '01', '-1', 'x', '1.0', '9007199254740992', '1, 1', '1 1';

        is_deeply(\@wrong, [], "$name: 401 identity_invalid");

        my $user = someone();
        expect($name, '401 identity_invalid',
               ask($Nginx, $name, user => $user, caller => undef,
                   headers => { "userId: $user\r\nuserId" => $user }));

        expect($name, '403 identity_mismatch',
               ask($Nginx, $name, caller => someone()))
            if $outcomes{'403 identity_mismatch'};
    }

    # where the document says that the header is optional
    for my $name ($Api->operations) {
        my $header = first { $_->{in} eq 'header' }
                     @{ $Api->operation($name)->{parameters} };

        next if $header && $header->{required};
        my ($status) = grep { /^2/ } $Api->outcomes($name);
        expect($name, $status, ask($Nginx, $name, caller => undef));
    }
}

sub admission {
    my $full = nginx(queue => 'capacity=1');
    my ($first, $second) = map { $full->client(someone()) } 1 .. 2;
    my $token = 'GET /api/token/{userId}';

    my $active = $first->enter;
    expect('POST /api/token', '200', $active);
    is($active->json->{status}, 'ACTIVE', 'the first is ACTIVE');
    is($active->header('Retry-After'), undef, 'and need not ask again');

    my $waiting = $second->enter;
    expect('POST /api/token', '200', $waiting);
    is($waiting->json->{status}, 'WAITING', 'the second is WAITING');
    is($waiting->header('Retry-After'), $waiting->json->{nextPoll},
       'Retry-After is nextPoll');

    my $looked = $second->token;
    expect($token, '200', $looked);
    is($looked->header('Retry-After'), $looked->json->{nextPoll},
       'when it asks, too');
    is_deeply([map { $_->get('/api/token/status/' . $_->id)->json }
               $first, $second, $full->client(someone())],
              [map { $_ ? JSON::PP::true : JSON::PP::false } 1, 0, 0],
              'the status is true for the first, false for the second and '
              . 'for one without a token');
    expect($token, '404 token_not_found', $full->client(someone())->token);

    for my $name ($Api->operations) {
        next if !grep { $_ eq '403 token_not_active' } $Api->outcomes($name);

        expect($name, '403 token_not_active',
               ask($Nginx, $name, without_token => 1));
        expect($name, '403 token_not_active',
               ask($full, $name, user => $second->id));
    }

    streams($full, $first, $second);
    before_an_opening();

    my $draw = 'GET /api/queue/draw';
    expect($draw, '404 draw_not_found', ask($full, $draw));

    my $leave = 'DELETE /api/token/{userId}';
    expect($leave, '204', ask($full, $leave, user => $first->id)) for 1 .. 2;

    $full->stop;
}

# Tokens of who comes before an opening, with a draw and without.
sub before_an_opening {
    for my $draw (qw( on off )) {
        my $nginx = nginx(queue => "draw=$draw opens="
                                   . seconds_from_now(86400));
        my $user = $nginx->client(someone());

        expect('POST /api/token', '200', $user->enter);
        expect('GET /api/token/{userId}', '200', $user->token);
        ok($user->token->json->{opensAt}, 'it is told when the queue opens');

        $nginx->stop;
    }

    my $past = nginx(queue => 'draw=on opens=' . seconds_from_now(3));
    my $name = 'GET /api/queue/draw';
    my $user = $past->client(someone());

    $user->enter;
    eventually { ($past->nobody->get('/api/queue/draw')->json // {})->{seed} }
               'the queue opens';
    expect($name, '200', ask($past, $name, query => 'user=' . $_))
        for $user->id, someone();

    $past->stop;
}

# Events of who is in and of who waits: their data are what the document says.
sub streams {
    my ($nginx, $active, $waiting) = @_;
    my $watch = 'GET /api/token/events/{userId}';

    expect($watch, '404 token_not_found',
           ask($nginx, $watch, without_token => 1));
    expect($watch, '204', ask($nginx, $watch, user => $active->id,
                              headers => { 'Last-Event-ID' => 0 }));

    for my $case ([$active, 'active'], [$waiting, 'position']) {
        my ($user, $name) = @$case;
        my $stream = Events->open($nginx, '/api/token/events/' . $user->id);
        my $event = $stream->next;

        is($event->{event}, $name, "an event of a stream is $name");
        is_deeply([$Api->validate($Api->target('#/components/schemas/Token'),
                                  $event->{data}, '')], [],
                  'with a token as its data');
        $stream->close;
    }
}

# Outcomes that depend on what was done before.
sub the_flow {
    my $charge = 'PUT /api/balance/charge';
    my $balance = 'GET /api/balance/{userId}';
    my $concerts = 'GET /api/concerts';
    my $schedules = 'GET /api/concerts/schedules/{concertId}';
    my $seats = 'GET /api/concerts/seats/{scheduleId}';
    my $list = 'GET /api/reservations';
    my $reserve = 'POST /api/reservations/seats';
    my $look = 'GET /api/reservations/{reservationId}';
    my $cancel = 'DELETE /api/reservations/{reservationId}';
    my $pay = 'POST /api/reservations/payments';
    my $payment = 'GET /api/reservations/payments/{paymentId}';
    my $order = 'POST /api/payments/orders';

    expect($charge, '404 user_not_found',
           ask($Nginx, $charge, user => stranger()));
    expect($balance, '404 user_not_found',
           ask($Nginx, $balance, user => stranger()));
    expect($charge, '422 balance_limit',
           ask($Nginx, $charge, with => { amount => MAX }));

    for my $case ([charge => $charge], [reserve => $reserve], [pay => $pay]) {
        repeats(@$case);
    }

    concert('Another');
    schedule(concert => $Concert);
    for my $case ([$concerts], [$schedules], [$seats]) {
        my %page = (query => 'size=1&after=0');
        my $answer = ask($Nginx, $case->[0], %page);
        expect($case->[0], '200', $answer);
        like($answer->header('Link'), qr/rel="next"/,
             "$case->[0] has a next page");

        my $etag = $answer->header('ETag') // next;
        expect($case->[0], '304', ask($Nginx, $case->[0], %page,
                                      headers => { 'If-None-Match' => $etag }));
        expect($case->[0], '412 precondition_failed',
               ask($Nginx, $case->[0], %page, headers => { 'If-Match' => '"x"' }));
    }

    expect($schedules, '404 concert_not_found',
           ask($Nginx, $schedules, path => { concertId => MAX }));
    expect($seats, '404 schedule_not_found',
           ask($Nginx, $seats, path => { scheduleId => MAX }));
    for my $schedule ($Begun, $Sold) {
        my $answer = ask($Nginx, $seats, path => { scheduleId => $schedule });
        expect($seats, '200', $answer);
        is($answer->body, '[]', 'a schedule without free seats has none');
    }

    my $plan = ask($Nginx, $seats, path => { scheduleId => $Sold },
                   query => 'status=all');
    expect($seats, '200', $plan);
    is_deeply($plan->json, [[1, 'HELD', 0]], 'its hall plan has them all');

    my $try = sub {
        my ($outcome, %change) = @_;
        my $answer = ask($Nginx, $reserve, %change);
        expect($reserve, $outcome, $answer);
        return $answer;
    };

    $try->('404 user_not_found', user => stranger());
    $try->('404 schedule_not_found', with => { concertId => MAX });
    $try->('404 schedule_not_found', with => { scheduleId => MAX });
    $try->('404 seat_not_found', with => { seatIdList => [MAX] });
    $try->('409 sale_closed', with => { scheduleId => 0 + $Begun,
                                        seatIdList => [1] });
    $try->('409 sale_not_open', with => { scheduleId => 0 + $NotOpen,
                                          seatIdList => [1] });
    $try->('409 seat_limit', with => { seatIdList => [19_997 .. 20_000] });

    my $taken = $try->('409 seat_taken', with => { scheduleId => 0 + $Sold,
                                                   seatIdList => [1] });
    is_deeply($taken->json->{seatIdList}, [1], 'seat_taken names the seats');

    # every status that a reservation can have
    my $user = someone();
    my %made = (
        HELD => hold($user, $Schedule, ++$Seat),
        PAYING => Concert::paying($user, $Schedule, ++$Seat),
        PAID => paid($user, $Schedule, ++$Seat),
        EXPIRED => expired($user, $Schedule, ++$Seat),
        CANCELLED => cancelled($user, $Schedule, ++$Seat),
    );
    is_deeply([sort keys %made],
              [sort @{ $Api->target('#/components/schemas/Reservation')
                           ->{properties}{status}{enum} }],
              'these are the statuses of a reservation');

    for my $status (sort keys %made) {
        my $answer = ask($Nginx, $look, user => $user,
                         path => { reservationId => $made{$status} });
        expect($look, '200', $answer);
        is($answer->json->{status}, $status, "one is $status");
    }

    my $page = ask($Nginx, $list, user => $user, query => 'size=2');
    expect($list, '200', $page);
    is(@{ $page->json }, 2, 'a page of reservations');
    ok($page->header('Link'), 'has a next page');

    my $mine = sub {
        return (user => $user, path => { reservationId => $made{$_[0]} });
    };

    expect($cancel, '204', ask($Nginx, $cancel, $mine->('CANCELLED')));
    expect($cancel, '409 reservation_expired',
           ask($Nginx, $cancel, $mine->('EXPIRED')));
    expect($cancel, '409 payment_in_progress',
           ask($Nginx, $cancel, $mine->('PAYING')));
    expect($cancel, '409 reservation_paid',
           ask($Nginx, $cancel, $mine->('PAID')));

    my $paying = sub {
        my ($outcome, $status, %with) = @_;
        expect($pay, $outcome, ask($Nginx, $pay, user => $user,
               with => { reservationId => 0 + $made{$status}, %with }));
    };

    $paying->('409 reservation_expired', 'EXPIRED');
    $paying->('409 reservation_cancelled', 'CANCELLED');
    $paying->('409 payment_in_progress', 'PAYING');
    $paying->('409 reservation_paid', 'PAID');
    $paying->('422 amount_mismatch', 'HELD', amount => 999);

    my $free = schedule(seats => 1, price => 0);

    for my $case (['409 reservation_expired', $made{EXPIRED}],
                  ['409 reservation_cancelled', $made{CANCELLED}],
                  ['409 payment_in_progress', $made{PAYING}],
                  ['409 reservation_paid', $made{PAID}],
                  ['422 amount_mismatch', hold($user, $free, 1)],
                  ['404 reservation_not_found', MAX],
                  ['200', $made{HELD}]) {
        expect($order, $case->[0],
               ask($Nginx, $order, user => $user, without => 'chargeAmount',
                   with => { reservationId => 0 + $case->[1] }));
    }

    expect($order, '404 user_not_found',
           ask($Nginx, $order, user => stranger()));
    expect($order, '422 balance_limit',
           ask($Nginx, $order, with => { chargeAmount => MAX }));

    refunds($user, $made{PAYING}, $free);

    my ($poor) = users(1, 999);
    expect($pay, '422 insufficient_balance',
           ask($Nginx, $pay, user => 0 + $poor));

    for my $id (MAX, $made{HELD}) {
        expect($look, '404 reservation_not_found',
               ask($Nginx, $look, path => { reservationId => $id }));
        expect($cancel, '404 reservation_not_found',
               ask($Nginx, $cancel, path => { reservationId => $id }));
        expect($pay, '404 reservation_not_found',
               ask($Nginx, $pay, with => { reservationId => 0 + $id }));
    }

    for my $id (MAX, payment_of($made{PAID})) {
        expect($payment, '404 payment_not_found',
               ask($Nginx, $payment, path => { paymentId => $id }));
    }

    # the whole way, each step with what the one before answered
    my $ann = $Nginx->client(someone());
    expect('POST /api/token', '200', $ann->enter);
    my $held = $ann->reserve($Schedule, ++$Seat);
    expect($reserve, '200', $held);
    my $paid = $ann->pay($held->json->{reservationId},
                         $held->json->{totalPrice});
    expect($pay, '200', $paid);
    is($paid->json->{status}, 'PAID', 'what was held is paid');
    is_deeply($ann->get('/api/reservations/payments/'
                        . $paid->json->{paymentId})->json, $paid->json,
              'and can be looked up');
    ok(!$ann->is_active, 'and the token has ended');
}

sub refunds {
    my ($user, $paying, $free) = @_;
    my $refund = 'POST /refunds/{paymentId}';

    my $try = sub {
        my ($outcome, $payment) = @_;
        expect($refund, $outcome, ask($Nginx, $refund,
                                      path => { paymentId => $payment }));
    };
    my $settled = sub {
        my ($reservation, $amount, $verdict) = @_;
        return sql("select s.payment_id
            from concert.place_order(array[gen_random_uuid()],
                     array[$user]::bigint[], array[$reservation]::bigint[],
                     array[$amount]::bigint[]) o,
                 concert.claim(array[gen_random_uuid()],
                     array[$user]::bigint[], array[$reservation]::bigint[],
                     array[o.amount], array[o.order_id], array['key'], 3600000,
                     null) c,
                 concert.settle(array[c.payment_id], array['$verdict'],
                     array[o.amount], array['code'], array['reason']) s");
    };

    my $card = $settled->(hold($user, $Schedule, ++$Seat), 'null', 'approved');
    $try->('200', $card) for 1 .. 2;
    $try->('402 payment_declined', $settled->(hold($user, $Schedule, ++$Seat),
                                              'null', 'declined'));
    $try->('404 payment_not_found', MAX);
    $try->('409 payment_in_progress', payment_of($paying));
    $try->('409 not_refundable', $settled->('null', 1, 'approved'));

    my ($rich) = users(1, 1000);
    my $paid = payment_of(paid($rich, $Schedule, ++$Seat));
    my $most = MAX;
    sql("select outcome from concert.charge(array[gen_random_uuid()],
             array[$rich]::bigint[], array[$most]::bigint[])");
    $try->('422 balance_limit', $paid);
}

# What only a payment gateway can say.
sub by_card {
    my $gateway = Gateway->start;
    my $nginx = nginx(gateway => $gateway);
    my $order = '/api/payments/orders';
    my %for = (
        'POST /api/reservations/payments' => sub {
            { reservationId => 0 + hold($_[0], $Schedule, ++$Seat) } },
        'PUT /api/balance/charge' => sub { { chargeAmount => 1000 } },
    );

    my $card = sub {
        my ($at, $user, $for, %window) = @_;
        my $made = $at->client($user)->post($order, { userId => $user, %$for });
        my $payment = $gateway->window(%{ $made->json }, %window);

        return { method => 'card', amount => 1000,
                 $for->{reservationId} ? %$for : (),
                 map { $_ => $payment->{$_} } qw( orderId paymentKey ) };
    };

    for my $name (sort keys %for) {
        my %window = (
            '200' => {},
            '202' => { then => { confirm => [('drop') x 2],
                                 lookup => [('500') x 50] } },
            '402 payment_declined' => { card => 'declined' },
        );

        for my $outcome (sort keys %window) {
            my $user = someone();
            my $with = $card->($nginx, $user, $for{$name}->($user),
                               %{ $window{$outcome} });

            expect($name, $outcome,
                   ask($nginx, $name, user => $user, with => $with,
                       headers => { 'Idempotency-Key' => 'card' })) for 1 .. 2;
            expect($name, '409 payment_in_progress',
                   ask($nginx, $name, user => $user,
                       with => { %$with, paymentKey => 'another' }))
                if $outcome eq '202';
        }

        my $user = someone();
        my $with = $card->($nginx, $user, $for{$name}->($user));
        expect($name, '404 order_not_found',
               ask($nginx, $name, user => $user,
                   with => { %$with, orderId => 'order-of-nobody' }));
        expect($name, '422 amount_mismatch',
               ask($nginx, $name, user => $user,
                   with => { %$with, amount => 999 }));
    }

    $nginx->stop;

    # one is on its way, one waits
    $nginx = nginx(gateway => $gateway, cards => 'lanes=1 max_queue=1 timeout=60s');
    my @waiting;

    for my $n (1 .. 2) {
        my $user = someone();
        my $name = 'PUT /api/balance/charge';
        my $with = $card->($nginx, $user, $for{$name}->($user),
                           then => ['hang']);
        push @waiting, $nginx->begin(bytes($nginx, $name, user => $user,
                                           with => $with));
        my $metric = $n == 1 ? 'concert_lanes_busy'
                             : 'concert_lane_waiting_calls';
        eventually { $nginx->metric(qq($metric\{group="gateway"})) > 0 }
                   'the gateway is waited for';
    }

    for my $name (sort keys %for) {
        my $user = someone();
        my $with = $card->($nginx, $user, $for{$name}->($user));
        expect($name, '503 gateway_unavailable',
               ask($nginx, $name, user => $user, with => $with));
    }

    $gateway->kill;
    my @late = grep { $_->status != 202 && $_->status != 503 }
               map { Concert::Answer->new($_) } @waiting;
    is(@late, 0, 'those who waited for the gateway are answered');
    $nginx->stop;
}

sub bodies {
    for my $name (grep { $Api->operation($_)->{requestBody} }
                  $Api->operations) {
        my $large = '{"userId":1,"x":"' . 'x' x (TOO_LARGE - 19) . '"}';

        expect($name, '413 body_too_large', ask($Nginx, $name, body => $large));
        expect($name, '413 body_too_large',
               chunked($name, sprintf("%x\r\n%s\r\n0\r\n\r\n",
                                      length $large, $large)));
        expect($name, '415 media_type_unsupported',
               ask($Nginx, $name, headers => { 'Content-Type' => $_ }))
            for 'text/plain', 'application/x-www-form-urlencoded';

        # a page of another site can send a body that has no type
        expect($name, '415 media_type_unsupported',
               $Nginx->together(bytes($Nginx, $name)
                                =~ s/^Content-Type: .*\r\n//mr))
            if $Api->operation($name)->{path} !~ m{^/api/};

        # unknown members are ignored, and a JSON type may be any
        my ($status) = grep { /^2/ } $Api->outcomes($name);
        expect($name, $status,
               ask($Nginx, $name, text => { more => '{"x":[1.5,null,"한"]}' },
                   headers => { 'Content-Type' => $_ }))
            for 'application/json', 'application/json; charset=utf-8',
                'Application/JSON', 'application/merge-patch+json';
    }
}

# A request whose body comes in chunks.
sub chunked {
    my ($name, $chunks) = @_;

    my $bytes = bytes($Nginx, $name, body => $chunks)
                =~ s/^Content-Length: .*/Transfer-Encoding: chunked\r/mr;
    return ($Nginx->together($bytes))[0];
}

# What nginx refuses by itself, before the module sees it.
sub refusals_of_nginx {
    my $name = 'GET /api/balance/{userId}';
    my $long = 'x' x 40_000;

    my %refused = (
        'without a Host' => '',
        'with a header that is too long' => "Host: x\r\nX: $long\r\n",
        'with two lengths' => "Host: x\r\nContent-Length: 1\r\n"
                              . "Transfer-Encoding: chunked\r\n",
        'with two lengths, a large one' =>
            "Host: x\r\nContent-Length: 100000\r\n"
            . "Transfer-Encoding: chunked\r\n",
        'without a Host and with a wrong caller' => "userId: x\r\n",
    );

    for my $why (sort keys %refused) {
        my ($answer) = $Nginx->together("GET /api/balance/1 HTTP/1.1\r\n"
            . "Connection: close\r\n$refused{$why}\r\n");
        expect($name, '400 invalid_request', $answer, $why);
    }

    expect('POST /api/token', '400 invalid_request',
           chunked('POST /api/token', "x\r\n"));

    # nginx answers TRACE before it looks for a location
    my $trace = $Nginx->client(1)->ask('TRACE', '/api/balance/1');
    is($Api->outcome($trace), '405 method_not_allowed', 'TRACE is refused');
    like($trace->header('Allow') // 'none', qr/^(?:GET, HEAD|)$/,
         'and not answered with methods that there are not');

    my ($public) = $Nginx->together("GET /status HTTP/1.1\r\nHost: x\r\n"
                                    . "Connection: close\r\n\r\n");
    is_deeply([$Api->outcome($public),
               $Api->complaints('x-other-people', $public)],
              ['403 forbidden'], 'an operators\' route is not for everybody');

    my $nowhere = $Nginx->client('x')->get('/api/nothing');
    is_deeply([$Api->outcome($nowhere),
               $Api->complaints('x-other-paths', $nowhere)],
              ['404 route_not_found'], 'a caller who is wrong changes no 404');
}

# What a deployment puts in front of the routes; each range of statuses by one
# that has no other answer.
sub refusals_of_others {
    my %document = %{ $Api->document->{'x-refusals'} };
    my @statuses = sort map { s/XX/10/r } keys %document;

    # to a 408 of its own nginx closes the connection without an answer
    my $guarded = nginx(server => join "\n",
        'location = /408 { error_page 418 =408 @problem; return 418; }',
        'location @problem { concert problem; }',
        'location = /login { auth_basic concert; auth_basic_user_file none; }',
        map { "location = /$_ { return $_; }" } grep { $_ != 408 } @statuses);

    my $refused = sub {
        my ($path, $status) = @_;
        my $answer = $guarded->nobody->get("/$path");
        my $schema = $Api->response('x-refusals', $status)
                         ->{content}{'application/problem+json'}{schema};

        is_deeply([$answer->status,
                   $Api->complaints('x-refusals', $answer)], [$status],
                  "a $status is as the document says");
        ok((grep { $Api->outcome($answer) eq "$status $_" }
                 $Api->codes($schema)), 'with its code');
    };

    $refused->($_, $_) for @statuses;
    $refused->('login', 401);
    $guarded->stop;
}

sub other_methods {
    for my $path ($Api->paths) {
        my $name = "x-other-methods $path";
        my %has = map { $_ => 1 } $Api->methods($path);
        my $concrete = $path =~ s/\{\w+\}/1/r;
        my @wrong;

        for my $method (grep { !$has{$_} }
                        qw( GET HEAD POST PUT DELETE PATCH OPTIONS )) {
            my $answer = $Nginx->client(1)->ask($method, $concrete);
            my @allowed = split /, /, $answer->header('Allow') // '';

            push @wrong, "$method: " . $Api->outcome($answer)
                if $method ne 'HEAD'
                   && $Api->outcome($answer) ne '405 method_not_allowed';
            push @wrong, "$method: $_"
                for grep { $method ne 'HEAD' } $Api->complaints($name, $answer);
            push @wrong, "$method: Allow: @allowed"
                if join(' ', sort @allowed) ne join(' ', sort keys %has);
        }

        ok(!@wrong, "405 for other methods than those of $path")
            or diag(join "\n", @wrong);
    }
}

sub other_paths {
    for my $path (qw( /api /api/ /api/nothing /api/tokens /api/token/1/2
                      /api/token/status/1/2 /api/token/events/1/2 /queue/1
                      /api/balance /api/balance/1/2
                      /api/concerts/ /api/concerts/1 /api/concerts/seats/1/2
                      /api/reservations/1/2 /api/reservations/payments/1/2
                      /api/payments /api/payments/orders/1 /nothing )) {
        my $answer = $Nginx->client(1)->get($path);

        is_deeply([$Api->outcome($answer),
                   $Api->complaints('x-other-paths', $answer)],
                  ['404 route_not_found'], "404 for $path");
    }
}

sub too_many_requests {
    for my $name ($Api->operations) {
        next if !$Api->operation($name)->{responses}{429};

        my $key = $name =~ s/\W/-/gr;
        my @answers = map { ask($Nginx, $name,
                                headers => { 'X-Limited' => $key }) } 1 .. 2;

        like($answers[0]->status, qr/^2/, "$name: the first request is served");
        expect($name, '429 rate_limited', $answers[1]);
    }
}

# Whatever is asked, the answer is one that the document has.
sub anything {
    my ($requests, @wrong) = (400);
    my @names = $Api->operations;
    my @texts = ('null', 'true', '0', '1', '1.0', '-1', '"1"', '[]', '[1,2]',
                 '{}', '9007199254740991', '9007199254740992', '""',
                 '123456789012345678901234567890', '"\ud800"', "\"\xff\"");
    my @values = ('', 0, 1, 17, '01', -1, 'x', '%00', '%2e%2e', MAX, MAX + 1,
                  '1%2f2', '%ff', '1;2', 'status', 'all');

    for my $n (1 .. $requests) {
        my $name = $names[rand @names];
        my $operation = $Api->operation($name);
        my %change;

        for my $parameter (@{ $operation->{parameters} }) {
            my ($in, $parameter_name) = @$parameter{qw( in name )};
            my $value = $values[rand @values];

            $change{path}{$parameter_name} = $value
                if $in eq 'path' && rand() < 0.4;
            $change{query} = "$parameter_name=$value"
                if $in eq 'query' && rand() < 0.4;
            $change{caller} = $value if $in eq 'header' && rand() < 0.2;
        }

        if (my $body = $operation->{requestBody}) {
            my $schema = $Api->resolve($body->{content}{'application/json'}
                                            {schema});
            for my $member (sort keys %{ $schema->{properties} }) {
                $change{text}{$member} = $texts[rand @texts]
                    if rand() < 0.3;
            }
            $change{headers}{'Content-Type'} =
                ('text/plain', 'application/json', 'x')[rand 3]
                if rand() < 0.1;
        }

        $change{without_token} = 1 if rand() < 0.1;
        $change{query} = 'x=y&&=&size' if rand() < 0.05;

        my $answer = ask($name eq 'PATCH /queue' ? $Operated : $Nginx, $name,
                         %change);

        # a path that has become another
        next if $Api->outcome($answer) eq '404 route_not_found';
        next if $answer->status == 404 && ($change{path}{userId} // '')
                =~ /^(?:status|events)$/;

        my @complaints = $Api->complaints($name, $answer);
        push @complaints, 'an error of the server' if $answer->status >= 500;
        push @wrong, "$name " . $Json->encode(\%change) . ': '
                     . $answer->status . " @complaints" if @complaints;
    }

    is_deeply(\@wrong, [],
              "$requests requests of any kind get answers of the document");
}


# --- stores that do not answer ----------------------------------------------

sub stores_away {
    my ($nginx, %proxy) = nginx_behind_proxies('concert_timeout 5s;');
    my $ready = 'GET /readyz';

    expect($ready, '200', eventually_answers($nginx, $ready, 200));

    for my $code (sort keys %Store) {
        my $store = $Store{$code};

        $proxy{$store}->close;

        for my $name ($Api->operations) {
            next if !grep { $_ eq "503 $code" } $Api->outcomes($name);

            # of what is on its way when the connection is lost nothing is
            # known, which is a 504
            expect($name, "503 $code", first_with(503, sub {
                return ask($nginx, $name, without_token => $store eq 'redis');
            }));
        }

        my $answer = ask($nginx, $ready);
        expect($ready, '503', $answer);
        is_deeply($answer->json, { postgres => 'up', redis => 'up',
                                   $store => 'down' }, "$store is down");

        $proxy{$store}->open;
        eventually_answers($nginx, $ready, 200);
        eventually_up($nginx);
    }

    $nginx->quit;
    $_->close for values %proxy;
}

# A store that takes a request and does not answer.
sub stores_frozen {
    my ($nginx, %proxy) = nginx_behind_proxies('concert_timeout 400ms;');

    for my $name ($Api->operations) {
        my %outcomes = map { $_ => 1 } $Api->outcomes($name);
        next if !$outcomes{'504 timeout'};

        my $store = $outcomes{'503 store_unavailable'} ? 'postgres' : 'redis';
        expect($name, '504 timeout',
               first_with(504, sub {
                   eventually_up($nginx);
                   return frozen($proxy{$store}, $nginx, $name,
                                 without_token => $store eq 'redis');
               }));
    }

    my $ready = 'GET /readyz';

    for my $store (qw( postgres redis )) {
        my $other = $store eq 'redis' ? 'postgres' : 'redis';
        my $answer;

        # a lane may learn only now that its connection was frozen before
        for (1 .. 5) {
            eventually_up($nginx);
            $answer = frozen($proxy{$store}, $nginx, $ready);
            last if (eval { $answer->json->{$other} } // '') eq 'up';
        }

        expect($ready, '503', $answer);
        is_deeply(eval { $answer->json }, { postgres => 'up', redis => 'up',
                                            $store => 'down' },
                  "$store does not answer");
    }

    eventually_up($nginx);
    $nginx->quit;
    $_->close for values %proxy;
}

sub frozen {
    my ($proxy, $nginx, $name, %change) = @_;

    my $bytes = bytes($nginx, $name, %change);
    $proxy->freeze;
    my ($answer) = $nginx->together($bytes);
    $proxy->thaw;

    return $answer;
}

# As many wait as may: the next is refused at once.
sub stores_busy {
    my ($nginx, %proxy) = nginx_behind_proxies('concert_timeout 60s;',
        postgres => 'read=1 write=1 max_queue=1', redis => 'max_queue=1');

    my %filler = (read => 'GET /api/balance/{userId}',
                  write => 'PUT /api/balance/charge',
                  redis => 'POST /api/token');

    eventually_answers($nginx, $filler{$_}, 200) for sort keys %filler;

    for my $store (qw( postgres redis )) {
        my @names = grep {
            my %outcomes = map { $_ => 1 } $Api->outcomes($_);
            $outcomes{'503 overloaded'}
                && $outcomes{$store eq 'redis' ? '503 queue_unavailable'
                                               : '503 store_unavailable'}
        } $Api->operations;

        # Requests with their tokens, made while there is somebody to ask. Of
        # a token that is known nobody asks Redis.
        my %unknown = (without_token => $store eq 'redis');
        my %bytes = map { $_ => bytes($nginx, $_, %unknown) } @names;
        my @waiting;

        $proxy{$store}->freeze;

        for my $group ($store eq 'redis' ? 'redis' : qw( read write )) {
            my $metric = qq(concert_lane_waiting_calls{group="$group"});

            # the first is on its way, one after it waits
            for (1 .. TRIES) {
                push @waiting, $nginx->begin(bytes($nginx, $filler{$group}));
                last if waits($nginx, $metric);
            }
        }

        expect($_, '503 overloaded', $nginx->together($bytes{$_})) for @names;

        $proxy{$store}->thaw;
        my @late = grep { $_->status !~ /^(?:200|503)$/ }
                   map { Concert::Answer->new($_) } @waiting;
        is(@late, 0, "those who waited for $store are answered");
        eventually_up($nginx);
    }

    $nginx->quit;
    $_->close for values %proxy;
}

# Whether somebody comes to wait in a group, soon.
sub waits {
    my ($nginx, $metric) = @_;

    for (1 .. TRIES) {
        return 1 if $nginx->metric($metric) > 0;
        sleep 0.01;
    }

    return 0;
}

sub nginx_behind_proxies {
    my ($http, %parameters) = @_;

    my ($host) = $ENV{TEST_NGINX_CONCERT_PG} =~ /\bhost=(\S+)/;
    my ($port) = $ENV{TEST_NGINX_CONCERT_PG} =~ /\bport=(\d+)/;
    my ($redis) = $ENV{TEST_NGINX_CONCERT_REDIS} =~ /^unix:(.+)/;
    my $socket = '.s.PGSQL.' . ($port // 5432);

    my %proxy = (postgres => Proxy->new("$host/$socket"),
                 redis => Proxy->new($redis));

    my $postgres = "$ENV{TEST_NGINX_CONCERT_PG} host="
                   . $proxy{postgres}->directory;
    my $path = $proxy{redis}->path;
    my %more = (postgres => '', redis => '', %parameters);

    my $nginx = nginx(http => <<"END");
        concert_catalog_cache off;
        concert_postgres "$postgres" $more{postgres};
        concert_redis unix:$path $more{redis};
        $http
END

    return ($nginx, %proxy);
}

sub eventually_answers {
    my ($nginx, $name, $status) = @_;
    my $answer;

    for (1 .. 200) {
        $answer = ask($nginx, $name);
        last if $answer->status == $status;
        sleep 0.05;
    }

    return $answer;
}

# No group of connections is marked as down.
sub eventually_up {
    my ($nginx) = @_;

    for (1 .. 400) {
        return if !grep { $_->{down} }
                   @{ $nginx->nobody->get('/status')->json->{lanes} };
        sleep 0.05;
    }

    fail('the stores come back');
}


# --- requests ---------------------------------------------------------------

# A user whom nobody has used.
sub someone {
    @Users = users(500, 1_000_000) if !@Users;
    return 0 + shift @Users;
}

# The answer to the right request of an operation, or to one that is changed:
#   user           whom it is for
#   caller         who asks, if not that user; undef: nobody says
#   without_token  the user has not entered the queue
#   method, path => { name => value }, query, headers
#   with => { member => value }, text => { member => JSON }, without => member
#   body           instead of all these
sub ask {
    my ($nginx, $name, %change) = @_;

    $nginx = $Elsewhere{$name} // $nginx if $nginx == $Nginx;
    return ($nginx->together(bytes($nginx, $name, %change)))[0];
}

sub bytes {
    my ($nginx, $name, %change) = @_;

    my $operation = $Api->operation($name);
    my $user = $change{user} // someone();
    my ($path, $body) = $Sample{$name}->($user);

    $nginx->client($user)->enter
        if $Enters{$name} && !$change{without_token};

    my %path = (%$path, %{ $change{path} // {} });
    my $target = $operation->{path} =~ s/\{(\w+)\}/$path{$1}/gr;
    $target .= "?$change{query}" if defined $change{query};

    my $caller = exists $change{caller} ? $change{caller} : $user;

    return $nginx->client($caller)->bytes_of(
        $change{method} // $operation->{method}, $target,
        defined $change{body} || $body ? body($body, %change) : undef,
        %{ $change{headers} // {} });
}

# An Idempotency-Key: a repeat, another body, and while somebody else has it.
sub repeats {
    my ($route, $name) = @_;

    my $user = someone();
    my %asked = (user => $user, headers => { 'Idempotency-Key' => 'mine' });
    my $bytes = bytes($Nginx, $name, %asked);

    expect($name, '200', $Nginx->together($bytes));
    expect($name, '200', $Nginx->together($bytes));
    expect($name, '422 idempotency_key_reused', ask($Nginx, $name, %asked,
           with => { note => 'another' }));

    my $owner = lock_rows("select pg_advisory_xact_lock(hashtextextended(
                           'concert key $route $user other', 0))");
    expect($name, '409 request_in_progress', ask($Nginx, $name, user => $user,
           headers => { 'Idempotency-Key' => '"other"' }));
}

# The text of a body.
sub body {
    my ($body, %change) = @_;

    return $change{body} if defined $change{body};

    my %texts = map { $_ => $Json->encode($body->{$_}) } keys %$body;
    my %with = %{ $change{with} // {} };

    $texts{$_} = $Json->encode($with{$_}) for keys %with;
    %texts = (%texts, %{ $change{text} // {} });
    delete $texts{$change{without}} if defined $change{without};

    return '{' . join(',', map { "\"$_\":$texts{$_}" } sort keys %texts) . '}';
}


# --- checks -----------------------------------------------------------------

# That an operation had an outcome, which looks as the document says.
sub expect {
    my ($name, $outcome, $answer, $why) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my $got = seen($name, $answer);
    my @complaints = $Api->complaints($name, $answer);

    push @complaints, "the outcome is $got" if $got ne $outcome;
    push @complaints, $Api->cache_complaints($name, $answer);

    ok(!@complaints, "$name: $outcome" . ($why ? " $why" : ''))
        or diag(join "\n", @complaints, $answer->body);
}

sub seen {
    my ($name, $answer) = @_;

    my $outcome = $Api->outcome($answer);
    $Seen{$name}{$outcome}++;
    $HeaderSeen{$name . ' ' . $answer->status}{$_}++
        for keys %{ $answer->{headers} };

    return $outcome;
}

sub nothing_left_out {
    for my $name ($Api->operations) {
        my @unseen = grep { !$Seen{$name}{$_} } $Api->outcomes($name);
        my @headers;

        for my $status (keys %{ $Api->operation($name)->{responses} }) {
            push @headers, map { "$status $_" }
                grep { !$HeaderSeen{"$name $status"}{lc $_} }
                keys %{ $Api->response($name, $status)->{headers} // {} };
        }

        is_deeply([@unseen, @headers], [],
                  "$name: every outcome and header was provoked");
    }
}
