# shellcheck shell=bash
# The stack's Redis server, or one that speaks its language.


# REDIS_SERVER, or what there is. Its client and its benchmark have its name.
find_redis() {
    local name

    for name in ${REDIS_SERVER:-redis-server valkey-server keydb-server}; do
        ! redis_server=$(command -v "$name") || break
    done

    [[ -z $REDIS_SERVER || -x $redis_server ]] \
        || die "REDIS_SERVER=$REDIS_SERVER must be a server's program, as in" \
               "REDIS_SERVER=/usr/bin/valkey-server"
    [[ -z $redis_server ]] || redis_server=$(realpath -s -- "$redis_server")

    redis_cli=$(redis_program cli)
    redis_benchmark=$(redis_program benchmark)
}

redis_program() {
    local own=${redis_server%-server}-$1

    if [[ $redis_server == *-server && -x $own ]]; then
        echo "$own"
    else
        command -v "redis-$1" || command -v "valkey-$1" || :
    fi
}

redis_call() { "$redis_cli" -s "$redis_socket" "$@" 2>/dev/null; }


redis_start() {
    local tries=$(( READY_TIMEOUT * 20 ))

    redis_pid >/dev/null && return 0
    [[ -n $redis_server && -n $redis_cli ]] \
        || die "Redis is not installed: conf/stack/install run"

    cat >"$dir/redis.conf" <<END
port 0
unixsocket $redis_socket
unixsocketperm 777
dir $redis
pidfile $redis/redis.pid
logfile $redis/log
daemonize yes
# the command line is what redis_pid knows it by
set-proc-title no
appendonly yes
appendfsync everysec
save ""
END

    rm -f "$redis/redis.pid"
    as "$redis_user" "$redis_server" "$dir/redis.conf" </dev/null 9>&- \
        || die "$redis_server does not start"

    until redis_pid >/dev/null && [[ $(redis_call ping) == PONG ]]; do
        (( tries-- > 0 )) \
            || { tail -n 15 "$redis/log" >&2
                 die "$redis_server does not start (nor does it on what a" \
                     "newer one has written: VAR=my-var is another stack)"; }
        sleep 0.05
    done
}


redis_stop() {
    local pid

    pid=$(redis_pid) || return 0
    end Redis "$pid" TERM
}
