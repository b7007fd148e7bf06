//! A long life of many guests, in random order and with accidents: in the end our tables hold what the guests need that live, and nothing
//! more. What they need is told by a second host, where the same guests came one after the other and nothing ever went wrong.
//!
//! `GUEST_FILTER_ROUNDS=1000` plays more rounds, `GUEST_FILTER_SEED=…` the same ones again.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use testbed::guest::{Guest, Hotplug, Nic, Outcome, Vif};
use testbed::machine::Machine;

use crate::stage::{Around, Host, Mode};

/// Five guests with four cards each.
const GUESTS: u16 = 5;
const CARDS: u16 = 4;

/// The rounds of an ordinary run.
const ROUNDS: u32 = 60;

/// After so many rounds everything is compared.
const QUIET: u32 = 15;

/// Numbers without a pattern, the same for the same seed (Marsaglia's xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }

    fn one<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// A card as its guest's configuration has it at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Card {
    guest: u16,
    handle: u16,
    mode: Mode,
    ip: Option<String>,
    vifname: Option<String>,
    antispoof: Option<&'static str>,
}

impl Card {
    fn roll(dice: &mut Dice, guest: u16, handle: u16) -> Self {
        // The last card of each guest has a link of its own.
        let mode = if handle == CARDS - 1 { Mode::Route } else { Mode::Bridge };
        let mut card = Self { guest, handle, mode, ip: None, vifname: None, antispoof: None };
        card.roll_addresses(dice);
        card.antispoof = dice.one(&[None, None, Some("ip"), Some("strict"), Some("yes"), Some("no")]);
        card.roll_name(dice);
        card
    }

    fn roll_addresses(&mut self, dice: &mut Dice) {
        let n = 10 * self.guest + self.handle;
        let lists = [
            format!("10.1.{n}.1"),
            format!("10.1.{n}.1 10.1.{n}.2 2001:db8:{n}::1"),
            format!("10.2.{n}.0/24 2001:db8:{n}::/64 2001:db8:a{n}:ff00::/56"),
            format!("10.3.{n}.16/28 10.1.{n}.7"),
            format!("2001:db8:b{n}::5"),
        ];
        let list = lists[dice.below(lists.len())].clone();
        // A guest with a link of its own has an address; of the others some have none.
        self.ip = (self.mode == Mode::Route || dice.below(5) > 0).then_some(list);
    }

    fn roll_name(&mut self, dice: &mut Dice) {
        let name = format!("g{}n{}", self.guest, self.handle);
        self.vifname = dice.one(&[None, Some("a"), Some("b")]).map(|end| name + end);
    }

    fn nic(&self) -> Nic {
        Nic { handle: self.handle, vifname: self.vifname.clone(), ip: self.ip.clone(), ..self.mode.nic("") }
    }

    fn words(&self) -> Vec<String> {
        let gateway = (self.mode == Mode::Route).then(|| "gateway=192.168.2.1".to_owned());
        // Without addresses, nobody can be held to them.
        let antispoof = self.antispoof.filter(|word| *word != "ip" || self.ip.is_some());
        gateway.into_iter().chain(antispoof.map(|word| format!("antispoof={word}"))).collect()
    }
}

/// A host and the guests that its cards belong to.
struct Farm {
    host: Host,
    guests: Vec<Guest>,
}

impl Farm {
    fn new() -> Self {
        let host = Host::new(Mode::Bridge, Around::Nothing);
        let guests = (1..=GUESTS).map(|domain| Guest::new(domain).unwrap());
        let guests: Vec<Guest> = guests.collect();
        for guest in &guests {
            // Nothing is learnt from guests here.
            guest.machine().set_sysctl("net.ipv6.conf.default.disable_ipv6", "1").unwrap();
        }
        Self { host, guests }
    }

    fn attach(&self, card: &Card) -> Vif {
        self.guests[usize::from(card.guest - 1)].attach(&self.host.dom0, card.nic()).unwrap()
    }
}

