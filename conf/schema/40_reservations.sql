-- Holding seats and giving them back.
--
-- A function that writes, or that many ask at once, takes arrays, one element a
-- request, and returns one row a request.  A write's rows have an outcome, which
-- is 'ok' or a code of the API: a conflict is an outcome and never an error.
-- "p_operations" are ids given by the caller; an operation that was done already
-- is not done again but answered from what it wrote, so a caller that lost its
-- connection may ask again.  Times leave as milliseconds since the epoch.
--
-- Locks are taken in one order: seats by (schedule_id, seat_id), then
-- reservations by id, then accounts by id, then orders by id.  Whatever changes a
-- reservation locks all its seats first, so that two that change the same one
-- meet at its seats.  What was locked is read in that statement; anything else
-- by the next one, which sees what those we waited for have committed.
--
-- Requests of one call that want the same (a seat, a balance) are told apart: the
-- first of each goes with those that share nothing, then the others.
--
-- The module's connections plan a statement once (store/postgres.c), perhaps
-- while the tables are empty, so each must be written so that only keys can lead
-- to its rows: "lateral ... limit 1" and "= any" leave no other plan.

-- At the end of every statement a reservation has its user, the payment that it
-- names and, while it is live, every one of its seats.  What a new one names
-- never changes (below), nor is it ever deleted.

create function concert.check_new_reservations() returns trigger
language plpgsql as $$
declare
    v_new     concert.reservations;
    v_broken  bigint;
begin
    -- a hold that is alone needs no sets

    if (select count(*) from changed) = 1 then
        select *
        into v_new
        from changed;
    end if;

    if v_new.status = 'HELD' then
        insert into concert.holds (hold_until, reservation_ids)
        values (v_new.hold_until, array[v_new.reservation_id]);

        if v_new.payment_id is null
           and exists (select
                       from concert.accounts a
                       where a.account_id = v_new.user_id)
           and nullif(cardinality(v_new.seat_ids), 0)
               = (select count(*)
                  from concert.seats s
                  where s.schedule_id = v_new.schedule_id
                    and s.seat_id = any (v_new.seat_ids)
                    and s.reservation_id = v_new.reservation_id
                    and s.hold_until = v_new.hold_until)
        then
            return null;
        end if;

    else
        insert into concert.holds (hold_until, reservation_ids)
        select c.hold_until, array_agg(c.reservation_id)
        from changed c
        where c.status = 'HELD'
        group by c.hold_until;
    end if;

    select c.reservation_id
    into v_broken
    from changed c
    where not exists (select
                      from concert.accounts a
                      where a.account_id = c.user_id)
       or cardinality(c.seat_ids) = 0
       or ((c.payment_id is not null or c.status in ('PAYING', 'PAID'))
           and not exists (select
                           from concert.payments p
                           where p.payment_id = c.payment_id
                             and p.reservation_id = c.reservation_id))
       or (c.status in ('HELD', 'PAYING', 'PAID')
           and (select count(*)
                from concert.seats s
                where s.schedule_id = c.schedule_id
                  and s.seat_id = any (c.seat_ids)
                  and s.reservation_id = c.reservation_id
                  and s.hold_until = case c.status when 'HELD' then c.hold_until
                                                   else 'infinity' end)
               <> cardinality(c.seat_ids))
    limit 1;

    if found then
        raise exception 'reservation % does not have its user, payment or seats',
                        v_broken
            using errcode = 'integrity_constraint_violation';
    end if;

    return null;
end
$$;

create function concert.check_reservations() returns trigger
language plpgsql as $$
declare
    v_broken  bigint;
begin
    select c.reservation_id
    into v_broken
    from changed c
    where ((c.payment_id is not null or c.status in ('PAYING', 'PAID'))
           and not exists (select
                           from concert.payments p
                           where p.payment_id = c.payment_id
                             and p.reservation_id = c.reservation_id))
       or (c.status in ('HELD', 'PAYING', 'PAID')
           and (select count(*)
                from concert.seats s
                where s.schedule_id = c.schedule_id
                  and s.seat_id = any (c.seat_ids)
                  and s.reservation_id = c.reservation_id
                  and s.hold_until = case c.status when 'HELD' then c.hold_until
                                                   else 'infinity' end)
               <> cardinality(c.seat_ids))
    limit 1;

    if found then
        raise exception 'reservation % does not have its payment or its seats',
                        v_broken
            using errcode = 'integrity_constraint_violation';
    end if;

    return null;
