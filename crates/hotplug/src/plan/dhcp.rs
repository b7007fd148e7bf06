//! Guests and subnets in the files of a DHCP server. The host's `files` must hold what stands in them now.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnetwork::Ipv4Network;

use crate::dhcp::dhcpd::{self, Dhcpd, Include};
use crate::dhcp::dnsmasq::{self, Dnsmasq, Interfaces};
use crate::dhcp::{Guest, Server, Subnet, fit_for_files};
use crate::interface_name::InterfaceName;
use crate::operation::{LeaseEnd, Operation, Service};
use crate::plan::draft::Draft;
use crate::plan::{OnFailure, Refusal, Step};

/// Has `server` give `guest` its address. The guest's device has dom0's end of the link by then, and is up.
///
/// # Errors
/// When the guest's device has a name that may not stand in the server's files.
pub fn offer(draft: &mut Draft, server: &Server, guest: &Guest) -> Result<(), Refusal> {
    match server {
        Server::Dnsmasq(server) => offer_by_dnsmasq(draft, server, guest),
        Server::Dhcpd(server) => {
            fit_for_files(&guest.device)?;
            let begin = draft.plan.steps.len();
            let change = change_dhcpd(draft, server, |include, arguments| {
                for displaced in include.put(guest) {
                    *arguments = dhcpd::without_argument(arguments, &displaced);
                }
                *arguments = dhcpd::with_argument(arguments, &guest.device);
            });
            reread(draft, begin, change, Some(&server.service));
        }
    }
    Ok(())
}

/// Has `server` forget the guest behind `device`, by that name alone.
pub fn withdraw(draft: &mut Draft, server: &Server, device: &InterfaceName) {
    match server {
        Server::Dnsmasq(server) => withdraw_from_dnsmasq(draft, server, device),
        Server::Dhcpd(server) => withdraw_from_dhcpd(draft, server, &[device]),
    }
}

/// Has dhcpd forget the guests behind `devices`, with one restart for all.
pub fn withdraw_from_dhcpd(draft: &mut Draft, server: &Dhcpd, devices: &[&InterfaceName]) {
    let begin = draft.plan.steps.len();
    let change = change_dhcpd(draft, server, |include, arguments| {
        for device in devices {
            include.remove(device);
            *arguments = dhcpd::without_argument(arguments, device);
        }
    });
    reread(draft, begin, change, Some(&server.service));
}

/// Has `server` serve `subnet`, in place of whatever it served for that network.
///
/// # Errors
/// When it overlaps another network that is served already: the server would not start any more.
pub fn open_subnet(draft: &mut Draft, server: &Server, subnet: &Subnet) -> Result<(), Refusal> {
    match server {
        Server::Dnsmasq(server) => open_at_dnsmasq(draft, server, subnet),
        Server::Dhcpd(server) => open_at_dhcpd(draft, server, subnet),
    }
}

/// Has `server` serve the subnet of `network` no longer.
pub fn close_subnet(draft: &mut Draft, server: &Server, network: Ipv4Network) {
    match server {
        Server::Dnsmasq(server) => close_at_dnsmasq(draft, server, network),
        Server::Dhcpd(server) => close_at_dhcpd(draft, server, network),
    }
}

fn text<'a>(draft: &'a Draft, path: &Path) -> Option<&'a str> {
    draft.host.files.get(path)?.as_deref()
}

/// Whether a file had to be changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Made,
    NotNeeded,
}

/// Brings a file to `wanted`; without a text, it goes.
fn settle(draft: &mut Draft, path: &Path, wanted: Option<String>) -> Change {
    let operation = match (text(draft, path), wanted) {
        (Some(seen), Some(wanted)) if seen == wanted => return Change::NotNeeded,
        (None, None) => return Change::NotNeeded,
        (_, Some(text)) => Operation::WriteFile { path: path.to_owned(), text },
        (Some(_), None) => Operation::RemoveFile(path.to_owned()),
    };
    draft.must(operation);
    Change::Made
}

/// Has a server read its files anew, where they have changed since the step `begin`: at the end, and where the changes are taken back.
fn reread(draft: &mut Draft, begin: usize, change: Change, service: Option<&Service>) {
    if let (Change::Made, Some(service)) = (change, service) {
        reread_if_taken_back(draft, begin, service);
        draft.may(Operation::Restart(service.clone()));
    }
}

fn reread_if_taken_back(draft: &mut Draft, begin: usize, service: &Service) {
    let operation = Operation::ChangeFilesOf(service.clone());
    draft.plan.steps.insert(begin, Step { operation, on_failure: OnFailure::Abort });
}

const KEEPER: &str = "Entries for dnsmasq (dhcp-hostsdir), one file for each guest's interface; written by vif-nat.\n";

