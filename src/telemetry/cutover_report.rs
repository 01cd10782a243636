//! The newest cutover or rollback, as Traffic's journal has it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::language::{Message, message};

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

/// What is left of the fence of an aborted or rolled back run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FenceEnd {
    /// Nothing had been fenced.
    WithoutFence,
    /// When the fence was lifted.
    Lifted(Timestamp),
    /// The fence may still stand, also where the journal has no step of it: a fence is there before it is recorded.
    NotRecorded,
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

    /// `None` for an undecided run, and for a cutover that has switched: its fence stays.
    pub fn fence_end(&self) -> Option<FenceEnd> {
        (self.is_decided() && self.state != "switched").then_some(match (self.lifted_at, self.fenced_at) {
            (Some(lifted), Some(_)) => FenceEnd::Lifted(lifted),
            (Some(_), None) => FenceEnd::WithoutFence,
            (None, _) => FenceEnd::NotRecorded,
        })
    }

    /// Which side is the system of record, once the run is decided.
    pub fn record(&self) -> Message {
        match (self.state.as_str(), self.is_rollback()) {
            ("switched", _) => message!("cutover-record-traffic"),
            ("rolled_back", _) => message!("cutover-record-landing"),
            (_, true) => message!("cutover-record-traffic-still"),
            (_, false) => message!("cutover-record-landing-still"),
        }
    }

    /// Whether the system of record is decided.
    pub fn is_decided(&self) -> bool {
        matches!(self.state.as_str(), "switched" | "rolled_back" | "aborted")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_that_is_not_recorded_as_lifted_may_stand_whatever_else_is_recorded() {
        let end = |state: &str, fenced_at, lifted_at| {
            CutoverReport { state: state.into(), fenced_at, lifted_at, ..CutoverReport::default() }
                .fence_end()
        };
        let at = Some(Timestamp::UNIX_EPOCH);
        for state in ["aborted", "rolled_back"] {
            assert_eq!(end(state, at, None), Some(FenceEnd::NotRecorded));
            assert_eq!(end(state, None, None), Some(FenceEnd::NotRecorded));
            assert_eq!(end(state, at, at), Some(FenceEnd::Lifted(Timestamp::UNIX_EPOCH)));
            assert_eq!(end(state, None, at), Some(FenceEnd::WithoutFence));
        }
        for state in ["started", "fenced", "drained", "verified", "switched"] {
            assert_eq!(end(state, at, None), None, "{state}");
        }
    }
}
