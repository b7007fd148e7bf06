# DHCP behind dom0: network-nat dhcp=yes with the host's own dnsmasq, and guests that ask. Under xl a vif program gets no words of its own,
# so that a guest's configuration says no more than which program serves it.
new_lan
new_dnsmasq
remember before-start

network_nat() { logged "network-nat-$1" "$scripts/network-nat" "$@" </dev/null; }
# from_dhcp GUEST VIF PEERS: a guest that asks for its address.
from_dhcp() { linux_guest "$1" "$2" "guest.eth0=dhcp guest.ping0=$3"; }

require "start succeeds" network_nat start dhcp=yes
check "dnsmasq was restarted for it, once" equal 2 "$(dnsmasq_starts)"
remember started

address_of() { echo "10.$((domain_ids[$1] / 256)).$((domain_ids[$1] % 256)).$2"; } # GUEST LAST-OCTET
from_dhcp one "script=vif-nat" 192.168.1.100,198.51.100.10
require "xl create of one guest succeeds" create one
from_dhcp two "script=vif-nat" "192.168.1.100,198.51.100.10,$(address_of one 1)"
require "xl create of another succeeds" create two
for name in one two; do
  check "dnsmasq gives guest $name the address of its number, a router, a name and a name server" guest_said "$name" \
    "eth0 is leased $(address_of "$name" 1)/8 router=$(address_of "$name" 128) name=dom${domain_ids[$name]} dns=192.168.1.1"
  check "guest $name pings dom0" guest_said "$name" "192.168.1.100 answers"
  check "guest $name pings the outside" guest_said "$name" "198.51.100.10 answers"
  check "dom0 pings guest $name" answers "$(address_of "$name" 1)"
done
check "guest two pings guest one" guest_said two "$(address_of one 1) answers"
for name in one two; do check "xl destroy of $name succeeds" logged "destroy-$name" xl destroy "$name"; done
check "dnsmasq was not restarted for guests" equal 2 "$(dnsmasq_starts)"
check "nothing is left after destroy" unchanged_since started
check "stop succeeds" network_nat stop dhcp=yes
check "the host is as before start" unchanged_since before-start

# The private bridge, whose guests are served from a range.
private=(bridge=br0 address=192.168.2.1/24 dhcp=yes)
require "start of a private bridge succeeds" network_nat start "${private[@]}"
from_dhcp web "bridge=br0" 192.168.2.1,198.51.100.10
require "xl create of a guest on it succeeds" create web
leased='guest: eth0 is leased 192\.168\.2\.[0-9]+/24 router=192\.168\.2\.1 '
check "dnsmasq gives it an address, and the bridge's as its router" eventually 60 grep -E "$leased" /var/log/xen/console/guest-web.log
check "it pings dom0" guest_said web "192.168.2.1 answers"
check "it pings the outside" guest_said web "198.51.100.10 answers"
check "xl destroy of it succeeds" logged destroy-web xl destroy web
check "stop of the private bridge succeeds" network_nat stop "${private[@]}"
check "the host is as before once more" unchanged_since before-start

delete_dnsmasq
delete_lan
