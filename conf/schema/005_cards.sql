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
-- Locks follow those of 001_tables.sql: seats, reservations, accounts, then
-- orders by id.  A payment and its refund change only under the lock of the
-- order or, where a balance paid, of the reservation.  claim, settle and refund
-- work on one request after the other, unlike those of 002_functions.sql: there
-- are as many of them as the gateway has answers, not as the house has clicks.


-- One attempt to pay, with all that the gateway knows it by.  Without payment_id
-- it is not used yet.

create table concert.orders (
    order_id        text collate "C" primary key
                    check (order_id ~ '^[A-Za-z0-9_-]{6,64}$'),
    user_id         bigint not null references concert.accounts,
    reservation_id  bigint references concert.reservations,
    amount          bigint not null check (amount between 1 and 9007199254740991),
    created_at      timestamptz not null default now(),
    payment_id      bigint,
    payment_key     text collate "C" check (length(payment_key) between 1 and 200),
    pending_since   timestamptz,
    next_look_at    timestamptz,
    tries           integer not null default 0,
    code            text,
    reason          text,
    check ((payment_id is null) = (payment_key is null)),
    check (payment_id is not null
           or num_nonnulls(pending_since, next_look_at, code, reason) = 0)
);

comment on column concert.orders.reservation_id is 'null: a top-up';
comment on column concert.orders.pending_since is 'null: not PENDING';
comment on column concert.orders.next_look_at is
    'when the gateway is to be asked what became of it';
comment on column concert.orders.tries is 'how often the answer was not known';
comment on column concert.orders.code is 'the gateway''s, as is the reason';

create unique index orders_of_payment on concert.orders (payment_id)
    where payment_id is not null;

create index orders_pending on concert.orders (pending_since)
    where pending_since is not null;

create index orders_due on concert.orders (next_look_at)
    where next_look_at is not null;

create index orders_unused on concert.orders (created_at)
    where payment_id is null;

-- Money on its way back; the operation is the key of the request that tells the
-- gateway.

create table concert.refunds (
    payment_id   bigint primary key,
    operation    uuid not null unique,
    reason       text,
    transfer_id  bigint references concert.transfers,
    created_at   timestamptz not null default now(),
    finished_at  timestamptz,
    check (transfer_id is null or finished_at is not null)
);

create index refunds_open on concert.refunds (created_at)
    where finished_at is null;


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
-- reservation, an order of the same that somebody looks after, a refund.

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
            or (f.transfer_id is null) = (p.transfer_id is null))
    from concert.payments p
    left join concert.reservations r on r.reservation_id = p.reservation_id
                                    and r.payment_id = p.payment_id
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

-- The same from the other side.  A reservation that a balance pays does not
-- come by here.

create function concert.check_reservation_is_paid() returns trigger
language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
begin
    if exists (select
               from concert.reservations r
               left join concert.payments p
                      on p.reservation_id = r.reservation_id
                     and p.status in ('PENDING', 'PAID')
               where r.reservation_id = new.reservation_id
                 and case r.status
                     when 'PAYING' then p.status = 'PENDING'
                                        and p.payment_id = r.payment_id
                     when 'PAID' then p.status = 'PAID'
                                      and p.payment_id = r.payment_id
                     else p.payment_id is null end is not true)
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
    for each row when (new.status = 'PAYING' or old.status in ('PAYING', 'PAID'))
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
    select p.payment_id, p.reservation_id, p.amount, p.status,
           concert.epoch_ms(coalesce(p.paid_at, p.created_at)), p.method,
           o.code, o.reason
    from concert.payments p
    left join concert.orders o on o.payment_id = p.payment_id
    where p.payment_id = p_payment
      and p.user_id = p_user;
end
$$;

-- How many payments and refunds the gateway has not settled yet, and for how
-- long the oldest of them has waited; null: there is none.

create function concert.unsettled()
returns table (pending bigint, pending_age_ms bigint,
               refunding bigint, refunding_age_ms bigint)
