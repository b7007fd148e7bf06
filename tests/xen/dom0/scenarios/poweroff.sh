# The guest switches itself off. Then it is xl's background process that runs the program, after the device has gone.
new_bridge xenbr0 10.0.0.1/24
remember without-guest

linux_guest brief "bridge=xenbr0" "guest.eth0=10.0.0.3/24 guest.ping0=10.0.0.1 guest.then=poweroff"
require "xl create succeeds" create brief
check "the guest pings dom0" guest_said brief "10.0.0.1 answers"
check "the guest is gone" eventually 60 not domain_exists brief
check "nothing is left after poweroff" unchanged_since without-guest

delete_bridge xenbr0
