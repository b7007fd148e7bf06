//! network-bridge as a whole: the real program on hosts made of namespaces, judged by what iproute2 shows afterwards.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests; clippy only knows the functions marked so.

use std::net::{Ipv6Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use testbed::advertisement::advertise;
use testbed::guest::Outcome;
use testbed::machine::wait_for;
use testbed::probe::{Echo, TcpProbe};
use testbed::state::State;

#[path = "common/lan.rs"]
mod lan;

use lan::{Lan, SCRIPTS, ip_lines};

/// A check that takes longer than this hangs.
const CHECK_LIMIT: Duration = Duration::from_secs(20);
/// A router's network, as it advertises it.
const ADVERTISED: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 0);

/// Whether all that lay on `netdev` lies on `bridge` now, and nothing on its port.
#[track_caller]
fn assert_moved(before: &State, after: &State, netdev: &str, bridge: &str) {
    let port = format!("p{netdev}");
    let link = |name: &str| after.part("links", name);
    assert_eq!(link(bridge)["linkinfo"]["info_kind"], "bridge", "{bridge} is no bridge");
    assert_eq!(link(&port)["master"], bridge, "{port} is not its port");
    for key in ["address", "mtu", "txqlen"] {
        assert_eq!(link(bridge)[key], before.part("links", netdev)[key], "{key} of {bridge}");
    }
    assert_eq!(link(bridge)["linkinfo"]["info_data"]["stp_state"], 0);
    assert_eq!(link(bridge)["linkinfo"]["info_data"]["forward_delay"], 0);
    assert_eq!(*after.part("addresses", &port), Value::Array(vec![]), "{port} has addresses");
    assert_eq!(*after.part("addresses", bridge), renamed(before.part("addresses", netdev), netdev, bridge), "addresses");
    for part in
        ["routes ipv4", "routes ipv6", "neighbours ipv4", "neighbours ipv6", "proxy neighbours ipv4", "proxy neighbours ipv6"]
    {
        let wanted = renamed(&before.value()[part], netdev, bridge);
        assert_eq!(sorted(&without_port(&after.value()[part], &port)), sorted(&wanted), "{part}");
    }
    for part in ["rules ipv4", "rules ipv6"] {
        assert_eq!(after.value()[part], renamed(&before.value()[part], netdev, bridge), "{part}");
    }
}

/// The same JSON with one device in place of another, as its name and in labels such as eth0:1.
fn renamed(value: &Value, from: &str, to: &str) -> Value {
    match value {
        Value::String(text) => match text.strip_prefix(from) {
            Some(tail) if tail.is_empty() || tail.starts_with(':') => Value::from(format!("{to}{tail}")),
            _ => value.clone(),
        },
        Value::Array(list) => list.iter().map(|item| renamed(item, from, to)).collect(),
        Value::Object(map) => Value::Object(map.iter().map(|(key, item)| (key.clone(), renamed(item, from, to))).collect()),
        other => other.clone(),
    }
}

/// A list without the route to ff00::/8, which every device that is up has (net/ipv6/addrconf.c, `addrconf_add_mroute`).
fn without_port(list: &Value, port: &str) -> Value {
    let multicast = |route: &&Value| route["dev"] == port && route["dst"] == "ff00::/8";
    list.as_array().unwrap().iter().filter(|route| !multicast(route)).cloned().collect()
}

fn sorted(list: &Value) -> Vec<String> {
    let mut lines: Vec<String> = list.as_array().unwrap().iter().map(Value::to_string).collect();
    lines.sort();
    lines
}

/// Bar 3 of the issue: all that a host can have moves, and comes back.
#[track_caller]
fn there_and_back(lan: &Lan, words: &str, bridge: &str) {
    let before = lan.state();
    lan.succeed(&format!("start {words}"));
    let started = lan.state();
    assert_moved(&before, &started, "eth0", bridge);
    lan.succeed(&format!("start {words}"));
    lan.assert_as(&started);
    lan.succeed(&format!("stop {words}"));
    lan.assert_as(&before);
    lan.succeed(&format!("stop {words}"));
    lan.assert_as(&before);
}

#[test]
fn a_rich_host_moves_and_comes_back() {
    there_and_back(&Lan::rich(), "", "eth0");
}

#[test]
fn a_rich_host_moves_to_a_bridge_of_another_name_and_comes_back() {
    there_and_back(&Lan::rich(), "netdev=eth0 bridge=xenbr0", "xenbr0");
}

