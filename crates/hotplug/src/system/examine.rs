//! Looking at everything that a check may want to know. Nothing here changes the host.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::dhcp::{dhcpd_with_guests, dnsmasq_pid_file};
use super::files::Files;
use super::guests::Detail;
use super::lock::{self, LockName};
use super::manager::{Manager, manager_of};
use super::state::state_path;
use super::{System, SystemError, probe};
use crate::dhcp::dnsmasq;
use crate::guest_filter::Damage;
use crate::host::{Family, Host};
use crate::inspect::model::{
    DhcpServer, Examined, Firewall, ForeignManager, GuestFile, Hook, HookKind, KilledRun, Managed, NamedProgram, ProgramState,
    Remembered, Seen, Toolstack, VifMemory,
};
use crate::inspect::toolstack::{self, XlConf};
use crate::interface_name::InterfaceName;
use crate::record::Record;
use crate::sessions::Sessions;
use crate::sysctl::{Sysctl, SysctlKey};

/// Where toolstacks look for the programs.
const SCRIPTS: &str = "/etc/xen/scripts";
const XL_CONF: &str = "/etc/xen/xl.conf";
const XEND_CONFIG: &str = "/etc/xen/xend-config.sxp";
const HOOKS: &str = "/etc/xen/scripts/vif-post.d";
const LOG: &str = "/var/log/xen/xen-hotplug.log";
const UDEV_RULES: [&str; 4] = ["/etc/udev/rules.d", "/run/udev/rules.d", "/usr/lib/udev/rules.d", "/lib/udev/rules.d"];
/// How much of the log's end is looked at, in bytes.
const LOG_END: usize = 64 * 1024;
/// How many complaints are kept.
const COMPLAINTS: usize = 5;
const BRIDGE_RECORD: &str = "network-bridge.json";
const ROUTER_RECORD: &str = "network-router.json";
const JOURNALS: [(&str, &str, LockName); 2] = [
    ("network-bridge.journal", "network-bridge", LockName::NetworkBridge),
    ("network-router.journal", "network-route or network-nat", LockName::NetworkRouter),
];
/// Settings of the host, of each family.
const HOST_SETTINGS: [(Family, &str); 3] = [(Family::V4, "forwarding"), (Family::V6, "forwarding"), (Family::V4, "rp_filter")];
/// Settings of a device that guests are behind.
const DEVICE_SETTINGS: [(Family, &str); 3] = [(Family::V4, "proxy_arp"), (Family::V4, "rp_filter"), (Family::V6, "proxy_ndp")];

impl System {
    /// Looks at everything.
    ///
    /// # Errors
    /// When the kernel does not tell what devices, addresses and routes there are. Whatever else cannot be found out is part of what was
    /// seen.
    pub fn examine(&mut self) -> Result<Examined, SystemError> {
        let seen = self.survey(Detail::Whole)?;
        let routes = self.main_routes()?;
        let remembered = remembered(&Files::default());
        let settings = self.settings(&seen, &remembered.sessions)?;
        let firewall = self.firewall_seen().map_err(|error| error.to_string());
        let files = Files::default();
        Ok(Examined {
            routes,
            settings,
            kernel: probe::kernel(),
            firewall,
            damage: self.guest_damage().map_err(|error| error.to_string()),
            toolstack: toolstack_of(&files, &seen),
            due: Ok(vec![]),
            hooks: hooks(Path::new(HOOKS)),
            managed: managed(&seen, &remembered),
            dnsmasq: dhcp_server(&files, &remembered),
            dnsmasq_pid_file: dnsmasq_pid_file(),
            dhcpd: dhcpd_with_guests(),
            complaints: complaints(&files),
            remembered,
            seen,
        })
    }

