//! Simulated hosts: a network and a mount namespace each, joined by veth pairs.
//!
//! A [`Machine`] is made with the ordinary tools of util-linux and iproute2, so that a person can repeat by hand what a
//! test does. It lives as long as the process that made it, whatever way that process ends.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};

/// The search path of root on Debian: the only variable a machine's programs start with.
pub const ROOT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What could not be done, to what, and why, in one sentence.
#[derive(Clone)]
pub struct Error(String);

/// The result of everything in the test bed that acts on a machine.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with this sentence.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }

    /// For `map_err`: the act that failed, then the cause.
    pub fn in_act<E: fmt::Display>(act: impl fmt::Display) -> impl FnOnce(E) -> Self {
        move |cause| Self(format!("cannot {act}: {cause}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// The same words as Display, so that `unwrap` in a test shows the sentence and not a structure.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// A simulated host in its own network and mount namespace.
///
/// Private to it: `/run` (and so `/var/run`), `/var/log`, `/etc` (a copy-on-write view of the host's), `/sys`, `/dev`
/// with a `/dev/log` of its own, all network devices, addresses, routes, rules and `net.*` settings. Shared with the
/// host: everything else, processes included.
///
/// A clone is another handle to the same machine; the machine ends with the last one. Then every process whose network
/// namespace is the machine's is killed. The same happens when the process that made the machine is killed.
#[derive(Clone)]
pub struct Machine(Arc<Inner>);

struct Inner {
    name: String,
    holder: Child,
    // Closing this is what ends the machine: see holder.sh.
    life_line: Option<ChildStdin>,
    system_log: Option<SystemLog>,
}

impl Machine {
    /// Makes a machine. The name is used in messages and for the MAC addresses of [`connect`].
    ///
    /// # Errors
    /// When namespaces cannot be made (root or `unshare -r` is needed), or mounting the private folders fails.
    pub fn new(name: &str) -> Result<Self> {
        let mut holder = Command::new("unshare")
            .args(["--net", "--mount", "--propagation", "private", "--"])
            .args(["/bin/sh", "-s"])
            .arg(name)
            .env_clear()
            .env("PATH", ROOT_PATH)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C on the terminal must not kill the holder before it has cleaned up.
            .process_group(0)
            .spawn()
            .map_err(Error::in_act(format!("start unshare for machine {name} (Debian package util-linux)")))?;
        let mut life_line = holder.stdin.take();
        // Where unshare failed, nobody reads; wait_until_ready knows why.
        let _ = life_line.as_mut().map(|shell| shell.write_all(include_bytes!("holder.sh")));
        let ready = wait_until_ready(&mut holder);
        let mut inner = Inner { name: name.to_owned(), holder, life_line, system_log: None };
        ready.map_err(Error::in_act(format!("make machine {name} (it needs root, or run it under `unshare -r`)")))?;
        let log_socket = inner.path("/dev/log");
        inner.system_log = Some(SystemLog::listen(&log_socket)?);
        Ok(Self(Arc::new(inner)))
    }

    /// The name given to [`Machine::new`].
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The process id that stands for the machine, as `ip link … netns PID` and `nsenter --target PID` want it.
    pub fn pid(&self) -> u32 {
        self.0.holder.id()
    }

    /// Where a file of the machine is seen from outside. Good for files and for unix sockets alike.
    pub fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        self.0.path(inside)
    }

    /// A command that will run inside: working directory `/`, no standard input, no environment but [`ROOT_PATH`].
    /// The process id of what it starts is that of the program itself.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", self.pid()))
            .args(["--net", "--mount", "--"])
            .arg(program)
            .env_clear()
            .env("PATH", ROOT_PATH)
            .stdin(Stdio::null());
        command
    }

    /// Runs a program to its end and returns its standard output.
    ///
    /// # Errors
    /// When it cannot be started or its exit status is not 0; the error holds what it wrote to standard error.
    pub fn run<S: AsRef<OsStr>>(&self, program: &str, arguments: impl IntoIterator<Item = S>) -> Result<String> {
        let mut command = self.command(program);
        command.args(arguments);
        self.finish(&mut command)
    }

    /// Runs a prepared command (see [`Machine::command`]) like [`Machine::run`].
    ///
    /// # Errors
    /// As [`Machine::run`].
    pub fn finish(&self, command: &mut Command) -> Result<String> {
        let words = words_after_separator(command);
        let output = command.output().map_err(Error::in_act(format!("run `{words}` in {}", self.name())))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(Error(format!("`{words}` in {} ended with {}: {}", self.name(), describe(output.status), complaint(&output))))
    }

    /// Runs `ip` with these words, which are split at white space: `machine.ip("link add br0 type bridge")`.
    ///
    /// # Errors
    /// As [`Machine::run`].
    pub fn ip(&self, words: &str) -> Result<String> {
        self.run("ip", words.split_whitespace())
    }

    /// Runs a small shell program (`sh -e`).
    ///
    /// # Errors
    /// As [`Machine::run`].
    pub fn shell(&self, program: &str) -> Result<String> {
        self.run("sh", ["-ec", program])
    }

    /// Starts a prepared command (see [`Machine::command`]) and leaves it running until the handle is dropped.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self, command: &mut Command) -> Result<Running> {
        let words = words_after_separator(command);
        let child = command.spawn().map_err(Error::in_act(format!("start `{words}` in {}", self.name())))?;
        Ok(Running(child))
    }

    /// Runs a function in a thread that has entered the machine's namespaces. Sockets opened there stay in the machine.
    ///
    /// # Errors
    /// When the thread cannot enter.
    ///
    /// # Panics
    /// When the function panics.
    pub fn inside<T: Send>(&self, function: impl FnOnce() -> T + Send) -> Result<T> {
        let result = thread::scope(|scope| {
            scope
                .spawn(|| {
                    self.enter()?;
                    Ok(function())
                })
                .join()
        });
        match result {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Moves the calling thread, for good, into the machine. Meant for threads made for the purpose, and for async
    /// runtimes on such a thread; see [`Machine::inside`].
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn enter(&self) -> Result<()> {
        let act = || format!("enter machine {}", self.name());
        let open = |kind: &str| File::open(format!("/proc/{}/ns/{kind}", self.pid())).map_err(Error::in_act(act()));
        let (net, mount) = (open("net")?, open("mnt")?);
        // A thread that shares its root and working directory with others may not change its mount namespace.
        unshare(CloneFlags::CLONE_FS).map_err(Error::in_act(act()))?;
        setns(net, CloneFlags::CLONE_NEWNET).map_err(Error::in_act(act()))?;
        setns(mount, CloneFlags::CLONE_NEWNS).map_err(Error::in_act(act()))
    }

    /// Sets a kernel variable, named as sysctl(8) does with `/` or `.`: `net.ipv4.ip_forward`. Device names that hold
    /// a dot need the form with `/`.
    ///
    /// # Errors
    /// When there is no such variable or the value is refused.
    pub fn set_sysctl(&self, name: &str, value: &str) -> Result<()> {
        let path = sysctl_path(name);
        // The folder shows the variables of the namespace of the thread that looks.
        self.inside(|| fs::write(&path, value))?.map_err(Error::in_act(format!("set {name}={value} in {}", self.name())))
    }

    /// Reads a kernel variable; the name as for [`Machine::set_sysctl`].
    ///
    /// # Errors
    /// When there is no such variable.
    pub fn sysctl(&self, name: &str) -> Result<String> {
        let path = sysctl_path(name);
        let text = self.inside(|| fs::read_to_string(&path))?.map_err(Error::in_act(format!("read {name} in {}", self.name())))?;
        Ok(text.trim_end().to_owned())
    }

    /// Writes a file of the machine, and the folders above it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_file(&self, inside: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Result<()> {
        let path = self.path(&inside);
        let act = || format!("write {} in {}", inside.as_ref().display(), self.name());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(Error::in_act(act()))?;
        }
        fs::write(&path, content).map_err(Error::in_act(act()))
    }

    /// Writes an executable file of the machine.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_program(&self, inside: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        self.write_file(&inside, content)?;
        fs::set_permissions(self.path(&inside), fs::Permissions::from_mode(0o755))
            .map_err(Error::in_act(format!("make {} executable", inside.as_ref().display())))
    }

    /// Reads a text file of the machine.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read_file(&self, inside: impl AsRef<Path>) -> Result<String> {
        fs::read_to_string(self.path(&inside)).map_err(Error::in_act(format!(
            "read {} in {}",
            inside.as_ref().display(),
            self.name()
        )))
    }

    /// Copies the programs of a folder into the machine's `/etc/xen/scripts`, where toolstacks look for them.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn install_scripts(&self, programs: &Programs) -> Result<()> {
        let folder = self.path("/etc/xen/scripts");
        let act = |path: &Path| format!("install {} in {}", path.display(), self.name());
        fs::create_dir_all(&folder).map_err(Error::in_act(act(&folder)))?;
        let entries = fs::read_dir(&programs.0).map_err(Error::in_act(act(&programs.0)))?;
        for entry in entries {
            let path = entry.map_err(Error::in_act(act(&programs.0)))?.path();
            let Some(name) = path.file_name().filter(|_| path.is_file()) else {
                continue;
            };
            fs::copy(&path, folder.join(name)).map_err(Error::in_act(act(&path)))?;
        }
        Ok(())
    }

    /// All that programs of the machine sent to the system log so far, a datagram an entry, as sent (with priority).
    ///
    /// # Errors
    /// When the log socket no longer works.
    pub fn system_log(&self) -> Result<Vec<String>> {
        match &self.0.system_log {
            Some(log) => log.entries(),
            None => Err(Error(format!("{} has no system log", self.name()))),
        }
    }

    /// The process ids whose network namespace is this machine's, the machine's own holder left out.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub fn processes(&self) -> Result<Vec<u32>> {
        let act = || format!("list the processes of {}", self.name());
        let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/net"));
        let own = namespace(self.pid()).map_err(Error::in_act(act()))?;
        let entries = fs::read_dir("/proc").map_err(Error::in_act(act()))?;
        Ok(entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|&pid| pid != self.pid() && namespace(pid).is_ok_and(|other| other == own))
            .collect())
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Machine({}, pid {})", self.name(), self.pid())
    }
}

