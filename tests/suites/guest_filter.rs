//! The guest filter, proven from outside: a guest sends what it must not, as raw frames, and nobody receives it; it sends what it may, and
//! it arrives. The tables of [`attacks`] and [`legal`] are the list of what is meant.
//!
//! Each table is played three times in each mode: with `antispoof=no`, where every frame must arrive, or the case would prove nothing; with
//! `ip`; and with `strict`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // Helpers of tests are tests; clippy only knows the functions marked so.

#[path = "scenarios/admin.rs"]
#[allow(dead_code)] // Scenarios do more with it.
mod admin;
#[path = "guest_filter/attacks.rs"]
mod attacks;
#[path = "guest_filter/case.rs"]
mod case;
#[path = "guest_filter/cast.rs"]
mod cast;
#[path = "guest_filter/changes.rs"]
mod changes;
#[path = "guest_filter/exchanges.rs"]
mod exchanges;
#[path = "guest_filter/flood.rs"]
mod flood;
#[path = "guest_filter/groups.rs"]
mod groups;
#[path = "guest_filter/legal.rs"]
mod legal;
#[path = "guest_filter/of_network.rs"]
mod of_network;
#[path = "guest_filter/rounds.rs"]
mod rounds;
#[path = "guest_filter/stage.rs"]
mod stage;
#[path = "guest_filter/tags.rs"]
mod tags;
#[path = "guest_filter/uplink.rs"]
mod uplink;

use admin::Firewall;
use case::Case;
use legal::LEGAL;
use stage::{Around, Mode, Policy, Port, Setup, Stage};
use testbed::frame::Frame;
use testbed::guest::Nic;

/// Plays cases on a stage, and tells which went otherwise than they should.
fn play<'a>(stage: &mut Stage, policy: Policy, cases: impl Iterator<Item = &'a Case>) -> Vec<String> {
    let mode = stage.host.mode;
    let mut frames: Vec<Frame> = Vec::new();
    let mut played = Vec::new();
    for case in cases.filter(|case| case.modes.contains(&mode)) {
        let marker = stage.mark();
        frames.extend((case.frames)(stage.cast, marker));
        played.push((case, marker));
    }
    let arrived = stage.fire(&frames);
    let wrong = played.into_iter().filter_map(|(case, marker)| {
        let arrives = arrived.contains(&marker);
        let verdict = if arrives { "arrives" } else { "does not arrive" };
        (arrives == case.is_stopped(policy)).then(|| format!("{mode:?}, {policy:?}: {} {verdict}", case.name))
    });
    wrong.collect()
}

