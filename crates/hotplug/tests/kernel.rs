//! The model against the running kernel: what [`Host::after`] foretells is what the kernel then shows, and inverses lead back.
//!
//! Each case runs in a network namespace of its own, that of a thread.
#![allow(clippy::unwrap_used, clippy::expect_used)] // Helpers of tests are tests; clippy only knows the functions marked so.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use hotplug::apply::{Effects, FailureKind};
use hotplug::host::{
    Address, AddressFlags, AdminState, Family, GroupMask, Host, Lifetimes, Neighbour, NeighbourKind, Path, Route, Rule, Switch,
};
use hotplug::interface_name::InterfaceName;
use hotplug::operation::{LinkChange, NewBridge, Operation, PortChange, StoreEntry};
use hotplug::sysctl::{Sysctl, SysctlKey};
use hotplug::system::{Answer, Depth, System};
use nix::sched::{CloneFlags, unshare};
use testbed::advertisement::advertise;
use testbed::xenstore_server::Server;
use xenstore::{DEFAULT_LIMIT, StorePath};

/// How long the kernel may take to settle: it does some of its work after the answer.
const SETTLING: Duration = Duration::from_secs(10);

/// Runs `test` in a network namespace that ends with it.
fn in_namespace<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("the kernel tests need a network namespace: run them as root");
            // Duplicate address detection would make each IPv6 address wait for a second.
            for place in ["all", "default"] {
                std::fs::write(format!("/proc/sys/net/ipv6/conf/{place}/accept_dad"), "0").unwrap();
            }
            ip("link set lo up");
            test()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Has `ip` do each line of `lines`, those that begin with `-6` last and by `ip -6`. A line `sysctl NAME=VALUE` writes a setting, and `advertise
/// DEVICE` sends a router advertisement, after all others.
fn ip(lines: &str) {
    let lines = lines.lines().map(str::trim);
    let (own, lines): (Vec<&str>, Vec<&str>) =
        lines.partition(|line| line.starts_with("sysctl ") || line.starts_with("advertise "));
    let (six, other): (Vec<&str>, Vec<&str>) = lines.into_iter().partition(|line| line.starts_with("-6 "));
    batch(&["-batch", "-"], &other);
    await_addresses();
    batch(&["-6", "-batch", "-"], &six);
    for line in own {
        match line.split_once(' ').unwrap() {
            ("sysctl", setting) => {
                let (name, value) = setting.split_once('=').unwrap();
                std::fs::write(format!("/proc/sys/{name}"), value).unwrap();
            }
            (_, device) => await_advertised_route(device),
        }
    }
}

