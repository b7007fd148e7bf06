//! The host as a router for its guests.

use crate::firewall::{DroppingChain, Traffic};
use crate::host::{Family, Switch};
use crate::inspect::finding::{Answer, Area, Check, CheckId, Finding};
use crate::inspect::model::{Backend, Device, DhcpServer, Examined, Wiring};
use crate::inspect::prescription::{self, RELOAD, SCRIPTS};
use crate::interface_name::InterfaceName;
use crate::sessions::{Held, Holding, SessionKey, Setting};
use crate::sysctl::{Sysctl, SysctlKey};

const FORWARDING: CheckId = CheckId("forwarding");
const SETTINGS: CheckId = CheckId("settings");
const MASQUERADE: CheckId = CheckId("masquerade");
const CHAINS: CheckId = CheckId("dropping-chain");
const PROXY_ARP: CheckId = CheckId("proxy-arp");
const ROUTE: CheckId = CheckId("guest-route");
const DHCP: CheckId = CheckId("dnsmasq");

pub(super) static CHECKS: &[Check] = &[
    Check { id: FORWARDING, area: Area::Routing, good: "the host forwards for those who need it", look: forwarding },
    Check { id: SETTINGS, area: Area::Routing, good: "settings are as network-route and network-nat left them", look: settings },
    Check { id: MASQUERADE, area: Area::Routing, good: "addresses are translated for those who need it", look: masquerade },
    Check { id: CHAINS, area: Area::Routing, good: "no chain of others drops what guests send", look: chains },
    Check { id: PROXY_ARP, area: Area::Routing, good: "the host answers for the gateways of routed guests", look: proxy_arp },
    Check { id: ROUTE, area: Area::Routing, good: "a route leads to each address of routed guests", look: route },
    Check { id: DHCP, area: Area::Routing, good: "dnsmasq runs where it serves guests", look: dhcp },
];

/// The guests' interfaces that are set up as links of their own.
fn routed(examined: &Examined) -> impl Iterator<Item = (&Backend, &Device)> {
    let seen = &examined.seen;
    let set_up = seen.vifs().iter().filter(|vif| vif.wiring().is_routed() && vif.is_set_up());
    set_up.filter_map(|vif| Some((vif, seen.device_of(vif)?)))
}

/// What sessions hold, each with the first of them.
fn held(examined: &Examined) -> impl Iterator<Item = (&Held, &SessionKey)> {
    let holdings = examined.remembered.sessions.holdings.iter();
    holdings.filter_map(|holding: &Holding| Some((&holding.what, holding.sessions.first()?)))
}

/// Settings that sessions rely on and somebody has changed.
fn changed(examined: &Examined) -> impl Iterator<Item = (&Setting, &SessionKey, &str)> {
    held(examined).filter_map(|(held, key)| {
        let Held::Setting(setting) = held else { return None };
        let now = examined.settings.get(&setting.sysctl)?;
        (*now != setting.change.ours).then_some((setting, key, now.as_str()))
    })
}

fn forwarding(examined: &Examined) -> Answer {
    let lost = changed(examined).filter(|(setting, ..)| setting.sysctl.is_forwarding_of_the_host());
    let mut findings: Vec<Finding> = lost
        .map(|(setting, key, now)| {
            Finding::problem(FORWARDING, format!("the host does not forward {}, which `{key}` relies on", setting.sysctl.family()))
                .because(format!("{} is {now}: somebody has changed it since", setting.sysctl))
                .mended_by("switch it on again, and find out who switched it off (a file in /etc/sysctl.d?)")
                .typing(format!("sysctl -w {}={}", setting.sysctl, setting.change.ours))
        })
        .collect();
    let on = host_setting(examined, Family::V4, "forwarding").is_none_or(|value| value != "0");
    if let (true, false, Some((vif, _))) = (findings.is_empty(), on, routed(examined).next()) {
        let program = if vif.wiring() == Wiring::Translated { "network-nat" } else { "network-route" };
        findings.push(
            Finding::problem(FORWARDING, format!("the host does not forward, and {} is routed", examined.seen.words_of(vif)))
                .because(format!("net.ipv4.ip_forward is 0: nobody has called {program}"))
                .mended_by("make the host a router")
                .typing(format!("{SCRIPTS}/{program} start")),
        );
    }
    Ok(findings)
}

fn settings(examined: &Examined) -> Answer {
    let lost = changed(examined).filter(|(setting, ..)| !setting.sysctl.is_forwarding_of_the_host());
    let finding = |(setting, key, now): (&Setting, &SessionKey, &str)| {
        Finding::problem(SETTINGS, format!("{} is {now}, and `{key}` relies on {}", setting.sysctl, setting.change.ours))
            .because("somebody has changed it since")
            .mended_by("set it again, and find out who changed it (a file in /etc/sysctl.d?)")
            .typing(format!("sysctl -w {}={}", setting.sysctl, setting.change.ours))
    };
    Ok(lost.map(finding).collect())
}

fn masquerade(examined: &Examined) -> Answer {
    let firewall = examined.firewall.as_ref().map_err(Clone::clone)?;
    let lost = held(examined).filter_map(|(held, key)| match held {
        Held::Masquerade { masquerade, .. } if !firewall.masquerades.contains(masquerade) => Some((masquerade, key)),
        _ => None,
    });
    let mut findings: Vec<Finding> = lost
        .map(|(masquerade, key)| {
            let words = prescription::masquerade_words(masquerade);
            Finding::problem(MASQUERADE, format!("addresses are not translated ({words}), which `{key}` relies on"))
                .because("our table in the packet filter lacks it: somebody has flushed the ruleset since")
                .mended_by("put all rules of ours back")
                .typing(RELOAD)
        })
        .collect();
    let translated = routed(examined).find(|(vif, _)| vif.wiring() == Wiring::Translated);
    if let (true, true, Some((vif, _))) = (findings.is_empty(), firewall.masquerades.is_empty(), translated) {
        findings.push(
            Finding::problem(MASQUERADE, format!("nobody translates addresses, and {} needs it", examined.seen.words_of(vif)))
                .because("vif-nat has set it up, and nobody has called network-nat: the guest's packets leave with an address that the LAN does not know")
                .mended_by("start it; where a rule of your own translates, leave it")
                .typing(format!("{SCRIPTS}/network-nat start")),
        );
    }
    Ok(findings)
}

