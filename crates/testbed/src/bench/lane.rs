//! A host with two guests and somebody outside, to send packets through.

use serde_json::{Value, json};

use super::vif::{Make, Mode};
use crate::guest::{Dom0, Guest, Hotplug, Nic, Vif};
use crate::machine::{Error, Machine, Programs, Result, connect};
use crate::originals::Originals;

/// Who set the host up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// A hotplug program, ours or the original.
    Program(Make),
    /// Nobody: a bridge and its ports, by `ip`.
    Nobody,
}

/// A host, with its guests, one of whom sends.
pub struct Lane {
    dom0: Dom0,
    guests: [Guest; 2],
    outside: Machine,
    addresses: [String; 2],
}

/// The address of the machine outside.
pub const OUTSIDE: &str = "192.168.1.1";

const DOMAINS: [u16; 2] = [7, 8];

impl Lane {
    /// Makes it, with both guests connected and configured.
    ///
    /// # Errors
    /// When a machine cannot be made, or a program fails.
    pub fn new(mode: Mode, maker: Maker) -> Result<Self> {
        let dom0 = Dom0::new("dom0")?;
        let machine = dom0.machine();
        match maker {
            Maker::Program(Make::Ours | Make::Floor) => machine.install_scripts(&Programs::ours()?)?,
            Maker::Program(Make::Original) => {
                let originals = Originals::fetched()?;
                originals.install_tools(machine)?;
                machine.install_scripts(&originals.programs())?;
            }
            Maker::Nobody => {}
        }
        let outside = Machine::new("outside")?;
        connect(machine, "eth0", &outside, "lan0")?;
        outside.ip(&format!("address add {OUTSIDE}/24 dev lan0"))?;
        outside.ip("link set lan0 up")?;
        machine.ip("link set eth0 up")?;
        let guests = [Guest::new(DOMAINS[0])?, Guest::new(DOMAINS[1])?];
        let addresses = DOMAINS.map(|domain| address_of(mode, domain));
        let lane = Self { dom0, guests, outside, addresses };
        lane.prepare(mode)?;
        for place in 0..DOMAINS.len() {
            lane.connect_guest(mode, maker, place)?;
        }
        Ok(lane)
    }

    /// The host itself.
    pub fn dom0(&self) -> &Machine {
        self.dom0.machine()
    }

    /// The guest who sends, the guest who receives, and the machine outside.
    pub fn ends(&self) -> [&Machine; 3] {
        [self.guests[0].machine(), self.guests[1].machine(), &self.outside]
    }

    /// The guests' addresses.
    pub fn addresses(&self) -> &[String; 2] {
        &self.addresses
    }

    fn prepare(&self, mode: Mode) -> Result<()> {
        let dom0 = self.dom0();
        if mode == Mode::Bridge {
            for words in
                ["link add xenbr0 type bridge stp_state 0 forward_delay 0", "link set xenbr0 up", "link set eth0 master xenbr0"]
            {
                dom0.ip(words)?;
            }
            return Ok(());
        }
        dom0.ip("address add 192.168.1.100/24 dev eth0")?;
        dom0.ip(&format!("route add default via {OUTSIDE}"))?;
        dom0.set_sysctl("net.ipv4.ip_forward", "1")?;
        ["192.168.2.0/24", "10.0.0.0/8"]
            .into_iter()
            .try_for_each(|network| self.outside.ip(&format!("route add {network} via 192.168.1.100")).map(drop))
    }

    fn connect_guest(&self, mode: Mode, maker: Maker, place: usize) -> Result<()> {
        let address = &self.addresses[place];
        let nic = match mode {
            Mode::Bridge => Nic { ip: Some(address.clone()), ..Nic::on_bridge("xenbr0") },
            Mode::Route => Nic::routed("vif-route", address),
            Mode::Nat => Nic::routed("vif-nat", ""),
        };
        let nic = Nic { antispoof: Some("strict".to_owned()), ..nic };
        let vif: Vif = self.guests[place].attach(&self.dom0, nic)?;
        match maker {
            Maker::Program(_) => drop(vif.hotplug(Hotplug::Online)?.success()?),
            Maker::Nobody => drop(self.dom0().ip(&format!("link set {} master xenbr0 up", vif.name()))?),
        }
        let guest = self.guests[place].machine();
        let length = if mode == Mode::Bridge { 24 } else { 32 };
        guest.ip(&format!("address add {address}/{length} dev eth0"))?;
        guest.ip("link set eth0 up")?;
        if mode != Mode::Bridge {
            // The host answers ARP for everybody.
            guest.ip("route add default dev eth0")?;
        }
        Ok(())
    }

