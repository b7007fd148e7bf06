//! What the programs may do, read and tell: no more of root's powers than they need, nothing that a guest may write to, nothing of the host
//! in what a guest may read.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests; clippy only knows the functions marked so.

use std::process::Command;

use testbed::guest::{Dom0, Emulation, Guest, Hotplug, Nic, Outcome, Vif};
use testbed::machine::{Machine, Programs, connect};
use testbed::openvswitch::Switch;
use testbed::ovn::write_identity;
use xenstore::StorePath;

/// A dom0 with a card that has addresses, a bridge, and a guest.
struct Stage {
    dom0: Dom0,
    _guest: Guest,
    vif: Vif,
    _router: Machine,
}

impl Stage {
    fn new(nic: Nic) -> Self {
        let dom0 = Dom0::new("dom0").unwrap();
        let router = Machine::new("router").unwrap();
        let machine = dom0.machine();
        machine.install_scripts(&Programs::ours().unwrap()).unwrap();
        connect(machine, "eth0", &router, "eth0").unwrap();
        machine
            .shell(
                "ip link add xenbr0 type bridge; ip link set xenbr0 up; ip link set eth0 up
                 ip address add 192.168.77.100/24 dev eth0; ip route add default via 192.168.77.1",
            )
            .unwrap();
        let guest = Guest::new(3).unwrap();
        let vif = guest.attach(&dom0, nic).unwrap();
        Self { dom0, _guest: guest, vif, _router: router }
    }

    fn machine(&self) -> &Machine {
        self.dom0.machine()
    }

    fn seed(&self, path: &str, value: &str) {
        self.dom0.server().seed(&StorePath::parse(path).unwrap(), value.as_bytes()).unwrap();
    }

