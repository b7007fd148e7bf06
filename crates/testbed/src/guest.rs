//! A simulated dom0 with its XenStore, and guests whose network cards hang on it as netback would hang them there.
//!
//! The guest's end of a veth pair plays the frontend, dom0's end plays the vif. What libxl writes to XenStore, and how it
//! calls the hotplug program, is done as in Xen's tools/libs/light/libxl_nic.c, libxl_device.c and libxl_linux.c.

use std::collections::BTreeMap;
use std::fmt;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use xenstore::{Access, Client, DEFAULT_LIMIT, DomainId, Endpoint, Permission, StorePath};

use crate::machine::{Error, Machine, Result, stable_mac};
use crate::xenstore_server::Server;

/// Where xenstored listens (Xen's default `XENSTORED_RUNDIR`).
const STORE_SOCKET: &str = "/run/xenstored/socket";

/// A machine that plays dom0: it has a XenStore at the usual place.
pub struct Dom0 {
    // Dropped before the machine, whose /run holds its socket.
    server: Server,
    machine: Machine,
    store: Store,
}

impl Dom0 {
    /// Makes dom0 without any network device but `lo`.
    ///
    /// # Errors
    /// As [`Machine::new`]; and when the XenStore server cannot listen.
    pub fn new(name: &str) -> Result<Self> {
        let machine = Machine::new(name)?;
        let socket = machine.path(STORE_SOCKET);
        machine.shell("mkdir -p /run/xenstored")?;
        let server = Server::start(&socket).map_err(Error::in_act(format!("start the XenStore of {name}")))?;
        let store = Store(Endpoint::Socket(socket));
        // What xen-init-dom0 (Xen's tools/helpers) writes: a program learns its own domain from the node `domid`.
        store.write("/local/domain/0/domid", "0")?;
        store.write("/local/domain/0/name", "Domain-0")?;
        Ok(Self { server, machine, store })
    }

    /// The machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The XenStore server, for its snapshot and its log.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The XenStore, as a toolstack in dom0 sees it.
    pub fn store(&self) -> &Store {
        &self.store
    }
}

/// Access to dom0's XenStore from the test. Each call uses a connection of its own.
#[derive(Clone, Debug)]
pub struct Store(Endpoint);

impl Store {
    /// A connection of dom0.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn client(&self) -> Result<Client> {
        Client::connect_to(&self.0, DEFAULT_LIMIT).map_err(Error::in_act("connect to XenStore"))
    }

    /// Writes one node.
    ///
    /// # Errors
    /// When the path is none, or the store refuses.
    pub fn write(&self, path: &str, value: &str) -> Result<()> {
        let act = || format!("write {path} in XenStore");
        self.client()?.write(&parse(path)?, value.as_bytes()).map_err(Error::in_act(act()))
    }

    /// Reads one node; `None` if there is none.
    ///
    /// # Errors
    /// When the path is none, or the store refuses.
    pub fn read(&self, path: &str) -> Result<Option<String>> {
        let act = || format!("read {path} in XenStore");
        let value = self.client()?.read(&parse(path)?).map_err(Error::in_act(act()))?;
        Ok(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
    }

    /// Removes a node and all below it.
    ///
    /// # Errors
    /// When the path is none, or the store refuses.
    pub fn remove(&self, path: &str) -> Result<()> {
        let act = || format!("remove {path} in XenStore");
        self.client()?.remove(&parse(path)?).map_err(Error::in_act(act())).map(drop)
    }
}

fn parse(path: &str) -> Result<StorePath> {
    StorePath::parse(path).map_err(Error::in_act(format!("use {path:?} as a XenStore path")))
}

/// A running guest, with a network of its own.
pub struct Guest {
    domain: u16,
    machine: Machine,
}

impl Guest {
    /// Starts a guest without network cards.
    ///
    /// # Errors
    /// As [`Machine::new`].
    pub fn new(domain: u16) -> Result<Self> {
        Ok(Self { domain, machine: Machine::new(&format!("guest{domain}"))? })
    }

    /// The guest's inside.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Gives the guest a network card, up to the moment where libxl calls the hotplug program: the store is written and
    /// the vif exists, down, as netback makes it.
    ///
    /// # Errors
    /// When the device exists already, or the store refuses.
    pub fn attach(&self, dom0: &Dom0, nic: Nic) -> Result<Vif> {
        let vif =
            Vif { domain: self.domain, nic, dom0: dom0.machine.clone(), guest: self.machine.clone(), store: dom0.store.clone() };
        vif.write_store()?;
        vif.appear()?;
        Ok(vif)
    }

