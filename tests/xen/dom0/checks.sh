# What scenarios are written with. A scenario is a file in scenarios/; it runs with `set -eEuo pipefail`, so that a preparing command
# that fails ends it as a failure. Each check reports one line on descriptor 3: `PASS scenario: what`, or `FAIL scenario: what` and
# the evidence.
#
#   check WHAT COMMAND…      passes when COMMAND succeeds; what it printed is the evidence. The scenario goes on.
#   require WHAT COMMAND…    the same, but the rest of the scenario makes no sense without it.
#   eventually SECONDS COMMAND…   waits until COMMAND succeeds, at most so long.
#
# A process costs some 50 ms under emulation, an xl four times that. So bash does here what elsewhere one would leave to cat, tee or jq.

scripts=/etc/xen/scripts
# shellcheck disable=SC2034  # used by run
stopped_by_require=77

# --- reporting ---------------------------------------------------------------------------------------------------------------------

note() { echo "$*" >&3; }
quote() { sed 's/^/    | /' >&3; }

record() { # PASS|FAIL WHAT
  echo "$1 $scenario: $2" >>/run/test/results
  echo "$1 $scenario: $2" >&3
}
pass() { record PASS "$1"; }
fail() { # WHAT; evidence on stdin
  record FAIL "$1"
  tail -n 60 | cut -c1-400 | quote
}

passes() { # WHAT COMMAND…
  local what=$1
  shift
  if "$@" >/run/test/evidence 2>&1; then
    pass "$what"
  else
    fail "$what" </run/test/evidence
    return 1
  fi
}
check() { passes "$@" || :; }
require() { passes "$@" || exit "$stopped_by_require"; }

eventually() { # SECONDS COMMAND…
  local limit=$((SECONDS + $1))
  shift
  until "$@" >/run/test/last-try 2>&1; do
    [ "$SECONDS" -lt "$limit" ] || { cat /run/test/last-try; return 1; }
    sleep 0.2
  done
}

not() { ! "$@"; }
equal() { # EXPECTED FOUND
  [ "$1" = "$2" ] || { printf 'expected: %s\nfound:    %s\n' "$1" "$2"; return 1; }
}
contains() { # TEXT PART
  case $1 in *"$2"*) ;; *) printf 'expected to find: %s\nin: %s\n' "$2" "$1"; return 1 ;; esac
}

# --- the host as it is -------------------------------------------------------------------------------------------------------------

# Everything `ip` knows of the network, one line a thing.
network_state() {
  local both='address show\nroute show table all\nneighbour show nud permanent\nneighbour show proxy\nrule show\n'
  ip -d -o -4 -batch - <<<"link show"$'\n'"${both@E}"
  ip -d -o -6 -batch - <<<"${both@E}"
}

# Takes out what changes by itself: indices, timers, the seconds left of a lifetime, and the offload limits that a bridge takes from its
# latest port.
normalise() {
  sed -E 's/^[0-9]+: ([^f ])/\1/; s/@if[0-9]+/@peer/; s/ link-netns(id)? [^ ]+//
    s/ ([a-z_]*_timer|[gt]so_max_[a-z]+|g[rs]o_[a-z0-9_]*max_size) +[0-9.]+//g
    s/(valid_lft|preferred_lft|expires) [1-9][0-9]*sec/\1 limited/g; s/[ \t]+/ /g; s/ $//' | sort
}

