# shellcheck shell=bash
# Rows that only read.

# page ROW ROUTE: against nginx's own `return 200` of the same body
page() {
    local i body

    body=$(curl -fs --noproxy '*' -H 'userId: 1' "$BASE_URL$2") \
        || die "$2: no page"
    plain_nginx_start "$body"
    ours_of "$1"

    for (( i = 0; i < ROUNDS; i++ )); do
        take "$1" "${ours[@]}"
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
    ours_of balance
    its=(pgbench_rate "$(sql_balance)")
    compare balance 1.0 read 4 8 16
    half_get balance "$BASE_URL/api/balance/"{1..200}
}

# seats_row ROW TARGET FIRST LAST: of the schedules FIRST .. LAST
seats_row() {
    ours_of "$1"
    its=(pgbench_rate "$(sql_seats "$3" "$4")")
    compare "$1" "$2" read 4 8 16
    mapfile -t urls \
        < <(seq -f "$BASE_URL/api/concerts/seats/%.0f" "$3" "$4")
    half_get "$1" "${urls[@]}"
}

row_seats-sold() { seats_row seats-sold 0.85 1 "$SOLD"; }
row_seats-free() {
    seats_row seats-free 0.65 $(( SOLD + 1 )) $(( SOLD + FREE ))
}
