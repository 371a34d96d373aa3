# shellcheck shell=bash
# Where a stack lives, and which user owns what of it.


# PostgreSQL refuses to run as root, and for Redis and nginx's workers there is
# no reason to: started by root, each is its Debian user.
find_users() {
    pg_user='' redis_user='' worker_user=''

    if (( EUID == 0 )); then
        pg_user=postgres worker_user=www-data
        redis_user=$(known_user "$(basename "${redis_server%-server}")" \
                                redis valkey nobody)
    fi
}

# Prints the first of these users that there is.
known_user() { { getent passwd "$@" || :; } | head -n 1 | cut -d : -f 1; }


# Runs a command as user $1, who may have no right to the directory one is in;
# an empty name is the user one is.
as() {
    local user=$1
    shift

    if [[ -z $user ]]; then
        "$@"
    else
        (cd / && exec setpriv --reuid="$user" --regid="$(id -g "$user")" \
                              --init-groups -- "$@")
    fi
}


# make_dir PATH MODE [USER[:GROUP]]
make_dir() {
    mkdir -p "$1"
    [[ -z ${3:-} ]] || chown "$3" "$1"
    chmod "$2" "$1"
}


# The directory of the sockets is the lock on them: PostgreSQL and Redis trust
# whoever can connect.
make_dirs() {
    local group=${worker_user:-$(id -gn)} shared=0750

    [[ -z $OPEN ]] || shared=0755

    make_dir "$dir" 0755
    make_dir "$pg" 0755 "$pg_user"
    make_dir "$pg_socket" "$shared" "${pg_user:+$pg_user:$group}"
    make_dir "$redis" "$shared" "${redis_user:+$redis_user:$group}"
    make_dir "$nginx" 0755
    make_dir "$nginx/logs" 0755
    make_dir "$nginx/tmp" 0755
    [[ -z $SAN ]] || make_dir "$dir/san" 1777
}


