//! Every act of a plan made to fail in turn, on the running kernel: the run must end in an error that names the act, and the host must be
//! as it was.
//!
//! Each act fails in two ways: without having done anything, and after it was done all the same (as when the answer is lost).
#![allow(clippy::unwrap_used)] // Helpers of tests are tests; clippy only knows the functions marked so.

use std::time::Duration;

use hotplug::apply::journal::Journal;
use hotplug::apply::{Effects, Failure, FailureKind, Outcome, Run, Stopped};
use hotplug::dhcp::Resolver;
use hotplug::guest_filter::{self, GuestFilter, Tags};
use hotplug::host::{AdminState, Host, LiveRename, Switch};
use hotplug::interface_name::InterfaceName;
use hotplug::operation::Operation;
use hotplug::plan::layer3::moving_keys;
use hotplug::plan::network_bridge::{self, Names};
use hotplug::plan::vif_bridge::BridgeAccepts;
use hotplug::plan::vif_routed::{Memory, Surroundings};
use hotplug::plan::{OnFailure, Plan, network_nat, network_route, router, vif_bridge, vif_openvswitch, vif_routed};
use hotplug::request::antispoof::{Addresses, Suspect, Wishes};
use hotplug::request::bridge_port::{PortHardening, PortWish, Shown};
use hotplug::request::network_nat::NetworkNat;
use hotplug::request::network_route::NetworkRoute;
use hotplug::request::openvswitch::{OvsBridge, external_ids};
use hotplug::request::routed::{Routed, RoutedWords, Routing};
use hotplug::request::vif::{BACKEND_KEYS, BackendKeys, Vif, VifCall, VifWords, bridge_choice};
use hotplug::sessions::{Owner, SessionKey, Sessions};
use hotplug::system::{Depth, System};
use testbed::guest::{Dom0, Guest, Nic};
use testbed::machine::{Machine, wait_for};
use testbed::openvswitch;
use testbed::state::State;

#[path = "common/lan.rs"]
mod lan;

use lan::{Lan, ip_lines, settled};

/// How long the kernel may take to finish what it does after its answer.
const SETTLING: Duration = Duration::from_secs(5);

/// How an act fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Nothing was done.
    NotDone,
    /// It was done, and then reported as failed.
    DoneAllTheSame,
}

/// Whether acts are done, or those of a run that went through are taken back: no place for a fault of this test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Forward,
    Back,
}

/// The machine, on which one act fails.
struct Faulty {
    system: System,
    /// How many acts there were on the way forward.
    acts: usize,
    way: Way,
    fault: Option<(usize, Manner)>,
    /// The act that failed.
    failed: Option<Operation>,
}

impl Faulty {
    fn new(fault: Option<(usize, Manner)>) -> Self {
        Self { system: System::open(), acts: 0, way: Way::Forward, fault, failed: None }
    }
}

impl Effects for Faulty {
    fn perform(&mut self, operation: &Operation) -> Result<(), Failure> {
        if self.way == Way::Back {
            return self.system.perform(operation);
        }
        let number = self.acts;
        self.acts += 1;
        match self.fault {
            Some((place, manner)) if place == number => {
                self.failed = Some(operation.clone());
                if manner == Manner::DoneAllTheSame {
                    self.system.perform(operation)?;
                }
                Err(Failure::new(operation, "made to fail", FailureKind::Other))
            }
            _ => self.system.perform(operation),
        }
    }
}

/// What became of a run.
type Ending = Result<Outcome, Stopped>;

/// A way to run a plan on a machine: looks, plans, and carries it out; a run that does not fail is taken back at its end.
type Scenario<'a> = &'a (dyn Fn(&mut Faulty) -> Ending + Sync);

