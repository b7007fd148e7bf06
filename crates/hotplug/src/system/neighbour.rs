//! Neighbour entries (`ip neighbour`).

use std::net::IpAddr;
use std::time::{Duration, Instant};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourHeader, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::RouteType;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;

use super::attributes::{Attributes, family_of};
use super::connection::{KernelError, Message};
use super::kernel::Kernel;
use crate::host::{Neighbour, NeighbourKind};
use crate::interface_name::InterfaceName;
use crate::mac_address::MacAddress;

/// `RTM_NEWNEIGH`, the kind of every entry of the table.
const RTM_NEWNEIGH: u16 = 28;
/// `struct ndmsg`, in bytes.
const HEADER: usize = 12;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;

/// An entry as the kernel tells of it.
#[derive(Debug)]
pub(super) struct Seen {
    address: IpAddr,
    mac: Option<MacAddress>,
    state: NeighbourState,
    flags: NeighbourFlags,
}

impl Seen {
    /// What somebody has said of the neighbour by hand. The kernel's own entries for groups and for everybody are `NOARP` as well
    /// (net/ipv4/arp.c, `arp_constructor()`).
    fn kind(&self) -> Option<NeighbourKind> {
        let mac = self.mac?;
        match self.state {
            NeighbourState::Permanent => Some(NeighbourKind::Permanent(mac)),
            NeighbourState::Noarp if !mac.is_group() => Some(NeighbourKind::NoArp(mac)),
            _ => None,
        }
    }
}

/// The entries of one device that somebody set by hand, in the kernel's order.
pub(super) fn list(kernel: &mut Kernel, device: &InterfaceName) -> Result<Vec<Neighbour>, KernelError> {
    let number = kernel.number_of(device)?;
    let mut list = vec![];
    for seen in table(kernel, number, NeighbourFlags::empty())? {
        if let Some(kind) = seen.kind() {
            list.push(Neighbour { device: device.clone(), address: seen.address, kind });
        }
    }
    // The kernel keeps what it answers for others in a table of its own, which is read only when asked for.
    for seen in table(kernel, number, NeighbourFlags::Proxy)? {
        if seen.flags.contains(NeighbourFlags::Proxy) {
            list.push(Neighbour { device: device.clone(), address: seen.address, kind: NeighbourKind::Proxy });
        }
    }
    Ok(list)
}

fn table(kernel: &mut Kernel, number: u32, flags: NeighbourFlags) -> Result<Vec<Seen>, KernelError> {
    let mut filter = NeighbourMessage::default();
    filter.header.flags = flags;
    filter.attributes.push(NeighbourAttribute::IfIndex(number));
    let mut list = vec![];
    for message in kernel.connection()?.dump(RouteNetlinkMessage::GetNeighbour(filter))? {
        list.extend(parse(&message, number)?);
    }
    Ok(list)
}

/// An entry of the table; nothing when it belongs to another device, or to no family of ours.
pub(super) fn parse(message: &Message, number: u32) -> Result<Option<Seen>, KernelError> {
    if message.kind != RTM_NEWNEIGH {
        return Err(KernelError::Nonsense(format!("message {} in place of a neighbour", message.kind)));
    }
    let header = NeighbourHeader::parse(&message.body)?;
    let Some(family) = family_of(header.family.into()).filter(|_| header.ifindex == number) else { return Ok(None) };
    let attributes = Attributes::behind(&message.body, HEADER)?;
    let Some(address) = attributes.address(NDA_DST, family)? else { return Ok(None) };
    let mac = attributes.bytes(NDA_LLADDR).and_then(|bytes| bytes.try_into().ok()).map(MacAddress::new);
    Ok(Some(Seen { address, mac, state: header.state, flags: header.flags }))
}

/// The entry by which the kernel answers for `address` on `device`, if there is one.
pub(super) fn proxy(kernel: &mut Kernel, device: &InterfaceName, address: IpAddr) -> Result<Option<Neighbour>, KernelError> {
    let neighbour = Neighbour { device: device.clone(), address, kind: NeighbourKind::Proxy };
    let mut message = match identified(kernel, &neighbour) {
        Err(error) if error.is(Errno::ENODEV) => return Ok(None),
        message => message?,
    };
    // A question with a type in it is refused (net/core/neighbour.c, `neigh_valid_get_req()`).
    message.header.kind = RouteType::Unspec;
    match kernel.connection()?.get(RouteNetlinkMessage::GetNeighbour(message)) {
        Err(error) if error.is(Errno::ENOENT) => Ok(None),
        answer => answer.map(|_| Some(neighbour)),
    }
}

