//! The applier's part of a repair: rows that background verification has left are written as one more batch, with the
//! stream's own writer, between two batches of the stream.

use std::collections::HashSet;

use uuid::Uuid;

use super::repair_desk::{RepairDone, RepairOrder};
use crate::batch::Batch;
use crate::checkpoint::Ledger;
use crate::cutover::journal::CutoverJournal;
use crate::error::Result;
use crate::failpoint::{Point, reach};
use crate::model::change::{SourcedChange, Table};
use crate::postgres::Database;
use crate::traffic::{RowCounts, Supplied, Writer};

/// Writes the rows of an order in a transaction of its own. The position stays, because the rows are as Landing has them
/// at the position.
///
/// # Errors
/// Every error ends the stream's attempt, like an error of a batch.
pub async fn write(writer: &mut Writer, ledger: &Ledger, order: RepairOrder) -> Result<()> {
    let RepairOrder { table, mut changes, done } = order;
    let mut outcome = RepairDone::Written(RowCounts::default());
    if !changes.is_empty() {
        writer.begin().await?;
        outcome = match may_write(writer, ledger).await? {
            false => RepairDone::Refused,
            true => {
                leave_out_locked(writer, table, &mut changes).await?;
                let before = writer.counts();
                // Rows that were read from Landing have no unchanged TOAST values, so no values need to be supplied.
                writer.apply(&Batch { changes, ..Batch::default() }, &Supplied::new()).await?;
                RepairDone::Written(writer.counts().since(before))
            }
        };
        reach(Point::RepairWritten);
        writer.commit().await?;
        reach(Point::RepairCommitted);
    }
    // Nobody waits any more when the verification has ended, or has lost its patience.
    let _ = done.send(outcome);
    Ok(())
}

/// Whether Landing is the system of record and no application may have been let loose on Traffic. Locks the checkpoint,
/// so that no cutover switches before the rows are committed.
async fn may_write(writer: &Writer, ledger: &Ledger) -> Result<bool> {
    let session = writer.session();
    let journal = CutoverJournal::new(writer.names());
    Ok(ledger.guard_stream(session).await? && journal.unresolved(session).await?.is_empty())
}

/// Locks the rows, and leaves out what another session holds, because the stream must not wait for a repair.
async fn leave_out_locked(writer: &Writer, table: Table, changes: &mut Vec<SourcedChange>) -> Result<()> {
    let traffic = Database::traffic(writer.session(), writer.names());
    let ids: Vec<Uuid> = changes.iter().filter_map(|sourced| Some(sourced.change.key()?.1)).collect();
    let step = traffic.during(format!("locking rows of {} to repair them", table.traffic_name()));
    let select = format!("SELECT id FROM {} WHERE id = ANY ($1)", traffic.table(table));
    let ids_of = async |sql: &str| -> Result<HashSet<Uuid>> {
        Ok(step.rows(sql, &[&ids]).await?.iter().map(|row| row.get(0)).collect())
    };
    let present = ids_of(&select).await?;
    let locked = ids_of(&format!("{select} FOR UPDATE SKIP LOCKED")).await?;
    changes.retain(|sourced| {
        sourced.change.key().is_none_or(|(_, id)| !present.contains(&id) || locked.contains(&id))
    });
    Ok(())
}
