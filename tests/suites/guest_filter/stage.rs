//! Where the cases are played: dom0 with a guest under test and its neighbour, a host outside, and witnesses everywhere.
//!
//! ```text
//! bridge:       outside ── peth0 ┐
//!                    me ── vif1.0 ├ xenbr0 192.168.2.1 (dom0)
//!             neighbour ── vif2.0 ┘
//!
//! route, nat:   outside 192.168.1.1 ── eth0 192.168.1.100 (dom0)
//!                    me 192.168.2.10 ── vif1.0 ┤
//!             neighbour 192.168.2.20 ── vif2.0 ┘
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use testbed::firewalld::Firewalld;
use testbed::frame::arp::sender_and_target;
use testbed::frame::ipv6::{ALL_DHCP_SERVERS, ALL_MLD_ROUTERS, ALL_ROUTERS, solicited_node};
use testbed::frame::{Frame, Mac, Marker};
use testbed::guest::{Dom0, Guest, Hotplug, Nic, Outcome, Vif};
use testbed::machine::{Machine, Programs, connect, stable_mac, wait_for};
use testbed::wire::{Catcher, Protocol, Sender};

use crate::admin::Firewall;
use crate::cast::{
    Cast, DOM0, ME, MY_LIST, MY_LIST_FOR_NAT, MY_SECOND6, MY6, Marks, NEIGHBOUR, NEIGHBOUR4, NEIGHBOUR6, NEIGHBOURS_LIST, OUTSIDE4,
    OUTSIDE6, my_link_local, telling,
};

/// How a frame may take to arrive on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// How guests are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Bridge,
    Route,
    Nat,
}

impl Mode {
    pub const ALL: [Self; 3] = [Self::Bridge, Self::Route, Self::Nat];

    fn script(self) -> &'static str {
        match self {
            Self::Bridge => "vif-bridge",
            Self::Route => "vif-route",
            Self::Nat => "vif-nat",
        }
    }

    /// The guest's card; its configuration gives these addresses.
    pub fn nic(self, addresses: &str) -> Nic {
        let bridge = (self == Self::Bridge).then(|| "xenbr0".to_owned());
        Nic { bridge, ..Nic::routed(self.script(), addresses) }
    }

    /// The list of the guest under test.
    pub fn my_list(self) -> &'static str {
        if self == Self::Nat { MY_LIST_FOR_NAT } else { MY_LIST }
    }
}

/// What `antispoof=` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    No,
    Ip,
    Strict,
}

impl Policy {
    /// The word of the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::No => "antispoof=no",
            Self::Ip => "antispoof=ip",
            Self::Strict => "antispoof=strict",
        }
    }
}

/// What else filters in dom0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Around {
    /// Nothing, and br_netfilter shows bridged packets to nobody.
    Nothing,
    /// Nothing, and there is no program that could.
    NoTools,
    /// The administrator's packet filter, and br_netfilter shows it bridged packets.
    Firewall(Firewall),
    /// firewalld, with everything in this zone.
    Firewalld(&'static str),
}

/// Dom0 and the host outside, before any guest.
pub struct Host {
    pub mode: Mode,
    pub dom0: Dom0,
    pub outside: Machine,
    /// Kept alive.
    _firewalld: Option<Firewalld>,
}

impl Host {
    pub fn new(mode: Mode, around: Around) -> Self {
        Self::told(mode, around, "")
    }

