//! Plans for hosts in case folders (tests/cases/plans), compared with what a human has reviewed, and laws that hold for all of them.
//!
//! A case is a folder: `call` holds the words of the command line, `host.json` the host, `plan` the expected outcome. `BLESS=1` writes
//! the last one anew, to be reviewed with `git diff`.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot go on is to fail

use std::fs;
use std::path::{Path, PathBuf};

use hotplug::dhcp::dnsmasq::{self, Dnsmasq, Interfaces};
use hotplug::dhcp::{Resolver, Server};
use hotplug::dry_run;
use hotplug::guest_filter::{GuestFilter, Tags, Way};
use hotplug::host::{Address, AdminState, Host, Route};
use hotplug::interface_name::InterfaceName;
use hotplug::operation::{HookCall, Operation, Service};
use hotplug::plan::network_bridge::{self, Asked, DefaultRoute, Names, Verdict};
use hotplug::plan::vif_bridge::BridgeAccepts;
use hotplug::plan::vif_routed::{Memory, Surroundings};
use hotplug::plan::{Plan, Refusal, network_nat, network_route, router, vif_bridge, vif_openvswitch, vif_routed};
use hotplug::request::antispoof::{Addresses, AntiSpoof, Suspect, Wishes};
use hotplug::request::bridge_port::{PortHardening, PortWish, Shown};
use hotplug::request::network_bridge::{Command, NetworkBridge};
use hotplug::request::network_nat::NetworkNat;
use hotplug::request::network_route::NetworkRoute;
use hotplug::request::openvswitch::{GuestIdentity, OvsBridge, external_ids};
use hotplug::request::routed::{Routed, RoutedWords, Routing};
use hotplug::request::vif::{BackendKeys, Cards, Coming, Vif, VifCall, VifWords, bridge_choice};
use hotplug::sessions::{Owner, SessionKey, Sessions};

/// Where network-route and network-nat keep their record.
const ROUTER_RECORD: &str = "/run/xen-network/netns-1/network-router.json";

/// The server that `dhcp=dnsmasq` stands for in a case.
fn dnsmasq() -> Server {
    Server::Dnsmasq(Dnsmasq {
        drop_in: dnsmasq::DROP_IN.into(),
        guests: dnsmasq::GUESTS.into(),
        service: Service::Systemd("dnsmasq.service".to_owned()),
        pid_file: None,
        interfaces: Interfaces::All,
        holder: None,
    })
}

struct Case {
    folder: PathBuf,
    program: String,
    words: Vec<String>,
    host: Host,
}

impl Case {
    fn variable(&self, name: &str) -> Option<&str> {
        self.words.iter().rev().find_map(|word| word.split_once('=').filter(|(key, _)| *key == name)).map(|(_, value)| value)
    }

    fn command(&self) -> &str {
        self.words.iter().find(|word| !word.contains('=')).unwrap()
    }

    fn plan(&self) -> Result<Plan, Refusal> {
        match self.program.as_str() {
            "network-bridge" => self.network_bridge(),
            "vif-bridge" => self.vif_bridge(),
            "vif-openvswitch" => self.vif_openvswitch(),
            "network-route" => self.router(Owner::NetworkRoute, self.command(), &self.host),
            "network-nat" => self.router(Owner::NetworkNat, self.command(), &self.host),
            "vif-route" => self.vif_routed(Routing::Plain),
            "vif-nat" => self.vif_routed(Routing::Translated),
            other => panic!("{}: no program {other}", self.folder.display()),
        }
    }

    fn default_routes(&self) -> Vec<DefaultRoute> {
        let routes = self.host.routes.iter().filter(|route| route.is_default());
        routes
            .flat_map(|route| route.path.next_hops().iter().map(move |hop| (route.metric, hop)))
            .map(|(metric, hop)| DefaultRoute { device: hop.device.clone().unwrap(), gateway: hop.gateway, metric })
            .collect()
    }

    fn network_bridge(&self) -> Result<Plan, Refusal> {
        let request = NetworkBridge::parse(self.command(), |name| self.variable(name))?;
        let Some(asked) = request.asked else { return Ok(Plan::nothing("bridge=null")) };
        let routes = self.default_routes();
        if request.command == Command::Stop {
            return match network_bridge::find_started(&asked, &[], &routes, &self.host) {
                Some(names) => network_bridge::stop(&names, &self.host, AdminState::Up),
                None => Ok(Plan::nothing("there is no such bridge")),
            };
        }
        let netdev = network_bridge::choose_netdev(&asked, &routes)?;
        let names = Names::new(netdev, asked.bridge.clone())?;
        match network_bridge::judge_start(&asked, &names, &self.host)? {
            Verdict::Nothing(why) => Ok(Plan::nothing(why)),
            Verdict::Go => Ok(network_bridge::start(&names, &self.host)),
        }
    }

