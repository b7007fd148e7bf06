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

    /// Puts a guest in the place of any other on its device, of its name or with its address.
    pub fn put(&mut self, guest: &Guest) {
        self.hosts.retain(|host| host.device != guest.device && host.name != guest.name && host.address != guest.address);
        self.hosts.push(HostLine {
            name: guest.name.clone(),
            address: guest.address,
            device: guest.device.clone(),
            line: host_line(guest),
        });
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
        statement.starts_with("subnet ").then(|| Self { network, bridge, line: line.to_owned() })
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
            line: line.to_owned(),
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