/// Fails each act of `scenario` in turn; returns the number of acts.
fn fail_everywhere(title: &str, machine: &Machine, scenario: Scenario<'_>) -> usize {
    let before = settled(machine);
    let play = |fault| {
        let played = machine.inside(|| {
            let mut faulty = Faulty::new(fault);
            let ending = scenario(&mut faulty);
            (ending, faulty.acts, faulty.failed)
        });
        played.unwrap()
    };
    let (ending, places, _) = play(None);
    ending.unwrap();
    assert!(as_before(machine, &before).is_empty(), "{title}: undone as a whole:\n{}", as_before(machine, &before).join("\n"));
    for manner in [Manner::NotDone, Manner::DoneAllTheSame] {
        for place in 0..places {
            let (ending, _, failed) = play(Some((place, manner)));
            let failed = failed.unwrap();
            let wrong: Vec<String> = complaint(&ending, &failed).into_iter().chain(as_before(machine, &before)).collect();
            // What is not undone would be found again at every act that follows.
            assert!(wrong.is_empty(), "{title}: act {place}, {manner:?}, `{failed}`:\n{}", wrong.join("\n"));
        }
    }
    println!("{title}: each of {places} acts failed in two ways");
    places
}

fn complaint(ending: &Ending, failed: &Operation) -> Option<String> {
    match ending {
        Ok(outcome) => match outcome.tolerated.iter().any(|failure| failure.act == failed.to_string()) {
            true => None,
            false => Some("the failure is nowhere told".to_owned()),
        },
        Err(Stopped::Undone(failure)) if failure.to_string().contains(&failed.to_string()) => None,
        Err(other) => Some(format!("ended with: {other}")),
    }
}

/// What differs from `before`, once the kernel has had time for its afterthoughts.
fn as_before(machine: &Machine, before: &State) -> Vec<String> {
    let now = || State::of(machine).unwrap();
    match wait_for("the state as before", SETTLING, || Ok(now() == *before)) {
        Ok(()) => vec![],
        Err(_) => before.difference(&now()).lines().to_vec(),
    }
}

fn name(text: &str) -> InterfaceName {
    text.parse().unwrap()
}

fn observe(system: &mut System, devices: &[InterfaceName], renaming: LiveRename) -> Host {
    let keys: Vec<_> = moving_keys().collect();
    let host = system.host_of(devices, Depth::Everything, &keys).unwrap();
    match renaming {
        LiveRename::Refused => Host { live_rename: renaming, ..host },
        LiveRename::Allowed => host,
    }
}

/// Ends a run that went through: it is taken back, so that the next one finds the host as before.
fn taken_back(mut run: Run<'_, Faulty>) -> Outcome {
    run.look(|faulty| {
        faulty.way = Way::Back;
        Ok::<_, Stopped>(())
    })
    .unwrap();
    let left = run.undo();
    assert!(left.is_empty(), "taking back a whole run: {left:?}");
    run.finish()
}

fn names(bridge: &str) -> Names {
    Names::new(name("eth0"), Some(name(bridge))).unwrap()
}

fn start(faulty: &mut Faulty, bridge: &str, renaming: LiveRename) -> Ending {
    let names = names(bridge);
    let devices = [names.bridge.clone(), names.port.clone(), names.netdev.clone()];
    let before = observe(&mut faulty.system, std::slice::from_ref(&names.netdev), renaming);
    let mut run = Run::new(faulty, Journal::None);
    run.carry_out(&network_bridge::start(&names, &before), before.clone())?;
    let found = run.look(|faulty| Ok::<_, Stopped>(observe(&mut faulty.system, &devices, renaming)))?;
    let gateway = "192.168.1.1".parse().ok();
    run.carry_out(&network_bridge::after_start(&names, &before, &found, gateway), found)?;
    Ok(taken_back(run))
}

fn stop(faulty: &mut Faulty, bridge: &str, renaming: LiveRename) -> Ending {
    let names = names(bridge);
    let system = &mut faulty.system;
    let mut before = observe(system, std::slice::from_ref(&names.bridge), renaming);
    let port = observe(system, std::slice::from_ref(&names.port), renaming);
    before.links.extend(port.links);
    before.sysctls.extend(port.sysctls);
    let devices = [names.bridge.clone(), names.port.clone(), names.netdev.clone()];
    let plan = network_bridge::stop(&names, &before, AdminState::Up).unwrap();
    let mut run = Run::new(faulty, Journal::None);
    run.carry_out(&plan, before.clone())?;
    let found = run.look(|faulty| Ok::<_, Stopped>(observe(&mut faulty.system, &devices, renaming)))?;
    run.carry_out(&network_bridge::after_stop(&names, &before, &found), found)?;
    Ok(taken_back(run))
}

