//! One word for all guests of a network: `network-bridge start antispoof=…`, and the same of network-route and network-nat.

use std::collections::BTreeMap;

use testbed::guest::{Nic, Outcome};
use testbed::machine::Machine;

use crate::admin::Firewall;
use crate::changes::is_of_the_link;
use crate::legal::LEGAL;
use crate::stage::{Around, Host, Mode, Policy, Running, Setup, Stage};
use crate::{attacks, play, play_setup};

#[test]
fn it_counts_for_guests_that_say_nothing() {
    for mode in Mode::ALL {
        play_setup(mode, Policy::Strict, Setup { of_network: "antispoof=strict", ..Setup::of(mode) });
        play_setup(mode, Policy::Ip, Setup { of_network: "antispoof=yes", ..Setup::of(mode) });
        play_setup(mode, Policy::No, Setup { of_network: "antispoof=no", ..Setup::of(mode) });
    }
}

#[test]
fn a_guests_own_word_goes_before_it() {
    for mode in Mode::ALL {
        let own = |word| Setup { keys: word, of_network: "antispoof=strict", ..Setup::of(mode) };
        // The neighbour has none of its own, and is held to the network's.
        let not_by_the_neighbour = attacks::all().filter(|case| !case.name.contains("the neighbour"));
        let mut stage = Stage::set(mode, own(&[("antispoof", "no")]), Around::Nothing);
        let wrong = play(&mut stage, Policy::No, LEGAL.iter().chain(not_by_the_neighbour));
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
        play_setup(mode, Policy::Ip, own(&[("antispoof", "ip")]));
        play_setup(mode, Policy::Strict, Setup { keys: &[("antispoof", "strict")], of_network: "antispoof=no", ..Setup::of(mode) });
    }
}

#[test]
fn a_guest_without_addresses_is_held_to_its_mac_address_by_it() {
    let mode = Mode::Bridge;
    for of_network in ["antispoof=yes", "antispoof=strict"] {
        let mut stage = Stage::set(mode, Setup { nic: mode.nic(""), of_network, ..Setup::of(mode) }, Around::Nothing);
        let mut wrong = play(&mut stage, Policy::Strict, attacks::all().filter(|case| is_of_the_link(case)));
        wrong.extend(play(&mut stage, Policy::Strict, LEGAL.iter()));
        assert!(wrong.is_empty(), "{of_network}:\n{}", wrong.join("\n"));
    }
    // Whoever has no addresses cannot be held to them.
    play_setup(mode, Policy::No, Setup { nic: mode.nic(""), of_network: "antispoof=ip", ..Setup::of(mode) });
}

/// What our tables hold whom to, by the interface.
fn held(dom0: &Machine) -> BTreeMap<String, String> {
    let shown = dom0.shell("nft list set bridge xen-guests guests 2>/dev/null || true").unwrap();
    let parts: Vec<&str> = shown.split('"').collect();
    let noted = parts.windows(3).filter(|window| window[1] == " comment ");
    noted.map(|window| (window[0].to_owned(), window[2].split(' ').nth(1).unwrap().to_owned())).collect()
}

fn expected(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter().map(|(device, word)| ((*device).to_owned(), (*word).to_owned())).collect()
}

const START: &str = "network-bridge start netdev=eth0 bridge=xenbr0 check=no";

fn guest(host: &Host, domain: u16, ip: &str) -> Running {
    host.start_guest(domain, Nic { ip: Some(ip.to_owned()).filter(|ip| !ip.is_empty()), ..Mode::Bridge.nic("") }, &[])
}

