//! One exact act on a host: its words, and what takes it back.

mod words;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::dhcp::dnsmasq::Holder;
use crate::firewall::{ChainKeeper, ForwardAccept, Masquerade};
use crate::guest_filter::GuestFilter;
use crate::host::{Address, AdminState, GroupMask, Host, Link, Neighbour, PortSettings, Route, Rule, Switch};
use crate::interface_name::InterfaceName;
use crate::mac_address::MacAddress;
use crate::openvswitch::OvsPort;
use crate::plan::repair::repair;
use crate::sysctl::Sysctl;
use crate::vlan::{VlanId, VlanSpan};

/// A bridge to create. Spanning tree is off and the forward delay zero, as Xen's scripts make it, so that a guest's first packet passes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewBridge {
    /// Its name.
    pub name: InterfaceName,
    /// Its Ethernet address; fixed for good, where otherwise the ports' addresses decide.
    pub mac: Option<MacAddress>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Length of its transmit queue, in packets.
    pub transmit_queue: u32,
}

/// Whether a link becomes the port of a bridge or stops being one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Membership {
    /// A port of this bridge.
    Port(InterfaceName),
    /// A port of nothing.
    Free,
}

impl Membership {
    fn of(link: &Link) -> Self {
        link.master.clone().map_or(Self::Free, Self::Port)
    }
}

/// What one message changes about a link. Absent means untouched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct LinkChange {
    /// Up or down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<AdminState>,
    /// The Ethernet address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddress>,
    /// The MTU in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The bridge it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub membership: Option<Membership>,
    /// Promiscuous by word of an administrator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promiscuous: Option<Switch>,
    /// All multicast by word of an administrator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_multicast: Option<Switch>,
    /// The free text; an empty one removes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
}

impl LinkChange {
    /// Up, and nothing else.
    #[must_use]
    pub fn up() -> Self {
        Self { state: Some(AdminState::Up), ..Self::default() }
    }

    /// Down, and nothing else.
    #[must_use]
    pub fn down() -> Self {
        Self { state: Some(AdminState::Down), ..Self::default() }
    }

    /// A port of `bridge`, and nothing else.
    #[must_use]
    pub fn port_of(bridge: &InterfaceName) -> Self {
        Self { membership: Some(Membership::Port(bridge.clone())), ..Self::default() }
    }

    /// A port of nothing, and nothing else.
    #[must_use]
    pub fn free() -> Self {
        Self { membership: Some(Membership::Free), ..Self::default() }
    }

    /// Whether it changes nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The part of this change that `link` does not show yet.
    #[must_use]
    pub fn missing_from(&self, link: &Link) -> Self {
        Self {
            state: self.state.filter(|state| *state != link.state),
            mac: self.mac.filter(|mac| Some(*mac) != link.mac),
            mtu: self.mtu.filter(|mtu| *mtu != link.mtu),
            membership: self.membership.clone().filter(|membership| *membership != Membership::of(link)),
            promiscuous: self.promiscuous.filter(|setting| *setting != link.promiscuous),
            all_multicast: self.all_multicast.filter(|setting| *setting != link.all_multicast),
            alias: self.alias.clone().filter(|alias| *alias != link.alias.clone().unwrap_or_default()),
        }
    }

    /// The change that leads from this one back to `link` as it was.
    fn reversed(&self, link: &Link) -> Self {
        let effective = self.missing_from(link);
        Self {
            state: effective.state.map(|_| link.state),
            mac: effective.mac.and(link.mac),
            mtu: effective.mtu.map(|_| link.mtu),
            membership: effective.membership.map(|_| Membership::of(link)),
            promiscuous: effective.promiscuous.map(|_| link.promiscuous),
            all_multicast: effective.all_multicast.map(|_| link.all_multicast),
            alias: effective.alias.map(|_| link.alias.clone().unwrap_or_default()),
        }
    }
}

/// What one message changes about a bridge's port. Absent means untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct PortChange {
    /// No frames to and from other isolated ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolated: Option<Switch>,
    /// The bridge learns from the port's frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning: Option<Switch>,
    /// Which frames to group addresses the bridge takes for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<GroupMask>,
}

