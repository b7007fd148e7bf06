//! vif-bridge: a guest's interface becomes the port of a bridge, and leaves it again.

use crate::guest_filter::{GuestFilter, Way};
use crate::host::{AdminState, Host, Link};
use crate::interface_name::InterfaceName;
use crate::mac_address::BACKEND_MAC;
use crate::operation::{HookCall, LinkChange, Membership, Operation};
use crate::plan::draft::Draft;
use crate::plan::repair::settle_port;
use crate::plan::vif::{Serving, announce, prepare, set_what_is_missing, settle_name};
use crate::plan::{Plan, Refusal, forwarding, guest_filter};
use crate::request::bridge_port::PortWish;
use crate::request::vif::{Coming, Vif};

/// The bridge that a vif joins, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BridgeChoice {
    /// This one.
    Named(InterfaceName),
    /// The first of the host, in the order of names, as `brctl show` lists them.
    First,
}

impl BridgeChoice {
    /// The names under which the bridge may be found, best first. A configuration from the days of netloop says xenbrN where the bridge is
    /// now called ethN, and goes on working.
    #[must_use]
    pub fn candidates(&self) -> Vec<InterfaceName> {
        match self {
            Self::First => vec![],
            Self::Named(name) => {
                let modern = name.as_str().strip_prefix("xenbr").and_then(|number| format!("eth{number}").parse().ok());
                std::iter::once(name.clone()).chain(modern).collect()
            }
        }
    }

    /// The bridge among the links seen.
    ///
    /// # Errors
    /// When there is none; the sentence names no more of the host than the guest's own configuration does.
    pub fn find<'a>(&self, host: &'a Host) -> Result<&'a Link, Refusal> {
        match self {
            Self::First => {
                host.links.iter().filter(|link| link.is_bridge()).min_by(|one, other| one.name.cmp(&other.name)).ok_or_else(|| {
                    Refusal::plain(
                        "Could not find a bridge, and none was named: create one (network-bridge start) or name one with bridge=",
                    )
                })
            }
            Self::Named(wanted) => self.find_named(wanted, host),
        }
    }

    fn find_named<'a>(&self, wanted: &InterfaceName, host: &'a Host) -> Result<&'a Link, Refusal> {
        if let Some(link) = host.link(wanted) {
            return match link.is_bridge() {
                true => Ok(link),
                false => Err(Refusal::plain(format!("The device {wanted} is not a bridge: name a bridge with bridge="))),
            };
        }
        let other = self.candidates().into_iter().skip(1).find_map(|name| host.link(&name).filter(|link| link.is_bridge()));
        other.ok_or_else(|| {
            Refusal::plain(format!("Could not find bridge device {wanted}: create it, or name another one with bridge="))
        })
    }
}

/// Whose are the rules that let a bridge's frames pass in chains of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BridgeAccepts {
    /// network-bridge made the bridge, and its stop takes them away.
    OfTheBridge,
    /// They go with the last guest.
    OfItsGuests,
}

/// What a plan needs besides the vif and the host.
#[derive(Clone, Debug)]
pub struct Surroundings<'a> {
    /// The bridge that was asked for.
    pub bridge: &'a BridgeChoice,
    /// What the port shall be.
    pub port: &'a PortWish,
    /// What the guest is held to.
    pub filter: Option<GuestFilter>,
    /// Whose are the rules that let the bridge's frames pass where others drop them.
    pub accepts: BridgeAccepts,
    /// The hooks to run.
    pub hooks: Option<HookCall>,
}

