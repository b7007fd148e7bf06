# A newcomer follows the README on a clean dom0 with systemd, word for word: what is typed here stands there, in its blocks of commands. From
# the package to two guests that ping, and back to Xen's scripts.
open_debian
readme=/tests/README.md
# The lines of the first block behind the line that begins so, without the remarks at their ends.
block() { # BEGINNING
  awk -v begin="$1" 'index($0, begin) == 1 { found = 1 } found && /^```/ { if (inside) exit; inside = 1; next } inside' "$readme" |
    sed -E 's/ +#.*$//'
}
line() { sed -n "$1p" <<<"$2"; } # NUMBER LINES
installing=$(block '**Debian** (12 and newer)')
booting=$(block '**At boot.**')
configuration=$(block "In a guest's configuration, for xl:")
stopping=$(grep -om1 'systemctl disable --now xen-network@bridge' "$readme")

# systemd as process 1 of that Debian, with a /run of its own, on this machine's network. Xen's daemons run already, and nobody else is to
# look after devices.
for unit in xen.service xendomains.service systemd-udevd.service getty.target console-getty.service dnsmasq.service networking.service cron.service \
  e2scrub_reap.service; do
  ln -s /dev/null "$debian/etc/systemd/system/$unit"
done
# The index of man pages takes half a minute under emulation.
rm -f "$debian/var/lib/man-db/auto-update"
mount -t tmpfs tmpfs "$debian/run"
for folder in xenstored xen test; do
  mkdir "$debian/run/$folder"
  mount --bind "/run/$folder" "$debian/run/$folder"
done
mkdir -p "$debian/root/sources/dist"
ln -s /packages "$debian/root/sources/dist/packages"
mount -t cgroup2 cgroup2 "$debian/sys/fs/cgroup"
cat >"$debian/root/boot" <<'BOOT'
#!/bin/bash
mount -t proc proc /debian/root/proc
cd /debian/root
mount --move . /
exec chroot . env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --log-target=console --show-status=no
BOOT
unshare --mount --pid --fork --propagation private bash "$debian/root/boot" >/run/test/systemd.log 2>&1 3>&- &
outer=$!
init_of() { pgrep -P "$outer"; }
eventually 20 init_of
init=$(init_of)
# What an administrator types there.
inside() { nsenter --target "$init" --pid --mount --root --wd -- "$@"; }
types() { inside bash -c "cd /root/sources; $1" 2>&1; }
xl() { inside xl "$@"; }
is_booted() {
  local state
  state=$(types 'systemctl is-system-running' || :)
  [[ $state == @(running|degraded) ]] || { echo "$state"; types 'systemctl list-jobs; systemctl --failed' || :; return 1; }
}

before=$(scripts_of_xen)
new_lan
require "the clean Debian boots" eventually 120 is_booted
remember newcomer

require "apt installs the package" types "$(line 2 "$installing")"
check "vif-bridge is ours" equal /usr/lib/xen-network/vif-bridge "$(readlink "$debian/etc/xen/scripts/vif-bridge")"
require "the host's network is configured" types "$(line 1 "$booting")"
require "the host's network is started, and will be at boot" types "$(line 2 "$booting")"
check "eth0 is a bridge now" is_bridge eth0
for number in 1 2; do
  other=$((3 - number))
  linux_guest "guest$number" "" "guest.eth0=192.168.1.10$number/24 guest.ping0=192.168.1.1,192.168.1.10$other"
  sed -i "s/^vif = .*/$(line 1 "$configuration")/" "/run/test/guest$number.cfg"
  require "xl create succeeds for guest $number" create "guest$number"
done
for number in 1 2; do
  check "guest $number pings the LAN's router" guest_said "guest$number" "192.168.1.1 answers"
  check "guest $number pings the other" guest_said "guest$number" "192.168.1.10$((3 - number)) answers"
done
shown=$(types 'xen-network status')
for number in 1 2; do check "status shows guest $number" contains "$shown" "up  guest$number (domain "; done
check "doctor finds nothing wrong" types 'xen-network doctor'

check "guests can be destroyed" logged destroy eval 'xl destroy guest1 && xl destroy guest2'
check "the host's network is stopped, and will not be started at boot" types "$stopping"
check "apt removes the package" types "$(line 3 "$installing") <<<y"
check "Xen's scripts are back, byte for byte" equal "$before" "$(scripts_of_xen)"
check "the host is as before the package" unchanged_since newcomer
check "nothing of ours is left in /run" equal "" "$(find "$debian/run" -xdev -path '*/xen-network*' -type f)"

kill -KILL "$init"
wait "$outer" || :
delete_lan
umount "$debian/sys/fs/cgroup"
close_debian
rm -rf /run/mount # mount(8)'s own notes
