//! Whether the root file system comes over the network: then the device that leads to its server must not be touched.

use std::fs;
use std::net::IpAddr;

use super::files::Files;

/// How many block devices may stand on each other (partition, mapper, RAID).
const DEPTH_MAX: u32 = 8;

/// A root file system on the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkRoot {
    /// How it comes: `nfs4`, `iscsi`, `nbd`, …
    pub kind: String,
    /// The server, where its address could be found out.
    pub server: Option<IpAddr>,
}

/// The root file system of this machine, if it comes over the network.
#[must_use]
pub fn of_this_machine() -> Option<NetworkRoot> {
    of_machine(&Files::default())
}

fn of_machine(files: &Files) -> Option<NetworkRoot> {
    let mount = files.read("/proc/self/mountinfo").as_deref().and_then(root_mount);
    let by_mount = mount.as_ref().and_then(by_file_system);
    let by_device = || by_block_device(files, &mount.as_ref()?.device, DEPTH_MAX);
    let by_command_line = || by_kernel_words(&files.read("/proc/cmdline")?);
    let by_table = || files.read("/etc/fstab").filter(|table| root_needs_network(table)).map(|_| root("_netdev", None));
    by_mount.or_else(by_device).or_else(by_command_line).or_else(by_table)
}

fn root(kind: &str, server: Option<IpAddr>) -> NetworkRoot {
    NetworkRoot { kind: kind.to_owned(), server }
}

/// What is mounted at `/`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Major and minor number as `8:1`.
    device: String,
    kind: String,
    source: String,
    options: String,
}

/// The last mount at `/` of a /proc/PID/mountinfo (proc_pid_mountinfo(5)); later ones cover earlier ones.
pub(super) fn root_mount(text: &str) -> Option<Mount> {
    text.lines().rev().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let mount: Vec<&str> = mount.split(' ').collect();
        let file_system: Vec<&str> = file_system.split(' ').collect();
        match (&mount[..], &file_system[..]) {
            ([_, _, device, _, "/", ..], [kind, source, options]) => Some(Mount {
                device: (*device).to_owned(),
                kind: (*kind).to_owned(),
                source: (*source).to_owned(),
                options: (*options).to_owned(),
            }),
            _ => None,
        }
    })
}

pub(super) fn by_file_system(mount: &Mount) -> Option<NetworkRoot> {
    let option = |name: &str| mount.options.split(',').find_map(|option| option.strip_prefix(name)?.strip_prefix('='));
    let server = match mount.kind.as_str() {
        "nfs" | "nfs4" | "cifs" | "smb3" => option("addr").and_then(address).or_else(|| host_before_colon(&mount.source)),
        "9p" if matches!(option("trans"), Some("tcp" | "rdma")) => address(&mount.source),
        "ceph" | "fuse.glusterfs" => host_before_colon(&mount.source),
        _ if mount.source.starts_with("/dev/nbd") => return Some(root("nbd", None)),
        _ if mount.source.starts_with("/dev/rbd") => return Some(root("rbd", None)),
        _ if mount.source.starts_with("/dev/etherd/") => return Some(root("aoe", None)),
        _ => return None,
    };
    Some(root(&mount.kind, server))
}

/// Follows a block device to those it stands on, and looks whether one of them is a session with a server.
fn by_block_device(files: &Files, device: &str, depth: u32) -> Option<NetworkRoot> {
    let numbers_only = device.bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
    let folder = files.path(&format!("/sys/dev/block/{device}"));
    let real = fs::canonicalize(folder).ok().filter(|_| numbers_only)?;
    if let Some(found) = real.to_str().and_then(|path| by_device_path(files, path)) {
        return Some(found);
    }
    let below = fs::read_dir(real.join("slaves")).into_iter().flatten().flatten();
    let numbers = below.filter_map(|entry| fs::read_to_string(entry.path().join("dev")).ok());
    numbers.filter(|_| depth > 0).find_map(|number| by_block_device(files, number.trim(), depth - 1))
}

/// A device of iSCSI has a `sessionN` in its place in /sys, one of NVMe over fabrics `nvme-fabrics`, one of nbd is `virtual/block/nbdN`.
fn by_device_path(files: &Files, path: &str) -> Option<NetworkRoot> {
    let session = path.split('/').find_map(|part| part.strip_prefix("session")?.parse::<u32>().ok());
    if let Some(session) = session {
        let connection = format!("/sys/class/iscsi_connection/connection{session}:0");
        let keys = ["address", "persistent_address"];
        let server = keys.iter().find_map(|key| address(files.read(&format!("{connection}/{key}"))?.trim()));
        return Some(root("iscsi", server));
    }
    let parts = || path.split('/');
    if parts().any(|part| part == "nvme-fabrics") {
        return Some(root("nvme", None));
    }
    parts().any(|part| part.strip_prefix("nbd").is_some_and(|number| number.parse::<u32>().is_ok())).then(|| root("nbd", None))
}

