# shellcheck shell=bash
# Samples: taking one, and what it costs.

declare -A samples      # what was measured, by name, in order
worst_stolen=0          # per cent, of the samples that count
prepare=:               # a command before each sample


# --- what is measured ------------------------------------------------------
# Each prints a rate in a second, and leaves how many in $VAR/requests.

# wrk_rate URL [SCRIPT]: answers, all of them 2xx; or what a script counts
wrk_rate() {
    local text

    text=$(wrk -t "${WRK_THREADS:-1}" -c "$CLIENTS" -d "${SECONDS_EACH}s" \
               ${2:+-s "$2"} "$1") || die "$*: wrk failed"

    if grep -q 'Socket errors' <<<"$text" \
        || { grep -q Non-2xx <<<"$text" && ! grep -q '^good' <<<"$text"; }
    then
        wrong_answer "$text" "$@"
    fi

    sed -n 's/^good: //p' <<<"$text" | awk '{ print $1 }' >"$VAR/requests"

    if [[ -s $VAR/requests ]]; then
        awk '$1 == "good:" { print $2 / $4 }' <<<"$text"
    else
        awk '$2 == "requests" && $3 == "in" { print $1 }' <<<"$text" \
            >"$VAR/requests"
        awk '$1 == "Requests/sec:" { print $2 }' <<<"$text"
    fi
}

# wrong_answer WRK-TEXT URL [SCRIPT]: says what comes back, and ends
wrong_answer() {
    grep -E 'Non-2xx|Socket errors' >&2 <<<"$1"

    if [[ -n ${3:-} ]]; then
        WATCH=1 wrk -t 1 -c "$CLIENTS" -d 1s -s "$3" "$2" >/dev/null || :
    else
        curl -si --noproxy '*' "$2" | head -c 1000 >&2
    fi

    die "$2 ${3:-}: not every answer was good"
}

# pgbench_rate SCRIPT-TEXT CLIENTS: transactions, after a second in which the
# connections make their plans, as the lanes did long ago
pgbench_rate() {
    local text

    text=$(pgbench_run "$2" -T $(( SECONDS_EACH + 1 )) -P 1 <<<"$1") \
        || die "pgbench failed: $(<"$VAR/pgbench.err")"
    awk '/transactions actually processed/ { sub("/.*", "", $NF); print $NF }' \
        <<<"$text" >"$VAR/requests"
    awk -v "all=$(<"$VAR/requests")" \
        'FILENAME != "-" && $1 == "progress:" && !at { at = $2; n = $2 * $4 }
         FILENAME == "-" && $1 == "tps" { print (all - n) / (all / $3 - at) }' \
        "$VAR/pgbench.err" - <<<"$text"
}

# pgbench_run CLIENTS OPTION...: of the script on the standard input, as the
# lanes do it (store/postgres.c), in the role that the service has
pgbench_run() {
    local clients=$1
    shift

    PGUSER=concert_service \
    PGOPTIONS='-c synchronous_commit=on -c plan_cache_mode=force_generic_plan
               -c enable_seqscan=off -c enable_hashjoin=off
               -c enable_mergejoin=off' \
    pgbench -n -M prepared -c "$clients" -j 2 -D n=0 -D base="$BASE" \
        -D c="$clients" "$@" -f - 2>"$VAR/pgbench.err"
}

# redis_benchmark_rate COMMAND...
redis_benchmark_rate() {
    echo "$REDIS_CALLS" >"$VAR/requests"
    "$REDIS_BENCHMARK" -s "$REDIS_SOCKET" -c 32 -n "$REDIS_CALLS" \
        -r "$REDIS_RANGE" --csv "$@" \
        | awk -F '","' 'NR == 2 { print $2 }'
}


# --- what it costs ---------------------------------------------------------

# process_us PID...: of processor time, with threads and ended children
process_us() {
    local pid files=()

    for pid in "$@"; do
        files+=("/proc/$pid/stat")
    done

    cat "${files[@]}" 2>/dev/null \
        | sed 's/.*) //' \
        | awk -v "tick=$(getconf CLK_TCK)" \
              '{ n += $12 + $13 }
               NR == 1 { n += $14 + $15 }
               END { printf "%.0f\n", n * 1e6 / tick }'
}

# processor_us: "NGINX POSTGRESQL REDIS" so far, of nginx the workers; a peer
# ($service_pid) takes its place
processor_us() {
    local postmaster nginx=() child=()

    read -r postmaster <"$VAR/postgres/data/postmaster.pid"
    mapfile -t nginx < <(pgrep -P "$(<"$VAR/nginx/nginx.pid")")
    [[ -z ${service_pid:-} ]] || nginx=("$service_pid")
    mapfile -t child < <(pgrep -P "$postmaster")

    if [[ -r $plain/nginx.pid ]]; then
        mapfile -t -O "${#nginx[@]}" nginx \
            < <(pgrep -P "$(<"$plain/nginx.pid")")
    fi

    echo "$(process_us "${nginx[@]}")" \
         "$(process_us "$postmaster" "${child[@]}")" \
         "$(process_us "$(<"$VAR/redis/redis.pid")")"
}

# each_us "BEFORE" "AFTER": of a request, of the sample that just ended
each_us() {
    awk -v "n=$(<"$VAR/requests")" \
        '{ for (i = 1; i <= 3; i++) {
               printf "%.1f ", n ? ($(i + 3) - $i) / n : 0
           } }' <<<"$1 $2"
}

# processor: ticks of all processors so far, and those that the host of this
# virtual machine took
processor() {
    awk '/^cpu / { print $2+$3+$4+$5+$6+$7+$8+$9, $9; exit }' /proc/stat
}

