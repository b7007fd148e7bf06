//! Files that other programs read, and that are ours as a whole.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::libc;

/// The text of a file; nothing where there is none.
pub(super) fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        text => text.map(Some),
    }
}

/// Puts `text` in the file's place, so that a reader finds either the old text or the new one, whole.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let draft = draft_of(path);
    // One of a killed program with the same process id may be left; it is of no use to anybody.
    let _ = fs::remove_file(&draft);
    let mut options = OpenOptions::new();
    let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // Servers read their files after they have given up root's rights.
    let mut file = options.write(true).create_new(true).mode(0o644).custom_flags(flags).open(&draft)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}

/// Removes a file.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)
}

/// A name beside the file's own. dnsmasq passes over what begins with a dot (`expand_filelist()`, src/option.c).
fn draft_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", std::process::id()))
}
