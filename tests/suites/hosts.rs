//! Hosts as they are: without parts of the kernel, without files that every host has, called in ways that no toolstack should. Each program
//! does its work, or says one clear sentence and leaves all as it was.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests; clippy only knows the functions marked so.

use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use testbed::guest::{Dom0, Guest, Hotplug, Nic, Outcome, Vif};
use testbed::lacking::{Refused, refuse};
use testbed::machine::{Machine, Programs, connect, wait_for};
use testbed::state::State;

/// Longest that any of these calls may take: nobody is slow here.
const LIMIT: Duration = Duration::from_secs(20);

/// A host in some condition.
#[derive(Default)]
struct Condition {
    /// What a shell does on the host before.
    prepare: &'static str,
    /// What a shell does before it becomes the program.
    before: &'static str,
    /// What the kernel refuses.
    refused: Vec<Refused>,
}

/// What a program makes of it.
#[derive(Clone, Copy)]
enum Then {
    /// All that it is to do.
    Works,
    /// Nothing, and it says why in a line with these words.
    Says(&'static str),
}

use Then::{Says, Works};

/// A host with a card, a bridge, and a guest of each mode.
struct Host {
    dom0: Dom0,
    condition: Condition,
    guests: Vec<(Guest, Vif)>,
    _router: Machine,
}

impl Host {
    fn new(condition: Condition) -> Self {
        let dom0 = Dom0::new("dom0").unwrap();
        let router = Machine::new("router").unwrap();
        let machine = dom0.machine();
        machine.set_sysctl("net.ipv6.conf.default.accept_dad", "0").unwrap();
        machine.install_scripts(&Programs::ours().unwrap()).unwrap();
        connect(machine, "eth0", &router, "eth0").unwrap();
        router.shell("ip address add 192.168.1.1/24 dev eth0; ip link set eth0 up").unwrap();
        machine
            .shell(
                "ip link add xenbr0 address 02:00:00:00:00:01 type bridge stp_state 0 forward_delay 0
                 ip link set xenbr0 up; ip link set eth0 up
                 ip address add 192.168.1.100/24 dev eth0; ip route add default via 192.168.1.1",
            )
            .unwrap();
        let nics = [
            Nic { ip: Some("192.168.9.1 2001:db8:9::1".to_owned()), ..Nic::on_bridge("xenbr0") },
            Nic::routed("vif-route", "192.168.2.2"),
            Nic::routed("vif-nat", "192.168.3.2"),
        ];
        let guests: Vec<_> = (1..)
            .zip(nics)
            .map(|(domain, nic)| {
                let guest = Guest::new(domain).unwrap();
                let vif = guest.attach(&dom0, nic).unwrap();
                (guest, vif)
            })
            .collect();
        machine.shell(condition.prepare).unwrap();
        Self { dom0, condition, guests, _router: router }
    }

    fn machine(&self) -> &Machine {
        self.dom0.machine()
    }

    /// The call behind a shell that first does what the condition says.
    fn in_condition(&self, call: &Command) -> Outcome {
        let mut command = self.machine().command("sh");
        command.args(["-c", &format!("{}\nexec \"$@\"", self.condition.before), "sh"]);
        // Behind nsenter's words, which `Machine::command` ends by `--`.
        command.args(call.get_args().skip_while(|word| *word != "--").skip(1));
        command.envs(call.get_envs().filter_map(|(name, value)| Some((name, value?))));
        refuse(&mut command, &self.condition.refused);
        Outcome::of(&mut command).unwrap()
    }

    fn vif(&self, place: usize, hotplug: Hotplug) -> Outcome {
        let mut call = self.guests[place].1.hotplug_command(hotplug);
        call.args(hotplug.words());
        self.in_condition(&call)
    }

    fn network(&self, words: &str) -> Outcome {
        let mut words = words.split(' ');
        let mut call = self.machine().command(format!("/etc/xen/scripts/{}", words.next().unwrap()));
        call.args(words);
        self.in_condition(&call)
    }

    fn status(&self, place: usize) -> String {
        self.guests[place].1.backend("hotplug-status").unwrap().unwrap_or_default()
    }

