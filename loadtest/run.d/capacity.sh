# shellcheck shell=bash
# The greatest rate of a flow that keeps the goal, found in steps: each GROWTH
# times as fast as the one before until one breaks it, then REFINE times the
# middle between the greatest that kept it and the least that did not. By k6,
# which may be what takes most of the processors, and by wrk, which takes little.

: "${FLOWS:=reservation balance}" "${TOOLS:=k6 wrk}"
: "${STEP:=8}" "${GROWTH:=1.6}" "${REFINE:=3}" "${MAX_STEPS:=16}"
RAMP=2                  # seconds on the way to a step's rate
WARM=1                  # seconds of wrk that do not count
PRICE=60000             # of a seat of the first concert
CHARGE=6000
PLACES_OF_ALL=10000     # of the queue, for all users: it is not the limit here
K6_SCHEDULES=9          # all of the demo, with SEATS each
WRK_SCHEDULES=3         # those of the first concert
BASE=0                  # seats that the steps before have taken
: "${MOST_CONNECTIONS:=$(( 64 * $(nproc) ))}"    # of wrk, each with a thread

# first_rate FLOW TOOL: one that any machine keeps
first_rate() {
    case $1 in
    balance) echo "${FIRST_RATE:-200}" ;;
    *)       echo "${FIRST_RATE:-50}" ;;
    esac
}

# step_k6 FLOW RATE RATE-BEFORE: whatever k6 says, the figures decide
step_k6() {
    FLOW=$1 RATE=$2 RATE_BEFORE=$3 RAMP=$RAMP STEP=$STEP \
        GOAL_P95_MS=$GOAL_P95_MS GOAL_ERRORS=$GOAL_ERRORS \
        "$k6" run --no-usage-report --address '' --no-color -q \
        --summary-trend-stats 'avg,med,p(90),p(95),p(99),max' \
        --summary-export "$place/summary.json" loadtest/capacity.js \
        </dev/null >"$place/k6.txt" 2>&1 || :
    [[ -s $place/summary.json ]] \
        || die "k6 failed: $(tail -n 3 "$place/k6.txt")"
    ! grep ' level=error ' "$place/k6.txt" | grep -v 'thresholds on metrics' \
        || die "k6 met an error in the script: $place/k6.txt"
    step_begin=                         # k6 knows it
}

# step_wrk FLOW RATE: with connections for ways of 0.8 s, as k6 has virtual users,
# up to MOST_CONNECTIONS: on two processors 256 threads took so much of them that
# p95 was up to three times that with 128, which did as many ways a second. What
# waits for a connection meanwhile counts as slow (capacity.lua).
step_wrk() {
    local n

    n=$(awk -v "rate=$2" -v "most=$MOST_CONNECTIONS" \
            'BEGIN { n = int(rate * 0.8)
                     print (n < 16 ? 16 : n > most ? most : n) }')
    FLOW=$1 RATE=$2 WRK_THREADS=$n BASE=$BASE USERS=10000 TOKENS=10000 \
        SCHEDULES=$WRK_SCHEDULES SOLD=0 FREE=$WRK_SCHEDULES CONCERTS=1 \
        PRICE=$PRICE HOT=0 \
        wrk -t "$n" -c "$n" -d "$(( STEP + WARM ))s" --timeout 10s \
        -s loadtest/capacity.lua "$BASE_URL" >"$place/wrk.txt" 2>&1 \
        || die "wrk failed: $(tail -n 3 "$place/wrk.txt")"
    step_begin=$(( $(now_ms) - STEP * 1000 ))
    printf 'connections %d\n' "$n" >>"$place/wrk.txt"
}

# one_step TOOL FLOW RATE RATE-BEFORE: true if the goal was kept
one_step() {
    local tool=$1 flow=$2 rate=$3 kept=0

    steps=$(( steps + 1 ))
    place=$out/steps/$(printf '%02d' "$steps")-$tool-$flow-$rate
    mkdir -p "$place"
    sleep 1                             # what the step before left under way
    "step_$tool" "$flow" "$rate" "${4:-1}"
    sleep 0.6                           # the watcher's next look
    perl loadtest/step "$out" "$place" "$tool" "$flow" "$rate" "$STEP" \
        "$GOAL_P95_MS" "$GOAL_ERRORS" $step_begin || kept=$?
    BASE=$(( BASE + $(<"$place/seats") ))
    return "$kept"
}

