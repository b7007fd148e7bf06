//! The text of `status`: bridges with their ports, then the guests that are links of their own, then those that lack a device.

use std::fmt::Write as _;

use super::model::{Backend, Device, PortState, Seen};
use super::paint::{Cell, Hue, Sign, Style, columns};
use crate::host::{AdminState, LinkKind, Switch, VlanFiltering};
use crate::interface_name::InterfaceName;
use crate::vlan::{Egress, Ingress, PortVlans, VlanSpan};

/// The whole.
#[must_use]
pub fn text(seen: &Seen, style: Style) -> String {
    let mut text = String::new();
    if let Err(reason) = &seen.store.0 {
        let _ =
            writeln!(text, "{}\n", style.paint(Hue::Bad, &format!("XenStore does not answer, so guests are not told: {reason}")));
    }
    let mut blocks: Vec<String> = vec![];
    blocks.extend(way_out(seen, style));
    blocks.extend(seen.bridges().map(|bridge| block_of_bridge(seen, bridge, style)));
    blocks.extend(blocks_of_others(seen, style));
    blocks.extend(block_of_missing(seen, style));
    if blocks.is_empty() {
        blocks.push("no bridge and no guest's interface\n".to_owned());
    }
    text + &blocks.join("\n")
}

/// The device of the default route, where no bridge has taken it over.
fn way_out(seen: &Seen, style: Style) -> Option<String> {
    let device = seen.device(seen.uplink.as_ref()?.as_str()).filter(|device| !device.link.is_bridge())?;
    Some(format!("{}\n", heading(seen, device, "way out", style)))
}

/// A device in one line: name, kind, state, MTU, Ethernet address, addresses.
fn heading(seen: &Seen, device: &Device, kind: &str, style: Style) -> String {
    let link = &device.link;
    let state = match link.state {
        AdminState::Up => style.paint(Hue::Good, "up"),
        AdminState::Down => style.paint(Hue::Bad, "down"),
    };
    let mut words = vec![format!("{}  {kind}", style.paint(Hue::Name, link.name.as_str())), state, format!("MTU {}", link.mtu)];
    words.extend(link.mac.map(|mac| mac.to_string()));
    words.extend(addresses(seen, &link.name));
    if let Some(bridge) = device.bridge {
        words.extend((link.vlan_filtering != VlanFiltering::Off).then(|| "keeps VLANs apart".to_owned()));
        words.extend((bridge.spanning_tree == Switch::On).then(|| "spanning tree".to_owned()));
    }
    words.join(", ")
}

fn addresses(seen: &Seen, device: &InterfaceName) -> Vec<String> {
    let global = seen.addresses_of(device).filter(|address| !address.is_ipv6_link_local());
    global.map(|address| address.network.to_string()).collect()
}

fn block_of_bridge(seen: &Seen, bridge: &Device, style: Style) -> String {
    let rows: Vec<_> = seen.ports_of(&bridge.link.name).map(|port| row_of_port(seen, bridge, port)).collect();
    let mut text = format!("{}\n", heading(seen, bridge, "bridge", style));
    if rows.is_empty() {
        let _ = writeln!(text, "{}{}", style.sign(Sign::LastBranch), style.paint(Hue::Faint, "no port"));
    }
    text + &branches(&rows, style)
}

/// Guests' devices that are ports of no bridge: those that are to be links of their own, and those that ought to be ports.
fn blocks_of_others(seen: &Seen, style: Style) -> impl Iterator<Item = String> {
    let free = seen.devices.iter().filter(|device| device.link.master.is_none() && seen.is_guests(&device.link.name));
    let is_routed = |device: &&Device| seen.vif_of(&device.link.name).is_some_and(|vif| vif.wiring().is_routed());
    let (routed, lost): (Vec<&Device>, Vec<&Device>) = free.partition(is_routed);
    let block = move |(heading, devices): (&str, Vec<&Device>)| {
        let rows: Vec<_> = devices.into_iter().map(|device| row_of_guest(seen, device, None)).collect();
        (!rows.is_empty()).then(|| format!("{}\n{}", style.paint(Hue::Name, heading), branches(&rows, style)))
    };
    [("links of their own", routed), ("in no bridge", lost)].into_iter().filter_map(block)
}

