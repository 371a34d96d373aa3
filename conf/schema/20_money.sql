-- Money: what moves it, and what it can never do.

-- Raises its argument: the body of every "never" trigger.

create function concert.refuse() returns trigger
language plpgsql as $$
begin
    raise exception '%', tg_argv[0] using errcode = 'integrity_constraint_violation';
end
$$;

create function concert.epoch_ms(p_time timestamptz) returns bigint
language sql stable parallel safe as $$
    select floor(extract(epoch from p_time) * 1000)::bigint
$$;


-- Every payment: what a balance has paid, and those by card.  One that is looked
-- up by its number is found by either primary key.

create view concert.all_payments as
    select p.payment_id, p.operation, p.reservation_id, p.user_id, p.amount,
           p.method, p.status, p.transfer_id, p.created_at, p.paid_at
    from concert.payments p
    union all
    select r.reservation_id, r.paid_operation, r.reservation_id, r.user_id,
           r.total_price, 'balance',
           case r.status when 'PAID' then 'PAID' else 'REFUNDED' end, null,
           r.paid_at, null
    from concert.reservations r
    where r.paid_operation is not null;

-- Every amount that was moved, and the two ledger rows of each.  A payment from
-- a balance stays here when it is given back, which is a transfer.

create view concert.moves as
    select operation, debit_account, credit_account, amount, created_at
    from concert.transfers
    union all
    select operation, user_id, 0, amount, created_at
    from concert.all_payments
    where method = 'balance'
      and amount > 0;

create view concert.ledger as
    select operation, debit_account as account_id, -amount as amount, created_at
    from concert.moves
    union all
    select operation, credit_account, amount, created_at
    from concert.moves;


-- A transfer, or a reservation that is paid (50_payments.sql), is the only thing
-- that changes a balance.  Callers lock the accounts, ordered by id, before they
-- insert.

create function concert.apply_transfers() returns trigger
language plpgsql as $$
declare
    v_count    bigint;
    v_debit    bigint;
    v_credit   bigint;
    v_amount   bigint;
    v_missing  bigint := 0;
begin
    select count(*) over (), a.debit_account, a.credit_account, a.amount
    into v_count, v_debit, v_credit, v_amount
    from added a
    limit 1;

    -- one that is alone needs no sums

    if v_count = 1 and least(v_debit, v_credit) <= 0 then
        if greatest(v_debit, v_credit) > 0 then
            update concert.accounts a
            set balance = a.balance + case when v_credit > 0 then v_amount
                                           else -v_amount end
            where a.account_id = greatest(v_debit, v_credit);

            v_missing := case when found then 0 else 1 end;
        end if;

    elsif v_count > 0 then
        with deltas as materialized (
            select e.account_id, sum(e.amount)::bigint as amount
            from (select a.credit_account, a.amount::bigint
                  from added a
                  where a.credit_account > 0
                  union all
                  select a.debit_account, -a.amount
                  from added a
                  where a.debit_account > 0) as e (account_id, amount)
            group by e.account_id
        ), changed as (
            update concert.accounts a
            set balance = a.balance + d.amount
            from deltas d
            where a.account_id = d.account_id
            returning 1
        )
        select (select count(*) from deltas) - (select count(*) from changed)
        into v_missing;
    end if;

    if v_missing <> 0 then
        raise exception 'a transfer names an account that does not exist'
            using errcode = 'foreign_key_violation';
    end if;

    return null;
end
$$;

create trigger apply_transfers
    after insert on concert.transfers
    referencing new table as added
    for each statement execute function concert.apply_transfers();

create trigger transfers_stay
    before update or delete on concert.transfers
    for each row execute function concert.refuse('a transfer is never changed');

create trigger transfers_not_truncated
    before truncate on concert.transfers
    for each statement execute function concert.refuse('a transfer is never changed');

create trigger balance_starts_at_zero
    before insert on concert.accounts
    for each row when (new.balance <> 0)
    execute function concert.refuse('a balance changes only by a transfer');

create function concert.check_balance() returns trigger
language plpgsql as $$
begin
    if pg_trigger_depth() < 2 then
        raise exception 'a balance changes only by a transfer'
            using errcode = 'integrity_constraint_violation';
    end if;

    return null;