end
$$;

create trigger new_reservations_have_their_seats
    after insert on concert.reservations
    referencing new table as changed
    for each statement execute function concert.check_new_reservations();

create trigger reservations_have_their_seats
    after update on concert.reservations
    referencing new table as changed
    for each statement execute function concert.check_reservations();

create trigger reservations_keep_what_they_are_of
    before update of reservation_id, operation, user_id, schedule_id, seat_ids,
                     total_price on concert.reservations
    for each row execute function concert.refuse('a reservation stays what it is of');

create trigger reservations_stay
    before delete on concert.reservations
    for each row execute function concert.refuse('a reservation is never deleted');

create trigger reservations_not_truncated
    before truncate on concert.reservations
    for each statement execute function concert.refuse('a reservation is never deleted');

-- A hold that ends earlier than it was to: there is a new time to look.

create function concert.look_earlier() returns trigger
language plpgsql as $$
begin
    insert into concert.holds (hold_until, reservation_ids)
    values (new.hold_until, array[new.reservation_id]);

    return null;
end
$$;

create trigger holds_may_end_earlier
    after update of hold_until on concert.reservations
    for each row when (new.hold_until < old.hold_until)
    execute function concert.look_earlier();

-- At commit, a seat that left a hold that runs, or a sale, or got less time in
-- it, did so only because that reservation is over, or is held again after a
-- payment that failed.  A function at commit has the session's rights, no longer
-- those of the operation: it needs its own.

create function concert.check_seat_left() returns trigger
language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
begin
    if exists (select
               from concert.reservations r
               where r.reservation_id = old.reservation_id
                 and r.status in ('HELD', 'PAYING', 'PAID')
                 and not exists (select
                                 from concert.seats s
                                 where s.schedule_id = old.schedule_id
                                   and s.seat_id = old.seat_id
                                   and s.reservation_id = r.reservation_id
                                   and s.hold_until = case r.status
                                                      when 'HELD' then r.hold_until
                                                      else 'infinity' end))
    then
        raise exception 'seat % of schedule % is taken from reservation %',
                        old.seat_id, old.schedule_id, old.reservation_id
            using errcode = 'integrity_constraint_violation';
    end if;

    return null;
end
$$;

create constraint trigger seat_stays_with_its_reservation
    after update on concert.seats
    deferrable initially deferred
    for each row when (old.reservation_id is not null
                       and old.hold_until > clock_timestamp()
                       and (new.reservation_id is distinct from old.reservation_id
                            or new.hold_until < old.hold_until))
    execute function concert.check_seat_left();

create trigger seats_stay
    before delete on concert.seats
    for each row when (old.reservation_id is not null)
    execute function concert.refuse('a seat that is reserved is never deleted');

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
           array_to_string(r.seat_ids, ','), r.total_price::bigint,
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
           array_to_string(r.seat_ids, ','), r.total_price::bigint,
           concert.reservation_status(r.status, r.hold_until),
           concert.epoch_ms(r.hold_until)
    from concert.reservations r
    join concert.schedules s on s.schedule_id = r.schedule_id
    join concert.concerts c on c.concert_id = s.concert_id
    where r.reservation_id = p_reservation
      and r.user_id = p_user;
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

-- What stands against a hold that is asked for at p_now, or null.  p_starts_at null:
-- there is no such schedule.

create function concert.reserve_conflict(p_starts_at timestamptz,
                                         p_opens_at timestamptz,
                                         p_is_user boolean, p_found integer,
                                         p_wanted integer, p_taken boolean,
                                         p_over_limit boolean, p_now timestamptz)
returns text
language sql immutable as $$
    select case
        when p_starts_at is null then 'schedule_not_found'
        when not p_is_user then 'user_not_found'
        when p_starts_at <= p_now then 'sale_closed'
        when p_opens_at > p_now then 'sale_not_open'
        when coalesce(p_found, 0) < p_wanted then 'seat_not_found'
        when p_taken then 'seat_taken'
        when p_over_limit then 'seat_limit'
    end
$$;

-- Those of some seats that somebody has.

create function concert.taken_seats(p_schedule bigint, p_seats integer[],
                                    p_now timestamptz)
