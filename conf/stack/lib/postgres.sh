# shellcheck shell=bash
# The stack's PostgreSQL server.


# The newest one, or the one that a cluster was made by.
find_pg_bin() {
    if [[ -r $pg_data/PG_VERSION ]]; then
        pg_bin=/usr/lib/postgresql/$(<"$pg_data/PG_VERSION")/bin
        [[ -x $pg_bin/postgres ]] \
            || die "the PostgreSQL that made $pg_data is not installed"
        return 0
    fi

    pg_bin=$(compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort -V \
             | tail -n 1) \
        || die "PostgreSQL is not installed: conf/stack/install run"
    pg_bin=${pg_bin%/initdb}
}


# A new cluster gets its name last: one that was interrupted never counts.
pg_create() {
    [[ -s $pg_data/PG_VERSION ]] && return 0

    say "creating a PostgreSQL cluster in $pg"
    as "$pg_user" rm -rf "$pg_data.new"
    as "$pg_user" "$pg_bin/initdb" -D "$pg_data.new" -U postgres -A trust \
        -E UTF8 --locale=C.UTF-8 --no-sync --no-instructions >"$dir/initdb.log" \
        || { cat "$dir/initdb.log" >&2; die "initdb failed"; }
    echo "include '$dir/postgresql.conf'" >>"$pg_data.new/postgresql.conf"
    mv "$pg_data.new" "$pg_data"
}


pg_configure() {
    cat >"$dir/postgresql.conf" <<END
listen_addresses = ''
unix_socket_directories = '$pg_socket'
port = 5432
max_connections = 200
shared_buffers = $SHARED_BUFFERS
fsync = on
synchronous_commit = on
max_wal_size = 4GB
autovacuum = $AUTOVACUUM
checkpoint_timeout = 15min
# parallel queries need a larger /dev/shm than containers have
max_parallel_workers_per_gather = 0
log_line_prefix = '%m [%p] %a '
log_lock_waits = on
END
}


# PostgreSQL takes any process that has the pid of its predecessor, even a
# zombie, for that predecessor. What must not be there when its lock files are
# dropped is a backend that outlives it: those work in the data directory.
pg_unlock() {
    local tries=$(( STOP_TIMEOUT * 20 ))

    while [[ -n $(find /proc/[0-9]*/cwd -maxdepth 0 -lname "$pg_data" \
                  2>/dev/null) ]]
    do
        (( tries-- > 0 )) || die "processes of a PostgreSQL that was killed" \
                                 "are still at work in $pg_data"
        sleep 0.05
    done

    rm -f "$pg_data/postmaster.pid" "$pg_socket"/.s.PGSQL.*
}


pg_start() {
    pg_pid >/dev/null && return 0
    pg_create
    pg_configure
    pg_unlock

    as "$pg_user" "$pg_bin/pg_ctl" start -s -w -t "$READY_TIMEOUT" \
        -D "$pg_data" -l "$pg/log" </dev/null 9>&- \
        || { tail -n 15 "$pg/log" >&2; die "PostgreSQL does not start"; }

    admin_psql postgres >/dev/null <<'END'
        do $$
        begin
            create role concert login createdb;
        exception
            when duplicate_object then null;
        end
        $$;
        do $$
        begin
            create role concert_service login role concert;
        exception
            when duplicate_object then null;
        end
        $$;
        do $$
        begin
            create role concert_monitor login;
        exception
            when duplicate_object then null;
        end
        $$;
        grant pg_read_all_stats to concert_monitor;
END
}


pg_stop() {
    local pid

    pid=$(pg_pid) || return 0
    end PostgreSQL "$pid" INT       # "fast": ends the sessions
}


# admin_psql DATABASE [ARG]...: psql as the superuser
admin_psql() {
    local database=$1
    shift
    PGOPTIONS='-c client_min_messages=warning' "$pg_bin/psql" -X -q -A -t \
        -v ON_ERROR_STOP=1 -h "$pg_socket" -p 5432 -U postgres -d "$database" "$@"
}
