# shellcheck shell=bash
# The greatest rate of a flow that keeps the goal, found in steps: each GROWTH
# times as fast as the one before until one breaks it, then REFINE times the
# middle between the greatest that kept it and the least that did not. By k6,
# which may be what takes most of the processors, and by wrk, which takes little.

: "${FLOWS:=reservation balance}" "${TOOLS:=k6 wrk}"
: "${STEP:=8}" "${GROWTH:=1.6}" "${REFINE:=3}" "${MAX_STEPS:=16}"
: "${GOAL_P95_MS:=100}" "${GOAL_ERRORS:=0.001}" "${MAX_STOLEN:=5}" "${TRIES:=3}"
RAMP=2                  # seconds on the way to a step's rate
WARM=1                  # seconds of wrk that do not count
PRICE=60000             # of a seat of the first concert
CHARGE=6000
PLACES_OF_ALL=10000     # of the queue, for all users: it is not the limit here
BASE=0                  # seats that wrk's steps before have taken

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
    step_begin=                         # k6 knows it
}

# step_wrk FLOW RATE: with connections enough for ways of 0.8 s
step_wrk() {
    local n

    n=$(awk -v "rate=$2" 'BEGIN { n = int(rate * 0.4)
                                  print (n < 16 ? 16 : n > 128 ? 128 : n) }')
    FLOW=$1 RATE=$2 WRK_THREADS=$n BASE=$BASE USERS=10000 TOKENS=10000 \
        SCHEDULES=3 SOLD=0 FREE=3 CONCERTS=1 PRICE=$PRICE HOT=0 \
        wrk -t "$n" -c "$n" -d "$(( STEP + WARM ))s" --timeout 10s \
        -s loadtest/capacity.lua "$BASE_URL" >"$place/wrk.txt" 2>&1 \
        || die "wrk failed: $(tail -n 3 "$place/wrk.txt")"
    step_begin=$(( $(now_ms) - STEP * 1000 ))
    BASE=$(( BASE + $2 * (STEP + WARM + 2) / 3 * 3 + 3 * n ))
    printf 'connections %d\n' "$n" >>"$place/wrk.txt"
}

# one_step TOOL FLOW RATE RATE-BEFORE: true if the goal was kept
one_step() {
    local tool=$1 flow=$2 rate=$3

    steps=$(( steps + 1 ))
    place=$out/steps/$(printf '%02d' "$steps")-$tool-$flow-$rate
    mkdir -p "$place"
    sleep 1                             # what the step before left under way
    "step_$tool" "$flow" "$rate" "${4:-1}"
    sleep 0.6                           # the watcher's next look
    perl loadtest/step "$out" "$place" "$tool" "$flow" "$rate" "$STEP" \
        "$GOAL_P95_MS" "$GOAL_ERRORS" $step_begin
}

was_disturbed() {
    awk -v "most=$MAX_STOLEN" 'END { exit !($1 > most) }' "$place/stolen"
}

# A step that missed while the host took more than MAX_STOLEN per cent of the
# processors says nothing: again, up to TRIES times in all.
fair_step() {
    local try

    for (( try = 1; ; try++ )); do
        one_step "$@" && return 0
        (( try < TRIES )) && was_disturbed || return 1
        say "  (the host took $(<"$place/stolen") %: again)"
    done
}

times() { awk -v "a=$1" -v "b=$2" 'BEGIN { printf "%.0f", a * b }'; }
middle() { awk -v "a=$1" -v "b=$2" 'BEGIN { printf "%.0f", sqrt(a * b) }'; }

# find_rate TOOL FLOW: leaves the greatest rate in $greatest, 0 if there is none
find_rate() {
    local tool=$1 flow=$2 rate too_fast='' i

    greatest=0
    rate=$(first_rate "$flow")

    for (( i = 0; i < MAX_STEPS; i++ )); do
        fair_step "$tool" "$flow" "$rate" "$greatest" \
            || { too_fast=$rate; break; }
        greatest=$rate
        rate=$(times "$rate" "$GROWTH")
    done

    (( greatest > 0 )) && [[ -n $too_fast ]] || return 0

    for (( i = 0; i < REFINE; i++ )); do
        rate=$(middle "$greatest" "$too_fast")
        (( rate > greatest && rate < too_fast )) || break

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
    told=1 steps=0

    for tool in $TOOLS; do
        [[ $tool == k6 ]] || command -v "$tool" >/dev/null \
            || die "$tool is missing: conf/stack/install loadtest"
    done

    say "=== capacity"
    begin capacity
    fact goal_p95_ms "$GOAL_P95_MS"
    fact goal_errors "$GOAL_ERRORS"
    fact step_s "$STEP"
    watch_begin

    for flow in $FLOWS; do
        for tool in $TOOLS; do
            BASE=0
            fresh
            set_places "$PLACES_OF_ALL"
            say "$flow, by $tool: offered and done a second; p95 in ms; errors"
            find_rate "$tool" "$flow"
            verdict "capacity: $flow by $tool keeps the goal at $greatest/s" \
                found_a_rate
            perl loadtest/told "$out" "$tool" "$flow" "$PRICE" "$CHARGE" \
                >"$out/summary.json"
            verdict "capacity: $flow by $tool, the proof in SQL" prove
            cat "$out/proof.txt" >>"$out/proofs.txt"
        done
    done

    watch_end
    verdict "capacity: nginx's error log" log_is_clean
    about_end
}
