//! A LAN of two machines: a dom0 whose network cards lead to a router, and our programs in dom0.

#![allow(dead_code)] // Each suite uses some of it.

use std::process::Command;

use testbed::guest::Outcome;
use testbed::machine::{Machine, Programs, connect};
use testbed::state::State;

/// Where toolstacks look for the programs.
pub const SCRIPTS: &str = "/etc/xen/scripts";

/// A dom0 and the router that all its network cards lead to.
pub struct Lan {
    /// The host under test.
    pub dom0: Machine,
    /// Its neighbour on every card: the card of the same name.
    pub router: Machine,
}

impl Lan {
    /// Two machines joined by one cable a name in `cards`. The router's ends are up; dom0's are down and without addresses. Nobody detects
    /// duplicates of IPv6 addresses, which would cost a second each.
    pub fn new(cards: &[&str]) -> Self {
        let lan = Self { dom0: Machine::new("dom0").unwrap(), router: Machine::new("router").unwrap() };
        for machine in [&lan.dom0, &lan.router] {
            machine.set_sysctl("net.ipv6.conf.default.accept_dad", "0").unwrap();
        }
        for card in cards {
            connect(&lan.dom0, card, &lan.router, card).unwrap();
            lan.router.ip(&format!("link set {card} up")).unwrap();
        }
        lan.dom0.install_scripts(&Programs::ours().unwrap()).unwrap();
        lan
    }

    /// The usual host: eth0 is 192.168.1.100/24, behind it the gateway 192.168.1.1.
    pub fn usual() -> Self {
        let lan = Self::new(&["eth0"]);
        ip_lines(&lan.router, "address add 192.168.1.1/24 dev eth0");
        ip_lines(
            &lan.dom0,
            "link set eth0 up
             address add 192.168.1.100/24 broadcast + dev eth0
             route add default via 192.168.1.1 dev eth0",
        );
        lan
    }

    /// A host with something of everything on eth0, and a second card, eth1.
    pub fn rich() -> Self {
        let lan = Self::new(&["eth0", "eth1"]);
        ip_lines(&lan.router, "address add 192.168.1.1/24 dev eth0\naddress add 2001:db8:1::1/64 dev eth0");
        ip_lines(&lan.dom0, RICH);
        settled(&lan.dom0);
        ip_lines(&lan.dom0, RICH_ROUTES);
        lan
    }

    /// A call of network-bridge with these words.
    pub fn command(&self, words: &str) -> Command {
        let mut command = self.dom0.command(format!("{SCRIPTS}/network-bridge"));
        command.args(words.split_whitespace());
        command
    }

    /// Calls network-bridge.
    pub fn call(&self, words: &str) -> Outcome {
        Outcome::of(&mut self.command(words)).unwrap()
    }

    /// Calls network-bridge, which must end with exit status 0 and say nothing that is wrong.
    #[track_caller]
    pub fn succeed(&self, words: &str) -> Outcome {
        let outcome = self.call(words);
        assert!(outcome.status == Some(0) && outcome.stderr.is_empty(), "network-bridge {words}: {outcome}");
        outcome
    }

    /// Calls network-bridge, which must end with exit status 1, leave dom0 as it was, and say so in one line with these words in it.
    #[track_caller]
    pub fn refuse(&self, words: &str, expected: &str) {
        let before = settled(&self.dom0);
        let outcome = self.call(words);
        assert_eq!(outcome.status, Some(1), "network-bridge {words}: {outcome}");
        assert!(outcome.stderr.contains(expected), "network-bridge {words} does not say {expected:?}: {outcome}");
        assert_eq!(outcome.stderr.lines().count(), 1, "network-bridge {words}: {outcome}");
        self.assert_as(&before);
    }

    /// Dom0's state at rest.
    pub fn state(&self) -> State {
        settled(&self.dom0)
    }

    /// Panics where dom0 is not as in `before`.
    #[track_caller]
    pub fn assert_as(&self, before: &State) {
        testbed::state::assert_same(before, &self.state());
    }

    /// Whether dom0 has a device of this name.
    pub fn has(&self, device: &str) -> bool {
        self.dom0.path(format!("/sys/class/net/{device}")).exists()
    }
}

/// The devices and addresses of [`Lan::rich`].
const RICH: &str = "
    link set eth0 up
    link set eth1 up
    address add 192.168.1.100/24 broadcast + dev eth0
    address add 192.168.1.101/24 broadcast + dev eth0 label eth0:1
    address add 10.9.8.7 peer 10.9.8.8/32 dev eth0
    address add 192.168.7.100/24 dev eth1
    address add 2001:db8:1::100/64 dev eth0
    address add 2001:db8:1::200/64 dev eth0 preferred_lft 0
    address add 2001:db8:2::1/128 dev eth0
    address add 2001:db8:7::100/64 dev eth1
    neigh add 192.168.1.3 lladdr 00:16:3e:00:01:03 nud permanent dev eth0
    neigh add 2001:db8:1::3 lladdr 00:16:3e:00:01:03 nud permanent dev eth0
    neigh add 192.168.1.4 lladdr 00:16:3e:00:01:04 nud noarp dev eth0
    neigh add proxy 192.168.1.77 dev eth0
    neigh add proxy 2001:db8:1::77 dev eth0
    rule add iif eth0 table 100 priority 1000
    rule add from 192.168.1.101 iif eth0 table 4000 priority 1001
    -6 rule add iif eth0 table 100 priority 1002";

/// The routes of [`Lan::rich`]: in three tables, with metrics and MTUs, and some that leave by both cards.
const RICH_ROUTES: &str = "
    route add default via 192.168.1.1 dev eth0 metric 100
    route add 10.20.0.0/16 via 192.168.1.2 dev eth0 src 192.168.1.101 mtu 1400 proto static
    route add 10.30.0.0/16 dev eth0 scope link table 100
    route add default via 192.168.1.9 dev eth0 table 100 metric 7
    route add 10.40.0.0/16 table 4000 metric 5 nexthop via 192.168.1.3 dev eth0 weight 2 nexthop via 192.168.1.4 dev eth0 weight 3
    route add 10.50.0.0/16 nexthop via 192.168.1.3 dev eth0 nexthop via 192.168.7.3 dev eth1
    -6 route add default via 2001:db8:1::1 dev eth0 metric 50
    -6 route add 2001:db8:20::/48 via fe80::1 dev eth0 mtu 1400
    -6 route add 2001:db8:30::/48 dev eth0 table 100 metric 9
    -6 route add 2001:db8:60::/48 nexthop via 2001:db8:1::3 dev eth0 nexthop via 2001:db8:7::3 dev eth1";

/// Has `ip` do each line, those that begin with `-6` by `ip -6`.
#[track_caller]
pub fn ip_lines(machine: &Machine, lines: &str) {
    let (six, other): (Vec<&str>, Vec<&str>) = lines.lines().map(str::trim).partition(|line| line.starts_with("-6 "));
    for (option, lines) in [("", other), ("-6", six)] {
        let text: String = lines.iter().map(|line| format!("{}\n", line.trim_start_matches("-6 "))).collect();
        machine.shell(&format!("ip {option} -batch - <<'END'\n{text}END")).unwrap();
    }
}

/// A machine's state at rest.
pub fn settled(machine: &Machine) -> State {
    State::settled(machine).unwrap()
}
