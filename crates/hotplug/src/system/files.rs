//! Small text files that other programs or the kernel keep, below a root that tests may choose.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Most that is read of one file, in bytes. Those of interest have some hundred.
const FILE_MAX: u64 = 1024 * 1024;

/// A machine's files.
#[derive(Clone, Debug)]
pub struct Files {
    root: PathBuf,
}

impl Default for Files {
    fn default() -> Self {
        Self::below("/")
    }
}

impl Files {
    /// The files below `root`, which stands for `/`.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where the file of this absolute path is.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The text of a file; none where it is not there or cannot be read. What is not UTF-8 is replaced.
    pub(super) fn read(&self, path: &str) -> Option<String> {
        match read_text(&self.path(path)) {
            Ok(text) => Some(text),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => None,
            Err(error) => {
                log::warn!("{path} cannot be read ({error}): going on as if it were not there");
                None
            }
        }
    }

    /// At most the last `length` bytes of a file, as text; none where it is not there or cannot be read.
    pub(super) fn end_of(&self, path: &str, length: usize) -> Option<String> {
        let mut file = File::open(self.path(path)).ok()?;
        let size = file.metadata().ok()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(length as u64))).ok()?;
        let mut bytes = vec![];
        file.take(length as u64).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The names in a folder, sorted; none where it is not there.
    pub(super) fn names(&self, folder: &str) -> Vec<String> {
        let absent = |error: &io::Error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory);
        let mut names = vec![];
        match std::fs::read_dir(self.path(folder)).and_then(|entries| entries.collect::<io::Result<Vec<_>>>()) {
            Err(error) if absent(&error) => {}
            Err(error) => log::warn!("the folder {folder} cannot be read ({error}): going on as if it were empty"),
            Ok(entries) => names.extend(entries.into_iter().filter_map(|entry| entry.file_name().into_string().ok())),
        }
        names.sort_unstable();
        names
    }
}

/// The text of a file, as [`Files::read`] gives it.
pub(super) fn read_text(path: &Path) -> io::Result<String> {
    let mut bytes = vec![];
    File::open(path)?.take(FILE_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
