//! Where XenStore is found.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Where to talk to XenStore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// The daemon's unix socket, in the domain where it runs.
    Socket(PathBuf),
    /// The kernel's device, which passes messages on to the daemon's domain.
    Device(PathBuf),
}

/// The variables that say where xenstored listens (libxenstore reads the same ones).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// `XENSTORED_PATH`: the socket or device itself.
    pub path: Option<OsString>,
    /// `XENSTORED_RUNDIR`: the directory that holds `socket`.
    pub run_directory: Option<OsString>,
}

/// What a file is, as far as finding XenStore goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// A unix socket.
    Socket,
    /// Anything else that can be opened.
    Device,
}

/// Where xenstored listens unless told otherwise; the second name is for systems whose /var/run is not a link to /run.
const SOCKETS: [&str; 2] = ["/run/xenstored/socket", "/var/run/xenstored/socket"];
/// The kernel's device: devtmpfs, and the older place in xenfs.
const DEVICES: [&str; 2] = ["/dev/xen/xenbus", "/proc/xen/xenbus"];

impl Environment {
    /// The variables of this process.
    pub fn of_process() -> Environment {
        Environment { path: std::env::var_os("XENSTORED_PATH"), run_directory: std::env::var_os("XENSTORED_RUNDIR") }
    }
}

impl Endpoint {
    /// Finds XenStore for this process.
    ///
    /// # Errors
    /// [`Error::NoStore`] where there is none.
    pub fn of_process() -> Result<Endpoint> {
        Endpoint::find(&Environment::of_process(), &medium_of)
    }

    /// Finds XenStore: `XENSTORED_PATH`, else `socket` in `XENSTORED_RUNDIR`, else in /run/xenstored, else in
    /// /var/run/xenstored; where no socket is there, the kernel's device (driver domains).
    ///
    /// `medium` says what a file is, `None` where there is none. A place named by `XENSTORED_PATH` is taken at its
    /// word, so that a wrong one fails with its name instead of talking to another store.
    ///
    /// # Errors
    /// [`Error::NoStore`] where there is none.
    pub fn find(environment: &Environment, medium: &dyn Fn(&Path) -> Option<Medium>) -> Result<Endpoint> {
        if let Some(path) = environment.path.as_ref().filter(|path| !path.is_empty()) {
            let path = PathBuf::from(path);
            return Ok(match medium(&path) {
                Some(Medium::Device) => Endpoint::Device(path),
                Some(Medium::Socket) | None => Endpoint::Socket(path),
            });
        }
        let sockets = match environment.run_directory.as_ref().filter(|directory| !directory.is_empty()) {
            Some(directory) => vec![Path::new(directory).join("socket")],
            None => SOCKETS.map(PathBuf::from).to_vec(),
        };
        if let Some(socket) = sockets.into_iter().find(|path| medium(path) == Some(Medium::Socket)) {
            return Ok(Endpoint::Socket(socket));
        }
        let device = DEVICES.into_iter().map(Path::new).find(|path| medium(path) == Some(Medium::Device));
        device.map(|path| Endpoint::Device(path.to_owned())).ok_or(Error::NoStore)
    }

    /// The socket's or device's file name.
    pub fn path(&self) -> &Path {
        match self {
            Endpoint::Socket(path) | Endpoint::Device(path) => path,
        }
    }
}

fn medium_of(path: &Path) -> Option<Medium> {
    let kind = fs::metadata(path).ok()?.file_type();
    Some(if kind.is_socket() { Medium::Socket } else { Medium::Device })
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Socket(path) => write!(f, "socket {}", path.display()),
            Endpoint::Device(path) => write!(f, "device {}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(path: &str, run_directory: &str, files: &[(&str, Medium)]) -> Result<Endpoint> {
        let variable = |value: &str| (value != "-").then(|| OsString::from(value));
        let environment = Environment { path: variable(path), run_directory: variable(run_directory) };
        let medium = |path: &Path| files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, medium)| *medium);
        Endpoint::find(&environment, &medium)
    }

    const RUN: (&str, Medium) = ("/run/xenstored/socket", Medium::Socket);
    const VAR_RUN: (&str, Medium) = ("/var/run/xenstored/socket", Medium::Socket);
    const OWN: (&str, Medium) = ("/own/socket", Medium::Socket);
    const DEV: (&str, Medium) = ("/dev/xen/xenbus", Medium::Device);
    const PROC: (&str, Medium) = ("/proc/xen/xenbus", Medium::Device);

    fn socket(path: &str) -> Endpoint {
        Endpoint::Socket(PathBuf::from(path))
    }

    fn device(path: &str) -> Endpoint {
        Endpoint::Device(PathBuf::from(path))
    }

    #[test]
    fn the_path_variable_wins_and_is_taken_at_its_word() {
        assert_eq!(find("/own/socket", "/run/xenstored", &[RUN, OWN]).unwrap(), socket("/own/socket"));
        assert_eq!(find("/gone", "-", &[RUN, DEV]).unwrap(), socket("/gone"));
        assert_eq!(find("/dev/xen/xenbus", "-", &[RUN, DEV]).unwrap(), device("/dev/xen/xenbus"));
    }

    #[test]
    fn the_run_directory_comes_second() {
        assert_eq!(find("-", "/own", &[RUN, OWN, DEV]).unwrap(), socket("/own/socket"));
        assert_eq!(find("-", "/own", &[RUN, DEV]).unwrap(), device("/dev/xen/xenbus"));
    }

    #[test]
    fn empty_variables_count_as_unset() {
        assert_eq!(find("", "", &[RUN, DEV]).unwrap(), socket("/run/xenstored/socket"));
    }

    #[test]
    fn sockets_come_before_devices() {
        assert_eq!(find("-", "-", &[VAR_RUN, RUN, DEV]).unwrap(), socket("/run/xenstored/socket"));
        assert_eq!(find("-", "-", &[VAR_RUN, DEV]).unwrap(), socket("/var/run/xenstored/socket"));
        assert_eq!(find("-", "-", &[PROC, DEV]).unwrap(), device("/dev/xen/xenbus"));
        assert_eq!(find("-", "-", &[PROC]).unwrap(), device("/proc/xen/xenbus"));
    }

    #[test]
    fn a_stray_file_is_no_socket() {
        let stray = ("/run/xenstored/socket", Medium::Device);
        assert_eq!(find("-", "-", &[stray, DEV]).unwrap(), device("/dev/xen/xenbus"));
        assert!(matches!(find("-", "-", &[stray]), Err(Error::NoStore)));
        assert!(matches!(find("-", "-", &[]), Err(Error::NoStore)));
    }
}