    /// The same whose network was started with this word.
    pub fn told(mode: Mode, around: Around, word: &str) -> Self {
        let dom0 = Dom0::new("dom0").unwrap();
        let outside = Machine::new("outside").unwrap();
        let machine = dom0.machine();
        for machine in [machine, &outside] {
            machine.set_sysctl("net.ipv6.conf.default.accept_dad", "0").unwrap();
        }
        // Where br_netfilter looks at bridged packets, it drops those with nonsense in their headers: only with a firewall, who wants it.
        let looked_at = if matches!(around, Around::Firewall(_) | Around::Firewalld(_)) { "1" } else { "0" };
        for table in ["iptables", "ip6tables", "arptables"] {
            machine.set_sysctl(&format!("net.bridge.bridge-nf-call-{table}"), looked_at).unwrap();
        }
        connect(machine, "eth0", &outside, "eth0").unwrap();
        machine.install_scripts(&Programs::ours().unwrap()).unwrap();
        let (own, other) = match mode {
            Mode::Bridge => (["192.168.2.1/24", "2001:db8:2::1/64"], ["192.168.2.254/24", "2001:db8:2::fe/64"]),
            _ => (["192.168.1.100/24", "2001:db8:1::100/64"], ["192.168.1.1/24", "2001:db8:1::1/64"]),
        };
        for (machine, addresses) in [(machine, own), (&outside, other)] {
            machine.ip("link set eth0 up").unwrap();
            addresses.iter().for_each(|address| drop(machine.ip(&format!("address add {address} dev eth0")).unwrap()));
        }
        // An address stays tentative until the carrier is noticed.
        wait_for("dom0's addresses", PATIENCE, || Ok(machine.ip("-6 address show dev eth0 tentative")?.is_empty())).unwrap();
        let firewalld = match around {
            Around::Firewalld(zone) => Some(Firewalld::start(machine, zone).unwrap()),
            _ => None,
        };
        match around {
            Around::Nothing | Around::Firewalld(_) => {}
            Around::NoTools => drop(machine.shell(WITHOUT_TOOLS).unwrap()),
            Around::Firewall(firewall) => firewall.load(machine),
        }
        let host = Self { mode, dom0, outside, _firewalld: firewalld };
        host.start(word);
        host
    }

    fn start(&self, word: &str) {
        let machine = self.dom0.machine();
        if self.mode != Mode::Bridge {
            machine.ip("route add default via 192.168.1.1").unwrap();
            machine.ip("route add default via 2001:db8:1::1").unwrap();
            let outside = stable_mac("outside", "eth0");
            for address in [OUTSIDE4.to_string(), OUTSIDE6.to_string()] {
                machine.ip(&format!("neigh replace {address} lladdr {outside} dev eth0 nud permanent")).unwrap();
            }
            for (network, gateway) in [("192.168.2.0/23", "192.168.1.100"), ("2001:db8:2::/64", "2001:db8:1::100")] {
                self.outside.ip(&format!("route add {network} via {gateway}")).unwrap();
            }
        }
        match self.mode {
            Mode::Bridge => {
                self.run(&format!("network-bridge start netdev=eth0 bridge=xenbr0 check=no {word}"));
                // All shall be forwarded that a bridge can forward: what the filter lets through must arrive.
                machine.ip("link set xenbr0 type bridge mcast_snooping 0 group_fwd_mask 0x4008").unwrap();
            }
            Mode::Route => self.run(&format!("network-route start {word}")),
            Mode::Nat => self.run(&format!("network-nat start ipv6=yes {word}")),
        }
    }

    /// Runs one of dom0's programs.
    pub fn run(&self, line: &str) {
        let mut words = line.split_whitespace();
        let program = words.next().unwrap();
        Outcome::of(self.dom0.machine().command(format!("/etc/xen/scripts/{program}")).args(words)).unwrap().success().unwrap();
    }

    /// Starts a guest whose kernel says nothing by itself.
    pub fn start_guest(&self, domain: u16, nic: Nic, words: &[&str]) -> Running {
        self.start_guest_with_keys(domain, nic, &[], words)
    }

    /// The same with more keys in XenStore than the card knows of.
    pub fn start_guest_with_keys(&self, domain: u16, nic: Nic, keys: &[(&str, &str)], words: &[&str]) -> Running {
        let guest = Guest::new(domain).unwrap();
        guest.machine().set_sysctl("net.ipv6.conf.default.disable_ipv6", "1").unwrap();
        let vif = guest.attach(&self.dom0, nic).unwrap();
        for (key, value) in keys {
            self.dom0.store().write(&format!("{}/{key}", vif.backend_path()), value).unwrap();
        }
        let running = Running { guest, vif };
        running.call(Hotplug::Online, words);
        running.guest.machine().ip("link set eth0 up").unwrap();
        running
    }
}

/// Calls the vif program, which must succeed.
#[track_caller]
pub fn call(vif: &Vif, hotplug: Hotplug, words: &[&str]) {
    let mut command = vif.hotplug_command(hotplug);
    Outcome::of(command.args(words).args(hotplug.words())).unwrap().success().unwrap();
}

/// Takes away every program that could set up a packet filter.
const WITHOUT_TOOLS: &str = "mkdir -p /run/without/upper /run/without/work
    mount -t overlay -o lowerdir=/usr/sbin,upperdir=/run/without/upper,workdir=/run/without/work overlay /usr/sbin
    cd /usr/sbin; rm -f nft iptables* ip6tables* xtables* ebtables* arptables* firewalld
    ! command -v nft && ! command -v iptables";

