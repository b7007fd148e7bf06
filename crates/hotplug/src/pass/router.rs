//! One pass of network-route or network-nat: both make the host a router, and keep one record and one journal.

mod status;

use std::path::PathBuf;
use std::time::Duration;

use super::antispoof;
use super::network_bridge::{default_routes, take_back_killed_run};
use crate::apply::Run;
use crate::apply::journal::Journal;
use crate::dhcp::{DhcpWish, Server};
use crate::dry_run;
use crate::host::{Family, Host, Link};
use crate::interface_name::InterfaceName;
use crate::invocation::{Format, Invocation, Mode};
use crate::plan::network_bridge::{Asked, choose_netdev};
use crate::plan::router::{self as recipe, Record, Seen, Want};
use crate::plan::{Plan, Refusal};
use crate::report::{Report, Trouble};
use crate::request::antispoof::AntiSpoof;
use crate::request::network::Command;
use crate::sessions::{Owner, SessionKey, Sessions};
use crate::sysctl::SysctlKey;
use crate::system::dhcp::{self, About, find_server, resolver};
use crate::system::lock::{self, Lock, LockName};
use crate::system::state::{RunDirectory, run_directory};
use crate::system::{Depth, System};

/// How long another run may take before this one gives up waiting for it.
const LOCK_LIMIT: Duration = Duration::from_secs(30);
/// The journal of a run that changes the host.
const JOURNAL: &str = "network-router.journal";
/// The record of the sessions.
pub(super) const RECORD: &str = "network-router.json";

/// What both programs are asked alike.
pub(super) struct Errand<'a> {
    /// The program.
    pub program: Owner,
    /// The command.
    pub command: Command,
    /// The device that leads outside, where it was named.
    pub netdev: Option<InterfaceName>,
    /// The private bridge, where there is to be one.
    pub bridge: Option<InterfaceName>,
    /// Who gives guests their addresses.
    pub dhcp: DhcpWish,
    /// What guests are held to who have no word of their own.
    pub antispoof: Option<AntiSpoof>,
    /// What the network of all guests of its vif program is called.
    pub guests: &'static str,
    /// What a session wants of the host.
    pub wants: &'a dyn Fn(Seen<'_>) -> Result<Vec<Want>, Refusal>,
}

/// Serves a call.
pub(super) fn serve(invocation: &Invocation, errand: &Errand<'_>) -> Result<Report, Trouble> {
    let mut system = System::open();
    let folder = run_directory().map_err(|error| Refusal::plain(error.to_string()))?;
    let mut work = Work { invocation, errand, record: folder.state_file(RECORD), folder, system: &mut system };
    match (errand.command, invocation.mode()) {
        (Command::Status, _) => status::status(&mut work),
        (command, Mode::DryRun) => work.command(command),
        (command, Mode::Act) => {
            let _lock = claim(LockName::NetworkRouter)?;
            let _dhcp = claim(LockName::VifNatDhcp)?;
            take_back_killed_run(work.system, &work.folder, JOURNAL)?;
            work.command(command)
        }
    }
}

fn claim(name: LockName) -> Result<Lock, Refusal> {
    lock::claim(name, LOCK_LIMIT).map_err(|error| Refusal::plain(error.to_string()))
}

/// One call: what it was asked, what it works on, and where the notes of both programs are.
struct Work<'a> {
    invocation: &'a Invocation,
    errand: &'a Errand<'a>,
    folder: RunDirectory,
    record: PathBuf,
    system: &'a mut System,
}

