//! The word for all guests of a network, which the network's program leaves for the vif programs.

use crate::plan::Refusal;
use crate::report::Trouble;
use crate::request::antispoof::AntiSpoof;
use crate::system::state::RunDirectory;

/// Leaves `word` for the guests of `networks`, or takes back what an earlier start has left.
///
/// # Errors
/// When it cannot be written: guests that come would not be held to it.
pub(super) fn keep<'a>(
    folder: &RunDirectory,
    networks: impl IntoIterator<Item = &'a str>,
    word: Option<AntiSpoof>,
) -> Result<(), Trouble> {
    for network in networks {
        let name = AntiSpoof::file_name(network);
        let kept = match word {
            Some(word) => folder.write_state(&name, word.word()),
            None => folder.remove_state(&name),
        };
        kept.map_err(|error| Refusal::plain(format!("antispoof= for the guests of {network} cannot be kept: {error}")))?;
    }
    Ok(())
}

/// Takes back the word for the guests of `networks`, which are gone. One that stays only holds guests of a later network of that name to
/// more, so it is no reason to fail.
pub(super) fn forget<'a>(folder: &RunDirectory, networks: impl IntoIterator<Item = &'a str>) {
    for network in networks {
        if let Err(trouble) = keep(folder, [network], None) {
            log::warn!("{trouble}");
        }
    }
}

/// Leaves `word` for the guests of `networks` before `start` makes the network, so that none comes to it unfiltered, even if the start is
/// killed behind it. Where it fails, the words are as before.
///
/// # Errors
/// As for [`keep`], and those of `start`.
pub(super) fn keep_before<T>(
    folder: &RunDirectory,
    networks: &[&str],
    word: Option<AntiSpoof>,
    start: impl FnOnce() -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    let read = |network: &&str| folder.read_state(&AntiSpoof::file_name(network)).ok().flatten();
    let before: Vec<Option<String>> = networks.iter().map(read).collect();
    keep(folder, networks.iter().copied(), word).and_then(|()| start()).inspect_err(|_| {
        for (network, old) in networks.iter().zip(before) {
            let old = old.and_then(|text| AntiSpoof::parse(Some(text.trim())).ok().flatten());
            if let Err(error) = keep(folder, [*network], old) {
                log::warn!("{error}");
            }
        }
    })
}
