//! What lets the host forward a device's packets though a chain of somebody else's drops what it does not know.

use crate::firewall::{ForwardAccept, Traffic};
use crate::interface_name::InterfaceName;
use crate::operation::Operation;
use crate::plan::draft::Draft;

/// Has every chain that drops accept what comes from `device` and what goes to it.
pub fn accept(draft: &mut Draft, device: &InterfaceName) {
    accept_traffic(draft, device, Traffic::FromAndTo);
}

/// Has every chain that drops accept what `bridge` passes from port to port: with br_netfilter, those chains see that as well.
pub fn accept_bridged(draft: &mut Draft, bridge: &InterfaceName) {
    accept_traffic(draft, bridge, Traffic::Bridged);
}

fn accept_traffic(draft: &mut Draft, device: &InterfaceName, traffic: Traffic) {
    let wanted: Vec<ForwardAccept> = draft
        .host
        .dropping_chains
        .iter()
        .map(|dropping| ForwardAccept { chain: dropping.chain.clone(), place: dropping.place, device: device.clone(), traffic })
        .filter(|accept| !draft.host.forward_accepts.iter().any(|seen| seen.same_rules(accept)))
        .collect();
    draft.must_all(wanted.into_iter().map(Operation::AddForwardAccept));
}

/// Takes away whatever accepts `device` in chains of others.
pub fn withdraw(draft: &mut Draft, device: &InterfaceName) {
    let seen: Vec<ForwardAccept> = draft.host.forward_accepts.iter().filter(|seen| seen.device == *device).cloned().collect();
    // Backwards, so that undoing it puts them back in their order.
    for accept in seen.into_iter().rev() {
        draft.may(Operation::DeleteForwardAccept(accept));
    }
}
