//! Our own folder below /run: journals of running changes and records of finished ones.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::unistd::Uid;

use super::file::{draft_of, sweep};

/// The folder of all network namespaces.
const BASE: &str = "/run/xen-network";
/// Most that a record is read of, in bytes. The largest that a program writes holds the routes of a host.
const STATE_MAX: u64 = 64 * 1024 * 1024;

/// A file or folder of ours that cannot be used.
#[derive(Debug)]
pub struct StateError {
    act: &'static str,
    path: PathBuf,
    cause: String,
}

impl StateError {
    pub(super) fn new(act: &'static str, path: &Path, cause: impl fmt::Display) -> Self {
        Self { act, path: path.to_owned(), cause: cause.to_string() }
    }
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.act, self.path.display(), self.cause)
    }
}

impl std::error::Error for StateError {}

/// The folder for the state of one network namespace. Namespaces have devices of the same names, so their state must not mix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDirectory {
    path: PathBuf,
}

/// The folder of the network namespace that this process is in, created where it is missing.
///
/// # Errors
/// When it cannot be created, or when it or its parent is not a folder that only its owner, root or ourselves, can write to.
pub fn run_directory() -> Result<RunDirectory, StateError> {
    RunDirectory::below(Path::new(BASE), namespace_number()?)
}

/// Where state of this name is kept in the network namespace that this process is in, without a look whether its folder is there.
///
/// # Errors
/// When the kernel does not tell which namespace that is.
pub fn state_path(name: &str) -> Result<PathBuf, StateError> {
    Ok(folder_of(Path::new(BASE), namespace_number()?).join(name))
}

fn namespace_number() -> Result<u64, StateError> {
    let namespace = Path::new("/proc/self/ns/net");
    Ok(fs::metadata(namespace).map_err(|error| StateError::new("examine", namespace, error))?.ino())
}

fn folder_of(base: &Path, namespace: u64) -> PathBuf {
    base.join(format!("netns-{namespace}"))
}

/// Removes what killed programs have left half written of the state at `path`.
pub fn sweep_beside(path: &Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else { return };
    sweep(folder, |file| file == name);
}

impl RunDirectory {
    /// The folder below `base` for the network namespace with this inode number.
    ///
    /// # Errors
    /// As for [`run_directory`].
    pub fn below(base: &Path, namespace: u64) -> Result<Self, StateError> {
        own_folder(base, 0o700)?;
        let path = folder_of(base, namespace);
        own_folder(&path, 0o700)?;
        Ok(Self { path })
    }

    /// Removes what killed programs have left half written.
    pub fn sweep(&self) {
        sweep(&self.path, |_| true);
    }

    /// Where the state of this name is kept.
    #[must_use]
    pub fn state_file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The state of this name, if there is any.
    ///
    /// # Errors
    /// When it is there and cannot be read, or is not text.
    pub fn read_state(&self, name: &str) -> Result<Option<String>, StateError> {
        let path = self.state_file(name);
        let failed = |error: io::Error| StateError::new("read", &path, error);
        let file = match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC).open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        let mut text = String::new();
        let length = file.take(STATE_MAX + 1).read_to_string(&mut text).map_err(failed)?;
        if length as u64 > STATE_MAX {
            return Err(StateError::new("read", &path, format!("it is larger than {STATE_MAX} bytes")));
        }
        Ok(Some(text))
    }

    /// Puts `text` in place of the state of this name: a reader, or a program killed here, finds the old text or the new one.
    ///
    /// # Errors
    /// When it cannot be written; the old text then stays.
    pub fn write_state(&self, name: &str, text: &str) -> Result<(), StateError> {
        let path = self.state_file(name);
        let draft = draft_of(&path);
        write_new(&draft, text).and_then(|()| fs::rename(&draft, &path)).map_err(|error| {
            let _ = fs::remove_file(&draft);
            StateError::new("write", &path, error)
        })
    }

    /// Removes the state of this name. None there is as good.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove_state(&self, name: &str) -> Result<(), StateError> {
        let path = self.state_file(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(StateError::new("remove", &path, error)),
            _ => Ok(()),
        }
    }
}