#[test]
fn it_stays_for_guests_that_come_later_until_start_says_another_one() {
    let host = Host::told(Mode::Bridge, Around::Nothing, "antispoof=yes");
    let dom0 = host.dom0.machine();
    let first = guest(&host, 1, "192.168.2.10");
    let _second = guest(&host, 2, "");
    assert_eq!(held(dom0), expected(&[("vif1.0", "ip"), ("vif2.0", "strict")]));
    // After a flush they are held to the same.
    dom0.shell("nft flush ruleset; /etc/xen/scripts/xen-network reload").unwrap();
    assert_eq!(held(dom0), expected(&[("vif1.0", "ip"), ("vif2.0", "strict")]));
    // A look changes nothing, and neither does a word that is none.
    host.run(&format!("{START} antispoof=no --dry-run"));
    let mut wrong = dom0.command("/etc/xen/scripts/network-bridge");
    wrong.args(format!("{START} antispoof=maybe").split(' ').skip(1));
    let refused = Outcome::of(&mut wrong).unwrap();
    assert_eq!(refused.status, Some(1), "{refused}");
    assert!(refused.stderr.contains("antispoof=maybe is none of"), "{refused}");
    let _third = guest(&host, 3, "");
    assert_eq!(held(dom0)["vif3.0"], "strict");
    // Another word is for whoever comes from now on.
    host.run(&format!("{START} antispoof=strict"));
    let _fourth = guest(&host, 4, "192.168.2.40");
    assert_eq!(held(dom0), expected(&[("vif1.0", "ip"), ("vif2.0", "strict"), ("vif3.0", "strict"), ("vif4.0", "strict")]));
    first.call(testbed::guest::Hotplug::Online, &[]);
    assert_eq!(held(dom0)["vif1.0"], "strict");
    // So is none.
    host.run(START);
    let _fifth = guest(&host, 5, "");
    let _sixth = guest(&host, 6, "192.168.2.60");
    assert_eq!(held(dom0).get("vif5.0"), None);
    assert_eq!(held(dom0)["vif6.0"], "ip");
}

#[test]
fn it_counts_on_the_bridge_that_it_was_said_for() {
    let host = Host::told(Mode::Bridge, Around::Nothing, "antispoof=strict");
    let dom0 = host.dom0.machine();
    dom0.ip("link add xenbr1 type bridge").unwrap();
    dom0.ip("link set xenbr1 up").unwrap();
    let _elsewhere = host.start_guest(1, Nic { bridge: Some("xenbr1".to_owned()), ip: None, ..Mode::Bridge.nic("") }, &[]);
    assert_eq!(held(dom0), BTreeMap::new());
    let _here = guest(&host, 2, "");
    assert_eq!(held(dom0), expected(&[("vif2.0", "strict")]));
}

#[test]
fn stop_takes_it_away() {
    let host = Host::told(Mode::Bridge, Around::Nothing, "antispoof=strict");
    let dom0 = host.dom0.machine();
    let first = guest(&host, 1, "");
    assert_eq!(held(dom0), expected(&[("vif1.0", "strict")]));
    first.call(testbed::guest::Hotplug::Offline, &[]);
    host.run("network-bridge stop netdev=eth0 bridge=xenbr0");
    assert_eq!(dom0.shell("find /run /var/run -name 'antispoof*'").unwrap(), "");
    // A bridge of that name by somebody else is another one.
    dom0.ip("link add xenbr0 type bridge").unwrap();
    dom0.ip("link set xenbr0 up").unwrap();
    let _second = guest(&host, 2, "");
    assert_eq!(held(dom0), BTreeMap::new());
}

/// The scripts' `antispoof=yes` set FORWARD to DROP, and flushed what was in it.
#[test]
fn the_administrators_chains_are_as_without_it() {
    for firewall in [Firewall::IptablesNft, Firewall::IptablesLegacy, Firewall::Nftables] {
        let rules = |word| {
            let host = Host::told(Mode::Bridge, Around::Firewall(firewall), word);
            let started = firewall.rules(host.dom0.machine());
            let guests = [guest(&host, 1, "192.168.2.10"), guest(&host, 2, "")];
            let dom0 = host.dom0.machine();
            assert_eq!(held(dom0).is_empty(), word == "antispoof=no", "{firewall:?}, {word}");
            dom0.shell("nft delete table bridge xen-guests 2>/dev/null || true").unwrap();
            let with_guests = firewall.rules(dom0);
            guests.iter().for_each(|guest| guest.call(testbed::guest::Hotplug::Offline, &[]));
            host.run("network-bridge stop netdev=eth0 bridge=xenbr0");
            (started, with_guests, firewall.rules(dom0))
        };
        similar_asserts::assert_eq!(rules("antispoof=yes"), rules("antispoof=no"), "{firewall:?}");
    }
}
