//! One of two hosts on which the same case is played.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testbed::guest::{Dom0, Guest, Hotplug, Outcome, Vif};
use testbed::machine::{Error, Machine, Programs, Result, stable_mac};
use testbed::openvswitch::Switch;
use testbed::originals::Originals;
use testbed::state::State;

use crate::case::{Case, Ending, Step};

/// Where the hooks of a case leave what they saw.
const NOTES: &str = "/run/notes";

/// Whose program is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// Debian's script.
    Original,
    /// The executable of this project.
    Ours,
}

/// What could be seen of one run of the program.
pub struct Seen {
    /// Which run it was: its number and words.
    pub run: String,
    /// The kernel's state before the run.
    pub kernel_before: State,
    /// The kernel's state after the run.
    pub kernel: State,
    /// The exit status, the store, what hooks noted, and the files that the case named.
    pub others: Value,
    /// What the program said. It is not compared, but shown where a comparison fails.
    pub outcome: Outcome,
}

/// Plays a case from its beginning on a fresh host.
///
/// # Errors
/// When the host cannot be made, or a step other than `run` fails.
pub fn play(case: &Case, make: Make) -> Result<Vec<Seen>> {
    let mut twin = Twin::new(case, make)?;
    for step in &case.steps {
        twin.perform(step)?;
    }
    Ok(twin.seen)
}

struct Twin {
    make: Make,
    seen: Vec<Seen>,
    variables: Vec<(String, Option<String>)>,
    files: BTreeSet<String>,
    // Ends before its machine.
    switch: Option<Switch>,
    vif: Vif,
    dom0: Dom0,
    // Only kept alive.
    _guest: Guest,
}

impl Twin {
    fn new(case: &Case, make: Make) -> Result<Self> {
        let dom0 = Dom0::new("dom0")?;
        let guest = Guest::new(case.domain)?;
        for machine in [dom0.machine(), guest.machine()] {
            // Nobody else is on these links: do not wait a second for each link-local address.
            machine.set_sysctl("net.ipv6.conf.default.accept_dad", "0")?;
        }
        let originals = Originals::fetched()?;
        let programs = match make {
            Make::Original => originals.programs(),
            Make::Ours => Programs::ours()?,
        };
        // Ours call no tool; but hooks do.
        let has_hooks = case.steps.iter().any(|step| matches!(step, Step::Hook(..)));
        let has_switch = case.steps.iter().any(|step| matches!(step, Step::Switch(..)));
        let tools = (make == Make::Original || has_hooks).then(|| originals.folder());
        let switch = match (has_switch, tools) {
            (true, tools) => Some(Switch::start(dom0.machine(), tools.as_slice())?),
            (false, Some(_)) => originals.install_tools(dom0.machine()).map(|()| None)?,
            (false, None) => None,
        };
        dom0.machine().install_scripts(&programs)?;
        dom0.machine().shell(&format!("mkdir -p {NOTES}"))?;
        let vif = guest.attach(&dom0, case.nic.clone())?;
        // The guest's side is up from the beginning, so that the carrier follows dom0's side alone.
        guest.machine().ip(&format!("link set eth{} up", case.nic.handle))?;
        Ok(Self { make, seen: Vec::new(), variables: Vec::new(), files: BTreeSet::new(), switch, vif, dom0, _guest: guest })
    }

    fn perform(&mut self, step: &Step) -> Result<()> {
        let machine = self.dom0.machine();
        match step {
            Step::Bridge(name) => make_bridge(machine, name),
            Step::Switch(name) => self.switch.iter().try_for_each(|switch| switch.add_bridge(name)),
            Step::Card(name, addresses) => make_card(machine, name, addresses),
            Step::File(path, line) => {
                self.files.insert(path.clone());
                if line.is_empty() { Ok(()) } else { add_line(machine, path, line) }
            }
            Step::Program(path, line) => {
                self.files.insert(path.clone());
                if machine.read_file(path).is_err() {
                    machine.write_program(path, "#!/bin/sh\n")?;
                }
                add_line(machine, path, line)
            }
            Step::Host(command) => machine.shell(command).map(drop),
            Step::Hook(name, line) => {
                add_line(machine, &hook(name), line)?;
                machine.run("chmod", ["755", &hook(name)]).map(drop)
            }
            Step::PlainFile(name, line) => add_line(machine, &hook(name), line),
            Step::Store(path, value) if path.starts_with('/') => self.dom0.store().write(path, value),
            Step::Store(key, value) => self.dom0.store().write(&format!("{}/{key}", self.vif.backend_path()), value),
            Step::Variable(name, value) => {
                self.variables.push((name.clone(), value.clone()));
                Ok(())
            }
            Step::Run(words, ending) => self.run(words, *ending),
            Step::DeviceGone => self.vif.disappear(),
            Step::StoreGone => self.vif.remove_store(),
        }
    }

