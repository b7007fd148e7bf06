//! Moving addresses, routes, neighbour entries and settings from one device to another, so that traffic hardly notices.

use crate::host::{Address, Family, Host, KERNEL_PROTOCOL, Neighbour, Route};
use crate::interface_name::InterfaceName;
use crate::operation::{LinkChange, Operation};
use crate::plan::draft::Draft;
use crate::plan::repair::{add_address, in_order_of_need, makes_one_multipath_route, repair};
use crate::sysctl::{Sysctl, SysctlKey};

/// Settings of a device that belong to the place in the network where the host's addresses are, and so move along with them.
const IPV4_KEYS: &[&str] = &[
    "accept_local",
    "accept_redirects",
    "accept_source_route",
    "arp_accept",
    "arp_announce",
    "arp_evict_nocarrier",
    "arp_filter",
    "arp_ignore",
    "arp_notify",
    "bc_forwarding",
    "disable_policy",
    "disable_xfrm",
    "drop_gratuitous_arp",
    "drop_unicast_in_l2_multicast",
    "force_igmp_version",
    "forwarding",
    "igmpv2_unsolicited_report_interval",
    "igmpv3_unsolicited_report_interval",
    "ignore_routes_with_linkdown",
    "log_martians",
    "medium_id",
    "promote_secondaries",
    "proxy_arp",
    "proxy_arp_pvlan",
    "route_localnet",
    "rp_filter",
    "secure_redirects",
    "send_redirects",
    "shared_media",
    "src_valid_mark",
    "tag",
];
const IPV6_KEYS: &[&str] = &[
    "accept_dad",
    "accept_ra",
    "accept_ra_defrtr",
    "accept_ra_from_local",
    "accept_ra_min_hop_limit",
    "accept_ra_min_lft",
    "accept_ra_mtu",
    "accept_ra_pinfo",
    "accept_ra_rt_info_max_plen",
    "accept_ra_rt_info_min_plen",
    "accept_ra_rtr_pref",
    "accept_redirects",
    "accept_source_route",
    "accept_untracked_na",
    "addr_gen_mode",
    "autoconf",
    "dad_transmits",
    "disable_ipv6",
    "disable_policy",
    "drop_unicast_in_l2_multicast",
    "drop_unsolicited_na",
    "enhanced_dad",
    "force_forwarding",
    "force_mld_version",
    "forwarding",
    "hop_limit",
    "ignore_routes_with_linkdown",
    "ioam6_enabled",
    "ioam6_id",
    "ioam6_id_wide",
    "keep_addr_on_down",
    "max_addresses",
    "max_desync_factor",
    "mldv1_unsolicited_report_interval",
    "mldv2_unsolicited_report_interval",
    "ndisc_evict_nocarrier",
    "ndisc_notify",
    "ndisc_tclass",
    "optimistic_dad",
    "proxy_ndp",
    "ra_defrtr_metric",
    "ra_honor_pio_life",
    "ra_honor_pio_pflag",
    "regen_max_retry",
    "router_solicitation_delay",
    "router_solicitation_interval",
    "router_solicitation_max_interval",
    "router_solicitations",
    "rpl_seg_enabled",
    "seg6_enabled",
    "seg6_require_hmac",
    STABLE_SECRET,
    "suppress_frag_ndisc",
    "temp_prefered_lft",
    "temp_valid_lft",
    "use_optimistic",
    "use_tempaddr",
];

/// What a device makes its addresses of where they are to tell nothing of its Ethernet address (RFC 7217). One that has none cannot be told to
/// make them so (net/ipv6/addrconf.c, `check_stable_privacy()`).
const STABLE_SECRET: &str = "stable_secret";
/// The setting that says how a device makes its link-local address.
const ADDRESS_GENERATION: &str = "addr_gen_mode";
/// `IN6_ADDR_GEN_MODE_NONE`: the kernel makes no link-local address (include/uapi/linux/if_link.h).
const NO_LINK_LOCAL: &str = "1";

/// The settings that move, by family and key.
pub fn moving_keys() -> impl Iterator<Item = (Family, SysctlKey)> {
    let keys = |family, names: &'static [&'static str]| {
        names.iter().filter_map(move |name| SysctlKey::new(name).ok().map(|key| (family, key)))
    };
    keys(Family::V4, IPV4_KEYS).chain(keys(Family::V6, IPV6_KEYS))
}

/// A move, told in names: what lay on `original` comes to lie on `target`.
pub struct Move<'a> {
    /// The host before anything was touched.
    pub before: &'a Host,
    /// The device that had it all, by its name then.
    pub original: &'a InterfaceName,
    /// The name of that device now.
    pub source: &'a InterfaceName,
    /// The device that gets it all.
    pub target: &'a InterfaceName,
}

