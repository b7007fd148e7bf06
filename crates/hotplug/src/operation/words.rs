//! Operations in the words an operator would type.

use std::fmt;

use super::{LinkChange, Membership, NewBridge, Operation, PortChange, Service};
use crate::firewall::{AcceptPlace, ChainFamily, ChainKeeper, ForwardAccept, Masquerade, TABLE, Traffic};
use crate::host::{
    Address, AddressFlags, AdminState, Family, LINK_SCOPE, Lifetimes, MAIN_TABLE, Neighbour, NeighbourKind, NextHop, Path,
    RawAttribute, Route, Rule, Switch, UNICAST,
};
use crate::openvswitch::OvsPort;
use crate::vlan::{Egress, Ingress, VlanId, VlanSpan};

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateBridge(bridge) => bridge.fmt(f),
            Self::DeleteBridge(name) => write!(f, "ip link delete dev {name} type bridge"),
            Self::RenameLink { from, to } => write!(f, "ip link set dev {from} name {to}"),
            Self::SetLink { device, change } => write!(f, "ip link set dev {device}{change}"),
            Self::SetPort { device, change } => write!(f, "ip link set dev {device} type bridge_slave{change}"),
            Self::AddVlans { device, vlans } => write!(f, "bridge vlan add dev {device} {vlans} master"),
            Self::DeleteVlans { device, first, last } => {
                write!(f, "bridge vlan delete dev {device} ")?;
                write_vlans(f, *first, *last)?;
                f.write_str(" master")
            }
            Self::AddStation { device, mac } => write!(f, "bridge fdb replace {mac} dev {device} master sticky static"),
            Self::DeleteStation { device, mac } => write!(f, "bridge fdb delete {mac} dev {device} master"),
            Self::AddAddress(address) => write!(f, "ip address replace {address}"),
            Self::DeleteAddress(address) => write!(f, "ip address delete {} dev {}", network_of(address), address.device),
            Self::AddRoute(route) => write!(f, "ip{} route add {route}", dash_six(route.family())),
            Self::ReplaceRoute(route) => write!(f, "ip{} route replace {route}", dash_six(route.family())),
            Self::AppendRoute(route) => write!(f, "ip{} route append {route}", dash_six(route.family())),
            Self::DeleteRoute(route) => write!(f, "ip{} route delete {route}", dash_six(route.family())),
            Self::AddRule(rule) => write!(f, "ip{} rule add {rule}", dash_six(rule.family)),
            Self::DeleteRule(rule) => write!(f, "ip{} rule delete {rule}", dash_six(rule.family)),
            Self::AddNeighbour(neighbour) => write!(f, "ip neighbour replace {neighbour}"),
            Self::DeleteNeighbour(neighbour) => write!(f, "ip neighbour delete {neighbour}"),
            Self::WriteSysctl { sysctl, value } => write!(f, "sysctl -w {sysctl}={value}"),
            Self::WriteFile { path, .. } => write!(f, "write {}", path.display()),
            Self::RemoveFile(path) => write!(f, "rm {}", path.display()),
            Self::ChangeFilesOf(_) => f.write_str("# files that the server has read are changed:"),
            Self::Restart(Service::Systemd(unit)) => write!(f, "systemctl restart {unit}"),
            Self::Restart(Service::InitScript(path)) => write!(f, "{} restart", path.display()),
            Self::Restart(Service::HangUp { pid_file, program }) => {
                write!(f, "kill -HUP $(cat {}) # {program}", pid_file.display())
            }
            Self::EndLease(end) => write!(f, "dhcp_release {} {} {}", end.device, end.address, end.holder.mac),
            Self::AddMasquerade(masquerade) => write!(f, "nft add element {}", element(masquerade)),
            Self::DeleteMasquerade(masquerade) => write!(f, "nft delete element {}", element(masquerade)),
            Self::AddForwardAccept(accept) => write_accept(f, Verb::Add, accept),
            Self::DeleteForwardAccept(accept) => write_accept(f, Verb::Delete, accept),
            Self::SetGuestFilter(filter) => write!(f, "filter the guest of {}: {filter}", filter.device),
            Self::RemakeGuestTables(filter) => {
                write!(f, "make the guest filter anew, and filter the guest of {}: {filter}", filter.device)
            }
            Self::DeleteGuestFilter { filter, .. } => write!(f, "no longer filter the guest of {}", filter.device),
            Self::ReplaceGuestFilters(filters) => {
                write!(f, "filter these guests, and no others:")?;
                filters.iter().try_for_each(|filter| write!(f, " {} ({filter})", filter.device))
            }
            Self::AddOvsPort(port) => port.fmt(f),
            Self::RemoveOvsPort(device) => write!(f, "ovs-vsctl --if-exists del-port {device}"),
            Self::WriteStore(entries) => {
                f.write_str("xenstore-write")?;
                entries.iter().try_for_each(|entry| write!(f, " {} {}", entry.path, quoted(&entry.value)))
            }
            Self::Connect { frontend, status } => {
                f.write_str("xenstore-write")?;
                let entries = frontend.iter().chain([status]);
                entries.into_iter().try_for_each(|entry| write!(f, " {} {}", entry.path, quoted(&entry.value)))
            }
            Self::RemoveStore(path) => write!(f, "xenstore-rm {path}"),
            Self::RunHooks(call) => write!(f, "run hooks {}", call.hooks.join(" ")),
            Self::IfDown(device) => write!(f, "ifdown {device}"),
            Self::IfUp(device) => write!(f, "ifup {device}"),
            Self::AwaitCarrier { device, limit } => write!(f, "wait for the link of {device} (at most {} s)", limit.as_secs()),
            Self::CheckNeighbour { device, address, limit } => {
                write!(f, "check that {address} answers on {device} (within {} s)", limit.as_secs())
            }
        }
    }
}

