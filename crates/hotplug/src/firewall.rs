//! What we put into the packet filter: entries of our own table, and signed rules in chains of others.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::host::Family;
use crate::interface_name::InterfaceName;

/// Packets of one family that leave by a device get the device's own address as their source: an element of a set in our own table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Masquerade {
    /// IPv4 or IPv6.
    pub family: Family,
    /// The device they leave by.
    pub device: InterfaceName,
}

impl Masquerade {
    /// The set of our own table that holds the devices of a family.
    #[must_use]
    pub fn set_name(family: Family) -> &'static str {
        match family {
            Family::V4 => "masquerade4",
            Family::V6 => "masquerade6",
        }
    }
}

/// Our own table, of the family inet.
pub const TABLE: &str = "xen-network";

/// Who keeps a chain, and so how a rule gets into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ChainKeeper {
    /// nf_tables: rules of `nft`, of iptables-nft, of firewalld.
    NfTables,
    /// The older x_tables, through `iptables-legacy`.
    LegacyTables,
}

/// The packets that a chain sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ChainFamily {
    /// IPv4 alone.
    Ip,
    /// IPv6 alone.
    Ip6,
    /// Both.
    Inet,
}

impl fmt::Display for ChainFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Inet => "inet",
        })
    }
}

/// Where in a chain an accept takes effect without outdoing the administrator's own rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AcceptPlace {
    /// Behind the last rule: the chain's policy drops what no rule has decided.
    End,
    /// Before the rule with this handle, which drops or rejects whatever comes to it.
    Before(u64),
    /// At the head: jumps in the chain reject before its end is reached (firewalld).
    Head,
}

/// A chain of somebody else's that drops what the host forwards unless a rule accepts it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ForwardChain {
    /// Who keeps it.
    pub keeper: ChainKeeper,
    /// What it sees.
    pub family: ChainFamily,
    /// The table it is in.
    pub table: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ForwardChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.family, self.table, self.name)
    }
}

/// A chain that drops, and where in it an accept belongs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppingChain {
    /// The chain.
    pub chain: ForwardChain,
    /// Where an accept belongs.
    pub place: AcceptPlace,
}

/// Which packets of a device a chain is to accept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Traffic {
    /// All that comes from the device, and all that goes to it.
    #[default]
    FromAndTo,
    /// What a bridge passes from port to port. With br_netfilter the kernel shows it to the chains of IP, as forwarded from the bridge to
    /// itself (net/bridge/br_netfilter_hooks.c, `br_nf_forward_ip()`).
    Bridged,
}

impl Traffic {
    /// Both.
    pub const ALL: [Self; 2] = [Self::FromAndTo, Self::Bridged];
}

/// Signed rules in a chain of somebody else's that accept packets of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardAccept {
    /// The chain.
    pub chain: ForwardChain,
    /// Where the rules go; of no account for taking them away.
    pub place: AcceptPlace,
    /// The device.
    pub device: InterfaceName,
    /// Which of its packets.
    #[serde(default)]
    pub traffic: Traffic,
}

impl ForwardAccept {
    /// The comment that signs our rules for such packets of `device` in a chain of somebody else's. No device has a colon in its name.
    #[must_use]
    pub fn signature(device: &InterfaceName, traffic: Traffic) -> String {
        match traffic {
            Traffic::FromAndTo => format!("{SIGNATURE}{device}"),
            Traffic::Bridged => format!("{SIGNATURE}{device}:bridged"),
        }
    }

    /// The device and the packets that a comment signs a rule of ours for.
    #[must_use]
    pub fn signed(comment: &str) -> Option<(InterfaceName, Traffic)> {
        let rest = comment.strip_prefix(SIGNATURE)?;
        let (device, traffic) = match rest.strip_suffix(":bridged") {
            Some(device) => (device, Traffic::Bridged),
            None => (rest, Traffic::FromAndTo),
        };
        Some((device.parse().ok()?, traffic))
    }

    /// Whether `other` accepts the same.
    #[must_use]
    pub fn same_rules(&self, other: &Self) -> bool {
        self.chain == other.chain && self.device == other.device && self.traffic == other.traffic
    }
}

/// What the comment of every rule of ours in a chain of somebody else's begins with.
pub const SIGNATURE: &str = "xen-network:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_tells_what_it_was_made_of() {
        let device: InterfaceName = "vif1.0".parse().unwrap();
        for traffic in Traffic::ALL {
            let signature = ForwardAccept::signature(&device, traffic);
            assert_eq!(ForwardAccept::signed(&signature), Some((device.clone(), traffic)));
        }
        for other in ["", "xen-network:", "xen-network:a b", "vif1.0", "xen-network:vif1.0:other"] {
            assert_eq!(ForwardAccept::signed(other), None, "{other}");
        }
    }
}
