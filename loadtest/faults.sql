-- What must hold after faults.js or a drill, as in proof.sql: the ledger and the
-- reservations have all that the clients were told, and beyond it at most what
-- they could not be told.

-- A PostgreSQL that was killed now and then has no statistics of its tables.
select format('analyze %s', string_agg(c.oid::regclass::text, ', '))
from pg_class c
where c.relnamespace = 'concert'::regnamespace and c.relkind = 'r'
\gexec

with
k6 as (
    select :'summary'::jsonb -> 'metrics' as metrics
),
done (name, amount) as (
    select 'payment', coalesce(sum(l.amount), 0)
    from concert.ledger l
    where l.account_id = 0
    union all
    -- what came in for balances: a seat paid by card comes in too, for sales
    select 'charge',
           coalesce(sum(case t.debit_account when -1 then t.amount
                                             else -t.amount end), 0) - :charged
    from concert.transfers t
    where -1 in (t.debit_account, t.credit_account)
      and 0 not in (t.debit_account, t.credit_account)
    union all
    select 'reservation', count(*)
    from concert.reservations
    union all
    select 'cancel', count(*)
    from concert.reservations r
    where r.status = 'CANCELLED'
),
said as (
    select d.name, d.amount,
           coalesce((metrics -> ('told_' || d.name) ->> 'count')::numeric, 0)
               as told,
           coalesce((metrics -> ('unsure_' || d.name) ->> 'count')::numeric, 0)
               as unsure
    from done d
    cross join k6
)
select rule, broken
from concert.violations()
union all
select name || ': what was told was done, and no more than was asked',
       (amount not between told and told + unsure)::integer
from said
union all
select name || ': somebody was told', (told = 0)::integer
from said;
