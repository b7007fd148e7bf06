//! What the kernel of a machine shows at one moment, made comparable.
//!
//! Everything comes from iproute2, bridge(8), nft(8) and /proc/sys, so that the tests judge our programs by tools that share
//! no code with them.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::machine::{Error, Machine, ROOT_PATH, Result, wait_for};

/// The links, addresses, routes, rules, permanent neighbours, bridge ports, filters and `net.*` settings of a machine.
///
/// Left out is what no program set: device indices, counters, timers, learnt neighbours and forwarding entries.
/// Lifetimes that run become `"limited"`. Devices are sorted by name, routes and neighbours by their text; the addresses
/// of a device keep their order, since the first one is the source of new connections.
#[derive(Clone, Debug, PartialEq)]
pub struct State(Value);

/// How long a network may take to come to rest. Duplicate address detection takes 2 s; the rest is for busy machines, where
/// the kernel's deferred work waits for others.
const SETTLING: Duration = Duration::from_secs(30);

/// How long elements of nf_tables may take to end, of which the kernel needs one tick.
const ENDING: Duration = Duration::from_secs(5);

/// The settings shown in [`State`], as folders and files under /proc/sys.
const SETTINGS: [&str; 4] = ["net/ipv4/conf", "net/ipv6/conf", "net/ipv4/ip_forward", "net/bridge"];

/// Keys that say nothing about the machine's configuration. Timers and ids of a bridge are in linux/if_link.h
/// (IFLA_BR_*); the rest are indices, statistics and peers in other namespaces.
const NOISE: [&str; 24] = [
    "ifindex",
    "link_index",
    "link_netnsid",
    "new_netnsid",
    "stats",
    "stats64",
    "num_tx_queues",
    "num_rx_queues",
    "hello_timer",
    "tcn_timer",
    "topology_change",
    "topology_change_detected",
    "topology_change_timer",
    "gc_timer",
    "hold_timer",
    "message_age_timer",
    "forward_delay_timer",
    "config_pending",
    "topology_change_ack",
    "fdb_n_learned",
    "handle",
    "packets",
    "bytes",
    "carrier_changes",
];

impl State {
    /// Reads the state of a machine as it is now.
    ///
    /// # Errors
    /// When one of the tools is missing or fails.
    pub fn of(machine: &Machine) -> Result<Self> {
        machine.inside(Self::read)?.map_err(Error::in_act(format!("see the state of {}", machine.name())))
    }

    // Few programs, and each started from inside: tests look some ten thousand times.
    fn read() -> Result<Self> {
        let mut parts = Map::new();
        let [links_there, addresses_there] = read_batch(&["ip"], ["link show", "address show"])?;
        parts.insert("links".to_owned(), links(links_there));
        parts.insert("addresses".to_owned(), addresses(addresses_there));
        for (family, flag) in [("ipv4", "-4"), ("ipv6", "-6")] {
            let words = ["route show table all", "rule show", "neighbour show nud permanent", "neighbour show proxy"];
            let [routes, rules, permanent, proxy] = read_batch(&["ip", flag], words)?;
            parts.insert(format!("routes {family}"), sorted(routes));
            parts.insert(format!("rules {family}"), rules);
            parts.insert(format!("neighbours {family}"), sorted(permanent));
            parts.insert(format!("proxy neighbours {family}"), sorted(proxy));
        }
        let [ports, entries] = read_batch(&["bridge"], ["link show", "fdb show"])?;
        parts.insert("bridge ports".to_owned(), bridge_ports(ports));
        parts.insert("forwarding".to_owned(), forwarding(entries));
        parts.insert("filters".to_owned(), filters(ruleset_here()?));
        parts.insert("settings".to_owned(), settings()?);
        Ok(Self(without_noise(Value::Object(parts))))
    }

    /// Reads the state once nothing is under way any more: the kernel has followed every change of carrier, and duplicate
    /// address detection is over.
    ///
    /// # Errors
    /// As [`State::of`], and when it is not so within 30 s.
    pub fn settled(machine: &Machine) -> Result<Self> {
        let mut before = None;
        let mut settled = None;
        wait_for(&format!("the network of {} to settle", machine.name()), SETTLING, || {
            look_at_carriers(machine)?;
            let state = Self::of(machine)?;
            if state.is_settled() && before.as_ref() == Some(&state) {
                settled = Some(state);
            } else {
                before = Some(state);
            }
            Ok(settled.is_some())
        })?;
        settled.ok_or_else(|| Error::new("the network settled and is gone"))
    }

