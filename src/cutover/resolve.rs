//! Resolving a cutover or rollback whose command ended too early.
//!
//! An undecided cutover or rollback is never continued, but aborted, and everything is as before. The daemon
//! resolves within seconds, and so does the next cutover or rollback.

use tokio_postgres::Client;
use uuid::Uuid;

use super::journal::{CutoverJournal, CutoverStep, Direction, JournalEntry};
use super::reverse_slot;
use crate::error::{Error, Result};
use crate::fence;
use crate::model::names::Names;

/// Reason for which an undecided cutover is aborted.
const ABANDONED: &str = "the process that began it has ended";

/// Aborts undecided cutovers and rollbacks, and lifts the fences that are left. The caller has the right to
/// decide ([`CutoverJournal::take`]), so no other living process is at work on a cutover.
///
/// # Errors
/// The errors of either database. The next call finds everything that is not resolved.
pub async fn settle(landing: &Client, traffic: &Client, names: &Names) -> Result<()> {
    let journal = CutoverJournal::new(names);
    for entry in journal.unresolved(traffic).await? {
        let mut state = entry.state;
        if !state.is_decided() && journal.abort(traffic, entry.id, ABANDONED).await? {
            tracing::warn!(id = %entry.id, was = %entry.state, "a {} was aborted: {ABANDONED}", entry.direction.as_str());
            announce(traffic, entry.id, entry.direction, CutoverStep::Aborted).await?;
            state = CutoverStep::Aborted;
        }
        open(landing, traffic, names, &JournalEntry { state, ..entry }).await?;
    }
    Ok(())
}

/// Lifts the fence that a decided cutover or rollback leaves, drops the slot on Traffic if nothing needs the
/// slot, and records the end. Returns false when the caller must try again in a moment.
pub async fn open(landing: &Client, traffic: &Client, names: &Names, entry: &JournalEntry) -> Result<bool> {
    let journal = CutoverJournal::new(names);
    let over = match (entry.direction, entry.state) {
        (Direction::Cutover, CutoverStep::Aborted) => lift(landing, names, entry.id).await?,
        (Direction::Rollback, CutoverStep::Aborted) => lift(traffic, names, entry.id).await?,
        (Direction::Rollback, CutoverStep::RolledBack) => {
            for closed in fence::closed(landing, names).await? {
                lift(landing, names, closed).await?;
            }
            true
        }
        _ => return Ok(true),
    };
    // The daemon may need a moment to notice that nothing flows back any more, and streams from the slot
    // until then.
    let needs_slot = (entry.direction, entry.state) == (Direction::Rollback, CutoverStep::Aborted);
    let over = over && (needs_slot || reverse_slot::drop_unused(traffic, names).await?);
    if over {
        journal.lifted(traffic, entry.id).await?;
    }
    Ok(over)
}

/// Returns false while the fence's transaction is alive, because its command may be cut off from Traffic and
/// about to commit. The transaction ends by its own time limit at the latest.
async fn lift(client: &Client, names: &Names, id: Uuid) -> Result<bool> {
    if !fence::is_released(client, id).await? {
        return Ok(false);
    }
    if fence::lift(client, names, id).await? {
        tracing::info!(%id, "the fence is lifted: writes go through again");
        // The triggers refuse nothing from now on. If other sessions use the tables at this moment, the
        // triggers stay until the next cutover.
        if let Err(error) = fence::remove(client, names, id).await {
            tracing::info!("{}", error.message());
        }
    }
    Ok(true)
}

/// Notifies all listeners of `leadbridge_cutover` when the transaction commits.
pub async fn announce(traffic: &Client, id: Uuid, direction: Direction, state: CutoverStep) -> Result<()> {
    let text = serde_json::json!({ "id": id, "direction": direction, "state": state }).to_string();
    let told = traffic.execute("SELECT pg_notify('leadbridge_cutover', $1)", &[&text]).await;
    told.map(|_| ()).map_err(|error| Error::database("announcing on Traffic", &error))
}
