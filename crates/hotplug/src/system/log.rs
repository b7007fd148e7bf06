//! Where the programs' messages go: to syslog, and what matters also to standard error and to Xen's log file.

use std::fs::{File, Metadata, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use log::{Level, LevelFilter, Log, Metadata as Subject, Record};
use nix::libc;
use syslog::{Facility, LogFormat, Logger, LoggerBackend, Severity};

/// Where syslog listens (glibc's `_PATH_LOG`).
const SYSLOG_SOCKET: &str = "/dev/log";
/// What Xen's scripts append their standard error to; xl's users know it by heart.
const LOG_FILE: &str = "/var/log/xen/xen-hotplug.log";
/// Longest message in bytes. With its header it stays below the 1,024 bytes of RFC 3164, section 4.1.
const MESSAGE_MAX: usize = 900;
/// Our own crates: what libraries have to say below a warning interests nobody.
const OWN_TARGETS: [&str; 2] = ["hotplug", "xenstore"];

/// Sends everything that the `log` macros say from now on where it belongs, in the name of `program`.
///
/// Nothing is opened until the first message. What cannot be written is lost in silence: a log is no reason to fail, nor to wait.
pub fn init(program: &'static str) {
    let sink = Sink::new(program, std::io::stderr(), SYSLOG_SOCKET.into(), LOG_FILE.into());
    // Only a second call in one process fails, and then the first one's logger stays.
    if log::set_boxed_logger(Box::new(sink)).is_ok() {
        log::set_max_level(LevelFilter::Debug);
    }
}

/// The places that messages go to. `E` stands for standard error.
struct Sink<E> {
    program: &'static str,
    stderr: E,
    socket: PathBuf,
    syslog: OnceLock<Option<Mutex<Logger<LoggerBackend, Undated>>>>,
    path: PathBuf,
    file: OnceLock<Option<File>>,
}

impl<E: AsFd> Sink<E> {
    fn new(program: &'static str, stderr: E, socket: PathBuf, path: PathBuf) -> Self {
        Self { program, stderr, socket, syslog: OnceLock::new(), path, file: OnceLock::new() }
    }

    fn to_syslog(&self, level: Level, message: &str) {
        let logger = self.syslog.get_or_init(|| connect(&self.socket, self.program).map(Mutex::new));
        let Some(mut logger) = logger.as_ref().and_then(|logger| logger.lock().ok()) else { return };
        let _ = match level {
            Level::Error => logger.err(message),
            Level::Warn => logger.warning(message),
            Level::Info => logger.info(message),
            Level::Debug | Level::Trace => logger.debug(message),
        };
    }

    fn to_file(&self, line: &str) {
        let file = self.file.get_or_init(|| open_log(&self.path).filter(|file| !self.is_stderr(file)));
        if let Some(mut file) = file.as_ref() {
            let _ = file.write_all(line.as_bytes());
        }
    }

    /// Whether standard error is this file already, as where an older script redirects it and then calls us.
    fn is_stderr(&self, file: &File) -> bool {
        let same = |one: &Metadata, other: &Metadata| one.dev() == other.dev() && one.ino() == other.ino();
        let stderr = self.stderr.as_fd().try_clone_to_owned().and_then(|stderr| File::from(stderr).metadata());
        matches!((stderr, file.metadata()), (Ok(stderr), Ok(file)) if same(&stderr, &file))
    }
}

impl<E> Log for Sink<E>
where
    E: AsFd + Send + Sync,
    for<'a> &'a E: Write,
{
    fn enabled(&self, subject: &Subject<'_>) -> bool {
        let crate_name = subject.target().split("::").next().unwrap_or_default();
        subject.level() <= Level::Warn || (subject.level() <= Level::Debug && OWN_TARGETS.contains(&crate_name))
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let message = one_line(&record.args().to_string());
        self.to_syslog(record.level(), &message);
        if record.level() <= Level::Warn {
            let line = format!("{}: {message}\n", self.program);
            let _ = (&self.stderr).write_all(line.as_bytes());
            self.to_file(&line);
        }
    }

    fn flush(&self) {}
}

/// A logger whose socket never waits: with a stuck syslog daemon, messages are lost rather than guests held up.
fn connect(socket: &Path, program: &'static str) -> Option<Logger<LoggerBackend, Undated>> {
    let datagrams = UnixDatagram::unbound().ok()?;
    datagrams.set_nonblocking(true).ok()?;
    datagrams.connect(socket).ok()?;
    Some(Logger::new(LoggerBackend::Unix(datagrams), Undated { program }))
}

/// Messages as a local syslog daemon takes them: priority, then tag and text (RFC 3164, section 4.1).
///
/// Without a time, which the daemon notes itself when the message arrives, as section 4.3.2 has it; systemd-journald and rsyslog do so even
/// where there is one. To find out and write the local time would cost more than the rest of the message.
struct Undated {
    program: &'static str,
}

impl LogFormat<&str> for Undated {
    fn format<W: Write>(&self, sink: &mut W, severity: Severity, message: &str) -> syslog::Result<()> {
        let priority = Facility::LOG_DAEMON as u8 | severity as u8;
        let packet = format!("<{priority}>{}[{}]: {message}", self.program, std::process::id());
        // In one piece: each write is a datagram.
        sink.write_all(packet.as_bytes()).map_err(syslog::Error::Write)
    }
}

/// The log file for appending, created where its folder exists. Nothing but a regular file will do, and no symbolic link.
fn open_log(path: &Path) -> Option<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o640).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK);
    options.open(path).ok().filter(|file| file.metadata().is_ok_and(|metadata| metadata.is_file()))
}