impl Inner {
    // The kernel follows this magic link into the holder's mount namespace.
    fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        let inside = inside.as_ref();
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(inside.strip_prefix("/").unwrap_or(inside))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.life_line.take());
        // Nothing can be done about a failure here, and wait only fails when somebody else reaped the child.
        let _ = self.holder.wait();
    }
}

// The holder prints one line, "ready", or else the message of the tool that failed, and then ends.
fn wait_until_ready(holder: &mut Child) -> io::Result<()> {
    let Some(stdout) = holder.stdout.take() else {
        return Err(io::Error::other("the holder has no standard output"));
    };
    let mut stdout = BufReader::new(stdout);
    let mut line = String::new();
    stdout.read_line(&mut line)?;
    if line == "ready\n" {
        return Ok(());
    }
    stdout.read_to_string(&mut line)?;
    // Before the shell runs, it is unshare that complains.
    if let Some(stderr) = &mut holder.stderr {
        stderr.read_to_string(&mut line)?;
    }
    Err(io::Error::other(match line.trim() {
        "" => "unshare failed".to_owned(),
        text => text.replace('\n', "; "),
    }))
}

fn sysctl_path(name: &str) -> PathBuf {
    let relative = if name.contains('/') { name.to_owned() } else { name.replace('.', "/") };
    Path::new("/proc/sys").join(relative)
}

