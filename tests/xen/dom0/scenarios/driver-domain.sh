# As in a driver domain: no xenstored runs there, so there is no socket, and the kernel's /dev/xen/xenbus is the way to the store.
# Here the socket is hidden from the program by a mount namespace of its own.
new_bridge xenbr0 10.0.0.1/24
wrapper vif-bridge-without-socket <<'WRAPPER'
exec unshare --mount sh -c 'mount -t tmpfs tmpfs /run/xenstored && ! test -e /run/xenstored/socket && exec "$0" "$@"' "${0%-without-socket}" "$@"
WRAPPER
require "dom0 has /dev/xen/xenbus" test -c /dev/xen/xenbus
remember without-guest

tiny_guest far "bridge=xenbr0,script=vif-bridge-without-socket"
require "xl create succeeds" create far
check "the vif is a port of the bridge" is_port "$(vif_of far)" xenbr0
check "hotplug-status is connected" store_is "$(backend_of far)/hotplug-status" connected
check "the frontend is told the MTU" store_is "$(frontend_of far)/mtu" 1500
check "xl destroy succeeds" logged destroy xl destroy far
check "nothing is left after destroy" unchanged_since without-guest

tiny_guest lost "bridge=nosuchbr,script=vif-bridge-without-socket"
check "a missing bridge makes xl create fail" not create lost
check "xl prints the reason" grep -F nosuchbr /run/test/xl-lost.log
check "nothing is left after the failure" unchanged_since without-guest

rm -f "$scripts/vif-bridge-without-socket"
delete_bridge xenbr0
