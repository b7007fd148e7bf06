//! One pass of a vif program, as far as it is the same for all of them: the backend's keys in XenStore, the hooks, and word of a failure.

use std::time::Duration;

use xenstore::StorePath;

use crate::apply::journal::Journal;
use crate::apply::{FailureKind, Run};
use crate::dry_run;
use crate::guest_filter::{GuestFilter, Tags, Way};
use crate::host::{AdminState, Host};
use crate::interface_name::InterfaceName;
use crate::invocation::{Caller, Format, Invocation, Mode};
use crate::operation::{HookCall, Operation, StoreEntry};
use crate::plan::{Plan, Refusal};
use crate::report::{Report, Trouble};
use crate::request::antispoof::{Addresses, AntiSpoof, Suspect, Wishes};
use crate::request::vif::{BackendKeys, Coming, Vif, VifCall, VifWords};
use crate::system::lock::{self, DeviceLock, Lock};
use crate::system::state::state_path;
use crate::system::{System, hooks, patience, privilege};

/// What is known of a call once XenStore has been asked.
pub(super) struct Asked<'a> {
    /// The call.
    pub invocation: &'a Invocation,
    /// Which vif, and whether it comes or goes.
    pub call: &'a VifCall,
    /// The backend's keys, as they were read.
    pub keys: &'a BackendKeys,
    /// The vif.
    pub vif: Vif,
    /// The hooks to run, if there are any.
    pub hooks: Option<HookCall>,
    /// What keeps other runs for this vif away, unless nothing is to be done.
    pub lock: Option<DeviceLock>,
}

impl Asked<'_> {
    /// A value from the store, else from the command line or the environment. An empty one counts as none.
    pub fn value<'a>(&'a self, key: Option<&'a str>, variable: &str) -> Option<&'a str> {
        key.or_else(|| self.invocation.variable(variable)).filter(|text| !text.is_empty())
    }

    /// What the guest is held to. `network` is what its network is called, for which a word may have been left that counts where the guest
    /// has none of its own.
    pub fn filter(
        &self,
        way: Way,
        addresses: Addresses<'_>,
        network: &str,
        tags: Tags,
        system: &mut System,
    ) -> Result<Option<GuestFilter>, Trouble> {
        let own = AntiSpoof::parse(self.value(self.keys.antispoof.as_deref(), "antispoof"))?;
        let of_network = match own {
            Some(_) => None,
            None => word_of_network(network, system)?,
        };
        let suspect = Suspect {
            device: self.vif.renamed.as_ref().unwrap_or(&self.vif.device),
            renamed_from: self.vif.renamed.as_ref().map(|_| &self.vif.device),
            way,
            mac: self.value(self.keys.mac.as_deref(), "mac"),
            addresses,
            tags,
        };
        Ok(Wishes { own, of_network }.filter(&suspect)?)
    }

    /// The device, under any of its names, and its addresses. Where it goes, what is gone already is not waited for.
    pub fn observe_device(&self, system: &mut System) -> Result<Host, Trouble> {
        let names: Vec<InterfaceName> = match self.call.coming {
            Coming::Comes => self.vif.names().cloned().collect(),
            Coming::Goes => System::left_of(self.vif.names()),
        };
        let mut host = Host { links: system.links(&names)?, ..Host::default() };
        if let Some(device) = self.vif.leftover(&host).map(|link| link.name.clone()) {
            host.addresses = system.addresses(&device)?;
        }
        Ok(host)
    }

    /// Notes the filters that the vif has under any of its names. One whose interface is up already may have come in another way before.
    pub fn note_filters(&self, way: Way, system: &mut System, host: &mut Host) -> Result<(), Trouble> {
        let names: Vec<InterfaceName> = self.vif.names().cloned().collect();
        if self.call.coming == Coming::Goes {
            return Ok(system.observe_guest_filters_left(host, way, &names)?);
        }
        system.observe_guest_filters(host, way, &names)?;
        if self.vif.leftover(host).is_some_and(|link| link.state == AdminState::Up) {
            system.observe_guest_filters_left(host, way.other(), &names)?;
        }
        Ok(())
    }
}

