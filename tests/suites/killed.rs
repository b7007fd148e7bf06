//! Every program killed at its system calls, one after the other: whatever is left must be the old state or the new one, or become it by the
//! next run of either command.
//!
//! Each moment is played twice, since what is left can be repaired once: by the same command, and by the opposite one. At every moment a
//! guest that is held to its addresses must have its filter while its interface is up, and must not be reported as connected before it is.
//!
//! A short form kills at some of the calls. `scripts/torture` kills at every one, by `KILL_EVERY=1`.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests; clippy only knows the functions marked so.

use testbed::kill::{Ending, Whom, kill_at};

#[path = "common/lan.rs"]
mod lan;
#[macro_use]
#[path = "common/stage.rs"]
mod stage;

use stage::{Choice, Network, Seen, Stage, States, VifStage, Way, wait_until};

/// With more faults than this, the rest is more of the same.
const FAULTS_MAX: usize = 8;

/// What came of all kills of one program and command.
#[derive(Default)]
struct Tally {
    kills: u64,
    calls: u64,
    old: u64,
    new: u64,
    between: u64,
    without_addresses: u64,
    guarded: u64,
    faults: Vec<String>,
}

impl Tally {
    /// One line, which `scripts/torture` adds up.
    fn line(&self, title: &str) -> String {
        let Self { kills, calls, old, new, between, without_addresses, guarded, faults } = self;
        format!(
            "killed: {title}: {kills} kills at {calls} calls; left: {old} old, {new} new, {between} between \
             ({without_addresses} without an address of dom0's, {guarded} with a guest's interface up behind its filter); \
             faults: {}",
            faults.len()
        )
    }

    fn full(&self) -> bool {
        self.faults.len() >= FAULTS_MAX
    }
}

/// Kills `way` at one call in so many: `short_form`, unless the environment says another number.
fn torture(title: &str, short_form: usize, make: &dyn Fn() -> Box<dyn Stage>, way: Way) {
    let choice = Choice::told("KILL", short_form);
    let mut tally = Tally::default();
    let mut stage = make();
    let mut states = States::of(&*stage);
    for call in choice.calls() {
        if tally.full() {
            break;
        }
        let mut at_end = false;
        for next in [way, way.opposite()] {
            match one_kill(&*stage, &states, Moment { way, call, next }, &mut tally) {
                Ok(Ending::Killed) => tally.kills += 1,
                Ok(Ending::Exited { calls, .. }) => {
                    tally.calls = calls;
                    at_end = true;
                }
                Err(fault) => {
                    tally.kills += 1;
                    tally.faults.push(format!("{title} {way}, killed at call {call}, then {next}: {fault}"));
                    stage = make();
                    states = States::of(&*stage);
                }
            }
        }
        if at_end {
            break;
        }
    }
    println!("{}", tally.line(&format!("{title} {way}")));
    assert!(tally.faults.is_empty(), "{}", tally.faults.join("\n\n"));
    assert!(tally.kills > 0 && tally.calls > 0);
}

/// A kill, and the command after it.
struct Moment {
    way: Way,
    call: u64,
    next: Way,
}

/// Kills at one moment, looks, and has the next run put it right. The stage is at `before` when this begins, and when it ends.
fn one_kill(stage: &dyn Stage, states: &States, moment: Moment, tally: &mut Tally) -> Result<Ending, String> {
    let Moment { way, call, next } = moment;
    if way == Way::Back {
        run(stage, Way::Forward)?;
    }
    // What watches network-bridge is killed with it: here the next run is to repair.
    let whom = if stage.guest().is_some() { Whom::Program } else { Whom::Family };
    let ending = kill_at(stage.dom0(), &stage.call(way), call, whom).map_err(|error| error.to_string())?;
    if ending == Ending::Killed && next == way {
        classify(stage, states, way, tally)?;
    }
    run(stage, next)?;
    let wanted = match next {
        Way::Forward => Some(&states.done),
        // What a killed `online` had not begun cannot be found undone, such as the new name: the device's end tells.
        Way::Back => Some(&states.undone).filter(|_| way == Way::Back || states.undone == states.before),
    };
    if let Some(wanted) = wanted {
        expect(stage, wanted, "after the next run")?;
    }
    if next == Way::Forward {
        stage.works()?;
        run(stage, Way::Back)?;
    }
    stage.renew();
    expect(stage, &states.before, "after all is taken back")?;
    Ok(ending)
}

fn run(stage: &dyn Stage, way: Way) -> Result<(), String> {
    let outcome = stage.outcome(way);
    if outcome.status == Some(0) { Ok(()) } else { Err(format!("`{way}` failed: {outcome}")) }
}

/// What the kill has left.
fn classify(stage: &dyn Stage, states: &States, way: Way, tally: &mut Tally) -> Result<(), String> {
    let (old, new) = states.old_and_new(way);
    let left = Seen::now(stage);
    match () {
        () if left.kernel == old.kernel => tally.old += 1,
        () if left.kernel == new.kernel => tally.new += 1,
        () => tally.between += 1,
    }
    if !left.has_addresses_of(&states.before) {
        tally.without_addresses += 1;
    }
    if let Some(device) = left.exposed_guest(stage) {
        if left.kernel.value()["filters"] != states.done.kernel.value()["filters"] {
            return Err(format!("{device} is up without its filter: {}", left.kernel.value()["filters"]));
        }
        tally.guarded += 1;
    }
    if way == Way::Forward && left.status.as_deref() == Some("connected") {
        // Duplicate address detection of the kernel's own address may still be under way.
        expect(stage, &states.done, "reported as connected")?;
    }
    Ok(())
}

/// Waits for a state.
fn expect(stage: &dyn Stage, wanted: &Seen, when: &str) -> Result<(), String> {
    wait_until(stage, wanted).map_err(|difference| format!("{when} (- wanted, + there):\n{difference}"))
}

// The numbers are those of the short form: prime, so that runs of like calls are met at different places.
both_ways! { torture;
    vif_bridge: "vif-bridge" 13 VifStage::bridged;
    vif_bridge_hooks: "vif-bridge with hooks" 37 VifStage::hooked;
    vif_bridge_tap: "vif-bridge of a tap device" 41 VifStage::emulated;
    vif_route: "vif-route" 13 VifStage::routed;
    vif_route_tap: "vif-route of a tap device" 47 VifStage::routed_emulated;
    vif_nat: "vif-nat" 23 VifStage::translated;
    vif_nat_dnsmasq: "vif-nat with dnsmasq" 61 VifStage::served;
    vif_openvswitch: "vif-openvswitch" 53 VifStage::switched;
    network_bridge: "network-bridge" 127 Network::bridge;
    network_nat: "network-nat" 43 Network::nat;
    network_nat_dnsmasq: "network-nat with dnsmasq" 331 Network::nat_served;
    network_route: "network-route" 43 Network::route;
}
