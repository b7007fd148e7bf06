//! network-bridge: a physical device becomes the port of a bridge that takes its place.

use std::net::IpAddr;
use std::time::Duration;

use crate::host::{AdminState, Host, Link, LinkKind, LiveRename, Switch};
use crate::interface_name::InterfaceName;
use crate::operation::{LinkChange, NewBridge, Operation};
use crate::plan::draft::Draft;
use crate::plan::layer3::{Move, settle};
use crate::plan::{Plan, Refusal, forwarding};

/// How long a device may take to negotiate its link, as the original waits.
pub const CARRIER_LIMIT: Duration = Duration::from_secs(10);
/// How long a bridge may take to notice that its port has a link; one without a cable never does.
pub const BRIDGE_LIMIT: Duration = Duration::from_secs(1);
/// How long the gateway may take to answer once the bridge is in place.
pub const CHECK_LIMIT: Duration = Duration::from_secs(5);

/// The three names of a bridged uplink.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Names {
    /// The physical device's name while there is no bridge, such as eth0.
    pub netdev: InterfaceName,
    /// The physical device's name as a port, such as peth0.
    pub port: InterfaceName,
    /// The bridge's name; by default that of the physical device.
    pub bridge: InterfaceName,
}

impl Names {
    /// The names for `netdev` and, where one was asked for, a bridge of another name.
    ///
    /// # Errors
    /// When `p` and the device's name together are too long for the kernel.
    pub fn new(netdev: InterfaceName, bridge: Option<InterfaceName>) -> Result<Self, Refusal> {
        let port = netdev.with_prefix("p").map_err(|error| {
            Refusal::plain(format!(
                "{netdev} cannot be bridged: as a port it would be renamed, and {error}; give it a shorter name first"
            ))
        })?;
        let bridge = bridge.unwrap_or_else(|| netdev.clone());
        if bridge == port {
            return Err(Refusal::plain(format!(
                "{netdev} cannot be bridged: the bridge and its port would both be called {port}; choose another bridge="
            )));
        }
        Ok(Self { netdev, port, bridge })
    }
}

/// What the administrator named, as opposed to what was worked out.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Asked {
    /// `netdev=`
    pub netdev: Option<InterfaceName>,
    /// `bridge=`
    pub bridge: Option<InterfaceName>,
}

impl Asked {
    fn nothing_by_name(&self) -> bool {
        self.netdev.is_none() && self.bridge.is_none()
    }
}

/// A default route of the host, as far as the choice of a device needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultRoute {
    /// The device it leaves by.
    pub device: InterfaceName,
    /// The router.
    pub gateway: Option<IpAddr>,
    /// Smaller is preferred.
    pub metric: u32,
}

/// The device to be bridged: as asked, else that of the best default route (IPv4 before IPv6), else eth0.
///
/// # Errors
/// Never for well-formed input; eth0 is a valid name.
pub fn choose_netdev(asked: &Asked, routes: &[DefaultRoute]) -> Result<InterfaceName, Refusal> {
    if let Some(netdev) = &asked.netdev {
        return Ok(netdev.clone());
    }
    match best_default(routes) {
        Some(route) => Ok(route.device.clone()),
        None => "eth0".parse().map_err(|error| Refusal::plain(format!("{error}"))),
    }
}

fn best_default(routes: &[DefaultRoute]) -> Option<&DefaultRoute> {
    let is_ipv6 = |route: &DefaultRoute| route.gateway.is_some_and(|gateway| gateway.is_ipv6());
    routes.iter().min_by_key(|route| (is_ipv6(route), route.metric))
}

/// The router that has to answer after the switch, if there is one over `device`.
#[must_use]
pub fn gateway_over(device: &InterfaceName, routes: &[DefaultRoute]) -> Option<IpAddr> {
    let over: Vec<DefaultRoute> =
        routes.iter().filter(|route| route.device == *device && route.gateway.is_some()).cloned().collect();
    best_default(&over).and_then(|route| route.gateway)
}

/// Whether there is anything to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The switch is to be made.
    Go,
    /// Nothing is to be done, for this reason; not an error.
    Nothing(String),
}