    /// The system calls of this name that a run makes, with their arguments.
    fn calls(&self, name: &str, call: &Command) -> Vec<String> {
        let mut traced = Command::new("strace");
        traced
            .args(["-f", "-v", "-qq", "-s", "4096", "-e"])
            .arg(format!("trace={name}"))
            .arg("-o")
            .arg(self.machine().path("/run/trace"));
        traced.arg(call.get_program()).args(call.get_args());
        traced.env_clear().envs(call.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let outcome = Outcome::of(&mut traced).unwrap();
        assert_eq!(outcome.status, Some(0), "{outcome}");
        let trace = self.machine().read_file("/run/trace").unwrap();
        trace.lines().map(str::to_owned).collect()
    }

    fn call(&self, hotplug: Hotplug) -> Command {
        let mut call = self.vif.hotplug_command(hotplug);
        call.args(hotplug.words());
        call
    }
}

fn bridged() -> Nic {
    Nic { ip: Some("192.168.1.3 2001:db8::3".to_owned()), emulation: Emulation::EmulatedToo, ..Nic::on_bridge("xenbr0") }
}

fn nics() -> [Nic; 3] {
    [bridged(), Nic::routed("vif-route", "192.168.2.2 2001:db8:2::2"), Nic::routed("vif-nat", "192.168.3.2")]
}

#[test]
fn a_vif_program_keeps_the_network_alone_and_starts_nothing() {
    for nic in nics() {
        let only_network = nic.script.as_deref() != Some("vif-nat");
        let stage = Stage::new(nic);
        for hotplug in [Hotplug::Online, Hotplug::Offline] {
            let calls = stage.calls("capset,prctl,socket,execve", &stage.call(hotplug));
            let place = |words: &str| calls.iter().position(|line| line.contains(words));
            let capset = place("capset(").unwrap();
            if only_network {
                assert!(calls[capset].contains("permitted=1<<CAP_NET_ADMIN, inheritable=0"), "{}", calls[capset]);
            }
            // Before anything is said to the kernel or to XenStore.
            assert!(capset < place("socket(AF_").unwrap(), "{calls:#?}");
            assert!(place("PR_SET_NO_NEW_PRIVS, 1").is_some(), "{calls:#?}");
            // nsenter, and the program itself.
            assert!(calls.iter().filter(|line| line.contains("execve(") && line.contains(" = 0")).count() <= 2, "{calls:#?}");
        }
    }
}

#[test]
fn a_hook_has_what_root_has() {
    let stage = Stage::new(bridged());
    stage
        .machine()
        .write_program("/etc/xen/scripts/vif-post.d/a.hook", "grep -E 'CapEff|NoNewPrivs' /proc/self/status >/run/seen\n")
        .unwrap();
    let outcome = Outcome::of(&mut stage.call(Hotplug::Online)).unwrap();
    assert_eq!(outcome.status, Some(0), "{outcome}");
    let seen = stage.machine().read_file("/run/seen").unwrap();
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let bounding = own.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap().trim();
    assert!(seen.contains(bounding), "{seen} {bounding}");
}

/// Without each of the powers that a program keeps, or with none, it fails; with them it works wherever the other suites look.
#[test]
fn the_network_cannot_be_done_without() {
    let stage = Stage::new(bridged());
    let call = stage.call(Hotplug::Online);
    let mut poor = stage.machine().command("setpriv");
    poor.args(["--bounding-set=-net_admin", "--inh-caps=-all"]).args(call.get_args().skip_while(|word| *word != "--").skip(1));
    poor.envs(call.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let outcome = Outcome::of(&mut poor).unwrap();
    assert_eq!(outcome.status, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("Operation not permitted"), "{outcome}");
    assert_eq!(stage.vif.backend("hotplug-status").unwrap().as_deref(), Some("error"));
}

/// Folders of a guest's domain that the toolstack lets it write to (libxl_create.c, `libxl__domain_make()`).
const GUESTS_OWN: [&str; 10] =
    ["device", "data", "control", "drivers", "feature", "attr", "error", "hvmloader", "messages", "suspend"];

impl Stage {
    /// What a guest would like to be taken for, in its own folder.
    fn seed_lies(&self) {
        let lies = [("mac", "00:16:3e:de:ad:01"), ("ip", "6.6.6.6"), ("bridge", "evil0"), ("mtu", "68"), ("vifname", "eth0")];
        for (key, value) in lies {
            self.seed(&format!("{}/{key}", self.vif.frontend_path()), value);
        }
    }

    #[track_caller]
    fn call_all(&self, hotplugs: &[Hotplug]) {
        for hotplug in hotplugs {
            let outcome = Outcome::of(&mut self.call(*hotplug)).unwrap();
            assert_eq!(outcome.status, Some(0), "{outcome}");
        }
    }

    #[track_caller]
    fn assert_guests_own_is_not_read(&self, what: &str) {
        let reads = self.dom0.server().reads();
        assert!(reads.len() > 10, "{reads:?}");
        for path in &reads {
            let guests = path.strip_prefix("/local/domain/3/").and_then(|rest| rest.split('/').next());
            assert!(!guests.is_some_and(|folder| GUESTS_OWN.contains(&folder)), "{path} is the guest's own");
        }
        let of_backend = reads.iter().filter(|path| path.starts_with("/local/domain/0/backend/vif/3/0")).count();
        println!("{what}: {} reads, {of_backend} of them of the backend's folder", reads.len());
        assert!(of_backend > 0, "{reads:?}");
    }
}

const ONLINE_AND_OFFLINE: [Hotplug; 2] = [Hotplug::Online, Hotplug::Offline];
const OF_BOTH_DEVICES: [Hotplug; 4] = [Hotplug::Online, Hotplug::Add, Hotplug::Remove, Hotplug::Offline];

#[test]
fn nothing_that_a_guest_may_write_to_is_read() {
    for nic in nics() {
        let (script, emulation) = (nic.script.clone(), nic.emulation);
        let stage = Stage::new(nic);
        stage.seed_lies();
        match emulation {
            Emulation::EmulatedToo => stage.call_all(&OF_BOTH_DEVICES),
            Emulation::ParavirtualOnly => stage.call_all(&ONLINE_AND_OFFLINE),
        }
        stage.assert_guests_own_is_not_read(script.as_deref().unwrap_or("vif-bridge"));
    }
}

#[test]
fn nothing_that_a_guest_may_write_to_is_read_by_vif_openvswitch() {
    let script = Some("vif-openvswitch".to_owned());
    let stage = Stage::new(Nic { script, emulation: Emulation::EmulatedToo, ..Nic::on_bridge("ovsbr0.7") });
    let switch = Switch::start(stage.machine(), &[]).unwrap();
    switch.add_bridge("ovsbr0").unwrap();
    write_identity(&stage.dom0, 3, "guest", "6f1e0a5c-41b7-4b0e-9d35-0d0c8f2b7a03").unwrap();
    stage.seed_lies();
    stage.call_all(&OF_BOTH_DEVICES);
    stage.assert_guests_own_is_not_read("vif-openvswitch");
}

#[test]
fn nothing_that_a_guest_may_write_to_is_read_by_xen_network() {
    let stage = Stage::new(bridged());
    stage.seed_lies();
    stage.call_all(&[Hotplug::Online]);
    for words in ["status", "doctor", "reload", "gc", "explain vif3.0"] {
        let outcome = Outcome::of(stage.machine().command("/etc/xen/scripts/xen-network").args(words.split(' '))).unwrap();
        // Doctor finds fault with this host, and explain with this guest's way out.
        assert!(outcome.status == Some(0) || words.starts_with(['d', 'e']) && outcome.stderr.is_empty(), "{words}: {outcome}");
    }
    stage.assert_guests_own_is_not_read("xen-network");
}

/// What must not stand in `hotplug-error`, which the guest's domain may read: places, devices and addresses of the host.
const HOSTS_OWN: [&str; 10] = ["/etc", "/run", "/var", "/proc", "/sys", "/dev", "192.168.77.", "eth0", "errno", "os error"];

#[test]
fn a_guest_is_told_nothing_of_the_host() {
    let wrong: [(&str, &str, &str, &str); 15] = [
        // Program, the key that is wrong, its value, and what happens to the host.
        ("vif-bridge", "bridge", "nowhere", ""),
        ("vif-bridge", "vifname", "eth0.7", "ip link add eth0.7 type veth peer name x"),
        ("vif-bridge", "mtu", "0", ""),
        ("vif-bridge", "mtu", "65000", ""),
        ("vif-bridge", "vlan", "7", ""),
        ("vif-bridge", "ip", "nonsense", ""),
        ("vif-bridge", "mac", "01:00:00:00:00:00", ""),
        ("vif-bridge", "ip", "192.168.1.3", "ip link del vif3.0"),
        (
            "vif-bridge",
            "ip",
            "192.168.1.3",
            "mkdir -p /etc/xen/scripts/vif-post.d; printf 'echo eth0 192.168.77.100 >&2; exit 7\\n' >/etc/xen/scripts/vif-post.d/a.hook; chmod 755 /etc/xen/scripts/vif-post.d/a.hook",
        ),
        (
            "vif-bridge",
            "ip",
            "192.168.1.3",
            "mkdir -p /etc/xen/scripts/vif-post.d; echo true >/etc/xen/scripts/vif-post.d/a.hook; chmod 777 /etc/xen/scripts/vif-post.d/a.hook",
        ),
        ("vif-route", "ip", "192.168.77.100", ""),
        ("vif-route", "ip", "192.168.77.9", "ip route add 192.168.77.9 dev eth0 metric 2"),
        ("vif-route", "gatewaydev", "eth9", ""),
        ("vif-route", "ip", "192.168.2.2", "ip address flush dev eth0; ip route flush table main"),
        ("vif-nat", "ip", "192.168.3.0/33", ""),
    ];
    let mut told = 0;
    for (program, key, value, happens) in wrong {
        let nic = match program {
            "vif-bridge" => bridged(),
            _ => Nic::routed(program, "192.168.2.2"),
        };
        let stage = Stage::new(nic);
        stage.machine().shell(happens).unwrap();
        stage.seed(&format!("{}/{key}", stage.vif.backend_path()), value);
        let outcome = Outcome::of(&mut stage.call(Hotplug::Online)).unwrap();
        let shown = stage.vif.backend("hotplug-error").unwrap().unwrap_or_default();
        println!("{program} {key}={value} {happens:.20}: {:?}: {shown:?}", outcome.status);
        if outcome.status == Some(0) {
            continue;
        }
        told += 1;
        assert!(!shown.is_empty(), "{program} {key}={value}: {outcome}");
        // Its own value is no news to it.
        let rest = shown.replace(value, "");
        for own in HOSTS_OWN {
            assert!(!rest.contains(own), "{own:?} of the host is told: {shown}");
        }
    }
    assert!(told >= 12, "{told} failures only");
}
