# shellcheck shell=bash
# The stack's PostgreSQL server.


# PG_BIN, or the one that the cluster was made by, or else the newest. That
# there is one matters when it is to start.
find_pg_bin() {
    if [[ -n $PG_BIN ]]; then
        [[ -x $PG_BIN/initdb && -x $PG_BIN/postgres ]] \
            || die "PG_BIN=$PG_BIN must be a directory with PostgreSQL's" \
                   "programs, as in PG_BIN=/usr/lib/postgresql/17/bin"
        pg_bin=$(realpath -- "$PG_BIN")
    elif [[ -r $pg_data/PG_VERSION ]]; then
        pg_bin=$(from_env PG_BIN 2>/dev/null || :)
        [[ -x $pg_bin/postgres ]] \
            || pg_bin=/usr/lib/postgresql/$(<"$pg_data/PG_VERSION")/bin
    else
        pg_bin=$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -n 1) \
            || :
    fi
}


# A cluster is of one major version.
check_pg_bin() {
    local version made_by

    [[ -x $pg_bin/postgres ]] \
        || die "PostgreSQL is not installed${pg_bin:+ in $pg_bin}:" \
               "conf/stack/install run"
    version=$("$pg_bin/postgres" --version)
    [[ $version =~ \)\ ([0-9]+) ]] && version=${BASH_REMATCH[1]}
    made_by=$(cat "$pg_data/PG_VERSION" 2>/dev/null || echo "$version")
    [[ $version == "$made_by" ]] \
        || die "$pg_data was made by PostgreSQL $made_by, and $pg_bin is" \
               "$version: choose another directory, as in VAR=my-var"
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
shared_preload_libraries = 'plpgsql'
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
    check_pg_bin
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
