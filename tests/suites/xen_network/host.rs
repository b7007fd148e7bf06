//! A dom0 with guests, set up by our programs, and what xen-network says of it.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use testbed::guest::{Dom0, Guest, Hotplug, Nic, Outcome, Vif};
use testbed::machine::{Machine, Programs, connect, wait_for};

/// Where programs are looked for: the folder of ours, then the usual ones. Stand-ins for programs that this machine lacks are in /run.
const PATH: &str = "/run/stand-ins:/etc/xen/scripts:/usr/sbin:/usr/bin:/sbin:/bin";

/// The host under test, its router, and its guests.
pub struct Host {
    pub dom0: Dom0,
    router: Machine,
    pub guests: Vec<(Guest, Vif)>,
}

impl Host {
    /// eth0 is 192.168.1.100/24, behind it the gateway 192.168.1.1. Nothing was started.
    pub fn plain() -> Self {
        let dom0 = Dom0::new("dom0").unwrap();
        let router = Machine::new("router").unwrap();
        for machine in [dom0.machine(), &router] {
            machine.set_sysctl("net.ipv6.conf.default.accept_dad", "0").unwrap();
        }
        connect(dom0.machine(), "eth0", &router, "lan").unwrap();
        for line in ["link set lan up", "address add 192.168.1.1/24 dev lan"] {
            router.ip(line).unwrap();
        }
        let host = Self { dom0, router, guests: vec![] };
        host.ip("link set eth0 up");
        host.ip("address add 192.168.1.100/24 dev eth0");
        host.ip("route add default via 192.168.1.1");
        // br_netfilter is switched on for every namespace of a kernel that has it loaded.
        host.shell("for f in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e $f ] || echo 0 >$f; done");
        host.machine().install_scripts(&Programs::ours().unwrap()).unwrap();
        host
    }

    /// Guests are hosts of the LAN.
    pub fn bridged() -> Self {
        let mut host = Self::plain();
        host.shell("network-bridge start");
        host.start_guest(1, "web", Nic { ip: Some("192.168.1.101".to_owned()), ..Nic::on_bridge("eth0") });
        host.start_guest(2, "db", Nic::default());
        host
    }

    /// Guests are on a private bridge, br0, behind the host's address.
    pub fn private_bridge() -> Self {
        let mut host = Self::plain();
        host.shell("network-nat start bridge=br0 address=192.168.2.1/24");
        host.start_guest(1, "web", Nic { ip: Some("192.168.2.2".to_owned()), ..Nic::on_bridge("br0") });
        host
    }

    /// Guests are on links of their own, behind the host's address.
    pub fn nat() -> Self {
        let mut host = Self::plain();
        host.shell("network-nat start");
        host.start_guest(1, "web", Nic::routed("vif-nat", "192.168.2.1"));
        host
    }

    /// Guests are on links of their own, with their own addresses.
    pub fn routed() -> Self {
        let mut host = Self::plain();
        host.shell("network-route start");
        host.start_guest(1, "web", Nic::routed("vif-route", "192.168.2.1 2001:db8:2::1"));
        host
    }

    pub fn machine(&self) -> &Machine {
        self.dom0.machine()
    }

    /// A guest with a name, whose card is up.
    pub fn start_guest(&mut self, domain: u16, name: &str, nic: Nic) {
        let guest = Guest::new(domain).unwrap();
        let folder = format!("/local/domain/{domain}");
        self.write(&format!("{folder}/name"), name);
        self.write(&format!("{folder}/vm"), &format!("/vm/00000000-0000-0000-0000-{domain:012}"));
        let vif = guest.attach(&self.dom0, nic).unwrap();
        vif.hotplug(Hotplug::Online).unwrap().success().unwrap();
        guest.machine().ip("link set eth0 up").unwrap();
        // netback's word once the guest's driver is there.
        self.write(&format!("{}/state", vif.backend_path()), "4");
        self.guests.push((guest, vif));
        self.wait_for_links();
    }

    /// The kernel follows a change of carrier up to a second late; reading `carrier` lets it do so at once (net/core/net-sysfs.c,
    /// `carrier_show()`). That of a device that is down cannot be read.
    fn wait_for_links(&self) {
        let all_up = || {
            let carriers = self.machine().shell("cat /sys/class/net/*/carrier 2>/dev/null || true")?;
            Ok(carriers.lines().all(|carrier| carrier == "1"))
        };
        wait_for("all links to be up", Duration::from_secs(10), all_up).unwrap();
    }

    /// Writes a node of XenStore.
    #[track_caller]
    pub fn write(&self, path: &str, value: &str) {
        self.dom0.store().write(path, value).unwrap();
    }

    /// Writes a key of a guest's backend.
    #[track_caller]
    pub fn backend(&self, domain: u16, key: &str, value: &str) {
        self.write(&format!("/local/domain/0/backend/vif/{domain}/0/{key}"), value);
    }

    #[track_caller]
    pub fn ip(&self, line: &str) {
        self.machine().ip(line).unwrap();
    }

