//! Deciding: from what is asked and what was seen to the list of steps. Nothing here can act.

pub mod dhcp;
pub mod draft;
pub mod forwarding;
pub mod guest_filter;
pub mod layer3;
pub mod network_bridge;
pub mod network_nat;
pub mod network_route;
pub mod reload;
pub mod repair;
pub mod router;
mod vif;
pub mod vif_bridge;
pub mod vif_openvswitch;
pub mod vif_routed;

use serde::{Deserialize, Serialize};

use crate::operation::Operation;

/// What to do when a step fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnFailure {
    /// Stop, and undo what was done.
    Abort,
    /// Note it, and go on with the next step.
    Continue,
    /// The same; and the step is left out where one before it has failed: it forgets what another run is to try again.
    ContinueIfClean,
}

/// An operation and what its failure means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What to do.
    pub operation: Operation,
    /// What to do when it fails.
    pub on_failure: OnFailure,
}

/// What to do, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
    /// What an administrator should know though nothing is wrong.
    pub notes: Vec<String>,
}

impl Plan {
    /// A plan that does nothing, and says why.
    #[must_use]
    pub fn nothing(why: impl Into<String>) -> Self {
        Self { steps: vec![], notes: vec![why.into()] }
    }

    /// A plan of one step that must succeed.
    #[must_use]
    pub fn single(operation: Operation) -> Self {
        let mut plan = Self::default();
        plan.must(operation);
        plan
    }

    /// Adds a step whose failure ends the plan.
    pub fn must(&mut self, operation: Operation) {
        self.steps.push(Step { operation, on_failure: OnFailure::Abort });
    }

    /// Adds a step whose failure is only noted.
    pub fn may(&mut self, operation: Operation) {
        self.steps.push(Step { operation, on_failure: OnFailure::Continue });
    }

    /// Adds a step that forgets what the steps before it took away: it is left out where one of them failed.
    pub fn forget(&mut self, operation: Operation) {
        self.steps.push(Step { operation, on_failure: OnFailure::ContinueIfClean });
    }

    /// Adds steps that must all succeed.
    pub fn must_all(&mut self, operations: impl IntoIterator<Item = Operation>) {
        operations.into_iter().for_each(|operation| self.must(operation));
    }
}

/// Why a request is turned down before anything is touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// One sentence for the administrator: what, where, why, and what to do about it.
    pub reason: String,
    /// The same for a guest's eyes, without host detail.
    pub for_guest: String,
}

impl Refusal {
    /// A refusal whose reason tells nothing of the host that a guest may not read.
    #[must_use]
    pub fn plain(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { for_guest: reason.clone(), reason }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Refusal {}