/// Calls the program to its end.
#[track_caller]
fn call(vif: &Vif, card: &Card, hotplug: Hotplug) {
    let mut command = vif.hotplug_command(hotplug);
    let outcome = Outcome::of(command.args(card.words()).args(hotplug.words())).unwrap();
    assert_eq!(outcome.status, Some(0), "{hotplug:?} of {card:?}: {outcome}");
}

/// Calls the program, and kills it at some moment: a run takes about a millisecond, and nsenter as long.
fn call_and_kill(vif: &Vif, card: &Card, hotplug: Hotplug, dice: &mut Dice) {
    let mut command = vif.hotplug_command(hotplug);
    let mut child = command.args(card.words()).args(hotplug.words()).stderr(std::process::Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_micros(dice.below(4000) as u64));
    // Both fail only for a process that ended.
    let _ = child.kill();
    let _ = child.wait();
}

/// A card that is there.
struct Live {
    card: Card,
    vif: Vif,
}

/// One round of a card's life.
fn round(farm: &Farm, dice: &mut Dice, place: &mut Option<Live>, guest: u16, handle: u16) -> String {
    let Some(mut live) = place.take() else {
        let card = Card::roll(dice, guest, handle);
        let vif = farm.attach(&card);
        let killed = dice.below(4) == 0;
        if killed {
            call_and_kill(&vif, &card, Hotplug::Online, dice);
        }
        // The toolstack gives up a guest whose program was killed, or somebody calls it again.
        if killed && dice.below(2) == 0 {
            return format!("came, was killed: {}", go(dice, Live { card, vif }));
        }
        call(&vif, &card, Hotplug::Online);
        let told = format!("{card:?} came, killed before: {killed}");
        *place = Some(Live { card, vif });
        return told;
    };
    let act = dice.below(7);
    match act {
        0 | 1 => return go(dice, live),
        2 => live.card.roll_addresses(dice),
        // Nobody but its name tells which vif a renamed device was: it keeps the name.
        3 if live.card.vifname.is_none() => live.card.roll_name(dice),
        4 => live.card.antispoof = dice.one(&[None, Some("ip"), Some("strict"), Some("yes"), Some("no")]),
        5 => call_and_kill(&live.vif, &live.card, Hotplug::Online, dice),
        _ => {}
    }
    write(farm, &live, "ip", live.card.ip.as_deref());
    write(farm, &live, "vifname", live.card.vifname.as_deref());
    call(&live.vif, &live.card, Hotplug::Online);
    let told = format!("{:?} online again, act {act}", live.card);
    *place = Some(live);
    told
}

/// What has gone already when the program is called for a card that goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gone {
    Nothing,
    Device,
    DeviceAndStore,
    /// And the program was killed once before.
    DeviceAndProgram,
}

/// The card goes, in one order or another.
fn go(dice: &mut Dice, live: Live) -> String {
    let Live { card, vif } = live;
    let gone = dice.one(&[Gone::Nothing, Gone::Device, Gone::DeviceAndStore, Gone::DeviceAndProgram]);
    if gone != Gone::Nothing {
        vif.disappear().unwrap();
    }
    if gone == Gone::DeviceAndStore {
        vif.remove_store().unwrap();
    }
    if gone == Gone::DeviceAndProgram {
        call_and_kill(&vif, &card, Hotplug::Offline, dice);
    }
    call(&vif, &card, Hotplug::Offline);
    if gone == Gone::Nothing {
        vif.disappear().unwrap();
    }
    if gone != Gone::DeviceAndStore {
        vif.remove_store().unwrap();
    }
    format!("{card:?} went; gone before: {gone:?}")
}

fn write(farm: &Farm, live: &Live, key: &str, value: Option<&str>) {
    let path = format!("{}/{key}", live.vif.backend_path());
    match value {
        Some(value) => farm.host.dom0.store().write(&path, value).unwrap(),
        None => farm.host.dom0.store().remove(&path).unwrap(),
    }
}

