# shellcheck shell=bash
# Rows that write, durably.

# writes ROW TARGET SQL [REQUESTS]: with a look at the disk around each round; the
# script counts so many requests as one
writes() {
    quiet
    durable=1
    ours_of "$1"
    its=(pgbench_rate "$3")
    compare "$1" "$2" write 4 8 16 32
    half_write "$1" "loadtest/$1.lua" "$3" "${4:-1}"
    durable=''
    prepare=:
}

row_reserve() {
    writes reserve 1.5 "$(sql_seat; sql_reserve '*'; echo ';')"
}

row_charge() { writes charge 1.5 "$(sql_charge)"; }

row_pairs() {
    writes pairs 1.5 "$(sql_pair)" 2
    let_in
}

row_hot() {
    local deadlocks

    deadlocks=$(grep -c 'deadlock detected' "$VAR/postgres/log" || :)
    quiet
    durable=1
    ours_of hot
    its=(hot_rate)
    compare hot 0.8 write 4 8 16 32
    half_write hot loadtest/hot.lua "$(sql_hot)"
    durable=''
    prepare=:
    figure 'hot: deadlocks in the log of PostgreSQL' \
        $(( $(grep -c 'deadlock detected' "$VAR/postgres/log" || :)
            - deadlocks )) '' 0
}

# hot_rate CLIENTS: calls in a second, of which a cancel is one, as an answer to
# DELETE is one of ours
hot_rate() {
    local before rate won

    before=$(reserved)
    rate=$(pgbench_rate "$(sql_hot)" "$1")
    won=$(( $(reserved) - before ))
    awk -v "rate=$rate" -v "won=$won" '{ print rate * (1 + won / $1) }' \
        "$VAR/requests"
    awk -v "won=$won" '{ print $1 + won }' "$VAR/requests" >"$VAR/requests.new"
    mv "$VAR/requests.new" "$VAR/requests"
}

# reserved: how many reservations there ever were
reserved() {
    psql -X -A -t -c 'select count(*) from concert.reservations'
}

row_scenario() {
    quiet
    durable=1
    ours_of scenario
    its=(scenario_rate)
    its_name='statements'
    compare scenario 1.0 write 4 8 16 32
    half_write scenario loadtest/scenario.lua "$(sql_scenario)"
    its_name=pgbench
    durable=''
    prepare=:
    unset WRK_THREADS
    let_in
}

# scenario_rate CLIENTS: as if one statement came after the other; Redis is
# called as often as PostgreSQL, so that costs are those of a way
scenario_rate() {
    local pg name rates='' script

    pg=$(pgbench_rate "$(sql_scenario)" "$1")

    for name in enter leave; do
        read -ra script < <(redis_script "$name")
        rates+=" $(REDIS_CALLS=$(<"$VAR/requests") REDIS_RANGE=$TOKENS \
                       redis_benchmark_rate "${script[@]}" \
                       10000000 0 $DAY_MS 30000 9__rand_int__)"
    done

    awk '{ print 1 / (1 / $1 + 1 / $2 + 1 / $3) }' <<<"$pg $rates"
}
