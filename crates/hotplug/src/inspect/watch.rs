//! `watch`: what happens to guests' interfaces, one line each.

use std::collections::BTreeMap;

use super::model::printable;
use crate::host::{AdminState, Link, Switch};
use crate::interface_name::InterfaceName;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A device is new or has changed.
    Device {
        /// The device; its master by number only.
        link: Link,
        /// Whether the other end is there.
        carrier: Switch,
        /// The number of the bridge that it is a port of.
        master: Option<u32>,
    },
    /// A device is gone.
    Gone {
        /// Its number.
        number: u32,
    },
    /// A key in XenStore has changed.
    Key {
        /// Its path below the folder of all vifs, such as `1/0/hotplug-status`.
        path: String,
        /// Its value; none where it is gone.
        value: Option<String>,
    },
    /// News were lost, or a source of them has dried up.
    Trouble(String),
}

/// What was last known of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    name: InterfaceName,
    state: AdminState,
    carrier: Switch,
    mtu: u32,
    master: Option<u32>,
    is_bridge: bool,
}

/// Makes lines of events: only what has changed is told.
#[derive(Clone, Debug, Default)]
pub struct Watcher {
    devices: BTreeMap<u32, Known>,
    keys: BTreeMap<String, Option<String>>,
}

/// Keys that matter to a person.
const KEYS: [&str; 9] = ["hotplug-status", "hotplug-error", "state", "mac", "bridge", "ip", "vifname", "script", "vlan"];

impl Watcher {
    /// Notes what there is before anything happens.
    pub fn begin(&mut self, event: Event) {
        let _ = self.lines(event);
    }

    /// The lines for an event; none where nothing that matters has changed.
    pub fn lines(&mut self, event: Event) -> Vec<String> {
        match event {
            Event::Device { link, carrier, master } => self.device(&link, carrier, master),
            Event::Gone { number } => self.gone(number),
            Event::Key { path, value } => self.key(path, value).into_iter().collect(),
            Event::Trouble(words) => vec![words],
        }
    }

    fn device(&mut self, link: &Link, carrier: Switch, master: Option<u32>) -> Vec<String> {
        let Some(number) = link.index else { return vec![] };
        let now = Known { name: link.name.clone(), state: link.state, carrier, mtu: link.mtu, master, is_bridge: link.is_bridge() };
        let before = self.devices.insert(number, now.clone());
        // A guest's device may have any name by now: that it was a port, or once called vifN.M, tells it from others.
        let of_guest = |known: &Known| known.name.vif_numbers().is_some() || known.master.is_some() || known.is_bridge;
        if !of_guest(&now) && !before.as_ref().is_some_and(of_guest) {
            return vec![];
        }
        let Some(before) = before else {
            let mut lines = vec![format!("{} is new, {}, MTU {}", now.name, word_of(now.state), now.mtu)];
            lines.extend(now.master.map(|master| self.joined(&now.name, master)));
            return lines;
        };
        let name = &now.name;
        let mut lines = vec![];
        if before.name != *name {
            lines.push(format!("{} is called {name} now", before.name));
        }
        if before.master != now.master {
            lines.push(match (now.master, before.master) {
                (Some(master), _) => self.joined(name, master),
                (None, Some(old)) => format!("{name} is no port of {} any more", self.name_of(old)),
                (None, None) => return lines,
            });
        }
        if before.mtu != now.mtu {
            lines.push(format!("{name} has MTU {} (was {})", now.mtu, before.mtu));
        }
        if before.state != now.state {
            lines.push(format!("{name} is {}", word_of(now.state)));
        }
        if before.carrier != now.carrier && now.state == AdminState::Up {
            let word = if now.carrier == Switch::On { "has a link" } else { "has lost its link" };
            lines.push(format!("{name} {word}"));
        }
        lines
    }

    fn joined(&self, name: &InterfaceName, master: u32) -> String {
        format!("{name} is a port of {}", self.name_of(master))
    }

    fn name_of(&self, number: u32) -> String {
        self.devices.get(&number).map_or_else(|| format!("device {number}"), |known| known.name.to_string())
    }

    fn gone(&mut self, number: u32) -> Vec<String> {
        let known = self.devices.remove(&number);
        let of_guest = |known: &Known| known.name.vif_numbers().is_some() || known.master.is_some() || known.is_bridge;
        known.filter(of_guest).map(|known| format!("{} is gone", known.name)).into_iter().collect()
    }

