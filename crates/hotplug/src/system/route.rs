//! Routes (`ip route`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use netlink_packet_core::{DefaultNla, NLA_F_NESTED, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::route::{
    RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteNextHop, RouteNextHopFlags, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;

use super::attributes::{Attributes, family_of};
use super::connection::{KernelError, Message};
use super::kernel::Kernel;
use crate::host::{Family, Holder, KERNEL_PROTOCOL, LOCAL_TABLE, MAIN_TABLE, NextHop, Path, RawAttribute, Route, Switch};
use crate::interface_name::InterfaceName;

/// `RTM_NEWROUTE`, the kind of every entry of a table.
const RTM_NEWROUTE: u16 = 24;
/// `struct rtmsg`, in bytes.
const HEADER: usize = 12;
const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_IIF: u16 = 3;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_MULTIPATH: u16 = 9;
const RTA_CACHEINFO: u16 = 12;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const RTA_PREF: u16 = 20;
const RTA_ENCAP: u16 = 22;
const RTA_EXPIRES: u16 = 23;
const RTA_PAD: u16 = 24;
/// What is taken apart here, and what is of no account; all else is carried along as it is.
const KNOWN: [u16; 15] = [
    RTA_DST,
    RTA_SRC,
    RTA_IIF,
    RTA_OIF,
    RTA_GATEWAY,
    RTA_PRIORITY,
    RTA_PREFSRC,
    RTA_MULTIPATH,
    RTA_CACHEINFO,
    RTA_TABLE,
    RTA_VIA,
    RTA_PREF,
    RTA_EXPIRES,
    RTA_PAD,
    0,
];
/// `RTM_F_CLONED`: what the kernel learnt for one destination.
const RTM_F_CLONED: u32 = 0x200;
/// `RTM_F_FIB_MATCH`: the entry of the table, and not what follows from it for one destination (Linux 4.13).
const RTM_F_FIB_MATCH: u32 = 0x2000;
/// `RTM_F_LOOKUP_TABLE`: without it every answer claims to be of the main table.
const RTM_F_LOOKUP_TABLE: u32 = 0x1000;
/// `RTNH_F_ONLINK`
const RTNH_F_ONLINK: u8 = 4;
/// `struct rtnexthop`, in bytes.
const NEXT_HOP_HEADER: usize = 8;
/// `rta_expires` among the numbers of `struct rta_cacheinfo`.
const EXPIRES_PLACE: usize = 2;
/// The kernel's clock ticks a second, as it shows them (`USER_HZ`).
const TICKS_PER_SECOND: u32 = 100;

/// The routes of both families and all tables that leave by `device`, in the kernel's order.
pub(super) fn list(kernel: &mut Kernel, device: &InterfaceName) -> Result<Vec<Route>, KernelError> {
    let number = kernel.number_of(device)?;
    let routes = dump(kernel, &RouteAttribute::Oif(number))?;
    Ok(routes.into_iter().filter(|route| route.uses(device)).collect())
}

/// The default routes of the main table, of both families, in the kernel's order.
pub(super) fn list_default(kernel: &mut Kernel) -> Result<Vec<Route>, KernelError> {
    Ok(list_main(kernel)?.into_iter().filter(Route::is_default).collect())
}

/// The routes of the main table, of both families, in the kernel's order.
pub(super) fn list_main(kernel: &mut Kernel) -> Result<Vec<Route>, KernelError> {
    dump(kernel, &RouteAttribute::Table(MAIN_TABLE))
}

/// The device by which packets to `address` leave; none when no route leads there (`ip route get`).
pub(super) fn device_towards(kernel: &mut Kernel, address: IpAddr) -> Result<Option<InterfaceName>, KernelError> {
    let mut message = RouteMessage::default();
    (message.header.address_family, message.header.destination_prefix_length) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    message.attributes.push(RouteAttribute::Destination(address.into()));
    let answer = match kernel.connection()?.get(RouteNetlinkMessage::GetRoute(message)) {
        Err(error) if error.is(Errno::ENETUNREACH) || error.is(Errno::EHOSTUNREACH) => return Ok(None),
        answer => answer?,
    };
    match Attributes::behind(&answer.body, HEADER)?.u32(RTA_OIF)? {
        Some(number) => kernel.name_of(number).map(Some),
        None => Ok(None),
    }
}

