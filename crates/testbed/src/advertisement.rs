//! Router advertisements, as a router on the wire sends them.

use std::ffi::OsString;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::net::if_::if_nametoindex;
use nix::sys::socket::sockopt::{BindToDevice, Ipv6MulticastHops};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn6, sendto, setsockopt, socket};

use crate::machine::{Error, Result};

/// All nodes of a link (RFC 4291, 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// The hop limit of neighbour discovery: nobody can have forwarded such a packet (RFC 4861, 6.1.2).
const UNFORWARDED: i32 = 255;

/// Sends one advertisement out of `device` of the network namespace that this thread is in: the sender is a default router for half an hour,
/// and `prefix`, of 64 bits, is on the link and good for addresses.
///
/// # Errors
/// When there is no such device, or it cannot send.
pub fn advertise(device: &str, prefix: Ipv6Addr) -> Result<()> {
    let failed = |cause: nix::Error| Error::new(format!("advertise a router on {device}: {cause}"));
    let socket = socket(AddressFamily::Inet6, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::IcmpV6).map_err(failed)?;
    setsockopt(&socket, BindToDevice, &OsString::from(device)).map_err(failed)?;
    setsockopt(&socket, Ipv6MulticastHops, &UNFORWARDED).map_err(failed)?;
    let everybody = SockaddrIn6::from(SocketAddrV6::new(ALL_NODES, 0, 0, if_nametoindex(device).map_err(failed)?));
    sendto(socket.as_raw_fd(), &message(prefix), &everybody, MsgFlags::empty()).map_err(failed)?;
    Ok(())
}

/// RFC 4861, 4.2 and 4.6.2. The kernel works the checksum out.
fn message(prefix: Ipv6Addr) -> Vec<u8> {
    const TYPE: u8 = 134;
    const HOP_LIMIT: u8 = 64;
    const LIFETIME: u16 = 1800;
    const PREFIX_INFORMATION: u8 = 3;
    const EIGHTS: u8 = 4;
    const ON_LINK_AND_AUTONOMOUS: u8 = 0xc0;
    let mut message = vec![TYPE, 0, 0, 0, HOP_LIMIT, 0];
    message.extend(LIFETIME.to_be_bytes());
    message.extend([0; 8]);
    message.extend([PREFIX_INFORMATION, EIGHTS, 64, ON_LINK_AND_AUTONOMOUS]);
    message.extend(86_400_u32.to_be_bytes());
    message.extend(14_400_u32.to_be_bytes());
    message.extend([0; 4]);
    message.extend(prefix.octets());
    message
}