/// An element of the sets in our own table.
fn element(masquerade: &Masquerade) -> String {
    format!("inet {TABLE} {} {{ \"{}\" }}", Masquerade::set_name(masquerade.family), masquerade.device)
}

enum Verb {
    Add,
    Delete,
}

fn write_accept(f: &mut fmt::Formatter<'_>, verb: Verb, accept: &ForwardAccept) -> fmt::Result {
    let ForwardAccept { chain, device, place, traffic } = accept;
    let signature = ForwardAccept::signature(device, *traffic);
    match (verb, chain.keeper) {
        (Verb::Delete, ChainKeeper::NfTables) => write!(f, "nft delete rule {chain} # comment \"{signature}\""),
        (Verb::Add, ChainKeeper::NfTables) => {
            let (verb, place) = match place {
                AcceptPlace::End => ("add", String::new()),
                AcceptPlace::Head => ("insert", String::new()),
                AcceptPlace::Before(handle) => ("insert", format!(" position {handle}")),
            };
            let packets = match traffic {
                Traffic::FromAndTo => format!("iifname/oifname \"{device}\""),
                Traffic::Bridged => format!("iifname \"{device}\" oifname \"{device}\""),
            };
            write!(f, "nft {verb} rule {chain}{place} {packets} accept comment \"{signature}\"")
        }
        (verb, ChainKeeper::LegacyTables) => {
            let tool = if chain.family == ChainFamily::Ip6 { "ip6tables-legacy" } else { "iptables-legacy" };
            let verb = if matches!(verb, Verb::Add) { "-A" } else { "-D" };
            let packets = match traffic {
                Traffic::FromAndTo => format!("-i/-o {device}"),
                Traffic::Bridged => format!("-i {device} -o {device}"),
            };
            write!(f, "{tool} {verb} {} {packets} -m comment --comment {signature} -j ACCEPT", chain.name)
        }
    }
}

impl fmt::Display for OvsPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ovs-vsctl --may-exist add-port {} {}", self.bridge, self.device)?;
        if let Some(tag) = self.vlans.tag {
            write!(f, " tag={tag}")?;
        }
        let trunks: Vec<_> = self.vlans.trunks.iter().map(ToString::to_string).collect();
        if !trunks.is_empty() {
            write!(f, " trunks={}", trunks.join(","))?;
        }
        if !self.ids.is_empty() {
            write!(f, " -- set interface {}", self.device)?;
        }
        self.ids.iter().try_for_each(|(id, value)| write!(f, " external-ids:{}={}", id.key(), quoted(value)))
    }
}

/// A value as a shell would take it for one word.
fn quoted(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'-' | b'_' | b'/' | b'@');
    if !value.is_empty() && value.bytes().all(plain) { value.to_owned() } else { format!("'{}'", value.replace('\'', "'\\''")) }
}

/// What `ip` needs to hear before `route` or `rule` for IPv6.
fn dash_six(family: Family) -> &'static str {
    match family {
        Family::V4 => "",
        Family::V6 => " -6",
    }
}

fn on_off(switch: Switch) -> &'static str {
    match switch {
        Switch::On => "on",
        Switch::Off => "off",
    }
}

