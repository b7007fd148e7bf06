//! A plan for reading: what would be done, and what would take each step back.

use crate::host::Host;
use crate::plan::{OnFailure, Plan};

/// A step of a plan as it is printed by `--dry-run`.
#[derive(serde::Serialize)]
struct PlannedStep {
    act: String,
    on_failure: OnFailure,
    undo: Vec<String>,
}

/// The steps of `plan` on `host`, each with what takes it back.
fn planned_steps(plan: &Plan, host: &Host) -> Vec<PlannedStep> {
    let mut host = host.clone();
    let mut steps = vec![];
    for step in &plan.steps {
        let undo = step.operation.inverse(&host).iter().map(ToString::to_string).collect();
        steps.push(PlannedStep { act: step.operation.to_string(), on_failure: step.on_failure, undo });
        host.follow(&step.operation);
    }
    steps
}

/// The plan for a person: one line a step, and indented below it what takes it back.
#[must_use]
pub fn as_text(plan: &Plan, host: &Host) -> String {
    let mut text = String::new();
    for note in &plan.notes {
        text += &format!("# {note}\n");
    }
    for step in planned_steps(plan, host) {
        let mark = match step.on_failure {
            OnFailure::Abort => "",
            OnFailure::Continue => " (may fail)",
            OnFailure::ContinueIfClean => " (if nothing before it failed)",
        };
        text += &format!("{}{mark}\n", step.act);
        for undo in step.undo {
            text += &format!("    undo: {undo}\n");
        }
    }
    if plan.steps.is_empty() {
        text += "# nothing to do\n";
    }
    text
}

/// The plan for a program.
#[must_use]
pub fn as_json(plan: &Plan, host: &Host) -> String {
    let value = serde_json::json!({ "notes": plan.notes, "steps": planned_steps(plan, host) });
    format!("{value:#}\n")
}
