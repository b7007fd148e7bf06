//! `explain`: the way of a packet from a guest's interface outwards and back, station by station, and where it would be dropped.

use std::fmt::Write as _;
use std::net::IpAddr;

use nftables::{ChainId, Family as ChainFamily, Packet};
use serde::Serialize;

use super::chains::Ruleset;
use super::model::{Backend, Device, Examined, Firewall, Look, PortState, Seen, Wiring};
use super::paint::{Hue, Sign, Style};
use super::prescription;
use crate::firewall::{ChainKeeper, DroppingChain, ForwardAccept, ForwardChain, Masquerade, Traffic};
use crate::host::{AdminState, Family, Switch};
use crate::interface_name::InterfaceName;
use crate::program::help::broken;
use crate::sysctl::{Sysctl, SysctlKey};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// The guest's interface.
    pub vif: &'a Backend,
    /// The source of the packet: as a rule an address of the guest's.
    pub from: Option<IpAddr>,
    /// Where it is to go.
    pub to: Option<IpAddr>,
    /// Its protocol, by number.
    pub protocol: Option<u8>,
    /// The device by which the host would send it there, if that was asked and there is one.
    pub way: Option<InterfaceName>,
    /// Chains of others.
    pub ruleset: &'a Look<Ruleset>,
}

/// What becomes of the packet at a station.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// It passes.
    Passes,
    /// It may be dropped.
    Perhaps,
    /// It is dropped.
    Dropped,
}

/// A station on the packet's way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Station {
    /// Which.
    pub station: &'static str,
    /// What becomes of the packet there.
    pub fate: Fate,
    /// Why.
    pub why: String,
    /// What to type, where that would let it pass.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
}

impl Station {
    fn new(station: &'static str, fate: Fate, why: impl Into<String>) -> Self {
        Self { station, fate, why: why.into(), commands: vec![] }
    }

    fn passes(station: &'static str, why: impl Into<String>) -> Self {
        Self::new(station, Fate::Passes, why)
    }

    fn perhaps(station: &'static str, why: impl Into<String>) -> Self {
        Self::new(station, Fate::Perhaps, why)
    }

    fn dropped(station: &'static str, why: impl Into<String>) -> Self {
        Self::new(station, Fate::Dropped, why)
    }

    fn typing(mut self, command: impl Into<String>) -> Self {
        self.commands.push(command.into());
        self
    }
}

/// The packet's way. It ends at the first station where nothing can go on: without a device there is no bridge to look at.
#[must_use]
pub fn stations(examined: &Examined, question: &Question<'_>) -> Vec<Station> {
    let vif = question.vif;
    let Some(device) = examined.seen.device_of(vif) else {
        return vec![Station::dropped("device", format!("there is no device {}: the driver has not made it", vif.kernel_name()))];
    };
    let mut way = vec![set_up(vif), guests_driver(vif), device_state(device)];
    way.push(filter(examined, device, question));
    match &device.link.master {
        Some(bridge) => way.extend(over_bridge(examined, device, bridge, question)),
        None if vif.wiring() == Wiring::Bridged => way.push(
            Station::dropped("bridge", format!("{} is a port of no bridge", device.link.name)).typing(prescription::online(vif)),
        ),
        None => {
            way.extend(link_of_its_own(examined, device, question));
            way.extend(through_host(examined, &device.link.name, question));
        }
    }
    way
}

fn set_up(vif: &Backend) -> Station {
    let station = "program";
    match (vif.hotplug_status.as_deref(), &vif.hotplug_error) {
        (Some("connected"), _) => Station::passes(station, "it was set up: hotplug-status is connected"),
        (Some("error"), Some(error)) => {
            Station::dropped(station, format!("it was not set up: {error}")).typing(prescription::online(vif))
        }
        _ => Station::dropped(station, "it was not set up: hotplug-status is not connected").typing(prescription::online(vif)),
    }
}

