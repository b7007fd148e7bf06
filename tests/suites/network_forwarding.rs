//! network-route and network-nat as a whole: the real programs on hosts made of namespaces, judged by what the kernel shows afterwards.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests; clippy only knows the functions marked so.

use std::fs;
use std::net::Ipv6Addr;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;
use testbed::advertisement::advertise;
use testbed::guest::Outcome;
use testbed::machine::{Machine, connect, wait_for};
use testbed::state::State;

#[path = "common/lan.rs"]
mod lan;

use lan::{Lan, SCRIPTS, ip_lines};

/// How long anything here may take.
const LIMIT: Duration = Duration::from_secs(20);

/// A call of a program: `words` begin with its name.
fn command(lan: &Lan, words: &str) -> Command {
    let mut words = words.split_whitespace();
    let mut command = lan.dom0.command(format!("{SCRIPTS}/{}", words.next().unwrap()));
    command.args(words);
    command
}

/// Calls a program, which must end with exit status 0 and say nothing that is wrong.
#[track_caller]
fn succeed(lan: &Lan, words: &str) -> Outcome {
    let outcome = Outcome::of(&mut command(lan, words)).unwrap();
    assert!(outcome.status == Some(0) && outcome.stderr.is_empty(), "{words}: {outcome}");
    outcome
}

/// Calls a program, which must end with exit status 1, leave dom0 as it was, and say so in one line with these words in it.
#[track_caller]
fn refuse(lan: &Lan, words: &str, expected: &str) {
    let before = lan.state();
    let outcome = Outcome::of(&mut command(lan, words)).unwrap();
    assert_eq!(outcome.status, Some(1), "{words}: {outcome}");
    assert!(outcome.stderr.contains(expected), "{words} does not say {expected:?}: {outcome}");
    assert_eq!(outcome.stderr.lines().count(), 1, "{words}: {outcome}");
    lan.assert_as(&before);
}

fn setting(state: &State, name: &str) -> String {
    state.part("settings", name).as_str().unwrap_or("absent").to_owned()
}

#[track_caller]
fn assert_settings(lan: &Lan, wanted: &[(&str, &str)]) {
    let state = lan.state();
    for (name, value) in wanted {
        assert_eq!(setting(&state, name), *value, "{name}");
    }
}

/// What is left of the programs' own: records, journals, locks.
fn leftovers(machine: &Machine) -> String {
    machine.shell("find /run/xen-network /run/xen-hotplug -type f 2>/dev/null || true").unwrap()
}

/// A host with two cards, IPv6, a device that forwards already and one that must not.
fn usual() -> Lan {
    let lan = Lan::new(&["eth0", "eth1"]);
    ip_lines(&lan.router, "address add 192.168.1.1/24 dev eth0\naddress add 2001:db8:1::1/64 dev eth0");
    ip_lines(
        &lan.dom0,
        "link set eth0 up
         link set eth1 up
         address add 192.168.1.100/24 broadcast + dev eth0
         address add 2001:db8:1::100/64 dev eth0
         address add 192.168.7.100/24 dev eth1
         route add default via 192.168.1.1 dev eth0",
    );
    lan
}

/// Every way to start, as the words behind `start`.
const STARTS: [(&str, &str); 8] = [
    ("network-route", ""),
    ("network-route", "netdev=eth1 masquerade=yes"),
    ("network-route", "masquerade=yes ipv6=nat"),
    ("network-route", "ipv6=no"),
    ("network-nat", ""),
    ("network-nat", "ipv6=nat antispoof=no"),
    ("network-nat", "bridge=br0 address=192.168.2.1/24"),
    ("network-nat", "netdev=eth1 bridge=br0 address=192.168.2.1/24,fd00:2::1/64,10.9.0.1/16"),
];

#[test]
fn stop_leads_back_to_before_the_first_start() {
    for (program, words) in STARTS {
        let lan = usual();
        let before = lan.state();
        succeed(&lan, &format!("{program} start {words}"));
        let started = lan.state();
        assert_eq!(setting(&started, "net/ipv4/ip_forward"), "1");
        succeed(&lan, &format!("{program} start {words}"));
        lan.assert_as(&started);
        succeed(&lan, &format!("{program} stop {words}"));
        lan.assert_as(&before);
        assert_eq!(leftovers(&lan.dom0), "", "{program} {words}");
        succeed(&lan, &format!("{program} stop {words}"));
        lan.assert_as(&before);
    }
}

