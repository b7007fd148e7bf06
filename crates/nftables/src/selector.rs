//! What a rule looks at: facts about a packet, and fields in it.

use std::fmt;

use crate::expression::Expressions;
use crate::value::{INTERFACE_NAME_LENGTH, network_code, prefix_mask};
use crate::{DataType, EtherType, Family, Protocol, Value};

/// Something about a packet, or a field in it, that a rule can look at.
///
/// What must hold for a field to be there is checked as nft does it: a rule with [`Selector::IpSource`] matches no IPv6 packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Selector {
    /// The name of the device it came in by. In a bridge table that is the port.
    Iifname,
    /// The name of the device it leaves by.
    Oifname,
    /// IPv4 or IPv6.
    IpVersion,
    /// What the frame carries, as the kernel sees it: a VLAN tag that the device took off already does not show here.
    Protocol,
    /// What the IP packet carries, behind IPv6's extension headers.
    L4Protocol,
    /// Its mark.
    Mark,
    /// The state of its connection.
    ConnectionState,
    /// The sender's MAC address.
    EtherSource,
    /// The receiver's MAC address.
    EtherDestination,
    /// What the frame carries, as it stood on the wire: a VLAN tag shows, even one that the device took off.
    EtherType,
    /// The number of the VLAN in an 802.1Q tag.
    VlanId,
    /// What stands behind an 802.1Q tag.
    VlanType,
    /// The kind of address ARP is about; 1 is Ethernet.
    ArpHardware,
    /// The protocol ARP is about.
    ArpProtocol,
    /// How many bytes a hardware address has.
    ArpHardwareLength,
    /// How many bytes a protocol address has.
    ArpProtocolLength,
    /// What ARP says.
    ArpOperation,
    /// The MAC address that ARP says the sender has.
    ArpSenderEther,
    /// The IP address that ARP says the sender has.
    ArpSenderIp,
    /// The MAC address that ARP says the target has.
    ArpTargetEther,
    /// The IP address that ARP is about.
    ArpTargetIp,
    /// The sender's IPv4 address.
    IpSource,
    /// The receiver's IPv4 address.
    IpDestination,
    /// What the IPv4 packet carries.
    IpProtocol,
    /// The sender's IPv6 address.
    Ip6Source,
    /// The receiver's IPv6 address.
    Ip6Destination,
    /// What follows the IPv6 header, an extension header perhaps.
    Ip6NextHeader,
    /// Whether an IPv6 packet has a certain extension header.
    ExtensionHeader(ExtensionHeader),
    /// What follows IPv6's fragment header.
    FragmentNextHeader,
    /// Which part of an IPv6 packet a fragment is, in bytes; the last three bits are something else.
    FragmentOffset,
    /// The sender's port.
    UdpSource,
    /// The receiver's port.
    UdpDestination,
    /// The sender's port.
    TcpSource,
    /// The receiver's port.
    TcpDestination,
    /// What ICMPv6 says.
    Icmpv6Type,
    /// What ICMP says.
    IcmpType,
    /// How long an IPv6 packet is, less its header, in bytes.
    Ip6Length,
    /// The network of so many bits that an address lies in, with their number in its last byte, so that networks of all lengths can be in
    /// one set: [`Value::network`](crate::Value::network). Lengths that reach into the last byte are none.
    Network(AddressField, u8),
    /// The name of the device by which an answer to the sender's address would leave.
    WayBack,
    /// Some bytes of a packet, unchecked: the rule must have asked for the protocol before. A packet too short for it does not match.
    Payload {
        /// Which header the offset counts from.
        base: PayloadBase,
        /// In bytes.
        offset: u32,
        /// In bytes, 1 to 16.
        length: u32,
    },
}

impl Selector {
    /// The address that a neighbour solicitation or advertisement, or a redirect, is about (RFC 4861, 4.3 to 4.5).
    pub const ND_TARGET: Self = Self::Payload { base: PayloadBase::Transport, offset: 8, length: 16 };
    /// The sender's IPv6 address as bytes, unchecked: it can be looked up in a set with [`Self::ND_TARGET`]. nft takes it for
    /// [`Self::Ip6Source`] where the rule itself has asked for IPv6.
    pub const IP6_SOURCE_BYTES: Self = Self::Payload { base: PayloadBase::Network, offset: 8, length: 16 };
    /// Type and length of the first option of a neighbour solicitation or advertisement: 0x0101 is the sender's link-layer address,
    /// 0x0201 the target's, 8 bytes each (RFC 4861, 4.6.1).
    pub const ND_OPTION: Self = Self::Payload { base: PayloadBase::Transport, offset: 24, length: 2 };
    /// The MAC address in that option.
    pub const ND_OPTION_ETHER: Self = Self::Payload { base: PayloadBase::Transport, offset: 26, length: 6 };

