//! Telling: exit status, XenStore, log, and a few lines for a person.

use std::fmt;
use std::io::{IsTerminal, Write};

use crate::apply::{Failure, Outcome, Stopped};
use crate::operation::Operation;
use crate::plan::Refusal;
use crate::system::SystemError;

/// How a program went that did not fail.
#[derive(Debug, Default)]
pub struct Report {
    /// What was asked to be printed: a status, a plan.
    pub output: String,
    /// What was done, oldest first.
    pub done: Vec<Operation>,
    /// What an administrator should know though nothing is wrong.
    pub notes: Vec<String>,
    /// Steps that failed and did not matter to the end.
    pub tolerated: Vec<Failure>,
    /// One line for the log.
    pub summary: String,
    /// The exit status: a program that was only asked may have found something.
    pub status: ExitStatus,
}

impl Report {
    /// Nothing was to be done, and nobody needs to hear of it.
    #[must_use]
    pub fn silent() -> Self {
        Self::default()
    }

    /// Nothing was to be done, for this reason.
    #[must_use]
    pub fn nothing(why: impl Into<String>) -> Self {
        Self { notes: vec![why.into()], ..Self::default() }
    }

    /// Something to print, and nothing else.
    #[must_use]
    pub fn printed(output: String) -> Self {
        Self { output, ..Self::default() }
    }

    /// What a run did.
    #[must_use]
    pub fn of(outcome: Outcome, notes: Vec<String>, summary: String) -> Self {
        Self { done: outcome.done, notes, tolerated: outcome.tolerated, summary, ..Self::default() }
    }
}

/// Why a program failed.
#[derive(Debug)]
pub enum Trouble {
    /// What was asked cannot be done; nothing was touched.
    Refused(Refusal),
    /// A step failed; what was done before was undone.
    Stopped(Stopped),
    /// The machine could not be looked at; nothing was touched.
    System(SystemError),
}

impl Trouble {
    /// The sentence that a guest may read: nothing of the host in it but what the guest's own configuration says.
    #[must_use]
    pub fn for_guest(&self) -> String {
        match self {
            Self::Refused(refusal) => refusal.for_guest.clone(),
            Self::Stopped(_) => "The interface could not be set up: see the host's log".to_owned(),
            Self::System(_) => "The interface could not be set up: the host could not be examined, see its log".to_owned(),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Stopped(stopped) => stopped.fmt(f),
            Self::System(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Trouble {}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Stopped> for Trouble {
    fn from(stopped: Stopped) -> Self {
        Self::Stopped(stopped)
    }
}

impl From<SystemError> for Trouble {
    fn from(error: SystemError) -> Self {
        Self::System(error)
    }
}

/// What a program says to its caller by its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExitStatus {
    /// 0.
    #[default]
    Success,
    /// 1.
    Failure,
}

impl From<ExitStatus> for std::ffi::c_int {
    fn from(status: ExitStatus) -> Self {
        match status {
            ExitStatus::Success => 0,
            ExitStatus::Failure => 1,
        }
    }
}

/// Tells how it went, and gives the exit status.
#[must_use]
pub fn conclude(result: &Result<Report, Trouble>) -> ExitStatus {
    match result {
        Ok(report) => {
            tell(report);
            report.status
        }
        Err(trouble) => {
            log::error!("{trouble}");
            ExitStatus::Failure
        }
    }
}

fn tell(report: &Report) {
    // A reader that has gone away is not worth dying for.
    let mut stdout = std::io::stdout();
    let _ = stdout.write_all(report.output.as_bytes()).and_then(|()| stdout.flush());
    for failure in &report.tolerated {
        log::warn!("{failure}; going on without it");
    }
    for note in &report.notes {
        log::info!("{note}");
    }
    if !report.summary.is_empty() {
        log::debug!("{}", report.summary);
    }
    // xl on a terminal leaves its programs standard error, and gives them /dev/null to read.
    if std::io::stderr().is_terminal() && std::io::stdin().is_terminal() {
        tell_person(report);
    }
}

fn tell_person(report: &Report) {
    let mut stderr = std::io::stderr();
    for act in &report.done {
        let _ = writeln!(stderr, "  {act}");
    }
    for note in &report.notes {
        let _ = writeln!(stderr, "  {note}");
    }
    if !report.summary.is_empty() {
        let _ = writeln!(stderr, "{}", report.summary);
    }
}
