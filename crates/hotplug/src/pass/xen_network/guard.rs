//! `xen-network guard`

use std::io::{Write, stdout};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nftables::Told;

use crate::apply::Run;
use crate::apply::journal::Journal;
use crate::inspect::guard::{Concern, concern};
use crate::inspect::watch::clock;
use crate::invocation::{Format, Invocation};
use crate::operation::Operation;
use crate::pass::reload;
use crate::report::{Report, Trouble};
use crate::system::System;

/// How long after a look in vain the next one waits, where others change rules of their own: some firewalls do so all the time.
const PAUSE: Duration = Duration::from_millis(200);
/// When a look that failed, XenStore being away for example, is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What came of a look.
enum Look {
    /// All was there.
    Vain,
    /// These were put back or taken away.
    Mended(Vec<Operation>),
}

/// Puts our rules back whenever somebody has taken them away, until it is interrupted or nobody reads any more.
pub(super) fn guard(invocation: &Invocation, system: &mut System) -> Result<Report, Trouble> {
    let mut news = system.ruleset_news()?;
    let mut due = Some(Instant::now());
    let mut after_pause = Instant::now();
    loop {
        let now = Instant::now();
        if due.is_some_and(|due| due <= now) {
            due = None;
            match look() {
                Ok(Look::Vain) => after_pause = Instant::now() + PAUSE,
                Ok(Look::Mended(acts)) if tell(&acts, invocation.format()).is_err() => return Ok(Report::silent()),
                Ok(Look::Mended(_)) => {}
                Err(trouble) => {
                    log::warn!("{trouble}; trying again in {} s", RETRY.as_secs());
                    due = Some(Instant::now() + RETRY);
                }
            }
            continue;
        }
        let concern = match System::next_news(&mut news, due.map(|due| due - now))? {
            Told::Commit(commit) => concern(&commit),
            Told::Lost => Concern::Ours,
            Told::Nothing => Concern::None,
        };
        let wanted = match concern {
            Concern::None => continue,
            Concern::Perhaps => after_pause.max(now),
            Concern::Ours => now,
        };
        due = Some(due.map_or(wanted, |due| due.min(wanted)));
    }
}

/// Does what `reload` would do now. Everything is opened anew: xenstored may have been restarted since.
fn look() -> Result<Look, Trouble> {
    let mut system = System::open();
    let (plan, host) = reload::plan(&mut system)?;
    if plan.steps.is_empty() {
        return Ok(Look::Vain);
    }
    let mut run = Run::new(&mut system, Journal::None);
    run.carry_out(&plan, host)?;
    let outcome = run.finish();
    for failure in &outcome.tolerated {
        log::warn!("{failure}");
    }
    Ok(Look::Mended(outcome.done))
}

fn tell(acts: &[Operation], format: Format) -> std::io::Result<()> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default();
    let mut stdout = stdout();
    for act in acts {
        log::warn!("put right in the packet filter: {act}");
        match format {
            Format::Text => writeln!(stdout, "{}  {act}", clock(seconds))?,
            Format::Json => writeln!(stdout, "{}", serde_json::json!({ "time": seconds, "done": act.to_string() }))?,
        }
    }
    stdout.flush()
}
