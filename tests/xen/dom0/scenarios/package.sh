# The Debian package on a clean Debian, beside Xen's own scripts: installed, upgraded, at work with a script of somebody else's, and removed;
# then a guest pings by Xen's script. Guests that ping by our programs are in the scenario readme.
open_debian

inside() { chroot "$debian" "$@"; }
xl() { inside xl "$@"; }

before=$(scripts_of_xen)
require "the clean Debian has Xen's scripts" test -f "$debian/etc/xen/scripts/vif-bridge"
new_lan
remember clean

require "the package installs" inside sh -c 'dpkg --install /packages/xen-network_*.deb'
check "vif-bridge is ours" equal /usr/lib/xen-network/vif-bridge "$(readlink "$debian/etc/xen/scripts/vif-bridge")"
check "Xen's own is beside it" test -f "$debian/etc/xen/scripts/vif-bridge.distrib"

check "systemd finds nothing wrong with the units" equal "" \
  "$(inside systemd-analyze verify xen-network@{bridge,nat,route}.service xen-network-reload.service xen-network-guard.service 2>&1)"
rm -r /run/systemd # the verifier's own record

# A newer version comes, with another nat.conf of its own.
echo 'dhcp=yes # mine' >"$debian/etc/xen/network.d/nat.conf"
require "an upgrade succeeds" inside dpkg --install --force-confdef --force-confold /packages/newer/xen-network.deb
check "the newer version is there" equal 99 "$(inside dpkg-query --show --showformat='${Version}' xen-network)"
check "the configuration is kept" equal 'dhcp=yes # mine' "$(<"$debian/etc/xen/network.d/nat.conf")"
check "vif-bridge is ours still" equal /usr/lib/xen-network/vif-bridge "$(readlink "$debian/etc/xen/scripts/vif-bridge")"

require "network-bridge start succeeds" inside network-bridge start
check "eth0 is a bridge now" is_bridge eth0

# A script of somebody else's, built on Xen's library of shell functions.
cat >"$debian/etc/xen/scripts/vif-mine" <<'SCRIPT'
#!/bin/bash
dir=$(dirname "$0")
. "$dir/vif-common.sh"
case $command in
online)
  ip link set "$dev" up
  success
  ;;
esac
SCRIPT
chmod 755 "$debian/etc/xen/scripts/vif-mine"
tiny_guest third "script=vif-mine"
check "a script that sources vif-common.sh still works" create third
check "it has said so" store_is "$(backend_of third)/hotplug-status" connected

check "it can be destroyed" logged destroy xl destroy third
rm "$debian/etc/xen/scripts/vif-mine"
check "network-bridge stop succeeds" inside network-bridge stop
check "the host is as before the package" unchanged_since clean

require "the package can be removed" inside dpkg --purge xen-network
check "Xen's scripts are back, byte for byte" equal "$before" "$(scripts_of_xen)"
delete_lan

new_bridge xenbr0 10.0.0.1/24
remember back
linux_guest web "bridge=xenbr0" "guest.eth0=10.0.0.2/24 guest.ping0=10.0.0.1"
require "xl create succeeds with Xen's script" create web
check "the guest pings dom0" guest_said web "10.0.0.1 answers"
check "it can be destroyed" logged destroy xl destroy web
check "nothing is left of it" unchanged_since back
delete_bridge xenbr0

close_debian