fn guests_driver(vif: &Backend) -> Station {
    match vif.is_in_use() {
        true => Station::passes("guest", "the guest's driver is connected"),
        false => Station::perhaps(
            "guest",
            format!(
                "the guest's driver is not connected (backend state {}, 4 would be): does the guest run, and is its card up?",
                vif.state.unwrap_or(0)
            ),
        ),
    }
}

fn device_state(device: &Device) -> Station {
    let name = &device.link.name;
    match (device.link.state, device.carrier) {
        (AdminState::Down, _) => Station::dropped("device", format!("{name} is down")).typing(format!("ip link set {name} up")),
        (AdminState::Up, Switch::Off) => {
            Station::dropped("device", format!("{name} is up and has no link: the guest's card is down"))
        }
        (AdminState::Up, Switch::On) => Station::passes("device", format!("{name} is up, MTU {}{}", device.link.mtu, lost(device))),
    }
}

fn lost(device: &Device) -> String {
    match (device.lost.received, device.lost.sent) {
        (0, 0) => String::new(),
        (from, to) => format!("; so far {from} packets from and {to} to the guest were lost for want of room"),
    }
}

fn filter(examined: &Examined, device: &Device, question: &Question<'_>) -> Station {
    let Some(filtered) = examined.seen.filter.get(&device.link.name) else {
        return Station::passes("filter", "no filter holds the guest to its addresses");
    };
    let counted = match filtered.dropped {
        0 => "it has dropped nothing so far".to_owned(),
        1 => "it has dropped 1 packet so far".to_owned(),
        number => format!("it has dropped {number} packets so far"),
    };
    let filter = &filtered.filter;
    let own =
        |from: IpAddr| from == IpAddr::from(filter.link_local()) || filter.addresses.iter().any(|network| network.contains(from));
    let lets_pass = format!("the guest filter lets pass {filter}");
    match question.from.filter(|from| !own(*from)) {
        Some(from) => Station::dropped("filter", format!("{lets_pass}; {from} is none of these; {counted}")),
        None => Station::passes("filter", format!("{lets_pass}; {counted}")),
    }
}

fn over_bridge(examined: &Examined, device: &Device, bridge: &InterfaceName, question: &Question<'_>) -> Vec<Station> {
    let seen = &examined.seen;
    let mut way = vec![];
    let Some(master) = seen.device(bridge.as_str()) else { return way };
    way.push(match master.link.state {
        AdminState::Up => Station::passes("bridge", format!("{bridge} is up")),
        AdminState::Down => Station::dropped("bridge", format!("{bridge} is down")).typing(format!("ip link set {bridge} up")),
    });
    if let Some(state) = device.port_state {
        way.push(match state {
            PortState::Forwarding => Station::passes("port", format!("{} forwards", device.link.name)),
            other => Station::dropped("port", format!("{} is {}: spanning tree lets nothing pass", device.link.name, other.word()))
                .typing(format!("ip link set {bridge} type bridge stp_state 0")),
        });
    }
    if master.link.mtu < device.link.mtu {
        way.push(Station::perhaps(
            "MTU",
            format!("{bridge} takes {} bytes, the guest may send {}", master.link.mtu, device.link.mtu),
        ));
    }
    way.extend(bridge_chains(examined, device, bridge, question));
    if examined.kernel.bridged_packets == Switch::On {
        way.extend(chains(examined, bridge, Traffic::Bridged, question));
    }
    let own = seen.addresses_of(bridge).any(|address| !address.is_ipv6_link_local());
    let near = question.to.is_some_and(|to| seen.addresses_of(bridge).any(|address| address.network.contains(to)));
    let private = examined.remembered.sessions.bridges().any(|name| name == bridge);
    if seen.uplinks_of(bridge).next().is_some() {
        way.extend(seen.uplinks_of(bridge).map(|port| {
            match (port.link.state, port.carrier) {
                (AdminState::Up, Switch::On) => Station::passes("uplink", format!("{} leads out and has a link", port.link.name)),
                (AdminState::Down, _) => Station::dropped("uplink", format!("{} leads out and is down", port.link.name))
                    .typing(format!("ip link set {} up", port.link.name)),
                (AdminState::Up, Switch::Off) => {
                    Station::dropped("uplink", format!("{} leads out and has no link", port.link.name))
                }
            }
        }));
    } else if (own || private) && !near {
        way.extend(through_host(examined, bridge, question));
    } else if !own {
        way.push(Station::perhaps("bridge", format!("{bridge} has no way out and no address: only its own guests are reached")));
    }
    way
}

