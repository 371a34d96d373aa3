-- Payments, from a balance or by card, and what they can never become.

-- At the end of every statement a payment from a balance is that of its
-- reservation, which is paid, of its user and of what it costs; and it has moved
-- its money.

create function concert.apply_payments() returns trigger
language plpgsql as $$
declare
    v_count    bigint;
    v_payment  concert.payments;
    v_missing  bigint := 0;
begin
    v_count := (select count(*) from added);

    -- one that is alone needs no sums

    if v_count = 1 then
        select *
        into v_payment
        from added;

        if v_payment.method = 'balance' then
            update concert.accounts a
            set balance = a.balance - v_payment.amount
            from concert.reservations r
            where a.account_id = v_payment.user_id
              and r.reservation_id = v_payment.reservation_id
              and r.payment_id = v_payment.payment_id
              and r.user_id = v_payment.user_id
              and r.total_price = v_payment.amount
              and r.status = 'PAID'
              and v_payment.status = 'PAID';

            v_missing := case when found then 0 else 1 end;
        end if;

    elsif v_count > 1 then
        with due as materialized (
            select p.user_id, sum(p.amount)::bigint as amount, count(*) as payments
            from added p
            join concert.reservations r on r.reservation_id = p.reservation_id
                                       and r.payment_id = p.payment_id
                                       and r.user_id = p.user_id
                                       and r.total_price = p.amount
                                       and r.status = 'PAID'
            where p.method = 'balance'
              and p.status = 'PAID'
            group by p.user_id
        ), changed as (
            update concert.accounts a
            set balance = a.balance - d.amount
            from due d
            where a.account_id = d.user_id
            returning d.payments
        )
        select (select count(*) from added a where a.method = 'balance')
               - (select coalesce(sum(c.payments), 0) from changed c)
        into v_missing;
    end if;

    if v_missing <> 0 then
        raise exception 'a payment from a balance does not have its reservation'
            using errcode = 'integrity_constraint_violation';
    end if;

    return null;
end
$$;

create trigger apply_payments
    after insert on concert.payments
    referencing new table as added
    for each statement execute function concert.apply_payments();

create trigger payments_not_truncated
    before truncate on concert.payments
    for each statement execute function concert.refuse('a payment is never deleted');

-- What stays as it is, and the only ways from state to state.

create function concert.check_payment_change() returns trigger
language plpgsql as $$
begin
    if (new.payment_id, new.operation, new.user_id, new.amount, new.method,
        new.created_at)
       <> (old.payment_id, old.operation, old.user_id, old.amount, old.method,
           old.created_at)
       or new.reservation_id is distinct from old.reservation_id
       or (old.status || '-' || new.status <> 'PENDING-PAID'
           and (new.transfer_id is distinct from old.transfer_id
                or new.paid_at is distinct from old.paid_at))
    then
        raise exception 'payment % stays what it is', old.payment_id
            using errcode = 'integrity_constraint_violation';
    end if;

    if new.status <> old.status
       and old.status || '-' || new.status
           not in ('PENDING-PAID', 'PENDING-DECLINED', 'PENDING-REFUNDING',
                   'PENDING-REFUNDED', 'DECLINED-REFUNDING', 'PAID-REFUNDING',
                   'PAID-REFUNDED', 'REFUNDING-REFUNDED')
    then
        raise exception 'payment % does not go from % to %', old.payment_id,
                        old.status, new.status
            using errcode = 'integrity_constraint_violation';
    end if;

    return new;
end
$$;

create trigger payments_change_by_the_rules
    before update on concert.payments
    for each row execute function concert.check_payment_change();

create trigger payments_begin_pending
    before insert on concert.payments
    for each row when (new.method = 'card' and new.status <> 'PENDING')
    execute function concert.refuse('a payment by card begins PENDING');

create trigger payments_stay
    before delete on concert.payments
    for each row execute function concert.refuse('a payment is never deleted');


-- What stands against paying p_amount for a hold at p_now, or null.  p_status null:
-- there is no such reservation.

create function concert.pay_conflict(p_status text, p_hold_until timestamptz,
                                     p_price bigint, p_balance bigint,
                                     p_amount bigint, p_now timestamptz)
returns text
language sql immutable as $$
    select case
        when p_status is null then 'reservation_not_found'
        when p_status <> 'HELD' or p_hold_until <= p_now
            then concert.hold_conflict(p_status, p_hold_until, p_now)
        when p_price <> p_amount then 'amount_mismatch'
        when p_balance < p_amount then 'insufficient_balance'
    end
$$;

-- Pays reservations from their users' balances.  Locks the seats, the
-- accounts; a reservation changes under the locks of its seats.

create function concert.pay(p_operations uuid[], p_users bigint[],
                            p_reservations bigint[], p_amounts bigint[])
returns table (request bigint, outcome text, payment_id bigint,
               amount bigint, paid_ms bigint)
language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_requests  bigint[];
    v_balances  bigint[];
    v_users     bigint;
    v_part      bigint[];
    v_now       timestamptz;
    v_now_ms    bigint;
