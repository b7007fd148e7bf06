//! One pass of `xen-network reload`.

use std::collections::BTreeMap;

use crate::apply::Run;
use crate::apply::journal::Journal;
use crate::dry_run;
use crate::guest_filter::{Tags, Way};
use crate::host::{Host, Switch};
use crate::interface_name::InterfaceName;
use crate::invocation::{Format, Invocation, Mode};
use crate::plan::reload::{Rules, Told, Verdict, reload};
use crate::plan::{Plan, Refusal};
use crate::report::{Report, Trouble};
use crate::request::antispoof::{Addresses, AntiSpoof, ROUTED_NETWORK, Suspect, TRANSLATED_NETWORK, Wishes};
use crate::request::bridge_port::PortWish;
use crate::request::routed::{Routed, RoutedWords, Routing};
use crate::request::vif::{BackendKeys, Coming, Vif, VifCall, VifKind};
use crate::sessions::Sessions;
use crate::system::backend::LiveBackend;
use crate::system::state::run_directory;
use crate::system::{System, SystemError};

/// Puts back all rules of ours that should be there, and takes away those that should not: after `nft flush ruleset`, or a reload of the
/// host's firewall. What guests are to be held to is read from XenStore.
///
/// # Errors
/// When XenStore or the kernel does not tell, or the rules cannot be set; those that were there stay then.
pub fn pass(invocation: &Invocation) -> Result<Report, Trouble> {
    let mut system = System::open();
    let (plan, host) = plan(&mut system)?;
    match (invocation.mode(), invocation.format()) {
        (Mode::DryRun, Format::Text) => return Ok(Report::printed(dry_run::as_text(&plan, &host))),
        (Mode::DryRun, Format::Json) => return Ok(Report::printed(dry_run::as_json(&plan, &host))),
        (Mode::Act, _) => {}
    }
    let mut run = Run::new(&mut system, Journal::None);
    let host = run.carry_out(&plan, host)?;
    let summary = format!("{} guests' interfaces are filtered", host.guest_filters.len());
    Ok(Report::of(run.finish(), plan.notes, summary))
}

/// What a reload would do now, on the host as it is.
pub(super) fn plan(system: &mut System) -> Result<(Plan, Host), Trouble> {
    let mut host = Host { links: system.every_link()?, guest_filters: system.every_guest_filter()?, ..Host::default() };
    system.observe_guest_damage(&mut host)?;
    let verdicts = verdicts(system, &host)?;
    let sessions = sessions();
    let bridged: Vec<InterfaceName> = match System::bridged_packets_in_chains() {
        Switch::On => super::network_bridge::recorded()
            .names()
            .into_iter()
            .map(|names| names.bridge)
            .filter(|bridge| host.link(bridge).is_some())
            .collect(),
        Switch::Off => vec![],
    };
    note_other_rules(system, &mut host, &verdicts, sessions.as_ref(), &bridged)?;
    let plan = reload(&verdicts, &Rules { sessions: sessions.as_ref(), bridged: &bridged }, &host);
    Ok((plan, host))
}

/// The words that the networks' programs have left, each read once.
#[derive(Default)]
struct Words(BTreeMap<String, Option<AntiSpoof>>);

impl Words {
    fn of(&mut self, network: &str, system: &mut System) -> Result<Option<AntiSpoof>, Trouble> {
        if let Some(word) = self.0.get(network) {
            return Ok(*word);
        }
        let word = super::vif::word_of_network(network, system)?;
        self.0.insert(network.to_owned(), word);
        Ok(word)
    }
}

fn verdicts(system: &mut System, host: &Host) -> Result<Vec<Verdict>, Trouble> {
    let mut words = Words::default();
    let mut verdicts = vec![];
    for live in system.live_backends()? {
        let Some(program) = VifProgram::of(&live.script) else { continue };
        for kind in [VifKind::Vif, VifKind::Tap] {
            match examine(&live, &program, kind, host, &mut words, system) {
                Ok(verdict) => verdicts.extend(verdict),
                Err(Trouble::Refused(refusal)) => {
                    log::warn!("{}: {refusal}; a filter that is there stays", live.backend.as_str());
                }
                Err(trouble) => return Err(trouble),
            }
        }
    }
    Ok(verdicts)
}

/// The program that serves an interface, as its backend's key `script` names it; xend puts words behind the name.
struct VifProgram<'a> {
    routing: Option<Routing>,
    words: Vec<(&'a str, &'a str)>,
}

