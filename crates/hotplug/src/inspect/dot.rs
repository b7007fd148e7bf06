//! The picture of `status --dot`, in the language of graphviz: networks on the left, guests on the right.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::model::{Backend, Device, Seen};
use super::tree::{is_uplink, short, vlans};
use crate::host::{AdminState, Switch};
use crate::interface_name::InterfaceName;

const HEAD: &str = "digraph \"xen-network\" {
    graph [rankdir=LR, nodesep=0.25, ranksep=0.9, fontname=\"Helvetica\", bgcolor=\"white\"];
    node [fontname=\"Helvetica\", fontsize=11, shape=box, style=\"filled,rounded\", color=\"#5b6770\", fillcolor=\"#ffffff\"];
    edge [fontname=\"Helvetica\", fontsize=9, color=\"#5b6770\", arrowhead=none];
";

/// The whole picture.
#[must_use]
pub fn picture(seen: &Seen) -> String {
    let mut picture = Picture { seen, text: HEAD.to_owned(), guests: BTreeMap::new() };
    picture.way_out();
    for bridge in seen.bridges() {
        picture.bridge(bridge);
    }
    for device in seen.devices.iter().filter(|device| device.link.master.is_none() && seen.is_guests(&device.link.name)) {
        picture.own_link(device);
    }
    for vif in seen.vifs().iter().filter(|vif| seen.device_of(vif).is_none()) {
        picture.missing(vif);
    }
    picture.all_guests();
    picture.text + "}\n"
}

struct Picture<'a> {
    seen: &'a Seen,
    text: String,
    /// Guests, by domain, with the lines of their interfaces.
    guests: BTreeMap<u16, &'a Backend>,
}

const LAN: &str = "    network [label=\"network\", shape=ellipse, style=filled, fillcolor=\"#e8eef2\"];\n";
const HOST: &str = "    host [label=\"this host\\nrouter\", fillcolor=\"#fff3d6\"];\n";

impl<'a> Picture<'a> {
    /// The device of the default route, and this host behind it where it is a router for guests.
    fn way_out(&mut self) {
        let seen = self.seen;
        let own_links = seen.devices.iter().any(|device| device.link.master.is_none() && seen.is_guests(&device.link.name));
        let routes = own_links || seen.bridges().any(|bridge| self.is_private(bridge));
        if routes {
            self.text += HOST;
        }
        let Some(uplink) = seen.uplink.as_ref().and_then(|name| seen.device(name.as_str())) else { return };
        let name = id(&uplink.link.name);
        if !uplink.link.is_bridge() {
            self.text += LAN;
            let _ = writeln!(self.text, "    {name} [label={}];", quoted(&self.lines_of(uplink)));
            let _ = writeln!(self.text, "    network -> {name};");
        }
        if routes {
            let _ = writeln!(self.text, "    {name} -> host;");
        }
    }

    /// Whether this host is the only way out of a bridge.
    fn is_private(&self, bridge: &Device) -> bool {
        let name = &bridge.link.name;
        self.seen.uplinks_of(name).next().is_none() && self.seen.addresses_of(name).next().is_some()
    }

    fn bridge(&mut self, bridge: &'a Device) {
        let name = &bridge.link.name;
        let ports: Vec<&Device> = self.seen.ports_of(name).collect();
        let label = format!("bridge {}", self.lines_of(bridge));
        let _ = writeln!(
            self.text,
            "    {} [label={}, fillcolor=\"{}\", penwidth=2];",
            id(name),
            quoted(&label),
            if bridge.link.state == AdminState::Up { "#d9ead3" } else { "#f4cccc" }
        );
        if self.is_private(bridge) {
            let _ = writeln!(self.text, "    host -> {};", id(name));
        }
        for port in ports {
            self.port(bridge, port);
        }
    }

    fn port(&mut self, bridge: &Device, port: &'a Device) {
        let (bridge, name) = (id(&bridge.link.name), id(&port.link.name));
        self.device(port);
        if !self.seen.is_guests(&port.link.name) {
            if is_uplink(port) {
                if !self.text.contains(LAN) {
                    self.text += LAN;
                }
                let _ = writeln!(self.text, "    network -> {name} -> {bridge};");
            } else {
                let _ = writeln!(self.text, "    {bridge} -> {name};");
            }
            return;
        }
        let _ = writeln!(self.text, "    {bridge} -> {name}{};", edge_of(port));
        self.guest_of(port);
    }

    fn own_link(&mut self, device: &'a Device) {
        self.device(device);
        let _ = writeln!(self.text, "    host -> {}{};", id(&device.link.name), edge_of(device));
        self.guest_of(device);
    }

    /// A port or a link of its own: red where it is down.
    fn device(&mut self, device: &Device) {
        let well = device.link.state == AdminState::Up && device.carrier == Switch::On;
        let mut label = device.link.name.to_string();
        label += match (device.link.state, device.carrier) {
            (AdminState::Down, _) => "\ndown",
            (AdminState::Up, Switch::Off) => "\nno link",
            (AdminState::Up, Switch::On) => "",
        };
        if let Some(filtered) = self.seen.filter.get(&device.link.name) {
            let _ = write!(label, "\nfilter {}", filtered.mode());
            if filtered.dropped > 0 {
                let _ = write!(label, ", {} dropped", filtered.dropped);
            }
        }
        let _ = writeln!(
            self.text,
            "    {} [label={}, fontsize=10, fillcolor=\"{}\"];",
            id(&device.link.name),
            quoted(&label),
            if well { "#ffffff" } else { "#f4cccc" }
        );
    }

    fn guest_of(&mut self, device: &Device) {
        let Some(vif) = self.seen.vif_of(&device.link.name) else { return };
        self.guests.insert(vif.domain, vif);
        let addresses: Vec<String> = vif.addresses.iter().map(short).collect();
        let label = (!addresses.is_empty()).then(|| format!("label={}", quoted(&addresses.join("\n"))));
        let colour = (!vif.is_set_up()).then(|| "color=\"#cc0000\", style=dashed".to_owned());
        let attributes: Vec<String> = label.into_iter().chain(colour).collect();
        let attributes = if attributes.is_empty() { String::new() } else { format!(" [{}]", attributes.join(", ")) };
        let _ = writeln!(self.text, "    {} -> guest{}{attributes};", id(&device.link.name), vif.domain);
    }

    /// A guest's interface that the kernel lacks.
    fn missing(&mut self, vif: &'a Backend) {
        let name = quoted(&format!("device {}", vif.kernel_name()));
        let label = quoted(&format!("{}\nno device", vif.kernel_name()));
        let _ = writeln!(self.text, "    {name} [label={label}, fontsize=10, color=\"#cc0000\", style=\"dashed,rounded\"];");
        let _ = writeln!(self.text, "    {name} -> guest{} [color=\"#cc0000\", style=dashed];", vif.domain);
        self.guests.insert(vif.domain, vif);
    }

    fn all_guests(&mut self) {
        for (domain, vif) in std::mem::take(&mut self.guests) {
            let label = match &vif.guest {
                Some(name) => format!("{name}\ndomain {domain}"),
                None => format!("domain {domain}"),
            };
            let tooltip = vif.uuid.as_deref().map(|uuid| format!(", tooltip={}", quoted(uuid))).unwrap_or_default();
            let _ = writeln!(self.text, "    guest{domain} [label={}, fillcolor=\"#cfe2f3\"{tooltip}];", quoted(&label));
        }
    }

    fn lines_of(&self, device: &Device) -> String {
        let mut lines = vec![device.link.name.to_string()];
        let global = self.seen.addresses_of(&device.link.name).filter(|address| !address.is_ipv6_link_local());
        lines.extend(global.map(|address| address.network.to_string()));
        lines.push(format!("MTU {}", device.link.mtu));
        lines.join("\n")
    }
}

fn edge_of(port: &Device) -> String {
    match vlans(&port.link.port.vlans) {
        list if list.is_empty() => String::new(),
        list => format!(" [label={}]", quoted(&format!("VLANs {list}"))),
    }
}

/// A device's name as the name of a node.
fn id(device: &InterfaceName) -> String {
    quoted(&format!("device {device}"))
}

/// A text in quotes: graphviz knows escapes in labels, and guests' names may hold anything.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_quotes() {
        assert_eq!(quoted("a\"; b\\"), "\"a\\\"; b\\\\\"");
        assert_eq!(quoted("a\nb"), "\"a\\nb\"");
    }
}
