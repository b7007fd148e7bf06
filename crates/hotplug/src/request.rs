//! What is asked, in types: past this door there are no bare words.

pub mod antispoof;
pub mod bridge_port;
pub mod network;
pub mod network_bridge;
pub mod network_nat;
pub mod network_route;
pub mod openvswitch;
pub mod routed;
pub mod vif;
