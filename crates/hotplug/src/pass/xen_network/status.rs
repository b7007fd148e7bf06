//! `xen-network status`

use super::style;
use crate::inspect::{dot, tree};
use crate::invocation::{Format, Invocation};
use crate::plan::Refusal;
use crate::program::Flag;
use crate::report::{Report, Trouble};
use crate::system::System;

/// Prints what there is.
pub(super) fn status(invocation: &Invocation, system: &mut System) -> Result<Report, Trouble> {
    let picture = invocation.has(Flag::Dot);
    if picture && invocation.format() == Format::Json {
        return Err(Refusal::plain("--json and --dot together: say one of them").into());
    }
    let seen = system.survey()?;
    Ok(Report::printed(match (picture, invocation.format()) {
        (true, _) => dot::picture(&seen),
        (false, Format::Text) => tree::text(&seen, style()),
        (false, Format::Json) => format!("{:#}\n", serde_json::json!(seen)),
    }))
}