# Every user of the stack must get to $1, and a socket below it must have a
# path that fits. Other characters would need quotes in five syntaxes.
is_suitable() {
    local path=$1 parent=$1 user

    [[ $path =~ ^[A-Za-z0-9/._+-]+$ ]] || return 1
    (( ${#path} + ${#socket_suffix} <= SOCKET_PATH_MAX )) || return 1

    while [[ ! -d $parent ]]; do
        parent=$(dirname "$parent")
    done

    for user in $pg_user $redis_user $worker_user; do
        as "$user" test -x "$parent" 2>/dev/null || return 1
    done
}


# Sets $dir, the directory that VAR means: itself, or one in /var/tmp that it
# links to, where VAR itself will not do (a clone in /root, a long path).
find_dir() {
    local path

    socket_suffix=/postgres/socket/.s.PGSQL.5432
    path=$(cd "$repo" && realpath -ms -- "$VAR")

    if [[ -L $path ]]; then
        dir=$(readlink -m -- "$path")
        link=$path
    elif is_suitable "$path"; then
        dir=$(readlink -m -- "$path")
        link=
    else
        dir=/var/tmp/concert-$(printf '%s' "$path" | sha256sum | head -c 12)
        link=$path
    fi

    pg=$dir/postgres
    pg_data=$pg/data
    pg_socket=$pg/socket
    redis=$dir/redis
    redis_socket=$redis/redis.sock
    gateway=$dir/gateway
    nginx=$dir/nginx
    monitor=$dir/monitor
    tls_dir=$dir/tls
    conninfo="host=$pg_socket dbname=concert user=concert_service"
    owner="host=$pg_socket dbname=concert user=concert"
}


find_url() { base_url=http${TLS:+s}://127.0.0.1:$PORT; }


make_var() {
    if [[ -n $link && ! -L $link && -e $link ]]; then
        die "the servers cannot use $link (not all its parents are open to" \
            "them, or it is too long), and it is there already; choose" \
            "another directory, as in VAR=my-var"
    fi

    if [[ ! -e $dir ]]; then
        mkdir -p "$(dirname "$dir")"
        mkdir -m 0755 "$dir"
    fi

    # /var/tmp is everybody's: do not move into another's directory
    [[ -d $dir && ! -L $dir && -O $dir ]] \
        || die "$dir is another user's; choose a directory, as in VAR=my-var"

    if [[ -n $link && ! -L $link ]]; then
        mkdir -p "$(dirname "$link")"
        ln -s "$dir" "$link"
        say "$link is a link to $dir (the servers cannot use it in its place)"
    fi
}


# One command at a time changes a stack. The servers must not inherit the lock,
# or it would be held for as long as they run: hence the 9>&- below.
lock() {
    exec 9>"$dir/lock"
    flock -w 120 9 || die "another command is at work on $dir"
}

unlock() { exec 9>&-; }


# What programs need to find the stack; to be sourced, or read.
write_env() {
    cat >"$dir/env" <<END
export VAR='$dir'
export PORT='$PORT'
export BASE_URL='$base_url'
export TLS='$TLS'
export HOLD='$HOLD'
export TTL='$TTL'
export CAPACITY='$CAPACITY'
export SEATS='$SEATS'
export CONCERT_PG='$conninfo'
export CONCERT_PG_OWNER='$owner'
export CONCERT_REDIS='unix:$redis_socket'
export PGHOST='$pg_socket'
export PGPORT='5432'
export PGDATABASE='concert'
export PGUSER='concert'
export PG_BIN='$pg_bin'
export REDIS_SOCKET='$redis_socket'
export REDIS_SERVER='$redis_server'
export REDIS_CLI='$redis_cli'
export REDIS_BENCHMARK='$redis_benchmark'
export GATEWAY='$GATEWAY'
END

    [[ -z $GATEWAY ]] || cat >>"$dir/env" <<END
export CONCERT_GATEWAY_URL='http://127.0.0.1:$GATEWAY_PORT'
export CONCERT_GATEWAY_KEY_FILE='$gateway/key'
END

    [[ -z $TLS ]] || cat >>"$dir/env" <<END
export CURL_CA_BUNDLE='$tls_dir/ca.pem'
export K6_INSECURE_SKIP_TLS_VERIFY='true'
END

    [[ -z $SAN ]] || "write_env_$SAN" >>"$dir/env"
}

write_env_1() {
    cat <<END
export ASAN_OPTIONS='log_path=$dir/san/report:detect_leaks=1'
export LSAN_OPTIONS='suppressions=$repo/conf/stack/leaks:print_suppressions=0'
export UBSAN_OPTIONS='log_path=$dir/san/report:print_stacktrace=1'
END
}

write_env_thread() {
    cat <<END
export TSAN_OPTIONS='log_path=$dir/san/report:suppressions=$repo/conf/stack/races:history_size=4'
END
}

write_env_valgrind() {
    cat <<END
export CONCERT_REPORTS='$dir/san'
END
}


# The nginx that SAN means, with the module inside.
checked_nginx() {
    case $SAN in
    1)        echo "$repo/build/san/nginx" ;;
    thread)   echo "$repo/build/tsan/nginx" ;;
    valgrind) echo "$repo/conf/stack/valgrind-nginx" ;;
    esac
}

# The nginx that is run: Debian's, or NGINX_BIN, or the one that SAN means.
nginx_binary() {
    if [[ -n $SAN ]]; then
        checked_nginx
    else
        echo "${NGINX_BIN:-/usr/sbin/nginx}"
    fi
}

# What it loads; nothing where the module is inside.
nginx_module() {
    if [[ -n $SAN ]]; then
        echo
    elif [[ -n ${NGINX_BIN:-} ]]; then
        echo "${NGINX_MODULE:-}"
    else
        echo "$repo/build/ngx_http_concert_module.so"
    fi
}


# from_env NAME
from_env() { sed -n "s/^export $1='\(.*\)'\$/\1/p" "$dir/env"; }
