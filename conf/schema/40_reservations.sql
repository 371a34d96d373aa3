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
-- to its rows: "lateral ... limit 1" and "= any" leave no other plan.  Where one
-- statement locks what it changes, rows have to come in the order that it sorts
-- them in, so that the function allows nothing but nested loops.

-- At the end of every statement a reservation has its user, the payment that it
-- names and, while it is live, every one of its seats.  What a new one names
-- never changes (below), nor is it ever deleted.

create function concert.check_new_reservations() returns trigger
language plpgsql as $$
declare
    v_id        bigint;
    v_user      bigint;
    v_schedule  bigint;
    v_seats     integer[];
    v_until     timestamptz;
    v_last      timestamptz;
    v_ids       bigint[];
    v_count     bigint;
    v_wants     bigint;
    v_has       bigint;
begin
    select count(*) over (), c.reservation_id, c.user_id, c.schedule_id, c.seat_ids,
           c.hold_until
    into v_count, v_id, v_user, v_schedule, v_seats, v_until
    from changed c
    where c.status = 'HELD'
      and c.payment_id is null
      and c.paid_operation is null
    limit 1;

    -- holds that were made together; one that is alone needs no sets

    if v_count = 1 then
        perform
        from concert.accounts a
        where a.account_id = v_user;

        if found then
            select count(*)
            into v_has
            from concert.seats s
            where s.schedule_id = v_schedule
              and s.seat_id = any (v_seats)
              and s.reservation_id = v_id
              and s.hold_until = v_until;
        end if;

        v_wants := cardinality(v_seats);
        v_last := v_until;
        v_ids := array[v_id];

    elsif v_count > 1 then
        select max(c.hold_until), array_agg(c.reservation_id),
               sum(cardinality(c.seat_ids)),
               sum((select count(*)
                    from concert.seats s
                    where s.schedule_id = c.schedule_id
                      and s.seat_id = any (c.seat_ids)
                      and s.reservation_id = c.reservation_id
                      and s.hold_until = v_until))
                   filter (where cardinality(c.seat_ids) > 0
                             and exists (select
                                         from concert.accounts a
                                         where a.account_id = c.user_id))
        into v_last, v_ids, v_wants, v_has
        from changed c;
    end if;

    if v_has = v_wants and v_has > 0 and v_last = v_until
       and cardinality(v_ids) = v_count
    then
        insert into concert.holds (hold_until, reservation_ids)
        values (v_until, v_ids);

        return null;
    end if;

    insert into concert.holds (hold_until, reservation_ids)
    select c.hold_until, array_agg(c.reservation_id)
    from changed c
    where c.status = 'HELD'
    group by c.hold_until;

    select c.reservation_id
    into v_id
    from changed c
    where not exists (select
                      from concert.accounts a
                      where a.account_id = c.user_id)
       or cardinality(c.seat_ids) = 0
       or c.paid_operation is not null
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
                        v_id
            using errcode = 'integrity_constraint_violation';
    end if;

    return null;
end
$$;

-- The same of those that change.  One that a balance pays moves its money here;
-- it does so once, as what is PAID stays so or is cancelled (below).

create function concert.check_reservations() returns trigger
language plpgsql as $$
declare
    v_count    bigint;
    v_one      concert.reservations;
    v_seats    bigint;
    v_missing  bigint;
