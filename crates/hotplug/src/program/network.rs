//! What the texts of network-route and network-nat have in common.

use super::common::{LOG_FILE, RUN_DIRECTORY};
use super::{Command, Entry, Source, Variable};

/// Where a variable is looked for.
pub(super) const GIVEN: &[Source] = &[Source::Environment, Source::CommandLine];

/// The device that leads outside.
pub(super) const NETDEV: Variable = Variable {
    name: "netdev",
    value: "DEVICE",
    meaning: &[
        "The network device that leads outside. Where it is the port of a bridge or belongs to a bond, name the bridge or the bond.",
    ],
    default: "the device of the default route, IPv4 before IPv6 and the lowest metric first; else eth0",
    sources: GIVEN,
};

/// The word for all guests of a network.
pub(super) const ANTISPOOF: Variable = Variable {
    name: "antispoof",
    value: "no|yes|ip|strict",
    meaning: &[
        "What guests of this network are held to who have no antispoof of their own: see vif-bridge(8). It counts for guests that come from \
         now on. The administrator's own rules are never changed.",
    ],
    default: "ip for guests whose addresses are given, else no",
    sources: GIVEN,
};

/// Taking back.
pub(super) const STOP: Command = Command {
    name: "stop",
    purpose: "Take back what start has changed.",
    description: &[
        "Gives every setting the value that it had before start, those of single devices included that the kernel changes along with \
         forwarding of the whole host. What somebody else has changed since stays as they left it. What another call of \
         network-route or network-nat still needs stays until that one is stopped too.",
        "Where nothing was started with these words (netdev and bridge), nothing changes, and the exit status is 0. Without netdev, what was started for the device of \
         the default route is stopped, or else the only one that there is.",
    ],
};

/// Looking.
pub(super) const STATUS: Command = Command {
    name: "status",
    purpose: "Print what the host does as a router.",
    description: &[
        "Prints forwarding, the settings and addresses of the devices, what is masqueraded, and what was started. Changes nothing.",
    ],
};

/// What each exit status says.
pub(super) const EXIT_STATUS: &[Entry] = &[
    Entry { subject: "0", text: "Done, or nothing had to be done." },
    Entry {
        subject: "1",
        text: "Refused, or failed and undone. Standard error names the step, the cause and, where there is one, the remedy.",
    },
];

/// Files.
pub(super) const FILES: &[Entry] = &[
    RUN_DIRECTORY,
    Entry {
        subject: "/run/xen-network/netns-INODE/network-router.json",
        text: "The record of network-route and network-nat: each thing that they changed, how it was before, and for which call it is needed.",
    },
    Entry {
        subject: "/var/run/xen-hotplug/network-router",
        text: "The lock that keeps two calls of network-route and network-nat apart.",
    },
    LOG_FILE,
];

/// How router advertisements go on counting.
pub(super) const ADVERTISEMENTS: &str = "A router does not listen to router advertisements: Linux would drop the host's own default route at once where \
     it was learnt from one. So before forwarding of IPv6 goes on, accept_ra becomes 2 on netdev and on every other device that has a route or an address from an advertisement, \
     unless advertisements did not count there before.";
