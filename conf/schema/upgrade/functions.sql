-- Takes away what the files after 10_tables.sql make: before an upgrade, which
-- makes it anew.  A function that a constraint of a table calls is the table's.

do $$
declare
    v_name  text;
begin
    for v_name in
        select 'view ' || c.oid::regclass
        from pg_catalog.pg_class c
        where c.relnamespace = 'concert'::regnamespace
          and c.relkind = 'v'
        union all
        select 'function ' || p.oid::regprocedure
        from pg_catalog.pg_proc p
        where p.pronamespace = 'concert'::regnamespace
          and not exists (select
                          from pg_catalog.pg_depend d
                          where d.refclassid = 'pg_catalog.pg_proc'::regclass
                            and d.refobjid = p.oid
                            and d.classid = 'pg_catalog.pg_constraint'::regclass)
        union all
        select 'type ' || c.reltype::regtype
        from pg_catalog.pg_class c
        where c.relnamespace = 'concert'::regnamespace
          and c.relkind = 'c'
    loop
        execute 'drop ' || replace(replace(v_name, 'function ', 'function if exists '),
                                   'view ', 'view if exists ') || ' cascade';
    end loop;
end
$$;
