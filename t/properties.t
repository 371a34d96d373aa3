# Random requests made of conf/openapi.yaml: COUNT (120) for each operation,
# some right, some at the limits of the schemas, some wrong in one way. Whatever
# is asked, the answer is one that the document has for the operation; what the
# document allows is no 400, and what it does not allow is a 4xx. SEED=n
# repeats a run.

use strict;
use warnings;

use JSON::PP   ();
use List::Util qw( first min shuffle );
use Test::More;

use Concert;
use Gateway;
use OpenAPI;

use constant MAX => 9007199254740991;

# seats that a request may take (concert_max_seats)
use constant MAX_SEATS => 4;

# how many requests are under way at once
use constant TOGETHER => 20;

my $Count = $ENV{COUNT} // 120;
my $Seed = $ENV{SEED} // time;
my $Api = OpenAPI->new(($ENV{TEST_NGINX_CONCERT_CONF} // 'conf')
                       . '/openapi.yaml');
my $Json = JSON::PP->new->utf8->canonical->allow_nonref;

srand $Seed;
diag "SEED=$Seed";

# fewer places than users: some are ACTIVE, some WAIT, some have left
my $Gateway = Gateway->start;
my $Nginx = nginx(gateway => $Gateway, workers => 2, queue => 'capacity=30');
my @Users = users(40, 1_000_000);
my $Concert = concert();
my @Schedules = map { schedule(concert => $Concert, seats => 20_000) } 1 .. 3;
my $Seat = 1000;            # of the first schedule; requests are for others
my (%Reservations, %Payments, @Keys);

for my $user (@Users) {
    held($user);
    $Payments{$user} = [payment_of(paid($user, $Schedules[0], ++$Seat))];
}

# What sets the queue or the breaker changes all that follows, and a stream has
# no end (they have tests of their own: operators.t, cards-breaker.t, events.t).
for my $name (grep { !/queue|breaker|events/ } $Api->operations) {
    my ($requests, %seen, @bad) = (0);
    my @kinds = fields($name) ? qw( right right limit limit wrong wrong wrong )
                              : 'right';

    while ($requests < $Count) {
        # first one that must succeed, as nobody disturbs it, so that not all is
        # refused for another reason
        my @requests = $requests
                       ? (map { request($name, any(@kinds)) }
                              1 .. min(TOGETHER, $Count - $requests))
                       : request($name, 'sure');
        $requests += @requests;

        $Nginx->client($_->{user})->enter for grep { $_->{enter} } @requests;
        my @answers = $Nginx->together(map { $_->{bytes} } @requests);

        for my $i (0 .. $#requests) {
            my @wrong = complaints($name, $requests[$i], $answers[$i]);

            $seen{$requests[$i]{kind}}{ substr $answers[$i]->status, 0, 1 }++;
            learn($requests[$i], $answers[$i]);
            push @bad, join "\n", @wrong, $requests[$i]{why},
                       $requests[$i]{bytes}, '->', $answers[$i]->status . ' '
                       . $answers[$i]->body if @wrong;
        }
    }

    is(scalar @bad, 0, "$name: $requests requests get answers of the document");
    diag($_) for splice @bad, 0, 3;
    ok($seen{sure}{2}, "$name: some succeed");
    note(map { my $kind = $_; "$kind: ", map { "${_}xx $seen{$kind}{$_} " }
               sort keys %{ $seen{$kind} } } sort keys %seen);
}

other_methods();

is(sql('select sum(broken) from concert.violations()'), 0,
   'the rules of the data hold');
$Nginx->stop;
$Gateway->stop;

done_testing();


# --- requests ---------------------------------------------------------------

sub any { return $_[rand @_] }

# What an operation can be told: its parameters, and the members of its body.
sub fields {
    my ($name) = @_;
    my $operation = $Api->operation($name);
    my $schema = body_schema($operation);

    # of a condition no text is wrong
    my @fields = map { { in => $_->{in}, name => $_->{name},
                         required => $_->{required},
                         schema => schema($_->{schema}) } }
                 grep { $_->{name} ne 'If-None-Match' }
                 @{ $operation->{parameters} };

    push @fields, map { my $member = $_;
        { in => 'body', name => $member,
          required => scalar(grep { $_ eq $member } @{ $schema->{required} }),
          schema => schema($schema->{properties}{$member}) }
    } sort keys %{ $schema->{properties} // {} };

    return @fields;
}

sub body_schema {
    my ($operation) = @_;
    my $body = $operation->{requestBody} // return {};

    return $Api->resolve($body->{content}{'application/json'}{schema});
}

# What of a schema the requests are made of; other keywords would go unnoticed.
sub schema {
    my $schema = $Api->resolve($_[0]);
    my %known = map { $_ => 1 } qw( type enum minimum maximum minLength
        maxLength pattern minItems uniqueItems items description default
        required properties );

    for my $keyword (keys %$schema) {
        die "properties.t does not know $keyword\n" if !$known{$keyword};
    }

    return $schema;
}

# A request of a kind: "sure", "right", "limit", "wrong".
sub request {
    my ($name, $kind) = @_;

    my $operation = $Api->operation($name);
    my @fields = fields($name);
    my %is = (kind => $kind, why => $kind, user => any(@Users),
              operation => $operation,
              enter => $kind eq 'sure' || rand() < 0.7);

    make_place() if $kind eq 'sure';

    $is{text}{ $_->{in} }{ $_->{name} } = text(\%is, $_)
        for grep { is_given(\%is, $_) } @fields;

    give_one_of(\%is, @fields);
    give_card(\%is, @fields);
    break(\%is, @fields) if $kind eq 'wrong';
    $is{bytes} = bytes(\%is);

    return \%is;
}

# Of members that exclude each other there is one: surely the first.
sub give_one_of {
    my ($is, @fields) = @_;
    my $choices = body_schema($is->{operation})->{anyOf} // return;
    my @names = map { @{ $_->{required} } } @$choices;
    my $name = $is->{kind} eq 'sure' ? $names[0] : any(@names);

    delete @{ $is->{text}{body} }{@names};
    $is->{text}{body}{$name} = text($is, first { $_->{name} eq $name } @fields);
}

# A card needs what a balance does not.
sub give_card {
    my ($is, @fields) = @_;
    my $body = $is->{text}{body} // return;

    return if ($body->{method} // '') ne '"card"';

    $body->{ $_->{name} } //= text($is, $_)
        for grep { $_->{name} =~ /^(?:orderId|paymentKey)\z/ } @fields;
}

# All leave, so that the next to enter is ACTIVE.
sub make_place {
    $Nginx->client($_)->leave for @Users;
}

sub is_given {
    my ($is, $field) = @_;

    return $field->{required} || $is->{kind} ne 'sure' && rand() < 0.5;
}

# What a field says: JSON in a body, else as it is.
sub text {
    my ($is, $field) = @_;
    my ($kind, $schema) = ($is->{kind}, $field->{schema});
    my $draw = rand;

    my $value = $kind eq 'limit' && $draw < 0.5 ? limit($schema)
              : $kind eq 'right' && $draw < 0.2 ? random($schema)
              : real($is, $field);

    return $field->{in} eq 'body' ? $Json->encode($value) : $value;
}

# A value that means something, where there is one.
sub real {
    my ($is, $field) = @_;
    my $name = $field->{name};
    my $user = $is->{user};

    return 0 + $user if $name eq 'userId';
    return 0 + $Concert if $name eq 'concertId';
    return 0 + any(@Schedules) if $name eq 'scheduleId';
    return 0 + ($is->{kind} eq 'sure' || rand() < 0.4
                ? held($user) : any(@{ $Reservations{$user} }))
        if $name eq 'reservationId';
    return 0 + any(@{ $Payments{$user} }) if $name eq 'paymentId';
    return 1000 if $name eq 'amount';
    return any('PAYMENT_STATUS_CHANGED', 'DEPOSIT_CALLBACK')
        if $name eq 'eventType';
    return any(@Keys) if $name eq 'Idempotency-Key' && @Keys && rand() < 0.3;

    if ($name eq 'seatIdList') {
        my %seats = map { 1 + int(rand 1000) => 1 } 1 .. 1 + rand MAX_SEATS;
        return [map { 0 + $_ } sort keys %seats];
    }

    return random($field->{schema});
}

# A reservation that nobody has paid or given back.
sub held {
    my ($user) = @_;
    my $reservation = hold($user, $Schedules[0], ++$Seat);

    push @{ $Reservations{$user} }, $reservation;
    return $reservation;
}

# A value that the schema allows.
sub random {
    my ($schema) = @_;

    return any(@{ $schema->{enum} }) if $schema->{enum};

    if ($schema->{type} eq 'integer') {
        my ($least, $most) = @$schema{qw( minimum maximum )};
        return $least + int(exp(rand log($most - $least + 1)));
    }

    if ($schema->{type} eq 'array') {
        my %items = map { random(schema($schema->{items})) => 1 }
                    1 .. MAX_SEATS;
        return [map { 0 + $_ } sort keys %items];
    }

    if ($schema->{type} eq 'object') {
        my $members = $schema->{properties};
        return { map { $_ => random(schema($members->{$_})) } keys %$members };
    }

    # any text, as the id of an event
    return 'x' if !$schema->{maxLength};

    return word($schema, $schema->{minLength}
                + int(rand $schema->{maxLength}
                           - $schema->{minLength} + 1));
}

# A value at one of its limits.
sub limit {
    my ($schema) = @_;

    return any(@{ $schema->{enum} }) if $schema->{enum};

    if ($schema->{type} eq 'integer') {
        my ($least, $most) = @$schema{qw( minimum maximum )};
        return any($least, $least + 1, $most - 1, $most);
    }

    if ($schema->{type} eq 'array') {
        my $most = schema($schema->{items})->{maximum};
        return any([1], [$most], [1, $most], [$most - 3 .. $most], [1 .. 4]);
    }

    return random($schema) if !$schema->{maxLength};

    return word($schema, any(@$schema{qw( minLength maxLength )}));
}

sub word {
    my ($schema, $length) = @_;

    # of an Idempotency-Key: not in quotes, which are not counted
    my %characters = (
        '^[!-~]+$' => [map { chr } 0x23 .. 0x7e],
        '^[A-Za-z0-9_=-]+$' => ['A' .. 'Z', 'a' .. 'z', 0 .. 9, qw( _ = - )],
        '' => [' ', 'a' .. 'z', '"', '\\', "\x{e9}", "\x{ac00}"],
    );
    my $pattern = $schema->{pattern} // '';
    my $characters = $characters{$pattern}
                     // die "properties.t does not know $pattern\n";

    my $word = join '', map { any(@$characters) } 1 .. $length;
    push @Keys, $word if $pattern eq '^[!-~]+$' && @Keys < 50;
    return $word;
}


# --- what is wrong ----------------------------------------------------------

# Changes one thing to what the document does not allow.
sub break {
    my ($is, @fields) = @_;

    my @ways = map { my $field = $_; sub { break_field($is, $field) } } @fields;
    push @ways, map { my $way = $_; sub { $is->{raw} = $way->($_[0]) } } ways()
        if $is->{text}{body};
    push @ways, sub {
        $is->{type} = any('text/plain', 'application/xml', 'json', 'x',
                          'multipart/form-data; boundary=x',
                          'application/x-www-form-urlencoded');
        $is->{why} = 'not JSON by its type';
    } if $is->{text}{body};

    any(@ways)->(body_text($is));
}

sub break_field {
    my ($is, $field) = @_;
    my ($in, $name, $schema) = @$field{qw( in name schema )};

    if ($field->{required} && $in ne 'path' && rand() < 0.2) {
        delete $is->{text}{$in}{$name};
        $is->{why} = "no $name in the $in";
        return;
    }

    if ($in =~ /^(?:query|header)$/ && rand() < 0.2) {
        my $text = $is->{text}{$in}{$name} // real($is, $field);
        $is->{text}{$in}{$name} = $text;
        $is->{twice}{$in}{$name} = $text;
        $is->{why} = "$name twice in the $in";
        return;
    }

    my $text = $in eq 'body' ? wrong_json($schema) : wrong_text($schema, $in);
    $is->{text}{$in}{$name} = $text;
    $is->{why} = "$name in the $in is " . substr $text, 0, 80;
}

# JSON that a schema does not allow.
sub wrong_json {
    my ($given) = @_;
    my $schema = schema($given);

    my @texts = qw( null true false "1" "" {} {"a":1} 1.0 1e0 1.5 -0.5 );

    return any(@texts, '[]', '[1,1]', 1, MAX,
               map { '[' . wrong_json($schema->{items}) . ']',
                     '[2,' . wrong_json($schema->{items}) . ',3]' } 1 .. 4)
        if ($schema->{type} // '') eq 'array';

    return any(@texts[0 .. 2], 1, '[]', '"x"')
        if ($schema->{type} // '') eq 'object';

    return any(@texts[0 .. 2], 1, '[]', '{}', wrong_texts($schema))
        if $schema->{enum} || $schema->{type} eq 'string';

    return any(@texts, '[]', '[1]', $schema->{minimum} - 1, -MAX,
               $schema->{maximum} + 1, '9223372036854775807',
               '9223372036854775808', '-9223372036854775809', '1' . '0' x 400,
               '01', '+1', '0x1', 'NaN', "'1'", 'x');
}

# Strings in JSON that a schema does not allow.
sub wrong_texts {
    my ($schema) = @_;

    return '"of nothing"' if $schema->{enum};

    return ($schema->{pattern} ? ('"a b"', '"a/b"', '"\u00e9"') : (),
            $schema->{minLength} ? '""' : (),
            $schema->{maxLength}
            ? '"' . 'x' x ($schema->{maxLength} + 1) . '"' : ());
}

# Text that a schema does not allow.
sub wrong_text {
    my ($schema, $in) = @_;

    return any('', 'x', map { (uc, "${_}x", substr $_, 1) }
                            @{ $schema->{enum} }) if $schema->{enum};

    return any('', 'a b', "caf\xe9", 'x' x ($schema->{maxLength} + 1), "a\tb")
        if $schema->{type} eq 'string';

    my @texts = ('x', '01', '+1', '1.0', '1e0', '1x', '0x1', '-1', 'null',
                 $schema->{minimum} - 1, $schema->{maximum} + 1, '9' x 30,
                 '18446744073709551617');

    push @texts, '' if $in ne 'path';
    push @texts, '1 2', '1,2' if $in eq 'header';
    push @texts, '%201', '1%20', '%2b1', '1%00' if $in ne 'header';

    return any(@texts);
}

# Bodies that are wrong as a whole.
sub ways {
    return (
        sub { return substr $_[0], 0, rand length $_[0] },
        sub { return $_[0] . any('}', ']', ',', 'x', '{}', "\0") },
        sub { return "\xef\xbb\xbf$_[0]" },
        sub { return any('', ' ', 'null', '[]', '1', '"x"', "[$_[0]]") },
        sub { return $_[0] =~ s/\}\z/,"x":"\xff"}/r },
        sub { return $_[0] =~ s/\}\z/,"x":"\xed\xa0\x80"}/r },
        sub { return $_[0] =~ s/\}\z/,"x":"\\ud800"}/r },
        sub { return $_[0] =~ s/\A\{("\w+":)(.*)\}\z/{$1$2,${1}1}/sr },
        sub { return $_[0] =~ s/\}\z/,"x":"\t"}/r },
        sub { return $_[0] =~ s/\}\z/,}/r },
        sub { return $_[0] . ' ' x any(65537, 70000) },
        sub { return $_[0] =~ s/"/'/gr },
    );
}


