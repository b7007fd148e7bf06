//! What the `vif-*` programs are asked: one guest's interface, and whether it comes or goes.

use std::fmt;

use ipnetwork::IpNetwork;
use xenstore::StorePath;

use crate::host::{Host, Link};
use crate::interface_name::{InterfaceName, InvalidInterfaceName};
use crate::invocation::shortened;
use crate::mac_address::BACKEND_MAC;
use crate::operation::HookCall;
use crate::plan::Refusal;
use crate::plan::vif_bridge::BridgeChoice;

/// Which of a guest's two sorts of interface is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VifKind {
    /// The paravirtual interface, by netback (`type_if=vif`).
    Vif,
    /// The emulated one of an HVM guest, by the device model (`type_if=tap`).
    Tap,
}

/// Whether the interface comes or goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coming {
    /// `online` of a vif, `add` of a tap.
    Comes,
    /// `offline` of a vif, `remove` of a tap.
    Goes,
}

/// The MTU of a vif.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mtu {
    /// As the configuration says, in bytes.
    Bytes(u32),
    /// The configuration says nothing: that of the bridge, or the one that the device has.
    Unset,
}

impl Mtu {
    /// The number that was configured.
    #[must_use]
    pub fn bytes(self) -> Option<u32> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Unset => None,
        }
    }
}

/// What the command line and the environment say, before XenStore is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VifCall {
    /// Comes or goes.
    pub coming: Coming,
    /// Paravirtual or emulated.
    pub kind: VifKind,
    /// The device, by the name that its driver gave it.
    pub device: InterfaceName,
    /// The backend's folder in XenStore.
    pub backend: StorePath,
}

/// The words that are needed to know which vif is meant.
#[derive(Clone, Copy, Debug, Default)]
pub struct VifWords<'a> {
    /// The command.
    pub command: &'a str,
    /// `type_if`
    pub type_if: Option<&'a str>,
    /// `vif`
    pub vif: Option<&'a str>,
    /// `INTERFACE`
    pub interface: Option<&'a str>,
    /// `XENBUS_PATH`
    pub xenbus_path: Option<&'a str>,
}

impl<'a> VifWords<'a> {
    /// The paravirtual interface's name. xapi's wrapper says INTERFACE where the others say vif; in a call of libxl's, INTERFACE is the
    /// emulated twin.
    fn named_vif(&self) -> Option<&'a str> {
        let given = |word: Option<&'a str>| word.filter(|word| !word.is_empty());
        given(self.vif).or_else(|| given(self.interface).filter(|name| !name.ends_with("-emu")))
    }

    /// The backend's folder, if the words name it well enough to be told of a failure, and the toolstack waits for an answer.
    #[must_use]
    pub fn waiting_backend(&self) -> Option<StorePath> {
        let waits = matches!(self.command, "online" | "add");
        self.xenbus_path.filter(|_| waits).and_then(|path| backend_folder(path).ok())
    }
}

impl VifCall {
    /// Which vif is meant. `None` when the command is not for this sort of interface: then nothing is to be done.
    ///
    /// # Errors
    /// When something that is needed is missing or malformed; the sentence says how to give it.
    pub fn parse(words: &VifWords<'_>) -> Result<Option<Self>, Refusal> {
        let kind = match words.type_if.filter(|word| !word.is_empty()) {
            None | Some("vif") => VifKind::Vif,
            Some("tap") => VifKind::Tap,
            Some(other) => {
                return Err(Refusal::plain(format!(
                    "unknown interface type type_if={}: it is vif or tap",
                    shortened(other).escape_default()
                )));
            }
        };
        let coming = match (words.command, kind) {
            ("online", VifKind::Vif) | ("add", VifKind::Tap) => Coming::Comes,
            ("offline", VifKind::Vif) | ("remove", VifKind::Tap) => Coming::Goes,
            _ => return Ok(None),
        };
        let (device, backend) = match kind {
            VifKind::Vif => Self::of_vif(words)?,
            VifKind::Tap => Self::of_tap(words)?,
        };
        Ok(Some(Self { coming, kind, device, backend }))
    }

