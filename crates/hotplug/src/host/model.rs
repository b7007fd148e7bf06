//! What a host looks like after an operation: the kernel's side effects, by rule.
//!
//! Sources: net/ipv4/devinet.c and fib_frontend.c (addresses and the routes that follow them), net/ipv6/addrconf.c and route.c,
//! net/core/dev.c and neighbour.c. The kernel tests compare this with what the running kernel really does.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::{
    ADVERTISED_PROTOCOL, Address, AddressFlags, AdminState, Family, Host, KERNEL_PROTOCOL, LINK_SCOPE, Link, LinkKind, MAIN_TABLE,
    Neighbour, NeighbourKind, NextHop, Path, PortSettings, Route, Rule, Switch, UNICAST, VlanFiltering,
};
use crate::guest_filter::Way;
use crate::interface_name::InterfaceName;
use crate::mac_address::MacAddress;
use crate::operation::{LinkChange, Membership, NewBridge, Operation, Unfilter};
use crate::sysctl::{Sysctl, SysctlKey};

/// `IP6_RT_PRIO_ADDRCONF` (include/net/ip6_route.h).
const IPV6_PREFIX_METRIC: u32 = 256;
/// `ICMPV6_ROUTER_PREF_MEDIUM`: what the kernel shows for every IPv6 route without another preference.
const MEDIUM_PREFERENCE: u8 = 0;

impl Host {
    /// The host as it is after `operation`, side effects included. The operation is taken to succeed.
    #[must_use]
    pub fn after(&self, operation: &Operation) -> Self {
        let mut host = self.clone();
        host.follow(operation);
        host
    }

    /// Becomes the host as it is after `operation`, as [`Host::after`].
    pub fn follow(&mut self, operation: &Operation) {
        match operation {
            Operation::CreateBridge(bridge) => self.create_bridge(bridge),
            Operation::DeleteBridge(name) => self.delete_link(name),
            Operation::RenameLink { from, to } => self.rename(from, to),
            Operation::SetLink { device, change } => self.set_link(device, change),
            Operation::SetPort { device, change } => self.on_port(device, |port| change.apply_to(port)),
            Operation::AddVlans { device, vlans } => self.on_port(device, |port| port.vlans.add(vlans)),
            Operation::DeleteVlans { device, first, last } => self.on_port(device, |port| port.vlans.delete(*first, *last)),
            Operation::AddStation { device, mac } => self.add_station(device, *mac),
            Operation::DeleteStation { device, mac } => self.on_port(device, |port| {
                port.stations.remove(mac);
            }),
            Operation::AddAddress(address) => self.add_address(address),
            Operation::DeleteAddress(address) => self.delete_address(address),
            Operation::ReplaceRoute(route) => match self.routes.iter_mut().find(|seen| seen.same_place(route)) {
                Some(seen) => *seen = route.clone(),
                None => self.routes.push(route.clone()),
            },
            Operation::AddRoute(route) | Operation::AppendRoute(route) => self.routes.push(route.clone()),
            Operation::DeleteRoute(route) => remove_first(&mut self.routes, |seen| seen == route),
            Operation::AddRule(rule) => self.add_rule(rule),
            Operation::DeleteRule(rule) => remove_first(&mut self.rules, |seen| seen == rule),
            Operation::AddNeighbour(neighbour) => {
                self.forget_neighbour(neighbour);
                self.neighbours.push(neighbour.clone());
            }
            Operation::DeleteNeighbour(neighbour) => self.forget_neighbour(neighbour),
            Operation::WriteSysctl { sysctl, value } => self.write_sysctl(sysctl, value),
            Operation::WriteFile { path, text } => {
                self.files.insert(path.clone(), Some(text.clone()));
            }
            Operation::RemoveFile(path) => {
                self.files.insert(path.clone(), None);
            }
            Operation::AddMasquerade(masquerade) => {
                self.masquerades.insert(masquerade.clone());
            }
            Operation::DeleteMasquerade(masquerade) => {
                self.masquerades.remove(masquerade);
            }
            Operation::AddForwardAccept(accept) => {
                self.forward_accepts.retain(|seen| !seen.same_rules(accept));
                self.forward_accepts.push(accept.clone());
            }
            Operation::DeleteForwardAccept(accept) => self.forward_accepts.retain(|seen| !seen.same_rules(accept)),
            Operation::SetGuestFilter(filter) | Operation::RemakeGuestTables(filter) => {
                self.guest_filters.retain(|seen| (seen.way, &seen.device) != (filter.way, &filter.device));
                self.guest_filters.push(filter.clone());
                self.guest_damage.clear();
            }
            Operation::DeleteGuestFilter { filter, when } => {
                if *when == Unfilter::Now || !self.takes_frames(&filter.device, filter.way) {
                    self.guest_filters.retain(|seen| (seen.way, &seen.device) != (filter.way, &filter.device));
                }
            }
            Operation::ReplaceGuestFilters(filters) => {
                self.guest_filters.clone_from(filters);
                self.guest_damage.clear();
            }
            Operation::AddOvsPort(port) => {
                self.ovs_ports.retain(|seen| seen.device != port.device);
                self.ovs_ports.push(port.clone());
            }
            Operation::RemoveOvsPort(device) => self.ovs_ports.retain(|seen| seen.device != *device),
            Operation::WriteStore(entries) => {
                self.store.extend(entries.iter().map(|entry| (entry.path.clone(), Some(entry.value.clone()))));
            }
            Operation::Connect { frontend, status } => {
                let entries = frontend.iter().chain([status]);
                self.store.extend(entries.map(|entry| (entry.path.clone(), Some(entry.value.clone()))));
            }
            Operation::RemoveStore(path) => {
                self.store.insert(path.clone(), None);
            }
            Operation::RunHooks(_)
            | Operation::ChangeFilesOf(_)
            | Operation::Restart(_)
            | Operation::EndLease(_)
            | Operation::IfDown(_)
            | Operation::IfUp(_)
            | Operation::AwaitCarrier { .. }
            | Operation::CheckNeighbour { .. } => {}
        }
    }