    /// Online and offline of a guest.
    #[track_caller]
    fn try_vif(&self, place: usize, then: Then) {
        let before = State::settled(self.machine()).unwrap();
        let online = self.vif(place, Hotplug::Online);
        assert!(online.duration < LIMIT, "{online}");
        match then {
            Works => assert_eq!((online.status, self.status(place).as_str()), (Some(0), "connected"), "{online}"),
            Says(words) => {
                assert_sentence(&online, words);
                assert_ne!(self.status(place), "connected");
                self.assert_as(&before, &online);
            }
        }
        let offline = self.vif(place, Hotplug::Offline);
        assert_eq!(offline.status, Some(0), "{offline}");
    }

    /// Start and stop of a network-wide program.
    #[track_caller]
    fn try_network(&self, words: &str, then: Then) {
        let before = State::settled(self.machine()).unwrap();
        let (program, rest) = words.split_once(' ').unwrap();
        let start = self.network(&format!("{program} start {rest}"));
        assert!(start.duration < LIMIT, "{start}");
        match then {
            Works => {
                assert_eq!(start.status, Some(0), "{start}");
                let stop = self.network(&format!("{program} stop {rest}"));
                assert_eq!(stop.status, Some(0), "{stop}");
            }
            Says(words) => assert_sentence(&start, words),
        }
        self.assert_as(&before, &start);
    }

