//! What vif-route and vif-nat are asked: which addresses a guest has, and which one dom0 has on the link to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::{IpNetwork, Ipv4Network};

use crate::guest_filter::is_single;
use crate::interface_name::InterfaceName;
use crate::invocation::shortened;
use crate::mac_address::MacAddress;
use crate::plan::Refusal;
use crate::request::vif::{Vif, VifKind};

/// Where guests with IPv6 addresses find dom0 on their link, whatever else is configured.
pub const IPV6_GATEWAY: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// How a guest's packets get on from dom0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// With the guest's own address (vif-route).
    Plain,
    /// With dom0's address (vif-nat).
    Translated,
}

/// dom0's own addresses on the links to its guests, as far as they were asked for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Gateways {
    /// IPv4.
    pub ipv4: Option<Ipv4Addr>,
    /// IPv6, besides [`IPV6_GATEWAY`].
    pub ipv6: Option<Ipv6Addr>,
}

/// What is asked of a routed vif.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routed {
    /// The vif.
    pub vif: Vif,
    /// How its packets get on.
    pub routing: Routing,
    /// What is to be routed to the guest: single addresses (/32, /128) and networks.
    pub destinations: Vec<IpNetwork>,
    /// The network that the guest's first IPv4 address lies in, where something tells.
    pub subnet: Option<Ipv4Network>,
    /// dom0's end of the link.
    pub gateways: Gateways,
    /// The device that leads out of the host, where one was named.
    pub uplink: Option<InterfaceName>,
    /// The guest's Ethernet address, where the toolstack says it.
    pub mac: Option<MacAddress>,
}

/// The words that decide about a routed vif, besides those of every vif; an empty one counts as none.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoutedWords<'a> {
    /// `gateway`
    pub gateway: Option<&'a str>,
    /// `subnet`
    pub subnet: Option<&'a str>,
    /// `netdev`, by which libxl hands on the guest's `gatewaydev`.
    pub netdev: Option<&'a str>,
    /// `gatewaydev`
    pub gatewaydev: Option<&'a str>,
    /// `mac`
    pub mac: Option<&'a str>,
}

impl Routed {
    /// From a vif and the words about its routing.
    ///
    /// # Errors
    /// When a word is malformed, or an address is none that a guest can have.
    pub fn new<'a>(vif: Vif, routing: Routing, words: &RoutedWords<'a>) -> Result<Self, Refusal> {
        let given = |word: Option<&'a str>| word.filter(|text| !text.is_empty());
        let device = |name: &str, word| {
            let parsed = given(word).map(str::parse::<InterfaceName>).transpose();
            parsed.map_err(|error| Refusal::plain(format!("{name} names no device: {error}")))
        };
        let gateways = given(words.gateway).map(parse_gateways).transpose()?.unwrap_or_default();
        let asked_subnet = given(words.subnet).map(parse_subnet).transpose()?;
        let guest = Guest::of(&vif, routing)?;
        let mac = given(words.mac).map(str::parse::<MacAddress>).transpose();
        let routed = Self {
            routing,
            subnet: asked_subnet.or(guest.subnet),
            destinations: guest.destinations,
            gateways,
            uplink: device("netdev", words.netdev)?.or(device("gatewaydev", words.gatewaydev)?),
            mac: mac.map_err(|error| Refusal::plain(format!("the XenStore key mac of this interface: {error}")))?,
            vif,
        };
        routed.check_subnet(asked_subnet)?;
        Ok(routed)
    }

    /// A subnet that was asked for holds the guest, and dom0's end where that was asked for too.
    fn check_subnet(&self, asked: Option<Ipv4Network>) -> Result<(), Refusal> {
        let Some(subnet) = asked else { return Ok(()) };
        let outside = [("the guest's address ", self.first_ipv4()), ("gateway=", self.gateways.ipv4)]
            .into_iter()
            .find_map(|(what, address)| address.filter(|address| !subnet.contains(*address)).map(|address| (what, address)));
        match outside {
            Some((what, address)) => {
                Err(Refusal::plain(format!("{what}{address} is not in subnet={subnet}: give addresses of one network")))
            }
            None => Ok(()),
        }
    }

    /// The guest's first IPv4 address: the one that DHCP hands out.
    #[must_use]
    pub fn first_ipv4(&self) -> Option<Ipv4Addr> {
        self.destinations.iter().find_map(|network| match network {
            IpNetwork::V4(network) if network.prefix() == 32 => Some(network.ip()),
            _ => None,
        })
    }

    /// Whether anything of this family is to be routed.
    #[must_use]
    pub fn has_ipv6(&self) -> bool {
        self.destinations.iter().any(IpNetwork::is_ipv6)
    }

    /// The guest's single addresses.
    pub fn single_addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.destinations.iter().filter(|network| is_single(network)).map(IpNetwork::ip)
    }
}

