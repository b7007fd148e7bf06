//! Ethernet frames as values: for tests that send what no kernel would send, with checksums as they must be.
//!
//! ```
//! use testbed::frame::{BROADCAST, Ethernet, Mac, ipv4::Ipv4, upper::udp};
//!
//! let sender = Mac([0, 0x16, 0x3e, 0, 0, 1]);
//! let packet = Ipv4::new([192, 0, 2, 1].into(), [192, 0, 2, 2].into()).carrying(udp(68, 67, b"payload"));
//! let frame = Ethernet::new(sender, BROADCAST).carrying(packet);
//! assert_eq!(frame.bytes().len(), 14 + 20 + 8 + 7);
//! ```

use std::fmt;

pub mod arp;
pub mod dhcp;
pub mod icmpv6;
pub mod ipv4;
pub mod ipv6;
pub mod link_control;
pub mod upper;

/// A MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

/// Everybody on the link.
pub const BROADCAST: Mac = Mac([0xff; 6]);

impl Mac {
    /// Reads `00:16:3e:00:00:01`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<_, _>>().ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// The address that an IPv6 multicast group is sent to (RFC 2464, 7).
    pub fn of_group(group: std::net::Ipv6Addr) -> Self {
        let [.., a, b, c, d] = group.octets();
        Self([0x33, 0x33, a, b, c, d])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// What stands behind the MAC addresses: a protocol and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// What the field says: an EtherType, or, up to 1500, a length (IEEE 802.3).
    pub kind: u16,
    /// Everything behind it.
    pub bytes: Vec<u8>,
}

/// An Ethernet header that waits for its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ethernet {
    /// Who sends, or says so.
    pub source: Mac,
    /// Who shall receive.
    pub destination: Mac,
    /// Tags, the outer one first.
    pub tags: Vec<Tag>,
}

/// A VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The EtherType that announces it: [`CUSTOMER`] or [`SERVICE`].
    pub protocol: u16,
    /// The VLAN, 0 to 4095; 0 gives only a priority.
    pub vlan: u16,
}

/// The tag of IEEE 802.1Q.
pub const CUSTOMER: u16 = 0x8100;
/// The outer tag of IEEE 802.1ad.
pub const SERVICE: u16 = 0x88a8;

impl Ethernet {
    /// A header without tags.
    pub fn new(source: Mac, destination: Mac) -> Self {
        Self { source, destination, tags: Vec::new() }
    }

    /// The same behind one more tag.
    pub fn tagged(mut self, protocol: u16, vlan: u16) -> Self {
        self.tags.push(Tag { protocol, vlan });
        self
    }

    /// The whole frame.
    pub fn carrying(&self, payload: Payload) -> Frame {
        let mut bytes = [self.destination.0, self.source.0].concat();
        for tag in &self.tags {
            bytes.extend(tag.protocol.to_be_bytes());
            bytes.extend(tag.vlan.to_be_bytes());
        }
        bytes.extend(payload.kind.to_be_bytes());
        bytes.extend(payload.bytes);
        Frame(bytes)
    }
}

/// A frame as it is on the wire, without the check sequence in its end.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame(Vec<u8>);

impl Frame {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A number that a frame carries in its payload, so that whoever catches the frame knows which one it is, whatever was done to its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Marker(pub u32);

impl Marker {
    const SIGN: [u8; 6] = *b"\xb5xngf\xa1";

    /// The ten bytes that carry it.
    pub fn bytes(self) -> Vec<u8> {
        [&Self::SIGN[..], &self.0.to_be_bytes()].concat()
    }

    /// The marker of a frame, or of what is left of it.
    pub fn find(bytes: &[u8]) -> Option<Self> {
        Self::among(bytes).or_else(|| icmpv6::reserved_marker(bytes))
    }

    /// The first marker among some bytes.
    fn among(bytes: &[u8]) -> Option<Self> {
        let start = bytes.windows(Self::SIGN.len()).position(|window| window == Self::SIGN)?;
        let number = bytes.get(start + Self::SIGN.len()..)?.first_chunk()?;
        Some(Self(u32::from_be_bytes(*number)))
    }
}

/// The checksum of the internet protocols (RFC 1071).
fn checksum(parts: &[&[u8]]) -> u16 {
    let all = parts.concat();
    let words = all.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or_default()])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

/// A length as headers hold it. Frames of tests are short.
fn length(bytes: usize) -> u16 {
    u16::try_from(bytes).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_found_among_other_bytes() {
        let bytes = [&b"head\xb5xng"[..], &Marker(70000).bytes(), b"tail"].concat();
        assert_eq!(Marker::find(&bytes), Some(Marker(70000)));
        assert_eq!(Marker::find(&bytes[..14]), None);
        assert_eq!(Marker::find(b""), None);
    }

    #[test]
    fn the_checksum_is_that_of_rfc_1071() {
        // The example of section 3, with its sum ddf2.
        assert_eq!(checksum(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
        assert_eq!(checksum(&[&[0x01]]), !0x0100);
    }

    #[test]
    fn tags_stand_before_the_payload() {
        let header = Ethernet::new(Mac([2; 6]), BROADCAST).tagged(SERVICE, 5).tagged(CUSTOMER, 7);
        let frame = header.carrying(Payload { kind: 0x0800, bytes: vec![9] });
        assert_eq!(frame.bytes()[12..], [0x88, 0xa8, 0, 5, 0x81, 0, 0, 7, 8, 0, 9]);
    }

    #[test]
    fn a_mac_address_is_read_and_shown() {
        let mac = Mac::parse("00:16:3e:00:0a:ff").unwrap();
        assert_eq!((mac, mac.to_string().as_str()), (Mac([0, 0x16, 0x3e, 0, 0x0a, 0xff]), "00:16:3e:00:0a:ff"));
        assert_eq!(Mac::parse("00:16:3e:00:0a"), None);
    }
}
