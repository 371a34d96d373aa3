# shellcheck shell=bash disable=SC2034,SC2154 # for, and of, run
# The payment gateway hangs for half of the outage, then answers 500. Needs a
# stack with GATEWAY=1.

drill_script=loadtest/gateway_outage.js
drill_outage=30
[[ -z ${SMOKE:-} ]] || drill_outage=4   # the gateway's timeout is 2 s
keeps='token leave get-concerts get-seat balance charge reservation cancel payment
       order'
alert=BreakerOpen

gateway_ask() {
    curl -fs --noproxy '*' -m 5 "$CONCERT_GATEWAY_URL$1" "${@:2}"
}

gateway_switch() {
    gateway_ask /switches -X PATCH -o /dev/null --data "$1"
}

drill_prepare() {
    export GATEWAY_URL=$CONCERT_GATEWAY_URL
    gateway_ask /switches -X DELETE -o /dev/null \
        && gateway_switch '{"latency_ms": 50, "jitter_ms": 50}'
}

# A payment is looked up and cancelled as badly as it is confirmed.
fault_begin() { gateway_switch '{"hang_rate": 1}'; }

fault_turn() {
    gateway_switch '{"hang_rate": 0, "error_rate": 1}'
    event 'the gateway answers 500'
}

fault_shows() {
    curl -fs --noproxy '*' -m 2 "$BASE_URL/metrics" \
        | grep -qx 'concert_circuitbreaker_state{state="open"} 1'
}

fault_end() { gateway_switch '{"hang_rate": 0, "error_rate": 0}'; }

drill_clean_up() { gateway_ask /switches -X DELETE -o /dev/null || :; }

# What is not known yet has a minute to become known.
await_settled() {
    local tries=120

    until [[ $(query -c "select pending + refunding
                           from concert.unsettled()") == 0 ]]
    do
        (( tries-- > 0 )) || return 1
        sleep 0.5
    done
    event 'all payments are settled'
}

gateway_facts() {
    curl -fs --noproxy '*' -m 5 "$BASE_URL/status" >"$out/status.json" \
        && gateway_ask /ledger >"$out/ledger.json" \
        && query -F $'\t' -c "
            select o.order_id, p.status, p.amount, r.status
              from concert.orders o
              join concert.all_payments p using (payment_id)
              left join concert.reservations r
                     on r.reservation_id = p.reservation_id" \
            >"$out/payments.tsv" \
        && perl loadtest/outage "$out" "$VAR/nginx/nginx.conf"
}

drill_verdicts() {
    local name=drill-gateway

    verdict "$name: no payment is left PENDING or REFUNDING" await_settled
    verdict "$name: what happened is known" gateway_facts
    verdict "$name: the gateway's ledger and ours agree to the won" \
        fact_is won_apart '== 0'
    verdict "$name: each approved payment has its seats or its refund" \
        fact_is payments_without_seats '== 0'
    verdict "$name: each card that was said to be charged is paid" \
        fact_is cards_told_in_vain '== 0'
    verdict "$name: the breaker opened" fact_is times_open '> 0'
    [[ -z ${SMOKE:-} ]] || return 0
    timely "$name: half-open probes were counted, and at most as permitted" \
        fact_is probes_too_many '== 0'
    timely "$name: it opened within 1 s of its threshold being met" \
        fact_is open_after_threshold_ms '<= 1000'
    timely "$name: it closed within one wait of the recovery" \
        fact_is closed_after_wait_ms '<= 0'
    timely "$name: p99 of a card that is refused is below 10 ms" \
        fact_is refused_p99_ms '< 10'
    timely "$name: p95 of the other routes is within 20 % of before" \
        fact_is others_p95_ratio '<= 1.2'
}