/// What the network-wide program has left for the guests of a network; a word that makes no sense is as good as the strictest.
pub(super) fn word_of_network(network: &str, system: &mut System) -> Result<Option<AntiSpoof>, Trouble> {
    let Ok(path) = state_path(&AntiSpoof::file_name(network)) else { return Ok(None) };
    let mut host = Host::default();
    system.note_file(&mut host, &path)?;
    let word = host.files.remove(&path).flatten();
    Ok(word.map(|word| AntiSpoof::parse(Some(word.trim())).ok().flatten().unwrap_or(AntiSpoof::Strict)))
}

/// What was decided: the plan, and the host it was made for.
pub(super) struct Decision {
    /// What to do.
    pub plan: Plan,
    /// The host as it was seen.
    pub host: Host,
    /// What keeps others away while it is done.
    pub lock: Option<Lock>,
}

/// Whether a program runs the hooks in `vif-post.d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hooks {
    /// It does.
    Sourced,
    /// It does not, as the script of its name does not.
    None,
}

/// How a program decides.
pub(super) type Decide = fn(&Asked<'_>, &mut System) -> Result<Decision, Trouble>;

/// Serves a call of a vif program that decides by `decide`, and whose guests' frames are filtered as they come in by `way`.
///
/// # Errors
/// When the interface could not be set up; the guest's toolstack has then been told through XenStore.
pub(super) fn pass(invocation: &Invocation, way: Option<Way>, hooks: Hooks, decide: Decide) -> Result<Report, Trouble> {
    let words = VifWords {
        command: invocation.command(),
        type_if: invocation.variable("type_if"),
        vif: invocation.variable("vif"),
        interface: invocation.variable("INTERFACE"),
        xenbus_path: invocation.variable("XENBUS_PATH"),
    };
    patience::begin(patience::OF_A_VIF);
    let mut system = System::without_news();
    let result = match VifCall::parse(&words) {
        Ok(Some(call)) => serve(invocation, &call, way, hooks, &mut system, decide),
        Ok(None) => Ok(Report::silent()),
        Err(refusal) => Err(refusal.into()),
    };
    if let (Err(trouble), Some(backend), Mode::Act) = (&result, words.waiting_backend(), invocation.mode()) {
        tell_toolstack(&mut system, &backend, trouble);
    }
    result
}

fn serve(
    invocation: &Invocation,
    call: &VifCall,
    way: Option<Way>,
    hooks: Hooks,
    system: &mut System,
    decide: Decide,
) -> Result<Report, Trouble> {
    let keys = match read_backend(invocation, call, system) {
        Ok(Some(keys)) => keys,
        Ok(None) => return Ok(Report::silent()),
        // A store that does not answer must not keep a dead guest's interface in its place.
        Err(trouble) if call.coming == Coming::Goes => {
            log::warn!("{trouble}; going on with what the command line says");
            BackendKeys::default()
        }
        Err(trouble) => return Err(trouble),
    };
    let lock = match invocation.mode() {
        Mode::Act => alone_with(call)?,
        Mode::DryRun => None,
    };
    let hooks = match hooks {
        Hooks::Sourced => hook_call(invocation)?,
        Hooks::None => None,
    };
    let mut vif = describe(invocation, call, &keys)?;
    if let (Coming::Goes, None, Some(way)) = (call.coming, &vif.renamed, way)
        && keys == BackendKeys::default()
    {
        vif.renamed = name_without_store(&vif, way, system);
    }
    let asked = Asked { vif, hooks, invocation, call, keys: &keys, lock };
    let Decision { plan, host, lock: _lock } = decide(&asked, system)?;
    match (invocation.mode(), invocation.format()) {
        (Mode::DryRun, Format::Text) => Ok(Report::printed(dry_run::as_text(&plan, &host))),
        (Mode::DryRun, Format::Json) => Ok(Report::printed(dry_run::as_json(&plan, &host))),
        (Mode::Act, _) => carry_out(invocation, &asked.vif, &plan, host, system),
    }
}

/// How long another run for the same interface may take: together with it, this one is to end before a toolstack loses patience.
const ALONE_LIMIT: Duration = Duration::from_secs(15);

/// Keeps other runs for this interface away. Numbers of domains are used again: an `offline` that is late must not take the filter of a new guest's
/// interface that has come up between its look and its act.
fn alone_with(call: &VifCall) -> Result<Option<DeviceLock>, Refusal> {
    match lock::claim_device(&call.device, ALONE_LIMIT) {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if call.coming == Coming::Goes => {
            log::warn!("{error}; going on all the same");
            Ok(None)
        }
        Err(error) => Err(Refusal {
            for_guest: "The interface could not be set up: another run is at work on it".to_owned(),
            reason: error.to_string(),
        }),
    }
}

/// With XenStore's entry gone, only the filter of a renamed interface still tells what it is called.
fn name_without_store(vif: &Vif, way: Way, system: &mut System) -> Option<InterfaceName> {
    system.renamed_guest(way, &vif.device).unwrap_or_else(|error| {
        log::warn!("{error}; going on as if it had no name of its own");
        None
    })
}

fn carry_out(invocation: &Invocation, vif: &Vif, plan: &Plan, host: Host, system: &mut System) -> Result<Report, Trouble> {
    // No journal: a vif that a killed run left half set up is set up whole by the next online, and taken down by offline.
    if !plan.steps.iter().any(|step| step.operation.starts_a_program()) {
        privilege::start_no_more();
    }
    let mut run = Run::new(system, Journal::None);
    run.carry_out(plan, host)?;
    let summary = format!("{} {} of {}: done", invocation.program().name, invocation.command(), vif.device);
    Ok(Report::of(run.finish(), plan.notes.clone(), summary))
}

/// What XenStore says of the vif; `None` when this call is not meant for us: udev calls, but the toolstack does so itself.
fn read_backend(invocation: &Invocation, call: &VifCall, system: &mut System) -> Result<Option<BackendKeys>, Trouble> {
    let values = system.read_backend(&call.backend)?;
    if invocation.caller() == Caller::Udev && values.udev_disabled {
        return Ok(None);
    }
    Ok(Some(BackendKeys::from_values(values.keys)?))
}

/// A vif that goes is taken down even when its configuration is broken.
fn describe(invocation: &Invocation, call: &VifCall, keys: &BackendKeys) -> Result<Vif, Refusal> {
    let described = Vif::new(call, keys, |name| invocation.variable(name));
    match (described, call.coming) {
        (Err(_), Coming::Goes) => Ok(Vif::bare(call, keys)),
        (described, _) => described,
    }
}

fn hook_call(invocation: &Invocation) -> Result<Option<HookCall>, Refusal> {
    let found = hooks::find(invocation.path()).map_err(|error| Refusal {
        for_guest: "The interface could not be set up: see the host's log".to_owned(),
        reason: error,
    })?;
    if found.is_empty() {
        return Ok(None);
    }
    let mut variables: Vec<(String, String)> =
        invocation.variables().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    variables.push(("command".to_owned(), invocation.command().to_owned()));
    variables.push(("type_if".to_owned(), invocation.variable("type_if").unwrap_or("vif").to_owned()));
    Ok(Some(HookCall { hooks: found, program: invocation.path().to_owned(), words: invocation.words().to_vec(), variables }))
}

/// Most of a sentence that is written to the store, in characters: none of them takes more than four bytes, and one write no more than 4096
/// (`XENSTORE_PAYLOAD_MAX` in Xen's xs_wire.h).
const SENTENCE_MAX: usize = 500;

/// One write: the sentence that the toolstack logs, and the word that it waits for. Nothing is written where the folder of the
/// backend is gone, or it would come into being again and stay.
fn tell_toolstack(system: &mut System, backend: &StorePath, trouble: &Trouble) {
    let entry = |key: &str, value: String| StoreEntry { path: format!("{}/{key}", backend.as_str()), value };
    let entries = vec![
        entry("hotplug-error", trouble.for_guest().chars().take(SENTENCE_MAX).collect()),
        entry("hotplug-status", "error".to_owned()),
    ];
    match system.write_if_there(backend, &entries) {
        Ok(()) => {}
        Err(failure) if failure.kind == FailureKind::Absent => {}
        // The trouble was that nothing could be asked: most likely of the store, and then the same is not worth a second line.
        Err(failure) if matches!(trouble, Trouble::System(_)) => log::debug!("{failure}"),
        Err(failure) => log::warn!("{}", crate::apply::Failure::new(&Operation::WriteStore(entries), failure.cause, failure.kind)),
    }
}