impl PortChange {
    /// Whether it changes nothing at all.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// The part of this change that `port` does not show yet.
    #[must_use]
    pub fn missing_from(self, port: &PortSettings) -> Self {
        Self {
            isolated: self.isolated.filter(|setting| *setting != port.isolated),
            learning: self.learning.filter(|setting| *setting != port.learning),
            groups: self.groups.filter(|setting| *setting != port.groups),
        }
    }

    /// Makes the change.
    pub fn apply_to(self, port: &mut PortSettings) {
        port.isolated = self.isolated.unwrap_or(port.isolated);
        port.learning = self.learning.unwrap_or(port.learning);
        port.groups = self.groups.unwrap_or(port.groups);
    }
}

/// A XenStore key and what to write there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreEntry {
    /// The key's path, absolute or relative to the own domain.
    pub path: String,
    /// Its value.
    pub value: String,
}

/// How a server is told to read its configuration anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Service {
    /// `systemctl restart UNIT`.
    Systemd(String),
    /// `SCRIPT restart`, the older way.
    InitScript(PathBuf),
    /// SIGHUP, for a server that reads part of its configuration anew while it goes on running.
    HangUp {
        /// The file with its process id.
        pid_file: PathBuf,
        /// The name of its process, so that nobody else gets the signal after it has ended.
        program: String,
    },
}

/// The end of a lease that a DHCP server still keeps for somebody who has gone: a DHCPRELEASE (RFC 2131, section 4.4.6) in his name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseEnd {
    /// A device that the server serves.
    pub device: InterfaceName,
    /// The server's address on it.
    pub server: Ipv4Addr,
    /// The leased address.
    pub address: Ipv4Addr,
    /// Who holds the lease.
    pub holder: Holder,
}

/// When a guest filter may be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unfilter {
    /// At once: the guest is no longer to be filtered.
    Now,
    /// Only when the interface is down, or a port of nothing, or gone: it fails otherwise.
    OnceUnplugged,
}

/// What a hook may see of the vif it is called for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookCall {
    /// The executables or shell fragments, in the order they run.
    pub hooks: Vec<String>,
    /// The program's name as it was called (`$0`).
    pub program: String,
    /// The words of the command line.
    pub words: Vec<String>,
    /// Shell variables, in the order they are set.
    pub variables: Vec<(String, String)>,
}

