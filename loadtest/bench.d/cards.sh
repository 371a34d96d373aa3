# shellcheck shell=bash
# Payments by card, through lanes to a gateway that takes CARD_MS for each.

CARD_LANES=16           # as the stack has them, of each worker
CARD_MS=300

# On a stack of its own, with the demo data and the stand-in gateway.
row_cards() {
    local rate

    rate=$(env -u DATA -u AUTOVACUUM -u SHARED_BUFFERS -u BENCH_STACK \
               VAR=build/bench-var-cards PORT=$(( PORT + 2 )) GATEWAY=1 \
               HOLD=5m TTL=10m ZONE=16m WORKERS=1 \
               conf/stack/stack exec loadtest/bench.d/cards "$CARD_MS" \
               $(( 3 * CARD_LANES )) | grep -E '^[0-9.]+$')
    figure "what $CARD_LANES lanes can do at $CARD_MS ms each, times ${rate}/s by card" \
        "$(awk '{ printf "%.3f", $1 / ($2 / 1000) / $3 }' \
               <<<"$CARD_LANES $CARD_MS $rate")" x 1.111
}
