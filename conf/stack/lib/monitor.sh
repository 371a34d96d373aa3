# shellcheck shell=bash
# What watches the stack: InfluxDB for k6, Prometheus with its alert manager,
# and exporters for PostgreSQL, its proof, and Redis. All listen on loopback,
# from MONITOR_PORT on.

MONITORS=(influxdb alertmanager postgres proof redis prometheus)


# What each is known by in its command line.
monitor_word() {
    case $1 in
    influxdb)     echo "$monitor/influxdb.conf" ;;
    alertmanager) echo "--config.file=$monitor/alertmanager.yml" ;;
    postgres)     echo "--extend.query-path=$monitor/none.yaml" ;;
    proof)        echo "--extend.query-path=$monitor/queries.yaml" ;;
    redis)        echo "-redis.addr=unix://$redis_socket" ;;
    prometheus)   echo "--config.file=$monitor/prometheus.yml" ;;
    esac
}

monitor_pid() { pid_of "$monitor/$1.pid" "$(monitor_word "$1")"; }

# The path that answers 2xx when it is ready.
monitor_path() {
    case $1 in
    influxdb)                echo /ping ;;
    alertmanager|prometheus) echo /-/ready ;;
    *)                       echo / ;;
    esac
}

monitor_port() {
    local i

    for i in "${!MONITORS[@]}"; do
        [[ ${MONITORS[i]} != "$1" ]] || echo $(( MONITOR_PORT + i ))
    done
}

is_monitor_ready() {
    curl -s --noproxy '*' -m 2 -f -o /dev/null \
        "http://127.0.0.1:$(monitor_port "$1")$(monitor_path "$1")"
}

is_monitored() {
    local name

    for name in "${MONITORS[@]}"; do
        ! monitor_pid "$name" >/dev/null || return 0
    done
    return 1
}


