//! What the kernel can do.

use crate::host::Switch;
use crate::inspect::finding::{Answer, Area, Check, CheckId, Finding};
use crate::inspect::model::{Examined, Ipv6, Look, Trials};

const NAT: CheckId = CheckId("kernel-nf-tables");
const GUEST_FILTERS: CheckId = CheckId("kernel-guest-filter");
const BRIDGE: CheckId = CheckId("kernel-bridge");
const IPV6: CheckId = CheckId("kernel-ipv6");
const BRIDGED_PACKETS: CheckId = CheckId("bridge-netfilter");

pub(super) static CHECKS: &[Check] = &[
    Check { id: NAT, area: Area::Kernel, good: "nf_tables translates addresses", look: nat },
    Check { id: GUEST_FILTERS, area: Area::Kernel, good: "guests can be held to their addresses", look: guest_filters },
    Check { id: BRIDGE, area: Area::Kernel, good: "bridges can be made", look: bridge },
    Check { id: IPV6, area: Area::Kernel, good: "there is IPv6", look: ipv6 },
    Check {
        id: BRIDGED_PACKETS,
        area: Area::Kernel,
        good: "the packet filter of IP leaves bridged packets alone",
        look: bridged_packets,
    },
];

/// The finding for a trial that failed; the reason why it was not made, where it was not.
fn failed(examined: &Examined, trial: fn(&Trials) -> &Look<()>, finding: impl Fn(&String) -> Finding) -> Answer {
    let trials = examined.kernel.trials.as_ref().map_err(Clone::clone)?;
    Ok(trial(trials).as_ref().err().map(finding).into_iter().collect())
}

fn nat(examined: &Examined) -> Answer {
    let finding = |cause: &String| {
        Finding::problem(NAT, "the kernel has no nf_tables that translates addresses")
            .because(format!("trying it out failed: {cause}; network-nat and masquerade=yes do not work"))
            .mended_by("load the modules, or boot a kernel with CONFIG_NF_TABLES, CONFIG_NFT_NAT and CONFIG_NFT_MASQ")
            .typing("modprobe -a nf_tables nft_chain_nat nft_masq")
    };
    failed(examined, |trials| &trials.nat_table, finding)
}

fn guest_filters(examined: &Examined) -> Answer {
    let finding = |cause: &String| {
        Finding::problem(GUEST_FILTERS, "the kernel cannot hold guests to their addresses")
            .because(format!("trying it out failed: {cause}; guests with ip= or antispoof= are not started"))
            .mended_by(
                "load what is missing, or boot a kernel with CONFIG_NF_TABLES_BRIDGE, CONFIG_NF_TABLES_ARP, CONFIG_NFT_BRIDGE_META and \
                 CONFIG_NFT_FIB_INET; until then antispoof=no lets guests in unfiltered",
            )
            .typing("modprobe -a nf_tables nft_meta_bridge nft_limit nft_fib_inet")
    };
    failed(examined, |trials| &trials.guest_filters, finding)
}

fn bridge(examined: &Examined) -> Answer {
    let finding = |cause: &String| {
        Finding::problem(BRIDGE, "the kernel makes no bridges")
            .because(format!("trying it out failed: {cause}; network-bridge and vif-bridge do not work"))
            .mended_by("load the module, or boot a kernel with CONFIG_BRIDGE")
            .typing("modprobe bridge")
    };
    failed(examined, |trials| &trials.bridge, finding)
}

fn ipv6(examined: &Examined) -> Answer {
    let finding = match examined.kernel.ipv6 {
        Ipv6::On => return Ok(vec![]),
        Ipv6::Off => Finding::note(IPV6, "IPv6 is switched off on this host")
            .because("net.ipv6.conf.all.disable_ipv6 is 1; routed guests have IPv4 alone, bridged ones may use IPv6 all the same")
            .mended_by("leave it, or switch it on")
            .typing("sysctl -w net/ipv6/conf/all/disable_ipv6=0"),
        Ipv6::Missing => Finding::note(IPV6, "the kernel has no IPv6")
            .because("/proc/sys/net/ipv6 is not there; routed guests have IPv4 alone")
            .mended_by("leave it, or boot without ipv6.disable=1"),
    };
    Ok(vec![finding])
}

fn bridged_packets(examined: &Examined) -> Answer {
    if examined.kernel.bridged_packets == Switch::Off {
        return Ok(vec![]);
    }
    let finding = Finding::note(BRIDGED_PACKETS, "the packet filter of IP sees what bridges pass on (br_netfilter)")
        .because(
            "a rule of iptables that needs physdev, or Docker, has loaded br_netfilter; every bridged packet costs more, and FORWARD chains \
             may drop it",
        )
        .mended_by("leave it where something on this host needs it; else switch it off")
        .typing("sysctl -w net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0");
    Ok(vec![finding])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::finding::Severity;

    fn examined(trials: Look<Trials>) -> Examined {
        let mut examined = Examined::of_nothing();
        examined.kernel.trials = trials;
        examined
    }

    #[test]
    fn a_kernel_that_lacks_everything_is_told_of_once_for_each() {
        let no = || Err("Operation not supported".to_owned());
        let examined = examined(Ok(Trials { nat_table: no(), guest_filters: no(), bridge: no() }));
        for check in &CHECKS[..3] {
            let findings = (check.look)(&examined).unwrap();
            assert_eq!(findings.len(), 1);
            assert_eq!((findings[0].id, findings[0].severity), (check.id, Severity::Problem));
            assert!(findings[0].reason.contains("Operation not supported"));
        }
    }

    #[test]
    fn what_could_not_be_tried_is_not_known() {
        let examined = examined(Err("no network namespace".to_owned()));
        assert!(CHECKS[..3].iter().all(|check| (check.look)(&examined).is_err()));
    }
}
