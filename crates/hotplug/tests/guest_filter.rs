//! The guest filter's tables in the kernel: what nft(8) shows of them, and what comes and goes with a guest.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot go on is to fail

use std::path::Path;
use std::time::Duration;

use hotplug::apply::{Effects, FailureKind};
use hotplug::guest_filter::{Damage, GuestFilter, GuestSet, Strictness, Tags, Way, ruleset};
use hotplug::host::Host;
use hotplug::interface_name::InterfaceName;
use hotplug::operation::{Operation, Unfilter};
use hotplug::plan::guest_filter::holding;
use hotplug::system::System;
use nftables::Family;
use testbed::machine::{Machine, wait_for};

fn name(text: &str) -> InterfaceName {
    text.parse().unwrap()
}

/// The ruleset once nothing in it is about to end, as the elements of a guest are that has just gone.
fn ruleset_of(machine: &Machine) -> String {
    let list = || machine.run("nft", ["--stateless", "--numeric-priority", "list", "ruleset"]);
    let is_ending = |text: &str| {
        let spans = text.split(" timeout ").skip(1);
        spans.into_iter().any(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with("ms"))
    };
    wait_for("elements to end", Duration::from_secs(2), || Ok(!is_ending(&list()?))).unwrap();
    list().unwrap()
}

/// Text with every run of white space as one space: nft breaks lines between elements by rules of its own.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Its parts in order: the kernel lists elements as they lie in its hash tables.
fn sorted_words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = one_line(text).split([',', '{', '}']).map(|part| part.trim().to_owned()).collect();
    words.sort();
    words
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

/// As online does it: by what it notices.
fn set(machine: &Machine, filter: &GuestFilter) {
    let damage = noticed(machine, filter.way, filter.device.as_str());
    perform(machine, &holding(filter.clone(), &damage)).unwrap();
}

fn delete(machine: &Machine, filter: &GuestFilter) -> Result<(), FailureKind> {
    perform(machine, &Operation::DeleteGuestFilter { filter: filter.clone(), when: Unfilter::Now })
}

/// All filters, and all that a thorough look finds wrong with their tables.
fn everything(machine: &Machine) -> Host {
    let look = || {
        let mut system = System::open();
        let mut host = Host { guest_filters: system.every_guest_filter().unwrap(), ..Host::default() };
        system.observe_guest_damage(&mut host).unwrap();
        host
    };
    machine.inside(look).unwrap()
}

/// What online notices.
fn noticed(machine: &Machine, way: Way, device: &str) -> Vec<Damage> {
    let mut host = Host::default();
    machine.inside(|| System::open().observe_guest_filters(&mut host, way, &[name(device)])).unwrap().unwrap();
    host.guest_damage
}

fn seen(machine: &Machine, way: Way, device: &str) -> Option<GuestFilter> {
    let mut host = Host::default();
    machine.inside(|| System::open().observe_guest_filters(&mut host, way, &[name(device)])).unwrap().unwrap();
    host.guest_filters.pop()
}

/// `BLESS=1` writes the files anew, to be reviewed with `git diff`.
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
    similar_asserts::assert_eq!(sorted_words(&ruleset_of(&machine)), sorted_words(&with_second));
    delete(&machine, &second).unwrap();
    assert_eq!(sorted_words(&ruleset_of(&machine)), sorted_words(&without));
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

