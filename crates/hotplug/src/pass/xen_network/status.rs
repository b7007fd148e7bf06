//! `xen-network status`

use super::style;
use crate::inspect::{dot, tree};
use crate::invocation::{Format, Invocation};
use crate::plan::Refusal;
use crate::program::Flag;
use crate::report::{Report, Trouble};
use crate::system::System;
use crate::system::guests::Detail;

/// Prints what there is.
pub(super) fn status(invocation: &Invocation, system: &mut System) -> Result<Report, Trouble> {
    let picture = invocation.has(Flag::Dot);
    if picture && invocation.format() == Format::Json {
        return Err(Refusal::plain("--json and --dot together: say one of them").into());
    }
    let detail = match (picture, invocation.format()) {
        (false, Format::Text) => Detail::Shown,
        (true, _) | (false, Format::Json) => Detail::Whole,
    };
    let seen = system.survey(detail)?;
    Ok(Report::printed(match (picture, invocation.format()) {
        (true, _) => dot::picture(&seen),
        (false, Format::Text) => tree::text(&seen, style()),
        (false, Format::Json) => format!("{:#}\n", serde_json::json!(seen)),
    }))
}
