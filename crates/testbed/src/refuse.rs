//! Has the kernel refuse a program any one of its system calls, or any one of its netlink requests, with an error that such a call really gives.
//!
//! A call is prevented and answered in the kernel's place ([`Followed::prevent`]). A netlink request that is refused is not sent; the next
//! answer on its socket is the refusal, as the kernel would word it (include/uapi/linux/netlink.h, `struct nlmsgerr`).
//!
//! Left alone: calls for memory, whose failure ends every Rust program (`handle_alloc_error`), and calls that cannot fail, such as the close of
//! what is no file on a network.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::bench::process::Call;
use crate::follow::{Followed, Step, name_of};
use crate::machine::{Error, Machine, Result};

/// A program that has not ended after this time hangs: libxl gives up after 40 s (`LIBXL_HOTPLUG_TIMEOUT`).
const LIMIT: Duration = Duration::from_secs(39);

/// What is done to a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not made, and gives this error.
    Refused(Errno),
    /// It is made, and gives this error all the same.
    DoneAllTheSame(Errno),
    /// It gives one byte where there would be more.
    Short,
    /// A netlink request is not carried out; the kernel's answer is this error.
    Netlink(Errno),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(errno) => write!(f, "{errno:?}"),
            Self::DoneAllTheSame(errno) => write!(f, "done, and {errno:?}"),
            Self::Short => f.write_str("one byte"),
            Self::Netlink(errno) => write!(f, "answered {errno:?}"),
        }
    }
}

/// A system call of a run, and what may be done to it.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its number, counted from 1 behind the start of the program.
    pub call: u64,
    /// What it is called, and what it is about: `sendto netlink 0`.
    pub name: String,
    /// What may be done to it.
    pub faults: Vec<Fault>,
}

/// How a run with a fault ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this exit status.
    Exited(i32),
    /// By a signal.
    Signaled(Signal),
    /// Not within the time that a toolstack waits; it was killed.
    Hung,
}

/// What became of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// What it wrote to standard error.
    pub complaint: String,
    /// Whether the fault was met: another run of the same program may make other calls.
    pub met: Met,
    /// How long it took.
    pub duration: Duration,
}

/// Whether a fault was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// It was.
    Yes,
    /// The call of that number was another one, or there was none.
    No,
}

/// Runs a program to its end, and gives all places where something may go wrong.
///
/// # Errors
/// When it cannot be followed, or fails.
pub fn places(machine: &Machine, program: &Call) -> Result<Vec<Place>> {
    let list = || {
        let mut tracer = Tracer::start(program)?;
        let mut places = vec![];
        loop {
            match tracer.followed.enter_next()? {
                Step::Stopped => {}
                Step::Exited(0) => return Ok(places),
                other => return Err(io::Error::other(format!("it ended with {other:?}: {}", tracer.followed.complaint()?))),
            }
            let place = tracer.place()?;
            if !place.faults.is_empty() {
                places.push(place);
            }
            tracer.note_socket()?;
        }
    };
    machine.inside(list)?.map_err(Error::in_act(format!("list the system calls of {}", program.program)))
}

/// Runs a program with one fault at one place.
///
/// # Errors
/// When it cannot be followed.
pub fn run_with(machine: &Machine, program: &Call, place: &Place, fault: Fault) -> Result<Outcome> {
    let run = || -> io::Result<Outcome> {
        let start = Instant::now();
        let mut tracer = Tracer::start(program)?;
        let guard = Guard::over(tracer.followed.pid());
        let mut met = Met::No;
        let step = loop {
            let step = tracer.followed.enter_next()?;
            if step != Step::Stopped {
                break step;
            }
            if tracer.followed.calls() == place.call && tracer.place()?.name == place.name {
                met = Met::Yes;
                match tracer.commit(fault)? {
                    Step::Stopped => {}
                    other => break other,
                }
            } else if tracer.is_answered()? {
                tracer.give_answer()?;
            } else if let ended @ (Step::Exited(_) | Step::Signaled(_)) = tracer.note_socket()? {
                break ended;
            }
        };
        let hung = guard.end();
        let ending = match step {
            Step::Signaled(Signal::SIGKILL) if hung => Ending::Hung,
            Step::Signaled(signal) => Ending::Signaled(signal),
            Step::Exited(status) => Ending::Exited(status),
            Step::Stopped => return Err(io::Error::other("it has not ended")),
        };
        Ok(Outcome { ending, complaint: tracer.followed.complaint()?, met, duration: start.elapsed() })
    };
    machine.inside(run)?.map_err(Error::in_act(format!("run {} with {fault} at {}", program.program, place.name)))
}

