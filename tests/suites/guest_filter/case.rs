//! A case: a frame or two, where they make sense, and who stops them.

use testbed::frame::{Frame, Marker};

use crate::cast::Cast;
use crate::stage::{Mode, Policy};

/// What a guest may or may not send.
pub struct Case {
    pub name: &'static str,
    /// The first policy that stops it; the stricter ones do, too.
    pub stopped_by: StoppedBy,
    /// Where it would arrive if nobody filtered. Elsewhere the kernel itself knows better: it takes no martian sources into its routing,
    /// for example.
    pub modes: &'static [Mode],
    /// Its frames. Those that carry the marker decide.
    pub frames: fn(Cast, Marker) -> Vec<Frame>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoppedBy {
    /// `antispoof=ip` and `antispoof=strict`.
    Ip,
    /// `antispoof=strict` only.
    Strict,
    /// Nobody: it is legal.
    Nobody,
}

impl Case {
    /// The same where every filter stops it.
    pub fn stopped(&self) -> Self {
        Self { stopped_by: StoppedBy::Ip, ..*self }
    }

    /// Whether a policy stops it.
    pub fn is_stopped(&self, policy: Policy) -> bool {
        match self.stopped_by {
            StoppedBy::Ip => policy != Policy::No,
            StoppedBy::Strict => policy == Policy::Strict,
            StoppedBy::Nobody => false,
        }
    }
}

pub const EVERYWHERE: &[Mode] = &[Mode::Bridge, Mode::Route, Mode::Nat];
pub const BRIDGED: &[Mode] = &[Mode::Bridge];
pub const ROUTED: &[Mode] = &[Mode::Route, Mode::Nat];
/// Where `ip=` takes networks.
pub const WITH_NETWORKS: &[Mode] = &[Mode::Bridge, Mode::Route];

/// Makes a table of cases: who stops it, where it makes sense, its name, and its frames.
macro_rules! table {
    ($name:ident: $($stopped_by:ident $modes:ident $what:literal |$cast:pat_param, $marker:ident| $frames:expr;)*) => {
        pub const $name: &[crate::case::Case] = &[$(crate::case::Case {
            name: $what,
            stopped_by: crate::case::StoppedBy::$stopped_by,
            modes: crate::case::$modes,
            frames: |$cast, $marker| $frames,
        }),*];
    };
}
pub(crate) use table;
