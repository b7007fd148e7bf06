//! One of two hosts on which the same case is played.

use serde_json::{Map, Value, json};
use testbed::guest::{Dom0, Guest, Hotplug, Outcome, Vif};
use testbed::machine::{Error, Machine, Programs, Result, stable_mac};
use testbed::originals::Originals;
use testbed::state::State;

use crate::case::{Case, Ending, Step};

/// Where the hooks of a case leave what they saw.
const NOTES: &str = "/run/notes";

/// The guest's number in all cases.
const DOMAIN: u16 = 7;

/// Whose program is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    /// Debian's script.
    Original,
    /// The executable of this project.
    Ours,
}

/// Plays a case from its beginning on a fresh host, and returns what could be seen after each run of the program.
///
/// # Errors
/// When the host cannot be made, or a step other than `run` fails.
pub fn play(case: &Case, make: Make) -> Result<Value> {
    let mut twin = Twin::new(case, make)?;
    for step in &case.steps {
        twin.perform(step)?;
    }
    Ok(Value::Object(twin.seen))
}

struct Twin {
    seen: Map<String, Value>,
    variables: Vec<(String, Option<String>)>,
    originals: Option<Originals>,
    vif: Vif,
    dom0: Dom0,
    // Only kept alive.
    _guest: Guest,
}

impl Twin {
    fn new(case: &Case, make: Make) -> Result<Self> {
        let dom0 = Dom0::new("dom0")?;
        let guest = Guest::new(DOMAIN)?;
        for machine in [dom0.machine(), guest.machine()] {
            // Nobody else is on these links: do not wait a second for each link-local address.
            machine.set_sysctl("net.ipv6.conf.default.accept_dad", "0")?;
        }
        let originals = match make {
            Make::Original => Some(Originals::fetched()?),
            Make::Ours => None,
        };
        let programs = match &originals {
            Some(originals) => originals.programs(),
            None => Programs::ours()?,
        };
        dom0.machine().install_scripts(&programs)?;
        dom0.machine().shell(&format!("mkdir -p {NOTES}"))?;
        let vif = guest.attach(&dom0, case.nic.clone())?;
        // The guest's side is up from the beginning, so that the carrier follows dom0's side alone.
        guest.machine().ip("link set eth0 up")?;
        Ok(Self { seen: Map::new(), variables: Vec::new(), originals, vif, dom0, _guest: guest })
    }

    fn perform(&mut self, step: &Step) -> Result<()> {
        let machine = self.dom0.machine();
        match step {
            Step::Bridge(name) => make_bridge(machine, name),
            Step::Host(command) => machine.shell(command).map(drop),
            Step::Hook(name, line) => {
                let path = add_line(machine, name, line)?;
                machine.run("chmod", ["755", &path]).map(drop)
            }
            Step::PlainFile(name, line) => add_line(machine, name, line).map(drop),
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
        if let Some(originals) = &self.originals {
            originals.prepare(&mut command);
        }
        for (name, value) in &self.variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let outcome = Outcome::of(&mut command)?;
        if self.originals.is_some() && (outcome.status == Some(0)) != (ending == Ending::Success) {
            let log = self.dom0.machine().read_file("/var/log/xen/xen-hotplug.log").unwrap_or_default();
            return Err(Error::new(format!("the original ended with {outcome}, which is not {ending:?}; its log: {log}")));
        }
        let key = format!("run {}: {}", self.seen.len() + 1, words.join(" "));
        let seen = json!({
            "exit status": outcome.status,
            "kernel": State::settled(self.dom0.machine())?.value(),
            "store": self.store(),
            "notes": self.notes()?,
        });
        self.seen.insert(key, seen);
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
}

fn make_bridge(machine: &Machine, name: &str) -> Result<()> {
    let mac = stable_mac("bridge", name);
    machine.ip(&format!("link add name {name} address {mac} type bridge stp_state 0 forward_delay 0"))?;
    machine.ip(&format!("link set {name} up")).map(drop)
}

fn add_line(machine: &Machine, name: &str, line: &str) -> Result<String> {
    let path = format!("/etc/xen/scripts/vif-post.d/{name}");
    let before = machine.read_file(&path).unwrap_or_default();
    machine.write_file(&path, format!("{before}{line}\n"))?;
    Ok(path)
}
