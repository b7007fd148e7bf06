//! Ethernet addresses.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An Ethernet (EUI-48) address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress([u8; 6]);

/// What every backend interface of a guest carries: the largest address that is not a group address. A bridge takes the smallest
/// address among its ports as its own, so this one never wins (net/bridge/br_stp_if.c, `br_stp_recalculate_bridge_id()`).
pub const BACKEND_MAC: MacAddress = MacAddress([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff]);

/// Why a text is not an Ethernet address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidMacAddress(String);

impl fmt::Display for InvalidMacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = self.0.chars().take(40).collect();
        write!(f, "{text:?} is not an Ethernet address such as 00:16:3e:01:02:03")
    }
}

impl std::error::Error for InvalidMacAddress {}

impl MacAddress {
    /// An address from its six bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 6]) -> Self {
        Self(bytes)
    }

    /// An address of the same sort that no card has been given by its maker (IEEE 802, the U/L bit), made of this one.
    #[must_use]
    pub const fn locally_administered(self) -> Self {
        let [first, second, third, fourth, fifth, sixth] = self.0;
        Self([first & 0xfe | 0x02, second, third, fourth, fifth, sixth])
    }

    /// Whether it stands for many (IEEE 802, the I/G bit): a group, or everybody.
    #[must_use]
    pub const fn is_group(self) -> bool {
        let [first, ..] = self.0;
        first & 1 != 0
    }

    /// The six bytes, first on the wire first.
    #[must_use]
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl FromStr for MacAddress {
    type Err = InvalidMacAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidMacAddress(text.to_owned());
        let mut bytes = [0; 6];
        let mut groups = text.split(':');
        for byte in &mut bytes {
            let group = groups.next().ok_or_else(invalid)?;
            let digits = (1..=2).contains(&group.len()) && group.bytes().all(|b| b.is_ascii_hexdigit());
            *byte = digits.then(|| u8::from_str_radix(group, 16).ok()).flatten().ok_or_else(invalid)?;
        }
        match groups.next() {
            None => Ok(Self(bytes)),
            Some(_) => Err(invalid()),
        }
    }
}

impl TryFrom<String> for MacAddress {
    type Error = InvalidMacAddress;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> Self {
        mac.to_string()
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints() {
        assert_eq!("00:16:3E:1:2:03".parse::<MacAddress>().unwrap().to_string(), "00:16:3e:01:02:03");
        assert_eq!(BACKEND_MAC.to_string(), "fe:ff:ff:ff:ff:ff");
    }

    #[test]
    fn refuses_everything_else() {
        for text in
            ["", "00:16:3e:01:02", "00:16:3e:01:02:03:04", "00:16:3e:01:02:0g", "00:16:3e:01:02:", "+1:0:0:0:0:0", "000:0:0:0:0:0"]
        {
            assert!(text.parse::<MacAddress>().is_err(), "{text:?}");
        }
    }
}
