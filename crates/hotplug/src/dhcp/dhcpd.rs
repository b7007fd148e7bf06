//! ISC dhcpd(8): a file of our own that the administrator's dhcpd.conf includes by one signed line at its end, and the list of devices that
//! the server is started with.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnetwork::Ipv4Network;
use serde::{Deserialize, Serialize};

use super::{Clients, Guest, HostName, LEASE_SECONDS, Subnet};
use crate::interface_name::InterfaceName;
use crate::operation::Service;

/// ISC dhcpd on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dhcpd {
    /// The administrator's file.
    pub configuration: PathBuf,
    /// Ours beside it: security policies of distributions let the server read there.
    pub include: PathBuf,
    /// Where the devices are listed that it is started with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<PathBuf>,
    /// Its init script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_script: Option<PathBuf>,
    /// What restarts it.
    pub service: Service,
    /// Devices in our file that are there no more: an `offline` never came, or the machine was restarted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<InterfaceName>,
}

/// Our file, parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Include {
    /// The subnets.
    pub subnets: Vec<SubnetLine>,
    /// The guests.
    pub hosts: Vec<HostLine>,
}

/// A subnet in our file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubnetLine {
    /// The network.
    pub network: Ipv4Network,
    /// The bridge whose clients it serves.
    pub bridge: Option<InterfaceName>,
    line: String,
}

/// A guest in our file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostLine {
    /// Its name.
    pub name: HostName,
    /// Its address.
    pub address: Ipv4Addr,
    /// The device that leads to it.
    pub device: InterfaceName,
    line: String,
}

const HEAD: &str = "# Written by network-nat and vif-nat while guests come and go: changes made by hand are lost.\n";

impl Include {
    /// From the file's text. Lines that are not ours are dropped.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self {
            subnets: text.lines().filter_map(SubnetLine::parse).collect(),
            hosts: text.lines().filter_map(HostLine::parse).collect(),
        }
    }

    /// The file's text; `None` when nothing is in it.
    #[must_use]
    pub fn to_text(&self) -> Option<String> {
        let lines: Vec<&str> = self
            .subnets
            .iter()
            .map(|subnet| subnet.line.as_str())
            .chain(self.hosts.iter().map(|host| host.line.as_str()))
            .collect();
        (!lines.is_empty()).then(|| format!("{HEAD}{}\n", lines.join("\n")))
    }

    /// Puts a guest in the place of any other on its device, of its name or with its address. Gives the other devices that lose theirs.
    pub fn put(&mut self, guest: &Guest) -> Vec<InterfaceName> {
        let same_place = |host: &HostLine| host.device == guest.device || host.name == guest.name || host.address == guest.address;
        let (displaced, kept): (Vec<HostLine>, _) = std::mem::take(&mut self.hosts).into_iter().partition(same_place);
        self.hosts = kept;
        self.hosts.push(HostLine {
            name: guest.name.clone(),
            address: guest.address,
            device: guest.device.clone(),
            line: host_line(guest),
        });
        displaced.into_iter().map(|host| host.device).filter(|device| *device != guest.device).collect()
    }

    /// Takes the guests on a device away.
    pub fn remove(&mut self, device: &InterfaceName) {
        self.hosts.retain(|host| host.device != *device);
    }

    /// Puts a subnet in the place of any other for its network.
    pub fn open(&mut self, subnet: &Subnet) {
        self.close(subnet.network);
        self.subnets.push(SubnetLine { network: subnet.network, bridge: subnet.bridge().cloned(), line: subnet_line(subnet) });
    }

    /// Takes a subnet away.
    pub fn close(&mut self, network: Ipv4Network) {
        self.subnets.retain(|subnet| subnet.network != network);
    }
}

impl SubnetLine {
    fn parse(line: &str) -> Option<Self> {
        let (statement, signature) = line.rsplit_once('#')?;
        let mut words = signature.split_ascii_whitespace();
        let network = words.next()?.parse().ok()?;
        let bridge = words.next().map(str::parse).transpose().ok()?;
        statement.starts_with("subnet ").then(|| Self { network, bridge, line: line.trim_end().to_owned() })
    }
}

