//! Resolving a cutover or rollback whose command ended too early.
//!
//! An undecided cutover or rollback is never continued, but aborted, and everything is as before. The daemon
//! resolves within seconds, and so does the next cutover or rollback.

use tokio_postgres::Client;
use uuid::Uuid;

use super::journal::{CutoverJournal, CutoverRun, CutoverStep, Direction, JournalEntry};
use super::{left, marker};
use crate::error::Result;
use crate::fence;
use crate::model::side::Side;
use crate::postgres::step::during;
use crate::postgres::{Database, Databases, slot};

/// Reason for which an undecided cutover is aborted.
const ABANDONED: &str = "the process that began it has ended";

/// Aborts undecided cutovers and rollbacks, and lifts the fences that are left. The caller has the right to
/// decide ([`CutoverJournal::take`]), so no other living process is at work on a cutover.
///
/// # Errors
/// The errors of either database. The next call finds everything that is not resolved.
pub async fn settle(databases: Databases<'_>) -> Result<()> {
    let Databases { traffic, names, .. } = databases;
    let journal = CutoverJournal::new(names);
    for entry in journal.unresolved(traffic).await? {
        let mut state = entry.state;
        if !state.is_decided() && journal.abort(traffic, entry.id, ABANDONED).await? {
            tracing::warn!(id = %entry.id, was = %entry.state, "a {} was aborted: {ABANDONED}", entry.direction.as_str());
            announce(traffic, entry.run(), CutoverStep::Aborted).await?;
            state = CutoverStep::Aborted;
        }
        let entry = JournalEntry { state, ..entry };
        if entry.is_lifted {
            keep_left(databases, &entry).await?;
        } else {
            open(databases, &entry).await?;
        }
    }
    Ok(())
}

/// Keeps what applications write on Traffic, for as long as the hook of an aborted cutover is not undone.
pub(super) async fn keep_left(databases: Databases<'_>, entry: &JournalEntry) -> Result<()> {
    if entry.needs_hook_undone() { left::keep(databases, entry).await } else { Ok(()) }
}

/// Lifts the fence that a decided cutover or rollback leaves, drops the slot on Traffic if nothing needs the
/// slot, and records the end. Returns false when the caller must try again in a moment.
pub async fn open(databases: Databases<'_>, entry: &JournalEntry) -> Result<bool> {
    let (landing, traffic) = (databases.on(Side::Landing), databases.on(Side::Traffic));
    let over = match (entry.direction, entry.state) {
        (direction, CutoverStep::Aborted) => {
            let fenced = databases.on(direction.fenced());
            // The command may be cut off from Traffic and about to commit its fence. The fence's transaction
            // ends by its own time limit at the latest.
            if !fence::is_released(fenced, entry.id).await? {
                return Ok(false);
            }
            keep_left(databases, entry).await?;
            lift(fenced, entry.id).await?;
            true
        }
        (Direction::Rollback, CutoverStep::RolledBack) => {
            for closed in fence::closed(landing).await? {
                lift(landing, closed).await?;
            }
            // Not before Landing takes writes: one side always does.
            fence::expire(traffic, entry.id, entry.refuse_for).await?;
            true
        }
        _ => return Ok(true),
    };
    // The daemon may need a moment to notice that nothing flows back any more, and streams from the slot
    // until then. A rollback's slot is the slot of the cutover that has switched.
    let drops_slot = match entry.state {
        CutoverStep::RolledBack => true,
        _ => entry.direction == Direction::Cutover,
    };
    let over =
        over && (!drops_slot || slot::drop_unused(traffic.client, &traffic.names.reverse_slot()).await?);
    if over {
        marker::forget(traffic).await?;
        CutoverJournal::new(databases.names).lifted(traffic.client, entry.id).await?;
    }
    Ok(over)
}

pub(super) async fn lift(fenced: Database<'_>, id: Uuid) -> Result<()> {
    if fence::lift(fenced, id).await? {
        tracing::info!(%id, "the fence is lifted: writes go through again");
        // The triggers refuse nothing from now on. If other sessions use the tables at this moment, the
        // triggers stay until the daemon removes them.
        if let Err(error) = fence::remove(fenced, id).await {
            tracing::info!("{}", error.message());
        }
    }
    Ok(())
}

/// Notifies all listeners of `leadbridge_cutover` when the transaction commits.
pub async fn announce(traffic: &Client, run: CutoverRun, state: CutoverStep) -> Result<()> {
    let CutoverRun { id, direction } = run;
    let text = serde_json::json!({ "id": id, "direction": direction, "state": state }).to_string();
    let step = during(traffic, "announcing on Traffic");
    step.run("SELECT pg_notify('leadbridge_cutover', $1)", &[&text]).await.map(drop)
}
