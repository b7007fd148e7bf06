//! Kernel settings of devices: files below /proc/sys.

use std::io::{self, Read, Write};

use super::kernel::Kernel;
use super::link;
use crate::host::Family;
use crate::interface_name::InterfaceName;
use crate::sysctl::Sysctl;

/// Far more than any such setting is long.
const LONGEST: usize = 512;

fn path(sysctl: &Sysctl) -> String {
    format!("/proc/sys/{sysctl}")
}

/// The value of a setting; nothing where the kernel has none such (no IPv6, or no such device).
pub(super) fn read(sysctl: &Sysctl) -> io::Result<Option<String>> {
    read_at(&path(sysctl))
}

/// The same of any file below /proc/sys.
pub(super) fn read_at(path: &str) -> io::Result<Option<String>> {
    let mut file = match std::fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    // The kernel hands out a value whole at the first reading (fs/proc/proc_sysctl.c).
    let mut bytes = [0; LONGEST];
    match file.read(&mut bytes) {
        // Some settings hold nothing yet and say so with an error (`stable_secret`, net/ipv6/addrconf.c).
        Err(error) if error.raw_os_error() == Some(nix::libc::EIO) && path.ends_with("/stable_secret") => Ok(None),
        Err(error) => Err(error),
        Ok(length) => {
            let text = bytes.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok());
            let text = text.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is not text"))?;
            match text.strip_suffix('\n') {
                Some(value) => Ok(Some(value.to_owned())),
                None if text.is_empty() => Ok(Some(String::new())),
                None => Err(io::Error::new(io::ErrorKind::InvalidData, "its value is cut short")),
            }
        }
    }
}

/// The devices that have settings of this family; none where the kernel does not have the family.
pub(super) fn devices(family: Family) -> io::Result<Vec<InterfaceName>> {
    let folder = match family {
        Family::V4 => "/proc/sys/net/ipv4/conf",
        Family::V6 => "/proc/sys/net/ipv6/conf",
    };
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        entries => entries?,
    };
    let mut devices = vec![];
    for entry in entries {
        let name = entry?.file_name();
        // A name that cannot be written down here belongs to no device of ours.
        devices.extend(name.to_str().filter(|name| !matches!(*name, "all" | "default")).and_then(|name| name.parse().ok()));
    }
    Ok(devices)
}

/// Gives a setting a value.
pub(super) fn write(kernel: &mut Kernel, sysctl: &Sysctl, value: &str) -> io::Result<()> {
    // What the kernel refuses here, it refuses once more below, and then in words about the setting.
    if let (Some(device), Ok(number)) = (sysctl.device_of_proxy_arp(), value.parse())
        && link::set_proxy_arp(kernel, device, number).is_ok()
    {
        return Ok(());
    }
    // In one piece: the kernel takes each write for a whole value (kernel/sysctl.c).
    std::fs::OpenOptions::new().write(true).open(path(sysctl))?.write_all(value.as_bytes())
}
