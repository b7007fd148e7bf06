# xl network-attach and network-detach on a running guest: a second interface, on another bridge with a larger MTU.
# Then the guest switches itself off, and it is xl's background process that runs the program, after the device has gone.
new_bridge xenbr0 10.0.0.1/24
new_bridge xenbr1 10.1.0.1/24
ip link set xenbr1-uplink mtu 9000
ip link set xenbr1 mtu 9000
remember without-guest
linux_guest web "bridge=xenbr0" "guest.eth0=10.0.0.2/24 guest.ping0=10.0.0.1 guest.eth1=10.1.0.2/24 guest.ping1=10.1.0.1"
require "xl create succeeds" create web
require "the guest pings dom0" guest_said web "10.0.0.1 answers"
remember one-interface

check "xl network-attach succeeds" logged attach xl network-attach web bridge=xenbr1 mac=00:16:3e:00:00:99
vif=$(vif_of web 1)
check "the new vif is a port of its bridge" is_port "$vif" xenbr1
check "the new vif has the MTU of its bridge" equal 9000 "$(link_value "$vif" mtu)"
check "hotplug-status is connected" store_is "$(backend_of web 1)/hotplug-status" connected
# Linux's frontend does not read it; others do.
check "the frontend is told the MTU" store_is "$(frontend_of web 1)/mtu" 9000
check "the guest has the MAC it was given" guest_said web "eth1 is up mtu=1500 mac=00:16:3e:00:00:99"
check "the guest pings dom0 over the new interface" guest_said web "10.1.0.1 answers"

check "xl network-detach succeeds" logged detach xl network-detach web 1
check "nothing is left after detach" unchanged_since one-interface
check "the guest has only its first interface" guest_said web "interfaces eth0;"
check "the first interface still works" answers 10.0.0.2

check "xl network-attach to a missing bridge fails" not logged attach-missing xl network-attach web bridge=nosuchbr
# xl leaves the failed device for its administrator to look at, and to detach.
check "hotplug-status is error" store_is "$(backend_of web 1)/hotplug-status" error
check "hotplug-error names the bridge" contains "$(xenstore-read "$(backend_of web 1)/hotplug-error")" nosuchbr
check "the failed device can be detached" logged detach-failed xl network-detach web 1
check "nothing is left after the failed attach" unchanged_since one-interface

check "xl shutdown succeeds" logged shutdown xl shutdown web
check "the guest switches itself off" eventually 30 not domain_exists web
check "nothing is left after the guest has switched itself off" unchanged_since without-guest

delete_bridge xenbr0
delete_bridge xenbr1
