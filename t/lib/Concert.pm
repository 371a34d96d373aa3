package Concert;

# What the test files share.  There are two kinds of them.
#
# Most are in the format of Test::Nginx: a block is a configuration, a request
# and the answer that it must get.  "use Concert" after "use
# Test::Nginx::Socket" gives each block the whole service (the shipped
# concert_routes.conf, a queue of its own) and these sections:
#
#   --- config    what the server has instead of concert_routes.conf
#   --- http_config  more directives; one of a default's name replaces it
#   --- without   names of default directives to leave out
#   --- queue     parameters of concert_queue beside its name
#   --- data      "$name = ...", a line each, made of the functions below; then
#                 $name means that value in every other section
#   --- before    requests that are made first, as the user that each names:
#                 "$user POST /api/token {"userId": $user}"
#   --- caller    the user of the userId header
#   --- active    the same, and that user has an active token
#   --- problem   the code of the problem that is answered, and its further
#                 members: invalid_request {"field": "amount"}
#   --- json      the body; "<id>", "<number>", "<time>" and "<text>" stand for
#                 any
#   --- sql, sql_out   what the database says afterwards
#
# Unless a block has --- no_error_log, nginx must have logged no error.
#
# Where one request after the other tells the story (a queue, a walk through
# pages, many at once) a file is plain Test::More on an nginx of its own:
#
#   my $nginx = nginx(queue => 'capacity=1');
#   my $ann = $nginx->client(user(5000));
#   is $ann->enter->json->{status}, 'ACTIVE', '...';
#
# Every test makes data of its own, so that tests do not depend on each other
# and can be repeated on a database that has been used.

use strict;
use warnings;

use Cwd             qw( abs_path );
use File::Basename  qw( basename dirname );
use File::Path      qw( make_path remove_tree );
use IO::Socket::INET ();
use IO::Socket::UNIX ();
use IPC::Open3      qw( open3 );
use JSON::PP        ();
use POSIX           ();
use Test::More      ();
use Time::HiRes     qw( sleep time );

our @EXPORT = qw(
    cancelled concert concert_of drop_database eventually expired first_with hold hold_for
    is_json is_problem lock_rows nginx nginx_says paid pay_hold paying payment_of redis schedule
    seconds_from_now sql sql_error stranger transaction user users
);

# How long something that must happen may take before a test gives up, seconds.
# No test fails for want of speed.
use constant PATIENCE => 30;

# An account never gets an id above this: those are strangers.
use constant MOST_USERS => 2 ** 40;

my $Conninfo = $ENV{TEST_NGINX_CONCERT_PG}    // '';
my $Owner    = $ENV{TEST_NGINX_CONCERT_PG_OWNER} // $Conninfo;
my $Redis    = $ENV{TEST_NGINX_CONCERT_REDIS} // '';
my $Conf     = $ENV{TEST_NGINX_CONCERT_CONF}
               // abs_path(dirname(__FILE__) . '/../../conf');
my $Binary   = $ENV{TEST_NGINX_BINARY} // 'nginx';
my $Port     = $ENV{TEST_NGINX_SERVER_PORT} // $ENV{TEST_NGINX_PORT} // 1984;
my $ServRoot = $ENV{TEST_NGINX_SERVROOT}
               // abs_path(dirname(__FILE__) . '/..') . '/servroot';

my $Session;
my $Json = JSON::PP->new->utf8->canonical->allow_nonref;

# The contract: which status goes with which code.
my %Status = (
    invalid_request => 400,
    identity_missing => 401, identity_invalid => 401,
    token_not_active => 403, identity_mismatch => 403, forbidden => 403,
    token_not_found => 404, draw_not_found => 404, user_not_found => 404, concert_not_found => 404,
    schedule_not_found => 404, seat_not_found => 404,
    reservation_not_found => 404, payment_not_found => 404,
    payment_declined => 402, order_not_found => 404,
    route_not_found => 404,
    method_not_allowed => 405,
    seat_taken => 409, reservation_expired => 409,
    reservation_cancelled => 409, reservation_paid => 409,
    payment_in_progress => 409, not_refundable => 409, request_in_progress => 409,
    sale_not_open => 409, sale_closed => 409, seat_limit => 409,
    body_too_large => 413,
    media_type_unsupported => 415,
    amount_mismatch => 422, insufficient_balance => 422, balance_limit => 422,
    idempotency_key_reused => 422,
    rate_limited => 429,
    overloaded => 503, store_unavailable => 503, queue_unavailable => 503,
    gateway_unavailable => 503, timeout => 504,
);

