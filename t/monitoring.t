# What `make monitor` starts beside a stack: the rules of the alerts, the alerts
# of real faults, and every panel of the dashboards, which must have data after
# a run of k6, payments by card and these faults, and tell lines apart when there
# is a second nginx.

use strict;
use warnings;

use HTTP::Tiny       ();
use IO::Socket::INET ();
use JSON::PP         ();
use Test::More;
use Time::HiRes      qw( time );

use Concert;
use Gateway;

# free_port() gives others the ports up to 60 above the first.
my $Port = $ENV{TEST_NGINX_PORT} + 70;
my $Conf = "$ENV{TEST_NGINX_CONCERT_CONF}/monitoring";
my $Var = 'build/test-monitor-var';
my $Json = JSON::PP->new->utf8;
my $Http = HTTP::Tiny->new(http_proxy => undef, timeout => 30);
my $Begun = time;

# Where Alertmanager posts alerts: to us.
my $Hook = IO::Socket::INET->new(Listen => 16, LocalAddr => '127.0.0.1',
                                 LocalPort => 0, Blocking => 0)
           // die "no webhook: $!";

@ENV{qw( VAR PORT GATEWAY GATEWAY_PORT MONITOR_PORT SEATS WORKERS PROOF )}
    = ($Var, $Port, 1, $Port + 1, $Port + 10, 500, 2, '5s');
@ENV{qw( OPEN SHARED_BUFFERS ALERT_WEBHOOK )}
    = (1, '128MB', 'http://127.0.0.1:' . $Hook->sockport . '/alerts');

# The machine may stand still for some seconds; Redis, which is frozen below, is
# not away before this.
$ENV{TIMEOUT} = '8s';

# What a command says, and whether it succeeds.
sub run {
    my (@command) = @_;

    open my $out, '-|', 'sh', '-c', 'exec "$@" 2>&1 </dev/null', 'sh',
                        @command or die "@command: $!";
    local $/;
    my $text = <$out> // '';
    return (close $out) ? $text : "$text(exit status $?)";
}

sub stack { return run('conf/stack/stack', @_) }

# Whatever ends us, or has ended the run before.
$SIG{$_} = sub { exit 1 } for qw( INT TERM HUP PIPE );
END { local $?; stack('stop') if -d $Var }
stack('remove');


# --- the files -------------------------------------------------------------

unlike run('promtool', 'check', 'rules', "$Conf/rules.yml"), qr/exit status/,
       'Prometheus takes the rules';
my $Unit = run('promtool', 'test', 'rules', "$Conf/rules_test.yml");
like $Unit, qr/SUCCESS/, 'alerts fire in time, and end';
unlike $Unit, qr/FAILED/, 'in every case' or diag $Unit;


# --- start -----------------------------------------------------------------

my $Said = stack('monitor');
unlike $Said, qr/exit status/, 'what watches the stack starts, and the stack'
    or BAIL_OUT($Said);

my %Is = do {
    open my $in, '<', "$Var/monitor/env" or die "no env: $!";
    map { /^(\w+)=(.*)$/ } <$in>;
};
my ($Data) = map { s/^export VAR='(.*)'$/$1/r } grep { /^export VAR=/ }
             split /\n/, slurp("$Var/env");

like $Said, qr{Prometheus +\Q$Is{PROMETHEUS_URL}\E}, 'it says where';
is $Is{PROMETHEUS_URL}, 'http://127.0.0.1:' . ($Port + 15),
   'its ports are those that were asked for';
unlike run('promtool', 'check', 'config', "$Var/monitor/prometheus.yml"),
       qr/exit status/, 'promtool likes what Prometheus was given';
unlike run('amtool', 'check-config', "$Var/monitor/alertmanager.yml"),
       qr/exit status/, 'amtool likes what Alertmanager was given';

my %Pids = pids();
is scalar keys %Pids, 6, 'six programs run';
like stack('monitor'), qr/already monitored/, 'they are started once';
is_deeply { pids() }, \%Pids, 'and are the same then';

SKIP: {
    skip 'only root may look at what others have open', 2 if $> != 0;
    my @addresses = map { listens($_) } values %Pids;
    cmp_ok scalar @addresses, '>=', 6, 'each of them listens';
    is_deeply [ grep { $_ ne '127.0.0.1' } @addresses ], [],
              'on loopback alone';
}

