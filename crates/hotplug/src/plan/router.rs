//! The host as a router, for network-route and network-nat: what a session wants of it, and giving back what no session wants any more.

use std::path::Path;

use ipnetwork::IpNetwork;

use crate::dhcp::{Resolver, Server, Subnet};
use crate::firewall::Masquerade;
use crate::host::{ADVERTISED_PROTOCOL, Address, AddressFlags, AdminState, Family, Host, LINK_SCOPE, Lifetimes, Link, Route};
use crate::interface_name::InterfaceName;
use crate::mac_address::MacAddress;
use crate::operation::{LinkChange, NewBridge, Operation};
use crate::plan::draft::Draft;
use crate::plan::{Plan, Refusal, dhcp, forwarding};
use crate::request::network::Ipv6;
use crate::sessions::{Change, Held, Holding, Origin, Owner, SessionKey, Sessions, Setting};
use crate::sysctl::{Sysctl, SysctlKey};

/// `accept_ra` of a device that listens to router advertisements only while it is no router itself
/// (Documentation/networking/ip-sysctl.rst).
const UNLESS_ROUTER: &str = "1";
/// `accept_ra` of a device that listens to them all the same.
const EVEN_AS_ROUTER: &str = "2";
/// `accept_ra` of a device that listens to none.
const NEVER: &str = "0";
/// `IFAPROT_KERNEL_RA`: an address that the kernel made up from a router advertisement (include/uapi/linux/if_addr.h).
const ADVERTISED_ORIGIN: u8 = 2;
/// Length of a new bridge's transmit queue, in packets: what the kernel gives any device.
const TRANSMIT_QUEUE: u32 = 1000;

/// Something that a session wants of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// A kernel setting with this value. One that this kernel does not have is passed over.
    Setting(Sysctl, &'static str),
    /// A masquerade.
    Masquerade(Masquerade),
    /// A private bridge that is up, and whose packets nobody's chain drops.
    Bridge {
        /// Its name.
        name: InterfaceName,
        /// Its MTU in bytes, if it is yet to be made.
        mtu: u32,
        /// Its Ethernet address, if it is yet to be made. Without one it would take that of its first guest's interface, and the guests' gateway
        /// would change its address under them (net/bridge/br_stp_if.c, `br_stp_recalculate_bridge_id()`).
        mac: Option<MacAddress>,
    },
    /// An address of the private bridge.
    Address {
        /// The bridge.
        device: InterfaceName,
        /// The address and the length of its network.
        network: IpNetwork,
    },
    /// A network served by DHCP.
    Dhcp {
        /// By whom.
        server: Server,
        /// The network, and what its hosts are told.
        subnet: Subnet,
    },
}

impl Want {
    fn as_masquerade(&self) -> Option<&Masquerade> {
        match self {
            Self::Masquerade(masquerade) => Some(masquerade),
            _ => None,
        }
    }

    fn is_met_by(&self, held: &Held) -> bool {
        match (self, held) {
            (Self::Setting(sysctl, _), Held::Setting(setting)) => setting.sysctl == *sysctl,
            (Self::Masquerade(wanted), Held::Masquerade { masquerade, .. }) => masquerade == wanted,
            (Self::Bridge { name: wanted, .. }, Held::Bridge { name, .. }) => name == wanted,
            (Self::Address { device: of, network: wanted }, Held::Address { device, network, .. }) => {
                device == of && network == wanted
            }
            (Self::Dhcp { server: wanted, subnet }, Held::Dhcp { server, network }) => {
                same_server(wanted, server) && subnet.network == *network
            }
            _ => false,
        }
    }
}

/// Whether it is the same server; where its service and its files are may have changed.
fn same_server(one: &Server, other: &Server) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

/// All that is known when a program says what it wants.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The device that leads outside.
    pub netdev: &'a InterfaceName,
    /// The host.
    pub host: &'a Host,
    /// What sessions rely on already.
    pub sessions: &'a Sessions,
    /// The DHCP server that was wished for.
    pub server: Option<&'a Server>,
    /// What guests are told of names.
    pub resolver: &'a Resolver,
}

