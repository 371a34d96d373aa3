# shellcheck shell=bash
# Roots of Debian's releases, made by debootstrap, and commands in them. As root.


# MIRROR, or the one that this machine itself uses.
mirror() {
    if [[ -n ${MIRROR:-} ]]; then
        echo "$MIRROR"
        return 0
    fi

    # shellcheck disable=SC2016  # apt's own variable
    apt-get indextargets 'Created-By: Packages' 'Label: Debian' \
        --format '$(REPO_URI)' | sort -u | sed -n 1p
}


# bootstrap SUITE ROOT LOG [PACKAGE]...: a root with these packages
bootstrap() {
    local suite=$1 root=$2 log=$3 from IFS=,
    shift 3

    from=$(mirror)
    [[ -n $from ]] || die "apt has no package lists of Debian: apt-get update"

    say "making a root of $suite (debootstrap)"
    rm -rf "$root"
    mkdir -p "$root"
    debootstrap --variant=minbase ${1:+"--include=$*"} \
        "$suite" "$root" "$from" >"$log" 2>&1 \
        || { tail -n 5 "$log" >&2; die "debootstrap fails ($log)"; }
    connect_root "$root"
}


# How this machine gets to the network; and a mirror may stand still.
connect_root() {
    local root=$1

    mkdir -p "$root/etc/ssl/certs" "$root/usr/local/share/ca-certificates"
    cp -L /etc/resolv.conf "$root/etc/resolv.conf"
    cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/" \
        2>/dev/null || :
    cp /usr/local/share/ca-certificates/*.crt \
        "$root/usr/local/share/ca-certificates/" 2>/dev/null || :
    cp /etc/apt/apt.conf.d/*proxy* "$root/etc/apt/apt.conf.d/" 2>/dev/null || :
    echo 'Acquire::Check-Valid-Until "false";' \
        >"$root/etc/apt/apt.conf.d/99root"
}


# Mounts and processes are the command's own, and end with it.
# shellcheck disable=SC2016  # of the shell inside
inside_root='
    mount -t proc proc "$0/proc"
    mount --rbind /dev "$0/dev"
    mount -t tmpfs tmpfs "$0/dev/shm"
    [ "$1" != alone ] || ip link set lo up
    shift
    exec chroot "$0" env -i HOME=/root \
        PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
'

# in_root ROOT [NAME=VALUE]... COMMAND...
in_root() {
    local root=$1
    shift

    unshare --mount --pid --fork --kill-child \
        sh -ec "$inside_root" "$root" online "$@" </dev/null
}

# The same on a network without others, so that every port is free.
alone_in_root() {
    local root=$1
    shift

    unshare --net --mount --pid --fork --kill-child \
        sh -ec "$inside_root" "$root" alone "$@" </dev/null
}