begin
    select count(*) over (), c.reservation_id, c.user_id, c.schedule_id, c.seat_ids,
           c.total_price, c.status, c.payment_id, c.paid_operation, c.paid_at
    into v_count, v_one.reservation_id, v_one.user_id, v_one.schedule_id,
         v_one.seat_ids, v_one.total_price, v_one.status, v_one.payment_id,
         v_one.paid_operation, v_one.paid_at
    from changed c
    limit 1;

    -- one that is paid alone needs no sets

    if v_count = 1 and v_one.status = 'PAID' and v_one.paid_operation is not null
       and v_one.paid_at is not null and v_one.payment_id is null
    then
        select count(*)
        into v_seats
        from concert.seats s
        where s.schedule_id = v_one.schedule_id
          and s.seat_id = any (v_one.seat_ids)
          and s.reservation_id = v_one.reservation_id
          and s.hold_until = 'infinity';

        update concert.accounts a
        set balance = a.balance - v_one.total_price
        where a.account_id = v_one.user_id;

        if found and v_seats = cardinality(v_one.seat_ids) then
            return null;
        end if;

    elsif v_count > 0 then
        with due as materialized (
            select c.user_id, sum(c.total_price)::bigint as amount
            from changed c
            where c.status = 'PAID'
              and c.paid_operation is not null
            group by c.user_id
        ), moved as (
            update concert.accounts a
            set balance = a.balance - d.amount
            from due d
            where a.account_id = d.user_id
            returning 1
        )
        select (select count(*) from due) - (select count(*) from moved)
        into v_missing;

        select c.reservation_id
        into v_one.reservation_id
        from changed c
        where v_missing <> 0
           or case when c.paid_operation is not null
                   then c.paid_at is null
                        or c.payment_id is not null
                        or c.status not in ('PAID', 'CANCELLED')
                   else (c.payment_id is not null or c.status in ('PAYING', 'PAID'))
                        and not exists (select
                                        from concert.payments p
                                        where p.payment_id = c.payment_id
                                          and p.reservation_id = c.reservation_id)
              end
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
    end if;

    if found then
        raise exception 'reservation % does not have its payment or its seats',
                        v_one.reservation_id
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

create trigger reservations_do_not_go_back
    before update on concert.reservations
    for each row when ((old.status in ('PAID', 'EXPIRED', 'CANCELLED')
                        and new.status <> case old.status when 'PAID' then 'CANCELLED'
                                                          else old.status end)
                       or ((old.status <> 'HELD' or new.status <> 'PAID')
                           and (new.paid_operation, new.paid_at)
                               is distinct from (old.paid_operation, old.paid_at)))
    execute function concert.refuse('a reservation that is over or paid stays so');

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

-- Those of a user among which is what an operation has made that is asked for again
-- as its answer was lost.

create function concert.newest_reservations(p_user bigint)
returns setof concert.reservations
language sql stable as $$
    select *
    from concert.reservations r
    where r.user_id = p_user
    order by r.reservation_id desc
    limit 16
$$;

-- Why a request for seats was not held, or what its operation holds already, whose
-- outcome is 'ok'.  A null outcome: nothing stands against it.

create function concert.not_held(
    p_operation uuid, p_user bigint, p_concert bigint, p_schedule bigint,
    p_seats bigint[], p_user_limit bigint, p_now timestamptz,
    out outcome text, out reservation_id bigint, out title text, out seats text,
    out total_price bigint, out status text, out expires_ms bigint)
language plpgsql as $$
#variable_conflict use_column
declare
    v_found   bigint;
    v_taken   boolean;
    v_starts  timestamptz;
    v_opens   timestamptz;
    v_user    bigint;
    v_done    concert.reservations;
begin
    select s.starts_at, s.sale_opens_at, c.title, (select a.account_id
                                                   from concert.accounts a
                                                   where a.account_id = p_user)
    into v_starts, v_opens, title, v_user
    from concert.schedules s
    join concert.concerts c on c.concert_id = s.concert_id
    where s.schedule_id = p_schedule
      and s.concert_id = p_concert;

    select count(*), bool_or(s.hold_until > p_now)
    into v_found, v_taken
    from concert.seats s
    where s.schedule_id = p_schedule
      and s.seat_id = any (p_seats);

    outcome := case
        when v_starts is null then 'schedule_not_found'
        when v_user is null then 'user_not_found'
        when v_starts <= p_now then 'sale_closed'
        when v_opens > p_now then 'sale_not_open'
        when v_found < cardinality(p_seats) then 'seat_not_found'
        when v_taken then 'seat_taken'
    end;

    if outcome is null and p_user_limit is not null
       and v_found > p_user_limit - concert.seats_of_user(p_user, p_schedule, p_now)
    then
        outcome := 'seat_limit';
    end if;

    if outcome = 'schedule_not_found' then
        return;
    end if;

    select n.*
    into v_done
    from concert.newest_reservations(p_user) n
    where n.operation = p_operation;

    if found then
        outcome := 'ok';
        reservation_id := v_done.reservation_id;
        seats := array_to_string(v_done.seat_ids, ',');
        total_price := v_done.total_price;
        status := concert.reservation_status(v_done.status, v_done.hold_until);
        expires_ms := concert.epoch_ms(v_done.hold_until);

    elsif outcome = 'seat_taken' then
        select string_agg(s.seat_id::text, ',' order by s.seat_id)
        into seats
        from concert.seats s
        where s.schedule_id = p_schedule
          and s.seat_id = any (p_seats)
          and s.hold_until > p_now;
    end if;
