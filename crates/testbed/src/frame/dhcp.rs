//! DHCP: of IPv4 (RFC 2131) and of IPv6 (RFC 8415), as much of either as a filter can see.

use std::net::Ipv4Addr;

use super::upper::{Segment, udp};
use super::{Mac, Marker};

/// Ports of DHCP for IPv4.
pub const SERVER_PORT: u16 = 67;
/// The client's.
pub const CLIENT_PORT: u16 = 68;
/// Ports of DHCP for IPv6.
pub const SERVER_PORT_6: u16 = 547;
/// The client's.
pub const CLIENT_PORT_6: u16 = 546;

/// A message of DHCP for IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// The client looks for servers.
    Discover,
    /// A server offers.
    Offer,
    /// The client wants what was offered.
    Request,
    /// It has it.
    Ack,
    /// The client gives its address back.
    Release,
}

/// A packet of DHCP for the client with this MAC address. A server's names `offered`.
pub fn dhcp(message: Message, client: Mac, offered: Ipv4Addr, marker: Marker) -> Segment {
    dhcp_by(Ipv4Addr::UNSPECIFIED, message, client, offered, marker)
}

/// The same by a relay with this address.
pub fn dhcp_by(relay: Ipv4Addr, message: Message, client: Mac, offered: Ipv4Addr, marker: Marker) -> Segment {
    const COOKIE: [u8; 4] = [99, 130, 83, 99];
    let (kind, number, ports) = match message {
        Message::Discover => (1, 1, (CLIENT_PORT, SERVER_PORT)),
        Message::Request => (1, 3, (CLIENT_PORT, SERVER_PORT)),
        Message::Release => (1, 7, (CLIENT_PORT, SERVER_PORT)),
        Message::Offer => (2, 2, (SERVER_PORT, CLIENT_PORT)),
        Message::Ack => (2, 5, (SERVER_PORT, CLIENT_PORT)),
    };
    // Ethernet, six bytes of address, the answer by broadcast.
    let mut bytes = vec![kind, 1, 6, 0, 0x3d, 0x1d, 0, 1, 0, 0, 0x80, 0];
    bytes.extend(Ipv4Addr::UNSPECIFIED.octets());
    bytes.extend(if kind == 2 { offered } else { Ipv4Addr::UNSPECIFIED }.octets());
    bytes.extend([0; 4]);
    bytes.extend(relay.octets());
    bytes.extend(client.0);
    bytes.extend([0; 10]);
    // The server's name, which nobody reads, has room for the marker.
    let mut name = marker.bytes();
    name.resize(64, 0);
    bytes.extend(name);
    bytes.extend([0; 128]);
    bytes.extend(COOKIE);
    bytes.extend([53, 1, number, 255]);
    udp(ports.0, ports.1, &bytes)
}

/// A packet of DHCP for IPv6 from one port to another, of which only the marker says anything.
pub fn dhcp_6(source: u16, destination: u16, marker: Marker) -> Segment {
    const SOLICIT: u8 = 1;
    const ADVERTISE: u8 = 2;
    const CLIENT_IDENTIFIER: [u8; 4] = [0, 1, 0, 10];
    let kind = if source == SERVER_PORT_6 { ADVERTISE } else { SOLICIT };
    udp(source, destination, &[&[kind, 0, 0, 1], &CLIENT_IDENTIFIER[..], &marker.bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_stand_where_servers_read_them() {
        let segment = dhcp(Message::Discover, Mac([5; 6]), Ipv4Addr::UNSPECIFIED, Marker(9));
        // Behind UDP's eight bytes: chaddr at 28, the cookie at 236 (RFC 2131, 2).
        assert_eq!(segment.bytes[8 + 28..8 + 34], [5; 6]);
        assert_eq!(segment.bytes[8 + 236..8 + 240], [99, 130, 83, 99]);
        assert_eq!(Marker::find(&segment.bytes), Some(Marker(9)));
    }
}
