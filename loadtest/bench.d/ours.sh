# shellcheck shell=bash
# What is asked of the service in a row.

next_user=100000000     # of those who enter

# ours_of ROW: `ours` takes a sample's rate, `prepare` goes before each
ours_of() {
    prepare=:
    unset WRK_THREADS

    case $1 in
    concerts)
        ours_page /api/concerts ;;
    schedules)
        ours_page "/api/concerts/schedules/$(concert_of "$SCHEDULES")" ;;
    balance)
        ours=(wrk_rate "$BASE_URL" loadtest/balance.lua) ;;
    seats-*)
        export KIND=${1#seats-}
        ours=(wrk_rate "$BASE_URL" loadtest/seats.lua) ;;
    reserve)
        prepare=seats_left
        ours=(wrk_rate "$BASE_URL" loadtest/reserve.lua) ;;
    hot)
        prepare=free_hot
        ours=(wrk_rate "$BASE_URL" loadtest/hot.lua) ;;
    charge)
        ours=(wrk_rate "$BASE_URL" loadtest/charge.lua) ;;
    pairs)
        (( PAYERS <= USERS )) || die "pairs: fewer than $PAYERS users"
        prepare=payers_left
        ours=(wrk_rate "$BASE_URL" loadtest/pairs.lua) ;;
    scenario)
        export WRK_THREADS=$CLIENTS
        prepare=seats_left
        ours=(wrk_rate "$BASE_URL" loadtest/scenario.lua) ;;
    poll)
        ours=(wrk_rate "$BASE_URL/api/token/1") ;;
    enter)
        prepare=newcomers
        ours=(wrk_rate "$BASE_URL" loadtest/enter.lua) ;;
    *)
        die "the row \"$1\" cannot be taken against a revision" ;;
    esac
}

ours_page() {
    export ROUTE=$1
    ours=(wrk_rate "$BASE_URL" loadtest/catalog.lua)
}

# newcomers: who enter in a sample have never been there
newcomers() {
    next_user=$(( next_user + 10000000 ))
    export FIRST=$next_user
}
