//! What a vif costs on a host that has many already.

use serde_json::json;

use super::Extent;
use super::plot::Plot;
use super::process;
use super::report::{Bar, Section, Table, three_digits};
use super::statistics::Spread;
use super::vif::{Bench, Make, Mode};
use crate::guest::Hotplug;
use crate::machine::{Error, Result};

/// How many vifs there are already.
const PRESENT: [u16; 3] = [10, 100, 1000];

/// How often each program runs.
const ROUNDS: usize = 40;

/// Rounds before them that do not count.
const WARM_UP: usize = 3;

/// What the time may be on the largest host in times of that on the smallest, the kernel's own growth taken off.
const MOST_GROWTH: f64 = 1.2;

const MODES: [Mode; 3] = [Mode::Bridge, Mode::Route, Mode::Nat];
const ACTIONS: [Hotplug; 2] = [Hotplug::Online, Hotplug::Offline];

/// A host, and the seconds that each action took there.
struct Host {
    bench: Bench,
    present: u16,
    make: Make,
    seconds: [Vec<f64>; 2],
}

/// Measures the three vif programs, and the floor program, on hosts with few and with many vifs.
///
/// # Errors
/// When a program cannot be measured, or does not do what it is for.
pub fn growth(extent: Extent) -> Result<Section> {
    let mut table = Table::new(&["program", "vifs present", "ours ms", "p10–p90", "floor ms", "p10–p90", "ours ÷ floor"]);
    let (mut bars, mut figures, mut plot) = (Vec::new(), Vec::new(), Plot::new("wall time, ms"));
    // The other two modes are measured only as a whole.
    let modes = if extent == Extent::Short { &MODES[..1] } else { &MODES };
    for &mode in modes {
        let hosts = measure(mode, extent)?;
        for (place, action) in ACTIONS.into_iter().enumerate() {
            let name = format!("{} {}", mode.program(), action.words()[0]);
            let spread = |make: Make, present: u16| {
                let host = hosts.iter().find(|host| host.make == make && host.present == present);
                host.and_then(|host| Spread::of(host.seconds[place].iter().map(|seconds| seconds * 1000.0)))
                    .ok_or_else(|| Error::new("nothing was measured"))
            };
            for present in PRESENT {
                let (ours, floor) = (spread(Make::Ours, present)?, spread(Make::Floor, present)?);
                let range = |spread: &Spread| format!("{}–{}", three_digits(spread.p10), three_digits(spread.p90));
                let figures_of = [three_digits(ours.median), range(&ours), three_digits(floor.median), range(&floor)];
                let mut row = vec![name.clone(), present.to_string()];
                row.extend(figures_of);
                row.push(three_digits(ours.median / floor.median));
                table.rows.push(row);
                plot.rows.push((format!("{name}, {present} present, ours"), ours));
                plot.rows.push((format!("{name}, {present} present, floor"), floor));
                figures.push(
                    json!({ "program": name, "vifs present": present, "ours milliseconds": ours, "floor milliseconds": floor }),
                );
            }
            let ([few, .., many], make) = (PRESENT, Make::Floor);
            let kernels = (spread(make, many)?.median - spread(make, few)?.median).max(0.0);
            let growth = (spread(Make::Ours, many)?.median - kernels) / spread(Make::Ours, few)?.median;
            bars.push(Bar::at_most(
                &format!("{name}: {many} vifs present"),
                MOST_GROWTH,
                growth,
                &format!(" × the time with {few}"),
            ));
        }
    }
    Ok(Section {
        name: "growth",
        title: "A vif on a host that has many".to_owned(),
        method: format!(
            "Hosts with as many vifs, up, over four bridges or with a route each, and besides 2,500 routes and 1,000 addresses; ours and \
             the floor program in turns, {} rounds. Of the growth, that of the floor program is taken off: it is the kernel's own.",
            extent.of(ROUNDS)
        ),
        table,
        plot,
        bars,
        figures: figures.into(),
    })
}

fn measure(mode: Mode, extent: Extent) -> Result<Vec<Host>> {
    let mut hosts = Vec::new();
    for (present, make) in PRESENT.into_iter().flat_map(|present| [(present, Make::Ours), (present, Make::Floor)]) {
        let bench = Bench::new(make, mode)?;
        bench.populate(present)?;
        hosts.push(Host { bench, present, make, seconds: [Vec::new(), Vec::new()] });
    }
    for round in 0..WARM_UP + extent.of(ROUNDS) {
        for host in &mut hosts {
            let vif = host.bench.attach(0)?;
            for (action, seconds) in ACTIONS.into_iter().zip(&mut host.seconds) {
                let cost = process::cost(host.bench.dom0().machine(), &host.bench.call(&vif, action))?;
                host.bench.check(&vif, action)?;
                if round >= WARM_UP {
                    seconds.push(cost.wall);
                }
            }
            vif.disappear()?;
            vif.remove_store()?;
        }
    }
    Ok(hosts)
}
