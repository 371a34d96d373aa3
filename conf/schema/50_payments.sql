-- Payments, from a balance or by card, and what they can never become.

-- What a balance pays is a fact of its reservation (40_reservations.sql), not a row
-- of payments.

create trigger payments_are_by_card
    before insert on concert.payments
    for each row when (new.method <> 'card')
    execute function concert.refuse('a payment from a balance is its reservation''s');

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

-- Why a hold was not paid, or what its operation has paid already, whose outcome is
-- 'ok'.  A null outcome: nothing stands against it.

create function concert.not_paid(
    p_operation uuid, p_user bigint, p_reservation bigint, p_amount bigint,
    p_now timestamptz,
    out outcome text, out payment_id bigint, out amount bigint, out paid_ms bigint)
language plpgsql as $$
#variable_conflict use_column
declare
    v_held     concert.reservations;
    v_done     concert.all_payments;
    v_balance  bigint;
begin
    select *
    into v_held
    from concert.reservations r
    where r.reservation_id = p_reservation
      and r.user_id = p_user;

    select *
    into v_done
    from concert.all_payments d
    where d.payment_id = coalesce(v_held.payment_id, v_held.reservation_id)
      and d.operation = p_operation;

    if found then
        outcome := 'ok';
        payment_id := v_done.payment_id;
        amount := v_done.amount;
        paid_ms := concert.epoch_ms(v_done.created_at);
        return;
    end if;

    select a.balance
    into v_balance
    from concert.accounts a
    where a.account_id = p_user;

    outcome := concert.pay_conflict(v_held.status, v_held.hold_until,
                                    v_held.total_price, v_balance, p_amount, p_now);
end
$$;


-- Pays reservations from their users' balances.  Locks the seats, the
-- accounts; a reservation changes under the locks of its seats.
--
-- One statement takes the seats for good of the holds that it finds as they were
-- read, and pays those whose balance has enough: of several of one user, the
-- first.  The others' seats are held again before they are told why, one after
-- the other, or can be paid now.

create function concert.pay(p_operations uuid[], p_users bigint[],
                            p_reservations bigint[], p_amounts bigint[])
returns table (request bigint, outcome text, payment_id bigint,
               amount bigint, paid_ms bigint)
language plpgsql
security definer set search_path = pg_catalog, pg_temp
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
    v_now    timestamptz := clock_timestamp();
    v_done   boolean[] := array_fill(false, array[cardinality(p_operations)]);
    v_count  bigint;
    v_paid   boolean;
    v_parts  bigint[] := '{}';