sub import {
    die "the tests need the environment that 'make test' gives them\n"
        if !$Conninfo || !$Redis;

    no strict 'refs';
    *{ caller() . "::$_" } = \&$_ for @EXPORT;

    extend_blocks() if $INC{'Test/Nginx/Socket.pm'};
}


# --- data ------------------------------------------------------------------

# Runs a statement; returns the rows as lines, columns parted by "|".
sub sql {
    my ($statement) = @_;

    $Session //= open_session();

    my $out = $Session->run($statement);
    die "psql: $out\n$statement" if $out =~ /^(?:ERROR|FATAL):/m;

    return $out;
}

# The next statement gets a session of its own: PostgreSQL was killed.
sub forget_session { undef $Session }

# Runs statements, in one transaction; returns the rows of the last.
sub transaction {
    my (@statements) = @_;

    my ($status, $out) = psql(@statements);
    die "psql: $out\n@statements" if $status;

    return $out;
}

# Runs statements that the database must refuse; returns what it says, or ''.
sub sql_error {
    my (@statements) = @_;

    my ($status, $out) = psql(@statements);
    return $status ? $out : '';
}

sub psql {
    my (@statements) = @_;

    my $pid = open my $psql, '-|' // die "cannot fork: $!";

    if ($pid == 0) {
        open STDERR, '>&', \*STDOUT;
        exec 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $Owner,
             '--single-transaction', map { ('-c', $_) } @statements
            or POSIX::_exit(127);
    }

    my $out = join '', <$psql>;
    close $psql;
    chomp $out;

    return ($?, $out);
}

