//! The values of a vif's keys in XenStore.

use hotplug::guest_filter::{Tags, Way};
use hotplug::openvswitch::ExternalId;
use hotplug::request::antispoof::{Addresses, AntiSpoof, Suspect, Wishes};
use hotplug::request::bridge_port::PortWish;
use hotplug::request::openvswitch::{GuestIdentity, OvsBridge, external_ids};
use hotplug::request::routed::{Routed, RoutedWords, Routing};
use hotplug::request::vif::{BACKEND_KEYS, BackendKeys, Vif, VifCall, VifWords, bridge_choice};

use super::check_sentence;

/// The values of all keys, each ended by a newline, and then some words of the command line.
pub(crate) fn read(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
    let values = BACKEND_KEYS.map(|_| lines.next().filter(|value| value != b"-")).to_vec();
    let rest: Vec<String> = lines.map(|line| String::from_utf8_lossy(&line).into_owned()).collect();
    let word = |place: usize| rest.get(place).map(String::as_str);
    let keys = match BackendKeys::from_values(values) {
        Ok(keys) => keys,
        Err(refusal) => return check_sentence(&refusal),
    };
    for (command, type_if) in [("online", "vif"), ("add", "tap")] {
        let words = VifWords {
            command,
            type_if: Some(type_if),
            vif: Some("vif3.0"),
            interface: Some("vif3.0-emu"),
            xenbus_path: Some("backend/vif/3/0"),
        };
        let call = VifCall::parse(&words).unwrap().unwrap();
        let _ = Vif::bare(&call, &keys);
        match Vif::new(&call, &keys, |_| None) {
            Ok(vif) => wish(&vif, &keys, word),
            Err(refusal) => check_sentence(&refusal),
        }
    }
}

fn wish<'a>(vif: &Vif, keys: &BackendKeys, word: impl Fn(usize) -> Option<&'a str>) {
    // A name that a guest's configuration gives may lead nowhere else.
    assert!(vif.names().all(|name| !name.as_str().contains(['/', ' ', '\n', '%']) && name.as_str().len() < 16));
    assert!(vif.frontend_mtu().is_none_or(|path| path.starts_with('/') || !path.contains("..")));
    let port = PortWish::parse(keys.vlan.as_deref(), keys.isolated.as_deref());
    let own = AntiSpoof::parse(keys.antispoof.as_deref());
    let tags = port.as_ref().map_or(Tags::Refused, PortWish::tags);
    for addresses in [Addresses::Given(&vif.addresses), Addresses::WorkedOut(&vif.addresses)] {
        let suspect =
            Suspect { device: &vif.device, renamed_from: None, way: Way::Bridged, mac: keys.mac.as_deref(), addresses, tags };
        let own = own.as_ref().ok().copied().flatten();
        match (Wishes { own, of_network: None }.filter(&suspect)) {
            Ok(None) => assert!(own == Some(AntiSpoof::No) || own.is_none(), "a guest is not filtered though {own:?}"),
            Ok(Some(filter)) => assert_eq!(filter.mac.octets()[0] & 1, 0),
            Err(refusal) => check_sentence(&refusal),
        }
    }
    let words = RoutedWords {
        gateway: word(0),
        subnet: word(1),
        netdev: word(2),
        gatewaydev: keys.gatewaydev.as_deref(),
        mac: keys.mac.as_deref(),
    };
    for routing in [Routing::Plain, Routing::Translated] {
        match Routed::new(vif.clone(), routing, &words) {
            Ok(routed) => drop((routed.first_ipv4(), routed.has_ipv6(), routed.single_addresses().count())),
            Err(refusal) => check_sentence(&refusal),
        }
    }
    let guest = GuestIdentity::default();
    let ids = external_ids(vif, &guest, keys.mac.as_deref(), keys.iface_id.as_deref());
    assert!(ids.contains_key(&ExternalId::XenVif));
    let refusals = [
        port.err(),
        own.err(),
        OvsBridge::asked(keys.bridge.as_deref()).err(),
        bridge_choice(keys.bridge.as_deref(), word(3)).err(),
    ];
    refusals.iter().flatten().for_each(check_sentence);
}
