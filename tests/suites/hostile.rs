//! Hostile input (bar 8 of the issue): thousands of mutated calls of each program, as real processes. None may panic, none may execute
//! anything, and what is turned down leaves the host as it was and says so in one clear line.
//!
//! The calls follow from a fixed seed, which is printed; `HOSTILE_SEED` tries another one.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests; clippy only knows the functions marked so.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::{Command, Output, Stdio};
use std::thread;

use testbed::guest::{Dom0, Guest, Nic, Vif};
use testbed::machine::{Machine, Programs, ROOT_PATH};
use testbed::openvswitch::Switch;
use testbed::xenstore_server::Change;
use xenstore::StorePath;

#[path = "common/lan.rs"]
mod lan;

use lan::{Lan, SCRIPTS, ip_lines, settled};

/// Calls of each program.
const CALLS: u64 = 5_000;

/// Hosts that are worked on at the same time, each by calls one after the other.
const HOSTS: u64 = 4;

/// What a command that was executed would leave.
const MARKER: &str = "/run/marker";

/// A small generator of numbers (Sebastiano Vigna's SplitMix64): the same at each run, on each machine.
struct Dice(u64);

impl Dice {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.number() % limit as u64).unwrap()
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

fn seed() -> u64 {
    let seed = std::env::var("HOSTILE_SEED").map_or(20_260_101, |text| text.parse().unwrap());
    println!("HOSTILE_SEED={seed}");
    seed
}

/// What an attacker would put where a value is expected.
const EVIL: &[&[u8]] = &[
    b"$(touch /run/marker)",
    b"`touch /run/marker`",
    b";touch /run/marker;",
    b"eth0;touch /run/marker",
    b"x\ntouch /run/marker\n",
    b"|touch /run/marker",
    b"&& touch /run/marker",
    b"a[$(touch /run/marker)]",
    b"${IFS}",
    b"'\"",
    b"../../../etc/passwd",
    b"../eth0",
    b"..",
    b".",
    b"/",
    b"a/b",
    b"eth0:1",
    b"vif%d",
    b"%s%s%n",
    b"%d",
    b"--dry-run",
    b"--help",
    b"--version",
    b"--",
    b"-",
    b"-h",
    b"=",
    b"==",
    b"",
    b" ",
    b"\t",
    b"\x01\x02\x7f",
    b"\x1b[2J\x1b]0;x\x07",
    b"a\rb",
    b"\xff\xfe\x80",
    b"eth\xc3",
    "\u{202e}0hte".as_bytes(),
    "br\u{fc}cke".as_bytes(),
    b"0",
    b"-1",
    b"67",
    b"65536",
    b"1e9",
    b"0x10",
    b"99999999999999999999999999999",
    b"18446744073709551616",
    b"null",
    b"all",
    b"default",
    b"lo",
    b"abcdefghijklmno",
    b"abcdefghijklmnop",
    b"192.168.1.256",
    b"1.2.3.4/33",
    b"1.2.3.4/",
    b"::1/129",
    b"2001:db8::1 192.168.1.7",
    b"fe80::1%eth0",
    b"255.255.255.255",
    b"0.0.0.0/0",
    b"10p/20-22",
    b"4096",
];

/// A value: evil, or twisted from a good one.
fn value(dice: &mut Dice, good: &[&str]) -> Vec<u8> {
    match dice.below(10) {
        0..=4 => dice.pick(EVIL).to_vec(),
        5 => vec![*dice.pick(b"ax0./=%$ \xff"); 1 << dice.below(17)],
        6 => (0..dice.below(40)).map(|_| dice.number().to_le_bytes()[0].max(1)).collect(),
        7 => {
            let text = dice.pick::<&str>(good);
            twisted(dice, text)
        }
        _ => dice.pick(good).as_bytes().to_vec(),
    }
}

