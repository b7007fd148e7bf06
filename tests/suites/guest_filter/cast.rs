//! Who is who, and frames in the name of the guest under test: drafts that a case changes in the one place where it lies.

use std::net::{Ipv4Addr, Ipv6Addr};

use testbed::frame::arp::Arp;
use testbed::frame::ipv4::Ipv4;
use testbed::frame::ipv6::{ALL_NODES, Ipv6, link_local};
use testbed::frame::upper::{Segment, udp};
use testbed::frame::{BROADCAST, Ethernet, Frame, Mac, Marker, ipv6};

/// The guest under test, domain 1, and its addresses.
pub const ME: Mac = Mac([0, 0x16, 0x3e, 0, 1, 0]);
pub const MY4: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 10);
pub const MY_SECOND4: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 11);
pub const MY6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x10);
pub const MY_SECOND6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x11);

/// What its configuration says in `ip=`. vif-nat takes no networks.
pub const MY_LIST: &str =
    "192.168.2.10 192.168.2.11 192.168.3.0/24 192.168.4.16/28 2001:db8:2::10 2001:db8:2::11 2001:db8:20::/64 2001:db8:30:ab00::/56";
pub const MY_LIST_FOR_NAT: &str = "192.168.2.10 192.168.2.11 2001:db8:2::10 2001:db8:2::11";

/// The neighbour, domain 2, to whom most frames go.
pub const NEIGHBOUR: Mac = Mac([0, 0x16, 0x3e, 0, 2, 0]);
pub const NEIGHBOUR4: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 20);
pub const NEIGHBOUR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x20);
pub const NEIGHBOURS_LIST: &str = "192.168.2.20 2001:db8:2::20";

/// Guests like them, which this one is not.
pub const OTHER: Mac = Mac([0, 0x16, 0x3e, 0, 3, 0]);
pub const OTHER4: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 30);
pub const OTHER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x30);

/// The host outside: on the bridge behind dom0's card, or in dom0's LAN.
pub const OUTSIDE: Mac = Mac([2, 0, 0, 0, 0, 1]);
pub const OUTSIDE4: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
pub const OUTSIDE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);

/// dom0.
pub const DOM0: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 100);

pub const DOM0_6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x100);

/// Somewhere in the world.
pub const FAR4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
pub const FAR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 7);

/// The link-local address that follows from the guest's MAC address.
pub fn my_link_local() -> Ipv6Addr {
    link_local(ME)
}

/// Addresses that tell where they come from: ARP has no payload, so that dom0's answers and neighbour tables must say which packet they
/// believed.
pub mod telling {
    use super::{Ipv4Addr, Mac, Marker};

    fn low(marker: Marker) -> [u8; 2] {
        [u8::try_from(marker.0 >> 8 & 0xff).unwrap(), u8::try_from(marker.0 & 0xff).unwrap()]
    }

    /// An address that a request asks for, and that dom0 answers for: its default route leads there.
    pub fn asked(marker: Marker) -> Ipv4Addr {
        let [high, low] = low(marker);
        Ipv4Addr::new(10, 99, high, low)
    }

    /// An address that a packet claims to be its sender's.
    pub fn claimed(marker: Marker) -> Ipv4Addr {
        let [high, low] = low(marker);
        Ipv4Addr::new(172, 20, high, low)
    }

    /// A MAC address that a packet claims to be its sender's.
    pub fn mac(marker: Marker) -> Mac {
        let [high, low] = low(marker);
        Mac([2, 0xaa, 0, 0, high, low])
    }

    /// Whose asked address this is.
    pub fn by_asked(address: Ipv4Addr) -> Option<Marker> {
        by(&[10, 99], &address.octets())
    }

    /// Whose claimed address this is.
    pub fn by_claimed(address: Ipv4Addr) -> Option<Marker> {
        by(&[172, 20], &address.octets())
    }

    /// Whose MAC address this is.
    pub fn by_mac(mac: Mac) -> Option<Marker> {
        by(&[2, 0xaa, 0, 0], &mac.0)
    }

    fn by(head: &[u8], bytes: &[u8]) -> Option<Marker> {
        let [high, low] = bytes.strip_prefix(head)? else { return None };
        Some(Marker(u32::from(u16::from_be_bytes([*high, *low]))))
    }
}

/// Hands out markers.
#[derive(Default)]
pub struct Marks(u32);

impl Marks {
    /// One that no other frame has.
    pub fn next(&mut self) -> Marker {
        self.0 += 1;
        Marker(self.0)
    }
}

/// What a frame must know of the place where it is sent: the rest is constant.
#[derive(Clone, Copy, Debug)]
pub struct Cast {
    /// The MAC address of the next hop to the neighbour: its own on a bridge, dom0's else.
    pub hop: Mac,
    /// The MAC address of dom0's card, where dom0 is a router.
    pub dom0: Mac,
    /// The guests' gateway: dom0 on a bridge; else the LAN's router, since dom0 itself takes nothing that has dom0's address as its source.
    pub gateway4: Ipv4Addr,
    /// The same for IPv6.
    pub gateway6: Ipv6Addr,
}

impl Cast {
    /// A UDP packet of IPv4 from the guest to its neighbour.
    pub fn v4(self, marker: Marker) -> Draft4 {
        Draft4 { ethernet: Ethernet::new(ME, self.hop), ip: Ipv4::new(MY4, NEIGHBOUR4), segment: udp(1000, 2000, &marker.bytes()) }
    }

    /// A UDP packet of IPv6 from the guest to its neighbour.
    pub fn v6(self, marker: Marker) -> Draft6 {
        Draft6 { ethernet: Ethernet::new(ME, self.hop), ip: Ipv6::new(MY6, NEIGHBOUR6), segment: udp(1000, 2000, &marker.bytes()) }
    }