/// Whether `start` has anything to do on `host`, and may.
///
/// # Errors
/// When the device cannot be bridged; one sentence says why and what to do.
pub fn judge_start(asked: &Asked, names: &Names, host: &Host) -> Result<Verdict, Refusal> {
    let Names { netdev, port, bridge } = names;
    let nothing = |why: String| Ok(Verdict::Nothing(why));
    if let Some(there) = host.link(port) {
        return match &there.master {
            Some(master) => nothing(format!("{port} is a port of {master} already")),
            None => {
                nothing(format!("{port} exists already, though it is the port of no bridge: rename it to {netdev} for another try"))
            }
        };
    }
    let own = host.links.iter().find(|link| link.is_bridge());
    if let (Some(own), true) = (own, asked.nothing_by_name()) {
        let name = &own.name;
        return nothing(format!("this host has a bridge of its own, {name}; to bridge another device, name it: netdev=… bridge=…"));
    }
    let Some(link) = host.link(netdev) else {
        return Err(Refusal::plain(format!("there is no network device {netdev}: name the one to be bridged with netdev=")));
    };
    if let Some(master) = &link.master {
        return judge_port(host, netdev, master);
    }
    if link.is_bridge() {
        return match asked.bridge.as_ref().is_none_or(|bridge| bridge == netdev) {
            true => nothing(format!("{netdev} is a bridge already")),
            false => Err(Refusal::plain(format!(
                "{netdev} is a bridge itself and cannot be the port of {bridge}: name a physical device with netdev="
            ))),
        };
    }
    if netdev.as_str() == "lo" {
        return Err(Refusal::plain("lo cannot be bridged: name a physical device with netdev="));
    }
    if link.mac.is_none() {
        return Err(Refusal::plain(format!(
            "{netdev} has no Ethernet address, as a tunnel has none, and cannot be the port of a bridge: name the card behind it with netdev="
        )));
    }
    if bridge != netdev && host.link(bridge).is_some() {
        return Err(Refusal::plain(format!(
            "a device called {bridge} exists already: choose another bridge=, or make {netdev} its port yourself (ip link set {netdev} master {bridge})"
        )));
    }
    Ok(Verdict::Go)
}

fn judge_port(host: &Host, netdev: &InterfaceName, master: &InterfaceName) -> Result<Verdict, Refusal> {
    match host.link(master).map(|link| &link.kind) {
        Some(LinkKind::Bond) => {
            Err(Refusal::plain(format!("{netdev} belongs to the bond {master}: bridge the bond instead (netdev={master})")))
        }
        Some(LinkKind::Bridge) | None => Ok(Verdict::Nothing(format!("{netdev} is a port of {master} already"))),
        Some(_) => {
            Err(Refusal::plain(format!("{netdev} belongs to {master}: take it out first, or name another device with netdev=")))
        }
    }
}

/// Whether everything that lies on `device` can be moved.
///
/// # Errors
/// When a route leads through a nexthop object: such an object belongs to its device, and whoever made it (a routing daemon) manages it.
pub fn judge_routes(device: &InterfaceName, host: &Host) -> Result<(), Refusal> {
    match host.routes_over(device).find_map(|route| route.nexthop_object().map(|number| (route, number))) {
        None => Ok(()),
        Some((route, number)) => Err(Refusal::plain(format!(
            "the route to {} leads through the nexthop object {number} of {device}, which cannot be moved to another device: remove it (ip nexthop delete id {number}), or have the program that made it set routes without nexthop objects",
            route.destination
        ))),
    }
}

/// The switch to a bridge. `host` holds netdev with all that lies on it, and nothing in the way (see [`judge_start`]).
#[must_use]
pub fn start(names: &Names, host: &Host) -> Plan {
    let Some(link) = host.link(&names.netdev) else { return Plan::default() };
    let mut draft = Draft::new(host);
    let transfer = Move { before: host, original: &names.netdev, source: &names.port, target: &names.bridge };
    // Before the host loses its network for a moment: iptables-legacy takes longer than all the rest.
    forwarding::accept_bridged(&mut draft, &names.bridge);
    rename(&mut draft, &names.netdev, &names.port);
    draft.must(Operation::CreateBridge(NewBridge {
        name: names.bridge.clone(),
        mac: link.mac,
        mtu: link.mtu,
        transmit_queue: link.transmit_queue,
    }));
    transfer.move_settings(&mut draft);
    transfer.move_address_generation(&mut draft);
    transfer.silence_source(&mut draft);
    bring_up_bridge(&mut draft, names, link);
    transfer.add_addresses(&mut draft);
    let was_running = draft.host.link(&names.port).is_some_and(|port| port.state == AdminState::Up);
    if !was_running {
        draft.must(Operation::SetLink { device: names.port.clone(), change: LinkChange::up() });
    }
    draft.must(Operation::SetLink { device: names.port.clone(), change: LinkChange::port_of(&names.bridge) });
    // A bridge sends nothing until the kernel has taken notice of its first port; an ARP request lost there is repeated a second later. The
    // port itself goes on sending meanwhile.
    let limit = if was_running { BRIDGE_LIMIT } else { CARRIER_LIMIT };
    draft.may(Operation::AwaitCarrier { device: names.bridge.clone(), limit });
    transfer.replace_routes(&mut draft);
    transfer.add_neighbours(&mut draft);
    transfer.clear_source(&mut draft);
    transfer.move_rules(&mut draft);
    transfer.put_right(&mut draft);
    draft.plan
}

