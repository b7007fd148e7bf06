//! Hosts on which programs are killed or refused what they ask, and what is seen of them.

#![allow(dead_code)] // Each suite uses some of it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use testbed::bench::process::Call;
use testbed::guest::{Dom0, Emulation, Guest, Hotplug, Nic, Outcome, Vif};
use testbed::machine::{Machine, Programs, wait_for};
use testbed::openvswitch::Switch;
use testbed::ovn::write_identity;
use testbed::state::{State, difference, look_at_carriers};

use crate::lan::{Lan, SCRIPTS, ip_lines};

#[path = "dhcp_server.rs"]
mod dhcp_server;

use dhcp_server::{Dnsmasq, Install, ask, dnsmasq_state};

/// How long the kernel and the host's servers may take to finish what they do after their answer.
const SETTLING: Duration = Duration::from_secs(5);

/// Which of a program's two commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `start`, `online`.
    Forward,
    /// `stop`, `offline`.
    Back,
}

impl Way {
    /// The other one.
    pub fn opposite(self) -> Self {
        match self {
            Self::Forward => Self::Back,
            Self::Back => Self::Forward,
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forward => "forward",
            Self::Back => "back",
        })
    }
}

/// A host, and a program that is called there.
pub trait Stage {
    /// The host.
    fn dom0(&self) -> &Machine;
    /// A call of the program.
    fn call(&self, way: Way) -> Call;
    /// Runs the call to its end.
    fn outcome(&self, way: Way) -> Outcome;
    /// Makes the host ready for the way forward, once the way back has been gone.
    fn renew(&self);
    /// The guest's interface, by its name before and after, and what it must be a port of to be heard.
    fn guest(&self) -> Option<&VifStage>;
    /// What the host's servers hold, a line each.
    fn servers(&self) -> Vec<String>;
    /// Whether all works that is to work once the way forward has been gone.
    fn works(&self) -> Result<(), String> {
        Ok(())
    }

    /// Runs the call, which must succeed.
    #[track_caller]
    fn succeed(&self, way: Way) {
        let outcome = self.outcome(way);
        assert!(outcome.status == Some(0) && outcome.stderr.is_empty(), "{way}: {outcome}");
    }
}

/// All that is compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The kernel's.
    pub kernel: State,
    /// Records, journals and DHCP entries, a line each; locks are left out. What servers hold comes last.
    pub files: Vec<String>,
    /// What netback waits for.
    pub status: Option<String>,
}

/// The files that may stay or go with a run, a line each: the records by name, since they hold what was found, so that their content is a matter of
/// order; entries of a DHCP server with what they say.
fn files(machine: &Machine) -> Vec<String> {
    let name = |path: &Path| path.strip_prefix(machine.path("/")).unwrap().display().to_string();
    let mut files: Vec<_> = below(&machine.path("/run/xen-network")).iter().map(|path| without_namespace(&name(path))).collect();
    for folder in ["/run/xen-network-dhcp", "/etc/dnsmasq.d"] {
        let content = |path: &PathBuf| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        files.extend(below(&machine.path(folder)).iter().map(|path| format!("{}: {:?}", name(path), content(path))));
    }
    files.sort();
    files
}

/// All that is no folder and no link.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let kind = |path: &Path| fs::symlink_metadata(path).map(|found| found.file_type());
    let inside = |path: PathBuf| match kind(&path) {
        Ok(kind) if kind.is_dir() => below(&path),
        Ok(kind) if kind.is_file() => vec![path],
        _ => vec![],
    };
    entries.flat_map(|entry| inside(entry.path())).collect()
}

/// A record's name without the number of the network namespace in it.
fn without_namespace(name: &str) -> String {
    let parts = name.split('/').filter(|part| part.strip_prefix("netns-").is_none_or(|number| number.parse::<u64>().is_err()));
    parts.collect::<Vec<_>>().join("/")
}

impl Seen {
    /// What is there at this moment.
    pub fn now(stage: &dyn Stage) -> Self {
        look_at_carriers(stage.dom0()).unwrap();
        Self::with(stage, State::of(stage.dom0()).unwrap())
    }

    /// What is there once nothing is under way.
    pub fn settled(stage: &dyn Stage) -> Self {
        Self::with(stage, State::settled(stage.dom0()).unwrap())
    }

