-- Requests that came with an Idempotency-Key.

-- What a request's key is: 'new', 'known' (with the operation that had it and
-- its answer), 'idempotency_key_reused' or 'request_in_progress'.

create type concert.key_claim as (
    request    bigint,
    verdict    text,
    operation  uuid,
    answer     jsonb
);

-- Takes the keys of requests for this transaction.  Never waits: a key without
-- an answer is in progress when another transaction has it, or an earlier
-- request of this call.  An answer that is there is final: whoever asks gets it.

create function concert.claim_keys(p_route text, p_users bigint[], p_keys text[],
                                   p_digests text[])
returns concert.key_claim[]
language plpgsql as $$
#variable_conflict use_column
declare
    v_ours  boolean[];
begin
    -- a statement of its own: the next sees what the last owner committed

    v_ours := array(
        select q.turn = 1
               and pg_try_advisory_xact_lock(
                       hashtextextended(concat_ws(' ', 'concert key', p_route,
                                                  q.user_id, q.key), 0))
        from (select *, row_number() over (partition by user_id, key
                                           order by request) as turn
              from unnest(p_users, p_keys) with ordinality
                   as u (user_id, key, request)) q
        order by q.request);

    return array(
        select row(q.request,
                   case when k.digest = q.digest then 'known'
                        when k.digest is not null then 'idempotency_key_reused'
                        when v_ours[q.request] then 'new'
                        else 'request_in_progress' end,
                   k.operation,
                   case when k.digest = q.digest
                        then k.answer end)::concert.key_claim
        from unnest(p_users, p_keys, p_digests) with ordinality
             as q (user_id, key, digest, request)
        left join lateral (
            select *
            from concert.idempotency_keys i
            where i.user_id = q.user_id
              and i.route = p_route
              and i.key = q.key
              and i.created_at > now() - interval '24 hours'
            limit 1
        ) k on true);
end
$$;

-- Keeps an answer; one of the same key that is older than 24 hours goes.

create function concert.keep_answer(p_route text, p_user bigint, p_key text,
                                    p_digest text, p_operation uuid, p_answer jsonb)
returns void
language sql as $$
    insert into concert.idempotency_keys
        (user_id, route, key, digest, operation, answer)
    values (p_user, p_route, p_key, p_digest, p_operation, p_answer)
    on conflict (user_id, route, key) do update
    set digest = excluded.digest,
        operation = excluded.operation,
        answer = excluded.answer,
        created_at = excluded.created_at
$$;

-- The operations with keys: as those without, and whether the answer is that of
-- an earlier request.

create function concert.charge_once(p_operations uuid[], p_users bigint[],
                                    p_amounts bigint[], p_keys text[],
                                    p_digests text[])
returns table (request bigint, outcome text, balance bigint, replayed boolean)
language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_claims  concert.key_claim[] :=
                  concert.claim_keys('charge', p_users, p_keys, p_digests);
    v_new     bigint[] := array(select request
                                from unnest(v_claims)
                                where verdict = 'new');
begin
    return query
    select c.request, coalesce(a.outcome, c.verdict), a.balance,
           c.answer is not null and c.operation <> p_operations[c.request]
    from unnest(v_claims) c
    cross join lateral jsonb_to_record(coalesce(c.answer, '{}'))
                       as a (outcome text, balance bigint)
    where c.verdict <> 'new';

    for request, outcome, balance in
        select v_new[d.request], d.outcome, d.balance
        from concert.charge(concert.pick(p_operations, v_new),
                            concert.pick(p_users, v_new),
                            concert.pick(p_amounts, v_new)) d
    loop
        replayed := false;
        perform concert.keep_answer(
            'charge', p_users[request], p_keys[request], p_digests[request],
            p_operations[request],
            jsonb_build_object('outcome', outcome, 'balance', balance));
        return next;
    end loop;
end
$$;

-- "p_admitted": whether the user's token is active.  Without one there is an
-- answer only to what was asked before.

create function concert.reserve_once(p_operations uuid[], p_users bigint[],
                                     p_concerts bigint[], p_schedules bigint[],
                                     p_seats text[], p_hold_ms bigint,
                                     p_user_limit bigint, p_admitted boolean[],
                                     p_keys text[], p_digests text[])