end
$$;

create trigger balance_follows_transfers
    before update of balance on concert.accounts
    for each statement execute function concert.check_balance();

create trigger accounts_keep_their_user
    before update of account_id on concert.accounts
    for each row execute function concert.refuse('an account stays its user''s');

create trigger accounts_stay
    before delete on concert.accounts
    for each row execute function concert.refuse('an account is never deleted');


-- A null balance: there is no such user.

create function concert.balance(p_users bigint[])
returns table (request bigint, balance bigint)
language sql stable as $$
    select u.request, (select a.balance::bigint
                       from concert.accounts a
                       where a.account_id = u.user_id)
    from unnest(p_users) with ordinality as u (user_id, request)
$$;

-- The elements that are named, in that order.

create function concert.pick(p_values anyarray, p_indexes bigint[])
returns anyarray
language sql immutable as $$
    select array(select p_values[i] from unnest(p_indexes) as i)
$$;

-- Adds to balances.  Locks the accounts.
--
-- One statement serves each user's first request that nothing stands against; the
-- others are judged one after the other, under its locks.  So it is in reserve and
-- pay; a request that is alone goes the way of those others: the plan of that
-- statement would cost it more than its work.

create function concert.charge(p_operations uuid[], p_users bigint[],
                               p_amounts bigint[])
returns table (request bigint, outcome text, balance bigint)
language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_done   boolean[] := array_fill(false, array[cardinality(p_operations)]);
    v_count  bigint := 0;
begin
    if cardinality(p_operations) > 1 then
        outcome := 'ok';

        for request, balance in
            with locked as materialized (
                select q.*, a.balance
                from unnest(p_operations, p_users, p_amounts) with ordinality
                     as q (operation, user_id, amount, request)
                join concert.accounts a on a.account_id = q.user_id
                order by a.account_id, q.request
                for no key update of a
            ), able as materialized (
                select l.*
                from (select *, min(request) over (partition by user_id) as first
                      from locked) l
                where l.request = l.first
                  and l.balance <= 9007199254740991 - l.amount
                  and not exists (select
                                  from concert.transfers t
                                  where t.operation = l.operation)
            ), moved as (
                insert into concert.transfers
                    (operation, debit_account, credit_account, amount)
                select a.operation, -1, a.user_id, a.amount
                from able a
            )
            select a.request, a.balance + a.amount
            from able a
        loop
            v_done[request] := true;
            v_count := v_count + 1;
            return next;
        end loop;
    end if;

    if v_count < cardinality(p_operations) then
        for i in 1 .. cardinality(p_operations) loop
            continue when v_done[i];

            select *
            into outcome, balance
            from concert.charge_one(p_operations[i], p_users[i], p_amounts[i]);

            request := i;
            return next;
        end loop;
    end if;
end
$$;

create function concert.charge_one(p_operation uuid, p_user bigint, p_amount bigint,
                                   out outcome text, out balance bigint)
language plpgsql as $$
#variable_conflict use_column
begin
    select a.balance
    into balance
    from concert.accounts a
    where a.account_id = p_user
    for no key update;

    if not found then
        outcome := 'user_not_found';
        return;
    end if;

    outcome := 'ok';

    perform
    from concert.transfers t
    where t.operation = p_operation;

    if found then
        return;
    end if;

    if balance > 9007199254740991 - p_amount then
        outcome := 'balance_limit';
        balance := null;
        return;
    end if;

    insert into concert.transfers
        (operation, debit_account, credit_account, amount)
    values (p_operation, -1, p_user, p_amount);

    balance := balance + p_amount;
end
$$;


-- An account with an opening balance, paid in through the gateway's account.

create function concert.add_user(p_user bigint, p_balance bigint default 0)
returns void
language plpgsql as $$
begin
    insert into concert.accounts (account_id)
    values (p_user);

    if p_balance > 0 then
        insert into concert.transfers
            (operation, debit_account, credit_account, amount)
        values (gen_random_uuid(), -1, p_user, p_balance);
    end if;
end
$$;
