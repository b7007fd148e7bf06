//! What is needed to take back a run that was killed: one line of inverses a step, written before the step is done.
//!
//! The file lies in /run, which a reboot empties as it empties the kernel's tables, so nothing is ever forced to a disk.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::operation::Operation;

/// A journal being kept, or none for a run whose steps need no taking back by a later one.
#[derive(Debug)]
pub enum Journal {
    /// Nothing is written down.
    None,
    /// One line a step.
    File {
        /// Where it lies.
        path: PathBuf,
        /// The open file.
        file: File,
        /// Where each line begins.
        starts: Vec<u64>,
        /// Where the next line goes.
        end: u64,
    },
}

/// The journal could not be used.
#[derive(Debug)]
pub struct JournalError {
    path: PathBuf,
    act: &'static str,
    cause: String,
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the journal {} could not be {}: {}", self.path.display(), self.act, self.cause)
    }
}

impl std::error::Error for JournalError {}

/// What takes one step back, in the order in which it is to be performed.
pub type Inverse = Vec<Operation>;

/// A journal that was found: the inverses in it, the oldest first, and the journal itself, to go on with.
pub type Found = (Vec<Inverse>, Journal);

/// More than any run writes; a larger file is not ours.
const LARGEST: u64 = 16 << 20;

impl Journal {
    /// Begins an empty journal at `path`.
    ///
    /// # Errors
    /// When the file cannot be created, or something that is not a plain file of ours lies there.
    pub fn begin(path: &Path) -> Result<Self, JournalError> {
        let failed = |cause: io::Error| JournalError { path: path.to_owned(), act: "begun", cause: cause.to_string() };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC)
            .open(path)
            .map_err(failed)?;
        Ok(Self::File { path: path.to_owned(), file, starts: vec![], end: 0 })
    }

    /// Writes down what takes the next step back.
    ///
    /// # Errors
    /// When the file cannot be written, for example because /run is full.
    pub fn append(&mut self, inverse: &[Operation]) -> Result<(), JournalError> {
        let Self::File { path, file, starts, end } = self else { return Ok(()) };
        let failed = |cause: String| JournalError { path: path.clone(), act: "written", cause };
        let mut line = serde_json::to_vec(inverse).map_err(|error| failed(error.to_string()))?;
        line.push(b'\n');
        file.seek(SeekFrom::Start(*end)).and_then(|_| file.write_all(&line)).map_err(|error| failed(error.to_string()))?;
        starts.push(*end);
        *end += line.len() as u64;
        Ok(())
    }

    /// Drops the last line: its step has been taken back.
    pub fn forget_last(&mut self) {
        let Self::File { file, starts, end, .. } = self else { return };
        if let Some(start) = starts.pop() {
            *end = start;
            // A line that stays only makes the next run take back once more what is gone.
            let _ = file.set_len(start);
        }
    }

    /// Removes the journal: there is nothing left to take back.
    pub fn close(&self) {
        let Self::File { path, file, .. } = self else { return };
        let Err(error) = fs::remove_file(path) else { return };
        // An empty one tells the next run as well that there is nothing.
        match file.set_len(0) {
            Ok(()) => log::warn!("the journal {} could not be removed ({error}) and has been emptied", path.display()),
            Err(_) => log::error!(
                "the journal {} could not be removed: {error}; remove it, or the next run takes back what this one has done",
                path.display()
            ),
        }
    }

    /// Opens what a killed run has left at `path`: its inverses, the oldest first, and the journal to go on with. Nothing lying there
    /// gives `None`.
    ///
    /// # Errors
    /// When the file is not a plain one of ours, or is not a journal. Half a last line is what a kill leaves, and is passed over: its step was
    /// not begun.
    pub fn left_behind(path: &Path) -> Result<Option<Found>, JournalError> {
        let failed = |cause: String| JournalError { path: path.to_owned(), act: "read", cause };
        let opened =
            OpenOptions::new().read(true).write(true).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC).open(path);
        let mut file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error.to_string())),
        };
        let metadata = file.metadata().map_err(|error| failed(error.to_string()))?;
        if !metadata.is_file() || metadata.uid() != nix::unistd::geteuid().as_raw() || metadata.mode() & 0o022 != 0 {
            return Err(failed("it is not a file that only its owner may write".to_owned()));
        }
        if metadata.len() > LARGEST {
            return Err(failed("it is too large to be one".to_owned()));
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
        let (mut inverses, mut starts, mut end) = (vec![], vec![], 0);
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            inverses.push(serde_json::from_str(line).map_err(|error| failed(error.to_string()))?);
            starts.push(end);
            end += line.len() as u64;
        }
        Ok(Some((inverses, Self::File { path: path.to_owned(), file, starts, end })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::LinkChange;

    fn step(name: &str) -> Vec<Operation> {
        vec![Operation::SetLink { device: name.parse().unwrap(), change: LinkChange::up() }]
    }

    #[test]
    fn what_a_kill_leaves_can_be_taken_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::begin(&path).unwrap();
        journal.append(&step("eth0")).unwrap();
        journal.append(&[]).unwrap();
        journal.append(&step("eth1")).unwrap();
        journal.forget_last();
        drop(journal);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"[{\"SetLi").unwrap();
        let (inverses, journal) = Journal::left_behind(&path).unwrap().unwrap();
        assert_eq!(inverses, [step("eth0"), vec![]]);
        journal.close();
        assert!(Journal::left_behind(&path).unwrap().is_none());
    }

    #[test]
    fn a_link_or_a_strange_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "[]\n").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert!(Journal::left_behind(&link).is_err());
        assert!(Journal::begin(&link).is_err());
        fs::write(&real, "not a journal\n").unwrap();
        assert!(Journal::left_behind(&real).is_err());
    }
}
