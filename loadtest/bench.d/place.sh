# shellcheck shell=bash
# The state that rows begin in: the data, the queue, an nginx to compare with.

next_seat=0             # number of the first seat that nobody has taken


# fresh: a copy of the data as they were made, in memory, and users with tokens
fresh() {
    conf/stack/stack reset
    prewarm
    let_in
    next_seat=0
}

prewarm() {
    psql -X -q -A -t -U postgres -v ON_ERROR_STOP=1 >/dev/null <<'END'
        create extension if not exists pg_prewarm;
        select pg_prewarm(oid::regclass)
        from pg_class
        where relnamespace = 'concert'::regnamespace
          and relkind in ('r', 'i');
        checkpoint;
END
}

# quiet: before durable samples.  Autovacuum is off, for it would come upon one
# side and not upon the other; what it would have done is done here.
quiet() {
    psql -X -q -U postgres -v ON_ERROR_STOP=1 \
        -c 'vacuum (analyze)' -c checkpoint
}

# let_in: TOKENS users have a token
let_in() {
    operate '{"paused": false, "capacity": 10000000}'
    enter_users 1 "$TOKENS"
}

# seats_left: a sample's own seats are from number BASE on
seats_left() {
    (( SPAN <= FREE * SEATS_EACH )) \
        || die "a sample may take $SPAN seats: more seats, or fewer seconds"
    (( next_seat + SPAN <= FREE * SEATS_EACH )) || fresh
    export BASE=$next_seat
    next_seat=$(( next_seat + SPAN ))
}

# payers_left: and those who pay them have a token, which ends then
payers_left() {
    local first last

    seats_left
    first=$(( 1 + BASE % USERS ))
    last=$(( first + PAYERS - 1 ))
    enter_users "$first" $(( last < USERS ? last : USERS ))
    (( last <= USERS )) || enter_users 1 $(( last - USERS ))
}

# free_hot: nobody has one of the seats that everybody wants
free_hot() {
    psql -X -q >/dev/null -c "
        select concert.cancel(array_agg(r.user_id),
                              array_agg(r.reservation_id))
        from concert.seats s
        join concert.reservations r on r.reservation_id = s.reservation_id
        where s.schedule_id = $SCHEDULES
          and s.seat_id <= $HOT"
}

operate() {
    curl -fs --noproxy '*' -X PATCH --json "$1" "$BASE_URL/queue" >/dev/null \
        || die "cannot set the queue: $1"
}

enter_users() { loadtest/enter-users "$PORT" "$1" "$2"; }

# empty_queue: as if nobody had come
empty_queue() {
    "${REDIS_CLI:-redis-cli}" -s "$REDIS_SOCKET" flushall >/dev/null
    sleep 1
}

redis_info() {
    "${REDIS_CLI:-redis-cli}" -s "$REDIS_SOCKET" info "$1" | tr -d '\r' \
        | sed -n "s/^$2://p"
}


# plain_nginx_start BODY: an nginx without the module, with one worker too
plain_nginx_start() {
    mkdir -p "$plain/logs" "$plain/tmp"
    cat >"$plain/nginx.conf" <<END
worker_processes  1;
error_log         $plain/logs/error.log;
pid               $plain/nginx.pid;
events { worker_connections  1024; }
http {
    access_log                 off;
    keepalive_requests         1000000;
    client_body_temp_path      $plain/tmp/body;
    proxy_temp_path            $plain/tmp/proxy;
    fastcgi_temp_path          $plain/tmp/fastcgi;
    uwsgi_temp_path            $plain/tmp/uwsgi;
    scgi_temp_path             $plain/tmp/scgi;
    server {
        listen                 127.0.0.1:$plain_port;
        default_type           application/json;
        location / { return    200 '$1'; }
    }
}
END
    nginx_plain || die 'the plain nginx does not start'
    trap plain_nginx_stop EXIT
}

plain_nginx_stop() {
    trap - EXIT
    nginx_plain -s quit
}

nginx_plain() {
    /usr/sbin/nginx -p "$plain" -e "$plain/logs/error.log" \
        -c "$plain/nginx.conf" "$@" </dev/null
}
