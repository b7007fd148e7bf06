//! `network-bridge start`.

use std::net::IpAddr;
use std::time::Duration;

use super::{Session, antispoof, observe, observe_with_forwarding, write_record};
use crate::apply::Run;
use crate::host::{AdminState, Family, Host};
use crate::interface_name::InterfaceName;
use crate::operation::Operation;
use crate::plan::network_bridge::{self as recipe, Asked, DefaultRoute, Names, Verdict};
use crate::plan::{Plan, Refusal};
use crate::record::{AddressSource, Started};
use crate::report::{Report, Trouble};
use crate::request::network_bridge::{Check, Force};
use crate::system::manager::{DhcpClient, Manager, dhcp_client_bound, manager_of};
use crate::system::{Answer, System};

/// How long the gateway may take to answer before anything is touched. One that does not answer now will not be asked for afterwards.
const BEFORE_LIMIT: Duration = Duration::from_secs(1);

/// Makes the bridge.
pub(super) fn start(session: &mut Session<'_>, asked: &Asked) -> Result<Report, Trouble> {
    let routes = session.default_routes()?;
    let netdev = recipe::choose_netdev(asked, &routes)?;
    let names = Names::new(netdev, asked.bridge.clone())?;
    let around = surroundings(session.system, asked, &names)?;
    refuse_second_name(session.system, &names, &around)?;
    if let Verdict::Nothing(why) = recipe::judge_start(asked, &names, &around)? {
        let bridges = around.links.iter().filter(|link| link.is_bridge()).map(|link| &link.name);
        session.keep_antispoof(bridges)?;
        return Ok(Report::nothing(why));
    }
    refuse_interceptors(session.system, &names, &around)?;
    refuse_network_root(session.system, &names)?;
    let source = address_source(session, &names, &around)?;
    // A router that is asked may take its time, and what lies on the device may change meanwhile: it is looked at afterwards.
    let check = if session.is_dry_run() { None } else { router_to_check(session, &names, &routes)? };
    let host = observe_with_forwarding(session.system, std::slice::from_ref(&names.netdev), &names.bridge)?;
    refuse_stray_client(session, &names, &host)?;
    recipe::judge_routes(&names.netdev, &host)?;
    if session.is_dry_run() {
        return Ok(session.show(&recipe::start(&names, &host), &host));
    }
    let Some(folder) = session.folder.clone() else { return carry_out(session, &names, host, source, check) };
    let word = session.request.antispoof;
    let _watchdog = session.watched(&names);
    antispoof::keep_before(&folder, &[names.bridge.as_str()], word, || carry_out(session, &names, host, source, check))
}

/// The devices that decide whether there is anything to do.
fn surroundings(system: &mut System, asked: &Asked, names: &Names) -> Result<Host, Trouble> {
    let mut links = system.links(&[names.netdev.clone(), names.port.clone(), names.bridge.clone()])?;
    links.dedup_by(|one, other| one.name == other.name);
    let masters: Vec<InterfaceName> = links.iter().filter_map(|link| link.master.clone()).collect();
    links.extend(system.links(&masters)?);
    if *asked == Asked::default() {
        links.extend(system.bridges()?);
    }
    Ok(Host { links, ..Host::default() })
}

/// Tools find a device by its second names (`ip link property add … altname`) as well; everything here goes by the first.
fn refuse_second_name(system: &mut System, names: &Names, around: &Host) -> Result<(), Trouble> {
    let Names { netdev, port, .. } = names;
    if around.link(netdev).is_some() || around.link(port).is_some() {
        return Ok(());
    }
    match system.first_name(netdev)? {
        None => Ok(()),
        Some(first) => {
            Err(Refusal::plain(format!("{netdev} is a second name of {first}: call it by its first, netdev={first}")).into())
        }
    }
}

/// The kernel gives what a device receives to one taker alone. Found out at the last step, it would cost the host its network for a moment.
fn refuse_interceptors(system: &mut System, names: &Names, around: &Host) -> Result<(), Trouble> {
    let Some(link) = around.link(&names.netdev) else { return Ok(()) };
    let taken = system.interceptors_of(link)?;
    let Some(first) = taken.first() else { return Ok(()) };
    let (netdev, others) = (&names.netdev, taken.iter().map(|link| link.name.as_str()).collect::<Vec<_>>().join(", "));
    Err(Refusal::plain(format!(
        "{netdev} has devices on it that take what it receives, so that it cannot be the port of a bridge: {others}; remove them (ip link delete {}), or name another device with netdev=",
        first.name
    ))
    .into())
}

fn refuse_network_root(system: &mut System, names: &Names) -> Result<(), Trouble> {
    let Some(root) = crate::system::network_root::of_this_machine() else { return Ok(()) };
    let leads_there = match root.server {
        Some(server) => system.device_towards(server)?.is_none_or(|device| device == names.netdev),
        None => true,
    };
    if !leads_there {
        return Ok(());
    }
    Err(Refusal::plain(format!(
        "the root file system comes over the network, and {} leads there: bridging it would stop the machine; name another device with netdev=, or set the bridge up in the initramfs",
        names.netdev
    ))
    .into())
}

