//! All that is to be said about `network-route`.

use super::network::{ADVERTISEMENTS, ANTISPOOF, EXIT_STATUS, FILES, GIVEN, NETDEV, STATUS, STOP};
use super::{Command, Example, Flag, Program, Variable};
use crate::system::privilege::Powers;

/// `network-route`: makes the host a router for its guests.
pub static NETWORK_ROUTE: Program = Program {
    name: "network-route",
    purpose: "make the host a router for its guests",
    description: &[
        "network-route lets a Xen host forward the packets of guests that are connected by vif-route(8): each guest has a link and routes of its \
         own, and is reached from outside by its own address. The network outside needs a route to the guests' addresses by way of this \
         host, unless these lie in its own network: for such addresses the host answers ARP requests and IPv6 neighbour solicitations itself.",
        ADVERTISEMENTS,
        "It is called once when the host starts: by xend as its network-script, by a unit of the init system, or by hand.",
    ],
    commands: &[
        Command {
            name: "start",
            purpose: "Forward packets, and answer for guests on netdev.",
            description: &[
                "Switches on forwarding of IPv4 and, where the kernel has it, of IPv6 for the whole host, proxy ARP and proxy NDP on netdev, and, \
                 where asked for, masquerading. What is changed is recorded. Called again with the same words, nothing changes; \
                 with others, what these no longer ask for is taken back.",
                "Where a step fails, all steps before it are undone, the host is as it was and the exit status is not 0.",
            ],
        },
        STOP,
        STATUS,
    ],
    powers: Powers::NETWORK_AND_SERVERS,
    operands: &[],
    variables: &[
        NETDEV,
        Variable {
            name: "masquerade",
            value: "yes|no",
            meaning: &[
                "With yes, IPv4 packets that leave by netdev get the host's own address, so that guests reach a network that knows no \
                 route back to them. Guests stay reachable by their own addresses.",
            ],
            default: "no",
            sources: GIVEN,
        },
        Variable {
            name: "ipv6",
            value: "yes|no|nat",
            meaning: &[
                "With yes, IPv6 is forwarded, where the kernel has it; with nat, IPv6 packets that leave by netdev get the host's own \
                 address as well; with no, nothing is changed for IPv6.",
            ],
            default: "yes",
            sources: GIVEN,
        },
        ANTISPOOF,
    ],
    options: &[Flag::DryRun, Flag::Json, Flag::Help, Flag::Version],
    exit_status: EXIT_STATUS,
    files: FILES,
    environment: &[],
    examples: &[
        Example {
            purpose: "See what would be done, and do it:",
            lines: &["network-route start netdev=eth0 --dry-run", "network-route start netdev=eth0"],
        },
        Example {
            purpose: "In /etc/xen/xend-config.sxp, for guests with routes of their own:",
            lines: &["(network-script network-route)", "(vif-script vif-route)"],
        },
        Example {
            purpose: "The same, and guests reach networks that have no route back to them:",
            lines: &["network-route start masquerade=yes"],
        },
        Example { purpose: "The state for a program to read:", lines: &["network-route status --json"] },
    ],
    see_also: &["vif-route(8)", "network-nat(8)", "xl.cfg(5)", "xl-network-configuration(5)", "ip(8)", "sysctl(8)"],
};
