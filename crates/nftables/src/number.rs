//! Numbers that standards assign, with the names nft gives them.

use std::fmt;

/// What a frame carries (IEEE 802 numbers; include/uapi/linux/if_ether.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4.
    pub const IP: Self = Self(0x0800);
    /// ARP.
    pub const ARP: Self = Self(0x0806);
    /// IPv6.
    pub const IP6: Self = Self(0x86dd);
    /// A VLAN tag (IEEE 802.1Q).
    pub const VLAN: Self = Self(0x8100);
    /// A provider's VLAN tag (IEEE 802.1ad).
    pub const PROVIDER_VLAN: Self = Self(0x88a8);
}

impl fmt::Display for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::IP => f.write_str("ip"),
            Self::ARP => f.write_str("arp"),
            Self::IP6 => f.write_str("ip6"),
            Self::VLAN => f.write_str("8021q"),
            Self::PROVIDER_VLAN => f.write_str("8021ad"),
            Self(number) => write!(f, "0x{number:04x}"),
        }
    }
}

/// What an IP packet carries (IANA protocol numbers). nft looks the names up in `/etc/protocols`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocol(pub u8);

impl Protocol {
    /// ICMP for IPv4.
    pub const ICMP: Self = Self(1);
    /// TCP.
    pub const TCP: Self = Self(6);
    /// UDP.
    pub const UDP: Self = Self(17);
    /// ICMP for IPv6.
    pub const ICMPV6: Self = Self(58);
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ICMP => f.write_str("icmp"),
            Self::TCP => f.write_str("tcp"),
            Self::UDP => f.write_str("udp"),
            Self::ICMPV6 => f.write_str("ipv6-icmp"),
            Self(number) => number.fmt(f),
        }
    }
}

/// What an ARP packet says (RFC 826).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArpOperation(pub u16);

impl ArpOperation {
    /// Who has this address?
    pub const REQUEST: Self = Self(1);
    /// I have it.
    pub const REPLY: Self = Self(2);
}

impl fmt::Display for ArpOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::REQUEST => f.write_str("request"),
            Self::REPLY => f.write_str("reply"),
            Self(number) => number.fmt(f),
        }
    }
}

/// What an ICMPv6 packet says (RFC 4443, 4861, 2710, 3810).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Icmpv6Type(pub u8);

impl Icmpv6Type {
    /// Ping.
    pub const ECHO_REQUEST: Self = Self(128);
    /// The answer to a ping.
    pub const ECHO_REPLY: Self = Self(129);
    /// Who listens to this group?
    pub const LISTENER_QUERY: Self = Self(130);
    /// I do (MLD version 1).
    pub const LISTENER_REPORT: Self = Self(131);
    /// I no longer do (MLD version 1).
    pub const LISTENER_DONE: Self = Self(132);
    /// Is there a router?
    pub const ROUTER_SOLICIT: Self = Self(133);
    /// I am a router.
    pub const ROUTER_ADVERT: Self = Self(134);
    /// Who has this address?
    pub const NEIGHBOR_SOLICIT: Self = Self(135);
    /// I have it.
    pub const NEIGHBOR_ADVERT: Self = Self(136);
    /// Another router is nearer.
    pub const REDIRECT: Self = Self(137);
    /// What I listen to (MLD version 2).
    pub const LISTENER_REPORT_V2: Self = Self(143);
}

impl fmt::Display for Icmpv6Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ECHO_REQUEST => f.write_str("echo-request"),
            Self::ECHO_REPLY => f.write_str("echo-reply"),
            Self::LISTENER_QUERY => f.write_str("mld-listener-query"),
            Self::LISTENER_REPORT => f.write_str("mld-listener-report"),
            Self::LISTENER_DONE => f.write_str("mld-listener-done"),
            Self::ROUTER_SOLICIT => f.write_str("nd-router-solicit"),
            Self::ROUTER_ADVERT => f.write_str("nd-router-advert"),
            Self::NEIGHBOR_SOLICIT => f.write_str("nd-neighbor-solicit"),
            Self::NEIGHBOR_ADVERT => f.write_str("nd-neighbor-advert"),
            Self::REDIRECT => f.write_str("nd-redirect"),
            Self::LISTENER_REPORT_V2 => f.write_str("mld2-listener-report"),
            Self(number) => number.fmt(f),
        }
    }
}

/// A version of the Internet Protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpVersion {
    /// `NFPROTO_*` (include/uapi/linux/netfilter.h).
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }

    pub(crate) const fn ether_type(self) -> EtherType {
        match self {
            Self::V4 => EtherType::IP,
            Self::V6 => EtherType::IP6,
        }
    }
}

impl fmt::Display for IpVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "ipv4",
            Self::V6 => "ipv6",
        })
    }
}

/// Whether something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Presence {
    /// It is.
    Present,
    /// It is not.
    Missing,
}

impl fmt::Display for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Present => "exists",
            Self::Missing => "missing",
        })
    }
}

/// States of a connection, as bits: `NF_CT_STATE_BIT()` and its kin (include/uapi/linux/netfilter/nf_conntrack_common.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionStates(pub u32);

impl ConnectionStates {
    /// The packet belongs to nothing.
    pub const INVALID: Self = Self(1);
    /// Packets went both ways.
    pub const ESTABLISHED: Self = Self(2);
    /// A new connection that another one announced.
    pub const RELATED: Self = Self(4);
    /// The first packet.
    pub const NEW: Self = Self(8);
    /// Taken out of tracking.
    pub const UNTRACKED: Self = Self(64);
}

impl std::ops::BitOr for ConnectionStates {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for ConnectionStates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::INVALID, "invalid"),
            (Self::ESTABLISHED, "established"),
            (Self::RELATED, "related"),
            (Self::NEW, "new"),
            (Self::UNTRACKED, "untracked"),
        ];
        let names: Vec<_> = names.into_iter().filter(|(bit, _)| self.0 & bit.0 != 0).map(|(_, name)| name).collect();
        f.write_str(&names.join(","))
    }
}
