//! network-nat: guests reach the outside with the host's own address, and may have a private bridge to live on.

use ipnetwork::IpNetwork;

use crate::host::{Family, Host};
use crate::interface_name::InterfaceName;
use crate::plan::Refusal;
use crate::plan::router::{Want, forwarding_wants, judge_netdev, masquerades};
use crate::request::network_nat::{Ipv6, NetworkNat, PrivateNetwork};
use crate::sessions::Sessions;

/// What network-nat wants of the host, in order: nothing leaves with a guest's address before the masquerade is there.
///
/// # Errors
/// When packets cannot leave by `netdev`, or the private network cannot be.
pub fn wants(request: &NetworkNat, netdev: &InterfaceName, host: &Host, sessions: &Sessions) -> Result<Vec<Want>, Refusal> {
    judge_netdev(netdev, host)?;
    let mut wants = vec![];
    if let Some(network) = &request.network {
        judge_network(network, netdev, host)?;
        let mtu = host.link(netdev).map_or(1500, |link| link.mtu);
        wants.push(Want::Bridge { name: network.bridge.clone(), mtu });
        let addresses = network.addresses.iter();
        wants.extend(addresses.map(|address| Want::Address { device: network.bridge.clone(), network: *address }));
    }
    let ipv6 = (request.ipv6() == Ipv6::Nat).then_some(Family::V6);
    wants.extend(masquerades([Family::V4].into_iter().chain(ipv6), netdev, host));
    wants.extend(forwarding_wants(request.ipv6(), netdev, host, sessions));
    Ok(wants)
}

fn judge_network(network: &PrivateNetwork, netdev: &InterfaceName, host: &Host) -> Result<(), Refusal> {
    let PrivateNetwork { bridge, addresses } = network;
    if bridge == netdev {
        return Err(Refusal::plain(format!(
            "{bridge} leads outside and cannot be the private bridge as well: choose another bridge="
        )));
    }
    let link = host.link(bridge);
    if link.is_some_and(|link| !link.is_bridge()) {
        return Err(Refusal::plain(format!("{bridge} exists already and is no bridge: choose another bridge=")));
    }
    let has_own = host.addresses_of(bridge).any(|address| !address.is_ipv6_link_local());
    if addresses.is_empty() && !has_own {
        return Err(Refusal::plain(format!(
            "the bridge {bridge} has no address that guests could reach the host by: give it one, as in address=192.168.2.1/24"
        )));
    }
    for address in addresses {
        if let Some(taken) = host.addresses_of(netdev).find(|outside| overlap(outside.network, *address)) {
            return Err(Refusal::plain(format!(
                "address={address} lies in the network of {netdev}, which has {}: give the private network addresses of its own",
                taken.network
            )));
        }
    }
    Ok(())
}

/// Whether two networks have an address in common. All devices have the IPv6 network of link-local addresses; that is no conflict.
fn overlap(one: IpNetwork, other: IpNetwork) -> bool {
    let link_local = |network: IpNetwork| matches!(network, IpNetwork::V6(own) if own.ip().is_unicast_link_local());
    !link_local(one) && (one.contains(other.network()) || other.contains(one.network()))
}