// What a person would type inside: everything after nsenter's `--`.
fn words_after_separator(command: &Command) -> String {
    let words: Vec<_> = command.get_args().skip_while(|word| *word != "--").skip(1).map(OsStr::to_string_lossy).collect();
    words.join(" ")
}

fn describe(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit status {code}"),
        None => status.to_string(),
    }
}

fn complaint(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let text = match stderr.trim() {
        "" => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        text => text.to_owned(),
    };
    if text.is_empty() { "it said nothing".to_owned() } else { text }
}

/// A program running in a machine; killed when dropped.
pub struct Running(Child);

impl Running {
    /// The process, for its pipes and its exit status.
    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when the process ended and was waited for already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A folder of programs to put into a machine's `/etc/xen/scripts`.
#[derive(Clone, Debug)]
pub struct Programs(PathBuf);

impl Programs {
    /// Programs in any folder.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// The programs of this project: the folder in the variable `XEN_NETWORK_PROGRAMS`, else `dist/bin` of the
    /// workspace.
    ///
    /// # Errors
    /// When the folder does not exist, which means that nobody ran `scripts/build`.
    pub fn ours() -> Result<Self> {
        let folder = match std::env::var_os("XEN_NETWORK_PROGRAMS") {
            Some(folder) => PathBuf::from(folder),
            None => workspace().join("dist/bin"),
        };
        if folder.is_dir() {
            return Ok(Self(folder));
        }
        Err(Error(format!(
            "there are no programs in {}: run scripts/build, or name their folder in XEN_NETWORK_PROGRAMS",
            folder.display()
        )))
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }
}

/// The workspace's folder.
pub fn workspace() -> PathBuf {
    let mut folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    folder.pop();
    folder.pop();
    folder
}

/// Joins two machines by a veth pair. Both ends are left down, as a fresh network card is.
///
/// The MAC addresses follow from the names of machine and device, so that a test sees the same ones at each run. They are
/// locally administered (02:…).
///
/// # Errors
/// When a device of that name exists already.
pub fn connect(one: &Machine, one_device: &str, other: &Machine, other_device: &str) -> Result<()> {
    let one_mac = stable_mac(one.name(), one_device);
    let other_mac = stable_mac(other.name(), other_device);
    one.ip(&format!(
        "link add name {one_device} address {one_mac} type veth \
         peer name {other_device} address {other_mac} netns {}",
        other.pid()
    ))?;
    Ok(())
}

/// The MAC address [`connect`] gives to a device of a machine.
pub fn stable_mac(machine: &str, device: &str) -> String {
    // DefaultHasher::new() has fixed keys: the same names give the same number in every run.
    let mut hasher = DefaultHasher::new();
    (machine, device).hash(&mut hasher);
    let [a, b, c, d, e, ..] = hasher.finish().to_be_bytes();
    format!("02:{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}")
}

/// Waits until a condition holds, looking every few milliseconds.
///
/// # Errors
/// When it does not hold within the limit; the sentence says what was waited for.
pub fn wait_for(what: &str, limit: Duration, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    loop {
        if condition()? {
            return Ok(());
        }
        if start.elapsed() > limit {
            return Err(Error(format!("waited {limit:?} in vain for {what}")));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// The receiving end of a machine's `/dev/log`.
struct SystemLog {
    socket_path: PathBuf,
    socket: UnixDatagram,
    entries: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
    marks: AtomicU64,
}

impl SystemLog {
    // A thread reads all the time: the kernel queues only net.unix.max_dgram_qlen (10) datagrams, and the eleventh
    // logger(1) would wait for ever.
    fn listen(path: &Path) -> Result<Self> {
        let act = || format!("listen on {}", path.display());
        let socket = UnixDatagram::bind(path).map_err(Error::in_act(act()))?;
        let receiver = socket.try_clone().map_err(Error::in_act(act()))?;
        let entries = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&entries);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 8192];
            // A length of 0 is the shutdown in drop: nobody logs an empty datagram.
            while let Ok(length @ 1..) = receiver.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                lock(&sink).push(text);
            }
        });
        Ok(Self { socket_path: path.to_owned(), socket, entries, reader: Some(reader), marks: AtomicU64::new(0) })
    }

    // A datagram of our own behind all others: once the reader has seen it, it has seen the others too.
    fn entries(&self) -> Result<Vec<String>> {
        let number = self.marks.fetch_add(1, Ordering::Relaxed);
        let mark = format!("end of log {number}");
        let act = || format!("read the system log at {}", self.socket_path.display());
        let sender = UnixDatagram::unbound().map_err(Error::in_act(act()))?;
        sender.send_to(mark.as_bytes(), &self.socket_path).map_err(Error::in_act(act()))?;
        wait_for("the system log's reader", Duration::from_secs(5), || Ok(lock(&self.entries).contains(&mark)))?;
        let mut entries = lock(&self.entries);
        entries.retain(|entry| *entry != mark);
        Ok(entries.clone())
    }
}