/// A good value with one byte changed, lost or too many, or an evil end.
fn twisted(dice: &mut Dice, text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    let place = dice.below(bytes.len() + 1);
    match dice.below(4) {
        0 => bytes.insert(place, dice.number().to_le_bytes()[0].max(1)),
        1 if place < bytes.len() => drop(bytes.remove(place)),
        2 if place < bytes.len() => bytes[place] = dice.number().to_le_bytes()[0].max(1),
        _ => bytes.extend_from_slice(dice.pick::<&[u8]>(EVIL)),
    }
    bytes
}

/// The good values of a program's variables, and its commands.
struct Grammar {
    program: &'static str,
    commands: &'static [&'static str],
    variables: &'static [(&'static str, &'static [&'static str])],
}

const NETWORK_BRIDGE: Grammar = Grammar {
    program: "network-bridge",
    commands: &["start", "stop", "status"],
    variables: &[
        ("netdev", &["eth0", "eth1"]),
        ("bridge", &["xenbr0", "eth0", "null"]),
        ("vifnum", &["0", "2"]),
        ("check", &["no", "yes"]),
        ("force", &["yes", "no"]),
        ("antispoof", &["yes", "no"]),
    ],
};

const VIF_BRIDGE: Grammar = Grammar {
    program: "vif-bridge",
    commands: &["online", "offline", "add", "remove"],
    variables: &[
        ("type_if", &["vif", "tap"]),
        ("vif", &["vif1.0"]),
        ("INTERFACE", &["vif1.0-emu"]),
        ("XENBUS_PATH", &["backend/vif/1/0", "/local/domain/0/backend/vif/1/0"]),
        ("bridge", &["xenbr0"]),
        ("ip", &["192.168.1.7"]),
        ("mtu", &["1400"]),
        ("vifname", &["guest"]),
        ("vlan", &["7", "10p/20-22"]),
        ("isolated", &["yes", "no"]),
    ],
};

const VIF_ROUTE: Grammar =
    Grammar { program: "vif-route", commands: &["online", "offline", "add", "remove"], variables: ROUTED_VARIABLES };

const VIF_NAT: Grammar =
    Grammar { program: "vif-nat", commands: &["online", "offline", "add", "remove"], variables: ROUTED_VARIABLES };

const ROUTED_VARIABLES: &[(&str, &[&str])] = &[
    ("type_if", &["vif", "tap"]),
    ("vif", &["vif1.0"]),
    ("INTERFACE", &["vif1.0-emu"]),
    ("XENBUS_PATH", &["backend/vif/1/0", "/local/domain/0/backend/vif/1/0"]),
    ("ip", &["192.168.2.1", "192.168.2.1 2001:db8:2::1", "192.168.2.16/28"]),
    ("gateway", &["192.168.2.254", "2001:db8:2::ff"]),
    ("subnet", &["192.168.2.0/24"]),
    ("netdev", &["eth0", ""]),
    ("dhcp", &["no"]),
    ("mtu", &["1400"]),
    ("vifname", &["guest"]),
];

const NETWORK_ROUTE: Grammar = Grammar {
    program: "network-route",
    commands: &["start", "stop", "status"],
    variables: &[("netdev", &["eth0", "eth1"]), ("masquerade", &["yes", "no"]), ("ipv6", &["yes", "no", "nat"])],
};

const NETWORK_NAT: Grammar = Grammar {
    program: "network-nat",
    commands: &["start", "stop", "status"],
    variables: &[
        ("netdev", &["eth0", "eth1"]),
        ("bridge", &["br0", "br1"]),
        ("address", &["192.168.2.1/24", "192.168.2.1/24 fd00:2::1/64", "10.9.0.1/16,10.9.0.2/16"]),
        ("ipv6", &["yes", "no", "nat"]),
        ("dhcp", &["no"]),
        ("subnet", &["10.0.0.0/8", "192.168.2.0/24"]),
        ("gateway", &["192.168.2.254"]),
        ("antispoof", &["yes", "no"]),
    ],
};