    fn of_vif(words: &VifWords<'_>) -> Result<(InterfaceName, StorePath), Refusal> {
        let path = needed(words.xenbus_path, "XENBUS_PATH", "XENBUS_PATH=backend/vif/1/0")?;
        let backend = backend_folder(path)?;
        let device = device_name(needed(words.named_vif(), "vif", "vif=vif1.0")?, "vif")?;
        Ok((device, backend))
    }

    /// The backend's folder follows from the name `vifD.N-emu`; it is below the own domain's, which need not be domain 0.
    fn of_tap(words: &VifWords<'_>) -> Result<(InterfaceName, StorePath), Refusal> {
        let device = device_name(needed(words.interface, "INTERFACE", "INTERFACE=vif1.0-emu")?, "INTERFACE")?;
        let numbers = device.vif_numbers().filter(|_| device.as_str().ends_with("-emu"));
        let backend = numbers.and_then(|(domain, handle)| StorePath::parse(&format!("backend/vif/{domain}/{handle}")).ok());
        match backend {
            Some(backend) => Ok((device, backend)),
            None => Err(Refusal::plain(format!("INTERFACE={device} is not the name of an emulated interface such as vif1.0-emu"))),
        }
    }
}

fn needed<'a>(value: Option<&'a str>, name: &str, example: &str) -> Result<&'a str, Refusal> {
    value.filter(|value| !value.is_empty()).ok_or_else(|| {
        Refusal::plain(format!("{name} is missing: the toolstack passes it; by hand, put it before the program, as in {example}"))
    })
}

/// The folder of a vif's backend, such as `backend/vif/1/0`: of another one, keys would be read and written that are nobody's of ours.
fn backend_folder(text: &str) -> Result<StorePath, Refusal> {
    let path = StorePath::parse(text).map_err(|error| Refusal::plain(format!("XENBUS_PATH is not a XenStore path: {error}")))?;
    let mut parts = path.as_str().rsplit('/');
    let numbers = (parts.next().map(str::parse::<u32>), parts.next().map(str::parse::<u16>));
    match (numbers, parts.next(), parts.next()) {
        ((Some(Ok(_)), Some(Ok(_))), Some(_), Some("backend")) => Ok(path),
        _ => Err(Refusal::plain(format!(
            "XENBUS_PATH={} is not the folder of an interface's backend such as backend/vif/1/0",
            shortened(text).escape_default()
        ))),
    }
}

fn device_name(text: &str, variable: &str) -> Result<InterfaceName, Refusal> {
    let name: InterfaceName = text.parse().map_err(|error| Refusal::plain(format!("{variable} names no interface: {error}")))?;
    match name.as_str() {
        // It would be taken down, and with it much of the host.
        "lo" => Err(Refusal::plain(format!("{variable}=lo is no guest's interface"))),
        _ => Ok(name),
    }
}

/// The keys of a backend's folder that matter here, in the order in which [`BackendKeys::from_values`] takes their values.
pub const BACKEND_KEYS: [&str; 12] =
    ["vifname", "bridge", "ip", "mtu", "frontend", "vlan", "gatewaydev", "mac", "antispoof", "isolated", "type", "iface-id"];

/// What a backend's folder in XenStore says: raw, as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendKeys {
    /// The name that the interface shall have.
    pub vifname: Option<String>,
    /// The bridge.
    pub bridge: Option<String>,
    /// The guest's addresses, separated by spaces.
    pub ip: Option<String>,
    /// The MTU in bytes.
    pub mtu: Option<String>,
    /// The frontend's folder.
    pub frontend: Option<String>,
    /// The VLANs.
    pub vlan: Option<String>,
    /// The device towards the outside.
    pub gatewaydev: Option<String>,
    /// The guest's Ethernet address.
    pub mac: Option<String>,
    /// What the guest is held to.
    pub antispoof: Option<String>,
    /// Whether it is kept from other isolated guests.
    pub isolated: Option<String>,
    /// What cards the guest has, for [`Cards::of_vif_type`].
    pub vif_type: Option<String>,
    /// The port of a logical switch.
    pub iface_id: Option<String>,
}

