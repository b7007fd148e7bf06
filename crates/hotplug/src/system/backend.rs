//! A vif's backend folder in XenStore: read in one go, and told of a failure in one go.

use xenstore::StorePath;

use super::{Cause, System, SystemError};
use crate::apply::{Failure, FailureKind};
use crate::operation::{Operation, StoreEntry};
use crate::request::openvswitch::GuestIdentity;
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

/// An interface that XenStore tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveBackend {
    /// Its folder.
    pub backend: StorePath,
    /// The guest's domain.
    pub domain: u16,
    /// The number of the interface among the guest's.
    pub handle: u32,
    /// The values of [`BACKEND_KEYS`], in their order.
    pub keys: Vec<Option<Vec<u8>>>,
    /// The program that serves it, and perhaps words for it.
    pub script: String,
}

impl System {
    /// Every interface that XenStore tells of, whatever state it is in.
    ///
    /// # Errors
    /// Where there is no store, or it does not answer in time.
    pub fn live_backends(&mut self) -> Result<Vec<LiveBackend>, SystemError> {
        self.read_live_backends().map_err(SystemError::in_act("asking XenStore for the guests' interfaces"))
    }

    fn read_live_backends(&mut self) -> xenstore::Result<Vec<LiveBackend>> {
        let folders = self.list_backends()?;
        let mut paths = vec![];
        for (backend, ..) in &folders {
            for key in BACKEND_KEYS.iter().chain([&"script"]) {
                paths.push(backend.join(key)?);
            }
        }
        let values = self.store()?.read_many(&paths)?;
        let of_each = values.chunks_exact(BACKEND_KEYS.len() + 1);
        let live = folders.into_iter().zip(of_each).filter_map(|((backend, domain, handle), values)| {
            let (script, keys) = values.split_last()?;
            let script = String::from_utf8(script.clone().unwrap_or_default()).ok()?;
            Some(LiveBackend { backend, domain, handle, keys: keys.to_vec(), script })
        });
        Ok(live.collect())
    }

    /// The folders `backend/vif/DOMAIN/HANDLE`; names that are no numbers are passed over.
    fn list_backends(&mut self) -> xenstore::Result<Vec<(StorePath, u16, u32)>> {
        let root = StorePath::parse("backend/vif")?;
        let store = self.store()?;
        let mut folders = vec![];
        for domain in store.list(&root)?.unwrap_or_default() {
            let Ok(number) = domain.parse() else { continue };
            let folder = root.join(&domain)?;
            for handle in store.list(&folder)?.unwrap_or_default() {
                if let Ok(place) = handle.parse() {
                    folders.push((folder.join(&handle)?, number, place));
                }
            }
        }
        Ok(folders)
    }

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

    /// What the toolstack says of a guest: the node `vm` of its domain leads there (libxl_create.c, `libxl__domain_make()`). A driver domain may
    /// not be allowed to read all of it, and what cannot be read is left out.
    pub fn read_guest(&mut self, domain: u16) -> GuestIdentity {
        let folder = self.text(&format!("/local/domain/{domain}/vm")).filter(|folder| folder.starts_with("/vm/"));
        let Some(folder) = folder else { return GuestIdentity::default() };
        GuestIdentity { name: self.text(&format!("{folder}/name")), uuid: self.text(&format!("{folder}/uuid")) }
    }

    /// The text of a node, if it can be had.
    fn text(&mut self, path: &str) -> Option<String> {
        let read = StorePath::parse(path).map_err(xenstore::Error::from).and_then(|path| self.store()?.read(&path));
        let tell = |error: &xenstore::Error| match error {
            xenstore::Error::Refused { .. } => log::debug!("{error}"),
            _ => log::warn!("{error}; going on without it"),
        };
        let value = read.inspect_err(tell).ok()??;
        String::from_utf8(value).ok().filter(|text| !text.is_empty())
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