/// The settings that a router's looks and plans go by: of each device, and of devices to come.
pub fn device_keys() -> impl Iterator<Item = (Family, SysctlKey)> {
    let keys = [
        (Family::V4, "forwarding"),
        (Family::V4, "proxy_arp"),
        (Family::V6, "forwarding"),
        (Family::V6, "proxy_ndp"),
        (Family::V6, "accept_ra"),
    ];
    keys.into_iter().filter_map(|(family, key)| Some((family, SysctlKey::new(key).ok()?)))
}

/// The settings of the host as a whole.
pub fn host_settings() -> impl Iterator<Item = Sysctl> {
    let redirects = SysctlKey::new("accept_redirects").ok().map(|key| Sysctl::of_host(Family::V4, &key));
    [forwarding_of(Family::V4), forwarding_of(Family::V6), redirects].into_iter().flatten()
}

/// Forwarding of the whole host.
#[must_use]
pub fn forwarding_of(family: Family) -> Option<Sysctl> {
    SysctlKey::new("forwarding").ok().map(|key| Sysctl::of_host(family, &key))
}

/// That the setting `key` of `device` has this value.
#[must_use]
pub fn device_setting(family: Family, device: &InterfaceName, key: &str, value: &'static str) -> Option<Want> {
    device_sysctl(family, device, key).map(|sysctl| Want::Setting(sysctl, value))
}

/// The setting `key` of `device`.
#[must_use]
pub fn device_sysctl(family: Family, device: &InterfaceName, key: &str) -> Option<Sysctl> {
    SysctlKey::new(key).ok().map(|key| Sysctl::of_device(family, device, &key))
}

/// Whether packets can leave by `netdev`.
///
/// # Errors
/// When there is no such device, or it is no way out of this host.
pub fn judge_netdev(netdev: &InterfaceName, host: &Host) -> Result<(), Refusal> {
    let Some(link) = host.link(netdev) else {
        return Err(Refusal::plain(format!("there is no network device {netdev}: name the one that leads outside with netdev=")));
    };
    if netdev.as_str() == "lo" {
        return Err(Refusal::plain("lo leads nowhere: name the device that leads outside with netdev="));
    }
    match &link.master {
        Some(master) => Err(Refusal::plain(format!(
            "{netdev} belongs to {master}, and it is {master} that packets leave by: say netdev={master}"
        ))),
        None => Ok(()),
    }
}

/// The masquerades of what leaves by `netdev`; of IPv6 only where this kernel has it.
pub fn masquerades(families: impl Iterator<Item = Family>, netdev: &InterfaceName, host: &Host) -> Vec<Want> {
    let there = |family: &Family| forwarding_of(*family).is_some_and(|sysctl| host.sysctls.contains_key(&sysctl));
    families.filter(there).map(|family| Want::Masquerade(Masquerade { family, device: netdev.clone() })).collect()
}

/// What forwarding takes: of IPv4 always, of IPv6 as asked, and only where this kernel has it.
#[must_use]
pub fn forwarding_wants(ipv6: Ipv6, seen: Seen<'_>) -> Vec<Want> {
    let forwards = |family: Family| forwarding_of(family).map(|sysctl| Want::Setting(sysctl, "1"));
    let mut wants: Vec<Want> = forwards(Family::V4).into_iter().collect();
    if ipv6 != Ipv6::Off {
        // Before forwarding goes on: the kernel forgets at once what a router has no business to have learnt (`rt6_purge_dflt_routers()`,
        // net/ipv6/route.c).
        let listeners = listeners(seen.netdev, seen.host, seen.sessions);
        wants.extend(listeners.iter().filter_map(|device| device_setting(Family::V6, device, "accept_ra", EVEN_AS_ROUTER)));
        wants.extend(forwards(Family::V6));
    }
    wants
}

/// The devices that router advertisements must go on counting for: those that live on them, and `netdev` in any case. The first advertisement
/// may be yet to come while the host starts.
fn listeners(netdev: &InterfaceName, host: &Host, sessions: &Sessions) -> Vec<InterfaceName> {
    let settings = host.sysctls.iter().filter(|(sysctl, _)| sysctl.family() == Family::V6 && sysctl.key() == "accept_ra");
    settings
        .filter_map(|(sysctl, value)| {
            let device = sysctl.device()?;
            let kept = sessions.setting(sysctl).is_some();
            let listens = value == UNLESS_ROUTER && was_no_router(device, host, sessions);
            let learnt = || !is_guests(device) && lives_on_advertisements(device, host);
            (kept || (listens && (device == netdev || learnt()))).then(|| device.clone())
        })
        .collect()
}

