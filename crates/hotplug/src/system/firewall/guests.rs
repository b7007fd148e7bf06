//! The guest filter's tables. A guest is found by its interface's name alone, at the same cost however many guests there are.

use std::collections::BTreeMap;
use std::time::Duration;

use ipnetwork::IpNetwork;
use nftables::{Batch, Connection, Element, ElementSeen, Family, Field, Ranges, SetId, Value};
use nix::errno::Errno;

use super::guest_tables::{self, Tables, There};
use super::{Firewall, FirewallError, Result};
use crate::guest_filter::{Damage, GuestFilter, GuestSet, IPV6_LENGTHS, Noted, Way, Wrong, address_of, ruleset};
use crate::interface_name::InterfaceName;

/// How often the kernel is asked again after somebody else changed what we had just looked at.
const ATTEMPTS: usize = 3;
/// The same where a guest would be left without a network.
const ATTEMPTS_TO_SET: usize = 100;
/// How long to wait for the kernel to sweep up elements that have ended; it does so once a second (`nft_set_gc_interval()`).
const SWEEP: Duration = Duration::from_millis(20);
/// How long an element lives that is to end. The kernel counts in its own ticks of 1 to 10 ms.
const END: Duration = Duration::from_millis(1);
/// How often the end of an old filter is looked for.
const END_CHECKS: usize = 100;

/// What may stand in the way of a guest's filter for a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle {
    /// Another run made the tables between our look and our change, or took them away with their last guest.
    Overtaken,
    /// The guest has come and gone many times within a second: the kernel takes no more than some 16 elements of one key, those that have
    /// ended included (`rhashtable_insert_rehash()`, lib/rhashtable.c).
    Litter,
}

impl Obstacle {
    fn of(error: &FirewallError) -> Option<Self> {
        match error {
            FirewallError::NfTables(error)
                if [Errno::EEXIST, Errno::ENOENT, Errno::ERESTART].iter().any(|errno| error.is(*errno)) =>
            {
                Some(Self::Overtaken)
            }
            FirewallError::NfTables(error) if error.is(Errno::EBUSY) => Some(Self::Litter),
            _ => None,
        }
    }
}

impl Firewall {
    /// The filter of an interface; nothing where it has none.
    pub fn guest_filter(&mut self, way: Way, device: &InterfaceName) -> Result<Option<GuestFilter>> {
        self.connection_if_any()?.map_or(Ok(None), |connection| guest_filter(connection, way, device))
    }

    /// The same, though somebody may have deleted one of its tables.
    pub fn guest_filter_left(&mut self, way: Way, device: &InterfaceName) -> Result<Option<GuestFilter>> {
        self.connection_if_any()?.map_or(Ok(None), |connection| filter_in_any_table(connection, way, device))
    }

    /// What is wrong with the tables of one way, as far as a glance at them and a look at each element of these filters tells.
    pub fn damage_beside(&mut self, way: Way, filters: &[GuestFilter]) -> Result<Option<Damage>> {
        let Some(connection) = self.connection_if_any()? else { return Ok(None) };
        match guest_tables::glance(connection, way)? {
            Tables::Damaged(damage) => return Ok(Some(damage)),
            Tables::Absent => return Ok(None),
            Tables::Whole => {}
        }
        for (family, filter) in way.families().iter().flat_map(|family| filters.iter().map(move |filter| (*family, filter))) {
            if let Some(set) = lacking(connection, family, filter)? {
                let table = format!("{family} {}", ruleset::TABLE);
                return Ok(Some(Damage { table, what: Wrong::Elements(set.word().to_owned()) }));
            }
        }
        Ok(None)
    }

    /// What is wrong with the tables, of which these are all the filters.
    pub fn guest_damage(&mut self, filters: &[GuestFilter]) -> Result<Vec<Damage>> {
        guest_tables::examine(self.connection()?, filters)
    }

    /// The name that the interface bears now which its driver called `device`, as far as a filter tells.
    pub fn new_name_of(&mut self, way: Way, device: &InterfaceName) -> Result<Option<InterfaceName>> {
        let Some(connection) = self.connection_if_any()? else { return Ok(None) };
        let Some(family) = way.families().first() else { return Ok(None) };
        let is_it = |seen: &ElementSeen| {
            let noted = seen.element.comment.as_ref().and_then(|comment| comment.as_str().parse::<Noted>().ok());
            noted.is_some_and(|noted| noted.renamed_from.as_ref() == Some(device))
        };
        let guests = list(connection, *family, GuestSet::Guests)?;
        Ok(guests.iter().find(|seen| is_it(seen)).and_then(|seen| device_of(&seen.element)))
    }

