//! Debian's Open vSwitch in a machine: the real server and the real switch, with its userspace datapath, so that no kernel module is needed.
//!
//! All of it is in the machine's own namespaces and its own /run; `tests/fetch-ovn` brings the programs.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::machine::{Error, Machine, Result, Running, stable_mac, wait_for};
use crate::originals::{fetched, lay_over_usr};

/// How long a daemon may take to start.
pub const START_LIMIT: Duration = Duration::from_secs(20);

/// Where the switch keeps its sockets.
pub const RUN_FOLDER: &str = "/run/openvswitch";

/// The folder that Open vSwitch and OVN were unpacked to; fetched where it is missing.
///
/// # Errors
/// When they can neither be found nor fetched.
pub fn packages() -> Result<PathBuf> {
    fetched("tests/fetch-ovn")
}

/// A running switch: `ovsdb-server` and `ovs-vswitchd`. Both end with it.
pub struct Switch {
    machine: Machine,
    daemon: Option<Running>,
    // Only kept alive.
    _server: Running,
}

impl Switch {
    /// Puts the programs into a machine, with those of other folders before them, and starts a switch without bridges.
    ///
    /// # Errors
    /// When the programs cannot be had, or do not start.
    pub fn start(machine: &Machine, others: &[&Path]) -> Result<Self> {
        let packages = packages()?;
        let folders: Vec<&Path> = others.iter().copied().chain([packages.as_path()]).collect();
        lay_over_usr(machine, &folders)?;
        let server = start_database(machine, RUN_FOLDER, "db", "/usr/share/openvswitch/vswitch.ovsschema", &[])?;
        machine.run("ovs-vsctl", ["--no-wait", "init"])?;
        let mut switch = Self { machine: machine.clone(), daemon: None, _server: server };
        switch.start_daemon()?;
        Ok(switch)
    }

    /// Starts ovs-vswitchd, where it does not run.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_daemon(&mut self) -> Result<()> {
        let mut command = self.machine.command("/usr/lib/openvswitch-switch/ovs-vswitchd");
        command.args([&format!("unix:{RUN_FOLDER}/db.sock"), "--pidfile", "--disable-system"]);
        self.daemon = Some(start(&self.machine, &mut command, "ovs-vswitchd")?);
        Ok(())
    }

    /// Ends ovs-vswitchd: the database goes on, and nobody acts on it.
    pub fn kill_daemon(&mut self) {
        self.daemon = None;
    }

    /// Makes a bridge of the userspace datapath. Its addresses and that of the datapath's own device are the same at each run.
    ///
    /// # Errors
    /// When there is one already, or the switch does not make it in time.
    pub fn add_bridge(&self, bridge: &str) -> Result<()> {
        let mac = |device| stable_mac(self.machine.name(), device);
        self.vsctl(&format!(
            "add-br {bridge} -- set bridge {bridge} datapath_type=netdev other_config:hwaddr=\"{}\"",
            mac(bridge)
        ))?;
        self.machine.ip(&format!("link set ovs-netdev address {}", mac("ovs-netdev"))).map(drop)
    }

    /// Runs ovs-vsctl with these words, split at white space, and at most 20 s of patience.
    ///
    /// # Errors
    /// When it fails.
    pub fn vsctl(&self, words: &str) -> Result<String> {
        self.machine.run("ovs-vsctl", std::iter::once("--timeout=20").chain(words.split_whitespace()))
    }

    /// What the database says of every port, for comparison: its bridge, VLANs and external ids.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn ports(&self) -> Result<serde_json::Value> {
        let mut ports = serde_json::Map::new();
        for bridge in self.vsctl("list-br")?.lines() {
            for port in self.vsctl(&format!("list-ports {bridge}"))?.lines() {
                let columns = self.vsctl(&format!("get port {port} tag trunks"))?;
                let ids = self.vsctl(&format!("get interface {port} external_ids"))?;
                let vlans = columns.lines().collect::<Vec<_>>().join(" ");
                let shown = serde_json::json!({ "bridge": bridge, "tag and trunks": vlans, "external ids": pairs(&ids) });
                ports.insert(port.to_owned(), shown);
            }
        }
        Ok(ports.into())
    }
}

/// `{a=b, "c d"="e"}` as a list of its pairs.
fn pairs(text: &str) -> Vec<String> {
    let inside = text.trim().trim_start_matches('{').trim_end_matches('}');
    inside.split(", ").filter(|pair| !pair.is_empty()).map(|pair| pair.replace('"', "")).collect()
}

/// Makes an empty database of this schema and starts a server for it, which listens on the socket `NAME.sock` in the folder, and at the
/// other `remotes`.
///
/// # Errors
/// When it does not listen in time.
pub fn start_database(machine: &Machine, folder: &str, name: &str, schema: &str, remotes: &[&str]) -> Result<Running> {
    let (file, path) = (format!("{folder}/{name}.db"), format!("{folder}/{name}.sock"));
    machine.shell(&format!("mkdir -p {folder} && ovsdb-tool create {file} {schema}"))?;
    let mut command = machine.command("ovsdb-server");
    command.args([&file, &format!("--remote=punix:{path}"), &format!("--unixctl={folder}/{name}.ctl")]);
    command.args(remotes.iter().map(|remote| format!("--remote={remote}")));
    let running = start(machine, &mut command, name)?;
    // The socket has its name a moment before it takes connections.
    let answers = || machine.inside(|| UnixStream::connect(&path).is_ok());
    wait_for(&format!("the socket {path} of {}", machine.name()), START_LIMIT, answers)?;
    Ok(running)
}

/// Starts a daemon of a machine that stays in the foreground; what it says goes to `/var/log/NAME.log`.
pub(crate) fn start(machine: &Machine, command: &mut Command, name: &str) -> Result<Running> {
    let path = machine.path(format!("/var/log/{name}.log"));
    let log = || File::create(&path).map_err(Error::in_act(format!("write {}", path.display())));
    machine.spawn(command.stdout(Stdio::null()).stderr(log()?))
}