# A psql that one statement after the other is given to, as the owner or as
# somebody else.
sub open_session {
    my ($conninfo) = @_;

    my $pid = open3(my $in, my $out, undef, 'psql', '-XAtq',
                    '-d', $conninfo // $Owner);

    return bless { pid => $pid, in => $in, out => $out }, 'Concert::Session';
}

# Drops a database with all sessions, as soon as nobody is in it whom only a
# superuser may end: autovacuum.
sub drop_database {
    my ($name) = @_;
    my $deadline = time + PATIENCE;

    until (eval { sql("drop database if exists $name with (force)"); 1 }) {
        die $@ if time > $deadline;
        sleep 0.1;
    }
}

# An open transaction that has run a statement and keeps its locks, until the
# value goes away.
sub lock_rows {
    my ($statement) = @_;

    my $session = open_session();

    $session->run('begin');
    my $out = $session->run($statement);
    die "cannot lock: $out\n$statement" if $out =~ /^(?:ERROR|FATAL):/m;

    return $session;
}

# One command of Redis's, which is reached by a socket; its answer as it comes.
sub redis {
    my (@words) = @_;

    my ($path) = $ENV{TEST_NGINX_CONCERT_REDIS} =~ m{^unix:(/\S+)};
    my $socket = IO::Socket::UNIX->new(Peer => $path) // die "redis: $!";

    print $socket '*', scalar @words, "\r\n",
          map { '$' . length($_) . "\r\n$_\r\n" } @words;
    $socket->flush;
    shutdown $socket, 1;

    local $/;
    return scalar <$socket>;
}

# A user with an account.
sub user {
    my ($balance) = @_;

    return (users(1, $balance))[0];
}

# The same many times.
sub users {
    my ($n, $balance) = @_;

    my $most = MOST_USERS;
    $balance //= 0;

    return split /\n/,
        sql("select n.id
             from (select coalesce(max(a.account_id), 0) as id
                   from concert.accounts a
                   where a.account_id < $most) last,
                  generate_series(last.id + 1, last.id + $n) n (id),
                  concert.add_user(n.id, $balance)
             order by n.id");
}

# A user without an account.
my $Strangers = 0;

sub stranger {
    return MOST_USERS + int(time) % 1_000_000_000 * 1000 + ++$Strangers;
}

sub concert {
    my ($title) = @_;

    $title = quote($title // 'A concert');
    return sql("select concert.add_concert($title)");
}

# concert => id (default: one of its own), seats => n (5), price => won (1000),
# starts => time, opens => time
sub schedule {
    my (%is) = @_;

    my $concert = $is{concert} // concert();
    my $seats = $is{seats} // 5;
    my $price = $is{price} // 1000;
    my $starts = quote($is{starts} // seconds_from_now(30 * 86400));
    my $opens = defined $is{opens} ? quote($is{opens}) : 'null';

    return sql("select concert.add_schedule($concert, $starts, $seats, $price,
                                            $opens)");
}

# The concert of a schedule.
my %ConcertOf;

sub concert_of {
    my ($schedule) = @_;

    return $ConcertOf{$schedule} //=
        sql("select concert_id from concert.schedules
             where schedule_id = $schedule");
}

# A reservation that holds seats of a schedule.
sub hold {
    my ($user, $schedule, @seats) = @_;

    return hold_for(300_000, $user, $schedule, @seats);
}

# The same for so many milliseconds, which may be less than none.
sub hold_for {
    my ($ms, $user, $schedule, @seats) = @_;

    my $concert = concert_of($schedule);
    my $seats = join ',', @seats;

    my ($outcome, $reservation) = split /\|/, sql(
        "select outcome, reservation_id
         from concert.reserve(array[gen_random_uuid()],
                              array[$user]::bigint[],
                              array[$concert]::bigint[],
                              array[$schedule]::bigint[],
                              array['{$seats}'], $ms, null)");

    die "cannot hold seats $seats of schedule $schedule: $outcome"
        if $outcome ne 'ok';

    return $reservation;
}

# A reservation that has ended unpaid, whose seats the job may have freed.
sub expired {
    my ($user, $schedule, @seats) = @_;

    return hold_for(-1000, $user, $schedule, @seats);
}

# A reservation that was given back.
sub cancelled {
    my ($user, $schedule, @seats) = @_;

    my $reservation = hold($user, $schedule, @seats);

    sql("select * from concert.cancel(array[$user]::bigint[],
                                      array[$reservation]::bigint[])");

    return $reservation;
}

# A reservation whose payment by card has begun and not ended.
sub paying {
    my ($user, $schedule, @seats) = @_;

    my $reservation = hold($user, $schedule, @seats);
    my $outcome = sql(
        "select c.outcome
         from concert.place_order(array[gen_random_uuid()],
                                  array[$user]::bigint[],
                                  array[$reservation]::bigint[],
                                  '{null}') o,
              concert.claim(array[gen_random_uuid()], array[$user]::bigint[],
                            array[$reservation]::bigint[], array[o.amount],
                            array[o.order_id], array['key'], 3600000, null) c");

    die "cannot claim reservation $reservation: $outcome"
        if $outcome ne 'ok';

    return $reservation;
}

# A reservation that is paid; the user needs the money.
sub paid {
    my ($user, $schedule, @seats) = @_;

    return pay_hold($user, hold($user, $schedule, @seats));
}

# Pays what a user holds.
sub pay_hold {
    my ($user, $reservation) = @_;

    my $outcome = sql(
        "select p.outcome
         from concert.reservations r,
              concert.pay(array[gen_random_uuid()], array[$user]::bigint[],
                          array[r.reservation_id], array[r.total_price]) p
         where r.reservation_id = $reservation");

    die "cannot pay reservation $reservation: $outcome" if $outcome ne 'ok';

    return $reservation;
}

# The payment of a reservation.
sub payment_of {
    my ($reservation) = @_;

    return sql("select coalesce(payment_id, reservation_id) from concert.reservations
                where reservation_id = $reservation");
}

# Whether a process ends, in time; one that its parent has not asked for yet has
# ended.
sub is_gone {
    my ($pid) = @_;
    my $deadline = time + PATIENCE;

    while (time < $deadline) {
        open my $in, '<', "/proc/$pid/stat" or return 1;
        return 1 if (<$in> // '') !~ /\) [^ZX] /;
        sleep 0.02;
    }

    return 0;
}

sub seconds_from_now {
    my ($seconds) = @_;

    return POSIX::strftime('%Y-%m-%dT%H:%M:%SZ', gmtime time + $seconds);
}

sub quote {
    my ($text) = @_;

    return "'" . ($text =~ s/'/''/gr) . "'";
}

# The first answer of some tries that has a status, or the last one. What was
# away is looked for every 0.2 s.
sub first_with {
    my ($status, $try) = @_;
    my $answer;

    for (1 .. 20) {
        $answer = $try->();
        last if $answer->status == $status;
        sleep 0.25;
    }

    return $answer;
}


# --- checks ----------------------------------------------------------------

# Tries until the condition holds.
sub eventually (&$) {
    my ($condition, $title) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $deadline = time + PATIENCE;

    while (time < $deadline) {
        return Test::More::pass($title) if $condition->();
        sleep 0.05;
    }

    return Test::More::fail($title);
}

# That JSON text is what it must be; numbers are not strings.
sub is_json {
    my ($text, $expected, $title) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    $expected = $Json->decode(bytes($expected)) if !ref $expected;

    my $got = eval { $Json->decode($text) };
    return Test::More::is($text, $Json->encode($expected), "$title (JSON)")
        if $@;

    return Test::More::is($Json->encode(stand_ins($got, $expected)),
                          $Json->encode($expected), $title);
}

# What an answer of the flow tests refuses with.
sub is_problem {
    my ($answer, $code, $title, $members) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    if ($answer->{status} != $Status{$code}
        || ($answer->header('Content-Type') // '')
           ne 'application/problem+json')
    {
        return Test::More::is("$answer->{status} $answer->{body}",
                              "$Status{$code} $code", $title);
    }

    return is_json($answer->{body}, problem($code, $members // {}), $title);
}

# RFC 9457, and the code.
sub problem {
    my ($code, $members) = @_;

    my $status = $Status{$code} // die "API.md has no code $code";

    return { type => '<text>', title => '<text>', detail => '<text>',
             status => $status, code => $code, %$members };
}

# A copy of what came, with "<id>" for an id wherever that is expected, and so
# on.
sub stand_ins {
    my ($got, $expected) = @_;

    if (ref $expected eq 'HASH' && ref $got eq 'HASH') {
        return { map { $_ => stand_ins($got->{$_}, $expected->{$_}) }
                     keys %$got };
    }

    if (ref $expected eq 'ARRAY' && ref $got eq 'ARRAY') {
        return [ map { stand_ins($got->[$_], $expected->[$_]) } 0 .. $#$got ];
    }

    return $got if ref $got || !defined $got || !defined $expected;

    my $text = $Json->encode($got);

    return $expected
        if $expected eq '<id>' && $text =~ /^[1-9]\d{0,15}$/
           || $expected eq '<number>' && $text =~ /^(?:0|[1-9]\d{0,15})$/
           || $expected eq '<text>' && $text =~ /^"[^"]/
           || $expected eq '<time>'
              && $text =~ /^"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?
                           (?:Z|[+-]\d\d:\d\d)"$/x;

    return $got;
}

sub bytes {
    my ($text) = @_;

    utf8::encode($text) if utf8::is_utf8($text);
    return $text;
}


# --- nginx's configuration -------------------------------------------------

# The lines of the http block: the defaults, but those that $directives have
# too and those that $without names.
sub http_directives {
    my ($directives, $queue, $without, $lanes) = @_;

    my $name = queue_name();
    my $patience = PATIENCE;
    my @lines = (
        qq{concert_postgres "$Conninfo" $lanes;},
        qq{concert_redis $Redis;},
        qq{concert_queue name=$name $queue;},
        qq{concert_timeout ${patience}s;},
    );

    my $given = join '|', 'nothing', split(' ', $without),
                          $directives =~ /^\s*(concert_\w+)\s/mg;

    return join "\n", (grep { !/^(?:$given)\b/ } @lines), $directives;
}

# One that nobody has used.
my $Queues = 0;

sub queue_name {
    my $file = basename($0, '.t') =~ s/[^A-Za-z0-9]/-/gr;

    return substr($file, 0, 30) . sprintf '-%d-%d-%d', time, $$, ++$Queues;
}

# concert_routes.conf sets what Test::Nginx's own server block sets already:
# it gets one beside it, which wins because its address is more exact.
sub server {
    my ($port, $config) = @_;

    return <<"END";
    server {
        listen 127.0.0.1:$port;
        $config
    }
END
}

# With reloads (TEST_NGINX_USE_HUP) openresty's Test::Nginx asks its own server,
# which that one hides, for the version of the configuration.
sub version_server {
    return '' if !$ENV{TEST_NGINX_USE_HUP};

    return <<"END";
    server {
        listen 127.0.0.1:$Port;
        server_name Test-Nginx;
        location = /ver {
            proxy_pass http://127.0.0.2:$Port;
            proxy_set_header Host Test-Nginx;
        }
    }
END
}


# --- sections of blocks ----------------------------------------------------

my @Expanded = qw(
    access_log active before caller config error_log http_config json
    more_headers pipelined_requests problem queue request response_body
    response_headers sql sql_out
);

# The requests to make before a block's own.
my @Before;

sub extend_blocks {
    no warnings 'once';

    Test::Nginx::Socket::add_block_preprocessor(\&prepare_block);
    Test::Nginx::Socket::add_response_body_check(\&check_block);
    Test::Nginx::Socket::timeout(PATIENCE);

    # openresty's Test::Nginx chooses one itself if TEST_NGINX_RANDOMIZE is set
    $Port = Test::Nginx::Socket::server_port();
}

sub prepare_block {
    my ($block) = @_;

    expand_data($block);

    my $config = $block->config // "include $Conf/concert_routes.conf;";

    $block->set_value(main_config => 'thread_pool concert_io threads=11;')
        if !defined $block->main_config;

    # a single request needs no more than a lane of each group
    $block->set_value(http_config =>
        http_directives($block->http_config // '', $block->queue // '',
                        $block->without // '', 'read=1 write=1')
        . "\n" . server($Port, $config) . version_server());

    $block->set_value(config => '');

    if (defined $block->must_die) {
        $block->set_value(suppress_stderr => 1);
        return;
    }

    $block->set_value(no_error_log => [ qr/\[(?:error|crit|alert|emerg)\]/ ])
        if !defined $block->no_error_log;

    prepare_requests($block);
    expect_problem($block) if defined $block->problem;
}

sub expand_data {
    my ($block) = @_;

    my %data;

    for (split /\n/, $block->data // '') {
        my ($name, $code) = /^\s*\$(\w+)\s*=\s*(.+)/ ? ($1, $2) : ('', $_);

        $code =~ s/\$(\w+)/\$data{$1}/g;
        $data{$name} = eval $code;
        die $block->name . ": $_: $@" if $@;
    }

    for my $section (@Expanded) {
        my $value = $block->$section // next;
        $block->set_value($section => expand($value, \%data));
    }
}

sub expand {
    my ($value, $data) = @_;

    return [ map { expand($_, $data) } @$value ] if ref $value eq 'ARRAY';
    return $value if ref $value;

    return $value =~ s/\$(\w+)/exists $data->{$1} ? $data->{$1} : "\$$1"/ger;
}

sub prepare_requests {
    my ($block) = @_;

    my $active = $block->active;
    my $caller = $block->caller // $active;

    @Before = map { [ split ' ', $_, 4 ] } split /\n/, $block->before // '';

    push @Before, [ $active, 'POST', '/api/token', qq({"userId": $active}) ]
        if defined $active;

    $block->set_value(more_headers =>
                      "userId: $caller\n" . ($block->more_headers // ''))
        if defined $caller;

    $block->set_value(init => 'Concert::run_before()') if @Before;
}

# nginx is up: makes the requests of --- before.
sub run_before {
    my $nginx = bless { port => $Port }, 'Concert::Nginx';

    for (@Before) {
        my ($user, $method, $path, $body) = @$_;
        my $answer = $nginx->client($user)->ask($method, $path, $body);

        die "$method $path: $answer->{status} $answer->{body}"
            if $answer->{status} !~ /^2/;
    }
}

sub expect_problem {
    my ($block) = @_;

    my ($code, $members) = $block->problem =~ /^(\w+)\s*(.*?)\s*$/s;
    my $problem = problem($code, $Json->decode($members || '{}'));

    $block->set_value(json => $Json->encode($problem));
    $block->set_value(error_code => $problem->{status});
    $block->set_value(response_headers =>
                      "Content-Type: application/problem+json\n"
                      . ($block->response_headers // ''));

    $block->set_value(raw_response_headers_like => 'Retry-After: [1-9]')
        if $problem->{status} =~ /^(?:429|503)$/;
}

sub check_block {
    my ($block, $body, $index) = @_;

    my $json = $block->json;
    $json = $json->[$index] if ref $json;

    is_json($body, $json, $block->name . " - JSON is expected (req $index)")
        if defined $json;

    Test::More::is(sql($block->sql), $block->sql_out =~ s/\n+\z//r,
                   $block->name . ' - sql_out')
        if defined $block->sql;
}


# --- an nginx of one's own -------------------------------------------------

# Starts one: http => directives, queue => parameters of concert_queue,
# server => directives of the server block, workers => n, without => names of
# defaults to leave out, gateway => a Gateway, cards => parameters of
# concert_gateway beside its address and key
sub nginx {
    my (%is) = @_;

    my $self = bless { port => free_port(), root => new_root() },
                     'Concert::Nginx';

    $self->start(configuration($self, %is));

    return $self;
}

# Whether a text is in nginx's program: a directive of newer versions, a message.
my $Program;

sub nginx_says {
    my ($text) = @_;

    $Program //= do {
        open my $in, '<:raw', $Binary or die "$Binary: $!";
        local $/;
        <$in>;
    };

    return index($Program, $text) >= 0;
}

sub configuration {
    my ($self, %is) = @_;

    my $root = $self->{root};
    my $workers = $is{workers} // 1;
    my $http = http_directives(($is{http} // '') . gateway_directive(%is),
                               $is{queue} // '', $is{without} // '', '');
    my $server = server($self->{port}, ($is{server} // '')
                        . "\ninclude $Conf/concert_routes.conf;");
    my $user = $> == 0 ? 'user root;' : '';
    my $load = join "\n", map { "load_module $_;" }
                              split ' ', $ENV{TEST_NGINX_LOAD_MODULES} // '';
    my $temp = join "\n", map { "${_}_temp_path $root/${_}_temp;" }
                              qw( client_body proxy fastcgi scgi uwsgi );

    return <<"END";
$user
$load
daemon off;
worker_processes $workers;
error_log $root/logs/error.log info;
pid $root/logs/nginx.pid;
thread_pool concert_io threads=11;
thread_pool concert_gateway threads=16;
events {
    worker_connections 512;
}
http {
    access_log $root/logs/access.log;
$temp
$http
$server
}
END
}

sub gateway_directive {
    my (%is) = @_;
    my $gateway = $is{gateway} // return '';

    return "\nconcert_gateway " . $gateway->url . ' secret_key_file='
           . $gateway->key_file . ' ' . ($is{cards} // '') . ';';
}

# Below the server root of Test::Nginx there must be nothing of ours.
my $Instances = 0;

sub new_root {
    my $root = "$ServRoot-" . ++$Instances;

    remove_tree($root);
    make_path("$root/logs");

    return $root;
}

# The test suite has the two ports from $Port.
sub free_port {
    my ($first) = @_;

    for my $port (($first // $Port + 2) .. $Port + 60) {
        return $port if IO::Socket::INET->new(
            Listen => 1, LocalAddr => '127.0.0.1', LocalPort => $port,
            ReuseAddr => 1);
    }

    die "no free port above $Port";
}


package Concert::Session;

# What psql prints for a statement.
sub run {
    my ($self, $statement) = @_;

    $self->send($statement);
    return $self->receive;
}

# The same in two steps, so that sessions run at the same time; a line that a
# query writes ends the answer.
sub send {
    my ($self, $statement) = @_;

    print { $self->{in} } "$statement;\nselect 'end of ' || 'statement';\n";
    $self->{in}->flush;
}

sub receive {
    my ($self) = @_;

    my $out = $self->{out};
    my $text = '';

    while (my $line = <$out>) {
        return $text =~ s/\n\z//r if $line eq "end of statement\n";
        $text .= $line;
    }

    return "FATAL: psql has ended: $text";
}

sub DESTROY {
    my ($self) = @_;

    local ($?, $!);
    close $self->{in};
    waitpid $self->{pid}, 0;
}


package Concert::Nginx;

use Time::HiRes qw( sleep time );

my %Running;

# Starts it, or starts it again as it was.
sub start {
    my ($self, $configuration) = @_;

    my $root = $self->{root};
    $self->{configuration} = $configuration if defined $configuration;

    open my $out, '>', "$root/nginx.conf" or die "$root/nginx.conf: $!";
    print $out $self->{configuration};
    close $out or die "$root/nginx.conf: $!";

    my $pid = fork // die "cannot fork: $!";

    if ($pid == 0) {
        open STDERR, '>', "$root/logs/stderr";
        exec $Binary, '-p', $root, '-e', "$root/logs/error.log",
             '-c', "$root/nginx.conf"
            or POSIX::_exit(127);
    }

    $self->{pid} = $pid;
    $Running{$pid} = 1;

    my $deadline = time + Concert::PATIENCE;

    until ($self->connect) {
        die "nginx does not start: ", $self->log
            if time > $deadline || waitpid $pid, POSIX::WNOHANG();
        sleep 0.02;
    }
}

# Ends it; that is a check, too: of how it ends and of what it logged.
sub stop {
    my ($self) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my $status = $self->quit;
    my @bad = grep { /\[(?:alert|crit|emerg)\]|exited on signal/ }
                   $self->log;

    Test::More::is("$status @bad", '0 ',
                   'nginx ends and has logged no alert');
}

# Returns the exit status.
sub quit {
    my ($self) = @_;

    my $pid = $self->{pid};
    my $deadline = time + Concert::PATIENCE;

    CORE::kill QUIT => $pid;

    until (waitpid $pid, POSIX::WNOHANG()) {
        CORE::kill KILL => $pid if time > $deadline;
        sleep 0.02;
    }

    delete $Running{$pid};

    return $?;
}

# The pids of the workers.
sub workers {
    my ($self) = @_;
    my $pid = $self->{pid};

    open my $in, '<', "/proc/$pid/task/$pid/children" or return;
    return split ' ', <$in> // '';
}

# Reads the configuration anew, as it was at the start but for one thing.
sub reload {
    my ($self, $what, $instead) = @_;

    my $file = "$self->{root}/nginx.conf";
    open my $out, '>', $file or die "$file: $!";
    print $out $self->{configuration} =~ s/$what/$instead/r;
    close $out or die "$file: $!";

    CORE::kill HUP => $self->{pid};
}

# SIGKILL, at once for all: of the master, which nobody replaces, and of its
# workers, of which init hears.
sub kill {
    my ($self) = @_;
    my ($pid, @workers) = ($self->{pid}, $self->workers);

    CORE::kill KILL => $pid, @workers;
    waitpid $pid, 0;
    delete $Running{$pid};
    Concert::is_gone($_) || die "worker $_ does not end" for @workers;
}

# SIGKILL of the workers, which the master replaces.
sub kill_workers {
    my ($self) = @_;
    my @workers = $self->workers;

    CORE::kill KILL => @workers;
    Concert::is_gone($_) || die "worker $_ does not end" for @workers;
}

# The lines of the error log.
sub log {
    my ($self) = @_;

    open my $in, '<', "$self->{root}/logs/error.log" or return;
    return <$in>;
}

sub connect {
    my ($self) = @_;

    return IO::Socket::INET->new(PeerAddr => '127.0.0.1',
                                 PeerPort => $self->{port});
}

# A value that /metrics tells: 'name' or 'name{label="value"}'; -1 if it does
# not.
sub metric {
    my ($self, $name) = @_;

    my $text = $self->nobody->get('/metrics')->{body};
    return $text =~ /^\Q$name\E (\S+)$/m ? $1 : -1;
}

# That nobody's work is under way any more.
sub settled {
    my ($self) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    return Concert::eventually {
        my $busy = 0;
        $busy += $self->metric("concert_lanes_busy{group=\"$_\"}")
                 + $self->metric("concert_lane_waiting_calls{group=\"$_\"}")
            for qw( read write redis ),
                $self->metric('concert_lanes{group="gateway"}') > 0
                ? 'gateway' : ();
        $busy == 0;
    } 'nothing is left in the lanes';
}

# How many descriptors the workers have open.
sub descriptors { return scalar map { glob "/proc/$_/fd/*" } $_[0]->workers }

# The same when all lanes have connected, which they are made to every second.
sub descriptors_at_rest {
    my ($self) = @_;
    my ($descriptors, $same) = (0, 0);

    while ($same < 20) {
        my $now = $self->descriptors;
        $same = $now == $descriptors ? $same + 1 : 0;
        $descriptors = $now;
        sleep 0.1;
    }

    return $descriptors;
}

# Somebody who sends requests; the userId header is theirs.
sub client {
    my ($self, $id, %headers) = @_;

    return bless { nginx => $self, id => $id, headers => \%headers },
                 'Concert::Client';
}

# Somebody who sends no userId header.
sub nobody {
    my ($self) = @_;

    return $self->client(undef);
}

# Sends a request and does not wait: Concert::Answer->new() of the socket does.
sub begin {
    my ($self, $bytes) = @_;

    my $socket = $self->connect // die "cannot connect: $!";

    local $SIG{PIPE} = 'IGNORE';
    print $socket $bytes;
    $socket->flush;
    (${*$socket}{path}) = $bytes =~ /^\S+ (\S+)/;

    return $socket;
}

# Sends requests, all before it reads the first answer.
sub together {
    my ($self, @requests) = @_;

    return map { Concert::Answer->new($_) } map { $self->begin($_) } @requests;
}

# A test that died leaves no nginx behind.
my $Process = $$;

END {
    if ($$ == $Process) {
        local $?;

        for my $pid (keys %Running) {
            CORE::kill TERM => $pid;
            waitpid $pid, 0;
        }
    }
}


package Concert::Client;

sub id { return $_[0]{id} }

# The bytes of a request.
sub bytes_of {
    my ($self, $method, $path, $body, %headers) = @_;

    %headers = (%{ $self->{headers} // {} }, %headers);
    $body = $Json->encode($body) if ref $body;

    $headers{userId} //= $self->{id} if defined $self->{id};
    $headers{'Content-Length'} = length $body
        if defined $body && !$headers{'Transfer-Encoding'};

    # operators' bodies say what they are
    $headers{'Content-Type'} //= 'application/json'
        if defined $body && $path !~ m{^/api/};

    return join "\r\n", "$method $path HTTP/1.1", 'Host: localhost',
                        'Connection: close',
                        (map { "$_: $headers{$_}" } sort keys %headers),
                        '', $body // '';
}

sub ask {
    my ($self, @request) = @_;

    return ($self->{nginx}->together($self->bytes_of(@request)))[0];
}

sub get { my $self = shift; return $self->ask(GET => @_) }
sub post { my $self = shift; return $self->ask(POST => @_) }
sub put { my $self = shift; return $self->ask(PUT => @_) }
sub delete { my $self = shift; return $self->ask(DELETE => @_) }

# The requests of the flow; *_request are their bytes, for together().

sub enter_request {
    my ($self) = @_;

    return $self->bytes_of(POST => '/api/token',
                           { userId => 0 + $self->{id} });
}

sub reserve_request {
    my ($self, $schedule, @seats) = @_;

    return $self->bytes_of(POST => '/api/reservations/seats', {
        userId     => 0 + $self->{id},
        concertId  => 0 + Concert::concert_of($schedule),
        scheduleId => 0 + $schedule,
        seatIdList => [ map { 0 + $_ } @seats ],
    });
}

sub pay_request {
    my ($self, $reservation, $amount) = @_;

    return $self->bytes_of(POST => '/api/reservations/payments', {
        userId        => 0 + $self->{id},
        reservationId => 0 + $reservation,
        amount        => 0 + $amount,
    });
}

sub charge_request {
    my ($self, $amount) = @_;

    return $self->bytes_of(PUT => '/api/balance/charge', {
        userId => 0 + $self->{id},
        amount => 0 + $amount,
    });
}

sub send {
    my ($self, $bytes) = @_;

    return ($self->{nginx}->together($bytes))[0];
}

sub enter { my $self = shift; return $self->send($self->enter_request) }
sub reserve { my $self = shift; return $self->send($self->reserve_request(@_)) }
sub pay { my $self = shift; return $self->send($self->pay_request(@_)) }
sub charge { my $self = shift; return $self->send($self->charge_request(@_)) }

sub token { my $self = shift; return $self->get("/api/token/$self->{id}") }
sub leave { my $self = shift; return $self->delete("/api/token/$self->{id}") }

# Whether the user may go on now.
sub is_active {
    my ($self) = @_;

    my $answer = $self->get("/api/token/status/$self->{id}");
    die "status of $self->{id}: $answer->{status} $answer->{body}"
        if $answer->{body} !~ /^(?:true|false)$/;

    return $answer->{body} eq 'true';
}

sub balance {
    my ($self) = @_;

    return $self->get("/api/balance/$self->{id}")->json->{amount};
}


package Concert::Answer;

sub new {
    my ($class, $socket) = @_;

    my $bytes = do { local $/; <$socket> // '' };
    my $path = ref $socket ? ${*$socket}{path} : undef;
    close $socket;

    my ($head, $body) = split /\r\n\r\n/, $bytes, 2;
    my ($line, @lines) = split /\r\n/, $head // '';
    my %headers;

    for (@lines) {
        my ($name, $value) = split /:\s*/, $_, 2;
        push @{ $headers{lc $name} }, $value;
    }

    return bless { status  => ($line // '') =~ m{^HTTP/1\.1 (\d+)} ? $1 : 0,
                   headers => \%headers,
                   path    => $path,
                   body    => $body // '' }, $class;
}

sub status { return $_[0]{status} }
sub body { return $_[0]{body} }

sub header {
    my ($self, $name) = @_;

    my $values = $self->{headers}{lc $name} // return;
    return join ', ', @$values;
}

sub json {
    my ($self) = @_;

    return $Json->decode($self->{body});
}

# The code of a problem; '' if it is none.
sub code {
    my ($self) = @_;

    my $json = eval { $self->json };
    return ref $json eq 'HASH' ? $json->{code} // '' : '';
}

# The path that a Link header leads on to.
sub next {
    my ($self) = @_;

    my $link = $self->header('Link') // return;

    return $self->resolve($link =~ /^<([^>]+)>;\s*rel="?next"?$/
                          ? $1 : die "Link: $link");
}

# The path that a Location header tells.
sub location {
    my ($self) = @_;

    my $location = $self->header('Location') // return;
    return $self->resolve($location);
}

# What a reference means where this is the answer (RFC 3986, 5.2).
sub resolve {
    my ($self, $reference) = @_;

    return $reference if $reference =~ m{^(?:/|[a-z]+:)}i;

    my $path = $self->{path} =~ s/\?.*//sr;
    return $path . $reference if $reference =~ /^\?/;

    $path =~ s{[^/]*$}{$reference};
    1 while $path =~ s{[^/]+/\.\./}{};

    return $path;
}

1;
