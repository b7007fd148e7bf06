//! What was seen of a host and its guests: plain data, most of it optional, since a host that needs mending lacks one thing or another.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnetwork::IpNetwork;
use serde::Serialize;

use crate::dhcp::dhcpd::{Dhcpd, HostLine};
use crate::firewall::{DroppingChain, ForwardAccept, Masquerade};
use crate::guest_filter::{Damage, GuestFilter};
use crate::host::{Address, Link, Neighbour, Route, Switch};
use crate::interface_name::InterfaceName;
use crate::mac_address::MacAddress;
use crate::operation::Operation;
use crate::record::Record;
use crate::sessions::Sessions;
use crate::sysctl::Sysctl;

/// What could be found out, or the sentence why not.
pub type Look<T> = Result<T, String>;

/// A network device with what it is as a bridge or as the port of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Device {
    /// The device.
    #[serde(flatten)]
    pub link: Link,
    /// Whether the other end is there.
    pub carrier: Switch,
    /// What it is as a port of a bridge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_state: Option<PortState>,
    /// How it works as a bridge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bridge: Option<BridgeSettings>,
    /// Packets that the device itself lost.
    pub lost: Lost,
}

/// What a bridge lets through at a port (`BR_STATE_*`, include/uapi/linux/if_bridge.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PortState {
    /// Nothing: the port is down.
    Disabled,
    /// Nothing yet: spanning tree looks around.
    Listening,
    /// Nothing yet: addresses are learnt.
    Learning,
    /// Everything.
    Forwarding,
    /// Nothing: spanning tree found a second way.
    Blocking,
}

impl PortState {
    /// From the kernel's number.
    #[must_use]
    pub fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Listening,
            2 => Self::Learning,
            3 => Self::Forwarding,
            4 => Self::Blocking,
            _ => Self::Disabled,
        }
    }

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Listening => "listening",
            Self::Learning => "learning",
            Self::Forwarding => "forwarding",
            Self::Blocking => "blocking",
        }
    }
}

/// How a bridge works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BridgeSettings {
    /// Whether it runs the spanning tree protocol.
    pub spanning_tree: Switch,
    /// How long a new port waits with spanning tree, in hundredths of a second.
    pub forward_delay: u32,
}

/// Packets that a device lost, for want of room or of a receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// Of those that came in: for a vif, from the guest.
    pub received: u64,
    /// Of those that were to go out: for a vif, to the guest.
    pub sent: u64,
}

/// How a guest's interface is connected, by the program in charge of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Wiring {
    /// `vif-bridge`: a port of a bridge.
    Bridged,
    /// `vif-route`: a link of its own.
    Routed,
    /// `vif-nat`: a link of its own, behind the host's address.
    Translated,
    /// Another program.
    Other,
}

impl Wiring {
    /// By the program's words as XenStore has them; xend joins a program and its variables (`vif-bridge bridge=xenbr1`).
    #[must_use]
    pub fn of_script(script: Option<&str>) -> Self {
        let path = script.and_then(|script| script.split(' ').next()).unwrap_or_default();
        match path.rsplit('/').next().unwrap_or_default() {
            "" | "vif-bridge" => Self::Bridged,
            "vif-route" => Self::Routed,
            "vif-nat" => Self::Translated,
            _ => Self::Other,
        }
    }

    /// Whether the vif is a link of its own, where the host is the router.
    #[must_use]
    pub fn is_routed(self) -> bool {
        matches!(self, Self::Routed | Self::Translated)
    }
}

/// A guest's interface as XenStore has it. Texts are fit to be printed (see [`printable`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Backend {
    /// The guest's domain number.
    pub domain: u16,
    /// The interface's number in the guest.
    pub handle: u32,
    /// The guest's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guest: Option<String>,
    /// The guest's UUID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// The program in charge, with its words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// The state of the driver's backend (`XenbusState*`, xen/include/public/io/xenbus.h).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<u8>,
    /// What the program told the toolstack: `connected`, `error` or nothing yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hotplug_status: Option<String>,
    /// The program's complaint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hotplug_error: Option<String>,
    /// The guest's Ethernet address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddress>,
    /// The guest's addresses.
    pub addresses: Vec<IpNetwork>,
    /// The bridge that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bridge: Option<InterfaceName>,
    /// The MTU that was asked for, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The name that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vifname: Option<InterfaceName>,
    /// The VLANs that were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<String>,
}