/// A guest and its card.
pub struct Running {
    pub guest: Guest,
    pub vif: Vif,
}

impl Running {
    /// Calls the vif program, which must succeed.
    #[track_caller]
    pub fn call(&self, hotplug: Hotplug, words: &[&str]) {
        call(&self.vif, hotplug, words);
    }

    /// The guest's inside.
    pub fn inside(&self) -> &Machine {
        self.guest.machine()
    }
}

/// How the guest under test comes.
pub struct Setup<'a> {
    pub nic: Nic,
    /// Keys in XenStore.
    pub keys: &'a [(&'a str, &'a str)],
    /// Words of the command line.
    pub words: &'a [&'a str],
    /// What the network's program was told for all guests.
    pub of_network: &'a str,
    pub port: Port,
}

impl Setup<'_> {
    /// With all its addresses, and not a word more.
    pub fn of(mode: Mode) -> Self {
        Self { nic: mode.nic(mode.my_list()), keys: &[], words: &[], of_network: "", port: Port::Vif }
    }
}

/// By which of its devices the guest under test sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// The vif.
    Vif,
    /// The emulated card.
    Tap,
}

/// What reached whom.
pub type Arrived = BTreeSet<Marker>;

/// The guest under test with its neighbour, and all who watch.
pub struct Stage {
    pub host: Host,
    pub me: Running,
    pub neighbour: Running,
    pub cast: Cast,
    /// What dom0 calls the guest's device.
    device: String,
    sender: Sender,
    witnesses: Vec<Catcher>,
    /// In dom0 alone: what dom0 took for itself, the last one being UDP of IPv4.
    stack: Vec<Catcher>,
    /// What dom0 answers to the guest.
    answers: Catcher,
    /// Catchers forget nothing: no marker is sent twice.
    marks: Marks,
}

impl Stage {
    /// Both guests online, their links up.
    pub fn new(mode: Mode, policy: Policy, around: Around) -> Self {
        Self::set(mode, Setup { words: &[policy.word()], ..Setup::of(mode) }, around)
    }

    /// The same with what the caller says of the guest under test.
    pub fn set(mode: Mode, setup: Setup, around: Around) -> Self {
        let host = Host::told(mode, around, setup.of_network);
        let name = setup.nic.vifname.clone().unwrap_or_else(|| "vif1.0".to_owned());
        let me = host.start_guest_with_keys(1, setup.nic, setup.keys, setup.words);
        let neighbour = host.start_guest(2, mode.nic(NEIGHBOURS_LIST), setup.words);
        let dom0 = host.dom0.machine();
        let (device, inner) = match setup.port {
            Port::Vif => (name, "eth0"),
            Port::Tap => (plug_tap(dom0, &me, &name, setup.words), "tap0"),
        };
        let mut witnesses =
            vec![Catcher::on_device(neighbour.inside(), "eth0").unwrap(), Catcher::on_device(&host.outside, "eth0").unwrap()];
        let mut stack = Vec::new();
        if mode == Mode::Bridge {
            witnesses.push(Catcher::on_device(dom0, "xenbr0").unwrap());
        } else {
            stack = listen(dom0, &device);
            prepare_neighbours(dom0, &device);
        }
        let cast = cast(mode, dom0, &device);
        let sender = Sender::new(me.inside(), inner).unwrap();
        let answers = Catcher::on_device(me.inside(), inner).unwrap();
        await_carrier(me.inside(), inner);
        await_carrier(neighbour.inside(), "eth0");
        if mode == Mode::Bridge {
            [&device, "vif2.0", "peth0"].into_iter().for_each(|port| await_forwarding(dom0, port));
        }
        Self { host, me, neighbour, cast, device, sender, witnesses, stack, answers, marks: Marks::default() }
    }

    /// A marker that no other frame of this stage has.
    pub fn mark(&mut self) -> Marker {
        self.marks.next()
    }

    /// Sends frames from the guest in one go, and tells which markers reached anybody. Everything has arrived, or never will, once the
    /// legal frames behind have arrived.
    pub fn fire(&mut self, frames: &[Frame]) -> Arrived {
        self.expect_claims(frames);
        let last = self.sentinels();
        self.sender.send_in_order(frames.iter().chain(last.iter().map(|(frame, _)| frame))).unwrap();
        self.await_sentinels(&last);
        let mut arrived = self.seen();
        arrived.extend(self.answers.seen().unwrap());
        arrived.extend(self.believed());
        arrived.retain(|marker| last.iter().all(|(_, other)| other != marker));
        arrived
    }

