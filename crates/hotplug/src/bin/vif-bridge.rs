//! vif-bridge: makes a guest's interface a port of a bridge.
fn main() -> std::process::ExitCode {
    hotplug::pass::run(&hotplug::program::VIF_BRIDGE, hotplug::pass::vif_bridge::pass)
}