impl BackendKeys {
    /// From the values of [`BACKEND_KEYS`] in their order.
    ///
    /// # Errors
    /// When a value is not text.
    pub fn from_values(values: Vec<Option<Vec<u8>>>) -> Result<Self, Refusal> {
        let mut texts = BACKEND_KEYS.iter().zip(values).map(|(key, value)| text_of(key, value));
        let mut next = || texts.next().transpose().map(Option::flatten);
        Ok(Self {
            vifname: next()?,
            bridge: next()?,
            ip: next()?,
            mtu: next()?,
            frontend: next()?,
            vlan: next()?,
            gatewaydev: next()?,
            mac: next()?,
            antispoof: next()?,
            isolated: next()?,
            vif_type: next()?,
            iface_id: next()?,
        })
    }
}

fn text_of(key: &str, value: Option<Vec<u8>>) -> Result<Option<String>, Refusal> {
    match value.map(String::from_utf8).transpose() {
        Ok(text) => Ok(text.filter(|text| !text.is_empty())),
        Err(_) => Err(Refusal::plain(format!("the XenStore key {key} of this interface is not text"))),
    }
}

/// What a guest has of one network interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cards {
    /// The paravirtual one alone.
    Paravirtual,
    /// An emulated one as well, with the same Ethernet address: the guest uses it until its own driver takes over.
    EmulatedToo,
}

impl Cards {
    /// As the backend's key `type` says: `vif` or `vif_ioemu` by libxl, `ioemu` by xend.
    #[must_use]
    pub fn of_vif_type(word: Option<&str>) -> Self {
        if word.is_some_and(|word| word.ends_with("ioemu")) { Self::EmulatedToo } else { Self::Paravirtual }
    }
}

/// A guest's interface with all that is to be known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vif {
    /// Paravirtual or emulated.
    pub kind: VifKind,
    /// The device, by the name that its driver gave it.
    pub device: InterfaceName,
    /// The name that the guest's configuration asks for.
    pub renamed: Option<InterfaceName>,
    /// The backend's folder in XenStore.
    pub backend: StorePath,
    /// Its MTU.
    pub mtu: Mtu,
    /// The guest's addresses.
    pub addresses: Vec<IpNetwork>,
    /// The frontend's folder in XenStore.
    frontend: Option<StorePath>,
}

