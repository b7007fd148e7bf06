//! The guest filter's tables in the kernel: what nft(8) shows of them, and what comes and goes with a guest.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot go on is to fail

use std::path::Path;

use hotplug::apply::{Effects, FailureKind};
use hotplug::guest_filter::{GuestFilter, GuestSet, Strictness, Tags, Way, ruleset};
use hotplug::host::Host;
use hotplug::interface_name::InterfaceName;
use hotplug::operation::{Operation, Unfilter};
use hotplug::system::System;
use nftables::Family;
use testbed::machine::Machine;

fn name(text: &str) -> InterfaceName {
    text.parse().unwrap()
}

fn ruleset_of(machine: &Machine) -> String {
    machine.run("nft", ["--stateless", "--numeric-priority", "list", "ruleset"]).unwrap()
}

/// Text with every run of white space as one space: nft breaks lines between elements by rules of its own.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn guest(device: &str, way: Way, addresses: &[&str]) -> GuestFilter {
    let number: u8 = device.trim_start_matches("vif").split('.').next().unwrap().parse().unwrap_or(200);
    GuestFilter {
        device: name(device),
        renamed_from: None,
        way,
        mac: hotplug::mac_address::MacAddress::new([0, 0x16, 0x3e, 0, 0, number]),
        strictness: Strictness::Strict,
        tags: Tags::Refused,
        addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
    }
}

fn perform(machine: &Machine, operation: &Operation) -> Result<(), FailureKind> {
    let performed = machine.inside(|| System::open().perform(operation)).unwrap();
    performed.map_err(|failure| {
        eprintln!("{failure}");
        failure.kind
    })
}

fn set(machine: &Machine, filter: &GuestFilter) {
    perform(machine, &Operation::SetGuestFilter(filter.clone())).unwrap();
}

fn delete(machine: &Machine, filter: &GuestFilter) -> Result<(), FailureKind> {
    perform(machine, &Operation::DeleteGuestFilter { filter: filter.clone(), when: Unfilter::Now })
}

fn seen(machine: &Machine, way: Way, device: &str) -> Option<GuestFilter> {
    let mut host = Host::default();
    machine.inside(|| System::open().observe_guest_filters(&mut host, way, &[name(device)])).unwrap().unwrap();
    host.guest_filters.pop()
}

/// `BLESS=1` writes the files anew, to be reviewed with `git diff`. nft leaves out `ether type` where what follows implies the protocol, though
/// it says more: that there is no VLAN tag.
#[test]
fn the_tables_are_as_reviewed() {
    let machine = Machine::new("dom0").unwrap();
    for family in [Family::Bridge, Family::Inet, Family::Arp] {
        let table = ruleset::table(family).unwrap();
        machine
            .inside(|| {
                let mut batch = nftables::Batch::new();
                batch.create_table(table.clone());
                nftables::Connection::open().unwrap().send(&batch).unwrap();
            })
            .unwrap();
        let word = family.to_string();
        let shown = machine.run("nft", ["--stateless", "--numeric-priority", "list", "table", &word, ruleset::TABLE]).unwrap();
        let reviewed = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../tests/cases/guest-filter/{word}.nft"));
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&reviewed, &shown).unwrap();
        }
        similar_asserts::assert_eq!(std::fs::read_to_string(&reviewed).unwrap_or_default(), shown, "{family}");
    }
}

