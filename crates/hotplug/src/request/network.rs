//! What the network programs are asked alike.

use crate::interface_name::InterfaceName;
use crate::invocation::shortened;
use crate::plan::Refusal;

/// The command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Set the host's network up for guests.
    Start,
    /// Take that back.
    Stop,
    /// Show it.
    Status,
}

impl Command {
    /// # Errors
    /// When there is no such command.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        match text {
            "start" => Ok(Self::Start),
            "stop" => Ok(Self::Stop),
            "status" => Ok(Self::Status),
            other => Err(Refusal::plain(format!(
                "Unknown command: {}. Valid commands are: start, stop, status",
                shortened(other).escape_default()
            ))),
        }
    }
}

/// What happens to IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv6 {
    /// Nothing.
    Off,
    /// It is forwarded.
    Route,
    /// It is forwarded, and leaves with the host's own address.
    Nat,
}

impl Ipv6 {
    /// # Errors
    /// When it is none of the three words.
    pub(super) fn parse(text: Option<&str>) -> Result<Option<Self>, Refusal> {
        match text {
            None => Ok(None),
            Some("no") => Ok(Some(Self::Off)),
            Some("yes") => Ok(Some(Self::Route)),
            Some("nat") => Ok(Some(Self::Nat)),
            Some(other) => {
                Err(Refusal::plain(format!("ipv6={} is neither yes, nor no, nor nat", shortened(other).escape_default())))
            }
        }
    }
}

pub(super) fn name(text: Option<&str>, variable: &str) -> Result<Option<InterfaceName>, Refusal> {
    text.map(str::parse).transpose().map_err(|error| Refusal::plain(format!("{variable}= names no device: {error}")))
}

pub(super) fn yes_or_no(text: Option<&str>, variable: &str) -> Result<Option<bool>, Refusal> {
    match text {
        None => Ok(None),
        Some("yes") => Ok(Some(true)),
        Some("no") => Ok(Some(false)),
        Some(other) => Err(Refusal::plain(format!("{variable}={} is neither yes nor no", shortened(other).escape_default()))),
    }
}