impl Drop for SystemLog {
    fn drop(&mut self) {
        // Fails only for a socket that is shut down already.
        let _ = self.socket.shutdown(Shutdown::Both);
        if let Some(reader) = self.reader.take() {
            // A reader that panicked has nothing more to say here.
            let _ = reader.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_private_folders_and_devices() {
        let machine = Machine::new("dom0").unwrap();
        machine.write_file("/run/here", "x").unwrap();
        machine.write_file("/etc/network/interfaces", "x").unwrap();
        machine.write_file("/var/log/xen/hotplug.log", "x").unwrap();
        assert_eq!(machine.shell("cat /var/run/here").unwrap(), "x");
        assert!(!Path::new("/run/here").exists());
        assert!(!Path::new("/var/log/xen/hotplug.log").exists());
        assert_eq!(machine.shell("ls /sys/class/net; pwd").unwrap(), "lo\n/\n");
        let environment = machine.run("env", [""; 0]).unwrap();
        assert_eq!(environment, format!("PATH={ROOT_PATH}\n"));
        assert!(machine.ip("addr show lo").unwrap().contains("127.0.0.1/8"));
    }

    #[test]
    fn an_error_holds_the_words_and_the_complaint() {
        let machine = Machine::new("dom0").unwrap();
        let error = machine.ip("link show nothing").unwrap_err().to_string();
        assert_eq!(error, "`ip link show nothing` in dom0 ended with exit status 1: Device \"nothing\" does not exist.");
    }

    #[test]
    fn connected_machines_reach_each_other() {
        let one = Machine::new("one").unwrap();
        let other = Machine::new("other").unwrap();
        connect(&one, "eth0", &other, "eth1").unwrap();
        one.ip("addr add 192.0.2.1/24 dev eth0").unwrap();
        one.ip("link set eth0 up").unwrap();
        other.ip("addr add 192.0.2.2/24 dev eth1").unwrap();
        other.ip("link set eth1 up").unwrap();
        one.run("ping", ["-c1", "-W5", "192.0.2.2"]).unwrap();
        let mac = other.read_sysfs_address("eth1");
        assert_eq!(mac, stable_mac("other", "eth1"));
    }

    #[test]
    fn processes_end_with_their_machine() {
        let machine = Machine::new("dom0").unwrap();
        machine.shell("sleep 1000 >/dev/null 2>&1 &").unwrap();
        let processes = machine.processes().unwrap();
        assert_eq!(processes.len(), 1);
        let folder = format!("/proc/{}", processes[0]);
        drop(machine);
        wait_for("the end of sleep", Duration::from_secs(5), || Ok(!Path::new(&folder).exists())).unwrap();
    }

    #[test]
    fn the_system_log_is_read_in_full() {
        let machine = Machine::new("dom0").unwrap();
        machine.shell("for i in $(seq 30); do logger -p daemon.err -t test line $i; done").unwrap();
        let log = machine.system_log().unwrap();
        assert_eq!(log.len(), 30);
        // daemon (3) * 8 + err (3): RFC 3164, 4.1.1.
        assert!(log[29].starts_with("<27>"), "{}", log[29]);
        assert!(log[29].ends_with("line 30"), "{}", log[29]);
    }

    #[test]
    fn kernel_variables_are_the_machines_own() {
        let machine = Machine::new("dom0").unwrap();
        machine.set_sysctl("net.ipv4.ip_forward", "1").unwrap();
        assert_eq!(machine.sysctl("net.ipv4.ip_forward").unwrap(), "1");
        assert_eq!(machine.shell("cat /proc/sys/net/ipv4/ip_forward").unwrap(), "1\n");
        let other = Machine::new("other").unwrap();
        assert_eq!(other.sysctl("net.ipv4.ip_forward").unwrap(), "0");
    }

    impl Machine {
        fn read_sysfs_address(&self, device: &str) -> String {
            self.run("cat", [format!("/sys/class/net/{device}/address")]).unwrap().trim().to_owned()
        }
    }
}
