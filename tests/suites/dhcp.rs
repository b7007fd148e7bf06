//! Guests get their addresses by DHCP: real servers in dom0, a real client in every guest, and our programs between them.
//!
//! The servers run in the test's own namespaces only. Their init scripts are the test's: they count how often they are called.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests; clippy only knows the functions marked so.

use std::collections::BTreeMap;
use std::thread;

use testbed::guest::{Hotplug, Nic, Outcome};
use testbed::machine::{Machine, connect};

#[path = "common/dhcp_server.rs"]
mod dhcp_server;
#[path = "dhcp/office.rs"]
mod office;

use dhcp_server::{Dhcpd, Dnsmasq, Install, Lease, ask};
use office::{Office, listing};

/// What a guest of vif-nat with this number gets by default.
fn default_lease(number: u16) -> Lease {
    Lease {
        address: format!("10.{}.{}.1", number / 256, number % 256),
        prefix: "8".to_owned(),
        router: format!("10.{}.{}.128", number / 256, number % 256),
        name: format!("dom{number}"),
        domain: "example.org".to_owned(),
        name_servers: "192.168.1.1".to_owned(),
    }
}

/// A card with a fixed address.
fn fixed(mac: &str) -> Nic {
    Nic { ip: Some("10.9.9.9".to_owned()), mac: Some(mac.to_owned()), ..Nic::default() }
}

#[test]
fn dnsmasq_gives_a_guest_address_router_name_and_name_server() {
    let office = Office::new(Dnsmasq::default());
    office.nat("start");
    let guest = office.guest(4);
    guest.hotplug(&office, Hotplug::Online);
    assert_eq!(guest.lease(), Some(default_lease(4)));
    // The client has set all that up, and it works.
    guest.machine().run("ping", ["-c1", "-W5", "10.0.4.128"]).unwrap();
    guest.machine().run("ping", ["-c1", "-W5", "192.168.1.1"]).unwrap();
}

#[test]
fn dhcpd_gives_a_guest_address_router_name_and_name_server() {
    let office = Office::new(Dhcpd::default());
    office.nat("start");
    let guest = office.guest(4);
    guest.hotplug(&office, Hotplug::Online);
    assert_eq!(guest.lease(), Some(default_lease(4)));
    guest.machine().run("ping", ["-c1", "-W5", "10.0.4.128"]).unwrap();
    guest.machine().run("ping", ["-c1", "-W5", "192.168.1.1"]).unwrap();
}

