//! IPv6 with its extension headers (RFC 8200).

use std::net::Ipv6Addr;

use super::upper::{NO_NEXT_HEADER, Segment};
use super::{Mac, Payload, length};

/// The EtherType.
pub const ETHER_TYPE: u16 = 0x86dd;

/// Everybody on the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// All routers on the link.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// All routers that understand MLDv2.
pub const ALL_MLD_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
/// All DHCPv6 servers and relays.
pub const ALL_DHCP_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);

/// The group that a neighbour solicitation for an address is sent to (RFC 4291, 2.7.1).
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b] = address.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | (a & 0xff), b)
}

/// The link-local address that a MAC address stands for (RFC 4291, appendix A).
pub fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0.map(u16::from);
    Ipv6Addr::new(0xfe80, 0, 0, 0, (a ^ 2) << 8 | b, c << 8 | 0xff, 0xfe00 | d, e << 8 | f)
}

/// A header between IPv6's own and the segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extension {
    /// Options for every router on the way.
    HopByHop(Vec<u8>),
    /// Options for whoever receives it.
    Destination(Vec<u8>),
    /// Source routing: its type, and the addresses still to be visited.
    Routing(u8, Vec<Ipv6Addr>),
    /// The mark of a packet in one piece that says to be a fragment (RFC 6946).
    AtomicFragment,
    /// Authentication (RFC 4302) with data that proves nothing.
    Authentication,
    /// A header of any number, laid out as RFC 6564 wants it.
    Other(u8, Vec<u8>),
}

/// The option that asks routers to look at a packet; MLD's messages carry it (RFC 2711).
pub const ROUTER_ALERT: [u8; 4] = [5, 2, 0, 0];

const FRAGMENT: u8 = 44;

impl Extension {
    fn number(&self) -> u8 {
        match self {
            Self::HopByHop(_) => 0,
            Self::Destination(_) => 60,
            Self::Routing(..) => 43,
            Self::AtomicFragment => FRAGMENT,
            Self::Authentication => 51,
            Self::Other(number, _) => *number,
        }
    }

    fn bytes(&self, next: u8) -> Vec<u8> {
        match self {
            Self::HopByHop(options) | Self::Destination(options) | Self::Other(_, options) => padded(next, options),
            Self::Routing(kind, way) => {
                let left = u8::try_from(way.len()).unwrap_or(u8::MAX);
                let mut bytes = vec![next, left * 2, *kind, left, 0, 0, 0, 0];
                bytes.extend(way.iter().flat_map(Ipv6Addr::octets));
                bytes
            }
            Self::AtomicFragment => vec![next, 0, 0, 0, 0, 0, 0, 9],
            // Length in words less 2.
            Self::Authentication => vec![next, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        }
    }
}

/// Options filled up to a multiple of eight bytes with `Pad1` and `PadN`.
fn padded(next: u8, options: &[u8]) -> Vec<u8> {
    let missing = (8 - (2 + options.len()) % 8) % 8;
    let padding = match missing {
        0 => Vec::new(),
        1 => vec![0],
        many => [&[1, u8::try_from(many - 2).unwrap_or_default()][..], &vec![0; many - 2]].concat(),
    };
    let eights = u8::try_from((2 + options.len() + missing) / 8 - 1).unwrap_or(u8::MAX);
    [&[next, eights], options, &padding].concat()
}

/// An option that only fills space, with these bytes in it.
pub fn filler(bytes: &[u8]) -> Vec<u8> {
    [&[1, u8::try_from(bytes.len()).unwrap_or(u8::MAX)], bytes].concat()
}

/// A header that waits for what it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipv6 {
    /// Who sends, or says so.
    pub source: Ipv6Addr,
    /// Who shall receive.
    pub destination: Ipv6Addr,
    /// How many routers it may pass, and one.
    pub hop_limit: u8,
    /// What stands before the segment.
    pub extensions: Vec<Extension>,
}

impl Ipv6 {
    /// A header as hosts send it.
    pub fn new(source: Ipv6Addr, destination: Ipv6Addr) -> Self {
        Self { source, destination, hop_limit: 64, extensions: Vec::new() }
    }

