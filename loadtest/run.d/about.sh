# shellcheck shell=bash
# What a run was of: about.tsv, lines of "WHAT<tab>VALUE" for the report.

fact() { printf '%s\t%s\n' "$1" "$2" >>"$out/about.tsv"; }

# of_commit: the commit, and whether it is what is here
of_commit() {
    local commit

    commit=$(git rev-parse --short HEAD 2>/dev/null) \
        || { echo 'no git repository'; return 0; }
    [[ -z $(git status --porcelain --untracked-files=no 2>/dev/null) ]] \
        || commit+=', changed'
    echo "$commit"
}

version() { "$@" 2>&1 | grep -oE -m 1 '[0-9]+\.[0-9.]+[0-9]' | head -n 1; }

about() {
    : >"$out/about.tsv"
    monitored=0
    ! find_monitor || monitored=1
    fact test "$1"
    fact began_ms "$(now_ms)"
    fact began "$(date -Iseconds)"
    fact smoke "${SMOKE:-0}"
    fact commit "$(of_commit)"
    fact processor "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo \
                      | head -n 1)"
    fact cores "$(nproc)"
    fact memory_mb "$(awk '/^MemTotal/ { printf "%d", $2 / 1024 }' /proc/meminfo)"
    fact kernel "$(uname -sr)"
    fact load_before "$(cut -d ' ' -f 1 /proc/loadavg)"
    fact nginx "$(version "${NGINX_BIN:-/usr/sbin/nginx}" -v)"
    fact nginx_workers "$(pgrep -c -P "$(<"$VAR/nginx/nginx.pid")")"
    fact PostgreSQL "$(query -c 'show server_version')"
    fact Redis "$(version "$REDIS_SERVER" --version)"
    fact k6 "$(version "$k6" version)"
    ! command -v wrk >/dev/null || fact wrk "$(wrk -v 2>&1 | awk 'NR == 1 { print $2 }')"
    fact lanes "$(sed -n 's/^ *concert_postgres .*" \(.*\);/\1/p' \
                  "$VAR/nginx/nginx.conf")"
}

# The monitoring of `make monitor`, if it runs.
find_monitor() {
    PROMETHEUS_URL=$(from_monitor PROMETHEUS_URL) || return 1
    curl -fs --noproxy '*' -m 2 -o /dev/null "$PROMETHEUS_URL/-/ready"
}

# Leaves in $stolen the share, in per cent of all processors' time, that the host
# of a virtual machine has taken since the watching began. Of what a test does
# after its traffic no verdict says anything.
traffic_ended() {
    [[ -z $stolen ]] || return 0
    stolen=$(awk -F '\t' '
        $2 ~ /^(all|idle|stolen)$/ { used[$2] = $3 + $4 }
        END { sum = used["all"] + used["idle"] + used["stolen"]
              printf "%.0f", sum ? 100 * used["stolen"] / sum : 0 }' \
        "$out/cpu.tsv")
}

# to_the_end COMMAND...: what the traffic ends with
to_the_end() {
    local code=0

    "$@" || code=$?
    traffic_ended
    return $code
}

was_taken() { (( ${stolen:-0} > MAX_STOLEN )); }
if_disturbed() { ! was_taken || echo " (the host took $stolen %)"; }

# The report takes no run that has not come to its end.
about_end() {
    traffic_ended
    fact stolen_percent "$stolen"
    fact max_stolen "$MAX_STOLEN"
    fact monitored "$monitored"
    fact try "$try"
    fact ended_ms "$(now_ms)"
    fact complete 1
}
