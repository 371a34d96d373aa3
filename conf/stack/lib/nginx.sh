# shellcheck shell=bash
# The stack's nginx.


find_nginx() {
    binary=$(nginx_binary)
    module=$(nginx_module)

    [[ -x $binary && ( -z $module || -r $module ) ]] \
        || die "not built: make build${SAN:+ SAN=$SAN}"
}


# From 1.25.1 on nginx has a directive, and warns of the parameter of "listen",
# which is all that there was before.
has_http2_directive() { grep -aq 'use the "http2" directive instead' "$binary"; }

# Sets $listen and $tls of nginx_configure.
configure_tls() {
    listen=' ssl http2'
    tls="
        ssl_certificate       $tls_dir/server.pem;
        ssl_certificate_key   $tls_dir/server.key;
        include               $repo/conf/concert_tls.conf;"

    if has_http2_directive; then
        listen=' ssl'
        tls+="
        http2                 on;"
    fi

    [[ -z $HTTP3 ]] || configure_http3
}

# Each worker has a socket of its own, as a connection's packets must all come to
# one.
configure_http3() {
    has_http3 || die "this nginx has no HTTP/3: $("$binary" -v 2>&1);" \
                     "start without HTTP3=1, or see docs/http3.md"
    tls+="
        listen                $PORT quic reuseport;
        add_header            Alt-Svc 'h3=\":$PORT\"; ma=86400' always;"
}

has_http3() { grep -q http_v3_module <<<"$("$binary" -V 2>&1)"; }


nginx_configure() {
    local text load='' env='' user='' listen='' tls='' cards='' cards_pool=''
    local workers=$WORKERS files connections

    [[ $workers != auto ]] || workers=$(nproc)
    [[ -z $module ]] || load="load_module           $module;"
    [[ -z $SAN ]] || env='env ASAN_OPTIONS; env LSAN_OPTIONS; env UBSAN_OPTIONS;'
    [[ -z $worker_user ]] || user="user                  $worker_user;"
    [[ -z $TLS ]] || configure_tls

    if [[ -n $GATEWAY ]]; then
        cards_pool="thread_pool           concert_gateway threads=16;"
        cards="concert_gateway           http://127.0.0.1:$GATEWAY_PORT
                              secret_key_file=$gateway/key $CARDS;
    concert_breaker           $BREAKER;"
    fi

    files=$(ulimit -Hn)
    if [[ $files == unlimited ]] || (( files > 65536 )); then
        files=65536
    fi
    connections=${CONNECTIONS:-$(( files / 4 ))}

    text=$(<"$repo/conf/stack/nginx.conf.in")
    text=${text//@LOAD_MODULE@/"$load"}
    text=${text//@ENV@/"$env"}
    text=${text//@USER@/"$user"}
    text=${text//@WORKERS@/"$workers"}
    text=${text//@FILES@/"$files"}
    text=${text//@CONNECTIONS@/"$connections"}
    text=${text//@CARDS_POOL@/"$cards_pool"}
    text=${text//@CARDS@/"$cards"}
    text=${text//@NGINX@/"$nginx"}
    text=${text//@REPO@/"$repo"}
    text=${text//@PORT@/"$PORT"}
    text=${text//@LISTEN_TLS@/"$listen"}
    text=${text//@TLS@/"$tls"}
    text=${text//@CONCERT_PG@/"$conninfo"}
    text=${text//@REDIS_SOCKET@/"$redis_socket"}
    text=${text//@ZONE@/"$ZONE"}
    text=${text//@CAPACITY@/"$CAPACITY"}
    text=${text//@TTL@/"$TTL"}
    text=${text//@HOLD@/"$HOLD"}
    text=${text//@TIMEOUT@/"$TIMEOUT"}
    printf '%s\n' "$text" >"$nginx/nginx.conf"
}


# Workers whose master was killed live on, and hold the port.
end_orphans() {
    local pid

    for pid in $(pgrep -x 'nginx|angie' || :); do
        if [[ -n $(find "/proc/$pid/fd" -lname "$nginx/logs/*" -print -quit \
                   2>/dev/null) ]]
        then
            end "an abandoned nginx worker" "$pid" TERM
        fi
    done
}


is_listening() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# A certificate for this machine, of an authority that has signed nothing else
# and whose key is gone.
make_certificate() {
    local to=$tls_dir subject=DNS:localhost,IP:127.0.0.1,IP:::1

    make_dir "$to" 0755
    ! openssl x509 -in "$to/server.pem" -checkend 86400 -noout \
        >/dev/null 2>&1 || return 0

    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -days 365 -subj "/CN=concert, $(hostname)" \
        -keyout "$to/ca.key" -out "$to/ca.pem" 2>/dev/null
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -subj /CN=localhost -keyout "$to/server.key" 2>/dev/null \
    | openssl x509 -req -CA "$to/ca.pem" -CAkey "$to/ca.key" -days 365 \
        -extfile <(printf 'subjectAltName=%s\n' "$subject") \
        -out "$to/server.pem" 2>/dev/null
    rm "$to/ca.key"
}

# call_nginx PATH [OPTION]...
call_nginx() {
    local path=$1
    shift

    [[ -z $TLS ]] || set -- --cacert "$tls_dir/ca.pem" "$@"
    curl -s --noproxy '*' -m 2 "$@" "$base_url$path"
}

is_ready() { call_nginx /readyz -f -o /dev/null; }


nginx_call() (
    # shellcheck source=/dev/null
    . "$dir/env"        # the sanitizers' options
    exec "$binary" -p "$nginx" -e "$nginx/logs/error.log" \
         -c "$nginx/nginx.conf" "$@"
)


check_port() {
    end_orphans
    ! is_listening "$PORT" \
        || die "port $PORT is taken by another program; choose a free one," \
               "as in PORT=$(( PORT < 65535 ? PORT + 1 : 8080 ))"
}


nginx_start() {
    [[ -z $TLS ]] || make_certificate
    nginx_configure
    nginx_call -t -q || die "nginx refuses $nginx/nginx.conf"
    nginx_call </dev/null 9>&- || die "nginx does not start"
    wait_ready
}


# nginx writes its pid file only after it went to the background.
wait_ready() {
    local started=$SECONDS

    until is_ready; do
        if (( SECONDS - started >= READY_TIMEOUT )); then
            not_ready "not ready after $READY_TIMEOUT s: $(call_nginx /readyz)"
        elif (( SECONDS - started >= 3 )) && ! nginx_pid >/dev/null; then
            not_ready "nginx has ended"
        fi
        sleep 0.1
    done
}

# Every worker has connections of its own, and meets their loss by itself: a
# second of nothing but success says that they all work.
wait_settled() {
    local successes=0

    wait_ready

    while (( successes < 20 )); do
        if is_ready; then
            successes=$(( successes + 1 ))
        else
            successes=0
            wait_ready
        fi
        sleep 0.05
    done
}

not_ready() {
    tail -n 20 "$nginx/logs/error.log" >&2
    die "$1"
}


nginx_stop() {
    local pid

    if pid=$(nginx_pid); then
        end nginx "$pid" TERM
    fi

    end_orphans
}
