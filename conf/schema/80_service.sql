-- The role that the service connects with, which may run the operations and do
-- nothing else: its password, or a hole in the module, opens no table.
--
-- An operation is "security definer": it has the rights of the schema's owner.
-- Its search_path is fixed, so that nothing a session creates can stand for a
-- name in it.
--
-- Four reads are different, for the sake of speed: balance, concerts_page,
-- schedules_page and seats_page are plain SQL functions, which the planner puts
-- into the statement; as security definer a balance costs 13 us more (54 instead
-- of 41), a page of seats 49 (208 instead of 159).  What they need is granted by
-- column, to be read only, and tells no more than the four do for every number
-- that one might ask for: balances, the catalog, and which seats are free.
-- Reservations, payments, the ledger and the keys of requests cannot be read
-- but through operations; nor can when each hold ends, so hall_page is one.

-- Every function that the service may run.

create view concert.operations as
    select p.oid, p.proname::text as name
    from pg_catalog.pg_proc p
    where p.pronamespace = 'concert'::regnamespace
      and (p.prosecdef and p.prorettype <> 'trigger'::regtype
           or p.proname in ('balance', 'concerts_page', 'schedules_page',
                            'seats_page'));

-- An operation that the session's user may not run; null: it may run all.

create function concert.denied() returns text
language sql stable
security definer set search_path = pg_catalog, pg_temp as $$
    select min(o.name)
    from concert.operations o
    where not has_function_privilege(session_user, o.oid, 'execute')
$$;

-- What a role may do that the service must not, or null: by grants that are not
-- ours to revoke, or as a member of another role.

create function concert.too_much(p_role name) returns text
language sql stable as $$
    select string_agg(t.what, ', ')
    from (
        select 'create in database ' || current_database() as what
        where has_database_privilege(p_role, current_database(), 'create, temporary')
        union all
        select 'create in schema ' || n.nspname
        from pg_catalog.pg_namespace n
        where has_schema_privilege(p_role, n.oid, 'create')
        union all
        select 'use table ' || c.oid::regclass
        from pg_catalog.pg_class c
        where c.relnamespace = 'concert'::regnamespace
          and c.relkind in ('r', 'v')
          and has_table_privilege(p_role, c.oid, 'select, insert, update, delete, '
                                                 'truncate, references, trigger')
    ) t
$$;

-- Makes a role one that the service may connect with, and nothing else.  Run by
-- the owner of the schema and the database, as often as one likes.

create function concert.grant_service(p_role name) returns void
language plpgsql as $$
declare
    v_owner     pg_catalog.pg_roles;
    v_function  regprocedure;
    v_much      text;
begin
    select r.*
    into v_owner
    from pg_catalog.pg_namespace n
    join pg_catalog.pg_roles r on r.oid = n.nspowner
    where n.oid = 'concert'::regnamespace;

    if pg_has_role(p_role, v_owner.oid, 'member') then
        raise exception 'role "%" may do all that the owner of the schema may',
                        p_role
            using hint = 'The service needs a role of its own: create role '
                         'concert_service login';
    end if;

    if v_owner.rolsuper then
        raise warning 'the owner of the schema, "%", is a superuser: an operation '
                      'may do anything', v_owner.rolname;
    end if;

    execute format('revoke all on schema concert from public, %1$I;'
                   'revoke all on all tables in schema concert from public, %1$I;'
                   'revoke all on all sequences in schema concert from public, %1$I;'
                   'revoke all on all functions in schema concert from public, %1$I;'
                   'revoke create, temporary on database %2$I from public, %1$I;'
                   'grant connect on database %2$I to %1$I;'
                   'grant usage on schema concert to %1$I;'
                   'grant select (account_id, balance) on concert.accounts to %1$I;'
                   'grant select (concert_id, title) on concert.concerts to %1$I;'
                   'grant select (schedule_id, concert_id, starts_at, total_seats)'
                   '    on concert.schedules to %1$I;'
                   'grant select (schedule_id, seat_id, price, reservation_id)'
                   '    on concert.seats to %1$I',
                   p_role, current_database());

    for v_function in
        select o.oid
        from concert.operations o
    loop
        execute format('grant execute on function %s to %I', v_function, p_role);
    end loop;

    v_much := concert.too_much(p_role);

    if v_much is not null then
        raise exception 'role "%" may also %', p_role, v_much
            using hint = 'Revoke that, from the role or from public, and '
                         'run this again.';
    end if;
end
$$;

-- The same for the roles that are such already, after functions have changed.

create function concert.renew_service() returns void
language plpgsql as $$
begin
    revoke all on all functions in schema concert from public;

    perform concert.grant_service(pg_get_userbyid(a.grantee))
    from pg_catalog.pg_proc p
    cross join lateral aclexplode(p.proacl) a
    where p.oid = 'concert.ready()'::regprocedure
      and a.grantee not in (0, p.proowner);
end
$$;


-- For a new connection: the version of the schema.

create function concert.ready() returns table (version integer)
language sql stable
security definer set search_path = pg_catalog, pg_temp as $$
    select max(v.version)
    from concert.schema_version v
$$;

-- For a new connection that will write: runs the operations on nothing, so that
-- the first who asks does not wait for tables and plans to be loaded.

create function concert.warm() returns table (version integer)
language plpgsql
security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    -- one element, and several

    for n in 1 .. 2 loop
        perform concert.charge(array_fill(gen_random_uuid(), array[n]),
                               array_fill(0, array[n]), array_fill(0, array[n]));
        perform concert.reserve(array_fill(gen_random_uuid(), array[n]),
                                array_fill(0, array[n]), array_fill(0, array[n]),
                                array_fill(0, array[n]),
                                array_fill('{0}'::text, array[n]), 0, null);
        perform concert.pay(array_fill(gen_random_uuid(), array[n]),
                            array_fill(0, array[n]), array_fill(0, array[n]),
                            array_fill(0, array[n]));
    end loop;

    perform concert.cancel(array[0], array[0]);

    return query select r.version from concert.ready() r;
end
$$;

-- For a new connection that will write, where payments by card are taken: as
-- warm, with those of payments by card.

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


select concert.renew_service();
