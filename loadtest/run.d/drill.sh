# shellcheck shell=bash
# A drill: steady traffic of all routes (drill.js), in which drills/NAME.sh
# breaks something and mends it again, and a record of what was seen.
#
# drills/NAME.sh has
#
#   keeps='ROUTE...'      routes that keep their goal while the fault lasts
#   alert='ALERT|...'     what its alert's name begins with, in any of these ways
#   fault_begin           begins it
#   fault_end             ends it; returns when its cause is over
#
# and may have
#
#   fault_turn            makes it another one, half way
#   fault_shows           whether it has come to what is looked for in it; in a
#                         smoke test it is not ended before
#   drill_prepare         before the traffic; if it fails there is no drill
#   drill_clean_up        whatever happens
#   drill_verdicts        what else has to hold
#   drill_script=FILE     other traffic than drill.js; it has to say "fault at MS"
#                         when its traffic begins, BEFORE seconds from then, to go
#                         on for OUTAGE + AFTERWARDS, and to count what its clients
#                         were told as faults.sql reads it
#   drill_outage=SECONDS  another OUTAGE than the others
#   other_log=FILE        the error log of another nginx, empty when it began
#
# and drills/NAME.txt what its incident sheet says of cause and prevention.
# Left in the run's directory: events.tsv, lines of "MS EVENT DETAIL" (`event`
# writes them); calls.tsv, a line for each call; phases.tsv, what became of them
# by route before, during and after; facts.tsv, figures of the verdicts. Of other
# traffic too, if its calls are in a Trend call_duration with the tags `name` and
# `status`.

: "${BEFORE:=12}" "${OUTAGE:=20}" "${AFTERWARDS:=15}"   # seconds
ALERT_LIMIT_MS=15000
RECOVERY_LIMIT_MS=5000
SETTLE=8                # seconds until k6's thresholds count again
RESOLVE=30              # seconds that an alert has to end, afterwards

# event NAME [DETAIL] [MS]
event() {
    printf '%s\t%s\t%s\n' "${3:-$(now_ms)}" "$1" "${2:-}" >>"$out/events.tsv"
}

# sleep_until MS: a signal ends it
sleep_until() {
    sleep "$(awk -v "ms=$(( $1 - $(now_ms) ))" \
             'BEGIN { printf "%.3f", (ms > 0 ? ms / 1000 : 0) }')" &
    sleeper=$!
    wait "$sleeper"
    sleeper=
}

is_function() { declare -F "$1" >/dev/null; }
if_there() { ! is_function "$1" || "$@"; }


# --- alerts ----------------------------------------------------------------

firing() {
    curl -fs --noproxy '*' -m 2 "$PROMETHEUS_URL/api/v1/alerts" \
        | perl loadtest/firing
}

# Alerts that begin to fire, and that end; twice a second.
watch_alerts() {
    local before=$'\n' now name since

    for (( ; ; )); do
        sleep 0.5
        kill -0 $$ 2>/dev/null || return 0
        now=$(firing) || continue
        now=$'\n'$now$'\n'

        while IFS=$'\t' read -r name since; do
            [[ -z $name || $before == *$'\n'"$name"$'\t'* ]] \
                || event 'alert firing' "$name, active since $since"
        done <<<"$now"

        while IFS=$'\t' read -r name since; do
            [[ -z $name || $now == *$'\n'"$name"$'\t'* ]] \
                || event 'alert resolved' "$name"
        done <<<"$before"

        before=$now
    done
}

alerts_ended() {
    awk -F '\t' '$2 == "alert firing" { n++ } $2 == "alert resolved" { n-- }
                 END { exit n > 0 }' "$out/events.tsv"
}

# The alerts of the drill have some time to end.
await_resolved() {
    local tries=$(( RESOLVE * 2 ))

    until alerts_ended || (( tries-- <= 0 )); do
        sleep 0.5
    done
}


# --- the drill -------------------------------------------------------------

# One drill must not leave its functions to the next.
load_drill() {
    unset -f drill_prepare drill_clean_up drill_verdicts fault_turn fault_shows
    drill_script=loadtest/drill.js keeps='' alert='' urls=$BASE_URL
    drill_outage='' other_log=''
    # shellcheck source=/dev/null
    . "loadtest/drills/$1.sh"
    cp "loadtest/drills/$1.txt" "$out/sheet.txt"
    outage=${drill_outage:-$OUTAGE}
}

drill_k6() {
    BASE_URLS=$urls BEFORE=$BEFORE OUTAGE=$outage \
        AFTERWARDS=$AFTERWARDS SETTLE=$SETTLE K6_CSV_TIME_FORMAT=unix_milli \
        run_k6 --out "csv=$out/calls.csv" "$drill_script"
}

# fact_is NAME CONDITION: of what the drill came to; a missing one is not met
fact_is() {
    awk -F '\t' -v "name=$1" "\$1 == name { known = 1; exit !(\$2 $2) }
                              END { if (!known) exit 1 }" "$out/facts.tsv"
}

prove_calls() {
    query -F $'\t' -v "summary=$(<"$out/summary.json")" -v "charged=$charged" \
        -f loadtest/faults.sql >"$out/proof.txt" || return 1

    awk -F '\t' '
        $2 != 0 { print "  broken " $2 " times: " $1; bad = 1 }
        END     { exit bad || NR == 0 }' "$out/proof.txt"
}

# However slow the machine is, and whatever the traffic has seen of it.
becomes_ready() {
    local tries=300

    until curl -fs --noproxy '*' -m 2 -o /dev/null "$BASE_URL/readyz"; do
        (( tries-- > 0 )) || return 1
        sleep 0.2
    done
}

