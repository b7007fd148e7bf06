//! Hooks: shell fragments of the administrator's that run when a vif comes or goes.
//!
//! Xen's scripts source every executable `vif-post.d/*.hook`, so hooks use those scripts' variables and functions. One bash gives them
//! the same surroundings (`hooks/prelude.bash`). No value reaches it through the environment or as code.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind, PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::state::trusted;
use crate::invocation::is_variable_name;
use crate::operation::HookCall;

/// Where hooks are kept, beside the program.
const FOLDER: &str = "vif-post.d";
/// What sets the variables of an installation, such as `LIBEXEC_BIN`; kept beside Xen's scripts.
const LIBRARY: &str = "hotplugpath.sh";
/// How long all hooks of one call may take: half of what libxl gives the whole program (`LIBXL_HOTPLUG_TIMEOUT`, 40 s).
const LIMIT: Duration = Duration::from_secs(20);
/// How long a hook may take to end once it is asked to.
const GRACE: Duration = Duration::from_secs(1);
/// Most that is kept of what the hooks report, in bytes.
const REPORT_MAX: usize = 64 * 1024;
const PRELUDE: &str = include_str!("hooks/prelude.bash");

/// The hooks of the program called as `program`, in the order they run: the byte order of their names. No folder, no hooks.
///
/// The folder is beside the program: where `program` says, or, for a bare name, where the running executable is.
///
/// # Errors
/// When the folder or a hook could be changed by anybody but root and ourselves, or cannot be read.
pub fn find(program: &str) -> Result<Vec<String>, String> {
    find_in(&scripts_folder(program)?.join(FOLDER))
}

fn scripts_folder(program: &str) -> Result<PathBuf, String> {
    let parent = |path: &Path| path.parent().map(Path::to_owned).unwrap_or_default();
    if program.contains('/') {
        return Ok(parent(Path::new(program)));
    }
    let own = std::env::current_exe().map_err(|error| format!("cannot tell where {program} is installed: {error}"))?;
    Ok(parent(&own))
}

fn find_in(folder: &Path) -> Result<Vec<String>, String> {
    let failed = |error: io::Error| format!("cannot read the hooks in {}: {error}", folder.display());
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(vec![]),
        opened => opened.map_err(failed)?,
    };
    let mut hooks = vec![];
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let path = folder.join(&name);
        let Some(name) = name.to_str() else {
            return Err(format!("the hook {} has a name that is not UTF-8; rename it", path.display()));
        };
        // The shell's pattern *.hook passes over hidden files.
        if name.ends_with(".hook") && !name.starts_with('.') && is_executable_file(&path)? {
            check(&path)?;
            hooks.push(path.display().to_string());
        }
    }
    if !hooks.is_empty() {
        check(folder)?;
    }
    hooks.sort_unstable();
    Ok(hooks)
}

fn is_executable_file(path: &Path) -> Result<bool, String> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.is_file() && metadata.permissions().mode() & 0o111 != 0),
        // A link that leads nowhere is as little executable for the scripts.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(format!("cannot examine the hook {}: {error}", path.display())),
    }
}

/// Refuses what others could change. Where `path` is a link, that goes for what it leads to and for the folder that is in.
fn check(path: &Path) -> Result<(), String> {
    let refused = |cause: String| format!("refusing to run the hook {}: {cause}", path.display());
    let examined = |path: &Path| -> Result<Metadata, String> { fs::metadata(path).map_err(|error| refused(error.to_string())) };
    trusted(&examined(path)?).map_err(refused)?;
    let is_link = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
    if is_link {
        let target = fs::canonicalize(path).map_err(|error| refused(error.to_string()))?;
        if let Some(parent) = target.parent() {
            let explained = |cause: String| refused(format!("the folder {} that it leads to: {cause}", parent.display()));
            trusted(&examined(parent)?).map_err(explained)?;
        }
    }
    Ok(())
}

/// Runs the hooks of `call` in one bash; without hooks, nothing is started.
///
/// # Errors
/// When a hook fails, or all together take longer than 20 s and are stopped. The sentence names the hook.
pub fn run(call: &HookCall) -> Result<(), String> {
    run_within(call, LIMIT)
}

fn run_within(call: &HookCall, limit: Duration) -> Result<(), String> {
    let Some(first) = call.hooks.first() else { return Ok(()) };
    let (reader, writer) = io::pipe().map_err(|error| format!("cannot run the hook {first}: {error}"))?;
    let mut command = shell(call)?;
    let mut child = command.stdin(Stdio::from(OwnedFd::from(writer))).spawn().map_err(|error| match error.kind() {
        ErrorKind::NotFound => format!("cannot run the hook {first}: there is no /bin/bash; install bash, or remove the hook"),
        _ => format!("cannot run the hook {first}: {error}"),
    })?;
    // The command has a copy of the pipe's writing end, which would keep it open.
    drop(command);
    let mut report = Report::new(reader, first);
    match report.follow(&mut child, limit) {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => Err(report.failure(status)),
        Ok(None) => {
            stop(&mut child);
            Err(format!(
                "the hook {} did not end: all hooks together have {} s, and it was stopped",
                report.hook,
                limit.as_secs_f32()
            ))
        }
        Err(error) => {
            stop(&mut child);
            Err(format!("cannot wait for the hook {}: {error}", report.hook))
        }
    }
}

