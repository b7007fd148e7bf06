//! Several operations as one.

use crate::client::{Client, NO_TRANSACTION, Removal, TransactionNumber};
use crate::directory;
use crate::error::{Error, Refusal, Result};
use crate::path::StorePath;
use crate::wire::{self, Kind};

/// How often a transaction is tried. Others' changes make one attempt in a few fail, even with many busy guests.
const ATTEMPTS_MAX: u32 = 256;

/// The operations inside a transaction: they see the store as it is with the transaction's own changes.
#[derive(Debug)]
pub struct Transaction<'a> {
    client: &'a mut Client,
    number: TransactionNumber,
}

impl Transaction<'_> {
    /// As [`Client::read`].
    ///
    /// # Errors
    /// See [`Error`].
    pub fn read(&mut self, path: &StorePath) -> Result<Option<Vec<u8>>> {
        self.client.read_in(self.number, path)
    }

    /// As [`Client::read_many`].
    ///
    /// # Errors
    /// See [`Error`].
    pub fn read_many(&mut self, paths: &[StorePath]) -> Result<Vec<Option<Vec<u8>>>> {
        self.client.read_many_in(self.number, paths)
    }

    /// As [`Client::write`].
    ///
    /// # Errors
    /// See [`Error`].
    pub fn write(&mut self, path: &StorePath, value: &[u8]) -> Result<()> {
        self.client.write_in(self.number, path, value)
    }

    /// As [`Client::write_many`].
    ///
    /// # Errors
    /// See [`Error`].
    pub fn write_many(&mut self, values: &[(StorePath, Vec<u8>)]) -> Result<()> {
        self.client.write_many_in(self.number, values)
    }

    /// As [`Client::make_directory`].
    ///
    /// # Errors
    /// See [`Error`].
    pub fn make_directory(&mut self, path: &StorePath) -> Result<()> {
        self.client.make_directory_in(self.number, path)
    }

    /// As [`Client::remove`].
    ///
    /// # Errors
    /// See [`Error`].
    pub fn remove(&mut self, path: &StorePath) -> Result<Removal> {
        self.client.remove_in(self.number, path)
    }

    /// As [`Client::list`].
    ///
    /// # Errors
    /// See [`Error`].
    pub fn list(&mut self, path: &StorePath) -> Result<Option<Vec<String>>> {
        directory::list(self.client, self.number, path)
    }
}

/// How to end a transaction.
#[derive(Clone, Copy)]
enum End {
    Commit,
    Abort,
}

pub(crate) fn run<T>(client: &mut Client, mut body: impl FnMut(&mut Transaction<'_>) -> Result<T>) -> Result<T> {
    for _ in 0..ATTEMPTS_MAX {
        let number = start(client)?;
        match body(&mut Transaction { client, number }) {
            Ok(outcome) => match end(client, number, End::Commit) {
                Ok(()) => return Ok(outcome),
                Err(Error::Refused { refusal: Refusal::Eagain, .. }) => {}
                Err(error) => return Err(error),
            },
            Err(error) => {
                // What failed first is what the caller wants to know; a lost connection ends the transaction by itself.
                let _ = end(client, number, End::Abort);
                return Err(error);
            }
        }
    }
    Err(Error::Conflict { attempts: ATTEMPTS_MAX })
}

fn start(client: &mut Client) -> Result<TransactionNumber> {
    let payload = client.exchange(Kind::TransactionStart, NO_TRANSACTION, b"\0")?;
    let number = wire::strings(Kind::TransactionStart, &payload).ok().and_then(|fields| match fields[..] {
        [number] => number.parse().ok().filter(|number| *number != NO_TRANSACTION),
        _ => None,
    });
    number.ok_or_else(|| client.malformed_answer(Kind::TransactionStart))
}

fn end(client: &mut Client, number: TransactionNumber, how: End) -> Result<()> {
    let payload: &[u8] = match how {
        End::Commit => b"T\0",
        End::Abort => b"F\0",
    };
    client.exchange(Kind::TransactionEnd, number, payload).map(|_| ())
}
