//! What was seen of a host: plain data, kept by name.
//!
//! Devices are named, not numbered: an operator reads names, and [`Host::after`](crate::host) follows every renaming. Only what a
//! request needs is ever filled in.

mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::firewall::{DroppingChain, ForwardAccept, Masquerade};
use crate::guest_filter::{Damage, GuestFilter, Way};
use crate::interface_name::InterfaceName;
use crate::mac_address::MacAddress;
use crate::openvswitch::OvsPort;
use crate::sysctl::Sysctl;
use crate::vlan::{PortVlans, VlanId};

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// Two-word settings of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub enum Switch {
    /// The setting is on.
    On,
    /// The setting is off.
    #[default]
    Off,
}

/// Whether an administrator has set a link up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub enum AdminState {
    /// `ip link set … up` (`IFF_UP`).
    Up,
    /// Not up.
    #[default]
    Down,
}

/// Whether this kernel renames a device that is up. Linux does since 6.2 (net/core/dev.c, `dev_change_name()`); before, the device
/// must be down, which costs its routes and its IPv6 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub enum LiveRename {
    /// A device keeps running while its name changes.
    #[default]
    Allowed,
    /// The device has to be set down first.
    Refused,
}

/// What sort of device a link is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub enum LinkKind {
    /// Real hardware, or a driver that names no kind.
    #[default]
    Physical,
    /// A Linux bridge.
    Bridge,
    /// A bond of several devices.
    Bond,
    /// A VLAN of another device.
    Vlan,
    /// Any other kind, by the kernel's word for it (`veth`, `tun`, `dummy`).
    Other(String),
}

/// Whether a bridge keeps VLANs apart (`ip link set … type bridge vlan_filtering 1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub enum VlanFiltering {
    /// It looks at no tag; also what is not a bridge.
    #[default]
    Off,
    /// It does.
    On {
        /// The VLAN that a new port becomes an untagged member of (`vlan_default_pvid`).
        default: Option<VlanId>,
    },
}

impl VlanFiltering {
    /// What a new port is a member of.
    #[must_use]
    pub fn vlans_of_new_port(self) -> PortVlans {
        match self {
            Self::Off => PortVlans::default(),
            Self::On { default } => PortVlans::of_new_port(default),
        }
    }
}

/// Of the frames to IEEE 802.1D's group addresses (01:80:c2:00:00:00 to :0f) that come in by a port: to which the bridge passes them on as it
/// does others, a bit for each (`group_fwd_mask`, Linux 4.15). It keeps the rest for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMask(pub u16);

impl GroupMask {
    /// Spanning tree (:00) and LLDP (:0e). The bridge notes whose Ethernet address sends them, and hands them to the host as from the port's
    /// own device, without asking a packet filter (net/bridge/br_input.c, `br_handle_frame()`). For all others it asks.
    pub const PAST_THE_FILTER: Self = Self(1 | 1 << 0x0e);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What a bridge keeps of one of its ports. It is gone when the port leaves the bridge; a device that is no port has the settings of a port
/// that nobody has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PortSettings {
    /// Whether it exchanges no frames with other isolated ports (`isolated`, Linux 4.18).
    pub isolated: Switch,
    /// Whether the bridge learns from its frames where Ethernet addresses are (`learning`).
    pub learning: Switch,
    /// Which frames to group addresses it takes for others.
    #[serde(skip_serializing_if = "none_shown")]
    pub groups: GroupMask,
    /// Its VLANs, where the bridge keeps them apart and they were looked at.
    pub vlans: PortVlans,
    /// Ethernet addresses that are here and nowhere else, whatever other ports say (`bridge fdb … sticky static`), where they were looked
    /// at.
    pub stations: BTreeSet<MacAddress>,
}

fn none_shown(groups: &GroupMask) -> bool {
    *groups == GroupMask::default()
}

impl Default for PortSettings {
    fn default() -> Self {
        Self {
            isolated: Switch::Off,
            learning: Switch::On,
            groups: GroupMask::default(),
            vlans: PortVlans::default(),
            stations: BTreeSet::new(),
        }
    }
}

