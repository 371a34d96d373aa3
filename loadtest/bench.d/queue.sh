# shellcheck shell=bash
# Rows of the queue.

TICKET_BYTES=96         # of shared memory, for a ticket that waits
REDIS_CALLS=200000      # of redis-benchmark
REDIS_RANGE=1000000000  # of its random users

redis_calls() {
    curl -fs --noproxy '*' "$BASE_URL/metrics" \
        | awk '$1 == "concert_lane_calls_total{group=\"redis\"}" { print $2 }'
}

row_poll() {
    local i body route

    empty_queue
    operate '{"paused": true}'
    enter_users 1 1000

    for route in token/1 token/status/1; do
        body=$(curl -fs --noproxy '*' "$BASE_URL/api/$route")
        plain_nginx_start "$body"

        for (( i = 0; i < ROUNDS; i++ )); do
            take "$route" wrk_rate "$BASE_URL/api/$route"
            take "return 200 ($route)" \
                wrk_rate "http://127.0.0.1:$plain_port/"
        done

        plain_nginx_stop
        report poll "$route" 0.85 - "return 200 ($route)"
        cost_figure "$route" "return 200 ($route)" 1.2
    done

    operate '{"paused": false}'
}

row_million() {
    local i n before calls

    empty_queue
    operate '{"paused": true}'
    before=$(redis_info memory used_memory)
    say "  $TICKETS users enter"
    enter_users 1000001 $(( 1000000 + TICKETS ))
    figure "Redis memory of a ticket that waits, of $TICKETS" \
        "$(( ($(redis_info memory used_memory) - before) / TICKETS ))" bytes 250

    for (( i = 0; i < ROUNDS; i++ )); do
        for n in 1000 "$TICKETS"; do
            TICKETS=$n FIRST=1000001 take "poll of $n" \
                wrk_rate "$BASE_URL" loadtest/poll.lua
        done
    done

    cost_figure "poll of $TICKETS" 'poll of 1000' 1.15

    calls=$(redis_calls)
    TICKETS=$TICKETS FIRST=1000001 wrk_rate "$BASE_URL" loadtest/poll.lua \
        >/dev/null
    figure "polls of which Redis was asked, in 1000, with $TICKET_BYTES bytes a ticket" \
        "$(awk -v "n=$(( $(redis_calls) - calls ))" \
               '{ printf "%.2f", 1000 * n / $1 }' "$VAR/requests")" '' 5
    operate '{"paused": false}'
}

# redis_script NAME: the arguments that run it, before its own
redis_script() {
    local key keys=()

    for key in queue waiting called active ended seen0 seen1 drawn absent; do
        keys+=("{concert:main}:$key")
    done

    echo evalsha "$(cat conf/queue/common.lua "conf/queue/$1.lua" \
                    | "$REDIS_CLI" -s "$REDIS_SOCKET" -x script load)" \
         "${#keys[@]}" "${keys[@]}"
}

row_enter() {
    local i script

    empty_queue
    operate '{"paused": true}'
    read -ra script < <(redis_script enter)
    ours_of enter

    for (( i = 0; i < ROUNDS; i++ )); do
        take 'enter' "${ours[@]}"
        take 'redis-benchmark' redis_benchmark_rate "${script[@]}" \
            1000 0 600000 30000 0 0 0 9__rand_int__
    done

    prepare=:
    report enter enter 0.4 - redis-benchmark
    operate '{"paused": false}'
}

row_streams() {
    local most n memory client wait

    most=$(( $(ulimit -n) - 300 ))
    n=$(( STREAMS < most ? STREAMS : most ))
    gcc -O2 -o "$VAR/streams" loadtest/streams.c
    empty_queue
    operate '{"paused": true}'
    enter_users 1 1000
    memory=$(worker_memory)
    say "  $n streams"
    "$VAR/streams" "$PORT" 2000001 "$n" "$DAY_MS" >"$VAR/streams.txt" &
    client=$!

    for (( wait = 0; wait < 120; wait++ )); do
        ! grep -q '^open' "$VAR/streams.txt" || break
        sleep 1
    done

    [[ $(<"$VAR/streams.txt") == "open $n" ]] \
        || die "streams: $(<"$VAR/streams.txt")"
    figure "memory of the worker for each of $n streams" \
        "$(( ($(worker_memory) - memory) * 1024 / n ))" bytes 8192
    figure 'p99 of polls beside them while they wait' "$(poll_p99)" ms 20
    operate '{"paused": false, "capacity": 1000000}'
    figure 'p99 of polls beside them while they are let in' "$(poll_p99)" ms 20
    wait "$client" || die "streams: $(<"$VAR/streams.txt")"
    figure "ms until the last of $n streams heard that it is in" \
        "$(sed -n 's/.*"max":\([0-9]*\).*/\1/p' "$VAR/streams.txt")" ms 1000
    operate '{"capacity": null}'
}

worker_memory() {
    awk '$1 == "RssAnon:" { print $2 }' \
        "/proc/$(pgrep -P "$(cat "$VAR/nginx/nginx.pid")" | head -n 1)/status"
}

# of 1000 polls in a second, for some seconds, in ms
poll_p99() {
    rm -f "$VAR/polls.txt"
    h2load --h1 -c 8 -D "$SECONDS_EACH" --rps 125 --log-file "$VAR/polls.txt" \
        "$BASE_URL/api/token/1" >/dev/null
    awk '$2 == 200 { print $3 }' "$VAR/polls.txt" | sort -n \
        | awk '{ v[NR] = $1 } END { printf "%.1f", v[int(NR * 0.99)] / 1000 }'
}
