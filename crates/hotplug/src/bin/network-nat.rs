//! network-nat: lets guests reach the outside with the host's own address.
#![no_main]
hotplug::main!(&hotplug::program::NETWORK_NAT, hotplug::pass::network_nat::pass);
