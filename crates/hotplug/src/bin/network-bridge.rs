//! network-bridge: turns a physical device into the port of a bridge that takes its place.
#![no_main]
hotplug::main!(&hotplug::program::NETWORK_BRIDGE, hotplug::pass::network_bridge::pass);
