//! Raw frames on the devices of machines: who sends them, and who sees them.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv6Addr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::net::if_::if_nametoindex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::socket::sockopt::RcvBufForce;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike, recvfrom, sendto, setsockopt, socket,
};
use nix::unistd::Pid;

use crate::frame::{Frame, Marker};
use crate::machine::{Error, Machine, Result};

/// Sends raw frames out of a device of a machine.
pub struct Sender {
    socket: OwnedFd,
    to: LinkAddr,
    device: String,
}

impl Sender {
    /// A sender on a device that exists.
    ///
    /// # Errors
    /// When there is no such device.
    pub fn new(machine: &Machine, device: &str) -> Result<Self> {
        let act = || format!("send raw frames from {device} of {}", machine.name());
        let opened = machine.inside(|| -> nix::Result<_> {
            let socket = packet_socket(None)?;
            bypass_the_queue(&socket)?;
            Ok((socket, if_nametoindex(device)?))
        });
        let (socket, index) = opened?.map_err(Error::in_act(act()))?;
        Ok(Self { socket, to: link_address(index)?, device: device.to_owned() })
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// When the device is down, has no carrier, or is gone.
    pub fn send(&self, frame: &Frame) -> Result<()> {
        self.try_send(frame).map_err(Error::in_act(format!("send a frame out of {}", self.device)))
    }

    /// The same, with the kernel's own word for what went wrong.
    ///
    /// # Errors
    /// `ENETDOWN` while the device is down, `ENOBUFS` without a carrier, `ENXIO` when it is gone.
    pub fn try_send(&self, frame: &Frame) -> nix::Result<()> {
        sendto(self.socket.as_raw_fd(), frame.bytes(), &self.to, MsgFlags::MSG_DONTWAIT).map(drop)
    }

    /// Sends frames one after the other. They stay in their order on the way through virtual devices, since all are sent by one processor.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub fn send_in_order<'a>(&self, frames: impl IntoIterator<Item = &'a Frame> + Send) -> Result<()> {
        let send = || {
            let mut first = CpuSet::new();
            first
                .set(0)
                .and_then(|()| sched_setaffinity(Pid::from_raw(0), &first))
                .map_err(Error::in_act("stay on one processor"))?;
            frames.into_iter().try_for_each(|frame| self.send(frame))
        };
        // A thread of its own, so that the caller's may run where it likes.
        std::thread::scope(|scope| scope.spawn(send).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Sees what reaches a place, and tells the markers.
pub struct Catcher {
    socket: OwnedFd,
    place: Place,
    name: String,
    seen: BTreeSet<Marker>,
    /// Open as long as the machine shall listen to their groups.
    members: Vec<UdpSocket>,
}

/// What a catcher looks at.
enum Place {
    /// Frames that came in by one device, by its index.
    Device(usize),
    /// Packets that the machine's own network stack let through to its programs.
    Stack,
}

/// Room for some ten thousand frames of tests.
const BUFFER: usize = 16 << 20;

impl Catcher {
    /// Sees all frames that come in by a device, whoever they are for. The device is made promiscuous.
    ///
    /// # Errors
    /// When there is no such device.
    pub fn on_device(machine: &Machine, device: &str) -> Result<Self> {
        machine.ip(&format!("link set {device} promisc on"))?;
        let opened = machine.inside(|| -> nix::Result<_> {
            let socket = packet_socket(Some(SockProtocol::EthAll))?;
            let index = if_nametoindex(device)?;
            Ok((socket, usize::try_from(index).map_err(|_| Errno::EOVERFLOW)?))
        });
        let act = format!("catch frames on {device} of {}", machine.name());
        let (socket, index) = opened?.map_err(Error::in_act(act))?;
        Self::new(socket, Place::Device(index), format!("{device} of {}", machine.name()))
    }

    /// Sees all packets of a protocol that the machine took for its own: behind its packet filter and its routing.
    ///
    /// # Errors
    /// When the kernel does not have the protocol.
    pub fn in_stack(machine: &Machine, protocol: Protocol) -> Result<Self> {
        let (family, number) = match protocol {
            Protocol::Icmp => (AddressFamily::Inet, SockProtocol::Icmp),
            Protocol::Udp => (AddressFamily::Inet, SockProtocol::Udp),
            Protocol::Icmpv6 => (AddressFamily::Inet6, SockProtocol::IcmpV6),
            Protocol::Udp6 => (AddressFamily::Inet6, SockProtocol::Udp),
        };
        let open = || socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, number);
        let act = format!("listen to {protocol:?} in {}", machine.name());
        Self::new(machine.inside(open)?.map_err(Error::in_act(act))?, Place::Stack, format!("the stack of {}", machine.name()))
    }

    fn new(socket: OwnedFd, place: Place, name: String) -> Result<Self> {
        setsockopt(&socket, RcvBufForce, &BUFFER).map_err(Error::in_act("get room for frames"))?;
        Ok(Self { socket, place, name, seen: BTreeSet::new(), members: Vec::new() })
    }

    /// Has the machine's stack listen to a multicast group on a device.
    ///
    /// # Errors
    /// When there is no such device.
    pub fn join(&mut self, machine: &Machine, device: &str, group: Ipv6Addr) -> Result<()> {
        let act = || format!("join {group} on {device} of {}", machine.name());
        let index = machine.inside(|| if_nametoindex(device))?.map_err(Error::in_act(act()))?;
        let join = || -> io::Result<UdpSocket> {
            let member = UdpSocket::bind("[::]:0")?;
            member.join_multicast_v6(&group, index)?;
            Ok(member)
        };
        self.members.push(machine.inside(join)?.map_err(Error::in_act(act()))?);
        Ok(())
    }

    /// Where it looks.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The markers seen so far.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn seen(&mut self) -> Result<&BTreeSet<Marker>> {
        self.read(Marker::find)?;
        Ok(&self.seen)
    }

    /// Reads what is there, and takes the marker of each frame with a function of the caller's.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn read(&mut self, marker: impl Fn(&[u8]) -> Option<Marker>) -> Result<()> {
        while let Some(bytes) = self.take()? {
            self.seen.extend(marker(&bytes));
        }
        Ok(())
    }

