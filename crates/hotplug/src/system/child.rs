//! Other programs that we start: followed for a limited time, then ended with all that they have started.

use std::io::{self, ErrorKind, PipeReader, Read};
use std::os::fd::AsFd;
use std::process::{Child, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

/// How long a program may take to end once it is asked to.
const GRACE: Duration = Duration::from_secs(1);
/// How often a program is looked at whose pipe may stay open longer than it lives.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Whether anybody can still write to a pipe.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pipe {
    Open,
    Closed,
}

/// Waits until `child` has ended, and hands what it writes to `pipe` to `listener`. `None` when it has not ended within `limit`.
///
/// The end of the pipe is not waited for: a daemon that the program leaves behind keeps it open.
///
/// # Errors
/// When the pipe or the child cannot be watched.
pub(super) fn follow(
    child: &mut Child,
    mut pipe: PipeReader,
    limit: Duration,
    mut listener: impl FnMut(&[u8]),
) -> io::Result<Option<ExitStatus>> {
    let flags = OFlag::from_bits_retain(fcntl(pipe.as_fd(), FcntlArg::F_GETFL)?);
    fcntl(pipe.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    let start = Instant::now();
    loop {
        let ended = child.try_wait()?;
        let state = listen(&mut pipe, &mut listener)?;
        if ended.is_some() {
            return Ok(ended);
        }
        let left = limit.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(None);
        }
        match state {
            Pipe::Open => await_news(&pipe, left.min(LOOK_EVERY))?,
            Pipe::Closed => sleep(Duration::from_millis(1)),
        }
    }
}

fn await_news(pipe: &PipeReader, limit: Duration) -> io::Result<()> {
    let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::ZERO);
    match poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], timeout) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn listen(pipe: &mut PipeReader, listener: &mut impl FnMut(&[u8])) -> io::Result<Pipe> {
    let mut buffer = [0; 4096];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => return Ok(Pipe::Closed),
            Ok(length) => listener(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Pipe::Open),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Ends `child`, which must lead a process group of its own, and everything in that group: first by asking, then for certain.
pub(super) fn stop(child: &mut Child) {
    let Ok(pid) = i32::try_from(child.id()) else { return };
    let pid = Pid::from_raw(pid);
    let _ = killpg(pid, Signal::SIGTERM);
    let start = Instant::now();
    // Not reaped yet, so that the number stays the group's.
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    while start.elapsed() < GRACE && matches!(waitid(Id::Pid(pid), flags), Ok(WaitStatus::StillAlive)) {
        sleep(Duration::from_millis(5));
    }
    let _ = killpg(pid, Signal::SIGKILL);
    let _ = child.wait();
}
