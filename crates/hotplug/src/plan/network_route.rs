//! network-route: the host forwards its guests' packets, and answers for them on the network outside.

use crate::host::Family;
use crate::plan::Refusal;
use crate::plan::router::{Seen, Want, device_setting, forwarding_wants, judge_netdev, masquerades};
use crate::request::network_route::{Ipv6, NetworkRoute, Translation};

/// What network-route wants of the host, in order: nothing leaves with a guest's address before the masquerade is there.
///
/// # Errors
/// When packets cannot leave by `netdev`.
pub fn wants(request: &NetworkRoute, seen: Seen<'_>) -> Result<Vec<Want>, Refusal> {
    let Seen { netdev, host, .. } = seen;
    judge_netdev(netdev, host)?;
    let translated = [(Family::V4, request.translation == Translation::Masquerade), (Family::V6, request.ipv6 == Ipv6::Nat)];
    let families = translated.into_iter().filter(|(_, wanted)| *wanted).map(|(family, _)| family);
    let mut wants: Vec<Want> = masquerades(families, netdev, host);
    wants.extend(forwarding_wants(request.ipv6, seen));
    wants.extend(device_setting(Family::V4, netdev, "proxy_arp", "1"));
    if request.ipv6 != Ipv6::Off {
        wants.extend(device_setting(Family::V6, netdev, "proxy_ndp", "1"));
    }
    Ok(wants)
}
