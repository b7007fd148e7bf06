//! Real kernels and a real DHCP client behind the filter: what they say by themselves is legal, all of it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use testbed::frame::upper::ICMPV6;
use testbed::guest::{Guest, Hotplug, Vif};
use testbed::machine::{Machine, Running as Process, wait_for};
use testbed::originals::fetched;
use testbed::talk;
use testbed::wire::Catcher;

use crate::cast::{DOM0, MY_LIST, NEIGHBOURS_LIST, OUTSIDE4, OUTSIDE6};
use crate::stage::{Around, Host, Mode, Policy, call};

/// What fetches a real DHCP server and a real client.
const SERVERS: &str = "tests/fetch-dhcp";

/// A guest whose kernel does all that kernels do: duplicate address detection, MLD, a link-local address that says nothing of its MAC.
struct Talker {
    guest: Guest,
    vif: Vif,
}

impl Talker {
    fn start(host: &Host, domain: u16, list: &str, policy: Policy) -> Self {
        let guest = Guest::new(domain).unwrap();
        let machine = guest.machine();
        machine.set_sysctl("net.ipv6.conf.default.stable_secret", &format!("2001:db8::{domain}")).unwrap();
        // An answer to a multicast ping may come from everybody here.
        let vif = guest.attach(&host.dom0, host.mode.nic(list)).unwrap();
        call(&vif, Hotplug::Online, &[policy.word()]);
        // IN6_ADDR_GEN_MODE_STABLE_PRIVACY (linux/if_link.h): the kernel sets it because of the secret.
        assert_eq!(machine.sysctl("net.ipv6.conf.eth0.addr_gen_mode").unwrap(), "2");
        machine.ip("link set eth0 up").unwrap();
        Self { guest, vif }
    }

    fn machine(&self) -> &Machine {
        self.guest.machine()
    }

    fn configure(&self, addresses: &[&str], gateways: &[&str]) {
        let machine = self.machine();
        addresses.iter().for_each(|address| drop(machine.ip(&format!("address add {address} dev eth0")).unwrap()));
        gateways.iter().for_each(|gateway| drop(machine.ip(&format!("route add default via {gateway} dev eth0")).unwrap()));
    }

    /// Waits until the kernel is sure that nobody else has its addresses, and says its link-local address.
    fn settle(&self) -> String {
        let shown = |words: &str| self.machine().ip(words);
        wait_for("duplicate address detection", Duration::from_secs(15), || {
            Ok(shown("-6 address show dev eth0 tentative")?.is_empty() && shown("-6 address show dev eth0")?.contains("fe80::"))
        })
        .unwrap();
        assert_eq!(shown("-6 address show dev eth0 dadfailed").unwrap(), "", "somebody else has an address of {}", self.vif.name());
        let text = shown("-6 -o address show dev eth0 scope link").unwrap();
        text.split_whitespace().find_map(|word| word.strip_suffix("/64")).unwrap().to_owned()
    }
}

/// Small and large pings, TCP and UDP, from each of the addresses.
#[track_caller]
fn assert_talks(from: &Machine, sources: &[&str], to: &Machine, address: &str) {
    for source in sources {
        for size in ["56", "8000"] {
            from.run("ping", ["-c1", "-W5", "-I", source, "-s", size, address]).unwrap();
        }
    }
    let target: IpAddr = address.parse().unwrap();
    talk::tcp(from, to, SocketAddr::new(target, 5000)).unwrap();
    talk::udp(from, to, SocketAddr::new(target, 5000)).unwrap();
}

fn bridged(policy: Policy) {
    let host = Host::new(Mode::Bridge, Around::Nothing);
    let mut reports = Catcher::on_device(&host.outside, "eth0").unwrap();
    let me = Talker::start(&host, 1, MY_LIST, policy);
    let other = Talker::start(&host, 2, NEIGHBOURS_LIST, policy);
    me.configure(
        &["192.168.2.10/24", "192.168.2.11/24", "192.168.3.5/24", "2001:db8:2::10/64", "2001:db8:20::5/64"],
        &["192.168.2.1", "2001:db8:2::1"],
    );
    other.configure(&["192.168.2.20/24", "2001:db8:2::20/64"], &["192.168.2.1", "2001:db8:2::1"]);
    // The way back to a network that only the guest has.
    let ways = "route add 192.168.3.0/24 via 192.168.2.10\nroute add 2001:db8:20::/64 via 2001:db8:2::10\n";
    other.machine().shell(&format!("ip -batch - <<'END'\n{ways}END")).unwrap();
    let mine = me.settle();
    let others = other.settle();

    assert_talks(me.machine(), &["192.168.2.10", "192.168.2.11", "192.168.3.5"], other.machine(), "192.168.2.20");
    assert_talks(me.machine(), &["2001:db8:2::10", "2001:db8:20::5"], other.machine(), "2001:db8:2::20");
    assert_talks(other.machine(), &["192.168.2.20"], me.machine(), "192.168.2.10");
    assert_talks(other.machine(), &["2001:db8:2::20"], me.machine(), "2001:db8:2::10");
    // Their link-local addresses follow from no MAC address: they were announced.
    assert!(!mine.contains("ff:fe"), "{mine}");
    me.machine().run("ping", ["-c1", "-W5", "-s", "8000", &format!("{others}%eth0")]).unwrap();
    other.machine().run("ping", ["-c1", "-W5", &format!("{mine}%eth0")]).unwrap();
    assert_talks(host.dom0.machine(), &["192.168.2.1"], me.machine(), "192.168.2.10");
    assert_talks(&host.outside, &["192.168.2.254"], me.machine(), "192.168.2.10");
    assert_talks(me.machine(), &["2001:db8:2::10"], &host.outside, "2001:db8:2::fe");
    assert!(saw_report(&mut reports), "no report of a multicast listener came out");
}