/// Other ends for dom0, in the order in which they are tried, where the usual one is another guest's address: the guest's neighbours in its
/// network, or in its /24, from above.
pub fn other_ends(guest: Ipv4Addr, subnet: Option<Ipv4Network>) -> impl Iterator<Item = Ipv4Addr> {
    const TRIED: usize = 32;
    let [a, b, c, _] = guest.octets();
    let (first, last) = match subnet.filter(|subnet| subnet.prefix() <= 30 && subnet.contains(guest)) {
        Some(subnet) => (u32::from(subnet.network()), u32::from(subnet.broadcast())),
        None => (u32::from(Ipv4Addr::new(a, b, c, 0)), u32::from(Ipv4Addr::new(a, b, c, 255))),
    };
    (first..last).skip(1).rev().map(Ipv4Addr::from).filter(move |end| *end != guest).take(TRIED)
}

/// A guest's addresses.
struct Guest {
    destinations: Vec<IpNetwork>,
    subnet: Option<Ipv4Network>,
}

impl Guest {
    fn of(vif: &Vif, routing: Routing) -> Result<Self, Refusal> {
        if vif.addresses.is_empty() && routing == Routing::Translated {
            return Self::by_number(vif);
        }
        let mut destinations = vec![];
        for entry in &vif.addresses {
            check_guest_network(entry)?;
            let destination = destination_of(entry, routing)?;
            if !destinations.contains(&destination) {
                destinations.push(destination);
            }
        }
        let subnet = vif.addresses.iter().find_map(|entry| match entry {
            IpNetwork::V4(entry) if entry.prefix() < 31 && routing == Routing::Translated => Some(network_around(entry)),
            _ => None,
        });
        Ok(Self { destinations, subnet })
    }

    /// The address that a guest gets when nobody gives it one: 10.(domain / 256).(domain % 256).(handle + 1).
    fn by_number(vif: &Vif) -> Result<Self, Refusal> {
        let (domain, handle) = vif.numbers();
        let [high, low] = domain.to_be_bytes();
        let host = u8::try_from(handle).ok().and_then(|handle| handle.checked_add(1)).filter(|host| *host < 255);
        let Some(host) = host else {
            return Err(Refusal::plain(format!(
                "there is no default address for the interface number {handle} of a guest: give one with ip="
            )));
        };
        let address = Ipv4Addr::new(10, high, low, host);
        let subnet = Ipv4Network::new(Ipv4Addr::new(10, high, 0, 0), 16).ok();
        Ok(Self { destinations: vec![IpNetwork::from(IpAddr::V4(address))], subnet })
    }
}

fn network_around(entry: &Ipv4Network) -> Ipv4Network {
    Ipv4Network::new(entry.network(), entry.prefix()).unwrap_or(*entry)
}

/// What an entry of `ip` stands for. With translation an address and the length of its network say how the guest is configured; to a
/// plain route the length belongs to what is routed, and then no bit may be set behind it.
fn destination_of(entry: &IpNetwork, routing: Routing) -> Result<IpNetwork, Refusal> {
    let network = entry.ip() == entry.network();
    match routing {
        _ if is_single(entry) || (network && routing == Routing::Plain) => Ok(*entry),
        Routing::Translated if !network => Ok(IpNetwork::from(entry.ip())),
        Routing::Translated => Ok(*entry),
        Routing::Plain => Err(Refusal::plain(format!(
            "ip={entry} is neither one address nor a network: give {} for the guest's address, or {}/{} for the whole network",
            entry.ip(),
            entry.network(),
            entry.prefix()
        ))),
    }
}

