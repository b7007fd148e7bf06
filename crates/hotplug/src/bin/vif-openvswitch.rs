//! vif-openvswitch: makes a guest's interface a port of an Open vSwitch bridge.
#![no_main]
hotplug::main!(&hotplug::program::VIF_OPENVSWITCH, hotplug::pass::vif_openvswitch::pass);
