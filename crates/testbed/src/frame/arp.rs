//! Address resolution (RFC 826, RFC 5227).

use std::net::Ipv4Addr;

use super::{Mac, Payload};

/// The EtherType.
pub const ETHER_TYPE: u16 = 0x0806;

/// What an ARP packet wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Who has the target's address?
    Request,
    /// The sender has it.
    Reply,
    /// Which address do I have? (RARP's; nobody answers it today.)
    ReverseRequest,
    /// A number that means nothing.
    Unknown,
}

impl Operation {
    fn number(self) -> u16 {
        match self {
            Self::Request => 1,
            Self::Reply => 2,
            Self::ReverseRequest => 3,
            Self::Unknown => 77,
        }
    }
}

/// An ARP packet for IPv4 over Ethernet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arp {
    /// What it wants.
    pub operation: Operation,
    /// The sender, as it says in the packet.
    pub sender_mac: Mac,
    /// The sender's address, as it says.
    pub sender: Ipv4Addr,
    /// The target, zeros where it is asked for.
    pub target_mac: Mac,
    /// The target's address.
    pub target: Ipv4Addr,
    /// The sizes of a hardware and a protocol address that the packet claims; 6 and 4 are the right ones.
    pub sizes: [u8; 2],
    /// What follows in the frame: the packet fills only 42 of the 60 bytes that Ethernet wants.
    pub padding: Vec<u8>,
}

impl Arp {
    /// Asks who has `target`.
    pub fn request(sender_mac: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Self {
        let target_mac = Mac([0; 6]);
        Self { operation: Operation::Request, sender_mac, sender, target_mac, target, sizes: [6, 4], padding: Vec::new() }
    }

    /// Tells `target` that `sender_mac` has `sender`.
    pub fn reply(sender_mac: Mac, sender: Ipv4Addr, target_mac: Mac, target: Ipv4Addr) -> Self {
        Self { operation: Operation::Reply, target_mac, ..Self::request(sender_mac, sender, target) }
    }

    /// The packet.
    pub fn payload(&self) -> Payload {
        let mut bytes = vec![0, 1, 8, 0];
        bytes.extend(self.sizes);
        bytes.extend(self.operation.number().to_be_bytes());
        bytes.extend(self.sender_mac.0);
        bytes.extend(self.sender.octets());
        bytes.extend(self.target_mac.0);
        bytes.extend(self.target.octets());
        bytes.extend(&self.padding);
        Payload { kind: ETHER_TYPE, bytes }
    }
}

/// Who speaks in a frame that carries an ARP packet, and whom it asks about or speaks to: sender and target address.
pub fn sender_and_target(frame: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let address = |at: usize| Some(Ipv4Addr::from(*frame.get(at..)?.first_chunk::<4>()?));
    (frame.get(12..14)? == ETHER_TYPE.to_be_bytes()).then(|| Some((address(28)?, address(38)?)))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{BROADCAST, Ethernet};

    #[test]
    fn a_reply_is_as_the_rfc_draws_it() {
        let arp = Arp::reply(Mac([1; 6]), [192, 0, 2, 1].into(), Mac([2; 6]), [192, 0, 2, 2].into());
        let expected = [0, 1, 8, 0, 6, 4, 0, 2, 1, 1, 1, 1, 1, 1, 192, 0, 2, 1, 2, 2, 2, 2, 2, 2, 192, 0, 2, 2];
        assert_eq!(arp.payload().bytes, expected);
        let frame = Ethernet::new(Mac([1; 6]), BROADCAST).carrying(arp.payload());
        assert_eq!(sender_and_target(frame.bytes()), Some(([192, 0, 2, 1].into(), [192, 0, 2, 2].into())));
    }
}
