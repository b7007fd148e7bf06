//! All that is to be said about `network-bridge`.

use super::common::{LOG_FILE, RUN_DIRECTORY};
use super::network::ANTISPOOF;
use super::{Command, Entry, Example, Flag, Program, Source, Variable};
use crate::system::privilege::Powers;

const GIVEN: &[Source] = &[Source::Environment, Source::CommandLine];

/// `network-bridge`: puts a host's network device on a bridge, and takes it off again.
pub static NETWORK_BRIDGE: Program = Program {
    name: "network-bridge",
    purpose: "make guests hosts of the LAN: put a network device on a bridge",
    description: &[
        "network-bridge turns the way a Xen host reaches its network into a bridge, so that guests are hosts of the same network. The \
         bridge takes over the network device's name, unless it is given another one, and its Ethernet address, IPv4 and IPv6 addresses, routes, policy rules and permanent \
         neighbours. The device itself is renamed (eth0 becomes peth0) and becomes a port of the bridge. Guests' devices join it later \
         by way of vif-bridge(8).",
        "Everything that the device had moves, and nothing is lost: where a step fails, all steps before it are undone, the host is as \
         it was and the exit status is not 0. Where the kernel renames a device that is up (Linux 6.2 and newer), traffic goes on \
         nearly without a gap; older kernels need the device down for a moment, and what they drop then is put back.",
        "It is called once when the host starts: by xend as its network-script, by a unit of the init system, or by hand. A network \
         that the distribution's own tools bridge already (a bridge in /etc/network/interfaces, NetworkManager or systemd-networkd) \
         does not need it.",
    ],
    commands: &[
        Command {
            name: "start",
            purpose: "Put the network device on a bridge.",
            description: &[
                "Creates the bridge, without spanning tree and without forward delay, moves everything from the device to it and makes \
                 the device its port. Then waits until the link is there, and checks that the network still answers (see check).",
                "Where a chain of the host's packet filter drops what it forwards, and br_netfilter shows it bridged packets as well, a signed \
                 rule lets pass what goes from port to port of the bridge.",
                "Does nothing and succeeds where the device is the port of a bridge already, where bridge=null, and where neither \
                 bridge nor netdev is given and the host has a bridge of its own.",
                "Refuses, before anything is touched: a device that NetworkManager or systemd-networkd manages, because they would \
                 undo the change; a device whose address a DHCP client keeps, where the bridge is to have another name, because the \
                 client would not follow it (see force for both); and the device that leads to the server of a root file system on the \
                 network.",
                "Where the device is ifupdown's and has its address by DHCP, ifdown ends the client before, and ifup starts it for the \
                 bridge afterwards.",
            ],
        },
        Command {
            name: "stop",
            purpose: "Take the network device off the bridge again.",
            description: &[
                "Brings back what start found, from the record that start kept. Without the record, moves what the bridge has now to \
                 the device and gives it its old name. Guests' devices that are still on the bridge are left without one. The rule in the packet filter goes.",
            ],
        },
        Command {
            name: "repair",
            purpose: "Take back what a killed run has left half done.",
            description: &[
                "Every start and stop is watched by a second process, which calls this within a moment should the first one be killed \
                 before it has done; and every start and stop begins with it, in case the second process was killed as well. Where nothing \
                 was left half done, nothing changes.",
            ],
        },
        Command {
            name: "status",
            purpose: "Print addresses, bridge ports and routes.",
            description: &["Prints the bridge and its device, the ports, the addresses and the routes. Changes nothing."],
        },
    ],
    powers: Powers::NETWORK_AND_SERVERS,
    operands: &[],
    variables: &[
        Variable {
            name: "netdev",
            value: "DEVICE",
            meaning: &["The network device that guests reach the network by. Bonds and VLAN devices will do as well."],
            default: "the device of the default route, IPv4 before IPv6 and the lowest metric first; else eth0",
            sources: GIVEN,
        },
        Variable {
            name: "bridge",
            value: "BRIDGE",
            meaning: &["Name of the bridge, or null for none, in which case nothing is done."],
            default: "the name of netdev",
            sources: GIVEN,
        },
        Variable {
            name: "check",
            value: "ADDRESS|yes|no",
            meaning: &[
                "An address that must answer on the bridge afterwards, to ARP or to IPv6 neighbour discovery. Where it does not, \
                 everything is undone and the exit status is 1. yes stands for the gateway; no asks nobody.",
            ],
            default: "the gateway, if it answered before",
            sources: GIVEN,
        },
        Variable {
            name: "force",
            value: "yes|no",
            meaning: &[
                "With yes, start goes on although NetworkManager or systemd-networkd manages the device, or a DHCP client keeps its address.",
            ],
            default: "no",
            sources: GIVEN,
        },
        ANTISPOOF,
        Variable {
            name: "vifnum",
            value: "NUMBER",
            meaning: &["Accepted, because old wrapper scripts give it. It has no effect: say netdev and bridge."],
            default: "none",
            sources: GIVEN,
        },
    ],
    options: &[Flag::DryRun, Flag::Json, Flag::Help, Flag::Version],
    exit_status: &[
        Entry { subject: "0", text: "Done, or nothing had to be done." },
        Entry {
            subject: "1",
            text: "Refused, or failed and undone. Standard error names the step, the cause and, where there is one, the remedy.",
        },
    ],
    files: &[
        RUN_DIRECTORY,
        Entry { subject: "/var/run/xen-hotplug/network-bridge", text: "The lock that keeps two calls apart." },
        Entry {
            subject: "/run/network/ifstate",
            text: "Read to see whether the device is ifupdown's; then ifdown and ifup look after its DHCP client.",
        },
        Entry {
            subject: "/run/NetworkManager/devices/, /run/systemd/netif/links/",
            text: "Read to see whether NetworkManager or systemd-networkd manages the device.",
        },
        LOG_FILE,
    ],
    environment: &[],
    examples: &[
        Example {
            purpose: "See what would be done, and do it:",
            lines: &["network-bridge start --dry-run", "network-bridge start"],
        },
        Example {
            purpose: "In /etc/xen/xend-config.sxp, for guests that are hosts of the LAN:",
            lines: &["(network-script network-bridge)", "(vif-script vif-bridge)"],
        },
        Example {
            purpose: "A host with two networks, in a network-script of its own:",
            lines: &[
                "#!/bin/sh",
                "network-bridge \"$@\" vifnum=0 netdev=eth0 bridge=xenbr0",
                "network-bridge \"$@\" vifnum=2 netdev=eth2 bridge=xenbr2",
            ],
        },
        Example { purpose: "The state for a program to read:", lines: &["network-bridge status --json"] },
    ],
    see_also: &["vif-bridge(8)", "xl(1)", "xl.cfg(5)", "xl-network-configuration(5)", "bridge(8)", "ip(8)", "interfaces(5)"],
};
