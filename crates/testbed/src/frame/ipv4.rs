//! IPv4 (RFC 791).

use std::net::Ipv4Addr;

use super::upper::Segment;
use super::{Payload, checksum, length};

/// The EtherType.
pub const ETHER_TYPE: u16 = 0x0800;

/// A header that waits for what it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipv4 {
    /// Who sends, or says so.
    pub source: Ipv4Addr,
    /// Who shall receive.
    pub destination: Ipv4Addr,
    /// How many routers it may pass.
    pub time_to_live: u8,
    /// What fragments of one packet share.
    pub identification: u16,
    /// Options, a multiple of four bytes, at most 40.
    pub options: Vec<u8>,
}

impl Ipv4 {
    /// A header as hosts send it.
    pub fn new(source: Ipv4Addr, destination: Ipv4Addr) -> Self {
        Self { source, destination, time_to_live: 64, identification: 1, options: Vec::new() }
    }

    /// The packet.
    pub fn carrying(&self, segment: Segment) -> Payload {
        let bytes = segment.between(&self.source.octets(), &self.destination.octets());
        self.packet(segment.protocol, 0, &bytes)
    }

    /// The packet in two fragments, cut behind `first` bytes of what it carries: a multiple of 8.
    pub fn in_fragments(&self, segment: &Segment, first: u16) -> [Payload; 2] {
        const MORE: u16 = 0x2000;
        let bytes = segment.between(&self.source.octets(), &self.destination.octets());
        let (head, rest) = bytes.split_at(first.into());
        [self.packet(segment.protocol, MORE, head), self.packet(segment.protocol, first / 8, rest)]
    }

    fn packet(&self, protocol: u8, flags_and_offset: u16, carried: &[u8]) -> Payload {
        let size = 20 + self.options.len();
        let words = u8::try_from(size / 4).unwrap_or(15);
        let mut header = vec![0x40 | words, 0];
        header.extend(length(size + carried.len()).to_be_bytes());
        header.extend(self.identification.to_be_bytes());
        header.extend(flags_and_offset.to_be_bytes());
        header.extend([self.time_to_live, protocol, 0, 0]);
        header.extend(self.source.octets());
        header.extend(self.destination.octets());
        header.extend(&self.options);
        let sum = checksum(&[&header]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        Payload { kind: ETHER_TYPE, bytes: [&header, carried].concat() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::upper::udp;

    #[test]
    fn a_header_verifies_and_fragments_add_up() {
        let header = Ipv4::new([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let segment = udp(1, 2, &[7; 24]);
        let whole = header.carrying(segment.clone());
        assert_eq!((whole.bytes.len(), checksum(&[&whole.bytes[..20]])), (52, 0));
        let [first, rest] = header.in_fragments(&segment, 16);
        assert_eq!(first.bytes[6..8], [0x20, 0]);
        assert_eq!(rest.bytes[6..8], [0, 2]);
        assert_eq!([&first.bytes[20..], &rest.bytes[20..]].concat(), whole.bytes[20..]);
    }
}
