# The role that nginx connects with may run the operations, and nothing else.

use strict;
use warnings;

use Test::More;

use Concert;

my $Conninfo = $ENV{TEST_NGINX_CONCERT_PG};
my $Owner = $ENV{TEST_NGINX_CONCERT_PG_OWNER} // $Conninfo;
my ($Role) = $Conninfo =~ /\buser=(\S+)/;

plan skip_all => 'the service connects as the owner' if $Conninfo eq $Owner;

my @Operations = sort qw(
    balance cancel charge charge_once claim claim_once concerts_page denied due
    expire extend_holds hall_page look_now pay pay_once payment place_order
    purge_keys purge_orders ready refund reservation reservations_page reserve
    reserve_once sales schedules_page seats_page settle unsettled warm
    warm_cards
);

# The columns that reads without rights of their own need.
my @Readable = (
    'accounts account_id', 'accounts balance',
    'concerts concert_id', 'concerts title',
    'schedules concert_id', 'schedules schedule_id', 'schedules starts_at',
    'schedules total_seats',
    'seats price', 'seats reservation_id', 'seats schedule_id',
    'seats seat_id',
);

my $Session = Concert::open_session($Conninfo);

# What psql says to a statement of the service.
sub as_service { return $Session->run(@_) }

# Those statements that were not refused for want of a right.
sub allowed {
    my (@statements) = @_;

    return grep { as_service($_)
                  !~ /^ERROR:  (?:permission denied|must be owner)/ }
                @statements;
}

is as_service('select current_user'), $Role,
   'the service has a role of its own';

