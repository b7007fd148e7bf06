//! Guests' interfaces: what XenStore says of them, and what the kernel has.

use std::collections::BTreeMap;

use crate::guest_filter::{Damage, GuestFilter, is_single};
use crate::host::{AdminState, VlanFiltering};
use crate::inspect::finding::{Answer, Area, Check, CheckId, Finding};
use crate::inspect::model::{Backend, Device, Examined, Seen, Wiring};
use crate::inspect::prescription::{self, RELOAD};
use crate::inspect::toolstack::listed;
use crate::inspect::tree;
use crate::interface_name::InterfaceName;
use crate::mac_address::MacAddress;
use crate::operation::Operation;
use crate::request::bridge_port::PortWish;

const STATUS: CheckId = CheckId("hotplug-status");
const NO_DEVICE: CheckId = CheckId("vif-without-device");
const NO_ENTRY: CheckId = CheckId("device-without-vif");
const NO_BRIDGE: CheckId = CheckId("vif-bridge-missing");
const NOT_A_PORT: CheckId = CheckId("vif-not-in-bridge");
const DOWN: CheckId = CheckId("vif-down");
const MTU: CheckId = CheckId("vif-mtu");
const VLANS: CheckId = CheckId("vif-vlan");
const FILTER: CheckId = CheckId("guest-filter");
const TABLES: CheckId = CheckId("guest-filter-tables");
const SAME_ADDRESS: CheckId = CheckId("duplicate-address");
const SAME_MAC: CheckId = CheckId("duplicate-mac");

pub(super) static CHECKS: &[Check] = &[
    Check { id: STATUS, area: Area::Guests, good: "every interface was set up (hotplug-status connected)", look: status },
    Check { id: NO_DEVICE, area: Area::Guests, good: "every interface in XenStore has its device", look: no_device },
    Check { id: NO_ENTRY, area: Area::Guests, good: "every vif device has its entry in XenStore", look: no_entry },
    Check { id: NO_BRIDGE, area: Area::Guests, good: "the bridges that guests ask for are there", look: no_bridge },
    Check { id: NOT_A_PORT, area: Area::Guests, good: "interfaces are ports of their bridges", look: not_a_port },
    Check { id: DOWN, area: Area::Guests, good: "interfaces are up", look: down },
    Check { id: MTU, area: Area::Guests, good: "interfaces have the MTU that they should", look: mtu },
    Check { id: VLANS, area: Area::Guests, good: "interfaces are in the VLANs that vlan= asks for", look: vlans },
    Check { id: FILTER, area: Area::Guests, good: "guests are held to the addresses that antispoof= asks for", look: filter },
    Check { id: TABLES, area: Area::Guests, good: "nobody has changed the rules of the guest filter", look: tables },
    Check { id: SAME_ADDRESS, area: Area::Guests, good: "no two guests have the same address", look: same_address },
    Check { id: SAME_MAC, area: Area::Guests, good: "no two guests on a bridge have the same Ethernet address", look: same_mac },
];

/// Interfaces that XenStore has; the reason why nothing is known, where it does not answer.
fn vifs(examined: &Examined) -> Result<&[Backend], String> {
    match &examined.seen.store.0 {
        Ok(store) => Ok(&store.vifs),
        Err(_) => Err("XenStore does not answer".to_owned()),
    }
}

/// Interfaces that were set up, with their devices.
fn set_up(examined: &Examined) -> Result<impl Iterator<Item = (&Backend, &Device)>, String> {
    let set_up = vifs(examined)?.iter().filter(|vif| vif.is_set_up());
    Ok(set_up.filter_map(|vif| Some((vif, examined.seen.device_of(vif)?))))
}

fn status(examined: &Examined) -> Answer {
    let there = vifs(examined)?.iter().filter(|vif| !vif.is_set_up() && examined.seen.device_of(vif).is_some());
    let finding = |vif: &Backend| {
        let reason = match (vif.hotplug_status.as_deref(), &vif.hotplug_error) {
            (Some("error"), Some(error)) => format!("the program failed: {error}"),
            (Some("error"), None) => "the program failed, and has not said why".to_owned(),
            (Some(other), _) => format!("hotplug-status is {other:?}: something else than connected keeps netback waiting"),
            (None, _) => "hotplug-status is empty: the program was not called, was killed, or is still at work".to_owned(),
        };
        Finding::problem(STATUS, format!("{} is not set up", examined.seen.words_of(vif)))
            .because(format!("{reason}; the guest's network card does not work"))
            .mended_by("once the cause is mended (see the log), have the program set it up")
            .typing(prescription::online(vif))
    };
    Ok(there.map(finding).collect())
}

