//! The world of the scenarios: the home LAN of an administrator who runs Xen on one of its hosts.
//!
//! ```text
//! outside 198.51.100.10 ── router 192.168.1.1 ──┬── dom0 192.168.1.100 (eth0) ── guests
//!         2001:db8:ffff::10       2001:db8:1::1 │        2001:db8:1::100      └─ side0 ── bystander 172.17.0.2
//!                                               └── pc 192.168.1.50, 2001:db8:1::50
//! ```
//!
//! The bystander is behind dom0 like a container of somebody else's: what the programs open for guests must stay closed for it.

use std::net::{IpAddr, SocketAddr};

use testbed::guest::{Dom0, Guest, Hotplug, Nic, Outcome, Vif};
use testbed::machine::{Machine, Programs, Running, connect};
use testbed::originals::fetched;
use testbed::state::{State, assert_same};
use testbed::talk;

use crate::admin::Firewall;

/// Hosts of the world, by IPv4 and IPv6.
pub const ROUTER: &str = "192.168.1.1";
pub const DOM0: &str = "192.168.1.100";
pub const DOM0_6: &str = "2001:db8:1::100";
pub const PC: &str = "192.168.1.50";
pub const PC_6: &str = "2001:db8:1::50";
pub const OUTSIDE: &str = "198.51.100.10";
pub const OUTSIDE_6: &str = "2001:db8:ffff::10";

/// The port of all conversations.
const PORT: u16 = 5000;

/// Machines, and what dom0 was like before anything was started.
pub struct World {
    pub dom0: Dom0,
    pub router: Machine,
    pub pc: Machine,
    pub outside: Machine,
    bystander: Machine,
    firewall: Firewall,
    before: Dom0AsSeen,
}

/// All that is compared in the end.
struct Dom0AsSeen {
    state: State,
    rules: String,
    files: String,
}

impl World {
    /// The world, with our programs in dom0, and the administrator's packet filter there.
    pub fn new(firewall: Firewall) -> Self {
        let dom0 = Dom0::new("dom0").unwrap();
        let [router, pc, outside, bystander] = ["router", "pc", "outside", "bystander"].map(|name| Machine::new(name).unwrap());
        for machine in [dom0.machine(), &router, &pc, &outside, &bystander] {
            // Nobody here has an address twice: do not wait a second for each.
            machine.set_sysctl("net.ipv6.conf.default.accept_dad", "0").unwrap();
        }
        connect(&router, "port1", dom0.machine(), "eth0").unwrap();
        connect(&router, "port2", &pc, "eth0").unwrap();
        connect(&router, "wan", &outside, "eth0").unwrap();
        connect(dom0.machine(), "side0", &bystander, "eth0").unwrap();
        set_up(dom0.machine(), &router, &pc, &outside, &bystander);
        dom0.machine().install_scripts(&Programs::ours().unwrap()).unwrap();
        firewall.load(dom0.machine());
        let before = Dom0AsSeen::now(&dom0, firewall);
        Self { dom0, router, pc, outside, bystander, firewall, before }
    }

    /// Runs one of dom0's programs as an administrator does; it must succeed without a complaint.
    #[track_caller]
    pub fn run(&self, line: &str) {
        let mut words = line.split(' ');
        let program = words.next().unwrap();
        let outcome = Outcome::of(self.dom0.machine().command(format!("/etc/xen/scripts/{program}")).args(words)).unwrap();
        assert!(outcome.status == Some(0) && outcome.stderr.is_empty(), "{line}: {outcome}");
    }

    /// Starts a guest with this card: `xl create` up to the point where its own system starts.
    #[track_caller]
    pub fn start_guest(&self, domain: u16, nic: Nic) -> RunningGuest {
        self.start_guest_with(domain, nic, &[])
    }