/// The default route of the main table that is taken for an address that no network has: one question, however long the table is. Nothing
/// where that does not tell: no such route, a way that is down, a policy rule that leads elsewhere, or Linux before 4.13.
pub(super) fn taken_default(kernel: &mut Kernel, family: Family) -> Result<Option<Route>, KernelError> {
    let message = question_of_entry(unassigned(family));
    let answer = match kernel.connection()?.get(RouteNetlinkMessage::GetRoute(message)) {
        Err(KernelError::Refused { .. }) => return Ok(None),
        answer => answer?,
    };
    match parse(kernel, &answer, family, &RouteAttribute::Table(MAIN_TABLE)) {
        // One of its devices has gone meanwhile.
        Err(error) if error.is(Errno::ENODEV) => Ok(None),
        route => Ok(route?.filter(Route::is_default)),
    }
}

/// Who has `address` for itself: the entry that the kernel finds for it, whatever else is in the tables. Linux before 4.13 does not tell, but
/// for the host's own addresses, of which it names the loopback device.
pub(super) fn holder(kernel: &mut Kernel, address: Ipv4Addr) -> Result<Holder, KernelError> {
    let message = question_of_entry(address.into());
    let answer = match kernel.connection()?.get(RouteNetlinkMessage::GetRoute(message)) {
        // No route leads there, or one that leads nowhere.
        Err(KernelError::Refused { errno: Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::EACCES | Errno::EINVAL, .. }) => {
            return Ok(Holder::Nobody);
        }
        answer => answer?,
    };
    let header = RouteHeader::parse(&answer.body)?;
    let alone = header.destination_prefix_length == 32 && header.flags.bits() & RTM_F_CLONED == 0;
    let of = match u8::from(header.kind) {
        LOCAL => Holder::Host,
        _ if alone => Holder::Behind,
        _ => return Ok(Holder::Nobody),
    };
    match Attributes::behind(&answer.body, HEADER)?.u32(RTA_OIF)? {
        Some(number) => match kernel.name_of(number) {
            Err(error) if error.is(Errno::ENODEV) => Ok(Holder::Nobody),
            name => name.map(of),
        },
        None => Ok(Holder::Nobody),
    }
}

/// Asks for the entry of the tables that is for `address`. IPv6 names the entry's table by itself, and takes no other flag
/// (net/ipv6/route.c, `inet6_rtm_valid_getroute_req()`).
fn question_of_entry(address: IpAddr) -> RouteMessage {
    let (family, length, flags) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, 32, RTM_F_FIB_MATCH | RTM_F_LOOKUP_TABLE),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128, RTM_F_FIB_MATCH),
    };
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    message.header.destination_prefix_length = length;
    message.header.flags = RouteFlags::from_bits_retain(flags);
    message.attributes.push(RouteAttribute::Destination(address.into()));
    message
}

/// `RTN_LOCAL`
const LOCAL: u8 = 2;

/// Of a block that nobody is given addresses of (RFC 1112, section 4; for IPv6 what IANA has not assigned of RFC 4291's space).
fn unassigned(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(240, 0, 0, 1).into(),
        Family::V6 => Ipv6Addr::new(0x4000, 0, 0, 0, 0, 0, 0, 1).into(),
    }
}

/// How often the tables are read again because a device went under the reading: guests come and go.
const DUMP_ATTEMPTS: usize = 20;