/// What the kernel's command line says: the words of the kernel itself (Documentation/admin-guide/nfs/nfsroot.rst), of dracut
/// (dracut.cmdline(7)) and of Debian's initramfs for nbd and iSCSI.
pub(super) fn by_kernel_words(line: &str) -> Option<NetworkRoot> {
    let value = |name: &str| line.split_ascii_whitespace().rev().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    // ip=CLIENT:SERVER:GATEWAY:…
    let boot_server = || value("ip").and_then(|ip| address(ip.split(':').nth(1)?));
    let schemes = ["nfs", "nfs4", "iscsi", "nbd", "cifs"];
    let named = ["netroot", "root"].iter().find_map(|name| {
        let (scheme, rest) = value(name)?.split_once(':')?;
        let known = schemes.iter().find(|known| **known == scheme)?;
        Some(root(known, first_address(rest)))
    });
    if named.is_some() {
        return named;
    }
    if let Some(place) = value("nbdroot") {
        return Some(root("nbd", first_address(place)));
    }
    if let Some(server) = value("iscsi_target_ip") {
        return Some(root("iscsi", address(server)));
    }
    if value("root") == Some("/dev/nfs") || value("nfsroot").is_some() {
        return Some(root("nfs", value("nfsroot").and_then(host_before_colon).or_else(boot_server)));
    }
    None
}

/// Whether the table of file systems calls `/` one of the network (`_netdev`, fstab(5)).
pub(super) fn root_needs_network(table: &str) -> bool {
    table.lines().any(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        matches!(fields[..], [source, "/", _, options, ..] if !source.starts_with('#') && options.split(',').any(|option| option == "_netdev"))
    })
}

/// An address, in brackets or not, with or without an interface after `%`.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').map_or(text, |rest| rest.split_once(']').map_or(rest, |(inside, _)| inside));
    bare.split('%').next()?.parse().ok()
}

/// The address before the path in `SERVER:/path` and `[2001:db8::1]:/path`, or before the port of a monitor's `SERVER:6789,…`.
fn host_before_colon(text: &str) -> Option<IpAddr> {
    if text.starts_with('[') {
        return address(text);
    }
    address(text.split([':', ',']).next()?)
}