fn start_everywhere(bridge: &str, renaming: LiveRename) {
    let lan = Lan::rich();
    let places =
        fail_everywhere(&format!("start, bridge={bridge}, {renaming:?}"), &lan.dom0, &|faulty| start(faulty, bridge, renaming));
    let expected = if renaming == LiveRename::Refused { 35 } else { 40 };
    assert!(places >= expected, "only {places} places");
}

fn stop_everywhere(bridge: &str, renaming: LiveRename) {
    let lan = Lan::rich();
    lan.succeed(&format!("start netdev=eth0 bridge={bridge}"));
    let places =
        fail_everywhere(&format!("stop, bridge={bridge}, {renaming:?}"), &lan.dom0, &|faulty| stop(faulty, bridge, renaming));
    assert!(places >= 30, "only {places} places");
}

#[test]
fn start_with_renaming_while_up() {
    start_everywhere("eth0", LiveRename::Allowed);
}

#[test]
fn start_with_renaming_while_down() {
    start_everywhere("eth0", LiveRename::Refused);
}

#[test]
fn start_with_a_bridge_of_another_name() {
    start_everywhere("xenbr0", LiveRename::Allowed);
}

#[test]
fn stop_with_renaming_while_up() {
    stop_everywhere("eth0", LiveRename::Allowed);
}

#[test]
fn stop_with_renaming_while_down() {
    stop_everywhere("eth0", LiveRename::Refused);
}

#[test]
fn stop_with_a_bridge_of_another_name() {
    stop_everywhere("xenbr0", LiveRename::Allowed);
}

/// What vif-bridge does once it has read the store.
fn online(faulty: &mut Faulty, port: &PortWish) -> Ending {
    let words = VifWords { command: "online", vif: Some("vif1.0"), xenbus_path: Some("backend/vif/1/0"), ..VifWords::default() };
    let call = VifCall::parse(&words).unwrap().unwrap();
    let system = &mut faulty.system;
    let values = system.read_backend(&call.backend).unwrap().keys;
    assert_eq!(values.len(), BACKEND_KEYS.len());
    let keys = BackendKeys::from_values(values).unwrap();
    let vif = Vif::new(&call, &keys, |_| None).unwrap();
    let bridge = bridge_choice(keys.bridge.as_deref(), None).unwrap();
    let devices = [name("vif1.0"), name("guest"), name("xenbr0")];
    let host = system.host_of(&devices, Depth::Addresses, &[]).unwrap();
    let filter = filter(&vif, guest_filter::Way::Bridged, &keys);
    let around = vif_bridge::Surroundings { bridge: &bridge, port, filter, accepts: BridgeAccepts::OfItsGuests, hooks: None };
    let plan = vif_bridge::online(&vif, around, &host).unwrap();
    assert!(must_acts(&plan) >= 4, "{plan:?}");
    let mut run = Run::new(faulty, Journal::None);
    run.carry_out(&plan, host)?;
    Ok(taken_back(run))
}

fn filter(vif: &Vif, way: guest_filter::Way, keys: &BackendKeys) -> Option<GuestFilter> {
    let suspect = Suspect {
        device: vif.renamed.as_ref().unwrap_or(&vif.device),
        renamed_from: vif.renamed.as_ref().map(|_| &vif.device),
        way,
        mac: keys.mac.as_deref(),
        addresses: Addresses::Given(&vif.addresses),
        tags: Tags::Refused,
    };
    Wishes::default().filter(&suspect).unwrap()
}

fn must_acts(plan: &Plan) -> usize {
    plan.steps.iter().filter(|step| step.on_failure == OnFailure::Abort).count()
}

#[test]
fn vif_online_with_name_and_mtu() {
    fail_vif_online_everywhere(&PortWish::default(), 5);
}

#[test]
fn vif_online_of_a_hardened_port() {
    let hardening = PortHardening::Fixed("00:16:3e:00:01:00".parse().unwrap());
    fail_vif_online_everywhere(&PortWish { vlans: None, isolated: Some(Switch::On), hardening, shown: Shown::All }, 8);
}

