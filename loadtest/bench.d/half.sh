# shellcheck shell=bash
# Half of a row's greatest rate: how long a request takes then.  In ms.

half_of() { awk -v "per=${2:-1}" '{ printf "%.0f\n", $1 * per / 2 }' <<<"$1"; }

# half_get ROW URL...
half_get() {
    local row=$1 rate
    local -a header=(-H 'userId: 1')
    shift

    [[ $row != balance ]] || header=()
    rate=$(half_of "$(median "$row")")
    printf '%s\n' "$@" >"$VAR/urls"
    rm -f "$VAR/h2load.log"
    h2load --h1 -c "$CLIENTS" -D "$SECONDS_EACH" \
        --rps "$(awk '{ print $1 / $2 }' <<<"$rate $CLIENTS")" \
        "${header[@]}" -i "$VAR/urls" --log-file "$VAR/h2load.log" >/dev/null

    figure "$row: p99 at $rate/s" "$(awk '{ print $3 / 1000 }' \
        "$VAR/h2load.log" | p99)" ms 20
    figure "$row: errors at $rate/s" \
        "$(awk '$2 != 200 { n++ } END { print n + 0 }' "$VAR/h2load.log")" '' 0
}

p99() {
    sort -g | awk '{ v[NR] = $1 }
                   END { printf "%.2f\n", v[int(NR * 0.99) + (NR < 100)] }'
}

# half_write ROW SCRIPT SQL [REQUESTS]: a script's count is of so many requests;
# a limit is five times what pgbench, with its best number of clients, takes
half_write() {
    local row=$1 rate name text its_p99

    rate=$(half_of "$(median "$row")" "${4:-1}")
    name=$(best "${names[@]}")
    "$prepare"
    text=$(RATE=$rate wrk -t "${WRK_THREADS:-1}" -c "$CLIENTS" \
               -d "${SECONDS_EACH}s" -s "$2" "$BASE_URL") \
        || die "$row at half its rate: wrk failed"
    "$prepare"
    its_p99=$(pgbench_p99 "${name//[^0-9]/}" \
                  "$(half_of "$(median "$name")")" "$3")

    figure "$row: p99 at $rate/s (pgbench: $its_p99)" \
        "$(awk '$1 == "p99:" { print $2 }' <<<"$text")" ms \
        "$(awk '{ print 5 * $1 }' <<<"$its_p99")"
    figure "$row: errors at $rate/s" "$(errors_of "$text")" '' 0
}

# errors_of WRK-TEXT: a script that counts ends at a wrong answer itself
errors_of() {
    awk '/Socket errors/ { gsub("[^0-9 ]", ""); n += $1 + $2 + $3 + $4 }
         /Non-2xx/ { wrong = $NF }
         /^good/ { counts = 1 }
         END { print n + (counts ? 0 : wrong) }' <<<"$1"
}

# pgbench_p99 CLIENTS RATE SQL: of the time from sending on
pgbench_p99() {
    rm -f "$VAR"/pgbench-log*
    pgbench_run "$1" -T "$SECONDS_EACH" -R "$2" -l \
        --log-prefix="$VAR/pgbench-log" <<<"$3" >/dev/null \
        || die "pgbench failed: $(cat "$VAR/pgbench.err")"
    awk '{ print ($3 - $7) / 1000 }' "$VAR"/pgbench-log* | p99
}