    /// How the kernel gets at it.
    pub(crate) fn source(self) -> Source {
        use PayloadBase::{Link, Network, Transport};
        let payload = |base, offset, length| Source::Payload { base, offset, length };
        match self {
            Self::Protocol => Source::Meta(MetaKey::Protocol),
            Self::Mark => Source::Meta(MetaKey::Mark),
            Self::Iifname => Source::Meta(MetaKey::Iifname),
            Self::Oifname => Source::Meta(MetaKey::Oifname),
            Self::IpVersion => Source::Meta(MetaKey::NfProto),
            Self::L4Protocol => Source::Meta(MetaKey::L4Proto),
            Self::ConnectionState => Source::ConnectionState,
            Self::EtherDestination => payload(Link, 0, 6),
            Self::EtherSource => payload(Link, 6, 6),
            Self::EtherType => payload(Link, 12, 2),
            Self::VlanId => payload(Link, 14, 2),
            Self::VlanType => payload(Link, 16, 2),
            Self::ArpHardware => payload(Network, 0, 2),
            Self::ArpProtocol => payload(Network, 2, 2),
            Self::ArpHardwareLength => payload(Network, 4, 1),
            Self::ArpProtocolLength => payload(Network, 5, 1),
            Self::ArpOperation => payload(Network, 6, 2),
            Self::ArpSenderEther => payload(Network, 8, 6),
            Self::ArpSenderIp => payload(Network, 14, 4),
            Self::ArpTargetEther => payload(Network, 18, 6),
            Self::ArpTargetIp => payload(Network, 24, 4),
            Self::IpProtocol => payload(Network, 9, 1),
            Self::IpSource => payload(Network, 12, 4),
            Self::IpDestination => payload(Network, 16, 4),
            Self::Ip6NextHeader => payload(Network, 6, 1),
            Self::Ip6Source => payload(Network, 8, 16),
            Self::Ip6Destination => payload(Network, 24, 16),
            Self::ExtensionHeader(header) => Source::ExtensionHeader(header),
            Self::FragmentNextHeader => Source::ExtensionField { header: ExtensionHeader::Fragment, offset: 0, length: 1 },
            Self::FragmentOffset => Source::ExtensionField { header: ExtensionHeader::Fragment, offset: 2, length: 2 },
            Self::UdpSource | Self::TcpSource => payload(Transport, 0, 2),
            Self::UdpDestination | Self::TcpDestination => payload(Transport, 2, 2),
            Self::Icmpv6Type | Self::IcmpType => payload(Transport, 0, 1),
            Self::Ip6Length => payload(Network, 4, 2),
            Self::WayBack => Source::WayBack,
            Self::Network(field, bits) => match field.selector().source() {
                Source::Payload { base, offset, length } => Source::Network { base, offset, length, bits },
                other => other,
            },
            Self::Payload { base, offset, length } => payload(base, offset, length),
        }
    }

    /// What must hold for the field to be there.
    pub(crate) fn needs(self) -> Needs {
        match self {
            Self::EtherSource | Self::EtherDestination | Self::EtherType => {
                Needs { link: Some(Link::Ethernet), ..Needs::default() }
            }
            Self::VlanId | Self::VlanType => Needs { link: Some(Link::Vlan), ..Needs::default() },
            Self::ArpHardware
            | Self::ArpProtocol
            | Self::ArpHardwareLength
            | Self::ArpProtocolLength
            | Self::ArpOperation
            | Self::ArpSenderEther
            | Self::ArpSenderIp
            | Self::ArpTargetEther
            | Self::ArpTargetIp => Needs { network: Some(EtherType::ARP), ..Needs::default() },
            Self::Network(field, _) => field.selector().needs(),
            Self::IcmpType => Needs { network: Some(EtherType::IP), transport: Some(Protocol::ICMP), ..Needs::default() },
            Self::IpSource | Self::IpDestination | Self::IpProtocol => Needs { network: Some(EtherType::IP), ..Needs::default() },
            Self::Ip6Source
            | Self::Ip6Destination
            | Self::Ip6NextHeader
            | Self::Ip6Length
            | Self::ExtensionHeader(_)
            | Self::FragmentNextHeader
            | Self::FragmentOffset => Needs { network: Some(EtherType::IP6), ..Needs::default() },
            Self::UdpSource | Self::UdpDestination => Needs { transport: Some(Protocol::UDP), ..Needs::default() },
            Self::TcpSource | Self::TcpDestination => Needs { transport: Some(Protocol::TCP), ..Needs::default() },
            Self::Icmpv6Type => Needs { network: Some(EtherType::IP6), transport: Some(Protocol::ICMPV6), ..Needs::default() },
            _ => Needs::default(),
        }
    }

