//! `network-bridge status`.

use std::fmt::Write;

use super::{default_routes, observe};
use crate::host::{AdminState, Host, Link};
use crate::interface_name::InterfaceName;
use crate::invocation::{Format, Invocation};
use crate::plan::network_bridge::{Asked, choose_netdev};
use crate::report::{Report, Trouble};
use crate::system::System;

/// Prints the bridge, its ports, and what lies on it.
pub(super) fn status(invocation: &Invocation, asked: &Asked, system: &mut System) -> Result<Report, Trouble> {
    let routes = default_routes(system)?;
    let netdev = choose_netdev(asked, &routes)?;
    let bridge = asked.bridge.clone().unwrap_or_else(|| netdev.clone());
    let ports = system.ports_of(&bridge)?;
    let uplinks = ports.iter().map(|port| port.name.clone()).filter(|name| !name.as_str().starts_with("vif"));
    let mut devices = vec![bridge.clone()];
    devices.extend(uplinks.chain([netdev]).filter(|name| *name != bridge));
    devices.dedup();
    let host = observe(system, &devices)?;
    Ok(Report::printed(match invocation.format() {
        Format::Text => as_text(&host, &bridge, &ports),
        Format::Json => as_json(&host, &bridge, &ports),
    }))
}

fn as_text(host: &Host, bridge: &InterfaceName, ports: &[Link]) -> String {
    let mut text = String::new();
    for link in &host.links {
        text += &link_as_text(host, link);
    }
    let kind = match host.link(bridge) {
        Some(link) if link.is_bridge() => "bridge",
        Some(_) => "not a bridge",
        None => "not there",
    };
    let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
    let _ = writeln!(text, "{bridge}: {kind}, ports: {}", if names.is_empty() { "none".to_owned() } else { names.join(" ") });
    let _ = writeln!(text, "routes:");
    for route in &host.routes {
        let _ = writeln!(text, "    {route}");
    }
    for rule in host.rules.iter().filter(|rule| rule.incoming.is_some() || rule.outgoing.is_some()) {
        let _ = writeln!(text, "    rule {rule}");
    }
    text
}

fn link_as_text(host: &Host, link: &Link) -> String {
    let state = match link.state {
        AdminState::Up => "up",
        AdminState::Down => "down",
    };
    let mut text = format!("{}: {state}, MTU {}", link.name, link.mtu);
    if let Some(mac) = link.mac {
        let _ = write!(text, ", {mac}");
    }
    if let Some(master) = &link.master {
        let _ = write!(text, ", port of {master}");
    }
    text.push('\n');
    for address in host.addresses_of(&link.name) {
        let _ = writeln!(text, "    {address}");
    }
    text
}

fn as_json(host: &Host, bridge: &InterfaceName, ports: &[Link]) -> String {
    let value = serde_json::json!({
        "bridge": bridge,
        "links": host.links,
        "ports": ports,
        "addresses": host.addresses,
        "routes": host.routes,
        "rules": host.rules,
        "neighbours": host.neighbours,
    });
    format!("{value:#}\n")
}