impl<'a> VifProgram<'a> {
    /// Nothing for a program that is none of ours.
    fn of(script: &'a str) -> Option<Self> {
        let mut words = script.split_ascii_whitespace();
        let routing = match words.next()?.rsplit('/').next()? {
            "vif-bridge" => None,
            "vif-route" => Some(Routing::Plain),
            "vif-nat" => Some(Routing::Translated),
            _ => return None,
        };
        Some(Self { routing, words: words.filter_map(|word| word.split_once('=')).collect() })
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        self.words.iter().rev().find(|(word, _)| *word == name).map(|(_, value)| *value)
    }
}

/// What an interface is to be held to; nothing where it is not there.
fn examine(
    live: &LiveBackend,
    program: &VifProgram<'_>,
    kind: VifKind,
    host: &Host,
    words: &mut Words,
    system: &mut System,
) -> Result<Option<Verdict>, Trouble> {
    let suffix = if kind == VifKind::Tap { "-emu" } else { "" };
    let device: InterfaceName = format!("vif{}.{}{suffix}", live.domain, live.handle)
        .parse()
        .map_err(|error| Refusal::plain(format!("{} names no interface: {error}", live.backend.as_str())))?;
    let call = VifCall { coming: Coming::Comes, kind, device, backend: live.backend.clone() };
    let keys = BackendKeys::from_values(live.keys.clone())?;
    let vif = Vif::new(&call, &keys, |name| program.value(name))?;
    let Some(link) = vif.leftover(host) else { return Ok(None) };
    let (device, master) = (link.name.clone(), link.master.clone());
    let renamed_from = (device != vif.device).then(|| vif.device.clone());
    let said = |key: &Option<String>, name: &str| key.clone().or_else(|| program.value(name).map(str::to_owned));
    let mac = said(&keys.mac, "mac");
    let own = AntiSpoof::parse(said(&keys.antispoof, "antispoof").as_deref())?;
    let given = !vif.addresses.is_empty();
    let port = PortWish::parse(said(&keys.vlan, "vlan").as_deref(), None)?;
    let tags = if program.routing.is_none() { port.tags() } else { Tags::Refused };
    let (way, list, network) = match program.routing {
        None => (Way::Bridged, vif.addresses, master.map(String::from).unwrap_or_default()),
        Some(routing) => {
            let network = if routing == Routing::Plain { ROUTED_NETWORK } else { TRANSLATED_NETWORK };
            let routed =
                RoutedWords { subnet: program.value("subnet"), gateway: program.value("gateway"), ..RoutedWords::default() };
            (Way::Routed, Routed::new(vif, routing, &routed)?.destinations, network.to_owned())
        }
    };
    let of_network = if own.is_none() { words.of(&network, system)? } else { None };
    let addresses = if given { Addresses::Given(&list) } else { Addresses::WorkedOut(&list) };
    let suspect = Suspect { device: &device, renamed_from: renamed_from.as_ref(), way, mac: mac.as_deref(), addresses, tags };
    let filter = match (Wishes { own, of_network }).filter(&suspect)? {
        Some(filter) => Told::Filter(filter),
        None if own.or(of_network) == Some(AntiSpoof::No) => Told::Off,
        None => Told::Nothing,
    };
    Ok(Some(Verdict { device, way, filter }))
}

/// What network-nat and network-route remember. What cannot be read is passed over with a warning: the guests' filters do not depend on it.
fn sessions() -> Option<Sessions> {
    let read = run_directory().and_then(|folder| folder.read_state(super::router::RECORD)).map_err(|error| error.to_string());
    match read.and_then(|text| text.map(|text| Sessions::from_text(&text)).transpose()) {
        Ok(sessions) => sessions,
        Err(error) => {
            log::warn!("{error}; the rules of network-nat and network-route are not looked after");
            None
        }
    }
}

/// Notes what the plan looks at besides the filters.
fn note_other_rules(
    system: &mut System,
    host: &mut Host,
    verdicts: &[Verdict],
    sessions: Option<&Sessions>,
    bridged: &[InterfaceName],
) -> Result<(), SystemError> {
    let routed = verdicts.iter().filter(|verdict| verdict.way == Way::Routed).map(|verdict| &verdict.device);
    let private = sessions.into_iter().flat_map(Sessions::bridges);
    let devices: Vec<InterfaceName> = routed.chain(private).chain(bridged).cloned().collect();
    if !devices.is_empty() {
        system.observe_forwarding(host, &devices)?;
    }
    if sessions.is_some() {
        host.masquerades = system.masquerades()?;
    }
    Ok(())
}