    /// Whether the host takes frames from this device that come in this way.
    fn takes_frames(&self, device: &InterfaceName, way: Way) -> bool {
        let plugged = |link: &Link| way == Way::Routed || link.master.is_some();
        self.link(device).is_some_and(|link| link.state == AdminState::Up && plugged(link))
    }

    /// Forwarding of the whole host is forwarding of every device, and of those to come (`inet_forward_change()`, net/ipv4/devinet.c;
    /// `addrconf_fixup_forwarding()`, net/ipv6/addrconf.c). A router believes no redirects of IPv4, and has no
    /// default route of IPv6 from another router's advertisement, be it a router on one device only.
    fn write_sysctl(&mut self, sysctl: &Sysctl, value: &str) {
        let old = self.sysctls.insert(sysctl.clone(), value.to_owned());
        let off = value == "0";
        if let ("stable_secret", Some(device), Ok(mode)) = (sysctl.key(), sysctl.device(), SysctlKey::new("addr_gen_mode")) {
            // addrconf_sysctl_stable_secret(): with it the device is told to use it (`IN6_ADDR_GEN_MODE_STABLE_PRIVACY`).
            self.sysctls.insert(Sysctl::of_device(Family::V6, device, &mode), "2".to_owned());
        }
        if sysctl.key() != "forwarding" || *sysctl == sysctl.for_new_devices() || old.as_deref() == Some(value) {
            return;
        }
        if sysctl.family() == Family::V6 && !off {
            self.forget_advertised_defaults();
        }
        if !sysctl.is_forwarding_of_the_host() {
            return;
        }
        for (seen, setting) in &mut self.sysctls {
            if seen.family() != sysctl.family() {
                continue;
            }
            if seen.key() == sysctl.key() {
                value.clone_into(setting);
            } else if seen.is_redirects_of_the_host() && seen.family() == Family::V4 {
                *setting = if off { "1" } else { "0" }.to_owned();
            }
        }
    }

