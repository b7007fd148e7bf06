//! What is left of what is gone: of killed runs, of guests, of bridges.

use std::net::Ipv4Addr;
use std::path::Path;

use crate::inspect::finding::{Answer, Area, Check, CheckId, Finding};
use crate::inspect::gc;
use crate::inspect::model::Examined;
use crate::inspect::prescription::{self, GC};
use crate::interface_name::InterfaceName;
use crate::sessions::Held;

const KILLED: CheckId = CheckId("killed-run");
const UNREADABLE: CheckId = CheckId("unreadable-record");
const BRIDGE_RECORD: CheckId = CheckId("record-of-bridge");
const SESSION: CheckId = CheckId("session-without-device");
const ACCEPT: CheckId = CheckId("orphan-accept");
const MASQUERADE: CheckId = CheckId("orphan-masquerade");
const FILTER: CheckId = CheckId("orphan-filter");
const MEMORY: CheckId = CheckId("orphan-memory");
const DHCP: CheckId = CheckId("orphan-dhcp");

pub(super) static CHECKS: &[Check] = &[
    Check { id: KILLED, area: Area::Leftovers, good: "no run was killed halfway", look: killed },
    Check { id: UNREADABLE, area: Area::Leftovers, good: "what the programs remember can be read", look: unreadable },
    Check {
        id: BRIDGE_RECORD,
        area: Area::Leftovers,
        good: "the bridges that network-bridge remembers are there",
        look: bridge_record,
    },
    Check {
        id: SESSION,
        area: Area::Leftovers,
        good: "the devices that network-route and network-nat need are there",
        look: session,
    },
    Check { id: ACCEPT, area: Area::Leftovers, good: "no rule of ours is for a device that is gone", look: accept },
    Check { id: MASQUERADE, area: Area::Leftovers, good: "nothing is translated that nobody needs", look: masquerade },
    Check { id: FILTER, area: Area::Leftovers, good: "the guest filter has no entry of a device that is gone", look: filter },
    Check { id: MEMORY, area: Area::Leftovers, good: "vif-route remembers no interface that is gone", look: memory },
    Check { id: DHCP, area: Area::Leftovers, good: "no DHCP server is told of a guest that is gone", look: dhcp },
];

fn killed(examined: &Examined) -> Answer {
    let finding = |run: &crate::inspect::model::KilledRun| {
        Finding::problem(KILLED, format!("a run of {} was killed halfway", run.program))
            .because(format!(
                "its journal {} is there, and nobody is at work; the host is neither as before nor as it should be",
                run.path.display()
            ))
            .mended_by("have its steps taken back (the next start or stop does so as well); then call it again")
            .typing(GC)
    };
    Ok(examined.remembered.killed_runs.iter().map(finding).collect())
}

fn unreadable(examined: &Examined) -> Answer {
    let finding = |(path, reason): &(std::path::PathBuf, String)| {
        let path = path.display();
        Finding::problem(UNREADABLE, format!("{path} cannot be understood"))
            .because(format!("{reason}; `stop` does not know what `start` changed"))
            .mended_by("put it aside; look at the host's forwarding, masquerade and bridges yourself")
            .typing(format!("mv {path} {path}.broken"))
    };
    Ok(examined.remembered.unreadable.iter().map(finding).collect())
}

fn bridge_record(examined: &Examined) -> Answer {
    let finding = |started: &crate::record::Started| {
        let names = &started.names;
        Finding::problem(BRIDGE_RECORD, format!("network-bridge remembers the bridge {}, which is gone", names.bridge))
            .because(format!("it was made for {}; somebody has deleted it without `network-bridge stop`", names.netdev))
            .mended_by("have it forgotten; then bring the network up again with network-bridge start")
            .typing(GC)
    };
    Ok(gc::lost_bridges(examined).map(finding).collect())
}

fn session(examined: &Examined) -> Answer {
    let sessions = &examined.remembered.sessions;
    let mut findings = vec![];
    for key in sessions.keys() {
        if examined.seen.device(key.netdev.as_str()).is_none() {
            findings.push(
                Finding::problem(SESSION, format!("`{key}` leads out by {}, which is gone", key.netdev))
                    .because("the device was renamed or taken out; guests behind it reach nothing")
                    .mended_by("stop it, and start it with the device that leads out now")
                    .typing(prescription::stop(&key)),
            );
        }
    }
    for holding in &sessions.holdings {
        let (Held::Bridge { name, .. }, Some(key)) = (&holding.what, holding.sessions.first()) else { continue };
        if examined.seen.device(name.as_str()).is_none() {
            findings.push(
                Finding::problem(SESSION, format!("`{key}` needs the private bridge {name}, which is gone"))
                    .because("somebody has deleted it; guests that ask for it cannot be started")
                    .mended_by("start it again, with the words that it was started with")
                    .typing(prescription::start(key, sessions)),
            );
        }
    }
    Ok(findings)
}

fn accept(examined: &Examined) -> Answer {
    let finding = |accept: &crate::firewall::ForwardAccept| {
        Finding::problem(
            ACCEPT,
            format!("the chain {} lets pass what {} sends and gets, and that is gone", accept.chain, accept.device),
        )
        .because("a device of that name that comes again would be let through")
        .mended_by("take the rules away")
        .typing(GC)
    };
    Ok(gc::accepts(examined)?.map(finding).collect())
}

fn masquerade(examined: &Examined) -> Answer {
    let finding = |masquerade: &crate::firewall::Masquerade| {
        Finding::problem(MASQUERADE, format!("addresses are translated ({}), and nobody needs it", prescription::masquerade_words(masquerade)))
            .because("it is in our table, and neither network-route nor network-nat remembers it: a saved ruleset was loaded, or a record lost")
            .mended_by("take it away; where guests need it, call network-nat start")
            .typing(GC)
    };
    Ok(gc::masquerades(examined)?.map(finding).collect())
}

fn filter(examined: &Examined) -> Answer {
    let finding = |filter: &crate::guest_filter::GuestFilter| {
        Finding::problem(FILTER, format!("the guest filter still has {}, which is gone", filter.device))
            .because("its entry stays until a device of that name comes again, or somebody removes it")
            .mended_by("remove it")
            .typing(GC)
    };
    Ok(gc::filtered(examined).map(finding).collect())
}

fn memory(examined: &Examined) -> Answer {
    let finding = |memory: &crate::inspect::model::VifMemory| {
        Finding::problem(MEMORY, format!("vif-route still remembers {}, which is gone", memory.device))
            .because(format!("{} is there; the host may still answer for the guest's addresses", memory.path.display()))
            .mended_by("have it forgotten")
            .typing(GC)
    };
    Ok(gc::memories(examined).map(finding).collect())
}

fn dhcp(examined: &Examined) -> Answer {
    let finding = |server: &str, address: &Ipv4Addr, device: &InterfaceName, path: &Path| {
        Finding::problem(DHCP, format!("{server} keeps {address} for the guest of {device}, which is gone"))
            .because(format!("{} says so; no other guest gets that address", path.display()))
            .mended_by("remove it")
            .typing(GC)
    };
    let mut findings: Vec<Finding> =
        gc::guest_files(examined).map(|file| finding("dnsmasq", &file.address, &file.device, &file.path)).collect();
    let include = examined.dhcpd.as_ref().map_or(Path::new(""), |seen| seen.server.include.as_path());
    findings.extend(gc::hosts_of_dhcpd(examined).map(|guest| finding("dhcpd", &guest.address, &guest.device, include)));
    Ok(findings)
}