    /// Filters an interface, in place of whatever filter it has. The kernel changes from the one to the other in one instant.
    pub fn set_guest_filter(&mut self, filter: &GuestFilter) -> Result<()> {
        self.persist(|firewall| firewall.try_to_set(filter)).map_err(unfiltered)
    }

    /// The same, in tables that are made anew with this filter and all others that are in them.
    pub fn remake_guest_tables(&mut self, filter: &GuestFilter) -> Result<()> {
        self.persist(|firewall| firewall.try_to_remake(filter)).map_err(unfiltered)
    }

    /// Acts again while something stands in the way that will be gone in a moment.
    fn persist(&mut self, act: impl Fn(&mut Self) -> Result<()>) -> Result<()> {
        let mut result = act(self);
        for _ in 1..ATTEMPTS_TO_SET {
            match result.as_ref().err().and_then(Obstacle::of) {
                None => break,
                Some(Obstacle::Overtaken) => {}
                Some(Obstacle::Litter) => std::thread::sleep(SWEEP),
            }
            result = act(self);
        }
        result
    }

    /// The same, where nobody else can be at work.
    pub fn try_to_set(&mut self, filter: &GuestFilter) -> Result<()> {
        let connection = self.connection()?;
        let seen = guest_filter(connection, filter.way, &filter.device)?;
        let mut batch = Batch::new();
        match (&seen, guest_tables::are_there(connection, filter.way)?) {
            (_, There::None) => make_tables(&mut batch, filter.way, std::slice::from_ref(filter), &[])?,
            (None, There::Some) => put_in(&mut batch, filter.way, &filter.elements()?)?,
            (Some(seen), There::Some) => {
                let mut old = elements_that_differ(seen, filter)?;
                if seen.mac != filter.mac {
                    old.extend(announcements(connection, seen)?);
                    old.sort();
                }
                take_out_what_is_there(connection, &mut batch, filter.way, &old)?;
                // Those that stay too: somebody may have taken one out.
                put_in(&mut batch, filter.way, &filter.elements()?)?;
            }
        }
        connection.send(&batch)?;
        if seen.is_some() {
            self.close_elsewhere();
        }
        Ok(())
    }

    /// The kernel refuses where anything has changed since the look.
    fn try_to_remake(&mut self, filter: &GuestFilter) -> Result<()> {
        let connection = self.connection()?;
        let generation = connection.generation()?;
        let others = filters_of(connection, filter.way)?.into_iter().map(|(seen, _)| seen);
        let mut filters: Vec<GuestFilter> = others.filter(|seen| seen.device != filter.device).collect();
        filters.push(filter.clone());
        let mut batch = Batch::new();
        batch.only_in(generation);
        replace_tables(connection, &mut batch, filter.way, &filters)?;
        connection.send(&batch)?;
        self.close_elsewhere();
        Ok(())
    }

    /// Takes the filter of an interface away; the tables go with the last one.
    pub fn delete_guest_filter(&mut self, way: Way, device: &InterfaceName) -> Result<()> {
        let seen = filter_in_any_table(self.connection()?, way, device)?.ok_or(FirewallError::Absent)?;
        match self.try_to_delete(&seen) {
            // Somebody has deleted a table, a set or an element by hand. What is left goes all the same.
            Err(FirewallError::NfTables(error)) if error.is(Errno::ENOENT) => self.delete_what_is_there(&seen),
            result => result,
        }
    }

    fn try_to_delete(&mut self, seen: &GuestFilter) -> Result<()> {
        let connection = self.connection()?;
        if delete_tables_of_the_last(connection, seen, seen.way.families())? {
            self.close_elsewhere();
            return Ok(());
        }
        let elements = all_elements(connection, seen)?;
        if !let_end(connection, seen, &elements)? {
            let mut batch = Batch::new();
            take_out(&mut batch, seen.way, &elements)?;
            connection.send(&batch)?;
            self.close_elsewhere();
        }
        Ok(())
    }

    fn delete_what_is_there(&mut self, seen: &GuestFilter) -> Result<()> {
        let connection = self.connection()?;
        let mut there = vec![];
        for family in seen.way.families() {
            there.extend(none_if_unknown(connection.table(&ruleset::table_id(*family)?))?.map(|_| *family));
        }
        if !delete_tables_of_the_last(connection, seen, &there)? {
            let elements = all_elements(connection, seen)?;
            let mut batch = Batch::new();
            take_out_what_is_there(connection, &mut batch, seen.way, &elements)?;
            connection.send(&batch)?;
        }
        self.close_elsewhere();
        Ok(())
    }