impl PortSettings {
    /// Whether nobody has changed them.
    #[must_use]
    pub fn are_untouched(&self) -> bool {
        *self == Self::default()
    }
}

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its name now.
    pub name: InterfaceName,
    /// The kernel's number for it; absent for a link that a plan is yet to create.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// What it is.
    #[serde(default)]
    pub kind: LinkKind,
    /// Its Ethernet address; absent on devices that have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddress>,
    /// Largest packet, in bytes.
    pub mtu: u32,
    /// Length of the transmit queue, in packets.
    #[serde(default)]
    pub transmit_queue: u32,
    /// Up or down.
    #[serde(default)]
    pub state: AdminState,
    /// Set promiscuous by an administrator (`IFF_PROMISC`); a bridge port's own promiscuity is not counted here.
    #[serde(default)]
    pub promiscuous: Switch,
    /// Receives all multicast by an administrator's word (`IFF_ALLMULTI`).
    #[serde(default)]
    pub all_multicast: Switch,
    /// The bridge, bond or VRF it is a port of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<InterfaceName>,
    /// Free text that stays with the device whatever its name (`ip link set … alias`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Of a bridge: whether it keeps VLANs apart.
    #[serde(default, skip_serializing_if = "is_off")]
    pub vlan_filtering: VlanFiltering,
    /// Of a bridge's port: what the bridge keeps of it.
    #[serde(default, skip_serializing_if = "PortSettings::are_untouched")]
    pub port: PortSettings,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks for a reference
fn is_off(filtering: &VlanFiltering) -> bool {
    *filtering == VlanFiltering::Off
}

impl Link {
    /// Whether it is a Linux bridge.
    #[must_use]
    pub fn is_bridge(&self) -> bool {
        self.kind == LinkKind::Bridge
    }
}

/// A netlink attribute that is carried along as it is, without a look inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawAttribute {
    /// The attribute's number in its message.
    pub kind: u16,
    /// Its value, in the kernel's encoding.
    pub value: Vec<u8>,
}

/// How long an address stays, in seconds from when it was seen; absent stands for ever (`INFINITY_LIFE_TIME`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Lifetimes {
    /// Until it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid: Option<u32>,
    /// Until it is deprecated; 0 is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred: Option<u32>,
}

/// Flags of an address that an administrator or a daemon chose (include/uapi/linux/if_addr.h).
///
/// What the kernel works out by itself (secondary, tentative, deprecated, permanent) is not kept here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct AddressFlags(pub u32);

impl AddressFlags {
    /// No duplicate address detection (RFC 4862, section 5.4).
    pub const NO_DAD: u32 = 0x02;
    /// A Mobile IPv6 home address.
    pub const HOME: u32 = 0x10;
    /// Temporary addresses are made from this one (RFC 8981).
    pub const MANAGE_TEMPORARY: u32 = 0x100;
    /// No route for the prefix is made.
    pub const NO_PREFIX_ROUTE: u32 = 0x200;
    /// The kernel joins the multicast group of this address.
    pub const MULTICAST_AUTOJOIN: u32 = 0x400;
    /// Flags that a message may set; the kernel ignores the others (net/ipv6/addrconf.c, `inet6_rtm_newaddr()`).
    pub const SETTABLE: u32 = Self::NO_DAD | Self::HOME | Self::MANAGE_TEMPORARY | Self::NO_PREFIX_ROUTE | Self::MULTICAST_AUTOJOIN;

    /// Whether `flag` is set.
    #[must_use]
    pub fn has(self, flag: u32) -> bool {
        self.0 & flag != 0
    }

    /// These flags and `flag`.
    #[must_use]
    pub fn with(self, flag: u32) -> Self {
        Self(self.0 | flag)
    }
}

/// An address of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The device that has it.
    pub device: InterfaceName,
    /// The address and the length of its network; of a point-to-point link, the host's own end and the length of the peer's.
    pub network: IpNetwork,
    /// The other end of a point-to-point link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<IpAddr>,
    /// The broadcast address (IPv4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broadcast: Option<IpAddr>,
    /// The label, such as `eth0` or `eth0:1` (IPv4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The scope's number: 0 global, 253 link, 254 host (include/uapi/linux/rtnetlink.h).
    #[serde(default)]
    pub scope: u8,
    /// Chosen flags.
    #[serde(default)]
    pub flags: AddressFlags,
    /// How long it stays.
    #[serde(default)]
    pub lifetimes: Lifetimes,
    /// Metric of the route that the kernel makes for its network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// Who set it (`IFA_PROTO`: 1 loopback, 2 router advertisement, 3 link-local).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<u8>,
}