/// Stations of a guest whose gateway is this host, on a link of its own.
fn link_of_its_own(examined: &Examined, device: &Device, question: &Question<'_>) -> Vec<Station> {
    let name = &device.link.name;
    let mut way = vec![];
    let value = |family, key: &str| {
        let sysctl = Sysctl::of_device(family, name, &SysctlKey::new(key).ok()?);
        examined.settings.get(&sysctl).map(|value| (sysctl.to_string(), value.clone()))
    };
    if let Some((sysctl, proxy)) = value(Family::V4, "proxy_arp") {
        way.push(match proxy.as_str() {
            "0" => Station::dropped("gateway", format!("{sysctl} is 0: the guest asks for its gateway's Ethernet address in vain"))
                .typing(format!("sysctl -w {sysctl}=1")),
            _ => Station::passes("gateway", format!("the host answers for whatever gateway the guest has ({sysctl} is 1)")),
        });
    }
    if let Some(from) = question.from {
        let leads = examined
            .routes
            .iter()
            .any(|route| route.uses(name) && route.destination.prefix() > 0 && route.destination.contains(from));
        let strict = value(Family::V4, "rp_filter").filter(|(_, value)| value == "1" && from.is_ipv4());
        way.push(match (leads, strict) {
            (true, _) => Station::passes("route back", format!("{from} is behind {name}")),
            (false, Some((sysctl, _))) => Station::dropped(
                "reverse path",
                format!("no route leads to {from} over {name}, and {sysctl} is 1: packets from there are dropped unseen"),
            )
            .typing(add_route(from, name)),
            (false, None) => {
                Station::dropped("route back", format!("no route leads to {from} over {name}: answers do not find the guest"))
                    .typing(add_route(from, name))
            }
        });
    }
    way
}

fn add_route(address: IpAddr, device: &InterfaceName) -> String {
    let six = if address.is_ipv6() { "-6 " } else { "" };
    format!("ip {six}route add {address} dev {device}")
}

/// Stations inside the host as a router: forwarding, the route, the chains, the translation.
fn through_host(examined: &Examined, device: &InterfaceName, question: &Question<'_>) -> Vec<Station> {
    let mut way = vec![];
    if let Some(local) = question.to.and_then(|to| examined.seen.addresses.iter().find(|address| address.network.ip() == to)) {
        way.push(Station::passes("host", format!("{} is this host itself ({})", local.network.ip(), local.device)));
        return way;
    }
    let family = question.to.or(question.from).map_or(Family::V4, Family::of);
    let forwarding = SysctlKey::new("forwarding").ok().map(|key| Sysctl::of_host(family, &key));
    if let Some((sysctl, value)) = forwarding.and_then(|sysctl| Some((sysctl.to_string(), examined.settings.get(&sysctl)?))) {
        way.push(match value.as_str() {
            "0" => Station::dropped("forwarding", format!("{sysctl} is 0: the host forwards nothing"))
                .typing(format!("sysctl -w {sysctl}=1")),
            _ => Station::passes("forwarding", format!("the host forwards ({sysctl} is {value})")),
        });
    }
    if let Some(to) = question.to {
        way.push(match &question.way {
            Some(out) => Station::passes("route", format!("{to} is reached by {out}")),
            None => Station::dropped("route", format!("no route leads to {to}")),
        });
    }
    way.extend(chains(examined, device, Traffic::FromAndTo, question));
    let out = question.way.as_ref().or(examined.seen.uplink.as_ref()).filter(|out| !examined.seen.is_guests(out));
    way.extend(out.map(|out| translation(examined, question, family, out)));
    way
}