    #[track_caller]
    fn assert_as(&self, before: &State, outcome: &Outcome) {
        let left = || Ok(before.difference(&State::of(self.machine())?));
        if wait_for("the state before", LIMIT, || Ok(left()?.is_empty())).is_err() {
            panic!("left after {outcome}:\n{}", left().unwrap().lines().join("\n"));
        }
    }
}

#[track_caller]
fn assert_sentence(outcome: &Outcome, words: &str) {
    assert_eq!(outcome.status, Some(1), "{outcome}");
    assert!(outcome.stderr.contains(words) && !outcome.stderr.contains("panicked"), "{words:?} is missing: {outcome}");
    assert_eq!(outcome.stderr.trim_end().lines().count(), 1, "{outcome}");
    assert!(!outcome.stderr.contains("needs a look"), "nothing was left, and still: {outcome}");
}

const NETWORKS: [&str; 3] =
    ["network-bridge netdev=eth0 bridge=br9", "network-nat bridge=br8 address=192.168.8.1/24", "network-route masquerade=yes"];

/// Every program works as ever.
#[track_caller]
fn all_work(condition: Condition) -> Host {
    let host = Host::new(condition);
    (0..3).for_each(|place| host.try_vif(place, Works));
    NETWORKS.iter().for_each(|words| host.try_network(words, Works));
    host
}

fn prepared(prepare: &'static str) -> Condition {
    Condition { prepare, ..Condition::default() }
}

fn called(before: &'static str) -> Condition {
    Condition { before, ..Condition::default() }
}

#[test]
fn a_kernel_without_nf_tables() {
    let refused = vec![Refused::sockets(libc::AF_NETLINK, Some(libc::NETLINK_NETFILTER), Errno::EPROTONOSUPPORT)];
    let host = Host::new(Condition { refused, ..Condition::default() });
    // A guest that is to be held to its addresses does not come without a filter.
    (0..3).for_each(|place| host.try_vif(place, Says("nf_tables")));
    for (_, vif) in &host.guests {
        host.dom0.store().write(&format!("{}/antispoof", vif.backend_path()), "no").unwrap();
    }
    (0..3).for_each(|place| host.try_vif(place, Works));
    host.try_network(NETWORKS[0], Works);
    host.try_network(NETWORKS[1], Says("nf_tables"));
    host.try_network(NETWORKS[2], Says("nf_tables"));
    host.try_network("network-route masquerade=no", Works);
}

#[test]
fn a_kernel_without_ipv6() {
    let refused = vec![Refused::sockets(libc::AF_INET6, None, Errno::EAFNOSUPPORT)];
    let prepare = "mount -t tmpfs -o ro none /proc/sys/net/ipv6; mount --bind /dev/null /proc/net/if_inet6";
    let host = Host::new(Condition { prepare, refused, ..Condition::default() });
    (0..3).for_each(|place| host.try_vif(place, Works));
    NETWORKS.iter().for_each(|words| host.try_network(words, Works));
}

#[test]
fn strict_reverse_path_filters() {
    let host = all_work(prepared("for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 1 >$f; done"));
    assert_eq!(host.network("network-route start masquerade=yes").status, Some(0));
    for (place, address, gateway) in [(1, "192.168.2.2/24", "192.168.2.254"), (2, "192.168.3.2/24", "192.168.3.129")] {
        assert_eq!(host.vif(place, Hotplug::Online).status, Some(0));
        let guest = &host.guests[place].0;
        guest.configure(0, address, Some(gateway)).unwrap();
        guest.machine().run("ping", ["-c1", "-W5", "192.168.1.100"]).unwrap();
    }
}

/// A dom0, and guests of vif-nat with these addresses.
fn translated(addresses: &[&str]) -> (Dom0, Vec<(Guest, Vif)>) {
    let dom0 = Dom0::new("dom0").unwrap();
    dom0.machine().set_sysctl("net.ipv6.conf.default.accept_dad", "0").unwrap();
    dom0.machine().install_scripts(&Programs::ours().unwrap()).unwrap();
    let attach = |(domain, address): (u16, &&str)| {
        let guest = Guest::new(domain).unwrap();
        let vif = guest.attach(&dom0, Nic::routed("vif-nat", address)).unwrap();
        (guest, vif)
    };
    let guests = (1..).zip(addresses).map(attach).collect();
    (dom0, guests)
}

#[track_caller]
fn assert_reached(dom0: &Dom0, address: &str) {
    dom0.machine().run("ping", ["-c1", "-W5", address]).unwrap();
}

/// vif-nat works its own end out of the guest's address: 10.5.0.137 for 10.5.0.10, and the other way round.
#[test]
fn a_guest_of_vif_nat_does_not_cut_another_off() {
    let (dom0, guests) = translated(&["10.5.0.137", "10.5.0.10"]);
    let [(first, vif), (second, other)] = guests.as_slice() else { unreachable!() };
    let online = Outcome::of(vif.hotplug_command(Hotplug::Online).args(["gateway=10.5.0.200", "online"])).unwrap();
    assert_eq!(online.status, Some(0), "{online}");
    // The second time it finds all as it left it.
    for _ in 0..2 {
        let online = other.hotplug(Hotplug::Online).unwrap();
        assert_eq!(online.status, Some(0), "{online}");
    }
    for (guest, address, gateway) in [(first, "10.5.0.137", "10.5.0.200"), (second, "10.5.0.10", "10.5.0.137")] {
        guest.configure(0, &format!("{address}/24"), Some(gateway)).unwrap();
        assert_reached(&dom0, address);
    }
    let given = Outcome::of(other.hotplug_command(Hotplug::Online).args(["gateway=10.5.0.137", "online"])).unwrap();
    assert_sentence(&given, "10.5.0.137, is the address of the guest at vif1.0");

    let (dom0, guests) = translated(&["10.5.0.10", "10.5.0.137"]);
    let [(first, vif), (_, other)] = guests.as_slice() else { unreachable!() };
    assert_eq!(vif.hotplug(Hotplug::Online).unwrap().status, Some(0));
    first.configure(0, "10.5.0.10/24", Some("10.5.0.137")).unwrap();
    let before = State::settled(dom0.machine()).unwrap();
    assert_sentence(&other.hotplug(Hotplug::Online).unwrap(), "10.5.0.137 is an address of this host's own");
    testbed::state::assert_same(&before, &State::settled(dom0.machine()).unwrap());
    assert_reached(&dom0, "10.5.0.10");
}

/// A guest with the router's address would get what is for the router, from this host and from the LAN, for which the host answers.
#[test]
fn a_guest_does_not_take_the_place_of_the_router() {
    let dom0 = Dom0::new("dom0").unwrap();
    dom0.machine().install_scripts(&Programs::ours().unwrap()).unwrap();
    dom0.machine().run("ip", ["link", "add", "eth0", "type", "veth", "peer", "name", "wire"]).unwrap();
    for words in [
        "link set wire up",
        "link set eth0 up",
        "address add 192.168.1.100/24 dev eth0",
        "address add 2001:db8:1::100/64 dev eth0 nodad",
        "route add default via 192.168.1.1",
        "-6 route add default via 2001:db8:1::1",
    ] {
        dom0.machine().run("ip", words.split(' ')).unwrap();
    }
    for (domain, program, ip, router) in [
        (1, "vif-route", "192.168.1.1", "192.168.1.1"),
        (2, "vif-route", "192.168.1.7 2001:db8:1::1", "2001:db8:1::1"),
        (3, "vif-nat", "192.168.1.1", "192.168.1.1"),
        (5, "vif-route", "192.168.1.0/28", "192.168.1.1"),
    ] {
        let guest = Guest::new(domain).unwrap();
        let vif = guest.attach(&dom0, Nic::routed(program, ip)).unwrap();
        let before = State::settled(dom0.machine()).unwrap();
        assert_sentence(
            &vif.hotplug(Hotplug::Online).unwrap(),
            &format!("{router}, an address of the guest, is that of the router at eth0"),
        );
        testbed::state::assert_same(&before, &State::settled(dom0.machine()).unwrap());
    }
    // The host's router is a guest: it comes, the host is told to go by it, and the guest's interface is set up once more.
    dom0.machine().run("ip", ["route", "del", "default"]).unwrap();
    let guest = Guest::new(4).unwrap();
    let vif = guest.attach(&dom0, Nic::routed("vif-route", "192.168.1.1")).unwrap();
    assert_eq!(vif.hotplug(Hotplug::Online).unwrap().status, Some(0));
    dom0.machine().run("ip", ["route", "add", "default", "via", "192.168.1.1", "dev", "vif4.0"]).unwrap();
    let online = vif.hotplug(Hotplug::Online).unwrap();
    assert_eq!(online.status, Some(0), "{online}");
    let defaults = dom0.machine().run("ip", ["-4", "route", "show", "default"]).unwrap();
    assert!(defaults.starts_with("default via 192.168.1.1 dev vif4.0"), "{defaults}");
    guest.configure(0, "192.168.1.1/24", None).unwrap();
    assert_reached(&dom0, "192.168.1.1");
}

/// What was this host's end of the link is the guest's address the next time.
#[test]
fn a_guest_of_vif_nat_may_get_the_address_of_its_gateway() {
    let (dom0, guests) = translated(&["10.5.0.10"]);
    let [(guest, vif)] = guests.as_slice() else { unreachable!() };
    assert_eq!(vif.hotplug(Hotplug::Online).unwrap().status, Some(0));
    dom0.store().write(&format!("{}/ip", vif.backend_path()), "10.5.0.137").unwrap();
    let online = vif.hotplug(Hotplug::Online).unwrap();
    assert_eq!(online.status, Some(0), "{online}");
    guest.configure(0, "10.5.0.137/24", Some("10.5.0.10")).unwrap();
    assert_reached(&dom0, "10.5.0.137");
}

/// Each one's usual gateway is the other's address: this host must never have the address of a guest that it has let in.
#[test]
fn two_guests_of_vif_nat_come_at_once() {
    const ROUNDS: usize = 20;
    const ADDRESSES: [&str; 2] = ["10.5.0.10", "10.5.0.137"];
    let (dom0, guests) = translated(&ADDRESSES);
    for round in 0..ROUNDS {
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let runs: Vec<_> = guests.iter().map(|(_, vif)| scope.spawn(|| vif.hotplug(Hotplug::Online).unwrap())).collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        });
        let own = dom0.machine().run("ip", ["-4", "-o", "address", "show"]).unwrap();
        for (outcome, address) in outcomes.iter().zip(ADDRESSES) {
            match outcome.status {
                Some(0) => assert!(!own.contains(&format!(" {address}/")), "round {round}: this host has {address}: {own}"),
                _ => assert_sentence(outcome, &format!("{address} is an address of this host's own")),
            }
        }
        assert!(outcomes.iter().any(|outcome| outcome.status == Some(0)), "round {round}: nobody came in: {outcomes:?}");
        for (_, vif) in &guests {
            assert_eq!(vif.hotplug(Hotplug::Offline).unwrap().status, Some(0));
        }
    }
}