const VIF_OPENVSWITCH: Grammar = Grammar {
    program: "vif-openvswitch",
    commands: &["online", "offline", "add", "remove"],
    variables: &[
        ("type_if", &["vif", "tap"]),
        ("vif", &["vif1.0"]),
        ("INTERFACE", &["vif1.0-emu"]),
        ("XENBUS_PATH", &["backend/vif/1/0", "/local/domain/0/backend/vif/1/0"]),
        ("bridge", &["xenbr0", "xenbr0.7", "xenbr0:10:20", "xenbr0.7:8"]),
        ("iface_id", &["office-web"]),
        ("ip", &["192.168.1.7"]),
        ("mtu", &["1400"]),
        ("vifname", &["guest"]),
    ],
};

/// One call: its words and its environment.
struct Call {
    words: Vec<OsString>,
    environment: BTreeMap<OsString, OsString>,
}

impl Call {
    fn new(dice: &mut Dice, grammar: &Grammar) -> Self {
        let mut words = vec![];
        if !dice.one_in(20) {
            words.push(if dice.one_in(8) {
                value(dice, grammar.commands)
            } else {
                dice.pick(grammar.commands).as_bytes().to_vec()
            });
        }
        let mut environment = BTreeMap::new();
        for (name, good) in grammar.variables {
            match dice.below(6) {
                0 => words.push([name.as_bytes(), b"=", &value(dice, good)].concat()),
                1 => drop(environment.insert(OsString::from(name), text(value(dice, good)))),
                2 | 3 => drop(environment.insert(OsString::from(name), text(dice.pick(good).as_bytes().to_vec()))),
                _ => {}
            }
        }
        while dice.one_in(5) {
            words.push(value(dice, &["--dry-run", "--json", "x=y", "script=/bin/sh", "BASH_ENV=/run/evil"]));
        }
        for name in ["UDEV_CALL", "IFS", "BASH_ENV", "ENV", "LD_PRELOAD_NOT", "RUST_BACKTRACE"] {
            if dice.one_in(12) {
                environment.insert(name.into(), text(value(dice, &["1"])));
            }
        }
        for word in 0..words.len() {
            let other = dice.below(words.len());
            words.swap(word, other);
        }
        Self { words: words.into_iter().map(text).collect(), environment }
    }

    /// Runs it. The calling thread is inside a machine, and so are its children.
    fn run(&self, grammar: &Grammar) -> Output {
        let mut command = Command::new(format!("{SCRIPTS}/{}", grammar.program));
        command.args(&self.words).env_clear().env("PATH", ROOT_PATH).envs(&self.environment).stdin(Stdio::null());
        command.output().unwrap()
    }

    fn described(&self, grammar: &Grammar) -> String {
        let mut text = String::new();
        for (name, value) in &self.environment {
            write!(text, "{}={:?} ", name.to_string_lossy(), shortened(value)).unwrap();
        }
        write!(text, "{}", grammar.program).unwrap();
        for word in &self.words {
            write!(text, " {:?}", shortened(word)).unwrap();
        }
        text
    }
}

/// No word of a process can hold a zero byte, nor be longer than 128 KiB (`MAX_ARG_STRLEN`).
fn text(mut bytes: Vec<u8>) -> OsString {
    bytes.retain(|byte| *byte != 0);
    OsString::from_vec(bytes)
}

fn shortened(text: &OsString) -> String {
    let bytes = text.as_bytes();
    let end = bytes.len().min(60);
    String::from_utf8_lossy(&bytes[..end]).into_owned() + if end < bytes.len() { "…" } else { "" }
}