/// Whose packets a chain ought to let pass.
struct Passage<'a> {
    device: &'a InterfaceName,
    traffic: Traffic,
}

fn passages(examined: &Examined) -> Vec<Passage<'_>> {
    let seen = &examined.seen;
    let mut passages: Vec<Passage<'_>> =
        routed(examined).map(|(_, device)| Passage { device: &device.link.name, traffic: Traffic::FromAndTo }).collect();
    let bridges = examined.remembered.sessions.bridges().filter(|bridge| seen.device(bridge.as_str()).is_some());
    passages.extend(bridges.map(|device| Passage { device, traffic: Traffic::FromAndTo }));
    if examined.kernel.bridged_packets == Switch::On {
        passages.extend(seen.bridges_with_guests().map(|bridge| Passage { device: &bridge.link.name, traffic: Traffic::Bridged }));
    }
    passages
}

fn chains(examined: &Examined) -> Answer {
    let firewall = examined.firewall.as_ref().map_err(Clone::clone)?;
    let mut findings = vec![];
    for passage in passages(examined) {
        for dropping in &firewall.dropping_chains {
            // For what a bridge passes on, a rule for all that comes from it and goes to it will do.
            let covers = |traffic| traffic == passage.traffic || traffic == Traffic::FromAndTo;
            let passes = firewall
                .accepts
                .iter()
                .any(|accept| accept.chain == dropping.chain && accept.device == *passage.device && covers(accept.traffic));
            if !passes {
                findings.push(chain(&passage, dropping));
            }
        }
    }
    Ok(findings)
}

fn chain(passage: &Passage<'_>, dropping: &DroppingChain) -> Finding {
    let Passage { device, traffic } = passage;
    let what = match traffic {
        Traffic::FromAndTo => format!("the chain {} drops what {device} sends and gets", dropping.chain),
        Traffic::Bridged => format!("the chain {} drops what the bridge {device} passes from port to port", dropping.chain),
    };
    let finding = Finding::problem(CHAINS, what).because(
        "it drops what none of its rules accepts, and our rule is not there: somebody has reloaded the packet filter since; where a rule of \
         your own accepts it, this may be left",
    );
    prescription::accept(dropping, device, *traffic)
        .into_iter()
        .fold(finding.mended_by("put the rules there again"), Finding::typing)
}

fn proxy_arp(examined: &Examined) -> Answer {
    if host_setting(examined, Family::V4, "proxy_arp") == Some("1") {
        return Ok(vec![]);
    }
    let has_ipv4 = |vif: &Backend| vif.addresses.is_empty() || vif.addresses.iter().any(ipnetwork::IpNetwork::is_ipv4);
    let finding = |(vif, device): (&Backend, &Device)| {
        let name = &device.link.name;
        let sysctl = device_setting(Family::V4, name, "proxy_arp")?;
        let off = examined.settings.get(&sysctl).is_some_and(|value| value == "0");
        (off && has_ipv4(vif)).then(|| {
            Finding::problem(PROXY_ARP, format!("the host does not answer for the gateway of {name} ({})", vif.guest_words()))
                .because(format!("{sysctl} is 0: the guest asks for its gateway's Ethernet address in vain"))
                .mended_by("switch it on")
                .typing(format!("sysctl -w {sysctl}=1"))
        })
    };
    Ok(routed(examined).filter_map(finding).collect())
}

fn route(examined: &Examined) -> Answer {
    let mut findings = vec![];
    for (vif, device) in routed(examined) {
        let name = &device.link.name;
        let missing = vif
            .addresses
            .iter()
            .filter(|address| !examined.routes.iter().any(|route| route.uses(name) && route.destination.contains(address.ip())));
        findings.extend(missing.map(|address| {
            let six = if address.is_ipv6() { "-6 " } else { "" };
            Finding::problem(ROUTE, format!("no route leads to {} behind {name} ({})", address.ip(), vif.guest_words()))
                .because("it was lost when the device was down, or somebody has taken it away: nobody reaches the guest")
                .mended_by("add it")
                .typing(format!("ip {six}route add {address} dev {name}"))
        }));
    }
    Ok(findings)
}

fn dhcp(examined: &Examined) -> Answer {
    if examined.dnsmasq != DhcpServer::NotRunning {
        return Ok(vec![]);
    }
    let finding = Finding::problem(DHCP, "dnsmasq is to give guests their addresses, and does not run")
        .because("there are files of ours in /etc/dnsmasq.d or /run/xen-network-dhcp, and no such process")
        .mended_by("start it; its own log says why it ended")
        .typing("systemctl start dnsmasq");
    Ok(vec![finding])
}

fn host_setting<'a>(examined: &'a Examined, family: Family, key: &str) -> Option<&'a str> {
    let sysctl = Sysctl::of_host(family, &SysctlKey::new(key).ok()?);
    examined.settings.get(&sysctl).map(String::as_str)
}

fn device_setting(family: Family, device: &InterfaceName, key: &str) -> Option<Sysctl> {
    Some(Sysctl::of_device(family, device, &SysctlKey::new(key).ok()?))
}
