//! What the plans of all vif programs have in common.

use crate::host::{AdminState, Link};
use crate::interface_name::InterfaceName;
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