end
$$;

-- Gives back what requests have got that wanted more than they could have.

create function concert.give_back(p_reservations bigint[], p_schedules bigint[],
                                  p_seats text[])
returns void
language sql as $$
    update concert.seats s
    set reservation_id = null,
        hold_until = '-infinity'
    from unnest(p_reservations, p_schedules, p_seats)
         as g (reservation_id, schedule_id, seats)
    cross join lateral unnest(g.seats::bigint[]) as w (seat_id)
    where s.schedule_id = g.schedule_id
      and s.seat_id = w.seat_id
      and s.reservation_id = g.reservation_id
$$;


-- Holds seats, all or none a request.  "p_seats" has an array of seat ids, as
-- text, for each request.  p_user_limit null: no limit.  Locks the seats, after
-- (with a limit) a lock for each user.  "seats" are the seats held or, with
-- 'seat_taken', those that somebody else has.
--
-- One statement takes what is free, each seat for the first that wants it, and
-- holds it for those that got all they want.  What the others got they give back
-- before they are told why, one after the other; one of them may have lost seats
-- only to such another, and can have them now.

create function concert.reserve(p_operations uuid[], p_users bigint[],
                                p_concerts bigint[], p_schedules bigint[],
                                p_seats text[], p_hold_ms bigint,
                                p_user_limit bigint)
returns table (request bigint, outcome text, reservation_id bigint,
               title text, seats text, total_price bigint, status text,
               expires_ms bigint)
language plpgsql
security definer set search_path = pg_catalog, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
    v_now     timestamptz := clock_timestamp();
    v_until   timestamptz := date_trunc('milliseconds',
                                        v_now + p_hold_ms * interval '1 ms');
    v_later   bigint[] := '{}';
    v_whole   boolean;
    v_done    boolean[] := array_fill(false, array[cardinality(p_operations)]);
    v_count   bigint;
    v_parts   bigint[] := '{}';
    v_of      bigint[] := '{}';
