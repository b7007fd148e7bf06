//! Hostile input for everything that reads what comes from outside: one target a door.
//!
//! A target takes bytes, hands them to the parsers as they would come, and looks whether what they give keeps its promises. `scripts/fuzz`
//! lets LLVM's libFuzzer find the bytes, led by which code they reach; the folder `corpus` has good and bad input to begin with, and what
//! was found at fault once. The tests of this crate read all of it again, with the usual compiler.

// A fault is to end the target, loudly.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod targets;

/// A door, and what knocks at it.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which is that of its folder in the corpus.
    pub name: &'static str,
    /// Tries one input.
    pub read: fn(&[u8]),
}

/// Every door.
pub const TARGETS: [Target; 9] = [
    Target { name: "words", read: targets::words::read },
    Target { name: "store-values", read: targets::store_values::read },
    Target { name: "xenstore-client", read: targets::xenstore::client },
    Target { name: "xenstore-server", read: targets::xenstore::server },
    Target { name: "rtnetlink", read: targets::netlink::rtnetlink },
    Target { name: "nftables", read: targets::netlink::nftables },
    Target { name: "ovsdb", read: targets::ovsdb::read },
    Target { name: "dhcp-files", read: targets::files::dhcp },
    Target { name: "own-and-other-files", read: targets::files::own_and_others },
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}
