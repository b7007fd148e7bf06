# A bridge with VLAN filtering: the vif joins it in the bridge's default VLAN, untagged, and traffic passes.
new_bridge xenbr0 10.0.0.1/24 vlan_filtering 1 vlan_default_pvid 7
# dom0's own end of the bridge is in the default VLAN, too.
check "the bridge filters VLANs" equal 1 "$(link_value xenbr0 bridge/vlan_filtering)"
remember without-guest

linux_guest web "bridge=xenbr0" "guest.eth0=10.0.0.5/24 guest.ping0=10.0.0.1"
require "xl create succeeds" create web
vif=$(vif_of web)
check "the vif is in the default VLAN only, untagged" equal "$vif 7 PVID Egress Untagged" "$(bridge vlan show dev "$vif" | sed 1d | xargs)"
check "the guest pings dom0" guest_said web "10.0.0.1 answers"
check "xl destroy succeeds" logged destroy xl destroy web
check "nothing is left after destroy" unchanged_since without-guest

delete_bridge xenbr0
