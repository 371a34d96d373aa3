-- The operations: one function is one round trip.
--
-- A function that writes, or that many ask at once, takes arrays, one element a
-- request, and returns one row a request, in their order.  A write's rows have
-- an outcome, which is 'ok' or a code of the API: a conflict is an outcome and
-- never an error.  "p_operations" are ids given by the caller; an operation
-- that was done already is not done again but answered from what it wrote, so a
-- caller that lost its connection may ask again.  Times leave as milliseconds
-- since the epoch.
--
-- Requests of one call that want the same (a seat, a balance) are told apart in
-- rounds: each answers what cannot succeed any more, and does what shares
-- nothing with an earlier request that can.
--
-- The module's connections plan a statement once (store/postgres.c), perhaps
-- while the tables are empty, so each must be written so that only keys can lead
-- to its rows: "lateral ... limit 1" and "= any" leave no other plan.
--
-- "security definer" marks the operations that 004_service.sql grants.

create function concert.epoch_ms(p_time timestamptz) returns bigint
language sql stable parallel safe as $$
    select floor(extract(epoch from p_time) * 1000)::bigint
$$;


-- Reads.

create function concert.ready() returns table (version integer)
language sql stable
security definer set search_path = pg_catalog, pg_temp as $$
    select max(v.version)
    from concert.schema_version v
$$;

-- A null balance: there is no such user.

create function concert.balance(p_users bigint[])
returns table (request bigint, balance bigint)
language sql stable as $$
    select u.request, (select a.balance
                       from concert.accounts a
                       where a.account_id = u.user_id)
    from unnest(p_users) with ordinality as u (user_id, request)
$$;

create function concert.concerts_page(p_after bigint, p_size integer)
returns table (concert_id bigint, title text)
language sql stable as $$
    select c.concert_id, c.title
    from concert.concerts c
    where c.concert_id > p_after
    order by c.concert_id
    limit p_size
$$;

-- No row: there is no such concert.  A null schedule_id: it has none to show.

create function concert.schedules_page(p_concert bigint, p_after bigint,
                                       p_size integer)
returns table (schedule_id bigint, starts_ms bigint, total_seats integer)
language sql stable as $$
    select s.schedule_id, floor(extract(epoch from s.starts_at) * 1000)::bigint,
           s.total_seats
    from concert.concerts c
    left join lateral (
        select i.schedule_id, i.starts_at, i.total_seats
        from concert.schedules i
        where i.concert_id = c.concert_id
          and i.schedule_id > p_after
          and i.starts_at > now()
        order by i.schedule_id
        limit p_size
    ) s on true
    where c.concert_id = p_concert
$$;

-- Free seats after p_afters[i] and, where p_ends[i] is at or before it, on from
-- the first seat round to p_ends[i].  Without p_afters[i] the walk starts and
-- ends at a place that p_spreads[i] (any number >= 0) names.  A null schedule_id:
-- there is no such schedule.  Null seats: nothing is free.

create function concert.seats_page(p_schedules bigint[], p_afters bigint[],
                                   p_ends bigint[], p_spreads bigint[],
                                   p_sizes bigint[])
returns table (request bigint, schedule_id bigint, seats integer[],
               prices bigint[])
language sql stable as $$
    select q.request, s.schedule_id, f.seats, f.prices
    from unnest(p_schedules, p_afters, p_ends, p_spreads, p_sizes)
         with ordinality as q (schedule_id, after, upto, spread, size, request)
    left join lateral (
        select i.schedule_id, i.starts_at,
               coalesce(q.after, q.spread % greatest(i.total_seats, 1)) as start
        from concert.schedules i
        where i.schedule_id = q.schedule_id
        limit 1
    ) s on true
    left join lateral (
        select array_agg(g.seat_id) as seats, array_agg(g.price) as prices
        from (
            (select i.seat_id, i.price
             from concert.seats i
             where i.schedule_id = q.schedule_id
               and i.reservation_id is null
               and i.seat_id > s.start
               and (q.upto is null or q.after is null or q.upto <= q.after
                    or i.seat_id <= q.upto)
             order by i.seat_id
             limit q.size)
            union all
            (select i.seat_id, i.price
             from concert.seats i
             where i.schedule_id = q.schedule_id
               and i.reservation_id is null
               and i.seat_id <= case when q.after is null then s.start
                                     when q.upto <= q.after then q.upto
                                     else 0 end
             order by i.seat_id
             limit q.size)
            limit q.size
        ) g
    ) f on s.starts_at > now()
