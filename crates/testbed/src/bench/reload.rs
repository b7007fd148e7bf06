//! How long `xen-network reload` takes to give guests their filter back that somebody has flushed.

use std::process::Command;

use serde_json::json;

use super::Extent;
use super::plot::Plot;
use super::process::{self, Call};
use super::report::{Bar, Section, Table, three_digits};
use super::statistics::Spread;
use crate::guest::{Dom0, Guest, Hotplug, Nic, Vif};
use crate::machine::{Error, Machine, Programs, Result};

/// Guests' interfaces: half of them on a bridge, a quarter routed, a quarter behind NAT.
pub const INTERFACES: u16 = 200;

/// Cards of one guest; a guest is a namespace.
const CARDS: u16 = 50;

/// How often the ruleset is flushed.
const ROUNDS: usize = 60;

const PROGRAM: &str = "/etc/xen/scripts/xen-network";

/// The bar.
const MOST_MILLISECONDS: f64 = 100.0;

/// A host with many guests that are held to their addresses.
pub struct Farm {
    dom0: Dom0,
    _guests: Vec<Guest>,
}

impl Farm {
    /// All guests online, by our programs.
    ///
    /// # Errors
    /// When one of them does not come.
    pub fn new() -> Result<Self> {
        let dom0 = Dom0::new("dom0")?;
        let machine = dom0.machine();
        machine.install_scripts(&Programs::ours()?)?;
        machine.ip("link add xenbr0 type bridge")?;
        machine.ip("link set xenbr0 up")?;
        let guests = (1..=INTERFACES / CARDS).map(Guest::new).collect::<Result<Vec<_>>>()?;
        for (guest, domain) in guests.iter().zip(1..) {
            // Nothing is learnt from guests here.
            guest.machine().set_sysctl("net.ipv6.conf.default.disable_ipv6", "1")?;
            for handle in 0..CARDS {
                let vif = guest.attach(&dom0, nic(domain, handle))?;
                come(&vif)?;
            }
        }
        Ok(Self { dom0, _guests: guests })
    }

    /// The host.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        self.dom0.machine()
    }

    /// What an administrator types afterwards.
    #[must_use]
    pub fn reload(&self) -> Command {
        let mut command = self.machine().command(PROGRAM);
        command.arg("reload");
        command
    }

    /// How many guests' interfaces our tables have.
    ///
    /// # Errors
    /// When nft fails.
    pub fn filtered(&self) -> Result<usize> {
        let mut found = 0;
        for family in ["bridge", "inet"] {
            let listed = self.machine().shell(&format!("nft list set {family} xen-guests guests 2>/dev/null || true"))?;
            found += listed.matches("comment").count();
        }
        Ok(found)
    }
}

fn nic(domain: u16, handle: u16) -> Nic {
    let address = format!("10.1.{domain}.{}", handle + 1);
    let nic = match domain % 4 {
        1 => Nic::routed("vif-route", &address),
        2 => Nic::routed("vif-nat", &address),
        _ => Nic { ip: Some(format!("{address} 2001:db8:{domain}::{handle}")), ..Nic::on_bridge("xenbr0") },
    };
    Nic { handle, ..nic }
}

fn come(vif: &Vif) -> Result<()> {
    let mut command = vif.hotplug_command(Hotplug::Online);
    command.args(Hotplug::Online.words());
    if vif.script().ends_with("vif-route") {
        command.arg("gateway=192.168.1.100");
    }
    crate::guest::Outcome::of(&mut command)?.success().map(drop)
}

/// Measures `xen-network reload` after `nft flush ruleset`.
///
/// # Errors
/// When it fails, or leaves a guest without its filter.
pub fn reload(extent: Extent) -> Result<Section> {
    let farm = Farm::new()?;
    let call = Call::like(&farm.reload(), PROGRAM, &["reload"]);
    let mut milliseconds = vec![];
    for _ in 0..extent.of(ROUNDS) {
        farm.machine().run("nft", ["flush", "ruleset"])?;
        let cost = process::cost(farm.machine(), &call)?;
        let filtered = farm.filtered()?;
        if filtered != usize::from(INTERFACES) {
            return Err(Error::new(format!("after a reload {filtered} of {INTERFACES} interfaces are filtered")));
        }
        milliseconds.push(cost.wall * 1000.0);
    }
    section(&milliseconds, extent)
}

fn section(milliseconds: &[f64], extent: Extent) -> Result<Section> {
    let spread = Spread::of(milliseconds.iter().copied()).ok_or_else(|| Error::new("nothing was measured"))?;
    let longest = milliseconds.iter().copied().fold(0.0, f64::max);
    let mut table = Table::new(&["guests' interfaces", "ms", "p10–p90", "longest"]);
    let range = format!("{}–{}", three_digits(spread.p10), three_digits(spread.p90));
    table.rows.push(vec![INTERFACES.to_string(), three_digits(spread.median), range, three_digits(longest)]);
    let mut plot = Plot::new("wall time, ms");
    plot.rows.push((format!("reload, {INTERFACES} interfaces"), spread));
    Ok(Section {
        name: "reload",
        title: "The guest filter is back after `nft flush ruleset`".to_owned(),
        method: format!(
            "`xen-network reload` from its start to its end, {} rounds, on a host with {INTERFACES} guests' interfaces, half of them on a bridge, a \
             quarter routed and a quarter behind NAT. Between the flush and the end of it the guests are open.",
            extent.of(ROUNDS)
        ),
        table,
        plot,
        bars: vec![Bar::at_most("the longest", MOST_MILLISECONDS, longest, " ms")],
        figures: json!({ "interfaces": INTERFACES, "milliseconds": spread, "longest": longest }),
    })
}