/// The elements of all sets and maps of our tables, and all rules that are not the same on every host with guests.
fn elements(dom0: &Machine) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    let ruleset = testbed::state::ruleset(dom0).unwrap();
    for entry in ruleset["nftables"].as_array().unwrap() {
        let set = if entry["set"].is_null() { &entry["map"] } else { &entry["set"] };
        if set["table"] != "xen-guests" {
            continue;
        }
        let mut elements: Vec<String> = set["elem"].as_array().into_iter().flatten().map(without_counters).collect();
        elements.sort();
        if !elements.is_empty() {
            found.insert(format!("{} {}", set["family"].as_str().unwrap(), set["name"].as_str().unwrap()), elements);
        }
    }
    found
}

/// An element as text, without what was counted and what time has passed.
fn without_counters(element: &Value) -> String {
    let mut element = element.clone();
    let inner = match element.get_mut("elem") {
        Some(inner) => inner,
        None => return element.to_string(),
    };
    if let Some(inner) = inner.as_object_mut() {
        ["counter", "expires", "handle"].iter().for_each(|key| drop(inner.remove(*key)));
    }
    element.to_string()
}

/// What the live guests need: the elements of a host where they came without an accident.
fn needed(places: &BTreeMap<(u16, u16), Option<Live>>) -> BTreeMap<String, Vec<String>> {
    let farm = Farm::new();
    for live in places.values().flatten() {
        let vif = farm.attach(&live.card);
        call(&vif, &live.card, Hotplug::Online);
    }
    elements(farm.host.dom0.machine())
}

fn number(variable: &str) -> Option<u64> {
    Some(std::env::var(variable).ok()?.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

#[test]
fn after_many_rounds_the_tables_hold_what_the_live_guests_need() {
    let rounds = number("GUEST_FILTER_ROUNDS").map_or(ROUNDS, |rounds| u32::try_from(rounds).unwrap());
    let now = || u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap();
    let seed = number("GUEST_FILTER_SEED").unwrap_or_else(now).max(1);
    println!("GUEST_FILTER_SEED={seed} GUEST_FILTER_ROUNDS={rounds}");
    let mut dice = Dice(seed);
    let farm = Farm::new();
    let mut places: BTreeMap<(u16, u16), Option<Live>> = BTreeMap::new();
    let mut told = Vec::new();
    let mut compared = 0;
    for number in 1..=rounds {
        let (guest, handle) = (1 + dice.below(GUESTS.into()) as u16, dice.below(CARDS.into()) as u16);
        told.push(round(&farm, &mut dice, places.entry((guest, handle)).or_default(), guest, handle));
        if number % QUIET == 0 || number == rounds {
            let (found, needed) = (elements(farm.host.dom0.machine()), needed(&places));
            assert!(found == needed, "seed {seed}, round {number}:\n{}\n{}", told.join("\n"), difference(&found, &needed));
            compared += needed.values().map(Vec::len).sum::<usize>();
        }
    }
    assert!(compared > 0, "no guest ever needed an element");
    for live in places.into_values().flatten() {
        go(&mut dice, live);
    }
    assert_eq!(elements(farm.host.dom0.machine()), BTreeMap::new(), "seed {seed}: nobody is left");
    println!("{rounds} rounds, {compared} elements compared");
}

fn difference(found: &BTreeMap<String, Vec<String>>, needed: &BTreeMap<String, Vec<String>>) -> String {
    let lines = |sets: &BTreeMap<String, Vec<String>>| -> Vec<String> {
        sets.iter().flat_map(|(set, elements)| elements.iter().map(move |element| format!("{set}: {element}"))).collect()
    };
    let (found, needed) = (lines(found), lines(needed));
    let more = found.iter().filter(|line| !needed.contains(line)).map(|line| format!("too much: {line}"));
    let less = needed.iter().filter(|line| !found.contains(line)).map(|line| format!("missing: {line}"));
    more.chain(less).collect::<Vec<_>>().join("\n")
}