#[test]
fn settings_of_single_devices_and_redirects_come_back() {
    let lan = usual();
    for (name, value) in [
        ("net.ipv4.conf.eth1.forwarding", "1"),
        ("net.ipv6.conf.eth1.forwarding", "1"),
        ("net.ipv4.conf.all.accept_redirects", "0"),
        ("net.ipv4.conf.eth0.proxy_arp", "1"),
        ("net.ipv6.conf.eth0.accept_ra", "0"),
    ] {
        lan.dom0.set_sysctl(name, value).unwrap();
    }
    let before = lan.state();
    for program in ["network-route", "network-nat ipv6=nat"] {
        succeed(&lan, &format!("{program} start"));
        succeed(&lan, &format!("{program} stop"));
        lan.assert_as(&before);
    }
}

#[test]
fn stop_tells_what_was_started_with_other_words() {
    let lan = usual();
    succeed(&lan, "network-nat start bridge=br0 address=192.168.2.1/24");
    let started = lan.state();
    let outcome = Outcome::of(&mut command(&lan, "network-nat stop")).unwrap();
    assert!(outcome.status == Some(0) && outcome.stderr.contains("`network-nat stop netdev=eth0 bridge=br0`"), "{outcome}");
    lan.assert_as(&started);
}

#[test]
fn stop_without_start_changes_nothing() {
    let lan = usual();
    lan.dom0.set_sysctl("net.ipv4.ip_forward", "1").unwrap();
    ip_lines(&lan.dom0, "link add br0 address 02:00:00:00:00:01 type bridge\nlink set br0 up\naddress add 192.168.2.1/24 dev br0");
    let before = lan.state();
    for (program, words) in STARTS {
        succeed(&lan, &format!("{program} stop {words}"));
        lan.assert_as(&before);
    }
    assert_eq!(leftovers(&lan.dom0), "");
}

#[test]
fn what_was_there_before_stays() {
    let lan = usual();
    lan.dom0.set_sysctl("net.ipv4.ip_forward", "1").unwrap();
    lan.dom0.set_sysctl("net.ipv4.conf.eth0.proxy_arp", "1").unwrap();
    ip_lines(&lan.dom0, "link add br0 address 02:00:00:00:00:01 type bridge\naddress add 192.168.2.1/24 dev br0");
    lan.dom0.shell("nft 'add table ip nat; add chain ip nat postrouting { type nat hook postrouting priority 100; }; add rule ip nat postrouting oifname eth0 masquerade'").unwrap();
    let before = lan.state();
    for words in ["network-route % masquerade=yes", "network-nat % bridge=br0 address=192.168.2.1/24", "network-nat % bridge=br0"] {
        succeed(&lan, &words.replace('%', "start"));
        assert_eq!(lan.state().part("links", "br0")["linkinfo"]["info_kind"], "bridge");
        succeed(&lan, &words.replace('%', "stop"));
        lan.assert_as(&before);
    }
}

/// The calls of two sessions, in every order in which each starts before it stops.
const ORDERS: [[(usize, &str); 4]; 4] = [
    [(0, "start"), (1, "start"), (0, "stop"), (1, "stop")],
    [(0, "start"), (1, "start"), (1, "stop"), (0, "stop")],
    [(1, "start"), (0, "start"), (0, "stop"), (1, "stop")],
    [(1, "start"), (0, "start"), (1, "stop"), (0, "stop")],
];

#[test]
fn of_two_sessions_each_keeps_what_it_needs() {
    let pairs = [
        ["network-route % masquerade=yes", "network-nat %"],
        ["network-nat % ipv6=nat", "network-nat % bridge=br0 address=192.168.2.1/24"],
        ["network-route % netdev=eth0", "network-route % netdev=eth1"],
    ];
    for pair in pairs {
        let lan = usual();
        let before = lan.state();
        let alone = pair.map(|words| {
            succeed(&lan, &words.replace('%', "start"));
            let state = lan.state();
            succeed(&lan, &words.replace('%', "stop"));
            lan.assert_as(&before);
            state
        });
        for order in ORDERS {
            for (place, (session, word)) in order.into_iter().enumerate() {
                succeed(&lan, &pair[session].replace('%', word));
                // The other one is alone now, and shows all that it would show if the first had never been.
                if place == 2 {
                    let other = 1 - session;
                    let unnamed = |state: &State| state.without(&["links", "addresses", "bridge ports", "forwarding"]);
                    let (wanted, seen) = (unnamed(&alone[other]), unnamed(&lan.state()));
                    assert_eq!(without_bridge(&wanted), without_bridge(&seen), "{pair:?} {order:?}");
                }
            }
            lan.assert_as(&before);
            assert_eq!(leftovers(&lan.dom0), "");
        }
    }
}

