//! What a guest must not send: `Ip` is stopped by `antispoof=ip` already, `Strict` only by `antispoof=strict`.

use std::net::{Ipv4Addr, Ipv6Addr};

use testbed::frame::arp::Operation;
use testbed::frame::dhcp::{CLIENT_PORT_6, Message, SERVER_PORT_6, dhcp, dhcp_6, dhcp_by};
use testbed::frame::icmpv6::{
    NdOption, OVERRIDE, ROUTER, SOLICITED, listener_query, listener_report_v2, neighbour_advertisement, neighbour_solicitation,
    redirect, router_advertisement, router_solicitation,
};
use testbed::frame::ipv6::{ALL_DHCP_SERVERS, ALL_MLD_ROUTERS, ALL_NODES, Extension, ROUTER_ALERT, filler, link_local, nothing};
use testbed::frame::link_control::{cisco_discovery, link_layer_discovery, port_access, spanning_tree};
use testbed::frame::upper::{ICMPV6, IGMP, Segment, icmp, ping, tcp_syn, udp};
use testbed::frame::{BROADCAST, CUSTOMER, Ethernet, Frame, Mac, Marker, Payload, SERVICE, icmpv6};

use crate::case::table;
use crate::cast::{
    Cast, Draft6, FAR4, FAR6, ME, MY4, MY6, NEIGHBOUR, NEIGHBOUR4, NEIGHBOUR6, OTHER, OTHER4, OTHER6, my_link_local, telling,
};