    /// `rt6_purge_dflt_routers()` (net/ipv6/route.c) spares devices that listen to advertisements even as routers. A route of this protocol
    /// over a device that listens to none is a daemon's, and stays too.
    fn forget_advertised_defaults(&mut self) {
        let Ok(key) = SysctlKey::new("accept_ra") else { return };
        let Self { sysctls, routes, .. } = self;
        let no_longer = |device: &InterfaceName| {
            sysctls.get(&Sysctl::of_device(Family::V6, device, &key)).is_some_and(|accepted| accepted == "1")
        };
        let lost = |route: &Route| {
            route.family() == Family::V6
                && route.destination.prefix() == 0
                && route.protocol == ADVERTISED_PROTOCOL
                && route.path.next_hops().iter().any(|hop| hop.device.as_ref().is_some_and(no_longer))
        };
        routes.retain(|route| !lost(route));
    }

    /// The kernel takes no rule twice (`NLM_F_EXCL`), and keeps them by priority.
    fn add_rule(&mut self, rule: &Rule) {
        if self.rules.contains(rule) {
            return;
        }
        let place = self.rules.iter().position(|seen| seen.family == rule.family && seen.priority > rule.priority);
        self.rules.insert(place.unwrap_or(self.rules.len()), rule.clone());
    }

