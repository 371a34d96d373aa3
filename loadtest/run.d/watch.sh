# shellcheck shell=bash
# What is looked at while a test runs: processors, the lanes, and what PostgreSQL
# waits for.

watchers=()

# Twice a second: "MS NAME VALUE" of /metrics.
watch_lanes() {
    while kill -0 $$ 2>/dev/null; do
        curl -fs --noproxy '*' -m 2 "$BASE_URL/metrics" \
            | awk -v "ms=$(now_ms)" -v OFS='\t' '/^concert_lane/ { print ms, $1, $2 }'
        sleep 0.5
    done >"$out/lanes.tsv" 2>/dev/null &
    watchers+=($!)
}

# Of the service's sessions: how many do what, five times a second. (From another
# database: who is in this one is thrown out when it is made anew.)
watch_waits() {
    PGAPPNAME=loadtest-watch psql -d postgres -X -q -A -t -F $'\t' \
        >"$out/waits.tsv" 2>/dev/null <<'END' &
select (extract(epoch from now()) * 1000)::bigint,
       case when state <> 'active' then state
            when wait_event is null then 'running'
            else wait_event_type || ': ' || wait_event
       end,
       count(*)
from pg_stat_activity
where datname = 'concert' and usename = 'concert_service'
  and state is not null
group by 2
\watch 0.2
END
    watchers+=($!)
}

watch_begin() {
    perl loadtest/watch "$VAR" $$ >"$out/cpu.tsv" &
    watchers+=($!)
    watch_lanes
    watch_waits
}

watch_end() {
    local pid

    for pid in "${watchers[@]}"; do
        kill "$pid" 2>/dev/null || :
        wait "$pid" 2>/dev/null || :
    done

    watchers=()
}