fn ip4(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

fn ip6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// A frame of a protocol that carries nothing but its marker.
fn other_protocol(kind: u16, marker: Marker) -> Frame {
    let mut bytes = vec![0; 8];
    bytes.extend(marker.bytes());
    Ethernet::new(ME, BROADCAST).carrying(Payload { kind, bytes })
}

/// An ARP packet that is right but for its operation.
fn with_operation(c: Cast, operation: u8, marker: Marker) -> Frame {
    let mut payload = c.arp_reply(marker).arp.payload();
    payload.bytes[7] = operation;
    Ethernet::new(ME, BROADCAST).carrying(payload)
}

/// Segments longer than two headers, with the marker in the first part.
fn long(marker: Marker) -> Segment {
    let mut data = marker.bytes();
    data.resize(48, 0);
    udp(1000, 2000, &data)
}

/// A packet of UDP from another port.
fn from_port(port: u16, mut segment: Segment) -> Segment {
    segment.bytes[..2].copy_from_slice(&port.to_be_bytes());
    segment
}

/// A relay's message: its kind, hops, the link's and the client's address, and what the client said (RFC 8415, 9).
fn by_a_relay(port: u16, marker: Marker) -> Segment {
    udp(port, SERVER_PORT_6, &[&[12, 0][..], &[0; 32], &[0, 9, 0, 8], &marker.bytes()].concat())
}

/// IGMP that says something else than hosts do.
fn of_igmp(c: Cast, kind: u8, marker: Marker) -> Frame {
    let mut draft = c.v4(marker).to(ip4(224, 0, 0, 1)).options(&[0x94, 4, 0, 0]);
    draft.ethernet.destination = Mac([1, 0, 0x5e, 0, 0, 1]);
    draft.with(Segment::raw(IGMP, [&[kind, 0, 0, 0, 0, 0, 0, 0], &marker.bytes()[..]].concat())).frame()
}

/// A report of a multicast listener that has no address yet, whose hop-by-hop header may be followed by others.
fn report_before_an_address(c: Cast, marker: Marker) -> Draft6 {
    let draft = c.nd(listener_report_v2(ip6("ff02::fb"), marker)).hops(1).from(Ipv6Addr::UNSPECIFIED).to(ALL_MLD_ROUTERS);
    draft.extended(Extension::HopByHop(ROUTER_ALERT.to_vec()))
}

/// A packet with its marker behind its end, in what fills the frame.
fn trailing(draft: Draft6, marker: Marker) -> Frame {
    let mut packet = draft.ip.carrying(draft.segment);
    packet.bytes.extend(marker.bytes());
    draft.ethernet.carrying(packet)
}

/// A router of multicast says hello (RFC 7761, 4.9).
fn hello(marker: Marker) -> Segment {
    const PIM: u8 = 103;
    Segment::raw(PIM, [&[0x20, 0, 0, 0], &marker.bytes()[..]].concat())
}

table! { ADDRESSES:
    // Who sends, by Ethernet.
    Ip EVERYWHERE "IPv4 from a MAC address that nobody has" |c, n| vec![c.v4(n).source_mac(OTHER).frame()];
    Ip EVERYWHERE "IPv6 from a MAC address that nobody has" |c, n| vec![c.v6(n).source_mac(OTHER).frame()];
    Ip EVERYWHERE "IPv4 from the MAC address of all vifs" |c, n| vec![c.v4(n).source_mac(Mac([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff])).frame()];
    Ip EVERYWHERE "IPv4 from a MAC address that differs in its last bit" |c, n| vec![c.v4(n).source_mac(Mac([0, 0x16, 0x3e, 0, 1, 1])).frame()];
    Ip ROUTED "IPv4 from a MAC address of all zeros" |c, n| vec![c.v4(n).source_mac(Mac([0; 6])).frame()];
    Ip ROUTED "IPv4 from a MAC address of a group" |c, n| vec![c.v4(n).source_mac(Mac([1, 0, 0x5e, 0, 0, 1])).frame()];
    Ip ROUTED "IPv6 from everybody's MAC address" |c, n| vec![c.v6(n).source_mac(BROADCAST).frame()];

    // IPv4 sources.
    Ip EVERYWHERE "IPv4 from another guest" |c, n| vec![c.v4(n).from(OTHER4).frame()];
    Ip EVERYWHERE "IPv4 from the neighbour that it goes to" |c, n| vec![c.v4(n).from(NEIGHBOUR4).frame()];
    Ip EVERYWHERE "IPv4 from the gateway" |c, n| vec![c.v4(n).from(c.gateway4).frame()];
    Ip EVERYWHERE "IPv4 from the outside" |c, n| vec![c.v4(n).from(FAR4).frame()];
    Ip EVERYWHERE "IPv4 from the address behind the guest's last" |c, n| vec![c.v4(n).from(ip4(192, 168, 2, 12)).frame()];
    Ip EVERYWHERE "IPv4 from the address below the guest's /28" |c, n| vec![c.v4(n).from(ip4(192, 168, 4, 15)).frame()];
    Ip EVERYWHERE "IPv4 from the address above the guest's /28" |c, n| vec![c.v4(n).from(ip4(192, 168, 4, 32)).frame()];
    Ip EVERYWHERE "IPv4 from the network above the guest's /24" |c, n| vec![c.v4(n).from(ip4(192, 168, 4, 0)).frame()];
    Ip EVERYWHERE "IPv4 from the guest's address with two bytes exchanged" |c, n| vec![c.v4(n).from(ip4(192, 168, 10, 2)).frame()];
    Ip EVERYWHERE "IPv4 from a self-assigned address" |c, n| vec![c.v4(n).from(ip4(169, 254, 1, 1)).frame()];
    Ip BRIDGED "IPv4 from 0.0.0.0 that is no DHCP" |c, n| vec![c.v4(n).from(Ipv4Addr::UNSPECIFIED).frame()];
    Ip BRIDGED "IPv4 from network 0" |c, n| vec![c.v4(n).from(ip4(0, 1, 2, 3)).frame()];
    Ip BRIDGED "IPv4 from 255.255.255.255" |c, n| vec![c.v4(n).from(Ipv4Addr::BROADCAST).frame()];
    Ip BRIDGED "IPv4 from 127.0.0.1" |c, n| vec![c.v4(n).from(Ipv4Addr::LOCALHOST).frame()];
    Ip BRIDGED "IPv4 from a multicast group" |c, n| vec![c.v4(n).from(ip4(224, 0, 0, 1)).frame()];
    Ip BRIDGED "IPv4 from a reserved address" |c, n| vec![c.v4(n).from(ip4(240, 0, 0, 1)).frame()];
    Ip EVERYWHERE "a ping from another guest" |c, n| vec![c.v4(n).from(OTHER4).with(ping(n)).frame()];
    Ip EVERYWHERE "a TCP connection from another guest" |c, n| vec![c.v4(n).from(OTHER4).with(tcp_syn(1000, 22, &n.bytes())).frame()];
    Ip EVERYWHERE "fragments of IPv4 from another guest" |c, n| vec![c.v4(n).from(OTHER4).with(long(n))].into_iter().flat_map(|draft| draft.fragments(24)).collect();
    Ip EVERYWHERE "IPv4 with options from another guest" |c, n| vec![c.v4(n).from(OTHER4).options(&[1, 1, 1, 0]).frame()];
    Ip EVERYWHERE "IPv4 for everybody from another guest" |c, n| vec![c.v4(n).from(OTHER4).broadcast().frame()];

    // IPv6 sources.
    Ip EVERYWHERE "IPv6 from another guest" |c, n| vec![c.v6(n).from(OTHER6).frame()];
    Ip EVERYWHERE "IPv6 from the neighbour that it goes to" |c, n| vec![c.v6(n).from(NEIGHBOUR6).frame()];
    Ip EVERYWHERE "IPv6 from the gateway" |c, n| vec![c.v6(n).from(c.gateway6).frame()];
    Ip EVERYWHERE "IPv6 from the outside" |c, n| vec![c.v6(n).from(FAR6).frame()];
    Ip EVERYWHERE "IPv6 from the network above the guest's /64" |c, n| vec![c.v6(n).from(ip6("2001:db8:20:1::1")).frame()];
    Ip EVERYWHERE "IPv6 from the network below the guest's /56" |c, n| vec![c.v6(n).from(ip6("2001:db8:30:aaff:ffff:ffff:ffff:ffff")).frame()];
    Ip EVERYWHERE "IPv6 from the network above the guest's /56" |c, n| vec![c.v6(n).from(ip6("2001:db8:30:ac00::")).frame()];
    Ip BRIDGED "IPv6 from :: that is no discovery" |c, n| vec![c.v6(n).from(Ipv6Addr::UNSPECIFIED).frame()];
    Ip BRIDGED "IPv6 from ::1" |c, n| vec![c.v6(n).from(Ipv6Addr::LOCALHOST).frame()];
    Ip BRIDGED "IPv6 from a multicast group" |c, n| vec![c.v6(n).from(ALL_NODES).frame()];
    Ip EVERYWHERE "IPv6 from an IPv4 address that the guest has" |c, n| vec![c.v6(n).from(MY4.to_ipv6_mapped()).frame()];
    Ip EVERYWHERE "IPv6 from another guest's link-local address" |c, n| vec![c.nd(udp(5353, 5353, &n.bytes())).from(link_local(NEIGHBOUR)).frame()];
    Ip EVERYWHERE "IPv6 from a link-local address that nobody announced" |c, n| vec![c.nd(udp(5353, 5353, &n.bytes())).from(ip6("fe80::1234")).frame()];
    Ip EVERYWHERE "IPv6 from the gateway's link-local address" |c, n| vec![c.nd(udp(5353, 5353, &n.bytes())).from(ip6("fe80::1")).frame()];
    Ip EVERYWHERE "a ping of IPv6 from another guest" |c, n| vec![c.v6(n).from(OTHER6).with(icmpv6::ping(n)).frame()];
    Ip EVERYWHERE "fragments of IPv6 from another guest" |c, n| vec![c.v6(n).from(OTHER6).with(long(n))].into_iter().flat_map(|draft| draft.fragments(24)).collect();
    Ip EVERYWHERE "IPv6 with a header of options from another guest" |c, n| vec![c.v6(n).from(OTHER6).extended(Extension::Destination(Vec::new())).frame()];
}

table! { ARP:
    Ip EVERYWHERE "an ARP request with another guest's address" |c, n| vec![c.arp(n).sender(OTHER4).frame()];
    Ip EVERYWHERE "an ARP request with the gateway's address" |c, n| vec![c.arp(n).sender(c.gateway4).frame()];
    Ip EVERYWHERE "an ARP request with the address above the guest's /28" |c, n| vec![c.arp(n).sender(ip4(192, 168, 4, 32)).frame()];
    Ip EVERYWHERE "an ARP request with another MAC address inside" |c, n| vec![c.arp(n).sender_mac(telling::mac(n)).frame()];
    Ip EVERYWHERE "an ARP request that is right, from another Ethernet address" |c, n| vec![c.arp(n).source_mac(OTHER).frame()];
    Ip EVERYWHERE "an ARP request in every way another guest's" |c, n| vec![c.arp(n).source_mac(OTHER).sender_mac(telling::mac(n)).sender(OTHER4).frame()];
    Ip EVERYWHERE "an ARP reply with an address that is not the guest's" |c, n| vec![c.arp_reply(n).sender(telling::claimed(n)).frame()];
    Ip BRIDGED "an ARP reply with another MAC address inside" |c, n| vec![c.arp_reply(n).sender_mac(telling::mac(n)).frame()];
    Ip EVERYWHERE "an announcement of an address that is not the guest's" |c, n| vec![c.arp(n).sender(telling::claimed(n)).announcing().frame()];
    Ip BRIDGED "an announcement with another MAC address inside" |c, n| vec![c.arp_reply(n).sender_mac(telling::mac(n)).announcing().frame()];
    Ip BRIDGED "an announcement of the gateway's address" |c, n| vec![c.arp_reply(n).sender(c.gateway4).announcing().frame()];
    Ip BRIDGED "an ARP reply of the guest's own, from another Ethernet address" |c, n| vec![c.arp_reply(n).source_mac(OTHER).frame()];
    Ip BRIDGED "an ARP probe for another guest's address" |c, n| vec![c.arp(n).sender(Ipv4Addr::UNSPECIFIED).target(OTHER4).frame()];
    Ip BRIDGED "an ARP probe for the gateway's address" |c, n| vec![c.arp(n).sender(Ipv4Addr::UNSPECIFIED).target(c.gateway4).frame()];
    Ip BRIDGED "an ARP probe with another MAC address inside" |c, n| vec![c.arp(n).sender(Ipv4Addr::UNSPECIFIED).target(MY4).sender_mac(OTHER).frame()];
    Ip BRIDGED "an ARP reply from 0.0.0.0" |c, n| vec![c.arp_reply(n).sender(Ipv4Addr::UNSPECIFIED).frame()];
    Ip BRIDGED "an ARP packet with an unknown operation and another guest's address" |c, n| {
        let mut draft = c.arp(n).sender(OTHER4);
        draft.arp.operation = Operation::Unknown;
        vec![draft.frame()]
    };
    Ip BRIDGED "a reverse request with another MAC address inside" |c, n| {
        let mut draft = c.arp(n).sender_mac(OTHER);
        draft.arp.operation = Operation::ReverseRequest;
        vec![draft.frame()]
    };
    Ip BRIDGED "an ARP packet whose sizes say that its fields are elsewhere" |c, n| {
        let mut draft = c.arp_reply(n);
        draft.arp.sizes = [8, 16];
        vec![draft.frame()]
    };
    Ip BRIDGED "an ARP packet that ends behind another sender's address" |c, n| {
        // Not padded, as links without Ethernet's least length carry it.
        let mut payload = c.arp_reply(n).sender(OTHER4).arp.payload();
        payload.bytes[18..28].copy_from_slice(&[&n.bytes()[..], &[0; 10]].concat()[..10]);
        payload.bytes.truncate(18 + n.bytes().len());
        vec![Ethernet::new(ME, BROADCAST).carrying(payload)]
    };
    Ip BRIDGED "an ARP packet of another hardware that says whose address is whose" |c, n| {
        let mut payload = c.arp_reply(n).sender(OTHER4).arp.payload();
        payload.bytes[..2].copy_from_slice(&[0, 6]);
        vec![Ethernet::new(ME, BROADCAST).carrying(payload)]
    };
    Ip BRIDGED "an inverse ARP request" |c, n| vec![with_operation(c, 8, n)];
    Ip BRIDGED "an inverse ARP answer" |c, n| vec![with_operation(c, 9, n)];
    Ip BRIDGED "a reverse answer" |c, n| vec![with_operation(c, 4, n)];
}

table! { DHCP:
    Strict EVERYWHERE "a DHCP offer from the guest's own address" |c, n| vec![c.v4(n).broadcast().with(dhcp(Message::Offer, OTHER, OTHER4, n)).frame()];
    Strict EVERYWHERE "a DHCP acknowledgement from the guest's own address to one client" |c, n| vec![c.v4(n).with(dhcp(Message::Ack, NEIGHBOUR, NEIGHBOUR4, n)).frame()];
    Ip EVERYWHERE "a DHCP offer from the gateway's address" |c, n| vec![c.v4(n).broadcast().from(c.gateway4).with(dhcp(Message::Offer, OTHER, OTHER4, n)).frame()];
    Ip EVERYWHERE "a DHCP offer from 0.0.0.0" |c, n| vec![c.v4(n).broadcast().from(Ipv4Addr::UNSPECIFIED).with(dhcp(Message::Offer, OTHER, OTHER4, n)).frame()];
    Ip EVERYWHERE "a DHCP question in another guest's name" |c, n| vec![c.v4(n).broadcast().from(Ipv4Addr::UNSPECIFIED).with(dhcp(Message::Discover, OTHER, OTHER4, n)).frame()];
    Ip EVERYWHERE "a DHCP question from another Ethernet address" |c, n| vec![c.v4(n).broadcast().from(Ipv4Addr::UNSPECIFIED).source_mac(OTHER).with(dhcp(Message::Discover, ME, OTHER4, n)).frame()];
    Ip EVERYWHERE "from 0.0.0.0, to a port that is not DHCP's" |c, n| vec![c.v4(n).broadcast().from(Ipv4Addr::UNSPECIFIED).with(udp(68, 53, &n.bytes())).frame()];
    Strict EVERYWHERE "a DHCP release in another guest's name" |c, n| vec![c.v4(n).with(dhcp(Message::Release, OTHER, OTHER4, n)).frame()];
    Strict EVERYWHERE "a DHCP release in another guest's name from another port" |c, n| {
        // Servers do not look at the port that it comes from.
        vec![c.v4(n).with(from_port(1000, dhcp(Message::Release, OTHER, OTHER4, n))).frame()]
    };
    Strict EVERYWHERE "a DHCP offer from another port, which clients take as well" |c, n| {
        vec![c.v4(n).broadcast().with(from_port(1067, dhcp(Message::Offer, OTHER, OTHER4, n))).frame()]
    };
    Strict EVERYWHERE "a DHCP offer to one client from another port" |c, n| vec![c.v4(n).with(from_port(67 << 8, dhcp(Message::Offer, NEIGHBOUR, NEIGHBOUR4, n))).frame()];
    Strict BRIDGED "a DHCP release in two pieces, of which we do not know how they are put together" |c, n| c.v4(n).with(dhcp(Message::Release, ME, MY4, n)).fragments(80);
    Strict EVERYWHERE "a DHCP question by a relay" |c, n| vec![c.v4(n).with(dhcp_by(MY4, Message::Discover, ME, OTHER4, n)).frame()];
    Ip EVERYWHERE "a DHCP question by a relay without an address" |c, n| vec![c.v4(n).broadcast().from(Ipv4Addr::UNSPECIFIED).with(dhcp_by(OTHER4, Message::Discover, ME, OTHER4, n)).frame()];
    Strict EVERYWHERE "a DHCPv6 server's answer from the guest's own link-local address" |c, n| vec![c.nd(dhcp_6(SERVER_PORT_6, CLIENT_PORT_6, n)).hops(1).frame()];
    Strict EVERYWHERE "a DHCPv6 server's answer from the guest's own address" |c, n| vec![c.v6(n).with(dhcp_6(SERVER_PORT_6, CLIENT_PORT_6, n)).frame()];
    Strict EVERYWHERE "a DHCPv6 server's answer from another port" |c, n| vec![c.v6(n).with(dhcp_6(1547, CLIENT_PORT_6, n)).frame()];
    Strict EVERYWHERE "a DHCPv6 server's answer from the client's port" |c, n| vec![c.nd(dhcp_6(CLIENT_PORT_6, CLIENT_PORT_6, n)).hops(1).frame()];
    Strict EVERYWHERE "a DHCPv6 question by a relay" |c, n| vec![c.v6(n).with(by_a_relay(CLIENT_PORT_6, n)).frame()];
    Strict EVERYWHERE "a DHCPv6 question by a relay from another port" |c, n| vec![c.v6(n).with(by_a_relay(1546, n)).frame()];
    Strict BRIDGED "the first piece of a DHCPv6 question by a relay, which does not say so yet" |c, n| {
        let draft = c.v6(n).with(by_a_relay(CLIENT_PORT_6, n));
        let [mut first, _] = draft.ip.in_fragments(&draft.segment, 8);
        first.bytes.extend(n.bytes());
        vec![draft.ethernet.carrying(first)]
    };
    Strict EVERYWHERE "a DHCP offer behind IPv4 options" |c, n| vec![c.v4(n).broadcast().options(&[1, 1, 1, 0]).with(dhcp(Message::Offer, OTHER, OTHER4, n)).frame()];
    Ip BRIDGED "a DHCP question from 0.0.0.0 in two pieces" |c, n| c.v4(n).broadcast().from(Ipv4Addr::UNSPECIFIED).with(dhcp(Message::Discover, ME, OTHER4, n)).fragments(160);
    Ip EVERYWHERE "a DHCPv6 server's answer from another link-local address" |c, n| vec![c.nd(dhcp_6(SERVER_PORT_6, CLIENT_PORT_6, n)).from(ip6("fe80::547")).frame()];
    Ip EVERYWHERE "a DHCPv6 question from another link-local address" |c, n| vec![c.nd(dhcp_6(CLIENT_PORT_6, SERVER_PORT_6, n)).from(ip6("fe80::546")).to(ALL_DHCP_SERVERS).frame()];
}

table! { DISCOVERY:
    Ip EVERYWHERE "a neighbour solicitation with another MAC address inside" |c, n| vec![c.nd(neighbour_solicitation(n, NEIGHBOUR6, &[NdOption::SourceLinkLayer(OTHER)])).frame()];
    Ip EVERYWHERE "a neighbour solicitation with another MAC address behind a first option" |c, n| vec![c.nd(neighbour_solicitation(n, NEIGHBOUR6, &[NdOption::Nonce, NdOption::SourceLinkLayer(OTHER)])).frame()];
    Ip EVERYWHERE "a neighbour solicitation with another MAC address behind the guest's own" |c, n| vec![c.nd(neighbour_solicitation(n, NEIGHBOUR6, &[NdOption::SourceLinkLayer(ME), NdOption::SourceLinkLayer(OTHER)])).frame()];
    Ip EVERYWHERE "a neighbour advertisement with another MAC address behind a first option" |c, n| vec![c.nd(neighbour_advertisement(n, OVERRIDE, MY6, &[NdOption::Nonce, NdOption::TargetLinkLayer(OTHER)])).frame()];
    Ip EVERYWHERE "a neighbour solicitation from another guest's address" |c, n| vec![c.nd(neighbour_solicitation(n, NEIGHBOUR6, &[NdOption::SourceLinkLayer(ME)])).from(OTHER6).frame()];
    Ip EVERYWHERE "a neighbour solicitation from another guest's link-local address" |c, n| vec![c.nd(neighbour_solicitation(n, NEIGHBOUR6, &[NdOption::SourceLinkLayer(ME)])).from(link_local(NEIGHBOUR)).frame()];
    Ip EVERYWHERE "a neighbour solicitation from another Ethernet address" |c, n| vec![c.nd(neighbour_solicitation(n, NEIGHBOUR6, &[NdOption::SourceLinkLayer(ME)])).source_mac(OTHER).frame()];
    Ip EVERYWHERE "a neighbour advertisement of another guest's address, to override" |c, n| vec![c.nd(neighbour_advertisement(n, OVERRIDE, OTHER6, &[NdOption::TargetLinkLayer(ME)])).frame()];
    Ip EVERYWHERE "a neighbour advertisement of another guest's address, as an answer" |c, n| vec![c.nd(neighbour_advertisement(n, SOLICITED, OTHER6, &[NdOption::TargetLinkLayer(ME)])).from(MY6).frame()];
    Ip EVERYWHERE "a neighbour advertisement of the gateway" |c, n| vec![c.nd(neighbour_advertisement(n, OVERRIDE | ROUTER, c.gateway6, &[NdOption::TargetLinkLayer(ME)])).frame()];
    Ip EVERYWHERE "a neighbour advertisement of the gateway's link-local address" |c, n| vec![c.nd(neighbour_advertisement(n, OVERRIDE | ROUTER, ip6("fe80::1"), &[NdOption::TargetLinkLayer(ME)])).frame()];
    Ip EVERYWHERE "a neighbour advertisement of another guest's link-local address" |c, n| vec![c.nd(neighbour_advertisement(n, OVERRIDE, link_local(NEIGHBOUR), &[NdOption::TargetLinkLayer(ME)])).frame()];
    Ip EVERYWHERE "a neighbour advertisement with another MAC address inside" |c, n| vec![c.nd(neighbour_advertisement(n, OVERRIDE, MY6, &[NdOption::TargetLinkLayer(OTHER)])).from(MY6).frame()];
    Ip EVERYWHERE "a neighbour advertisement without a MAC address of another guest's address" |c, n| vec![c.nd(neighbour_advertisement(n, 0, OTHER6, &[])).frame()];
    Ip EVERYWHERE "a neighbour advertisement from another guest's address" |c, n| vec![c.nd(neighbour_advertisement(n, OVERRIDE, MY6, &[NdOption::TargetLinkLayer(ME)])).from(OTHER6).frame()];
    Ip EVERYWHERE "duplicate address detection of another guest's address" |c, n| vec![c.nd(neighbour_solicitation(n, OTHER6, &[])).from(Ipv6Addr::UNSPECIFIED).frame()];
    Ip EVERYWHERE "duplicate address detection from another Ethernet address" |c, n| vec![c.nd(neighbour_solicitation(n, MY6, &[])).from(Ipv6Addr::UNSPECIFIED).source_mac(OTHER).frame()];
    Ip EVERYWHERE "a neighbour advertisement from ::" |c, n| vec![c.nd(neighbour_advertisement(n, OVERRIDE, OTHER6, &[NdOption::TargetLinkLayer(ME)])).from(Ipv6Addr::UNSPECIFIED).frame()];
    Ip EVERYWHERE "a router solicitation with another MAC address inside" |c, n| vec![c.nd(router_solicitation(n, &[NdOption::SourceLinkLayer(OTHER)])).frame()];
    Ip EVERYWHERE "a router solicitation from another link-local address" |c, n| vec![c.nd(router_solicitation(n, &[NdOption::SourceLinkLayer(ME)])).from(ip6("fe80::133")).frame()];

    Strict EVERYWHERE "a router advertisement from the guest's own link-local address" |c, n| vec![c.nd(router_advertisement(&[NdOption::SourceLinkLayer(ME), NdOption::Prefix(FAR6), NdOption::Unknown(n)])).frame()];
    Ip EVERYWHERE "a router advertisement from another link-local address" |c, n| vec![c.nd(router_advertisement(&[NdOption::SourceLinkLayer(ME), NdOption::Unknown(n)])).from(ip6("fe80::134")).frame()];
    Strict EVERYWHERE "a router advertisement behind a header of options" |c, n| vec![c.nd(router_advertisement(&[NdOption::Unknown(n)])).extended(Extension::Destination(Vec::new())).frame()];
    Strict EVERYWHERE "a router advertisement behind a hop-by-hop header" |c, n| vec![c.nd(router_advertisement(&[NdOption::Unknown(n)])).extended(Extension::HopByHop(ROUTER_ALERT.to_vec())).frame()];
    Ip BRIDGED "a router advertisement as a fragment that is whole" |c, n| vec![c.nd(router_advertisement(&[NdOption::Unknown(n)])).extended(Extension::AtomicFragment).frame()];
    Ip BRIDGED "a router advertisement in fragments, the first of which hides it" |c, n| {
        let options = Extension::Destination(filler(&n.bytes()));
        c.nd(router_advertisement(&[])).extended(options).fragments(16)
    };
    Ip BRIDGED "a neighbour advertisement of another guest's address in fragments, the first of which hides it" |c, n| {
        let options = Extension::Destination(filler(&n.bytes()));
        c.nd(neighbour_advertisement(n, OVERRIDE, OTHER6, &[NdOption::TargetLinkLayer(ME)])).extended(options).fragments(16)
    };
    Ip BRIDGED "a neighbour advertisement of another guest's address that says to be longer than its frame" |c, n| {
        let draft = c.nd(neighbour_advertisement(n, OVERRIDE, OTHER6, &[NdOption::TargetLinkLayer(ME)]));
        let mut packet = draft.ip.carrying(draft.segment);
        packet.bytes[4] = 0xff;
        vec![draft.ethernet.carrying(packet)]
    };
    Strict EVERYWHERE "a redirect from the guest's own link-local address" |c, n| vec![c.nd(redirect(n, my_link_local(), FAR6, &[NdOption::TargetLinkLayer(ME)])).frame()];
    Ip EVERYWHERE "a redirect from the gateway's link-local address" |c, n| vec![c.nd(redirect(n, my_link_local(), FAR6, &[NdOption::TargetLinkLayer(ME)])).from(ip6("fe80::1")).frame()];
    Strict EVERYWHERE "a redirect of IPv4 from the guest's own address" |c, n| vec![c.v4(n).with(icmp(5, 1, MY4.octets(), &n.bytes())).frame()];
    Ip EVERYWHERE "a redirect of IPv4 from the gateway" |c, n| vec![c.v4(n).from(c.gateway4).with(icmp(5, 1, MY4.octets(), &n.bytes())).frame()];

    Strict BRIDGED "a question for multicast listeners of IPv4 from the guest's own address" |c, n| {
        let mut draft = c.v4(n).to(ip4(224, 0, 0, 1)).options(&[0x94, 4, 0, 0]);
        draft.ethernet.destination = Mac([1, 0, 0x5e, 0, 0, 1]);
        vec![draft.with(Segment::raw(IGMP, [&[0x11, 100, 0xee, 0x9b, 0, 0, 0, 0], &n.bytes()[..]].concat())).frame()]
    };
    Strict BRIDGED "a router of multicast says DVMRP" |c, n| vec![of_igmp(c, 0x13, n)];
    Strict BRIDGED "a router of multicast advertises itself" |c, n| vec![of_igmp(c, 0x30, n)];
    Strict BRIDGED "a router of multicast says hello" |c, n| {
        let mut draft = c.v4(n).to(ip4(224, 0, 0, 13));
        draft.ethernet.destination = Mac([1, 0, 0x5e, 0, 0, 13]);
        vec![draft.with(hello(n)).frame()]
    };
    Strict BRIDGED "a router of multicast says hello by IPv6" |c, n| vec![c.nd(hello(n)).hops(1).to(ip6("ff02::d")).frame()];
    Strict BRIDGED "a router of IPv6 multicast advertises itself" |c, n| vec![c.nd(Segment::raw(ICMPV6, [&[151, 1, 0, 0, 0, 0, 0, 0], &n.bytes()[..]].concat())).hops(1).to(ip6("ff02::6a")).frame()];
    Strict EVERYWHERE "a question for multicast listeners from the guest's own link-local address" |c, n| vec![c.nd(listener_query(n)).hops(1).extended(Extension::HopByHop(ROUTER_ALERT.to_vec())).frame()];
    Ip EVERYWHERE "a question for multicast listeners from ::" |c, n| vec![c.nd(listener_query(n)).hops(1).from(Ipv6Addr::UNSPECIFIED).extended(Extension::HopByHop(ROUTER_ALERT.to_vec())).frame()];
    Ip EVERYWHERE "a report of a multicast listener from another link-local address" |c, n| vec![c.nd(listener_report_v2(ip6("ff02::fb"), n)).hops(1).from(ip6("fe80::143")).to(ALL_MLD_ROUTERS).extended(Extension::HopByHop(ROUTER_ALERT.to_vec())).frame()];
    Ip EVERYWHERE "a report of a multicast listener from another Ethernet address" |c, n| vec![c.nd(listener_report_v2(ip6("ff02::fb"), n)).hops(1).to(ALL_MLD_ROUTERS).source_mac(OTHER).extended(Extension::HopByHop(ROUTER_ALERT.to_vec())).frame()];
    Ip BRIDGED "a report of a multicast listener from :: behind a Routing header" |c, n| vec![report_before_an_address(c, n).extended(Extension::Routing(0, vec![FAR6])).frame()];
    Ip BRIDGED "a report of a multicast listener from :: behind a header of options" |c, n| vec![report_before_an_address(c, n).extended(Extension::Destination(Vec::new())).frame()];
    Ip BRIDGED "a report of a multicast listener from :: that says to be a fragment" |c, n| vec![report_before_an_address(c, n).extended(Extension::AtomicFragment).frame()];
    Ip BRIDGED "a neighbour advertisement of another guest's address behind a hop-by-hop header" |c, n| {
        vec![trailing(c.nd(neighbour_advertisement(n, OVERRIDE, OTHER6, &[NdOption::TargetLinkLayer(ME)])).extended(Extension::HopByHop(ROUTER_ALERT.to_vec())), n)]
    };
    Ip BRIDGED "a neighbour advertisement of another guest's address behind a header of options" |c, n| {
        vec![trailing(c.nd(neighbour_advertisement(n, OVERRIDE, OTHER6, &[NdOption::TargetLinkLayer(ME)])).extended(Extension::Destination(Vec::new())), n)]
    };
    Ip BRIDGED "a neighbour advertisement of another guest's address behind two headers of options" |c, n| {
        let draft = c.nd(neighbour_advertisement(n, OVERRIDE, OTHER6, &[NdOption::TargetLinkLayer(ME)]));
        vec![trailing(draft.extended(Extension::HopByHop(Vec::new())).extended(Extension::Destination(Vec::new())), n)]
    };
    Ip BRIDGED "a neighbour advertisement of another guest's address behind a Routing header" |c, n| {
        vec![trailing(c.nd(neighbour_advertisement(n, OVERRIDE, OTHER6, &[NdOption::TargetLinkLayer(ME)])).extended(Extension::Routing(2, vec![FAR6])), n)]
    };
    Ip BRIDGED "a neighbour advertisement of another guest's address as a fragment that is whole" |c, n| {
        vec![trailing(c.nd(neighbour_advertisement(n, OVERRIDE, OTHER6, &[NdOption::TargetLinkLayer(ME)])).extended(Extension::AtomicFragment), n)]
    };
    Ip BRIDGED "a neighbour advertisement of another guest's address behind two fragment headers" |c, n| {
        let draft = c.nd(neighbour_advertisement(n, OVERRIDE, OTHER6, &[NdOption::TargetLinkLayer(ME)]));
        vec![trailing(draft.extended(Extension::AtomicFragment).extended(Extension::AtomicFragment), n)]
    };
    Ip EVERYWHERE "a neighbour advertisement with a second MAC address behind the guest's own" |c, n| {
        vec![c.nd(neighbour_advertisement(n, OVERRIDE, MY6, &[NdOption::TargetLinkLayer(ME), NdOption::TargetLinkLayer(OTHER)])).frame()]
    };
    Ip EVERYWHERE "a neighbour advertisement that nobody asked for, without a MAC address, of the gateway" |c, n| vec![c.nd(neighbour_advertisement(n, OVERRIDE | ROUTER, c.gateway6, &[])).from(MY6).frame()];
    Ip EVERYWHERE "duplicate address detection of the neighbour's link-local address" |c, n| vec![c.nd(neighbour_solicitation(n, link_local(NEIGHBOUR), &[])).from(Ipv6Addr::UNSPECIFIED).frame()];
    Ip EVERYWHERE "duplicate address detection of another guest's address as newer kernels do it" |c, n| vec![c.nd(neighbour_solicitation(n, OTHER6, &[NdOption::Nonce])).from(Ipv6Addr::UNSPECIFIED).frame()];
    Ip EVERYWHERE "duplicate address detection with a MAC address" |c, n| vec![c.nd(neighbour_solicitation(n, MY6, &[NdOption::SourceLinkLayer(ME)])).from(Ipv6Addr::UNSPECIFIED).frame()];
    Strict EVERYWHERE "a router advertisement that ends the router's time" |c, n| {
        let mut segment = router_advertisement(&[NdOption::Unknown(n)]);
        segment.bytes[6..8].copy_from_slice(&[0, 0]);
        vec![c.nd(segment).frame()]
    };
    Ip EVERYWHERE "a router advertisement that ends the router's time, in the router's name" |c, n| {
        let mut segment = router_advertisement(&[NdOption::Unknown(n)]);
        segment.bytes[6..8].copy_from_slice(&[0, 0]);
        vec![c.nd(segment).from(ip6("fe80::1")).frame()]
    };
    Strict BRIDGED "a redirect of IPv4 in two pieces" |c, n| c.v4(n).with(icmp(5, 1, MY4.octets(), &[&n.bytes()[..], &[0; 28]].concat())).fragments(24);
    Strict BRIDGED "a router advertisement of IPv4" |c, n| vec![c.v4(n).with(icmp(9, 0, [1, 2, 7, 8], &[&[0; 8], &n.bytes()[..]].concat())).frame()];
    Strict BRIDGED "an inverse neighbour advertisement" |c, n| vec![c.nd(Segment::raw(ICMPV6, [&[142, 0, 0, 0, 0, 0, 0, 0], &n.bytes()[..]].concat())).frame()];
}

table! { EXTENSIONS:
    Strict EVERYWHERE "a Routing header of type 0" |c, n| vec![c.v6(n).extended(Extension::Routing(0, vec![FAR6])).frame()];
    Strict EVERYWHERE "a Routing header of type 2" |c, n| vec![c.v6(n).extended(Extension::Routing(2, vec![FAR6])).frame()];
    Strict EVERYWHERE "a Routing header of segment routing" |c, n| vec![c.v6(n).extended(Extension::Routing(4, vec![FAR6])).frame()];
    Strict EVERYWHERE "a header of options for the receiver" |c, n| vec![c.v6(n).extended(Extension::Destination(Vec::new())).frame()];
    Strict EVERYWHERE "a hop-by-hop header before something that is no MLD" |c, n| vec![c.v6(n).extended(Extension::HopByHop(Vec::new())).frame()];
    Strict EVERYWHERE "a hop-by-hop header before a Routing header" |c, n| vec![c.v6(n).extended(Extension::HopByHop(Vec::new())).extended(Extension::Routing(0, vec![FAR6])).frame()];
    Strict BRIDGED "a Routing header behind two fragment headers" |c, n| {
        vec![c.v6(n).extended(Extension::AtomicFragment).extended(Extension::AtomicFragment).extended(Extension::Routing(0, vec![FAR6])).frame()]
    };
    Strict EVERYWHERE "a header of mobility" |c, n| vec![c.v6(n).extended(Extension::Other(135, Vec::new())).frame()];
    Strict EVERYWHERE "a header of host identity" |c, n| vec![c.v6(n).extended(Extension::Other(139, Vec::new())).frame()];
    Strict EVERYWHERE "a header of shim6" |c, n| vec![c.v6(n).extended(Extension::Other(140, Vec::new())).frame()];
    Strict EVERYWHERE "an authentication header, which hides what is behind it from us" |c, n| vec![c.v6(n).extended(Extension::Authentication).frame()];
    Strict BRIDGED "a router advertisement behind an authentication header" |c, n| {
        vec![c.nd(router_advertisement(&[NdOption::Unknown(n)])).extended(Extension::Authentication).frame()]
    };
    Strict BRIDGED "an authentication header behind a fragment header" |c, n| {
        vec![c.v6(n).extended(Extension::AtomicFragment).extended(Extension::Authentication).frame()]
    };
    Strict BRIDGED "a Routing header behind an authentication header" |c, n| {
        vec![c.v6(n).extended(Extension::Authentication).extended(Extension::Routing(0, vec![FAR6])).frame()]
    };
    Strict BRIDGED "a header of options behind an authentication header" |c, n| {
        vec![c.v6(n).extended(Extension::Authentication).extended(Extension::Destination(Vec::new())).frame()]
    };
    Strict BRIDGED "a header of mobility behind an authentication header" |c, n| {
        vec![c.v6(n).extended(Extension::Authentication).extended(Extension::Other(135, Vec::new())).frame()]
    };
    Strict BRIDGED "a hop-by-hop header that is not the first" |c, n| {
        vec![c.v6(n).extended(Extension::Authentication).extended(Extension::HopByHop(Vec::new())).frame()]
    };
    Strict BRIDGED "a Routing header behind a hop-by-hop header, before a report of a multicast listener" |c, n| {
        let draft = c.nd(listener_report_v2(ip6("ff02::fb"), n)).hops(1).to(ALL_MLD_ROUTERS);
        vec![draft.extended(Extension::HopByHop(ROUTER_ALERT.to_vec())).extended(Extension::Routing(0, vec![FAR6])).frame()]
    };
    Strict EVERYWHERE "options with nothing behind them" |c, n| vec![c.v6(n).with(nothing()).extended(Extension::Destination(filler(&n.bytes()))).frame()];
    Strict BRIDGED "a first fragment that hides what it carries" |c, n| {
        let options = Extension::Destination(filler(&n.bytes()));
        c.v6(Marker(0)).with(udp(1000, 2000, &[0; 40])).extended(options).fragments(16)
    };
}

table! { OTHER_PROTOCOLS:
    Ip BRIDGED "a VLAN tag" |c, n| vec![c.v4(n).tagged(CUSTOMER, 5).frame()];
    Ip BRIDGED "a VLAN tag and another guest's address" |c, n| vec![c.v4(n).from(OTHER4).tagged(CUSTOMER, 5).frame()];
    Ip BRIDGED "a VLAN tag that is only a priority" |c, n| vec![c.v4(n).tagged(CUSTOMER, 0).frame()];
    Ip EVERYWHERE "a tag that is only a priority, and another guest's address" |c, n| vec![c.v4(n).from(OTHER4).tagged(CUSTOMER, 0).frame()];
    Ip EVERYWHERE "a tag that is only a priority, and another guest's IPv6 address" |c, n| vec![c.v6(n).from(OTHER6).tagged(CUSTOMER, 0).frame()];
    Ip BRIDGED "two VLAN tags" |c, n| vec![c.v4(n).tagged(SERVICE, 5).tagged(CUSTOMER, 7).frame()];
    Ip BRIDGED "two VLAN tags of one kind" |c, n| vec![c.v6(n).tagged(CUSTOMER, 5).tagged(CUSTOMER, 7).frame()];
    Ip BRIDGED "ARP behind a VLAN tag" |c, n| {
        let mut draft = c.arp_reply(n).sender(OTHER4);
        draft.ethernet = draft.ethernet.tagged(CUSTOMER, 5);
        vec![draft.frame()]
    };
    Ip BRIDGED "the spanning tree protocol" |_, n| vec![spanning_tree(ME, n)];
    Ip BRIDGED "LLDP" |_, n| vec![link_layer_discovery(ME, n)];
    Ip BRIDGED "CDP" |_, n| vec![cisco_discovery(ME, n)];
    Ip BRIDGED "EAPOL" |_, n| vec![port_access(ME, n)];
    Ip BRIDGED "RARP" |_, n| vec![other_protocol(0x8035, n)];
    Ip BRIDGED "MPLS" |_, n| vec![other_protocol(0x8847, n)];
    Ip BRIDGED "a PPPoE server's answer" |_, n| vec![other_protocol(0x8863, n)];
    Ip BRIDGED "ATA over Ethernet" |_, n| vec![other_protocol(0x88a2, n)];
    Ip BRIDGED "Wake-on-LAN" |_, n| vec![other_protocol(0x0842, n)];
    Ip BRIDGED "a protocol for experiments" |_, n| vec![other_protocol(0x88b5, n)];
    Ip BRIDGED "MACsec" |_, n| vec![other_protocol(0x88e5, n)];
    Ip BRIDGED "a PPPoE session" |_, n| vec![other_protocol(0x8864, n)];
    Ip BRIDGED "MPLS for a group" |_, n| vec![other_protocol(0x8848, n)];
    Ip BRIDGED "frames of Jumbo's type" |_, n| vec![other_protocol(0x8870, n)];
    Ip BRIDGED "a media redundancy ring's test" |_, n| vec![other_protocol(0x88e3, n)];
    Ip BRIDGED "connectivity fault management" |_, n| vec![other_protocol(0x8902, n)];
    Ip BRIDGED "a mesh of batman's" |_, n| vec![other_protocol(0x4305, n)];
    Ip BRIDGED "trailer encapsulation" |_, n| vec![other_protocol(0x1000, n)];
    Ip BRIDGED "a type that is neither length nor type" |_, n| vec![other_protocol(1501, n)];
    Ip BRIDGED "a service provider's tag" |c, n| vec![c.v4(n).tagged(SERVICE, 5).frame()];
    Ip BRIDGED "a service provider's tag that is only a priority" |c, n| vec![c.v4(n).tagged(SERVICE, 0).frame()];
    Ip EVERYWHERE "a service provider's tag that is only a priority, and another guest's address" |c, n| vec![c.v4(n).from(OTHER4).tagged(SERVICE, 0).frame()];
    Ip EVERYWHERE "two tags that are only priorities, and another guest's address" |c, n| vec![c.v4(n).from(OTHER4).tagged(SERVICE, 0).tagged(CUSTOMER, 0).frame()];
    Ip EVERYWHERE "two tags that are only priorities, and another guest's IPv6 address" |c, n| vec![c.v6(n).from(OTHER6).tagged(CUSTOMER, 0).tagged(CUSTOMER, 0).frame()];
    Ip BRIDGED "a tag of the old numbers" |c, n| vec![c.v4(n).tagged(0x9100, 5).frame()];
    Ip BRIDGED "IPv4 whose header is shorter than a header, in UDP" |c, n| {
        let draft = c.v4(n);
        let mut packet = draft.ip.carrying(draft.segment);
        packet.bytes[0] = 0x44;
        vec![draft.ethernet.carrying(packet)]
    };
    Ip BRIDGED "IPv4 in the manner of IEEE 802.2" |c, n| {
        let inner = c.v4(n).ip.carrying(udp(1, 2, &n.bytes()));
        let bytes = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], &inner.bytes].concat();
        vec![Ethernet::new(ME, BROADCAST).carrying(Payload { kind: u16::try_from(bytes.len()).unwrap(), bytes })]
    };
    Ip BRIDGED "an IPv6 packet that Ethernet calls IPv4" |c, n| {
        let inner = c.v6(n);
        vec![inner.ethernet.carrying(Payload { kind: 0x0800, ..inner.ip.carrying(inner.segment) })]
    };
    Ip BRIDGED "an IPv4 packet that Ethernet calls IPv6" |c, n| {
        let inner = c.v4(n);
        vec![inner.ethernet.carrying(Payload { kind: 0x86dd, ..inner.ip.carrying(inner.segment) })]
    };
    Ip BRIDGED "a DHCP offer that says to be longer than its frame" |c, n| {
        let draft = c.v4(n).broadcast().with(dhcp(Message::Offer, OTHER, OTHER4, n));
        let mut packet = draft.ip.carrying(draft.segment);
        packet.bytes[2] = 0xff;
        vec![draft.ethernet.carrying(packet)]
    };
    Ip BRIDGED "an IPv4 header that is cut short" |_, n| {
        let bytes = [&[0x45, 0][..], &n.bytes()].concat();
        vec![Ethernet::new(ME, BROADCAST).carrying(Payload { kind: 0x0800, bytes })]
    };
    // The last ones, since they turn the bridge's head: afterwards it looks for the neighbour behind the guest's port.
    Ip BRIDGED "IPv4 from the neighbour's MAC address" |c, n| vec![c.v4(n).source_mac(NEIGHBOUR).broadcast().frame()];
    Ip BRIDGED "IPv4 in every way the neighbour's" |c, n| vec![c.v4(n).source_mac(NEIGHBOUR).from(NEIGHBOUR4).broadcast().frame()];
}

/// All attacks, in the order in which they are sent.
pub fn all() -> impl Iterator<Item = &'static crate::case::Case> {
    [ADDRESSES, ARP, DHCP, DISCOVERY, EXTENSIONS, OTHER_PROTOCOLS].into_iter().flatten()
}
