//! Named locks that exclude other runs, and Xen's shell scripts with them.
//!
//! The protocol is that of `claim_lock` and `release_lock` in Xen's tools/hotplug/Linux/locking.sh: whoever has an exclusive flock(2)
//! on the file that stands at the lock's path has the lock. A holder unlinks the file before letting go, so a file that was waited for
//! may be another one than stands at the path by then; hence the comparison after locking.

use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions};
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, Flock, FlockArg, fcntl};
use nix::libc;
use nix::sys::stat::{major, minor};

use super::patience::within;
use super::state::{StateError, own_folder, state_path};
use crate::interface_name::InterfaceName;

pub use super::state::{RunDirectory, run_directory};

/// Where the shell scripts keep theirs (`LOCK_BASEDIR`).
const FOLDER: &str = "/var/run/xen-hotplug";
/// The same folder, where /var is not mounted yet: /var/run is a link to /run on hosts that boot so.
const EARLY_FOLDER: &str = "/run/xen-hotplug";
/// How long to wait for a lock unless there is a reason for less: well below the 40 s after which libxl kills a hotplug program
/// (`LIBXL_HOTPLUG_TIMEOUT`).
pub const USUAL_LIMIT: Duration = Duration::from_secs(30);
/// The first pause between two attempts; each further one is twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_micros(200);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// What a lock keeps apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockName {
    /// Two changes of a host's bridges.
    NetworkBridge,
    /// Two changes of the host as a router, by network-route or network-nat.
    NetworkRouter,
    /// Two changes of the packet filter.
    Iptables,
    /// Two changes of the DHCP server's configuration.
    VifNatDhcp,
}

impl LockName {
    fn file_name(self) -> &'static str {
        match self {
            Self::NetworkBridge => "network-bridge",
            Self::NetworkRouter => "network-router",
            Self::Iptables => "iptables",
            Self::VifNatDhcp => "vif-nat-dhcp",
        }
    }
}

/// Why there is no lock.
#[derive(Debug)]
pub enum LockError {
    /// Somebody else had it all the time.
    Held {
        /// The lock's file.
        path: PathBuf,
        /// How long was waited.
        limit: Duration,
        /// The holder, where the kernel tells.
        holder: Option<Holder>,
    },
    /// The file or its folder cannot be used.
    Unusable(StateError),
}

/// A process that has a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its name, as ps(1) shows it.
    pub name: String,
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { path, limit, holder } => {
                write!(f, "waited {} s for the lock {}, which ", limit.as_secs_f32(), path.display())?;
                match holder {
                    Some(holder) => write!(f, "process {} ({}) holds", holder.pid, holder.name),
                    None => write!(f, "another process holds"),
                }?;
                write!(f, "; see what it is doing (fuser {})", path.display())
            }
            Self::Unusable(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LockError {}

impl From<StateError> for LockError {
    fn from(error: StateError) -> Self {
        Self::Unusable(error)
    }
}

/// A lock that is held until this value goes.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    // There until `drop`.
    file: Option<Flock<File>>,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Only a holder may unlink the path, and we are it. Left behind, an empty file does no harm.
        let _ = fs::remove_file(&self.path);
        // What cannot be let go goes with this process: to drop it would be to panic (nix::fcntl::Flock).
        if let Some(Err((held, _))) = self.file.take().map(Flock::unlock) {
            std::mem::forget(held);
        }
    }
}

/// Takes a lock, waiting for it no longer than `limit`.
///
/// # Errors
/// When somebody else keeps it that long, or when its folder or file cannot be used.
pub fn claim(name: LockName, limit: Duration) -> Result<Lock, LockError> {
    claim_below(folder(), name, within(limit))
}

/// The file whose bytes stand for guests' interfaces. It stays, empty: who removed it could take it from under somebody.
const DEVICES: &str = "devices.lock";

/// One run at a time for a guest's interface, until this value goes, or its process.
///
/// The lock is on one byte of a file of ours, by the interface's name (fcntl(2), "Open file description locks"): two system calls, and nothing to
/// sweep away. Two names may share a byte, and then wait for each other. Behind those bytes there is one for each IPv4 address.
#[derive(Debug)]
pub struct DeviceLock {
    path: PathBuf,
    // All locks on it are let go when it is closed.
    file: File,
}

/// Whether several runs may have the same address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// As this host's end of several links.
    WithItsLike,
    /// As a guest's address.
    WithNobody,
}

impl DeviceLock {
    /// Takes an address for as long as the interface is locked, waiting for it no longer than `limit`. Whoever waits must have no other
    /// address yet, or two runs may wait for each other.
    ///
    /// # Errors
    /// As for [`claim`].
    pub fn claim_address(&self, address: Ipv4Addr, share: Share, limit: Duration) -> Result<(), LockError> {
        let kind = match share {
            Share::WithItsLike => libc::F_RDLCK,
            Share::WithNobody => libc::F_WRLCK,
        };
        lock_byte(&self.file, &self.path, place_of_address(address), kind, within(limit))
    }
}

