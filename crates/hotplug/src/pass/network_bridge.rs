//! One pass of network-bridge.

mod repair;
mod start;
mod status;
mod stop;

use std::time::Duration;

use super::antispoof;
use crate::apply::Run;
use crate::apply::journal::Journal;
use crate::dry_run;
use crate::host::{Family, Host, Route, Switch};
use crate::interface_name::InterfaceName;
use crate::invocation::{Format, Invocation, Mode};
use crate::plan::layer3::moving_keys;
use crate::plan::network_bridge::{Asked, DefaultRoute, Names};
use crate::plan::{Plan, Refusal};
use crate::record::Record;
use crate::report::{Report, Trouble};
use crate::request::network_bridge::{Command, NetworkBridge};
use crate::sysctl::SysctlKey;
use crate::system::lock::{self, LockName};
use crate::system::state::{RunDirectory, run_directory};
use crate::system::watchdog::Watchdog;
use crate::system::{Depth, System, SystemError};

/// How long another run may take before this one gives up waiting for it.
const LOCK_LIMIT: Duration = Duration::from_secs(30);
/// The journal of a run that changes the host.
const JOURNAL: &str = "network-bridge.journal";
/// The record of the bridges that were made.
const RECORD: &str = "network-bridge.json";

/// Calls of network-bridge: turns a physical device into the port of a bridge, turns it back, or shows it.
///
/// # Errors
/// When it cannot be done; the host is then as it was.
pub fn pass(invocation: &Invocation) -> Result<Report, Trouble> {
    let request = NetworkBridge::parse(invocation.command(), |name| invocation.variable(name))?;
    let mut system = System::open();
    let Some(asked) = &request.asked else { return Ok(Report::nothing("bridge=null: no bridge is wanted")) };
    match (request.command, invocation.mode()) {
        (command @ Command::Status, _) | (command, Mode::DryRun) => {
            Session { invocation, request: &request, system: &mut system, folder: None }.serve(command, asked)
        }
        (command, Mode::Act) => {
            let folder = run_directory().map_err(|error| Refusal::plain(error.to_string()))?;
            let _lock = lock::claim(LockName::NetworkBridge, LOCK_LIMIT).map_err(|error| Refusal::plain(error.to_string()))?;
            take_back_killed_run(&mut system, &folder, JOURNAL)?;
            Session { invocation, request: &request, system: &mut system, folder: Some(folder) }.serve(command, asked)
        }
    }
}

/// A run that was killed has left a journal: what it did is taken back before anything else is.
pub(super) fn take_back_killed_run(system: &mut System, folder: &RunDirectory, journal: &str) -> Result<(), Trouble> {
    folder.sweep();
    let unusable =
        |error: String| Trouble::Refused(Refusal::plain(format!("{error}; look at it, and remove it once the host is in order")));
    let left = Journal::left_behind(&folder.state_file(journal)).map_err(|error| unusable(error.to_string()))?;
    let Some((inverses, journal)) = left else { return Ok(()) };
    log::warn!("an earlier run was killed halfway: taking its {} steps back", inverses.len());
    let left = Run::resumed(system, journal, inverses).undo();
    match left.as_slice() {
        [] => Ok(()),
        some => {
            let acts: Vec<String> = some.iter().map(ToString::to_string).collect();
            Err(Refusal::plain(format!("an earlier run was killed, and not all of it could be taken back: {}", acts.join("; ")))
                .into())
        }
    }
}

/// One start or stop: what it was asked, what it works on, and where it keeps its notes (nowhere in a dry run).
struct Session<'a> {
    invocation: &'a Invocation,
    request: &'a NetworkBridge,
    system: &'a mut System,
    folder: Option<RunDirectory>,
}