$Http->post_form("$Is{INFLUXDB_SERVER}/query", { q => 'create database large' });
my $Second = 'large text="' . 'x' x 900 . qq(" 1\n);
my $Taken = $Http->post("$Is{INFLUXDB_SERVER}/write?db=large",
                        { content => $Second x 30_000 });
is $Taken->{status}, 204,
   'InfluxDB takes what a quick k6 measures in a second, 27 MB'
    or diag $Taken->{content};

my $Host = "host=$Data/postgres/socket dbname=concert";
my $Watcher = Concert::open_session("$Host user=concert_monitor");

like $Watcher->run("select count(*) from monitor.invariants()"), qr/^\d+$/,
     'the role of the exporters may ask for the proof';
for my $refused ('select * from concert.all_payments',
                 'select * from concert.violations()',
                 'create table monitor.t ()', 'create table public.t ()')
{
    like $Watcher->run($refused), qr/permission denied/, "not: $refused";
}

sub slurp {
    my ($name) = @_;

    open my $in, '<', $name or die "$name: $!";
    local $/;
    return scalar <$in>;
}

sub spew {
    my ($name, $text) = @_;

    open my $out, '>', $name or die "$name: $!";
    print $out $text;
    close $out or die "$name: $!";
}

sub pids {
    return map { my $name = s{.*/(.*)\.pid}{$1}r; $name => 0 + slurp($_) }
               glob "$Var/monitor/*.pid";
}

# The addresses that a process listens on.
sub listens {
    my ($pid) = @_;

    my %mine = map { /socket:\[(\d+)\]/ ? ($1 => 1) : () }
               map { readlink($_) // '' } glob "/proc/$pid/fd/*";
    my @found;

    for my $line (split /\n/, slurp('/proc/net/tcp')
                              . slurp('/proc/net/tcp6'))
    {
        my @field = split ' ', $line;
        next if @field < 10 || $field[3] ne '0A' || !$mine{$field[9]};
        my ($address) = split /:/, $field[1];
        push @found, $address eq '0100007F' ? '127.0.0.1' : $address;
    }

    return @found;
}


# --- a run -----------------------------------------------------------------

# The same nginx under another name is a second one to Prometheus.
spew("$Var/monitor/nginx-2.json", qq([{"targets": ["localhost:$Port"]}]));

{
    local @ENV{qw( VUS DURATION )} = (4, '1s');
    my $said = stack('exec', 'loadtest/run', 'smoke');

    like $said, qr/ 0 failed/, 'k6 runs, and tells InfluxDB' or diag $said;
}

my $Nginx = bless { port => $Port }, 'Concert::Nginx';
my $Gateway = bless { port => $Port + 1,
                      secret => slurp("$Data/gateway/key") =~ s/\s+//gr },
                    'Gateway';
my $Ann = $Nginx->client(77);
my $Seat = 0;

# A reservation of Ann's, and what the gateway's window gives for it.
sub ordered {
    my (%window) = @_;

    my $held = $Ann->ask(POST => '/api/reservations/seats', {
        userId => 77, concertId => 1, scheduleId => 2,
        seatIdList => [ ++$Seat ] })->json;
    my $order = $Ann->post('/api/payments/orders', {
        userId => 77, reservationId => $held->{reservationId} })->json;
    my $card = $Gateway->window(%$order, %window);

    return { userId => 77, reservationId => $held->{reservationId},
             amount => $held->{totalPrice}, method => 'card',
             orderId => $card->{orderId}, paymentKey => $card->{paymentKey} };
}

sub pay {
    my ($order) = @_;
    return $Ann->post('/api/reservations/payments', $order)->status;
}

# Ann comes back after each payment: it ends her token.
sub buys { $Ann->enter; return pay(ordered(@_)) }

# The gateway has 2 s to answer. Where the machine stood still meanwhile the card
# is not known yet, and she takes another one.
sub is_told {
    my ($expected, $title, @window) = @_;
    my $told;

    for (1 .. 5) {
        $told = buys(@window);
        last if $told != 202;
    }

    is $told, $expected, $title;
}

is_told(200, 'a card pays') for 1 .. 3;
is_told(402, 'a card is declined', card => 'declined');
$Gateway->switch(confirm => { error_rate => 1 }, lookup => { error_rate => 1 });
is buys(), 202, 'of a card nobody knows';

my $Order = do { $Ann->enter; ordered() };


# --- faults, and their alerts ----------------------------------------------

my (%Fired, %Ended);

# Takes what Alertmanager has posted meanwhile.
sub hear {
    while (my $from = $Hook->accept) {
        $from->blocking(1);
        my ($length, $body) = (0, '');

        while (defined(my $line = <$from>)) {
            $length = $1 if $line =~ /^Content-Length: *(\d+)/i;
            last if $line =~ /^\r?$/;
        }
        read $from, $body, $length;
        print $from "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
                    . "Connection: close\r\n\r\n";
        close $from;

        for my $alert (@{ $Json->decode($body)->{alerts} }) {
            my $name = $alert->{labels}{alertname};

            $Fired{$name} //= time if $alert->{status} eq 'firing';
            $Ended{$name} = time if $alert->{status} eq 'resolved';
        }
    }
}

# With the triggers off, which would refuse it.
my $Admin = Concert::open_session("$Host user=postgres");

sub damage {
    my ($statement) = @_;

    my $said = $Admin->run("set session_replication_role = replica;
                            $statement;
                            set session_replication_role = origin");
    die $said if $said =~ /ERROR/;
}

sub breaker { $Nginx->nobody->post('/gateway/breaker', { state => $_[0] }) }
sub paused {
    $Nginx->nobody->ask(PATCH => '/queue',
                        { paused => $_[0] ? JSON::PP::true : JSON::PP::false });
}

sub a_worker {
    my ($master) = slurp("$Data/nginx/nginx.pid") =~ /(\d+)/;
    my ($worker) = split ' ', slurp("/proc/$master/task/$master/children");
    return $worker;
}

my ($Redis) = slurp("$Data/redis/redis.pid") =~ /(\d+)/;
my $Sold = "schedule_id = 2 and seat_id = 1";
my $Faulted = time;

kill KILL => a_worker();
damage('update concert.accounts set balance = balance + 1 where account_id = 1');
damage("update concert.seats set hold_until = now() where $Sold");
damage("update concert.orders set pending_since = now() - interval '1 hour'
        where pending_since is not null");
breaker('forced_open');
is pay($Order), 503, 'cards are refused while the breaker is open';
paused(1);
$Nginx->client(78)->enter;
eventually { $Nginx->metric('concert_queue_waiting') == 1 } 'somebody waits';
kill STOP => $Redis;

for my $alert (qw( WorkerDied BreakerOpen HighErrorRate PaymentPendingTooLong
                   SeatsOversold LedgerBroken QueueStuck StoreAway ))
{
    eventually {
        pay($Order) if !$Fired{HighErrorRate};     # 503
        hear();
        $Fired{$alert};
    } "$alert fires";
}

note sprintf '%s after %.1f s', $_, $Fired{$_} - $Faulted
    for sort { $Fired{$a} <=> $Fired{$b} } keys %Fired;

kill CONT => $Redis;
eventually { paused(0)->status == 200 } 'Redis is back';
$Gateway->switches_off;
breaker('closed');
damage('update concert.accounts set balance = balance - 1 where account_id = 1');
damage("update concert.seats set hold_until = 'infinity' where $Sold");
damage('update concert.orders set next_look_at = now()
        where pending_since is not null');

for my $alert (qw( BreakerOpen HighErrorRate PaymentPendingTooLong SeatsOversold
                   LedgerBroken QueueStuck StoreAway ))
{
    eventually { hear(); $Ended{$alert} } "$alert ends";
}

my $Proof = Concert::open_session("$Host user=concert");
is $Proof->run('select sum(broken) from concert.violations()'), 0,
   'the damage is mended';


# --- dashboards ------------------------------------------------------------

sub escaped { return $_[0] =~ s/([^A-Za-z0-9_.~-])/sprintf '%%%02X', ord $1/ger }

sub fetch {
    my ($url, %query) = @_;

    $url .= '?' . join '&', map { "$_=" . escaped($query{$_}) } keys %query;
    my $answer = $Http->get($url);

    return $Json->decode($answer->{content}) if $answer->{success};
    diag "$url: $answer->{content}";
    return {};
}

# The series of a query that have a number in them, as their legend has them.
sub prometheus_series {
    my ($expr, $legend) = @_;

    $expr =~ s/\$__rate_interval/20s/g;
    my $found = fetch("$Is{PROMETHEUS_URL}/api/v1/query_range",
                      query => $expr, start => $Begun, end => time,
                      step => 2);
    my @series = grep { grep { $_->[1] =~ /^[-+\d.e]+$/ } @{ $_->{values} } }
                      @{ $found->{data}{result} // [] };

    return map { my %is = %{ $_->{metric} };
                 $legend =~ s/\{\{(\w+)\}\}/$is{$1}/gr } @series;
}

sub influxdb_rows {
    my ($query) = @_;

    $query =~ s/\$timeFilter/'time > ' . int($Begun) . 's'/ge;
    $query =~ s/\$__interval/2s/g;
    $query =~ s/\$testid/.*/g;
    my $found = fetch("$Is{INFLUXDB_SERVER}/query", db => 'k6', q => $query);

    return map { @{ $_->{values} } }
           map { @{ $_->{series} // [] } } @{ $found->{results} // [] };
}

my %Ask = ('concert-prometheus' =>
               sub { prometheus_series(@{ $_[0] }{qw( expr legendFormat )}) },
           'concert-influxdb' => sub { influxdb_rows($_[0]{query}) });

for my $name (qw( service incidents k6 )) {
    my $dashboard = $Json->decode(slurp("$Conf/grafana/dashboards/$name.json"));
    my (%id, @unasked, @twice);

    for my $variable (@{ $dashboard->{templating}{list} }) {
        my @choice = $Ask{$variable->{datasource}{uid}}->($variable);
        cmp_ok scalar @choice, '>', 1,
               "$name: there is a choice of $variable->{name}";
    }

    for my $panel (@{ $dashboard->{panels} }) {
        push @unasked, $panel->{title} if $id{$panel->{id}}++;
        next if $panel->{type} eq 'row';
        push @unasked, $panel->{title} if !@{ $panel->{targets} };

        my %named;

        for my $target (@{ $panel->{targets} }) {
            my $ask = $Ask{$target->{datasource}{uid}};
            my @found = $ask ? $ask->($target) : ();

            ok scalar @found,
               "$name: $panel->{title} has data ($target->{refId})"
                or diag $target->{expr} // $target->{query};
            next if !$target->{expr};
            push @twice, "$panel->{title}: $_" for grep { $named{$_}++ } @found;
        }
    }

    is_deeply \@unasked, [], "$name: every panel has its id and asks something";
    is_deeply \@twice, [], "$name: no two lines of a panel have one name";
}

my $Datasources = slurp("$Conf/grafana/provisioning/datasources/concert.yml");
for my $uid (keys %Ask) {
    like $Datasources, qr/uid: \Q$uid\E$/m, "$uid is provided";
}
is_deeply [ grep { !$Is{$_} } $Datasources =~ /\$(\w+)/g ], [],
          'with what is in the environment';


# --- drills ----------------------------------------------------------------

{
    local @ENV{qw( SMOKE BEFORE OUTAGE AFTERWARDS RATE )} = (1, 1, 2, 12, 4);
    my $said = stack('exec', 'loadtest/run', 'drill-gateway', 'drill-nginx');

    like $said, qr/ 0 failed/, 'the gateway and an nginx come back'
        or diag $said;
    is_deeply [ glob "$Var/monitor/nginx-*.json" ], [],
              'nobody looks for the second nginx any more';
}


# --- the end ---------------------------------------------------------------

unlike stack('stop'), qr/exit status/, 'the stack is stopped';
is_deeply [ grep { is_alive($_) } values %Pids ], [],
          'and what has watched it, too';

sub is_alive { return -d "/proc/$_[0]" && slurp("/proc/$_[0]/stat") !~ /\) Z/ }

done_testing();