#[test]
fn stop_works_without_the_record() {
    for (words, bridge) in [("", "eth0"), ("netdev=eth0 bridge=xenbr0", "xenbr0")] {
        let lan = Lan::rich();
        let before = lan.state();
        lan.succeed(&format!("start {words}"));
        assert!(lan.dom0.path("/run/xen-network").exists());
        lan.dom0.shell("rm -r /run/xen-network").unwrap();
        assert_moved(&before, &lan.state(), "eth0", bridge);
        lan.succeed(&format!("stop {words}"));
        lan.assert_as(&before);
    }
}

/// A stop that is killed behind its last change to the host has not forgotten the bridge yet; nor has anybody who takes it apart by hand.
#[test]
fn stop_forgets_a_bridge_that_is_gone() {
    let lan = Lan::rich();
    let before = lan.state();
    let records = || lan.dom0.run("find", ["/run/xen-network", "-name", "network-bridge.json"]).unwrap();
    lan.succeed("start");
    lan.dom0.shell("cp -a /run/xen-network /run/before").unwrap();
    lan.succeed("stop");
    assert_eq!(records(), "");
    lan.dom0.shell("cp -a /run/before/. /run/xen-network").unwrap();
    assert!(records().ends_with("network-bridge.json\n"));
    lan.succeed("stop");
    assert_eq!(records(), "");
    lan.assert_as(&before);
}

#[test]
fn a_host_with_duplicate_address_detection_keeps_its_addresses_usable() {
    let lan = Lan::new(&["eth0"]);
    ip_lines(&lan.router, "address add 2001:db8:1::1/64 dev eth0");
    lan.dom0.set_sysctl("net.ipv6.conf.eth0.accept_dad", "1").unwrap();
    ip_lines(&lan.dom0, "link set eth0 up\naddress add 2001:db8:1::100/64 dev eth0");
    lan.state();
    ip_lines(&lan.dom0, "route add 2001:db8:2::/48 via 2001:db8:1::1 src 2001:db8:1::100");
    let before = lan.state();
    lan.succeed("start netdev=eth0");
    // Not a moment tentative: no settling before this look.
    assert_eq!(lan.dom0.ip("-6 -o address show tentative").unwrap(), "");
    assert_moved(&before, &lan.state(), "eth0", "eth0");
    lan.succeed("stop");
    assert_eq!(lan.dom0.ip("-6 -o address show tentative").unwrap(), "");
    lan.assert_as(&before);
}

#[test]
fn a_host_with_only_ipv6() {
    let lan = Lan::new(&["eth0"]);
    ip_lines(&lan.router, "address add 2001:db8:1::1/64 dev eth0");
    ip_lines(
        &lan.dom0,
        "link set eth0 up
         address add 2001:db8:1::100/64 dev eth0
         -6 route add default via 2001:db8:1::1 dev eth0",
    );
    there_and_back(&lan, "", "eth0");
}

#[test]
fn a_host_without_a_default_route_has_eth0() {
    let lan = Lan::new(&["eth0", "eth1"]);
    ip_lines(
        &lan.dom0,
        "link set eth0 up\nlink set eth1 up\naddress add 192.168.1.100/24 dev eth0\naddress add 10.0.0.1/24 dev eth1",
    );
    there_and_back(&lan, "", "eth0");
}

#[test]
fn of_several_default_routes_the_one_with_the_lowest_metric_counts() {
    let lan = Lan::new(&["eth0", "eth1"]);
    ip_lines(&lan.router, "address add 192.168.1.1/24 dev eth0\naddress add 192.168.2.1/24 dev eth1");
    ip_lines(
        &lan.dom0,
        "link set eth0 up
         link set eth1 up
         address add 192.168.1.100/24 dev eth0
         address add 192.168.2.100/24 dev eth1
         route add default via 192.168.1.1 dev eth0 metric 200
         route add default via 192.168.2.1 dev eth1 metric 100",
    );
    let before = lan.state();
    lan.succeed("start");
    assert_moved(&before, &lan.state(), "eth1", "eth1");
    assert!(!lan.has("peth0"));
    lan.succeed("stop");
    lan.assert_as(&before);
}

#[test]
fn a_long_device_name_is_taken_whole() {
    let lan = Lan::new(&["enp3s0", "enp3s0f1"]);
    ip_lines(&lan.router, "address add 192.168.1.1/24 dev enp3s0f1");
    ip_lines(
        &lan.dom0,
        "link set enp3s0f1 up
         address add 192.168.1.100/24 dev enp3s0f1
         route add default via 192.168.1.1 dev enp3s0f1",
    );
    let before = lan.state();
    lan.succeed("start");
    assert_moved(&before, &lan.state(), "enp3s0f1", "enp3s0f1");
    lan.succeed("stop");
    lan.assert_as(&before);
}

