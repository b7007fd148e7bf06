# A guest on a bridge, from xl create to a ping, and nothing left of it after xl destroy.
new_bridge xenbr0 10.0.0.1/24
remember without-guest

linux_guest web "bridge=xenbr0,mac=00:16:3e:00:00:02" "guest.eth0=10.0.0.2/24 guest.ping0=10.0.0.1"
require "xl create succeeds" create web
vif=$(vif_of web)
check "the vif is a port of the bridge" is_port "$vif" xenbr0
check "the vif is up" link_is_up "$vif"
check "the vif has the address no guest can take" equal fe:ff:ff:ff:ff:ff "$(link_value "$vif" address)"
check "the vif has no IPv4 address" equal "" "$(ip -4 -o address show dev "$vif")"
check "hotplug-status is connected" store_is "$(backend_of web)/hotplug-status" connected
check "there is no hotplug-error" not xenstore-exists "$(backend_of web)/hotplug-error"
check "the frontend is told the MTU" store_is "$(frontend_of web)/mtu" 1500
check "the guest pings dom0" guest_said web "10.0.0.1 answers"
check "dom0 pings the guest" answers 10.0.0.2
check "no lock is left" equal "" "$(find /run/xen-hotplug -type f 2>&1 | grep -v 'No such file' || :)"

check "xl destroy succeeds" logged destroy xl destroy web
check "nothing is left after destroy" unchanged_since without-guest

delete_bridge xenbr0