language plpgsql stable
security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_now  timestamptz := clock_timestamp();
begin
    return query
    select o.count, concert.epoch_ms(v_now) - concert.epoch_ms(o.oldest),
           f.count, concert.epoch_ms(v_now) - concert.epoch_ms(f.oldest)
    from (select count(*), min(pending_since) as oldest
          from concert.orders
          where pending_since is not null) o
    cross join (select count(*), min(created_at) as oldest
                from concert.refunds
                where finished_at is null) f;
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

create function concert.payment_debit(p_payment concert.payments) returns bigint
language sql immutable as $$
    select case p_payment.method when 'card' then -1 else p_payment.user_id end
$$;

create function concert.payment_credit(p_payment concert.payments) returns bigint
language sql immutable as $$
    select case when p_payment.reservation_id is null then p_payment.user_id
                else 0 end
$$;

-- Moves a payment to PAID, DECLINED, REFUNDING or REFUNDED, with everything that
-- belongs to it.  All is locked.  p_operation: the refund's.

create function concert.move_payment(p_payment concert.payments, p_status text,
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

    if p_status = 'REFUNDED' and p_payment.transfer_id is not null then
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
-- p_max_pending (null: no limit): so many may be PENDING, and as many more as
-- other sessions claim at the same time; then the outcome is 'overloaded'.
-- Locks the seats, the reservations, the orders.

create function concert.claim(p_operations uuid[], p_users bigint[],
                              p_reservations bigint[], p_amounts bigint[],
                              p_orders text[], p_payment_keys text[],
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

        v_payment := (select p.payment_id
                      from concert.payments p
                      where p.operation = q.operation);

        if v_payment is null
           and v_order.payment_key = q.payment_key
           and v_order.amount = q.amount
        then
            v_payment := v_order.payment_id;
        end if;

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
    select p.payment_id, p.operation, p.amount, p.status,
           concert.epoch_ms(coalesce(p.paid_at, p.created_at)), o.code, o.reason
    from concert.payments p
    left join concert.orders o on o.payment_id = p.payment_id
    where p.payment_id = p_payment
$$;

-- claim with keys.  p_route: 'pay' or 'charge', whose keys they are.  A repeat is
-- answered with the payment as it is now.

create function concert.claim_once(p_route text, p_operations uuid[],
                                   p_users bigint[], p_reservations bigint[],
                                   p_amounts bigint[], p_orders text[],
                                   p_payment_keys text[], p_look_ms bigint,
                                   p_max_pending bigint, p_keys text[],
                                   p_digests text[])
returns table (request bigint, outcome text, payment_id bigint,
               operation uuid, amount bigint, status text, paid_ms bigint,
               code text, reason text, replayed boolean)
language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_claims  concert.key_claim[] :=
                  concert.claim_keys(p_route, p_users, p_keys, p_digests);
    v_new     bigint[] := array(select request
                                from unnest(v_claims)
                                where verdict = 'new');
begin
    return query
    select c.request, coalesce(c.answer ->> 'outcome', c.verdict), s.*,
           c.answer is not null and c.operation <> p_operations[c.request]
    from unnest(v_claims) c
    left join lateral concert.claimed((c.answer ->> 'payment_id')::bigint) s
           on true
    where c.verdict <> 'new';

    for request, outcome, payment_id, operation, amount, status, paid_ms, code,
        reason
    in
        select v_new[d.request], d.outcome, d.payment_id, d.operation, d.amount,
               d.status, d.paid_ms, d.code, d.reason
        from concert.claim(concert.pick(p_operations, v_new),
                           concert.pick(p_users, v_new),
                           concert.pick(p_reservations, v_new),
                           concert.pick(p_amounts, v_new),
                           concert.pick(p_orders, v_new),
                           concert.pick(p_payment_keys, v_new),
                           p_look_ms, p_max_pending) d
    loop
        replayed := false;

        -- what says "later" is no decision

        if outcome not in ('payment_in_progress', 'overloaded') then
            perform concert.keep_answer(
                p_route, p_users[request], p_keys[request], p_digests[request],
                p_operations[request],
                jsonb_build_object('outcome', outcome,
                                   'payment_id', payment_id));
        end if;

        return next;
    end loop;
end
$$;


-- Settles payments by what the gateway says.  The verdicts:
--
--     approved   the gateway has taken p_amounts
--     declined   it has not, and will not, for this order
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
    v_payment  concert.payments;
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
               p.amount, p.status,
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
        from concert.payments p
        where p.payment_id = any (p_payments)));

    perform
    from concert.accounts a
    where a.account_id in (select p.user_id
                           from concert.payments p
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

create function concert.balance_allows(p_payment concert.payments, p_change bigint)
returns boolean
language sql stable as $$
    select a.balance between -p_change and 9007199254740991 - p_change
    from concert.accounts a
    where a.account_id = p_payment.user_id
$$;

create function concert.settle_one(p_payment concert.payments, p_verdict text,
                                   p_amount bigint, p_code text, p_reason text,
                                   p_now timestamptz,
                                   out outcome text, out changed boolean)
language plpgsql as $$
declare
    v_fits    boolean;
    v_status  text;
begin
    if p_verdict not in ('approved', 'declined', 'unknown', 'refunded',
                         'refund_unknown', 'abandoned')
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

-- No news of a payment: when to look at it again, or that nobody need.

create function concert.look_again(p_payment bigint, p_status text,
                                   p_verdict text, p_now timestamptz)
returns void
language sql as $$
    update concert.orders o
    set tries = case when v.wait then o.tries + 1 else 0 end,
        next_look_at = case when v.wait
                            then concert.next_look(p_now, o.tries + 1) end
    from (select p_verdict in ('unknown', 'refund_unknown')
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
           l.order_id, l.payment_key, p.amount, p.user_id, p.reservation_id,
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
    v_payment  concert.payments;
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
        from concert.payments p
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
               p.amount, p.method, p.status
        from (select) one
        left join concert.payments p on p.payment_id = q.payment_id;
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


-- For a new connection that will write, where payments by card are taken: as
-- warm, with the operations of this file.

create function concert.warm_cards() returns table (version integer)
language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    perform concert.place_order(array[gen_random_uuid()], array[0], array[0],
                                array[1]);
    perform concert.claim(array[gen_random_uuid()], array[0], array[0], array[1],
                          array[''], array[''], 0, null);
    perform concert.settle(array[0], array['unknown'], array[0], array[''],
                           array['']);

    return query select r.version from concert.warm() r;
end
$$;


-- The proof: every rule that must hold, and how many rows break it.

create function concert.violations() returns table (rule text, broken bigint)
language sql stable as $$
    select 'a balance equals the sum of its ledger rows', count(*)
    from concert.accounts a
    left join (select l.account_id, sum(l.amount) as amount
               from concert.ledger l
               group by l.account_id) l on l.account_id = a.account_id
    where a.balance <> coalesce(l.amount, 0)
    union all
    select 'the ledger sums to zero', count(*)
    from (select sum(l.amount) as amount from concert.ledger l) t
    where t.amount <> 0
    union all
    select 'a seat is in at most one paid reservation', count(*)
    from (select
          from concert.reservations r
          cross join lateral unnest(r.seat_ids) as u (seat_id)
          where r.status in ('PAYING', 'PAID')
          group by r.schedule_id, u.seat_id
          having count(*) > 1) d
    union all
    select 'a paid reservation has its seats for good', count(*)
    from concert.reservations r
    cross join lateral unnest(r.seat_ids) as u (seat_id)
    left join concert.seats s on s.schedule_id = r.schedule_id
                             and s.seat_id = u.seat_id
                             and s.reservation_id = r.reservation_id
                             and s.hold_until = 'infinity'
    where r.status in ('PAYING', 'PAID')
      and s.seat_id is null
    union all
    select 'a sold seat has its reservation', count(*)
    from concert.seats s
    left join concert.reservations r on r.reservation_id = s.reservation_id
                                    and r.status in ('PAYING', 'PAID')
    where s.hold_until = 'infinity'
      and r.reservation_id is null
    union all
    select 'a paid reservation has exactly one payment, of its price', count(*)
    from concert.reservations r
    left join (select p.reservation_id, count(*) as payments, sum(p.amount) as amount
               from concert.payments p
               where p.status = 'PAID'
               group by p.reservation_id) p on p.reservation_id = r.reservation_id
    where r.status = 'PAID'
      and (p.payments is distinct from 1 or p.amount <> r.total_price)
    union all
    select 'a payment has its paid reservation', count(*)
    from concert.payments p
    left join concert.reservations r on r.payment_id = p.payment_id
                                    and r.status = 'PAID'
    where p.status = 'PAID'
      and p.reservation_id is not null
      and r.reservation_id is null
    union all
    select 'sales equal the payments', count(*)
    from (select (select coalesce(sum(l.amount), 0)
                  from concert.ledger l
                  where l.account_id = 0)
                 - (select coalesce(sum(p.amount), 0)
                    from concert.payments p
                    where p.reservation_id is not null
                      and p.transfer_id is not null
                      and p.status <> 'REFUNDED') as difference) t
    where t.difference <> 0
    union all
    select 'what the gateway paid equals the payments by card', count(*)
    from (select (select coalesce(sum(case t.debit_account when -1 then t.amount
                                                           else -t.amount end), 0)
                  from concert.transfers t
                  where (t.debit_account, t.credit_account) in ((-1, 0), (0, -1)))
                 - (select coalesce(sum(p.amount), 0)
                    from concert.payments p
                    where p.method = 'card'
                      and p.reservation_id is not null
                      and p.transfer_id is not null
                      and p.status <> 'REFUNDED') as difference) t
    where t.difference <> 0
    union all
    select 'a payment has its transfer, and no other payment has it', count(*)
    from concert.payments p
    left join concert.transfers t
           on t.transfer_id = p.transfer_id
          and t.operation = p.operation
          and t.amount = p.amount
          and t.debit_account = concert.payment_debit(p)
          and t.credit_account = concert.payment_credit(p)
    where (t.transfer_id is null)
          <> (p.status in ('PENDING', 'DECLINED')
              or (p.status in ('REFUNDING', 'REFUNDED') and p.transfer_id is null)
              or p.amount = 0)
    union all
    select 'a refund gives back what was paid, once', count(*)
    from concert.payments p
    left join concert.refunds f on f.payment_id = p.payment_id
    left join concert.transfers t
           on t.transfer_id = f.transfer_id
          and t.operation = f.operation
          and t.amount = p.amount
          and t.debit_account = concert.payment_credit(p)
          and t.credit_account = concert.payment_debit(p)
    where (t.transfer_id is not null)
          <> (p.status = 'REFUNDED' and p.transfer_id is not null)
    union all
    select 'a pending payment has its paying reservation', count(*)
    from concert.payments p
    left join concert.reservations r on r.payment_id = p.payment_id
                                    and r.status = 'PAYING'
    where p.status = 'PENDING'
      and p.reservation_id is not null
      and r.reservation_id is null
    union all
    select 'a paying reservation has its pending payment', count(*)
    from concert.reservations r
    left join concert.payments p on p.payment_id = r.payment_id
                                and p.reservation_id = r.reservation_id
                                and p.amount = r.total_price
                                and p.status = 'PENDING'
    where r.status = 'PAYING'
      and p.payment_id is null
    union all
    select 'a payment by card has what belongs to its state', count(*)
    from concert.payments p
    where (p.method = 'card' or p.status <> 'PAID')
      and concert.payment_is_whole(p.payment_id) is not true
    union all
    select 'an order or a refund that names a payment has it', count(*)
    from (select payment_id
          from concert.orders
          where payment_id is not null
          union
          select payment_id
          from concert.refunds) n
    left join concert.payments p on p.payment_id = n.payment_id
    where p.payment_id is null
$$;
