//! `xen-network doctor`

use super::style;
use crate::inspect::finding::{Checked, Verdict};
use crate::inspect::{checks, finding};
use crate::invocation::{Format, Invocation};
use crate::operation::Operation;
use crate::pass::reload;
use crate::plan::Plan;
use crate::report::{ExitStatus, Report, Trouble};
use crate::system::System;

/// Makes every check, and prints what came of it.
pub(super) fn doctor(invocation: &Invocation, system: &mut System) -> Result<Report, Trouble> {
    let mut examined = system.examine()?;
    examined.due = match examined.seen.store.0 {
        Ok(_) => reload::plan(system).map_err(|trouble| trouble.to_string()).map(|(plan, _)| operations(plan)),
        Err(_) => Err("XenStore does not answer".to_owned()),
    };
    let checked = checks::run(&examined);
    let output = match invocation.format() {
        Format::Text => finding::text(&checked, style()),
        Format::Json => finding::json(&checked),
    };
    let status = if checked.iter().any(is_bad) { ExitStatus::Failure } else { ExitStatus::Success };
    Ok(Report { status, ..Report::printed(output) })
}

fn operations(plan: Plan) -> Vec<Operation> {
    plan.steps.into_iter().map(|step| step.operation).collect()
}

fn is_bad(checked: &Checked) -> bool {
    checked.verdict() == Verdict::Problem
}
