//! The networks an administrator builds with Xen, from end to end: each scenario is a test that can be read as instructions.
//!
//! The hosts are those of [`world`]. Every scenario is played on a host without a packet filter, and again where the administrator's own
//! drops whatever it does not know, by iptables-nft, iptables-legacy and nft. In the end everything is stopped, and dom0 must be what it was.
#![allow(clippy::unwrap_used, clippy::expect_used)] // Helpers of tests are tests; clippy only knows the functions marked so.

#[path = "scenarios/admin.rs"]
mod admin;
#[path = "scenarios/world.rs"]
mod world;

use testbed::guest::{Hotplug, Nic, Outcome};

use admin::Firewall;
use world::{
    DOM0, DOM0_6, OUTSIDE, OUTSIDE_6, PC, PC_6, ROUTER, RunningGuest, World, assert_reaches, assert_silent, ip, serve_dhcp,
};

/// Makes four tests of a scenario, one for each packet filter the administrator may have.
macro_rules! under_every_firewall {
    ($($scenario:ident)*) => {$(
        mod $scenario {
            use super::{Firewall, World};

            #[test]
            fn without_a_firewall() {
                super::$scenario(&World::new(Firewall::None));
            }

            #[test]
            fn where_iptables_nft_drops() {
                super::$scenario(&World::new(Firewall::IptablesNft));
            }

            #[test]
            fn where_iptables_legacy_drops() {
                super::$scenario(&World::new(Firewall::IptablesLegacy));
            }

            #[test]
            fn where_nftables_drop() {
                super::$scenario(&World::new(Firewall::Nftables));
            }
        }
    )*};
}

under_every_firewall! {
    bridging
    a_private_bridge_of_the_administrators
    a_private_bridge_by_network_nat
    nat
    nat_with_ipv6
    two_way_routing
    two_way_routing_with_masquerading
    a_guest_inside_the_lans_own_network
}

/// a. `(network-script network-bridge)` `(vif-script vif-bridge)`; guest: `vif = ['']`.
///
/// Guests are hosts of the LAN: one has a static address, the other asks the LAN's DHCP server.
fn bridging(world: &World) {
    let _server = serve_dhcp(&world.router);
    world.run("network-bridge start");

    let static_one = world.start_guest(1, Nic::default());
    static_one.configure(&["192.168.1.101/24", "2001:db8:1::101/64"], &[ROUTER, "2001:db8:1::1"]);
    let other = world.start_guest(2, Nic::default());
    let leased = other.configure_by_dhcp().to_string();
    assert!(leased.starts_with("192.168.1.2"), "leased {leased}");

    for (guest, address) in [(&static_one, "192.168.1.101"), (&other, leased.as_str())] {
        assert_reaches(guest.inside(), &world.outside, OUTSIDE, address);
        assert_reaches(guest.inside(), world.dom0.machine(), DOM0, address);
        assert_reaches(&world.pc, guest.inside(), address, PC);
        assert_reaches(&world.outside, guest.inside(), address, OUTSIDE);
    }
    assert_reaches(static_one.inside(), other.inside(), &leased, "192.168.1.101");
    assert_reaches(static_one.inside(), &world.outside, OUTSIDE_6, "2001:db8:1::101");

    world.stop_guest(static_one);
    world.stop_guest(other);
    world.run("network-bridge stop");
    world.assert_as_before();
}

/// Two guests on a private bridge, br0, whose address in dom0 is 192.168.2.1; `vif = ['bridge=br0']`.
fn guests_on_br0(world: &World) -> [RunningGuest; 2] {
    [(1, "192.168.2.2/24"), (2, "192.168.2.3/24")].map(|(domain, address)| {
        let guest = world.start_guest(domain, Nic::on_bridge("br0"));
        guest.configure(&[address], &["192.168.2.1"]);
        guest
    })
}

/// They reach dom0, each other, the LAN and the outside; nobody out there sees their addresses.
fn assert_behind_br0(world: &World, [first, second]: &[RunningGuest; 2]) {
    assert_reaches(first.inside(), world.dom0.machine(), "192.168.2.1", "192.168.2.2");
    assert_reaches(world.dom0.machine(), first.inside(), "192.168.2.2", "192.168.2.1");
    assert_reaches(first.inside(), second.inside(), "192.168.2.3", "192.168.2.2");
    assert_reaches(second.inside(), &world.pc, PC, DOM0);
    assert_reaches(first.inside(), &world.outside, OUTSIDE, DOM0);
    world.assert_only_guests_are_let_through();
}

