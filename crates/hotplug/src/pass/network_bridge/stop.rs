//! `network-bridge stop`.

use super::{Session, antispoof, observe, observe_with_forwarding, write_record};
use crate::apply::Run;
use crate::host::{AdminState, Host, Link};
use crate::interface_name::InterfaceName;
use crate::operation::Operation;
use crate::plan::Plan;
use crate::plan::network_bridge::{self as recipe, Asked, DefaultRoute, Names, PARKING_NAMES};
use crate::record::{AddressSource, Record};
use crate::report::{Report, Trouble};
use crate::system::System;

/// Takes the bridge apart.
pub(super) fn stop(session: &mut Session<'_>, asked: &Asked) -> Result<Report, Trouble> {
    let routes = session.default_routes()?;
    let record = session.record();
    let around = bridges_and_ports(session.system)?;
    let Some(names) = recipe::find_started(asked, &record.names(), &routes, &around) else {
        forget_gone(session, asked, &routes, &around);
        return Ok(Report::nothing("there is no bridge that network-bridge has made: nothing to take apart"));
    };
    let seen = observe_with_forwarding(session.system, std::slice::from_ref(&names.bridge), &names.bridge)?;
    let host = with_bridges(seen, &around);
    let host = with_settings(session.system, host, &names.port)?;
    recipe::judge_routes(&names.bridge, &host)?;
    let start = Found::by_record(&record, &names);
    let plan = recipe::stop(&names, &host, start.state)?;
    if session.is_dry_run() {
        return Ok(session.show(&plan, &host));
    }
    let _watchdog = session.watched(&names);
    let report = carry_out(session, &names, &host, start)?;
    write_record(session.folder.as_ref(), &record.without(&names));
    if let Some(folder) = &session.folder {
        antispoof::forget(folder, [names.bridge.as_str()]);
    }
    Ok(report)
}

/// A start or stop that was killed may have left an entry in the record for a bridge that is not there, and the word for its guests.
pub(super) fn forget_gone(session: &Session<'_>, asked: &Asked, routes: &[DefaultRoute], around: &Host) {
    let Some(folder) = &session.folder else { return };
    let record = session.record();
    let standing = record.clone().of_those_on(around);
    if standing != record {
        write_record(Some(folder), &standing);
    }
    let bridge = asked.bridge.clone().or_else(|| recipe::choose_netdev(asked, routes).ok());
    if let Some(bridge) = bridge.filter(|bridge| !around.link(bridge).is_some_and(Link::is_bridge)) {
        antispoof::forget(folder, [bridge.as_str()]);
    }
}

/// How `start` found the device.
#[derive(Clone, Copy)]
struct Found {
    addresses: AddressSource,
    state: AdminState,
}

impl Found {
    /// As the record tells; without an entry, up and with addresses of its own.
    fn by_record(record: &Record, names: &Names) -> Self {
        let unknown = Self { addresses: AddressSource::Moved, state: AdminState::Up };
        record.entry(names).map_or(unknown, |entry| Self { addresses: entry.addresses, state: entry.state })
    }
}

/// Every bridge with its ports, and whatever bears a name that a bridge may stand aside with.
pub(super) fn bridges_and_ports(system: &mut System) -> Result<Host, Trouble> {
    let mut links = system.bridges()?;
    let bridges: Vec<InterfaceName> = links.iter().map(|link| link.name.clone()).collect();
    for bridge in &bridges {
        links.extend(system.ports_of(bridge)?);
    }
    let parking: Vec<InterfaceName> = PARKING_NAMES.iter().filter_map(|name| name.parse().ok()).collect();
    let mut others = system.links(&parking)?;
    others.retain(|link| !bridges.contains(&link.name));
    links.extend(others);
    Ok(Host { links, ..Host::default() })
}

/// `host` with the bridges and ports of `around` as well.
fn with_bridges(mut host: Host, around: &Host) -> Host {
    let others: Vec<_> = around.links.iter().filter(|link| host.link(&link.name).is_none()).cloned().collect();
    host.links.extend(others);
    host
}

/// `host` with the kernel settings of `device` as well.
fn with_settings(system: &mut System, mut host: Host, device: &InterfaceName) -> Result<Host, Trouble> {
    let port = observe(system, std::slice::from_ref(device))?;
    host.sysctls.extend(port.sysctls);
    Ok(host)
}

fn carry_out(session: &mut Session<'_>, names: &Names, host: &Host, start: Found) -> Result<Report, Trouble> {
    let journal = session.journal()?;
    let devices = [names.bridge.clone(), names.port.clone(), names.netdev.clone()];
    let mut run = Run::new(session.system, journal);
    let mut before = host.clone();
    if start.addresses == AddressSource::IfUpDown {
        run.carry_out(&Plan::single(Operation::IfDown(names.bridge.clone())), before)?;
        before = with_bridges(run.look(|system| observe_with_forwarding(system, &devices, &names.bridge))?, host);
    }
    let plan = recipe::stop(names, &before, start.state)?;
    run.carry_out(&plan, before.clone())?;
    if start.addresses == AddressSource::IfUpDown {
        run.carry_out(&Plan::single(Operation::IfUp(names.netdev.clone())), Host::default())?;
    }
    let found = run.look(|system| observe(system, &devices))?;
    run.carry_out(&recipe::after_stop(names, &before, &found), found)?;
    Ok(Report::of(run.finish(), plan.notes, format!("{} is as before, and the bridge {} gone", names.netdev, names.bridge)))
}
