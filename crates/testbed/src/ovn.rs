//! Two simulated Xen hosts that share logical switches: Debian's real OVN over the userspace datapath of Open vSwitch.
//!
//! ```text
//!              central: northbound and southbound database, ovn-northd
//!                 192.0.2.1 ── mgmt0 of each host (the kernel's own network)
//!     host1: ovn-controller, br-int                    host2: ovn-controller, br-int
//!            br-phy 198.51.100.1 ── eth0 ══ Geneve ══ eth0 ── br-phy 198.51.100.2
//! ```
//!
//! The tunnels leave by br-phy because the userspace datapath sends them itself, and looks only at devices of its own.

use std::time::Duration;

use crate::guest::{Dom0, Guest, Hotplug, Nic, Vif};
use crate::machine::{Error, Machine, Programs, Result, Running, connect, wait_for};
use crate::openvswitch::{RUN_FOLDER, Switch, start, start_database};

/// Where OVN's daemons keep their sockets.
const OVN_FOLDER: &str = "/run/ovn";

/// How long a change may take to reach every host.
const SYNC_LIMIT: &str = "--timeout=30";

/// The machines of a small fleet.
pub struct Fleet {
    /// The hosts.
    pub hosts: [FleetHost; 2],
    central: Machine,
    // Only kept alive.
    _daemons: [Running; 3],
}

/// One host of a fleet.
pub struct FleetHost {
    /// The host and its XenStore.
    pub dom0: Dom0,
    /// Its switch.
    pub switch: Switch,
    // Only kept alive.
    _controller: Running,
}

impl Fleet {
    /// Starts the databases and the hosts.
    ///
    /// # Errors
    /// When the programs cannot be had, or do not start.
    pub fn start() -> Result<Self> {
        let central = Machine::new("central")?;
        let packages = crate::openvswitch::packages()?;
        crate::originals::lay_over_usr(&central, &[&packages])?;
        central.ip("link add mgmt type bridge stp_state 0 forward_delay 0")?;
        central.ip("address add 192.0.2.1/24 dev mgmt")?;
        central.ip("link set mgmt up")?;
        let north = start_database(&central, OVN_FOLDER, "ovnnb_db", "/usr/share/ovn/ovn-nb.ovsschema", &[])?;
        let south = start_database(&central, OVN_FOLDER, "ovnsb_db", "/usr/share/ovn/ovn-sb.ovsschema", &["ptcp:6642:192.0.2.1"])?;
        central.run("ovn-nbctl", ["--no-wait", "init"])?;
        central.run("ovn-sbctl", ["init"])?;
        let mut command = central.command("ovn-northd");
        command.arg(format!("--ovnnb-db=unix:{OVN_FOLDER}/ovnnb_db.sock"));
        command.arg(format!("--ovnsb-db=unix:{OVN_FOLDER}/ovnsb_db.sock"));
        let northd = start(&central, &mut command, "ovn-northd")?;
        let dom0s = [Dom0::new("host1")?, Dom0::new("host2")?];
        connect(dom0s[0].machine(), "eth0", dom0s[1].machine(), "eth0")?;
        let [one, other] = dom0s;
        let hosts = [FleetHost::start(&central, one, 1)?, FleetHost::start(&central, other, 2)?];
        Ok(Self { hosts, central, _daemons: [north, south, northd] })
    }

    /// Runs ovn-nbctl on the central machine with these words, and waits until every host has followed.
    ///
    /// # Errors
    /// When it fails, or a host does not follow in time.
    pub fn nbctl(&self, words: &[&str]) -> Result<String> {
        self.central.run("ovn-nbctl", [&["--wait=hv", SYNC_LIMIT], words].concat())
    }

    /// Makes a port of a logical switch for this Ethernet and this IP address, and lets nobody send by it with others.
    ///
    /// # Errors
    /// As [`Fleet::nbctl`].
    pub fn add_logical_port(&self, switch: &str, port: &str, addresses: &str) -> Result<()> {
        let steps = [
            &["--may-exist", "ls-add", switch][..],
            &["--", "lsp-add", switch, port],
            &["--", "lsp-set-addresses", port, addresses],
            &["--", "lsp-set-port-security", port, addresses],
        ];
        self.nbctl(&steps.concat()).map(drop)
    }