# tables
{
    my @tables = split /\n/, sql(
        "select 'concert.' || relname from pg_class
         where relnamespace = 'concert'::regnamespace
           and relkind = 'r'");
    my @columns = split /\n/, sql(
        "select format('%s %s', c.relname, a.attname)
         from pg_class c
         join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
         where c.relnamespace = 'concert'::regnamespace
           and c.relkind in ('r', 'v')
         order by 1");

    cmp_ok scalar @tables, '>=', 8, 'there are tables';

    is_deeply [ allowed(map { ("delete from $_", "truncate $_",
                               "insert into $_ default values",
                               "begin; lock table $_ in access share mode; end",
                               "drop table $_") } @tables) ],
              [], 'no table can be written, locked or dropped';
    is_deeply [ grep { my ($t, $c) = split;
                       grep { $_ eq "concert.$t" } @tables
                       and allowed("update concert.$t set $c = default") }
                     @columns ],
              [], 'no column can be changed';
    is_deeply [ grep { my ($t, $c) = split;
                       allowed("select $c from concert.$t limit 0") }
                     @columns ],
              \@Readable, 'only the columns of the four quick reads can be read';
    is_deeply [ allowed('select account_id from concert.accounts for update',
                        'select seat_id from concert.seats for key share') ],
              [], 'and their rows cannot be locked';
}

# functions
{
    my @functions = split /\n/, sql(
        "select format('%s|select concert.%s(%s)', proname, proname,
                       (select string_agg(format('null::%I.%I', n.nspname,
                                                 t.typname), ',' order by i)
                        from unnest(proargtypes) with ordinality a (type, i)
                        join pg_type t on t.oid = a.type
                        join pg_namespace n on n.oid = t.typnamespace))
         from pg_proc
         where pronamespace = 'concert'::regnamespace
           and prorettype <> 'trigger'::regtype
           and 'anyarray'::regtype <> all (proargtypes)
         order by proname");
    my (@open, @shut);

    for (@functions) {
        my ($name, $statement) = split /\|/;
        my $out = as_service("begin; $statement; rollback");

        push @{ $out =~ /^ERROR:  permission denied for function \Q$name\E$/m
                ? \@shut : \@open }, $name;
    }

    is_deeply \@open, \@Operations, 'the operations can be run';

    for (qw( add_concert add_schedule add_user grant_service keep_answer
             lock_reservations set_price violations ))
    {
        my $name = $_;
        ok scalar(grep { $_ eq $name } @shut), "$name cannot be run";
    }

    is sql("select count(*) from pg_proc
            where pronamespace = 'concert'::regnamespace
              and prosecdef
              and ('search_path=pg_catalog, pg_temp' = any (proconfig))
                  is not true"), 0,
       'a function with rights of its own has a search_path of its own';
}

is_deeply [ allowed('create table concert.mine (id bigint)',
                    'create table public.mine (id bigint)',
                    'create temp table mine (id bigint)',
                    'create schema mine',
                    'create function concert.balance(bigint) returns bigint
                     language sql return 1',
                    "set session_replication_role = 'replica'",
                    'alter table concert.transfers disable trigger all',
                    'set role concert',
                    "select nextval('concert.reservations_reservation_id_seq')") ],
          [], 'nothing can be created, and no trigger be passed by';

# what the service does with that
{
    my $nginx = nginx();
    my $ann = $nginx->client(user());
    my $schedule = schedule(price => 100);

    is $ann->enter->json->{status}, 'ACTIVE', 'one enters';
    is $ann->charge(300)->status, 200, 'one charges';
    is $ann->balance, 300, 'one has a balance';
    is $ann->get('/api/concerts?size=1')->status, 200, 'one sees concerts';
    is scalar @{ $ann->get('/api/concerts/schedules/' . concert_of($schedule))
                     ->json }, 1, 'one sees schedules';
    is scalar @{ $ann->get("/api/concerts/seats/$schedule")->json }, 5,
       'one sees seats';

    my $given = $ann->reserve($schedule, 4)->json->{reservationId};
    is $ann->delete("/api/reservations/$given")->status, 204,
       'one gives a hold back, and the check at commit can read';

    my $held = $ann->reserve($schedule, 1, 2)->json->{reservationId};
    is $ann->get("/api/reservations/$held")->json->{status}, 'HELD',
       'one sees a reservation';

    my $paid = $ann->pay($held, 200)->json->{paymentId};
    is $ann->get("/api/reservations/payments/$paid")->json->{amount}, 200,
       'one pays';
    is scalar @{ $ann->get('/api/reservations')->json }, 2,
       'one sees all reservations';
    is $ann->balance, 100, 'and what was paid is gone';

    my $key = $ann->put('/api/balance/charge',
                        { userId => 0 + $ann->id, amount => 1 },
                        'Idempotency-Key' => 'k' . $ann->id);
    is $key->status, 200, 'one charges with a key';

    $nginx->stop;
    is_deeply [ grep { /permission denied/ } $nginx->log ], [],
              'and nothing was denied';
}

# grants that are missing
{
    my $database = "concert_test_$$";
    my $service = "$Conninfo dbname=$database";
    my $owner = "$Owner dbname=$database";
    my $migrate = "$ENV{TEST_NGINX_CONCERT_CONF}/stack/migrate";

    my ($last) = reverse map { m{(\d+)\.sql$} ? 0 + $1 : () }
                 sort glob "$ENV{TEST_NGINX_CONCERT_CONF}/schema/upgrade/*.sql";

    sql("create database $database");
    is qx($migrate '$owner' 2>&1), "schema: version 0 to $last\n",
       'migrate grants nothing to nobody';

    my $nginx = nginx(http => qq{concert_postgres "$service";});
    my $ann = $nginx->client(stranger());

    eventually { grep { /\[error\].*role\ "$Role"\ may\ not\ run\ all\ operations:
                         .*conf\/stack\/migrate\ .*concert-migrate\)\ "[^"]*"
                         \ $Role\ ERROR:/x }
                      $nginx->log }
               'without any grant the log says how to give it';
    is_problem $ann->charge(1), 'store_unavailable',
               'without any grant nothing is served';
    is $nginx->nobody->get('/readyz')->status, 503,
       'without any grant the service is not ready';

    like qx($migrate '$owner' $Role 2>&1), qr/role $Role may run/,
         'migrate grants the operations';
    eventually { $nginx->nobody->get('/readyz')->status == 200 }
               'with the grants the service is ready, without a restart';

    $nginx->quit;

    sub in_database {
        return qx(psql -XAtq -d '$owner' -c "$_[0]" 2>&1);
    }

    in_database("revoke execute on function concert.pay from $Role");
    $nginx = nginx(http => qq{concert_postgres "$service";});

    eventually { grep { /\[error\].*role "$Role" may not run pay:/ }
                      $nginx->log }
               'where one operation is missing the log names it';
    is $nginx->nobody->get('/readyz')->status, 503,
       'where one operation is missing the service is not ready';
    $nginx->quit;

    like in_database("select concert.renew_service()"), qr/^$/,
         'grants can be renewed';
    is in_database("set role $Role; select concert.denied() is null"), "t\n",
       'and then all are there';

    like qx($migrate '$owner' nobody_$$ 2>&1),
         qr/role "nobody_$$" does not exist.*nothing was granted/s,
         'migrate grants nothing to a role that does not exist';
    like qx($migrate '$owner' concert 2>&1),
         qr/may do all that the owner .* a role of its own.*nothing/s,
         'the owner is no role for the service';

    in_database("grant select on concert.payments to public");
    in_database("grant create on schema concert to public");
    qx($migrate '$owner' $Role 2>&1);
    like in_database("set role $Role; select payment_id from concert.payments")
         . in_database("set role $Role; create table concert.t (i bigint)"),
         qr/denied for table payments\n.*denied for schema concert\n/,
         'migrate revokes what everybody may do';

    in_database("create schema other; grant create on schema other to public");
    like qx($migrate '$owner' $Role 2>&1),
         qr/may also create in schema other.*Revoke that/s,
         'migrate refuses a role that may do more';

    drop_database($database);
}

done_testing;
