//! Every system call and every netlink request of every program refused once, with each error that it may really give: the program ends by
//! itself and in time; with exit status 0 all is in place, or it says what is not; with another it says so in a sentence, the host is as it was, and the
//! toolstack has been told.
//!
//! A short form refuses some of the calls. `scripts/torture` refuses every one, by `REFUSE_EVERY=1`.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests; clippy only knows the functions marked so.

use std::collections::BTreeMap;
use std::time::Duration;

use testbed::refuse::{Ending, Fault, Met, Outcome, Place, places, run_with};

#[path = "common/lan.rs"]
mod lan;
#[macro_use]
#[path = "common/stage.rs"]
mod stage;

use stage::{Choice, Network, Seen, Stage, States, VifStage, Way};

/// With more faults than this, the rest is more of the same.
const FAULTS_MAX: usize = 12;

/// What came of all faults of one program and command.
#[derive(Default)]
struct Tally {
    faults: u64,
    missed: u64,
    unharmed: u64,
    told: u64,
    undone: u64,
    longest: (Duration, String),
    wrong: Vec<String>,
    /// What was said, and how often.
    sayings: BTreeMap<String, u64>,
}

fn refuse(title: &str, short_form: usize, make: &dyn Fn() -> Box<dyn Stage>, way: Way) {
    let choice = Choice::told("REFUSE", short_form);
    let mut tally = Tally::default();
    let mut stage = make();
    let mut states = States::of(&*stage);
    prepare(&*stage, way);
    let places = places(stage.dom0(), &stage.call(way)).unwrap();
    rest(&*stage, &states, way.opposite()).unwrap();
    let all = places.iter().flat_map(|place| place.faults.iter().map(move |fault| (place, *fault)));
    for (place, fault) in choice.of(all) {
        if tally.wrong.len() >= FAULTS_MAX {
            break;
        }
        if let Err(wrong) = one_fault(&*stage, &states, way, place, fault, &mut tally) {
            tally.wrong.push(format!("{title} {way}, {fault} at call {} ({}): {wrong}", place.call, place.name));
            stage = make();
            states = States::of(&*stage);
        }
    }
    if std::env::var_os("REFUSE_TELL").is_some() {
        tally.sayings.iter().for_each(|(saying, count)| println!("{count:4} {saying}"));
    }
    let Tally { faults, missed, unharmed, told, undone, longest, wrong, .. } = &tally;
    println!(
        "refused: {title} {way}: {faults} faults at {} calls; ended: {unharmed} unharmed, {told} with a warning, {undone} undone or as good; \
         {missed} not met; longest {:.1} s ({}); faults: {}",
        places.len(),
        longest.0.as_secs_f32(),
        longest.1,
        wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(*faults > 0);
}

fn prepare(stage: &dyn Stage, way: Way) {
    if way == Way::Back {
        stage.succeed(Way::Forward);
    }
}

/// Brings the stage back to where it began, once `gone` has been gone or failed.
fn rest(stage: &dyn Stage, states: &States, gone: Way) -> Result<(), String> {
    if gone == Way::Back {
        let outcome = stage.outcome(Way::Back);
        if outcome.status != Some(0) {
            return Err(format!("the next run back failed: {outcome}"));
        }
    }
    stage.renew();
    wait_until(stage, &states.before).map_err(|difference| format!("after all is taken back:\n{difference}"))
}

fn one_fault(stage: &dyn Stage, states: &States, way: Way, place: &Place, fault: Fault, tally: &mut Tally) -> Result<(), String> {
    prepare(stage, way);
    let outcome = run_with(stage.dom0(), &stage.call(way), place, fault).map_err(|error| error.to_string())?;
    tally.faults += 1;
    tally.missed += u64::from(outcome.met == Met::No);
    tally.longest = tally.longest.clone().max((outcome.duration, format!("{fault} at call {} ({})", place.call, place.name)));
    for line in outcome.complaint.lines() {
        *tally.sayings.entry(format!("[{:?}] {line}", outcome.ending)).or_default() += 1;
    }
    let said = || format!("\nit said: {}", outcome.complaint.trim());
    judge(stage, states, way, place, &outcome, tally).map_err(|wrong| wrong + &said())?;
    rest(stage, states, Way::Back).map_err(|wrong| wrong + &said())
}

fn judge(stage: &dyn Stage, states: &States, way: Way, place: &Place, outcome: &Outcome, tally: &mut Tally) -> Result<(), String> {
    let (old, new) = states.old_and_new(way);
    let said = outcome.complaint.trim();
    if said.contains("panicked") || said.contains("RUST_BACKTRACE") {
        return Err("it panicked".to_owned());
    }
    let goes = stage.guest().is_some() && way == Way::Back;
    match outcome.ending {
        Ending::Exited(0) if said.is_empty() => {
            tally.unharmed += 1;
            wait_until(stage, new).map_err(|difference| format!("exit status 0, in silence, and:\n{difference}"))
        }
        Ending::Exited(0) => {
            tally.told += 1;
            guarded(stage, states, way)
        }
        Ending::Exited(1) if said.is_empty() => Err("exit status 1, in silence".to_owned()),
        // A guest that goes is taken down as far as that can be done; the next run does the rest.
        Ending::Exited(1) if goes => {
            tally.undone += 1;
            Ok(())
        }
        Ending::Exited(1) => {
            tally.undone += 1;
            told(stage, way, place)?;
            let wanted = Seen { status: Seen::now(stage).status, ..old.clone() };
            wait_until(stage, &wanted).map_err(|difference| format!("exit status 1, and not undone:\n{difference}"))
        }
        ref other => Err(format!("it ended otherwise: {other:?}")),
    }
}

/// Whatever step was passed over, a guest that is connected has its filter.
fn guarded(stage: &dyn Stage, states: &States, way: Way) -> Result<(), String> {
    let seen = Seen::now(stage);
    let filters = |seen: &Seen| seen.kernel.value()["filters"].clone();
    match stage.guest() {
        Some(_) if way == Way::Forward && filters(&seen) != filters(&states.done) => {
            Err(format!("exit status 0 without the guest's filter: {}", filters(&seen)))
        }
        Some(guest) if way == Way::Forward && guest.connected().is_some_and(|word| seen.status.as_deref() != Some(word)) => {
            Err(format!("exit status 0, and hotplug-status is {:?}", seen.status))
        }
        None if !seen.has_addresses_of(&states.before) => Err("an address of dom0's is lost".to_owned()),
        _ => Ok(()),
    }
}

/// The toolstack waits for word: it must have it, unless it was XenStore that could not be asked.
fn told(stage: &dyn Stage, way: Way, place: &Place) -> Result<(), String> {
    let store = ["stream", "socket", "connect", "poll"].iter().any(|part| place.name.contains(part));
    match stage.guest() {
        Some(guest) if way == Way::Forward && !store => guest.error().map(drop),
        _ => Ok(()),
    }
}

/// Waits for a state; else what is different, in short.
fn wait_until(stage: &dyn Stage, wanted: &Seen) -> Result<(), String> {
    stage::wait_until(stage, wanted).map_err(|difference| shortened(&difference))
}

/// The beginning of each of the first lines: a whole filter is some hundred rules.
fn shortened(difference: &str) -> String {
    let beginning = |line: &str| line.chars().take(240).collect::<String>();
    difference.lines().take(20).map(beginning).collect::<Vec<_>>().join("\n")
}

// The numbers are those of the short form.
both_ways! { refuse;
    vif_bridge: "vif-bridge" 17 VifStage::bridged;
    vif_bridge_tap: "vif-bridge of a tap device" 89 VifStage::emulated;
    vif_route: "vif-route" 19 VifStage::routed;
    vif_nat: "vif-nat" 29 VifStage::translated;
    vif_openvswitch: "vif-openvswitch" 131 VifStage::switched;
    network_bridge: "network-bridge" 701 Network::bridge;
    network_nat: "network-nat" 97 Network::nat;
    network_route: "network-route" 71 Network::route;
}