fn write_new(draft: &Path, text: &str) -> io::Result<()> {
    // One of a killed program with the same process id may be left; it is of no use to anybody.
    let _ = fs::remove_file(draft);
    let mut options = OpenOptions::new();
    let mut file: File =
        options.write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC).open(draft)?;
    file.write_all(text.as_bytes())
}

/// Sees to it that `path` is a folder which nobody but root or ourselves can write to.
pub(super) fn own_folder(path: &Path, mode: u32) -> Result<(), StateError> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(StateError::new("create the folder", path, error)),
        _ => {}
    }
    let metadata = fs::symlink_metadata(path).map_err(|error| StateError::new("examine", path, error))?;
    if !metadata.is_dir() {
        return Err(StateError::new("use", path, "it is not a folder; remove it and call again"));
    }
    trusted(&metadata).map_err(|cause| StateError::new("use", path, cause))
}

/// Whether only root or ourselves can change what `metadata` belongs to; else why not.
pub(super) fn trusted(metadata: &fs::Metadata) -> Result<(), String> {
    let owner = metadata.uid();
    if owner != 0 && owner != Uid::effective().as_raw() {
        return Err(format!("it belongs to user {owner} and not to root; give it to root (chown root)"));
    }
    if metadata.mode() & 0o022 != 0 {
        let mode = metadata.mode() & 0o7777;
        return Err(format!("others than its owner may write to it (mode {mode:04o}); take that away (chmod go-w)"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn bench() -> (tempfile::TempDir, RunDirectory) {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDirectory::below(&folder.path().join("xen-network"), 7).unwrap();
        (folder, run)
    }

    #[test]
    fn state_is_kept_replaced_and_removed() {
        let (_folder, run) = bench();
        assert_eq!(run.read_state("record").unwrap(), None);
        run.write_state("record", "one").unwrap();
        run.write_state("record", "two").unwrap();
        assert_eq!(run.read_state("record").unwrap().as_deref(), Some("two"));
        run.remove_state("record").unwrap();
        run.remove_state("record").unwrap();
        assert_eq!(run.read_state("record").unwrap(), None);
        assert_eq!(fs::read_dir(run.state_file(".")).unwrap().count(), 0);
    }

    #[test]
    fn it_is_for_its_owner_alone() {
        let (folder, run) = bench();
        run.write_state("record", "x").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&folder.path().join("xen-network/netns-7")), 0o700);
        assert_eq!(mode(&run.state_file("record")), 0o600);
    }

    #[test]
    fn each_network_namespace_has_its_own() {
        let (folder, run) = bench();
        run.write_state("record", "x").unwrap();
        let other = RunDirectory::below(&folder.path().join("xen-network"), 8).unwrap();
        assert_eq!(other.read_state("record").unwrap(), None);
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        let (folder, _run) = bench();
        let base = folder.path().join("xen-network");
        fs::set_permissions(&base, PermissionsExt::from_mode(0o777)).unwrap();
        let error = RunDirectory::below(&base, 7).unwrap_err().to_string();
        assert!(error.ends_with("others than its owner may write to it (mode 0777); take that away (chmod go-w)"), "{error}");
    }

    #[test]
    fn links_are_refused() {
        let (folder, run) = bench();
        symlink("netns-7", folder.path().join("xen-network/netns-9")).unwrap();
        let error = RunDirectory::below(&folder.path().join("xen-network"), 9).unwrap_err().to_string();
        assert!(error.contains("is not a folder"), "{error}");
        fs::write(folder.path().join("secret"), "s").unwrap();
        symlink(folder.path().join("secret"), run.state_file("record")).unwrap();
        assert!(run.read_state("record").is_err());
        run.write_state("record", "mine").unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("secret")).unwrap(), "s");
    }
}