returns table (request bigint, outcome text, reservation_id bigint,
               title text, seats text, total_price bigint, status text,
               expires_ms bigint, replayed boolean)
language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_claims  concert.key_claim[] :=
                  concert.claim_keys('reserve', p_users, p_keys, p_digests);
    v_new     bigint[] := array(select request
                                from unnest(v_claims)
                                where verdict = 'new'
                                  and p_admitted[request]);
begin
    return query
    select c.request,
           coalesce(a.outcome, case when c.verdict = 'new' then 'token_not_active'
                                    else c.verdict end),
           a.reservation_id, a.title, a.seats, a.total_price, a.status,
           a.expires_ms, c.answer is not null and c.operation <> p_operations[c.request]
    from unnest(v_claims) c
    cross join lateral jsonb_to_record(coalesce(c.answer, '{}'))
                       as a (outcome text, reservation_id bigint, title text,
                             seats text, total_price bigint, status text,
                             expires_ms bigint)
    where c.request <> all (v_new);

    for request, outcome, reservation_id, title, seats, total_price, status,
        expires_ms
    in
        select v_new[d.request], d.outcome, d.reservation_id, d.title, d.seats,
               d.total_price, d.status, d.expires_ms
        from concert.reserve(concert.pick(p_operations, v_new),
                             concert.pick(p_users, v_new),
                             concert.pick(p_concerts, v_new),
                             concert.pick(p_schedules, v_new),
                             concert.pick(p_seats, v_new),
                             p_hold_ms, p_user_limit) d
    loop
        replayed := false;
        perform concert.keep_answer(
            'reserve', p_users[request], p_keys[request], p_digests[request],
            p_operations[request],
            jsonb_build_object('outcome', outcome, 'reservation_id', reservation_id,
                               'title', title, 'seats', seats,
                               'total_price', total_price, 'status', status,
                               'expires_ms', expires_ms));
        return next;
    end loop;
end
$$;

create function concert.pay_once(p_operations uuid[], p_users bigint[],
                                 p_reservations bigint[], p_amounts bigint[],
                                 p_keys text[], p_digests text[])
returns table (request bigint, outcome text, payment_id bigint, amount bigint,
               paid_ms bigint, replayed boolean)
language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_claims  concert.key_claim[] :=
                  concert.claim_keys('pay', p_users, p_keys, p_digests);
    v_new     bigint[] := array(select request
                                from unnest(v_claims)
                                where verdict = 'new');
begin
    return query
    select c.request, coalesce(a.outcome, c.verdict), a.payment_id, a.amount,
           a.paid_ms, c.answer is not null and c.operation <> p_operations[c.request]
    from unnest(v_claims) c
    cross join lateral jsonb_to_record(coalesce(c.answer, '{}'))
                       as a (outcome text, payment_id bigint, amount bigint,
                             paid_ms bigint)
    where c.verdict <> 'new';

    for request, outcome, payment_id, amount, paid_ms in
        select v_new[d.request], d.outcome, d.payment_id, d.amount, d.paid_ms
        from concert.pay(concert.pick(p_operations, v_new),
                         concert.pick(p_users, v_new),
                         concert.pick(p_reservations, v_new),
                         concert.pick(p_amounts, v_new)) d
    loop
        replayed := false;

        -- what says "later" is no decision

        if outcome <> 'payment_in_progress' then
            perform concert.keep_answer(
                'pay', p_users[request], p_keys[request], p_digests[request],
                p_operations[request],
                jsonb_build_object('outcome', outcome, 'payment_id', payment_id,
                                   'amount', amount, 'paid_ms', paid_ms));
        end if;

        return next;
    end loop;
end
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


-- Forgets keys that are older than 24 hours, at most p_limit; returns how many.

create function concert.purge_keys(p_limit integer) returns table (purged bigint)
language sql
security definer set search_path = pg_catalog, pg_temp as $$
    with old as (
        select user_id, route, key
        from concert.idempotency_keys
        where created_at <= now() - interval '24 hours'
        order by created_at
        limit p_limit
        for update skip locked
    ), gone as (
        delete from concert.idempotency_keys k
        using old o
        where k.user_id = o.user_id
          and k.route = o.route
          and k.key = o.key
        returning 1
    )
    select count(*) from gone
$$;
