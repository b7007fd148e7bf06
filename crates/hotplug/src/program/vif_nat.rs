//! All that is to be said about `vif-nat`.

use super::common::{LOG_FILE, RUN_DIRECTORY};
use super::vif::{self, GIVEN, IP_OF_STORE, STORE_OR_GIVEN_MTU};
use super::{Command, Example, Flag, Program, Variable};
use crate::system::privilege::Powers;

/// `vif-nat`: gives a guest's network device a link of its own in a private network behind dom0.
pub static VIF_NAT: Program = Program {
    name: "vif-nat",
    purpose: "put a guest's network device on a private network behind this host",
    description: &[
        "vif-nat is the hotplug program for guests on a private network: each has a point-to-point link to dom0, which is its gateway, and \
         what leaves the host does so with the host's own address. network-nat(8) makes the host translate; vif-nat makes the link.",
        "A guest without a configured address gets 10.A.B.C, where A and B are the quotient and the remainder of its domain number by 256, and C \
         is the number of its device, counted from 1. This host's end of the link has the last octet of the guest's address and 127 more, or, for guests from \
         .128 on, 127 less. Where that is no host of the guest's network (see subnet), it is the network's last host, or the first one where the \
         guest is the last. For guests with IPv6 addresses it is fe80::1.",
        "This host answers ARP requests for the whole world on the link, so a guest may as well be configured with any other gateway \
         of its own network, such as 192.168.2.254.",
        "Toolstacks call the program each time a guest's device appears or goes. A variable may be given in several places: the command \
         line goes before the environment, and XenStore before both. A guest's second, emulated device (type_if=tap) takes the commands \
         add and remove, the vif itself online and offline. Where a step fails, everything done before it is undone.",
    ],
    commands: &[
        Command {
            name: "online",
            purpose: "Make a vif a link of its own, and tell the guest's side that it is connected.",
            description: &[
                "Gives the vif its name where vifname asks for one, this host's end of the link and proxy ARP; sets it up; adds a route with metric \
                 2 for each of the guest's addresses, and a neighbour entry that never expires. With dhcp, the DHCP server is told \
                 of the guest. Where a chain of the host's packet filter drops what it forwards, signed rules let the vif pass. Then the hooks run, \
                 and last of all hotplug-status becomes connected.",
                "A route that leads elsewhere already is left alone, and the call fails: two guests cannot have one address.",
            ],
        },
        vif::OFFLINE_ROUTED,
        vif::ADD_ROUTED,
        vif::REMOVE_ROUTED,
    ],
    powers: Powers::NETWORK_AND_SERVERS,
    operands: &[],
    variables: &[
        vif::VIF,
        vif::INTERFACE,
        vif::XENBUS_PATH,
        vif::TYPE_IF,
        Variable {
            name: "ip",
            value: "ADDRESSES",
            meaning: &[
                "The guest's addresses, separated by spaces. A length as in 192.168.2.1/24 says how large the guest's network is; an address of a \
                 whole network (2001:db8:1::/64) is routed to the guest as such.",
            ],
            default: "10.(domain / 256).(domain % 256).(device + 1)/16",
            sources: IP_OF_STORE,
        },
        vif::ANTISPOOF,
        Variable {
            name: "gateway",
            value: "ADDRESSES",
            meaning: &["This host's end of the link: an IPv4 address, an IPv6 address, or one of each."],
            default: "worked out from the guest's address, as said above; fe80::1",
            sources: GIVEN,
        },
        Variable {
            name: "subnet",
            value: "NETWORK",
            meaning: &["The network that the guest's first IPv4 address lies in, such as 192.168.2.0/24."],
            default: "the length given with ip, if there is one",
            sources: GIVEN,
        },
        Variable {
            name: "dhcp",
            value: "no|yes|dnsmasq|dhcpd",
            meaning: &[
                "Whether a DHCP server of this host gives the guest its address, with this host as its router, and which one: yes takes dnsmasq where it is \
                 installed as a service, else ISC dhcpd. The guest is called domN, or domN-M for its second device and on. The server must know the \
                 guests' network: call network-nat(8) with dhcp as well. One that cannot be restarted is a warning.",
            ],
            default: "the server that network-nat has told of the guest's network; without one dhcpd if /etc/dhcpd.conf exists, else no",
            sources: GIVEN,
        },
        Variable {
            name: "netdev",
            value: "DEVICE",
            meaning: &["The uplink. Toolstacks give it to every vif program; vif-nat has no use for it, hooks may."],
            default: "none",
            sources: GIVEN,
        },
        vif::VIFNAME,
        STORE_OR_GIVEN_MTU,
        vif::SCRIPT,
    ],
    options: &[Flag::DryRun, Flag::Json, Flag::Help, Flag::Version],
    exit_status: vif::EXIT_STATUS,
    files: &[vif::HOOKS, vif::NATIVE_HOOKS, RUN_DIRECTORY, LOG_FILE],
    environment: vif::ENVIRONMENT,
    examples: &[
        Example {
            purpose: "A guest with the default address, and one with an address of its own, in xl.cfg(5):",
            lines: &["vif = ['script=vif-nat']", "vif = ['script=vif-nat,ip=192.168.2.1/24']"],
        },
        Example { purpose: "The program for all guests, in /etc/xen/xl.conf:", lines: &["vif.default.script=\"vif-nat\""] },
        Example {
            purpose: "By hand: see what would be done for the first device of domain 3:",
            lines: &["vif-nat online --dry-run vif=vif3.0 XENBUS_PATH=backend/vif/3/0 ip=192.168.2.1 gateway=192.168.2.254"],
        },
    ],
    see_also: &["network-nat(8)", "vif-route(8)", "xl(1)", "xl.cfg(5)", "xl.conf(5)", "xl-network-configuration(5)"],
};