impl HostLine {
    fn parse(line: &str) -> Option<Self> {
        let (statement, device) = line.split_once('#')?;
        let mut words = statement.split_ascii_whitespace();
        let name = (words.next() == Some("host")).then(|| words.next()?.parse().ok()).flatten()?;
        let address = words.skip_while(|word| *word != "fixed-address").nth(1)?;
        Some(Self {
            name,
            address: address.strip_suffix(';')?.parse().ok()?,
            device: device.trim().parse().ok()?,
            line: line.trim_end().to_owned(),
        })
    }
}

fn host_line(guest: &Guest) -> String {
    let Guest { name, mac, address, router, device } = guest;
    format!(
        "host {name} {{ hardware ethernet {mac}; fixed-address {address}; option routers {router}; option host-name \"{name}\"; }} # {device}"
    )
}

/// Not `authoritative`: a network as large as 10.0.0.0/8 may hold dom0's own LAN, whose clients would be refused their addresses.
fn subnet_line(subnet: &Subnet) -> String {
    let (network, mask) = (subnet.network.network(), subnet.network.mask());
    let mut line =
        format!("subnet {network} netmask {mask} {{ default-lease-time {LEASE_SECONDS}; max-lease-time {LEASE_SECONDS};");
    if let Clients::OnBridge { router, .. } = &subnet.clients {
        line += &format!(" option routers {router};");
    }
    if let Some((first, last)) = subnet.pool() {
        line += &format!(" range {first} {last};");
    }
    if let Some(domain) = &subnet.domain {
        line += &format!(" option domain-name \"{domain}\";");
    }
    if !subnet.name_servers.is_empty() {
        let servers: Vec<_> = subnet.name_servers.iter().map(ToString::to_string).collect();
        line += &format!(" option domain-name-servers {};", servers.join(", "));
    }
    line += &format!(" }} # {}", subnet.network);
    subnet.bridge().map_or(line.clone(), |bridge| format!("{line} {bridge}"))
}

const SIGNATURE: &str = "# xen-network";
/// Said where the line before ours had no end, so that it can lose it again.
const NO_END: &str = " (the line before had no end)";

/// The administrator's file with our line at its end.
#[must_use]
pub fn with_include(configuration: &str, server: &Dhcpd) -> String {
    let line = include_line(server);
    if configuration.lines().any(|seen| seen.starts_with(&line)) {
        return configuration.to_owned();
    }
    match configuration.is_empty() || configuration.ends_with('\n') {
        true => format!("{configuration}{line}\n"),
        false => format!("{configuration}\n{line}{NO_END}\n"),
    }
}

/// The administrator's file without our line.
#[must_use]
pub fn without_include(configuration: &str, server: &Dhcpd) -> String {
    let line = include_line(server);
    let mut text = String::with_capacity(configuration.len());
    for seen in configuration.split_inclusive('\n') {
        match seen.strip_prefix(&line) {
            None => text += seen,
            Some(rest) if rest.trim_end() == NO_END && text.ends_with('\n') => text.truncate(text.len() - 1),
            Some(_) => {}
        }
    }
    text
}

fn include_line(server: &Dhcpd) -> String {
    format!("include \"{}\"; {SIGNATURE}", server.include.display())
}

/// The networks that a configuration declares itself. Two declarations that overlap keep the server from starting.
#[must_use]
pub fn declared_networks(configuration: &str) -> Vec<Ipv4Network> {
    let uncommented: Vec<&str> = configuration.lines().map(|line| line.split('#').next().unwrap_or_default()).collect();
    let text = uncommented.join(" ").replace(['{', '}', ';'], " ; ");
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let network = |words: &[&str]| match words {
        ["subnet", network, "netmask", mask] => Ipv4Network::with_netmask(network.parse().ok()?, mask.parse().ok()?).ok(),
        _ => None,
    };
    words.windows(4).filter_map(network).collect()
}