/// Refuses what would draw traffic to a guest that is none of its own.
fn check_guest_network(entry: &IpNetwork) -> Result<(), Refusal> {
    let what = match entry.ip() {
        _ if entry.prefix() == 0 => Some("everything there is"),
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Some("a link-local address, which needs no route"),
        ip => unusable(ip),
    };
    match what {
        Some(what) => Err(Refusal::plain(format!("ip={entry} is {what}: give the guest's own address"))),
        None => Ok(()),
    }
}

/// What is wrong with an address that no guest and no router can have.
fn unusable(ip: IpAddr) -> Option<&'static str> {
    match ip {
        ip if ip.is_loopback() => Some("a loopback address"),
        ip if ip.is_multicast() => Some("a multicast address"),
        ip if ip.is_unspecified() => Some("no address"),
        IpAddr::V4(ip) if ip.is_broadcast() => Some("the broadcast address"),
        IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => Some("an IPv4 address in the clothes of IPv6"),
        _ => None,
    }
}

fn parse_gateways(text: &str) -> Result<Gateways, Refusal> {
    let mut gateways = Gateways::default();
    for word in text.split_ascii_whitespace() {
        let malformed = || {
            Refusal::plain(format!(
                "gateway={} is not an address of this host's end, such as 192.168.2.254, or one of IPv4 and one of IPv6",
                shortened(text).escape_default()
            ))
        };
        let again = match word.parse::<IpAddr>().map_err(|_| malformed())? {
            IpAddr::V4(address) => gateways.ipv4.replace(address).is_some(),
            IpAddr::V6(address) => gateways.ipv6.replace(address).is_some(),
        };
        if again {
            return Err(malformed());
        }
    }
    let both = [gateways.ipv4.map(IpAddr::from), gateways.ipv6.map(IpAddr::from)];
    match both.into_iter().flatten().find_map(|address| unusable(address).map(|what| (address, what))) {
        Some((address, what)) => Err(Refusal::plain(format!("gateway={address} is {what}: give this host's end of the link"))),
        None => Ok(gateways),
    }
}

pub(super) fn parse_subnet(text: &str) -> Result<Ipv4Network, Refusal> {
    let malformed =
        || Refusal::plain(format!("subnet={} is not an IPv4 network such as 192.168.2.0/24", shortened(text).escape_default()));
    let network: Ipv4Network = text.contains('/').then(|| text.parse().ok()).flatten().ok_or_else(malformed)?;
    if network.network() != network.ip() || network.prefix() == 0 || network.prefix() > 30 {
        return Err(malformed());
    }
    Ok(network)
}

/// dom0's end of the link to a NAT guest: the guest's last octet and 127, or less 127 from 128 on, so that it stays an octet. Where that
/// is no host of the guest's network, its last host, or its first one where the guest is the last.
#[must_use]
pub fn router_of(guest: Ipv4Addr, subnet: Option<Ipv4Network>) -> Ipv4Addr {
    let [a, b, c, last] = guest.octets();
    let usual = Ipv4Addr::new(a, b, c, if last < 128 { last + 127 } else { last - 127 });
    let Some(subnet) = subnet.filter(|subnet| subnet.contains(guest)) else { return usual };
    let is_host = |address: Ipv4Addr| subnet.contains(address) && address != subnet.network() && address != subnet.broadcast();
    if is_host(usual) {
        return usual;
    }
    let last = Ipv4Addr::from(u32::from(subnet.broadcast()).saturating_sub(1));
    if last == guest { Ipv4Addr::from(u32::from(subnet.network()).saturating_add(1)) } else { last }
}

/// The metric of a guest's routes: the emulated interface, which a guest uses until its own driver is there, goes before the
/// paravirtual one.
#[must_use]
pub fn metric_of(kind: VifKind) -> u32 {
    match kind {
        VifKind::Tap => 1,
        VifKind::Vif => 2,
    }
}
