# shellcheck shell=bash disable=SC2034,SC2154 # for, and of, run
# The payment gateway hangs for half of the outage, then answers 500. Needs a
# stack with GATEWAY=1.

drill_script=loadtest/gateway_outage.js
[[ -n ${SMOKE:-} ]] || OUTAGE=30
keeps='token leave get-concerts get-seat balance charge reservation payment order'

gateway_ask() {
    curl -fs --noproxy '*' -m 5 "$CONCERT_GATEWAY_URL$1" "${@:2}"
}

gateway_switch() {
    gateway_ask /switches -X PATCH -o /dev/null --data "$1"
}

drill_prepare() {
    [[ -n ${CONCERT_GATEWAY_URL:-} ]] \
        || die 'drill-gateway needs a payment gateway: GATEWAY=1'
    export GATEWAY_URL=$CONCERT_GATEWAY_URL
    gateway_ask /switches -X DELETE -o /dev/null
    gateway_switch '{"latency_ms": 50, "jitter_ms": 50}'
}

# A payment is looked up and cancelled as badly as it is confirmed.
fault_begin() {
    gateway_switch '{"hang_rate": 1}'

    { sleep "$(( OUTAGE / 2 ))"
      gateway_switch '{"hang_rate": 0, "error_rate": 1}'
      event 'the gateway answers 500'; } &
    second_half=$!
}

fault_end() {
    wait "$second_half"
    gateway_switch '{"hang_rate": 0, "error_rate": 0}'
}

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
              join concert.payments p using (payment_id)
              left join concert.reservations r
                     on r.reservation_id = p.reservation_id" \
            >"$out/payments.tsv" \
        && perl loadtest/outage "$out" "$VAR/nginx/nginx.conf"
}

drill_prove() {
    query -F $'\t' -c 'select * from concert.violations()' >"$out/proof.txt" \
        && ! awk -F '\t' '$2 != 0' "$out/proof.txt" | grep .
}

drill_verdicts() {
    local name=drill-gateway

    verdict "$name: no payment is left PENDING or REFUNDING" await_settled
    verdict "$name: what happened is known" gateway_facts
    verdict "$name: the gateway's ledger and ours agree to the won" \
        fact_is won_apart '== 0'
    verdict "$name: each approved payment has its seats or its refund" \
        fact_is payments_without_seats '== 0'
    verdict "$name: the breaker opened" fact_is times_open '> 0'
    verdict "$name: half-open probes were at most as many as permitted" \
        fact_is probes_too_many '== 0'
    [[ -z ${SMOKE:-} ]] || return 0
    verdict "$name: it opened within 1 s of its threshold being met" \
        fact_is open_after_threshold_ms '<= 1000'
    verdict "$name: it closed within one wait of the recovery" \
        fact_is closed_after_wait_ms '<= 0'
    verdict "$name: p99 of a card that is refused is below 10 ms" \
        fact_is refused_p99_ms '< 10'
    verdict "$name: p95 of the other routes is within 20 % of before" \
        fact_is others_p95_ratio '<= 1.2'
}