impl Move<'_> {
    /// The host with everything in its new place. What `host` has become otherwise (names, ports) stays.
    #[must_use]
    pub fn wanted(&self, host: &Host) -> Host {
        Host {
            addresses: self.before.addresses.iter().map(|address| self.moved_address(address)).collect(),
            routes: self.before.routes.iter().map(|route| route.moved(self.original, self.target)).collect(),
            neighbours: self.before.neighbours.iter().map(|neighbour| self.moved_neighbour(neighbour)).collect(),
            ..host.clone()
        }
    }

    fn moved_address(&self, address: &Address) -> Address {
        if address.device != *self.original {
            return address.clone();
        }
        let label = address.label.as_ref().map(|label| self.moved_label(label));
        Address { device: self.target.clone(), label, ..address.clone() }
    }

    /// `eth0:1` on eth0 becomes `xenbr0:1` on xenbr0; a label that never followed the device's name stays.
    fn moved_label(&self, label: &str) -> String {
        match label.strip_prefix(self.original.as_str()) {
            Some(tail) if tail.is_empty() || tail.starts_with(':') => {
                let room = crate::interface_name::INTERFACE_NAME_MAX.saturating_sub(tail.len());
                let name: String = self.target.as_str().chars().take(room).collect();
                format!("{name}{tail}")
            }
            _ => label.to_owned(),
        }
    }

    fn moved_neighbour(&self, neighbour: &Neighbour) -> Neighbour {
        if neighbour.device != *self.original {
            return neighbour.clone();
        }
        Neighbour { device: self.target.clone(), ..neighbour.clone() }
    }

    /// The settings of the target become those that the original had, but for the way it makes addresses.
    pub fn move_settings(&self, draft: &mut Draft) {
        self.move_keys(draft, |key| key.as_str() != ADDRESS_GENERATION);
    }

    /// The target makes itself link-local addresses as the original did. To be asked for while the target is down, or has its addresses:
    /// a device that is up and has none makes itself one at once, and spends a second on duplicate address detection
    /// (net/ipv6/addrconf.c, `addrconf_sysctl_addr_gen_mode()`).
    pub fn move_address_generation(&self, draft: &mut Draft) {
        self.move_keys(draft, |key| key.as_str() == ADDRESS_GENERATION);
    }

    fn move_keys(&self, draft: &mut Draft, meant: impl Fn(&SysctlKey) -> bool) {
        for (family, key) in moving_keys().filter(|(_, key)| meant(key)) {
            let had = self.before.sysctls.get(&Sysctl::of_device(family, self.original, &key));
            let target = Sysctl::of_device(family, self.target, &key);
            match (had, draft.host.sysctls.get(&target)) {
                (Some(had), has) if has.is_some_and(|has| had != has) || has.is_none() && key.as_str() == STABLE_SECRET => {
                    let value = had.clone();
                    draft.must(Operation::WriteSysctl { sysctl: target, value });
                }
                _ => {}
            }
        }
    }

    /// The source, from now on a mere port, makes itself no link-local address.
    pub fn silence_source(&self, draft: &mut Draft) {
        let Ok(key) = SysctlKey::new(ADDRESS_GENERATION) else { return };
        let sysctl = Sysctl::of_device(Family::V6, self.source, &key);
        if draft.host.sysctls.get(&sysctl).is_some_and(|mode| mode != NO_LINK_LOCAL) {
            draft.must(Operation::WriteSysctl { sysctl, value: NO_LINK_LOCAL.to_owned() });
        }
    }

    /// The addresses are set on the target, in an order that ends in the same list: each IPv4 one stands behind the older ones, each IPv6
    /// one before them.
    pub fn add_addresses(&self, draft: &mut Draft) {
        let of_family = |family| self.before.addresses_of(self.original).filter(move |address| address.family() == family);
        for address in of_family(Family::V4).chain(of_family(Family::V6).rev()) {
            let moved = self.moved_address(address);
            if !draft.host.addresses.contains(&moved) {
                draft.must_all(add_address(&moved));
            }
        }
    }

    /// Routes that somebody set come to lead over the target; at no moment there is none.
    ///
    /// A new one stands behind the old one until that is deleted. Replacing in one act would hit the first route of the same
    /// destination and metric, which may be another device's (net/ipv4/fib_trie.c, `fib_table_insert()`; net/ipv6/ip6_fib.c,
    /// `fib6_add_rt2node()`). IPv6 routes through routers are the exception: those of one destination and metric make up one multipath
    /// route, into which a second one would be merged.
    pub fn replace_routes(&self, draft: &mut Draft) {
        let chosen: Vec<&Route> =
            self.before.routes_over(self.original).filter(|route| route.protocol != KERNEL_PROTOCOL).collect();
        for route in in_order_of_need(chosen) {
            let moved = route.moved(self.original, self.target);
            let on_source = route.moved(self.original, self.source);
            let there = draft.host.routes.contains(&on_source);
            if there && makes_one_multipath_route(&on_source) {
                draft.must(Operation::ReplaceRoute(moved));
                continue;
            }
            draft.must(Operation::AppendRoute(moved));
            if there {
                draft.must(Operation::DeleteRoute(on_source));
            }
        }
    }

    /// Neighbour entries are set on the target.
    pub fn add_neighbours(&self, draft: &mut Draft) {
        for neighbour in self.before.neighbours.iter().filter(|neighbour| neighbour.device == *self.original) {
            draft.must(Operation::AddNeighbour(self.moved_neighbour(neighbour)));
        }
    }

    /// Everything that still lies on the source goes, the youngest address first.
    pub fn clear_source(&self, draft: &mut Draft) {
        let neighbours: Vec<_> =
            draft.host.neighbours.iter().filter(|neighbour| neighbour.device == *self.source).cloned().collect();
        for neighbour in neighbours {
            draft.must(Operation::DeleteNeighbour(neighbour));
        }
        for address in youngest_first(&draft.host, self.source) {
            draft.must(Operation::DeleteAddress(address));
        }
    }

    /// Policy rules that name the original by a name that no longer leads to the host's addresses.
    pub fn move_rules(&self, draft: &mut Draft) {
        if self.original == self.target {
            return;
        }
        let naming: Vec<_> = self.before.rules.iter().filter(|rule| rule.names(self.original)).cloned().collect();
        for rule in naming {
            draft.must(Operation::AddRule(rule.moved(self.original, self.target)));
            draft.must(Operation::DeleteRule(rule));
        }
    }

    /// What the kernel has done by itself on the way, put right.
    pub fn put_right(&self, draft: &mut Draft) {
        let wanted = self.wanted(&draft.host);
        draft.must_all(repair(draft.host.clone(), &wanted));
    }

    /// The target goes down and keeps its addresses. Going down costs those of IPv6; the kernel's own one was made while it was up.
    pub fn take_down(&self, draft: &mut Draft) {
        draft.must(Operation::SetLink { device: self.target.clone(), change: LinkChange::down() });
        let lost = self
            .before
            .addresses_of(self.original)
            .filter(|address| address.family() == Family::V6 && !address.is_ipv6_link_local());
        for address in lost.rev() {
            draft.must(Operation::AddAddress(self.moved_address(address)));
        }
    }
}