/// The devices besides those looked at already that may live on router advertisements: the addresses of these tell.
#[must_use]
pub fn possible_listeners(host: &Host) -> Vec<InterfaceName> {
    let settings = host.sysctls.iter().filter(|(sysctl, value)| sysctl.key() == "accept_ra" && *value == UNLESS_ROUTER);
    let is_router = |device: &InterfaceName| {
        forwarding_of(Family::V6).and_then(|sysctl| host.sysctls.get(&sysctl.on_device(device))).is_none_or(|value| value != "0")
    };
    settings
        .filter_map(|(sysctl, _)| sysctl.device())
        .filter(|device| host.link(device).is_none() && !is_router(device) && !is_guests(device))
        .cloned()
        .collect()
}

/// Whether `device` was on a host's side, not a router's, before any session began.
fn was_no_router(device: &InterfaceName, host: &Host, sessions: &Sessions) -> bool {
    let Some(of_host) = forwarding_of(Family::V6) else { return false };
    let own = of_host.on_device(device);
    let Some(now) = host.sysctls.get(&own) else { return false };
    let as_ours = |setting: &&Setting| host.sysctls.get(&of_host) == Some(&setting.change.ours);
    match sessions.setting(&of_host).filter(as_ours) {
        Some(setting) => setting.undone_along(&own, now) == "0",
        None => now == "0",
    }
}

/// Whether a guest is at the other end, which is no router for this host whatever it says.
fn is_guests(device: &InterfaceName) -> bool {
    device.as_str().starts_with("vif")
}

fn lives_on_advertisements(device: &InterfaceName, host: &Host) -> bool {
    let advertised =
        |address: &Address| address.origin == Some(ADVERTISED_ORIGIN) || address.flags.has(AddressFlags::MANAGE_TEMPORARY);
    // Kernels before 5.18 do not tell where an address comes from; one that ends by itself was learnt somewhere.
    let learnt = |address: &Address| address.lifetimes.valid.is_some() && !address.is_ipv6_link_local();
    host.routes_over(device).any(|route| route.family() == Family::V6 && route.protocol == ADVERTISED_PROTOCOL)
        || host.addresses_of(device).any(|address| address.family() == Family::V6 && (advertised(address) || learnt(address)))
}

/// The record that a plan goes by, and where it is kept.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its file.
    pub path: &'a Path,
    /// What stands in it.
    pub sessions: &'a Sessions,
}

/// The session of `program` that `stop` is to end: the one of `netdev` and `bridge`. Where no device was named, that of the device that leads
/// outside now, or the only one that fits.
///
/// # Errors
/// When several fit and none is of `uplink`.
pub fn find(
    program: Owner,
    netdev: Option<&InterfaceName>,
    bridge: Option<&InterfaceName>,
    uplink: &InterfaceName,
    sessions: &Sessions,
) -> Result<Option<SessionKey>, Refusal> {
    let fits = |key: &SessionKey| {
        key.program == program && key.bridge.as_ref() == bridge && netdev.is_none_or(|netdev| key.netdev == *netdev)
    };
    let fitting: Vec<SessionKey> = sessions.keys().into_iter().filter(fits).collect();
    if let Some(key) = fitting.iter().find(|key| key.netdev == *uplink) {
        return Ok(Some(key.clone()));
    }
    match fitting.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(only.clone())),
        several => {
            let devices: Vec<&str> = several.iter().map(|key| key.netdev.as_str()).collect();
            let devices = devices.join(" and ");
            Err(Refusal::plain(format!("{program} was started for {devices}: name the one to stop with netdev=")))
        }
    }
}

/// A session begins, or goes on with other wants.
///
/// # Errors
/// When a network cannot be served by DHCP.
pub fn start(key: &SessionKey, wants: &[Want], record: Record<'_>, host: &Host) -> Result<Plan, Refusal> {
    let mut work = Work::new(key, record, host);
    for want in wants {
        work.hold(want)?;
    }
    work.let_go(|held| !wants.iter().any(|want| want.is_met_by(held)));
    work.write_record(record);
    if work.draft.plan.steps.is_empty() {
        work.draft.plan.notes.push(format!("{key}: all is in place already"));
    }
    work.note_other_ways(wants);
    Ok(work.draft.plan)
}

