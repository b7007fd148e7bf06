//! A small synchronous client for Open vSwitch's database: JSON-RPC over a unix socket (RFC 7047).
//!
//! One budget of time holds for all that is asked; every reply is hostile until parsed. Only what a program needs that adds a port and
//! takes it away is here: transactions, no monitors.

mod client;
mod error;
mod operation;
mod row;
mod socket;

pub use client::Client;
pub use error::{Error, Refusal, Result};
pub use operation::{Condition, Mutation, Operation, Value};
pub use row::{Answer, Row};