    /// How long it is in bytes.
    pub(crate) fn length(self) -> usize {
        match self.source() {
            Source::Meta(key) => key.length(),
            Source::Payload { length, .. } | Source::Network { length, .. } => usize::try_from(length).unwrap_or(usize::MAX),
            Source::WayBack => INTERFACE_NAME_LENGTH,
            Source::ConnectionState => 4,
            Source::ExtensionHeader(_) => 1,
            Source::ExtensionField { length, .. } => usize::try_from(length).unwrap_or(usize::MAX),
        }
    }

    /// Has the kernel put it into a register.
    pub(crate) fn load(self, expressions: &mut Expressions<'_>, register: u32) {
        self.source().load(expressions, register);
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Iifname => "iifname",
            Self::Oifname => "oifname",
            Self::IpVersion => "meta nfproto",
            Self::Protocol => "meta protocol",
            Self::L4Protocol => "meta l4proto",
            Self::Mark => "meta mark",
            Self::ConnectionState => "ct state",
            Self::EtherSource => "ether saddr",
            Self::EtherDestination => "ether daddr",
            Self::EtherType => "ether type",
            Self::VlanId => "vlan id",
            Self::VlanType => "vlan type",
            Self::ArpHardware => "arp htype",
            Self::ArpProtocol => "arp ptype",
            Self::ArpHardwareLength => "arp hlen",
            Self::ArpProtocolLength => "arp plen",
            Self::ArpOperation => "arp operation",
            Self::ArpSenderEther => "arp saddr ether",
            Self::ArpSenderIp => "arp saddr ip",
            Self::ArpTargetEther => "arp daddr ether",
            Self::ArpTargetIp => "arp daddr ip",
            Self::IpSource => "ip saddr",
            Self::IpDestination => "ip daddr",
            Self::IpProtocol => "ip protocol",
            Self::Ip6Source => "ip6 saddr",
            Self::Ip6Destination => "ip6 daddr",
            Self::Ip6NextHeader => "ip6 nexthdr",
            Self::ExtensionHeader(header) => return write!(f, "exthdr {header}"),
            Self::FragmentNextHeader => "frag nexthdr",
            Self::FragmentOffset => "frag frag-off",
            Self::UdpSource => "udp sport",
            Self::UdpDestination => "udp dport",
            Self::TcpSource => "tcp sport",
            Self::TcpDestination => "tcp dport",
            Self::Icmpv6Type => "icmpv6 type",
            Self::IcmpType => "icmp type",
            Self::Ip6Length => "ip6 length",
            Self::WayBack => "fib saddr oifname",
            Self::Network(field, bits) => return field.write_network(f, *bits),
            Self::Payload { base, offset, length } => {
                return write!(f, "@{base},{},{}", u64::from(*offset) * 8, u64::from(*length) * 8);
            }
        })
    }
}

/// An address in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressField {
    /// [`Selector::IpSource`]
    IpSource,
    /// [`Selector::ArpSenderIp`]
    ArpSenderIp,
    /// [`Selector::ArpTargetIp`]
    ArpTargetIp,
    /// [`Selector::Ip6Source`]
    Ip6Source,
    /// [`Selector::IP6_SOURCE_BYTES`]
    Ip6SourceBytes,
    /// [`Selector::ND_TARGET`]
    NdTarget,
}

