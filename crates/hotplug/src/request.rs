//! What is asked, in types: past this door there are no bare words.

pub mod network_bridge;
pub mod vif;