/// `XenbusStateConnected`
const CONNECTED: u8 = 4;

impl Backend {
    /// The name that netback gives the device.
    #[must_use]
    pub fn kernel_name(&self) -> String {
        format!("vif{}.{}", self.domain, self.handle)
    }

    /// The folder in XenStore, relative to the domain of the backend.
    #[must_use]
    pub fn path(&self) -> String {
        format!("backend/vif/{}/{}", self.domain, self.handle)
    }

    /// How it is connected.
    #[must_use]
    pub fn wiring(&self) -> Wiring {
        Wiring::of_script(self.script.as_deref())
    }

    /// Whether the program has set it up.
    #[must_use]
    pub fn is_set_up(&self) -> bool {
        self.hotplug_status.as_deref() == Some("connected")
    }

    /// Whether the guest's driver has connected to it.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.state == Some(CONNECTED)
    }

    /// The guest in a few words: its name, or its number.
    #[must_use]
    pub fn guest_words(&self) -> String {
        match &self.guest {
            Some(name) => format!("{name} (domain {})", self.domain),
            None => format!("domain {}", self.domain),
        }
    }

    /// The names that its device may have.
    pub fn device_names(&self) -> impl Iterator<Item = String> {
        self.vifname.iter().map(ToString::to_string).chain([self.kernel_name()])
    }
}

/// What XenStore says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Store {
    /// Every guest's interface, by domain and handle.
    pub vifs: Vec<Backend>,
    /// Whether the toolstack has told udev's calls to do nothing.
    pub udev_disabled: Switch,
}

/// What the guest filter does at one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Filtered {
    /// The filter.
    #[serde(flatten)]
    pub filter: GuestFilter,
    /// Packets of the guest that it dropped.
    pub dropped: u64,
}

impl Filtered {
    /// The mode, as `antispoof=` has it.
    #[must_use]
    pub fn mode(&self) -> &'static str {
        self.filter.strictness.word()
    }
}

/// What `status` shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Every device, in the kernel's order.
    pub devices: Vec<Device>,
    /// Every address, in the kernel's order.
    pub addresses: Vec<Address>,
    /// The device of the default route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uplink: Option<InterfaceName>,
    /// What XenStore says.
    #[serde(serialize_with = "store_as_json")]
    pub store: LookedStore,
    /// What the guest filter does, by device; empty where there is none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub filter: BTreeMap<InterfaceName, Filtered>,
    #[serde(skip)]
    index: Index,
}

/// Where things are in the lists of [`Seen`]: a host may have thousands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Index {
    devices: BTreeMap<String, usize>,
    ports: BTreeMap<InterfaceName, Vec<usize>>,
    addresses: BTreeMap<InterfaceName, Vec<usize>>,
    vifs: BTreeMap<String, usize>,
}

impl Index {
    fn of(devices: &[Device], addresses: &[Address], store: &LookedStore) -> Self {
        let mut index = Self::default();
        for (place, device) in devices.iter().enumerate() {
            index.devices.insert(device.link.name.to_string(), place);
            if let Some(master) = &device.link.master {
                index.ports.entry(master.clone()).or_default().push(place);
            }
        }
        for (place, address) in addresses.iter().enumerate() {
            index.addresses.entry(address.device.clone()).or_default().push(place);
        }
        let vifs = store.0.as_ref().map(|store| store.vifs.as_slice()).unwrap_or_default();
        for (place, vif) in vifs.iter().enumerate() {
            index.vifs.extend(vif.device_names().map(|name| (name, place)));
        }
        index
    }
}

/// XenStore, or why it cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookedStore(pub Look<Store>);

impl Default for LookedStore {
    fn default() -> Self {
        Self(Ok(Store::default()))
    }
}

