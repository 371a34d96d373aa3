# shellcheck shell=bash
# What came out: a table, JSON, a chart.

json=()                 # an object for each row
table=()
points=()               # for the chart: "ROW RATIO TARGET"
passed=0 failed=0

heading() {
    printf '\n%-11s %8s  %-28s %8s %6s %6s %6s  %s\n' row ours/s ceiling \
        its/s ratio target batch 'us of nginx, PostgreSQL, Redis'
}

as_list() { local list=${samples[$1]# }; printf '[%s]' "${list// /, }"; }

# verdict AWK-CONDITION VALUES
verdict() {
    if awk "{ exit !($1) }" <<<"$2"; then
        passed=$(( passed + 1 ))
    else
        failed=$(( failed + 1 ))
    fi
}

# figure WHAT VALUE UNIT LIMIT: a number that must not be above its limit
figure() {
    [[ $2 =~ ^-?[0-9.]+$ ]] || die "$1: no figure"
    table+=("$(printf '%-62s %9s %-6s at most %s' "$1" "$2" "$3" "$4")")
    json+=("{ \"row\": \"$1\", \"value\": $2, \"unit\": \"$3\",
      \"limit\": $4 }")
    say "${table[-1]}"
    verdict '$1 <= $2' "$2 $4"
}

# cost_figure OURS CEILING LIMIT: how many times the cost of a request
cost_figure() {
    [[ $2 =~ ^-?[0-9.]+$ ]] || die "$1: no figure"
    local ours its

    ours=$(median "$1, us")
    its=$(median "$2, us")
    figure "$1 ($ours us), times the cost of $2 ($its us)" \
        "$(awk '{ printf "%.3f", $1 / $2 }' <<<"$ours $its")" x "$3"
}

# costs_of NAME: "NGINX POSTGRESQL REDIS"
costs_of() {
    echo "$(median "$1, us")" "$(median "$1, us of PostgreSQL")" \
         "$(median "$1, us of Redis")"
}

# sample_json NAME
sample_json() {
    printf '"%s": { "rates": %s, "us": { "nginx": %s, "postgresql": %s,
        "redis": %s } }' \
        "$1" "$(as_list "$1")" "$(as_list "$1, us")" \
        "$(as_list "$1, us of PostgreSQL")" "$(as_list "$1, us of Redis")"
}

# report ROW OURS TARGET BATCH CEILING...: OURS and CEILING are names of
# samples, BATCH is the mean size of a batch; - for no target or no batches
report() {
    local row=$1 ours=$2 target=$3 batch=$4 name ceiling its list=''
    shift 4

    ceiling=$(best "$@")
    its=$(median "$ceiling")

    for name in "$ours" "$@"; do
        list+="${list:+, }$(sample_json "$name")"
    done

    report_against "$row" "$ours" "$target" "$batch" "$its" \
        "${ceiling#"$row: "}" "$list"
}

# report_against ROW OURS TARGET BATCH ITS-RATE ITS-NAME SAMPLES
report_against() {
    local value ratio us

    value=$(median "$2")
    ratio=$(awk '{ printf "%.3f", $1 / $2 }' <<<"$value $5")
    us=$(costs_of "$2")
    table+=("$(printf '%-11s %8.0f  %-28s %8.0f %6.2f %6s %6s  %s' \
               "$1" "$value" "$6" "$5" "$ratio" "$3" "$4" "$us")")
    say "${table[-1]}"
    points+=("$1 $ratio $3")
    json+=("{ \"row\": \"$1\", \"ours\": $value, \"ceiling\": $5,
      \"ceilingName\": \"$6\", \"ratio\": $ratio,
      \"target\": ${3/#-/null}, \"meanBatch\": ${4/#-/null},
      \"us\": [${us// /, }], \"samples\": { $7 } }")
    [[ $3 == - ]] || verdict '$1 >= $2' "$ratio $3"
}

write_json() {
    local IFS=,

    cat <<END
{
  "date": "$(date -Iseconds)",
  "cpus": $(nproc),
  "loadBefore": $load_before,
  "schedules": $SCHEDULES,
  "seatsEach": $SEATS_EACH,
  "users": $USERS,
  "workers": 1,
  "clients": $CLIENTS,
  "rounds": $ROUNDS,
  "secondsEach": $SECONDS_EACH,
  "worstStolenPercent": $worst_stolen,
  "diskMsAWrite": $(as_list disk),
  "passed": $passed,
  "failed": $failed,
  "rows": [
    ${json[*]}
  ]
}
END
}
