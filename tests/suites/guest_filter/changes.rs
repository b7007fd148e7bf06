//! What changes while a guest lives: its addresses, its policy, and the link-local addresses that it announces.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::sync::Barrier;
use std::thread;

use nftables::{Connection, Generation};
use testbed::bench::reload::{Farm, INTERFACES};
use testbed::frame::icmpv6::{NdOption, OVERRIDE, neighbour_advertisement, neighbour_solicitation, router_advertisement};
use testbed::frame::ipv6::{ALL_NODES, Ipv6, link_local, solicited_node};
use testbed::frame::upper::udp;
use testbed::frame::{Ethernet, Frame, Mac, Marker};
use testbed::guest::{Hotplug, Outcome};
use testbed::machine::Machine;
use testbed::originals::fetched_with_word;
use testbed::wire::Sender;

use crate::attacks::OTHER_PROTOCOLS;
use crate::case::{Case, StoppedBy};
use crate::cast::{Cast, ME, MY_SECOND4, NEIGHBOUR, OTHER, OTHER4, OUTSIDE};
use crate::legal::LEGAL;
use crate::stage::{Around, Host, Mode, Policy, Port, Setup, Stage};
use crate::{attacks, play};

/// Which of the frames arrive.
fn arrive(stage: &mut Stage, frames: &[fn(Cast, Marker) -> Frame]) -> Vec<bool> {
    let sent: Vec<(Marker, Frame)> = frames
        .iter()
        .map(|frame| {
            let n = stage.mark();
            (n, frame(stage.cast, n))
        })
        .collect();
    let frames: Vec<Frame> = sent.iter().map(|(_, frame)| frame.clone()).collect();
    let arrived = stage.fire(&frames);
    sent.iter().map(|(marker, _)| arrived.contains(marker)).collect()
}

/// From the address that a guest always has, from one that it had, and from one that it gets. The sentinels come from the first.
const MINE_MINE_AND_OTHER: &[fn(Cast, Marker) -> Frame] =
    &[|c, n| c.v4(n).frame(), |c, n| c.v4(n).from(MY_SECOND4).frame(), |c, n| c.v4(n).from(OTHER4).frame()];

#[test]
fn online_again_replaces_the_addresses() {
    for mode in Mode::ALL {
        let mut stage = Stage::new(mode, Policy::Ip, Around::Nothing);
        assert_eq!(arrive(&mut stage, MINE_MINE_AND_OTHER), [true, true, false], "{mode:?}");
        let path = format!("{}/ip", stage.me.vif.backend_path());
        stage.host.dom0.store().write(&path, "192.168.2.10 192.168.2.30").unwrap();
        stage.me.call(Hotplug::Online, &[]);
        stage.prepare_again();
        assert_eq!(arrive(&mut stage, MINE_MINE_AND_OTHER), [true, false, true], "{mode:?}");
    }
}

#[test]
fn online_again_replaces_the_policy() {
    for mode in Mode::ALL {
        let mut stage = Stage::new(mode, Policy::Strict, Around::Nothing);
        let mut wrong = Vec::new();
        for policy in [Policy::No, Policy::Ip, Policy::Strict] {
            stage.me.call(Hotplug::Online, &[policy.word()]);
            stage.prepare_again();
            // The neighbour stays under its own filter: nobody passes for it by another way, not even a guest without one.
            let cases = attacks::ADDRESSES.iter().chain(attacks::ARP).chain(attacks::DISCOVERY);
            wrong.extend(play(&mut stage, policy, cases.filter(|case| !case.name.contains("the neighbour that it goes to"))));
        }
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    }
}

/// Whether a case is one that even a guest without known addresses can be held to.
pub fn is_of_the_link(case: &Case) -> bool {
    let other_mac = case.name.contains("MAC address that")
        || case.name.contains("Ethernet address")
        || case.name.contains("MAC address inside");
    other_mac || case.stopped_by == StoppedBy::Strict
}

#[test]
fn a_guest_without_addresses_is_held_to_its_mac_address() {
    let mode = Mode::Bridge;
    for words in ["antispoof=strict", "antispoof=yes"] {
        let setup = Setup { nic: mode.nic(""), words: &[words], ..Setup::of(mode) };
        let mut stage = Stage::set(mode, setup, Around::Nothing);
        let tagged = OTHER_PROTOCOLS.iter().filter(|case| case.name.contains("VLAN") || case.name.len() < 10);
        let mut wrong = play(&mut stage, Policy::Strict, attacks::all().filter(|case| is_of_the_link(case)).chain(tagged));
        wrong.extend(play(&mut stage, Policy::Strict, LEGAL.iter()));
        assert!(wrong.is_empty(), "{words}:\n{}", wrong.join("\n"));
        // Whose address it is, nobody knows.
        assert_eq!(arrive(&mut stage, MINE_MINE_AND_OTHER), [true, true, true]);
    }
}

