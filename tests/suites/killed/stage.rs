//! Hosts on which programs are killed, and what is seen of them.

use std::fmt;

use serde_json::Value;
use testbed::bench::process::Call;
use testbed::guest::{Dom0, Guest, Hotplug, Nic, Outcome, Vif};
use testbed::machine::{Machine, Programs};
use testbed::state::{State, difference};

use crate::lan::{Lan, SCRIPTS, ip_lines};

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
    /// Records, journals and DHCP entries, a line each; locks are left out.
    pub files: Vec<String>,
    /// What netback waits for.
    pub status: Option<String>,
}

/// Prints the files that may stay or go with a run. Records of ours hold what was found, so that their content is a matter of order.
const FILES: &str = "find /run/xen-network -type f 2>/dev/null | sed 's:/netns-[0-9]*::'; \
                     find /run/xen-network-dhcp /etc/dnsmasq.d -type f -exec cksum {} + 2>/dev/null || true";

impl Seen {
    /// What is there at this moment.
    pub fn now(stage: &dyn Stage) -> Self {
        // The kernel follows a change of carrier up to a second late, unless somebody looks.
        stage.dom0().shell("cat /sys/class/net/*/carrier >/dev/null 2>&1 || true").unwrap();
        Self::with(stage, State::of(stage.dom0()).unwrap())
    }

    /// What is there once nothing is under way.
    pub fn settled(stage: &dyn Stage) -> Self {
        Self::with(stage, State::settled(stage.dom0()).unwrap())
    }

    fn with(stage: &dyn Stage, kernel: State) -> Self {
        let mut files: Vec<String> = stage.dom0().shell(FILES).unwrap().lines().map(str::to_owned).collect();
        files.sort();
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

fn addresses(state: &State) -> Vec<String> {
    let devices = state.value()["addresses"].as_object().into_iter().flatten();
    let all = devices.flat_map(|(_, list)| list.as_array().into_iter().flatten());
    // The kernel gives every device an address of its own.
    all.filter(|address| address["scope"] == "global")
        .map(|address| format!("{}/{}", address["local"], address["prefixlen"]))
        .collect()
}

/// A call of a network program on a host of [`Lan`].
pub struct Network {
    lan: Lan,
    program: &'static str,
    words: &'static str,
}

impl Network {
    /// Six addresses and something of everything else, moved to a bridge of another name.
    pub fn bridge() -> Self {
        Self { lan: Lan::rich(), program: "network-bridge", words: "netdev=eth0 bridge=xenbr0 antispoof=strict" }
    }

    /// A private bridge with IPv4 and IPv6, masquerading of both, and DHCP.
    pub fn nat() -> Self {
        let lan = Lan::rich();
        install_dnsmasq(&lan.dom0);
        Self {
            lan,
            program: "network-nat",
            words: "bridge=br0 address=192.168.2.1/24,fd00:2::1/64 ipv6=nat dhcp=dnsmasq antispoof=strict",
        }
    }

    /// A router for IPv4 and IPv6.
    pub fn route() -> Self {
        Self { lan: Lan::rich(), program: "network-route", words: "masquerade=yes antispoof=strict" }
    }
}

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
}

/// A service that has the files of dnsmasq and restarts nothing: what counts here is what is written for it.
fn install_dnsmasq(machine: &Machine) {
    machine.write_file("/run/usr/sbin/dnsmasq", "").unwrap();
    machine.run("mount", ["-t", "overlay", "-o", "lowerdir=/run/usr:/usr", "overlay", "/usr"]).unwrap();
    machine.shell("rm -rf /etc/dnsmasq.d && mkdir -p /etc/dnsmasq.d && rm -f /etc/resolv.conf").unwrap();
    machine.write_file("/etc/resolv.conf", "nameserver 192.168.1.1\n").unwrap();
    machine.write_file("/etc/dnsmasq.conf", "port=0\n").unwrap();
    machine.write_program("/etc/init.d/dnsmasq", "#!/bin/sh\nexit 0\n").unwrap();
}

/// A guest's interface.
pub struct VifStage {
    dom0: Dom0,
    guest: Guest,
    vif: Vif,
    names: [String; 2],
    bridge: Option<&'static str>,
    words: &'static [&'static str],
}