    /// The same with words for the vif program, as xend's `(vif-script 'vif-nat gateway=192.168.2.254')` has them.
    #[track_caller]
    pub fn start_guest_with(&self, domain: u16, nic: Nic, words: &[&str]) -> RunningGuest {
        let guest = Guest::new(domain).unwrap();
        guest.machine().set_sysctl("net.ipv6.conf.default.accept_dad", "0").unwrap();
        let vif = guest.attach(&self.dom0, nic).unwrap();
        let mut command = vif.hotplug_command(Hotplug::Online);
        command.args(words).args(Hotplug::Online.words());
        Outcome::of(&mut command).unwrap().success().unwrap();
        assert_eq!(vif.backend("hotplug-status").unwrap().as_deref(), Some("connected"), "hotplug-status of {}", vif.name());
        RunningGuest { guest, vif }
    }

    /// A guest shuts down. The order is that of a real host: the device goes first, then libxl calls the program, then it removes the
    /// card from XenStore.
    #[track_caller]
    pub fn stop_guest(&self, running: RunningGuest) {
        running.vif.disappear().unwrap();
        running.vif.hotplug(Hotplug::Offline).unwrap().success().unwrap();
        running.vif.remove_store().unwrap();
        let backend = running.vif.backend_path();
        let left: Vec<_> = self.dom0.server().snapshot().into_keys().filter(|path| path.starts_with(&backend)).collect();
        assert!(left.is_empty(), "XenStore still has {left:?}");
    }

    /// What the administrator has in the packet filter.
    pub fn firewall(&self) -> Firewall {
        self.firewall
    }

    /// While dom0 forwards, the administrator's packet filter stands as before for everybody who is no guest.
    #[track_caller]
    pub fn assert_only_guests_are_let_through(&self) {
        match self.firewall {
            Firewall::None => drop(self.bystander.run("ping", ["-c1", "-W5", OUTSIDE]).unwrap()),
            _ => assert_silent(&self.bystander, OUTSIDE),
        }
    }

    /// Everything was stopped: dom0 is as it was, down to the last setting, rule and file.
    #[track_caller]
    pub fn assert_as_before(&self) {
        let now = Dom0AsSeen::now(&self.dom0, self.firewall);
        assert_same(&self.before.state, &now.state);
        assert_eq!(self.before.rules, now.rules, "the packet filter");
        assert_eq!(self.before.files, now.files, "files in /run");
    }
}

/// A guest and its network card.
pub struct RunningGuest {
    pub guest: Guest,
    pub vif: Vif,
}

impl RunningGuest {
    /// The guest's inside.
    pub fn inside(&self) -> &Machine {
        self.guest.machine()
    }

    /// Static addresses, IPv4 and IPv6, and gateways.
    pub fn configure(&self, addresses: &[&str], gateways: &[&str]) {
        let machine = self.inside();
        machine.ip("link set eth0 up").unwrap();
        for address in addresses {
            machine.ip(&format!("address add {address} dev eth0")).unwrap();
        }
        for gateway in gateways {
            machine.ip(&format!("route add default via {gateway} dev eth0")).unwrap();
        }
    }

