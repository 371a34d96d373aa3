# shellcheck shell=bash
# Beside services that others could build (loadtest/peers): a Go and a Rust one
# with lean SQL of their own, one statement a request, on the same PostgreSQL and
# Redis, which serve one of the three at a time.

PEER_ROWS=(poll concerts schedules balance seats-free enter reserve charge pairs
           scenario)
PEERS=(go rust)
declare -A peer_pids=() peer_ports=()

# peers [ROW]...: on the stack of `bench`
peers() {
    local row

    (( $# )) || set -- "${PEER_ROWS[@]}"
    out=${OUT:-loadtest/results/$(date +%Y-%m-%d-%H%M%S)-peers}
    load_before=$(cut -d ' ' -f 1 /proc/loadavg)
    plain=$VAR/plain
    disk_ms >/dev/null
    add disk "$(disk_ms)"

    build_peers
    fill_peers
    trap end_peers EXIT
    begin_peers
    fresh

    for row in "$@"; do
        say "$row"
        peers_row "$row"
    done

    no_violations
    conclude
}

build_peers() {
    mkdir -p build/peers
    command -v go >/dev/null && command -v cargo >/dev/null \
        || die 'the peers need go 1.24 or newer, and cargo'
    say 'building the peers'
    (cd loadtest/peers/go && go build -o "$OLDPWD/build/peers/go" .) \
        || die 'the Go peer does not build'
    cargo build -q --release --manifest-path loadtest/peers/rust/Cargo.toml \
        --target-dir build/peers/target \
        || die 'the Rust peer does not build'
    cp build/peers/target/release/peer build/peers/rust
}

# fill_peers: a database of the peers, with the same data
fill_peers() {
    say 'making the data of the peers'
    peers_sql postgres -c 'drop database if exists peers' \
        -c 'drop database if exists peers_as_made' -c 'create database peers_as_made'
    peers_sql peers_as_made -f loadtest/peers/schema.sql -c "
        insert into accounts select g, 10000000000 from generate_series(1, $USERS) g;
        insert into concerts
        select g, '서울 Concert ' || g from generate_series(1, $CONCERTS) g;
        insert into schedules
        select g, 1 + (g - 1) * $CONCERTS / $SCHEDULES,
               now() + interval '30 days', $SEATS_EACH
        from generate_series(1, $SCHEDULES) g;
        insert into seats
        select s.id, g, $PRICE from schedules s, generate_series(1, $SEATS_EACH) g" \
        -c 'vacuum analyze'
}

peers_sql() {
    psql -X -q -U postgres -v ON_ERROR_STOP=1 -d "$@"
}

# begin_peers: with the data as they were made
begin_peers() {
    local peer port=$(( PORT + 3 ))

    end_peers
    peers_sql postgres -c 'drop database if exists peers' \
        -c 'create database peers template peers_as_made'
    peers_sql peers -c 'create extension if not exists pg_prewarm' \
        -c "select pg_prewarm(oid::regclass) from pg_class
            where relnamespace = 'public'::regnamespace
              and relkind in ('r', 'i')" -c checkpoint >/dev/null

    for peer in "${PEERS[@]}"; do
        port=$(( port + 1 ))
        peer_ports[$peer]=$port
        LISTEN=127.0.0.1:$port REDIS_SOCKET=$REDIS_SOCKET \
        DATABASE_URL="host=$PGHOST port=$PGPORT dbname=peers user=postgres" \
            "build/peers/$peer" >"$VAR/$peer.log" 2>&1 &
        peer_pids[$peer]=$!
    done

    for peer in "${PEERS[@]}"; do
        curl -fs --noproxy '*' --retry 20 --retry-connrefused --retry-delay 1 \
            "http://127.0.0.1:${peer_ports[$peer]}/api/balance/1" >/dev/null \
            || die "the $peer peer does not answer ($VAR/$peer.log)"
    done
}

end_peers() {
    local peer

    for peer in "${!peer_pids[@]}"; do
        kill "${peer_pids[$peer]}" 2>/dev/null || :
        wait "${peer_pids[$peer]}" 2>/dev/null || :
    done

    peer_pids=()
}

# on_peer PEER COMMAND...: as if the peer were the service
on_peer() {
    local peer=$1 service_pid=${peer_pids[$1]} PORT=${peer_ports[$1]}
    local BASE_URL=http://127.0.0.1:$PORT
    shift
    "$@"
}

take_of() {
    ours_of "$1"
    take "$2" "${ours[@]}"
}

peers_row() {
    local row=$1 peer i names=()

    for peer in "${PEERS[@]}"; do
        names+=("$row: $peer")
    done

    peers_begin "$row"

    for (( i = 0; i < ROUNDS; i++ )); do
        take_of "$row" "$row"
        for peer in "${PEERS[@]}"; do
            on_peer "$peer" take_of "$row" "$row: $peer"
        done
    done

    report "$row" "$row" "$(peers_goal "$row")" - "${names[@]}"
}

# who has a token, and data in which nobody has bought
peers_begin() {
    local peer

    case $1 in
    reserve|pairs|scenario)
        begin_peers
        fresh
        quiet ;;
    esac

    for peer in "${PEERS[@]}"; do
        on_peer "$peer" enter_users 1 "$TOKENS"
    done
}

# how many times the best of the peers
peers_goal() {
    case $1 in
    poll|concerts|schedules) echo 1.4 ;;
    enter)                   echo 1.25 ;;
    pairs|scenario)          echo 3 ;;
    *)                       echo 2 ;;
    esac
}