/// A session ends.
#[must_use]
pub fn stop(key: &SessionKey, record: Record<'_>, host: &Host) -> Plan {
    let mut work = Work::new(key, record, host);
    work.let_go(|_| true);
    work.write_record(record);
    work.draft.plan
}

/// A plan in the making, and what will be remembered of it.
struct Work<'a> {
    key: &'a SessionKey,
    sessions: Sessions,
    draft: Draft,
}

impl<'a> Work<'a> {
    fn new(key: &'a SessionKey, record: Record<'_>, host: &Host) -> Self {
        Self { key, sessions: record.sessions.clone(), draft: Draft::new(host) }
    }

    /// Sees to what is wanted. What another session, or an earlier start, has left as it should be is only shared; what somebody else has
    /// changed since is made anew, and their state is then the one to go back to.
    fn hold(&mut self, want: &Want) -> Result<(), Refusal> {
        let place = self.sessions.holdings.iter().position(|holding| want.is_met_by(&holding.what));
        let standing = place.filter(|place| self.stands(&self.sessions.holdings[*place].what));
        let made = if standing.is_some() { None } else { self.make(want)? };
        match (place, made) {
            (Some(place), made) => {
                let holding = &mut self.sessions.holdings[place];
                holding.sessions.insert(self.key.clone());
                holding.what = made.unwrap_or_else(|| holding.what.clone());
            }
            (None, Some(what)) => self.sessions.holdings.push(Holding { what, sessions: [self.key.clone()].into() }),
            (None, None) => {}
        }
        if let Want::Bridge { name, .. } = want {
            self.set_state(name, AdminState::Up);
            forwarding::accept(&mut self.draft, name);
        }
        Ok(())
    }

    /// Of a default route with several ways, the one that was not named may lead over a device where nothing is masqueraded.
    fn note_other_ways(&mut self, wants: &[Want]) {
        for masquerade in wants.iter().filter_map(Want::as_masquerade) {
            let of_family = |route: &&Route| route.is_default() && route.family() == masquerade.family;
            let routes = self.draft.host.routes.iter().filter(of_family).filter(|route| route.uses(&masquerade.device));
            let mut ways = routes.flat_map(|route| route.path.next_hops()).filter_map(|hop| hop.device.as_ref());
            let is_masqueraded = |device: &InterfaceName| {
                self.draft.host.masquerades.iter().any(|there| there.family == masquerade.family && there.device == *device)
            };
            let Some(other) = ways.find(|device| !is_masqueraded(device)) else { continue };
            let note = format!(
                "the default route of {} leads over {other} as well, and what leaves there is not masqueraded: start with netdev={other} too",
                masquerade.family
            );
            self.draft.plan.notes.push(note);
        }
    }

    /// Whether it is still as sessions left it.
    fn stands(&self, held: &Held) -> bool {
        let host = &self.draft.host;
        match held {
            Held::Setting(setting) => host.sysctls.get(&setting.sysctl) == Some(&setting.change.ours),
            Held::Masquerade { masquerade, .. } => host.masquerades.contains(masquerade),
            Held::Bridge { name, .. } => host.link(name).is_some(),
            Held::Address { device, network, .. } => address_on(host, device, *network).is_some(),
            // What is told of names, and the server's other files, may have changed: it is set up anew, which changes nothing otherwise.
            Held::Dhcp { .. } => false,
        }
    }

