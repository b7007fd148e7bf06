//! README's first command, behind `scripts/demo`: a simulated Xen host gets a bridge and two guests, and is put back. With the word `ovn`: two
//! hosts share a logical switch.
//!
//! Everything happens in namespaces this program makes. They end with it, however it ends.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use testbed::guest::{Dom0, Guest, Hotplug, Nic, Outcome, Vif};
use testbed::machine::{Error, Machine, Programs, Result, connect, wait_for};
use testbed::state::State;

const DOM0: &str = "192.168.1.100";
const ROUTER: &str = "192.168.1.1";
const OUTSIDE: &str = "198.51.100.10";

/// The widest text of a step, so that the times stand in a column.
const COLUMN: usize = 68;

#[path = "demo/ovn.rs"]
mod ovn;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let (what, show): (_, fn() -> Result<()>) = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => ("A simulated Xen host with two guests", show),
        ["ovn"] => ("Two simulated Xen hosts with a guest each, on one logical switch of OVN", ovn::show),
        _ => {
            eprintln!("demo takes the word ovn, or none");
            return ExitCode::FAILURE;
        }
    };
    println!("{what}, in namespaces of its own. Nothing of this machine is touched.\n");
    let start = Instant::now();
    match show() {
        Ok(()) => {
            println!("\nDone in {:.1} s. Nothing is left behind.", start.elapsed().as_secs_f32());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("\nThe demo failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show() -> Result<()> {
    let net = step("dom0 (eth0 192.168.1.100), a router (192.168.1.1), a host outside", Network::new)?;
    let dom0 = net.dom0.machine();
    let before = step("note what the kernel of dom0 shows", || State::settled(dom0))?;
    step("dom0 pings the outside", || ping(dom0, OUTSIDE))?;

    println!();
    step("network-bridge start", || start_bridge(dom0))?;
    step("dom0 pings the outside through the bridge", || ping(dom0, OUTSIDE))?;
    let first = step("guest 1 (192.168.1.101): vif-bridge online", || net.start_guest(1))?;
    let second = step("guest 2 (192.168.1.102): vif-bridge online", || net.start_guest(2))?;
    step("guest 1 pings guest 2", || ping(first.guest.machine(), "192.168.1.102"))?;
    step("guest 2 pings dom0", || ping(second.guest.machine(), DOM0))?;
    step("guest 1 pings the outside", || ping(first.guest.machine(), OUTSIDE))?;
    step("the outside pings guest 2", || ping(&net.outside, "192.168.1.102"))?;

    println!("\n$ network-bridge status");
    for line in network_bridge(dom0, "status")?.lines() {
        println!("    {line}");
    }

    println!();
    for running in [first, second] {
        let name = format!("guest {} shuts down: vif-bridge offline", running.number);
        step(&name, || running.shut_down())?;
    }
    step("network-bridge stop", || network_bridge(dom0, "stop"))?;
    step("dom0 pings the outside", || ping(dom0, OUTSIDE))?;
    step("links, addresses, routes, rules, settings of dom0 are as before", || {
        let difference = before.difference(&State::settled(dom0)?);
        if difference.is_empty() { Ok(()) } else { Err(Error::new(format!("they are not:\n{difference}"))) }
    })
}

/// Does one step and prints a line about it. On a terminal the line is there from the beginning, so that a person sees what is
/// being waited for.
fn step<T>(what: &str, act: impl FnOnce() -> Result<T>) -> Result<T> {
    if io::stdout().is_terminal() {
        print!("  … {what}\r");
        // Progress that cannot be shown is no reason to stop.
        let _ = io::stdout().flush();
    }
    let start = Instant::now();
    let result = act();
    let mark = if result.is_ok() { '✓' } else { '✗' };
    println!("  {mark} {what:COLUMN$} {:>7.1} ms", start.elapsed().as_secs_f64() * 1000.0);
    result
}

/// dom0 and the world it lives in.
struct Network {
    dom0: Dom0,
    outside: Machine,
    // Only kept alive.
    _router: Machine,
}

impl Network {
    fn new() -> Result<Self> {
        let programs = Programs::ours()?;
        let (dom0, router, outside) = (Dom0::new("dom0")?, Machine::new("router")?, Machine::new("outside")?);
        dom0.machine().install_scripts(&programs)?;

        connect(dom0.machine(), "eth0", &router, "lan0")?;
        connect(&router, "wan0", &outside, "eth0")?;
        set_up(dom0.machine(), "eth0", &format!("{DOM0}/24"))?;
        set_up(&router, "lan0", &format!("{ROUTER}/24"))?;
        set_up(&router, "wan0", "198.51.100.1/24")?;
        set_up(&outside, "eth0", &format!("{OUTSIDE}/24"))?;
        router.set_sysctl("net.ipv4.ip_forward", "1")?;
        dom0.machine().ip(&format!("route add default via {ROUTER}"))?;
        outside.ip("route add default via 198.51.100.1")?;
        Ok(Self { dom0, outside, _router: router })
    }

    fn start_guest(&self, number: u16) -> Result<RunningGuest> {
        let guest = Guest::new(number)?;
        let vif = guest.attach(&self.dom0, Nic::on_bridge("eth0"))?;
        vif.hotplug(Hotplug::Online)?.success()?;
        match vif.backend("hotplug-status")?.as_deref() {
            Some("connected") => {}
            other => return Err(Error::new(format!("hotplug-status of {} is {other:?}", vif.name()))),
        }
        guest.configure(0, &format!("192.168.1.{}/24", 100 + number), Some(ROUTER))?;
        Ok(RunningGuest { number, guest, vif })
    }
}

struct RunningGuest {
    number: u16,
    guest: Guest,
    vif: Vif,
}

impl RunningGuest {
    // The order on a real host: netback takes the device away, then libxl calls the program.
    fn shut_down(self) -> Result<()> {
        self.vif.disappear()?;
        self.vif.hotplug(Hotplug::Offline)?.success()?;
        self.vif.remove_store()
    }
}

fn set_up(machine: &Machine, device: &str, address: &str) -> Result<()> {
    machine.ip(&format!("address add {address} dev {device}"))?;
    machine.ip(&format!("link set {device} up")).map(drop)
}

// The device that was eth0 must be a port of the bridge that is eth0 now.
fn start_bridge(dom0: &Machine) -> Result<()> {
    network_bridge(dom0, "start")?;
    let state = State::of(dom0)?;
    if state.part("links", "peth0")["master"] == "eth0" && state.part("links", "eth0")["linkinfo"]["info_kind"] == "bridge" {
        return Ok(());
    }
    Err(Error::new("network-bridge start left no bridge eth0 with the port peth0"))
}

fn network_bridge(dom0: &Machine, command: &str) -> Result<String> {
    let outcome = Outcome::of(dom0.command("/etc/xen/scripts/network-bridge").arg(command))?;
    let status = outcome.success().map_err(Error::in_act(format!("run network-bridge {command}")))?;
    Ok(status.stdout)
}

// A link that has just come up may lose the first packets.
fn ping(from: &Machine, address: &str) -> Result<()> {
    wait_for(&format!("an answer of {address} to {}", from.name()), Duration::from_secs(5), || {
        Ok(from.run("ping", ["-n", "-q", "-c1", "-W1", address]).is_ok())
    })
}
