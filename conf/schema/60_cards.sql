-- Payments and top-ups by card, through a gateway that may answer late, twice or
-- not at all.
--
-- An order comes first (place_order): its id and amount are what the client
-- names at the gateway.  Then claim, committed before the gateway is asked, with
-- the payment's operation as the key of that request; and settle, with what the
-- gateway's answer means, its verdict.  Until that is known, due returns the
-- payment again and again, to be looked up.
--
--     from       to         why
--     (order)    PENDING    claim
--     PENDING    PAID       'approved', of the payment's amount
--                DECLINED   'declined'
--                REFUNDING  'approved', but of another amount, or more than the
--                           user's balance can have; 'abandoned'
--                REFUNDED   'refunded'
--     DECLINED   REFUNDING  'approved': the money was taken after all
--     PAID       REFUNDING  refund, by an operator
--                REFUNDED   'refunded', by whom we do not know; refund, where a
--                           balance paid
--     REFUNDING  REFUNDED   'refunded'
--
-- Any other verdict changes no state, and no other change of a state is possible:
-- what is told late, twice or in another order does no harm.  While PENDING the
-- reservation is PAYING and its seats are held for good; DECLINED, REFUNDING and
-- REFUNDED leave it HELD if its time is not over, else EXPIRED; a payment that was
-- PAID leaves it CANCELLED.
--
-- A payment and its refund change only under the lock of the order or, where a
-- balance paid, of the reservation's seats.  claim, settle and refund work on one
-- request after the other, unlike reserve and pay: there are as many of them as
-- the gateway has answers, not as the house has clicks.


-- What stays as it is.

create trigger orders_keep_their_payment
    before update on concert.orders
    for each row when ((new.order_id, new.user_id, new.amount, new.created_at)
                       <> (old.order_id, old.user_id, old.amount, old.created_at)
                       or new.reservation_id is distinct from old.reservation_id
                       or (old.payment_id is not null
                           and (new.payment_id, new.payment_key)
                               is distinct from (old.payment_id, old.payment_key)))
    execute function concert.refuse('an order stays what it is');

create trigger used_orders_stay
    before delete on concert.orders
    for each row when (old.payment_id is not null)
    execute function concert.refuse('an order that was used is never deleted');

create trigger refunds_are_finished_once
    before update on concert.refunds
    for each row when ((new.payment_id, new.operation, new.created_at)
                       <> (old.payment_id, old.operation, old.created_at)
                       or old.finished_at is not null)
    execute function concert.refuse('a refund stays what it is');

create trigger refunds_stay
    before delete on concert.refunds
    for each row execute function concert.refuse('a refund is never deleted');

-- Whether a payment has all that belongs to its state: the state of its
-- reservation, an order of the same that somebody looks after, a refund, and the
-- transfers that it names.

create function concert.payment_is_whole(p_payment bigint) returns boolean
language sql stable as $$
    select (case p.status
            when 'PENDING' then p.reservation_id is null or r.status = 'PAYING'
            when 'PAID' then p.reservation_id is null or r.status = 'PAID'
            else coalesce(r.status not in ('PAYING', 'PAID'), true) end)
       and (p.method = 'balance'
            or (o.user_id = p.user_id
                and o.reservation_id is not distinct from p.reservation_id
                and o.amount = p.amount
                and (o.pending_since is not null) = (p.status = 'PENDING')
                and (o.next_look_at is not null
                     or p.status not in ('PENDING', 'REFUNDING'))))
       and (f.payment_id is not null) = (p.status in ('REFUNDING', 'REFUNDED'))
       and (f.finished_at is not null) = (p.status = 'REFUNDED')
       and (p.status <> 'REFUNDED'
            or (f.transfer_id is not null) = (p.transfer_id is not null
                                             or (p.method = 'balance'
                                                 and p.amount > 0)))
       and (p.transfer_id is null
            or exists (select
                       from concert.transfers t
                       where t.operation = p.operation
                         and t.transfer_id = p.transfer_id))
       and (f.transfer_id is null
            or exists (select
                       from concert.transfers t
                       where t.operation = f.operation
                         and t.transfer_id = f.transfer_id))
    from concert.all_payments p
    left join concert.reservations r
           on r.reservation_id = p.reservation_id
          and coalesce(r.payment_id, r.reservation_id) = p.payment_id
    left join concert.orders o on o.payment_id = p.payment_id
    left join concert.refunds f on f.payment_id = p.payment_id
    where p.payment_id = p_payment
