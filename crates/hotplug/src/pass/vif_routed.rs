//! One pass of vif-route or vif-nat.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use super::vif::{self, Asked, Decision, Hooks};
use crate::dhcp::{DhcpWish, Server, dnsmasq};
use crate::guest_filter::{Tags, Way};
use crate::host::{AdminState, Family, Holder, Host, Route};
use crate::interface_name::InterfaceName;
use crate::invocation::{Invocation, Mode, shortened};
use crate::plan::Refusal;
use crate::plan::vif_routed::{self as recipe, Memory, Surroundings};
use crate::report::{Report, Trouble};
use crate::request::antispoof::{Addresses, ROUTED_NETWORK, TRANSLATED_NETWORK};
use crate::request::routed::{Routed, RoutedWords, Routing};
use crate::request::vif::Coming;
use crate::system::System;
use crate::system::dhcp::{self, About, find_server};
use crate::system::lock::{self, DeviceLock, Lock, LockError, LockName, Share};
use crate::system::state::{StateError, run_directory, state_path, sweep_beside};

/// Calls of vif-route: makes a guest's interface a link of its own, with a route for each of the guest's addresses.
///
/// # Errors
/// When the interface could not be set up; the guest's toolstack has then been told through XenStore.
pub fn route(invocation: &Invocation) -> Result<Report, Trouble> {
    vif::pass(invocation, Some(Way::Routed), Hooks::Sourced, |asked, system| decide(asked, system, Routing::Plain))
}

/// Calls of vif-nat: the same for a guest whose packets leave the host with the host's address.
///
/// # Errors
/// As for [`route`].
pub fn nat(invocation: &Invocation) -> Result<Report, Trouble> {
    vif::pass(invocation, Some(Way::Routed), Hooks::Sourced, |asked, system| decide(asked, system, Routing::Translated))
}

fn decide(asked: &Asked<'_>, system: &mut System, routing: Routing) -> Result<Decision, Trouble> {
    let memory = match routing {
        Routing::Plain => Some(memory(asked)?),
        Routing::Translated => None,
    };
    match asked.call.coming {
        Coming::Comes => comes(asked, system, routing, memory.as_ref()),
        Coming::Goes => goes(asked, system, routing, memory.as_ref()),
    }
}

/// Where what outlives the vif's device is remembered.
fn memory(asked: &Asked<'_>) -> Result<Memory, Refusal> {
    let path = state_path(&format!("{}.json", asked.call.device)).map_err(unusable)?;
    Ok(Memory { path })
}

/// Removes what a killed run has left half written of it. Of use to who writes it, and to who leaves nothing behind.
fn sweep(memory: Option<&Memory>) {
    if let Some(memory) = memory {
        sweep_beside(&memory.path);
    }
}

fn unusable(error: StateError) -> Refusal {
    Refusal { for_guest: "The interface could not be set up: see the host's log".to_owned(), reason: error.to_string() }
}