/// b. The custom network as administrators made it by hand until now: br0 and ip_forward in /etc/network/interfaces, a masquerade rule in
/// if-up.d, and, where a packet filter drops, accepts for br0. Guests: `vif-bridge` with `bridge=br0`.
fn a_private_bridge_of_the_administrators(world: &World) {
    let dom0 = world.dom0.machine();
    ip(dom0, "link add br0 type bridge stp_state 0 forward_delay 0\naddress add 192.168.2.1/24 dev br0\nlink set br0 up");
    dom0.set_sysctl("net.ipv4.ip_forward", "1").unwrap();
    let nft = "table ip by-hand { chain postrouting { type nat hook postrouting priority 100; oifname eth0 masquerade; }; }";
    dom0.run("nft", [nft]).unwrap();
    world.firewall().accept_by_hand(dom0, "br0");
    let rules = world.firewall().rules(dom0);

    let guests = guests_on_br0(world);
    assert_behind_br0(world, &guests);

    guests.into_iter().for_each(|guest| world.stop_guest(guest));
    assert_eq!(world.firewall().rules(dom0), rules);
    world.firewall().withdraw_by_hand(dom0, "br0");
    dom0.run("nft", ["delete table ip by-hand"]).unwrap();
    dom0.set_sysctl("net.ipv4.ip_forward", "0").unwrap();
    dom0.ip("link delete br0").unwrap();
    world.assert_as_before();
}

/// b. The same by one call: `network-nat bridge=br0 address=192.168.2.1/24`.
fn a_private_bridge_by_network_nat(world: &World) {
    world.run("network-nat start bridge=br0 address=192.168.2.1/24");

    let guests = guests_on_br0(world);
    assert_behind_br0(world, &guests);

    guests.into_iter().for_each(|guest| world.stop_guest(guest));
    world.run("network-nat stop bridge=br0 address=192.168.2.1/24");
    world.assert_as_before();
}

/// c. `(network-script network-nat)` `(vif-script vif-nat)`; guest: `vif = ['ip=192.168.2.1']`, 192.168.2.1/24, gateway 192.168.2.254.
///
/// The outside sees only 192.168.1.100. The LAN reaches the guest once the router has the route.
fn nat(world: &World) {
    let dom0 = world.dom0.machine();
    world.run("network-nat start");
    let gateway = &["gateway=192.168.2.254"];
    let [first, second] = [(1, "192.168.2.1"), (2, "192.168.2.2")].map(|(domain, address)| {
        let guest = world.start_guest_with(domain, Nic::routed("vif-nat", address), gateway);
        guest.configure(&[&format!("{address}/24")], &["192.168.2.254"]);
        guest
    });

    assert_reaches(first.inside(), dom0, "192.168.2.254", "192.168.2.1");
    assert_reaches(first.inside(), dom0, DOM0, "192.168.2.1");
    assert_reaches(dom0, first.inside(), "192.168.2.1", "192.168.2.254");
    assert_reaches(first.inside(), second.inside(), "192.168.2.2", "192.168.2.1");
    assert_reaches(first.inside(), &world.pc, PC, DOM0);
    assert_reaches(second.inside(), &world.outside, OUTSIDE, DOM0);
    world.assert_only_guests_are_let_through();

    assert_silent(&world.pc, "192.168.2.1");
    world.router.ip("route add 192.168.2.0/24 via 192.168.1.100").unwrap();
    assert_reaches(&world.pc, first.inside(), "192.168.2.1", PC);
    assert_reaches(&world.outside, second.inside(), "192.168.2.2", OUTSIDE);
    assert_reaches(first.inside(), &world.outside, OUTSIDE, DOM0);

    world.stop_guest(first);
    world.stop_guest(second);
    world.run("network-nat stop");
    world.assert_as_before();
}

/// c, with IPv6: `network-nat ipv6=nat`; the guest has a private address there as well, and fe80::1 as its gateway.
///
/// Nobody says `gateway=` here: dom0's end is the one that follows from the guest's address, and dom0 answers for 192.168.2.254 too.
fn nat_with_ipv6(world: &World) {
    world.run("network-nat start ipv6=nat");
    let guest = world.start_guest(1, Nic::routed("vif-nat", "192.168.2.1/24 fd00:2::1"));
    guest.configure(&["192.168.2.1/24", "fd00:2::1/128"], &["192.168.2.254", "fe80::1"]);

    assert_reaches(guest.inside(), &world.outside, OUTSIDE_6, DOM0_6);
    assert_reaches(guest.inside(), &world.pc, PC_6, DOM0_6);
    assert_reaches(guest.inside(), world.dom0.machine(), DOM0_6, "fd00:2::1");
    assert_reaches(guest.inside(), &world.outside, OUTSIDE, DOM0);
    assert_reaches(guest.inside(), world.dom0.machine(), "192.168.2.128", "192.168.2.1");
    world.assert_only_guests_are_let_through();

    world.stop_guest(guest);
    world.run("network-nat stop");
    world.assert_as_before();
}

