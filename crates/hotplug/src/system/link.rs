//! Network devices (`ip link`).

use std::time::{Duration, Instant};

use netlink_packet_core::{DefaultNla, Emitable, NLA_F_NESTED, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{BridgeStpState, InfoKind, LinkAttribute, LinkExtentMask, LinkHeader, LinkInfo, LinkMessage};
use nix::errno::Errno;
use nix::net::if_::if_indextoname;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socket, sockopt};
use rtnetlink::{LinkBridge, LinkMessageBuilder, LinkUnspec};

use super::attributes::Attributes;
use super::bridge_port::{IFLA_BRPORT_GROUP_FWD_MASK, IFLA_BRPORT_ISOLATED, IFLA_BRPORT_LEARNING};
use super::connection::{KernelError, Message};
use super::kernel::Kernel;
use crate::guest_filter::Way;
use crate::host::{AdminState, GroupMask, Link, LinkKind, LiveRename, PortSettings, Switch, VlanFiltering};
use crate::interface_name::InterfaceName;
use crate::mac_address::MacAddress;
use crate::operation::{LinkChange, Membership, NewBridge};

/// `RTM_NEWLINK`, the kind of every answer.
const RTM_NEWLINK: u16 = 16;
/// `struct ifinfomsg`, in bytes.
pub(super) const HEADER: usize = 16;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_TXQLEN: u16 = 13;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BR_VLAN_FILTERING: u16 = 7;
const IFLA_BR_VLAN_DEFAULT_PVID: u16 = 39;
/// The kind of what `IFLA_AF_SPEC` says of IPv4.
const AF_INET: u16 = 2;
/// The settings of `net.ipv4.conf` as a list of numbers; the first one is setting 1 (include/uapi/linux/ip.h).
const IFLA_INET_CONF: u16 = 1;
const IPV4_DEVCONF_PROXY_ARP: u16 = 3;
const IFF_UP: u32 = 0x1;
const IFF_RUNNING: u32 = 0x40;
const IFF_PROMISC: u32 = 0x100;
const IFF_ALLMULTI: u32 = 0x200;
const IFF_LOWER_UP: u32 = 0x1_0000;

/// A device as the kernel tells of it: its master by number.
#[derive(Debug)]
pub(super) struct Seen {
    pub number: u32,
    pub name: InterfaceName,
    /// The device as it will be shown, but for the master.
    link: Link,
    master: Option<u32>,
    /// The number of the device of this namespace that it is made on; nothing where there is none.
    lower: Option<u32>,
    flags: u32,
    /// Its setting `proxy_arp`; nothing where the device has none of IPv4.
    proxy_arp: Option<u32>,
}

impl Seen {
    /// The device with its master's name. A master that is gone since has let it go.
    pub fn into_link(self, kernel: &mut Kernel) -> Result<Link, KernelError> {
        let master = match self.master.map(|number| kernel.name_of(number)).transpose() {
            Err(error) if error.is(Errno::ENODEV) => None,
            master => master?,
        };
        Ok(Link { master, ..self.link })
    }

    /// Whether it is a bridge that keeps VLANs apart.
    pub fn keeps_vlans_apart(&self) -> bool {
        self.link.vlan_filtering != VlanFiltering::Off
    }

    /// Whether it is of a kind that gets what the device below it receives.
    fn intercepts(&self) -> bool {
        matches!(&self.link.kind, LinkKind::Other(kind) if ["macvlan", "macvtap", "ipvlan", "ipvtap", "macsec"].contains(&kind.as_str()))
    }

    /// Its master's number.
    pub fn master(&self) -> Option<u32> {
        self.master
    }

    /// The device, whose master is known by its number alone.
    pub fn without_master(self) -> Link {
        self.link
    }