fn comes(asked: &Asked<'_>, system: &mut System, routing: Routing, memory: Option<&Memory>) -> Result<Decision, Trouble> {
    let variable = |name| asked.invocation.variable(name);
    let words = RoutedWords {
        gateway: variable("gateway"),
        subnet: variable("subnet"),
        netdev: variable("netdev"),
        gatewaydev: asked.value(asked.keys.gatewaydev.as_deref(), "gatewaydev"),
        mac: asked.keys.mac.as_deref(),
    };
    let routed = Routed::new(asked.vif.clone(), routing, &words)?;
    let wish = match routing {
        Routing::Plain => DhcpWish::No,
        Routing::Translated => DhcpWish::parse(variable("dhcp"))?,
    };
    if recipe::leaves_something(&routed) && asked.invocation.mode() == Mode::Act {
        run_directory().map_err(unusable)?;
        sweep(memory);
    }
    let mut host = observe(asked, system, memory)?;
    note_holders(asked, &routed, system, &mut host)?;
    if let Some(name) = asked.vif.leftover(&host).map(|link| link.name.clone()) {
        for sysctl in recipe::settings_of(&routed, &name) {
            system.note_setting_of_seen(&mut host, sysctl)?;
        }
    }
    let defaults = default_routes(&routed, system)?;
    let uplink = recipe::uplink_of(&routed, &defaults);
    host.routes.extend(defaults.into_iter().filter(|route| !host.routes.contains(route)).collect::<Vec<_>>());
    if let Some(uplink) = &uplink {
        observe_uplink(&routed, uplink, system, &mut host)?;
    }
    let device = asked.vif.renamed.as_ref().unwrap_or(&asked.vif.device);
    let mut found = Found::default();
    found.look(wish, About::Guest { device, address: routed.first_ipv4() }, asked.invocation.mode(), &mut host)?;
    let Found { dhcp, lock } = found;
    let network = match routing {
        Routing::Plain => ROUTED_NETWORK,
        Routing::Translated => TRANSLATED_NETWORK,
    };
    let addresses = match asked.vif.addresses.as_slice() {
        [] => Addresses::WorkedOut(&routed.destinations),
        _ => Addresses::Given(&routed.destinations),
    };
    let filter = asked.filter(Way::Routed, addresses, network, Tags::Refused, system)?;
    let around = Surroundings { uplink: uplink.as_ref(), memory, dhcp: dhcp.as_ref(), filter, hooks: asked.hooks.clone() };
    let mut plan = recipe::online(&routed, around, &host)?;
    plan.notes.extend(asked.keys.vlan.as_ref().map(|vlan| {
        format!("vlan={} of {} is of no use: VLANs are for ports of a bridge", shortened(vlan).escape_default(), asked.vif.device)
    }));
    Ok(Decision { plan, host, lock })
}

/// Notes who has the addresses at both ends of vif-nat's link, and keeps other runs from them: one that brings up the guest whose address is
/// this link's end would else see it as free, and so would we its.
fn note_holders(asked: &Asked<'_>, routed: &Routed, system: &mut System, host: &mut Host) -> Result<(), Trouble> {
    while let Some(address) = recipe::unknown_holder(routed, host) {
        match asked.lock.as_ref().map_or(Ok(()), |lock| claim(lock, address, routed)) {
            Ok(()) => system.note_holder(host, address)?,
            Err(LockError::Held { .. }) => {
                host.holders.insert(address, Holder::Claimed);
            }
            Err(LockError::Unusable(error)) => return Err(unusable(error).into()),
        }
    }
    Ok(())
}

/// How long the guest's address may be in use for the end of a link that another run sets up.
const ADDRESS_LIMIT: Duration = Duration::from_secs(10);

/// The guest's address is asked for first, and waited for. For an end there is another one.
fn claim(lock: &DeviceLock, address: Ipv4Addr, routed: &Routed) -> Result<(), LockError> {
    match routed.first_ipv4() {
        Some(guest) if guest == address => lock.claim_address(address, Share::WithNobody, ADDRESS_LIMIT),
        _ => lock.claim_address(address, Share::WithItsLike, Duration::ZERO),
    }
}

fn goes(asked: &Asked<'_>, system: &mut System, routing: Routing, memory: Option<&Memory>) -> Result<Decision, Trouble> {
    if asked.invocation.mode() == Mode::Act {
        sweep(memory);
    }
    let mut host = observe(asked, system, memory)?;
    let mut found = Found::default();
    if routing == Routing::Translated {
        for device in asked.vif.names() {
            let about = About::Guest { device, address: None };
            // The guest's address is of no use to anybody else before this is mended; its link goes all the same.
            if let Err(refusal) = found.look(wish_of_one_who_goes(asked), about, asked.invocation.mode(), &mut host) {
                log::warn!("{refusal}; the DHCP server is not told that {device} has gone");
            }
        }
    }
    let Found { dhcp, lock } = found;
    let around = Surroundings { uplink: None, memory, dhcp: dhcp.as_ref(), filter: None, hooks: asked.hooks.clone() };
    Ok(Decision { plan: recipe::offline(&asked.vif, around, &host), host, lock })
}

