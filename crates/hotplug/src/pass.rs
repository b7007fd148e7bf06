//! One pass of a program through all stages, from the words of the call to the report.

mod antispoof;
pub mod network_bridge;
pub mod network_nat;
pub mod network_route;
pub mod reload;
mod router;
mod vif;
pub mod vif_bridge;
pub mod vif_openvswitch;
pub mod vif_routed;
pub mod xen_network;

use std::ffi::OsString;

use crate::invocation::{Invocation, UsageError, shortened};
use crate::program::Program;
use crate::report::{ExitStatus, Report, Trouble, conclude};

/// The pass of one program.
pub type Pass = fn(&Invocation) -> Result<Report, Trouble>;

/// Runs a program: parses how it was called, passes it through `pass`, and reports.
#[must_use]
pub fn run(program: &'static Program, words: Vec<OsString>, pass: Pass) -> ExitStatus {
    crate::system::log::init(program.name);
    match Invocation::parse(program, words, std::env::vars_os()) {
        Ok(invocation) => {
            let operands = program.operands_of(invocation.command()).count();
            if let Some(first) = invocation.surplus().get(operands) {
                log::warn!("the word {:?} after the command is of no use and has been passed over", shortened(first));
            }
            conclude(&pass(&invocation))
        }
        Err(UsageError::Answer(text)) => conclude(&Ok(Report::printed(text))),
        Err(UsageError::Mistake(text)) => {
            log::error!("{text}");
            ExitStatus::Failure
        }
    }
}
