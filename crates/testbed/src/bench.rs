//! What `scripts/bench` measures, and how it shows it.
//!
//! A figure on its own says more about the machine than about the program. So every subject is measured beside a peer, in the
//! same run and in turns, and judged by the ratio of the two.

pub mod growth;
pub mod lane;
pub mod outage;
pub mod packets;
pub mod plot;
pub mod process;
pub mod report;
pub mod statistics;
pub mod storm;
pub mod throughput;
pub mod vif;