    /// Makes what is missing; gives how it was before. Nothing where the host cannot have it.
    fn make(&mut self, want: &Want) -> Result<Option<Held>, Refusal> {
        Ok(match want {
            Want::Setting(sysctl, value) => self.write(sysctl, value).map(Held::Setting),
            Want::Masquerade(masquerade) => {
                let origin = origin(self.draft.host.masquerades.contains(masquerade));
                if origin == Origin::Made {
                    self.draft.must(Operation::AddMasquerade(masquerade.clone()));
                }
                Some(Held::Masquerade { masquerade: masquerade.clone(), origin })
            }
            Want::Bridge { name, mtu, mac } => {
                let found = self.draft.host.link(name).map(|link| link.state);
                if found.is_none() {
                    self.create_bridge(name, *mtu, *mac);
                }
                let state = found.unwrap_or_default();
                Some(Held::Bridge { name: name.clone(), origin: origin(found.is_some()), state })
            }
            Want::Address { device, network } => {
                let origin = origin(address_on(&self.draft.host, device, *network).is_some());
                if origin == Origin::Made {
                    self.draft.must(Operation::AddAddress(gateway_address(device, *network)));
                }
                Some(Held::Address { device: device.clone(), network: *network, origin })
            }
            Want::Dhcp { server, subnet } => {
                dhcp::open_subnet(&mut self.draft, server, subnet)?;
                Some(Held::Dhcp { server: server.clone(), network: subnet.network })
            }
        })
    }

    /// Gives a setting its value, and notes what changes along with it.
    fn write(&mut self, sysctl: &Sysctl, value: &str) -> Option<Setting> {
        let before = self.draft.host.sysctls.get(sysctl)?.clone();
        let change = Change { before, ours: value.to_owned() };
        if change.before == change.ours {
            return Some(Setting { sysctl: sysctl.clone(), change, along: [].into() });
        }
        let earlier = self.draft.host.sysctls.clone();
        self.draft.must(Operation::WriteSysctl { sysctl: sysctl.clone(), value: value.to_owned() });
        let as_new = |other: &Sysctl| other.device().is_some() && earlier.get(&other.for_new_devices()) == earlier.get(other);
        let noted = earlier.iter().filter(|(other, _)| goes_along(other, sysctl) && !as_new(other));
        let change_of = |other: &Sysctl, before: &String| {
            let ours = self.draft.host.sysctls.get(other).unwrap_or(before);
            Change { before: before.clone(), ours: ours.clone() }
        };
        let along = noted.map(|(other, before)| (other.clone(), change_of(other, before))).collect();
        Some(Setting { sysctl: sysctl.clone(), change, along })
    }

    /// The bridge is a private network's: dom0 is the router there, and listens to no other.
    fn create_bridge(&mut self, name: &InterfaceName, mtu: u32, mac: Option<MacAddress>) {
        let bridge = NewBridge { name: name.clone(), mac, mtu, transmit_queue: TRANSMIT_QUEUE };
        self.draft.must(Operation::CreateBridge(bridge));
        let accepts = device_sysctl(Family::V6, name, "accept_ra");
        if let Some(sysctl) = accepts.filter(|sysctl| self.draft.host.sysctls.get(sysctl).is_some_and(|now| now != NEVER)) {
            self.draft.must(Operation::WriteSysctl { sysctl, value: NEVER.to_owned() });
        }
    }

    fn set_state(&mut self, device: &InterfaceName, state: AdminState) {
        if self.draft.host.link(device).is_some_and(|link| link.state != state) {
            let change = LinkChange { state: Some(state), ..LinkChange::default() };
            self.draft.must(Operation::SetLink { device: device.clone(), change });
        }
    }

    /// This session relies no longer on what `goes`; what no session relies on any more is given back, the youngest first.
    fn let_go(&mut self, goes: impl Fn(&Held) -> bool) {
        for place in (0..self.sessions.holdings.len()).rev() {
            let holding = &mut self.sessions.holdings[place];
            if goes(&holding.what) && holding.sessions.remove(self.key) && holding.sessions.is_empty() {
                let held = self.sessions.holdings.remove(place).what;
                self.give_back(&held);
            }
        }
    }

    fn give_back(&mut self, held: &Held) {
        match held {
            Held::Setting(setting) => self.restore(setting),
            Held::Masquerade { masquerade, origin: Origin::Made } if self.stands(held) => {
                self.draft.must(Operation::DeleteMasquerade(masquerade.clone()));
            }
            Held::Bridge { name, origin, state } => self.give_back_bridge(name, *origin, *state),
            Held::Address { device, network, origin: Origin::Made } => self.take_address(device, *network),
            Held::Dhcp { server, network } => dhcp::close_subnet(&mut self.draft, server, *network),
            Held::Masquerade { .. } | Held::Address { .. } => {}
        }
    }

