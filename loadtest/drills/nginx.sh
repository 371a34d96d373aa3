# shellcheck shell=bash disable=SC2034,SC2154 # for, and of, run
# One nginx of two, before the same PostgreSQL and Redis, is killed with all of
# its workers, as when its machine fails, and is started again after a while.

: "${SECOND_PORT:=$(( PORT + 2 ))}"
second=$VAR/nginx-2
keeps='token get-token status-check leave get-concerts get-schedule get-seat
       reservation cancel payment balance charge my-reservations'

second_master() { cat "$second/nginx.pid" 2>/dev/null; }

second_start() {
    local tries=200

    "$second_binary" -p "$second" -e "$second/logs/error.log" \
        -c "$second/nginx.conf" </dev/null \
        || die 'the second nginx does not start'

    until curl -fs --noproxy '*' -m 2 -o /dev/null "$second_url/readyz"; do
        (( tries-- > 0 )) || die 'the second nginx is not ready'
        sleep 0.05
    done
}

# Like the first one, on a port and in a directory of its own.
drill_prepare() {
    second_binary=$(readlink "/proc/$(<"$VAR/nginx/nginx.pid")/exe")
    second_url=${BASE_URL%:*}:$SECOND_PORT
    urls=$BASE_URL,$second_url
    mkdir -p "$second/logs" "$second/tmp"
    sed -e "s|$VAR/nginx/|$second/|g" \
        -e "s|^\( *listen  *\)$PORT\b|\1$SECOND_PORT|" \
        "$VAR/nginx/nginx.conf" >"$second/nginx.conf"
    second_start

    # the monitoring is told of it
    [[ ! -d $VAR/monitor ]] \
        || echo "[{\"targets\": [\"127.0.0.1:$SECOND_PORT\"]}]" \
            >"$VAR/monitor/nginx-2.json"
}

fault_begin() {
    local master workers

    master=$(second_master)
    workers=$(pgrep -P "$master" | tr '\n' ' ')
    # shellcheck disable=SC2086
    kill -KILL "$master" $workers
    gone "$master"
    rm -f "$second/nginx.pid"
}

fault_end() { second_start; }

drill_clean_up() {
    local master

    rm -f "$VAR/monitor/nginx-2.json"
    master=$(second_master) || return 0
    kill -TERM "$master" 2>/dev/null || return 0
    gone "$master"
}
