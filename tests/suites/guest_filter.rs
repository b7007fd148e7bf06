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
#[path = "guest_filter/legal.rs"]
mod legal;
#[path = "guest_filter/stage.rs"]
mod stage;

use admin::Firewall;
use case::Case;
use cast::Marks;
use legal::LEGAL;
use stage::{Mode, Policy, Stage};
use testbed::frame::Frame;

/// Plays cases on a stage, and tells which went otherwise than they should.
fn play<'a>(stage: &mut Stage, policy: Policy, cases: impl Iterator<Item = &'a Case>) -> Vec<String> {
    let mode = stage.host.mode;
    let mut marks = Marks::default();
    let mut frames: Vec<Frame> = Vec::new();
    let mut played = Vec::new();
    for case in cases.filter(|case| case.modes.contains(&mode)) {
        let marker = marks.next();
        frames.extend((case.frames)(stage.cast, marker));
        played.push((case, marker));
    }
    let arrived = stage.fire(&frames, &mut marks);
    let wrong = played.into_iter().filter_map(|(case, marker)| {
        let arrives = arrived.contains(&marker);
        let verdict = if arrives { "arrives" } else { "does not arrive" };
        (arrives == case.is_stopped(policy)).then(|| format!("{mode:?}, {policy:?}: {} {verdict}", case.name))
    });
    wrong.collect()
}

/// Plays everything in a mode under a policy.
#[track_caller]
fn play_all(mode: Mode, policy: Policy, firewall: Firewall) {
    let mut stage = Stage::new(mode, policy, firewall);
    let wrong = play(&mut stage, policy, LEGAL.iter().chain(attacks::all()));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_frame_arrives_where_nothing_is_filtered() {
    Mode::ALL.into_iter().for_each(|mode| play_all(mode, Policy::No, Firewall::None));
}

#[test]
fn there_are_enough_cases() {
    assert!(attacks::all().count() >= 60, "{} attacks", attacks::all().count());
    assert!(LEGAL.len() >= 25, "{} legal exchanges", LEGAL.len());
}

/// Makes two tests of a mode: one for each policy.
macro_rules! a_guest_is_itself {
    ($($name:ident $mode:ident)*) => {$(
        mod $name {
            use super::{Firewall, Mode, Policy, play_all};

            #[test]
            fn under_ip() {
                play_all(Mode::$mode, Policy::Ip, Firewall::None);
            }

            #[test]
            fn under_strict() {
                play_all(Mode::$mode, Policy::Strict, Firewall::None);
            }
        }
    )*};
}

a_guest_is_itself! {
    on_a_bridge Bridge
    on_a_route Route
    behind_nat Nat
}
