//! vif-openvswitch: a guest's interface becomes the port of an Open vSwitch bridge, and leaves it again.

use std::collections::BTreeMap;

use crate::host::{AdminState, Host, Link};
use crate::interface_name::InterfaceName;
use crate::openvswitch::{ExternalId, OvsPort};
use crate::operation::{LinkChange, Operation};
use crate::plan::draft::Draft;
use crate::plan::vif::{Serving, announce, prepare, set_what_is_missing, settle_name};
use crate::plan::{Plan, Refusal};
use crate::request::openvswitch::OvsBridge;
use crate::request::vif::Vif;

/// The master of every port that the kernel's own datapath serves (Open vSwitch, datapath/vport-internal_dev.c). Nobody but the switch takes
/// a port from it.
const KERNEL_DATAPATH: &str = "ovs-system";

/// A vif comes: the steps that make it a port.
///
/// # Errors
/// When its device or the bridge is not there, its new name is taken, or the port of its name is not a guest's.
pub fn online(vif: &Vif, bridge: &OvsBridge, ids: BTreeMap<ExternalId, String>, host: &Host) -> Result<Plan, Refusal> {
    let device = vif.present(host)?;
    if !host.ovs_bridges.contains(&bridge.name) {
        return Err(Refusal::plain(format!(
            "Could not find the Open vSwitch bridge {0}: create it (ovs-vsctl add-br {0}), or name another one with bridge=",
            bridge.name
        )));
    }
    let name = vif.renamed.clone().unwrap_or_else(|| device.name.clone());
    if host.ovs_foreign.contains(&name) {
        return Err(foreign(&name));
    }
    let port = OvsPort { device: name.clone(), bridge: bridge.name.clone(), vlans: bridge.vlans.clone(), ids };
    let mut draft = Draft::new(host);
    // Before the device has the name: undone, the switch would take it up by this port for as long as it has it.
    forget_strangers(&mut draft, vif, &port);
    settle_name(&mut draft, vif, device)?;
    let serving = serving(&draft.host, &port);
    prepare(&mut draft, &name, serving);
    leave_other_master(&mut draft, &name);
    set_what_is_missing(&mut draft, &name, &LinkChange { mtu: vif.mtu.bytes(), ..LinkChange::default() });
    if !draft.host.ovs_ports.contains(&port) {
        draft.must(Operation::AddOvsPort(port));
    }
    set_what_is_missing(&mut draft, &name, &LinkChange::up());
    announce(&mut draft, vif, None, vif.mtu.bytes());
    if bridge.vlans.tag.is_some() && !bridge.vlans.trunks.is_empty() {
        draft.plan.notes.push(format!("the trunks of {name} have no effect beside its tag: Open vSwitch makes it an access port"));
    }
    Ok(draft.plan)
}

fn foreign(name: &InterfaceName) -> Refusal {
    Refusal::plain(format!(
        "Open vSwitch has a port {name} that is not a guest's: it stays as it is; choose another vifname=, or remove it (ovs-vsctl \
         del-port {name})"
    ))
}

/// Whether the device serves its guest by this very port already.
fn serving(host: &Host, port: &OvsPort) -> Serving {
    let up = host.link(&port.device).is_some_and(|link| link.state == AdminState::Up);
    let there = host.ovs_ports.iter().any(|seen| seen.device == port.device && seen.bridge == port.bridge && seen.same_guest(port));
    if up && there { Serving::Already } else { Serving::NotYet }
}

/// A device that is still the port of a Linux bridge cannot be one of a switch too.
fn leave_other_master(draft: &mut Draft, name: &InterfaceName) {
    let master = draft.host.link(name).and_then(|link| link.master.clone());
    if master.is_some_and(|master| master.as_str() != KERNEL_DATAPATH) {
        draft.must(Operation::SetLink { device: name.clone(), change: LinkChange::free() });
    }
}

/// The database outlives guests and hosts: a crash leaves ports behind, and the numbers of domains come again. A port of this name that
/// belonged to another guest goes whole, with the settings that somebody gave it; so does one that this device had under another name.
fn forget_strangers(draft: &mut Draft, vif: &Vif, port: &OvsPort) {
    let old: Vec<_> = draft
        .host
        .ovs_ports
        .iter()
        .filter(|seen| match seen.device == port.device {
            true => !seen.same_guest(port),
            false => seen.device == vif.device || is_of(vif, seen),
        })
        .cloned()
        .collect();
    for port in old {
        draft.must(Operation::RemoveOvsPort(port.device));
    }
}

/// Whether the port was made for this vif, whatever its name.
fn is_of(vif: &Vif, port: &OvsPort) -> bool {
    port.ids.get(&ExternalId::XenVif).is_some_and(|name| name.as_str() == vif.device.as_str())
}

/// Whether the port is this vif's. Under a name of the guest's own choice there may be another guest's by now: then the port remembers another
/// device. Xen's script remembers none.
fn is_ours(vif: &Vif, port: &OvsPort) -> bool {
    let by_name =
        port.device == vif.device || (vif.renamed.as_ref() == Some(&port.device) && !port.ids.contains_key(&ExternalId::XenVif));
    by_name || is_of(vif, port)
}

/// A vif goes: whatever is still there is taken down, and its port removed. Nothing that is missing is an error, and of what belongs to
/// others a note is made.
#[must_use]
pub fn offline(vif: &Vif, host: &Host) -> Plan {
    let mut draft = Draft::new(host);
    for port in host.ovs_ports.iter().filter(|port| is_ours(vif, port)) {
        draft.may(Operation::RemoveOvsPort(port.device.clone()));
    }
    // Last: ovs-vswitchd gives a device back with flags that it remembers, and may set up what was set down before.
    if let Some(Link { name, state: AdminState::Up, .. }) = vif.leftover(host) {
        draft.may(Operation::SetLink { device: name.clone(), change: LinkChange::down() });
    }
    for name in vif.names().filter(|name| host.ovs_foreign.contains(*name)) {
        draft.plan.notes.push(format!("Open vSwitch has a port {name} that is not a guest's: it stays as it is"));
    }
    draft.plan
}