fn bring_up_bridge(draft: &mut Draft, names: &Names, link: &Link) {
    let on = |switch: Switch| Some(switch).filter(|switch| *switch == Switch::On);
    let change = LinkChange { promiscuous: on(link.promiscuous), all_multicast: on(link.all_multicast), ..LinkChange::up() };
    draft.must(Operation::SetLink { device: names.bridge.clone(), change });
}

/// A new name for a device; one that is up goes down for it where the kernel asks for that.
fn rename(draft: &mut Draft, from: &InterfaceName, to: &InterfaceName) {
    let up = draft.host.link(from).is_some_and(|link| link.state == AdminState::Up);
    if up && draft.host.live_rename == LiveRename::Refused {
        // A way over a device that is down cannot be put back into a route, so a route with other ways as well must go while all are up.
        let shared: Vec<_> = draft.host.routes_over(from).filter(|route| route.leaves_by_others_than(from)).cloned().collect();
        draft.must_all(shared.into_iter().map(Operation::DeleteRoute));
        draft.must(Operation::SetLink { device: from.clone(), change: LinkChange::down() });
    }
    draft.must(Operation::RenameLink { from: from.clone(), to: to.clone() });
}

/// What `start` leaves to be done, judged by the host as it was found afterwards, and the gateway's answer waited for.
#[must_use]
pub fn after_start(names: &Names, before: &Host, found: &Host, check: Option<IpAddr>) -> Plan {
    let transfer = Move { before, original: &names.netdev, source: &names.port, target: &names.bridge };
    let mut plan = Plan::default();
    plan.must_all(settle(found, &transfer.wanted(found), &names.port, &names.bridge));
    if let Some(address) = check {
        plan.must(Operation::CheckNeighbour { device: names.bridge.clone(), address, limit: CHECK_LIMIT });
    }
    plan
}

/// Which bridge `stop` is to take apart: the one of `recorded` names that fits what was asked, else the one that the devices themselves
/// show.
#[must_use]
pub fn find_started(asked: &Asked, recorded: &[Names], routes: &[DefaultRoute], host: &Host) -> Option<Names> {
    let fits = |names: &&Names| {
        asked.netdev.as_ref().is_none_or(|netdev| names.netdev == *netdev)
            && asked.bridge.as_ref().is_none_or(|bridge| names.bridge == *bridge)
    };
    let standing = |names: &&Names| is_port_of(host, &names.port, &names.bridge);
    let by_record: Vec<&Names> = recorded.iter().filter(fits).filter(standing).collect();
    let default_device = best_default(routes).map(|route| &route.device);
    let preferred = by_record.iter().find(|names| Some(&names.bridge) == default_device).or(by_record.first());
    match preferred {
        Some(names) => Some((*names).clone()),
        None => find_by_devices(asked, default_device, host),
    }
}

fn is_port_of(host: &Host, port: &InterfaceName, bridge: &InterfaceName) -> bool {
    host.link(port).is_some_and(|link| link.master.as_ref() == Some(bridge)) && host.link(bridge).is_some_and(Link::is_bridge)
}