fn dump(kernel: &mut Kernel, filter: &RouteAttribute) -> Result<Vec<Route>, KernelError> {
    for _ in 1..DUMP_ATTEMPTS {
        match dump_once(kernel, filter) {
            // Its routes go with it, so they are not in the tables any more (net/core/dev.c, `unregister_netdevice_many()`).
            Err(Unread::DeviceGone) => {}
            Err(Unread::Failed(error)) => return Err(error),
            Ok(list) => return Ok(list),
        }
    }
    dump_once(kernel, filter).map_err(|unread| match unread {
        Unread::DeviceGone => KernelError::Broken(format!("devices went during each of {DUMP_ATTEMPTS} readings of the routes")),
        Unread::Failed(error) => error,
    })
}

/// Why the tables could not be read.
enum Unread {
    /// A device that a route leads over is gone since.
    DeviceGone,
    /// For another reason.
    Failed(KernelError),
}

fn dump_once(kernel: &mut Kernel, filter: &RouteAttribute) -> Result<Vec<Route>, Unread> {
    let mut list = vec![];
    for (family, number) in [(Family::V4, AddressFamily::Inet), (Family::V6, AddressFamily::Inet6)] {
        let mut message = RouteMessage::default();
        message.header.address_family = number;
        message.attributes.push(filter.clone());
        let connection = kernel.connection().map_err(Unread::Failed)?;
        let entries = match connection.dump(RouteNetlinkMessage::GetRoute(message)) {
            // The table has never been used (net/ipv4/fib_frontend.c, inet_dump_fib()).
            Err(error) if error.is(Errno::ENOENT) => vec![],
            entries => entries.map_err(Unread::Failed)?,
        };
        for entry in entries {
            let route = parse(kernel, &entry, family, filter);
            list.extend(route.map_err(|error| if error.is(Errno::ENODEV) { Unread::DeviceGone } else { Unread::Failed(error) })?);
        }
    }
    Ok(list)
}

/// An entry of a table; nothing when it is of another family or no match, or what the kernel keeps by itself for every address.
pub(super) fn parse(
    kernel: &mut Kernel,
    message: &Message,
    family: Family,
    filter: &RouteAttribute,
) -> Result<Option<Route>, KernelError> {
    if message.kind != RTM_NEWROUTE {
        return Err(nonsense(&format!("message {} in place of a route", message.kind)));
    }
    let header = RouteHeader::parse(&message.body)?;
    let attributes = Attributes::behind(&message.body, HEADER)?;
    let table = attributes.u32(RTA_TABLE)?.unwrap_or_else(|| header.table.into());
    let own_affair = table == LOCAL_TABLE && u8::from(header.protocol) == KERNEL_PROTOCOL;
    let other_table = matches!(filter, RouteAttribute::Table(wanted) if *wanted != table);
    let cloned = header.flags.bits() & RTM_F_CLONED != 0;
    if family_of(header.address_family.into()) != Some(family) || own_affair || other_table || cloned {
        return Ok(None);
    }
    Ok(Some(Route {
        destination: network(attributes.address(RTA_DST, family)?, family, header.destination_prefix_length)?,
        source: match header.source_prefix_length {
            0 => None,
            length => Some(network(attributes.address(RTA_SRC, family)?, family, length)?),
        },
        table,
        kind: header.kind.into(),
        protocol: header.protocol.into(),
        scope: header.scope.into(),
        tos: header.tos,
        metric: attributes.u32(RTA_PRIORITY)?.unwrap_or_default(),
        preferred_source: attributes.address(RTA_PREFSRC, family)?,
        path: path(kernel, &header, &attributes, family)?,
        expires: attributes.u32_within(RTA_CACHEINFO, EXPIRES_PLACE).map(|ticks| ticks.and_then(seconds))?,
        preference: attributes.u8(RTA_PREF)?,
        other: attributes.others(&KNOWN),
    }))
}

/// Seconds left of a route; zero ticks stand for ever, and a route past its time counts them below zero.
fn seconds(ticks: u32) -> Option<u32> {
    match i32::from_ne_bytes(ticks.to_ne_bytes()) {
        0 => None,
        ticks => Some(ticks.max(0).unsigned_abs().div_ceil(TICKS_PER_SECOND)),
    }
}