/// What the kernel shows of the network namespace of the calling thread, cheap enough to be read at each call: devices with what can be
/// set on them, addresses and routes.
fn fingerprint() -> String {
    let mut text = String::new();
    let mut devices: Vec<_> = fs::read_dir("/sys/class/net").unwrap().map(|entry| entry.unwrap().path()).collect();
    devices.sort();
    for device in devices {
        for file in ["address", "mtu", "flags", "tx_queue_len", "ifalias", "brport/priority"] {
            let value = fs::read_to_string(device.join(file)).unwrap_or_default();
            writeln!(text, "{} {file} {}", device.display(), value.trim()).unwrap();
        }
        let master = fs::read_link(device.join("master")).unwrap_or_default();
        writeln!(text, "{} master {}", device.display(), master.display()).unwrap();
    }
    for table in ["route", "fib_trie"] {
        text += &fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap();
    }
    // A hash table: two addresses that fall into one of its lists stand in the order in which they came (net/ipv6/addrconf.c,
    // `ipv6_add_addr_hash()`).
    let addresses = fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap();
    let mut addresses: Vec<_> = addresses.lines().map(without_number).collect();
    addresses.sort();
    // The devices' numbers are the kernel's own, and the inner nodes of the routing trie depend on how it grew (net/ipv4/fib_trie.c,
    // `resize()`).
    let lines = text.lines().map(str::trim_start).filter(|line| !line.starts_with("+--")).map(|line| line.to_owned() + "\n");
    lines.chain(addresses).collect()
}

/// A line of /proc/net/if_inet6 without its second column.
fn without_number(line: &str) -> String {
    let columns: Vec<&str> =
        line.split_ascii_whitespace().enumerate().filter(|(place, _)| *place != 1).map(|(_, column)| column).collect();
    columns.join(" ") + "\n"
}

/// What is wrong with how a call ended, if anything. `changed` tells whether the host is not as before.
fn complaint(grammar: &Grammar, output: &Output, changed: bool) -> Option<String> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.contains("panicked") || stderr.contains("RUST_BACKTRACE") {
        return Some(format!("panicked: {stderr}"));
    }
    match output.status.code() {
        Some(0) => None,
        Some(1) if changed => Some(format!("turned down, but the host has changed: {stderr}")),
        Some(1) => (!is_clear(grammar, &stderr)).then(|| format!("no clear line: {stderr:?}")),
        _ => Some(format!("ended with {}: {stderr}", output.status)),
    }
}

/// One line that says what is wrong, by the program's name; before it, at most one each for the words that it has passed over.
fn is_clear(grammar: &Grammar, stderr: &str) -> bool {
    let prefix = format!("{}: ", grammar.program);
    let passed_over = stderr.lines().filter(|line| line.contains("passed over")).count();
    stderr.ends_with('\n')
        && stderr.lines().count() == passed_over + 1
        && stderr.lines().all(|line| line.starts_with(&prefix) && !line.contains(char::is_control))
}

fn assert_no_marker(machine: &Machine, place: &str) {
    assert!(!machine.path(MARKER).exists(), "a command was executed: {place}");
}

/// How often calls were turned down and accepted.
#[derive(Default)]
struct Tally {
    rejected: u64,
    accepted: u64,
}

impl Tally {
    fn count(&mut self, output: &Output) {
        match output.status.code() {
            Some(0) => self.accepted += 1,
            _ => self.rejected += 1,
        }
    }
}

