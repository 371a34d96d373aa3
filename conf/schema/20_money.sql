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


-- Every amount that was moved, and the two ledger rows of each.  A payment from
-- a balance stays here when it is given back, which is a transfer.

create view concert.moves as
    select operation, debit_account, credit_account, amount, created_at
    from concert.transfers
    union all
    select operation, user_id, 0, amount, created_at
    from concert.payments
    where method = 'balance'
      and amount > 0;

create view concert.ledger as
    select operation, debit_account as account_id, -amount as amount, created_at
    from concert.moves
    union all
    select operation, credit_account, amount, created_at
    from concert.moves;


-- A transfer, or a payment from a balance (50_payments.sql), is the only thing
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
            from added a
            cross join lateral (values (a.debit_account::bigint, -a.amount),
                                       (a.credit_account::bigint, a.amount::bigint))
                               as e (account_id, amount)
            where e.account_id > 0
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

-- A trigger's condition is read by every statement; to call a function for a row
-- costs less.

create function concert.check_balance() returns trigger
language plpgsql as $$
begin
    if pg_trigger_depth() < 2 and new.balance <> old.balance then
        raise exception 'a balance changes only by a transfer'
            using errcode = 'integrity_constraint_violation';
    end if;

    return new;
end
$$;

create trigger balance_follows_transfers
    before update of balance on concert.accounts
    for each row execute function concert.check_balance();

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

-- Of the requests of a batch those whose user is not named by an earlier one,
-- or the others.

create function concert.first_of_users(p_users bigint[], p_others boolean)
returns bigint[]
language sql immutable as $$
    select array(
        select q.request
        from (select u.request, row_number() over (partition by u.user_id
                                                   order by u.request) as turn
              from unnest(p_users) with ordinality as u (user_id, request)) q
        where (q.turn > 1) = p_others
        order by q.request)
$$;


-- Adds to balances.  Locks the accounts.
--
-- Here as in reserve and pay a request that is alone goes a way of its own: the
-- same steps without arrays, the plans of which would cost it more than its work.

create function concert.charge(p_operations uuid[], p_users bigint[],
                               p_amounts bigint[])
returns table (request bigint, outcome text, balance bigint)
language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_requests  bigint[];
    v_balances  bigint[];
    v_users     bigint;
    v_part      bigint[];
begin
    if cardinality(p_operations) = 1 then
        select a.balance
        into balance
        from concert.accounts a
        where a.account_id = p_users[1]
        for no key update;

        request := 1;
        outcome := 'ok';

        if balance is null then
            outcome := 'user_not_found';

        elsif not exists (select
                          from concert.transfers t
                          where t.operation = p_operations[1])
        then
            if balance > 9007199254740991 - p_amounts[1] then
                outcome := 'balance_limit';
                balance := null;

            else
                insert into concert.transfers
                    (operation, debit_account, credit_account, amount)
                values (p_operations[1], -1, p_users[1], p_amounts[1]);

                balance := balance + p_amounts[1];
            end if;
        end if;

        return next;
        return;
    end if;

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
            select v_part[d.request], d.outcome, d.balance
            from concert.charge(concert.pick(p_operations, v_part),
                                concert.pick(p_users, v_part),
                                concert.pick(p_amounts, v_part)) d;
        end loop;

        return;
    end if;

    return query
    with judged as materialized (
        select q.request, q.operation, q.user_id, q.amount,
               v_balances[array_position(v_requests, q.request)] as balance,
               exists (select
                       from concert.transfers t
                       where t.operation = q.operation) as done
        from unnest(p_operations, p_users, p_amounts) with ordinality
             as q (operation, user_id, amount, request)
    ), moved as (
        insert into concert.transfers
            (operation, debit_account, credit_account, amount)
        select j.operation, -1, j.user_id, j.amount
        from judged j
        where not j.done
          and j.balance <= 9007199254740991 - j.amount
    )
    select j.request,
           case when j.balance is null then 'user_not_found'
                when j.done or j.balance <= 9007199254740991 - j.amount then 'ok'
                else 'balance_limit' end,
           case when j.done then j.balance
                when j.balance <= 9007199254740991 - j.amount
                    then j.balance + j.amount end
    from judged j;
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
