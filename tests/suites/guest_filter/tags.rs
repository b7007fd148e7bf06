//! VLAN tags of a guest that may send them. Build machines' kernels have no bridge that keeps VLANs apart, so `vlan=` is refused there
//! (tests/xen/dom0/scenarios/vlan.sh plays it); the filter is the same on a bridge that looks at no tag, and passes all of them on.

use hotplug::apply::Effects;
use hotplug::guest_filter::Tags;
use hotplug::host::Host;
use hotplug::operation::Operation;
use hotplug::system::System;
use testbed::frame::arp::Operation as Says;
use testbed::frame::dhcp::{Message, dhcp};
use testbed::frame::icmpv6::{NdOption, OVERRIDE, neighbour_advertisement, neighbour_solicitation, router_advertisement};
use testbed::frame::ipv6::solicited_node;
use testbed::frame::link_control::spanning_tree;
use testbed::frame::{CUSTOMER, Ethernet, Frame, Mac, Marker, Payload, SERVICE};
use testbed::guest::{Hotplug, Outcome};

use crate::case::{Case, table};
use crate::cast::{Cast, DraftArp, ME, MY_SECOND4, MY6, NEIGHBOUR, NEIGHBOUR4, NEIGHBOUR6, OTHER, OTHER4, OTHER6};
use crate::play;
use crate::stage::{Around, Mode, Policy, Stage};

const VLAN: u16 = 20;

fn tagged(mut draft: DraftArp) -> Frame {
    draft.ethernet = draft.ethernet.tagged(CUSTOMER, VLAN);
    draft.frame()
}

fn advertisement(c: Cast, target: std::net::Ipv6Addr, marker: Marker) -> Frame {
    c.nd(neighbour_advertisement(marker, OVERRIDE, target, &[NdOption::TargetLinkLayer(ME)])).tagged(CUSTOMER, VLAN).frame()
}

table! { INSIDE:
    Nobody BRIDGED "IPv4 from the guest's address" |c, n| vec![c.v4(n).tagged(CUSTOMER, VLAN).frame()];
    Nobody BRIDGED "IPv4 from its second address" |c, n| vec![c.v4(n).from(MY_SECOND4).tagged(CUSTOMER, VLAN).frame()];
    Nobody BRIDGED "IPv4 from its /28" |c, n| vec![c.v4(n).from([192, 168, 4, 31].into()).tagged(CUSTOMER, VLAN).frame()];
    Nobody BRIDGED "IPv6 from the guest's address" |c, n| vec![c.v6(n).tagged(CUSTOMER, VLAN).frame()];
    Nobody BRIDGED "IPv6 from its /64" |c, n| vec![c.v6(n).from("2001:db8:20::77".parse().unwrap()).tagged(CUSTOMER, VLAN).frame()];
    Nobody BRIDGED "an ARP request" |c, n| vec![tagged(c.arp(n))];
    Nobody BRIDGED "an announcement" |c, n| vec![tagged(c.arp_reply(n).announcing())];
    Nobody BRIDGED "a neighbour solicitation" |c, n| vec![c.nd(neighbour_solicitation(n, NEIGHBOUR6, &[NdOption::SourceLinkLayer(ME)])).to(solicited_node(NEIGHBOUR6)).tagged(CUSTOMER, VLAN).frame()];
    Nobody BRIDGED "a neighbour advertisement" |c, n| vec![advertisement(c, MY6, n)];
    Nobody BRIDGED "a DHCP client's call" |c, n| vec![c.v4(n).from([0; 4].into()).broadcast().with(dhcp(Message::Discover, ME, OTHER4, n)).tagged(CUSTOMER, VLAN).frame()];

    Ip BRIDGED "IPv4 from another guest" |c, n| vec![c.v4(n).from(OTHER4).tagged(CUSTOMER, VLAN).frame()];
    Ip BRIDGED "IPv4 from the neighbour that it goes to" |c, n| vec![c.v4(n).from(NEIGHBOUR4).tagged(CUSTOMER, VLAN).frame()];
    Ip BRIDGED "IPv4 from the address above the guest's /28" |c, n| vec![c.v4(n).from([192, 168, 4, 32].into()).tagged(CUSTOMER, VLAN).frame()];
    Ip BRIDGED "IPv4 from another MAC address" |c, n| vec![c.v4(n).source_mac(OTHER).tagged(CUSTOMER, VLAN).frame()];
    Ip BRIDGED "IPv6 from another guest" |c, n| vec![c.v6(n).from(OTHER6).tagged(CUSTOMER, VLAN).frame()];
    Ip BRIDGED "IPv6 from another MAC address" |c, n| vec![c.v6(n).source_mac(OTHER).tagged(CUSTOMER, VLAN).frame()];
    Ip BRIDGED "an ARP request with another guest's address" |c, n| vec![tagged(c.arp(n).sender(OTHER4))];
    Ip BRIDGED "an announcement of the gateway's address" |c, n| vec![tagged(c.arp_reply(n).sender(c.gateway4).announcing())];
    Ip BRIDGED "an ARP reply with another MAC address inside" |c, n| vec![tagged(c.arp_reply(n).sender_mac(OTHER))];
    Ip BRIDGED "an ARP packet with an unknown operation" |c, n| {
        let mut draft = c.arp(n);
        draft.arp.operation = Says::Unknown;
        vec![tagged(draft)]
    };
    Ip BRIDGED "a neighbour advertisement of another guest's address" |c, n| vec![advertisement(c, OTHER6, n)];
    Ip BRIDGED "a neighbour advertisement of the neighbour's link-local address" |c, n| vec![advertisement(c, testbed::frame::ipv6::link_local(NEIGHBOUR), n)];
    Ip BRIDGED "a DHCP question in another guest's name" |c, n| vec![c.v4(n).from([0; 4].into()).broadcast().with(dhcp(Message::Discover, OTHER, OTHER4, n)).tagged(CUSTOMER, VLAN).frame()];
    Ip BRIDGED "a second tag" |c, n| vec![c.v4(n).tagged(CUSTOMER, VLAN).tagged(CUSTOMER, 7).frame()];
    Ip BRIDGED "a provider's tag" |c, n| vec![c.v4(n).tagged(SERVICE, VLAN).frame()];
    Ip BRIDGED "a provider's tag and a second one" |c, n| vec![c.v4(n).tagged(SERVICE, VLAN).tagged(CUSTOMER, 7).frame()];
    Ip BRIDGED "the spanning tree protocol" |_, n| vec![tree(n)];
    Ip BRIDGED "an IPv6 packet that Ethernet calls IPv4" |c, n| {
        let inner = c.v6(n);
        let packet = Payload { kind: 0x0800, ..inner.ip.carrying(inner.segment) };
        vec![inner.ethernet.tagged(CUSTOMER, VLAN).carrying(packet)]
    };
    Strict BRIDGED "a DHCP offer" |c, n| vec![c.v4(n).broadcast().with(dhcp(Message::Offer, OTHER, OTHER4, n)).tagged(CUSTOMER, VLAN).frame()];
    Strict BRIDGED "a router advertisement" |c, n| vec![c.nd(router_advertisement(&[NdOption::SourceLinkLayer(ME), NdOption::Unknown(n)])).tagged(CUSTOMER, VLAN).frame()];
}

