//! xen-network: shows a host's bridges, guests' interfaces and what is wrong with them, and mends what can be mended.
#![no_main]
hotplug::main!(&hotplug::program::XEN_NETWORK, hotplug::pass::xen_network::pass);