# --- bytes ------------------------------------------------------------------

sub bytes {
    my ($is) = @_;
    my $operation = $is->{operation};
    my ($path, $query, $header) = @{ $is->{text} }{qw( path query header )};

    my $target = $operation->{path} =~ s/\{(\w+)\}/$path->{$1}/gr;
    my @query = shuffle((map { "$_=$query->{$_}" } sort keys %{ $query // {} }),
                        pairs('=', $is->{twice}{query}),
                        rand() < 0.2 ? any('x=1', 'x', '', '%20', 'sizes=x')
                                     : ());
    $target .= '?' . join '&', @query if @query;

    my @headers = ('Host: localhost', 'Connection: close',
                   pairs(': ', $header), pairs(': ', $is->{twice}{header}));
    my $body = '';

    if ($is->{text}{body}) {
        $body = $is->{raw} // dressed($is, body_text($is));
        my $type = $is->{type} // any($target =~ m{^/api/} ? '' : (),
                   'application/json', 'application/json; charset=utf-8',
                   'application/vnd.x+json');
        push @headers, "Content-Type: $type" if length $type;

        if (length $body && rand() < 0.1) {
            push @headers, 'Transfer-Encoding: chunked';
            $body = join '', map { sprintf "%x\r\n%s\r\n", length, $_ }
                    unpack('(a' . (1 + int rand 4000) . ')*', $body), '';
        } else {
            push @headers, 'Content-Length: ' . length $body;
        }
    }

    return join "\r\n", "$operation->{method} $target HTTP/1.1",
                        shuffle(@headers), '', $body;
}

sub pairs {
    my ($between, $texts) = @_;
    return map { "$_$between$texts->{$_}" } sort keys %{ $texts // {} };
}

sub body_text {
    my ($is) = @_;
    my $members = $is->{text}{body} // return '';

    return '{' . join(',', map { "\"$_\":$members->{$_}" }
                           shuffle sort keys %$members) . '}';
}

# The same body, written in another way.
sub dressed {
    my ($is, $text) = @_;

    $text =~ s/\}\z/any(',"more":{"x":[1.5,null,"한"]}}', ',"":"\\u0000"}',
                        ',"USERID":"x"}', '}', '}', '}')/e;
    $text =~ s/([{:,])(?=")/$1 . any('', '', " \n", "\t\r ")/ge
        if rand() < 0.3;
    $text =~ s/"userId"/"\\u0075serId"/ if rand() < 0.1;

    return $text;
}


# --- answers ----------------------------------------------------------------

# What is wrong with an answer.
sub complaints {
    my ($name, $request, $answer) = @_;
    my ($kind, $status) = ($request->{kind}, $answer->status);
    my @wrong = $Api->complaints($name, $answer);

    push @wrong, 'the server failed' if $status >= 500 || !$status;
    push @wrong, $Api->cache_complaints($name, $answer);
    push @wrong, 'the document allows the request'
        if $status == 400 && $kind ne 'wrong';
    push @wrong, 'the document does not allow the request'
        if $status !~ /^4/ && $kind eq 'wrong';
    push @wrong, page_complaints($request, $answer)
        if $status == 200 && $name =~ /^GET/;

    return @wrong;
}

# A page is as long as was asked; only a full one has a next.
sub page_complaints {
    my ($request, $answer) = @_;
    my $page = eval { $answer->json };

    return if ref $page ne 'ARRAY';

    my $size = $request->{text}{query}{size} // 100;
    return 'the page is longer than asked' if @$page > $size;
    return 'a page with a next is not full'
        if $answer->header('Link') && @$page != $size;
    return;
}

# What later requests can be about.
sub learn {
    my ($request, $answer) = @_;
    return if $answer->status != 200;

    my $json = eval { $answer->json };
    return if ref $json ne 'HASH' || !$json->{userId};

    push @{ $Payments{ $json->{userId} } }, $json->{paymentId}
        if $json->{paymentId};
    push @{ $Reservations{ $json->{userId} } }, $json->{reservationId}
        if $json->{reservationId} && !$json->{paymentId};
}

# Methods that a path does not have, with what is right otherwise.
sub other_methods {
    for my $path ($Api->paths) {
        my %has = map { $_ => 1 } $Api->methods($path);
        my $name = first { $Api->operation($_)->{path} eq $path }
                   $Api->operations;
        my @bad;

        for my $method (grep { !$has{$_} } qw( GET POST PUT DELETE PATCH OPTIONS
                                              PROPFIND LOCK SEARCH )) {
            my $bytes = request($name, 'right')->{bytes} =~ s/^\w+/$method/r;
            my ($answer) = $Nginx->together($bytes);

            push @bad, map { "$method: $_" }
                ($answer->status == 405 ? () : $answer->status),
                $Api->complaints("x-other-methods $path", $answer);
        }

        is_deeply(\@bad, [], "$path: other methods are told which there are");
    }
}