/// The first address among parts between `:`, `,`, `@` and `/`, or in brackets.
fn first_address(text: &str) -> Option<IpAddr> {
    let bracketed = text.find('[').and_then(|start| address(&text[start..]));
    bracketed.or_else(|| text.split([':', ',', '@', '/']).find_map(address))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn by_mount_line(line: &str) -> Option<NetworkRoot> {
        by_file_system(&root_mount(line)?)
    }

    fn found(kind: &str, server: &str) -> Option<NetworkRoot> {
        Some(root(kind, server.parse().ok()))
    }

    #[test]
    fn file_systems_of_the_network_are_known() {
        for (line, expected) in [
            (
                "21 1 0:20 / / rw shared:1 - nfs4 10.0.0.5:/srv rw,vers=4.2,addr=10.0.0.5,clientaddr=10.0.0.9",
                found("nfs4", "10.0.0.5"),
            ),
            ("21 1 0:20 / / rw - nfs server:/srv rw,addr=2001:db8::5", found("nfs", "2001:db8::5")),
            ("21 1 0:20 / / rw - nfs [2001:db8::7]:/srv rw", found("nfs", "2001:db8::7")),
            ("21 1 0:20 / / rw - nfs server:/srv rw", found("nfs", "")),
            ("21 1 0:20 / / rw - cifs //server/share rw,addr=10.0.0.6", found("cifs", "10.0.0.6")),
            ("21 1 0:20 / / rw - ceph 10.0.0.7:6789,10.0.0.8:6789:/ rw", found("ceph", "10.0.0.7")),
            ("21 1 0:20 / / rw - 9p 10.0.0.8 rw,trans=tcp", found("9p", "10.0.0.8")),
            ("21 1 0:20 / / rw - 9p share rw,trans=virtio", None),
            ("21 1 43:0 / / rw - ext4 /dev/nbd0 rw", found("nbd", "")),
            ("21 1 8:1 / / rw - ext4 /dev/sda1 rw", None),
            ("21 1 8:1 / / rw - xfs /dev/mapper/vg-root rw", None),
        ] {
            assert_eq!(by_mount_line(line), expected, "{line}");
        }
    }

    #[test]
    fn only_the_uppermost_mount_at_the_root_counts() {
        let text = "20 1 0:19 / / rw - nfs4 10.0.0.5:/a rw,addr=10.0.0.5\n21 20 8:1 / / rw - ext4 /dev/sda1 rw\n\
                    22 21 0:20 / /home rw - nfs4 10.0.0.5:/home rw,addr=10.0.0.5\n";
        assert_eq!(root_mount(text).map(|mount| mount.source), Some("/dev/sda1".to_owned()));
    }

    #[test]
    fn the_kernels_command_line_tells() {
        for (line, expected) in [
            ("root=/dev/nfs nfsroot=10.0.0.5:/srv,vers=3 ip=dhcp", found("nfs", "10.0.0.5")),
            ("root=/dev/nfs nfsroot=/srv ip=10.0.0.9:10.0.0.5:10.0.0.1:255.255.255.0::eth0:off", found("nfs", "10.0.0.5")),
            ("root=/dev/nfs", found("nfs", "")),
            ("root=nfs:10.0.0.5:/srv", found("nfs", "10.0.0.5")),
            ("netroot=iscsi:@10.0.0.6::3260::iqn.2009-06.x:target root=LABEL=r", found("iscsi", "10.0.0.6")),
            ("netroot=iscsi:[2001:db8::6]::::iqn.2009-06.x:target", found("iscsi", "2001:db8::6")),
            ("netroot=nbd:10.0.0.7:root", found("nbd", "10.0.0.7")),
            ("nbdroot=10.0.0.8,2000", found("nbd", "10.0.0.8")),
            ("iscsi_target_ip=10.0.0.9 iscsi_initiator=x", found("iscsi", "10.0.0.9")),
            ("root=/dev/sda1 ro quiet ip=10.0.0.9:10.0.0.5::", None),
            ("root=UUID=1234 netroot=", None),
            ("root=live:CDLABEL=x", None),
            ("", None),
        ] {
            assert_eq!(by_kernel_words(line), expected, "{line}");
        }
    }

    #[test]
    fn the_table_of_file_systems_tells() {
        assert!(root_needs_network("# /\nUUID=1 / ext4 defaults,_netdev 0 1\n"));
        assert!(!root_needs_network("UUID=1 / ext4 defaults 0 1\nUUID=2 /home ext4 _netdev 0 1\n#UUID=1 / ext4 _netdev 0 1\n"));
    }

    /// A machine whose root is a volume on a partition of the disk at `place` below /sys/devices.
    fn machine(place: &str) -> (tempfile::TempDir, Files) {
        let folder = tempfile::tempdir().unwrap();
        let path = |path: &str| folder.path().join(path);
        let disk = format!("sys/devices/{place}/sda/sda1");
        let volume = "sys/devices/virtual/block/dm-0";
        for name in ["proc/self", "sys/dev/block", &disk, &format!("{volume}/slaves")] {
            fs::create_dir_all(path(name)).unwrap();
        }
        fs::write(path("proc/self/mountinfo"), "21 1 253:0 / / rw - ext4 /dev/mapper/vg-root rw\n").unwrap();
        fs::write(path(&disk).join("dev"), "8:1\n").unwrap();
        symlink(path(volume), path("sys/dev/block/253:0")).unwrap();
        symlink(path(&disk), path("sys/dev/block/8:1")).unwrap();
        symlink(path(&disk), path(volume).join("slaves/sda1")).unwrap();
        let files = Files::below(folder.path());
        (folder, files)
    }

    #[test]
    fn a_disk_of_iscsi_is_found_below_a_volume() {
        let (folder, files) = machine("platform/host2/session3/target2:0:0/2:0:0:1/block");
        assert_eq!(of_machine(&files), found("iscsi", ""));
        let connection = folder.path().join("sys/class/iscsi_connection/connection3:0");
        fs::create_dir_all(&connection).unwrap();
        fs::write(connection.join("address"), "10.0.0.6\n").unwrap();
        assert_eq!(of_machine(&files), found("iscsi", "10.0.0.6"));
    }

    #[test]
    fn a_disk_of_the_machine_is_none_of_the_networks() {
        let (folder, files) = machine("pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block");
        assert_eq!(of_machine(&files), None);
        fs::write(folder.path().join("proc/cmdline"), "root=/dev/nfs nfsroot=10.0.0.5:/srv").unwrap();
        assert_eq!(of_machine(&files), found("nfs", "10.0.0.5"));
    }

    #[test]
    fn volumes_that_stand_on_each_other_end() {
        let (folder, files) = machine("x");
        let volume = folder.path().join("sys/devices/virtual/block/dm-0");
        fs::write(volume.join("dev"), "253:0").unwrap();
        symlink(&volume, volume.join("slaves/dm-0")).unwrap();
        assert_eq!(of_machine(&files), None);
    }

    #[test]
    fn hostile_text_is_nothing() {
        for text in [
            "",
            " - ",
            "a - b",
            "1 2 3 4 / - nfs",
            "21 1 ../../x / / rw - ext4 x rw",
            "\0",
            "root=:",
            "nfsroot",
            "netroot=:[",
            "root=nfs",
        ] {
            let _ = root_mount(text).map(|mount| by_file_system(&mount));
            assert_eq!(by_kernel_words(text), None, "{text}");
            assert!(!root_needs_network(text));
        }
        assert_eq!(first_address("[[[::"), None);
        assert_eq!(by_block_device(&Files::default(), "../../..", 3), None);
    }
}
