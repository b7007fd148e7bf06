//! vif-route: makes a guest's interface a link of its own, with routes.
#![no_main]
hotplug::main!(&hotplug::program::VIF_ROUTE, hotplug::pass::vif_routed::route);
