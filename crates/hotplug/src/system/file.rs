//! Files that other programs read: ours as a whole, or the administrator's with a line of ours in them.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::libc;

use super::state::trusted;

/// Most that is read of a file, in bytes. Larger ones are none that we write or change.
const FILE_MAX: u64 = 16 * 1024 * 1024;

/// The text of a file; nothing where there is none.
///
/// # Errors
/// When it cannot be read, is not UTF-8 (written back, it would be another one) or is no ordinary file.
pub(super) fn read(path: &Path) -> io::Result<Option<String>> {
    // A FIFO would keep us waiting for a writer.
    let mut options = OpenOptions::new();
    let file = match options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let metadata = file.metadata()?;
    ordinary(&metadata)?;
    if metadata.len() > FILE_MAX {
        return Err(io::Error::other(format!("it is larger than {FILE_MAX} bytes")));
    }
    let mut text = String::new();
    file.take(FILE_MAX).read_to_string(&mut text)?;
    Ok(Some(text))
}

/// Puts `text` in the file's place, so that a reader finds either the old text or the new one, whole. The file keeps its owner and its mode;
/// a new one, and a folder that has to be made for it, can be read by everybody: servers read after they have given up root's rights.
///
/// # Errors
/// When it cannot be written, or when others may write to its folder: they could have put a link there.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let path = &real(path)?;
    own(path.parent().unwrap_or(Path::new("/")))?;
    let old = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        metadata => Some(metadata?),
    };
    old.as_ref().map_or(Ok(()), ordinary)?;
    let draft = draft_of(path);
    let written = write_draft(&draft, text, old.as_ref()).and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}

/// Removes a file.
///
/// # Errors
/// When it is not there, cannot be removed, or when others may write to its folder.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    fs::symlink_metadata(path)?;
    own(path.parent().unwrap_or(Path::new("/")))?;
    fs::remove_file(path)
}

/// Where an administrator's link leads; any other path as it is.
fn real(path: &Path) -> io::Result<PathBuf> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => {
            own(path.parent().unwrap_or(Path::new("/")))?;
            fs::canonicalize(path)
        }
        _ => Ok(path.to_owned()),
    }
}

/// Sees to it that `folder` is there, and that nobody but root or ourselves can write to it.
fn own(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o755).create(folder) {
        // The umask of the caller does not count.
        Ok(()) => fs::set_permissions(folder, Permissions::from_mode(0o755))?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let explained = |cause: String| io::Error::other(format!("the folder {}: {cause}", folder.display()));
    trusted(&fs::metadata(folder)?).map_err(explained)
}

fn ordinary(metadata: &Metadata) -> io::Result<()> {
    match metadata.is_file() {
        true => Ok(()),
        false => Err(io::Error::other("it is no ordinary file")),
    }
}

fn write_draft(draft: &Path, text: &str, old: Option<&Metadata>) -> io::Result<()> {
    // One of a killed program with the same process id may be left; it is of no use to anybody.
    let _ = fs::remove_file(draft);
    let mut options = OpenOptions::new();
    let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC;
    let mut file: File = options.write(true).create_new(true).mode(0o600).custom_flags(flags).open(draft)?;
    if let Some(old) = old {
        fchown(&file, Some(old.uid()), Some(old.gid()))?;
    }
    // The umask of the caller does not count, and the owner is settled before anybody may read.
    file.set_permissions(Permissions::from_mode(old.map_or(0o644, |old| old.mode() & 0o7777)))?;
    file.write_all(text.as_bytes())
}

/// Removes what killed programs have left in `folder` of files that they were about to write, as far as `ours` takes the file's name for
/// one of ours.
pub(super) fn sweep(folder: &Path, ours: impl Fn(&str) -> bool) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some((file, writer)) = name.to_str().and_then(draft) else { continue };
        if ours(file) && !Path::new("/proc").join(writer.to_string()).exists() {
            // One that stays is in nobody's way.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The file that a draft of this name was to become, and the process that wrote it.
fn draft(name: &str) -> Option<(&str, u32)> {
    let (file, writer) = name.strip_prefix('.')?.rsplit_once('.')?;
    Some((file, writer.parse().ok()?))
}

/// A name beside the file's own. dnsmasq passes over what begins with a dot (`expand_filelist()`, src/option.c).
pub(super) fn draft_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", std::process::id()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        folder
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_new_file_is_for_everybody_to_read() {
        let folder = folder();
        let path = folder.path().join("new/file");
        assert_eq!(read(&path).unwrap(), None);
        write(&path, "text").unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some("text"));
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o644, 0o755));
        remove(&path).unwrap();
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
        assert_eq!(remove(&path).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn an_old_file_keeps_owner_and_mode() {
        let folder = folder();
        let path = folder.path().join("file");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        // Only root can give files away; the tests of the suites run as root.
        let owner = nix::unistd::Uid::effective().is_root().then_some(1234);
        std::os::unix::fs::chown(&path, owner, owner).unwrap();
        let before = fs::metadata(&path).unwrap();
        write(&path, "new").unwrap();
        let after = fs::metadata(&path).unwrap();
        assert_eq!((after.uid(), after.gid(), after.mode()), (before.uid(), before.gid(), before.mode()));
        assert_ne!(after.ino(), before.ino(), "a reader might have seen half of it");
        assert_eq!(read(&path).unwrap().as_deref(), Some("new"));
    }

    #[test]
    fn an_administrators_link_stays_and_leads_to_the_new_text() {
        let folder = folder();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, "old").unwrap();
        symlink(&target, &link).unwrap();
        write(&link, "new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        let folder = folder();
        let (open, secret) = (folder.path().join("open"), folder.path().join("secret"));
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
        fs::write(&secret, "s").unwrap();
        symlink(&secret, open.join("link")).unwrap();
        for name in ["link", "file"] {
            let error = write(&open.join(name), "x").unwrap_err().to_string();
            assert!(error.contains("others than its owner may write to it"), "{error}");
        }
        remove(&open.join("link")).unwrap_err();
        assert_eq!(fs::read_to_string(&secret).unwrap(), "s");
        // A link of ours may not lead there either.
        fs::write(open.join("target"), "t").unwrap();
        let link = folder.path().join("link");
        symlink(open.join("target"), &link).unwrap();
        write(&link, "x").unwrap_err();
    }

    #[test]
    fn what_a_killed_program_was_about_to_write_is_swept_away() {
        let folder = folder();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let (dead, alive) = (child.id(), std::process::id());
        let names = [format!(".ours.{dead}"), format!(".theirs.{dead}"), format!(".ours.{alive}"), ".ours.x".into(), "ours".into()];
        for name in &names {
            fs::write(folder.path().join(name), "").unwrap();
        }
        sweep(folder.path(), |name| name == "ours");
        let left = names.iter().filter(|name| folder.path().join(name).exists());
        assert_eq!(left.collect::<Vec<_>>(), names[1..].iter().collect::<Vec<_>>());
    }

    #[test]
    fn what_is_no_ordinary_file_is_refused() {
        let folder = folder();
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        read(&fifo).unwrap_err();
        write(&fifo, "x").unwrap_err();
        read(folder.path()).unwrap_err();
        fs::write(folder.path().join("latin"), b"\xe9").unwrap();
        assert_eq!(read(&folder.path().join("latin")).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
