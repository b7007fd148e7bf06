//! `xen-network gc`

use std::time::Duration;

use crate::apply::Run;
use crate::apply::journal::Journal;
use crate::dhcp::Server;
use crate::dry_run;
use crate::guest_filter::GuestFilter;
use crate::inspect::gc;
use crate::inspect::model::Examined;
use crate::invocation::{Format, Invocation, Mode};
use crate::pass::network_bridge::take_back_killed_run;
use crate::plan::Refusal;
use crate::report::{Report, Trouble};
use crate::system::System;
use crate::system::dhcp;
use crate::system::lock::{self, DeviceLock, Lock, LockName};
use crate::system::state::run_directory;

/// How long another program may take that changes the same things.
const LIMIT: Duration = Duration::from_secs(30);
/// Everything that is changed here is changed by others under these locks.
const LOCKS: [LockName; 3] = [LockName::NetworkBridge, LockName::NetworkRouter, LockName::VifNatDhcp];
const JOURNALS: [&str; 2] = ["network-bridge.journal", "network-router.journal"];

/// Takes away what is ours and nobody's. Runs that were killed are taken back first.
pub(super) fn gc(invocation: &Invocation, system: &mut System) -> Result<Report, Trouble> {
    let _locks: Vec<Lock> = match invocation.mode() {
        Mode::DryRun => vec![],
        Mode::Act => locks()?,
    };
    let mut taken_back = vec![];
    let mut first = system.examine()?;
    for run in std::mem::take(&mut first.remembered.killed_runs) {
        taken_back.push(format!("take back the killed run of {} ({})", run.program, run.path.display()));
    }
    let _alone = match invocation.mode() {
        Mode::DryRun => vec![],
        Mode::Act => alone_with_orphans(&first)?,
    };
    if invocation.mode() == Mode::Act {
        dhcp::sweep_guests();
        first.remembered.sessions.servers_mut().for_each(|server| dhcp::sweep(server));
        first.dhcpd.take().into_iter().for_each(|seen| dhcp::sweep(&Server::Dhcpd(seen.server)));
        let folder = run_directory().map_err(|error| Refusal::plain(error.to_string()))?;
        for journal in JOURNALS {
            take_back_killed_run(system, &folder, journal)?;
        }
    }
    let examined = system.examine()?;
    if let Err(reason) = &examined.seen.store.0 {
        return Err(Refusal::plain(format!("{reason}; without it nobody can tell which guests are gone")).into());
    }
    let plan = gc::plan(&examined).map_err(Refusal::plain)?;
    let host = gc::host(&examined);
    match (invocation.mode(), invocation.format()) {
        (Mode::DryRun, Format::Text) => {
            let first: String = taken_back.iter().map(|act| format!("{act}\n")).collect();
            Ok(Report::printed(first + &dry_run::as_text(&plan, &host)))
        }
        (Mode::DryRun, Format::Json) => Ok(Report::printed(dry_run::as_json(&plan, &host))),
        (Mode::Act, format) => {
            let mut run = Run::new(system, Journal::None);
            run.carry_out(&plan, host)?;
            let outcome = run.finish();
            let done: Vec<String> = taken_back.into_iter().chain(outcome.done.iter().map(ToString::to_string)).collect();
            let output = match format {
                Format::Json => format!("{:#}\n", serde_json::json!({ "done": done })),
                Format::Text if done.is_empty() => "nothing of ours is left over\n".to_owned(),
                Format::Text => done.iter().map(|act| format!("{act}\n")).collect(),
            };
            Ok(Report { tolerated: outcome.tolerated, ..Report::printed(output) })
        }
    }
}

/// A guest may come under the name of one that is gone: not before the filter of that one has been taken away, or after.
fn alone_with_orphans(examined: &Examined) -> Result<Vec<DeviceLock>, Refusal> {
    let claim = |filter: &GuestFilter| {
        let device = filter.renamed_from.as_ref().unwrap_or(&filter.device);
        lock::claim_device(device, LIMIT).map_err(|error| Refusal::plain(error.to_string()))
    };
    gc::filtered(examined).map(claim).collect()
}

fn locks() -> Result<Vec<Lock>, Refusal> {
    let claim = |name: &LockName| lock::claim(*name, LIMIT).map_err(|error| Refusal::plain(error.to_string()));
    LOCKS.iter().map(claim).collect()
}
