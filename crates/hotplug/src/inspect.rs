//! Seeing and mending: what xen-network shows of a host.
//!
//! [`crate::system`] looks, once, and gives plain data ([`model`]). Whatever is made of it is a pure function: the tree of `status`
//! ([`tree`], [`dot`]), the checks of `doctor` ([`checks`]), the answers of `explain` ([`explain`]), the plan of `gc` ([`gc`]) and the
//! lines of `watch` ([`watch`]).

pub mod chains;
pub mod checks;
pub mod dot;
pub mod explain;
pub mod finding;
pub mod gc;
pub mod guard;
pub mod model;
pub mod paint;
pub mod prescription;
pub mod toolstack;
pub mod tree;
pub mod watch;