/// Plays everything in a mode under a policy.
#[track_caller]
fn play_all(mode: Mode, policy: Policy, around: Around) {
    let mut stage = Stage::new(mode, policy, around);
    // What our filter leaves to others, others may well stop: firewalld takes no redirects, for example.
    let ours = |case: &&Case| matches!(around, Around::Nothing | Around::NoTools) || case.is_stopped(policy);
    let wrong = play(&mut stage, policy, LEGAL.iter().chain(attacks::all().filter(ours)));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_frame_arrives_where_nothing_is_filtered() {
    Mode::ALL.into_iter().for_each(|mode| play_all(mode, Policy::No, Around::Nothing));
}

#[test]
fn there_are_enough_cases() {
    assert!(attacks::all().count() >= 60, "{} attacks", attacks::all().count());
    assert!(LEGAL.len() >= 25, "{} legal exchanges", LEGAL.len());
}

/// Plays everything with a guest that came in a way of its own, and is under this policy then.
#[track_caller]
fn play_setup(mode: Mode, policy: Policy, setup: Setup) {
    let mut stage = Stage::set(mode, setup, Around::Nothing);
    let wrong = play(&mut stage, policy, LEGAL.iter().chain(attacks::all()));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// A card whose device is renamed.
fn renamed(mode: Mode) -> Setup<'static> {
    let setup = Setup::of(mode);
    Setup { nic: Nic { vifname: Some("web0".to_owned()), ..setup.nic }, ..setup }
}

#[test]
fn addresses_alone_ask_for_the_filter() {
    Mode::ALL.into_iter().for_each(|mode| play_setup(mode, Policy::Ip, Setup::of(mode)));
}

#[test]
fn yes_asks_for_it_too() {
    play_setup(Mode::Bridge, Policy::Ip, Setup { words: &["antispoof=yes"], ..Setup::of(Mode::Bridge) });
}

#[test]
fn no_word_of_it_takes_addresses_as_what_hooks_want() {
    play_setup(Mode::Bridge, Policy::No, Setup { words: &["antispoof=no"], ..Setup::of(Mode::Bridge) });
}

#[test]
fn a_renamed_device_is_filtered_by_its_new_name() {
    for mode in [Mode::Bridge, Mode::Route] {
        play_setup(mode, Policy::Strict, Setup { words: &["antispoof=strict"], ..renamed(mode) });
    }
}

#[test]
fn xenstore_goes_before_the_command_line() {
    let mode = Mode::Bridge;
    play_setup(mode, Policy::Strict, Setup { keys: &[("antispoof", "strict")], words: &["antispoof=no"], ..Setup::of(mode) });
    play_setup(mode, Policy::No, Setup { keys: &[("antispoof", "no")], words: &["antispoof=strict"], ..Setup::of(mode) });
}

#[test]
fn an_emulated_card_is_filtered() {
    for mode in [Mode::Bridge, Mode::Route] {
        play_setup(mode, Policy::No, Setup { words: &["antispoof=no"], port: Port::Tap, ..Setup::of(mode) });
        play_setup(mode, Policy::Ip, Setup { port: Port::Tap, ..Setup::of(mode) });
        play_setup(mode, Policy::Strict, Setup { words: &["antispoof=strict"], port: Port::Tap, ..renamed(mode) });
    }
}

/// Makes two tests of each mode and each thing that may be around: one for each policy.
macro_rules! a_guest_is_itself {
    ($($name:ident $mode:ident $around:expr;)*) => {$(
        mod $name {
            #[allow(unused_imports)] // Not everything is around everywhere.
            use super::{Around::*, Firewall::*, Mode, Policy, play_all};

            #[test]
            fn under_ip() {
                play_all(Mode::$mode, Policy::Ip, $around);
            }

            #[test]
            fn under_strict() {
                play_all(Mode::$mode, Policy::Strict, $around);
            }
        }
    )*};
}

a_guest_is_itself! {
    on_a_bridge Bridge Nothing;
    on_a_bridge_without_tools Bridge NoTools;
    on_a_bridge_where_iptables_nft_drops Bridge Firewall(IptablesNft);
    on_a_bridge_where_iptables_legacy_drops Bridge Firewall(IptablesLegacy);
    on_a_bridge_where_nftables_drop Bridge Firewall(Nftables);
    on_a_bridge_beside_firewalld Bridge Firewalld("public");
    on_a_route Route Nothing;
    on_a_route_without_tools Route NoTools;
    on_a_route_where_iptables_nft_drops Route Firewall(IptablesNft);
    on_a_route_where_iptables_legacy_drops Route Firewall(IptablesLegacy);
    on_a_route_where_nftables_drop Route Firewall(Nftables);
    on_a_route_beside_firewalld Route Firewalld("trusted");
    behind_nat Nat Nothing;
    behind_nat_without_tools Nat NoTools;
    behind_nat_where_iptables_nft_drops Nat Firewall(IptablesNft);
    behind_nat_where_iptables_legacy_drops Nat Firewall(IptablesLegacy);
    behind_nat_where_nftables_drop Nat Firewall(Nftables);
    behind_nat_beside_firewalld Nat Firewalld("trusted");
}
