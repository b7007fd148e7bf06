//! One pass of vif-route or vif-nat.

use super::vif::{self, Asked, Decision};
use crate::host::{AdminState, Host};
use crate::interface_name::InterfaceName;
use crate::invocation::Invocation;
use crate::plan::Refusal;
use crate::plan::vif_routed::{self as recipe, Memory, Surroundings};
use crate::report::{Report, Trouble};
use crate::request::routed::{Routed, RoutedWords, Routing};
use crate::request::vif::Coming;
use crate::system::System;
use crate::system::state::run_directory;

/// Calls of vif-route: makes a guest's interface a link of its own, with a route for each of the guest's addresses.
///
/// # Errors
/// When the interface could not be set up; the guest's toolstack has then been told through XenStore.
pub fn route(invocation: &Invocation) -> Result<Report, Trouble> {
    vif::pass(invocation, |asked, system| decide(asked, system, Routing::Plain))
}

/// Calls of vif-nat: the same for a guest whose packets leave the host with the host's address.
///
/// # Errors
/// As for [`route`].
pub fn nat(invocation: &Invocation) -> Result<Report, Trouble> {
    vif::pass(invocation, |asked, system| decide(asked, system, Routing::Translated))
}

fn decide(asked: &Asked<'_>, system: &mut System, routing: Routing) -> Result<Decision, Trouble> {
    let memory = memory(asked)?;
    let (plan, host) = match asked.call.coming {
        Coming::Comes => comes(asked, system, routing, &memory)?,
        Coming::Goes => goes(asked, system, &memory)?,
    };
    Ok(Decision { plan, host, lock: None })
}

/// Where what outlives the vif's device is remembered.
fn memory(asked: &Asked<'_>) -> Result<Memory, Refusal> {
    let folder = run_directory().map_err(|error| Refusal {
        for_guest: "The interface could not be set up: see the host's log".to_owned(),
        reason: error.to_string(),
    })?;
    Ok(Memory { path: folder.state_file(&format!("{}.json", asked.call.device)) })
}

fn comes(asked: &Asked<'_>, system: &mut System, routing: Routing, memory: &Memory) -> Result<(crate::plan::Plan, Host), Trouble> {
    let variable = |name| asked.invocation.variable(name);
    let words = RoutedWords {
        gateway: variable("gateway"),
        subnet: variable("subnet"),
        netdev: variable("netdev"),
        gatewaydev: asked.value(asked.keys.gatewaydev.as_deref(), "gatewaydev"),
        mac: asked.keys.mac.as_deref(),
    };
    let routed = Routed::new(asked.vif.clone(), routing, &words)?;
    let mut host = observe(asked, system, memory)?;
    let uplink = uplink(&routed, system)?;
    if let Some(uplink) = &uplink {
        observe_uplink(&routed, uplink, system, &mut host)?;
    }
    let around = Surroundings { uplink: uplink.as_ref(), memory, hooks: asked.hooks.clone() };
    Ok((recipe::online(&routed, around, &host)?, host))
}

fn goes(asked: &Asked<'_>, system: &mut System, memory: &Memory) -> Result<(crate::plan::Plan, Host), Trouble> {
    let host = observe(asked, system, memory)?;
    let around = Surroundings { uplink: None, memory, hooks: asked.hooks.clone() };
    Ok((recipe::offline(&asked.vif, around, &host), host))
}

/// The vif, all that lies on it, and what is remembered of it.
fn observe(asked: &Asked<'_>, system: &mut System, memory: &Memory) -> Result<Host, Trouble> {
    let names: Vec<InterfaceName> = asked.vif.names().cloned().collect();
    let mut host = Host { links: system.links(&names)?, ..Host::default() };
    if let Some(link) = asked.vif.leftover(&host).cloned() {
        host.addresses = system.addresses(&link.name)?;
        for sysctl in recipe::settings_of(&link.name) {
            system.note_sysctl(&mut host, sysctl)?;
        }
        if link.state == AdminState::Up {
            // A device that is down has no routes and no neighbours.
            system.note_routes_and_neighbours(&mut host, &link.name)?;
        }
    }
    system.observe_forwarding(&mut host, &names)?;
    system.note_file(&mut host, &memory.path)?;
    Ok(host)
}

/// The device that leads out of the host, where the plan has a use for it: to take its address, or to answer for the guest on it.
fn uplink(routed: &Routed, system: &mut System) -> Result<Option<InterfaceName>, Trouble> {
    let of_use = match routed.routing {
        Routing::Plain => routed.gateways.ipv4.is_none() || routed.has_ipv6(),
        Routing::Translated => false,
    };
    if !of_use {
        return Ok(None);
    }
    let default_device = match routed.uplink {
        Some(_) => None,
        None => system.default_routes()?.iter().find_map(|route| route.path.next_hops().first()?.device.clone()),
    };
    Ok(recipe::uplink_of(routed, default_device.as_ref()))
}

fn observe_uplink(routed: &Routed, uplink: &InterfaceName, system: &mut System, host: &mut Host) -> Result<(), Trouble> {
    if host.link(uplink).is_none() {
        host.links.extend(system.link(uplink)?);
    }
    host.addresses.extend(system.addresses(uplink)?);
    for address in routed.single_addresses().filter(std::net::IpAddr::is_ipv6) {
        system.note_proxy(host, uplink, address)?;
    }
    Ok(())
}