const PRIVATE: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x1234, 0x5678, 0x9abc, 0xdef0);

/// A guest asks whether anybody has the address already, as its kernel does before it uses one.
fn announcement(mac: Mac, address: Ipv6Addr, marker: Marker) -> Frame {
    let group = solicited_node(address);
    let segment = neighbour_solicitation(marker, address, &[]);
    Ethernet::new(mac, Mac::of_group(group)).carrying(Ipv6::new(Ipv6Addr::UNSPECIFIED, group).hops(255).carrying(segment))
}

fn in_the_name_of(address: Ipv6Addr) -> [fn(Cast, Marker) -> Frame; 3] {
    assert_eq!(address, PRIVATE);
    [
        |c, n| c.nd(udp(5353, 5353, &n.bytes())).from(PRIVATE).frame(),
        |c, n| c.nd(neighbour_advertisement(n, OVERRIDE, PRIVATE, &[NdOption::TargetLinkLayer(ME)])).from(PRIVATE).frame(),
        |c, n| c.nd(neighbour_advertisement(n, OVERRIDE, PRIVATE, &[NdOption::TargetLinkLayer(ME)])).frame(),
    ]
}

#[test]
fn a_link_local_address_is_a_guests_once_it_was_announced() {
    for mode in Mode::ALL {
        for policy in [Policy::Ip, Policy::Strict] {
            let mut stage = Stage::new(mode, policy, Around::Nothing);
            let [packet, _, word] = in_the_name_of(PRIVATE);
            assert_eq!(arrive(&mut stage, &[packet, word]), [false; 2], "{mode:?}, {policy:?}");
            let announced = stage.mark();
            let _ = stage.fire(&[announcement(ME, PRIVATE, announced)]);
            assert_eq!(arrive(&mut stage, &in_the_name_of(PRIVATE)), [true; 3], "{mode:?}, {policy:?}");
        }
    }
}

#[test]
fn a_link_local_address_that_another_guest_announced_is_taken() {
    for policy in [Policy::Ip, Policy::Strict] {
        let mut stage = Stage::new(Mode::Bridge, policy, Around::Nothing);
        let theirs = stage.mark();
        let neighbour = Sender::new(stage.neighbour.inside(), "eth0").unwrap();
        neighbour.send_in_order([&announcement(NEIGHBOUR, PRIVATE, theirs)]).unwrap();
        stage.await_at_guest(theirs);
        let mine = stage.mark();
        assert!(!stage.fire(&[announcement(ME, PRIVATE, mine)]).contains(&mine), "{policy:?}: the guest announces it, too");
        assert_eq!(arrive(&mut stage, &in_the_name_of(PRIVATE)), [false; 3], "{policy:?}");
    }
}

/// What a claim builds upon: the kernel lets a rule go on that adds an element within the element's limit, also where another packet has just
/// added it.
#[test]
fn a_rule_that_adds_an_element_goes_on_only_within_its_limit() {
    let mut stage = Stage::new(Mode::Bridge, Policy::Ip, Around::Nothing);
    let dom0 = stage.host.dom0.machine();
    let rule = "iifname \"vif1.0\" ip saddr 192.168.2.10 add @once { ether saddr limit rate 1/hour burst 1 packets } counter";
    let set = "set once { typeof ether saddr; size 16; flags dynamic; }";
    let chain = format!("chain passing {{ type filter hook prerouting priority -300; {rule}; }}");
    dom0.shell(&format!("nft -f - <<'END'\ntable bridge watch {{ {set}\n{chain}\n}}\nEND")).unwrap();
    let mine: fn(Cast, Marker) -> Frame = |c, n| c.v4(n).frame();
    assert_eq!(arrive(&mut stage, &[mine; 5]), [true; 5]);
    let counted = stage.host.dom0.machine().shell("nft list chain bridge watch passing").unwrap();
    assert!(counted.contains("counter packets 1 "), "{counted}");
}