/// Kills a process that takes too long.
struct Guard {
    sender: mpsc::Sender<()>,
    thread: thread::JoinHandle<bool>,
}

impl Guard {
    fn over(pid: Pid) -> Self {
        let (sender, receiver) = mpsc::channel();
        let thread = thread::spawn(move || {
            let late = receiver.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout);
            late && kill(pid, Signal::SIGKILL).is_ok()
        });
        Self { sender, thread }
    }

    /// Whether it had to kill.
    fn end(self) -> bool {
        drop(self.sender);
        self.thread.join().unwrap_or(false)
    }
}

/// What a descriptor of the program leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    File,
    Stream,
    Datagrams,
    Netlink { protocol: i32 },
    Other,
}

struct Tracer {
    followed: Followed,
    /// Domain, type and protocol of each socket.
    sockets: BTreeMap<u64, (i32, i32, i32)>,
    /// A refusal that is to be the next answer on this socket.
    answer: Option<(u64, Vec<u8>)>,
}

impl Tracer {
    fn start(program: &Call) -> io::Result<Self> {
        Ok(Self { followed: Followed::start(program)?, sockets: BTreeMap::new(), answer: None })
    }

    /// Where it stands.
    fn place(&self) -> io::Result<Place> {
        let registers = self.followed.registers()?;
        let target = self.target(registers.rdi);
        let mut faults = faults_of(registers.orig_rax, target, registers.rsi, registers.rdx);
        if self.lists_rules(&registers, target)? {
            // It would say that the kernel has no policy rules at all, and so none of ours.
            faults.retain(|fault| *fault != Fault::Netlink(Errno::EOPNOTSUPP));
        }
        let name = match target {
            Some(Target::Netlink { protocol }) => format!("{} netlink {protocol}", name_of(registers.orig_rax)),
            Some(target) if takes_descriptor(registers.orig_rax) => {
                format!("{} {target:?}", name_of(registers.orig_rax)).to_lowercase()
            }
            _ => name_of(registers.orig_rax).to_owned(),
        };
        Ok(Place { call: self.followed.calls(), name, faults })
    }

    /// Whether it is about to ask the kernel for its policy rules.
    fn lists_rules(&self, registers: &libc::user_regs_struct, target: Option<Target>) -> io::Result<bool> {
        /// `RTM_GETRULE` (include/uapi/linux/rtnetlink.h), and where a message's kind stands in `struct nlmsghdr`.
        const RTM_GETRULE: u16 = 34;
        const KIND: std::ops::Range<usize> = 4..6;
        if name_of(registers.orig_rax) != "sendto" || target != Some(Target::Netlink { protocol: libc::NETLINK_ROUTE }) {
            return Ok(false);
        }
        let header = self.followed.read_memory(registers.rsi, KIND.end)?;
        Ok(header.get(KIND) == Some(&RTM_GETRULE.to_ne_bytes()))
    }

    fn target(&self, descriptor: u64) -> Option<Target> {
        if let Some((domain, kind, protocol)) = self.sockets.get(&descriptor) {
            return Some(match *domain {
                libc::AF_NETLINK => Target::Netlink { protocol: *protocol },
                _ if kind & 0xf == libc::SOCK_STREAM => Target::Stream,
                _ => Target::Datagrams,
            });
        }
        let link = fs::read_link(format!("/proc/{}/fd/{descriptor}", self.followed.pid())).ok()?;
        Some(if link.is_absolute() { Target::File } else { Target::Other })
    }