fn offer_by_dnsmasq(draft: &mut Draft, server: &Dnsmasq, guest: &Guest) {
    note_who_is_not_served(draft, server, &guest.device);
    let begin = draft.plan.steps.len();
    let path = server.guest_file(&guest.device, guest.address);
    // A folder that was not there when dnsmasq started is not watched, and what once stood in a file stays in its memory.
    let mut memory = settle(draft, &server.keeper(), Some(KEEPER.to_owned()));
    if text(draft, &path).is_some_and(|seen| seen != dnsmasq::entry(guest)) {
        memory = Change::Made;
    }
    for other in guest_files(draft, server, |device, address| *device == guest.device || address == guest.address) {
        if other != path {
            // Whoever it belonged to may be removing it at this moment.
            draft.may(Operation::RemoveFile(other));
            memory = Change::Made;
        }
    }
    let entry = settle(draft, &path, Some(dnsmasq::entry(guest)));
    match (memory, entry, hang_up(server)) {
        // It sees a new file, and not that one goes again.
        (Change::NotNeeded, Change::Made, Some(service)) => reread_if_taken_back(draft, begin, &service),
        (_, _, service) => reread(draft, begin, memory, service.as_ref()),
    }
    if let Some(holder) = server.holder.as_ref().filter(|holder| holder.mac != guest.mac) {
        draft.may(Operation::EndLease(LeaseEnd {
            device: guest.device.clone(),
            server: guest.router,
            address: guest.address,
            holder: holder.clone(),
        }));
    }
}

fn note_who_is_not_served(draft: &mut Draft, server: &Dnsmasq, device: &InterfaceName) {
    if text(draft, &server.drop_in).is_none() {
        draft.plan.notes.push(format!(
            "dnsmasq serves no subnet of guests yet, so {device} gets no address from it: call network-nat start dhcp=yes"
        ));
    }
    if server.interfaces != Interfaces::All && !device.as_str().starts_with("vif") {
        draft.plan.notes.push(format!(
            "dnsmasq serves the interfaces that its configuration lists, and vif*: add interface={device} there for the guest of {device}"
        ));
    }
}

fn guest_files(draft: &Draft, server: &Dnsmasq, wanted: impl Fn(&InterfaceName, Ipv4Addr) -> bool) -> Vec<PathBuf> {
    let there = draft.host.files.iter().filter(|(_, text)| text.is_some()).map(|(path, _)| path);
    there.filter(|path| server.guest_of(path).is_some_and(|(device, address)| wanted(&device, address))).cloned().collect()
}

fn withdraw_from_dnsmasq(draft: &mut Draft, server: &Dnsmasq, device: &InterfaceName) {
    let begin = draft.plan.steps.len();
    let files = guest_files(draft, server, |other, _| other == device);
    let change = if files.is_empty() { Change::NotNeeded } else { Change::Made };
    for file in files {
        // The guest that has its address now may have removed it already.
        draft.may(Operation::RemoveFile(file));
    }
    reread(draft, begin, change, hang_up(server).as_ref());
}

/// What has a dnsmasq that runs read the guests' files anew. It keeps running, with its leases.
fn hang_up(server: &Dnsmasq) -> Option<Service> {
    let pid_file = server.pid_file.clone()?;
    Some(Service::HangUp { pid_file, program: "dnsmasq".to_owned() })
}

fn open_at_dnsmasq(draft: &mut Draft, server: &Dnsmasq, subnet: &Subnet) -> Result<(), Refusal> {
    let old = text(draft, &server.drop_in);
    let others = dnsmasq::subnets(old.unwrap_or_default());
    refuse_overlap(subnet, others.iter().map(|(network, _)| *network))?;
    refuse_bound(server)?;
    let wanted = dnsmasq::with_subnet(old, server, subnet);
    let begin = draft.plan.steps.len();
    let folder = settle(draft, &server.keeper(), Some(KEEPER.to_owned()));
    match settle(draft, &server.drop_in, Some(wanted)) {
        Change::Made => reread(draft, begin, Change::Made, Some(&server.service)),
        Change::NotNeeded => reread(draft, begin, folder, hang_up(server).as_ref()),
    }
    Ok(())
}

/// dnsmasq ends with `unknown interface` where `bind-interfaces` meets a listed one that is not there (`main()`, its src/dnsmasq.c).
fn refuse_bound(server: &Dnsmasq) -> Result<(), Refusal> {
    match server.interfaces {
        Interfaces::All | Interfaces::Listed => Ok(()),
        Interfaces::ListedAndBound => Err(Refusal::plain(
            "dnsmasq's configuration lists interfaces and says bind-interfaces: it would not start with those that guests are yet to bring; say bind-dynamic there instead, or dhcp=no here",
        )),
    }
}

