//! The guest filter: what a guest may send, so that it can only be itself.
//!
//! For each filtered interface our tables hold elements of a few sets, keyed by the interface's name; the rules that look them up
//! ([`ruleset`]) are the same for all guests, so that a packet costs the same however many guests there are.

mod damage;
pub mod ruleset;

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnetwork::{IpNetwork, Ipv6Network};
use nftables::{Element, EtherType, Field, InvalidName, Value};
use serde::{Deserialize, Serialize};

use crate::interface_name::InterfaceName;
use crate::mac_address::MacAddress;
pub use damage::{Damage, Wrong};
pub use ruleset::GuestSet;

/// How a guest's frames get into the host, and so which of our tables sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Way {
    /// By the port of a bridge.
    Bridged,
    /// By a link of its own.
    Routed,
}

impl Way {
    /// The way that it is not.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Bridged => Self::Routed,
            Self::Routed => Self::Bridged,
        }
    }
}

/// What is asked of a guest that is filtered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Strictness {
    /// Nothing but ARP, IPv4 and IPv6 from its own addresses.
    Addresses,
    /// The same, and nothing that is a server's, a router's or a bridge's to say.
    Strict,
}

impl Strictness {
    /// The word of `antispoof=`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Addresses => "ip",
            Self::Strict => "strict",
        }
    }
}

/// Whether a guest's frames may carry a VLAN tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Tags {
    /// They may not.
    #[default]
    Refused,
    /// They may, one at most; what stands behind it is looked at all the same.
    Allowed,
}

/// The filter of one interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GuestFilter {
    /// The interface.
    pub device: InterfaceName,
    /// The name that the interface's driver gave it, where it has got another one since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renamed_from: Option<InterfaceName>,
    /// How its frames come in.
    pub way: Way,
    /// The guest's Ethernet address.
    pub mac: MacAddress,
    /// What is asked of it.
    pub strictness: Strictness,
    /// Whether VLAN tags are let through.
    #[serde(default)]
    pub tags: Tags,
    /// The guest's addresses and networks. Its link-local IPv6 address is not among them; it is always let through.
    pub addresses: Vec<IpNetwork>,
}

/// The lengths of prefix that the rules look for, besides whole addresses, the likeliest first. Others are made of several of the next
/// longer one: 128 at most.
pub const IPV4_LENGTHS: [u8; 4] = [24, 16, 8, 0];
/// The same for IPv6. What is shorter than 16 bits, other than everything, is no guest's network.
pub const IPV6_LENGTHS: [u8; 15] = [64, 0, 56, 48, 32, 40, 80, 96, 112, 120, 72, 88, 104, 24, 16];

/// Why a network cannot be filtered for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooWide(IpNetwork);

impl fmt::Display for TooWide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is too wide to be a guest's: give a network of 16 bits or more, or antispoof=no", self.0)
    }
}

impl std::error::Error for TooWide {}

impl GuestFilter {
    /// The same, once it is known that no network is wider than any guest's.
    ///
    /// # Errors
    /// When one is.
    pub fn checked(self) -> Result<Self, TooWide> {
        let too_wide = |network: &&IpNetwork| network.is_ipv6() && (1..16).contains(&network.prefix());
        match self.addresses.iter().find(too_wide) {
            Some(network) => Err(TooWide(*network)),
            None => Ok(self),
        }
    }

    /// The link-local address that follows from the guest's Ethernet address (RFC 4291, appendix A).
    #[must_use]
    pub fn link_local(&self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.mac.octets();
        let pair = |high: u8, low: u8| u16::from_be_bytes([high, low]);
        Ipv6Addr::new(0xfe80, 0, 0, 0, pair(a ^ 0x02, b), pair(c, 0xff), pair(0xfe, d), pair(e, f))
    }

