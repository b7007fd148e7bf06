# The custom network by one call: network-nat makes br0 behind dom0, and guests join it by vif-bridge.
new_lan
remember before-start

network_nat() { logged "network-nat-$1" "$scripts/network-nat" "$@" </dev/null; }

require "start succeeds" network_nat start bridge=br0 address=192.168.2.1/24
check "br0 is a bridge" is_bridge br0

linux_guest web "bridge=br0" \
  "guest.eth0=192.168.2.2/24 guest.gateway=192.168.2.1 guest.ping0=192.168.2.1,192.168.1.1,198.51.100.10"
require "xl create succeeds" create web
check "the vif is a port of the bridge" is_port "$(vif_of web)" br0
check "the guest pings dom0" guest_said web "192.168.2.1 answers"
check "the guest pings the gateway of the LAN" guest_said web "192.168.1.1 answers"
check "the guest pings the outside" guest_said web "198.51.100.10 answers"
check "they see nothing but dom0's address" lan_saw_no_guest
check "dom0 pings the guest" answers 192.168.2.2

check "xl destroy succeeds" logged destroy xl destroy web
check "no guest is left on the bridge" equal 0 "$(guest_ports_of br0)"
check "stop succeeds" network_nat stop bridge=br0 address=192.168.2.1/24
check "the host is as before start" unchanged_since before-start

delete_lan