$$;

-- All seats after p_after, for a hall plan.  The row judges: a seat whose hold
-- has run out is free, although seats_page shows it only when its row says so.
-- A seat that is claimed for payment is SOLD, as its row does not tell one from
-- the other.  No row: there is no such schedule.  A null seat_id: it has begun.

create function concert.hall_page(p_schedule bigint, p_after bigint,
                                  p_size integer)
returns table (seat_id integer, status text, price bigint)
language plpgsql stable
security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    return query
    select h.seat_id,
           case when h.hold_until <= now() then 'AVAILABLE'
                when h.hold_until = 'infinity' then 'SOLD'
                when h.seat_id is not null then 'HELD'
           end,
           h.price
    from concert.schedules s
    left join lateral (
        select i.seat_id, i.price, i.hold_until
        from concert.seats i
        where i.schedule_id = p_schedule
          and i.seat_id > p_after
        order by i.seat_id
        limit p_size
    ) h on s.starts_at > now()
    where s.schedule_id = p_schedule;
end
$$;

create function concert.reservation_status(p_status text, p_hold_until timestamptz)
returns text
language sql stable as $$
    select case when p_status = 'HELD' and p_hold_until <= now() then 'EXPIRED'
                else p_status end
$$;

create function concert.reservations_page(p_user bigint, p_before bigint,
                                          p_size integer)
returns table (reservation_id bigint, concert_id bigint, title text,
               schedule_id bigint, seats text, total_price bigint,
               status text, expires_ms bigint)
language plpgsql stable
security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    return query
    select r.reservation_id, s.concert_id, c.title, r.schedule_id,
           array_to_string(r.seat_ids, ','), r.total_price,
           concert.reservation_status(r.status, r.hold_until),
           concert.epoch_ms(r.hold_until)
    from (
        select *
        from concert.reservations i
        where i.user_id = p_user
          and i.reservation_id < p_before
        order by i.reservation_id desc
        limit p_size
    ) r
    join concert.schedules s on s.schedule_id = r.schedule_id
    join concert.concerts c on c.concert_id = s.concert_id
    order by r.reservation_id desc;
end
$$;

create function concert.reservation(p_user bigint, p_reservation bigint)
returns table (reservation_id bigint, concert_id bigint, title text,
               schedule_id bigint, seats text, total_price bigint,
               status text, expires_ms bigint)
language plpgsql stable
security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    return query
    select r.reservation_id, s.concert_id, c.title, r.schedule_id,
           array_to_string(r.seat_ids, ','), r.total_price,
           concert.reservation_status(r.status, r.hold_until),
           concert.epoch_ms(r.hold_until)
    from concert.reservations r
    join concert.schedules s on s.schedule_id = r.schedule_id
    join concert.concerts c on c.concert_id = s.concert_id
    where r.reservation_id = p_reservation
      and r.user_id = p_user;
end
$$;


-- Adds to balances.  Locks the accounts.

create function concert.charge(p_operations uuid[], p_users bigint[],
                               p_amounts bigint[])
returns table (request bigint, outcome text, balance bigint)
language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_left  bigint[] := array(select generate_subscripts(p_operations, 1));
begin
    perform
    from concert.accounts a
    where a.account_id = any (p_users)
    order by a.account_id
    for no key update;

    while cardinality(v_left) > 0 loop
        for request, outcome, balance in
            with judged as materialized (
                select q.*, a.balance, t.operation is not null as done,
                       case when a.balance is null then 'user_not_found'
                            when t.operation is null
                                 and a.balance > 9007199254740991 - q.amount
                                then 'balance_limit'
                            else 'ok'
                       end as outcome
                from unnest(p_operations, p_users, p_amounts) with ordinality
                     as q (operation, user_id, amount, request)
                left join lateral (select a.balance
                                   from concert.accounts a
                                   where a.account_id = q.user_id
                                   limit 1) a on true
                left join lateral (select t.operation
                                   from concert.transfers t
                                   where t.operation = q.operation
                                   limit 1) t on true
                where q.request = any (v_left)
            ), due as materialized (
                select distinct on (user_id) *
                from judged
                where outcome = 'ok'
                  and not done
                order by user_id, request
            ), moved as (
                insert into concert.transfers
                    (operation, debit_account, credit_account, amount)
                select operation, -1, user_id, amount
                from due
            )
            select request, outcome, balance
            from judged
            where outcome <> 'ok'
               or done
            union all
            select request, outcome, balance + amount
            from due
        loop
            v_left := array_remove(v_left, request);
            return next;
        end loop;
    end loop;
