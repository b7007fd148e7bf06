//! vif-nat: makes a guest's interface a link of a private network behind this host.
#![no_main]
hotplug::main!(&hotplug::program::VIF_NAT, hotplug::pass::vif_routed::nat);
