//! One pass of vif-openvswitch.

use super::vif::{self, Asked, Decision, Hooks};
use crate::invocation::{Invocation, shortened};
use crate::plan::{Refusal, vif_openvswitch as recipe};
use crate::report::{Report, Trouble};
use crate::request::openvswitch::{OvsBridge, external_ids};
use crate::request::vif::Coming;
use crate::system::System;

/// Calls of vif-openvswitch: makes a guest's interface a port of an Open vSwitch bridge, or takes it out again.
///
/// # Errors
/// When the interface could not be set up; the guest's toolstack has then been told through XenStore.
pub fn pass(invocation: &Invocation) -> Result<Report, Trouble> {
    vif::pass(invocation, None, Hooks::None, |asked, system| match asked.call.coming {
        Coming::Comes => online(asked, system),
        Coming::Goes => offline(asked, system),
    })
}

fn online(asked: &Asked<'_>, system: &mut System) -> Result<Decision, Trouble> {
    refuse_what_is_not_kept(asked)?;
    let bridge = OvsBridge::asked(asked.value(asked.keys.bridge.as_deref(), "bridge"))?;
    let mut host = asked.observe_device(system)?;
    // Of this a guest may read: the name is in its own configuration. What the database says of the rest stays in the log.
    system.note_ovs_ports(&mut host, &asked.vif, Some(&bridge.name))?;
    let guest = system.read_guest(asked.vif.numbers().0);
    let mac = asked.keys.mac.as_deref();
    let ids = external_ids(&asked.vif, &guest, mac, asked.value(asked.keys.iface_id.as_deref(), "iface_id"));
    let plan = recipe::online(&asked.vif, &bridge, ids, &host)?;
    Ok(Decision { plan, host, lock: None })
}

/// What vif-bridge would do for a guest and this program does not must not be taken for done.
fn refuse_what_is_not_kept(asked: &Asked<'_>) -> Result<(), Refusal> {
    let wishes = [
        ("antispoof", &asked.keys.antispoof, "let OVN's port security hold the guest to its addresses"),
        ("vlan", &asked.keys.vlan, "name the VLANs behind the bridge, as in bridge=ovsbr0.7 or bridge=ovsbr0:10:20"),
    ];
    for (name, key, instead) in wishes {
        if let Some(value) = asked.value(key.as_deref(), name).filter(|value| *value != "no") {
            let value = shortened(value);
            return Err(Refusal::plain(format!("{name}={} is not for vif-openvswitch: {instead}", value.escape_default())));
        }
    }
    Ok(())
}

/// A switch that does not answer must not keep a dead guest's interface up.
fn offline(asked: &Asked<'_>, system: &mut System) -> Result<Decision, Trouble> {
    let mut host = asked.observe_device(system)?;
    if let Err(error) = system.note_ovs_ports(&mut host, &asked.vif, None) {
        log::warn!("{error}; a port of {} in its database stays there", asked.vif.device);
    }
    Ok(Decision { plan: recipe::offline(&asked.vif, &host), host, lock: None })
}
