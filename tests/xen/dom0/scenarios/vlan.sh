# vlan= of a guest's configuration: xl-network-configuration(5)'s examples, guests in different VLANs of one bridge, and what is refused.
# xl 4.17 knows no vlan=: there a wrapper says it on the program's command line.
new_bridge xenbr0 10.0.0.1/24 vlan_filtering 1

xl_knows_vlan() { [ "$(xl info xen_minor)" -ge 19 ]; }
# in_vlans VLANS [PROGRAM]: the words of a guest's vif that ask for them.
in_vlans() {
  local program=${2:-vif-bridge}
  if xl_knows_vlan; then
    echo "bridge=xenbr0,vlan=$1,script=$program"
  else
    wrapper "vlan-${1//\//_}-$program" <<<"exec \"\${0%/*}/$program\" \"\$@\" 'vlan=$1'"
    echo "bridge=xenbr0,script=vlan-${1//\//_}-$program"
  fi
}
vlans_of() { bridge vlan show dev "$1" | sed 1d | xargs; } # DEVICE
is_in_vlans() { equal "$1 $2" "$(vlans_of "$1")"; }        # DEVICE VLANS
remember without-guest

# --- the manual's examples ---------------------------------------------------------------------------------------------------------

example() { # NAME VLANS SHOWN
  tiny_guest "$1" "$(in_vlans "$2")"
  passes "xl create with vlan=$2 succeeds" create "$1" || return 0
  check "bridge vlan show is as vlan=$2 says" is_in_vlans "$(vif_of "$1")" "$3"
  check "the vif of vlan=$2 is up" link_is_up "$(vif_of "$1")"
}
example single 10 "10 PVID Egress Untagged"
example tagged 10p/20 "10 PVID Egress Untagged 20"
example series 10p/100+10x4 "10 PVID Egress Untagged 100 110 120 130 140"
example everything 20-22/30u/1p/40+2x1u "1 PVID Egress Untagged 20 21 22 30 Egress Untagged 40 Egress Untagged 42 Egress Untagged"

# A call that comes again sets the VLANs anew, whole.
number=${domain_ids[tagged]}
if xl_knows_vlan; then check "xl stores the key" store_is "$(backend_of tagged)/vlan" 10p/20; fi
xenstore-write "$(backend_of tagged)/vlan" 20p/30-4000
check "online with other VLANs succeeds" as_libxl vif-bridge online vif "$number" 0
check "only the other VLANs are left" equal "$(vif_of tagged) 20 PVID Egress Untagged" "$(vlans_of "$(vif_of tagged)" | cut -d' ' -f1-5)"
check "all of a long range is there" equal 3972 "$(bridge vlan show dev "$(vif_of tagged)" | grep -c '[0-9]')"
again() { vif=$(vif_of tagged) XENBUS_PATH=$(backend_of tagged) "$scripts/vif-bridge" online --dry-run </dev/null; }
check "online once more has nothing to do but to report" equal "xenstore-write" "$(again | sed '/^  *undo/d' | cut -d' ' -f1)"

# doctor compares the port with the key, which only a newer xl stores.
if xl_knows_vlan; then
  finding() { "$scripts/xen-network" doctor | grep -oF "[vif-vlan]" || :; }
  check "doctor finds every guest in its VLANs" equal "" "$(finding)"
  bridge vlan add dev "$(vif_of single)" vid 99
  ip link set xenbr0 type bridge vlan_filtering 0
  check "doctor finds a bridge that does not keep them apart" contains "$("$scripts/xen-network" doctor)" "ip link set xenbr0 type bridge vlan_filtering 1"
  ip link set xenbr0 type bridge vlan_filtering 1
  check "doctor finds a VLAN too many" equal "[vif-vlan]" "$(finding)"
  advice=$("$scripts/xen-network" doctor --json | sed -n '/"commands": \[/,/\]/ s/^ *"\(.*\)",\{0,1\}$/\1/p' || :)
  check "doctor's advice can be typed" bash -ec "$advice"
  check "and it helps" equal "" "$(finding)"