was_disturbed() {
    [[ -z ${SMOKE:-} ]] || return 0
    awk -v "most=$MAX_STOLEN" 'END { exit !($1 > most) }' "$place/stolen"
}

# A step that missed while the host took more than MAX_STOLEN per cent of the
# processors says nothing: again, up to TRIES times in all. Nor does one of a smoke
# test, so short that the machine may have stood still all the time.
fair_step() {
    local try

    for (( try = 1; ; try++ )); do
        one_step "$@" && return 0
        (( try < TRIES )) && was_disturbed || return 1
        say "  (the host took $(<"$place/stolen") %: again)"
        need_seats "$@" || return 1
    done
}

# prove_steps TOOL FLOW: that what was done since the data were new is right
prove_steps() {
    perl loadtest/told "$out" "$1" "$2" "$PRICE" "$CHARGE" "$first_step" \
        >"$out/summary.json"
    verdict "capacity: $2 by $1, the proof in SQL" prove
    cat "$out/proof.txt" >>"$out/proofs.txt"
}

begin_data() {
    fresh
    set_places "$PLACES_OF_ALL"
    BASE=0 first_step=$(( steps + 1 ))
}

# has_seats TAKEN TOOL FLOW RATE: enough for a step; a tenth more, as k6 chooses
# freely
has_seats() {
    local schedules=$K6_SCHEDULES

    [[ $3 == reservation ]] || return 0
    [[ $2 == k6 ]] || schedules=$WRK_SCHEDULES
    (( $1 + $4 * (STEP + RAMP + 1) * 11 / 10 + MOST_CONNECTIONS
       <= schedules * SEATS ))
}

# need_seats TOOL FLOW RATE: if not enough are left, data as new, after the proof
# of what was done; false if all are too few
need_seats() {
    has_seats "$BASE" "$@" && return 0
    has_seats 0 "$@" || return 1
    prove_steps "$1" "$2"
    begin_data
}

times() { awk -v "a=$1" -v "b=$2" 'BEGIN { printf "%.0f", a * b }'; }
middle() { awk -v "a=$1" -v "b=$2" 'BEGIN { printf "%.0f", sqrt(a * b) }'; }

# find_rate TOOL FLOW: leaves the greatest rate in $greatest, 0 if there is none
find_rate() {
    local tool=$1 flow=$2 rate too_fast='' i

    greatest=0
    rate=$(first_rate "$flow")

    for (( i = 0; i < MAX_STEPS; i++ )); do
        need_seats "$tool" "$flow" "$rate" || {
            verdict "capacity: $flow by $tool has seats for $rate/s: SEATS=$SEATS" \
                false
            break
        }
        fair_step "$tool" "$flow" "$rate" "$greatest" \
            || { too_fast=$rate; break; }
        greatest=$rate
        rate=$(times "$rate" "$GROWTH")
    done

    (( greatest > 0 )) && [[ -n $too_fast ]] || return 0

    for (( i = 0; i < REFINE; i++ )); do
        rate=$(middle "$greatest" "$too_fast")
        (( rate > greatest && rate < too_fast )) || break
        need_seats "$tool" "$flow" "$rate" || break

        if fair_step "$tool" "$flow" "$rate" "$greatest"; then
            greatest=$rate
        else
            too_fast=$rate
        fi
    done
}

found_a_rate() { (( greatest > 0 )); }

run_capacity() {
    local tool flow
    told=1 steps=0 first_step=1

    for tool in $TOOLS; do
        [[ $tool == k6 ]] || command -v "$tool" >/dev/null \
            || die "$tool is missing: conf/stack/install loadtest"
    done

    say "=== capacity"
    begin capacity
    fact goal_p95_ms "$GOAL_P95_MS"
    fact goal_errors "$GOAL_ERRORS"
    fact step_s "$STEP"
    fact queue "$(sed -n 's/^ *concert_queue *\(.*\);/\1/p' \
                  "$VAR/nginx/nginx.conf")"
    watch_begin

    for flow in $FLOWS; do
        for tool in $TOOLS; do
            begin_data
            say "$flow, by $tool: offered and done a second; p95 in ms; errors"
            find_rate "$tool" "$flow"
            verdict "capacity: $flow by $tool keeps the goal at $greatest/s" \
                found_a_rate
            prove_steps "$tool" "$flow"
        done
    done

    watch_end
    verdict "capacity: nginx's error log" log_is_clean
    about_end
}