    fn run(&mut self, words: &[String], ending: Ending) -> Result<()> {
        let hotplug = match words.iter().any(|word| word == "add" || word == "remove") {
            true => Hotplug::Add,
            false => Hotplug::Online,
        };
        let mut command = self.vif.hotplug_command(hotplug);
        command.args(words);
        for (name, value) in &self.variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let kernel_before = State::settled(self.dom0.machine())?;
        let outcome = Outcome::of(&mut command)?;
        if self.make == Make::Original && (outcome.status == Some(0)) != (ending == Ending::Success) {
            let log = self.dom0.machine().read_file("/var/log/xen/xen-hotplug.log").unwrap_or_default();
            return Err(Error::new(format!("the original ended with {outcome}, which is not {ending:?}; its log: {log}")));
        }
        let mut others =
            json!({ "exit status": outcome.status, "store": self.store(), "notes": self.notes()?, "files": self.files() });
        if let Some(switch) = &self.switch {
            others["switch"] = switch.ports()?;
        }
        let kernel = State::settled(self.dom0.machine())?;
        let run = format!("run {}: {}", self.seen.len() + 1, words.join(" "));
        self.seen.push(Seen { run, kernel_before, kernel, others, outcome });
        Ok(())
    }

    // The words of an error are the program's own; that there is one, is not.
    fn store(&self) -> Value {
        let nodes = self.dom0.server().snapshot().into_iter().map(|(path, value)| {
            let text = String::from_utf8_lossy(&value).into_owned();
            let shown = if path.ends_with("/hotplug-error") && !text.is_empty() { "a sentence".to_owned() } else { text };
            (path, Value::from(shown))
        });
        Value::Object(nodes.collect())
    }

    fn notes(&self) -> Result<Value> {
        let text = self.dom0.machine().shell(&format!("cd {NOTES}; grep -r '' . | sort"))?;
        Ok(text.lines().map(Value::from).collect())
    }

    // What nobody could read is shown as no file.
    fn files(&self) -> Value {
        let lines = |path: &String| {
            let text = self.dom0.machine().read_file(path).unwrap_or_default();
            (path.clone(), text.lines().map(Value::from).collect())
        };
        Value::Object(self.files.iter().map(lines).collect())
    }
}

// A bridge without any port has no carrier, and the first port of its life gives it a link-local address for good. A port that
// is up from the beginning keeps the bridge out of what is compared, as a network card does on a real host.
fn make_bridge(machine: &Machine, name: &str) -> Result<()> {
    let mac = |device: &str| stable_mac("bridge", device);
    let (port, peer) = (format!("{name}-port"), format!("{name}-peer"));
    for words in [
        format!("link add name {name} address {} type bridge stp_state 0 forward_delay 0", mac(name)),
        format!("link add name {port} address {} type veth peer name {peer} address {}", mac(&port), mac(&peer)),
        format!("link set {port} master {name}"),
        format!("link set {peer} up"),
        format!("link set {port} up"),
        format!("link set {name} up"),
    ] {
        machine.ip(&words)?;
    }
    Ok(())
}

fn make_card(machine: &Machine, name: &str, addresses: &[String]) -> Result<()> {
    let mac = |device: &str| stable_mac("card", device);
    let peer = format!("{name}-peer");
    machine.ip(&format!("link add name {name} address {} type veth peer name {peer} address {}", mac(name), mac(&peer)))?;
    machine.ip(&format!("link set {peer} up"))?;
    machine.ip(&format!("link set {name} up"))?;
    for address in addresses {
        machine.ip(&format!("address add {address} dev {name}"))?;
    }
    Ok(())
}

fn hook(name: &str) -> String {
    format!("/etc/xen/scripts/vif-post.d/{name}")
}

fn add_line(machine: &Machine, path: &str, line: &str) -> Result<()> {
    let before = machine.read_file(path).unwrap_or_default();
    machine.write_file(path, format!("{before}{line}\n"))
}