#[test]
fn nobody_listens_to_the_system_log() {
    all_work(prepared("rm /dev/log; rm -r /var/log/xen"));
}

#[test]
fn etc_cannot_be_written_to() {
    let host = all_work(prepared("mount -o remount,bind,ro /etc"));
    host.machine().shell("mount -t tmpfs none /usr/local/sbin; mkdir -p /run/systemd/system").unwrap();
    host.machine().write_program("/usr/local/sbin/dnsmasq", "#!/bin/sh\n").unwrap();
    let before = State::settled(host.machine()).unwrap();
    let start = host.network("network-nat start dhcp=dnsmasq");
    assert_sentence(&start, "dnsmasq");
    host.assert_as(&before, &start);
}

#[test]
fn early_at_boot_there_is_no_var() {
    let host = all_work(prepared("mount -t tmpfs none /var; ! test -e /var/run"));
    assert!(host.machine().path("/run/xen-network").exists());
}

#[test]
fn run_is_full_or_read_only() {
    let host = Host::new(prepared(
        "mount -t tmpfs -o ro,mode=755 none /run/xen-network 2>/dev/null || { mkdir /run/xen-network; mount -t tmpfs -o ro,mode=755 none /run/xen-network; }",
    ));
    // The lock of the interface is there.
    assert_sentence(&host.vif(0, Hotplug::Online), "/run/xen-network");
    for words in NETWORKS {
        host.try_network(words, Says("/run/xen-network"));
    }
}