# All that a hotplug program could leave behind: devices, addresses, routes, rules, settings, filters, locks, records, store entries.
host_state() {
  {
    network_state
    grep -s . /proc/sys/net/ipv[46]/conf/*/{forwarding,proxy_arp,proxy_ndp,accept_ra} || :
    nft list ruleset
    # libxl's own records, in /run/xen, are none of ours.
    find /run /var/lib/xen /var/lock/ -type f ! -path '/run/test/*' ! -path '/run/xen/*' ! -name '*.pid' ! -name devices.lock
    xenstore-ls -f
  } | normalise
}

# IPv6 takes a second or two to be sure that nobody else has an address.
settled() { equal "" "$(ip -6 -o address show tentative)"; }
remember() { # NAME
  eventually 20 settled
  host_state >"/run/test/host-$1"
}
host_is_as_in() { # FILE
  host_state >/run/test/host-now
  diff -U0 "$1" /run/test/host-now
}
unchanged_since() { eventually 15 host_is_as_in "/run/test/host-$1"; } # NAME

link_exists() { test -e "/sys/class/net/$1"; }
link_value() { echo "$(<"/sys/class/net/$1/$2")"; } # DEVICE FILE, such as mtu, address, bridge/stp_state
link_is_up() { (($(<"/sys/class/net/$1/flags") & 1)); } # IFF_UP
is_bridge() { test -d "/sys/class/net/$1/bridge"; }
is_port() { # DEVICE BRIDGE
  [ -e "/sys/class/net/$2/brif/$1" ] || { echo "the ports of $2:" "/sys/class/net/$2/brif"/*; return 1; }
}
guest_ports_of() { ip -o link show master "$1" | grep -vcF -- -uplink || :; } # BRIDGE

# A bridge as hosts have it: it has a port of its own before guests come. Without one its address and carrier would follow the guests, and
# comparing before and after would say nothing. No link-local address either, which would settle a second later.
new_bridge() { # NAME ADDRESS/LENGTH [BRIDGE-OPTIONS…]
  ip link add "$1-uplink" type dummy
  ip link add "$1" address 02:00:00:00:00:01 type bridge forward_delay 0 "${@:3}"
  ip link set "$1-uplink" addrgenmode none master "$1" up
  ip link set "$1" addrgenmode none up
  ip address add "$2" dev "$1"
  eventually 10 grep -Fx up "/sys/class/net/$1/operstate"
}
delete_bridge() { # NAME
  ip link delete "$1"
  ip link delete "$1-uplink"
}
# A LAN behind eth0 of dom0, 192.168.1.100: a gateway, 192.168.1.1, and an address outside, 198.51.100.10, both in a network namespace
# that counts the packets in which it sees addresses of guests behind dom0.
new_lan() {
  ip netns add lan
  ip link add eth0 address 00:11:d8:55:4d:74 type veth peer name port netns lan
  ip -n lan -batch - <<<"link set lo up
    link set port up
    address add 198.51.100.10/32 dev lo
    address add 192.168.1.1/24 dev port"
  ip netns exec lan nft -f - <<<"table inet watch { chain input { type filter hook input priority 0; ip saddr 192.168.2.0/24 counter; }; }"
  # No link-local address, which would settle a second later.
  ip -batch - <<<"link set eth0 addrgenmode none up
    address add 192.168.1.100/24 dev eth0
    route add default via 192.168.1.1"
  eventually 10 grep -Fx up /sys/class/net/eth0/operstate
}
lan_saw_no_guest() { ip netns exec lan nft list table inet watch | grep -F "packets 0 "; }
answers_the_lan() { eventually 10 ip netns exec lan ping -c 1 -W 1 "$1"; } # ADDRESS
# The LAN has IPv6 as well: 2001:db8:1::1 is the gateway, 2001:db8:1::100 dom0, 2001:db8:ffff::10 outside. Without a link-local address the
# kernel would not ask for the neighbour of a packet that it forwards (net/ipv6/ndisc.c, ndisc_send_ns()).
lan_has_ipv6() {
  ip -n lan -batch - <<<"address add 2001:db8:ffff::10/128 dev lo nodad
    address add 2001:db8:1::1/64 dev port nodad"
  ip -batch - <<<"address add fe80::100/64 dev eth0 nodad
    address add 2001:db8:1::100/64 dev eth0 nodad
    route add default via 2001:db8:1::1"
}
delete_lan() {
  ip link delete eth0
  ip netns delete lan
}
answers() { eventually 10 ping -c 1 -W 1 "$1"; } # ADDRESS

# --- DHCP servers -----------------------------------------------------------------------------------------------------------------

# dom0 has a dnsmasq as Debian sets it up, whose service is an init script. It counts its starts.
new_dnsmasq() {
  mkdir -p /etc/dnsmasq.d /etc/init.d
  printf '%s\n' user=root port=0 no-ping pid-file=/run/dnsmasq.pid dhcp-leasefile=/run/test/leases conf-dir=/etc/dnsmasq.d >/etc/dnsmasq.conf
  printf '%s\n' 'search example.org' 'nameserver 192.168.1.1' >/etc/resolv.conf
  cat >/etc/init.d/dnsmasq <<'SCRIPT'
#!/bin/sh
[ "$1" = restart ] || exit 2
if [ -e /run/dnsmasq.pid ]; then
  read -r pid </run/dnsmasq.pid
  kill "$pid"
  while [ -d "/proc/$pid" ]; do sleep 0.1; done
fi
echo start >>/run/test/dnsmasq-starts
exec dnsmasq
SCRIPT
  chmod +x /etc/init.d/dnsmasq
  : >/run/test/dnsmasq-starts
  /etc/init.d/dnsmasq restart
}
dnsmasq_starts() { grep -c . /run/test/dnsmasq-starts; }
end_server() { # PID-FILE
  local pid
  pid=$(<"$1")
  kill "$pid"
  eventually 10 not test -d "/proc/$pid"
  rm -f "$1"
}
delete_dnsmasq() {
  end_server /run/dnsmasq.pid
  rm -rf /etc/dnsmasq.conf /etc/dnsmasq.d /etc/init.d/dnsmasq /etc/resolv.conf /run/test/leases
}
# The LAN's own server, as home routers have one.
lan_serves_dhcp() {
  ip netns exec lan dnsmasq --conf-file=/dev/null --user=root --port=0 --no-ping --interface=port --pid-file=/run/test/lan.pid \
    --dhcp-leasefile=/run/test/lan-leases --dhcp-range=192.168.1.200,192.168.1.220,255.255.255.0,1h --dhcp-option=option:router,192.168.1.1
}

# --- the store ---------------------------------------------------------------------------------------------------------------------

store_is() { equal "$2" "$(xenstore-read "$1" 2>&1)"; } # PATH VALUE

# --- guests ------------------------------------------------------------------------------------------------------------------------

# linux_guest NAME VIF [WORDS]: a guest that pings; WORDS are for its guest/init.
linux_guest() {
  cat >"/run/test/$1.cfg" <<CONFIG
name = "$1"
type = "pv"
memory = 80
kernel = "/guest/linux"
ramdisk = "/guest/linux.cpio"
extra = "console=hvc0 quiet $(</tests/fast-kernel) ${3:-}"
vif = ['$2']
CONFIG
}
# tiny_guest NAME VIF: a guest that only exists.
tiny_guest() {
  cat >"/run/test/$1.cfg" <<CONFIG
name = "$1"
type = "pv"
memory = 4
kernel = "/guest/tiny"
vif = ['$2']
CONFIG
}

# logged NAME COMMAND…: runs it and keeps its output as evidence in xl-NAME.log.
logged() {
  local log=/run/test/xl-$1.log status=0
  shift
  "$@" >"$log" 2>&1 || status=$?
  echo "$(<"$log")"
  return $status
}
declare -A domain_ids=()
create() { # NAME
  logged "$1" xl create "/run/test/$1.cfg" && domain_ids[$1]=$(xl domid "$1")
}
domain_exists() { xl domid "$1"; }
vif_of() { echo "vif${domain_ids[$1]}.${2:-0}"; }            # NAME [DEVID]
backend_of() { echo "backend/vif/${domain_ids[$1]}/${2:-0}"; } # NAME [DEVID]
frontend_of() { echo "/local/domain/${domain_ids[$1]}/device/vif/${2:-0}"; }
guest_said() { # NAME TEXT [SECONDS]
  local log=/var/log/xen/console/guest-$1.log
  eventually "${3:-90}" grep -F "guest: $2" "$log" || { tail -n 60 "$log"; return 1; }
}

# --- a whole Debian ----------------------------------------------------------------------------------------------------------------

# A clean Debian with Xen's tools, /debian/root, with our packages in its /packages. It is a folder of the machine that started this one;
# everything written to it stays in memory here.
debian=/debian/root
open_debian() {
  mkdir -p "$debian" /debian/clean /debian/changes
  modprobe -a virtio_pci 9pnet_virtio 9p overlay
  mount -t tmpfs tmpfs /debian/changes
  mkdir /debian/changes/{files,work,packages}
  mount -t 9p -o trans=virtio,version=9p2000.L,cache=loose,msize=262144,ro debian /debian/clean
  mount -t 9p -o trans=virtio,version=9p2000.L,cache=loose,msize=262144,ro packages /debian/changes/packages
  mount -t overlay -o lowerdir=/debian/clean,upperdir=/debian/changes/files,workdir=/debian/changes/work overlay "$debian"
  for folder in dev proc sys run; do mount --rbind "/$folder" "$debian/$folder"; done
  mkdir -p "$debian/guest" "$debian/packages"
  mount --bind /guest "$debian/guest"
  mount --bind /debian/changes/packages "$debian/packages"
}
close_debian() {
  umount -R "$debian"
  umount /debian/clean
  umount -R /debian/changes
}
scripts_of_xen() { (cd "$debian/etc/xen" && find . -type f -exec md5sum {} + | sort); }

# --- calling a program as a toolstack does -----------------------------------------------------------------------------------------

# as_libxl PROGRAM COMMAND TYPE DOMAIN DEVICE [NAME=VALUE…]: the argv, environment, working directory and stdin that libxl gives.
as_libxl() {
  local program=$1 command=$2 type=$3 domain=$4 device=$5 emulated=()
  shift 5
  [ "$type" = vif ] || emulated=("INTERFACE=vif$domain.$device-emu")
  (
    cd /
    exec env -i "PATH=$PATH" "script=$scripts/$program" XENBUS_TYPE=vif "XENBUS_PATH=backend/vif/$domain/$device" \
      XENBUS_BASE_PATH=backend netdev= "vif=vif$domain.$device" "${emulated[@]}" "$@" \
      "$scripts/$program" "$command" "type_if=$type" </dev/null
  )
}

# wrapper NAME: makes $scripts/NAME, an executable for `script=NAME`, from the text on stdin.
wrapper() {
  { echo '#!/bin/bash'; cat; } >"$scripts/$1"
  chmod +x "$scripts/$1"
}

# observer NAME: makes $scripts/NAME, a vif-bridge that leaves behind how it ended. libxl removes the store entry of a guest that failed at once.
observer() {
  rm -f /run/test/observed /run/test/sentence
  wrapper "$1" <<'WRAPPER'
"${0%/*}/vif-bridge" "$@"
status=$?
echo "$1 exit=$status status=$(xenstore-read "$XENBUS_PATH/hotplug-status")" >>/run/test/observed
[ "$1" != online ] || xenstore-read "$XENBUS_PATH/hotplug-error" >/run/test/sentence
exit $status
WRAPPER
}