    /// Runs what an administrator would type.
    #[track_caller]
    pub fn shell(&self, line: &str) -> String {
        let mut command = self.machine().command("sh");
        let outcome = Outcome::of(command.args(["-ec", line]).env("PATH", PATH)).unwrap();
        outcome.success().unwrap_or_else(|error| panic!("{line}: {error}")).stdout
    }

    /// Puts a stand-in in place of a program that this machine does not have, or must not run.
    pub fn stand_in(&self, name: &str, text: &str) {
        self.machine().write_program(format!("/run/stand-ins/{name}"), format!("#!/bin/sh\n{text}\n")).unwrap();
    }

    /// The folder of what our programs remember.
    pub fn run_folder(&self) -> String {
        let folder = self.shell("printf /run/xen-network/netns-; stat -L -c %i /proc/self/ns/net").trim().to_owned();
        self.shell(&format!("mkdir -p -m 700 {folder}"));
        folder
    }

    /// xen-network with these words.
    pub fn tool(&self, words: &str) -> Command {
        let mut command = self.machine().command("/etc/xen/scripts/xen-network");
        command.args(words.split_whitespace()).env("LANG", "C.UTF-8");
        command
    }

    /// What it prints; it must end well and complain of nothing.
    #[track_caller]
    pub fn says(&self, words: &str) -> String {
        let outcome = Outcome::of(&mut self.tool(words)).unwrap();
        assert!(outcome.status == Some(0) && outcome.stderr.is_empty(), "xen-network {words}: {outcome}");
        outcome.stdout
    }

    #[track_caller]
    pub fn json(&self, words: &str) -> Value {
        let outcome = Outcome::of(&mut self.tool(&format!("{words} --json"))).unwrap();
        serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome}"))
    }

    /// Every finding of `doctor`.
    #[track_caller]
    pub fn findings(&self) -> Vec<Value> {
        let found = self.json("doctor");
        let checks = found["checks"].as_array().unwrap();
        assert!(checks.len() >= 22, "{} checks", checks.len());
        checks.iter().flat_map(|check| check["findings"].as_array().unwrap()).cloned().collect()
    }

    /// The findings of one name.
    #[track_caller]
    pub fn found(&self, id: &str) -> Vec<Value> {
        self.findings().into_iter().filter(|finding| finding["id"] == id).collect()
    }

    /// Nothing is found, and every check was made.
    #[track_caller]
    pub fn assert_healthy(&self) {
        let outcome = Outcome::of(&mut self.tool("doctor")).unwrap();
        assert!(outcome.status == Some(0) && outcome.stderr.is_empty(), "{outcome}");
        let last = outcome.stdout.lines().last().unwrap_or_default();
        assert!(last.starts_with("All ") && last.ends_with(" checks are well."), "{}", outcome.stdout);
    }

    /// `doctor` finds `id`, tells reason and remedy, and its exit status says whether it is a problem.
    #[track_caller]
    pub fn assert_found(&self, id: &str) -> Vec<Value> {
        let found = self.found(id);
        assert!(!found.is_empty(), "{id} is not found, but {:#?}", self.findings());
        let outcome = Outcome::of(&mut self.tool("doctor")).unwrap();
        let text = outcome.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        for finding in &found {
            for part in ["what", "reason", "remedy"] {
                let words = finding[part].as_str().unwrap();
                assert!(!words.is_empty(), "{id} has no {part}");
                assert!(text.contains(&words.split_whitespace().collect::<Vec<_>>().join(" ")), "{words} is not in {text}");
            }
        }
        let problem = self.findings().iter().any(|finding| finding["severity"] == "problem");
        assert_eq!(outcome.status, Some(i32::from(problem)), "{outcome}");
        found
    }

    /// `doctor` finds `id`; what it says is to be typed is typed, and then it is not found any more.
    #[track_caller]
    pub fn assert_mended_by_typing(&self, id: &str) {
        let found = self.assert_found(id);
        let commands: Vec<&str> = found
            .iter()
            .flat_map(|finding| finding["commands"].as_array().unwrap())
            .map(|command| command.as_str().unwrap())
            .collect();
        assert!(!commands.is_empty(), "{id} names no command: {found:#?}");
        for command in commands {
            self.shell(command);
        }
        self.assert_mended(id);
    }

    /// `id` is no problem any more, once the kernel has followed: a link is told of up to a second late.
    #[track_caller]
    pub fn assert_mended(&self, id: &str) {
        let left = || -> Vec<Value> {
            self.found(id).into_iter().filter(|finding| finding["remedy"] != "nothing needs to be done").collect()
        };
        let gone = wait_for(&format!("the end of {id}"), Duration::from_secs(10), || Ok(left().is_empty()));
        assert!(gone.is_ok(), "{id} is still found: {:#?}", left());
    }

    /// The router, for tests that take its end of the cable away.
    pub fn router(&self) -> &Machine {
        &self.router
    }
}
