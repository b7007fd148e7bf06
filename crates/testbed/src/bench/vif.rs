//! What a hotplug program costs a vif, as a whole process: ours, Debian's original, and `/bin/true`.

use std::fmt;

use serde_json::{Value, json};

use super::process::{self, Call, Calls, Cost};
use super::report::{Bar, Section, Table, three_digits};
use super::statistics::Spread;
use crate::guest::{Dom0, Guest, Hotplug, Nic, Vif};
use crate::machine::{Error, Machine, Programs, Result};
use crate::originals::Originals;

/// How often each program runs.
const ROUNDS: usize = 60;

/// Rounds before them that do not count: they fill the page cache.
const WARM_UP: usize = 3;

const BRIDGE: &str = "xenbr0";

/// What the whole process may cost at most, in times of `/bin/true`.
const MOST_WALL: f64 = 2.0;

/// How many times less processor time than the original it must use.
const LEAST_CPU_SAVED: f64 = 40.0;

/// A program that a vif is given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// The executable of this project.
    Ours,
    /// Debian's shell script with the tools it calls.
    Original,
}

impl fmt::Display for Make {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ours => "ours",
            Self::Original => "original",
        })
    }
}

/// How guests are connected, and so which program is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `vif-bridge`.
    Bridge,
    /// `vif-route`, with one IPv4 address.
    Route,
    /// `vif-nat`, with its default address.
    Nat,
}

impl Mode {
    /// The program's name.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Bridge => "vif-bridge",
            Self::Route => "vif-route",
            Self::Nat => "vif-nat",
        }
    }

    /// What the host has before guests come.
    fn prepare(self, machine: &Machine) -> Result<()> {
        if self == Self::Bridge {
            machine.ip(&format!("link add {BRIDGE} type bridge stp_state 0 forward_delay 0"))?;
            return machine.ip(&format!("link set {BRIDGE} up")).map(drop);
        }
        for words in [
            "link add eth0 type veth peer name far0",
            "link set far0 up",
            "link set eth0 up",
            "address add 192.168.1.100/24 dev eth0",
            "route add default via 192.168.1.1",
        ] {
            machine.ip(words)?;
        }
        Ok(())
    }

    fn nic(self) -> Nic {
        match self {
            Self::Bridge => Nic::on_bridge(BRIDGE),
            Self::Route => Nic::routed("vif-route", "192.168.2.1"),
            Self::Nat => Nic::routed("vif-nat", ""),
        }
    }
}

/// A host whose guest gets and loses a vif.
pub struct Bench {
    mode: Mode,
    guest: Guest,
    dom0: Dom0,
}

impl Bench {
    /// Makes the host.
    ///
    /// # Errors
    /// As [`Dom0::new`]; and when there are no programs of that make.
    pub fn new(make: Make, mode: Mode) -> Result<Self> {
        let (dom0, guest) = (Dom0::new("dom0")?, Guest::new(7)?);
        let machine = dom0.machine();
        match make {
            Make::Ours => machine.install_scripts(&Programs::ours()?)?,
            Make::Original => {
                let originals = Originals::fetched()?;
                originals.install_tools(machine)?;
                machine.install_scripts(&originals.programs())?;
            }
        }
        mode.prepare(machine)?;
        Ok(Self { mode, guest, dom0 })
    }

    /// The host.
    pub fn dom0(&self) -> &Dom0 {
        &self.dom0
    }

    /// Gives the guest a card, up to the moment where libxl calls the program.
    ///
    /// # Errors
    /// As [`Guest::attach`].
    pub fn attach(&self, handle: u16) -> Result<Vif> {
        let [high, low] = handle.to_be_bytes();
        let mac = Some(format!("00:16:3e:07:{high:02x}:{low:02x}"));
        self.guest.attach(&self.dom0, Nic { handle, mac, ..self.mode.nic() })
    }

    /// Has `measure` make the call for `action`, on a vif of its own: not all of the originals can be repeated.
    fn once<T>(&self, action: Hotplug, measure: impl FnOnce(&Call) -> Result<T>) -> Result<T> {
        let vif = self.attach(0)?;
        if action == Hotplug::Offline {
            vif.hotplug(Hotplug::Online)?.success()?;
        }
        let measured = measure(&call(&vif, action))?;
        vif.disappear()?;
        vif.hotplug(Hotplug::Offline)?.success()?;
        vif.remove_store()?;
        Ok(measured)
    }