impl Address {
    /// IPv4 or IPv6.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.network.ip())
    }

    /// Whether this is an address of link scope that belongs to IPv6 (fe80::/10, RFC 4291).
    #[must_use]
    pub fn is_ipv6_link_local(&self) -> bool {
        matches!(self.network.ip(), IpAddr::V6(ip) if ip.segments()[0] & 0xffc0 == 0xfe80)
    }

    /// Whether `other` names the same address of the same device: what the kernel takes for one entry.
    #[must_use]
    pub fn same_entry(&self, other: &Self) -> bool {
        self.device == other.device && self.network == other.network && self.peer == other.peer
    }
}

/// One way out of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextHop {
    /// The device that packets leave by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<InterfaceName>,
    /// The router they are sent to; of either family (RFC 5549).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Share among the ways of a multipath route, 1 to 256.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: u16,
    /// `onlink`: the gateway counts as reachable though no route leads to it.
    #[serde(default)]
    pub on_link: Switch,
    /// What else the kernel said of it (encapsulation, realm).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other: Vec<RawAttribute>,
}

fn one() -> u16 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks for a reference
fn is_one(weight: &u16) -> bool {
    *weight == 1
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Path {
    /// Nowhere: `blackhole`, `unreachable` and their like.
    None,
    /// One way.
    Single(NextHop),
    /// Several ways at once.
    Multi(Vec<NextHop>),
}

impl Path {
    /// Every way.
    #[must_use]
    pub fn next_hops(&self) -> &[NextHop] {
        match self {
            Self::None => &[],
            Self::Single(hop) => std::slice::from_ref(hop),
            Self::Multi(hops) => hops,
        }
    }

    /// The device that the first way leaves by.
    #[must_use]
    pub fn first_device(&self) -> Option<&InterfaceName> {
        self.next_hops().first()?.device.as_ref()
    }

    fn next_hops_mut(&mut self) -> &mut [NextHop] {
        match self {
            Self::None => &mut [],
            Self::Single(hop) => std::slice::from_mut(hop),
            Self::Multi(hops) => hops,
        }
    }
}

/// An entry of a routing table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// What it leads to; 0.0.0.0/0 and ::/0 are the defaults.
    pub destination: IpNetwork,
    /// Only for packets from here (IPv6 source-specific routes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpNetwork>,
    /// The table's number: 254 main, 255 local.
    #[serde(default = "main_table", skip_serializing_if = "is_main_table")]
    pub table: u32,
    /// `RTN_*`: 1 unicast, 2 local, 3 broadcast, 5 multicast, 6 blackhole, … (include/uapi/linux/rtnetlink.h).
    #[serde(default = "unicast", skip_serializing_if = "is_unicast")]
    pub kind: u8,
    /// Who put it there: 2 kernel, 3 boot, 4 static, 9 router advertisement, 16 DHCP (`RTPROT_*`).
    pub protocol: u8,
    /// 0 global, 253 link, 254 host (`RT_SCOPE_*`).
    #[serde(default)]
    pub scope: u8,
    /// Type of service (IPv4).
    #[serde(default)]
    pub tos: u8,
    /// Smaller is preferred.
    #[serde(default)]
    pub metric: u32,
    /// The source address for packets that the host sends itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_source: Option<IpAddr>,
    /// Where it leads.
    pub path: Path,
    /// Seconds left, of a route learnt from an advertisement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u32>,
    /// Default-router preference (RFC 4191): 0 medium, 1 high, 3 low.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preference: Option<u8>,
    /// Everything else the kernel keeps with it: metrics (MTU, window, …), realm, mark, encapsulation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other: Vec<RawAttribute>,
}

