//! vif-route and vif-nat: a point-to-point link between dom0 and a guest, and a route for each of the guest's addresses.

use std::iter;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use ipnetwork::IpNetwork;

use crate::dhcp::{Guest, HostName, Server};
use crate::guest_filter::{GuestFilter, Way, is_single};
use crate::host::{
    Address, AddressFlags, Family, Holder, Host, KERNEL_PROTOCOL, LINK_SCOPE, Lifetimes, MAIN_TABLE, Neighbour, NeighbourKind,
    NextHop, Path, Route, Switch, UNICAST,
};
use crate::interface_name::InterfaceName;
use crate::operation::{HookCall, LinkChange, Membership, Operation};
use crate::plan::draft::Draft;
use crate::plan::vif::{announce, set_what_is_missing, settle_name};
use crate::plan::{Plan, Refusal, dhcp, forwarding, guest_filter};
use crate::request::routed::{IPV6_GATEWAY, Routed, Routing, metric_of, other_ends, router_of};
use crate::request::vif::{Vif, VifKind};
use crate::sysctl::{Sysctl, SysctlKey};

/// `RTPROT_BOOT`: a route that somebody put there by hand, as the scripts' `ip route add` does.
const BOOT_PROTOCOL: u8 = 3;
/// `RT_SCOPE_HOST` and its like are for IPv4; IPv6 has routes of scope 0 only.
const GLOBAL_SCOPE: u8 = 0;
/// Medium preference, which the kernel shows for every IPv6 route (RFC 4191).
const MEDIUM_PREFERENCE: u8 = 0;

/// What stays on the host when a vif's device goes, and so has to be remembered: a file of ours, and the entries in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Where it lies.
    pub path: PathBuf,
}

impl Memory {
    /// What `host` remembers. A file that makes no sense is none of ours, and forgotten.
    fn entries(&self, host: &Host) -> Vec<Neighbour> {
        let text = host.files.get(&self.path).and_then(Option::as_deref);
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    /// Puts `wanted` on the host and remembers it, in place of what an earlier vif of this name has left. What is there already without
    /// being remembered is somebody else's.
    fn keep(&self, draft: &mut Draft, wanted: Vec<Neighbour>) {
        let before = self.entries(&draft.host);
        for old in before.iter().filter(|old| !wanted.contains(old)) {
            draft.may(Operation::DeleteNeighbour(old.clone()));
        }
        let ours: Vec<Neighbour> =
            wanted.into_iter().filter(|entry| before.contains(entry) || !draft.host.neighbours.contains(entry)).collect();
        if ours.is_empty() {
            return self.forget(draft);
        }
        if ours != before {
            let text = format!("{}\n", serde_json::json!(ours));
            draft.must(Operation::WriteFile { path: self.path.clone(), text });
        }
        for entry in ours.into_iter().filter(|entry| !draft.host.neighbours.contains(entry)).collect::<Vec<_>>() {
            draft.must(Operation::AddNeighbour(entry));
        }
    }

    fn forget(&self, draft: &mut Draft) {
        if draft.host.files.get(&self.path).is_some_and(Option::is_some) {
            draft.forget(Operation::RemoveFile(self.path.clone()));
        }
    }
}

/// Where dom0 is on the link, and what it does for the guest on the uplink.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct Ends {
    /// dom0's own addresses on the vif.
    own: Vec<IpNetwork>,
    /// The source of what dom0 itself sends to the guest, for each family.
    source: Vec<IpAddr>,
}