    /// The names of the bridge's ports.
    ///
    /// # Errors
    /// When the host's /sys cannot be read.
    pub fn ports(&self) -> Result<Vec<String>> {
        let text = self.dom0.machine().run("ls", [format!("/sys/class/net/{BRIDGE}/brif")])?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Whether packets for the guest of `vif` get to it: over the bridge, or by a route.
    fn is_connected(&self, vif: &Vif) -> Result<bool> {
        match self.mode {
            Mode::Bridge => Ok(self.ports()?.contains(&vif.name())),
            Mode::Route | Mode::Nat => Ok(self.dom0.machine().ip("route show")?.contains(&format!("dev {} ", vif.name()))),
        }
    }

    // A program that is fast because it does nothing must not win.
    fn check(&self, vif: &Vif, action: Hotplug) -> Result<()> {
        let connected = self.is_connected(vif)?;
        let status = vif.backend("hotplug-status")?;
        match (action, connected, status.as_deref()) {
            (Hotplug::Online, true, Some("connected")) | (Hotplug::Offline, false, _) => Ok(()),
            _ => Err(Error::new(format!("after {} {}: connected {connected}, status {status:?}", action.words()[0], vif.name()))),
        }
    }
}

/// The call of a vif's hotplug program as libxl makes it.
#[must_use]
pub fn call(vif: &Vif, action: Hotplug) -> Call {
    Call::like(&vif.hotplug_command(action), &vif.script(), &action.words())
}

/// The measurements of one program and command, and of `/bin/true` just before each of them.
#[derive(Clone, Debug, Default)]
struct Samples {
    program: Vec<Cost>,
    empty: Vec<Cost>,
}

impl Samples {
    fn spread(&self, figure: impl Fn(&Cost) -> f64) -> Result<Spread> {
        Spread::of(self.program.iter().map(figure)).ok_or_else(|| Error::new("nothing was measured"))
    }

    fn wall_ratio(&self) -> Result<Spread> {
        let wall = |costs: &[Cost]| costs.iter().map(|cost| cost.wall).collect::<Vec<_>>();
        Spread::of_ratios(wall(&self.program), wall(&self.empty)).ok_or_else(|| Error::new("nothing was measured"))
    }