/// One act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Creates a bridge, down and without ports.
    CreateBridge(NewBridge),
    /// Deletes a bridge with all that hangs on it; never a device of another kind.
    DeleteBridge(InterfaceName),
    /// Gives a device another name.
    RenameLink {
        /// The name it has.
        from: InterfaceName,
        /// The name it gets.
        to: InterfaceName,
    },
    /// Changes a device.
    SetLink {
        /// The device.
        device: InterfaceName,
        /// What changes.
        change: LinkChange,
    },
    /// Changes what a bridge does with a port.
    SetPort {
        /// The port.
        device: InterfaceName,
        /// What changes.
        change: PortChange,
    },
    /// Makes a port a member of VLANs of its bridge, or changes how it is one.
    AddVlans {
        /// The port.
        device: InterfaceName,
        /// The VLANs.
        vlans: VlanSpan,
    },
    /// Takes a port out of VLANs.
    DeleteVlans {
        /// The port.
        device: InterfaceName,
        /// The first VLAN.
        first: VlanId,
        /// The last one.
        last: VlanId,
    },
    /// Ties an Ethernet address to a port for as long as it is one, in every VLAN that the port is a member of by now.
    AddStation {
        /// The port.
        device: InterfaceName,
        /// The address.
        mac: MacAddress,
    },
    /// Unties it.
    DeleteStation {
        /// The port.
        device: InterfaceName,
        /// The address.
        mac: MacAddress,
    },
    /// Gives a device an address, or brings one that it has to these settings.
    AddAddress(Address),
    /// Takes an address away.
    DeleteAddress(Address),
    /// Puts a route in a place where none stands.
    AddRoute(Route),
    /// Puts a route in its place, over whatever stands there.
    ReplaceRoute(Route),
    /// Puts a route beside those that stand at its place.
    AppendRoute(Route),
    /// Takes a route away.
    DeleteRoute(Route),
    /// Adds a policy rule.
    AddRule(Rule),
    /// Takes a policy rule away.
    DeleteRule(Rule),
    /// Sets a neighbour entry.
    AddNeighbour(Neighbour),
    /// Takes a neighbour entry away.
    DeleteNeighbour(Neighbour),
    /// Writes a kernel setting.
    WriteSysctl {
        /// The setting.
        sysctl: Sysctl,
        /// Its new value.
        value: String,
    },
    /// Puts a text in the place of a file, whole, or creates it.
    WriteFile {
        /// Where it lies.
        path: PathBuf,
        /// All that stands in it.
        text: String,
    },
    /// Removes a file.
    RemoveFile(PathBuf),
    /// Says that files which this server has read are about to change. By itself it does nothing; taken back, and so after them, it has the server
    /// read them anew.
    ChangeFilesOf(Service),
    /// Has a server read its configuration anew.
    Restart(Service),
    /// Ends a lease that a DHCP server keeps.
    EndLease(LeaseEnd),
    /// Begins to masquerade.
    AddMasquerade(Masquerade),
    /// Ends it.
    DeleteMasquerade(Masquerade),
    /// Has a chain of somebody else's accept what a device forwards.
    AddForwardAccept(ForwardAccept),
    /// Takes such rules away.
    DeleteForwardAccept(ForwardAccept),
    /// Holds a guest to its own addresses, in place of whatever filter its interface has.
    SetGuestFilter(GuestFilter),
    /// The same in tables that somebody has changed: they are made anew, with the filters of all their guests, in one instant.
    RemakeGuestTables(GuestFilter),
    /// Takes such a filter away.
    DeleteGuestFilter {
        /// The filter; its interface and way tell which it is.
        filter: GuestFilter,
        /// Whether the interface must be gone first.
        when: Unfilter,
    },
    /// Holds these guests to their addresses, and no others, in one instant.
    ReplaceGuestFilters(Vec<GuestFilter>),
    /// Makes a guest's device the port of an Open vSwitch bridge, or brings a guest's port that is there to these settings and onto this
    /// bridge; waits until the switch has done it.
    AddOvsPort(OvsPort),
    /// Removes a guest's port of this name from whatever bridge holds it.
    RemoveOvsPort(InterfaceName),
    /// Writes XenStore keys, all at once.
    WriteStore(Vec<StoreEntry>),
    /// Tells the guest's side its MTU, where it lets itself be told, and then netback that the vif is set up: in one round trip, in this
    /// order.
    Connect {
        /// The frontend's key. Its folder is the guest's own: the guest may have filled its quota, and a driver domain may not write there
        /// at all, so a refusal does not matter.
        frontend: Option<StoreEntry>,
        /// The key that netback waits for.
        status: StoreEntry,
    },
    /// Removes a XenStore key.
    RemoveStore(String),
    /// Runs the hooks.
    RunHooks(HookCall),
    /// Lets ifupdown take a device down, with its DHCP client.
    IfDown(InterfaceName),
    /// Lets ifupdown bring a device up by its own configuration.
    IfUp(InterfaceName),
    /// Waits for a device's link.
    AwaitCarrier {
        /// The device.
        device: InterfaceName,
        /// How long at most.
        limit: Duration,
    },
    /// Asks a neighbour for its Ethernet address (ARP or neighbour discovery) and waits for the answer.
    CheckNeighbour {
        /// The device to ask on.
        device: InterfaceName,
        /// The neighbour.
        address: IpAddr,
        /// How long at most.
        limit: Duration,
    },
}

impl Operation {
    /// Whether another program is started for it, or to take it back.
    #[must_use]
    pub fn starts_a_program(&self) -> bool {
        match self {
            Self::RunHooks(_) | Self::IfDown(_) | Self::IfUp(_) => true,
            Self::Restart(service) | Self::ChangeFilesOf(service) => !matches!(service, Service::HangUp { .. }),
            Self::AddForwardAccept(accept) | Self::DeleteForwardAccept(accept) => accept.chain.keeper == ChainKeeper::LegacyTables,
            _ => false,
        }
    }