    /// All filters, with the number of packets that each has dropped.
    pub fn guest_filters(&mut self) -> Result<Vec<(GuestFilter, u64)>> {
        let connection = self.connection()?;
        let mut filters = filters_of(connection, Way::Bridged)?;
        filters.extend(filters_of(connection, Way::Routed)?);
        self.listed = filters.iter().map(|(filter, _)| filter.clone()).collect();
        Ok(filters)
    }

    /// Puts these filters in place of all there are, in one instant. A filter that has come since they were last listed is kept.
    pub fn replace_guest_filters(&mut self, filters: &[GuestFilter]) -> Result<()> {
        self.persist(|firewall| firewall.try_to_replace(filters))
    }

    fn try_to_replace(&mut self, filters: &[GuestFilter]) -> Result<()> {
        let connection = self.connection.get_or_open()?;
        let generation = connection.generation()?;
        let mut batch = Batch::new();
        batch.only_in(generation);
        for way in [Way::Bridged, Way::Routed] {
            let came: Vec<GuestFilter> =
                filters_of(connection, way)?.into_iter().map(|(seen, _)| seen).filter(|seen| !self.listed.contains(seen)).collect();
            let stays = |filter: &&GuestFilter| filter.way == way && !came.iter().any(|seen| seen.device == filter.device);
            let of_way: Vec<GuestFilter> = filters.iter().filter(stays).chain(&came).cloned().collect();
            replace_tables(connection, &mut batch, way, &of_way)?;
        }
        connection.send(&batch)?;
        self.close_elsewhere();
        Ok(())
    }

    /// Closes the connection without waiting for the kernel to free what was deleted.
    fn close_elsewhere(&mut self) {
        if let Some(connection) = self.connection.take() {
            super::super::release::in_child(connection);
        }
    }
}

fn device_of(element: &Element) -> Option<InterfaceName> {
    match element.key.first() {
        Some(Field::Exact(Value::Interface(name))) => name.as_str().parse().ok(),
        _ => None,
    }
}

pub(super) fn set_of(family: Family, set: GuestSet) -> Result<SetId> {
    Ok(ruleset::table_id(family)?.set(&set.name()?))
}

fn key_of(device: &InterfaceName) -> Result<Element> {
    Ok(Element::new([Field::Exact(Value::Interface(device.as_str().parse()?))]))
}

/// A kernel without nf_tables, or without it for bridges, holds nothing of ours.
pub(super) fn none_if_unknown<T>(result: std::result::Result<Option<T>, nftables::Error>) -> Result<Option<T>> {
    match result {
        Err(error) if [Errno::EOPNOTSUPP, Errno::EINVAL, Errno::EAFNOSUPPORT].iter().any(|errno| error.is(*errno)) => Ok(None),
        result => Ok(result?),
    }
}

fn list(connection: &mut Connection, family: Family, set: GuestSet) -> Result<Vec<ElementSeen>> {
    let elements = connection.elements(&set_of(family, set)?, set.key(), Ranges::None);
    Ok(none_if_unknown(elements)?.unwrap_or_default())
}

/// Whether an element is about to end, as those of a guest are that has just gone.
pub(super) fn is_ending(seen: &ElementSeen) -> bool {
    seen.expires.is_some()
}

fn is_there(connection: &mut Connection, family: Family, set: GuestSet, element: &Element) -> Result<bool> {
    Ok(none_if_unknown(connection.element(&set_of(family, set)?, element))?.is_some())
}

/// A set that lacks an element of this filter.
fn lacking(connection: &mut Connection, family: Family, filter: &GuestFilter) -> Result<Option<GuestSet>> {
    for (set, element) in filter.elements()?.iter().filter(|(set, _)| set.is_in(family)) {
        if !is_there(connection, family, *set, element)? {
            return Ok(Some(*set));
        }
    }
    Ok(None)
}

/// A guest that cannot be filtered is told how to come in all the same.
fn unfiltered(error: FirewallError) -> FirewallError {
    match error {
        FirewallError::NfTables(error) => FirewallError::Unfiltered(error),
        other => other,
    }
}