#[test]
fn a_device_that_is_down_comes_up_with_its_bridge() {
    let lan = Lan::new(&["eth0"]);
    ip_lines(&lan.dom0, "address add 192.168.1.100/24 dev eth0");
    let before = lan.state();
    lan.succeed("start netdev=eth0");
    let started = lan.state();
    assert_eq!(*started.part("addresses", "peth0"), Value::Array(vec![]));
    for device in ["eth0", "peth0"] {
        assert_eq!(started.part("links", device)["operstate"], "UP");
    }
    lan.succeed("stop netdev=eth0");
    lan.assert_as(&before);
}

#[test]
fn settings_of_the_device_move_and_come_back() {
    let lan = Lan::usual();
    ip_lines(&lan.dom0, "link set eth0 promisc on allmulticast on txqueuelen 555 mtu 9000 alias uplink");
    lan.dom0.set_sysctl("net.ipv4.conf.eth0.rp_filter", "2").unwrap();
    lan.dom0.set_sysctl("net.ipv6.conf.eth0.accept_ra", "2").unwrap();
    lan.dom0.set_sysctl("net.ipv4.conf.eth0.force_igmp_version", "2").unwrap();
    let before = lan.state();
    lan.succeed("start");
    let started = lan.state();
    assert_moved(&before, &started, "eth0", "eth0");
    assert_eq!(started.part("links", "eth0")["mtu"], 9000);
    assert_eq!(started.part("links", "eth0")["txqlen"], 555);
    assert_eq!(started.part("settings", "net/ipv4/conf/eth0/rp_filter"), "2");
    assert_eq!(started.part("settings", "net/ipv6/conf/eth0/accept_ra"), "2");
    assert_eq!(lan.dom0.shell("cat /proc/sys/net/ipv4/conf/eth0/force_igmp_version").unwrap().trim(), "2");
    lan.succeed("stop");
    lan.assert_as(&before);
}

/// Linux lets temporary addresses (RFC 8981) go with the one they are made from since 6.13, and takes them from nobody but itself: on the
/// bridge they are as others.
#[test]
fn temporary_addresses_go_on_working() {
    let lan = Lan::usual();
    lan.dom0.set_sysctl("net.ipv6.conf.eth0.use_tempaddr", "2").unwrap();
    lan.router.set_sysctl("net.ipv6.conf.all.forwarding", "1").unwrap();
    let addresses = |words: &str| -> Vec<String> {
        let text = lan.dom0.ip(&format!("-6 -o address show scope global {words}")).unwrap();
        text.lines().map(|line| line.split_whitespace().nth(3).unwrap().to_owned()).collect()
    };
    wait_for("a temporary address", CHECK_LIMIT, || {
        // It cannot speak before it has its link-local address.
        let _ = lan.router.inside(|| advertise("eth0", ADVERTISED))?;
        Ok(!addresses("temporary -tentative").is_empty())
    })
    .unwrap();
    let before = addresses("");
    assert_eq!(before.len(), 2);
    for words in ["start", "stop", "start netdev=eth0 bridge=xenbr0", "stop bridge=xenbr0"] {
        lan.succeed(words);
        let after = addresses("");
        assert!(before.iter().all(|address| after.contains(address)), "{words}: {before:?} became {after:?}");
    }
}

/// RFC 7217: addresses that are made of a secret of the device.
#[test]
fn a_device_that_makes_its_addresses_of_a_secret_can_be_bridged() {
    let lan = Lan::usual();
    lan.dom0.set_sysctl("net.ipv6.conf.eth0.stable_secret", "2001:db8::5ec:4e7").unwrap();
    ip_lines(&lan.dom0, "address add 2001:db8:1::100/64 dev eth0");
    let generation = |device: &str| {
        let folder = format!("/proc/sys/net/ipv6/conf/{device}");
        lan.dom0.shell(&format!("cat {folder}/addr_gen_mode {folder}/stable_secret")).unwrap()
    };
    let (before, addresses) = (generation("eth0"), || lan.dom0.ip("-6 -o address show scope global").unwrap());
    assert!(before.starts_with("2\n"), "{before}");
    for (words, device) in [("start bridge=xenbr0", "xenbr0"), ("stop bridge=xenbr0", "eth0")] {
        lan.succeed(words);
        assert_eq!(generation(device), before, "{words}");
        assert!(addresses().contains("2001:db8:1::100/64"), "{words}: {}", addresses());
    }
}

