//! What a hotplug program costs a vif, as a whole process: ours, the floor program that says the same to the kernel and to XenStore without a
//! thought, Debian's original, and `/bin/true`.

use std::fmt;

use serde_json::{Value, json};

use super::Extent;
use super::plot::Plot;
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

/// A bridge holds 1,023 ports (`BR_MAX_PORTS`, net/bridge/br_private.h), so a host of many guests has several.
const BRIDGES: u16 = 4;

fn bridge_of(handle: u16) -> String {
    format!("xenbr{}", handle % BRIDGES)
}

/// What the whole process may cost at most, in times of `/bin/true`.
const MOST_WALL: f64 = 1.7;

/// How many times less than the original it must take, of processor time and of time.
const LEAST_SAVED: f64 = 50.0;

/// Bytes that a program may have in memory at most: 6 MiB.
const MOST_MEMORY: f64 = 6.0;

/// The number of the guest's device: a recording names it.
const INDEX: u32 = 5000;

/// The domain of a guest who is there all the time, and its device.
const RESIDENT: u16 = 9;
const RESIDENT_HANDLE: u16 = 100;

/// Where the recordings of the floor program are in its machine.
fn recording_path(action: Hotplug) -> String {
    format!("/run/floor.{}", action.words()[0])
}

/// What it may take in times of the floor program.
fn most_of_floor(action: Hotplug) -> f64 {
    if action == Hotplug::Online { 1.25 } else { 1.5 }
}

/// A program that a vif is given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// The executable of this project.
    Ours,
    /// What ours says to the kernel and to XenStore, said again.
    Floor,
    /// Debian's shell script with the tools it calls.
    Original,
}

impl fmt::Display for Make {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ours => "ours",
            Self::Floor => "floor",
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
            for bridge in (0..BRIDGES).map(bridge_of) {
                machine.ip(&format!("link add {bridge} type bridge stp_state 0 forward_delay 0"))?;
                machine.ip(&format!("link set {bridge} up"))?;
            }
            return Ok(());
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

    fn nic(self, handle: u16) -> Nic {
        let [high, low] = handle.to_be_bytes();
        let antispoof = Some("strict".to_owned());
        match self {
            Self::Bridge => {
                let ip = Some(format!("10.200.{high}.{low} 2001:db8::1:{handle:x}"));
                Nic { ip, antispoof, ..Nic::on_bridge(&bridge_of(handle)) }
            }
            Self::Route => Nic { antispoof, ..Nic::routed("vif-route", &format!("10.200.{high}.{low}")) },
            Self::Nat => Nic { antispoof, ..Nic::routed("vif-nat", "") },
        }
    }
}