impl fmt::Display for NewBridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ip link add name {}", self.name)?;
        if let Some(mac) = self.mac {
            write!(f, " address {mac}")?;
        }
        write!(f, " mtu {} txqueuelen {} type bridge stp_state 0 forward_delay 0", self.mtu, self.transmit_queue)
    }
}

impl fmt::Display for LinkChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(mac) = self.mac {
            write!(f, " address {mac}")?;
        }
        if let Some(mtu) = self.mtu {
            write!(f, " mtu {mtu}")?;
        }
        match &self.membership {
            Some(Membership::Port(bridge)) => write!(f, " master {bridge}")?,
            Some(Membership::Free) => f.write_str(" nomaster")?,
            None => {}
        }
        if let Some(switch) = self.promiscuous {
            write!(f, " promisc {}", on_off(switch))?;
        }
        if let Some(switch) = self.all_multicast {
            write!(f, " allmulticast {}", on_off(switch))?;
        }
        if let Some(alias) = &self.alias {
            write!(f, " alias {}", quoted(alias))?;
        }
        match self.state {
            Some(AdminState::Up) => f.write_str(" up"),
            Some(AdminState::Down) => f.write_str(" down"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for PortChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (setting, switch) in [("isolated", self.isolated), ("learning", self.learning)] {
            if let Some(switch) = switch {
                write!(f, " {setting} {}", on_off(switch))?;
            }
        }
        self.groups.map_or(Ok(()), |groups| write!(f, " group_fwd_mask {:#x}", groups.0))
    }
}

fn write_vlans(f: &mut fmt::Formatter<'_>, first: VlanId, last: VlanId) -> fmt::Result {
    write!(f, "vid {first}")?;
    if first == last { Ok(()) } else { write!(f, "-{last}") }
}

impl fmt::Display for VlanSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_vlans(f, self.first, self.last)?;
        if self.ingress == Ingress::Untagged {
            f.write_str(" pvid")?;
        }
        if self.egress == Egress::Untagged {
            f.write_str(" untagged")?;
        }
        Ok(())
    }
}

/// The address part of an `ip address` line.
fn network_of(address: &Address) -> String {
    match address.peer {
        Some(peer) => format!("{} peer {peer}/{}", address.network.ip(), address.network.prefix()),
        None => address.network.to_string(),
    }
}

fn scope_name(scope: u8) -> String {
    match scope {
        0 => "global".to_owned(),
        200 => "site".to_owned(),
        LINK_SCOPE => "link".to_owned(),
        254 => "host".to_owned(),
        other => other.to_string(),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dev {}", network_of(self), self.device)?;
        if let Some(broadcast) = self.broadcast {
            write!(f, " broadcast {broadcast}")?;
        }
        if let Some(label) = &self.label {
            write!(f, " label {label}")?;
        }
        if self.scope != 0 {
            write!(f, " scope {}", scope_name(self.scope))?;
        }
        if let Some(metric) = self.metric {
            write!(f, " metric {metric}")?;
        }
        for (flag, word) in [
            (AddressFlags::NO_DAD, "nodad"),
            (AddressFlags::HOME, "home"),
            (AddressFlags::MANAGE_TEMPORARY, "mngtmpaddr"),
            (AddressFlags::NO_PREFIX_ROUTE, "noprefixroute"),
            (AddressFlags::MULTICAST_AUTOJOIN, "autojoin"),
        ] {
            if self.flags.has(flag) {
                write!(f, " {word}")?;
            }
        }
        self.lifetimes.fmt(f)
    }
}

impl fmt::Display for Lifetimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(valid) = self.valid {
            write!(f, " valid_lft {valid}")?;
        }
        match self.preferred {
            Some(preferred) => write!(f, " preferred_lft {preferred}"),
            None => Ok(()),
        }
    }
}

fn write_network(f: &mut fmt::Formatter<'_>, network: ipnetwork::IpNetwork) -> fmt::Result {
    if network.prefix() == 0 {
        f.write_str("default")
    } else if (network.is_ipv4() && network.prefix() == 32) || network.prefix() == 128 {
        write!(f, "{}", network.ip())
    } else {
        write!(f, "{network}")
    }
}

/// The word for a kind of route (`RTN_*`), with the space behind it.
fn kind_word(kind: u8) -> &'static str {
    match kind {
        2 => "local ",
        3 => "broadcast ",
        4 => "anycast ",
        5 => "multicast ",
        6 => "blackhole ",
        7 => "unreachable ",
        8 => "prohibit ",
        9 => "throw ",
        _ => "",
    }
}

