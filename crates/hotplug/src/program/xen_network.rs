//! All that is to be said about `xen-network`.

use super::common::{LOG_FILE, RUN_DIRECTORY};
use super::{Command, Entry, Example, Flag, Operand, Program, Source, Variable};
use crate::system::privilege::Powers;

const GIVEN: &[Source] = &[Source::CommandLine];

/// `xen-network`: shows a host's network for guests, finds what is wrong with it, and removes what is left over.
pub static XEN_NETWORK: Program = Program {
    name: "xen-network",
    purpose: "see and mend the network of a Xen host's guests",
    description: &[
        "xen-network shows the bridges of a Xen host, its guests' interfaces and their way out, finds what is wrong with them and says what \
         to do about it. Only reload, gc and guard change anything.",
        "What is shown comes from the kernel and from XenStore, read anew at each call. Where XenStore does not answer, the rest is shown \
         all the same.",
    ],
    commands: &[
        Command {
            name: "status",
            purpose: "Print bridges, ports and guests as a tree.",
            description: &[
                "Each bridge is shown with its state, MTU and addresses, and below it its ports: the ways out, and the guests' interfaces with \
                 the guest's name, Ethernet address and addresses as its configuration has them. Behind them stands what is out of the \
                 ordinary: another MTU than the bridge's, VLANs, the guest filter and what it dropped, packets lost for want of room, and what \
                 a program complained of. Interfaces that are links of their own follow, and those without a device.",
                "With --dot the same is a picture: xen-network status --dot | dot -Tpng >network.png. Colours are for terminals, and not \
                 where NO_COLOR is set.",
            ],
        },
        Command {
            name: "doctor",
            purpose: "Check everything, and say what to do.",
            description: &[
                "Looks at the kernel, the toolstack's configuration, bridges, routing, guests' interfaces and leftovers. Each check has a \
                 verdict; whatever is found has a name, a reason and a remedy, and where the remedy is a command, the command. What the \
                 kernel can do is tried out in a network namespace of its own.",
                "The exit status is 1 when there is a problem. Notes are no problems.",
            ],
        },
        Command {
            name: "reload",
            purpose: "Put our rules back into the packet filter.",
            description: &[
                "Puts back every rule of ours that should be there and takes away those that should not: the guests' filters, the translations \
                 of network-nat and network-route, and the rules that let guests pass in chains of others. To be called after the host's \
                 firewall was reloaded, or after nft flush ruleset. What guests are to be held to is read from XenStore. With --dry-run it only \
                 says what it would do.",
            ],
        },
        Command {
            name: "gc",
            purpose: "Remove what is ours and nobody needs.",
            description: &[
                "Takes back runs that were killed halfway, and removes rules, translations, filter entries and files for devices that are gone \
                 and that XenStore has no vif for, and records of bridges that are gone. With --dry-run it only says so. Nothing of anybody \
                 else's is touched. Without XenStore nothing is known to be nobody's, and nothing is removed.",
            ],
        },
        Command {
            name: "explain",
            purpose: "Say where a guest's packet would be dropped.",
            description: &[
                "Follows a packet from a guest's interface outwards and its answer back: device, guest filter, port and bridge, or gateway, \
                 route and reverse path; then forwarding, chains of the packet filter and translation. Says at each station whether it passes, \
                 and what would let it pass.",
                "Of others' chains in nf_tables where packets are forwarded, those of iptables-nft among them, it names the rule that decides on \
                 the first packet of a connection, as far as rules ask for devices, addresses, the protocol and the state of the connection; \
                 others are named as such that it cannot judge. Of iptables-legacy it knows policies and what stands at the end of FORWARD.",
            ],
        },
        Command {
            name: "watch",
            purpose: "Print what happens to guests' interfaces.",
            description: &[
                "A line for each change of a guest's device, a bridge or a port, and of the keys of vifs in XenStore, with the time (UTC), until \
                 it is interrupted.",
            ],
        },
        Command {
            name: "guard",
            purpose: "Put our rules back whenever they go.",
            description: &[
                "Does what reload does whenever somebody else has taken our rules out of the packet filter, or has put a chain there that drops \
                 what guests send, within milliseconds, until it is interrupted: nft flush ruleset, firewall-cmd --reload and others that do the \
                 same then open no guest for longer. The kernel tells of every change, so nothing is asked for while nothing happens. A line, \
                 also in the log, says what was put right. The kernel does not tell of changes by iptables-legacy. xen-network-guard.service \
                 runs it from boot on.",
            ],
        },
    ],
    powers: Powers::EXAMINATION,
    operands: &[Operand { command: "explain", value: "VIF", meaning: "The guest's interface, as vif1.0 or by its vifname." }],
    variables: &[
        Variable {
            name: "from",
            value: "ADDRESS",
            meaning: &["For explain: the packet's source."],
            default: "the guest's first address of the same family",
            sources: GIVEN,
        },
        Variable {
            name: "to",
            value: "ADDRESS",
            meaning: &["For explain: where the packet is to go."],
            default: "anywhere",
            sources: GIVEN,
        },
        Variable {
            name: "protocol",
            value: "PROTOCOL",
            meaning: &["For explain: what the packet carries: tcp, udp, icmp, icmpv6, sctp, or a number."],
            default: "not known",
            sources: GIVEN,
        },
    ],
    options: &[Flag::DryRun, Flag::Json, Flag::Dot, Flag::Help, Flag::Version],
    exit_status: &[
        Entry { subject: "0", text: "Shown, or done; doctor has found no problem." },
        Entry { subject: "1", text: "doctor has found a problem, or the host could not be looked at; standard error says why." },
    ],
    files: &[
        RUN_DIRECTORY,
        Entry {
            subject: "/etc/xen/xl.conf, /etc/xen/xend-config.sxp",
            text: "Read to see which programs and bridges the toolstack uses, and who calls the programs.",
        },
        Entry { subject: "/etc/xen/scripts/vif-post.d/", text: "Hooks, whose owners and modes are looked at." },
        LOG_FILE,
    ],
    environment: &[
        Entry { subject: "NO_COLOR", text: "No colours, if it is set and not empty." },
        Entry { subject: "LC_ALL, LC_CTYPE, LANG", text: "Lines and marks of Unicode are printed where these name UTF-8." },
        Entry { subject: "XENSTORED_PATH", text: "Where xenstored listens." },
    ],
    examples: &[
        Example { purpose: "What is there:", lines: &["xen-network status"] },
        Example { purpose: "A picture of it:", lines: &["xen-network status --dot | dot -Tpng >network.png"] },
        Example { purpose: "What is wrong, and what to do:", lines: &["xen-network doctor"] },
        Example { purpose: "Why a guest does not reach a name server:", lines: &["xen-network explain vif3.0 to=9.9.9.9"] },
        Example { purpose: "See what is left over, and remove it:", lines: &["xen-network gc --dry-run", "xen-network gc"] },
    ],
    see_also: &["network-bridge(8)", "vif-bridge(8)", "xl(1)", "ip(8)", "bridge(8)", "nft(8)", "dot(1)"],
};
