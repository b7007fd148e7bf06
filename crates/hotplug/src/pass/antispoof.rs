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
        kept.map_err(|error| {
            Refusal::plain(format!("the network is as asked, but not antispoof= for the guests of {network}: {error}"))
        })?;
    }
    Ok(())
}
