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
    fact nginx "$(version /usr/sbin/nginx -v)"
    fact nginx_workers "$(pgrep -c -P "$(<"$VAR/nginx/nginx.pid")")"
    fact PostgreSQL "$(query -c 'show server_version')"
    fact Redis "$(version redis-server --version)"
    fact k6 "$(version "$k6" version)"
    ! command -v wrk >/dev/null || fact wrk "$(wrk -v 2>&1 | awk 'NR == 1 { print $2 }')"
    fact lanes "$(sed -n 's/^ *concert_postgres .*" \(.*\);/\1/p' \
                  "$VAR/nginx/nginx.conf")"
}

# The report takes no run that has not come to its end.
about_end() {
    fact ended_ms "$(now_ms)"
    fact complete 1
}