/// d. `(network-script network-route)` `(vif-script vif-route)`; guest: `vif = ['ip=192.168.2.1']`. The router has routes to 192.168.2.0/24
/// and its IPv6 twin: everybody sees the guest's own addresses.
fn two_way_routing(world: &World) {
    let dom0 = world.dom0.machine();
    ip(&world.router, "route add 192.168.2.0/24 via 192.168.1.100\nroute add 2001:db8:2::/64 via 2001:db8:1::100");
    world.run("network-route start");
    let guest = world.start_guest(1, Nic::routed("vif-route", "192.168.2.1 2001:db8:2::1"));
    guest.configure(&["192.168.2.1/24", "2001:db8:2::1/64"], &["192.168.2.254", "fe80::1"]);
    let other = world.start_guest(2, Nic::routed("vif-route", "192.168.2.2 192.168.3.0/28"));
    other.configure(&["192.168.2.2/24", "192.168.3.5/28"], &["192.168.2.254"]);

    assert_reaches(guest.inside(), &world.outside, OUTSIDE, "192.168.2.1");
    assert_reaches(guest.inside(), &world.outside, OUTSIDE_6, "2001:db8:2::1");
    assert_reaches(&world.outside, guest.inside(), "192.168.2.1", OUTSIDE);
    assert_reaches(&world.outside, guest.inside(), "2001:db8:2::1", OUTSIDE_6);
    assert_reaches(&world.pc, guest.inside(), "192.168.2.1", PC);
    assert_reaches(guest.inside(), dom0, DOM0, "192.168.2.1");
    assert_reaches(dom0, guest.inside(), "192.168.2.1", DOM0);
    assert_reaches(dom0, guest.inside(), "2001:db8:2::1", DOM0_6);
    assert_reaches(guest.inside(), other.inside(), "192.168.2.2", "192.168.2.1");
    assert_reaches(dom0, other.inside(), "192.168.3.5", DOM0);
    world.assert_only_guests_are_let_through();

    world.stop_guest(guest);
    world.stop_guest(other);
    world.run("network-route stop");
    world.assert_as_before();
}

/// d, and then `masquerade=yes`: the router needs no route, and sees only dom0.
fn two_way_routing_with_masquerading(world: &World) {
    world.run("network-route start");
    let guest = world.start_guest(1, Nic::routed("vif-route", "192.168.2.1"));
    guest.configure(&["192.168.2.1/24"], &["192.168.2.254"]);
    // No route leads back.
    assert_silent(guest.inside(), OUTSIDE);

    world.run("network-route start masquerade=yes");
    assert_reaches(guest.inside(), &world.outside, OUTSIDE, DOM0);
    assert_reaches(guest.inside(), &world.pc, PC, DOM0);
    world.assert_only_guests_are_let_through();

    world.stop_guest(guest);
    world.run("network-route stop");
    world.assert_as_before();
}

/// e. `vif-route` with an address of the LAN itself: dom0 answers for it on the LAN, by proxy ARP and by proxy NDP. Nobody needs a route.
fn a_guest_inside_the_lans_own_network(world: &World) {
    world.run("network-route start");
    let guest = world.start_guest(1, Nic::routed("vif-route", "192.168.1.150 2001:db8:1::150"));
    guest.configure(&["192.168.1.150/24", "2001:db8:1::150/128"], &[ROUTER, "fe80::1"]);

    assert_reaches(&world.pc, guest.inside(), "192.168.1.150", PC);
    assert_reaches(&world.pc, guest.inside(), "2001:db8:1::150", PC_6);
    assert_reaches(guest.inside(), &world.pc, PC, "192.168.1.150");
    assert_reaches(guest.inside(), &world.pc, PC_6, "2001:db8:1::150");
    assert_reaches(guest.inside(), &world.outside, OUTSIDE, "192.168.1.150");
    assert_reaches(&world.outside, guest.inside(), "2001:db8:1::150", OUTSIDE_6);
    assert_reaches(world.dom0.machine(), guest.inside(), "192.168.1.150", DOM0);
    world.assert_only_guests_are_let_through();

    world.stop_guest(guest);
    world.run("network-route stop");
    world.assert_as_before();
}

