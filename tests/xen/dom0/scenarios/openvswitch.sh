# Open vSwitch with the kernel's own datapath: vif-openvswitch as xl calls it. Guests of one VLAN reach each other, others do not.
database=/run/test/conf.db
mkdir -p /run/openvswitch
modprobe openvswitch
remember without-switch
ovsdb-tool create "$database" /usr/share/openvswitch/vswitch.ovsschema
ovsdb-server "$database" --remote=punix:/run/openvswitch/db.sock --pidfile=/run/test/ovsdb-server.pid --detach --log-file=/run/test/ovsdb-server.log
ovs-vsctl --no-wait init
ovs-vswitchd unix:/run/openvswitch/db.sock --pidfile --detach -vsyslog:off --log-file=/run/test/ovs-vswitchd.log
# dom0 itself is in VLAN 7.
ovs-vsctl --timeout=20 add-br ovsbr0 -- add-port ovsbr0 dom0 tag=7 -- set interface dom0 type=internal
ip link set dom0 addrgenmode none up
ip address add 10.9.0.1/24 dev dom0
require "the switch is the kernel's" contains "$(ovs-appctl dpif/show)" "system@ovs-system"

ports() { ovs-vsctl list-ports ovsbr0 | xargs; }
of_interface() { equal "$3" "$(ovs-vsctl get interface "$(vif_of "$1")" "$2" | tr -d '"')"; } # GUEST KEY VALUE
of_port() { equal "$3" "$(ovs-vsctl get port "$(vif_of "$1")" "$2")"; }                     # GUEST KEY VALUE

linux_guest friend "bridge=ovsbr0.7,script=vif-openvswitch,mac=00:16:3e:00:00:02" "guest.eth0=10.9.0.2/24 guest.ping0=10.9.0.1"
require "xl create of a guest in VLAN 7 succeeds" create friend
check "hotplug-status is connected" store_is "$(backend_of friend)/hotplug-status" connected
check "there is no hotplug-error" not xenstore-exists "$(backend_of friend)/hotplug-error"
check "its port is in VLAN 7" of_port friend tag 7
check "the port says whose it is" of_interface friend external_ids:attached-mac 00:16:3e:00:00:02
check "and names the guest" of_interface friend external_ids:xen-vm-name friend
check "and has the guest's UUID" of_interface friend external_ids:xen-vm-uuid "$(xl domid friend >/dev/null && xenstore-read "/local/domain/${domain_ids[friend]}/vm" | cut -d/ -f3)"
check "the vif is up" link_is_up "$(vif_of friend)"
check "the guest pings dom0" guest_said friend "10.9.0.1 answers"
check "the packets went by the kernel's flows" contains "$(ovs-appctl dpctl/dump-flows)" "in_port("

linux_guest stranger "bridge=ovsbr0.8,script=vif-openvswitch" "guest.eth0=10.9.0.3/24 guest.ping0=10.9.0.1"
require "xl create of a guest in VLAN 8 succeeds" create stranger
require "it is up" guest_said stranger "eth0 is up"
check "dom0, in VLAN 7, does not reach it" not ping -c 1 -W 1 10.9.0.3
xenstore-write "$(backend_of stranger)/bridge" ovsbr0.7
check "online with another VLAN succeeds" as_libxl vif-openvswitch online vif "${domain_ids[stranger]}" 0
check "dom0 reaches it once it is in the same VLAN" answers 10.9.0.3

tiny_guest trunk "bridge=ovsbr0:10:20,script=vif-openvswitch"
require "xl create of a guest with a trunk succeeds" create trunk
check "its port has the VLANs that are named" of_port trunk trunks "[10, 20]"

observer observed
sed -i 's/vif-bridge/vif-openvswitch/' "$scripts/observed"
tiny_guest wrong "bridge=nosuchbr,script=observed"
check "xl create on a missing switch fails" not create wrong
check "the sentence names it" grep -F nosuchbr /run/test/sentence
rm "$scripts/observed"

for name in friend stranger trunk; do check "xl destroy of $name succeeds" logged "destroy-$name" xl destroy "$name"; done
check "no guest's port is left" eventually 10 eval '[ "$(ports)" = dom0 ]'

ovs-vsctl --timeout=20 del-br ovsbr0
end_server /run/openvswitch/ovs-vswitchd.pid
end_server /run/test/ovsdb-server.pid
rm -rf /run/openvswitch
check "the host is as before" unchanged_since without-switch
