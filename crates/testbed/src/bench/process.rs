//! What one process costs, from its start to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::libc;
use serde::Serialize;

use crate::machine::{Error, Machine, Result};
use crate::recording::{Recording, TRACED};

/// The word by which [`launcher`] is asked for, in place of a subject.
pub const LAUNCHER_WORD: &str = "--launch";

/// How a program is started: directly, without a shell or nsenter(1), which would be measured with it.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its path inside the machine.
    pub program: String,
    /// Its words.
    pub words: Vec<String>,
    /// Its whole environment.
    pub environment: Vec<(String, String)>,
}

impl Call {
    /// The words and the environment of a command of [`Machine::command`], for this program.
    #[must_use]
    pub fn like(command: &Command, program: &str, words: &[&str]) -> Self {
        let text = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
        Self {
            program: program.to_owned(),
            words: words.iter().map(|&word| word.to_owned()).collect(),
            environment: command.get_envs().filter_map(|(name, value)| Some((text(name), text(value?)))).collect(),
        }
    }

    /// `/bin/true`: what starting and ending a process costs by itself.
    #[must_use]
    pub fn empty() -> Self {
        Self { program: "/bin/true".to_owned(), words: Vec::new(), environment: Vec::new() }
    }

    /// The same call of another program.
    #[must_use]
    pub fn of_program(&self, program: &str) -> Self {
        Self { program: program.to_owned(), ..self.clone() }
    }

    pub(crate) fn command(&self) -> Command {
        self.command_under(&[])
    }