#[test]
fn a_bridge_of_the_administrators_own_is_left_alone() {
    let lan = Lan::usual();
    ip_lines(&lan.dom0, "link add br0 address 02:00:00:00:00:01 type bridge\nlink set br0 up\naddress add 192.168.2.1/24 dev br0");
    let before = lan.state();
    lan.succeed("start");
    lan.assert_as(&before);
    lan.succeed("stop");
    lan.assert_as(&before);
    lan.succeed("start netdev=eth0");
    assert_moved(&before, &lan.state(), "eth0", "eth0");
    assert!(!lan.dom0.ip("link show master br0").unwrap().contains("peth0"));
    lan.succeed("stop");
    lan.assert_as(&before);
}

const WRAPPER: &str = r#"#!/bin/sh
dir=$(dirname "$0")
"$dir/network-bridge" "$@" vifnum=0 netdev=eth0 bridge=xenbr0
"$dir/network-bridge" "$@" vifnum=2 netdev=eth2 bridge=xenbr2
"#;

fn two_cards() -> Lan {
    let lan = Lan::new(&["eth0", "eth2"]);
    ip_lines(&lan.router, "address add 192.168.1.1/24 dev eth0\naddress add 192.168.2.1/24 dev eth2");
    ip_lines(
        &lan.dom0,
        "link set eth0 up
         link set eth2 up
         address add 192.168.1.100/24 dev eth0
         address add 192.168.2.100/24 dev eth2
         route add default via 192.168.1.1 dev eth0
         route add 10.0.0.0/8 via 192.168.2.1 dev eth2",
    );
    lan
}

#[test]
fn a_wrapper_for_two_cards_gets_both_bridges() {
    let lan = two_cards();
    let before = lan.state();
    lan.dom0.write_program(format!("{SCRIPTS}/network-bridge-2"), WRAPPER).unwrap();
    let wrapper = |word: &str| {
        let outcome = Outcome::of(lan.dom0.command(format!("{SCRIPTS}/network-bridge-2")).arg(word)).unwrap();
        assert!(outcome.status == Some(0) && outcome.stderr.is_empty(), "{outcome}");
    };
    wrapper("start");
    let started = lan.state();
    for (port, bridge, address) in [("peth0", "xenbr0", "192.168.1.100"), ("peth2", "xenbr2", "192.168.2.100")] {
        assert_eq!(started.part("links", port)["master"], bridge);
        assert_eq!(started.part("addresses", bridge)[0]["local"], address);
    }
    assert!(!lan.has("eth0") && !lan.has("eth2"));
    wrapper("start");
    lan.assert_as(&started);
    wrapper("stop");
    lan.assert_as(&before);
}

#[test]
fn two_starts_at_the_same_time_for_two_devices() {
    let lan = two_cards();
    let before = lan.state();
    at_once(&lan, &["start netdev=eth0 bridge=xenbr0", "start netdev=eth2 bridge=xenbr2"]);
    let started = lan.state();
    assert_eq!(started.part("links", "peth0")["master"], "xenbr0");
    assert_eq!(started.part("links", "peth2")["master"], "xenbr2");
    at_once(&lan, &["stop netdev=eth2", "stop netdev=eth0"]);
    lan.assert_as(&before);
}

#[test]
fn several_starts_at_the_same_time_for_one_device() {
    let lan = Lan::rich();
    let before = lan.state();
    at_once(&lan, &["start"; 4]);
    assert_moved(&before, &lan.state(), "eth0", "eth0");
    at_once(&lan, &["stop"; 4]);
    lan.assert_as(&before);
}