#[test]
fn a_filter_is_seen_as_it_was_set_and_goes_with_its_tables() {
    let machine = Machine::new("dom0").unwrap();
    let before = ruleset_of(&machine);
    for way in [Way::Bridged, Way::Routed] {
        let one = guest("vif1.0", way, &["192.0.2.1", "10.1.0.0/23", "2001:db8::1", "2001:db8:1::/64"]);
        let many: Vec<String> = (1..60).map(|last| format!("192.0.2.{last}")).collect();
        let two = guest("vif2.0", way, &many.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(seen(&machine, way, "vif1.0"), None);
        set(&machine, &one);
        let with_one = ruleset_of(&machine);
        set(&machine, &one);
        assert_eq!(ruleset_of(&machine), with_one);
        set(&machine, &two);
        assert_eq!(seen(&machine, way, "vif1.0"), Some(one.clone()));
        assert!(seen(&machine, way, "vif2.0").unwrap().same_rules(&two));
        assert_eq!(delete(&machine, &two), Ok(()));
        assert_eq!(ruleset_of(&machine), with_one);
        assert_eq!(delete(&machine, &two), Err(FailureKind::Absent));
        assert_eq!(delete(&machine, &one), Ok(()));
        assert_eq!(ruleset_of(&machine), before);
    }
}

#[test]
fn a_changed_filter_leaves_nothing_of_the_old_one() {
    let machine = Machine::new("dom0").unwrap();
    let other = guest("vif9.0", Way::Bridged, &["192.0.2.9"]);
    set(&machine, &other);
    let without = ruleset_of(&machine);
    let first = guest("vif1.0", Way::Bridged, &["192.0.2.1", "10.1.0.0/23", "2001:db8::1"]);
    let second = GuestFilter {
        strictness: Strictness::Addresses,
        tags: Tags::Allowed,
        mac: "00:16:3e:ff:ff:ff".parse().unwrap(),
        ..guest("vif1.0", Way::Bridged, &["192.0.2.1", "192.0.2.2"])
    };
    set(&machine, &second);
    let with_second = ruleset_of(&machine);
    set(&machine, &first);
    set(&machine, &second);
    let sorted = |text: &str| {
        let mut words: Vec<String> = one_line(text).split([',', '{', '}']).map(|part| part.trim().to_owned()).collect();
        words.sort();
        words
    };
    similar_asserts::assert_eq!(sorted(&ruleset_of(&machine)), sorted(&with_second));
    delete(&machine, &second).unwrap();
    assert_eq!(sorted(&ruleset_of(&machine)), sorted(&without));
}

#[test]
fn many_at_once_find_one_table() {
    let machine = Machine::new("dom0").unwrap();
    let filters: Vec<GuestFilter> = (1..=20).map(|number| guest(&format!("vif{number}.0"), Way::Bridged, &["192.0.2.1"])).collect();
    for _ in 0..3 {
        std::thread::scope(|scope| {
            for filter in &filters {
                scope.spawn(|| set(&machine, filter));
            }
        });
        let text = ruleset_of(&machine);
        assert_eq!(text.matches("hook prerouting").count(), 1, "{text}");
        assert_eq!(text.matches("goto other\n").count(), 1, "{text}");
        assert!(filters.iter().all(|filter| seen(&machine, Way::Bridged, filter.device.as_str()).as_ref() == Some(filter)));
        std::thread::scope(|scope| {
            for filter in &filters {
                scope.spawn(|| delete(&machine, filter).unwrap());
            }
        });
        let left = ruleset_of(&machine);
        assert!(!left.contains("elements"), "{left}");
    }
}

#[test]
fn a_guest_comes_while_the_last_one_takes_the_tables_along() {
    let machine = Machine::new("dom0").unwrap();
    for way in [Way::Bridged, Way::Routed] {
        std::thread::scope(|scope| {
            for device in ["vif1.0", "vif2.0"] {
                let (machine, filter) = (&machine, guest(device, way, &["192.0.2.1"]));
                scope.spawn(move || {
                    for _ in 0..40 {
                        set(machine, &filter);
                        assert_eq!(seen(machine, way, device).as_ref(), Some(&filter));
                        delete(machine, &filter).unwrap();
                    }
                });
            }
        });
    }
}

/// nft takes no keyword of its language for the name of a set.
#[test]
fn nft_can_name_every_set() {
    let machine = Machine::new("dom0").unwrap();
    for way in [Way::Bridged, Way::Routed] {
        set(&machine, &guest("vif1.0", way, &["192.0.2.1"]));
        for family in way.families() {
            for of_family in GuestSet::ALL.into_iter().filter(|of_all| of_all.is_in(*family)) {
                machine.run("nft", ["list", "set", &family.to_string(), ruleset::TABLE, of_family.word()]).unwrap();
            }
        }
    }
}