    /// Sets up the card `ethHANDLE` from the inside: an address with its prefix length, and a default route.
    ///
    /// # Errors
    /// When there is no such card.
    pub fn configure(&self, handle: u16, address: &str, gateway: Option<&str>) -> Result<()> {
        let ip = |words: &str| self.machine.ip(words);
        ip(&format!("address replace {address} dev eth{handle}"))?;
        ip(&format!("link set eth{handle} up"))?;
        if let Some(gateway) = gateway {
            ip(&format!("route replace default via {gateway} dev eth{handle}"))?;
        }
        Ok(())
    }
}

/// A guest's network card as its configuration file describes it. Fields that are `None` are not written to XenStore.
#[derive(Clone, Debug, Default)]
pub struct Nic {
    /// The number of the card in the guest, from 0.
    pub handle: u16,
    /// The guest's MAC address; `None` gives one out of Xen's range 00:16:3e, made of domain and handle.
    pub mac: Option<String>,
    /// The hotplug program in /etc/xen/scripts; `None` is libxl's default `vif-bridge`.
    pub script: Option<String>,
    /// The number that the device has in dom0; the kernel's choice where there is none.
    pub index: Option<u32>,
    /// `bridge=`.
    pub bridge: Option<String>,
    /// `ip=`, several addresses separated by spaces.
    pub ip: Option<String>,
    /// `vifname=`.
    pub vifname: Option<String>,
    /// `gatewaydev=`.
    pub gateway_device: Option<String>,
    /// `mtu=` in bytes; libxl does not write 1500.
    pub mtu: Option<u16>,
    /// `vlan=`.
    pub vlan: Option<String>,
    /// `antispoof=`.
    pub antispoof: Option<String>,
    /// Whether the guest is an HVM guest whose card qemu emulates as well.
    pub emulation: Emulation,
}

/// Whether there is an emulated twin of a network card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Emulation {
    /// `type=vif`: only the paravirtual card.
    #[default]
    ParavirtualOnly,
    /// `type=ioemu`: qemu's tap device `vifD.N-emu` beside the vif.
    EmulatedToo,
}

impl Nic {
    /// A card on this bridge.
    pub fn on_bridge(bridge: &str) -> Self {
        Self { bridge: Some(bridge.to_owned()), ..Self::default() }
    }

    /// A card with a link of its own to dom0, made by `script` (`vif-route`, `vif-nat`), and these addresses, separated by spaces.
    pub fn routed(script: &str, addresses: &str) -> Self {
        let ip = (!addresses.is_empty()).then(|| addresses.to_owned());
        Self { script: Some(script.to_owned()), ip, ..Self::default() }
    }
}

/// What libxl asks of a hotplug program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hotplug {
    /// The vif came: `online type_if=vif`.
    Online,
    /// The vif goes: `offline type_if=vif`.
    Offline,
    /// The emulated card's tap device came: `add type_if=tap`.
    Add,
    /// The emulated card's tap device goes: `remove type_if=tap`.
    Remove,
}

impl Hotplug {
    /// The words of the command line.
    pub fn words(self) -> [&'static str; 2] {
        match self {
            Self::Online => ["online", "type_if=vif"],
            Self::Offline => ["offline", "type_if=vif"],
            Self::Add => ["add", "type_if=tap"],
            Self::Remove => ["remove", "type_if=tap"],
        }
    }
}

/// A guest's network card and its other end in dom0.
pub struct Vif {
    domain: u16,
    nic: Nic,
    dom0: Machine,
    guest: Machine,
    store: Store,
}

impl Vif {
    /// The name netback gives: `vifDOMAIN.HANDLE`.
    pub fn name(&self) -> String {
        format!("vif{}.{}", self.domain, self.nic.handle)
    }

    /// The name of qemu's tap device for the emulated twin.
    pub fn tap_name(&self) -> String {
        format!("{}-emu", self.name())
    }

    /// `/local/domain/0/backend/vif/DOMAIN/HANDLE`.
    pub fn backend_path(&self) -> String {
        format!("/local/domain/0/{}", self.relative_path())
    }

    /// `/local/domain/DOMAIN/device/vif/HANDLE`.
    pub fn frontend_path(&self) -> String {
        format!("/local/domain/{}/device/vif/{}", self.domain, self.nic.handle)
    }