fn store_as_json<S: serde::Serializer>(store: &LookedStore, serializer: S) -> Result<S::Ok, S::Error> {
    match &store.0 {
        Ok(store) => store.serialize(serializer),
        Err(reason) => BTreeMap::from([("unreachable", reason)]).serialize(serializer),
    }
}

impl Seen {
    /// What was seen, put in order.
    #[must_use]
    pub fn new(
        devices: Vec<Device>,
        addresses: Vec<Address>,
        uplink: Option<InterfaceName>,
        store: LookedStore,
        filter: BTreeMap<InterfaceName, Filtered>,
    ) -> Self {
        let index = Index::of(&devices, &addresses, &store);
        Self { devices, addresses, uplink, store, filter, index }
    }

    /// The device of this name.
    #[must_use]
    pub fn device(&self, name: &str) -> Option<&Device> {
        self.index.devices.get(name).and_then(|place| self.devices.get(*place))
    }

    /// Every guest's interface that XenStore has; none where it cannot be read.
    #[must_use]
    pub fn vifs(&self) -> &[Backend] {
        self.store.0.as_ref().map(|store| store.vifs.as_slice()).unwrap_or_default()
    }

    /// The device of a guest's interface.
    #[must_use]
    pub fn device_of(&self, vif: &Backend) -> Option<&Device> {
        vif.device_names().find_map(|name| self.device(&name))
    }

    /// What a guest's interface is called: as its device is, or as the driver would call it.
    #[must_use]
    pub fn name_of(&self, vif: &Backend) -> String {
        self.device_of(vif).map_or_else(|| vif.kernel_name(), |device| device.link.name.to_string())
    }

    /// A guest's interface in a few words: its name, and whose it is.
    #[must_use]
    pub fn words_of(&self, vif: &Backend) -> String {
        format!("{} of {}", self.name_of(vif), vif.guest_words())
    }

    /// The guest's interface that a device belongs to, itself or as the emulated twin.
    #[must_use]
    pub fn vif_of(&self, device: &InterfaceName) -> Option<&Backend> {
        let name = device.as_str();
        let name = name.strip_suffix("-emu").unwrap_or(name);
        self.index.vifs.get(name).and_then(|place| self.vifs().get(*place))
    }

    /// The bridges.
    pub fn bridges(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter().filter(|device| device.link.is_bridge())
    }

    /// The bridges that guests are ports of.
    pub fn bridges_with_guests(&self) -> impl Iterator<Item = &Device> {
        self.bridges().filter(|bridge| self.ports_of(&bridge.link.name).any(|port| self.is_guests(&port.link.name)))
    }

    /// The ports of a bridge.
    pub fn ports_of(&self, bridge: &InterfaceName) -> impl Iterator<Item = &Device> {
        let places = self.index.ports.get(bridge).map(Vec::as_slice).unwrap_or_default();
        places.iter().filter_map(|place| self.devices.get(*place))
    }

    /// The ports of a bridge that belong to no guest: the ways out.
    pub fn uplinks_of(&self, bridge: &InterfaceName) -> impl Iterator<Item = &Device> {
        self.ports_of(bridge).filter(|port| !self.is_guests(&port.link.name))
    }

    /// Whether a device is a guest's, by XenStore or by its name.
    #[must_use]
    pub fn is_guests(&self, device: &InterfaceName) -> bool {
        self.vif_of(device).is_some() || device.vif_numbers().is_some()
    }

    /// The addresses of a device.
    pub fn addresses_of(&self, device: &InterfaceName) -> impl Iterator<Item = &Address> {
        let places = self.index.addresses.get(device).map(Vec::as_slice).unwrap_or_default();
        places.iter().filter_map(|place| self.addresses.get(*place))
    }
}

/// What the kernel can do, as far as the programs need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// What was tried out, in a network namespace of its own, if one could be made.
    pub trials: Look<Trials>,
    /// IPv6.
    pub ipv6: Ipv6,
    /// Whether the packet filter of IP sees what bridges pass on (br_netfilter).
    pub bridged_packets: Switch,
}