returns text
language sql stable as $$
    select string_agg(s.seat_id::text, ',' order by s.seat_id)
    from concert.seats s
    where s.schedule_id = p_schedule
      and s.seat_id = any (p_seats)
      and s.hold_until > p_now
$$;

-- Of the requests of a batch those that must wait for an earlier one: it wants one
-- of the same seats and may have it, or, where p_by_user, it is of the same limit.
-- p_wanted: the requests that want seats, p_seats theirs, p_lasts until when
-- somebody has one of them.

create function concert.later_of_seats(p_users bigint[], p_schedules bigint[],
                                       p_by_user boolean, p_wanted bigint[],
                                       p_seats text[], p_lasts timestamptz[],
                                       p_now timestamptz)
returns bigint[]
language sql stable as $$
    select array(
        select l.request
        from (select w.request,
                     rank() over (partition by p_schedules[w.request], u.seat_id
                                  order by w.request) as turn
              from unnest(p_wanted, p_seats, p_lasts) as w (request, seats, last)
              cross join lateral unnest(w.seats::integer[]) as u (seat_id)
              where w.last <= p_now) l
        where l.turn > 1
        union
        select l.request
        from (select u.request,
                     row_number() over (partition by u.user_id, u.schedule_id
                                        order by u.request) as turn
              from unnest(p_users, p_schedules) with ordinality
                   as u (user_id, schedule_id, request)
              where p_by_user) l
        where l.turn > 1
        order by 1)
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
    v_requests  bigint[];
    v_seats     text[];
    v_prices    bigint[];
    v_lasts     timestamptz[];
    v_now       timestamptz;
    v_until     timestamptz;
    v_until_ms  bigint;
    v_later     bigint[];
begin
    if cardinality(p_operations) = 1 then
        select *
        into request, outcome, reservation_id, title, seats, total_price, status,
             expires_ms
        from concert.reserve_one(p_operations[1], p_users[1], p_concerts[1],
                                 p_schedules[1], p_seats[1]::bigint[], p_hold_ms,
                                 p_user_limit);
        return next;
        return;
    end if;

    select array_agg(g.request), array_agg(g.seats), array_agg(g.price),
           array_agg(g.last)
    into v_requests, v_seats, v_prices, v_lasts
    from (select l.request, array_agg(l.seat_id)::text as seats,
                 sum(l.price)::bigint as price, max(l.hold_until) as last
          from (select q.request, s.seat_id, s.price, s.hold_until
                from unnest(p_schedules, p_seats) with ordinality
                     as q (schedule_id, seats, request)
                cross join lateral unnest(q.seats::bigint[]) as w (seat_id)
                join concert.seats s on s.schedule_id = q.schedule_id
                                    and s.seat_id = w.seat_id
                order by s.schedule_id, s.seat_id
                for no key update of s) l
          group by l.request) g;

    if p_user_limit is not null then
        perform
        from concert.accounts a
        where a.account_id = any (p_users)
        order by a.account_id
        for no key update;
    end if;

    v_now := clock_timestamp();
    v_until := date_trunc('milliseconds', v_now + p_hold_ms * interval '1 ms');
    v_until_ms := concert.epoch_ms(v_until);

    v_later := concert.later_of_seats(p_users, p_schedules,
                                      p_user_limit is not null, v_requests,
                                      v_seats, v_lasts, v_now);

    return query
    with judged as materialized (
        select i.*, case when i.outcome = 'ok' and i.done is null
                         then nextval('concert.reservations_reservation_id_seq')
                    end as reservation_id
        from (
            select q.request, q.operation, q.user_id, q.schedule_id, s.title,
                   v_seats[f.place]::integer[] as seats, v_prices[f.place] as price,
                   d.reservation_id as done,
                   d.seat_ids, d.total_price, d.status, d.hold_until,
                   case when s.starts_at is not null and d.reservation_id is not null
                        then 'ok'
                        else coalesce(concert.reserve_conflict(
                            s.starts_at, s.sale_opens_at,
                            exists (select
                                    from concert.accounts a
                                    where a.account_id = q.user_id),
                            cardinality(v_seats[f.place]::integer[]),
                            cardinality(q.seats::bigint[]),
                            v_lasts[f.place] > v_now,
                            p_user_limit is not null
                            and cardinality(v_seats[f.place]::integer[]) > p_user_limit
                                - concert.seats_of_user(q.user_id, q.schedule_id,
                                                        v_now),
                            v_now), 'ok')
                   end as outcome
            from unnest(p_operations, p_users, p_concerts, p_schedules, p_seats)
                 with ordinality as q (operation, user_id, concert_id,
                                       schedule_id, seats, request)
            cross join lateral (
                select array_position(v_requests, q.request) as place
            ) f
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
            where q.request <> all (v_later)
            offset 0
        ) i
    ), held as (
        insert into concert.reservations
            (reservation_id, operation, user_id, schedule_id, seat_ids,
             total_price, status, hold_until)
        overriding system value
        select j.reservation_id, j.operation, j.user_id, j.schedule_id, j.seats,
               j.price, 'HELD', v_until
        from judged j
        where j.reservation_id is not null
    ), taken as (
        update concert.seats s
        set reservation_id = j.reservation_id,
            hold_until = v_until
        from judged j
        where j.reservation_id is not null
          and s.schedule_id = j.schedule_id
          and s.seat_id = any (j.seats)
    )
    select j.request, j.outcome, coalesce(j.reservation_id, j.done), j.title,
           case when j.reservation_id is not null then array_to_string(j.seats, ',')
                when j.outcome = 'seat_taken'
                    then concert.taken_seats(j.schedule_id, j.seats, v_now)
                else array_to_string(j.seat_ids, ',') end,
           case when j.reservation_id is not null then j.price
                else j.total_price end,
           case when j.reservation_id is not null then 'HELD'
                else concert.reservation_status(j.status, j.hold_until) end,
           case when j.reservation_id is not null then v_until_ms
                else concert.epoch_ms(j.hold_until) end
    from judged j;

    if cardinality(v_later) > 0 then
        return query
        select v_later[d.request], d.outcome, d.reservation_id, d.title, d.seats,
               d.total_price, d.status, d.expires_ms
        from concert.reserve(concert.pick(p_operations, v_later),
                             concert.pick(p_users, v_later),
                             concert.pick(p_concerts, v_later),
                             concert.pick(p_schedules, v_later),
                             concert.pick(p_seats, v_later),
                             p_hold_ms, p_user_limit) d;
    end if;
