//! One pass of network-route.

use super::router::{Errand, serve};
use crate::dhcp::DhcpWish;
use crate::invocation::Invocation;
use crate::plan::network_route as recipe;
use crate::report::{Report, Trouble};
use crate::request::antispoof::ROUTED_NETWORK;
use crate::request::network_route::NetworkRoute;
use crate::sessions::Owner;

/// Calls of network-route: makes the host a router for its guests, takes that back, or shows it.
///
/// # Errors
/// When it cannot be done; the host is then as it was.
pub fn pass(invocation: &Invocation) -> Result<Report, Trouble> {
    let request = NetworkRoute::parse(invocation.command(), |name| invocation.variable(name))?;
    let errand = Errand {
        program: Owner::NetworkRoute,
        command: request.command,
        netdev: request.netdev.clone(),
        bridge: None,
        dhcp: DhcpWish::No,
        antispoof: request.antispoof,
        guests: ROUTED_NETWORK,
        wants: &|seen| recipe::wants(&request, seen),
    };
    serve(invocation, &errand)
}