fi

# The emulated device of a guest is in the VLANs of the vif, and isolated as the vif is.
modprobe tun
xenstore-write backend/vif/77/0/bridge xenbr0 backend/vif/77/0/vlan 10p/20 backend/vif/77/0/isolated yes
ip tuntap add vif77.0-emu mode tap
check "add of an emulated device succeeds" as_libxl vif-bridge add tap 77 0
check "the emulated device is in its VLANs" is_in_vlans vif77.0-emu "10 PVID Egress Untagged 20"
check "the emulated device is isolated" equal 1 "$(link_value vif77.0-emu brport/isolated)"
check "remove succeeds" as_libxl vif-bridge remove tap 77 0
check "it is in no VLAN any more" equal "" "$(vlans_of vif77.0-emu)"
ip link delete vif77.0-emu
xenstore-rm -t backend/vif/77

# Under antispoof=strict the guest's address is tied to its port, in every VLAN of it. A call that comes again has nothing to add.
tied() { bridge fdb show dev "$(vif_of tagged)" | grep -F 00:16:3e:00:00:77 | grep -F sticky | grep -oE 'vlan [0-9]+' | sort | xargs; }
xenstore-write "$(backend_of tagged)/vlan" 10p/20-22 "$(backend_of tagged)/mac" 00:16:3e:00:00:77 "$(backend_of tagged)/antispoof" strict
check "online with antispoof=strict succeeds" as_libxl vif-bridge online vif "$number" 0
check "the guest's address is tied in all VLANs" equal "vlan 10 vlan 20 vlan 21 vlan 22" "$(tied)"
check "nothing is learnt at its port" equal 0 "$(link_value "$(vif_of tagged)" brport/learning)"
check "online once more has nothing to do but to report" equal "xenstore-write" "$(again | sed '/^  *undo/d' | cut -d' ' -f1)"
xenstore-write "$(backend_of tagged)/vlan" 20p/30-4000
check "the tie follows the VLANs" as_libxl vif-bridge online vif "$number" 0
check "it is tied in a new VLAN" contains "$(tied) " "vlan 4000 "
xenstore-write "$(backend_of tagged)/antispoof" no

# --- what is refused ---------------------------------------------------------------------------------------------------------------

xenstore-write "$(backend_of tagged)/vlan" 10p/20-15
check "a range that goes backwards is refused" not as_libxl vif-bridge online vif "$number" 0
check "hotplug-status is error" store_is "$(backend_of tagged)/hotplug-status" error
check "hotplug-error names the place" contains "$(xenstore-read "$(backend_of tagged)/hotplug-error")" "at character 5, the range goes backwards"
check "the VLANs are as before" equal "$(vif_of tagged) 20 PVID Egress Untagged" "$(vlans_of "$(vif_of tagged)" | cut -d' ' -f1-5)"
for name in single tagged series everything; do xl destroy "$name"; done
check "nothing is left after destroy" unchanged_since without-guest

refused() { # VLANS PART-OF-THE-SENTENCE
  observer observed
  tiny_guest wrong "$(in_vlans "$1" observed)"
  check "xl create with vlan=$1 fails" not create wrong
  check "the program exits with 1 and hotplug-status is error" grep -Fx "online exit=1 status=error" /run/test/observed
  check "hotplug-error says: $2" contains "$(cat /run/test/sentence 2>/dev/null || :)" "$2"
  check "xl prints it" grep -F "$2" /run/test/xl-wrong.log
}
refused 10p/5000 "at character 5, 5000 is no VLAN"
refused 10/20 "at character 6, it ends without a PVID"
ip link set xenbr0 type bridge vlan_filtering 0
refused 10 "does not keep VLANs apart"
check "the bridge is left as it is" equal 0 "$(link_value xenbr0 bridge/vlan_filtering)"
ip link set xenbr0 type bridge vlan_filtering 1
check "nothing is left of what was refused" unchanged_since without-guest