    /// A UDP packet of IPv4 from the host outside to the guest's neighbour, in the guest's name.
    pub fn outside(self, marker: Marker) -> Draft4 {
        let draft = self.v4(marker);
        Draft4 { ethernet: Ethernet::new(OUTSIDE, self.dom0), ..draft }
    }

    /// The same of IPv6.
    pub fn outside_6(self, marker: Marker) -> Draft6 {
        let draft = self.v6(marker);
        Draft6 { ethernet: Ethernet::new(OUTSIDE, self.dom0), ..draft }
    }

    /// A message of neighbour discovery from the guest's link-local address to everybody.
    pub fn nd(self, segment: Segment) -> Draft6 {
        Draft6 {
            ethernet: Ethernet::new(ME, Mac::of_group(ALL_NODES)),
            ip: Ipv6::new(my_link_local(), ALL_NODES).hops(255),
            segment,
        }
    }

    /// An ARP request from the guest, by broadcast.
    pub fn arp(self, marker: Marker) -> DraftArp {
        let arp = Arp { padding: marker.bytes(), ..Arp::request(ME, MY4, telling::asked(marker)) };
        DraftArp { ethernet: Ethernet::new(ME, BROADCAST), arp }
    }

    /// An ARP reply from the guest, by broadcast, that nobody asked for.
    pub fn arp_reply(self, marker: Marker) -> DraftArp {
        let arp = Arp { padding: marker.bytes(), ..Arp::reply(ME, MY4, BROADCAST, NEIGHBOUR4) };
        DraftArp { ethernet: Ethernet::new(ME, BROADCAST), arp }
    }
}

/// An IPv4 packet to be.
#[derive(Clone)]
pub struct Draft4 {
    pub ethernet: Ethernet,
    pub ip: Ipv4,
    pub segment: Segment,
}

impl Draft4 {
    pub fn source_mac(mut self, mac: Mac) -> Self {
        self.ethernet.source = mac;
        self
    }

    pub fn broadcast(mut self) -> Self {
        self.ethernet.destination = BROADCAST;
        self.ip.destination = Ipv4Addr::BROADCAST;
        self
    }

    pub fn from(mut self, source: Ipv4Addr) -> Self {
        self.ip.source = source;
        self
    }

    pub fn to(mut self, destination: Ipv4Addr) -> Self {
        self.ip.destination = destination;
        self
    }

    pub fn tagged(mut self, protocol: u16, vlan: u16) -> Self {
        self.ethernet = self.ethernet.tagged(protocol, vlan);
        self
    }

    pub fn with(mut self, segment: Segment) -> Self {
        self.segment = segment;
        self
    }

    pub fn options(mut self, options: &[u8]) -> Self {
        self.ip.options = options.to_vec();
        self
    }

    pub fn frame(self) -> Frame {
        self.ethernet.carrying(self.ip.carrying(self.segment))
    }

    pub fn fragments(self, first: u16) -> Vec<Frame> {
        self.ip.in_fragments(&self.segment, first).map(|part| self.ethernet.carrying(part)).to_vec()
    }
}

/// An IPv6 packet to be.
#[derive(Clone)]
pub struct Draft6 {
    pub ethernet: Ethernet,
    pub ip: Ipv6,
    pub segment: Segment,
}

impl Draft6 {
    pub fn source_mac(mut self, mac: Mac) -> Self {
        self.ethernet.source = mac;
        self
    }

    pub fn from(mut self, source: Ipv6Addr) -> Self {
        self.ip.source = source;
        self
    }

    pub fn to(mut self, destination: Ipv6Addr) -> Self {
        self.ip.destination = destination;
        if destination.is_multicast() {
            self.ethernet.destination = Mac::of_group(destination);
        }
        self
    }

    pub fn hops(mut self, hops: u8) -> Self {
        self.ip = self.ip.hops(hops);
        self
    }

    pub fn with(mut self, segment: Segment) -> Self {
        self.segment = segment;
        self
    }

    pub fn extended(mut self, extension: ipv6::Extension) -> Self {
        self.ip = self.ip.with(extension);
        self
    }

    pub fn tagged(mut self, protocol: u16, vlan: u16) -> Self {
        self.ethernet = self.ethernet.tagged(protocol, vlan);
        self
    }

    pub fn frame(self) -> Frame {
        self.ethernet.carrying(self.ip.carrying(self.segment))
    }

    pub fn fragments(self, first: u16) -> Vec<Frame> {
        self.ip.in_fragments(&self.segment, first).map(|part| self.ethernet.carrying(part)).to_vec()
    }
}

/// An ARP packet to be.
#[derive(Clone)]
pub struct DraftArp {
    pub ethernet: Ethernet,
    pub arp: Arp,
}

impl DraftArp {
    pub fn source_mac(mut self, mac: Mac) -> Self {
        self.ethernet.source = mac;
        self
    }

    pub fn sender_mac(mut self, mac: Mac) -> Self {
        self.arp.sender_mac = mac;
        self
    }

    pub fn sender(mut self, sender: Ipv4Addr) -> Self {
        self.arp.sender = sender;
        self
    }

    /// The sender asks for itself: an announcement.
    pub fn announcing(mut self) -> Self {
        self.arp.target = self.arp.sender;
        self
    }

    pub fn target(mut self, target: Ipv4Addr) -> Self {
        self.arp.target = target;
        self
    }

    pub fn frame(self) -> Frame {
        self.ethernet.carrying(self.arp.payload())
    }
}