impl AddressField {
    /// The whole address.
    #[must_use]
    pub const fn selector(self) -> Selector {
        match self {
            Self::IpSource => Selector::IpSource,
            Self::ArpSenderIp => Selector::ArpSenderIp,
            Self::ArpTargetIp => Selector::ArpTargetIp,
            Self::Ip6Source => Selector::Ip6Source,
            Self::Ip6SourceBytes => Selector::IP6_SOURCE_BYTES,
            Self::NdTarget => Selector::ND_TARGET,
        }
    }

    fn write_network(self, f: &mut fmt::Formatter<'_>, bits: u8) -> fmt::Result {
        let length = self.selector().length();
        let typed = |bytes: Vec<u8>| match self {
            Self::NdTarget | Self::Ip6SourceBytes => Value::Bytes(bytes),
            Self::Ip6Source => DataType::Ipv6Address.read(&bytes).unwrap_or(Value::Bytes(bytes)),
            _ => DataType::Ipv4Address.read(&bytes).unwrap_or(Value::Bytes(bytes)),
        };
        let (mask, code) = (typed(prefix_mask(length, bits)), typed(network_code(length, bits)));
        write!(f, "{} & {mask} ^ {code}", self.selector())
    }
}

/// Which header the offset of a payload counts from (`enum nft_payload_bases`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PayloadBase {
    /// Ethernet's.
    Link,
    /// ARP's or IP's.
    Network,
    /// That of what the IP packet carries. A fragment other than the first has none and does not match.
    Transport,
}

impl PayloadBase {
    /// Its number.
    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::Link => 0,
            Self::Network => 1,
            Self::Transport => 2,
        }
    }
}

impl fmt::Display for PayloadBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Link => "ll",
            Self::Network => "nh",
            Self::Transport => "th",
        })
    }
}

/// An extension header of IPv6 (RFC 8200, 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExtensionHeader {
    /// For every router on the way.
    HopByHop,
    /// Where to go through.
    Routing,
    /// A part of a packet.
    Fragment,
    /// For the receiver.
    Destination,
}

impl ExtensionHeader {
    /// Its protocol number.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::HopByHop => 0,
            Self::Routing => 43,
            Self::Fragment => 44,
            Self::Destination => 60,
        }
    }
}

impl fmt::Display for ExtensionHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HopByHop => "hbh",
            Self::Routing => "rt",
            Self::Fragment => "frag",
            Self::Destination => "dst",
        })
    }
}

/// How the kernel gets at what a selector names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Meta(MetaKey),
    Payload { base: PayloadBase, offset: u32, length: u32 },
    Network { base: PayloadBase, offset: u32, length: u32, bits: u8 },
    WayBack,
    ConnectionState,
    ExtensionHeader(ExtensionHeader),
    ExtensionField { header: ExtensionHeader, offset: u32, length: u32 },
}

/// A fact about a packet (`enum nft_meta_keys`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetaKey {
    Protocol,
    Mark,
    Iifname,
    Oifname,
    IifType,
    NfProto,
    L4Proto,
}

impl MetaKey {
    pub const fn number(self) -> u32 {
        match self {
            Self::Protocol => 1,
            Self::Mark => 3,
            Self::Iifname => 6,
            Self::Oifname => 7,
            Self::IifType => 8,
            Self::NfProto => 15,
            Self::L4Proto => 16,
        }
    }

    const fn length(self) -> usize {
        match self {
            Self::NfProto | Self::L4Proto => 1,
            Self::Protocol | Self::IifType => 2,
            Self::Mark => 4,
            Self::Iifname | Self::Oifname => 16,
        }
    }
}

/// What must hold for a field to be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    pub link: Option<Link>,
    pub network: Option<EtherType>,
    pub transport: Option<Protocol>,
}

/// What the frame must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Ethernet,
    Vlan,
}

/// What is known about a packet at some place of a rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub link: Option<Link>,
    pub network: Option<EtherType>,
    pub transport: Option<Protocol>,
}

impl Known {
    /// What the family itself says.
    pub fn of(family: Family) -> Self {
        let network = match family {
            Family::Ip => Some(EtherType::IP),
            Family::Ip6 => Some(EtherType::IP6),
            Family::Arp => Some(EtherType::ARP),
            Family::Inet | Family::Bridge | Family::Netdev => None,
        };
        let link = matches!(family, Family::Bridge | Family::Netdev).then_some(Link::Ethernet);
        Self { link, network, transport: None }
    }
}