    fn command_under(&self, wrapper: &[&str]) -> Command {
        let mut words = wrapper.iter().copied().chain([self.program.as_str()]).chain(self.words.iter().map(String::as_str));
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        // No working directory: with one, std of a static program falls back from posix_spawn to fork, whose copied pages would be
        // counted as the program's. A thread that entered a machine is in `/` anyway.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

/// What a process cost, its children included.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// From the start to the end, in seconds.
    pub wall: f64,
    /// Time of the processors, in the program and in the kernel on its behalf, in seconds.
    pub cpu: f64,
    /// Page faults.
    pub faults: i64,
}

/// Runs a program in a machine to its end.
///
/// # Errors
/// When it cannot be started, or its exit status is not 0: the cost of a failure is of no interest.
pub fn cost(machine: &Machine, call: &Call) -> Result<Cost> {
    machine.inside(|| cost_here(call))?
}

/// As [`cost`], in the namespaces that the calling thread is in.
///
/// # Errors
/// As [`cost`].
pub fn cost_here(call: &Call) -> Result<Cost> {
    let mut command = call.command();
    let act = || Error::in_act::<io::Error>(format!("run {} {}", call.program, call.words.join(" ")));
    let start = Instant::now();
    let child = command.spawn().map_err(act())?;
    let (status, usage) = wait_with_usage(child.id()).map_err(act())?;
    let wall = start.elapsed();
    if status != 0 {
        return Err(act()(io::Error::other(format!("it ended with wait status {status:#x}"))));
    }
    let cpu = seconds(usage.ru_utime) + seconds(usage.ru_stime);
    Ok(Cost { wall: wall.as_secs_f64(), cpu: cpu.as_secs_f64(), faults: usage.ru_minflt + usage.ru_majflt })
}

fn seconds(time: libc::timeval) -> Duration {
    let part = |part: i64| u64::try_from(part).unwrap_or(0);
    Duration::from_secs(part(time.tv_sec)) + Duration::from_micros(part(time.tv_usec))
}

// wait4(2) is the one call that tells what a single child used, and neither std nor nix has it.
#[expect(unsafe_code, reason = "there is no safe wrapper of wait4")]
fn wait_with_usage(process: u32) -> io::Result<(i32, libc::rusage)> {
    let process = libc::pid_t::try_from(process).map_err(io::Error::other)?;
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are to values of ours that live through the call.
        let ended = unsafe { libc::wait4(process, &raw mut status, 0, usage.as_mut_ptr()) };
        if ended == process {
            // SAFETY: all zeros is a valid rusage, and the kernel has filled it.
            return Ok((status, unsafe { usage.assume_init() }));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// The largest resident memory of a program and of each process it starts, in bytes.
///
/// A child begins with the memory peak of the process that started it (`exec_mmap` in Linux fs/exec.c keeps it), so a fresh,
/// small process, [`launcher`], has to start it.
///
/// # Errors
/// When it fails.
pub fn peak_memory(machine: &Machine, call: &Call) -> Result<u64> {
    let own = std::env::current_exe().map_err(Error::in_act("find the bench's own program"))?;
    let own = own.to_string_lossy();
    let mut command = call.command_under(&[&own, LAUNCHER_WORD]);
    command.stdout(Stdio::piped());
    let act = || format!("measure the memory of {}", call.program);
    let output = machine.inside(|| command.output())?.map_err(Error::in_act(act()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let kibibytes: u64 = text.trim().parse().map_err(Error::in_act(act()))?;
    Ok(kibibytes * 1024)
}

/// The other half of [`peak_memory`]: starts the program, and prints its largest resident memory in KiB.
///
/// # Errors
/// When it cannot be started or fails.
pub fn launcher(words: &[String]) -> Result<()> {
    let [program, words @ ..] = words else {
        return Err(Error::new("there is nothing to launch"));
    };
    let act = || Error::in_act::<io::Error>(format!("launch {program}"));
    let child = Command::new(program).args(words).stdout(Stdio::null()).spawn().map_err(act())?;
    let (status, usage) = wait_with_usage(child.id()).map_err(act())?;
    if status != 0 {
        return Err(act()(io::Error::other(format!("it ended with wait status {status:#x}"))));
    }
    println!("{}", usage.ru_maxrss);
    Ok(())
}

/// How often a program, and all it starts, entered the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Calls {
    /// System calls.
    pub total: u64,
    /// Processes and threads that were started.
    pub started: u64,
}

/// Counts the system calls of a program by strace(1).
///
/// # Errors
/// When strace or the program fails.
pub fn system_calls(machine: &Machine, call: &Call) -> Result<Calls> {
    let text = trace(machine, call, &["-c"])?;
    parse_summary(&text).ok_or_else(|| Error::new(format!("strace wrote no summary of {}", call.program)))
}

/// Counts the instructions of a program outside the kernel by callgrind (Debian package valgrind): the same number at each run, whatever
/// else the machine does. A child that the program has left behind is not counted.
///
/// # Errors
/// When valgrind or the program fails.
pub fn instructions(machine: &Machine, call: &Call) -> Result<u64> {
    let text = callgrind(machine, call)?;
    let counts = text.lines().filter_map(|line| line.strip_prefix("summary: ")?.trim().parse().ok());
    counts.max().ok_or_else(|| Error::new(format!("callgrind wrote no summary of {}", call.program)))
}

/// The symbols of the functions that a program runs. It needs them in its file.
///
/// # Errors
/// As [`instructions`].
pub fn functions(machine: &Machine, call: &Call) -> Result<BTreeSet<String>> {
    Ok(callgrind(machine, call)?.lines().filter_map(function).collect())
}

// "fn=(7) main", "cfn=(9) _ZN…E'2" (within itself for the second time); an address where there is no symbol.
fn function(line: &str) -> Option<String> {
    let (_, name) = line.strip_prefix('c').unwrap_or(line).strip_prefix("fn=")?.split_once(' ')?;
    let name = name.split('\'').next()?;
    (!name.starts_with("0x")).then(|| name.to_owned())
}

fn callgrind(machine: &Machine, call: &Call) -> Result<String> {
    const FOLDER: &str = "/run/bench-callgrind";
    machine.run("mkdir", ["-p", FOLDER])?;
    let output = format!("--callgrind-out-file={FOLDER}/%p");
    let mut command = call.command_under(&["/usr/bin/valgrind", "--quiet", "--demangle=no", "--tool=callgrind", &output]);
    let act = || format!("count the instructions of {}", call.program);
    let status = machine.inside(|| command.status())?.map_err(Error::in_act(format!("{} (Debian package valgrind)", act())))?;
    if !status.success() {
        return Err(Error::in_act(act())(status));
    }
    machine.shell(&format!("cat {FOLDER}/* && rm -r {FOLDER}"))
}

/// What a program says to the kernel and to XenStore.
///
/// # Errors
/// As for [`system_calls`].
pub fn record(machine: &Machine, call: &Call) -> Result<Recording> {
    let calls = format!("trace={TRACED}");
    Ok(Recording::of_trace(&trace(machine, call, &["-e", &calls, "-e", "write=all", "-s", "64"])?))
}

fn trace(machine: &Machine, call: &Call, options: &[&str]) -> Result<String> {
    const TRACE: &str = "/run/bench-strace";
    let mut command = call.command_under(&[&["/usr/bin/strace", "-f", "-o", TRACE], options].concat());
    let act = || format!("trace the system calls of {}", call.program);
    let status = machine.inside(|| command.status())?.map_err(Error::in_act(format!("{} (Debian package strace)", act())))?;
    if !status.success() {
        return Err(Error::in_act(act())(status));
    }
    fs::read_to_string(machine.path(Path::new(TRACE))).map_err(Error::in_act(act()))
}

// "% time  seconds  usecs/call  calls  [errors]  syscall", and a last line for "total".
fn parse_summary(text: &str) -> Option<Calls> {
    let counts: BTreeMap<&str, u64> = text
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let calls: u64 = fields.get(3)?.parse().ok()?;
            let errors: u64 = if fields.len() > 5 { fields[4].parse().ok()? } else { 0 };
            let name = *fields.last()?;
            // A clone that failed started nothing; a failed call of any other kind was a call all the same.
            Some((name, if STARTERS.contains(&name) { calls - errors } else { calls }))
        })
        .collect();
    let started = STARTERS.iter().filter_map(|name| counts.get(name)).sum();
    Some(Calls { total: *counts.get("total")?, started })
}

/// The system calls that start a process or a thread.
const STARTERS: [&str; 4] = ["clone", "clone3", "fork", "vfork"];

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(program: &str) -> Call {
        Call { program: "/bin/sh".to_owned(), words: vec!["-c".to_owned(), program.to_owned()], environment: Vec::new() }
    }

    #[test]
    fn a_cost_includes_the_children() {
        let machine = Machine::new("dom0").unwrap();
        let alone = cost(&machine, &shell(":")).unwrap();
        let with_children = cost(&machine, &shell("/bin/true; /bin/true; :")).unwrap();
        assert!(alone.faults > 0 && with_children.faults > alone.faults, "{alone:?} {with_children:?}");
        assert!(with_children.wall > 0.0);
    }

    #[test]
    fn a_failure_is_an_error() {
        let machine = Machine::new("dom0").unwrap();
        let error = cost(&machine, &shell("exit 3")).unwrap_err().to_string();
        assert_eq!(error, "cannot run /bin/sh -c exit 3: it ended with wait status 0x300");
    }

    #[test]
    fn a_summary_of_strace_is_read() {
        let text = "% time     seconds  usecs/call     calls    errors syscall\n\
                    ------ ----------- ----------- --------- --------- ----------------\n \
                    60.00    0.000030          15         2           clone\n \
                    20.00    0.000010          10         3         1 vfork\n \
                    20.00    0.000010           2         5         4 openat\n\
                    ------ ----------- ----------- --------- --------- ----------------\n\
                    100.00    0.000050           5        10         5 total\n";
        assert_eq!(parse_summary(text), Some(Calls { total: 10, started: 4 }));
        assert_eq!(parse_summary("strace: no such file"), None);
    }
}