end
$$;


-- The same for a request that is alone.

create function concert.reserve_one(
    p_operation uuid, p_user bigint, p_concert bigint, p_schedule bigint,
    p_seats bigint[], p_hold_ms bigint, p_user_limit bigint,
    out request bigint, out outcome text, out reservation_id bigint,
    out title text, out seats text, out total_price bigint, out status text,
    out expires_ms bigint)
language plpgsql as $$
#variable_conflict use_column
declare
    v_seats   integer[];
    v_price   bigint;
    v_last    timestamptz;
    v_now     timestamptz;
    v_until   timestamptz;
    v_starts  timestamptz;
    v_opens   timestamptz;
    v_user    bigint;
    v_id      bigint;
    v_done    concert.reservations;
begin
    select array_agg(l.seat_id), sum(l.price), max(l.hold_until)
    into v_seats, v_price, v_last
    from (select s.seat_id, s.price, s.hold_until
          from concert.seats s
          where s.schedule_id = p_schedule
            and s.seat_id = any (p_seats)
          order by s.seat_id
          for no key update) l;

    if p_user_limit is not null then
        perform
        from concert.accounts a
        where a.account_id = p_user
        for no key update;
    end if;

    v_now := clock_timestamp();
    request := 1;

    select s.starts_at, s.sale_opens_at, c.title,
           (select a.account_id
            from concert.accounts a
            where a.account_id = p_user),
           (select d.reservation_id
            from concert.reservations d
            where d.operation = p_operation)
    into v_starts, v_opens, title, v_user, v_id
    from concert.schedules s
    join concert.concerts c on c.concert_id = s.concert_id
    where s.schedule_id = p_schedule
      and s.concert_id = p_concert;

    if v_id is not null then
        select *
        into v_done
        from concert.reservations d
        where d.reservation_id = v_id;

        outcome := 'ok';
        reservation_id := v_done.reservation_id;
        seats := array_to_string(v_done.seat_ids, ',');
        total_price := v_done.total_price;
        status := concert.reservation_status(v_done.status, v_done.hold_until);
        expires_ms := concert.epoch_ms(v_done.hold_until);
        return;
    end if;

    outcome := concert.reserve_conflict(
        v_starts, v_opens, v_user is not null, cardinality(v_seats),
        cardinality(p_seats), v_last > v_now, false, v_now);

    if outcome is null and p_user_limit is not null
       and cardinality(v_seats) > p_user_limit
                                  - concert.seats_of_user(p_user, p_schedule, v_now)
    then
        outcome := 'seat_limit';
    end if;

    if outcome = 'seat_taken' then
        seats := concert.taken_seats(p_schedule, v_seats, v_now);
    end if;

    if outcome is not null then
        return;
    end if;

    v_until := date_trunc('milliseconds', v_now + p_hold_ms * interval '1 ms');
    v_id := nextval('concert.reservations_reservation_id_seq');

    update concert.seats s
    set reservation_id = v_id,
        hold_until = v_until
    where s.schedule_id = p_schedule
      and s.seat_id = any (p_seats);

    insert into concert.reservations
        (reservation_id, operation, user_id, schedule_id, seat_ids, total_price,
         status, hold_until)
    overriding system value
    values (v_id, p_operation, p_user, p_schedule, v_seats, v_price, 'HELD', v_until);

    outcome := 'ok';
    reservation_id := v_id;
    seats := array_to_string(v_seats, ',');
    total_price := v_price;
    status := 'HELD';
    expires_ms := concert.epoch_ms(v_until);