/// What was wished for when the guest came; where nobody says, whatever our own folder shows.
fn wish_of_one_who_goes(asked: &Asked<'_>) -> DhcpWish {
    match DhcpWish::parse(asked.invocation.variable("dhcp")) {
        Ok(DhcpWish::Unsaid) if Path::new(dnsmasq::GUESTS).is_dir() => DhcpWish::Dnsmasq,
        Ok(wish) => wish,
        Err(_) => DhcpWish::Unsaid,
    }
}

/// The DHCP server, and what keeps others from its files.
#[derive(Default)]
struct Found {
    dhcp: Option<Server>,
    lock: Option<Lock>,
}

impl Found {
    /// Looks for the server and at its files. Those of ISC dhcpd are shared by all guests, and with Xen's scripts: they are read again
    /// under the lock, which is kept until they have been written.
    fn look(&mut self, wish: DhcpWish, about: About<'_>, mode: Mode, host: &mut Host) -> Result<(), Refusal> {
        self.dhcp = find_server(wish, about, host)?;
        if mode == Mode::Act && self.lock.is_none() && matches!(self.dhcp, Some(Server::Dhcpd(_))) {
            let lock = lock::claim(LockName::VifNatDhcp, lock::USUAL_LIMIT).map_err(|error| Refusal {
                for_guest: "The interface could not be set up: the DHCP server's files are being changed by somebody else"
                    .to_owned(),
                reason: error.to_string(),
            })?;
            self.lock = Some(lock);
            self.dhcp = find_server(wish, about, host)?;
        }
        if let (Mode::Act, Some(server)) = (mode, &self.dhcp) {
            dhcp::sweep(server);
        }
        Ok(())
    }
}

/// The vif, all that lies on it, and what is remembered of it.
fn observe(asked: &Asked<'_>, system: &mut System, memory: Option<&Memory>) -> Result<Host, Trouble> {
    let names: Vec<InterfaceName> = asked.vif.names().cloned().collect();
    let mut host = asked.observe_device(system)?;
    if let Some(link) = asked.vif.leftover(&host).filter(|link| link.state == AdminState::Up).cloned() {
        // A device that is down has no routes and no neighbours.
        system.note_routes_and_neighbours(&mut host, &link.name)?;
    }
    system.observe_forwarding(&mut host, &names)?;
    asked.note_filters(Way::Routed, system, &mut host)?;
    if let Some(memory) = memory {
        system.note_file(&mut host, &memory.path)?;
    }
    Ok(host)
}

/// The default routes, as far as they are of account: where the uplink follows from them, and those of the guest's families, since it must not
/// take a router's place.
fn default_routes(routed: &Routed, system: &mut System) -> Result<Vec<Route>, Trouble> {
    let of_guest = |family| routed.destinations.iter().any(|network| Family::of(network.ip()) == family);
    let mut routes = vec![];
    if recipe::follows_default_route(routed) || of_guest(Family::V4) {
        routes.extend(system.taken_default_route(Family::V4)?);
    }
    if recipe::follows_default_route(routed) && routes.is_empty() {
        return Ok(system.default_routes()?);
    }
    if of_guest(Family::V6) {
        routes.extend(system.taken_default_route(Family::V6)?);
    }
    Ok(routes)
}

fn observe_uplink(routed: &Routed, uplink: &InterfaceName, system: &mut System, host: &mut Host) -> Result<(), Trouble> {
    if recipe::leaves_something(routed) && host.link(uplink).is_none() {
        host.links.extend(system.link(uplink)?);
    }
    host.addresses.extend(system.addresses(uplink)?);
    for address in routed.single_addresses().filter(std::net::IpAddr::is_ipv6) {
        system.note_proxy(host, uplink, address)?;
    }
    Ok(())
}