/// The variables that list devices: of Red Hat, of SUSE, of Debian before and since version 9.
const LISTS: [&str; 4] = ["DHCPDARGS", "DHCPD_INTERFACE", "INTERFACES", "INTERFACESv4"];
/// Of these, those that stand for every device while they are empty. SUSE's server does not start without a device.
const EMPTY_MEANS_ALL: [&str; 3] = ["DHCPDARGS", "INTERFACES", "INTERFACESv4"];

/// The text of the argument file with `device` in its lists. A list that is empty and so stands for every device is left alone: with one
/// device in it, the server would leave the administrator's others.
#[must_use]
pub fn with_argument(arguments: &str, device: &InterfaceName) -> String {
    edited(arguments, |name, value| {
        let empty = value.trim().is_empty();
        let there = value.split_ascii_whitespace().any(|word| word == device.as_str());
        if there || (empty && EMPTY_MEANS_ALL.contains(&name)) {
            return None;
        }
        Some(match (empty, value.ends_with(char::is_whitespace)) {
            (true, _) => device.to_string(),
            (_, true) => format!("{value}{device} "),
            (_, false) => format!("{value} {device}"),
        })
    })
}

/// The text of the argument file without `device` in its lists.
#[must_use]
pub fn without_argument(arguments: &str, device: &InterfaceName) -> String {
    edited(arguments, |_, value| {
        let words: Vec<&str> = value.split(' ').collect();
        let rest: Vec<&str> = words.iter().copied().filter(|word| *word != device.as_str()).collect();
        (rest.len() < words.len()).then(|| rest.join(" "))
    })
}

/// A text of shell variables, with the values of [`LISTS`] passed through `edit`, which says nothing where a value stays.
fn edited(arguments: &str, edit: impl Fn(&str, &str) -> Option<String>) -> String {
    let changed = |line: &str| {
        let (name, value) = line.split_once('=')?;
        let name = LISTS.into_iter().find(|list| *list == name)?;
        let (value, tail) = unquoted(value)?;
        Some(format!("{name}=\"{}\"{tail}", edit(name, value)?))
    };
    let lines = arguments.split_inclusive('\n').map(|line| {
        let (body, end) = line.strip_suffix('\n').map_or((line, ""), |body| (body, "\n"));
        changed(body).map_or(line.to_owned(), |body| format!("{body}{end}"))
    });
    lines.collect()
}

