//! `network-route status` and `network-nat status`.

use std::fmt::Write;

use super::Work;
use crate::host::{AdminState, Family, Host, Link};
use crate::interface_name::InterfaceName;
use crate::invocation::Format;
use crate::plan::router::{self as recipe, device_sysctl};
use crate::report::{Report, Trouble};
use crate::sessions::{SessionKey, Sessions};

/// Prints what the host does as a router, and for which sessions.
pub(super) fn status(work: &mut Work<'_>) -> Result<Report, Trouble> {
    let netdev = work.uplink(work.errand.netdev.clone())?;
    let (mut host, sessions) = work.observe(&netdev, work.errand.bridge.as_ref())?;
    // The uplink may be a bridge that network-bridge has made.
    for port in work.system.ports_of(&netdev)? {
        if host.link(&port.name).is_none() {
            host.links.push(port);
        }
    }
    let own: Vec<SessionKey> = sessions.keys().into_iter().filter(|key| key.program == work.errand.program).collect();
    let shown: Vec<&Link> = host
        .links
        .iter()
        .filter(|link| link.name == netdev || sessions.bridges().chain(&work.errand.bridge).any(|name| *name == link.name))
        .collect();
    Ok(Report::printed(match work.invocation.format() {
        Format::Text => as_text(&netdev, &host, &shown, &own),
        Format::Json => as_json(&netdev, &host, &shown, &own, &sessions),
    }))
}

/// The settings shown, each with a word for it.
const DEVICE_SETTINGS: [(&str, Family, &str); 3] =
    [("proxy ARP", Family::V4, "proxy_arp"), ("proxy NDP", Family::V6, "proxy_ndp"), ("accept RA", Family::V6, "accept_ra")];

fn as_text(netdev: &InterfaceName, host: &Host, shown: &[&Link], own: &[SessionKey]) -> String {
    let mut text = String::new();
    for family in [Family::V4, Family::V6] {
        let value = recipe::forwarding_of(family).and_then(|sysctl| host.sysctls.get(&sysctl));
        let _ = writeln!(text, "{family} forwarding: {}", value.map_or("not in this kernel", |value| on_off(value)));
    }
    let settings = DEVICE_SETTINGS.iter().filter_map(|(word, family, key)| {
        let sysctl = device_sysctl(*family, netdev, key)?;
        host.sysctls.get(&sysctl).map(|value| format!("{word} {value}"))
    });
    let _ = writeln!(text, "{netdev}: {}", settings.collect::<Vec<_>>().join(", "));
    let masquerades: Vec<String> =
        host.masquerades.iter().map(|masquerade| format!("{} out of {}", masquerade.family, masquerade.device)).collect();
    let _ = writeln!(text, "masquerade: {}", or_none(&masquerades));
    for link in shown {
        text += &link_as_text(host, link);
    }
    let own: Vec<String> = own.iter().map(ToString::to_string).collect();
    let _ = writeln!(text, "started: {}", or_none(&own));
    text
}

fn link_as_text(host: &Host, link: &Link) -> String {
    let state = match link.state {
        AdminState::Up => "up",
        AdminState::Down => "down",
    };
    let mut text = format!("{}: {state}, MTU {}", link.name, link.mtu);
    let ports: Vec<String> = host.ports_of(&link.name).map(|port| port.name.to_string()).collect();
    if link.is_bridge() {
        let _ = write!(text, ", ports: {}", or_none(&ports));
    }
    text.push('\n');
    for address in host.addresses_of(&link.name) {
        let _ = writeln!(text, "    {address}");
    }
    text
}

fn as_json(netdev: &InterfaceName, host: &Host, shown: &[&Link], own: &[SessionKey], sessions: &Sessions) -> String {
    let addresses: Vec<_> = host.addresses.iter().filter(|address| shown.iter().any(|link| link.name == address.device)).collect();
    let value = serde_json::json!({
        "netdev": netdev,
        "settings": host.sysctls,
        "masquerades": host.masquerades,
        "links": shown,
        "addresses": addresses,
        "started": own,
        "holdings": sessions.holdings,
    });
    format!("{value:#}\n")
}

fn on_off(value: &str) -> &'static str {
    if value == "0" { "off" } else { "on" }
}

fn or_none(words: &[String]) -> String {
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}
