//! Real DHCP servers in a machine, and a real client.

#![allow(dead_code)] // Each suite uses some of it.

use std::fs;
use std::process::Command;

use testbed::machine::{Machine, workspace};

/// The folder that the real servers and the client were unpacked to.
fn fetched() -> String {
    let output = Command::new(workspace().join("tests/fetch-dhcp")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Has a machine find the servers where their packages would have put them.
pub fn install(machine: &Machine) {
    let layers = format!("lowerdir={}/usr:/usr", fetched());
    machine.run("mount", ["-t", "overlay", "-o", &layers, "overlay", "/usr"]).unwrap();
}

/// A server that can be put into a dom0.
pub trait Install {
    /// What `dhcp=` calls it.
    const WORD: &'static str;
    /// Its name in /etc/init.d and /run.
    const NAME: &'static str;
    /// Its files.
    fn install(&self, dom0: &Machine);
}

/// Where the sum of all that dnsmasq has read of /etc/dnsmasq.d is noted.
const DNSMASQ_READ: &str = "/run/dnsmasq.read";

/// What a machine's dnsmasq is, for comparison: how many run, and what the last one has read.
pub fn dnsmasq_state(machine: &Machine) -> String {
    let name = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let running = machine.processes().unwrap().iter().filter(|pid| name(pid).trim() == "dnsmasq").count();
    format!("dnsmasq: {running} running, which has read {}", machine.read_file(DNSMASQ_READ).unwrap_or_default().trim())
}

/// dnsmasq, with a line or two of the administrator's.
#[derive(Default)]
pub struct Dnsmasq {
    /// What the administrator has in /etc/dnsmasq.conf besides.
    pub configuration: &'static str,
}

/// ISC dhcpd.
pub struct Dhcpd {
    /// What stands in /etc/default/isc-dhcp-server.
    pub arguments: &'static str,
}

impl Default for Dhcpd {
    fn default() -> Self {
        Self { arguments: "INTERFACESv4=\"\"\n" }
    }
}

/// An init script that knows `restart` alone: it counts, ends the server that it started by its id, and starts it again in the foreground
/// of a shell that nobody waits for, but for its becoming the server. Two at once take turns, as systemd has them do.
fn init_script(name: &str, start: &str) -> String {
    format!(
        "#!/bin/sh\n\
         exec 9>/run/{name}.turn\n\
         flock 9\n\
         echo restart >>/run/{name}.restarts\n\
         if [ -e /run/{name}.pid ]; then\n\
         \tpid=$(cat /run/{name}.pid)\n\
         \tkill \"$pid\" 2>/dev/null || true\n\
         \twhile [ -d \"/proc/$pid\" ]; do sleep 0.01; done\n\
         fi\n\
         {start} </dev/null >>/var/log/{name}.log 2>&1 9>&- &\n\
         echo $! >/run/{name}.pid\n\
         for try in $(seq 500); do\n\
         \tcase $(readlink /proc/$!/exe) in */dash | */bash) sleep 0.01 ;; *) break ;; esac\n\
         done\n"
    )
}

impl Install for Dnsmasq {
    const WORD: &'static str = "yes";
    const NAME: &'static str = "dnsmasq";

    fn install(&self, dom0: &Machine) {
        let configuration = format!(
            "no-resolv\nport=0\nno-ping\nlog-dhcp\nlog-facility=-\npid-file=/run/dnsmasq.pid\ndhcp-leasefile=/run/dnsmasq/leases\n{}",
            self.configuration
        );
        dom0.write_file("/etc/dnsmasq.conf", configuration).unwrap();
        dom0.shell("mkdir -p /etc/dnsmasq.d /run/dnsmasq && chown nobody /run/dnsmasq").unwrap();
        let start = "dnsmasq --keep-in-foreground --user=nobody --conf-file=/etc/dnsmasq.conf --conf-dir=/etc/dnsmasq.d";
        let start = format!("sh -c 'cat /etc/dnsmasq.d/* 2>&- | cksum >{DNSMASQ_READ}; exec {start}'");
        dom0.write_program("/etc/init.d/dnsmasq", init_script("dnsmasq", &start)).unwrap();
    }
}

impl Install for Dhcpd {
    const WORD: &'static str = "dhcpd";
    const NAME: &'static str = "isc-dhcp-server";

    fn install(&self, dom0: &Machine) {
        dom0.write_file(
            "/etc/dhcp/dhcpd.conf",
            "# the administrator's\nping-check off;\ndefault-lease-time 600;\nmax-lease-time 7200;\n",
        )
        .unwrap();
        dom0.write_file("/etc/default/isc-dhcp-server", self.arguments).unwrap();
        dom0.write_file("/run/dhcpd.leases", "").unwrap();
        let start = ". /etc/default/isc-dhcp-server\n\
                     dhcpd -f -d -4 -cf /etc/dhcp/dhcpd.conf -lf /run/dhcpd.leases --no-pid $INTERFACESv4";
        dom0.write_program("/etc/init.d/isc-dhcp-server", init_script("isc-dhcp-server", start)).unwrap();
    }
}

/// What a server has told a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The client's address.
    pub address: String,
    /// The length of its network.
    pub prefix: String,
    /// Its router.
    pub router: String,
    /// Its name.
    pub name: String,
    /// Its domain.
    pub domain: String,
    /// Its name servers.
    pub name_servers: String,
}

/// What udhcpc(8) calls: sets up what was leased, and writes it down.
const CLIENT_SCRIPT: &str = "#!/bin/sh -e\n\
    [ \"$1\" = bound ] || exit 0\n\
    ip address replace \"$ip/$mask\" dev \"$interface\"\n\
    [ -z \"$router\" ] || ip route replace default via \"$router\" dev \"$interface\"\n\
    printf '%s\\n' \"$ip\" \"$mask\" \"$router\" \"$hostname\" \"$domain\" \"$dns\" >/run/lease\n";

/// Has a machine ask for an address on a device. `None` when nobody answers.
pub fn ask(machine: &Machine, device: &str) -> Option<Lease> {
    machine.shell(&format!("rm -f /run/lease; ip link set {device} up")).unwrap();
    machine.write_program("/etc/udhcpc.script", CLIENT_SCRIPT).unwrap();
    // Questions at intervals of a second: the link may need one to come up.
    let words = ["udhcpc", "-i", device, "-n", "-q", "-f", "-t", "8", "-T", "1", "-s", "/etc/udhcpc.script", "-O", "hostname"];
    let asked = machine.run(&format!("{}/bin/busybox", fetched()), words);
    let text = machine.read_file("/run/lease").ok();
    assert_eq!(asked.is_ok(), text.is_some(), "{asked:?}");
    let mut lines = text?.lines().map(str::to_owned).collect::<Vec<_>>().into_iter();
    let mut next = || lines.next().unwrap_or_default();
    Some(Lease { address: next(), prefix: next(), router: next(), name: next(), domain: next(), name_servers: next() })
}
