//! The way in: `main` as C has it, for programs whose whole run costs little more than their start.
//!
//! What Rust's standard library does before its own `main` is mostly for threads and for telling of a stack overflow: with glibc it reads
//! /proc/self/maps, and with any C library it maps a second stack and installs handlers. That costs a tenth of a whole run (decision 0006).
//! [`main!`](crate::main!) goes around it, and [`enter`] does the part of it that is needed here as well (library/std/src/sys/pal/unix/mod.rs, `init()`).
//!
//! A panic still says where it happened, and ends the program by `SIGABRT`. What else is different from a usual `main`:
//! `std::env::args()` may be empty, so the words of the call are handed on; and nobody writes out at the end what was left in the buffer of
//! standard output, so whoever prints must flush.

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::io;
use std::os::fd::{AsFd, IntoRawFd};
use std::os::unix::ffi::OsStrExt;

use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::stat::Mode;

use crate::pass::{self, Pass};
use crate::program::Program;
use crate::system::privilege;

/// Makes the `main` of an executable: `main!(PROGRAM, pass)`, with what [`pass::run`] takes. The executable needs `#![no_main]`, and
/// `test = false` in Cargo.toml, as a test harness brings a `main` of its own.
#[macro_export]
macro_rules! main {
    ($program:expr, $pass:expr) => {
        #[global_allocator]
        static MEMORY: $crate::memory::Memory = $crate::memory::Memory::new();

        // SAFETY: no other function of this executable has the name `main`, and this one is of the type that the C runtime calls.
        #[expect(unsafe_code, reason = "the name that the C runtime calls")]
        #[unsafe(no_mangle)]
        extern "C" fn main(count: std::ffi::c_int, words: *const *const std::ffi::c_char) -> std::ffi::c_int {
            // SAFETY: the C runtime has just called, with the words that the kernel laid on the stack.
            unsafe { $crate::entry::enter(count, words, $program, $pass) }
        }
    };
}

/// Runs a program and gives its exit status.
///
/// # Safety
/// To be called by `main` alone, with its own parameters: `words` are `count` texts that each end with a zero byte and stay.
#[expect(unsafe_code, reason = "the words come from C, and there is no safe way to ignore a signal")]
pub unsafe fn enter(count: c_int, words: *const *const c_char, program: &'static Program, pass: Pass) -> c_int {
    open_standard_streams();
    // A reader that has gone away is no reason to die halfway.
    // SAFETY: no handler is installed, and no other thread runs yet.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) };
    privilege::keep(program.powers);
    let count = usize::try_from(count).unwrap_or(0);
    // SAFETY: the caller promises that `words` leads to so many texts.
    let words = (0..count).map(|place| unsafe { CStr::from_ptr(*words.add(place)) });
    let words: Vec<OsString> = words.map(|word| OsStr::from_bytes(word.to_bytes()).to_owned()).collect();
    pass::run(program, words, pass).into()
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
            // The kernel gives the lowest number that is free, which is this one. Children are to have it as well: not O_CLOEXEC.
            let _ = open("/dev/null", OFlag::O_RDWR, Mode::empty()).map(IntoRawFd::into_raw_fd);
        }
    }
}