/// `text` as one line of at most [`MESSAGE_MAX`] bytes, without anything that could move a terminal's cursor or forge a second line.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(MESSAGE_MAX));
    for letter in text.trim_end().chars().map(|letter| if letter.is_control() { ' ' } else { letter }) {
        if line.len() + letter.len_utf8() > MESSAGE_MAX {
            break;
        }
        line.push(letter);
    }
    line
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    struct Bench {
        folder: tempfile::TempDir,
        daemon: UnixDatagram,
        sink: Sink<File>,
    }

    fn bench() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let daemon = UnixDatagram::bind(folder.path().join("log")).unwrap();
        daemon.set_nonblocking(true).unwrap();
        let stderr = File::create(folder.path().join("stderr")).unwrap();
        let sink = Sink::new("vif-bridge", stderr, folder.path().join("log"), folder.path().join("xen-hotplug.log"));
        Bench { folder, daemon, sink }
    }

    impl Bench {
        fn say(&self, level: Level, target: &str, text: &str) {
            self.sink.log(&Record::builder().level(level).target(target).args(format_args!("{text}")).build());
        }

        fn sent(&self) -> Option<String> {
            let mut buffer = [0; 4096];
            let length = self.daemon.recv(&mut buffer).ok()?;
            Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
        }

        fn text(&self, name: &str) -> String {
            fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
        }
    }

    #[test]
    fn an_error_goes_to_all_three_places() {
        let bench = bench();
        bench.say(Level::Error, "hotplug::plan", "no bridge xenbr7");
        let sent = bench.sent().unwrap();
        // 27 is daemon.err: facility 3, severity 3 (RFC 3164, section 4.1.1).
        assert_eq!(sent, format!("<27>vif-bridge[{}]: no bridge xenbr7", std::process::id()));
        assert_eq!(bench.text("stderr"), "vif-bridge: no bridge xenbr7\n");
        assert_eq!(bench.text("xen-hotplug.log"), "vif-bridge: no bridge xenbr7\n");
    }

    #[test]
    fn debug_messages_are_for_syslog_alone_and_libraries_keep_silent() {
        let bench = bench();
        bench.say(Level::Debug, "hotplug", "xenbr0 MTU is 1500");
        assert!(bench.sent().unwrap().starts_with("<31>"));
        bench.say(Level::Debug, "netlink_proto", "noise");
        bench.say(Level::Trace, "hotplug", "noise");
        assert_eq!(bench.sent(), None);
        assert_eq!(bench.text("stderr") + &bench.text("xen-hotplug.log"), "");
    }

    #[test]
    fn a_message_cannot_forge_a_line_and_is_bounded() {
        let bench = bench();
        bench.say(Level::Warn, "hotplug", &format!("a\nvif-bridge: all is well\x1b[2J\r{}", "é".repeat(2000)));
        let line = bench.text("stderr");
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.starts_with("vif-bridge: a vif-bridge: all is well [2J é"), "{line}");
        let sent = bench.sent().unwrap();
        assert!(sent.len() <= 1024 && !sent.contains('\n') && !sent.contains('\x1b'));
        assert!(one_line(&"x".repeat(5000)).len() == MESSAGE_MAX);
    }

    #[test]
    fn a_stuck_daemon_does_not_hold_us_up() {
        let bench = bench();
        // The daemon never reads; its queue (net.unix.max_dgram_qlen, 10 to 512) is full long before the end.
        (0..5000).for_each(|number| bench.say(Level::Info, "hotplug", &format!("message {number}")));
        assert!(bench.sent().unwrap().ends_with("message 0"));
    }

    #[test]
    fn nothing_to_write_to_is_no_trouble() {
        let folder = tempfile::tempdir().unwrap();
        let (reader, stderr) = std::io::pipe().unwrap();
        drop(reader);
        let stderr = File::from(std::os::fd::OwnedFd::from(stderr));
        let sink = Sink::new("vif-bridge", stderr, folder.path().join("none"), folder.path().join("no/such/folder.log"));
        sink.log(&Record::builder().level(Level::Error).target("hotplug").args(format_args!("x")).build());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_log_file_is_neither_a_link_nor_a_pipe() {
        let bench = bench();
        symlink(bench.folder.path().join("elsewhere"), bench.folder.path().join("xen-hotplug.log")).unwrap();
        bench.say(Level::Error, "hotplug", "x");
        assert!(!bench.folder.path().join("elsewhere").exists());
        let pipe = bench.folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(open_log(&pipe).is_none());
    }

    #[test]
    fn standard_error_that_is_the_log_file_is_not_written_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("xen-hotplug.log");
        let stderr = OpenOptions::new().append(true).create(true).open(&path).unwrap();
        let sink = Sink::new("vif-bridge", stderr, folder.path().join("none"), path.clone());
        sink.log(&Record::builder().level(Level::Error).target("hotplug").args(format_args!("once")).build());
        assert_eq!(fs::read_to_string(path).unwrap(), "vif-bridge: once\n");
    }
}