# stolen "TICKS TAKEN" "TICKS TAKEN": per cent between two looks
stolen() {
    awk '{ n = $3 - $1; printf "%.0f\n", n ? 100 * ($4 - $2) / n : 0 }' \
        <<<"$1 $2"
}

# disk_ms: what a write that must be on the disk takes where PostgreSQL is
disk_ms() {
    local started

    started=$(date +%s%N)
    dd if=/dev/zero of="$VAR/probe" bs=8k count="$DISK_WRITES" conv=notrunc \
        oflag=dsync 2>/dev/null
    awk '{ printf "%.3f\n", ($2 - $1) / 1e6 / $3 }' \
        <<<"$started $(date +%s%N) $DISK_WRITES"
}


# --- samples ---------------------------------------------------------------

add() { samples[$1]+="${samples[$1]:+ }$2"; }

# take NAME COMMAND...: one sample of NAME, and what a request costs.  One that
# the host disturbed is taken again; the least disturbed of TRIES counts.
take() {
    local name=$1 value before used us took i best='' cost='' least=101
    shift

    for (( i = 0; i < TRIES && least > MAX_STOLEN; i++ )); do
        "$prepare"
        before=$(processor)
        used=$(processor_us)
        value=$("$@")
        us=$(each_us "$used" "$(processor_us)")
        took=$(stolen "$before" "$(processor)")
        [[ $value =~ ^[0-9.]+(e\+[0-9]+)?$ ]] || die "$name: no figure"
        printf '  %-36s %9.0f /s  us: %s%s\n' "$name" "$value" "$us" \
            "$( (( took > MAX_STOLEN )) && printf '  (host took %d %%)' "$took")"

        if (( took < least )); then
            least=$took best=$value cost=$us
        fi
    done

    (( least <= worst_stolen )) || worst_stolen=$least
    add "$name" "$best"
    # shellcheck disable=SC2086
    add_costs "$name" $cost
}

add_costs() {
    add "$1, us" "$2"
    add "$1, us of PostgreSQL" "$3"
    add "$1, us of Redis" "$4"
}

median() {
    tr ' ' '\n' <<<"${samples[$1]# }" | sort -g \
        | awk '{ v[NR] = $1 }
               END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}

# best NAME...: the name with the greatest median
best() {
    local name

    for name in "$@"; do
        printf '%s\t%s\n' "$(median "$name")" "$name"
    done | sort -g | tail -n 1 | cut -f 2
}

# batches GROUP: "calls batches" of a group of lanes so far
batches() {
    curl -fs --noproxy '*' "$BASE_URL/metrics" | awk -v "of={group=\"$1\"}" '
        $1 == "concert_lane_batch_size_sum" of   { calls = $2 }
        $1 == "concert_lane_batch_size_count" of { n = $2 }
        END { print calls + 0, n + 0 }'
}

# mean_batch "CALLS BATCHES" "CALLS BATCHES": between two looks
mean_batch() {
    awk '{ n = $4 - $2; printf "%.1f\n", n ? ($3 - $1) / n : 0 }' <<<"$1 $2"
}


# --- a row -----------------------------------------------------------------

# compare ROW TARGET GROUP CLIENTS...: takes samples of the command `ours` and,
# in turn, of the command `its` with each number of clients; those that in the
# first round are not near the best are not tried again
compare() {
    local row=$1 target=$2 group=$3 before round n
    shift 3

    clients=("$@")
    before=$(batches "$group")

    for (( round = 0; round < ROUNDS; round++ )); do
        if [[ -n $durable ]]; then
            steady_round "$row"
        else
            one_round "$row"
        fi
        (( round > 0 )) || drop_slow "$row"
    done

    names=()
    for n in "${clients[@]}"; do
        names+=("$row: $its_name, $n clients")
    done

    report "$row" "$row" "$target" \
        "$(mean_batch "$before" "$(batches "$group")")" "${names[@]}"
}

one_round() {
    local n

    take "$1" "${ours[@]}"
    for n in "${clients[@]}"; do
        take "$1: $its_name, $n clients" "${its[@]}" "$n"
    done
}

# A round between two looks at the disk; one that met a slower or a faster disk
# than the run did is taken again, once.
steady_round() {
    local row=$1 try name probe
    local -A kept

    for try in 1 2; do
        for name in "${!samples[@]}"; do kept[$name]=${samples[$name]}; done
        probe=$(disk_ms)
        one_round "$row"
        probe+=" $(disk_ms)"
        add disk "$probe"
        ! is_steady "$probe" || return 0
        say "  the disk was not itself ($probe ms a write)"
        (( try == 1 )) || return 0

        for name in "${!samples[@]}"; do
            [[ $name == disk ]] || samples[$name]=${kept[$name]:-}
        done
    done
}

# is_steady "MS MS": both are what the disk takes in this run
is_steady() {
    awk -v "most=$DISK_FACTOR" \
        '{ for (i = 2; i <= 3; i++) {
               if ($i > $1 * most || $1 > $i * most) { exit 1 }
           } }' <<<"$(median disk) $1"
}

# drop_slow ROW: client numbers that are more than a fifth behind the best
drop_slow() {
    local n top=0 near=()

    for n in "${clients[@]}"; do
        top=$(awk '{ print ($1 > $2 ? $1 : $2) }' \
              <<<"$top $(median "$1: $its_name, $n clients")")
    done

    for n in "${clients[@]}"; do
        ! awk '{ exit !($1 >= 0.8 * $2) }' \
            <<<"$(median "$1: $its_name, $n clients") $top" || near+=("$n")
    done

    clients=("${near[@]}")
}
