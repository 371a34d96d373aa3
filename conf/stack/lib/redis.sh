# shellcheck shell=bash
# The stack's Redis server.


redis_call() { redis-cli -s "$redis_socket" "$@" 2>/dev/null; }


redis_start() {
    local tries=$(( READY_TIMEOUT * 20 ))

    redis_pid >/dev/null && return 0

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
    as "$redis_user" redis-server "$dir/redis.conf" </dev/null 9>&- \
        || die "Redis does not start"

    until redis_pid >/dev/null && [[ $(redis_call ping) == PONG ]]; do
        (( tries-- > 0 )) \
            || { tail -n 15 "$redis/log" >&2; die "Redis does not start"; }
        sleep 0.05
    done
}


redis_stop() {
    local pid

    pid=$(redis_pid) || return 0
    end Redis "$pid" TERM
}
