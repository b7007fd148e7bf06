//! Follows a program from one of its system calls to the next (ptrace(2)).
//!
//! A thread follows what it has started itself: a [`Followed`] is of use to no other. Only the program itself is followed, and not what it
//! starts.

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use nix::libc::{self, user_regs_struct};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::bench::process::Call;

/// A program that is stopped.
pub struct Followed {
    pid: Pid,
    side: Side,
    calls: u64,
    complaint: File,
}

/// Where a followed program has stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// On its way into the kernel.
    Entry,
    /// On its way back.
    Return,
}

/// What became of a program that was let go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It has stopped again.
    Stopped,
    /// It ended by itself, with this exit status.
    Exited(i32),
    /// A signal ended it.
    Signaled(Signal),
}

/// Whom a kill is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// The program.
    Program,
    /// Its process group, which it leads: all that it has started and that has not left it.
    Group,
    /// The program and its children, these first.
    Family,
}

impl Followed {
    /// Starts a program, which stops before its first instruction. It leads a process group of its own.
    ///
    /// # Errors
    /// When it cannot be started or followed.
    #[expect(unsafe_code, reason = "std has no safe way to have a child ask for being followed")]
    pub fn start(program: &Call) -> io::Result<Self> {
        let complaint = File::from(memfd_create(c"stderr", MFdFlags::MFD_CLOEXEC)?);
        let mut command = program.command();
        command.process_group(0).stderr(Stdio::from(complaint.try_clone()?));
        // SAFETY: between fork and exec the child makes one system call, without memory of its own or locks.
        unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) };
        let child = command.spawn()?;
        let pid = i32::try_from(child.id()).map(Pid::from_raw).map_err(io::Error::other)?;
        // The first stop is at the end of execve(2), which has been entered but not left.
        match waitpid(pid, None)? {
            WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
            other => return Err(io::Error::other(format!("it did not stop at its start: {other:?}"))),
        }
        ptrace::setoptions(pid, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL)?;
        Ok(Self { pid, side: Side::Return, calls: 0, complaint })
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// How many system calls it has entered, counted from 1 behind its start.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// Lets it go on to where it enters its next system call.
    ///
    /// # Errors
    /// When it cannot be followed.
    pub fn enter_next(&mut self) -> io::Result<Step> {
        loop {
            match self.go_on()? {
                Step::Stopped if self.side == Side::Return => {}
                step => return Ok(step),
            }
        }
    }

    /// Whether the call that it has entered is to pass some time.
    ///
    /// # Errors
    /// When it is gone.
    pub fn wants_to_sleep(&self) -> io::Result<bool> {
        Ok(self.side == Side::Entry && name_of(self.registers()?.orig_rax).ends_with("nanosleep"))
    }

    /// Lets it make the call that it has entered, and stops where it comes back. A call that does not come back ends it.
    ///
    /// # Errors
    /// When it cannot be followed.
    pub fn leave(&mut self) -> io::Result<Step> {
        self.go_on()
    }

    fn go_on(&mut self) -> io::Result<Step> {
        let mut signal = None;
        loop {
            ptrace::syscall(self.pid, signal.take())?;
            match waitpid(self.pid, None)? {
                WaitStatus::PtraceSyscall(_) => {
                    self.side = if self.side == Side::Return { Side::Entry } else { Side::Return };
                    self.calls += u64::from(self.side == Side::Entry);
                    return Ok(Step::Stopped);
                }
                WaitStatus::Stopped(_, other) => signal = Some(other),
                WaitStatus::Exited(_, status) => return Ok(Step::Exited(status)),
                WaitStatus::Signaled(_, signal, _) => return Ok(Step::Signaled(signal)),
                other => return Err(io::Error::other(format!("it stopped in an unknown way: {other:?}"))),
            }
        }
    }

    /// Its registers.
    ///
    /// # Errors
    /// When it is gone.
    pub fn registers(&self) -> io::Result<user_regs_struct> {
        Ok(ptrace::getregs(self.pid)?)
    }

    /// Changes its registers.
    ///
    /// # Errors
    /// When it is gone.
    pub fn set_registers(&self, registers: user_regs_struct) -> io::Result<()> {
        Ok(ptrace::setregs(self.pid, registers)?)
    }

    /// Has the call that it has entered not made; at its return, [`Followed::answer`] is to say what came of it.
    ///
    /// # Errors
    /// When it is gone.
    pub fn prevent(&self) -> io::Result<()> {
        let mut registers = self.registers()?;
        // No system call has this number: the kernel returns at once (`do_syscall_64` in Linux arch/x86/entry/common.c).
        registers.orig_rax = u64::MAX;
        self.set_registers(registers)
    }

    /// Replaces what the kernel says to the call that it comes back from: a number, or an error as a negative one.
    ///
    /// # Errors
    /// When it is gone.
    pub fn answer(&self, answer: i64) -> io::Result<()> {
        let mut registers = self.registers()?;
        registers.rax = answer.cast_unsigned();
        self.set_registers(registers)
    }

    /// Reads its memory.
    ///
    /// # Errors
    /// When there is none at that place.
    pub fn read_memory(&self, place: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(length.next_multiple_of(8));
        while bytes.len() < length {
            let word = ptrace::read(self.pid, (place + bytes.len() as u64) as ptrace::AddressType)?;
            bytes.extend(word.to_ne_bytes());
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Writes its memory, in whole words: what lies behind the end stays.
    ///
    /// # Errors
    /// When there is none at that place.
    pub fn write_memory(&self, place: u64, bytes: &[u8]) -> io::Result<()> {
        for (number, piece) in bytes.chunks(8).enumerate() {
            let place = place + 8 * number as u64;
            let mut word = self.read_memory(place, 8)?;
            word[..piece.len()].copy_from_slice(piece);
            let word = word.try_into().map_or(0, i64::from_ne_bytes);
            ptrace::write(self.pid, place as ptrace::AddressType, word)?;
        }
        Ok(())
    }

    /// Kills it where it stands. A process that is killed on its way into a system call does not make it (`syscall_trace_enter` in Linux
    /// kernel/entry/common.c).
    ///
    /// # Errors
    /// When something else has ended it.
    pub fn kill(self, whom: Whom) -> io::Result<()> {
        match whom {
            Whom::Program => kill(self.pid, Signal::SIGKILL),
            Whom::Group => killpg(self.pid, Signal::SIGKILL),
            Whom::Family => {
                for child in self.children()? {
                    // One that has ended needs no killing.
                    let _ = kill(child, Signal::SIGKILL);
                }
                kill(self.pid, Signal::SIGKILL)
            }
        }?;
        match waitpid(self.pid, None)? {
            WaitStatus::Signaled(_, Signal::SIGKILL, _) => Ok(()),
            other => Err(io::Error::other(format!("SIGKILL did not end it: {other:?}"))),
        }
    }

    /// Its children.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub fn children(&self) -> io::Result<Vec<Pid>> {
        let parent = format!("PPid:\t{}", self.pid);
        let is_child = |pid: &i32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            status.lines().any(|line| line == parent)
        };
        let numbers = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        Ok(numbers.filter(is_child).map(Pid::from_raw).collect())
    }

    /// What it has written to standard error so far.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn complaint(&self) -> io::Result<String> {
        let mut file = self.complaint.try_clone()?;
        file.rewind()?;
        let mut text = vec![];
        file.read_to_end(&mut text)?;
        // The program writes where the file stands, which is now its end again.
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// The name of a system call of this architecture that hotplug programs make.
#[must_use]
pub fn name_of(number: u64) -> &'static str {
    let Ok(number) = libc::c_long::try_from(number) else { return "no call" };
    NAMES.iter().find(|(known, _)| *known == number).map_or("another call", |(_, name)| name)
}

