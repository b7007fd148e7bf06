//! Which program looks after a device, and would not like it to be changed behind its back.

use super::files::Files;
use super::ifupdown::{Method, method_of};
use crate::interface_name::InterfaceName;

/// Which program looks after a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// NetworkManager.
    NetworkManager,
    /// systemd-networkd.
    Networkd,
    /// Debian's ifupdown, which acts only when it is called.
    Ifupdown {
        /// Whether a DHCP client of its keeps the device's addresses.
        dhcp: bool,
    },
    /// None that could be found.
    None,
}

/// Which program looks after the device with this number and name, by the files that they keep below /run.
#[must_use]
pub fn manager_of(index: u32, device: &InterfaceName) -> Manager {
    manager_by(&Files::default(), index, device)
}

fn manager_by(files: &Files, index: u32, device: &InterfaceName) -> Manager {
    if files.read(&format!("/run/NetworkManager/devices/{index}")).is_some_and(|text| is_network_managers(&text)) {
        return Manager::NetworkManager;
    }
    if files.read(&format!("/run/systemd/netif/links/{index}")).is_some_and(|text| is_networkds(&text)) {
        return Manager::Networkd;
    }
    method_of(files, device).map_or(Manager::None, |method| Manager::Ifupdown { dhcp: method == Method::Dhcp })
}

/// NetworkManager's state of a device (`nm_config_device_state_write()` in its src/core/nm-config.c): a key file whose section
/// `[device]` has `managed=true`.
pub(super) fn is_network_managers(text: &str) -> bool {
    let mut section = "";
    text.lines().map(str::trim).any(|line| {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        }
        section == "device" && value_of(line, "managed").is_some_and(|value| matches!(value, "true" | "1"))
    })
}

/// systemd-networkd's state of a device (`link_save()` in its src/network/networkd-state-file.c): `ADMIN_STATE` is `unmanaged` where no
/// .network file matched.
pub(super) fn is_networkds(text: &str) -> bool {
    text.lines().find_map(|line| value_of(line.trim(), "ADMIN_STATE")).is_some_and(|state| !matches!(state, "" | "unmanaged"))
}

fn value_of<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let (name, value) = line.split_once('=')?;
    (name.trim_end() == key).then(|| value.trim())
}

/// Whether a DHCP client seems to listen on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DhcpClient {
    /// A packet socket that receives IPv4 is bound to the device, as DHCP clients have one until they have an address, and some always.
    Likely,
    /// There is no such socket. The client may still be there, waiting for its lease to grow old.
    NotSeen,
}

/// Looks for the socket of a DHCP client that is bound to the device with this number.
#[must_use]
pub fn dhcp_client_bound(index: u32) -> DhcpClient {
    let sockets = Files::default().read("/proc/net/packet").unwrap_or_default();
    dhcp_socket(&sockets, index)
}

/// From /proc/net/packet (`packet_seq_show()` in Linux's net/packet/af_packet.c), whose columns are
/// `sk RefCnt Type Proto Iface R Rmem User Inode`: protocol in hexadecimal, device by number, 0 for all of them.
pub(super) fn dhcp_socket(sockets: &str, index: u32) -> DhcpClient {
    // ETH_P_IP and ETH_P_ALL (include/uapi/linux/if_ether.h).
    let listens = |protocol: &str| matches!(u16::from_str_radix(protocol, 16), Ok(0x0800 | 0x0003));
    let found = sockets.lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        matches!(fields[..], [_, _, _, protocol, device, _, ..] if listens(protocol) && device.parse() == Ok(index))
    });
    if found && index != 0 { DhcpClient::Likely } else { DhcpClient::NotSeen }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn manager(content: &[(&str, &str)]) -> Manager {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in content {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        manager_by(&Files::below(root.path()), 3, &"eth0".parse().unwrap())
    }

    const NETWORK_MANAGER: &str = "run/NetworkManager/devices/3";
    const NETWORKD: &str = "run/systemd/netif/links/3";

    #[test]
    fn nobody_manages_a_device_without_files() {
        assert_eq!(manager(&[]), Manager::None);
        assert_eq!(manager(&[("run/NetworkManager/devices/33", "[device]\nmanaged=true\n")]), Manager::None);
    }

    #[test]
    fn network_manager_says_so_in_its_section() {
        assert_eq!(manager(&[(NETWORK_MANAGER, "[device]\nmanaged=true\nconnection-uuid=1\n")]), Manager::NetworkManager);
        assert_eq!(manager(&[(NETWORK_MANAGER, "[device]\nmanaged=false\n")]), Manager::None);
        assert_eq!(manager(&[(NETWORK_MANAGER, "[other]\nmanaged=true\n")]), Manager::None);
        assert_eq!(manager(&[(NETWORK_MANAGER, "managed=true\n[device]\nunmanaged=true\n")]), Manager::None);
    }

    #[test]
    fn networkd_manages_all_but_what_it_calls_unmanaged() {
        for (state, expected) in [
            ("configured", Manager::Networkd),
            ("configuring", Manager::Networkd),
            ("pending", Manager::Networkd),
            ("unmanaged", Manager::None),
            ("", Manager::None),
        ] {
            let text = format!("# This is private data. Do not parse.\nADMIN_STATE={state}\nOPER_STATE=routable\n");
            assert_eq!(manager(&[(NETWORKD, &text)]), expected, "{state}");
        }
        assert_eq!(manager(&[(NETWORKD, "OPER_STATE=routable\n")]), Manager::None);
    }

    #[test]
    fn ifupdown_comes_last() {
        let state = ("run/network/ifstate", "eth0=eth0\n");
        let dhcp = ("etc/network/interfaces", "iface eth0 inet dhcp\n");
        assert_eq!(manager(&[state, dhcp]), Manager::Ifupdown { dhcp: true });
        assert_eq!(manager(&[state]), Manager::Ifupdown { dhcp: false });
        assert_eq!(manager(&[state, dhcp, (NETWORKD, "ADMIN_STATE=configured\n")]), Manager::Networkd);
    }

    const SOCKETS: &str = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n\
                           0000000000000000 3      3    88cc   2     1 0      0      100\n\
                           0000000000000000 3      3    0003   3     1 0      0      101\n\
                           0000000000000000 3      2    0800   41    1 0      0      102\n\
                           0000000000000000 3      3    0003   0     1 0      0      103\n";

    #[test]
    fn a_dhcp_clients_socket_is_bound_to_its_device() {
        assert_eq!(dhcp_socket(SOCKETS, 3), DhcpClient::Likely);
        assert_eq!(dhcp_socket(SOCKETS, 41), DhcpClient::Likely);
        for index in [0, 1, 2, 4, 100] {
            assert_eq!(dhcp_socket(SOCKETS, index), DhcpClient::NotSeen, "{index}");
        }
    }

    #[test]
    fn hostile_files_are_nothing() {
        for text in ["", "\n", "[", "[]", "[device", "=\n=", "\0", "[device]\nmanaged", "ADMIN_STATE", &"[device]".repeat(10_000)] {
            assert!(!is_network_managers(text) && !is_networkds(text), "{text:.40}");
            assert_eq!(dhcp_socket(text, 3), DhcpClient::NotSeen);
        }
    }

    #[test]
    fn the_kernels_own_list_can_be_read() {
        assert_eq!(dhcp_client_bound(u32::MAX), DhcpClient::NotSeen);
    }
}
