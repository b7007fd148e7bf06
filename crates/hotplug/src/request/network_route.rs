//! What network-route is asked.

use super::antispoof::AntiSpoof;
pub use super::network::{Command, Ipv6};
use super::network::{name, yes_or_no};
use crate::interface_name::InterfaceName;
use crate::plan::Refusal;

/// Whether packets leave with the host's own address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Translation {
    /// They keep the guests' addresses.
    #[default]
    None,
    /// IPv4 packets are masqueraded.
    Masquerade,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkRoute {
    /// The command.
    pub command: Command,
    /// The device that leads outside, where it was named.
    pub netdev: Option<InterfaceName>,
    /// What becomes of IPv4 packets that leave.
    pub translation: Translation,
    /// What happens to IPv6.
    pub ipv6: Ipv6,
    /// What guests are held to who have no word of their own.
    pub antispoof: Option<AntiSpoof>,
}

impl NetworkRoute {
    /// From the command and the variables: `variable` looks one up.
    ///
    /// # Errors
    /// When a value is malformed.
    pub fn parse<'a>(command: &str, variable: impl Fn(&str) -> Option<&'a str>) -> Result<Self, Refusal> {
        let given = |name: &str| variable(name).filter(|text| !text.is_empty());
        let masquerade = yes_or_no(given("masquerade"), "masquerade")?.unwrap_or(false);
        Ok(Self {
            command: Command::parse(command)?,
            netdev: name(given("netdev"), "netdev")?,
            translation: if masquerade { Translation::Masquerade } else { Translation::None },
            ipv6: Ipv6::parse(given("ipv6"))?.unwrap_or(Ipv6::Route),
            antispoof: AntiSpoof::parse(given("antispoof"))?,
        })
    }
}