    /// Learns of a socket that the call makes, once it has been made.
    fn note_socket(&mut self) -> io::Result<Step> {
        let entry = self.followed.registers()?;
        let number = i64::try_from(entry.orig_rax).unwrap_or(-1);
        if number != libc::SYS_socket && number != libc::SYS_close {
            return Ok(Step::Stopped);
        }
        let step = self.followed.leave()?;
        if step != Step::Stopped {
            return Ok(step);
        }
        let result = self.followed.registers()?.rax;
        let word = |word: u64| i32::try_from(word).unwrap_or(-1);
        if number == libc::SYS_close {
            self.sockets.remove(&entry.rdi);
        } else if result.cast_signed() >= 0 {
            self.sockets.insert(result, (word(entry.rdi), word(entry.rsi), word(entry.rdx)));
        }
        Ok(Step::Stopped)
    }

    /// Does what is to be done to the call that was just entered.
    fn commit(&mut self, fault: Fault) -> io::Result<Step> {
        match fault {
            Fault::Refused(errno) => {
                self.followed.prevent()?;
                self.leave_with(Some(-(errno as i64)))
            }
            Fault::DoneAllTheSame(errno) => self.leave_with(Some(-(errno as i64))),
            Fault::Short => {
                let mut registers = self.followed.registers()?;
                registers.rdx = 1;
                self.followed.set_registers(registers)?;
                self.leave_with(None)
            }
            Fault::Netlink(errno) => {
                let registers = self.followed.registers()?;
                let length = usize::try_from(registers.rdx).unwrap_or_default();
                let request = self.followed.read_memory(registers.rsi, length)?;
                self.answer = Some((registers.rdi, refusal(&request, errno)));
                self.followed.prevent()?;
                self.leave_with(Some(registers.rdx.cast_signed()))
            }
        }
    }

    fn leave_with(&mut self, answer: Option<i64>) -> io::Result<Step> {
        let step = self.followed.leave()?;
        if let (Step::Stopped, Some(answer)) = (step, answer) {
            self.followed.answer(answer)?;
        }
        Ok(step)
    }

    /// Whether this call is to receive the refusal.
    fn is_answered(&self) -> io::Result<bool> {
        let registers = self.followed.registers()?;
        let receives = registers.orig_rax == libc::SYS_recvfrom.cast_unsigned();
        Ok(receives && self.answer.as_ref().is_some_and(|(socket, _)| *socket == registers.rdi))
    }

    fn give_answer(&mut self) -> io::Result<()> {
        let Some((_, answer)) = self.answer.take() else { return Ok(()) };
        let registers = self.followed.registers()?;
        self.followed.prevent()?;
        self.followed.leave()?;
        let length = answer.len().min(usize::try_from(registers.rdx).unwrap_or_default());
        self.followed.write_memory(registers.rsi, &answer[..length])?;
        if registers.r8 != 0 {
            // The kernel's own address: `struct sockaddr_nl` with the port 0.
            let mut sender = [0; 12];
            sender[..2].copy_from_slice(&16_u16.to_ne_bytes());
            self.followed.write_memory(registers.r8, &sender)?;
            self.followed.write_memory(registers.r9, &12_u32.to_ne_bytes())?;
        }
        self.followed.answer(i64::try_from(length).map_err(io::Error::other)?)
    }
}