fn no_device(examined: &Examined) -> Answer {
    let lost = vifs(examined)?.iter().filter(|vif| examined.seen.device_of(vif).is_none());
    let finding = |vif: &Backend| {
        Finding::problem(NO_DEVICE, format!("{} has no device", examined.seen.words_of(vif)))
            .because(format!(
                "XenStore has {}, and there is no device {}: the driver xen-netback has not made it, or the guest is going down",
                vif.path(),
                listed(&vif.device_names().collect::<Vec<_>>())
            ))
            .mended_by("load xen-netback if it is not loaded; then detach the interface, and attach it again")
            .typing(format!("modprobe xen-netback; xl network-detach {} {}", vif.domain, vif.handle))
    };
    Ok(lost.map(finding).collect())
}

fn no_entry(examined: &Examined) -> Answer {
    vifs(examined)?;
    let seen = &examined.seen;
    let finding = |device: &Device| {
        let name = &device.link.name;
        let (domain, handle) = name.vif_numbers().filter(|_| seen.vif_of(name).is_none())?;
        let harmless = device.link.state == AdminState::Down && device.link.master.is_none();
        Some(if harmless {
            Finding::note(NO_ENTRY, format!("the device {name} belongs to no guest"))
                .because(format!(
                    "XenStore has no backend/vif/{domain}/{handle}; it is down and a port of nothing, so it does no harm"
                ))
                .mended_by("nothing needs to be done")
        } else {
            Finding::problem(NO_ENTRY, format!("the device {name} belongs to no guest, and is still in use"))
                .because(format!(
                    "XenStore has no backend/vif/{domain}/{handle}: its guest is gone, and `offline` has not been called"
                ))
                .mended_by("take it down")
                .typing(prescription::offline(domain, handle))
        })
    };
    Ok(seen.devices.iter().filter(|device| !device.link.name.as_str().ends_with("-emu")).filter_map(finding).collect())
}

/// The bridge that stands for a name: itself, or `ethN` for `xenbrN`, as vif-bridge has it.
fn bridge_called<'a>(seen: &'a Seen, name: &InterfaceName) -> Option<&'a Device> {
    let stands_for = name.as_str().strip_prefix("xenbr").map(|number| format!("eth{number}"));
    let names = std::iter::once(name.to_string()).chain(stands_for);
    names.into_iter().find_map(|name| seen.device(&name).filter(|device| device.link.is_bridge()))
}

fn bridged(vif: &&Backend) -> bool {
    vif.wiring() == Wiring::Bridged
}

fn no_bridge(examined: &Examined) -> Answer {
    let seen = &examined.seen;
    let mut missing: BTreeMap<&InterfaceName, Vec<&Backend>> = BTreeMap::new();
    for vif in vifs(examined)?.iter().filter(bridged) {
        if let Some(bridge) = vif.bridge.as_ref().filter(|name| bridge_called(seen, name).is_none()) {
            missing.entry(bridge).or_default().push(vif);
        }
    }
    let finding = |(bridge, vifs): (&InterfaceName, Vec<&Backend>)| {
        let names: Vec<String> = vifs.iter().map(|vif| examined.seen.words_of(vif)).collect();
        let finding = Finding::problem(NO_BRIDGE, format!("there is no bridge {bridge}, which {} asks for", listed(&names)))
            .because("it was never made, has another name, or was taken away under its guests")
            .mended_by(
                "make it (network-bridge start, network-nat start bridge=, /etc/network/interfaces), or correct bridge= in the guest's \
                 configuration; then have the program set the interface up",
            );
        vifs.iter().map(|vif| prescription::online(vif)).fold(finding, Finding::typing)
    };
    Ok(missing.into_iter().map(finding).collect())
}