    fn vif_call(&self) -> Result<Option<VifCall>, Refusal> {
        VifCall::parse(&VifWords {
            command: self.command(),
            type_if: self.variable("type_if"),
            vif: self.variable("vif"),
            interface: self.variable("INTERFACE"),
            xenbus_path: self.variable("XENBUS_PATH"),
        })
    }

    fn hooks(&self) -> Option<HookCall> {
        self.variable("hook").map(|hook| HookCall {
            hooks: vec![hook.to_owned()],
            program: format!("/etc/xen/scripts/{}", self.program),
            words: self.words.clone(),
            variables: vec![],
        })
    }

    /// network-route or network-nat, called with `command` and the case's other words on `host`.
    fn router(&self, program: Owner, command: &str, host: &Host) -> Result<Plan, Refusal> {
        let path = Path::new(ROUTER_RECORD);
        let text = host.files.get(path).cloned().flatten();
        let sessions = text.map(|text| Sessions::from_text(&text).unwrap()).unwrap_or_default();
        let record = router::Record { path, sessions: &sessions };
        let netdev = self.variable("netdev").map(|name| name.parse().unwrap());
        let bridge: Option<InterfaceName> = self.variable("bridge").map(|name| name.parse().unwrap());
        let asked = Asked { netdev: netdev.clone(), bridge: None };
        let uplink = network_bridge::choose_netdev(&asked, &self.default_routes())?;
        if command == "stop" {
            return match router::find(program, netdev.as_ref(), bridge.as_ref(), &uplink, &sessions)? {
                Some(key) => Ok(router::stop(&key, record, host)),
                None => Ok(Plan::nothing("not started")),
            };
        }
        let variable = |name: &str| self.variable(name);
        let server = (self.variable("dhcp") == Some("dnsmasq")).then(dnsmasq);
        let resolver = Resolver::parse("nameserver 192.168.1.1\nsearch example.org\n");
        let seen = router::Seen { netdev: &uplink, host, sessions: &sessions, server: server.as_ref(), resolver: &resolver };
        let wants = match program {
            Owner::NetworkRoute => network_route::wants(&NetworkRoute::parse(command, variable)?, seen)?,
            Owner::NetworkNat => network_nat::wants(&NetworkNat::parse(command, variable)?, seen)?,
        };
        router::start(&SessionKey { program, netdev: uplink, bridge }, &wants, record, host)
    }

    fn vif_routed(&self, routing: Routing) -> Result<Plan, Refusal> {
        let Some(call) = self.vif_call()? else { return Ok(Plan::default()) };
        let vif = Vif::new(&call, &BackendKeys::default(), |name| self.variable(name))?;
        let memory = Memory { path: format!("/run/xen-network/netns-1/{}.json", call.device).into() };
        let around = |uplink| Surroundings {
            uplink,
            memory: (routing == Routing::Plain).then_some(&memory),
            dhcp: None,
            filter: None,
            hooks: self.hooks(),
        };
        if call.coming == Coming::Goes {
            return Ok(vif_routed::offline(&vif, around(None), &self.host));
        }
        let words = RoutedWords {
            gateway: self.variable("gateway"),
            subnet: self.variable("subnet"),
            netdev: self.variable("netdev"),
            gatewaydev: self.variable("gatewaydev"),
            mac: self.variable("mac"),
        };
        let routed = Routed::new(vif, routing, &words)?;
        let defaults: Vec<Route> = self.host.routes.iter().filter(|route| route.is_default()).cloned().collect();
        let uplink = vif_routed::uplink_of(&routed, &defaults);
        let filter = match routed.vif.addresses.as_slice() {
            [] => self.filter(&routed.vif, Way::Routed, Addresses::WorkedOut(&routed.destinations), Tags::Refused)?,
            _ => self.filter(&routed.vif, Way::Routed, Addresses::Given(&routed.destinations), Tags::Refused)?,
        };
        vif_routed::online(&routed, Surroundings { filter, ..around(uplink.as_ref()) }, &self.host)
    }

