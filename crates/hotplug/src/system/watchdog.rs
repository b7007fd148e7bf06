//! A second process that has the host put in order when this one is killed halfway: nobody may be able to log in to do it.
//!
//! It waits at one end of a pair of sockets. Before the end comes, whatever ended us, we have said that all is done, or there is something to
//! take back: then it becomes the same program with a command that does so. Until then it does nothing and has nothing open, so that whoever
//! waits for the end of our output does not wait for it.
//!
//! Its session is its own, so a kill of our process group or terminal does not reach it, and it is deaf to every signal that can be blocked: systemd
//! sends SIGTERM to a whole unit first, which ends us and not it (systemd.kill(5); our own unit has `KillMode=process`). Where it is killed as well, the next run
//! repairs, as it does without it.

use std::ffi::{CStr, CString};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use nix::unistd::{ForkResult, chdir, execve, fork, setsid};

use super::release::close_all_but;

/// How long it watches: far longer than any run may last (two calls of ifupdown, a minute each, are the longest part of one).
const WATCH_LIMIT: Duration = Duration::from_secs(600);
/// How long it may take to be ready.
const READY_LIMIT: Duration = Duration::from_secs(2);
/// What it says when it is ready, and what it is told when all is done.
const WORD: [u8; 1] = [b'.'];
/// This very program, though its file be replaced meanwhile.
const OWN_PROGRAM: &CStr = c"/proc/self/exe";

/// A process that watches this one until this value goes.
#[derive(Debug)]
pub struct Watchdog(UnixStream);

impl Watchdog {
    /// Sets one, and waits until it is ready. Should this process end before the value goes, it calls this program again with `words`, of
    /// which the first is the program's name.
    ///
    /// # Errors
    /// When there can be no such process.
    pub fn set(words: &[&str]) -> io::Result<Self> {
        let words: Vec<CString> = words.iter().map(|word| CString::new(*word)).collect::<Result<_, _>>()?;
        let (mut own, other) = UnixStream::pair()?;
        // SAFETY: this program has one thread, so the child may do whatever this process may.
        #[expect(unsafe_code, reason = "a child that lives on where its parent is killed")]
        match unsafe { fork() }? {
            ForkResult::Child => watch(other, &words),
            ForkResult::Parent { .. } => {
                drop(other);
                own.set_read_timeout(Some(READY_LIMIT))?;
                own.read_exact(&mut [0])?;
                Ok(Self(own))
            }
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // One that is gone already does not need to hear it.
        let _ = self.0.write_all(&WORD);
    }
}

/// The life of the second process.
fn watch(mut parent: UnixStream, words: &[CString]) -> ! {
    let _ = setsid();
    let _ = SigSet::all().thread_block();
    let _ = chdir("/");
    close_all_but(&[parent.as_raw_fd()]);
    if parent.write_all(&WORD).is_ok() && was_killed(&mut parent) {
        // Without our caller's environment: everything is said by the words.
        let _ = execve::<_, &CStr>(OWN_PROGRAM, words, &[]);
    }
    // SAFETY: ends this process at once, which has nothing to leave in order.
    #[expect(unsafe_code, reason = "exit(3) would run what the parent has registered")]
    unsafe {
        libc::_exit(0)
    }
}

/// Waits for the parent's word or its end.
fn was_killed(parent: &mut UnixStream) -> bool {
    let limit = PollTimeout::try_from(WATCH_LIMIT).unwrap_or(PollTimeout::MAX);
    loop {
        match poll(&mut [PollFd::new(parent.as_fd(), PollFlags::POLLIN)], limit) {
            Err(Errno::EINTR) => {}
            Err(_) | Ok(0) => return false,
            Ok(_) => return matches!(parent.read(&mut [0]), Ok(0)),
        }
    }
}