    /// The elements that stand for it, each with the set it belongs to.
    ///
    /// # Errors
    /// When the interface's name is none that nf_tables takes, which no [`InterfaceName`] is.
    pub fn elements(&self) -> Result<Vec<(GuestSet, Element)>, InvalidName> {
        let device = Field::Exact(Value::Interface(self.device.as_str().parse()?));
        let mac = Field::Exact(Value::EtherAddress(self.mac.octets()));
        let by_device = || Element::new([device.clone()]);
        let mut elements = vec![
            (GuestSet::Guests, by_device().with_comment(self.to_string().parse()?)),
            (GuestSet::Dropped, by_device()),
            (GuestSet::Links, by_device()),
            (GuestSet::Macs, Element::new([device.clone(), mac.clone()])),
            (GuestSet::InnerMacs, Element::new([device.clone(), Field::Exact(Value::Bytes(self.mac.octets().to_vec()))])),
        ];
        elements.extend((self.strictness == Strictness::Strict).then(|| (GuestSet::Strict, by_device())));
        elements.extend((self.tags == Tags::Allowed).then(|| (GuestSet::Tagged, by_device())));
        let pieces = self.addresses.iter().flat_map(|network| pieces(*network)).chain([Piece::Address(self.link_local().into())]);
        let key = |piece: Piece| [device.clone(), mac.clone()].into_iter().chain(piece.field());
        let pieces: Vec<Piece> = pieces.collect();
        elements.extend(pieces.iter().map(|piece| (piece.set(), Element::new(key(*piece)))));
        let sender = Field::Exact(Value::Bytes([&self.mac.octets()[..], &EtherType::IP.0.to_be_bytes()].concat()));
        let senders4 = pieces.iter().filter(|piece| piece.set() == GuestSet::Ip4).filter_map(|piece| piece.field());
        elements.extend(senders4.map(|address| (GuestSet::Senders4, Element::new([device.clone(), sender.clone(), address]))));
        // Two of its networks may overlap.
        elements.sort();
        elements.dedup();
        Ok(elements)
    }

    /// Whether the kernel would hold the same for both.
    #[must_use]
    pub fn same_rules(&self, other: &Self) -> bool {
        self == other || (self.way == other.way && self.elements().ok() == other.elements().ok())
    }
}

/// How the filter shows in the comment of the interface's element, so that it can be found again by the interface's name alone:
/// `00:16:3e:01:02:03 strict 192.0.2.7 2001:db8::/64`. Where that is too long for a comment, the addresses are left out.
impl fmt::Display for GuestFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comment = String::with_capacity(COMMENT_MAX);
        write!(comment, "{} {}", self.mac, self.strictness.word())?;
        comment.push_str(match self.tags {
            Tags::Refused => "",
            Tags::Allowed => " tagged",
        });
        if let Some(name) = &self.renamed_from {
            write!(comment, " {RENAMED_FROM}{name}")?;
        }
        let begin = comment.len();
        for network in &self.addresses {
            write!(comment, " {}", Short(network))?;
        }
        if comment.len() > COMMENT_MAX {
            comment.replace_range(begin.., LEFT_OUT);
        }
        f.write_str(&comment)
    }
}

/// Longest comment in bytes that nft takes (nftables, `NFTNL_UDATA_COMMENT_MAXLEN`).
const COMMENT_MAX: usize = 128;

/// What stands before the name that the interface's driver gave it.
const RENAMED_FROM: &str = "was:";

/// What stands in place of addresses that are too many.
const LEFT_OUT: &str = " ...";

/// An address by itself stands without the length of its network.
struct Short<'a>(&'a IpNetwork);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match is_single(self.0) {
            true => self.0.ip().fmt(f),
            false => self.0.fmt(f),
        }
    }
}

/// Whether a network is one address.
#[must_use]
pub fn is_single(network: &IpNetwork) -> bool {
    network.prefix() == if network.is_ipv4() { 32 } else { 128 }
}

/// What the comment of an interface's element says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// The guest's Ethernet address.
    pub mac: MacAddress,
    /// What is asked of it.
    pub strictness: Strictness,
    /// Whether VLAN tags are let through.
    pub tags: Tags,
    /// The name that the interface's driver gave it, where it has another one now.
    pub renamed_from: Option<InterfaceName>,
    /// Its addresses and networks; nothing where they did not fit.
    pub addresses: Option<Vec<IpNetwork>>,
}

/// A comment that is none of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotOurs;

impl FromStr for Noted {
    type Err = NotOurs;

    fn from_str(text: &str) -> Result<Self, NotOurs> {
        let mut words = text.split(' ').peekable();
        let mac = words.next().and_then(|word| word.parse().ok()).ok_or(NotOurs)?;
        let strictness = match words.next() {
            Some("ip") => Strictness::Addresses,
            Some("strict") => Strictness::Strict,
            _ => return Err(NotOurs),
        };
        let tags = words.next_if_eq(&"tagged").map_or(Tags::Refused, |_| Tags::Allowed);
        let renamed_from = words.next_if(|word| word.starts_with(RENAMED_FROM)).and_then(|word| word.strip_prefix(RENAMED_FROM));
        let renamed_from = renamed_from.map(|name| name.parse().map_err(|_| NotOurs)).transpose()?;
        let addresses = match words.next_if_eq(&LEFT_OUT.trim_start()) {
            Some(_) => None,
            None => Some(words.map(|word| word.parse().map_err(|_| NotOurs)).collect::<Result<_, _>>()?),
        };
        Ok(Self { mac, strictness, tags, renamed_from, addresses })
    }
}

