# A database of an earlier version, full of demo data and with a history of every
# kind, is brought up to date: nothing is lost, and what comes out is what a fresh
# database is.  In databases of the test's own.

use strict;
use warnings;

use File::Basename qw( dirname );
use Test::More;

use Concert;

use constant HOUR => 3_600_000;

my $Owner   = $ENV{TEST_NGINX_CONCERT_PG_OWNER};
my ($Role)  = $ENV{TEST_NGINX_CONCERT_PG} =~ /\buser=(\S+)/;
my $Conf    = $ENV{TEST_NGINX_CONCERT_CONF};
my $Old     = dirname(__FILE__) . '/schema-7.sql';
my ($Last)  = reverse map { m{(\d+)\.sql$} ? 0 + $1 : () }
              sort glob "$Conf/schema/upgrade/*.sql";

# One of an older server refuses a newer.
my ($PgDump) = grep { -x } map { "$_/pg_dump" } ($ENV{PG_BIN} // ()),
                                                split /:/, $ENV{PATH};

my %Made;           # databases, with their sessions
my $Operations = 0;

is migrate(database('fresh')), "schema: version 0 to $Last\n",
   'an empty database gets the schema at once';
is migrate('fresh'), "schema: version $Last, nothing to do\n",
   'and then has it';

database('old');
old_schema('old', 7);
shell("psql -X -q -v ON_ERROR_STOP=1 -v seats=60 -d '" . conninfo('old')
      . "' -f '$Conf/demo.sql'");
history();

my $Payments = 'concert.payments';
my $Before = everything();
cmp_ok scalar(split /\n/, $Before), '>', 10_000, 'there is much to keep';
is migrate('old'), "schema: version 7 to $Last\n",
   'a database of version 7 is brought up to date';

$Payments = 'concert.all_payments';
is everything(), $Before,
   'every balance, reservation, payment, seat and key is what it was';
is broken('old'), '', 'and every rule holds';

{
    my $dump = dump_of('old');

    is $dump, dump_of('fresh'),
       'what comes out is what a fresh database is, with the same rights';
    like $dump, qr/GRANT ALL ON FUNCTION concert\.pay\(/,
         'the service may run the operations, without being named again';
}

# what was asked before is answered as before
for my $again (
    ['a hold',   reserve(1, 3, '{1,2}', 1)],
    ['a charge', charge(1, 4)],
    ['a charge with a key', once()],
    ['a payment by card', claim('paid')])
{
    my ($what, $statement) = @$again;
    my $before = everything();

    like run('old', $statement), qr/\bok\b/, "$what that is asked again is answered";
    is everything(), $before, "and not done again: $what";
}

# and what goes on, goes on
is run('old', "select status from concert.reservations where seat_ids = '{9}'
               and schedule_id = 1"), 'HELD', 'a hold that has run out';
cmp_ok run('old', 'select expired from concert.expire(1000)'), '>=', 1,
       'is ended by the job';
is run('old', "select status from concert.reservations where seat_ids = '{9}'
               and schedule_id = 1"), 'EXPIRED', 'as it would have been';
is run('old', "select r.status from concert.settle(
                   array(select payment_id from concert.orders
                         where order_id = 'order-pending'), array['approved'],
                   array[60000], array[null], array[null]) r"), 'PAID',
   'a payment that was pending is settled';
is run('old', "select r.outcome || ' ' || r.status from concert.refund(
                   array[gen_random_uuid()],
                   array(select payment_id from concert.reservations
                         where seat_ids = '{5}' and schedule_id = 1),
                   array['It rains']) r"), 'ok REFUNDED',
   'what a balance paid can be given back';
is run('old', "select p.outcome from concert.reservations r,
                      concert.pay(array[gen_random_uuid()], array[r.user_id],
                                  array[r.reservation_id],
                                  array[r.total_price::bigint]) p
               where r.seat_ids = '{1,2}' and r.schedule_id = 1"), 'ok',
   'a hold can be paid';
is broken('old'), '', 'after that every rule holds';

# other versions
database('eight');
old_schema('eight', 8);
is migrate('eight'), "schema: version 8 to $Last\n", 'so is one of version 8';
is dump_of('eight', '-x'), dump_of('fresh', '-x'), 'with the same end';

database('six');
old_schema('six', 6);
like migrate('six'), qr/version 6, older than 7/,
     'one that is older than 7 is left alone';
is run('six', 'select max(version) from concert.schema_version'), 6,
   'as it was';

database('next');
migrate('next');
run('next', 'insert into concert.schema_version values (' . ($Last + 1) . ')');
like migrate('next'), qr/newer than this program/, 'so is one that is newer';

database('spoilt');
old_schema('spoilt', 7);
run('spoilt', 'alter table concert.seats rename column price to costs');
like migrate('spoilt'), qr/undone; the database stays at version 7/,
     'an upgrade that fails is undone';
is run('spoilt', "select count(*) from pg_proc
                  where pronamespace = 'concert'::regnamespace
                    and proname = 'lock_orders'"), 1, 'with all that it did';

done_testing;


# --- databases ----------------------------------------------------------------

sub name { return "concert_upgrade_$_[0]_$$" }
sub conninfo { return "$Owner dbname=" . name($_[0]) }

sub database {
    my ($name) = @_;

    sql('create database ' . name($name) . ' template template0');
    $Made{$name} = Concert::open_session(conninfo($name));
    return $name;
}

sub old_schema {
    my ($name, $version) = @_;
    my $file = $version > 7 ? "-f '$Conf/schema/upgrade/008.sql'" : '';

    shell("psql -X -q -v ON_ERROR_STOP=1 -o /dev/null -d '" . conninfo($name)
          . "' -f '$Old' $file");
    run($name, "insert into concert.schema_version (version)
                select generate_series(1, $version)");
    run($name, "select concert.grant_service('$Role')");
}

sub shell {
    my ($command) = @_;

    my $out = qx(PGOPTIONS='-c client_min_messages=warning' $command 2>&1);
    die "$command: $out" if $?;
    return $out;
}

# What it says; a fresh database is for the role, too.
sub migrate {
    my ($name) = @_;
    my $out = qx($Conf/stack/migrate '${\ conninfo($name)}' 2>&1);

    run($name, "select concert.grant_service('$Role')") if $name eq 'fresh';
    return $out;
}

sub dump_of {
    my ($name, $options) = @_;
    my $dump = shell("$PgDump -s " . ($options // '') . " -d '"
                     . conninfo($name) . "'");

    $dump =~ s/^\\(?:un)?restrict .*\n//mg;
    return $dump;
}

sub run {
    my ($name, $statement) = @_;

    my $out = $Made{$name}->run($statement);
    die "psql: $out\n$statement" if $out =~ /^(?:ERROR|FATAL): /m;
    return $out;
}

sub broken {
    return run($_[0], 'select rule, broken from concert.violations()
                       where broken > 0');
}


# --- a history ----------------------------------------------------------------

sub operation {
    return sprintf "'00000000-0000-4000-8000-%012x'", shift // ++$Operations + 1000;
}

# A hold of seats of schedule 1 for some time, ms.
sub reserve {
    my ($user, $hours, $seats, $operation) = @_;

    return 'select outcome from concert.reserve(array[' . operation($operation)
           . "::uuid], array[$user], array[1], array[1], array['$seats'], "
           . $hours * HOUR . ', null)';
}

sub charge {
    my ($user, $operation) = @_;

    return 'select outcome from concert.charge(array[' . operation($operation)
           . "::uuid], array[$user], array[7])";
}

sub once {
    return 'select outcome from concert.charge_once(array[' . operation(5)
           . "::uuid], array[2], array[11], array['key'], array['digest'])";
}

sub pay {
    my ($seats) = @_;

    return "select p.outcome from concert.reservations r,
                   concert.pay(array[" . operation() . "::uuid], array[r.user_id],
                               array[r.reservation_id], array[r.total_price]) p
            where r.schedule_id = 1 and r.seat_ids = '$seats'";
}

# An order of a known name for a reservation, or for a top-up.
sub order {
    my ($name, $seats) = @_;

    return "insert into concert.orders (order_id, user_id, reservation_id, amount)
            " . (defined $seats
                 ? "select 'order-$name', user_id, reservation_id, total_price
                    from concert.reservations
                    where schedule_id = 1 and seat_ids = '$seats'"
                   : "values ('order-$name', 9, null, 500)");
}

sub claim {
    my ($name) = @_;

    return "select c.outcome from concert.orders o,
                   concert.claim(array[" . operation() . "::uuid],
                       array[o.user_id], array[o.reservation_id],
                       array[o.amount::bigint], array[o.order_id], array['key'],
                       ${\ HOUR}, null) c
            where o.order_id = 'order-$name'";
}

sub settle {
    my ($name, $verdict) = @_;

    return "select s.outcome from concert.orders o,
                   concert.settle(array[o.payment_id], array['$verdict'],
                       array[o.amount::bigint], array['CODE'], array['Why']) s
            where o.order_id = 'order-$name'";
}

sub refund {
    my ($seats) = @_;

    return "select f.outcome from concert.reservations r,
                   concert.refund(array[" . operation() . "::uuid],
                                  array[r.payment_id], array['It rains']) f
            where r.schedule_id = 1 and r.seat_ids = '$seats'";
}

sub history {
    my $ok = sub {
        my ($statement) = @_;
        my $out = run('old', $statement);
        die "$out\n$statement" if $out !~ /^(?:ok|INSERT|)$/;
    };

    # there are more reservations than payments
    run('old', "select setval('concert.reservations_reservation_id_seq', 1000)");

    # holds that run, were given back, ran out and were ended, ran out
    $ok->(reserve(1, 3, '{1,2}', 1));
    $ok->(reserve(2, 3, '{3}'));
    $ok->("select outcome from concert.cancel(array[2],
              array(select reservation_id from concert.reservations
                    where seat_ids = '{3}'))");
    $ok->(reserve(3, -1, '{4}'));
    run('old', 'select concert.expire(10)');

    # from balances: paid, given back, of nothing
    $ok->(reserve(4, 3, $_)), $ok->(pay($_)) for '{5}', '{6,7,8}';
    $ok->(refund('{6,7,8}'));
    run('old', 'select concert.set_price(1, 50, 50, 0)');
    $ok->(reserve(4, 3, '{50}')), $ok->(pay('{50}'));

    # charges
    $ok->(charge(1, 4));
    $ok->(once());

    # cards: every state, of seats and of top-ups
    my %verdicts = (paid => ['approved'], given => ['approved'], pending => [],
                    declined => ['declined'], refunding => ['abandoned'],
                    refunded => ['refunded'], waiting => ['deposit'],
                    returned => ['approved', 'refunded'],
                    late => ['declined', 'approved']);
    my $seat = 20;

    for my $name (sort keys %verdicts) {
        my $seats = '{' . $seat++ . '}';

        $ok->(reserve(5, 3, $seats));
        $ok->(order($name, $seats)), $ok->(order("top-up-$name"));
        for my $order ($name, "top-up-$name") {
            $ok->(claim($order));
            $ok->(settle($order, $_)) for @{ $verdicts{$name} };
        }
    }

    $ok->(refund('{21}'));      # what a card has paid
    $ok->(order('unused'));

    # last, for it is only waiting to be ended
    $ok->(reserve(6, -1, '{9}'));
}

# Everything that the service can tell, with what it has done.
sub everything {
    return join "\n", map { run('old', $_) }
        'select a.account_id, b.balance from concert.accounts a,
                concert.balance(array[a.account_id::bigint]) b order by 1',
        'select a.account_id, p.* from concert.accounts a,
                concert.reservations_page(a.account_id, 9007199254740991, 1000) p
         order by 1, 2',
        'select operation, user_id, status, payment_id, created_at, hold_until
         from concert.reservations order by reservation_id',
        'select p.operation, q.* from ' . $Payments . ' p,
                concert.payment(p.user_id, p.payment_id) q order by 2',
        'select s.schedule_id, p.* from concert.schedules s,
                concert.seats_page(array[s.schedule_id], array[0::bigint],
                    array[null::bigint], array[0::bigint], array[1000::bigint]) p
         order by 1',
        'select s.schedule_id, p.* from concert.schedules s,
                concert.hall_page(s.schedule_id, 0, 1000) p order by 1, 2',
        'select pending, refunding, deposits from concert.unsettled()',
        'select * from concert.orders order by order_id',
        'select payment_id, operation, reason, created_at, finished_at
         from concert.refunds order by 1',
        'select * from concert.idempotency_keys order by 1, 2, 3',
        'select account_id, sum(amount), count(*) from concert.ledger
         group by 1 order by 1',
        'select * from concert.sales(0, 100, 1000000)';
}

END {
    local $?;
    undef $Made{$_}, drop_database(name($_)) for keys %Made;
}