impl Ends {
    /// dom0's own IPv4 address on the link.
    fn ipv4(&self) -> Option<Ipv4Addr> {
        self.own.iter().find_map(|own| match own.ip() {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
    }

    fn source_of(&self, family: Family) -> Option<IpAddr> {
        self.source.iter().copied().find(|address| Family::of(*address) == family)
    }
}

/// The device that leads out of the host, where the plan has a use for it, to take its address or to answer for the guest on it: as asked, else
/// that of the first of `defaults`, else eth0.
#[must_use]
pub fn uplink_of(routed: &Routed, defaults: &[Route]) -> Option<InterfaceName> {
    let default_device = || defaults.iter().find_map(|route| route.path.first_device().cloned());
    let device = || routed.uplink.clone().or_else(default_device).or_else(|| "eth0".parse().ok());
    uses_uplink(routed).then(device).flatten()
}

/// Whether the device that [`uplink_of`] gives follows from the default routes.
#[must_use]
pub fn follows_default_route(routed: &Routed) -> bool {
    uses_uplink(routed) && routed.uplink.is_none()
}

fn uses_uplink(routed: &Routed) -> bool {
    match routed.routing {
        Routing::Plain => routed.gateways.ipv4.is_none() || routed.has_ipv6(),
        Routing::Translated => false,
    }
}

/// What a plan needs besides the vif and the host.
#[derive(Clone, Debug)]
pub struct Surroundings<'a> {
    /// The device that leads out of the host.
    pub uplink: Option<&'a InterfaceName>,
    /// Where what outlives the vif's device is remembered; nothing where nothing does.
    pub memory: Option<&'a Memory>,
    /// The server that gives the guest its address, where one is wished for.
    pub dhcp: Option<&'a Server>,
    /// What the guest is held to.
    pub filter: Option<GuestFilter>,
    /// The hooks to run.
    pub hooks: Option<HookCall>,
}

/// A vif comes: the steps that make it a link of its own.
///
/// # Errors
/// When its device is not there, its new name is taken, or dom0 has no address for the link.
pub fn online(routed: &Routed, around: Surroundings<'_>, host: &Host) -> Result<Plan, Refusal> {
    let ends = match routed.routing {
        Routing::Plain => ends_of_plain(routed, around.uplink, host)?,
        Routing::Translated => ends_of_translated(routed, host)?,
    };
    check_own_addresses(routed, host, &ends)?;
    check_routers(routed, host)?;
    let device = routed.vif.present(host)?;
    let mut draft = Draft::new(host);
    let name = settle_name(&mut draft, &routed.vif, device)?;
    leave_other_networks(&mut draft, &name, &ends);
    guest_filter::enforce(&mut draft, &routed.vif, &name, Way::Routed, around.filter);
    write_settings(&mut draft, &name, routed);
    bring_up(&mut draft, &name, routed, &ends);
    lead_to_guest(&mut draft, &name, routed, &ends);
    if let Some(memory) = around.memory {
        memory.keep(&mut draft, proxies(routed, around.uplink, host));
    }
    forwarding::accept(&mut draft, &name);
    if let (Some(server), VifKind::Vif) = (around.dhcp, routed.vif.kind) {
        offer_address(&mut draft, server, routed, &ends, &name)?;
    }
    let hooks = around.hooks.map(|call| told(call, routed, &ends, &name, around.dhcp));
    announce(&mut draft, &routed.vif, hooks, routed.vif.mtu.bytes());
    draft.plan.notes.extend(note_of_no_address(routed));
    Ok(draft.plan)
}

fn note_of_no_address(routed: &Routed) -> Option<String> {
    routed.destinations.is_empty().then(|| {
        format!(
            "no route leads to the guest of {}: its configuration gives no address (ip=), so nobody can reach it",
            routed.vif.device
        )
    })
}

/// The guest's entry at the DHCP server, which knows it by its Ethernet address.
fn offer_address(draft: &mut Draft, server: &Server, routed: &Routed, ends: &Ends, name: &InterfaceName) -> Result<(), Refusal> {
    let (Some(address), Some(router)) = (routed.first_ipv4(), ends.ipv4()) else {
        draft.plan.notes.push(format!("the guest of {name} has no IPv4 address that DHCP could give it"));
        return Ok(());
    };
    let Some(mac) = routed.mac else {
        return Err(Refusal::plain(format!(
            "DHCP knows a guest by its Ethernet address, and XenStore says none for {}: set its key mac, or say dhcp=no",
            routed.vif.device
        )));
    };
    let (domain, handle) = routed.vif.numbers();
    let guest = Guest { name: HostName::of_guest(domain, handle), mac, address, router, device: name.clone() };
    dhcp::offer(draft, server, &guest)
}

/// Hooks see the addresses at both ends, and the DHCP server's files, by the names that vif-nat gives them.
fn told(call: HookCall, routed: &Routed, ends: &Ends, name: &InterfaceName, dhcp: Option<&Server>) -> HookCall {
    let mut call = routed.vif.told(call, None, Some(name));
    call.variables.extend(dhcp.map(Server::hook_variables).unwrap_or_default());
    let router = ends.ipv4().map(|address| address.to_string());
    let guest = routed.first_ipv4().map(|address| address.to_string());
    call.variables.push(("vif_ip".to_owned(), guest.unwrap_or_default()));
    call.variables.push(("router_ip".to_owned(), router.unwrap_or_default()));
    call
}

/// A vif goes: whatever is left of it is taken away. Nothing that is missing is an error.
#[must_use]
pub fn offline(vif: &Vif, around: Surroundings<'_>, host: &Host) -> Plan {
    let mut draft = Draft::new(host);
    let device = vif.leftover(host).map(|link| link.name.clone());
    if let Some(name) = &device {
        take_down(&mut draft, name);
    }
    guest_filter::forget(&mut draft, vif, Way::Routed);
    if let Some(memory) = around.memory {
        for old in memory.entries(host) {
            draft.may(Operation::DeleteNeighbour(old));
        }
        memory.forget(&mut draft);
    }
    for name in vif.names() {
        forwarding::withdraw(&mut draft, name);
        if let Some(server) = around.dhcp {
            dhcp::withdraw(&mut draft, server, name);
        }
    }
    if let Some(call) = around.hooks {
        draft.may(Operation::RunHooks(vif.told(call, None, device.as_ref())));
    }
    draft.plan
}

/// Down, which takes all routes, neighbours and IPv6 addresses along, and without the rest.
fn take_down(draft: &mut Draft, name: &InterfaceName) {
    let change = LinkChange { membership: Some(Membership::Free), ..LinkChange::down() };
    let missing = draft.host.link(name).map(|link| change.missing_from(link)).unwrap_or_default();
    if !missing.is_empty() {
        draft.may(Operation::SetLink { device: name.clone(), change: missing });
    }
    let addresses: Vec<Address> = draft.host.addresses_of(name).rev().cloned().collect();
    for address in addresses {
        draft.may(Operation::DeleteAddress(address));
    }
}

/// dom0 is on every link with the address that it has on the uplink.
fn ends_of_plain(routed: &Routed, uplink: Option<&InterfaceName>, host: &Host) -> Result<Ends, Refusal> {
    let mut ends = Ends::default();
    let on_uplink = |family: Family| uplink.and_then(|uplink| main_address(host, uplink, family));
    let ipv4 = routed.gateways.ipv4.map(IpAddr::from).or_else(|| on_uplink(Family::V4));
    let needed = routed.destinations.is_empty() || routed.destinations.iter().any(IpNetwork::is_ipv4);
    match ipv4 {
        Some(address) => {
            ends.own.push(IpNetwork::from(address));
            ends.source.push(address);
        }
        None if needed => return Err(no_address(uplink)),
        None => {}
    }
    add_ipv6_end(&mut ends, routed);
    ends.source.extend(on_uplink(Family::V6).filter(|_| routed.gateways.ipv6.is_none() && routed.has_ipv6()));
    Ok(ends)
}

fn no_address(uplink: Option<&InterfaceName>) -> Refusal {
    let name = uplink.map_or("the uplink", |uplink| uplink.as_str());
    Refusal {
        reason: format!(
            "{name} has no IPv4 address that the link to the guest could use: bring it up, name another device with netdev=, or give an address with gateway="
        ),
        for_guest: "The interface could not be set up: the host has no address for the link".to_owned(),
    }
}

/// The next address whose holder [`online`] must know of: those at both ends of vif-nat's link, and, where the usual end is another guest's,
/// further ones until one is free.
#[must_use]
pub fn unknown_holder(routed: &Routed, host: &Host) -> Option<Ipv4Addr> {
    let guest = routed.first_ipv4().filter(|_| routed.routing == Routing::Translated)?;
    let unknown = |address: &Ipv4Addr| !host.holders.contains_key(address);
    Some(guest).filter(unknown).or_else(|| free_end(routed, host).filter(unknown))
}

/// Where dom0 may be on vif-nat's link, the usual address first.
fn possible_ends(routed: &Routed) -> impl Iterator<Item = Ipv4Addr> {
    let (asked, subnet) = (routed.gateways.ipv4, routed.subnet);
    let of_guest = move |guest| iter::once(router_of(guest, subnet)).chain(other_ends(guest, subnet));
    asked.into_iter().chain(routed.first_ipv4().filter(|_| asked.is_none()).into_iter().flat_map(of_guest))
}

/// The first of them that is not known to be another guest's.
fn free_end(routed: &Routed, host: &Host) -> Option<Ipv4Addr> {
    possible_ends(routed).find(|end| other_holder(*end, routed, host).is_none())
}

/// Whoever else has an address that dom0 is to have on this link.
fn other_holder<'a>(end: Ipv4Addr, routed: &Routed, host: &'a Host) -> Option<&'a Holder> {
    host.holders.get(&end).filter(|holder| match holder {
        Holder::Behind(device) => !routed.vif.names().any(|own| own == device),
        Holder::Claimed => true,
        // Links may share an end.
        Holder::Host(_) | Holder::Nobody => false,
    })
}

