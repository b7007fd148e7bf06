//! Debian's real firewalld in a machine, with a system bus of its own; `tests/fetch-firewalld` brings it.

use std::time::Duration;

use crate::machine::{Machine, Result, Running, wait_for};
use crate::originals::{fetched, lay_over_usr};

/// How long its parts may take to start.
const START_LIMIT: Duration = Duration::from_secs(30);

/// The system bus: everybody in the machine may do everything.
const BUS: &str = "<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
    <policy context='default'><allow send_destination='*'/><allow receive_sender='*'/><allow own='*'/><allow user='*'/></policy></busconfig>";

/// A running firewalld. It ends with this, and leaves its rules.
pub struct Firewalld {
    _firewalld: Running,
    _bus: Running,
}

impl Firewalld {
    /// Starts it as Debian has it, with every interface in `zone`, and waits until its rules are there. It looks for no way back to IPv6
    /// sources: to the networks of bridged guests dom0 has none.
    ///
    /// # Errors
    /// When it cannot be had, or does not start.
    pub fn start(machine: &Machine, zone: &str) -> Result<Self> {
        let folder = fetched("tests/fetch-firewalld")?;
        lay_over_usr(machine, &[&folder])?;
        machine.write_file("/run/bus.conf", BUS)?;
        machine.shell(&format!(
            "mkdir -p /run/dbus; cp -r {}/etc/firewalld /etc/; sed -i 's/^DefaultZone=.*/DefaultZone={zone}/; s/^IPv6_rpfilter=.*/IPv6_rpfilter=no/' /etc/firewalld/firewalld.conf",
            folder.display()
        ))?;
        let start = |program: &str, words: &[&str]| machine.spawn(machine.command(program).args(words));
        let bus = start("dbus-daemon", &["--config-file=/run/bus.conf", "--nofork", "--nopidfile"])?;
        wait_for("the system bus", START_LIMIT, || Ok(machine.path("/run/dbus/system_bus_socket").exists()))?;
        let firewalld = start("firewalld", &["--nofork", "--nopid", "--log-file=/run/firewalld.log"])?;
        wait_for("firewalld's rules", START_LIMIT, || {
            Ok(machine.shell("nft list chain inet firewalld filter_FORWARD_POLICIES_pre").is_ok())
        })?;
        Ok(Self { _firewalld: firewalld, _bus: bus })
    }
}
