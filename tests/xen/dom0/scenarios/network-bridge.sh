# network-bridge on a dom0 with a rich network: everything eth0 has moves to the bridge named eth0, guests join it, and stop restores it.
# eth0 is one end of a veth pair; its LAN, with a gateway that answers, is a network namespace.
ip netns add lan
ip link add eth0 type veth peer name port netns lan
ip -n lan link set lo up
ip -n lan link set port up
ip -n lan address add 192.168.1.1/24 dev port
ip -n lan address add 192.168.1.254/24 dev port
ip -n lan address add 2001:db8:1::1/64 dev port nodad

ip link set eth0 address 00:11:d8:55:4d:74
ip link set eth0 up
ip address add 192.168.1.100/24 dev eth0
ip address add 192.168.1.101/24 dev eth0 label eth0:web
ip address add 10.44.0.1 peer 10.44.0.2/32 dev eth0
ip address add 2001:db8:1::100/64 dev eth0 nodad
ip address add 2001:db8:1::101/64 dev eth0 preferred_lft 0 nodad
ip address add fd00:1::1/128 dev eth0 nodad
ip route add default via 192.168.1.1
ip route add 10.50.0.0/16 via 192.168.1.1 metric 50 mtu 1400
ip route add default via 192.168.1.254 table 100
ip route add 10.60.0.0/16 via 192.168.1.1 src 192.168.1.101 table 200
ip route add 10.70.0.0/16 nexthop via 192.168.1.1 weight 1 nexthop via 192.168.1.254 weight 2
ip -6 route add default via 2001:db8:1::1
ip -6 route add 2001:db8:50::/48 via 2001:db8:1::1 metric 60 table 100
ip rule add from 192.168.1.101 lookup 100 priority 1000
ip rule add iif eth0 lookup 200 priority 1001
ip -6 rule add from 2001:db8:1::101 lookup 100 priority 1000
ip neighbour add 192.168.1.77 lladdr 00:11:22:33:44:55 nud permanent dev eth0
eventually 10 settled
require "the gateway answers before" answers 192.168.1.1
require "the gateway answers by IPv6 before" answers 2001:db8:1::1

# What must be seen under the name eth0 whichever device has it: addresses, routes and neighbours; and the rules.
# The kernel's own link-local address is compared by value only.
of_eth0() {
  network_state | normalise | grep -E '^eth0 inet|dev eth0( |$)|lookup' | sed -E 's/(eth0 inet6 fe80::[^ ]+).*/\1/'
}
eth0_is_as_before() { of_eth0 | diff -U0 /run/test/eth0-before -; }
of_eth0 >/run/test/eth0-before
remember before-start

network_bridge() { logged "network-bridge-$1" "$scripts/network-bridge" "$@" </dev/null; }

require "start succeeds" network_bridge start
check "eth0 is a bridge" is_bridge eth0
check "peth0 is its port" is_port peth0 eth0
check "the bridge has the MAC of the card" equal 00:11:d8:55:4d:74 "$(link_value eth0 address)"
check "peth0 keeps its MAC" equal 00:11:d8:55:4d:74 "$(link_value peth0 address)"
check "peth0 has no address of its own" equal "" "$(ip -o address show dev peth0 scope global)"
check "the bridge does not delay and runs no STP" equal "0 0" "$(link_value eth0 bridge/stp_state) $(link_value eth0 bridge/forward_delay)"
check "addresses, routes, rules and neighbours are on the bridge" eventually 10 eth0_is_as_before
check "the gateway answers over the bridge" answers 192.168.1.1
check "the gateway answers over the bridge by IPv6" answers 2001:db8:1::1
check "a second start succeeds" network_bridge start
check "a second start changes nothing" eventually 10 eth0_is_as_before
check "status succeeds" network_bridge status
check "status shows the port" grep -F peth0 /run/test/xl-network-bridge-status.log
remember started

linux_guest lan "bridge=eth0" "guest.eth0=192.168.1.150/24,2001:db8:1::150/64 guest.ping0=192.168.1.100,192.168.1.1,2001:db8:1::1"
require "xl create on that bridge succeeds" create lan
check "the guest pings dom0" guest_said lan "192.168.1.100 answers"
check "the guest pings the gateway" guest_said lan "192.168.1.1 answers"
check "the guest pings the gateway by IPv6" guest_said lan "2001:db8:1::1 answers"

lan_serves_dhcp
linux_guest asker "bridge=eth0" "guest.eth0=dhcp guest.ping0=192.168.1.1,192.168.1.150"
require "xl create of a guest without an address succeeds" create asker
check "the LAN's DHCP server gives it one" guest_said asker "eth0 is leased 192.168.1.2"
check "it pings the gateway" guest_said asker "192.168.1.1 answers"
check "it pings the other guest" guest_said asker "192.168.1.150 answers"
end_server /run/test/lan.pid
xl destroy asker
xl destroy lan
check "nothing is left of the guests" unchanged_since started

check "stop succeeds" network_bridge stop
check "the host is as before start" unchanged_since before-start
check "the gateway answers after stop" answers 192.168.1.1
check "start of a missing device fails" not network_bridge start netdev=nosuch0
check "the failed start changed nothing" unchanged_since before-start

ip rule delete priority 1000
ip rule delete priority 1001
ip -6 rule delete priority 1000
ip link delete eth0
ip netns delete lan
