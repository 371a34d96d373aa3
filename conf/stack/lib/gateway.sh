# shellcheck shell=bash
# The stack's payment gateway, loadtest/gateway.


gateway_call() {
    curl -s --noproxy '*' -m 2 -f -o /dev/null \
        "http://127.0.0.1:$GATEWAY_PORT$1" "${@:2}"
}


gateway_remember() {
    local url

    url=$(from_env CONCERT_GATEWAY_URL)
    GATEWAY_PORT=${url##*:}
}


# Made once, as the journal knows what was done with it.
gateway_key() {
    [[ ! -s $gateway/key ]] || return 0

    (umask 077
     printf 'test_sk_%s\n' "$(openssl rand -hex 24)" >"$gateway/key.new")
    mv "$gateway/key.new" "$gateway/key"
}


gateway_start() {
    local tries=$(( READY_TIMEOUT * 20 ))

    if gateway_pid >/dev/null; then
        gateway_remember
        return 0
    fi

    make_dir "$gateway" 0755
    gateway_key
    setsid "$repo/loadtest/gateway" --port "$GATEWAY_PORT" \
        --key-file "$gateway/key" --journal "$gateway/journal" \
        >"$gateway/log" 2>&1 </dev/null 9>&- &
    echo $! >"$gateway/gateway.pid"

    until grep -qs ready "$gateway/log" && gateway_call /healthz; do
        if (( tries-- <= 0 )) || ! kill -0 $! 2>/dev/null; then
            tail -n 5 "$gateway/log" >&2
            die "the gateway does not start"
        fi
        sleep 0.05
    done
}


gateway_reset() {
    gateway_call /ledger -X DELETE && gateway_call /switches -X DELETE \
        || die "the gateway does not answer"
}


gateway_stop() {
    local pid

    pid=$(gateway_pid) || return 0
    end "the gateway" "$pid" TERM
}