/// Advertises a router on `device` until the host has a default route, and an address, of it.
fn await_advertised_route(device: &str) {
    let begin = Instant::now();
    let shows = |words: &str, text: &str| {
        let output = Command::new("ip").args(words.split(' ')).output().unwrap().stdout;
        String::from_utf8_lossy(&output).contains(text)
    };
    while !(shows("-6 route show default", "proto ra") && shows("-6 address show -tentative", "2001:db8:9:")) {
        // Until the router has an address of its own it cannot send.
        let sent = advertise(device, "2001:db8:9::".parse().unwrap());
        assert!(begin.elapsed() < SETTLING, "the advertisement makes no default route: {sent:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until every IPv6 address can be used, as a route's source must be: even without detection that takes the kernel a moment.
fn await_addresses() {
    let begin = Instant::now();
    loop {
        let tentative = Command::new("ip").args(["-6", "-o", "address", "show", "tentative"]).output().unwrap().stdout;
        if tentative.is_empty() {
            return;
        }
        assert!(begin.elapsed() < SETTLING, "still tentative: {}", String::from_utf8_lossy(&tentative));
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn batch(options: &[&str], lines: &[&str]) {
    if lines.is_empty() {
        return;
    }
    let mut child = Command::new("ip").args(options).stdin(Stdio::piped()).spawn().expect("iproute2's ip is needed");
    let text: String = lines.iter().map(|line| format!("{}\n", line.trim_start_matches("-6 "))).collect();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "ip failed");
}

fn name(text: &str) -> InterfaceName {
    text.parse().unwrap()
}

/// A host with a bit of everything.
const RICH_HOST: &str = "
    link add eth0 address 00:16:3e:00:00:01 type veth peer name wire0 address 00:16:3e:00:00:02
    link add eth1 address 00:16:3e:00:00:03 type veth peer name wire1 address 00:16:3e:00:00:04
    link add xenbr1 address 00:16:3e:00:00:05 type bridge stp_state 0 forward_delay 0
    link add vif1.0 address 00:16:3e:00:00:06 type veth peer name guest1
    link set wire0 up
    link set wire1 up
    link set eth0 up
    link set eth1 up
    link set xenbr1 up
    link set eth0 alias uplink
    address add 192.168.1.100/24 broadcast + dev eth0 label eth0
    address add 192.168.1.101/24 broadcast + dev eth0 label eth0:1
    address add 10.9.8.7 peer 10.9.8.8/32 dev eth0 label eth0:p2p
    address add 172.16.5.4/16 dev eth0 metric 77 valid_lft 5000 preferred_lft 4000
    address add 192.168.7.1/24 dev eth1
    address add 192.168.8.1/24 dev xenbr1
    address add 2001:db8:1::100/64 dev eth0
    address add 2001:db8:1::200/64 dev eth0 preferred_lft 0
    address add 2001:db8:2::1/128 dev eth0
    address add 2001:db8:3::1 peer 2001:db8:3::2/128 dev eth0
    address add 2001:db8:4::5/64 dev eth0 noprefixroute valid_lft 3000 preferred_lft 2000
    address add 2001:db8:5::5/64 dev eth0 valid_lft 3000 preferred_lft 2000
    address add 2001:db8:5::6/64 dev eth0 valid_lft 1000 preferred_lft 900
    address add 2001:db8:6::6/64 dev eth0 metric 33
    address add 2001:db8:7::1/64 dev eth1
    route add default via 192.168.1.1 dev eth0 metric 100
    route add 10.20.0.0/16 via 192.168.1.2 dev eth0 src 192.168.1.101 mtu 1400 advmss 1300 proto static
    route add 10.30.0.0/16 dev eth0 scope link table 100
    route add default via 192.168.1.9 dev eth0 table 100
    route add 10.40.0.0/16 table 4000 metric 5 nexthop via 192.168.1.3 dev eth0 weight 2 nexthop via 192.168.1.4 dev eth0 weight 3
    route add 10.50.0.0/16 nexthop via 192.168.1.3 dev eth0 nexthop via 192.168.7.3 dev eth1
    route add 10.60.0.0/16 via 192.168.99.1 dev eth0 onlink
    route add 10.70.0.0/16 via inet6 fe80::9 dev eth0
    -6 route add default via 2001:db8:1::1 dev eth0 metric 50
    -6 route add 2001:db8:20::/48 via fe80::1 dev eth0 mtu 1400 src 2001:db8:1::100
    -6 route add 2001:db8:30::/48 dev eth0 table 100
    -6 route add 2001:db8:40::/48 nexthop via 2001:db8:1::3 dev eth0 weight 2 nexthop via 2001:db8:1::4 dev eth0
    -6 route add 2001:db8:60::/48 nexthop via 2001:db8:1::3 dev eth0 nexthop via 2001:db8:7::3 dev eth1
    -6 route add 2001:db8:50::/48 via fe80::1 dev eth0 expires 5000
    -6 route add default via fe80::1 dev eth0 pref high metric 1024
    rule add iif eth0 table 100 priority 1000
    rule add from 192.168.1.101 fwmark 0x7 table 100 priority 1001
    rule add not to 10.0.0.0/8 table 4000 priority 1002
    -6 rule add oif eth0 table 100 priority 1003
    neigh add 192.168.1.3 lladdr 00:16:3e:00:01:03 nud permanent dev eth0
    neigh add 2001:db8:1::3 lladdr 00:16:3e:00:01:03 nud permanent dev eth0
    neigh add 192.168.1.4 lladdr 00:16:3e:00:01:04 nud noarp dev eth0
    neigh add proxy 192.168.1.77 dev eth0
    neigh add proxy 2001:db8:1::77 dev eth0";

/// Every device of [`RICH_HOST`], and those that cases make.
const DEVICES: [&str; 9] = ["eth0", "wire0", "eth1", "wire1", "xenbr1", "vif1.0", "guest1", "peth0", "xenbr0"];

fn keys() -> Vec<(Family, SysctlKey)> {
    let key = |family, text: &str| (family, SysctlKey::new(text).unwrap());
    vec![
        key(Family::V6, "accept_ra"),
        key(Family::V6, "autoconf"),
        key(Family::V6, "forwarding"),
        key(Family::V6, "accept_redirects"),
        key(Family::V4, "rp_filter"),
        key(Family::V4, "proxy_arp"),
        key(Family::V4, "forwarding"),
        key(Family::V4, "accept_redirects"),
        key(Family::V4, "send_redirects"),
    ]
}

fn observe(system: &mut System) -> Host {
    let devices: Vec<InterfaceName> = DEVICES.iter().map(|device| name(device)).collect();
    let mut host = system.host_of(&devices, Depth::Everything, &keys()).unwrap();
    for device in &devices {
        system.note_port(&mut host, device).unwrap();
    }
    for (family, key) in keys() {
        system.note_sysctl(&mut host, Sysctl::of_host(family, &key)).unwrap();
    }
    host
}

/// What two looks at the same state agree on: no numbers, no order among routes, no run-down times.
fn comparable(host: &Host) -> Host {
    let timeless = |time: Option<u32>| time.map(|seconds| seconds.min(1));
    let mut host = host.clone();
    for link in &mut host.links {
        link.index = None;
    }
    for address in &mut host.addresses {
        address.lifetimes =
            Lifetimes { valid: timeless(address.lifetimes.valid), preferred: timeless(address.lifetimes.preferred) };
    }
    for route in &mut host.routes {
        route.expires = timeless(route.expires);
    }
    host.links.sort_by(|one, other| one.name.cmp(&other.name));
    host.addresses.sort_by(|one, other| (&one.device, one.family()).cmp(&(&other.device, other.family())));
    host.routes.sort_by_key(|route| format!("{route:?}"));
    host.rules.sort_by_key(|rule| (rule.family, rule.priority));
    host.neighbours.sort_by_key(|neighbour| format!("{neighbour:?}"));
    host
}

/// What `seen` has too much and too little, line by line.
fn difference(wanted: &Host, seen: &Host) -> Vec<String> {
    let lines = |host: &Host| -> Vec<String> {
        let host = comparable(host);
        let links = host.links.iter().map(|link| format!("{link:?}"));
        let addresses = host.addresses.iter().map(|address| format!("{address:?}"));
        let routes = host.routes.iter().map(|route| format!("{route} {route:?}"));
        let rules = host.rules.iter().map(|rule| format!("{rule:?}"));
        let neighbours = host.neighbours.iter().map(|neighbour| format!("{neighbour:?}"));
        let sysctls = host.sysctls.iter().map(|(sysctl, value)| format!("{sysctl} = {value}"));
        links.chain(addresses).chain(routes).chain(rules).chain(neighbours).chain(sysctls).collect()
    };
    let (wanted, seen) = (lines(wanted), lines(seen));
    let missing = wanted.iter().filter(|line| !seen.contains(line)).map(|line| format!("- {line}"));
    let added = seen.iter().filter(|line| !wanted.contains(line)).map(|line| format!("+ {line}"));
    let mut difference: Vec<String> = missing.chain(added).collect();
    if difference.is_empty() {
        let differing = wanted.iter().zip(&seen).filter(|(wanted, seen)| wanted != seen);
        difference
            .extend(differing.map(|(wanted, seen)| format!("in another order, or another number of times: {wanted} / {seen}")));
    }
    difference
}

/// Waits until the kernel shows `wanted`; gives what differs when it never does.
fn await_state(system: &mut System, wanted: &Host) -> Vec<String> {
    let begin = Instant::now();
    loop {
        let difference = difference(wanted, &observe(system));
        if difference.is_empty() || begin.elapsed() > SETTLING {
            return difference;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The host once two looks agree. A look at a device has the kernel follow its carrier at once (`rtnl_getlink()`, net/core/rtnetlink.c); that of
/// its bridge then follows at the next look.
fn settled(system: &mut System) -> Host {
    let begin = Instant::now();
    let mut before = observe(system);
    loop {
        let now = observe(system);
        let difference = difference(&before, &now);
        if difference.is_empty() {
            return now;
        }
        assert!(begin.elapsed() <= SETTLING, "the host does not settle: {difference:?}");
        before = now;
    }
}

/// Performs `operation` on a rich host and takes it back; gives every way in which the kernel and the model disagree.
fn try_case(sentence: &str, setup: &str, operation: &(dyn Fn(&Host) -> Operation + Sync)) -> Vec<String> {
    in_namespace(|| {
        ip(RICH_HOST);
        ip(setup);
        let mut system = System::open();
        let before = settled(&mut system);
        let operation = operation(&before);
        if let Err(failure) = system.perform(&operation) {
            return vec![format!("{sentence}: {failure}")];
        }
        let forward = await_state(&mut system, &before.after(&operation));
        let mut complaints: Vec<String> =
            forward.into_iter().map(|line| format!("{sentence}: after `{operation}`: {line}")).collect();
        let inverse = operation.inverse(&before);
        for step in &inverse {
            match system.perform(step) {
                Err(failure) if failure.kind != FailureKind::Absent => complaints.push(format!("{sentence}: undoing: {failure}")),
                _ => {}
            }
        }
        let steps: Vec<String> = inverse.iter().map(ToString::to_string).collect();
        let backward = await_state(&mut system, &before);
        complaints.extend(backward.into_iter().map(|line| format!("{sentence}: after undoing by {steps:?}: {line}")));
        complaints
    })
}

/// A case: its sentence, more set-up, and the operation on the host as it then is.
type Case = (&'static str, &'static str, Box<dyn Fn(&Host) -> Operation + Sync>);

fn case(sentence: &'static str, operation: impl Fn(&Host) -> Operation + Sync + 'static) -> Case {
    (sentence, "", Box::new(operation))
}

fn run(cases: Vec<Case>) {
    let complaints: Vec<String> =
        cases.iter().flat_map(|(sentence, setup, operation)| try_case(sentence, setup, operation.as_ref())).collect();
    assert!(complaints.is_empty(), "{} disagreements:\n{}", complaints.len(), complaints.join("\n"));
}

fn set(device: &str, change: LinkChange) -> Operation {
    Operation::SetLink { device: name(device), change }
}

fn address_of(host: &Host, ip: &str) -> Address {
    host.addresses.iter().find(|address| address.network.ip().to_string() == ip).unwrap().clone()
}

fn new_address(device: &str, network: &str) -> Address {
    let network = network.parse().unwrap();
    Address {
        device: name(device),
        network,
        peer: None,
        broadcast: None,
        label: network.is_ipv4().then(|| device.to_owned()),
        scope: 0,
        flags: AddressFlags::default(),
        lifetimes: Lifetimes::default(),
        metric: None,
        origin: None,
    }
}

fn route_to(host: &Host, destination: &str, table: u32) -> Route {
    let destination = destination.parse().unwrap();
    host.routes.iter().find(|route| route.destination == destination && route.table == table).unwrap().clone()
}

fn rule_of(host: &Host, priority: u32) -> Rule {
    host.rules.iter().find(|rule| rule.priority == priority).unwrap().clone()
}

#[test]
fn links_change_as_foretold() {
    let up = || LinkChange { state: Some(AdminState::Up), ..LinkChange::default() };
    run(vec![
        case("a bridge is made", |_| {
            let mac = Some("00:16:3e:00:00:aa".parse().unwrap());
            Operation::CreateBridge(NewBridge { name: name("xenbr0"), mac, mtu: 1400, transmit_queue: 777 })
        }),
        case("a bridge is deleted", |_| Operation::DeleteBridge(name("xenbr1"))),
        (
            "a bridge with ports is deleted",
            "link set eth1 master xenbr1\nlink set vif1.0 master xenbr1\nroute add 10.80.0.0/16 via 192.168.8.2",
            Box::new(|_| Operation::DeleteBridge(name("xenbr1"))),
        ),
        case("a device gets another name while it is up", |_| Operation::RenameLink { from: name("eth0"), to: name("peth0") }),
        case("a device gets another name while it is down", |_| Operation::RenameLink { from: name("vif1.0"), to: name("peth0") }),
        (
            "labels follow a renaming, and its undoing",
            "address add 10.1.1.1/24 dev eth0 label eth0:a\naddress add 10.1.1.2/24 dev eth0 label eth0x\naddress add 10.1.2.2/24 dev eth0 label eth0:longer1234",
            Box::new(|_| Operation::RenameLink { from: name("eth0"), to: name("peth0") }),
        ),
        case("a device goes down", |_| set("eth0", LinkChange::down())),
        case("a device comes up", move |_| set("vif1.0", up())),
        ("a device with addresses comes up", "address add 10.2.2.2/24 dev vif1.0", Box::new(|_| set("vif1.0", LinkChange::up()))),
        case("a device that is up is set up", |_| set("eth0", LinkChange::up())),
        case("a device joins a bridge", |_| set("vif1.0", LinkChange::port_of(&name("xenbr1")))),
        ("a device leaves a bridge", "link set vif1.0 master xenbr1", Box::new(|_| set("vif1.0", LinkChange::free()))),
        case("a device changes in all respects at once", |_| {
            set(
                "vif1.0",
                LinkChange {
                    state: Some(AdminState::Up),
                    mac: Some("fe:ff:ff:ff:ff:ff".parse().unwrap()),
                    mtu: Some(1500),
                    membership: LinkChange::port_of(&name("xenbr1")).membership,
                    promiscuous: Some(Switch::On),
                    all_multicast: Some(Switch::On),
                    alias: Some("a guest".to_owned()),
                },
            )
        }),
        case("an alias goes", |_| set("eth0", LinkChange { alias: Some(String::new()), ..LinkChange::default() })),
    ]);
}

/// A port with all that a kernel without VLANs keeps of one. `bridge` does what `ip` does not.
const HARDENED_PORT: &str = "link set vif1.0 master xenbr1
    link set dev vif1.0 type bridge_slave isolated on learning off group_fwd_mask 0x4001";

/// VLANs are tried on real Xen (tests/xen/dom0/scenarios/vlan.sh): the kernels of build machines may lack them.
#[test]
fn ports_change_as_foretold() {
    let change =
        |isolated, learning| Operation::SetPort { device: name("vif1.0"), change: PortChange { isolated, learning, groups: None } };
    let mac = || "00:16:3e:00:00:77".parse().unwrap();
    let station = move || Operation::AddStation { device: name("vif1.0"), mac: mac() };
    run(vec![
        ("a port is isolated", "link set vif1.0 master xenbr1", Box::new(move |_| change(Some(Switch::On), None))),
        (
            "a port is isolated and nothing is learnt from it",
            "link set vif1.0 master xenbr1",
            Box::new(move |_| change(Some(Switch::On), Some(Switch::Off))),
        ),
        (
            "a port shows all to the packet filter",
            "link set vif1.0 master xenbr1 up",
            Box::new(|_| Operation::SetPort {
                device: name("vif1.0"),
                change: PortChange { groups: Some(GroupMask::PAST_THE_FILTER), ..PortChange::default() },
            }),
        ),
        ("a port is as others again", HARDENED_PORT, Box::new(move |_| change(Some(Switch::Off), Some(Switch::On)))),
        ("an address is tied to a port", "link set vif1.0 master xenbr1", Box::new(move |_| station())),
        (
            "an address is tied to a port that is up",
            "link set vif1.0 master xenbr1 up\nlink set guest1 up",
            Box::new(move |_| station()),
        ),
        ("a port with settings leaves its bridge", HARDENED_PORT, Box::new(|_| set("vif1.0", LinkChange::free()))),
        (
            "a port with settings joins the bridge it is in",
            HARDENED_PORT,
            Box::new(|_| set("vif1.0", LinkChange::port_of(&name("xenbr1")))),
        ),
        (
            "a port with settings joins another bridge",
            "link set vif1.0 master xenbr1\nlink add xenbr0 address 00:16:3e:00:00:08 type bridge stp_state 0 forward_delay 0\nlink set dev vif1.0 type bridge_slave isolated on",
            Box::new(|_| set("vif1.0", LinkChange::port_of(&name("xenbr0")))),
        ),
        ("a bridge with a port that has settings is deleted", HARDENED_PORT, Box::new(|_| Operation::DeleteBridge(name("xenbr1")))),
        (
            "a port with settings gets another name",
            HARDENED_PORT,
            Box::new(|_| Operation::RenameLink { from: name("vif1.0"), to: name("peth0") }),
        ),
    ]);
}

/// An address that is tied to a port stays there whoever else claims it, until it is untied or the port leaves the bridge.
#[test]
fn stations_come_and_go() {
    in_namespace(|| {
        ip(RICH_HOST);
        ip("link set vif1.0 master xenbr1\nlink set eth1 master xenbr1");
        let mut system = System::open();
        let mac = "00:16:3e:00:00:77".parse().unwrap();
        let add = |device: &str| Operation::AddStation { device: name(device), mac };
        let delete = Operation::DeleteStation { device: name("eth1"), mac };
        for operation in [add("vif1.0"), add("vif1.0"), add("eth1")] {
            let foretold = observe(&mut system).after(&operation);
            system.perform(&operation).unwrap();
            assert_eq!(await_state(&mut system, &foretold), Vec::<String>::new(), "after `{operation}`");
        }
        let before = observe(&mut system);
        assert_eq!(delete.inverse(&before), [add("eth1")]);
        let free = set("eth1", LinkChange::free());
        assert_eq!(free.inverse(&before), [set("eth1", LinkChange::port_of(&name("xenbr1"))), add("eth1")]);
        let foretold = before.after(&delete);
        system.perform(&delete).unwrap();
        assert_eq!(await_state(&mut system, &foretold), Vec::<String>::new());
        let failure = system.perform(&delete).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Absent, "{failure}");
    });
}

/// Somebody behind another port says that he has the guest's address: at first the bridge believes it, but not once the address is tied.
#[test]
fn an_address_that_is_tied_is_not_taken_away() {
    in_namespace(|| {
        ip(RICH_HOST);
        ip("link set eth1 master xenbr1
            link set vif1.0 master xenbr1 up
            link set guest1 up
            link set wire1 address 00:16:3e:00:00:77
            address add 10.11.12.1/24 dev wire1
            neigh add 10.11.12.2 lladdr 00:16:3e:00:00:99 nud permanent dev wire1");
        let shows = |device: &str| {
            let output = Command::new("bridge").args(["fdb", "show", "dev", device]).output().unwrap().stdout;
            String::from_utf8(output).unwrap().contains("00:16:3e:00:00:77 ")
        };
        let counters = || Command::new("ip").args(["-s", "-o", "link", "show", "dev", "eth1"]).output().unwrap().stdout;
        let claim = || {
            let before = counters();
            Command::new("ping").args(["-c1", "-W1", "10.11.12.2"]).output().unwrap();
            assert_ne!(counters(), before, "the bridge hears nothing of it");
        };
        claim();
        assert!(shows("eth1") && !shows("vif1.0"), "a bridge learns");
        let mut system = System::open();
        let mac = "00:16:3e:00:00:77".parse().unwrap();
        system.perform(&Operation::AddStation { device: name("vif1.0"), mac }).unwrap();
        claim();
        assert!(shows("vif1.0") && !shows("eth1"), "the address has been taken away");
    });
}

#[test]
fn addresses_change_as_foretold() {
    let add = Operation::AddAddress;
    run(vec![
        case("an IPv4 address of a new network", move |_| add(new_address("eth0", "10.4.4.4/24"))),
        case("an IPv4 address of a known network", move |_| add(new_address("eth0", "192.168.1.105/24"))),
        case("an IPv4 address of link scope", move |_| add(Address { scope: 253, ..new_address("eth0", "169.254.3.3/16") })),
        case("an IPv4 address of a device that is down", move |_| add(new_address("vif1.0", "10.4.4.4/24"))),
        case("a single IPv4 address", move |_| add(new_address("xenbr1", "10.4.4.4/32"))),
        case("an IPv4 address with everything", move |_| {
            add(Address {
                broadcast: Some("10.4.4.255".parse().unwrap()),
                label: Some("eth0:x".to_owned()),
                flags: AddressFlags(AddressFlags::NO_PREFIX_ROUTE),
                lifetimes: Lifetimes { valid: Some(900), preferred: Some(0) },
                metric: Some(9),
                origin: Some(40),
                ..new_address("eth0", "10.4.4.4/24")
            })
        }),
        case("an IPv4 address that stays though it is deprecated", move |_| {
            add(Address { lifetimes: Lifetimes { valid: None, preferred: Some(0) }, ..new_address("eth0", "10.4.4.4/24") })
        }),
        case("an IPv4 address gets another metric and lifetime", move |host| {
            add(Address {
                metric: Some(9),
                lifetimes: Lifetimes { valid: Some(800), preferred: Some(700) },
                ..address_of(host, "192.168.1.100")
            })
        }),
        case("an IPv6 address of a new network", move |_| add(new_address("eth0", "2001:db8:9::9/64"))),
        case("an IPv6 address of a known network", move |_| add(new_address("eth0", "2001:db8:1::9/64"))),
        case("an IPv6 address of a device that is down", move |_| add(new_address("vif1.0", "2001:db8:9::9/64"))),
        case("an IPv6 address with everything", move |_| {
            add(Address {
                peer: Some("2001:db8:9::10".parse().unwrap()),
                flags: AddressFlags(AddressFlags::NO_DAD | AddressFlags::HOME),
                lifetimes: Lifetimes { valid: Some(900), preferred: Some(800) },
                metric: Some(9),
                origin: Some(40),
                ..new_address("eth0", "2001:db8:9::9/128")
            })
        }),
        case("an IPv6 address gets other flags and lifetimes", move |host| {
            add(Address {
                flags: AddressFlags(AddressFlags::NO_DAD),
                lifetimes: Lifetimes { valid: Some(900), preferred: Some(0) },
                ..address_of(host, "2001:db8:5::5")
            })
        }),
        case("an IPv6 address becomes deprecated", move |host| {
            add(Address { lifetimes: Lifetimes { valid: None, preferred: Some(0) }, ..address_of(host, "2001:db8:1::100") })
        }),
        case("an IPv6 address is to have no route any more", move |host| {
            add(Address { flags: AddressFlags(AddressFlags::NO_PREFIX_ROUTE), ..address_of(host, "2001:db8:6::6") })
        }),
        case("an IPv6 address gets its route after all", move |host| {
            add(Address { flags: AddressFlags::default(), ..address_of(host, "2001:db8:4::5") })
        }),
        case("an IPv6 address gets another metric", move |host| {
            add(Address { metric: Some(9), ..address_of(host, "2001:db8:6::6") })
        }),
        case("an IPv6 address with a peer in a network", move |_| {
            add(Address { peer: Some("2001:db8:a::1".parse().unwrap()), ..new_address("eth0", "2001:db8:9::9/64") })
        }),
    ]);
}

#[test]
fn addresses_go_as_foretold() {
    let delete = |ip: &'static str| move |host: &Host| Operation::DeleteAddress(address_of(host, ip));
    run(vec![
        case("the first IPv4 address of a network goes, and the others with it", delete("192.168.1.100")),
        case("a further IPv4 address of a network goes", delete("192.168.1.101")),
        case("a point-to-point IPv4 address goes", delete("10.9.8.7")),
        case("an IPv4 address with a lifetime goes", delete("172.16.5.4")),
        case("the last IPv4 address of a device goes", delete("192.168.7.1")),
        (
            "the first IPv4 address of a network goes where the others are promoted",
            "address add 192.168.1.102/24 dev eth0",
            Box::new(|host| Operation::DeleteAddress(address_of(host, "192.168.1.102"))),
        ),
        case("an IPv6 address goes", delete("2001:db8:1::100")),
        case("a deprecated IPv6 address goes", delete("2001:db8:1::200")),
        case("a single IPv6 address goes", delete("2001:db8:2::1")),
        case("a point-to-point IPv6 address goes", delete("2001:db8:3::1")),
        case("an IPv6 address without a route goes", delete("2001:db8:4::5")),
        case("an IPv6 address with a lifetime goes", delete("2001:db8:5::5")),
        case("an IPv6 address with a metric goes", delete("2001:db8:6::6")),
        case("the last IPv6 address but the link's own goes", delete("2001:db8:7::1")),
        case("a link-local address goes", |host| {
            let own = |address: &&Address| address.device == name("eth0") && address.is_ipv6_link_local();
            Operation::DeleteAddress(host.addresses.iter().find(own).unwrap().clone())
        }),
    ]);
}

/// Every route of the rich host that is no kernel's own.
const ROUTES: [(&str, u32); 15] = [
    ("0.0.0.0/0", 254),
    ("10.20.0.0/16", 254),
    ("10.30.0.0/16", 100),
    ("0.0.0.0/0", 100),
    ("10.40.0.0/16", 4000),
    ("10.50.0.0/16", 254),
    ("10.60.0.0/16", 254),
    ("10.70.0.0/16", 254),
    ("::/0", 254),
    ("2001:db8:20::/48", 254),
    ("2001:db8:30::/48", 100),
    ("2001:db8:40::/48", 254),
    ("2001:db8:50::/48", 254),
    ("2001:db8:60::/48", 254),
    ("192.168.1.0/24", 254),
];

#[test]
fn routes_go_as_foretold() {
    let delete = |(destination, table): (&'static str, u32)| {
        case(destination, move |host| Operation::DeleteRoute(route_to(host, destination, table)))
    };
    run(ROUTES.into_iter().map(delete).collect());
}

#[test]
fn routes_come_as_foretold() {
    let add = |(destination, table): (&'static str, u32)| {
        case(destination, move |host| {
            let route = route_to(host, destination, table);
            Operation::ReplaceRoute(Route { table: 77, ..route })
        })
    };
    let append = |(destination, table): (&'static str, u32)| {
        case(destination, move |host| {
            let route = route_to(host, destination, table);
            Operation::AppendRoute(Route { table: 78, ..route })
        })
    };
    run(ROUTES.into_iter().map(add).chain(ROUTES.into_iter().map(append)).collect());
}

#[test]
fn routes_change_place_as_foretold() {
    let moved = |(destination, table): (&'static str, u32)| -> Case {
        // The new device has the same networks: that is how a bridge takes over.
        let setup = "
            link set guest1 up
            link set vif1.0 up master xenbr1
            address add 192.168.1.100/24 dev xenbr1
            address add 192.168.1.101/24 dev xenbr1
            address add 2001:db8:1::100/64 dev xenbr1";
        let operation = move |host: &Host| {
            let route = route_to(host, destination, table);
            Operation::ReplaceRoute(Route { preferred_source: None, ..route.moved(&name("eth0"), &name("xenbr1")) })
        };
        (destination, setup, Box::new(operation))
    };
    run(ROUTES.into_iter().filter(|(destination, _)| !destination.contains("192.168")).map(moved).collect());
}

#[test]
fn rules_and_neighbours_change_as_foretold() {
    let neighbour = |address: &str, kind| Neighbour { device: name("eth0"), address: address.parse().unwrap(), kind };
    let mac = "00:16:3e:00:0f:0f".parse().unwrap();
    run(vec![
        case("a rule comes", |host| Operation::AddRule(rule_of(host, 1000).moved(&name("eth0"), &name("peth0")))),
        case("a rule that is there comes", |host| Operation::AddRule(rule_of(host, 1001))),
        case("a rule for IPv6 comes", |host| Operation::AddRule(Rule { priority: 5, ..rule_of(host, 1003) })),
        case("a rule by a device goes", |host| Operation::DeleteRule(rule_of(host, 1000))),
        case("a rule by a mark goes", |host| Operation::DeleteRule(rule_of(host, 1001))),
        case("a rule with a not goes", |host| Operation::DeleteRule(rule_of(host, 1002))),
        case("a rule for IPv6 goes", |host| Operation::DeleteRule(rule_of(host, 1003))),
        case("a neighbour comes", move |_| Operation::AddNeighbour(neighbour("192.168.1.9", NeighbourKind::Permanent(mac)))),
        case("a neighbour changes", move |_| Operation::AddNeighbour(neighbour("192.168.1.3", NeighbourKind::Permanent(mac)))),
        case("a neighbour that is never asked comes", move |_| {
            Operation::AddNeighbour(neighbour("2001:db8:1::9", NeighbourKind::NoArp(mac)))
        }),
        case("a neighbour that is never asked goes", move |_| {
            Operation::DeleteNeighbour(neighbour("192.168.1.4", NeighbourKind::NoArp("00:16:3e:00:01:04".parse().unwrap())))
        }),
        case("a proxy comes", move |_| Operation::AddNeighbour(neighbour("2001:db8:1::9", NeighbourKind::Proxy))),
        case("a neighbour goes", |host| Operation::DeleteNeighbour(host.neighbours[0].clone())),
        case("a proxy goes", move |_| Operation::DeleteNeighbour(neighbour("192.168.1.77", NeighbourKind::Proxy))),
    ]);
}

#[test]
fn settings_change_as_foretold() {
    let sysctl: Sysctl = "net/ipv6/conf/eth0/accept_ra".parse().unwrap();
    run(vec![case("a setting changes", move |_| Operation::WriteSysctl { sysctl: sysctl.clone(), value: "2".to_owned() })]);
}

/// A case that writes the setting `sysctl`.
fn written(sentence: &'static str, setup: &'static str, sysctl: &'static str, value: &'static str) -> Case {
    let operation = move |_: &Host| Operation::WriteSysctl { sysctl: sysctl.parse().unwrap(), value: value.to_owned() };
    (sentence, setup, Box::new(operation))
}

#[test]
fn forwarding_changes_as_foretold() {
    let (of_ipv4, of_ipv6) = ("net/ipv4/conf/all/forwarding", "net/ipv6/conf/all/forwarding");
    run(vec![
        written("IPv4 is forwarded", "", of_ipv4, "1"),
        written("IPv4 is forwarded, as one device did already", "sysctl net/ipv4/conf/eth1/forwarding=1", of_ipv4, "1"),
        written("IPv4 is forwarded, and redirects did not count", "sysctl net/ipv4/conf/all/accept_redirects=0", of_ipv4, "1"),
        written("IPv4 is forwarded, as it was already", "sysctl net/ipv4/conf/all/forwarding=1", of_ipv4, "1"),
        written(
            "IPv4 is forwarded no more, and neither did one device",
            "sysctl net/ipv4/conf/all/forwarding=1\nsysctl net/ipv4/conf/eth1/forwarding=0\nsysctl net/ipv4/conf/all/accept_redirects=1",
            of_ipv4,
            "0",
        ),
        written("one device forwards IPv4", "", "net/ipv4/conf/eth1/forwarding", "1"),
        written("devices to come forward IPv4", "", "net/ipv4/conf/default/forwarding", "1"),
        written("IPv6 is forwarded", "", of_ipv6, "1"),
        written("IPv6 is forwarded, as one device did already", "sysctl net/ipv6/conf/eth1/forwarding=1", of_ipv6, "1"),
        written(
            "IPv6 is forwarded no more",
            "sysctl net/ipv6/conf/all/forwarding=1\nsysctl net/ipv6/conf/eth1/forwarding=0",
            of_ipv6,
            "0",
        ),
        written("one device forwards IPv6", "", "net/ipv6/conf/eth1/forwarding", "1"),
        written("devices to come forward IPv6", "", "net/ipv6/conf/default/forwarding", "1"),
        written("a device answers for others", "", "net/ipv4/conf/eth0/proxy_arp", "1"),
        written("IPv6 is forwarded by a host with an advertised router", ADVERTISED, of_ipv6, "1"),
        written("IPv6 is forwarded by a host that goes on listening", LISTENING, of_ipv6, "1"),
        written("one device forwards IPv6 and has an advertised router", ADVERTISED, "net/ipv6/conf/eth0/forwarding", "1"),
    ]);
}

/// A router on eth0's wire, which is in the same namespace, advertises itself.
const ADVERTISED: &str =
    "-6 route delete default via fe80::1 dev eth0 metric 1024\nsysctl net/ipv6/conf/eth0/accept_ra_from_local=1\nadvertise wire0";
/// The same, and eth0 listens though it be a router.
const LISTENING: &str = "sysctl net/ipv6/conf/eth0/accept_ra_from_local=1\nadvertise wire0\nsysctl net/ipv6/conf/eth0/accept_ra=2";

/// Guests come and go while a host's routes are read: a route over a device that goes meanwhile is no reason to give up.
#[test]
fn routes_can_be_read_while_devices_go() {
    const READINGS: u32 = 1500;
    in_namespace(|| {
        let churn = "while :; do
            for n in 1 2 3 4 5 6 7 8; do echo link add c$n up type veth peer name d$n; echo route add 10.7.$n.0/24 dev c$n; done | ip -force -batch - 2>/dev/null
            for n in 1 2 3 4 5 6 7 8; do echo link delete c$n; done | ip -force -batch - 2>/dev/null
        done";
        let mut child = Command::new("sh").args(["-c", churn]).spawn().unwrap();
        let read: Vec<_> = (0..READINGS).map(|_| System::open().default_routes().map_err(|error| error.to_string())).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        let failed: Vec<_> = read.iter().filter(|routes| routes.is_err()).collect();
        assert!(failed.is_empty(), "{} of {READINGS} readings failed: {:?}", failed.len(), failed[0]);
    });
}

#[test]
fn store_changes_as_foretold() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path().join("socket")).unwrap();
    let path = |key: &str| StorePath::parse(&format!("backend/vif/3/0/{key}")).unwrap();
    server.seed(&path("hotplug-status"), b"").unwrap();
    let mut system = System::with_store(server.client(DEFAULT_LIMIT).unwrap());
    let keys = ["hotplug-status", "hotplug-error", "mtu"];
    let look = |system: &mut System| -> BTreeMap<String, Option<String>> {
        let paths: Vec<StorePath> = keys.iter().map(|key| path(key)).collect();
        let values = system.store().unwrap().read_many(&paths).unwrap();
        let texts = values.into_iter().map(|value| value.map(|bytes| String::from_utf8(bytes).unwrap()));
        paths.iter().map(|path| path.as_str().to_owned()).zip(texts).collect()
    };
    let entry = |key: &str, value: &str| StoreEntry { path: path(key).as_str().to_owned(), value: value.to_owned() };
    let operations = [
        Operation::WriteStore(vec![entry("hotplug-status", "connected")]),
        Operation::WriteStore(vec![entry("hotplug-error", "no such bridge"), entry("hotplug-status", "error")]),
        Operation::RemoveStore(path("hotplug-status").as_str().to_owned()),
        Operation::RemoveStore(path("mtu").as_str().to_owned()),
    ];
    for operation in operations {
        let before = Host { store: look(&mut system), ..Host::default() };
        system.perform(&operation).unwrap();
        assert_eq!(look(&mut system), before.after(&operation).store, "after `{operation}`");
        for step in operation.inverse(&before) {
            system.perform(&step).unwrap();
        }
        assert_eq!(look(&mut system), before.store, "after undoing `{operation}`");
    }
}

#[test]
fn what_is_not_there_is_absent() {
    in_namespace(|| {
        ip(RICH_HOST);
        let mut system = System::open();
        let host = observe(&mut system);
        let gone = name("peth0");
        let mut absent = vec![
            Operation::DeleteBridge(gone.clone()),
            Operation::RenameLink { from: gone.clone(), to: name("x") },
            set("peth0", LinkChange::down()),
            Operation::AddAddress(new_address("peth0", "10.0.0.1/8")),
            Operation::DeleteAddress(new_address("eth0", "10.0.0.1/8")),
            Operation::DeleteAddress(new_address("eth0", "2001:db8::77/64")),
            Operation::DeleteRoute(Route { metric: 4711, ..route_to(&host, "10.20.0.0/16", 254) }),
            Operation::DeleteRoute(Route { table: 4711, ..route_to(&host, "10.20.0.0/16", 254) }),
            Operation::DeleteRoute(Route { metric: 4711, ..route_to(&host, "2001:db8:20::/48", 254) }),
            Operation::DeleteRule(Rule { priority: 4711, ..rule_of(&host, 1000) }),
            Operation::DeleteNeighbour(Neighbour { address: "192.168.1.200".parse().unwrap(), ..host.neighbours[0].clone() }),
            Operation::WriteSysctl { sysctl: "net/ipv4/conf/peth0/rp_filter".parse().unwrap(), value: "1".to_owned() },
        ];
        absent.push(Operation::DeleteNeighbour(Neighbour { kind: NeighbourKind::Proxy, ..host.neighbours[0].clone() }));
        for operation in absent {
            let failure = system.perform(&operation).expect_err(&operation.to_string());
            assert_eq!(failure.kind, FailureKind::Absent, "{failure}");
        }
        assert_eq!(difference(&host, &observe(&mut system)), Vec::<String>::new());
    });
}

#[test]
fn refusals_are_told_in_the_kernels_words() {
    in_namespace(|| {
        ip(RICH_HOST);
        let mut system = System::open();
        let refused = |system: &mut System, operation: &Operation| {
            let failure = system.perform(operation).expect_err("it should be refused");
            assert_eq!(failure.kind, FailureKind::Other, "{failure}");
            failure.to_string()
        };
        let text = refused(&mut system, &Operation::DeleteBridge(name("eth0")));
        assert!(text.contains("eth0 is not a bridge"), "{text}");
        let text = refused(&mut system, &set("eth0", LinkChange::port_of(&name("xenbr0"))));
        assert!(text.contains("there is no bridge xenbr0"), "{text}");
        let host = observe(&mut system);
        let unreachable = Route { other: vec![], ..route_to(&host, "10.60.0.0/16", 254) };
        let Path::Single(hop) = unreachable.path.clone() else { panic!("{unreachable}") };
        let hop = hotplug::host::NextHop { on_link: Switch::Off, gateway: Some("192.168.99.1".parse().unwrap()), ..hop };
        let text = refused(&mut system, &Operation::ReplaceRoute(Route { path: Path::Single(hop), table: 5, ..unreachable }));
        assert!(text.contains("Nexthop has invalid gateway (Network is unreachable)"), "{text}");
    });
}

#[test]
fn devices_are_found_by_sort() {
    in_namespace(|| {
        ip(RICH_HOST);
        ip("link set eth1 master xenbr1\nlink set vif1.0 master xenbr1");
        let mut system = System::open();
        let names = |links: Vec<hotplug::host::Link>| links.into_iter().map(|link| link.name.to_string()).collect::<Vec<_>>();
        assert_eq!(names(system.bridges().unwrap()), ["xenbr1"]);
        let mut ports = names(system.ports_of(&name("xenbr1")).unwrap());
        ports.sort();
        assert_eq!(ports, ["eth1", "vif1.0"]);
        assert_eq!(system.link(&name("eth1")).unwrap().unwrap().master, Some(name("xenbr1")));
        assert_eq!(system.link(&name("nothing")).unwrap(), None);
        assert_eq!(system.ports_of(&name("nothing")).unwrap(), []);
        let gateways: Vec<String> = system.default_routes().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(
            gateways,
            [
                "default via 192.168.1.1 dev eth0 proto boot metric 100",
                "default via 2001:db8:1::1 dev eth0 proto boot metric 50",
                "default via fe80::1 dev eth0 proto boot metric 1024 pref high",
            ]
        );
        let lean = system.host_of(&[name("eth1"), name("nothing")], Depth::Addresses, &[]).unwrap();
        assert_eq!((lean.links.len(), lean.routes.len(), lean.rules.len()), (1, 0, 0));
        assert!(lean.addresses.iter().all(|address| address.device == name("eth1")) && lean.addresses.len() == 3);
    });
}

#[test]
fn the_default_device_is_that_of_the_best_default_route() {
    for (routes, expected) in [
        ("", None),
        ("route add default via 192.168.1.1", Some("eth0")),
        ("route add default via 192.168.1.1 metric 10\nroute add default dev eth1 metric 5", Some("eth1")),
        ("route add 240.0.0.0/4 dev eth1\nroute add default via 192.168.1.1", Some("eth0")),
        ("route add default nexthop via 192.168.1.1 nexthop dev eth1", Some("eth0")),
        ("-6 route add default dev eth1", Some("eth1")),
        ("-6 route add 4000::/3 dev eth0\n-6 route add default dev eth1", Some("eth1")),
        ("route add default via 192.168.1.1\nroute add default dev eth1 table 77\nrule add priority 5 lookup 77", Some("eth0")),
    ] {
        let seen = in_namespace(|| {
            ip("link add eth0 type veth peer name far0\nlink add eth1 type veth peer name far1");
            ip("link set far0 up\nlink set far1 up\nlink set eth0 up\nlink set eth1 up\naddress add 192.168.1.100/24 dev eth0");
            for line in routes.lines() {
                let status = Command::new("ip").args(line.split(' ')).status().unwrap();
                assert!(status.success(), "ip {line}");
            }
            System::open().default_device().unwrap()
        });
        assert_eq!(seen, expected.map(name), "{routes}");
    }
}

#[test]
fn one_question_tells_the_default_route_of_either_family() {
    let routes = in_namespace(|| {
        ip("link add eth0 type veth peer name far0\nlink set far0 up\nlink set eth0 up\naddress add 192.168.1.100/24 dev eth0");
        ip(
            "address add 2001:db8:1::100/64 dev eth0 nodad\nroute add default via 192.168.1.1\n-6 route add default via 2001:db8:1::1",
        );
        [Family::V4, Family::V6].map(|family| System::open().taken_default_route(family).unwrap())
    });
    let routers = routes.map(|route| route.unwrap().path.next_hops()[0].gateway.unwrap().to_string());
    assert_eq!(routers, ["192.168.1.1", "2001:db8:1::1"]);
}

/// The neighbour is this host's own other end of the wire, in a second namespace.
const NEIGHBOUR: &str = "
    link add eth0 type veth peer name wire0
    link set eth0 up
    address add 192.168.1.100/24 dev eth0
    address add 2001:db8:1::100/64 dev eth0";

#[test]
fn neighbours_that_are_there_answer_and_others_do_not() {
    in_namespace(|| {
        ip(NEIGHBOUR);
        let mut other = other_end("wire0", &["192.168.1.1/24", "2001:db8:1::1/64"]);
        let mut system = System::open();
        let device = name("eth0");
        let limit = Duration::from_secs(5);
        for address in ["192.168.1.1", "2001:db8:1::1", "192.168.1.1", "2001:db8:1::1"] {
            let answer = system.neighbour_answers(&device, address.parse().unwrap(), limit).unwrap();
            assert_eq!(answer, Answer::Yes, "{address}");
        }
        let short = Duration::from_millis(100);
        for address in ["192.168.1.2", "2001:db8:1::2"] {
            let answer = system.neighbour_answers(&device, address.parse().unwrap(), short).unwrap();
            assert_eq!(answer, Answer::No, "{address}");
        }
        system.perform(&Operation::AwaitCarrier { device: device.clone(), limit }).unwrap();
        // What answered before does no longer count once it is gone.
        other.does("address flush");
        for address in ["192.168.1.1", "2001:db8:1::1"] {
            let check = Operation::CheckNeighbour { device: device.clone(), address: address.parse().unwrap(), limit: short };
            let failure = system.perform(&check).expect_err("nobody is there");
            assert_eq!((failure.kind, failure.cause.contains("does not answer on eth0")), (FailureKind::Other, true), "{failure}");
        }
        other.does("link set down");
        let failure = system.perform(&Operation::AwaitCarrier { device, limit: short }).expect_err("the other end is down");
        assert!(failure.cause.contains("eth0 has no link"), "{failure}");
    });
}

#[test]
fn neighbour_set_by_hand_stays_as_it_is() {
    in_namespace(|| {
        ip(NEIGHBOUR);
        ip("neigh add 192.168.1.3 lladdr 00:16:3e:00:01:03 nud permanent dev eth0");
        let mut system = System::open();
        let before = system.host_of(&[name("eth0")], Depth::Everything, &[]).unwrap();
        let answer = system.neighbour_answers(&name("eth0"), "192.168.1.3".parse().unwrap(), Duration::from_millis(50)).unwrap();
        assert_eq!(answer, Answer::No);
        assert_eq!(system.host_of(&[name("eth0")], Depth::Everything, &[]).unwrap().neighbours, before.neighbours);
    });
}

/// A process with a network namespace of its own that owns a device, until it is dropped.
struct OtherEnd {
    process: Child,
    output: BufReader<ChildStdout>,
    device: String,
}

impl OtherEnd {
    /// Lets the process do an `ip` command on its device.
    fn does(&mut self, words: &str) {
        let input = self.process.stdin.as_mut().unwrap();
        writeln!(input, "ip {words} dev {}", self.device).unwrap();
        self.await_word();
    }

    fn await_word(&mut self) {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line, "done\n");
    }
}

impl Drop for OtherEnd {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Moves `device` to a namespace of its own, and brings it up with `addresses`.
fn other_end(device: &str, addresses: &[&str]) -> OtherEnd {
    let program = "echo done; while read -r line; do $line && echo done; done";
    let mut command = Command::new("unshare");
    let mut process = command.args(["-n", "sh", "-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(process.stdout.take().unwrap());
    let mut end = OtherEnd { process, output, device: device.to_owned() };
    end.await_word();
    ip(&format!("link set {device} netns {}", end.process.id()));
    for address in addresses {
        end.does(&format!("address add {address} nodad"));
    }
    end.does("link set up");
    end
}
