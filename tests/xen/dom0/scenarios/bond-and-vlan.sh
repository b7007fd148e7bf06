# network-bridge with the kinds of device that a build machine's kernel may lack: a bond, a VLAN, a dummy.
# Also shows on which side of the rename rule this kernel is: both must be covered by the two versions of dom0.
modprobe -a bonding 8021q dummy

ip link add probe type dummy
ip link set probe up
case $(uname -r) in
6.1.*) check "this kernel refuses to rename a device that is up" not ip link set probe name renamed ;;
*) check "this kernel renames a device that is up" ip link set probe name renamed ;;
esac
ip link delete probe 2>/dev/null || ip link delete renamed

start_and_stop() { # NETDEV ADDRESS
  local device=$1 address=$2
  ip address add "$address" dev "$device"
  ip route add 10.90.0.0/16 via "${address%.*}.254" dev "$device" metric 70
  remember "before-$device"
  passes "start on $device succeeds" logged "start-$device" "$scripts/network-bridge" start "netdev=$device" || return 0
  check "$device is a bridge" is_bridge "$device"
  check "p$device is its port" is_port "p$device" "$device"
  check "p$device is up" link_is_up "p$device"
  check "$device has the address" contains "$(ip -o address show dev "$device")" "$address"
  check "$device has the route" contains "$(ip route show 10.90.0.0/16)" "dev $device metric 70"
  check "stop on $device succeeds" logged "stop-$device" "$scripts/network-bridge" stop "netdev=$device"
  check "$device is as before" unchanged_since "before-$device"
}

ip link add dummy7 type dummy
ip link set dummy7 up
start_and_stop dummy7 10.81.0.1/24
ip link delete dummy7

# The far ends make the carrier.
ip link add eth1 type veth peer name far1
ip link add eth2 type veth peer name far2
ip link set far1 up
ip link set far2 up
ip link add bond0 type bond mode active-backup miimon 100
ip link set eth1 master bond0
ip link set eth2 master bond0
ip link set bond0 up
start_and_stop bond0 10.82.0.1/24
check "the bond has both its devices" equal 2 "$(guest_ports_of bond0)"
ip link delete bond0

ip link set eth1 up
ip link add link eth1 name eth1.100 type vlan id 100
ip link set eth1.100 up
start_and_stop eth1.100 10.83.0.1/24
ip link delete eth1.100
ip link delete eth1
ip link delete eth2
