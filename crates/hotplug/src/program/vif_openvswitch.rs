//! All that is to be said about `vif-openvswitch`.

use super::common::LOG_FILE;
use super::vif::{self, GIVEN};
use super::{Command, Entry, Example, Flag, Program, Source, Variable};
use crate::system::privilege::Powers;

/// `vif-openvswitch`: makes a guest's network device the port of an Open vSwitch bridge.
pub static VIF_OPENVSWITCH: Program = Program {
    name: "vif-openvswitch",
    purpose: "put a guest's network device on a bridge of Open vSwitch",
    description: &[
        "vif-openvswitch is the hotplug program for guests on a bridge of Open vSwitch. Xen's toolstack calls it each time a guest's \
         network device (a vif) appears or goes. It speaks to the switch's database itself, over its socket, and waits until \
         ovs-vswitchd(8) has done what was asked.",
        "Which vif it is about comes from the environment; what is wanted of it comes from the vif's backend directory in XenStore, \
         which the toolstack fills from the guest's configuration. A variable may be given in several places: the command line goes \
         before the environment, and XenStore before both.",
        "The port's interface says in its external-ids whose it is: attached-mac, xen-vm-uuid, xen-vm-name, xen-vif (the device's first \
         name) and iface-id. Where OVN runs, the last one decides: a guest is on the logical switch that has a port of this name \
         (ovn-nbctl(8), lsp-add).",
        "Where a step fails, everything done before it is undone; a sentence that the guest may read is written to the XenStore key \
         hotplug-error, and error to hotplug-status. The hooks of vif-bridge(8) are not run.",
    ],
    commands: &[
        Command {
            name: "online",
            purpose: "Make a vif a port, and tell the guest's side that it is connected.",
            description: &[
                "Gives the vif its name where vifname asks for one, the Ethernet address fe:ff:ff:ff:ff:ff and no address of its own; \
                 makes it a port of the bridge and sets it up. A port that the same guest has already is changed in place and keeps \
                 settings that others have made on it; one that a guest has left behind is removed first. Last of all, hotplug-status \
                 becomes connected.",
            ],
        },
        Command {
            name: "offline",
            purpose: "Remove a vif's port.",
            description: &[
                "Cleans up whatever is left of the vif, in the switch's database too. What is gone already, be it the device, the bridge \
                 or the entry in XenStore, is not an error. A port of the name that is not a guest's stays.",
            ],
        },
        Command {
            name: "add",
            purpose: "Make an emulated device (type_if=tap) a port.",
            description: &["As online does for a vif, but nothing is written to XenStore unless it fails."],
        },
        Command {
            name: "remove",
            purpose: "Remove the port of an emulated device (type_if=tap).",
            description: &["As offline does for a vif."],
        },
    ],
    powers: Powers::NETWORK_AND_SOCKETS,
    operands: &[],
    variables: &[
        vif::VIF,
        vif::INTERFACE,
        vif::XENBUS_PATH,
        vif::TYPE_IF,
        Variable {
            name: "bridge",
            value: "BRIDGE[.TAG][:TRUNK[:TRUNK]...]",
            meaning: &[
                "The bridge. With TAG the guest is in this VLAN and does not see tags; with TRUNKs it tags its frames itself, and may use \
                 these VLANs; with neither it may use all.",
            ],
            default: "none",
            sources: &[Source::Environment, Source::CommandLine, Source::XenStore("bridge")],
        },
        Variable {
            name: "iface_id",
            value: "PORT",
            meaning: &["The port of OVN's logical switch that this is. The emulated device gets it with -emu appended."],
            default: "vifname, or else UUID-NUMBER: the guest's UUID and the number of the vif among its own",
            sources: &[Source::Environment, Source::CommandLine, Source::XenStore("iface-id")],
        },
        vif::VIFNAME,
        vif::STORE_OR_GIVEN_MTU,
        Variable {
            name: "ip",
            value: "ADDRESSES",
            meaning: &[
                "The guest's addresses or networks, separated by spaces. This program has no use for them: see port security in \
                        ovn-nbctl(8).",
            ],
            default: "none",
            sources: vif::IP_OF_STORE,
        },
        Variable {
            name: "netdev",
            value: "DEVICE",
            meaning: &[
                "The device that leads out of the host. Toolstacks give it to every vif program; this one has no use for it.",
            ],
            default: "none",
            sources: GIVEN,
        },
        vif::SCRIPT,
    ],
    options: &[Flag::DryRun, Flag::Json, Flag::Help, Flag::Version],
    exit_status: vif::EXIT_STATUS,
    files: &[Entry { subject: "/var/run/openvswitch/db.sock", text: "The socket of Open vSwitch's database server." }, LOG_FILE],
    environment: &[
        vif::UDEV_CALL,
        vif::XENSTORED_PATH,
        Entry { subject: "OVS_RUNDIR", text: "The folder of the database server's socket, where it is not /var/run/openvswitch." },
    ],
    examples: &[
        Example {
            purpose: "A guest in VLAN 7 of the bridge ovsbr0, one that may use the VLANs 10 and 20, and one on the port web0 of an OVN \
                      switch, in xl.cfg(5):",
            lines: &[
                "vif = ['script=vif-openvswitch,bridge=ovsbr0.7']",
                "vif = ['script=vif-openvswitch,bridge=ovsbr0:10:20']",
                "vif = ['script=vif-openvswitch,bridge=br-int,vifname=web0']",
            ],
        },
        Example {
            purpose: "By hand: see what would be done for the first device of domain 3:",
            lines: &["vif-openvswitch online --dry-run vif=vif3.0 XENBUS_PATH=backend/vif/3/0"],
        },
    ],
    see_also: &["vif-bridge(8)", "xl(1)", "xl.cfg(5)", "xl-network-configuration(5)", "ovs-vsctl(8)", "ovn-nbctl(8)"],
};