$$;

create function concert.check_payment_is_whole() returns trigger
language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
begin
    if concert.payment_is_whole(new.payment_id) is not true then
        raise exception 'payment % is not as its state says', new.payment_id
            using errcode = 'integrity_constraint_violation';
    end if;

    return null;
end
$$;

create constraint trigger payments_are_whole
    after insert or update on concert.payments
    deferrable initially deferred
    for each row when (new.method = 'card' or new.status <> 'PAID')
    execute function concert.check_payment_is_whole();

create constraint trigger orders_have_their_payment
    after insert or update on concert.orders
    deferrable initially deferred
    for each row when (new.payment_id is not null)
    execute function concert.check_payment_is_whole();

create constraint trigger refunds_have_their_payment
    after insert or update on concert.refunds
    deferrable initially deferred
    for each row
    execute function concert.check_payment_is_whole();

-- The same from the other side.  A payment is one of its reservation's only if
-- that names it, so one that is PENDING or PAID is never left.  A reservation that
-- a balance pays does not come by here.

create function concert.check_reservation_is_paid() returns trigger
language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
begin
    if exists (select
               from concert.reservations r
               left join concert.all_payments p
                      on p.payment_id = coalesce(r.payment_id, r.reservation_id)
                     and p.reservation_id = r.reservation_id
               where r.reservation_id = new.reservation_id
                 and case r.status
                     when 'PAYING' then p.status = 'PENDING'
                     when 'PAID' then p.status = 'PAID'
                     else p.status is null
                          or (p.status not in ('PENDING', 'PAID')
                              and (p.method = 'card'
                                   or concert.payment_is_whole(p.payment_id)))
                     end is not true)
       or exists (select
                  from concert.reservations r
                  join concert.payments p on p.payment_id = old.payment_id
                  where r.reservation_id = new.reservation_id
                    and r.payment_id is distinct from old.payment_id
                    and p.status in ('PENDING', 'PAID'))
    then
        raise exception 'reservation % does not have its payment',
                        new.reservation_id
            using errcode = 'integrity_constraint_violation';
    end if;

    return null;
end
$$;

create constraint trigger reservations_have_their_payment
    after update on concert.reservations
    deferrable initially deferred
    for each row when (new.status = 'PAYING' or old.status in ('PAYING', 'PAID')
                       or old.payment_id <> new.payment_id)
    execute function concert.check_reservation_is_paid();


-- Reads.

-- A payment, as its owner may see it.  paid_ms is when it was asked for, until it
-- is paid.  A null reservation_id: a top-up.  code and reason are the gateway's,
-- the last that it gave.

create function concert.payment(p_user bigint, p_payment bigint)
returns table (payment_id bigint, reservation_id bigint, amount bigint,
               status text, paid_ms bigint, method text, code text, reason text)
language plpgsql stable
security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    return query
    select p.payment_id, p.reservation_id, p.amount::bigint, p.status,
           concert.epoch_ms(coalesce(p.paid_at, p.created_at)), p.method,
           o.code, o.reason
    from concert.all_payments p
    left join concert.orders o on o.payment_id = p.payment_id
    where p.payment_id = p_payment
      and p.user_id = p_user;
end
$$;

-- How many payments and refunds the gateway has not settled yet, and for how
-- long the oldest of them has waited; null: there is none.  Deposits that are
-- awaited are not among the pending.

create function concert.unsettled()
returns table (pending bigint, pending_age_ms bigint,
               refunding bigint, refunding_age_ms bigint, deposits bigint)
language plpgsql stable
security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_now  timestamptz := clock_timestamp();
begin
    return query
    select o.count, concert.epoch_ms(v_now) - concert.epoch_ms(o.oldest),
           f.count, concert.epoch_ms(v_now) - concert.epoch_ms(f.oldest),
           d.count
    from (select count(*), min(pending_since) as oldest
          from concert.orders
          where pending_since is not null
            and not deposit) o
    cross join (select count(*), min(created_at) as oldest
                from concert.refunds
                where finished_at is null) f
    cross join (select count(*)
                from concert.orders
                where pending_since is not null
                  and deposit) d;
end
$$;


-- Steps of the operations.

create function concert.lock_orders(p_orders text[]) returns void
language sql as $$
    select
    from concert.orders o
    where o.order_id = any (p_orders)
    order by o.order_id
    for no key update