    /// Nothing for a device whose name we would not let anybody write (see [`InterfaceName`]): nobody can ask us for it.
    pub fn parse(message: &Message) -> Result<Option<Self>, KernelError> {
        if message.kind != RTM_NEWLINK {
            return Err(KernelError::Nonsense(format!("message {} in place of a device", message.kind)));
        }
        let header = LinkHeader::parse(&message.body)?;
        let attributes = Attributes::behind(&message.body, HEADER)?;
        let Some(name) = name_in(&attributes) else { return Ok(None) };
        let flags = header.flags.bits();
        let switch = |flag: u32| if flags & flag == 0 { Switch::Off } else { Switch::On };
        let info = attributes.bytes(IFLA_LINKINFO).map(Attributes::parse).transpose()?;
        let link = Link {
            name: name.clone(),
            index: Some(header.index),
            kind: kind_of(info.as_ref())?,
            mac: attributes.bytes(IFLA_ADDRESS).and_then(|bytes| bytes.try_into().ok()).map(MacAddress::new),
            mtu: attributes.u32(IFLA_MTU)?.unwrap_or_default(),
            transmit_queue: attributes.u32(IFLA_TXQLEN)?.unwrap_or_default(),
            state: if flags & IFF_UP == 0 { AdminState::Down } else { AdminState::Up },
            // For these two the kernel shows only what was asked for by hand (net/core/dev.c, dev_get_flags()).
            promiscuous: switch(IFF_PROMISC),
            all_multicast: switch(IFF_ALLMULTI),
            master: None,
            alias: attributes.text(IFLA_IFALIAS)?.map(str::to_owned).filter(|alias| !alias.is_empty()),
            vlan_filtering: vlan_filtering_of(info.as_ref())?,
            port: port_settings_of(info.as_ref())?,
        };
        Ok(Some(Self {
            number: header.index,
            name,
            link,
            master: attributes.u32(IFLA_MASTER)?,
            lower: match attributes.bytes(IFLA_LINK_NETNSID) {
                None => attributes.u32(IFLA_LINK)?,
                Some(_) => None,
            },
            flags,
            proxy_arp: proxy_arp_in(&attributes)?,
        }))
    }

    /// Whether the other end is there, and the kernel sends to it.
    pub fn carrier(&self) -> Switch {
        if self.has_carrier() { Switch::On } else { Switch::Off }
    }

    fn has_carrier(&self) -> bool {
        let running = IFF_LOWER_UP | IFF_RUNNING;
        self.flags & running == running
    }
}

fn name_in(attributes: &Attributes<'_>) -> Option<InterfaceName> {
    attributes.text(IFLA_IFNAME).ok()??.parse().ok()
}

fn proxy_arp_in(attributes: &Attributes<'_>) -> Result<Option<u32>, KernelError> {
    let Some(families) = attributes.bytes(IFLA_AF_SPEC) else { return Ok(None) };
    let Some(ipv4) = Attributes::parse(families)?.bytes(AF_INET) else { return Ok(None) };
    let ipv4 = Attributes::parse(ipv4)?;
    if ipv4.bytes(IFLA_INET_CONF).is_none() {
        return Ok(None);
    }
    ipv4.u32_within(IFLA_INET_CONF, usize::from(IPV4_DEVCONF_PROXY_ARP - 1))
}

/// Whether what a device tells of its kind is that of a bridge.
pub(super) fn is_bridge(info: &Attributes<'_>) -> Result<bool, KernelError> {
    Ok(info.text(IFLA_INFO_KIND)? == Some("bridge"))
}

fn kind_of(info: Option<&Attributes<'_>>) -> Result<LinkKind, KernelError> {
    Ok(match info.map(|info| info.text(IFLA_INFO_KIND)).transpose()?.flatten() {
        None => LinkKind::Physical,
        Some("bridge") => LinkKind::Bridge,
        Some("bond") => LinkKind::Bond,
        Some("vlan") => LinkKind::Vlan,
        Some(other) => LinkKind::Other(other.to_owned()),
    })
}

/// The attributes behind `data`, where `kind` says that a bridge put them there.
fn of_a_bridge<'a>(info: Option<&Attributes<'a>>, kind: u16, data: u16) -> Result<Option<Attributes<'a>>, KernelError> {
    match info {
        Some(info) if info.text(kind)? == Some("bridge") => info.bytes(data).map(Attributes::parse).transpose(),
        _ => Ok(None),
    }
}

fn vlan_filtering_of(info: Option<&Attributes<'_>>) -> Result<VlanFiltering, KernelError> {
    let Some(bridge) = of_a_bridge(info, IFLA_INFO_KIND, IFLA_INFO_DATA)? else { return Ok(VlanFiltering::Off) };
    Ok(match bridge.u8(IFLA_BR_VLAN_FILTERING)? {
        None | Some(0) => VlanFiltering::Off,
        // 0 stands for no default.
        Some(_) => VlanFiltering::On { default: bridge.u16(IFLA_BR_VLAN_DEFAULT_PVID)?.and_then(|id| id.try_into().ok()) },
    })
}

