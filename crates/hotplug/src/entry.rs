//! The way in: `main` as C has it, for programs whose whole run costs little more than their start.
//!
//! What Rust's standard library does before its own `main` is mostly for threads and for telling of a stack overflow: it reads
//! /proc/self/maps, and maps a second stack for a signal handler. That costs as much as all of a vif's questions to XenStore. [`main!`]
//! goes around it; [`prepare`] does the rest of it, which is needed here as well (library/std/src/sys/pal/unix/mod.rs, `init()`).
//!
//! The words of the call are still in `std::env::args_os()`: glibc hands them to every constructor of a program, and the standard library
//! has one that keeps them. A panic still says where it happened, and ends the program by `SIGABRT`. The standard library no longer writes
//! out at the end what was left in the buffer of standard output: whoever prints must flush.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, IntoRawFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, Signal, signal};

/// Makes the `main` of a program: `main!(PROGRAM, pass)`, with what [`crate::pass::run`] takes. The executable needs `#![no_main]`, and
/// `test = false` in Cargo.toml, as a test harness brings a `main` of its own.
#[macro_export]
macro_rules! main {
    ($program:expr, $pass:expr) => {
        // SAFETY: no other function of this executable has the name `main`, and this one is what the C runtime calls by it.
        #[expect(unsafe_code, reason = "the name that the C runtime calls")]
        #[unsafe(no_mangle)]
        extern "C" fn main() -> std::ffi::c_int {
            $crate::entry::prepare();
            $crate::pass::run($program, $pass).into()
        }
    };
}

/// Does what nothing can do without: standard input, output and error are open, and nobody dies of a reader that has gone away.
pub fn prepare() {
    open_standard_streams();
    // SAFETY: no handler is installed, and no other thread runs yet.
    #[expect(unsafe_code, reason = "a handler could break any promise of Rust's; to ignore a signal breaks none")]
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) };
}

/// A program may be started with the numbers 0 to 2 closed. The next socket would get one of them, and messages to standard error would
/// go to XenStore.
fn open_standard_streams() {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let mut streams = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()].map(|stream| PollFd::new(stream, PollFlags::empty()));
    if poll(&mut streams, PollTimeout::ZERO).is_err() {
        return;
    }
    for stream in streams {
        if stream.revents().is_some_and(|events| events.contains(PollFlags::POLLNVAL)) {
            // The kernel gives the lowest number that is free, which is this one.
            let _ = OpenOptions::new().read(true).write(true).open("/dev/null").map(IntoRawFd::into_raw_fd);
        }
    }
}
