//! What network-route and network-nat remember of what they changed, until the machine restarts.
//!
//! Both programs keep one record: what one of them needs, such as forwarding, the other may need as well, and whoever stops last gives it
//! back as the first one found it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ipnetwork::{IpNetwork, Ipv4Network};
use serde::{Deserialize, Serialize};

use crate::dhcp::Server;
use crate::firewall::Masquerade;
use crate::host::AdminState;
use crate::interface_name::InterfaceName;
use crate::sysctl::Sysctl;

/// The program that started a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Owner {
    /// network-route
    #[serde(rename = "network-route")]
    NetworkRoute,
    /// network-nat
    #[serde(rename = "network-nat")]
    NetworkNat,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NetworkRoute => "network-route",
            Self::NetworkNat => "network-nat",
        })
    }
}

/// What a `start` is known by, so that another `start` of the same is no second one, and `stop` finds it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionKey {
    /// The program.
    pub program: Owner,
    /// The device that leads outside.
    pub netdev: InterfaceName,
    /// The private bridge, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<InterfaceName>,
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} netdev={}", self.program, self.netdev)?;
        match &self.bridge {
            Some(bridge) => write!(f, " bridge={bridge}"),
            None => Ok(()),
        }
    }
}

/// Whether a thing was there before any session needed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// A session made it, and the last one takes it away.
    Made,
    /// It was there, and stays.
    Found,
}

/// A value as it was and as a session left it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The value before.
    pub before: String,
    /// The value that we gave it, or that it came to have through us.
    pub ours: String,
}

impl Change {
    /// The value to go back to from `now`: one that is no longer ours is somebody else's wish, and stays.
    #[must_use]
    pub fn undone(&self, now: &str) -> String {
        if now == self.ours { self.before.clone() } else { now.to_owned() }
    }
}

/// A kernel setting with a value of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The setting.
    pub sysctl: Sysctl,
    /// Its values.
    #[serde(flatten)]
    pub change: Change,
    /// Settings that the kernel changed along with it. A device without an entry had what new devices had.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub along: BTreeMap<Sysctl, Change>,
}

impl Setting {
    /// The value that `other`, which the kernel changes along with this setting, is to have once this one is given back.
    #[must_use]
    pub fn undone_along(&self, other: &Sysctl, now: &str) -> String {
        let as_new = || other.device().and_then(|_| self.along.get(&other.for_new_devices()));
        self.along.get(other).or_else(as_new).map_or_else(|| now.to_owned(), |change| change.undone(now))
    }
}

/// Something of the host that sessions rely on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Held {
    /// A kernel setting.
    Setting(Setting),
    /// A masquerade in our own table.
    Masquerade {
        /// Which.
        masquerade: Masquerade,
        /// Whether it was there before.
        origin: Origin,
    },
    /// A private bridge.
    Bridge {
        /// Its name.
        name: InterfaceName,
        /// Whether it was there before.
        origin: Origin,
        /// Whether it was up before.
        state: AdminState,
    },
    /// An address of the private bridge.
    Address {
        /// The bridge.
        device: InterfaceName,
        /// The address and the length of its network.
        network: IpNetwork,
        /// Whether it was there before.
        origin: Origin,
    },
    /// A network that a DHCP server serves.
    Dhcp {
        /// The server.
        server: Server,
        /// The network.
        network: Ipv4Network,
    },
}

/// Something of the host, and the sessions that rely on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// What it is, and how it was.
    pub what: Held,
    /// The sessions; never none.
    pub sessions: BTreeSet<SessionKey>,
}

/// All that sessions rely on, in the order in which it was set up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Sessions {
    /// The things.
    pub holdings: Vec<Holding>,
}

impl Sessions {
    /// From the text that was written.
    ///
    /// # Errors
    /// When it is not such a text; the reason, for the end of a sentence.
    pub fn from_text(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// As text.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{:#}\n", serde_json::json!(self))
    }

    /// Every session.
    #[must_use]
    pub fn keys(&self) -> BTreeSet<SessionKey> {
        self.holdings.iter().flat_map(|holding| holding.sessions.iter().cloned()).collect()
    }

    /// Every setting with a value of ours.
    pub fn settings(&self) -> impl Iterator<Item = &Setting> {
        self.holdings.iter().filter_map(|holding| match &holding.what {
            Held::Setting(setting) => Some(setting),
            _ => None,
        })
    }

    /// The setting `sysctl`, if it has a value of ours.
    #[must_use]
    pub fn setting(&self, sysctl: &Sysctl) -> Option<&Setting> {
        self.settings().find(|setting| setting.sysctl == *sysctl)
    }

    /// Every DHCP server that serves a network for a session.
    pub fn servers_mut(&mut self) -> impl Iterator<Item = &mut Server> {
        self.holdings.iter_mut().filter_map(|holding| match &mut holding.what {
            Held::Dhcp { server, .. } => Some(server),
            _ => None,
        })
    }

    /// Every private bridge.
    pub fn bridges(&self) -> impl Iterator<Item = &InterfaceName> {
        self.holdings.iter().filter_map(|holding| match &holding.what {
            Held::Bridge { name, .. } => Some(name),
            _ => None,
        })
    }
}
