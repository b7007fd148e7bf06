//! Many vifs that come at the same time, and go at the same time.

use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use serde_json::json;

use super::Extent;
use super::plot::Plot;
use super::process::{self, Call};
use super::report::{Bar, Section, Table, three_digits};
use super::statistics::Spread;
use super::vif::{Bench, Make, Mode};
use crate::guest::{Hotplug, Vif};
use crate::machine::{Error, Machine, Result};

/// How many vifs at once. libxl gives each program 40 s.
const SIZES: [u16; 4] = [32, 128, 300, 1000];

/// Larger ones are not put on the originals: libxl would have killed most of them.
const MOST_OF_ORIGINALS: u16 = 300;

/// How long the slowest may take, in seconds.
const SLOWEST: [(u16, f64); 2] = [(300, 1.0), (1000, 4.0)];

/// A storm's times, in seconds.
#[derive(Clone)]
struct Storm {
    total: f64,
    each: Spread,
    failures: usize,
}

/// Measures storms of vifs: ours, the original, and as many `/bin/true`.
///
/// # Errors
/// When the vifs cannot be made or no program can be started. A program that fails is counted.
pub fn storm(extent: Extent) -> Result<Section> {
    let mut table = Table::new(&["storm", "total s", "median s", "slowest s", "failures", "total × true", "original ÷ ours"]);
    let (mut bars, mut figures, mut plot) = (Vec::new(), Vec::new(), Plot::new("time of each, s"));
    let sizes = if extent == Extent::Short { &SIZES[..2] } else { &SIZES };
    for &size in sizes {
        let ours = storms_of(Make::Ours, size)?;
        let originals = if size <= MOST_OF_ORIGINALS { storms_of(Make::Original, size)?.to_vec() } else { vec![] };
        for (place, course) in ours.iter().enumerate() {
            let original = originals.get(place);
            for (make, Course { action, storm, empty }) in [(Make::Ours, Some(course)), (Make::Original, original)]
                .into_iter()
                .filter_map(|(make, course)| Some((make, course?)))
            {
                let name = format!("{size} × {}, {make}", action.words()[0]);
                let mut row = vec![name.clone()];
                row.extend([storm.total, storm.each.median, storm.each.largest].map(three_digits));
                row.push(storm.failures.to_string());
                row.push(three_digits(storm.total / empty.total));
                row.push(original.map_or_else(String::new, |original| three_digits(original.storm.total / storm.total)));
                table.rows.push(row);
                figures.push(json!({ "storm": name, "vifs": size, "total seconds": storm.total, "seconds": storm.each,
                    "failures": storm.failures, "total seconds of /bin/true": empty.total }));
                plot.rows.push((name, storm.each));
            }
            bars.extend(bars_of(size, course));
        }
    }
    Ok(Section {
        name: "storm",
        title: "vif-bridge: storms".to_owned(),
        method:
            "All vifs of a storm are there before it; all programs start at once, each from a thread of its own. Then the same for \
                 offline. A failure is an exit status other than 0, or a vif that is not where it belongs afterwards."
                .to_owned(),
        table,
        plot,
        bars,
        figures: figures.into(),
    })
}

/// What is asked of ours.
fn bars_of(size: u16, course: &Course) -> Vec<Bar> {
    let name = format!("{size} × {}", course.action.words()[0]);
    let failures = u32::try_from(course.storm.failures).unwrap_or(u32::MAX);
    let slowest = SLOWEST.into_iter().find(|(of, _)| *of == size);
    let slowest = slowest.map(|(_, limit)| Bar::at_most(&format!("{name}: slowest"), limit, course.storm.each.largest, " s"));
    slowest.into_iter().chain([Bar::at_most(&format!("{name}: failures"), 0.0, f64::from(failures), "")]).collect()
}

/// A storm, and as many `/bin/true` just before it.
#[derive(Clone)]
struct Course {
    action: Hotplug,
    storm: Storm,
    empty: Storm,
}

/// A storm of online and one of offline, each after one of `/bin/true`.
fn storms_of(make: Make, size: u16) -> Result<[Course; 2]> {
    let bench = Bench::new(make, Mode::Bridge)?;
    let vifs = (0..size).map(|handle| bench.attach(handle)).collect::<Result<Vec<_>>>()?;
    let course = |action: Hotplug| {
        let calls: Vec<Call> = vifs.iter().map(|vif| bench.call(vif, action)).collect();
        let empty: Vec<Call> = calls.iter().map(|call| call.of_program("/bin/true")).collect();
        let empty = storm_of(bench.dom0().machine(), &empty)?;
        let mut storm = storm_of(bench.dom0().machine(), &calls)?;
        storm.failures = storm.failures.max(misplaced(&bench, &vifs, action)?);
        Ok::<_, Error>(Course { action, storm, empty })
    };
    Ok([course(Hotplug::Online)?, course(Hotplug::Offline)?])
}

fn misplaced(bench: &Bench, vifs: &[Vif], action: Hotplug) -> Result<usize> {
    let ports = bench.ports()?;
    Ok(vifs.iter().filter(|vif| ports.contains(&vif.name()) != (action == Hotplug::Online)).count())
}

fn storm_of(machine: &Machine, calls: &[Call]) -> Result<Storm> {
    let start_line = Barrier::new(calls.len());
    let run = &|call| {
        start_line.wait();
        let start = Instant::now();
        let success = process::cost_here(call).is_ok();
        (success, start, Instant::now())
    };
    // The runners inherit the namespaces of the thread that starts them.
    let runs: Vec<_> = machine.inside(|| {
        thread::scope(|scope| {
            let runners: Vec<_> = calls.iter().map(|call| scope.spawn(move || run(call))).collect();
            runners.into_iter().filter_map(|runner| runner.join().ok()).collect()
        })
    })?;
    let nothing = || Error::new("a storm of no vif");
    let first = runs.iter().map(|&(_, start, _)| start).min().ok_or_else(nothing)?;
    let last = runs.iter().map(|&(_, _, end)| end).max().ok_or_else(nothing)?;
    let each = Spread::of(runs.iter().map(|&(_, start, end)| (end - start).as_secs_f64())).ok_or_else(nothing)?;
    let failures = calls.len() - runs.iter().filter(|(success, ..)| *success).count();
    Ok(Storm { total: (last - first).as_secs_f64(), each, failures })
}