/// The end worked out of the guest's address may be another guest's address: that one would be cut off.
fn end_of_translated(routed: &Routed, host: &Host) -> Result<Option<Ipv4Addr>, Refusal> {
    if let Some(free) = free_end(routed, host) {
        return Ok(Some(free));
    }
    let Some(usual) = possible_ends(routed).next() else { return Ok(None) };
    let whose = match other_holder(usual, routed, host) {
        Some(Holder::Behind(device)) => format!("the guest at {device}"),
        _ => "a guest that is coming up at this moment".to_owned(),
    };
    Err(Refusal {
        reason: format!("this host's end of the link, {usual}, is the address of {whose}: name another one with gateway="),
        for_guest: "The interface could not be set up: the address of its gateway is in use".to_owned(),
    })
}

/// dom0's end follows from the guest's address.
fn ends_of_translated(routed: &Routed, host: &Host) -> Result<Ends, Refusal> {
    let mut ends = Ends::default();
    let ipv4 = end_of_translated(routed, host)?;
    if ipv4.is_none() && routed.destinations.iter().any(IpNetwork::is_ipv4) {
        return Err(Refusal::plain(
            "ip= gives networks only: give the guest's own address first, or this host's end with gateway=",
        ));
    }
    if let Some(address) = ipv4.map(IpAddr::from) {
        ends.own.push(IpNetwork::from(address));
        ends.source.push(address);
    }
    add_ipv6_end(&mut ends, routed);
    Ok(ends)
}

