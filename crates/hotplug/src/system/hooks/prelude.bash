# What a hook finds when it is sourced: the variables and functions that Xen's own vif scripts have at that point.
#
# shellcheck shell=bash disable=SC1090,SC2016,SC2034,SC2154
#
# Called as: bash -p -c PRELUDE PROGRAM FOLDER LIBRARY COUNT [NAME VALUE]... COUNT [HOOK]... [WORD]...
# Values travel as words and are only ever assigned, never evaluated. Standard input is a pipe that reports go to: "hook PATH" before
# each hook, "fatal SENTENCE" where one gives up, each ended by a zero byte.
set -e

exec {_hotplug_report}>&0 </dev/null

_hotplug_tell() {
    printf '%s\0' "$1" >&"$_hotplug_report"
}

# hotplugpath.sh of xen-utils names the folders of this installation. Before the words of the call, which must not choose them.
dir=$1
if [[ $2 ]]; then
    . "$2"
fi
export PATH="${bindir:-/usr/bin}:${sbindir:-/usr/sbin}:${LIBEXEC_BIN:-/usr/lib/xen/bin}:/sbin:/bin:/usr/bin:/usr/sbin${PATH:+:$PATH}"
export LANG=POSIX
: "${LOCK_BASEDIR:=/var/run/xen-hotplug}"

# Only plain variables, exported or not: assigning to one that the shell computes with would evaluate the value.
_hotplug_set() {
    case ${!1@a} in
    '' | x) printf -v "$1" %s "$2" ;;
    esac
}

_hotplug_count=$3
shift 3
while ((_hotplug_count-- > 0)); do
    _hotplug_set "$1" "$2"
    shift 2
done
_hotplug_hooks=("${@:2:$1}")
shift "$(($1 + 1))"

log() {
    local level=$1
    shift
    logger -p "daemon.$level" -- "$0:" "$@" || echo "$0: $*" >&2
}

# The program that runs the hooks writes hotplug-error and hotplug-status, once, after it has undone its own work.
fatal() {
    _hotplug_tell "fatal $*"
    log err "$@"
    exit 1
}

sigerr() {
    fatal "$0 failed; error detected."
}

# Ends the shell where set -e would: left to itself, bash 5.2 adds a complaint of its own (pop_var_context) when that happens inside a
# sourced file. Subshells keep their own rules.
set -E
trap '_hotplug_status=$?; ((BASH_SUBSHELL)) || exit $_hotplug_status' ERR

do_or_die() {
    "$@" || fatal "$* failed"
}

do_without_error() {
    "$@" 2>/dev/null || log debug "$* failed"
}

# xenstore_read PATH...: the values, a line each. An absent key is fatal.
xenstore_read() {
    local value
    value=$(xenstore-read "$@") || value=
    [[ $value ]] || fatal "xenstore-read $* failed."
    printf '%s\n' "$value"
}

# xenstore_read_default PATH DEFAULT
xenstore_read_default() {
    xenstore-read "$1" 2>/dev/null || printf '%s\n' "$2"
}

_xenstore_write() {
    log debug "Writing $* to xenstore."
    xenstore-write "$@"
}

# xenstore_write PATH VALUE [PATH VALUE]...
xenstore_write() {
    _xenstore_write "$@" || fatal "Writing $* to xenstore failed."
}

success() {
    xenstore_write "$XENBUS_PATH/hotplug-status" connected
}

# Every iptables since 1.4.20 (2013) can wait for the others.
iptables_w() {
    iptables -w "$@"
}

# The lock files are shared with Xen's scripts and with the programs: an exclusive flock(2) on the file that stands at the path. The
# holder unlinks it, so after waiting the file may be another one.
declare -A _hotplug_locks

claim_lock() {
    local file=$LOCK_BASEDIR/$1 fd
    mkdir -p "$LOCK_BASEDIR"
    while :; do
        exec {fd}<>"$file"
        flock -x "$fd" || return
        [[ ! /dev/fd/$fd -ef $file ]] || break
        exec {fd}>&-
    done
    _hotplug_locks[$1]=$fd
}

release_lock() {
    local fd=${_hotplug_locks[$1]}
    rm "$LOCK_BASEDIR/$1"
    exec {fd}>&-
    unset "_hotplug_locks[$1]"
}

# ISC dhcpd's files, which vif-nat names when it is to serve DHCP. Their content changes in place, so that owner and mode stay.
_hotplug_rewrite() {
    local file=$1 content
    shift
    [[ $file ]] || fatal "No DHCP server's configuration is known here."
    content=$("$@" "$file")
    printf '%s\n' "$content" >"$file"
}

# The host entry of $hostname, and the interface's argument.
dhcp_remove_entry() {
    _hotplug_rewrite "$dhcpd_conf_file" awk -v host="$hostname" '!($1 == "host" && $2 == host)'
    dhcparg_remove_entry
}

# Which variable lists the interfaces is the distribution's choice: Red Hat, SUSE, Debian.
_hotplug_dhcpargs() {
    awk -v dev="$dev" -v act="$1" '
        match($0, /^(DHCPDARGS|DHCPD_INTERFACE|INTERFACES)=/) {
            name = substr($0, 1, RLENGTH)
            value = substr($0, RLENGTH + 1)
            gsub(/"/, "", value)
            count = split(value, words, /[ \t]+/)
            list = ""
            for (i = 1; i <= count; i++)
                if (words[i] != "" && words[i] != dev) list = list words[i] " "
            if (act == "add") list = list dev " "
            $0 = name "\"" list "\""
        }
        { print }' "$2"
}

dhcparg_remove_entry() {
    _hotplug_rewrite "$dhcpd_arg_file" _hotplug_dhcpargs remove
}

dhcparg_add_entry() {
    _hotplug_rewrite "$dhcpd_arg_file" _hotplug_dhcpargs add
}

# A function, as in Xen's scripts: so a hook's own positional parameters are the two words of this call.
call_hooks() {
    for f in "${_hotplug_hooks[@]}"; do
        _hotplug_tell "hook $f"
        . "$f"
    done
}

call_hooks vif post