    /// What takes this act back on `host`, which is the host just before it: nothing where the act changes nothing, so that undoing never
    /// removes what was there before.
    ///
    /// What the kernel drops by itself along with the act (routes of a device that goes down, labels at a renaming) comes back too.
    #[must_use]
    pub fn inverse(&self, host: &Host) -> Vec<Operation> {
        match self {
            Self::CreateBridge(bridge) => match host.link(&bridge.name) {
                None => vec![Self::DeleteBridge(bridge.name.clone())],
                Some(_) => vec![],
            },
            Self::DeleteBridge(name) => recreate_bridge(host, name),
            Self::RenameLink { from, to } => self.undone_by(host, Self::RenameLink { from: to.clone(), to: from.clone() }),
            Self::SetLink { device, change } => match host.link(device) {
                Some(link) => match change.reversed(link) {
                    back if back.is_empty() => vec![],
                    back => self.undone_by(host, Self::SetLink { device: device.clone(), change: back }),
                },
                None => vec![],
            },
            Self::AddAddress(address) => match host.addresses.iter().find(|seen| seen.same_entry(address)) {
                None => self.undone_by(host, Self::DeleteAddress(address.clone())),
                Some(seen) if seen == address => vec![],
                Some(seen) => self.undone_by(host, Self::AddAddress(seen.clone())),
            },
            Self::DeleteAddress(_)
            | Self::DeleteRoute(_)
            | Self::DeleteNeighbour(_)
            | Self::ReplaceRoute(_)
            | Self::SetPort { .. }
            | Self::AddVlans { .. }
            | Self::DeleteVlans { .. }
            | Self::AddStation { .. }
            | Self::DeleteStation { .. } => repair(host.after(self), host),
            Self::AddRoute(route) => match host.routes.iter().any(|seen| seen.same_place(route)) {
                true => vec![],
                false => vec![Self::DeleteRoute(route.clone())],
            },
            Self::AppendRoute(route) => match host.routes.contains(route) {
                true => vec![],
                false => vec![Self::DeleteRoute(route.clone())],
            },
            Self::AddRule(rule) => match host.rules.contains(rule) {
                true => vec![],
                false => vec![Self::DeleteRule(rule.clone())],
            },
            Self::DeleteRule(rule) => match host.rules.contains(rule) {
                true => vec![Self::AddRule(rule.clone())],
                false => vec![],
            },
            Self::AddNeighbour(neighbour) => inverse_of_neighbour(host, neighbour),
            Self::WriteSysctl { sysctl, value } => match host.sysctls.get(sysctl) {
                Some(old) if old != value => self.undone_by(host, Self::WriteSysctl { sysctl: sysctl.clone(), value: old.clone() }),
                _ => vec![],
            },
            Self::WriteFile { path, .. } | Self::RemoveFile(path) => restore_file(host, path, self).into_iter().collect(),
            Self::AddMasquerade(masquerade) => match host.masquerades.contains(masquerade) {
                true => vec![],
                false => vec![Self::DeleteMasquerade(masquerade.clone())],
            },
            Self::DeleteMasquerade(masquerade) => match host.masquerades.contains(masquerade) {
                true => vec![Self::AddMasquerade(masquerade.clone())],
                false => vec![],
            },
            Self::AddForwardAccept(accept) => match host.forward_accepts.iter().any(|seen| seen.same_rules(accept)) {
                true => vec![],
                false => vec![Self::DeleteForwardAccept(accept.clone())],
            },
            Self::DeleteForwardAccept(accept) => {
                let seen = host.forward_accepts.iter().find(|seen| seen.same_rules(accept));
                seen.map(|seen| Self::AddForwardAccept(seen.clone())).into_iter().collect()
            }
            Self::SetGuestFilter(filter) | Self::RemakeGuestTables(filter) => match host.guest_filter(filter.way, &filter.device) {
                None => vec![Self::DeleteGuestFilter { filter: filter.clone(), when: Unfilter::Now }],
                Some(seen) if seen.same_rules(filter) => vec![],
                Some(seen) => vec![Self::SetGuestFilter(seen.clone())],
            },
            Self::DeleteGuestFilter { filter, .. } => {
                let seen = host.guest_filter(filter.way, &filter.device);
                seen.map(|seen| Self::SetGuestFilter(seen.clone())).into_iter().collect()
            }
            Self::ReplaceGuestFilters(filters) => match host.guest_filters == *filters {
                true => vec![],
                false => vec![Self::ReplaceGuestFilters(host.guest_filters.clone())],
            },
            Self::AddOvsPort(port) => match host.ovs_ports.iter().find(|seen| seen.device == port.device) {
                None => {
                    // ovs-vswitchd gives the device back with flags that it remembers, and may set up what is down by now.
                    let down = host.link(&port.device).filter(|link| link.state == AdminState::Down);
                    let down = down.map(|link| Self::SetLink { device: link.name.clone(), change: LinkChange::down() });
                    std::iter::once(Self::RemoveOvsPort(port.device.clone())).chain(down).collect()
                }
                Some(seen) if seen == port => vec![],
                Some(seen) => vec![Self::AddOvsPort(seen.clone())],
            },
            Self::RemoveOvsPort(device) => {
                host.ovs_ports.iter().filter(|seen| seen.device == *device).cloned().map(Self::AddOvsPort).collect()
            }
            Self::WriteStore(entries) => entries.iter().rev().filter_map(|entry| restore_key(host, &entry.path)).collect(),
            Self::Connect { frontend, status } => {
                [Some(status), frontend.as_ref()].into_iter().flatten().filter_map(|entry| restore_key(host, &entry.path)).collect()
            }
            Self::RemoveStore(path) => restore_key(host, path).into_iter().collect(),
            Self::IfDown(device) => vec![Self::IfUp(device.clone())],
            Self::IfUp(device) => vec![Self::IfDown(device.clone())],
            Self::ChangeFilesOf(service) => vec![Self::Restart(service.clone())],
            Self::RunHooks(_) | Self::Restart(_) | Self::EndLease(_) | Self::AwaitCarrier { .. } | Self::CheckNeighbour { .. } => {
                vec![]
            }
        }
    }

