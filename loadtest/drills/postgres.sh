# shellcheck shell=bash disable=SC2034,SC2154 # for, and of, run
# PostgreSQL ends at once, with all of its sessions, and is away for a while.

keeps='token get-token status-check leave'
alert='StoreAway (group=write)|StoreAway (group=read)'

fault_begin() {
    local pid

    read -r pid <"$VAR/postgres/data/postmaster.pid"
    kill -QUIT "$pid"                   # "immediate": no goodbye, no checkpoint
    gone "$pid"
}

fault_end() { "$stack" services-start >/dev/null; }
