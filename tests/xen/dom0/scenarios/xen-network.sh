# xen-network on real Xen: what it says of xl's guests is what xl, the kernel and xenstored say; what it advises helps; what it guards comes back.
see() { "$scripts/xen-network" "$@" </dev/null; }
says() { contains "$(see "${@:2}" 2>&1)" "$1"; } # TEXT WORDS…
healthy() { see doctor; }
finds() { contains "$(see doctor)" "[$1]"; } # FINDING
# What doctor says is to be typed, of all that it has found.
advice() { see doctor --json | sed -n '/"commands": \[/,/\]/ s/^ *"\(.*\)",\{0,1\}$/\1/p'; }
follow_advice() {
  local commands
  commands=$(advice)
  PATH=$scripts:$PATH bash -ec "$commands"
}

new_bridge xenbr0 10.0.0.1/24
remember without-guest
check "doctor finds nothing on a host without guests" healthy
"$scripts/xen-network" watch >/run/test/watch </dev/null &
watcher=$!
told() { eventually 20 grep -E "^[0-9:]{8}Z  $1$" /run/test/watch || { cat /run/test/watch; return 1; }; } # LINE

linux_guest web "bridge=xenbr0,vifname=web0,ip=10.0.0.2,mac=00:16:3e:00:00:02" "guest.eth0=10.0.0.2/24 guest.ping0=10.0.0.1"
tiny_guest db "bridge=xenbr0,mac=00:16:3e:00:00:03"
for name in web db; do require "xl create of $name succeeds" create "$name"; done
vif=$(vif_of web)
check "watch tells of the device" told "$vif is new, down, MTU 1500"
check "watch tells of its name" told "$vif is called web0 now"
check "watch tells of its bridge" told "web0 is a port of xenbr0"
check "watch tells of our program's word" told "$vif in XenStore: hotplug-status is connected"
require "the guest pings dom0" guest_said web "10.0.0.1 answers"

# --- what is there -----------------------------------------------------------------------------------------------------------------

see status >/run/test/status
shows() { grep -E "$1" /run/test/status || { cat /run/test/status; return 1; }; } # PATTERN
check "status shows the bridge as ip does" shows "^xenbr0 +bridge, up, MTU $(link_value xenbr0 mtu), $(link_value xenbr0 address), 10\.0\.0\.1/24"
check "status shows the guest as xl does" shows "web0 +up +web \(domain $(xl domid web)\) +$(xl network-list web | awk 'NR == 2 { print $3 }') +10\.0\.0\.2 .*filter ip"
check "status shows the other one, which has no driver" shows "$(vif_of db) +no link +db \(domain ${domain_ids[db]}\) +00:16:3e:00:00:03"
check "status --dot is a graph with both" contains "$(see status --dot | xargs -0 | tr '\n' ' ')" "web0"
check "doctor finds nothing" healthy

# --- what is wrong, and what helps -------------------------------------------------------------------------------------------------

check "explain lets the guest's packet pass" says "Nothing that was looked at drops the packet." explain web0 to=10.0.0.1
check "explain stops one that is not the guest's" says "The packet is dropped" explain web0 from=10.0.0.9 to=10.0.0.1
ip link set web0 down
check "doctor finds a vif that is down" finds vif-down
check "explain names the device" says "web0 is down" explain web0 to=10.0.0.1
check "doctor's advice can be typed" follow_advice
check "and it helps" healthy
check "the guest is there again" answers 10.0.0.2
ip link set web0 nomaster
check "doctor finds a vif without its bridge" finds vif-not-in-bridge
check "doctor's advice can be typed there" follow_advice
check "and it helps there" healthy
nft flush ruleset
check "doctor finds a filter that is gone" finds guest-filter
check "reload puts it back" see reload
check "and doctor is content" healthy

"$scripts/xen-network" guard >/run/test/guard </dev/null &
guard=$!
held() { nft list table bridge xen-guests | grep -F web0; }
nft flush ruleset
check "guard puts it back by itself" eventually 10 held
nft flush ruleset
check "and once more" eventually 10 held
check "guard has said so" eventually 10 grep -F "filter these guests" /run/test/guard
kill "$guard"

# --- what is left over -------------------------------------------------------------------------------------------------------------

wrapper vif-bridge-once <<'WRAPPER'
[ "$1" = offline ] || exec "${0%-once}" "$@"
WRAPPER
linux_guest lost "bridge=xenbr0,ip=10.0.0.4,script=vif-bridge-once"
require "xl create of a guest whose offline never comes succeeds" create lost
xl destroy lost
check "doctor finds what it left" finds orphan-filter
check "gc removes it" says "$(vif_of lost)" gc
check "gc finds no more" says "nothing of ours is left over" gc
rm "$scripts/vif-bridge-once"

for name in web db; do check "xl destroy of $name succeeds" logged "destroy-$name" xl destroy "$name"; done
check "watch tells of the end" told "$vif is gone from XenStore"
kill "$watcher"
check "nothing is left after destroy" unchanged_since without-guest
delete_bridge xenbr0
