//! What `scripts/bench` measures, and how it shows it.
//!
//! A figure on its own says more about the machine than about the program. So every subject is measured beside a peer, in the
//! same run and in turns, and judged by the ratio of the two.

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Enough to see whether something is badly wrong.
    Short,
    /// All of it.
    Whole,
}

impl Extent {
    /// A third of `rounds`, or all of them.
    #[must_use]
    pub fn of(self, rounds: usize) -> usize {
        match self {
            Self::Short => rounds.div_ceil(3),
            Self::Whole => rounds,
        }
    }
}

pub mod growth;
pub mod lane;
pub mod outage;
pub mod packets;
pub mod plot;
pub mod process;
pub mod reload;
pub mod report;
pub mod statistics;
pub mod status;
pub mod storm;
pub mod throughput;
pub mod vif;
