//! How long a whole call may wait for others: the toolstack kills a vif program after 40 s (libxl, `LIBXL_HOTPLUG_TIMEOUT`), and nothing
//! that is half done is then taken back, nor is anybody told why.
//!
//! Each wait has a limit of its own. Where several neighbours are slow at once, these limits would add up to more; so each of them also
//! ends with the call's.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// What all waits of a call of a vif program may take together. What is then still to be done gets one second for each wait, so that the
/// call can be taken back and the toolstack told, in good time before the 40 s.
pub const OF_A_VIF: Duration = Duration::from_secs(25);
/// The least that a wait is given: a neighbour that lives answers in much less.
const AT_LEAST: Duration = Duration::from_secs(1);

/// When the call's patience ends; nothing where it has no such limit.
static END: OnceLock<Instant> = OnceLock::new();

/// Bounds all waits of this process that begin from now on. Only the first call counts.
pub fn begin(whole: Duration) {
    if let Some(end) = Instant::now().checked_add(whole) {
        let _ = END.set(end);
    }
}

/// `limit`, or what is left of the call's patience where that is less.
#[must_use]
pub(super) fn within(limit: Duration) -> Duration {
    END.get().map_or(limit, |end| shortest(limit, end.saturating_duration_since(Instant::now())))
}

fn shortest(limit: Duration, left: Duration) -> Duration {
    limit.min(left.max(AT_LEAST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_limit_counts_and_something_is_always_left() {
        let seconds = Duration::from_secs;
        for (limit, left, given) in [(5, 20, 5), (20, 5, 5), (20, 0, 1), (1, 0, 1)] {
            assert_eq!(shortest(seconds(limit), seconds(left)), seconds(given), "{limit} {left}");
        }
        assert_eq!(shortest(Duration::from_millis(300), seconds(0)), Duration::from_millis(300));
    }
}