$$;

-- The state that a verdict leads to.  p_fits: what was approved can be had.

create function concert.settled_status(p_status text, p_verdict text,
                                       p_fits boolean)
returns text
language sql immutable as $$
    select case
        when p_verdict = 'approved' then
            case when p_status = 'PENDING' and p_fits then 'PAID'
                 when p_status in ('PENDING', 'DECLINED') then 'REFUNDING'
                 else p_status end
        when p_verdict = 'refunded' and p_status in ('PENDING', 'PAID', 'REFUNDING')
            then 'REFUNDED'
        when p_verdict = 'declined' and p_status = 'PENDING' then 'DECLINED'
        when p_verdict = 'abandoned' and p_status = 'PENDING' then 'REFUNDING'
        else p_status
    end
$$;

-- When to ask again after p_tries times in vain: 1 s, 2 s, 4 s ... 5 min, and up
-- to a fifth less, so that what failed together does not come back together.

create function concert.next_look(p_now timestamptz, p_tries integer)
returns timestamptz
language sql volatile as $$
    select p_now + least(power(2, least(p_tries, 16) - 1), 300)
                   * (1 - 0.2 * random()) * interval '1 s'
$$;

-- Ends a reservation whose seats and row are locked; its seats are free.

create function concert.end_reservation(p_reservation bigint, p_status text)
returns void
language sql as $$
    update concert.seats s
    set reservation_id = null,
        hold_until = '-infinity'
    from (select r.schedule_id, unnest(r.seat_ids) as seat_id, r.reservation_id
          from concert.reservations r
          where r.reservation_id = p_reservation) e
    where s.schedule_id = e.schedule_id
      and s.seat_id = e.seat_id
      and s.reservation_id = e.reservation_id;

    update concert.reservations r
    set status = p_status
    where r.reservation_id = p_reservation;
$$;

-- A reservation whose payment has failed: it is held until its time is over.

create function concert.hold_again(p_reservation bigint, p_now timestamptz)
returns void
language plpgsql as $$
begin
    if exists (select
               from concert.reservations r
               where r.reservation_id = p_reservation
                 and r.hold_until <= p_now)
    then
        perform concert.end_reservation(p_reservation, 'EXPIRED');
        return;
    end if;

    update concert.seats s
    set hold_until = e.hold_until
    from (select r.schedule_id, unnest(r.seat_ids) as seat_id, r.reservation_id,
                 r.hold_until
          from concert.reservations r
          where r.reservation_id = p_reservation) e
    where s.schedule_id = e.schedule_id
      and s.seat_id = e.seat_id
      and s.reservation_id = e.reservation_id;

    update concert.reservations r
    set status = 'HELD',
        payment_id = null
    where r.reservation_id = p_reservation;
end
$$;

-- Where the money of a payment goes: a balance, or sales (0), or, by card, from
-- the gateway (-1) to one of them.

create function concert.payment_debit(p_payment concert.all_payments) returns bigint
language sql immutable as $$
    select case p_payment.method when 'card' then -1 else p_payment.user_id end
$$;

create function concert.payment_credit(p_payment concert.all_payments) returns bigint
language sql immutable as $$
    select case when p_payment.reservation_id is null then p_payment.user_id
                else 0 end
$$;

-- Whether it has moved its money.

create function concert.payment_moved(p_payment concert.all_payments) returns boolean
language sql immutable as $$
    select case p_payment.method when 'balance' then p_payment.amount > 0
                                 else p_payment.transfer_id is not null end
$$;

-- Moves a payment to PAID, DECLINED, REFUNDING or REFUNDED, with everything that
-- belongs to it.  All is locked.  p_operation: the refund's.

create function concert.move_payment(p_payment concert.all_payments, p_status text,
                                     p_operation uuid, p_reason text,
                                     p_now timestamptz)
returns void
language plpgsql as $$
declare
    v_transfer  bigint;
