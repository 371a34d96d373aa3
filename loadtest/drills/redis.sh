# shellcheck shell=bash disable=SC2034,SC2154 # for, and of, run
# Redis is killed, and is away for a while; it comes back with what its
# append-only file has.

keeps='payment balance charge my-reservations'
alert='StoreAway (group=redis)'

fault_begin() {
    local pid

    pid=$(<"$VAR/redis/redis.pid")
    kill -KILL "$pid"
    gone "$pid"
}

fault_end() { "$stack" services-start >/dev/null; }