fn protocol_name(protocol: u8) -> String {
    match protocol {
        1 => "redirect".to_owned(),
        2 => "kernel".to_owned(),
        3 => "boot".to_owned(),
        4 => "static".to_owned(),
        9 => "ra".to_owned(),
        16 => "dhcp".to_owned(),
        other => other.to_string(),
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        if let Some(device) = &self.device {
            write!(f, " dev {device}")?;
        }
        if self.weight != 1 {
            write!(f, " weight {}", self.weight)?;
        }
        match self.on_link {
            Switch::On => f.write_str(" onlink"),
            Switch::Off => Ok(()),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind != UNICAST {
            f.write_str(kind_word(self.kind))?;
        }
        write_network(f, self.destination)?;
        if let Some(source) = self.source {
            write!(f, " from {source}")?;
        }
        if let Path::Single(hop) = &self.path {
            hop.fmt(f)?;
        }
        if self.table != MAIN_TABLE {
            write!(f, " table {}", self.table)?;
        }
        write!(f, " proto {}", protocol_name(self.protocol))?;
        if self.scope != 0 {
            write!(f, " scope {}", scope_name(self.scope))?;
        }
        if let Some(source) = self.preferred_source {
            write!(f, " src {source}")?;
        }
        if self.metric != 0 {
            write!(f, " metric {}", self.metric)?;
        }
        if self.tos != 0 {
            write!(f, " tos {:#04x}", self.tos)?;
        }
        if let Some(seconds) = self.expires {
            write!(f, " expires {seconds}")?;
        }
        match self.preference {
            Some(1) => f.write_str(" pref high")?,
            Some(3) => f.write_str(" pref low")?,
            _ => {}
        }
        self.other.iter().try_for_each(|attribute| write_attribute(f, attribute))?;
        if let Path::Multi(hops) = &self.path {
            for hop in hops {
                write!(f, " nexthop{hop}")?;
            }
        }
        Ok(())
    }
}

/// `RTA_METRICS`: attributes inside an attribute (include/uapi/linux/rtnetlink.h, `RTAX_*`).
const RTA_METRICS: u16 = 8;

fn write_attribute(f: &mut fmt::Formatter<'_>, attribute: &RawAttribute) -> fmt::Result {
    if attribute.kind != RTA_METRICS {
        return Ok(());
    }
    let mut rest = attribute.value.as_slice();
    while let [l0, l1, k0, k1, a, b, c, d, ..] = *rest {
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = u32::from_ne_bytes([a, b, c, d]);
        match u16::from_ne_bytes([k0, k1]) {
            1 => write!(f, " lock {value:#x}")?,
            2 => write!(f, " mtu {value}")?,
            3 => write!(f, " window {value}")?,
            8 => write!(f, " advmss {value}")?,
            11 => write!(f, " initcwnd {value}")?,
            14 => write!(f, " initrwnd {value}")?,
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4).max(4)..).unwrap_or_default();
    }
    Ok(())
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// `FIB_RULE_INVERT`
        const INVERT: u32 = 2;
        write!(f, "priority {}", self.priority)?;
        if self.flags & INVERT != 0 {
            f.write_str(" not")?;
        }
        match self.from {
            Some(network) => write!(f, " from {network}")?,
            None => f.write_str(" from all")?,
        }
        if let Some(network) = self.to {
            write!(f, " to {network}")?;
        }
        if self.tos != 0 {
            write!(f, " tos {:#04x}", self.tos)?;
        }
        if let Some(device) = &self.incoming {
            write!(f, " iif {device}")?;
        }
        if let Some(device) = &self.outgoing {
            write!(f, " oif {device}")?;
        }
        for attribute in &self.other {
            if let (10, [a, b, c, d]) = (attribute.kind, attribute.value.as_slice()) {
                write!(f, " fwmark {:#x}", u32::from_ne_bytes([*a, *b, *c, *d]))?; // FRA_FWMARK
            }
        }
        match self.action {
            1 => write!(f, " lookup {}", self.table),
            6 => f.write_str(" blackhole"),
            7 => f.write_str(" unreachable"),
            8 => f.write_str(" prohibit"),
            other => write!(f, " action {other}"),
        }
    }
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            NeighbourKind::Permanent(mac) => write!(f, "{} lladdr {mac} nud permanent dev {}", self.address, self.device),
            NeighbourKind::NoArp(mac) => write!(f, "{} lladdr {mac} nud noarp dev {}", self.address, self.device),
            NeighbourKind::Proxy => write!(f, "proxy {} dev {}", self.address, self.device),
        }
    }
}