/// What is known of the packet between two devices.
fn packet(examined: &Examined, question: &Question<'_>, from: &InterfaceName, to: Option<&InterfaceName>) -> Packet {
    let device = |name: &InterfaceName| {
        let number = examined.seen.device(name.as_str())?.link.index?;
        Some(nftables::Device { number, name: name.to_string() })
    };
    Packet {
        from: device(from),
        to: to.and_then(device),
        bridge: None,
        mac: question.vif.mac.map(|mac| mac.octets()),
        source: question.from,
        destination: question.to,
        protocol: question.protocol,
    }
}

/// Chains of others that see what a bridge passes from port to port, where there are any.
fn bridge_chains(examined: &Examined, device: &Device, bridge: &InterfaceName, question: &Question<'_>) -> Vec<Station> {
    let Ok(ruleset) = question.ruleset else { return vec![] };
    let mut uplinks = examined.seen.uplinks_of(bridge).map(|port| &port.link.name);
    let to = match (uplinks.next(), uplinks.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    };
    let packet = Packet { bridge: Some(bridge.to_string()), ..packet(examined, question, &device.link.name, to) };
    let passages = ruleset.passages(&[ChainFamily::Bridge], &packet);
    passages.into_iter().map(|passage| Station::new("bridge filter", passage.fate, passage.why)).collect()
}

/// Chains of others that see what the host forwards.
fn chains(examined: &Examined, device: &InterfaceName, traffic: Traffic, question: &Question<'_>) -> Vec<Station> {
    let Ok(firewall) = &examined.firewall else {
        return vec![Station::perhaps("packet filter", "its chains could not be looked at")];
    };
    let to = match traffic {
        Traffic::Bridged => Some(device),
        Traffic::FromAndTo => question.way.as_ref(),
    };
    let mut stations = vec![];
    match question.ruleset {
        Ok(ruleset) => {
            let packet = packet(examined, question, device, to);
            for passage in ruleset.passages(&[ChainFamily::Ip, ChainFamily::Ip6, ChainFamily::Inet], &packet) {
                let mut station = Station::new("packet filter", passage.fate, passage.why);
                let dropping = firewall.dropping_chains.iter().find(|dropping| is_same(&dropping.chain, passage.chain));
                let lacking = dropping.filter(|dropping| !has_ours(firewall, dropping, device, traffic));
                if let Some(dropping) = lacking.filter(|_| passage.fate != Fate::Passes) {
                    station = prescription::accept(dropping, device, traffic).into_iter().fold(station, Station::typing);
                }
                stations.push(station);
            }
        }
        Err(reason) => stations.push(Station::perhaps("packet filter", format!("its chains could not be looked at: {reason}"))),
    }
    let legacy = firewall.dropping_chains.iter().filter(|dropping| dropping.chain.keeper == ChainKeeper::LegacyTables);
    stations.extend(legacy.map(|dropping| legacy_chain(firewall, dropping, device, traffic)));
    if stations.is_empty() {
        stations.push(Station::passes("packet filter", "nobody else has a chain in nf_tables where packets are forwarded"));
    }
    stations
}

fn is_same(known: &ForwardChain, chain: &ChainId) -> bool {
    known.keeper == ChainKeeper::NfTables
        && known.family.to_string() == chain.table.family.to_string()
        && known.table == chain.table.name.to_string()
        && known.name == chain.name.to_string()
}

fn has_ours(firewall: &Firewall, dropping: &DroppingChain, device: &InterfaceName, traffic: Traffic) -> bool {
    let covers = |seen| seen == traffic || seen == Traffic::FromAndTo;
    let is_it = |accept: &&ForwardAccept| accept.chain == dropping.chain && accept.device == *device && covers(accept.traffic);
    firewall.accepts.iter().any(|accept| is_it(&accept))
}