begin
    if p_user_limit is not null then
        perform concert.lock_for_limit(p_users);
        v_now := clock_timestamp();
        v_until := date_trunc('milliseconds', v_now + p_hold_ms * interval '1 ms');

        -- of one user's in a schedule only the first is counted easily

        v_later := array(
            select u.request
            from (select i.request, row_number() over (partition by i.user_id,
                                                                    i.schedule_id
                                                       order by i.request) as turn
                  from unnest(p_users, p_schedules) with ordinality
                       as i (user_id, schedule_id, request)) u
            where u.turn > 1);
    end if;

    if cardinality(p_operations) > 1 then
        v_count := 0;
        outcome := 'ok';
        status := 'HELD';
        expires_ms := concert.epoch_ms(v_until);

        for request, reservation_id, title, seats, total_price, v_whole in
            with wanted as materialized (
                select q.*, s.title, w.seat_id
                from (select u.*, cardinality(u.seats::bigint[]) as count,
                             nextval('concert.reservations_reservation_id_seq') as id
                      from unnest(p_operations, p_users, p_concerts, p_schedules,
                                  p_seats) with ordinality
                           as u (operation, user_id, concert_id, schedule_id,
                                 seats, request)) q
                cross join lateral (
                    select
                    from concert.accounts a
                    where a.account_id = q.user_id
                    limit 1
                ) a
                cross join lateral (
                    select c.title
                    from concert.schedules s
                    join concert.concerts c on c.concert_id = s.concert_id
                    where s.schedule_id = q.schedule_id
                      and s.concert_id = q.concert_id
                      and s.starts_at > v_now
                      and coalesce(s.sale_opens_at, v_now) <= v_now
                    limit 1
                ) s
                cross join lateral unnest(q.seats::bigint[]) as w (seat_id)
                where not exists (select
                                  from concert.newest_reservations(q.user_id) n
                                  where n.operation = q.operation)
                  and q.request <> all (v_later)
                  and (p_user_limit is null
                       or q.count <= p_user_limit
                              - concert.seats_of_user(q.user_id, q.schedule_id,
                                                      v_now))
                order by q.schedule_id, w.seat_id, q.request
            ), taken as (
                update concert.seats s
                set reservation_id = w.id,
                    hold_until = v_until
                from wanted w
                where s.schedule_id = w.schedule_id
                  and s.seat_id = w.seat_id
                  and s.hold_until <= v_now
                returning w.request, w.id, w.operation, w.user_id, s.schedule_id,
                          w.title, w.count, s.seat_id, s.price
            ), got as materialized (
                select t.request, t.id, t.operation, t.user_id, t.schedule_id,
                       t.title, array_agg(t.seat_id order by t.seat_id) as seats,
                       sum(t.price)::bigint as price, count(*) = t.count as whole
                from taken t
                group by t.request, t.id, t.operation, t.user_id, t.schedule_id,
                         t.title, t.count
            ), held as (
                insert into concert.reservations
                    (reservation_id, operation, user_id, schedule_id, seat_ids,
                     total_price, status, hold_until)
                overriding system value
                select g.id, g.operation, g.user_id, g.schedule_id, g.seats,
                       g.price, 'HELD', v_until
                from got g
                where g.whole
            )
            select g.request, g.id, g.title, array_to_string(g.seats, ','), g.price,
                   g.whole
            from got g
        loop
            if v_whole then
                v_done[request] := true;
                v_count := v_count + 1;
                return next;
            else
                v_parts := v_parts || reservation_id;
                v_of := v_of || request;
            end if;
        end loop;

        if v_count = cardinality(p_operations) then
            return;
        end if;

        if cardinality(v_parts) > 0 then
            perform concert.give_back(v_parts, concert.pick(p_schedules, v_of),
                                      concert.pick(p_seats, v_of));
        end if;
    end if;

    for i in 1 .. cardinality(p_operations) loop
        continue when v_done[i];
        outcome := null;

        if v_count is not null then
            select *
            into outcome, reservation_id, title, seats, total_price, status,
                 expires_ms
            from concert.not_held(p_operations[i], p_users[i], p_concerts[i],
                                  p_schedules[i], p_seats[i]::bigint[], p_user_limit, v_now);

            if outcome is null
               and not concert.can_lock(p_schedules[i], p_seats[i]::bigint[])
            then
                outcome := 'seat_taken';
                seats := btrim(p_seats[i], '{}');
            end if;
        end if;

        if outcome is null then
            select *
            into outcome, reservation_id, title, seats, total_price, status,
                 expires_ms
            from concert.reserve_one(p_operations[i], p_users[i], p_concerts[i],
                                     p_schedules[i], p_seats[i]::bigint[],
                                     p_hold_ms, p_user_limit);
        end if;

        request := i;
        return next;
    end loop;
end
$$;

-- Whether seats can be locked without waiting for anybody, who may wait for us.

create function concert.can_lock(p_schedule bigint, p_seats bigint[])
returns boolean
language plpgsql as $$
declare
    v_count  bigint;
begin
    perform
    from concert.seats s
    where s.schedule_id = p_schedule
      and s.seat_id = any (p_seats)
    for no key update skip locked;

    get diagnostics v_count = row_count;
    return v_count = cardinality(p_seats);
end
$$;

-- Keeps others from holding seats for the same users: what a user has can be
-- counted, by the next statement.  Comes before all other locks.

create function concert.lock_for_limit(p_users bigint[]) returns void
language plpgsql as $$
begin
    perform pg_advisory_xact_lock(hashtext('concert.reserve'), u.key)
    from (select distinct hashint8(i.user_id) as key
          from unnest(p_users) as i (user_id)
          order by key) u;
end
$$;

-- One request, that nothing is known to stand against.