/// The filters of one way, with the number of packets that each has dropped. Where one of its tables is gone, the other one tells.
fn filters_of(connection: &mut Connection, way: Way) -> Result<Vec<(GuestFilter, u64)>> {
    let mut guests: BTreeMap<InterfaceName, Element> = BTreeMap::new();
    let mut drops: BTreeMap<InterfaceName, u64> = BTreeMap::new();
    for family in way.families() {
        for seen in list(connection, *family, GuestSet::Guests)?.into_iter().filter(|seen| !is_ending(seen)) {
            let Some(device) = device_of(&seen.element) else { continue };
            guests.entry(device).or_insert(seen.element);
        }
        for seen in list(connection, *family, GuestSet::Dropped)? {
            let (Some(device), Some(traffic)) = (device_of(&seen.element), seen.traffic) else { continue };
            *drops.entry(device).or_default() += traffic.packets;
        }
    }
    let mut filters = vec![];
    for (device, element) in guests {
        let count = drops.get(&device).copied().unwrap_or_default();
        filters.extend(understood(connection, way, &device, &element)?.map(|filter| (filter, count)));
    }
    Ok(filters)
}

/// The filter of an interface, though the table that is asked first may be gone.
fn filter_in_any_table(connection: &mut Connection, way: Way, device: &InterfaceName) -> Result<Option<GuestFilter>> {
    for family in way.families() {
        if let Some(filter) = filter_in(connection, way, *family, device)? {
            return Ok(Some(filter));
        }
    }
    Ok(None)
}

/// The filter of an interface. One that is about to end does not count, and is waited for: what is put in beside it would end with it.
fn guest_filter(connection: &mut Connection, way: Way, device: &InterfaceName) -> Result<Option<GuestFilter>> {
    let Some(family) = way.families().first() else { return Ok(None) };
    filter_in(connection, way, *family, device)
}

fn filter_in(connection: &mut Connection, way: Way, family: Family, device: &InterfaceName) -> Result<Option<GuestFilter>> {
    let (set, key) = (set_of(family, GuestSet::Guests)?, key_of(device)?);
    for _ in 0..END_CHECKS {
        match none_if_unknown(connection.element(&set, &key))? {
            None => return Ok(None),
            Some(seen) if seen.expires.is_some() => std::thread::sleep(END),
            Some(seen) => return understood(connection, way, device, &seen.element),
        }
    }
    Err(nftables::Error::Broken(format!("the old filter of {device} does not end")).into())
}

/// What the comment of an interface's element tells. Where it is none of ours, or does not tell the addresses, they are looked for.
fn understood(connection: &mut Connection, way: Way, device: &InterfaceName, element: &Element) -> Result<Option<GuestFilter>> {
    let Some(noted) = element.comment.as_ref().and_then(|comment| comment.as_str().parse::<Noted>().ok()) else {
        return Ok(None);
    };
    let Noted { mac, strictness, tags, renamed_from, addresses } = noted;
    let mut filter = GuestFilter { device: device.clone(), renamed_from, way, mac, strictness, tags, addresses: vec![] };
    filter.addresses = match addresses {
        Some(addresses) => addresses,
        None => addresses_of(connection, &filter)?,
    };
    Ok(Some(filter))
}

fn addresses_of(connection: &mut Connection, filter: &GuestFilter) -> Result<Vec<IpNetwork>> {
    let Some(family) = filter.way.families().first() else { return Ok(vec![]) };
    let own = IpNetwork::from(std::net::IpAddr::from(filter.link_local()));
    let mut addresses = vec![];
    let networks6 = IPV6_LENGTHS.map(GuestSet::Networks6);
    for set in [GuestSet::Ip4, GuestSet::Networks4, GuestSet::Ip6].into_iter().chain(networks6) {
        let seen = list(connection, *family, set)?;
        let of_device = seen.iter().filter(|seen| device_of(&seen.element).as_ref() == Some(&filter.device));
        addresses.extend(of_device.filter_map(|seen| address_of(set, &seen.element)).filter(|address| *address != own));
    }
    Ok(addresses)
}

/// The elements of `one` that `other` has not, or has with another comment.
fn elements_that_differ(one: &GuestFilter, other: &GuestFilter) -> Result<Vec<(GuestSet, Element)>> {
    let theirs = other.elements()?;
    Ok(one.elements()?.into_iter().filter(|element| !theirs.contains(element)).collect())
}

