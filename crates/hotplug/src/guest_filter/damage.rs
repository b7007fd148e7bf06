//! What somebody else has done to the guest filter's tables.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is wrong with a table of ours: guests are not held to what they should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Damage {
    /// The table, as nft calls it: `bridge xen-guests`.
    pub table: String,
    /// What is wrong with it.
    pub what: Wrong,
}

impl Damage {
    /// Whether packets meet other rules than ours, or none; not only other elements.
    #[must_use]
    pub const fn is_of_rules(&self) -> bool {
        !matches!(self.what, Wrong::Elements(_))
    }
}

/// What can be wrong with a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Wrong {
    /// It is gone, and guests need it.
    Missing,
    /// It sees no packets (nft's flag `dormant`).
    Asleep,
    /// Its chains or rules are not those that we made.
    Rules,
    /// So are those of one chain.
    Chain(String),
    /// A set lacks elements of a guest's, or has some that are no guest's.
    Elements(String),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, what } = self;
        match what {
            Wrong::Missing => write!(f, "the table {table} is gone"),
            Wrong::Asleep => write!(f, "the table {table} sees no packets (flags dormant)"),
            Wrong::Rules => write!(f, "chains or rules of the table {table} are missing or have been changed"),
            Wrong::Chain(chain) => write!(f, "the chain {chain} of the table {table} is not as it was made"),
            Wrong::Elements(set) => write!(f, "elements of the set {set} of the table {table} are missing or too many"),
        }
    }
}