    fn key(&mut self, path: String, value: Option<String>) -> Option<String> {
        let parts: Vec<&str> = path.split('/').collect();
        let [domain, handle, key] = parts[..] else { return self.folder(&parts, &path, &value) };
        if !KEYS.contains(&key) {
            return None;
        }
        let line = match &value {
            Some(value) => format!(
                "vif{domain}.{handle} in XenStore: {key} is {}",
                if value.is_empty() { "empty".to_owned() } else { printable(value) }
            ),
            None => format!("vif{domain}.{handle} in XenStore: {key} is gone"),
        };
        let before = self.keys.insert(path.clone(), value.clone());
        (before.unwrap_or_default() != value).then_some(line)
    }

    /// A whole folder goes at once, and its keys are not told one by one.
    fn folder(&mut self, parts: &[&str], path: &str, value: &Option<String>) -> Option<String> {
        if value.is_some() {
            return None;
        }
        let before = self.keys.len();
        self.keys.retain(|key, _| !key.starts_with(&format!("{path}/")));
        match parts {
            [domain, handle] => Some(format!("vif{domain}.{handle} is gone from XenStore")),
            [domain] if before != self.keys.len() => Some(format!("domain {domain} has no interface in XenStore any more")),
            _ => None,
        }
    }
}

fn word_of(state: AdminState) -> &'static str {
    match state {
        AdminState::Up => "up",
        AdminState::Down => "down",
    }
}

/// A time of day, of the seconds since 1970, in UTC.
#[must_use]
pub fn clock(seconds: u64) -> String {
    let day = seconds % 86_400;
    format!("{:02}:{:02}:{:02}Z", day / 3600, day / 60 % 60, day % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(number: u32, name: &str, state: AdminState) -> Link {
        let text = format!("{{\"name\":\"{name}\",\"index\":{number},\"mtu\":1500}}");
        Link { state, ..serde_json::from_str(&text).unwrap() }
    }

    fn device(number: u32, name: &str, state: AdminState, master: Option<u32>) -> Event {
        Event::Device { link: link(number, name, state), carrier: Switch::Off, master }
    }

    #[test]
    fn a_vifs_life_is_told_once() {
        let mut watcher = Watcher::default();
        watcher.begin(Event::Device {
            link: Link { kind: crate::host::LinkKind::Bridge, ..link(2, "xenbr0", AdminState::Up) },
            carrier: Switch::On,
            master: None,
        });
        watcher.begin(device(3, "eth1", AdminState::Down, None));
        let mut tell = |event| watcher.lines(event);
        assert_eq!(tell(device(3, "eth1", AdminState::Up, None)), [""; 0]);
        assert_eq!(tell(device(7, "vif1.0", AdminState::Down, None)), ["vif1.0 is new, down, MTU 1500"]);
        assert_eq!(tell(device(7, "vif1.0", AdminState::Down, None)), [""; 0]);
        assert_eq!(
            tell(device(7, "web0", AdminState::Up, Some(2))),
            ["vif1.0 is called web0 now", "web0 is a port of xenbr0", "web0 is up"]
        );
        assert_eq!(tell(device(7, "web0", AdminState::Up, None)), ["web0 is no port of xenbr0 any more"]);
        watcher.begin(device(7, "vif1.0", AdminState::Up, None));
        assert_eq!(watcher.lines(Event::Gone { number: 7 }), ["vif1.0 is gone"]);
        assert_eq!(watcher.lines(Event::Gone { number: 7 }), [""; 0]);
    }

    #[test]
    fn keys_are_told_when_they_change() {
        let mut watcher = Watcher::default();
        let key = |path: &str, value: Option<&str>| Event::Key { path: path.to_owned(), value: value.map(str::to_owned) };
        assert_eq!(
            watcher.lines(key("1/0/hotplug-status", Some("connected"))),
            ["vif1.0 in XenStore: hotplug-status is connected"]
        );
        for silent in
            [key("1/0/hotplug-status", Some("connected")), key("1/0/feature-sg", Some("1")), key("1/0", Some("")), key("x", None)]
        {
            assert_eq!(watcher.lines(silent), [""; 0]);
        }
        assert_eq!(watcher.lines(key("1/0/hotplug-status", None)), ["vif1.0 in XenStore: hotplug-status is gone"]);
        assert_eq!(watcher.lines(key("1/0/ip", Some("\x1b[2J"))), ["vif1.0 in XenStore: ip is ?[2J"]);
    }

    #[test]
    fn a_day_has_its_hours() {
        assert_eq!(
            (clock(0), clock(86_399), clock(1_763_992_000)),
            ("00:00:00Z".to_owned(), "23:59:59Z".to_owned(), "13:46:40Z".to_owned())
        );
    }
}
