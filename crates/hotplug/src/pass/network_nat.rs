//! One pass of network-nat.

use super::router::{Errand, serve};
use crate::invocation::Invocation;
use crate::plan::network_nat as recipe;
use crate::report::{Report, Trouble};
use crate::request::antispoof::TRANSLATED_NETWORK;
use crate::request::network_nat::NetworkNat;
use crate::sessions::Owner;

/// Calls of network-nat: lets guests reach the outside with the host's own address, takes that back, or shows it.
///
/// # Errors
/// When it cannot be done; the host is then as it was.
pub fn pass(invocation: &Invocation) -> Result<Report, Trouble> {
    let request = NetworkNat::parse(invocation.command(), |name| invocation.variable(name))?;
    let errand = Errand {
        program: Owner::NetworkNat,
        command: request.command,
        netdev: request.netdev.clone(),
        bridge: request.network.as_ref().map(|network| network.bridge.clone()),
        dhcp: request.dhcp,
        antispoof: request.antispoof,
        guests: TRANSLATED_NETWORK,
        wants: &|seen| recipe::wants(&request, seen),
    };
    serve(invocation, &errand)
}