/// Two guests ask for one address at the same moment, by two processors: one of them gets it.
#[test]
fn a_link_local_address_has_one_guest() {
    const ADDRESSES: u16 = 100;
    /// A guest may ask for so many at once.
    const AT_ONCE: u16 = 5;
    let stage = Stage::new(Mode::Bridge, Policy::Ip, Around::Nothing);
    let dom0 = stage.host.dom0.machine();
    let guests = [(ME, stage.me.inside()), (NEIGHBOUR, stage.neighbour.inside())];
    let senders = guests.map(|(mac, inside)| (mac, Sender::new(inside, "eth0").unwrap()));
    let asked = |first: u16| (first..first + AT_ONCE).map(|number| Ipv6Addr::new(0xfe80, 0, 0, 0, 1, 2, 3, number));
    for first in (0..ADDRESSES).step_by(AT_ONCE.into()) {
        dom0.shell("nft flush set bridge xen-guests announcers").unwrap();
        let start = Barrier::new(senders.len());
        thread::scope(|scope| {
            for (mac, sender) in &senders {
                let frames: Vec<Frame> = asked(first).map(|address| announcement(*mac, address, Marker(0))).collect();
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    sender.send_in_order(&frames).unwrap();
                });
            }
        });
    }
    let elements = |set: &str| {
        let text = dom0.shell(&format!("nft list set bridge xen-guests {set}")).unwrap();
        text.split("0xfe8000000000000000010002").skip(1).map(|rest| rest[..8].to_owned()).collect::<Vec<_>>()
    };
    let announced = elements("announced");
    let different: BTreeSet<&String> = announced.iter().collect();
    assert_eq!(different.len(), usize::from(ADDRESSES), "not every address was announced");
    assert_eq!(announced.len(), different.len(), "two guests have one address");
}

#[test]
fn a_guest_that_announces_without_end_shuts_nobody_out() {
    const ANNOUNCEMENTS: u16 = 20_000;
    let mut stage = Stage::new(Mode::Bridge, Policy::Ip, Around::Nothing);
    let address = |number: u16| Ipv6Addr::new(0xfe80, 0, 0, 0, 1, 2, 3, number);
    for first in (0..ANNOUNCEMENTS).step_by(1000) {
        let frames: Vec<Frame> = (first..first + 1000).map(|number| announcement(ME, address(number), Marker(0))).collect();
        stage.fire(&frames);
    }
    let (announced, used) = (stage.mark(), stage.mark());
    let neighbour = Sender::new(stage.neighbour.inside(), "eth0").unwrap();
    let group = ALL_NODES;
    let packet = Ipv6::new(PRIVATE, group).carrying(udp(5353, 5353, &used.bytes()));
    let packet = Ethernet::new(NEIGHBOUR, Mac::of_group(group)).carrying(packet);
    neighbour.send_in_order([&announcement(NEIGHBOUR, PRIVATE, announced), &packet]).unwrap();
    stage.await_at_guest(announced);
    stage.await_at_guest(used);
}

/// A router speaks from an address of its own, as the one that [`in_the_name_of`] means.
fn router_speaks(mac: Mac) -> Frame {
    let packet = Ipv6::new(PRIVATE, ALL_NODES).hops(255).carrying(router_advertisement(&[NdOption::SourceLinkLayer(mac)]));
    Ethernet::new(mac, Mac::of_group(ALL_NODES)).carrying(packet)
}

#[test]
fn the_link_local_address_of_a_router_is_nobody_elses() {
    let mut stage = Stage::new(Mode::Bridge, Policy::Ip, Around::Nothing);
    let outside = Sender::new(&stage.host.outside, "eth0").unwrap();
    outside.send_in_order([&router_speaks(OUTSIDE)]).unwrap();
    let (heard, announced) = (stage.mark(), stage.mark());
    outside.send_in_order([&announcement(OUTSIDE, Ipv6Addr::LOCALHOST, heard)]).unwrap();
    stage.await_at_guest(heard);
    assert!(!stage.fire(&[announcement(ME, PRIVATE, announced)]).contains(&announced), "the guest announces the router's address");
    assert_eq!(arrive(&mut stage, &in_the_name_of(PRIVATE)), [false; 3]);
}

