//! Other programs that we start: followed for a limited time, then ended with all that they have started.

use std::io::{self, ErrorKind, PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::patience::within;

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

/// Where programs of a host are: root's search path.
const FOLDERS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// Most that is kept of what a program says, in bytes.
const OUTPUT_MAX: usize = 1024 * 1024;

/// Where the program of this name is.
pub(super) fn find_program(name: &str) -> Option<PathBuf> {
    FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists())
}

/// Runs the program at `path` as [`output_of`] does, for what it does rather than for what it says.
///
/// # Errors
/// As for [`output_of`].
pub(super) fn run_to_end(path: &Path, words: &[&str], limit: Duration) -> Result<(), String> {
    output_of(path, words, limit).map(drop)
}

/// Runs the program at `path` to its end, with nothing of our environment, and ends it with all that it has started when that takes longer
/// than `limit`. Gives what it said, at least its beginning.
///
/// # Errors
/// When it cannot be run, fails or is too slow. The sentence ends with the last that it said.
pub(super) fn output_of(path: &Path, words: &[&str], limit: Duration) -> Result<String, String> {
    let act = [&[&*path.to_string_lossy()], words].concat().join(" ");
    let mut command = bare_command(path);
    command.args(words);
    let limit = within(limit);
    match listen_to(command, &act, limit) {
        Ok((Ending::Exited(status), output)) if status.success() => Ok(output),
        Ok((Ending::Exited(status), output)) => Err(format!("{act} ended with {status}{}", last_words(&output))),
        Ok((Ending::Stopped, output)) => {
            Err(format!("{act} did not end within {} s and was stopped{}", limit.as_secs_f32(), last_words(&output)))
        }
        Err(error) => Err(format!("cannot run {act}: {error}")),
    }
}

/// How a program came to its end.
pub(super) enum Ending {
    /// By itself.
    Exited(ExitStatus),
    /// It took too long, and was stopped with all that it had started.
    Stopped,
}

/// A command for the program at `path` that gets nothing of our environment but root's search path.
pub(super) fn bare_command(path: &Path) -> Command {
    let mut command = Command::new(path);
    command.env_clear().env("PATH", FOLDERS.join(":"));
    command
}

/// Runs `command` until it ends or `limit` has passed, without input, and gives what it said, at least its beginning; all of it is logged
/// as the words of `act`.
///
/// # Errors
/// When it cannot be started or watched; then it has been stopped.
pub(super) fn listen_to(mut command: Command, act: &str, limit: Duration) -> io::Result<(Ending, String)> {
    let (reader, writer) = io::pipe()?;
    let copy = writer.try_clone()?;
    command.process_group(0).stdin(Stdio::null()).stdout(OwnedFd::from(copy)).stderr(OwnedFd::from(writer));
    let mut child = command.spawn()?;
    // The command has copies of the pipe's writing end, which would keep it open.
    drop(command);
    let mut output = vec![];
    let ended = follow(&mut child, reader, limit, |bytes| {
        output.extend_from_slice(&bytes[..bytes.len().min(OUTPUT_MAX - output.len())]);
    });
    let output = String::from_utf8_lossy(&output).into_owned();
    output.lines().for_each(|line| log::debug!("{act}: {line}"));
    match ended {
        Ok(Some(status)) => Ok((Ending::Exited(status), output)),
        Ok(None) => {
            stop(&mut child);
            Ok((Ending::Stopped, output))
        }
        Err(error) => {
            stop(&mut child);
            Err(error)
        }
    }
}

/// The last line of what a program said, behind a colon.
pub(super) fn last_words(output: &str) -> String {
    output.lines().rfind(|line| !line.trim().is_empty()).map(|line| format!(": {}", line.trim())).unwrap_or_default()
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