end
$$;


-- Holds seats, all or none a request.  "p_seats" has an array of seat ids, as
-- text, for each request.  p_user_limit null: no limit.  Locks the seats, then
-- (with a limit) the accounts.  "seats" are the seats held or, with
-- 'seat_taken', those that somebody else has.

create function concert.reserve(p_operations uuid[], p_users bigint[],
                                p_concerts bigint[], p_schedules bigint[],
                                p_seats text[], p_hold_ms bigint,
                                p_user_limit bigint)
returns table (request bigint, outcome text, reservation_id bigint,
               title text, seats text, total_price bigint, status text,
               expires_ms bigint)
language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_now    timestamptz;
    v_until  timestamptz;
    v_left   bigint[] := array(select generate_subscripts(p_operations, 1));
begin
    perform
    from concert.seats s
    where (s.schedule_id, s.seat_id) in
          (select q.schedule_id, unnest(q.seats::bigint[])
           from unnest(p_schedules, p_seats) as q (schedule_id, seats))
    order by s.schedule_id, s.seat_id
    for no key update;

    if p_user_limit is not null then
        perform
        from concert.accounts a
        where a.account_id = any (p_users)
        order by a.account_id
        for no key update;
    end if;

    v_now := clock_timestamp();
    v_until := date_trunc('milliseconds', v_now + p_hold_ms * interval '1 ms');

    while cardinality(v_left) > 0 loop
        for request, outcome, reservation_id, title, seats, total_price, status,
            expires_ms
        in
            with judged as materialized (
                select q.request, q.operation, q.user_id, q.schedule_id, s.title,
                       w.found, w.price, d.reservation_id, d.seat_ids, d.total_price,
                       d.status, d.hold_until,
                       case when s.starts_at is null then 'schedule_not_found'
                            when d.reservation_id is not null then 'ok'
                            when not exists (select
                                             from concert.accounts a
                                             where a.account_id = q.user_id)
                                then 'user_not_found'
                            when s.starts_at <= v_now then 'sale_closed'
                            when s.sale_opens_at > v_now then 'sale_not_open'
                            when w.found is null
                                 or cardinality(w.found)
                                    < cardinality(q.seats::bigint[])
                                then 'seat_not_found'
                            when w.taken then 'seat_taken'
                            when p_user_limit is not null
                                 and cardinality(w.found) > p_user_limit
                                     - concert.seats_of_user(
                                           q.user_id, q.schedule_id, v_now)
                                then 'seat_limit'
                            else 'ok'
                       end as outcome
                from unnest(p_operations, p_users, p_concerts, p_schedules, p_seats)
                     with ordinality as q (operation, user_id, concert_id,
                                           schedule_id, seats, request)
                left join lateral (
                    select s.starts_at, s.sale_opens_at, c.title
                    from concert.schedules s
                    join concert.concerts c on c.concert_id = s.concert_id
                    where s.schedule_id = q.schedule_id
                      and s.concert_id = q.concert_id
                    limit 1
                ) s on true
                left join lateral (
                    select *
                    from concert.reservations d
                    where d.operation = q.operation
                    limit 1
                ) d on true
                left join lateral (
                    select array_agg(x.seat_id order by x.seat_id) as found,
                           bool_or(x.hold_until > v_now) as taken,
                           sum(x.price)::bigint as price
                    from concert.seats x
                    where x.schedule_id = q.schedule_id
                      and x.seat_id = any (q.seats::bigint[])
                ) w on true
                where q.request = any (v_left)
            ), due as materialized (
                select j.*
                from judged j
                where j.outcome = 'ok'
                  and j.reservation_id is null
                  and not exists (select
                                  from judged e
                                  where e.request < j.request
                                    and e.outcome = 'ok'
                                    and e.schedule_id = j.schedule_id
                                    and (e.found && j.found
                                         or (e.user_id = j.user_id
                                             and p_user_limit is not null)))
            ), held as (
                insert into concert.reservations
                    (operation, user_id, schedule_id, seat_ids, total_price,
                     status, hold_until)
                select operation, user_id, schedule_id, found, price, 'HELD', v_until
                from due
                returning reservation_id, operation, schedule_id, seat_ids
            ), taken as (
                update concert.seats s
                set reservation_id = h.reservation_id,
                    hold_until = v_until
                from (select reservation_id, schedule_id,
                             unnest(seat_ids) as seat_id
                      from held) h
                where s.schedule_id = h.schedule_id
                  and s.seat_id = h.seat_id
            )
            select request, outcome, reservation_id, title,
                   case when outcome = 'seat_taken'
                        then (select string_agg(x.seat_id::text, ','
                                                order by x.seat_id)
                              from concert.seats x
                              where x.schedule_id = j.schedule_id
                                and x.seat_id = any (j.found)
                                and x.hold_until > v_now)
                        else array_to_string(seat_ids, ',')
                   end,
                   total_price,
                   concert.reservation_status(status, hold_until),
                   concert.epoch_ms(hold_until)
            from judged j
            where outcome <> 'ok'
               or reservation_id is not null
            union all
            select d.request, d.outcome, h.reservation_id, d.title,
                   array_to_string(d.found, ','), d.price, 'HELD',
                   concert.epoch_ms(v_until)
            from due d
            join held h on h.operation = d.operation
        loop
            v_left := array_remove(v_left, request);
            return next;
        end loop;
    end loop;