/// A guest finds its IPv6 router at the same place whatever the host's addresses are.
fn add_ipv6_end(ends: &mut Ends, routed: &Routed) {
    if !routed.has_ipv6() && routed.gateways.ipv6.is_none() {
        return;
    }
    ends.own.extend(IpNetwork::new(IPV6_GATEWAY.into(), 64));
    if let Some(gateway) = routed.gateways.ipv6.filter(|gateway| *gateway != IPV6_GATEWAY) {
        let length = if gateway.is_unicast_link_local() { 64 } else { 128 };
        ends.own.extend(IpNetwork::new(gateway.into(), length));
        ends.source.extend(Some(IpAddr::from(gateway)).filter(|_| length == 128));
    }
}

/// The first address of global scope that is not on its way out.
fn main_address(host: &Host, device: &InterfaceName, family: Family) -> Option<IpAddr> {
    let usable =
        |address: &&Address| address.family() == family && address.scope == GLOBAL_SCOPE && address.lifetimes.preferred != Some(0);
    host.addresses_of(device).find(usable).map(|address| address.network.ip())
}

/// A guest with an address of dom0's own would get nothing and take nothing: the host keeps its own packets.
fn check_own_addresses(routed: &Routed, host: &Host, ends: &Ends) -> Result<(), Refusal> {
    let is_other = |device: &InterfaceName| !routed.vif.names().any(|own| own == device);
    let is_on_another_device = |address: &IpAddr| {
        let holder = match address {
            IpAddr::V4(address) => host.holders.get(address),
            IpAddr::V6(_) => None,
        };
        matches!(holder, Some(Holder::Host(device)) if is_other(device))
            || host.addresses.iter().any(|seen| seen.network.ip() == *address && is_other(&seen.device))
    };
    let taken = |address: &IpAddr| ends.own.iter().any(|own| own.ip() == *address) || is_on_another_device(address);
    let claimed = |address: &IpAddr| matches!(address, IpAddr::V4(address) if host.holders.get(address) == Some(&Holder::Claimed));
    let refused =
        |reason: String| Err(Refusal { reason, for_guest: "The interface could not be set up: its address is in use".to_owned() });
    if let Some(address) = routed.single_addresses().find(taken) {
        return refused(format!(
            "the guest's address {address} is an address of this host's own, perhaps its end of another guest's link: give the guest another one with ip=, or this host another end of the link with gateway="
        ));
    }
    if let Some(address) = routed.single_addresses().find(claimed) {
        return refused(format!(
            "the guest's address {address} is kept by another run, for the end of another guest's link or for a guest with the same address: give the guest another one with ip="
        ));
    }
    Ok(())
}