    fn with(stage: &dyn Stage, kernel: State) -> Self {
        let mut files = files(stage.dom0());
        files.extend(stage.servers());
        let status = stage.guest().and_then(|guest| guest.vif.backend("hotplug-status").unwrap());
        Self { kernel, files, status }
    }

    /// What changed since, a line each.
    pub fn difference(&self, later: &Self) -> String {
        let rest = |seen: &Self| Value::from(vec![Value::from(seen.files.clone()), Value::from(seen.status.clone())]);
        format!("{}\n{}", self.kernel.difference(&later.kernel), difference(&rest(self), &rest(later)))
    }

    /// Whether every address of dom0's in `other` is on some device.
    pub fn has_addresses_of(&self, other: &Self) -> bool {
        let own = addresses(&self.kernel);
        addresses(&other.kernel).iter().all(|address| own.contains(address))
    }

    /// The guest's interface, when it is up and the guest is heard there.
    pub fn exposed_guest(&self, stage: &dyn Stage) -> Option<String> {
        let guest = stage.guest()?;
        let links = &self.kernel.value()["links"];
        let up = |link: &Value| link["flags"].as_array().into_iter().flatten().any(|flag| flag == "UP");
        let heard = |link: &Value| up(link) && (guest.bridge.is_none() || link["master"].is_string());
        guest.names.iter().find(|name| heard(&links[name.as_str()])).cloned()
    }
}

/// The states of a stage between which its commands lead.
pub struct States {
    /// Before all.
    pub before: Seen,
    /// Once the way forward has been gone.
    pub done: Seen,
    /// Once the way back has been gone.
    pub undone: Seen,
}

impl States {
    /// Goes both ways.
    pub fn of(stage: &dyn Stage) -> Self {
        stage.succeed(Way::Forward);
        stage.succeed(Way::Back);
        stage.renew();
        let before = Seen::settled(stage);
        stage.succeed(Way::Forward);
        let done = Seen::settled(stage);
        stage.succeed(Way::Back);
        let undone = Seen::settled(stage);
        stage.renew();
        if let Err(difference) = wait_until(stage, &before) {
            panic!("coming and going as a whole leaves (- wanted, + there):\n{difference}");
        }
        Self { before, done, undone }
    }

    /// Those that a way leads from and to.
    pub fn old_and_new(&self, way: Way) -> (&Seen, &Seen) {
        match way {
            Way::Forward => (&self.before, &self.done),
            Way::Back => (&self.done, &self.undone),
        }
    }
}

/// Waits for a state; else what is different.
pub fn wait_until(stage: &dyn Stage, wanted: &Seen) -> Result<(), String> {
    let mut seen = Seen::now(stage);
    let waited = wait_for("the state", SETTLING, || {
        if seen != *wanted {
            seen = Seen::now(stage);
        }
        Ok(seen == *wanted)
    });
    waited.map_err(|_| wanted.difference(&seen))
}

/// Which of a program's many calls or refusals are tried: one in so many, from one of the first on. Runs from each of the first, `every` of them,
/// try all of them once.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    every: usize,
    from: usize,
}

impl Choice {
    /// What the environment says, by `KIND_EVERY` and `KIND_FROM`; else one in `short_form`, from the first on.
    pub fn told(kind: &str, short_form: usize) -> Self {
        let number = |name: &str, usual| std::env::var(format!("{kind}_{name}")).map_or(usual, |text| text.parse().unwrap());
        let choice = Self { every: number("EVERY", short_form), from: number("FROM", 1) };
        assert!(choice.every > 0 && choice.from > 0, "{choice:?}: both count from 1");
        choice
    }

    /// The numbers of system calls, which count from 1.
    pub fn calls(self) -> impl Iterator<Item = u64> {
        (self.from as u64..).step_by(self.every)
    }

    /// Those of a list.
    pub fn of<T>(self, list: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
        list.skip(self.from - 1).step_by(self.every)
    }
}

/// Makes two tests of each stage, one for each command. `$play` is called with the title, the number of the short form, what makes the stage, and
/// the way.
#[allow(unused_macros)]
macro_rules! both_ways {
    ($play:ident; $($name:ident: $title:literal $short_form:literal $kind:ident::$make:ident;)*) => {$(
        mod $name {
            use super::{Way, $play};

            #[test]
            fn forward() {
                $play($title, $short_form, &|| Box::new(super::$kind::$make()), Way::Forward);
            }

            #[test]
            fn back() {
                $play($title, $short_form, &|| Box::new(super::$kind::$make()), Way::Back);
            }
        }
    )*};
}

