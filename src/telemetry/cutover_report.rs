//! The newest cutover or rollback, as Traffic's journal has it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A row of `leadbridge.cutover`. Every time is by Traffic's clock; `None` for a step that was not reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

impl CutoverReport {
    /// Whether the system of record is decided.
    pub fn is_decided(&self) -> bool {
        matches!(self.state.as_str(), "switched" | "rolled_back" | "aborted")
    }
}