/// A route to the guest that is narrower than the uplink's network would keep this host from its router, and the uplink's network as well, which this
/// host answers for the guest. A guest that is the router itself is reached over its own device.
fn check_routers(routed: &Routed, host: &Host) -> Result<(), Refusal> {
    let is_other = |device: &InterfaceName| !routed.vif.names().any(|own| own == device);
    let hops = host.routes.iter().filter(|route| route.is_default()).flat_map(|route| route.path.next_hops());
    for hop in hops {
        let (Some(device), Some(router)) = (hop.device.as_ref().filter(|device| is_other(device)), hop.gateway) else { continue };
        let is_narrower = |network: &IpNetwork| {
            let mut around = host.addresses_of(device).map(|own| own.network).filter(|own| own.contains(router));
            is_single(network) || around.any(|own| own.prefix() < network.prefix())
        };
        if routed.destinations.iter().any(|network| network.contains(router) && is_narrower(network)) {
            return Err(Refusal {
                reason: format!(
                    "{router}, an address of the guest, is that of the router at {device}: this host and its network would take the guest for the router; give the guest other addresses with ip="
                ),
                for_guest: "The interface could not be set up: its address is in use".to_owned(),
            });
        }
    }
    Ok(())
}

/// Out of any bridge, and without addresses and routes that an earlier configuration has left.
fn leave_other_networks(draft: &mut Draft, name: &InterfaceName, ends: &Ends) {
    let free = LinkChange { membership: Some(Membership::Free), ..LinkChange::default() };
    set_what_is_missing(draft, name, &free);
    let stale: Vec<Address> = draft
        .host
        .addresses_of(name)
        .rev()
        .filter(|address| !address.is_ipv6_link_local() && !ends.own.contains(&address.network))
        .cloned()
        .collect();
    for address in stale {
        draft.may(Operation::DeleteAddress(address));
    }
}

/// The host answers for all the world on the link, and takes no router advertisement from a guest.
fn write_settings(draft: &mut Draft, name: &InterfaceName, routed: &Routed) {
    set_sysctl(draft, Family::V4, name, "proxy_arp", "1");
    if routed.has_ipv6() {
        set_sysctl(draft, Family::V6, name, "accept_ra", "0");
    }
}

fn set_sysctl(draft: &mut Draft, family: Family, device: &InterfaceName, key: &str, value: &str) {
    let Ok(key) = SysctlKey::new(key) else { return };
    let sysctl = Sysctl::of_device(family, device, &key);
    // A kernel without IPv6 has no such setting, and needs none.
    if draft.host.sysctls.get(&sysctl).is_some_and(|seen| seen != value) {
        draft.must(Operation::WriteSysctl { sysctl, value: value.to_owned() });
    }
}

/// The settings of the vif's `device` that the plan looks at when it comes.
#[must_use]
pub fn settings_of(routed: &Routed, device: &InterfaceName) -> Vec<Sysctl> {
    let setting = |family, key| SysctlKey::new(key).ok().map(|key| Sysctl::of_device(family, device, &key));
    let ipv6 = routed.has_ipv6().then(|| setting(Family::V6, "accept_ra")).flatten();
    setting(Family::V4, "proxy_arp").into_iter().chain(ipv6).collect()
}