#[test]
fn of_a_default_route_with_two_ways_each_is_masqueraded_or_named() {
    let lan = usual();
    ip_lines(&lan.dom0, "route replace default nexthop via 192.168.1.1 dev eth0 nexthop via 192.168.7.1 dev eth1");
    let before = lan.state();
    let said = |words: &str| succeed(&lan, &format!("{words} --dry-run")).stdout.contains("start with netdev=eth1 too");
    assert!(said("network-nat start"));
    succeed(&lan, "network-nat start");
    assert!(said("network-nat start"));
    assert!(!said("network-nat start netdev=eth1"));
    succeed(&lan, "network-nat start netdev=eth1");
    assert!(!said("network-nat start"));
    succeed(&lan, "network-nat stop netdev=eth1");
    succeed(&lan, "network-nat stop netdev=eth0");
    lan.assert_as(&before);
}

/// A bridge that is made anew has another address, and so other routes of link-local addresses, each time.
fn without_bridge(state: &State) -> Vec<String> {
    let mut lines = vec![];
    flatten("", state.value(), &mut lines);
    lines.retain(|line| !line.contains("br0"));
    // An empty set stays in our table for as long as another has an element, and a device that a session made listen for as long as it is a
    // router.
    lines.retain(|line| !line.contains("masquerade6") && !line.contains("accept_ra"));
    lines.sort();
    lines
}

fn flatten(place: &str, value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| flatten(&format!("{place} {key}"), value, lines)),
        Value::Array(list) if list.iter().all(|item| item["handle"].is_null()) => {
            list.iter().for_each(|item| lines.push(format!("{place} {item}")));
        }
        Value::Array(list) => list.iter().for_each(|item| lines.push(format!("{place} {}", without_handles(item)))),
        other => lines.push(format!("{place} {other}")),
    }
}

fn without_handles(item: &Value) -> String {
    let text = item.to_string();
    text.split(',').filter(|part| !part.contains("\"handle\"")).collect::<Vec<_>>().join(",")
}

#[test]
fn other_words_take_back_what_they_no_longer_ask_for() {
    let lan = usual();
    let before = lan.state();
    succeed(&lan, "network-route start");
    let plain = lan.state();
    succeed(&lan, "network-route start masquerade=yes ipv6=nat");
    succeed(&lan, "network-route start");
    lan.assert_as(&plain);
    succeed(&lan, "network-route start ipv6=no");
    assert_settings(&lan, &[("net/ipv6/conf/all/forwarding", "0"), ("net/ipv6/conf/eth0/accept_ra", "1")]);
    succeed(&lan, "network-route stop");
    lan.assert_as(&before);
}

#[test]
fn what_somebody_else_has_changed_since_stays() {
    for (name, value) in [
        ("net/ipv4/ip_forward", "0"),
        ("net/ipv6/conf/all/forwarding", "0"),
        ("net/ipv4/conf/eth0/proxy_arp", "0"),
        ("net/ipv6/conf/eth0/proxy_ndp", "0"),
        ("net/ipv6/conf/eth0/accept_ra", "0"),
        ("net/ipv4/conf/all/accept_redirects", "1"),
        ("net/ipv4/conf/eth1/forwarding", "0"),
    ] {
        let lan = usual();
        // Not what it is after `stop` anyway.
        lan.dom0.set_sysctl("net.ipv4.conf.eth0.proxy_arp", "0").unwrap();
        let before = lan.state();
        succeed(&lan, "network-route start");
        lan.dom0.set_sysctl(&name.replace('/', "."), value).unwrap();
        succeed(&lan, "network-route stop");
        let after = lan.state();
        assert_eq!(setting(&after, name), value);
        let others: Vec<_> = before.difference(&after).lines().iter().filter(|line| !line.contains(name)).cloned().collect();
        assert!(others.is_empty(), "{name}={value}: {others:?}");
    }
}

