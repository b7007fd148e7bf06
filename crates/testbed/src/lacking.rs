//! System calls that a kernel without some part would refuse: a filter (seccomp(2)) in front of a program of a test.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::libc;

/// A system call with some of its arguments, and how it is refused.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Its number (`SYS_*`).
    pub call: libc::c_long,
    /// Places of arguments, counted from 0, and the values by which it is known.
    pub arguments: Vec<(u8, u32)>,
    /// What the caller is told.
    pub errno: Errno,
}

impl Refused {
    /// Sockets of a family and protocol, as where the kernel has none of them.
    #[must_use]
    pub fn sockets(family: libc::c_int, protocol: Option<libc::c_int>, errno: Errno) -> Self {
        let argument = |place, value: libc::c_int| (place, value.unsigned_abs());
        let arguments = std::iter::once(argument(0, family)).chain(protocol.map(|protocol| argument(2, protocol)));
        Self { call: libc::SYS_socket, arguments: arguments.collect(), errno }
    }

    /// The calls of this number.
    #[must_use]
    pub fn calls(call: libc::c_long, errno: Errno) -> Self {
        Self { call, arguments: vec![], errno }
    }
}

/// Puts the filter in front of what `command` starts, and all that this starts in turn. It needs to be root.
#[expect(unsafe_code, reason = "std has no safe way to have a child set a filter for itself")]
pub fn refuse(command: &mut Command, refused: &[Refused]) {
    let program = filter(refused);
    // SAFETY: the child makes one system call, with memory that it has a copy of.
    unsafe { command.pre_exec(move || install(&program)) };
}

fn filter(refused: &[Refused]) -> Vec<libc::sock_filter> {
    let mut program = vec![];
    for refusal in refused {
        let tests = std::iter::once((0, u32::try_from(refusal.call).unwrap_or(u32::MAX)))
            // `struct seccomp_data` has the arguments from its 16th byte on, of eight each, on a little-endian machine the lower half first.
            .chain(refusal.arguments.iter().map(|(place, value)| (16 + 8 * u32::from(*place), *value)))
            .collect::<Vec<_>>();
        for (place, (offset, value)) in tests.iter().enumerate() {
            // Past the rest of this refusal: two for each further test, and its end.
            let further = u8::try_from(2 * (tests.len() - place - 1) + 1).unwrap_or(u8::MAX);
            program.push(statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, *offset));
            program.push(libc::sock_filter { jf: further, ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, *value) });
        }
        program.push(statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | (refusal.errno as i32).unsigned_abs()));
    }
    program.push(statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW));
    program
}

fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).unwrap_or_default(), jt: 0, jf: 0, k }
}

#[expect(unsafe_code, reason = "nix does not know the call")]
fn install(program: &[libc::sock_filter]) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel reads as many statements as `len` says, which are there, and changes none.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    Errno::result(result).map(drop).map_err(io::Error::from)
}