    fn link_mut(&mut self, name: &InterfaceName) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.name == *name)
    }

    fn create_bridge(&mut self, bridge: &NewBridge) {
        self.links.push(Link {
            name: bridge.name.clone(),
            index: None,
            kind: LinkKind::Bridge,
            mac: bridge.mac,
            mtu: bridge.mtu,
            transmit_queue: bridge.transmit_queue,
            state: AdminState::Down,
            promiscuous: Switch::Off,
            all_multicast: Switch::Off,
            master: None,
            alias: None,
            vlan_filtering: VlanFiltering::Off,
            port: PortSettings::default(),
        });
        let defaults: Vec<_> = self
            .sysctls
            .iter()
            .filter(|(sysctl, _)| **sysctl == sysctl.for_new_devices())
            .map(|(sysctl, value)| (sysctl.on_device(&bridge.name), value.clone()))
            .collect();
        self.sysctls.extend(defaults);
    }

    fn delete_link(&mut self, name: &InterfaceName) {
        self.links.retain(|link| link.name != *name);
        for link in &mut self.links {
            if link.master.as_ref() == Some(name) {
                link.master = None;
                link.port = PortSettings::default();
            }
        }
        self.addresses.retain(|address| address.device != *name);
        self.neighbours.retain(|neighbour| neighbour.device != *name);
        self.sysctls.retain(|sysctl, _| sysctl.device() != Some(name));
        self.drop_routes_over(name, Loss::Gone, |_| true);
    }

    /// Policy rules keep the name they were given; the kernel ties them to whatever bears it (net/core/fib_rules.c).
    fn rename(&mut self, from: &InterfaceName, to: &InterfaceName) {
        let follow = |name: &mut InterfaceName| {
            if name == from {
                *name = to.clone();
            }
        };
        for link in &mut self.links {
            follow(&mut link.name);
            if let Some(master) = &mut link.master {
                follow(master);
            }
        }
        self.routes = self.routes.iter().map(|route| route.moved(from, to)).collect();
        for neighbour in &mut self.neighbours {
            follow(&mut neighbour.device);
        }
        let (moved, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.sysctls).into_iter().partition(|(sysctl, _)| sysctl.device() == Some(from));
        self.sysctls = kept.into_iter().chain(moved.into_iter().map(|(sysctl, value)| (sysctl.on_device(to), value))).collect();
        self.relabel(from, to);
        for address in &mut self.addresses {
            follow(&mut address.device);
        }
    }

    /// `inetdev_changename()` (net/ipv4/devinet.c): the first label becomes the new name; each further one keeps what stood behind its
    /// colon, or gets its place in the list where it had none.
    fn relabel(&mut self, device: &InterfaceName, to: &InterfaceName) {
        let labelled = self.addresses.iter_mut().filter(|address| address.device == *device && address.label.is_some());
        for (place, address) in labelled.enumerate() {
            let old = address.label.take().unwrap_or_default();
            let suffix = match (place, old.split_once(':')) {
                (0, _) => String::new(),
                (_, Some((_, tail))) => format!(":{tail}"),
                (_, None) => format!(":{}", place + 1),
            };
            address.label = Some(label_of(to.as_str(), &suffix));
        }
    }

    /// What is no port has no settings of one.
    fn on_port(&mut self, device: &InterfaceName, change: impl FnOnce(&mut PortSettings)) {
        if let Some(link) = self.link_mut(device).filter(|link| link.master.is_some()) {
            change(&mut link.port);
        }
    }

    /// One bridge has an address at one port only.
    fn add_station(&mut self, device: &InterfaceName, mac: MacAddress) {
        let Some(bridge) = self.link(device).and_then(|link| link.master.clone()) else { return };
        for link in &mut self.links {
            if link.name == *device {
                link.port.stations.insert(mac);
            } else if link.master.as_ref() == Some(&bridge) {
                link.port.stations.remove(&mac);
            }
        }
    }

    /// A bridge knows nothing of a new port but what it knows of all (net/bridge/br_if.c, `new_nbp()`; br_vlan.c, `nbp_vlan_init()`).
    fn settings_of_new_port(&self, membership: &Membership) -> PortSettings {
        let bridge = match membership {
            Membership::Port(bridge) => self.link(bridge),
            Membership::Free => None,
        };
        let vlans = bridge.map(|bridge| bridge.vlan_filtering.vlans_of_new_port()).unwrap_or_default();
        PortSettings { vlans, ..PortSettings::default() }
    }

    fn set_link(&mut self, device: &InterfaceName, change: &LinkChange) {
        let new_port = change.membership.as_ref().map(|membership| self.settings_of_new_port(membership));
        let Some(link) = self.link_mut(device) else { return };
        let effective = change.missing_from(link);
        let master_before = link.master.clone();
        link.mac = change.mac.or(link.mac);
        link.mtu = change.mtu.unwrap_or(link.mtu);
        link.promiscuous = change.promiscuous.unwrap_or(link.promiscuous);
        link.all_multicast = change.all_multicast.unwrap_or(link.all_multicast);
        link.state = change.state.unwrap_or(link.state);
        if let Some(alias) = &change.alias {
            link.alias = Some(alias.clone()).filter(|alias| !alias.is_empty());
        }
        match &change.membership {
            Some(Membership::Port(bridge)) => link.master = Some(bridge.clone()),
            Some(Membership::Free) => link.master = None,
            None => {}
        }
        if let (Some(_), Some(settings)) = (&effective.membership, new_port) {
            link.port = settings;
        }
        match effective.state {
            Some(AdminState::Down) => self.went_down(device),
            Some(AdminState::Up) => self.went_up(device),
            None => {}
        }
        if let Some(bridge) = master_before {
            self.lose_carrier_without_ports(&bridge);
        }
    }

    /// A bridge whose last port is gone or down has no carrier any more, and a device that loses its carrier answers for nobody any more:
    /// `neigh_carrier_down()` (net/core/neighbour.c). Its permanent entries stay.
    fn lose_carrier_without_ports(&mut self, bridge: &InterfaceName) {
        if self.ports_of(bridge).all(|port| port.state == AdminState::Down) {
            self.neighbours
                .retain(|neighbour| neighbour.device != *bridge || matches!(neighbour.kind, NeighbourKind::Permanent(_)));
        }
    }

    /// All routes over it go, and IPv6 gives up its addresses too (contract: kernel facts that bite).
    fn went_down(&mut self, device: &InterfaceName) {
        self.drop_routes_over(device, Loss::Down, |_| true);
        self.addresses.retain(|address| address.device != *device || address.family() == Family::V4);
        self.neighbours.retain(|neighbour| neighbour.device != *device);
    }

    /// Only the routes of its IPv4 networks come back.
    fn went_up(&mut self, device: &InterfaceName) {
        let addresses: Vec<Address> = self.addresses_of(device).cloned().collect();
        for address in &addresses {
            self.add_prefix_routes(address);
        }
    }

    /// A multipath route shows its dead ways until the last one is dead (`fib_sync_down_dev()`, `fib6_ifdown()`). When a device is gone for
    /// good, IPv4 gives up the whole route, and IPv6 the one way.
    fn drop_routes_over(&mut self, device: &InterfaceName, loss: Loss, affected: impl Fn(&Route) -> bool) {
        let down = |name: &InterfaceName| self.links.iter().any(|link| link.name == *name && link.state == AdminState::Down);
        let alive = |hop: &NextHop| hop.device.as_ref().is_some_and(|name| name != device && !down(name));
        self.routes.retain_mut(|route| {
            if !affected(route) || !route.uses(device) {
                return true;
            }
            let ipv6 = route.family() == Family::V6;
            let Path::Multi(hops) = &mut route.path else { return false };
            if loss == Loss::Down {
                return hops.iter().any(alive);
            }
            hops.retain(|hop| hop.device.as_ref() != Some(device));
            if let [only] = hops.as_slice() {
                route.path = Path::Single(only.clone());
            }
            ipv6 && !route.path.next_hops().is_empty()
        });
    }

    fn is_up(&self, device: &InterfaceName) -> bool {
        self.link(device).is_some_and(|link| link.state == AdminState::Up)
    }

    fn add_address(&mut self, address: &Address) {
        if let Some(place) = self.addresses.iter().position(|seen| seen.same_entry(address)) {
            return self.change_address(place, address);
        }
        let place = match address.family() {
            Family::V4 => self.place_for_ipv4(address),
            Family::V6 => self.place_for_ipv6(address),
        };
        self.addresses.insert(place, address.clone());
        self.add_prefix_routes(address);
    }

    /// Of an IPv4 address only the metric, the origin and the lifetimes change in place (`inet_rtm_newaddr()`). An IPv6 one keeps its
    /// metric where no other is given (`inet6_addr_modify()`).
    fn change_address(&mut self, place: usize, address: &Address) {
        let old = self.addresses[place].clone();
        let new = match address.family() {
            Family::V4 => Address { metric: address.metric, origin: address.origin, lifetimes: address.lifetimes, ..old.clone() },
            Family::V6 => Address { metric: address.metric.or(old.metric), ..address.clone() },
        };
        self.addresses[place] = new.clone();
        if new.flags.has(AddressFlags::NO_PREFIX_ROUTE) {
            if new.family() == Family::V6 {
                self.forget_ipv6_prefix(&old);
            }
        } else if self.is_up(&new.device) {
            let before = self.prefix_routes(&old);
            self.routes.retain(|route| !before.iter().any(|old| same_but_for_time(old, route)));
            self.add_prefix_routes(&new);
        }
    }

    /// `__inet_insert_ifa()`: behind the last primary address of the same or a wider scope; a secondary one goes last.
    fn place_for_ipv4(&self, address: &Address) -> usize {
        let own = |(_, seen): &(usize, &Address)| seen.device == address.device && seen.family() == Family::V4;
        let end = self.addresses.iter().enumerate().filter(own).map(|(place, _)| place + 1).next_back();
        if self.is_secondary_behind(address, self.addresses.len()) {
            return end.unwrap_or(self.addresses.len());
        }
        let first = self.addresses.iter().enumerate().find(own).map(|(place, _)| place);
        self.addresses
            .iter()
            .enumerate()
            .filter(own)
            .filter(|(place, seen)| !self.is_secondary_behind(seen, *place) && address.scope <= seen.scope)
            .map(|(place, _)| place + 1)
            .next_back()
            .or(first)
            .unwrap_or(self.addresses.len())
    }

    /// Whether an address of the same network stands before `limit`, which makes `address` a secondary one.
    fn is_secondary_behind(&self, address: &Address, limit: usize) -> bool {
        self.addresses[..limit].iter().any(|seen| {
            seen.device == address.device && !seen.same_entry(address) && seen.family() == Family::V4 && same_subnet(seen, address)
        })
    }

    /// `ipv6_link_dev_addr()`: wider scopes first, and the newest first among equals.
    fn place_for_ipv6(&self, address: &Address) -> usize {
        let own = |seen: &Address| seen.device == address.device && seen.family() == Family::V6;
        let narrowness = |seen: &Address| u8::from(seen.is_ipv6_link_local());
        let end =
            self.addresses.iter().rposition(|seen| seen.device == address.device).map_or(self.addresses.len(), |last| last + 1);
        self.addresses.iter().position(|seen| own(seen) && narrowness(address) <= narrowness(seen)).unwrap_or(end)
    }

    fn add_prefix_routes(&mut self, address: &Address) {
        if !self.is_up(&address.device) || address.flags.has(AddressFlags::NO_PREFIX_ROUTE) {
            return;
        }
        for route in self.prefix_routes(address) {
            match self.routes.iter_mut().find(|seen| same_but_for_time(seen, &route)) {
                // A route that stays for ever is not made to end; one that ends takes the newest time (`fib6_add_rt2node()`).
                Some(seen) => seen.expires = seen.expires.and(route.expires),
                None => self.routes.push(route),
            }
        }
    }

    /// The routes that the kernel makes for an address: `fib_add_ifaddr()`, `addrconf_prefix_route()`.
    fn prefix_routes(&self, address: &Address) -> Vec<Route> {
        let prefix = address.network.prefix();
        match address.family() {
            Family::V4 => {
                let place = self.addresses.iter().position(|seen| seen.same_entry(address)).unwrap_or(self.addresses.len());
                let secondary = self.is_secondary_behind(address, place);
                let towards = address.peer.unwrap_or(address.network.ip());
                let single = prefix == 32 && address.peer.is_none();
                if secondary || single { vec![] } else { prefix_route(address, towards).into_iter().collect() }
            }
            Family::V6 => {
                let own = prefix_route(address, address.network.ip());
                own.into_iter().chain(peer_route(address)).collect()
            }
        }
    }

    fn delete_address(&mut self, address: &Address) {
        let Some(place) = self.addresses.iter().position(|seen| seen.same_entry(address)) else { return };
        let primary = !self.is_secondary_behind(address, place);
        let mut gone = vec![self.addresses.remove(place)];
        if address.family() == Family::V4 && primary {
            // Without `promote_secondaries`, the others of the network go with their primary address.
            let follows =
                |seen: &mut Address| seen.device == address.device && seen.family() == Family::V4 && same_subnet(seen, address);
            gone.extend(self.addresses.extract_if(.., follows));
        }
        for address in &gone {
            match address.family() {
                Family::V4 => self.forget_ipv4_address(address),
                Family::V6 => self.forget_ipv6_address(address),
            }
        }
    }

    fn forget_ipv4_address(&mut self, address: &Address) {
        let device = &address.device;
        if !self.addresses.iter().any(|seen| seen.device == *device && seen.family() == Family::V4) {
            // fib_disable_ip(): a device without an IPv4 address has no IPv4 routes and no ARP entries.
            self.drop_routes_over(device, Loss::Down, |route| route.family() == Family::V4);
            self.neighbours.retain(|seen| seen.device != *device || seen.address.is_ipv6());
        }
        let towards = address.peer.unwrap_or(address.network.ip());
        let still_covered = self.addresses_of(device).any(|seen| seen.family() == Family::V4 && same_subnet(seen, address));
        if let (Some(own), false) = (prefix_route(address, towards), still_covered) {
            self.routes.retain(|route| *route != own);
        }
        let local = address.network.ip();
        if !self.addresses.iter().any(|seen| seen.network.ip() == local) {
            self.routes.retain(|route| route.preferred_source != Some(local));
        }
    }

    fn forget_ipv6_address(&mut self, address: &Address) {
        if !address.flags.has(AddressFlags::NO_PREFIX_ROUTE) {
            self.forget_ipv6_prefix(address);
        }
        if let Some(towards_peer) = peer_route(address) {
            self.routes.retain(|route| *route != towards_peer);
        }
        let local = address.network.ip();
        if !self.addresses.iter().any(|seen| seen.network.ip() == local) {
            for route in &mut self.routes {
                if route.preferred_source == Some(local) {
                    route.preferred_source = None;
                }
            }
        }
    }

    /// `check_cleanup_prefix_route()`: the route of an address with a lifetime ends by itself. Another address of the network keeps the
    /// route, for as long as that address lives.
    fn forget_ipv6_prefix(&mut self, address: &Address) {
        let Some(own) = prefix_route(address, address.network.ip()) else { return };
        if address.lifetimes.valid.is_some() {
            return;
        }
        let shares = |seen: &&Address| {
            !seen.same_entry(address)
                && seen.family() == Family::V6
                && prefix_route(seen, seen.network.ip()).is_some_and(|route| route.destination == own.destination)
        };
        let others: Vec<&Address> = self.addresses_of(&address.device).filter(shares).collect();
        let lasting = |seen: &&Address| seen.lifetimes.valid.is_none() || seen.flags.has(AddressFlags::NO_PREFIX_ROUTE);
        if others.iter().any(lasting) {
            return;
        }
        let longest = others.iter().filter_map(|seen| seen.lifetimes.valid).max();
        self.routes.retain_mut(|route| {
            if !same_but_for_time(route, &own) {
                return true;
            }
            route.expires = longest;
            longest.is_some()
        });
    }

    fn forget_neighbour(&mut self, neighbour: &Neighbour) {
        self.neighbours.retain(|seen| seen.device != neighbour.device || seen.address != neighbour.address);
    }
}