/// Takes out those of the elements that are there, table by table: a deletion of what is not there fails.
fn take_out_what_is_there(
    connection: &mut Connection,
    batch: &mut Batch,
    way: Way,
    elements: &[(GuestSet, Element)],
) -> Result<()> {
    each_set(way, elements, |set, elements| {
        for element in elements {
            if none_if_unknown(connection.element(&set, &element))?.is_some() {
                batch.delete_elements(set.clone(), Ranges::None, vec![element]);
            }
        }
        Ok(())
    })
}

fn put_in(batch: &mut Batch, way: Way, elements: &[(GuestSet, Element)]) -> Result<()> {
    each_set(way, elements, |set, elements| {
        batch.add_elements(set, Ranges::None, elements);
        Ok(())
    })
}

fn take_out(batch: &mut Batch, way: Way, elements: &[(GuestSet, Element)]) -> Result<()> {
    each_set(way, elements, |set, elements| {
        batch.delete_elements(set, Ranges::None, elements);
        Ok(())
    })
}

/// Hands on the elements set by set, for every table that has them, the one that the interface is found by last. They are in the order of
/// their sets.
fn each_set(way: Way, elements: &[(GuestSet, Element)], mut act: impl FnMut(SetId, Vec<Element>) -> Result<()>) -> Result<()> {
    for family in way.families().iter().rev() {
        let table = ruleset::table_id(*family)?;
        for of_set in elements.chunk_by(|(one, _), (other, _)| one == other).rev() {
            if let Some((set, _)) = of_set.first().filter(|(set, _)| set.is_in(*family)) {
                act(table.set(&set.name()?), of_set.iter().map(|(_, element)| element.clone()).collect())?;
            }
        }
    }
    Ok(())
}

/// Has the elements end by themselves, and says whether they do. From Linux 6.12 on, adding an element again gives it a new end; that costs
/// no more than adding it did, where a deletion has everybody wait who closes a socket to nf_tables. Older kernels pass over it.
fn let_end(connection: &mut Connection, filter: &GuestFilter, elements: &[(GuestSet, Element)]) -> Result<bool> {
    let Some(family) = filter.way.families().first() else { return Ok(false) };
    let ending: Vec<_> = elements.iter().map(|(set, element)| (*set, element.clone().with_timeout(END))).collect();
    let mut batch = Batch::new();
    put_in(&mut batch, filter.way, &ending)?;
    connection.send(&batch)?;
    let (set, key) = (set_of(*family, GuestSet::Guests)?, key_of(&filter.device)?);
    // Not waited for: it ends with the kernel's next tick, and whoever comes back to this interface waits for that (see `guest_filter`).
    Ok(connection.element(&set, &key)?.is_none_or(|seen| seen.expires.is_some()))
}

/// All that is in the tables for a guest.
fn all_elements(connection: &mut Connection, filter: &GuestFilter) -> Result<Vec<(GuestSet, Element)>> {
    let mut elements = filter.elements()?;
    elements.extend(announcements(connection, filter)?);
    elements.sort();
    Ok(elements)
}

/// What packets of this guest have put into our sets, which only a guest that has announced an address has. An address that it has announced by
/// another interface as well stays its own.
fn announcements(connection: &mut Connection, filter: &GuestFilter) -> Result<Vec<(GuestSet, Element)>> {
    let Some(family) = filter.way.families().first() else { return Ok(vec![]) };
    let key = key_of(&filter.device)?;
    if none_if_unknown(connection.element(&set_of(*family, GuestSet::Announcers)?, &key))?.is_none() {
        return Ok(vec![]);
    }
    let mut elements = vec![(GuestSet::Announcers, key)];
    let all = list(connection, *family, GuestSet::Announced)?;
    let is_own = |element: &Element| device_of(element).as_ref() == Some(&filter.device);
    for element in all.iter().map(|seen| &seen.element).filter(|element| is_own(element)) {
        elements.push((GuestSet::Announced, Element::new(element.key.iter().cloned())));
        let [_, owner @ ..] = element.key.as_slice() else { continue };
        let elsewhere = all.iter().any(|other| !is_own(&other.element) && other.element.key.ends_with(owner));
        if GuestSet::Claimed.is_in(*family) && !elsewhere {
            elements.extend(owner.last().map(|address| (GuestSet::Claimed, Element::new([address.clone()]))));
            elements.push((GuestSet::Owned, Element::new(owner.iter().cloned())));
        }
    }
    Ok(elements)
}

