# vifname=: the vif gets the name its administrator chose, and a name that is taken is left to its owner.
new_bridge xenbr0 10.0.0.1/24
remember without-guest

tiny_guest web "bridge=xenbr0,vifname=web0"
require "xl create succeeds" create web
check "the renamed vif is a port of the bridge" is_port web0 xenbr0
check "the old name is gone" not link_exists "$(vif_of web)"
check "hotplug-status is connected" store_is "$(backend_of web)/hotplug-status" connected
check "the frontend is told the MTU" store_is "$(frontend_of web)/mtu" 1500

tiny_guest twin "bridge=xenbr0,vifname=web0"
check "a second guest of that vifname is refused" not create twin
check "the refusal names the device" grep -F web0 /run/test/xl-twin.log
check "the refused guest is gone" eventually 10 not domain_exists twin
check "the first guest's vif is still a port of the bridge" is_port web0 xenbr0
check "the first guest's vif is still up" link_is_up web0
check "the first guest is still connected" store_is "$(backend_of web)/hotplug-status" connected

check "xl destroy succeeds" logged destroy xl destroy web
check "nothing is left after destroy" unchanged_since without-guest

delete_bridge xenbr0