    fn settings(&mut self, seen: &Seen, sessions: &Sessions) -> Result<BTreeMap<Sysctl, String>, SystemError> {
        let mut wanted: BTreeSet<Sysctl> = sessions.settings().map(|setting| setting.sysctl.clone()).collect();
        let keys = |list: &[(Family, &str)]| -> Vec<(Family, SysctlKey)> {
            list.iter().filter_map(|(family, key)| Some((*family, SysctlKey::new(key).ok()?))).collect()
        };
        wanted.extend(keys(&HOST_SETTINGS).iter().map(|(family, key)| Sysctl::of_host(*family, key)));
        let routed = seen.vifs().iter().filter(|vif| vif.wiring().is_routed()).filter_map(|vif| seen.device_of(vif));
        for device in routed.map(|device| &device.link.name).chain(&seen.uplink) {
            wanted.extend(keys(&DEVICE_SETTINGS).iter().map(|(family, key)| Sysctl::of_device(*family, device, key)));
        }
        let mut settings = BTreeMap::new();
        for sysctl in wanted {
            settings.extend(self.sysctl(&sysctl)?.map(|value| (sysctl, value)));
        }
        Ok(settings)
    }

    fn guest_damage(&mut self) -> Result<Vec<Damage>, SystemError> {
        let mut host = Host { guest_filters: self.every_guest_filter()?, ..Host::default() };
        self.observe_guest_damage(&mut host)?;
        Ok(host.guest_damage)
    }

    fn firewall_seen(&mut self) -> Result<Firewall, SystemError> {
        let mut host = Host::default();
        self.observe_forwarding(&mut host, &[])?;
        Ok(Firewall {
            masquerades: self.masquerades()?.into_iter().collect(),
            dropping_chains: host.dropping_chains,
            accepts: self.signed_accepts()?,
        })
    }
}

/// What lies in our folder below /run.
fn remembered(files: &Files) -> Remembered {
    let mut remembered = Remembered::default();
    let path_of = |name: &str| state_path(name).ok();
    let text_of = |path: &Path| path.to_str().and_then(|path| files.read(path));
    if let Some((path, text)) = path_of(BRIDGE_RECORD).and_then(|path| Some((path.clone(), text_of(&path)?))) {
        match Record::from_text(&text) {
            Some(record) => remembered.bridges = Some((path, record)),
            None => remembered.unreadable.push((path, "it is not a record of network-bridge".to_owned())),
        }
    }
    if let Some((path, text)) = path_of(ROUTER_RECORD).and_then(|path| Some((path.clone(), text_of(&path)?))) {
        match Sessions::from_text(&text) {
            Ok(sessions) => remembered.sessions = sessions,
            Err(reason) => remembered.unreadable.push((path, reason)),
        }
    }
    for (name, program, lock) in JOURNALS {
        let left = path_of(name).filter(|path| path.exists() && !lock::is_held(lock));
        remembered.killed_runs.extend(left.map(|path| KilledRun { path, program }));
    }
    let folder = path_of("").unwrap_or_default();
    for name in folder.to_str().map(|folder| files.names(folder)).unwrap_or_default() {
        let known = name == BRIDGE_RECORD || name == ROUTER_RECORD;
        let Some(device) = name.strip_suffix(".json").filter(|_| !known).and_then(|name| name.parse().ok()) else { continue };
        let path = folder.join(&name);
        let neighbours = text_of(&path).and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        remembered.memories.push(VifMemory { path, device, neighbours });
    }
    remembered.guest_files = guest_files(files);
    remembered
}

fn guest_files(files: &Files) -> Vec<GuestFile> {
    let names = files.names(dnsmasq::GUESTS);
    let known = names.iter().filter_map(|name| Some((name, dnsmasq::guest_of(name)?)));
    known.map(|(name, (device, address))| GuestFile { path: Path::new(dnsmasq::GUESTS).join(name), device, address }).collect()
}