end
$$;

-- The seats that a user has, held and paid, in a schedule.

create function concert.seats_of_user(p_user bigint, p_schedule bigint,
                                      p_now timestamptz)
returns bigint
language sql stable as $$
    select coalesce(sum(cardinality(r.seat_ids)), 0)
    from concert.reservations r
    where r.user_id = p_user
      and r.schedule_id = p_schedule
      and (r.status in ('PAYING', 'PAID')
           or (r.status = 'HELD' and r.hold_until > p_now))
$$;

-- Locks the seats of reservations, then the reservations: the first step of
-- whatever ends one.

create function concert.lock_reservations(p_reservations bigint[]) returns void
language plpgsql as $$
begin
    perform
    from concert.seats s
    where (s.schedule_id, s.seat_id) in
          (select r.schedule_id, unnest(r.seat_ids)
           from concert.reservations r
           where r.reservation_id = any (p_reservations))
    order by s.schedule_id, s.seat_id
    for no key update;

    perform
    from concert.reservations r
    where r.reservation_id = any (p_reservations)
    order by r.reservation_id
    for no key update;
end
$$;

-- What stands against ending a hold at p_now, or null.

create function concert.hold_conflict(p_status text, p_hold_until timestamptz,
                                      p_now timestamptz)
returns text
language sql immutable as $$
    select case
        when p_status = 'PAID' then 'reservation_paid'
        when p_status = 'PAYING' then 'payment_in_progress'
        when p_status = 'CANCELLED' then 'reservation_cancelled'
        when p_status = 'EXPIRED' or p_hold_until <= p_now
            then 'reservation_expired'
    end
$$;


-- Pays reservations from their users' balances.  Locks the seats, the
-- reservations, the accounts.

create function concert.pay(p_operations uuid[], p_users bigint[],
                            p_reservations bigint[], p_amounts bigint[])
returns table (request bigint, outcome text, payment_id bigint,
               amount bigint, paid_ms bigint)
language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_now   timestamptz;
    v_left  bigint[] := array(select generate_subscripts(p_operations, 1));