/// The table `main` (`RT_TABLE_MAIN`).
pub const MAIN_TABLE: u32 = 254;
/// The table `local` (`RT_TABLE_LOCAL`).
pub const LOCAL_TABLE: u32 = 255;
/// `RTN_UNICAST`.
pub const UNICAST: u8 = 1;
/// `RTPROT_KERNEL`: a route that the kernel made for an address.
pub const KERNEL_PROTOCOL: u8 = 2;
/// `RTPROT_RA`: a route learnt from a router advertisement.
pub const ADVERTISED_PROTOCOL: u8 = 9;
/// `RT_SCOPE_LINK`.
pub const LINK_SCOPE: u8 = 253;

fn main_table() -> u32 {
    MAIN_TABLE
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks for a reference
fn is_main_table(table: &u32) -> bool {
    *table == MAIN_TABLE
}

fn unicast() -> u8 {
    UNICAST
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks for a reference
fn is_unicast(kind: &u8) -> bool {
    *kind == UNICAST
}

impl Route {
    /// IPv4 or IPv6.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.destination.ip())
    }

    /// Whether one of its ways leaves by `device`.
    #[must_use]
    pub fn uses(&self, device: &InterfaceName) -> bool {
        self.path.next_hops().iter().any(|hop| hop.device.as_ref() == Some(device))
    }

    /// Whether one of its ways is over another device than `device`.
    #[must_use]
    pub fn leaves_by_others_than(&self, device: &InterfaceName) -> bool {
        self.path.next_hops().iter().any(|hop| hop.device.as_ref().is_some_and(|other| other != device))
    }

    /// The same route with every way by `from` leading over `to`.
    #[must_use]
    pub fn moved(&self, from: &InterfaceName, to: &InterfaceName) -> Self {
        let mut route = self.clone();
        for hop in route.path.next_hops_mut() {
            if hop.device.as_ref() == Some(from) {
                hop.device = Some(to.clone());
            }
        }
        route
    }

    /// Whether it is a default route of the main table.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.destination.prefix() == 0 && self.table == MAIN_TABLE && self.kind == UNICAST
    }

    /// Whether `other` stands at the same place: what `ip route replace` would overwrite.
    #[must_use]
    pub fn same_place(&self, other: &Self) -> bool {
        self.destination == other.destination
            && self.source == other.source
            && self.table == other.table
            && self.tos == other.tos
            && self.metric == other.metric
    }

    /// The nexthop object that the route leads over (`ip nexthop`), if it does. What [`Route::path`] shows is then the object's business:
    /// the route cannot be moved to another device, only the object can (`RTA_NH_ID`, Linux 5.3).
    #[must_use]
    pub fn nexthop_object(&self) -> Option<u32> {
        const RTA_NH_ID: u16 = 30;
        let id = self.other.iter().find(|attribute| attribute.kind == RTA_NH_ID)?;
        id.value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
    }

    /// Whether any way goes through a router.
    #[must_use]
    pub fn has_gateway(&self) -> bool {
        self.path.next_hops().iter().any(|hop| hop.gateway.is_some())
    }
}

/// An entry of the routing policy database (`ip rule`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// IPv4 or IPv6.
    pub family: Family,
    /// Smaller is looked at first.
    pub priority: u32,
    /// Only for packets that came in by this device; by name, so that it outlives the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incoming: Option<InterfaceName>,
    /// Only for packets of sockets bound to this device; by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outgoing: Option<InterfaceName>,
    /// Only for packets from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<IpNetwork>,
    /// Only for packets to here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<IpNetwork>,
    /// The table to look in.
    pub table: u32,
    /// `FR_ACT_*`: 1 look in a table, 2 goto, 6 blackhole, … (include/uapi/linux/fib_rules.h).
    pub action: u8,
    /// `FIB_RULE_*` flags: 2 is `not`.
    #[serde(default)]
    pub flags: u32,
    /// Type of service.
    #[serde(default)]
    pub tos: u8,
    /// Everything else (mark, ports, users, …).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other: Vec<RawAttribute>,
}

impl Rule {
    /// Whether it names `device`.
    #[must_use]
    pub fn names(&self, device: &InterfaceName) -> bool {
        self.incoming.as_ref() == Some(device) || self.outgoing.as_ref() == Some(device)
    }