    /// Waits until a port of a logical switch is bound to a host, and the host's flows are there.
    ///
    /// # Errors
    /// When it is not within 20 s.
    pub fn await_bound(&self, port: &str) -> Result<()> {
        wait_for(&format!("a host to bind the logical port {port}"), Duration::from_secs(20), || {
            Ok(self.central.run("ovn-nbctl", ["get", "logical_switch_port", port, "up"])?.trim() == "true")
        })?;
        self.nbctl(&["sync"]).map(drop)
    }
}

impl FleetHost {
    fn start(central: &Machine, dom0: Dom0, number: u8) -> Result<Self> {
        let machine = dom0.machine();
        machine.install_scripts(&Programs::ours()?)?;
        let port = format!("host{number}");
        connect(central, &port, machine, "mgmt0")?;
        central.ip(&format!("link set {port} master mgmt up"))?;
        machine.ip(&format!("address add 192.0.2.{}/24 dev mgmt0", 10 + number))?;
        machine.ip("link set mgmt0 up")?;
        // The address is br-phy's, and so is the answer who has it; the kernel would answer for it on eth0 too.
        machine.set_sysctl("net/ipv4/conf/eth0/arp_ignore", "1")?;
        machine.ip("link set eth0 up")?;

        let switch = Switch::start(machine, &[])?;
        switch.add_bridge("br-phy")?;
        switch.vsctl("add-port br-phy eth0")?;
        machine.ip(&format!("address add 198.51.100.{number}/24 dev br-phy"))?;
        machine.ip("link set br-phy up")?;
        switch.vsctl(&format!(
            "set open_vswitch . external_ids:system-id=host{number} external_ids:ovn-remote=tcp:192.0.2.1:6642 \
             external_ids:ovn-encap-type=geneve external_ids:ovn-encap-ip=198.51.100.{number} \
             external_ids:ovn-bridge-datapath-type=netdev"
        ))?;
        machine.shell(&format!("mkdir -p {OVN_FOLDER}"))?;
        let mut command = machine.command("ovn-controller");
        command.arg(format!("unix:{RUN_FOLDER}/db.sock"));
        let controller = start(machine, &mut command, "ovn-controller")?;
        wait_for(&format!("br-int on {}", machine.name()), Duration::from_secs(20), || {
            Ok(switch.vsctl("br-exists br-int").is_ok())
        })?;
        Ok(Self { dom0, switch, _controller: controller })
    }

    /// Starts a guest whose only card is put on br-int by `vif-openvswitch`, as libxl would. What libxl writes of the guest itself is there
    /// too: its name and its UUID.
    ///
    /// # Errors
    /// When the program fails, or does not tell that it is done.
    pub fn start_guest(&self, domain: u16, name: &str, uuid: &str, vifname: Option<&str>) -> Result<(Guest, Vif)> {
        let guest = Guest::new(domain)?;
        let nic =
            Nic { script: Some("vif-openvswitch".to_owned()), vifname: vifname.map(str::to_owned), ..Nic::on_bridge("br-int") };
        write_identity(&self.dom0, domain, name, uuid)?;
        let vif = guest.attach(&self.dom0, nic)?;
        vif.hotplug(Hotplug::Online)?.success()?;
        match vif.backend("hotplug-status")?.as_deref() {
            Some("connected") => Ok((guest, vif)),
            other => Err(Error::new(format!("hotplug-status of {} is {other:?}", vif.name()))),
        }
    }
}

/// What libxl writes of a guest (libxl_create.c, `libxl__domain_make()`).
///
/// # Errors
/// When the store refuses.
pub fn write_identity(dom0: &Dom0, domain: u16, name: &str, uuid: &str) -> Result<()> {
    let store = dom0.store();
    store.write(&format!("/local/domain/{domain}/vm"), &format!("/vm/{uuid}"))?;
    store.write(&format!("/vm/{uuid}/name"), name)?;
    store.write(&format!("/vm/{uuid}/uuid"), uuid)
}
