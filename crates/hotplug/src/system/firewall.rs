//! The packet filter: our own table, and our signed rules in chains of others.
//!
//! Everything is looked at before it is changed: after a change that the kernel refuses, the closing of the socket alone takes 6 to 20 ms
//! (nf_tables waits for all processors).

mod foreign;
mod guest_tables;
mod guests;
mod legacy;

#[cfg(feature = "fuzz")]
pub(super) use legacy::read_listing;

use std::collections::BTreeSet;
use std::fmt;

use nftables::{
    Base, Batch, Chain, Connection, DataType, Element, Field, Hook, InvalidName, IpVersion, Name, Ranges, Rule, Selector, Set,
    SetId, Statement, Table, TableId, Value,
};
use nix::errno::Errno;

use super::{Cause, System, SystemError, sysctl};
use crate::firewall::{ChainKeeper, ForwardAccept, Masquerade, TABLE};
use crate::guest_filter::{GuestFilter, Way};
use crate::host::{Family, Host, Switch};
use crate::inspect::chains::Ruleset;
use crate::interface_name::InterfaceName;

/// Why the packet filter was not changed, or not seen.
#[derive(Debug)]
pub(super) enum FirewallError {
    /// nf_tables refused, or could not be asked.
    NfTables(nftables::Error),
    /// A name that nf_tables does not take.
    Name(InvalidName),
    /// A guest cannot be held to its addresses.
    Unfiltered(nftables::Error),
    /// `iptables-legacy` failed.
    Legacy(String),
    /// What was to be removed is not there.
    Absent,
}

impl fmt::Display for FirewallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NfTables(error) => error.fmt(f),
            Self::Unfiltered(error) => write!(
                f,
                "{error}; a guest cannot be held to its addresses here: load what is missing (modprobe -a nf_tables nft_meta_bridge nft_limit nft_fib_inet), or say antispoof=no"
            ),
            Self::Name(error) => error.fmt(f),
            Self::Legacy(error) => f.write_str(error),
            Self::Absent => f.write_str("it is not there"),
        }
    }
}

impl From<nftables::Error> for FirewallError {
    fn from(error: nftables::Error) -> Self {
        Self::NfTables(error)
    }
}

impl From<InvalidName> for FirewallError {
    fn from(error: InvalidName) -> Self {
        Self::Name(error)
    }
}

impl From<FirewallError> for Cause {
    fn from(error: FirewallError) -> Self {
        match error {
            FirewallError::Absent => Self::absent(error),
            error => Self::other(error),
        }
    }
}

type Result<T> = std::result::Result<T, FirewallError>;

/// The packet filter.
#[derive(Default)]
pub(super) struct Firewall {
    connection: Line,
    /// The guest filters as they were last listed.
    listed: Vec<GuestFilter>,
}

/// The connection to nf_tables, opened when it is first needed.
#[derive(Default)]
struct Line(Option<Connection>);

impl Line {
    fn get_or_open(&mut self) -> Result<&mut Connection> {
        match &mut self.0 {
            Some(connection) => Ok(connection),
            empty => Ok(empty.insert(Connection::open()?)),
        }
    }

    fn take(&mut self) -> Option<Connection> {
        self.0.take()
    }
}

impl Firewall {
    fn connection(&mut self) -> Result<&mut Connection> {
        self.connection.get_or_open()
    }

    /// The connection, where there can be one: a kernel without netfilter has nothing to look at.
    fn connection_if_any(&mut self) -> Result<Option<&mut Connection>> {
        match self.connection() {
            Err(FirewallError::NfTables(error)) if error.is(Errno::EPROTONOSUPPORT) => Ok(None),
            connection => connection.map(Some),
        }
    }

    /// Begins to masquerade; our table is made where it is not there yet.
    pub fn add_masquerade(&mut self, masquerade: &Masquerade) -> Result<()> {
        let connection = self.connection()?;
        let mut batch = Batch::new();
        let set = set_of(masquerade.family)?;
        let elements = vec![element(&masquerade.device)?];
        if connection.has_set(&set)? {
            batch.add_elements(set, Ranges::None, elements);
        } else {
            batch.add_table(table_with(&set, elements)?);
        }
        Ok(connection.send(&batch)?)
    }

