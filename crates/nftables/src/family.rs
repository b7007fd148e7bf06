//! Address families and hooks: where packets are looked at (include/uapi/linux/netfilter.h).

use std::fmt;

/// Which packets a table sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// ARP.
    Arp,
    /// Frames that a bridge handles.
    Bridge,
    /// Everything that one device receives or sends.
    Netdev,
}

impl Family {
    /// `NFPROTO_*`.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Ip => 2,
            Self::Arp => 3,
            Self::Netdev => 5,
            Self::Bridge => 7,
            Self::Ip6 => 10,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        [Self::Inet, Self::Ip, Self::Ip6, Self::Arp, Self::Bridge, Self::Netdev]
            .into_iter()
            .find(|family| family.number() == number)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inet => "inet",
            Self::Ip => "ip",
            Self::Ip6 => "ip6",
            Self::Arp => "arp",
            Self::Bridge => "bridge",
            Self::Netdev => "netdev",
        })
    }
}

/// A point on a packet's way. Not every family has every one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// Received, not routed or bridged yet.
    Prerouting,
    /// For this host.
    Input,
    /// Through this host.
    Forward,
    /// From this host.
    Output,
    /// About to leave.
    Postrouting,
    /// Received by a device, before anything else looks at it.
    Ingress,
    /// About to leave by a device, after everything else.
    Egress,
}

impl Hook {
    const ALL: [Self; 7] =
        [Self::Prerouting, Self::Input, Self::Forward, Self::Output, Self::Postrouting, Self::Ingress, Self::Egress];

    /// The hook's number, or nothing where the family has no such hook: `NF_INET_*` (netfilter.h), whose order `NF_BR_*`
    /// (netfilter_bridge.h) shares, `NF_ARP_*` (netfilter_arp.h), `NF_NETDEV_*` (netfilter.h).
    pub(crate) fn number(self, family: Family) -> Option<u32> {
        match (family, self) {
            (Family::Netdev, Self::Ingress) | (Family::Arp, Self::Input) => Some(0),
            (Family::Netdev, Self::Egress) | (Family::Arp, Self::Output) => Some(1),
            (Family::Netdev | Family::Arp, _) | (_, Self::Egress) => None,
            (_, Self::Prerouting) => Some(0),
            (_, Self::Input) => Some(1),
            (_, Self::Forward) => Some(2),
            (_, Self::Output) => Some(3),
            (_, Self::Postrouting) => Some(4),
            (Family::Inet, Self::Ingress) => Some(5),
            (_, Self::Ingress) => None,
        }
    }

    pub(crate) fn from_number(family: Family, number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| hook.number(family) == Some(number))
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_are_found_again_by_their_number() {
        for family in [Family::Inet, Family::Ip, Family::Ip6, Family::Arp, Family::Bridge, Family::Netdev] {
            assert_eq!(Family::from_number(family.number()), Some(family));
            for hook in Hook::ALL {
                if let Some(number) = hook.number(family) {
                    assert_eq!(Hook::from_number(family, number), Some(hook), "{family} {hook}");
                }
            }
        }
        assert_eq!(Family::from_number(0), None);
        assert_eq!(Hook::from_number(Family::Bridge, 9), None);
    }
}
