//! How long `xen-network` takes to show, and to check, a host with many guests.

use serde_json::json;
use xenstore::StorePath;

use super::Extent;
use super::plot::Plot;
use super::process::{self, Call};
use super::report::{Bar, Section, Table, three_digits};
use super::statistics::Spread;
use crate::guest::{Dom0, Outcome};
use crate::machine::{Error, Programs, Result};

/// Guests' interfaces.
const INTERFACES: u16 = 500;

/// How often each command is run.
const ROUNDS: usize = 45;

const PROGRAM: &str = "/etc/xen/scripts/xen-network";
const BRIDGE: &str = "xenbr0";

/// The bar, for `status`.
const MOST_MILLISECONDS: f64 = 100.0;

/// Domain numbers of a crowd begin with this one.
const FIRST_DOMAIN: u16 = 100;

/// Gives `bridge` the interfaces of as many guests, each with an IPv4 address of its own in XenStore, as they are once their programs are
/// done. Nobody is behind them, and their filter is left to `xen-network reload`.
///
/// # Errors
/// When a device cannot be made, or XenStore refuses.
pub fn crowd(dom0: &Dom0, bridge: &str, interfaces: u16) -> Result<()> {
    let mut lines = String::new();
    let mut client = dom0.store().client()?;
    for number in 0..interfaces {
        let domain = FIRST_DOMAIN + number;
        lines += &format!("link add name vif{domain}.0 address fe:ff:ff:ff:ff:ff type veth peer name end{number}\n");
        lines += &format!("link set vif{domain}.0 master {bridge} up\nlink set end{number} up\n");
        let nodes = nodes_of(domain, bridge, number).into_iter().map(|(path, value)| {
            let path = StorePath::parse(&path).map_err(Error::in_act(format!("use {path:?} as a XenStore path")))?;
            Ok((path, value.into_bytes()))
        });
        client
            .write_many(&nodes.collect::<Result<Vec<_>>>()?)
            .map_err(Error::in_act(format!("write domain {domain} into XenStore")))?;
    }
    dom0.machine().write_file("/run/batch", lines)?;
    dom0.machine().ip("-batch /run/batch").map(drop)
}

fn nodes_of(domain: u16, bridge: &str, number: u16) -> Vec<(String, String)> {
    let guest = format!("/local/domain/{domain}");
    let backend = format!("/local/domain/0/backend/vif/{domain}/0");
    let [high, low] = number.to_be_bytes();
    vec![
        (format!("{guest}/name"), format!("guest{number}")),
        (format!("{guest}/vm"), format!("/vm/{number}")),
        (format!("{backend}/script"), "/etc/xen/scripts/vif-bridge".to_owned()),
        (format!("{backend}/state"), "4".to_owned()),
        (format!("{backend}/hotplug-status"), "connected".to_owned()),
        (format!("{backend}/mac"), format!("00:16:3e:01:{high:02x}:{low:02x}")),
        (format!("{backend}/bridge"), bridge.to_owned()),
        (format!("{backend}/ip"), format!("10.1.{}.{}", number / 250, number % 250 + 1)),
    ]
}

/// Measures `status`, as a tree and as JSON, and `doctor`.
///
/// # Errors
/// When one of them fails, or does not show all guests.
pub fn status(extent: Extent) -> Result<Section> {
    let dom0 = Dom0::new("dom0")?;
    let machine = dom0.machine();
    machine.install_scripts(&Programs::ours()?)?;
    machine.ip(&format!("link add {BRIDGE} type bridge"))?;
    machine.ip(&format!("link set {BRIDGE} up"))?;
    crowd(&dom0, BRIDGE, INTERFACES)?;
    machine.run(PROGRAM, ["reload"])?;
    let mut shown = machine.command(PROGRAM);
    let shown = Outcome::of(shown.arg("status"))?.success()?.stdout.matches("filter ip").count();
    if shown != usize::from(INTERFACES) {
        return Err(Error::new(format!("status shows {shown} guests of {INTERFACES} with their filter")));
    }
    let mut rows = vec![];
    for words in [&["status"][..], &["status", "--json"], &["doctor"]] {
        let call = Call::like(&machine.command(PROGRAM), PROGRAM, words);
        let costs = (0..extent.of(ROUNDS)).map(|_| process::cost(machine, &call)).collect::<Result<Vec<_>>>()?;
        let spread = |figure: fn(&process::Cost) -> f64| {
            Spread::of(costs.iter().map(|cost| figure(cost) * 1000.0)).ok_or_else(|| Error::new("nothing was measured"))
        };
        rows.push((words.join(" "), spread(|cost| cost.wall)?, spread(|cost| cost.cpu)?));
    }
    Ok(section(&rows, extent))
}

fn section(rows: &[(String, Spread, Spread)], extent: Extent) -> Section {
    let mut table = Table::new(&["xen-network", "ms", "p10–p90", "CPU ms"]);
    let mut plot = Plot::new("wall time, ms");
    let mut bars = vec![];
    for (words, wall, cpu) in rows {
        let range = format!("{}–{}", three_digits(wall.p10), three_digits(wall.p90));
        table.rows.push(vec![format!("`{words}`"), three_digits(wall.median), range, three_digits(cpu.median)]);
        plot.rows.push((words.clone(), *wall));
        if words == "status" {
            bars.push(Bar::at_most("`status`", MOST_MILLISECONDS, wall.median, " ms"));
        }
    }
    let figures = rows.iter().map(|(words, wall, cpu)| json!({ "words": words, "milliseconds": wall, "cpu": cpu }));
    Section {
        name: "status",
        title: format!("`xen-network` on a host with {INTERFACES} guests"),
        method: format!(
            "{} runs of each from its start to its end, with {INTERFACES} filtered guests' interfaces on one bridge, and XenStore played by the test bed.",
            extent.of(ROUNDS)
        ),
        table,
        plot,
        bars,
        figures: json!({ "interfaces": INTERFACES, "commands": figures.collect::<Vec<_>>() }),
    }
}