impl Work<'_> {
    fn command(&mut self, command: Command) -> Result<Report, Trouble> {
        match command {
            Command::Start => self.start(),
            _ => self.stop(),
        }
    }

    fn start(&mut self) -> Result<Report, Trouble> {
        let Errand { program, ref bridge, .. } = *self.errand;
        let netdev = self.uplink(self.errand.netdev.clone())?;
        let (mut host, sessions) = self.observe(&netdev, bridge.as_ref())?;
        let server = find_server(self.errand.dhcp, About::Subnets, &mut host)?;
        self.sweep(server.as_ref());
        let seen = Seen { netdev: &netdev, host: &host, sessions: &sessions, server: server.as_ref(), resolver: &resolver() };
        let wants = (self.errand.wants)(seen)?;
        let key = SessionKey { program, netdev, bridge: bridge.clone() };
        let plan = recipe::start(&key, &wants, Record { path: &self.record, sessions: &sessions }, &host)?;
        let summary = format!("{key}: started");
        if self.invocation.mode() == Mode::DryRun {
            return self.conclude(plan, host, summary);
        }
        let networks: Vec<&str> = key.bridge.as_ref().map(InterfaceName::as_str).into_iter().chain([self.errand.guests]).collect();
        let folder = self.folder.clone();
        antispoof::keep_before(&folder, &networks, self.errand.antispoof, || self.conclude(plan, host, summary))
    }

    fn stop(&mut self) -> Result<Report, Trouble> {
        let Errand { program, ref netdev, ref bridge, .. } = *self.errand;
        let uplink = self.uplink(netdev.clone())?;
        let sessions = self.sessions(&Host::default())?;
        let Some(key) = recipe::find(program, netdev.as_ref(), bridge.as_ref(), &uplink, &sessions)? else {
            self.forget_antispoof(&sessions);
            // No word of the caller's names a server that is not there: then nothing was begun either.
            let server = find_server(self.errand.dhcp, About::Subnets, &mut Host::default()).ok().flatten();
            self.sweep(server.as_ref());
            warn_of_others(program, &sessions);
            return Ok(Report::nothing(format!("{program} has not been started with these words: nothing to stop")));
        };
        let (host, sessions) = self.observe(&key.netdev, key.bridge.as_ref())?;
        let plan = recipe::stop(&key, Record { path: &self.record, sessions: &sessions }, &host);
        let report = self.conclude(plan, host, format!("{key}: stopped"))?;
        self.forget(key.bridge.as_ref().map(InterfaceName::as_str).into_iter().chain([self.errand.guests]));
        Ok(report)
    }

    /// Removes what killed runs have left half written beside the server's files.
    fn sweep(&self, server: Option<&Server>) {
        if let (Mode::Act, Some(server)) = (self.invocation.mode(), server) {
            dhcp::sweep(server);
        }
    }

    /// A stop that was killed may have left the word of a network that nobody has started any more.
    fn forget_antispoof(&self, sessions: &Sessions) {
        let keys = sessions.keys();
        let bridge = self.errand.bridge.as_ref().filter(|bridge| !keys.iter().any(|key| key.bridge.as_ref() == Some(*bridge)));
        let guests = Some(self.errand.guests).filter(|_| !keys.iter().any(|key| key.program == self.errand.program));
        self.forget(bridge.map(InterfaceName::as_str).into_iter().chain(guests));
    }

    fn forget<'a>(&self, networks: impl Iterator<Item = &'a str>) {
        if self.invocation.mode() == Mode::Act {
            antispoof::forget(&self.folder, networks);
        }
    }

    fn conclude(&mut self, plan: Plan, host: Host, summary: String) -> Result<Report, Trouble> {
        match (self.invocation.mode(), self.invocation.format()) {
            (Mode::DryRun, Format::Text) => return Ok(Report::printed(dry_run::as_text(&plan, &host))),
            (Mode::DryRun, Format::Json) => return Ok(Report::printed(dry_run::as_json(&plan, &host))),
            (Mode::Act, _) => {}
        }
        let journal = Journal::begin(&self.folder.state_file(JOURNAL)).map_err(|error| Refusal::plain(error.to_string()))?;
        let mut run = Run::new(self.system, journal);
        run.carry_out(&plan, host)?;
        Ok(Report::of(run.finish(), plan.notes, summary))
    }

    /// The device that leads outside: as named, else that of the best default route, else eth0.
    fn uplink(&mut self, netdev: Option<InterfaceName>) -> Result<InterfaceName, Trouble> {
        let routes = default_routes(self.system)?;
        Ok(choose_netdev(&Asked { netdev, bridge: None }, &routes)?)
    }

    /// The record, from `host` where it has been read already. Without it nothing could be given back, so one that cannot be read is not
    /// passed over.
    fn sessions(&mut self, host: &Host) -> Result<Sessions, Trouble> {
        let text = match host.files.get(&self.record) {
            Some(text) => text.clone(),
            None => self.folder.read_state(RECORD).map_err(|error| Refusal::plain(error.to_string()))?,
        };
        let Some(text) = text else { return Ok(Sessions::default()) };
        let sessions = Sessions::from_text(&text).map_err(|error| {
            let record = self.record.display();
            Refusal::plain(format!("cannot read {record}: {error}; look at it, and remove it once the host is in order"))
        })?;
        Ok(sessions)
    }

    /// What a session of `netdev` and `bridge` may change, and what the record tells of.
    fn observe(&mut self, netdev: &InterfaceName, bridge: Option<&InterfaceName>) -> Result<(Host, Sessions), Trouble> {
        let mut files = Host::default();
        self.system.note_file(&mut files, &self.record)?;
        let mut sessions = self.sessions(&files)?;
        let mut devices = vec![netdev.clone()];
        for device in bridge.into_iter().chain(sessions.bridges()) {
            if !devices.contains(device) {
                devices.push(device.clone());
            }
        }
        let keys: Vec<(Family, SysctlKey)> = recipe::device_keys().collect();
        let mut host = self.system.host_of(&devices, Depth::Everything, &keys)?;
        host.files = files.files;
        self.look_around(&mut host, &devices[1..])?;
        self.look_at_settings(&mut host, &sessions)?;
        self.look_at_servers(&mut host, &mut sessions)?;
        Ok((host, sessions))
    }

    /// Masters of devices, ports of `bridges`, and the packet filter.
    fn look_around(&mut self, host: &mut Host, bridges: &[InterfaceName]) -> Result<(), Trouble> {
        let mut others: Vec<Link> = vec![];
        for bridge in bridges {
            others.extend(self.system.ports_of(bridge)?);
        }
        self.system.observe_forwarding(host, bridges)?;
        let masters: Vec<InterfaceName> = host.links.iter().filter_map(|link| link.master.clone()).collect();
        others.extend(self.system.links(&masters)?);
        for link in others {
            if host.link(&link.name).is_none() {
                host.links.push(link);
            }
        }
        host.masquerades = self.system.masquerades()?;
        Ok(())
    }

    /// Settings of the whole host, and those of every device that follow them, or that the record tells of.
    fn look_at_settings(&mut self, host: &mut Host, sessions: &Sessions) -> Result<(), Trouble> {
        let followers = recipe::device_keys().filter(|(_, key)| matches!(key.as_str(), "forwarding" | "accept_ra"));
        host.sysctls.extend(self.system.settings_of_all(&followers.collect::<Vec<_>>())?);
        for sysctl in recipe::host_settings().chain(sessions.settings().map(|setting| setting.sysctl.clone())) {
            self.system.note_sysctl(host, sysctl)?;
        }
        self.look_for_advertisements(host)
    }

    /// Servers that were told of a network, as they are now: one that was started since is to be told when the network goes. Of one that has gone, the files
    /// may still be there.
    fn look_at_servers(&mut self, host: &mut Host, sessions: &mut Sessions) -> Result<(), Trouble> {
        for server in sessions.servers_mut() {
            let wish = match server {
                Server::Dnsmasq(_) => DhcpWish::Dnsmasq,
                Server::Dhcpd(_) => DhcpWish::Dhcpd,
            };
            match find_server(wish, About::Subnets, host) {
                Ok(Some(found)) => *server = found,
                _ => files_of(server).iter().try_for_each(|path| self.system.note_file(host, path))?,
            }
            self.sweep(Some(server));
        }
        Ok(())
    }

    /// What tells whether a device lives on router advertisements.
    fn look_for_advertisements(&mut self, host: &mut Host) -> Result<(), Trouble> {
        for route in self.system.default_routes()? {
            if !host.routes.contains(&route) {
                host.routes.push(route);
            }
        }
        for device in recipe::possible_listeners(host) {
            let addresses = self.system.addresses(&device)?;
            host.addresses.extend(addresses);
        }
        Ok(())
    }
}

/// Nothing is stopped that was not named, as it may be another unit's; whoever only forgot a word is told it.
fn warn_of_others(program: Owner, sessions: &Sessions) {
    let others: Vec<String> =
        sessions.keys().iter().filter(|key| key.program == program).map(|key| key.to_string().replacen(' ', " stop ", 1)).collect();
    if !others.is_empty() {
        log::warn!(
            "{program} has not been started with these words: nothing to stop; what was started with other words goes on until it is stopped by them: `{}`",
            others.join("`, `")
        );
    }
}

/// The files that say which networks a server serves.
fn files_of(server: &Server) -> Vec<PathBuf> {
    match server {
        Server::Dnsmasq(dnsmasq) => vec![dnsmasq.drop_in.clone(), dnsmasq.keeper()],
        Server::Dhcpd(dhcpd) => {
            let own = [&dhcpd.configuration, &dhcpd.include];
            own.into_iter().chain(dhcpd.arguments.as_ref()).cloned().collect()
        }
    }
}
