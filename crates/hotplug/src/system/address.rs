//! Addresses of devices (`ip address`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressHeader, AddressMessage, CacheInfo};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::attributes::{Attributes, family_of};
use super::connection::{KernelError, Message};
use super::kernel::Kernel;
use crate::host::{Address, AddressFlags, Family, Lifetimes};
use crate::interface_name::InterfaceName;

/// `RTM_NEWADDR`, the kind of every entry of the table.
const RTM_NEWADDR: u16 = 20;
/// `struct ifaddrmsg`, in bytes.
const HEADER: usize = 8;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const IFA_BROADCAST: u16 = 4;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;
const IFA_RT_PRIORITY: u16 = 9;
const IFA_PROTO: u16 = 11;
const IFA_F_DEPRECATED: u32 = 0x20;
const IFA_F_PERMANENT: u32 = 0x80;
/// `INFINITY_LIFE_TIME` (include/net/addrconf.h).
const FOR_EVER: u32 = u32::MAX;

/// The addresses of one device, in the kernel's order.
pub(super) fn list(kernel: &mut Kernel, device: &InterfaceName) -> Result<Vec<Address>, KernelError> {
    let number = kernel.number_of(device)?;
    let mut filter = AddressMessage::default();
    filter.header.index = number;
    let mut list = vec![];
    for message in kernel.connection()?.dump(RouteNetlinkMessage::GetAddress(filter))? {
        list.extend(parse(&message, device, number)?);
    }
    Ok(list)
}

/// The addresses of all devices in `names`, which are known by their numbers, in the kernel's order.
pub(super) fn list_all(kernel: &mut Kernel, names: &BTreeMap<u32, &InterfaceName>) -> Result<Vec<Address>, KernelError> {
    let mut list = vec![];
    for message in kernel.connection()?.dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))? {
        let number = AddressHeader::parse(&message.body)?.index;
        if let Some(device) = names.get(&number) {
            list.extend(parse(&message, device, number)?);
        }
    }
    Ok(list)
}

/// An entry of the table; nothing when it belongs to another device or family.
pub(super) fn parse(message: &Message, device: &InterfaceName, number: u32) -> Result<Option<Address>, KernelError> {
    if message.kind != RTM_NEWADDR {
        return Err(KernelError::Nonsense(format!("message {} in place of an address", message.kind)));
    }
    let header = AddressHeader::parse(&message.body)?;
    let Some(family) = family_of(header.family.into()).filter(|_| header.index == number) else { return Ok(None) };
    let attributes = Attributes::behind(&message.body, HEADER)?;
    let far = attributes.address(IFA_ADDRESS, family)?;
    let own = attributes.address(IFA_LOCAL, family)?.or(far).ok_or_else(|| nonsense("an address without an address"))?;
    let flags = attributes.u32(IFA_FLAGS)?.unwrap_or_else(|| header.flags.bits().into());
    Ok(Some(Address {
        device: device.clone(),
        network: IpNetwork::new(own, header.prefix_len).map_err(|_| nonsense("the length of an address's network"))?,
        peer: far.filter(|far| *far != own),
        broadcast: attributes.address(IFA_BROADCAST, family)?,
        label: attributes.text(IFA_LABEL)?.map(str::to_owned),
        scope: header.scope.into(),
        flags: AddressFlags(flags & AddressFlags::SETTABLE),
        lifetimes: lifetimes(&attributes, flags)?,
        metric: attributes.u32(IFA_RT_PRIORITY)?.filter(|metric| *metric != 0),
        origin: attributes.u8(IFA_PROTO)?.filter(|origin| *origin != 0),
    }))
}

fn lifetimes(attributes: &Attributes<'_>, flags: u32) -> Result<Lifetimes, KernelError> {
    let finite = |seconds: Option<u32>| seconds.filter(|seconds| *seconds != FOR_EVER);
    let preferred = finite(attributes.u32_within(IFA_CACHEINFO, 0)?);
    let valid = finite(attributes.u32_within(IFA_CACHEINFO, 1)?);
    // Of an IPv4 address that stays for ever, only a flag tells that it is deprecated (net/ipv4/devinet.c, inet_fill_ifaddr()).
    let deprecated = IFA_F_PERMANENT | IFA_F_DEPRECATED;
    let preferred = if preferred.is_none() && flags & deprecated == deprecated { Some(0) } else { preferred };
    Ok(Lifetimes { valid, preferred })
}

fn nonsense(what: &str) -> KernelError {
    KernelError::Nonsense(what.to_owned())
}

/// Gives a device an address, or brings one that it has to these settings.
pub(super) fn add(kernel: &mut Kernel, address: &Address) -> Result<(), KernelError> {
    let mut message = identified(kernel, address)?;
    message.header.scope = address.scope.into();
    let attributes = &mut message.attributes;
    if let Some(IpAddr::V4(broadcast)) = address.broadcast {
        attributes.push(AddressAttribute::Broadcast(broadcast));
    }
    if address.flags != AddressFlags::default() {
        attributes.push(AddressAttribute::Flags(netlink_packet_route::address::AddressFlags::from_bits_retain(address.flags.0)));
    }
    if address.lifetimes != Lifetimes::default() {
        let mut times = CacheInfo::default();
        times.ifa_valid = address.lifetimes.valid.unwrap_or(FOR_EVER);
        times.ifa_preferred = address.lifetimes.preferred.unwrap_or(FOR_EVER);
        attributes.push(AddressAttribute::CacheInfo(times));
    }
    attributes.extend(address.metric.map(AddressAttribute::RoutePriority));
    // Kernels before 5.18 do not know who set an address, and pass over the attribute.
    attributes.extend(address.origin.map(|origin| AddressAttribute::Protocol(origin.into())));
    kernel.connection()?.change(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
}

/// Takes an address away.
pub(super) fn delete(kernel: &mut Kernel, address: &Address) -> Result<(), KernelError> {
    let message = identified(kernel, address)?;
    kernel.connection()?.change(RouteNetlinkMessage::DelAddress(message), 0)
}

/// What names an address: the device, both ends, the length of the network and the label.
fn identified(kernel: &mut Kernel, address: &Address) -> Result<AddressMessage, KernelError> {
    let mut message = AddressMessage::default();
    message.header.index = kernel.number_of(&address.device)?;
    message.header.prefix_len = address.network.prefix();
    message.header.family = match address.family() {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    };
    message.attributes.push(AddressAttribute::Local(address.network.ip()));
    message.attributes.push(AddressAttribute::Address(address.peer.unwrap_or(address.network.ip())));
    message.attributes.extend(address.label.clone().map(AddressAttribute::Label));
    Ok(message)
}