/// Takes the lock of a guest's interface, waiting for it no longer than `limit`.
///
/// # Errors
/// As for [`claim`].
pub fn claim_device(device: &InterfaceName, limit: Duration) -> Result<DeviceLock, LockError> {
    let (path, limit) = (state_path(DEVICES)?, within(limit));
    let file = match open(&path) {
        Ok(file) => file,
        // The folder is made by the first who needs it.
        Err(_) => {
            run_directory()?;
            open(&path)?
        }
    };
    lock_byte(&file, &path, place_of(device), libc::F_WRLCK, limit)?;
    Ok(DeviceLock { path, file })
}

/// Locks one byte of `file`, in the way `kind` (`F_RDLCK`, `F_WRLCK`).
fn lock_byte(file: &File, path: &Path, place: i64, kind: libc::c_int, limit: Duration) -> Result<(), LockError> {
    let byte = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: place,
        l_len: 1,
        l_pid: 0,
    };
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        match fcntl(file, FcntlArg::F_OFD_SETLK(&byte)) {
            Ok(_) => return Ok(()),
            Err(Errno::EAGAIN | Errno::EACCES) if start.elapsed() >= limit => {
                return Err(LockError::Held { path: path.to_owned(), limit, holder: None });
            }
            Err(Errno::EAGAIN | Errno::EACCES | Errno::EINTR) => {}
            Err(errno) => return Err(StateError::new("lock", path, errno.desc()).into()),
        }
        sleep(pause.min(limit.saturating_sub(start.elapsed())));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The byte of a name (FNV-1a, 32 bits).
fn place_of(device: &InterfaceName) -> i64 {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    device.as_str().bytes().fold(0x811c_9dc5, step).into()
}

/// The byte of an address.
fn place_of_address(address: Ipv4Addr) -> i64 {
    const BEHIND_NAMES: i64 = 1 << 32;
    BEHIND_NAMES + i64::from(u32::from(address))
}

/// Whether somebody holds a lock now. It is not made, and not kept.
#[must_use]
pub fn is_held(name: LockName) -> bool {
    let opened =
        OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC).open(folder().join(name.file_name()));
    opened.is_ok_and(|file| matches!(Flock::lock(file, FlockArg::LockSharedNonblock), Err((_, Errno::EWOULDBLOCK))))
}

fn folder() -> &'static Path {
    let usual = Path::new(FOLDER);
    if usual.parent().is_some_and(Path::exists) { usual } else { Path::new(EARLY_FOLDER) }
}

fn claim_below(folder: &Path, name: LockName, limit: Duration) -> Result<Lock, LockError> {
    own_folder(folder, 0o755)?;
    let path = folder.join(name.file_name());
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let file = open(&path)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) if stands_at(&file, &path) => return Ok(Lock { path, file: Some(file) }),
            // Its holder removed it between our opening and our locking it.
            Ok(_) => continue,
            Err((file, Errno::EWOULDBLOCK)) if start.elapsed() >= limit => {
                return Err(LockError::Held { holder: holder_of(&file), path, limit });
            }
            Err((_, Errno::EWOULDBLOCK | Errno::EINTR)) => {}
            Err((_, errno)) => return Err(StateError::new("lock", &path, errno.desc()).into()),
        }
        sleep(pause.min(limit.saturating_sub(start.elapsed())));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn open(path: &Path) -> Result<File, StateError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC);
    options.open(path).map_err(|error| StateError::new("open the lock", path, error))
}

fn stands_at(file: &File, path: &Path) -> bool {
    let same = |one: &Metadata, other: &Metadata| one.dev() == other.dev() && one.ino() == other.ino();
    matches!((file.metadata(), fs::symlink_metadata(path)), (Ok(open), Ok(linked)) if same(&open, &linked))
}

/// Who has a lock on `file`, as far as the kernel tells.
fn holder_of(file: &File) -> Option<Holder> {
    let metadata = file.metadata().ok()?;
    let pid = find_holder(&fs::read_to_string("/proc/locks").ok()?, metadata.dev(), metadata.ino())?;
    // A shell's lock is in the name of its flock(1), which has ended: then there is no such process, or soon another one.
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(Holder { pid, name: name.trim_end().to_owned() })
}

