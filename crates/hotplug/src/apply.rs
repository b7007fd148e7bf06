//! Doing: step by step, keeping what takes each step back, and undoing on failure.

pub mod journal;

use std::fmt;

use crate::host::Host;
use crate::operation::Operation;
use crate::plan::{OnFailure, Plan};
use journal::{Inverse, Journal, JournalError};

/// Something that operations can be performed on: the system, or in tests the model.
pub trait Effects {
    /// Performs one operation.
    ///
    /// # Errors
    /// When it could not be done; the act, the cause and what sort of failure it is.
    fn perform(&mut self, operation: &Operation) -> Result<(), Failure>;
}

/// What sort of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// What the operation was to act on is not there. For a removal, and for undoing, that is as good as done.
    Absent,
    /// Something that is not ours stands where the operation was to put something: nothing was done, and nothing is to be taken back.
    Taken,
    /// Any other.
    Other,
}

/// An operation that could not be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The operation, in the operator's words.
    pub act: String,
    /// Why not, in the kernel's or the store's words.
    pub cause: String,
    /// What sort of failure.
    pub kind: FailureKind,
}

impl Failure {
    /// A failure of `operation`.
    #[must_use]
    pub fn new(operation: &Operation, cause: impl Into<String>, kind: FailureKind) -> Self {
        Self { act: operation.to_string(), cause: cause.into(), kind }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` failed: {}", self.act, self.cause)
    }
}

impl std::error::Error for Failure {}

/// What became of a plan that went through.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The operations that were done, in order.
    pub done: Vec<Operation>,
    /// Steps that failed though the plan goes on without them.
    pub tolerated: Vec<Failure>,
}

/// What became of a plan that did not.
#[derive(Debug)]
pub enum Stopped {
    /// A step failed and everything was undone.
    Undone(Failure),
    /// A step failed, and some of the undoing failed as well.
    HalfUndone {
        /// The step.
        failure: Failure,
        /// What could not be undone.
        left: Vec<Failure>,
    },
    /// The journal could not be written: nothing more is done without it, and what was done is undone.
    Journal(JournalError),
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undone(failure) => write!(f, "{failure}; everything done before it has been undone"),
            Self::HalfUndone { failure, left } => {
                write!(f, "{failure}; undoing the steps before it failed too:")?;
                left.iter().try_for_each(|one| write!(f, " {one};"))?;
                f.write_str(" the host needs a look")
            }
            Self::Journal(error) => write!(f, "{error}; everything done before it has been undone"),
        }
    }
}

impl std::error::Error for Stopped {}

/// One run of a program: its plans go through here one after the other, and a failure in a later one undoes the earlier ones too.
pub struct Run<'a, E: Effects> {
    effects: &'a mut E,
    journal: Journal,
    /// The inverses of what was done, the oldest first, as far as they are worked out.
    inverses: Vec<Inverse>,
    /// What was done after that.
    courses: Vec<Course>,
    outcome: Outcome,
}

/// What was done of a plan without a journal: the inverses are worked out if they are ever needed.
struct Course {
    /// The host before it.
    host: Host,
    attempts: Vec<(Operation, Effect)>,
}

/// What is known of a step that was begun.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// It was done.
    Whole,
    /// It failed, and may have had a part of its effect.
    Unknown,
}

impl Course {
    fn inverses(self) -> Vec<Inverse> {
        let mut host = self.host;
        let inverse = |(operation, effect): (Operation, Effect)| {
            let inverse = operation.inverse(&host);
            if effect == Effect::Whole {
                host.follow(&operation);
            }
            inverse
        };
        self.attempts.into_iter().map(inverse).collect()
    }
}

impl<'a, E: Effects> Run<'a, E> {
    /// A run that performs on `effects` and keeps `journal`.
    pub fn new(effects: &'a mut E, journal: Journal) -> Self {
        Self::resumed(effects, journal, vec![])
    }

    /// A run that was killed, as its journal tells: `inverses` take back what it did.
    pub fn resumed(effects: &'a mut E, journal: Journal, inverses: Vec<Inverse>) -> Self {
        Self { effects, journal, inverses, courses: vec![], outcome: Outcome::default() }
    }

    /// Looks at what the run performs on, between two plans.
    ///
    /// # Errors
    /// When the look fails: everything done in this run has then been undone.
    pub fn look<T, F>(&mut self, look: impl FnOnce(&mut E) -> Result<T, F>) -> Result<T, F> {
        let seen = look(self.effects);
        if seen.is_err() {
            self.undo();
        }
        seen
    }

    /// Performs `plan` on the host seen as `host`, and gives the host as it should be now.
    ///
    /// # Errors
    /// When a step that must succeed fails: everything done in this run has then been undone.
    pub fn carry_out(&mut self, plan: &Plan, mut host: Host) -> Result<Host, Stopped> {
        if matches!(self.journal, Journal::None) {
            self.courses.push(Course { host: host.clone(), attempts: Vec::with_capacity(plan.steps.len()) });
        }
        for step in &plan.steps {
            if step.on_failure == OnFailure::ContinueIfClean && !self.outcome.tolerated.is_empty() {
                continue;
            }
            if let Err(error) = self.begin(&step.operation, &host) {
                self.undo();
                return Err(Stopped::Journal(error));
            }
            let result = self.effects.perform(&step.operation);
            if matches!(&result, Err(failure) if failure.kind == FailureKind::Taken) {
                self.forget_last();
            }
            match (result, step.on_failure) {
                (Ok(()), _) => self.done(&step.operation, &mut host),
                (Err(failure), OnFailure::Continue | OnFailure::ContinueIfClean) => self.tolerate(failure),
                (Err(failure), OnFailure::Abort) => return Err(self.stop(failure)),
            }
        }
        Ok(host)
    }

    /// Notes what takes the next step back, before it is done.
    fn begin(&mut self, operation: &Operation, host: &Host) -> Result<(), JournalError> {
        if let Some(course) = self.courses.last_mut() {
            course.attempts.push((operation.clone(), Effect::Unknown));
            return Ok(());
        }
        let inverse = operation.inverse(host);
        self.journal.append(&inverse)?;
        self.inverses.push(inverse);
        Ok(())
    }

    fn forget_last(&mut self) {
        match self.courses.last_mut() {
            Some(course) => drop(course.attempts.pop()),
            None => {
                self.inverses.pop();
                self.journal.forget_last();
            }
        }
    }

    fn done(&mut self, operation: &Operation, host: &mut Host) {
        if let Some((_, effect)) = self.courses.last_mut().and_then(|course| course.attempts.last_mut()) {
            *effect = Effect::Whole;
        }
        host.follow(operation);
        self.outcome.done.push(operation.clone());
    }

    fn tolerate(&mut self, failure: Failure) {
        if failure.kind != FailureKind::Absent {
            self.outcome.tolerated.push(failure);
        }
    }

    fn stop(&mut self, failure: Failure) -> Stopped {
        let left = self.undo();
        if left.is_empty() { Stopped::Undone(failure) } else { Stopped::HalfUndone { failure, left } }
    }

    /// Takes back everything, the youngest first. Goes on past failures and gives them back; what is gone already needs no undoing.
    pub fn undo(&mut self) -> Vec<Failure> {
        let mut left = vec![];
        self.inverses.extend(self.courses.drain(..).flat_map(Course::inverses));
        while let Some(inverse) = self.inverses.pop() {
            for operation in &inverse {
                match self.effects.perform(operation) {
                    Err(failure) if !needs_no_undoing(operation, failure.kind) => left.push(failure),
                    Err(failure) if failure.kind == FailureKind::Other => log::warn!("while taking back: {failure}"),
                    _ => {}
                }
            }
            self.journal.forget_last();
        }
        if left.is_empty() {
            self.journal.close();
        }
        left
    }

    /// Ends the run: the new state stays.
    pub fn finish(self) -> Outcome {
        self.journal.close();
        self.outcome
    }
}

/// What is gone needs no taking away, and a bridge that is there, because its deletion failed or was never begun, no making. A server that does
/// not start has its files back all the same, and keeps no later run from its work.
fn needs_no_undoing(operation: &Operation, kind: FailureKind) -> bool {
    match kind {
        FailureKind::Absent => true,
        FailureKind::Taken => matches!(operation, Operation::CreateBridge(_)),
        FailureKind::Other => matches!(operation, Operation::Restart(_)),
    }
}