/// What an answer about a device tells of it as a bridge's port. Its VLANs and its stations have to be asked for.
fn port_settings_of(info: Option<&Attributes<'_>>) -> Result<PortSettings, KernelError> {
    let mut settings = PortSettings::default();
    let Some(port) = of_a_bridge(info, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA)? else { return Ok(settings) };
    for (kind, setting) in [(IFLA_BRPORT_ISOLATED, &mut settings.isolated), (IFLA_BRPORT_LEARNING, &mut settings.learning)] {
        match port.u8(kind)? {
            None => {}
            Some(0) => *setting = Switch::Off,
            Some(_) => *setting = Switch::On,
        }
    }
    settings.groups = port.u16(IFLA_BRPORT_GROUP_FWD_MASK)?.map(GroupMask).unwrap_or_default();
    Ok(settings)
}

/// A request for devices. The counters are left out: they are most of an answer, and cost the kernel most.
fn request(number: u32, filter: Option<LinkAttribute>) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = number;
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    message.attributes.extend(filter);
    RouteNetlinkMessage::GetLink(message)
}

/// One device by its name.
pub(super) fn by_name(kernel: &mut Kernel, name: &InterfaceName) -> Result<Option<Seen>, KernelError> {
    let answer = kernel.connection()?.get(request(0, Some(LinkAttribute::IfName(name.as_str().to_owned()))));
    let seen = match answer {
        Err(error) if error.is(Errno::ENODEV) => None,
        // A second name (IFLA_ALT_IFNAME) is found as well; here a device has one.
        answer => Seen::parse(&answer?)?.filter(|seen| seen.name == *name),
    };
    match &seen {
        Some(seen) => {
            kernel.learn(name, seen.number);
            kernel.learn_proxy_arp(name, seen.proxy_arp);
        }
        None => kernel.forget(name),
    }
    Ok(seen)
}

/// Whether a device bears this name. Asks without `rtnl_mutex` (`sock_setbindtodevice()`, net/core/sock.c), which whoever takes a device away
/// holds until it is out of its bridge: netback for 7 ms on Xen (decision 34). By then the device has its name no more, is down, and sends nothing
/// (`unregister_netdevice_many()`, net/core/dev.c). Where the kernel does not tell, there may be one.
pub(super) fn is_there(name: &InterfaceName) -> bool {
    let asked = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .and_then(|any| setsockopt(&any, sockopt::BindToDevice, &name.as_str().into()));
    asked != Err(Errno::ENODEV)
}

/// The name of the device that has `second` as another name (`IFLA_ALT_IFNAME`, Linux 5.5).
pub(super) fn first_name(kernel: &mut Kernel, second: &InterfaceName) -> Result<Option<InterfaceName>, KernelError> {
    let answer = kernel.connection()?.get(request(0, Some(LinkAttribute::IfName(second.as_str().to_owned()))));
    match answer {
        Err(error) if error.is(Errno::ENODEV) => Ok(None),
        answer => Ok(Seen::parse(&answer?)?.map(|seen| seen.name).filter(|first| first != second)),
    }
}

/// Whether a guest can send by a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plug {
    /// It can.
    In,
    /// The device is down, or no port, or gone.
    Out,
}

/// Whether a device still takes frames that come in this way.
pub(super) fn plug(kernel: &mut Kernel, name: &InterfaceName, way: Way) -> Result<Plug, KernelError> {
    if !is_there(name) {
        return Ok(Plug::Out);
    }
    let seen = by_name(kernel, name)?;
    Ok(match seen.map(|seen| (seen.link.state, way, seen.master)) {
        None | Some((AdminState::Down, ..) | (_, Way::Bridged, None)) => Plug::Out,
        Some(_) => Plug::In,
    })
}

/// A device's name. Asks without `rtnl_mutex`, and for the name alone (`SIOCGIFNAME`, net/core/dev_ioctl.c). Of a device that is going or coming the
/// answer may be no name at all; then whoever holds the mutex is waited for.
pub(super) fn name_by_number(kernel: &mut Kernel, number: u32) -> Result<InterfaceName, KernelError> {
    let quick = if_indextoname(number).ok().and_then(|name| name.to_str().ok()?.parse().ok());
    let name = match quick {
        Some(name) => name,
        None => told_by_number(kernel, number)?,
    };
    kernel.learn(&name, number);
    Ok(name)
}

fn told_by_number(kernel: &mut Kernel, number: u32) -> Result<InterfaceName, KernelError> {
    let seen = Seen::parse(&kernel.connection()?.get(request(number, None))?)?;
    let seen = seen.ok_or_else(|| KernelError::Nonsense(format!("device {number} has a name that no program could ask for")))?;
    Ok(seen.name)
}