fn addresses(state: &State) -> Vec<String> {
    let devices = state.value()["addresses"].as_object().into_iter().flatten();
    let all = devices.flat_map(|(_, list)| list.as_array().into_iter().flatten());
    // The kernel gives every device an address of its own.
    all.filter(|address| address["scope"] == "global")
        .map(|address| format!("{}/{}", address["local"], address["prefixlen"]))
        .collect()
}

/// The DHCP server of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    /// None that anybody asks for.
    None,
    /// The files of dnsmasq, and a service that restarts nothing: what counts is what is written for it.
    Files,
    /// dnsmasq itself.
    Dnsmasq,
}

impl Server {
    fn install(self, machine: &Machine) {
        match self {
            Self::None => return,
            Self::Files => {
                machine.write_file("/run/usr/sbin/dnsmasq", "").unwrap();
                machine.run("mount", ["-t", "overlay", "-o", "lowerdir=/run/usr:/usr", "overlay", "/usr"]).unwrap();
            }
            Self::Dnsmasq => dhcp_server::install(machine),
        }
        machine.shell("rm -rf /etc/dnsmasq.d && mkdir -p /etc/dnsmasq.d && rm -f /etc/resolv.conf").unwrap();
        machine.write_file("/etc/resolv.conf", "nameserver 192.168.1.1\n").unwrap();
        if self == Self::Dnsmasq {
            Dnsmasq::default().install(machine);
            machine.shell("/etc/init.d/dnsmasq restart").unwrap();
        } else {
            machine.write_file("/etc/dnsmasq.conf", "port=0\n").unwrap();
            machine.write_program("/etc/init.d/dnsmasq", "#!/bin/sh\nexit 0\n").unwrap();
        }
    }

    fn state(self, machine: &Machine) -> Option<String> {
        (self == Self::Dnsmasq).then(|| dnsmasq_state(machine))
    }
}

/// A call of a network program on a host of [`Lan`].
pub struct Network {
    lan: Lan,
    program: &'static str,
    words: &'static str,
    server: Server,
}

impl Network {
    fn new(program: &'static str, words: &'static str, server: Server) -> Self {
        let lan = Lan::rich();
        server.install(&lan.dom0);
        Self { lan, program, words, server }
    }

    /// Six addresses and something of everything else, moved to a bridge of another name.
    pub fn bridge() -> Self {
        Self::new("network-bridge", "netdev=eth0 bridge=xenbr0 antispoof=strict", Server::None)
    }

    /// A private bridge with IPv4 and IPv6, masquerading of both, and DHCP.
    pub fn nat() -> Self {
        Self::new("network-nat", NAT, Server::Files)
    }

    /// The same with a real server.
    pub fn nat_served() -> Self {
        Self::new("network-nat", NAT, Server::Dnsmasq)
    }

    /// A router for IPv4 and IPv6.
    pub fn route() -> Self {
        Self::new("network-route", "masquerade=yes antispoof=strict", Server::None)
    }
}

const NAT: &str = "bridge=br0 address=192.168.2.1/24,fd00:2::1/64 ipv6=nat dhcp=dnsmasq antispoof=strict";

impl Stage for Network {
    fn dom0(&self) -> &Machine {
        &self.lan.dom0
    }

    fn call(&self, way: Way) -> Call {
        let command = if way == Way::Forward { "start" } else { "stop" };
        let words: Vec<&str> = std::iter::once(command).chain(self.words.split(' ')).collect();
        let program = format!("{SCRIPTS}/{}", self.program);
        Call::like(&self.lan.dom0.command(&program), &program, &words)
    }

    fn outcome(&self, way: Way) -> Outcome {
        let call = self.call(way);
        Outcome::of(self.lan.dom0.command(&call.program).args(&call.words)).unwrap()
    }

    fn renew(&self) {}

    fn guest(&self) -> Option<&VifStage> {
        None
    }

    fn servers(&self) -> Vec<String> {
        self.server.state(&self.lan.dom0).into_iter().collect()
    }
}