    fn vif_openvswitch(&self) -> Result<Plan, Refusal> {
        let Some(call) = self.vif_call()? else { return Ok(Plan::default()) };
        let vif = Vif::new(&call, &BackendKeys::default(), |name| self.variable(name))?;
        if call.coming == Coming::Goes {
            return Ok(vif_openvswitch::offline(&vif, &self.host));
        }
        let bridge = OvsBridge::asked(self.variable("bridge"))?;
        let guest = GuestIdentity { name: Some("web".to_owned()), uuid: Some("6f1e0a5c-41b7-4b0e-9d35-0d0c8f2b7a01".to_owned()) };
        let ids = external_ids(&vif, &guest, self.variable("mac"), self.variable("iface_id"));
        vif_openvswitch::online(&vif, &bridge, ids, &self.host)
    }

    fn vif_bridge(&self) -> Result<Plan, Refusal> {
        let Some(call) = self.vif_call()? else { return Ok(Plan::default()) };
        let keys = BackendKeys::default();
        let vif = Vif::new(&call, &keys, |name| self.variable(name))?;
        let bridge = bridge_choice(None, self.variable("bridge"))?;
        let mut port = PortWish::parse(self.variable("vlan"), self.variable("isolated"))?;
        let filter = self.filter(&vif, Way::Bridged, Addresses::Given(&vif.addresses), port.tags())?;
        port.hardening = PortHardening::under(filter.as_ref(), Cards::of_vif_type(self.variable("type")));
        port.shown = Shown::under(filter.as_ref());
        let accepts = BridgeAccepts::OfItsGuests;
        let around = vif_bridge::Surroundings { bridge: &bridge, port: &port, filter, accepts, hooks: self.hooks() };
        vif_bridge::plan(call.coming, &vif, around, &self.host)
    }

    /// Cases that say no Ethernet address are older than the filter, and about something else.
    fn filter(&self, vif: &Vif, way: Way, addresses: Addresses<'_>, tags: Tags) -> Result<Option<GuestFilter>, Refusal> {
        let wishes = Wishes { own: AntiSpoof::parse(self.variable("antispoof"))?, of_network: None };
        let suspect = Suspect {
            device: vif.renamed.as_ref().unwrap_or(&vif.device),
            renamed_from: vif.renamed.as_ref().map(|_| &vif.device),
            way,
            mac: self.variable("mac"),
            addresses,
            tags,
        };
        if suspect.mac.is_none() { Ok(None) } else { wishes.filter(&suspect) }
    }
}

fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/plans");
    let mut cases = vec![];
    for program in fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()) {
        for folder in fs::read_dir(&program).unwrap().map(|entry| entry.unwrap().path()) {
            let read = |name: &str| {
                fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{}/{name}: {error}", folder.display()))
            };
            cases.push(Case {
                program: program.file_name().unwrap().to_str().unwrap().to_owned(),
                words: read("call").split_whitespace().map(str::to_owned).collect(),
                host: serde_json::from_str(&read("host.json")).unwrap_or_else(|error| panic!("{}: {error}", folder.display())),
                folder,
            });
        }
    }
    assert!(cases.len() >= 20, "only {} cases found", cases.len());
    cases
}

/// Only the order within a device and family is the kernel's; between devices it is of no account.
fn normal(host: &Host) -> Host {
    let mut host = host.clone();
    host.links.sort_by(|one, other| one.name.cmp(&other.name));
    host.addresses.sort_by_key(|address: &Address| (address.device.clone(), address.family()));
    host.routes.sort_by_key(|route| format!("{route:?}"));
    host.neighbours.sort_by_key(|neighbour| format!("{neighbour:?}"));
    host.rules.sort_by_key(|rule| format!("{rule:?}"));
    host.ovs_ports.sort_by(|one, other| one.device.cmp(&other.device));
    host.links.iter_mut().for_each(|link| link.index = None);
    host
}

fn perform(host: &Host, operations: &[Operation]) -> Host {
    operations.iter().fold(host.clone(), |host, operation| host.after(operation))
}

