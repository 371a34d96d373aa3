# shellcheck shell=bash
# Rows that only read.

# page ROW ROUTE: against nginx's own `return 200` of the same body
page() {
    local i body

    body=$(curl -fs --noproxy '*' -H 'userId: 1' "$BASE_URL$2") \
        || die "$2: no page"
    plain_nginx_start "$body"

    for (( i = 0; i < ROUNDS; i++ )); do
        ROUTE=$2 take "$1" wrk_rate "$BASE_URL" loadtest/catalog.lua
        take "$1: return 200" wrk_rate "http://127.0.0.1:$plain_port/"
    done

    plain_nginx_stop
    report "$1" "$1" 0.8 - "$1: return 200"
    half_get "$1" "$BASE_URL$2"
}

row_concerts() { page concerts /api/concerts; }
row_schedules() {
    page schedules "/api/concerts/schedules/$(concert_of "$SCHEDULES")"
}

row_healthz() {
    local i

    plain_nginx_start ok

    for (( i = 0; i < ROUNDS; i++ )); do
        take healthz wrk_rate "$BASE_URL/healthz"
        take 'healthz: return 200' wrk_rate "http://127.0.0.1:$plain_port/"
    done

    plain_nginx_stop
    report healthz healthz - - 'healthz: return 200'
}

row_balance() {
    ours=(wrk_rate "$BASE_URL" loadtest/balance.lua)
    its=(pgbench_rate "$(sql_balance)")
    compare balance 1.0 read 4 8 16
    half_get balance "$BASE_URL/api/balance/"{1..200}
}

# seats_row ROW KIND TARGET FIRST LAST: of the schedules FIRST .. LAST
seats_row() {
    export KIND=$2
    ours=(wrk_rate "$BASE_URL" loadtest/seats.lua)
    its=(pgbench_rate "$(sql_seats "$4" "$5")")
    compare "$1" "$3" read 4 8 16
    mapfile -t urls \
        < <(seq -f "$BASE_URL/api/concerts/seats/%.0f" "$4" "$5")
    half_get "$1" "${urls[@]}"
}

row_seats-sold() { seats_row seats-sold sold 0.85 1 "$SOLD"; }
row_seats-free() {
    seats_row seats-free free 0.65 $(( SOLD + 1 )) $(( SOLD + FREE ))
}
