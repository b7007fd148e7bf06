//! Guests that come and go, again and again: nothing grows, neither in the kernel, nor among our files, nor in the XenStore daemon.
//!
//! A short form plays some rounds. `scripts/torture` plays 5,000, by `LEAKS=5000`.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests; clippy only knows the functions marked so.

use std::fs;
use std::time::Duration;

use testbed::machine::wait_for;

#[path = "common/lan.rs"]
mod lan;
#[macro_use]
#[path = "common/stage.rs"]
mod stage;

use stage::{Seen, Stage, VifStage, Way};

/// Rounds before anything is counted: caches fill, and what is made once is made.
const WARM_UP: u64 = 5;
/// From so many rounds on, what the whole machine's kernel holds says something of one round.
const TELLING: u64 = 1000;
/// Most that the kernel's memory may grow by in a round, in KiB: other programs of the machine come and go as well. The smallest thing that could be
/// lost, a filter's element with its set's node, is a third of it.
const SLAB_MAX: f64 = 1.0;

/// All that might grow.
struct Held {
    seen: Seen,
    descriptors: usize,
    processes: usize,
    /// Kernel memory that is not a cache, of the whole machine, in KiB.
    slab: i64,
}

impl Held {
    fn by(stage: &VifStage) -> Self {
        // A child keeps a socket of nf_tables for some seconds, and what hangs on it.
        wait_for("children to end", Duration::from_secs(20), || Ok(stage.dom0().processes()?.is_empty())).unwrap();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
        let slab = meminfo.lines().find_map(|line| line.strip_prefix("SUnreclaim:")).unwrap();
        Self {
            seen: Seen::settled(stage),
            // The daemon is a thread of this process, and so is what plays toolstack, whose connections are closed.
            descriptors: least_descriptors(),
            processes: stage.dom0().processes().unwrap().len(),
            slab: slab.trim().trim_end_matches(" kB").parse().unwrap(),
        }
    }
}

/// The daemon closes a connection a moment after its client has.
fn least_descriptors() -> usize {
    let mut least = usize::MAX;
    let looks = wait_for("the daemon to close what its clients have closed", Duration::from_millis(300), || {
        least = least.min(fs::read_dir("/proc/self/fd").map_or(usize::MAX, Iterator::count));
        Ok(false)
    });
    assert!(looks.is_err() && least < usize::MAX);
    least
}

/// One guest comes and goes; every other time its device goes first, as netback takes it.
fn round(stage: &VifStage, number: u64) {
    stage.succeed(Way::Forward);
    if number.is_multiple_of(2) {
        stage.vanish();
        stage.succeed(Way::Back);
        stage.come_back();
    } else {
        stage.succeed(Way::Back);
        stage.renew();
    }
}

fn come_and_go(title: &str, stage: &VifStage) {
    let rounds: u64 = std::env::var("LEAKS").map_or(60, |text| text.parse().unwrap());
    (0..WARM_UP).for_each(|number| round(stage, number));
    let before = Held::by(stage);
    (0..rounds).for_each(|number| round(stage, number));
    let after = Held::by(stage);
    assert!(before.seen == after.seen, "after {rounds} rounds:\n{}", before.seen.difference(&after.seen));
    assert_eq!((before.descriptors, before.processes), (after.descriptors, after.processes), "descriptors, processes");
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let slab = (after.slab - before.slab) as f64 / rounds as f64;
    println!(
        "leaks: {title}: {rounds} rounds; nft objects, routes, neighbours, settings, files, descriptors, processes: no growth; \
         kernel memory of the whole machine: {:+} KiB, {slab:+.2} KiB a round",
        after.slab - before.slab
    );
    assert!(rounds < TELLING || slab < SLAB_MAX, "the kernel's memory grew by {slab:.2} KiB a round");
}

#[test]
fn vif_bridge() {
    come_and_go("vif-bridge", &VifStage::bridged());
}

#[test]
fn vif_route() {
    come_and_go("vif-route", &VifStage::routed());
}

#[test]
fn vif_nat() {
    come_and_go("vif-nat", &VifStage::translated());
}