/// Whether a report of MLDv2 was seen: behind Ethernet, IPv6 and the hop-by-hop header with the router alert.
fn saw_report(catcher: &mut Catcher) -> bool {
    std::iter::from_fn(|| catcher.take().unwrap())
        .any(|frame| frame.get(12..14) == Some(&[0x86, 0xdd]) && frame.get(54) == Some(&ICMPV6) && frame.get(62) == Some(&143))
}

fn routed(mode: Mode, policy: Policy) {
    let host = Host::new(mode, Around::Nothing);
    let me = Talker::start(&host, 1, mode.my_list(), policy);
    let other = Talker::start(&host, 2, NEIGHBOURS_LIST, policy);
    let gateways = &["192.168.2.254", "fe80::1"];
    me.configure(&["192.168.2.10/24", "192.168.2.11/24", "2001:db8:2::10/128", "2001:db8:2::11/128"], gateways);
    other.configure(&["192.168.2.20/24", "2001:db8:2::20/128"], gateways);
    me.settle();
    other.settle();

    let outside4 = OUTSIDE4.to_string();
    let outside6 = OUTSIDE6.to_string();
    assert_talks(me.machine(), &["192.168.2.10", "192.168.2.11"], other.machine(), "192.168.2.20");
    assert_talks(me.machine(), &["2001:db8:2::10", "2001:db8:2::11"], other.machine(), "2001:db8:2::20");
    assert_talks(me.machine(), &["192.168.2.10", "192.168.2.11"], &host.outside, &outside4);
    assert_talks(me.machine(), &["2001:db8:2::10"], &host.outside, &outside6);
    assert_talks(me.machine(), &["192.168.2.11"], host.dom0.machine(), &DOM0.to_string());
    assert_talks(host.dom0.machine(), &[], me.machine(), "192.168.2.10");
    assert_talks(&host.outside, &[], other.machine(), "192.168.2.20");
    assert_talks(&host.outside, &[], other.machine(), "2001:db8:2::20");
    // Dom0's end of the link, by the guest's link-local address that it announced.
    me.machine().run("ping", ["-c1", "-W5", "fe80::1%eth0"]).unwrap();
}

/// A DHCP server behind dom0's card, that gives the guest the address it shall have.
fn serve_dhcp(outside: &Machine) -> Process {
    let layers = format!("lowerdir={}/usr:/usr", fetched(SERVERS).unwrap().display());
    outside.run("mount", ["-t", "overlay", "-o", &layers, "overlay", "/usr"]).unwrap();
    let mut command = outside.command("dnsmasq");
    command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root", "--port=0", "--no-ping"]);
    command.args(["--interface=eth0", "--dhcp-leasefile=/run/leases", "--dhcp-range=192.168.2.200,static,255.255.255.0,1h"]);
    command.args([
        "--dhcp-host=00:16:3e:00:01:00,192.168.2.10",
        "--dhcp-option=option:router,192.168.2.254",
        "--log-facility=/run/log",
    ]);
    outside.spawn(&mut command).unwrap()
}

fn leased(policy: Policy) {
    const SCRIPT: &str =
        "#!/bin/sh -e\n[ \"$1\" = bound ] || exit 0\nip address add $ip/$mask dev $interface\necho $ip >/run/lease\n";
    let host = Host::new(Mode::Bridge, Around::Nothing);
    let _server = serve_dhcp(&host.outside);
    let me = Talker::start(&host, 1, "192.168.2.10", policy);
    me.machine().write_program("/run/udhcpc-script", SCRIPT).unwrap();
    let busybox = fetched(SERVERS).unwrap().join("bin/busybox");
    let words = "udhcpc -i eth0 -s /run/udhcpc-script -n -q -f -t 10 -T 1";
    me.machine().run(&busybox.to_string_lossy(), words.split(' ')).unwrap();
    assert_eq!(me.machine().read_file("/run/lease").unwrap().trim(), "192.168.2.10");
    assert_talks(me.machine(), &["192.168.2.10"], &host.outside, "192.168.2.254");
}

/// Makes a test of each policy, `no` among them: what fails there is not the filter's fault.
macro_rules! under_every_policy {
    ($($name:ident $play:expr;)*) => {$(
        mod $name {
            #[allow(unused_imports)] // Each module plays one of them.
            use super::{Mode, Policy, bridged, leased, routed};

            #[test]
            fn without_a_filter() {
                $play(Policy::No);
            }

            #[test]
            fn under_ip() {
                $play(Policy::Ip);
            }

            #[test]
            fn under_strict() {
                $play(Policy::Strict);
            }
        }
    )*};
}

under_every_policy! {
    kernels_on_a_bridge bridged;
    kernels_on_a_route |policy| routed(Mode::Route, policy);
    kernels_behind_nat |policy| routed(Mode::Nat, policy);
    a_dhcp_client_on_a_bridge leased;
}