/// The kernel's refusal of a request; of a batch (linux/netfilter/nfnetlink.h), the refusal of its first change.
fn refusal(request: &[u8], errno: Errno) -> Vec<u8> {
    const BATCH_BEGIN: u16 = 0x10;
    const HEADER: usize = 16;
    let word = |place: usize| request.get(place..place + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes);
    let kind = request.get(4..6).and_then(|bytes| bytes.try_into().ok()).map_or(0, u16::from_ne_bytes);
    let first = if kind == BATCH_BEGIN { usize::try_from(word(0)).unwrap_or_default().next_multiple_of(4) } else { 0 };
    let header = request.get(first..first + HEADER).unwrap_or(&[0; HEADER]);
    let mut answer = vec![];
    answer.extend(36_u32.to_ne_bytes());
    // NLMSG_ERROR, NLM_F_CAPPED
    answer.extend(2_u16.to_ne_bytes());
    answer.extend(0x100_u16.to_ne_bytes());
    answer.extend(&header[8..12]);
    answer.extend(0_u32.to_ne_bytes());
    answer.extend((-(errno as i32)).to_ne_bytes());
    answer.extend(header);
    answer
}

fn takes_descriptor(number: u64) -> bool {
    matches!(
        name_of(number),
        "read" | "write" | "readv" | "writev" | "sendto" | "recvfrom" | "sendmsg" | "recvmsg" | "connect" | "bind"
    )
}

