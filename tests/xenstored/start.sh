#!/bin/bash
# start.sh DIR: Debian's own C xenstored (Xen 4.17), on a machine without Xen, serving DIR/socket.
# Prints READY when it answers and serves until its standard input ends, so it cannot outlive who started it.
# Its packages are fetched and unpacked once, into the user's cache; nothing is installed.
set -euo pipefail

here=$(dirname "$(realpath "$0")")
run=$(realpath "$1")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/xen-network-tests/xenstored-4.17
root=$cache/root
packages=(xen-utils-4.17 xenstore-utils libxenmisc4.17 libxenstore4 libxenevtchn1 libxengnttab1 libxencall1
          libxentoolcore1 libxentoollog1 libxenforeignmemory1 libxendevicemodel1)

# Unpack aside and move into place, so that a broken download leaves nothing that looks complete.
fetch() {
  local new
  new=$(mktemp -d "$cache/new.XXXXXX")
  mkdir "$new/debs" "$new/root"
  # _apt, the user apt downloads as, may not write here.
  (cd "$new/debs" && apt-get -qq -o APT::Sandbox::User=root download "${packages[@]}") >&2
  for deb in "$new"/debs/*.deb; do dpkg-deb -x "$deb" "$new/root"; done
  mv "$new/root" "$root"
  rm -r "$new"
}

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
[ -d "$root" ] || fetch
[ "$cache/nohyp.so" -nt "$here/nohyp.c" ] || {
  cc -shared -fPIC -O2 -o "$cache/nohyp.so.new" "$here/nohyp.c"
  mv "$cache/nohyp.so.new" "$cache/nohyp.so"
}
exec 9>&-

libraries=$(echo "$root"/usr/lib/*-linux-gnu)
export LD_LIBRARY_PATH=$libraries XENSTORED_RUNDIR=$run XENSTORED_ROOTDIR=$run XENSTORED_PATH=$run/socket
LD_PRELOAD=$cache/nohyp.so "$root/usr/lib/xen-4.17/bin/xenstored" --no-fork --pid-file "$run/pid" \
  >"$run/log" 2>&1 </dev/null &
daemon=$!
trap 'kill "$daemon" 2>/dev/null || true' EXIT

# Its socket is there a few milliseconds after the start.
for _ in $(seq 500); do
  [ -S "$run/socket" ] && break
  kill -0 "$daemon" 2>/dev/null || { cat "$run/log" >&2; exit 1; }
  sleep 0.01
done
# What xen-init-dom0 writes when a real dom0 boots.
"$root/usr/bin/xenstore-write" domid 0 /local/domain/0/name Domain-0
echo READY
cat >/dev/null