/// As an administrator does who tries another script.
#[test]
fn a_guest_that_comes_in_another_way_leaves_no_filter_of_the_first() {
    let host = Host::new(Mode::Bridge, Around::Nothing);
    let _me = host.start_guest(1, Mode::Bridge.nic("192.168.2.10"), &[]);
    let dom0 = host.dom0.machine();
    let tables = || dom0.shell("nft list tables").unwrap();
    assert_eq!(tables(), "table bridge xen-guests\n");
    for (program, expected) in
        [("vif-route", "table inet xen-guests\ntable arp xen-guests\n"), ("vif-bridge", "table bridge xen-guests\n")]
    {
        let words = "online type_if=vif gateway=192.168.2.1";
        dom0.shell(&format!("vif=vif1.0 XENBUS_PATH=backend/vif/1/0 /etc/xen/scripts/{program} {words}")).unwrap();
        assert_eq!(tables(), expected, "{program}");
    }
}

/// How many changes nf_tables has seen.
fn generation(machine: &Machine) -> Generation {
    machine.inside(|| Connection::open().unwrap().generation().unwrap()).unwrap()
}

/// `scripts/bench reload` measures how long it takes.
#[test]
fn a_reload_gives_many_guests_their_filter_back_in_one_step() {
    let farm = Farm::new().unwrap();
    let machine = farm.machine();
    let rules = || machine.shell("nft --stateless list ruleset | tr -s ',{} \\t' '\\n' | sort").unwrap();
    let before = rules();
    machine.run("nft", ["flush", "ruleset"]).unwrap();
    assert_eq!(farm.filtered().unwrap(), 0);
    let flushed = generation(machine);
    Outcome::of(&mut farm.reload()).unwrap().success().unwrap();
    assert_eq!(generation(machine).steps_since(flushed), 1);
    assert_eq!(farm.filtered().unwrap(), usize::from(INTERFACES));
    assert!(rules() == before, "the rules are not those from before");
    // And nothing where all is well.
    let whole = generation(machine);
    Outcome::of(&mut farm.reload()).unwrap().success().unwrap();
    assert_eq!(generation(machine).steps_since(whole), 0);
}

/// What a guest's kernel says of its addresses when it goes on after a migration.
const AFTER_A_MIGRATION: fn(Cast, Marker) -> Frame =
    |c, n| c.nd(neighbour_advertisement(n, OVERRIDE, PRIVATE, &[NdOption::TargetLinkLayer(ME)])).from(PRIVATE).frame();

/// The same, wrong in one place each.
const AFTER_NO_MIGRATION: &[fn(Cast, Marker) -> Frame] = &[
    |c, n| {
        c.nd(neighbour_advertisement(n, OVERRIDE, PRIVATE, &[NdOption::TargetLinkLayer(ME)])).from(link_local(NEIGHBOUR)).frame()
    },
    |c, n| {
        c.nd(neighbour_advertisement(n, OVERRIDE, link_local(NEIGHBOUR), &[NdOption::TargetLinkLayer(ME)])).from(PRIVATE).frame()
    },
    |c, n| c.nd(neighbour_advertisement(n, OVERRIDE, PRIVATE, &[NdOption::TargetLinkLayer(NEIGHBOUR)])).from(PRIVATE).frame(),
    |c, n| {
        c.nd(neighbour_advertisement(n, OVERRIDE, PRIVATE, &[NdOption::TargetLinkLayer(ME)]))
            .from(PRIVATE)
            .source_mac(OTHER)
            .frame()
    },
    |c, n| c.nd(udp(5353, 5353, &n.bytes())).from(PRIVATE).frame(),
];

#[test]
fn a_guest_that_comes_from_another_host_tells_its_link_local_address_again() {
    for mode in Mode::ALL {
        for policy in [Policy::Ip, Policy::Strict] {
            let mut stage = Stage::new(mode, policy, Around::Nothing);
            let last = AFTER_NO_MIGRATION.len() - 1;
            // The first of them asks for the address, though it says so in another's name: what matters is that it does not arrive.
            assert_eq!(arrive(&mut stage, &AFTER_NO_MIGRATION[1..]), [false; 4], "{mode:?}, {policy:?}");
            assert_eq!(arrive(&mut stage, &[AFTER_A_MIGRATION, AFTER_NO_MIGRATION[last]]), [true; 2], "{mode:?}, {policy:?}");
            assert_eq!(arrive(&mut stage, &AFTER_NO_MIGRATION[..2]), [false; 2], "{mode:?}, {policy:?}");
        }
    }
}