/// Who gives the device its addresses, and so whether they can be moved.
fn address_source(session: &Session<'_>, names: &Names, around: &Host) -> Result<AddressSource, Refusal> {
    let index = around.link(&names.netdev).and_then(|link| link.index).unwrap_or_default();
    let forced = session.request.force == Force::Yes;
    match manager_of(index, &names.netdev) {
        Manager::NetworkManager if !forced => Err(managed(
            names,
            "NetworkManager",
            "create the bridge there (nmcli connection add type bridge, and a bridge-slave for the device)",
        )),
        Manager::Networkd if !forced => Err(managed(
            names,
            "systemd-networkd",
            "create the bridge there (a .netdev file of Kind=bridge, and Bridge= in the device's .network file)",
        )),
        Manager::Ifupdown { dhcp: true } if names.bridge == names.netdev => Ok(AddressSource::IfUpDown),
        Manager::Ifupdown { dhcp: true } if !forced => Err(Refusal::plain(format!(
            "{0} gets its address by DHCP through /etc/network/interfaces, which knows no {1}: leave bridge= out, or configure `iface {1} inet dhcp` with `bridge_ports {0}` there, or say force=yes",
            names.netdev, names.bridge
        ))),
        _ => Ok(AddressSource::Moved),
    }
}

/// A DHCP client that was started by hand goes on working by the device's name, which the bridge bears from now on; under another name
/// it would renew the lease of a device that is no more, and the host would lose its address in the end.
fn refuse_stray_client(session: &Session<'_>, names: &Names, host: &Host) -> Result<(), Refusal> {
    let leased =
        host.addresses_of(&names.netdev).any(|address| address.family() == Family::V4 && address.lifetimes.valid.is_some());
    let index = host.link(&names.netdev).and_then(|link| link.index).unwrap_or_default();
    let forced = session.request.force == Force::Yes;
    if names.bridge == names.netdev || !leased || forced || dhcp_client_bound(index) == DhcpClient::NotSeen {
        return Ok(());
    }
    Err(Refusal::plain(format!(
        "a DHCP client keeps the address of {0}, and would not follow it to {1}: leave bridge= out, or stop the client and start one on {1} afterwards with force=yes",
        names.netdev, names.bridge
    )))
}

fn managed(names: &Names, manager: &str, remedy: &str) -> Refusal {
    Refusal::plain(format!(
        "{} is managed by {manager}, which would take its addresses back at once: {remedy}, or say force=yes",
        names.netdev
    ))
}

/// The router that must answer afterwards: one that answers now.
fn router_to_check(session: &mut Session<'_>, names: &Names, routes: &[DefaultRoute]) -> Result<Option<IpAddr>, Trouble> {
    let wanted = match session.request.check {
        Check::Off => None,
        Check::Address(address) => return Ok(Some(address)),
        Check::Gateway => recipe::gateway_over(&names.netdev, routes),
    };
    let Some(address) = wanted else { return Ok(None) };
    match session.system.neighbour_answers(&names.netdev, address, BEFORE_LIMIT)? {
        Answer::Yes => Ok(Some(address)),
        Answer::No => {
            log::warn!("the gateway {address} does not answer on {}: going on, without asking it again afterwards", names.netdev);
            Ok(None)
        }
    }
}

fn carry_out(
    session: &mut Session<'_>,
    names: &Names,
    host: Host,
    source: AddressSource,
    check: Option<IpAddr>,
) -> Result<Report, Trouble> {
    let (record, journal) = (session.record(), session.journal()?);
    let devices = [names.bridge.clone(), names.port.clone(), names.netdev.clone()];
    let state = host.link(&names.netdev).map_or(AdminState::Up, |link| link.state);
    let mut run = Run::new(session.system, journal);
    let mut before = host;
    if source == AddressSource::IfUpDown {
        run.carry_out(&Plan::single(Operation::IfDown(names.netdev.clone())), before)?;
        before = run.look(|system| observe_with_forwarding(system, &devices, &names.bridge))?;
    }
    run.carry_out(&recipe::start(names, &before), before.clone())?;
    if source == AddressSource::IfUpDown {
        run.carry_out(&Plan::single(Operation::IfUp(names.bridge.clone())), Host::default())?;
    }
    let found = run.look(|system| observe(system, &devices))?;
    run.carry_out(&recipe::after_start(names, &before, &found, check), found)?;
    write_record(session.folder.as_ref(), &record.with(Started { names: names.clone(), addresses: source, state }));
    Ok(Report::of(run.finish(), vec![], format!("{} is a bridge now, and {} its port", names.bridge, names.port)))
}
