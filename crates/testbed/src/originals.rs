//! Debian's original `vif-*` scripts (package xen-utils-common), to run beside ours.
//!
//! They are fetched into a cache by `tests/fetch-originals` and never installed; they are under the LGPL and never enter
//! the repository.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::machine::{Error, Machine, Programs, Result, workspace};

/// The original scripts and the tools they call (xenstore-read, brctl, …).
#[derive(Clone, Debug)]
pub struct Originals(PathBuf);

impl Originals {
    /// The originals in the cache; fetches them with apt-get first where the cache is empty.
    ///
    /// # Errors
    /// When they can neither be found nor fetched.
    pub fn fetched() -> Result<Self> {
        fetched("tests/fetch-originals").map(Self)
    }

    /// The scripts, to be put into a machine.
    pub fn programs(&self) -> Programs {
        Programs::in_folder(self.0.join("etc/xen/scripts"))
    }

    /// The folder that the packages were unpacked to.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Puts the tools into a machine's `/usr`, as on a host where the packages are installed.
    ///
    /// # Errors
    /// When the kernel cannot lay one folder over another (overlayfs).
    pub fn install_tools(&self, machine: &Machine) -> Result<()> {
        lay_over_usr(machine, &[&self.0])
    }
}

/// Lets a machine find what unpacked packages have in `usr` as if they were installed; the first folder goes before the others.
///
/// # Errors
/// When the kernel cannot lay one folder over another (overlayfs).
pub fn lay_over_usr(machine: &Machine, folders: &[&Path]) -> Result<()> {
    let layers: String = folders.iter().map(|folder| format!("{}:", folder.join("usr").display())).collect();
    machine.run("mount", ["-t", "overlay", "-o", &format!("lowerdir={layers}/usr"), "overlay", "/usr"]).map(drop)
}

/// The folder of programs that a script of the repository fetches from Debian, and prints: `tests/fetch-originals`, `tests/fetch-dhcp`.
///
/// # Errors
/// When they can neither be found nor fetched.
pub fn fetched(script: &str) -> Result<PathBuf> {
    fetch(&mut Command::new(workspace().join(script)), script)
}

/// The same by a script that takes a word.
///
/// # Errors
/// As [`fetched`].
pub fn fetched_with_word(script: &str, word: &str) -> Result<PathBuf> {
    fetch(Command::new(workspace().join(script)).arg(word), script)
}

fn fetch(command: &mut Command, script: &str) -> Result<PathBuf> {
    let act = || format!("fetch programs by {script}");
    let output = command.output().map_err(Error::in_act(act()))?;
    if !output.status.success() {
        let cause = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::in_act(act())(cause));
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}