impl VifStage {
    /// A port that is held to its addresses and its Ethernet address, renamed, with an MTU of its own.
    pub fn bridged() -> Self {
        let nic = Nic {
            ip: Some("192.168.1.101 2001:db8:1::101".to_owned()),
            antispoof: Some("strict".to_owned()),
            vifname: Some("web0".to_owned()),
            mtu: Some(1400),
            ..Nic::on_bridge("xenbr0")
        };
        Self::new(nic, Some("xenbr0"), &[])
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

    /// A routed link with IPv4 and IPv6.
    pub fn routed() -> Self {
        let nic = Nic { antispoof: Some("strict".to_owned()), ..Nic::routed("vif-route", "192.168.1.101 2001:db8:1::101") };
        Self::new(nic, None, &[])
    }

    /// A link of a private network, its address given by DHCP.
    pub fn translated() -> Self {
        let nic = Nic { vifname: Some("web0".to_owned()), ..Nic::routed("vif-nat", "10.0.5.1 fd00:5::1") };
        Self::new(nic, None, &["dhcp=dnsmasq"])
    }

    fn new(nic: Nic, bridge: Option<&'static str>, words: &'static [&'static str]) -> Self {
        let dom0 = Dom0::new("dom0").unwrap();
        let machine = dom0.machine();
        machine.set_sysctl("net.ipv6.conf.default.accept_dad", "0").unwrap();
        machine.install_scripts(&Programs::ours().unwrap()).unwrap();
        install_dnsmasq(machine);
        ip_lines(
            machine,
            "link add eth0 address 02:00:00:00:00:01 type veth peer name lan0 address 02:00:00:00:00:02
             link set eth0 up
             link set lan0 up
             address add 192.168.1.100/24 dev eth0
             address add 2001:db8:1::100/64 dev eth0
             route add default via 192.168.1.1 dev eth0
             link add xenbr0 address 02:00:00:00:00:03 type bridge
             link set xenbr0 up",
        );
        if !words.is_empty() {
            machine.run(&format!("{SCRIPTS}/network-nat"), ["start", "dhcp=dnsmasq"]).unwrap();
        }
        let guest = Guest::new(5).unwrap();
        // Nothing that it sends is to be counted or remembered by its filter.
        guest.machine().set_sysctl("net.ipv6.conf.default.disable_ipv6", "1").unwrap();
        let names = ["vif5.0".to_owned(), nic.vifname.clone().unwrap_or_else(|| "vif5.0".to_owned())];
        let vif = guest.attach(&dom0, nic).unwrap();
        guest.machine().ip("link set eth0 up").unwrap();
        Self { dom0, guest, vif, names, bridge, words }
    }

    /// What the toolstack was told of a failure.
    pub fn error(&self) -> Result<String, String> {
        let key = |name: &str| self.vif.backend(name).unwrap().filter(|value| !value.is_empty());
        match (key("hotplug-status").as_deref(), key("hotplug-error")) {
            (Some("error"), Some(sentence)) => Ok(sentence),
            (status, sentence) => Err(format!("the toolstack reads hotplug-status {status:?}, hotplug-error {sentence:?}")),
        }
    }

    fn hotplug(way: Way) -> Hotplug {
        match way {
            Way::Forward => Hotplug::Online,
            Way::Back => Hotplug::Offline,
        }
    }
}

impl Stage for VifStage {
    fn dom0(&self) -> &Machine {
        self.dom0.machine()
    }

    fn call(&self, way: Way) -> Call {
        let hotplug = Self::hotplug(way);
        let words = [self.words, &hotplug.words()].concat();
        Call::like(&self.vif.hotplug_command(hotplug), &self.vif.script(), &words)
    }

    fn outcome(&self, way: Way) -> Outcome {
        let hotplug = Self::hotplug(way);
        Outcome::of(self.vif.hotplug_command(hotplug).args(self.words).args(hotplug.words())).unwrap()
    }

    /// The guest ends, and another one comes in its place.
    fn renew(&self) {
        self.vanish();
        self.come_back();
    }

    fn guest(&self) -> Option<&VifStage> {
        Some(self)
    }
}

impl VifStage {
    /// The guest ends.
    pub fn vanish(&self) {
        self.vif.disappear().unwrap();
    }

    /// Another guest comes in its place.
    pub fn come_back(&self) {
        self.vif.appear().unwrap();
        self.guest.machine().ip("link set eth0 up").unwrap();
        for key in ["hotplug-status", "hotplug-error"] {
            self.dom0.store().write(&format!("{}/{key}", self.vif.backend_path()), "").unwrap();
        }
    }
}