fn fail_vif_online_everywhere(port: &PortWish, expected: usize) {
    let dom0 = Dom0::new("dom0").unwrap();
    let guest = Guest::new(1).unwrap();
    for machine in [dom0.machine(), guest.machine()] {
        machine.set_sysctl("net.ipv6.conf.default.accept_dad", "0").unwrap();
    }
    let nic =
        Nic { mtu: Some(1400), vifname: Some("guest".to_owned()), ip: Some("192.168.1.7".to_owned()), ..Nic::on_bridge("xenbr0") };
    let _vif = guest.attach(&dom0, nic).unwrap();
    guest.machine().ip("link set eth0 up").unwrap();
    // A port that is up from the beginning keeps the bridge's own state out of what is compared.
    ip_lines(
        dom0.machine(),
        "link add xenbr0 address 02:00:00:00:00:01 type bridge stp_state 0 forward_delay 0
         link add in0 address 02:00:00:00:00:02 type veth peer name out0 address 02:00:00:00:00:03
         link set in0 master xenbr0
         link set in0 up
         link set out0 up
         link set xenbr0 up
         link set vif1.0 address 02:00:00:00:00:04
         address add 192.168.9.9/24 dev vif1.0",
    );
    let places = fail_everywhere("vif-bridge online", dom0.machine(), &|faulty| online(faulty, port));
    assert!(places >= expected, "only {places} places");
}

/// What vif-openvswitch does once it has read the store.
fn online_switched(faulty: &mut Faulty) -> Ending {
    let words = VifWords { command: "online", vif: Some("vif1.0"), xenbus_path: Some("backend/vif/1/0"), ..VifWords::default() };
    let call = VifCall::parse(&words).unwrap().unwrap();
    let system = &mut faulty.system;
    let keys = BackendKeys::from_values(system.read_backend(&call.backend).unwrap().keys).unwrap();
    let vif = Vif::new(&call, &keys, |_| None).unwrap();
    let bridge = OvsBridge::asked(keys.bridge.as_deref()).unwrap();
    let mut host = system.host_of(&[name("vif1.0"), name("guest")], Depth::Addresses, &[]).unwrap();
    system.note_ovs_ports(&mut host, &vif, Some(&bridge.name)).unwrap();
    let ids = external_ids(&vif, &system.read_guest(1), keys.mac.as_deref(), None);
    let plan = vif_openvswitch::online(&vif, &bridge, ids, &host).unwrap();
    let mut run = Run::new(faulty, Journal::None);
    run.carry_out(&plan, host)?;
    Ok(taken_back(run))
}

/// Over a port that another guest has left, which is there again afterwards with its VLANs and its ids.
#[test]
fn vif_online_on_a_switch() {
    let dom0 = Dom0::new("dom0").unwrap();
    let guest = Guest::new(1).unwrap();
    for machine in [dom0.machine(), guest.machine()] {
        machine.set_sysctl("net.ipv6.conf.default.accept_dad", "0").unwrap();
    }
    let switch = openvswitch::Switch::start(dom0.machine(), &[]).unwrap();
    switch.add_bridge("ovsbr0").unwrap();
    let nic = Nic { mtu: Some(1400), vifname: Some("guest".to_owned()), ..Nic::on_bridge("ovsbr0.7") };
    let _vif = guest.attach(&dom0, nic).unwrap();
    guest.machine().ip("link set eth0 up").unwrap();
    ip_lines(dom0.machine(), "link set vif1.0 address 02:00:00:00:00:04\naddress add 192.168.9.9/24 dev vif1.0");
    let left = "--no-wait add-port ovsbr0 guest trunks=10,20 -- set interface guest external-ids:xen-vm-uuid=gone external-ids:xen-vif=vif9.0";
    switch.vsctl(left).unwrap();
    let before = switch.ports().unwrap();
    let places = fail_everywhere("vif-openvswitch online", dom0.machine(), &online_switched);
    assert!(places >= 7, "only {places} places");
    assert_eq!(switch.ports().unwrap(), before);
}

