//! Frames to IEEE 802.1D's group addresses, which a bridge keeps to itself. Of two of them it tells no packet filter, notes whose Ethernet
//! address sends them, and gives them to the host as from the guest's own device: whoever sends them could take the place of a neighbour, and
//! speak to dom0 in any name.

use std::time::Duration;

use testbed::frame::ipv4::Ipv4;
use testbed::frame::upper::udp;
use testbed::frame::{Ethernet, Frame, Mac, Marker};
use testbed::machine::{Machine, wait_for};
use testbed::wire::{Catcher, Protocol, Sender};

use crate::cast::{ME, MY4, NEIGHBOUR, NEIGHBOUR4, OTHER, OTHER4};
use crate::stage::{Around, Mode, Policy, Stage};

const PATIENCE: Duration = Duration::from_secs(10);
/// dom0, by its address on the bridge.
const DOM0: [u8; 4] = [192, 168, 2, 1];

/// Spanning tree, LACP, port access, LLDP.
const GROUPS: [u8; 4] = [0x00, 0x02, 0x03, 0x0e];

/// The bridge as administrators have it: it passes none of them on.
fn as_usual(dom0: &Machine, spanning_tree: &str) {
    dom0.ip(&format!("link set xenbr0 type bridge mcast_snooping 0 group_fwd_mask 0 forward_delay 200 stp_state {spanning_tree}"))
        .unwrap();
    // dom0 need not look for the way back.
    ["all", "vif1.0"].iter().for_each(|device| dom0.set_sysctl(&format!("net/ipv4/conf/{device}/rp_filter"), "0").unwrap());
    for port in ["vif1.0", "vif2.0"] {
        wait_for("the bridge's ports", 2 * PATIENCE, || {
            Ok(dom0.shell(&format!("cat /sys/class/net/{port}/brport/state"))?.trim() == "3")
        })
        .unwrap();
    }
}

fn to_dom0(ethernet: Ethernet, source: std::net::Ipv4Addr, marker: Marker) -> Frame {
    ethernet.carrying(Ipv4::new(source, DOM0.into()).carrying(udp(1000, 2000, &marker.bytes())))
}

/// What a guest achieves: by frames to which of the groups it took its neighbour's place, and by which it spoke to dom0.
fn play(policy: Policy, spanning_tree: &str) -> (Vec<u8>, Vec<u8>) {
    let mut stage = Stage::new(Mode::Bridge, policy, Around::Nothing);
    let dom0 = stage.host.dom0.machine();
    as_usual(dom0, spanning_tree);
    let hop = Mac::parse(dom0.shell("cat /sys/class/net/xenbr0/address").unwrap().trim()).unwrap();
    let mut heard = Catcher::in_stack(dom0, Protocol::Udp).unwrap();
    let me = Sender::new(stage.me.inside(), "eth0").unwrap();
    let neighbour = Sender::new(stage.neighbour.inside(), "eth0").unwrap();
    let (mut taken, mut spoke) = (vec![], vec![]);
    for last in GROUPS {
        let group = Mac([1, 0x80, 0xc2, 0, 0, last]);
        let [there, forged, sentinel] = [(); 3].map(|()| stage.mark());
        neighbour.send_in_order([&to_dom0(Ethernet::new(NEIGHBOUR, hop), NEIGHBOUR4, there)]).unwrap();
        heard.wait_for(there, PATIENCE).unwrap();
        me.send_in_order([
            &to_dom0(Ethernet::new(OTHER, group), OTHER4, forged),
            &to_dom0(Ethernet::new(NEIGHBOUR, group), NEIGHBOUR4, Marker(0)),
            &to_dom0(Ethernet::new(ME, hop), MY4, sentinel),
        ])
        .unwrap();
        heard.wait_for(sentinel, PATIENCE).unwrap();
        spoke.extend(heard.seen().unwrap().contains(&forged).then_some(last));
        let stations = stage.host.dom0.machine().shell("bridge fdb show br xenbr0").unwrap();
        let moved = stations.lines().any(|line| line.starts_with("00:16:3e:00:02:00 dev vif1.0"));
        taken.extend(moved.then_some(last));
    }
    (taken, spoke)
}

#[test]
fn what_no_filter_sees_is_believed() {
    assert_eq!(play(Policy::No, "0"), (GROUPS.to_vec(), GROUPS.to_vec()));
}

#[test]
fn the_bridge_shows_the_filter_all_of_a_guest() {
    for policy in [Policy::Ip, Policy::Strict] {
        assert_eq!(play(policy, "0"), (vec![], vec![]), "{policy:?}");
    }
}

/// A bridge with spanning tree keeps one more of them.
#[test]
fn the_bridge_shows_the_filter_all_of_a_guest_with_spanning_tree_too() {
    assert_eq!(play(Policy::Ip, "1"), (vec![], vec![]));
}