#[test]
fn plans_are_as_reviewed() {
    let mut wrong = vec![];
    for case in cases() {
        let text = match case.plan() {
            Ok(plan) => dry_run::as_text(&plan, &case.host),
            Err(refusal) => format!("refused: {refusal}\n"),
        };
        let expected = case.folder.join("plan");
        if std::env::var_os("BLESS").is_some() {
            fs::write(&expected, &text).unwrap();
        }
        if fs::read_to_string(&expected).unwrap_or_default() != text {
            wrong.push(format!("--- {}\n{text}", case.folder.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The undo law: whatever the step at which a plan stops, undoing leads back to the host as it was.
#[test]
fn every_prefix_of_every_plan_can_be_undone() {
    let mut prefixes = 0;
    for case in cases() {
        let Ok(plan) = case.plan() else { continue };
        let (mut host, mut inverses) = (case.host.clone(), vec![]);
        for (number, step) in plan.steps.iter().enumerate() {
            inverses.push(step.operation.inverse(&host));
            host = host.after(&step.operation);
            let undone = inverses.iter().rev().fold(host.clone(), |host, inverse| perform(&host, inverse));
            let place = format!("{} after step {} `{}`", case.folder.display(), number + 1, step.operation);
            similar_asserts::assert_eq!(normal(&undone), normal(&without_store(&case.host, &undone)), "{}", place);
            prefixes += 1;
        }
    }
    assert!(prefixes > 100, "only {prefixes} prefixes tried");
}

/// Keys of the store that were never looked at have nothing to go back to.
fn without_store(host: &Host, other: &Host) -> Host {
    Host { store: other.store.clone(), ..host.clone() }
}

/// After `start` everything is on the bridge and nothing on the port; `stop` leads back.
#[test]
fn stop_takes_start_back() {
    let mut tried = 0;
    for case in cases().into_iter().filter(|case| case.program == "network-bridge" && case.command() == "start") {
        let Ok(plan) = case.plan() else { continue };
        if plan.steps.is_empty() {
            continue;
        }
        let operations: Vec<_> = plan.steps.iter().map(|step| step.operation.clone()).collect();
        let started = perform(&case.host, &operations);
        let asked = NetworkBridge::parse("stop", |name| case.variable(name)).unwrap().asked.unwrap();
        let names = network_bridge::find_started(&asked, &[], &case.default_routes(), &started).expect("the bridge is found again");
        assert_eq!(started.addresses_of(&names.port).count(), 0, "{}", case.folder.display());
        assert_eq!(started.routes_over(&names.port).count(), 0, "{}", case.folder.display());
        assert_eq!(started.addresses_of(&names.bridge).count(), case.host.addresses_of(&names.netdev).count());
        let found = case.host.link(&names.netdev).unwrap().state;
        let back = network_bridge::stop(&names, &started, found).unwrap();
        let operations: Vec<_> = back.steps.iter().map(|step| step.operation.clone()).collect();
        let stopped = perform(&started, &operations);
        similar_asserts::assert_eq!(normal(&stopped), normal(&case.host), "{}", case.folder.display());
        tried += 1;
    }
    assert!(tried >= 6, "only {tried} cases were started");
}

/// Files that were not there before and are not there after are the same as none; so is a record without sessions.
fn without_absent_files(host: &Host) -> Host {
    let mut host = normal(host);
    host.files.retain(|_, text| text.is_some());
    host
}

/// `stop` of network-route and network-nat leads back to the host before the first `start`, however often that was called; and what the other
/// program started in between stays until it stops.
#[test]
fn a_router_stops_being_one() {
    let mut tried = 0;
    let routers = [("network-route", Owner::NetworkRoute), ("network-nat", Owner::NetworkNat)];
    for case in cases().into_iter().filter(|case| case.command() == "start" && case.host.files.values().all(Option::is_none)) {
        let Some((_, program)) = routers.into_iter().find(|(name, _)| case.program == *name) else { continue };
        let Ok(plan) = case.plan() else { continue };
        let done =
            |plan: &Plan, host: &Host| perform(host, &plan.steps.iter().map(|step| step.operation.clone()).collect::<Vec<_>>());
        let started = done(&plan, &case.host);
        let again = case.router(program, "start", &started).unwrap();
        assert_eq!(again.steps, [], "{}: a second start changes something", case.folder.display());
        let stopped = done(&case.router(program, "stop", &started).unwrap(), &started);
        similar_asserts::assert_eq!(without_absent_files(&stopped), without_absent_files(&case.host), "{}", case.folder.display());
        let other =
            Case { words: vec!["start".to_owned()], folder: case.folder.clone(), host: started.clone(), program: String::new() };
        let other_program = if program == Owner::NetworkNat { Owner::NetworkRoute } else { Owner::NetworkNat };
        let both = done(&other.router(other_program, "start", &started).unwrap(), &started);
        let one = done(&case.router(program, "stop", &both).unwrap(), &both);
        let alone = done(&other.router(other_program, "start", &case.host).unwrap(), &case.host);
        similar_asserts::assert_eq!(without_record(&one), without_record(&alone), "{}: the other alone", case.folder.display());
        let none = done(&other.router(other_program, "stop", &one).unwrap(), &one);
        similar_asserts::assert_eq!(
            without_absent_files(&none),
            without_absent_files(&case.host),
            "{}: both",
            case.folder.display()
        );
        tried += 1;
    }
    assert!(tried >= 12, "only {tried} cases were started");
}

/// The record lists things in the order in which they came.
fn without_record(host: &Host) -> Host {
    Host { files: [].into(), ..normal(host) }
}
