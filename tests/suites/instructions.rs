//! How many instructions the vif programs take, beside the numbers in `cases/instructions`: a slow-down is seen when it is made, on whatever
//! machine, since nothing here depends on time.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests; clippy only knows the functions marked so.

use std::fs;

use testbed::bench::process;
use testbed::bench::vif::{Bench, Make, Mode};
use testbed::guest::Hotplug;
use testbed::machine::workspace;

/// How far a count may be from the one that was kept.
const TOLERANCE: f64 = 0.05;

#[test]
fn programs_take_as_many_instructions_as_they_did() {
    let kept = fs::read_to_string(workspace().join("tests/cases/instructions")).unwrap();
    let mut complaints = vec![];
    for mode in [Mode::Bridge, Mode::Route, Mode::Nat] {
        let bench = Bench::new(Make::Ours, mode).unwrap();
        let vif = bench.attach(0).unwrap();
        for action in [Hotplug::Online, Hotplug::Offline] {
            let subject = format!("{} {}", mode.program(), action.words()[0]);
            let counted = process::instructions(bench.dom0().machine(), &bench.call(&vif, action)).unwrap();
            bench.check(&vif, action).unwrap();
            println!("{subject} {counted}");
            complaints.extend(complaint(&kept, &subject, counted));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[expect(clippy::cast_precision_loss, reason = "no program takes 2^53 instructions")]
fn complaint(kept: &str, subject: &str, counted: u64) -> Option<String> {
    let line = kept.lines().find_map(|line| line.strip_prefix(subject)?.trim().parse::<u64>().ok());
    let Some(before) = line else {
        return Some(format!("{subject}: {counted} instructions, and no number in tests/cases/instructions"));
    };
    let change = counted as f64 / before as f64 - 1.0;
    (change.abs() > TOLERANCE).then(|| {
        format!(
            "{subject}: {counted} instructions, {before} before ({:+.1} %): find out why, or write the new number to \
             tests/cases/instructions if it is meant to be so",
            change * 100.0
        )
    })
}

#[test]
fn a_change_is_told_in_both_directions() {
    let kept = "# vif-nat online 5\nvif-nat online 1000\n";
    assert_eq!(complaint(kept, "vif-nat online", 1049), None);
    assert!(complaint(kept, "vif-nat online", 1051).unwrap().contains("+5.1 %"));
    assert!(complaint(kept, "vif-nat online", 900).unwrap().contains("-10.0 %"));
    assert!(complaint(kept, "vif-nat offline", 900).is_some());
}
