//! `xen-network doctor`

use super::style;
use crate::inspect::finding::{Checked, Verdict};
use crate::inspect::{checks, finding};
use crate::invocation::{Format, Invocation};
use crate::report::{ExitStatus, Report, Trouble};
use crate::system::System;

/// Makes every check, and prints what came of it.
pub(super) fn doctor(invocation: &Invocation, system: &mut System) -> Result<Report, Trouble> {
    let checked = checks::run(&system.examine()?);
    let output = match invocation.format() {
        Format::Text => finding::text(&checked, style()),
        Format::Json => finding::json(&checked),
    };
    let status = if checked.iter().any(is_bad) { ExitStatus::Failure } else { ExitStatus::Success };
    Ok(Report { status, ..Report::printed(output) })
}

fn is_bad(checked: &Checked) -> bool {
    checked.verdict() == Verdict::Problem
}
