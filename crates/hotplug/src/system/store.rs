//! XenStore: a connection that is opened when first needed.
//!
//! Each act has its own budget of time: hooks and waits between two acts may take longer than all of it.

use xenstore::{Client, DEFAULT_LIMIT, Result, StorePath};

use super::patience::within;
use crate::operation::StoreEntry;

/// The connection to XenStore.
#[derive(Default)]
pub(super) struct Store(Option<Client>);

impl From<Client> for Store {
    fn from(client: Client) -> Self {
        Self(Some(client))
    }
}

fn on_the_wire(entry: &StoreEntry) -> Result<(StorePath, Vec<u8>)> {
    Ok((StorePath::parse(&entry.path)?, entry.value.clone().into_bytes()))
}

impl Store {
    /// The client, connected now if it was not, or if that connection has failed: the daemon may have been started anew, and whoever waits
    /// for us is to hear how it went.
    pub fn client(&mut self) -> Result<&mut Client> {
        if self.0.as_ref().is_some_and(|client| !client.is_usable()) {
            self.0 = None;
        }
        match &mut self.0 {
            Some(client) => Ok(client),
            empty => Ok(empty.insert(Client::connect(within(DEFAULT_LIMIT))?)),
        }
    }

    /// Writes keys that others see all at once.
    pub fn write(&mut self, entries: &[StoreEntry]) -> Result<()> {
        let values = entries.iter().map(on_the_wire).collect::<Result<Vec<_>>>()?;
        let client = self.client()?;
        client.renew(within(DEFAULT_LIMIT));
        match values.as_slice() {
            [] => Ok(()),
            [(path, value)] => client.write(path, value),
            several => client.transaction(|transaction| transaction.write_many(several)),
        }
    }

    /// Writes `courtesy` and then `needed`, in one round trip. A refusal of the first is passed over.
    pub fn connect(&mut self, courtesy: Option<&StoreEntry>, needed: &StoreEntry) -> Result<()> {
        let needed = on_the_wire(needed)?;
        let client = self.client()?;
        client.renew(within(DEFAULT_LIMIT));
        let Some(courtesy) = courtesy else { return client.write(&needed.0, &needed.1) };
        match client.write_many(&[on_the_wire(courtesy)?, needed.clone()]) {
            // One of the two was refused; which one does not matter, if the other is written now.
            Err(error @ xenstore::Error::Refused { .. }) => {
                log::debug!("{error}");
                client.write(&needed.0, &needed.1)
            }
            result => result,
        }
    }

    /// Removes a key.
    pub fn remove(&mut self, path: &str) -> Result<xenstore::Removal> {
        let path = StorePath::parse(path)?;
        let client = self.client()?;
        client.renew(within(DEFAULT_LIMIT));
        client.remove(&path)
    }
}