impl Vif {
    /// From the call, the backend's keys and, where a key is missing, the variables: `variable` looks one up.
    ///
    /// # Errors
    /// When a value is malformed.
    pub fn new<'a>(call: &VifCall, keys: &'a BackendKeys, variable: impl Fn(&str) -> Option<&'a str>) -> Result<Self, Refusal> {
        let value = |key: &'a Option<String>, name: &str| key.as_deref().or_else(|| variable(name)).filter(|text| !text.is_empty());
        let renamed = value(&keys.vifname, "vifname")
            .map(|text| name_of_its_own(call.kind, text))
            .transpose()
            .map_err(|error| Refusal::plain(format!("vifname is no name for an interface: {error}")))?;
        Ok(Self {
            kind: call.kind,
            device: call.device.clone(),
            renamed,
            backend: call.backend.clone(),
            mtu: parse_mtu(value(&keys.mtu, "mtu"))?,
            addresses: parse_addresses(value(&keys.ip, "ip").unwrap_or_default())?,
            frontend: frontend_of(call, keys)?,
        })
    }

    /// The backend's folder by itself, with everything else left at its default: enough to take an interface down though its
    /// configuration is broken.
    #[must_use]
    pub fn bare(call: &VifCall, keys: &BackendKeys) -> Self {
        let renamed = keys.vifname.as_deref().and_then(|text| name_of_its_own(call.kind, text).ok());
        Self {
            kind: call.kind,
            device: call.device.clone(),
            renamed,
            backend: call.backend.clone(),
            mtu: Mtu::Unset,
            addresses: vec![],
            frontend: None,
        }
    }

    /// The path of one of the backend's keys.
    #[must_use]
    pub fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.backend.as_str())
    }

    /// The guest's domain and the number of the interface among its own: the last two parts of the backend's path.
    #[must_use]
    pub fn numbers(&self) -> (u16, u32) {
        let mut parts = self.backend.as_str().rsplit('/');
        let handle = parts.next().and_then(|part| part.parse().ok()).unwrap_or_default();
        let domain = parts.next().and_then(|part| part.parse().ok()).unwrap_or_default();
        (domain, handle)
    }

    /// Where the frontend is told its MTU. An emulated interface has no frontend to tell.
    #[must_use]
    pub fn frontend_mtu(&self) -> Option<String> {
        match self.kind {
            VifKind::Vif => self.frontend.as_ref().map(|frontend| format!("{}/mtu", frontend.as_str())),
            VifKind::Tap => None,
        }
    }

    /// What a renamed device carries as its alias, so that it can be told from another guest's device of the same name.
    #[must_use]
    pub fn alias(&self) -> String {
        self.device.to_string()
    }

    /// The device of this vif: under its driver's name, or renamed already by an earlier run.
    ///
    /// # Errors
    /// When there is none.
    pub fn present<'a>(&self, host: &'a Host) -> Result<&'a Link, Refusal> {
        self.leftover(host).ok_or_else(|| {
            Refusal::plain(format!(
                "There is no network interface {}: its driver has not created it, or it is gone again",
                self.device
            ))
        })
    }

    /// The device of this vif, if it is still there. A bridge is never it, nor is another guest's or the host's own device that bears the
    /// name this one asked for: a renamed vif carries our alias, or, if a script renamed it, at least the address of backends. Nor is it one
    /// that was given the name of this vif's driver by another guest's `vifname`.
    #[must_use]
    pub fn leftover<'a>(&self, host: &'a Host) -> Option<&'a Link> {
        let renamed = || {
            let link = host.link(self.renamed.as_ref()?)?;
            let ours = match &link.alias {
                Some(alias) => *alias == self.alias(),
                None => link.mac == Some(BACKEND_MAC),
            };
            ours.then_some(link)
        };
        let is_a_vif = |alias: &str| alias.parse().is_ok_and(|name: InterfaceName| name.vif_numbers().is_some());
        let is_anothers = |link: &&Link| link.alias.as_deref().is_some_and(|alias| alias != self.alias() && is_a_vif(alias));
        host.link(&self.device).filter(|link| !is_anothers(link)).or_else(renamed).filter(|link| !link.is_bridge())
    }

    /// The names under which the device may be found.
    pub fn names(&self) -> impl Iterator<Item = &InterfaceName> {
        std::iter::once(&self.device).chain(&self.renamed)
    }

    /// `call` with what is known now.
    #[must_use]
    pub fn told(&self, mut call: HookCall, bridge: Option<&InterfaceName>, device: Option<&InterfaceName>) -> HookCall {
        let device = device.or(self.renamed.as_ref()).unwrap_or(&self.device);
        let addresses: Vec<String> = self.addresses.iter().map(short_address).collect();
        call.variables.extend([
            ("dev".to_owned(), device.to_string()),
            ("bridge".to_owned(), bridge.map(ToString::to_string).unwrap_or_default()),
            ("ip".to_owned(), addresses.join(" ")),
            ("vifname".to_owned(), self.renamed.as_ref().map(ToString::to_string).unwrap_or_default()),
            ("XENBUS_PATH".to_owned(), self.backend.as_str().to_owned()),
        ]);
        call
    }
}

/// What an interface is called whose configuration says `vifname`: the emulated one, and it alone, is told by its end from the other, which runs
/// beside it.
fn name_of_its_own(kind: VifKind, vifname: &str) -> Result<InterfaceName, InvalidInterfaceName> {
    let suffix = match kind {
        VifKind::Vif => "",
        VifKind::Tap => "-emu",
    };
    vifname.parse::<InterfaceName>().and_then(|name| name.with_suffix(suffix))
}

/// An address by itself stands without the length of its network.
fn short_address(network: &IpNetwork) -> String {
    let single = network.prefix() == if network.is_ipv4() { 32 } else { 128 };
    if single { network.ip().to_string() } else { network.to_string() }
}

/// The least MTU of IPv4 (RFC 791), and the most that Ethernet devices take in Linux (`ETH_MAX_MTU`).
const MTU_RANGE: std::ops::RangeInclusive<u32> = 68..=65535;

fn parse_mtu(text: Option<&str>) -> Result<Mtu, Refusal> {
    match text {
        None => Ok(Mtu::Unset),
        Some(text) => match text.parse() {
            Ok(0) => Ok(Mtu::Unset),
            Ok(bytes) if MTU_RANGE.contains(&bytes) => Ok(Mtu::Bytes(bytes)),
            _ => Err(Refusal::plain(format!("mtu={} is not a number of bytes from 68 to 65535", shortened(text).escape_default()))),
        },
    }
}

