//! A plan in the making, and the host as it will be after the steps so far.

use crate::host::Host;
use crate::operation::Operation;
use crate::plan::Plan;

/// A plan that knows where it stands.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The host as it will be after the steps so far.
    pub host: Host,
    /// The steps so far.
    pub plan: Plan,
}

impl Draft {
    /// An empty plan for `host`.
    #[must_use]
    pub fn new(host: &Host) -> Self {
        Self { host: host.clone(), plan: Plan::default() }
    }

    /// Adds a step whose failure ends the plan.
    pub fn must(&mut self, operation: Operation) {
        self.host.follow(&operation);
        self.plan.must(operation);
    }

    /// Adds a step whose failure is only noted.
    pub fn may(&mut self, operation: Operation) {
        self.host.follow(&operation);
        self.plan.may(operation);
    }

    /// Adds a step that forgets what the steps before it took away: it is left out where one of them failed.
    pub fn forget(&mut self, operation: Operation) {
        self.host.follow(&operation);
        self.plan.forget(operation);
    }

    /// Adds steps that must all succeed.
    pub fn must_all(&mut self, operations: impl IntoIterator<Item = Operation>) {
        operations.into_iter().for_each(|operation| self.must(operation));
    }
}