#[test]
fn odd_locales() {
    for before in ["export LC_ALL=tr_TR.UTF-8 LANG=tr_TR LANGUAGE=tr", "export LC_ALL=nowhere.never LANG=$(printf '\\377')"] {
        all_work(called(before));
    }
}

#[test]
fn no_environment_but_what_says_which_guest() {
    all_work(called("for name in PATH HOME SHELL PWD LANG; do unset $name; done"));
    let host = Host::new(called(""));
    let outcome = Outcome::of(host.machine().command("env").args(["-i", "/etc/xen/scripts/vif-bridge", "online"])).unwrap();
    assert_sentence(&outcome, "XENBUS_PATH is missing");
}

#[test]
fn odd_umasks() {
    for before in ["umask 000", "umask 077"] {
        let host = all_work(called(before));
        let start = host.network("network-bridge start netdev=eth0 bridge=br9");
        assert_eq!(start.status, Some(0), "{before}: {start}");
        let found = host.machine().shell("find /run/xen-network /run/xen-hotplug -printf '%m %u %p\\n'").unwrap();
        for line in found.lines() {
            let mode = u32::from_str_radix(line.split(' ').next().unwrap(), 8).unwrap();
            assert!(mode & 0o022 == 0 && line.contains(" root "), "{before}: others can write to {line}");
        }
        let log = host.machine().path("/var/log/xen/xen-hotplug.log");
        assert!(!log.exists() || log.metadata().unwrap().mode() & 0o022 == 0);
    }
}

#[test]
fn standard_streams_are_closed() {
    for before in ["exec <&- >&- 2>&-", "exec <&-", "exec >&- 2>&-"] {
        all_work(called(before));
    }
}

#[test]
fn a_thousand_files_are_inherited() {
    // The shell's own numbers go up to 9; dash knows no others.
    let host = all_work(called(
        "[ -n \"$MANY\" ] || MANY=1 exec bash -c 'ulimit -n 4096; for n in {10..1033}; do eval \"exec $n</dev/null\"; done; exec \"$@\"' bash \"$@\"",
    ));
    drop(host);
    // With all of them taken there is no socket to be had.
    let host = Host::new(called(
        "exec bash -c 'ulimit -n 1024; for n in {3..254} {256..1023}; do eval \"exec $n</dev/null\"; done 2>/dev/null; exec \"$@\"' bash \"$@\"",
    ));
    let outcome = host.vif(0, Hotplug::Online);
    assert!(outcome.status == Some(0) || outcome.status == Some(1) && outcome.stderr.contains("os error 24"), "{outcome}");
}

#[test]
fn little_memory_may_be_had() {
    all_work(called("ulimit -v 16384"));
    for kilobytes in ["8000", "5000", "3000"] {
        let before: &'static str = Box::leak(format!("ulimit -v {kilobytes}").into_boxed_str());
        let host = Host::new(called(before));
        let outcome = host.vif(0, Hotplug::Online);
        assert!(outcome.duration < LIMIT);
        // With too little it does not even start, or ends where it is; nobody may take that for a success.
        assert_eq!(outcome.status == Some(0), host.status(0) == "connected", "{kilobytes}: {outcome}");
        println!("{kilobytes} KiB: {outcome}");
    }
}

#[test]
fn the_working_directory_is_gone() {
    all_work(called("mkdir -p /run/gone; cd /run/gone; rmdir /run/gone"));
}