/// What was tried out, and what the kernel said when it failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trials {
    /// A table of nf_tables that translates addresses.
    pub nat_table: Look<()>,
    /// A guest's filter, on a bridge and on a link of its own.
    pub guest_filters: Look<()>,
    /// A bridge.
    pub bridge: Look<()>,
}

/// Whether the host has IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv6 {
    /// It has.
    On,
    /// An administrator has switched it off.
    Off,
    /// The kernel lacks it.
    Missing,
}

/// What the packet filter holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Firewall {
    /// What our own table masquerades.
    pub masquerades: Vec<Masquerade>,
    /// Chains of others that drop what is forwarded.
    pub dropping_chains: Vec<DroppingChain>,
    /// All our signed rules in chains of others, of whatever device.
    pub accepts: Vec<ForwardAccept>,
}

/// What the programs remember in /run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// Where that of network-bridge lies, and what it says.
    pub bridges: Option<(PathBuf, Record)>,
    /// What network-route and network-nat remember.
    pub sessions: Sessions,
    /// Files that make no sense, and why.
    pub unreadable: Vec<(PathBuf, String)>,
    /// Journals of runs that did not end.
    pub killed_runs: Vec<KilledRun>,
    /// What vif-route remembers of a device, by device.
    pub memories: Vec<VifMemory>,
    /// Files by which dnsmasq knows a guest.
    pub guest_files: Vec<GuestFile>,
}

/// The journal of a run that was killed halfway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KilledRun {
    /// Where it lies.
    pub path: PathBuf,
    /// The program.
    pub program: &'static str,
}

/// What outlives a vif's device, in a file of vif-route's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VifMemory {
    /// Where it lies.
    pub path: PathBuf,
    /// The vif.
    pub device: InterfaceName,
    /// What is on the host because of it.
    pub neighbours: Vec<Neighbour>,
}

/// The file by which dnsmasq knows a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestFile {
    /// Where it lies.
    pub path: PathBuf,
    /// The device that leads to the guest.
    pub device: InterfaceName,
    /// The guest's address.
    pub address: Ipv4Addr,
}

/// ISC dhcpd, which knows guests from a file of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DhcpdSeen {
    /// The server.
    pub server: Dhcpd,
    /// The guests in the file.
    pub guests: Vec<HostLine>,
    /// What stands in the server's files.
    pub files: BTreeMap<PathBuf, Option<String>>,
}

/// What lies at the path of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramState {
    /// Nothing.
    Missing,
    /// Something that is no file.
    NoFile,
    /// A file that may not be executed.
    NotExecutable,
    /// A program.
    Ready,
}

/// A program that a configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedProgram {
    /// Where it should be.
    pub path: PathBuf,
    /// Where it is named, in words.
    pub named_in: String,
    /// What is there.
    pub state: ProgramState,
}

/// How the toolstack is configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Toolstack {
    /// Programs that configurations and XenStore name.
    pub programs: Vec<NamedProgram>,
    /// Who calls the programs by xl.conf; nothing where it does not say, and xl does.
    pub xl_calls: Option<Switch>,
    /// The bridge that xl.conf names for guests that name none.
    pub default_bridge: Option<InterfaceName>,
    /// A udev rule that calls the programs, where there is one.
    pub udev_rule: Option<PathBuf>,
}

/// A hook, or the folder of hooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Where it is.
    pub path: PathBuf,
    /// The user it belongs to.
    pub owner: u32,
    /// Its permissions.
    pub mode: u32,
    /// What it is.
    pub kind: HookKind,
}

/// What a file in the folder of hooks is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookKind {
    /// The folder itself.
    Folder,
    /// A hook that runs.
    Hook,
    /// A hook that is not executable, and so never runs.
    NotExecutable,
}

/// A program that looks after a device and would undo what ours do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Managed {
    /// The device.
    pub device: InterfaceName,
    /// The program.
    pub by: ForeignManager,
}

