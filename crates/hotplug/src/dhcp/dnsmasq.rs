//! dnsmasq(8): one file in its folder of configuration, and a folder of our own with a file for every guest's interface.
//!
//! dnsmasq watches the folder (`--dhcp-hostsdir`) and reads a new file at once. It does not notice that one goes: an entry stays in its
//! memory, and keeps its address from any other, until SIGHUP makes it read all of them anew (dnsmasq(8); seen on 2.90: `duplicate
//! dhcp-host IP address`). The address stays leased to the guest that had it even then, which only a DHCPRELEASE ends.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnetwork::Ipv4Network;
use serde::{Deserialize, Serialize};

use super::{Clients, Guest, LEASE_SECONDS, Subnet};
use crate::interface_name::InterfaceName;
use crate::mac_address::MacAddress;
use crate::operation::Service;

/// Our file among its configuration. Some distributions read only what ends in `.conf`.
pub const DROP_IN: &str = "/etc/dnsmasq.d/xen-network.conf";
/// The folder of the guests' files. dnsmasq reads there after it has given up root's rights, so everybody may.
pub const GUESTS: &str = "/run/xen-network-dhcp";

/// dnsmasq on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dnsmasq {
    /// Our file among its configuration.
    pub drop_in: PathBuf,
    /// The folder of the guests' files.
    pub guests: PathBuf,
    /// What restarts it.
    pub service: Service,
    /// Its file with its process id, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_file: Option<PathBuf>,
    /// Where it serves by the administrator's word.
    #[serde(default)]
    pub interfaces: Interfaces,
    /// Who holds a lease of the address that is to be given to a guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
}

/// On which devices a server serves by the administrator's word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interfaces {
    /// On every one, those to come included.
    #[default]
    All,
    /// On those that its configuration lists (`interface=` or `listen-address=`).
    Listed,
    /// On those alone that are listed and there when it starts (`bind-interfaces` besides): it does not start while one is missing.
    ListedAndBound,
}

/// Who holds a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its Ethernet address.
    pub mac: MacAddress,
    /// What it called itself (RFC 2132, section 9.14), where it did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub client_id: Vec<u8>,
}

impl Dnsmasq {
    /// The file that keeps the folder of the guests' files. dnsmasq passes over what begins with a dot (`expand_filelist()`, its
    /// src/option.c).
    #[must_use]
    pub fn keeper(&self) -> PathBuf {
        self.guests.join(".xen-network")
    }

    /// The file of the guest with this address behind this device. Its name tells device and address, so that a look at the folder tells who has what.
    #[must_use]
    pub fn guest_file(&self, device: &InterfaceName, address: Ipv4Addr) -> PathBuf {
        self.guests.join(format!("{FILE_PREFIX}{device}@{address}"))
    }

    /// The device and the address that a path is the guest's file of.
    #[must_use]
    pub fn guest_of(&self, path: &Path) -> Option<(InterfaceName, Ipv4Addr)> {
        guest_of(path.strip_prefix(&self.guests).ok()?.to_str()?)
    }
}

/// What the name of every guest's file begins with: a device's own name might begin with a dot, which would hide it.
const FILE_PREFIX: &str = "guest-";

/// The device and the address that a file's name tells.
pub(crate) fn guest_of(file_name: &str) -> Option<(InterfaceName, Ipv4Addr)> {
    let (device, address) = file_name.strip_prefix(FILE_PREFIX)?.rsplit_once('@')?;
    Some((device.parse().ok()?, address.parse().ok()?))
}

/// What stands in a guest's file: a `--dhcp-host` without that word. Clients are told apart by their Ethernet address alone (`id:*`), since
/// a guest's boot loader and its system may call themselves by different names.
#[must_use]
pub fn entry(guest: &Guest) -> String {
    format!("{},id:*,{},{}\n", guest.mac, guest.address, guest.name)
}

const DROP_IN_HEAD: &str = "# Written by network-nat, and removed when it stops. The guests' files are written by vif-nat.\n";
const SUBNET_MARK: &str = "# subnet ";

/// Our file as it is with `subnet` in it, in place of any other for that network.
#[must_use]
pub fn with_subnet(old: Option<&str>, server: &Dnsmasq, subnet: &Subnet) -> String {
    let mut blocks = subnets(old.unwrap_or_default());
    blocks.retain(|(network, _)| *network != subnet.network);
    blocks.push((subnet.network, block(server, subnet)));
    render(server, &blocks)
}