begin
    if cardinality(p_operations) = 1 then
        select *
        into request, outcome, payment_id, amount, paid_ms
        from concert.pay_one(p_operations[1], p_users[1], p_reservations[1],
                             p_amounts[1]);
        return next;
        return;
    end if;

    perform
    from concert.reservations r
    cross join lateral unnest(r.seat_ids) as w (seat_id)
    join concert.seats s on s.schedule_id = r.schedule_id
                        and s.seat_id = w.seat_id
    where r.reservation_id = any (p_reservations)
    order by s.schedule_id, s.seat_id
    for no key update of s;

    select array_agg(l.request), array_agg(l.balance), count(distinct l.account_id)
    into v_requests, v_balances, v_users
    from (select q.request, a.account_id, a.balance
          from unnest(p_users) with ordinality as q (user_id, request)
          join concert.accounts a on a.account_id = q.user_id
          order by a.account_id
          for no key update of a) l;

    if v_users < cardinality(v_requests) then
        for i in 0 .. 1 loop
            v_part := concert.first_of_users(p_users, i = 1);

            return query
            select v_part[d.request], d.outcome, d.payment_id, d.amount, d.paid_ms
            from concert.pay(concert.pick(p_operations, v_part),
                             concert.pick(p_users, v_part),
                             concert.pick(p_reservations, v_part),
                             concert.pick(p_amounts, v_part)) d;
        end loop;

        return;
    end if;

    v_now := clock_timestamp();
    v_now_ms := concert.epoch_ms(v_now);

    return query
    with judged as materialized (
        select i.*, case when i.outcome = 'ok' and i.done is null
                         then nextval('concert.payments_payment_id_seq')
                    end as payment_id
        from (
            select q.request, q.operation, q.user_id, q.reservation_id, q.amount,
                   r.schedule_id, r.seat_ids,
                   d.payment_id as done, d.amount as paid, d.created_at,
                   case when d.payment_id is not null then 'ok'
                        else coalesce(concert.pay_conflict(
                            r.status, r.hold_until, r.total_price,
                            v_balances[array_position(v_requests, q.request)],
                            q.amount, v_now), 'ok')
                   end as outcome
            from unnest(p_operations, p_users, p_reservations, p_amounts)
                 with ordinality as q (operation, user_id, reservation_id,
                                       amount, request)
            left join lateral (
                select r.status, r.hold_until, r.total_price, r.payment_id,
                       r.schedule_id, r.seat_ids
                from concert.reservations r
                where r.reservation_id = q.reservation_id
                  and r.user_id = q.user_id
                limit 1
            ) r on true
            left join lateral (
                select *
                from concert.payments d
                where d.payment_id = r.payment_id
                  and d.operation = q.operation
                limit 1
            ) d on true
            offset 0
        ) i
    ), paid as (
        insert into concert.payments
            (payment_id, operation, reservation_id, user_id, amount, method,
             status, created_at)
        overriding system value
        select j.payment_id, j.operation, j.reservation_id, j.user_id, j.amount,
               'balance', 'PAID', v_now
        from judged j
        where j.payment_id is not null
    ), sold as (
        update concert.reservations r
        set status = 'PAID',
            payment_id = j.payment_id
        from judged j
        where j.payment_id is not null
          and r.reservation_id = j.reservation_id
          and r.reservation_id = any (p_reservations)
    ), kept as (
        update concert.seats s
        set hold_until = 'infinity'
        from judged j
        where j.payment_id is not null
          and s.schedule_id = j.schedule_id
          and s.seat_id = any (j.seat_ids)
    )
    select j.request, j.outcome, coalesce(j.payment_id, j.done),
           case when j.payment_id is not null then j.amount else j.paid end,
           case when j.payment_id is not null then v_now_ms
                else concert.epoch_ms(j.created_at) end
    from judged j;
end
$$;

-- The same for a request that is alone.

create function concert.pay_one(
    p_operation uuid, p_user bigint, p_reservation bigint, p_amount bigint,
    out request bigint, out outcome text, out payment_id bigint,
    out amount bigint, out paid_ms bigint)
language plpgsql as $$
#variable_conflict use_column
declare
    v_balance  bigint;
    v_held     concert.reservations;
    v_done     concert.payments;
    v_now      timestamptz;
    v_payment  bigint;
begin
    perform
    from concert.reservations r
    join concert.seats s on s.schedule_id = r.schedule_id
                        and s.seat_id = any (r.seat_ids)
    where r.reservation_id = p_reservation
    order by s.schedule_id, s.seat_id
    for no key update of s;

    select a.balance
    into v_balance
    from concert.accounts a
    where a.account_id = p_user
    for no key update;

    v_now := clock_timestamp();
    request := 1;

    select *
    into v_held
    from concert.reservations r
    where r.reservation_id = p_reservation
      and r.user_id = p_user;

    if v_held.payment_id is not null then
        select *
        into v_done
        from concert.payments d
        where d.payment_id = v_held.payment_id
          and d.operation = p_operation;

        if found then
            outcome := 'ok';
            payment_id := v_done.payment_id;
            amount := v_done.amount;
            paid_ms := concert.epoch_ms(v_done.created_at);
            return;
        end if;
    end if;

    outcome := concert.pay_conflict(v_held.status, v_held.hold_until,
                                    v_held.total_price, v_balance, p_amount, v_now);

    if outcome is not null then
        return;
    end if;

    v_payment := nextval('concert.payments_payment_id_seq');

    update concert.seats s
    set hold_until = 'infinity'
    where s.schedule_id = v_held.schedule_id
      and s.seat_id = any (v_held.seat_ids)
      and s.reservation_id = p_reservation;

    -- one statement, at the end of which either has the other

    with paid as (
        insert into concert.payments
            (payment_id, operation, reservation_id, user_id, amount, method,
             status, created_at)
        overriding system value
        values (v_payment, p_operation, p_reservation, p_user, p_amount, 'balance',
                'PAID', v_now)
    )
    update concert.reservations r
    set status = 'PAID',
        payment_id = v_payment
    where r.reservation_id = p_reservation;

    outcome := 'ok';
    payment_id := v_payment;
    amount := p_amount;
    paid_ms := concert.epoch_ms(v_now);
end
$$;