    /// Ends it; the table goes with its last element.
    pub fn delete_masquerade(&mut self, masquerade: &Masquerade) -> Result<()> {
        let mut left = self.masquerades()?;
        if !left.remove(masquerade) {
            return Err(FirewallError::Absent);
        }
        let mut batch = Batch::new();
        if left.is_empty() {
            batch.delete_table(own_table()?);
        } else {
            batch.delete_elements(set_of(masquerade.family)?, Ranges::None, vec![element(&masquerade.device)?]);
        }
        Ok(self.connection()?.send(&batch)?)
    }

    /// What our own table masquerades.
    pub fn masquerades(&mut self) -> Result<BTreeSet<Masquerade>> {
        let mut seen = BTreeSet::new();
        let Some(connection) = self.connection_if_any()? else { return Ok(seen) };
        for family in [Family::V4, Family::V6] {
            let set = set_of(family)?;
            let elements = match connection.elements(&set, &[DataType::Interface], Ranges::None) {
                // A kernel without nf_tables holds nothing of ours.
                Err(error) if error.is(Errno::EOPNOTSUPP) || error.is(Errno::EINVAL) => None,
                elements => elements?,
            };
            let devices = elements.unwrap_or_default().into_iter().filter_map(|seen| device_of(&seen.element));
            seen.extend(devices.map(|device| Masquerade { family, device }));
        }
        Ok(seen)
    }

    pub fn add_accept(&mut self, accept: &ForwardAccept) -> Result<()> {
        match accept.chain.keeper {
            ChainKeeper::NfTables => foreign::add(self.connection()?, accept),
            ChainKeeper::LegacyTables => legacy::add(accept).map_err(FirewallError::Legacy),
        }
    }

    pub fn delete_accept(&mut self, accept: &ForwardAccept) -> Result<()> {
        match accept.chain.keeper {
            ChainKeeper::NfTables => foreign::delete(self.connection()?, accept),
            ChainKeeper::LegacyTables => legacy::delete(accept).map_err(FirewallError::Legacy),
        }
    }
}