    /// The whole as JSON: `links`, `addresses` and `bridge ports` by device name; `routes ipv4`, `rules ipv6`, … as lists.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// One part, `Value::Null` if there is no such thing: `state.part("addresses", "eth0")`.
    pub fn part(&self, part: &str, name: &str) -> &Value {
        &self.0[part][name]
    }

    /// A copy without these parts (`links`, `settings`, …).
    #[must_use]
    pub fn without(&self, parts: &[&str]) -> Self {
        let mut value = self.0.clone();
        if let Value::Object(map) = &mut value {
            map.retain(|name, _| !parts.contains(&name.as_str()));
        }
        Self(value)
    }

    /// What changed from this state to a later one.
    #[must_use]
    pub fn difference(&self, later: &Self) -> Difference {
        let mut lines = Vec::new();
        compare("", &self.0, &later.0, &mut lines);
        Difference(lines)
    }

    // A device whose operational state lags behind its carrier (linkwatch, net/core/link_watch.c), or an address that is
    // still tentative (RFC 4862, 5.4).
    fn is_settled(&self) -> bool {
        let links = self.0["links"].as_object();
        let has_ports = |name: &String| self.0["links"].as_object().into_iter().flatten().any(|(_, port)| port["master"] == **name);
        let links_done = links.into_iter().flatten().all(|(name, link)| {
            let flag = |name: &str| contains(&link["flags"], name);
            // Devices without a carrier of their own (lo) stay "UNKNOWN" for ever, and so does a bridge that never had a port
            // (net/bridge/br_if.c: its carrier follows from its ports).
            let kind = link["linkinfo"]["info_kind"].as_str().unwrap_or_default();
            let shown_up = link["operstate"] == "UP"
                || (link["operstate"] == "UNKNOWN" && kind != "veth" && (kind != "bridge" || !has_ports(name)));
            shown_up == (flag("UP") && flag("LOWER_UP"))
        });
        let devices = self.0["addresses"].as_object();
        let addresses_done = devices.into_iter().flatten().all(|(_, addresses)| {
            let mut addresses = addresses.as_array().into_iter().flatten();
            addresses.all(|address| address["tentative"] != Value::Bool(true) || address["dadfailed"] == Value::Bool(true))
        });
        links_done && addresses_done && self.every_ipv6_address_has_its_route()
    }

    /// The kernel makes the local route of an address that comes without detection of duplicates in a work queue of its own, later
    /// (net/ipv6/addrconf.c, `addrconf_dad_start()`).
    fn every_ipv6_address_has_its_route(&self) -> bool {
        let routes = self.0["routes ipv6"].as_array();
        let has_route = |device: &str, address: &Value| {
            let mut routes = routes.into_iter().flatten();
            routes.any(|route| route["table"] == "local" && route["dev"] == device && route["dst"] == *address)
        };
        let is_running = |device: &str| ["UP", "LOWER_UP"].iter().all(|flag| contains(&self.0["links"][device]["flags"], flag));
        let devices = self.0["addresses"].as_object().into_iter().flatten();
        devices.filter(|(device, _)| is_running(device)).all(|(device, addresses)| {
            let mut addresses = addresses.as_array().into_iter().flatten();
            addresses.all(|address| {
                address["family"] != "inet6" || address["tentative"] == Value::Bool(true) || has_route(device, &address["local"])
            })
        })
    }
}

/// Has the kernel follow all changes of carrier. It may be a second late with that, for a bridge for instance; reading `carrier` lets it do so
/// at once (net/core/net-sysfs.c, `carrier_show`, calls `linkwatch_sync_dev`). The file of a device that is down cannot be read.
///
/// # Errors
/// When the machine's devices cannot be listed.
pub fn look_at_carriers(machine: &Machine) -> Result<()> {
    let devices =
        fs::read_dir(machine.path("/sys/class/net")).map_err(Error::in_act(format!("list the devices of {}", machine.name())))?;
    for device in devices.flatten() {
        let _ = fs::read(device.path().join("carrier"));
    }
    Ok(())
}