/// What vif-route and vif-nat do once they have read the store.
fn online_routed(faulty: &mut Faulty, routing: Routing) -> Ending {
    let words = VifWords { command: "online", vif: Some("vif1.0"), xenbus_path: Some("backend/vif/1/0"), ..VifWords::default() };
    let call = VifCall::parse(&words).unwrap().unwrap();
    let system = &mut faulty.system;
    let keys = BackendKeys::from_values(system.read_backend(&call.backend).unwrap().keys).unwrap();
    let vif = Vif::new(&call, &keys, |_| None).unwrap();
    let words = RoutedWords { mac: keys.mac.as_deref(), ..RoutedWords::default() };
    let routed = Routed::new(vif, routing, &words).unwrap();
    let (device, uplink, memory) = (name("vif1.0"), name("eth0"), Memory { path: "/run/vif1.0.json".into() });
    let mut host = system.host_of(&[device.clone(), name("guest"), uplink.clone()], Depth::Everything, &[]).unwrap();
    for sysctl in vif_routed::settings_of(&routed, &device) {
        system.note_sysctl(&mut host, sysctl).unwrap();
    }
    system.note_file(&mut host, &memory.path).unwrap();
    system.observe_forwarding(&mut host, &[device]).unwrap();
    let filter = filter(&routed.vif, guest_filter::Way::Routed, &keys);
    let around = Surroundings { uplink: Some(&uplink), memory: Some(&memory), dhcp: None, filter, hooks: None };
    let plan = vif_routed::online(&routed, around, &host).unwrap();
    assert!(must_acts(&plan) >= 9, "{plan:?}");
    let mut run = Run::new(faulty, Journal::None);
    run.carry_out(&plan, host)?;
    Ok(taken_back(run))
}

/// A routed vif with addresses of both families and a name of its own, where a chain of the administrator's drops.
fn fail_routed_everywhere(script: &str, routing: Routing) {
    let dom0 = Dom0::new("dom0").unwrap();
    let guest = Guest::new(1).unwrap();
    for machine in [dom0.machine(), guest.machine()] {
        machine.set_sysctl("net.ipv6.conf.default.accept_dad", "0").unwrap();
    }
    let nic = Nic { mtu: Some(1400), vifname: Some("guest".to_owned()), ..Nic::routed(script, "192.168.2.1 2001:db8:1::7") };
    let _vif = guest.attach(&dom0, nic).unwrap();
    guest.machine().ip("link set eth0 up").unwrap();
    ip_lines(
        dom0.machine(),
        "link add eth0 address 02:00:00:00:00:02 type veth peer name far0 address 02:00:00:00:00:03
         link set far0 up
         link set eth0 up
         address add 192.168.1.100/24 dev eth0
         address add 2001:db8:1::100/64 dev eth0
         route add default via 192.168.1.1 dev eth0",
    );
    let chain = "table inet admin { chain forward { type filter hook forward priority 0; policy drop; }; }";
    dom0.machine().run("nft", [chain]).unwrap();
    let places = fail_everywhere(&format!("{script} online"), dom0.machine(), &|faulty| online_routed(faulty, routing));
    assert!(places >= 10, "only {places} places");
}

#[test]
fn vif_route_online_with_both_families() {
    fail_routed_everywhere("vif-route", Routing::Plain);
}

#[test]
fn vif_nat_online_with_both_families() {
    fail_routed_everywhere("vif-nat", Routing::Translated);
}

/// Where the record of the host's sessions would be; a test has a host of its own, and so a record of its own.
const ROUTER_RECORD: &str = "/run/network-router.json";

/// What network-route and network-nat look at.
fn observe_router(system: &mut System) -> (Host, Sessions) {
    let keys: Vec<_> = router::device_keys().collect();
    let mut host = system.host_of(&[name("eth0"), name("br0")], Depth::Everything, &keys).unwrap();
    host.sysctls.extend(system.settings_of_all(&keys).unwrap());
    for sysctl in router::host_settings() {
        system.note_sysctl(&mut host, sysctl).unwrap();
    }
    host.links.extend(system.ports_of(&name("br0")).unwrap());
    host.masquerades = system.masquerades().unwrap();
    system.observe_forwarding(&mut host, &[name("br0")]).unwrap();
    system.note_file(&mut host, ROUTER_RECORD.as_ref()).unwrap();
    let text = host.files.values().next().cloned().flatten();
    let sessions = text.map(|text| Sessions::from_text(&text).unwrap()).unwrap_or_default();
    (host, sessions)
}

fn session(program: Owner, bridge: Option<&str>) -> SessionKey {
    SessionKey { program, netdev: name("eth0"), bridge: bridge.map(name) }
}