    /// After `online` again: what dom0 knows of the guest's neighbour may have gone, and it answers late again.
    pub fn prepare_again(&self) {
        if self.host.mode != Mode::Bridge {
            prepare_neighbours(self.host.dom0.machine(), &self.device);
        }
        await_carrier(self.me.inside(), "eth0");
        if self.host.mode == Mode::Bridge {
            await_forwarding(self.host.dom0.machine(), &self.device);
        }
    }

    /// Waits until a frame of somebody else's has come to the guest.
    pub fn await_at_guest(&mut self, marker: Marker) {
        self.answers.wait_for(marker, PATIENCE).unwrap();
    }

    /// Whether it has.
    pub fn is_known_to_guest(&mut self, marker: Marker) -> bool {
        self.answers.seen().unwrap().contains(&marker)
    }

    /// Waits until a frame has come to the neighbour.
    pub fn await_at_neighbour(&mut self, marker: Marker) {
        self.witnesses[0].wait_for(marker, PATIENCE).unwrap();
    }

    /// The same from the host outside, where dom0 is a router.
    pub fn fire_from_outside(&mut self, frames: &[Frame]) -> Arrived {
        let [through, own] = [(); 2].map(|()| self.mark());
        let last = [(through, NEIGHBOUR4), (own, DOM0)].map(|(marker, to)| self.cast.outside(marker).from(OUTSIDE4).to(to).frame());
        let sender = Sender::new(&self.host.outside, "eth0").unwrap();
        sender.send_in_order(frames.iter().chain(&last)).unwrap();
        self.witnesses[0].wait_for(through, PATIENCE).unwrap();
        self.stack.last_mut().unwrap().wait_for(own, PATIENCE).unwrap();
        // The host outside sees what it sends to dom0 only if dom0 sends it back.
        let mut arrived = self.seen();
        arrived.retain(|marker| *marker != through && *marker != own);
        arrived
    }

    fn seen(&mut self) -> Arrived {
        self.witnesses.iter_mut().chain(&mut self.stack).flat_map(|witness| witness.seen().unwrap().clone()).collect()
    }

    /// One legal frame to each witness.
    fn sentinels(&mut self) -> Vec<(Frame, Marker)> {
        let cast = self.cast;
        if self.host.mode == Mode::Bridge {
            let marker = self.mark();
            return vec![(cast.v4(marker).broadcast().frame(), marker)];
        }
        let [neighbour, outside, own, asked] = [(); 4].map(|()| self.mark());
        vec![
            (cast.v4(neighbour).frame(), neighbour),
            (cast.v4(outside).to(OUTSIDE4).frame(), outside),
            (cast.v4(own).to(DOM0).frame(), own),
            (cast.arp(asked).frame(), asked),
        ]
    }

    fn await_sentinels(&mut self, sent: &[(Frame, Marker)]) {
        let markers: Vec<Marker> = sent.iter().map(|(_, marker)| *marker).collect();
        if let [everybody] = markers[..] {
            self.witnesses.iter_mut().for_each(|witness| witness.wait_for(everybody, PATIENCE).unwrap());
            return;
        }
        for (witness, marker) in self.witnesses.iter_mut().zip(&markers) {
            witness.wait_for(*marker, PATIENCE).unwrap();
        }
        self.stack.last_mut().unwrap().wait_for(markers[2], PATIENCE).unwrap();
        let answers = &mut self.answers;
        wait_for("dom0's answer to ARP", PATIENCE, || {
            let asked = |bytes: &[u8]| telling::by_asked(sender_and_target(bytes)?.0);
            answers.read(asked)?;
            Ok(answers.seen()?.contains(&markers[3]))
        })
        .unwrap();
    }

    /// Dom0 changes neighbours that it knows, and learns no new ones from what it did not ask for: so it knows all whom somebody claims to
    /// be, with a MAC address that nobody has.
    fn expect_claims(&self, frames: &[Frame]) {
        if self.host.mode == Mode::Bridge {
            return;
        }
        let senders = frames.iter().filter_map(|frame| Some(sender_and_target(frame.bytes())?.0));
        let claimed = senders.filter(|sender| telling::by_claimed(*sender).is_some());
        let lines: String =
            claimed.map(|sender| format!("neigh replace {sender} lladdr {NOBODY} dev {} nud stale\n", self.device)).collect();
        self.host.dom0.machine().shell(&format!("ip -batch - <<'END'\n{lines}END")).unwrap();
        // Within the tick of the clock in which an entry has changed, it does not change again. The slowest clocks have 100 ticks a second.
        std::thread::sleep(Duration::from_millis(20));
    }