/// Our file as it is without the subnet of `network`. `None` when nothing is left in it.
#[must_use]
pub fn without_subnet(old: &str, server: &Dnsmasq, network: Ipv4Network) -> Option<String> {
    let mut blocks = subnets(old);
    blocks.retain(|(other, _)| *other != network);
    (!blocks.is_empty()).then(|| render(server, &blocks))
}

/// The subnets of our file, each with the lines that make it.
#[must_use]
pub fn subnets(text: &str) -> Vec<(Ipv4Network, String)> {
    let mut blocks = vec![];
    for part in text.split(&format!("\n{SUBNET_MARK}")).skip(1) {
        let (first, lines) = part.split_once('\n').unwrap_or((part, ""));
        if let Ok(network) = first.trim().parse() {
            let lines = lines.lines().map(|line| format!("{line}\n")).collect();
            blocks.push((network, lines));
        }
    }
    blocks
}

fn render(server: &Dnsmasq, blocks: &[(Ipv4Network, String)]) -> String {
    let mut text = format!("{DROP_IN_HEAD}dhcp-hostsdir={}\n", server.guests.display());
    for (network, lines) in blocks {
        text += &format!("{SUBNET_MARK}{network}\n{lines}");
    }
    text
}

/// Everything is bound to the subnet by a tag, so that none of it reaches the administrator's own clients. `dhcp-authoritative` would: it
/// holds for the whole server, and is left out.
fn block(server: &Dnsmasq, subnet: &Subnet) -> String {
    let tag = format!("xen-{}-{}", subnet.network.network(), subnet.network.prefix());
    let mask = subnet.network.mask();
    let range = match subnet.pool() {
        Some((first, last)) => format!("{first},{last}"),
        None => format!("{},static", subnet.network.network()),
    };
    // Said aloud, because the administrator may have named another router for everybody.
    let router = match &subnet.clients {
        // Whatever address dnsmasq has on the device that the question came by (dnsmasq(8), --dhcp-option): dom0's end of the guest's link.
        Clients::Listed => Ipv4Addr::UNSPECIFIED,
        Clients::OnBridge { router, .. } => *router,
    };
    let mut lines = vec![
        format!("dhcp-range=set:{tag},{range},{mask},{LEASE_SECONDS}s"),
        format!("dhcp-option=tag:{tag},option:router,{router}"),
    ];
    if !subnet.name_servers.is_empty() {
        let servers: Vec<_> = subnet.name_servers.iter().map(ToString::to_string).collect();
        lines.push(format!("dhcp-option=tag:{tag},option:dns-server,{}", servers.join(",")));
    }
    lines.extend(subnet.domain.as_ref().map(|domain| format!("dhcp-option=tag:{tag},option:domain-name,{domain}")));
    if server.interfaces == Interfaces::Listed {
        lines.push(match &subnet.clients {
            Clients::Listed => "interface=vif*".to_owned(),
            Clients::OnBridge { bridge, .. } => format!("interface={bridge}"),
        });
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

impl Interfaces {
    /// As the texts of a configuration have it.
    #[must_use]
    pub fn of(configuration: &[String]) -> Self {
        let says = |wanted: &[&str]| configuration.iter().any(|text| options(text).any(|(name, _)| wanted.contains(&name)));
        match (says(&["interface", "listen-address"]), says(&["bind-interfaces"])) {
            (false, _) => Self::All,
            (true, false) => Self::Listed,
            (true, true) => Self::ListedAndBound,
        }
    }
}

/// The value of an option in a text of dnsmasq's configuration; the last one counts.
#[must_use]
pub fn option_value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    options(text).filter(|(other, _)| *other == name).last().map(|(_, value)| value)
}

/// Short options that matter here, with their long names (dnsmasq(8)).
const SHORT_OPTIONS: [(&str, &str); 6] = [
    ("-i", "interface"),
    ("-a", "listen-address"),
    ("-l", "dhcp-leasefile"),
    ("-x", "pid-file"),
    ("-C", "conf-file"),
    ("-z", "bind-interfaces"),
];

/// The options of a running server's command line, whose words end with zeros (proc(5)), as lines of a configuration. Distributions pass
/// some that stand in no file of dnsmasq's own: Debian those of /etc/default/dnsmasq.
#[must_use]
pub fn options_of_command_line(words: &str) -> String {
    let mut words = words.split('\0').skip(1);
    let mut lines = String::new();
    while let Some(word) = words.next() {
        let short = SHORT_OPTIONS.iter().find_map(|(short, long)| Some((*long, word.strip_prefix(short)?)));
        let line = match (word.strip_prefix("--"), short) {
            (Some(option), _) => option.to_owned(),
            (None, Some((long @ "bind-interfaces", _))) => long.to_owned(),
            (None, Some((long, ""))) => format!("{long}={}", words.next().unwrap_or_default()),
            (None, Some((long, value))) => format!("{long}={value}"),
            (None, None) => continue,
        };
        lines += &format!("{}\n", line.replace('\n', " "));
    }
    lines
}

fn options(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| {
        let line = line.trim();
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        let value = value.split(" #").next().unwrap_or_default();
        (!name.is_empty() && !name.starts_with('#')).then(|| (name.trim(), value.trim()))
    })
}

