//! Bridges and the ways out.

use crate::host::{AdminState, Switch};
use crate::inspect::finding::{Answer, Area, Check, CheckId, Finding};
use crate::inspect::model::{Device, Examined, ForeignManager, PortState};

const DOWN: CheckId = CheckId("bridge-down");
const UPLINK: CheckId = CheckId("uplink");
const SPANNING_TREE: CheckId = CheckId("spanning-tree");
const PORTS: CheckId = CheckId("bridge-full");
const MANAGER: CheckId = CheckId("manager");

pub(super) static CHECKS: &[Check] = &[
    Check { id: DOWN, area: Area::Bridges, good: "guests' bridges are up", look: down },
    Check { id: UPLINK, area: Area::Bridges, good: "their ways out are up and have a link", look: uplink },
    Check { id: SPANNING_TREE, area: Area::Bridges, good: "no guest waits for spanning tree", look: spanning_tree },
    Check { id: PORTS, area: Area::Bridges, good: "they have room for more guests", look: ports },
    Check { id: MANAGER, area: Area::Bridges, good: "nobody else manages what network-bridge has bridged", look: manager },
];

fn down(examined: &Examined) -> Answer {
    let down = examined.seen.bridges_with_guests().filter(|bridge| bridge.link.state == AdminState::Down);
    let finding = |bridge: &Device| {
        let name = &bridge.link.name;
        Finding::problem(DOWN, format!("the bridge {name} is down"))
            .because("it passes nothing on between its ports")
            .mended_by("set it up")
            .typing(format!("ip link set {name} up"))
    };
    Ok(down.map(finding).collect())
}

fn uplink(examined: &Examined) -> Answer {
    let ways = examined
        .seen
        .bridges_with_guests()
        .flat_map(|bridge| examined.seen.uplinks_of(&bridge.link.name).map(move |port| (bridge, port)));
    let finding = |(bridge, port): (&Device, &Device)| {
        let (bridge, name) = (&bridge.link.name, &port.link.name);
        if port.link.state == AdminState::Down {
            return Some(
                Finding::problem(UPLINK, format!("{name}, by which guests on {bridge} reach the network, is down"))
                    .because("nothing gets out of the bridge there")
                    .mended_by("set it up")
                    .typing(format!("ip link set {name} up")),
            );
        }
        (port.carrier == Switch::Off).then(|| {
            Finding::problem(UPLINK, format!("{name}, by which guests on {bridge} reach the network, has no link"))
                .because("the cable is out, or the other end is down")
                .mended_by("look at cable and switch")
        })
    };
    Ok(ways.filter_map(finding).collect())
}

/// With this delay or a shorter one, in hundredths of a second, nobody notices.
const SHORT: u32 = 200;

fn spanning_tree(examined: &Examined) -> Answer {
    let waits = |bridge: &&Device| {
        bridge.bridge.is_some_and(|settings| settings.spanning_tree == Switch::On && settings.forward_delay > SHORT)
    };
    let finding = |bridge: &Device| {
        let name = &bridge.link.name;
        let delay = bridge.bridge.map(|settings| settings.forward_delay / 100).unwrap_or_default();
        let blocked =
            examined.seen.ports_of(name).filter(|port| port.port_state.is_some_and(|state| state != PortState::Forwarding)).count();
        Finding::note(
            SPANNING_TREE,
            format!("the bridge {name} runs spanning tree: a new guest's packets are held for {} s", 2 * delay),
        )
        .because(format!("stp_state 1 and forward_delay {delay} s; {blocked} of its ports pass nothing on at this moment"))
        .mended_by("where no second way leads out of the bridge, switch it off")
        .typing(format!("ip link set {name} type bridge stp_state 0"))
    };
    Ok(examined.seen.bridges_with_guests().filter(waits).map(finding).collect())
}

/// `BR_MAX_PORTS`, less one that the kernel never gives away (net/bridge/br_private.h, net/bridge/br_if.c `find_portno()`).
const PORTS_MAX: usize = 1023;
const NEARLY: usize = 1000;

fn ports(examined: &Examined) -> Answer {
    let finding = |bridge: &Device| {
        let name = &bridge.link.name;
        let count = examined.seen.ports_of(name).count();
        (count > NEARLY).then(|| {
            Finding::note(PORTS, format!("the bridge {name} has {count} ports"))
                .because(format!("the kernel gives a bridge {PORTS_MAX} at most"))
                .mended_by("put new guests on another bridge")
        })
    };
    Ok(examined.seen.bridges_with_guests().filter_map(finding).collect())
}

fn manager(examined: &Examined) -> Answer {
    let finding = |managed: &crate::inspect::model::Managed| {
        let device = &managed.device;
        let (who, remedy, command) = match managed.by {
            ForeignManager::NetworkManager => {
                ("NetworkManager", "have it leave the device alone", format!("nmcli device set {device} managed no"))
            }
            ForeignManager::Networkd => (
                "systemd-networkd",
                "have it leave the device alone",
                format!(
                    "printf '[Match]\\nName={device}\\n[Link]\\nUnmanaged=yes\\n' >/etc/systemd/network/00-xen-{device}.network && networkctl reload"
                ),
            ),
        };
        Finding::problem(MANAGER, format!("{who} manages {device}, which network-bridge has bridged"))
            .because("it takes addresses and bridge away again when it next looks at the device")
            .mended_by(remedy)
            .typing(command)
    };
    Ok(examined.managed.iter().map(finding).collect())
}
