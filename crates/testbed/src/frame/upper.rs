//! What IP packets carry: UDP, TCP, ICMP, and segments of any protocol.

use super::{Marker, checksum, length};

/// What follows an IP header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The protocol's number, as IPv4's `protocol` or IPv6's `next header`.
    pub protocol: u8,
    /// Header and data, the checksum zero where one is wanted.
    pub bytes: Vec<u8>,
    checksum: Checksum,
}

/// Where the checksum goes that covers the addresses, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checksum {
    None,
    At(usize),
}

/// Protocol numbers.
pub const ICMP: u8 = 1;
/// Group membership of IPv4.
pub const IGMP: u8 = 2;
/// TCP.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// ICMP of IPv6.
pub const ICMPV6: u8 = 58;
/// Nothing follows (RFC 8200, 4.7).
pub const NO_NEXT_HEADER: u8 = 59;

impl Segment {
    /// Bytes of a protocol, without a checksum of ours.
    pub fn raw(protocol: u8, bytes: Vec<u8>) -> Self {
        Self { protocol, bytes, checksum: Checksum::None }
    }

    pub(super) fn checked(protocol: u8, bytes: Vec<u8>, at: usize) -> Self {
        Self { protocol, bytes, checksum: Checksum::At(at) }
    }

    /// The bytes, with the checksum that belongs to these addresses: 4 or 16 bytes each.
    pub(super) fn between(&self, source: &[u8], destination: &[u8]) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        if let Checksum::At(at) = self.checksum {
            let tail = [&length(bytes.len()).to_be_bytes()[..], &[0, self.protocol]].concat();
            let sum = match checksum(&[source, destination, &tail, &bytes]) {
                // UDP's zero means "none" (RFC 768).
                0 => 0xffff,
                sum => sum,
            };
            bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        bytes
    }
}

/// A UDP packet.
pub fn udp(source: u16, destination: u16, data: &[u8]) -> Segment {
    let mut bytes = [source.to_be_bytes(), destination.to_be_bytes(), length(8 + data.len()).to_be_bytes(), [0, 0]].concat();
    bytes.extend(data);
    Segment::checked(UDP, bytes, 6)
}

/// The first packet of a TCP connection, with data.
pub fn tcp_syn(source: u16, destination: u16, data: &[u8]) -> Segment {
    const HEADER_OF_FIVE_WORDS: u8 = 0x50;
    const SYN: u8 = 2;
    let mut bytes = [source.to_be_bytes(), destination.to_be_bytes()].concat();
    bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, HEADER_OF_FIVE_WORDS, SYN, 0xff, 0xff, 0, 0, 0, 0]);
    bytes.extend(data);
    Segment::checked(TCP, bytes, 16)
}

/// An ICMP message of IPv4: type, code, the four bytes behind the checksum, and the rest.
pub fn icmp(kind: u8, code: u8, head: [u8; 4], data: &[u8]) -> Segment {
    let mut bytes = [&[kind, code, 0, 0], &head[..], data].concat();
    let sum = checksum(&[&bytes]);
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    Segment::raw(ICMP, bytes)
}

/// A ping (RFC 792).
pub fn ping(marker: Marker) -> Segment {
    icmp(8, 0, [0x12, 0x34, 0, 1], &marker.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_verify() {
        for segment in [udp(68, 67, b"odd"), tcp_syn(1, 2, b"even")] {
            let (source, destination) = ([192, 0, 2, 1], [192, 0, 2, 2]);
            let bytes = segment.between(&source, &destination);
            let tail = [&length(bytes.len()).to_be_bytes()[..], &[0, segment.protocol]].concat();
            // A sum over a packet with its checksum is zero (RFC 1071).
            assert_eq!(checksum(&[&source, &destination, &tail, &bytes]), 0);
        }
        assert_eq!(checksum(&[&ping(Marker(1)).bytes]), 0);
    }
}
