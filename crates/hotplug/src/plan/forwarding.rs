//! What lets the host forward a device's packets though a chain of somebody else's drops what it does not know.

use crate::firewall::ForwardAccept;
use crate::interface_name::InterfaceName;
use crate::operation::Operation;
use crate::plan::draft::Draft;

/// Has every chain that drops accept what comes from `device` and what goes to it.
pub fn accept(draft: &mut Draft, device: &InterfaceName) {
    let wanted: Vec<ForwardAccept> = draft
        .host
        .dropping_chains
        .iter()
        .map(|dropping| ForwardAccept { chain: dropping.chain.clone(), place: dropping.place, device: device.clone() })
        .filter(|accept| !draft.host.forward_accepts.iter().any(|seen| seen.same_rules(accept)))
        .collect();
    draft.must_all(wanted.into_iter().map(Operation::AddForwardAccept));
}

/// Takes away whatever accepts `device` in chains of others.
pub fn withdraw(draft: &mut Draft, device: &InterfaceName) {
    let seen: Vec<ForwardAccept> = draft.host.forward_accepts.iter().filter(|seen| seen.device == *device).cloned().collect();
    for accept in seen {
        draft.may(Operation::DeleteForwardAccept(accept));
    }
}
