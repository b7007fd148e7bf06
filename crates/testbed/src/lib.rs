//! For tests and the demo: hosts made of namespaces, guests made of veth pairs, and a XenStore of their own.

pub mod machine;
pub mod probe;
pub mod state;
