//! A case of the twins suite: what is done to a host, in the words of a small file.
//!
//! A line is a verb and its words; empty lines and lines that begin with `#` count for nothing. The verbs are the
//! variants of [`Step`] and the keys of `nic`.

use std::fs;
use std::path::{Path, PathBuf};

use testbed::guest::{Emulation, Nic};
use testbed::machine::{Error, Result};

/// One case, read from `tests/cases/twins/NAME.case`.
#[derive(Clone, Debug)]
pub struct Case {
    /// The file's name without `.case`.
    pub name: String,
    /// The guest's number, from `domain=` in the line `nic`.
    pub domain: u16,
    /// The guest's network card, from the line `nic`.
    pub nic: Nic,
    /// What happens, in order. The card is attached before the first step.
    pub steps: Vec<Step>,
    /// Where a deliberate difference is written down.
    pub difference_file: PathBuf,
}

/// The guest's number where a case says nothing.
const DOMAIN: u16 = 7;

/// One line of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// `bridge NAME`: makes a bridge with a fixed MAC address and one port, `NAME-port`, all up.
    Bridge(String),
    /// `switch NAME`: starts Open vSwitch, where it does not run yet, and makes a bridge of it; its ports are compared from now on.
    Switch(String),
    /// `card NAME ADDRESS...`: makes a network card of dom0 with a fixed MAC address and these addresses; it and the other end of its
    /// cable are up.
    Card(String, Vec<String>),
    /// `file PATH LINE` or `file PATH`: adds a line, or none, to a file of dom0, which is compared from now on.
    File(String, String),
    /// `program PATH LINE`: the same for a file that can be run, after a first line `#!/bin/sh`.
    Program(String, String),
    /// `host COMMAND`: runs a shell command in dom0.
    Host(String),
    /// `hook NAME LINE`: adds a line to the executable hook `vif-post.d/NAME`.
    Hook(String, String),
    /// `plain-file NAME LINE`: the same for a file in the folder of the hooks that is not executable.
    PlainFile(String, String),
    /// `store PATH VALUE`: writes to XenStore; a path that does not begin with `/` is below the backend directory.
    Store(String, String),
    /// `variable NAME=VALUE` or `variable NAME`: sets or removes an environment variable of the later runs.
    Variable(String, Option<String>),
    /// `run WORDS` or `fail WORDS`: runs the program with these words and looks at everything afterwards. The original
    /// must end as the verb says; so a case cannot pass because nothing works on either side.
    Run(Vec<String>, Ending),
    /// `device-gone`: the vif disappears.
    DeviceGone,
    /// `store-gone`: the card's directories leave XenStore.
    StoreGone,
}

/// How the original is known to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With exit status 0.
    Success,
    /// With any other.
    Failure,
}

/// All cases, sorted by name.
///
/// # Errors
/// When a file cannot be read or holds a line that makes no sense.
pub fn read_all(folder: &Path) -> Result<Vec<Case>> {
    let entries = fs::read_dir(folder).map_err(Error::in_act(format!("list {}", folder.display())))?;
    let mut cases = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::in_act(format!("list {}", folder.display())))?.path();
        if path.extension().is_some_and(|extension| extension == "case") {
            cases.push(Case::read(&path)?);
        }
    }
    cases.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(cases)
}

impl Case {
    fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(Error::in_act(format!("read {}", path.display())))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let difference_file = path.with_extension("difference");
        let mut case = Self { name, domain: DOMAIN, nic: Nic::default(), steps: Vec::new(), difference_file };
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                case.add(line).map_err(Error::in_act(format!("read {}:{}", path.display(), number + 1)))?;
            }
        }
        if !case.steps.iter().any(|step| matches!(step, Step::Run(..))) {
            return Err(Error::new(format!("{} runs nothing", path.display())));
        }
        Ok(case)
    }

    fn add(&mut self, line: &str) -> Result<()> {
        let (verb, rest) = split(line);
        let step = match verb {
            "nic" => return self.set_nic(rest),
            "bridge" => Step::Bridge(rest.to_owned()),
            "switch" => Step::Switch(rest.to_owned()),
            "card" => {
                let (name, addresses) = split(rest);
                Step::Card(name.to_owned(), words(addresses))
            }
            "file" => {
                let (path, line) = split(rest);
                Step::File(path.to_owned(), line.to_owned())
            }
            "program" => {
                let (path, line) = split(rest);
                Step::Program(path.to_owned(), line.to_owned())
            }
            "host" => Step::Host(rest.to_owned()),
            "hook" => {
                let (name, line) = split(rest);
                Step::Hook(name.to_owned(), line.to_owned())
            }
            "plain-file" => {
                let (name, line) = split(rest);
                Step::PlainFile(name.to_owned(), line.to_owned())
            }
            "store" => {
                let (path, value) = split(rest);
                Step::Store(path.to_owned(), value.to_owned())
            }
            "variable" => match rest.split_once('=') {
                Some((name, value)) => Step::Variable(name.to_owned(), Some(value.to_owned())),
                None => Step::Variable(rest.to_owned(), None),
            },
            "run" => Step::Run(words(rest), Ending::Success),
            "fail" => Step::Run(words(rest), Ending::Failure),
            "device-gone" => Step::DeviceGone,
            "store-gone" => Step::StoreGone,
            other => return Err(Error::new(format!("there is no verb {other:?}"))),
        };
        self.steps.push(step);
        Ok(())
    }

    // `nic bridge=xenbr0,ip=192.0.2.1 192.0.2.2,emulated`: as in a guest's configuration file, and the numbers `domain` and `handle`.
    fn set_nic(&mut self, words: &str) -> Result<()> {
        for word in words.split(',') {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            let given = || Some(value.to_owned());
            let number = || value.parse().map_err(Error::in_act(format!("read {key} {value:?}")));
            match key {
                "script" => self.nic.script = given(),
                "domain" => self.domain = number()?,
                "handle" => self.nic.handle = number()?,
                "gatewaydev" => self.nic.gateway_device = given(),
                "bridge" => self.nic.bridge = given(),
                "ip" => self.nic.ip = given(),
                "vifname" => self.nic.vifname = given(),
                "mtu" => self.nic.mtu = Some(number()?),
                "emulated" => self.nic.emulation = Emulation::EmulatedToo,
                other => return Err(Error::new(format!("a nic has no {other:?}"))),
            }
        }
        Ok(())
    }
}

fn split(line: &str) -> (&str, &str) {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    (word, rest.trim())
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}
