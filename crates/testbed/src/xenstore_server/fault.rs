//! Misbehaviour on demand, to see how clients take it.

use std::time::Duration;

use xenstore::Refusal;
use xenstore::wire::Kind;

/// A fault: when it happens, and what.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The requests it happens to.
    pub trigger: Trigger,
    /// What happens instead of the right answer.
    pub misbehaviour: Misbehaviour,
}

/// Which requests a fault happens to: those that fit all that is given. The default fits every request.
#[derive(Debug, Clone, Default)]
pub struct Trigger {
    /// Only requests of this kind.
    pub kind: Option<Kind>,
    /// Only requests about this absolute path or below it.
    pub below: Option<String>,
    /// Only one of the requests that fit the rest.
    pub occurrence: Occurrence,
}

/// Which of the fitting requests a fault happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Occurrence {
    /// All of them.
    #[default]
    Every,
    /// Only this one, counted from 1 over all clients.
    Only(u32),
}

/// What happens instead of the right answer.
#[derive(Debug, Clone)]
pub enum Misbehaviour {
    /// The right answer, later.
    AnswerLate(Duration),
    /// The request is done, and never answered.
    NeverAnswer,
    /// The connection is closed; the request is not done.
    Close,
    /// These bytes come instead of an answer; the request is not done.
    Garbage(Vec<u8>),
    /// The request is refused, and not done. A refused TRANSACTION_END ends its transaction, as in the real daemon.
    Refuse(Refusal),
}

/// The faults in force and how often each has fitted.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<(Fault, u32)>);

impl Faults {
    pub(super) fn new(faults: Vec<Fault>) -> Faults {
        Faults(faults.into_iter().map(|fault| (fault, 0)).collect())
    }

    /// What is to happen to this request; every fault counts it, the first one that is due happens.
    pub(super) fn judge(&mut self, kind: Kind, path: Option<&str>) -> Option<Misbehaviour> {
        let mut due = None;
        for (fault, fitted) in self.0.iter_mut().filter(|(fault, _)| fault.trigger.fits(kind, path)) {
            *fitted += 1;
            let now = match fault.trigger.occurrence {
                Occurrence::Every => true,
                Occurrence::Only(place) => *fitted == place,
            };
            if now && due.is_none() {
                due = Some(fault.misbehaviour.clone());
            }
        }
        due
    }
}

impl Trigger {
    fn fits(&self, kind: Kind, path: Option<&str>) -> bool {
        let below = |top: &str| path.is_some_and(|path| super::tree::is_at_or_below(path, top));
        self.kind.is_none_or(|wanted| wanted == kind) && self.below.as_deref().is_none_or(below)
    }
}
