//! One pass of vif-bridge.

use super::vif::{self, Asked, Decision, Hooks};
use crate::guest_filter::Way;
use crate::host::{Host, Switch};
use crate::invocation::Invocation;
use crate::plan::{Refusal, vif_bridge as recipe};
use crate::report::{Report, Trouble};
use crate::request::antispoof::Addresses;
use crate::request::bridge_port::{PortHardening, PortWish, Shown};
use crate::request::vif::{Cards, Coming, bridge_choice};
use crate::system::System;

/// Calls of vif-bridge: makes a guest's interface a port of a bridge, or takes it out again.
///
/// # Errors
/// When the interface could not be set up; the guest's toolstack has then been told through XenStore.
pub fn pass(invocation: &Invocation) -> Result<Report, Trouble> {
    vif::pass(invocation, Some(Way::Bridged), Hooks::Sourced, decide)
}

fn decide(asked: &Asked<'_>, system: &mut System) -> Result<Decision, Trouble> {
    let coming = asked.call.coming;
    let bridge = match (bridge_choice(asked.keys.bridge.as_deref(), asked.invocation.variable("bridge")), coming) {
        // Only the hooks hear of it: the vif leaves whatever bridge it is in.
        (Err(_), Coming::Goes) => recipe::BridgeChoice::First,
        (choice, _) => choice?,
    };
    let mut port = match coming {
        Coming::Comes => port_wish(asked)?,
        // It leaves the bridge, and with it all that the bridge keeps of it.
        Coming::Goes => PortWish::default(),
    };
    let bridged_packets = System::bridged_packets_in_chains();
    let mut host = asked.observe_device(system)?;
    if coming == Coming::Comes || asked.hooks.is_some() || bridged_packets == Switch::On {
        note_bridge(&bridge, system, &mut host)?;
    }
    asked.note_filters(Way::Bridged, system, &mut host)?;
    let filter = match coming {
        Coming::Comes => {
            if let Some(device) = asked.vif.leftover(&host).map(|link| link.name.clone()) {
                system.note_port(&mut host, &device)?;
            }
            let network = bridge.find(&host)?.name.as_str();
            asked.filter(Way::Bridged, Addresses::Given(&asked.vif.addresses), network, port.tags(), system)?
        }
        Coming::Goes => None,
    };
    port.hardening = PortHardening::under(filter.as_ref(), Cards::of_vif_type(asked.keys.vif_type.as_deref()));
    port.shown = Shown::under(filter.as_ref());
    let accepts = match bridged_packets {
        Switch::On => note_forwarding(coming, &bridge, system, &mut host)?,
        Switch::Off => recipe::BridgeAccepts::OfTheBridge,
    };
    let around = recipe::Surroundings { bridge: &bridge, port: &port, filter, accepts, hooks: asked.hooks.clone() };
    let plan = recipe::plan(coming, &asked.vif, around, &host)?;
    Ok(Decision { plan, host, lock: None })
}

fn port_wish(asked: &Asked<'_>) -> Result<PortWish, Refusal> {
    PortWish::parse(asked.value(asked.keys.vlan.as_deref(), "vlan"), asked.value(asked.keys.isolated.as_deref(), "isolated"))
}

/// The chains of IP that drop bridged frames, our rules there, and, where a vif goes, who else needs those.
fn note_forwarding(
    coming: Coming,
    bridge: &recipe::BridgeChoice,
    system: &mut System,
    host: &mut Host,
) -> Result<recipe::BridgeAccepts, Trouble> {
    let Ok(bridge) = bridge.find(host).map(|link| link.name.clone()) else { return Ok(recipe::BridgeAccepts::OfTheBridge) };
    system.observe_forwarding(host, std::slice::from_ref(&bridge))?;
    if coming == Coming::Comes || host.forward_accepts.is_empty() {
        return Ok(recipe::BridgeAccepts::OfTheBridge);
    }
    let ports = system.ports_of(&bridge)?;
    let unseen: Vec<_> = ports.into_iter().filter(|port| host.link(&port.name).is_none()).collect();
    host.links.extend(unseen);
    let made_by_us = super::network_bridge::recorded().names().iter().any(|names| names.bridge == bridge);
    Ok(if made_by_us { recipe::BridgeAccepts::OfTheBridge } else { recipe::BridgeAccepts::OfItsGuests })
}

/// The bridge. A vif that goes leaves whatever it is in, so that only who is to hear of it looks for it.
fn note_bridge(bridge: &recipe::BridgeChoice, system: &mut System, host: &mut Host) -> Result<(), Trouble> {
    for name in bridge.candidates() {
        host.links.extend(system.link(&name)?);
        if host.link(&name).is_some() {
            break;
        }
    }
    if *bridge == recipe::BridgeChoice::First {
        let others: Vec<_> = system.bridges()?.into_iter().filter(|link| host.link(&link.name).is_none()).collect();
        host.links.extend(others);
    }
    Ok(())
}