    /// Gives our filter `others` guests more, each with a copy of what it holds of the first guest, and tells how many entries that were.
    ///
    /// # Errors
    /// When the filter cannot be read or filled.
    pub fn fill_filter(&self, others: u32) -> Result<usize> {
        let (dom0, model) = (self.dom0(), format!("vif{}.0", DOMAINS[0]));
        let text = dom0.run("nft", ["-j", "list", "ruleset"])?;
        let ruleset: Value = serde_json::from_str(&text).map_err(Error::in_act("read the filter"))?;
        let mut commands = Vec::new();
        let objects = ruleset["nftables"].as_array().into_iter().flatten();
        for set in objects.filter_map(|object| object.get("set").or_else(|| object.get("map"))) {
            let held = set["elem"].as_array().into_iter().flatten();
            let models: Vec<&Value> = held.filter(|element| mentions(element, &model)).collect();
            let copy = |number: u32| models.iter().map(move |element| renamed(element, &model_name(), &format!("vif{number}.9")));
            let elements: Vec<Value> = (1000..1000 + others).flat_map(copy).collect();
            if !elements.is_empty() {
                let place = json!({ "family": set["family"], "table": set["table"], "name": set["name"], "elem": elements });
                commands.push(json!({ "add": { "element": place } }));
            }
        }
        let count: usize = commands.iter().map(|command| command["add"]["element"]["elem"].as_array().map_or(0, Vec::len)).sum();
        dom0.write_file("/run/filter.json", json!({ "nftables": commands }).to_string())?;
        if count > 0 {
            dom0.run("nft", ["-j", "-f", "/run/filter.json"])?;
        }
        Ok(count)
    }

    /// The rules that the original scripts keep for their guests where they are not switched off, as Debian's are (`frob_iptable` in
    /// vif-common.sh), for `others` guests besides the two, who stand in the middle.
    ///
    /// # Errors
    /// When the kernel lacks `br_netfilter`, or `iptables-restore` fails.
    pub fn set_original_rules(&self, others: u32) -> Result<()> {
        let dom0 = self.dom0();
        dom0.set_sysctl("net.bridge.bridge-nf-call-iptables", "1")?;
        let mut text = String::from("*filter\n:FORWARD DROP [0:0]\n");
        let mut rules = |device: &str, address: &str| {
            let from = format!("-A FORWARD -m physdev --physdev-is-bridged --physdev-in {device}");
            text += &format!("{from} -s {address} -j ACCEPT\n{from} -p udp --sport 68 --dport 67 -j ACCEPT\n");
            text += &format!("-A FORWARD -m physdev --physdev-is-bridged --physdev-out {device} -j ACCEPT\n");
        };
        for number in 0..others {
            if number == others / 2 {
                DOMAINS.iter().zip(&self.addresses).for_each(|(domain, address)| rules(&format!("vif{domain}.0"), address));
            }
            let [_, first, second, third] = number.to_be_bytes();
            rules(&format!("vif{}.9", 1000 + number), &format!("10.{first}.{second}.{third}"));
        }
        if others == 0 {
            DOMAINS.iter().zip(&self.addresses).for_each(|(domain, address)| rules(&format!("vif{domain}.0"), address));
        }
        text += "COMMIT\n";
        dom0.write_file("/run/rules", text)?;
        dom0.run("iptables-restore", ["/run/rules"]).map(drop)
    }
}

fn model_name() -> String {
    format!("vif{}.0", DOMAINS[0])
}

fn address_of(mode: Mode, domain: u16) -> String {
    match mode {
        Mode::Bridge => format!("192.168.1.{domain}"),
        Mode::Route => format!("192.168.2.{domain}"),
        Mode::Nat => format!("10.0.{domain}.1"),
    }
}

fn mentions(value: &Value, name: &str) -> bool {
    match value {
        Value::String(text) => text == name,
        Value::Array(list) => list.iter().any(|value| mentions(value, name)),
        Value::Object(fields) => fields.values().any(|value| mentions(value, name)),
        _ => false,
    }
}

fn renamed(value: &Value, from: &str, to: &str) -> Value {
    match value {
        Value::String(text) if text == from => Value::String(to.to_owned()),
        Value::Array(list) => list.iter().map(|value| renamed(value, from, to)).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), renamed(value, from, to))).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_copied_for_another_device() {
        let element = json!([{ "concat": ["vif7.0", "00:16:3e:00:07:00"] }, { "accept": null }]);
        assert!(mentions(&element, "vif7.0") && !mentions(&element, "vif7"));
        let copy = json!([{ "concat": ["vif1000.9", "00:16:3e:00:07:00"] }, { "accept": null }]);
        assert_eq!(renamed(&element, "vif7.0", "vif1000.9"), copy);
    }
}
