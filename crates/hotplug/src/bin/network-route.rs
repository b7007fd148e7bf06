//! network-route: makes the host a router for its guests.
#![no_main]
hotplug::main!(&hotplug::program::NETWORK_ROUTE, hotplug::pass::network_route::pass);
