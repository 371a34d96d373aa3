# shellcheck shell=bash
# Two revisions side by side.  Each has a stack of its own and a process of this
# program in its own tree, which takes a sample when it is told to; so wrk's
# scripts and the SQL that makes the data are those of the revision, and how it
# is measured is the same for both.

AGAINST=(concerts schedules balance seats-sold seats-free poll enter reserve hot
         charge pairs scenario)
LEAST=0.97              # of the earlier revision's rate
declare -A sides=()     # process ids, by name


# --- a side ------------------------------------------------------------------

# side: for each line, "begin ROW", "sample ROW" or "end ROW", one line
side() {
    local action row

    exec 3>&1 1>&2
    plain=$VAR/plain
    TRIES=1
    fresh
    echo ready >&3

    while read -r action row; do
        "side_$action" "$row"
    done
}

side_begin() {
    case $1 in
    poll|enter)
        empty_queue
        operate '{"paused": true}'
        enter_users 1 1000 ;;
    reserve|hot|charge|pairs|scenario)
        quiet ;;
    esac

    ours_of "$1"
    echo begun >&3
}

# "RATE US-OF-NGINX US-OF-POSTGRESQL US-OF-REDIS KB-OF-THE-WORKER"
side_sample() {
    unset "samples[$1]" "samples[$1, us]" "samples[$1, us of PostgreSQL]" \
        "samples[$1, us of Redis]"
    take "$1" "${ours[@]}"
    echo "$(median "$1")" "$(costs_of "$1")" "$(worker_memory)" >&3
}

side_end() {
    case $1 in
    poll|enter)
        empty_queue
        let_in ;;
    pairs|scenario)
        let_in ;;
    esac

    echo ended >&3
}


# --- both ---------------------------------------------------------------------

