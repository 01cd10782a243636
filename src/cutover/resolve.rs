//! Bringing to its end what somebody has begun and did not live to end.
//!
//! Nothing that is undecided is ever carried on: it is aborted, and everything is as it was. The daemon does this
//! within seconds, and so does the next cutover or rollback.

use tokio_postgres::Client;
use uuid::Uuid;

use super::journal::{CutoverJournal, CutoverStep, Direction, JournalEntry};
use super::{fence, reverse_slot};
use crate::error::{Error, Result};
use crate::names::Names;

/// Why an undecided cutover is aborted.
const ABANDONED: &str = "whoever began it is gone";

/// Aborts what is undecided, and lifts the fences that are left. The caller has the right to decide
/// ([`CutoverJournal::take`]), so nobody who is alive is in the middle of it.
///
/// # Errors
/// Those of either database: what is not done is found again the next time.
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

/// Lifts the fence that a decided cutover or rollback leaves, takes away the slot that nobody needs, and writes down
/// that it is done. False when it is to be tried again in a moment.
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
    // The daemon may need a moment to hear that nothing flows back any more.
    let needs_slot = (entry.direction, entry.state) == (Direction::Rollback, CutoverStep::Aborted);
    let over = over && (needs_slot || reverse_slot::drop_unused(traffic, names).await?);
    if over {
        journal.lifted(traffic, entry.id).await?;
    }
    Ok(over)
}

/// False while the fence's transaction is alive: its command may be cut off from Traffic, and about to commit. That
/// ends with the transaction's own time limit at the latest.
async fn lift(client: &Client, names: &Names, id: Uuid) -> Result<bool> {
    if !fence::is_released(client, id).await? {
        return Ok(false);
    }
    if fence::lift(client, names, id).await? {
        tracing::info!(%id, "the fence is lifted: writes go through again");
        // Inert from now on: when the tables are in use at this moment, the triggers stay until the next cutover.
        if let Err(error) = fence::remove(client, names, id).await {
            tracing::info!("{}", error.message());
        }
    }
    Ok(true)
}

/// Tells everybody who listens to `leadbridge_cutover`, when the transaction commits.
pub async fn announce(traffic: &Client, id: Uuid, direction: Direction, state: CutoverStep) -> Result<()> {
    let text = serde_json::json!({ "id": id, "direction": direction, "state": state }).to_string();
    let told = traffic.execute("SELECT pg_notify('leadbridge_cutover', $1)", &[&text]).await;
    told.map(|_| ()).map_err(|error| Error::database("announcing on Traffic", &error))
}