/// Guests' interfaces that XenStore has and the kernel lacks.
fn block_of_missing(seen: &Seen, style: Style) -> Option<String> {
    let missing = seen.vifs().iter().filter(|vif| seen.device_of(vif).is_none());
    let rows: Vec<_> = missing
        .map(|vif| {
            vec![Cell::painted(Hue::Name, vif.kernel_name()), Cell::painted(Hue::Bad, "no device"), Cell::plain(vif.guest_words())]
        })
        .collect();
    if rows.is_empty() {
        return None;
    }
    Some(format!("{}\n{}", style.paint(Hue::Name, "without a device"), branches(&rows, style)))
}

fn branches(rows: &[Vec<Cell>], style: Style) -> String {
    let mut text = String::new();
    for (place, line) in columns(style, rows).into_iter().enumerate() {
        let sign = if place + 1 == rows.len() { Sign::LastBranch } else { Sign::Branch };
        let _ = writeln!(text, "{}{line}", style.paint(Hue::Faint, style.sign(sign)));
    }
    text
}

fn row_of_port(seen: &Seen, bridge: &Device, port: &Device) -> Vec<Cell> {
    if seen.is_guests(&port.link.name) {
        return row_of_guest(seen, port, Some(bridge));
    }
    let mut row = vec![Cell::painted(Hue::Name, port.link.name.as_str()), state_of(port)];
    row.push(if is_uplink(port) { Cell::plain("uplink") } else { Cell::painted(Hue::Faint, kind_of(port)) });
    row.push(Cell::plain(""));
    row.push(Cell::plain(addresses(seen, &port.link.name).join(" ")));
    row.push(remarks(port, Some(bridge), None, seen));
    row
}

/// Whether a port leads out: network-bridge's ports are called after the device with a `p` before it.
#[must_use]
pub fn is_uplink(port: &Device) -> bool {
    matches!(port.link.kind, LinkKind::Physical | LinkKind::Bond | LinkKind::Vlan) || port.link.name.as_str().starts_with('p')
}

fn kind_of(device: &Device) -> String {
    match &device.link.kind {
        LinkKind::Physical => "card".to_owned(),
        LinkKind::Bridge => "bridge".to_owned(),
        LinkKind::Bond => "bond".to_owned(),
        LinkKind::Vlan => "VLAN".to_owned(),
        LinkKind::Other(word) => word.clone(),
    }
}

fn row_of_guest(seen: &Seen, device: &Device, bridge: Option<&Device>) -> Vec<Cell> {
    let name = &device.link.name;
    let vif = seen.vif_of(name);
    let who = match vif {
        None => Cell::painted(Hue::Doubt, "no guest"),
        Some(vif) if name.as_str().ends_with("-emu") => Cell::plain(format!("{}, emulated", vif.guest_words())),
        Some(vif) => Cell::plain(vif.guest_words()),
    };
    let state = vif.and_then(|vif| status_of(vif, device)).unwrap_or_else(|| state_of(device));
    let mac = vif.and_then(|vif| vif.mac).map(|mac| mac.to_string()).unwrap_or_default();
    let guests: Vec<String> = vif.map(|vif| vif.addresses.iter().map(short).collect()).unwrap_or_default();
    vec![
        Cell::painted(Hue::Name, name.as_str()),
        state,
        who,
        Cell::plain(mac),
        Cell::plain(guests.join(" ")),
        remarks(device, bridge, vif, seen),
    ]
}

/// An address, and the length of its network where it is more than the address alone.
#[must_use]
pub fn short(network: &ipnetwork::IpNetwork) -> String {
    let whole = if network.is_ipv4() { 32 } else { 128 };
    if network.prefix() == whole { network.ip().to_string() } else { network.to_string() }
}

