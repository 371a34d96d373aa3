-- Times of schedules leave as JSON, whose times (RFC 3339) have years of four
-- digits: none may be set that cannot be told.

alter table concert.schedules
    add constraint schedules_times_check
    check (starts_at >= '0001-01-01 00:00+00'
           and starts_at < '10000-01-01 00:00+00'
           and sale_opens_at >= '0001-01-01 00:00+00'
           and sale_opens_at < '10000-01-01 00:00+00');


-- As it was, but it says so.

create or replace function concert.add_schedule(
    p_concert bigint, p_starts_at timestamptz, p_seats integer, p_price bigint,
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