/// Whether something on the host is to be remembered for when the vif's device goes.
#[must_use]
pub fn leaves_something(routed: &Routed) -> bool {
    routed.routing == Routing::Plain && routed.single_addresses().any(|address| address.is_ipv6())
}

fn bring_up(draft: &mut Draft, name: &InterfaceName, routed: &Routed, ends: &Ends) {
    for own in &ends.own {
        let address = own_address(name, *own);
        if !draft.host.addresses_of(name).any(|seen| seen.same_entry(&address)) {
            draft.must(Operation::AddAddress(address));
        }
    }
    set_what_is_missing(draft, name, &LinkChange { mtu: routed.vif.mtu.bytes(), ..LinkChange::up() });
}

fn own_address(device: &InterfaceName, network: IpNetwork) -> Address {
    let ipv6 = network.is_ipv6();
    let local = matches!(network.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local());
    Address {
        device: device.clone(),
        network,
        peer: None,
        broadcast: None,
        label: (!ipv6).then(|| device.to_string()),
        scope: if local { LINK_SCOPE } else { GLOBAL_SCOPE },
        // Nobody else is on the link whose address it could be, but a guest that could keep us off by claiming it.
        flags: AddressFlags(if ipv6 { AddressFlags::NO_DAD } else { 0 }),
        lifetimes: Lifetimes::default(),
        metric: None,
        origin: None,
    }
}

/// Routes to the guest's addresses, in place of any others over this device, and the guest's Ethernet address for each of them.
fn lead_to_guest(draft: &mut Draft, name: &InterfaceName, routed: &Routed, ends: &Ends) {
    let wanted: Vec<Route> = routed.destinations.iter().map(|destination| route_to(*destination, name, routed, ends)).collect();
    // A default route over the guest is the administrator's: no guest gets one from us.
    let ours = |route: &&Route| route.protocol != KERNEL_PROTOCOL && route.table == MAIN_TABLE && !route.is_default();
    let stale: Vec<Route> = draft.host.routes_over(name).filter(ours).filter(|route| !wanted.contains(route)).cloned().collect();
    for route in stale {
        draft.may(Operation::DeleteRoute(route));
    }
    for route in wanted {
        if !draft.host.routes.contains(&route) {
            draft.must(Operation::AddRoute(route));
        }
    }
    let Some(mac) = routed.mac else { return };
    for address in routed.single_addresses() {
        let entry = Neighbour { device: name.clone(), address, kind: NeighbourKind::Permanent(mac) };
        if !draft.host.neighbours.contains(&entry) {
            // Without it the first packet waits for the guest's answer; nothing else is lost.
            draft.may(Operation::AddNeighbour(entry));
        }
    }
}

fn route_to(destination: IpNetwork, device: &InterfaceName, routed: &Routed, ends: &Ends) -> Route {
    let family = if destination.is_ipv4() { Family::V4 } else { Family::V6 };
    let hop = NextHop { device: Some(device.clone()), gateway: None, weight: 1, on_link: Switch::Off, other: vec![] };
    Route {
        destination,
        source: None,
        table: MAIN_TABLE,
        kind: UNICAST,
        protocol: BOOT_PROTOCOL,
        scope: if family == Family::V4 { LINK_SCOPE } else { GLOBAL_SCOPE },
        tos: 0,
        metric: metric_of(routed.vif.kind),
        preferred_source: ends.source_of(family),
        path: Path::Single(hop),
        expires: None,
        preference: (family == Family::V6).then_some(MEDIUM_PREFERENCE),
        other: vec![],
    }
}

/// The uplink answers neighbour solicitations for each single IPv6 address of a plainly routed guest; for IPv4, `proxy_arp` of the uplink
/// does that for all guests at once.
fn proxies(routed: &Routed, uplink: Option<&InterfaceName>, host: &Host) -> Vec<Neighbour> {
    let Some(uplink) = uplink.filter(|uplink| routed.routing == Routing::Plain && host.link(uplink).is_some()) else {
        return vec![];
    };
    let ipv6 = routed.single_addresses().filter(IpAddr::is_ipv6);
    ipv6.map(|address| Neighbour { device: uplink.clone(), address, kind: NeighbourKind::Proxy }).collect()
}
