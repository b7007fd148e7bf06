//! What network-bridge remembers of the bridges it has made, until the machine restarts.

use serde::{Deserialize, Serialize};

use crate::host::{AdminState, Host, Link};
use crate::plan::network_bridge::Names;

/// Who set the addresses of a bridged device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub enum AddressSource {
    /// They were moved as they were.
    #[default]
    Moved,
    /// ifupdown was asked to take the device down and to bring the bridge up, with its DHCP client.
    IfUpDown,
}

/// A bridge that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Its names.
    pub names: Names,
    /// Where its addresses come from.
    #[serde(default)]
    pub addresses: AddressSource,
    /// How `start` found the device.
    pub state: AdminState,
}

/// All bridges that were made and not taken apart since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Record {
    /// The bridges, the oldest first.
    pub started: Vec<Started>,
}

impl Record {
    /// From the text that was written; `None` when it is not such a text, which is no reason to fail: the record is only a help.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// As text.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// With `started` in it, in place of any other entry for its bridge or device.
    #[must_use]
    pub fn with(mut self, started: Started) -> Self {
        self.started.retain(|other| other.names.bridge != started.names.bridge && other.names.netdev != started.names.netdev);
        self.started.push(started);
        self
    }

    /// Without the bridge of these names.
    #[must_use]
    pub fn without(mut self, names: &Names) -> Self {
        self.started.retain(|other| other.names != *names);
        self
    }

    /// Without those bridges that are not among the devices of `host`.
    #[must_use]
    pub fn of_those_on(mut self, host: &Host) -> Self {
        self.started.retain(|started| host.link(&started.names.bridge).is_some_and(Link::is_bridge));
        self
    }

    /// The names of all bridges.
    #[must_use]
    pub fn names(&self) -> Vec<Names> {
        self.started.iter().map(|started| started.names.clone()).collect()
    }

    /// The entry for these names.
    #[must_use]
    pub fn entry(&self, names: &Names) -> Option<&Started> {
        self.started.iter().find(|started| started.names == *names)
    }
}
