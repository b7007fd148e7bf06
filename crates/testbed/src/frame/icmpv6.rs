//! Neighbour discovery (RFC 4861) and multicast listeners (RFC 2710, RFC 3810): what a link believes because somebody says so.

use std::net::Ipv6Addr;

use super::ipv6::ETHER_TYPE;
use super::upper::{ICMPV6, Segment};
use super::{Mac, Marker};

/// An option of a neighbour discovery message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NdOption {
    /// The sender's MAC address.
    SourceLinkLayer(Mac),
    /// The target's MAC address.
    TargetLinkLayer(Mac),
    /// A network for everybody: its first 64 bits.
    Prefix(Ipv6Addr),
    /// A number by which the sender knows its own message again, as kernels have it in duplicate address detection (RFC 7527).
    Nonce,
    /// An option of a kind that nobody knows, with a marker.
    Unknown(Marker),
}

impl NdOption {
    fn bytes(self) -> Vec<u8> {
        match self {
            Self::SourceLinkLayer(mac) => [&[1, 1], &mac.0[..]].concat(),
            Self::TargetLinkLayer(mac) => [&[2, 1], &mac.0[..]].concat(),
            Self::Prefix(prefix) => {
                // On the link and good for addresses, for an hour.
                let head = [3, 4, 64, 0xc0, 0, 0, 14, 16, 0, 0, 14, 16, 0, 0, 0, 0];
                [&head[..], &prefix.octets()].concat()
            }
            Self::Nonce => vec![14, 1, 1, 2, 3, 4, 5, 6],
            Self::Unknown(marker) => [&[253, 2], &marker.bytes()[..], &[0; 4]].concat(),
        }
    }
}

/// A message of ICMPv6: type, code, what follows the checksum.
pub fn message(kind: u8, code: u8, body: &[u8]) -> Segment {
    Segment::checked(ICMPV6, [&[kind, code, 0, 0], body].concat(), 2)
}

fn discovery(kind: u8, head: &[u8], options: &[NdOption]) -> Segment {
    let options: Vec<u8> = options.iter().flat_map(|option| option.bytes()).collect();
    message(kind, 0, &[head, &options].concat())
}

/// A message that carries its marker in the lower three bytes of the reserved field, which receivers ignore: so it needs no option that
/// kernels do not send.
fn marked(kind: u8, flags: u8, marker: Marker, head: &[u8], options: &[NdOption]) -> Segment {
    let [_, reserved @ ..] = marker.0.to_be_bytes();
    discovery(kind, &[&[flags], &reserved[..], head].concat(), options)
}

/// The marker in the reserved field of a message of neighbour discovery, which may stand alone, as a raw socket gives it, or in a frame
/// without extension headers. Kernels leave the field zero.
pub fn reserved_marker(bytes: &[u8]) -> Option<Marker> {
    const IN_A_FRAME: usize = 14 + 40;
    let is_frame = bytes.get(12..14) == Some(&ETHER_TYPE.to_be_bytes()) && bytes.get(20) == Some(&ICMPV6);
    let message = if is_frame { bytes.get(IN_A_FRAME..)? } else { bytes };
    let [kind, code, _, _, _, reserved @ ..] = message.first_chunk::<8>()?;
    let number = u32::from_be_bytes([0, reserved[0], reserved[1], reserved[2]]);
    (matches!(kind, 133 | 135..=137) && *code == 0 && number != 0).then_some(Marker(number))
}

/// A ping.
pub fn ping(marker: Marker) -> Segment {
    message(128, 0, &[&[0x12, 0x34, 0, 1], &marker.bytes()[..]].concat())
}

/// Who is a router here?
pub fn router_solicitation(marker: Marker, options: &[NdOption]) -> Segment {
    marked(133, 0, marker, &[], options)
}

/// I am a router, for half an hour.
pub fn router_advertisement(options: &[NdOption]) -> Segment {
    discovery(134, &[64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0], options)
}

/// Who has the target's address?
pub fn neighbour_solicitation(marker: Marker, target: Ipv6Addr, options: &[NdOption]) -> Segment {
    marked(135, 0, marker, &target.octets(), options)
}

/// The flags of a neighbour advertisement.
pub const ROUTER: u8 = 0x80;
/// It answers a question.
pub const SOLICITED: u8 = 0x40;
/// It goes before what the receiver knew.
pub const OVERRIDE: u8 = 0x20;

/// The target's address is here.
pub fn neighbour_advertisement(marker: Marker, flags: u8, target: Ipv6Addr, options: &[NdOption]) -> Segment {
    marked(136, flags, marker, &target.octets(), options)
}

/// For `destination`, go by `better`.
pub fn redirect(marker: Marker, better: Ipv6Addr, destination: Ipv6Addr, options: &[NdOption]) -> Segment {
    marked(137, 0, marker, &[better.octets(), destination.octets()].concat(), options)
}

/// Who listens to what? Of MLDv1, with a marker behind it, where receivers ignore it.
pub fn listener_query(marker: Marker) -> Segment {
    message(130, 0, &[&[0, 100, 0, 0], &[0; 16][..], &marker.bytes()].concat())
}

/// I listen to this group, by MLDv1.
pub fn listener_report(group: Ipv6Addr, marker: Marker) -> Segment {
    message(131, 0, &[&[0; 4], &group.octets()[..], &marker.bytes()].concat())
}

/// I no longer do, by MLDv1.
pub fn listener_done(group: Ipv6Addr, marker: Marker) -> Segment {
    message(132, 0, &[&[0; 4], &group.octets()[..], &marker.bytes()].concat())
}

/// I listen to this group, whoever sends, by MLDv2.
pub fn listener_report_v2(group: Ipv6Addr, marker: Marker) -> Segment {
    const CHANGE_TO_EXCLUDE: u8 = 4;
    message(143, 0, &[&[0, 0, 0, 1, CHANGE_TO_EXCLUDE, 0, 0, 0], &group.octets()[..], &marker.bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::ipv6::Ipv6;
    use crate::frame::{Ethernet, Payload, checksum, length};

    #[test]
    fn a_solicitation_is_as_the_rfc_draws_it_and_verifies() {
        let (from, target): (Ipv6Addr, Ipv6Addr) = ("fe80::1".parse().unwrap(), "fe80::2".parse().unwrap());
        let segment = neighbour_solicitation(Marker(3), target, &[NdOption::SourceLinkLayer(Mac([7; 6]))]);
        let packet = Ipv6::new(from, target).hops(255).carrying(segment).bytes;
        assert_eq!((packet[6], packet[7], packet[40]), (58, 255, 135));
        assert_eq!(packet[64..72], [1, 1, 7, 7, 7, 7, 7, 7]);
        assert_eq!(packet.len(), 40 + 24 + 8);
        assert_eq!(reserved_marker(&packet[40..]), Some(Marker(3)));
        let frame = Ethernet::new(Mac([7; 6]), Mac([8; 6])).carrying(Payload { kind: ETHER_TYPE, bytes: packet.clone() });
        assert_eq!(reserved_marker(frame.bytes()), Some(Marker(3)));
        let tail = [&length(packet.len() - 40).to_be_bytes()[..], &[0, ICMPV6]].concat();
        assert_eq!(checksum(&[&from.octets(), &target.octets(), &tail, &packet[40..]]), 0);
    }
}
