//! Kills a program at any one of its system calls, as a toolstack may that has lost patience.
//!
//! Only the program itself is followed and killed, and not what it has started: libxl, too, kills one process (libxl_aoutils.c,
//! `libxl__async_exec_timeout`).

use std::io;
use std::os::unix::process::CommandExt;

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::bench::process::Call;
use crate::machine::{Error, Machine, Result};

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By SIGKILL, before its system call of the number that was asked for had any effect.
    Killed,
    /// By itself, with this exit status, after so many system calls.
    Exited {
        /// The exit status.
        status: i32,
        /// How often it had entered the kernel by a system call.
        calls: u64,
    },
}

/// Runs a program in a machine and kills it where it enters its system call number `call`, counted from 1 behind the start of the program.
///
/// # Errors
/// When it cannot be started or followed, or when another signal ends it.
pub fn kill_at(machine: &Machine, program: &Call, call: u64) -> Result<Ending> {
    let act = || format!("kill {} at its system call {call}", program.program);
    machine.inside(|| follow(program, call))?.map_err(Error::in_act(act()))
}

/// Where a followed program has stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// On its way into the kernel.
    Entry,
    /// On its way back.
    Return,
}

// A thread follows what it has started itself: everything here happens in one thread (ptrace(2)).
fn follow(program: &Call, last: u64) -> io::Result<Ending> {
    let pid = start(program)?;
    // The first stop is at the end of execve(2), which has been entered but not left.
    expect_trap(waitpid(pid, None)?)?;
    ptrace::setoptions(pid, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL)?;
    let (mut side, mut calls, mut signal) = (Side::Return, 0, None);
    loop {
        ptrace::syscall(pid, signal.take())?;
        match waitpid(pid, None)? {
            WaitStatus::PtraceSyscall(_) if side == Side::Return => side = Side::Entry,
            WaitStatus::PtraceSyscall(_) => {
                side = Side::Return;
                calls += 1;
                if calls == last {
                    return kill(pid);
                }
            }
            WaitStatus::Stopped(_, other) => signal = Some(other),
            WaitStatus::Exited(_, status) => return Ok(Ending::Exited { status, calls }),
            other => return Err(io::Error::other(format!("it ended or stopped by itself: {other:?}"))),
        }
    }
}

#[expect(unsafe_code, reason = "std has no safe way to have a child ask for being followed")]
fn start(program: &Call) -> io::Result<Pid> {
    let mut command = program.command();
    // SAFETY: between fork and exec the child makes one system call, without memory of its own or locks.
    unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) };
    let child = command.spawn()?;
    i32::try_from(child.id()).map(Pid::from_raw).map_err(io::Error::other)
}

fn expect_trap(status: WaitStatus) -> io::Result<()> {
    match status {
        WaitStatus::Stopped(_, Signal::SIGTRAP) => Ok(()),
        other => Err(io::Error::other(format!("it did not stop at its start: {other:?}"))),
    }
}

// A process that is killed on its way into a system call does not make it (`syscall_trace_enter` in Linux kernel/entry/common.c).
fn kill(pid: Pid) -> io::Result<Ending> {
    nix::sys::signal::kill(pid, Signal::SIGKILL)?;
    match waitpid(pid, None)? {
        WaitStatus::Signaled(_, Signal::SIGKILL, _) => Ok(Ending::Killed),
        other => Err(io::Error::other(format!("SIGKILL did not end it: {other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(text: &str) -> Call {
        Call { program: "/bin/sh".to_owned(), words: vec!["-c".to_owned(), text.to_owned()], environment: Vec::new() }
    }

    #[test]
    fn a_program_gets_as_far_as_the_call_before() {
        let machine = Machine::new("dom0").unwrap();
        let program = shell("echo x >/run/one; echo x >/run/other; exit 3");
        let Ending::Exited { status: 3, calls } = kill_at(&machine, &program, u64::MAX).unwrap() else {
            panic!("it ended otherwise");
        };
        let mut seen = Vec::new();
        for call in 1..=calls {
            machine.shell("rm -f /run/one /run/other").unwrap();
            assert_eq!(kill_at(&machine, &program, call).unwrap(), Ending::Killed);
            seen.push(["one", "other"].map(|name| machine.path(format!("/run/{name}")).exists()));
        }
        seen.dedup();
        assert_eq!(seen, [[false, false], [true, false], [true, true]]);
    }
}