/// Which devices to list.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which {
    /// Every bridge.
    Bridges,
    /// The ports of the device with this number.
    PortsOf(u32),
    /// Those that get what the device with this number receives before a bridge could: no device can have both
    /// (`netdev_rx_handler_register()`, net/core/dev.c).
    Intercepting(u32),
    /// Every device.
    All,
}

/// The devices of one sort, in the kernel's order.
pub(super) fn list(kernel: &mut Kernel, which: Which) -> Result<Vec<Seen>, KernelError> {
    let filter = match which {
        Which::Bridges => Some(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)])),
        Which::PortsOf(master) => Some(LinkAttribute::Controller(master)),
        Which::Intercepting(_) | Which::All => None,
    };
    let mut list = vec![];
    for message in kernel.connection()?.dump(request(0, filter))? {
        let Some(seen) = Seen::parse(&message)? else { continue };
        let wanted = match which {
            Which::Bridges => seen.link.is_bridge(),
            Which::PortsOf(master) => seen.master == Some(master),
            Which::Intercepting(lower) => seen.lower == Some(lower) && seen.intercepts(),
            Which::All => true,
        };
        if wanted {
            kernel.learn(&seen.name, seen.number);
            list.push(seen);
        }
    }
    Ok(list)
}

/// Makes a bridge, down, without spanning tree and without a delay before forwarding.
pub(super) fn create_bridge(kernel: &mut Kernel, bridge: &NewBridge) -> Result<(), KernelError> {
    let mut builder = LinkMessageBuilder::<LinkBridge>::new(bridge.name.as_str())
        .mtu(bridge.mtu)
        .txqueuelen(bridge.transmit_queue)
        .stp_state(BridgeStpState::Disabled)
        .forward_delay(0);
    if let Some(mac) = bridge.mac {
        builder = builder.address(mac.octets().to_vec());
    }
    kernel.forget(&bridge.name);
    kernel.connection()?.change(RouteNetlinkMessage::NewLink(builder.build()), NLM_F_CREATE | NLM_F_EXCL)
}

/// Deletes a bridge, and nothing but a bridge.
pub(super) fn delete_bridge(kernel: &mut Kernel, name: &InterfaceName) -> Result<(), KernelError> {
    let seen = by_name(kernel, name)?.ok_or(KernelError::errno(Errno::ENODEV))?;
    if !seen.link.is_bridge() {
        return Err(KernelError::Refused { errno: Errno::EINVAL, message: Some(format!("{name} is not a bridge")) });
    }
    let message = LinkUnspec::new_with_index(seen.number).build();
    kernel.connection()?.change(RouteNetlinkMessage::DelLink(message), 0)?;
    kernel.forget(name);
    Ok(())
}

/// Gives a device another name.
pub(super) fn rename(kernel: &mut Kernel, from: &InterfaceName, to: &InterfaceName) -> Result<(), KernelError> {
    let number = kernel.number_of(from)?;
    set_name(kernel, number, to)?;
    kernel.renamed(from, to);
    Ok(())
}

fn set_name(kernel: &mut Kernel, number: u32, name: &InterfaceName) -> Result<(), KernelError> {
    let message = LinkUnspec::new_with_index(number).name(name.as_str().to_owned()).build();
    kernel.connection()?.change(RouteNetlinkMessage::SetLink(message), 0)
}

/// Changes a device, all in one message.
pub(super) fn set(kernel: &mut Kernel, device: &InterfaceName, change: &LinkChange) -> Result<(), KernelError> {
    let number = kernel.number_of(device)?;
    let mut builder = LinkUnspec::new_with_index(number);
    builder = match change.state {
        Some(AdminState::Up) => builder.up(),
        Some(AdminState::Down) => builder.down(),
        None => builder,
    };
    if let Some(mac) = change.mac {
        builder = builder.address(mac.octets().to_vec());
    }
    if let Some(mtu) = change.mtu {
        builder = builder.mtu(mtu);
    }
    if let Some(switch) = change.promiscuous {
        builder = builder.promiscuous(switch == Switch::On);
    }
    if let Some(switch) = change.all_multicast {
        builder = builder.allmulticast(switch == Switch::On);
    }
    if let Some(alias) = &change.alias {
        builder = builder.alias(alias.clone());
    }
    builder = match &change.membership {
        Some(Membership::Port(bridge)) => builder.controller(number_of_bridge(kernel, bridge)?),
        Some(Membership::Free) => builder.nocontroller(),
        None => builder,
    };
    kernel.connection()?.change(RouteNetlinkMessage::SetLink(builder.build()), 0)
}

