//! One pass of a program through all stages, from the words of the call to the report.

pub mod network_bridge;
pub mod vif_bridge;

use std::process::ExitCode;

use crate::invocation::{Invocation, UsageError};
use crate::program::Program;
use crate::report::{Report, Trouble, conclude};
use crate::system::log as journal;

/// Runs a program: parses how it was called, passes it through `pass`, and reports.
#[must_use]
pub fn run(program: &'static Program, pass: fn(&Invocation) -> Result<Report, Trouble>) -> ExitCode {
    journal::init(program.name);
    match Invocation::parse(program, std::env::args_os(), std::env::vars_os()) {
        Ok(invocation) => conclude(&pass(&invocation)),
        Err(UsageError::Answer(text)) => conclude(&Ok(Report::printed(text))),
        Err(UsageError::Mistake(text)) => {
            log::error!("{text}");
            ExitCode::FAILURE
        }
    }
}
