//! Holding a guest to its own addresses: before its interface is up, and until it is gone.

use crate::guest_filter::{Damage, GuestFilter, Way};
use crate::interface_name::InterfaceName;
use crate::operation::{Operation, Unfilter};
use crate::plan::draft::Draft;
use crate::request::vif::Vif;

/// The guest behind `name` is held to `filter`, or to nothing. An interface that bears a new name leaves no filter under the old one, and
/// one that comes in this way none of the other way.
pub(super) fn enforce(draft: &mut Draft, vif: &Vif, name: &InterfaceName, way: Way, filter: Option<GuestFilter>) {
    for other in vif.names().filter(|other| *other != name) {
        forget_name(draft, vif, other, way);
    }
    let seen = draft.host.guest_filter(way, name).cloned();
    match (filter, seen) {
        (Some(filter), Some(seen)) if seen.same_rules(&filter) && draft.host.guest_damage.is_empty() => {}
        (Some(filter), _) => {
            let operation = holding(filter, &draft.host.guest_damage);
            if let Operation::RemakeGuestTables(_) = operation {
                let changed = draft.host.guest_damage.iter().map(|damage| format!("{damage}: somebody has changed it"));
                draft.plan.notes.extend(changed);
            }
            draft.must(operation);
        }
        (None, Some(filter)) => draft.must(Operation::DeleteGuestFilter { filter, when: Unfilter::Now }),
        (None, None) => {}
    }
    // It was another program's before, without an offline in between.
    for other in vif.names() {
        if let Some(filter) = draft.host.guest_filter(way.other(), other).cloned() {
            draft.may(Operation::DeleteGuestFilter { filter, when: Unfilter::Now });
        }
    }
}

/// What holds a guest to `filter`, where this is wrong with the tables. Nothing is built upon rules that somebody has changed; elements that are
/// missing come again with the others.
#[must_use]
pub fn holding(filter: GuestFilter, damage: &[Damage]) -> Operation {
    match damage.iter().any(Damage::is_of_rules) {
        true => Operation::RemakeGuestTables(filter),
        false => Operation::SetGuestFilter(filter),
    }
}

/// No filter stays behind where the interface has gone.
pub(super) fn forget(draft: &mut Draft, vif: &Vif, way: Way) {
    for name in vif.names() {
        forget_name(draft, vif, name, way);
    }
}

/// Another guest's `vifname` may be what the driver called this one's interface: that filter stays.
fn forget_name(draft: &mut Draft, vif: &Vif, name: &InterfaceName, way: Way) {
    let is_of = |filter: &&GuestFilter| filter.renamed_from.as_ref().is_none_or(|driver| *driver == vif.device);
    if let Some(filter) = draft.host.guest_filter(way, name).filter(is_of).cloned() {
        draft.may(Operation::DeleteGuestFilter { filter, when: Unfilter::OnceUnplugged });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest_filter::{Strictness, Tags, Wrong};

    #[test]
    fn tables_are_made_anew_where_more_than_elements_is_wrong() {
        let filter = GuestFilter {
            device: "vif1.0".parse().unwrap(),
            renamed_from: None,
            way: Way::Bridged,
            mac: "00:16:3e:01:02:03".parse().unwrap(),
            strictness: Strictness::Strict,
            tags: Tags::Refused,
            addresses: vec![],
        };
        let damage = |what: &Wrong| Damage { table: "bridge xen-guests".to_owned(), what: what.clone() };
        let held = |wrong: &[Wrong]| holding(filter.clone(), &wrong.iter().map(damage).collect::<Vec<_>>());
        let elements = Wrong::Elements("macs".to_owned());
        assert_eq!(held(&[]), Operation::SetGuestFilter(filter.clone()));
        assert_eq!(held(std::slice::from_ref(&elements)), Operation::SetGuestFilter(filter.clone()));
        for wrong in [Wrong::Missing, Wrong::Asleep, Wrong::Rules, Wrong::Chain("refused".to_owned())] {
            assert_eq!(held(&[elements.clone(), wrong]), Operation::RemakeGuestTables(filter.clone()));
        }
    }
}