#[test]
fn somebody_elses_change_is_what_a_new_start_goes_back_to() {
    let lan = usual();
    lan.dom0.set_sysctl("net.ipv4.conf.eth0.proxy_arp", "1").unwrap();
    succeed(&lan, "network-route start");
    lan.dom0.set_sysctl("net.ipv4.conf.eth0.proxy_arp", "0").unwrap();
    lan.dom0.set_sysctl("net.ipv4.ip_forward", "0").unwrap();
    succeed(&lan, "network-route start");
    assert_settings(&lan, &[("net/ipv4/conf/eth0/proxy_arp", "1"), ("net/ipv4/ip_forward", "1")]);
    succeed(&lan, "network-route stop");
    assert_settings(&lan, &[("net/ipv4/conf/eth0/proxy_arp", "0"), ("net/ipv4/ip_forward", "0")]);
}

#[test]
fn devices_come_and_go_in_between() {
    let lan = usual();
    ip_lines(&lan.dom0, "link add gone0 type veth peer name gone1\nlink set gone0 up");
    lan.dom0.set_sysctl("net.ipv4.conf.gone0.forwarding", "1").unwrap();
    lan.dom0.set_sysctl("net.ipv4.conf.default.rp_filter", "2").unwrap();
    succeed(&lan, "network-route start netdev=gone0 masquerade=yes");
    ip_lines(&lan.dom0, "link delete gone0\nlink add vif1.0 type veth peer name vif1.1\nlink set vif1.0 up");
    assert_settings(&lan, &[("net/ipv4/conf/vif1.0/forwarding", "1")]);
    succeed(&lan, "network-route stop netdev=gone0");
    assert_settings(
        &lan,
        &[
            ("net/ipv4/conf/vif1.0/forwarding", "0"),
            ("net/ipv6/conf/vif1.0/forwarding", "0"),
            ("net/ipv4/conf/default/forwarding", "0"),
            ("net/ipv4/ip_forward", "0"),
        ],
    );
    assert_eq!(lan.dom0.shell("nft list ruleset").unwrap(), "");
    assert_eq!(leftovers(&lan.dom0), "");
}

/// A router's network, as it advertises it.
const ADVERTISED: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 0);
const ADVERTISED_LATER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 10, 0, 0, 0, 0, 0);

fn hear(lan: &Lan, card: &str, prefix: Ipv6Addr) {
    let start = prefix.to_string().trim_end_matches("::").to_owned() + ":";
    wait_for("the address that was advertised", LIMIT, || {
        // Routers repeat themselves: one advertisement may come before the host listens.
        if lan.router.inside(|| advertise(card, prefix))?.is_err() {
            // It cannot speak before it has its link-local address.
            return Ok(false);
        }
        Ok(lan.dom0.ip(&format!("-6 address show dev {card}"))?.contains(&start) && default_router(lan, card))
    })
    .unwrap();
}

fn default_router(lan: &Lan, card: &str) -> bool {
    lan.dom0.ip(&format!("-6 route show default dev {card}")).unwrap().contains("proto ra")
}

#[test]
fn a_default_route_from_an_advertisement_survives() {
    for words in [
        "network-route % netdev=eth0",
        "network-nat % netdev=eth0 ipv6=nat",
        "network-nat % netdev=eth0 bridge=br0 address=fd00:2::1/64",
    ] {
        let lan = usual();
        hear(&lan, "eth0", ADVERTISED);
        hear(&lan, "eth1", ADVERTISED);
        let before = lan.state();
        succeed(&lan, &words.replace('%', "start"));
        assert!(default_router(&lan, "eth0") && default_router(&lan, "eth1"), "{words}: the route went");
        // Not only does the route stay until it ends: the next advertisement counts as well.
        hear(&lan, "eth0", ADVERTISED_LATER);
        succeed(&lan, &words.replace('%', "stop"));
        assert!(default_router(&lan, "eth0") && default_router(&lan, "eth1"), "{words}: the route went at stop");
        assert_eq!(before.value()["settings"], lan.state().value()["settings"], "{words}");
    }
}

#[test]
fn the_kernel_would_drop_that_route() {
    // Without this the test above would show nothing.
    let lan = usual();
    hear(&lan, "eth0", ADVERTISED);
    lan.dom0.set_sysctl("net.ipv6.conf.all.forwarding", "1").unwrap();
    assert!(!default_router(&lan, "eth0"));
}