begin
    perform concert.lock_reservations(p_reservations);

    perform
    from concert.accounts a
    where a.account_id = any (p_users)
    order by a.account_id
    for no key update;

    v_now := clock_timestamp();

    while cardinality(v_left) > 0 loop
        for request, outcome, payment_id, amount, paid_ms in
            with judged as materialized (
                select q.*, r.schedule_id, r.seat_ids,
                       d.payment_id, d.amount as paid, d.created_at,
                       case when d.payment_id is not null then 'ok'
                            when r.reservation_id is null
                                then 'reservation_not_found'
                            else coalesce(
                                concert.hold_conflict(r.status, r.hold_until, v_now),
                                case when r.total_price <> q.amount
                                     then 'amount_mismatch'
                                     when a.balance < q.amount
                                     then 'insufficient_balance'
                                     else 'ok' end)
                       end as outcome
                from unnest(p_operations, p_users, p_reservations, p_amounts)
                     with ordinality as q (operation, user_id, reservation_id,
                                           amount, request)
                left join lateral (
                    select *
                    from concert.payments d
                    where d.operation = q.operation
                    limit 1
                ) d on true
                left join lateral (
                    select *
                    from concert.reservations r
                    where r.reservation_id = q.reservation_id
                      and r.user_id = q.user_id
                    limit 1
                ) r on true
                left join lateral (
                    select a.balance
                    from concert.accounts a
                    where a.account_id = q.user_id
                    limit 1
                ) a on true
                where q.request = any (v_left)
            ), due as materialized (
                select distinct on (user_id) *
                from judged
                where outcome = 'ok'
                  and payment_id is null
                order by user_id, request
            ), moved as (
                insert into concert.transfers
                    (operation, debit_account, credit_account, amount, created_at)
                select operation, user_id, 0, amount, v_now
                from due
                where amount > 0
                returning transfer_id, operation
            ), paid as (
                insert into concert.payments
                    (operation, reservation_id, user_id, amount, method, status,
                     transfer_id, created_at)
                select operation, reservation_id, user_id, amount, 'balance', 'PAID',
                       (select m.transfer_id
                        from moved m
                        where m.operation = d.operation),
                       v_now
                from due d
                returning payment_id, reservation_id
            ), sold as (
                update concert.reservations r
                set status = 'PAID',
                    payment_id = p.payment_id
                from paid p
                where r.reservation_id = p.reservation_id
                  and r.reservation_id = any (p_reservations)
            ), kept as (
                update concert.seats s
                set hold_until = 'infinity'
                from (select reservation_id, schedule_id,
                             unnest(seat_ids) as seat_id
                      from due) d
                where s.schedule_id = d.schedule_id
                  and s.seat_id = d.seat_id
                  and s.reservation_id = d.reservation_id
            )
            select request, outcome, payment_id, paid, concert.epoch_ms(created_at)
            from judged
            where outcome <> 'ok'
               or payment_id is not null
            union all
            select d.request, d.outcome, p.payment_id, d.amount,
                   concert.epoch_ms(v_now)
            from due d
            join paid p on p.reservation_id = d.reservation_id
        loop
            v_left := array_remove(v_left, request);
            return next;
        end loop;
    end loop;
end
$$;


-- For a new connection that will write: runs the operations on nothing, so that
-- the first who asks does not wait for tables and plans to be loaded.

create function concert.warm() returns table (version integer)
language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    perform concert.charge(array[gen_random_uuid()], array[0], array[0]);
    perform concert.reserve(array[gen_random_uuid()], array[0], array[0], array[0],
                            array['{0}'], 0, null);
    perform concert.pay(array[gen_random_uuid()], array[0], array[0], array[0]);
    perform concert.cancel(array[0], array[0]);

    return query select r.version from concert.ready() r;
end
$$;


-- Gives holds back.  Cancelling twice is 'ok' both times.  Locks the seats,
-- the reservations.

create function concert.cancel(p_users bigint[], p_reservations bigint[])
returns table (request bigint, outcome text)
language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_now   timestamptz;
begin
    perform concert.lock_reservations(p_reservations);

    v_now := clock_timestamp();

    return query
    with judged as materialized (
        select q.request, r.reservation_id, r.schedule_id, r.seat_ids, r.status,
               case when r.reservation_id is null then 'reservation_not_found'
                    when r.status = 'CANCELLED' then 'ok'
                    else coalesce(concert.hold_conflict(r.status, r.hold_until,
                                                        v_now), 'ok')
               end as outcome
        from unnest(p_users, p_reservations) with ordinality
             as q (user_id, reservation_id, request)
        left join lateral (
            select *
            from concert.reservations r
            where r.reservation_id = q.reservation_id
              and r.user_id = q.user_id
            limit 1
        ) r on true
    ), ended as materialized (
        select distinct on (reservation_id) reservation_id, schedule_id, seat_ids
        from judged
        where outcome = 'ok'
          and status = 'HELD'
        order by reservation_id
    ), cancelled as (
        update concert.reservations r
        set status = 'CANCELLED'
        from ended e
        where r.reservation_id = e.reservation_id
          and r.reservation_id = any (p_reservations)
    ), freed as (
        update concert.seats s
        set reservation_id = null,
            hold_until = '-infinity'
        from (select reservation_id, schedule_id, unnest(seat_ids) as seat_id
              from ended) e
        where s.schedule_id = e.schedule_id
          and s.seat_id = e.seat_id
          and s.reservation_id = e.reservation_id
    )
    select request, outcome
    from judged;
