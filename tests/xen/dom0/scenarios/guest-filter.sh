# A guest that lies: it takes addresses that are not its own, by ARP, IPv4, IPv6 and Ethernet. Its neighbour on the bridge counts what it
# sees of them: everything of a guest without `ip=`, nothing of one with it, whose honest packets pass before and after.
new_bridge xenbr0 10.0.0.254/24
ip netns add neighbour
ip link add neighbour0 type veth peer name port netns neighbour
ip -n neighbour -batch - <<<"link set port addrgenmode none up
  address add 10.0.0.1/24 dev port
  address add 2001:db8::1/64 dev port nodad"
ip link set neighbour0 addrgenmode none master xenbr0 up
remember without-guest

# The guest's own init, in front of which the kernel unpacks the usual one's files.
liar=/run/test/liar
mkdir -p "$liar"
cat >"$liar/init" <<'INIT'
#!/bin/sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
insmod /xen-netfront.ko
until [ -e /sys/class/net/eth0 ]; do sleep 0.2; done
honest() { # WHEN
  tries=0
  until ping -c 1 -W 1 -I 10.0.0.2 10.0.0.1 >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 60 ] || { echo "guest: is not heard $1"; return; }
  done
  echo "guest: is heard $1"
}
ip address add 10.0.0.2/24 dev eth0
ip link set eth0 up
honest before
ip address add 10.0.0.77/24 dev eth0
ip address add 2001:db8::77/64 dev eth0
arping -U -c 1 -I eth0 -s 10.0.0.77 10.0.0.77 >/dev/null 2>&1
ping -c 1 -W 1 -I 10.0.0.77 10.0.0.1 >/dev/null 2>&1
# The neighbour is known, so that the packet itself goes out.
ip neigh replace 10.0.0.1 lladdr NEIGHBOUR dev eth0
ip neigh replace 2001:db8::1 lladdr NEIGHBOUR dev eth0
ping -c 1 -W 1 -I 10.0.0.77 10.0.0.1 >/dev/null 2>&1
ping -6 -c 1 -W 1 -I 2001:db8::77 2001:db8::1 >/dev/null 2>&1
# A card that is up keeps its address.
become() { ip link set eth0 down; ip link set eth0 address "$1"; ip link set eth0 up; }
mac=$(cat /sys/class/net/eth0/address)
become 00:16:3e:00:00:77
ping -c 1 -W 1 -I 10.0.0.2 10.0.0.1 >/dev/null 2>&1
become "$mac"
echo "guest: has lied"
honest after
while :; do sleep 1; done
INIT
sed -i "s/NEIGHBOUR/$(ip netns exec neighbour cat /sys/class/net/port/address)/" "$liar/init"
chmod +x "$liar/init"
{ cat /guest/linux.cpio; (cd "$liar" && echo init | busybox cpio -o -H newc 2>/dev/null); } >/run/test/liar.cpio

watch_for_lies() {
  ip netns exec neighbour nft -f - <<<"table netdev watch
    delete table netdev watch
    table netdev watch { chain ingress { type filter hook ingress device port priority 0
      ether saddr 00:16:3e:00:00:77 counter comment \"mac\"
      arp saddr ip 10.0.0.77 counter comment \"arp\"
      ip saddr 10.0.0.77 counter comment \"ipv4\"
      ip6 saddr 2001:db8::77 counter comment \"ipv6\"
    }; }"
}
lies() { ip netns exec neighbour nft list table netdev watch | grep counter; }
seen() { lies | grep -E "packets [1-9].*\"$1\""; } # KIND
unseen() { lies | grep -F 'packets 0 ' | grep -F "\"$1\""; } # KIND

liar() { # NAME VIF
  linux_guest "$1" "$2"
  sed -i 's,/guest/linux.cpio,/run/test/liar.cpio,' "/run/test/$1.cfg"
  watch_for_lies
  require "xl create of $1 succeeds" create "$1"
  check "$1 is heard with its own addresses" guest_said "$1" "is heard before"
  require "$1 has lied" guest_said "$1" "has lied"
  check "$1 is heard again" guest_said "$1" "is heard after"
}

liar open "bridge=xenbr0,mac=00:16:3e:00:00:02"
for kind in mac arp ipv4 ipv6; do check "a guest without ip= passes for another by $kind" seen $kind; done
check "xl destroy of open succeeds" logged destroy-open xl destroy open
check "nothing is left of open" unchanged_since without-guest

liar held "bridge=xenbr0,mac=00:16:3e:00:00:02,ip=10.0.0.2"
for kind in mac arp ipv4 ipv6; do check "a guest with ip= does not by $kind" unseen $kind; done
check "the filter names its interface" contains "$(nft list table bridge xen-guests)" "\"$(vif_of held)\""
check "xl destroy of held succeeds" logged destroy-held xl destroy held
check "nothing is left of held, nor of its filter" unchanged_since without-guest

ip link delete neighbour0
ip netns delete neighbour
delete_bridge xenbr0