/// f. 200 guests of `network-nat` and `vif-nat` with default addresses, 10.(domain / 256).(domain % 256).1, across the domain ids where the
/// second octet changes.
/// A hosting provider's bridge, `(vif-script 'vif-bridge isolated=yes')`: customers reach the LAN and not each other, not even before their first
/// address. One who shares with others asks for `isolated=no`.
#[test]
fn isolated_guests_reach_the_lan_and_not_each_other() {
    let world = World::new(Firewall::None);
    world.run("network-bridge start");
    let customer = |domain: u16, address: &str, isolated: &str| {
        let guest = world.start_guest_with(domain, Nic::default(), &[isolated]);
        guest.configure(&[address], &[ROUTER]);
        guest
    };
    let first = customer(1, "192.168.1.101/24", "isolated=yes");
    let second = customer(2, "192.168.1.102/24", "isolated=yes");
    let open = customer(3, "192.168.1.103/24", "isolated=no");

    for (guest, address) in [(&first, "192.168.1.101"), (&second, "192.168.1.102")] {
        assert_reaches(guest.inside(), &world.pc, PC, address);
        assert_reaches(guest.inside(), world.dom0.machine(), DOM0, address);
        assert_reaches(guest.inside(), open.inside(), "192.168.1.103", address);
    }
    assert_silent(first.inside(), "192.168.1.102");
    assert_silent(second.inside(), "192.168.1.101");

    // The same call again ends it while the guests run.
    let mut again = first.vif.hotplug_command(Hotplug::Online);
    again.args(["isolated=no", "online", "type_if=vif"]);
    Outcome::of(&mut again).unwrap().success().unwrap();
    assert_reaches(first.inside(), second.inside(), "192.168.1.102", "192.168.1.101");

    for guest in [first, second, open] {
        world.stop_guest(guest);
    }
    world.run("network-bridge stop");
    world.assert_as_before();
}

/// `antispoof=strict`: what comes for the guest goes to the guest, though another one, whom nothing holds, says to be him.
#[test]
fn what_is_for_a_strict_guest_is_not_taken_by_another() {
    let world = World::new(Firewall::None);
    world.run("network-bridge start");
    let strict = world.start_guest_with(1, Nic { ip: Some("192.168.1.101".to_owned()), ..Nic::default() }, &["antispoof=strict"]);
    strict.configure(&["192.168.1.101/24"], &[ROUTER]);
    let thief = world.start_guest(2, Nic::default());
    assert_reaches(strict.inside(), &world.pc, PC, "192.168.1.101");

    ip(thief.inside(), &format!("link set eth0 address {}", strict.vif.mac()));
    thief.configure(&["192.168.1.102/24"], &[]);
    // His frames arrive, and the answers go to the other.
    let arrived = || {
        let text = world.dom0.machine().shell("ip -s -j link show dev vif2.0").unwrap();
        let links: serde_json::Value = serde_json::from_str(&text).unwrap();
        links[0]["stats64"]["rx"]["packets"].as_u64().unwrap()
    };
    let before = arrived();
    assert_silent(thief.inside(), PC);
    assert!(arrived() > before, "nothing came from {}", thief.vif.name());
    for _ in 0..3 {
        assert_reaches(strict.inside(), &world.pc, PC, "192.168.1.101");
        assert_reaches(&world.pc, strict.inside(), "192.168.1.101", PC);
    }

    // The bridge forgets it all with the port. The thief must ask anew who 192.168.1.50 is.
    world.stop_guest(strict);
    ip(thief.inside(), "neighbour flush dev eth0");
    assert_reaches(thief.inside(), &world.pc, PC, "192.168.1.102");
    world.stop_guest(thief);
    world.run("network-bridge stop");
    world.assert_as_before();
}

#[test]
fn two_hundred_guests_with_default_addresses() {
    let world = World::new(Firewall::None);
    world.run("network-nat start");
    let guests: Vec<RunningGuest> = (206..306)
        .chain(462..562)
        .map(|domain| {
            let guest = world.start_guest(domain, Nic::routed("vif-nat", ""));
            let [high, low] = domain.to_be_bytes();
            let gateway = format!("10.{high}.{low}.128");
            guest.configure(&[&format!("10.{high}.{low}.1/16")], &[&gateway]);
            guest
        })
        .collect();
    for running in &guests {
        running.inside().run("ping", ["-c1", "-W5", OUTSIDE]).unwrap();
    }
    let [first, last] = [guests.first().unwrap(), guests.last().unwrap()];
    assert_reaches(first.inside(), &world.outside, OUTSIDE, DOM0);
    assert_reaches(first.inside(), last.inside(), "10.2.49.1", "10.0.206.1");
    assert_eq!(guests.len(), 200);

    for guest in guests {
        world.stop_guest(guest);
    }
    world.run("network-nat stop");
    world.assert_as_before();
}