macro_rules! names {
    ($($constant:ident $name:literal),* $(,)?) => { &[$((libc::$constant, $name)),*] };
}

const NAMES: &[(libc::c_long, &str)] = names![
    SYS_access "access", SYS_bind "bind", SYS_brk "brk", SYS_chdir "chdir", SYS_chmod "chmod", SYS_clock_gettime "clock_gettime",
    SYS_clock_nanosleep "clock_nanosleep", SYS_clone "clone", SYS_close "close", SYS_close_range "close_range", SYS_connect "connect",
    SYS_dup "dup", SYS_dup2 "dup2", SYS_epoll_create1 "epoll_create1", SYS_epoll_ctl "epoll_ctl", SYS_epoll_pwait "epoll_pwait",
    SYS_epoll_wait "epoll_wait", SYS_eventfd2 "eventfd2", SYS_execve "execve", SYS_exit_group "exit_group", SYS_faccessat "faccessat",
    SYS_fchmod "fchmod", SYS_fchmodat "fchmodat", SYS_fchown "fchown", SYS_fcntl "fcntl", SYS_flock "flock", SYS_fork "fork",
    SYS_fstat "fstat", SYS_fsync "fsync", SYS_ftruncate "ftruncate", SYS_getcwd "getcwd", SYS_getdents64 "getdents64",
    SYS_geteuid "geteuid", SYS_getpid "getpid", SYS_getrandom "getrandom", SYS_getsockname "getsockname",
    SYS_getsockopt "getsockopt", SYS_ioctl "ioctl", SYS_lseek "lseek", SYS_lstat "lstat", SYS_madvise "madvise", SYS_mkdir "mkdir",
    SYS_mmap "mmap", SYS_mprotect "mprotect", SYS_mremap "mremap", SYS_munmap "munmap", SYS_nanosleep "nanosleep",
    SYS_newfstatat "newfstatat", SYS_open "open", SYS_openat "openat", SYS_pipe2 "pipe2", SYS_poll "poll", SYS_ppoll "ppoll",
    SYS_prctl "prctl", SYS_prlimit64 "prlimit64", SYS_read "read", SYS_readlink "readlink", SYS_readlinkat "readlinkat",
    SYS_readv "readv", SYS_recvfrom "recvfrom", SYS_recvmsg "recvmsg", SYS_rename "rename", SYS_rt_sigaction "rt_sigaction",
    SYS_rt_sigprocmask "rt_sigprocmask", SYS_sendmsg "sendmsg", SYS_sendto "sendto", SYS_setsockopt "setsockopt",
    SYS_shutdown "shutdown", SYS_socket "socket", SYS_socketpair "socketpair", SYS_stat "stat", SYS_statx "statx", SYS_umask "umask",
    SYS_uname "uname", SYS_unlink "unlink", SYS_utimensat "utimensat", SYS_vfork "vfork", SYS_wait4 "wait4", SYS_waitid "waitid",
    SYS_write "write", SYS_writev "writev",
];