impl Session<'_> {
    fn serve(mut self, command: Command, asked: &Asked) -> Result<Report, Trouble> {
        match command {
            Command::Start => start::start(&mut self, asked),
            Command::Stop => stop::stop(&mut self, asked),
            Command::Repair => repair::repair(&mut self, asked),
            Command::Status => status::status(self.invocation, asked, self.system),
        }
    }

    /// Has a second process call `repair` should this one be killed before it has changed all it has to.
    fn watched(&self, names: &Names) -> Option<Watchdog> {
        let (netdev, bridge) = (format!("netdev={}", names.netdev), format!("bridge={}", names.bridge));
        let set = Watchdog::set(&["network-bridge", "repair", &netdev, &bridge]);
        set.map_err(|error| log::warn!("no second process watches this one ({error}): the next run repairs, should it be killed"))
            .ok()
    }

    /// The record; one that cannot be read counts as empty, since it is only a help.
    fn record(&self) -> Record {
        match &self.folder {
            Some(folder) => record_in(folder),
            None => recorded(),
        }
    }

    fn journal(&self) -> Result<Journal, Trouble> {
        match &self.folder {
            Some(folder) => Journal::begin(&folder.state_file(JOURNAL)).map_err(|error| Refusal::plain(error.to_string()).into()),
            None => Ok(Journal::None),
        }
    }

    /// The default routes, as the choice of a device needs them.
    fn default_routes(&mut self) -> Result<Vec<DefaultRoute>, SystemError> {
        default_routes(self.system)
    }

    /// The dry run's answer.
    fn show(&self, plan: &Plan, host: &Host) -> Report {
        match self.invocation.format() {
            Format::Text => Report::printed(dry_run::as_text(plan, host)),
            Format::Json => Report::printed(dry_run::as_json(plan, host)),
        }
    }

    fn is_dry_run(&self) -> bool {
        self.invocation.mode() == Mode::DryRun
    }

    /// Leaves the word for guests of these bridges.
    fn keep_antispoof<'a>(&self, bridges: impl IntoIterator<Item = &'a InterfaceName>) -> Result<(), Trouble> {
        let Some(folder) = &self.folder else { return Ok(()) };
        antispoof::keep(folder, bridges.into_iter().map(InterfaceName::as_str), self.request.antispoof)
    }
}

/// The record of the bridges that were made; one that cannot be read counts as empty, since it is only a help.
pub(super) fn recorded() -> Record {
    run_directory().map(|folder| record_in(&folder)).unwrap_or_default()
}

fn record_in(folder: &RunDirectory) -> Record {
    folder.read_state(RECORD).ok().flatten().and_then(|text| Record::from_text(&text)).unwrap_or_default()
}

fn write_record(folder: Option<&RunDirectory>, record: &Record) {
    let Some(folder) = folder else { return };
    let written = match record.started.is_empty() {
        true => folder.remove_state(RECORD),
        false => folder.write_state(RECORD, &record.to_text()),
    };
    if let Err(error) = written {
        log::warn!("{error}; `stop` will go by what it finds on the host");
    }
}

pub(super) fn default_routes(system: &mut System) -> Result<Vec<DefaultRoute>, SystemError> {
    let routes = system.default_routes()?;
    Ok(routes.iter().flat_map(ways_out).collect())
}

fn ways_out(route: &Route) -> impl Iterator<Item = DefaultRoute> + '_ {
    let hops = route.path.next_hops().iter();
    hops.filter_map(|hop| Some(DefaultRoute { device: hop.device.clone()?, gateway: hop.gateway, metric: route.metric }))
}

/// What lies on these devices; of all the host's policy rules, too.
fn observe(system: &mut System, devices: &[InterfaceName]) -> Result<Host, SystemError> {
    let keys: Vec<(Family, SysctlKey)> = moving_keys().collect();
    system.host_of(devices, Depth::Everything, &keys)
}

/// The same, the chains of others that would drop what `bridge` passes on, and the rules that an earlier start has put there. Without
/// rules the bridge is of use to the host itself, and so nothing here is an error.
fn observe_with_forwarding(system: &mut System, devices: &[InterfaceName], bridge: &InterfaceName) -> Result<Host, SystemError> {
    let mut host = observe(system, devices)?;
    if let Err(error) = system.observe_forwarding(&mut host, std::slice::from_ref(bridge)) {
        log::warn!("{error}; going on without rules that let guests pass");
    }
    if System::bridged_packets_in_chains() == Switch::Off {
        host.dropping_chains.clear();
    }
    Ok(host)
}