#[test]
fn an_uplink_that_has_yet_to_hear_an_advertisement_goes_on_listening() {
    let lan = usual();
    succeed(&lan, "network-route start");
    hear(&lan, "eth0", ADVERTISED);
    // A later session's device as well: that it is a router is our doing.
    succeed(&lan, "network-route start netdev=eth1");
    hear(&lan, "eth1", ADVERTISED);
}

/// A guest behind a device of dom0.
fn guest(lan: &Lan, device: &str) -> Machine {
    let guest = Machine::new("guest").unwrap();
    guest.set_sysctl("net.ipv6.conf.default.accept_dad", "0").unwrap();
    connect(&lan.dom0, device, &guest, "eth0").unwrap();
    guest.ip("link set eth0 up").unwrap();
    lan.dom0.ip(&format!("link set {device} up")).unwrap();
    guest
}

fn pings(machine: &Machine, address: &str) -> bool {
    machine.run("ping", ["-n", "-c", "1", "-W", "2", address]).is_ok()
}

#[track_caller]
fn assert_pings(machine: &Machine, address: &str) {
    wait_for(&format!("{address} to answer {}", machine.name()), LIMIT, || Ok(pings(machine, address))).unwrap();
}

#[test]
fn guests_on_the_private_bridge_reach_the_outside_with_the_hosts_address() {
    let lan = usual();
    let guest = guest(&lan, "vif1.0");
    succeed(&lan, "network-nat start bridge=br0 address=192.168.2.1/24,fd00:2::1/64 ipv6=nat");
    ip_lines(&lan.dom0, "link set vif1.0 master br0");
    ip_lines(
        &guest,
        "address add 192.168.2.2/24 dev eth0
         address add fd00:2::2/64 dev eth0
         route add default via 192.168.2.1
         -6 route add default via fd00:2::1",
    );
    for address in ["192.168.2.1", "fd00:2::1", "192.168.1.1", "2001:db8:1::1"] {
        // The router knows no way to 192.168.2.0/24 or fd00:2::/64: an answer shows that it was asked with another address.
        assert_pings(&guest, address);
    }
    let state = lan.state();
    let data = &state.part("links", "br0")["linkinfo"]["info_data"];
    assert_eq!((&data["stp_state"], &data["forward_delay"]), (&Value::from(0), &Value::from(0)));
    let outcome = succeed(&lan, "network-nat stop bridge=br0");
    assert_eq!(outcome.stdout, "");
    assert!(!lan.has("br0") && !pings(&guest, "192.168.1.1"));
}

#[test]
fn guests_with_routes_are_reached_by_their_own_addresses() {
    let lan = usual();
    let guest = guest(&lan, "vif1.0");
    ip_lines(
        &lan.dom0,
        "address add 192.168.1.100/32 dev vif1.0
         route add 192.168.1.101/32 dev vif1.0
         route add 192.168.2.1/32 dev vif1.0
         address add fe80::1/64 dev vif1.0
         -6 route add 2001:db8:1::101/128 dev vif1.0
         neigh add proxy 2001:db8:1::101 dev eth0",
    );
    ip_lines(
        &guest,
        "address add 192.168.1.101/32 dev eth0
         address add 192.168.2.1/32 dev eth0
         address add 2001:db8:1::101/128 dev eth0
         route add 192.168.1.100 dev eth0
         route add default via 192.168.1.100 src 192.168.1.101
         -6 route add default via fe80::1 dev eth0",
    );
    let from_elsewhere = ["-n", "-c", "1", "-W", "2", "-I", "192.168.2.1", "192.168.1.1"];
    succeed(&lan, "network-route start");
    // The router takes them for hosts of its own network: dom0 answers for them.
    assert_pings(&lan.router, "192.168.1.101");
    assert_pings(&lan.router, "2001:db8:1::101");
    assert!(guest.run("ping", from_elsewhere).is_err(), "the router knows no way back");
    succeed(&lan, "network-route start masquerade=yes");
    wait_for("an answer by way of the masquerade", LIMIT, || Ok(guest.run("ping", from_elsewhere).is_ok())).unwrap();
    assert_pings(&lan.router, "192.168.1.101");
    succeed(&lan, "network-route stop");
    lan.router.shell("ip neigh flush all").unwrap();
    assert!(!pings(&lan.router, "192.168.1.101"));
}