/// Calls network-bridge with each of these words, all at the same time; every call must succeed.
#[track_caller]
fn at_once(lan: &Lan, calls: &[&str]) {
    let start = |words: &&str| lan.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let children: Vec<_> = calls.iter().map(start).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn what_cannot_be_done_is_refused_in_one_sentence() {
    let lan = Lan::new(&["eth0", "enp0s31f6abcdef"]);
    ip_lines(&lan.dom0, "link set eth0 up\naddress add 192.168.1.100/24 dev eth0\nlink add taken type veth peer name other");
    ip_lines(&lan.dom0, "link add br0 address 02:00:00:00:00:01 type bridge\nlink set other master br0");
    ip_lines(&lan.dom0, "tuntap add tun0 mode tun\nlink property add dev eth0 altname enp7s0\nlink add mv0 link eth0 type macvlan");
    for (words, sentence) in [
        ("start netdev=tun0", "tun0 has no Ethernet address"),
        ("start netdev=enp7s0", "netdev=eth0"),
        ("start netdev=eth0", "it cannot be the port of a bridge: mv0; remove them (ip link delete mv0)"),
        ("start netdev=eth0 bridge=taken", "taken exists already"),
        ("start netdev=eth0 bridge=br0", "br0 exists already"),
        ("start netdev=eth0 bridge=peth0", "peth0"),
        ("start netdev=enp0s31f6abcdef", "enp0s31f6abcdef cannot be bridged"),
        ("start netdev=eth0 bridge=abcdefghijklmnop", "bridge="),
        ("start netdev=eth7", "there is no network device eth7"),
        ("start netdev=lo", "lo cannot be bridged"),
        ("start netdev=br0 bridge=xenbr0", "br0 is a bridge itself"),
        ("start netdev=eth0 check=gate", "check=gate"),
        ("start netdev=../eth0", "netdev="),
        ("restart netdev=eth0", "restart"),
        ("netdev=eth0", "start"),
        ("start --fast", "--fast"),
    ] {
        lan.refuse(words, sentence);
    }
}

#[test]
fn nothing_is_done_where_nothing_is_to_be_done() {
    let lan = Lan::usual();
    ip_lines(
        &lan.dom0,
        "link add br0 address 02:00:00:00:00:01 type bridge\nlink add in0 type veth peer name out0\nlink set in0 master br0",
    );
    let before = lan.state();
    for words in ["start bridge=null", "stop bridge=null", "start netdev=br0", "start netdev=in0", "stop", "stop netdev=eth0"] {
        lan.succeed(words);
        lan.assert_as(&before);
    }
}

#[test]
fn an_address_that_answers_is_waited_for() {
    let lan = Lan::usual();
    lan.succeed("start check=192.168.1.1");
    lan.succeed("stop");
    let before = lan.state();
    let outcome = lan.call("start check=192.168.1.77");
    assert_eq!(outcome.status, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("192.168.1.77"), "{outcome}");
    assert_eq!(outcome.stderr.lines().count(), 1, "{outcome}");
    assert!(outcome.duration < CHECK_LIMIT, "{outcome}");
    lan.assert_as(&before);
    // The gateway is there no more: nobody is asked, or nobody who did not answer before.
    ip_lines(&lan.router, "address flush dev eth0");
    lan.succeed("start check=no");
    lan.succeed("stop");
    let outcome = lan.call("start");
    assert_eq!(outcome.status, Some(0), "{outcome}");
    assert!(outcome.stderr.contains("192.168.1.1 does not answer"), "{outcome}");
    lan.succeed("stop");
    lan.assert_as(&before);
}

#[test]
fn a_connection_lives_through_start_and_stop() {
    let lan = Lan::usual();
    let address: SocketAddr = "192.168.1.100:7".parse().unwrap();
    let _echo = Echo::start(&lan.dom0, address).unwrap();
    let probe = TcpProbe::start(&lan.router, address).unwrap();
    lan.succeed("start");
    lan.succeed("stop");
    let report = probe.stop().unwrap();
    assert!(report.received > 0, "{report:?}");
}

#[test]
fn status_tells_and_touches_nothing() {
    let lan = Lan::rich();
    let before = lan.state();
    assert!(lan.succeed("status").stdout.contains("192.168.1.100"));
    lan.assert_as(&before);
    lan.succeed("start");
    let started = lan.state();
    let text = lan.succeed("status").stdout;
    for words in ["eth0: bridge, ports: peth0", "192.168.1.101/24", "2001:db8:1::100/64", "default via 192.168.1.1", "10.50.0.0/16"]
    {
        assert!(text.contains(words), "{words:?} is missing in\n{text}");
    }
    let status: Value = serde_json::from_str(&lan.succeed("status --json").stdout).unwrap();
    assert_eq!(status["ports"][0]["name"], "peth0");
    assert!(status["links"].as_array().unwrap().iter().any(|link| link["name"] == "eth0"));
    assert!(status["addresses"].as_array().unwrap().len() >= 6);
    assert!(status["routes"].as_array().unwrap().len() >= 10);
    lan.assert_as(&started);
}

#[test]
fn a_dry_run_names_the_steps_and_touches_nothing() {
    let lan = Lan::rich();
    let before = lan.state();
    let text = lan.succeed("start --dry-run").stdout;
    for words in ["name peth0", "type bridge", "address", "route replace", "undo:"] {
        assert!(text.contains(words), "{words:?} is missing in\n{text}");
    }
    let plan: Value = serde_json::from_str(&lan.succeed("start --dry-run --json").stdout).unwrap();
    assert_eq!(plan["steps"].as_array().unwrap().len(), text.lines().filter(|line| !line.starts_with([' ', '#'])).count());
    lan.assert_as(&before);
    lan.succeed("start");
    let started = lan.state();
    assert!(lan.succeed("--dry-run stop").stdout.contains("link delete"));
    let plan: Value = serde_json::from_str(&lan.succeed("--dry-run stop --json").stdout).unwrap();
    assert!(!plan["steps"].as_array().unwrap().is_empty());
    lan.assert_as(&started);
}

/// tools/python/xen/xend/server/SrvServer.py of Xen 4.4: the setting's words are split at single spaces, and `start` is put behind the first.
#[test]
fn xend_starts_it_by_its_own_words() {
    let lan = Lan::usual();
    let before = lan.state();
    let mut words: Vec<&str> = "network-bridge netdev=eth0  bridge=xenbr0".split(' ').collect();
    words.insert(1, "start");
    let mut command = lan.dom0.command(format!("{SCRIPTS}/{}", words[0]));
    let outcome = Outcome::of(command.args(&words[1..])).unwrap().success().unwrap();
    assert_eq!(outcome.stderr, "");
    assert_moved(&before, &lan.state(), "eth0", "xenbr0");
}

/// How many requests to the kernel network-bridge sends with these words, as strace counts them.
fn requests(lan: &Lan, words: &str) -> u32 {
    let mut command = traced(lan, words, "trace=sendto");
    Outcome::of(&mut command).unwrap().success().unwrap();
    let trace = lan.dom0.read_file("/run/trace").unwrap();
    // Each line begins with its process; that of the watchdog, which comes later, has requests of its own.
    let own = trace.split_whitespace().next().unwrap();
    let count = trace.lines().filter(|line| line.starts_with(own) && line.contains("sendto(")).count();
    u32::try_from(count).unwrap()
}

fn traced(lan: &Lan, words: &str, expression: &str) -> std::process::Command {
    let mut command = lan.dom0.command("strace");
    command.args(["-f", "-o", "/run/trace", "-e", expression, &format!("{SCRIPTS}/network-bridge")]).args(words.split_whitespace());
    command
}

/// Kills network-bridge as it is about to send its request number `number`.
#[track_caller]
fn kill_at(lan: &Lan, words: &str, number: u32) {
    let mut command = traced(lan, words, &format!("inject=sendto:signal=KILL:when={number}"));
    let outcome = Outcome::of(&mut command).unwrap();
    assert_ne!(outcome.status, Some(0), "{words} was not killed at request {number}: {outcome}");
}

/// Kills `killed` at moments all over its run. The next run, `next`, must lead to `expected` all the same.
#[track_caller]
fn killed_anywhere(moments: u32) {
    let lan = Lan::rich();
    let before = lan.state();
    let starting = requests(&lan, "start check=no");
    let started = lan.state();
    let stopping = requests(&lan, "stop");
    lan.assert_as(&before);
    assert!(starting > 40 && stopping > 40, "{starting} and {stopping} requests");
    let moment = |number: u32, requests: u32| 1 + number * (requests - 1) / (moments - 1);
    for number in 0..moments {
        kill_at(&lan, "start check=no", moment(number, starting));
        recover(&lan, if number % 2 == 0 { "stop" } else { "start check=no" }, &before, &started);
        lan.succeed("start check=no");
        kill_at(&lan, "stop", moment(number, stopping));
        recover(&lan, if number % 2 == 0 { "start check=no" } else { "stop" }, &before, &started);
        lan.succeed("stop");
        lan.assert_as(&before);
    }
}

#[track_caller]
fn recover(lan: &Lan, words: &str, before: &State, started: &State) {
    let outcome = lan.call(words).success().unwrap();
    let expected = if words == "stop" { before } else { started };
    let difference = expected.difference(&lan.state());
    assert!(difference.is_empty(), "after a kill, `{words}` left (- wanted, + there):\n{difference}\nand said: {outcome}");
    let left = lan.dom0.shell("find /run/xen-network -name '*journal*'").unwrap();
    assert_eq!(left, "", "a journal is left");
}

#[test]
fn a_killed_run_is_put_right_by_the_next() {
    killed_anywhere(12);
}