/// A host whose guest gets and loses a vif.
pub struct Bench {
    make: Make,
    mode: Mode,
    guest: Guest,
    // Another guest, who is there all the time: the filter's tables come with the first and go with the last.
    _resident: (Guest, Vif),
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
            Make::Ours | Make::Floor => machine.install_scripts(&Programs::ours()?)?,
            Make::Original => {
                let originals = Originals::fetched()?;
                originals.install_tools(machine)?;
                machine.install_scripts(&originals.programs())?;
            }
        }
        mode.prepare(machine)?;
        let other = Guest::new(RESIDENT)?;
        let vif = other.attach(&dom0, mode.nic(RESIDENT_HANDLE))?;
        vif.hotplug(Hotplug::Online)?.success()?;
        let bench = Self { make, mode, guest, _resident: (other, vif), dom0 };
        if make == Make::Floor {
            bench.record()?;
        }
        Ok(bench)
    }

    /// Has ours serve a vif, and keeps what it says for the floor program.
    fn record(&self) -> Result<()> {
        let machine = self.dom0.machine();
        let floor = std::env::current_exe().map_err(Error::in_act("find the bench's own program"))?.with_file_name("floor");
        let program = std::fs::read(&floor).map_err(Error::in_act(format!("read {}", floor.display())))?;
        machine.write_program(FLOOR, program)?;
        let vif = self.attach(0)?;
        for action in [Hotplug::Online, Hotplug::Offline] {
            let recording = process::record(machine, &as_libxl_calls(&vif, action))?;
            machine.write_file(recording_path(action), recording.to_bytes())?;
        }
        vif.disappear()?;
        vif.remove_store()
    }

    /// The call for an action on a vif.
    #[must_use]
    pub fn call(&self, vif: &Vif, action: Hotplug) -> Call {
        match self.make {
            Make::Floor => Call {
                program: FLOOR.to_owned(),
                words: Vec::new(),
                environment: vec![("FLOOR_RECORDING".to_owned(), recording_path(action))],
            },
            Make::Ours | Make::Original => as_libxl_calls(vif, action),
        }
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
        let index = Some(INDEX + u32::from(handle));
        self.guest.attach(&self.dom0, Nic { handle, mac, index, ..self.mode.nic(handle) })
    }

    /// Gives the host `present` vifs more, all up and served as those of this mode are, and 2,500 routes and 1,000 addresses.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn populate(&self, present: u16) -> Result<()> {
        let mut batch = String::from("link add many0 type veth peer name far1\nlink set far1 up\nlink set many0 up\n");
        for number in 0..1000_u16 {
            let [high, low] = number.to_be_bytes();
            batch += &format!("address add 172.30.{high}.{low}/32 dev many0\n");
        }
        for number in 0..2500_u16 {
            let [high, low] = number.to_be_bytes();
            batch += &format!("route add 172.20.{high}.{low}/32 dev many0\n");
        }
        for number in 0..present {
            batch += &self.other_vif(number);
        }
        let machine = self.dom0.machine();
        machine.write_file("/run/populate", batch)?;
        machine.run("ip", ["-batch", "/run/populate"]).map(drop)
    }

    /// The commands that make a vif of another guest, and what this mode's program does for it.
    fn other_vif(&self, number: u16) -> String {
        let ([high, low], name) = (number.to_be_bytes(), format!("vif100.{number}"));
        let made = format!(
            "link add name {name} address fe:ff:ff:ff:ff:ff txqueuelen 32 type veth peer name other{number} netns {}\n",
            self.guest.machine().pid()
        );
        let served = match self.mode {
            Mode::Bridge => format!("link set {name} master {} up\n", bridge_of(number)),
            Mode::Route | Mode::Nat => {
                let own = if self.mode == Mode::Route { "192.168.1.100".to_owned() } else { format!("10.101.{high}.{low}") };
                format!(
                    "address add {own}/32 dev {name}\nlink set {name} up\nroute add 10.100.{high}.{low}/32 dev {name} src {own} metric 2\n"
                )
            }
        };
        made + &served
    }

    /// Has `measure` make the call for `action`, on a vif of its own: not all of the originals can be repeated.
    fn once<T>(&self, action: Hotplug, measure: impl FnOnce(&Call) -> Result<T>) -> Result<T> {
        let vif = self.attach(0)?;
        if action == Hotplug::Offline {
            vif.hotplug(Hotplug::Online)?.success()?;
        }
        let measured = measure(&self.call(&vif, action))?;
        vif.disappear()?;
        vif.hotplug(Hotplug::Offline)?.success()?;
        vif.remove_store()?;
        Ok(measured)
    }

    /// The names of the bridges' ports.
    ///
    /// # Errors
    /// When the host's /sys cannot be read.
    pub fn ports(&self) -> Result<Vec<String>> {
        let text = self.dom0.machine().shell("cd /sys/class/net && ls xenbr*/brif")?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Whether packets for the guest of `vif` get to it: over the bridge, or by a route.
    fn is_connected(&self, vif: &Vif) -> Result<bool> {
        match self.mode {
            Mode::Bridge => Ok(self.ports()?.contains(&vif.name())),
            Mode::Route | Mode::Nat => Ok(self.dom0.machine().ip("route show")?.contains(&format!("dev {} ", vif.name()))),
        }
    }

    /// Sees to it that a vif is as it should be after an action: a program that is fast because it does nothing must not win.
    ///
    /// # Errors
    /// When it is not.
    pub fn check(&self, vif: &Vif, action: Hotplug) -> Result<()> {
        let connected = self.is_connected(vif)?;
        let status = vif.backend("hotplug-status")?;
        match (action, connected, status.as_deref()) {
            (Hotplug::Online, true, Some("connected")) | (Hotplug::Offline, false, _) => Ok(()),
            _ => Err(Error::new(format!("after {} {}: connected {connected}, status {status:?}", action.words()[0], vif.name()))),
        }
    }
}

/// Where the floor program is in its machine.
const FLOOR: &str = "/etc/xen/scripts/floor";

