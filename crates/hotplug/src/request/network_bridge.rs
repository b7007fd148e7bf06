//! What network-bridge is asked.

use std::net::IpAddr;

use super::antispoof::AntiSpoof;
use super::network::{self, name, yes_or_no};
use crate::invocation::shortened;
use crate::plan::Refusal;
use crate::plan::network_bridge::Asked;

/// The command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Make the bridge.
    Start,
    /// Take it apart.
    Stop,
    /// Show it.
    Status,
    /// Take back what a killed run has left half done.
    Repair,
}

impl Command {
    fn parse(text: &str) -> Result<Self, Refusal> {
        if text == "repair" {
            return Ok(Self::Repair);
        }
        Ok(match network::Command::parse(text)? {
            network::Command::Start => Self::Start,
            network::Command::Stop => Self::Stop,
            network::Command::Status => Self::Status,
        })
    }
}

/// Which router has to answer once the bridge is in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Check {
    /// The default gateway, if it answered before.
    #[default]
    Gateway,
    /// This address.
    Address(IpAddr),
    /// None.
    Off,
}

/// Whether to go on where another program manages the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Force {
    /// Refuse, and say what to configure instead.
    #[default]
    No,
    /// Go on all the same.
    Yes,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkBridge {
    /// The command.
    pub command: Command,
    /// The names given; `None` when `bridge=null` asks for no bridge at all.
    pub asked: Option<Asked>,
    /// The check after the switch.
    pub check: Check,
    /// Whether to go on against the device's manager.
    pub force: Force,
    /// What guests of this bridge are held to who have no word of their own.
    pub antispoof: Option<AntiSpoof>,
}

impl NetworkBridge {
    /// From the command and the variables: `variable` looks one up.
    ///
    /// # Errors
    /// When a value is malformed.
    pub fn parse<'a>(command: &str, variable: impl Fn(&str) -> Option<&'a str>) -> Result<Self, Refusal> {
        let given = |name: &str| variable(name).filter(|text| !text.is_empty());
        let netdev = name(given("netdev"), "netdev")?;
        let asked = match given("bridge") {
            Some("null") => None,
            text => Some(Asked { netdev, bridge: name(text, "bridge")? }),
        };
        parse_number(given("vifnum"))?;
        Ok(Self {
            command: Command::parse(command)?,
            asked,
            check: parse_check(given("check"))?,
            force: yes_or_no(given("force"), "force")?.map_or(Force::No, |yes| if yes { Force::Yes } else { Force::No }),
            antispoof: AntiSpoof::parse(given("antispoof"))?,
        })
    }
}

/// `vifnum` numbered the original's first scripts' bridges (xenbr0, veth0); it is accepted and has no effect.
fn parse_number(text: Option<&str>) -> Result<(), Refusal> {
    match text.map(str::parse::<u32>) {
        None | Some(Ok(_)) => Ok(()),
        Some(Err(_)) => {
            Err(Refusal::plain(format!("vifnum={} is not a number", shortened(text.unwrap_or_default()).escape_default())))
        }
    }
}

fn parse_check(text: Option<&str>) -> Result<Check, Refusal> {
    match text {
        None | Some("yes") => Ok(Check::Gateway),
        Some("no" | "off") => Ok(Check::Off),
        Some(text) => text.parse().map(Check::Address).map_err(|_| {
            Refusal::plain(format!("check={} is neither an address, nor yes, nor no", shortened(text).escape_default()))
        }),
    }
}