fn not_a_port(examined: &Examined) -> Answer {
    let seen = &examined.seen;
    let finding = |(vif, device): (&Backend, &Device)| {
        let wanted = match &vif.bridge {
            Some(name) => bridge_called(seen, name)?,
            // Any bridge will do for a guest that asks for none.
            None if device.link.master.is_some() => return None,
            None => seen.bridges().min_by(|one, other| one.link.name.cmp(&other.link.name))?,
        };
        let (name, bridge) = (&device.link.name, &wanted.link.name);
        (device.link.master.as_ref() != Some(bridge)).then(|| {
            let now = device.link.master.as_ref().map_or("of nothing".to_owned(), |other| format!("of {other}"));
            Finding::problem(NOT_A_PORT, format!("{} is no port of {bridge}", examined.seen.words_of(vif)))
                .because(format!("{name} is a port {now}: somebody has moved it, or the bridge was made anew"))
                .mended_by("make it a port")
                .typing(format!("ip link set {name} master {bridge}"))
        })
    };
    Ok(set_up(examined)?.filter(|(vif, _)| bridged(vif)).filter_map(finding).collect())
}

fn down(examined: &Examined) -> Answer {
    let finding = |(vif, device): (&Backend, &Device)| {
        let name = &device.link.name;
        (device.link.state == AdminState::Down).then(|| {
            Finding::problem(DOWN, format!("{} is down", examined.seen.words_of(vif)))
                .because(format!("{name} was set up and is not up any more: somebody has taken it down"))
                .mended_by("set it up")
                .typing(match vif.wiring() {
                    // Its routes went when it went down.
                    Wiring::Routed | Wiring::Translated => prescription::online(vif),
                    Wiring::Bridged | Wiring::Other => format!("ip link set {name} up"),
                })
        })
    };
    Ok(set_up(examined)?.filter_map(finding).collect())
}

fn mtu(examined: &Examined) -> Answer {
    let seen = &examined.seen;
    let finding = |(vif, device): (&Backend, &Device)| {
        let bridge = device.link.master.as_ref().and_then(|master| seen.device(master.as_str()));
        let (wanted, source) = match (vif.mtu, bridge) {
            (Some(mtu), _) => (mtu, "the guest's configuration says".to_owned()),
            (None, Some(bridge)) => mtu_on(seen, bridge),
            (None, None) => return None,
        };
        let (name, mtu) = (&device.link.name, device.link.mtu);
        (mtu != wanted).then(|| {
            Finding::problem(MTU, format!("{} has an MTU of {mtu} bytes instead of {wanted}", examined.seen.words_of(vif)))
                .because(format!("{source} {wanted}; larger packets are lost without a word"))
                .mended_by("give it the same")
                .typing(format!("ip link set {name} mtu {wanted}"))
        })
    };
    Ok(set_up(examined)?.filter_map(finding).collect())
}

/// The MTU of a bridge's guests. A bridge takes the smallest of its ports unless somebody has set its own (net/bridge/br_if.c,
/// `br_mtu_auto_adjust()`), so one guest that is wrong makes the bridge wrong as well: what leads out is right.
fn mtu_on(seen: &Seen, bridge: &Device) -> (u32, String) {
    let name = &bridge.link.name;
    let own = (bridge.link.mtu, format!("the bridge {name} has"));
    let out = seen
        .uplinks_of(name)
        .min_by_key(|port| port.link.mtu)
        .map(|port| (port.link.mtu, format!("{} leads out with", port.link.name)));
    let largest =
        seen.ports_of(name).max_by_key(|port| port.link.mtu).map(|port| (port.link.mtu, format!("other ports of {name} have")));
    match out.or(largest) {
        Some(other) if other.0 > own.0 => other,
        _ => own,
    }
}

fn vlans(examined: &Examined) -> Answer {
    let seen = &examined.seen;
    let finding = |(vif, device): (&Backend, &Device)| {
        // Words that make no sense have been refused when the interface came.
        let wanted = PortWish::parse(vif.vlan.as_deref(), None).ok()?.vlans?;
        let bridge = seen.device(device.link.master.as_ref()?.as_str())?;
        let (name, bridge_name) = (&device.link.name, &bridge.link.name);
        let asked = tree::vlans(&wanted);
        if bridge.link.vlan_filtering == VlanFiltering::Off {
            return Some(
                Finding::problem(VLANS, format!("{} is not kept to its VLANs {asked}", examined.seen.words_of(vif)))
                    .because(format!("{bridge_name} looks at no VLAN: somebody has switched it off"))
                    .mended_by("switch it on again")
                    .typing(format!("ip link set {bridge_name} type bridge vlan_filtering 1")),
            );
        }
        let has = &device.link.port.vlans;
        (*has != wanted).then(|| {
            Finding::problem(VLANS, format!("{} is in other VLANs than {asked}", examined.seen.words_of(vif)))
                .because(match tree::vlans(has) {
                    none if none.is_empty() => format!("{name} is in none: somebody has changed it"),
                    has => format!("{name} is in {has}: somebody has changed it, or the guest's key vlan in XenStore"),
                })
                .mended_by("have the program set it up as its configuration says")
                .typing(prescription::online(vif))
        })
    };
    Ok(set_up(examined)?.filter(|(vif, _)| bridged(vif)).filter_map(finding).collect())
}