    /// A key of the backend directory.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn backend(&self, key: &str) -> Result<Option<String>> {
        self.store.read(&format!("{}/{key}", self.backend_path()))
    }

    /// The MAC address of the guest's end.
    pub fn mac(&self) -> String {
        let [high, low] = self.domain.to_be_bytes();
        let made = || format!("00:16:3e:{high:02x}:{low:02x}:{:02x}", self.nic.handle);
        self.nic.mac.clone().unwrap_or_else(made)
    }

    /// The program's path as libxl stores and calls it.
    pub fn script(&self) -> String {
        let name = self.nic.script.as_deref().unwrap_or("vif-bridge");
        if name.starts_with('/') { name.to_owned() } else { format!("/etc/xen/scripts/{name}") }
    }

    /// Runs the hotplug program as libxl does, to its end.
    ///
    /// # Errors
    /// When it cannot be started. A failure of the program is no error here, see [`Outcome::status`].
    pub fn hotplug(&self, hotplug: Hotplug) -> Result<Outcome> {
        let mut command = self.hotplug_command(hotplug);
        command.args(hotplug.words());
        Outcome::of(&mut command)
    }

    /// The hotplug program with libxl's environment (libxl_linux.c, `get_hotplug_env`) and no words yet.
    pub fn hotplug_command(&self, hotplug: Hotplug) -> Command {
        let script = self.script();
        let mut command = self.dom0.command(&script);
        command
            .env("script", &script)
            .env("XENBUS_TYPE", "vif")
            .env("XENBUS_PATH", self.relative_path())
            .env("XENBUS_BASE_PATH", "backend")
            .env("netdev", self.nic.gateway_device.as_deref().unwrap_or_default())
            .env("vif", self.name());
        if self.nic.emulation == Emulation::EmulatedToo || matches!(hotplug, Hotplug::Add | Hotplug::Remove) {
            command.env("INTERFACE", self.tap_name());
        }
        command
    }

    /// Makes the vif in dom0 and the card in the guest, both down. netback starts with this MAC address and a queue of
    /// 32 packets (Linux drivers/net/xen-netback/interface.c, `xenvif_alloc`).
    ///
    /// # Errors
    /// When the device exists already.
    pub fn appear(&self) -> Result<()> {
        let index = self.nic.index.map(|index| format!("index {index}")).unwrap_or_default();
        self.dom0.ip(&format!(
            "link add name {} {index} address fe:ff:ff:ff:ff:ff txqueuelen 32 type veth \
             peer name eth{} address {} netns {}",
            self.name(),
            self.nic.handle,
            self.mac(),
            self.guest.pid()
        ))?;
        match self.nic.emulation {
            Emulation::ParavirtualOnly => Ok(()),
            Emulation::EmulatedToo => self.appear_emulated(),
        }
    }

    /// Makes the tap device of the emulated twin, down, as qemu does.
    ///
    /// # Errors
    /// When the device exists already.
    pub fn appear_emulated(&self) -> Result<()> {
        let tap = self.tap_name();
        self.dom0.ip(&format!("tuntap add dev {tap} mode tap"))?;
        // The kernel would give a random address, and a test could not be repeated.
        self.dom0.ip(&format!("link set {tap} address {}", stable_mac(self.dom0.name(), &tap))).map(drop)
    }

    /// Takes the vif away, whatever its name is by now, as netback does when the guest is gone: before `offline` runs.
    ///
    /// # Errors
    /// When it is gone already.
    pub fn disappear(&self) -> Result<()> {
        // One end takes the other with it.
        self.guest.ip(&format!("link delete eth{}", self.nic.handle)).map(drop)
    }

    /// Removes the card's directories from XenStore, as libxl does at the end of a detach.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn remove_store(&self) -> Result<()> {
        self.store.remove(&self.backend_path())?;
        self.store.remove(&self.frontend_path())
    }

    fn relative_path(&self) -> String {
        format!("backend/vif/{}/{}", self.domain, self.nic.handle)
    }

    // The nodes inherit the permissions of their directory, so that goes first.
    fn write_store(&self) -> Result<()> {
        let (dom0, guest) = (DomainId(0), DomainId(self.domain));
        let backend = parse(&self.backend_path())?;
        let frontend = parse(&self.frontend_path())?;
        let mut client = self.store.client()?;
        let mut write = || {
            for (directory, owner, other) in [(&backend, dom0, guest), (&frontend, guest, dom0)] {
                let nobody = Permission { domain: owner, access: Access::None };
                let reader = Permission { domain: other, access: Access::Read };
                client.make_directory(directory)?;
                client.set_permissions(directory, &[nobody, reader])?;
            }
            client.write_many(&nodes(&backend, self.backend_nodes()))?;
            client.write_many(&nodes(&frontend, self.frontend_nodes()))
        };
        write().map_err(Error::in_act(format!("write {} to XenStore", self.backend_path())))
    }

    fn backend_nodes(&self) -> BTreeMap<&'static str, String> {
        let nic = &self.nic;
        let kind = match nic.emulation {
            Emulation::ParavirtualOnly => "vif",
            Emulation::EmulatedToo => "vif_ioemu",
        };
        let always = [
            ("frontend", self.frontend_path()),
            ("frontend-id", self.domain.to_string()),
            ("online", "1".to_owned()),
            // XenbusStateInitWait (xen/io/xenbus.h): netback has seen the device.
            ("state", "2".to_owned()),
            ("script", self.script()),
            ("mac", self.mac()),
            ("handle", nic.handle.to_string()),
            ("type", kind.to_owned()),
            ("hotplug-status", String::new()),
        ];
        let sometimes = [
            ("bridge", nic.bridge.clone()),
            ("ip", nic.ip.clone()),
            ("vifname", nic.vifname.clone()),
            ("gatewaydev", nic.gateway_device.clone()),
            ("mtu", nic.mtu.map(|mtu| mtu.to_string())),
            ("vlan", nic.vlan.clone()),
            ("antispoof", nic.antispoof.clone()),
        ];
        let given = sometimes.into_iter().filter_map(|(key, value)| Some((key, value?)));
        always.into_iter().chain(given).collect()
    }

    fn frontend_nodes(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("backend", self.backend_path()),
            ("backend-id", "0".to_owned()),
            // XenbusStateInitialising.
            ("state", "1".to_owned()),
            ("handle", self.nic.handle.to_string()),
            ("mac", self.mac()),
        ])
    }
}