/// What somebody does to our tables by hand, and whether a glance notices it, as online takes one.
const TAMPERING: &[(Way, &str, Glance)] = &[
    (Way::Bridged, "flush table bridge xen-guests", Glance::Notices),
    (Way::Bridged, "flush chain bridge xen-guests prerouting", Glance::Notices),
    (Way::Bridged, "flush chain bridge xen-guests refused", Glance::Notices),
    (Way::Bridged, "add table bridge xen-guests { flags dormant; }", Glance::Notices),
    (Way::Bridged, "insert rule bridge xen-guests prerouting accept", Glance::Notices),
    (Way::Bridged, "flush chain bridge xen-guests output; delete chain bridge xen-guests output", Glance::Notices),
    (Way::Bridged, "add chain bridge xen-guests input { type filter hook input priority -400; policy drop; }", Glance::Overlooks),
    (
        Way::Bridged,
        "flush chain bridge xen-guests arp-probe; add rule bridge xen-guests arp-probe accept; add rule bridge xen-guests arp-probe accept; add rule bridge xen-guests arp-probe accept; add rule bridge xen-guests arp-probe accept",
        Glance::Notices,
    ),
    (Way::Bridged, "delete element bridge xen-guests macs { \"vif1.0\" . 00:16:3e:00:00:01 }", Glance::Notices),
    (Way::Bridged, "delete element bridge xen-guests addresses4 { \"vif2.0\" . 00:16:3e:00:00:02 . 192.0.2.2 }", Glance::Overlooks),
    (Way::Bridged, "add element bridge xen-guests addresses4 { \"vif1.0\" . 00:16:3e:00:00:01 . 192.0.2.99 }", Glance::Overlooks),
    (Way::Bridged, "flush set bridge xen-guests strict", Glance::Notices),
    (Way::Routed, "delete table arp xen-guests", Glance::Notices),
    (Way::Routed, "flush chain arp xen-guests input", Glance::Notices),
    (Way::Routed, "add table arp xen-guests { flags dormant; }", Glance::Notices),
    (Way::Routed, "delete table inet xen-guests", Glance::Notices),
    (Way::Routed, "flush chain inet xen-guests known4", Glance::Notices),
    (Way::Routed, "add table inet xen-guests { flags dormant; }", Glance::Notices),
    (Way::Routed, "delete element arp xen-guests addresses4 { \"vif1.0\" . 00:16:3e:00:00:01 . 192.0.2.1 }", Glance::Notices),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Glance {
    /// At the next online of vif1.0.
    Notices,
    /// Only `xen-network reload` and `doctor`, which look at everything.
    Overlooks,
}

fn two_guests(machine: &Machine, way: Way) -> [GuestFilter; 2] {
    let filters = [guest("vif1.0", way, &["192.0.2.1", "2001:db8::/64"]), guest("vif2.0", way, &["192.0.2.2"])];
    filters.iter().for_each(|filter| set(machine, filter));
    filters
}

#[test]
fn a_look_at_what_nobody_has_changed_finds_nothing() {
    let machine = Machine::new("dom0").unwrap();
    for way in [Way::Bridged, Way::Routed] {
        two_guests(&machine, way);
        assert_eq!(everything(&machine).guest_damage, []);
        assert_eq!(noticed(&machine, way, "vif1.0"), []);
    }
}

#[test]
fn what_somebody_changed_by_hand_is_noticed_and_mended() {
    for (way, act, glance) in TAMPERING {
        let machine = Machine::new("dom0").unwrap();
        let filters = two_guests(&machine, *way);
        let before = ruleset_of(&machine);
        machine.run("nft", [act]).unwrap();
        let host = everything(&machine);
        assert!(!host.guest_damage.is_empty(), "{act}");
        assert_eq!(!noticed(&machine, *way, "vif1.0").is_empty(), *glance == Glance::Notices, "{act}");
        perform(&machine, &Operation::ReplaceGuestFilters(filters.to_vec())).unwrap();
        assert_eq!(everything(&machine).guest_damage, [], "{act}");
        similar_asserts::assert_eq!(sorted_words(&ruleset_of(&machine)), sorted_words(&before), "{act}");
    }
}

#[test]
fn online_does_not_build_on_what_somebody_changed_by_hand() {
    // Elements of others than the one who comes are not looked at.
    for (way, act, _) in
        TAMPERING.iter().filter(|(_, act, _)| !act.contains("element") && !act.contains("policy") && !act.contains(" set "))
    {
        let machine = Machine::new("dom0").unwrap();
        let [one, two] = two_guests(&machine, *way);
        machine.run("nft", [act]).unwrap();
        set(&machine, &guest("vif3.0", *way, &["192.0.2.3"]));
        let host = everything(&machine);
        assert_eq!(host.guest_damage, [], "{act}");
        assert_eq!(host.guest_filters.len(), 3, "{act}");
        set(&machine, &one);
        for filter in [one, two] {
            delete(&machine, &filter).unwrap();
        }
        assert_eq!(everything(&machine).guest_damage, [], "{act}");
    }
}

#[test]
fn online_again_mends_what_is_missing_of_its_own() {
    let machine = Machine::new("dom0").unwrap();
    let [one, _] = two_guests(&machine, Way::Bridged);
    for element in ["macs { \"vif1.0\" . 00:16:3e:00:00:01 }", "strict { \"vif1.0\" }"] {
        machine.run("nft", [format!("delete element bridge xen-guests {element}")]).unwrap();
        assert_ne!(noticed(&machine, Way::Bridged, "vif1.0"), []);
        set(&machine, &one);
        assert_eq!(everything(&machine).guest_damage, []);
    }
}

#[test]
fn offline_goes_though_a_table_or_an_element_was_deleted_by_hand() {
    // What somebody has added in a guest's name is found by doctor and reload alone.
    for (way, act, _) in TAMPERING.iter().filter(|(_, act, _)| !act.starts_with("add element")) {
        for others in [0, 1] {
            let machine = Machine::new("dom0").unwrap();
            let [one, two] = two_guests(&machine, *way);
            if others == 0 {
                delete(&machine, &two).unwrap();
            }
            // Where there is no other guest, there may be no such element either.
            if machine.run("nft", [act]).is_err() {
                assert_eq!(others, 0, "{act}");
                continue;
            }
            delete(&machine, &one).unwrap_or_else(|kind| panic!("{act}: {kind:?}"));
            // Its elements may be about to end.
            wait_for(act, Duration::from_secs(2), || Ok(!ruleset_of(&machine).contains("vif1.0"))).unwrap();
            assert_eq!(ruleset_of(&machine).contains("vif2.0"), others == 1, "{act}");
        }
    }
}

/// One that comes between the look and the change is not forgotten by it.
#[test]
fn a_guest_that_comes_during_a_reload_keeps_its_filter() {
    let machine = Machine::new("dom0").unwrap();
    let [one, two] = two_guests(&machine, Way::Bridged);
    let three = guest("vif3.0", Way::Routed, &["192.0.2.3"]);
    machine
        .inside(|| {
            let mut system = System::open();
            assert_eq!(system.every_guest_filter().unwrap().len(), 2);
            System::open().perform(&Operation::SetGuestFilter(three.clone())).unwrap();
            system.perform(&Operation::ReplaceGuestFilters(vec![one.clone(), two.clone()])).unwrap();
        })
        .unwrap();
    let mut all = everything(&machine).guest_filters;
    all.sort();
    assert_eq!(all, [one, two, three]);
}