/// Sets an entry, over one that is there.
pub(super) fn add(kernel: &mut Kernel, neighbour: &Neighbour) -> Result<(), KernelError> {
    let message = identified(kernel, neighbour)?;
    kernel.connection()?.change(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
}

/// Takes an entry away.
pub(super) fn delete(kernel: &mut Kernel, neighbour: &Neighbour) -> Result<(), KernelError> {
    let message = identified(kernel, neighbour)?;
    kernel.connection()?.change(RouteNetlinkMessage::DelNeighbour(message), 0)
}

fn identified(kernel: &mut Kernel, neighbour: &Neighbour) -> Result<NeighbourMessage, KernelError> {
    let mut message = entry(kernel.number_of(&neighbour.device)?, neighbour.address);
    let mut state = |state, mac: MacAddress| {
        message.header.state = state;
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.octets().to_vec()));
    };
    match neighbour.kind {
        NeighbourKind::Permanent(mac) => state(NeighbourState::Permanent, mac),
        NeighbourKind::NoArp(mac) => state(NeighbourState::Noarp, mac),
        NeighbourKind::Proxy => message.header.flags = NeighbourFlags::Proxy,
    }
    Ok(message)
}

fn entry(number: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.ifindex = number;
    message.header.kind = RouteType::Unicast;
    message.attributes.push(NeighbourAttribute::Destination(address.into()));
    message
}

/// How often the entry is looked at while an answer is awaited.
const ANSWER_INTERVAL: Duration = Duration::from_millis(2);

/// Has the kernel ask a neighbour for its Ethernet address (ARP or neighbour discovery) and waits for a fresh answer, at most for
/// `limit`. Nothing else is sent.
///
/// # Errors
/// `ETIMEDOUT` when there is none by then.
pub(super) fn await_answer(
    kernel: &mut Kernel,
    device: &InterfaceName,
    address: IpAddr,
    limit: Duration,
) -> Result<(), KernelError> {
    let number = kernel.number_of(device)?;
    let begin = Instant::now();
    let mut asked = Asked::NotYet;
    loop {
        let seen = table(kernel, number, NeighbourFlags::empty())?.into_iter().find(|seen| seen.address == address);
        match (seen.as_ref().map(|seen| seen.state), asked) {
            (Some(NeighbourState::Permanent | NeighbourState::Noarp), _) => return Err(never_asked(device, address)),
            (Some(NeighbourState::Reachable), Asked::Already) => return Ok(()),
            (Some(NeighbourState::Incomplete | NeighbourState::Probe), Asked::Already) => {}
            _ => {
                ask(kernel, number, address, seen.as_ref())?;
                asked = Asked::Already;
            }
        }
        let Some(left) = limit.checked_sub(begin.elapsed()) else { return Err(no_answer(device, address)) };
        std::thread::sleep(left.min(ANSWER_INTERVAL));
    }
}

/// Whether the neighbour has been asked in this wait.
#[derive(Clone, Copy)]
enum Asked {
    NotYet,
    Already,
}

/// Where the kernel knows an Ethernet address it asks there while traffic goes on (`NUD_PROBE`); elsewhere it asks everybody (`NTF_USE`,
/// net/core/neighbour.c, `neigh_event_send()`).
fn ask(kernel: &mut Kernel, number: u32, address: IpAddr, seen: Option<&Seen>) -> Result<(), KernelError> {
    let mut message = entry(number, address);
    let known =
        seen.filter(|seen| !matches!(seen.state, NeighbourState::Failed | NeighbourState::Incomplete | NeighbourState::None));
    match known.and_then(|seen| seen.mac) {
        Some(mac) => {
            message.header.state = NeighbourState::Probe;
            message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.octets().to_vec()));
        }
        None => message.header.flags = NeighbourFlags::Use,
    }
    kernel.connection()?.change(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
}

fn never_asked(device: &InterfaceName, address: IpAddr) -> KernelError {
    KernelError::Refused {
        errno: Errno::ENOTSUP,
        message: Some(format!("the entry of {address} on {device} was set by hand, so the kernel never asks for it")),
    }
}

fn no_answer(device: &InterfaceName, address: IpAddr) -> KernelError {
    KernelError::Refused { errno: Errno::ETIMEDOUT, message: Some(format!("{address} does not answer on {device}")) }
}