/// The addresses of a device in the order in which they can go one by one: an IPv4 address takes the later ones of its network with it, and
/// one that temporary IPv6 addresses are made from takes those with it (Linux 6.13; net/ipv6/addrconf.c, `delete_tempaddrs()`).
fn youngest_first(host: &Host, device: &InterfaceName) -> Vec<Address> {
    let of_family = |family| host.addresses_of(device).filter(move |address| address.family() == family).cloned();
    of_family(Family::V4).rev().chain(of_family(Family::V6)).collect()
}

/// What is missing after all in the host as it was found after a move, compared with what was wanted. Only adds to `target`, and only
/// takes away from `source`: what others have changed meanwhile is theirs.
#[must_use]
pub fn settle(found: &Host, wanted: &Host, source: &InterfaceName, target: &InterfaceName) -> Vec<Operation> {
    let mut draft = Draft::new(found);
    for address in youngest_first(found, source) {
        draft.must(Operation::DeleteAddress(address));
    }
    let missing: Vec<_> = wanted
        .addresses_of(target)
        .filter(|address| !found.addresses.iter().any(|seen| seen.same_entry(address)))
        .cloned()
        .collect();
    for address in &missing {
        draft.must_all(add_address(address));
    }
    let stray: Vec<_> =
        draft.host.routes_over(source).filter(|route| matches!(route.path, crate::host::Path::Single(_))).cloned().collect();
    for route in stray {
        draft.must(Operation::DeleteRoute(route));
    }
    let missing: Vec<&Route> = wanted
        .routes_over(target)
        .filter(|route| !draft.host.routes.iter().any(|seen| seen.same_place(route) && seen.uses(target)))
        .collect();
    for route in in_order_of_need(missing) {
        draft.must(Operation::AppendRoute(route.clone()));
    }
    draft.plan.steps.into_iter().map(|step| step.operation).collect()
}
