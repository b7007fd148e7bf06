//! A client for XenStore, the small database through which Xen's toolstack and its drivers talk.
//!
//! The client speaks the wire protocol of Xen's `xen/include/public/io/xs_wire.h` and `docs/misc/xenstore.txt`, to the
//! daemon's socket or, in a driver domain, to the kernel's `/dev/xen/xenbus`. It is synchronous, starts no thread, and
//! bounds every wait: one budget of time is given when connecting and holds for all that follows.
//!
//! ```no_run
//! use xenstore::{Client, DEFAULT_LIMIT, StorePath};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut store = Client::connect(DEFAULT_LIMIT)?;
//! let vif = StorePath::parse("backend/vif/3/0")?;
//! let values = store.read_many(&[vif.join("bridge")?, vif.join("mac")?])?;
//! store.write(&vif.join("hotplug-status")?, b"connected")?;
//! # Ok(())
//! # }
//! ```

mod client;
mod directory;
mod endpoint;
mod error;
mod event;
mod link;
mod path;
mod permission;
mod transaction;
pub mod wire;

pub use client::{Client, DEFAULT_LIMIT, Removal};
pub use endpoint::{Endpoint, Environment, Medium};
pub use error::{Act, Error, ProtocolError, Refusal, Result};
pub use event::{Event, Token, TokenError};
pub use path::{PathError, StorePath};
pub use permission::{Access, DomainId, Permission};
pub use transaction::Transaction;