fn parse_addresses(text: &str) -> Result<Vec<IpNetwork>, Refusal> {
    text.split_ascii_whitespace()
        .map(|word| {
            word.parse().map_err(|_| {
                Refusal::plain(format!(
                    "ip={} is not a list of addresses such as 192.168.1.7 or 2001:db8::/64, separated by spaces",
                    shortened(text).escape_default()
                ))
            })
        })
        .collect()
}

/// The frontend's folder as the toolstack wrote it, else by Xen's convention (libxl, `libxl__domain_device_frontend_path()`).
fn frontend_of(call: &VifCall, keys: &BackendKeys) -> Result<Option<StorePath>, Refusal> {
    let by_convention = || {
        let mut parts = call.backend.as_str().rsplit('/');
        let (handle, domain) = (parts.next()?.parse::<u32>().ok()?, parts.next()?.parse::<u16>().ok()?);
        StorePath::parse(&format!("/local/domain/{domain}/device/vif/{handle}")).ok()
    };
    let Some(text) = &keys.frontend else { return Ok(by_convention()) };
    let expected = text.strip_prefix("/local/domain/").is_some_and(|rest| rest.contains("/device/vif/"));
    match StorePath::parse(text) {
        Ok(path) if expected => Ok(Some(path)),
        _ => Err(Refusal::plain("the XenStore key frontend of this interface names no guest's folder of a vif")),
    }
}

/// The bridge that is asked for by the backend's key, else by a variable, else the first of the host.
///
/// # Errors
/// When the name is no name.
pub fn bridge_choice(key: Option<&str>, variable: Option<&str>) -> Result<BridgeChoice, Refusal> {
    match key.or(variable).filter(|text| !text.is_empty()) {
        None => Ok(BridgeChoice::First),
        Some(text) => match text.parse() {
            Ok(name) => Ok(BridgeChoice::Named(name)),
            Err(error) => Err(Refusal::plain(format!("bridge= names no bridge: {error}"))),
        },
    }
}

impl fmt::Display for VifCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.device, self.backend.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare(words: &VifWords<'_>, vifname: &str) -> Option<String> {
        let call = VifCall::parse(words).unwrap().unwrap();
        let keys = BackendKeys { vifname: Some(vifname.to_owned()), mtu: Some("much".to_owned()), ..BackendKeys::default() };
        Vif::bare(&call, &keys).renamed.map(|name| name.to_string())
    }

    #[test]
    fn a_device_that_another_guest_has_given_this_name_is_not_this_ones() {
        let words =
            VifWords { command: "offline", vif: Some("vif2.0"), xenbus_path: Some("backend/vif/2/0"), ..VifWords::default() };
        let vif = Vif::bare(&VifCall::parse(&words).unwrap().unwrap(), &BackendKeys::default());
        let with_alias = |alias: Option<&str>| {
            let link = serde_json::json!({ "name": "vif2.0", "mtu": 1500, "alias": alias });
            Host { links: vec![serde_json::from_value(link).unwrap()], ..Host::default() }
        };
        assert!(vif.leftover(&with_alias(Some("vif1.0"))).is_none());
        for alias in [None, Some("vif2.0"), Some("what the administrator calls it"), Some("vif of guest 1.0")] {
            assert!(vif.leftover(&with_alias(alias)).is_some(), "{alias:?}");
        }
    }

    #[test]
    fn an_emulated_interface_that_goes_is_never_taken_for_its_twin() {
        let tap = VifWords { command: "remove", type_if: Some("tap"), interface: Some("vif1.0-emu"), ..VifWords::default() };
        assert_eq!(bare(&tap, "web0").as_deref(), Some("web0-emu"));
        assert_eq!(bare(&tap, "a-name-of-15-ch").as_deref(), None);
        let vif = VifWords { command: "offline", vif: Some("vif1.0"), xenbus_path: Some("backend/vif/1/0"), ..VifWords::default() };
        assert_eq!(bare(&vif, "web0").as_deref(), Some("web0"));
    }
}
