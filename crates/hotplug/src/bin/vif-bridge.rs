//! vif-bridge: makes a guest's interface a port of a bridge.
#![no_main]
hotplug::main!(&hotplug::program::VIF_BRIDGE, hotplug::pass::vif_bridge::pass);
