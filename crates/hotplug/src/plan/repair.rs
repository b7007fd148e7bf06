//! The operations that give a host back its addresses, neighbours and routes.
//!
//! Used where the kernel drops things by itself: to undo an operation with its side effects, and to settle what a switch has left.
//! Devices are not touched, only what lies on them and what bridges keep of them.

use crate::host::{ADVERTISED_PROTOCOL, Address, AddressFlags, Family, Host, Neighbour, PortSettings, Route};
use crate::interface_name::InterfaceName;
use crate::operation::{Operation, PortChange};

/// What leads from `now` to `wanted`, as far as a port's settings, addresses, neighbour entries and routes are concerned.
#[must_use]
pub fn repair(now: Host, wanted: &Host) -> Vec<Operation> {
    let mut work = Work { host: now, operations: vec![] };
    for link in &wanted.links {
        let seen = work.host.link(&link.name).filter(|seen| seen.master == link.master);
        for operation in seen.map(|seen| settle_port(&link.name, &seen.port, &link.port)).unwrap_or_default() {
            work.push(operation);
        }
    }
    for link in &wanted.links {
        for family in [Family::V4, Family::V6] {
            let listed = |host: &Host| -> Vec<Address> {
                host.addresses_of(&link.name).filter(|address| address.family() == family).cloned().collect()
            };
            work.order_addresses(listed(&work.host), listed(wanted), family);
        }
    }
    for route in routes_to_remove(&work.host, wanted) {
        work.push(Operation::DeleteRoute(route));
    }
    for route in routes_to_add(&work.host, wanted) {
        work.push(route);
    }
    for neighbour in neighbours_to_add(&work.host, wanted) {
        work.push(Operation::AddNeighbour(neighbour));
    }
    for setting in settings_to_write(&work.host, wanted) {
        work.push(setting);
    }
    work.operations
}

/// What leads from the settings `now` of a port to those `wanted`.
///
/// VLANs that are not wanted go before others come: a guest is never in more networks than in one of the two states. The station
/// comes last, as it is entered in every VLAN that the port is in.
#[must_use]
pub fn settle_port(device: &InterfaceName, now: &PortSettings, wanted: &PortSettings) -> Vec<Operation> {
    let own = || device.clone();
    let mut operations = vec![];
    let all = PortChange { isolated: Some(wanted.isolated), learning: Some(wanted.learning), groups: Some(wanted.groups) };
    let change = all.missing_from(now);
    if !change.is_empty() {
        operations.push(Operation::SetPort { device: own(), change });
    }
    let surplus = now.vlans.absent_from(&wanted.vlans).into_iter();
    operations.extend(surplus.map(|span| Operation::DeleteVlans { device: own(), first: span.first, last: span.last }));
    let missing = wanted.vlans.unlike(&now.vlans);
    let settled = if missing.is_empty() { Some(&now.stations) } else { None };
    operations.extend(missing.into_iter().map(|vlans| Operation::AddVlans { device: own(), vlans }));
    let gone = now.stations.difference(&wanted.stations);
    operations.extend(gone.map(|mac| Operation::DeleteStation { device: own(), mac: *mac }));
    let new = wanted.stations.iter().filter(|mac| settled.is_none_or(|there| !there.contains(mac)));
    operations.extend(new.map(|mac| Operation::AddStation { device: own(), mac: *mac }));
    operations
}

/// Settings that changed along with another one, such as each device's forwarding with that of the host.
fn settings_to_write(now: &Host, wanted: &Host) -> Vec<Operation> {
    let changed = wanted.sysctls.iter().filter(|(sysctl, value)| now.sysctls.get(sysctl).is_some_and(|seen| seen != *value));
    changed.map(|(sysctl, value)| Operation::WriteSysctl { sysctl: sysctl.clone(), value: value.clone() }).collect()
}

/// The operations so far and the host that they lead to.
struct Work {
    host: Host,
    operations: Vec<Operation>,
}

impl Work {
    fn push(&mut self, operation: Operation) {
        self.host.follow(&operation);
        self.operations.push(operation);
    }

