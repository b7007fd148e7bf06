//! What switches and their neighbours say to each other: no guest has a part in it.

use super::{Ethernet, Frame, Mac, Marker, Payload, length};

/// The group of bridges: frames to it are never forwarded by a bridge with the spanning tree protocol (IEEE 802.1D).
pub const BRIDGES: Mac = Mac([0x01, 0x80, 0xc2, 0, 0, 0]);
/// The group of port authentication (IEEE 802.1X).
pub const PORT_ACCESS: Mac = Mac([0x01, 0x80, 0xc2, 0, 0, 0x03]);
/// The group of neighbours on a cable (IEEE 802.1AB).
pub const NEAREST_BRIDGE: Mac = Mac([0x01, 0x80, 0xc2, 0, 0, 0x0e]);
/// Cisco's group.
pub const CISCO: Mac = Mac([0x01, 0x00, 0x0c, 0xcc, 0xcc, 0xcc]);

/// Says that the sender is the root of the spanning tree.
pub fn spanning_tree(source: Mac, marker: Marker) -> Frame {
    const LLC: [u8; 3] = [0x42, 0x42, 0x03];
    let best = [0, 0, 0, 0, 0, 0, 0, 1];
    let mut body = [&LLC[..], &[0, 0, 0, 0, 0], &best, &[0; 4], &best, &[0x80, 1, 0, 0, 20, 0, 2, 0, 15, 0]].concat();
    body.extend(marker.bytes());
    llc(source, BRIDGES, body)
}

/// Tells who the sender is, by Cisco's protocol.
pub fn cisco_discovery(source: Mac, marker: Marker) -> Frame {
    const LLC_AND_SNAP: [u8; 8] = [0xaa, 0xaa, 0x03, 0x00, 0x00, 0x0c, 0x20, 0x00];
    llc(source, CISCO, [&LLC_AND_SNAP[..], &[2, 180, 0, 0], &marker.bytes()].concat())
}

/// Tells who the sender is (LLDP).
pub fn link_layer_discovery(source: Mac, marker: Marker) -> Frame {
    let mut body = vec![2, 7, 4];
    body.extend(source.0);
    body.extend([4, 11, 7]);
    body.extend(marker.bytes());
    body.extend([6, 2, 0, 120, 0, 0]);
    Ethernet::new(source, NEAREST_BRIDGE).carrying(Payload { kind: 0x88cc, bytes: body })
}

/// Asks the switch to let the sender in (EAPOL-Start).
pub fn port_access(source: Mac, marker: Marker) -> Frame {
    let body = [&[1, 1, 0, 0], &marker.bytes()[..]].concat();
    Ethernet::new(source, PORT_ACCESS).carrying(Payload { kind: 0x888e, bytes: body })
}

/// A frame whose field holds a length (IEEE 802.3).
fn llc(source: Mac, destination: Mac, body: Vec<u8>) -> Frame {
    Ethernet::new(source, destination).carrying(Payload { kind: length(body.len()), bytes: body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridges_message_has_a_length_where_others_have_a_type() {
        let frame = spanning_tree(Mac([2; 6]), Marker(4));
        let body = frame.bytes().len() - 14;
        assert_eq!(usize::from(u16::from_be_bytes([frame.bytes()[12], frame.bytes()[13]])), body);
        assert_eq!(Marker::find(link_layer_discovery(Mac([2; 6]), Marker(4)).bytes()), Some(Marker(4)));
    }
}
