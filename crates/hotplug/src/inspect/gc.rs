//! `gc`: what is ours and nobody needs any more, and the plan that takes it away.

use crate::dhcp::dhcpd::HostLine;
use crate::firewall::{ForwardAccept, Masquerade};
use crate::guest_filter::GuestFilter;
use crate::host::Host;
use crate::inspect::model::{Examined, GuestFile, Look, VifMemory};
use crate::interface_name::InterfaceName;
use crate::operation::{Operation, Service, Unfilter};
use crate::plan::draft::Draft;
use crate::plan::{self, Plan};
use crate::record::{Record, Started};
use crate::sessions::Held;

/// Rules of ours in chains of others, for devices that are gone.
///
/// # Errors
/// When the packet filter could not be looked at.
pub fn accepts(examined: &Examined) -> Look<impl Iterator<Item = &ForwardAccept>> {
    let firewall = examined.firewall.as_ref().map_err(Clone::clone)?;
    Ok(firewall.accepts.iter().filter(|accept| examined.is_orphan(&accept.device)))
}

/// What our own table masquerades without a session that holds it. Nothing where what sessions hold cannot be read.
///
/// # Errors
/// When the packet filter could not be looked at.
pub fn masquerades(examined: &Examined) -> Look<impl Iterator<Item = &Masquerade>> {
    let firewall = examined.firewall.as_ref().map_err(Clone::clone)?;
    let known = examined.remembered.unreadable.is_empty();
    let is_held = |masquerade: &Masquerade| {
        let holdings = &examined.remembered.sessions.holdings;
        holdings.iter().any(|holding| matches!(&holding.what, Held::Masquerade { masquerade: held, .. } if held == masquerade))
    };
    Ok(firewall.masquerades.iter().filter(move |masquerade| known && !is_held(masquerade)))
}

/// Filters of guests behind devices that are gone.
pub fn filtered(examined: &Examined) -> impl Iterator<Item = &GuestFilter> {
    examined.seen.filter.values().map(|filtered| &filtered.filter).filter(|filter| examined.is_orphan(&filter.device))
}

/// What vif-route remembers of interfaces that are gone.
pub fn memories(examined: &Examined) -> impl Iterator<Item = &VifMemory> {
    examined.remembered.memories.iter().filter(|memory| examined.is_orphan(&memory.device))
}

/// Files of guests behind devices that are gone.
pub fn guest_files(examined: &Examined) -> impl Iterator<Item = &GuestFile> {
    examined.remembered.guest_files.iter().filter(|file| examined.is_orphan(&file.device))
}

/// Guests in dhcpd's file behind devices that are gone.
pub fn hosts_of_dhcpd(examined: &Examined) -> impl Iterator<Item = &HostLine> {
    let guests = examined.dhcpd.iter().flat_map(|seen| &seen.guests);
    guests.filter(|guest| examined.is_orphan(&guest.device))
}

/// Bridges that network-bridge remembers, and that are gone.
pub fn lost_bridges(examined: &Examined) -> impl Iterator<Item = &Started> {
    let started = examined.remembered.bridges.iter().flat_map(|(_, record)| &record.started);
    started.filter(|started| examined.seen.device(started.names.bridge.as_str()).is_none())
}

/// Takes it all away. One thing that cannot be removed keeps none of the others.
///
/// # Errors
/// When the packet filter could not be looked at.
pub fn plan(examined: &Examined) -> Look<Plan> {
    let mut plan = Plan::default();
    accepts(examined)?.for_each(|accept| plan.may(Operation::DeleteForwardAccept(accept.clone())));
    masquerades(examined)?.for_each(|masquerade| plan.may(Operation::DeleteMasquerade(masquerade.clone())));
    for filter in filtered(examined) {
        plan.may(Operation::DeleteGuestFilter { filter: filter.clone(), when: Unfilter::OnceUnplugged });
    }
    for memory in memories(examined) {
        memory.neighbours.iter().for_each(|neighbour| plan.may(Operation::DeleteNeighbour(neighbour.clone())));
        plan.forget(Operation::RemoveFile(memory.path.clone()));
    }
    forget_guests(examined, &mut plan);
    forget_bridges(examined, &mut plan);
    // Last, since a file of dhcpd's that cannot be written ends the plan: with half of them changed it would not start.
    forget_hosts_of_dhcpd(examined, &mut plan);
    Ok(plan)
}

/// dnsmasq notices new files by itself, and missing ones when it is told.
fn forget_guests(examined: &Examined, plan: &mut Plan) {
    let mut gone = guest_files(examined).peekable();
    let some = gone.peek().is_some();
    gone.for_each(|file| plan.may(Operation::RemoveFile(file.path.clone())));
    if let (true, Some(pid_file)) = (some, &examined.dnsmasq_pid_file) {
        plan.may(Operation::Restart(Service::HangUp { pid_file: pid_file.clone(), program: "dnsmasq".to_owned() }));
    }
}

fn forget_hosts_of_dhcpd(examined: &Examined, plan: &mut Plan) {
    let Some(seen) = &examined.dhcpd else { return };
    let gone: Vec<&InterfaceName> = hosts_of_dhcpd(examined).map(|guest| &guest.device).collect();
    let mut draft = Draft::new(&Host { files: seen.files.clone(), ..Host::default() });
    plan::dhcp::withdraw_from_dhcpd(&mut draft, &seen.server, &gone);
    plan.steps.extend(draft.plan.steps);
}

fn forget_bridges(examined: &Examined, plan: &mut Plan) {
    let (Some((path, record)), true) = (&examined.remembered.bridges, lost_bridges(examined).next().is_some()) else { return };
    let left = lost_bridges(examined).fold(record.clone(), |record: Record, lost| record.without(&lost.names));
    plan.may(match left.started.is_empty() {
        true => Operation::RemoveFile(path.clone()),
        false => Operation::WriteFile { path: path.clone(), text: left.to_text() },
    });
}

/// The host as the plan's steps need it, to say what would take them back.
#[must_use]
pub fn host(examined: &Examined) -> Host {
    let firewall = examined.firewall.clone().unwrap_or_default();
    Host {
        masquerades: firewall.masquerades.into_iter().collect(),
        forward_accepts: firewall.accepts,
        dropping_chains: firewall.dropping_chains,
        guest_filters: examined.seen.filter.values().map(|filtered| filtered.filter.clone()).collect(),
        files: examined.dhcpd.as_ref().map(|seen| seen.files.clone()).unwrap_or_default(),
        ..Host::default()
    }
}