/// Who holds the lease of an address, from the text of dnsmasq's file of leases: a line a lease, with its end, Ethernet address, address,
/// name and client identifier (`lease_update_file()`, its src/lease.c).
#[must_use]
pub fn holder_of(leases: &str, address: Ipv4Addr) -> Option<Holder> {
    leases.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, mac, leased, _, client_id] = fields[..] else { return None };
        match leased.parse::<Ipv4Addr>() {
            Ok(leased) if leased == address => Some(Holder { mac: mac.parse().ok()?, client_id: client_id_of(client_id)? }),
            _ => None,
        }
    })
}

/// Bytes in hexadecimal, joined by colons; `*` is none.
fn client_id_of(text: &str) -> Option<Vec<u8>> {
    if text == "*" {
        return Some(vec![]);
    }
    let byte = |group: &str| (group.len() == 2).then(|| u8::from_str_radix(group, 16).ok()).flatten();
    let bytes: Option<Vec<u8>> = text.split(':').map(byte).collect();
    // An option is no longer than this (RFC 2132, section 2).
    bytes.filter(|bytes| bytes.len() <= 255)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn server() -> Dnsmasq {
        Dnsmasq {
            drop_in: DROP_IN.into(),
            guests: GUESTS.into(),
            service: Service::Systemd("dnsmasq.service".to_owned()),
            pid_file: None,
            interfaces: Interfaces::All,
            holder: None,
        }
    }

    fn guest() -> Guest {
        Guest {
            name: "dom4".parse().unwrap(),
            mac: "00:16:3e:00:04:00".parse().unwrap(),
            address: Ipv4Addr::new(10, 0, 4, 1),
            router: Ipv4Addr::new(10, 0, 4, 128),
            device: "vif4.0".parse().unwrap(),
        }
    }

    fn subnet(network: &str) -> Subnet {
        Subnet { network: network.parse().unwrap(), clients: Clients::Listed, domain: None, name_servers: vec![] }
    }

    #[test]
    fn a_guests_file_tells_device_and_address_by_its_name() {
        let address = Ipv4Addr::new(10, 0, 4, 1);
        for device in ["vif4.0", "web", ".hidden", "a@b", "#x#", "x~", "10.0.4.1"] {
            let path = server().guest_file(&device.parse().unwrap(), address);
            // What dnsmasq would pass over (`expand_filelist()`, its src/option.c).
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(!name.starts_with(['.', '#']) && !name.ends_with(['~', '#']), "{name}");
            assert_eq!(server().guest_of(&path), Some((device.parse().unwrap(), address)));
        }
        for name in
            ["", ".xen-network", "guest-vif4.0", "guest-@10.0.4.1", "guest-vif4.0@", "guest-vif4.0@10.0.4.1.7", "vif4.0@10.0.4.1"]
        {
            assert_eq!(guest_of(name), None, "{name}");
        }
    }

    #[test]
    fn an_entry_is_one_line() {
        assert_eq!(entry(&guest()), "00:16:3e:00:04:00,id:*,10.0.4.1,dom4\n");
    }

    #[test]
    fn subnets_come_and_go_by_themselves() {
        let one = with_subnet(None, &server(), &subnet("10.0.0.0/8"));
        let both = with_subnet(Some(&one), &server(), &subnet("192.168.2.0/24"));
        assert_eq!(
            subnets(&both).iter().map(|(network, _)| network.to_string()).collect::<Vec<_>>(),
            ["10.0.0.0/8", "192.168.2.0/24"]
        );
        assert_eq!(without_subnet(&both, &server(), "192.168.2.0/24".parse().unwrap()), Some(one.clone()));
        assert_eq!(with_subnet(Some(&one), &server(), &subnet("10.0.0.0/8")), one);
        assert_eq!(without_subnet(&one, &server(), "10.0.0.0/8".parse().unwrap()), None);
    }

    #[test]
    fn the_administrators_options_are_found() {
        let text = "# interface=eth9\n\n pid-file = /run/x.pid # here\nbind-interfaces\nlisten-address=::1\npid-file=/run/y.pid\n";
        let interfaces = |texts: &[&str]| Interfaces::of(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_eq!(interfaces(&[text]), Interfaces::ListedAndBound);
        assert_eq!(interfaces(&["bind-interfaces\n", "interface=eth1"]), Interfaces::ListedAndBound);
        assert_eq!(interfaces(&["interface=eth1\nbind-dynamic\n"]), Interfaces::Listed);
        assert_eq!(interfaces(&["bind-interfaces", ""]), Interfaces::All);
        let others = "#interface=eth1\nexcept-interface=eth0\nno-dhcp-interface=eth2\ndomain=interface\n";
        assert_eq!(interfaces(&[others]), Interfaces::All);
        assert_eq!(option_value(text, "pid-file"), Some("/run/y.pid"));
        assert_eq!(option_value(text, "bind-interfaces"), Some(""));
        assert_eq!(option_value(text, "interface"), None);
    }

    #[test]
    fn options_of_the_command_line_are_as_those_of_a_file() {
        let words = "/usr/sbin/dnsmasq\0-x\0/run/dnsmasq/dnsmasq.pid\0-u\0dnsmasq\0-ieth1\0-l\0/srv/leases\0-7\0/etc/dnsmasq.d,.dpkg-dist\0\
                     --local-service\0--listen-address=::1\0-z\0-C\0";
        assert_eq!(
            options_of_command_line(words),
            "pid-file=/run/dnsmasq/dnsmasq.pid\ninterface=eth1\ndhcp-leasefile=/srv/leases\nlocal-service\nlisten-address=::1\n\
             bind-interfaces\nconf-file=\n"
        );
        for words in ["", "dnsmasq", "-i", "\0\0", "dnsmasq\0-i\0--x\ninterface=eth9"] {
            assert!(!options_of_command_line(words).lines().any(|line| line == "interface=eth9"), "{words:?}");
        }
    }

    #[test]
    fn the_holder_of_a_lease_is_found_by_the_whole_address() {
        let leases = "1795383108 00:16:3e:00:04:99 10.0.4.10 dom40 *\n\
                      1795383108 00:16:3e:00:04:00 10.0.4.1 dom4 01:00:16:3e:00:04:00\n\
                      1795383108 06-00:16:3e:00:04:00 10.0.4.2 token ring\n\
                      duid 00:01:00:01\n1795383108 1 fd00::1 dom4 00:01\n";
        let holder = holder_of(leases, Ipv4Addr::new(10, 0, 4, 1)).unwrap();
        assert_eq!(holder.mac.to_string(), "00:16:3e:00:04:00");
        assert_eq!(holder.client_id, [1, 0, 0x16, 0x3e, 0, 4, 0]);
        assert!(holder_of(leases, Ipv4Addr::new(10, 0, 4, 10)).unwrap().client_id.is_empty());
        for last in [2, 3] {
            assert_eq!(holder_of(leases, Ipv4Addr::new(10, 0, 4, last)), None);
        }
    }

    proptest! {
        #[test]
        fn hostile_texts_break_nothing(text in "(?s)([ -~\n#=]|# subnet |dhcp-range=|10.0.0.0/8|01:){0,60}") {
            let blocks = subnets(&text);
            let _ = (Interfaces::of(std::slice::from_ref(&text)), option_value(&text, "pid-file"), holder_of(&text, Ipv4Addr::LOCALHOST), guest_of(&text));
            // What is read is read again from what is written.
            prop_assert_eq!(subnets(&render(&server(), &blocks)), blocks);
        }
    }
}