/// A vif comes: the steps that make it a port.
///
/// # Errors
/// When its device, or the bridge, is not there, its new name is taken, or the bridge cannot do what is asked for the port.
pub fn online(vif: &Vif, around: Surroundings<'_>, host: &Host) -> Result<Plan, Refusal> {
    let Surroundings { bridge, port, filter, hooks, .. } = around;
    let bridge = bridge.find(host)?.clone();
    port.check(&bridge)?;
    let device = vif.present(host)?;
    let mut draft = Draft::new(host);
    let name = settle_name(&mut draft, vif, device)?;
    let mtu = vif.mtu.bytes().unwrap_or(bridge.mtu);
    let serving = serving(&draft.host, &name, &bridge.name);
    prepare(&mut draft, &name, serving);
    guest_filter::enforce(&mut draft, vif, &name, Way::Bridged, filter);
    forwarding::accept_bridged(&mut draft, &bridge.name);
    join(&mut draft, &name, &LinkChange { mtu: Some(mtu), ..LinkChange::port_of(&bridge.name) }, port);
    announce(&mut draft, vif, hooks.map(|call| vif.told(call, Some(&bridge.name), Some(&name))), Some(mtu));
    Ok(draft.plan)
}

/// A port, up. What the bridge shall keep of it is set between the two, so that no frame passes before; where there is nothing to set, one
/// message does it all.
fn join(draft: &mut Draft, name: &InterfaceName, port: &LinkChange, wish: &PortWish) {
    let joined = draft.host.after(&Operation::SetLink { device: name.clone(), change: port.clone() });
    let settings = joined.link(name).map(|link| settle_port(name, &link.port, &wish.applied_to(&link.port))).unwrap_or_default();
    if settings.is_empty() {
        return set_what_is_missing(draft, name, &LinkChange { state: Some(AdminState::Up), ..port.clone() });
    }
    set_what_is_missing(draft, name, port);
    draft.must_all(settings);
    set_what_is_missing(draft, name, &LinkChange::up());
}

/// Whether the vif is a port of this very bridge already.
fn serving(host: &Host, name: &InterfaceName, bridge: &InterfaceName) -> Serving {
    match host.link(name) {
        Some(link) if link.state == AdminState::Up && link.master.as_ref() == Some(bridge) => Serving::Already,
        _ => Serving::NotYet,
    }
}

/// A vif goes: whatever is still there is taken down and out of its bridge. Nothing that is missing is an error.
#[must_use]
pub fn offline(vif: &Vif, around: Surroundings<'_>, host: &Host) -> Plan {
    let Surroundings { bridge, hooks, accepts, .. } = around;
    let mut draft = Draft::new(host);
    let device = vif.leftover(host).map(|link| link.name.clone());
    if let Some(name) = &device {
        let change = LinkChange { membership: Some(Membership::Free), ..LinkChange::down() };
        let missing = host.link(name).map(|link| change.missing_from(link)).unwrap_or_default();
        if !missing.is_empty() {
            draft.may(Operation::SetLink { device: name.clone(), change: missing });
        }
    }
    guest_filter::forget(&mut draft, vif, Way::Bridged);
    if accepts == BridgeAccepts::OfItsGuests {
        withdraw_with_the_last(&mut draft, vif, bridge);
    }
    if let Some(call) = hooks {
        let bridge = bridge.find(host).ok().map(|link| link.name.clone());
        draft.may(Operation::RunHooks(vif.told(call, bridge.as_ref(), device.as_ref())));
    }
    draft.plan
}

/// The rules for a bridge of the administrator's go with its last guest. Backends are known by their Ethernet address.
fn withdraw_with_the_last(draft: &mut Draft, vif: &Vif, bridge: &BridgeChoice) {
    let Ok(bridge) = bridge.find(&draft.host).map(|link| link.name.clone()) else { return };
    let is_other_guest = |port: &Link| port.mac == Some(BACKEND_MAC) && !vif.names().any(|name| *name == port.name);
    if !draft.host.ports_of(&bridge).any(is_other_guest) {
        forwarding::withdraw(draft, &bridge);
    }
}

/// The steps for a command.
///
/// # Errors
/// As [`online`].
pub fn plan(coming: Coming, vif: &Vif, around: Surroundings<'_>, host: &Host) -> Result<Plan, Refusal> {
    match coming {
        Coming::Comes => online(vif, around, host),
        Coming::Goes => Ok(offline(vif, around, host)),
    }
}