    /// `back`, and the repair of what this act and `back` together would still have cost.
    fn undone_by(&self, host: &Host, back: Operation) -> Vec<Operation> {
        let mut after = host.after(self);
        after.follow(&back);
        let mut inverse = vec![back];
        inverse.extend(repair(after, host));
        inverse
    }
}

fn recreate_bridge(host: &Host, name: &InterfaceName) -> Vec<Operation> {
    let Some(link) = host.link(name) else { return vec![] };
    let mut inverse = vec![Operation::CreateBridge(NewBridge {
        name: name.clone(),
        mac: link.mac,
        mtu: link.mtu,
        transmit_queue: link.transmit_queue,
    })];
    let fresh = host.sysctls.iter().filter(|(sysctl, _)| sysctl.device() == Some(name));
    inverse.extend(
        fresh
            .filter(|(sysctl, value)| host.sysctls.get(&sysctl.for_new_devices()) != Some(value))
            .map(|(sysctl, value)| Operation::WriteSysctl { sysctl: sysctl.clone(), value: value.clone() }),
    );
    let settings = LinkChange {
        state: Some(link.state),
        promiscuous: Some(link.promiscuous),
        all_multicast: Some(link.all_multicast),
        ..LinkChange::default()
    };
    let after = |acts: &[Operation]| {
        let mut after = host.after(&Operation::DeleteBridge(name.clone()));
        acts.iter().for_each(|act| after.follow(act));
        after
    };
    let created = after(&inverse);
    if let Some(new) = created.link(name) {
        let change = settings.missing_from(new);
        if !change.is_empty() {
            inverse.push(Operation::SetLink { device: name.clone(), change });
        }
    }
    inverse.extend(
        host.ports_of(name).map(|port| Operation::SetLink { device: port.name.clone(), change: LinkChange::port_of(name) }),
    );
    inverse.extend(repair(after(&inverse), host));
    inverse
}

fn inverse_of_neighbour(host: &Host, neighbour: &Neighbour) -> Vec<Operation> {
    match host.neighbours.iter().find(|seen| seen.device == neighbour.device && seen.address == neighbour.address) {
        Some(seen) if seen == neighbour => vec![],
        Some(seen) => vec![Operation::AddNeighbour(seen.clone())],
        None => vec![Operation::DeleteNeighbour(neighbour.clone())],
    }
}

fn restore_file(host: &Host, path: &Path, act: &Operation) -> Option<Operation> {
    match (host.files.get(path)?, act) {
        (Some(text), Operation::WriteFile { text: new, .. }) if text == new => None,
        (Some(text), _) => Some(Operation::WriteFile { path: path.to_owned(), text: text.clone() }),
        (None, Operation::RemoveFile(_)) => None,
        (None, _) => Some(Operation::RemoveFile(path.to_owned())),
    }
}

fn restore_key(host: &Host, path: &str) -> Option<Operation> {
    match host.store.get(path) {
        Some(Some(value)) => Some(Operation::WriteStore(vec![StoreEntry { path: path.to_owned(), value: value.clone() }])),
        Some(None) => Some(Operation::RemoveStore(path.to_owned())),
        None => None,
    }
}
