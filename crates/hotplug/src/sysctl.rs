//! Kernel settings of a device: files below /proc/sys/net.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::host::Family;
use crate::interface_name::InterfaceName;

/// A setting below `net.ipv4.conf` or `net.ipv6.conf`, of one device or of the host.
///
/// Written as operators do, but with slashes, since a device's name may hold a dot: `net/ipv6/conf/eth0.100/accept_ra`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sysctl {
    family: Family,
    place: Place,
    key: SysctlKey,
}

/// Whose setting it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Place {
    /// What a device gets when it is created.
    Default,
    /// The whole host (`conf/all`).
    All,
    /// One device.
    Device(InterfaceName),
}

/// The last part of a setting's path: lower-case letters, digits and `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SysctlKey(String);

impl SysctlKey {
    /// A setting by its file name, such as `accept_ra`.
    ///
    /// # Errors
    /// When something else than a lower-case letter, a digit or `_` stands in it.
    pub fn new(text: &str) -> Result<Self, InvalidSysctl> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if text.is_empty() || !text.bytes().all(allowed) {
            return Err(InvalidSysctl(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }

    /// The file name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text names no setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSysctl(String);

impl fmt::Display for InvalidSysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a setting of net/ipv4/conf or net/ipv6/conf", self.0)
    }
}

impl std::error::Error for InvalidSysctl {}

impl Sysctl {
    /// The setting `key` of `device`.
    #[must_use]
    pub fn of_device(family: Family, device: &InterfaceName, key: &SysctlKey) -> Self {
        Self { family, place: Place::Device(device.clone()), key: key.clone() }
    }

    /// The value of `key` that a new device gets.
    #[must_use]
    pub fn of_new_devices(family: Family, key: &SysctlKey) -> Self {
        Self { family, place: Place::Default, key: key.clone() }
    }

    /// The value of `key` for the host as a whole.
    #[must_use]
    pub fn of_host(family: Family, key: &SysctlKey) -> Self {
        Self { family, place: Place::All, key: key.clone() }
    }

    /// Whether it makes the host a router: for IPv4 another name of `net.ipv4.ip_forward`.
    #[must_use]
    pub fn is_forwarding_of_the_host(&self) -> bool {
        self.place == Place::All && self.key() == "forwarding"
    }

    /// Whether it says that the host believes redirects, which turning into a router changes.
    #[must_use]
    pub fn is_redirects_of_the_host(&self) -> bool {
        self.place == Place::All && self.key() == "accept_redirects"
    }

    /// The device whose `proxy_arp` it is, if it is one: the setting that the kernel tells and takes along with all else of a device.
    #[must_use]
    pub fn device_of_proxy_arp(&self) -> Option<&InterfaceName> {
        self.device().filter(|_| self.family == Family::V4 && self.key() == "proxy_arp")
    }

    /// The device it belongs to, if it belongs to one.
    #[must_use]
    pub fn device(&self) -> Option<&InterfaceName> {
        match &self.place {
            Place::Device(name) => Some(name),
            Place::Default | Place::All => None,
        }
    }

    /// The same setting of another device.
    #[must_use]
    pub fn on_device(&self, device: &InterfaceName) -> Self {
        Self { place: Place::Device(device.clone()), ..self.clone() }
    }

    /// The same setting as new devices get it.
    #[must_use]
    pub fn for_new_devices(&self) -> Self {
        Self { place: Place::Default, ..self.clone() }
    }

    /// The family it belongs to.
    #[must_use]
    pub fn family(&self) -> Family {
        self.family
    }

    /// Its last part.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key.0
    }
}

impl fmt::Display for Sysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.family {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        };
        let place = match &self.place {
            Place::Default => "default",
            Place::All => "all",
            Place::Device(name) => name.as_str(),
        };
        write!(f, "net/{family}/conf/{place}/{}", self.key.0)
    }
}

impl FromStr for Sysctl {
    type Err = InvalidSysctl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidSysctl(text.to_owned());
        let parts: Vec<&str> = text.split('/').collect();
        let [net, family, conf, place, key] = parts.as_slice() else { return Err(invalid()) };
        let family = match (*net, *family, *conf) {
            ("net", "ipv4", "conf") => Family::V4,
            ("net", "ipv6", "conf") => Family::V6,
            _ => return Err(invalid()),
        };
        let place = match *place {
            "default" => Place::Default,
            "all" => Place::All,
            name => Place::Device(name.parse().map_err(|_| invalid())?),
        };
        Ok(Self { family, place, key: SysctlKey::new(key)? })
    }
}

impl TryFrom<String> for Sysctl {
    type Error = InvalidSysctl;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Sysctl> for String {
    fn from(sysctl: Sysctl) -> Self {
        sysctl.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_survives_a_round_trip() {
        for text in ["net/ipv6/conf/eth0.100/accept_ra", "net/ipv4/conf/default/rp_filter", "net/ipv6/conf/all/forwarding"] {
            assert_eq!(text.parse::<Sysctl>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn nothing_outside_its_folder_can_be_named() {
        for text in ["net/ipv4/ip_forward", "kernel/x/conf/a/b", "net/ipv4/conf/../rp_filter", "net/ipv4/conf/eth0/../x", ""] {
            assert!(text.parse::<Sysctl>().is_err(), "{text}");
        }
    }
}
