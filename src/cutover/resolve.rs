//! Resolving a cutover or rollback whose command ended too early.
//!
//! An undecided cutover or rollback is never continued, but aborted, and everything is as before. The daemon
//! resolves within seconds, and so does the next cutover or rollback.

use tokio_postgres::Client;
use uuid::Uuid;

use super::journal::{CutoverJournal, CutoverRun, CutoverStep, Direction, JournalEntry};
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
        open(databases, &JournalEntry { state, ..entry }).await?;
    }
    Ok(())
}

/// Lifts the fence that a decided cutover or rollback leaves, drops the slot on Traffic if nothing needs the
/// slot, and records the end. Returns false when the caller must try again in a moment.
pub async fn open(databases: Databases<'_>, entry: &JournalEntry) -> Result<bool> {
    let (landing, traffic) = (databases.on(Side::Landing), databases.on(Side::Traffic));
    let over = match (entry.direction, entry.state) {
        (direction, CutoverStep::Aborted) => lift(databases.on(direction.fenced()), entry.id).await?,
        (Direction::Rollback, CutoverStep::RolledBack) => {
            for closed in fence::closed(landing).await? {
                lift(landing, closed).await?;
            }
            true
        }
        _ => return Ok(true),
    };
    // The daemon may need a moment to notice that nothing flows back any more, and streams from the slot
    // until then.
    let needs_slot = (entry.direction, entry.state) == (Direction::Rollback, CutoverStep::Aborted);
    let over =
        over && (needs_slot || slot::drop_unused(traffic.client, &traffic.names.reverse_slot()).await?);
    if over {
        CutoverJournal::new(databases.names).lifted(traffic.client, entry.id).await?;
    }
    Ok(over)
}

/// Returns false while the fence's transaction is alive, because its command may be cut off from Traffic and
/// about to commit. The transaction ends by its own time limit at the latest.
async fn lift(fenced: Database<'_>, id: Uuid) -> Result<bool> {
    if !fence::is_released(fenced.client, id).await? {
        return Ok(false);
    }
    if fence::lift(fenced, id).await? {
        tracing::info!(%id, "the fence is lifted: writes go through again");
        // The triggers refuse nothing from now on. If other sessions use the tables at this moment, the
        // triggers stay until the next cutover.
        if let Err(error) = fence::remove(fenced, id).await {
            tracing::info!("{}", error.message());
        }
    }
    Ok(true)
}

/// Notifies all listeners of `leadbridge_cutover` when the transaction commits.
pub async fn announce(traffic: &Client, run: CutoverRun, state: CutoverStep) -> Result<()> {
    let CutoverRun { id, direction } = run;
    let text = serde_json::json!({ "id": id, "direction": direction, "state": state }).to_string();
    let step = during(traffic, "announcing on Traffic");
    step.run("SELECT pg_notify('leadbridge_cutover', $1)", &[&text]).await.map(drop)
}