/// What a call of this kind may really answer, as its page in section 2 of the manual lists.
fn faults_of(number: u64, target: Option<Target>, second: u64, third: u64) -> Vec<Fault> {
    use Errno::{
        EACCES, EADDRINUSE, EAFNOSUPPORT, EAGAIN, EBUSY, ECONNREFUSED, ECONNRESET, EINTR, EINVAL, EIO, EMFILE, ENOBUFS, ENOENT,
        ENOLCK, ENOMEM, ENOPROTOOPT, ENOSPC, EOPNOTSUPP, EPERM, EPIPE, EROFS,
    };
    let refused = |list: &[Errno]| list.iter().copied().map(Fault::Refused).collect::<Vec<_>>();
    let with = |list: &[Errno], more: &[Fault]| [refused(list), more.to_vec()].concat();
    let short = if third > 1 { vec![Fault::Short] } else { vec![] };
    match (name_of(number), target) {
        ("open" | "openat", _) => {
            let flags = if name_of(number) == "open" { second } else { third };
            let creates = flags & u64::from(libc::O_CREAT.cast_unsigned()) != 0;
            if creates { refused(&[EACCES, EMFILE, ENOSPC, EROFS]) } else { refused(&[EACCES, EMFILE, ENOMEM]) }
        }
        ("read" | "readv", Some(Target::File)) => with(&[EIO, EINTR], &short),
        ("read" | "readv" | "recvfrom", Some(Target::Stream)) => with(&[ECONNRESET, EINTR], &short),
        ("write" | "writev", Some(Target::File)) => with(&[ENOSPC, EIO, EPERM, EBUSY], &short),
        ("write" | "writev" | "sendto", Some(Target::Stream)) => with(&[EPIPE, EINTR, ECONNRESET], &short),
        ("write" | "sendto" | "sendmsg", Some(Target::Datagrams)) => refused(&[EAGAIN, ECONNREFUSED, ENOBUFS]),
        // EINVAL or EOPNOTSUPP from nf_tables would say that the kernel has no such thing at all, and so nothing of ours.
        ("sendto", Some(Target::Netlink { protocol: libc::NETLINK_NETFILTER })) => {
            with(&[ENOBUFS, EPERM], &[EPERM, EBUSY, ENOMEM].map(Fault::Netlink))
        }
        ("sendto", Some(Target::Netlink { .. })) => {
            // ENODEV and EEXIST would tell of a host that is another one: those are other tests (races, what is in the way).
            let answers = [EPERM, EBUSY, ENOMEM, EINVAL, EOPNOTSUPP].map(Fault::Netlink);
            with(&[ENOBUFS, EPERM], &answers)
        }
        ("recvfrom" | "recvmsg", Some(Target::Netlink { .. })) => with(&[EINTR, EAGAIN], &[Fault::DoneAllTheSame(ENOBUFS)]),
        ("socket", _) => refused(&[EMFILE, ENOBUFS, EAFNOSUPPORT, EPERM]),
        ("connect", _) => refused(&[ECONNREFUSED, ENOENT, EACCES, EAGAIN]),
        ("bind", _) => refused(&[EADDRINUSE, ENOMEM]),
        ("setsockopt", _) => refused(&[ENOPROTOOPT, ENOMEM]),
        ("stat" | "lstat" | "newfstatat" | "statx" | "access" | "faccessat" | "readlink" | "readlinkat", _) => {
            refused(&[EACCES, ENOMEM])
        }
        ("fstat", _) => refused(&[ENOMEM]),
        ("getdents64", _) => refused(&[EIO]),
        ("ftruncate", _) => refused(&[EIO]),
        ("rename" | "mkdir", _) => refused(&[ENOSPC, EACCES, EROFS]),
        ("unlink", _) => refused(&[EACCES, EROFS]),
        ("flock", _) => refused(&[ENOLCK, EINTR]),
        ("fork" | "clone" | "vfork", _) => refused(&[EAGAIN, ENOMEM]),
        ("pipe2" | "socketpair", _) => refused(&[EMFILE]),
        ("poll" | "ppoll", _) => refused(&[EINTR, ENOMEM]),
        ("nanosleep" | "clock_nanosleep" | "wait4" | "waitid", _) => refused(&[EINTR]),
        ("getrandom" | "getsockopt" | "getsockname", _) => refused(&[EINVAL]),
        _ => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(text: &str) -> Call {
        Call { program: "/bin/sh".to_owned(), words: vec!["-c".to_owned(), text.to_owned()], environment: Vec::new() }
    }

    #[test]
    fn a_full_disk_and_a_short_write_are_seen_by_the_program() {
        let machine = Machine::new("dom0").unwrap();
        let program = shell("echo hello >/run/one || echo failed >&2");
        let places = places(&machine, &program).unwrap();
        let write = places.iter().find(|place| place.name == "write file").unwrap();
        let outcome = run_with(&machine, &program, write, Fault::Refused(Errno::ENOSPC)).unwrap();
        assert_eq!((outcome.ending, outcome.met), (Ending::Exited(0), Met::Yes));
        assert!(outcome.complaint.contains("failed"), "{}", outcome.complaint);
        assert_eq!(machine.read_file("/run/one").unwrap(), "");
        let outcome = run_with(&machine, &program, write, Fault::Short).unwrap();
        assert_eq!(outcome.ending, Ending::Exited(0));
        assert_eq!(machine.read_file("/run/one").unwrap(), "hello\n", "the shell writes the rest");
    }

    #[test]
    fn a_kernel_with_policy_rules_never_says_that_it_has_none() {
        let machine = Machine::new("dom0").unwrap();
        let unsupported = |object: &str| {
            let words = vec![object.to_owned(), "list".to_owned()];
            let places = places(&machine, &Call { program: "/sbin/ip".to_owned(), words, environment: Vec::new() }).unwrap();
            let requests = places.iter().filter(|place| place.name == "sendto netlink 0");
            requests.map(|place| place.faults.contains(&Fault::Netlink(Errno::EOPNOTSUPP))).collect::<Vec<_>>()
        };
        assert_eq!(unsupported("rule"), [false]);
        assert_eq!(unsupported("route"), [true]);
    }

    #[test]
    fn a_refusal_of_a_batch_is_that_of_its_first_change() {
        let header = |length: u32, kind: u16, sequence: u32| {
            [length.to_ne_bytes().to_vec(), kind.to_ne_bytes().to_vec(), vec![0; 2], sequence.to_ne_bytes().to_vec(), vec![0; 4]]
                .concat()
        };
        let batch = [header(20, 0x10, 7), vec![0; 4], header(16, 0xa00, 8)].concat();
        let answer = refusal(&batch, Errno::EPERM);
        assert_eq!(answer.len(), 36);
        assert_eq!(answer[8..12], 8_u32.to_ne_bytes());
        assert_eq!(answer[16..20], (-1_i32).to_ne_bytes());
    }
}