/// A label as long as the kernel keeps it (`IFNAMSIZ`): the end counts, not the beginning.
fn label_of(name: &str, suffix: &str) -> String {
    let room = crate::interface_name::INTERFACE_NAME_MAX.saturating_sub(suffix.len());
    let name: String = name.chars().take(room).collect();
    format!("{name}{suffix}")
}

fn remove_first<T>(list: &mut Vec<T>, matches: impl Fn(&T) -> bool) {
    if let Some(place) = list.iter().position(matches) {
        list.remove(place);
    }
}

/// Whether two IPv4 addresses of a device belong to one network, as `inet_ifa_match()` sees it: by the far end's address.
fn same_subnet(one: &Address, other: &Address) -> bool {
    let far = |address: &Address| IpNetwork::new(address.peer.unwrap_or(address.network.ip()), address.network.prefix());
    match (far(one), far(other)) {
        (Ok(one), Ok(other)) => one.prefix() == other.prefix() && one.network() == other.network(),
        _ => false,
    }
}

/// What became of a device that routes led over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// It is down, or has lost its last address.
    Down,
    /// It is gone.
    Gone,
}

fn same_but_for_time(one: &Route, other: &Route) -> bool {
    Route { expires: None, ..one.clone() } == Route { expires: None, ..other.clone() }
}