# against REV [ROW]...
against() {
    local rev row before

    (( $# )) || { usage >&2; die 'against what?'; }
    rev=$(git rev-parse --verify -q --short=12 "$1^{commit}") \
        || die "there is no revision \"$1\""
    shift
    (( $# )) || set -- "${AGAINST[@]}"
    out=${OUT:-loadtest/results/$(date +%Y-%m-%d-%H%M%S)-against-$rev}
    mkdir -p "$out"
    load_before=$(cut -d ' ' -f 1 /proc/loadavg)
    before=$(processor)

    build_revision "$rev"
    trap end_sides EXIT
    stack_settings
    begin_side then "$PWD/build/against/$rev" $(( BENCH_PORT + 2 ))
    begin_side now "$PWD" "$BENCH_PORT"
    hear then >/dev/null
    hear now >/dev/null

    for row in "$@"; do
        against_row "$row"
    done

    worst_stolen=$(stolen "$before" "$(processor)")
    against_conclude "$rev"
}

# build_revision REV: its files, and its module
build_revision() {
    local tree=build/against/$1

    if [[ ! -d $tree ]]; then
        mkdir -p "$tree.new"
        git archive "$1" | tar -x -C "$tree.new"
        mv "$tree.new" "$tree"
    fi

    say "building $1"
    env -u VAR -u PORT -u MAKEFLAGS make -C "$tree" build >"$out/build.txt" 2>&1 \
        || { tail -n 20 "$out/build.txt" >&2; die "$1 does not build"; }
}

# begin_side NAME TREE PORT
begin_side() {
    local program

    program=$PWD/loadtest/bench
    rm -f "$out/$1".{ask,tell}
    mkfifo "$out/$1".{ask,tell}
    say "starting the stack of $1 ($out/$1.log)"

    (cd "$2" \
     && PORT=$3 BENCH_TREE=$2 exec conf/stack/stack exec "$program" side) \
        <"$out/$1.ask" >"$out/$1.tell" 2>"$out/$1.log" &
    sides[$1]=$!

    case $1 in
    then) exec 5>"$out/then.ask" 6<"$out/then.tell" ;;
    now)  exec 7>"$out/now.ask" 8<"$out/now.tell" ;;
    esac
}

# hear NAME: the next line that it prints of its own; what its stack says goes by
hear() {
    local line fd=6

    [[ $1 == then ]] || fd=8

    while read -r -u "$fd" line; do
        if [[ $line =~ ^(ready|begun|ended|[0-9.e+]+( [0-9.]+){4})$ ]]; then
            echo "$line"
            return
        fi
    done

    die "the side of $1 has ended: $(tail -n 3 "$out/$1.log")"
}

# ask NAME LINE
ask() {
    local fd=5

    [[ $1 == then ]] || fd=7
    echo "$2" >&"$fd"
    hear "$1"
}

end_sides() {
    local name

    exec 5>&- 7>&-

    for name in "${!sides[@]}"; do
        wait "${sides[$name]}" || :
        rm -f "$out/$name".{ask,tell}
    done
}

# against_row ROW: whoever is first in a round is second in the next
against_row() {
    local i name order=(then now)

    say "$1"
    ask then "begin $1" >/dev/null
    ask now "begin $1" >/dev/null

    for (( i = 0; i < ROUNDS; i++ )); do
        for name in "${order[@]}"; do
            ask "$name" "sample $1" >>"$out/$1.$name"
        done
        order=("${order[1]}" "${order[0]}")
    done

    ask then "end $1" >/dev/null
    ask now "end $1" >/dev/null
    against_report "$1"
}

# against_report ROW: the ratio is the geometric mean of those of the rounds, with
# its confidence interval
against_report() {
    local line

    line=$(paste "$out/$1.then" "$out/$1.now" | awk -v "row=$1" '
        function middle(column,    i, j, t, v) {
            for (i = 1; i <= NR; i++) { v[i] = of[column, i] }
            for (i = 2; i <= NR; i++) {
                for (j = i; j > 1 && v[j - 1] > v[j]; j--) {
                    t = v[j]; v[j] = v[j - 1]; v[j - 1] = t
                }
            }
            return (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2
        }
        {
            for (i = 1; i <= 10; i++) { of[i, NR] = $i }
            log_ratio[NR] = log($6 / $1)
            sum += log_ratio[NR]
        }
        END {
            # of the t distribution, 97.5 %, for 1, 2 ... degrees of freedom
            split("12.71 4.30 3.18 2.78 2.57 2.45 2.36 2.31 2.26 2.23 2.20 " \
                  "2.18 2.16 2.14 2.13 2.12 2.11 2.10 2.09 2.09", t, " ")
            mean = sum / NR
            for (i = 1; i <= NR; i++) { squares += (log_ratio[i] - mean) ^ 2 }
            q = NR > 21 ? 2.06 : t[NR - 1]
            half = NR > 1 ? q * sqrt(squares / (NR - 1) / NR) : 9
            printf "%-11s %9.0f %9.0f %6.2f  %4.2f to %4.2f", row, middle(1),
                   middle(6), exp(mean), exp(mean - half), exp(mean + half)
            for (i = 2; i <= 4; i++) {
                printf "  %7.1f %7.1f", middle(i), middle(i + 5)
            }
            printf "  %7.0f %7.0f", middle(5), middle(10)
        }')
    table+=("$line")
    say "$line"
    verdict '$1 >= $2' "$(awk '{ print $7 }' <<<"$line") $LEAST"
}

against_conclude() {
    {
        printf '%-11s %9s %9s %6s  %12s  %15s  %15s  %15s  %15s\n' row "$1" now \
            ratio '95 %' 'us of nginx' 'PostgreSQL' 'Redis' 'worker, kB'
        printf '%s\n' "${table[@]}"
    } | tee "$out/against.txt"
    say "then and now in turn, $ROUNDS samples of $SECONDS_EACH s each; load" \
        "before: $load_before; the host took $worst_stolen % of the processors"
    say "a row fails if its ratio is below $LEAST with confidence"
    say "$passed passed, $failed failed ($out)"
    (( failed == 0 ))
}