/// A filter as Docker leaves it: what is forwarded is dropped unless a rule accepts it.
const DROPPING: &str = "
table ip filter {
	chain FORWARD {
		type filter hook forward priority filter; policy drop;
		ip saddr 172.17.0.0/16 accept
	}
}";

#[test]
fn guests_on_the_private_bridge_get_through_a_filter_that_drops() {
    let lan = usual();
    let guest = guest(&lan, "vif1.0");
    lan.dom0.shell(&format!("nft -f - <<'END'\n{DROPPING}\nEND")).unwrap();
    let rules = lan.dom0.shell("nft -a list ruleset").unwrap();
    let before = lan.state();
    succeed(&lan, "network-nat start bridge=br0 address=192.168.2.1/24");
    let started = lan.state();
    succeed(&lan, "network-nat start bridge=br0 address=192.168.2.1/24");
    lan.assert_as(&started);
    ip_lines(&lan.dom0, "link set vif1.0 master br0");
    ip_lines(&guest, "address add 192.168.2.2/24 dev eth0\nroute add default via 192.168.2.1");
    assert_pings(&guest, "192.168.1.1");
    ip_lines(&lan.dom0, "link set vif1.0 nomaster");
    succeed(&lan, "network-nat stop bridge=br0");
    lan.assert_as(&before);
    assert_eq!(lan.dom0.shell("nft -a list ruleset").unwrap(), rules);
}

#[test]
fn what_cannot_be_done_is_refused_in_one_sentence() {
    let lan = usual();
    ip_lines(
        &lan.dom0,
        "link add br1 address 02:00:00:00:00:01 type bridge\nlink set eth1 master br1\nlink add taken type veth peer name other",
    );
    for (words, sentence) in [
        ("network-route start netdev=eth7", "there is no network device eth7"),
        ("network-route start netdev=lo", "lo leads nowhere"),
        ("network-route start netdev=eth1", "eth1 belongs to br1"),
        ("network-route start netdev=../eth0", "netdev="),
        ("network-route start masquerade=1", "masquerade=1 is neither yes nor no"),
        ("network-route start ipv6=on", "ipv6=on"),
        ("network-route restart", "restart"),
        ("network-nat start netdev=eth7", "there is no network device eth7"),
        ("network-nat start address=192.168.2.1/24", "bridge="),
        ("network-nat start bridge=br0", "address="),
        ("network-nat start bridge=taken address=192.168.2.1/24", "taken exists already and is no bridge"),
        ("network-nat start bridge=eth0 address=192.168.2.1/24", "eth0 leads outside"),
        ("network-nat start bridge=br0 address=192.168.1.7/24", "lies in the network of eth0"),
        ("network-nat start bridge=br0 address=192.168.2.1", "192.168.2.1/24"),
        ("network-nat start bridge=br0 address=192.168.2.1/33", "address=192.168.2.1/33"),
        ("network-nat start bridge=br0 address=192.168.2.1/24;reboot", "reboot"),
        ("network-nat start dhcp=isc", "dhcp=isc"),
        ("network-nat start dhcp=dnsmasq", "dnsmasq"),
        ("network-nat start subnet=10.0.0.1/8", "subnet=10.0.0.1/8"),
        ("network-nat netdev=eth0", "start"),
        ("network-nat start --fast", "--fast"),
    ] {
        refuse(&lan, words, sentence);
    }
    assert_eq!(leftovers(&lan.dom0), "");
}

#[test]
fn a_record_that_cannot_be_read_is_told_of() {
    let lan = usual();
    succeed(&lan, "network-route start");
    let record = lan.dom0.shell("ls /run/xen-network/*/network-router.json").unwrap();
    for text in [
        "",
        "{",
        "{\"holdings\": [{}]}",
        "{\"holdings\": [{\"sessions\": [], \"what\": {\"setting\": {\"sysctl\": \"kernel/x\"}}}]}",
    ] {
        lan.dom0.write_file(record.trim(), text).unwrap();
        refuse(&lan, "network-nat start", "network-router.json");
        refuse(&lan, "network-route stop", "network-router.json");
    }
}