    fn of_empty(&self) -> Self {
        Self { program: self.empty.clone(), empty: self.empty.clone() }
    }
}

/// All about one program and command.
struct Subject {
    make: Make,
    action: Hotplug,
    samples: Samples,
    memory: u64,
    calls: Calls,
}

/// Measures `vif-bridge online` and `offline`.
///
/// # Errors
/// When a program cannot be measured, or does not do what it is for.
pub fn vif_bridge() -> Result<Section> {
    measure(Mode::Bridge)
}

/// Measures `vif-route online` and `offline`.
///
/// # Errors
/// As [`vif_bridge`].
pub fn vif_route() -> Result<Section> {
    measure(Mode::Route)
}

/// Measures `vif-nat online` and `offline`.
///
/// # Errors
/// As [`vif_bridge`].
pub fn vif_nat() -> Result<Section> {
    measure(Mode::Nat)
}

fn measure(mode: Mode) -> Result<Section> {
    let mut subjects = Vec::new();
    let benches = [(Make::Ours, Bench::new(Make::Ours, mode)?), (Make::Original, Bench::new(Make::Original, mode)?)];
    for (make, bench) in &benches {
        for action in [Hotplug::Online, Hotplug::Offline] {
            let machine = bench.dom0.machine();
            let memory = bench.once(action, |call| process::peak_memory(machine, call))?;
            let calls = bench.once(action, |call| process::system_calls(machine, call))?;
            subjects.push(Subject { make: *make, action, samples: Samples::default(), memory, calls });
        }
    }
    for round in 0..WARM_UP + ROUNDS {
        for (bench, subjects) in benches.iter().map(|(_, bench)| bench).zip(subjects.chunks_mut(2)) {
            let costs = one_round(bench, subjects)?;
            if round >= WARM_UP {
                for (subject, (empty, program)) in subjects.iter_mut().zip(costs) {
                    subject.samples.empty.push(empty);
                    subject.samples.program.push(program);
                }
            }
        }
    }
    let empty = process::system_calls(benches[0].1.dom0.machine(), &Call::empty())?;
    section(mode, &subjects, &empty, process::peak_memory(benches[0].1.dom0.machine(), &Call::empty())?)
}

/// A vif comes and goes, with `/bin/true` before each run of the program.
fn one_round(bench: &Bench, subjects: &[Subject]) -> Result<Vec<(Cost, Cost)>> {
    let vif = bench.attach(0)?;
    let mut costs = Vec::new();
    for subject in subjects {
        let call = call(&vif, subject.action);
        let (empty, program) = bench.dom0.machine().inside(|| {
            let empty = process::cost_here(&call.of_program("/bin/true"))?;
            Ok::<_, Error>((empty, process::cost_here(&call)?))
        })??;
        bench.check(&vif, subject.action)?;
        costs.push((empty, program));
    }
    vif.disappear()?;
    vif.remove_store()?;
    Ok(costs)
}

fn section(mode: Mode, subjects: &[Subject], empty_calls: &Calls, empty_memory: u64) -> Result<Section> {
    let mut table = Table::new(&[
        "process",
        "wall ms",
        "p10–p90",
        "× true",
        "p10–p90",
        "CPU ms",
        "page faults",
        "peak memory MiB",
        "system calls",
        "processes started",
    ]);
    let mut figures = Vec::new();
    let mut add = |name: String, samples: &Samples, memory: u64, calls: &Calls| -> Result<()> {
        table.rows.push(row(&name, samples, memory, calls)?);
        figures.push(raw(&name, samples, memory, calls)?);
        Ok(())
    };
    if let [first, ..] = subjects {
        add("/bin/true".to_owned(), &first.samples.of_empty(), empty_memory, empty_calls)?;
    }
    for subject in subjects {
        let name = format!("{} {}, {}", mode.program(), subject.action.words()[0], subject.make);
        add(name, &subject.samples, subject.memory, &subject.calls)?;
    }
    Ok(Section {
        title: format!("{} as a whole process", mode.program()),
        method: format!(
            "From start to end (posix_spawn to wait4) of a program that is started directly, with the environment libxl gives it and no \
             hook; a new vif in each of {ROUNDS} rounds. `/bin/true` ran just before each run, and “× true” is the median of these \
             {ROUNDS} ratios. CPU time, page faults, memory and system calls include all processes the program starts."
        ),
        table,
        bars: bars(subjects)?,
        figures: Value::Array(figures),
    })
}

fn row(name: &str, samples: &Samples, memory: u64, calls: &Calls) -> Result<Vec<String>> {
    let wall = samples.spread(|cost| cost.wall * 1000.0)?;
    let ratio = samples.wall_ratio()?;
    let range = |spread: &Spread| format!("{}–{}", three_digits(spread.p10), three_digits(spread.p90));
    // A size in MiB needs no more than a tenth.
    #[expect(clippy::cast_precision_loss, reason = "no program has 2^53 bytes")]
    let memory = memory as f64 / 1_048_576.0;
    Ok(vec![
        name.to_owned(),
        three_digits(wall.median),
        range(&wall),
        three_digits(ratio.median),
        range(&ratio),
        three_digits(samples.spread(|cost| cost.cpu * 1000.0)?.median),
        three_digits(samples.spread(faults)?.median),
        format!("{memory:.1}"),
        calls.total.to_string(),
        calls.started.to_string(),
    ])
}

#[expect(clippy::cast_precision_loss, reason = "no program has 2^53 page faults")]
fn faults(cost: &Cost) -> f64 {
    cost.faults as f64
}

fn raw(name: &str, samples: &Samples, memory: u64, calls: &Calls) -> Result<Value> {
    Ok(json!({
        "process": name,
        "wall seconds": samples.spread(|cost| cost.wall)?,
        "wall in times of /bin/true": samples.wall_ratio()?,
        "cpu seconds": samples.spread(|cost| cost.cpu)?,
        "page faults": samples.spread(faults)?,
        "peak memory bytes": memory,
        "system calls": calls.total,
        "processes started": calls.started,
        "samples": samples.program,
        "samples of /bin/true": samples.empty,
    }))
}

/// The bars of a vif program: at most twice the time of `/bin/true`, a fortieth of the original's processor time, no other process.
fn bars(subjects: &[Subject]) -> Result<Vec<Bar>> {
    let mut bars = Vec::new();
    for ours in subjects.iter().filter(|subject| subject.make == Make::Ours) {
        let Some(original) = subjects.iter().find(|other| other.make == Make::Original && other.action == ours.action) else {
            continue;
        };
        let name = ours.action.words()[0];
        let cpu = |subject: &Subject| subject.samples.program.iter().map(|cost| cost.cpu).collect::<Vec<_>>();
        let saved = Spread::of_ratios(cpu(original), cpu(ours)).ok_or_else(|| Error::new("the kernel counts no processor time"))?;
        let started = u32::try_from(ours.calls.started).unwrap_or(u32::MAX);
        bars.push(Bar::at_most(&format!("{name}: wall time"), MOST_WALL, ours.samples.wall_ratio()?.median, " × /bin/true"));
        bars.push(Bar::at_least(&format!("{name}: the original's CPU time"), LEAST_CPU_SAVED, saved.median, " × ours"));
        bars.push(Bar::at_most(&format!("{name}: processes or threads started"), 0.0, f64::from(started), ""));
    }
    Ok(bars)
}