/// Has a device answer ARP requests for others, or not, in one message: a file below /proc/sys takes the kernel several times as long
/// to find, the more so for a device that has just come.
pub(super) fn set_proxy_arp(kernel: &mut Kernel, device: &InterfaceName, value: u32) -> Result<(), KernelError> {
    let number = kernel.number_of(device)?;
    let setting = DefaultNla::new(IPV4_DEVCONF_PROXY_ARP, value.to_ne_bytes().to_vec());
    let settings = DefaultNla::new(IFLA_INET_CONF | NLA_F_NESTED, encoded(&setting));
    let ipv4 = DefaultNla::new(AF_INET | NLA_F_NESTED, encoded(&settings));
    let mut message = LinkUnspec::new_with_index(number).build();
    message.attributes.push(LinkAttribute::Other(DefaultNla::new(IFLA_AF_SPEC | NLA_F_NESTED, encoded(&ipv4))));
    kernel.connection()?.change(RouteNetlinkMessage::SetLink(message), 0)?;
    kernel.learn_proxy_arp(device, Some(value));
    Ok(())
}

fn encoded(attribute: &DefaultNla) -> Vec<u8> {
    let mut bytes = vec![0; attribute.buffer_len()];
    attribute.emit(&mut bytes);
    bytes
}

/// A bridge that is gone is a failure of its own: the device that was to join it is there.
fn number_of_bridge(kernel: &mut Kernel, bridge: &InterfaceName) -> Result<u32, KernelError> {
    match kernel.number_of(bridge) {
        Err(error) if error.is(Errno::ENODEV) => {
            Err(KernelError::Refused { errno: Errno::EINVAL, message: Some(format!("there is no bridge {bridge}")) })
        }
        answer => answer,
    }
}

/// Finds out whether this kernel renames devices that are up.
///
/// Giving a device the name it has changes nothing. A kernel that wants devices down refuses even that with `EBUSY`: it looks at the
/// device's state before it compares the names (net/core/dev.c, `dev_change_name()`, until 6.2).
pub(super) fn live_rename(kernel: &mut Kernel, device: &InterfaceName) -> Result<LiveRename, KernelError> {
    for name in [Ok(device.clone()), "lo".parse()].into_iter().flatten() {
        let Some(seen) = by_name(kernel, &name)? else { continue };
        if seen.flags & IFF_UP == 0 {
            continue;
        }
        return match set_name(kernel, seen.number, &name) {
            Ok(()) => Ok(LiveRename::Allowed),
            Err(error) if error.is(Errno::EBUSY) => Ok(LiveRename::Refused),
            Err(error) if error.is(Errno::EPERM) => Ok(live_rename_by_release()),
            Err(error) => Err(error),
        };
    }
    Ok(live_rename_by_release())
}

/// What the kernel's version says, where asking is not allowed or nothing is up to ask with.
fn live_rename_by_release() -> LiveRename {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|sign: char| !sign.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or_default());
    match (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default()) {
        version if version >= (6, 2) => LiveRename::Allowed,
        _ => LiveRename::Refused,
    }
}

/// The longest wait between two looks: news may be lost when there are very many.
const CARRIER_INTERVAL: Duration = Duration::from_millis(500);

/// Waits until a device has a link and the kernel sends through it, at most for `limit`.
///
/// The second follows the first only when the kernel's link watch has run (net/core/link_watch.c); what is sent before is lost. `IFF_RUNNING`
/// shows it.
///
/// # Errors
/// `ETIMEDOUT` when it has none by then.
pub(super) fn await_carrier(kernel: &mut Kernel, device: &InterfaceName, limit: Duration) -> Result<(), KernelError> {
    let begin = Instant::now();
    let mut events = None;
    loop {
        let seen = by_name(kernel, device)?.ok_or(KernelError::errno(Errno::ENODEV))?;
        if seen.has_carrier() {
            return Ok(());
        }
        let Some(left) = limit.checked_sub(begin.elapsed()) else {
            let message = format!("{device} has no link (no cable, or the other end is down)");
            return Err(KernelError::Refused { errno: Errno::ETIMEDOUT, message: Some(message) });
        };
        match &mut events {
            // It may have come between the look and the subscription: look again at once.
            None => events = Some(kernel.subscribe()?),
            Some(events) => events.wait(left.min(CARRIER_INTERVAL)),
        }
    }
}
