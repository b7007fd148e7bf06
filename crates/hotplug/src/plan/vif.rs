//! What the plans of all vif programs have in common.

use crate::host::{Address, AdminState, Link};
use crate::interface_name::InterfaceName;
use crate::mac_address::BACKEND_MAC;
use crate::operation::{HookCall, LinkChange, Operation, StoreEntry};
use crate::plan::Refusal;
use crate::plan::draft::Draft;
use crate::request::vif::{Vif, VifKind};

/// The device gets the name that the guest's configuration asks for, and remembers whose it is.
pub(super) fn settle_name(draft: &mut Draft, vif: &Vif, device: &Link) -> Result<InterfaceName, Refusal> {
    let Some(wanted) = vif.renamed.as_ref().filter(|wanted| **wanted != device.name) else {
        return Ok(device.name.clone());
    };
    if draft.host.link(wanted).is_some() {
        return Err(Refusal::plain(format!(
            "Cannot rename interface {} to {wanted}: a device of that name exists already; choose another vifname=",
            device.name
        )));
    }
    if device.state == AdminState::Up {
        draft.must(Operation::SetLink { device: device.name.clone(), change: LinkChange::down() });
    }
    let alias = LinkChange { alias: Some(vif.alias()), ..LinkChange::default() };
    draft.may(Operation::SetLink { device: device.name.clone(), change: alias });
    draft.must(Operation::RenameLink { from: device.name.clone(), to: wanted.clone() });
    Ok(wanted.clone())
}

/// Whether a vif serves its guest already where it is to serve it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Serving {
    /// It does, and is left running.
    Already,
    /// It does not.
    NotYet,
}

/// Down, with the address that all backends share, and without network addresses of its own. Of a vif that serves its guest already only
/// what is not as it should be is changed.
pub(super) fn prepare(draft: &mut Draft, name: &InterfaceName, serving: Serving) {
    if serving == Serving::NotYet {
        set_what_is_missing(draft, name, &LinkChange::down());
    }
    let keep = |address: &Address| serving == Serving::Already && address.is_ipv6_link_local();
    let addresses: Vec<_> = draft.host.addresses_of(name).rev().filter(|address| !keep(address)).cloned().collect();
    for address in addresses {
        draft.may(Operation::DeleteAddress(address));
    }
    let change = LinkChange { mac: Some(BACKEND_MAC), ..LinkChange::default() };
    let missing = draft.host.link(name).map(|link| change.missing_from(link)).unwrap_or_default();
    if !missing.is_empty() {
        // A device that will not change its address works all the same.
        draft.may(Operation::SetLink { device: name.clone(), change: missing });
    }
}

/// Changes of `device` what is not as `change` says.
pub(super) fn set_what_is_missing(draft: &mut Draft, device: &InterfaceName, change: &LinkChange) {
    let missing = draft.host.link(device).map(|link| change.missing_from(link)).unwrap_or_default();
    if !missing.is_empty() {
        draft.must(Operation::SetLink { device: device.clone(), change: missing });
    }
}

/// Hooks, and at the very last the word that netback waits for; before it, the MTU for the guest's side where there is one to tell.
pub(super) fn announce(draft: &mut Draft, vif: &Vif, hooks: Option<HookCall>, mtu: Option<u32>) {
    if let Some(call) = hooks {
        draft.must(Operation::RunHooks(call));
    }
    if vif.kind == VifKind::Vif {
        let told = vif.frontend_mtu().zip(mtu);
        let frontend = told.map(|(path, mtu)| StoreEntry { path, value: mtu.to_string() });
        let status = StoreEntry { path: vif.key("hotplug-status"), value: "connected".to_owned() };
        draft.must(Operation::Connect { frontend, status });
    }
}
