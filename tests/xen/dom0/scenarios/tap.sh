# The emulated NIC of an HVM guest: libxl calls the program a second time, `add type_if=tap`, for the tap device vifD.N-emu of its
# device model. No device model runs here; the tap device and the store entry are made by hand.
modprobe tun
new_bridge xenbr0 10.0.0.1/24
ip link set xenbr0 mtu 1400
xenstore-write backend/vif/77/0/bridge xenbr0 backend/vif/77/0/hotplug-status ""
ip tuntap add vif77.0-emu mode tap

check "add succeeds" as_libxl vif-bridge add tap 77 0
check "the tap device is a port of the bridge" is_port vif77.0-emu xenbr0
check "the tap device is up" link_is_up vif77.0-emu
check "the tap device has the MTU of the bridge" equal 1400 "$(link_value vif77.0-emu mtu)"
check "hotplug-status is left to the vif" store_is backend/vif/77/0/hotplug-status ""
check "online is not for a tap device" as_libxl vif-bridge online tap 77 0
check "add is not for a vif" as_libxl vif-bridge add vif 77 0
check "remove succeeds" as_libxl vif-bridge remove tap 77 0
check "the tap device is no port any more" equal 0 "$(guest_ports_of xenbr0)"
ip link delete vif77.0-emu
check "remove succeeds when the device is gone" as_libxl vif-bridge remove tap 77 0

# With a vifname, the tap device gets that name and "-emu".
xenstore-write backend/vif/77/0/vifname web0
ip tuntap add vif77.0-emu mode tap
check "add with a vifname succeeds" as_libxl vif-bridge add tap 77 0
check "the renamed tap device is a port of the bridge" is_port web0-emu xenbr0
check "remove with a vifname succeeds" as_libxl vif-bridge remove tap 77 0
check "the renamed tap device is no port any more" equal 0 "$(guest_ports_of xenbr0)"
ip link delete web0-emu

xenstore-rm -t backend/vif/77 # -t: and the parents, when they are empty
delete_bridge xenbr0
