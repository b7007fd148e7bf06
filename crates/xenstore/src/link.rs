//! The bytes' way to the daemon: a socket or the kernel's device, with a limit on every wait.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, send, setsockopt, socket, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::endpoint::Endpoint;

/// A span of time that started when the client connected.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) limit: Duration,
    /// `None` where the limit is too far away for the clock to express.
    end: Option<Instant>,
}

impl Budget {
    pub(crate) fn start(limit: Duration) -> Budget {
        Budget { limit, end: Instant::now().checked_add(limit) }
    }

    /// What is left of it; `None` when it is spent.
    fn remaining(&self) -> Option<Duration> {
        match self.end {
            None => Some(Duration::MAX),
            Some(end) => Some(end.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero()),
        }
    }
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    ToRead,
    ToReadOrWrite,
}

/// An open way to the daemon.
#[derive(Debug)]
pub(crate) enum Link {
    Socket(OwnedFd),
    Device(File),
}

impl Link {
    /// Opens the endpoint. `ErrorKind::TimedOut` where the budget is spent.
    pub(crate) fn open(endpoint: &Endpoint, budget: &Budget) -> io::Result<Link> {
        match endpoint {
            Endpoint::Socket(path) => connect_socket(path, budget).map(Link::Socket),
            Endpoint::Device(path) => OpenOptions::new().read(true).write(true).open(path).map(Link::Device),
        }
    }

    /// Sends as much as can be sent at once, and says how many bytes; 0 where the socket's buffer is full.
    ///
    /// The device wants exactly one message a write: xenbus_file_write (Linux, drivers/xen/xenbus/xenbus_dev_frontend.c)
    /// forgets what follows the first.
    pub(crate) fn send(&mut self, messages: &[u8]) -> io::Result<usize> {
        match self {
            Link::Device(device) => device.write_all(messages).map(|()| messages.len()),
            Link::Socket(fd) => loop {
                match send(fd.as_raw_fd(), messages, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
                    Err(Errno::EINTR) => {}
                    Err(Errno::EAGAIN) => return Ok(0),
                    outcome => return outcome.map_err(io::Error::from),
                }
            },
        }
    }

    /// Reads what is there; 0 at the end of the connection. Call it after [`Link::wait`] said there is something.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let outcome = match self {
                Link::Device(device) => device.read(buffer),
                Link::Socket(fd) => recv(fd.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT).map_err(io::Error::from),
            };
            match outcome {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A daemon that dies with our requests unread resets the connection: to the caller that is its end.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(0),
                outcome => return outcome,
            }
        }
    }

    /// Waits, within the budget, and says whether there is something to read.
    /// `ErrorKind::TimedOut` where the budget is spent.
    pub(crate) fn wait(&self, what: Wait, budget: &Budget) -> io::Result<bool> {
        let flags = match what {
            Wait::ToRead => PollFlags::POLLIN,
            Wait::ToReadOrWrite => PollFlags::POLLIN | PollFlags::POLLOUT,
        };
        loop {
            let left = budget.remaining().ok_or(io::ErrorKind::TimedOut)?;
            let mut fds = [PollFd::new(self.as_fd(), flags)];
            match poll(&mut fds, milliseconds(left)) {
                Ok(0) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => {
                    let happened = fds[0].revents().unwrap_or(PollFlags::empty());
                    return Ok(happened.intersects(!PollFlags::POLLOUT));
                }
            }
        }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Link::Socket(fd) => fd.as_fd(),
            Link::Device(device) => device.as_fd(),
        }
    }
}

/// The wait in whole milliseconds, rounded up so that the last one is not spent spinning.
fn milliseconds(left: Duration) -> PollTimeout {
    let rounded = left.as_nanos().div_ceil(1_000_000);
    let bounded = i32::try_from(rounded).unwrap_or(i32::MAX);
    PollTimeout::try_from(bounded).unwrap_or(PollTimeout::MAX)
}

/// xenstored listens with a backlog of one, so with many clients at once `connect` itself waits. On unix sockets it
/// heeds SO_SNDTIMEO, and a non-blocking one would only say EAGAIN with nothing to poll for.
fn connect_socket(path: &Path, budget: &Budget) -> io::Result<OwnedFd> {
    let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let address = UnixAddr::new(path)?;
    loop {
        let left = budget.remaining().ok_or(io::ErrorKind::TimedOut)?;
        setsockopt(&fd, sockopt::SendTimeout, &time_value(left))?;
        match connect(fd.as_raw_fd(), &address) {
            Ok(()) => return Ok(fd),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Err(io::ErrorKind::TimedOut.into()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// At least a microsecond, as zero would mean to wait for ever; at most a day, as the kernel refuses huge numbers.
fn time_value(left: Duration) -> TimeVal {
    let microseconds = left.as_micros().clamp(1, 86_400_000_000);
    TimeVal::microseconds(i64::try_from(microseconds).unwrap_or(i64::MAX))
}
