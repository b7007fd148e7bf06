//! What a guest may send under every policy.

use std::net::{Ipv4Addr, Ipv6Addr};

use testbed::frame::dhcp::{CLIENT_PORT_6, Message, SERVER_PORT_6, dhcp, dhcp_6};
use testbed::frame::icmpv6::{
    NdOption, OVERRIDE, SOLICITED, listener_done, listener_report, listener_report_v2, neighbour_advertisement,
    neighbour_solicitation, router_solicitation,
};
use testbed::frame::ipv6::{ALL_DHCP_SERVERS, ALL_MLD_ROUTERS, ALL_NODES, ALL_ROUTERS, Extension, ROUTER_ALERT, solicited_node};
use testbed::frame::upper::{IGMP, Segment, icmp, ping, tcp_syn, udp};
use testbed::frame::{Mac, Marker, icmpv6};

use crate::case::table;
use crate::cast::{ME, MY_SECOND4, MY_SECOND6, MY4, MY6, NEIGHBOUR6, my_link_local};

fn ip4(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

fn ip6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// A UDP packet that is longer than two headers, with the marker in front.
fn long(marker: Marker) -> Segment {
    let mut data = marker.bytes();
    data.resize(48, 0);
    udp(1000, 2000, &data)
}

table! { LEGAL:
    Nobody EVERYWHERE "IPv4 from the guest's address" |c, n| vec![c.v4(n).frame()];
    Nobody EVERYWHERE "IPv4 from its second address" |c, n| vec![c.v4(n).from(MY_SECOND4).frame()];
    Nobody WITH_NETWORKS "IPv4 from the first address of its /24" |c, n| vec![c.v4(n).from(ip4(192, 168, 3, 0)).frame()];
    Nobody WITH_NETWORKS "IPv4 from the last address of its /24" |c, n| vec![c.v4(n).from(ip4(192, 168, 3, 255)).frame()];
    Nobody WITH_NETWORKS "IPv4 from the first address of its /28" |c, n| vec![c.v4(n).from(ip4(192, 168, 4, 16)).frame()];
    Nobody WITH_NETWORKS "IPv4 from the last address of its /28" |c, n| vec![c.v4(n).from(ip4(192, 168, 4, 31)).frame()];
    Nobody EVERYWHERE "a ping" |c, n| vec![c.v4(n).with(ping(n)).frame()];
    Nobody EVERYWHERE "a TCP connection" |c, n| vec![c.v4(n).with(tcp_syn(1000, 22, &n.bytes())).frame()];
    Nobody EVERYWHERE "fragments of IPv4" |c, n| c.v4(n).with(long(n)).fragments(24);
    Nobody EVERYWHERE "IPv4 for everybody" |c, n| vec![c.v4(n).broadcast().frame()];
    Nobody BRIDGED "IPv4 to a multicast group" |c, n| {
        let mut draft = c.v4(n).to(ip4(224, 0, 0, 251));
        draft.ethernet.destination = Mac([1, 0, 0x5e, 0, 0, 0xfb]);
        vec![draft.frame()]
    };
    Nobody BRIDGED "a report of a multicast listener of IPv4" |c, n| {
        let mut draft = c.v4(n).to(ip4(224, 0, 0, 251)).options(&[0x94, 4, 0, 0]);
        draft.ethernet.destination = Mac([1, 0, 0x5e, 0, 0, 0xfb]);
        vec![draft.with(Segment::raw(IGMP, [&[0x16, 0, 9, 4, 224, 0, 0, 251], &n.bytes()[..]].concat())).frame()]
    };
    Nobody BRIDGED "a report of a multicast listener of IPv4, of the third version" |c, n| {
        let mut draft = c.v4(n).to(ip4(224, 0, 0, 22)).options(&[0x94, 4, 0, 0]);
        draft.ethernet.destination = Mac([1, 0, 0x5e, 0, 0, 0x16]);
        let report = [&[0x22, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 224, 0, 0, 251], &n.bytes()[..]].concat();
        vec![draft.with(Segment::raw(IGMP, report)).frame()]
    };
    Nobody EVERYWHERE "a question for a name" |c, n| vec![c.v4(n).with(udp(1000, 53, &n.bytes())).frame()];
    Nobody EVERYWHERE "an answer to a question for a name" |c, n| vec![c.v4(n).with(udp(53, 1000, &n.bytes())).frame()];
    Nobody EVERYWHERE "the time, by IPv6" |c, n| vec![c.v6(n).with(udp(123, 123, &n.bytes())).frame()];
    Nobody EVERYWHERE "a log by IPv6, between ports that begin as DHCPv6's do" |c, n| vec![c.v6(n).with(udp(514, 514, &n.bytes())).frame()];
    Nobody EVERYWHERE "fragments of IPv4 to a port below 256" |c, n| {
        let mut segment = long(n);
        segment.bytes[2..4].copy_from_slice(&[0, 69]);
        c.v4(n).with(segment).fragments(24)
    };
    Nobody EVERYWHERE "a DHCP client looks for servers" |c, n| vec![c.v4(n).from(Ipv4Addr::UNSPECIFIED).broadcast().with(dhcp(Message::Discover, ME, MY4, n)).frame()];
    Nobody EVERYWHERE "a DHCP client asks for what was offered" |c, n| vec![c.v4(n).from(Ipv4Addr::UNSPECIFIED).broadcast().with(dhcp(Message::Request, ME, MY4, n)).frame()];
    Nobody EVERYWHERE "a DHCP client renews its lease" |c, n| vec![c.v4(n).with(dhcp(Message::Request, ME, MY4, n)).frame()];

    Nobody EVERYWHERE "a DHCP client gives its address back" |c, n| vec![c.v4(n).with(dhcp(Message::Release, ME, MY4, n)).frame()];
    Nobody EVERYWHERE "a DHCP client asks everybody to renew its lease" |c, n| vec![c.v4(n).broadcast().with(dhcp(Message::Request, ME, MY4, n)).frame()];
    Nobody EVERYWHERE "a packet is too big, says the guest" |c, n| vec![c.v4(n).with(icmp(3, 4, [0, 0, 5, 0x78], &n.bytes())).frame()];
    Nobody EVERYWHERE "time is exceeded, says the guest" |c, n| vec![c.v4(n).with(icmp(11, 0, [0; 4], &n.bytes())).frame()];
    Nobody EVERYWHERE "fragments of a ping" |c, n| {
        let segment = icmp(8, 0, [0x12, 0x34, 0, 1], &[&n.bytes()[..], &[0; 40]].concat());
        c.v4(n).with(segment).fragments(24)
    };
    Nobody EVERYWHERE "IPv4 in IPv4" |c, n| {
        let inner = c.v4(n).from(ip4(10, 9, 8, 7)).ip.carrying(udp(67, 68, &n.bytes()));
        vec![c.v4(n).with(Segment::raw(4, inner.bytes)).frame()]
    };
    Nobody EVERYWHERE "a tunnel of GRE" |c, n| vec![c.v4(n).with(Segment::raw(47, [&[0, 0, 8, 0], &n.bytes()[..]].concat())).frame()];
    Nobody EVERYWHERE "IPsec" |c, n| vec![c.v4(n).with(Segment::raw(50, [&[0, 0, 1, 0, 0, 0, 0, 1], &n.bytes()[..]].concat())).frame()];
    Nobody EVERYWHERE "IPsec by IPv6" |c, n| vec![c.v6(n).with(Segment::raw(50, [&[0, 0, 1, 0, 0, 0, 0, 1], &n.bytes()[..]].concat())).frame()];
    Nobody EVERYWHERE "SCTP" |c, n| vec![c.v4(n).with(Segment::raw(132, [&[0, 67, 0, 68, 0, 0, 0, 0, 0, 0, 0, 0], &n.bytes()[..]].concat())).frame()];
    Nobody EVERYWHERE "a packet of IPv6 is too big, says the guest" |c, n| vec![c.v6(n).with(icmpv6::message(2, 0, &[&[0, 0, 5, 0], &n.bytes()[..]].concat())).frame()];
    Nobody EVERYWHERE "fragments of a ping of IPv6" |c, n| {
        let segment = icmpv6::message(128, 0, &[&[0x12, 0x34, 0, 1], &n.bytes()[..], &[0; 40]].concat());
        c.v6(n).with(segment).fragments(24)
    };

    Nobody EVERYWHERE "an ARP request" |c, n| vec![c.arp(n).frame()];
    Nobody EVERYWHERE "an ARP request from the second address" |c, n| vec![c.arp(n).sender(MY_SECOND4).frame()];
    Nobody WITH_NETWORKS "an ARP request from the last address of the /28" |c, n| vec![c.arp(n).sender(ip4(192, 168, 4, 31)).frame()];
    Nobody BRIDGED "an ARP reply" |c, n| vec![c.arp_reply(n).frame()];
    Nobody BRIDGED "an announcement by an ARP request" |c, n| vec![c.arp(n).announcing().frame()];
    Nobody BRIDGED "an announcement by an ARP reply" |c, n| vec![c.arp_reply(n).sender(MY_SECOND4).announcing().frame()];
    Nobody BRIDGED "an ARP probe for an address of its own" |c, n| vec![c.arp(n).sender(Ipv4Addr::UNSPECIFIED).target(MY4).frame()];

    Nobody EVERYWHERE "IPv6 from the guest's address" |c, n| vec![c.v6(n).frame()];
    Nobody EVERYWHERE "IPv6 from its second address" |c, n| vec![c.v6(n).from(MY_SECOND6).frame()];
    Nobody WITH_NETWORKS "IPv6 from its /64" |c, n| vec![c.v6(n).from(ip6("2001:db8:20::ffff:ffff:ffff:ffff")).frame()];
    Nobody WITH_NETWORKS "IPv6 from the first network of its /56" |c, n| vec![c.v6(n).from(ip6("2001:db8:30:ab00::1")).frame()];
    Nobody WITH_NETWORKS "IPv6 from the last network of its /56" |c, n| vec![c.v6(n).from(ip6("2001:db8:30:abff:ffff:ffff:ffff:ffff")).frame()];
    Nobody EVERYWHERE "a ping of IPv6" |c, n| vec![c.v6(n).with(icmpv6::ping(n)).frame()];
    Nobody EVERYWHERE "a TCP connection of IPv6" |c, n| vec![c.v6(n).with(tcp_syn(1000, 22, &n.bytes())).frame()];
    Nobody EVERYWHERE "fragments of IPv6" |c, n| c.v6(n).with(long(n)).fragments(24);
    Nobody EVERYWHERE "IPv6 that says to be a fragment and is whole" |c, n| vec![c.v6(n).extended(Extension::AtomicFragment).frame()];
    Nobody EVERYWHERE "IPv6 from the link-local address that follows from the MAC address" |c, n| vec![c.nd(udp(5353, 5353, &n.bytes())).frame()];
    Nobody EVERYWHERE "a ping of IPv6 to everybody" |c, n| vec![c.nd(icmpv6::ping(n)).frame()];

    Nobody EVERYWHERE "a neighbour solicitation" |c, n| vec![c.nd(neighbour_solicitation(n, NEIGHBOUR6, &[NdOption::SourceLinkLayer(ME)])).to(solicited_node(NEIGHBOUR6)).frame()];
    Nobody EVERYWHERE "a neighbour solicitation from an address" |c, n| vec![c.nd(neighbour_solicitation(n, NEIGHBOUR6, &[NdOption::SourceLinkLayer(ME)])).from(MY6).to(solicited_node(NEIGHBOUR6)).frame()];
    Nobody EVERYWHERE "a neighbour solicitation that only wants to know whether the neighbour is still there" |c, n| vec![c.nd(neighbour_solicitation(n, NEIGHBOUR6, &[])).from(MY6).frame()];
    Nobody EVERYWHERE "a neighbour advertisement as an answer" |c, n| vec![c.nd(neighbour_advertisement(n, SOLICITED | OVERRIDE, MY6, &[NdOption::TargetLinkLayer(ME)])).from(MY6).frame()];
    Nobody EVERYWHERE "a neighbour advertisement that nobody asked for" |c, n| vec![c.nd(neighbour_advertisement(n, OVERRIDE, MY_SECOND6, &[NdOption::TargetLinkLayer(ME)])).frame()];
    Nobody EVERYWHERE "a neighbour advertisement of the link-local address" |c, n| vec![c.nd(neighbour_advertisement(n, SOLICITED, my_link_local(), &[NdOption::TargetLinkLayer(ME)])).frame()];
    Nobody EVERYWHERE "duplicate address detection" |c, n| vec![c.nd(neighbour_solicitation(n, MY6, &[])).from(Ipv6Addr::UNSPECIFIED).to(solicited_node(MY6)).frame()];
    Nobody EVERYWHERE "duplicate address detection as newer kernels do it" |c, n| vec![c.nd(neighbour_solicitation(n, MY_SECOND6, &[NdOption::Nonce])).from(Ipv6Addr::UNSPECIFIED).to(solicited_node(MY_SECOND6)).frame()];
    Nobody EVERYWHERE "duplicate address detection of the link-local address" |c, n| vec![c.nd(neighbour_solicitation(n, my_link_local(), &[])).from(Ipv6Addr::UNSPECIFIED).to(solicited_node(my_link_local())).frame()];
    Nobody EVERYWHERE "a router solicitation before there is an address" |c, n| vec![c.nd(router_solicitation(n, &[])).from(Ipv6Addr::UNSPECIFIED).to(ALL_ROUTERS).frame()];
    Nobody EVERYWHERE "a router solicitation" |c, n| vec![c.nd(router_solicitation(n, &[NdOption::SourceLinkLayer(ME)])).to(ALL_ROUTERS).frame()];
    Nobody EVERYWHERE "a report of a multicast listener" |c, n| vec![c.nd(listener_report_v2(ip6("ff02::fb"), n)).hops(1).to(ALL_MLD_ROUTERS).extended(Extension::HopByHop(ROUTER_ALERT.to_vec())).frame()];
    Nobody EVERYWHERE "a report of a multicast listener before there is an address" |c, n| vec![c.nd(listener_report_v2(solicited_node(my_link_local()), n)).hops(1).from(Ipv6Addr::UNSPECIFIED).to(ALL_MLD_ROUTERS).extended(Extension::HopByHop(ROUTER_ALERT.to_vec())).frame()];
    Nobody EVERYWHERE "a report of the older kind" |c, n| vec![c.nd(listener_report(ip6("ff02::fb"), n)).hops(1).to(ALL_NODES).extended(Extension::HopByHop(ROUTER_ALERT.to_vec())).frame()];
    Nobody EVERYWHERE "a listener that leaves, in the older way" |c, n| vec![c.nd(listener_done(ip6("ff02::fb"), n)).hops(1).to(ALL_ROUTERS).extended(Extension::HopByHop(ROUTER_ALERT.to_vec())).frame()];
    Nobody EVERYWHERE "a DHCPv6 client looks for servers" |c, n| vec![c.nd(dhcp_6(CLIENT_PORT_6, SERVER_PORT_6, n)).hops(1).to(ALL_DHCP_SERVERS).frame()];
}
