//! A dom0 with a real DHCP server, its uplink with a router behind it, and guests that ask for their addresses.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testbed::guest::{Dom0, Guest, Hotplug, Nic, Outcome, Vif};
use testbed::machine::{Machine, Programs, connect, wait_for};

use crate::dhcp_server::{Install, Lease, ask, install};

/// A server that takes longer to start hangs.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Dom0 and its surroundings: eth0 leads to the LAN's router, eth1 to whatever the administrator serves himself.
pub struct Office {
    dom0: Dom0,
    /// Kept for its end of the cable.
    _router: Machine,
    /// A client of the administrator's own, behind eth1.
    pub own_client: Machine,
    word: &'static str,
    name: &'static str,
}

impl Office {
    /// A dom0 whose server runs.
    pub fn new<S: Install>(server: S) -> Self {
        let dom0 = Dom0::new("dom0").unwrap();
        let router = Machine::new("router").unwrap();
        connect(dom0.machine(), "eth0", &router, "eth0").unwrap();
        router.ip("address add 192.168.1.1/24 dev eth0").unwrap();
        router.ip("link set eth0 up").unwrap();
        let own_client = Machine::new("client").unwrap();
        connect(dom0.machine(), "eth1", &own_client, "eth0").unwrap();
        let machine = dom0.machine();
        for (device, address) in [("eth0", "192.168.1.100/24"), ("eth1", "192.168.7.1/24")] {
            machine.ip(&format!("link set {device} up")).unwrap();
            machine.ip(&format!("address add {address} dev {device}")).unwrap();
        }
        machine.ip("route add default via 192.168.1.1").unwrap();
        // /etc/resolv.conf may be a link out of /etc.
        machine.shell("rm -f /etc/resolv.conf /etc/dhcpd.conf").unwrap();
        machine.write_file("/etc/resolv.conf", "search example.org\nnameserver 127.0.0.53\nnameserver 192.168.1.1\n").unwrap();
        machine.install_scripts(&Programs::ours().unwrap()).unwrap();
        install(machine);
        server.install(machine);
        let office = Self { dom0, _router: router, own_client, word: S::WORD, name: S::NAME };
        if S::NAME == "dnsmasq" {
            // It runs already; dhcpd has nothing to serve yet and would not start.
            office.dom0().shell("/etc/init.d/dnsmasq restart").unwrap();
        }
        office.dom0().shell(&format!("rm -f /run/{}.restarts", S::NAME)).unwrap();
        office
    }

    /// Dom0.
    pub fn dom0(&self) -> &Machine {
        self.dom0.machine()
    }

    /// Calls network-nat with the words and this server's name.
    #[track_caller]
    pub fn nat(&self, words: &str) {
        self.succeed(&mut self.nat_command(words));
        // dhcpd ends at once while there is no network for it to serve.
        if words.starts_with("start") && (self.name == "dnsmasq" || words.contains("bridge=")) {
            self.await_server();
        }
    }

    /// The call of network-nat with the words and this server's name.
    pub fn nat_command(&self, words: &str) -> Command {
        let mut command = self.dom0().command("/etc/xen/scripts/network-nat");
        command.args(words.split_whitespace()).arg(format!("dhcp={}", self.word));
        command
    }

    /// Runs a program of ours, which must succeed and say nothing that is wrong.
    #[track_caller]
    pub fn succeed(&self, command: &mut Command) -> Outcome {
        let outcome = Outcome::of(command).unwrap();
        assert!(outcome.status == Some(0) && outcome.stderr.is_empty(), "{command:?}: {outcome}; {}", self.log());
        outcome
    }

    /// Waits until the server is up: clients that ask before wait for seconds between two questions.
    fn await_server(&self) {
        wait_for("the server's start", START_LIMIT, || Ok(self.dom0().shell("grep -q ':0043 ' /proc/net/udp").is_ok())).unwrap();
    }

