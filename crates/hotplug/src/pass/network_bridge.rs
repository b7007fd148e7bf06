//! One pass of network-bridge.