/// Which of the two devices of a guest's interface a program is called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Device {
    /// netback's.
    Vif,
    /// qemu's.
    Tap,
}

/// A guest's interface.
pub struct VifStage {
    dom0: Dom0,
    guest: Guest,
    vif: Vif,
    device: Device,
    names: [String; 2],
    bridge: Option<&'static str>,
    server: Server,
    switch: Option<Switch>,
}

impl VifStage {
    /// A port that is held to its addresses and its Ethernet address, renamed, with an MTU of its own.
    pub fn bridged() -> Self {
        Self::new(bridged_nic(), Server::None)
    }

    /// The same, with a hook that bash sources, and a native one.
    pub fn hooked() -> Self {
        let stage = Self::bridged();
        let folder = format!("{SCRIPTS}/vif-post.d");
        let machine = stage.dom0.machine();
        machine.write_program(format!("{folder}/10-log.hook"), "log debug \"$command of $vif\"\nreturn\n").unwrap();
        machine.write_program(format!("{folder}/20-true.exec"), "#!/bin/sh\nexit 0\n").unwrap();
        stage
    }

    /// The device that qemu makes for the same interface.
    pub fn emulated() -> Self {
        Self::new(Nic { emulation: Emulation::EmulatedToo, ..bridged_nic() }, Server::None)
    }

    /// A routed link with IPv4 and IPv6.
    pub fn routed() -> Self {
        Self::new(routed_nic(), Server::None)
    }

    /// qemu's device of the same.
    pub fn routed_emulated() -> Self {
        Self::new(Nic { emulation: Emulation::EmulatedToo, ..routed_nic() }, Server::None)
    }

    /// A link of a private network, its address given by DHCP.
    pub fn translated() -> Self {
        Self::new(translated_nic(), Server::Files)
    }

    /// The same with a real server, which the guest asks.
    pub fn served() -> Self {
        Self::new(translated_nic(), Server::Dnsmasq)
    }

    /// A port of Open vSwitch, in a VLAN, renamed, with an MTU of its own.
    pub fn switched() -> Self {
        let nic = Nic {
            ip: None,
            antispoof: None,
            script: Some("vif-openvswitch".to_owned()),
            bridge: Some("ovsbr0.7".to_owned()),
            ..bridged_nic()
        };
        Self::new(nic, Server::None)
    }

    fn new(nic: Nic, server: Server) -> Self {
        let dom0 = Dom0::new("dom0").unwrap();
        let machine = dom0.machine();
        machine.set_sysctl("net.ipv6.conf.default.accept_dad", "0").unwrap();
        machine.install_scripts(&Programs::ours().unwrap()).unwrap();
        server.install(machine);
        ip_lines(machine, HOST);
        if server != Server::None {
            machine.run(&format!("{SCRIPTS}/network-nat"), ["start", "dhcp=dnsmasq"]).unwrap();
        }
        let switch = (nic.script.as_deref() == Some("vif-openvswitch")).then(|| {
            let switch = Switch::start(machine, &[]).unwrap();
            switch.add_bridge("ovsbr0").unwrap();
            switch
        });
        let guest = Guest::new(5).unwrap();
        write_identity(&dom0, 5, "guest", "6f1e0a5c-41b7-4b0e-9d35-0d0c8f2b7a05").unwrap();
        // Nothing that it sends is to be counted or remembered by its filter.
        guest.machine().set_sysctl("net.ipv6.conf.default.disable_ipv6", "1").unwrap();
        let (device, ending) = match nic.emulation {
            Emulation::ParavirtualOnly => (Device::Vif, ""),
            Emulation::EmulatedToo => (Device::Tap, "-emu"),
        };
        let names = ["vif5.0", nic.vifname.as_deref().unwrap_or("vif5.0")].map(|name| format!("{name}{ending}"));
        let bridge = nic.bridge.as_ref().filter(|_| switch.is_none()).map(|_| "xenbr0");
        let vif = guest.attach(&dom0, nic).unwrap();
        guest.machine().ip("link set eth0 up").unwrap();
        Self { dom0, guest, vif, device, names, bridge, server, switch }
    }

    /// What the toolstack was told of a failure.
    pub fn error(&self) -> Result<String, String> {
        let key = |name: &str| self.vif.backend(name).unwrap().filter(|value| !value.is_empty());
        match (key("hotplug-status").as_deref(), key("hotplug-error")) {
            (Some("error"), Some(sentence)) => Ok(sentence),
            (status, sentence) => Err(format!("the toolstack reads hotplug-status {status:?}, hotplug-error {sentence:?}")),
        }
    }

