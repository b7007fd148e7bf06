//! For tests, the demo and the bench: hosts made of namespaces, guests made of veth pairs, and a XenStore of their own.

pub mod advertisement;
pub mod bench;
pub mod firewalld;
pub mod follow;
pub mod frame;
pub mod guest;
pub mod interleave;
pub mod kill;
pub mod lacking;
pub mod machine;
pub mod openvswitch;
pub mod originals;
pub mod ovn;
pub mod probe;
pub mod recording;
pub mod refuse;
pub mod state;
pub mod talk;
pub mod wire;
pub mod xenstore_conformance;
pub mod xenstore_server;