/// The bash for `call`, with all but its standard input.
fn shell(call: &HookCall) -> Result<Command, String> {
    let mut shell = Command::new("/bin/bash");
    // -p: no functions, options or start-up files from the environment.
    shell.args(["--noprofile", "--norc", "-p", "-c", PRELUDE]).arg(&call.program);
    shell.arg(library(call)?.unwrap_or_default());
    let variables: Vec<_> = call.variables.iter().filter(|(name, _)| may_set(name)).collect();
    shell.arg(variables.len().to_string());
    shell.args(variables.into_iter().flat_map(|(name, value)| [name, value]));
    shell.arg(call.hooks.len().to_string()).args(&call.hooks).args(&call.words);
    for (name, _) in std::env::vars_os().filter(|(name, _)| !name.to_str().is_some_and(may_inherit)) {
        shell.env_remove(name);
    }
    shell.process_group(0);
    Ok(shell)
}

/// The installation's variables, where there is a file of them beside the hooks' folder.
fn library(call: &HookCall) -> Result<Option<PathBuf>, String> {
    let Some(folder) = call.hooks.first().and_then(|hook| Path::new(hook).parent()?.parent()) else { return Ok(None) };
    let path = folder.join(LIBRARY);
    match fs::metadata(&path) {
        Ok(metadata) => {
            trusted(&metadata).map(|()| Some(path)).map_err(|cause| format!("refusing to read {folder:?}/{LIBRARY}: {cause}"))
        }
        Err(_) => Ok(None),
    }
}

/// Names that mean something to bash itself (bash(1), "Shell Variables"), to the dynamic linker or to the prelude. With some of them
/// a value would be executed: `RANDOM=a[$(reboot)]` is arithmetic.
const RESERVED: [&str; 42] = [
    "CDPATH",
    "COLUMNS",
    "COMPREPLY",
    "COPROC",
    "DIRSTACK",
    "ENV",
    "EPOCHREALTIME",
    "EPOCHSECONDS",
    "EUID",
    "EXECIGNORE",
    "FCEDIT",
    "FIGNORE",
    "FUNCNAME",
    "FUNCNEST",
    "GLOBIGNORE",
    "GROUPS",
    "HISTCMD",
    "IFS",
    "INSIDE_EMACS",
    "LANG",
    "LINENO",
    "LINES",
    "MAILCHECK",
    "MAPFILE",
    "OLDPWD",
    "OPTARG",
    "OPTERR",
    "OPTIND",
    "PATH",
    "PIPESTATUS",
    "POSIXLY_CORRECT",
    "PPID",
    "PROMPT_COMMAND",
    "PS4",
    "PWD",
    "RANDOM",
    "READLINE_LINE",
    "SECONDS",
    "SHELLOPTS",
    "SHLVL",
    "SRANDOM",
    "UID",
];
const RESERVED_PREFIXES: [&str; 6] = ["BASH", "COMP_", "GCONV_", "LC_", "LD_", "_"];

/// Whether a word of the command line or a key of XenStore may become a shell variable of this name.
fn may_set(name: &str) -> bool {
    is_variable_name(name) && !RESERVED.contains(&name) && !RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether a variable of our own environment is left to the hooks.
fn may_inherit(name: &str) -> bool {
    may_set(name) || name == "PATH"
}

/// What the prelude has said so far.
struct Report {
    pipe: PipeReader,
    bytes: Vec<u8>,
    /// The hook that is running.
    hook: String,
    /// Why it gave up, in its own words.
    reason: Option<String>,
}

/// Whether anybody can still write to a pipe.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pipe {
    Open,
    Closed,
}

impl Report {
    fn new(pipe: PipeReader, first: &str) -> Self {
        Self { pipe, bytes: vec![], hook: first.to_owned(), reason: None }
    }

    /// Waits until `child` has ended. `None` when it has not within `limit`.
    ///
    /// The end of the pipe is not waited for: a daemon that a hook starts keeps it open.
    fn follow(&mut self, child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let flags = OFlag::from_bits_retain(fcntl(self.pipe.as_fd(), FcntlArg::F_GETFL)?);
        fcntl(self.pipe.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        let start = Instant::now();
        loop {
            let ended = child.try_wait()?;
            let pipe = self.listen()?;
            if ended.is_some() {
                return Ok(ended);
            }
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Ok(None);
            }
            match pipe {
                Pipe::Open => self.await_news(left.min(Duration::from_millis(20)))?,
                Pipe::Closed => sleep(Duration::from_millis(1)),
            }
        }
    }

    fn await_news(&self, limit: Duration) -> io::Result<()> {
        let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::ZERO);
        match poll(&mut [PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Takes in what there is.
    fn listen(&mut self) -> io::Result<Pipe> {
        let mut buffer = [0; 4096];
        loop {
            match self.pipe.read(&mut buffer) {
                Ok(0) => return Ok(Pipe::Closed),
                Ok(length) => self.take_in(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Pipe::Open),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn take_in(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte != 0 {
                if self.bytes.len() < REPORT_MAX {
                    self.bytes.push(*byte);
                }
                continue;
            }
            let record = String::from_utf8_lossy(&self.bytes).into_owned();
            self.bytes.clear();
            match record.split_once(' ') {
                Some(("hook", path)) => (self.hook, self.reason) = (path.to_owned(), None),
                Some(("fatal", reason)) => self.reason = Some(reason.to_owned()),
                _ => {}
            }
        }
    }

    fn failure(&self, status: ExitStatus) -> String {
        match &self.reason {
            Some(reason) => format!("the hook {} failed: {reason}", self.hook),
            None => format!("the hook {} failed ({status})", self.hook),
        }
    }
}

/// Ends `child` and everything that it has started: first by asking, then for certain.
fn stop(child: &mut Child) {
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