/// Has several hosts worked on at the same time, and adds up.
fn on_all_hosts(title: &str, work: impl Fn(Dice) -> Tally + Sync) {
    let seed = seed();
    let tallies: Vec<Tally> = thread::scope(|scope| {
        let threads: Vec<_> = (0..HOSTS)
            .map(|host| {
                scope.spawn({
                    let work = &work;
                    move || work(Dice(seed ^ (host << 32)))
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    let (rejected, accepted) = tallies.iter().fold((0, 0), |sum, tally| (sum.0 + tally.rejected, sum.1 + tally.accepted));
    println!("{title}: {rejected} calls turned down, {accepted} accepted");
    assert_eq!(rejected + accepted, CALLS);
    assert!(rejected > CALLS / 4 && accepted > CALLS / 20, "{title} tests too little of either: {rejected} and {accepted}");
}

#[test]
fn network_bridge_bears_any_call() {
    on_all_hosts("network-bridge", |mut dice| {
        let lan = Lan::new(&["eth0", "eth1"]);
        ip_lines(
            &lan.dom0,
            "link set eth0 up\nlink set eth1 up\naddress add 192.168.1.100/24 dev eth0\naddress add 2001:db8::1/64 dev eth0",
        );
        let before = settled(&lan.dom0);
        let tally = lan.dom0.inside(|| call_network_bridge(&mut dice)).unwrap();
        assert_no_marker(&lan.dom0, "network-bridge");
        lan.assert_as(&before);
        tally
    });
}

fn call_network_bridge(dice: &mut Dice) -> Tally {
    let mut tally = Tally::default();
    let before = fingerprint();
    for _ in 0..CALLS / HOSTS {
        let call = Call::new(dice, &NETWORK_BRIDGE);
        let output = call.run(&NETWORK_BRIDGE);
        let changed = fingerprint() != before;
        if let Some(complaint) = complaint(&NETWORK_BRIDGE, &output, changed) {
            panic!("{}\n{complaint}", call.described(&NETWORK_BRIDGE));
        }
        if changed {
            put_back(&call, &before);
        }
        tally.count(&output);
    }
    tally
}

/// Takes apart whatever bridges a call has rightly made.
fn put_back(call: &Call, before: &str) {
    for netdev in ["eth0", "eth1"] {
        let mut stop = Command::new(format!("{SCRIPTS}/network-bridge"));
        let output = stop.env_clear().args(["stop", &format!("netdev={netdev}")]).output().unwrap();
        assert!(output.status.success(), "after {}: {}", call.described(&NETWORK_BRIDGE), String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(fingerprint(), before, "after {} and stop", call.described(&NETWORK_BRIDGE));
}

#[test]
fn network_route_bears_any_call() {
    on_all_hosts("network-route", |dice| router_bears_any_call(dice, &NETWORK_ROUTE));
}

#[test]
fn network_nat_bears_any_call() {
    on_all_hosts("network-nat", |dice| router_bears_any_call(dice, &NETWORK_NAT));
}

fn router_bears_any_call(mut dice: Dice, grammar: &Grammar) -> Tally {
    let lan = Lan::new(&["eth0", "eth1"]);
    ip_lines(
        &lan.dom0,
        "link set eth0 up\nlink set eth1 up\naddress add 192.168.1.100/24 dev eth0\naddress add 2001:db8::1/64 dev eth0
         link add br1 address 02:00:00:00:00:01 type bridge\naddress add 192.168.3.1/24 dev br1",
    );
    let before = settled(&lan.dom0);
    let tally = lan.dom0.inside(|| call_router(&mut dice, grammar)).unwrap();
    assert_no_marker(&lan.dom0, grammar.program);
    lan.assert_as(&before);
    tally
}

fn call_router(dice: &mut Dice, grammar: &Grammar) -> Tally {
    let mut tally = Tally::default();
    let before = router_fingerprint();
    for _ in 0..CALLS / HOSTS {
        let call = Call::new(dice, grammar);
        let output = call.run(grammar);
        let changed = router_fingerprint() != before;
        if let Some(complaint) = complaint(grammar, &output, changed) {
            panic!("{}\n{complaint}", call.described(grammar));
        }
        if changed {
            stop_router(&call, grammar);
            let now = router_fingerprint();
            assert!(now == before, "after {} and stop:\n{}", call.described(grammar), changed_lines(&before, &now));
        }
        tally.count(&output);
    }
    tally
}

/// Devices, addresses and routes, the settings of a router, and the record that tells of everything else.
fn router_fingerprint() -> String {
    let mut text = fingerprint();
    for family in ["ipv4", "ipv6"] {
        for place in ["all", "default", "eth0", "eth1", "br1"] {
            for key in ["forwarding", "accept_redirects", "proxy_arp", "proxy_ndp", "accept_ra"] {
                let value = fs::read_to_string(format!("/proc/sys/net/{family}/conf/{place}/{key}")).unwrap_or_default();
                writeln!(text, "{family} {place} {key} {}", value.trim()).unwrap();
            }
        }
    }
    text + &record_of_router()
}

fn record_of_router() -> String {
    let folders = fs::read_dir("/run/xen-network").into_iter().flatten();
    folders.filter_map(|folder| fs::read_to_string(folder.unwrap().path().join("network-router.json")).ok()).collect()
}

/// Ends the session that a call has rightly begun.
fn stop_router(call: &Call, grammar: &Grammar) {
    let record: serde_json::Value = serde_json::from_str(&record_of_router()).unwrap();
    let session = &record["holdings"][0]["sessions"][0];
    let mut stop = Command::new(format!("{SCRIPTS}/{}", grammar.program));
    stop.env_clear().arg("stop");
    for name in ["netdev", "bridge"] {
        stop.args(session[name].as_str().map(|value| format!("{name}={value}")));
    }
    let output = stop.output().unwrap();
    assert!(output.status.success(), "after {}: {}", call.described(grammar), String::from_utf8_lossy(&output.stderr));
}

/// The keys of the backend that a guest's configuration fills, with good values.
const KEYS: &[(&str, &[&str])] = &[
    ("bridge", &["xenbr0"]),
    ("mtu", &["1400", "1500"]),
    ("vifname", &["guest"]),
    ("ip", &["192.168.1.7"]),
    ("frontend", &["/local/domain/1/device/vif/0"]),
    ("vlan", &["7"]),
    ("isolated", &["yes", "no"]),
    ("type", &["vif", "vif_ioemu"]),
    ("mac", &["00:16:3e:00:00:07"]),
    ("gatewaydev", &["eth0"]),
    ("iface-id", &["office-web"]),
];

#[test]
fn vif_bridge_bears_any_call_and_any_store() {
    on_all_hosts("vif-bridge", |mut dice| {
        let dom0 = Dom0::new("dom0").unwrap();
        let guest = Guest::new(1).unwrap();
        for machine in [dom0.machine(), guest.machine()] {
            machine.set_sysctl("net.ipv6.conf.default.accept_dad", "0").unwrap();
        }
        dom0.machine().install_scripts(&Programs::ours().unwrap()).unwrap();
        ip_lines(
            dom0.machine(),
            "link add xenbr0 address 02:00:00:00:00:01 type bridge
             link set xenbr0 up
             link add vif1.0-emu address 02:00:00:00:00:02 type veth peer name qemu address 02:00:00:00:00:03",
        );
        let vif = guest.attach(&dom0, Nic::on_bridge("xenbr0")).unwrap();
        // The guest's side stays down, so that no carrier comes and goes.
        let before = settled(dom0.machine());
        let tally = dom0.machine().inside(|| call_vif(&mut dice, &VIF_BRIDGE, &dom0, &vif)).unwrap();
        assert_no_marker(dom0.machine(), "vif-bridge");
        // A bridge keeps the largest segment size that it ever had with a port; the rest of its settings is in the fingerprint.
        let after = settled(dom0.machine());
        testbed::state::assert_same(&before.without(&["links"]), &after.without(&["links"]));
        tally
    });
}

/// With a real Open vSwitch. What its database keeps of a call that was turned down must be nothing.
#[test]
fn vif_openvswitch_bears_any_call_and_any_store() {
    on_all_hosts("vif-openvswitch", |mut dice| {
        let dom0 = Dom0::new("dom0").unwrap();
        let guest = Guest::new(1).unwrap();
        for machine in [dom0.machine(), guest.machine()] {
            machine.set_sysctl("net.ipv6.conf.default.accept_dad", "0").unwrap();
        }
        dom0.machine().install_scripts(&Programs::ours().unwrap()).unwrap();
        let switch = Switch::start(dom0.machine(), &[]).unwrap();
        switch.add_bridge("xenbr0").unwrap();
        ip_lines(
            dom0.machine(),
            "link add vif1.0-emu address 02:00:00:00:00:02 type veth peer name qemu address 02:00:00:00:00:03",
        );
        let vif = guest.attach(&dom0, Nic::on_bridge("xenbr0")).unwrap();
        let before = (settled(dom0.machine()), switch.ports().unwrap());
        let tally = dom0.machine().inside(|| call_vif(&mut dice, &VIF_OPENVSWITCH, &dom0, &vif)).unwrap();
        assert_no_marker(dom0.machine(), "vif-openvswitch");
        testbed::state::assert_same(&before.0.without(&["links"]), &settled(dom0.machine()).without(&["links"]));
        assert_eq!(switch.ports().unwrap(), before.1);
        tally
    });
}

#[test]
fn vif_route_bears_any_call_and_any_store() {
    on_all_hosts("vif-route", |dice| routed_vif_bears_any_call(dice, &VIF_ROUTE));
}

#[test]
fn vif_nat_bears_any_call_and_any_store() {
    on_all_hosts("vif-nat", |dice| routed_vif_bears_any_call(dice, &VIF_NAT));
}

fn routed_vif_bears_any_call(mut dice: Dice, grammar: &Grammar) -> Tally {
    let dom0 = Dom0::new("dom0").unwrap();
    let guest = Guest::new(1).unwrap();
    for machine in [dom0.machine(), guest.machine()] {
        machine.set_sysctl("net.ipv6.conf.default.accept_dad", "0").unwrap();
    }
    dom0.machine().install_scripts(&Programs::ours().unwrap()).unwrap();
    ip_lines(
        dom0.machine(),
        "link add eth0 address 02:00:00:00:00:04 type veth peer name far0 address 02:00:00:00:00:05
         link set far0 up
         link set eth0 up
         address add 192.168.1.100/24 dev eth0
         address add 2001:db8:1::100/64 dev eth0
         route add default via 192.168.1.1 dev eth0
         link add vif1.0-emu address 02:00:00:00:00:02 type veth peer name qemu address 02:00:00:00:00:03",
    );
    let vif = guest.attach(&dom0, Nic::routed(grammar.program, "")).unwrap();
    let before = settled(dom0.machine());
    let tally = dom0.machine().inside(|| call_vif(&mut dice, grammar, &dom0, &vif)).unwrap();
    assert_no_marker(dom0.machine(), grammar.program);
    testbed::state::assert_same(&before.without(&["links"]), &settled(dom0.machine()).without(&["links"]));
    tally
}

fn call_vif(dice: &mut Dice, grammar: &Grammar, dom0: &Dom0, vif: &Vif) -> Tally {
    let mut tally = Tally::default();
    let before = fingerprint();
    let stored = dom0.server().snapshot();
    let backend = StorePath::parse(&vif.backend_path()).unwrap();
    dom0.server().clear_log();
    for _ in 0..CALLS / HOSTS {
        let store = seed_store(dice, dom0, &backend);
        let call = Call::new(dice, grammar);
        let output = call.run(grammar);
        let place = || format!("{store} {}", call.described(grammar));
        let now = fingerprint();
        let changed = now != before;
        if let Some(complaint) = complaint(grammar, &output, changed) {
            panic!("{}\n{complaint}\n{}", place(), changed_lines(&before, &now));
        }
        assert_writes_are_meant(dom0, &place);
        if changed {
            detach_again(&place, &before);
        }
        restore(dom0, &stored);
        tally.count(&output);
    }
    tally
}

fn changed_lines(before: &str, now: &str) -> String {
    let only = |one: &str, other: &str| -> Vec<String> {
        one.lines().filter(|line| !other.lines().any(|same| same == *line)).map(str::to_owned).collect()
    };
    format!("- {:?}\n+ {:?}", only(before, now), only(now, before))
}

/// Fills the backend's keys, well or badly; returns what it wrote, for a message.
fn seed_store(dice: &mut Dice, dom0: &Dom0, backend: &StorePath) -> String {
    let mut told = String::new();
    for (key, good) in KEYS {
        let bytes = match dice.below(5) {
            0 => value(dice, good),
            1 => dice.pick(good).as_bytes().to_vec(),
            _ => continue,
        };
        let bytes = &bytes[..bytes.len().min(2048)];
        dom0.server().seed(&backend.join(key).unwrap(), bytes).unwrap();
        write!(told, "{key}: {:?}; ", shortened(&OsString::from_vec(bytes.to_vec()))).unwrap();
    }
    told
}

/// The program writes nothing but what a toolstack and a frontend wait for.
fn assert_writes_are_meant(dom0: &Dom0, place: &dyn Fn() -> String) {
    for change in dom0.server().log() {
        let meant = match &change {
            Change::Write { path, .. } => {
                path.ends_with("/hotplug-error") || path.ends_with("/hotplug-status") || path.ends_with("/mtu")
            }
            Change::Commit => true,
            _ => false,
        };
        assert!(meant, "{}\nwrote to the store: {change:?}", place());
    }
    dom0.server().clear_log();
}

/// Takes the devices out of the bridge again, and gives them their names and settings back.
fn detach_again(place: &dyn Fn() -> String, before: &str) {
    let script = r#"
        # By the rows: a port may be called `--`.
        ! command -v ovs-vsctl >/dev/null || ovs-vsctl set bridge xenbr0 "ports=$(ovs-vsctl get port xenbr0 _uuid)"
        for path in /sys/class/net/*; do
            name=${path##*/}
            alias=$(cat "$path/ifalias")
            case $name in xenbr0|lo|qemu|eth0|far0|ovs-netdev) continue ;; vif1.0|vif1.0-emu) old=$name ;; *-emu) old=vif1.0-emu ;; *) old=vif1.0 ;; esac
            ip link set dev "$name" nomaster down
            [ "$name" = "$old" ] || ip link set dev "$name" name "$old"
            ip link set dev "$old" mtu 1500 alias ""
            ip -4 address flush dev "$old"
            echo 0 >"/proc/sys/net/ipv4/conf/$old/proxy_arp"
            echo 1 >"/proc/sys/net/ipv6/conf/$old/accept_ra"
        done
        ip -6 neighbour show proxy | while read -r address _ device _; do ip neighbour delete proxy "$address" dev "$device"; done
        ip link set dev vif1.0 address fe:ff:ff:ff:ff:ff
        ip link set dev vif1.0-emu address 02:00:00:00:00:02"#;
    let output = Command::new("sh").args(["-ec", script]).env_clear().env("PATH", ROOT_PATH).output().unwrap();
    assert!(output.status.success(), "after {}: {}", place(), String::from_utf8_lossy(&output.stderr));
    let now = fingerprint();
    assert!(now == *before, "after {}, and taking it back:\n{}", place(), changed_lines(before, &now));
}

fn restore(dom0: &Dom0, stored: &BTreeMap<String, Vec<u8>>) {
    let client = &mut dom0.store().client().unwrap();
    let now = dom0.server().snapshot();
    for path in now.keys().filter(|path| !stored.contains_key(*path)) {
        client.remove(&StorePath::parse(path).unwrap()).unwrap();
    }
    for (path, value) in stored.iter().filter(|(path, value)| now.get(*path) != Some(value)) {
        client.write(&StorePath::parse(path).unwrap(), value).unwrap();
    }
    dom0.server().clear_log();
}