/// The call of a vif's hotplug program as libxl makes it.
fn as_libxl_calls(vif: &Vif, action: Hotplug) -> Call {
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

    fn walls(&self) -> impl Iterator<Item = f64> {
        self.program.iter().map(|cost| cost.wall)
    }

    fn cpus(&self) -> impl Iterator<Item = f64> {
        self.program.iter().map(|cost| cost.cpu)
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
pub fn vif_bridge(extent: Extent) -> Result<Section> {
    measure(Mode::Bridge, extent)
}

/// Measures `vif-route online` and `offline`.
///
/// # Errors
/// As [`vif_bridge`].
pub fn vif_route(extent: Extent) -> Result<Section> {
    measure(Mode::Route, extent)
}

/// Measures `vif-nat online` and `offline`.
///
/// # Errors
/// As [`vif_bridge`].
pub fn vif_nat(extent: Extent) -> Result<Section> {
    measure(Mode::Nat, extent)
}

fn measure(mode: Mode, extent: Extent) -> Result<Section> {
    let mut subjects = Vec::new();
    let makes = [Make::Ours, Make::Floor, Make::Original];
    let benches = makes.into_iter().map(|make| Ok((make, Bench::new(make, mode)?))).collect::<Result<Vec<_>>>()?;
    for (make, bench) in &benches {
        for action in [Hotplug::Online, Hotplug::Offline] {
            let machine = bench.dom0.machine();
            let memory = bench.once(action, |call| process::peak_memory(machine, call))?;
            let calls = bench.once(action, |call| process::system_calls(machine, call))?;
            subjects.push(Subject { make: *make, action, samples: Samples::default(), memory, calls });
        }
    }
    for round in 0..WARM_UP + extent.of(ROUNDS) {
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
        let call = bench.call(&vif, subject.action);
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
    let plot = Plot {
        axis: "wall time, ms".to_owned(),
        rows: subjects
            .iter()
            .map(|subject| {
                let name = format!("{} {}, {}", mode.program(), subject.action.words()[0], subject.make);
                Ok((name, subject.samples.spread(|cost| cost.wall * 1000.0)?))
            })
            .collect::<Result<_>>()?,
    };
    Ok(Section {
        name: mode.program(),
        title: format!("{} as a whole process", mode.program()),
        method: "From start to end (posix_spawn to wait4) of a program that is started directly, with the environment libxl gives it and no \
             hook; a guest with one IPv4 address (on a bridge one of IPv6 as well) and, of ours, the strict filter; another guest is \
             there all the time; a new vif in each round. `/bin/true` ran just before each run, and “× true” is the median of these \
             ratios. CPU time, page faults, memory and system calls include all processes the program starts."
            .to_owned(),
        table,
        plot,
        bars: bars(subjects)?,
        figures: Value::Array(figures),
    })
}

fn row(name: &str, samples: &Samples, memory: u64, calls: &Calls) -> Result<Vec<String>> {
    let wall = samples.spread(|cost| cost.wall * 1000.0)?;
    let ratio = samples.wall_ratio()?;
    let range = |spread: &Spread| format!("{}–{}", three_digits(spread.p10), three_digits(spread.p90));
    // A size in MiB needs no more than a tenth.
    let memory = mebibytes(memory);
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

#[expect(clippy::cast_precision_loss, reason = "no program has 2^53 bytes")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
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

/// The bars of a vif program, each on the figures of the same rounds.
fn bars(subjects: &[Subject]) -> Result<Vec<Bar>> {
    let mut bars = Vec::new();
    for ours in subjects.iter().filter(|subject| subject.make == Make::Ours) {
        let name = ours.action.words()[0];
        let peer = |make: Make| {
            let peer = subjects.iter().find(|other| other.make == make && other.action == ours.action);
            peer.map(|peer| &peer.samples).ok_or_else(|| Error::new(format!("{make} was not measured")))
        };
        let ratio = |one: &mut dyn Iterator<Item = f64>, other: &mut dyn Iterator<Item = f64>| {
            Spread::of_ratios(one, other).map(|ratio| ratio.median).ok_or_else(|| Error::new("the kernel counts no time"))
        };
        let (floor, original, samples) = (peer(Make::Floor)?, peer(Make::Original)?, &ours.samples);
        let of_floor = ratio(&mut samples.walls(), &mut floor.walls())?;
        let cpu_saved = ratio(&mut original.cpus(), &mut samples.cpus())?;
        let saved = ratio(&mut original.walls(), &mut samples.walls())?;
        let started = f64::from(u32::try_from(ours.calls.started).unwrap_or(u32::MAX));
        let bar = |what: &str| format!("{name}: {what}");
        bars.push(Bar::at_most(&bar("wall time"), most_of_floor(ours.action), of_floor, " × floor"));
        bars.push(Bar::at_most(&bar("wall time"), MOST_WALL, samples.wall_ratio()?.median, " × /bin/true"));
        bars.push(Bar::at_least(&bar("the original's CPU time"), LEAST_SAVED, cpu_saved, " × ours"));
        bars.push(Bar::at_least(&bar("the original's wall time"), LEAST_SAVED, saved, " × ours"));
        bars.push(Bar::at_most(&bar("peak memory"), MOST_MEMORY, mebibytes(ours.memory), " MiB"));
        // The one that is left behind closes a socket, which takes long after a deletion.
        let most_started = if ours.action == Hotplug::Offline { 1.0 } else { 0.0 };
        bars.push(Bar::at_most(&bar("processes or threads started"), most_started, started, ""));
    }
    Ok(bars)
}
