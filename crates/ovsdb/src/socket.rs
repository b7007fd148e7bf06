//! The bytes' way to the server, with a limit on every wait.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, send, setsockopt, socket, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

/// A span of time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub limit: Duration,
    start: Instant,
}

impl Budget {
    pub fn start(limit: Duration) -> Self {
        Self { limit, start: Instant::now() }
    }

    /// What is left, in milliseconds, rounded up.
    ///
    /// # Errors
    /// `TimedOut` when it is spent.
    fn remaining(&self) -> io::Result<u32> {
        match self.limit.saturating_sub(self.start.elapsed()) {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(u32::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)),
        }
    }
}

/// A connected unix socket.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

impl Socket {
    /// Connects. Where the server's queue is full the kernel lets `connect` wait, for as long as SO_SNDTIMEO says (net/unix/af_unix.c,
    /// `unix_stream_connect()`).
    pub fn connect(path: &Path, budget: &Budget) -> io::Result<Self> {
        let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        let address = UnixAddr::new(path)?;
        loop {
            setsockopt(&fd, sockopt::SendTimeout, &TimeVal::milliseconds(i64::from(budget.remaining()?)))?;
            match connect(fd.as_raw_fd(), &address) {
                Ok(()) => return Ok(Self(fd)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Err(io::ErrorKind::TimedOut.into()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends all of it.
    pub fn send(&self, mut bytes: &[u8], budget: &Budget) -> io::Result<()> {
        while !bytes.is_empty() {
            match send(self.0.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
                Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => self.wait(PollFlags::POLLOUT, budget)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Receives what is there, once something is; 0 at the end of the connection.
    pub fn receive(&self, buffer: &mut [u8], budget: &Budget) -> io::Result<usize> {
        loop {
            // A server that talks without end must not outdo the limit.
            budget.remaining()?;
            match recv(self.0.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => self.wait(PollFlags::POLLIN, budget)?,
                Err(Errno::ECONNRESET) => return Ok(0),
                outcome => return outcome.map_err(io::Error::from),
            }
        }
    }

    fn wait(&self, flags: PollFlags, budget: &Budget) -> io::Result<()> {
        let left = PollTimeout::try_from(budget.remaining()?).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.0.as_fd(), flags)], left) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