# --- what a filtered guest says behind its tags -------------------------------------------------------------------------------------

# A cable stands for the guest's, which the program cannot tell from netfront: its other end sends what it likes. The neighbour is in VLAN 20.
for name in tagger neighbour; do ip netns add "$name"; done
ip link add vif77.0 type veth peer name port address 00:16:3e:00:00:77 netns tagger
ip link add neighbour0 type veth peer name port netns neighbour
ip link set neighbour0 addrgenmode none master xenbr0 up
bridge vlan add dev neighbour0 vid 10
bridge vlan add dev neighbour0 vid 20
for name in tagger neighbour; do
  ip -n "$name" -batch - <<<"link set port addrgenmode none up
    link add link port name port.10 type vlan id 10
    link add link port name port.20 type vlan id 20
    link set port.10 addrgenmode none up
    link set port.20 addrgenmode none up"
done
ip -n neighbour -batch - <<<"address add 10.0.20.1/24 dev port.20
  address add 10.0.10.1/24 dev port.10
  address add 2001:db8:20::1/64 dev port.20 nodad"
ip -n tagger -batch - <<<"address add 10.0.20.77/24 dev port.20
  address add 10.0.20.99/24 dev port.20
  address add 10.0.10.77/24 dev port.10
  address add 2001:db8:20::77/64 dev port.20 nodad
  address add 2001:db8:20::99/64 dev port.20 nodad"
xenstore-write backend/vif/77/0/bridge xenbr0 backend/vif/77/0/mac 00:16:3e:00:00:77 \
  backend/vif/77/0/ip "10.0.20.77 10.0.10.77 2001:db8:20::77"

port_forwards() { [ "$(link_value vif77.0 brport/state)" = 3 ]; }
# held ANTISPOOF VLANS: the guest comes, and says things in its own name and in others'.
held() {
  xenstore-write backend/vif/77/0/antispoof "$1" backend/vif/77/0/vlan "$2"
  check "online of a guest with antispoof=$1 and vlan=$2 succeeds" as_libxl vif-bridge online vif 77 0
  check "its port passes frames on" eventually 10 port_forwards
  ip netns exec neighbour nft -f - <<<"table netdev watch
    delete table netdev watch
    table netdev watch { chain ingress { type filter hook ingress device port priority 0
      ether saddr 00:16:3e:00:00:99 counter comment \"mac\"
      arp saddr ip 10.0.20.99 counter comment \"arp\"
      ip saddr 10.0.20.99 counter comment \"ipv4\"
      ip6 saddr 2001:db8:20::99 counter comment \"ipv6\"
      ip saddr 10.0.20.77 counter comment \"own\"
      ip6 saddr 2001:db8:20::77 counter comment \"own of IPv6\"
      ip saddr 10.0.10.77 counter comment \"tag of the untagged VLAN\"
    }; }"
  say() { ip netns exec tagger ping -c 1 -W 1 "$@" >/dev/null 2>&1 || :; }
  local there
  there=$(ip netns exec neighbour cat /sys/class/net/port/address)
  ip -n tagger neighbour flush all
  say -I 10.0.20.99 10.0.20.1
  ip -n tagger -batch - <<<"neighbour replace 10.0.20.1 lladdr $there dev port.20
    neighbour replace 10.0.10.1 lladdr $there dev port.10
    neighbour replace 2001:db8:20::1 lladdr $there dev port.20"
  say -I 10.0.20.99 10.0.20.1
  say -6 -I 2001:db8:20::99 2001:db8:20::1
  say -I 10.0.10.77 10.0.10.1
  ip -n tagger link set port.20 address 00:16:3e:00:00:99
  say -I 10.0.20.77 10.0.20.1
  ip -n tagger link set port.20 address 00:16:3e:00:00:77
  ip -n tagger neighbour replace 2001:db8:20::1 lladdr "$there" dev port.20
  say -I 10.0.20.77 10.0.20.1
  say -6 -I 2001:db8:20::77 2001:db8:20::1
}
heard() { ip netns exec neighbour nft list table netdev watch | grep -E "packets [1-9].*\"$1\""; } # COMMENT
unheard() { ip netns exec neighbour nft list table netdev watch | grep -F 'packets 0 ' | grep -F "\"$1\""; } # COMMENT
tags() { nft list set bridge xen-guests tagged; }

