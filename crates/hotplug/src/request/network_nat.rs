//! What network-nat is asked.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::{IpNetwork, Ipv4Network};

use super::antispoof::AntiSpoof;
use super::network::name;
pub use super::network::{Command, Ipv6};
use super::routed::parse_subnet;
use crate::dhcp::DhcpWish;
use crate::interface_name::InterfaceName;
use crate::invocation::shortened;
use crate::plan::Refusal;

/// A private network behind the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivateNetwork {
    /// The bridge that guests join.
    pub bridge: InterfaceName,
    /// The host's own addresses there, in the order in which they were given, none twice.
    pub addresses: Vec<IpNetwork>,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkNat {
    /// The command.
    pub command: Command,
    /// The device that leads outside, where it was named.
    pub netdev: Option<InterfaceName>,
    /// The private network, where one is wanted.
    pub network: Option<PrivateNetwork>,
    /// Who gives guests their addresses.
    pub dhcp: DhcpWish,
    /// The network that addresses are given in, where it was said.
    pub subnet: Option<Ipv4Network>,
    /// The router that guests on the private bridge are told by DHCP, where it is another than this host.
    pub gateway: Option<Ipv4Addr>,
    /// What happens to IPv6, where it was said.
    pub ipv6: Option<Ipv6>,
    /// Whether all guests are to be kept to their own addresses.
    pub antispoof: Option<AntiSpoof>,
}

impl NetworkNat {
    /// From the command and the variables: `variable` looks one up.
    ///
    /// # Errors
    /// When a value is malformed.
    pub fn parse<'a>(command: &str, variable: impl Fn(&str) -> Option<&'a str>) -> Result<Self, Refusal> {
        let given = |name: &str| variable(name).filter(|text| !text.is_empty());
        Ok(Self {
            command: Command::parse(command)?,
            netdev: name(given("netdev"), "netdev")?,
            network: private_network(name(given("bridge"), "bridge")?, given("address"))?,
            dhcp: DhcpWish::parse(given("dhcp"))?,
            subnet: given("subnet").map(parse_subnet).transpose()?,
            gateway: given("gateway").map(parse_gateway).transpose()?,
            ipv6: Ipv6::parse(given("ipv6"))?,
            antispoof: AntiSpoof::parse(given("antispoof"))?,
        })
    }

    /// What happens to IPv6: what was said, else it is forwarded for a private network with IPv6 addresses, and left alone otherwise.
    #[must_use]
    pub fn ipv6(&self) -> Ipv6 {
        let has_ipv6 = |network: &PrivateNetwork| network.addresses.iter().any(IpNetwork::is_ipv6);
        let unsaid = if self.network.as_ref().is_some_and(has_ipv6) { Ipv6::Route } else { Ipv6::Off };
        self.ipv6.unwrap_or(unsaid)
    }
}

fn parse_gateway(text: &str) -> Result<Ipv4Addr, Refusal> {
    text.parse().map_err(|_| {
        Refusal::plain(format!(
            "gateway={} is not the IPv4 address of a router that guests are told of, such as 192.168.2.1",
            shortened(text).escape_default()
        ))
    })
}

fn private_network(bridge: Option<InterfaceName>, address: Option<&str>) -> Result<Option<PrivateNetwork>, Refusal> {
    let addresses = parse_addresses(address.unwrap_or_default())?;
    match bridge {
        Some(bridge) => Ok(Some(PrivateNetwork { bridge, addresses })),
        None if addresses.is_empty() => Ok(None),
        None => Err(Refusal::plain("address= belongs to a private bridge: name it with bridge=")),
    }
}

/// Addresses with the lengths of their networks, with spaces or commas between them.
fn parse_addresses(text: &str) -> Result<Vec<IpNetwork>, Refusal> {
    let mut addresses = vec![];
    for word in text.split([' ', ',', '\t']).filter(|word| !word.is_empty()) {
        let network = parse_address(word)?;
        if !addresses.contains(&network) {
            addresses.push(network);
        }
    }
    Ok(addresses)
}

fn parse_address(word: &str) -> Result<IpNetwork, Refusal> {
    let refused = |why: &str| Refusal::plain(format!("address={} {why}", shortened(word).escape_default()));
    if word.parse::<IpAddr>().is_ok() {
        return Err(refused("lacks the length of its network: write it as in address=192.168.2.1/24"));
    }
    let network: IpNetwork =
        word.parse().map_err(|_| refused("is no address with the length of its network, as 192.168.2.1/24 is"))?;
    let own = network.ip();
    if own.is_unspecified() || own.is_loopback() || own.is_multicast() {
        return Err(refused("cannot be a host's address on a bridge"));
    }
    if is_no_hosts(network) {
        return Err(refused("is the network's own or its broadcast address: give the host another one of that network"));
    }
    if network.prefix() == 0 || network.prefix() == if network.is_ipv4() { 32 } else { 128 } {
        return Err(refused("leaves guests no network: give it a shorter length, as in 192.168.2.1/24"));
    }
    Ok(network)
}

/// Whether the address is the first or, for IPv4, the last of its network, which no host has (RFC 1122, 3.2.1.3; RFC 4291, 2.6.1). Networks
/// of two addresses are for two hosts (RFC 3021, RFC 6164).
fn is_no_hosts(network: IpNetwork) -> bool {
    match network {
        IpNetwork::V4(own) => own.prefix() < 31 && (own.ip() == own.network() || own.ip() == own.broadcast()),
        IpNetwork::V6(own) => own.prefix() < 127 && own.ip() == own.network(),
    }
}
