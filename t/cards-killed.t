# SIGKILL of nginx, of PostgreSQL or of the payment gateway, while there is a
# payment by card at every step that there is: in the end the gateway has the
# money of those who have their seats, and of nobody else.
#
# A step is reached for certain: a lock, a proxy or a step of the gateway keeps
# the payment there, and the test looks whether it is there.  Then all of them
# lose the same process at once.

use strict;
use warnings;

use FindBin    ();
use Test::More;

use lib "$FindBin::RealBin/../loadtest";

use Concert;
use Gateway;
use Gateway::Truth ();
use Proxy;
use Stack;

my ($pg) = $ENV{TEST_NGINX_CONCERT_PG} =~ m{\bhost=(/\S+)};
my ($redis) = $ENV{TEST_NGINX_CONCERT_REDIS} =~ m{^unix:(/\S+)};

plan skip_all => 'the tests have no stack of their own'
    if !$pg || !$redis || !Stack::is_there();

use constant {
    PRICE      => 1500,
    TOP_UP     => 6000,
    LANES      => 8,        # that write
    CHARGES    => 8,        # that block the last of them, and wait for it
    CLAIMS     => 6,        # that wait behind them
    JOBS       => 4,        # that may wait, too
};

my $Gateway = Gateway->start;
my $Pg = Proxy->new("$pg/.s.PGSQL.5432");
my $Redis = Proxy->new($redis);
my $Conninfo = "$ENV{TEST_NGINX_CONCERT_PG} host=" . $Pg->directory;
my $Nginx = nginx(gateway => $Gateway, cards => 'timeout=20s lanes=16',
                  http => "concert_postgres \"$Conninfo\" batch=1 write="
                          . LANES . ";\n"
                          . 'concert_redis unix:' . $Redis->path . ';');
my $Schedule = schedule(seats => 1000, price => PRICE);
my $Seat = 0;
my $Key = 0;


# --- payments ----------------------------------------------------------------

# Somebody who is about to pay: the order, the card, the request.  what: 'pay'
# or 'charge'; window: the steps of the gateway.
sub buyer {
    my ($what, %window) = @_;

    my $client = $Nginx->client(user());
    my $user = 0 + $client->id;
    my $held = $what eq 'pay' ? 0 + hold($user, $Schedule, ++$Seat) : undef;
    my $amount = $held ? PRICE : TOP_UP;
    my $order = $client->post('/api/payments/orders', {
        userId => $user,
        $held ? (reservationId => $held) : (chargeAmount => $amount) })->json;
    my $card = $Gateway->window(%$order, %window);

    my @request = $held ? (POST => '/api/reservations/payments')
                        : (PUT => '/api/balance/charge');
    my %body = (userId => $user, amount => $amount, method => 'card',
                map { $_ => $card->{$_} } qw( orderId paymentKey ));
    $body{reservationId} = $held if $held;

    return { client => $client, held => $held, order => $order->{orderId},
             amount => $amount,
             bytes => $client->bytes_of(@request, \%body,
                                        'Idempotency-Key' => 'k' . ++$Key) };
}

sub begin { $_[0]{socket} = $Nginx->begin($_[0]{bytes}) }
sub ask { return ($Nginx->together($_[0]{bytes}))[0] }

