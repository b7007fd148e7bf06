//! All that is to be said about `vif-bridge`.

use super::common::LOG_FILE;
use super::vif::{self, GIVEN, IP_OF_STORE};
use super::{Command, Example, Flag, Program, Source, Variable};
use crate::system::privilege::Powers;

/// `vif-bridge`: makes a guest's network device the port of a bridge.
pub static VIF_BRIDGE: Program = Program {
    name: "vif-bridge",
    purpose: "put a guest's network device on a bridge",
    description: &[
        "vif-bridge is the hotplug program for guests on a bridge. Xen's toolstack calls it each time a guest's network device (a vif) \
         appears or goes: xl and its library, xl devd inside a driver domain, or udev in the times of xend. Nobody needs to call it by \
         hand, but everybody may: it then reports in a few lines what it did, or what it misses.",
        "Which vif it is about comes from the environment; what is wanted of it comes from the vif's backend directory in XenStore, \
         which the toolstack fills from the guest's configuration. A variable may be given in several places: the command line goes \
         before the environment, and XenStore before both.",
        "A guest's second, emulated device (type_if=tap) takes the commands add and remove, the vif itself online and offline. The \
         other two do nothing and succeed, because the toolstacks call all four.",
        "Where a step fails, everything done before it is undone; a sentence that the guest may read is written to the XenStore key \
         hotplug-error, and error to hotplug-status.",
    ],
    commands: &[
        Command {
            name: "online",
            purpose: "Put a vif on its bridge, and tell the guest's side that it is connected.",
            description: &[
                "Gives the vif its name where vifname asks for one, the Ethernet address fe:ff:ff:ff:ff:ff, no address of its own and \
                 the MTU of the bridge or the one asked for; makes it a port of the bridge, sets it up and runs the hooks. The MTU is \
                 written to the guest's frontend directory. Last of all, hotplug-status becomes connected.",
            ],
        },
        Command {
            name: "offline",
            purpose: "Take a vif off its bridge.",
            description: &[
                "Cleans up whatever is left of the vif and runs the hooks. What is gone already, be it the device, the bridge or the \
                 entry in XenStore, is not an error.",
            ],
        },
        Command {
            name: "add",
            purpose: "Put an emulated device (type_if=tap) on its bridge.",
            description: &["As online does for a vif, but nothing is written to XenStore unless it fails."],
        },
        Command {
            name: "remove",
            purpose: "Take an emulated device (type_if=tap) off its bridge.",
            description: &["As offline does for a vif."],
        },
    ],
    powers: Powers::NETWORK,
    operands: &[],
    variables: &[
        vif::VIF,
        vif::INTERFACE,
        vif::XENBUS_PATH,
        vif::TYPE_IF,
        Variable {
            name: "bridge",
            value: "BRIDGE",
            meaning: &["The bridge. A name xenbrN that does not exist stands for ethN, if that is a bridge."],
            default: "the first bridge of the host",
            sources: &[Source::Environment, Source::CommandLine, Source::XenStore("bridge")],
        },
        vif::VIFNAME,
        Variable {
            name: "mtu",
            value: "BYTES",
            meaning: &["Largest packet of the device, 68 to 65535 bytes. It is told to the guest."],
            default: "the MTU of the bridge",
            sources: &[Source::Environment, Source::CommandLine, Source::XenStore("mtu")],
        },
        Variable {
            name: "vlan",
            value: "VLANS",
            meaning: &[
                "The VLANs of the device's port, on a bridge that keeps VLANs apart (vlan_filtering 1): numbers from 1 to 4094 and \
                 ranges, with / between them, as in 10p/20-22/100+10x4. 10p is the PVID, the VLAN of the frames that the guest \
                 sends and receives without a tag; one VLAN must be it, and a VLAN by itself is. 20-22 are VLANs with a tag. 100+10x4 \
                 is 100 and four more, each 10 further. A number or range with u behind it leaves without a tag.",
                "Set before the port is up, so that no frame gets elsewhere first. A call that comes again sets the VLANs anew, whole. \
                 A bridge that does not keep VLANs apart, and a list that makes no sense, are errors; that of a list names the place.",
            ],
            default: "what the bridge gives to every port (vlan_default_pvid)",
            sources: &[Source::Environment, Source::CommandLine, Source::XenStore("vlan")],
        },
        Variable {
            name: "isolated",
            value: "yes|no",
            meaning: &["yes: the port exchanges no frames with other isolated ports of the bridge, only with those that are not."],
            default: "no; of a port that is running, what it is",
            sources: &[Source::Environment, Source::CommandLine, Source::XenStore("isolated")],
        },
        Variable {
            name: "ip",
            value: "ADDRESSES",
            meaning: &[
                "The guest's addresses or networks, separated by spaces: what antispoof holds it to. An address with a length, such as 192.168.1.7/24, is that address alone; 192.168.1.0/24 is the network.",
            ],
            default: "none",
            sources: IP_OF_STORE,
        },
        vif::ANTISPOOF,
        Variable {
            name: "netdev",
            value: "DEVICE",
            meaning: &[
                "The device that leads out of the host. Toolstacks give it to every vif program; bridged vifs have no use for it, hooks may.",
            ],
            default: "none",
            sources: GIVEN,
        },
        vif::SCRIPT,
    ],
    options: &[Flag::DryRun, Flag::Json, Flag::Help, Flag::Version],
    exit_status: vif::EXIT_STATUS,
    files: &[vif::HOOKS, vif::NATIVE_HOOKS, LOG_FILE],
    environment: vif::ENVIRONMENT,
    examples: &[
        Example {
            purpose: "A guest on the host's first bridge, and one on the bridge xenbr1 with a device name of its own, in xl.cfg(5):",
            lines: &["vif = ['']", "vif = ['bridge=xenbr1,vifname=web0']"],
        },
        Example {
            purpose: "A guest in VLAN 10, and one that gets VLANs 20 to 22 with tags as well, since Xen 4.19; the bridge keeps VLANs \
                      apart, and its uplink is in all of them:",
            lines: &[
                "ip link set xenbr0 type bridge vlan_filtering 1",
                "bridge vlan add dev peth0 vid 10",
                "bridge vlan add dev peth0 vid 20-22",
                "vif = ['bridge=xenbr0,vlan=10']",
                "vif = ['bridge=xenbr0,vlan=10p/20-22']",
            ],
        },
        Example {
            purpose: "Guests that do not see each other, in xend-config.sxp:",
            lines: &["(vif-script 'vif-bridge isolated=yes')"],
        },
        Example { purpose: "The program for all guests, in /etc/xen/xl.conf:", lines: &["vif.default.script=\"vif-bridge\""] },
        Example {
            purpose: "By hand: see what would be done for the first device of domain 3:",
            lines: &["vif-bridge online --dry-run vif=vif3.0 XENBUS_PATH=backend/vif/3/0"],
        },
    ],
    see_also: &["network-bridge(8)", "xl(1)", "xl.cfg(5)", "xl.conf(5)", "xl-network-configuration(5)", "bridge(8)"],
};