end
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
-- many.  Looks at ten times as many at most, for most were paid.  Any number of instances may call it; one works, the others return at
-- once.  Locks the seats, the reservations.

create function concert.expire(p_limit integer) returns table (expired bigint)
language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_ids  bigint[];
begin
    expired := 0;

    if pg_try_advisory_xact_lock(hashtext('concert.expire')) then
        for part in 1 .. 10 loop
            v_ids := concert.take_holds(p_limit - expired);
            exit when v_ids is null;
            expired := expired + concert.end_holds(v_ids);
            exit when expired >= p_limit;
        end loop;
    end if;

    return next;
end
$$;

-- Takes reservations whose holds may have run out from those that are waited
-- for, at most p_limit; null: there are none.

create function concert.take_holds(p_limit bigint) returns bigint[]
language plpgsql as $$
declare
    v_ids  bigint[];
begin
    with due as materialized (
        select h.ctid as place, h.hold_until, h.reservation_ids,
               sum(cardinality(h.reservation_ids)) over (order by h.hold_until, h.ctid)
               - cardinality(h.reservation_ids) as before
        from (select h.ctid, h.*
              from concert.holds h
              where h.hold_until <= now()
              order by h.hold_until
              limit p_limit) h
    ), gone as (
        delete from concert.holds h
        using due d
        where d.before < p_limit
          and h.ctid = d.place
    ), kept as (
        insert into concert.holds (hold_until, reservation_ids)
        select d.hold_until, d.reservation_ids[p_limit - d.before + 1 :]
        from due d
        where d.before < p_limit
          and d.before + cardinality(d.reservation_ids) > p_limit
    )
    select array_agg(u.id)
    into v_ids
    from due d
    cross join lateral unnest(d.reservation_ids[: p_limit - d.before]) as u (id)
    where d.before < p_limit;

    return v_ids;
end
$$;

-- Ends those of the reservations whose holds have run out; returns how many.  One
-- that was lengthened is waited for again.

create function concert.end_holds(p_reservations bigint[]) returns bigint
language plpgsql as $$
declare
    v_ids  bigint[];
begin
    -- most were paid, which nothing can undo that needs us

    v_ids := array(select r.reservation_id
                   from concert.reservations r
                   where r.reservation_id = any (p_reservations)
                     and r.status = 'HELD');

    if cardinality(v_ids) = 0 then
        return 0;
    end if;

    perform concert.lock_reservations(v_ids);

    insert into concert.holds (hold_until, reservation_ids)
    select r.hold_until, array_agg(r.reservation_id)
    from concert.reservations r
    where r.reservation_id = any (v_ids)
      and r.status = 'HELD'
      and r.hold_until > now()
    group by r.hold_until;

    v_ids := array(select r.reservation_id
                   from concert.reservations r
                   where r.reservation_id = any (v_ids)
                     and r.status = 'HELD'
                     and r.hold_until <= now());

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

    return cardinality(v_ids);
end
$$;