/// The process with a flock on this file, from /proc/locks (`lock_get_status()` in Linux's fs/locks.c), whose lines are
/// `1: FLOCK  ADVISORY  WRITE 1234 fd:01:5678 0 EOF`, the device in hexadecimal.
pub(super) fn find_holder(locks: &str, device: u64, inode: u64) -> Option<u32> {
    let id = format!("{:02x}:{:02x}:{inode}", major(device), minor(device));
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        match fields[..] {
            [_, "FLOCK", _, _, pid, file, ..] if file == id => pid.parse().ok().filter(|pid| *pid != 0),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::process::{Child, Command, Stdio};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let lock = claim_below(folder.path(), LockName::Iptables, LIMIT).unwrap();
        assert!(folder.path().join("iptables").exists());
        drop(lock);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn one_at_a_time() {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let inside = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (folder, inside) = (Arc::clone(&folder), Arc::clone(&inside));
                std::thread::spawn(move || {
                    for _ in 0..50 {
                        let _lock = claim_below(folder.path(), LockName::Iptables, LIMIT).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    #[test]
    fn an_address_is_one_guests_or_an_end_of_many_links() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(DEVICES);
        let run = || DeviceLock { file: open(&path).unwrap(), path: path.clone() };
        let (one, other, guest) = (run(), run(), run());
        let (end, address) = (Ipv4Addr::new(10, 0, 0, 129), Ipv4Addr::BROADCAST);
        one.claim_address(end, Share::WithItsLike, Duration::ZERO).unwrap();
        other.claim_address(end, Share::WithItsLike, Duration::ZERO).unwrap();
        drop(one);
        let held = guest.claim_address(end, Share::WithNobody, Duration::ZERO);
        assert!(matches!(held, Err(LockError::Held { .. })), "{held:?}");
        drop(other);
        guest.claim_address(end, Share::WithNobody, Duration::ZERO).unwrap();
        guest.claim_address(address, Share::WithNobody, Duration::ZERO).unwrap();
        let held = run().claim_address(end, Share::WithItsLike, Duration::ZERO);
        assert!(matches!(held, Err(LockError::Held { .. })), "{held:?}");
    }

    #[test]
    fn different_names_do_not_exclude_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let _one = claim_below(folder.path(), LockName::Iptables, LIMIT).unwrap();
        let _two = claim_below(folder.path(), LockName::NetworkBridge, Duration::ZERO).unwrap();
    }

    /// A shell that takes a lock by the scripts' protocol, says so, and lets go when its standard input closes.
    fn shell_holder(folder: &Path) -> Child {
        let script = r#"exec 200<>"$1/iptables" && flock -x 200 && echo held && read -r _; rm "$1/iptables""#;
        let mut shell = Command::new("bash")
            .args(["-c", script, "bash"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        shell
    }

    #[test]
    fn a_shell_script_excludes_us_until_it_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let mut shell = shell_holder(folder.path());
        let error = claim_below(folder.path(), LockName::Iptables, Duration::from_millis(20)).unwrap_err();
        assert!(matches!(error, LockError::Held { .. }), "{error}");
        drop(shell.stdin.take());
        let lock = claim_below(folder.path(), LockName::Iptables, LIMIT).unwrap();
        assert!(shell.wait().unwrap().success());
        assert!(stands_at(lock.file.as_ref().unwrap(), &folder.path().join("iptables")));
    }

    #[test]
    fn we_exclude_a_shell_script() {
        let folder = tempfile::tempdir().unwrap();
        let lock = claim_below(folder.path(), LockName::Iptables, LIMIT).unwrap();
        let attempt = || {
            let script = r#"exec 200<>"$1/iptables" && flock -n -x 200"#;
            Command::new("bash").args(["-c", script, "bash"]).arg(folder.path()).status().unwrap().success()
        };
        assert!(!attempt());
        drop(lock);
        assert!(attempt());
    }

    #[test]
    fn the_holder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let _lock = claim_below(folder.path(), LockName::NetworkBridge, LIMIT).unwrap();
        let error = claim_below(folder.path(), LockName::NetworkBridge, Duration::ZERO).unwrap_err();
        let LockError::Held { holder: Some(holder), .. } = &error else { panic!("{error}") };
        assert_eq!(holder.pid, std::process::id());
        assert!(error.to_string().contains(&format!("process {} (", std::process::id())), "{error}");
    }

    #[test]
    fn the_kernels_list_is_read_exactly() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 fd:01:99 0 EOF\n2: FLOCK  ADVISORY  WRITE 22 fd:01:991 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 23 fd:01:99 0 EOF\n3: FLOCK  ADVISORY  WRITE 33 fd:01:99 0 EOF\n4: FLOCK\n\n";
        let device = nix::sys::stat::makedev(0xfd, 1);
        assert_eq!(find_holder(locks, device, 99), Some(33));
        assert_eq!(find_holder(locks, device, 98), None);
        assert_eq!(find_holder("1: FLOCK ADVISORY WRITE 0 fd:01:99 0 EOF", device, 99), None);
    }

    #[test]
    fn hostile_folders_and_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let open_to_all = folder.path().join("open");
        fs::create_dir(&open_to_all).unwrap();
        fs::set_permissions(&open_to_all, PermissionsExt::from_mode(0o777)).unwrap();
        assert!(matches!(claim_below(&open_to_all, LockName::Iptables, LIMIT), Err(LockError::Unusable(_))));
        let link = folder.path().join("link");
        symlink(folder.path(), &link).unwrap();
        assert!(matches!(claim_below(&link, LockName::Iptables, LIMIT), Err(LockError::Unusable(_))));
        symlink("elsewhere", folder.path().join("iptables")).unwrap();
        assert!(matches!(claim_below(folder.path(), LockName::Iptables, LIMIT), Err(LockError::Unusable(_))));
        assert!(!folder.path().join("elsewhere").exists());
    }
}