# What every drill has to show.
usual_verdicts() {
    local name=$1

    perl loadtest/phases "$out" "$keeps" "$alert" || :
    verdict "$name: the fault was met" fact_is failed '> 0'
    timely "$name: other routes kept their goal" fact_is kept '== 1'

    if [[ -n ${SMOKE:-} ]]; then
        verdict "$name: by itself well again" becomes_ready
        return 0
    fi

    timely "$name: by itself well again within 5 s of the fault's end" \
        fact_is recovered_ms "<= $RECOVERY_LIMIT_MS"
    timely "$name: nothing failed afterwards" fact_is failed_after '== 0'
    (( monitored )) || return 0
    timely "$name: its alert within 15 s, ${alert//|/ or }" \
        fact_is alert_ms "<= $ALERT_LIMIT_MS"
    timely "$name: the alert ended" fact_is alert_ended_ms '>= 0'
}

drill_log_is_clean() {
    ! { tail -c "+$(( log_size + 1 ))" "$error_log"
        [[ -z $other_log ]] || cat "$other_log"; } \
        | grep -E '\[(alert|emerg)\]'
}

# Leaves in $begins when the fault is to begin: the script knows when its traffic
# does. Fails if k6 has ended without it.
await_plan() {
    begins=

    until [[ -n $begins ]]; do
        kill -0 "$k6_pid" 2>/dev/null || return 1
        sleep 0.1
        begins=$(sed -n 's/.*fault at \([0-9]*\).*/\1/p' "$out/k6.txt" \
                 2>/dev/null | head -n 1)
    done
}

# last_until MS: the fault goes on, from $since. In a smoke test that is as many
# naps of 0.1 s: a machine that stands still for seconds takes one of them.
last_until() {
    if [[ -z ${SMOKE:-} ]]; then
        sleep_until "$1"
    else
        for (( ; since < $1; since += 100 )); do sleep 0.1; done
    fi

    since=$1
}

# Whether a request has failed since $begun, and all routes that the fault must
# spare were asked.
was_met() {
    awk -F , -v begun="$begun" -v keeps="$keeps" '
        NR == 1                 { for (i = 1; i <= NF; i++) at[$i] = i; next }
        $at["timestamp"] < begun            { next }
        $1 == "call_duration"               { asked[$at["name"]] = 1 }
        $1 == "http_req_duration" && $at["status"] !~ /^2/  { failed = 1 }
        END {
            n = split(keeps, route, " ")
            for (i = 1; i <= n; i++) if (!(route[i] in asked)) exit 1
            exit !failed
        }' "$out/calls.csv" && { ! is_function fault_shows || fault_shows; }
}

# However slow the machine is, but not longer than there is traffic.
await_met() {
    until was_met || ! is_alive "$k6_pid"; do
        sleep 0.2
    done
}

# From its beginning to its end.
the_fault() {
    local over=$(( begins + outage * 1000 )) since=$begins begun

    sleep_until "$begins"
    begun=$(now_ms)
    event 'fault begun' "$name" "$begun"
    fault_at_work=1
    fault_begin

    if is_function fault_turn; then
        last_until "$(( (begins + over) / 2 ))"
        fault_turn
    fi

    last_until "$over"
    [[ -z ${SMOKE:-} ]] || await_met
    event 'mending begun' "$name"
    fault_end
    event 'fault over' "$name"
    fault_at_work=
}

# What watches alerts; and, if the drill was interrupted, k6 and who sleeps. (An
# interrupted `wait` must not be followed by another one for the same process: it
# may never return.)
end_helpers() {
    local pid

    for pid in $sleeper $alerts $k6_pid ${k6_pid:+$(pgrep -P "$k6_pid")}; do
        disown "$pid" 2>/dev/null || :
        kill -KILL "$pid" 2>/dev/null || :
        gone "$pid"
    done

    sleeper='' alerts='' k6_pid=''
}

# end_drill: also when it was interrupted, and then whatever fails of it
end_drill() {
    [[ -z $fault_at_work ]] || ( fault_end ) || :
    fault_at_work=
    end_helpers
    ( if_there drill_clean_up ) || :
    watch_end
    at_end=watch_end
}

begin_traffic() {
    if (( monitored )); then
        watch_alerts &
        alerts=$!
    else
        say "no monitoring (make monitor): there will be no times of alerts"
    fi

    watch_begin
    drill_k6 &
    k6_pid=$!
}

end_traffic() {
    timely "drill-$name: k6's thresholds" to_the_end wait "$k6_pid"
    k6_pid=
    event 'traffic ended'
    (( ! monitored )) || [[ -n ${SMOKE:-} ]] || await_resolved
}

# What came of it, in the order in which it is found out.
drill_findings() {
    sort -n -o "$out/events.tsv" "$out/events.tsv"
    usual_verdicts "drill-$name"
    if_there drill_verdicts
    verdict "drill-$name: no seat and no won lost or doubled, the proof in SQL" \
        prove_calls
    verdict "drill-$name: no errors in the script" has_no_errors
    verdict "drill-$name: nginx's error log" drill_log_is_clean
}

# One that cannot begin has failed; the tests after it go on.
run_drill() {
    local name=$1 begins='' outage
    told=1 fault_at_work='' sleeper='' alerts='' k6_pid=''

    say "=== drill-$name"
    begin "drill-$name"
    load_drill "$name"
    fresh
    : >"$out/events.tsv"
    at_end=end_drill

    if ! if_there drill_prepare; then
        verdict "drill-$name: it can begin" false
        end_drill
        return 0
    fi

    begin_traffic

    if ! await_plan; then
        verdict "drill-$name: k6 goes on until the fault" false
        end_drill
        return 0
    fi

    event 'traffic begins'
    the_fault
    end_traffic
    drill_findings
    end_drill
    sort -n -o "$out/events.tsv" "$out/events.tsv"
    about_end
}
