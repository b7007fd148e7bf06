//! network-bridge: turns a physical device into the port of a bridge that takes its place.
fn main() -> std::process::ExitCode {
    hotplug::pass::run(&hotplug::program::NETWORK_BRIDGE, hotplug::pass::network_bridge::pass)
}