/// The route to the other end of a point-to-point IPv6 address: for ever, and to that end alone (`__ipv6_ifa_notify()`).
fn peer_route(address: &Address) -> Option<Route> {
    let peer = address.peer?;
    let network = IpNetwork::new(peer, 128).ok()?;
    Some(Route { expires: None, ..prefix_route(&Address { network, ..address.clone() }, peer)? })
}

/// The route to the network around `towards` that comes with `address`.
fn prefix_route(address: &Address, towards: IpAddr) -> Option<Route> {
    let network = IpNetwork::new(towards, address.network.prefix()).ok()?;
    let destination = IpNetwork::new(network.network(), network.prefix()).ok()?;
    let ipv4 = destination.is_ipv4();
    Some(Route {
        destination,
        source: None,
        table: MAIN_TABLE,
        kind: UNICAST,
        protocol: KERNEL_PROTOCOL,
        scope: if ipv4 { LINK_SCOPE } else { 0 },
        tos: 0,
        metric: address.metric.unwrap_or(if ipv4 { 0 } else { IPV6_PREFIX_METRIC }),
        preferred_source: ipv4.then_some(address.network.ip()),
        path: Path::Single(NextHop {
            device: Some(address.device.clone()),
            gateway: None,
            weight: 1,
            on_link: Switch::Off,
            other: vec![],
        }),
        expires: if ipv4 { None } else { address.lifetimes.valid },
        preference: (!ipv4).then_some(MEDIUM_PREFERENCE),
        other: vec![],
    })
}