/// What one element of a set of addresses stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Address(IpAddr),
    /// So many bits of it.
    Network(IpAddr, u8),
}

impl Piece {
    const fn set(self) -> GuestSet {
        match self {
            Self::Address(IpAddr::V4(_)) => GuestSet::Ip4,
            Self::Network(IpAddr::V4(_), _) => GuestSet::Networks4,
            Self::Address(IpAddr::V6(_)) => GuestSet::Ip6,
            Self::Network(IpAddr::V6(_), bits) => GuestSet::Networks6(bits),
        }
    }

    /// Its part of a key; nothing where everything is the network of so many bits.
    fn field(self) -> Option<Field> {
        Some(Field::Exact(match self {
            Self::Address(IpAddr::V6(address)) => Value::Bytes(address.octets().to_vec()),
            Self::Network(IpAddr::V6(_), 0) => return None,
            Self::Network(IpAddr::V6(address), bits) => {
                Value::Bytes(address.octets().into_iter().take(usize::from(bits / 8)).collect())
            }
            Self::Address(address) => Value::from(address),
            Self::Network(address, bits) => Value::network(address, bits),
        }))
    }
}

/// A network as pieces of lengths that the rules look for.
fn pieces(network: IpNetwork) -> Vec<Piece> {
    let (width, lengths): (u8, &[u8]) = if network.is_ipv4() { (32, &IPV4_LENGTHS) } else { (128, &IPV6_LENGTHS) };
    let bits = network.prefix();
    let looked_for = |length: &u8| *length >= bits;
    let length = lengths.iter().copied().filter(looked_for).chain([width]).min().unwrap_or(width);
    let first = to_number(network.network());
    let step = 1_u128.checked_shl(u32::from(width - length)).unwrap_or(0);
    (0..1_u128 << (length - bits))
        .map(|place| from_number(first.wrapping_add(place.wrapping_mul(step)), network))
        .map(|address| if length == width { Piece::Address(address) } else { Piece::Network(address, length) })
        .collect()
}

fn to_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

fn from_number(number: u128, family_of: IpNetwork) -> IpAddr {
    match family_of {
        IpNetwork::V4(_) => Ipv4Addr::from(u32::try_from(number & u128::from(u32::MAX)).unwrap_or_default()).into(),
        IpNetwork::V6(_) => Ipv6Addr::from(number).into(),
    }
}