    /// The same with one more extension header.
    pub fn with(mut self, extension: Extension) -> Self {
        self.extensions.push(extension);
        self
    }

    /// The same with another hop limit: neighbour discovery wants 255, MLD 1.
    pub fn hops(mut self, hop_limit: u8) -> Self {
        self.hop_limit = hop_limit;
        self
    }

    /// The packet.
    pub fn carrying(&self, segment: Segment) -> Payload {
        let (next, bytes) = self.chain(&segment);
        self.packet(next, &bytes)
    }

    /// The packet in two fragments, cut behind `first` bytes, a multiple of 8, of extension headers and segment.
    pub fn in_fragments(&self, segment: &Segment, first: u16) -> [Payload; 2] {
        let (next, bytes) = self.chain(segment);
        let (head, rest) = bytes.split_at(first.into());
        let fragment = |offset_and_more: u16, part: &[u8]| {
            let mut bytes = vec![next, 0];
            bytes.extend(offset_and_more.to_be_bytes());
            bytes.extend([0, 0, 0, 7]);
            bytes.extend(part);
            self.packet(FRAGMENT, &bytes)
        };
        // The offset counts eights, and stands three bits to the left.
        [fragment(1, head), fragment(first, rest)]
    }

    /// The number of the first header behind IPv6's own, and all that follows.
    fn chain(&self, segment: &Segment) -> (u8, Vec<u8>) {
        let mut bytes = segment.between(&self.source.octets(), &self.destination.octets());
        let mut next = segment.protocol;
        for extension in self.extensions.iter().rev() {
            bytes = [extension.bytes(next), bytes].concat();
            next = extension.number();
        }
        (next, bytes)
    }

    fn packet(&self, next: u8, carried: &[u8]) -> Payload {
        let mut bytes = vec![0x60, 0, 0, 0];
        bytes.extend(length(carried.len()).to_be_bytes());
        bytes.extend([next, self.hop_limit]);
        bytes.extend(self.source.octets());
        bytes.extend(self.destination.octets());
        bytes.extend(carried);
        Payload { kind: ETHER_TYPE, bytes }
    }
}

/// A packet that ends behind its headers, which carry all there is to see.
pub fn nothing() -> Segment {
    Segment::raw(NO_NEXT_HEADER, Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::upper::udp;

    fn header() -> Ipv6 {
        Ipv6::new("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap())
    }

    #[test]
    fn extension_headers_are_chained_and_full() {
        let packet = header()
            .with(Extension::HopByHop(ROUTER_ALERT.to_vec()))
            .with(Extension::Routing(0, vec!["2001:db8::3".parse().unwrap()]))
            .carrying(udp(1, 2, &[]));
        let bytes = packet.bytes;
        assert_eq!(bytes[6], 0);
        assert_eq!(bytes[40..48], [43, 0, 5, 2, 0, 0, 1, 0]);
        assert_eq!(bytes[48..52], [17, 2, 0, 1]);
        assert_eq!(bytes.len(), 40 + 8 + 24 + 8);
    }

    #[test]
    fn fragments_hold_the_chain() {
        let [first, rest] = header().with(Extension::Destination(filler(&[0; 12]))).in_fragments(&udp(1, 2, &[3; 8]), 16);
        assert_eq!(first.bytes[6], 44);
        assert_eq!(first.bytes[40..48], [60, 0, 0, 1, 0, 0, 0, 7]);
        assert_eq!(rest.bytes[40..48], [60, 0, 0, 16, 0, 0, 0, 7]);
        assert_eq!((first.bytes.len(), rest.bytes.len()), (64, 64));
    }

    #[test]
    fn addresses_follow_from_others() {
        let mac = Mac([0, 0x16, 0x3e, 1, 2, 3]);
        assert_eq!(link_local(mac), "fe80::216:3eff:fe01:203".parse::<Ipv6Addr>().unwrap());
        assert_eq!(solicited_node("2001:db8::a1b2:c3d4".parse().unwrap()), "ff02::1:ffb2:c3d4".parse::<Ipv6Addr>().unwrap());
        assert_eq!(Mac::of_group(ALL_MLD_ROUTERS), Mac([0x33, 0x33, 0, 0, 0, 0x16]));
    }
}
