//! `scripts/demo ovn`: guests on two hosts share a logical switch.

use std::time::Duration;

use testbed::guest::Hotplug;
use testbed::machine::{Error, Machine, Result, wait_for};
use testbed::ovn::Fleet;

use crate::{ping, step};

/// The guests' UUIDs, as a configuration file gives them.
const FIRST: &str = "6f1e0a5c-41b7-4b0e-9d35-0d0c8f2b7a01";
const SECOND: &str = "6f1e0a5c-41b7-4b0e-9d35-0d0c8f2b7a02";

/// Shows it.
pub fn show() -> Result<()> {
    let fleet = step("OVN's databases, and two hosts with Open vSwitch and ovn-controller", Fleet::start)?;
    let [one, other] = &fleet.hosts;
    step("logical switch `office`: ports web0 (10.9.0.1) and UUID-0 (10.9.0.2)", || {
        fleet.add_logical_port("office", "web0", "00:16:3e:00:01:00 10.9.0.1")?;
        fleet.add_logical_port("office", &format!("{SECOND}-0"), "00:16:3e:00:02:00 10.9.0.2")
    })?;

    println!();
    let name = "guest 1 on host 1, vifname=web0: vif-openvswitch online";
    let (first, first_vif) = step(name, || one.start_guest(1, "web", FIRST, Some("web0")))?;
    let name = "guest 2 on host 2, no vifname: vif-openvswitch online";
    let (second, second_vif) = step(name, || other.start_guest(2, "db", SECOND, None))?;
    first.configure(0, "10.9.0.1/24", None)?;
    second.configure(0, "10.9.0.2/24", None)?;
    step("OVN has bound both ports", || {
        fleet.await_bound("web0")?;
        fleet.await_bound(&format!("{SECOND}-0"))
    })?;
    step("guest 1 pings guest 2 (Geneve between the hosts)", || ping(first.machine(), "10.9.0.2"))?;
    step("guest 2 pings guest 1", || ping(second.machine(), "10.9.0.1"))?;

    println!();
    first.machine().ip("address add 10.9.0.66/24 dev eth0")?;
    step("guest 1 pings with a source that is not its own: no answer", || no_answer(first.machine()))?;
    step("without port security the same ping is answered", || {
        fleet.nbctl(&["lsp-set-port-security", "web0"])?;
        wait_for("an answer to the other source", Duration::from_secs(5), || Ok(spoofed(first.machine())))
    })?;
    step("with port security again: no answer", || {
        fleet.nbctl(&["lsp-set-port-security", "web0", "00:16:3e:00:01:00 10.9.0.1"])?;
        no_answer(first.machine())
    })?;
    step("guest 1 still pings guest 2", || ping(first.machine(), "10.9.0.2"))?;

    println!("\n$ ovs-vsctl get interface web0 external_ids    # on host 1");
    println!("    {}", one.switch.vsctl("get interface web0 external_ids")?.trim());

    println!();
    for (host, vif, name) in [(one, first_vif, "web0".to_owned()), (other, second_vif, "vif2.0".to_owned())] {
        step(&format!("the guest of {name} shuts down: vif-openvswitch offline"), || {
            vif.disappear()?;
            vif.hotplug(Hotplug::Offline)?.success()?;
            match host.switch.vsctl("list-ports br-int")?.lines().any(|port| port == name) {
                true => Err(Error::new(format!("the port {name} is still there"))),
                false => Ok(()),
            }
        })?;
    }
    Ok(())
}

/// Whether a ping with another source than the port's own is answered.
fn spoofed(guest: &Machine) -> bool {
    guest.run("ping", ["-n", "-q", "-c1", "-W1", "-I", "10.9.0.66", "10.9.0.2"]).is_ok()
}

fn no_answer(guest: &Machine) -> Result<()> {
    match (0..2).any(|_| spoofed(guest)) {
        true => Err(Error::new("it was answered")),
        false => Ok(()),
    }
}