# What became of its order: the payment's state; '' if there is none.
sub state_of {
    my ($buyer) = @_;

    return sql("select p.status
                from concert.orders o
                join concert.all_payments p on p.payment_id = o.payment_id
                where o.order_id = '$buyer->{order}'");
}

# Gives a payment back that is PAID.
sub refund {
    my ($buyer) = @_;

    my $payment = payment_of($buyer->{held});
    return $Nginx->nobody->post("/refunds/$payment", { reason => 'A test' })
                 ->json->{status};
}

sub requests { return $Gateway->ledger->{requests}{$_[0]} // 0 }
sub at_gateway { return $Gateway->status_of({ orderId => $_[0]{order} }) }

# The sessions that wait for a lock in a function; with a buyer: those of them
# that have locked his order, as settle() does before it changes anything.
sub blocked {
    my ($function, $buyer) = @_;

    my $whose = $buyer
        ? "and backend_xid = (select xmax
                              from concert.orders
                              where order_id = '$buyer->{order}')" : '';

    return sql("select count(*)
                from pg_stat_activity
                where wait_event_type = 'Lock'
                  and query like 'select * from concert.$function%' $whose");
}

sub lanes {
    my ($what) = @_;
    return $Nginx->metric("concert_$what" . '{group="write"}');
}


# --- one at every step -------------------------------------------------------

# The order is that in which they can be reached: what is locked later is not
# needed by those before.  A step says in which state its payment stays; those
# that must have paid first come with it.
my @Steps = (
    'a refund is sent, and not processed' => {
        state => 'REFUNDING', window => { cancel => ['hang'] }, paid => 1,
        reach => sub {
            my ($buyer) = @_;
            my $before = requests('cancel');

            refund($buyer);
            return sub { requests('cancel') > $before };
        },
    },
    'a refund is processed, and not answered' => {
        state => 'REFUNDING', window => { cancel => ['hang_after'] }, paid => 1,
        reach => sub {
            my ($buyer) = @_;

            refund($buyer);
            return sub { at_gateway($buyer) eq 'CANCELED' };
        },
    },
    'the job looks a payment up' => {
        state => 'PENDING',
        window => { confirm => ['503'], lookup => ['hang'] },
        reach => sub {
            my ($buyer) = @_;
            my $before = requests('lookup');

            ask($buyer);
            return sub { requests('lookup') > $before };
        },
    },
    'the job confirms a payment again' => {
        state => 'PENDING', window => { confirm => [ '503', 'hang' ] },
        reach => sub {
            my ($buyer) = @_;
            my $before = requests('confirm');

            ask($buyer);
            return sub { requests('confirm') > $before + 1 };
        },
    },
    'a confirmation is sent, and not processed' => {
        state => 'PENDING', window => { confirm => ['hang'] },
        reach => sub {
            my ($buyer) = @_;
            my $before = requests('confirm');

            begin($buyer);
            return sub { requests('confirm') > $before };
        },
    },
    map({ my ($fault, $title) = @$_;
          $title => {
              state => 'PENDING', window => { confirm => [$fault] },
              reach => sub {
                  my ($buyer) = @_;

                  begin($buyer);
                  return sub { at_gateway($buyer) eq 'DONE' };
              },
          } } [ hang_after => 'a confirmation is processed, and not answered' ],
              [ stall => 'a confirmation is answered by half' ]),
    'a claim is committed, and its answer not read' => {
        state => 'PENDING',
        reach => sub {
            my ($buyer) = @_;

            $Pg->hold('claim_once');
            begin($buyer);
            return sub { $Pg->kept && state_of($buyer) eq 'PENDING' };
        },
    },
    'it is settled and committed, and that not read' => {
        state => 'PAID',
        reach => sub {
            my ($buyer) = @_;

            $Pg->hold('settle');
            begin($buyer);
            return sub { state_of($buyer) eq 'PAID' };
        },
    },
    'it is settled, and the token ends' => {
        state => 'PAID',
        reach => sub {
            my ($buyer) = @_;

            $buyer->{client}->enter;
            $Redis->hold($buyer->{client}->id);
            begin($buyer);
            return sub { $Redis->kept && state_of($buyer) eq 'PAID' };
        },
    },

    # from here on nothing is settled

    'it is settled, and that not committed' => {
        state => 'PENDING',
        lock => 'lock table concert.transfers in share mode',
        reach => sub {
            my ($buyer) = @_;

            begin($buyer);
            return sub { blocked('settle', $buyer) };
        },
    },
    'a top-up is settled, and that not committed' => {
        state => 'PENDING', what => 'charge',
        reach => sub {
            my ($buyer) = @_;

            begin($buyer);
            return sub { blocked('settle', $buyer) };
        },
    },
    'a refund is settled, and that not committed' => {
        state => 'REFUNDING', paid => 1,
        reach => sub {
            my ($buyer) = @_;

            refund($buyer);
            return sub { blocked('settle', $buyer) };
        },
    },
    'a claim is sent, and not committed' => {
        state => '',
        lock => sub { 'select from concert.reservations '
                      . "where reservation_id = $_[0]{held} for update" },
        reach => sub {
            begin($_[0]);
            return sub { blocked('claim') == 1 };
        },
    },
    'the claim of a top-up is sent, and not committed' => {
        state => '', what => 'charge',
        lock => sub { 'select from concert.orders '
                      . "where order_id = '$_[0]{order}' for update" },
        reach => sub {
            begin($_[0]);
            return sub { blocked('claim') == 2 };
        },
    },
    'claims wait to be sent' => {
        state => '', others => CLAIMS - 1,
        reach => sub {
            my ($buyer) = @_;
            my $waiting = sub { lanes('lane_waiting_calls') };

            $_->{socket} = $Nginx->begin($_->{bytes})
                for @{ $buyer->{charges} };
            eventually { lanes('lanes_busy') == LANES
                         && $waiting->() >= CHARGES - 1 } 'no lane is free';

            begin($_) for $buyer, @{ $buyer->{others} };
            return sub { $waiting->() >= CHARGES + JOBS + 1 };
        },
    },
);

# One buyer for each step, not yet there.
sub buyers {
    my @buyers;

    for my $n (map { 2 * $_ } 0 .. $#Steps / 2) {
        my ($title, $step) = @Steps[$n, $n + 1];
        my @window = $step->{window} ? (then => $step->{window}) : ();
        my ($buyer, @others) = map { buyer($step->{what} // 'pay', @window) }
                                   0 .. $step->{others} // 0;

        @$buyer{qw( title step others )} = ($title, $step, \@others);
        $_->{title} = $title for @others;
        $buyer->{charges} = [
            map { { bytes => $Nginx->client(user())->charge_request(1) } }
                1 .. CHARGES ] if @others;
        ask($buyer)->status == 200 or die "$title: not paid" if $step->{paid};
        push @buyers, $buyer;
    }

    return @buyers;
}

# Brings them to where they are to be; returns what keeps them there.
sub reach {
    my (@buyers) = @_;
    my @locks;

    for my $buyer (@buyers) {
        my ($title, $step) = @$buyer{qw( title step )};
        my $lock = $step->{lock};

        push @locks, lock_rows(ref $lock ? $lock->($buyer) : $lock) if $lock;
        my $is_there = $step->{reach}->($buyer);
        eventually { $is_there->() } $title;
    }

    is_deeply [ map { state_of($_) } @buyers ],
              [ map { $_->{step}{state} } @buyers ], 'they are all there';

    return @locks;
}


# --- what became of them -----------------------------------------------------

# The orders of buyers, as SQL.
sub orders { return join ',', map { "'$_->{order}'" } @_ }

# Where money and seats are not together, and what the payments are.
sub truth {
    my (@buyers) = @_;

    my %rows = Gateway::Truth::rows(sql(Gateway::Truth::query(
        'o.order_id in (' . orders(@buyers) . ')')));
    my $all = Gateway::Truth::net($Gateway->ledger->{payments});
    my %net = map { $_->{order} => $all->{ $_->{order} } } @buyers;

    return ([ Gateway::Truth::differences(\%rows, \%net) ],
            { map { $_ => $rows{$_}[0] } keys %rows });
}

# As the gateway's webhooks would: the job need not wait until it is time.
sub hasten {
    my $orders = orders(@_);

    sql("select count(*) from concert.look_now(array[$orders])");
}

sub is_settled {
    my $orders = orders(@_);

    return sql("select count(*)
                from concert.orders o
                join concert.all_payments p on p.payment_id = o.payment_id
                where o.order_id in ($orders)
                  and p.status in ('PENDING', 'REFUNDING')") == 0;
}

# The client's own way to the truth: the same request until it is told.
sub told {
    my ($buyer) = @_;
    my $last;

    eventually {
        $last = ask($buyer);
        $last->status == 200 || $last->status == 402;
    } "$buyer->{title}: a repeat is told";

    return $last->status;
}

sub check {
    my ($victim, @buyers) = @_;
    my @all = map { ($_, @{ $_->{others} }) } @buyers;

    eventually { hasten(@all); is_settled(@all) }
        "$victim: all is settled in the end";

    for my $buyer (@buyers) {
        my $status = $buyer->{step}{state} eq 'REFUNDING' ? 402 : 200;

        is told($buyer), $status, "$victim: $buyer->{title}";
    }

    told($_) for map { @{ $_->{others} } } @buyers;
    eventually { hasten(@all); is_settled(@all) }
        "$victim: and so are the repeats";

    my ($wrong, $state) = truth(@all);

    is_deeply $wrong, [], "$victim: money and seats go together";
    is_deeply [ map { $state->{ $_->{order} } } @buyers ],
              [ map { $_->{step}{state} eq 'REFUNDING' ? 'REFUNDED' : 'PAID' }
                    @buyers ], "$victim: who wanted seats has them";
    is sql('select rule, broken from concert.violations() where broken > 0'),
       '', "$victim: all rules hold";
}


# --- who is killed -----------------------------------------------------------

my %Victim = (
    'a worker'   => [ sub { $Nginx->kill_workers }, sub { } ],
    'nginx'      => [ sub { $Nginx->kill }, sub { $Nginx->start } ],
    'PostgreSQL' => [ \&Stack::kill_postgres, \&Stack::start_postgres ],
    'gateway'    => [ sub { $Gateway->kill }, sub { $Gateway->start } ],
);

for my $victim (sort keys %Victim) {
    my ($kill, $start) = @{ $Victim{$victim} };
    my @buyers = buyers();
    my @locks = reach(@buyers);

    $kill->();
    $_->release for $Pg, $Redis;
    @locks = ();
    $start->();
    eventually { $Nginx->nobody->get('/readyz')->status == 200 }
        "$victim: killed, and started again";

    # what the clients were told, or not
    Concert::Answer->new($_)
        for map { $_->{socket} // () }
            map { ($_, @{ $_->{others} }, @{ $_->{charges} // [] }) } @buyers;

    check($victim, @buyers);
}

$Nginx->quit;


# --- at random ---------------------------------------------------------------

# The same as "make faults ARGS=cards", and on the stack of that kind.
{
    my $port = Concert::free_port();
    my @ports = ($port, Concert::free_port($port + 1));

    local @ENV{qw( PORT GATEWAY_PORT )} = @ports;
    local $ENV{FAULTS_VAR} = "$FindBin::RealBin/../build/test-faults-var";
    local @ENV{qw( FAULTS_OUT SEATS )} = ('tmp/last-faults-cards', 5000);
    local $ENV{ROUNDS} = $ENV{ROUNDS} // 50;
    delete local @ENV{qw( CARDS BREAKER OPEN )};

    open my $out, '-|', "'$FindBin::RealBin/../loadtest/faults' cards 2>&1"
        or die "faults: $!";
    while (my $line = <$out>) { chomp $line; note $line }
    close $out;

    is $?, 0, "$ENV{ROUNDS} kills at random: money and seats go together";
}

done_testing();