end
$$;


-- Frees the seats of holds that ran out, at most p_limit of them; returns how
-- many.  Any number of instances may call it; one works, the others return at
-- once.  Locks the seats, the reservations.

create function concert.expire(p_limit integer) returns table (expired bigint)
language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_ids  bigint[];
begin
    expired := 0;

    if not pg_try_advisory_xact_lock(hashtext('concert.expire')) then
        return next;
        return;
    end if;

    v_ids := array(select r.reservation_id
                   from concert.reservations r
                   where r.status = 'HELD'
                     and r.hold_until <= now()
                   order by r.hold_until
                   limit p_limit);

    if cardinality(v_ids) > 0 then
        perform concert.lock_reservations(v_ids);

        v_ids := array(select r.reservation_id
                       from concert.reservations r
                       where r.reservation_id = any (v_ids)
                         and r.status = 'HELD');

        update concert.seats s
        set reservation_id = null,
            hold_until = '-infinity'
        from (select r.schedule_id, unnest(r.seat_ids) as seat_id, r.reservation_id
              from concert.reservations r
              where r.reservation_id = any (v_ids)) e
        where s.schedule_id = e.schedule_id
          and s.seat_id = e.seat_id
          and s.reservation_id = e.reservation_id;

        update concert.reservations r
        set status = 'EXPIRED'
        where r.reservation_id = any (v_ids);

        expired := cardinality(v_ids);
    end if;

    return next;
end
$$;


-- Loading a real sale.

create function concert.add_concert(p_title text) returns bigint
language sql as $$
    insert into concert.concerts (title)
    values (p_title)
    returning concert_id
$$;

-- A schedule with seats 1..p_seats of one price; p_sale_opens_at null: at once.

create function concert.add_schedule(p_concert bigint, p_starts_at timestamptz,
                                     p_seats integer, p_price bigint,
                                     p_sale_opens_at timestamptz default null)
returns bigint
language plpgsql as $$
declare
    v_schedule  bigint;
begin
    insert into concert.schedules
        (concert_id, starts_at, sale_opens_at, total_seats)
    values (p_concert, p_starts_at, p_sale_opens_at, p_seats)
    returning schedule_id into v_schedule;

    insert into concert.seats (schedule_id, seat_id, price)
    select v_schedule, g, p_price
    from generate_series(1, p_seats) as g;

    return v_schedule;
end
$$;

-- Gives seats p_from..p_to another price; returns how many.  Holds keep the
-- price that they were made at.

create function concert.set_price(p_schedule bigint, p_from integer, p_to integer,
                                  p_price bigint)
returns bigint
language plpgsql as $$
declare
    v_changed  bigint;
begin
    perform
    from concert.seats s
    where s.schedule_id = p_schedule
      and s.seat_id between p_from and p_to
    order by s.seat_id
    for no key update;

    update concert.seats s
    set price = p_price
    where s.schedule_id = p_schedule
      and s.seat_id between p_from and p_to;

    get diagnostics v_changed = row_count;
    return v_changed;
end
$$;

-- An account with an opening balance, paid in through the gateway's account.

create function concert.add_user(p_user bigint, p_balance bigint default 0)
returns void
language plpgsql as $$
begin
    insert into concert.accounts (account_id)
    values (p_user);

    if p_balance > 0 then
        insert into concert.transfers
            (operation, debit_account, credit_account, amount)
        values (gen_random_uuid(), -1, p_user, p_balance);
    end if;
end
$$;