fn toolstack_of(files: &Files, seen: &Seen) -> Toolstack {
    let conf = files.read(XL_CONF).map(|text| XlConf::parse(&text)).unwrap_or_default();
    let mut programs = vec![];
    let mut name = |script: &str, named_in: String| {
        let path = toolstack::program_path(Path::new(SCRIPTS), script);
        let state = program_state(&path);
        programs.push(NamedProgram { path, named_in, state });
    };
    if let Some(script) = &conf.default_script {
        name(script, XL_CONF.to_owned());
    }
    for (setting, script) in files.read(XEND_CONFIG).map(|text| toolstack::xend_scripts(&text)).unwrap_or_default() {
        name(&script, format!("{setting} in {XEND_CONFIG}"));
    }
    let mut scripts: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for vif in seen.vifs() {
        if let Some(script) = &vif.script {
            scripts.entry(script).or_default().push(vif.kernel_name());
        }
    }
    for (script, vifs) in scripts {
        name(script, format!("XenStore for {}", toolstack::listed(&vifs)));
    }
    let udev_rule = UDEV_RULES.iter().find_map(|folder| {
        let names = files.names(folder);
        names.into_iter().find(|name| name.contains("xen-backend")).map(|name| Path::new(folder).join(name))
    });
    Toolstack { programs, xl_calls: conf.calls, default_bridge: conf.default_bridge, udev_rule }
}

fn program_state(path: &Path) -> ProgramState {
    match fs::metadata(path) {
        Err(_) => ProgramState::Missing,
        Ok(metadata) if !metadata.is_file() => ProgramState::NoFile,
        Ok(metadata) if metadata.mode() & 0o111 == 0 => ProgramState::NotExecutable,
        Ok(_) => ProgramState::Ready,
    }
}

fn hooks(folder: &Path) -> Vec<Hook> {
    let look = |path: PathBuf, kind: fn(&fs::Metadata) -> HookKind| {
        let metadata = fs::metadata(&path).ok()?;
        Some(Hook { path, owner: metadata.uid(), mode: metadata.mode() & 0o7777, kind: kind(&metadata) })
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_hook = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.ends_with(".hook") && !name.starts_with('.')
    };
    let kind = |metadata: &fs::Metadata| if metadata.mode() & 0o111 == 0 { HookKind::NotExecutable } else { HookKind::Hook };
    let mut hooks: Vec<Hook> = entries.filter(is_hook).filter_map(|path| look(path, kind)).collect();
    hooks.sort_by(|one, other| one.path.cmp(&other.path));
    // The folder matters only where something in it is run.
    if !hooks.is_empty() {
        hooks.extend(look(folder.to_owned(), |_| HookKind::Folder));
    }
    hooks
}

/// What network-bridge has bridged and somebody else looks after. Any other device may be anybody's: a host whose bridge NetworkManager or
/// systemd-networkd has made needs no network-bridge.
fn managed(seen: &Seen, remembered: &Remembered) -> Vec<Managed> {
    let started = remembered.bridges.iter().flat_map(|(_, record)| &record.started);
    let ways: BTreeSet<&InterfaceName> = started.flat_map(|started| [&started.names.port, &started.names.bridge]).collect();
    let managed = ways.into_iter().filter_map(|name| {
        let by = match manager_of(seen.device(name.as_str())?.link.index?, name) {
            Manager::NetworkManager => ForeignManager::NetworkManager,
            Manager::Networkd => ForeignManager::Networkd,
            Manager::Ifupdown { .. } | Manager::None => return None,
        };
        Some(Managed { device: name.clone(), by })
    });
    managed.collect()
}

fn dhcp_server(files: &Files, remembered: &Remembered) -> DhcpServer {
    if remembered.guest_files.is_empty() && files.read(dnsmasq::DROP_IN).is_none() {
        return DhcpServer::NotAsked;
    }
    // One in another network namespace serves other guests.
    let own = fs::read_link("/proc/self/ns/net").ok();
    let here = |pid: &String| fs::read_link(format!("/proc/{pid}/ns/net")).ok() == own;
    let is_dnsmasq = |pid: &String| files.read(&format!("/proc/{pid}/comm")).is_some_and(|name| name.trim() == "dnsmasq");
    let numbers = files.names("/proc").into_iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    match numbers.filter(is_dnsmasq).any(|pid| here(&pid)) {
        true => DhcpServer::Running,
        false => DhcpServer::NotRunning,
    }
}

fn complaints(files: &Files) -> Vec<String> {
    let Some(text) = files.end_of(LOG, LOG_END) else { return vec![] };
    let mut complaints = toolstack::complaints(&text);
    complaints.drain(..complaints.len().saturating_sub(COMPLAINTS));
    complaints
}