#[test]
fn a_dry_run_touches_nothing() {
    let lan = usual();
    let before = lan.state();
    for (program, words) in STARTS {
        let outcome = succeed(&lan, &format!("{program} start {words} --dry-run"));
        assert!(outcome.stdout.contains("sysctl -w net/ipv4/conf/all/forwarding=1\n    undo: sysctl"), "{outcome}");
        let json = succeed(&lan, &format!("{program} start {words} --dry-run --json")).stdout;
        let json: Value = serde_json::from_str(&json).unwrap();
        assert!(json["steps"].as_array().unwrap().len() >= 3, "{json}");
        lan.assert_as(&before);
    }
    assert_eq!(leftovers(&lan.dom0), "");
}

#[test]
fn status_tells_what_is_in_force_and_why() {
    let lan = usual();
    let text = succeed(&lan, "network-route status").stdout;
    assert!(text.contains("IPv4 forwarding: off") && text.contains("started: none"), "{text}");
    succeed(&lan, "network-nat start bridge=br0 address=192.168.2.1/24");
    let text = succeed(&lan, "network-nat status").stdout;
    for words in
        ["IPv4 forwarding: on", "masquerade: IPv4 out of eth0", "192.168.2.1/24", "started: network-nat netdev=eth0 bridge=br0"]
    {
        assert!(text.contains(words), "{words:?} is missing in\n{text}");
    }
    assert!(succeed(&lan, "network-route status").stdout.contains("started: none"));
    let json: Value = serde_json::from_str(&succeed(&lan, "network-nat status --json").stdout).unwrap();
    assert_eq!(json["settings"]["net/ipv4/conf/all/forwarding"], "1");
    assert_eq!(json["started"][0]["bridge"], "br0");
    assert_eq!(json["masquerades"][0]["device"], "eth0");
    succeed(&lan, "network-bridge start netdev=eth0 check=no");
    let text = succeed(&lan, "network-nat status").stdout;
    assert!(text.contains("eth0: up, MTU 1500, ports: peth0"), "{text}");
}

#[test]
fn many_calls_at_the_same_time_leave_no_trace() {
    let lan = usual();
    let before = lan.state();
    for word in ["start", "stop"] {
        let calls = STARTS.iter().filter(|(_, words)| !words.contains("br0") || words.contains("eth1"));
        let mut children: Vec<_> = calls
            .map(|(program, words)| {
                let mut command = command(&lan, &format!("{program} {word} {words}"));
                command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        for child in children.drain(..) {
            let output = child.wait_with_output().unwrap();
            let told = String::from_utf8_lossy(&output.stderr);
            // Of two starts with the same words the second stop finds nothing, and is told what still goes on.
            let is_second = word == "stop" && told.contains("has not been started with these words: nothing to stop");
            assert!(output.status.success() && (told.is_empty() || is_second), "{word}: {}: {told}", output.status);
        }
    }
    lan.assert_as(&before);
    assert_eq!(leftovers(&lan.dom0), "");
}

fn has_journal(lan: &Lan) -> bool {
    let folders = fs::read_dir(lan.dom0.path("/run/xen-network")).into_iter().flatten();
    folders.flatten().any(|folder| folder.path().join("network-router.journal").exists())
}

#[test]
fn a_killed_run_is_taken_back_by_the_next_one_of_either_program() {
    let lan = usual();
    let before = lan.state();
    let mut killed_midway = 0;
    for attempt in 0..60_u64 {
        let words = "network-nat start bridge=br0 address=192.168.2.1/24,fd00:2::1/64 ipv6=nat";
        let mut child = command(&lan, words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Killed at different moments after its first step was written down.
        while !has_journal(&lan) && child.try_wait().unwrap().is_none() {}
        sleep(Duration::from_micros(25 * attempt));
        // The child is nsenter, which has become the program by exec.
        let _ = child.kill();
        child.wait().unwrap();
        killed_midway += usize::from(has_journal(&lan));
        let outcome = Outcome::of(&mut command(&lan, "network-route stop")).unwrap();
        assert_eq!(outcome.status, Some(0), "{outcome}");
        if leftovers(&lan.dom0).contains("network-router.json") {
            succeed(&lan, "network-nat stop bridge=br0");
        }
        lan.assert_as(&before);
        // Half a draft of the record may be left, in memory, under a name that nobody reads.
        let left = lan.dom0.shell("find /run/xen-network -type f -not -name '.*'").unwrap();
        assert_eq!(left, "", "attempt {attempt}");
    }
    println!("{killed_midway} of 60 runs were killed midway");
    assert!(killed_midway >= 3, "only {killed_midway} runs were killed midway");
}