/// The plan of a `start` with these variables.
fn start_of_router(system: &mut System, program: Owner, words: &[(&str, &str)]) -> (Plan, Host) {
    let (host, sessions) = observe_router(system);
    let variable = |name: &str| words.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    let (netdev, resolver) = (name("eth0"), Resolver::default());
    let seen = router::Seen { netdev: &netdev, host: &host, sessions: &sessions, server: None, resolver: &resolver };
    let wants = match program {
        Owner::NetworkRoute => network_route::wants(&NetworkRoute::parse("start", variable).unwrap(), seen).unwrap(),
        Owner::NetworkNat => network_nat::wants(&NetworkNat::parse("start", variable).unwrap(), seen).unwrap(),
    };
    let record = router::Record { path: ROUTER_RECORD.as_ref(), sessions: &sessions };
    (router::start(&session(program, variable("bridge")), &wants, record, &host).unwrap(), host)
}

fn start_router(faulty: &mut Faulty, program: Owner, words: &[(&str, &str)]) -> Ending {
    let (plan, host) = start_of_router(&mut faulty.system, program, words);
    let mut run = Run::new(faulty, Journal::None);
    run.carry_out(&plan, host)?;
    Ok(taken_back(run))
}

fn stop_router(faulty: &mut Faulty, program: Owner, bridge: Option<&str>) -> Ending {
    let (host, sessions) = observe_router(&mut faulty.system);
    let record = router::Record { path: ROUTER_RECORD.as_ref(), sessions: &sessions };
    let plan = router::stop(&session(program, bridge), record, &host);
    let mut run = Run::new(faulty, Journal::None);
    run.carry_out(&plan, host)?;
    Ok(taken_back(run))
}

/// A host whose filter drops what it forwards, and one device of which forwards already.
fn lan_of_router() -> Lan {
    let lan = Lan::rich();
    lan.dom0.set_sysctl("net.ipv4.conf.eth1.forwarding", "1").unwrap();
    lan.dom0.set_sysctl("net.ipv6.conf.eth1.forwarding", "1").unwrap();
    let chain = "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }";
    lan.dom0.shell(&format!("nft '{chain}'")).unwrap();
    lan
}

const PRIVATE_BRIDGE: [(&str, &str); 3] = [("bridge", "br0"), ("address", "192.168.2.1/24 fd00:2::1/64"), ("ipv6", "nat")];

#[test]
fn network_route_starts() {
    let lan = lan_of_router();
    let words = [("masquerade", "yes"), ("ipv6", "nat")];
    let places = fail_everywhere("network-route start", &lan.dom0, &|faulty| start_router(faulty, Owner::NetworkRoute, &words));
    assert!(places >= 8, "only {places} places");
}

#[test]
fn network_nat_starts() {
    let lan = lan_of_router();
    let places =
        fail_everywhere("network-nat start", &lan.dom0, &|faulty| start_router(faulty, Owner::NetworkNat, &PRIVATE_BRIDGE));
    assert!(places >= 11, "only {places} places");
}

/// Leaves the host as `start` with these variables would.
fn router_started(program: Owner, words: &[(&str, &str)]) -> Lan {
    let lan = lan_of_router();
    let run = || {
        let mut system = System::open();
        let (plan, host) = start_of_router(&mut system, program, words);
        let mut run = Run::new(&mut system, Journal::None);
        run.carry_out(&plan, host).unwrap();
        run.finish().tolerated
    };
    assert_eq!(lan.dom0.inside(run).unwrap(), []);
    lan
}

#[test]
fn network_route_stops() {
    let lan = router_started(Owner::NetworkRoute, &[("masquerade", "yes"), ("ipv6", "nat")]);
    let places = fail_everywhere("network-route stop", &lan.dom0, &|faulty| stop_router(faulty, Owner::NetworkRoute, None));
    assert!(places >= 9, "only {places} places");
}

#[test]
fn network_nat_stops() {
    let lan = router_started(Owner::NetworkNat, &PRIVATE_BRIDGE);
    // A port that is up keeps the bridge's own state, which shows whether it was made with an address, out of what is compared.
    ip_lines(
        &lan.dom0,
        "link add in0 address 02:00:00:00:00:02 type veth peer name out0 address 02:00:00:00:00:03
         link set in0 master br0
         link set in0 up
         link set out0 up",
    );
    let places = fail_everywhere("network-nat stop", &lan.dom0, &|faulty| stop_router(faulty, Owner::NetworkNat, Some("br0")));
    assert!(places >= 10, "only {places} places");
}