// The keys are constants above, and every one is a valid node name.
fn nodes(directory: &StorePath, values: BTreeMap<&'static str, String>) -> Vec<(StorePath, Vec<u8>)> {
    values.into_iter().filter_map(|(key, value)| Some((directory.join(key).ok()?, value.into_bytes()))).collect()
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// From start to end, nsenter(1) included.
    pub duration: Duration,
}

impl Outcome {
    /// Runs a prepared command to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn of(command: &mut Command) -> Result<Self> {
        let start = Instant::now();
        let Output { status, stdout, stderr } = command.output().map_err(Error::in_act(format!("run {command:?}")))?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Self { status: status.code(), stdout: text(stdout), stderr: text(stderr), duration: start.elapsed() })
    }

    /// The outcome, if the exit status is 0.
    ///
    /// # Errors
    /// When it is another; the error holds what the program said.
    pub fn success(self) -> Result<Self> {
        if self.status == Some(0) { Ok(self) } else { Err(Error::new(self.to_string())) }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "exit status {status}")?,
            None => write!(f, "ended by a signal")?,
        }
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.trim().is_empty() {
                write!(f, "; {name}: {}", text.trim())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOW: &str = "#!/bin/sh\necho \"$0 $*\"\npwd\nreadlink /proc/self/fd/0\nenv | sort\nexit 3\n";

    #[test]
    fn the_program_is_called_as_libxl_calls_it() {
        let dom0 = Dom0::new("dom0").unwrap();
        dom0.machine().write_program("/etc/xen/scripts/vif-bridge", SHOW).unwrap();
        let guest = Guest::new(7).unwrap();
        let nic = Nic { emulation: Emulation::EmulatedToo, ..Nic::on_bridge("xenbr0") };
        let vif = guest.attach(&dom0, nic).unwrap();
        let outcome = vif.hotplug(Hotplug::Add).unwrap();
        assert_eq!(outcome.status, Some(3));
        let expected = "/etc/xen/scripts/vif-bridge add type_if=tap\n/\n/dev/null\nINTERFACE=vif7.0-emu\n";
        assert!(outcome.stdout.starts_with(expected), "{}", outcome.stdout);
        for variable in [
            "XENBUS_PATH=backend/vif/7/0",
            "XENBUS_BASE_PATH=backend",
            "XENBUS_TYPE=vif",
            "netdev=",
            "script=/etc/xen/scripts/vif-bridge",
            "vif=vif7.0",
        ] {
            assert!(outcome.stdout.lines().any(|line| line == variable), "{}", outcome.stdout);
        }
    }

    #[test]
    fn a_card_appears_in_store_and_kernel_and_goes() {
        let dom0 = Dom0::new("dom0").unwrap();
        let guest = Guest::new(7).unwrap();
        let vif = guest.attach(&dom0, Nic { mtu: Some(9000), ..Nic::on_bridge("xenbr0") }).unwrap();
        let shown = dom0.machine().ip("link show vif7.0").unwrap();
        assert!(shown.contains("fe:ff:ff:ff:ff:ff") && shown.contains("state DOWN"), "{shown}");
        assert_eq!(vif.backend("hotplug-status").unwrap().as_deref(), Some(""));
        assert_eq!(vif.backend("mtu").unwrap().as_deref(), Some("9000"));
        assert_eq!(vif.backend("ip").unwrap(), None);
        assert_eq!(dom0.store().read("backend/vif/7/0/mac").unwrap(), Some(vif.mac()));
        vif.disappear().unwrap();
        dom0.machine().ip("link show vif7.0").unwrap_err();
        vif.remove_store().unwrap();
        assert_eq!(vif.backend("mac").unwrap(), None);
    }
}
