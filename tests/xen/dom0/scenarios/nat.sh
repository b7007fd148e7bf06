# NAT: network-nat and vif-nat. Whatever a guest sends out has dom0's address; the LAN reaches the guest once its gateway has a route.
new_lan
remember before-start

network_nat() { logged "network-nat-$1" "$scripts/network-nat" "$@" </dev/null; }

require "start succeeds" network_nat start
remember started

linux_guest web "script=vif-nat,ip=192.168.2.1" \
  "guest.eth0=192.168.2.1/24 guest.gateway=192.168.2.254 guest.ping0=192.168.1.100,192.168.1.1,198.51.100.10"
require "xl create succeeds" create web
check "a route leads to the guest" contains "$(ip route show dev "$(vif_of web)")" "192.168.2.1 scope link src 192.168.2.128"
check "hotplug-status is connected" store_is "$(backend_of web)/hotplug-status" connected
check "the guest pings dom0" guest_said web "192.168.1.100 answers"
check "the guest pings the gateway of the LAN" guest_said web "192.168.1.1 answers"
check "the guest pings the outside" guest_said web "198.51.100.10 answers"
check "they see nothing but dom0's address" lan_saw_no_guest
check "dom0 pings the guest" answers 192.168.2.1
ip -n lan route add 192.168.2.0/24 via 192.168.1.100
check "the LAN pings the guest once it has a route" answers_the_lan 192.168.2.1

tiny_guest default "script=vif-nat"
require "xl create of a guest without an address succeeds" create default
number=${domain_ids[default]}
address=10.$((number / 256)).$((number % 256))
check "it is given the address of its number" contains "$(ip route show dev "$(vif_of default)")" "$address.1 scope link src $address.128"

check "xl destroy succeeds" logged destroy xl destroy web
check "xl destroy of the other succeeds" logged destroy-default xl destroy default
check "nothing is left after destroy" unchanged_since started
check "stop succeeds" network_nat stop
check "the host is as before start" unchanged_since before-start

delete_lan
