-- Payments that wait until the buyer pays into a virtual account, which takes as
-- long as it takes: hours or days, in which the gateway has failed in nothing.
--
-- settle has one more verdict, beside those of 005_cards.sql:
--
--     deposit    the gateway has given the buyer an account, and nothing has
--                come; asked again later, as 'unknown' is
--
-- It changes no state.  Such a payment is PENDING and keeps its seats, until it is
-- 'approved' or, as the account has run out, 'declined'; but it is counted apart
-- from those of which nobody knows what became of them, and no number of them
-- keeps cards from being taken.

alter table concert.orders
    add column deposit boolean not null default false;

comment on column concert.orders.deposit is
    'it waits, or waited, for one into a virtual account';

drop index concert.orders_pending;

create index orders_pending on concert.orders (pending_since)
    where pending_since is not null and not deposit;

create index orders_deposits on concert.orders (pending_since)
    where pending_since is not null and deposit;


-- How many payments and refunds the gateway has not settled yet, and for how
-- long the oldest of them has waited; null: there is none.  Deposits that are
-- awaited are not among the pending.

drop function concert.unsettled();

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


-- As it was, but for deposits.  p_max_pending (null: no limit): so many may be
-- PENDING that wait for no deposit.

create or replace function concert.claim(
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

-- As it was, with one verdict more.

create or replace function concert.settle_one(
    p_payment concert.payments, p_verdict text, p_amount bigint, p_code text,
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

create or replace function concert.look_again(
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
