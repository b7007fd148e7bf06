//! Whether the guest filter's tables are as we made them. Somebody may have flushed a chain, put a table to sleep, or taken out a rule or an
//! element by hand; then guests are open, though their entries are there.

use std::collections::{BTreeMap, BTreeSet};

use nftables::{Activity, Connection, Element, Family, Ranges};

use super::Result;
use super::guests::{is_ending, none_if_unknown, set_of};
use crate::guest_filter::{Damage, GuestFilter, GuestSet, Way, Wrong, ruleset};

/// What a glance at the tables of one way tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tables {
    /// None is there.
    Absent,
    /// They are there, and nothing has come or gone since we made them but guests.
    Whole,
    /// Something has.
    Damaged(Damage),
}

/// Whether there are tables to put a guest into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum There {
    /// None.
    None,
    /// There are. Whether they are whole was looked at before.
    Some,
}

/// One question for each table.
pub(super) fn are_there(connection: &mut Connection, way: Way) -> Result<There> {
    for family in way.families() {
        if none_if_unknown(connection.table(&ruleset::table_id(*family)?))?.is_some() {
            return Ok(There::Some);
        }
    }
    Ok(There::None)
}

fn damage(family: Family, what: Wrong) -> Damage {
    Damage { table: format!("{family} {}", ruleset::TABLE), what }
}

/// Two questions for each table: its own numbers, and those of its chains.
pub(super) fn glance(connection: &mut Connection, way: Way) -> Result<Tables> {
    let mut missing = vec![];
    let mut first = None;
    for family in way.families() {
        match glance_at(connection, *family)? {
            Tables::Absent => missing.push(*family),
            Tables::Whole => {}
            Tables::Damaged(damage) => first = first.or(Some(damage)),
        }
    }
    Ok(match (first, missing.as_slice()) {
        (Some(damage), _) => Tables::Damaged(damage),
        (None, []) => Tables::Whole,
        (None, all) if all.len() == way.families().len() => Tables::Absent,
        (None, [family, ..]) => Tables::Damaged(damage(*family, Wrong::Missing)),
    })
}

fn glance_at(connection: &mut Connection, family: Family) -> Result<Tables> {
    let id = ruleset::table_id(family)?;
    let Some(table) = none_if_unknown(connection.table(&id))? else { return Ok(Tables::Absent) };
    let expected = ruleset::tally(family);
    if table.activity == Activity::Dormant {
        return Ok(Tables::Damaged(damage(family, Wrong::Asleep)));
    }
    if table.parts == expected.parts && connection.uses_of_chains(&id)? == expected.uses {
        return Ok(Tables::Whole);
    }
    Ok(Tables::Damaged(damage(family, Wrong::Rules)))
}

/// All that is wrong with the tables, of which these are all the filters: every rule and every element is looked at.
pub(super) fn examine(connection: &mut Connection, filters: &[GuestFilter]) -> Result<Vec<Damage>> {
    let mut found = vec![];
    for way in [Way::Bridged, Way::Routed] {
        let of_way: Vec<&GuestFilter> = filters.iter().filter(|filter| filter.way == way).collect();
        for family in way.families() {
            examine_table(connection, *family, &of_way, &mut found)?;
        }
    }
    Ok(found)
}

fn examine_table(connection: &mut Connection, family: Family, filters: &[&GuestFilter], found: &mut Vec<Damage>) -> Result<()> {
    let id = ruleset::table_id(family)?;
    let Some(seen) = none_if_unknown(connection.table(&id))? else {
        found.extend((!filters.is_empty()).then(|| damage(family, Wrong::Missing)));
        return Ok(());
    };
    found.extend((seen.activity == Activity::Dormant).then(|| damage(family, Wrong::Asleep)));
    let table = ruleset::table(family)?;
    let rules = connection.rules_of_table(&id)?;
    for chain in &table.chains {
        let seen = rules.get(&chain.name).map_or(&[][..], Vec::as_slice);
        let mut same = seen.len() == chain.rules.len();
        for (seen, rule) in seen.iter().zip(&chain.rules) {
            same = same && seen.does_the_same(family, rule)?;
        }
        found.extend((!same).then(|| damage(family, Wrong::Chain(chain.name.to_string()))));
    }
    // A base chain without its hook, a policy: whatever is not in the rules.
    let chains = connection.chains()?;
    let same = |chain: &nftables::Chain| {
        let of_name = chains.iter().find(|seen| seen.id.table == id && seen.id.name == chain.name);
        of_name.is_some_and(|seen| match (&seen.base, &chain.base) {
            (None, None) => true,
            (Some(seen), Some(base)) => {
                (seen.hook, seen.priority, seen.policy, seen.kind) == (Some(base.hook), base.priority, base.policy, Some(base.kind))
            }
            _ => false,
        })
    };
    let odd = seen.parts != ruleset::tally(family).parts || !table.chains.iter().all(same);
    found.extend(odd.then(|| damage(family, Wrong::Rules)));
    examine_elements(connection, family, filters, found)
}

fn examine_elements(connection: &mut Connection, family: Family, filters: &[&GuestFilter], found: &mut Vec<Damage>) -> Result<()> {
    let mut expected: BTreeMap<GuestSet, BTreeSet<Element>> = BTreeMap::new();
    for filter in filters {
        for (set, element) in filter.elements()? {
            expected.entry(set).or_default().insert(Element { comment: None, ..element });
        }
    }
    for set in GuestSet::ALL.into_iter().filter(|set| set.is_in(family) && !set.is_filled_by_packets()) {
        let listed = none_if_unknown(connection.elements(&set_of(family, set)?, set.key(), Ranges::None))?.unwrap_or_default();
        let seen: BTreeSet<Element> =
            listed.into_iter().filter(|seen| !is_ending(seen)).map(|seen| Element::new(seen.element.key)).collect();
        let wrong = seen != expected.remove(&set).unwrap_or_default();
        found.extend(wrong.then(|| damage(family, Wrong::Elements(set.word().to_owned()))));
    }
    Ok(())
}
