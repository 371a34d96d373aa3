-- Concerts, schedules and seats: what is read of them, and loading a real sale.

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
        select array_agg(g.seat_id) as seats,
               array_agg(g.price::bigint) as prices
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
           h.price::bigint
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

-- What operators see of sales.
--
-- The seats of the next schedules: at most p_schedules of those that begin after
-- p_after does (0: of all), until they have p_seats together; the first in any
-- case.  The row judges: a seat whose hold has run out is free, and one that is
-- claimed for payment is sold.  No row: there are no more.
--
-- A hall is read as it lies, from its first seat to its last, which costs the
-- same whatever is sold; an index of what is sold would cost each sale more.

create function concert.sales(p_after bigint, p_schedules integer, p_seats bigint)
returns table (schedule_id bigint, concert_id bigint, title text,
               starts_ms bigint, seats integer, sold bigint, held bigint)
language plpgsql stable
security definer set search_path = pg_catalog, pg_temp
                 set enable_seqscan = off
                 set max_parallel_workers_per_gather = 0 as $$
#variable_conflict use_column
declare
    v_now    timestamptz := clock_timestamp();
    v_start  timestamptz := '-infinity';
begin
    if p_after > 0 then
        select s.starts_at
        into v_start
        from concert.schedules s
        where s.schedule_id = p_after;
    end if;

    return query
    select n.schedule_id, n.concert_id, left(c.title, 60),
           concert.epoch_ms(n.starts_at), n.total_seats, t.sold, t.held
    from (select s.*,
                 sum(s.total_seats) over (order by s.starts_at, s.schedule_id)
                 - s.total_seats as before
          from (select i.*
                from concert.schedules i
                where i.starts_at > v_now
                  and (i.starts_at, i.schedule_id) > (v_start, p_after)
                order by i.starts_at, i.schedule_id
                limit p_schedules) s) n
    join concert.concerts c on c.concert_id = n.concert_id
    cross join lateral (
        select count(*) filter (where i.hold_until = 'infinity') as sold,
               count(*) filter (where i.hold_until > v_now
                                  and i.hold_until < 'infinity') as held
        from concert.seats i
        where i.schedule_id = n.schedule_id
    ) t
    where n.before < p_seats
    order by n.starts_at, n.schedule_id;
end
$$;


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
    if not (p_starts_at >= '0001-01-01 00:00+00'
            and p_starts_at < '10000-01-01 00:00+00'
            and coalesce(p_sale_opens_at, p_starts_at) >= '0001-01-01 00:00+00'
            and coalesce(p_sale_opens_at, p_starts_at) < '10000-01-01 00:00+00')
    then
        raise exception 'the times of a schedule must be of the years 1 to 9999'
            using errcode = 'datetime_field_overflow';
    end if;

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
