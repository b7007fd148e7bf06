//! A vif's backend folder in XenStore: read in one go, and told of a failure in one go.

use xenstore::StorePath;

use super::{Cause, System, SystemError};
use crate::apply::{Failure, FailureKind};
use crate::operation::{Operation, StoreEntry};
use crate::request::vif::BACKEND_KEYS;

/// What XenStore says of a vif.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendValues {
    /// The values of [`BACKEND_KEYS`], in their order; absent keys have none.
    pub keys: Vec<Option<Vec<u8>>>,
    /// Whether the toolstack calls the hotplug programs itself, so that a call by udev is one too many (libxl, `DISABLE_UDEV_PATH`).
    pub udev_disabled: bool,
}

/// The key whose existence tells udev's calls to do nothing, relative to the own domain.
const DISABLE_UDEV: &str = "libxl/disable_udev";

impl System {
    /// Reads what matters of a backend's folder, in one round trip.
    ///
    /// # Errors
    /// Where there is no store, or it does not answer in time.
    pub fn read_backend(&mut self, backend: &StorePath) -> Result<BackendValues, SystemError> {
        let failed = |error: xenstore::Error| SystemError::in_act("asking XenStore for the interface's settings")(error);
        let paths = BACKEND_KEYS
            .iter()
            .map(|key| backend.join(key))
            .chain(std::iter::once(StorePath::parse(DISABLE_UDEV)))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| failed(error.into()))?;
        let mut keys = self.store().and_then(|store| store.read_many(&paths)).map_err(failed)?;
        let udev_disabled = keys.pop().flatten().is_some();
        Ok(BackendValues { keys, udev_disabled })
    }

    /// Writes `entries` at once, but only where `folder` still exists.
    ///
    /// # Errors
    /// [`FailureKind::Absent`] when the folder is gone; any other when the store refuses or does not answer.
    pub fn write_if_there(&mut self, folder: &StorePath, entries: &[StoreEntry]) -> Result<(), Failure> {
        let act = Operation::WriteStore(entries.to_vec());
        let written = self.store().and_then(|store| {
            store.transaction(|transaction| {
                if transaction.read(folder)?.is_none() {
                    return Ok(Written::FolderGone);
                }
                for entry in entries {
                    transaction.write(&StorePath::parse(&entry.path)?, entry.value.as_bytes())?;
                }
                Ok(Written::All)
            })
        });
        match written {
            Ok(Written::All) => Ok(()),
            Ok(Written::FolderGone) => Err(Failure::new(&act, "the backend's folder is gone", FailureKind::Absent)),
            Err(error) => {
                let cause = Cause::other(error);
                Err(Failure::new(&act, cause.words, cause.kind))
            }
        }
    }
}

/// How a conditional write went.
enum Written {
    /// Every key is written.
    All,
    /// There was nothing to write to.
    FolderGone,
}