/// The value of a shell variable, quoted or not, and what follows it on its line. `None` for what a shell would have to work out.
fn unquoted(text: &str) -> Option<(&str, &str)> {
    let (value, tail) = match text.as_bytes().first() {
        Some(quote @ (b'"' | b'\'')) => text[1..].split_once(char::from(*quote))?,
        _ => text.split_at(text.find(char::is_whitespace).unwrap_or(text.len())),
    };
    let plain = !value.contains(['"', '\'', '\\', '$', '`']);
    let nothing_more = tail.trim_start().is_empty() || tail.trim_start().starts_with('#');
    (plain && nothing_more).then_some((value, tail))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mac_address::MacAddress;

    fn server() -> Dhcpd {
        Dhcpd {
            configuration: "/etc/dhcp/dhcpd.conf".into(),
            include: "/etc/dhcp/dhcpd-xen-network.conf".into(),
            arguments: None,
            init_script: None,
            service: Service::InitScript("/etc/init.d/isc-dhcp-server".into()),
            gone: vec![],
        }
    }

    fn guest(number: u8) -> Guest {
        Guest {
            name: HostName::of_guest(number.into(), 0),
            mac: MacAddress::new([0, 0x16, 0x3e, 0, number, 0]),
            address: Ipv4Addr::new(10, 0, number, 1),
            router: Ipv4Addr::new(10, 0, number, 128),
            device: format!("vif{number}.0").parse().unwrap(),
        }
    }

    fn subnet() -> Subnet {
        Subnet {
            network: "10.0.0.0/8".parse().unwrap(),
            clients: Clients::Listed,
            domain: "example.org".parse().ok(),
            name_servers: vec![Ipv4Addr::new(192, 168, 1, 1), Ipv4Addr::new(9, 9, 9, 9)],
        }
    }

    fn device(name: &str) -> InterfaceName {
        name.parse().unwrap()
    }

    #[test]
    fn our_file_is_read_as_it_was_written() {
        let mut include = Include::default();
        include.open(&subnet());
        for number in 1..4 {
            include.put(&guest(number));
        }
        let text = include.to_text().unwrap();
        assert_eq!(
            text,
            "# Written by network-nat and vif-nat while guests come and go: changes made by hand are lost.\n\
             subnet 10.0.0.0 netmask 255.0.0.0 { default-lease-time 3600; max-lease-time 3600; option domain-name \"example.org\"; \
             option domain-name-servers 192.168.1.1, 9.9.9.9; } # 10.0.0.0/8\n\
             host dom1 { hardware ethernet 00:16:3e:00:01:00; fixed-address 10.0.1.1; option routers 10.0.1.128; option host-name \"dom1\"; } # vif1.0\n\
             host dom2 { hardware ethernet 00:16:3e:00:02:00; fixed-address 10.0.2.1; option routers 10.0.2.128; option host-name \"dom2\"; } # vif2.0\n\
             host dom3 { hardware ethernet 00:16:3e:00:03:00; fixed-address 10.0.3.1; option routers 10.0.3.128; option host-name \"dom3\"; } # vif3.0\n"
        );
        assert_eq!(Include::parse(&text), include);
    }

    #[test]
    fn a_guest_takes_the_place_of_whoever_had_its_device_name_or_address() {
        let mut include = Include::default();
        for number in [1, 10] {
            include.put(&guest(number));
        }
        include.put(&Guest { mac: MacAddress::new([2; 6]), ..guest(1) });
        assert_eq!(include.hosts.len(), 2);
        include.put(&Guest { address: Ipv4Addr::new(10, 0, 1, 1), ..guest(7) });
        include.put(&Guest { name: "dom10".parse().unwrap(), ..guest(8) });
        let names: Vec<_> = include.hosts.iter().map(|host| host.device.to_string()).collect();
        assert_eq!(names, ["vif7.0", "vif8.0"]);
        include.remove(&device("vif7"));
        include.remove(&device("vif7.0"));
        include.remove(&device("vif8.0"));
        assert_eq!(include.to_text(), None);
    }

    #[test]
    fn our_line_comes_to_the_end_and_goes_without_a_trace() {
        for own in ["", "subnet 10.1.0.0 netmask 255.255.0.0 { }\n", "no end", "# a\n\n", "a\r\nb\r\n"] {
            let with = with_include(own, &server());
            assert_eq!(with.lines().filter(|line| line.contains("dhcpd-xen-network.conf")).count(), 1, "{with}");
            assert!(with.starts_with(own) && with.ends_with('\n'));
            assert_eq!(with_include(&with, &server()), with);
            assert_eq!(without_include(&with, &server()), own);
            assert_eq!(without_include(own, &server()), own);
            // What somebody writes behind it stays.
            assert!(without_include(&format!("{with}host x {{ }}\n"), &server()).ends_with("host x { }\n"));
        }
    }

    #[test]
    fn networks_of_the_administrators_own_are_seen() {
        let text = "# subnet 1.0.0.0 netmask 255.0.0.0 {}\nshared-network x{subnet 10.1.0.0 netmask 255.255.0.0{}\n\
                    subnet\n  192.168.2.0 # here\n netmask 255.255.255.0 { }}\nsubnet 1.2.3 netmask 255.0.0.0 {}\n\
                    subnet 10.0.0.0 netmask 0.255.0.0 {}";
        let found: Vec<_> = declared_networks(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.1.0.0/16", "192.168.2.0/24"]);
    }

    #[test]
    fn lists_of_devices_in_every_style() {
        for (before, after) in [
            ("DHCPDARGS=\"eth1\"\n", "DHCPDARGS=\"eth1 vif1.0\"\n"),
            ("DHCPDARGS=-q\n", "DHCPDARGS=\"-q vif1.0\"\n"),
            ("DHCPD_INTERFACE=\"\"\n", "DHCPD_INTERFACE=\"vif1.0\"\n"),
            ("DHCPD_INTERFACE=''\n", "DHCPD_INTERFACE=\"vif1.0\"\n"),
            ("DHCPD_INTERFACE=\n", "DHCPD_INTERFACE=\"vif1.0\"\n"),
            ("INTERFACES=\"eth1 eth2 \" # both\n", "INTERFACES=\"eth1 eth2 vif1.0 \" # both\n"),
            ("INTERFACESv4='eth1'", "INTERFACESv4=\"eth1 vif1.0\""),
            ("INTERFACES=\"vif1.01\"\n", "INTERFACES=\"vif1.01 vif1.0\"\n"),
        ] {
            assert_eq!(with_argument(before, &device("vif1.0")), after);
            assert_eq!(with_argument(after, &device("vif1.0")), after);
            // Quotes that were added stay; they change nothing.
            let quoted = without_argument(after, &device("vif1.0"));
            let words = |text: &str| text.replace(['"', '\''], "");
            assert_eq!(words(&quoted), words(before));
            if before.contains('"') {
                assert_eq!(quoted, before);
            }
        }
    }

    #[test]
    fn what_is_no_list_of_devices_or_stands_for_all_stays() {
        for text in [
            "",
            "INTERFACESv4=\"\"\nINTERFACESv6=\"eth1\"\n",
            "INTERFACES=\"\"\n",
            "DHCPDARGS=\n",
            "# INTERFACES=\"eth1\"\n",
            "MY_INTERFACES=\"eth1\"\n",
            "INTERFACES=\"eth1\n",
            "INTERFACES=\"$(cat /etc/devices)\"\n",
            "INTERFACES=eth1; reboot\n",
            "INTERFACES=eth1\\ eth2\n",
            "export INTERFACES\n",
        ] {
            assert_eq!(with_argument(text, &device("vif1.0")), text);
            assert_eq!(without_argument(text, &device("vif1.0")), text);
        }
        let others = "INTERFACES=\"vif1.01 avif1.0 vif1.0x\"\n";
        assert_eq!(without_argument(others, &device("vif1.0")), others);
    }

    proptest! {
        #[test]
        fn hostile_texts_break_nothing(text in "(?s)([ -~\n#=]|subnet |netmask |host |INTERFACES=|fixed-address |10.0.0.0|/8){0,60}") {
            let include = Include::parse(&text);
            let again = include.to_text().map(|text| Include::parse(&text)).unwrap_or_default();
            prop_assert_eq!(again, include);
            prop_assert_eq!(&without_include(&with_include(&text, &server()), &server()), &without_include(&text, &server()));
            let _ = declared_networks(&text);
        }

        #[test]
        fn a_device_comes_once_and_goes(text in "(?s)((INTERFACES|DHCPDARGS|X)=[\"']?[a-z0-9. ]{0,12}[\"']?( #.)?\n){0,4}") {
            let with = with_argument(&text, &device("vif1.0"));
            prop_assert_eq!(&with_argument(&with, &device("vif1.0")), &with);
            let gone = without_argument(&with, &device("vif1.0"));
            prop_assert_eq!(without_argument(&gone, &device("vif1.0")), gone);
        }

        #[test]
        fn other_lines_never_change(text in "(?s)[^I D]{0,40}\n") {
            prop_assert_eq!(with_argument(&text, &device("vif1.0")), text);
        }
    }
}
