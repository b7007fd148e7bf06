//! Holding a guest to its own addresses: before its interface is up, and until it is gone.

use crate::guest_filter::{GuestFilter, Way};
use crate::interface_name::InterfaceName;
use crate::operation::{Operation, Unfilter};
use crate::plan::draft::Draft;
use crate::request::vif::Vif;

/// The guest behind `name` is held to `filter`, or to nothing. An interface that bears a new name leaves no filter under the old one, and
/// one that comes in this way none of the other way.
pub(super) fn enforce(draft: &mut Draft, vif: &Vif, name: &InterfaceName, way: Way, filter: Option<GuestFilter>) {
    for other in vif.names().filter(|other| *other != name) {
        forget_name(draft, other, way);
    }
    let seen = draft.host.guest_filter(way, name).cloned();
    match (filter, seen) {
        (Some(filter), Some(seen)) if seen.same_rules(&filter) && draft.host.guest_damage.is_empty() => {}
        (Some(filter), _) => draft.must(Operation::SetGuestFilter(filter)),
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

/// No filter stays behind where the interface has gone.
pub(super) fn forget(draft: &mut Draft, vif: &Vif, way: Way) {
    for name in vif.names() {
        forget_name(draft, name, way);
    }
}

fn forget_name(draft: &mut Draft, name: &InterfaceName, way: Way) {
    if let Some(filter) = draft.host.guest_filter(way, name).cloned() {
        draft.may(Operation::DeleteGuestFilter { filter, when: Unfilter::OnceUnplugged });
    }
}