fn network(address: Option<IpAddr>, family: Family, length: u8) -> Result<IpNetwork, KernelError> {
    let any = match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    IpNetwork::new(address.unwrap_or(any), length).map_err(|_| nonsense("the length of a network"))
}

fn path(kernel: &mut Kernel, header: &RouteHeader, attributes: &Attributes<'_>, family: Family) -> Result<Path, KernelError> {
    /// `RTN_BLACKHOLE` to `RTN_THROW`; IPv6 shows the loopback device with them.
    const NOWHERE: std::ops::RangeInclusive<u8> = 6..=9;
    if NOWHERE.contains(&header.kind.into()) {
        return Ok(Path::None);
    }
    if let Some(bytes) = attributes.bytes(RTA_MULTIPATH) {
        return Ok(Path::Multi(next_hops(kernel, bytes, family)?));
    }
    let hop = NextHop {
        device: attributes.u32(RTA_OIF)?.map(|number| kernel.name_of(number)).transpose()?,
        gateway: gateway(attributes, family)?,
        weight: 1,
        on_link: on_link(header.flags.bits().to_le_bytes()[0]),
        other: vec![],
    };
    Ok(if hop.device.is_none() && hop.gateway.is_none() { Path::None } else { Path::Single(hop) })
}

fn on_link(flags: u8) -> Switch {
    if flags & RTNH_F_ONLINK == 0 { Switch::Off } else { Switch::On }
}

