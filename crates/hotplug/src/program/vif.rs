//! What the texts of all vif programs have in common.

use super::{Command, Entry, Source, Variable};

/// Where a variable is looked for that no toolstack writes to XenStore.
pub(super) const GIVEN: &[Source] = &[Source::Environment, Source::CommandLine];

/// The paravirtual device.
pub(super) const VIF: Variable = Variable {
    name: "vif",
    value: "DEVICE",
    meaning: &["The vif, such as vif3.0: device 0 of domain 3. Needed with type_if=vif."],
    default: "none",
    sources: GIVEN,
};

/// The emulated device.
pub(super) const INTERFACE: Variable = Variable {
    name: "INTERFACE",
    value: "DEVICE",
    meaning: &["The emulated device, such as vif3.0-emu. Needed with type_if=tap."],
    default: "none",
    sources: GIVEN,
};

/// The backend.
pub(super) const XENBUS_PATH: Variable = Variable {
    name: "XENBUS_PATH",
    value: "PATH",
    meaning: &[
        "The vif's backend directory in XenStore, such as backend/vif/3/0. Needed with type_if=vif. With type_if=tap it is \
         worked out from the name of the device, below the own domain.",
    ],
    default: "none",
    sources: GIVEN,
};

/// Paravirtual or emulated.
pub(super) const TYPE_IF: Variable = Variable {
    name: "type_if",
    value: "vif|tap",
    meaning: &[
        "Which of a guest's two devices the call is about: the vif, or the emulated device of a guest that is not paravirtualised.",
    ],
    default: "vif",
    sources: GIVEN,
};

/// A name of its own.
pub(super) const VIFNAME: Variable = Variable {
    name: "vifname",
    value: "DEVICE",
    meaning: &[
        "The name that the device gets. The emulated device gets it with -emu appended. A device that has the name already is left alone, and the call fails.",
    ],
    default: "the name that the kernel gave it",
    sources: &[Source::Environment, Source::CommandLine, Source::XenStore("vifname")],
};

/// The program as configured.
pub(super) const SCRIPT: Variable = Variable {
    name: "script",
    value: "PATH",
    meaning: &["The hotplug program as the guest's configuration names it. Handed to the hooks."],
    default: "none",
    sources: GIVEN,
};

/// What a guest is held to.
pub(super) const ANTISPOOF: Variable = Variable {
    name: "antispoof",
    value: "no|yes|ip|strict",
    meaning: &[
        "What the guest is held to, from before its device is up until it is gone. With ip, only ARP, IPv4 and IPv6 pass, from the guest's \
         Ethernet address (the XenStore key mac) and from the addresses and networks in ip, its link-local IPv6 address, and what a host \
         must say before it has an address: DHCP, router solicitation, duplicate address detection, group membership. ARP and neighbour \
         discovery may speak of no other address. Nothing else passes: no other protocol, and no VLAN tag.",
        "strict is the same, less what only servers and routers say: DHCP answers, router advertisements, redirects and MLD queries; and \
         less IPv6 extension headers for routing and mobility, and fragments that hide what they carry. Without ip, strict holds the guest to \
         its Ethernet address. yes is ip where ip is given, else strict. no is no filter.",
        "A link-local IPv6 address other than the one that follows from the Ethernet address is the guest's once it has asked for it by \
         duplicate address detection, before any other guest did.",
    ],
    default: "as the network's program was told (see network-bridge(8)), else ip where ip is given, else no",
    sources: &[Source::Environment, Source::CommandLine, Source::XenStore("antispoof")],
};

/// Where the guest's addresses are looked for.
pub(super) const IP_OF_STORE: &[Source] = &[Source::Environment, Source::CommandLine, Source::XenStore("ip")];

/// The MTU of a link that is no bridge's.
pub(super) const STORE_OR_GIVEN_MTU: Variable = Variable {
    name: "mtu",
    value: "BYTES",
    meaning: &["Largest packet of the device, 68 to 65535 bytes. It is told to the guest."],
    default: "the one that the device has",
    sources: &[Source::Environment, Source::CommandLine, Source::XenStore("mtu")],
};

/// The uplink as the guest's configuration names it.
pub(super) const GATEWAYDEV: Variable = Variable {
    name: "gatewaydev",
    value: "DEVICE",
    meaning: &["The uplink, as the guest's configuration names it."],
    default: "none",
    sources: &[Source::Environment, Source::CommandLine, Source::XenStore("gatewaydev")],
};

/// `offline` of a routed vif, with what else there is to say of it.
pub(super) const OFFLINE_ROUTED: Command = Command {
    name: "offline",
    purpose: "Take away all that online has made.",
    description: &[
        "Cleans up whatever is left of the vif, in the files of a DHCP server too, and runs the hooks. What is gone already, be it the \
                    device or the entry in XenStore, is not an error.",
    ],
};

/// `add` of a routed tap device.
pub(super) const ADD_ROUTED: Command = Command {
    name: "add",
    purpose: "Route to an emulated device (type_if=tap).",
    description: &[
        "As online does for a vif, with metric 1: the guest uses this device until its own driver takes over. Nothing is written to \
                    XenStore unless it fails.",
    ],
};

/// `remove` of a routed tap device.
pub(super) const REMOVE_ROUTED: Command =
    Command { name: "remove", purpose: "Take away all that add has made.", description: &["As offline does for a vif."] };

/// Where hooks are.
pub(super) const HOOKS: Entry = Entry {
    subject: "vif-post.d/*.hook",
    text: "Hooks, in the folder of the program: executables that bash(1) sources in the order of their names, before success is \
           reported. The folder and the hooks must belong to root, and nobody else may have the right to write to them. All \
           hooks together have 20 seconds; one that fails or takes longer makes the call fail, and is named. Variables they see: \
           command, dev, vif, ip, bridge, type_if, XENBUS_PATH, of routed devices vif_ip and router_ip, and all words NAME=VALUE.",
};

/// Where native hooks are.
pub(super) const NATIVE_HOOKS: Entry = Entry {
    subject: "vif-post.d/*.exec",
    text: "Native hooks: executables of any kind that run as processes of their own, after the sourced ones, in the order of their \
           names and by the same rules. The command is their first word; their environment has PATH, the variables above whose names \
           begin with a small letter, and those of XENBUS_.",
};

/// A mark of udev's calls.
pub(super) const UDEV_CALL: Entry = Entry {
    subject: "UDEV_CALL",
    text: "Set in a call by udev. Such a call does nothing and succeeds when the XenStore key libxl/disable_udev exists, because the \
           toolstack then calls the program itself.",
};

/// Where XenStore is.
pub(super) const XENSTORED_PATH: Entry =
    Entry { subject: "XENSTORED_PATH, XENSTORED_RUNDIR", text: "Where the socket of XenStore is, or the folder that it is in." };

/// Variables of the environment.
pub(super) const ENVIRONMENT: &[Entry] = &[UDEV_CALL, XENSTORED_PATH];

/// What the exit status says.
pub(super) const EXIT_STATUS: &[Entry] = &[
    Entry { subject: "0", text: "Done, or nothing had to be done." },
    Entry {
        subject: "1",
        text: "Refused, or failed and undone. Standard error names the step, the cause and, where there is one, the remedy. After an \
                   unknown command nothing is written to XenStore; after any other failure hotplug-error and hotplug-status are.",
    },
    Entry {
        subject: "either",
        text: "within 35 seconds, whoever keeps the program waiting. An answer of XenStore has 5 seconds, a lock 25, the restart of a \
                   DHCP server and the hooks 20 each, and all of them together no more than 25; then each has one more second, so that \
                   what was done can be taken back.",
    },
];
