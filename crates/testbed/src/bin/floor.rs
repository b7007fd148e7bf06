//! `floor`: what a hotplug program costs at least. It says to the kernel and to XenStore what a recording (`FLOOR_RECORDING`) holds, already
//! encoded, waits for each answer without a look at it, and ends. No words, no decisions, no log.
//!
//! It enters as the programs do (crates/hotplug/src/entry.rs), and is built as they are.
#![no_main]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::fcntl::OFlag;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use nix::unistd::{ForkResult, fork, pipe2};
use testbed::recording::{Hearer, Saying};

/// More than any recording is long.
const RECORDING_MAX: usize = 32 * 1024;

// SAFETY: no other function of this executable has the name `main`, and the C runtime calls one of this type.
#[expect(unsafe_code, reason = "the name that the C runtime calls")]
#[unsafe(no_mangle)]
extern "C" fn main(_count: std::ffi::c_int, _words: *const *const std::ffi::c_char) -> std::ffi::c_int {
    match say_all() {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("floor: {error}");
            1
        }
    }
}

fn say_all() -> io::Result<()> {
    let path = std::env::var_os("FLOOR_RECORDING").ok_or_else(|| io::Error::other("FLOOR_RECORDING names no file"))?;
    let mut room = [0; RECORDING_MAX];
    let length = File::open(path)?.read(&mut room)?;
    let mut recording = room.get(..length).unwrap_or_default();
    let mut hearers = Hearers::default();
    while let Some(saying) = Saying::take(&mut recording) {
        hearers.say(&saying)?;
    }
    if recording.is_empty() { Ok(()) } else { Err(io::Error::other("the recording is cut short")) }
}

/// Those who were spoken to.
#[derive(Default)]
struct Hearers {
    store: Option<UnixStream>,
    route: Option<OwnedFd>,
    filter: Option<OwnedFd>,
}

impl Hearers {
    fn say(&mut self, saying: &Saying<'_>) -> io::Result<()> {
        match saying.hearer {
            Hearer::Store => self.say_to_store(saying),
            Hearer::Route => say_to_kernel(&mut self.route, SockProtocol::NetlinkRoute, saying),
            Hearer::Filter => say_to_kernel(&mut self.filter, SockProtocol::NetlinkNetFilter, saying),
            Hearer::Setting => write_setting(saying.bytes),
            Hearer::Child => self.close_filter_elsewhere(),
        }
    }

    fn say_to_store(&mut self, saying: &Saying<'_>) -> io::Result<()> {
        let Some(store) = &mut self.store else {
            let path = std::str::from_utf8(saying.bytes).map_err(io::Error::other)?;
            self.store = Some(UnixStream::connect(path)?);
            return Ok(());
        };
        store.write_all(saying.bytes)?;
        let mut answer = [0; 4096];
        let mut left = usize::try_from(saying.answer).unwrap_or_default();
        while left > 0 {
            let length = store.read(&mut answer)?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left = left.saturating_sub(length);
        }
        Ok(())
    }
}

impl Hearers {
    /// As crates/hotplug/src/system/release.rs does it.
    fn close_filter_elsewhere(&mut self) -> io::Result<()> {
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
        // SAFETY: there is one thread, and the child only closes, reads and ends.
        #[expect(unsafe_code, reason = "a child that shares the socket, without a new program")]
        match unsafe { fork() }? {
            ForkResult::Child => {
                drop((self.store.take(), self.route.take(), writer));
                let _ = nix::unistd::read(&reader, &mut [0]);
                std::process::exit(0)
            }
            ForkResult::Parent { .. } => {
                drop(self.filter.take());
                drop(writer);
                Ok(())
            }
        }
    }
}

fn say_to_kernel(place: &mut Option<OwnedFd>, protocol: SockProtocol, saying: &Saying<'_>) -> io::Result<()> {
    let open = || socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol);
    let socket = match place {
        Some(socket) => socket,
        empty => empty.insert(open()?),
    };
    // Without an address it goes to the kernel, as a socket that is connected to nobody does.
    send(socket.as_raw_fd(), saying.bytes, MsgFlags::empty())?;
    let mut answer = [0; 32 * 1024];
    for _ in 0..saying.answer {
        recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    }
    Ok(())
}

fn write_setting(bytes: &[u8]) -> io::Result<()> {
    let split = bytes.iter().position(|byte| *byte == 0).and_then(|place| bytes.split_at_checked(place));
    let (path, value) = split.ok_or_else(|| io::Error::other("a setting without a value"))?;
    let path = std::str::from_utf8(path).map_err(io::Error::other)?;
    let mut file = File::options().write(true).open(path)?;
    file.write_all(value.get(1..).unwrap_or_default())
}