fn next_hops(kernel: &mut Kernel, mut bytes: &[u8], family: Family) -> Result<Vec<NextHop>, KernelError> {
    let mut hops = vec![];
    while let [l0, l1, flags, weight, i0, i1, i2, i3, ..] = *bytes {
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let body = bytes.get(NEXT_HOP_HEADER..length).ok_or_else(|| nonsense("the length of a next hop"))?;
        let attributes = Attributes::parse(body)?;
        hops.push(NextHop {
            device: match u32::from_ne_bytes([i0, i1, i2, i3]) {
                0 => None,
                number => Some(kernel.name_of(number)?),
            },
            gateway: gateway(&attributes, family)?,
            weight: u16::from(weight) + 1,
            on_link: on_link(flags),
            other: attributes.others(&KNOWN),
        });
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    if bytes.is_empty() { Ok(hops) } else { Err(nonsense("the end of a multipath route")) }
}

/// The router, of the route's own family or of the other one (`struct rtvia`, RFC 5549).
fn gateway(attributes: &Attributes<'_>, family: Family) -> Result<Option<IpAddr>, KernelError> {
    if let Some(gateway) = attributes.address(RTA_GATEWAY, family)? {
        return Ok(Some(gateway));
    }
    attributes.bytes(RTA_VIA).map(via).transpose()
}

fn via(bytes: &[u8]) -> Result<IpAddr, KernelError> {
    match RouteVia::parse(bytes)? {
        RouteVia::Inet(address) => Ok(address.into()),
        RouteVia::Inet6(address) => Ok(address.into()),
        _ => Err(nonsense("a router that is neither IPv4 nor IPv6")),
    }
}

fn nonsense(what: &str) -> KernelError {
    KernelError::Nonsense(what.to_owned())
}

/// Puts a route in a place where none stands.
pub(super) fn add(kernel: &mut Kernel, route: &Route) -> Result<(), KernelError> {
    let message = message(kernel, route)?;
    kernel.connection()?.change(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// Puts a route in its place, over whatever stands there.
pub(super) fn replace(kernel: &mut Kernel, route: &Route) -> Result<(), KernelError> {
    let message = message(kernel, route)?;
    kernel.connection()?.change(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE)
}

/// Puts a route beside those at its place; the very same one may be there already.
pub(super) fn append(kernel: &mut Kernel, route: &Route) -> Result<(), KernelError> {
    let message = message(kernel, route)?;
    match kernel.connection()?.change(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_APPEND) {
        Err(error) if error.is(Errno::EEXIST) => Ok(()),
        result => result,
    }
}

/// Takes a route away.
pub(super) fn delete(kernel: &mut Kernel, route: &Route) -> Result<(), KernelError> {
    let message = message(kernel, &Route { expires: None, ..route.clone() })?;
    kernel.connection()?.change(RouteNetlinkMessage::DelRoute(message), 0)
}

fn message(kernel: &mut Kernel, route: &Route) -> Result<RouteMessage, KernelError> {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = match route.family() {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    };
    header.destination_prefix_length = route.destination.prefix();
    header.source_prefix_length = route.source.map_or(0, |source| source.prefix());
    header.tos = route.tos;
    // Tables above 255 have room in the attribute only.
    header.table = u8::try_from(route.table).unwrap_or_default();
    header.protocol = route.protocol.into();
    header.scope = route.scope.into();
    header.kind = route.kind.into();
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Table(route.table));
    if route.destination.prefix() > 0 {
        attributes.push(RouteAttribute::Destination(route.destination.ip().into()));
    }
    attributes.extend(route.source.map(|source| RouteAttribute::Source(source.ip().into())));
    attributes.extend(Some(route.metric).filter(|metric| *metric != 0).map(RouteAttribute::Priority));
    attributes.extend(route.preferred_source.map(|source| RouteAttribute::PrefSource(source.into())));
    attributes.extend(route.expires.map(RouteAttribute::Expires));
    attributes.extend(route.preference.map(|preference| RouteAttribute::Preference(preference.into())));
    attributes.extend(route.other.iter().map(raw));
    // A nexthop object stands for the whole path; the kernel refuses to hear of both.
    if route.nexthop_object().is_none() {
        add_path(kernel, &mut message, &route.path, route.family())?;
    }
    Ok(message)
}

fn add_path(kernel: &mut Kernel, message: &mut RouteMessage, path: &Path, family: Family) -> Result<(), KernelError> {
    match path {
        Path::None => {}
        Path::Single(hop) => {
            if hop.on_link == Switch::On {
                message.header.flags |= RouteFlags::from_bits_retain(RTNH_F_ONLINK.into());
            }
            if let Some(device) = &hop.device {
                message.attributes.push(RouteAttribute::Oif(kernel.number_of(device)?));
            }
            message.attributes.extend(gateway_attribute(hop, family));
            message.attributes.extend(hop.other.iter().map(raw));
        }
        Path::Multi(hops) => {
            let mut list = vec![];
            for hop in hops {
                list.push(next_hop(kernel, hop, family)?);
            }
            message.attributes.push(RouteAttribute::MultiPath(list));
        }
    }
    Ok(())
}

fn next_hop(kernel: &mut Kernel, hop: &NextHop, family: Family) -> Result<RouteNextHop, KernelError> {
    let mut encoded = RouteNextHop::default();
    if hop.on_link == Switch::On {
        encoded.flags |= RouteNextHopFlags::Onlink;
    }
    encoded.hops = u8::try_from(hop.weight.saturating_sub(1)).unwrap_or(u8::MAX);
    if let Some(device) = &hop.device {
        encoded.interface_index = kernel.number_of(device)?;
    }
    encoded.attributes.extend(gateway_attribute(hop, family));
    encoded.attributes.extend(hop.other.iter().map(raw));
    Ok(encoded)
}

fn gateway_attribute(hop: &NextHop, family: Family) -> Option<RouteAttribute> {
    let gateway = hop.gateway?;
    Some(if Family::of(gateway) == family { RouteAttribute::Gateway(gateway.into()) } else { RouteAttribute::Via(gateway.into()) })
}

/// An attribute as it came. Encapsulations are taken only with the mark of a nest, which the kernel itself leaves away when it shows them
/// (net/core/lwtunnel.c).
fn raw(attribute: &RawAttribute) -> RouteAttribute {
    let mark = if attribute.kind == RTA_ENCAP { NLA_F_NESTED } else { 0 };
    RouteAttribute::Other(DefaultNla::new(attribute.kind | mark, attribute.value.clone()))
}
