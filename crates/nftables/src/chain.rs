//! Chains, and where a base chain hangs.

use std::fmt;

use crate::{Family, Hook, InterfaceName, Name, Rule};

/// A list of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: Name,
    /// Where packets enter it. Nothing: only rules of other chains lead here.
    pub base: Option<Base>,
    /// Its rules, first to last.
    pub rules: Vec<Rule>,
}

impl Chain {
    /// A chain that only other chains' rules lead to.
    #[must_use]
    pub fn regular(name: Name) -> Self {
        Self { name, base: None, rules: vec![] }
    }

    /// A chain that packets enter at a hook.
    #[must_use]
    pub fn base(name: Name, base: Base) -> Self {
        Self { name, base: Some(base), rules: vec![] }
    }
}

/// As `nft --numeric-priority list chain` prints it, one step indented.
impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\tchain {} {{", self.name)?;
        if let Some(base) = &self.base {
            writeln!(f, "\t\t{base}")?;
        }
        for rule in &self.rules {
            writeln!(f, "\t\t{rule}")?;
        }
        f.write_str("\t}")
    }
}

/// Where and how packets enter a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// What its rules may do.
    pub kind: ChainKind,
    /// The point on a packet's way.
    pub hook: Hook,
    /// Whose packets, at the hooks [`Hook::Ingress`] and [`Hook::Egress`] only.
    pub device: Option<InterfaceName>,
    /// Its place among the chains of the same hook.
    pub priority: Priority,
    /// What becomes of a packet that no rule decides on.
    pub policy: Policy,
}

impl Base {
    /// A filter at its usual priority, which lets pass what no rule decides on.
    #[must_use]
    pub fn filter(family: Family, hook: Hook) -> Self {
        let priority = if family == Family::Bridge { Priority::BRIDGE_FILTER } else { Priority::FILTER };
        Self { kind: ChainKind::Filter, hook, device: None, priority, policy: Policy::Accept }
    }

    /// Address translation for IP at its usual priority: sources at [`Hook::Postrouting`] and [`Hook::Input`], else destinations.
    #[must_use]
    pub fn nat(hook: Hook) -> Self {
        let source = matches!(hook, Hook::Postrouting | Hook::Input);
        let priority = if source { Priority::SOURCE_NAT } else { Priority::DESTINATION_NAT };
        Self { kind: ChainKind::Nat, hook, device: None, priority, policy: Policy::Accept }
    }

    /// The same with another priority.
    #[must_use]
    pub fn at(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    /// The same with another policy.
    #[must_use]
    pub fn with_policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// The same for one device.
    #[must_use]
    pub fn on(self, device: InterfaceName) -> Self {
        Self { device: Some(device), ..self }
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "type {} hook {}", self.kind, self.hook)?;
        if let Some(device) = &self.device {
            write!(f, " device {device}")?;
        }
        write!(f, " priority {}; policy {};", self.priority, self.policy)
    }
}

/// What the rules of a base chain may do (the chain types of nft(8)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChainKind {
    /// Accept and drop.
    Filter,
    /// Translate addresses; sees only the first packet of a connection.
    Nat,
    /// Filter, and route again what was changed.
    Route,
}

impl ChainKind {
    /// Its name in messages and in nft.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
            Self::Route => "route",
        }
    }

    pub(crate) fn from_word(word: &[u8]) -> Option<Self> {
        [Self::Filter, Self::Nat, Self::Route].into_iter().find(|kind| kind.word().as_bytes() == word)
    }
}

impl fmt::Display for ChainKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A base chain's place among those of its hook: smaller is earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(pub i32);

impl Priority {
    /// Before connections are tracked (`NF_IP_PRI_RAW`).
    pub const RAW: Self = Self(-300);
    /// Where destinations are translated (`NF_IP_PRI_NAT_DST`).
    pub const DESTINATION_NAT: Self = Self(-100);
    /// The usual place to filter IP (`NF_IP_PRI_FILTER`).
    pub const FILTER: Self = Self(0);
    /// Where sources are translated (`NF_IP_PRI_NAT_SRC`).
    pub const SOURCE_NAT: Self = Self(100);
    /// The usual place to filter bridged frames (`NF_BR_PRI_FILTER_BRIDGED`).
    pub const BRIDGE_FILTER: Self = Self(-200);
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What becomes of a packet that no rule of a base chain decides on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// It goes on.
    Accept,
    /// It is dropped.
    Drop,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accept => "accept",
            Self::Drop => "drop",
        })
    }
}