/// A chain of iptables-legacy, whose single rules are not read.
fn legacy_chain(firewall: &Firewall, dropping: &DroppingChain, device: &InterfaceName, traffic: Traffic) -> Station {
    let chain = &dropping.chain;
    if has_ours(firewall, dropping, device, traffic) {
        return Station::passes(
            "packet filter",
            format!("the chain {chain} of iptables-legacy drops what it does not know, and has our rule for {device}"),
        );
    }
    let station = Station::perhaps(
        "packet filter",
        format!("the chain {chain} of iptables-legacy drops what none of its rules accepts, and has no rule of ours for {device}"),
    );
    prescription::accept(dropping, device, traffic).into_iter().fold(station, Station::typing)
}

fn translation(examined: &Examined, question: &Question<'_>, family: Family, out: &InterfaceName) -> Station {
    let wanted = Masquerade { family, device: out.clone() };
    let held = examined.firewall.as_ref().is_ok_and(|firewall| firewall.masquerades.contains(&wanted));
    let own = question.from.map_or("the guest's own address".to_owned(), |from| from.to_string());
    let reachable = question.from.is_some_and(|from| examined.seen.addresses_of(out).any(|address| address.network.contains(from)));
    match (held, question.vif.wiring()) {
        (true, _) => Station::passes("translation", format!("it leaves by {out} with this host's address")),
        (false, _) if reachable => {
            Station::passes("translation", format!("it leaves by {out} with {own}, which is of the network there"))
        }
        (false, Wiring::Translated) => {
            Station::dropped("translation", format!("it leaves by {out} with {own}, which nobody out there knows the way back to"))
                .typing(format!("{}/network-nat start netdev={out}", prescription::SCRIPTS))
        }
        (false, _) => Station::perhaps(
            "translation",
            format!(
                "it leaves by {out} with {own}: answers come back only if the router there has a route to it by way of this host"
            ),
        ),
    }
}

/// The answer as text.
#[must_use]
pub fn text(seen: &Seen, question: &Question<'_>, stations: &[Station], style: Style) -> String {
    let vif = question.vif;
    let mut text = style.paint(Hue::Name, &seen.words_of(vif));
    let details = [
        vif.uuid.as_ref().map(|uuid| format!("UUID {uuid}")),
        vif.mac.map(|mac| mac.to_string()),
        vif.script.clone(),
        question.from.map(|from| format!("from {from}")),
        question.to.map(|to| format!("to {to}")),
    ];
    for detail in details.into_iter().flatten() {
        let _ = write!(text, ", {detail}");
    }
    text.push('\n');
    for station in stations {
        let (sign, hue) = match station.fate {
            Fate::Passes => (Sign::Good, Hue::Good),
            Fate::Perhaps => (Sign::Unknown, Hue::Doubt),
            Fate::Dropped => (Sign::Bad, Hue::Bad),
        };
        let mut head = format!("{:<14}", station.station);
        for line in broken(&station.why, 80) {
            let mark = if head.trim().is_empty() { " " } else { style.sign(sign) };
            let _ = writeln!(text, "{} {head}{line}", style.paint(hue, mark));
            head = " ".repeat(14);
        }
        for command in &station.commands {
            let _ = writeln!(text, "  {:<14}{}", "", style.paint(Hue::Name, command));
        }
    }
    let conclusion = match stations.iter().map(|station| station.fate).max_by_key(|fate| *fate as u8) {
        Some(Fate::Dropped) => style.paint(Hue::Bad, "The packet is dropped."),
        Some(Fate::Perhaps) => style.paint(Hue::Doubt, "The packet may be dropped."),
        _ => style.paint(Hue::Good, "Nothing that was looked at drops the packet."),
    };
    let _ = writeln!(text, "{conclusion}");
    text
}