    /// The markers that dom0's neighbour table shows to be believed.
    fn believed(&self) -> Arrived {
        if self.host.mode == Mode::Bridge {
            return Arrived::new();
        }
        let text = self.host.dom0.machine().ip(&format!("-4 -j neigh show dev {}", self.device)).unwrap();
        let entries: Vec<Value> = serde_json::from_str(&text).unwrap();
        let markers = entries.iter().filter_map(|entry| {
            let mac = entry["lladdr"].as_str()?;
            let address = entry["dst"].as_str()?.parse().ok()?;
            let claimed = telling::by_claimed(address).filter(|_| mac != NOBODY);
            claimed.or_else(|| telling::by_mac(Mac::parse(mac)?))
        });
        markers.collect()
    }
}

/// Gives the guest its emulated card. The device that qemu would have is one end of a cable here, as the vif is: the program cannot tell.
fn plug_tap(dom0: &Machine, me: &Running, name: &str, words: &[&str]) -> String {
    let pid = me.inside().pid();
    dom0.ip(&format!("link add name {} type veth peer name tap0 address {ME} netns {pid}", me.vif.tap_name())).unwrap();
    me.call(Hotplug::Add, words);
    me.inside().ip("link set tap0 up").unwrap();
    format!("{name}-emu")
}

fn await_carrier(guest: &Machine, device: &str) {
    wait_for("the guest's carrier", PATIENCE, || {
        Ok(guest.shell(&format!("cat /sys/class/net/{device}/carrier 2>/dev/null || true"))?.trim() == "1")
    })
    .unwrap();
}

/// A bridge follows the carrier of a port a little late.
fn await_forwarding(dom0: &Machine, port: &str) {
    const FORWARDING: &str = "3";
    wait_for("the bridge's port", PATIENCE, || {
        Ok(dom0.shell(&format!("cat /sys/class/net/{port}/brport/state 2>/dev/null || true"))?.trim() == FORWARDING)
    })
    .unwrap();
}

/// A MAC address that no frame claims.
const NOBODY: &str = "02:00:00:00:00:99";

/// What frames must know of this host; the device is a guest's.
pub fn cast(mode: Mode, dom0: &Machine, device: &str) -> Cast {
    if mode == Mode::Bridge {
        let (gateway4, gateway6) = ("192.168.2.1".parse().unwrap(), "2001:db8:2::1".parse().unwrap());
        return Cast { hop: NEIGHBOUR, dom0: NEIGHBOUR, gateway4, gateway6 };
    }
    let hop = dom0.shell(&format!("cat /sys/class/net/{device}/address")).unwrap();
    let dom0 = Mac::parse(&stable_mac("dom0", "eth0")).unwrap();
    Cast { hop: Mac::parse(hop.trim()).unwrap(), dom0, gateway4: OUTSIDE4, gateway6: OUTSIDE6 }
}

/// Dom0's own ears, also for the groups that it would not listen to by itself.
fn listen(dom0: &Machine, device: &str) -> Vec<Catcher> {
    let protocols = [Protocol::Icmp, Protocol::Icmpv6, Protocol::Udp6, Protocol::Udp];
    let mut stack: Vec<Catcher> = protocols.into_iter().map(|protocol| Catcher::in_stack(dom0, protocol).unwrap()).collect();
    let solicited = [MY6, MY_SECOND6, my_link_local(), NEIGHBOUR6].map(solicited_node);
    // Two addresses may share a group.
    let groups: BTreeSet<_> = [ALL_ROUTERS, ALL_MLD_ROUTERS, ALL_DHCP_SERVERS].into_iter().chain(solicited).collect();
    groups.into_iter().for_each(|group| stack[1].join(dom0, device, group).unwrap());
    stack
}

/// Dom0 need not ask where the neighbour is. What it learns of the guest it believes at once, and it answers at once: the delays spare a
/// busy LAN.
fn prepare_neighbours(dom0: &Machine, device: &str) {
    for address in [NEIGHBOUR4.to_string(), NEIGHBOUR6.to_string()] {
        dom0.ip(&format!("neigh replace {address} lladdr {NEIGHBOUR} dev vif2.0 nud permanent")).unwrap();
    }
    for delay in ["locktime", "proxy_delay"] {
        dom0.set_sysctl(&format!("net/ipv4/neigh/{device}/{delay}"), "0").unwrap();
    }
}
