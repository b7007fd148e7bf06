//! All that is to be said about `vif-route`.

use super::common::{LOG_FILE, RUN_DIRECTORY};
use super::vif::{self, GIVEN, IP_OF_STORE, STORE_OR_GIVEN_MTU};
use super::{Command, Example, Flag, Program, Variable};
use crate::system::privilege::Powers;

/// `vif-route`: gives a guest's network device a link of its own to dom0, and routes.
pub static VIF_ROUTE: Program = Program {
    name: "vif-route",
    purpose: "route packets to a guest's network device",
    description: &[
        "vif-route is the hotplug program for guests behind a router: dom0. Each guest has a point-to-point link to dom0, and dom0 a \
         route to each of the guest's addresses. Packets keep the guest's own address, so the world outside must know that these \
         addresses are reached through dom0: by a route in its own router, or because dom0 answers for them (proxy ARP and proxy \
         neighbour discovery). network-route(8) prepares the host.",
        "On the link dom0 has the address of its uplink, with a length of 32, so that no further address is used up; for guests with \
         IPv6 addresses it has fe80::1 as well, which is their router on every host. It answers ARP requests for the whole world there, so \
         the guest may be configured with any gateway of its own network.",
        "Toolstacks call the program each time a guest's device appears or goes. A variable may be given in several places: the command \
         line goes before the environment, and XenStore before both. A guest's second, emulated device (type_if=tap) takes the commands \
         add and remove, the vif itself online and offline. Where a step fails, everything done before it is undone.",
    ],
    commands: &[
        Command {
            name: "online",
            purpose: "Make a vif a link of its own, with routes, and tell the guest's side that it is connected.",
            description: &[
                "Gives the vif its name where vifname asks for one, this host's address and proxy ARP; sets it up; adds a route with metric \
                 2 for each entry of ip, and a neighbour entry that never expires for each single address. For single IPv6 addresses the uplink answers neighbour \
                 solicitations. Where a chain of the host's packet filter drops what it forwards (the policy of FORWARD under Docker, for \
                 example), signed rules let the vif pass. Then the hooks run, and last of all hotplug-status becomes connected.",
                "A route that leads elsewhere already is left alone, and the call fails: two guests cannot have one address.",
            ],
        },
        vif::OFFLINE_ROUTED,
        vif::ADD_ROUTED,
        vif::REMOVE_ROUTED,
    ],
    powers: Powers::NETWORK,
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
                "What is routed to the guest, separated by spaces: addresses (192.168.2.1, 2001:db8::1) and networks (192.168.2.16/28). \
                 Without it no route is added, and a line in the log says so.",
            ],
            default: "none",
            sources: IP_OF_STORE,
        },
        vif::ANTISPOOF,
        Variable {
            name: "netdev",
            value: "DEVICE",
            meaning: &[
                "The uplink: its address becomes this host's end of the link. An empty value counts as none. libxl hands on the guest's gatewaydev here.",
            ],
            default: "gatewaydev, else the device of the default route, else eth0",
            sources: GIVEN,
        },
        vif::GATEWAYDEV,
        Variable {
            name: "gateway",
            value: "ADDRESSES",
            meaning: &[
                "This host's end of the link, in place of the uplink's address: an IPv4 address, an IPv6 address, or one of each.",
            ],
            default: "the first address of the uplink; fe80::1",
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
            purpose: "A guest with one address, and one with two and a network, in xl.cfg(5):",
            lines: &[
                "vif = ['script=vif-route,ip=192.168.2.1']",
                "vif = ['script=vif-route,ip=192.168.2.2 2001:db8::2 192.168.2.16/28']",
            ],
        },
        Example { purpose: "The program for all guests, in /etc/xen/xl.conf:", lines: &["vif.default.script=\"vif-route\""] },
        Example {
            purpose: "By hand: see what would be done for the first device of domain 3:",
            lines: &["vif-route online --dry-run vif=vif3.0 XENBUS_PATH=backend/vif/3/0 ip=192.168.2.1"],
        },
    ],
    see_also: &["network-route(8)", "vif-nat(8)", "xl(1)", "xl.cfg(5)", "xl.conf(5)", "xl-network-configuration(5)", "ip-route(8)"],
};