/// All of nf_tables, once nothing there is about to end: what a guest's filter was stays until the kernel's next tick.
///
/// # Errors
/// When `nft` fails, or something is still about to end after some seconds.
pub fn ruleset(machine: &Machine) -> Result<Value> {
    machine.inside(ruleset_here)?
}

fn ruleset_here() -> Result<Value> {
    let mut seen = Value::Null;
    wait_for("elements of nf_tables to end", ENDING, || {
        let text = output(&["nft", "-j", "list", "ruleset"], "")?;
        seen = serde_json::from_str(&text).map_err(Error::in_act("read the output of `nft -j list ruleset`"))?;
        Ok(!text.contains("\"expires\":"))
    })?;
    Ok(seen)
}

/// What differs between two states: a line each, ready to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference(Vec<String>);

impl Difference {
    /// Whether the states are the same.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lines: where, what was there, what is there now.
    pub fn lines(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

/// Compares two values of any kind the way [`State::difference`] does.
#[must_use]
pub fn difference(before: &Value, after: &Value) -> Difference {
    let mut lines = Vec::new();
    compare("", before, after, &mut lines);
    Difference(lines)
}

/// Panics with the difference when two states are not the same.
///
/// # Panics
/// When they differ.
#[track_caller]
pub fn assert_same(before: &State, after: &State) {
    let difference = before.difference(after);
    assert!(difference.is_empty(), "the state is not as before (- before, + after):\n{difference}");
}

// What iproute2 prints for each line of words: a list each.
fn read_batch<const COUNT: usize>(program: &[&str], lines: [&str; COUNT]) -> Result<[Value; COUNT]> {
    let words = [program, &["-d", "-j", "-batch", "-"]].concat();
    let act = || format!("read the output of `{}`", words.join(" "));
    let text = output(&words, &lines.map(|line| format!("{line}\n")).concat())?;
    let lists: Vec<Value> =
        serde_json::Deserializer::from_str(&text).into_iter().collect::<serde_json::Result<_>>().map_err(Error::in_act(act()))?;
    lists.try_into().map_err(|lists: Vec<_>| Error::new(format!("cannot {}: it has {} lists", act(), lists.len())))
}

// What a program of the machine that the thread is in prints.
fn output(words: &[&str], input: &str) -> Result<String> {
    let act = || format!("run `{}`", words.join(" "));
    let run = || {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env_clear().env("PATH", ROOT_PATH);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        if let Some(mut pipe) = child.stdin.take() {
            pipe.write_all(input.as_bytes())?;
        }
        child.wait_with_output()
    };
    let output = run().map_err(Error::in_act(act()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(Error::new(format!("`{}` failed: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim())))
}

fn items(list: Value) -> Vec<Value> {
    match list {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

// bridge(8) looks for the other end of a cable in the wrong namespace: its name there is a device's of the same number, or made up.
fn bridge_ports(list: Value) -> Value {
    let mut ports = by_name(list, "ifname");
    for port in ports.as_object_mut().into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut) {
        port.remove("link");
    }
    ports
}

// iproute2 prints an empty object for what a filter left out.
fn by_name(list: Value, key: &str) -> Value {
    let named = items(list).into_iter().filter_map(|item| {
        let name = item[key].as_str()?.to_owned();
        Some((name, item))
    });
    Value::Object(named.collect())
}

fn addresses(list: Value) -> Value {
    let Value::Object(mut devices) = by_name(list, "ifname") else {
        return Value::Null;
    };
    for device in devices.values_mut() {
        let mut found = items(device["addr_info"].take());
        for address in &mut found {
            limit_lifetimes(address);
        }
        *device = Value::Array(found);
    }
    Value::Object(devices)
}

// The kernel's "for ever" is INFINITY_LIFE_TIME (linux/addrconf.h), and 0 is "deprecated": both were set by somebody.
fn limit_lifetimes(address: &mut Value) {
    for key in ["valid_life_time", "preferred_life_time"] {
        let seconds = address[key].as_u64().unwrap_or(0);
        if seconds != 0 && seconds != u64::from(u32::MAX) {
            address[key] = Value::from("limited");
        }
    }
}

fn sorted(list: Value) -> Value {
    let mut list = items(without_noise(list));
    list.sort_by_key(Value::to_string);
    Value::Array(list)
}

// Entries the bridge learnt from traffic have no state. The multicast addresses a card listens to follow from the protocols that use
// it: once it was up it keeps a few, and they are no forwarding.
fn forwarding(list: Value) -> Value {
    let set_by_hand = items(list).into_iter().filter(|entry| {
        let permanent = !entry["state"].as_str().unwrap_or_default().is_empty();
        permanent && !(contains(&entry["flags"], "self") && is_multicast(entry["mac"].as_str().unwrap_or_default()))
    });
    sorted(set_by_hand.collect())
}

// The lowest bit of the first octet (IEEE 802, clause 8.2).
fn is_multicast(mac: &str) -> bool {
    mac.get(..2).and_then(|octet| u8::from_str_radix(octet, 16).ok()).is_some_and(|octet| octet & 1 == 1)
}

// A device that is down queues nothing, and `qdisc` only tells whether it was ever up (dev_activate in net/sched/sch_generic.c).
fn links(list: Value) -> Value {
    let Value::Object(mut links) = by_name(list, "ifname") else {
        return Value::Null;
    };
    for link in links.values_mut().filter_map(Value::as_object_mut) {
        if !link.get("flags").is_some_and(|flags| contains(flags, "UP")) {
            link.remove("qdisc");
        }
    }
    Value::Object(links)
}

fn filters(mut ruleset: Value) -> Value {
    let mut list = items(ruleset["nftables"].take());
    list.retain(|item| item.get("metainfo").is_none());
    for item in &mut list {
        // A hash set lists its elements in no order.
        for kind in ["set", "map"] {
            if let Some(Value::Array(elements)) = item.pointer_mut(&format!("/{kind}/elem")) {
                elements.sort_by_key(Value::to_string);
            }
        }
    }
    Value::Array(list)
}

// The folders show the settings of the machine that the thread is in. Not every kernel has all of them.
fn settings() -> Result<Value> {
    let mut settings = Map::new();
    for name in SETTINGS {
        add_settings(name, &mut settings);
    }
    if settings.is_empty() {
        return Err(Error::new("cannot read the settings under /proc/sys"));
    }
    Ok(Value::Object(settings))
}

// Some can only be written, and those of a device that goes are gone: they are left out.
fn add_settings(name: &str, settings: &mut Map<String, Value>) {
    let path = format!("/proc/sys/{name}");
    if fs::metadata(&path).is_ok_and(|found| found.is_dir()) {
        for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
            add_settings(&format!("{name}/{}", entry.file_name().to_string_lossy()), settings);
        }
    } else if let Ok(value) = read_setting(&path)
        && !value.is_empty()
    {
        settings.insert(name.to_owned(), Value::from(value));
    }
}

// By one call, which gives all of a value: there are some hundred settings a device.
fn read_setting(path: &str) -> io::Result<String> {
    let mut text = [0; 1024];
    let length = File::open(path)?.read(&mut text)?;
    Ok(String::from_utf8_lossy(&text[..length]).trim().to_owned())
}

fn without_noise(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .filter(|(key, _)| !NOISE.contains(&key.as_str()))
                .map(|(key, value)| match key.as_str() {
                    "expires" | "used" | "confirmed" | "updated" => (key, Value::from("limited")),
                    _ => (key, without_noise(value)),
                })
                .collect(),
        ),
        Value::Array(list) => list.into_iter().map(without_noise).collect(),
        other => other,
    }
}

fn compare(place: &str, before: &Value, after: &Value, lines: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            let inner = |key: &str| match place {
                "" => key.to_owned(),
                place => format!("{place} › {key}"),
            };
            for (key, value) in before {
                match after.get(key) {
                    Some(other) => compare(&inner(key), value, other, lines),
                    None => lines.push(format!("- {}: {value}", inner(key))),
                }
            }
            for (key, value) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
                lines.push(format!("+ {}: {value}", inner(key)));
            }
        }
        (Value::Array(before), Value::Array(after)) => compare_lists(place, before, after, lines),
        _ if before == after => {}
        _ => {
            lines.push(format!("- {place}: {before}"));
            lines.push(format!("+ {place}: {after}"));
        }
    }
}

fn compare_lists(place: &str, before: &[Value], after: &[Value], lines: &mut Vec<String>) {
    let mut added: Vec<_> = after.iter().collect();
    let mut gone = Vec::new();
    for item in before {
        match added.iter().position(|other| *other == item) {
            Some(position) => drop(added.remove(position)),
            None => gone.push(item),
        }
    }
    if gone.is_empty() && added.is_empty() && before != after {
        let order = |list: &[Value]| Value::from(list.to_vec()).to_string();
        lines.push(format!("- {place} (order): {}", order(before)));
        lines.push(format!("+ {place} (order): {}", order(after)));
    }
    lines.extend(gone.into_iter().map(|item| format!("- {place}: {item}")));
    lines.extend(added.into_iter().map(|item| format!("+ {place}: {item}")));
}

fn contains(list: &Value, word: &str) -> bool {
    list.as_array().is_some_and(|list| list.iter().any(|item| item == word))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::machine::connect;

    fn host() -> (Machine, Machine) {
        let (host, router) = (Machine::new("host").unwrap(), Machine::new("router").unwrap());
        connect(&host, "eth0", &router, "eth0").unwrap();
        for machine in [&host, &router] {
            machine.ip("link set eth0 up").unwrap();
        }
        (host, router)
    }

    #[test]
    fn two_hosts_built_alike_have_the_same_state() {
        let (one, _one_router) = host();
        let (other, _other_router) = host();
        assert_same(&State::settled(&one).unwrap(), &State::settled(&other).unwrap());
    }

    #[test]
    fn every_kind_of_change_is_seen() {
        let (host, _router) = host();
        let changes = [
            "ip addr add 192.0.2.1/24 dev eth0",
            "ip -6 addr add 2001:db8::1/64 dev eth0 nodad",
            "ip route add 198.51.100.0/24 via 192.0.2.7 table 7",
            "ip -6 route add 2001:db8:1::/64 via 2001:db8::7 metric 5",
            "ip rule add from 192.0.2.0/24 table 7",
            "ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent",
            "ip neigh add proxy 192.0.2.10 dev eth0",
            "ip link set eth0 mtu 1400",
            "ip link add br0 address 02:00:00:00:00:01 type bridge",
            "ip link set eth0 master br0",
            "bridge fdb add 02:00:00:00:00:77 dev eth0 master static",
            "bridge link set dev eth0 cost 7",
            "nft add table ip example",
            "echo 1 >/proc/sys/net/ipv4/ip_forward",
            "echo 1 >/proc/sys/net/ipv4/conf/eth0/proxy_arp",
        ];
        let mut before = State::of(&host).unwrap();
        for change in changes {
            host.shell(change).unwrap();
            let after = State::of(&host).unwrap();
            assert_ne!(before, after, "{change} made no difference");
            before = after;
        }
    }

    #[test]
    fn the_order_of_addresses_matters() {
        let (host, _router) = host();
        host.ip("addr add 192.0.2.1/24 dev eth0").unwrap();
        host.ip("addr add 192.0.2.2/24 dev eth0").unwrap();
        let before = State::settled(&host).unwrap();
        host.ip("-4 addr flush dev eth0").unwrap();
        host.ip("addr add 192.0.2.2/24 dev eth0").unwrap();
        host.ip("addr add 192.0.2.1/24 dev eth0").unwrap();
        let difference = before.difference(&State::settled(&host).unwrap());
        assert!(!difference.is_empty());
    }

    #[test]
    fn running_lifetimes_are_limited_and_endless_ones_stay() {
        let (host, _router) = host();
        host.ip("addr add 192.0.2.1/24 dev eth0 valid_lft 500 preferred_lft 0").unwrap();
        let state = State::of(&host).unwrap();
        let address = &state.part("addresses", "eth0")[0];
        assert_eq!(address["valid_life_time"], "limited");
        assert_eq!(address["preferred_life_time"], 0);
    }

    #[test]
    fn a_difference_names_the_place() {
        let before = json!({"links": {"eth0": {"mtu": 1500}, "eth1": {}}, "routes": ["a", "b"]});
        let after = json!({"links": {"eth0": {"mtu": 9000}}, "routes": ["b", "c"]});
        assert_eq!(
            difference(&before, &after).lines(),
            [
                "- links › eth0 › mtu: 1500",
                "+ links › eth0 › mtu: 9000",
                "- links › eth1: {}",
                "- routes: \"a\"",
                "+ routes: \"c\"",
            ]
        );
    }
}