# What runs keeps its ports.
monitor_remember() {
    if [[ -r $monitor/env ]] && is_monitored; then
        MONITOR_PORT=$(sed -n 's/^MONITOR_PORT=//p' "$monitor/env")
    fi

    : "${MONITOR_PORT:=$(( PORT + 10 ))}"
    [[ $MONITOR_PORT =~ ^[1-9][0-9]{0,4}$
       && $MONITOR_PORT -le $(( 65536 - ${#MONITORS[@]} )) ]] \
        || die "MONITOR_PORT=$MONITOR_PORT must be the first of" \
               "${#MONITORS[@]} port numbers"
}


monitor_find() {
    local program

    for program in influxd prometheus prometheus-alertmanager \
                   prometheus-postgres-exporter prometheus-redis-exporter
    do
        command -v "$program" >/dev/null \
            || die "$program is not installed: conf/stack/install monitor"
    done

    influxdb_user='' prometheus_user=''
    (( EUID != 0 )) || { influxdb_user=influxdb prometheus_user=prometheus; }
}


monitor_template() {
    local text webhook='' tls=''

    [[ -z $ALERT_WEBHOOK ]] || webhook="
    webhook_configs:
      - url: '$ALERT_WEBHOOK'"
    [[ -z $TLS ]] || tls="
    tls_config:
      ca_file: '$tls_dir/ca.pem'"

    text=$(<"$repo/conf/monitoring/$1.in")
    text=${text//@PROOF@/"$PROOF"}
    text=${text//@SCHEME@/"http${TLS:+s}"}
    text=${text//@TLS@/"$tls"}
    text=${text//@WEBHOOK@/"$webhook"}
    text=${text//@INFLUXDB@/"$monitor/influxdb"}
    text=${text//@PORT@/"$PORT"}
    text=${text//@INFLUXDB_PORT@/"$(monitor_port influxdb)"}
    text=${text//@ALERTMANAGER_PORT@/"$(monitor_port alertmanager)"}
    text=${text//@POSTGRES_PORT@/"$(monitor_port postgres)"}
    text=${text//@PROOF_PORT@/"$(monitor_port proof)"}
    text=${text//@REDIS_PORT@/"$(monitor_port redis)"}
    printf '%s\n' "$text" >"$monitor/$1"
}

monitor_configure() {
    local file

    make_dir "$monitor" 0755
    make_dir "$monitor/influxdb" 0750 "$influxdb_user"
    make_dir "$monitor/alertmanager" 0750 "$prometheus_user"
    make_dir "$monitor/prometheus" 0750 "$prometheus_user"

    for file in prometheus.yml alertmanager.yml influxdb.conf; do
        monitor_template "$file"
    done

    cp "$repo/conf/monitoring/rules.yml" "$repo/conf/monitoring/queries.yaml" \
        "$monitor/"
    : >"$monitor/none.yaml"
}


# monitor_spawn NAME USER COMMAND...
monitor_spawn() {
    local name=$1 user=$2
    shift 2

    # shellcheck disable=SC2086
    GOMAXPROCS=${GOMAXPROCS:-1} DATA_SOURCE_NAME=$monitor_dsn \
        setsid env -C "$monitor" ${user:+setpriv --reuid="$user" \
            --regid="$(id -g "$user")" --init-groups --} "$@" \
        >"$monitor/$name.log" 2>&1 </dev/null 9>&- &
    echo $! >"$monitor/$name.pid"
}

monitor_start_influxdb() {
    monitor_spawn influxdb "$influxdb_user" \
        influxd run -config "$monitor/influxdb.conf"
}

monitor_start_alertmanager() {
    monitor_spawn alertmanager "$prometheus_user" prometheus-alertmanager \
        "--config.file=$monitor/alertmanager.yml" \
        "--storage.path=$monitor/alertmanager" --cluster.listen-address= \
        "--web.listen-address=127.0.0.1:$(monitor_port alertmanager)" \
        --log.level=warn
}

# The sockets of PostgreSQL and Redis are open to the group of nginx's workers.
monitor_start_postgres() {
    monitor_spawn postgres "$worker_user" prometheus-postgres-exporter \
        "--extend.query-path=$monitor/none.yaml" --disable-settings-metrics \
        "--web.listen-address=127.0.0.1:$(monitor_port postgres)" \
        --log.level=warn
}

# Prints what switches off each collector that this exporter has; their names
# are not the same in all its versions.
no_collectors() {
    prometheus-postgres-exporter --help 2>&1 \
        | sed -nE 's/^ *--(\[no-\])?(collector\.[a-z_]+)( .*)?$/--no-\2/p'
}

monitor_start_proof() {
    local off

    mapfile -t off < <(no_collectors)
    monitor_spawn proof "$worker_user" prometheus-postgres-exporter \
        "--extend.query-path=$monitor/queries.yaml" --disable-settings-metrics \
        --disable-default-metrics "${off[@]}" \
        "--web.listen-address=127.0.0.1:$(monitor_port proof)" \
        --log.level=warn
}

monitor_start_redis() {
    monitor_spawn redis "$worker_user" prometheus-redis-exporter \
        "-redis.addr=unix://$redis_socket" \
        "-web.listen-address=127.0.0.1:$(monitor_port redis)"
}

monitor_start_prometheus() {
    monitor_spawn prometheus "$prometheus_user" prometheus \
        "--config.file=$monitor/prometheus.yml" \
        "--storage.tsdb.path=$monitor/prometheus" \
        "--web.listen-address=127.0.0.1:$(monitor_port prometheus)" \
        --log.level=warn
}


monitor_wait() {
    local name=$1 tries=$(( READY_TIMEOUT * 20 )) pid

    read -r pid <"$monitor/$name.pid"

    until is_monitor_ready "$name"; do
        if (( tries-- <= 0 )) || ! kill -0 "$pid" 2>/dev/null; then
            tail -n 10 "$monitor/$name.log" >&2
            die "$name does not start"
        fi
        sleep 0.05
    done
}

# A proof that takes longer than its interval is given up.
monitor_role() {
    admin_psql postgres \
        -c "alter role concert_monitor set statement_timeout = '${PROOF/m/min}'"
}


monitor_start() {
    local name missing=()

    monitor_remember
    monitor_find
    monitor_dsn="host=$pg_socket port=5432 dbname=concert sslmode=disable"
    monitor_dsn+=" user=concert_monitor"

    for name in "${MONITORS[@]}"; do
        monitor_pid "$name" >/dev/null || missing+=("$name")
    done

    if (( ! ${#missing[@]} )); then
        say "already monitored ($VAR), with the settings that it was" \
            "started with"
        return 0
    fi

    for name in "${missing[@]}"; do
        ! is_listening "$(monitor_port "$name")" \
            || die "port $(monitor_port "$name") is taken by another program;" \
                   "choose ${#MONITORS[@]} free ones, as in" \
                   "MONITOR_PORT=$(( MONITOR_PORT + 100 ))"
    done

    (( ${#missing[@]} < ${#MONITORS[@]} )) || monitor_configure
    monitor_role

    for name in "${missing[@]}"; do
        "monitor_start_$name"
    done
    for name in "${missing[@]}"; do
        monitor_wait "$name"
    done

    monitor_env
}


# Without quotes: a shell reads it, and so does docker --env-file.
monitor_env() {
    local influxdb alertmanager prometheus

    influxdb=http://127.0.0.1:$(monitor_port influxdb)
    alertmanager=http://127.0.0.1:$(monitor_port alertmanager)
    prometheus=http://127.0.0.1:$(monitor_port prometheus)

    cat >"$monitor/env" <<END
MONITOR_PORT=$MONITOR_PORT
PROMETHEUS_URL=$prometheus
ALERTMANAGER_URL=$alertmanager
INFLUXDB_SERVER=$influxdb
INFLUXDB_URL=$influxdb/k6
END
}


monitor_stop() {
    local name pid

    for name in "${MONITORS[@]}"; do
        if pid=$(monitor_pid "$name"); then
            end "$name" "$pid" TERM
        fi
    done

    rm -f "$monitor/env"
}