/// What an element of one of the sets of addresses stands for: the way back from [`GuestFilter::elements`].
#[must_use]
pub fn address_of(set: GuestSet, element: &Element) -> Option<IpNetwork> {
    if set == GuestSet::Networks6(0) {
        return Ipv6Network::new(Ipv6Addr::UNSPECIFIED, 0).ok().map(IpNetwork::V6);
    }
    let [_, _, Field::Exact(value)] = element.key.as_slice() else { return None };
    match (set, value) {
        (GuestSet::Ip4, Value::Ipv4Address(address)) => Some(IpNetwork::from(IpAddr::from(*address))),
        (GuestSet::Ip6, Value::Bytes(bytes)) => Some(IpNetwork::from(IpAddr::from(*bytes.first_chunk::<16>()?))),
        (GuestSet::Networks4, Value::Ipv4Address(address)) => {
            let [a, b, c, bits] = address.octets();
            IpNetwork::new(Ipv4Addr::new(a, b, c, 0).into(), bits).ok()
        }
        (GuestSet::Networks6(bits), Value::Bytes(bytes)) => {
            let mut octets = [0; 16];
            octets.iter_mut().zip(bytes).for_each(|(octet, byte)| *octet = *byte);
            Ipv6Network::new(octets.into(), bits).ok().map(IpNetwork::V6)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filter(addresses: &[&str]) -> GuestFilter {
        GuestFilter {
            device: "vif1.0".parse().unwrap(),
            renamed_from: None,
            way: Way::Bridged,
            mac: "00:16:3e:01:02:03".parse().unwrap(),
            strictness: Strictness::Strict,
            tags: Tags::Refused,
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    fn shown(filter: &GuestFilter) -> Vec<String> {
        filter.elements().unwrap().iter().map(|(set, element)| format!("{} {element}", set.word())).collect()
    }

    #[test]
    fn link_local_address_follows_from_the_ethernet_address() {
        assert_eq!(filter(&[]).link_local().to_string(), "fe80::216:3eff:fe01:203");
    }

    #[test]
    fn a_guest_is_a_few_elements() {
        assert_eq!(
            shown(&filter(&["192.0.2.7", "2001:db8:1::/64"])),
            [
                "guests \"vif1.0\" comment \"00:16:3e:01:02:03 strict 192.0.2.7 2001:db8:1::/64\"",
                "dropped \"vif1.0\"",
                "links \"vif1.0\"",
                "strict \"vif1.0\"",
                "macs \"vif1.0\" . 00:16:3e:01:02:03",
                "inner-macs \"vif1.0\" . 0x163e010203",
                "senders4 \"vif1.0\" . 0x163e0102030800 . 192.0.2.7",
                "addresses4 \"vif1.0\" . 00:16:3e:01:02:03 . 192.0.2.7",
                "addresses6 \"vif1.0\" . 00:16:3e:01:02:03 . 0xfe8000000000000002163efffe010203",
                "networks6-64 \"vif1.0\" . 00:16:3e:01:02:03 . 0x20010db800010000",
            ]
        );
    }

    #[test]
    fn a_network_of_an_odd_length_is_several_of_the_next() {
        let count = |text: &str| pieces(text.parse().unwrap()).len();
        assert_eq!([count("10.0.0.0/28"), count("10.0.0.0/25"), count("10.0.0.0/20"), count("10.0.0.0/24")], [16, 128, 16, 1]);
        assert_eq!([count("2001:db8::/57"), count("2001:db8::/33"), count("2001:db8::/124"), count("::/0")], [128, 128, 16, 1]);
        assert_eq!(shown(&filter(&["10.0.4.0/23"])).iter().filter(|line| line.starts_with("networks4")).count(), 2);
        assert_eq!(count("0.0.0.0/0"), 1);
    }

    #[test]
    fn what_is_wider_than_any_guest_is_refused() {
        let made = |text: &str| filter(&[text]).checked();
        assert!(made("2000::/3").is_err());
        assert!(made("::/0").is_ok() && made("0.0.0.0/1").is_ok() && made("2001::/16").is_ok());
    }

    #[test]
    fn the_comment_tells_the_filter() {
        let renamed = GuestFilter { tags: Tags::Allowed, renamed_from: Some("vif1.0".parse().unwrap()), ..filter(&["::1"]) };
        for filter in [filter(&[]), filter(&["192.0.2.7", "10.0.0.0/8"]), renamed] {
            let noted: Noted = filter.to_string().parse().unwrap();
            let expected = Noted {
                mac: filter.mac,
                strictness: filter.strictness,
                tags: filter.tags,
                renamed_from: filter.renamed_from.clone(),
                addresses: Some(filter.addresses.clone()),
            };
            assert_eq!(noted, expected);
        }
        let many = filter(&["192.0.2.100"; 20]);
        let noted: Noted = many.to_string().parse().unwrap();
        assert_eq!(noted.addresses, None);
        for foreign in ["", "00:16:3e:01:02:03", "00:16:3e:01:02:03 lax", "web server", "00:16:3e:01:02:03 ip x"] {
            assert_eq!(foreign.parse::<Noted>(), Err(NotOurs));
        }
    }

    proptest! {
        #[test]
        fn elements_tell_their_addresses(number in any::<u128>(), bits in 16_u8..=128) {
            let network = IpNetwork::V6(Ipv6Network::new(number.into(), bits).unwrap());
            let filter = GuestFilter { addresses: vec![network], ..filter(&[]) };
            let seen: Vec<IpNetwork> = filter.elements().unwrap().iter().filter_map(|(set, element)| address_of(*set, element)).collect();
            let own = filter.link_local();
            prop_assert!(seen.iter().all(|piece| network.contains(piece.ip()) || piece.ip() == IpAddr::from(own)));
            let told = GuestFilter { addresses: seen, ..filter.clone() };
            let sets = |filter: &GuestFilter| filter.elements().unwrap().into_iter().filter(|(set, _)| *set != GuestSet::Guests).collect::<Vec<_>>();
            prop_assert_eq!(sets(&told), sets(&filter));
        }
    }
}