    /// The next frame that waits here, `None` when there is none.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn take(&mut self) -> Result<Option<Vec<u8>>> {
        let act = || format!("catch on {}", self.name);
        let mut buffer = vec![0; 65536];
        loop {
            match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut buffer) {
                Ok((length, from)) if self.is_from_here(from) => {
                    buffer.truncate(length);
                    return Ok(Some(buffer));
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(None),
                Err(error) => return Err(Error::in_act(act())(error)),
            }
        }
    }

    fn is_from_here(&self, from: Option<LinkAddr>) -> bool {
        match self.place {
            Place::Stack => true,
            Place::Device(index) => from.is_some_and(|from| from.ifindex() == index && from.pkttype() != libc::PACKET_OUTGOING),
        }
    }

    /// Waits until a marker was seen.
    ///
    /// # Errors
    /// When it does not come within the limit.
    pub fn wait_for(&mut self, marker: Marker, limit: Duration) -> Result<()> {
        let start = Instant::now();
        while !self.seen()?.contains(&marker) {
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(Error::new(format!("{marker:?} did not come to {} within {limit:?}", self.name)));
            }
            self.sleep(left)?;
        }
        Ok(())
    }

    /// Sleeps until there is something to read, or the time is over.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn sleep(&self, limit: Duration) -> Result<()> {
        let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        let mut waiting = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        match poll(&mut waiting, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(Error::in_act(format!("wait on {}", self.name))(error)),
        }
    }
}

/// What a machine's programs may listen to behind its packet filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// ICMP of IPv4.
    Icmp,
    /// UDP over IPv4, every port.
    Udp,
    /// ICMP of IPv6, neighbour discovery and MLD with it.
    Icmpv6,
    /// UDP over IPv6, every port.
    Udp6,
}

/// Sees nothing without a protocol, and everything in its namespace with `EthAll`.
fn packet_socket(protocol: Option<SockProtocol>) -> nix::Result<OwnedFd> {
    socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, protocol)
}

/// Has frames go to the driver at once: the queue of a device stays shut for a while after its carrier came (linux/if_packet.h).
fn bypass_the_queue(socket: &OwnedFd) -> nix::Result<()> {
    let yes: libc::c_int = 1;
    let size = libc::socklen_t::try_from(size_of_val(&yes)).map_err(|_| Errno::EINVAL)?;
    let (level, option) = (libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS);
    // SAFETY: the kernel reads one int from a pointer to one.
    #[allow(unsafe_code)] // nix does not know the option.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const yes).cast(), size) };
    Errno::result(result).map(drop)
}

/// The address that names a device to a packet socket.
fn link_address(index: u32) -> Result<LinkAddr> {
    let none = || Error::new(format!("{index} is the index of no device"));
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).map_err(|_| none())?,
        sll_protocol: 0,
        sll_ifindex: i32::try_from(index).map_err(|_| none())?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: [0; 8],
    };
    let length = libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).ok();
    // SAFETY: the pointer is to a whole sockaddr_ll, of the length given, that lives through the call; nix copies it.
    #[allow(unsafe_code)] // nix makes no link address from an index.
    let address = unsafe { LinkAddr::from_raw((&raw const address).cast(), length) };
    address.ok_or_else(none)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::ipv4::Ipv4;
    use crate::frame::upper::{ping, udp};
    use crate::frame::{BROADCAST, Ethernet, Mac};
    use crate::machine::connect;

    #[test]
    fn frames_are_seen_by_devices_and_packets_by_the_stack() {
        let (one, other) = (Machine::new("one").unwrap(), Machine::new("other").unwrap());
        connect(&one, "eth0", &other, "eth0").unwrap();
        one.ip("link set eth0 up").unwrap();
        other.ip("link set eth0 up").unwrap();
        other.ip("address add 192.0.2.2/24 dev eth0").unwrap();
        let sender = Sender::new(&one, "eth0").unwrap();
        let mut device = Catcher::on_device(&other, "eth0").unwrap();
        let mut own = Catcher::on_device(&one, "eth0").unwrap();
        let mut stack = Catcher::in_stack(&other, Protocol::Udp).unwrap();

        let ethernet = Ethernet::new(Mac([2; 6]), BROADCAST);
        let packet = |destination: [u8; 4], marker| {
            ethernet.carrying(Ipv4::new([192, 0, 2, 1].into(), destination.into()).carrying(udp(9, 9, &Marker(marker).bytes())))
        };
        let elsewhere = packet([192, 0, 2, 77], 1);
        let pinged = ethernet.carrying(Ipv4::new([192, 0, 2, 1].into(), [192, 0, 2, 2].into()).carrying(ping(Marker(2))));
        sender.send_in_order([&elsewhere, &pinged, &packet([192, 0, 2, 2], 3)]).unwrap();

        device.wait_for(Marker(3), Duration::from_secs(5)).unwrap();
        stack.wait_for(Marker(3), Duration::from_secs(5)).unwrap();
        assert_eq!(device.seen().unwrap(), &BTreeSet::from([Marker(1), Marker(2), Marker(3)]));
        assert_eq!(stack.seen().unwrap(), &BTreeSet::from([Marker(3)]));
        // What a machine sends has not come to it.
        assert!(own.seen().unwrap().is_empty());
        device.wait_for(Marker(4), Duration::from_millis(10)).unwrap_err();
    }
}