#[test]
fn fifty_guests_come_and_go_without_a_restart_of_dnsmasq() {
    let office = Office::new(Dnsmasq::default());
    let before = listing(office.dom0(), "/etc");
    office.nat("start");
    let (restarts, pid) = (office.restarts(), office.pid());
    assert_eq!(restarts, 1);
    let guests: Vec<_> = (1..=50).map(|number| office.guest(number)).collect();
    // As many at once as a toolstack starts.
    thread::scope(|scope| {
        for guest in &guests {
            scope.spawn(|| guest.hotplug(&office, Hotplug::Online));
        }
    });
    let leases: BTreeMap<u16, Option<Lease>> = thread::scope(|scope| {
        let asking: Vec<_> = guests.iter().map(|guest| scope.spawn(|| (guest.number, guest.lease()))).collect();
        asking.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(leases, (1..=50).map(|number| (number, Some(default_lease(number)))).collect());
    for guest in &guests {
        guest.disappear();
        guest.hotplug(&office, Hotplug::Offline);
    }
    assert_eq!((office.restarts(), office.pid()), (restarts, pid), "dnsmasq was restarted");
    assert_eq!(office.entries(), [".xen-network"]);
    office.nat("stop");
    assert_eq!(listing(office.dom0(), "/etc"), before);
    assert_eq!(office.entries(), [""; 0]);
}

#[test]
fn an_address_of_a_guest_that_is_gone_is_given_to_the_next_one() {
    let office = Office::new(Dnsmasq::default());
    office.nat("start");
    let first = office.attach(4, fixed("00:16:3e:aa:00:01"));
    first.hotplug(&office, Hotplug::Online);
    assert_eq!(first.lease().unwrap().address, "10.9.9.9");
    // It goes without giving its lease back, as a guest that is destroyed.
    first.disappear();
    first.hotplug(&office, Hotplug::Offline);
    let second = office.attach(5, fixed("00:16:3e:aa:00:02"));
    second.hotplug(&office, Hotplug::Online);
    assert_eq!(second.lease().unwrap().address, "10.9.9.9");
    // And now not even an `offline` comes.
    second.disappear();
    let third = office.attach(6, fixed("00:16:3e:aa:00:03"));
    third.hotplug(&office, Hotplug::Online);
    let lease = third.lease().unwrap();
    assert_eq!((lease.address.as_str(), lease.name.as_str()), ("10.9.9.9", "dom6"));
    assert_eq!(office.entries(), [".xen-network", "guest-vif6.0@10.9.9.9"]);
    assert_eq!(office.restarts(), 1);
}

#[test]
fn a_guest_that_comes_again_with_another_ethernet_address_is_served() {
    for office in [Office::new(Dnsmasq::default()), Office::new(Dhcpd::default())] {
        office.nat("start");
        for mac in ["00:16:3e:aa:00:01", "00:16:3e:aa:00:02", "00:16:3e:aa:00:01"] {
            let guest = office.attach(4, fixed(mac));
            guest.hotplug(&office, Hotplug::Online);
            assert_eq!(guest.lease().unwrap().address, "10.9.9.9", "{mac}");
            guest.disappear();
        }
    }
}

#[test]
fn guests_are_served_after_dnsmasq_has_started_before_us() {
    let office = Office::new(Dnsmasq::default());
    office.nat("start");
    // As after a start of the machine: /run is empty, and dnsmasq runs with our file from before.
    office.dom0().shell("rm -r /run/xen-network*; /etc/init.d/dnsmasq restart").unwrap();
    let restarts = office.restarts();
    for number in [4, 5] {
        let guest = office.guest(number);
        guest.hotplug(&office, Hotplug::Online);
        assert_eq!(guest.lease(), Some(default_lease(number)));
    }
    assert_eq!(office.restarts(), restarts);
}

#[test]
fn guests_are_served_where_the_administrator_lists_interfaces() {
    for configuration in [
        "interface=eth1\ndhcp-range=192.168.7.10,192.168.7.99,1h\n",
        // With one device alone, dnsmasq binds its socket to it.
        "interface=eth1\nbind-dynamic\ndhcp-range=192.168.7.10,192.168.7.99,1h\n",
        "except-interface=eth0\nbind-interfaces\ndhcp-range=192.168.7.10,192.168.7.99,1h\n",
    ] {
        let office = Office::new(Dnsmasq { configuration });
        let lease = ask(&office.own_client, "eth0").unwrap();
        assert_eq!(lease.router, "192.168.7.1");
        office.nat("start");
        let guest = office.guest(4);
        guest.hotplug(&office, Hotplug::Online);
        assert_eq!(guest.lease(), Some(default_lease(4)), "{configuration}");
        assert_eq!(ask(&office.own_client, "eth0"), Some(lease));
    }
}

/// dnsmasq would not start any more, and the administrator's own clients would be left alone.
#[test]
fn a_server_bound_to_listed_interfaces_is_left_as_it_is() {
    let office = Office::new(Dnsmasq { configuration: "interface=eth1\nbind-interfaces\n" });
    let before = listing(office.dom0(), "/etc");
    let outcome = Outcome::of(&mut office.nat_command("start")).unwrap();
    assert_eq!(outcome.status, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("say bind-dynamic there instead"), "{outcome}");
    assert_eq!(listing(office.dom0(), "/etc"), before);
    assert_eq!(office.restarts(), 0);
}

/// The network of mode 3 as an administrator writes it, on a guest's second card, which has a name of its own.
#[test]
fn a_guest_gets_the_gateway_that_its_administrator_names() {
    for office in [Office::new(Dnsmasq::default()), Office::new(Dhcpd::default())] {
        office.nat("start subnet=192.168.2.0/24");
        let card = Nic { handle: 1, ip: Some("192.168.2.1".to_owned()), vifname: Some("web1".to_owned()), ..Nic::default() };
        let mut guest = office.attach(4, card);
        guest.words.extend(["gateway=192.168.2.254", "subnet=192.168.2.0/24"].map(str::to_owned));
        guest.hotplug(&office, Hotplug::Online);
        let expected = Lease {
            address: "192.168.2.1".to_owned(),
            prefix: "24".to_owned(),
            router: "192.168.2.254".to_owned(),
            name: "dom4-2".to_owned(),
            ..default_lease(4)
        };
        assert_eq!(guest.lease(), Some(expected));
        guest.machine().run("ping", ["-c1", "-W5", "192.168.1.1"]).unwrap();
        guest.hotplug(&office, Hotplug::Offline);
        let files = listing(office.dom0(), "/etc");
        assert!(!files.values().any(|text| text.contains("web1")), "{files:?}");
    }
}

#[test]
fn guests_that_come_to_dhcpd_at_once_are_all_served() {
    let office = Office::new(Dhcpd { arguments: "INTERFACESv4=\"eth1\"\n" });
    office.nat("start");
    let before = listing(office.dom0(), "/etc");
    let guests: Vec<_> = (1..=8).map(|number| office.guest(number)).collect();
    let all = |hotplug: Hotplug| {
        thread::scope(|scope| {
            for guest in &guests {
                scope.spawn(|| guest.hotplug(&office, hotplug));
            }
        });
    };
    all(Hotplug::Online);
    for guest in &guests {
        assert_eq!(guest.lease(), Some(default_lease(guest.number)));
    }
    all(Hotplug::Offline);
    assert_eq!(listing(office.dom0(), "/etc"), before);
}

#[test]
fn options_of_the_administrator_and_ours_do_not_mix() {
    let configuration = "dhcp-range=192.168.7.10,192.168.7.99,1h\ndhcp-option=option:router,192.168.7.77\n\
                         dhcp-option=option:dns-server,192.168.7.78\ndomain=lan.test\n";
    let office = Office::new(Dnsmasq { configuration });
    let before = ask(&office.own_client, "eth0").unwrap();
    assert_eq!((before.router.as_str(), before.domain.as_str()), ("192.168.7.77", "lan.test"));
    office.nat("start");
    let guest = office.guest(4);
    guest.hotplug(&office, Hotplug::Online);
    assert_eq!(guest.lease(), Some(default_lease(4)));
    assert_eq!(ask(&office.own_client, "eth0"), Some(before));
}

#[test]
fn a_private_bridge_is_served() {
    for office in [Office::new(Dnsmasq::default()), Office::new(Dhcpd::default())] {
        let before = listing(office.dom0(), "/etc");
        office.nat("start bridge=br0 address=192.168.2.1/24");
        let guest = Machine::new("guest").unwrap();
        connect(office.dom0(), "vif4.0", &guest, "eth0").unwrap();
        office.dom0().ip("link set vif4.0 master br0 up").unwrap();
        let lease = ask(&guest, "eth0").unwrap();
        assert!(lease.address.starts_with("192.168.2.") && lease.router == "192.168.2.1", "{lease:?}");
        guest.run("ping", ["-c1", "-W5", "192.168.1.1"]).unwrap();
        office.nat("stop bridge=br0");
        assert_eq!(listing(office.dom0(), "/etc"), before);
    }
}

#[test]
fn dhcpd_hears_of_every_guest_and_forgets_it() {
    let office = Office::new(Dhcpd { arguments: "INTERFACESv4=\"eth1\"\nINTERFACESv6=\"\"\n" });
    let before = listing(office.dom0(), "/etc");
    office.nat("start");
    let started = listing(office.dom0(), "/etc");
    let guests: Vec<_> = [4, 40].map(|number| office.guest(number)).into();
    for guest in &guests {
        guest.hotplug(&office, Hotplug::Online);
        assert_eq!(guest.lease(), Some(default_lease(guest.number)));
    }
    let arguments = office.dom0().read_file("/etc/default/isc-dhcp-server").unwrap();
    assert_eq!(arguments, "INTERFACESv4=\"eth1 vif4.0 vif40.0\"\nINTERFACESv6=\"\"\n");
    // One goes in order, the other one's device is gone before.
    guests[0].hotplug(&office, Hotplug::Offline);
    assert_eq!(guests[1].lease(), Some(default_lease(40)));
    guests[1].disappear();
    guests[1].hotplug(&office, Hotplug::Offline);
    assert_eq!(listing(office.dom0(), "/etc"), started);
    office.nat("stop");
    assert_eq!(listing(office.dom0(), "/etc"), before);
}

#[test]
fn gc_has_dhcpd_forget_guests_that_are_gone() {
    let office = Office::new(Dhcpd { arguments: "INTERFACESv4=\"eth1\"\nINTERFACESv6=\"\"\n" });
    office.nat("start");
    let [stays, renamed, goes, other] = [4, 5, 6, 7].map(|number| match number {
        5 => office.attach(5, Nic { vifname: Some("web0".to_owned()), ..Nic::default() }),
        number => office.guest(number),
    });
    let xen_network = |word: &str| {
        let mut command = office.dom0().command("/etc/xen/scripts/xen-network");
        Outcome::of(command.arg(word)).unwrap()
    };
    for guest in [&stays, &renamed] {
        guest.hotplug(&office, Hotplug::Online);
    }
    let expected = listing(office.dom0(), "/etc");
    for guest in [&goes, &other] {
        guest.hotplug(&office, Hotplug::Online);
    }
    assert_eq!(xen_network("gc").stdout, "nothing of ours is left over\n");
    // Nobody calls offline.
    for guest in [&goes, &other] {
        guest.disappear();
        guest.forget();
    }
    let found = xen_network("doctor").stdout;
    assert!(found.contains("dhcpd keeps 10.0.6.1 for the guest of vif6.0, which is gone [orphan-dhcp]"), "{found}");
    let restarts = office.restarts();
    let outcome = xen_network("gc");
    assert!(outcome.status == Some(0) && outcome.stderr.is_empty(), "{outcome}");
    assert_eq!(office.restarts(), restarts + 1, "one restart for all");
    assert_eq!(listing(office.dom0(), "/etc"), expected);
    assert!(!xen_network("doctor").stdout.contains("orphan"));
    assert_eq!(stays.lease(), Some(default_lease(4)));
    assert_eq!(renamed.lease(), Some(default_lease(5)));
}

#[test]
fn a_server_that_cannot_be_restarted_is_a_warning() {
    let office = Office::new(Dhcpd::default());
    office.nat("start");
    office.dom0().write_program("/etc/init.d/isc-dhcp-server", "#!/bin/sh\necho 'no such luck' >&2\nexit 1\n").unwrap();
    let guest = office.guest(4);
    let outcome = guest.call(Hotplug::Online);
    assert_eq!(outcome.status, Some(0), "{outcome}");
    assert!(outcome.stderr.contains("/etc/init.d/isc-dhcp-server restart") && outcome.stderr.contains("no such luck"), "{outcome}");
    assert_eq!(guest.status(), "connected");
}

/// xl gives vif-nat no words of its own.
fn serve_without_a_word<S: Install>(server: S) {
    let office = Office::new(server);
    office.nat("start");
    let started = listing(office.dom0(), "/etc");
    let mut guest = office.guest(4);
    guest.words.clear();
    guest.hotplug(&office, Hotplug::Online);
    assert_eq!(guest.lease(), Some(default_lease(4)));
    guest.hotplug(&office, Hotplug::Offline);
    assert_eq!(listing(office.dom0(), "/etc"), started);
    // A guest of another network is nobody's.
    let mut other = office.attach(5, Nic { ip: Some("192.168.44.2".to_owned()), ..Nic::default() });
    other.words.clear();
    office.succeed(&mut other.command(Hotplug::Online));
    assert_eq!(listing(office.dom0(), "/etc"), started);
    let entries = office.dom0().shell("ls -A /run/xen-network-dhcp 2>/dev/null || true").unwrap();
    assert!(!entries.contains("vif"), "{entries}");
}

#[test]
fn without_a_word_dnsmasq_serves_whom_network_nat_has_it_serve() {
    serve_without_a_word(Dnsmasq::default());
}

#[test]
fn without_a_word_dhcpd_serves_whom_network_nat_has_it_serve() {
    serve_without_a_word(Dhcpd::default());
}

#[test]
fn without_a_word_the_old_file_of_dhcpd_decides() {
    let office = Office::new(Dhcpd::default());
    let mut guest = office.guest(4);
    guest.words.clear();
    let mut command = guest.command(Hotplug::Online);
    office.succeed(&mut command);
    assert_eq!(office.restarts(), 0);
    office.dom0().shell("mv /etc/dhcp/dhcpd.conf /etc/dhcpd.conf").unwrap();
    office.succeed(&mut command);
    assert_eq!(office.restarts(), 1);
    let text = office.dom0().read_file("/etc/dhcpd-xen-network.conf").unwrap();
    assert!(text.contains("host dom4 { hardware ethernet 00:16:3e:00:04:00;"), "{text}");
}

#[test]
fn a_server_that_is_not_there_is_told_of_before_anything_is_done() {
    let office = Office::new(Dhcpd::default());
    let mut guest = office.guest(4);
    guest.words = vec!["dhcp=dnsmasq".to_owned()];
    let outcome = guest.call(Hotplug::Online);
    assert_eq!(outcome.status, Some(1), "{outcome}");
    assert!(outcome.stderr.contains("there is no dnsmasq as a service"), "{outcome}");
    assert_eq!(guest.status(), "error");
    assert!(office.dom0().ip("-json address show dev vif4.0").unwrap().contains("\"operstate\":\"DOWN\""));
}