fn filter(examined: &Examined) -> Answer {
    let due = examined.due.as_ref().map_err(Clone::clone)?;
    let wanted = due.iter().find_map(|operation| match operation {
        Operation::ReplaceGuestFilters(filters) => Some(filters),
        _ => None,
    });
    let Some(wanted) = wanted else { return Ok(vec![]) };
    let seen = &examined.seen;
    let in_force = |filter: &&GuestFilter| seen.filter.get(&filter.device).is_some_and(|seen| seen.filter.same_rules(filter));
    let lacking: Vec<&InterfaceName> = wanted.iter().filter(|filter| !in_force(filter)).map(|filter| &filter.device).collect();
    if lacking.is_empty() && examined.damage.as_ref().is_ok_and(|damage| !damage.is_empty()) {
        return Ok(vec![]);
    }
    let finding = Finding::problem(
        FILTER,
        match lacking.is_empty() {
            true => "the guest filter has guests that are not to be held to anything".to_owned(),
            false => format!("{} can send with addresses that are not the guest's", listed(&lacking)),
        },
    );
    Ok(vec![
        finding
            .because("antispoof= asks for a filter that is not in force: somebody has flushed the ruleset, or changed the guest's keys in XenStore")
            .mended_by("put all rules of ours back")
            .typing(RELOAD),
    ])
}

fn tables(examined: &Examined) -> Answer {
    let damage = examined.damage.as_ref().map_err(Clone::clone)?;
    let finding = |damage: &Damage| {
        Finding::problem(TABLES, damage.to_string())
            .because("somebody has changed it by hand; guests may be able to send what they must not, or cannot send what they may")
            .mended_by("have our tables made anew")
            .typing(RELOAD)
    };
    Ok(damage.iter().map(finding).collect())
}

fn same_address(examined: &Examined) -> Answer {
    let mut owners: BTreeMap<std::net::IpAddr, Vec<String>> = BTreeMap::new();
    for vif in vifs(examined)? {
        // A network that a guest is the router of is nobody's address.
        for address in vif.addresses.iter().filter(|address| address.ip() != address.network() || is_single(address)) {
            owners.entry(address.ip()).or_default().push(examined.seen.words_of(vif));
        }
    }
    for address in &examined.seen.addresses {
        if let Some(owners) = owners.get_mut(&address.network.ip()) {
            owners.push(format!("this host ({})", address.device));
        }
    }
    let finding = |(address, owners): (std::net::IpAddr, Vec<String>)| {
        Finding::problem(SAME_ADDRESS, format!("{address} is the address of {}", owners.join(" and of ")))
            .because("ip= in the guests' configurations, and the addresses of this host; only one of them can be reached")
            .mended_by("give each its own: change ip= in the guest's configuration, and start it anew")
    };
    Ok(owners.into_iter().filter(|(_, owners)| owners.len() > 1).map(finding).collect())
}

fn same_mac(examined: &Examined) -> Answer {
    let mut owners: BTreeMap<(MacAddress, &InterfaceName), Vec<String>> = BTreeMap::new();
    for (vif, device) in set_up(examined)? {
        if let (Some(mac), Some(bridge)) = (vif.mac, &device.link.master) {
            owners.entry((mac, bridge)).or_default().push(examined.seen.words_of(vif));
        }
    }
    let finding = |((mac, bridge), owners): ((MacAddress, &InterfaceName), Vec<String>)| {
        Finding::problem(SAME_MAC, format!("{mac} is the Ethernet address of {}", owners.join(" and of ")))
            .because(format!("both are on {bridge}, which sends packets now to one and now to the other"))
            .mended_by("give each its own: change or leave out mac= in the guest's configuration, and start it anew")
    };
    Ok(owners.into_iter().filter(|(_, owners)| owners.len() > 1).map(finding).collect())
}
