# shellcheck shell=bash disable=SC2034,SC2154 # for, and of, run
# One nginx of two, before the same PostgreSQL and Redis, is killed with all of
# its workers, as when its machine fails, and is started again after a while.

: "${SECOND_PORT:=$(( PORT + 2 ))}"
second=$VAR/nginx-2
keeps='token get-token status-check leave get-concerts get-schedule get-seat
       reservation cancel payment balance charge my-reservations'
alert=ServiceAway
FORGET=10               # seconds that Prometheus has to forget a target

second_master() { cat "$second/nginx.pid" 2>/dev/null; }

second_lives() {
    local master

    master=$(second_master) && is_alive "$master"
}

# within COMMAND...: until it succeeds, for some seconds
within() {
    local tries=200

    until "$@"; do
        (( tries-- > 0 )) || return 1
        sleep 0.05
    done
}

# It has a pid only when the one who started it has ended.
second_start() {
    second_lives && return 0
    "$second_binary" -p "$second" -e "$second/logs/error.log" \
        -c "$second/nginx.conf" </dev/null && within second_lives
}

second_is_ready() {
    curl -fs --noproxy '*' -m 2 -o /dev/null "$second_url/readyz"
}

# Like the first one, on a port and in a directory of its own.
drill_prepare() {
    second_binary=$(readlink "/proc/$(<"$VAR/nginx/nginx.pid")/exe")
    second_url=${BASE_URL%:*}:$SECOND_PORT
    urls=$BASE_URL,$second_url
    mkdir -p "$second/logs" "$second/tmp"
    other_log=$second/logs/error.log
    : >"$other_log"
    sed -e "s|$VAR/nginx/|$second/|g" \
        -e "s|^\( *listen  *\)$PORT\b|\1$SECOND_PORT|" \
        "$VAR/nginx/nginx.conf" >"$second/nginx.conf"
    second_start || return 1
    within second_is_ready || return 1

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

# It must be forgotten before it ends, or there is an alert of that.
await_forgotten() {
    local last=$(( SECONDS + FORGET ))

    while (( SECONDS < last )) \
          && curl -fs --noproxy '*' -m 2 \
                 "$PROMETHEUS_URL/api/v1/targets?state=active" \
             | grep -q "\"127\.0\.0\.1:$SECOND_PORT\""
    do
        sleep 0.2
    done
}

drill_clean_up() {
    local master

    rm -f "$VAR/monitor/nginx-2.json"
    (( ! monitored )) || await_forgotten
    master=$(second_master) || return 0
    kill -TERM "$master" 2>/dev/null || return 0
    gone "$master"
}
