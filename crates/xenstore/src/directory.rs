//! Listing a node's children, however many there are.

use crate::client::{Answer, Client, TransactionNumber, present};
use crate::error::{ProtocolError, Refusal, Result};
use crate::path::StorePath;
use crate::wire::{self, Kind};

/// How often a long directory is read again because it changed in between.
const RESTARTS_MAX: u32 = 64;
/// Longest list of names that is believed, in bytes: far beyond any quota, far below what would hurt.
const NAMES_MAX: usize = 16 << 20;

/// One part of a long directory.
struct Part {
    /// The daemon's count of changes to the node.
    generation: String,
    names: Vec<u8>,
    position: Position,
}

#[derive(PartialEq, Eq)]
enum Position {
    Middle,
    Last,
}

pub(crate) fn list(client: &mut Client, transaction: TransactionNumber, path: &StorePath) -> Result<Option<Vec<String>>> {
    let answer = client.ask(transaction, Kind::Directory, path, &[])?;
    names_in(client, transaction, path, answer)
}

/// The names that an answer to a question for a directory holds.
pub(crate) fn names_in(
    client: &mut Client,
    transaction: TransactionNumber,
    path: &StorePath,
    answer: Answer,
) -> Result<Option<Vec<String>>> {
    let payload = match answer {
        Err(Refusal::E2big) => list_in_parts(client, transaction, path)?,
        answer => present(Kind::Directory, path, answer)?,
    };
    let Some(payload) = payload else { return Ok(None) };
    let names = wire::strings(Kind::Directory, &payload)
        .and_then(|names| names.into_iter().map(|name| check_name(name).ok_or(ProtocolError::Payload(Kind::Directory))).collect());
    names.map(Some).map_err(|reason| client.malformed(Kind::Directory, path, reason))
}

/// Reads part after part; starts again when the node's generation shows that it changed in between.
fn list_in_parts(client: &mut Client, transaction: TransactionNumber, path: &StorePath) -> Result<Option<Vec<u8>>> {
    let mut names: Vec<u8> = Vec::new();
    let mut generation = None;
    let mut restarts = 0;
    loop {
        let Some(part) = read_part(client, transaction, path, names.len())? else { return Ok(None) };
        if generation.as_ref().is_some_and(|known| *known != part.generation) {
            restarts += 1;
            if restarts > RESTARTS_MAX {
                return Err(client.malformed(Kind::DirectoryPart, path, ProtocolError::UnsteadyDirectory));
            }
            names.clear();
            generation = None;
            continue;
        }
        let stuck = part.names.is_empty() && part.position == Position::Middle;
        if stuck || names.len() + part.names.len() > NAMES_MAX {
            return Err(client.malformed(Kind::DirectoryPart, path, ProtocolError::EndlessDirectory));
        }
        names.extend(part.names);
        if part.position == Position::Last {
            return Ok(Some(names));
        }
        generation = Some(part.generation);
    }
}

/// Asks for the part that starts `offset` bytes into the list of names.
fn read_part(client: &mut Client, transaction: TransactionNumber, path: &StorePath, offset: usize) -> Result<Option<Part>> {
    let offset = format!("{offset}\0");
    let answer = client.ask(transaction, Kind::DirectoryPart, path, &[offset.as_bytes()])?;
    let Some(payload) = present(Kind::DirectoryPart, path, answer)? else { return Ok(None) };
    match parse_part(&payload) {
        Some(part) => Ok(Some(part)),
        None => Err(client.malformed(Kind::DirectoryPart, path, ProtocolError::Payload(Kind::DirectoryPart))),
    }
}

/// A generation and a NUL, then names each with a NUL; one more NUL after the last name of all.
fn parse_part(payload: &[u8]) -> Option<Part> {
    let end = payload.iter().position(|byte| *byte == 0)?;
    let (generation, names) = (&payload[..end], &payload[end + 1..]);
    let generation = std::str::from_utf8(generation).ok()?.to_owned();
    let (names, position) = match names {
        [] => (names, Position::Middle),
        [0] => (&names[..0], Position::Last),
        [rest @ .., 0, 0] => (&names[..=rest.len()], Position::Last),
        [.., 0] => (names, Position::Middle),
        _ => return None,
    };
    Some(Part { generation, names: names.to_vec(), position })
}

/// A child's name is one name of a path.
fn check_name(name: &str) -> Option<String> {
    let well_formed = StorePath::parse(name).is_ok() && !name.contains('/');
    well_formed.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_end_with_an_empty_name() {
        let part = |payload: &[u8]| parse_part(payload).map(|p| (p.names, p.position == Position::Last));
        assert_eq!(part(b"12\0a\0b\0"), Some((b"a\0b\0".to_vec(), false)));
        assert_eq!(part(b"12\0a\0b\0\0"), Some((b"a\0b\0".to_vec(), true)));
        assert_eq!(part(b"12\0\0"), Some((Vec::new(), true)));
        assert_eq!(part(b"12\0"), Some((Vec::new(), false)));
        assert_eq!(part(b"12\0a"), None);
        assert_eq!(part(b"12"), None);
        assert_eq!(part(b""), None);
    }
}