fn close_at_dnsmasq(draft: &mut Draft, server: &Dnsmasq, network: Ipv4Network) {
    let Some(old) = text(draft, &server.drop_in) else { return };
    let wanted = dnsmasq::without_subnet(old, server, network);
    let begin = draft.plan.steps.len();
    if wanted.is_none() {
        settle(draft, &server.keeper(), None);
    }
    let change = settle(draft, &server.drop_in, wanted);
    // One that the administrator has stopped stays so.
    reread(draft, begin, change, server.pid_file.as_ref().map(|_| &server.service));
}

fn refuse_overlap(subnet: &Subnet, others: impl Iterator<Item = Ipv4Network>) -> Result<(), Refusal> {
    match others.into_iter().find(|other| *other != subnet.network && other.overlaps(subnet.network)) {
        None => Ok(()),
        Some(other) => Err(Refusal::plain(format!(
            "the network {} cannot be served by DHCP beside {other}, which it overlaps: stop that one first, or choose another subnet=",
            subnet.network
        ))),
    }
}

fn open_at_dhcpd(draft: &mut Draft, server: &Dhcpd, subnet: &Subnet) -> Result<(), Refusal> {
    let ours = Include::parse(text(draft, &server.include).unwrap_or_default());
    refuse_overlap(subnet, ours.subnets.iter().map(|other| other.network))?;
    let declared = dhcpd::declared_networks(text(draft, &server.configuration).unwrap_or_default());
    let own = declared.iter().find(|network| network.overlaps(subnet.network));
    if let Some(own) = own {
        draft.plan.notes.push(format!(
            "{} declares the network {own} itself: guests are served by that declaration",
            server.configuration.display()
        ));
    }
    subnet.bridge().map_or(Ok(()), fit_for_files)?;
    let begin = draft.plan.steps.len();
    let change = change_dhcpd(draft, server, |include, arguments| {
        for device in &server.gone {
            include.remove(device);
            *arguments = dhcpd::without_argument(arguments, device);
        }
        if own.is_none() {
            include.open(subnet);
            if let Some(bridge) = subnet.bridge() {
                *arguments = dhcpd::with_argument(arguments, bridge);
            }
        }
    });
    let has_clients = has_clients(draft, server);
    reread(draft, begin, change, has_clients.then_some(&server.service));
    Ok(())
}

fn close_at_dhcpd(draft: &mut Draft, server: &Dhcpd, network: Ipv4Network) {
    let had_clients = has_clients(draft, server);
    let begin = draft.plan.steps.len();
    let change = change_dhcpd(draft, server, |include, arguments| {
        let (closing, _): (Vec<_>, Vec<_>) = include.subnets.iter().partition(|subnet| subnet.network == network);
        for bridge in closing.iter().filter_map(|subnet| subnet.bridge.as_ref()) {
            *arguments = dhcpd::without_argument(arguments, bridge);
        }
        include.close(network);
    });
    reread(draft, begin, change, had_clients.then_some(&server.service));
}

/// Whether there is anybody for dhcpd to serve, be it the administrator's own clients. While there is not, it does not start (`Not
/// configured to listen on any interfaces!`), and whoever comes first has it restarted anyway.
fn has_clients(draft: &Draft, server: &Dhcpd) -> bool {
    let include = Include::parse(text(draft, &server.include).unwrap_or_default());
    let own = dhcpd::declared_networks(text(draft, &server.configuration).unwrap_or_default());
    !own.is_empty() || !include.hosts.is_empty() || include.subnets.iter().any(|subnet| subnet.bridge.is_some())
}

/// Changes our file and the list of devices, and sees to it that the administrator's file includes ours exactly while it is there: dhcpd does
/// not start where a file that is included is missing.
fn change_dhcpd(draft: &mut Draft, server: &Dhcpd, change: impl FnOnce(&mut Include, &mut String)) -> Change {
    let mut include = Include::parse(text(draft, &server.include).unwrap_or_default());
    let seen = server.arguments.as_deref().and_then(|path| text(draft, path)).map(str::to_owned);
    let mut arguments = seen.clone().unwrap_or_default();
    change(&mut include, &mut arguments);
    let configuration = text(draft, &server.configuration).unwrap_or_default().to_owned();
    let mut changes = match include.to_text() {
        Some(wanted) => vec![
            settle(draft, &server.include, Some(wanted)),
            settle(draft, &server.configuration, Some(dhcpd::with_include(&configuration, server))),
        ],
        None => {
            let without = dhcpd::without_include(&configuration, server);
            vec![settle_existing(draft, &server.configuration, without), settle(draft, &server.include, None)]
        }
    };
    if let Some(path) = server.arguments.as_deref().filter(|_| seen.is_some()) {
        changes.push(settle(draft, path, Some(arguments)));
    }
    if changes.contains(&Change::Made) { Change::Made } else { Change::NotNeeded }
}

/// As [`settle`], but a file that is not there is not made.
fn settle_existing(draft: &mut Draft, path: &Path, wanted: String) -> Change {
    match text(draft, path) {
        None => Change::NotNeeded,
        Some(_) => settle(draft, path, Some(wanted)),
    }
}
