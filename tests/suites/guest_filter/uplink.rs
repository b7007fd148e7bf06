//! Somebody in dom0's LAN sends in the name of a guest behind dom0.

use testbed::frame::Marker;
use testbed::frame::upper::ping;
use testbed::frame::{Frame, icmpv6};

use crate::cast::{Cast, DOM0, DOM0_6, MY_SECOND4, MY_SECOND6, OTHER4};
use crate::stage::{Around, Mode, Policy, Stage};

type Attack = (&'static str, fn(Cast, Marker) -> Frame);

const ATTACKS: &[Attack] = &[
    ("IPv4 in a guest's name, to its neighbour", |c, n| c.outside(n).frame()),
    ("IPv4 in the name of a guest's second address", |c, n| c.outside(n).from(MY_SECOND4).frame()),
    ("a ping in a guest's name", |c, n| c.outside(n).with(ping(n)).frame()),
    ("IPv4 in a guest's name, to dom0", |c, n| c.outside(n).to(DOM0).frame()),
    ("IPv6 in a guest's name, to its neighbour", |c, n| c.outside_6(n).frame()),
    ("IPv6 in the name of a guest's second address", |c, n| c.outside_6(n).from(MY_SECOND6).frame()),
    ("a ping of IPv6 in a guest's name", |c, n| c.outside_6(n).with(icmpv6::ping(n)).frame()),
    ("IPv6 in a guest's name, to dom0", |c, n| c.outside_6(n).to(DOM0_6).frame()),
];

/// In networks that a guest has as a whole.
const ATTACKS_ON_NETWORKS: &[Attack] = &[
    ("IPv4 from a guest's /28", |c, n| c.outside(n).from([192, 168, 4, 31].into()).frame()),
    ("IPv4 from a guest's /24", |c, n| c.outside(n).from([192, 168, 3, 77].into()).frame()),
    ("IPv6 from a guest's /64", |c, n| c.outside_6(n).from("2001:db8:20::9".parse().unwrap()).frame()),
    ("IPv6 from a guest's /56", |c, n| c.outside_6(n).from("2001:db8:30:abcd::9".parse().unwrap()).frame()),
];

const LEGAL: &[Attack] = &[
    ("IPv4 from an address that is no guest's", |c, n| c.outside(n).from(OTHER4).frame()),
    ("IPv4 from the address above a guest's /28", |c, n| c.outside(n).from([192, 168, 4, 32].into()).frame()),
    ("IPv6 from an address that is no guest's", |c, n| c.outside_6(n).from("2001:db8:2::99".parse().unwrap()).frame()),
];

/// Sends everything from outside, and tells what went otherwise than it should.
fn play(mode: Mode, policy: Policy) -> Vec<String> {
    let mut stage = Stage::new(mode, policy, Around::Nothing);
    let networks = if mode == Mode::Route { ATTACKS_ON_NETWORKS } else { &[] };
    let attacks = ATTACKS.iter().chain(networks).map(|attack| (attack, policy == Policy::No));
    let played: Vec<_> = attacks.chain(LEGAL.iter().map(|legal| (legal, true))).map(|case| (case, stage.mark())).collect();
    let frames: Vec<Frame> = played.iter().map(|(((_, frame), _), marker)| frame(stage.cast, *marker)).collect();
    let arrived = stage.fire_from_outside(&frames);
    let wrong = played.iter().filter(|((_, arrives), marker)| arrived.contains(marker) != *arrives);
    wrong.map(|(((name, _), arrives), _)| format!("{mode:?}, {policy:?}: {name}: arrives should be {arrives}")).collect()
}

#[track_caller]
fn assert_right(policy: Policy) {
    let wrong: Vec<String> = [Mode::Route, Mode::Nat].into_iter().flat_map(|mode| play(mode, policy)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_neighbour_passes_for_a_guest_where_nothing_is_filtered() {
    assert_right(Policy::No);
}

#[test]
fn a_neighbour_does_not_pass_for_a_guest() {
    assert_right(Policy::Ip);
    assert_right(Policy::Strict);
}
