//! The newest cutover or rollback, as Traffic's journal has it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A row of `leadbridge.cutover`. Every time is by Traffic's clock; `None` for a step that was not reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutoverReport {
    pub id: Uuid,
    /// `cutover` or `rollback`.
    pub direction: String,
    /// `started`, `fenced`, `drained`, `verified`, `switched`, `rolled_back` or `aborted`.
    pub state: String,
    pub started_at: Timestamp,
    /// No step is reached after this time.
    pub deadline: Timestamp,
    pub fenced_at: Option<Timestamp>,
    pub drained_at: Option<Timestamp>,
    pub verified_at: Option<Timestamp>,
    /// When the hook was about to run.
    pub hook_begun_at: Option<Timestamp>,
    /// When the hook had succeeded.
    pub hook_ended_at: Option<Timestamp>,
    /// When it was switched, rolled back or aborted.
    pub finished_at: Option<Timestamp>,
    /// When the fence that an aborted cutover or a rollback leaves was lifted.
    pub lifted_at: Option<Timestamp>,
    /// Why it was aborted.
    pub reason: Option<String>,
    /// When Traffic was asked.
    pub asked_at: Timestamp,
}

/// A step of a cutover or a rollback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutoverStep {
    Started,
    Fenced,
    Drained,
    Verified,
    Switched,
    RolledBack,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepMark {
    /// When the step was reached.
    Reached(Timestamp),
    /// The step is under way.
    Next,
    Later,
    /// The run was aborted before the step.
    NotReached,
}

impl CutoverReport {
    pub fn is_rollback(&self) -> bool {
        self.direction == "rollback"
    }

    pub fn is_aborted(&self) -> bool {
        self.state == "aborted"
    }

    /// The steps in their order.
    pub fn steps(&self) -> [(CutoverStep, StepMark); 5] {
        let last = if self.is_rollback() { CutoverStep::RolledBack } else { CutoverStep::Switched };
        let finished = self.finished_at.filter(|_| self.is_decided() && !self.is_aborted());
        let mut is_next = true;
        [
            (CutoverStep::Started, Some(self.started_at)),
            (CutoverStep::Fenced, self.fenced_at),
            (CutoverStep::Drained, self.drained_at),
            (CutoverStep::Verified, self.verified_at),
            (last, finished),
        ]
        .map(|(step, at)| match at {
            Some(at) => (step, StepMark::Reached(at)),
            None if self.is_aborted() => (step, StepMark::NotReached),
            None if std::mem::take(&mut is_next) => (step, StepMark::Next),
            None => (step, StepMark::Later),
        })
    }

    /// Whether the system of record is decided.
    pub fn is_decided(&self) -> bool {
        matches!(self.state.as_str(), "switched" | "rolled_back" | "aborted")
    }
}
