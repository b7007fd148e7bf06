//! The checks of `doctor`, in the order in which they are told.

mod bridges;
mod guests;
mod kernel;
mod leftovers;
mod routing;
mod toolstack;

use super::finding::{Check, Checked};
use super::model::Examined;

/// Every check, area by area.
pub fn all() -> impl Iterator<Item = &'static Check> {
    [kernel::CHECKS, toolstack::CHECKS, bridges::CHECKS, routing::CHECKS, guests::CHECKS, leftovers::CHECKS].into_iter().flatten()
}

/// Makes every check.
#[must_use]
pub fn run(examined: &Examined) -> Vec<Checked> {
    all().map(|check| Checked { check, answer: (check.look)(examined) }).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_check_has_a_name_of_its_own() {
        let ids: BTreeSet<_> = all().map(|check| check.id).collect();
        assert_eq!(ids.len(), all().count());
        assert!(ids.len() >= 22, "{}", ids.len());
        for check in all() {
            assert!(
                check.id.0.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
                "{}",
                check.id
            );
            assert!(!check.good.ends_with('.') && !check.good.is_empty(), "{}", check.good);
        }
    }
}