begin
    if p_status = 'PAID' then
        insert into concert.transfers
            (operation, debit_account, credit_account, amount, created_at)
        values (p_payment.operation, concert.payment_debit(p_payment),
                concert.payment_credit(p_payment), p_payment.amount, p_now)
        returning transfer_id into v_transfer;
    end if;

    if p_status = 'REFUNDED' and concert.payment_moved(p_payment) then
        insert into concert.transfers
            (operation, debit_account, credit_account, amount, created_at)
        values (p_operation, concert.payment_credit(p_payment),
                concert.payment_debit(p_payment), p_payment.amount, p_now)
        returning transfer_id into v_transfer;
    end if;

    if p_status in ('REFUNDING', 'REFUNDED') then
        insert into concert.refunds as f
            (payment_id, operation, reason, transfer_id, created_at, finished_at)
        values (p_payment.payment_id, p_operation, p_reason,
                case p_status when 'REFUNDED' then v_transfer end, p_now,
                case p_status when 'REFUNDED' then p_now end)
        on conflict (payment_id) do update
        set transfer_id = excluded.transfer_id,
            finished_at = excluded.finished_at;
    end if;

    update concert.payments p
    set status = p_status,
        transfer_id = case p_status when 'PAID' then v_transfer
                                    else p.transfer_id end,
        paid_at = case p_status when 'PAID' then p_now else p.paid_at end
    where p.payment_id = p_payment.payment_id;

    update concert.orders o
    set pending_since = null,
        next_look_at = case p_status when 'REFUNDING' then p_now end,
        tries = 0
    where o.payment_id = p_payment.payment_id;

    if p_payment.reservation_id is null then
        return;
    end if;

    if p_status = 'PAID' then
        update concert.reservations r
        set status = 'PAID'
        where r.reservation_id = p_payment.reservation_id;

    elsif p_payment.status = 'PAID' then
        perform concert.end_reservation(p_payment.reservation_id, 'CANCELLED');

    elsif p_payment.status = 'PENDING' then
        perform concert.hold_again(p_payment.reservation_id, p_now);
    end if;
end
$$;


-- Makes orders: for what a reservation costs, or, where the reservation is null,
-- for a top-up of an amount.  The operation is the order's id: nobody must be
-- able to guess it.  Locks nothing; claim judges again.

create function concert.place_order(p_operations uuid[], p_users bigint[],
                                    p_reservations bigint[], p_amounts bigint[])