    /// The kernel's order tells primary from secondary addresses, and which one is taken as a source: it is part of the state. An
    /// address comes to stand behind the older ones (IPv4) or before them (IPv6), so the first difference decides from where on all
    /// are set anew.
    fn order_addresses(&mut self, mut now: Vec<Address>, mut wanted: Vec<Address>, family: Family) {
        if family == Family::V6 {
            now.reverse();
            wanted.reverse();
        }
        let agreeing = now.iter().zip(&wanted).take_while(|(one, other)| equal_but_for_time(one, other)).count();
        for address in now[agreeing..].iter().rev() {
            self.push(Operation::DeleteAddress(address.clone()));
        }
        for address in &wanted[agreeing..] {
            for operation in add_address(address) {
                self.push(operation);
            }
        }
    }
}

/// Lifetimes run down between two looks; that is no difference.
fn equal_but_for_time(one: &Address, other: &Address) -> bool {
    let timeless = |address: &Address| Address { lifetimes: Default::default(), ..address.clone() };
    timeless(one) == timeless(other)
        && one.lifetimes.valid.is_some() == other.lifetimes.valid.is_some()
        && one.lifetimes.preferred.is_some() == other.lifetimes.preferred.is_some()
}

/// Gives a device an address that was in use on this link a moment ago.
///
/// Duplicate address detection would make an IPv6 address unusable for a second or more (RFC 4862), so it is added without; the flag that says
/// so is then taken back, which does not start the detection after all (net/ipv6/addrconf.c, `inet6_addr_modify()`).
#[must_use]
pub fn add_address(address: &Address) -> Vec<Operation> {
    let detected = address.family() == Family::V4 || address.flags.has(AddressFlags::NO_DAD);
    if detected {
        return vec![Operation::AddAddress(address.clone())];
    }
    let undetected = Address { flags: address.flags.with(AddressFlags::NO_DAD), ..address.clone() };
    vec![Operation::AddAddress(undetected), Operation::AddAddress(address.clone())]
}

fn routes_to_remove(now: &Host, wanted: &Host) -> Vec<Route> {
    let gives_way = |route: &Route| wanted.routes.iter().any(|other| !holds(now, other) && one_takes_the_place(other, route));
    now.routes.iter().filter(|route| !holds(wanted, route) && !gives_way(route)).cloned().collect()
}

fn routes_to_add(now: &Host, wanted: &Host) -> Vec<Operation> {
    let missing: Vec<&Route> = wanted.routes.iter().filter(|route| !holds(now, route)).collect();
    in_order_of_need(missing)
        .into_iter()
        .map(|route| match now.routes.iter().any(|seen| one_takes_the_place(route, seen)) {
            true => Operation::ReplaceRoute(route.clone()),
            false => Operation::AppendRoute(route.clone()),
        })
        .collect()
}

/// Whether `new` replaces `old` in one act. Deleted and added by way, such a route would lose ways that it shares with the new one: where
/// the act to be taken back was never done, that is the old one itself.
fn one_takes_the_place(new: &Route, old: &Route) -> bool {
    new.same_place(old) && makes_one_multipath_route(new) && makes_one_multipath_route(old)
}

/// Whether the kernel joins this route with others of its destination and metric (net/ipv6/ip6_fib.c, `rt6_qualify_for_ecmp()`). It never
/// does so with routes that it has learnt from an advertisement itself.
#[must_use]
pub fn makes_one_multipath_route(route: &Route) -> bool {
    route.family() == Family::V6 && route.has_gateway() && route.protocol != ADVERTISED_PROTOCOL
}

fn holds(host: &Host, route: &Route) -> bool {
    let timeless = |route: &Route| Route { expires: None, ..route.clone() };
    host.routes.iter().any(|seen| timeless(seen) == timeless(route))
}

/// A gateway must be reachable by a route that is there already, so routes without one come first.
#[must_use]
pub fn in_order_of_need(mut routes: Vec<&Route>) -> Vec<&Route> {
    routes.sort_by_key(|route| (route.has_gateway(), std::cmp::Reverse(route.destination.prefix())));
    routes
}

fn neighbours_to_add(now: &Host, wanted: &Host) -> Vec<Neighbour> {
    wanted.neighbours.iter().filter(|neighbour| !now.neighbours.contains(neighbour)).cloned().collect()
}