    /// The same rule with `to` wherever `from` stood.
    #[must_use]
    pub fn moved(&self, from: &InterfaceName, to: &InterfaceName) -> Self {
        let follow = |name: &Option<InterfaceName>| if name.as_ref() == Some(from) { Some(to.clone()) } else { name.clone() };
        Self { incoming: follow(&self.incoming), outgoing: follow(&self.outgoing), ..self.clone() }
    }
}

/// What a neighbour entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NeighbourKind {
    /// The Ethernet address of a neighbour, set by hand and never asked for again.
    Permanent(MacAddress),
    /// The same, of a neighbour that is never asked whether it is still there, and that the kernel may forget (`nud noarp`).
    NoArp(MacAddress),
    /// Requests for this address are answered on the device (`ip neigh add proxy`).
    Proxy,
}

/// An entry of the neighbour table that somebody set. Learnt ones are the kernel's own business.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// The device it belongs to.
    pub device: InterfaceName,
    /// The neighbour's address.
    pub address: IpAddr,
    /// What is said of it.
    pub kind: NeighbourKind,
}

/// Who has an address for itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holder {
    /// This host, on this device.
    Host(InterfaceName),
    /// Whoever is behind this device: a route leads to this address alone.
    Behind(InterfaceName),
    /// A guest's interface that another run is setting up.
    Claimed,
    /// Nobody in particular.
    Nobody,
}

/// What has been seen of a host, as far as a request needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Host {
    /// Whether devices that are up can be renamed.
    #[serde(default)]
    pub live_rename: LiveRename,
    /// The devices looked at.
    #[serde(default)]
    pub links: Vec<Link>,
    /// Their addresses, in the kernel's order.
    #[serde(default)]
    pub addresses: Vec<Address>,
    /// Routes, in the kernel's order; those that the kernel keeps in the table `local` for every address are left out.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Who has the addresses that were asked about.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub holders: BTreeMap<Ipv4Addr, Holder>,
    /// Policy rules.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Neighbour entries that somebody set.
    #[serde(default)]
    pub neighbours: Vec<Neighbour>,
    /// Kernel settings.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<Sysctl, String>,
    /// XenStore keys looked at; an absent one has no value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub store: BTreeMap<String, Option<String>>,
    /// Files looked at, and their text; an absent one has none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<PathBuf, Option<String>>,
    /// What our own table masquerades.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub masquerades: BTreeSet<Masquerade>,
    /// The guest filters of the interfaces looked at. They go by an interface's name, and stay when it goes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guest_filters: Vec<GuestFilter>,
    /// What is wrong with the tables that hold them, as far as they were looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guest_damage: Vec<Damage>,
    /// Chains of others that drop what is forwarded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropping_chains: Vec<DroppingChain>,
    /// Our signed rules in chains of others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forward_accepts: Vec<ForwardAccept>,
    /// Bridges of Open vSwitch.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub ovs_bridges: BTreeSet<InterfaceName>,
    /// Guests' ports of Open vSwitch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ovs_ports: Vec<OvsPort>,
    /// Names of ports of Open vSwitch that are not guests'.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub ovs_foreign: BTreeSet<InterfaceName>,
}

impl Host {
    /// The device called `name`.
    #[must_use]
    pub fn link(&self, name: &InterfaceName) -> Option<&Link> {
        self.links.iter().find(|link| link.name == *name)
    }

    /// The guest filter of `device` for frames that come in this way.
    #[must_use]
    pub fn guest_filter(&self, way: Way, device: &InterfaceName) -> Option<&GuestFilter> {
        self.guest_filters.iter().find(|filter| filter.way == way && filter.device == *device)
    }

    /// The addresses of `device`, in the kernel's order.
    pub fn addresses_of<'a>(&'a self, device: &'a InterfaceName) -> impl DoubleEndedIterator<Item = &'a Address> {
        self.addresses.iter().filter(move |address| address.device == *device)
    }

    /// The routes that leave by `device`.
    pub fn routes_over<'a>(&'a self, device: &'a InterfaceName) -> impl DoubleEndedIterator<Item = &'a Route> {
        self.routes.iter().filter(move |route| route.uses(device))
    }

    /// The ports of `master`.
    pub fn ports_of<'a>(&'a self, master: &'a InterfaceName) -> impl Iterator<Item = &'a Link> {
        self.links.iter().filter(move |link| link.master.as_ref() == Some(master))
    }
}