returns table (request bigint, outcome text, order_id text, amount bigint)
language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_now  timestamptz := clock_timestamp();
begin
    return query
    with judged as materialized (
        select q.request, q.operation::text as order_id, q.user_id,
               q.reservation_id, d.amount as done,
               case when q.reservation_id is null then q.amount
                    else r.total_price end as amount,
               case when d.amount is not null then 'ok'
                    when q.reservation_id is null then
                        case when a.balance is null then 'user_not_found'
                             when a.balance > 9007199254740991 - q.amount
                                 then 'balance_limit'
                             else 'ok' end
                    when r.reservation_id is null then 'reservation_not_found'
                    when r.total_price = 0 then 'amount_mismatch'
                    else coalesce(concert.hold_conflict(r.status, r.hold_until,
                                                        v_now), 'ok')
               end as outcome
        from unnest(p_operations, p_users, p_reservations, p_amounts)
             with ordinality as q (operation, user_id, reservation_id, amount,
                                   request)
        left join lateral (
            select d.amount
            from concert.orders d
            where d.order_id = q.operation::text
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
    ), made as (
        insert into concert.orders
            (order_id, user_id, reservation_id, amount, created_at)
        select order_id, user_id, reservation_id, amount, v_now
        from judged
        where outcome = 'ok'
          and done is null
        on conflict (order_id) do nothing
    )
    select request, outcome,
           case outcome when 'ok' then order_id end,
           case outcome when 'ok' then coalesce(done, amount) end
    from judged
    order by request;
end
$$;

-- What stands against paying an order that is not used yet, or null.

create function concert.claim_conflict(p_user bigint, p_reservation bigint,
                                       p_amount bigint, p_order concert.orders,
                                       p_now timestamptz)
returns text
language plpgsql stable as $$
declare
    v_held  concert.reservations;
begin
    if p_reservation is not null then
        select r.*
        into v_held
        from concert.reservations r
        where r.reservation_id = p_reservation
          and r.user_id = p_user;

        if v_held.reservation_id is null then
            return 'reservation_not_found';
        end if;
    end if;

    return coalesce(
        concert.hold_conflict(v_held.status, v_held.hold_until, p_now),
        case when p_order.pending_since is not null then 'payment_in_progress'
             when p_order.order_id is null or p_order.payment_id is not null
                 then 'order_not_found'
             when p_order.amount <> p_amount
                  or v_held.total_price <> p_amount
                 then 'amount_mismatch'
             when p_reservation is null
                  and (select a.balance
                       from concert.accounts a
                       where a.account_id = p_user) > 9007199254740991 - p_amount
                 then 'balance_limit' end);
end
$$;

-- Claims reservations for payment by card, or, where the reservation is null,
-- begins top-ups: PENDING, until settle.  An order is used once: another claim
-- with the same payment key is a repeat, which is answered with the payment as it
-- is now; its operation, the key for the gateway, is then not the request's.
-- p_look_ms: when the payment is due to be looked up, should nobody settle it.
-- p_max_pending (null: no limit): so many may be PENDING that wait for no deposit,
-- and as many more as other sessions claim at the same time; then the outcome is
-- 'overloaded'.
-- Locks the seats, the reservations, the orders.

create function concert.claim(
    p_operations uuid[], p_users bigint[], p_reservations bigint[],
    p_amounts bigint[], p_orders text[], p_payment_keys text[],
    p_look_ms bigint, p_max_pending bigint)
returns table (request bigint, outcome text, payment_id bigint,
               operation uuid, amount bigint, status text, paid_ms bigint,
               code text, reason text)
language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_now      timestamptz;
    v_pending  bigint;
    v_payment  bigint;
    v_order    concert.orders;
    q          record;
begin
    perform concert.lock_reservations(p_reservations);
    perform concert.lock_orders(p_orders);

    v_now := clock_timestamp();
    v_pending := (select count(*)
                  from (select
                        from concert.orders o
                        where o.pending_since is not null
                          and not o.deposit
                        limit p_max_pending) o);

    for q in
        select *
        from unnest(p_operations, p_users, p_reservations, p_amounts, p_orders,
                    p_payment_keys)
             with ordinality as u (operation, user_id, reservation_id, amount,
                                   order_id, payment_key, request)
    loop
        select o.*
        into v_order
        from concert.orders o
        where o.order_id = q.order_id
          and o.user_id = q.user_id
          and o.reservation_id is not distinct from q.reservation_id;

        v_payment := case when v_order.payment_key = q.payment_key
                               and v_order.amount = q.amount
                          then v_order.payment_id end;
        outcome := 'ok';

        if v_payment is null then
            outcome := coalesce(
                concert.claim_conflict(q.user_id, q.reservation_id, q.amount,
                                       v_order, v_now),
                case when v_pending >= p_max_pending then 'overloaded' end,
                'ok');

            if outcome = 'ok' then
                v_payment := concert.begin_payment(q.operation, v_order,
                                                   q.payment_key, p_look_ms,
                                                   v_now);
                v_pending := v_pending + 1;
            end if;
        end if;

        return query
        select q.request, outcome, s.*
        from (select) one
        left join lateral concert.claimed(v_payment) s on true;
    end loop;
end
$$;

-- Uses an order.  All is locked.

create function concert.begin_payment(p_operation uuid, p_order concert.orders,
                                      p_payment_key text, p_look_ms bigint,
                                      p_now timestamptz)
returns bigint
language plpgsql as $$
declare
    v_payment  bigint;
begin
    insert into concert.payments
        (operation, reservation_id, user_id, amount, method, status, created_at)
    values (p_operation, p_order.reservation_id, p_order.user_id, p_order.amount,
            'card', 'PENDING', p_now)
    returning payment_id into v_payment;

    update concert.orders o
    set payment_id = v_payment,
        payment_key = p_payment_key,
        pending_since = p_now,
        next_look_at = p_now + p_look_ms * interval '1 ms'
    where o.order_id = p_order.order_id;

    update concert.seats s
    set hold_until = 'infinity'
    from (select r.schedule_id, unnest(r.seat_ids) as seat_id, r.reservation_id
          from concert.reservations r
          where r.reservation_id = p_order.reservation_id) e
    where s.schedule_id = e.schedule_id
      and s.seat_id = e.seat_id
      and s.reservation_id = e.reservation_id;

    update concert.reservations r
    set status = 'PAYING',
        payment_id = v_payment
    where r.reservation_id = p_order.reservation_id;

    return v_payment;
end
$$;

-- A payment as claim answers it.

create function concert.claimed(p_payment bigint)
returns table (payment_id bigint, operation uuid, amount bigint, status text,
               paid_ms bigint, code text, reason text)
language sql stable as $$
    select p.payment_id, p.operation, p.amount::bigint, p.status,
           concert.epoch_ms(coalesce(p.paid_at, p.created_at)), o.code, o.reason
    from concert.payments p
    left join concert.orders o on o.payment_id = p.payment_id
    where p.payment_id = p_payment
$$;


-- Settles payments by what the gateway says.  The verdicts:
--
--     approved   the gateway has taken p_amounts
--     declined   it has not, and will not, for this order
--     deposit    the gateway has given the buyer a virtual account, and nothing
--                has come, which may take days: it has failed in nothing, so that
--                is counted apart and keeps no card from being taken; asked again
--                later, as 'unknown' is
--     unknown    there was no answer, or none that is final; asked again later
--     refunded   the gateway has none of the money, any more or at all
--     abandoned  we want it no longer, whatever the gateway has done: it is
--                cancelled there until it says 'refunded'
--
-- 'refund_unknown' is another name for 'unknown'.  A refund that is 'declined' is
-- tried again.  "status" is what the payment is now, "changed" whether that is
-- new.  Outcomes: 'ok', 'payment_not_found', and 'insufficient_balance', where a
-- top-up was refunded at the gateway though it is spent: it stays PAID.  Locks
-- the seats, the reservations, the accounts, the orders.

create function concert.settle(p_payments bigint[], p_verdicts text[],
                               p_amounts bigint[], p_codes text[],
                               p_reasons text[])
returns table (request bigint, outcome text, payment_id bigint,
               user_id bigint, reservation_id bigint, amount bigint,
               status text, paid_ms bigint, code text, reason text,
               changed boolean)
language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_now      timestamptz;
    v_payment  concert.all_payments;
    q          record;
begin
    perform concert.lock_payments(p_payments);
    v_now := clock_timestamp();

    for q in
        select *
        from unnest(p_payments, p_verdicts, p_amounts, p_codes, p_reasons)
             with ordinality as u (payment_id, verdict, amount, code, reason,
                                   request)
    loop
        select p.*
        into v_payment
        from concert.payments p
        where p.payment_id = q.payment_id
          and p.method = 'card';

        outcome := 'payment_not_found';
        changed := false;

        if found then
            select v.outcome, v.changed
            into outcome, changed
            from concert.settle_one(v_payment, q.verdict, q.amount, q.code,
                                    q.reason, v_now) v;
        end if;

        return query
        select q.request, outcome, p.payment_id, p.user_id, p.reservation_id,
               p.amount::bigint, p.status,
               concert.epoch_ms(coalesce(p.paid_at, p.created_at)),
               o.code, o.reason, changed
        from (select) one
        left join concert.payments p on p.payment_id = v_payment.payment_id
        left join concert.orders o on o.payment_id = v_payment.payment_id;
    end loop;
end
$$;

-- Locks all that payments need to change: the seats, the reservations, the
-- accounts whose balances they change, the orders.

create function concert.lock_payments(p_payments bigint[]) returns void
language plpgsql as $$
begin
    perform concert.lock_reservations(array(
        select p.reservation_id
        from concert.all_payments p
        where p.payment_id = any (p_payments)));

    perform
    from concert.accounts a
    where a.account_id in (select p.user_id
                           from concert.all_payments p
                           where p.payment_id = any (p_payments)
                             and (p.reservation_id is null
                                  or p.method = 'balance'))
    order by a.account_id
    for no key update;

    perform concert.lock_orders(array(
        select o.order_id
        from concert.orders o
        where o.payment_id = any (p_payments)));
end
$$;

-- Whether the balance of a payment's user can change by an amount.

create function concert.balance_allows(p_payment concert.all_payments, p_change bigint)
returns boolean
language sql stable as $$
    select a.balance between -p_change and 9007199254740991 - p_change
    from concert.accounts a
    where a.account_id = p_payment.user_id
$$;

create function concert.settle_one(
    p_payment concert.all_payments, p_verdict text, p_amount bigint, p_code text,
    p_reason text, p_now timestamptz, out outcome text, out changed boolean)
language plpgsql as $$
declare
    v_fits    boolean;
    v_status  text;
begin
    if p_verdict not in ('approved', 'declined', 'unknown', 'deposit',
                         'refunded', 'refund_unknown', 'abandoned')
    then
        raise exception '"%" is no verdict', p_verdict
            using errcode = 'invalid_parameter_value';
    end if;

    v_fits := p_amount is not distinct from p_payment.amount
              and (p_payment.reservation_id is not null
                   or concert.balance_allows(p_payment, p_payment.amount));
    v_status := concert.settled_status(p_payment.status, p_verdict, v_fits);
    outcome := 'ok';

    if v_status = 'REFUNDED' and p_payment.transfer_id is not null
       and p_payment.reservation_id is null
       and not concert.balance_allows(p_payment, -p_payment.amount)
    then
        outcome := 'insufficient_balance';
        v_status := p_payment.status;
    end if;

    changed := v_status <> p_payment.status;

    if changed then
        perform concert.move_payment(
            p_payment, v_status,
            coalesce((select f.operation
                      from concert.refunds f
                      where f.payment_id = p_payment.payment_id),
                     gen_random_uuid()),
            null, p_now);

    else
        perform concert.look_again(p_payment.payment_id, v_status, p_verdict,
                                   p_now);
    end if;

    -- what the gateway says of a refund, or again, is not why it was declined

    update concert.orders o
    set code = coalesce(p_code, o.code),
        reason = coalesce(p_reason, o.reason)
    where o.payment_id = p_payment.payment_id
      and (p_payment.status = 'PENDING' or changed)
      and (p_code is not null or p_reason is not null);
end
$$;

-- No news of a payment: when to look at it again, or that nobody need; and that
-- it waits for a deposit, which it does until it is settled, whatever is not
-- known meanwhile.

create function concert.look_again(
    p_payment bigint, p_status text, p_verdict text, p_now timestamptz)
returns void
language sql as $$
    update concert.orders o
    set deposit = o.deposit or p_verdict = 'deposit',
        tries = case when v.wait then o.tries + 1 else 0 end,
        next_look_at = case when v.wait
                            then concert.next_look(p_now, o.tries + 1) end
    from (select p_verdict in ('unknown', 'deposit', 'refund_unknown')
                 or p_status = 'REFUNDING' as wait) v
    where o.payment_id = p_payment
      and o.next_look_at is not null
$$;


-- Takes payments that are due to be looked up, at most p_limit, the oldest
-- first, and puts each off by p_lease_ms, in which nobody else gets it.  Any
-- number of instances may call it.  "status" is PENDING, REFUNDING or, where
-- somebody asked for a look, any; "operation" is the key for the gateway: to
-- confirm a PENDING payment with, to cancel a REFUNDING one.  Locks orders, and
-- never waits.

create function concert.due(p_limit integer, p_lease_ms bigint)
returns table (payment_id bigint, kind text, operation uuid, order_id text,
               payment_key text, amount bigint, user_id bigint,
               reservation_id bigint, status text, tries integer, age_ms bigint)
language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_now  timestamptz := clock_timestamp();
begin
    return query
    with chosen as materialized (
        select o.order_id
        from concert.orders o
        where o.next_look_at <= v_now
        order by o.next_look_at
        limit p_limit
        for no key update skip locked
    ), leased as (
        update concert.orders o
        set next_look_at = v_now + p_lease_ms * interval '1 ms'
        from chosen c
        where o.order_id = c.order_id
        returning o.order_id, o.payment_id, o.payment_key, o.tries
    )
    select l.payment_id,
           case when p.reservation_id is null then 'charge' else 'payment' end,
           case p.status when 'REFUNDING' then f.operation else p.operation end,
           l.order_id, l.payment_key, p.amount::bigint, p.user_id, p.reservation_id,
           p.status, l.tries,
           concert.epoch_ms(v_now)
               - concert.epoch_ms(coalesce(f.created_at, p.created_at))
    from leased l
    join concert.payments p on p.payment_id = l.payment_id
    left join concert.refunds f on f.payment_id = l.payment_id;
end
$$;

-- Makes orders due at once, as somebody says that they have changed at the
-- gateway.  An order that is not used, or whose money is back, is left alone:
-- 'order_not_found'.  Locks the orders.

create function concert.look_now(p_orders text[])
returns table (request bigint, outcome text)
language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    perform concert.lock_orders(p_orders);

    return query
    with hastened as (
        update concert.orders o
        set next_look_at = least(o.next_look_at, clock_timestamp()),
            tries = 0
        from concert.payments p
        where o.order_id = any (p_orders)
          and p.payment_id = o.payment_id
          and p.status <> 'REFUNDED'
        returning o.order_id
    )
    select q.request, case when h.order_id is null then 'order_not_found'
                           else 'ok' end
    from unnest(p_orders) with ordinality as q (order_id, request)
    left join hastened h on h.order_id = q.order_id
    order by q.request;
end
$$;


-- Gives PAID payments of reservations back: the seats are free at once, and the
-- money, if a balance paid, too; else it is REFUNDING until the gateway has given
-- it back.  Once more is 'ok'.  Other outcomes: 'payment_not_found',
-- 'payment_in_progress', 'payment_declined', 'balance_limit', and
-- 'not_refundable' for a top-up, which may be spent.  Locks the seats, the
-- reservations, the accounts, the orders.

create function concert.refund(p_operations uuid[], p_payments bigint[],
                               p_reasons text[])
returns table (request bigint, outcome text, payment_id bigint,
               user_id bigint, reservation_id bigint, amount bigint,
               method text, status text)
language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_now      timestamptz;
    v_payment  concert.all_payments;
    q          record;
begin
    perform concert.lock_payments(p_payments);
    v_now := clock_timestamp();

    for q in
        select *
        from unnest(p_operations, p_payments, p_reasons)
             with ordinality as u (operation, payment_id, reason, request)
    loop
        select p.*
        into v_payment
        from concert.all_payments p
        where p.payment_id = q.payment_id;

        outcome := case
            when v_payment.payment_id is null then 'payment_not_found'
            when v_payment.reservation_id is null then 'not_refundable'
            when v_payment.status = 'PENDING' then 'payment_in_progress'
            when v_payment.status = 'DECLINED' then 'payment_declined'
            when v_payment.status = 'PAID' and v_payment.method = 'balance'
                 and not concert.balance_allows(v_payment, v_payment.amount)
                then 'balance_limit'
            else 'ok' end;

        if outcome = 'ok' and v_payment.status = 'PAID' then
            perform concert.move_payment(
                v_payment,
                case v_payment.method when 'card' then 'REFUNDING'
                                      else 'REFUNDED' end,
                q.operation, q.reason, v_now);
        end if;

        return query
        select q.request, outcome, p.payment_id, p.user_id, p.reservation_id,
               p.amount::bigint, p.method, p.status
        from (select) one
        left join concert.all_payments p on p.payment_id = q.payment_id;
    end loop;
end
$$;


-- Lengthens holds by p_extend_ms, each once: those that cannot be paid as the
-- gateway is away.  Again is 'ok', and changes nothing.  Locks the seats, the
-- reservations.

create function concert.extend_holds(p_users bigint[], p_reservations bigint[],
                                     p_extend_ms bigint)
returns table (request bigint, outcome text, expires_ms bigint)
language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_now  timestamptz;
begin
    perform concert.lock_reservations(p_reservations);

    v_now := clock_timestamp();

    return query
    with judged as materialized (
        select q.request, r.*,
               r.hold_until + case when r.extended_at is null then p_extend_ms
                                   else 0 end * interval '1 ms' as until,
               case when r.reservation_id is null then 'reservation_not_found'
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
    ), longer as materialized (
        select distinct on (reservation_id) reservation_id, schedule_id, seat_ids,
               until
        from judged
        where outcome = 'ok'
          and extended_at is null
        order by reservation_id
    ), kept as (
        update concert.seats s
        set hold_until = l.until
        from (select reservation_id, schedule_id, unnest(seat_ids) as seat_id,
                     until
              from longer) l
        where s.schedule_id = l.schedule_id
          and s.seat_id = l.seat_id
          and s.reservation_id = l.reservation_id
    ), extended as (
        update concert.reservations r
        set hold_until = l.until,
            extended_at = v_now
        from longer l
        where r.reservation_id = l.reservation_id
          and r.reservation_id = any (p_reservations)
    )
    select request, outcome,
           case outcome when 'ok' then concert.epoch_ms(until) end
    from judged
    order by request;
end
$$;


-- Forgets orders that nobody used for 24 hours, at most p_limit; returns how
-- many.

create function concert.purge_orders(p_limit integer) returns table (purged bigint)
language sql
security definer set search_path = pg_catalog, pg_temp as $$
    with old as (
        select o.order_id
        from concert.orders o
        where o.payment_id is null
          and o.created_at <= now() - interval '24 hours'
        order by o.created_at
        limit p_limit
        for update skip locked
    ), gone as (
        delete from concert.orders o
        using old
        where o.order_id = old.order_id
        returning 1
    )
    select count(*) from gone
$$;