/// What the program has told of it, where that is not that it is set up.
fn status_of(vif: &Backend, device: &Device) -> Option<Cell> {
    match vif.hotplug_status.as_deref() {
        Some("connected") => None,
        Some("error") => Some(Cell::painted(Hue::Bad, "failed")),
        _ if device.link.state == AdminState::Up => Some(Cell::painted(Hue::Doubt, "up, not set up")),
        _ => Some(Cell::painted(Hue::Doubt, "not set up")),
    }
}

fn state_of(device: &Device) -> Cell {
    match (device.link.state, device.port_state, device.carrier) {
        (AdminState::Down, ..) => Cell::painted(Hue::Bad, "down"),
        (AdminState::Up, Some(state), Switch::On) if state != PortState::Forwarding => Cell::painted(Hue::Doubt, state.word()),
        (AdminState::Up, _, Switch::Off) => Cell::painted(Hue::Doubt, "no link"),
        (AdminState::Up, ..) => Cell::painted(Hue::Good, "up"),
    }
}

/// What is out of the ordinary: an MTU that is not the bridge's, VLANs, the filter, packets lost.
fn remarks(device: &Device, bridge: Option<&Device>, vif: Option<&Backend>, seen: &Seen) -> Cell {
    let mut words = vec![];
    let mut hue = None;
    if bridge.is_none_or(|bridge| bridge.link.mtu != device.link.mtu) {
        words.push(format!("MTU {}", device.link.mtu));
        hue = bridge.map(|_| Hue::Doubt);
    }
    let settings = &device.link.port;
    if settings.vlans != PortVlans::default() {
        words.push(format!("VLANs {}", vlans(&settings.vlans)));
    }
    if settings.isolated == Switch::On {
        words.push("isolated".to_owned());
    }
    if let Some(filtered) = seen.filter.get(&device.link.name) {
        let dropped = if filtered.dropped == 0 { String::new() } else { format!(", {} dropped", filtered.dropped) };
        words.push(format!("filter {}{dropped}", filtered.mode()));
        hue = if filtered.dropped == 0 { hue } else { Some(Hue::Doubt) };
    }
    let lost = [(device.lost.received, "from"), (device.lost.sent, "to")].into_iter().filter(|(number, _)| *number > 0);
    let lost: Vec<String> = lost.map(|(number, way)| format!("{number} {way} it")).collect();
    if !lost.is_empty() {
        words.push(format!("lost {}", lost.join(", ")));
    }
    if let Some(error) = vif.and_then(|vif| vif.hotplug_error.as_deref().filter(|_| vif.hotplug_status.as_deref() == Some("error")))
    {
        words.push(error.to_owned());
        hue = Some(Hue::Bad);
    }
    Cell { text: words.join("; "), hue }
}

/// VLANs as xl's `vlan=` has them: `p` behind the one that packets without a tag come into, `u` behind those that leave without.
#[must_use]
pub fn vlans(vlans: &PortVlans) -> String {
    let one = |span: &VlanSpan| {
        let range = if span.first == span.last { span.first.to_string() } else { format!("{}-{}", span.first, span.last) };
        let mark = match (span.ingress, span.egress) {
            (Ingress::Untagged, _) => "p",
            (Ingress::Tagged, Egress::Untagged) => "u",
            (Ingress::Tagged, Egress::Tagged) => "",
        };
        format!("{range}{mark}")
    };
    vlans.spans().iter().map(one).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vlans_are_shown_as_they_are_configured() {
        let mut all = PortVlans::default();
        let span = |first: u16, last: u16, egress, ingress| VlanSpan {
            first: first.try_into().unwrap(),
            last: last.try_into().unwrap(),
            egress,
            ingress,
        };
        for span in [
            span(10, 10, Egress::Untagged, Ingress::Untagged),
            span(20, 22, Egress::Tagged, Ingress::Tagged),
            span(30, 30, Egress::Untagged, Ingress::Tagged),
        ] {
            all.add(&span);
        }
        assert_eq!(vlans(&all), "10p/20-22/30u");
    }
}
