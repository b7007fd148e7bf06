# Hosts that lack parts of their kernel, or confine their servers. This dom0's kernel was started with ipv6.disable=1 and apparmor=1, and has
# not loaded bridges yet. Each program does its work, or says in one sentence why not and what to do.

forbid() { printf 'install %s /bin/false\n' "$@" >/etc/modprobe.d/forbidden.conf; } # MODULE…
allow_all() { rm -f /etc/modprobe.d/forbidden.conf; }
loaded() { grep -q "^$1 " /proc/modules; }

# A vif as netback makes it, and what libxl writes of it.
new_vif() { # DOMAIN SCRIPT [KEY VALUE]…
  local domain=$1 script=$2
  shift 2
  ip link add "vif$domain.0" address fe:ff:ff:ff:ff:ff type veth peer name "guest$domain"
  xenstore-write "backend/vif/$domain/0/script" "$scripts/$script" "backend/vif/$domain/0/mac" "00:16:3e:00:00:0$domain" \
    "backend/vif/$domain/0/hotplug-status" "" "backend/vif/$domain/0/frontend-id" "$domain"
  while [ $# -gt 0 ]; do
    xenstore-write "backend/vif/$domain/0/$1" "$2"
    shift 2
  done
}
delete_vif() { # DOMAIN SCRIPT
  as_libxl "$2" offline vif "$1" 0
  [ ! -e "/sys/class/net/guest$1" ] || ip link delete "guest$1"
  xenstore-rm "backend/vif/$1"
  xenstore-rm "/local/domain/$1" 2>/dev/null || : # vif-bridge tells the frontend its MTU
}
# says WORDS COMMAND…: it fails, with one line on standard error that has these words in it.
says() {
  local words=$1 status=0
  shift
  "$@" >/run/test/said 2>/run/test/complaint || status=$?
  cat /run/test/complaint
  [ "$status" = 1 ] && ! grep -F "needs a look" /run/test/complaint && [ "$(grep -c . /run/test/complaint)" = 1 ] && grep -qF -- "$words" /run/test/complaint
}
online() { as_libxl "$2" online vif "$1" 0; } # DOMAIN SCRIPT
# A comparison that works on a kernel without IPv6.
lacking_state() {
  { ip -d -o link show; ip -o -4 address show; ip -4 route show table all; ! loaded nf_tables || nft list ruleset; xenstore-ls backend/vif; } 2>/dev/null |
    normalise
}
keep() { lacking_state >/run/test/kept; }
as_kept() { eventually 10 eval 'lacking_state | diff -U0 /run/test/kept -'; }

check "this kernel has no IPv6" not test -e /proc/net/if_inet6
check "bridges are not loaded" not loaded bridge
ip link add eth0 address 00:11:d8:55:4d:74 type veth peer name port
ip link set port up
ip link set eth0 up
ip address add 192.168.1.100/24 dev eth0
ip route add default via 192.168.1.1

# --- without bridges
forbid bridge
new_vif 1 vif-bridge bridge xenbr0
keep
check "without bridges network-bridge says so" says "modprobe bridge" "$scripts/network-bridge" start check=no
check "it has left the host as it was" as_kept
check "without bridges network-nat says so" says "modprobe bridge" "$scripts/network-nat" start bridge=br0 address=192.168.2.1/24
check "it has left the host as it was, too" as_kept
check "without bridges vif-bridge says so" says xenbr0 online 1 vif-bridge
check "bridges were not loaded" not loaded bridge
delete_vif 1 vif-bridge
allow_all

# --- without nf_tables
modprobe -r nf_tables
forbid nf_tables nfnetlink
new_vif 2 vif-route ip 192.168.2.2
check "without nf_tables a guest is not let in unfiltered" says nf_tables online 2 vif-route
check "the toolstack has been told" store_is backend/vif/2/0/hotplug-status error
xenstore-write backend/vif/2/0/antispoof no backend/vif/2/0/hotplug-status ""
check "without a filter it is let in" online 2 vif-route
check "its route is there" contains "$(ip route show dev vif2.0)" 192.168.2.2
delete_vif 2 vif-route
check "without nf_tables network-route says so where it is to translate" says nf_tables "$scripts/network-route" start masquerade=yes
check "it works where it is not" logged route "$scripts/network-route" start masquerade=no
check "and stops" logged route-stop "$scripts/network-route" stop
check "nf_tables was not loaded" not loaded nf_tables
allow_all

# --- without IPv6, with all the rest
check "network-bridge starts without IPv6" logged bridge "$scripts/network-bridge" start check=no
check "eth0 is a bridge" is_bridge eth0
new_vif 3 vif-bridge bridge eth0 ip "192.168.1.103 2001:db8::3" antispoof strict
check "vif-bridge works without IPv6, with a filter" online 3 vif-bridge
check "the vif is a port" is_port vif3.0 eth0
delete_vif 3 vif-bridge
check "network-bridge stops" logged bridge-stop "$scripts/network-bridge" stop
check "xen-network doctor ends by itself" eval '"$scripts/xen-network" doctor >/run/test/doctor 2>&1 || [ $? = 1 ]'

# --- servers that AppArmor confines
mount -t securityfs securityfs /sys/kernel/security
require "AppArmor is there" grep -x Y /sys/module/apparmor/parameters/enabled
sed -i 's/flags=(complain,attach_disconnected)/flags=(attach_disconnected)/' /etc/apparmor.d/usr.sbin.dnsmasq
: >/etc/apparmor.d/local/usr.sbin.dhcpd
require "the profiles of the servers are loaded" apparmor_parser --replace --skip-cache /etc/apparmor.d/usr.sbin.{dhcpd,dnsmasq}
check "they are enforced" equal 2 "$(grep -cE '(dnsmasq|dhcpd) \(enforce\)' /sys/kernel/security/apparmor/profiles)"

printf '%s\n' 'search example.org' 'nameserver 192.168.1.1' >/etc/resolv.conf
mkdir -p /etc/init.d /etc/dhcp /var/lib/dhcp
: >/etc/dhcp/dhcpd.conf
: >/var/lib/dhcp/dhcpd.leases
echo 'INTERFACESv4=""' >/etc/default/isc-dhcp-server
cat >/etc/init.d/isc-dhcp-server <<'SCRIPT'
#!/bin/sh
. /etc/default/isc-dhcp-server
if [ -e /run/dhcpd.pid ]; then kill "$(cat /run/dhcpd.pid)"; rm -f /run/dhcpd.pid; fi
exec dhcpd -4 -q -cf /etc/dhcp/dhcpd.conf -pf /run/dhcpd.pid $INTERFACESv4
SCRIPT
chmod +x /etc/init.d/isc-dhcp-server
# A client on the private bridge.
new_client() {
  ip netns add client
  ip link add client0 type veth peer name eth0 netns client
  ip link set client0 master br0 up
  ip -n client link set eth0 up
}
client_asks() { ip netns exec client busybox udhcpc -i eth0 -n -q -f -t 10 -T 1 -s /bin/true; }

check "network-nat has a confined dhcpd serve" logged dhcpd "$scripts/network-nat" start bridge=br0 address=192.168.2.1/24 dhcp=dhcpd
check "dhcpd is confined" contains "$(cat "/proc/$(cat /run/dhcpd.pid)/attr/current")" enforce
new_client
check "a client is served by it" client_asks
ip netns delete client
check "network-nat stops" logged dhcpd-stop "$scripts/network-nat" stop bridge=br0
check "dhcpd's files are as they were" equal "" "$(cat /etc/dhcp/dhcpd.conf)"
rm -f /run/dhcpd.pid # without a network to serve it has ended

mkdir -p /var/lib/misc
new_dnsmasq
sed -i 's:^dhcp-leasefile=.*:dhcp-leasefile=/var/lib/misc/dnsmasq.leases:' /etc/dnsmasq.conf
check "network-nat has a confined dnsmasq serve" logged dnsmasq "$scripts/network-nat" start bridge=br0 address=192.168.2.1/24 dhcp=dnsmasq
check "dnsmasq is confined" contains "$(cat "/proc/$(cat /run/dnsmasq.pid)/attr/current")" enforce
new_client
check "a client is served by it" client_asks
ip netns delete client
check "network-nat stops again" logged dnsmasq-stop "$scripts/network-nat" stop bridge=br0
check "dnsmasq says that it may not see the guests' folder" grep -F "/run/xen-network-dhcp: Permission denied" /var/log/messages

# What README tells an administrator to do.
printf '%s\n' '/run/xen-network-dhcp/ r,' '/run/xen-network-dhcp/* r,' >/etc/apparmor.d/local/usr.sbin.dnsmasq
require "the folder can be allowed" apparmor_parser --replace --skip-cache /etc/apparmor.d/usr.sbin.dnsmasq
: >/var/log/messages
check "network-nat has dnsmasq serve guests of vif-nat" logged guests "$scripts/network-nat" start dhcp=dnsmasq
new_vif 4 vif-nat ip 10.0.4.1
check "a guest comes" online 4 vif-nat
ip netns add client
ip link set guest4 netns client name eth0
ip -n client link set eth0 address 00:16:3e:00:00:04 up
check "it is given its address" contains "$(client_asks 2>&1)" "lease of 10.0.4.1 obtained"
check "nothing was forbidden" not grep -F "Permission denied" /var/log/messages
ip netns delete client
delete_vif 4 vif-nat
check "network-nat stops at last" logged guests-stop "$scripts/network-nat" stop

delete_dnsmasq
ip link delete eth0
rm -rf /etc/dhcp /etc/default/isc-dhcp-server /etc/init.d/isc-dhcp-server /etc/resolv.conf
umount /sys/kernel/security
xenstore-rm backend # as before the first guest