create function concert.reserve_one(
    p_operation uuid, p_user bigint, p_concert bigint, p_schedule bigint,
    p_seats bigint[], p_hold_ms bigint, p_user_limit bigint,
    out outcome text, out reservation_id bigint, out title text, out seats text,
    out total_price bigint, out status text, out expires_ms bigint)
language plpgsql as $$
#variable_conflict use_column
declare
    v_now    timestamptz := clock_timestamp();
    v_until  timestamptz := date_trunc('milliseconds',
                                       v_now + p_hold_ms * interval '1 ms');
    v_id     bigint := nextval('concert.reservations_reservation_id_seq');
    v_seats  integer[] := '{}';
    v_seat   bigint;
    v_price  bigint;
begin
    if cardinality(p_seats) > 1 then
        p_seats := array(select w.seat_id
                         from unnest(p_seats) as w (seat_id)
                         order by w.seat_id);
    end if;

    select c.title
    into title
    from concert.schedules s
    join concert.concerts c on c.concert_id = s.concert_id
    where s.schedule_id = p_schedule
      and s.concert_id = p_concert
      and s.starts_at > v_now
      and coalesce(s.sale_opens_at, v_now) <= v_now
      and exists (select
                  from concert.accounts a
                  where a.account_id = p_user)
      and not exists (select
                      from concert.newest_reservations(p_user) n
                      where n.operation = p_operation);

    if found
       and (p_user_limit is null
            or cardinality(p_seats) <= p_user_limit
                   - concert.seats_of_user(p_user, p_schedule, v_now))
    then
        total_price := 0;

        foreach v_seat in array p_seats loop
            update concert.seats s
            set reservation_id = v_id,
                hold_until = v_until
            where s.schedule_id = p_schedule
              and s.seat_id = v_seat
              and s.hold_until <= v_now
            returning s.price
            into v_price;

            exit when not found;

            v_seats := v_seats || v_seat::integer;
            total_price := total_price + v_price;
        end loop;
    end if;

    if cardinality(v_seats) < cardinality(p_seats) then
        perform concert.give_back(array[v_id], array[p_schedule],
                                  array[v_seats::text]);

        select *
        into outcome, reservation_id, title, seats, total_price, status, expires_ms
        from concert.not_held(p_operation, p_user, p_concert, p_schedule, p_seats,
                              p_user_limit, v_now);

        outcome := coalesce(outcome, 'seat_taken');
        return;
    end if;

    insert into concert.reservations
        (reservation_id, operation, user_id, schedule_id, seat_ids, total_price,
         status, hold_until)
    overriding system value
    values (v_id, p_operation, p_user, p_schedule, v_seats, total_price, 'HELD',
            v_until);

    outcome := 'ok';
    reservation_id := v_id;
    seats := array_to_string(v_seats, ',');
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
-- many.  Looks at ten times as many at most, for most were paid.  Any number of
-- instances may call it; one works, the others return at once.  Locks the seats,
-- the reservations.

create function concert.expire(p_limit integer) returns table (expired bigint)
language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_ids   bigint[] := '{}';
    v_part  bigint[];
begin
    if pg_try_advisory_xact_lock(hashtext('concert.expire')) then
        for part in 1 .. 10 loop
            v_part := concert.take_holds(p_limit - cardinality(v_ids));
            exit when v_part is null;

            -- most were paid, which nothing can undo that needs us

            v_ids := v_ids || array(select r.reservation_id
                                    from concert.reservations r
                                    where r.reservation_id = any (v_part)
                                      and r.status = 'HELD');
            exit when cardinality(v_ids) >= p_limit;
        end loop;
    end if;

    expired := concert.end_holds(v_ids);
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
    if cardinality(p_reservations) = 0 then
        return 0;
    end if;

    perform concert.lock_reservations(p_reservations);

    insert into concert.holds (hold_until, reservation_ids)
    select r.hold_until, array_agg(r.reservation_id)
    from concert.reservations r
    where r.reservation_id = any (p_reservations)
      and r.status = 'HELD'
      and r.hold_until > now()
    group by r.hold_until;

    v_ids := array(select r.reservation_id
                   from concert.reservations r
                   where r.reservation_id = any (p_reservations)
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
