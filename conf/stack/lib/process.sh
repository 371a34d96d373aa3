# shellcheck shell=bash
# Processes are known by their own pid file and their own command line.


# Prints the pid in file $1, if that process is alive and its command line
# names $2; a pid may long belong to somebody else.
pid_of() {
    local file=$1 name=$2 pid line

    read -r pid 2>/dev/null <"$file" || return 1
    [[ $pid =~ ^[0-9]+$ ]] || return 1
    line=$(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline") || return 1
    [[ "$line " == *" $name "* ]] && echo "$pid"
}

pg_pid() { pid_of "$pg_data/postmaster.pid" "-D $pg_data"; }
redis_pid() { pid_of "$redis/redis.pid" "$dir/redis.conf"; }
gateway_pid() { pid_of "$gateway/gateway.pid" "--journal $gateway/journal"; }
nginx_pid() { pid_of "$nginx/nginx.pid" "-c $nginx/nginx.conf"; }


# is_gone PID TIMEOUT: waits until the process has ended
is_gone() {
    local tries=$(( $2 * 20 ))

    while [[ -d /proc/$1 ]] && ! grep -qs '^State:.Z' "/proc/$1/status"; do
        (( tries-- > 0 )) || return 1
        sleep 0.05
    done
}


# end NAME PID SIGNAL
end() {
    kill -s "$3" "$2" 2>/dev/null || :
    is_gone "$2" "$STOP_TIMEOUT" && return 0
    say "$1 (pid $2) does not end after $STOP_TIMEOUT s: killed"
    kill -s KILL "$2" 2>/dev/null || :
    is_gone "$2" 5 || :
}
