//! All that is to be said about `network-nat`.

use super::network::{ADVERTISEMENTS, ANTISPOOF, EXIT_STATUS, FILES, GIVEN, NETDEV, STATUS, STOP};
use super::{Command, Example, Flag, Program, Variable};
use crate::system::privilege::Powers;

/// `network-nat`: lets guests reach the outside with the host's own address.
pub static NETWORK_NAT: Program = Program {
    name: "network-nat",
    purpose: "let guests reach the outside with the host's address",
    description: &[
        "network-nat lets a Xen host forward the packets of guests on private networks and give them its own address as they leave. The guests have links \
         of their own made by vif-nat(8), or they are on a private bridge, which network-nat makes when bridge and address are given, and which they join by way of \
         vif-bridge(8).",
        "The translation is an entry of a table of its own in nftables (inet xen-network). The administrator's own rules are never changed; where one of \
         their chains drops what the host forwards, a signed rule for the private bridge is added there, and removed by stop.",
        ADVERTISEMENTS,
        "It is called once when the host starts: by xend as its network-script, by a unit of the init system, or by hand.",
    ],
    commands: &[
        Command {
            name: "start",
            purpose: "Forward packets, and masquerade what leaves by netdev.",
            description: &[
                "Makes the private bridge where one is asked for and it is missing, gives it its addresses and sets it up; masquerades what leaves by \
                 netdev; and switches on forwarding for the whole host. What is changed is recorded. Called again with the same words, nothing \
                 changes; with others, what these no longer ask for is taken back.",
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
            name: "bridge",
            value: "BRIDGE",
            meaning: &[
                "A private bridge for guests, without a way outside but through this host. Where it is missing it is made, without spanning \
                 tree and without forward delay; a bridge that is there stays, and stop leaves it.",
            ],
            default: "none",
            sources: GIVEN,
        },
        Variable {
            name: "address",
            value: "ADDRESS/LENGTH...",
            meaning: &[
                "This host's addresses on the private bridge, IPv4 and IPv6, with the lengths of their networks, and spaces or commas between them: \
                 192.168.2.1/24. They are the gateways of its guests, and must not lie in a network of netdev.",
            ],
            default: "the addresses that the bridge has already",
            sources: GIVEN,
        },
        Variable {
            name: "dhcp",
            value: "no|yes|dnsmasq|dhcpd",
            meaning: &[
                "Who gives guests their addresses. With dnsmasq or dhcpd, that server of this host is told of the guests' network in a file of its own; with yes, \
                 dnsmasq where it is installed as a service, else ISC dhcpd. On the private bridge whoever asks gets an address of the upper half of the \
                 network; guests of vif-nat are told their own address. A server that cannot be restarted is a warning.",
            ],
            default: "dhcpd where there is a file /etc/dhcpd.conf, else no",
            sources: GIVEN,
        },
        Variable {
            name: "subnet",
            value: "NETWORK",
            meaning: &["The network that DHCP serves."],
            default: "10.0.0.0/8, where vif-nat's default addresses lie; with bridge, the bridge's first IPv4 network",
            sources: GIVEN,
        },
        Variable {
            name: "gateway",
            value: "ADDRESS",
            meaning: &["The router that guests on the private bridge are told by DHCP."],
            default: "this host's address on the bridge",
            sources: GIVEN,
        },
        Variable {
            name: "ipv6",
            value: "yes|no|nat",
            meaning: &[
                "With nat, IPv6 is forwarded, and packets that leave by netdev get the host's own address; with yes, it is forwarded with the \
                 guests' addresses; with no, nothing is changed for IPv6.",
            ],
            default: "yes where an IPv6 address is given in address, else no",
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
            lines: &["network-nat start netdev=eth0 --dry-run", "network-nat start netdev=eth0"],
        },
        Example {
            purpose: "In /etc/xen/xend-config.sxp, for guests on a private network each:",
            lines: &["(network-script 'network-nat netdev=eth1 dhcp=yes')", "(vif-script vif-nat)"],
        },
        Example {
            purpose: "A private network for guests with vif = ['bridge=br0'], address 192.168.2.2/24 and gateway 192.168.2.1:",
            lines: &["network-nat start bridge=br0 address=192.168.2.1/24"],
        },
        Example {
            purpose: "The same, and guests may ask for their addresses by DHCP:",
            lines: &["network-nat start bridge=br0 address=192.168.2.1/24 dhcp=yes"],
        },
        Example { purpose: "The state for a program to read:", lines: &["network-nat status --json"] },
    ],
    see_also: &["vif-nat(8)", "vif-bridge(8)", "network-route(8)", "xl.cfg(5)", "xl-network-configuration(5)", "nft(8)", "ip(8)"],
};