/// What packets have put into our sets for these guests, to be put into new ones.
fn carried_over(connection: &mut Connection, way: Way, filters: &[GuestFilter]) -> Result<Vec<(GuestSet, Element)>> {
    let Some(family) = way.families().first() else { return Ok(vec![]) };
    let mut elements = vec![];
    let announced = list(connection, *family, GuestSet::Announced)?.into_iter().map(|seen| seen.element);
    for element in announced.filter(|element| filters.iter().any(|filter| device_of(element).as_ref() == Some(&filter.device))) {
        if let [device, owner @ ..] = element.key.as_slice() {
            elements.push((GuestSet::Announcers, Element::new([device.clone()]).with_limit(ruleset::ANNOUNCEMENTS)));
            elements.push((GuestSet::Owned, Element::new(owner.iter().cloned())));
            let claimed = owner.last().map(|address| Element::new([address.clone()]).with_limit(ruleset::CLAIMS));
            elements.extend(claimed.map(|element| (GuestSet::Claimed, element)));
        }
        elements.push((GuestSet::Announced, Element::new(element.key)));
    }
    if GuestSet::Defended.is_in(*family) {
        let defended = list(connection, *family, GuestSet::Defended)?.into_iter();
        let still = defended.filter_map(|seen| Some(Element::new(seen.element.key).with_timeout(seen.expires?)));
        elements.extend(still.map(|element| (GuestSet::Defended, element)));
    }
    Ok(elements)
}

/// Makes the tables of one way with these filters, and what their guests have announced, in place of those that are there.
fn replace_tables(connection: &mut Connection, batch: &mut Batch, way: Way, filters: &[GuestFilter]) -> Result<()> {
    let announced = carried_over(connection, way, filters)?;
    for family in way.families() {
        // Looked for first: a deletion costs a wait, also of what is not there.
        if none_if_unknown(connection.table(&ruleset::table_id(*family)?))?.is_some() {
            batch.delete_table(ruleset::table_id(*family)?);
        }
    }
    if filters.is_empty() { Ok(()) } else { make_tables(batch, way, filters, &announced) }
}

fn make_tables(batch: &mut Batch, way: Way, filters: &[GuestFilter], announced: &[(GuestSet, Element)]) -> Result<()> {
    let mut elements = announced.to_vec();
    for filter in filters {
        elements.extend(filter.elements()?);
    }
    // Guests with one Ethernet address have one link-local address.
    elements.sort();
    elements.dedup();
    for family in way.families() {
        let mut table = ruleset::table(*family)?;
        for (set, made) in GuestSet::ALL.into_iter().filter(|set| set.is_in(*family)).zip(&mut table.sets) {
            made.elements = elements.iter().filter(|(of, _)| *of == set).map(|(_, element)| element.clone()).collect();
        }
        batch.create_table(table);
    }
    Ok(())
}

/// Whether a set tells of another guest than this one. The first of a long list are enough, unless all of them are about to end.
fn has_others(connection: &mut Connection, guests: &SetId, device: &InterfaceName) -> Result<bool> {
    let is_other = |seen: &ElementSeen| device_of(&seen.element).as_ref() != Some(device);
    let stays = |seen: &ElementSeen| is_other(seen) && !is_ending(seen);
    let some = connection.some_elements(guests, GuestSet::Guests.key(), Ranges::None)?;
    if some.iter().any(stays) || !some.iter().any(is_other) {
        return Ok(some.iter().any(stays));
    }
    let all = connection.elements(guests, GuestSet::Guests.key(), Ranges::None)?;
    Ok(all.unwrap_or_default().iter().any(stays))
}

/// Deletes the tables of these families if `last` is the only guest in them, and says whether it was. The kernel refuses where anything has
/// changed since the look, so that no guest loses its filter who got it in between.
fn delete_tables_of_the_last(connection: &mut Connection, last: &GuestFilter, families: &[Family]) -> Result<bool> {
    for _ in 0..ATTEMPTS {
        let generation = connection.generation()?;
        let mut batch = Batch::new();
        batch.only_in(generation);
        for (place, family) in families.iter().enumerate() {
            // All tables of a way have the same guests, unless one of them is gone.
            if place == 0 || families.len() < last.way.families().len() {
                let guests = set_of(*family, GuestSet::Guests)?;
                if has_others(connection, &guests, &last.device)? {
                    return Ok(false);
                }
            }
            batch.delete_table(ruleset::table_id(*family)?);
        }
        match connection.send(&batch) {
            Err(error) if error.is(Errno::ERESTART) => {}
            Err(error) => return Err(error.into()),
            Ok(()) => return Ok(true),
        }
    }
    // The tables stay, empty: better than a guest without its filter.
    Ok(false)
}
