# Two-way routing: network-route and vif-route. The guest has a link of its own and is reached by its own address.
new_lan
lan_has_ipv6
ip -n lan route add 192.168.2.0/24 via 192.168.1.100
remember before-start

network_route() { logged "network-route-$1" "$scripts/network-route" "$@" </dev/null; }

require "start succeeds" network_route start
remember started

linux_guest web "script=vif-route,ip=192.168.2.1" \
  "guest.eth0=192.168.2.1/24 guest.gateway=192.168.2.254 guest.ping0=192.168.1.100,192.168.1.1,198.51.100.10"
require "xl create succeeds" create web
vif=$(vif_of web)
check "a route leads to the guest" contains "$(ip route show dev "$vif")" "192.168.2.1 scope link src 192.168.1.100 metric 2"
check "dom0 has its own address on the link" contains "$(ip -o address show dev "$vif")" "192.168.1.100/32"
check "hotplug-status is connected" store_is "$(backend_of web)/hotplug-status" connected
check "there is no hotplug-error" not xenstore-exists "$(backend_of web)/hotplug-error"
check "the guest pings dom0" guest_said web "192.168.1.100 answers"
check "the guest pings the gateway of the LAN" guest_said web "192.168.1.1 answers"
check "the guest pings the outside" guest_said web "198.51.100.10 answers"
check "they see the guest's own address" not lan_saw_no_guest
check "dom0 pings the guest" answers 192.168.2.1
check "the LAN pings the guest" answers_the_lan 192.168.2.1

check "xl destroy succeeds" logged destroy xl destroy web
check "nothing is left after destroy" unchanged_since started

# Addresses of the LAN's own networks: no route in its gateway, dom0 answers for them, by proxy ARP and by proxy neighbour discovery.
linux_guest inner "script=vif-route,ip=192.168.1.50 2001:db8:1::50" "guest.eth0=192.168.1.50/24,2001:db8:1::50/128 \
  guest.gateway=192.168.1.1,fe80::1 guest.ping0=192.168.1.1,198.51.100.10,2001:db8:1::1,2001:db8:ffff::10"
require "xl create of a guest in the LAN's own networks succeeds" create inner
check "dom0 answers for its IPv6 address" contains "$(ip -6 neighbour show proxy)" "2001:db8:1::50 dev eth0"
check "that guest pings the gateway of the LAN" guest_said inner "192.168.1.1 answers"
check "that guest pings the outside" guest_said inner "198.51.100.10 answers"
check "that guest pings the gateway of the LAN by IPv6" guest_said inner "2001:db8:1::1 answers"
check "that guest pings the outside by IPv6" guest_said inner "2001:db8:ffff::10 answers"
check "the LAN pings that guest" answers_the_lan 192.168.1.50
check "the LAN pings that guest by IPv6" answers_the_lan 2001:db8:1::50
check "xl destroy of it succeeds" logged destroy-inner xl destroy inner
check "nothing is left of it either" unchanged_since started
check "stop succeeds" network_route stop
check "the host is as before start" unchanged_since before-start

delete_lan