    fn restore(&mut self, setting: &Setting) {
        let Setting { sysctl, change, .. } = setting;
        // A device that is gone has taken its settings along.
        let Some(now) = self.draft.host.sysctls.get(sysctl).cloned() else { return };
        if now != change.ours {
            self.draft.plan.notes.push(format!("{sysctl} was set to {now} by somebody else since: it stays so"));
            return;
        }
        if change.before == change.ours {
            return;
        }
        let along: Vec<(Sysctl, String)> = self
            .draft
            .host
            .sysctls
            .iter()
            .filter(|(other, _)| goes_along(other, sysctl))
            .map(|(other, now)| (other.clone(), setting.undone_along(other, now)))
            .collect();
        self.draft.must(Operation::WriteSysctl { sysctl: sysctl.clone(), value: change.before.clone() });
        for (other, value) in along {
            if self.draft.host.sysctls.get(&other).is_some_and(|now| *now != value) {
                self.draft.may(Operation::WriteSysctl { sysctl: other, value });
            }
        }
    }

    fn give_back_bridge(&mut self, name: &InterfaceName, origin: Origin, state: AdminState) {
        forwarding::withdraw(&mut self.draft, name);
        if !self.draft.host.link(name).is_some_and(Link::is_bridge) {
            return;
        }
        match origin {
            Origin::Made => {
                let ports: Vec<&str> = self.draft.host.ports_of(name).map(|link| link.name.as_str()).collect();
                if !ports.is_empty() {
                    let ports = ports.join(" ");
                    self.draft.plan.notes.push(format!("the bridge {name} had ports, which now belong to none: {ports}"));
                }
                self.draft.must(Operation::DeleteBridge(name.clone()));
            }
            Origin::Found => self.set_state(name, state),
        }
    }

    /// Others of the same IPv4 network go with its first address (`promote_secondaries` is off by default): they are put back.
    fn take_address(&mut self, device: &InterfaceName, network: IpNetwork) {
        let Some(address) = address_on(&self.draft.host, device, network).cloned() else { return };
        let before: Vec<Address> = self.draft.host.addresses_of(device).filter(|seen| **seen != address).cloned().collect();
        self.draft.must(Operation::DeleteAddress(address));
        for other in before {
            if address_on(&self.draft.host, device, other.network).is_none() {
                self.draft.must(Operation::AddAddress(other));
            }
        }
    }

    /// The last step, so that the record tells of nothing that was undone.
    fn write_record(&mut self, before: Record<'_>) {
        if self.sessions == *before.sessions {
            return;
        }
        let path = before.path.to_owned();
        self.draft.must(match self.sessions.holdings.is_empty() {
            true => Operation::RemoveFile(path),
            false => Operation::WriteFile { path, text: self.sessions.to_text() },
        });
    }
}

fn origin(there: bool) -> Origin {
    if there { Origin::Found } else { Origin::Made }
}

/// Whether the kernel changes `other` when `sysctl` is written: see the host model.
fn goes_along(other: &Sysctl, sysctl: &Sysctl) -> bool {
    sysctl.is_forwarding_of_the_host()
        && other.family() == sysctl.family()
        && other != sysctl
        && (other.key() == sysctl.key() || (other.is_redirects_of_the_host() && other.family() == Family::V4))
}

fn address_on<'a>(host: &'a Host, device: &InterfaceName, network: IpNetwork) -> Option<&'a Address> {
    host.addresses.iter().find(|address| address.device == *device && address.network == network)
}

/// The host's address on a private bridge. Nobody else has it, so IPv6 need not ask around first, which would take until a guest has come.
fn gateway_address(device: &InterfaceName, network: IpNetwork) -> Address {
    let address = Address {
        device: device.clone(),
        network,
        peer: None,
        broadcast: None,
        label: None,
        scope: 0,
        flags: AddressFlags::default(),
        lifetimes: Lifetimes::default(),
        metric: None,
        origin: None,
    };
    match network {
        IpNetwork::V4(own) => {
            let broadcast = (own.prefix() < 31).then(|| own.broadcast().into());
            Address { broadcast, label: Some(device.to_string()), ..address }
        }
        IpNetwork::V6(_) => {
            let scope = if address.is_ipv6_link_local() { LINK_SCOPE } else { 0 };
            Address { scope, flags: AddressFlags(AddressFlags::NO_DAD), ..address }
        }
    }
}
