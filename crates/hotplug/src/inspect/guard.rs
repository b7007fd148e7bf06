//! `guard`: which changes of the packet filter call for a look at our rules.

use nftables::{Change, Commit, What};

use crate::program::PROGRAMS;
use crate::{firewall, guest_filter};

/// How much a change of the packet filter is our concern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Concern {
    /// Not at all.
    None,
    /// A rule that is gone from a chain of somebody else's may have been ours, and a new chain may drop what guests send.
    Perhaps,
    /// Somebody has been at our own tables.
    Ours,
}

/// How much a commit is our concern. Our own programs know what they do.
#[must_use]
pub fn concern(commit: &Commit) -> Concern {
    if PROGRAMS.iter().any(|program| program.name == commit.process) {
        return Concern::None;
    }
    commit.changes.iter().map(concern_of_change).max().unwrap_or(Concern::None)
}

fn concern_of_change(change: &Change) -> Concern {
    match change.what {
        _ if [firewall::TABLE, guest_filter::ruleset::TABLE].contains(&change.table.as_str()) => Concern::Ours,
        What::BaseChain | What::RuleGone => Concern::Perhaps,
        What::Other => Concern::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(process: &str, changes: &[(&str, What)]) -> Commit {
        let change = |(table, what): &(&str, What)| Change { family: None, table: (*table).to_owned(), what: *what };
        Commit { process: process.to_owned(), changes: changes.iter().map(change).collect() }
    }

    #[test]
    fn others_rules_do_not_concern_us_unless_one_of_ours_may_have_been_among_them() {
        for (changes, expected) in [
            (vec![], Concern::None),
            (vec![("filter", What::Other)], Concern::None),
            (vec![("filter", What::Other), ("filter", What::RuleGone)], Concern::Perhaps),
            (vec![("firewalld", What::BaseChain)], Concern::Perhaps),
            (vec![("filter", What::RuleGone), ("xen-guests", What::Other)], Concern::Ours),
            (vec![("xen-network", What::RuleGone)], Concern::Ours),
        ] {
            assert_eq!(concern(&commit("nft", &changes)), expected, "{changes:?}");
        }
    }

    #[test]
    fn our_own_programs_are_left_alone() {
        for program in PROGRAMS {
            assert_eq!(concern(&commit(program.name, &[("xen-guests", What::Other)])), Concern::None);
        }
    }
}