begin
    if cardinality(p_operations) > 1 then
        v_count := 0;
        outcome := 'ok';
        paid_ms := concert.epoch_ms(v_now);

        for request, payment_id, amount, v_paid in
            with wanted as materialized (
                select q.*, r.schedule_id, w.seat_id, r.count, r.hold_until
                from unnest(p_operations, p_users, p_reservations, p_amounts)
                     with ordinality
                     as q (operation, user_id, reservation_id, amount, request)
                cross join lateral (
                    select r.schedule_id, r.seat_ids, r.hold_until,
                           cardinality(r.seat_ids) as count
                    from concert.reservations r
                    where r.reservation_id = q.reservation_id
                      and r.user_id = q.user_id
                      and r.status = 'HELD'
                      and r.hold_until > v_now
                      and r.total_price = q.amount
                    limit 1
                ) r
                cross join lateral unnest(r.seat_ids) as w (seat_id)
                order by r.schedule_id, w.seat_id, q.request
            ), taken as (
                update concert.seats s
                set hold_until = 'infinity'
                from wanted w
                where s.schedule_id = w.schedule_id
                  and s.seat_id = w.seat_id
                  and s.reservation_id = w.reservation_id
                  and s.hold_until = w.hold_until
                returning w.request, w.operation, w.user_id, w.reservation_id,
                          w.amount, w.count
            ), got as materialized (
                select t.request, t.operation, t.user_id, t.reservation_id,
                       t.amount, count(*) = t.count as whole
                from taken t
                group by t.request, t.operation, t.user_id, t.reservation_id,
                         t.amount, t.count
            ), locked as materialized (
                select g.*, a.balance
                from got g
                join concert.accounts a on a.account_id = g.user_id
                order by a.account_id, g.request
                for no key update of a
            ), judged as materialized (
                select l.*, l.whole and l.balance >= l.amount
                            and l.request = min(l.request) over (partition by l.user_id)
                            as able
                from locked l
            ), paid as (
                update concert.reservations r
                set status = 'PAID',
                    paid_operation = j.operation,
                    paid_at = v_now
                from judged j
                where r.reservation_id = j.reservation_id
                  and r.user_id = j.user_id
                  and j.able
            )
            select j.request, j.reservation_id, j.amount, j.able
            from judged j
        loop
            if v_paid then
                v_done[request] := true;
                v_count := v_count + 1;
                return next;
            else
                v_parts := v_parts || payment_id;
            end if;
        end loop;

        if v_count = cardinality(p_operations) then
            return;
        end if;

        perform concert.hold_seats(v_parts);
    end if;

    for i in 1 .. cardinality(p_operations) loop
        continue when v_done[i];
        outcome := null;

        if v_count is not null then
            select *
            into outcome, payment_id, amount, paid_ms
            from concert.not_paid(p_operations[i], p_users[i], p_reservations[i],
                                  p_amounts[i], v_now);
        end if;

        if outcome is null then
            select *
            into outcome, payment_id, amount, paid_ms
            from concert.pay_one(p_operations[i], p_users[i], p_reservations[i],
                                 p_amounts[i]);
        end if;

        request := i;
        return next;
    end loop;
end
$$;

-- Seats that are to be held until when their reservations are.

create function concert.hold_seats(p_reservations bigint[]) returns void
language sql as $$
    update concert.seats s
    set hold_until = e.hold_until
    from (select r.schedule_id, unnest(r.seat_ids) as seat_id, r.reservation_id,
                 r.hold_until
          from concert.reservations r
          where r.reservation_id = any (p_reservations)) e
    where s.schedule_id = e.schedule_id
      and s.seat_id = e.seat_id
      and s.reservation_id = e.reservation_id
$$;

-- One request, that nothing is known to stand against.

create function concert.pay_one(
    p_operation uuid, p_user bigint, p_reservation bigint, p_amount bigint,
    out outcome text, out payment_id bigint, out amount bigint, out paid_ms bigint)
language plpgsql as $$
#variable_conflict use_column
declare
    v_now      timestamptz := clock_timestamp();
    v_held     concert.reservations;
    v_balance  bigint;
    v_taken    bigint := 0;
begin
    select *
    into v_held
    from concert.reservations r
    where r.reservation_id = p_reservation
      and r.user_id = p_user
      and r.status = 'HELD'
      and r.hold_until > v_now
      and r.total_price = p_amount;

    if found then
        update concert.seats s
        set hold_until = 'infinity'
        where s.schedule_id = v_held.schedule_id
          and s.seat_id = any (v_held.seat_ids)
          and s.reservation_id = p_reservation
          and s.hold_until = v_held.hold_until;

        get diagnostics v_taken = row_count;
    end if;

    if v_taken = cardinality(v_held.seat_ids) then
        select a.balance
        into v_balance
        from concert.accounts a
        where a.account_id = p_user
        for no key update;
    end if;

    if v_balance >= p_amount is not true then
        if v_taken > 0 then
            perform concert.hold_seats(array[p_reservation]);
        end if;

        select *
        into outcome, payment_id, amount, paid_ms
        from concert.not_paid(p_operation, p_user, p_reservation, p_amount, v_now);

        return;
    end if;

    update concert.reservations r
    set status = 'PAID',
        paid_operation = p_operation,
        paid_at = v_now
    where r.reservation_id = p_reservation;

    outcome := 'ok';
    payment_id := p_reservation;
    amount := p_amount;
    paid_ms := concert.epoch_ms(v_now);
end
$$;