/// Programs that look after devices all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignManager {
    /// NetworkManager.
    NetworkManager,
    /// systemd-networkd.
    Networkd,
}

/// Whether dnsmasq runs, where it is to serve guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DhcpServer {
    /// No file of ours asks for it.
    NotAsked,
    /// It runs.
    Running,
    /// It does not.
    NotRunning,
}

/// Everything that `doctor` looks at.
#[derive(Clone, Debug)]
pub struct Examined {
    /// What `status` shows.
    pub seen: Seen,
    /// The routes of the main table.
    pub routes: Vec<Route>,
    /// Kernel settings of interest.
    pub settings: BTreeMap<Sysctl, String>,
    /// What the kernel can do.
    pub kernel: Kernel,
    /// What the packet filter holds.
    pub firewall: Look<Firewall>,
    /// What is wrong with the guest filter's tables.
    pub damage: Look<Vec<Damage>>,
    /// What the programs remember.
    pub remembered: Remembered,
    /// How the toolstack is configured.
    pub toolstack: Toolstack,
    /// What `reload` would do: the rules of ours that are not as they should be.
    pub due: Look<Vec<Operation>>,
    /// Hooks and their folder.
    pub hooks: Vec<Hook>,
    /// Devices that others look after.
    pub managed: Vec<Managed>,
    /// Whether dnsmasq runs where it should.
    pub dnsmasq: DhcpServer,
    /// dnsmasq's file with its process id, where it keeps one.
    pub dnsmasq_pid_file: Option<PathBuf>,
    /// ISC dhcpd, where a file of ours names guests to it.
    pub dhcpd: Option<DhcpdSeen>,
    /// The last complaints of the programs in Xen's log, oldest first.
    pub complaints: Vec<String>,
}

impl Examined {
    /// A host with nothing on it.
    #[cfg(test)]
    pub(crate) fn of_nothing() -> Self {
        let trials = Ok(Trials { nat_table: Ok(()), guest_filters: Ok(()), bridge: Ok(()) });
        Self {
            seen: Seen::default(),
            routes: vec![],
            settings: BTreeMap::new(),
            kernel: Kernel { trials, ipv6: Ipv6::On, bridged_packets: Switch::Off },
            firewall: Ok(Firewall::default()),
            remembered: Remembered::default(),
            toolstack: Toolstack::default(),
            damage: Ok(vec![]),
            due: Ok(vec![]),
            hooks: vec![],
            managed: vec![],
            dnsmasq: DhcpServer::NotAsked,
            dnsmasq_pid_file: None,
            dhcpd: None,
            complaints: vec![],
        }
    }

    /// Whether nobody can need any more what was set up for a device: it is gone, and XenStore has no vif of that name. Without XenStore,
    /// nothing is known to be nobody's.
    #[must_use]
    pub fn is_orphan(&self, device: &InterfaceName) -> bool {
        self.seen.store.0.is_ok() && self.seen.device(device.as_str()).is_none() && self.seen.vif_of(device).is_none()
    }
}

/// A text of somebody else's, fit to be printed: without anything that could move a terminal's cursor, and of bounded length.
#[must_use]
pub fn printable(text: &str) -> String {
    const LONGEST: usize = 200;
    text.chars().take(LONGEST).map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_known_by_its_name_whatever_its_folder_and_words() {
        for (script, wiring) in [
            (None, Wiring::Bridged),
            (Some("/etc/xen/scripts/vif-bridge bridge=xenbr1"), Wiring::Bridged),
            (Some("vif-route"), Wiring::Routed),
            (Some("/opt/vif-nat"), Wiring::Translated),
            (Some("/etc/xen/scripts/vif-openvswitch"), Wiring::Other),
        ] {
            assert_eq!(Wiring::of_script(script), wiring, "{script:?}");
        }
    }

    #[test]
    fn a_hostile_name_cannot_move_the_cursor() {
        assert_eq!(printable("web\x1b[2J\n\u{9b}x"), "web?[2J??x");
        assert_eq!(printable(&"x".repeat(1000)).len(), 200);
    }
}
