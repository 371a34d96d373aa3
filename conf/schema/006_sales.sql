-- What operators see of sales.

create index schedules_by_start on concert.schedules (starts_at, schedule_id);

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
