//! network-nat: guests reach the outside with the host's own address, and may have a private bridge to live on.

use std::net::Ipv4Addr;

use ipnetwork::{IpNetwork, Ipv4Network};

use crate::dhcp::{Clients, DhcpWish, Subnet};
use crate::host::{Family, Host};
use crate::interface_name::InterfaceName;
use crate::mac_address::MacAddress;
use crate::plan::Refusal;
use crate::plan::router::{Seen, Want, forwarding_wants, judge_netdev, masquerades};
use crate::request::network_nat::{Ipv6, NetworkNat, PrivateNetwork};

/// What network-nat wants of the host, in order: nothing leaves with a guest's address before the masquerade is there.
///
/// # Errors
/// When packets cannot leave by `netdev`, or the private network cannot be.
pub fn wants(request: &NetworkNat, seen: Seen<'_>) -> Result<Vec<Want>, Refusal> {
    let Seen { netdev, host, .. } = seen;
    judge_netdev(netdev, host)?;
    let mut wants = vec![];
    if let Some(network) = &request.network {
        judge_network(network, netdev, host)?;
        let mtu = host.link(netdev).map_or(1500, |link| link.mtu);
        let mac = host.link(netdev).and_then(|link| link.mac).map(MacAddress::locally_administered);
        wants.push(Want::Bridge { name: network.bridge.clone(), mtu, mac });
        let addresses = network.addresses.iter();
        wants.extend(addresses.map(|address| Want::Address { device: network.bridge.clone(), network: *address }));
    }
    let ipv6 = (request.ipv6() == Ipv6::Nat).then_some(Family::V6);
    wants.extend(masquerades([Family::V4].into_iter().chain(ipv6), netdev, host));
    wants.extend(forwarding_wants(request.ipv6(), seen));
    wants.extend(dhcp_want(request, seen)?);
    Ok(wants)
}

/// The default addresses of all guests of vif-nat lie here: 10.DOMAIN.DOMAIN.DEVICE. Xen's script served 10.0.0.0/16, which ends at domain 255.
const GUESTS: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 0, 0, 0), 8);

/// What is to be served by DHCP, where a server is wished for and found.
fn dhcp_want(request: &NetworkNat, seen: Seen<'_>) -> Result<Option<Want>, Refusal> {
    let Some(server) = seen.server else { return Ok(None) };
    let served = match &request.network {
        None => request.subnet.or(Ipv4Network::new(GUESTS.0, GUESTS.1).ok()).map(|network| (network, Clients::Listed)),
        Some(network) => on_bridge(request, network, seen.host)?,
    };
    Ok(served.map(|(network, clients)| {
        let resolver = seen.resolver.clone();
        let subnet = Subnet { network, clients, domain: resolver.domain, name_servers: resolver.name_servers };
        Want::Dhcp { server: server.clone(), subnet }
    }))
}

/// The network of the private bridge that is served, and how.
fn on_bridge(request: &NetworkNat, network: &PrivateNetwork, host: &Host) -> Result<Option<(Ipv4Network, Clients)>, Refusal> {
    let bridge = &network.bridge;
    let there = host.addresses_of(bridge).map(|address| address.network);
    let ipv4 = |address: IpNetwork| if let IpNetwork::V4(own) = address { Some(own) } else { None };
    let mut own = network.addresses.iter().copied().chain(there).filter_map(ipv4);
    let fits =
        |own: &Ipv4Network| request.subnet.is_none_or(|subnet| subnet.ip() == own.network() && subnet.prefix() == own.prefix());
    let Some(own) = own.find(fits) else {
        return match (request.dhcp, request.subnet) {
            (_, Some(subnet)) => Err(Refusal::plain(format!(
                "subnet={subnet} is no network of the bridge {bridge}: leave it out, or give the bridge an address of that network"
            ))),
            (DhcpWish::Unsaid, None) => Ok(None),
            (_, None) => Err(Refusal::plain(format!(
                "DHCP gives IPv4 addresses, and the bridge {bridge} has no such network: add an IPv4 address to address=, or say dhcp=no"
            ))),
        };
    };
    let router = request.gateway.unwrap_or(own.ip());
    if !own.contains(router) {
        return Err(Refusal::plain(format!(
            "gateway={router} is not in the network of the bridge {bridge}, {own}: guests could not reach it"
        )));
    }
    let network = Ipv4Network::new(own.network(), own.prefix()).unwrap_or(own);
    Ok(Some((network, Clients::OnBridge { bridge: bridge.clone(), router })))
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