    /// What netback reads once all is done, where it is told.
    pub fn connected(&self) -> Option<&'static str> {
        match self.device {
            Device::Vif => Some("connected"),
            Device::Tap => None,
        }
    }

    fn hotplug(&self, way: Way) -> Hotplug {
        match (self.device, way) {
            (Device::Vif, Way::Forward) => Hotplug::Online,
            (Device::Vif, Way::Back) => Hotplug::Offline,
            (Device::Tap, Way::Forward) => Hotplug::Add,
            (Device::Tap, Way::Back) => Hotplug::Remove,
        }
    }

    fn words(&self, way: Way) -> Vec<&'static str> {
        let own = (self.server != Server::None).then_some("dhcp=dnsmasq");
        own.into_iter().chain(self.hotplug(way).words()).collect()
    }

    /// The guest ends.
    pub fn vanish(&self) {
        match self.device {
            Device::Vif => self.vif.disappear().unwrap(),
            Device::Tap => {
                let machine = self.dom0.machine();
                let there = self.names.iter().find(|name| machine.path(format!("/sys/class/net/{name}")).exists());
                machine.ip(&format!("link delete {}", there.unwrap())).unwrap();
            }
        }
    }

    /// Another guest comes in its place.
    pub fn come_back(&self) {
        match self.device {
            Device::Vif => {
                self.vif.appear().unwrap();
                self.guest.machine().ip("link set eth0 up").unwrap();
            }
            Device::Tap => self.vif.appear_emulated().unwrap(),
        }
        for key in ["hotplug-status", "hotplug-error"] {
            self.dom0.store().write(&format!("{}/{key}", self.vif.backend_path()), "").unwrap();
        }
    }
}

/// The host that guests come to.
const HOST: &str = "
    link add eth0 address 02:00:00:00:00:01 type veth peer name lan0 address 02:00:00:00:00:02
    link set eth0 up
    link set lan0 up
    address add 192.168.1.100/24 dev eth0
    address add 2001:db8:1::100/64 dev eth0
    route add default via 192.168.1.1 dev eth0
    link add xenbr0 address 02:00:00:00:00:03 type bridge
    link set xenbr0 up";

fn bridged_nic() -> Nic {
    Nic {
        ip: Some("192.168.1.101 2001:db8:1::101".to_owned()),
        antispoof: Some("strict".to_owned()),
        vifname: Some("web0".to_owned()),
        mtu: Some(1400),
        ..Nic::on_bridge("xenbr0")
    }
}

fn routed_nic() -> Nic {
    Nic { antispoof: Some("strict".to_owned()), ..Nic::routed("vif-route", "192.168.1.101 2001:db8:1::101") }
}

fn translated_nic() -> Nic {
    Nic { vifname: Some("web0".to_owned()), ..Nic::routed("vif-nat", "10.0.5.1 fd00:5::1") }
}

impl Stage for VifStage {
    fn dom0(&self) -> &Machine {
        self.dom0.machine()
    }

    fn call(&self, way: Way) -> Call {
        Call::like(&self.vif.hotplug_command(self.hotplug(way)), &self.vif.script(), &self.words(way))
    }

    fn outcome(&self, way: Way) -> Outcome {
        Outcome::of(self.vif.hotplug_command(self.hotplug(way)).args(self.words(way))).unwrap()
    }

    /// The guest ends, and another one comes in its place.
    fn renew(&self) {
        self.vanish();
        self.come_back();
    }

    fn guest(&self) -> Option<&VifStage> {
        Some(self)
    }

    fn servers(&self) -> Vec<String> {
        let ports = self.switch.as_ref().map(|switch| format!("ports: {}", switch.ports().unwrap()));
        self.server.state(self.dom0.machine()).into_iter().chain(ports).collect()
    }

    fn works(&self) -> Result<(), String> {
        if self.server != Server::Dnsmasq {
            return Ok(());
        }
        match ask(self.guest.machine(), "eth0") {
            Some(lease) if lease.address == "10.0.5.1" => Ok(()),
            other => Err(format!("the guest was told by DHCP: {other:?}")),
        }
    }
}
