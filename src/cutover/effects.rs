//! The journal's records of the hook. Each record is written before the effect, so that whoever resolves the
//! cutover finds what may have happened. The slot of reverse replication needs no record: the entry itself
//! proves that the slot's name was free when the entry was written.

use serde::Serialize;
use tokio_postgres::Client;
use uuid::Uuid;

use super::journal::{CutoverJournal, CutoverStep, JournalEntry};
use crate::error::Result;

/// How far the hook of a cutover or rollback has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HookState {
    /// The hook was not run.
    None,
    /// The hook has begun, and may have pointed applications to the other database.
    Begun,
    /// The hook has succeeded.
    Ended,
    /// The cutover was aborted, and the applications were pointed back.
    Undone,
}

impl HookState {
    /// The state of an entry as a number, in SQL, for [`HookState::of`].
    pub(super) const SQL: &str = "CASE WHEN hook_undone_at IS NOT NULL THEN 3 WHEN hook_ended_at IS NOT NULL THEN 2 \
         WHEN hook_begun_at IS NOT NULL THEN 1 ELSE 0 END";

    pub(super) fn of(number: i32) -> Self {
        match number {
            0 => HookState::None,
            1 => HookState::Begun,
            2 => HookState::Ended,
            _ => HookState::Undone,
        }
    }
}

impl JournalEntry {
    /// Whether applications may be pointed to Traffic although the cutover was aborted.
    pub fn needs_hook_undone(&self) -> bool {
        self.state == CutoverStep::Aborted && matches!(self.hook, HookState::Begun | HookState::Ended)
    }
}

impl CutoverJournal {
    /// Records that the hook is about to run with `LEADBRIDGE_EVENT=switch`.
    pub async fn begin_hook(&self, traffic: &Client, id: Uuid) -> Result<()> {
        self.note(traffic, id, "hook_begun_at = clock_timestamp(), hook_xid = pg_current_xact_id()").await
    }

    /// Records that the hook has succeeded.
    pub async fn end_hook(&self, traffic: &Client, id: Uuid) -> Result<()> {
        self.note(traffic, id, "hook_ended_at = clock_timestamp()").await
    }

    /// Records that the hook of an aborted cutover was undone.
    pub async fn hook_undone(&self, traffic: &Client, id: Uuid) -> Result<()> {
        self.note(traffic, id, "hook_undone_at = clock_timestamp()").await
    }
}