/// Without a record: the port's name is `p` and the device's old name.
fn find_by_devices(asked: &Asked, default_device: Option<&InterfaceName>, host: &Host) -> Option<Names> {
    let mut candidates: Vec<Names> = host
        .links
        .iter()
        .filter_map(|link| {
            let netdev: InterfaceName = link.name.as_str().strip_prefix('p')?.parse().ok()?;
            let bridge = link.master.clone()?;
            Some(Names { netdev, port: link.name.clone(), bridge })
        })
        .filter(|names| is_port_of(host, &names.port, &names.bridge))
        .filter(|names| names.netdev == names.bridge || host.link(&names.netdev).is_none())
        .filter(|names| asked.netdev.as_ref().is_none_or(|netdev| names.netdev == *netdev))
        .filter(|names| asked.bridge.as_ref().is_none_or(|bridge| names.bridge == *bridge))
        .collect();
    // Nothing was named: a bridge that bears its device's name is certainly one of ours, and the uplink comes first.
    candidates.sort_by_key(|names| (Some(&names.bridge) != default_device, names.netdev != names.bridge));
    let certain = |names: &Names| !asked.nothing_by_name() || names.netdev == names.bridge;
    candidates.into_iter().find(certain)
}

/// The way back: the port gets its name, addresses and routes again, and the bridge goes. `found` is how `start` found the device: one that
/// was down goes down again.
///
/// # Errors
/// When no name is free for the bridge to stand aside with.
pub fn stop(names: &Names, host: &Host, found: AdminState) -> Result<Plan, Refusal> {
    let mut draft = Draft::new(host);
    let parked = match names.bridge == names.netdev {
        true => free_name(host)?,
        false => names.bridge.clone(),
    };
    let was_up = host.link(&names.bridge).is_some_and(|link| link.state == AdminState::Up);
    if parked != names.bridge {
        rename(&mut draft, &names.bridge, &parked);
    }
    rename(&mut draft, &names.port, &names.netdev);
    let transfer = Move { before: host, original: &names.bridge, source: &parked, target: &names.netdev };
    transfer.move_settings(&mut draft);
    let running = draft.host.link(&names.netdev).is_some_and(|link| link.state == AdminState::Up);
    if !running && was_up {
        draft.must(Operation::SetLink { device: names.netdev.clone(), change: LinkChange::up() });
        draft.may(Operation::AwaitCarrier { device: names.netdev.clone(), limit: CARRIER_LIMIT });
    }
    transfer.add_addresses(&mut draft);
    transfer.move_address_generation(&mut draft);
    transfer.replace_routes(&mut draft);
    draft.must(Operation::SetLink { device: names.netdev.clone(), change: LinkChange::free() });
    transfer.add_neighbours(&mut draft);
    transfer.move_rules(&mut draft);
    draft.must(Operation::DeleteBridge(parked.clone()));
    forwarding::withdraw(&mut draft, &names.bridge);
    match found {
        AdminState::Up => transfer.put_right(&mut draft),
        AdminState::Down => transfer.take_down(&mut draft),
    }
    draft.plan.notes.extend(guests_left(names, host));
    Ok(draft.plan)
}

/// What `stop` leaves to be done, judged by the host as it was found afterwards. Nothing lies on a device that went down again.
#[must_use]
pub fn after_stop(names: &Names, before: &Host, found: &Host) -> Plan {
    let transfer = Move { before, original: &names.bridge, source: &names.port, target: &names.netdev };
    let mut plan = Plan::default();
    if found.link(&names.netdev).is_some_and(|link| link.state == AdminState::Up) {
        plan.must_all(settle(found, &transfer.wanted(found), &names.port, &names.netdev));
    }
    plan
}

fn guests_left(names: &Names, host: &Host) -> Option<String> {
    let guests: Vec<&str> =
        host.ports_of(&names.bridge).filter(|link| link.name != names.port).map(|link| link.name.as_str()).collect();
    match guests.as_slice() {
        [] => None,
        some => Some(format!("the bridge {} had other ports, which now belong to none: {}", names.bridge, some.join(" "))),
    }
}

/// Names that a bridge may stand aside with while its own is being given back; the first is the original script's.
pub const PARKING_NAMES: [&str; 4] = ["tmpbridge", "tmpbridge1", "tmpbridge2", "tmpbridge3"];

fn free_name(host: &Host) -> Result<InterfaceName, Refusal> {
    let names = PARKING_NAMES.iter().filter_map(|name| name.parse().ok());
    names.into_iter().find(|name| host.link(name).is_none()).ok_or_else(|| {
        Refusal::plain(format!(
            "the bridge needs another name for a moment, but all of these are taken: {}",
            PARKING_NAMES.join(" ")
        ))
    })
}
