//! The doors, one file for those of a kind.

pub(crate) mod files;
pub(crate) mod netlink;
pub(crate) mod ovsdb;
pub(crate) mod store_values;
pub(crate) mod words;
pub(crate) mod xenstore;

use ::hotplug::plan::Refusal;

/// The first byte, which chooses, and the rest.
fn chosen(input: &[u8]) -> Option<(usize, &[u8])> {
    input.split_first().map(|(choice, rest)| (usize::from(*choice), rest))
}

/// A refusal is one sentence, short enough to be read, without anything that moves a terminal's cursor.
fn check_sentence(refusal: &Refusal) {
    for sentence in [&refusal.reason, &refusal.for_guest] {
        assert!(!sentence.is_empty() && sentence.chars().count() < 1000, "{} characters: {sentence:?}", sentence.len());
        assert!(!sentence.contains(char::is_control), "{sentence:?}");
    }
}
