-- What monitoring may ask, and nothing else: four functions in a schema of
-- their own, for the role concert_monitor.  Run by the owner of the schema
-- concert, as often as one likes, and again after each migration.
--
-- invariants() reads every seat, reservation and transfer: 0.2 s on the demo
-- data, and as many times longer as there is more of it.  The others
-- read every payment, transfer and reservation.

create schema if not exists monitor;

-- concert.violations(), and whether a rule is about seats or about money.

create or replace function monitor.invariants()
returns table (rule text, about text, broken bigint)
language sql stable
security definer set search_path = pg_catalog, pg_temp as $$
    select v.rule, case when v.rule like '%seat%' then 'seats' else 'money' end,
           v.broken
    from concert.violations() v
$$;

-- Payments of each kind and state, those that there are none of too: a figure
-- that begins with its first row would lose that row's growth.

create or replace function monitor.payments()
returns table (method text, status text, number bigint, won bigint)
language sql stable
security definer set search_path = pg_catalog, pg_temp as $$
    with paid as (
        select case when p.reservation_id is null then 'topup'
                    else p.method end as method,
               p.status, count(*) as number, sum(p.amount) as won
        from concert.all_payments p
        group by 1, 2
    )
    select m.method, s.status, coalesce(p.number, 0), coalesce(p.won, 0)::bigint
    from unnest(array['balance', 'card', 'topup']) as m (method)
    cross join unnest(array['PENDING', 'PAID', 'DECLINED', 'REFUNDING',
                            'REFUNDED']) as s (status)
    left join paid p on p.method = m.method
                    and p.status = s.status
$$;

-- What sales, the gateway and all users have; together it is 0.

create or replace function monitor.ledger()
returns table (account text, won bigint)
language sql stable
security definer set search_path = pg_catalog, pg_temp as $$
    with entries as (
        select case l.account_id when 0 then 'sales'
                                 when -1 then 'gateway'
                                 else 'users' end as account,
               sum(l.amount)::bigint as won
        from concert.ledger l
        group by 1
    )
    select a.account, coalesce(e.won, 0)
    from unnest(array['sales', 'gateway', 'users']) as a (account)
    left join entries e on e.account = a.account
$$;

-- Reservations and their seats by state.

create or replace function monitor.reservations()
returns table (status text, number bigint, seats bigint)
language sql stable
security definer set search_path = pg_catalog, pg_temp as $$
    with reserved as (
        select case when r.status = 'HELD' and r.hold_until <= now()
                    then 'EXPIRED' else r.status end as status,
               count(*) as number, sum(cardinality(r.seat_ids)) as seats
        from concert.reservations r
        group by 1
    )
    select s.status, coalesce(r.number, 0), coalesce(r.seats, 0)
    from unnest(array['HELD', 'PAYING', 'PAID', 'EXPIRED', 'CANCELLED'])
         as s (status)
    left join reserved r on r.status = s.status
$$;

revoke all on schema monitor from public;
revoke all on all functions in schema monitor from public;
grant usage on schema monitor to concert_monitor;
grant execute on all functions in schema monitor to concert_monitor;