/// An emulated card comes first, and the guest's own driver asks for the same address by the vif.
#[test]
fn both_interfaces_of_a_guest_have_one_link_local_address() {
    let mode = Mode::Bridge;
    let mut stage = Stage::set(mode, Setup { port: Port::Tap, words: &["antispoof=ip"], ..Setup::of(mode) }, Around::Nothing);
    let by_tap = stage.mark();
    assert!(stage.fire(&[announcement(ME, PRIVATE, by_tap)]).contains(&by_tap));
    let vif = Sender::new(stage.me.inside(), "eth0").unwrap();
    let by_vif = stage.mark();
    vif.send_in_order([&announcement(ME, PRIVATE, by_vif)]).unwrap();
    stage.await_at_neighbour(by_vif);
    // The emulated card is gone, and the address is still the guest's.
    stage.me.call(Hotplug::Remove, &[]);
    let theirs = stage.mark();
    let neighbour = Sender::new(stage.neighbour.inside(), "eth0").unwrap();
    neighbour.send_in_order([&announcement(NEIGHBOUR, PRIVATE, theirs)]).unwrap();
    let still = stage.mark();
    let packet = Ipv6::new(PRIVATE, ALL_NODES).carrying(udp(5353, 5353, &still.bytes()));
    vif.send_in_order([&Ethernet::new(ME, Mac::of_group(ALL_NODES)).carrying(packet)]).unwrap();
    stage.await_at_neighbour(still);
    let listed = stage.host.dom0.machine().shell("nft list set bridge xen-guests announced").unwrap();
    assert!(listed.contains("vif1.0") && !listed.contains("vif2.0"), "{listed}");
}

#[test]
fn what_guests_announced_outlives_a_reload_of_tables_that_were_changed() {
    let mode = Mode::Bridge;
    let mut stage = Stage::set(mode, Setup::of(mode), Around::Nothing);
    let announced = stage.mark();
    assert!(stage.fire(&[announcement(ME, PRIVATE, announced)]).contains(&announced));
    let dom0 = stage.host.dom0.machine();
    dom0.shell("nft flush chain bridge xen-guests membership; /etc/xen/scripts/xen-network reload").unwrap();
    assert!(!dom0.shell("nft list chain bridge xen-guests membership").unwrap().contains("membership { }"));
    assert_eq!(arrive(&mut stage, &in_the_name_of(PRIVATE)), [true; 3]);
    // No more of them than before, and nobody else's.
    let limits = stage.host.dom0.machine().shell("nft list set bridge xen-guests announcers").unwrap();
    assert!(limits.contains("limit rate 10/hour"), "{limits}");
    let neighbour = Sender::new(stage.neighbour.inside(), "eth0").unwrap();
    let theirs = stage.mark();
    let heard = stage.mark();
    let packet = Ethernet::new(NEIGHBOUR, Mac::of_group(ALL_NODES))
        .carrying(Ipv6::new(link_local(NEIGHBOUR), ALL_NODES).carrying(udp(5353, 5353, &heard.bytes())));
    neighbour.send_in_order([&announcement(NEIGHBOUR, PRIVATE, theirs), &packet]).unwrap();
    stage.await_at_guest(heard);
    assert!(!stage.is_known_to_guest(theirs), "the neighbour announces the guest's address");
}

/// An administrator saves the ruleset as a whole, ours with it, and loads it again.
#[test]
fn nft_can_load_what_it_lists_of_us() {
    let trixie = fetched_with_word("tests/fetch-debian-root", "trixie").unwrap();
    for nft in ["nft".to_owned(), format!("chroot {} nft", trixie.display())] {
        for mode in Mode::ALL {
            let mut stage = Stage::new(mode, Policy::Strict, Around::Nothing);
            let announced = stage.mark();
            let _ = stage.fire(&[announcement(ME, PRIVATE, announced)]);
            let dom0 = stage.host.dom0.machine();
            // The order of elements is that of hash tables.
            let shown =
                "sed 's/ expires [0-9a-z]*//; s/counter packets [0-9]* bytes [0-9]*/counter/' | tr -s ',{}\\t' '\\n' | sort";
            let listed = || dom0.shell(&format!("{nft} list ruleset | {shown}")).unwrap();
            let before = listed();
            dom0.shell(&format!("{nft} list ruleset >/run/saved; nft flush ruleset; {nft} -f - </run/saved")).unwrap();
            similar_asserts::assert_eq!(listed(), before, "{nft}, {mode:?}");
            let wrong = play(&mut stage, Policy::Strict, LEGAL.iter().chain(attacks::all()));
            assert!(wrong.is_empty(), "{nft}:\n{}", wrong.join("\n"));
            stage.me.call(Hotplug::Offline, &[]);
            stage.neighbour.call(Hotplug::Offline, &[]);
        }
    }
}