/// Spanning tree behind a tag.
fn tree(marker: Marker) -> Frame {
    let untagged = spanning_tree(ME, marker);
    let bytes = untagged.bytes()[14..].to_vec();
    let kind = u16::try_from(bytes.len()).unwrap();
    Ethernet::new(ME, Mac([1, 0x80, 0xc2, 0, 0, 0])).tagged(CUSTOMER, VLAN).carrying(Payload { kind, bytes })
}

/// The guest may send tags from now on, or may not.
fn allow(stage: &Stage, tags: Tags) {
    let act = || {
        let mut system = System::open();
        let mut host = Host::default();
        let way = hotplug::guest_filter::Way::Bridged;
        system.observe_guest_filters(&mut host, way, &["vif1.0".parse().unwrap()]).unwrap();
        let filter = host.guest_filters.pop().unwrap();
        system.perform(&Operation::SetGuestFilter(hotplug::guest_filter::GuestFilter { tags, ..filter })).unwrap();
    };
    stage.host.dom0.machine().inside(act).unwrap();
}

#[test]
fn what_stands_behind_a_tag_is_looked_at() {
    for policy in [Policy::Ip, Policy::Strict] {
        let mut stage = Stage::new(Mode::Bridge, policy, Around::Nothing);
        allow(&stage, Tags::Allowed);
        let listed = stage.host.dom0.machine().shell("nft list set bridge xen-guests tagged").unwrap();
        assert!(listed.contains("vif1.0") && !listed.contains("vif2.0"), "{listed}");
        let mut wrong = play(&mut stage, policy, INSIDE.iter());
        // What has no tag is as before.
        wrong.extend(play(&mut stage, policy, crate::legal::LEGAL.iter()));
        wrong.extend(play(&mut stage, policy, crate::attacks::ADDRESSES.iter().chain(crate::attacks::ARP)));
        allow(&stage, Tags::Refused);
        let refused: Vec<Case> = INSIDE.iter().map(Case::stopped).collect();
        wrong.extend(play(&mut stage, policy, refused.iter()));
        assert!(wrong.is_empty(), "{policy:?}:\n{}", wrong.join("\n"));
    }
}

#[test]
fn every_tagged_frame_arrives_where_nothing_is_filtered() {
    let mut stage = Stage::new(Mode::Bridge, Policy::No, Around::Nothing);
    let wrong = play(&mut stage, Policy::No, INSIDE.iter());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_bridge_that_keeps_no_vlans_apart_refuses_them() {
    let mut stage = Stage::new(Mode::Bridge, Policy::Strict, Around::Nothing);
    let mut command = stage.me.vif.hotplug_command(Hotplug::Online);
    let refused = Outcome::of(command.args([Policy::Strict.word(), "vlan=10p/20"]).args(Hotplug::Online.words())).unwrap();
    assert_eq!(refused.status, Some(1), "{refused}");
    assert!(refused.stderr.contains("The bridge xenbr0 does not keep VLANs apart"), "{refused}");
    // Its tags are refused as before.
    let none: Vec<Case> = INSIDE.iter().map(Case::stopped).collect();
    let wrong = play(&mut stage, Policy::Strict, none.iter());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
