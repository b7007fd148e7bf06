//! Names of network interfaces that the kernel would accept.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A name that a network interface may have.
///
/// The rules are those of `dev_valid_name()` in Linux's net/core/dev.c: 1 to 15 bytes, not `.` or `..`, no `/`, no `:`, no white
/// space. Two more are ours: no `%`, because the kernel takes it for a pattern and picks a number (`dev_alloc_name()`), and only
/// printable ASCII, so that a name never disturbs a log, a path or a terminal.
///
/// It is kept in place, without memory of its own: a plan names devices over and over.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfaceName {
    /// Filled up with zeros, which stand before every letter: names are in the order of their texts.
    bytes: [u8; INTERFACE_NAME_MAX],
    length: u8,
}

/// Longest name in bytes: `IFNAMSIZ` less the closing zero (include/uapi/linux/if.h).
pub const INTERFACE_NAME_MAX: usize = 15;

/// Why a word is not the name of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidInterfaceName {
    /// There is nothing in it.
    Empty,
    /// More than [`INTERFACE_NAME_MAX`] bytes.
    TooLong(String),
    /// Holds something that the kernel or this crate refuses.
    Forbidden(String),
}

impl fmt::Display for InvalidInterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "an interface name may not be empty"),
            Self::TooLong(name) => write!(
                f,
                "{:?} is too long for an interface name: the kernel takes {INTERFACE_NAME_MAX} characters",
                shortened(name)
            ),
            Self::Forbidden(name) => write!(
                f,
                "{:?} cannot be an interface name: letters, digits and most signs may stand in one, but no space, '/', ':' or '%'",
                shortened(name)
            ),
        }
    }
}

impl std::error::Error for InvalidInterfaceName {}

/// The first characters of hostile input, enough to recognise it in a message.
fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

impl InterfaceName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let text = self.bytes.get(..usize::from(self.length)).map(std::str::from_utf8);
        text.and_then(Result::ok).unwrap_or_default()
    }

    /// The domain and the handle in the name that netback gives a guest's device, `vifD.N`, or qemu its emulated twin, `vifD.N-emu`.
    #[must_use]
    pub fn vif_numbers(&self) -> Option<(u16, u32)> {
        let name = self.as_str();
        let (domain, handle) = name.strip_suffix("-emu").unwrap_or(name).strip_prefix("vif")?.split_once('.')?;
        Some((domain.parse().ok()?, handle.parse().ok()?))
    }

    /// This name with `prefix` before it: `eth0` with `p` is `peth0`.
    ///
    /// # Errors
    /// When the result is longer than the kernel allows.
    pub fn with_prefix(&self, prefix: &str) -> Result<Self, InvalidInterfaceName> {
        format!("{prefix}{self}").parse()
    }

    /// This name with `suffix` after it: `web0` with `-emu` is `web0-emu`.
    ///
    /// # Errors
    /// When the result is longer than the kernel allows.
    pub fn with_suffix(&self, suffix: &str) -> Result<Self, InvalidInterfaceName> {
        format!("{self}{suffix}").parse()
    }
}

impl FromStr for InterfaceName {
    type Err = InvalidInterfaceName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(InvalidInterfaceName::Empty);
        }
        if text.len() > INTERFACE_NAME_MAX {
            return Err(InvalidInterfaceName::TooLong(text.to_owned()));
        }
        let allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'%');
        if text == "." || text == ".." || !text.bytes().all(allowed) {
            return Err(InvalidInterfaceName::Forbidden(text.to_owned()));
        }
        let mut bytes = [0; INTERFACE_NAME_MAX];
        bytes.iter_mut().zip(text.bytes()).for_each(|(place, byte)| *place = byte);
        Ok(Self { bytes, length: u8::try_from(text.len()).unwrap_or_default() })
    }
}

impl TryFrom<String> for InterfaceName {
    type Error = InvalidInterfaceName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<InterfaceName> for String {
    fn from(name: InterfaceName) -> Self {
        name.as_str().to_owned()
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InterfaceName").field(&self.as_str()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_hosts_use() {
        for name in ["eth0", "enp3s0", "vif12.3", "vif12.3-emu", "eth0.100", "br-lan", "xenbr1", "wlx00c0ca123456"] {
            assert_eq!(name.parse::<InterfaceName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn refuses_what_the_kernel_refuses_or_reads_as_a_pattern() {
        for name in ["", ".", "..", "a b", "a/b", "a:1", "eth%d", "sixteen-letters-", "a\nb", "a\0b", "é"] {
            assert!(name.parse::<InterfaceName>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn names_are_in_the_order_of_their_texts() {
        let texts = ["br10", "br1", "eth0", "br2", "br", "fifteen-letters"];
        let mut names = texts.map(|text| text.parse::<InterfaceName>().unwrap());
        let mut sorted = texts;
        names.sort();
        sorted.sort_unstable();
        assert_eq!(names.each_ref().map(InterfaceName::as_str), sorted);
    }

    #[test]
    fn names_of_guests_devices_are_recognised() {
        let numbers = |name: &str| name.parse::<InterfaceName>().unwrap().vif_numbers();
        assert_eq!(numbers("vif3.1"), Some((3, 1)));
        assert_eq!(numbers("vif3.1-emu"), Some((3, 1)));
        for other in ["vif3", "vif3.x", "web0", "vif99999.0", "xvif1.0", "vif1.0-em"] {
            assert_eq!(numbers(other), None, "{other}");
        }
    }

    #[test]
    fn prefix_may_not_make_it_too_long() {
        let name: InterfaceName = "fifteen-letters".parse().unwrap();
        assert!(name.with_prefix("p").is_err());
    }
}
