# shellcheck shell=bash
# What is in the database: schema and demo data.


has_database() {
    [[ -n $(admin_psql postgres \
            -c "select 1 from pg_database where datname = '$1'") ]]
}

# A database's comment says what is in it; it is not copied with the database.
comment_of() {
    admin_psql postgres -c "select shobj_description(oid, 'pg_database')
                              from pg_database where datname = '$1'"
}

migrate() {
    "$repo/conf/stack/migrate" \
        "host=$pg_socket port=5432 dbname=$1 user=concert" concert_service
    PGOPTIONS='-c client_min_messages=warning' "$pg_bin/psql" -X -q \
        -v ON_ERROR_STOP=1 -h "$pg_socket" -p 5432 -U concert -d "$1" \
        -f "$repo/conf/monitoring/monitor.sql" </dev/null \
        || die "conf/monitoring/monitor.sql failed"
}


# What the demo data was made of.
demo_fingerprint() {
    local sum

    sum=$(cat "$repo"/conf/schema/*.sql "$repo/conf/demo.sql" \
          | sha256sum | head -c 12)
    echo "seats=$SEATS files=$sum${DATA:+ $("$repo/$DATA" fingerprint)}"
}


# Fills an empty database; in one that has the demo data already it sees to it
# that the concerts lie in the future.
load_demo() {
    if [[ -n $DATA ]]; then
        PGHOST=$pg_socket PGPORT=5432 PGUSER=concert PGDATABASE=$1 \
            "$repo/$DATA" load </dev/null || die "$DATA failed"
        return 0
    fi

    "$pg_bin/psql" -X -q -v ON_ERROR_STOP=1 -v seats="$SEATS" \
        -h "$pg_socket" -p 5432 -U concert -d "$1" \
        -f "$repo/conf/demo.sql" >/dev/null </dev/null \
        || die "conf/demo.sql failed"
}


# The demo data is made once, in a database of its own, and then only copied.
make_template() {
    local fingerprint started=$SECONDS

    fingerprint=$(demo_fingerprint)
    [[ $(comment_of concert_demo) != "$fingerprint" ]] || return 0

    say "making the data (${DATA:-$SEATS seats per schedule})"
    admin_psql postgres -c 'drop database if exists concert_demo with (force)' \
                        -c 'create database concert_demo owner concert'
    migrate concert_demo >/dev/null
    load_demo concert_demo
    admin_psql concert_demo -c 'vacuum (analyze)'
    admin_psql postgres \
        -c "comment on database concert_demo is '$fingerprint'"
    say "made the data in $(( SECONDS - started )) s"
}


# Puts a fresh copy of the demo data in the place of the database. nginx meets
# no more than a lost connection: the copy is made under another name.
copy_template() {
    make_template
    admin_psql postgres \
        -c 'drop database if exists concert_next with (force)' \
        -c 'create database concert_next template concert_demo
                            owner concert strategy file_copy' \
        -c "comment on database concert_next is '$(demo_fingerprint)'"
    load_demo concert_next
    migrate concert_next >/dev/null     # a database's rights are not copied
    admin_psql postgres \
        -c 'drop database if exists concert with (force)' \
        -c 'alter database concert_next rename to concert'
}


# Gives a stack its demo data; says so if the data that is there was made
# otherwise, and leaves it as it is.
demo() {
    local made now

    if ! has_database concert; then
        copy_template
        return 0
    fi

    migrate concert | sed -e '/nothing to do/d' -e '/role/d'
    load_demo concert
    made=$(comment_of concert)
    now=$(demo_fingerprint)

    [[ $made == "$now" ]] \
        || say "the database was made with $made, not with $now:" \
               "'conf/stack/stack reset' makes it anew"
}