    /// How often the server was restarted.
    pub fn restarts(&self) -> usize {
        self.dom0().read_file(format!("/run/{}.restarts", self.name)).unwrap_or_default().lines().count()
    }

    /// The server's process.
    pub fn pid(&self) -> String {
        self.dom0().read_file(format!("/run/{}.pid", self.name)).unwrap()
    }

    /// What the server has said.
    pub fn log(&self) -> String {
        self.dom0().read_file(format!("/var/log/{}.log", self.name)).unwrap_or_default()
    }

    /// The names of our files for dnsmasq.
    pub fn entries(&self) -> Vec<String> {
        self.dom0().shell("cd /run/xen-network-dhcp && ls -A").unwrap().lines().map(str::to_owned).collect()
    }

    /// A guest with the default address of its number.
    pub fn guest(&self, number: u16) -> NatGuest {
        self.attach(number, Nic::default())
    }

    /// A guest whose configuration says this of its card.
    pub fn attach(&self, number: u16, nic: Nic) -> NatGuest {
        let guest = Guest::new(number).unwrap();
        let handle = nic.handle;
        let vif = guest.attach(&self.dom0, Nic { script: Some("vif-nat".to_owned()), ..nic }).unwrap();
        NatGuest { number, handle, guest, vif, words: vec![format!("dhcp={}", self.word)] }
    }
}

/// A guest of vif-nat.
pub struct NatGuest {
    /// Its domain id.
    pub number: u16,
    handle: u16,
    guest: Guest,
    vif: Vif,
    /// What the command line says besides.
    pub words: Vec<String>,
}

impl NatGuest {
    /// Its inside.
    pub fn machine(&self) -> &Machine {
        self.guest.machine()
    }

    /// The call of vif-nat, as xend makes it of a `script` with words behind the program.
    pub fn command(&self, hotplug: Hotplug) -> Command {
        let mut command = self.vif.hotplug_command(hotplug);
        command.args(&self.words).args(hotplug.words());
        command
    }

    /// Calls vif-nat.
    pub fn call(&self, hotplug: Hotplug) -> Outcome {
        Outcome::of(&mut self.command(hotplug)).unwrap()
    }

    /// Calls vif-nat, which must succeed.
    #[track_caller]
    pub fn hotplug(&self, office: &Office, hotplug: Hotplug) {
        office.succeed(&mut self.command(hotplug));
        if hotplug == Hotplug::Online {
            office.await_server();
        }
    }

    /// What netback waits for.
    pub fn status(&self) -> String {
        self.vif.backend("hotplug-status").unwrap().unwrap_or_default()
    }

    /// The device goes, as when the guest is destroyed.
    pub fn disappear(&self) {
        self.vif.disappear().unwrap();
    }

    /// Its folder in XenStore goes as well.
    pub fn forget(&self) {
        self.vif.remove_store().unwrap();
    }

    /// Asks for an address.
    pub fn lease(&self) -> Option<Lease> {
        ask(self.machine(), &format!("eth{}", self.handle))
    }
}

/// Everything below a folder of a machine that is not the machine under the test's: kind, owner, mode and content.
pub fn listing(machine: &Machine, folder: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let root = machine.path(folder);
    for name in ["dnsmasq.conf", "dnsmasq.d", "dhcp", "default/isc-dhcp-server", "init.d/dnsmasq", "init.d/isc-dhcp-server"] {
        describe(&root.join(name), &mut found);
    }
    found
}

fn describe(path: &Path, found: &mut BTreeMap<String, String>) {
    let Ok(metadata) = fs::symlink_metadata(path) else { return };
    let content = if metadata.is_file() { fs::read_to_string(path).unwrap() } else { String::new() };
    let name = path.display().to_string();
    found.insert(name, format!("{:o} {}:{} {content}", metadata.mode(), metadata.uid(), metadata.gid()));
    for entry in fs::read_dir(path).into_iter().flatten() {
        describe(&entry.unwrap().path(), found);
    }
}
