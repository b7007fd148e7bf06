//! What guests and subnets change in the files of DHCP servers: cases in folders (tests/cases/dhcp), compared with what a human has
//! reviewed, and laws that hold for all of them.
//!
//! A case is a folder: `case.json` holds the server, the files and what is to happen; `outcome` the expected steps, and the files after
//! them. `BLESS=1` writes the last one anew, to be reviewed with `git diff`.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot go on is to fail

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hotplug::dhcp::{Guest, Server, Subnet};
use hotplug::host::Host;
use hotplug::interface_name::InterfaceName;
use hotplug::operation::Operation;
use hotplug::plan::draft::Draft;
use hotplug::plan::{OnFailure, Refusal, dhcp};
use ipnetwork::Ipv4Network;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Act {
    Offer(Guest),
    Withdraw(InterfaceName),
    Open(Subnet),
    Close(Ipv4Network),
}

impl Act {
    fn plan(&self, server: &Server, host: &Host) -> Result<Draft, Refusal> {
        let mut draft = Draft::new(host);
        match self {
            Self::Offer(guest) => dhcp::offer(&mut draft, server, guest)?,
            Self::Withdraw(device) => dhcp::withdraw(&mut draft, server, device),
            Self::Open(subnet) => dhcp::open_subnet(&mut draft, server, subnet)?,
            Self::Close(network) => dhcp::close_subnet(&mut draft, server, *network),
        }
        Ok(draft)
    }

    /// What takes this back.
    fn opposite(&self) -> Option<Self> {
        match self {
            Self::Offer(guest) => Some(Self::Withdraw(guest.device.clone())),
            Self::Open(subnet) => Some(Self::Close(subnet.network)),
            Self::Withdraw(_) | Self::Close(_) => None,
        }
    }
}

#[derive(Deserialize)]
struct Case {
    #[serde(skip)]
    folder: PathBuf,
    server: Server,
    files: BTreeMap<PathBuf, Vec<String>>,
    act: Act,
}

impl Case {
    fn host(&self) -> Host {
        let files = self.files.iter().map(|(path, lines)| (path.clone(), Some(lines.concat())));
        // What is not in the case is not on the host.
        let missing = match &self.server {
            Server::Dnsmasq(server) => {
                let guest = match &self.act {
                    Act::Offer(guest) => Some(server.guest_file(&guest.device, guest.address)),
                    _ => None,
                };
                guest.into_iter().chain([server.drop_in.clone(), server.keeper()]).collect()
            }
            Server::Dhcpd(server) => vec![server.include.clone()],
        };
        Host { files: missing.into_iter().map(|path| (path, None)).chain(files).collect(), ..Host::default() }
    }

    fn name(&self) -> String {
        self.folder.file_name().unwrap().to_string_lossy().into_owned()
    }

    fn outcome(&self) -> String {
        let draft = match self.act.plan(&self.server, &self.host()) {
            Ok(draft) => draft,
            Err(refusal) => return format!("refused: {refusal}\n"),
        };
        let mut text: String = draft.plan.notes.iter().map(|note| format!("note: {note}\n")).collect();
        for step in &draft.plan.steps {
            let mark = if step.on_failure != OnFailure::Abort { " (a failure is only told of)" } else { "" };
            text += &format!("{}{mark}\n", step.operation);
        }
        for (path, content) in draft.host.files.iter().filter_map(|(path, text)| Some((path, text.as_ref()?))) {
            if self.host().files.get(path) != Some(&Some(content.clone())) {
                text += &format!("\n==> {} <==\n{content}", path.display());
            }
        }
        text
    }
}

fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/dhcp");
    let folders = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<Case> = folders
        .map(|folder| {
            let text = fs::read_to_string(folder.join("case.json")).unwrap();
            let case: Case = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
            Case { folder, ..case }
        })
        .collect();
    cases.sort_by_key(Case::name);
    assert!(cases.len() >= 20, "only {} cases found", cases.len());
    cases
}

fn there(host: &Host) -> BTreeMap<PathBuf, String> {
    host.files.iter().filter_map(|(path, text)| Some((path.clone(), text.clone()?))).collect()
}

fn perform(host: &Host, operations: &[Operation]) -> Host {
    operations.iter().fold(host.clone(), |host, operation| host.after(operation))
}

#[test]
fn outcomes_are_as_reviewed() {
    let mut wrong = vec![];
    for case in cases() {
        let text = case.outcome();
        let expected = case.folder.join("outcome");
        if std::env::var_os("BLESS").is_some() {
            fs::write(&expected, &text).unwrap();
        }
        if fs::read_to_string(&expected).unwrap_or_default() != text {
            wrong.push(format!("--- {}\n{text}", case.name()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_is_done_a_second_time() {
    let mut checked = 0;
    for case in cases() {
        let Ok(first) = case.act.plan(&case.server, &case.host()) else { continue };
        let mut server = case.server.clone();
        if let Server::Dnsmasq(server) = &mut server {
            server.holder = None;
        }
        let second = case.act.plan(&server, &first.host).unwrap();
        assert!(second.plan.steps.is_empty(), "{}: {:?}", case.name(), second.plan.steps);
        checked += 1;
    }
    assert!(checked >= 18);
}

/// Whatever the step at which a plan stops, undoing leads back to the files as they were; a server that has read others reads these at last.
#[test]
fn every_prefix_can_be_undone() {
    let (mut prefixes, mut told) = (0, 0);
    let restart = |operation: &Operation| matches!(operation, Operation::Restart(_));
    for case in cases() {
        let Ok(draft) = case.act.plan(&case.server, &case.host()) else { continue };
        let mut host = case.host();
        let mut inverses = vec![];
        for step in &draft.plan.steps {
            inverses.push(step.operation.inverse(&host));
            host = host.after(&step.operation);
            let undone = inverses.iter().rev().fold(host.clone(), |host, inverse| perform(&host, inverse));
            assert_eq!(there(&undone), there(&case.host()), "{}: undone after {}", case.name(), step.operation);
            if restart(&step.operation) {
                // The first step's inverse is what undoing ends with.
                assert!(inverses[0].last().is_some_and(restart), "{}: undone after {}: {inverses:?}", case.name(), step.operation);
                told += 1;
            }
            prefixes += 1;
        }
    }
    assert!(prefixes >= 30 && told >= 10, "only {prefixes}, and {told} with a server that was told");
}

/// What comes and goes leaves nothing: of a guest or a subnet that took nobody's place, not a byte.
#[test]
fn what_comes_goes_without_a_trace() {
    let mut checked = 0;
    for case in cases().into_iter().filter(|case| !["takes-over", "again"].iter().any(|word| case.name().contains(word))) {
        let (Some(opposite), Ok(draft)) = (case.act.opposite(), case.act.plan(&case.server, &case.host())) else { continue };
        let back = opposite.plan(&case.server, &draft.host).unwrap();
        let mut before = there(&case.host());
        let mut after = there(&back.host);
        // The first guest's folder stays for the next one.
        for files in [&mut before, &mut after] {
            files.retain(|path, _| !path.ends_with(".xen-network"));
        }
        assert_eq!(after, before, "{}", case.name());
        checked += 1;
    }
    assert!(checked >= 8, "only {checked}");
}