impl System {
    /// What our own table masquerades.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn masquerades(&mut self) -> std::result::Result<BTreeSet<Masquerade>, SystemError> {
        self.firewall.masquerades().map_err(SystemError::in_act("looking at the packet filter's own table"))
    }

    /// The chains of nf_tables in tables that see what is forwarded.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn forwarding_rules(&mut self) -> std::result::Result<Ruleset, SystemError> {
        foreign::ruleset(&mut self.firewall).map_err(SystemError::in_act("looking at the chains of the packet filter"))
    }

    /// Notes the guest filters of `devices`, for frames that come in this way, and what is wrong with the tables that hold them.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn observe_guest_filters(
        &mut self,
        host: &mut Host,
        way: Way,
        devices: &[InterfaceName],
    ) -> std::result::Result<(), SystemError> {
        for device in devices {
            let seen = self.firewall.guest_filter(way, device);
            host.guest_filters.extend(seen.map_err(SystemError::in_act(format!("looking for the guest filter of {device}")))?);
        }
        let damage = self.firewall.damage_beside(way, &host.guest_filters);
        host.guest_damage.extend(damage.map_err(SystemError::in_act("looking at the tables of the guest filter"))?);
        Ok(())
    }

    /// Notes the guest filters that `devices` leave behind, in whatever table of ours they are.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn observe_guest_filters_left(
        &mut self,
        host: &mut Host,
        way: Way,
        devices: &[InterfaceName],
    ) -> std::result::Result<(), SystemError> {
        for device in devices {
            let seen = self.firewall.guest_filter_left(way, device);
            host.guest_filters.extend(seen.map_err(SystemError::in_act(format!("looking for the guest filter of {device}")))?);
        }
        Ok(())
    }

    /// Notes what is wrong with the guest filter's tables, all filters of which have been noted.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn observe_guest_damage(&mut self, host: &mut Host) -> std::result::Result<(), SystemError> {
        let damage = self.firewall.guest_damage(&host.guest_filters);
        host.guest_damage = damage.map_err(SystemError::in_act("looking at the tables of the guest filter"))?;
        Ok(())
    }

    /// The name that the interface bears, or bore, which its driver called `device`, as far as a filter tells. Looks through all guests.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn renamed_guest(&mut self, way: Way, device: &InterfaceName) -> std::result::Result<Option<InterfaceName>, SystemError> {
        self.firewall.new_name_of(way, device).map_err(SystemError::in_act(format!("looking for the guest filter of {device}")))
    }

    /// Every guest filter.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn every_guest_filter(&mut self) -> std::result::Result<Vec<GuestFilter>, SystemError> {
        Ok(self.guest_filters_with_drops()?.into_iter().map(|(filter, _)| filter).collect())
    }

    /// Every guest filter, with the number of packets that it has dropped.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn guest_filters_with_drops(&mut self) -> std::result::Result<Vec<(GuestFilter, u64)>, SystemError> {
        self.firewall.guest_filters().map_err(SystemError::in_act("listing the guest filters"))
    }

    /// Notes the chains of others that drop what is forwarded, and the rules of ours for `devices` in any chain of others.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn observe_forwarding(&mut self, host: &mut Host, devices: &[InterfaceName]) -> std::result::Result<(), SystemError> {
        let failed = SystemError::in_act("looking for chains of the packet filter that drop what is forwarded");
        foreign::observe(&mut self.firewall, host, devices).map_err(|error| failed(error.to_string()))?;
        legacy::observe(host, devices).map_err(failed)
    }

    /// Every signed rule of ours in chains of others, whatever device it is for.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn signed_accepts(&mut self) -> std::result::Result<Vec<ForwardAccept>, SystemError> {
        let failed = SystemError::in_act("looking for our own rules in chains of the packet filter");
        let mut accepts = foreign::signed(&mut self.firewall).map_err(|error| failed(error.to_string()))?;
        accepts.extend(legacy::signed().map_err(failed)?);
        Ok(accepts)
    }

    /// Whether the chains of IP see what bridges pass on: br_netfilter is there, and its settings say so
    /// (Documentation/networking/ip-sysctl.rst).
    #[must_use]
    pub fn bridged_packets_in_chains() -> Switch {
        const SETTINGS: [&str; 2] =
            ["/proc/sys/net/bridge/bridge-nf-call-iptables", "/proc/sys/net/bridge/bridge-nf-call-ip6tables"];
        let is_on = |path: &&str| sysctl::read_at(path).is_ok_and(|value| value.is_some_and(|value| value.trim() != "0"));
        if SETTINGS.iter().any(is_on) { Switch::On } else { Switch::Off }
    }
}

fn own_table() -> Result<TableId> {
    Ok(TableId::new(nftables::Family::Inet, TABLE.parse()?))
}

fn set_of(family: Family) -> Result<SetId> {
    Ok(own_table()?.set(&Masquerade::set_name(family).parse()?))
}

fn element(device: &InterfaceName) -> Result<Element> {
    Ok(Element::new([Field::Exact(Value::Interface(name_of(device)?))]))
}

fn name_of(device: &InterfaceName) -> Result<nftables::InterfaceName> {
    Ok(device.as_str().parse()?)
}

fn device_of(element: &Element) -> Option<InterfaceName> {
    match element.key.as_slice() {
        [Field::Exact(Value::Interface(name))] => name.as_str().parse().ok(),
        _ => None,
    }
}

/// Our table, with `elements` in the set `filled`.
fn table_with(filled: &SetId, elements: Vec<Element>) -> Result<Table> {
    let mut table = Table::new(nftables::Family::Inet, TABLE.parse()?);
    let mut chain = Chain::base("postrouting".parse::<Name>()?, Base::nat(Hook::Postrouting));
    for (family, version) in [(Family::V4, IpVersion::V4), (Family::V6, IpVersion::V6)] {
        let mut set = Set::new(Masquerade::set_name(family).parse()?, [DataType::Interface]);
        chain.rules.push(Rule::new([
            Selector::IpVersion.is(Value::IpVersion(version)),
            Selector::Oifname.is_in(&set.name),
            Statement::Masquerade,
        ]));
        if set.name == filled.name {
            set.elements.clone_from(&elements);
        }
        table.sets.push(set);
    }
    table.chains.push(chain);
    Ok(table)
}