    /// An address by DHCP; returns it. The client is busybox's, which tells a script what it got.
    pub fn configure_by_dhcp(&self) -> IpAddr {
        const SCRIPT: &str = "#!/bin/sh
            [ \"$1\" = bound ] || exit 0
            ip address add $ip/$mask dev $interface
            ip route add default via $router
            echo $ip >/run/lease\n";
        let machine = self.inside();
        machine.write_program("/run/udhcpc-script", SCRIPT).unwrap();
        machine.ip("link set eth0 up").unwrap();
        let busybox = fetched(SERVERS).unwrap().join("bin/busybox");
        let words = "udhcpc -i eth0 -s /run/udhcpc-script -n -q -f -t 10 -T 1";
        machine.run(&busybox.to_string_lossy(), words.split(' ')).unwrap();
        machine.read_file("/run/lease").unwrap().trim().parse().unwrap()
    }
}

/// What fetches a real DHCP server and a real client.
const SERVERS: &str = "tests/fetch-dhcp";

/// A DHCP server on the LAN, as home routers have one.
pub fn serve_dhcp(router: &Machine) -> Running {
    let layers = format!("lowerdir={}/usr:/usr", fetched(SERVERS).unwrap().display());
    router.run("mount", ["-t", "overlay", "-o", &layers, "overlay", "/usr"]).unwrap();
    let mut command = router.command("dnsmasq");
    command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root", "--port=0", "--no-ping"]);
    command.args(["--interface=lan", "--dhcp-leasefile=/run/leases", "--dhcp-range=192.168.1.200,192.168.1.220,255.255.255.0,1h"]);
    command.args(["--dhcp-option=option:router,192.168.1.1", "--log-facility=/run/dnsmasq.log"]);
    router.spawn(&mut command).unwrap()
}

/// Whether `from` gets to `address` at `to`, both ways, by all that matters: small and large pings, full packets that must not be
/// fragmented, TCP and UDP; and whether `to` sees it all come from `seen_as`.
#[track_caller]
pub fn assert_reaches(from: &Machine, to: &Machine, address: &str, seen_as: &str) {
    let target: IpAddr = address.parse().unwrap();
    // 1500 bytes less the headers of IP (20, 40) and ICMP (8).
    let full = if target.is_ipv4() { "1472" } else { "1452" };
    for options in [&["-s", "56"][..], &["-s", full, "-M", "do"], &["-s", "8000"]] {
        from.run("ping", ["-c1", "-W5"].iter().chain(options).chain(&[address])).unwrap();
    }
    let socket = SocketAddr::new(target, PORT);
    let expected: IpAddr = seen_as.parse().unwrap();
    assert_eq!(talk::tcp(from, to, socket).unwrap(), expected, "{} sees {} by TCP", to.name(), from.name());
    assert_eq!(talk::udp(from, to, socket).unwrap(), expected, "{} sees {} by UDP", to.name(), from.name());
}

/// No answer comes from `address`.
#[track_caller]
pub fn assert_silent(from: &Machine, address: &str) {
    from.run("ping", ["-c1", "-W1", address]).expect_err(&format!("{} reaches {address}", from.name()));
}

impl Dom0AsSeen {
    fn now(dom0: &Dom0, firewall: Firewall) -> Self {
        let machine = dom0.machine();
        Self {
            state: State::settled(machine).unwrap(),
            rules: firewall.rules(machine),
            files: machine.shell("find /run -type f ! -name devices.lock | sort").unwrap(),
        }
    }
}

fn set_up(dom0: &Machine, router: &Machine, pc: &Machine, outside: &Machine, bystander: &Machine) {
    ip(
        router,
        "link add lan type bridge stp_state 0 forward_delay 0
         link set port1 up
         link set port2 up
         link set port1 master lan
         link set port2 master lan
         link set lan up
         link set wan up
         address add 192.168.1.1/24 dev lan
         address add 2001:db8:1::1/64 dev lan
         address add 198.51.100.1/24 dev wan
         address add 2001:db8:ffff::1/64 dev wan",
    );
    router.set_sysctl("net.ipv4.ip_forward", "1").unwrap();
    router.set_sysctl("net.ipv6.conf.all.forwarding", "1").unwrap();
    for (machine, addresses, gateways) in [
        (dom0, ["192.168.1.100/24", "2001:db8:1::100/64"], ["192.168.1.1", "2001:db8:1::1"]),
        (pc, ["192.168.1.50/24", "2001:db8:1::50/64"], ["192.168.1.1", "2001:db8:1::1"]),
        (outside, ["198.51.100.10/24", "2001:db8:ffff::10/64"], ["198.51.100.1", "2001:db8:ffff::1"]),
    ] {
        ip(machine, "link set eth0 up");
        for (address, gateway) in addresses.into_iter().zip(gateways) {
            ip(machine, &format!("address add {address} dev eth0\nroute add default via {gateway} dev eth0"));
        }
    }
    ip(dom0, "link set side0 up\naddress add 172.17.0.1/16 dev side0");
    ip(bystander, "link set eth0 up\naddress add 172.17.0.2/16 dev eth0\nroute add default via 172.17.0.1");
    // Its packets would find their way back, were they let through.
    ip(router, "route add 172.17.0.0/16 via 192.168.1.100");
}

/// Has `ip` do each line.
pub fn ip(machine: &Machine, lines: &str) {
    for line in lines.lines() {
        machine.ip(line.trim()).unwrap();
    }
}