held no 10p/20
for what in mac arp ipv4 ipv6 own "own of IPv6" "tag of the untagged VLAN"; do check "without a filter the neighbour hears: $what" heard "$what"; done
for policy in ip strict; do
  held "$policy" 10p/20
  check "its tags are let through under $policy" contains "$(tags)" '"vif77.0"'
  for what in mac arp ipv4 ipv6; do check "behind a tag it does not pass for another under $policy: $what" unheard "$what"; done
  for what in own "own of IPv6"; do check "behind a tag it is heard under $policy: $what" heard "$what"; done
  held "$policy" 10
  check "without tagged VLANs its tags are refused under $policy" not contains "$(tags)" '"vif77.0"'
  check "nor does it get in by the tag of its untagged VLAN under $policy" unheard "tag of the untagged VLAN"
done
ip link delete vif77.0
check "offline of it succeeds" as_libxl vif-bridge offline vif 77 0
for name in tagger neighbour; do ip netns delete "$name"; done
ip link delete neighbour0 2>/dev/null || :
# The guest's own end was told its MTU.
for path in backend/vif/77 /local/domain/77; do xenstore-rm -t "$path"; done
check "nothing is left of it" unchanged_since without-guest

# --- who reaches whom --------------------------------------------------------------------------------------------------------------

linux_guest friend "$(in_vlans 10)" "guest.eth0=10.0.0.12/24"
linux_guest stranger "$(in_vlans 20)" "guest.eth0=10.0.0.13/24"
linux_guest asker "$(in_vlans 10)" "guest.eth0=10.0.0.11/24 guest.ping0=10.0.0.12,10.0.0.13"
for name in friend stranger; do require "xl create of the $name succeeds" create "$name"; done
check "the friend is up" guest_said friend "eth0 is up"
check "the stranger is up" guest_said stranger "eth0 is up"
require "xl create of the asker succeeds" create asker
nft -f - <<NFT
table bridge watch {
  chain asked { type filter hook prerouting priority -300; iifname "$(vif_of asker)" arp daddr ip 10.0.0.13 counter comment "for the stranger"; }
  chain passed { type filter hook forward priority -300;
    iifname "$(vif_of asker)" oifname "$(vif_of friend)" counter comment "to the friend"
    iifname "$(vif_of asker)" oifname "$(vif_of stranger)" counter comment "to the stranger"; }
}
NFT
counted() { nft list table bridge watch | grep -F "\"$1\"" | grep -vF "packets 0 "; } # COMMENT
check "guests in one VLAN reach each other" guest_said asker "10.0.0.12 answers"
check "the asker asks for the stranger" eventually 60 counted "for the stranger"
check "the friend, in the same VLAN, hears it" eventually 10 counted "to the friend"
check "guests in different VLANs do not reach each other" not counted "to the stranger"
check "nobody answers the asker" not grep -F "10.0.0.13 answers" /var/log/xen/console/guest-asker.log
check "dom0, in the default VLAN, does not reach them" not ping -c 1 -W 1 10.0.0.12
bridge vlan add dev xenbr0 vid 20 pvid untagged self
check "dom0 reaches the stranger once it is in the same VLAN" answers 10.0.0.13

nft delete table bridge watch
for name in friend stranger asker; do xl destroy "$name"; done
bridge vlan add dev xenbr0 vid 1 pvid untagged self
bridge vlan delete dev xenbr0 vid 20 self
check "nothing is left after destroy" unchanged_since without-guest
rm -f "$scripts"/vlan-* "$scripts/observed"
delete_bridge xenbr0
